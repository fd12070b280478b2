"""Factors of the twisted proposal: q(w | h) ∝ p0(w | h) · Π_factors exp(look_ahead(w | h)), nats throughout.

Three kinds. A compiled twist (`compiled`) pays the reward of its rules and adds log V̂ of the state behind each token.
A learned factor (an autoregressive reward model, the implicit reward of a preference-tuned pair, a value head) pays
nothing: it only moves the proposal, and any finite factor leaves the weights exact. A grammar pays −inf for a token
that leaves its language.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bylaw.runtime.models.interface import FloatArray, IntArray

Tokens = tuple[int, ...]


class LookAheadState(Protocol):
    """N beginnings of responses as one factor sees them."""

    @property
    def paid(self) -> FloatArray:
        """[N], nats: the reward of the law that this factor has paid for the tokens so far; 0 for learned factors."""
        ...

    def look_ahead(self, left: IntArray) -> FloatArray:
        """[N, V], nats: reward of each token plus log value of the beginning it makes; −inf forbids it.

        `left` [N]: tokens that may still follow after the next one. The column of the vocabulary's first end token
        holds the end of text (for a learned factor its log factor, for others the reward of ending here). The caller
        owns the array and may overwrite it.
        """
        ...

    def value(self, left: IntArray) -> FloatArray:
        """[N], nats: log value of the beginnings themselves with `left` [N] tokens to go; 0 where nothing is known."""
        ...

    def final(self) -> FloatArray:
        """[N], nats: what ending here pays; −inf where a hard rule is broken, 0 for learned factors."""
        ...

    def advance(self, tokens: IntArray) -> None:
        """Append `tokens` [N] (regular ones)."""
        ...

    def select(self, indices: IntArray) -> None:
        """Make the batch `[old[i] for i in indices]`."""
        ...


class LookAhead(Protocol):
    """One factor of a proposal. Objects are shared between tasks and hold no state of a decoding."""

    @property
    def name(self) -> str:
        """For reports."""
        ...

    def begin(self, prompts: Sequence[Tokens], begun: Sequence[Tokens]) -> LookAheadState:
        """The state of N rows: `prompts` [N] and the tokens of the response so far, `begun` [N]."""
        ...
