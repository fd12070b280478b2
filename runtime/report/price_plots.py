"""Plots of prices as SVG and PNG. Equal input gives equal SVG text: ids are salted by the plot's name, no date is kept.

Drawn with matplotlib's objects; no window and no global state is touched. Labels are rule ids, shown as plain text.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bylaw.runtime.prices.curve import Curve
from bylaw.runtime.prices.interactions import Interactions
from bylaw.runtime.prices.law import Measured
from bylaw.runtime.prices.table import PriceTable
from bylaw.runtime.prices.what_if import WhatIf
from bylaw.runtime.report.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEFORE, AFTER, LIMIT = "#8a94a6", "#1f6feb", "#c2410c"
"""Colours that people who confuse red and green can tell apart; marks differ in shape as well."""
MOST_LABELS = 40
"""Rules in one plot; more are left out of it, the smallest first, and the plot says so."""


def svg_text(figure: Figure, name: str) -> str:
    """A plot as SVG text; `name` salts its ids, so that several fit into one page."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": f"bylaw-{name}", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def png_bytes(figure: Figure) -> bytes:
    """A plot as PNG at 150 dots an inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def price_figures(table: PriceTable, found: Interactions) -> dict[str, Figure]:
    """`rates` (before and after, with bounds), `shares` (of the divergence) and `interactions`, as far as there is
    something to draw."""
    rated = [row for row in table.rows if row.is_share and (row.base or row.law)]
    figures = {}
    if rated:
        labels = [row.term for row in rated]
        bounds = [row.bound if row.kind == "budget" else None for row in rated]
        figures["rates"] = _rates(
            labels, [row.base for row in rated], [row.law for row in rated], bounds, "without rules"
        )
    paying = [row for row in table.rows if row.kl]
    if paying:
        figures["shares"] = _shares([(row.term, row.kl, row.kl_standard_error) for row in paying])
    if np.isfinite(found.correlation).any() and len(found.terms) > 1:
        figures["interactions"] = _matrix(found)
    return figures


def what_if_figures(found: WhatIf) -> dict[str, Figure]:
    """`what-if`: rates before and after, with the new bounds."""
    rated = [row for row in found.rows if row.is_share and (row.before.rate or row.after.rate)]
    if not rated:
        return {}
    bounds = [row.after.bound if row.kind == "budget" else None for row in rated]
    before, after = [row.before.rate for row in rated], [row.after.rate for row in rated]
    return {"what-if": _rates([row.term for row in rated], before, after, bounds, "before the change")}


def curve_figures(found: Curve) -> dict[str, Figure]:
    """`tradeoff`: divergence against the rate with its band, and the multiplier below it."""
    solved = [point for point in found.points if point.rate and point.kl and point.multiplier]
    if len(solved) < 2:
        return {}
    from matplotlib.figure import Figure

    scale, unit = (100.0, "responses in which it happens (%)") if found.is_share else (1.0, "mean of its quantity")
    figure = Figure(figsize=(8.0, 6.4), layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    rates = scale * np.array([point.rate.value for point in solved if point.rate])
    hard = {point.bound for point in found.points if point.outcome == "hard rule"}
    for axes, parts, colour, label in (
        (top, [point.kl for point in solved], AFTER, "KL divergence that the limits cost (nats)"),
        (bottom, [point.multiplier for point in solved], LIMIT, "multiplier (nats)"),
    ):
        values = [(part.value, part.low, part.high) for part in parts if part is not None]
        middle, low, high = (np.array(column) for column in zip(*values, strict=True))
        shown = np.isfinite(low) & np.isfinite(high)
        axes.fill_between(rates[shown], low[shown], high[shown], color=colour, alpha=0.2, linewidth=0, label="95% band")
        axes.plot(rates, middle, "o-", color=colour, markersize=3.5)
        axes.axvline(scale * found.bound, color="black", linestyle="--", linewidth=1.0, label="the limit as it is")
        for last, first in found.edges:
            if first not in hard:
                axes.axvspan(scale * last, scale * first, color=BEFORE, alpha=0.3, label="the sampled support ends")
        axes.set_ylabel(label)
        axes.grid(color="#e5e7eb", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    bottom.set_xlabel(f"{_label(found.term)}: {unit}")
    top.legend(frameon=False, fontsize="small")
    return {"tradeoff": figure}


# ------------------------------------------------------------------------------------------------------------ parts
def _canvas(width: float, height: float) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _rates(
    labels: Sequence[str],
    before: Sequence[Measured | None],
    after: Sequence[Measured | None],
    bounds: Sequence[float | None],
    first: str,
) -> Figure:
    """One line a rule: hollow before, filled after, a bar at the bound."""
    shown = min(len(labels), MOST_LABELS)
    figure, axes = _canvas(8.0, 1.4 + 0.45 * shown)
    for side, colour, marker, face, offset, name in (
        (before, BEFORE, "o", "white", 0.13, first),
        (after, AFTER, "D", AFTER, -0.13, "under the law" if first != "before the change" else "after the change"),
    ):
        points = [(place, each) for place, each in enumerate(side[:shown]) if each is not None]
        if not points:
            continue
        values = 100 * np.array([each.value for _, each in points])
        low = values - 100 * np.array([each.low for _, each in points])
        high = 100 * np.array([each.high for _, each in points]) - values
        axes.errorbar(
            values,
            [shown - 1 - place + offset for place, _ in points],
            xerr=np.maximum(np.stack([low, high]), 0.0),
            fmt=marker,
            color=colour,
            markerfacecolor=face,
            capsize=3,
            label=f"{name}, 95% interval",
        )
    limits = [(shown - 1 - place, 100 * bound) for place, bound in enumerate(bounds[:shown]) if bound is not None]
    if limits:
        axes.plot([x for _, x in limits], [y for y, _ in limits], "|", color=LIMIT, markersize=22, mew=2, label="bound")
    _names(axes, labels[:shown])
    axes.set_xlabel("responses in which a rule is broken, or the event of a limit happens (%)")
    axes.set_xlim(left=min(0.0, axes.get_xlim()[0]))
    figure.legend(loc="outside upper right", ncols=3, frameon=False, fontsize="small")
    _left_out(axes, len(labels) - shown)
    return figure


def _shares(rows: Sequence[tuple[str, float, float]]) -> Figure:
    kept = sorted(rows, key=lambda row: -abs(row[1]))[:MOST_LABELS]
    figure, axes = _canvas(8.0, 1.1 + 0.38 * len(kept))
    places = range(len(kept) - 1, -1, -1)
    axes.barh(
        list(places),
        [row[1] for row in kept],
        xerr=[1.96 * row[2] for row in kept],
        color=AFTER,
        ecolor="black",
        capsize=3,
    )
    axes.axvline(0.0, color="black", linewidth=0.8)
    _names(axes, [row[0] for row in kept])
    axes.set_xlabel("part of the KL divergence from the base model (nats a response), 95% interval")
    _left_out(axes, len(rows) - len(kept))
    return figure


def _matrix(found: Interactions) -> Figure:
    size = min(len(found.terms), MOST_LABELS)
    figure, axes = _canvas(2.6 + 0.55 * size, 2.0 + 0.5 * size)
    values = np.array(found.correlation[:size, :size])
    np.fill_diagonal(values, np.nan)
    image = axes.imshow(values, cmap="PuOr", vmin=-1.0, vmax=1.0)
    if size <= 14:
        for row, column in np.argwhere(np.isfinite(values)):
            error = 1.96 * found.correlation_error[row, column]
            colour = "white" if abs(values[row, column]) > 0.6 else "black"
            axes.text(
                column, row, f"{values[row, column]:+.2f}\n±{error:.2f}",
                ha="center", va="center", fontsize=6, color=colour,
            )  # fmt: skip
    labels = [_label(name) for name in found.terms[:size]]
    axes.set_xticks(range(size), labels, rotation=45, ha="right", fontsize="small")
    axes.set_yticks(range(size), labels, fontsize="small")
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("correlation under the law\nnegative: they pull against each other")
    _left_out(axes, len(found.terms) - size)
    return figure


def _names(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels) - 1, -1, -1), [_label(name) for name in labels])
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.grid(axis="x", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)


def _label(name: str) -> str:
    """A name as plain text: a dollar sign would start a formula."""
    return one_line(name, 40).replace("$", r"\$")


def _left_out(axes: Axes, count: int) -> None:
    if count > 0:
        axes.set_title(f"{count} more rules are not shown", fontsize="small", loc="left")
