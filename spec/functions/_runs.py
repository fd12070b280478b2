"""Runs of words that occur elsewhere: a suffix automaton over words (Blumer and others, 1985), linear in the words."""

from __future__ import annotations

from collections.abc import Sequence


class SuffixAutomaton:
    """All runs of neighbouring words of a text.

    `following[state]` maps a word to the next state, `link` leads to the longest shorter run of another kind, `length`
    is the longest run of a state. State 0 is the empty run.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self.following: list[dict[str, int]] = [{}]
        self.link = [-1]
        self.length = [0]
        last = 0
        for word in words:
            last = self._add(last, word)

    def _new(self, length: int, link: int, following: dict[str, int]) -> int:
        self.following.append(following)
        self.link.append(link)
        self.length.append(length)
        return len(self.length) - 1

    def _add(self, last: int, word: str) -> int:
        new = self._new(self.length[last] + 1, 0, {})
        state = last
        while state >= 0 and word not in self.following[state]:
            self.following[state][word] = new
            state = self.link[state]
        if state >= 0:
            self.link[new] = self._target(state, word)
        return new

    def _target(self, state: int, word: str) -> int:
        """The state of the runs of `state` with `word` behind them, split off where the known one has longer runs."""
        known = self.following[state][word]
        if self.length[known] == self.length[state] + 1:
            return known
        copy = self._new(self.length[state] + 1, self.link[known], dict(self.following[known]))
        self.link[known] = copy
        while state >= 0 and self.following[state].get(word) == known:
            self.following[state][word] = copy
            state = self.link[state]
        return copy

    def longest_shared(self, words: Sequence[str]) -> int:
        """The length of the longest run of `words` that is a run of the text too."""
        longest = state = run = 0
        for word in words:
            while state and word not in self.following[state]:
                state = self.link[state]
                run = self.length[state]
            if word in self.following[state]:
                state, run = self.following[state][word], run + 1
            longest = max(longest, run)
        return longest

    def longest_repeated(self) -> int:
        """The length of the longest run that occurs at least twice; the occurrences may overlap."""
        # A state that others link to holds at the place of each of them, besides its own.
        return max((self.length[link] for link in self.link[1:]), default=0)
