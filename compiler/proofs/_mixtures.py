"""Limits in force together, as a mixture of kinds of answers: which mixtures meet all of them, and if none, why not.

A kind of answer says for each event of the limits whether it happens, and for each quantity between which values it
lies. Automata tell which kinds there are under the hard rules. The share of each kind is free, so a set of limits can
be met only if some mixture does it: a linear programme (`_exact`). What automata cannot tell counts as possible, so
that the claim that no mixture does it is a proof all the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice, product

from bylaw.compiler.demands import Demand, key_of
from bylaw.compiler.evaluate import Unknown, number
from bylaw.compiler.proofs._exact import separating_weights
from bylaw.compiler.proofs._limits import LATE, Limit, Open, RuledOut, Shown, ask
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.compiler.witnesses import bit_numbers
from bylaw.spec.expression import (
    BooleanExpression,
    Compare,
    Count,
    FoundAmong,
    NumberConstant,
    NumberExpression,
    Occurrences,
)
from bylaw.spec.logic import meaning, negate
from bylaw.spec.trace import Trace

MOST_EVENTS, MOST_QUANTITIES = 10, 2
MOST_TEXTS = 300
HIGHEST_COUNT = 300
"""A count that can reach this is taken to have no upper end."""
FAR = Fraction(10**12)
"""Stands for a value without an end; that a proof holds for all values beyond is checked."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of answer: for each event whether it happens, for each quantity (least, most), None for no end."""

    signs: tuple[bool, ...]
    ranges: tuple[tuple[Fraction | None, Fraction | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Clash:
    """Limits that no mixture meets, none of which can be left out, with the hard rules that this takes.

    `weights` are whole numbers, one for each limit: above zero where at least so much is asked for, below where at
    most. Every kind of answer gives at most `most` in all, and the limits ask for `asked`, which is more.
    """

    limits: tuple[Limit, ...]
    weights: tuple[int, ...]
    asked: Fraction
    most: Fraction
    rules: tuple[Demand, ...]
    best: tuple[tuple[bool, ...], ...]
    """For each kind of answer that gives the most, which of the limits on events it counts for."""


@dataclass
class Mixture:
    """The kinds of answers for a group of limits. `events` are told apart up to their opposites."""

    view: PolicyView
    limits: tuple[Limit, ...]
    events: list[BooleanExpression] = field(default_factory=list)
    quantities: list[NumberExpression] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    places: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """For each limit, by the id of its term: the number of its event or quantity, and whether it means the opposite."""
    among: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """Likewise, for limits about a part of the answers: the number of the event that an answer is in this part."""
    opened: list[str] = field(default_factory=list)
    used: dict[str, Demand] = field(default_factory=dict)
    """Hard rules that rule some kind of answer out, by the id of their term."""

    def __post_init__(self) -> None:
        known: dict[Hashable, tuple[int, bool]] = {}
        for limit in self.limits:
            if limit.term.among is not None:
                self.among[limit.term.id] = self._event(limit.term.among, known)
            if limit.term.holds is not None:
                self.places[limit.term.id] = self._event(limit.term.holds, known)
            else:
                assert limit.term.value is not None
                key = meaning(limit.term.value)
                if key not in known:
                    known[key] = len(self.quantities), False
                    self.quantities.append(limit.term.value)
                self.places[limit.term.id] = known[key]

    def _event(self, event: BooleanExpression, known: dict[Hashable, tuple[int, bool]]) -> tuple[int, bool]:
        key = meaning(event)
        if key not in known:
            known[key] = len(self.events), False
            known.setdefault(meaning(negate(event)), (len(self.events), True))
            self.events.append(event)
            self.keys.append(key_of(event))
        return known[key]

    # --------------------------------------------------------------------------------------------------- kinds
    def kinds(self, rules: Sequence[Demand]) -> list[Kind]:
        """All kinds of answers that the rules allow, as far as automata tell."""
        kinds = []
        for signs in self._signs((), rules):
            wanted = self._statements(signs)
            kinds.append(Kind(signs, tuple(self._range(quantity, wanted, rules) for quantity in self.quantities)))
        return kinds

    def _statements(self, signs: Sequence[bool]) -> list[BooleanExpression]:
        pairs = zip(self.events, signs, strict=False)
        return [event if sign else negate(event) for event, sign in pairs if self._is_regular(event)]

    def _is_regular(self, event: BooleanExpression) -> bool:
        return self.view.witnesses.language(event) is not None

    def _signs(self, begun: tuple[bool, ...], rules: Sequence[Demand]) -> Iterator[tuple[bool, ...]]:
        if len(begun) == len(self.events):
            yield begun
            return
        for sign in (True, False):
            signs = (*begun, sign)
            if not self._is_regular(self.events[len(begun)]) or self._may_be(self._statements(signs), rules):
                yield from self._signs(signs, rules)

    def _may_be(self, wanted: Sequence[BooleanExpression], rules: Sequence[Demand]) -> bool:
        if self.view.is_late:
            self.opened.append(LATE)
            return True
        match ask(self.view, wanted, rules):
            case RuledOut(needed):
                self.used |= {rule.term.id: rule for rule in needed}
                return False
            case Open(why):
                self.opened.append(why)
                return True
            case Shown():
                return True

    def _range(
        self, quantity: NumberExpression, wanted: Sequence[BooleanExpression], rules: Sequence[Demand]
    ) -> tuple[Fraction | None, Fraction | None]:
        """The least and the greatest value of a quantity in answers of a kind."""
        if not isinstance(quantity, (Count, Occurrences, FoundAmong)):
            return None, None
        if not self.events:
            return Fraction(0), None  # what hard rules alone say of it is told of each limit by itself
        none = Compare("<=", quantity, NumberConstant(0.0))
        if not self._is_regular(none):
            return Fraction(0), None

        def reaches(value: int) -> bool:
            return self._may_be([*wanted, Compare(">=", quantity, NumberConstant(float(value)))], rules)

        def stays_within(value: int) -> bool:
            return self._may_be([*wanted, Compare("<=", quantity, NumberConstant(float(value)))], rules)

        least = _first(stays_within, HIGHEST_COUNT)
        most = None if reaches(HIGHEST_COUNT) else _first(lambda value: not reaches(value + 1), HIGHEST_COUNT)
        return Fraction(least), None if most is None else Fraction(most)

    def is_met_by_known_texts(self, rules: Sequence[Demand]) -> bool:
        """Whether a mixture of known texts that obey the rules meets all limits: then there is nothing to prove."""
        witnesses = self.view.witnesses
        bits = (1 << len(witnesses.texts)) - 1
        for rule in rules:
            bits &= witnesses.true_of(rule.obeyed, rule.key)
        pairs = list(zip(self.events, self.keys, strict=True))
        told = [(witnesses.true_of(event, key), witnesses.false_of(event, key)) for event, key in pairs]
        for true, false in told:
            bits &= true | false
        kinds = []
        for place in islice(bit_numbers(bits), MOST_TEXTS):
            here = Trace(()).answered(witnesses.texts[place])
            values = [number(quantity, here) for quantity in self.quantities]
            exact = [Fraction(value) for value in values if not isinstance(value, Unknown) and math.isfinite(value)]
            if len(exact) == len(values):
                kinds.append(Kind(tuple(bool(true >> place & 1) for true, _ in told), tuple((v, v) for v in exact)))
        return bool(kinds) and self._weights(tuple(dict.fromkeys(kinds)), self.limits) is None

    # --------------------------------------------------------------------------------------------------- proofs
    def clash(self, rules: Sequence[Demand]) -> Clash | None:
        """Limits that no mixture meets under the rules, none of which can be left out; None where some mixture may."""
        if self.is_met_by_known_texts(rules):
            return None
        kinds = self.kinds(rules)
        if not kinds or self._weights(kinds, self.limits) is None:
            return None
        kept = list(self.limits)
        for limit in self.limits:
            rest = [other for other in kept if other is not limit]
            if rest and self._weights(kinds, rest) is not None:
                kept = rest
        needed = Mixture(self.view, tuple(kept))
        chosen = needed._needed_rules(tuple(self.used.values()))
        kinds = needed.kinds(chosen)
        weights = needed._weights(kinds, kept)
        if weights is None:  # a search that was decided before has grown too large: no proof, no claim
            return None
        return needed._explained(kinds, weights, chosen)

    def _needed_rules(self, rules: Sequence[Demand]) -> tuple[Demand, ...]:
        kept = list(rules)
        for rule in rules:
            rest = [other for other in kept if other is not rule]
            if self._weights(self.kinds(rest), self.limits) is not None:
                kept = rest
        return tuple(kept)

    def _weights(self, kinds: Sequence[Kind], limits: Sequence[Limit]) -> tuple[int, ...] | None:
        """One whole number for each limit that prove that no mixture meets them; None where there are none."""
        sides = [(limit, sign) for limit in limits for sign in _signs_of(limit)]
        demands = [sign * limit.bound for limit, sign in sides]
        points = [[sign * value[limit.term.id] for limit, sign in sides] for value in self._points(kinds, limits)]
        weights = separating_weights(points, demands)
        if weights is None:
            return None
        signed = dict.fromkeys((limit.term.id for limit in limits), 0)
        for (limit, sign), weight in zip(sides, weights, strict=True):
            signed[limit.term.id] += sign * weight
        return tuple(signed.values()) if self._holds_beyond(kinds, limits, signed) else None

    def _points(self, kinds: Sequence[Kind], limits: Sequence[Limit]) -> Iterator[dict[str, Fraction]]:
        """What answers of each kind give to each limit, at all corners of what its quantities can be."""
        for kind in kinds:
            ends = [(-FAR if low is None else low, FAR if high is None else high) for low, high in kind.ranges]
            for corner in dict.fromkeys(product(*ends)):
                yield {limit.term.id: self._given(limit, kind, corner) for limit in limits}

    def _is_about(self, limit: Limit, kind: Kind) -> bool:
        place, is_opposite = self.among.get(limit.term.id, (None, False))
        return place is None or kind.signs[place] is not is_opposite

    def _given(self, limit: Limit, kind: Kind, values: Sequence[Fraction]) -> Fraction:
        if not self._is_about(limit, kind):
            return limit.bound  # it counts neither for nor against a limit about other answers
        place, is_opposite = self.places[limit.term.id]
        if limit.term.holds is None:
            return values[place]
        return Fraction(int(kind.signs[place] is not is_opposite))

    def _holds_beyond(self, kinds: Sequence[Kind], limits: Sequence[Limit], weights: dict[str, int]) -> bool:
        """Whether the proof does not hang on where a quantity without an end was cut off."""
        for place, kind in product(range(len(self.quantities)), kinds):
            slope = sum(
                weights[limit.term.id]
                for limit in limits
                if limit.term.holds is None and self.places[limit.term.id][0] == place and self._is_about(limit, kind)
            )
            if (slope > 0 and kind.ranges[place][1] is None) or (slope < 0 and kind.ranges[place][0] is None):
                return False
        return True

    def _explained(self, kinds: Sequence[Kind], weights: tuple[int, ...], rules: tuple[Demand, ...]) -> Clash:
        def total(given: dict[str, Fraction]) -> Fraction:
            pairs = zip(self.limits, weights, strict=True)
            return sum((weight * given[limit.term.id] for limit, weight in pairs), Fraction(0))

        scored = [(max(total(each) for each in self._points([kind], self.limits)), kind) for kind in kinds]
        most = max(score for score, _ in scored)
        asked = sum((w * limit.bound for limit, w in zip(self.limits, weights, strict=True)), Fraction(0))
        best = tuple(
            tuple(limit.term.holds is not None and self._given(limit, kind, ()) == 1 for limit in self.limits)
            for score, kind in scored
            if score == most
        )
        return Clash(self.limits, weights, asked, most, rules, best)


def _signs_of(limit: Limit) -> tuple[int, ...]:
    return {"at least": (1,), "at most": (-1,)}.get(limit.term.sense or "", (1, -1))


def _first(holds: Callable[[int], bool], highest: int) -> int:
    """The least number from 0 to `highest` from which on `holds` is true, or `highest`."""
    low, high = 0, highest
    while low < high:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle + 1
    return low
