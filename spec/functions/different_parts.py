"""Whether a separator cuts a text into at least two parts, and no two of them are the same, white space around them and
blank parts left aside. IFEval asks for two different responses so, and its checker compares them so."""

from bylaw.spec.catalog import Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT, refuse_empty
from bylaw.spec.functions._parts import split


def value(text: str, separator: str) -> bool:
    parts = split(text, separator)
    return len(parts) == len(set(parts)) >= 2


FUNCTION = Function(
    summary="at least two parts between separators, and no two the same",
    parameters=(TEXT, Parameter("separator", "text")),
    result="boolean",
    value=value,
    examples=(
        FunctionExample(("one ****** two", "******"), True),
        FunctionExample(("one ****** one", "******"), False),
        FunctionExample(("one", "******"), False),
    ),
    refuse=refuse_empty(1, "a separator"),
)
