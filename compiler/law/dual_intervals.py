"""Intervals for multipliers: the sandwich H⁻¹SH⁻¹ on the multipliers off their limits, LAW.md §2.

Shared multipliers alone need one J × J solve. With multipliers of each prompt's own, the Monte-Carlo errors e_x of the
prompts' rates (independent, covariance V_x) move the solution by

    δ_shared = S⁻¹ Σ_x π_x T_x e_x,     δ_x = C_x⁻¹ (e_x,own − B_xᵀ δ_shared),     T_x = (I, −B_x C_x⁻¹),

with the blocks B_x, C_x of ``dual_problem`` and their Schur complement S. Sources: Shapiro's sample-average
approximation; the delta method.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.dual_problem import Arrow, Problem, State, own_inverse
from bylaw.compiler.law.numerics import NORMAL_95, BoolArray, FloatArray
from bylaw.compiler.law.rows import weighted_gram
from bylaw.compiler.law.samples import Moments

_SINGULAR = 1e-10  # relative eigenvalue of the scaled covariance below which a direction has no information


def shared_intervals(state: State, moments: Moments) -> FloatArray:
    """[J, 2] 95 % intervals for multipliers over the population, as documented at ``DualSolution.mu_interval``."""
    problem, point, gradient = state.problem, state.point, state.gradient
    scaled = np.outer(problem.scale, problem.scale)
    hessian, middle = moments.covariance / scaled, moments.mean_variance / scaled
    interior = np.flatnonzero((point > problem.lower) & (point < problem.upper))
    result = np.stack([point, point], axis=1)
    errors = sandwich_errors(hessian, middle, interior)
    result[interior, 0] -= NORMAL_95 * errors
    result[interior, 1] += NORMAL_95 * errors
    for index in np.setdiff1d(np.arange(point.size), interior):
        result[index] = _freed(hessian, middle, gradient, np.append(interior, index), result[index])
    low, high = problem.limits
    return np.clip(result / problem.scale[:, None], low[:, None], high[:, None])


def sandwich_errors(hessian: FloatArray, middle: FloatArray, members: npt.NDArray[np.intp]) -> FloatArray:
    """[K] standard errors √diag(H⁻¹SH⁻¹) of the K members; inf for those in a direction that H does not see."""
    if members.size == 0:
        return np.zeros(0)
    block = hessian[np.ix_(members, members)]
    values, vectors = np.linalg.eigh(block)
    seen = values > _SINGULAR * max(float(values[-1]), np.finfo(np.float64).tiny)
    inverse = (vectors[:, seen] / values[seen]) @ vectors[:, seen].T
    errors = np.sqrt(np.maximum(np.diag(inverse @ middle[np.ix_(members, members)] @ inverse), 0.0))
    blind = np.square(vectors[:, ~seen]).sum(axis=1) > 1e-8
    errors[blind] = np.inf
    return errors


def own_intervals(state: State, curvature: Arrow) -> tuple[FloatArray, FloatArray]:
    """([X, J, 2], [J, 2]): 95 % intervals of the multipliers that act on each prompt, and of their π-weighted means.

    At a limit: from the limit to where the multiplier would lie were it freed together with the interior ones of its
    own prompt, the others held.
    """
    problem, prompts, count = state.problem, state.problem.rows.prompts, state.problem.shared.size
    noise = _prompt_noise(problem, state)
    interior = (state.point > problem.lower) & (state.point < problem.upper)
    inside = interior[count:].reshape(prompts, -1)
    inverse = own_inverse(curvature.blocks[:, problem.own[:, None], problem.own], inside)
    cross = curvature.blocks[:, problem.shared[:, None], problem.own] * inside[:, None, :]
    schur = curvature.schur(inverse, cross)
    kept = np.flatnonzero(interior[:count])
    solve = np.zeros((count, count))
    solve[np.ix_(kept, kept)] = np.linalg.pinv(schur[np.ix_(kept, kept)], rcond=_SINGULAR, hermitian=True)
    reach = np.zeros((prompts, count, problem.each.size))  # T_x
    reach[:, np.arange(count), problem.shared] = 1.0
    reach[:, :, problem.own] = -cross @ inverse
    own_reach = np.zeros((prompts, problem.own.size, problem.each.size))  # C_x⁻¹ on the own errors
    own_reach[:, :, problem.own] = inverse
    pull = inverse @ np.swapaxes(cross, 1, 2) @ solve  # [X, K, P]
    share = problem.share
    pooled = np.tensordot(share**2, reach @ noise @ np.swapaxes(reach, 1, 2), 1)
    mixed = share[:, None, None] * (own_reach @ noise @ np.swapaxes(pull @ reach, 1, 2))
    direct = own_reach @ noise @ np.swapaxes(own_reach, 1, 2)
    variance = direct - mixed - np.swapaxes(mixed, 1, 2) + pull @ pooled @ np.swapaxes(pull, 1, 2)
    errors = np.sqrt(np.maximum(np.diagonal(variance, axis1=1, axis2=2), 0.0))
    average = own_reach - np.tensordot(share, pull, 1) @ reach
    mean_variance = share**2 @ ((average @ noise) * average).sum(axis=2)
    shared_errors = np.zeros(count)
    shared_errors[kept] = sandwich_errors(schur, pooled, kept)
    blind = _blind(curvature, problem, inside)
    errors[blind] = np.inf
    both = NORMAL_95 * np.where(interior, np.concatenate([shared_errors, errors.ravel()]), 0.0)
    result = problem.table(state.point)[:, :, None] + problem.table(both)[:, :, None] * (-1.0, 1.0)
    _free_shared(state, schur, pooled, kept, result)
    _free_own(state, curvature, noise, inside, result)
    mean = _mean_intervals(problem, state, result, inside, np.where(blind.any(axis=0), np.inf, mean_variance))
    scale, (low, high) = problem.scale[:, None], problem.limits
    return (
        np.clip(result / scale, low[:, None], high[:, None]),
        np.clip(mean / scale, low[:, None], high[:, None]),
    )


def _mean_intervals(
    problem: Problem, state: State, result: FloatArray, inside: BoolArray, variance: FloatArray
) -> FloatArray:
    """[J, 2] intervals of Σ_x π_x ν_x; ``variance`` [K] is that of the interior ones, the held add their one side."""
    centre = problem.share @ problem.table(state.point)
    mean: FloatArray = result[0].copy()
    for slot, index in enumerate(problem.own):
        reach = np.abs(result[:, index] - problem.table(state.point)[:, index, None])
        held = (problem.share * ~inside[:, slot])[:, None] * np.where(inside[:, slot, None], 0.0, reach)
        half = np.sqrt(NORMAL_95**2 * max(float(variance[slot]), 0.0) + np.square(held).sum(axis=0))
        mean[index] = centre[index] - half[0], centre[index] + half[1]
    return mean


def _prompt_noise(problem: Problem, state: State) -> FloatArray:
    """[X, J, J] Monte-Carlo covariance of each prompt's scaled rates."""
    rows = problem.rows
    log_z, weight = rows.normalised(state.tilt)
    square = rows.squares(state.tilt, log_z, weight)
    centred = rows.values - rows.spread(rows.sums(weight))
    square = square / rows.spread(np.maximum(1.0 - rows.total(square), 1e-12))
    ends = rows.starts + rows.counts
    return np.stack([weighted_gram(centred, square, int(a), int(b)) for a, b in zip(rows.starts, ends, strict=True)])


def _blind(curvature: Arrow, problem: Problem, inside: BoolArray) -> BoolArray:
    """[X, K] interior multipliers in whose direction a prompt's own covariance shows no spread."""
    blocks = curvature.blocks[:, problem.own[:, None], problem.own]
    blocks = np.where(inside[:, :, None] & inside[:, None, :], blocks, 0.0)
    values, vectors = np.linalg.eigh(blocks)
    unseen = values <= _SINGULAR * np.maximum(values[:, -1:], np.finfo(np.float64).tiny)
    weight = np.einsum("xkm,xm->xk", vectors**2, unseen.astype(np.float64))
    result: BoolArray = (weight > 1e-8) & inside
    return result


def _free_shared(
    state: State, schur: FloatArray, pooled: FloatArray, kept: npt.NDArray[np.intp], result: FloatArray
) -> None:
    """Widens ``result`` [X, J, 2] at shared multipliers on a limit to where they would lie when freed."""
    problem, count = state.problem, state.problem.shared.size
    for slot in np.setdiff1d(np.arange(count), kept):
        together = np.append(kept, slot)
        edges = _freed(schur, pooled, state.gradient[:count], together, result[0, problem.shared[slot]])
        result[:, problem.shared[slot]] = edges


def _free_own(state: State, curvature: Arrow, noise: FloatArray, inside: BoolArray, result: FloatArray) -> None:
    """The same for own multipliers, freed within their prompt."""
    problem, count = state.problem, state.problem.shared.size
    slopes = np.zeros(result.shape[:2])
    slopes[:, problem.own] = state.gradient[count:].reshape(problem.rows.prompts, -1)
    for prompt, slot in zip(*np.nonzero(~inside), strict=True):
        names = problem.own[np.append(np.flatnonzero(inside[prompt]), slot)]
        edges = result[prompt, names[-1]]
        edges[:] = _freed(curvature.blocks[prompt], noise[prompt], slopes[prompt], names, edges)


def _freed(
    hessian: FloatArray, middle: FloatArray, slope: FloatArray, together: npt.NDArray[np.intp], edges: FloatArray
) -> FloatArray:
    """[2] ``edges`` widened to the interval of the last of ``together``, were it freed with the others."""
    block = hessian[np.ix_(together, together)]
    if block[-1, -1] <= _SINGULAR:  # a constant feature: its budget holds or fails for certain
        return edges
    shift = float((np.linalg.pinv(block, rcond=_SINGULAR, hermitian=True) @ -slope[together])[-1])
    error = NORMAL_95 * float(sandwich_errors(hessian, middle, together)[-1])
    return np.array([min(edges[0], edges[0] + shift - error), max(edges[1], edges[1] + shift + error)])
