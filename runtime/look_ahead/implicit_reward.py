"""The implicit process reward of a preference-tuned pair: scale·(log π(w | h) − log π_ref(w | h)) (arXiv 2412.01981).

For π ∝ π_ref·e^{R/scale} the sum over a beginning h is scale·log E_{π_ref}[e^{R/scale} | h] − scale·log Z, the exact
soft value but for a constant, which no proposal and no weight depends on. It pays nothing: what it is worth to the law
must be said by the law. Where the reference is the model that writes, wrap that model in a `PrefixCache` and give the
wrapped one to both, and the reference costs no pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.runtime.look_ahead._learned import Scores, Term, check_vocabulary
from bylaw.runtime.look_ahead.autoregressive_reward import LearnedState
from bylaw.runtime.look_ahead.interface import Tokens
from bylaw.runtime.models.interface import LanguageModel, ModelError, Vocabulary


@dataclass(frozen=True, eq=False)
class ImplicitReward:
    """`scale`·log(policy / reference), nats; `vocabulary` is that of the model that writes.

    Raises ModelError for other vocabularies and for a scale that is no finite number.
    """

    policy: LanguageModel
    reference: LanguageModel
    scale: float
    vocabulary: Vocabulary

    def __post_init__(self) -> None:
        if not np.isfinite(self.scale):
            raise ModelError(f"the scale of the implicit reward of `{self.policy.name}` is {self.scale}, no number")
        check_vocabulary(self.policy, self.vocabulary, "the preference-tuned model")
        check_vocabulary(self.reference, self.vocabulary, "the reference model")

    @property
    def name(self) -> str:
        return f"{self.scale:g}·log of {self.policy.name} over {self.reference.name}"

    def begin(self, prompts: Sequence[Tokens], begun: Sequence[Tokens]) -> LearnedState:
        """N rows; tokens that they have begun with are told to both models one by one."""
        terms = Term(self.policy, self.scale), Term(self.reference, -self.scale)
        return LearnedState(Scores(terms, self.vocabulary, prompts, begun, soft=True), self.vocabulary)
