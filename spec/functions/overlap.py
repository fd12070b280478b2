"""The share of a text's different runs of n words that stand in another text too, from 0 to 1; case is left aside.

There is no value when the text has fewer than n words.
"""

from bylaw.spec.catalog import Function, FunctionExample, NoValue, Parameter
from bylaw.spec.functions._arguments import TEXT, N, refuse_size, size
from bylaw.spec.functions._text import runs, words

LONGEST = 20


def value(text: str, other: str, n: float) -> float:
    length = size(n, "n", LONGEST)
    own = set(runs(words(text), length))
    if not own:
        raise NoValue(f"the text has fewer than {length} words")
    return len(own.intersection(runs(words(other), length))) / len(own)


FUNCTION = Function(
    summary="the share of a text's runs of n words that another text has too",
    parameters=(TEXT, Parameter("other", "text"), N),
    result="number",
    value=value,
    examples=(
        FunctionExample(("We sail at noon", "I sail at noon", 2), 2 / 3),
        FunctionExample(("a b", "b a", 1), 1.0),
    ),
    refuse=refuse_size(2, LONGEST),
)
