"""Which rules pull against each other, and which cost nothing, LAW.md §2.

dE[φ_i]/dθ_j = Cov_ij = dE[φ_j]/dθ_i: with every φ turned so that its rule wants more of it, a negative covariance is a
pair in tension. Every entry has its Monte-Carlo error, and pairs are told apart only beyond it, at one false alarm
rate for all of them together (Bonferroni), so that many rules do not make chance look like a finding. Two rare events
that never met in the sample have hardly any spread to take an error from; there the error is the one that features free
of each other would have, so that what chance alone keeps apart is no tension.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.dual import DualSolution
from bylaw.compiler.law.numerics import FloatArray, log_sum_exp
from bylaw.compiler.law.prices import PricedPrompt, checked_prompts


@dataclass(frozen=True, eq=False)
class Interactions:
    """How K features of rules move together under the law.

    Attributes:
        covariance, covariance_error: [K, K] mean_x Cov_{p*(.|x)}, in the features' units, with standard errors.
        correlation, correlation_error: [K, K] the same over standard deviations, within [−1, 1]; NaN where one is 0, as
            for a hard rule, which is constant under the law.
        chance_error: [K, K] the standard error of the correlation of features that are free of each other.
    """

    covariance: FloatArray
    covariance_error: FloatArray
    correlation: FloatArray
    correlation_error: FloatArray
    chance_error: FloatArray

    def told_apart(self, false_alarm: float = 0.05) -> tuple[tuple[int, int], ...]:
        """Pairs (i, j), i < j, whose correlation is not 0 beyond both its errors, the strongest first.

        Args:
            false_alarm: probability of any pair at all where no two features have to do with each other.

        Raises:
            ValueError: ``false_alarm`` is not between 0 and 1.
        """
        if not 0.0 < false_alarm < 1.0:
            raise ValueError(f"a false alarm rate is between 0 and 1, got {false_alarm}")
        size = len(self.correlation)
        pairs = [(i, j) for i in range(size) for j in range(i + 1, size) if np.isfinite(self.correlation[i, j])]
        if not pairs:
            return ()
        limit = NormalDist().inv_cdf(1.0 - false_alarm / (2 * len(pairs)))
        error = np.fmax(self.correlation_error, self.chance_error)
        found = [pair for pair in pairs if abs(self.correlation[pair]) > limit * error[pair]]
        return tuple(sorted(found, key=lambda pair: -abs(self.correlation[pair])))


def interactions(
    prompts: Sequence[PricedPrompt],
    features: Sequence[npt.ArrayLike] | None = None,
    prompt_weight: npt.ArrayLike | None = None,
) -> Interactions:
    """Covariances and correlations of features under the law, with errors.

    Args:
        features: [N, K] per prompt, turned so that a rule wants more of its own (minus the rate for "at most"). By
            default the log factors themselves, which are so turned: entry (s, t) of the covariance is then the change
            of E[L_s] per relative increase of the strength of t, in nats, and a hard rule has a zero row.

    Raises:
        ValueError: prompts disagree on T, or features do not fit or are not finite under the law.
        EmptySupport: all terms together leave some prompt without a sample of positive weight.
    """
    weights, _ = checked_prompts(prompts, prompt_weight)
    columns = [p.log_factors for p in prompts] if features is None else [np.asarray(f, dtype=float) for f in features]
    if len(columns) != len(prompts):
        raise ValueError(f"{len(prompts)} prompts need as many feature matrices, got {len(columns)}")
    # Per sample: its weight times the prompt's, and its centred features.
    parts = [_centred(prompt, matrix) for prompt, matrix in zip(prompts, columns, strict=True)]
    probability = np.concatenate([share * part[0] for share, part in zip(weights, parts, strict=True)])
    centred = np.concatenate([part[1] for part in parts])
    within = [(part[1] * part[0][:, None]).T @ part[1] for part in parts]
    covariance: FloatArray = np.sum([share * each for share, each in zip(weights, within, strict=True)], axis=0)
    sizes = [len(part[0]) for part in parts]
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    known = scale > 0.0
    units = np.where(known, scale, 1.0)
    correlation = np.where(np.outer(known, known), covariance / np.outer(units, units), np.nan)
    errors, scaled_errors = np.zeros_like(covariance), np.full_like(covariance, np.nan)

    def moved(row: int) -> FloatArray:
        """[M, K] by how much each sample moves row ``row`` of the covariance."""
        own = np.repeat(np.array([each[row] for each in within]), sizes, axis=0)
        result: FloatArray = probability[:, None] * (centred[:, [row]] * centred - own)
        return result

    variances = np.stack([moved(row)[:, row] for row in range(len(covariance))], axis=1) if len(covariance) else centred
    for row in range(len(covariance)):
        influence = moved(row)
        errors[row] = np.sqrt(np.square(influence).sum(axis=0))
        if known[row]:
            relative = 0.5 * (variances[:, [row]] / units[row] ** 2 + variances / units**2)
            normed = influence / (units[row] * units) - correlation[row] * relative
            scaled_errors[row] = np.where(known, np.sqrt(np.square(normed).sum(axis=0)), np.nan)
    chance = np.sqrt(
        sum(
            np.square(share * part[0]).sum() * np.outer(np.diag(each), np.diag(each))
            for share, part, each in zip(weights, parts, within, strict=True)
        )
    ) / np.outer(units, units)
    return Interactions(
        covariance,
        errors,
        np.clip(correlation, -1.0, 1.0),
        scaled_errors,
        np.where(np.outer(known, known), chance, np.nan),
    )


def _centred(prompt: PricedPrompt, features: FloatArray) -> tuple[FloatArray, FloatArray]:
    log_weight = prompt.log_base_ratio + prompt.log_factors.sum(axis=1)
    if features.ndim != 2 or len(features) != log_weight.size:
        raise ValueError(f"features must be [{log_weight.size}, K], got {features.shape}")
    kept = log_weight > -np.inf
    probability: FloatArray = np.exp(log_weight[kept] - log_sum_exp(log_weight[kept]))
    if not np.isfinite(features[kept]).all():
        raise ValueError("features must be finite on samples that the law allows")
    return probability, features[kept] - probability @ features[kept]


@dataclass(frozen=True)
class Redundant:
    """A budget that the other terms meet already: it could be left out without changing the law.

    Attributes:
        index: of the budget. ceiling: largest |multiplier| within the 95 % interval; 0 where slack exceeds its error.
    """

    index: int
    ceiling: float

    @property
    def is_certain(self) -> bool:
        """Whether chance in the sample cannot be the reason (at 95 %)."""
        return self.ceiling == 0.0


def redundant_budgets(solution: DualSolution) -> tuple[Redundant, ...]:
    """The budgets with μ = 0, in order."""
    return tuple(
        Redundant(index, float(np.abs(solution.mu_interval[index]).max()))
        for index, (status, mu) in enumerate(zip(solution.status, solution.mu, strict=True))
        if status == "met" and mu == 0.0
    )
