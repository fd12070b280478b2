"""Editions of the language, and how a file of an older one is brought to the current one.

A step rewrites from one edition to the next. What an edition has deprecated without becoming another one is a step from
the edition to itself. Steps run in the order of the table, each on the result of the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Label, Severity
from bylaw.spec.fixes import Edit, apply_edits
from bylaw.spec.parser import parse
from bylaw.spec.source import Source

CURRENT = 1
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Step:
    """One rewriting: what it does, in words for the author, and the edits that do it, offsets as in the source."""

    before: int
    after: int
    summary: str
    rewrite: Callable[[ast.Module], tuple[Edit, ...]]


@dataclass(frozen=True, slots=True)
class Upgraded:
    """A file's text after its upgrade and what was done; or, with an error, the text as it was."""

    text: str
    summaries: tuple[str, ...]
    diagnostics: tuple[Diagnostic, ...]
    source: Source


def name_the_edition(module: ast.Module) -> tuple[Edit, ...]:
    """A header without an edition gets the one that it has been read as."""
    header = module.header
    if header is None or header.edition is not None:
        return ()
    end = header.version.span.end
    return (Edit(end, end, f" edition {CURRENT}"),)


STEPS: tuple[Step, ...] = (Step(1, 1, "names its edition in the `policy` line", name_the_edition),)


def upgrade(path: str, text: str, steps: tuple[Step, ...] = STEPS, current: int = CURRENT) -> Upgraded:
    """Return the text of a file, brought to the current edition; `text` is the file as it is.

    A file that does not parse, or is of an edition that is not known (P111), is left as it is.
    """
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    now = text.removeprefix(mark)
    summaries: list[str] = []
    edition: int | None = None
    for step in (None, *steps):
        source = Source.of(path, now)
        parsed = parse(source)
        if not parsed.is_ok:
            return Upgraded(text, (), parsed.diagnostics, source)
        if step is None:
            edition = edition_of(parsed.module)
            if wrong := unknown_edition(parsed.module, current):
                return Upgraded(text, (), (wrong,), source)
        elif step.before == edition:
            edits = step.rewrite(parsed.module)
            now = apply_edits(now, edits)
            edition = step.after
            summaries += [step.summary] if edits else []
    source = Source.of(path, now)
    parsed = parse(source)
    if not parsed.is_ok:
        return Upgraded(text, (), parsed.diagnostics, source)
    return Upgraded(mark + now, tuple(summaries), (), source)


def edition_of(module: ast.Module) -> int:
    """Return the edition a file is read as; one that names none is of the first."""
    header = module.header
    return 1 if header is None or header.edition is None else int(header.edition.value)


def unknown_edition(module: ast.Module, current: int = CURRENT) -> Diagnostic | None:
    """Return P111 for a file of an edition that does not exist yet, or never did."""
    header = module.header
    if header is None or header.edition is None or 1 <= header.edition.value <= current:
        return None
    known = "edition 1" if current == 1 else f"editions 1 to {current}"
    message = f"there is no edition {header.edition.value:g}"
    note = f"this version of bylaw knows {known}"
    return Diagnostic("P111", Severity.ERROR, message, Label(header.edition.span), notes=(note,))
