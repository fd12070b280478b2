"""The plots of the comparison: deterministic SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from decoding.measure import Row
from matplotlib.figure import Figure

MARKS = "osD^v<>PX*ph8"


def _save(figure: Figure, path: Path) -> None:
    with mpl.rc_context({"svg.hashsalt": "bylaw", "svg.fonttype": "path"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def distance_plot(
    ours: Mapping[str, Sequence[Row]], peers: Mapping[str, Sequence[Row]], floor: tuple[int, float], path: Path
) -> None:
    """TV to p* against unique prefixes of one response, both logarithmic; ours in solid lines."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for own, curves in ((True, ours), (False, peers)):
        for index, (name, rows) in enumerate(curves.items()):
            points = sorted((row.passes, max(row.tv, 1e-4)) for row in rows if not math.isnan(row.tv))
            if not points:
                continue
            axes.plot(
                *zip(*points, strict=True), marker=MARKS[index % len(MARKS)], markersize=4,
                linestyle="-" if own else "--", linewidth=1.6 if own else 0.9, label=name, alpha=1.0 if own else 0.75,
            )  # fmt: skip
    axes.axhline(0.05, color="black", linewidth=0.7)
    axes.axhline(floor[1], color="grey", linewidth=0.7, linestyle=":", label=f"floor of {floor[0]} draws")
    axes.set(
        xscale="log", yscale="log", xlabel="unique prefix evaluations for one response",
        ylabel="total variation to p*", title="Model A: distance to the law against its cost", ylim=(1e-3, 1.1),
    )  # fmt: skip
    axes.legend(fontsize=7, ncols=2)
    axes.grid(True, which="both", linewidth=0.2)
    _save(figure, path)


def gap_plot(title: str, ours: Mapping[str, Sequence[Row]], peers: Mapping[str, Sequence[Row]], path: Path) -> None:
    """log Z − E log Ẑ (nats) against particles, both logarithmic, with one standard error."""
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    for own, curves in ((True, ours), (False, peers)):
        for index, (name, rows) in enumerate(curves.items()):
            points = [row for row in rows if row.size and math.isfinite(row.gap) and row.gap > 0]
            if not points:
                continue
            axes.errorbar(
                [row.size for row in points], [row.gap for row in points],
                yerr=[min(row.error, 0.9 * row.gap) if math.isfinite(row.error) else 0.0 for row in points],
                marker=MARKS[index % len(MARKS)], markersize=4, linestyle="-" if own else "--",
                linewidth=1.6 if own else 0.9, label=name,
            )  # fmt: skip
    axes.set(
        xscale="log", yscale="log", xlabel="particles (proposals)", ylabel="log Z − E log Ẑ in nats",
        title=title,
    )  # fmt: skip
    axes.legend(fontsize=7)
    axes.grid(True, which="both", linewidth=0.2)
    _save(figure, path)
