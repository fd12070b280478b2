"""`bylaw audit`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.audit_output import (
    baseline_or_exit,
    compare,
    need_folder,
    report_formats,
    say_comparison,
    with_baseline,
    write_files,
)
from bylaw.runtime.cli.scoring import (
    Scoring,
    announce,
    say_scores,
    say_unanswered,
    scorers_or_exit,
    scoring_options,
    scoring_refused,
    write_scores,
)
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
    from bylaw.runtime.calibration.record import CalibrationRecord
    from bylaw.runtime.record import AuditRecord
    from bylaw.runtime.scorers.asking import ScoringRecord
    from bylaw.runtime.scorers.build import Scorers
    from bylaw.spec.trace import Trace

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
@click.option(
    "--out",
    type=click.Path(),
    help="Write report.html, report.md and report.json into this folder; scores.jsonl too where concepts are scored.",
)
@click.option(
    "--report",
    "formats",
    metavar="html,md,jsonl,junit,sarif",
    callback=report_formats,
    help="Write these into the folder of --out instead, and summary.json, which --baseline takes.",
)
@click.option(
    "--baseline",
    type=click.Path(),
    help="The summary.json of an earlier audit: exit with code 4 only where a rule is new among the findings or worse.",
)
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
@click.option(
    "--calibration",
    type=click.Path(),
    help="Compare with the rates of the law that `bylaw calibrate` wrote here (its folder or file).",
)
@click.option("--gate", is_flag=True, help="Exit with code 4 unless hard rules and limits are known to be kept.")
@scoring_options
def command(
    rules: str, transcripts: str, prompt_column: str, response_column: str, system_column: str | None,
    comparisons: tuple[str, ...], out: str | None, formats: tuple[str, ...], baseline: str | None, output: str,
    examples: int, calibration: str | None, gate: bool, scoring: Scoring,
) -> None:  # fmt: skip
    """Measure how often TRANSCRIPTS break each rule of the policy RULES.

    TRANSCRIPTS is JSON Lines ({"messages": [...]} or {"prompt": ..., "response": ...} a line), a table (.csv,
    .parquet), a log of Inspect (.eval, .json), or a folder of these. What cannot be read is named with its line (row,
    sample) and left out; the exit code is then 3.

    The answers to one conversation (up to the last message of the user) are not taken for independent ones: intervals
    allow for it, and a limit `for each prompt` is held against the answers to each.

    With --calibration every rate stands beside that of the law, with the interval of their difference; a calibration of
    other rules is refused (exit code 2).

    What a text expresses is scored: by the words of the policy's own examples and of --labels, or by whatever a concept
    is `scored by`. A text whose score says too little is unscored, with the reason: no violation and no pass. Where a
    scorer gave no answer (a judge that was not reached, a budget that is used up), the exit code is 3.

    With --baseline, what was found before passes, and what is new or worse fails, judged by intervals that hold for all
    rules together; without --gate nothing else does.

    \b
    bylaw audit rules.bylaw answers.jsonl --report html,sarif --out report --baseline kept/summary.json
    bylaw audit rules.bylaw answers.jsonl --labels labelled.jsonl
    bylaw audit rules.bylaw answers.jsonl --judge http://127.0.0.1:8000/v1 --judge-model large
    """
    need_folder(formats, out)
    compiled = compile_or_exit(rules)
    earlier = baseline_or_exit(baseline, compiled.require().policy)
    scorers = scorers_or_exit(compiled, rules, scoring)
    law = None if calibration is None else _law(calibration, compiled.require())
    from bylaw.runtime.audit.inputs import ColumnNames

    columns = ColumnNames(prompt=prompt_column, response=response_column, system=system_column)
    wanted = [_comparison(text, compiled.require()) for text in comparisons]
    with nullcontext() if out is None else report_directory_or_exit(out):
        record, scoring_record, traces = _measure(compiled, scorers, transcripts, columns, wanted, examples)
        _warn(record)
        compared = compare(record, earlier)
        if out is not None and formats:
            write_files(out, formats, record, traces, compiled, compared)
        elif out is not None:
            from bylaw.runtime.report import write_report

            for path in write_report(record, out):
                click.echo(f"wrote {path}", err=True)
        if out is not None and scoring_record is not None:
            click.echo(f"wrote {write_scores(scoring_record, out)}", err=True)
    _print(record, law, output)
    say_comparison(compared)
    is_unanswered = scoring_record is not None and say_unanswered(scoring_record)
    is_left_out = bool(record.problems or scorers.left_out or is_unanswered)
    raise SystemExit(with_baseline(exit_code(record, is_gate=gate, is_left_out=is_left_out), compared))


def _law(path: str, program: RewardProgram) -> CalibrationRecord:
    """The calibration, which has to be one of these rules."""
    from bylaw.runtime.calibration.record import StaleRecord, require_current
    from bylaw.runtime.cli.sampling import calibration_or_exit

    record = calibration_or_exit(path)
    try:
        require_current(record, program)
    except StaleRecord as error:
        fail(str(error), UNUSABLE)
    return record


_ABOUT = "The law is that of the {} prompts of {}; rates of answers to other prompts may differ from it for that alone."


def _print(record: AuditRecord, law: CalibrationRecord | None, output: str) -> None:
    """The audit, and behind it how it compares with the law; in JSON under the key `law`."""
    if law is None:
        print_record(record, output)
        return
    from bylaw.runtime.calibration.compare import HEADINGS, compare, rows
    from bylaw.runtime.calibration.text import markdown_table, print_table
    from bylaw.runtime.record import to_json, writable
    from bylaw.runtime.report.terminal import say, standard_output

    found = compare(record, law)
    if output == "json":
        data = {**json.loads(to_json(record)), "law": [writable(asdict(each)) for each in found]}
        click.echo(json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False))
        return
    print_record(record, output)
    title = f"against the law of the calibration on {law.model} (95 % intervals)"
    if output == "markdown":
        click.echo("\n".join(["", f"## {title.capitalize()}", "", *markdown_table(HEADINGS, rows(found))]))
        click.echo(f"\n{_ABOUT.format(law.prompt_count, law.prompts)}")
    else:
        console = standard_output()
        print_table(console, title, HEADINGS, rows(found))
        say(console, _ABOUT.format(law.prompt_count, law.prompts))


def _measure(
    compiled: Compiled,
    scorers: Scorers,
    transcripts: str,
    columns: ColumnNames,
    wanted: Sequence[tuple[str, str, tuple[str, ...]]],
    examples: int,
) -> tuple[AuditRecord, ScoringRecord | None, tuple[Trace, ...]]:
    """The audit, what was said of scores, if any were asked for, and the transcripts with these."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn

    from bylaw.runtime.audit.agreement import LabelError, agreement
    from bylaw.runtime.audit.audit import audit
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.audit.prompts import prompts_of
    from bylaw.runtime.audit.transcripts import read_transcripts

    program = compiled.require()
    try:
        read = read_transcripts(transcripts, columns=columns)
    except TranscriptError as error:
        fail(str(error), UNUSABLE)
    traces, scoring_record = _scored(program, read.traces, scorers)
    with Progress(
        SpinnerColumn(),
        *Progress.get_default_columns(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    ) as bar:
        task = bar.add_task("auditing", total=len(traces))
        record = audit(
            program, traces, source=transcripts, policy=compiled.source, problems=read.problems,
            clusters=prompts_of(traces),
            progress=lambda done, _: bar.update(task, completed=done), max_findings=examples,
        )  # fmt: skip
    try:
        agreements = (agreement(program.term(name), traces, column, labels) for name, column, labels in wanted)
        scoring = () if scoring_record is None else scoring_record.concepts
        return replace(record, agreements=tuple(agreements), scoring=scoring), scoring_record, traces
    except LabelError as error:
        fail(str(error), UNUSABLE)


def _scored(
    program: RewardProgram, traces: tuple[Trace, ...], scorers: Scorers
) -> tuple[tuple[Trace, ...], ScoringRecord | None]:
    """The traces with what scorers say of them, and what is to be said of that."""
    if not scorers.by_concept:
        return traces, None
    from bylaw.runtime.cli.sampling import Bars
    from bylaw.runtime.scorers.asking import score_traces

    with scoring_refused(), Bars(is_quiet=True) as bars:
        scored, record = score_traces(program, traces, scorers, bars, announce=announce)
    say_scores(record)
    return scored, record


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
