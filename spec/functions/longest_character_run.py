"""The largest number of times that a character follows itself, as the o in `sooo`; white space is left aside."""

from itertools import groupby

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT


def value(text: str) -> float:
    return float(max((sum(1 for _ in run) for character, run in groupby(text) if not character.isspace()), default=0))


FUNCTION = Function(
    summary="how often the same character stands in a row at most",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(FunctionExample(("sooo good!!",), 3.0), FunctionExample(("a    b",), 1.0), FunctionExample(("",), 0.0)),
)
