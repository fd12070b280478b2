"""The longest run of neighbouring words that occurs more than once in a text, in words.

Case and what stands between words are left aside. The occurrences may overlap: `ha ha ha` repeats `ha ha`.
"""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._runs import SuffixAutomaton
from bylaw.spec.functions._text import words


def value(text: str) -> float:
    return float(SuffixAutomaton(words(text)).longest_repeated())


FUNCTION = Function(
    summary="how many words the longest passage has that occurs more than once",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("We sail at noon. Yes, we sail at dawn.",), 3.0),
        FunctionExample(("ha ha ha",), 2.0),
        FunctionExample(("one two",), 0.0),
    ),
)
