"""Whether a record passes as a gate, decided from the very figures that the reports print."""

from __future__ import annotations

from bylaw.runtime.record import AuditRecord, BudgetResult, RunRecord, TermAudit
from bylaw.runtime.report.figures import limit_met
from bylaw.runtime.report.rows import run_rows


def passes_gate(record: AuditRecord | RunRecord) -> bool:
    """True when every hard rule and every limit is known to be kept.

    What could not be scored, and a limit of which it cannot be told whether it is kept, is no pass; a clause that
    applied nowhere is. An audit with a clause that too many answers could not be scored by does not pass either, be the
    clause weighed only. An audit that stops by itself has to have shown of every limit and hard rule that it is kept,
    and one with planted violations that it finds them. A run has to have converged as well.
    """
    if isinstance(record, AuditRecord):
        if record.stopping is not None and not record.stopping.is_kept:
            return False
        if not all(planted.is_enough for planted in record.power):
            return False
        return not too_unscored(record) and all(_passes(term, None) for term in record.terms)
    if record.regulated is None or (record.calibration is not None and not record.calibration.converged):
        return False
    return all(_passes(row.after, row.budget) for row in run_rows(record))


def too_unscored(record: AuditRecord) -> tuple[TermAudit, ...]:
    """The clauses of which more than `most_unscored` of the answers that they may apply to could not be scored."""
    return tuple(term for term in record.terms if not term.is_scored_enough)


def _passes(term: TermAudit | None, budget: BudgetResult | None) -> bool:
    if term is None:
        return False
    # people who labelled the answers may have found a violation of a hard rule that the verdicts missed
    if term.kind == "hard" and (term.violated or term.unscored or term.within is False):
        return False
    met = limit_met(term, budget)
    is_unknown = met == "cannot be told" and bool(term.applicable or term.unscored or budget)
    return met != "missed" and not is_unknown
