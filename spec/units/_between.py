"""Units that stand between an opening and a closing mark on one line."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bylaw.spec.charset import NEWLINE, CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine


def find_between(pairs: Mapping[str, str]) -> Callable[[str], tuple[Extent, ...]]:
    """Finds what stands between marks (`pairs` maps an opening mark to its closing one), marks included.

    While a mark is open, other marks are ordinary characters; the same opening mark opens anew, where it is not the
    closing one too. A line break ends it, and nothing between the marks is no unit.
    """

    def find(text: str) -> tuple[Extent, ...]:
        found: list[Extent] = []
        opening, start = "", 0
        for place, character in enumerate(text):
            if opening and character == pairs[opening] and place > start + 1:
                found.append(Extent(start, place + 1))
                opening = ""
            elif character == "\n" or (opening and character == pairs[opening] != opening):
                opening = ""
            elif character in pairs if not opening else character == opening:
                opening, start = character, place
        return tuple(found)

    return find


def machine_between(pairs: Mapping[str, str]) -> Callable[[], CountingMachine]:
    """Counts what `find_between` finds. Outside is state 0; each pair has a state after its mark and one inside."""

    def machine() -> CountingMachine:
        openings = tuple(pairs)
        marks = tuple(dict.fromkeys([*pairs, *pairs.values()]))
        after = {mark: 1 + 2 * number for number, mark in enumerate(openings)}
        rows = [((0, 0), *((after.get(mark, 0), 0) for mark in marks), (0, 0))]
        for opening in openings:
            for is_inside in (False, True):
                cells = [(0, 0)]
                for mark in marks:
                    if mark == pairs[opening] and (is_inside or mark != opening):
                        cells.append((0, int(is_inside)))
                    else:
                        cells.append((after[opening] + (mark != opening), 0))
                rows.append((*cells, (after[opening] + 1, 0)))
        return CountingMachine((NEWLINE, *map(CharSet.of, marks)), tuple(rows), (0,) * len(rows))

    return machine
