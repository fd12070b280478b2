"""Supervised fine-tuning: maximum likelihood of given responses.

    token:     L = −Σ_n w_n Σ_t log π(y_nt | h_nt) / Σ_n w_n |y_n|      (the usual mean over the tokens of the batch)
    sequence:  L = −Σ_n w_n log π(y_n) / Σ_n w_n                        (cross-entropy of whole responses)

Only the second is the forward KL to the law of the data, but for a constant; the first gives long responses the same
say per token, not per response, yet both have the law of the data as their optimum where the model can be it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bylaw.runtime.objectives.interface import Batch, Loss, Ratio, Source, mean_over, metric, on_mask, sums

NEEDS: tuple[str, ...] = ()
ROWS: Source = "data"
OPTIMUM = "the law of the data"


@dataclass(frozen=True)
class Settings:
    """`reduction`: the mean is over tokens or over whole responses."""

    reduction: Literal["token", "sequence"] = "token"


def likelihood(log_probs: Tensor, mask: Tensor, weights: Tensor, reduction: str) -> Ratio:
    """−log π in nats, summed and counted: `log_probs`, `mask` [B, T], `weights` [B]."""
    if reduction == "sequence":
        return mean_over(-sums(log_probs, mask), weights)
    tokens = torch.where(mask, weights[:, None], 0.0)
    return mean_over(-on_mask(log_probs, mask), tokens)


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Nothing to do."""
    return batch


def loss(batch: Batch, settings: Settings) -> Loss:
    """Negative log-likelihood, nats per token or per response."""
    weights = batch.weights()
    ratio = likelihood(batch.log_probs, batch.mask, weights, settings.reduction)
    return Loss({"likelihood": (1.0, ratio)}, {"tokens": metric(batch.mask.sum(dim=1).to(weights.dtype), weights)})
