"""Random typed expressions, terms, programs and traces, over the whole typed language. Used by several tests."""

import random

from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    Count,
    Extent,
    Fact,
    Holds,
    Matcher,
    MessageText,
    Not,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Or,
    Phrase,
    Regex,
    TextConstant,
    TextExpression,
)
from bylaw.spec.trace import FactValue, Message, Trace

RESPONSE = MessageText("response")
PHRASES = ("a", "b", "ab", "A", "ba", "a.", "é")
PATTERNS = (("a+", ""), ("[ab]{2}", ""), (r"\bab?\b", "i"), ("^a|b$", "m"), ("(ab|ba)", ""), ("b*", ""))
FACTS: dict[str, tuple[FactValue, ...]] = {
    "meta.kind": ("a", "ab", "b a"),
    "meta.size": (0.0, 1.0, 2.5),
    "user.vip": (True, False),
}
ALPHABET = "aAb .\n,é"


MOSTLY = 0.9
"""How often what is picked from the catalog has an automaton, so that most statements have one."""


def _is_regular(predicate: catalog.Predicate) -> bool:
    return predicate.language(Phrase("a") if predicate.takes_matchers else None) is not None


class Writer:
    """Writes random expressions; `about` are the texts that they may be about."""

    def __init__(self, seed: object, about: tuple[TextExpression, ...] = (RESPONSE,), facts: bool = False) -> None:
        self.random = random.Random(str(seed))
        self.about = about
        self.facts = facts

    def text(self) -> str:
        return "".join(self.random.choices(ALPHABET, k=self.random.randint(0, 7)))

    def matcher(self) -> Matcher:
        if self.random.random() < 0.6:
            return Phrase(self.random.choice(PHRASES))
        return Regex(*self.random.choice(PATTERNS))

    def matchers(self) -> tuple[Matcher, ...]:
        return tuple(dict.fromkeys(self.matcher() for _ in range(self.random.choice((1, 1, 2, 3)))))

    def subject(self) -> TextExpression:
        return self.random.choice(self.about)

    def holds(self) -> BooleanExpression:
        names = catalog.names("predicates")
        regular = tuple(name for name in names if _is_regular(catalog.predicate(name)))
        name = self.random.choice(regular if self.random.random() < MOSTLY else names)
        if not catalog.predicate(name).takes_matchers:
            return Holds(name, self.subject())
        return Holds(name, self.subject(), self.matchers(), self.random.choice(("any", "all")))

    def counted(self) -> NumberExpression:
        if self.random.random() < 0.6:
            names = catalog.names("units")
            regular = tuple(name for name in names if catalog.unit(name).machine is not None)
            return Count(self.random.choice(regular if self.random.random() < MOSTLY else names), self.subject())
        return Occurrences(self.random.choice(("contain", "mention")), self.subject(), self.matchers())

    def number(self, depth: int = 2) -> NumberExpression:
        kind = self.random.random()
        if self.facts and kind < 0.15:
            return NumberFact("meta.size")
        if depth == 0 or kind < 0.5:
            return self.counted()
        if kind < 0.65:
            return NumberConstant(self.random.choice((-2.0, 0.0, 0.5, 1.0, 2.0, 3.0)))
        operator = self.random.choice(("+", "-", "*", "/", "distance"))
        return Arithmetic(operator, self.number(depth - 1), self.number(depth - 1))

    def compare(self) -> BooleanExpression:
        operator = self.random.choice(("<", "<=", "==", "!=", ">=", ">"))
        bound = NumberConstant(self.random.choice((-1.0, 0.0, 1.0, 2.0, 2.5, 4.0)))
        shape = self.random.random()
        if shape < 0.3:
            return Compare(operator, self.number(1), bound if shape < 0.2 else self.number(1))
        counted = self.counted()
        return Compare(operator, counted, bound) if self.random.random() < 0.8 else Compare(operator, bound, counted)

    def truth(self, depth: int = 2) -> BooleanExpression:
        kind = self.random.random()
        if self.facts and kind < 0.1:
            return BooleanFact("user.vip")
        if kind < 0.04:
            return BooleanConstant(self.random.random() < 0.5)
        if depth == 0 or kind < 0.5:
            return self.holds() if self.random.random() < 0.6 else self.compare()
        if kind < 0.65:
            return Not(self.truth(depth - 1))
        items = tuple(self.truth(depth - 1) for _ in range(self.random.choice((1, 2, 2, 3))))
        return (And if self.random.random() < 0.5 else Or)(items)

    def term(self, identifier: str) -> RewardTerm:
        kind = self.random.choice(("hard", "soft", "graded", "budget", "budget"))
        condition = self.truth(1) if self.random.random() < 0.5 else None
        given: dict[str, object] = {}
        if kind == "graded" or (kind == "budget" and self.random.random() < 0.4):
            given["value"] = self.number()
        else:
            given["holds"] = self.truth()
        if kind in ("soft", "graded"):
            given["weight"] = self.random.choice((0.25, 1.0, 3.0)) * (-1.0 if kind == "graded" else 1.0)
        if kind == "budget":
            given |= {"sense": self.random.choice(("at most", "at least", "exactly")), "bound": 0.5, "multiplier": 0.75}
        return RewardTerm(identifier, identifier, kind, "user", Extent(0, 1), condition=condition, **given)  # type: ignore[arg-type]

    def program(self, size: int = 4) -> RewardProgram:
        return RewardProgram("random", "1", ("system", "user"), tuple(self.term(f"t{n}") for n in range(size)))

    def trace(self, with_facts: bool = True) -> Trace:
        """A conversation that waits for its response; some facts may be missing."""
        roles = [role for role in ("system", "developer", "user") if self.random.random() < 0.7 or role == "user"]
        facts = {
            name: self.random.choice(values)
            for name, values in FACTS.items()
            if with_facts or self.random.random() < 0.5
        }
        return Trace(tuple(Message(role, self.text()) for role in roles), facts)


def everywhere(seed: object) -> Writer:
    """A writer that uses every text and fact."""
    texts = tuple(
        MessageText(role) for role in ("response", "response", "prompt", "system", "developer", "conversation")
    )
    return Writer(seed, (*texts, Fact("meta.kind"), TextConstant("ab a")), facts=True)
