"""The text in lower case, as Unicode has it, to compare without regard to case."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT


def value(text: str) -> str:
    return text.lower()


FUNCTION = Function(
    summary="the text in lower case",
    parameters=(TEXT,),
    result="text",
    value=value,
    examples=(
        FunctionExample(("ÅSA says NO",), "åsa says no"),
        FunctionExample(("",), ""),
    ),
)
