"""A decode report as one picture: the response as a strip of tokens coloured by the nats paid for them, and figures.

Every token has its number above it and, where a rule acted, the rule's name below; hatched is where a rule forbids
what the model most wanted to say. So the picture can be read without colours. Equal reports give equal SVG text.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bylaw.runtime.decode_report.record import DecodeReport, DecodeReportError, Measured, Position, write_whole
from bylaw.runtime.decode_report.words import piece
from bylaw.runtime.report.price_plots import png_bytes, svg_text
from bylaw.runtime.report.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 112
"""Characters in one line of the strip."""
LONGEST_TOKEN, LONGEST_RULE = 24, 18
SMALL = 0.005
"""Nats that have no number in the strip."""
MOST_RULES = 10
MOST_LINES = 120
"""Lines of the strip; what is beyond is left out, and the picture says so."""
_LINE, _PANEL, _HEAD = 0.62, 2.9, 1.0
_WIDTH = 13.0
_MAP = "magma_r"
"""Perceptually uniform, from pale to dark, so that it reads without colours as well."""


@dataclass(frozen=True, slots=True)
class Cell:
    """Where one token stands: its `line`, its first `column` and its `width` in characters."""

    position: Position
    text: str
    rule: str
    line: int
    column: float
    width: float


def picture(report: DecodeReport, suffix: str) -> bytes:
    """The picture as the bytes of an `.svg` or `.png` file. Raises DecodeReportError for another suffix."""
    if suffix not in (".svg", ".png"):
        raise DecodeReportError(f"pictures are drawn as .svg or .png, so the name of one cannot end with `{suffix}`")
    with warnings.catch_warnings():
        # scripts that the font lacks are the viewer's business in SVG, and boxes in PNG
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = strip_figure(report)
        return svg_text(figure, "decode-report").encode() if suffix == ".svg" else png_bytes(figure)


def save_picture(report: DecodeReport, path: str | Path) -> Path:
    """Writes the picture whole or not at all; the name ends with `.svg` or `.png`. Raises DecodeReportError."""
    place = Path(path)
    write_whole(place, picture(report, place.suffix.lower()))
    return place


def cells_of(report: DecodeReport) -> tuple[Cell, ...]:
    """The tokens of a report, wrapped into lines of `COLUMNS` characters."""
    cells: list[Cell] = []
    line, column = 0, 0.0
    for position in report.positions:
        text = piece(position.text, position.is_end, LONGEST_TOKEN)
        rule = _rule(position)
        # names of rules are smaller than tokens
        width = max(len(text) + 0.6, 0.66 * len(rule) + 0.8, 3.4 if position.kl >= SMALL else 0.0)
        if column > 0 and column + width > COLUMNS:
            line, column = line + 1, 0.0
        cells.append(Cell(position, text, rule, line, column, width))
        column += width + 0.25
        if "\n" in position.text:
            line, column = line + 1, 0.0
    return tuple(cells)


def _rule(position: Position) -> str:
    if not position.acted:
        return ""
    more = f" +{len(position.acted) - 1}" if len(position.acted) > 1 else ""
    return one_line(position.acted[0], LONGEST_RULE - len(more)) + more


def strip_figure(report: DecodeReport) -> Figure:
    """The strip with its scale on top; below it the rules that moved most, and what the decoder found."""
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec

    cells = cells_of(report)
    lines = min(cells[-1].line + 1, MOST_LINES)
    height = _HEAD + _LINE * lines + 0.55 + _PANEL
    figure = Figure(figsize=(_WIDTH, height))
    top, strip_end = 1.0 - _HEAD / height, (_PANEL + 0.55) / height
    strip = figure.add_axes((0.02, strip_end, 0.96, top - strip_end))
    most = max(max((cell.position.kl for cell in cells), default=0.0), 0.1)
    scale = _strip(strip, [cell for cell in cells if cell.line < lines], lines, most)
    count = len(report.positions)
    title = (
        f"policy {one_line(report.policy, 50)} on model {one_line(report.model, 40)}, decoder {report.decoder}, "
        f"prompt {one_line(report.prompt_id, 40)}: {report.total_kl:.2f} nats paid over {count} "
        f"position{'' if count == 1 else 's'}"
    )
    figure.text(0.02, 1.0 - 0.3 / height, title, fontsize=11, parse_math=False)
    note = "hatched: a rule forbids what the model most wanted; number: nats paid; below: the rule that acted"
    left_out = sum(cell.line >= lines for cell in cells)
    note += f"; {left_out} more tokens are not shown" if left_out else ""
    figure.text(0.02, 1.0 - 0.58 / height, note, fontsize=8, color="#475569")
    bar = figure.add_axes((0.72, 1.0 - 0.55 / height, 0.26, 0.14 / height))
    figure.colorbar(scale, cax=bar, orientation="horizontal")
    bar.tick_params(labelsize=7)
    bar.set_xlabel("divergence from the base model at the token (nats)", fontsize=7, labelpad=1)
    panels = GridSpec(
        1, 2, figure=figure, left=0.17, right=0.98, bottom=0.55 / height, top=_PANEL / height, wspace=0.12
    )
    _rules(figure.add_subplot(panels[0]), report)
    _figures(figure.add_subplot(panels[1]), report)
    return figure


def _strip(axes: Axes, cells: Sequence[Cell], lines: int, most: float) -> Any:
    """Draws the tokens; returns the colour scale."""
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.patches import Rectangle

    scale = ScalarMappable(Normalize(0.0, most), colormaps[_MAP])
    axes.set_xlim(0.0, COLUMNS + 1.0)
    axes.set_ylim(lines, 0.0)
    axes.axis("off")
    font: dict[str, Any] = {"family": "monospace", "ha": "center", "va": "center", "parse_math": False}
    for cell in cells:
        position, middle = cell.position, cell.column + cell.width / 2
        colour = scale.to_rgba(np.array([position.kl]))[0]
        forbids = any(effect.on_wanted == -np.inf for effect in position.effects)
        axes.add_patch(
            Rectangle(
                (cell.column, cell.line + 0.3), cell.width, 0.4, facecolor=colour, edgecolor="#94a3b8", linewidth=0.6
            )
        )
        if forbids:
            axes.add_patch(
                Rectangle(
                    (cell.column, cell.line + 0.62), cell.width, 0.08, fill=False, hatch="//////", edgecolor="#dc2626",
                    linewidth=0.0,
                )
            )  # fmt: skip
        bright = float(np.dot(colour[:3], (0.2126, 0.7152, 0.0722))) > 0.45
        axes.text(middle, cell.line + 0.49, cell.text, fontsize=9.2, color="black" if bright else "white", **font)
        if position.kl >= SMALL:
            axes.text(middle, cell.line + 0.19, f"{position.kl:.2f}", fontsize=6.5, color="#334155", **font)
        if cell.rule:
            axes.text(middle, cell.line + 0.82, cell.rule, fontsize=6.2, color="#b91c1c", **font)
    return scale


def _rules(axes: Axes, report: DecodeReport) -> None:
    rows = [row for row in report.rows if row.kl is not None and row.how != "not in force"][:MOST_RULES]
    places = range(len(rows) - 1, -1, -1)
    axes.barh(list(places), [row.kl or 0.0 for row in rows], color="#1f6feb", height=0.6)
    names = [f"{one_line(row.term, 30)}" + (f" (forbade {row.forbade})" if row.forbade else "") for row in rows]
    axes.set_yticks(list(places), names, fontsize=7, parse_math=False)
    for place, row in zip(places, rows, strict=True):
        axes.annotate(
            f"{row.kl or 0.0:.2g}", (row.kl or 0.0, place), xytext=(3, 0), textcoords="offset points", va="center",
            fontsize=7,
        )  # fmt: skip
    axes.set_ylim(-0.6, max(len(rows), 1) - 0.4)
    axes.set_xlim(0.0, 1.18 * max([row.kl or 0.0 for row in rows] + [0.01]))
    axes.tick_params(axis="x", labelsize=7)
    axes.set_xlabel("divergence by the rule alone, summed over positions (nats)", fontsize=8)
    axes.set_ylabel("rule", fontsize=8)
    axes.set_title("rules that moved the distribution most", fontsize=9, loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _figures(axes: Axes, report: DecodeReport) -> None:
    outcome = report.outcome
    told = [
        ("log Ẑ", f"{outcome.log_z:.3f} nats"),
        ("ESS", f"{outcome.ess:.1f} of {outcome.particles} particles"),
        ("acceptance", _measured(outcome.acceptance)),
        ("β", "not used" if outcome.beta is None else f"{outcome.beta:.3f} nats"),
        ("estimated TV", _measured(outcome.total_variation)),
        ("estimated KL", _measured(outcome.divergence, " nats")),
        ("weight of this response", f"{outcome.log_weight:.3f} nats"),
        ("its reward", f"{outcome.log_reward:.3f} nats"),
        ("passes of the decoder", str(outcome.passes)),
        ("law", "biased: not that of the rules" if outcome.biased else "that of the rules, as particles grow"),
        ("stopped by", outcome.stopped or "nothing"),
    ]
    axes.axis("off")
    axes.set_title("what the decoder found", fontsize=9, loc="left")
    for row, (name, value) in enumerate(told):
        height = 0.95 - row * 0.09
        axes.text(0.0, height, name, fontsize=8, color="#475569", transform=axes.transAxes, va="center")
        axes.text(0.36, height, value, fontsize=8, transform=axes.transAxes, va="center", parse_math=False)


def _measured(found: Measured | None, unit: str = "") -> str:
    return "not estimated" if found is None else f"{found.value:.3g}{unit} ({found.low:.3g} to {found.high:.3g})"
