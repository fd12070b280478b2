"""Whether a text mentions all phrases of a list, which is written with commas, one behind the other in this order.

Phrases are found as whole words in any case; the first place for each that lies behind the one before is taken.
"""

from bylaw.spec.catalog import Function, FunctionExample, NoValue, Parameter
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import listed, mentions, refuse_no_list


def value(text: str, phrases: str) -> bool:
    wanted = listed(phrases)
    if not wanted:
        raise NoValue("the list has no phrases")
    place = 0
    for phrase in wanted:
        found = mentions(text[place:], phrase)
        if not found:
            return False
        place += found[0].end
    return True


FUNCTION = Function(
    summary="whether all phrases, with commas between, are mentioned in this order",
    parameters=(TEXT, Parameter("phrases", "text")),
    result="boolean",
    value=value,
    examples=(
        FunctionExample(("First wash, then cut.", "first, then"), True),
        FunctionExample(("Then cut, first wash.", "first, then"), False),
    ),
    refuse=refuse_no_list(1),
)
