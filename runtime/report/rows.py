"""A run clause by clause: what two audits, the calibration and the price say about the same term."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bylaw.runtime.record import AuditRecord, BudgetResult, RunRecord, TermAudit, TermPrice
from bylaw.runtime.report.charts import BarRow, Estimate, RateRow


@dataclass(frozen=True, slots=True)
class RunRow:
    """One clause. `term` is the audit to take its words from; None where a part of the run was not reached.

    `budget` is as the final samples have it, else as calibration found it.
    """

    term: TermAudit
    before: TermAudit | None
    after: TermAudit | None
    budget: BudgetResult | None
    price: TermPrice | None


def run_rows(record: RunRecord) -> tuple[RunRow, ...]:
    """The clauses of a run in the order of the policy; none where no audit was reached."""
    before = _by_id(record.base)
    after = _by_id(record.regulated)
    budgets = {b.term: b for part in (record.calibration, record.check) if part for b in part.budgets}
    prices = {p.term: p for p in record.price.terms} if record.price else {}
    return tuple(
        RunRow(after.get(key) or before[key], before.get(key), after.get(key), budgets.get(key), prices.get(key))
        for key in {**after, **before}
    )


def _by_id(audit: AuditRecord | None) -> dict[str, TermAudit]:
    return {} if audit is None else {term.term: term for term in audit.terms}


def run_rate_rows(record: RunRecord) -> tuple[RateRow, ...]:
    """The clauses of a run that have a rate, for the chart."""
    rows = (_rate_row(row.term, row.before, row.after) for row in run_rows(record))
    return tuple(row for row in rows if row.before or row.after)


def audit_rate_rows(record: AuditRecord) -> tuple[RateRow, ...]:
    """The clauses of an audit that have a rate, for the chart."""
    rows = (_rate_row(term, None, term) for term in record.terms)
    return tuple(row for row in rows if row.after)


def price_rows(record: RunRecord) -> tuple[BarRow, ...]:
    """The price of every clause in nats, the dearest first."""
    rows = [
        BarRow(row.term.title or row.term.clause, row.price.kl, row.price.standard_error)
        for row in run_rows(record)
        if row.price is not None and math.isfinite(row.price.kl + row.price.standard_error)
    ]
    return tuple(sorted(rows, key=lambda row: -row.value))


def _rate_row(term: TermAudit, before: TermAudit | None, after: TermAudit | None) -> RateRow:
    first, second = _estimate(before), _estimate(after)
    is_share = first is not None or second is not None
    limit = term.bound if is_share else None
    return RateRow(term.title or term.clause, first, second, limit, term.sense != "at least")


def _estimate(term: TermAudit | None) -> Estimate | None:
    if term is None or term.rate is None or term.interval is None:
        return None
    return Estimate(term.rate, term.interval.low, term.interval.high)
