"""Distilling the regulated decoder: maximum likelihood on its weighted samples, the forward KL to p*.

    L = −(1/X) Σ_x Σ_n ŵ_xn log π(y_xn | x),     ŵ_xn = W_xn / Σ_m W_xm,     W = p0(y) e^{R(y)} 1_H(y) / q(y)

whose gradient is that of mean_x KL(p*(·|x) ‖ π(·|x)) up to the bias O(1/K) of normalising K weights by themselves
(exact for exact samples, whose weights are equal). Nothing of the policy enters the weights: samples never go stale and
may be used for many steps. Sources: Parshakova et al. 2019 (arXiv:1912.08777), Khalifa et al. 2021 (arXiv:2012.11635,
KL-adaptive distributional policy gradients), weights as in LAW.md §5.9.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bylaw.runtime.objectives._groups import group_log_sum, group_sums
from bylaw.runtime.objectives._settings import between
from bylaw.runtime.objectives.errors import NoAllowedSample, ObjectiveError
from bylaw.runtime.objectives.interface import Batch, Loss, Source, mean_over, metric, sums

NEEDS: tuple[str, ...] = ("log_weight",)
ROWS: Source = "any"
OPTIMUM = "p*"


@dataclass(frozen=True)
class Settings:
    """`least_ess`: prompts with fewer effective samples are refused, as the share of their samples (0: none is)."""

    least_ess: float = 0.0

    def __post_init__(self) -> None:
        between(0, 1, least_ess=self.least_ess)


def self_normalised(log_weight: Tensor, group: Tensor) -> Tensor:
    """[B] weights that sum to 1 over the rows of each group [B]. Raises NoAllowedSample where all are −inf."""
    if bool((torch.isnan(log_weight) | (log_weight == torch.inf)).any()):
        raise ObjectiveError("a log weight is no number of nats")
    total = group_log_sum(log_weight, group)
    empty = torch.nonzero(total == -torch.inf)[:, 0].tolist()
    if empty:
        raise NoAllowedSample(empty, "every sample has weight 0")
    return (log_weight - total[group]).exp()


def effective_samples(weights: Tensor, group: Tensor) -> Tensor:
    """[X] (Σ w)² / Σ w² of each group, in samples."""
    return group_sums(weights, group) ** 2 / group_sums(weights**2, group)


def prepare(batch: Batch, settings: Settings) -> Batch:
    """The weights of each prompt's rows normalised to one (times the rows' own weights, the same within a prompt)."""
    (log_weight,) = batch.need("log_weight")
    group = batch.prompts()
    own = batch.weights()
    weights = self_normalised(log_weight.to(own.dtype), group)
    share = effective_samples(weights, group) / group_sums(torch.ones_like(weights), group)
    poor = torch.nonzero(share < settings.least_ess)[:, 0].tolist()
    if poor:
        raise NoAllowedSample(poor, f"less than {settings.least_ess:.0%} of the samples are effective")
    return replace(batch, weight=weights * own)


def loss(batch: Batch, settings: Settings) -> Loss:
    """Nats per prompt."""
    weights = batch.weights()
    group = batch.prompts()
    ratio = mean_over(-sums(batch.log_probs, batch.mask), weights)
    ess = effective_samples(weights, group)
    return Loss({"forward_kl": (1.0, ratio)}, {"ess": metric(ess, torch.ones_like(ess))})
