"""The text without the white space at its ends."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT


def value(text: str) -> str:
    return text.strip()


FUNCTION = Function(
    summary="the text without white space at its ends",
    parameters=(TEXT,),
    result="text",
    value=value,
    examples=(
        FunctionExample(("  yes\n",), "yes"),
        FunctionExample(("a b",), "a b"),
    ),
)
