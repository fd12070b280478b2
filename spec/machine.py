"""Counting machines: deterministic transducers that read a text once and count something in it.

Whatever a policy can count (words, sentences, bullets, occurrences of a phrase) is one of these, so that the plain
check of a text and the automata of the analyses and of the decoder share one definition.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property

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
