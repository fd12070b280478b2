"""Bounds that follow from each other, and the chain of them in words that an author reads.

Most contradictions show when every row is asked what it leaves for each of its quantities. That is quick, and tells a
story; for the others the elimination of variables (compiler/counts/linear.py) finds a proof, and the story is the list
of what it took.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from bylaw.compiler.counts.linear import Row
from bylaw.compiler.counts.problem import Problem
from bylaw.compiler.counts.words import Side, bounded, written

ROUNDS = 4
LONGEST_CHAIN = 12
"""Steps of a chain that is told; of a longer one what it takes is listed."""
Place: TypeAlias = tuple[int, Side]


@dataclass(frozen=True, slots=True)
class Bound:
    """A bound of a quantity, the row that it comes from (None: counts are never below 0), and the bounds that it
    rests on besides."""

    value: int
    row: Row | None
    rests_on: tuple[tuple[Place, Bound], ...] = ()
    """As they were then: a bound that is narrowed later must not rest on what follows from it."""
    steps: int = 1


@dataclass
class Bounds:
    """What is known of each quantity. `clash` is the one whose lower bound lies above its upper one."""

    problem: Problem
    known: dict[Place, Bound] = field(default_factory=dict)
    clash: int | None = None

    def narrow(self) -> bool:
        """Looks at every row a few times; whether a contradiction was found."""
        rows = [each for each in self.problem.rows if not self.problem.reals.intersection(v for v, _ in each.terms)]
        single = [each for each in rows if len(each.terms) == 1]
        others = [each for each in rows if len(each.terms) > 1]
        self._look_at(single, ("low", "high"))
        for _ in range(ROUNDS):  # lower bounds first: what is asked for needs something
            if self.clash is None and not self._look_at(others, ("low",)):
                break
        for _ in range(ROUNDS):
            if self.clash is None and not self._look_at(others, ("low", "high")):
                break
        return self.clash is not None

    def _look_at(self, rows: Sequence[Row], sides: tuple[Side, ...]) -> bool:
        is_news = False
        for each in rows:
            for variable, factor in each.terms:
                side: Side = "high" if factor > 0 else "low"
                if side in sides and self._ask(each, variable, factor, side):
                    is_news = True
                    if self.clash is not None:
                        return True
        return is_news

    def _ask(self, each: Row, variable: int, factor: int, side: Side) -> bool:
        rest = each.bound
        rests_on: list[tuple[Place, Bound]] = []
        for other, own in each.terms:
            if other == variable:
                continue
            place: Place = (other, "low" if own > 0 else "high")
            known = self.known.get(place)
            if known is None:
                return False
            rest -= own * known.value
            rests_on.append((place, known))
        value = rest // factor if factor > 0 else -(rest // -factor)
        before = self.known.get((variable, side))
        if before is not None and (before.value <= value if side == "high" else before.value >= value):
            return False
        steps = 1 + sum(bound.steps for _, bound in rests_on)
        self.known[variable, side] = Bound(value, each, tuple(rests_on), steps)
        low, high = self.known.get((variable, "low")), self.known.get((variable, "high"))
        if low is not None and high is not None and low.value > high.value:
            self.clash = variable
        return True

    # ---------------------------------------------------------------------------------------------------- the story
    def sources(self) -> int:
        """The sources of all rows that the contradiction takes."""
        assert self.clash is not None
        found, seen = 0, set[int]()
        waiting = [self.known[self.clash, "low"], self.known[self.clash, "high"]]
        while waiting:
            bound = waiting.pop()
            if id(bound) not in seen:
                seen.add(id(bound))
                found |= bound.row.sources if bound.row else 0
                waiting += (other for _, other in bound.rests_on)
        return found

    @property
    def is_short(self) -> bool:
        """Whether the chain can be read: quantities that push each other up make one of many steps."""
        assert self.clash is not None
        return self.known[self.clash, "low"].steps + self.known[self.clash, "high"].steps <= LONGEST_CHAIN

    def told(self) -> tuple[str, ...]:
        """The chain in words."""
        assert self.clash is not None
        steps: list[str] = []
        for side in ("low", "high"):
            place: Place = (self.clash, side)
            bound = self.known[place]
            if bound.rests_on:
                self._tell(place, bound, steps)
            elif bound.row is not None and bound.row.sources:
                last = self.problem.reasons[bound.row.sources.bit_length() - 1]
                steps.append(last.told or self._asked(place))
        return tuple(dict.fromkeys(steps))

    def _asked(self, place: Place) -> str:
        number, side = place
        quantity = self.problem.quantities[number]
        said = self._named(place, self.known[place])
        if quantity.kind in ("unit", "times"):
            verb = ("is" if self.known[place].value == 1 else "are") if quantity.kind == "unit" else "is"
            return f"{said} {verb} {'asked for' if side == 'low' else 'allowed'}"
        return f"{said} is asked for"

    def _tell(self, place: Place, bound: Bound, steps: list[str]) -> None:
        for other, below in bound.rests_on:
            if below.rests_on:
                self._tell(other, below, steps)
        given = [self._named(*each) for each in bound.rests_on if self._is_worth_saying(*each)]
        said = self._named(place, bound)
        assert bound.row is not None
        rule = self._rule(bound.row)
        if not given:
            steps.append(f"there {'have to be' if place[1] == 'low' else 'can only be'} {said}{rule}")
            return
        is_one = len(given) == 1 and self._is_one(bound.rests_on)
        verb = ("needs" if is_one else "need") if place[1] == "low" else ("leaves" if is_one else "leave")
        steps.append(f"{' and '.join(given)} {verb} {said}{rule}")

    def _is_one(self, places: Sequence[tuple[Place, Bound]]) -> bool:
        """Whether what is said of the only one of these that matters is about one thing."""
        place, bound = next(each for each in places if self._is_worth_saying(*each))
        return bound.value == 1 or self.problem.quantities[place[0]].kind != "unit"

    def _is_worth_saying(self, place: Place, bound: Bound) -> bool:
        value = bound.value
        is_yes_or_no = self.problem.quantities[place[0]].kind in ("found", "said")
        return value > 0 if place[1] == "low" else value < 1 or not is_yes_or_no

    def _rule(self, used: Row) -> str:
        """What a statement says of several quantities at once."""
        last = self.problem.reasons[used.sources.bit_length() - 1] if used.sources else None
        if last is None or last.statement is None:
            return ""
        return f" (`{written(used, self.problem.quantities)}`)"

    def _named(self, place: Place, bound: Bound) -> str:
        number, side = place
        return bounded(self.problem.quantities[number], side, bound.value)
