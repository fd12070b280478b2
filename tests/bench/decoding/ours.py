"""Our decoders on the same models: the policy compiled from its text, the twist counted on base samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from decoding.measure import Run
from decoding.models import CountedModel, Counter, FloatArray, TableModel, Tokens
from decoding.rules import TRACE, Rules

from bylaw.compiler.specialise import specialise
from bylaw.runtime.decoders.engine import proposal_log_prob
from bylaw.runtime.decoders.interface import Decoder, DecodeResult, DecodeTask, PromptLaw
from bylaw.runtime.enforcement import PromptPlan
from bylaw.runtime.models.sampling import sample_base
from bylaw.runtime.twist import Twist, uniform_twist
from bylaw.runtime.twist.compiler import TwistCompiler
from bylaw.runtime.twist.policies import decode_tasks


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is paid once for a policy and a model: `samples` base samples for the twist, `passes` unique prefixes."""

    law: PromptLaw
    twists: tuple[Twist, ...]
    samples: int
    passes: int

    def task(self, run: int) -> DecodeTask:
        """The task of one run; its prompt is the run's name for the counter."""
        return DecodeTask((run,), self.law, self.twists)


def prepare(table: TableModel, rules: Rules, *, samples: int, seed: int) -> Prepared:
    """Compiles the policy and builds its twists from base samples, as `bylaw generate` does.

    Without samples the twists know what is in reach and nothing else.
    """
    counter = Counter()
    model = CountedModel(table, counter)
    base = sample_base(model, [(0,)], max(samples, 1), table.cap, seed=seed)
    plan = PromptPlan(TRACE, (0,), specialise(rules.compiled(), TRACE))
    [task] = decode_tasks([plan], base, model, {}, table.cap, compiler=TwistCompiler(model, table.cap))
    if not samples:
        blind = tuple(uniform_twist(twist.automaton, model.vocabulary, table.cap) for twist in task.twists)
        return Prepared(task.law, blind, 0, 0)
    return Prepared(task.law, task.twists, samples, counter.total)


def proposal_law(
    table: TableModel, prepared: Prepared, responses: Sequence[Tokens], *, masked: bool = False
) -> FloatArray:
    """[Y] the exact law of one twisted (or masked) proposal, by teacher forcing every response."""
    model = CountedModel(table, Counter())
    found = proposal_log_prob(
        model, [(0,)] * len(responses), responses, prepared.law, prepared.twists, table.cap,
        batch_size=20_000, masked=masked,
    )  # fmt: skip
    return np.exp(found)


def runs_of(
    decoder: Decoder, table: TableModel, prepared: Prepared, count: int, seed: int, *, together: int = 1
) -> list[Run]:
    """`count` independent runs; the law of the response of a run is that of its samples by weight, or its response.

    With `together` > 1 runs share calls, which must not let them share anything else.
    """
    found: list[Run] = []
    for first in range(0, count, together):
        numbers = range(first, min(first + together, count))
        counter = Counter()
        model = CountedModel(table, counter)
        tasks = [prepared.task(number) for number in numbers]
        results = decoder.decode(model, tasks, max_tokens=table.cap, seed=seed * 1_000_003 + first)
        found += [
            _run(decoder, result, counter.passes((number,))) for number, result in zip(numbers, results, strict=True)
        ]
    return found


def _run(decoder: Decoder, result: DecodeResult, passes: int) -> Run:
    told = result.diagnostics
    if result.responses:
        tokens = (result.responses[-1].tokens,)
        share = np.ones(1)
    else:
        weights = np.array([sample.log_weight for sample in result.samples])
        tokens = tuple(sample.tokens for sample in result.samples)
        share = np.exp(weights - weights.max()) if len(weights) else np.zeros(0)
        share = share / share.sum() if len(share) else share
    return Run(
        tokens, share, result.log_z_estimate, result.ess, passes,
        math.nan if told.acceptance is None else told.acceptance.value,
        math.nan if told.beta is None else told.beta,
    )  # fmt: skip
