"""How an audit compares with its baseline, in words, rows and a chart."""

from __future__ import annotations

from bylaw.runtime.audit.baseline import FAILING, BaselineComparison, Change
from bylaw.runtime.record import Interval
from bylaw.runtime.report.charts import Estimate, RateRow
from bylaw.runtime.report.figures import NOTHING, percent, plural, quantity, stated_percent
from bylaw.runtime.report.text import one_line

HEADINGS = ("rule", "since the baseline", "baseline", "now", "difference (now minus baseline)", "why")
_NAMED = 5
_ORDER = ("not measured", "new", "worse", "known", "added", "removed", "fixed", "better", "unchanged")


def baseline_sentence(comparison: BaselineComparison) -> str:
    """What the comparison comes to."""
    failing = [change for change in in_order(comparison) if change.status in FAILING]
    known = sum(change.status == "known" for change in comparison.changes)
    rest = f" {plural(known, 'finding')} of the baseline {'is' if known == 1 else 'are'} still there." if known else ""
    if not failing:
        return f"Nothing is new or shown to be worse than in the baseline.{rest}"
    named = ", ".join(f"{change.term} ({change.status})" for change in failing[:_NAMED])
    more = f" and {len(failing) - _NAMED} more" if len(failing) > _NAMED else ""
    verb = "fails" if len(failing) == 1 else "fail"
    return f"Held against the baseline, {plural(len(failing), 'rule')} {verb}: {named}{more}.{rest}"


def baseline_note(comparison: BaselineComparison) -> str:
    """How sure the comparison is."""
    return (
        f"The {plural(comparison.intervals, 'interval')} of this comparison hold together with "
        f"{stated_percent(comparison.confidence)} confidence, so that a policy of many rules does not fail by chance. "
        "A rule counts as worse only where its whole interval is on the worse side; the interval also says how much "
        "worse it may have become unseen."
    )


def in_order(comparison: BaselineComparison) -> tuple[Change, ...]:
    """The changes, those that fail first."""
    return tuple(sorted(comparison.changes, key=lambda change: _ORDER.index(change.status)))


def baseline_rows(comparison: BaselineComparison) -> list[tuple[str, ...]]:
    """One row a clause under `HEADINGS`, those that fail first."""
    return [
        (
            one_line(change.term),
            change.status,
            value_words(change.then, change.is_share),
            value_words(change.now, change.is_share),
            difference_words(change.difference, change.is_share),
            change.reason,
        )
        for change in in_order(comparison)
    ]


def baseline_rate_rows(comparison: BaselineComparison, labels: dict[str, str]) -> tuple[RateRow, ...]:
    """Rates then and now of the clauses that both audits measured, for the chart; `labels` names the clauses."""
    return tuple(
        RateRow(
            labels.get(change.term, change.clause),
            Estimate(change.then, change.then_interval.low, change.then_interval.high),
            Estimate(change.now, change.now_interval.low, change.now_interval.high),
        )
        for change in in_order(comparison)
        if change.is_share
        and change.then is not None
        and change.now is not None
        and change.then_interval is not None
        and change.now_interval is not None
    )


def value_words(value: float | None, is_share: bool) -> str:
    """A rate or mean."""
    if value is None:
        return NOTHING
    return percent(value) if is_share else quantity(value)


def difference_words(interval: Interval | None, is_share: bool) -> str:
    """The interval of a difference of rates or means."""
    if interval is None:
        return NOTHING
    if is_share:
        return f"{_points(interval.low)} to {_points(interval.high)} percentage points"
    return f"{_signed(interval.low)} to {_signed(interval.high)}"


def _points(share: float) -> str:
    """A difference of shares in percentage points, with one decimal below ten."""
    value = 100 * share
    return f"{value:+.0f}" if abs(value) >= 10 else f"{value:+.1f}"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + quantity(value)
