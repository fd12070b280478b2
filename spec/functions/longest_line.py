"""The number of characters in the longest line of a text, its line break not counted."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT


def value(text: str) -> float:
    return float(max(map(len, text.split("\n"))))


FUNCTION = Function(
    summary="how many characters the longest line has",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("ab\nabcd\n",), 4.0),
        FunctionExample(("",), 0.0),
    ),
)
