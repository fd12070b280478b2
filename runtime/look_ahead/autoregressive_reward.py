"""An autoregressive reward model π_r as a factor: logits + α·log π_r(w | prompt, h) (GenARM, arXiv 2410.08193).

The published decoder samples from p0·π_r^α, renormalised at every token. That is the law it is trained for only if π_r
is the one right model, π_r(w | h)^α ∝ e^{r} V(hw) / V(h); with the converged Bradley–Terry model, π_r(y) ∝ e^{R(y)/α},
it is far away. As look-ahead only, it moves the proposal, and the weights bring the samples back to p*. As a reward
(`rewarding`), α·log π_r(y | prompt) is a part of the law itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.runtime.look_ahead._learned import Scores, Term, check_vocabulary
from bylaw.runtime.look_ahead.interface import Tokens
from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel, ModelError, Vocabulary


@dataclass(frozen=True, eq=False)
class AutoregressiveReward:
    """α·log π_r of the reward model `model`, nats; `vocabulary` is that of the model that writes.

    `rewarding`: None for look-ahead only, else the cap on tokens of the responses, whose law then includes
    α·log π_r(y | prompt). As p0 does, this counts the end of text, but not behind a response that the cap cut or that a
    stop string ends.
    Raises ModelError for another vocabulary and for a coefficient that is no finite number.
    """

    model: LanguageModel
    alpha: float
    vocabulary: Vocabulary
    rewarding: int | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.alpha):
            raise ModelError(f"the coefficient of the reward model `{self.model.name}` is {self.alpha}, no number")
        check_vocabulary(self.model, self.vocabulary, "the reward model")

    @property
    def name(self) -> str:
        return f"{self.alpha:g}·log p of {self.model.name}"

    def begin(self, prompts: Sequence[Tokens], begun: Sequence[Tokens]) -> LearnedState:
        """N rows; tokens that they have begun with are told to the reward model one by one."""
        soft = self.rewarding is None
        scores = Scores((Term(self.model, self.alpha),), self.vocabulary, prompts, begun, soft)
        return LearnedState(scores, self.vocabulary, self.rewarding)


@dataclass(eq=False)
class LearnedState:
    """See `LookAheadState`. The scores of the tokens so far are log V̂ of the beginning; with `pays_until` (the cap on
    tokens) they are reward that was paid.
    """

    scores: Scores
    vocabulary: Vocabulary
    pays_until: int | None = None

    @property
    def paid(self) -> FloatArray:
        return np.zeros(len(self.scores.total)) if self.pays_until is None else self.scores.total

    def look_ahead(self, left: IntArray) -> FloatArray:
        row = self.scores.row()
        return row + self.scores.total[:, None] if self.pays_until is None else row.copy()

    def value(self, left: IntArray) -> FloatArray:
        return self.scores.total if self.pays_until is None else np.zeros(len(self.scores.total))

    def final(self) -> FloatArray:
        total = np.zeros(len(self.scores.total))
        if self.pays_until is None or len(self.vocabulary.end_ids) == 0:
            return total
        # a response that was cut, or stopped, has no factor for the end of text, as under p0
        ends = [len(row) < self.pays_until and not self.vocabulary.stopped(row) for row in self.scores.tokens]
        if any(ends):
            total[ends] = self.scores.row()[ends, self.vocabulary.end_ids[0]]
        return total

    def advance(self, tokens: IntArray) -> None:
        self.scores.advance(tokens)

    def select(self, indices: IntArray) -> None:
        self.scores.select(indices)
