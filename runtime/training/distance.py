"""How far a policy is from the law, on samples that it did not learn from: KL(p*‖π), KL(π‖p*), KL(π‖p0), with errors.

    KL(p*‖π)  = E_{p*}[log p0 + R − log π] − log Z     from weighted rows of the regulated decoder
    KL(π‖p*)  = E_π[log π − log p0 − R] + log Z        from rows of the policy; infinite where it breaks a hard rule
    KL(p*‖p0) = E_{p*}[R] − log Z

Nats per response, means over the prompts. Ratios of means are jackknifed within each prompt, which takes away their
bias of order 1/n (Quenouille 1956; Tukey 1958). Errors are standard errors for these prompts, not for others like them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bylaw.runtime.models.interface import FloatArray, IntArray
from bylaw.runtime.training.experience import Experience


@dataclass(frozen=True, slots=True)
class Measured:
    """A mean over prompts in nats with its standard error; `prompts` is how many could be measured."""

    value: float
    error: float
    prompts: int

    def as_json(self) -> dict[str, float | int | None]:
        """`value` null where it is infinite or nothing could be measured."""
        finite = np.isfinite(self.value)
        return {
            "value": self.value if finite else None,
            "error": self.error if finite and np.isfinite(self.error) else None,
            "prompts": self.prompts,
        }


@dataclass(frozen=True, slots=True)
class Distances:
    """`forward` KL(p*‖π); `reverse` KL(π‖p*), infinite where `forbidden`, the share of the policy's rows that break
    a hard rule, is above 0; `reverse_allowed`: that of the policy given that it keeps the hard rules; `base` KL(π‖p0);
    `law` KL(p*‖p0). `ess`: mean effective number of rows of the law to a prompt."""

    forward: Measured
    reverse: Measured
    reverse_allowed: Measured
    base: Measured
    law: Measured
    forbidden: float
    ess: float


def distances(law: Experience, law_policy: FloatArray, policy: Experience) -> Distances:
    """From rows of the law (with log π of each, `law_policy` [N], nats) and rows of the policy with their log p0.

    Prompts of which fewer than two rows of the law have weight are not measured.
    """
    prompts = np.unique(policy.prompt)
    weight = law.log_weight
    forward, to_base, ess = [], [], []
    log_z: dict[int, tuple[float, float]] = {}
    for prompt in prompts:
        own = (law.prompt == prompt) & np.isfinite(weight)
        particles = int(law.drawn[prompt]) if prompt < len(law.drawn) else 0
        if own.sum() < 2:
            continue
        scale = weight[own].max()
        shifted = np.zeros(particles)
        shifted[: own.sum()] = np.exp(weight[own] - scale)
        gap, reward = np.zeros(particles), np.zeros(particles)
        reward[: own.sum()] = law.log_reward[own]
        gap[: own.sum()] = (law.log_p0 + law.log_reward)[own] - law_policy[own]
        # weights are shifted by `scale`, and so is the log of their mean
        forward.append(_jackknife(shifted, gap - scale, lambda mean, z: mean - np.log(z)))
        to_base.append(_jackknife(shifted, reward - scale, lambda mean, z: mean - np.log(z)))
        value, variance = _jackknife(shifted, gap, lambda mean, z: np.log(z))
        log_z[int(prompt)] = value + scale, variance
        ess.append(shifted.sum() ** 2 / np.square(shifted).sum())
    ratio = policy.log_q - policy.log_p0
    reverse, allowed = _reverse(policy, ratio, log_z)
    base = [_mean(ratio[policy.prompt == prompt]) for prompt in prompts]
    return Distances(
        _together(forward),
        reverse,
        allowed,
        _together(base),
        _together(to_base),
        float(np.mean(policy.log_reward == -np.inf)),
        float(np.mean(ess)) if ess else 0.0,
    )


def _reverse(policy: Experience, ratio: FloatArray, log_z: dict[int, tuple[float, float]]) -> tuple[Measured, Measured]:
    """(KL(π‖p*), that of π given that it keeps the hard rules)."""
    reward = policy.log_reward
    whole, allowed = [], []
    for prompt, (value, variance) in log_z.items():
        own = policy.prompt == prompt
        kept = own & (reward > -np.inf)
        if kept.sum() < 2:
            continue
        mean, spread = _mean((ratio - reward)[kept])
        share = kept.sum() / own.sum()
        # log of a share has the variance (1 − share) / (share · n)
        of_share = (1.0 - share) / (share * own.sum())
        allowed.append((mean + value - np.log(share), spread + variance + of_share))
        whole.append((mean + value, spread + variance))
    if bool((reward == -np.inf).any()):
        return Measured(np.inf, np.inf, len(log_z)), _together(allowed)
    return _together(whole), _together(allowed)


def _jackknife(
    weights: FloatArray, values: FloatArray, of: Callable[[FloatArray, FloatArray], FloatArray]
) -> tuple[float, float]:
    """(estimate less its bias, variance) of `of`(weighted mean of `values`, mean weight), [n] weights ≥ 0."""
    n, total, sum_of = len(weights), weights.sum(), (weights * values).sum()
    whole = float(of(np.array(sum_of / total), np.array(total / n)))
    rest = np.maximum(total - weights, np.finfo(float).tiny)
    without = of((sum_of - weights * values) / rest, rest / (n - 1))
    middle = float(without.mean())
    return n * whole - (n - 1) * middle, float((n - 1) / n * np.square(without - middle).sum())


def _mean(values: FloatArray) -> tuple[float, float]:
    n = len(values)
    return float(values.mean()), float(values.var(ddof=1) / n) if n > 1 else np.inf


def _together(parts: list[tuple[float, float]]) -> Measured:
    """The mean over prompts of estimates with their variances."""
    if not parts:
        return Measured(np.nan, np.nan, 0)
    values, variances = np.array(parts).T
    return Measured(float(values.mean()), float(np.sqrt(variances.sum()) / len(parts)), len(parts))


def law_weights(rows: Experience) -> FloatArray:
    """[N] weights of the law's rows that sum to 1 for each prompt; 0 for those without weight."""
    found = np.zeros(len(rows))
    weight = rows.log_weight
    for prompt in np.unique(rows.prompt):
        own: IntArray = np.flatnonzero((rows.prompt == prompt) & np.isfinite(weight))
        if len(own):
            shifted = np.exp(weight[own] - weight[own].max())
            found[own] = shifted / shifted.sum()
    return found
