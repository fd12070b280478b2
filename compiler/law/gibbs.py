"""The exact Gibbs law on an enumerated response space, LAW.md §1: the reference that every estimate is tested against.

    p*(y) = p0(y) · 1[y ∈ H] · exp(R(y) − Σ_j μ_j f_j(y)) / Z

Everything is in nats and float64. Sources: standard exponential-family theory (Csiszár 1975 for the I-projection);
the game it comes from is arXiv:2606.18424.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import (
    BoolArray,
    EmptySupport,
    FloatArray,
    as_matrix,
    as_vector,
    log_sum_exp,
    weighted_sum,
)

_NORMALISED_WITHIN = 1e-8  # an enumeration that misses more mass than this is not an enumeration


@dataclass(frozen=True, eq=False)
class ExactLaw:
    """The law on Y enumerated responses.

    Attributes:
        log_p0: [Y] base log-probabilities, normalised (−inf allowed).
        allowed: [Y] bool, the permitted set H.
        reward: [Y] R = Σ_i w_i r_i in nats; must be finite on the support, anything elsewhere.
        features: [Y, J] budget features; finite on the support.
        mu: [J] multipliers in nats per unit of feature, finite (an infinite price is a hard rule: use ``allowed``).

    Raises:
        ValueError: shapes disagree, log_p0 is not normalised, or values are not finite on the support.
        EmptySupport: no response is both allowed and possible under the base law.
    """

    log_p0: FloatArray
    allowed: BoolArray
    reward: FloatArray
    features: FloatArray
    mu: FloatArray

    def __post_init__(self) -> None:
        for name, value in (
            ("log_p0", as_vector(self.log_p0, "log_p0")),
            ("reward", as_vector(self.reward, "reward")),
            ("features", as_matrix(self.features, "features")),
            ("mu", as_vector(self.mu, "mu")),
            ("allowed", np.array(self.allowed, dtype=np.bool_)),
        ):
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        size, budgets = self.features.shape
        if self.log_p0.shape != (size,) or self.allowed.shape != (size,) or self.reward.shape != (size,):
            raise ValueError(
                f"shapes disagree: log_p0 {self.log_p0.shape}, allowed {self.allowed.shape}, "
                f"reward {self.reward.shape}, features {self.features.shape}"
            )
        if self.mu.shape != (budgets,):
            raise ValueError(f"mu has shape {self.mu.shape}, features have {budgets} columns")
        if not np.isfinite(self.mu).all():
            raise ValueError("mu must be finite: an infinite multiplier is a hard rule, put it in `allowed`")
        total = log_sum_exp(self.log_p0)
        if not abs(total) <= _NORMALISED_WITHIN:
            raise ValueError(f"log_p0 is not normalised: log of its total mass is {total!r}")
        if not self.support.any():
            raise EmptySupport("the hard rules leave no response with positive base probability")
        if not (np.isfinite(self.reward[self.support]).all() and np.isfinite(self.features[self.support]).all()):
            raise ValueError("reward and features must be finite on the support (use `allowed` to forbid a response)")

    @cached_property
    def support(self) -> BoolArray:
        """[Y] bool: allowed and of positive base probability."""
        result: BoolArray = self.allowed & (self.log_p0 > -np.inf)
        return result

    @cached_property
    def log_factor(self) -> FloatArray:
        """[Y] log dp*/dp0 up to log Z: R − μ·f on the support, −inf off it."""
        factor = np.full(self.log_p0.shape, -np.inf)
        factor[self.support] = self.reward[self.support] - self.features[self.support] @ self.mu
        return factor

    @cached_property
    def log_z(self) -> float:
        """log Z in nats."""
        support = self.support
        return log_sum_exp(self.log_p0[support] + self.log_factor[support])

    @cached_property
    def log_p(self) -> FloatArray:
        """[Y] log p*(y), −inf off the support."""
        result = np.full(self.log_p0.shape, -np.inf)
        result[self.support] = self.log_p0[self.support] + self.log_factor[self.support] - self.log_z
        return result

    @cached_property
    def probabilities(self) -> FloatArray:
        """[Y] p*(y)."""
        result: FloatArray = np.exp(self.log_p)
        return result

    def expectation(self, values: npt.ArrayLike | None = None) -> FloatArray:
        """E_{p*}[values] for values [Y] or [Y, K] (default: the features); values off the support are ignored."""
        return weighted_sum(self.probabilities, self._values(values))

    def covariance(self, values: npt.ArrayLike | None = None) -> FloatArray:
        """Cov_{p*} of the columns of values [Y, K] (default: the features): [K, K]."""
        matrix = self._values(values)[self.support]
        probability = self.probabilities[self.support]
        centred = matrix - probability @ matrix
        result: FloatArray = (centred * probability[:, None]).T @ centred
        return result

    def kl_to_base(self) -> float:
        """KL(p*‖p0) = E_{p*}[R − μ·f] − log Z in nats: what the rules cost."""
        return float(weighted_sum(self.probabilities, self.log_factor)) - self.log_z

    def reweighted(
        self,
        mu: npt.ArrayLike | None = None,
        reward: npt.ArrayLike | None = None,
        allowed: npt.ArrayLike | None = None,
    ) -> ExactLaw:
        """The law with other multipliers [J], rewards [Y] or permitted set [Y]; what is left out stays as it is."""
        return replace(
            self,
            mu=self.mu if mu is None else np.asarray(mu, dtype=np.float64),
            reward=self.reward if reward is None else np.asarray(reward, dtype=np.float64),
            allowed=self.allowed if allowed is None else np.asarray(allowed, dtype=np.bool_),
        )

    def _values(self, values: npt.ArrayLike | None) -> FloatArray:
        return self.features if values is None else np.asarray(values, dtype=np.float64)


def kl_divergence(log_q: npt.ArrayLike, log_p: npt.ArrayLike) -> float:
    """KL(q‖p) = Σ q log(q/p) in nats for normalised log-probability vectors [Y]; +inf where q is not covered by p."""
    left, right = as_vector(log_q, "log_q"), as_vector(log_p, "log_p")
    support = left > -np.inf
    if np.isneginf(right[support]).any():
        return float(np.inf)
    return float(np.exp(left[support]) @ (left[support] - right[support]))


def total_variation(log_q: npt.ArrayLike, log_p: npt.ArrayLike) -> float:
    """TV(q, p) = ½ Σ |q − p| ∈ [0, 1] for normalised log-probability vectors [Y]."""
    left, right = as_vector(log_q, "log_q"), as_vector(log_p, "log_p")
    return 0.5 * float(np.abs(np.exp(left) - np.exp(right)).sum())


def entropy(log_p: npt.ArrayLike) -> float:
    """−Σ p log p in nats for a normalised log-probability vector [Y]."""
    vector = as_vector(log_p, "log_p")
    support = vector > -np.inf
    return -float(np.exp(vector[support]) @ vector[support])
