"""Proofs that statements about counts contradict each other, by linear arithmetic over whole numbers.

`at least 60 sentences` and `at most 50 words` cannot be decided by an automaton of a reasonable size, but each count is
a variable, and what is certain of any text (compiler/counts/table.py: no more different words than words, no more
lines than line breaks and one) is an inequality between them. Where these have no solution, no text obeys all of the
statements. Where they have one nothing follows: not every solution is a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from bylaw.compiler.counts.cases import ANYTHING, Case, Linear, Quantity, cases_of
from bylaw.compiler.counts.chain import Bounds
from bylaw.compiler.counts.linear import Range, contradiction, values_of
from bylaw.compiler.counts.parameters import parameter_of
from bylaw.compiler.counts.problem import Problem, problem_of
from bylaw.compiler.counts.words import written
from bylaw.spec.expression import BooleanExpression

MOST_LEAVES = 64
"""Combinations of alternatives that are looked at before a question stays open."""
__all__ = ("CountProof", "ParameterProof", "Range", "counts_contradiction", "counts_contradiction_over")


@dataclass(frozen=True, slots=True)
class CountProof:
    """No text obeys the statements with these numbers; without any of them this proof does not go through.

    `steps` say why, in order. With `only_ascii`, the proof is about texts of ASCII characters: others may obey them.
    """

    statements: tuple[int, ...]
    steps: tuple[str, ...]
    only_ascii: bool = False

    @property
    def text(self) -> str:
        """The steps as one sentence."""
        return "; ".join(self.steps)


@dataclass(frozen=True, slots=True)
class ParameterProof:
    """No text obeys the statements with these numbers where `parameter` has a value within its limits that is in one
    of `ranges`."""

    parameter: str
    limits: tuple[float, float]
    ranges: tuple[Range, ...]
    statements: tuple[int, ...]

    def holds_for(self, value: float) -> bool:
        """Whether the statements contradict each other for a value."""
        return any(each.holds(Fraction(str(value))) for each in self.ranges)

    @property
    def text(self) -> str:
        """`for every value of x below 20`."""
        return f"for every `{parameter_of(self.parameter)}` " + " or ".join(
            _in_words(each, self.limits) for each in self.ranges
        )


def counts_contradiction(statements: Sequence[BooleanExpression], *, only_ascii: bool = False) -> CountProof | None:
    """A proof that no text obeys all statements (with `only_ascii`, no text of ASCII characters), or None.

    None says nothing: the statements may contradict each other all the same.
    """
    cases = [cases_of(statement) for statement in statements]
    found = _refuted(cases, range(len(cases)), only_ascii)
    if found is None:
        return None
    kept = sorted(found.statements)
    for statement in tuple(kept):
        fewer = [each for each in kept if each != statement]
        less = _refuted(cases, fewer, only_ascii) if fewer else None
        if less is not None:
            kept, found = sorted(less.statements), less
    return CountProof(tuple(kept), found.steps, only_ascii)


# ------------------------------------------------------------------------------------------------------- alternatives
@dataclass(frozen=True, slots=True)
class _Refuted:
    statements: frozenset[int]
    steps: tuple[str, ...]


def _refuted(cases: Sequence[tuple[Case, ...]], among: Sequence[int], is_ascii: bool) -> _Refuted | None:
    """Why no combination of alternatives is possible, or None."""
    never = next((number for number in among if not cases[number]), None)
    if never is not None:
        return _Refuted(frozenset((never,)), ("this never holds",))
    order = sorted((number for number in among if cases[number] != ANYTHING), key=lambda number: len(cases[number]))
    certain = [(number, cases[number][0]) for number in order if len(cases[number]) == 1]
    if not order:
        return None
    return _branched(certain, [number for number in order if len(cases[number]) > 1], cases, is_ascii, [MOST_LEAVES])


def _branched(
    chosen: list[tuple[int, Case]],
    open_: Sequence[int],
    cases: Sequence[tuple[Case, ...]],
    is_ascii: bool,
    budget: list[int],
) -> _Refuted | None:
    budget[0] -= 1
    if budget[0] < 0:
        return None
    found = _leaf(chosen, is_ascii) if chosen else None
    if found is not None or not open_:
        return found
    first, *rest = open_
    statements: frozenset[int] = frozenset((first,))
    steps: tuple[str, ...] = ()
    for place, case in enumerate(cases[first]):
        inner = _branched([*chosen, (first, case)], rest, cases, is_ascii, budget)
        if inner is None:
            return None
        if first not in inner.statements:
            return inner  # whatever is chosen here
        statements |= inner.statements
        steps += (("either " if not place else "or ") + "; ".join(inner.steps),)
    return _Refuted(statements, steps)


def _leaf(chosen: Sequence[tuple[int, Case]], is_ascii: bool) -> _Refuted | None:
    problem = problem_of(chosen, is_ascii)
    bounds = Bounds(problem)
    if bounds.narrow():
        sources = bounds.sources()
        told = bounds.told() if bounds.is_short else tuple(_listed(problem, sources))
        return _Refuted(problem.statements(sources), told)
    eliminated = contradiction(problem.rows, problem.reals)
    if eliminated is None:
        return None
    return _Refuted(problem.statements(eliminated), tuple(_listed(problem, eliminated)))


def _listed(problem: Problem, sources: int) -> Iterator[str]:
    """What the elimination of variables took: what is asked for, then what is certain."""
    taken = [each for place, each in enumerate(problem.reasons) if sources >> place & 1]
    asked = [written(each.row, problem.quantities) for each in taken if each.statement is not None]
    certain = [written(each.row, problem.quantities) for each in taken if each.statement is None]
    if asked:
        yield "asked for: " + ", ".join(f"`{formula}`" for formula in dict.fromkeys(asked))
    if certain:
        yield "certain of any text: " + ", ".join(f"`{formula}`" for formula in dict.fromkeys(certain))


# --------------------------------------------------------------------------------------------------------- parameters
def counts_contradiction_over(
    statements: Sequence[BooleanExpression], limits: Mapping[str, tuple[float, float]], *, only_ascii: bool = False
) -> ParameterProof | None:
    """For which values of one parameter the statements contradict each other, whatever the others are; None for none.

    A parameter stands in the statements as a fact (compiler/counts/parameters.py), and `limits` gives its least and its
    greatest value. The first parameter for which something is proved is told. Nothing is said of values outside the
    ranges that are found: there the statements may contradict each other all the same.
    """
    cases = [cases_of(statement) for statement in statements]
    leaves = _combinations(cases)
    if leaves is None:
        return None
    for parameter in limits:
        ranges = _proved_for(parameter, leaves, limits, only_ascii)
        if not ranges:
            continue
        kept = list(range(len(cases)))
        for statement in range(len(cases)):
            fewer = [each for each in kept if each != statement]
            less = _combinations([cases[each] for each in fewer])
            if less is not None and _proved_for(parameter, less, limits, only_ascii) == ranges:
                kept = fewer
        return ParameterProof(parameter, limits[parameter], ranges, tuple(kept))
    return None


def _combinations(cases: Sequence[tuple[Case, ...]]) -> list[list[tuple[int, Case]]] | None:
    """All combinations of alternatives; None for too many."""
    found: list[list[tuple[int, Case]]] = [[]]
    for number, own in enumerate(cases):
        found = [[*before, (number, case)] for before in found for case in own]
        if len(found) > MOST_LEAVES:
            return None
    return found


def _proved_for(
    parameter: str, leaves: list[list[tuple[int, Case]]], limits: Mapping[str, tuple[float, float]], is_ascii: bool
) -> tuple[Range, ...]:
    """The values of a parameter within its limits for which no combination has a solution."""
    own = Quantity("fact", parameter)
    within: Case = tuple(bound for path, ends in limits.items() for bound in _limits(Quantity("fact", path), *ends))
    possible: list[Range] = []
    for leaf in leaves:
        problem = problem_of([*leaf, (len(leaf), within)], is_ascii)
        found = values_of(problem.number(own), problem.rows, problem.reals)
        if found is not None:
            possible.append(found)
    low, high = (Fraction(str(end)) for end in limits[parameter])
    return tuple(_outside(possible, Range(low, high)))


def _limits(quantity: Quantity, low: float, high: float) -> tuple[Linear, Linear]:
    one = Fraction(1)
    return (
        Linear({quantity: -one}, -Fraction(str(low))),
        Linear({quantity: one}, Fraction(str(high))),
    )


def _outside(possible: Sequence[Range], whole: Range) -> Iterator[Range]:
    """The parts of a range that lie in none of the others."""
    left = [whole]
    for each in possible:
        left = [part for own in left for part in _cut(own, each)]
    yield from left


def _cut(own: Range, other: Range) -> Iterator[Range]:
    """What of a range lies below another one, and above it."""
    if other.low is not None:
        yield from _common(own, Range(None, other.low, False, not other.low_open))
    if other.high is not None:
        yield from _common(own, Range(other.high, None, not other.high_open))


def _common(one: Range, other: Range) -> Iterator[Range]:
    """The values that lie in both ranges, if there are any."""
    low = max((each for each in (one, other) if each.low is not None), key=_start, default=Range())
    high = min((each for each in (one, other) if each.high is not None), key=_end, default=Range())
    found = Range(low.low, high.high, low.low_open, high.high_open)
    if found.low is not None and found.high is not None:
        is_open = found.low_open or found.high_open
        if found.low > found.high or (found.low == found.high and is_open):
            return
    yield found


def _start(each: Range) -> tuple[Fraction, bool]:
    return each.low or Fraction(0), each.low_open


def _end(each: Range) -> tuple[Fraction, bool]:
    return each.high or Fraction(0), not each.high_open


def _in_words(each: Range, limits: tuple[float, float]) -> str:
    """`below 60`, `from 20 to 40`; the limits of the parameter are not said again, unless there is nothing else."""
    low, high = each.low, each.high
    assert low is not None
    assert high is not None
    if low == high:
        return f"= {float(low):g}"
    start = f"above {float(low):g}" if each.low_open else f"from {float(low):g}"
    end = f"below {float(high):g}" if each.high_open else f"up to {float(high):g}"
    from_start, to_end = each.holds(Fraction(str(limits[0]))), each.holds(Fraction(str(limits[1])))
    if from_start and not to_end:
        return end
    return start if to_end and not from_start else f"{start} {'and ' if each.high_open else ''}{end}"
