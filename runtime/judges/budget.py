"""What a judge may cost, and what it has cost: limits on requests, tokens and time that are never passed knowingly.

A request is sent only when it fits: its tokens are counted beforehand as an estimate of the question plus the most that
the answer may have, and corrected when the server has said what they were. A question that does not fit while others
are under way waits for them, since they seldom need what was set aside for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from bylaw.runtime.judges.interface import JudgeError, JudgeMessage
from bylaw.runtime.scorers.interface import Cost

_BYTES_A_TOKEN = 3
_TOKENS_A_MESSAGE = 8


def estimate_tokens(messages: Sequence[JudgeMessage]) -> int:
    """About how many tokens a question has: one for 3 bytes of UTF-8, and 8 a message for what a chat template adds.

    Byte-pair vocabularies have 3.5 to 4.5 bytes a token in English and about 3 in Chinese, so this is rather too many.
    """
    return sum(estimate_text_tokens(message.content) + _TOKENS_A_MESSAGE for message in messages)


def estimate_text_tokens(text: str) -> int:
    """About how many tokens a text has: one for 3 bytes of UTF-8."""
    return -(-len(text.encode("utf-8", "replace")) // _BYTES_A_TOKEN)


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be spent: `requests` sent (each attempt counts), `tokens` in and out, `seconds` on the clock
    from the first question on. None: no limit. Raises JudgeError for a limit below 0 (0: only stored answers)."""

    requests: int | None = None
    tokens: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        for name in ("requests", "tokens", "seconds"):
            limit = getattr(self, name)
            if limit is not None and not limit >= 0:
                raise JudgeError(f"a budget of {limit} {name} is not possible: use 0 or more")


@dataclass
class Meter:
    """Counts what is spent of a budget. Threads and askers may share one.

    A server that counts more tokens than were estimated can bring the sum over the limit, by what is under way then.
    `spent`: what was sent and what the server said that it took; where it said nothing, the estimate is counted.
    `estimated`: for how many requests that was so.
    """

    budget: Budget = field(default_factory=Budget)
    clock: Callable[[], float] = time.monotonic
    spent: Cost = field(default_factory=Cost)
    estimated: int = 0
    _reserved: int = 0
    _under_way: int = 0
    _started: float | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition, repr=False)

    def start(self) -> None:
        """Starts the clock, once."""
        with self._changed:
            if self._started is None:
                self._started = self.clock()

    def seconds_left(self) -> float | None:
        """Time that is left, 0 at least; None: no limit."""
        if self.budget.seconds is None:
            return None
        if self._started is None:
            return self.budget.seconds
        return max(0.0, self.budget.seconds - (self.clock() - self._started))

    def used_up(self) -> str | None:
        """Why nothing at all can be sent any more; None: something can."""
        limits = self.budget
        if self.seconds_left() == 0:
            return f"the budget of {limits.seconds:g} seconds is used up"
        if limits.requests is not None and self.spent.requests >= limits.requests:
            return f"the budget of {limits.requests} requests is used up"
        if limits.tokens is not None and self.spent.tokens_in + self.spent.tokens_out >= limits.tokens:
            return f"the budget of {limits.tokens} tokens is used up"
        return None

    def reserve(self, tokens: int) -> str | None:
        """Sets one request aside with so many tokens; a text says why it must not be sent (it names the limit).

        Waits while it does not fit only because of requests that are under way. Every None must be followed by one
        `settle`.
        """
        limits = self.budget
        with self._changed:
            while True:
                nothing = self.used_up()
                if nothing is not None:
                    return nothing
                used = self.spent.tokens_in + self.spent.tokens_out
                if limits.tokens is None or used + self._reserved + tokens <= limits.tokens:
                    break
                if not self._under_way:
                    return (
                        f"the budget of {limits.tokens} tokens does not allow this question: {used} are used, and it "
                        f"may take {tokens}"
                    )
                self._changed.wait(0.05)
            self._reserved += tokens
            self._under_way += 1
            self.spent += Cost(requests=1)
            return None

    def settle(self, reserved: int, cost: Cost, *, is_estimated: bool) -> None:
        """Puts what a request really cost (tokens and seconds) in place of what was set aside for it."""
        with self._changed:
            self._reserved -= reserved
            self._under_way -= 1
            self.spent += Cost(seconds=cost.seconds, tokens_in=cost.tokens_in, tokens_out=cost.tokens_out)
            self.estimated += is_estimated
            self._changed.notify_all()

    def count_cached(self, answers: int) -> None:
        """Counts answers that were stored."""
        with self._changed:
            self.spent += Cost(cached=answers)
