"""A fit of weights as a picture: each rule's weight now and fitted, with the interval of the fitted one."""

from __future__ import annotations

import io
from typing import Any

from bylaw.runtime.judgements.record import WeightRecord, WeightRow
from bylaw.runtime.report.text import one_line

MOST_ROWS = 200
"""Rules in one picture; of more, those with the largest weights are shown."""
_LONGEST_LABEL = 48
_INCHES_A_ROW, _WIDTH = 0.32, 8.0


def weight_plot(record: WeightRecord) -> str:
    """The picture as SVG text, the same for the same record."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = sorted(record.rows, key=lambda row: max(row.now, row.fitted), reverse=True)[:MOST_ROWS]
    with mpl.rc_context({"svg.hashsalt": "bylaw", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure = Figure(figsize=(_WIDTH, 1.4 + _INCHES_A_ROW * len(rows)), layout="constrained")
        FigureCanvasSVG(figure)
        axes: Any = figure.add_subplot()
        places = list(range(len(rows)))
        largest = max((max(row.now, row.fitted, *_ends(row)) for row in rows), default=1.0)
        for place, row in zip(places, rows, strict=True):
            if row.interval is not None:
                high = 1.2 * largest if row.interval.high is None else row.interval.high  # it ends beyond the picture
                axes.plot([row.interval.low, high], [place, place], color="#3b6ea5", linewidth=2, zorder=2)
        axes.plot(
            [row.fitted for row in rows], places, "o", color="#1f4e79", label="fitted, with its 95 % interval", zorder=3
        )
        axes.plot([row.now for row in rows], places, "D", color="#c55a11", fillstyle="none", label="now", zorder=4)
        axes.set_yticks(places, [_label(row.term) for row in rows], parse_math=False)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlim(-0.03 * largest, 1.1 * max(largest, 1e-6))
        axes.set_xlabel("weight (nats)")
        axes.set_ylabel("rule")
        axes.grid(axis="x", color="#dddddd", linewidth=0.6)
        axes.set_title(f"Weights of {_label(record.rules.policy)}", parse_math=False)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _ends(row: WeightRow) -> tuple[float, ...]:
    return (0.0,) if row.interval is None else (row.interval.low, row.interval.high or 0.0)


def _label(text: str) -> str:
    shown = one_line(text)
    return shown if len(shown) <= _LONGEST_LABEL else f"{shown[: _LONGEST_LABEL - 3]}..."
