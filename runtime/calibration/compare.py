"""Rates that were measured beside those that the law of a calibration has.

A deployed model that follows its calibrated decoder, or was trained on the law, shows the rates of the law; one that
does not shows other ones. Both sides have errors, so the difference has an interval: that of Newcombe (1998, hybrid of
the two intervals, MOVER for means), which needs no counts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.runtime.calibration.record import CalibrationRecord, Estimate
from bylaw.runtime.calibration.report import shown
from bylaw.runtime.record import AuditRecord, Interval, TermAudit

HEADINGS = ("clause", "measured", "under the law", "difference", "verdict")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One clause. `measured` and `law` are None where there is nothing to compare; `verdict` is `agree` (no difference
    lies inside the 95 % interval of the difference), `above`, `below` or `not measured`."""

    term: str
    is_share: bool
    measured: Estimate | None
    law: Estimate | None
    difference: Estimate | None
    verdict: str


def compare(audit: AuditRecord, record: CalibrationRecord) -> tuple[Comparison, ...]:
    """Every clause of the audit against the law; the record is one of the same rules."""
    law = {rate.term: rate for rate in record.terms}
    return tuple(_comparison(term, law[term.term].law, law[term.term].is_share) for term in audit.terms)


def _comparison(term: TermAudit, law: Estimate | None, is_share: bool) -> Comparison:
    measured = _measured(term)
    if measured is None or law is None:
        return Comparison(term.term, is_share, measured, law, None, "not measured")
    value = measured.value - law.value
    low = value - math.hypot(measured.value - measured.interval.low, law.interval.high - law.value)
    high = value + math.hypot(measured.interval.high - measured.value, law.value - law.interval.low)
    verdict = "above" if low > 0 else "below" if high < 0 else "agree"
    return Comparison(term.term, is_share, measured, law, Estimate(value, Interval(low, high)), verdict)


def _measured(term: TermAudit) -> Estimate | None:
    if term.rate is not None and term.interval is not None:
        return Estimate(term.rate, term.interval)
    if term.mean is not None and term.mean_interval is not None:
        return Estimate(term.mean, term.mean_interval)
    return None


def rows(found: Sequence[Comparison]) -> list[tuple[str, ...]]:
    """Words under `HEADINGS`, a row for each clause."""
    return [
        (
            each.term,
            _words(each.measured, each.is_share),
            _words(each.law, each.is_share),
            _words(each.difference, each.is_share),
            each.verdict,
        )
        for each in found
    ]


def _words(found: Estimate | None, is_share: bool) -> str:
    if found is None:
        return "-"
    low, high = (shown(edge, is_share).removesuffix(" %") for edge in (found.interval.low, found.interval.high))
    return f"{shown(found.value, is_share)} [{low}, {high}]"
