"""KL per rule along the path from the base law to the regulated one, LAW.md §2: for any number of rules.

Write a term's log factor as a part that forbids (0 or −inf) and a finite part L_j, and L = Σ_j L_j. KL is a sum,

    KL(p*‖p0) = −log p0(H) + KL(p*‖p0(·|H)),

and each part is the integral of its own growth while all its rules are strengthened together:

    hard:  with p_u ∝ p0 · e^{−u m}, m(y) the number of rules that y breaks, −log p0(H) = Σ_k ∫₀^∞ P_u(y breaks k) du,
           all rules getting infinitely strong at one pace (z = e^{−u} makes it an integral over [0, 1]);
    soft:  with p_t ∝ p0(·|H) · e^{tL}, KL(p*‖p0(·|H)) = Σ_j ∫₀¹ t Cov_t(L_j, L) dt.

These are Aumann and Shapley's values. They need no coalitions: one curve of laws, so that cost
grows with T and not with 2^T, there is no seed, and what the quadrature leaves out is bounded. Independent rules pay
what they cost alone, as by Shapley's values, and so do all rules together; rules that depend on each other may be told
apart differently. Soft rules pay for what they change among the responses that the hard rules leave. Sources: Aumann
and Shapley 1974; Gauss–Kronrod quadrature (QUADPACK, Piessens et al. 1983); Jaeckel 1972 for errors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import EmptySupport, FloatArray, log_sum_exp
from bylaw.compiler.law.prices import EXACT_TERMS, Attribution, PricedPrompt, attribution, checked_prompts, shapley

_TOLERANCE = 1e-10  # nats, of each share of each prompt
_MOST_PANELS = 400
_BLOCK = 60  # laws held at once: bounds memory at N × 60 numbers

# Nodes in [0, 1] of the 15-point Kronrod rule, its weights, and those of the 7-point Gauss rule inside it.
_HALF_NODES = np.array([0.0, 0.2077849550078985, 0.4058451513773972, 0.5860872354676911, 0.7415311855993945])
_OUTER_NODES = np.array([0.8648644233597691, 0.9491079123427585, 0.9914553711208126])
_HALF_KRONROD = np.array([0.2094821410847278, 0.2044329400752989, 0.1903505780647854, 0.1690047266392679])
_OUTER_KRONROD = np.array([0.1406532597155259, 0.1047900103222502, 0.0630920926299785, 0.0229353220105292])
_HALF_GAUSS = np.array([0.4179591836734694, 0.3818300505051189, 0.2797053914892767, 0.1294849661688697])


def attribute(prompts: Sequence[PricedPrompt], prompt_weight: npt.ArrayLike | None = None) -> Attribution:
    """Divide KL(p*‖p0) among the terms: Shapley values up to ``EXACT_TERMS`` of them, the path integral beyond.

    Raises:
        ValueError: no prompts, or prompts disagree on T.
        EmptySupport: all terms together leave some prompt without a sample of positive weight.
    """
    _, terms = checked_prompts(prompts, prompt_weight)
    return shapley(prompts, prompt_weight) if terms <= EXACT_TERMS else path_integral(prompts, prompt_weight)


def path_integral(prompts: Sequence[PricedPrompt], prompt_weight: npt.ArrayLike | None = None) -> Attribution:
    """Divide KL(p*‖p0) among any number T of terms along the path, in nats.

    Raises:
        ValueError, EmptySupport: as for ``attribute``.
    """
    weights, terms = checked_prompts(prompts, prompt_weight)
    shares = np.zeros((len(prompts), terms))
    variance, error = np.zeros(terms), np.zeros(terms)
    evaluations = 0
    for row, (share, prompt) in enumerate(zip(weights, prompts, strict=True)):
        found = _one_prompt(prompt)
        shares[row] = found.shares
        variance += share**2 * np.square(found.influence).sum(axis=0)
        error += share * found.error
        evaluations = max(evaluations, found.evaluations)
    return attribution(
        prompts,
        prompt_weight,
        prompt_shares=shares,
        variance=variance,
        approximation_error=error,
        method="path integral from the base law",
        evaluations=evaluations,
    )


@dataclass(frozen=True, eq=False)
class _Divided:
    """Shares [T] of one prompt, bounds on their quadrature errors [T], and what each sample moves them by [M, T]."""

    shares: FloatArray
    error: FloatArray
    influence: FloatArray
    evaluations: int


def _one_prompt(prompt: PricedPrompt) -> _Divided:
    kept = prompt.log_base_ratio > -np.inf
    if not kept.any():
        raise EmptySupport("a prompt has no sample that the base law can produce")
    ratio, factors = prompt.log_base_ratio[kept], prompt.log_factors[kept]
    log_base = ratio - log_sum_exp(ratio)
    forbidden = np.isneginf(factors)
    allowed = ~forbidden.any(axis=1)
    hard = _hard(np.exp(log_base), forbidden)
    soft = _soft(log_base[allowed] - log_sum_exp(log_base[allowed]), factors[allowed])
    influence = hard.influence
    influence[allowed] += soft.influence
    return _Divided(
        hard.shares + soft.shares, hard.error + soft.error, influence, max(hard.evaluations, soft.evaluations)
    )


def _hard(base: FloatArray, forbidden: npt.NDArray[np.bool_]) -> _Divided:
    """−log p0(H) divided: ∫₀¹ N_k(z)/D(z) dz with D = Σ_m a_m z^m, N_k = Σ_m b_km z^{m−1}, z = e^{−u}.

    a_m is the base mass of samples that break m rules, b_km of those of them that break rule k.
    """
    samples, terms = forbidden.shape
    broken = forbidden.sum(axis=1)
    most = int(broken.max(initial=0))
    if not most:
        return _Divided(np.zeros(terms), np.zeros(terms), np.zeros((samples, terms)), 1)
    mass = np.bincount(broken, base, minlength=most + 1)
    by_rule = np.stack([np.bincount(broken, base * forbidden[:, k], minlength=most + 1) for k in range(terms)])
    powers = np.arange(most + 1)

    def integrand(nodes: FloatArray) -> FloatArray:
        raised = nodes[None, :] ** powers[:, None]
        result: FloatArray = (by_rule[:, 1:] @ raised[:-1]) / (mass @ raised)
        return result

    shares, error, nodes, weights = integrate(integrand, terms)
    raised = nodes[None, :] ** powers[:, None]
    whole, own = mass @ raised, by_rule[:, 1:] @ raised[:-1]
    # Moving the weight of a sample moves N by v z^{m−1} and D by z^m.
    up = np.concatenate([[0.0], (raised[:-1] / whole) @ weights])
    down = (own / whole**2 * weights) @ raised.T
    influence = base[:, None] * (forbidden * up[broken][:, None] - down.T[broken])
    missing = abs(float(-np.log(mass[0]) - shares.sum()))
    return _Divided(shares, np.maximum(error, missing * (shares > 0)), influence, nodes.size)


def _soft(log_base: FloatArray, factors: FloatArray) -> _Divided:
    """KL(p*‖p0(·|H)) divided: ∫₀¹ t Cov_t(L_j, L) dt for the base law on H and finite log factors [N, T]."""
    total = factors.sum(axis=1)
    terms = factors.shape[1]
    if not np.ptp(total):
        # A constant total leaves the law as it is, whatever its parts do.
        return _Divided(np.zeros(terms), np.zeros(terms), np.zeros(factors.shape), 1)
    centre = total - total.max()  # no exponent overflows, whatever t

    def laws(nodes: FloatArray) -> FloatArray:
        tilted = log_base[:, None] + np.outer(centre, nodes)
        scaled = np.exp(tilted - tilted.max(axis=0))
        result: FloatArray = scaled / scaled.sum(axis=0)
        return result

    def integrand(nodes: FloatArray) -> FloatArray:
        weight = laws(nodes)
        deviation = weight * (centre[:, None] - centre @ weight)
        result: FloatArray = nodes * (factors.T @ deviation)
        return result

    shares, error, nodes, weights = integrate(integrand, terms)
    # Moving the weight of a sample moves Cov_t(L_j, L) by w̃ [(L_j − E L_j)(L − E L) − Cov].
    influence = np.zeros(factors.shape)
    for start in range(0, nodes.size, _BLOCK):
        some, scale = nodes[start : start + _BLOCK], (weights * nodes)[start : start + _BLOCK]
        weight = laws(some)
        deviation = weight * (centre[:, None] - centre @ weight)
        mean, covariance = factors.T @ weight, factors.T @ deviation
        influence += factors * (deviation @ scale)[:, None] - (deviation * scale) @ mean.T
        influence -= (weight * scale) @ covariance.T
    return _Divided(shares, error, influence, nodes.size)


def integrate(
    function: Callable[[FloatArray], FloatArray], width: int, tolerance: float = _TOLERANCE
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """∫₀¹ of a vector-valued function by Gauss–Kronrod panels, halved where their error is largest.

    Args:
        function: values [K, P] at nodes [P] in (0, 1). width: K.
        tolerance: on the sum of the panels' errors, for each of the K integrals, or relative to the largest of them.

    Returns:
        (integrals [K], error bounds [K], nodes [P] and weights [P] of the rule that was used in the end).
    """
    nodes, kronrod, gauss = _rule()
    panels: list[tuple[float, float, FloatArray, FloatArray]] = []
    todo = [(0.0, 1.0)]
    while True:
        for low, high in todo:
            values = function(low + (high - low) * nodes) * (high - low)
            # |Kronrod − Gauss| bounds the error of the poorer rule; that of the better one is far smaller.
            panels.append((low, high, values @ kronrod, np.abs(values @ (kronrod - gauss))))
        integral = np.sum([panel[2] for panel in panels], axis=0) if width else np.zeros(0)
        error = np.sum([panel[3] for panel in panels], axis=0) if width else np.zeros(0)
        enough = tolerance * max(1.0, float(np.abs(integral).max(initial=0.0)))
        if error.max(initial=0.0) <= enough or len(panels) >= _MOST_PANELS:
            break
        worst = max(range(len(panels)), key=lambda index: float(panels[index][3].max()))
        low, high, _, _ = panels.pop(worst)
        todo = [(low, 0.5 * (low + high)), (0.5 * (low + high), high)]
    used = np.concatenate([low + (high - low) * nodes for low, high, _, _ in panels])
    weights = np.concatenate([(high - low) * kronrod for low, high, _, _ in panels])
    return integral, error, used, weights


def _rule() -> tuple[FloatArray, FloatArray, FloatArray]:
    """(nodes, Kronrod weights, Gauss weights) on [0, 1]; weights of nodes that Gauss does without are 0."""
    half = np.concatenate([_HALF_NODES, _OUTER_NODES])
    kronrod = np.concatenate([_HALF_KRONROD, _OUTER_KRONROD])
    gauss = np.zeros(8)
    gauss[::2] = _HALF_GAUSS
    mirrored = np.concatenate([-half[:0:-1], half])
    both = [np.concatenate([each[:0:-1], each]) for each in (kronrod, gauss)]
    return 0.5 * (mirrored + 1.0), 0.5 * both[0], 0.5 * both[1]
