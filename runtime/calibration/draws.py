"""Draws for a calibration, from the base model and from the laws of its rounds, through a store that may keep them.

Every draw knows its log probability under the base model and under the law that it came from; `cross` adds that under
any other law. All of it is nats, and equal arguments give bit-equal results whether they were drawn now or read back.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.calibration.sample_store import SampleStore, digest_of
from bylaw.runtime.decoders.engine import proposal_log_prob
from bylaw.runtime.decoders.interface import DecodeResult, DecodeTask
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.enforcement import BATCH, Own, PromptPlan, Stages, decode_tasks, decoding_parts, with_own
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.sampling import BESIDE, BaseSample, sample_rows
from bylaw.runtime.twist.compiler import TwistCompiler
from bylaw.runtime.twist.policies import twist_compiler
from bylaw.runtime.twist.store import FORMAT

FloatArray = NDArray[np.float64]

CROSS_ROWS = 256
"""Draws whose probability under another law is one shard."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw for one prompt.

    `text` is None where the draw ended without one: a dead end of the proposal, or bytes that are not UTF-8. `log_p0`
    and `log_q` (nats) are under the base model and under the law that drew it, −inf for a dead end. `ended` is False
    where the cap cut the response. `beside`: see `BaseSample`; draws from other laws have none.
    """

    tokens: tuple[int, ...]
    text: str | None
    log_p0: float
    log_q: float
    ended: bool
    beside: bytes = b""


DEAD = Draw((), None, -np.inf, -np.inf, False)


@dataclass(frozen=True, slots=True)
class Proposal:
    """The law that one round draws from: the rules with these multipliers (nats, by term id).

    `own` [X] are the multipliers that hold for single prompts, as in `PromptPlan`; empty where there are none. `draws`
    are per prompt, `stream` keeps the random numbers of different rounds apart, and `scale` tells by how much the
    multipliers were shrunk, 1 where they were not.
    """

    multipliers: tuple[tuple[str, float], ...]
    own: Own
    draws: int
    stream: int
    scale: float

    def plans(self, plans: Sequence[PromptPlan]) -> list[PromptPlan]:
        """The plans with what multipliers each has of its own."""
        return with_own(plans, self.own)

    @property
    def common(self) -> Mapping[str, float]:
        return dict(self.multipliers)


@dataclass
class Sampler:
    """Draws for the prompts of `plans` through `store`; asks the model only for what is not there yet.

    Without a store nothing is kept. `given` [X] are the responses of the base model where they are there already: those
    of `sample_base` with this seed are the very ones that `base` draws. `compiler` makes the look-ahead of all rounds;
    without one the sampler has its own. Every method raises StoreError where the store
    cannot be written, and what decoding raises. An interrupt loses the batch that was being drawn.
    """

    program: RewardProgram
    plans: Sequence[PromptPlan]
    model: LanguageModel
    max_tokens: int
    seed: int
    store: SampleStore | None
    stages: Stages
    given: Sequence[Sequence[BaseSample]] | None = None
    compiler: TwistCompiler | None = None
    used: list[str] = field(default_factory=list)
    _tasks: dict[Proposal, list[DecodeTask]] = field(default_factory=dict)

    def base(self, draws: int) -> list[list[Draw]]:
        """[X][draws] responses of the base model."""
        if self.given is not None:
            if any(len(own) != draws for own in self.given):
                raise ValueError(f"{draws} responses of the base model for each prompt were to be given")
            return [[_base_draw(sample) for sample in own] for own in self.given]
        name = base_name(draws)
        keys = [(prompt, sample) for prompt in range(len(self.plans)) for sample in range(draws)]
        prompts = [plan.tokens for plan in self.plans]
        self.stages.stage("sampling the base model", len(keys))
        found: list[list[Draw]] = [[] for _ in self.plans]
        for shard, first in enumerate(range(0, len(keys), BATCH)):
            part = keys[first : first + BATCH]
            rows = self._shard(name, shard, len(part))
            if rows is None:
                samples = sample_rows(self.model, prompts, part, self.max_tokens, self.seed)
                rows = [_row(prompt, _base_draw(sample)) for (prompt, _), sample in zip(part, samples, strict=True)]
                self._keep(name, shard, rows)
            collect(rows, found)
            self.stages.progress(min(first + BATCH, len(keys)), len(keys))
        return found

    def law(self, proposal: Proposal, base: Sequence[Sequence[Draw]]) -> list[list[Draw]]:
        """[X][draws] particles of the regulated decoder, dead ones included; `base` [X] is what its look-ahead counts.

        Raises Infeasible, DecodeError.
        """
        name = self.name(proposal, base)
        plans = proposal.plans(self.plans)
        seed = int(np.random.SeedSequence((self.seed, 2, proposal.stream)).generate_state(1)[0])
        parts = decoding_parts([plan.weighed(proposal.common) for plan in plans], seed, max(1, BATCH // proposal.draws))
        decoder = Sir(particles=proposal.draws, responses=0, batch_size=BATCH)
        self.stages.stage(f"drawing from the law, round {proposal.stream}", len(plans))
        found: list[list[Draw]] = [[] for _ in plans]
        done = 0
        for shard, (part, own_seed) in enumerate(parts):
            rows = self._shard(name, shard, len(part) * proposal.draws)
            if rows is None:
                tasks = self.tasks(proposal, base)
                results = decoder.decode(
                    self.model, [tasks[index] for index in part], max_tokens=self.max_tokens, seed=own_seed
                )
                rows = [
                    row
                    for index, result in zip(part, results, strict=True)
                    for row in _law_rows(index, result, self.max_tokens)
                ]
                self._keep(name, shard, rows)
            collect(rows, found)
            done += len(part)
            self.stages.progress(done, len(plans))
        return found

    def cross(
        self, source: str, draws: Sequence[Sequence[Draw]], proposal: Proposal, base: Sequence[Sequence[Draw]]
    ) -> list[FloatArray]:
        """[X][N_x] log q in nats of draws of the law called `source` under another proposal; −inf without a text."""
        name = f"{source}.under.{self.name(proposal, base)}"
        plans = proposal.plans(self.plans)
        groups: dict[Any, list[tuple[int, int]]] = {}
        for index, own in enumerate(draws):
            members = groups.setdefault(plans[index].weighed(proposal.common), [])
            members += [(index, place) for place, draw in enumerate(own) if draw.text is not None]
        chunks = [
            members[first : first + CROSS_ROWS]
            for members in groups.values()
            for first in range(0, len(members), CROSS_ROWS)
        ]
        total = sum(map(len, chunks))
        self.stages.stage("weighing draws of other rounds", total)
        found = [np.full(len(own), -np.inf) for own in draws]
        done = 0
        for shard, chunk in enumerate(chunks):
            values = self._shard(name, shard, len(chunk))
            if values is None:
                task = self.tasks(proposal, base)[chunk[0][0]]
                log_q = proposal_log_prob(
                    self.model, [self.plans[index].tokens for index, _ in chunk],
                    [draws[index][place].tokens for index, place in chunk],
                    task.law, task.twists, self.max_tokens, batch_size=BATCH,
                )  # fmt: skip
                values = [_written(float(value)) for value in log_q]
                self._keep(name, shard, values)
            for (index, place), value in zip(chunk, values, strict=True):
                found[index][place] = _read(value)
            done += len(chunk)
            self.stages.progress(done, total)
        return found

    def name(self, proposal: Proposal, base: Sequence[Sequence[Draw]]) -> str:
        """The folder of a proposal's draws: a digest of what they depend on, besides the key of the store."""
        body = {
            "rules": self.program.digest,
            "multipliers": proposal.multipliers,
            "own": proposal.own,
            "draws": proposal.draws,
            "stream": proposal.stream,
            "base": base_name(len(base[0])),
            "look-ahead": FORMAT,
        }
        return f"law-{digest_of(body)[:16]}"

    def tasks(self, proposal: Proposal, base: Sequence[Sequence[Draw]]) -> list[DecodeTask]:
        """One decoding task a prompt, built when first asked for. Raises Infeasible."""
        if proposal not in self._tasks:
            plans = proposal.plans(self.plans)
            # one compiler for all rounds: what does not change with the multipliers is built once
            self.compiler = self.compiler or twist_compiler(self.model, self.max_tokens)
            self._tasks[proposal] = decode_tasks(
                plans, base, self.model, proposal.common, self.max_tokens, compiler=self.compiler
            )
        return self._tasks[proposal]

    def _keep(self, name: str, index: int, rows: Sequence[Any]) -> None:
        if self.store is not None:
            self.store.put(name, index, rows)

    def _shard(self, name: str, index: int, rows: int) -> list[Any] | None:
        if self.store is None:
            return None
        if name not in self.used:
            self.used.append(name)
        found = self.store.get(name, index)
        # a batch of another size comes from a version that cut batches otherwise
        return found if found is None or len(found) == rows else None


def base_name(draws: int) -> str:
    """The folder of the draws from the base model."""
    return f"base{BESIDE}-{draws}"


def _base_draw(sample: BaseSample) -> Draw:
    text = sample.text if sample.is_text else None
    return Draw(sample.tokens, text, sample.log_p0, sample.log_p0, sample.ended, sample.beside)


def _law_rows(prompt: int, result: DecodeResult, max_tokens: int) -> list[dict[str, Any]]:
    """A row for each particle: those of positive weight, finished texts that are forbidden, then what has no text."""
    drawn = [
        Draw(sample.tokens, sample.text, sample.log_p0, sample.log_q, len(sample.tokens) < max_tokens)
        for sample in (*result.samples, *result.refused)
    ]
    return [_row(prompt, draw) for draw in (*drawn, *[DEAD] * (result.particles - len(drawn)))]


def _row(prompt: int, draw: Draw) -> dict[str, Any]:
    row = {
        "prompt": prompt,
        "tokens": draw.tokens,
        "text": draw.text,
        "log_p0": _written(draw.log_p0),
        "log_q": _written(draw.log_q),
        "ended": draw.ended,
    }
    return row | {"beside": b64encode(zlib.compress(draw.beside)).decode()} if draw.beside else row


def collect(rows: Sequence[Mapping[str, Any]], found: list[list[Draw]]) -> None:
    """Adds the draws of a shard's rows to those of their prompts, `found` [X]."""
    for row in rows:
        beside = zlib.decompress(b64decode(row["beside"])) if "beside" in row else b""
        log_p0, log_q = _read(row["log_p0"]), _read(row["log_q"])
        found[row["prompt"]].append(Draw(tuple(row["tokens"]), row["text"], log_p0, log_q, row["ended"], beside))


def _written(value: float) -> float | None:
    """JSON has no infinity: −inf, the only one that occurs, is null."""
    return None if value == -np.inf else value


def _read(value: float | None) -> float:
    return -np.inf if value is None else float(value)
