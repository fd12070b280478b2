"""The n-th paragraph of a text, 1 for the first, -1 for the last; the empty text where there is none."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT, N, refuse_index, whole
from bylaw.spec.functions._text import item, units


def value(text: str, n: float) -> str:
    return item(units(text, "paragraphs"), whole(n, "n"))


FUNCTION = Function(
    summary="the n-th paragraph; -1 is the last one",
    parameters=(TEXT, N),
    result="text",
    value=value,
    examples=(
        FunctionExample(("a\n\nb\nc", 2), "b\nc"),
        FunctionExample(("a\n\nb\nc", -5), ""),
        FunctionExample(("a\n\nb\nc", 1), "a"),
    ),
    refuse=refuse_index(1),
)
