"""Applies the fixes that diagnostics propose to the text of a file: `apply_fixes`.

Fixes of one round do not overlap; rounds follow until nothing changes. A result that parses worse than the file did,
or brings a mistake that was not there, is thrown away as a whole.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bylaw.spec.errors import Diagnostic, place
from bylaw.spec.parser import parse
from bylaw.spec.source import Source

MAXIMUM_ROUNDS = 20
_BYTE_ORDER_MARK = "\ufeff"
_ANALYSIS = "P400"  # codes from here on come from stages that look only at what is resolved


@dataclass(frozen=True, slots=True)
class Edit:
    """One replacement in the text of a file, in characters."""

    start: int
    end: int
    replacement: str


@dataclass(frozen=True, slots=True)
class Fixed:
    """A file's text after its fixes, how many were applied, and the codes that made the whole be refused (or none)."""

    text: str
    applied: int
    refused: tuple[str, ...] = ()


def apply_fixes(
    path: str, text: str, check: Callable[[Source], Sequence[Diagnostic]], *, unsafe: bool = False
) -> Fixed:
    """Return a file's text with its safe fixes applied (with `unsafe`, all that say what to write).

    `text` is the file as it is, with its byte order mark and its prose; `check` says what is wrong with a source.
    """
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    current, applied = text.removeprefix(mark), 0
    before = Source.of(path, current)
    diagnostics = first = tuple(check(before))
    for _ in range(MAXIMUM_ROUNDS):
        edits = _edits(diagnostics, Source.of(path, current), current, unsafe)
        if not edits:
            break
        current = apply_edits(current, edits)
        applied += len(edits)
        diagnostics = tuple(check(Source.of(path, current)))
    worse = _new_codes(before, first, Source.of(path, current), diagnostics)
    return Fixed(text, 0, worse) if worse else Fixed(mark + current, applied)


def apply_edits(text: str, edits: Iterable[Edit]) -> str:
    """Return a text with edits applied that do not overlap."""
    for edit in sorted(edits, key=lambda each: (each.start, each.end), reverse=True):
        text = text[: edit.start] + edit.replacement + text[edit.end :]
    return text


def write_atomically(path: Path, text: str) -> None:
    """Write a file at once, keeping the permissions it had; a link stays and what it leads to changes.

    Raises OSError, and leaves the file as it was.
    """
    target = path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
        os.chmod(name, target.stat().st_mode & 0o7777 if target.exists() else 0o644)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _edits(diagnostics: Iterable[Diagnostic], source: Source, text: str, unsafe: bool) -> list[Edit]:
    """Return the edits of one round: those of this file, in order, without those that touch one before them."""
    starts = [0, *(number + 1 for number, character in enumerate(text) if character == "\n")]
    wanted: set[tuple[int, int, str]] = set()
    for diagnostic in diagnostics:
        fix = diagnostic.fix
        if fix is None or fix.span is None or not (fix.safe or unsafe):
            continue
        where, location = place(source, fix.span)
        if where == source.path:
            start = starts[location.line - 1] + location.column - 1
            end = starts[location.end_line - 1] + location.end_column - 1
            wanted.add((start, end, fix.replacement))
    chosen: list[Edit] = []
    for start, end, replacement in sorted(wanted):
        previous = chosen[-1] if chosen else None
        touches = previous is not None and (start < previous.end or start == previous.start)
        if not touches and text[start:end] != replacement:
            chosen.append(Edit(start, end, replacement))
    return chosen


def _new_codes(
    before: Source, first: Sequence[Diagnostic], after: Source, last: Sequence[Diagnostic]
) -> tuple[str, ...]:
    """Return the codes that speak against a result; none when it is at least as good as what it came from.

    Each stage looks only at what the one before found sound, so what a later stage says then is not new.
    """
    was, now = parse(before), parse(after)
    if was.is_ok and now.is_ok:
        was_analysed = not any(diagnostic.is_error and diagnostic.code < _ANALYSIS for diagnostic in first)
        new = _codes(last) - _codes(first)
        return tuple(sorted(code for code in new if was_analysed or code < _ANALYSIS))
    fewer = len(now.module.items) < len(was.module.items)
    more = len(now.module.items) > len(was.module.items)
    new = _codes(now.diagnostics) - _codes(was.diagnostics)
    if fewer:
        return tuple(sorted(_codes(now.diagnostics)))
    return () if more else tuple(sorted(new))


def _codes(diagnostics: Iterable[Diagnostic]) -> set[str]:
    return {diagnostic.code for diagnostic in diagnostics}
