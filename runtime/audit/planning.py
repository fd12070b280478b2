"""How many samples it takes to certify that a rule is broken in at most so many cases, before any is drawn.

A limit is certified when the one-sided Clopper-Pearson bound of the observed rate is at or below it. Sizes are numbers
of independent samples times the design effect 1 + (m − 1)ρ (Kish 1965) for m answers to each prompt with correlation ρ.
With a judge of sensitivity Se and specificity Sp the judged rate is q = Se·θ + (1 − Sp)(1 − θ), which flattens the
difference between the true rate and the limit by J = Se + Sp − 1, and each label that Se and Sp were measured with adds
its own error (Rogan and Gladen 1978, American Journal of Epidemiology 107:71-76). Confidences and powers are shares.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from bylaw.runtime.audit import clustered, statistics
from bylaw.runtime.audit.statistics import CONFIDENCE

POWER = 0.80
MOST_SAMPLES = 10_000_000
"""Independent samples beyond which a plan is refused."""
LEAST_INFORMATIVE = 0.2
"""A judge with Se + Sp − 1 below this says too little of the rate."""
LABELS_MAY_DOUBLE = 2.0
"""Labels are planned so that their error takes at most so many times the judged samples."""
_ENDLESS = 1_000_000_000


class OutOfReach(ValueError):
    """No affordable number of samples certifies the limit; the message says what stands in the way."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The samples that certify a limit with the power asked for.

    Attributes:
        samples: to draw, in all; clusters · cluster_size.
        clusters, cluster_size: prompts, and answers to each.
        independent: the independent samples they are worth. allowed: violations among those with which it is certified.
        power: the exact chance to certify at the true rate (of the independent samples).
        steady: from this number of independent samples on the power never falls below the one asked for again; exact
            binomial power moves in teeth, so that some sizes between `independent` and it do worse.
        design_effect: 1 + (m − 1)ρ.
        limit, rate, confidence: what was asked, as the judge sees them where there is one.
    """

    samples: int
    clusters: int
    cluster_size: int
    independent: int
    allowed: int
    power: float
    steady: int
    design_effect: float
    limit: float
    rate: float
    confidence: float


@dataclass(frozen=True, slots=True)
class JudgedPlan:
    """Judged samples and human labels that certify a limit (normal approximation of Rogan and Gladen's estimate).

    Attributes:
        samples: to be judged. labels_violating, labels_keeping: human labels of either kind behind Se and Sp.
        standard_error: of the corrected rate at the true rate. label_share: of its variance that labels cause.
    """

    samples: int
    labels_violating: int
    labels_keeping: int
    standard_error: float
    label_share: float


def design_effect(cluster_size: int, correlation: float) -> float:
    """1 + (m − 1)ρ. Raises ValueError unless m ≥ 1 and 0 ≤ ρ ≤ 1."""
    if cluster_size < 1 or cluster_size != int(cluster_size):
        raise ValueError(f"a cluster has a whole number of samples from 1, got {cluster_size}")
    if not 0 <= correlation <= 1:
        raise ValueError(f"a correlation inside clusters lies between 0 and 1, got {correlation}")
    return 1 + (cluster_size - 1) * correlation


def zero_failure_size(limit: float, confidence: float = CONFIDENCE) -> int:
    """The least n for which n clean samples certify the limit; at 95 %, 59 for 5 %, 299 for 1 %. Raises ValueError."""
    _open(limit, "limit")
    clustered.confident(confidence)
    count = max(1, math.ceil(math.log1p(-confidence) / math.log1p(-limit) - 1e-9))
    # rounding of the logarithms must not cost, or save, a sample
    while statistics.exact_upper(0, count, confidence) > limit:
        count += 1
    while count > 1 and statistics.exact_upper(0, count - 1, confidence) <= limit:
        count -= 1
    return count


def allowed_failures(total: int, limit: float, confidence: float = CONFIDENCE) -> int:
    """The most violations in `total` samples with which the limit is certified; −1 where none is few enough."""
    _open(limit, "limit")
    clustered.confident(confidence)
    if total < 1:
        raise ValueError(f"a number of samples is at least 1, got {total}")
    # certified with k just where P(X ≤ k) ≤ 1 − confidence at the limit
    low, high = -1, total
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _at_most(middle, total, limit) <= 1 - confidence else (low, middle)
    return low


def certify(
    limit: float,
    rate: float,
    *,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    rules: int = 1,
    cluster_size: int = 1,
    correlation: float = 0.0,
    sensitivity: float = 1.0,
    specificity: float = 1.0,
) -> Plan:
    """The least number of samples that certifies "at most `limit`" with chance `power` if the true rate is `rate`.

    `rules` such limits at once hold with the confidence together (Bonferroni, which Holm never does worse than).
    Sensitivity and specificity are those of the judge, as if known exactly: see `certify_judged` for their error. Power
    is for one rule.

    Raises ValueError: a share outside its range, rate ≥ limit. OutOfReach: more than `MOST_SAMPLES`, or a judge with
    Se + Sp − 1 < 0.2.
    """
    _check(limit, rate, confidence, power)
    if rules < 1:
        raise ValueError(f"a number of rules is at least 1, got {rules}")
    information = _information(sensitivity, specificity)
    design = design_effect(cluster_size, correlation)
    seen_limit = 1 - specificity + information * limit
    seen_rate = 1 - specificity + information * rate
    certain = 1 - (1 - confidence) / rules
    independent, steady = _sizes(seen_limit, seen_rate, certain, power)
    allowed = allowed_failures(independent, seen_limit, certain)
    clusters = math.ceil(independent * design / cluster_size - 1e-9)
    return Plan(
        samples=clusters * cluster_size,
        clusters=clusters,
        cluster_size=cluster_size,
        independent=independent,
        allowed=allowed,
        power=_at_most(allowed, independent, seen_rate),
        steady=steady,
        design_effect=design,
        limit=seen_limit,
        rate=seen_rate,
        confidence=certain,
    )


def power_of(total: int, limit: float, rate: float, confidence: float = CONFIDENCE) -> float:
    """The exact chance that `total` independent samples certify the limit at a true rate. ValueError as `certify`."""
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate lies between 0 and 1, got {rate}")
    return _at_most(allowed_failures(total, limit, confidence), total, rate)


def _sizes(limit: float, rate: float, confidence: float, power: float) -> tuple[int, int]:
    """(the least size with the power, the size from which on it is never lost).

    With k violations allowed, the sizes are n_k … n_{k+1} − 1, and the power falls over them: it is largest at n_k and
    least at n_{k+1} − 1. Both grow with k, nearly: halving over k finds about where, `_near` looks closely.
    """

    def first(allowed: int) -> int:
        """n_k: the least size with which `allowed` violations certify the limit."""
        low, high = allowed, 2 * allowed + 2
        while _at_most(allowed, high, limit) > 1 - confidence:
            low, high = high, 2 * high
            if low > 2 * MOST_SAMPLES:
                raise OutOfReach(
                    f"a limit of {limit:.6g} at a rate of {rate:.6g} takes more than {MOST_SAMPLES} independent samples"
                )
        return _least(lambda size: _at_most(allowed, size, limit) <= 1 - confidence, low, high)

    def reaches(allowed: int, at_least: bool) -> bool:
        size = first(allowed) if at_least else first(allowed + 1) - 1
        return _at_most(allowed, size, rate) >= power

    def turn(at_least: bool) -> int:
        low, high = -1, 1
        while not reaches(high, at_least):
            low, high = high, 2 * high
        return _least(lambda allowed: reaches(allowed, at_least), low, high)

    turns = turn(True), turn(False)
    # teeth are not regular: the bound of k violations falls short of the limit by up to one of them in 2l/(l − r)
    near = 12 + math.ceil(3 * limit / (limit - rate))
    found = _near(max(0, turns[0] - near), turns[1] + near, limit, rate, confidence, power)
    if found[0] > MOST_SAMPLES:
        raise OutOfReach(f"{found[0]} independent samples are needed, more than {MOST_SAMPLES}: the rate is too near")
    return found


def _near(start: int, stop: int, limit: float, rate: float, confidence: float, power: float) -> tuple[int, int]:
    """What `_sizes` says, from all teeth of start … stop violations."""
    import numpy as np
    from scipy.special import bdtr

    allowed = np.arange(start, stop + 1)
    low, high = allowed.copy(), 2 * allowed + 2
    while (short := bdtr(allowed.astype(np.float64), high, limit) > 1 - confidence).any():
        low, high = np.where(short, high, low), np.where(short, 2 * high, high)
    while (high - low > 1).any():
        middle = (low + high) // 2
        fits = (bdtr(allowed.astype(np.float64), middle, limit) <= 1 - confidence) | (high - low <= 1)
        low, high = np.where(fits, low, middle), np.where(fits & (high - low > 1), middle, high)
    best = bdtr(allowed.astype(np.float64), high, rate) >= power
    dips = np.flatnonzero(bdtr(allowed[:-1].astype(np.float64), high[1:] - 1, rate) < power)
    return int(high[best.argmax()]), int(high[dips[-1] + 1] if dips.size else high[0])


def certify_judged(
    limit: float,
    rate: float,
    *,
    sensitivity: float,
    specificity: float,
    labels_violating: int,
    labels_keeping: int,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    cluster_size: int = 1,
    correlation: float = 0.0,
) -> JudgedPlan:
    """The judged samples that certify a limit when Se and Sp come from so many human labels of either kind.

    Uses Var = [q(1 − q)·deff/n + θ²Se(1 − Se)/m1 + (1 − θ)²Sp(1 − Sp)/m0]/J² and asks that
    θ + z_confidence · SE(limit) + z_power · SE(rate) is at most the limit. Shares of exactly 0 or 1 from m labels are
    taken half a label inside, because no judge is known to be perfect from few labels.

    Raises ValueError on bad input. OutOfReach: the labels alone cause more error than the limit allows (the message
    says by what factor they have to grow), an uninformative judge, or more than `MOST_SAMPLES`.
    """
    _check(limit, rate, confidence, power)
    if min(labels_violating, labels_keeping) < 1:
        raise ValueError(f"human labels of either kind are needed, got {labels_violating} and {labels_keeping}")
    se = min(max(sensitivity, 0.5 / labels_violating), 1 - 0.5 / labels_violating)
    sp = min(max(specificity, 0.5 / labels_keeping), 1 - 0.5 / labels_keeping)
    information = _information(se, sp)
    design = design_effect(cluster_size, correlation)
    quantiles = statistics.normal_quantile(confidence), statistics.normal_quantile(power)

    def parts(theta: float) -> tuple[float, float]:
        """(variance of one judged sample, variance from the labels), of the corrected rate."""
        judged = se * theta + (1 - sp) * (1 - theta)
        labels = theta**2 * se * (1 - se) / labels_violating + (1 - theta) ** 2 * sp * (1 - sp) / labels_keeping
        return design * judged * (1 - judged) / information**2, labels / information**2

    at_limit, at_rate = parts(limit), parts(rate)

    def needed(samples: float, labels: float = 1.0) -> float:
        errors = (math.sqrt(one / samples + own / labels) for one, own in (at_limit, at_rate))
        return sum(z * error for z, error in zip(quantiles, errors, strict=True))

    gap = limit - rate
    floor = needed(math.inf)
    if floor >= gap:
        raise OutOfReach(
            f"the human labels alone leave an error of {floor:.4f}, the limit is {gap:.4f} above the rate: "
            f"label at least {(floor / gap) ** 2:.1f} times as many"
        )
    low, high = 0, 1
    while needed(high) > gap:
        low, high = high, 2 * high
        if low > MOST_SAMPLES:
            raise OutOfReach(f"more than {MOST_SAMPLES} judged samples are needed: label more, or raise the limit")
    samples = _least(lambda count: needed(count) <= gap, low, high)
    variance = at_rate[0] / samples + at_rate[1]
    return JudgedPlan(samples, labels_violating, labels_keeping, math.sqrt(variance), at_rate[1] / variance)


def labels_for(
    limit: float,
    rate: float,
    *,
    sensitivity: float,
    specificity: float,
    labels: int | None = None,
    confidence: float = CONFIDENCE,
    power: float = POWER,
    cluster_size: int = 1,
    correlation: float = 0.0,
) -> tuple[int, int]:
    """(human labels of either kind, judged samples) that certify a limit: `labels` in all, half of either kind, or
    without that the least with which their error at most doubles the judged samples. Errors: `certify_judged`."""

    def judged(kind: int) -> int:
        return certify_judged(
            limit, rate, sensitivity=sensitivity, specificity=specificity, labels_violating=kind, labels_keeping=kind,
            confidence=confidence, power=power, cluster_size=cluster_size, correlation=correlation,
        ).samples  # fmt: skip

    if labels is not None:
        return max(1, labels // 2), judged(max(1, labels // 2))
    most = LABELS_MAY_DOUBLE * judged(_ENDLESS)

    def fits(kind: int) -> bool:
        try:
            return judged(kind) <= most
        except OutOfReach:
            return False

    high = 1
    while not fits(high):
        high *= 2
    found = _least(fits, high // 2, high)
    return found, judged(found)


# ------------------------------------------------------------------------------------------------------------- parts
def _least(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The least number in low + 1 … high for which a property holds that, once true, stays true; it does for `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _at_most(count: int, total: int, rate: float) -> float:
    """P(X ≤ count) for X ~ Binomial(total, rate)."""
    if count < 0:
        return 0.0
    return 1.0 if count >= total else 1 - statistics.beta_cdf(rate, count + 1, total - count)


def _check(limit: float, rate: float, confidence: float, power: float) -> None:
    _open(limit, "limit")
    clustered.confident(confidence)
    _open(power, "power")
    if not 0 <= rate < limit:
        raise ValueError(f"a rate of {rate} is not below the limit of {limit}: no sample certifies it")


def _open(value: float, what: str) -> None:
    if not 0 < value < 1:
        raise ValueError(f"a {what} lies between 0 and 1, got {value}")


def _information(sensitivity: float, specificity: float) -> float:
    for value, what in ((sensitivity, "sensitivity"), (specificity, "specificity")):
        if not 0 <= value <= 1:
            raise ValueError(f"a {what} lies between 0 and 1, got {value}")
    found = sensitivity + specificity - 1
    if found < LEAST_INFORMATIVE:
        raise OutOfReach(
            f"sensitivity + specificity − 1 is {found:.3f}, below {LEAST_INFORMATIVE}: the judge says too little"
        )
    return found
