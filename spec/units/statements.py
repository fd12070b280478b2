"""A statement: a sentence that ends with a full stop or an ellipsis. What ends without a mark, as a heading does, is
none."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units._sentence_kinds import ending_with


def find(text: str) -> tuple[Extent, ...]:
    return ending_with(text, ".\u2026\u3002")


UNIT = Unit(
    summary="sentences that end with a full stop",
    find=find,
    machine=None,
    examples=(UnitExample('It rains. "So be it." Why? Well\u2026', 3), UnitExample("Title\nStop!", 0)),
)
