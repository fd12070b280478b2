"""Expected values of what a policy says, when concepts are only probable.

The evaluator asks whether a score reaches a threshold; a rule that hangs on it jumps from kept to broken there. Here
the score of a text is the probability of an event, that the text expresses the concept; and the value of a term is its
expected value over all ways in which the events turn out. So weights can be fitted to scores without rounding them.

One concept about one text is one event, however often a sentence asks for it; different ones are independent, which
is an assumption: where concepts go together, so that one makes another likelier, the expectation of a conjunction is
off by their covariance. An event that happens counts as the score 1, one that does not as the score 0. Where all
scores are 0 or 1, expected values are the evaluator's values.

A score is a probability at even odds. With the share of texts that express the concept, Bayes' rule makes it that of
these texts: `shares`. Without, 1/2 is taken for each concept.

Exact: Shannon's expansion over the events of a sentence, in decision diagrams (compiler/decision_diagrams.py).
Source of the idea: Mu et al. 2024, Rule Based Rewards for Language Model Safety, arXiv 2411.01111, where the
probabilities of propositions, and products of them for derived ones, are the features of a linear reward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from bylaw.compiler import soft_ends as ends
from bylaw.compiler.decision_diagrams import MOST_EVENTS, Diagrams, DiagramTooLarge, Value
from bylaw.compiler.expressions import number_in, text_in, truth_in
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.situation import Situation, is_candidate
from bylaw.compiler.values import Unknown
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanExpression,
    Compare,
    ConceptScore,
    EachEvent,
    EachPart,
    EventCount,
    EventSelector,
    Expression,
    Neighbour,
    NumberExpression,
    Or,
    Rank,
)
from bylaw.spec.expression import Not as Negation
from bylaw.spec.logic import children
from bylaw.spec.trace import Trace

Event = tuple[str, str]
"""(full name of a concept, text): that the text expresses the concept."""

EVEN = 0.5
MOST_TRIES = 4_096
"""How often the evaluator is asked about one part of a sentence."""
_NO_SHARES: Mapping[str, float] = MappingProxyType({})


class SoftValueError(Exception):
    """An expected value cannot be worked out: too many events; text fit for users."""


@dataclass(frozen=True, slots=True)
class SoftTerm:
    """The expected value of what the law weighs of one term: -P(broken) for a hard or soft one, the expected quantity
    of a graded one or of a budget, 0 where the term does not apply. None with the `reason` where it cannot be told.
    `events` is how many events it hangs on."""

    term: str
    value: float | None
    reason: str | None = None
    events: int = 0


class SoftValues:
    """Works out expected values. It remembers the sentences that it put together, so use one for many traces.

    `shares`: the share of texts that express a concept (0 to 1), by its full name; 1/2 where it is not given.
    Raises ValueError for a share outside of 0 to 1.
    """

    def __init__(self, shares: Mapping[str, float] = _NO_SHARES) -> None:
        wrong = {name: share for name, share in shares.items() if not 0 <= share <= 1}
        if wrong:
            raise ValueError(f"shares from 0 to 1, not {wrong}")
        self._shares = dict(shares)
        self._diagrams = Diagrams()
        self._weighs: dict[int, tuple[bool, Expression]] = {}

    def terms(self, terms: Iterable[RewardTerm], trace: Trace) -> tuple[SoftTerm, ...]:
        """The expected values of terms in a trace. What cannot be told, or has too many events, is told by a reason."""
        reading = _Reading(Situation(trace), self._diagrams, self._shares, self._weighs)
        return tuple(self._term(term, reading) for term in terms)

    def truth(self, expression: BooleanExpression, trace: Trace) -> float | Unknown:
        """The probability (0 to 1) that a statement holds. Raises SoftValueError."""
        return self._expected(trace, lambda reading: reading.truth(expression, reading.here))

    def number(self, expression: NumberExpression, trace: Trace) -> float | Unknown:
        """The expected value of a quantity. Raises SoftValueError."""
        return self._expected(trace, lambda reading: reading.number(expression, reading.here))

    def distribution(self, expression: NumberExpression, trace: Trace) -> dict[float, float] | Unknown:
        """Each value of a quantity with its probability, largest value first: of a `prefer` order, of each class.

        Raises SoftValueError.
        """
        reading = _Reading(Situation(trace), self._diagrams, self._shares, self._weighs)
        with_values: dict[float, float] = {}
        for value, chance in self._diagrams.distribution(
            self._built(reading, lambda each: each.number(expression, each.here)), reading.probabilities
        ):
            if isinstance(value, Unknown):
                return value
            with_values[float(value)] = with_values.get(float(value), 0.0) + chance
        return dict(sorted(with_values.items(), reverse=True))

    def _expected(self, trace: Trace, build: Callable[[_Reading], int]) -> float | Unknown:
        reading = _Reading(Situation(trace), self._diagrams, self._shares, self._weighs)
        return self._diagrams.expected(self._built(reading, build), reading.probabilities)

    def _built(self, reading: _Reading, build: Callable[[_Reading], int]) -> int:
        self._diagrams.begin()
        reading.asked.clear()
        try:
            return build(reading)
        except DiagramTooLarge as error:
            raise SoftValueError(str(error)) from error

    def _term(self, term: RewardTerm, reading: _Reading) -> SoftTerm:
        try:
            node = self._built(reading, lambda each: each.term(term))
        except SoftValueError as error:
            return SoftTerm(term.id, None, str(error))
        value = self._diagrams.expected(node, reading.probabilities)
        events = len(self._diagrams.events(node))
        if isinstance(value, Unknown):
            return SoftTerm(term.id, None, value.reason, events)
        return SoftTerm(term.id, value + 0.0, events=events)


def probability(score: float, share: float) -> float:
    """The probability that a text with this score (at even odds) expresses a concept that this share of texts does."""
    yes, no = score * share, (1.0 - score) * (1.0 - share)
    return yes / (yes + no) if yes + no else score  # a label of 0 or 1 that the share rules out stays as it was said


# -------------------------------------------------------------------------------------------------- from sentences
@dataclass(slots=True)
class _Reading:
    """One trace, and its events in the order in which they were first asked for, with their probabilities."""

    here: Situation
    diagrams: Diagrams
    shares: Mapping[str, float]
    weighs: dict[int, tuple[bool, Expression]]
    numbers: dict[Event, int] = field(default_factory=dict)
    probabilities: list[float] = field(default_factory=list)
    asked: set[int] = field(default_factory=set)

    def term(self, term: RewardTerm) -> int:
        """The diagram of what the law weighs, as the evaluator has it."""
        gates = []
        for condition in (term.condition, term.among):
            if condition is not None:
                gates.append(self.truth(condition, self.here))
                if len(gates) == 1 and self.diagrams.value(gates[0]) is False:
                    return self.diagrams.end(0.0)
        if term.holds is not None:
            holds = self.truth(term.holds, self.here)
            node = self._mapped(
                *(("happens", ends.happens) if term.kind == "budget" else ("broken", ends.broken)), holds
            )
        elif term.value is not None:
            node = self.number(term.value, self.here)
        else:
            raise ValueError(f"term {term.id!r} has neither `holds` nor `value`")
        for gate in reversed(gates):
            node = self.diagrams.combined("where", ends.where, gate, node)
        return node

    def truth(self, expression: BooleanExpression, here: Situation) -> int:
        """The diagram of a statement."""
        if not self._is_about_concepts(expression):
            return self.diagrams.end(truth_in(expression, here))
        match expression:
            case Negation(item):
                return self._mapped("not", ends.negated, self.truth(item, here))
            case And(items) | Or(items):
                parts = (self.truth(item, here) for item in items)
                return self._connected(parts, isinstance(expression, Or))
            case Compare(operator, left, right) if not self._is_in_doubt((left, right), here):
                one, other = self.number(left, here), self.number(right, here)
                return self.diagrams.combined(("compare", operator), ends.compared_by(operator), one, other)
            case EachPart(quantity, unit, subject, item) if not self._is_about_concepts(subject):
                text = text_in(subject, here)
                if isinstance(text, Unknown):
                    return self.diagrams.end(text)
                ranges = catalog.unit(unit).find(text)
                each = (self.truth(item, here.part(text[place.start : place.end])) for place in ranges)
                return self._connected(each, quantity == "some")
            case EachEvent(quantity, selector, item):
                return self._connected(self._of_events(quantity, selector, item, here), quantity == "some")
            case Neighbour(side, selector) if (position := here.position) is not None:
                beside = range(position) if side == "before" else range(len(here.trace.messages) - 1, position, -1)
                return self._connected((self._status(selector, place, here) for place in beside), True)
            case _:
                return self._expanded(lambda now: truth_in(expression, now), here)

    def number(self, expression: NumberExpression, here: Situation) -> int:
        """The diagram of a quantity."""
        if not self._is_about_concepts(expression):
            return self.diagrams.end(number_in(expression, here))
        match expression:
            case ConceptScore(_, subject) if not self._is_about_concepts(subject):
                return self._score(expression, here)
            case Arithmetic(operator, left, right):
                one, other = self.number(left, here), self.number(right, here)
                return self.diagrams.combined(("calculate", operator), ends.calculated_by(operator), one, other)
            case Rank(alternatives):
                return self._rank(alternatives, here)
            case EventCount(selector):
                node = self.diagrams.end(0.0)
                for place in range(len(here.trace.messages)):
                    node = self.diagrams.combined("count", ends.counted, node, self._status(selector, place, here))
                return node
            case _:
                return self._expanded(lambda now: number_in(expression, now), here)

    def _score(self, expression: ConceptScore, here: Situation) -> int:
        score, text = number_in(expression, here), text_in(expression.subject, here)
        if isinstance(score, Unknown) or isinstance(text, Unknown):
            return self.diagrams.end(score)
        event = expression.concept.name, text
        chance = self._chance(event, score)
        if chance in (0.0, 1.0):
            return self.diagrams.end(chance)
        return self.diagrams.choice(self._event(event, chance), self.diagrams.end(1.0), self.diagrams.end(0.0))

    def _chance(self, event: Event, score: float) -> float:
        """How probable an event is."""
        return score if score in (0.0, 1.0) else probability(score, self.shares.get(event[0], EVEN))

    def _event(self, event: Event, chance: float) -> int:
        """The number of an event."""
        number = self.numbers.setdefault(event, len(self.numbers))
        if number == len(self.probabilities):
            self.probabilities.append(chance)
        self.asked.add(number)
        if len(self.asked) > MOST_EVENTS:
            raise DiagramTooLarge(f"it hangs on more than {MOST_EVENTS} scores of concepts")
        return number

    def _rank(self, alternatives: Sequence[BooleanExpression], here: Situation) -> int:
        """From the best alternative on, as far as one can come; then put together from the last one."""
        asked: list[int] = []
        for alternative in alternatives:
            asked.append(self.truth(alternative, here))
            if self.diagrams.value(asked[-1]) is True:
                break
        node = self.diagrams.end(-float(len(alternatives)))
        for place, holds in reversed(list(enumerate(asked))):
            node = self.diagrams.combined(("rank", place), ends.first_at(place), holds, node)
        return node

    def _status(self, selector: EventSelector, place: int, here: Situation) -> int:
        """Whether the message at this place is one of those meant, as in compiler/expressions.py."""
        candidate = is_candidate(selector, here.trace.messages[place], place)
        if candidate is False or selector.where is None:
            return self.diagrams.end(candidate)
        return self._connected((self.diagrams.end(candidate), self.truth(selector.where, here.at(place))), False)

    def _of_events(
        self, quantity: str, selector: EventSelector, item: BooleanExpression, here: Situation
    ) -> Iterator[int]:
        """What is said of each event, as in compiler/expressions.py."""
        for place in range(len(here.trace.messages)):
            status = self._status(selector, place, here)
            if self.diagrams.value(status) is not False:
                meant = status if quantity == "some" else self._mapped("not", ends.negated, status)
                yield self._connected((meant, self.truth(item, here.at(place))), quantity != "some")

    def _is_in_doubt(self, sides: Iterable[NumberExpression], here: Situation) -> bool:
        """Whether a count of events can lie within a range, so that comparing it is more than comparing a number."""
        counts = [side.selector for side in sides if isinstance(side, EventCount)]
        places = range(len(here.trace.messages))
        return any(
            isinstance(end, Unknown)
            for selector in counts
            for place in places
            for end in self.diagrams.ends(self._status(selector, place, here))
        )

    def _connected(self, parts: Iterable[int], deciding: bool) -> int:
        """Kleene's `or` or `and`; stops at a part that decides whatever happens."""
        node = self.diagrams.end(not deciding)
        for part in parts:
            node = self.diagrams.combined(("connect", deciding), ends.connected(deciding), node, part)
            if self.diagrams.value(node) is deciding:
                break
        return node

    def _mapped(self, name: str, function: Callable[[Value, Value], Value], node: int) -> int:
        return self.diagrams.combined(name, function, node, node)

    # ------------------------------------------------------------------------------- what is asked of the evaluator
    def _expanded(self, evaluate: Callable[[Situation], Value], here: Situation) -> int:
        """Shannon's expansion of what is no connective: the evaluator is asked with ever more events decided, and says
        by what it looks for which one to decide next."""

        tries = 0

        def of(decided: dict[Event, float]) -> int:
            nonlocal tries
            tries += 1
            if tries > MOST_TRIES:
                raise DiagramTooLarge(
                    f"its concepts can turn out in too many ways (more than {MOST_TRIES:,}) to try all"
                )
            scores = _Decided(here.trace.scores, decided, self._chance)
            value = evaluate(replace(here, trace=replace(here.trace, scores=scores), memory={}))
            if not isinstance(value, Unknown) or scores.missed is None:
                return self.diagrams.end(value)
            event = self._event(scores.missed, scores.chance)
            yes, no = (of({**decided, scores.missed: score}) for score in (1.0, 0.0))
            return self.diagrams.chosen(event, yes, no)

        return of({})

    def _is_about_concepts(self, expression: Expression) -> bool:
        known = self.weighs.get(id(expression))
        if known is None:
            is_about = isinstance(expression, ConceptScore) or any(map(self._is_about_concepts, children(expression)))
            known = self.weighs[id(expression)] = (is_about, expression)  # holding it keeps its id from new use
        return known[0]


class _Decided(Mapping[Event, float]):
    """The scores of a trace where some events are decided. One that is not, and is not certain, has no score: it is
    remembered as `missed`, the first of them, with its `chance`."""

    def __init__(
        self, scores: Mapping[Event, float], decided: Mapping[Event, float], chance: Callable[[Event, float], float]
    ) -> None:
        self._scores, self._decided, self._chance = scores, decided, chance
        self.missed: Event | None = None
        self.chance = 0.0

    def __getitem__(self, event: Event) -> float:
        if event in self._decided:
            return self._decided[event]
        chance = self._chance(event, self._scores[event])
        if chance in (0.0, 1.0):
            return chance
        if self.missed is None:
            self.missed, self.chance = event, chance
        raise KeyError(event)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._scores)

    def __len__(self) -> int:
        return len(self._scores)
