"""Sections of `bylaw price` in a terminal, as Markdown and as one HTML page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bylaw.runtime.report.markdown import escape
from bylaw.runtime.report.price_page import Section, plain
from bylaw.runtime.report.terminal import add_row, new_table, say

if TYPE_CHECKING:
    from rich.console import Console


_SIZE = re.compile(r' width="[^"]*pt" height="[^"]*pt"')


@dataclass(frozen=True, slots=True)
class PricePage:
    """What the template shows; `complete` is what every page of the house says of itself."""

    title: str
    sections: tuple[Section, ...]
    complete: bool = True


def print_sections(sections: Sequence[Section], console: Console) -> None:
    """Tables in a terminal."""
    for number, section in enumerate(plain(sections)):
        if number:
            console.print()
        say(console, section.title, "bold")
        for sentence in section.sentences:
            say(console, sentence)
        if section.rows:
            shown = new_table(console, *section.header)
            for cells in section.rows:
                add_row(console, shown, *cells)
            console.print(shown)
        for note in section.notes:
            say(console, note, "dim")


def as_markdown(sections: Sequence[Section], pictures: Sequence[str] = ()) -> str:
    """The sections with pipe tables; `pictures` are the names of plots that lie beside the file."""
    lines: list[str] = []
    for section in sections if pictures else plain(sections):
        lines += [f"## {escape(section.title)}", ""]
        lines += [line for sentence in section.sentences for line in (_marked(sentence), "")]
        if section.rows:
            lines += [_line(section.header), _line(["---"] * len(section.header))]
            lines += [*(_line([escape(cell) for cell in row]) for row in section.rows), ""]
        lines += [line for note in section.notes for line in (_marked(note), "")]
        if section.picture in pictures:
            lines += [f"![{escape(section.title)}]({section.picture}.svg)", ""]
    return "\n".join(lines).rstrip() + "\n"


def as_html(title: str, sections: Sequence[Section], pictures: Mapping[str, str]) -> str:
    """The page with its plots inside, as SVG text by name."""
    from markupsafe import Markup

    from bylaw.runtime.report.html import environment

    # drawn here, their labels escaped; without a size of their own they fit into a narrow page
    inside = {name: Markup(_SIZE.sub("", svg[svg.index("<svg") :], count=1)) for name, svg in pictures.items()}
    page = PricePage(title, tuple(sections))
    return environment().get_template("price.html.j2").render(record=page, pictures=inside)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _marked(sentence: str) -> str:
    """A sentence in which words in backticks stay code."""
    parts = sentence.split("`")
    return "".join(f"`{part}`" if number % 2 else escape(part) for number, part in enumerate(parts))
