"""The plots of the comparison: deterministic SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from decoding.measure import Row
from matplotlib.figure import Figure

MARKS = "osD^v<>PX*ph8"
LOWEST = 1e-3


def _save(figure: Figure, path: Path) -> None:
    with mpl.rc_context({"svg.hashsalt": "bylaw", "svg.fonttype": "path"}):
        figure.savefig(path, format="svg", metadata={"Date": None})


def distance_plot(
    ours: Mapping[str, Sequence[Row]], peers: Mapping[str, Sequence[Row]], floor: tuple[int, float], path: Path
) -> None:
    """TV to p* against unique prefixes of one response, both logarithmic; ours in solid lines.

    Laws that are measured have a bar from `TV low` to `TV`, between which the true one lies.
    """
    figure = Figure(figsize=(11, 6.5), layout="constrained")
    axes = figure.subplots()
    for own, curves in ((True, ours), (False, peers)):
        for index, (name, rows) in enumerate(curves.items()):
            points = sorted((row for row in rows if not math.isnan(row.tv)), key=lambda row: row.passes)
            if not points:
                continue
            measured = points[0].how == "runs"
            above = [max(row.tv, LOWEST) for row in points]
            below = [max(row.tv_low, LOWEST) for row in points]
            axes.errorbar(
                [row.passes for row in points], above,
                yerr=[[high - min(low, high) for high, low in zip(above, below, strict=True)], [0.0] * len(points)],
                marker=MARKS[index % len(MARKS)], markersize=4, elinewidth=0.7,
                linestyle=("-" if own else "--") if not measured else "none",
                linewidth=1.8 if own else 1.0, label=name + (" (bars)" if measured else ""),
            )  # fmt: skip
    axes.axhline(0.05, color="black", linewidth=0.7)
    axes.axhline(floor[1], color="grey", linewidth=0.7, linestyle=":", label=f"floor of {floor[0]} exact draws")
    axes.set(
        xscale="log", yscale="log", xlabel="unique prefix evaluations for one response",
        ylabel="total variation to p*", title="Model A: distance to the law against its cost", ylim=(LOWEST, 1.1),
    )  # fmt: skip
    figure.legend(fontsize=7, loc="outside right upper")
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
