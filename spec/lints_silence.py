"""Comments that allow a warning: `# bylaw: allow P404 because "..."`, on the line before it or at the end of its line.

A comment without a reason is an error (P611), one that silences nothing a warning (P612). Errors cannot be silenced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bylaw.spec import chunks
from bylaw.spec.errors import CODES, Diagnostic, Label, Severity
from bylaw.spec.source import Source, Span

_MARK = re.compile(r"#[ \t]*bylaw:[ \t]*")
_ALLOW = re.compile(r'allow[ \t]+(?P<codes>[\w, \t]+?)(?:[ \t]+because[ \t]+"(?P<reason>[^"]*)")?[ \t]*\r?\Z')
_UNUSED = "P605"
_FORM = 'write `# bylaw: allow P404 because "the reason"`'


@dataclass(slots=True)
class _Allowance:
    """One comment: the line that it is about, the codes it names, whether it stands in the file that is checked."""

    comment: Span
    line: Span
    codes: list[str]
    is_own: bool
    used: set[str] = field(default_factory=set)


def silence(
    diagnostics: Iterable[Diagnostic], source: Source, unasked: frozenset[str] = frozenset()
) -> tuple[Diagnostic, ...]:
    """Return the diagnostics without the warnings and notes that a comment allows, and with what is wrong in comments.

    Nothing is said of comments that silence nothing while there are errors, which may keep a warning from being found,
    nor of comments in imported files, which are checked by themselves. Nor is it of what no rule uses: a name that is
    written wrongly where it is used is one mistake. Nor of the codes `unasked`, which nobody has looked for.
    """
    found = tuple(diagnostics)
    if any(each.code == _UNUSED for each in found) and any(each.is_error for each in found):
        found = tuple(each for each in found if each.code != _UNUSED)
    if "bylaw:" not in source.text:
        return found
    allowances: list[_Allowance] = []
    added: list[Diagnostic] = []
    for comment in comments(source):
        file = source.file_at(comment.start)
        read = _read(comment, file, is_own=file.path == source.path)
        if isinstance(read, _Allowance):
            allowances.append(read)
        elif read is not None and file.path == source.path:
            added.append(read)
    left = [diagnostic for diagnostic in found if not _is_allowed(diagnostic, allowances)]
    has_error = any(diagnostic.is_error for diagnostic in left)
    for allowance in allowances:
        if allowance.is_own:
            added += _unused(allowance, left, has_error, unasked)
    return tuple(sorted((*left, *added), key=lambda diagnostic: diagnostic.primary.span.start))


def comments(source: Source) -> Iterator[Span]:
    """Yield the span of each comment, from its `#` to the end of the line; a `#` in a text or a pattern is none."""
    text, offset, no_pattern_before = source.text, 0, 0
    while True:
        token = chunks._TOKEN if offset >= no_pattern_before else chunks._TOKEN_BUT_PATTERN
        match = token.search(text, offset)
        if match is None:
            return
        offset = match.end()
        if match.lastgroup == "pattern" and match["pattern_end"] is None:
            no_pattern_before, offset = match.end(), match.start() + 1
        elif match.lastgroup == "comment":
            yield Span(*match.span())
        elif match["long"] is not None and match["long_end"] is None:
            # As the parser has it: the lines after an open text are the policy again.
            end = text.find("\n", match.start())
            offset = len(text) if end < 0 else end


def _read(comment: Span, source: Source, is_own: bool) -> _Allowance | Diagnostic | None:
    """Return what a comment of this file allows, what is wrong with it, or None for a comment that is for people."""
    text = source.slice(comment)
    mark = _MARK.match(text)
    if mark is None:
        return None
    match = _ALLOW.match(text, mark.end())
    if match is None:
        return _incomplete(comment, "this comment says nothing that bylaw understands")
    codes = [code for code in re.split(r"[\s,]+", match["codes"]) if code]
    unknown = next((code for code in codes if code not in CODES), None)
    if unknown is not None:
        return _incomplete(comment, f"there is no code `{unknown}`")
    if not (match["reason"] or "").strip():
        return _incomplete(comment, "this comment allows a warning without a reason")
    return _Allowance(comment, _line_meant(comment, source), codes, is_own)


def _incomplete(comment: Span, message: str) -> Diagnostic:
    return Diagnostic("P611", Severity.ERROR, message, Label(comment), notes=(_FORM,))


def _line_meant(comment: Span, source: Source) -> Span:
    """Return the line of a comment behind something, and of one alone the next line with something on it."""
    number = source.position(comment.start)[0]
    line = source.line_span(number)
    if source.text[line.start : comment.start].strip():
        return line
    while number < source.line_count():
        number += 1
        line = source.line_span(number)
        shown = source.slice(line).strip()
        if shown and not shown.startswith("#"):
            break
    return line


def _is_allowed(diagnostic: Diagnostic, allowances: list[_Allowance]) -> bool:
    if diagnostic.is_error:
        return False
    is_allowed = False
    for allowance in allowances:
        if _is_about(allowance, diagnostic):
            allowance.used.add(diagnostic.code)
            is_allowed = True
    return is_allowed


def _is_about(allowance: _Allowance, diagnostic: Diagnostic) -> bool:
    line, start = allowance.line, diagnostic.primary.span.start
    return diagnostic.code in allowance.codes and line.start <= start <= line.end


def _unused(
    allowance: _Allowance, left: list[Diagnostic], has_error: bool, unasked: frozenset[str]
) -> Iterator[Diagnostic]:
    for code in allowance.codes:
        if code in unasked:
            continue
        error = next((each for each in left if each.code == code and _is_about(allowance, each)), None)
        if code in allowance.used or (has_error and error is None):
            continue
        note = "an error cannot be silenced" if error else f"no {code} is found on the line that it is about"
        message = f"this comment silences nothing: `{code}`"
        yield Diagnostic("P612", Severity.WARNING, message, Label(allowance.comment), notes=(note,))
