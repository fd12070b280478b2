"""The reward that a language model already holds: its logits read as soft Q-values (arXiv:2506.23235).

    V(h) = α log Σ_w e^{Q(h,w)/α},   r_t = Q(h_t, y_t) − γ V(h_{t+1}) = α log π(y_t|h_t) + V(h_t) − γ V(h_{t+1})

with V = 0 after the last token. Without discounting the sum telescopes to α log π(y) + V(h_0): it ranks whole responses
as their likelihood does and says nothing new of them; only partial sums and γ < 1 do. A default for rules without data.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bylaw.runtime.objectives._settings import between, positive
from bylaw.runtime.objectives.interface import on_mask, wide


def soft_values(logits: Tensor, scale: float = 1.0) -> Tensor:
    """[B, T] V in units of the logits, of logits [B, T, V]; `scale` is α."""
    positive(scale=scale)
    values: Tensor = scale * torch.logsumexp(wide(logits) / scale, dim=-1)
    return values


def endogenous_rewards(
    logits: Tensor, tokens: Tensor, mask: Tensor, scale: float = 1.0, discount: float = 1.0
) -> Tensor:
    """[B, T] r_t of `tokens` [B, T], given the logits [B, T, V] before each; 0 off `mask` [B, T], which has no gaps."""
    between(0, 1, discount=discount)
    values = on_mask(soft_values(logits, scale), mask)
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    chosen = wide(logits).gather(-1, tokens[..., None])[..., 0]
    return on_mask(chosen - discount * following, mask)


def discounted_sums(rewards: Tensor, discount: float = 1.0) -> Tensor:
    """[B] Σ_t γ^t r_t of rewards [B, T], counted from the first column."""
    between(0, 1, discount=discount)
    powers = discount ** torch.arange(rewards.shape[1], dtype=rewards.dtype, device=rewards.device)
    return (rewards * powers).sum(dim=1)
