"""REINFORCE with the KL to the reference inside the reward and one baseline for the batch (Williams 1992).

    L = −mean_n ρ_n (R(y_n) − β log π_old(y_n)/p0(y_n) − b),     ρ = π/π_old

See `policy_gradient` for the mathematics. The gradient is that of −E R + β KL(π‖p0) where rows are fresh (ρ = 1).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bylaw.runtime.objectives._settings import not_negative
from bylaw.runtime.objectives.interface import Batch, Loss, Source
from bylaw.runtime.objectives.policy_gradient import prepared, sequence_loss

NEEDS: tuple[str, ...] = ("reward|rule_rewards", "behaviour")
ROWS: Source = "policy"
OPTIMUM = "p* for β = 1"


@dataclass(frozen=True)
class Settings:
    """`beta`: 1 is the law. `hard_penalty`: nats that breaking a hard rule costs instead of being impossible."""

    beta: float = 1.0
    baseline: Literal["batch_mean", "none"] = "batch_mean"
    hard_penalty: float | None = None

    def __post_init__(self) -> None:
        not_negative(beta=self.beta)


def also_needs(settings: Settings) -> tuple[str, ...]:
    """The reference, where the divergence from it counts."""
    return ("reference",) if settings.beta else ()


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Advantages of the rows."""
    found = prepared(batch, settings.beta, settings.baseline, False, settings.hard_penalty, "reinforce")
    return replace(batch, advantage=found)


def loss(batch: Batch, settings: Settings) -> Loss:
    """Nats per row, a stand-in whose gradient counts."""
    return sequence_loss(batch, None, None)
