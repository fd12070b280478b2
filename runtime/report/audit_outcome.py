"""What an audit comes to: one verdict, the rules in order of concern, and a summary for programs.

The verdict is that of the gate (`passes_gate`), in words: rules that must hold and limits decide it, rules that are
weighed and preferences do not.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bylaw.runtime.audit.baseline import FAILING, BaselineComparison
from bylaw.runtime.record import AuditRecord, TermAudit, writable
from bylaw.runtime.report.audit_stopping import power_sentence, stopping_sentence
from bylaw.runtime.report.figures import NOT_SHOWN, is_not_shown, limit_met, percent, plural, stated_percent
from bylaw.runtime.report.gate import passes_gate, too_unscored
from bylaw.runtime.report.text import one_line

SUMMARY_SCHEMA_VERSION = 1

State = Literal["broken", "unshown", "unknown", "weighed", "kept", "idle"]
STATES: tuple[tuple[State, str], ...] = (
    ("broken", "broken"),
    ("unshown", NOT_SHOWN),
    ("unknown", "cannot be told"),
    ("weighed", "broken at times, which its weight allows"),
    ("kept", "kept"),
    ("idle", "never applied"),
)
"""From the most to the least concern, with the words for readers."""

Result = Literal["passed", "failed", "cannot be told"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The verdict of an audit in one word, one sentence, and what to know beside it."""

    result: Result
    headline: str
    remarks: tuple[str, ...]


def state(term: TermAudit, record: AuditRecord | None = None) -> State:
    """How a clause stands. `broken`, `unshown` and `unknown` are just what a gate does not let pass.

    `unshown` is a limit that asks for a confidence which the answers do not give, though they do not speak against it
    (`figures.is_not_shown`, which reads `record`).
    """
    if is_not_shown(term, record):
        return "unshown"
    met = limit_met(term)
    if (term.kind == "hard" and (term.violated or term.within is False)) or met == "missed":
        return "broken"
    if not term.is_decided:
        return "unknown"
    if not term.applicable and not term.unscored:
        return "idle"
    if (term.kind == "hard" and term.unscored) or met == "cannot be told" or not term.is_scored_enough:
        return "unknown"
    if term.kind == "soft" and term.violated:
        return "weighed"
    return "unknown" if not term.applicable else "kept"


def by_concern(terms: Sequence[TermAudit], record: AuditRecord | None = None) -> tuple[TermAudit, ...]:
    """The worst first: by state, then by how often a clause is broken at least (the low end of its interval)."""
    order = [name for name, _ in STATES]
    return tuple(sorted(terms, key=lambda term: (order.index(state(term, record)), -_at_least(term))))


def _at_least(term: TermAudit) -> float:
    """The rate that is certain; for a share that has to be large, how much is missing at least."""
    if term.interval is None:
        return 0.0
    return 1 - term.interval.high if term.sense == "at least" else term.interval.low


def outcome_of(record: AuditRecord) -> Outcome:
    """The verdict on all rules that must hold and all limits."""
    binding = [term for term in record.terms if term.kind == "hard" or term.bound is not None]
    found = {name: [term for term in binding if state(term, record) == name] for name, _ in STATES}
    count = plural(len(binding), "rule or limit", "rules and limits")
    if found["broken"] or found["unshown"]:
        result: Result = "failed"
        words = _failed(len(found["broken"]), len(found["unshown"]), count)
    elif found["unknown"]:
        result = "cannot be told"
        words = f"Of {count} that must be kept, it cannot be told whether {len(found['unknown'])} were."
    elif not passes_gate(record):
        result, words = "cannot be told", _why_no_pass(record)
    elif not record.transcripts:
        result, words = "cannot be told", "No transcript was audited, so nothing is known."
    elif not binding:
        result, words = "passed", "This policy has no rule that must hold and no limit: nothing could fail."
    elif len(found["idle"]) == len(binding):
        result, words = "cannot be told", "No rule that must be kept ever applied, so nothing is known of them."
    else:
        result, words = "passed", f"None of {count} that must be kept was found broken."
    return Outcome(result, words, tuple(_remarks(record, found["idle"], result)))


def _failed(broken: int, unshown: int, count: str) -> str:
    """`3 of 4 rules and limits that must be kept were broken, 1 was not shown to be kept.`"""
    parts = [
        f"{number} {_was(number)} {words}" for number, words in ((broken, "broken"), (unshown, NOT_SHOWN)) if number
    ]
    return ", ".join(parts).replace(" ", f" of {count} that must be kept ", 1) + "."


def _why_no_pass(record: AuditRecord) -> str:
    """Why a gate does not pass although no rule or limit is broken or open."""
    lost = too_unscored(record)
    if not lost and record.stopping is not None and not record.stopping.is_kept:
        return stopping_sentence(record.stopping)
    if not lost:
        return power_sentence(record.power)
    worst = max(lost, key=lambda term: term.unscored / (term.applicable + term.unscored))
    share = percent(worst.unscored / (worst.applicable + worst.unscored))
    return (
        f"Too much could not be scored: {share} of the answers to which {one_line(worst.term)} may apply, where "
        f"{stated_percent(record.most_unscored)} are allowed."
    )


def _remarks(record: AuditRecord, idle: Sequence[TermAudit], result: Result) -> list[str]:
    hard = [term for term in record.terms if term.kind == "hard" and term.interval is not None]
    said = []
    if result == "passed" and hard:
        worst = max(hard, key=lambda term: term.interval.high if term.interval else 0.0)
        assert worst.interval is not None
        said.append(
            f"That is no proof: a rule that is broken in up to {percent(worst.interval.high)} of the answers to which "
            "it applies could have gone unseen here (95% interval)."
        )
    if idle and record.transcripts and len(idle) < len(record.terms):
        said.append(f"{plural(len(idle), 'rule')} of these never applied: nothing is known of {_them(len(idle))}.")
    weighed = sum(state(term, record) == "weighed" for term in record.terms)
    if weighed:
        said.append(
            f"{plural(weighed, 'weighed rule')} {_was(weighed)} broken at times. Such rules are traded against others "
            "and do not decide the verdict."
        )
    if record.problems:
        said.append(f"{plural(len(record.problems), 'part')} of the input could not be read and {_was_left(record)}.")
    return said


def _was_left(record: AuditRecord) -> str:
    return "was left out" if len(record.problems) == 1 else "were left out"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"


# ------------------------------------------------------------------------------------------------------- for programs
def summary_json(record: AuditRecord, comparison: BaselineComparison | None = None) -> str:
    """The figures of an audit as JSON without any text of an answer or prompt: fit to be kept as a baseline.

    Fields are those of `AuditRecord` and `TermAudit`; besides, `result` is the verdict, `gate` whether it passes, and
    `state` how each clause stands. `baseline` is what a comparison found.
    """
    outcome = outcome_of(record)
    data: dict[str, Any] = {
        "schema_version": SUMMARY_SCHEMA_VERSION,
        "policy": record.policy,
        "policy_version": record.policy_version,
        "policy_digest": record.policy_digest,
        "source": record.source,
        "transcripts": record.transcripts,
        "clusters": record.clusters,
        "complete": record.complete,
        "result": outcome.result,
        "headline": outcome.headline,
        "remarks": list(outcome.remarks),
        "gate": passes_gate(record),
        "problems": len(record.problems),
        "terms": [_term_data(term, record) for term in record.terms],
        "most_unscored": record.most_unscored,
        "unscored_too_often": [term.term for term in too_unscored(record)],
        **_together_data(record),
    }
    if comparison is not None:
        data["baseline"] = baseline_data(comparison)
    return json.dumps(writable(data), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def baseline_data(comparison: BaselineComparison) -> dict[str, Any]:
    """What a comparison with a baseline found, as plain data that JSON can write."""
    data = {
        "source": comparison.source,
        "fails": comparison.fails,
        "failing": sorted(change.term for change in comparison.changes if change.status in FAILING),
        "intervals": comparison.intervals,
        "confidence": comparison.confidence,
        "changes": [dataclasses.asdict(change) for change in comparison.changes],
        "notes": list(comparison.notes),
    }
    plain: dict[str, Any] = writable(data)
    return plain


def _together_data(record: AuditRecord) -> dict[str, Any]:
    """What is said of all rules together, and by other steps of an audit, where there is any of it."""
    found: dict[str, Any] = {
        "tests": record.tests,
        "score": record.score,
        "against": record.against,
        "stopping": record.stopping,
    }
    data: dict[str, Any] = {name: dataclasses.asdict(value) for name, value in found.items() if value is not None}
    several: dict[str, Any] = {"labellers": record.labellers, "corrections": record.corrections, "power": record.power}
    data.update({name: [dataclasses.asdict(each) for each in values] for name, values in several.items() if values})
    return data


def _term_data(term: TermAudit, record: AuditRecord) -> dict[str, Any]:
    fields = dataclasses.asdict(dataclasses.replace(term, findings=(), worst_prompt=None))
    # they quote what people and models said
    for name in ("findings", "worst_prompt"):
        del fields[name]
    return {**fields, "state": state(term, record)}
