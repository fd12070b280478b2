"""The compiled twist as a factor of the proposal: the rewards of its rules and log V̂ of the state behind a token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.runtime.look_ahead.interface import Tokens
from bylaw.runtime.models.interface import FloatArray, IntArray
from bylaw.runtime.twist import StateArray, Twist


@dataclass(frozen=True, eq=False)
class Compiled:
    """The factor of one twist; `end` is the vocabulary's first end token, None where it has none."""

    twist: Twist
    end: int | None

    @property
    def name(self) -> str:
        return "rules"

    def begin(self, prompts: Sequence[Tokens], begun: Sequence[Tokens]) -> CompiledState:
        """Rows at the state that their tokens lead to; the prompt is no part of what the rules see."""
        automaton = self.twist.automaton
        states = np.full(len(begun), automaton.start, dtype=np.int32)
        paid = np.zeros(len(begun))
        for step in range(max(map(len, begun), default=0)):
            rows = np.array([row for row, tokens in enumerate(begun) if len(tokens) > step], dtype=np.int64)
            tokens = np.array([begun[row][step] for row in rows], dtype=np.int32)
            states[rows], reward = automaton.step(states[rows], tokens)
            paid[rows] += reward
        return CompiledState(self.twist, self.end, states, paid)


@dataclass(eq=False)
class CompiledState:
    """See `LookAheadState`. `states` [N]: composite states of the automaton, −1 once a rule is broken for good."""

    twist: Twist
    end: int | None
    states: StateArray
    paid: FloatArray

    def look_ahead(self, left: IntArray) -> FloatArray:
        alive = self.states >= 0
        if len(left) and alive.all() and (left == left[0]).all():  # nearly always
            result = self.twist.look_ahead(self.states, int(left[0]))
        else:
            result = np.full((len(self.states), len(self.twist.automaton.token_bytes)), -np.inf)
            for length in np.unique(left[alive]):
                at = np.flatnonzero((left == length) & alive)
                result[at] = self.twist.look_ahead(self.states[at], int(length))
        if self.end is not None:
            result[:, self.end] = self.final()
        return result

    def value(self, left: IntArray) -> FloatArray:
        values = np.empty(len(self.states))
        for length in np.unique(left):
            at = left == length
            values[at] = self.twist.value(self.states[at], int(length))
        return values

    def final(self) -> FloatArray:
        return self.twist.automaton.final(self.states)

    def advance(self, tokens: IntArray) -> None:
        self.states, reward = self.twist.automaton.step(self.states, tokens.astype(np.int32))
        self.paid = self.paid + reward

    def select(self, indices: IntArray) -> None:
        self.states, self.paid = self.states[indices], self.paid[indices]
