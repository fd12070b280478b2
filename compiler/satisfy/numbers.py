"""Sets of floating-point numbers, and which numbers make a comparison true.

The reference evaluator calculates with floating-point numbers, so this does too: every set is a finite union of closed
intervals of floats (a strict bound is the float next to it), and sums, products and quotients with a constant are
inverted by bisection over all floats, because rounding keeps an operation monotone. Nothing is rounded away: a set is
empty only if no float is in it.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Callable, Iterable, Iterator

from bylaw.compiler.values import Unknown, calculated
from bylaw.spec.expression import Arithmetic, Compare, NumberConstant, NumberExpression, Operator
from bylaw.spec.logic import MIRRORED

Numbers = tuple[tuple[float, float], ...]
"""Disjoint closed intervals in rising order."""

LARGEST = sys.float_info.max
ALL: Numbers = ((-LARGEST, LARGEST),)
NONE: Numbers = ()


# -------------------------------------------------------------------------------------------------------- set algebra
def meeting(operator: Operator, bound: float) -> Numbers:
    """The numbers that stand in this relation to `bound`."""
    below = ((-LARGEST, math.nextafter(bound, -math.inf)),) if bound > -LARGEST else NONE
    above = ((math.nextafter(bound, math.inf), LARGEST),) if bound < LARGEST else NONE
    exactly = ((bound, bound),)
    found = {
        "<": below,
        "<=": ((-LARGEST, bound),),
        "==": exactly,
        "!=": (*below, *above),
        ">=": ((bound, LARGEST),),
        ">": above,
    }[operator]
    return tuple((low + 0.0, high + 0.0) for low, high in found)  # never -0.0


def both(one: Numbers, other: Numbers) -> Numbers:
    """The numbers in both sets."""
    found = [(max(a, c), min(b, d)) for a, b in one for c, d in other]
    return tuple(sorted((low, high) for low, high in found if low <= high))


def either(parts: Iterable[tuple[float, float]]) -> Numbers:
    """The numbers in any of some intervals."""
    merged: list[tuple[float, float]] = []
    for low, high in sorted(parts):
        if merged and low <= math.nextafter(merged[-1][1], math.inf):
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def contains(numbers: Numbers, value: float) -> bool:
    """Whether a number is in the set."""
    return any(low <= value <= high for low, high in numbers)


def whole(numbers: Numbers, most: float = LARGEST) -> Numbers:
    """What is left where only whole numbers from 0 to `most` can be meant."""
    bounds = [(max(low, 0.0), min(high, most)) for low, high in numbers]
    snapped = [(float(math.ceil(low)), float(math.floor(high))) for low, high in bounds if low <= high]
    return tuple((low, high) for low, high in snapped if low <= high)


def picks(numbers: Numbers, count: int = 1) -> Iterator[float]:
    """Numbers of the set, those that people would write first; about `count` of every interval, without repeats."""
    seen: set[float] = set()
    for low, high in sorted(numbers, key=lambda interval: (interval[0] == -LARGEST, abs(interval[0]))):
        for value in _within(low, high, count):
            if low <= value <= high and value not in seen:
                seen.add(value)
                yield value


def _within(low: float, high: float, count: int) -> Iterator[float]:
    if low == -LARGEST and high == LARGEST:
        yield from (float(number) for number in range(count + 1))
    elif low == -LARGEST:
        yield from (math.floor(high) - float(step) for step in range(count + 1))
    elif high == LARGEST:
        yield from (math.ceil(low) + float(step) for step in range(count + 1))
    else:
        yield from (math.ceil(low) + float(step) for step in range(count + 1))
        middle = low / 2 + high / 2
        yield from (round(middle, digits) for digits in (1, 2, 3, 6))
        yield from (low + (high - low) * step / (count + 1) for step in range(1, count + 1))
    yield low
    yield high


# -------------------------------------------------------------------------------------------------------- comparisons
def solved(compare: Compare) -> tuple[NumberExpression, Numbers] | None:
    """The one quantity that a comparison is about, and the numbers for which it is true.

    None where it is about several quantities, or the same one twice: that is not decided here.
    """
    for left, right, operator in (
        (compare.left, compare.right, compare.operator),
        (compare.right, compare.left, MIRRORED[compare.operator]),
    ):
        bound = constant(right)
        if isinstance(bound, Unknown):
            return (left, NONE)  # has no value, so nothing makes this true
        if bound is not None:
            return _solved(left, meeting(operator, bound))
    return None


def constant(expression: NumberExpression) -> float | Unknown | None:
    """The value of a quantity that depends on nothing; None for any other."""
    match expression:
        case NumberConstant(value):
            return value
        case Arithmetic(operator, left, right):
            one, other = constant(left), constant(right)
            if one is None or other is None:
                return None
            return calculated(operator, one, other)
    return None


def _solved(expression: NumberExpression, wanted: Numbers) -> tuple[NumberExpression, Numbers] | None:
    if not isinstance(expression, Arithmetic):
        return None if isinstance(expression, NumberConstant) else (expression, wanted)
    operator, left, right = expression.operator, constant(expression.left), constant(expression.right)
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return None
    if right is not None and left is None:
        known = right
        return _solved(expression.left, _before(lambda x: _calculated(operator, x, known), operator, known, wanted))
    if left is not None and right is None:
        known = left
        pieces = "/x" if operator == "/" else operator
        return _solved(expression.right, _before(lambda x: _calculated(operator, known, x), pieces, known, wanted))
    return None


def _calculated(operator: str, left: float, right: float) -> float:
    """As the evaluator calculates; what is too large for it is infinite here, and so in no set."""
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right if right else math.inf
    return abs(left - right)


def _before(function: Callable[[float], float], operator: str, known: float, wanted: Numbers) -> Numbers:
    """The numbers that a function takes into a set; on each piece it only rises, or only falls."""
    pieces = [(-LARGEST, LARGEST)]
    if operator == "/x":
        pieces = [(-LARGEST, _float(-1)), (_float(1), LARGEST)]
    elif operator == "distance":
        pieces = [(-LARGEST, known), (known, LARGEST)]
    if operator == "/" and known == 0:
        return NONE
    return either(found for low, high in pieces for a, b in wanted for found in _preimage(function, low, high, a, b))


def _preimage(
    function: Callable[[float], float], low: float, high: float, least: float, most: float
) -> Iterator[tuple[float, float]]:
    """Where a monotone function has values from `least` to `most`: at most one interval."""
    rises = function(low) <= function(high)
    start, end = _ordinal(low), _ordinal(high)
    first = _first(start, end, lambda x: function(x) >= least if rises else function(x) <= most)
    beyond = _first(start, end, lambda x: function(x) > most if rises else function(x) < least)
    if first < beyond:
        yield _float(first), _float(beyond - 1)


def _first(start: int, end: int, holds: Callable[[float], bool]) -> int:
    """The first number in floating-point order for which something holds from there on; `end + 1` for none."""
    low, high = start, end + 1
    while low < high:
        middle = (low + high) // 2
        if holds(_float(middle)):
            high = middle
        else:
            low = middle + 1
    return low


def _ordinal(value: float) -> int:
    """The place of a float among all floats: 0 for zero, neighbours differ by 1."""
    bits: int = struct.unpack("<q", struct.pack("<d", value + 0.0))[0]
    return bits if bits >= 0 else -(bits & 0x7FFF_FFFF_FFFF_FFFF)


def _float(ordinal: int) -> float:
    bits = abs(ordinal)
    value: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return value if ordinal >= 0 else -value
