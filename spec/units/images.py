"""A Markdown image such as ![map](map.png).

A reader's program fetches its address, which can carry what the text says to a stranger.
"""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units._links import LINK


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(match.start(), match.end()) for match in LINK.finditer(text) if match[1])


UNIT = Unit(
    summary="images of Markdown, such as ![text](address)",
    find=find,
    machine=None,
    examples=(UnitExample("![a](a.png) ![](https://b.example/?q=1)", 2), UnitExample("[a](a.png)", 0)),
)
