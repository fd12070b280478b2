"""The share of different words among all words, whatever their case (type-token ratio), from 0 to 1."""

from bylaw.spec.catalog import Function, FunctionExample, NoValue
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import words


def value(text: str) -> float:
    found = words(text)
    if not found:
        raise NoValue("the text has no words")
    return len(set(found)) / len(found)


FUNCTION = Function(
    summary="the share of different words among all words",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("The boat and the sail",), 0.8),
        FunctionExample(("a A a a",), 0.25),
    ),
)
