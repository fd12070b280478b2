"""An exclamation: a sentence that ends with an exclamation mark."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units._sentence_kinds import ending_with


def find(text: str) -> tuple[Extent, ...]:
    return ending_with(text, "!\uff01")


UNIT = Unit(
    summary="sentences that end with an exclamation mark",
    find=find,
    machine=None,
    examples=(UnitExample("Stop! Now!! (Please!) Thanks.", 3), UnitExample("No? Yes.", 0)),
)
