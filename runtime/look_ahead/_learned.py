"""What learned factors share: token-level scores Σ_m c_m · log p_m(w | prompt, h) of language models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.runtime.look_ahead.interface import Tokens
from bylaw.runtime.models.interface import (
    FloatArray,
    IntArray,
    LanguageModel,
    ModelError,
    Session,
    Vocabulary,
    collapse_end,
)

FLOOR = 60.0
"""Nats. A factor that pays no reward stays within e^±60 for a token: so it forbids nothing, and weights are exact."""


def check_vocabulary(model: LanguageModel, base: Vocabulary, what: str) -> None:
    """Raises ModelError unless a model has the tokens of `base`; unused ids at the end may be more or fewer."""
    mine, theirs = model.vocabulary, base
    common = min(len(mine), len(theirs))
    for token in range(max(len(mine), len(theirs))):
        left = mine.token_bytes[token] if token < len(mine) else None
        right = theirs.token_bytes[token] if token < len(theirs) else None
        if left != right:
            raise ModelError(
                f"{what} `{model.name}` has another vocabulary than the model that writes: token {token} is {left!r} "
                f"there and {right!r} here; both must come with the same tokenizer"
            )
    if mine.eos_ids != theirs.eos_ids or any(token >= common for token in mine.eos_ids):
        raise ModelError(
            f"{what} `{model.name}` ends a text by the tokens {sorted(mine.eos_ids)}, the model that writes by "
            f"{sorted(theirs.eos_ids)}; both must come with the same tokenizer"
        )


@dataclass(frozen=True, eq=False)
class Term:
    """One model with its coefficient."""

    model: LanguageModel
    coefficient: float


class Scores:
    """N beginnings as the models of `terms` see them; evaluated only where a law is asked for.

    `tokens`: those of each response so far. `total` [N]: nats, Σ of their scores. With `soft` the score of each
    token is held within ±60.
    """

    def __init__(
        self,
        terms: Sequence[Term],
        vocabulary: Vocabulary,
        prompts: Sequence[Tokens],
        begun: Sequence[Tokens],
        soft: bool,
    ) -> None:
        self._terms = terms
        self._vocabulary = vocabulary
        self._soft = soft
        self.total = np.zeros(len(prompts))
        self.tokens = list(begun)
        self._row: FloatArray | None = None
        self._pending: IntArray | None = None
        self._sessions: list[Session] | None = None
        if any(begun):
            self.total = self._told(prompts, begun)
        self._starts = [prompt + tokens for prompt, tokens in zip(prompts, begun, strict=True)]

    def row(self) -> FloatArray:
        """[N, V]: the score of each next token, the end of text in the column of the first end token; do not change."""
        if self._row is None:
            if self._sessions is None:
                self._sessions = [term.model.session(self._starts) for term in self._terms]
            elif self._pending is not None:
                for session in self._sessions:
                    session.advance(self._pending)
            self._pending = None
            self._row = self._scores(self._sessions)
        return self._row

    def advance(self, tokens: IntArray) -> None:
        """Append `tokens` [N]."""
        self.total = self.total + self.row()[np.arange(len(tokens)), tokens]
        self.tokens = [(*row, int(token)) for row, token in zip(self.tokens, tokens, strict=True)]
        self._row, self._pending = None, tokens.copy()

    def select(self, indices: IntArray) -> None:
        """Make the batch `[old[i] for i in indices]`."""
        self.total, self.tokens = self.total[indices], [self.tokens[int(at)] for at in indices]
        if self._sessions is None:
            self._starts = [self._starts[int(at)] for at in indices]
        else:
            for session in self._sessions:
                session.select(indices)
        if self._row is not None:
            self._row = self._row[indices]
        if self._pending is not None:
            self._pending = self._pending[indices]

    def _scores(self, sessions: Sequence[Session]) -> FloatArray:
        size = len(self._vocabulary)
        total: FloatArray | None = None
        for term, session in zip(self._terms, sessions, strict=True):
            law = session.log_probs()
            if np.isnan(law).any():
                raise ModelError(f"`{term.model.name}` gives no probabilities (its logits are not numbers)")
            collapse_end(law, term.model.vocabulary)
            fitted = np.full((len(law), size), -np.inf)
            fitted[:, : law.shape[1]] = law[:, :size]
            # 0·log 0 is 0: what has no coefficient says nothing
            part = fitted * term.coefficient if term.coefficient else np.zeros_like(fitted)
            if total is None:
                total = part
            else:
                with np.errstate(invalid="ignore"):
                    total = total + part
        assert total is not None
        if not self._soft:
            return total
        # tokens that are impossible for all models say nothing here; the base model excludes them
        clipped: FloatArray = np.clip(np.nan_to_num(total, nan=0.0, posinf=FLOOR, neginf=-FLOOR), -FLOOR, FLOOR)
        return clipped

    def _told(self, prompts: Sequence[Tokens], begun: Sequence[Tokens]) -> FloatArray:
        """[N]: the scores of responses that are given, told token by token to a session that is then thrown away."""
        total = np.zeros(len(prompts))
        lengths = np.array([len(tokens) for tokens in begun], dtype=np.int64)
        rows = np.flatnonzero(lengths)
        sessions = [term.model.session([prompts[int(row)] for row in rows]) for term in self._terms]
        for step in range(int(lengths.max())):
            following = np.array([begun[int(row)][step] for row in rows], dtype=np.int64)
            total[rows] += self._scores(sessions)[np.arange(len(rows)), following]
            going = np.flatnonzero(lengths[rows] > step + 1)
            if not len(going):
                break
            for session in sessions:
                if len(going) < len(rows):
                    session.select(going)
                session.advance(following[going])
            rows = rows[going]
        return total
