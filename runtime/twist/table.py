"""The twist itself: log V̂ by state and tokens left, as a table at character boundaries and a rule for the insides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.tokens import Block, TokenAutomaton
from bylaw.runtime.models.interface import FloatArray
from bylaw.runtime.twist.inside import Inside

StateArray: TypeAlias = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Proxy:
    """How the base model was summarised: `events` counted at character boundaries from `samples` responses.

    The law of the next token class given the state is smoothed towards the unconditional law with `state_smoothing`
    events; given the state and the stretch of the response, towards the law of the state with `position_smoothing`
    events (inf: positions are not told apart). `bits` is the leave-one-out loss of an event under this choice, in bits.
    """

    samples: int
    events: int
    state_smoothing: float
    position_smoothing: float
    bits: float


@dataclass(frozen=True, eq=False)
class Twist:
    """log V̂ of one automaton for up to `max_tokens` tokens.

    `log_value` [max_tokens + 1, columns], nats: by tokens left and state at a character boundary. The columns are the
    automaton's Q states, then its extra start state if it has one, then a last one of −inf: index −1, the automaton's
    mark for forbidden, lands there. States inside characters are valued by `inside`.

    A response is taken to have `max_tokens − left` tokens behind it where `left` are to go: that is where the summary
    of the model is read. With another cap the estimates are those of a later or earlier place; what can be reached is
    exact with any.
    """

    automaton: TokenAutomaton
    max_tokens: int
    log_value: FloatArray
    inside: Inside
    proxy: Proxy | None = None

    def log_z(self, max_tokens: int | None = None) -> float:
        """log V̂ of the empty response in nats: the Markov estimate of this group's log Z; −inf means infeasible."""
        left = self.max_tokens if max_tokens is None else max_tokens
        return float(self.value(np.array([self.automaton.start], dtype=np.int32), left)[0])

    def value(self, states: StateArray, left: int) -> FloatArray:
        """log V̂ in nats of composite states (−1: forbidden) in an array of any shape, with `left` tokens to go."""
        row = self.log_value[left]
        beyond = states >= self.automaton.size
        if not beyond.any():
            return np.asarray(row[states], dtype=np.float64)
        result: FloatArray = row[np.where(beyond, -1, states)]
        if self.automaton.start >= self.automaton.size:
            begun = states != self.automaton.start
            result[~begun] = row[self.automaton.size]
            beyond &= begun
        result[beyond] = self.inside.of_states(self.log_value, left, states[beyond])
        return result

    def look_ahead(self, states: StateArray, left: int) -> FloatArray:
        """[N, V], nats: reward of each token plus log V̂ of the state behind it with `left` tokens to go.

        `states` [N]: composite states, none forbidden. Forbidden tokens and tokens without bytes have −inf.
        """
        u, rows = self.automaton.split(states)
        if len(u) and (u == u[0]).all():  # nearly always: everyone is at a boundary
            return self._factors(self.automaton.block(int(u[0])), rows, left)
        blocks = np.unique(u)
        result = np.empty((len(states), len(self.automaton.token_bytes)))
        for number in blocks:
            at = u == number
            result[at] = self._factors(self.automaton.block(int(number)), rows[at], left)
        return result

    def _factors(self, block: Block, rows: StateArray, left: int) -> FloatArray:
        by_class = block.reward[rows] + self.value(block.next_state[rows], left)
        return np.take(by_class, block.class_of, axis=1)


def boundary_states(automaton: TokenAutomaton) -> StateArray:
    """The composite states of the value table's columns, in order, but for the last column."""
    return np.unique(np.append(np.arange(automaton.size), automaton.start)).astype(np.int32)
