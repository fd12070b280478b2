"""How many words of a text have at least n characters and read the same from their end, in any case."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT, N, refuse_size, size
from bylaw.spec.functions._text import words

MOST = 1000


def value(text: str, n: float) -> float:
    shortest = size(n, "n", MOST)
    return float(sum(len(word) >= shortest and word == word[::-1] for word in words(text)))


FUNCTION = Function(
    summary="how many words of at least n characters read the same from their end",
    parameters=(TEXT, N),
    result="number",
    value=value,
    examples=(FunctionExample(("Anna saw a civic radar", 5), 2.0), FunctionExample(("boat", 1), 0.0)),
    refuse=refuse_size(1, MOST),
)
