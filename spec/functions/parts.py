"""How many parts a text has between separators; parts of nothing but white space are not counted."""

from bylaw.spec.catalog import Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT, refuse_empty
from bylaw.spec.functions._parts import split


def value(text: str, separator: str) -> float:
    return float(len(split(text, separator)))


FUNCTION = Function(
    summary="how many parts there are between separators, blank ones left out",
    parameters=(TEXT, Parameter("separator", "text")),
    result="number",
    value=value,
    examples=(
        FunctionExample(("one *** two *** three", "***"), 3.0),
        FunctionExample(("one", "***"), 1.0),
        FunctionExample(("*** a ***", "***"), 1.0),
    ),
    refuse=refuse_empty(1, "a separator"),
)
