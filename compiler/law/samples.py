"""The law on weighted samples grouped by prompt, LAW.md §2.

A sample y_n of prompt x carries ``log_weight`` = log of p0(y)·1[H]·e^{Σ w r} / q(y) for the proposal q that drew it
(−inf where a hard rule fails), so that

    Ẑ_x(μ) = mean_n exp(log_weight_n − μ·f_n),       E_{p*(.|x)} g ≈ Σ_n w̃_n g_n,   w̃_n ∝ exp(log_weight_n − μ·f_n).

Prompts are a fixed suite: every error stated here is the Monte-Carlo error within prompts, not the error of choosing
prompts. Sources: self-normalised importance sampling and its delta method (Owen, *Monte Carlo theory*, ch. 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import (
    NORMAL_95,
    EmptySupport,
    FloatArray,
    IntArray,
    as_matrix,
    as_vector,
    log_mean_exp,
    log_sum_exp,
)
from bylaw.compiler.law.rows import Rows, binary_rows, centred_gram, merged

__all__ = [
    "Estimate",
    "Moments",
    "Population",
    "PromptSamples",
    "effective_sample_size",
    "log_mean_exp",
    "log_z_estimate",
]


@dataclass(frozen=True)
class Estimate:
    """A Monte-Carlo estimate with its standard error (same unit as the value)."""

    value: float
    standard_error: float

    @property
    def interval(self) -> tuple[float, float]:
        """The two-sided 95 % normal interval."""
        half_width = NORMAL_95 * self.standard_error
        return self.value - half_width, self.value + half_width


@dataclass(frozen=True, eq=False)
class PromptSamples:
    """The samples of one prompt.

    Attributes:
        log_weight: [N] in nats, N ≥ 1; −inf allowed (a sample that a hard rule forbids still counts in the mean).
        features: [N, J]; must be finite wherever the weight is positive, is ignored elsewhere.

    Raises:
        ValueError: wrong shapes, no samples, NaN, a weight of +inf, or a non-finite feature on the support.
    """

    log_weight: FloatArray
    features: FloatArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "log_weight", as_vector(self.log_weight, "log_weight"))
        object.__setattr__(self, "features", np.array(self.features, dtype=np.float64))
        self.features.setflags(write=False)
        if self.log_weight.size == 0:
            raise ValueError("a prompt needs at least one sample")
        if self.features.ndim != 2 or self.features.shape[0] != self.log_weight.size:
            raise ValueError(f"features have shape {self.features.shape}, expected [{self.log_weight.size}, J]")
        if self.log_weight.max() == np.inf:
            raise ValueError("a log_weight is +inf: the proposal must cover the base law")
        if not np.isfinite(self.features).all() and not np.isfinite(self.features[self.log_weight > -np.inf]).all():
            raise ValueError("features must be finite on samples of positive weight")


@dataclass(frozen=True, eq=False)
class Moments:
    """What one evaluation of the law at a fixed μ yields (X prompts, J features).

    Attributes:
        log_z: [X] log Ẑ_x(μ) in nats.
        log_z_variance: [X] delta-method variance of log_z.
        prompt_mean: [X, J] E_{p*(.|x)} f.
        prompt_ess: [X] effective sample size of each prompt.
        mean: [J] the population expectation.
        covariance: [J, J] the prompt-weighted mean of within-prompt covariances, the Hessian of the dual.
        mean_variance: [J, J] Monte-Carlo covariance of ``mean`` (sandwich middle), prompts held fixed.
        bias: [J] first-order bias of ``mean`` from self-normalisation; it does not average out over prompts.
        ess: effective size of the pooled estimate, 1 / Σ_x π_x² / ESS_x.
        freedom: ess · (1 − mean_x 1/ESS_x): normalising a prompt uses up one sample, so that a suite of many prompts
            that each rest on a single sample has no information, whatever its ``ess``.
    """

    log_z: FloatArray
    log_z_variance: FloatArray
    prompt_mean: FloatArray
    prompt_ess: FloatArray
    mean: FloatArray
    covariance: FloatArray
    mean_variance: FloatArray
    bias: FloatArray
    ess: float
    freedom: float


@dataclass(frozen=True, eq=False)
class Population:
    """Prompts x with weights π_x (uniform unless given) and the samples of each; the law is normalised per prompt.

    Attributes:
        prompts: X ≥ 1 sample sets with the same number of features J.
        prompt_weight: [X] nonnegative, normalised here; None means uniform.

    Raises:
        ValueError: no prompts, differing J, or bad prompt weights.
        EmptySupport: some prompt has no sample of positive weight (``.prompts`` names their indices).
    """

    prompts: Sequence[PromptSamples]
    prompt_weight: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "prompts", tuple(self.prompts))
        if not self.prompts:
            raise ValueError("a population needs at least one prompt")
        if len({prompt.features.shape[1] for prompt in self.prompts}) != 1:
            raise ValueError("prompts disagree on the number of features")
        count = len(self.prompts)
        raw = np.ones(count) if self.prompt_weight is None else self.prompt_weight
        weight = np.array(as_vector(raw, "prompt_weight"))
        if weight.shape != (count,) or not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
            raise ValueError(f"prompt_weight must be {count} finite nonnegative numbers, not all zero")
        weight /= weight.sum()
        weight.setflags(write=False)
        object.__setattr__(self, "prompt_weight", weight)
        empty = tuple(index for index, prompt in enumerate(self.prompts) if prompt.log_weight.max() == -np.inf)
        if empty:
            raise EmptySupport(
                f"no sample of positive weight for prompt(s) {list(empty)}: every response drawn breaks a hard rule",
                prompts=empty,
            )

    @property
    def budgets(self) -> int:
        """J, the number of features."""
        return int(self.prompts[0].features.shape[1])

    @property
    def size(self) -> int:
        """N, the number of samples over all prompts, forbidden ones included."""
        return sum(prompt.log_weight.size for prompt in self.prompts)

    @cached_property
    def weights(self) -> FloatArray:
        """[X] the normalised prompt weights π."""
        return as_vector(np.ones(0) if self.prompt_weight is None else self.prompt_weight, "prompt_weight")

    @cached_property
    def log_weight(self) -> FloatArray:
        """[M] log weights of the samples of positive weight, prompt after prompt."""
        joined = np.concatenate([prompt.log_weight for prompt in self.prompts])
        alive: FloatArray = joined if joined.min() > -np.inf else joined[joined > -np.inf]
        alive.setflags(write=False)
        return alive

    @cached_property
    def features(self) -> FloatArray:
        """[M, J] features of the samples of positive weight, in the order of ``log_weight``."""
        return as_matrix(np.concatenate([p.features[p.log_weight > -np.inf] for p in self.prompts]), "features")

    @cached_property
    def counts(self) -> IntArray:
        """[X] how many samples of each prompt have positive weight (≥ 1)."""
        sizes = [
            p.log_weight.size if p.log_weight.min() > -np.inf else np.count_nonzero(p.log_weight > -np.inf)
            for p in self.prompts
        ]
        return np.array(sizes, dtype=np.int64)

    @cached_property
    def starts(self) -> IntArray:
        """[X] where each prompt begins in the flat arrays."""
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.counts)[:-1]])

    @cached_property
    def rows(self) -> Rows:
        """The samples of positive weight with equal feature rows of a prompt merged: what evaluations run on."""
        sizes = np.log(np.array([p.log_weight.size for p in self.prompts], dtype=np.float64))
        alive = [
            prompt.features if count == prompt.log_weight.size else prompt.features[prompt.log_weight > -np.inf]
            for prompt, count in zip(self.prompts, self.counts, strict=True)
        ]
        binary = binary_rows(alive, self.log_weight, self.starts, self.counts, sizes)
        if binary is not None:
            return binary
        values = np.empty((self.budgets, int(self.counts.sum())))
        for features, start, count in zip(alive, self.starts, self.counts, strict=True):
            values[:, start : start + count] = features.T
        return merged(Rows(values, self.log_weight, 2.0 * self.log_weight, self.starts, self.counts, sizes, True))

    @cached_property
    def base(self) -> Moments:
        """The moments of the law without budgets, μ = 0."""
        return row_moments(self.rows, self.weights, np.zeros(self.rows.log_weight.size))

    def moments(self, mu: npt.ArrayLike) -> Moments:
        """All first and second moments of the law at multipliers μ and their Monte-Carlo errors.

        Args:
            mu: [J] for all prompts, or [X, J] with multipliers of each prompt's own.
        """
        multipliers = np.array(mu, dtype=np.float64)
        if multipliers.shape not in ((self.budgets,), (len(self.prompts), self.budgets)):
            raise ValueError(f"mu must be {self.budgets} finite numbers, or as many for each prompt")
        if not np.isfinite(multipliers).all():
            raise ValueError(f"mu must be {self.budgets} finite numbers")
        rows = self.rows
        tilt = multipliers @ rows.values if multipliers.ndim == 1 else own_tilt(rows, multipliers)
        return row_moments(rows, self.weights, tilt)


def own_tilt(rows: Rows, multipliers: FloatArray) -> FloatArray:
    """[G] μ_x·f of every row for multipliers [X, J]."""
    if rows.prompts * 64 > rows.log_weight.size:
        result: FloatArray = np.einsum("jg,jg->g", rows.spread(multipliers.T), rows.values)
        return result
    ends = rows.starts + rows.counts
    return np.concatenate([mu @ rows.values[:, a:b] for mu, a, b in zip(multipliers, rows.starts, ends, strict=True)])


def row_moments(
    rows: Rows,
    share: FloatArray,
    tilt: FloatArray | None,
    covariance: FloatArray | None = None,
    law: tuple[FloatArray, FloatArray, FloatArray] | None = None,
) -> Moments:
    """The moments on merged rows for exponents ``tilt`` [G] = μ·f and prompt weights ``share`` [X].

    ``covariance`` [J, J] and ``law``, (log Ẑ [X], w̃ [G], mean of f [J, X]), are taken over where they are known. Rows
    of single samples need no ``tilt`` then.
    """
    if law is None:
        log_z, weight = rows.normalised(np.zeros(1) if tilt is None else tilt)
        prompt_mean = rows.sums(weight)
    else:
        log_z, weight, prompt_mean = law
    square = rows.squares(tilt, log_z, weight)
    concentration = np.minimum(rows.total(square), 1.0)
    # Σ w̃² (f−f̄)(f−f̄)ᵀ / (1 − Σ w̃²): the denominator is N/(N−1) for equal weights. A prompt that rests on one
    # sample shows no spread at all; its residuals are zero and it can only be noticed through its ESS of 1.
    freedom = np.maximum(1.0 - concentration, 1e-12)
    ess = float(1.0 / (share**2 @ concentration))
    if covariance is None:
        pooled = weight if rows.prompts == 1 else weight * rows.spread(share)
        covariance = centred_gram(rows, prompt_mean, pooled, prompt_mean * share, share)
    # Σ w̃² (f−f̄) of each prompt, from Σ w̃² f and Σ w̃².
    mass, scale = rows.total(square), share**2 / freedom
    sums = rows.sums(square)
    drift = (sums - prompt_mean * mass) @ share
    rows.fold(np.multiply, square, scale)
    noise = centred_gram(rows, prompt_mean, square, sums * scale, mass * scale)
    return Moments(
        log_z=log_z,
        log_z_variance=np.maximum(concentration - np.exp(-rows.log_sizes), 0.0),
        prompt_mean=np.ascontiguousarray(prompt_mean.T),
        prompt_ess=1.0 / concentration,
        mean=prompt_mean @ share,
        covariance=covariance,
        mean_variance=noise,
        bias=-drift,
        ess=ess,
        freedom=max(ess * float(1.0 - share @ concentration), 0.0),
    )


def effective_sample_size(log_weight: npt.ArrayLike) -> float:
    """Kish's (Σw)² / Σw² for log weights [N] in nats, between 1 and N.

    Raises:
        EmptySupport: every weight is zero.
    """
    vector = as_vector(log_weight, "log_weight")
    total = log_sum_exp(vector)
    if total == -np.inf:
        raise EmptySupport("every weight is zero: no effective sample")
    return float(np.exp(2.0 * total - log_sum_exp(2.0 * vector)))


def log_z_estimate(log_weight: npt.ArrayLike) -> Estimate:
    """log Ẑ = log mean exp(log_weight) [N] in nats with its delta-method error √(Σ w̃² − 1/N).

    Raises:
        EmptySupport: every weight is zero.
    """
    vector = as_vector(log_weight, "log_weight")
    relative_variance = 1.0 / effective_sample_size(vector) - 1.0 / vector.size
    return Estimate(log_mean_exp(vector), float(np.sqrt(max(relative_variance, 0.0))))
