"""Charts as SVG text. Lengths are in pixels of the viewBox; colours come from the classes of the page's style sheet.

Every label is escaped here, and hidden characters in it are made visible: the text can stand in a page as it is.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from bylaw.runtime.report.figures import percent, quantity, stated_percent
from bylaw.runtime.report.text import one_line

_CHARACTER = 7.6  # the width of an average character at 14 px
_LABEL_LINE = 18
_VALUE_ROOM = 62
_AXIS = 34
_ROW = 52
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its whiskers."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class RateRow:
    """One clause in a chart of rates. `limit` is the budget, `upper` says that it is a largest share."""

    label: str
    before: Estimate | None
    after: Estimate | None
    limit: float | None = None
    upper: bool = True


@dataclass(frozen=True, slots=True)
class BarRow:
    """One bar with its error on both sides."""

    label: str
    value: float
    error: float


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where things stand: labels beside the plot when there is room (`label_width`), else above each row."""

    width: int
    label_width: int
    low: float
    high: float

    @property
    def left(self) -> float:
        return self.label_width + (24.0 if self.label_width else 14.0)

    @property
    def right(self) -> float:
        return self.width - _VALUE_ROOM

    def x(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.left + min(max(share, 0.0), 1.0) * (self.right - self.left)

    def lines(self, label: str) -> list[str]:
        room = self.label_width or self.width
        shown = textwrap.wrap(one_line(label), max(int(room / _CHARACTER), 8), break_on_hyphens=False) or [""]
        most = 3 if self.label_width else 4
        return shown if len(shown) <= most else [*shown[: most - 1], shown[most - 1][:-1] + "…"]

    def height(self, label: str) -> float:
        tall = len(self.lines(label)) * _LABEL_LINE
        return max(_ROW, tall + 14) if self.label_width else _ROW - 8 + tall


def rate_chart(rows: Sequence[RateRow], *, width: int, prefix: str, title: str, description: str) -> str:
    """Rates per clause, before (hollow) and after (filled), with their intervals, and limits as dashed lines.

    `prefix` keeps the ids of several charts on a page apart.
    """
    highest = max((e.high for row in rows for e in (row.before, row.after) if e), default=1.0)
    highest = max([highest, *(row.limit for row in rows if row.limit is not None)])
    top, ticks = _scale(0.0, min(max(highest, 0.01), 1.0))
    frame = _Frame(width, _label_width(width), 0.0, min(top, 1.0))
    body: list[str] = []
    y = 8.0
    for number, row in enumerate(rows):
        height = frame.height(row.label)
        middle = _row_label(body, frame, row.label, y, height, number)
        body.extend(_rate_marks(frame, row, middle))
        y += height
    return _svg(
        frame, _grid(frame, [t for t in ticks if t <= 1.0], y, stated_percent) + body, y, prefix, title, description
    )


def bar_chart(rows: Sequence[BarRow], *, width: int, prefix: str, title: str, description: str) -> str:
    """Bars from zero with whiskers of 1.96 errors."""
    reach = [row.value + side * 1.96 * row.error for row in rows for side in (-1, 1)]
    lowest = min(0.0, *reach, *(r.value for r in rows)) if rows else 0.0
    highest = max(1e-6, *reach, *(r.value for r in rows)) if rows else 1.0
    top, ticks = _scale(lowest if lowest < -0.02 * highest else 0.0, highest)
    frame = _Frame(width, _label_width(width), ticks[0], top)
    body: list[str] = []
    y = 8.0
    for number, row in enumerate(rows):
        height = frame.height(row.label)
        middle = _row_label(body, frame, row.label, y, height, number)
        zero, end = frame.x(0.0), frame.x(row.value)
        left, length = min(zero, end), max(abs(end - zero), 1.0)
        body.append(f'<rect class="bar" x="{left:.1f}" y="{middle - 8:.1f}" width="{length:.1f}" height="16" rx="2"/>')
        whisker = Estimate(row.value, row.value - 1.96 * row.error, row.value + 1.96 * row.error)
        body.append(_whisker(frame, whisker, middle, "error"))
        body.append(_value(frame.x(max(whisker.high, row.value, 0.0)), middle, quantity(row.value)))
        y += height
    return _svg(frame, _grid(frame, ticks, y, quantity) + body, y, prefix, title, description)


# ------------------------------------------------------------------------------------------------------------ parts
def _label_width(width: int) -> int:
    """Beside the plot there is room for labels on a wide page only."""
    return round(width * 0.36) if width >= 640 else 0


def _row_label(body: list[str], frame: _Frame, label: str, y: float, height: float, number: int) -> float:
    """Adds the label and a band behind every other row; returns where the middle of the marks is."""
    if number % 2 == 0:
        body.append(f'<rect class="band" x="0" y="{y:.1f}" width="{frame.width}" height="{height:.1f}"/>')
    lines = frame.lines(label)
    if frame.label_width:
        first = y + height / 2 - (len(lines) - 1) * _LABEL_LINE / 2 + 5
        body.extend(_label(8.0, first + i * _LABEL_LINE, line) for i, line in enumerate(lines))
        return y + height / 2
    body.extend(_label(8.0, y + 18 + i * _LABEL_LINE, line) for i, line in enumerate(lines))
    return y + 8 + len(lines) * _LABEL_LINE + (height - 8 - len(lines) * _LABEL_LINE) / 2


def _label(x: float, y: float, words: str) -> str:
    return f'<text class="label" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _rate_marks(frame: _Frame, row: RateRow, middle: float) -> list[str]:
    # with two series each gets its own height, so that no whisker hides the other
    apart = 8.0 if row.before and row.after else 0.0
    marks = []
    if row.limit is not None:
        x, tip = frame.x(row.limit), -8 if row.upper else 8
        marks.append(f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="{middle - 19:.1f}" y2="{middle + 19:.1f}"/>')
        marks.append(
            f'<path class="limit-tip" d="M {x:.1f} {middle - 21:.1f} l {tip} 5 l {-tip} 5 z">'
            f"<title>limit: {'at most' if row.upper else 'at least'} {stated_percent(row.limit)}</title></path>"
        )
    if row.before and row.after:
        marks.append(
            f'<line class="link" x1="{frame.x(row.before.value):.1f}" y1="{middle - apart:.1f}" '
            f'x2="{frame.x(row.after.value):.1f}" y2="{middle + apart:.1f}"/>'
        )
    for estimate, y, name in ((row.before, middle - apart, "before"), (row.after, middle + apart, "after")):
        if estimate is not None:
            marks.append(_whisker(frame, estimate, y, name))
            radius = 5 if name == "before" else 5.5
            marks.append(f'<circle class="{name}" cx="{frame.x(estimate.value):.1f}" cy="{y:.1f}" r="{radius}"/>')
            marks.append(_value(frame.x(max(estimate.high, estimate.value)), y, percent(estimate.value)))
    if not row.before and not row.after:
        marks.append(f'<text class="value" x="{frame.left:.1f}" y="{middle + 4:.1f}">no rate</text>')
    return marks


def _whisker(frame: _Frame, estimate: Estimate, y: float, name: str) -> str:
    low, high = frame.x(estimate.low), frame.x(estimate.high)
    return (
        f'<path class="whisker {name}-line" d="M {low:.1f} {y - 4:.1f} v 8 M {low:.1f} {y:.1f} H {high:.1f} '
        f'M {high:.1f} {y - 4:.1f} v 8"/>'
    )


def _value(x: float, y: float, words: str) -> str:
    return f'<text class="value" x="{x + 8:.1f}" y="{y + 4:.1f}">{escape(words)}</text>'


def _grid(frame: _Frame, ticks: Sequence[float], bottom: float, write: Callable[[float], str]) -> list[str]:
    parts = []
    for tick in ticks:
        x = frame.x(tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{bottom:.1f}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 20:.1f}">{escape(write(tick))}</text>')
    return parts


def _svg(frame: _Frame, body: Sequence[str], bottom: float, prefix: str, title: str, description: str) -> str:
    height = bottom + _AXIS
    return "\n".join(
        (
            f'<svg class="chart" viewBox="0 0 {frame.width} {height:.0f}" role="img" '
            f'aria-labelledby="{prefix}-title {prefix}-desc" xmlns="http://www.w3.org/2000/svg">',
            f'<title id="{prefix}-title">{escape(one_line(title))}</title>',
            f'<desc id="{prefix}-desc">{escape(one_line(description))}</desc>',
            *body,
            "</svg>",
        )
    )


def _scale(low: float, high: float) -> tuple[float, list[float]]:
    """A round upper end for an axis, and its ticks: multiples of 1, 2, 2.5 or 5 times a power of ten."""
    raw = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return last * step, [round(index * step, 12) for index in range(first, last + 1)]
