"""What `bylaw price` found, as sections of cells: the same for a terminal, Markdown and HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.runtime.prices.curve import Curve
from bylaw.runtime.prices.interactions import Interactions, Pair
from bylaw.runtime.prices.law import Measured
from bylaw.runtime.prices.shares import ROUNDING
from bylaw.runtime.prices.table import PriceRow, PriceTable
from bylaw.runtime.prices.what_if import Side, Totals, WhatIf, WhatIfRow
from bylaw.runtime.report import figures

MOST_COLUMNS = 12
"""Rules in a matrix of interactions; of more, only the pairs that are told apart are shown."""


LAW_NOTE = (
    "Intervals of rates and divergences are those of the law with these multipliers, as it would be enforced: another "
    "calibration would find slightly other multipliers, within their intervals, and so another law."
)
CURVE_NOTE = (
    "Intervals are 95%. Rates along the curve are not corrected for the bias of self-normalised means, which is of the "
    "order of one over the effective number: they may differ from the table by that."
)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading, sentences, and a table, each where there is one. `picture` names a plot that belongs to it."""

    title: str
    sentences: tuple[str, ...] = ()
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    notes: tuple[str, ...] = ()
    picture: str = ""


def price_sections(policy: str, table: PriceTable, found: Interactions) -> tuple[Section, ...]:
    """The table of prices and the interactions."""
    header = ("rule", "without rules", "under the law", "nats", "price", "divergence", "slack")
    rows = tuple(
        (
            _name(row.title, row.term, row.kind),
            rate(row.base, row.is_share),
            rate(row.law, row.is_share),
            _strength(row.kind, row.strength, row.strength_low, row.strength_high),
            _price(row),
            f"{nats(row.kl)} ± {nats(1.96 * row.kl_standard_error)}"
            + ("" if row.share is None else f" ({share(row.share)})"),
            _slack(row.slack, row.law, row.is_share),
        )
        for row in table.rows
    )
    remarks = tuple(f"`{row.term}`: {remark}" for row in table.rows for remark in row.remarks)
    limits = (LAW_NOTE,) if any(row.kind == "budget" for row in table.rows) else ()
    prices = Section(
        f"What the rules of {policy} cost",
        (
            f"The policy moves the model by {_nats(table.kl)} a response (KL divergence from the base model).",
            f"From {figures.plural(table.samples, 'scored response')} to {figures.plural(table.prompts, 'prompt')}; "
            f"effective under the law {figures.quantity(table.ess)} in all and {figures.quantity(table.smallest_ess)} "
            f"for the hardest prompt. Divided by: {table.method}. Intervals are 95%.",
        ),
        header,
        rows,
        (
            *remarks,
            "nats: a weight, or the multiplier that keeps a limit (interval). Price of a limit: by how many nats the "
            "divergence, less what weighed rules gain, changes when its bound is raised by one percentage point (by 1 "
            "for a quantity); where a bound gives way, with what it is missed by at its price. Price of a weighed "
            "rule: what one more nat of weight does to the divergence and to its rate.",
            *limits,
        ),
        "rates",
    )
    return prices, Section("What each rule adds to the divergence", picture="shares"), _interactions(found)


def what_if_sections(found: WhatIf) -> tuple[Section, ...]:
    """Before and after."""
    header = ("rule", "before", "after", "nats", "divergence", "limit")
    rows = tuple(
        (
            ("* " if row.is_changed else "") + _name(row.title, row.term, row.kind),
            rate(row.before.rate, row.is_share),
            rate(row.after.rate, row.is_share),
            _then(_side_strength(row, row.before), _side_strength(row, row.after)),
            _then(_kl(row.before), _kl(row.after)),
            _limit(row),
        )
        for row in found.rows
    )
    section = Section(
        f"What if: {', '.join(found.changes)}",
        (
            f"Divergence from the base model: {_nats(found.before.kl)} before, {_nats(found.after.kl)} after.",
            f"From {figures.plural(found.samples, 'scored response')} to {figures.plural(found.prompts, 'prompt')}; "
            f"effective {_worth(found.before)} before, {_worth(found.after)} after. Divided by: {found.method}.",
        ),
        header,
        rows,
        (
            "* marks what is changed; its limit is the new one. Intervals are 95%.",
            *((LAW_NOTE,) if any(row.kind == "budget" for row in found.rows) else ()),
        ),
        "what-if",
    )
    return (section,)


def curve_sections(found: Curve) -> tuple[Section, ...]:
    """One limit at every bound."""
    write = share if found.is_share else figures.quantity
    stated = figures.stated_percent if found.is_share else figures.quantity
    header = ("bound", "rate", "multiplier (nats)", "divergence of the limits (nats)", "effective")
    rows = tuple(
        (
            write(point.bound) + (" (as it is)" if point.bound == found.bound else ""),
            rate(point.rate, found.is_share) if point.rate else point.outcome,
            _interval(point.multiplier),
            _interval(point.kl),
            figures.NOTHING if point.ess is None else figures.quantity(point.ess),
        )
        for point in found.points
    )
    now = next((point for point in found.points if point.bound == found.bound), None)
    paid = "" if now is None or now.kl is None else f", where the limits cost {_nats(now.kl)}"
    sentences = [
        f"Without this limit its rate is {write(found.free_rate)}, and the other limits cost "
        f"{nats(found.free_kl)} nats. The limit is {found.sense} {stated(found.bound)}{paid}.",
        f"The scored responses allow {write(found.least)} to {write(found.most)}.",
    ]
    hard = {point.bound for point in found.points if point.outcome == "hard rule"}
    sentences += [
        f"At {write(first)} the limit is a hard rule: no multiplier is large enough."
        if first in hard
        else f"Between {write(last)} and {write(first)} the sampled support ends: no law on it goes farther."
        for last, first in found.edges
    ]
    title = f"What `{found.term}` costs at other bounds"
    return (Section(title, tuple(sentences), header, rows, (CURVE_NOTE,), "tradeoff"),)


def _interval(found: Measured | None) -> str:
    if found is None:
        return figures.NOTHING
    return f"{nats(found.value)} ({nats(found.low)} to {nats(found.high)})"


def _interactions(found: Interactions) -> Section:
    if not found.pairs:
        return Section("Which rules interact", ("There are no two rules to compare.",))
    sentences = [_pair(pair, "pull against each other") for pair in found.tension]
    sentences += [_pair(pair, "help each other") for pair in found.support]
    if not sentences:
        sentences = ["No two rules can be told from being free of each other."]
    looked = (
        f"Of {figures.plural(found.pairs, 'pair')}, those whose covariance lies beyond its error (5% for all together)."
    )
    header: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    if 1 < len(found.terms) <= MOST_COLUMNS:
        header = ("correlation", *(str(number) for number in range(1, len(found.terms) + 1)))
        rows = tuple(
            (f"{row + 1} {name}", *(_correlation(found, row, column) for column in range(len(found.terms))))
            for row, name in enumerate(found.terms)
        )
    known = found.correlation_error[np.isfinite(found.correlation_error)]
    note = (
        "Under the law; for a hard rule, under the law without it. Negative: what one rule gains the other loses. "
        f"* beyond its error; the largest error (95%) is ±{1.96 * known.max(initial=0.0):.2f}."
    )
    return Section("Which rules interact", (*sentences, looked), header, rows, (note,), "interactions")


def _pair(pair: Pair, how: str) -> str:
    return (
        f"`{pair.first}` and `{pair.second}` {how}: correlation {pair.correlation:+.2f}, one nat of either moves the "
        f"other by {pair.covariance:+.2g} ± {1.96 * pair.covariance_error:.1g}"
    )


def _correlation(found: Interactions, row: int, column: int) -> str:
    if column >= row:
        return "1" if column == row else ""
    value, pair = found.correlation[row, column], {found.terms[row], found.terms[column]}
    if not math.isfinite(value):
        return figures.NOTHING
    return f"{value:+.2f}" + ("*" if any(pair == {p.first, p.second} for p in (*found.tension, *found.support)) else "")


# ------------------------------------------------------------------------------------------------------------ cells
def share(value: float) -> str:
    """A share in % to three figures; only 0 and 1 themselves are `0%` and `100%`."""
    return f"{100 * value:.3g}%" if 1e-5 <= abs(value) < 0.9995 else figures.percent(value)


def nats(value: float) -> str:
    """Nats to three figures; what is nothing but rounding is 0."""
    if not math.isfinite(value):
        return figures.quantity(value)
    return "0" if abs(value) < ROUNDING else f"{value:.3g}"


def rate(found: Measured | None, is_share: bool) -> str:
    """A rate or mean with its interval."""
    if found is None:
        return "never applied"
    write = share if is_share else figures.quantity
    if found.low == found.high:
        return write(found.value)
    return f"{write(found.value)} ({write(found.low)} to {write(found.high)})"


def _name(title: str | None, term: str, kind: str) -> str:
    return f"{title or term} [{dict(figures.KINDS).get(kind, kind)}{f' {term}' if title else ''}]"


def _strength(kind: str, value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "must hold" if kind == "hard" else figures.NOTHING
    if low is None or high is None:
        return figures.quantity(value)
    return f"{figures.quantity(value)} ({figures.quantity(low)} to {figures.quantity(high)})"


def _side_strength(row: WhatIfRow, side: Side) -> str:
    if side.status in ("left out", "must hold", "is about no response"):
        return side.status
    return _strength(row.kind, side.strength, side.strength_low, side.strength_high)


def _price(row: PriceRow) -> str:
    unit = 100.0 if row.is_share else 1.0
    if row.shadow_price is not None and row.shadow_low is not None and row.shadow_high is not None:
        cells = (nats(value / unit + 0.0) for value in (row.shadow_price, row.shadow_low, row.shadow_high))
        return "{} ({} to {})".format(*cells)
    if row.buys is None:
        return figures.NOTHING
    moved, error = row.buys.rate.value, row.buys.rate.value - row.buys.rate.low
    unit = 100.0 if row.is_share else 1.0
    change = f"{_signed(unit * moved, unit * error)}{' points' if row.is_share else ''}"
    return f"{_signed(row.buys.kl.value, row.buys.kl.value - row.buys.kl.low)} nats, {change}"


def _signed(value: float, error: float) -> str:
    """A change with its error; what is nothing but rounding is 0."""
    return "0" if abs(value) < 1e-9 else f"{value:+.2g} ± {error:.1g}"


def _kl(side: Side) -> str:
    return f"{nats(side.kl)} ± {nats(1.96 * side.kl_standard_error)}"


def _then(before: str, after: str) -> str:
    return before if before == after else f"{before}, then {after}"


def _limit(row: WhatIfRow) -> str:
    side = row.after
    if side.bound is None or row.sense is None:
        return figures.NOTHING
    bound = figures.stated_percent(side.bound) if row.is_share else f"{side.bound:g}"
    room = "" if side.slack is None else f", slack {_slack(side.slack, side.rate, row.is_share)}"
    gives = ", at its highest price" if side.status == "saturated" else ""
    return f"{row.sense} {bound}{room}{gives}"


def _slack(value: float | None, found: Measured | None, is_share: bool) -> str:
    """The room to a bound; nothing where it is small beside the error of the rate."""
    if value is None or found is None:
        return figures.NOTHING
    if abs(value) <= max(0.01 * (found.high - found.low), 1e-9):
        return "0"
    sign = "-" if value < 0 else ""
    return sign + (share(abs(value)) if is_share else figures.quantity(abs(value)))


def _nats(found: Measured) -> str:
    return f"{nats(found.value)} nats ({nats(found.low)} to {nats(found.high)})"


def _worth(totals: Totals) -> str:
    return f"{figures.quantity(totals.ess)} in all and {figures.quantity(totals.smallest_ess)} for the hardest prompt"


def plain(sections: Sequence[Section]) -> tuple[Section, ...]:
    """Sections without those that only hold a picture."""
    return tuple(section for section in sections if section.sentences or section.rows)
