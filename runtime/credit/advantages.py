"""Policy gradients with credit for tokens: rewards to go as advantages, and a surrogate for each token.

    ∇ (E_π R − β KL(π‖p0)) = E_π Σ_t [ Σ_{s ≥ t} (r_s − β log π(y_s|h_s)/p0(y_s|h_s)) − b ] ∇ log π(y_t|h_t)

for token rewards r_s that hang on the prefix h_s alone and sum to R, and any b that the response does not decide. The
mean is that of the objectives of whole responses; the variance is less, as a token answers for what follows it only.
Sources: Williams 1992; Sutton, McAllester, Singh, Mansour 1999; clipping per token Schulman et al. 2017
(arXiv:1707.06347).
"""

from __future__ import annotations

import torch
from torch import Tensor

from bylaw.runtime.objectives.interface import Batch, Loss, mean_over, on_mask
from bylaw.runtime.objectives.policy_gradient import Baseline, advantages, policy_metrics, surrogate
from bylaw.runtime.objectives.ppo import token_rewards


def token_advantages(batch: Batch, rewards: Tensor, beta: float = 1.0, baseline: Baseline = "leave_one_out") -> Tensor:
    """[B, T] nats: rewards to go of `rewards` [B, T] (as `tokens.token_rewards` gives them, finite), the KL's share of
    each token inside, less the baseline of the row; 0 off the mask.

    `beta` 1 is the law; β > 0 needs `reference` and `behaviour`. The baseline is that of whole responses
    (`policy_gradient.advantages`). Raises ObjectiveError for what the batch lacks.
    """
    each = on_mask(rewards, batch.mask)
    if beta:
        each = each + token_rewards(batch, torch.zeros(batch.rows, dtype=each.dtype, device=each.device), beta)
    to_go = each.flip(1).cumsum(1).flip(1)
    whole = each.sum(dim=1)
    found = to_go - (whole - advantages(whole, batch.prompts(), baseline))[:, None]
    return torch.where(batch.mask, found, 0.0)


def token_loss(batch: Batch, low: float | None = None, high: float | None = None) -> Loss:
    """Nats per row, a stand-in whose gradient counts: the clipped surrogate of each token with its `advantage` [B, T],
    summed over the tokens of a row. Raises ObjectiveError for what the batch lacks."""
    behaviour, advantage = batch.need("behaviour", "advantage")
    weights = batch.weights()
    log_ratio = on_mask(batch.log_probs, batch.mask) - on_mask(behaviour.detach(), batch.mask)
    each = surrogate(log_ratio, advantage.to(log_ratio.dtype), low, high)
    rows = torch.where(batch.mask, each, 0.0).sum(dim=1)
    return Loss({"policy": (1.0, mean_over(rows, weights))}, policy_metrics(batch, weights))
