"""The implicit process reward of a trained pair of models: r_t = β log π(y_t|h_t)/p0(y_t|h_t), nats.

For π = p* and β = 1 its partial sums are exact soft values, Σ_{s ≤ t} r_s = log E_p0[e^R 1_H | h_t] − log Z, so a token
stands out by how much it changed the outlook, and for a trained π by what π has learnt of that. The text of the rules
plays no part. Sources: Yuan et al. 2024 (arXiv:2412.01981), Rafailov et al. 2024 (2404.12358).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bylaw.runtime.credit.errors import CreditError
from bylaw.runtime.models.interface import FloatArray, LanguageModel, collapse_end


def implicit_rewards(
    policy: LanguageModel,
    reference: LanguageModel,
    prompt: Sequence[int],
    tokens: Sequence[int],
    ended: bool = True,
    beta: float = 1.0,
) -> FloatArray:
    """[T] nats for the `tokens` of a response and, where it `ended`, the end of text after them.

    `prompt`: the tokens before the response. Both models need the same tokens; temperatures are part of their laws.
    Raises CreditError for two vocabularies, for β that is not above 0, and for a token that one of the models never
    says; ModelError for a context that is too short.
    """
    if not 0 < beta < np.inf:
        raise CreditError(f"β is {beta:g}; it must be above 0")
    ours, theirs = policy.vocabulary, reference.vocabulary
    if (ours.token_bytes, ours.eos_ids) != (theirs.token_bytes, theirs.eos_ids):
        raise CreditError(
            f"`{policy.name}` and `{reference.name}` have different tokenizers, so that their probabilities of single "
            "tokens cannot be compared; give the model that the trained one began from"
        )
    found = token_log_probs(policy, prompt, tokens, ended) - token_log_probs(reference, prompt, tokens, ended)
    return np.asarray(beta * found, dtype=np.float64)


def token_log_probs(model: LanguageModel, prompt: Sequence[int], tokens: Sequence[int], ended: bool) -> FloatArray:
    """[T] log π of each token and, where the response `ended`, of the end of text after them.

    Raises CreditError for a token that the model never says, and ModelError.
    """
    said = [*tokens, *([int(model.vocabulary.end_ids[0])] if ended else [])]
    found = np.empty(len(said))
    session = model.session([tuple(prompt)])
    for place, token in enumerate(said):
        law = session.log_probs()
        collapse_end(law, model.vocabulary)
        found[place] = law[0, token]
        if not np.isfinite(found[place]):
            raise CreditError(f"token {place + 1} of the response has no probability under `{model.name}`")
        if place + 1 < len(said):
            session.advance(np.array([token], dtype=np.int64))
    return found
