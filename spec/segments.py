"""Segments of a text (UAX #29): rules as a transducer that reads the text once, whatever lies ahead.

The rules of the standard look ahead (`3.5` is one word because a digit follows the point). Here a boundary that is not
certain yet is held, and confirmed or dropped later. One transducer gives both the extents of the segments and the
machine that counts them, so the two cannot differ.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final

from bylaw.spec.charset import ALL, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine, minimal
from bylaw.spec.unicode_tables import SEGMENTS_FILE, charset_of, load

OTHER: Final = "Other"

CONFIRM: Final = 1
DROP: Final = 2
BREAK: Final = 4
HOLD: Final = 8
"""What a character does to the boundaries: the one that is held is confirmed or dropped; before the character there is
a boundary, or one to be held. None of the last two: there is no boundary before it."""

Step = Callable[[Any, str], tuple[Hashable, int]]


def classes(name: str) -> Mapping[str, CharSet]:
    """The classes that the rules for `words` or `sentences` tell apart; all other characters are `Other`."""
    return MappingProxyType({key: charset_of(ranges) for key, ranges in load(SEGMENTS_FILE)[name].items()})


@dataclass(frozen=True)
class Segmenter:
    """The rules for one kind of segment.

    `step(state, class)` reads one character from a state, `start` before the first one, and gives the next state and
    what that does to the boundaries. The ends of the text are boundaries; one that is held there is confirmed. Only
    segments with a character of a class in `counted` are found.
    """

    classes: Mapping[str, CharSet]
    start: Hashable
    step: Step
    counted: frozenset[str]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The classes by number."""
        return (*self.classes, OTHER)

    @cached_property
    def _table(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """(next state, effect) by state and class, the start being state 0."""
        numbers = {self.start: 0}
        order, table = [self.start], []
        for state in order:
            row = []
            for name in self.names:
                target, effect = self.step(state, name)
                if target not in numbers:
                    numbers[target] = len(order)
                    order.append(target)
                row.append((numbers[target], effect))
            table.append(tuple(row))
        return tuple(table)

    @cached_property
    def _stretches(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """(class of each ASCII character, first code points of the stretches, class of each stretch)."""
        owned = sorted((pair, number) for number, name in enumerate(self.classes) for pair in self.classes[name].ranges)
        starts, labels = [0], [len(self.classes)]
        for (first, last), number in owned:
            starts += [first, last + 1]
            labels += [number, len(self.classes)]
        return tuple(labels[bisect_right(starts, point) - 1] for point in range(128)), tuple(starts), tuple(labels)

    def find(self, text: str) -> tuple[Extent, ...]:
        """The segments of a text, in time linear in its length."""
        table, (ascii_labels, starts, labels) = self._table, self._stretches
        counting = [name in self.counted for name in self.names]
        found: list[Extent] = []
        # The segment that is open, the boundary that is held in it, and whether there is something to count in the
        # segment and behind the held boundary.
        state, begin, held, seen, seen_behind = 0, 0, -1, False, False
        for place, point in enumerate(map(ord, text)):
            label = ascii_labels[point] if point < 128 else labels[bisect_right(starts, point) - 1]
            state, effect = table[state][label]
            if effect & CONFIRM:
                if seen:
                    found.append(Extent(begin, held))
                begin, held, seen = held, -1, seen_behind
            elif effect & DROP:
                held, seen = -1, seen or seen_behind
            if effect & BREAK:
                if seen:
                    found.append(Extent(begin, place))
                begin, seen = place, False
            elif effect & HOLD:
                held, seen_behind = place, False
            if counting[label]:
                if held < 0:
                    seen = True
                else:
                    seen_behind = True
        if held >= 0:
            if seen:
                found.append(Extent(begin, held))
            begin, seen = held, seen_behind
        if seen:
            found.append(Extent(begin, len(text)))
        return tuple(found)

    def machine(self, spoilt_by: CharSet | None = None, made_by: CharSet | None = None) -> CountingMachine:
        """The smallest machine that counts the segments that `find` finds.

        With `made_by`, it counts those that have one of these characters and none of `spoilt_by`.
        """
        refined = [
            (number, part, level)
            for number, name in enumerate(self.names)
            for part, level in _levels(self._members(name), name in self.counted, made_by, spoilt_by)
        ]
        start = (0, 0, -1)
        numbers, order, step = {start: 0}, [start], []
        for state, level, behind in order:
            row = []
            for number, _, own in refined:
                target, effect = self._table[state][number]
                levels, count = _counted(level, behind, effect, own)
                place = (target, *levels)
                if place not in numbers:
                    numbers[place] = len(order)
                    order.append(place)
                row.append((numbers[place], count))
            step.append(tuple(row))
        final = tuple(int(level == 1) + int(behind == 1) for _, level, behind in order)
        # The class with most ranges becomes the implicit last one.
        columns = sorted(range(len(refined)), key=lambda column: len(refined[column][1].ranges))
        return minimal(
            CountingMachine(
                classes=tuple(refined[column][1] for column in columns[:-1]),
                step=tuple(tuple(row[column] for column in columns) for row in step),
                final=final,
            )
        )

    def _members(self, name: str) -> CharSet:
        return self.classes[name] if name != OTHER else ALL.difference(CharSet(()).union(*self.classes.values()))


def _levels(
    members: CharSet, is_counted: bool, made_by: CharSet | None, spoilt_by: CharSet | None
) -> list[tuple[CharSet, int]]:
    """The parts of a class: 0 says nothing about a segment, 1 makes it count, 2 spoils it."""
    if made_by is None:
        return [(members, int(is_counted))]
    spoilt = spoilt_by or CharSet(())
    parts = (members.difference(made_by.union(spoilt)), members.intersection(made_by), members.intersection(spoilt))
    return [(part, level) for level, part in enumerate(parts) if part]


def _counted(level: int, behind: int, effect: int, own: int) -> tuple[tuple[int, int], int]:
    """((level of the open segment, level behind the held boundary or -1), segments that ended and count).

    A level is the highest of the characters of a segment; a segment counts if it is 1.
    """
    count = 0
    if effect & CONFIRM:
        count += level == 1
        level, behind = behind, -1
    elif effect & DROP:
        level, behind = max(level, behind), -1
    if effect & BREAK:
        count += level == 1
        level = 0
    elif effect & HOLD:
        behind = 0
    return (max(level, own), behind) if behind < 0 else (level, max(behind, own)), int(count)
