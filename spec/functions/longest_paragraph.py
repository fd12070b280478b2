"""The number of words in the paragraph of a text that has most."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import units
from bylaw.spec.units import words


def value(text: str) -> float:
    return float(max((len(words.find(paragraph)) for paragraph in units(text, "paragraphs")), default=0))


FUNCTION = Function(
    summary="how many words the longest paragraph has",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("a b\n\nc d\ne",), 3.0),
        FunctionExample(("",), 0.0),
    ),
)
