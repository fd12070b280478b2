"""The number of syllables of the words of an English text, by the rules of `_syllables`."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions import _syllables
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import units


def value(text: str) -> float:
    return float(sum(map(_syllables.syllables, units(text, "words"))))


FUNCTION = Function(
    summary="how many syllables an English text has",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(FunctionExample(("A quiet harbour",), 5.0), FunctionExample(("",), 0.0)),
)
