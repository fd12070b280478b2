"""The token-level part of one law along beginnings of responses, for loops that are not ours.

Such loops drop, repeat and reorder their rows, so nothing here is bound to a row: states belong to beginnings. The
states of the last step are remembered, which makes a step cost one transition; what is not remembered is walked again
from the start.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from bylaw.runtime.decoders.engine import finish
from bylaw.runtime.decoders.interface import DecodeError, DecodeTask, RegulatedSample
from bylaw.runtime.look_ahead.compiled import Compiled, CompiledState
from bylaw.runtime.models.interface import FloatArray, IntArray, Vocabulary
from bylaw.runtime.twist import StateArray

Tokens = tuple[int, ...]
Mode = Literal["twist", "mask"]
"""`twist`: rewards and look-ahead; `mask`: only what no legal response goes on with is removed (biased)."""


class PrefixLaw:
    """The compiled rules of `task` over tokens, for responses of at most `max_tokens` tokens.

    Raises DecodeError for a task that does not fit the vocabulary or the length, and for one that looks ahead with
    learned factors: these need a session of their own, which a foreign loop does not have.
    """

    def __init__(self, task: DecodeTask, vocabulary: Vocabulary, max_tokens: int, mode: Mode = "twist") -> None:
        if mode not in ("twist", "mask"):
            raise DecodeError(f"a token law is `twist` or `mask`, not `{mode}`")
        if max_tokens < 1:
            raise DecodeError("a response needs room for one token at least")
        if task.look_ahead:
            names = ", ".join(f"`{factor.name}`" for factor in task.look_ahead)
            raise DecodeError(
                f"this loop carries compiled rules only, and the task looks ahead with {names}: decode it with "
                "`LawGeneration` or `bylaw generate`"
            )
        if len(vocabulary.stops):
            raise DecodeError("stop strings are not possible in this loop: leave them out, or use `bylaw generate`")
        for twist in task.twists:
            if twist.automaton.token_bytes != vocabulary.token_bytes:
                raise DecodeError("the rules were compiled for another vocabulary than that of this model")
            if twist.max_tokens < max_tokens:
                raise DecodeError(
                    f"the rules look {twist.max_tokens} tokens ahead, and responses may have {max_tokens}"
                )
            if twist.log_z(max_tokens) == -np.inf:
                raise DecodeError(f"no response of at most {max_tokens} tokens can keep the rules")
        self.task, self.vocabulary, self.max_tokens, self.mode = task, vocabulary, max_tokens, mode
        self._end = int(vocabulary.end_ids[0]) if len(vocabulary.end_ids) else None
        self._compiled = [Compiled(twist, self._end) for twist in task.twists]
        self._known: dict[Tokens, tuple[int, ...]] = {}
        possible = vocabulary.regular.copy()
        possible[vocabulary.end_ids] = True
        self._impossible = ~possible

    def log_factors(self, beginnings: Sequence[Tokens]) -> FloatArray:
        """[n, V] nats: what multiplies into the model's law behind each beginning, shorter than `max_tokens` each.

        Every end-of-text token has the factor of the end; −inf for tokens that no response can hold. Raises DecodeError
        for beginnings that are too long or hold special tokens.
        """
        for tokens in beginnings:
            if len(tokens) >= self.max_tokens:
                raise DecodeError(f"a response goes beyond the {self.max_tokens} tokens that it may have")
        left = np.array([self.max_tokens - len(tokens) - 1 for tokens in beginnings], dtype=np.int64)
        total = np.zeros((len(beginnings), len(self.vocabulary)))
        for part in self._states(beginnings):
            total += part.look_ahead(left)
        if self.mode == "mask":
            total = np.where(np.isfinite(total), 0.0, -np.inf)
        if self._end is not None:
            total[:, self.vocabulary.end_ids] = total[:, [self._end]]
        total[:, self._impossible] = -np.inf
        return total

    def finished(self, tokens: Tokens, log_p0: float, log_q: float) -> RegulatedSample | None:
        """A whole response with its weight; None where its bytes are no text. Raises DecodeError."""
        states = [compiled.begin([()], [tokens]) for compiled in self._compiled]
        reward = sum(float(state.paid[0] + state.final()[0]) for state in states)
        return finish(self.vocabulary, self.task.law, tokens, log_p0, log_q, reward)

    def _states(self, beginnings: Sequence[Tokens]) -> list[CompiledState]:
        """One state array for each twist, and remembers them. `paid` is not kept."""
        distinct = list(dict.fromkeys(beginnings))
        for tokens in distinct:
            if not self.vocabulary.regular[list(tokens[-1:])].all():
                raise DecodeError("a response holds a special token, which no response can")
        near = [tokens for tokens in distinct if tokens and tokens[:-1] in self._known]
        far = [tokens for tokens in distinct if not (tokens and tokens[:-1] in self._known)]
        columns: list[StateArray] = []
        for number, compiled in enumerate(self._compiled):
            before = np.array([self._known[tokens[:-1]][number] for tokens in near], dtype=np.int32)
            last = np.array([tokens[-1] for tokens in near], dtype=np.int32)
            stepped = compiled.twist.automaton.step(before, last)[0] if near else before
            walked = compiled.begin([()] * len(far), far).states
            columns.append(np.concatenate([stepped, walked]).astype(np.int32))
        order = {tokens: place for place, tokens in enumerate((*near, *far))}
        self._known = {tokens: tuple(int(c[place]) for c in columns) for tokens, place in order.items()}
        at: IntArray = np.array([order[tokens] for tokens in beginnings], dtype=np.int64)
        nothing = np.zeros(len(at))
        pairs = zip(self._compiled, columns, strict=True)
        return [CompiledState(compiled.twist, self._end, column[at], nothing) for compiled, column in pairs]


def split_response(tokens: Sequence[int], vocabulary: Vocabulary) -> tuple[Tokens, bool]:
    """(the tokens before the first end of text, whether there is one)."""
    for place, token in enumerate(tokens):
        if token in vocabulary.eos_ids:
            return tuple(tokens[:place]), True
    return tuple(tokens), False
