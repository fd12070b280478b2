"""A question: a sentence that ends with a question mark (`?!` is an exclamation)."""

from bylaw.spec.catalog import Unit, UnitExample
from bylaw.spec.expression import Extent
from bylaw.spec.units._sentence_kinds import ending_with


def find(text: str) -> tuple[Extent, ...]:
    return ending_with(text, "?\uff1f")


UNIT = Unit(
    summary="sentences that end with a question mark",
    find=find,
    machine=None,
    examples=(UnitExample('Why? He asked "Who?" Fine. Really??', 3), UnitExample("No. What?!", 0)),
)
