"""Thompson automata of patterns, with assertions resolved once the characters on both sides are known.

A set of NFA states is an int used as a bit set. Only states that read a character, assertions and the one final state
have a bit; the empty moves between them are closed over in advance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.spec.charset import ASCII_WORD, NEWLINE, CharSet, word_characters
from bylaw.spec.pattern import Alternate, Assertion, Chars, Concat, Empty, Kind, Node, Repeat

# What an assertion can ask about the character on one side of it, as bits of a small int: the edge of the text (there
# is no character), a line break, a word character of ASCII, a word character of any script.
EDGE: Final = 1
_LINE: Final = 2
_WORD: Final = 4
_ANY_WORD: Final = 8

_ASKS: Final[dict[Kind, int]] = {
    "text_start": EDGE,
    "text_end": EDGE,
    "line_start": EDGE | _LINE,
    "line_end": EDGE | _LINE,
    "word_boundary": _WORD,
    "not_word_boundary": _WORD,
    "unicode_word_edge": _ANY_WORD,
}


def holds(kind: Kind, before: int, after: int) -> bool:
    """Whether an assertion holds between two sides, each given as the bits described above."""
    match kind:
        case "text_start" | "line_start":
            return bool(before & _ASKS[kind])
        case "text_end" | "line_end":
            return bool(after & _ASKS[kind])
        case "word_boundary":
            return bool((before ^ after) & _WORD)
        case "not_word_boundary":
            return not (before ^ after) & _WORD
        case "unicode_word_edge":
            return not before & after & _ANY_WORD


def assertions_of(node: Node) -> frozenset[Kind]:
    """The kinds of assertion in a tree."""
    match node:
        case Assertion(kind):
            return frozenset({kind})
        case Concat(items) | Alternate(items):
            return frozenset().union(*map(assertions_of, items))
        case Repeat(item):
            return assertions_of(item)
        case _:
            return frozenset()


def charsets_of(node: Node) -> tuple[CharSet, ...]:
    """The sets of characters an alphabet must tell apart for the pattern, those its assertions ask about included."""
    asked = 0
    for kind in assertions_of(node):
        asked |= _ASKS[kind]
    sets = dict.fromkeys(_charsets(node))
    sets.update(dict.fromkeys(charset() for bit, charset in _SIDES if bit & asked))
    return tuple(sets)


_SIDES: Final[tuple[tuple[int, Callable[[], CharSet]], ...]] = (
    (_LINE, lambda: NEWLINE),
    (_WORD, lambda: ASCII_WORD),
    (_ANY_WORD, word_characters),
)


def _charsets(node: Node) -> Iterator[CharSet]:
    match node:
        case Chars(charset):
            yield charset
        case Concat(items) | Alternate(items):
            for item in items:
                yield from _charsets(item)
        case Repeat(item):
            yield from _charsets(item)


@lru_cache(maxsize=256)
def pattern_alphabet(node: Node) -> Alphabet:
    """The coarsest alphabet for a pattern."""
    return Alphabet.of(charsets_of(node))


@dataclass(frozen=True)
class Nfa:
    """A pattern as bit sets over its important states.

    `entry` is the set to begin with and `final` the bit of the final state. `readers[class]` are the states that read a
    character of the class; reading takes state i to i-1 if its bit is in `shifting`, and to `extra[group_of[i]]`
    besides, where `groups[g]` is the set of states of group g. `assertions` maps an assertion's number to its kind and
    what follows. `sides[class]` holds the bits that the assertions of this pattern ask about a character of the class.

    `chains` are sets of states, one in each copy of what a repeat repeats, each of which accepts all that the others
    below it accept (True), or above it: so few characters may be left as well (`a{0,9}`), or so many have been read
    (`a{9,}`). Without the others, `x.{0,40}y` needs 40 states and not 2 to the 40.
    """

    alphabet: Alphabet
    entry: int
    final: int
    readers: tuple[int, ...]
    shifting: int
    group_of: dict[int, int]
    groups: tuple[int, ...]
    extra: tuple[int, ...]
    assertions: dict[int, tuple[Kind, int]]
    sides: tuple[int, ...]
    chains: tuple[tuple[int, bool], ...]

    @cached_property
    def _passed(self) -> dict[tuple[int, int, int], int]:
        return {}

    @cached_property
    def asserting(self) -> int:
        """The set of all assertions."""
        return sum(1 << number for number in self.assertions)

    @cached_property
    def extended(self) -> int:
        """The set of states in any group."""
        return sum(self.groups)

    def settle(self, states: int, before: int, after: int) -> int:
        """The set with every assertion that holds here passed and all assertions dropped."""
        asking = states & self.asserting
        if not asking:
            return states
        key = asking, before, after
        if key not in self._passed:
            self._passed[key] = self._pass(*key)
        return (states | self._passed[key]) & ~self.asserting

    def _pass(self, asking: int, before: int, after: int) -> int:
        """What follows those of the given assertions that hold here, and those that hold among what follows."""
        kinds = {kind: holds(kind, before, after) for kind, _ in self.assertions.values()}
        states = passed = 0
        while asking:
            low = asking & -asking
            passed |= low
            kind, following = self.assertions[low.bit_length() - 1]
            if kinds[kind]:
                states |= following
            asking = (asking | states & self.asserting) & ~passed
        return states

    def read(self, states: int, label: int) -> int:
        """The set after reading a character of class `label` from a settled set."""
        return self.moved(states & self.readers[label])

    def moved(self, reading: int) -> int:
        """The set after all of these states, and no others, have read a character."""
        reached = (reading & self.shifting) >> 1
        rest = reading & self.extended
        while rest:
            group = self.group_of[(rest & -rest).bit_length() - 1]
            reached |= self.extra[group]
            rest &= ~self.groups[group]
        return reached

    def without_dominated(self, states: int) -> int:
        """The set without states that accept nothing which another state of the set does not accept as well."""
        for chain, highest in self.chains:
            some = states & chain
            if some & (some - 1):
                states ^= some
                states |= 1 << (some.bit_length() - 1) if highest else some & -some
        return states

    def relevant(self, states: int, side: int) -> int:
        """`side`, or 0 when no assertion in `states` will ask about it."""
        return side if states & self.asserting else 0


class _Builder:
    """Builds the states of a tree from its end to its start, so that a chain of characters has descending numbers."""

    def __init__(self, alphabet: Alphabet) -> None:
        self.alphabet = alphabet
        self.empty: dict[int, list[int]] = {}
        self.reading: dict[int, tuple[CharSet, int]] = {}
        self.asserting: dict[int, tuple[Kind, int]] = {}
        self.copies: list[tuple[list[range], bool]] = []
        self.final = self.fresh()

    def fresh(self) -> int:
        number = len(self.empty)
        self.empty[number] = []
        return number

    def build(self, node: Node, following: int) -> int:
        """The state from which `node` and then whatever starts at `following` is read."""
        match node:
            case Chars(charset):
                state = self.fresh()
                self.reading[state] = (charset, following)
                return state
            case Empty():
                return following
            case Concat(items):
                for item in reversed(items):
                    following = self.build(item, following)
                return following
            case Alternate(items):
                branches = [self.build(item, following) for item in items]
                return self.fork(branches)
            case Repeat(item, least, most):
                return self.repeat(item, least, most, following)
            case Assertion(kind):
                state = self.fresh()
                self.asserting[state] = (kind, following)
                return state

    def fork(self, branches: list[int]) -> int:
        state = self.fresh()
        self.empty[state] = branches
        return state

    def repeat(self, item: Node, least: int, most: int | None, following: int) -> int:
        entry = following
        copies: list[range] = []

        def copy(after: int) -> int:
            first = len(self.empty)
            state = self.build(item, after)
            copies.append(range(first, len(self.empty)))
            return state

        if most is None:
            entry = self.fresh()
            self.empty[entry] = [copy(entry), following]
        else:
            for _ in range(most - least):
                entry = self.fork([copy(entry), following])
            self.copies.append((copies, True))
            copies = []
        for _ in range(least):
            entry = copy(entry)
        if most is None:
            self.copies.append((copies, False))
        return entry

    def chains(self, numbers: dict[int, int]) -> Iterator[tuple[int, bool]]:
        """What `Nfa.chains` says, given the numbers of the states that matter."""
        for copies, highest in self.copies:
            for states in zip(*copies, strict=True):
                if len(states) > 1 and states[0] in numbers:
                    yield sum(1 << numbers[state] for state in states), highest

    def finish(self, entry: int) -> Nfa:
        """The finished automaton. Important states are renumbered without the purely empty ones."""
        important = sorted({self.final, *self.reading, *self.asserting})
        numbers = {state: number for number, state in enumerate(important)}
        closures: dict[int, int] = {}

        def closure(state: int) -> int:
            if state not in closures:
                seen, stack, bits = {state}, [state], 0
                while stack:
                    reached = stack.pop()
                    if reached in numbers:
                        bits |= 1 << numbers[reached]
                    for target in self.empty[reached]:
                        if target not in seen:
                            seen.add(target)
                            stack.append(target)
                closures[state] = bits
            return closures[state]

        readers = [0] * self.alphabet.size
        members: dict[CharSet, int] = {}
        shifting = 0
        grouped: dict[int, int] = {}
        for state, (charset, following) in self.reading.items():
            number = numbers[state]
            members[charset] = members.get(charset, 0) | 1 << number
            reached = closure(following)
            below = 1 << (number - 1)
            if reached & below:
                shifting |= 1 << number
            if reached & ~below:
                grouped[reached & ~below] = grouped.get(reached & ~below, 0) | 1 << number
        for charset, bits in members.items():
            for label in self.alphabet.classes_in(charset):
                readers[label] |= bits
        groups = tuple(grouped.values())
        return Nfa(
            alphabet=self.alphabet,
            entry=closure(entry),
            final=1 << numbers[self.final],
            readers=tuple(readers),
            shifting=shifting,
            group_of={number: group for group, bits in enumerate(groups) for number in bit_numbers(bits)},
            groups=groups,
            extra=tuple(grouped),
            assertions={numbers[state]: (kind, closure(after)) for state, (kind, after) in self.asserting.items()},
            sides=self.sides(),
            chains=tuple(self.chains(numbers)),
        )

    def sides(self) -> tuple[int, ...]:
        asked = 0
        for kind, _ in self.asserting.values():
            asked |= _ASKS[kind]
        sides = [0] * self.alphabet.size
        for bit, charset in _SIDES:
            if bit & asked:
                for label in self.alphabet.classes_in(charset()):
                    sides[label] |= bit
        return tuple(sides)


def bit_numbers(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low


def nfa_of(node: Node) -> Nfa:
    """The automaton of a pattern over its own coarsest alphabet."""
    builder = _Builder(pattern_alphabet(node))
    return builder.finish(builder.build(node, builder.final))
