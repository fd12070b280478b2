"""Linear inequalities over whole numbers and reals: does a set of them have no solution?

Fourier-Motzkin elimination (Schrijver, Theory of Linear and Integer Programming, 1986, section 12.2), with every
inequality over whole numbers rounded to what they can reach (section 23.1, Gomory and Chvatal). It proves that there
is no solution, and says which inequalities it took; it does not find every such case, because whole numbers would need
a search, and it stops at a limit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd

MOST_ROWS = 400
NO_REALS: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Row:
    """The sum of `coefficient * variable` is at most `bound`, or below it if `strict`.

    `terms` are (variable, coefficient) in the order of the variables, no coefficient being 0; together with the bound
    the coefficients have no common divisor. `sources` tells, as the bits of a number, what the row follows from.
    """

    terms: tuple[tuple[int, int], ...]
    bound: int
    strict: bool = False
    sources: int = 0

    @property
    def is_impossible(self) -> bool:
        """Whether the row says that 0 is below 0, or the like."""
        return not self.terms and (self.bound < 0 or (self.strict and self.bound == 0))

    @property
    def says_nothing(self) -> bool:
        """Whether the row holds without any variable."""
        return not self.terms and not self.is_impossible


def row(
    terms: Mapping[int, Fraction | int],
    bound: Fraction | int,
    *,
    strict: bool = False,
    sources: int = 0,
    reals: Collection[int] = NO_REALS,
) -> Row:
    """The row with whole coefficients; where all its variables are whole, with the tightest bound that they can reach.

    `reals` are the variables that need not be whole.
    """
    kept = sorted((variable, factor) for variable, factor in terms.items() if factor)
    scale = 1
    for factor in (*(factor for _, factor in kept), bound):
        scale = scale * factor.denominator // gcd(scale, factor.denominator)
    return _reduced(tuple((v, int(f * scale)) for v, f in kept), int(bound * scale), strict, sources, reals)


def _reduced(terms: tuple[tuple[int, int], ...], bound: int, strict: bool, sources: int, reals: Collection[int]) -> Row:
    divisor = 0
    for _, factor in terms:
        divisor = gcd(divisor, factor)
    if not divisor:
        return Row((), bound, strict, sources)
    if any(variable in reals for variable, _ in terms):
        divisor = gcd(divisor, bound)
    else:
        bound, strict = bound - strict, False  # whole numbers below 5 are at most 4
    if divisor > 1:
        terms = tuple((variable, factor // divisor) for variable, factor in terms)
        bound //= divisor  # rounds down
    return Row(terms, bound, strict, sources)


def contradiction(rows: Iterable[Row], reals: Collection[int] = NO_REALS, *, most_rows: int = MOST_ROWS) -> int | None:
    """The sources of a contradiction, or None where none was found within `most_rows` rows at a time."""
    for found in _eliminated(rows, reals, None, most_rows):
        if found.is_impossible:
            return found.sources
    return None


@dataclass(frozen=True, slots=True)
class Range:
    """The values between `low` and `high` (None: no bound), these included where they are not `open`."""

    low: Fraction | None = None
    high: Fraction | None = None
    low_open: bool = False
    high_open: bool = False

    def holds(self, value: Fraction | float) -> bool:
        """Whether a value lies in the range."""
        if self.low is not None and (value < self.low or (self.low_open and value == self.low)):
            return False
        return self.high is None or not (value > self.high or (self.high_open and value == self.high))


def values_of(
    variable: int, rows: Iterable[Row], reals: Collection[int] = NO_REALS, *, most_rows: int = MOST_ROWS
) -> Range | None:
    """A range outside of which no value of `variable` is part of a solution; None where there is no solution at all."""
    low: tuple[Fraction, bool] | None = None
    high: tuple[Fraction, bool] | None = None
    for found in _eliminated(rows, reals, variable, most_rows):
        if found.is_impossible:
            return None
        ((_, factor),) = found.terms
        bound = (Fraction(found.bound, factor), found.strict)
        if factor > 0 and (high is None or (bound[0], not bound[1]) < (high[0], not high[1])):
            high = bound
        elif factor < 0 and (low is None or (bound[0], bound[1]) > (low[0], low[1])):
            low = bound
    if low and high and (low[0] > high[0] or (low[0] == high[0] and (low[1] or high[1]))):
        return None
    return Range(low[0] if low else None, high[0] if high else None, bool(low and low[1]), bool(high and high[1]))


def _eliminated(rows: Iterable[Row], reals: Collection[int], kept: int | None, most_rows: int) -> Iterator[Row]:
    """What follows without any variable but `kept`: the impossible rows as soon as they are there."""
    current = _distinct(rows)
    while True:
        yield from (each for each in current if each.is_impossible)
        current = [each for each in current if each.terms]
        growth = _growth(current)
        if kept is not None:
            growth.pop(kept, None)
        if not growth:
            yield from current
            return
        chosen = min(growth, key=lambda variable: (growth[variable], variable))
        if growth[chosen] > 0 and len(current) + growth[chosen] > most_rows:
            # Too many: what is said of the kept variable alone is still true.
            yield from (each for each in current if all(variable == kept for variable, _ in each.terms))
            return
        current = _distinct(_without(chosen, current, reals))


def _growth(rows: Sequence[Row]) -> dict[int, int]:
    """How many more rows there are without a variable, for each of them."""
    above: dict[int, int] = {}
    below: dict[int, int] = {}
    for each in rows:
        for variable, factor in each.terms:
            if factor > 0:
                above[variable] = above.get(variable, 0) + 1
            else:
                below[variable] = below.get(variable, 0) + 1
    return {
        variable: above.get(variable, 0) * below.get(variable, 0) - above.get(variable, 0) - below.get(variable, 0)
        for variable in {**above, **below}
    }


def _without(variable: int, rows: Sequence[Row], reals: Collection[int]) -> Iterator[Row]:
    above: list[tuple[int, Row]] = []
    below: list[tuple[int, Row]] = []
    for each in rows:
        factor = next((factor for other, factor in each.terms if other == variable), 0)
        if not factor:
            yield each
        else:
            (above if factor > 0 else below).append((abs(factor), each))
    for one_factor, one in above:
        for other_factor, other in below:
            terms = {v: f * other_factor for v, f in one.terms}
            for v, f in other.terms:
                terms[v] = terms.get(v, 0) + f * one_factor
            bound = one.bound * other_factor + other.bound * one_factor
            kept = tuple(sorted((v, f) for v, f in terms.items() if f))
            yield _reduced(kept, bound, one.strict or other.strict, one.sources | other.sources, reals)


def _distinct(rows: Iterable[Row]) -> list[Row]:
    """Of rows with the same terms the tightest one; of equally tight ones that from the fewest sources."""
    best: dict[tuple[tuple[int, int], ...], Row] = {}
    for each in rows:
        known = best.get(each.terms)
        if not each.says_nothing and (known is None or _tightness(each) < _tightness(known)):
            best[each.terms] = each
    return list(best.values())


def _tightness(each: Row) -> tuple[int, bool, int]:
    return each.bound, not each.strict, each.sources.bit_count()
