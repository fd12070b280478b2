"""Lints of texts that are looked for: blanks at the ends, letters that only look alike, entries that stand twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import MappingProxyType

from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.lints import Use
from bylaw.spec.source import Span

_WORD = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[A-Za-z]")
# Letters of other scripts that look like the Latin letter in most typefaces.
_CYRILLIC_LETTERS = "аеорсухіјѕһԁԛԝАВЕКМНОРСТХІЈЅԌԚԜ"
_GREEK_LETTERS = "οΑΒΕΖΗΙΚΜΝΟΡΤΥΧ"
_CYRILLIC = MappingProxyType(dict(zip(_CYRILLIC_LETTERS, "aeopcyxijshdqwABEKMHOPCTXIJSGQW", strict=True)))
_GREEK = MappingProxyType(dict(zip(_GREEK_LETTERS, "oABEZHIKMNOPTYX", strict=True)))
_BLANKS = " \t"


def lint_list(items: ast.ListLiteral) -> Iterator[Diagnostic]:
    """P604: yield one warning for each text or pattern that stands in the same list before."""
    first: dict[tuple[object, ...], ast.Node] = {}
    for number, item in enumerate(items.items):
        if not isinstance(item, ast.Text | ast.Pattern):
            continue
        key = (item.value,) if isinstance(item, ast.Text) else (item.source, item.flags)
        before = first.setdefault(key, item)
        if before is item:
            continue
        gap = Span(items.items[number - 1].span.end, item.span.end)
        # What stands between two entries is a comma and blanks, or else a comment, which must not be lost.
        is_plain = item.span.start - gap.start <= len(", ")
        yield Diagnostic(
            "P604",
            Severity.WARNING,
            "this entry stands in the list twice",
            Label(item.span, "again"),
            (Label(before.span, "first here"),),
            fix=Fix("delete it", gap, "", safe=True) if is_plain else Fix("delete it"),
        )


def blank_at_an_end(text: ast.Text, uses: frozenset[Use]) -> Iterator[Diagnostic]:
    """P602: yield a warning for `contain " word "`, which misses the word at both ends of a text and before a stop."""
    if not uses & {Use.CONTAIN, Use.MENTION, Use.COUNT}:
        return
    value = text.value
    trimmed = value.strip(_BLANKS)
    front = value[:1] in _BLANKS and trimmed[:1].isalnum()
    back = value[-1:] in _BLANKS and trimmed[-1:].isalnum()
    if not front and not back:
        return
    where = "at both ends" if front and back else "at the start" if front else "at the end"
    missed = f"{trimmed}." if back else f"{trimmed} ..."
    note = f'a text "{missed}" is not found' if trimmed.isprintable() else "it is not found without the blank"
    advice = f'write `mention "{trimmed}"`, which finds whole words' if trimmed.isprintable() else "use `mention`"
    yield Diagnostic(
        "P602",
        Severity.WARNING,
        f"this text is looked for with the blank {where}",
        Label(text.span),
        notes=(note,),
        fix=Fix(advice),
    )


def look_alikes(text: ast.Text) -> Iterator[Diagnostic]:
    """P603: yield a warning for each word with Latin letters whose other letters are not Latin but look it."""
    if text.value.isascii():
        return
    for word in _WORD.findall(text.value):
        foreign = [letter for letter in word if not letter.isascii()]
        for table, script in ((_CYRILLIC, "Cyrillic"), (_GREEK, "Greek")):
            if foreign and _LATIN.search(word) and all(letter in table for letter in foreign):
                yield _mixed(text, word, foreign[0], table[foreign[0]], script)


def _mixed(text: ast.Text, word: str, letter: str, latin: str, script: str) -> Diagnostic:
    return Diagnostic(
        "P603",
        Severity.WARNING,
        f"`{word}` mixes Latin and {script} letters that look alike",
        Label(text.span, f"the `{letter}` is U+{ord(letter):04X} of {script}, not the Latin `{latin}`"),
        notes=("a word that looks the same but is all Latin is not found",),
        fix=Fix("write it in Latin letters; in a lexicon marked `@lookalikes` that finds all spellings"),
    )
