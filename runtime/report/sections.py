"""A part of an audit's report that every format has: one sentence, and a table behind it for those who want to know."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bylaw.runtime.report.terminal import add_row, new_table, say

if TYPE_CHECKING:
    from markupsafe import Markup
    from rich.console import Console


@dataclass(frozen=True, slots=True)
class Section:
    """One part.

    Attributes:
        name: for links. title: of the part. sentence: what it comes to, for people who know no statistics.
        summary: what the table is, on the line that opens it. headings, rows: the table; cells are plain text.
        notes: what to know of the table, in sentences. is_open: the table is shown at once.
        marked: the column whose words the page colours (`worse`, `better`), if any.
    """

    name: str
    title: str
    sentence: str
    summary: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    is_open: bool = False
    marked: int | None = None


def section_markdown(section: Section) -> list[str]:
    """Lines of Markdown, in which nobody's words mean anything."""
    from bylaw.runtime.report.markdown import escape

    lines = [f"## {escape(section.title)}", "", escape(section.sentence), ""]
    if section.rows:
        lines += ["| " + " | ".join(map(escape, section.headings)) + " |", "|" + " --- |" * len(section.headings)]
        lines += ["| " + " | ".join(map(escape, row)) + " |" for row in section.rows]
        lines.append("")
    return [*lines, *(line for note in section.notes for line in (escape(note), ""))]


def print_section(section: Section, console: Console) -> None:
    """The part on a terminal."""
    say(console, section.title, "bold")
    say(console, section.sentence)
    if section.rows:
        table = new_table(console, *section.headings)
        for row in section.rows:
            add_row(console, table, *row)
        console.print(table)
    for note in section.notes:
        say(console, note)
    console.print()


def section_html(section: Section) -> Markup:
    """The part of a page, escaped: the sentence, and the table in what can be opened."""
    from markupsafe import Markup

    from bylaw.runtime.report.text import block

    opening = Markup('<section aria-labelledby="{0}">\n<h2 id="{0}">{1}</h2>\n<p class="told">{2}</p>\n')
    made = opening.format(section.name, block(section.title), block(section.sentence))
    notes = _joined(Markup('<p class="note">{}</p>\n').format(block(note)) for note in section.notes)
    if section.rows:
        details = Markup(
            "<details{}>\n<summary>{}</summary>\n{}"
            '<div class="scroll"><table class="stack">\n<thead><tr>{}</tr></thead>\n'
            "<tbody>\n{}</tbody>\n</table></div>\n</details>\n"
        )
        heads = _joined(Markup('<th scope="col">{}</th>').format(block(each)) for each in section.headings)
        rows = _joined(_row(section, row) for row in section.rows)
        shown = Markup(" open") if section.is_open else Markup("")
        made += details.format(shown, block(section.summary), notes, heads, rows)
    else:
        made += notes
    return made + Markup("</section>\n")


def _row(section: Section, row: Sequence[str]) -> Markup:
    from markupsafe import Markup

    from bylaw.runtime.report.text import block

    cells = [Markup('<th scope="row"><code>{}</code></th>').format(block(row[0]))]
    for place, (heading, cell) in enumerate(zip(section.headings[1:], row[1:], strict=True), 1):
        words = block(cell)
        shown = (
            Markup('<span class="{}">{}</span>').format(cell.replace(" ", "-"), words)
            if place == section.marked
            else words
        )
        cells.append(Markup('<td data-label="{}">{}</td>').format(block(heading), shown))
    return Markup("<tr>{}</tr>\n").format(_joined(cells))


def _joined(parts: Iterable[Markup]) -> Markup:
    from markupsafe import Markup

    return Markup("").join(parts)
