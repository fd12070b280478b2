"""Resolving lexicons: lists, sums and differences of lists, and files with one entry a line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from bylaw.spec import ast
from bylaw.spec.expression import Matcher, Phrase, Regex
from bylaw.spec.loader import Folder, Refused
from bylaw.spec.pattern import PatternError, parse_pattern
from bylaw.spec.scope import Unresolved
from bylaw.spec.sentences import Sentences

MOST_ENTRIES = 20_000
"""How many entries the file of a lexicon may have."""
_PATTERN_LINE = re.compile(r"/(?P<source>(?:[^/\\]|\\.)+)/(?P<flags>[A-Za-z]*)")


def lexicon(item: ast.LexiconDecl, sentences: Sentences, folder: Folder | None) -> tuple[Matcher, ...]:
    """What a lexicon holds. Raises Unresolved after a diagnostic (P105, P117, or what is wrong with an entry)."""
    found = _Reader(sentences, folder).read(item.value)
    if not found:
        message = f"lexicon `{item.name.text}` is empty, so nothing could be found"
        raise sentences.messages.failure("P105", message, item.name.span)
    if any(annotation.name.text == "lookalikes" for annotation in item.annotations):
        found = tuple(replace(each, lookalikes=True) if isinstance(each, Phrase) else each for each in found)
    return found


@dataclass(frozen=True)
class _Reader:
    """`sentences` stand in the file of the lexicon, whose folder is `folder`."""

    sentences: Sentences
    folder: Folder | None

    def read(self, value: ast.LexiconExpression) -> tuple[Matcher, ...]:
        match value:
            case ast.ListLiteral() | ast.Path():
                return self.sentences.matchers(value)
            case ast.LexiconUnion(left, right):
                return tuple(dict.fromkeys((*self.read(left), *self.read(right))))
            case ast.LexiconDifference(left, right):
                kept, removed = self.read(left), self.read(right)
                for matcher in removed:
                    if matcher not in kept:
                        what = f'"{matcher.text}"' if isinstance(matcher, Phrase) else _written(matcher)
                        message = f"`{what}` is not there to be taken away"
                        self.sentences.messages.error("P105", message, right.span)
                return tuple(matcher for matcher in kept if matcher not in removed)
            case ast.LexiconFile(path):
                return self._file(path)

    def _file(self, path: ast.Text) -> tuple[Matcher, ...]:
        if self.folder is None:
            raise self._refused(path, "this policy is a text without a folder", "write the policy to a file beside it")
        try:
            text, shown = self.folder.read(path.value)
        except Refused as refused:
            raise self._refused(path, refused.reason, *refused.notes) from None
        found = dict.fromkeys(self._entries(text.removeprefix("\ufeff"), path, shown))
        if len(found) > MOST_ENTRIES:
            raise self._refused(path, f"it has more than {MOST_ENTRIES:,} entries")
        return tuple(found)

    def _entries(self, text: str, path: ast.Text, shown: str) -> Iterator[Matcher]:
        for number, line in enumerate(text.split("\n"), 1):
            entry = line.strip()
            if not entry or entry.startswith("#"):
                continue
            if not entry.startswith("/"):
                yield Phrase(entry)
                continue
            pattern = _PATTERN_LINE.fullmatch(entry)
            where = f"line {number} of `{shown}`"
            if pattern is None:
                note = "a pattern is written `/.../`; a text that begins with a slash needs one too: `/\\/text/`"
                raise self._refused(path, f"{where} begins a pattern that it does not close", note)
            regex = Regex(pattern["source"], pattern["flags"])
            try:
                parse_pattern(regex.source, regex.flags)
            except PatternError as error:
                raise self._refused(path, f"{where} holds the pattern `{entry}`: {error.message}") from None
            yield regex

    def _refused(self, path: ast.Text, reason: str, *notes: str) -> Unresolved:
        message = f"`{path.value}` cannot be used: {reason}"
        return self.sentences.messages.failure("P117", message, path.span, notes=notes)


def _written(matcher: Regex) -> str:
    return f"/{matcher.source}/{matcher.flags}"
