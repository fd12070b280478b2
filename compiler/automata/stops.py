"""Stop strings: a response is over where one is complete, and what the reader gets ends before it.

Rules are about the text that is handed out, so an automaton over what the model writes has to hold back characters that
may turn out to be the beginning of a stop string. Its states are pairs of a state of the rules and the longest end of
the text that a stop string begins with (the states of Aho and Corasick 1975).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import AnyStr

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.build import explore
from bylaw.compiler.automata.counts import Valued, minimise
from bylaw.compiler.automata.partition import DEFAULT_LIMIT
from bylaw.spec.charset import CharSet


def cut(text: AnyStr, stops: Sequence[AnyStr]) -> tuple[AnyStr, bool]:
    """(the text before the stop string that is complete first, whether there is one).

    Of several that are complete with the same character the longest counts. Raises ValueError for an empty stop string.
    """
    _check(stops)
    ends = [text.find(stop) + len(stop) for stop in stops if stop in text]
    if not ends:
        return text, False
    end = min(ends)
    return text[: end - max(len(stop) for stop in stops if text.endswith(stop, 0, end))], True


def held_back(text: AnyStr, stops: Sequence[AnyStr]) -> int:
    """How many characters (or bytes) at the end of a text without a stop string may be the beginning of one."""
    _check(stops)
    return max((size for stop in stops for size in range(1, len(stop)) if text.endswith(stop[:size])), default=0)


def _check(stops: Sequence[AnyStr]) -> None:
    if not all(stops):
        raise ValueError("a stop string needs one character at least")


@dataclass(frozen=True)
class _Place:
    """A state of the rules, and the characters (by class) that are held back; None: the response is over."""

    state: int
    held: tuple[int, ...] | None


def until_stop(valued: Valued, stops: Sequence[str], limit: int = DEFAULT_LIMIT) -> Valued:
    """The automaton that gives a text the value of what comes before its first stop string (see `cut`).

    Without stop strings that is the automaton itself. Raises StateLimit past `limit` states, ValueError for an empty
    stop string.
    """
    if not stops:
        return valued
    _check(stops)
    joint, _ = Alphabet.join(
        [
            valued.alphabet,
            Alphabet.of([CharSet.of_ranges([(ord(char), ord(char))]) for char in sorted(set("".join(stops)))]),
        ]
    )
    inner = valued.over(joint)
    words = [tuple(joint.indices(stop)) for stop in stops]
    beginnings = {word[:size] for word in words for size in range(len(word))}

    def read(state: int, labels: Sequence[int]) -> tuple[int, float]:
        paid = 0.0
        for label in labels:
            paid += inner.increments[state][label]
            state = inner.delta[state][label]
        return state, paid

    def move(place: _Place, label: int) -> tuple[_Place, float]:
        if place.held is None:
            return place, 0.0
        text = (*place.held, label)
        found = max((len(word) for word in words if text[-len(word) :] == word), default=0)
        kept = next(size for size in range(len(text), -1, -1) if text[len(text) - size :] in beginnings)
        state, paid = read(place.state, text[: len(text) - (found or kept)])
        return _Place(state, None if found else text[len(text) - kept :]), paid

    order, delta = explore(_Place(inner.start, ()), lambda place, label: move(place, label)[0], joint.size, limit)
    increments = tuple(tuple(move(place, label)[1] for label in range(joint.size)) for place in order)
    final = []
    for place in order:
        state, paid = read(place.state, place.held or ())
        final.append(inner.final[state] + paid)
    return minimise(Valued(joint, delta, 0, increments, tuple(final)))
