"""A Markdown link such as [the shop](https://shop.example). Images, bare addresses and reference links are none."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units._links import LINK


def find(text: str) -> tuple[Extent, ...]:
    return tuple(Extent(match.start(), match.end()) for match in LINK.finditer(text) if not match[1])


UNIT = Unit(
    summary="links of Markdown, such as [text](address)",
    find=find,
    machine=None,
    examples=(
        UnitExample('[a](https://a.example) and [b](/b "B") and [c](x_(y))', 3),
        UnitExample("![a](a.png) [name] https://a.example", 0),
    ),
)
