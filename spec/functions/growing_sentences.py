"""Whether each sentence of a text but the first has exactly n words more than the one before; n may be 0 or negative.

A text of one sentence or none has nothing to compare, and it holds.
"""

from itertools import pairwise

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT, N
from bylaw.spec.functions._text import units
from bylaw.spec.units import words


def value(text: str, n: float) -> bool:
    sizes = [len(words.find(sentence)) for sentence in units(text, "sentences")]
    return all(later - earlier == n for earlier, later in pairwise(sizes))


FUNCTION = Function(
    summary="whether each sentence has exactly n words more than the one before",
    parameters=(TEXT, N),
    result="boolean",
    value=value,
    examples=(FunctionExample(("It rains. We stay in.", 1), True), FunctionExample(("It rains. We stay.", 1), False)),
)
