"""What the policy gradients `reinforce`, `rloo` and `grpo` share: rewards with the KL inside, baselines, clipping.

    ∇ (E_π R − β KL(π‖p0)) = E_π[ (R(y) − β log π(y)/p0(y) − b) ∇ log π(y) ]        for every b that y does not decide

so with rewards in nats and β = 1 the optimum is p* (LAW.md §5.11: log Z − J(π) = KL(π‖p*)). Sources: Williams 1992;
leave-one-out baselines Kool et al. 2019, Ahmadian et al. 2024 (arXiv:2402.14740); clipped ratios Schulman et al. 2017
(1707.06347), here of whole responses.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from bylaw.runtime.objectives._groups import deviation, group_mean, leave_one_out_mean
from bylaw.runtime.objectives._settings import not_negative, positive
from bylaw.runtime.objectives.errors import ObjectiveError
from bylaw.runtime.objectives.interface import Batch, Loss, Ratio, bounded, log_ratios, mean_over, metric, sums

Baseline: TypeAlias = Literal["leave_one_out", "group_mean", "batch_mean", "none"]
TINY = 1e-4
"""Added to standard deviations of rewards, as is usual; in the unit of the rewards."""


def check_clips(low: float | None, high: float | None) -> None:
    """Raises ObjectiveError for clips that leave no ratio, or only one end."""
    if (low is None) != (high is None):
        raise ObjectiveError("`clip_low` and `clip_high` go together")
    if low is not None and high is not None:
        not_negative(clip_low=low)
        positive(clip_high=high)


def total_reward(batch: Batch) -> Tensor:
    """[B] the reward in nats: `reward`, or Σ weight · reward over the rules that apply (NaN where none does)."""
    if batch.reward is not None:
        return batch.reward
    each, weights = batch.need("rule_rewards", "rule_weights")
    missing = torch.isnan(each)
    total = torch.where(missing, 0.0, each * weights).sum(dim=1)
    return torch.where(missing.all(dim=1), torch.nan, total)


def regularised(batch: Batch, reward: Tensor, beta: float) -> Tensor:
    """[B] nats: R(y) − β log π(y)/p0(y), with the policy that wrote the rows; β = 0 needs no reference."""
    if not beta:
        return reward
    reference, behaviour = batch.need("reference", "behaviour")
    return reward - beta * (sums(behaviour, batch.mask) - sums(reference, batch.mask))


def advantages(reward: Tensor, group: Tensor, baseline: Baseline, normalise: bool = False) -> Tensor:
    """[B] nats: rewards [B] less a baseline; 0 for rows without a reward (NaN) or with nothing to compare with.

    `normalise` divides by the standard deviation over the batch, after which the unit is no longer nats and the
    optimum no longer p*.
    """
    if baseline == "leave_one_out":
        found = reward - leave_one_out_mean(reward, group)
    elif baseline == "group_mean":
        found = reward - group_mean(reward, group)
    elif baseline == "batch_mean":
        found = reward - group_mean(reward, torch.zeros_like(group))
    else:
        found = reward
    if normalise:
        found = (found - torch.nanmean(found)) / (deviation(found) + TINY)
    return torch.where(torch.isnan(found), 0.0, found)


def surrogate(
    log_ratio: Tensor, advantage: Tensor, low: float | None, high: float | None, largest: float | None = None
) -> Tensor:
    """−min(ρA, clip(ρ, 1 − low, 1 + high)A) with ρ = e^`log_ratio` cut off at `largest`, any shape; None: no clip."""
    ratio = log_ratio.exp()
    capped = ratio if largest is None else ratio.clamp(max=largest)
    if low is None or high is None:
        return -capped * advantage
    return -torch.minimum(capped * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def prepared(
    batch: Batch, beta: float, baseline: Baseline, normalise: bool, hard_penalty: float | None, name: str
) -> Tensor:
    """[B] advantages of whole responses. Raises ObjectiveError for rewards that cannot be used.

    A group of one has no leave-one-out baseline and advantage 0; where all groups are so, nothing could be learnt.
    """
    raw = total_reward(batch)
    # only a row that no rule applies to may have no reward
    missing = torch.isnan(raw) if batch.reward is None else torch.zeros_like(raw, dtype=torch.bool)
    finite = bounded(torch.where(missing, 0.0, raw), hard_penalty, name)
    reward = torch.where(missing, torch.nan, finite)
    group = batch.prompts()
    if baseline in ("leave_one_out", "group_mean") and int(torch.bincount(group).max()) < 2:
        raise ObjectiveError(
            f"`{name}` compares the samples of a prompt, and each prompt has only one; draw two or more"
        )
    return advantages(regularised(batch, reward, beta), group, baseline, normalise)


def sequence_loss(batch: Batch, low: float | None, high: float | None) -> Loss:
    """The clipped surrogate of whole responses, per row, from their advantages [B]."""
    behaviour, advantage = batch.need("behaviour", "advantage")
    weights = batch.weights()
    log_ratio = sums(batch.log_probs, batch.mask) - sums(behaviour.detach(), batch.mask)
    each = surrogate(log_ratio, advantage.to(log_ratio.dtype), low, high)
    return Loss({"policy": (1.0, mean_over(each, weights))}, policy_metrics(batch, weights))


def policy_metrics(batch: Batch, weights: Tensor) -> dict[str, Ratio]:
    """What every policy gradient reports: the reward (nats) of rows that keep the hard rules, the share of rows that
    do not, and log π/p0 (nats), an estimate of KL(π‖p0)."""
    found: dict[str, Ratio] = {}
    if batch.reward is not None:
        kept = (batch.reward > -torch.inf).to(weights.dtype)
        found["reward"] = metric(batch.reward.to(weights.dtype), weights * kept)
        found["share_forbidden"] = metric(1 - kept, weights)
    if batch.reference is not None:
        found["kl_to_reference"] = metric(log_ratios(batch), weights)
    return found
