"""The stretch of a text from one word to another, both included, with what stands between them as it is written.

Places count from 1, or from the end with -1 for the last word. Where no word has one of them, or the first comes behind
the last, it is the empty text."""

from bylaw.spec.catalog import Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT, refuse_index, whole
from bylaw.spec.units import words


def value(text: str, first: float, last: float) -> str:
    found = words.find(text)
    start, end = (_place(whole(number, "a place"), len(found)) for number in (first, last))
    if not 0 <= start <= end < len(found):
        return ""
    return text[found[start].start : found[end].end]


def _place(number: int, total: int) -> int:
    return number - 1 if number > 0 else number + total


FUNCTION = Function(
    summary="the text from one word to another, both included",
    parameters=(TEXT, Parameter("first", "number"), Parameter("last", "number")),
    result="text",
    value=value,
    examples=(
        FunctionExample(("One, two three four.", 2, 3), "two three"),
        FunctionExample(("One, two three four.", -2, -1), "three four"),
        FunctionExample(("One, two.", 2, 3), ""),
    ),
    refuse=refuse_index(1, 2),
)
