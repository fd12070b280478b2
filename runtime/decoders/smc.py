"""Twisted sequential Monte Carlo: particles grow together, and those of little promise are replaced on the way.

A beginning has the intermediate target p0 · e^{reward paid} · V̂ (Zhao et al. 2024), an ended response p0 · e^R. Where
the effective sample size of a task falls below a share of its particles they are drawn anew in proportion to their
weights; ended ones take part. The mean weight stays an unbiased estimate of Z, with any twist and any black box (Del
Moral 2004). What cannot be looked ahead for steers only where it can be judged: the residual when a response ends, the
scorers of sentences when a sentence is settled (`at="sentence"`), scorers of responses not at all. They are in every
weight at the end.

A look-ahead that ignores the state of the rules is worse here than in `sir`: it makes resampling keep the wrong ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bylaw.runtime.decoders._black_boxes import Asked, settled
from bylaw.runtime.decoders._particles import DEAD, ENDED, FORBIDDEN, LIVE, Particles, Resampling, ancestors
from bylaw.runtime.decoders._rejection import draw_allowed
from bylaw.runtime.decoders.engine import Drawn, batches, check_tasks, factors_of, finish, halved
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import (
    DecodeError,
    DecodeResult,
    DecodeTask,
    Diagnostics,
    RegulatedSample,
    Watch,
    sentences_of,
)
from bylaw.runtime.decoders.weights import conclude
from bylaw.runtime.models.interface import (
    PARTICLE_STREAM,
    RESAMPLING_STREAM,
    FloatArray,
    IntArray,
    LanguageModel,
    OutOfMemory,
    Vocabulary,
    row_uniforms,
)
from bylaw.runtime.models.metering import Limits, Meter, OutOfBudget, Stop


@dataclass(frozen=True)
class Smc:
    """`particles` per prompt, resampled when their effective size falls below `threshold`·`particles`.

    `at`: weights are looked at after every token, or each time that all particles have settled one more sentence. With
    `responses` > 0 that many are drawn at the end in proportion to the weights. `batch_size`: rows evaluated together;
    the particles of one prompt are never divided.
    """

    particles: int = 64
    responses: int = 0
    threshold: float = 0.5
    resampling: Resampling = "systematic"
    at: Literal["token", "sentence"] = "token"
    batch_size: int = 64

    @property
    def name(self) -> str:
        return "smc"

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
        """One result per task; see `Decoder`. Random numbers belong to (seed, task, particle).

        Particles that were resampled carry a `log_correction`; those that were replaced are not in the result, so
        that nothing can be said of the base model with `refused` and `dead_ends` (`sir` keeps them all). `watch` is
        told what all particles that can still become the response begin with. Raises `DecodeError`, also where the
        particles of one prompt do not fit into memory.
        """
        self._check()
        check_tasks(tasks, model, max_tokens)
        meter = Meter(limits)
        run = _Call(self, meter.watch(model), meter, tasks, max_tokens, seed, watch)
        drawn = run.all()
        results = []
        for index, (task, found) in enumerate(zip(tasks, drawn, strict=True)):
            uniforms = row_uniforms(seed, RESAMPLING_STREAM, [(index, 0)], max(self.responses, 1))[0]
            weights = np.array([sample.log_weight for sample in found.samples])
            picked = ancestors(weights, self.responses, uniforms, self.resampling) if found.samples else ()
            chosen = [found.samples[int(i)] for i in picked]
            if watch is not None and chosen:
                watch(index, chosen[0].text)
            asked, times = run.asked[index], run.resampled[index]
            told = Diagnostics(meter.passes, scorer_calls=asked.scorer_calls, remarks=_remarks(found, asked, times))
            results.append(conclude(task, model.vocabulary, found, chosen, told, biased=False, max_tokens=max_tokens))
        return results

    def _check(self) -> None:
        if self.particles < 1:
            raise DecodeError("decoding needs one particle at least")
        if self.batch_size < 1:
            raise DecodeError("decoding needs one row in a batch at least")
        if not 0 <= self.threshold <= 1:
            raise DecodeError(f"the threshold of resampling is a share of the particles, not {self.threshold}")
        if self.responses < 0 or self.resampling not in ("systematic", "stratified", "multinomial"):
            raise DecodeError(f"cannot resample {self.responses} responses by `{self.resampling}` resampling")
        if self.at not in ("token", "sentence"):
            raise DecodeError(f"weights are looked at by `token` or by `sentence`, not by `{self.at}`")


def _remarks(found: Drawn, asked: Asked, times: int) -> tuple[str, ...]:
    """What resampling and the rule on beginnings did, where they did anything."""
    remarks = []
    if times:
        different = len({sample.tokens for sample in found.samples})
        remarks.append(
            f"resampled {times} times: {different} of {len(found.samples)} responses are different, and the effective "
            "size counts copies as if they were independent"
        )
    if asked.rule_calls:
        remarks.append(f"the rule on beginnings was asked {asked.rule_calls} times")
    return tuple(remarks)


def _spoken(vocabulary: Vocabulary, tokens: tuple[int, ...]) -> str:
    """The text of a response that ends here; what is no text has no rule to keep, and is dropped when it has ended."""
    try:
        return vocabulary.text(tokens)
    except UnicodeDecodeError:
        return vocabulary.beginning(tokens)


class _Call:
    """One call of the decoder: the tasks batch by batch."""

    def __init__(
        self,
        smc: Smc,
        model: LanguageModel,
        meter: Meter,
        tasks: Sequence[DecodeTask],
        cap: int,
        seed: int,
        watch: Watch | None,
    ) -> None:
        self.smc, self.model, self.meter, self.tasks, self.cap = smc, model, meter, tasks, cap
        self.seed, self.watch = seed, watch
        self.asked = [Asked(task.law) for task in tasks]
        self.resampled = [0] * len(tasks)

    def all(self) -> list[Drawn]:
        """What became of the particles of each task. A batch that does not fit is halved, down to one task."""
        results: list[Drawn] = []
        together = max(1, self.smc.batch_size // self.smc.particles)
        waiting = [[task for task, _ in part] for part in batches(self.tasks, self._keys(), together)]
        stopped: Stop | None = None
        while waiting:
            part = waiting.pop(0)
            if stopped is not None:
                results += [
                    Drawn([], [], self.smc.particles, unfinished=self.smc.particles, stopped=stopped) for _ in part
                ]
                continue
            batch = _Batch(self, part)
            try:
                stopped = batch.grow()
            except OutOfMemory as error:
                if len(part) == 1:
                    raise DecodeError(
                        f"the {self.smc.particles} particles of one prompt do not fit into memory together; use fewer "
                        "(--particles)"
                    ) from error
                waiting = halved(part, waiting)
                continue
            for index, task in enumerate(part):
                self.resampled[task] = batch.resampled[index]
            results += [batch.drawn(index, stopped) for index in range(len(part))]
        return results

    def _keys(self) -> list[tuple[int, int]]:
        return [(index, 0) for index in range(len(self.tasks))]


class _Batch:
    """All particles of some tasks with the same factors."""

    def __init__(self, call: _Call, part: Sequence[int]) -> None:
        self.call, self.part = call, part
        self.asked = [call.asked[task] for task in part]
        self.slots = Particles(len(part), call.smc.particles, call.cap)
        self.factors = factors_of(call.tasks[part[0]], call.model.vocabulary)
        # numbers belong to the slot and are never used twice, whatever path it continues
        self.generators = [
            np.random.default_rng(np.random.SeedSequence((call.seed, PARTICLE_STREAM, task, particle)))
            for task in part
            for particle in range(call.smc.particles)
        ]
        self.rows: IntArray = np.zeros(0, dtype=np.int64)
        self.looks = 0
        self.resampled = [0] * len(part)
        self.said = [""] * len(part)

    def task(self, slot: int) -> int:
        """The number of a slot's task in this batch."""
        return int(slot) // self.slots.each

    def grow(self) -> Stop | None:
        """Until all have ended, or a limit comes, which is returned."""
        try:
            while len(self.slots.live):
                frontier = self._begin(self.slots.live)
                while len(self.rows):
                    self._step(frontier)
                    if self.call.smc.at == "token":
                        self._weigh(frontier)
                    else:
                        self._pause(frontier)
                    self._tell()
                if self.call.smc.at == "sentence":
                    self._weigh(None)
        except OutOfBudget as error:
            return error.reason
        return None

    def _begin(self, live: IntArray) -> Frontier:
        """A frontier of the live particles as far as they have come."""
        prompts = [self.call.tasks[self.part[self.task(slot)]].prompt for slot in live]
        begun = [self.slots.response(slot) for slot in live]
        self.rows = live
        self.begun_p0, self.begun_q = self.slots.log_p0.copy(), self.slots.log_q.copy()
        frontier = Frontier(self.call.model, self.factors, prompts, self.call.cap, begun=begun)
        self._keep(frontier)
        return frontier

    def _keep(self, frontier: Frontier) -> None:
        rows = self.rows
        self.slots.copy_from(frontier, np.arange(len(rows)), rows)
        self.slots.log_p0[rows] = self.begun_p0[rows] + frontier.log_p0
        self.slots.log_q[rows] = self.begun_q[rows] + frontier.log_q

    # ----------------------------------------------------------------------------------------------------- one token
    def _step(self, frontier: Frontier) -> None:
        rows, slots = self.rows, self.slots
        chosen = self._choose(frontier)
        end, alive = frontier.is_end(chosen), np.flatnonzero((chosen >= 0) & ~frontier.is_end(chosen))
        slots.state[rows[chosen < 0]] = DEAD
        if end.any():
            at = rows[end]
            log_p0, log_q, log_reward = frontier.ended(np.flatnonzero(end))
            self._end(at, self.begun_p0[at] + log_p0, self.begun_q[at] + log_q, log_reward)
        self.rows = rows[alive]
        if len(alive) == 0:
            return
        frontier.advance(alive, chosen[alive])
        self._keep(frontier)
        full = frontier.complete
        if full.any():
            at = self.rows[full]
            self._end(at, slots.log_p0[at], slots.log_q[at], slots.log_reward[at] + frontier.final[full])
            self.rows = self.rows[~full]
            frontier.select(np.flatnonzero(~full))

    def _choose(self, frontier: Frontier) -> IntArray:
        """[n] the next tokens; those of tasks with a rule on beginnings are tested, and weigh what is allowed."""
        ruled = np.array([asked.law.prefix_rule is not None for asked in self.asked])[self.rows // self.slots.each]
        numbers = [
            0.0 if tested else self.generators[row].random() for row, tested in zip(self.rows, ruled, strict=True)
        ]
        chosen = frontier.draw(np.array(numbers))
        for position in np.flatnonzero(ruled):
            chosen[position] = self._tested(frontier, int(position))
        return chosen

    def _tested(self, frontier: Frontier, position: int) -> int:
        slot = int(self.rows[position])
        rule = self.asked[self.task(slot)].law.prefix_rule
        assert rule is not None
        begun, vocabulary = frontier.response(position), self.call.model.vocabulary
        ends = set(vocabulary.end_ids.tolist())

        def allows(token: int) -> bool:
            self.call.meter.spend(0)  # a rule may take long: deadlines hold between two of its answers
            return rule(_spoken(vocabulary, begun) if token in ends else vocabulary.beginning((*begun, token)))

        scores = frontier.look().scores[frontier.nodes[position]]
        token, log_weight = draw_allowed(scores, allows, self.generators[slot])
        self.slots.local[slot] += log_weight if token >= 0 else 0.0
        return token

    def _end(self, at: IntArray, log_p0: FloatArray, log_q: FloatArray, log_reward: FloatArray) -> None:
        """The particles in the slots `at` are responses, without the reward of what no automaton expresses."""
        slots, vocabulary = self.slots, self.call.model.vocabulary
        for slot, *numbers in zip(at, log_p0, log_q, log_reward, strict=True):
            asked = self.asked[self.task(slot)]
            sample = finish(vocabulary, asked.cheap, slots.response(slot), *(float(number) for number in numbers))
            slots.samples[slot] = sample
            slots.state[slot] = FORBIDDEN if sample is None else ENDED
            if sample is not None:
                slots.log_p0[slot], slots.log_q[slot] = sample.log_p0, sample.log_q
                slots.log_reward[slot] = sample.log_reward
                if self.call.smc.at == "sentence" and sample.log_reward > -np.inf:
                    slots.steering[slot] = asked.sentence_score(sentences_of(sample.text))

    # ------------------------------------------------------------------------------------------------------ weights
    def _pause(self, frontier: Frontier) -> None:
        """Particles with one more settled sentence wait for the others."""
        slots, vocabulary = self.slots, self.call.model.vocabulary
        going = np.ones(len(self.rows), dtype=np.bool_)
        known: dict[tuple[int, int], tuple[int, float]] = {}
        for position, slot in enumerate(self.rows):
            # tasks with one prompt share nodes and may have different scorers
            node = self.task(slot), int(frontier.nodes[position])
            if node not in known:
                text = vocabulary.beginning(slots.response(slot))[slots.settled[slot] :]
                parts = settled(text)
                score = self.asked[self.task(slot)].sentence_score(text[part.start : part.end] for part in parts)
                known[node] = (parts[-1].end if parts else 0, score)
            end, score = known[node]
            if end:
                going[position] = False
                slots.settled[slot] += end
                slots.steering[slot] += score
                if score == -np.inf:
                    slots.state[slot] = FORBIDDEN
        if not going.all():
            self.rows = self.rows[going]
            frontier.select(np.flatnonzero(going))

    def _weigh(self, frontier: Frontier | None) -> None:
        """Resample the tasks that need it; the frontier follows."""
        self.looks += 1
        tasks = self.slots.unequal(self.call.smc.threshold)
        if len(tasks) == 0:
            return
        keys = [(self.part[task], self.looks) for task in tasks]
        uniforms = row_uniforms(self.call.seed, RESAMPLING_STREAM, keys, self.slots.each)
        parent = self.slots.resample(tasks, list(uniforms), self.call.smc.resampling)
        for task in tasks:
            self.resampled[task] += 1
        if frontier is not None:
            place = np.full(len(parent), -1)
            place[self.rows] = np.arange(len(self.rows))
            self.rows = self.slots.live
            frontier.select(place[parent[self.rows]])

    def _tell(self) -> None:
        if self.call.watch is None:
            return
        for index, task in enumerate(self.part):
            text = self.call.model.vocabulary.beginning(self.slots.common(index))
            if len(text) > len(self.said[index]):
                self.said[index] = text
                self.call.watch(task, text)

    def drawn(self, index: int, stopped: Stop | None) -> Drawn:
        """The particles of one task at the end, with the whole reward."""
        found = Drawn([], [], self.slots.each)
        law, slots = self.asked[index].law, self.slots
        for slot in range(index * slots.each, (index + 1) * slots.each):
            sample = slots.samples[slot]
            if slots.state[slot] == LIVE:
                found.unfinished, found.stopped = found.unfinished + 1, stopped
                found.begun = max(found.begun, slots.response(slot), key=len)
            elif slots.state[slot] == DEAD:
                found.dead_ends += 1
            elif slots.state[slot] == ENDED and sample is not None:
                whole = self._whole(sample, law.dear(sample.text) if sample.log_reward > -np.inf else 0.0, slot)
                (found.samples if whole.log_reward > -np.inf else found.refused).append(whole)
        return found

    def _whole(self, sample: RegulatedSample, dear: float, slot: int) -> RegulatedSample:
        correction = float(self.slots.correction[slot] + self.slots.local[slot])
        return replace(sample, log_reward=sample.log_reward + dear, log_correction=correction)
