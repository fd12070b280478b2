"""Suffix Metropolis–Hastings: a complete response is cut, regrown by the twisted proposal, and kept or taken back.

With E(y) the events of y (its tokens, and the end of text where that ended it) a cut is uniform over E(y) positions,
the first among them, so that every response the proposal covers can be reached at any step. Given cut k the ratio is

    w(y′) E(y) / (w(y) E(y′)),      w = p0 · e^R / q of the whole response: what is before the cut cancels,

which balances every cut by itself, and so their mixture (Metropolis 1953, Hastings 1970, Tierney 1998). Delayed
acceptance (Christen and Fox 2005): a first stage decides by all but the scorers, a second by e^{score(y′) − score(y)}
alone, so that a dear judge is asked only about what the first stage accepts. The law tends to p* with the steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bylaw.runtime.decoders._black_boxes import Asked
from bylaw.runtime.decoders._chains import acceptance, autocorrelation_time
from bylaw.runtime.decoders._suffixes import Grower, Grown
from bylaw.runtime.decoders.engine import Drawn, check_tasks, finish
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import (
    DecodeError,
    DecodeResult,
    DecodeTask,
    Diagnostics,
    Estimate,
    RegulatedSample,
    Watch,
    log_mean,
)
from bylaw.runtime.decoders.weights import REASONS, conclude
from bylaw.runtime.models.interface import CHAIN_STREAM, FloatArray, IntArray, LanguageModel
from bylaw.runtime.models.metering import Limits, Meter, Stop


@dataclass(frozen=True)
class Mh:
    """`chains` per prompt of `steps` steps each; after `burn_in` of them every `thin`-th state is a response.

    A chain starts at one of `particles` twisted draws, in proportion to their weights without the scorers, or at
    `start`: one response (tokens) for each prompt. `delayed`: whether scorers wait for the first stage. The chains of
    a call are evaluated together, `batch_size` at a time.
    """

    steps: int = 100
    chains: int = 1
    burn_in: int = 20
    thin: int = 1
    particles: int = 16
    start: tuple[tuple[int, ...], ...] = ()
    delayed: bool = True
    batch_size: int = 64

    @property
    def name(self) -> str:
        return "mh"

    @property
    def biased(self) -> bool:
        return False

    def decode(
        self,
        model: LanguageModel,
        tasks: Sequence[DecodeTask],
        *,
        max_tokens: int,
        seed: int,
        limits: Limits | None = None,
        watch: Watch | None = None,
    ) -> list[DecodeResult]:
        """One result per task, its kept states chain after chain; see `Decoder`.

        States weigh the same: their `log_correction` makes every weight the estimate of log Z by the draws that the
        chains started from (0, with log Z not a number, where there are scorers, which those draws were not asked for,
        or a given start). `particles` of a result are its kept states, `ess` is their number over the autocorrelation
        time. A limit ends all chains after their last common step. `watch` is told once. Raises `DecodeError`, also
        for a start that the law forbids.
        """
        self._check(len(tasks))
        check_tasks(tasks, model, max_tokens)
        meter = Meter(limits)
        walk = _Walk(self, meter.watch(model), tasks, max_tokens, seed)
        walk.begin()
        walk.go()
        results = [walk.result(index, meter.passes) for index in range(len(tasks))]
        for index, found in enumerate(results):
            if watch is not None and found.responses:
                watch(index, found.responses[0].text)
        return results

    def _check(self, tasks: int) -> None:
        if min(self.chains, self.thin, self.particles, self.batch_size) < 1 or self.burn_in < 0:
            raise DecodeError("a walk needs one chain, one particle, one row in a batch and one step between states")
        if self.steps < self.burn_in + self.thin:
            raise DecodeError(
                f"{self.steps} steps, of which {self.burn_in} are burnt and every {self.thin}. is kept, leave no state"
            )
        if self.start and len(self.start) != tasks:
            raise DecodeError(f"{len(self.start)} responses to start at came with {tasks} prompts")


def _share(rate: Estimate | None) -> str:
    return "none" if rate is None else f"{rate.value:.1%} ({rate.low:.1%} to {rate.high:.1%})"


@dataclass(eq=False)
class _Record:
    """Of one task: kept states by chain, and of every step whether each stage accepted and what the state was."""

    kept: list[list[RegulatedSample]]
    first: list[NDArray[np.bool_]]
    both: list[NDArray[np.bool_]]
    moved: list[NDArray[np.bool_]]
    statistics: list[FloatArray]


class _Walk:
    """All chains of a call; row n is chain n % chains of task n // chains. Tasks without a start have no rows."""

    def __init__(self, mh: Mh, model: LanguageModel, tasks: Sequence[DecodeTask], cap: int, seed: int) -> None:
        self.mh, self.model, self.tasks, self.cap, self.seed = mh, model, tasks, cap, seed
        self.asked = [Asked(task.law) for task in tasks]
        self.grower = Grower(model, tasks, cap, mh.batch_size)
        self.drawn = [Drawn([], [], mh.chains * (1 if mh.start else mh.particles)) for _ in tasks]
        self.log_z = [math.nan] * len(tasks)
        self.records = [_Record([[] for _ in range(mh.chains)], [], [], [], []) for _ in tasks]
        self.owners: list[int] = []
        self.states: list[RegulatedSample] = []
        """By row, with the reward of groups and residual; `dear` has what the scorers pay."""
        self.dear = np.zeros(0)
        self.stopped: Stop | None = None
        self.done = 0
        keys = [(task, chain) for task in range(len(tasks)) for chain in range(mh.chains)]
        self.generators = [
            np.random.default_rng(np.random.SeedSequence((seed, CHAIN_STREAM, task, chain))) for task, chain in keys
        ]

    # ------------------------------------------------------------------------------------------------------- to begin
    def begin(self) -> None:
        """Give every chain its first state."""
        mh, chains = self.mh, self.mh.chains
        each = 1 if mh.start else mh.particles
        owners = [task for task in range(len(self.tasks)) for _ in range(chains * each)]
        numbers = np.array([self.generators[row // each].random(self.cap) for row in range(len(owners))])
        forced = np.full((len(owners), self.cap + 1), -1, dtype=np.int64)
        if mh.start:
            self._force(forced, owners)

        def pick(frontier: Frontier, rows: IntArray, at: IntArray) -> IntArray:
            if not mh.start:
                return frontier.draw(numbers[rows, at])
            wanted = forced[rows, at]
            return np.where(np.isfinite(frontier.look().scores[frontier.nodes, wanted]), wanted, -1)

        grown, self.stopped = self.grower.grow(owners, pick)
        samples = [self._sample(owner, grown, row) for row, owner in enumerate(owners)]
        if mh.start:  # a stop string may have ended it before
            samples = [s and (s if s.tokens == mh.start[o] else None) for o, s in zip(owners, samples, strict=True)]
        first: list[int] = []
        for task in range(len(self.tasks)):
            own = range(task * chains * each, (task + 1) * chains * each)
            found = self._starts(task, samples, own, each)
            if mh.start and not found and not grown.unfinished[own].any():
                raise DecodeError(f"the response that prompt {task + 1} starts at breaks a rule, or cannot be proposed")
            self._count(task, samples, grown, own)
            first += found
            self.owners += [task] * len(found)
        self.states = [sample for row in first if (sample := samples[row]) is not None]
        self.dear = np.array([self.asked[o].law.dear(s.text) for o, s in zip(self.owners, self.states, strict=True)])
        self.grown = Grown.empty(len(first), self.cap)
        self.grown.put(np.arange(len(first)), grown, np.array(first, dtype=np.int64))
        self.generators = [g for row, g in enumerate(self.generators) if row // chains in set(self.owners)]

    def _force(self, forced: IntArray, owners: Sequence[int]) -> None:
        ends, regular = self.model.vocabulary.end_ids, self.model.vocabulary.regular
        for row, owner in enumerate(owners):
            tokens = self.mh.start[owner]
            if len(tokens) > self.cap or not all(0 <= t < len(regular) and regular[t] for t in tokens):
                raise DecodeError(f"the response that prompt {owner + 1} starts at is no response of the model")
            forced[row, : len(tokens)] = tokens
            if len(tokens) < self.cap:
                if len(ends) == 0:
                    raise DecodeError("a model without an end-of-text token cannot end before the cap")
                forced[row, len(tokens)] = ends[0]

    def _sample(self, owner: int, grown: Grown, row: int) -> RegulatedSample | None:
        """A response with the reward of groups and residual, None where there is none or it is no text."""
        if grown.dead[row] or grown.unfinished[row]:
            return None
        numbers = (float(array[row]) for array in (grown.log_p0, grown.log_q, grown.log_reward))
        return finish(self.model.vocabulary, self.asked[owner].cheap, grown.response(row), *numbers)

    def _starts(self, task: int, samples: Sequence[RegulatedSample | None], own: range, each: int) -> list[int]:
        """A row of `samples` for each chain of a task, or none: its own draws first, then those of the other chains."""
        weights = np.array([-np.inf if (s := samples[row]) is None else s.log_weight for row in own])
        found = []
        for chain in range(self.mh.chains):
            generator = self.generators[task * self.mh.chains + chain]
            mine = np.arange(len(weights)) // each == chain
            # exponential races: the order of draws without replacement
            race = weights - np.log(generator.exponential(size=len(weights)))
            order = np.lexsort((-race, ~mine))
            for at in order[np.isfinite(weights[order])]:
                sample = samples[own[at]]
                if sample is not None and self.asked[task].law.dear(sample.text) > -np.inf:
                    found.append(own[at])
                    break
        return found

    def _count(self, task: int, samples: Sequence[RegulatedSample | None], grown: Grown, own: range) -> None:
        """What the draws tell: log Z, and what became of them where no chain can start."""
        drawn = self.drawn[task]
        for row in own:
            sample = samples[row]
            if grown.unfinished[row]:
                drawn.unfinished, drawn.stopped = drawn.unfinished + 1, self.stopped
                drawn.begun = max(drawn.begun, grown.response(row), key=len)
            elif grown.dead[row]:
                drawn.dead_ends += 1
            elif sample is not None:
                (drawn.samples if sample.log_reward > -np.inf else drawn.refused).append(sample)
        if not self.mh.start and not self.tasks[task].law.scorers and not drawn.unfinished:
            self.log_z[task] = log_mean([sample.log_weight for sample in drawn.samples], drawn.particles)

    # ---------------------------------------------------------------------------------------------------------- steps
    def go(self) -> None:
        """Until all steps are done or a limit comes. A step that it cuts is no step for any chain."""
        while self.owners and self.stopped is None and self.done < self.mh.steps:
            numbers = np.array([generator.random(self.cap + 3) for generator in self.generators])
            cuts = np.floor(numbers[:, 0] * self.grown.events).astype(np.int64)

            def pick(frontier: Frontier, rows: IntArray, at: IntArray, numbers: FloatArray = numbers) -> IntArray:
                return frontier.draw(numbers[rows, 3 + at])

            proposed, self.stopped = self.grower.grow(self.owners, pick, self.grown, cuts)
            if self.stopped is None:
                self._decide(proposed, np.log1p(-numbers[:, 1]), np.log1p(-numbers[:, 2]))

    def _decide(self, proposed: Grown, first_number: FloatArray, second_number: FloatArray) -> None:
        """Accept or not, by log uniforms [rows] for each stage, and write the step down."""
        count = len(self.owners)
        first, both, moved = (np.zeros(count, dtype=np.bool_) for _ in range(3))
        events = self.grown.events
        for row, owner in enumerate(self.owners):
            sample, state = self._sample(owner, proposed, row), self.states[row]
            if sample is None or sample.log_reward == -np.inf:
                continue
            same = sample.tokens == state.tokens
            ratio = sample.log_weight - state.log_weight + math.log(events[row] / proposed.events[row])
            dear = self.dear[row] if same else -np.inf
            if not self.mh.delayed and not same:
                dear = self.asked[owner].law.dear(sample.text)
                ratio += dear - self.dear[row]
            first[row] = same or first_number[row] < ratio
            if first[row] and self.mh.delayed and not same:
                dear = self.asked[owner].law.dear(sample.text)
            both[row] = first[row] and (same or not self.mh.delayed or second_number[row] < dear - self.dear[row])
            if both[row] and not same:
                moved[row] = True
                self.states[row], self.dear[row] = sample, dear
        at = np.flatnonzero(moved)
        self.grown.put(at, proposed, at)
        self.done += 1
        self._write(first, both, moved)

    def _write(self, first: NDArray[np.bool_], both: NDArray[np.bool_], moved: NDArray[np.bool_]) -> None:
        owners = np.array(self.owners)
        kept = self.done > self.mh.burn_in and (self.done - self.mh.burn_in) % self.mh.thin == 0
        for task in sorted(set(self.owners)):
            rows, record = np.flatnonzero(owners == task), self.records[task]
            record.first.append(first[rows])
            record.both.append(both[rows])
            record.moved.append(moved[rows])
            states = [self.states[row] for row in rows]
            numbers = [
                (s.log_weight + d, s.log_p0, len(s.tokens)) for s, d in zip(states, self.dear[rows], strict=True)
            ]
            if self.done > self.mh.burn_in:
                record.statistics.append(np.array(numbers, dtype=np.float64))
            if kept:
                for chain, row in enumerate(rows):
                    record.kept[chain].append(self._state(task, int(row)))

    def _state(self, task: int, row: int) -> RegulatedSample:
        """The present state of a row, with the weight that all states have."""
        state = self.states[row]
        whole = replace(state, log_reward=state.log_reward + float(self.dear[row]))
        mean = 0.0 if math.isnan(self.log_z[task]) else self.log_z[task]
        return replace(whole, log_correction=mean - whole.log_weight)

    # -------------------------------------------------------------------------------------------------------- results
    def result(self, task: int, passes: int) -> DecodeResult:
        """What the chains of one task came to."""
        asked, record = self.asked[task], self.records[task]
        rows = [row for row, owner in enumerate(self.owners) if owner == task]
        told = Diagnostics(passes, scorer_calls=asked.scorer_calls)
        vocabulary = self.model.vocabulary
        if not rows:
            drawn = self.drawn[task]
            # what is left are draws that the scorers forbid, or a chain would start there
            drawn.refused += [replace(sample, log_reward=-np.inf) for sample in drawn.samples]
            drawn.samples = []
            if not drawn.unfinished:
                told = replace(told, remarks=("no chain could start: no draw keeps the rules",))
            return conclude(self.tasks[task], vocabulary, drawn, (), told, biased=False, max_tokens=self.cap)
        kept = [state for chain in record.kept for state in chain]
        remarks = list(self._stopped(bool(kept)))
        if not kept:
            kept = [self._state(task, row) for row in rows]
        time = 1.0
        rate = None
        if record.both:
            rate, said = self._rates(task)
            remarks += said
        if record.statistics:
            time = autocorrelation_time(list(np.moveaxis(np.array(record.statistics), 2, 0).transpose(0, 2, 1)))
            remarks.append(
                f"autocorrelation time {time:.1f} steps, the longest of log weight, log p0 and length; how far the law "
                "of the states is from p* cannot be estimated from the chain alone"
            )
        steps = len(record.statistics) * len(rows)
        told = replace(told, acceptance=rate, stopped=self.stopped, remarks=tuple(remarks))
        return DecodeResult(
            samples=tuple(kept),
            responses=tuple(kept),
            refused=(),
            particles=len(kept),
            dead_ends=0,
            forbidden=0,
            log_z_estimate=self.log_z[task],
            ess=min(float(len(kept)), max(1.0, steps / time)),
            biased=False,
            diagnostics=told,
        )

    def _rates(self, task: int) -> tuple[Estimate, list[str]]:
        """The share of steps that were accepted, and what the stages did."""
        record = self.records[task]
        first, both, moved = (np.array(one).T for one in (record.first, record.both, record.moved))
        rate, how = acceptance(both)
        said = [f"interval of the acceptance: {how}", f"{moved.mean():.1%} of the steps changed the response"]
        if self.tasks[task].law.scorers and self.mh.delayed:
            early, _ = acceptance(first)
            late, _ = acceptance(both[first][None, :]) if first.any() else (None, "")
            said.append(f"the first stage accepted {_share(early)}, the scorers {_share(late)} of those")
        return rate, said

    def _stopped(self, has_kept: bool) -> tuple[str, ...]:
        if self.stopped is None:
            return ()
        reached = f"{REASONS[self.stopped]}: {self.done} of {self.mh.steps} steps were made"
        return (reached if has_kept else f"{reached}, so that the states are from before the end of the burn-in",)
