"""The characters of a text from its end to its beginning."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT


def value(text: str) -> str:
    return text[::-1]


FUNCTION = Function(
    summary="the characters in the opposite order",
    parameters=(TEXT,),
    result="text",
    value=value,
    examples=(
        FunctionExample(("abc",), "cba"),
        FunctionExample(("",), ""),
    ),
)
