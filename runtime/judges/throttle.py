"""How many questions are under way at once: as many as the server bears.

Additive increase, multiplicative decrease (D.-M. Chiu, R. Jain: Analysis of the increase and decrease algorithms for
congestion avoidance in computer networks, 1989): a round of answers without trouble allows one more at a time; a server
that says "too many" or does not answer in time gets half. What was sent before the last cut does not cut again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Throttle:
    """Slots for at most `most` requests, from `first` on. `clock` in seconds."""

    def __init__(self, most: int, first: int = 4, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._allowed = float(min(first, most))
        self._busy = 0
        self._round = 0
        self._resume = -float("inf")
        self._clock = clock
        self._changed = threading.Condition()

    @property
    def allowed(self) -> int:
        """How many may be under way now."""
        return int(self._allowed)

    def take(self, is_over: Callable[[], bool]) -> tuple[int, float] | None:
        """Takes a slot: its ticket, and the seconds to wait before it may be used (the server asked everyone for a
        pause). Waits while there is none; None: `is_over` became true meanwhile."""
        with self._changed:
            while self._busy >= int(self._allowed):
                if is_over():
                    return None
                self._changed.wait(0.05)
            self._busy += 1
            return self._round, max(0.0, self._resume - self._clock())

    def give(self, ticket: int, *, is_good: bool, is_pressure: bool = False, pause: float | None = None) -> None:
        """Gives a slot back. `is_good`: the server answered; `is_pressure`: it said that it had too much to do, or was
        too slow; `pause`: for so many seconds nothing should be sent."""
        with self._changed:
            self._busy -= 1
            if is_pressure and ticket == self._round:
                self._allowed = max(1.0, self._allowed / 2)
                self._round += 1
            elif is_good:
                self._allowed = min(float(self._most), self._allowed + 1 / int(self._allowed))
            if is_pressure and pause is not None:
                self._resume = max(self._resume, self._clock() + pause)
            self._changed.notify_all()
