"""The files that `bylaw price --out DIR` leaves: prices.html, prices.md, prices.json and each plot as SVG and PNG."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bylaw.runtime.report.price_page import Section
from bylaw.runtime.report.price_plots import png_bytes, svg_text
from bylaw.runtime.report.price_render import as_html, as_markdown
from bylaw.runtime.report.write import ReportError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PLOTS = ("rates", "shares", "interactions", "tradeoff", "what-if")


def write_prices(
    folder: str | Path, title: str, sections: Sequence[Section], data: str, plots: Mapping[str, Figure]
) -> list[Path]:
    """Writes all of it, and removes plots of an earlier report that this one does not have. `data` is JSON text.

    Everything is rendered and written beside its place first and then moved there. Raises ReportError.
    """
    place = Path(folder)
    drawn = {name: svg_text(figure, name) for name, figure in plots.items()}
    files = {
        "prices.html": as_html(title, sections, drawn).encode("utf-8", "backslashreplace"),
        "prices.md": as_markdown(sections, tuple(drawn)).encode("utf-8", "backslashreplace"),
        "prices.json": (data + "\n").encode("utf-8", "backslashreplace"),
        **{f"{name}.svg": text.encode() for name, text in drawn.items()},
        **{f"{name}.png": png_bytes(figure) for name, figure in plots.items()},
    }
    waiting: dict[Path, Path] = {}
    try:
        place.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            temporary = place / f".{name}.{os.getpid()}.tmp"
            waiting[temporary] = place / name
            temporary.write_bytes(content)
        for temporary, final in waiting.items():
            os.replace(temporary, final)
        for name in PLOTS:
            for suffix in ("svg", "png"):
                if f"{name}.{suffix}" not in files:
                    (place / f"{name}.{suffix}").unlink(missing_ok=True)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise ReportError(f"the report cannot be written to `{place}`: {why}") from error
    finally:
        for temporary in waiting:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return list(waiting.values())
