"""Plots of `bylaw compare`, with their intervals, as SVG or PNG. Equal input gives equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bylaw.runtime.audit.drift_over_checkpoints import Drift
from bylaw.runtime.audit.scaling import ScalingCurve
from bylaw.runtime.audit.shift import Shift
from bylaw.runtime.record import Interval
from bylaw.runtime.report.compare_model_tables import CrossPoint
from bylaw.runtime.report.price_plots import png_bytes, svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_LINES = 8
"""Rules in one plot; of more, those that changed most."""
_COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7c3aed", "#b45309", "#0e7490", "#475569", "#be185d")


def picture(figure: Figure, name: str, suffix: str) -> bytes:
    """The bytes of an `.svg` or `.png` file."""
    return svg_text(figure, f"compare-{name}").encode() if suffix == ".svg" else png_bytes(figure)


def drift_figure(found: Drift) -> Figure:
    """The rate of each rule by training step."""
    rules = sorted(found.rules, key=lambda rule: -abs(rule.change.difference) if rule.change else 0.0)[:MOST_LINES]
    figure, axes = _figure()
    for number, rule in enumerate(rules):
        known = [
            (step, rate, interval)
            for step, rate, interval in zip(found.steps, rule.rates, rule.intervals, strict=True)
            if rate is not None and interval is not None
        ]
        _points(axes, known, number, rule.term)
    _finish(axes, "training step", "share of answers that break the rule", "Rules over checkpoints")
    axes.set_ylim(-0.02, 1.02)
    return figure


def scaling_figure(found: ScalingCurve) -> Figure:
    """The truth of best-of-k by the judge, beside the best by the truth."""
    figure, axes = _figure()
    ks = [point.draws for point in found.points]
    _line(axes, ks, [point.truth for point in found.points], [point.interval for point in found.points], 0, "by judge")
    axes.plot(ks, [point.oracle for point in found.points], color=_COLOURS[2], linestyle="--", label="by truth")
    axes.axvline(found.best, color=_COLOURS[6], linestyle=":", label=f"best k = {found.best}")
    axes.set_xscale("log")
    _finish(axes, "k, samples to choose from", "mean true score of the choice", "Best of k")
    return figure


def shift_figure(found: Shift, points: Sequence[CrossPoint], terms: Sequence[str]) -> Figure:
    """Cross-sampling where there is any: rates by the share of places replaced; else the divergence by place."""
    figure, axes = _figure()
    if not points:
        firsts = [first for first, _, _ in found.profile]
        parts = [part for _, _, part in found.profile]
        _line(axes, firsts, [part.mean for part in parts], [part.interval for part in parts], 0, "mean")
        _finish(axes, "tokens before the place", "Jensen-Shannon divergence (nats)", "Where the models differ")
        return figure
    for number, term in enumerate(terms[:MOST_LINES]):
        rates = [(point.replaced, point.rates[number]) for point in points]
        known = [(share, rate.mean, rate.interval) for share, rate in rates if rate is not None]
        _points(axes, known, number, term)
    _finish(
        axes, "share of places with the second model's law", "share of answers that break the rule", "Cross-sampling"
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    return figure


def _figure() -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.8))
    figure.subplots_adjust(left=0.1, right=0.97, bottom=0.13, top=0.91)
    return figure, figure.add_subplot(1, 1, 1)


def _points(axes: Any, known: Sequence[tuple[float, float, Interval]], number: int, label: str) -> None:
    if known:
        places, values, intervals = (
            [each[0] for each in known],
            [each[1] for each in known],
            [each[2] for each in known],
        )
        _line(axes, places, values, intervals, number, label)


def _line(
    axes: Any, places: Sequence[float], values: Sequence[float], intervals: Sequence[Interval], number: int, label: str
) -> None:
    errors = [
        [max(0.0, value - each.low) for value, each in zip(values, intervals, strict=True)],
        [max(0.0, each.high - value) for value, each in zip(values, intervals, strict=True)],
    ]
    colour = _COLOURS[number % len(_COLOURS)]
    # a dollar sign would begin a formula
    name = label.replace("$", r"\$")
    axes.errorbar(places, values, yerr=errors, color=colour, marker="o", markersize=4, capsize=3, label=name)


def _finish(axes: Any, horizontal: str, vertical: str, title: str) -> None:
    axes.set_xlabel(horizontal)
    axes.set_ylabel(vertical + ", 95% interval")
    axes.set_title(title)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(frameon=False, fontsize="small")
