"""Direct preference optimisation with f-divergences, soft labels, an SFT term and span masks.

    d = β (s(ℓ_chosen) − s(ℓ_rejected)),    ℓ = log π(y) / p0(y)
    L = −p log σ(d) − (1 − p) log σ(−d)  +  sft_weight · (−log π(chosen))

p is the probability that the chosen one is the better one (label smoothing ε moves it to p(1 − ε) + (1 − p)ε). With
Bradley-Terry labels p = σ(R_i − R_j) on all pairs the optimum solves β s(log π/p0) = R + constant: p* for β = 1 and the
reverse KL. s is f′(e^ℓ) of D_f(π ‖ p0), constants apart:

    reverse_kl  ℓ      forward_kl  1 − e^−ℓ      js  log 2 + log σ(ℓ)      alpha  (e^{(α−1)ℓ} − 1)/(α − 1)

Sources: Rafailov et al. 2023 (arXiv:2305.18290); f-divergences Wang et al. 2023 (2309.16240); smoothing Mitchell 2023
(conservative) and Chowdhury et al. 2024 (2403.00409, robust: unbiased for labels flipped at random with rate ε); the
SFT term as a regulariser Liu et al. 2024 (RPO, 2405.16436: cumulative in the main text, token mean in appendix F);
restricting the ratio to the tokens that carry the preference follows the idea of InPO (2503.18454) on text.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bylaw.runtime.objectives._settings import between, not_negative, positive
from bylaw.runtime.objectives.errors import ObjectiveError
from bylaw.runtime.objectives.interface import Batch, Loss, Source, log_ratios, mean_over, metric
from bylaw.runtime.objectives.sft import likelihood

NEEDS: tuple[str, ...] = ("pairs", "reference")
ROWS: Source = "data"
OPTIMUM = "p* for labels σ(R_i − R_j), β = 1 and the reverse KL"

_LARGEST_EXPONENT = 80.0
"""e^80 is still a number in 32 bits."""


@dataclass(frozen=True)
class Settings:
    """`beta`: nats of reward per unit of s; 1 is the law, smaller keeps less to the reference. `span`: whether only the
    tokens of `batch.span` count for the preference. `sft_reduction`: the SFT term is a mean over the chosen tokens of
    the batch, or the mean of whole responses."""

    beta: float = 1.0
    divergence: Literal["reverse_kl", "forward_kl", "js", "alpha"] = "reverse_kl"
    alpha: float = 0.5
    label_smoothing: float = 0.0
    smoothing: Literal["conservative", "robust"] = "conservative"
    sft_weight: float = 0.0
    sft_reduction: Literal["token", "sequence"] = "token"
    span: bool = False

    def __post_init__(self) -> None:
        positive(beta=self.beta)
        not_negative(sft_weight=self.sft_weight)
        between(0, 0.5, label_smoothing=self.label_smoothing)
        if self.smoothing == "robust" and self.label_smoothing == 0.5:
            raise ObjectiveError("labels flipped half of the time say nothing; `label_smoothing` must be below 0.5")
        if not math.isfinite(self.alpha):
            raise ObjectiveError(f"`alpha` is {self.alpha}, no number")


def slope(log_ratio: Tensor, divergence: str, alpha: float = 0.5) -> Tensor:
    """s(ℓ) = f′(e^ℓ) up to a constant, any shape; ObjectiveError for a divergence that there is not."""
    if divergence == "reverse_kl" or (divergence == "alpha" and abs(alpha - 1) < 1e-6):
        return log_ratio
    if divergence == "forward_kl":
        return 1 - (-log_ratio).clamp(max=_LARGEST_EXPONENT).exp()
    if divergence == "js":
        return math.log(2) + logsigmoid(log_ratio)
    if divergence == "alpha":
        return torch.expm1(((alpha - 1) * log_ratio).clamp(max=_LARGEST_EXPONENT)) / (alpha - 1)
    raise ObjectiveError(f"there is no divergence `{divergence}`; there are reverse_kl, forward_kl, js and alpha")


def preference_loss(
    difference: Tensor, preference: Tensor | None, smoothing: float = 0.0, robust: bool = False
) -> Tensor:
    """[P] −p log σ(d) − (1 − p) log σ(−d) of `difference` d [P], with p = `preference` [P] (1), smoothed."""
    first, second = -logsigmoid(difference), -logsigmoid(-difference)
    if robust:
        scale = 1 - 2 * smoothing
        first, second = (
            ((1 - smoothing) * first - smoothing * second) / scale,
            ((1 - smoothing) * second - smoothing * first) / scale,
        )
        smoothing = 0.0
    chance = torch.ones_like(difference) if preference is None else preference.to(difference.dtype)
    chance = chance * (1 - smoothing) + (1 - chance) * smoothing
    # entries of a certain label must not turn the other side's infinity into no number
    first = torch.where(chance > 0, chance * first, 0.0)
    return first + torch.where(chance < 1, (1 - chance) * second, 0.0)


def also_needs(settings: Settings) -> tuple[str, ...]:
    """The spans, where these are wanted."""
    return ("span",) if settings.span else ()


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Checks that preferences are probabilities."""
    if batch.preference is not None and bool(((batch.preference < 0) | (batch.preference > 1)).any()):
        raise ObjectiveError("a preference is no probability between 0 and 1")
    return batch


def loss(batch: Batch, settings: Settings) -> Loss:
    """Nats per pair, plus `sft_weight` times nats per token or response."""
    (pairs,) = batch.need("pairs")
    weights = batch.pair_weights()
    ratio = log_ratios(batch, settings.span)
    scores = settings.beta * slope(ratio, settings.divergence, settings.alpha)
    difference = scores[pairs[:, 0]] - scores[pairs[:, 1]]
    robust = settings.smoothing == "robust" and settings.label_smoothing > 0
    each = preference_loss(difference, batch.preference, settings.label_smoothing, robust)
    parts = {"preference": (1.0, mean_over(each, weights))}
    if settings.sft_weight:
        chosen = pairs[:, 0]
        ratio_of = likelihood(batch.log_probs[chosen], batch.mask[chosen], weights, settings.sft_reduction)
        parts["sft"] = (settings.sft_weight, ratio_of)
    metrics = {
        "margin": metric(difference, weights),
        "accuracy": metric((difference > 0).to(weights.dtype), weights),
        "chosen_log_ratio": metric(ratio[pairs[:, 0]], weights),
        "rejected_log_ratio": metric(ratio[pairs[:, 1]], weights),
    }
    return Loss(parts, metrics)
