"""An audit as JUnit XML: one test case a clause."""

from __future__ import annotations

from bylaw.runtime.audit.baseline import FAILING, BaselineComparison, Change
from bylaw.runtime.cli.formats import Case, Failure, junit
from bylaw.runtime.power_record import PlantedPower
from bylaw.runtime.record import AuditRecord, Finding, TermAudit
from bylaw.runtime.report import figures
from bylaw.runtime.report.audit_outcome import STATES, State, state
from bylaw.runtime.report.audit_stopping import power_sentence
from bylaw.runtime.report.text import one_line

_EXCERPT = 300


def audit_junit(record: AuditRecord, comparison: BaselineComparison | None = None) -> str:
    """One case a clause: it fails where a gate would, and is an error where it cannot be told.

    Planted violations that the audit may not find are an error too. With a baseline, it fails where something is new or
    worse and nowhere else, as an error where it was not measured.
    """
    changes = {} if comparison is None else {change.term: change for change in comparison.changes}
    cases = [_case(term, record, changes.get(term.term)) for term in record.terms]
    if comparison is None:
        cases += [_planted(found) for found in record.power]
    return junit(f"bylaw audit {record.policy}", cases)


def _planted(found: PlantedPower) -> Case:
    sentence = power_sentence((found,))
    errors = () if found.is_enough else (Failure("unknown", sentence, sentence),)
    return Case("bylaw.audit.power", found.term, errors=errors, output=sentence if found.is_enough else "")


def _case(term: TermAudit, record: AuditRecord, change: Change | None) -> Case:
    details = "\n".join(_details(term, record, change))
    failure = Failure(*_kind(term, record, change), details)
    is_error = change.status == "not measured" if change is not None else _is_open(term, record)
    is_failure = not is_error and (
        change.status in FAILING if change is not None else state(term, record) in ("broken", "unshown")
    )
    return Case(
        f"bylaw.audit.{term.rule}",
        term.term,
        (failure,) if is_failure else (),
        (failure,) if is_error else (),
        "" if is_failure or is_error else details,
    )


def _is_open(term: TermAudit, record: AuditRecord) -> bool:
    """Whether the gate does not let a clause pass of which nothing is known to be wrong."""
    is_binding = term.kind == "hard" or term.bound is not None or not term.is_scored_enough
    return state(term, record) == "unknown" and is_binding


def _kind(term: TermAudit, record: AuditRecord, change: Change | None) -> tuple[str, str]:
    if change is not None:
        return change.status, f"{term.term}: {change.reason}"
    words: dict[State, str] = dict(STATES)
    stands = state(term, record)
    if stands == "unshown":
        return figures.NOT_SHOWN, f"{term.term}: {figures.NOT_SHOWN}: {figures.not_shown_words(term, record)}"
    return stands, f"{term.term}: {words[stands]}; {_measured(term)}"


def _measured(term: TermAudit) -> str:
    interval = figures.outcome_interval(term)
    counted = "" if term.mean is not None else f" ({figures.broken(term)})"
    sure = "" if interval == figures.NOTHING else f", 95% interval {interval}"
    return f"{figures.outcome(term)}{counted}{sure}"


def _details(term: TermAudit, record: AuditRecord, change: Change | None) -> list[str]:
    lines = [f"{term.location}: {term.clause}", f"measured: {_measured(term)}"]
    if term.bound is not None:
        met = figures.limit_outcome(term, None, record)
        lines.append(f"limit: {figures.limit(term)}: {met} {figures.limit_bound(term)}".rstrip())
    lines.append(f"not applicable: {term.not_applicable:,} of {record.transcripts:,}")
    lines.append(f"unscored: {figures.unscored(term)}")
    lines += [f"  {count:,}: {one_line(reason)}" for reason, count in term.reasons]
    if change is not None:
        lines.append(f"since the baseline: {change.status}: {change.reason}")
    lines += [line for finding in term.findings for line in _finding(finding)]
    return lines


def _finding(finding: Finding) -> list[str]:
    words = [finding.response[start:end] for start, end in finding.spans] or [finding.response]
    shown = "; ".join(one_line(each, _EXCERPT) for each in words[:3])
    event = "" if finding.event is None else f" ({one_line(finding.event, _EXCERPT)})"
    return [f"broken in {one_line(finding.source)}{event}: {shown}"]
