"""Responses regrown from a cut, with p0 and q of every position, so that the way back costs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bylaw.runtime.decoders.engine import Key, batches, factors_of, run
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import DecodeTask
from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel, OutOfMemory
from bylaw.runtime.models.metering import Stop

Pick = Callable[[Frontier, IntArray, IntArray], IntArray]
"""(the frontier, the row of each of its rows in the whole call [n], position [n]) -> next tokens [n], −1 for none."""


@dataclass(frozen=True, eq=False)
class Grown:
    """N responses; log arrays in nats, of the whole response.

    `events` [N]: tokens, and the end of text where it was chosen: neither the cap nor a stop string is an event.
    `prefix_p0`, `prefix_q` [N, cap + 1]: of the first j tokens, in column j; `log_p0`, `log_q`, `log_reward` [N]: of
    all, with the end event and what the factors pay. `dead`, `unfinished` [N] as in `Paths`.
    """

    tokens: IntArray
    lengths: IntArray
    events: IntArray
    prefix_p0: FloatArray
    prefix_q: FloatArray
    log_p0: FloatArray
    log_q: FloatArray
    log_reward: FloatArray
    dead: NDArray[np.bool_]
    unfinished: NDArray[np.bool_]

    @staticmethod
    def empty(count: int, cap: int) -> Grown:
        """N responses of no tokens, dead."""
        return Grown(
            np.zeros((count, cap), dtype=np.int64),
            np.zeros(count, dtype=np.int64),
            np.zeros(count, dtype=np.int64),
            np.zeros((count, cap + 1)),
            np.zeros((count, cap + 1)),
            np.zeros(count),
            np.zeros(count),
            np.zeros(count),
            np.ones(count, dtype=np.bool_),
            np.zeros(count, dtype=np.bool_),
        )

    def response(self, row: int) -> tuple[int, ...]:
        """The tokens of one row."""
        return tuple(int(token) for token in self.tokens[row, : self.lengths[row]])

    def put(self, rows: IntArray, other: Grown, at: IntArray) -> None:
        """Rows become those of another."""
        for name in self.__dataclass_fields__:
            getattr(self, name)[rows] = getattr(other, name)[at]


class Grower:
    """Grows rows of several tasks in batches that fit; one that does not is halved, and later ones are no larger."""

    def __init__(self, model: LanguageModel, tasks: Sequence[DecodeTask], cap: int, batch_size: int) -> None:
        self._model, self._tasks, self._cap, self._size = model, tasks, cap, batch_size

    def grow(
        self, owners: Sequence[int], pick: Pick, current: Grown | None = None, cuts: IntArray | None = None
    ) -> tuple[Grown, Stop | None]:
        """One response for each row: row n belongs to task `owners[n]` and keeps the first `cuts[n]` tokens of
        `current`. With the limit that stopped it, if one did: rows without an end are `unfinished`.
        """
        result = Grown.empty(len(owners), self._cap)
        stopped: Stop | None = None
        waiting = self._parts(list(range(len(owners))), owners)
        while waiting:
            part = waiting.pop(0)
            if stopped is not None:
                result.unfinished[part] = True
                continue
            try:
                stopped = self._grow(np.array(part), owners, pick, current, cuts, result)
            except OutOfMemory:
                if len(part) == 1:
                    raise
                self._size = (len(part) + 1) // 2
                left = [row for piece in (part, *waiting) for row in piece]
                waiting = self._parts(left, owners)
        return result, stopped

    def _parts(self, rows: list[int], owners: Sequence[int]) -> list[list[int]]:
        keys: list[Key] = [(owners[row], row) for row in rows]
        return [[row for _, row in batch] for batch in batches(self._tasks, keys, self._size)]

    def _grow(
        self,
        part: IntArray,
        owners: Sequence[int],
        pick: Pick,
        current: Grown | None,
        cuts: IntArray | None,
        result: Grown,
    ) -> Stop | None:
        kept = np.zeros(len(part), dtype=np.int64) if cuts is None else cuts[part]
        begun_p0, begun_q = np.zeros(len(part)), np.zeros(len(part))
        begun: list[tuple[int, ...]] = [()] * len(part)
        if current is not None:
            result.prefix_p0[part], result.prefix_q[part] = current.prefix_p0[part], current.prefix_q[part]
            begun_p0, begun_q = current.prefix_p0[part, kept], current.prefix_q[part, kept]
            begun = [current.response(row)[:cut] for row, cut in zip(part, kept, strict=True)]

        def choose(frontier: Frontier, rows: IntArray, step: int) -> IntArray:
            at = frontier.lengths
            result.prefix_p0[part[rows], at] = begun_p0[rows] + frontier.log_p0
            result.prefix_q[part[rows], at] = begun_q[rows] + frontier.log_q
            return pick(frontier, part[rows], at)

        task = self._tasks[owners[part[0]]]
        prompts = [self._tasks[owners[row]].prompt for row in part]
        factors = factors_of(task, self._model.vocabulary)
        paths = run(self._model, prompts, factors, self._cap, choose, masked=False, begun=begun)
        result.tokens[part], result.lengths[part] = paths.tokens, paths.lengths
        stopped = self._model.vocabulary.stopped
        closed = [paths.lengths[at] < self._cap and not stopped(result.response(row)) for at, row in enumerate(part)]
        result.events[part] = paths.lengths + np.array(closed)
        result.log_p0[part], result.log_q[part] = begun_p0 + paths.log_p0, begun_q + paths.log_q
        result.log_reward[part] = paths.log_reward
        result.dead[part], result.unfinished[part] = paths.dead, paths.unfinished
        return paths.stopped
