"""How alike two texts are, from 0 to 1: Dice's coefficient of their runs of three characters, counted with repeats.

Case and the amount of white space are left aside; each text gets a blank at both ends, so that short ones have runs
too. 1 for texts of the same runs, also for two blank ones.
"""

from collections import Counter

from bylaw.spec.catalog import Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.matching import folded

LENGTH = 3


def value(text: str, other: str) -> float:
    left, right = _runs(text), _runs(other)
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0


def _runs(text: str) -> Counter[str]:
    plain = f" {' '.join(folded(text).split())} "
    return Counter(plain[start : start + LENGTH] for start in range(len(plain) - LENGTH + 1))


FUNCTION = Function(
    summary="how alike two texts are, from 0 (nothing in common) to 1",
    parameters=(TEXT, Parameter("other", "text")),
    result="number",
    value=value,
    examples=(FunctionExample(("Good  Night", "good night"), 1.0), FunctionExample(("abc", "xyz"), 0.0)),
)
