"""How far a model is from the law, from samples alone: a divergence bounded from below by a fitted witness, LAW.md §4.

    D_f(Q‖P) = sup_φ E_Q[φ] − E_P[ψ(φ)]  ≥  the same at any one φ

The witness sees features F(x, y) only, so that it bounds D_f of their marginals. It is fitted on one part of the draws
and judged on the other (cross-fitting), in the form without a logarithm: then the expectation of what is reported is a
lower bound, whatever the fit (up to the bias of self-normalised weights, whose first order is taken off). With
s = θ·F for the log-ratio and φ = f′(e^s), the objective is concave in θ for KL, reverse KL, Hellinger and
Jensen-Shannon (there it is logistic regression), and exact, with many draws, where log dQ/dP is linear in F. For KL
the fit is Donsker and Varadhan's, whose shift is the intercept. Chi-squared is fitted by φ = θ·F (least squares);
total variation takes the sign of the Jensen-Shannon fit. Sources: Donsker and Varadhan 1975; Nguyen, Wainwright and
Jordan 2010; cross-fitting as in Chernozhukov et al. 2018.

Both laws are conditional on a prompt, and prompts are a fixed suite: errors are those of the draws. Nats throughout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from bylaw.compiler.law.divergence import CHI_SQUARED, KL, TOTAL_VARIATION, TWICE_JENSEN_SHANNON, Divergence
from bylaw.compiler.law.draws import Draws, Side
from bylaw.compiler.law.numerics import BoolArray, FloatArray, IntArray, LowEffectiveSampleSize
from bylaw.compiler.law.samples import Estimate

DEFAULT_ESS_FLOOR = 100.0
Split: TypeAlias = Literal["draws", "prompts"]
_Parts: TypeAlias = Iterator[tuple[BoolArray, BoolArray | None]]  # the draws [N] and the prompts [X] of each fold
_STEPS = 100
_STEEPEST = 700.0  # log-ratios; e^700 is still a number
_HALVINGS = 40
_ARMIJO = 1e-4
_SMALL = 1e-12


@dataclass(frozen=True, eq=False)
class WitnessBound:
    """A lower bound on D_f(Q‖P) and, where the ratio of the laws is known, what it leaves out.

    Attributes:
        divergence: which one, by its name.
        bound: the cross-fitted bound with its standard error; below zero it says nothing.
        direct: the divergence by the known ratio dQ/dP of each draw, with its error (a plug-in estimate: its bias is of
            the order of the error's square); None where the draws of the two laws are different ones. inf (with error
            0) where Q was seen to give what P never does and the divergence is infinite then.
        gap: direct − bound with the first-order error of that difference (too small where the witness is nearly exact:
            there it is of the order of the fit's own noise); None where there is no finite ``direct``.
        coefficients: [folds, 1 + K] of the witness, intercept first, per unit of each feature.
        model_ess, law_ess: pooled effective numbers of draws.
    """

    divergence: str
    bound: Estimate
    direct: Estimate | None
    gap: Estimate | None
    coefficients: FloatArray
    model_ess: float
    law_ess: float


def witness_bound(
    draws: Draws,
    divergence: Divergence = KL,
    folds: int = 2,
    ridge: float | None = None,
    seed: int = 0,
    per_prompt: bool = True,
    split: Split = "draws",
    ess_floor: float = DEFAULT_ESS_FLOOR,
) -> WitnessBound:
    """Fit a witness on the features of ``draws`` and bound D_f(model‖law) by it on draws it has not seen.

    Args:
        draws: of both laws, see ``draws.Draws`` and ``draws.apart``.
        divergence: see ``DIVERGENCES``.
        folds: parts to cross-fit with, ≥ 2.
        ridge: penalty ½·ridge·|θ|² on standardised features, ≥ 0; None takes one over the smaller effective size.
        seed: of the split into parts.
        per_prompt: whether the witness may shift by prompt (the log-ratio holds log Z(x)); penalised like one draw.
            Only for a split by draws.
        split: what the folds are made of. "draws" needs several of each law for every prompt; "prompts" takes one of
            the model, cannot learn about single prompts, gives no ``direct``, and its error holds the spread between
            prompts too (it is larger than that of a fixed suite).
        ess_floor: refuse when the effective size of either law (for "draws" less one draw a prompt) is below this.

    Raises:
        ValueError: folds or ridge out of range.
        LowEffectiveSampleSize: too few effective draws of one of the laws.
        EmptySupport: a part is left without weight for some prompt: draw more responses to it.
    """
    if folds < 2 or (ridge is not None and not ridge >= 0.0):
        raise ValueError("at least two folds and a nonnegative ridge are needed")
    model, law = Side(draws, draws.log_model), Side(draws, draws.log_law)
    for side in (model, law):
        worth = side.ess if split == "prompts" else side.freedom
        if worth < ess_floor:
            raise LowEffectiveSampleSize(worth, ess_floor)
    penalty = 1.0 / min(model.ess, law.ess) if ridge is None else ridge
    centre, scale = _standard(draws.features, model.weight + law.weight, min(model.ess, law.ess))
    design = np.column_stack([np.ones(draws.prompt.size), (draws.features - centre) / scale])
    if per_prompt and split == "draws" and draws.share.size > 1:
        design = np.column_stack([design, draws.prompt[:, None] == np.arange(draws.share.size)])
    parts = _prompt_parts(draws, folds, seed) if split == "prompts" else _draw_parts(draws, folds, seed)
    bound, influence, thetas = _cross_fitted(draws, design, divergence, penalty, parts)
    slopes = thetas[:, 1 : 1 + draws.features.shape[1]] / scale
    coefficients = np.column_stack([thetas[:, 0] - slopes @ centre, slopes])
    direct, gap = (None, None) if influence is None else _direct(draws, divergence, bound, influence)
    return WitnessBound(divergence.name, bound, direct, gap, coefficients, model.ess, law.ess)


# -------------------------------------------------------------------------------------------------------------- parts
def _cross_fitted(
    draws: Draws, design: FloatArray, divergence: Divergence, ridge: float, parts: _Parts
) -> tuple[Estimate, FloatArray | None, FloatArray]:
    """(the bound, each draw's part in its error [N] or None for a split by prompts, θ of each fold)."""
    influence, total, variance = np.zeros(draws.prompt.size), 0.0, 0.0
    thetas = []
    by_prompt = False
    for here, prompts in parts:
        seen = draws.subset(~here, None if prompts is None else ~prompts)
        model, law = Side(seen, seen.log_model), Side(seen, seen.log_law)
        # Few draws do not show that a law never gives what the other gives: each is fitted with a share of the other,
        # and a ratio above one over that share is never claimed.
        doubt = 1.0 / np.sqrt(max(min(model.ess, law.ess), 4.0))
        ours = (1.0 - doubt) * model.weight + doubt * law.weight
        theirs = (1.0 - doubt) * law.weight + doubt * model.weight
        thetas.append(_fit(design[~here], ours, theirs, divergence, ridge))
        most = float(-np.log(doubt))
        judged, witness = draws.subset(here, prompts), _witness(design[here], thetas[-1], divergence, most)
        if prompts is None:
            value, influence[here] = _judged(judged, *witness)
            total += value
        else:
            by_prompt = True
            value, error = _judged_by_prompt(judged, *witness)
            share = float(draws.share[prompts].sum())
            total, variance = total + share * value, variance + (share * error) ** 2
    if by_prompt:
        return Estimate(total, float(np.sqrt(variance))), None, np.array(thetas)
    influence /= len(thetas)
    return Estimate(total / len(thetas), float(np.sqrt(np.sum(np.square(influence))))), influence, np.array(thetas)


def _standard(features: FloatArray, weight: FloatArray, ess: float) -> tuple[FloatArray, FloatArray]:
    """Weighted means and standard deviations [K]; a constant feature gets scale 1, the ridge keeps it at 0.

    A feature of next to no weight is scaled as if it had that of one effective draw: else the ridge would not hold it.
    """
    total = weight.sum()
    centre = weight @ features / total
    spread = np.sqrt(weight @ np.square(features - centre) / total)
    scale = np.maximum(spread, np.ptp(features, axis=0) / np.sqrt(ess))
    return centre, np.where(scale > _SMALL * (1.0 + np.abs(centre)), scale, 1.0)


def _prompt_parts(draws: Draws, folds: int, seed: int) -> _Parts:
    """(the draws [N], the prompts [X]) of each fold."""
    used = np.flatnonzero(draws.share > 0.0)
    if used.size < 2 * folds:
        raise ValueError(f"{used.size} prompts cannot be split into {folds} folds of two or more")
    fold = np.full(draws.share.size, -1)
    fold[np.random.default_rng(seed).permutation(used)] = np.arange(used.size) % folds
    for number in range(folds):
        yield fold[draws.prompt] == number, fold == number


def _draw_parts(draws: Draws, folds: int, seed: int) -> _Parts:
    """(the draws [N], None) of each fold: even within each prompt, for draws of either law and for those of both."""
    part = _draw_folds(draws, folds, seed)
    for number in range(folds):
        yield part == number, None


def _draw_folds(draws: Draws, folds: int, seed: int) -> IntArray:
    kind = (draws.log_model > -np.inf) * 2 + (draws.log_law > -np.inf)
    chance = np.random.default_rng(seed).random(draws.prompt.size)
    order = np.lexsort((chance, kind, draws.prompt))
    group = draws.prompt[order] * 4 + kind[order]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(group) != 0]))
    rank = np.arange(order.size) - np.repeat(starts, np.diff(np.concatenate([starts, [order.size]])))
    # Without a random first fold, a group of one draw would always go to the same one.
    first = np.random.default_rng((seed, 1)).integers(folds, size=starts.size)
    result = np.empty(order.size, dtype=np.int64)
    result[order] = (rank + np.repeat(first, np.diff(np.concatenate([starts, [order.size]])))) % folds
    return result


# ------------------------------------------------------------------------------------------------------------- fitting
def _fit(design: FloatArray, model: FloatArray, law: FloatArray, divergence: Divergence, ridge: float) -> FloatArray:
    """[1 + K] the maximiser of E_Q[φ] − E_P[ψ(φ)] − ½ ridge |θ|² by damped Newton steps; the intercept is free."""
    fitted = TWICE_JENSEN_SHANNON if divergence is TOTAL_VARIATION else divergence
    penalty = np.full(design.shape[1], ridge)
    penalty[0] = 0.0
    theta = np.zeros(design.shape[1])

    def worth(point: FloatArray) -> float:
        phi, price = _witness(design, point, fitted)
        with np.errstate(over="ignore", invalid="ignore"):
            found = float((_product(model, phi) - _product(law, price)).sum() - 0.5 * penalty @ np.square(point))
        return found if np.isfinite(found) else -np.inf

    value = worth(theta)
    for _ in range(_STEPS):
        slope, bend = _slopes(design @ theta, model, law, fitted)
        gradient = design.T @ slope - penalty * theta
        hessian = (design * bend[:, None]).T @ design + np.diag(penalty + _SMALL)
        step = np.linalg.lstsq(hessian, gradient, rcond=None)[0]
        rise = float(gradient @ step)
        if rise <= 1e-12:
            break
        for _ in range(_HALVINGS):
            moved = worth(theta + step)
            if moved >= value + _ARMIJO * float(gradient @ step):
                break
            step = 0.5 * step
        else:
            break
        theta, value = theta + step, moved
    return theta


def _slopes(
    linear: FloatArray, model: FloatArray, law: FloatArray, divergence: Divergence
) -> tuple[FloatArray, FloatArray]:
    """First derivative, and the second with its sign turned (≥ 0), of the objective in each draw's θ·F [N]."""
    if divergence is CHI_SQUARED:
        inside = linear > -2.0
        return model - law * np.where(inside, 1.0 + 0.5 * linear, 0.0), 0.5 * law * inside
    # Beyond, products such as e^s · sigmoid(−s) would be inf · 0.
    linear = np.clip(linear, -_STEEPEST, _STEEPEST)
    steep, bent = divergence.witness_curvature(linear), divergence.witness_bend(linear)
    with np.errstate(over="ignore", invalid="ignore"):
        ratio = np.exp(linear)
        # d/ds ψ(f′(e^s)) = e^s d/ds f′(e^s)
        charged, charged_bend = ratio * steep, ratio * (steep + bent)
    return _product(model, steep) - _product(law, charged), _product(law, charged_bend) - _product(model, bent)


def _product(weight: FloatArray, values: FloatArray) -> FloatArray:
    result: FloatArray = weight * np.where(weight > 0.0, values, 0.0)
    return result


def _witness(
    design: FloatArray, theta: FloatArray, divergence: Divergence, most: float = np.inf
) -> tuple[FloatArray, FloatArray]:
    """(φ, ψ(φ)) [N] of the witness with coefficients θ, its log-ratios cut at ± ``most``."""
    linear = design @ theta
    if divergence is CHI_SQUARED:
        low, high = divergence.witness_at(np.array([-most, most]))
        linear = np.clip(linear, low, high)
        return linear, divergence.conjugate(linear)
    linear = np.clip(linear, -most, most)
    return divergence.witness_at(linear), divergence.price_at(linear)


# ------------------------------------------------------------------------------------------------------------- judging
def _judged(draws: Draws, phi: FloatArray, price: FloatArray) -> tuple[float, FloatArray]:
    """E_Q[φ] − E_P[ψ(φ)] and each draw's part in its error [N]."""
    gained, model = Side(draws, draws.log_model).mean(draws, phi)
    paid, law = Side(draws, draws.log_law).mean(draws, price)
    return gained - paid, model - law


def _judged_by_prompt(draws: Draws, phi: FloatArray, price: FloatArray) -> tuple[float, float]:
    """E_Q[φ] − E_P[ψ(φ)] and its error by the spread between prompts."""
    used = draws.share > 0.0
    share = draws.share[used]
    each = Side(draws, draws.log_model).prompt_means(draws, phi) - Side(draws, draws.log_law).prompt_means(draws, price)
    value = float(share @ each[used])
    spread = np.square(share * (each[used] - value)).sum() / (1.0 - np.square(share).sum())
    return value, float(np.sqrt(spread))


def _direct(
    draws: Draws, divergence: Divergence, bound: Estimate, influence: FloatArray
) -> tuple[Estimate | None, Estimate | None]:
    """(direct, gap) where every draw has its weight under both laws, or a forbidden one's zero under the law."""
    model, law = Side(draws, draws.log_model), Side(draws, draws.log_law)
    both = (model.within > 0.0) & (law.within > 0.0)
    shared = np.bincount(draws.prompt[both], minlength=draws.share.size) > 0
    if not shared[draws.share > 0.0].all():
        return None, None
    with np.errstate(divide="ignore"):
        log_q, log_p = np.log(model.within), np.log(law.within)
    value = float(draws.share[draws.prompt] @ divergence.terms(log_q, log_p))
    if not np.isfinite(value):
        return Estimate(np.inf, 0.0), None
    ratio = np.where(both, log_q, 0.0) - np.where(both, log_p, 0.0)
    # Where one law has no mass: φ is f's slope at infinity, or ψ(φ) is −f(0).
    phi = np.where(both, divergence.witness_at(ratio), divergence.slope_at_infinity)
    price = np.where(both, divergence.price_at(ratio), -divergence.at_zero)
    _, effect = _judged(draws, np.where(model.within > 0.0, phi, 0.0), np.where(law.within > 0.0, price, 0.0))
    apart_error = float(np.sqrt(np.sum(np.square(effect - influence))))
    return (
        Estimate(value, float(np.sqrt(np.sum(np.square(effect))))),
        Estimate(value - bound.value, apart_error),
    )
