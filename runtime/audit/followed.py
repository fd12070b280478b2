"""One limit or hard rule while answers come in: the evidence that it is kept and that it is broken, at every look.

How evidence is shared by the rules of a policy, and what the values are, says `bylaw.runtime.audit.stopping`. Evidence
and thresholds are in nats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from bylaw.compiler.evaluate import TermScore, Verdict
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit import sequential
from bylaw.runtime.interval import Interval
from bylaw.runtime.stopping_record import LimitState, LimitStopping

ERROR = 0.05
HARD_LIMIT = 0.01
"""The rate of broken answers that counts as none, where nobody says otherwise."""
SPIKE = 0.9
"""Mass of the mixture for a hard rule on "no answer breaks it"."""

Kind = Literal["share", "hard", "score"]


class StoppingError(ValueError):
    """An audit that cannot stop by itself as asked; text fit for users."""


@dataclass(frozen=True, slots=True)
class StoppingSettings:
    """How an audit stops.

    `seed`: of the order of prompts. `budget`: the most prompts that are read (None: all). `batch`: prompts between two
    looks at what scorers say. `error`: for all limits together. `hard_limit`: see above. `ranges`: the least and the
    largest value of quantities, by term, without which no interval holds for their mean.
    """

    seed: int = 0
    budget: int | None = None
    batch: int = 1
    error: float = ERROR
    hard_limit: float = HARD_LIMIT
    ranges: tuple[tuple[str, float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.budget is not None and self.budget < 1:
            raise StoppingError(f"a budget is a whole number of prompts from 1, got {self.budget}")
        if self.batch < 1:
            raise StoppingError(f"a batch is a whole number of prompts from 1, got {self.batch}")
        for value, what in ((self.error, "error"), (self.hard_limit, "rate that counts as none")):
            if not 0 < value < 1:
                raise StoppingError(f"the {what} lies between 0 and 1, got {value}")
        for term, low, high in self.ranges:
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise StoppingError(f"the range of `{term}` has to run from a number to a larger one: {low} to {high}")


@dataclass(slots=True)
class Followed:
    """One limit while it is followed, as "broken in at most `limit`" of values in [0, 1].

    `best` and `worst` are the values of the prompts if no unscored answer were broken, and if all were; `seen` are the
    means of what was scored. `cap` is the evidence (nats) beyond which no sharing of the error lowers what this limit
    takes: a confidence that its author asked for.
    """

    term: RewardTerm
    kind: Kind
    limit: float
    cap: float
    span: tuple[float, float]
    is_mirrored: bool
    best: list[float] = field(default_factory=list)
    worst: list[float] = field(default_factory=list)
    seen: list[float] = field(default_factory=list)
    unscored: int = 0
    sums: list[int] = field(default_factory=lambda: [0, 0])
    tuned_to: float = 0.0
    bettings: tuple[sequential.Betting, sequential.Betting] | None = None
    state: LimitState = "undecided"
    decided_at: int | None = None
    error: float = 0.0

    def open(self, error: float) -> None:
        """Before the first value: the error for which bets are made; with another one they only take longer."""
        self.tuned_to = 1 - error
        if self.kind == "score":
            first, second = (sequential.Betting(self.tuned_to, self.limit) for _ in range(2))
            self.bettings = first, second

    def add(self, scores: Sequence[TermScore]) -> None:
        """The answers to one prompt; where it does not apply to any, they give no value."""
        found = [self._broken(each) for each in scores if each.verdict is not Verdict.NOT_APPLICABLE]
        if not found:
            return
        known = [value for value in found if value is not None]
        best, worst = ([fill if value is None else value for value in found] for fill in (0.0, 1.0))
        join = max if self.kind == "hard" else _mean
        self.best.append(join(best))
        self.worst.append(join(worst))
        if known:
            self.seen.append(join(known))
        self.unscored += len(known) < len(found)
        if self.bettings is None:
            self.sums[0] += int(self.best[-1])
            self.sums[1] += int(self.worst[-1])
        else:
            self.bettings[0].bet(self.best[-1])
            self.bettings[1].bet(self.worst[-1])

    def _broken(self, found: TermScore) -> float | None:
        """How far an answer is on the wrong side, from 0 to 1; None where it could not be scored."""
        if found.verdict is Verdict.UNSCORED or found.value is None:
            return None
        if self.term.holds is not None:
            value = float(found.value != 0)
        else:
            low, high = self.span
            value = (found.value - low) / (high - low)
            if not 0 <= value <= 1:
                raise StoppingError(
                    f"`{self.term.id}` measured {found.value:g}, which is outside of its range {low:g} to {high:g}: "
                    "give one that no answer can leave"
                )
        return 1 - value if self.is_mirrored else value

    def evidence(self) -> tuple[float, float]:
        """(that it is kept, that it is broken), nats; −inf where nothing speaks for it."""
        if not self.best:
            return -math.inf, -math.inf
        total = len(self.best)
        if self.bettings is not None:
            return self.bettings[1].capitals[1], self.bettings[0].capitals[0]
        if self.kind == "hard":
            return self._kept_hard(total), math.inf if self.sums[0] else -math.inf
        sides = []
        for count, is_low in ((self.sums[1], True), (self.sums[0], False)):
            is_side = count < self.limit * total if is_low else count > self.limit * total
            sides.append(sequential.log_evidence(count, total, self.limit) if is_side else -math.inf)
        return sides[0], sides[1]

    def _kept_hard(self, total: int) -> float:
        """The evidence that a hard rule is broken in less than `limit`: nothing where any answer may break it."""
        return -math.inf if self.sums[1] else _clean_evidence(total, self.limit)

    def interval(self) -> Interval:
        """Of the mean over prompts at an error of `error`, in the unit of the limit."""
        if not self.best:
            low, high = 0.0, 1.0
        elif self.bettings is not None:
            low = sequential.score_interval(self.best, 1 - self.error, self.tuned_to).low
            high = sequential.score_interval(self.worst, 1 - self.error, self.tuned_to).high
        elif self.kind == "hard":
            low, high = _hard_interval(self.sums[0], self.sums[1], len(self.best), self.error)
        else:
            low = sequential.share_interval(self.sums[0], len(self.best), 1 - self.error).low
            high = sequential.share_interval(self.sums[1], len(self.worst), 1 - self.error).high
        ends = (1 - high, 1 - low) if self.is_mirrored else (low, high)
        return Interval(self._scaled(ends[0]), self._scaled(ends[1]))

    def mean(self) -> float | None:
        """Of what was scored, in the unit of the limit."""
        if not self.seen:
            return None
        mean = _mean(self.seen)
        return self._scaled(1 - mean if self.is_mirrored else mean)

    def _scaled(self, share: float) -> float:
        low, high = self.span
        return low + share * (high - low)

    def result(self) -> LimitStopping:
        """What is kept of it."""
        return LimitStopping(
            self.term.id, self.state, self.term.sense or "at most",
            self._scaled(1 - self.limit if self.is_mirrored else self.limit),
            self.decided_at, len(self.best), self.unscored, self.mean(), self.interval(), self.error,
        )  # fmt: skip


def _clean_evidence(total: int, limit: float) -> float:
    """The evidence (nats) of so many clean answers against a rate of `limit` or more, for a hard rule."""
    spike = math.log(SPIKE) - total * math.log1p(-limit)
    slab = math.log1p(-SPIKE) + sequential.log_evidence(0, total, limit)
    return max(spike, slab) + math.log1p(math.exp(-abs(spike - slab)))


def _hard_interval(fewest: int, most: int, total: int, error: float) -> tuple[float, float]:
    """(low from the fewest broken ones, high from the most) of the mixture with a mass at 0."""
    slab = 1 - error * (1 - SPIKE)
    low = 0.0 if fewest == 0 else sequential.share_interval(fewest, total, slab).low
    if most:
        return low, sequential.share_interval(most, total, slab).high
    threshold, inside, outside = -math.log(error), 0.0, 1.0
    for _ in range(200):
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            break
        if _clean_evidence(total, middle) >= threshold:
            outside = middle
        else:
            inside = middle
    return low, inside


def clean_size(limit: float, error: float) -> int:
    """How many clean answers it takes until a hard rule is said to be kept: 309 for 1 % and an error of 5 %."""
    low, high = 0, 1
    while _clean_evidence(high, limit) < -math.log(error):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _clean_evidence(middle, limit) < -math.log(error) else (low, middle)
    return high


def follow(
    term: RewardTerm, settings: StoppingSettings, ranges: Mapping[str, tuple[float, float]], is_repeated: bool
) -> Followed | LimitStopping | None:
    """How a hard rule or a limit is followed; or why it is not; None where it is kept whatever happens."""
    if term.kind == "hard":
        return Followed(term, "hard", settings.hard_limit, 1.0, (0.0, 1.0), False)
    sense, bound = term.sense or "at most", term.bound or 0.0
    low, high = (0.0, 1.0) if term.holds is not None else ranges.get(term.id, (0.0, 0.0))
    why = None
    if term.each_prompt:
        why = "a limit for each prompt needs all answers to each"
    elif sense == "exactly":
        why = "no number of answers shows that a rate is exactly so much"
    elif low == high:
        why = "a mean has no interval without a range of the quantity: give it with --stop-range"
    if why is not None:
        return LimitStopping(term.id, "not followed", sense, bound, why=why)
    is_mirrored = sense == "at least"
    limit = (high - bound if is_mirrored else bound - low) / (high - low)
    if term.holds is None and not 0 < limit < 1:
        raise StoppingError(
            f"the range {low:g} to {high:g} of `{term.id}` has to go beyond its limit of {bound:g} on both sides"
        )
    if limit >= 1:
        return None
    cap = 1.0 if term.confidence is None else 1 - term.confidence
    if limit <= 0:
        # never means never, as of a hard rule
        return Followed(term, "hard", settings.hard_limit, cap, (low, high), is_mirrored)
    kind: Kind = "score" if is_repeated or term.holds is None else "share"
    return Followed(term, kind, limit, cap, (low, high), is_mirrored)


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
