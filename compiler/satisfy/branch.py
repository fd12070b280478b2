"""One row of statements that all have to be true at once: a situation in which they are, or a proof that there is none.

First what each quantity, fact and text can be is narrowed down by itself; something that can be nothing is a proof.
Then situations are put together from likely values and weighed by the reference evaluator. Automata are built only
where both fail. Statements that nothing here understands are left to the evaluator: they take part in situations, and
in proofs only where one and its opposite are both asked for.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from types import MappingProxyType

from bylaw.compiler.evaluate import truth
from bylaw.compiler.satisfy.numbers import ALL, LARGEST, Numbers, both, solved, whole
from bylaw.compiler.satisfy.words import ORDER_WORDS, apart, impossible, name_of
from bylaw.compiler.values import compared
from bylaw.spec.expression import (
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    ConceptScore,
    Continued,
    Count,
    EventAt,
    EventCount,
    Expression,
    Fact,
    FoundAmong,
    Holds,
    MessageText,
    Not,
    NumberExpression,
    NumberFact,
    Occurrences,
    Phrase,
    TextConstant,
    TextExpression,
)
from bylaw.spec.logic import meaning, negate, selectors, walk
from bylaw.spec.trace import Trace

Variable = tuple[str, str]
"""What can be chosen freely: ("fact", its path), ("text", a role), ("score", a concept)."""
EVENTS: Variable = ("events", "")
CONVERSATION: Variable = ("text", "conversation")
SPEAKERS: Mapping[str, str] = MappingProxyType(
    {"system": "system", "developer": "developer", "prompt": "user", "conversation": "user", "response": "assistant"}
)
"""Who says the text of a role."""
_PLAIN = frozenset({"match", "contain", "mention", "start_with", "end_with"})
"""Predicates that look at the plain form of a text only, so that texts of one plain form are alike to them."""


@dataclass(frozen=True, slots=True)
class Refutation:
    """Why something can never be true: statements of which no situation meets all, and that in plain words."""

    parts: tuple[BooleanExpression, ...]
    reason: str


def variables_of(expression: Expression) -> frozenset[Variable]:
    """Everything that the value depends on."""
    found: set[Variable] = set()
    for part in walk(expression):
        match part:
            case Fact(path) | NumberFact(path) | BooleanFact(path) if not path.startswith("it."):
                found.add(("fact", path))
            case MessageText(role) if role != "it":
                found.add(("text", role))
            case ConceptScore(concept):
                found.add(("score", concept.name))
            case Continued() | EventAt():
                found.add(EVENTS)
        if selectors(part):
            found.add(EVENTS)
    return frozenset(found)


@dataclass
class Domain:
    """What a quantity may be, and which statements say so."""

    quantity: NumberExpression
    numbers: Numbers
    parts: list[BooleanExpression] = field(default_factory=list)


@dataclass(frozen=True)
class Branch:
    """Statements without `and` and `or` at their top that all have to be true."""

    parts: tuple[BooleanExpression, ...]

    @cached_property
    def reads(self) -> Mapping[BooleanExpression, frozenset[Variable]]:
        """What each statement depends on."""
        return {part: variables_of(part) for part in self.parts}

    @cached_property
    def domains(self) -> dict[Hashable, Domain]:
        """What each quantity may be, by its meaning."""
        found: dict[Hashable, Domain] = {}
        for part in self.parts:
            answer = solved(part) if isinstance(part, Compare) else None
            if answer is not None:
                quantity, numbers = answer
                domain = found.setdefault(meaning(quantity), Domain(quantity, possible(quantity)))
                domain.numbers = both(domain.numbers, numbers)
                if isinstance(quantity, (Count, Occurrences, FoundAmong, EventCount)):
                    domain.numbers = whole(domain.numbers)
                domain.parts.append(part)
        return found

    def conflict(self) -> Refutation | None:
        """A proof, at little cost, that the statements cannot be true together."""
        return (  # the order matters: what compares two quantities takes each of them to be possible
            self._false_or_opposite()
            or self._number_conflict()
            or self._kind_conflict()
            or self._order_conflict()
            or self._equality_conflict()
        )

    # ------------------------------------------------------------------------------------------------- conflicts
    def _false_or_opposite(self) -> Refutation | None:
        seen: dict[Hashable, BooleanExpression] = {}
        for part in self.parts:
            if isinstance(part, BooleanConstant) and not part.value:
                return Refutation((part,), "`false` is never true")
            seen[meaning(part)] = part
        for part in self.parts:
            opposite = seen.get(meaning(negate(part)))
            if opposite is not None:
                pair = (opposite, part) if self.parts.index(opposite) < self.parts.index(part) else (part, opposite)
                return Refutation(pair, impossible(pair) or "the same cannot be true and false")
        return None

    def _number_conflict(self) -> Refutation | None:
        for domain in self.domains.values():
            if not domain.numbers:
                parts = _smallest(domain)
                name = name_of(domain.quantity)
                reason = f"no number `{name}` meets all of this" if name else "no number meets all of this"
                return Refutation(parts, impossible(parts) or reason)
        return None

    def _kind_conflict(self) -> Refutation | None:
        """No value is both a number and true or false."""
        truths = {fact_of(part): part for part in self.parts if fact_of(part) is not None}
        for domain in self.domains.values():
            if isinstance(domain.quantity, NumberFact) and domain.quantity.path in truths:
                path = domain.quantity.path
                parts = (truths[path], domain.parts[0])
                return Refutation(parts, f"`{path}` cannot be a number and also true or false")
        return None

    def _order_conflict(self) -> Refutation | None:
        """Two quantities are compared in ways that exclude each other."""
        left: dict[Hashable, tuple[set[str], list[Compare]]] = {}
        for part in self.parts:
            if isinstance(part, Compare) and solved(part) is None:
                one, other, order = meaning(part.left), meaning(part.right), _ORDERS[part.operator]
                if one == other and "=" not in order:
                    return Refutation((part,), apart([part]) or "nothing differs from itself")
                if (other, one) in left:
                    one, other, order = other, one, order.translate(_TURNED)
                allowed, parts = left.setdefault((one, other), (set("<=>"), []))
                allowed &= set(order)
                parts.append(part)
                if not allowed:
                    reason = "two quantities cannot be compared like this at once"
                    return Refutation(tuple(parts), apart(parts) or reason)
                if not self._can_compare(part):
                    return self._too_far_apart(part)
        return None

    def _can_compare(self, part: Compare) -> bool:
        """Whether two quantities, each by itself, can be numbers that stand in this relation."""
        left, right = (self._numbers_of(side) for side in (part.left, part.right))
        match part.operator:
            case "==":
                return bool(both(left, right))
            case "!=":
                return left != right or left[0][0] != left[-1][1]
            case "<" | "<=":
                return bool(compared(part.operator, left[0][0], right[-1][1]))
        return bool(compared(part.operator, left[-1][1], right[0][0]))

    def _numbers_of(self, quantity: NumberExpression) -> Numbers:
        domain = self.domains.get(meaning(quantity))
        return possible(quantity) if domain is None else domain.numbers

    def _too_far_apart(self, part: Compare) -> Refutation:
        found = [self.domains.get(meaning(side)) for side in (part.left, part.right)]
        parts = [each for domain in found if domain is not None for each in domain.parts]
        names = [name_of(side) for side in (part.left, part.right)]
        if None in names:
            return Refutation((*parts, part), "two quantities cannot be compared like this")
        said = ORDER_WORDS[part.operator] or "exactly "
        return Refutation((*parts, part), f"`{names[0]}` cannot be {said}`{names[1]}` here")

    def _equality_conflict(self) -> Refutation | None:
        """A text is one of a few that the author wrote, and none of them will do."""
        few = self.few_texts
        for subject, (texts, said) in few.items():
            rest = [part for part in self.parts if part != said and self.is_about(part, subject)]
            if all(any(not _is_so(part, subject, text) for part in rest) for text in texts):
                parts = tuple(sorted((said, *_blocking(rest, subject, texts)), key=self.parts.index))
                return Refutation(parts, impossible(parts) or no_text(subject))
        for part in self.parts:
            holds = part.item if isinstance(part, Not) else part
            if not isinstance(holds, Holds) or holds.predicate != "match" or holds.argument not in few:
                continue
            if holds.subject in few:
                (ours, said), (theirs, also) = few[holds.subject], few[holds.argument]
                if all((one == other) is isinstance(part, Not) for one in ours for other in theirs):
                    names = f"`{name_of(holds.subject)}` and `{name_of(holds.argument)}`"
                    same = "differ" if isinstance(part, Not) else "be the same"
                    return Refutation((said, also, part), f"{names} cannot {same} here")
        return None

    @cached_property
    def few_texts(self) -> dict[TextExpression, tuple[tuple[str, ...], BooleanExpression]]:
        """Texts that have to be one of a few ASCII texts: which, and what says so.

        Each stands for all texts of its plain form; the empty one does not, because a fact that is empty is compared
        as it is.
        """
        found: dict[TextExpression, tuple[tuple[str, ...], BooleanExpression]] = {}
        for part in self.parts:
            if isinstance(part, Holds) and part.predicate == "match":
                texts = tuple(m.text for m in part.matchers if isinstance(m, Phrase) and not m.lookalikes)
                is_few = part.quantity == "any" or len(texts) == 1
                if texts and all(texts) and is_few and len(texts) == len(part.matchers) and "".join(texts).isascii():
                    known = found.get(part.subject)
                    if known is None or len(texts) < len(known[0]):
                        found[part.subject] = (texts, part)
        return found

    def is_about(self, part: BooleanExpression, subject: TextExpression) -> bool:
        """Whether a statement is settled by the plain form of this text, or by what it spells as a fact."""
        if self.reads[part] != variables_of(subject):
            return False
        holds = part.item if isinstance(part, Not) else part
        if isinstance(holds, Holds):
            return holds.predicate in _PLAIN and holds.argument is None and holds.subject == subject
        if isinstance(holds, BooleanFact):
            return isinstance(subject, Fact)
        return isinstance(part, Compare) and _is_number_of(part, subject)


_ORDERS: Mapping[str, str] = {"<": "<", "<=": "<=", "==": "=", "!=": "<>", ">=": "=>", ">": ">"}
_TURNED = str.maketrans("<>", "><")


def possible(quantity: NumberExpression) -> Numbers:
    """What a quantity can be at all."""
    match quantity:
        case FoundAmong(_, _, matchers):
            return whole(ALL, float(len(matchers)))
        case Count() | Occurrences() | EventCount():
            return whole(ALL)
        case ConceptScore():
            return ((0.0, 1.0),)
    return ALL


def fact_of(part: BooleanExpression) -> str | None:
    """The fact that a statement takes to be true or false."""
    inner = part.item if isinstance(part, Not) else part
    return inner.path if isinstance(inner, BooleanFact) else None


def _is_number_of(compare: Compare, subject: TextExpression) -> bool:
    answer = solved(compare)
    return answer is not None and isinstance(answer[0], NumberFact) and isinstance(subject, Fact)


def _is_so(part: BooleanExpression, subject: TextExpression, text: str) -> bool:
    """Whether a statement about one text is true of this one."""
    if isinstance(subject, Fact):
        return truth(part, Trace((), {subject.path: text})) is True
    holds = part.item if isinstance(part, Not) else part
    assert isinstance(holds, Holds)
    said = truth(replace(holds, subject=TextConstant(text)), Trace(()))
    return said is not isinstance(part, Not)


def _blocking(
    rest: list[BooleanExpression], subject: TextExpression, texts: tuple[str, ...]
) -> Iterator[BooleanExpression]:
    """Statements enough to exclude each of the texts."""
    left = list(texts)
    for part in rest:
        excluded = [text for text in left if not _is_so(part, subject, text)]
        if excluded:
            yield part
            left = [text for text in left if text not in excluded]


def no_text(subject: TextExpression) -> str:
    """What to say where no text will do."""
    name = name_of(subject)
    return f"no text that `{name}` can be meets all of this" if name else "no text meets all of this"


def _smallest(domain: Domain) -> tuple[BooleanExpression, ...]:
    """Two of the statements where two are enough, or one."""
    sets = [(part, both(possible(domain.quantity), _numbers(part, domain))) for part in domain.parts]
    for part, numbers in sets:
        if not numbers:
            return (part,)
    for place, (part, numbers) in enumerate(sets):
        for other, others in sets[:place]:
            if not _whole_if_counted(both(numbers, others), domain):
                return (other, part)
    return tuple(domain.parts)


def _numbers(part: BooleanExpression, domain: Domain) -> Numbers:
    assert isinstance(part, Compare)
    answer = solved(part)
    assert answer is not None
    return _whole_if_counted(answer[1], domain)


def _whole_if_counted(numbers: Numbers, domain: Domain) -> Numbers:
    is_count = isinstance(domain.quantity, (Count, Occurrences, FoundAmong, EventCount))
    return whole(numbers, LARGEST) if is_count else numbers
