"""Quasi-rejection sampling: independent proposals from the twist, accepted with probability min(1, w/β).

The default for one response. Given β, responses are i.i.d. from p_β ∝ min(P, β·q), whose distance from p* every set of
proposals tells (see `pilot`). β comes from outside, from a `Pilot` of an earlier call, or from the first proposals
of the call itself, as the least one that is expected to meet a target total variation.

First proposals are proposals: they cost nothing extra. What decides is that no proposal is judged by a bound that its
own weight helped to choose. With one task the first half of its proposals sets the bound for the second half; with
several tasks of one law the tasks are halved, and each half sets the bound of the other; later proposals are judged by
a bound from all that were drawn before them. So the law of a response is a mixture of p_β, and its TV from p* is at
most the mean of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from bylaw.runtime.decoders._black_boxes import Asked
from bylaw.runtime.decoders.engine import Drawn, Key, add, check_tasks, draw_batches
from bylaw.runtime.decoders.interface import (
    DecodeError,
    DecodeResult,
    DecodeTask,
    Diagnostics,
    RegulatedSample,
    Watch,
)
from bylaw.runtime.decoders.pilot import Pilot, Quality, differs, least_bound, pilot_of, prompt_key, quality, start_of
from bylaw.runtime.decoders.sir import resample
from bylaw.runtime.decoders.weights import REASONS, conclude
from bylaw.runtime.models.interface import RESAMPLING_STREAM, FloatArray, LanguageModel, row_uniforms
from bylaw.runtime.models.metering import Limits, Meter, Stop

__all__ = ["Qrs", "pilot_of"]

ENOUGH = 8
"""Weights above zero before they set a bound."""
PROMPTS = 8
"""Different prompts before they share a bound."""
ROUND = 64
"""Proposals of all tasks together in a later round, or one for each missing response; whatever fits into a batch."""
_MISS = 0.1


@dataclass(frozen=True)
class Qrs:
    """`responses` accepted proposals per prompt.

    `total_variation`: the target for TV(p_β, p*). `log_beta` (nats) fixes the bound instead, and `pilot` takes it from
    weights of an earlier call; otherwise the first proposals of the call choose it: `proposals` of them together for
    all tasks that `share` (tasks of one `law`; `all` of them, by weights relative to their twists' own log V̂; or
    `none`). `at_once`: proposals of a prompt in one round later on; None: as many as the acceptance asks for. After
    `most` proposals per response what is missing is resampled from them by weight, and the result says so.
    """

    responses: int = 1
    total_variation: float = 0.05
    log_beta: float | None = None
    pilot: Pilot | None = None
    proposals: int = 32
    share: Literal["law", "all", "none"] = "law"
    at_once: int | None = None
    most: int = 256
    batch_size: int = 64

    @property
    def name(self) -> str:
        return "qrs"

    @property
    def biased(self) -> bool:
        """Every response is within the stated distance of p*, and as near as one asks for."""
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
        """One result per task; its samples and log Ẑ are those of the first round, whose size is fixed beforehand.

        The distance told is that of the loosest bound which accepted a response of the task; none is told where a limit
        cut proposals of tasks that share a bound. `watch` is told of a response when it is accepted. Raises
        `DecodeError`; see `Decoder`.
        """
        self._check()
        check_tasks(tasks, model, max_tokens)
        meter = Meter(limits)
        run = _Run(self, meter.watch(model), tasks, max_tokens, seed)
        for members in run.families():
            run.family(members)
        return [run.result(index, meter.passes, watch) for index in range(len(tasks))]

    def _check(self) -> None:
        if self.responses < 1 or self.proposals < 2 or self.most < 1 or (self.at_once is not None and self.at_once < 1):
            raise DecodeError("qrs needs one response, two first proposals and one proposal in a round at least")
        if not 0 < self.total_variation < 1:
            raise DecodeError(f"a total variation of {self.total_variation} cannot be aimed at: choose one in (0, 1)")
        if self.log_beta is not None and (self.pilot is not None or not np.isfinite(self.log_beta)):
            raise DecodeError("give a finite bound of the rejection or a pilot that chooses it, not both")
        if self.share not in ("law", "all", "none"):
            raise DecodeError(f"qrs shares first proposals by `law`, `all` or `none`, not by `{self.share}`")


@dataclass(eq=False)
class _Progress:
    """What became of one task. `weights`: of its proposals in order, nats relative to `start`; dead ones −inf.

    `bound` is the present one, `least` the smallest that a response was accepted by: what the others are nearer than.
    """

    start: float
    key: str
    first: Drawn
    later: Drawn
    weights: list[float] = field(default_factory=list)
    samples: list[RegulatedSample | None] = field(default_factory=list)
    judged: int = 0
    tried: int = 0
    accepted: list[RegulatedSample] = field(default_factory=list)
    bound: float | None = None
    least: float | None = None
    told: Quality | None = None
    remarks: tuple[str, ...] = ()

    @property
    def pilot(self) -> Pilot:
        return Pilot(tuple(self.weights), (self.key,) * len(self.weights))


class _Run:
    """One call: rounds of proposals until every task has its responses, or a limit comes."""

    def __init__(
        self, options: Qrs, model: LanguageModel, tasks: Sequence[DecodeTask], max_tokens: int, seed: int
    ) -> None:
        self.options, self.model, self.given = options, model, tasks
        self.asked = [Asked(task.law) for task in tasks]
        self.tasks = [replace(task, law=asked.law) for task, asked in zip(tasks, self.asked, strict=True)]
        self.cap, self.seed = max_tokens, seed
        self.stopped: Stop | None = None
        self.progress = [
            _Progress(start_of(task, max_tokens), prompt_key(task.prompt), Drawn([], [], 0), Drawn([], [], 0))
            for task in tasks
        ]

    def families(self) -> list[list[int]]:
        """Tasks that share a bound."""
        found: dict[int, list[int]] = {}
        numbers: dict[tuple[int, ...], int] = {}
        for index, task in enumerate(self.given):
            law = (task.law.residual, task.law.prefix_rule, *task.law.scorers)
            parts = (*task.twists, None, *task.look_ahead, None, *law)
            number = numbers.setdefault(tuple(map(id, parts)), len(numbers))
            if number and self.options.share == "all":
                # one prompt under two laws counts as two
                self.progress[index].key += f":{number}"
            found.setdefault({"law": number, "all": 0, "none": index}[self.options.share], []).append(index)
        return [part for family in found.values() for part in self._split(family)]

    def _split(self, family: list[int]) -> list[list[int]]:
        """Few prompts are no sample of prompts: each gets a bound of its own."""
        by_prompt: dict[str, list[int]] = {}
        for index in sorted(family, key=lambda index: (self.progress[index].key, index)):
            by_prompt.setdefault(self.progress[index].key, []).append(index)
        parts = list(by_prompt.values())
        return parts if len(parts) < PROMPTS else [[index for part in parts for index in part]]

    # ------------------------------------------------------------------------------------------------------- proposals
    def draw(self, counts: dict[int, int]) -> None:
        """That many more proposals for each task; the first time they are what its log Ẑ is made of."""
        keys: list[Key] = []
        into: dict[int, Drawn] = {}
        for index, count in counts.items():
            found = self.progress[index]
            into[index] = found.later if found.weights or found.first.particles else found.first
            into[index].particles += count
            keys += [(index, len(found.weights) + more) for more in range(count)]
        for part, paths in draw_batches(self.model, self.tasks, keys, self.cap, self.seed, self.options.batch_size):
            self.stopped = self.stopped or paths.stopped
            for row, (index, _) in enumerate(part):
                drawn, progress = into[index], self.progress[index]
                before = len(drawn.samples)
                add(drawn, self.model.vocabulary, self.tasks[index].law, paths, row)
                if paths.unfinished[row]:
                    continue
                sample = drawn.samples[-1] if len(drawn.samples) > before else None
                progress.samples.append(sample)
                progress.weights.append(-np.inf if sample is None else sample.log_weight - progress.start)

    def judge(self, index: int, bound: float, first: int) -> None:
        """Accept or reject the proposals from number `first` on by the bound, until there are enough."""
        found = self.progress[index]
        found.bound, found.judged = bound, max(found.judged, first)
        keys = [(index, 1 + particle) for particle in range(found.judged, len(found.weights))]
        uniforms = row_uniforms(self.seed, RESAMPLING_STREAM, keys, 1)[:, 0]
        for uniform in uniforms:
            at = found.judged
            if len(found.accepted) == self.options.responses:
                break
            found.judged += 1
            found.tried += 1
            sample = found.samples[at]
            if sample is not None and np.log1p(-uniform) < found.weights[at] - bound:
                found.accepted.append(sample)
                found.least = bound if found.least is None else min(found.least, bound)

    # -------------------------------------------------------------------------------------------------------- a family
    def family(self, members: list[int]) -> None:
        """All proposals of tasks that share a bound."""
        self.stopped = None  # what was too much for others may do here, and is told again where it does not
        if self.options.log_beta is not None:
            for index in members:
                self.progress[index].bound = self.options.log_beta - self.progress[index].start
        elif self.options.pilot is not None:
            bound = least_bound(self.options.pilot, self.options.total_variation)
            for index in members:
                self.progress[index].bound = bound
        else:
            self.open(members)
        while True:
            for index in members:
                known = self.progress[index].bound
                if known is not None:
                    self.judge(index, known, 0)
            waiting = [i for i in members if self.missing(i) and self.room(i) and self.progress[i].bound is not None]
            if not waiting or self.stopped is not None:
                break
            self.renew(members, waiting)
            acceptance = self.acceptance(waiting)
            rows = ROUND // len(waiting)
            self.draw({i: min(self.next_round(i, acceptance, rows), self.room(i)) for i in waiting})
        self.tell(members)

    def renew(self, members: list[int], waiting: list[int]) -> None:
        """What was drawn so far sets the bound for what comes next, unless it came from outside."""
        if self.options.log_beta is None and self.options.pilot is None:
            bound = least_bound(self.pooled(members), self.options.total_variation)
            for index in waiting:
                self.progress[index].bound = bound

    def open(self, members: list[int]) -> None:
        """The first proposals choose the bound, and those that had no part in it are judged by it at once."""
        prompts = len({self.progress[index].key for index in members})
        # of several prompts two draws each, so that differences between prompts are seen
        each = min(max(-(-self.options.proposals // len(members)), 2 if prompts > 1 else 1), self.most)
        self.draw(dict.fromkeys(members, each))
        if len(members) == 1:
            found, half = self.progress[members[0]], each // 2
            seen = found.weights[:half]
            self.try_bound(members, Pilot(tuple(seen), (found.key,) * len(seen)), half)
        else:
            # members are in the order of their prompts, so that both halves see the same prompts where they can
            halves = (members[::2], members[1::2])
            for mine, others in (halves, halves[::-1]):
                self.try_bound(mine, self.pooled(others), 0)
        unjudged = [index for index in members if self.progress[index].bound is None]
        if unjudged:
            self.enlarge(members, unjudged)

    def try_bound(self, members: Sequence[int], pilot: Pilot, first: int) -> None:
        """Judge by the bound of a pilot that saw nothing of it, if that has weights enough."""
        if pilot.positive >= ENOUGH:
            bound = least_bound(pilot, self.options.total_variation)
            for index in members:
                self.judge(index, bound, first)

    def enlarge(self, members: list[int], unjudged: list[int]) -> None:
        """A bound from all there is, and from more where that is too little; it judges only what comes after it."""
        while self.stopped is None and self.pooled(members).positive < ENOUGH:
            more = {index: min(len(self.progress[index].weights), self.room(index)) for index in members}
            if not any(more.values()):
                break
            self.draw({index: count for index, count in more.items() if count})
        pilot = self.pooled(members)
        if pilot.positive >= ENOUGH:
            bound = least_bound(pilot, self.options.total_variation)
            for index in unjudged:
                self.progress[index].bound, self.progress[index].judged = bound, len(self.progress[index].weights)

    def pooled(self, members: Sequence[int]) -> Pilot:
        found = [self.progress[index] for index in members]
        weights = [weight for each in found for weight in each.weights]
        return Pilot(tuple(weights), tuple(each.key for each in found for _ in each.weights))

    @property
    def most(self) -> int:
        """Proposals for one task."""
        return self.options.most * self.options.responses

    def room(self, index: int) -> int:
        return max(self.most - len(self.progress[index].weights), 0)

    def missing(self, index: int) -> int:
        return self.options.responses - len(self.progress[index].accepted)

    def next_round(self, index: int, acceptance: float, rows: int) -> int:
        """Proposals in the next round: few enough not to be wasted, enough that most tasks are done with it."""
        if self.options.at_once is not None:
            return self.options.at_once
        wanted = max(np.log(_MISS) / np.log1p(-acceptance), self.missing(index) / acceptance)
        return int(np.clip(wanted, 1, max(rows, self.missing(index))))

    def acceptance(self, waiting: list[int]) -> float:
        """Of the next proposals, by what was seen so far."""
        tried = sum(self.progress[index].tried for index in waiting)
        if tried >= 2 * len(waiting) + 8 or self.options.log_beta is not None:
            taken = sum(len(self.progress[index].accepted) for index in waiting)
            return min((taken + 1) / (tried + 4), 0.9)
        pilot = self.options.pilot or self.pooled(waiting)
        bound = max(self.progress[index].bound or 0.0 for index in waiting)
        return float(np.clip(np.exp(np.minimum(np.array(pilot.log_weights) - bound, 0.0)).mean(), 1e-3, 0.9))

    # --------------------------------------------------------------------------------------------------------- results
    def tell(self, members: list[int]) -> None:
        """Say of each task what all proposals of its family say of its bound."""
        own = self.pooled(members)
        given = self.options.pilot
        weights = own if given is None else given + own
        by_bound: dict[float, Quality] = {}
        # finished proposals of a cut round are the short ones, which tell nothing of the distance
        cut = any(self.progress[index].first.unfinished + self.progress[index].later.unfinished for index in members)
        mismatch = () if given is None else differs(given, own)
        for index in members:
            found = self.progress[index]
            found.remarks = mismatch
            bound = found.bound = found.bound if found.least is None else found.least
            if bound is not None and weights.positive:
                if bound not in by_bound:
                    told = quality(weights, bound)
                    by_bound[bound] = replace(told, total_variation=None, divergence=None) if cut else told
                found.told = by_bound[bound]

    def result(self, index: int, passes: int, watch: Watch | None) -> DecodeResult:
        """The result of one task; what no proposal was accepted for is resampled."""
        found, task = self.progress[index], self.tasks[index]
        responses, remarks = list(found.accepted), found.remarks
        missing = self.options.responses - len(responses)
        pool = [sample for sample in found.samples if sample is not None]
        if missing and pool:
            weights: FloatArray = np.array([sample.log_weight for sample in pool])
            uniforms = row_uniforms(self.seed, RESAMPLING_STREAM, [(index, 0)], missing)[0]
            responses += [pool[int(at)] for at in resample(weights, missing, uniforms, "multinomial")]
            remarks += (
                f"{missing} of {self.options.responses} responses were not accepted but resampled by weight from "
                f"{len(found.weights)} proposals: their law is p* only for many proposals, and no distance is stated",
            )
        if watch is not None and responses:
            watch(index, responses[0].text)
        told = Diagnostics(passes, scorer_calls=self.asked[index].scorer_calls, remarks=remarks)
        if found.bound is not None:
            told = replace(told, beta=found.bound + found.start)
        if found.told is not None:
            quality = found.told
            told = replace(told, acceptance=quality.acceptance, remarks=(*told.remarks, *quality.remarks))
            if not missing:
                told = replace(told, total_variation=quality.total_variation, divergence=quality.divergence)
        return self._conclude(found, task, responses, told)

    def _conclude(
        self, found: _Progress, task: DecodeTask, responses: list[RegulatedSample], told: Diagnostics
    ) -> DecodeResult:
        first, later = found.first, found.later
        if first.stopped is None and later.stopped is not None and not responses:
            # nothing was found at all: the best beginning is completed
            first.stopped, first.begun = later.stopped, later.begun
        vocabulary = self.model.vocabulary
        result = conclude(task, vocabulary, first, responses, told, biased=False, max_tokens=self.cap)
        if first.stopped is not None or later.stopped is None:
            return result
        remark = f"{REASONS[later.stopped]} before enough proposals were accepted"
        known = result.diagnostics
        return replace(
            result,
            diagnostics=replace(
                known, stopped=later.stopped, unfinished=later.unfinished, remarks=(*known.remarks, remark)
            ),
        )
