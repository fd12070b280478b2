"""How many words of a text stand before the first mention of a phrase; no value where it is not mentioned.

The phrase is found as whole words in any case, as by the predicate `mention`.
"""

from bylaw.spec.catalog import Function, FunctionExample, NoValue, Parameter
from bylaw.spec.functions._arguments import TEXT, refuse_empty
from bylaw.spec.functions._text import mentions
from bylaw.spec.units import words


def value(text: str, phrase: str) -> float:
    found = mentions(text, phrase) if phrase else ()
    if not found:
        raise NoValue("the text does not mention the phrase")
    return float(sum(extent.end <= found[0].start for extent in words.find(text)))


FUNCTION = Function(
    summary="how many words stand before the first mention of a phrase",
    parameters=(TEXT, Parameter("phrase", "text")),
    result="number",
    value=value,
    examples=(FunctionExample(("Yes, we sail at Noon.", "noon"), 4.0), FunctionExample(("Noon", "noon"), 0.0)),
    refuse=refuse_empty(1, "a phrase"),
)
