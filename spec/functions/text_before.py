"""The text that stands before the first occurrence of a marker; the whole text where the marker does not occur."""

from bylaw.spec.catalog import Function, FunctionExample, NoValue, Parameter
from bylaw.spec.functions._arguments import TEXT, refuse_empty


def value(text: str, marker: str) -> str:
    if not marker:
        raise NoValue("a marker cannot be the empty text")
    return text.partition(marker)[0]


FUNCTION = Function(
    summary="the text that stands before the first occurrence of a marker",
    parameters=(TEXT, Parameter("marker", "text")),
    result="text",
    value=value,
    examples=(
        FunctionExample(("yes, of course", ","), "yes"),
        FunctionExample(("no", ","), "no"),
    ),
    refuse=refuse_empty(1, "a marker"),
)
