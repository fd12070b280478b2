"""The particles of several tasks: N slots for each, with what they have drawn and what their weights are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import RegulatedSample
from bylaw.runtime.decoders.sir import resample
from bylaw.runtime.models.interface import FloatArray, IntArray

Resampling: TypeAlias = Literal["systematic", "stratified", "multinomial"]
LIVE, ENDED, DEAD, FORBIDDEN = 0, 1, 2, 3
"""A slot's particle grows, has ended, has met a dead end, or is refused for good by a black box."""


def ancestors(log_weights: FloatArray, count: int, uniforms: FloatArray, method: Resampling) -> IntArray:
    """[count] indices, each index expected in proportion to exp(log_weights) [N]; `uniforms` [count].

    Kitagawa (1996) for `systematic` and `stratified`; independent draws for `multinomial`.
    """
    if method == "stratified":
        return resample(log_weights, count, (np.arange(count) + uniforms[:count]) / max(count, 1), "multinomial")
    return resample(log_weights, count, uniforms, method)


class Particles:
    """T·N slots, task after task. Log arrays [T·N] in nats.

    A slot's weight is correction · local · p0 · e^{reward} · V̂ · e^{steering} / q: with p0, q and reward of its path,
    V̂ the value of the beginning (1 once it has ended), `local` the weights of tokens drawn under a rule that can only
    be asked, and `steering` what black boxes say of the beginning. `correction` makes the weights of a task equal to
    their mean when it is resampled, so that the mean weight stays an unbiased estimate.
    """

    def __init__(self, tasks: int, each: int, cap: int) -> None:
        count = tasks * each
        self.each = each
        self.tokens = np.zeros((count, cap), dtype=np.int64)
        self.lengths = np.zeros(count, dtype=np.int64)
        self.state = np.full(count, LIVE, dtype=np.int64)
        self.log_p0 = np.zeros(count)
        self.log_q = np.zeros(count)
        self.log_reward = np.zeros(count)
        self.log_value = np.zeros(count)
        self.local = np.zeros(count)
        self.steering = np.zeros(count)
        self.correction = np.zeros(count)
        self.settled = np.zeros(count, dtype=np.int64)
        """Characters of the text that belong to settled sentences."""
        self.samples: list[RegulatedSample | None] = [None] * count
        """Of particles that have ended; None where the bytes are no text."""

    @property
    def live(self) -> IntArray:
        """The slots that grow, in order."""
        return np.flatnonzero(self.state == LIVE)

    def response(self, slot: int) -> tuple[int, ...]:
        """The tokens of one slot."""
        return tuple(int(token) for token in self.tokens[slot, : self.lengths[slot]])

    def log_weights(self) -> FloatArray:
        """[T, N]: −inf for dead and forbidden ones."""
        total = self.correction + self.local + self.log_p0 + self.log_reward - self.log_q
        total += np.where(self.state == LIVE, self.log_value, 0.0) + self.steering
        total[(self.state == DEAD) | (self.state == FORBIDDEN)] = -np.inf
        return total.reshape(-1, self.each)

    def copy_from(self, frontier: Frontier, rows: IntArray, slots: IntArray) -> None:
        """What the frontier knows of `rows` goes to `slots`, but for p0 and q, which count from where it began."""
        self.tokens[slots], self.lengths[slots] = frontier.tokens[rows], frontier.lengths[rows]
        self.log_reward[slots] = frontier.log_reward[rows]
        self.log_value[slots] = frontier.log_value[rows]

    def unequal(self, threshold: float) -> IntArray:
        """The tasks with live particles whose effective sample size is below `threshold`·N."""
        weights = self.log_weights()
        peak = weights.max(axis=1)
        growing = (self.state == LIVE).reshape(weights.shape).any(axis=1) & np.isfinite(peak)
        shares = np.exp(weights - np.where(np.isfinite(peak), peak, 0.0)[:, None])
        with np.errstate(invalid="ignore"):
            sizes = np.square(shares.sum(axis=1)) / np.square(shares).sum(axis=1)
        return np.flatnonzero(growing & (sizes < threshold * self.each))

    def resample(self, tasks: IntArray, uniforms: Sequence[FloatArray], method: Resampling) -> IntArray:
        """[T·N] the slot that each slot now continues; only those of `tasks` (`uniforms` of each) are drawn anew."""
        parent = np.arange(len(self.state))
        weights = self.log_weights()
        for task, numbers in zip(tasks, uniforms, strict=True):
            own = weights[task]
            picked = ancestors(own, self.each, numbers, method)
            first = task * self.each
            mean = np.logaddexp.reduce(own) - np.log(self.each)
            parent[first : first + self.each] = first + picked
            # read before it is overwritten: `picked` indexes the old slots
            old = self.correction[first : first + self.each]
            self.correction[first : first + self.each] = old[picked] + mean - own[picked]
        corrected = self.correction
        for name in ("tokens", "lengths", "state", "log_p0", "log_q", "log_reward", "log_value"):
            setattr(self, name, getattr(self, name)[parent])
        for name in ("local", "steering", "settled"):
            setattr(self, name, getattr(self, name)[parent])
        self.samples = [self.samples[slot] for slot in parent]
        self.correction = corrected
        return parent

    def common(self, task: int) -> tuple[int, ...]:
        """The tokens that all particles of positive weight begin with: the answer begins so whatever comes."""
        weights = self.log_weights()[task]
        slots = task * self.each + np.flatnonzero(weights > -np.inf)
        if len(slots) == 0:
            return ()
        shortest = int(self.lengths[slots].min())
        tokens: NDArray[np.int64] = self.tokens[slots, :shortest]
        different = np.flatnonzero((tokens != tokens[0]).any(axis=0))
        return tuple(int(token) for token in tokens[0, : different[0] if len(different) else shortest])
