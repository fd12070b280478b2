"""Equilibria of the generator-regulator game under any f-divergence, on a finite set of messages, LAW.md §4.

    J(Q) = E_Q[U]/T + H(Q) − λ D_f(Q‖P)  =  min over φ of  E_Q[U]/T + H(Q) − λ (E_Q[φ] − E_P[ψ(φ)])

The maximiser solves  log Q(m) + λ f′(Q(m)/P(m)) = U(m)/T − c,  with c such that Q sums to one. The left side grows with
Q(m), and the sum falls with c: two nested safeguarded Newton iterations in log space. Exchanging max and min gives the
dual  log Σ_m exp(U/T − λφ) + λ E_P[ψ(φ)] ≥ J(Q), so that every solution comes with a bound on what it misses: with φ a
subgradient of f at Q/P, E_P[ψ(φ)] = E_Q[φ] − D_f, and dual less J is KL(Q‖the best answer to φ).

A regulator that sees only F(m) charges D_f of the marginals. Write Q(m) = Q_F(z) Q(m|z): the charge does not depend on
Q(m|z), which is therefore the generator's own, ∝ e^{U/T} within the cell; a cell is worth V(z) = log Σ_{m∈z} e^{U/T},
and Q_F is the equilibrium of the game on cells with utility V. In the law of a policy U/T = log p0 + R, so that Q keeps
the base model's conditional law given F wherever R is a function of F.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.divergence import KL, TOTAL_VARIATION, Divergence
from bylaw.compiler.law.gibbs import entropy, kl_divergence
from bylaw.compiler.law.numerics import BoolArray, FloatArray, IntArray, as_vector, log_sum_exp, weighted_sum

_NORMALISED_WITHIN = 1e-8
_ROUNDING = 2e-15
_STEPS = 400
_EXPANSIONS = 2000


@dataclass(frozen=True, eq=False)
class Equilibrium:
    """The saddle point of one game on M messages; everything in nats but ``utility``, which is in U's unit.

    Attributes:
        strength: λ ≥ 0. temperature: T > 0.
        log_q: [M] the generator's law.
        witness: [M] the regulator's φ, a subgradient of f at Q/P; +inf where P has no mass and f's slope is infinite,
            NaN at λ = inf. Against it the best law is Q; against Q it is a best witness.
        normaliser: c of the stationarity condition; NaN at λ = inf. Under total variation one of many where Q = P.
        utility: E_Q[U]. entropy: H(Q). divergence: D_f(Q‖P), or that of the marginals that the regulator sees.
        value: J(Q).
        gap: ≥ 0, how far J(Q) can be below its maximum, by the dual; rounding only. NaN at λ = inf.
    """

    strength: float
    temperature: float
    log_q: FloatArray
    witness: FloatArray
    normaliser: float
    utility: float
    entropy: float
    divergence: float
    value: float
    gap: float


def solve_game(
    utility: npt.ArrayLike,
    log_reference: npt.ArrayLike,
    strength: float,
    divergence: Divergence = KL,
    temperature: float = 1.0,
) -> Equilibrium:
    """The equilibrium against a regulator that sees whole messages.

    Args:
        utility: [M] U(m), finite. log_reference: [M] log P(m), normalised, −inf allowed.
        strength: λ ≥ 0; 0 gives the softmax of U/T, inf gives P.
        divergence: what the regulator charges, see ``DIVERGENCES``.
        temperature: T > 0.

    Raises:
        ValueError: shapes, signs or normalisation are wrong, or numbers are not finite where they must be.
        ArithmeticError: no law was found that sums to one (numbers too large for float64).
    """
    utility, reference = _checked(utility, log_reference, strength, temperature)
    scaled = utility / temperature
    if strength == np.inf:
        blank = np.full(reference.shape, np.nan)
        return _stated(utility, reference, reference, blank, np.nan, (strength, temperature), divergence)
    top = float(scaled.max())
    if strength == 0.0:
        log_q = scaled - top - log_sum_exp(scaled - top)
        normaliser, witness = float(log_sum_exp(scaled - top)), _witness_of(divergence, log_q, reference)
    else:
        log_q, witness, normaliser = _solve(scaled - top, reference, strength, divergence)
    return _stated(utility, reference, log_q, witness, normaliser + top, (strength, temperature), divergence)


def solve_feature_game(
    utility: npt.ArrayLike,
    log_reference: npt.ArrayLike,
    feature: npt.ArrayLike,
    strength: float,
    divergence: Divergence = KL,
    temperature: float = 1.0,
) -> Equilibrium:
    """The equilibrium against a regulator that sees only F(m): arguments as ``solve_game``, and

    feature: [M] F(m), any values that can be compared for equality (cells of messages it cannot tell apart).

    ``log_q`` and ``witness`` are over messages; ``divergence`` is that of the marginals of F, ``entropy`` is H(Q).

    Raises: as ``solve_game``.
    """
    utility, reference = _checked(utility, log_reference, strength, temperature)
    labels = np.asarray(feature)
    if labels.shape != utility.shape:
        raise ValueError(f"feature has shape {labels.shape}, utility {utility.shape}")
    cell = np.unique(labels, return_inverse=True)[1].astype(np.int64)
    scaled = utility / temperature
    worth, seen = cell_log_sums(scaled, cell), cell_log_sums(reference, cell)
    coarse = solve_game(worth, seen - log_sum_exp(seen), strength, divergence)
    with np.errstate(invalid="ignore"):
        log_q = coarse.log_q[cell] + (scaled - worth[cell])
    return replace(
        coarse,
        temperature=temperature,
        log_q=log_q,
        witness=coarse.witness[cell],
        utility=float(weighted_sum(np.exp(log_q), utility)),
        entropy=entropy(log_q),
    )


def cell_log_sums(log_mass: npt.ArrayLike, cell: IntArray) -> FloatArray:
    """[Z] log Σ exp(log_mass) over each cell, for log_mass [M] and cells 0 … Z−1 [M]."""
    vector = as_vector(log_mass, "log_mass")
    result = np.full(int(cell.max()) + 1, -np.inf)
    np.logaddexp.at(result, cell, vector)
    return result


def kl_equilibrium(
    utility: npt.ArrayLike, log_reference: npt.ArrayLike, strength: float, temperature: float = 1.0
) -> tuple[FloatArray, float]:
    """(log Q [M], value in nats) under KL in closed form: Q ∝ P^{λ/(1+λ)} exp(U/(T(1+λ))), value (1+λ) log Z.

    Arguments and ValueError as ``solve_game``, with λ finite.
    """
    utility, reference = _checked(utility, log_reference, strength, temperature)
    if strength == np.inf:
        raise ValueError("the closed form needs a finite strength")
    share = strength * reference if strength > 0.0 else np.zeros_like(reference)
    exponent = (share + utility / temperature) / (1.0 + strength)
    log_z = log_sum_exp(exponent)
    return exponent - log_z, (1.0 + strength) * log_z


def best_response(utility: npt.ArrayLike, witness: npt.ArrayLike, strength: float, temperature: float) -> FloatArray:
    """[M] the law that maximises E_Q[U]/T + H(Q) − λ E_Q[φ] against a fixed witness φ [M]: ∝ exp(U/T − λφ)."""
    phi = as_vector(witness, "witness")
    worth = as_vector(utility, "utility")
    exponent: FloatArray = (worth - worth.max()) / temperature - (strength * phi if strength > 0.0 else 0.0)
    return exponent - log_sum_exp(exponent)


# ------------------------------------------------------------------------------------------------------------ solving
def _solve(
    scaled: FloatArray, reference: FloatArray, strength: float, divergence: Divergence
) -> tuple[FloatArray, FloatArray, float]:
    """(log Q, φ, c) for 0 < λ < inf and utilities whose largest is 0."""

    def law(normaliser: float) -> tuple[FloatArray, FloatArray]:
        return _given(scaled - normaliser, reference, strength, divergence)

    def shortfall(negated: FloatArray) -> tuple[FloatArray, FloatArray]:
        log_q, slope = law(float(-negated[0]))
        total = log_sum_exp(log_q)
        if abs(total) <= _ROUNDING:  # where Q = P is held, the sum has a flat piece that rounding must not leave
            total = 0.0
        with np.errstate(under="ignore"):
            rate = float(np.exp(log_q - total) @ (1.0 / slope)) if np.isfinite(total) else 0.0
        return np.array([total]), np.array([rate])

    covered = reference > -np.inf
    # With every right side at least log P(m), each Q(m) is at least P(m); with every one at most that, at most P(m).
    low = float((scaled[covered] - reference[covered]).min())
    high = float((scaled[covered] - reference[covered]).max())
    width = 1.0
    for _ in range(_EXPANSIONS):
        if shortfall(np.array([-high]))[0][0] <= 0.0:
            break
        high, width = high + width, 2.0 * width
    root = _increasing_root(shortfall, np.array([-high]), np.array([-low]))
    normaliser = float(-root[0])
    log_q, _ = law(normaliser)
    excess = log_sum_exp(log_q)
    if not abs(excess) <= 1e-6:
        raise ArithmeticError("no law of these utilities sums to one in float64: scale them down or raise temperature")
    wanted = scaled - normaliser
    if divergence is TOTAL_VARIATION:
        log_q = _rescaled(log_q, log_q == reference)
        with np.errstate(invalid="ignore"):
            witness = np.clip((wanted - reference) / strength, -0.5, 0.5)
    else:
        log_q = log_q - excess
        witness = _witness_of(divergence, log_q, reference)
    return log_q, witness, normaliser


def _rescaled(log_q: FloatArray, held: BoolArray) -> FloatArray:
    """The law whose messages that are not held at P carry exactly what the others leave."""
    free = log_sum_exp(log_q[~held])
    rest = -float(np.expm1(log_sum_exp(log_q[held])))
    if free == -np.inf or rest <= 0.0:
        return log_q
    return np.where(held, log_q, log_q + (np.log(rest) - free))


def _given(
    wanted: FloatArray, reference: FloatArray, strength: float, divergence: Divergence
) -> tuple[FloatArray, FloatArray]:
    """(log Q, slope of the left side there, ≥ 1 and inf where Q = P is held) for right sides ``wanted`` [M]."""
    if divergence is TOTAL_VARIATION:
        # f′ is the interval [−½, ½] at Q = P: log Q is log P wherever that lies within λ/2 of the right side.
        log_q = np.clip(reference, wanted - 0.5 * strength, wanted + 0.5 * strength)
        return log_q, np.where(log_q == reference, np.inf, 1.0)
    log_q, slope = np.full(wanted.shape, -np.inf), np.ones(wanted.shape)
    covered = reference > -np.inf
    if isfinite(divergence.slope_at_infinity):
        log_q[~covered] = wanted[~covered] - strength * divergence.slope_at_infinity
    target = wanted[covered] - reference[covered]

    def left(log_ratio: FloatArray) -> tuple[FloatArray, FloatArray]:
        with np.errstate(over="ignore"):
            return (
                log_ratio + strength * divergence.witness_at(log_ratio) - target,
                1.0 + strength * divergence.witness_curvature(log_ratio),
            )

    log_ratio = _increasing_root(left, np.minimum(target, 0.0), np.maximum(target, 0.0))
    log_q[covered] = reference[covered] + log_ratio
    slope[covered] = left(log_ratio)[1]
    return log_q, slope


def _increasing_root(
    function: Callable[[FloatArray], tuple[FloatArray, FloatArray]], low: FloatArray, high: FloatArray
) -> FloatArray:
    """[K] roots of nondecreasing functions that give (value, slope) [K], value ≤ 0 at ``low`` and ≥ 0 at ``high``.

    Newton's step where it stays inside the bracket and at least halves the step before; bisection elsewhere.
    """
    low, high = low.copy(), high.copy()
    point = 0.5 * (low + high)
    before = high - low
    for _ in range(_STEPS):
        value, slope = function(point)
        low, high = np.where(value <= 0.0, point, low), np.where(value >= 0.0, point, high)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            step = value / slope
            newton = point - step
            good = (newton >= low) & (newton <= high) & (np.abs(step) <= 0.5 * before) & (slope > 0.0)
        following = np.where(value == 0.0, point, np.where(good, newton, 0.5 * (low + high)))
        before = np.abs(following - point)
        point = following
        if (before <= 2.0 * np.spacing(np.abs(point))).all():
            return point
    return point


def _witness_of(divergence: Divergence, log_q: FloatArray, reference: FloatArray) -> FloatArray:
    """[M] f′(Q/P), its limits where one of the two has no mass."""
    result = np.full(log_q.shape, divergence.slope_at_infinity)
    covered = reference > -np.inf
    result[covered] = divergence.witness_at(log_q[covered] - reference[covered])
    return result


# ------------------------------------------------------------------------------------------------------------- checks
def _checked(
    utility: npt.ArrayLike, log_reference: npt.ArrayLike, strength: float, temperature: float
) -> tuple[FloatArray, FloatArray]:
    worth, reference = as_vector(utility, "utility"), as_vector(log_reference, "log_reference")
    if worth.shape != reference.shape or worth.size == 0:
        raise ValueError(f"utility {worth.shape} and log_reference {reference.shape} must have one shape, not empty")
    if not np.isfinite(worth).all():
        raise ValueError("utility must be finite: leave a forbidden message out of the set instead")
    if not abs(log_sum_exp(reference)) <= _NORMALISED_WITHIN:
        raise ValueError("log_reference is not normalised")
    if not strength >= 0.0:
        raise ValueError(f"regulator strength must be nonnegative, got {strength}")
    if not (0.0 < temperature < np.inf):
        raise ValueError(f"temperature must be positive and finite, got {temperature}")
    return worth, reference


def _stated(
    utility: FloatArray,
    reference: FloatArray,
    log_q: FloatArray,
    witness: FloatArray,
    normaliser: float,
    settings: tuple[float, float],
    divergence: Divergence,
) -> Equilibrium:
    """The equilibrium with its value and the certificate."""
    strength, temperature = settings
    probability = np.exp(log_q)
    mean = float(weighted_sum(probability, utility))
    spread = entropy(log_q)
    charge = divergence.value(log_q, reference)
    paid = strength * charge if 0.0 < strength < np.inf else 0.0
    value = mean / temperature + spread - paid
    gap = np.nan
    if strength < np.inf:
        gap = max(0.0, kl_divergence(log_q, best_response(utility, witness, strength, temperature)))
    return Equilibrium(strength, temperature, log_q, witness, normaliser, mean, spread, charge, value, gap)
