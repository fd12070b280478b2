"""RAFT, reward-ranked fine-tuning: keep the best of K samples of each prompt, then maximum likelihood on what is kept
(Dong et al. 2023, arXiv:2304.06767).

The law of what is kept is that of best-of-K, q_K(y) = q(y) · (F(R(y))^K − F(R(y)−)^K) / q(R = R(y)), F being the
distribution of the reward under q: it is not p*, however K is chosen. KL(q_K ‖ q) ≤ log K − (K − 1)/K nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from bylaw.runtime.objectives._settings import positive
from bylaw.runtime.objectives.errors import NoAllowedSample, ObjectiveError
from bylaw.runtime.objectives.interface import Batch, Loss, Source, metric
from bylaw.runtime.objectives.sft import likelihood

NEEDS: tuple[str, ...] = ("reward",)
ROWS: Source = "policy"
OPTIMUM = "the law of the best of K samples"


@dataclass(frozen=True)
class Settings:
    """`keep`: how many of each prompt's rows are learnt from, best first. `reduction`: as for `sft`."""

    keep: int = 1
    reduction: Literal["token", "sequence"] = "sequence"

    def __post_init__(self) -> None:
        positive(keep=self.keep)


def best(reward: Tensor, group: Tensor, keep: int = 1) -> Tensor:
    """[B] bool: the `keep` rows of the highest reward in each group; of equals the earlier. −inf is never kept."""
    order = torch.argsort(reward, descending=True, stable=True)
    order = order[torch.argsort(group[order], stable=True)]
    sorted_group = group[order]
    first = torch.searchsorted(sorted_group, sorted_group, right=False)
    rank = torch.arange(order.numel(), device=order.device) - first
    kept = torch.zeros_like(reward, dtype=torch.bool)
    kept[order] = rank < keep
    return kept & (reward > -torch.inf)


def best_of_k_law(probs: Tensor, reward: Tensor, k: int) -> Tensor:
    """[Y] probabilities of the best of `k` samples of the law `probs` [Y] by `reward` [Y]; of equals a random one."""
    classes, which = torch.unique(reward, return_inverse=True)
    mass = torch.zeros(classes.shape[0], dtype=probs.dtype, device=probs.device).index_add(0, which, probs)
    upper = mass.cumsum(0)
    chosen = upper**k - (upper - mass).clamp(min=0) ** k
    return torch.where(probs > 0, probs * (chosen / mass)[which], 0.0)


def most_kl(k: int) -> float:
    """Nats: what KL(best of k ‖ q) cannot exceed, reached where no two samples have the same reward."""
    return math.log(k) - (k - 1) / k


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Only the rows that are kept; prompts all of whose samples break hard rules are left out.

    Raises NoAllowedSample where that leaves nothing.
    """
    (reward,) = batch.need("reward")
    if bool(torch.isnan(reward).any()):
        raise ObjectiveError("a reward is no number of nats; `raft` cannot rank it")
    kept = best(reward, batch.prompts(), settings.keep)
    if not bool(kept.any()):
        raise NoAllowedSample(torch.unique(batch.prompts()).tolist(), "every sample breaks a hard rule")
    return replace(batch, pairs=None, preference=None, margin=None, pair_weight=None).take(torch.nonzero(kept)[:, 0])


def loss(batch: Batch, settings: Settings) -> Loss:
    """Negative log-likelihood of the kept rows, nats per response or token."""
    (reward,) = batch.need("reward")
    weights = batch.weights()
    ratio = likelihood(batch.log_probs, batch.mask, weights, settings.reduction)
    return Loss({"likelihood": (1.0, ratio)}, {"kept_reward": metric(reward.to(weights.dtype), weights)})
