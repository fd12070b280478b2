"""KTO: responses marked desirable or not, one by one, without pairs (Ethayarajh et al. 2024, arXiv:2402.01306).

    L = mean  λ_D (1 − σ(β(ℓ − z)))   for desirable rows,     λ_U (1 − σ(β(z − ℓ)))   for the others

with ℓ = log π(y)/p0(y) and the reference point z ≥ 0, an estimate of KL(π‖p0) from rows paired with prompts that are
not theirs, without gradient. The optimum is not p*: with β = 1 and z = 0 it is π(y) = (√(a(y) p0(y)/ν) − p0(y))₊ where
a(y) is the mean of ±λ over the labels of y times how often y stands in the data, ν makes it sum to one, and what is
undesirable more often than not (a ≤ 0) gets nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bylaw.runtime.objectives._settings import not_negative, positive
from bylaw.runtime.objectives.errors import ObjectiveError
from bylaw.runtime.objectives.interface import Batch, Loss, Source, log_ratios, mean_over, metric

NEEDS: tuple[str, ...] = ("reference", "desirable", "reference_point")
ROWS: Source = "data"
OPTIMUM = "mass on what is desirable more often than not, in the proportions √(a p0/ν) − p0"


@dataclass(frozen=True)
class Settings:
    """`beta`: nats of reward per nat; the weights of rows of either kind (balance them where one kind is rare)."""

    beta: float = 1.0
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(desirable_weight=self.desirable_weight, undesirable_weight=self.undesirable_weight)
        if self.desirable_weight == 0 == self.undesirable_weight:
            raise ObjectiveError("`desirable_weight` and `undesirable_weight` are both 0: nothing is left to learn")


def reference_point(mismatched_log_ratios: Tensor) -> Tensor:
    """Scalar z ≥ 0 in nats from log π/p0 [N] of responses read as answers to other prompts; no gradient."""
    if mismatched_log_ratios.numel() == 0:
        raise ObjectiveError("no responses for the reference point of `kto`; it needs at least two prompts")
    return mismatched_log_ratios.detach().mean().clamp(min=0)


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Checks the reference point."""
    (point,) = batch.need("reference_point")
    if point.numel() != 1 or not bool(point >= 0):
        raise ObjectiveError("the `reference_point` must be one number of nats, 0 or more")
    return batch


def loss(batch: Batch, settings: Settings) -> Loss:
    """Between 0 and the larger weight, per row."""
    desirable, point = batch.need("desirable", "reference_point")
    weights = batch.weights()
    ratio = log_ratios(batch)
    one = torch.ones_like(ratio)
    sign = torch.where(desirable, one, -one)
    side = torch.where(desirable, one * settings.desirable_weight, one * settings.undesirable_weight)
    # 1 − σ(x) as σ(−x): no digits are lost near 1
    each = side * torch.sigmoid(-settings.beta * sign * (ratio - point.detach()))
    good = desirable.to(weights.dtype)
    metrics = {
        "desirable_log_ratio": metric(ratio, weights * good),
        "undesirable_log_ratio": metric(ratio, weights * (1 - good)),
        "reference_point": metric(point.expand_as(weights), weights),
    }
    return Loss({"kto": (1.0, mean_over(each, weights))}, metrics)
