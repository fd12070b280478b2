"""GRPO: advantages relative to the other samples of the prompt, clipped ratios by token, a KL term by token.

    sum_then_normalise:  A = (R − mean_g R) / (std + 10⁻⁴),  R = Σ_j w_j r_j,  std of the group, the batch, or none
    normalise_then_sum:  A = standardised over the batch  Σ_j w_j (r_j − mean_g r_j)/(std_g r_j + 10⁻⁴)
    L = reduce_t [ −min(ρ_t A, clip(ρ_t) A) + β k3(log p0 − log π) ],   k3(d) = e^d − d − 1

Reductions: `grpo` means over tokens, then over rows; `bnpo` and `dapo` over all tokens (of a micro-batch or of the
whole batch in TRL; here both are the whole batch); `dr_grpo` divides by rows · `max_tokens`. A rule that does not
apply is NaN and says nothing; a row that no rule applies to has advantage 0.

Its optimum is not p*: dividing by deviations leaves no nats. `k3_weighted`, the default as in TRL, is k3 times ρ and
has the gradient of KL(π‖p0) at each place; with one token, `scale` none and β = 1 it leads to p*. Plain k3 has that of
KL(p0‖π) instead, with the optimum π = β p0/(ν − R). Sources: Shao et al. 2024 (arXiv:2402.03300); Liu et al. 2025
(2503.20783, dr_grpo); Yu et al. 2025 (2503.14476, dapo); several rewards Liu et al. 2026 (GDPO, 2601.05242); Zheng et
al. 2025 (2507.18071, ratios of whole responses).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from bylaw.runtime.objectives._groups import deviation, group_deviation, group_mean
from bylaw.runtime.objectives._settings import not_negative, positive
from bylaw.runtime.objectives.errors import ObjectiveError
from bylaw.runtime.objectives.interface import Batch, Loss, Ratio, Source, bounded, mean_over, metric, on_mask, sums
from bylaw.runtime.objectives.policy_gradient import TINY, check_clips, policy_metrics, surrogate

NEEDS: tuple[str, ...] = ("rule_rewards", "rule_weights", "behaviour")
ROWS: Source = "policy"
OPTIMUM = "its own: rewards lose their unit where they are normalised, and the KL counts place by place"


@dataclass(frozen=True)
class Settings:
    """`beta`: weight of the KL term (0: no reference). `largest_ratio`: two-sided clip. `ratio`: of tokens, or the
    geometric mean over each response. `max_tokens`: the cap that `dr_grpo` divides by."""

    aggregation: Literal["normalise_then_sum", "sum_then_normalise"] = "normalise_then_sum"
    scale: Literal["group", "batch", "none"] = "group"
    reduction: Literal["grpo", "bnpo", "dr_grpo", "dapo"] = "dapo"
    beta: float = 0.0
    kl: Literal["k3_weighted", "k3"] = "k3_weighted"
    clip_low: float | None = 0.2
    clip_high: float | None = 0.2
    largest_ratio: float | None = None
    ratio: Literal["token", "sequence"] = "token"
    max_tokens: int | None = None
    hard_penalty: float | None = None

    def __post_init__(self) -> None:
        not_negative(beta=self.beta)
        check_clips(self.clip_low, self.clip_high)
        if self.largest_ratio is not None:
            positive(largest_ratio=self.largest_ratio)
        if self.reduction == "dr_grpo" and self.max_tokens is None:
            raise ObjectiveError("the reduction `dr_grpo` divides by the cap on tokens: set `max_tokens`")
        if self.max_tokens is not None:
            positive(max_tokens=self.max_tokens)


def relative_advantages(
    rule_rewards: Tensor, rule_weights: Tensor, group: Tensor, aggregation: str, scale: str = "group"
) -> Tensor:
    """[B] from rewards [B, J] (NaN: the rule does not apply), weights [J] and prompts [B]; 0 where no rule applies."""
    none = torch.isnan(rule_rewards).all(dim=1)
    if aggregation == "normalise_then_sum":
        each = (rule_rewards - group_mean(rule_rewards, group)) / (group_deviation(rule_rewards, group) + TINY)
        reward = torch.where(none, torch.nan, (_zero(each) * rule_weights).sum(dim=1))
        return _zero((reward - torch.nanmean(reward)) / (deviation(reward) + TINY))
    reward = torch.where(none, torch.nan, (_zero(rule_rewards) * rule_weights).sum(dim=1))
    found = reward - group_mean(reward, group)
    if scale == "group":
        found = found / (group_deviation(reward, group) + TINY)
    elif scale == "batch":
        found = found / (deviation(reward) + TINY)
    return _zero(found)


def _zero(values: Tensor) -> Tensor:
    return torch.where(torch.isnan(values), 0.0, values)


def reduced(values: Tensor, mask: Tensor, weights: Tensor, settings: Settings) -> Ratio:
    """Values [B, T] as a sum and a count, see the reductions above."""
    if settings.reduction == "grpo":
        lengths = mask.sum(dim=1).clamp(min=1)
        return mean_over(on_mask(values, mask).sum(dim=1) / lengths, weights)
    by_token = mean_over(on_mask(values, mask), torch.where(mask, weights[:, None], 0.0))
    if settings.reduction == "dr_grpo" and settings.max_tokens is not None:
        return Ratio(by_token.total, weights.sum() * settings.max_tokens)
    return by_token


def also_needs(settings: Settings) -> tuple[str, ...]:
    """The reference, where the divergence from it counts."""
    return ("reference",) if settings.beta else ()


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Advantages of the rows. Raises ObjectiveError for rewards that are no numbers and for lonely rows."""
    rewards, weights = batch.need("rule_rewards", "rule_weights")
    if int(torch.bincount(batch.prompts()).max()) < 2:
        raise ObjectiveError("`grpo` compares the samples of a prompt, and each prompt has only one; draw two or more")
    there = ~torch.isnan(rewards)
    finite = bounded(torch.where(there, rewards, 0.0), settings.hard_penalty, "grpo")
    found = torch.where(there, finite, torch.nan)
    advantage = relative_advantages(found, weights, batch.prompts(), settings.aggregation, settings.scale)
    return replace(batch, advantage=advantage)


def loss(batch: Batch, settings: Settings) -> Loss:
    """A stand-in whose gradient counts, plus β times nats per token."""
    behaviour, found = batch.need("behaviour", "advantage")
    weights, mask = batch.weights(), batch.mask
    log_probs = on_mask(batch.log_probs, mask)
    advantage = (found[:, None] if found.dim() == 1 else found).to(log_probs.dtype)
    log_ratio = log_probs - on_mask(behaviour.detach(), mask)
    if settings.ratio == "sequence":
        log_ratio = (sums(log_ratio, mask) / mask.sum(dim=1).clamp(min=1))[:, None].expand_as(log_probs)
    each = surrogate(log_ratio, advantage, settings.clip_low, settings.clip_high, settings.largest_ratio)
    parts = {"policy": (1.0, reduced(each, mask, weights, settings))}
    if settings.beta:
        (reference,) = batch.need("reference")
        gap = on_mask(reference.detach(), mask) - log_probs
        divergence = torch.expm1(gap) - gap
        if settings.kl == "k3_weighted":
            divergence = divergence * log_ratio.exp()
        parts["kl"] = (settings.beta, reduced(divergence, mask, weights, settings))
    outside = _is_clipped(log_ratio, advantage, settings).to(weights.dtype)
    tokens = torch.where(mask, weights[:, None], 0.0)
    return Loss(parts, {**policy_metrics(batch, weights), "clipped": metric(outside, tokens)})


def _is_clipped(log_ratio: Tensor, advantage: Tensor, settings: Settings) -> Tensor:
    if settings.clip_low is None or settings.clip_high is None:
        return torch.zeros_like(log_ratio, dtype=torch.bool)
    ratio = log_ratio.exp()
    low = (ratio < 1 - settings.clip_low) & (advantage < 0)
    return low | (ratio > 1 + settings.clip_high) & (advantage > 0)
