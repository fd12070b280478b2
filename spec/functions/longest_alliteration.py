"""The largest number of neighbouring words of a text that begin with the same letter or digit, in any case."""

from itertools import groupby

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import words


def value(text: str) -> float:
    return float(max((sum(1 for _ in group) for _, group in groupby(words(text), lambda word: word[0])), default=0))


FUNCTION = Function(
    summary="how many words in a row begin with the same letter",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("Big blue boats sail",), 3.0),
        FunctionExample(("one two",), 1.0),
        FunctionExample(("",), 0.0),
    ),
)
