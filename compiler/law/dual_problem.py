"""The dual as a function to minimise: value, slope and curvature at a point, in scaled units.

Unknowns are ν = μ·s with s_j the largest |f_j − b_j|, so that one tolerance fits token counts and rates alike. A point
is the flat vector of the P multipliers shared by all prompts followed by the K own multipliers of prompt 0, 1, …
(budgets that hold for each prompt). With c = (f − b) / s

    φ(ν) = Σ_x π_x log Ẑ_x(ν_shared, ν_x),     Ẑ_x = Σ_n e^{w_n − ν·c_n} / N_x .

Curvature is a dense P × P matrix without own multipliers, otherwise block-arrow: one block per prompt, coupled through
the shared ones only, so that a Newton step costs X small solves and one P × P (Schur complement; Boyd and
Vandenberghe 2004, appendix C.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bylaw.compiler.law.numerics import BoolArray, FloatArray, IntArray
from bylaw.compiler.law.rows import Rows, sampled_gram, weighted_gram
from bylaw.compiler.law.samples import own_tilt

SAFE_PIVOT = 1e-11
_LEAST_VARIANCE = 1e-14  # a feature without spread gets a long step, which its box or sign cuts short


@dataclass(frozen=True, eq=False)
class Problem:
    """X prompts, J budgets, of which K are ``each`` prompt's own; U = J − K + X·K unknowns.

    Attributes:
        rows: merged rows with features v, such that (v − offset) / unit = c = (f − b) / s. share: [X] prompt weights.
        bounds, scale: [J] b and s. limits: ([J], [J]) lowest and highest μ. each: [J] bool.
        offset, unit: [J]; b and s for features as they are, 0 and 1 (as with own multipliers) for standardised ones.
        idle: [U] bool, constant and on its bound (over all prompts, or in its own): a slope there would be rounding.
        varies: [U] bool, not constant within every prompt (or within its own).
    """

    rows: Rows
    share: FloatArray
    bounds: FloatArray
    scale: FloatArray
    limits: tuple[FloatArray, FloatArray]
    each: BoolArray
    idle: BoolArray
    varies: BoolArray
    offset: FloatArray
    unit: FloatArray

    @cached_property
    def shared(self) -> IntArray:
        """[P] indices of the budgets over the whole population."""
        return np.flatnonzero(~self.each).astype(np.int64)

    @cached_property
    def own(self) -> IntArray:
        """[K] indices of the budgets of each prompt."""
        return np.flatnonzero(self.each).astype(np.int64)

    def flat(self, per_budget: FloatArray) -> FloatArray:
        """[U] from [J] (the same in every prompt) or from [X, J] (shared ones taken from prompt 0)."""
        table = np.broadcast_to(per_budget, (self.rows.prompts, self.each.size))
        return np.concatenate([table[0, self.shared], table[:, self.own].ravel()])

    def table(self, point: FloatArray) -> FloatArray:
        """[X, J] from [U]: the multipliers that act on each prompt."""
        result = np.empty((self.rows.prompts, self.each.size))
        result[:, self.shared] = point[: self.shared.size]
        result[:, self.own] = point[self.shared.size :].reshape(self.rows.prompts, -1)
        return result

    @cached_property
    def lower(self) -> FloatArray:
        """[U] lowest scaled multipliers."""
        return self.flat(self.limits[0] * self.scale)

    @cached_property
    def upper(self) -> FloatArray:
        """[U] highest scaled multipliers."""
        return self.flat(self.limits[1] * self.scale)

    @cached_property
    def measure(self) -> FloatArray:
        """[U] what one unit of a slope is worth in φ: 1 for shared multipliers, π_x for those of prompt x."""
        return np.concatenate([np.ones(self.shared.size), np.repeat(self.share, self.own.size)])

    def project(self, point: FloatArray) -> FloatArray:
        """The nearest point within the limits."""
        return np.clip(point, self.lower, self.upper)

    def multipliers(self, point: FloatArray) -> FloatArray:
        """[X, J] μ = ν/s, landing exactly on a limit when ν does."""
        low, high = self.limits
        raw = self.table(point)
        result: FloatArray = np.where(
            raw <= low * self.scale,
            low,
            np.where(raw >= high * self.scale, high, np.clip(raw / self.scale, low, high)),
        )
        return result

    def tilt(self, point: FloatArray) -> FloatArray:
        """[G] the exponents of the rows, multipliers times features v."""
        return own_tilt(self.rows, self.table(point)) if self.own.size else (point / self.unit) @ self.rows.values

    def at(self, point: FloatArray) -> State:
        """Value and slope at a point."""
        log_z, weight = self.rows.normalised(self.tilt(point))
        means = self.rows.sums(weight)
        constant = 0.0 if self.own.size else float(point / self.unit @ self.offset)
        slope = (means[self.shared] @ self.share - self.offset[self.shared]) / self.unit[self.shared]
        if self.own.size:
            slope = np.concatenate([slope, means[self.own].T.ravel()])
        gradient = np.where(self.idle, 0.0, -slope)
        return State(self, point, log_z, weight, means, float(self.share @ log_z) + constant, gradient)


@dataclass(frozen=True, eq=False)
class State:
    """The dual at one point: ``value`` in nats, ``gradient`` [U] (own multipliers' per unit of π_x).

    Of the rows' features v: log Ẑ [X] and weights w̃ [G] of the law, ``means`` [J, X].
    """

    problem: Problem
    point: FloatArray
    log_z: FloatArray
    weight: FloatArray
    means: FloatArray
    value: float
    gradient: FloatArray

    @cached_property
    def tilt(self) -> FloatArray:
        """[G] the exponents of the rows."""
        return self.problem.tilt(self.point)

    @cached_property
    def stationarity(self) -> float:
        """‖ν − P(ν − ∇)‖∞: zero exactly at the solution."""
        down = np.minimum(self.gradient, self.point - self.problem.lower)
        up = np.minimum(-self.gradient, self.problem.upper - self.point)
        # Not by subtracting the moved point: on a huge multiplier of a rule that cannot hold, a slope would vanish.
        return float(np.maximum(down, up).max(initial=0.0))

    @cached_property
    def held(self) -> BoolArray:
        """[U] bool: at a limit with the slope pressing against it."""
        low = (self.point <= self.problem.lower) & (self.gradient >= 0.0)
        high = (self.point >= self.problem.upper) & (self.gradient <= 0.0)
        result: BoolArray = low | high | self.problem.idle
        return result

    def curvature(self, rough: bool = False) -> Dense | Arrow:
        """∇²φ here, or an estimate of it from an eighth of the rows (shared multipliers only)."""
        rows, share, means = self.problem.rows, self.problem.share, self.means
        if not self.problem.own.size:
            centre = means @ share
            apart = means - centre[:, None] if rough else means
            weight = self.weight if rows.prompts == 1 else self.weight * rows.spread(share)
            gram = sampled_gram(rows.values, weight, centre) if rough else weighted_gram(rows.values, weight)
            return Dense((gram - (apart * share) @ apart.T) / np.outer(self.problem.unit, self.problem.unit))
        ends = rows.starts + rows.counts
        blocks = np.stack(
            [
                weighted_gram(rows.values, self.weight, int(a), int(b)) - np.outer(mean, mean)
                for a, b, mean in zip(rows.starts, ends, means.T, strict=True)
            ]
        )
        return Arrow(blocks, share, self.problem.shared, self.problem.own)


@dataclass(frozen=True, eq=False)
class Dense:
    """A J × J Hessian."""

    matrix: FloatArray

    def step(self, state: State, damping: float) -> FloatArray:
        """−(H + damping)⁻¹∇ over the multipliers that are not held, 0 for the others."""
        free = ~state.held
        move = np.zeros(free.size)
        block = self.matrix[np.ix_(free, free)] + damping * np.eye(int(free.sum()))
        move[free] = safe_solve(block, -state.gradient[free])
        return move

    def along(self, move: FloatArray) -> float:
        """moveᵀ H move."""
        return float(move @ self.matrix @ move)

    def largest(self) -> float:
        """The largest diagonal entry."""
        return float(np.diag(self.matrix).max(initial=0.0))

    def exceeds(self, least: float, members: BoolArray) -> bool:
        """Whether the smallest eigenvalue over ``members`` [U] is certainly above ``least``."""
        block = self.matrix[np.ix_(members, members)]
        return bool(block.shape[0] == 0 or np.linalg.eigvalsh(block)[0] > least)


@dataclass(frozen=True, eq=False)
class Arrow:
    """A Hessian of covariance blocks [X, J, J] in which prompts meet through the shared multipliers only."""

    blocks: FloatArray
    share: FloatArray
    shared: IntArray
    own: IntArray

    def step(self, state: State, damping: float) -> FloatArray:
        """As ``Dense.step``, own multipliers eliminated prompt by prompt."""
        prompts, count = self.share.size, self.shared.size
        free = ~state.held
        free_own = free[count:].reshape(prompts, -1)
        inverse = own_inverse(self.blocks[:, self.own[:, None], self.own] + damping * np.eye(self.own.size), free_own)
        cross = self.blocks[:, self.shared[:, None], self.own] * free_own[:, None, :]
        slope = np.where(free, -state.gradient, 0.0)
        own_slope = slope[count:].reshape(prompts, -1)
        reach = inverse @ own_slope[:, :, None]
        reduced = slope[:count] - self.share @ (cross @ reach)[:, :, 0]
        schur = self.schur(inverse, cross) + damping * np.eye(count)
        open_shared = np.flatnonzero(free[:count])
        move = np.zeros(count)
        move[open_shared] = safe_solve(schur[np.ix_(open_shared, open_shared)], reduced[open_shared])
        own_move = reach[:, :, 0] - (inverse @ (move @ cross)[:, :, None])[:, :, 0]
        return np.concatenate([move, own_move.ravel()])

    def schur(self, inverse: FloatArray, cross: FloatArray) -> FloatArray:
        """[P, P] the shared block less what the own multipliers take up."""
        rest = self.blocks[:, self.shared[:, None], self.shared] - cross @ inverse @ np.swapaxes(cross, 1, 2)
        result: FloatArray = np.tensordot(self.share, rest, 1)
        return result

    def along(self, move: FloatArray) -> float:
        """moveᵀ H move."""
        table = np.zeros((self.share.size, self.shared.size + self.own.size))
        table[:, self.shared] = move[: self.shared.size]
        table[:, self.own] = move[self.shared.size :].reshape(self.share.size, -1)
        return float(self.share @ ((self.blocks @ table[:, :, None])[:, :, 0] * table).sum(axis=1))

    def largest(self) -> float:
        """The largest diagonal entry."""
        return float(np.diagonal(self.blocks, axis1=1, axis2=2).max(initial=0.0))

    def exceeds(self, least: float, members: BoolArray) -> bool:
        """Whether H − least is positive definite over ``members`` [U] (own ones in units of √π_x)."""
        count = self.shared.size
        keep = members[count:].reshape(self.share.size, -1)
        blocks = self.blocks[:, self.own[:, None], self.own] - least * np.eye(self.own.size)
        blocks = np.where(keep[:, :, None] & keep[:, None, :], blocks, np.eye(self.own.size))
        if np.linalg.eigvalsh(blocks).min(initial=1.0) <= least:
            return False
        cross = self.blocks[:, self.shared[:, None], self.own] * keep[:, None, :]
        inverse: FloatArray = np.linalg.inv(blocks).astype(np.float64)
        schur = self.schur(inverse, cross)[np.ix_(members[:count], members[:count])]
        return bool(schur.shape[0] == 0 or np.linalg.eigvalsh(schur)[0] > least)


def own_inverse(blocks: FloatArray, free: BoolArray) -> FloatArray:
    """[X, K, K] inverses over the ``free`` [X, K] entries, zero elsewhere; directions without spread are damped."""
    size = blocks.shape[-1]
    if size == 0:
        return blocks
    deviation = np.sqrt(np.maximum(np.diagonal(blocks, axis1=1, axis2=2), _LEAST_VARIANCE))
    both = free[:, :, None] & free[:, None, :]
    correlation = np.where(both, blocks / (deviation[:, :, None] * deviation[:, None, :]), np.eye(size))
    smallest = np.linalg.eigvalsh(correlation)[:, 0]
    extra = np.where(smallest > SAFE_PIVOT, 0.0, 10.0 * SAFE_PIVOT - np.minimum(smallest, 0.0))
    inverse = np.linalg.inv(correlation + extra[:, None, None] * np.eye(size))
    result: FloatArray = np.where(both, inverse / (deviation[:, :, None] * deviation[:, None, :]), 0.0)
    return result


def safe_solve(hessian: FloatArray, slope: FloatArray) -> FloatArray:
    """(H + εD)⁻¹ slope, D = diag H, with the smallest ε that makes the correlation matrix safely positive definite."""
    deviation = np.sqrt(np.maximum(np.diag(hessian), _LEAST_VARIANCE))
    correlation = hessian / np.outer(deviation, deviation)
    extra = 0.0
    while extra < 1e6:
        try:
            factor = np.linalg.cholesky(correlation + extra * np.eye(slope.size))
            if np.square(np.diag(factor)).min(initial=1.0) > SAFE_PIVOT:
                half = np.linalg.solve(factor, slope / deviation)
                result: FloatArray = np.linalg.solve(factor.T, half) / deviation
                return result
        except np.linalg.LinAlgError:
            pass
        extra = max(10.0 * extra, 10.0 * SAFE_PIVOT)
    return slope
