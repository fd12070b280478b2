"""RLOO: REINFORCE with several samples of each prompt, each one's baseline the mean of the others (Kool et al. 2019;
Ahmadian et al. 2024, arXiv:2402.14740).

    A_n = R̃_n − mean_{m ≠ n} R̃_m,     R̃ = R − β log π_old/p0,     L = −mean_n min(ρ_n A_n, clip(ρ_n) A_n)

unbiased where rows are fresh, so the optimum is p* for β = 1. Rows that no rule applies to count for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from bylaw.runtime.objectives._settings import not_negative
from bylaw.runtime.objectives.interface import Batch, Loss, Source
from bylaw.runtime.objectives.policy_gradient import check_clips, prepared, sequence_loss

NEEDS: tuple[str, ...] = ("reward|rule_rewards", "behaviour")
ROWS: Source = "policy"
OPTIMUM = "p* for β = 1 without normalising"


@dataclass(frozen=True)
class Settings:
    """`beta`: 1 is the law. `clip_low`, `clip_high`: how far the ratio of a whole response may leave 1 (none: freely).
    `normalise`: divide advantages by their deviation, as TRL can. `hard_penalty`: as for `reinforce`."""

    beta: float = 1.0
    baseline: Literal["leave_one_out", "group_mean"] = "leave_one_out"
    clip_low: float | None = 0.2
    clip_high: float | None = 0.2
    normalise: bool = False
    hard_penalty: float | None = None

    def __post_init__(self) -> None:
        not_negative(beta=self.beta)
        check_clips(self.clip_low, self.clip_high)


def also_needs(settings: Settings) -> tuple[str, ...]:
    """The reference, where the divergence from it counts."""
    return ("reference",) if settings.beta else ()


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Advantages of the rows, from `reward` or from `rule_rewards` and `rule_weights`."""
    found = prepared(batch, settings.beta, settings.baseline, settings.normalise, settings.hard_penalty, "rloo")
    return replace(batch, advantage=found)


def loss(batch: Batch, settings: Settings) -> Loss:
    """Nats per row, a stand-in whose gradient counts."""
    return sequence_loss(batch, settings.clip_low, settings.clip_high)
