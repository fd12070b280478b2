"""Units that are single characters."""

from __future__ import annotations

from collections.abc import Callable

from bylaw.spec.charset import CharSet
from bylaw.spec.expression import Extent
from bylaw.spec.machine import CountingMachine


def find_each(characters: CharSet) -> Callable[[str], tuple[Extent, ...]]:
    """Finds every character of a set."""

    def find(text: str) -> tuple[Extent, ...]:
        return tuple(Extent(i, i + 1) for i, character in enumerate(text) if character in characters)

    return find


def machine_for_each(characters: CharSet) -> Callable[[], CountingMachine]:
    """Counts every character of a set."""
    return lambda: CountingMachine(classes=(characters,), step=(((0, 1), (0, 0)),), final=(0,))
