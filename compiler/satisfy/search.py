"""Situations for one row of statements: likely values first, then automata for what one text has to be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bylaw.compiler.candidates import candidates
from bylaw.compiler.evaluate import truth
from bylaw.compiler.satisfy.automata import RESPONSE, by_automata, said_of_response
from bylaw.compiler.satisfy.branch import (
    CONVERSATION,
    EVENTS,
    SPEAKERS,
    Branch,
    Refutation,
    Variable,
    fact_of,
)
from bylaw.compiler.satisfy.numbers import ALL, Numbers, picks
from bylaw.spec import catalog
from bylaw.spec.expression import (
    BooleanCall,
    BooleanExpression,
    ConceptScore,
    Fact,
    FoundAmong,
    Holds,
    MessageText,
    Not,
    NumberCall,
    NumberConstant,
    NumberFact,
    Occurrences,
    Phrase,
    TextCall,
    TextExpression,
)
from bylaw.spec.logic import walk
from bylaw.spec.trace import FactValue, Message, Trace, written

if TYPE_CHECKING:  # most questions are answered without automata
    pass

MOST_STEPS = 3_000
"""Situations and parts of situations that are weighed before a search gives up."""
MOST_TEXTS, MOST_NUMBERS, MOST_FOR_PAIRS = 24, 3, 16
LIKELY = ("Hello.", "other", "a", "")
_ROLES = ("system", "developer", "prompt", "response")


class NotDecided(Exception):
    """Neither a situation nor a proof that there is none was found: `reason` says what stood in the way."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass
class _Choice:
    """What has been chosen so far; `steps` counts what was weighed."""

    facts: dict[str, FactValue] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)

    def trace(self) -> Trace:
        """The situation in which this is so."""
        messages = tuple(Message(SPEAKERS[role], self.texts[role]) for role in _ROLES if role in self.texts)
        scores = {(name, text): score for name, score in self.scores.items() for text in self._scored()}
        return Trace(messages, dict(self.facts), scores=scores)

    def _scored(self) -> Iterable[str]:
        yield from self.texts.values()
        yield "\n".join(self.texts[role] for role in _ROLES if role in self.texts)
        yield from (written(value) for value in self.facts.values())

    def put(self, variable: Variable, value: FactValue) -> None:
        """Chooses a value."""
        kind, name = variable
        if kind == "fact":
            self.facts[name] = value
        elif kind == "text":
            self.texts[name] = str(value)
        else:
            self.scores[name] = float(value)

    def drop(self, variable: Variable) -> None:
        """Takes a choice back."""
        kind, name = variable
        chosen: dict[str, Any] = {"fact": self.facts, "text": self.texts, "score": self.scores}[kind]  # type: ignore[assignment]
        del chosen[name]


@dataclass
class Search:
    """Looks for a situation in which all statements of a branch are true; the branch has no cheap conflict."""

    branch: Branch
    steps: int = 0

    def answer(self) -> Trace | Refutation:
        """A situation, or a proof by automata that there is none. Raises NotDecided."""
        found = self._assign({})
        if found is not None:
            return found
        built: dict[Variable, list[FactValue]] = {}
        for subject, parts in self._texts_alone().items():
            outcome = by_automata(subject, parts, self.branch)
            if isinstance(outcome, Refutation):
                return outcome
            variable = ("fact", subject.path) if isinstance(subject, Fact) else ("text", getattr(subject, "role", ""))
            built[variable] = list(outcome)
        found = self._assign(built)
        if found is not None:
            return found
        raise NotDecided("no situation was found, and no proof that there is none")

    # ---------------------------------------------------------------------------------------------------- search
    @cached_property
    def variables(self) -> list[Variable]:
        """What is to be chosen, the conversation and its events apart; scores last, since texts may settle them."""
        found = {each for part in self.branch.parts for each in self.branch.reads[part]}
        if CONVERSATION in found or EVENTS in found:
            found.add(("text", "prompt"))
        found -= {CONVERSATION, EVENTS}
        order = {"fact": 0, "text": 1, "score": 2}
        return sorted(found, key=lambda variable: (order[variable[0]], variable[1]))

    def _assign(self, built: dict[Variable, list[FactValue]]) -> Trace | None:
        """Tries the values of variables that statements connect in turn, and goes back where one is not true."""
        choice = _Choice()
        for variables, parts in self._components():
            values = [self._values(variable, built.get(variable, [])) for variable in variables]
            due: list[list[BooleanExpression]] = [[] for _ in variables]
            for part in parts:
                reads = self.branch.reads[part]
                places = [place for place, variable in enumerate(variables) if variable in reads]
                due[-1 if reads & {CONVERSATION, EVENTS} else max(places)].append(part)
            if not self._from(0, variables, choice, values, due):
                return None
        trace = choice.trace()
        return trace if all(truth(part, trace) is True for part in self.branch.parts) else None

    def _components(self) -> list[tuple[list[Variable], list[BooleanExpression]]]:
        """Variables with the statements that connect them; what has no variable is weighed at the end."""
        found: list[tuple[set[Variable], list[BooleanExpression]]] = []
        messages = {variable for variable in self.variables if variable[0] == "text"}
        for part in self.branch.parts:
            reads = set(self.branch.reads[part])
            reads = reads - {CONVERSATION, EVENTS} | messages if reads & {CONVERSATION, EVENTS} else reads
            touched = [each for each in found if each[0] & reads]
            found = [each for each in found if not each[0] & reads]
            parts = [other for each in touched for other in each[1]]
            if reads:
                found.append((reads.union(*(each[0] for each in touched)), [*parts, part]))
        return [([each for each in self.variables if each in variables], parts) for variables, parts in found]

    def _from(
        self,
        place: int,
        variables: list[Variable],
        choice: _Choice,
        values: list[list[FactValue]],
        due: list[list[BooleanExpression]],
    ) -> bool:
        """Whether the variables from one place on can be chosen so that what is due is true."""
        if place == len(variables):
            return True
        for value in values[place]:
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise NotDecided("the search for a situation grew too large")
            choice.put(variables[place], value)
            trace = choice.trace()
            is_so = all(truth(part, trace) is True for part in due[place])
            if is_so and self._from(place + 1, variables, choice, values, due):
                return True
            choice.drop(variables[place])
        return False

    # ---------------------------------------------------------------------------------------------------- values
    def _values(self, variable: Variable, built: list[FactValue]) -> list[FactValue]:
        kind, name = variable
        found: list[FactValue] = list(built)
        if kind == "score":
            found += self._scores(name)
        elif kind == "text":
            found += self._texts(MessageText(name))  # type: ignore[arg-type]
        else:
            found += self._fact_values(name)
        unique = {(type(value), value): value for value in found}
        return list(unique.values())

    def _scores(self, name: str) -> list[FactValue]:
        sets = [
            domain.numbers
            for domain in self.branch.domains.values()
            if isinstance(domain.quantity, ConceptScore) and domain.quantity.concept.name == name
        ]
        found = [value for numbers in sets for value in picks(numbers, MOST_NUMBERS)]
        return [*found, 0.5, 0.0, 1.0]

    def _fact_values(self, path: str) -> list[FactValue]:
        truths = [not isinstance(part, Not) for part in self.branch.parts if fact_of(part) == path]
        numbers = self._numbers(path)
        texts = self._texts(Fact(path)) if any(Fact(path) in walk(part) for part in self.branch.parts) else []
        found: list[FactValue] = [*truths, *numbers, *texts]
        return found or [True, False, 0.0, 1.0, ""]

    def _numbers(self, path: str) -> list[float]:
        """Numbers that a fact may be; more of them where it is compared with other quantities."""
        parts = [part for part in self.branch.parts if NumberFact(path) in walk(part)]
        if not parts:
            return []
        own = [each.numbers for each in self.branch.domains.values() if each.quantity == NumberFact(path)]
        allowed: Numbers = own[0] if own else ALL
        is_alone = all(len(self.branch.reads[part]) == 1 for part in parts)
        if is_alone and len(own) == 1:
            return list(picks(allowed, MOST_NUMBERS))
        edges = {edge for each in self.branch.domains.values() for pair in each.numbers for edge in pair}
        edges |= {part.value for each in self.branch.parts for part in walk(each) if isinstance(part, NumberConstant)}
        small = {edge for edge in edges if abs(edge) < 1e9} | {0.0, 1.0}
        pool = sorted({edge + step for edge in small for step in (-1.0, -0.5, 0.0, 0.5, 1.0, 2.0)}, key=abs)
        inside = [value for value in pool if any(low <= value <= high for low, high in allowed)]
        return [*picks(allowed, MOST_NUMBERS), *inside[:MOST_FOR_PAIRS]]

    def _texts(self, subject: TextExpression) -> list[FactValue]:
        """What a text may be: what is asked of it, what is asked of other texts, and a few that are always likely."""
        said = [part for part in self.branch.parts if subject in walk(part) or _is_of_all(part, subject)]
        statements = [said_of_response(part, subject) for part in said]
        if subject != RESPONSE:
            statements = [said_of_response(part, MessageText("conversation")) for part in statements]
        found: list[FactValue] = []
        if isinstance(subject, Fact):  # a person writes one of the words that are listed, not a text around it
            found += [*_phrases(said), *self._spelled_elsewhere(subject), "other"]
        found += [text for text in candidates(statements) if text] + _phrases(said)
        found += [*_phrases(self.branch.parts), *_examples(said), *LIKELY]
        found += _lengthened(found)
        return list(dict.fromkeys(found))[:MOST_TEXTS]

    def _spelled_elsewhere(self, subject: Fact) -> list[FactValue]:
        """What a fact that is compared with another one may be as a number, or as true or false."""
        compared = [part for part in self.branch.parts if _is_comparison(part) and subject in walk(part)]
        paths = sorted({name for part in compared for kind, name in self.branch.reads[part] if kind == "fact"})
        truths = [not isinstance(part, Not) for part in self.branch.parts if fact_of(part) in paths]
        return [written(value) for value in (*truths, *(each for path in paths for each in self._numbers(path)))]

    # -------------------------------------------------------------------------------------------------- automata
    def _texts_alone(self) -> dict[TextExpression, list[BooleanExpression]]:
        """Statements that are about one text and nothing else."""
        found: dict[TextExpression, list[BooleanExpression]] = {}
        for part in self.branch.parts:
            reads = self.branch.reads[part]
            if len(reads) != 1 or EVENTS in reads:
                continue
            kind, name = next(iter(reads))
            if kind == "text":
                found.setdefault(MessageText(name), []).append(part)  # type: ignore[arg-type]
            elif kind == "fact" and Fact(name) in walk(part):
                found.setdefault(Fact(name), []).append(part)
        return found


def _is_comparison(part: BooleanExpression) -> bool:
    """Whether a fact is compared with a fact, as texts."""
    holds = part.item if isinstance(part, Not) else part
    return isinstance(holds, Holds) and isinstance(holds.argument, Fact)


def _is_of_all(part: BooleanExpression, subject: TextExpression) -> bool:
    return isinstance(subject, MessageText) and MessageText("conversation") in walk(part)


def _phrases(parts: Iterable[BooleanExpression]) -> list[FactValue]:
    """The texts that statements look for."""
    found: list[FactValue] = []
    for part in (each for said in parts for each in walk(said)):
        if isinstance(part, (Holds, Occurrences, FoundAmong)):
            found += [matcher.text for matcher in part.matchers if isinstance(matcher, Phrase)]
    return list(dict.fromkeys(found))


def _examples(parts: Iterable[BooleanExpression]) -> list[FactValue]:
    """Texts that the author of a concept says express it, or do not; texts that show what a function does."""
    found: list[FactValue] = []
    for part in (each for said in parts for each in walk(said)):
        match part:
            case ConceptScore(concept):
                found += [*concept.like[:1], *concept.unlike[:1]]
            case TextCall(function) | NumberCall(function) | BooleanCall(function):
                shown = catalog.function(function).examples
                found += [each for example in shown for each in example.arguments[:1] if isinstance(each, str)]
    return found


def _lengthened(texts: list[FactValue]) -> list[FactValue]:
    return [f"{text} {more}" for text in texts[:2] for more in ("and more", "word " * 20)]
