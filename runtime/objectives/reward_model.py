"""A reward model from pairs: Bradley and Terry's likelihood with margins, soft labels and centring.

    L = −p log σ(s_chosen − s_rejected − m) − (1 − p) log σ(s_rejected − s_chosen − m) + λ (s_chosen + s_rejected)²

The optimum for labels p_ij = σ(R_i − R_j) and no margin is s = R + a constant of the prompt, which centring fixes.
Sources: Bradley and Terry 1952; margins Touvron et al. 2023 (arXiv:2307.09288); centring Eisenstein et al. 2023
(2312.09244); soft labels and margins from several voters Wang et al. 2024 (2401.06080): see `votes`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bylaw.runtime.objectives._settings import not_negative
from bylaw.runtime.objectives.errors import ObjectiveError
from bylaw.runtime.objectives.interface import Batch, Loss, Source, mean_over, metric, wide

NEEDS: tuple[str, ...] = ("pairs", "score")
ROWS: Source = "data"
OPTIMUM = "a score that is R but for a constant, for labels σ(R_i − R_j)"


@dataclass(frozen=True)
class Settings:
    """`centring`: λ, per squared unit of score."""

    centring: float = 0.0

    def __post_init__(self) -> None:
        not_negative(centring=self.centring)


def bradley_terry(difference: Tensor, preference: Tensor | None, margin: Tensor | None) -> Tensor:
    """[P] nats, of differences of scores, probabilities that the first is better (1) and margins (0), all [P]."""
    least = torch.zeros_like(difference) if margin is None else margin.to(difference.dtype)
    first = -logsigmoid(difference - least)
    if preference is None:
        return first
    chance = preference.to(difference.dtype)
    return chance * first - (1 - chance) * logsigmoid(-difference - least)


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Checks that preferences are probabilities."""
    if batch.preference is not None and bool(((batch.preference < 0) | (batch.preference > 1)).any()):
        raise ObjectiveError("a preference is no probability between 0 and 1")
    return batch


def loss(batch: Batch, settings: Settings) -> Loss:
    """Nats per pair."""
    pairs, found = batch.need("pairs", "score")
    weights, score = batch.pair_weights(), wide(found)
    chosen, rejected = score[pairs[:, 0]], score[pairs[:, 1]]
    difference = chosen - rejected
    parts = {"preference": (1.0, mean_over(bradley_terry(difference, batch.preference, batch.margin), weights))}
    if settings.centring:
        parts["centring"] = (settings.centring, mean_over((chosen + rejected) ** 2, weights))
    metrics = {
        "margin": metric(difference, weights),
        "accuracy": metric((difference > 0).to(weights.dtype), weights),
        "score": metric((chosen + rejected) / 2, weights),
    }
    return Loss(parts, metrics)
