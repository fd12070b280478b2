"""The average number of characters in a word."""

from bylaw.spec.catalog import Function, FunctionExample, NoValue
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import units


def value(text: str) -> float:
    found = units(text, "words")
    if not found:
        raise NoValue("the text has no words")
    return sum(map(len, found)) / len(found)


FUNCTION = Function(
    summary="how many characters a word has on average",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("a bcd",), 2.0),
        FunctionExample(("it is three",), 3.0),
    ),
)
