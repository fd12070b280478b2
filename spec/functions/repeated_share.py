"""The share of runs of n words that occurred before in the text, from 0 to 1: 1 - different runs / all runs.

Welleck and others, Neural text generation with unlikelihood training (2020), call it seq-rep-n. Case is left aside; a
text with fewer than n words has the share 0.
"""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT, N, refuse_size, size
from bylaw.spec.functions._text import runs, words

LONGEST = 20


def value(text: str, n: float) -> float:
    found = runs(words(text), size(n, "n", LONGEST))
    return 1 - len(set(found)) / len(found) if found else 0.0


FUNCTION = Function(
    summary="the share of runs of n words that the text had before",
    parameters=(TEXT, N),
    result="number",
    value=value,
    examples=(FunctionExample(("a b a b a", 2), 0.5), FunctionExample(("one two", 3), 0.0)),
    refuse=refuse_size(1, LONGEST),
)
