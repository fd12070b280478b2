"""Writes an audit in the formats that were asked for, in one pass over the transcripts, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.baseline import BaselineComparison
from bylaw.runtime.audit.inspect_export import EARLIEST, ExportError, write_inspect_log
from bylaw.runtime.record import AuditRecord
from bylaw.runtime.report.audit_junit import audit_junit
from bylaw.runtime.report.audit_markdown import audit_markdown
from bylaw.runtime.report.audit_outcome import summary_json
from bylaw.runtime.report.audit_page import PER_RULE, AnswerCollector, audit_page
from bylaw.runtime.report.audit_sarif import audit_sarif
from bylaw.runtime.report.audit_verdicts import Judged, json_lines, judged
from bylaw.runtime.report.write import ReportError
from bylaw.spec.source import Source
from bylaw.spec.trace import Trace

FORMATS: dict[str, str] = {
    "html": "audit.html", "md": "audit.md", "jsonl": "verdicts.jsonl", "junit": "junit.xml", "sarif": "audit.sarif",
    "inspect": "audit.eval",
}  # fmt: skip
"""The file of each format; `inspect` is a log that `inspect view` opens. Always written beside them is `summary.json`,
which a later audit takes as its baseline."""

SUMMARY = "summary.json"


def formats_of(text: str) -> tuple[str, ...]:
    """The formats in `html,md,...`, each once. Raises ReportError for none and for one that there is not."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        said = f"there is no report format `{unknown[0]}`" if unknown else "no report format was named"
        raise ReportError(f"{said}; choose of {', '.join(FORMATS)}, with commas between them")
    return names


def write_audit_files(
    directory: str | Path,
    formats: Sequence[str],
    record: AuditRecord,
    traces: Iterable[Trace],
    program: RewardProgram,
    policy: Source,
    comparison: BaselineComparison | None = None,
    per_rule: int = PER_RULE,
) -> list[Path]:
    """Writes the chosen formats and `summary.json` into `directory`, which is made where it is missing.

    `traces` are those of `record` (with the scores of concepts, where they were scored), `policy` is the file that
    `program` was compiled from. The page shows `per_rule` answers a rule. Formats of an earlier report that were not
    chosen are removed: they would say something else. Returns the paths. Raises ReportError where a file cannot be
    written, OtherTranscripts where the traces are not those of the record; nothing is replaced then.
    """
    folder = Path(directory)
    chosen = formats_of(",".join(formats))
    waiting: dict[Path, Path] = {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, lines in _contents(chosen, record, traces, program, policy, comparison, per_rule):
            temporary = folder / f".{os.getpid()}.tmp.{name}"
            waiting[temporary] = folder / name
            if name == FORMATS["inspect"]:
                _write_log(temporary, record, traces, program)
                continue
            # half a surrogate pair cannot be written; in JSON the escape means the same
            with temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
                file.writelines(lines)
        for temporary, place in waiting.items():
            os.replace(temporary, place)
        for name, other in FORMATS.items():
            if name not in chosen:
                (folder / other).unlink(missing_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ReportError(f"the report cannot be written to `{folder}`: {reason}") from error
    finally:
        for temporary in waiting:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return list(waiting.values())


def _contents(
    chosen: Sequence[str],
    record: AuditRecord,
    traces: Iterable[Trace],
    program: RewardProgram,
    policy: Source,
    comparison: BaselineComparison | None,
    per_rule: int,
) -> Iterator[tuple[str, Iterable[str]]]:
    """(file name, its text in pieces), to be taken in order: the page shows answers that pass by before it."""
    collector = AnswerCollector(per_rule)
    if "html" in chosen or "jsonl" in chosen:
        verdicts: Iterable[Judged] = judged(program, traces, record)
        if "html" in chosen:
            verdicts = collector.adding(verdicts)
        if "jsonl" in chosen:
            yield FORMATS["jsonl"], json_lines(verdicts, program, policy)
        else:
            for _ in verdicts:
                pass
    if "html" in chosen:
        yield FORMATS["html"], (audit_page(record, collector, comparison),)
    if "md" in chosen:
        yield FORMATS["md"], (audit_markdown(record, comparison),)
    if "junit" in chosen:
        yield FORMATS["junit"], (audit_junit(record, comparison) + "\n",)
    if "sarif" in chosen:
        yield FORMATS["sarif"], (audit_sarif(record, program, policy, comparison),)
    if "inspect" in chosen:
        yield FORMATS["inspect"], ()
    yield SUMMARY, (summary_json(record, comparison),)


def _write_log(place: Path, record: AuditRecord, traces: Iterable[Trace], program: RewardProgram) -> None:
    """The log of Inspect, in a pass of its own. An audit has no time of its own, so that equal audits give equal bytes:
    the log carries the one of SOURCE_DATE_EPOCH (seconds), where that is set. Raises ReportError."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "").strip()
    try:
        created = datetime.fromtimestamp(int(given), UTC) if given else EARLIEST
    except (ValueError, OverflowError, OSError):
        raise ReportError(f"SOURCE_DATE_EPOCH is {given!r}: write seconds since 1970, or unset it") from None
    scored = ((each.trace, each.scores) for each in judged(program, traces, record))
    try:
        write_inspect_log(record, traces, scored, place, created=created)
    except ExportError as error:
        raise ReportError(str(error)) from error
