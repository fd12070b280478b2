"""Whether two texts have the same words in the same order; case, white space and marks between words are left aside."""

from bylaw.spec.catalog import Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import words


def value(text: str, other: str) -> bool:
    return words(text) == words(other)


FUNCTION = Function(
    summary="whether two texts have the same words in the same order",
    parameters=(TEXT, Parameter("other", "text")),
    result="boolean",
    value=value,
    examples=(FunctionExample(("Yes, we sail!", "yes we SAIL"), True), FunctionExample(("a b", "b a"), False)),
)
