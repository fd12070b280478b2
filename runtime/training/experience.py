"""Rows to learn from and to measure on: responses with their probabilities and their scores by every rule.

They come from the regulated decoder (weighted, for the law), from a policy itself, or from a file (`dataset`). Random
numbers belong to the seed and to the batch that is drawn, so any number of processes draws the same rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.decoders.interface import Decoder, DecodeResult
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.enforcement import BATCH, PromptPlan, Stages, decoding_parts, score_samples
from bylaw.runtime.generation.prepare import Prepared
from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel
from bylaw.runtime.models.metering import Meter
from bylaw.runtime.models.sampling import BaseSample, sample_rows
from bylaw.runtime.training.errors import NothingToLearn
from bylaw.runtime.training.network import TokenRow
from bylaw.runtime.training.processes import Processes
from bylaw.runtime.training.settings import RowSource

TRAIN, EVALUATE, HELD_OUT = 101, 102, 103
"""What a seed is for, so that rows to measure on played no part in training."""


@dataclass(frozen=True, eq=False)
class Experience:
    """N rows. `prompt` [N]: place among the prompts. `texts`: None where the tokens are no well-formed text.

    `log_q` [N] (nats): under what wrote them, such that exp(log p0 + reward − log q) is the weight of a row under the
    law; NaN for rows of a file. `log_p0` [N]: NaN where not known yet. `values`, `factors`, `counts`, `violated`
    [N, J]: as in `ScoredSamples`. `drawn` [X]: rows and dead particles drawn for each prompt. `passes`: what writing
    them took, in rows of the network (one more token each). For rows of a file: `pairs` [P, 2] with the `preference`
    of the first and the `margin`, and `desirable` [N].
    """

    source: RowSource
    prompt: IntArray
    tokens: tuple[tuple[int, ...], ...]
    ended: tuple[bool, ...]
    texts: tuple[str | None, ...]
    log_q: FloatArray
    log_p0: FloatArray
    values: FloatArray
    factors: FloatArray
    counts: FloatArray
    violated: FloatArray
    drawn: IntArray
    passes: int = 0
    pairs: IntArray | None = None
    preference: FloatArray | None = None
    margin: FloatArray | None = None
    desirable: tuple[bool, ...] | None = None
    remarks: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def log_reward(self) -> FloatArray:
        """[N] Σ w r − Σ μ f in nats; −inf where a hard rule is broken, and for what is no text."""
        found: FloatArray = self.factors.sum(axis=1)
        return np.where([text is None for text in self.texts], -np.inf, found)

    @property
    def log_weight(self) -> FloatArray:
        """[N] log p0 + reward − log q, nats."""
        return self.log_p0 + self.log_reward - self.log_q

    def token_rows(self, plans: Sequence[PromptPlan]) -> list[TokenRow]:
        """The rows with their prompts, for the network; equal rows are the same object."""
        made: dict[tuple[int, tuple[int, ...], bool], TokenRow] = {}
        found = []
        for key in zip(self.prompt.tolist(), self.tokens, self.ended, strict=True):
            if key not in made:
                made[key] = TokenRow(plans[key[0]].tokens, key[1], key[2])
            found.append(made[key])
        return found

    def rescored(self, program: RewardProgram, plans: Sequence[PromptPlan]) -> Experience:
        """The same rows with the multipliers of `program`; nothing else may have changed about it."""
        factors = self.factors.copy()
        for column, term in enumerate(program.terms):
            if term.kind != "budget":
                continue
            strength = np.array([{**dict(plans[int(p)].own)}.get(term.id, term.multiplier or 0.0) for p in self.prompt])
            value = self.values[:, column] - (float(term.bound or 0.0) if term.among is not None else 0.0)
            factors[:, column] = np.where(self.counts[:, column] > 0, -strength * value, 0.0)
        return replace(self, factors=factors)


def seed_of(seed: int, purpose: int, number: int) -> int:
    """The seed of the `number`-th batch that is drawn for a purpose."""
    return int(np.random.SeedSequence((seed, purpose, number)).generate_state(1)[0])


def from_law(
    prepared: Prepared,
    program: RewardProgram,
    model: LanguageModel,
    chosen: Sequence[int],
    samples: int,
    max_tokens: int,
    seed: int,
    stages: Stages,
    processes: Processes,
) -> Experience:
    """`samples` particles of the regulated decoder for each of the prompts `chosen`, with their weights.

    `model` is the base model. Raises NothingToLearn where no particle of any prompt keeps the hard rules, and what
    decoding raises.
    """
    meter = Meter()
    decoder: Decoder = Sir(particles=samples, responses=0, batch_size=BATCH)
    tasks = [prepared.tasks[index] for index in chosen]
    parts = decoding_parts([id(task.law) for task in tasks], seed, max(1, BATCH // samples))
    stages.stage("drawing from the law", len(parts))
    own: list[tuple[int, DecodeResult]] = []
    for number, (part, own_seed) in enumerate(parts):
        if number % processes.count == processes.rank:
            found = decoder.decode(meter.watch(model), [tasks[at] for at in part], max_tokens=max_tokens, seed=own_seed)
            own += list(zip(part, found, strict=True))
        stages.progress(number + 1, len(parts))
    results = [result for _, result in sorted(processes.gather(own), key=lambda pair: pair[0])]
    drawn = np.zeros(len(prepared.plans), dtype=np.int64)
    rows = []
    for index, result in zip(chosen, results, strict=True):
        drawn[index] += result.particles
        rows += [(index, sample) for sample in result.samples]
    if not rows:
        raise _none_allowed(prepared.plans, chosen, samples)
    unended = model.vocabulary.stopped
    made = scored_rows(
        program,
        prepared.plans,
        "law",
        [index for index, _ in rows],
        [sample.tokens for _, sample in rows],
        [len(sample.tokens) < max_tokens and not unended(sample.tokens) for _, sample in rows],
        [sample.text for _, sample in rows],
    )
    log_p0 = np.array([sample.log_p0 for _, sample in rows])
    # the decoder's own reward sums up the very factors, in an order of its own
    log_q = np.array([sample.log_q - sample.log_correction for _, sample in rows])
    empty = [str(prepared.plans[index].trace.id) for index in chosen if index not in {row for row, _ in rows}]
    remarks = (_empty_remark(empty),) if empty else ()
    passes = sum(processes.gather([meter.passes]))
    return replace(made, log_p0=log_p0, log_q=log_q, drawn=drawn, passes=passes, remarks=remarks)


def from_policy(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    model: LanguageModel,
    chosen: Sequence[int],
    samples: int,
    max_tokens: int,
    seed: int,
    stages: Stages,
    processes: Processes,
) -> Experience:
    """`samples` independent responses of `model` to each of the prompts `chosen`."""
    meter = Meter()
    prompts = [plan.tokens for plan in plans]
    keys = [(index, sample) for index in chosen for sample in range(samples)]
    stages.stage("sampling the policy", len(keys))
    own: list[tuple[int, BaseSample]] = []
    for number, first in enumerate(range(0, len(keys), BATCH)):
        part = keys[first : first + BATCH]
        if number % processes.count == processes.rank:
            found = sample_rows(meter.watch(model), prompts, part, max_tokens, seed)
            own += list(zip(range(first, first + len(part)), found, strict=True))
        stages.progress(min(first + BATCH, len(keys)), len(keys))
    rows = [sample for _, sample in sorted(processes.gather(own), key=lambda pair: pair[0])]
    made = scored_rows(
        program,
        plans,
        "policy",
        [index for index, _ in keys],
        [sample.tokens for sample in rows],
        [sample.ended for sample in rows],
        [sample.text if sample.is_text else None for sample in rows],
    )
    drawn = np.zeros(len(plans), dtype=np.int64)
    drawn[list(chosen)] = samples
    log_q = np.array([sample.log_p0 for sample in rows])
    return replace(made, log_q=log_q, drawn=drawn, passes=sum(processes.gather([meter.passes])))


def scored_rows(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    source: RowSource,
    prompt: Sequence[int],
    tokens: Sequence[tuple[int, ...]],
    ended: Sequence[bool],
    texts: Sequence[str | None],
) -> Experience:
    """Rows with their scores, each text of a prompt scored once. Raises EnforcementError for an unscored limit."""
    shape = (len(tokens), len(program.terms))
    values, factors, counts, violated = (np.zeros(shape) for _ in range(4))
    at: dict[int, dict[str, list[int]]] = {}
    for row, (index, text) in enumerate(zip(prompt, texts, strict=True)):
        if text is not None:
            at.setdefault(index, {}).setdefault(text, []).append(row)
    for index, by_text in at.items():
        found = score_samples(program, plans[index], list(by_text))
        for line, rows in enumerate(by_text.values()):
            values[rows], factors[rows] = found.values[line], found.factors[line]
            counts[rows], violated[rows] = found.counts[line], found.violated[line]
    nothing = np.full(len(tokens), np.nan)
    return Experience(
        source, np.array(prompt, dtype=np.int64), tuple(tokens), tuple(ended), tuple(texts), nothing, nothing,
        values, factors, counts, violated, np.bincount(prompt, minlength=len(plans)).astype(np.int64),
    )  # fmt: skip


def broken_by_all(program: RewardProgram, rows: Experience) -> tuple[str, ...]:
    """The hard rules that every row breaks which they are about."""
    found = []
    for column, term in enumerate(program.terms):
        about = rows.counts[:, column] > 0
        if term.kind == "hard" and about.any() and bool((rows.violated[about, column] > 0).all()):
            found.append(term.id)
    return tuple(found)


def _none_allowed(plans: Sequence[PromptPlan], chosen: Sequence[int], samples: int) -> NothingToLearn:
    hard = tuple(dict.fromkeys(term.id for index in chosen for term in plans[index].terms if term.kind == "hard"))
    named = ", ".join(f"`{name}`" for name in hard) or "the rules"
    return NothingToLearn(
        f"none of {samples} samples of the regulated decoder to each of {len(chosen)} prompts obeys {named}: there is "
        "nothing to learn from; draw more with --samples, allow longer answers, or make the rules easier to meet",
        hard,
    )


def _empty_remark(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5]) + (" and more" if names[5:] else "")
    return f"{len(names)} prompts have no sample that keeps the hard rules, and nothing is learnt for them: {shown}"


def rates(program: RewardProgram, rows: Experience, weights: FloatArray | None = None) -> Mapping[str, float]:
    """For each term the share of rows that break it (a graded term: the mean of its quantity; a limit: that of its
    event or quantity), among rows it is about; `weights` [N] ≥ 0, equal ones without. Terms about no row are absent."""
    found = {}
    own = np.ones(len(rows)) if weights is None else weights
    for column, term in enumerate(program.terms):
        about = own * (rows.counts[:, column] > 0)
        if about.sum() > 0:
            is_mean = term.kind == "budget" or term.kind == "graded"
            measured = rows.values[:, column] if is_mean else rows.violated[:, column]
            found[term.id] = float((about * measured).sum() / about.sum())
    return found
