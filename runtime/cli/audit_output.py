"""What `bylaw audit` does with `--report` and `--baseline`: checked before the work, written and said after it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from bylaw.runtime.cli.shared import GATE_FAILED, UNUSABLE, fail

if TYPE_CHECKING:
    from bylaw.compiler.pipeline import Compiled
    from bylaw.runtime.audit.baseline import Baseline, BaselineComparison
    from bylaw.runtime.record import AuditRecord
    from bylaw.spec.trace import Trace


def report_formats(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    """The callback of `--report`: the formats named, none where it is not given."""
    if value is None:
        return ()
    from bylaw.runtime.report.audit_files import formats_of
    from bylaw.runtime.report.write import ReportError

    try:
        return formats_of(value)
    except ReportError as error:
        raise click.BadParameter(str(error), ctx=context, param=parameter) from None


def need_folder(formats: Sequence[str], out: str | None) -> None:
    """Formats without a folder for them are a usage error."""
    if formats and out is None:
        raise click.UsageError("--report writes files: name their folder with --out")


def baseline_or_exit(path: str | None, policy: str) -> Baseline | None:
    """The baseline, read before any work is done; what is wrong with it is one message and exit code 2."""
    if path is None:
        return None
    from bylaw.runtime.audit.baseline import BaselineError, read_baseline, require_policy

    try:
        baseline = read_baseline(path)
        require_policy(baseline, policy)
    except BaselineError as error:
        fail(str(error), UNUSABLE)
    return baseline


def compare(record: AuditRecord, baseline: Baseline | None) -> BaselineComparison | None:
    """How the audit compares with the baseline, where there is one."""
    if baseline is None:
        return None
    from bylaw.runtime.audit.baseline import compare_with_baseline

    return compare_with_baseline(record, baseline)


def write_files(
    out: str,
    formats: Sequence[str],
    record: AuditRecord,
    traces: Iterable[Trace],
    compiled: Compiled,
    comparison: BaselineComparison | None,
) -> None:
    """Writes the formats into the folder, the report of old where none is named, and says which files those are.

    What cannot be written, and transcripts that are no longer those that were audited, is one message and exit code 2.
    """
    from bylaw.runtime.audit.inputs import TranscriptError
    from bylaw.runtime.report import write_report
    from bylaw.runtime.report.audit_files import write_audit_files
    from bylaw.runtime.report.audit_verdicts import OtherTranscripts
    from bylaw.runtime.report.write import ReportError

    try:
        if formats:
            paths = write_audit_files(out, formats, record, traces, compiled.require(), compiled.source, comparison)
        else:
            paths = write_report(record, out)
    except ReportError as error:
        fail(str(error), UNUSABLE)
    except (OtherTranscripts, TranscriptError) as error:
        fail(f"the transcripts changed while they were audited, so no report was written: {error}", UNUSABLE)
    for path in paths:
        click.echo(f"wrote {path}", err=True)


def say_comparison(comparison: BaselineComparison | None, output: str) -> None:
    """What changed since the baseline, behind the audit as `text` or `markdown`; `json` has it as a key of its own."""
    if comparison is None or output == "json":
        return
    if output == "markdown":
        from bylaw.runtime.report.audit_markdown import baseline_lines

        click.echo("\n".join(["", *baseline_lines(comparison)]))
        return
    from bylaw.runtime.calibration.text import print_table
    from bylaw.runtime.report.audit_baseline import HEADINGS, baseline_note, baseline_rows, baseline_sentence
    from bylaw.runtime.report.terminal import say, standard_output

    console = standard_output()
    told = [row for row in baseline_rows(comparison) if row[1] != "unchanged"]
    if told:
        print_table(console, f"since the baseline ({comparison.source})", HEADINGS, told)
    say(console, baseline_sentence(comparison))
    for note in (baseline_note(comparison), *comparison.notes):
        say(console, note)


def with_baseline(code: int, comparison: BaselineComparison | None) -> int:
    """The exit code: 4 where something is new or worse; otherwise as it was, an interrupt before all."""
    from bylaw.runtime.cli import INTERRUPTED

    if comparison is None or code == INTERRUPTED:
        return code
    return GATE_FAILED if comparison.fails else code
