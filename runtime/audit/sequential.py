"""Intervals and tests that hold however often one looks, so that an audit may stop as soon as it knows enough.

* Shares: the beta-binomial mixture (Robbins 1970, Annals of Mathematical Statistics 41:1397-1409): the interval holds
  every p whose likelihood ratio against the mixture over Beta(a, b) has not reached 1/(1 − confidence).
* Scores in [0, 1]: the hedged capital process with predictable plug-in bets (Waudby-Smith and Ramdas 2024, JRSS B
  86:1-27, theorem 3 and equations 24 to 27). Only the mean given the past has to be the one estimated.
* A gate between two rates: Wald's sequential probability ratio test (1945).

With probability `confidence` all intervals of a run hold the true mean at once. That needs an order of samples that is
random and fixed before the run, and independent samples: of several answers to one prompt feed their mean, as
`cluster_values` gives it. Shares and scores have no unit; log-likelihood ratios are in nats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Interval

State = Literal["pass", "fail", "go on", "budget"]
Kind = Literal["share", "score"]

_HEDGE = 0.5  # share of the capital that bets on a mean above the one tested
_BOLDNESS = 0.5  # the largest share of its capital that a bet may lose


# ----------------------------------------------------------------------------------------------------------- shares
def log_evidence(count: int, total: int, share: float, a: float = 1.0, b: float = 1.0) -> float:
    """The logarithm (nats) of mixture over likelihood of `share` in [0, 1]: a martingale of mean 1 if that is true.

    Raises ValueError on counts that are not 0 ≤ count ≤ total, a share outside [0, 1], or a, b ≤ 0.
    """
    _check_counts(count, total)
    if a <= 0 or b <= 0:
        raise ValueError("the parameters of a beta distribution are positive")
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, got {share}")
    return _log_evidence(count, total, share, a, b)


def _log_evidence(count: float, total: float, share: float, a: float, b: float) -> float:
    passed = total - count
    if (share == 0 and count) or (share == 1 and passed):
        return math.inf
    mixture = _log_beta(a + count, b + passed) - _log_beta(a, b)
    likelihood = (count * math.log(share) if count else 0.0) + (passed * math.log1p(-share) if passed else 0.0)
    return mixture - likelihood


def share_interval(count: int, total: int, confidence: float = CONFIDENCE, a: float = 1.0, b: float = 1.0) -> Interval:
    """The anytime-valid interval of a share after `total` samples, [0, 1] before the first. Errors: `log_evidence`."""
    threshold = -math.log1p(-clustered.confident(confidence))
    log_evidence(count, total, 0.5, a, b)  # for its checks
    if total == 0:
        return Interval(0.0, 1.0)
    share = count / total

    def excluded(candidate: float) -> bool:
        return _log_evidence(count, total, candidate, a, b) >= threshold

    low = 0.0 if count == 0 else _edge(excluded, 0.0, share)
    high = 1.0 if count == total else _edge(excluded, 1.0, share)
    return Interval(low, high)


# ----------------------------------------------------------------------------------------------------------- scores
def bets(values: Sequence[float], confidence: float = CONFIDENCE) -> list[float]:
    """The predictable plug-in bets λ [n] for values [n] in [0, 1]: each depends on the values before it only."""
    _check_scores(values)
    scale = 2 * math.log(2 / (1 - clustered.confident(confidence)))
    found, total, squares = [], 0.5, 0.25
    variance = 0.25
    for step, value in enumerate(values, 1):
        found.append(math.sqrt(scale / (variance * step * math.log1p(step))))
        total += value
        squares += (value - total / (step + 1)) ** 2
        variance = squares / (step + 1)
    return found


def log_capitals(values: Sequence[float], stakes: Sequence[float], tested: float) -> tuple[float, float]:
    """Logarithms (nats) of the hedged capitals that bet on a mean above and on one below `tested`, in [0, 1]."""
    up, down = math.log(_HEDGE), math.log1p(-_HEDGE)
    for value, stake in zip(values, stakes, strict=True):
        gain = value - tested
        up += math.log1p(min(stake, _BOLDNESS / tested) * gain if tested > 0 else stake * gain)
        down += math.log1p(-min(stake, _BOLDNESS / (1 - tested)) * gain if tested < 1 else -stake * gain)
    return up, down


def score_interval(values: Sequence[float], confidence: float = CONFIDENCE, tuned_to: float | None = None) -> Interval:
    """The anytime-valid interval of the mean of values [n] in [0, 1]; [0, 1] before the first.

    The bets are those that suit the confidence `tuned_to` (None: `confidence`), which has to be chosen beforehand.

    The capital on a higher mean falls and that on a lower mean rises with the mean tested, so that the means with
    capital below 1/(1 − confidence) are an interval whose ends are found by halving; no grid. Raises ValueError on a
    value outside [0, 1] or not finite, and on a bad confidence.
    """
    clustered.confident(confidence)
    stakes = bets(values, confidence if tuned_to is None else tuned_to)
    if not stakes:
        return Interval(0.0, 1.0)
    import numpy as np

    found, wagers = np.asarray(values, dtype=np.float64), np.asarray(stakes)
    threshold = -math.log1p(-confidence)

    def capital(tested: float, side: float) -> float:
        room = tested if side > 0 else 1 - tested
        bound = wagers if room == 0 else np.minimum(wagers, _BOLDNESS / room)
        return float(np.log1p(side * bound * (found - tested)).sum()) + math.log(_HEDGE if side > 0 else 1 - _HEDGE)

    mean = float(found.mean())
    low = _edge(lambda m: capital(m, 1.0) >= threshold, 0.0, mean) if capital(0.0, 1.0) >= threshold else 0.0
    high = _edge(lambda m: capital(m, -1.0) >= threshold, 1.0, mean) if capital(1.0, -1.0) >= threshold else 1.0
    return Interval(low, high)


def cluster_values(values: Sequence[float], clusters: Sequence[Hashable]) -> list[float]:
    """One value for each cluster, its mean, in order of first appearance, from values [n] and their clusters [n].

    What is estimated from them is the mean over clusters, each with the same weight. Raises ValueError: no values, one
    that is not finite, lengths that differ.
    """
    found, names = clustered.finite(values), clustered.keys(clusters, len(values))
    parts: dict[Hashable, list[float]] = {}
    for name, value in zip(names, found, strict=True):
        parts.setdefault(name, []).append(value)
    return [math.fsum(own) / len(own) for own in parts.values()]


# ------------------------------------------------------------------------------------------------------------ gates
@dataclass(frozen=True, slots=True)
class Decision:
    """What a stopping rule says after `seen` values.

    `state`: pass (the mean is below the limit), fail (above it), go on, or budget (spent, and neither is shown; not a
    pass). `interval` is the anytime-valid one, [0, 1] before the first value; `mean` is None there.
    """

    state: State
    seen: int
    mean: float | None
    interval: Interval
    limit: float


@dataclass(frozen=True, slots=True)
class StoppingRule:
    """Stop when the anytime-valid interval lies on one side of `limit`, or after `budget` values.

    Attributes:
        limit: in (0, 1), for the mean. budget: the most values, ≥ 1. confidence: of the interval over the whole run.
        kind: "share" for outcomes of 0 and 1, "score" for values in [0, 1], such as the means of clusters.
    """

    limit: float
    budget: int
    confidence: float = CONFIDENCE
    kind: Kind = "share"

    def __post_init__(self) -> None:
        clustered.confident(self.confidence)
        if not 0 < self.limit < 1:
            raise ValueError(f"a limit that can be crossed lies between 0 and 1, got {self.limit}")
        if self.budget < 1 or self.budget != int(self.budget):
            raise ValueError(f"a budget is a whole number of values from 1, got {self.budget}")
        if self.kind not in get_args(Kind):
            raise ValueError(f"{self.kind!r} is no kind of values: choose {', '.join(get_args(Kind))}")

    def decide(self, values: Sequence[float]) -> Decision:
        """What can be said after these values [n], n ≤ budget, whether or not one has looked before.

        Raises ValueError on an unusable value, or more values than the budget allows.
        """
        found = self._checked(values)
        if self.kind == "share":
            side = self._side_of_share(int(sum(found)), len(found))
        else:
            up, down = log_capitals(found, bets(found, self.confidence), self.limit)
            side = self._side_of_capital(up, down)
        return self._decision(found, side)

    def run(self, values: Iterable[float]) -> Decision:
        """Looks after every value and stops at the first decision; asks for no further value then.

        The state is "go on" where the values end before the budget. Raises ValueError on an unusable value.
        """
        seen: list[float] = []
        ahead = Betting(self.confidence, self.limit)
        count = 0
        for value in values:
            seen += self._checked([value])
            count += value == 1.0
            if self.kind == "share":
                side = self._side_of_share(count, len(seen))
            else:
                side = self._side_of_capital(*ahead.bet(float(value)))
            if side != "go on" or len(seen) == self.budget:
                return self._decision(seen, side)
        return self._decision(seen, "go on")

    def _side_of_share(self, count: int, total: int) -> State:
        if total == 0 or _log_evidence(count, total, self.limit, 1.0, 1.0) < -math.log1p(-self.confidence):
            return "go on"
        return "pass" if count < self.limit * total else "fail"

    def _side_of_capital(self, up: float, down: float) -> State:
        threshold = -math.log1p(-self.confidence)
        if max(up, down) < threshold:
            return "go on"
        return "fail" if up >= down else "pass"

    def _decision(self, values: list[float], side: State) -> Decision:
        state: State = "budget" if side == "go on" and len(values) >= self.budget else side
        if self.kind == "share":
            interval = share_interval(int(sum(values)), len(values), self.confidence)
        else:
            interval = score_interval(values, self.confidence)
        mean = math.fsum(values) / len(values) if values else None
        return Decision(state, len(values), mean, interval, self.limit)

    def _checked(self, values: Sequence[float]) -> list[float]:
        if not len(values):
            return []
        if len(values) > self.budget:
            raise ValueError(f"{len(values)} values are more than the budget of {self.budget}")
        if self.kind == "share":
            return clustered.binary(values)
        _check_scores(values)
        return [float(value) for value in values]


class Betting:
    """The capitals of `log_capitals` with the bets of `bets`, one value in [0, 1] at a time; `tested` is in (0, 1)."""

    def __init__(self, confidence: float, tested: float) -> None:
        self._scale = 2 * math.log(2 / (1 - confidence))
        self._tested = tested
        self._steps, self._total, self._squares = 0, 0.5, 0.25
        self._up, self._down = math.log(_HEDGE), math.log1p(-_HEDGE)

    def bet(self, value: float) -> tuple[float, float]:
        """The capitals (nats) after one more value."""
        self._steps += 1
        variance = self._squares / self._steps
        stake = math.sqrt(self._scale / (variance * self._steps * math.log1p(self._steps)))
        gain = value - self._tested
        self._up += math.log1p(min(stake, _BOLDNESS / self._tested) * gain)
        self._down += math.log1p(-min(stake, _BOLDNESS / (1 - self._tested)) * gain)
        self._total += value
        self._squares += (value - self._total / (self._steps + 1)) ** 2
        return self.capitals

    @property
    def capitals(self) -> tuple[float, float]:
        """(capital that bets on a higher mean, on a lower one) so far, nats."""
        return self._up, self._down


@dataclass(frozen=True, slots=True)
class Sprt:
    """Wald's test between a rate that is fine and one that is not.

    Attributes:
        fine, bad: the two rates, 0 < fine < bad < 1.
        false_alarm: how often a model of the fine rate may fail; miss: how often one of the bad rate may pass. Wald's
            bounds hold them approximately; `outcomes` says what they are exactly.
    """

    fine: float = 0.01
    bad: float = 0.05
    false_alarm: float = 0.05
    miss: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.fine < self.bad < 1:
            raise ValueError(f"two rates 0 < fine < bad < 1 are needed, got {self.fine} and {self.bad}")
        if not (self.false_alarm > 0 and self.miss > 0 and self.false_alarm + self.miss < 1):
            raise ValueError("the two errors are positive and sum to less than 1")

    @property
    def per_failure(self) -> float:
        """What a failure adds to the log-likelihood ratio, nats."""
        return math.log(self.bad / self.fine)

    @property
    def per_pass(self) -> float:
        """What a pass adds to the log-likelihood ratio, nats; negative."""
        return math.log1p(-self.bad) - math.log1p(-self.fine)

    @property
    def boundaries(self) -> tuple[float, float]:
        """(pass at or below, fail at or above), nats."""
        return math.log(self.miss / (1 - self.false_alarm)), math.log((1 - self.miss) / self.false_alarm)

    def decide(self, failures: int, total: int) -> State:
        """pass, fail or go on after so many samples. Raises ValueError unless 0 ≤ failures ≤ total."""
        _check_counts(failures, total)
        ratio = failures * self.per_failure + (total - failures) * self.per_pass
        low, high = self.boundaries
        return "pass" if ratio <= low else "fail" if ratio >= high else "go on"


@dataclass(frozen=True, slots=True)
class Outcomes:
    """How a sequential gate ends for independent samples of one true rate: probabilities, and the mean sample size."""

    passes: float
    fails: float
    undecided: float
    samples: float


def outcomes(decide: Callable[[int, int], State], rate: float, budget: int) -> Outcomes:
    """The exact law of a gate that is looked at after every sample, by dynamic programming over (count, total).

    `decide(count, total)` says pass, fail or go on (`Sprt.decide`, `gate`). Takes about budget²/2 calls. Raises
    ValueError on a rate outside [0, 1] or a budget below 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate lies between 0 and 1, got {rate}")
    if budget < 1:
        raise ValueError(f"a budget is a whole number of samples from 1, got {budget}")
    alive = {0: 1.0}
    ended = {"pass": 0.0, "fail": 0.0}
    samples = 0.0
    for total in range(1, budget + 1):
        samples += math.fsum(alive.values())
        after: dict[int, float] = {}
        for count, mass in alive.items():
            after[count] = after.get(count, 0.0) + mass * (1 - rate)
            after[count + 1] = after.get(count + 1, 0.0) + mass * rate
        alive = {}
        for count, mass in after.items():
            state = decide(count, total)
            if state in ended:
                ended[state] += mass
            else:
                alive[count] = mass
    return Outcomes(ended["pass"], ended["fail"], math.fsum(alive.values()), samples)


def gate(limit: float, confidence: float = CONFIDENCE) -> Callable[[int, int], State]:
    """The decision of a `StoppingRule` for shares as a function of (count, total), for `outcomes`."""
    rule = StoppingRule(limit, 1, confidence)
    return rule._side_of_share


# ------------------------------------------------------------------------------------------------------------ parts
def _edge(excluded: Callable[[float], bool], outside: float, inside: float) -> float:
    """The last float towards `outside` that is not excluded; exclusion is monotone from `inside` to `outside`."""
    for _ in range(200):
        middle = (outside + inside) / 2
        if middle in (outside, inside):
            break
        if excluded(middle):
            outside = middle
        else:
            inside = middle
    return inside


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _check_counts(count: int, total: int) -> None:
    if not 0 <= count <= total or count != int(count) or total != int(total):
        raise ValueError(f"{count} of {total} is no count of samples")


def _check_scores(values: Sequence[float]) -> None:
    for place, value in enumerate(values, 1):
        if not 0 <= value <= 1:  # also true for NaN
            raise ValueError(f"value {place} is {value}; scores lie between 0 and 1: scale them before")
