"""SFT as distribution matching with an implicit reward, after "implicit rewards as the bridge" (arXiv:2507.00018).

    tv:    L = −log π(y)                                        plain maximum likelihood
    chi2:  L = −log π(y) + (1/4c) (β log π(y)/p0(y))²           keeps to the reference, the more the smaller c

Experimental: the paper's reading is that SFT is the total-variation member of a family, in which the pull towards the
reference is a constant. The χ² member here is derived in the way of inverse soft Q-learning (φ(x) = x − x²/4c, Garg et
al. 2021, arXiv:2106.12142), with the expectation over the data. Its optimum for data of law d solves
π ∝ d · (1 − (β²/2c) log π/p0) where that is positive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bylaw.runtime.objectives._settings import positive
from bylaw.runtime.objectives.interface import Batch, Loss, Source, log_ratios, mean_over, metric, sums

NEEDS: tuple[str, ...] = ("reference",)
ROWS: Source = "data"
OPTIMUM = "between the law of the data and the reference, π ∝ d (1 − (β²/2c) log π/p0)"


@dataclass(frozen=True)
class Settings:
    """`c`: nats; `beta`: nats of reward per nat of log ratio."""

    divergence: Literal["tv", "chi2"] = "chi2"
    c: float = 1.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        positive(c=self.c, beta=self.beta)


def prepare(batch: Batch, settings: Settings) -> Batch:
    """Nothing to do."""
    return batch


def loss(batch: Batch, settings: Settings) -> Loss:
    """Nats per response."""
    weights = batch.weights()
    ratio = log_ratios(batch)
    parts = {"likelihood": (1.0, mean_over(-sums(batch.log_probs, batch.mask), weights))}
    if settings.divergence == "chi2":
        parts["implicit_reward"] = (0.25 / settings.c, mean_over((settings.beta * ratio) ** 2, weights))
    return Loss(parts, {"log_ratio": metric(ratio, weights)})
