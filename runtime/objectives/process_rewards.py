"""Process rewards without process labels: the log ratio of a model trained on whole responses, token by token.

    r(y) = β log π(y)/p0(y),   q_t = Σ_{i ≤ t} β log π(y_i|·)/p0(y_i|·),   r_t = q_t − q_{t−1}

For π ∝ p0 e^{r/β} the partial sum is q_t = β log E_p0[e^{r/β} | y_≤t] − β log Z, the exact soft value: the token that
breaks a rule is where it falls. As an objective: cross-entropy from one label per response,
L = −l log σ(r(y)) − (1 − l) log σ(−r(y)). Sources: Yuan et al. 2024 (arXiv:2412.01981), Rafailov et al. 2024
(2404.12358).
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bylaw.runtime.objectives._settings import positive
from bylaw.runtime.objectives.dpo import preference_loss
from bylaw.runtime.objectives.interface import Batch, Loss, Source, log_ratios, mean_over, metric, on_mask

NEEDS: tuple[str, ...] = ("reference", "desirable")
ROWS: Source = "data"
OPTIMUM = "β log π/p0 = the log odds of a response's label, where these odds sum to a law"


@dataclass(frozen=True)
class Settings:
    """`beta`: nats of log odds per nat of log ratio."""

    beta: float = 0.05

    def __post_init__(self) -> None:
        positive(beta=self.beta)


def process_rewards(log_probs: Tensor, reference: Tensor, mask: Tensor, beta: float) -> Tensor:
    """[B, T] r_t in nats, 0 off the mask."""
    return beta * (on_mask(log_probs, mask) - on_mask(reference, mask))


def partial_rewards(log_probs: Tensor, reference: Tensor, mask: Tensor, beta: float) -> Tensor:
    """[B, T] q_t in nats, the reward of each response up to and with token t."""
    return process_rewards(log_probs, reference, mask, beta).cumsum(dim=1)


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Nothing to do."""
    return batch


def loss(batch: Batch, settings: Settings) -> Loss:
    """Nats per response; `desirable` may hold probabilities."""
    (label,) = batch.need("desirable")
    weights = batch.weights()
    reward = settings.beta * log_ratios(batch)
    each = preference_loss(reward, label.to(reward.dtype))
    right = ((reward > 0) == (label > 0.5)).to(weights.dtype)
    return Loss(
        {"cross_entropy": (1.0, mean_over(each, weights))},
        {"reward": metric(reward, weights), "accuracy": metric(right, weights)},
    )
