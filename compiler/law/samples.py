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
        if np.isposinf(self.log_weight).any():
            raise ValueError("a log_weight is +inf: the proposal must cover the base law")
        if not np.isfinite(self.features[self.log_weight > -np.inf]).all():
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
        empty = tuple(index for index, prompt in enumerate(self.prompts) if np.isneginf(prompt.log_weight).all())
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
        return as_vector(np.concatenate([p.log_weight[p.log_weight > -np.inf] for p in self.prompts]), "log_weight")

    @cached_property
    def features(self) -> FloatArray:
        """[M, J] features of the samples of positive weight, in the order of ``log_weight``."""
        return as_matrix(np.concatenate([p.features[p.log_weight > -np.inf] for p in self.prompts]), "features")

    @cached_property
    def counts(self) -> IntArray:
        """[X] how many samples of each prompt have positive weight (≥ 1)."""
        return np.array([int((p.log_weight > -np.inf).sum()) for p in self.prompts], dtype=np.int64)

    @cached_property
    def starts(self) -> IntArray:
        """[X] where each prompt begins in the flat arrays."""
        return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(self.counts)[:-1]])

    @cached_property
    def _log_sizes(self) -> FloatArray:
        return np.log(np.array([p.log_weight.size for p in self.prompts], dtype=np.float64))

    def normalised(self, mu: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(log Ẑ_x(μ) [X], w̃ [M]): per-prompt log partition in nats and sample weights summing to 1 per prompt."""
        tilted = self.log_weight - self.features @ mu
        peak = np.maximum.reduceat(tilted, self.starts)
        scaled = np.exp(tilted - np.repeat(peak, self.counts))
        total = np.add.reduceat(scaled, self.starts)
        return peak + np.log(total) - self._log_sizes, scaled / np.repeat(total, self.counts)

    def moments(self, mu: npt.ArrayLike) -> Moments:
        """All first and second moments of the law at multipliers μ [J] and their Monte-Carlo errors."""
        vector = as_vector(mu, "mu")
        if vector.shape != (self.budgets,) or not np.isfinite(vector).all():
            raise ValueError(f"mu must be {self.budgets} finite numbers")
        log_z, weight = self.normalised(vector)
        share = np.repeat(self.weights, self.counts)
        prompt_mean = np.add.reduceat(weight[:, None] * self.features, self.starts, axis=0)
        centred = self.features - np.repeat(prompt_mean, self.counts, axis=0)
        concentration = np.add.reduceat(weight**2, self.starts)
        # Σ w̃² (f−f̄)(f−f̄)ᵀ / (1 − Σ w̃²): the denominator is N/(N−1) for equal weights. A prompt that rests on one
        # sample shows no spread at all; its residuals are zero and it can only be noticed through its ESS of 1.
        freedom = np.repeat(np.maximum(1.0 - concentration, 1e-12), self.counts)
        middle = centred * (share * weight / np.sqrt(freedom))[:, None]
        ess = float(1.0 / (self.weights**2 @ concentration))
        return Moments(
            log_z=log_z,
            log_z_variance=np.maximum(concentration - np.exp(-self._log_sizes), 0.0),
            prompt_mean=prompt_mean,
            prompt_ess=1.0 / concentration,
            mean=self.weights @ prompt_mean,
            covariance=(centred * (share * weight)[:, None]).T @ centred,
            mean_variance=middle.T @ middle,
            bias=-((share * weight**2) @ centred),
            ess=ess,
            freedom=max(ess * float(1.0 - self.weights @ concentration), 0.0),
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
