"""The longest run of neighbouring words of a text that stands in another text too, in words.

Case and what stands between words are left aside, so line breaks, quotation marks and punctuation hide no quotation.
"""

from bylaw.spec.catalog import Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._runs import SuffixAutomaton
from bylaw.spec.functions._text import words


def value(text: str, source: str) -> float:
    return float(SuffixAutomaton(words(source)).longest_shared(words(text)))


FUNCTION = Function(
    summary="how many words in a row a text takes from a source",
    parameters=(TEXT, Parameter("source", "text")),
    result="number",
    value=value,
    examples=(
        FunctionExample(('He said "we sail at noon", again.', "Tomorrow we sail at\nNoon, I hope."), 4.0),
        FunctionExample(("one two", "three"), 0.0),
    ),
)
