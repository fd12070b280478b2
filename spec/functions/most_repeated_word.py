"""How often the word that a text has most often occurs in it, whatever its case."""

from collections import Counter

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import words


def value(text: str) -> float:
    return float(max(Counter(words(text)).values(), default=0))


FUNCTION = Function(
    summary="how often the commonest word occurs",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("The boat, the Sail, the sea",), 3.0),
        FunctionExample(("",), 0.0),
    ),
)
