"""PPO with a critic: generalised advantages by token, clipped ratios, a clipped value loss.

    r_t = −β (log π_old − log p0)_t  + R(y) at the last token
    δ_t = r_t + γ V_{t+1} − V_t,   A_t = Σ_l (γλ)^l δ_{t+l},   returns = A + V
    L = mean_t −min(ρ_t A_t, clip(ρ_t) A_t)  +  value_weight · mean_t ½ max((V − G)², (clip(V, V_old ± c) − G)²)

V is what the rest of the response is worth before token t, 0 after the last, in nats. Where V is exact A has the same
mean for every λ, and with β = 1, γ = 1 the optimum is p*. Sources: Schulman et al. 2015 (arXiv:1506.02438) and 2017
(1707.06347), KL in the reward Ziegler et al. 2019 (1909.08593).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bylaw.runtime.objectives._settings import between, not_negative, positive
from bylaw.runtime.objectives.interface import Batch, Loss, Source, bounded, mean_over, metric, on_mask, wide
from bylaw.runtime.objectives.policy_gradient import check_clips, policy_metrics, surrogate

NEEDS: tuple[str, ...] = ("reward", "reference", "behaviour", "old_values", "values")
ROWS: Source = "policy"
OPTIMUM = "p* for β = γ = 1"


@dataclass(frozen=True)
class Settings:
    """`discount` γ, `trace` λ of the advantages; `value_clip` in nats; `whiten`: advantages of mean 0, deviation 1."""

    beta: float = 1.0
    discount: float = 1.0
    trace: float = 0.95
    clip_low: float | None = 0.2
    clip_high: float | None = 0.2
    value_clip: float | None = 0.2
    value_weight: float = 0.1
    whiten: bool = True
    hard_penalty: float | None = None

    def __post_init__(self) -> None:
        not_negative(beta=self.beta, value_weight=self.value_weight)
        between(0, 1, discount=self.discount, trace=self.trace)
        check_clips(self.clip_low, self.clip_high)
        if self.value_clip is not None:
            positive(value_clip=self.value_clip)


def token_rewards(batch: Batch, reward: Tensor, beta: float) -> Tensor:
    """[B, T] nats: the KL's share at each token, and `reward` [B] at each response's last one."""
    reference, behaviour = batch.need("reference", "behaviour")
    made = -beta * (on_mask(behaviour, batch.mask) - on_mask(reference, batch.mask))
    places = torch.arange(batch.mask.shape[1], device=batch.mask.device)
    last = torch.where(batch.mask, places, -1).amax(dim=1)
    ends = (places == last[:, None]) & (last[:, None] >= 0)
    return made + torch.where(ends, reward[:, None].to(made.dtype), 0.0)


def generalised_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, discount: float, trace: float
) -> tuple[Tensor, Tensor]:
    """Advantages and returns, [B, T] nats, of rewards and values [B, T] at the tokens of `mask`, which are not gapped:
    what is off the mask is skipped, as if it were not there."""
    values, rewards = on_mask(values, mask), on_mask(rewards, mask)
    found = torch.zeros_like(rewards)
    ahead, following = torch.zeros_like(rewards[:, 0]), torch.zeros_like(rewards[:, 0])
    for place in range(rewards.shape[1] - 1, -1, -1):
        here = mask[:, place]
        step = rewards[:, place] + discount * following - values[:, place]
        ahead = torch.where(here, step + discount * trace * ahead, ahead)
        following = torch.where(here, values[:, place], following)
        found[:, place] = torch.where(here, ahead, 0.0)
    return found, found + values


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Advantages and returns of the rows' tokens."""
    reward, old_values = batch.need("reward", "old_values")
    given = bounded(reward, settings.hard_penalty, "ppo")
    each = token_rewards(batch, given, settings.beta)
    found, returns = generalised_advantages(each, old_values, batch.mask, settings.discount, settings.trace)
    if settings.whiten:
        counted = torch.where(batch.mask, batch.weights()[:, None], 0.0)
        mean = (counted * found).sum() / counted.sum()
        spread = ((counted * (found - mean) ** 2).sum() / counted.sum()).sqrt()
        found = torch.where(batch.mask, (found - mean) / (spread + 1e-8), 0.0)
    return replace(batch, advantage=found, returns=returns)


def value_loss(values: Tensor, old_values: Tensor, returns: Tensor, clip: float | None) -> Tensor:
    """Half the squared error, the worse one of the value and of the value held within `clip` of the old; any shape."""
    error = (values - returns) ** 2
    if clip is not None:
        held = old_values + (values - old_values).clamp(-clip, clip)
        error = torch.maximum(error, (held - returns) ** 2)
    return error / 2


def loss(batch: Batch, settings: Settings) -> Loss:
    """A stand-in whose gradient counts, plus `value_weight` times squared nats, per token."""
    behaviour, advantage, values, old_values, returns = batch.need(
        "behaviour", "advantage", "values", "old_values", "returns"
    )
    weights, mask = batch.weights(), batch.mask
    tokens = torch.where(mask, weights[:, None], 0.0)
    log_ratio = on_mask(batch.log_probs, mask) - on_mask(behaviour.detach(), mask)
    each = surrogate(log_ratio, advantage, settings.clip_low, settings.clip_high)
    errors = value_loss(wide(values), old_values.detach(), returns, settings.value_clip)
    parts = {"policy": (1.0, mean_over(each, tokens)), "value": (settings.value_weight, mean_over(errors, tokens))}
    return Loss(parts, policy_metrics(batch, weights) | {"value": metric(wide(values), tokens)})
