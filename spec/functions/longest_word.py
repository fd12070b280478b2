"""The number of characters in the longest word of a text."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import units


def value(text: str) -> float:
    return float(max(map(len, units(text, "words")), default=0))


FUNCTION = Function(
    summary="how many characters the longest word has",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("a well-known harbour",), 7.0),
        FunctionExample(("",), 0.0),
    ),
)
