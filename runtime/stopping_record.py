"""What an audit that stops by itself leaves in its record: plain frozen values, no numerical library."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bylaw.runtime.interval import Interval

LimitState = Literal["kept", "broken", "undecided", "not followed"]
Ended = Literal["decided", "budget", "read through", "interrupted"]


@dataclass(frozen=True, slots=True)
class LimitStopping:
    """How the anytime-valid decision about one limit or hard rule came out.

    `state`: kept, broken, undecided, or not followed (`why` says the reason then). `decided_at`: after how many prompts
    of the order it was decided. `values`: prompts among these that gave a value, `unscored` of them with an answer that
    could not be scored. `mean`: over prompts, each with the same weight, of the answers that were scored; a hard rule
    counts the prompts with an answer that breaks it. `interval` holds at every look, with an error of at most `error`
    (of all values so far where the limit is undecided, else of those until the decision); its ends allow for unscored
    answers being broken, or not. `limit` is the bound; of a hard rule the rate that counts as none.
    """

    term: str
    state: LimitState
    sense: str
    limit: float
    decided_at: int | None = None
    values: int = 0
    unscored: int = 0
    mean: float | None = None
    interval: Interval | None = None
    error: float | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class StoppingRecord:
    """An audit that read prompts in a random order until every limit was decided.

    `seed` fixes the order, `order` is its digest (SHA-256 over the keys of the prompts in that order, 16 hexadecimal
    digits). `error`: how often, at most, any limit is wrongly said to be kept, and likewise wrongly said to be broken,
    however often one looks. `prompts` and `transcripts` were there, `read` prompts with `transcripts_read` answers were
    looked at, `batch` prompts at a time. `budget`: the most prompts, if there was such a number.
    """

    seed: int
    order: str
    error: float
    prompts: int
    read: int
    transcripts: int
    transcripts_read: int
    batch: int
    budget: int | None
    ended: Ended
    limits: tuple[LimitStopping, ...]

    @property
    def followed(self) -> tuple[LimitStopping, ...]:
        """The limits that were decided, or could have been."""
        return tuple(each for each in self.limits if each.state != "not followed")

    @property
    def is_kept(self) -> bool:
        """Whether every limit and hard rule was shown to be kept; one that is undecided or not followed was not."""
        return self.ended != "interrupted" and all(each.state == "kept" for each in self.limits)
