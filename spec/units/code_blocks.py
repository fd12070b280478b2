"""A code block: lines between fences of three or more backticks or tildes, as in Markdown.

A fence is closed by one of the same sign that is at least as long; one that is never closed goes on to the end.
"""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units._fences import fenced_blocks


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(block.start, block.end) for block in fenced_blocks(text))


UNIT = Unit(
    summary="code between lines of ``` or ~~~",
    find=find,
    machine=None,
    examples=(
        UnitExample("```python\nx = 1\n```\ntext\n~~~\ny\n~~~", 2),
        UnitExample("````\n```\nx\n```\n````", 1),
        UnitExample("```\nnever closed", 1),
        UnitExample("`x` and ```y```", 0),
    ),
)
