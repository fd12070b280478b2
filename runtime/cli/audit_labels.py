"""What `bylaw audit` does with `--label-sheet`: labels read before the work, rates corrected after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bylaw.runtime.cli.shared import UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.program import RewardProgram
    from bylaw.runtime.audit.label_sheets import Labels
    from bylaw.runtime.cli.audit_steps import Measured

MOST_BYTES = 500_000_000
"""Of a key or a file of labels."""


def label_sheet_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--label-sheet`; the command gets the paths as one argument `label_sheets`."""

    @wraps(command)
    def with_sheets(*arguments: Any, **options: Any) -> Any:
        return command(*arguments, **options)

    wrapped: Callable[..., Any] = click.option(
        "--label-sheet",
        "label_sheets",
        multiple=True,
        type=click.Path(),
        metavar="labels.json",
        help="Correct the rates of rules with people's verdicts on these transcripts, as `bylaw label import` wrote "
        "them; repeatable. (--labels is another matter: texts that scorers of concepts learn from.)",
    )(with_sheets)
    return wrapped


@contextmanager
def label_sheets_refused() -> Iterator[None]:
    """What is wrong with a sheet, a key or labels is one message and exit code 2."""
    from bylaw.runtime.audit.label_sheets import LabelSheetError

    try:
        yield
    except LabelSheetError as error:
        fail(str(error), UNUSABLE)


def text_or_exit(path: str) -> str:
    """The text of a key or a file of labels; otherwise one message and exit code 2."""
    place = Path(path)
    try:
        if place.stat().st_size > MOST_BYTES:
            fail(f"`{path}` is larger than {MOST_BYTES:,} bytes", UNUSABLE)
        return place.read_text(encoding="utf-8")
    except OSError as error:
        fail(f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}", UNUSABLE)
    except UnicodeDecodeError:
        fail(f"`{path}` is not UTF-8 text", UNUSABLE)


def labels_or_exit(paths: Sequence[str], program: RewardProgram) -> tuple[tuple[str, Labels], ...]:
    """(path, labels) of each file, which have to be of these rules: asked before any work is done."""
    if not paths:
        return ()
    from bylaw.runtime.audit.corrected import check_policy
    from bylaw.runtime.audit.label_sheets import LabelSheetError, labels_of_text

    with label_sheets_refused():
        found = [(path, labels_of_text(text_or_exit(path), path)) for path in paths]
        seen: dict[str, str] = {}
        for path, labels in found:
            check_policy(labels, program, path)
            for rule in labels.drawn.rules:
                if rule.term in seen:
                    raise LabelSheetError(f"`{seen[rule.term]}` and `{path}` both have labels of `{rule.term}`")
                seen[rule.term] = path
    return tuple(found)


def corrected(measured: Measured, sheets: Sequence[tuple[str, Labels]]) -> Measured:
    """The audit with corrected rates. Labels of other transcripts are refused; an audit that was interrupted, or that
    stopped early, is not corrected, which is said."""
    if not sheets:
        return measured
    if not measured.record.complete or measured.record.stopping is not None:
        click.echo(
            "warning: --label-sheet corrects audits of all transcripts only, so that nothing is corrected here",
            err=True,
        )
        return measured
    from bylaw.runtime.audit.corrected import check_transcripts, with_corrections
    from bylaw.runtime.audit.label_sheets import transcripts_digest

    with label_sheets_refused():
        digest, count = transcripts_digest(measured.traces)
        for path, labels in sheets:
            check_transcripts(labels, digest, count, path)
        record = with_corrections(measured.record, measured.columns, [labels for _, labels in sheets])
    return replace(measured, record=record)
