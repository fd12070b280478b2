"""D2O, distributional dispreference optimisation: prohibitions learnt from negatives alone (Duan et al. 2024,
arXiv:2403.03419).

    L = −mean over negatives y₋ of  log σ( (β/K) Σ_i log π(y_i)/p0(y_i) − α log π(y₋)/p0(y₋) )

where y_1 ... y_K are the model's own samples of the same prompt: rows that are not `desirable` are negatives, the
others own samples. Each row has the reference of its kind (the paper allows a harmful one for own samples, a helpful
one for negatives). The loss at the start is log 2, and its infimum is 0: with own samples of p0 and K → ∞ the first
term is −β KL(p0‖π), so that of all policies that leave the negatives the same small mass the best one shares the rest
as p0 does (p* of the hard rule). But once the negatives are gone nothing holds the rest there, and on the way it
drifts, towards what was likely already: watch `own_log_ratio` (−KL(p0‖π)), and stop early. Keep
β > α > β · p0(negatives): below that the negatives stay, and for α ≥ β the pull to the reference is too weak (a rest
that moved by .187 in total variation without own samples moved by .131 for α = β and by .042 for α = .3 β, at the same
mass of negatives).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from bylaw.runtime.objectives._groups import group_sums
from bylaw.runtime.objectives._settings import not_negative, positive
from bylaw.runtime.objectives.dpo import preference_loss
from bylaw.runtime.objectives.errors import ObjectiveError
from bylaw.runtime.objectives.interface import Batch, Loss, Source, log_ratios, mean_over, metric

NEEDS: tuple[str, ...] = ("reference", "desirable")
ROWS: Source = "data"
OPTIMUM = "no mass on negatives; the rest nearest to p0 at each step of the way, not in the end"


@dataclass(frozen=True)
class Settings:
    """`alpha`, `beta`: nats of reward per nat, of negatives and of own samples; `beta` = 0 leaves the rest free."""

    alpha: float = 0.5
    beta: float = 1.0

    def __post_init__(self) -> None:
        positive(alpha=self.alpha)
        not_negative(beta=self.beta)


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Raises ObjectiveError where a negative's prompt has no own sample."""
    (desirable,) = batch.need("desirable")
    group = batch.prompts()
    weights = batch.weights()
    own = group_sums(torch.where(desirable, weights, 0.0), group)
    if bool((own[group[~desirable]] == 0).any()):
        raise ObjectiveError("a negative's prompt has no own samples of the model; `d2o` compares it with these")
    return batch


def loss(batch: Batch, settings: Settings) -> Loss:
    """Nats per negative; a micro-batch must hold prompts whole."""
    (desirable,) = batch.need("desirable")
    weights = batch.weights()
    group = batch.prompts()
    ratio = log_ratios(batch)
    own = torch.where(desirable, weights, 0.0)
    kept = (group_sums(own * ratio, group) / group_sums(own, group))[group]
    each = preference_loss(settings.beta * kept - settings.alpha * ratio, None)
    negative = torch.where(desirable, 0.0, weights)
    metrics = {"negative_log_ratio": metric(ratio, negative), "own_log_ratio": metric(ratio, own)}
    return Loss({"dispreference": (1.0, mean_over(each, negative))}, metrics)
