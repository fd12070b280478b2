"""The number of words in the sentence of a text that has most."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import units
from bylaw.spec.units import words


def value(text: str) -> float:
    return float(max((len(words.find(sentence)) for sentence in units(text, "sentences")), default=0))


FUNCTION = Function(
    summary="how many words the longest sentence has",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("It rains. We all stay in.",), 4.0),
        FunctionExample(("",), 0.0),
    ),
)
