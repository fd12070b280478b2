"""Whether a record passes as a gate, decided from the very figures that the reports print."""

from __future__ import annotations

from bylaw.runtime.record import AuditRecord, BudgetResult, RunRecord, TermAudit
from bylaw.runtime.report.figures import limit_met
from bylaw.runtime.report.rows import run_rows


def passes_gate(record: AuditRecord | RunRecord) -> bool:
    """True when every hard rule and every limit is known to be kept.

    What could not be scored, and a limit of which it cannot be told whether it is kept, is no pass; a clause that
    applied nowhere is. A run has to have converged as well.
    """
    if isinstance(record, AuditRecord):
        return all(_passes(term, None) for term in record.terms)
    if record.regulated is None or (record.calibration is not None and not record.calibration.converged):
        return False
    return all(_passes(row.after, row.budget) for row in run_rows(record))


def _passes(term: TermAudit | None, budget: BudgetResult | None) -> bool:
    if term is None:
        return False
    if term.kind == "hard" and (term.violated or term.unscored):
        return False
    met = limit_met(term, budget)
    is_unknown = met == "cannot be told" and bool(term.applicable or term.unscored or budget)
    return met != "missed" and not is_unknown
