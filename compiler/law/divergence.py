"""f-divergences of the generator-regulator game and their conjugates, LAW.md §4.

    D_f(Q‖P) = Σ P f(Q/P) = sup_φ E_Q[φ] − E_P[ψ(φ)],   ψ = f*,   attained at φ* = f′(Q/P)

with f(1) = 0 and ψ(t) = sup_{u ≥ 0} ut − f(u). The gap of any other φ is the mean Fenchel-Young loss
E_P[f(r) + ψ(φ) − rφ] ≥ 0 at the ratio r = Q/P. Values in nats. Sources: Nguyen, Wainwright and Jordan 2010; Nowozin et
al. 2016, whose conjugates are re-derived here on u ≥ 0 (two commonly printed ones are wrong: see LAW.md §4).

Everything is computed from log-ratios: near Q = P no digits cancel, and far from it nothing overflows that is finite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import FloatArray, as_vector, log_sum_exp, weighted_sum

_Function = Callable[[FloatArray], FloatArray]
_Term = Callable[[FloatArray, FloatArray], FloatArray]


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
    _term: _Term
    _conjugate: _Function
    _slope: _Function
    _curvature: _Function
    _bend: _Function
    _price: _Function

    def generator(self, ratio: npt.ArrayLike) -> FloatArray:
        """f(u) for ratios u ≥ 0, any shape; ValueError on a negative one."""
        u = np.asarray(ratio, dtype=np.float64)
        if (u < 0).any():
            raise ValueError("a likelihood ratio is negative")
        log_ratio = np.log(np.where(u > 0, u, 1.0))
        result: FloatArray = np.where(u > 0, self._term(log_ratio, np.zeros_like(log_ratio)), self.at_zero)
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
        return self.witness_at(np.log(r))

    def witness_at(self, log_ratio: npt.ArrayLike) -> FloatArray:
        """φ* = f′(e^s) at finite log-ratios s, any shape. Total variation: 0, one of its subgradients, at s = 0."""
        with np.errstate(over="ignore"):
            return self._slope(np.asarray(log_ratio, dtype=np.float64))

    def witness_curvature(self, log_ratio: npt.ArrayLike) -> FloatArray:
        """d/ds f′(e^s) ≥ 0, any shape; 0 for total variation, whose slope is a step."""
        with np.errstate(over="ignore"):
            return self._curvature(np.asarray(log_ratio, dtype=np.float64))

    def witness_bend(self, log_ratio: npt.ArrayLike) -> FloatArray:
        """d²/ds² f′(e^s), any shape."""
        with np.errstate(over="ignore"):
            return self._bend(np.asarray(log_ratio, dtype=np.float64))

    def price_at(self, log_ratio: npt.ArrayLike) -> FloatArray:
        """ψ(f′(e^s)) at finite log-ratios s, any shape: ``conjugate`` of ``witness_at`` where that rounds too early."""
        with np.errstate(over="ignore"):
            return self._price(np.asarray(log_ratio, dtype=np.float64))

    def terms(self, log_q: npt.ArrayLike, log_p: npt.ArrayLike) -> FloatArray:
        """[Y] p f(q/p) for log-masses [Y]; where one of them is zero, the limit of that. Their sum is ``value``."""
        left, right = as_vector(log_q, "log_q"), as_vector(log_p, "log_p")
        if left.shape != right.shape:
            raise ValueError(f"log_q {left.shape} and log_p {right.shape} must have one shape")
        result = np.zeros_like(left)
        both = (left > -np.inf) & (right > -np.inf)
        with np.errstate(over="ignore"):
            result[both] = self._term(left[both], right[both])
        missed, uncovered = (right > -np.inf) & ~both, (left > -np.inf) & ~both
        for where, mass, price in ((missed, right, self.at_zero), (uncovered, left, self.slope_at_infinity)):
            # An infinite price holds for a mass that underflows too.
            result[where] = np.exp(mass[where]) * price if price < np.inf else np.inf
        return result

    def value(self, log_q: npt.ArrayLike, log_p: npt.ArrayLike) -> float:
        """D_f(Q‖P) for log-probability vectors [Y]; mass outside the other's support is priced by the limits of f."""
        return float(self.terms(log_q, log_p).sum())

    def variational(self, witness: npt.ArrayLike, log_q: npt.ArrayLike, log_p: npt.ArrayLike) -> float:
        """E_Q[φ] − E_P[ψ(φ)] for a witness φ [Y]: a lower bound on ``value``; −inf where φ leaves ψ's domain.

        Where P has no mass, φ may reach the end of the domain (there the supremum over witnesses lies), not pass it.
        """
        phi, left, right = as_vector(witness, "witness"), as_vector(log_q, "log_q"), as_vector(log_p, "log_p")
        if (phi[left > -np.inf] > self.domain_upper).any():
            return -np.inf
        price = float(weighted_sum(np.exp(right), self.conjugate(phi)))
        return float(weighted_sum(np.exp(left), phi)) - price if price < np.inf else -np.inf

    def fenchel_young(self, ratio: npt.ArrayLike, witness: npt.ArrayLike) -> FloatArray:
        """f(r) + ψ(t) − rt ≥ 0, elementwise: what a witness t loses at ratio r."""
        r, t = np.asarray(ratio, dtype=np.float64), np.asarray(witness, dtype=np.float64)
        return self.generator(r) + self.conjugate(t) - r * t


def donsker_varadhan(witness: npt.ArrayLike, log_q: npt.ArrayLike, log_p: npt.ArrayLike) -> float:
    """E_Q[φ] − log E_P[e^φ] in nats: a bound on KL(Q‖P), shift invariant and tighter than the e^t − 1 form."""
    phi, left, right = as_vector(witness, "witness"), as_vector(log_q, "log_q"), as_vector(log_p, "log_p")
    return float(weighted_sum(np.exp(left), phi)) - log_sum_exp(right + phi)


def _terms(below: _Function, above: _Function) -> _Term:
    """p f(q/p) = p·below(s) for s = log q/p ≤ 0 and q·above(−s) for s ≥ 0, above(t) = e^t f(e^{−t}).

    Both functions vanish at 0 and get only arguments ≤ 0, so that no exponential overflows.
    """

    def term(log_q: FloatArray, log_p: FloatArray) -> FloatArray:
        difference = log_q - log_p
        low, high = np.minimum(difference, 0.0), np.minimum(-difference, 0.0)
        result: FloatArray = np.exp(log_p) * below(low) + np.exp(log_q) * above(high)
        return result

    return term


def _kl_below(s: FloatArray) -> FloatArray:
    return s * np.exp(s) - np.expm1(s)


def _reverse_below(s: FloatArray) -> FloatArray:
    return np.expm1(s) - s


def _chi_squared_term(log_q: FloatArray, log_p: FloatArray) -> FloatArray:
    difference = log_q - log_p
    low, high = np.minimum(difference, 0.0), np.minimum(-difference, 0.0)
    result: FloatArray = np.exp(log_p) * np.square(np.expm1(low)) + np.exp(log_q - high) * np.square(np.expm1(high))
    return result


def _hellinger_below(s: FloatArray) -> FloatArray:
    return np.square(np.expm1(0.5 * s))


def _jensen_shannon_below(s: FloatArray) -> FloatArray:
    less = np.expm1(s)
    return s * np.exp(s) - (2.0 + less) * np.log1p(0.5 * less)


def _half_difference(s: FloatArray) -> FloatArray:
    return -0.5 * np.expm1(s)


def _log_middle(s: FloatArray) -> FloatArray:
    """log((1 + e^s)/2) without cancellation near 0."""
    result: FloatArray = np.maximum(s, 0.0) + np.log1p(0.5 * np.expm1(-np.abs(s)))
    return result


def _sigmoid(s: FloatArray) -> FloatArray:
    small = np.exp(-np.abs(s))
    result: FloatArray = np.where(s >= 0.0, 1.0, small) / (1.0 + small)
    return result


KL: Final = Divergence(
    "KL(Q‖P)",
    at_zero=1.0,
    slope_at_infinity=np.inf,
    domain_upper=np.inf,
    closed=False,
    _term=_terms(_kl_below, _reverse_below),
    _conjugate=np.expm1,
    _slope=lambda s: 1.0 * s,
    _curvature=np.ones_like,
    _bend=np.zeros_like,
    _price=np.expm1,
)
REVERSE_KL: Final = Divergence(
    "KL(P‖Q)",
    at_zero=np.inf,
    slope_at_infinity=1.0,
    domain_upper=1.0,
    closed=False,
    _term=_terms(_reverse_below, _kl_below),
    _conjugate=lambda t: -np.log1p(-t),
    _slope=lambda s: -np.expm1(-s),
    _curvature=lambda s: np.exp(-s),
    _bend=lambda s: -np.exp(-s),
    _price=lambda s: 1.0 * s,
)
CHI_SQUARED: Final = Divergence(
    "Pearson chi-squared",
    at_zero=1.0,
    slope_at_infinity=np.inf,
    domain_upper=np.inf,
    closed=False,
    _term=_chi_squared_term,
    # Below t = −2 the supremum sits at u = 0.
    _conjugate=lambda t: np.where(t >= -2.0, t + 0.25 * np.square(t), -1.0),
    _slope=lambda s: 2.0 * np.expm1(s),
    _curvature=lambda s: 2.0 * np.exp(s),
    _bend=lambda s: 2.0 * np.exp(s),
    _price=lambda s: np.expm1(2.0 * s),
)
SQUARED_HELLINGER: Final = Divergence(
    "squared Hellinger",
    at_zero=1.0,
    slope_at_infinity=1.0,
    domain_upper=1.0,
    closed=False,
    _term=_terms(_hellinger_below, _hellinger_below),
    _conjugate=lambda t: t / (1.0 - t),
    _slope=lambda s: -np.expm1(-0.5 * s),
    _curvature=lambda s: 0.5 * np.exp(-0.5 * s),
    _bend=lambda s: -0.25 * np.exp(-0.5 * s),
    _price=lambda s: np.expm1(0.5 * s),
)
TWICE_JENSEN_SHANNON: Final = Divergence(
    "twice Jensen-Shannon",
    at_zero=float(np.log(2.0)),
    slope_at_infinity=float(np.log(2.0)),
    domain_upper=float(np.log(2.0)),
    closed=False,
    _term=_terms(_jensen_shannon_below, _jensen_shannon_below),
    _conjugate=lambda t: -np.log(2.0 - np.exp(t)),
    _slope=lambda s: -_log_middle(-s),
    _curvature=lambda s: _sigmoid(-s),
    _bend=lambda s: -_sigmoid(s) * _sigmoid(-s),
    _price=_log_middle,
)
TOTAL_VARIATION: Final = Divergence(
    "total variation",
    at_zero=0.5,
    slope_at_infinity=0.5,
    domain_upper=0.5,
    closed=True,
    _term=_terms(_half_difference, _half_difference),
    _conjugate=lambda t: np.maximum(t, -0.5),
    _slope=lambda s: 0.5 * np.sign(s),
    _curvature=np.zeros_like,
    _bend=np.zeros_like,
    _price=lambda s: 0.5 * np.sign(s),
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
