"""Random statements about a response, made of patterns and phrases, and pairs of them held against brute force.

What a statement says of a text is what the reference evaluator says; the automata have to agree on every text up to
LONGEST characters over a small alphabet, and to prove nothing that one of these texts refutes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from bylaw.compiler.automata.algebra import (
    any_witness,
    difference,
    equivalent,
    includes,
    intersect,
    is_empty,
    shortest_witness,
    union,
)
from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.many import EncodedTexts, accepting
from bylaw.compiler.evaluate import truth
from bylaw.compiler.regular import dfa_of
from bylaw.spec.charset import CharSet
from bylaw.spec.expression import BooleanExpression, Holds, Matcher, MessageText, Not, Phrase, Regex
from bylaw.spec.pattern import PatternError, compile_pattern
from bylaw.spec.trace import Trace

LONGEST = 5
ALPHABETS = ("ab ", "ab\n", "ab1", "aA ", "ab_", "a1\n", "ab-")
MODES = ("contain", "contain", "mention", "match", "start_with", "end_with")
RESPONSE = MessageText("response")
NO_TEXTS = Trace(())


def says(statement: BooleanExpression, text: str) -> bool:
    """What the reference evaluator says."""
    verdict = truth(statement, NO_TEXTS.answered(text))
    if not isinstance(verdict, bool):
        raise AssertionError(f"{statement} is not decided for {text!r}")
    return verdict


def only(charset: CharSet) -> Dfa:
    """The automaton of the texts that have no other characters."""
    alphabet = Alphabet.of([charset])
    (inside,) = alphabet.classes_in(charset)
    return Dfa(alphabet, (tuple(int(label != inside) for label in range(alphabet.size)), (1, 1)), 0, (True, False))


class Writer:
    """Writes random statements about texts over a small alphabet."""

    def __init__(self, seed: object, alphabet: str) -> None:
        self.random = random.Random(f"{seed} {alphabet!r}")
        self.alphabet = alphabet

    def statement(self) -> BooleanExpression:
        mode = self.random.choice(MODES)
        holds = Holds(mode, RESPONSE, tuple(self.matcher() for _ in range(self.random.choice((1, 1, 1, 2)))))
        if len(holds.matchers) > 1 and self.random.random() < 0.5:
            holds = Holds(mode, RESPONSE, holds.matchers, "all")
        return Not(holds) if self.random.random() < 0.2 else holds

    def matcher(self) -> Matcher:
        if self.random.random() < 0.2:
            return Phrase("".join(self.random.choices(self.alphabet, k=self.random.choice((1, 1, 2, 3)))))
        while True:
            found = Regex(self.pattern(3), self.random.choice(("", "", "", "i", "m", "s", "im", "ms")))
            try:
                compile_pattern(found.source, found.flags)
            except PatternError:  # such as one that is `\\B` alone
                continue
            return found

    def pattern(self, depth: int) -> str:
        kind = self.random.random()
        if depth == 0 or kind < 0.25:
            return self.atom()
        if kind < 0.35:
            # Something, a gap of several lengths, something else: matches may begin again inside the gap.
            gap = self.random.choice((".", self.atom(), f"(?:{self.atom()}{self.atom()}?)", f"(?:.|{self.atom()})"))
            lengths = self.random.choice(("{0,2}", "{0,2}", "{0,3}", "{1,3}", "{2,}", "{1,}"))
            return f"{self.pattern(depth - 1)}{gap}{lengths}{self.pattern(depth - 1)}"
        if kind < 0.6:
            return "".join(self.pattern(depth - 1) for _ in range(self.random.choice((2, 2, 3))))
        if kind < 0.73:
            branches = [self.pattern(depth - 1) for _ in range(self.random.choice((2, 2, 3)))]
            if self.random.random() < 0.1:
                branches.append("")
            return f"(?:{'|'.join(branches)})"
        if kind < 0.79:
            return f"({self.random.choice(('?i:', '?s:', '?m:', '?-s:', ''))}{self.pattern(depth - 1)})"
        repeat = self.random.choice(("*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "{0,4}", "{3}"))
        return f"(?:{self.pattern(depth - 1)}){repeat}{'?' if self.random.random() < 0.25 else ''}"

    def atom(self) -> str:
        kind = self.random.random()
        if kind < 0.45:
            return self.char()
        if kind < 0.55:
            return "."
        if kind < 0.7:
            members = "".join(self.char() for _ in range(self.random.choice((1, 2, 2))))
            return f"[{'^' if self.random.random() < 0.5 else ''}{members}]"
        if kind < 0.8:
            return self.random.choice((r"\d", r"\w", r"\s", r"\W", r"\S", r"\D", "[a-b]", "[^a-z]", r"[\w-]"))
        return self.random.choice(("^", "$", r"\A", r"\b", r"\B"))

    def char(self) -> str:
        char = self.random.choice(self.alphabet)
        return {"\n": r"\n", "-": r"\-"}.get(char, char)


@dataclass(frozen=True)
class Texts:
    """All texts up to LONGEST characters over an alphabet, the shortest first."""

    alphabet: str

    @cached_property
    def all(self) -> tuple[str, ...]:
        return tuple("".join(chars) for size in range(LONGEST + 1) for chars in product(self.alphabet, repeat=size))

    @cached_property
    def encoded(self) -> EncodedTexts:
        return EncodedTexts.of(self.all)

    @cached_property
    def automaton(self) -> Dfa:
        """Accepts the texts of any length over the alphabet."""
        return only(CharSet.of(self.alphabet))

    def where(self, statement: BooleanExpression) -> int:
        """The texts of which it is true, as bits."""
        return sum(1 << number for number, text in enumerate(self.all) if says(statement, text))

    def shortest(self, bits: int) -> int:
        """The length of the shortest of these texts."""
        return len(self.all[(bits & -bits).bit_length() - 1])


@dataclass(frozen=True)
class Subject:
    """A statement, its automaton, and the texts of which the evaluator says that it is true."""

    statement: BooleanExpression
    automaton: Dfa
    bits: int


@dataclass
class Tally:
    """What was compared, so that a run that compares little is seen."""

    pairs: int = 0
    disjoint: int = 0
    included: int = 0
    equivalent: int = 0
    longer: int = 0
    combined: int = 0


def subjects(seed: object, texts: Texts, count: int) -> list[Subject]:
    """Random statements that have an automaton, which must say of all texts what the evaluator says."""
    writer = Writer(seed, texts.alphabet)
    found: list[Subject] = []
    while len(found) < count:
        statement = writer.statement()
        automaton = dfa_of(statement)
        if automaton is None:
            continue
        bits = texts.where(statement)
        wrong = bits ^ accepting(automaton, texts.encoded)
        if wrong:
            text = texts.all[(wrong & -wrong).bit_length() - 1]
            raise AssertionError(f"{statement} is {says(statement, text)} for {text!r}")
        found.append(Subject(statement, automaton, bits))
    return found


def disagreements(one: Subject, other: Subject, texts: Texts, tally: Tally, combine: bool) -> Iterator[str]:
    """Everything in which the automata of two statements and brute force disagree."""
    tally.pairs += 1
    both, without = one.bits & other.bits, one.bits & ~other.bits
    opposite = Not(other.statement)
    yield from _witnesses(one, other.statement, other.automaton, both, texts, tally)
    yield from _witnesses(one, opposite, other.automaton.complement(), without, texts, tally)
    inside, around = includes(other.automaton, one.automaton), includes(one.automaton, other.automaton)
    if (inside and without) or (around and other.bits & ~one.bits):
        yield "an inclusion is claimed that a short text refutes"
    if inside != (shortest_witness([one.automaton, other.automaton.complement()]) is None):
        yield "inclusion and the witness against it disagree"
    same = equivalent(one.automaton, other.automaton)
    if same != (inside and around) or same != (one.automaton == other.automaton):
        yield "equivalence, two inclusions and equal minimal automata disagree"
    tally.included += inside
    tally.equivalent += same
    if combine:
        tally.combined += 1
        for name, made, expected in (
            ("intersection", intersect([one.automaton, other.automaton]), both),
            ("union", union([one.automaton, other.automaton]), one.bits | other.bits),
            ("difference", difference(one.automaton, other.automaton), without),
        ):
            if accepting(made, texts.encoded) != expected:
                yield f"the {name} accepts other texts"
            if is_empty(made) and expected:
                yield f"the {name} is not empty"


def _witnesses(
    one: Subject, statement: BooleanExpression, automaton: Dfa, bits: int, texts: Texts, tally: Tally
) -> Iterator[str]:
    """A shortest text for both over all characters, and one over the alphabet, which brute force knows exactly."""
    pair = [one.automaton, automaton]
    shortest = shortest_witness(pair)
    found = {"shortest": shortest, "any": any_witness(pair), "own": shortest_witness([*pair, texts.automaton])}
    for name, witness in found.items():
        if witness is None:
            if bits:
                yield f"{name}: no witness, though there are short ones"
        elif not says(one.statement, witness) or not says(statement, witness):
            yield f"{name}: {witness!r} is no witness"
        elif not _is_printed(witness) and shortest_witness([*pair, PRINTED]) is not None:
            yield f"{name}: {witness!r} does not print, and another text would"
    if (shortest is None) != (found["any"] is None):
        yield "one search finds a text and the other proves that there is none"
    if shortest is not None and bits and len(shortest) > texts.shortest(bits):
        yield f"{shortest!r} is not a shortest witness"
    own = found["own"]
    if own is not None and (len(own) != texts.shortest(bits) if bits else len(own) <= LONGEST):
        yield f"{own!r} is not what brute force finds"
    tally.disjoint += shortest is None
    tally.longer += own is not None and len(own) > LONGEST


def _is_printed(text: str) -> bool:
    return all(" " <= char <= "~" or char in "\t\n" for char in text)


PRINTED = only(CharSet(((0x09, 0x0A), (0x20, 0x7E))))
"""Accepts the texts of printed ASCII characters, tabs and line breaks."""
