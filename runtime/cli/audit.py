"""`bylaw audit`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.shared import GATE_FAILED, INTERRUPTED, LEFT_OUT, UNUSABLE, compile_or_exit, fail

if TYPE_CHECKING:
    from bylaw.compiler.program import RewardProgram
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
@click.option("--gate", is_flag=True, help="Exit with code 4 when a hard rule is broken or a budget is missed.")
def command(
    rules: str, transcripts: str, prompt_column: str, response_column: str, system_column: str | None,
    comparisons: tuple[str, ...], out: str | None, output: str, examples: int, gate: bool,
) -> None:  # fmt: skip
    """Measure how often TRANSCRIPTS break each rule of the policy RULES.

    TRANSCRIPTS is a JSON Lines file ({"messages": [...]} or {"prompt": ..., "response": ...} a line) or a CSV table
    with a header. What cannot be read is named with its line and left out; the exit code is then 3.
    """
    compiled = compile_or_exit(rules)
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn

    from bylaw.runtime.audit.agreement import LabelError, agreement
    from bylaw.runtime.audit.audit import audit
    from bylaw.runtime.audit.inputs import ColumnNames, TranscriptError
    from bylaw.runtime.audit.transcripts import read_transcripts
    from bylaw.runtime.record import to_json
    from bylaw.runtime.report import ReportError, render_console, render_markdown, write_report

    program = compiled.require()
    columns = ColumnNames(prompt=prompt_column, response=response_column, system=system_column)
    wanted = [_comparison(text, program) for text in comparisons]
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
        agreements = tuple(
            agreement(program.term(name), read.traces, column, labels) for name, column, labels in wanted
        )
    except LabelError as error:
        fail(str(error), UNUSABLE)
    record = replace(record, agreements=agreements)
    for problem in read.problems[:MAXIMUM_PROBLEMS_SHOWN]:
        click.echo(f"warning: {problem.source}, line {problem.line}: {problem.message}; left out", err=True)
    if len(read.problems) > MAXIMUM_PROBLEMS_SHOWN:
        click.echo(
            f"warning: {len(read.problems) - MAXIMUM_PROBLEMS_SHOWN} more parts of the input were left out", err=True
        )
    if out is not None:
        try:
            written = write_report(record, out)
        except ReportError as error:
            fail(str(error), UNUSABLE)
        for path in written:
            click.echo(f"wrote {path}", err=True)
    if output == "json":
        click.echo(to_json(record))
    elif output == "markdown":
        click.echo(render_markdown(record))
    else:
        render_console(record, Console())
    raise SystemExit(_code(record, gate))


def _code(record: AuditRecord, gate: bool) -> int:
    if not record.complete:
        return INTERRUPTED
    if gate and any(term.within is False or (term.kind == "hard" and term.violated) for term in record.terms):
        return GATE_FAILED
    return LEFT_OUT if record.problems else 0


def _comparison(text: str, program: RewardProgram) -> tuple[str, str, tuple[str, ...]]:
    rule, equals, rest = text.partition("=")
    column, colon, labels = rest.partition(":")
    if not equals or not colon or not labels:
        raise click.BadParameter("write it as RULE=COLUMN:LABEL,LABEL", param_hint="--compare")
    known = [term.id for term in program.terms]
    if rule not in known:
        raise click.BadParameter(f"there is no rule `{rule}`; rules here: {', '.join(known)}", param_hint="--compare")
    return rule, column, tuple(label.strip() for label in labels.split(","))
