"""`bylaw audit`."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.audit_against import StatisticsOptions, statistics_options, with_statistics
from bylaw.runtime.cli.audit_labels import corrected, label_sheet_options, labels_or_exit
from bylaw.runtime.cli.audit_output import (
    baseline_or_exit,
    compare,
    need_folder,
    report_formats,
    say_comparison,
    with_baseline,
    write_files,
)
from bylaw.runtime.cli.audit_ray import Engine, engine_options
from bylaw.runtime.cli.audit_scale import workers_option
from bylaw.runtime.cli.audit_steps import Request, comparison_of, measure_or_exit
from bylaw.runtime.cli.audit_stopping import (
    Power,
    Stopping,
    finished,
    power_options,
    require_fixed_size,
    stopping_options,
)
from bylaw.runtime.cli.scoring import (
    Scoring,
    say_unanswered,
    scorers_or_exit,
    scoring_options,
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
    from bylaw.compiler.program import RewardProgram
    from bylaw.runtime.audit.baseline import BaselineComparison
    from bylaw.runtime.calibration.record import CalibrationRecord
    from bylaw.runtime.record import AuditRecord


_EXAMPLES = """\b
Examples:
  bylaw audit rules.bylaw answers.jsonl --report html,sarif --out report --baseline kept/summary.json
  bylaw audit rules.bylaw answers.jsonl --labels labelled.jsonl
  bylaw audit rules.bylaw answers.jsonl --stop --gate
  bylaw audit rules.bylaw answers.jsonl --judge http://127.0.0.1:8000/v1 --judge-model large
  bylaw audit rules.bylaw answers.jsonl --power few_refusals=2
"""


@click.command("audit", epilog=_EXAMPLES)
@click.argument("rules", type=click.Path())
@click.argument("transcripts", type=click.Path())
@click.option("--prompt-column", default="prompt", show_default=True, help="Column or JSON key of the user's message.")
@click.option("--response-column", default="response", show_default=True, help="Column or JSON key of the answer.")
@click.option("--system-column", help="Column or JSON key of the system message.")
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
    metavar="html,md,jsonl,junit,sarif,inspect",
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
@statistics_options
@label_sheet_options
@engine_options
@workers_option
@stopping_options
@power_options
@scoring_options
def command(
    rules: str, transcripts: str, prompt_column: str, response_column: str, system_column: str | None,
    comparisons: tuple[str, ...], out: str | None, formats: tuple[str, ...], baseline: str | None, output: str,
    examples: int, calibration: str | None, gate: bool, scoring: Scoring, statistics: StatisticsOptions,
    engine: Engine | None, label_sheets: tuple[str, ...], workers: int,
    stopping: Stopping | None, power: Power,
) -> None:  # fmt: skip
    """Measure how often TRANSCRIPTS break each rule of the policy RULES.

    TRANSCRIPTS is JSON Lines ({"messages": [...]} or {"prompt": ..., "response": ...} a line), a table (.csv,
    .parquet), a log of Inspect (.eval, .json), a folder of these, or the .samples of `bylaw sample`. What cannot be
    read is named with its line (row, sample) and left out; the exit code is then 3.

    The answers to one conversation (up to the last message of the user) are not taken for independent ones: intervals
    allow for it, and a limit `for each prompt` is held against the answers to each.

    With --calibration every rate stands beside that of the law, with the interval of their difference; a calibration of
    other rules is refused (exit code 2).

    What a text expresses is scored: by the words of the policy's own examples and of --labels, or by whatever a concept
    is `scored by`. A text whose score says too little is unscored, with the reason: no violation and no pass. Where a
    scorer gave no answer (a judge that was not reached, a budget that is used up), the exit code is 3.

    With --baseline, what was found before passes, and what is new or worse fails, judged by intervals that hold for all
    rules together; without --gate nothing else does.

    With --stop prompts are read in a random order until every limit and hard rule is decided, with intervals that hold
    at every look; what was not decided passes no gate. With --power violations of a rule are planted, and it is said
    how often this audit would find them.
    """
    need_folder(formats, out)
    compiled = compile_or_exit(rules)
    statistics = statistics.ready(compiled.require())
    earlier = baseline_or_exit(baseline, compiled.require().policy)
    sheets = labels_or_exit(label_sheets, compiled.require())
    scorers = scorers_or_exit(compiled, rules, scoring)
    law = None if calibration is None else _law(calibration, compiled.require())
    from bylaw.runtime.audit.inputs import ColumnNames

    columns = ColumnNames(prompt=prompt_column, response=response_column, system=system_column)
    wanted = tuple(comparison_of(text, compiled.require()) for text in comparisons)
    request = Request(compiled, transcripts, columns, scorers, wanted, examples, engine, workers, stopping)
    require_fixed_size(stopping, power, label_sheets, engine, baseline, statistics.against, calibration)
    with nullcontext() if out is None else report_directory_or_exit(out):
        measured = corrected(with_statistics(measure_or_exit(request), statistics), sheets)
        measured = finished(measured, power)
        record = measured.record
        compared = compare(record, earlier)
        if out is not None:
            write_files(out, formats, record, measured.traces, compiled, compared)
        if out is not None and measured.scoring is not None:
            click.echo(f"wrote {write_scores(measured.scoring, out)}", err=True)
    _print(record, law, compared, output)
    is_unanswered = measured.scoring is not None and say_unanswered(measured.scoring)
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


def _print(
    record: AuditRecord, law: CalibrationRecord | None, compared: BaselineComparison | None, output: str
) -> None:
    """The audit, and behind it how it compares with the law and the baseline; in JSON the keys `law` and `baseline`."""
    if output == "json" and not (law is None and compared is None):
        _print_json(record, law, compared)
        return
    print_record(record, output)
    if law is not None:
        _say_law(record, law, output)
    say_comparison(compared, output)


def _print_json(record: AuditRecord, law: CalibrationRecord | None, compared: BaselineComparison | None) -> None:
    """The record, with what it was compared with under keys of their own."""
    from bylaw.runtime.calibration.compare import compare
    from bylaw.runtime.record import to_json, writable
    from bylaw.runtime.report.audit_outcome import baseline_data

    data = json.loads(to_json(record))
    if law is not None:
        data["law"] = [writable(asdict(each)) for each in compare(record, law)]
    if compared is not None:
        data["baseline"] = baseline_data(compared)
    click.echo(json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False))


def _say_law(record: AuditRecord, law: CalibrationRecord, output: str) -> None:
    """How the audit compares with the law, behind it."""
    from bylaw.runtime.calibration.compare import HEADINGS, compare, rows
    from bylaw.runtime.calibration.text import markdown_table, print_table
    from bylaw.runtime.report.terminal import say, standard_output

    found = compare(record, law)
    title = f"against the law of the calibration on {law.model} (95 % intervals)"
    if output == "markdown":
        click.echo("\n".join(["", f"## {title.capitalize()}", "", *markdown_table(HEADINGS, rows(found))]))
        click.echo(f"\n{_ABOUT.format(law.prompt_count, law.prompts)}")
    else:
        console = standard_output()
        print_table(console, title, HEADINGS, rows(found))
        say(console, _ABOUT.format(law.prompt_count, law.prompts))
