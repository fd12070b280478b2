"""Counting machines: deterministic transducers that read a text once and count something in it.

Whatever a policy can count (words, sentences, bullets, occurrences of a phrase) is one of these, so that the plain
check of a text and the automata of the analyses and of the decoder share one definition.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from bylaw.spec.charset import CharSet


@dataclass(frozen=True)
class CountingMachine:
    """Reads characters from state 0 and adds up increments.

    `classes` are disjoint character sets; every other character is in the implicit last class, number len(classes).
    `step[state][class]` is (next state, increment >= 0); `final[state]` >= 0 is added at the end of the text.
    Raises ValueError when the tables do not fit each other or a class overlaps another.
    """

    classes: tuple[CharSet, ...]
    step: tuple[tuple[tuple[int, int], ...], ...]
    final: tuple[int, ...]

    def __post_init__(self) -> None:
        states = len(self.step)
        if not states or len(self.final) != states or any(len(row) != len(self.classes) + 1 for row in self.step):
            raise ValueError("a counting machine needs one row per state and one column per class, plus the last class")
        if any(not 0 <= target < states or increment < 0 for row in self.step for target, increment in row):
            raise ValueError("a counting machine steps to its own states and never counts backwards")
        if any(extra < 0 for extra in self.final):
            raise ValueError("a counting machine never counts backwards")
        if len(CharSet(()).union(*self.classes)) != sum(map(len, self.classes)):
            raise ValueError("the classes of a counting machine overlap")

    @cached_property
    def _segments(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """(class of each ASCII character, first code points of the stretches, class of each stretch)."""
        other = len(self.classes)
        owned = sorted(
            (first, last, number) for number, charset in enumerate(self.classes) for first, last in charset.ranges
        )
        starts, labels = [0], [other]
        for first, last, number in owned:
            starts += [first, last + 1]
            labels += [number, other]
        ascii_labels = tuple(labels[bisect_right(starts, point) - 1] for point in range(128))
        return ascii_labels, tuple(starts), tuple(labels)

    def class_of(self, char: str) -> int:
        """The number of the class that holds `char`."""
        ascii_labels, starts, labels = self._segments
        point = ord(char)
        return ascii_labels[point] if point < 128 else labels[bisect_right(starts, point) - 1]

    def count(self, text: str) -> int:
        """The count for a text, in one pass."""
        ascii_labels, starts, labels = self._segments
        state, total = 0, 0
        for point in map(ord, text):
            label = ascii_labels[point] if point < 128 else labels[bisect_right(starts, point) - 1]
            state, increment = self.step[state][label]
            total += increment
        return total + self.final[state]


def minimal(machine: CountingMachine) -> CountingMachine:
    """The smallest machine with the same counts: what is certain is counted at once, states and classes that nothing
    tells apart become one.

    Weight pushing and Moore's partition refinement; a few milliseconds for the hundred states it is meant for. Raises
    ValueError when every text counts at least one, since the start would have to pay for that.
    """
    step, final = _pushed(machine)
    blocks = [0] * len(step)
    while True:
        keys = [(final[state], tuple((blocks[to], add) for to, add in row)) for state, row in enumerate(step)]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        refined = [numbers[key] for key in keys]
        if len(numbers) == len(set(blocks)):
            break
        blocks = refined
    standing = {block: state for state, block in reversed(tuple(enumerate(blocks)))}
    rows = {block: tuple((blocks[target], add) for target, add in step[state]) for block, state in standing.items()}
    # states are numbered as the classes that are left lead to them, or the same machine could be written in two ways
    classes, rows = _with_fewest_classes(machine.classes, {block: rows[block] for block in _reached(rows, blocks[0])})
    places = {block: place for place, block in enumerate(_reached(rows, blocks[0]))}
    numbered = tuple(tuple((places[target], add) for target, add in rows[block]) for block in places)
    return CountingMachine(classes, numbered, tuple(final[standing[block]] for block in places))


_Rows: TypeAlias = dict[int, tuple[tuple[int, int], ...]]


def _reached(rows: _Rows, start: int) -> list[int]:
    """The states that some text leads to, in the order of the classes."""
    order = dict.fromkeys([start])
    for state in (waiting := [start]):
        for target, _ in rows[state]:
            if target not in order:
                order[target] = None
                waiting.append(target)
    return list(order)


def _pushed(machine: CountingMachine) -> tuple[list[list[tuple[int, int]]], list[int]]:
    """(steps, finals) with every count paid at the first character after which no text can avoid it."""
    due = list(machine.final)
    changed = True
    while changed:
        lower = [min(due[state], *(add + due[target] for target, add in row)) for state, row in enumerate(machine.step)]
        changed = lower != due
        due = lower
    if due[0]:
        raise ValueError("a counting machine that counts something in the empty text has no smallest form")
    step = [[(target, add + due[target] - due[state]) for target, add in row] for state, row in enumerate(machine.step)]
    return step, [last - due[state] for state, last in enumerate(machine.final)]


def _with_fewest_classes(classes: tuple[CharSet, ...], rows: _Rows) -> tuple[tuple[CharSet, ...], _Rows]:
    columns = list(zip(*rows.values(), strict=True))
    members: dict[tuple[tuple[int, int], ...], list[CharSet]] = {}
    for column, charset in zip(columns[:-1], classes, strict=True):
        if column != columns[-1]:
            members.setdefault(column, []).append(charset)
    kept = zip(*(*members, columns[-1]), strict=True)
    merged = tuple(CharSet(()).union(*charsets) for charsets in members.values())
    return merged, dict(zip(rows, kept, strict=True))
