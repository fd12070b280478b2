"""What a planted-violation check leaves in the record of an audit: plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass

from bylaw.runtime.interval import Interval


@dataclass(frozen=True, slots=True)
class PlantedPower:
    """How often the audit finds a rule that is broken more often by a known multiplier.

    `multiplier` (nats): answers are drawn with the weight exp(multiplier · f), where f is 1 for an answer that breaks
    the rule (for a quantity, the quantity towards the wrong side of its limit). `rate` is that of the rule without it,
    `planted_rate` under it, both exact for the law that the audits are drawn from. `found` of `runs` audits of
    `samples` answers say that the rule is over its `limit` (`is_own_limit` False: it has none, and its rate here stands
    for it), with p-values adjusted by `method` at `level`: `power`, with its 95 % `interval`. `untilted` of as many
    audits without the tilt say so as well, a share `untilted_rate` with `untilted_interval`: false alarms, where
    `rate` keeps to the limit. `predicted` is the exact power of independent answers (`is_exact` False: the least it can
    be, as several rules are tested), None where prompts have several answers or the rule does not apply to all.
    `least` is the power that was asked for.
    """

    term: str
    multiplier: float
    limit: float
    is_own_limit: bool
    rate: float
    planted_rate: float
    samples: int
    prompts: int
    runs: int
    seed: int
    method: str
    level: float
    found: int
    power: float
    interval: Interval
    untilted: int
    untilted_rate: float
    untilted_interval: Interval
    predicted: float | None
    is_exact: bool
    least: float

    @property
    def is_enough(self) -> bool:
        """Whether the power is known to be at least what was asked for: by the lower end of its interval."""
        return self.interval.low >= self.least
