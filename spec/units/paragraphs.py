"""A paragraph: neighbouring lines with something on them; blank lines stand between paragraphs."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.charset import NEWLINE
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine
from bylaw.spec.spaces import INLINE_SPACE
from bylaw.spec.units import lines


def find(text: str) -> tuple[Extent, ...]:
    found: list[Extent] = []
    for line in lines.find(text):
        # Two neighbouring lines have one line break between them, a blank line brings a second one.
        if found and text.count("\n", found[-1].end, line.start) == 1:
            found[-1] = Extent(found[-1].start, line.end)
        else:
            found.append(line)
    return tuple(found)


def machine() -> CountingMachine:
    between, inside, new_line = 0, 1, 2
    return CountingMachine(
        classes=(NEWLINE, INLINE_SPACE),
        step=(
            ((between, 0), (between, 0), (inside, 1)),
            ((new_line, 0), (inside, 0), (inside, 0)),
            ((between, 0), (new_line, 0), (inside, 0)),
        ),
        final=(0, 0, 0),
    )


UNIT = Unit(
    summary="blocks of lines with blank lines between them",
    find=find,
    machine=machine,
    examples=(UnitExample("", 0), UnitExample("a\nb\n\nc\n \n d", 3), UnitExample("\n\na", 1)),
    is_raw=True,
)
