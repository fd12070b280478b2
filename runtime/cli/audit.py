"""`bylaw audit`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.shared import (
    UNUSABLE,
    compile_or_exit,
    exit_code,
    fail,
    print_record,
    report_directory_or_exit,
)

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.compiler.program import RewardProgram
    from bylaw.runtime.audit.inputs import ColumnNames
    from bylaw.runtime.record import AuditRecord

MAXIMUM_PROBLEMS_SHOWN = 20


@click.command("audit")
@click.argument("rules", type=click.Path())
@click.argument("transcripts", type=click.Path())
@click.option("--prompt-column", default="prompt", show_default=True, help="Where a table has the user's message.")
@click.option("--response-column", default="response", show_default=True, help="Where a table has the answer.")
@click.option("--system-column", help="Where a table has the system message.")
@click.option(
    "--compare",
    "comparisons",
    multiple=True,
    metavar="RULE=COLUMN:LABEL,...",
    help="Compare a rule with human labels; those named here mean that it is broken. Can be repeated.",
)
@click.option("--out", type=click.Path(), help="Write report.html, report.md and report.json into this folder.")
@click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
    help="What to print.",
)
@click.option(
    "--examples",
    default=5,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="How many broken answers to show for each rule.",
)
@click.option("--gate", is_flag=True, help="Exit with code 4 unless hard rules and limits are known to be kept.")
def command(
    rules: str, transcripts: str, prompt_column: str, response_column: str, system_column: str | None,
    comparisons: tuple[str, ...], out: str | None, output: str, examples: int, gate: bool,
) -> None:  # fmt: skip
    """Measure how often TRANSCRIPTS break each rule of the policy RULES.

    TRANSCRIPTS is a JSON Lines file ({"messages": [...]} or {"prompt": ..., "response": ...} a line) or a CSV table
    with a header. What cannot be read is named with its line and left out; the exit code is then 3.
    """
    compiled = compile_or_exit(rules)
    from bylaw.runtime.audit.inputs import ColumnNames

    columns = ColumnNames(prompt=prompt_column, response=response_column, system=system_column)
    wanted = [_comparison(text, compiled.require()) for text in comparisons]
    with nullcontext() if out is None else report_directory_or_exit(out):
        record = _measure(compiled, transcripts, columns, wanted, examples)
        _warn(record)
        if out is not None:
            from bylaw.runtime.report import write_report

            for path in write_report(record, out):
                click.echo(f"wrote {path}", err=True)
    print_record(record, output)
    raise SystemExit(exit_code(record, is_gate=gate, is_left_out=bool(record.problems)))


def _measure(
    compiled: Compiled,
    transcripts: str,
    columns: ColumnNames,
    wanted: Sequence[tuple[str, str, tuple[str, ...]]],
    examples: int,
) -> AuditRecord:
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn

    from bylaw.runtime.audit.agreement import LabelError, agreement
    from bylaw.runtime.audit.audit import audit
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.audit.transcripts import read_transcripts

    program = compiled.require()
    try:
        read = read_transcripts(transcripts, columns=columns)
    except TranscriptError as error:
        fail(str(error), UNUSABLE)
    with Progress(
        SpinnerColumn(),
        *Progress.get_default_columns(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("scoring", total=len(read.traces))
        record = audit(
            program, read.traces, source=transcripts, policy=compiled.source, problems=read.problems,
            progress=lambda done, _: bar.update(task, completed=done), max_findings=examples,
        )  # fmt: skip
    try:
        agreements = (agreement(program.term(name), read.traces, column, labels) for name, column, labels in wanted)
        return replace(record, agreements=tuple(agreements))
    except LabelError as error:
        fail(str(error), UNUSABLE)


def _warn(record: AuditRecord) -> None:
    for problem in record.problems[:MAXIMUM_PROBLEMS_SHOWN]:
        click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
    rest = len(record.problems) - MAXIMUM_PROBLEMS_SHOWN
    if rest > 0:
        click.echo(f"warning: {rest} more parts of the input were left out", err=True)


def _comparison(text: str, program: RewardProgram) -> tuple[str, str, tuple[str, ...]]:
    rule, equals, rest = text.partition("=")
    column, colon, labels = rest.partition(":")
    if not equals or not colon or not labels:
        raise click.BadParameter("write it as RULE=COLUMN:LABEL,LABEL", param_hint="--compare")
    known = [term.id for term in program.terms]
    if rule not in known:
        raise click.BadParameter(f"there is no rule `{rule}`; rules here: {', '.join(known)}", param_hint="--compare")
    return rule, column, tuple(label.strip() for label in labels.split(","))
