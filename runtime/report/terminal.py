"""A terminal, or a file that is read like one: tables and sentences in characters that it can show.

Everything is a rich `Text`, never markup, and went through `one_line`: model text can neither style the output nor send
an escape sequence to the terminal.
"""

from __future__ import annotations

import os
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING

from bylaw.runtime.report.text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

FILE_WIDTH = 118
"""Characters in a line of a table that goes into a file or a pipe."""
_CLAUSE_WIDTH, _ROOMY = 16, 100
"""Characters. On a narrower terminal a least width for one column would push the others off the edge."""

_PLAIN = MappingProxyType(str.maketrans({"–": "-", "…": "...", "⟦": "[[", "⟧": "]]", "±": "+/-"}))


def standard_output() -> Console:
    """Where tables are printed. A pipe has no width of its own: COLUMNS says it, or else it is `FILE_WIDTH`."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else FILE_WIDTH)


def say(console: Console, words: str, style: str = "") -> None:
    """One sentence."""
    from rich.text import Text

    console.print(Text(fit(one_line(words), console), style), highlight=False)


def new_table(console: Console, first: str, *others: str) -> Table:
    """An empty table with these headings; the first column gets the most room."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, highlight=False)
    least = _CLAUSE_WIDTH if console.width >= _ROOMY else None
    made.add_column(fit(first, console), ratio=2, min_width=least, overflow="fold")
    for name in others:
        made.add_column(fit(name, console), overflow="fold")
    return made


def add_row(console: Console, table: Table, *cells: str) -> None:
    """Adds a row of cells."""
    from rich.text import Text

    table.add_row(*(Text(fit(cell, console)) for cell in cells))


def fit(words: str, console: Console) -> str:
    """Words that the terminal can show: what its encoding lacks is spelt in other characters or as an escape."""
    if console.encoding.lower().startswith("utf"):
        return words
    return words.translate(_PLAIN).encode(console.encoding, "backslashreplace").decode(console.encoding)
