"""The plot of `bylaw law paper-cases`, as SVG or PNG. Equal input gives equal bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bylaw.compiler.law.divergence import DIVERGENCES
from bylaw.runtime.report.law_tables import CaseTable
from bylaw.runtime.report.price_plots import png_bytes, svg_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES = (".svg", ".png")
_COLOURS = ("#1f6feb", "#c2410c", "#15803d", "#7c3aed", "#b45309", "#0e7490", "#475569", "#be185d")
_MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")


def picture(tables: Sequence[CaseTable], suffix: str) -> bytes:
    """The plot of all cases as the bytes of an `.svg` or `.png` file."""
    figure = case_figure(tables)
    return svg_text(figure, "paper-cases").encode() if suffix == ".svg" else png_bytes(figure)


def case_figure(tables: Sequence[CaseTable]) -> Figure:
    """A row a case: the law by strength, the flag probability (exact and Gaussian), the distance by length."""
    from matplotlib.figure import Figure

    # Margins by hand: a layout engine would draw everything twice.
    figure = Figure(figsize=(14.0, 4.4 * len(tables)))
    rows = len(tables)
    figure.subplots_adjust(left=0.055, right=0.985, bottom=0.14 / rows, top=1.0 - 0.08 / rows, wspace=0.27, hspace=0.28)
    for number, table in enumerate(tables):
        laws, flags, distances = (figure.add_subplot(len(tables), 3, 3 * number + place) for place in (1, 2, 3))
        _laws(laws, table)
        _flags(flags, table)
        _distances(distances, table)
        for axes in (laws, flags, distances):
            axes.spines[["top", "right"]].set_visible(False)
            axes.legend(frameon=False, fontsize="small")
    return figure


def _laws(axes: Any, table: CaseTable) -> None:
    strengths = [row.strength for row in table.rows]
    for number, name in enumerate(table.case.classes):
        colour, mark = _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
        axes.plot(strengths, [row.probabilities[number] for row in table.rows], color=colour, marker=mark, label=name)
        axes.axhline(table.case.reference[number], color=colour, linestyle=":", linewidth=1.0)
    axes.set_ylim(0.0, 1.0)
    axes.set_xlabel("strength λ of the regulator")
    axes.set_ylabel("probability of a position (dotted: reference)")
    axes.set_title(f"{table.case.name}: equilibrium under {DIVERGENCES[table.divergence].name}")


def _flags(axes: Any, table: CaseTable) -> None:
    strengths = [row.strength for row in table.rows]
    exact = [row.flag_probability for row in table.rows]
    normal = [row.flag_probability_gaussian for row in table.rows]
    axes.plot(strengths, exact, color=_COLOURS[0], marker="o", label="exact")
    axes.plot(strengths, normal, color=_COLOURS[1], marker="s", linestyle="--", label="Gaussian")
    if min((*exact, *normal), default=0.0) > 0.0:
        axes.set_yscale("log")
    axes.set_xlabel("strength λ of the regulator")
    axes.set_ylabel("probability that a response is flagged")
    axes.set_title(f"{table.case.name}: {table.rows[0].positions} positions")


def _distances(axes: Any, table: CaseTable) -> None:
    for number, (row, distances) in enumerate(zip(table.rows, table.distances, strict=True)):
        colour, mark = _COLOURS[number % len(_COLOURS)], _MARKS[number % len(_MARKS)]
        axes.plot(table.lengths, distances, color=colour, marker=mark, label=f"λ = {row.strength:g}")
    axes.set_xscale("log")
    if min((value for distances in table.distances for value in distances), default=0.0) > 0.0:
        axes.set_yscale("log")
    axes.set_xlabel("length of a response (positions)")
    axes.set_ylabel("Kolmogorov distance from the Gaussian")
    axes.set_title(f"{table.case.name}: score and Gaussian")
