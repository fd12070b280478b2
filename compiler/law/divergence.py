"""f-divergences of the generator-regulator game and their conjugates, LAW.md §4.

    D_f(Q‖P) = Σ P f(Q/P) = sup_φ E_Q[φ] − E_P[ψ(φ)],   ψ = f*,   attained at φ* = f′(Q/P)

with f(1) = 0 and ψ(t) = sup_{u ≥ 0} ut − f(u). The gap of any other φ is the mean Fenchel-Young loss
E_P[f(r) + ψ(φ) − rφ] ≥ 0 at the ratio r = Q/P. Values in nats. Sources: Nguyen, Wainwright and Jordan 2010; Nowozin et
al. 2016, whose conjugates are re-derived here on u ≥ 0 (two commonly printed ones are wrong: see LAW.md §4).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import FloatArray, as_vector, log_sum_exp

_Function = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class Divergence:
    """One row of the table of LAW.md §4.

    Attributes:
        name: how people call it.
        at_zero: f(0), the price per unit of P-mass that Q misses (may be inf).
        slope_at_infinity: lim f(u)/u, the price per unit of Q-mass that P misses (may be inf).
        domain_upper: ψ is finite for t below this (inf: everywhere); reached only where ``closed`` says so.
        closed: whether ψ is finite at ``domain_upper`` itself.
    """

    name: str
    at_zero: float
    slope_at_infinity: float
    domain_upper: float
    closed: bool
    _generator: _Function
    _conjugate: _Function
    _witness: _Function

    def generator(self, ratio: npt.ArrayLike) -> FloatArray:
        """f(u) for ratios u ≥ 0, any shape; ValueError on a negative one."""
        u = np.asarray(ratio, dtype=np.float64)
        if (u < 0).any():
            raise ValueError("a likelihood ratio is negative")
        inner = self._generator(np.where(u > 0, u, 1.0))
        result: FloatArray = np.where(u > 0, inner, self.at_zero)
        return result

    def conjugate(self, witness: npt.ArrayLike) -> FloatArray:
        """ψ(t) = sup_{u ≥ 0} ut − f(u), any shape; +inf outside the domain."""
        t = np.asarray(witness, dtype=np.float64)
        inside = t <= self.domain_upper if self.closed else t < self.domain_upper
        result: FloatArray = np.where(inside, self._conjugate(np.where(inside, t, 0.0)), np.inf)
        return result

    def optimal_witness(self, ratio: npt.ArrayLike) -> FloatArray:
        """φ* = f′(r) at ratios r > 0, any shape; ValueError at r ≤ 0, where the slope may not exist."""
        r = np.asarray(ratio, dtype=np.float64)
        if (r <= 0).any():
            raise ValueError("the optimal witness needs positive ratios")
        return self._witness(r)

    def value(self, log_q: npt.ArrayLike, log_p: npt.ArrayLike) -> float:
        """D_f(Q‖P) for log-probability vectors [Y]; mass outside the other's support is priced by the limits of f."""
        left, right = as_vector(log_q, "log_q"), as_vector(log_p, "log_p")
        if left.shape != right.shape:
            raise ValueError(f"log_q {left.shape} and log_p {right.shape} must have one shape")
        covered = right > -np.inf
        total = float(np.exp(right[covered]) @ self.generator(np.exp(left[covered] - right[covered])))
        uncovered = float(np.exp(left[~covered]).sum())
        return total + (uncovered * self.slope_at_infinity if uncovered > 0.0 else 0.0)

    def variational(self, witness: npt.ArrayLike, log_q: npt.ArrayLike, log_p: npt.ArrayLike) -> float:
        """E_Q[φ] − E_P[ψ(φ)] for a witness φ [Y]: a lower bound on ``value``; −inf where φ leaves ψ's domain."""
        phi, left, right = as_vector(witness, "witness"), as_vector(log_q, "log_q"), as_vector(log_p, "log_p")
        return float(np.exp(left) @ phi - np.exp(right) @ self.conjugate(phi))

    def fenchel_young(self, ratio: npt.ArrayLike, witness: npt.ArrayLike) -> FloatArray:
        """f(r) + ψ(t) − rt ≥ 0, elementwise: what a witness t loses at ratio r."""
        r, t = np.asarray(ratio, dtype=np.float64), np.asarray(witness, dtype=np.float64)
        return self.generator(r) + self.conjugate(t) - r * t


def donsker_varadhan(witness: npt.ArrayLike, log_q: npt.ArrayLike, log_p: npt.ArrayLike) -> float:
    """E_Q[φ] − log E_P[e^φ] in nats: a bound on KL(Q‖P), shift invariant and tighter than the e^t − 1 form."""
    phi, left, right = as_vector(witness, "witness"), as_vector(log_q, "log_q"), as_vector(log_p, "log_p")
    return float(np.exp(left) @ phi) - log_sum_exp(right + phi)


KL: Final = Divergence(
    "KL(Q‖P)",
    at_zero=1.0,
    slope_at_infinity=np.inf,
    domain_upper=np.inf,
    closed=False,
    _generator=lambda u: u * np.log(u) - u + 1.0,
    _conjugate=np.expm1,
    _witness=np.log,
)
REVERSE_KL: Final = Divergence(
    "KL(P‖Q)",
    at_zero=np.inf,
    slope_at_infinity=1.0,
    domain_upper=1.0,
    closed=False,
    _generator=lambda u: u - 1.0 - np.log(u),
    _conjugate=lambda t: -np.log1p(-t),
    _witness=lambda r: 1.0 - 1.0 / r,
)
CHI_SQUARED: Final = Divergence(
    "Pearson chi-squared",
    at_zero=1.0,
    slope_at_infinity=np.inf,
    domain_upper=np.inf,
    closed=False,
    _generator=lambda u: np.square(u - 1.0),
    # Below t = −2 the supremum sits at u = 0.
    _conjugate=lambda t: np.where(t >= -2.0, t + 0.25 * np.square(t), -1.0),
    _witness=lambda r: 2.0 * (r - 1.0),
)
SQUARED_HELLINGER: Final = Divergence(
    "squared Hellinger",
    at_zero=1.0,
    slope_at_infinity=1.0,
    domain_upper=1.0,
    closed=False,
    _generator=lambda u: np.square(np.sqrt(u) - 1.0),
    _conjugate=lambda t: t / (1.0 - t),
    _witness=lambda r: 1.0 - 1.0 / np.sqrt(r),
)
TWICE_JENSEN_SHANNON: Final = Divergence(
    "twice Jensen-Shannon",
    at_zero=float(np.log(2.0)),
    slope_at_infinity=float(np.log(2.0)),
    domain_upper=float(np.log(2.0)),
    closed=False,
    _generator=lambda u: u * np.log(u) - (u + 1.0) * np.log((u + 1.0) / 2.0),
    _conjugate=lambda t: -np.log(2.0 - np.exp(t)),
    _witness=lambda r: np.log(2.0 * r / (1.0 + r)),
)
TOTAL_VARIATION: Final = Divergence(
    "total variation",
    at_zero=0.5,
    slope_at_infinity=0.5,
    domain_upper=0.5,
    closed=True,
    _generator=lambda u: 0.5 * np.abs(u - 1.0),
    _conjugate=lambda t: np.maximum(t, -0.5),
    _witness=lambda r: 0.5 * np.sign(r - 1.0),
)

DIVERGENCES: Final = MappingProxyType(
    {
        "kl": KL,
        "reverse_kl": REVERSE_KL,
        "chi_squared": CHI_SQUARED,
        "squared_hellinger": SQUARED_HELLINGER,
        "twice_jensen_shannon": TWICE_JENSEN_SHANNON,
        "total_variation": TOTAL_VARIATION,
    }
)
