"""The n-th word of a text, 1 for the first, -1 for the last; the empty text where there is none."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT, N, refuse_index, whole
from bylaw.spec.functions._text import item, units


def value(text: str, n: float) -> str:
    return item(units(text, "words"), whole(n, "n"))


FUNCTION = Function(
    summary="the n-th word; -1 is the last one",
    parameters=(TEXT, N),
    result="text",
    value=value,
    examples=(
        FunctionExample(("Good day, Anna", 2), "day"),
        FunctionExample(("Good day, Anna", -5), ""),
        FunctionExample(("Good day, Anna", 1), "Good"),
    ),
    refuse=refuse_index(1),
)
