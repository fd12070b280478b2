"""Which rules hold for a text, decided for all rules in one pass over it.

All patterns of a program that are about one text of the conversation go into one google-re2 Set, which says in one pass
which of them occur. What follows from that alone is settled: a rule whose patterns do not occur needs no look at the
text, however many such rules there are. The rest, and only that, is asked of the reference evaluator: rules that count
or read facts, and patterns that found something only up to the edges of words, which the engine does not know. The
verdicts are those of the evaluator; tests compare them on random policies and texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

from bylaw.compiler.evaluate import TermScore, Verdict, evaluate_term, settled
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.values import compared
from bylaw.runtime.audit.pattern_sets import (
    EVERYWHERE,
    Asked,
    Engine,
    Pattern,
    Role,
    questions_of,
    sets_of,
)
from bylaw.spec.expression import (
    And,
    BooleanConstant,
    BooleanExpression,
    Compare,
    FoundAmong,
    Holds,
    Matcher,
    MessageText,
    Not,
    NumberConstant,
    NumberExpression,
    Occurrences,
    Or,
)
from bylaw.spec.normal import plain
from bylaw.spec.trace import Message, Trace

_MISSING: Final = (-1,)
"""Stands in the place of a Set's answer about a text that the conversation does not have."""
_MOST_REMEMBERED: Final = 100_000
"""Combinations of patterns whose consequences are remembered."""
Found: TypeAlias = tuple[tuple[int, ...], ...]
"""For each Set the places of its patterns that occur, in order."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What the patterns alone say of the terms, in order: a verdict, or None where the evaluator has to look.

    `open` are the places of these; `scores` are those of what is kept or does not apply.
    """

    verdicts: tuple[Verdict | None, ...]
    open: tuple[int, ...]
    scores: tuple[TermScore | None, ...]


@dataclass(slots=True)
class Scanner:
    """Verdicts of many terms on many texts. Not for several threads at once.

    `looks`: how often the evaluator was asked about a term, of `texts` times the number of terms.
    """

    terms: tuple[RewardTerm, ...]
    look: Callable[[RewardTerm, Trace], TermScore] = evaluate_term
    texts: int = 0
    looks: int = 0
    _roles: tuple[Role, ...] = field(init=False)
    _sets: tuple[tuple[Engine, ...], ...] = field(init=False)
    _patterns: Mapping[Asked, Pattern] = field(init=False)
    _remembered: dict[Found, Settled] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        asked = questions_of(self.terms)
        self._roles = tuple(asked)
        sets: list[tuple[Engine, ...]] = []
        patterns: dict[Asked, Pattern] = {}
        number = 0
        for questions in asked.values():
            built, found = sets_of(questions, number)
            sets.append(built)
            number += len(built)
            patterns |= found
        self._sets, self._patterns = tuple(sets), patterns

    def verdicts(self, trace: Trace) -> tuple[Verdict, ...]:
        """The verdict of each term, in order."""
        return self._complete(self._settled([trace.text(role) for role, _ in self._roles]), trace)

    def verdicts_of_text(self, text: str) -> tuple[Verdict, ...]:
        """The same for an answer of which nothing else is known."""
        known = {"response": text, "conversation": text, "system": "", "developer": ""}
        found = self._settled([known.get(role) for role, _ in self._roles])
        if found is not None and not found.open:
            self.texts += 1
            return cast(tuple[Verdict, ...], found.verdicts)
        return self._complete(found, Trace((Message("assistant", text),)))

    def scores(self, trace: Trace) -> tuple[TermScore, ...]:
        """All that the evaluator says of each term, with the places of what is broken."""
        found = self._settled([trace.text(role) for role, _ in self._roles])
        self.texts += 1
        known: tuple[TermScore | None, ...] = (None,) * len(self.terms) if found is None else found.scores
        self.looks += known.count(None)
        return tuple(
            self.look(term, trace) if score is None else score for term, score in zip(self.terms, known, strict=True)
        )

    def _complete(self, found: Settled | None, trace: Trace) -> tuple[Verdict, ...]:
        self.texts += 1
        if found is None:
            self.looks += len(self.terms)
            return tuple(self.look(term, trace).verdict for term in self.terms)
        verdicts = list(found.verdicts)
        for index in found.open:
            verdicts[index] = self.look(self.terms[index], trace).verdict
        self.looks += len(found.open)
        return tuple(cast(list[Verdict], verdicts))

    def _settled(self, texts: Sequence[str | None]) -> Settled | None:
        """What the patterns say; None where they cannot be asked: a text is no Unicode, or needs more memory than the
        engine has."""
        found: list[tuple[int, ...]] = []
        for text, (_, is_plain), sets in zip(texts, self._roles, self._sets, strict=True):
            if text is None:
                found.extend(_MISSING for _ in sets)
                continue
            try:
                data = (plain(text) if is_plain else text).encode()
            except UnicodeEncodeError:
                return None
            for one in sets:
                places = one.Match(data)
                if not places or EVERYWHERE not in places:
                    return None
                found.append(tuple(sorted(places)))
        key = tuple(found)
        known = self._remembered.get(key)
        if known is None:
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            known = self._remembered[key] = self._follows(tuple(map(frozenset, key)))
        return known

    def _follows(self, found: tuple[frozenset[int], ...]) -> Settled:
        reading = _Reading(self._patterns, found)
        verdicts = tuple(reading.verdict(term) for term in self.terms)
        kept = (Verdict.SATISFIED, Verdict.NOT_APPLICABLE)
        scores = (
            settled(term, verdict) if verdict in kept else None
            for term, verdict in zip(self.terms, verdicts, strict=True)
        )
        return Settled(verdicts, tuple(n for n, verdict in enumerate(verdicts) if verdict is None), tuple(scores))


@dataclass(frozen=True, slots=True)
class _Reading:
    """What follows from the patterns that occur; None: nothing does."""

    patterns: Mapping[Asked, Pattern]
    found: tuple[frozenset[int], ...]

    def verdict(self, term: RewardTerm) -> Verdict | None:
        for condition in (term.condition, term.among):
            applies = True if condition is None else self.truth(condition)
            if applies is None:
                return None
            if not applies:
                return Verdict.NOT_APPLICABLE
        holds = None if term.holds is None else self.truth(term.holds)
        if holds is None:
            return None
        wanted = term.kind != "budget" or term.sense == "at least"
        return Verdict.SATISFIED if holds is wanted else Verdict.VIOLATED

    def truth(self, expression: BooleanExpression) -> bool | None:
        match expression:
            case BooleanConstant(value):
                return value
            case Not(item):
                inner = self.truth(item)
                return None if inner is None else not inner
            case And(items) | Or(items):
                decisive = isinstance(expression, Or)
                each = [self.truth(item) for item in items]
                return decisive if decisive in each else (None if None in each else not decisive)
            case Holds(predicate, MessageText(role), matchers) if expression.argument is None:
                occur = [self.occurs(role, predicate, matcher) for matcher in matchers or (None,)]
                if expression.in_order:
                    return False if False in occur else None
                decisive = expression.quantity == "any"
                return decisive if decisive in occur else (None if None in occur else not decisive)
            case Compare(operator, left, right):
                values = self.number(left), self.number(right)
                if values[0] is None or values[1] is None:
                    return None
                known = compared(operator, values[0], values[1])
                return known if isinstance(known, bool) else None
        return None

    def number(self, expression: NumberExpression) -> float | None:
        match expression:
            case NumberConstant(value):
                return value
            case Occurrences(predicate, MessageText(role), matchers):
                occur = [self.occurs(role, predicate, matcher) for matcher in matchers]
                return 0.0 if all(each is False for each in occur) else None
            case FoundAmong(predicate, MessageText(role), matchers):
                occur = [self.occurs(role, predicate, matcher) for matcher in matchers]
                return None if None in occur else float(sum(each is True for each in occur))
        return None

    def occurs(self, role: str, predicate: str, matcher: Matcher | None) -> bool | None:
        pattern = self.patterns.get((role, predicate, matcher))
        if pattern is None:
            return None
        found = self.found[pattern.number]
        if _MISSING[0] in found:
            return None
        if pattern.place not in found:
            return False
        return True if pattern.is_exact else None
