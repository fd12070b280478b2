"""Why the tokens of a model cannot spell what rules ask for: which character is missing."""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.models.interface import Vocabulary


def missing_character(automaton: TokenAutomaton, vocabulary: Vocabulary) -> str | None:
    """A character that the rules need and no tokens spell; None where every character alone can be spelled.

    Of all texts that the automaton allows, one with the fewest characters that cannot be spelled is looked at, and its
    first such character is told (as an example of its class, where others would do as well).
    """
    spelled = spelled_classes(automaton, vocabulary)
    valued = automaton.valued
    ends = [np.isfinite(final) for final in valued.final]
    before: dict[int, tuple[int, int]] = {}
    closed: set[int] = set()
    waiting = [(0, 0, valued.start, (-1, -1))]
    pushed = 0
    while waiting:
        cost, _, state, origin = heappop(waiting)
        if state in closed:
            continue
        closed.add(state)
        before[state] = origin
        if ends[state]:
            labels = []
            while before[state][0] >= 0:
                state, label = before[state]
                labels.append(label)
            lost = [label for label in reversed(labels) if not spelled[label]]
            return valued.alphabet.representatives[lost[0]] if lost else None
        for label, target in enumerate(valued.delta[state]):
            if target not in closed:
                pushed += 1
                heappush(waiting, (cost + (not spelled[label]), pushed, target, (state, label)))
    return None


def spelled_classes(automaton: TokenAutomaton, vocabulary: Vocabulary) -> NDArray[np.bool_]:
    """[K] whether some sequence of tokens holds a whole character of a class."""
    utf8 = automaton.utf8
    spelled = np.zeros(automaton.valued.alphabet.size, dtype=np.bool_)
    pieces = {piece for piece, kept in zip(vocabulary.token_bytes, vocabulary.regular, strict=True) if kept and piece}
    inner = [piece for piece in pieces if 0x80 <= piece[0] < 0xC0]
    waiting, seen = [0], {0}
    while waiting:
        state = waiting.pop()
        for piece in inner if state else pieces:
            found = utf8.read(state, piece)
            if found is None:
                continue
            spelled[list(found[1])] = True
            if found[0] not in seen:
                seen.add(found[0])
                waiting.append(found[0])
    return spelled


def has_byte_fallback(vocabulary: Vocabulary) -> bool:
    """Whether every byte of well-formed UTF-8 is a token of its own, so that any text can be spelled."""
    single = {piece for piece in vocabulary.token_bytes if piece is not None and len(piece) == 1}
    return all(bytes([byte]) in single for byte in range(0xF5) if byte not in (0xC0, 0xC1))
