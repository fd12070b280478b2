"""The n-th line of a text, 1 for the first, -1 for the last; the empty text where there is none."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT, N, refuse_index, whole
from bylaw.spec.functions._text import item, units


def value(text: str, n: float) -> str:
    return item(units(text, "lines"), whole(n, "n"))


FUNCTION = Function(
    summary="the n-th line; -1 is the last one",
    parameters=(TEXT, N),
    result="text",
    value=value,
    examples=(
        FunctionExample(("a\n\nb", 2), "b"),
        FunctionExample(("a\n\nb", -5), ""),
        FunctionExample(("a\n\nb", 1), "a"),
    ),
    refuse=refuse_index(1),
)
