"""The n-th sentence of a text, 1 for the first, -1 for the last; the empty text where there is none."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT, N, refuse_index, whole
from bylaw.spec.functions._text import item, units


def value(text: str, n: float) -> str:
    return item(units(text, "sentences"), whole(n, "n"))


FUNCTION = Function(
    summary="the n-th sentence; -1 is the last one",
    parameters=(TEXT, N),
    result="text",
    value=value,
    examples=(
        FunctionExample(("It rains. We stay!", 2), "We stay!"),
        FunctionExample(("It rains. We stay!", -5), ""),
        FunctionExample(("It rains. We stay!", 1), "It rains."),
    ),
    refuse=refuse_index(1),
)
