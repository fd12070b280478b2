"""One program, one model, many prompts: what the law is for each prompt, and decoding from it.

Prompts for which the same terms are alive share automata and twists. Everything here is in nats and float64.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.evaluate import NEGATIVE_INFINITY, Verdict, evaluate_term
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.specialise import CannotSpecialise, specialise
from bylaw.runtime.decoders.interface import Decoder, DecodeResult, DecodeTask
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.twist.compiler import Stages
from bylaw.runtime.twist.errors import EnforcementError
from bylaw.runtime.twist.policies import decode_tasks, hard_mass, require_feasible
from bylaw.spec.trace import Trace

__all__ = [
    "BATCH",
    "EnforcementError",
    "Own",
    "PromptPlan",
    "ScoredSamples",
    "Stages",
    "decode",
    "decode_tasks",
    "decoding_parts",
    "hard_mass",
    "plan_prompts",
    "require_feasible",
    "score_samples",
    "score_traces",
    "with_multipliers",
    "with_own",
]

FloatMatrix = NDArray[np.float64]
Progress = Callable[[int, int], None]
Own = tuple[tuple[tuple[str, float], ...], ...]
"""[X] multipliers (term id, nats) that hold for single prompts."""

BATCH = 128
"""Sequences that a model grows at once."""


@dataclass(frozen=True, slots=True)
class PromptPlan:
    """One prompt: its conversation, its tokens and the terms that are alive for it.

    `own` are multipliers (term id, nats) that hold for this prompt alone: those of limits on each prompt.
    """

    trace: Trace
    tokens: tuple[int, ...]
    terms: tuple[RewardTerm, ...]
    own: tuple[tuple[str, float], ...] = ()

    def weighed(self, multipliers: Mapping[str, float]) -> tuple[RewardTerm, ...]:
        """Its terms with these multipliers (nats, by term id) and its own ones, which take precedence."""
        return with_multipliers(self.terms, {**multipliers, **dict(self.own)})


def plan_prompts(
    program: RewardProgram, prompts: Sequence[Trace], model: LanguageModel, max_tokens: int
) -> tuple[PromptPlan, ...]:
    """Settles every condition that is known before the first token.

    Raises EnforcementError, also for a prompt that leaves no room for `max_tokens` in the model's context; ModelError.
    """
    context = getattr(model, "context", None)
    plans = []
    for trace in prompts:
        try:
            alive = specialise(program, trace)
        except CannotSpecialise as error:
            raise EnforcementError(f"prompt {trace.id}: {error}", error.term) from None
        messages = [{"role": message.role, "content": message.content} for message in trace.messages]
        tokens = model.encode_chat(messages)
        if context is not None and len(tokens) + max_tokens > context:
            raise EnforcementError(
                f"prompt {trace.id}: its {len(tokens)} tokens and {max_tokens} more for the answer do not fit into the "
                f"{context} tokens that the model can read"
            )
        plans.append(PromptPlan(trace, tokens, alive))
    return tuple(plans)


def with_own(plans: Sequence[PromptPlan], own: Own) -> list[PromptPlan]:
    """The plans, each with the multipliers of its own; `own` is empty where there are none."""
    if not own:
        return list(plans)
    return [replace(plan, own=pairs) for plan, pairs in zip(plans, own, strict=True)]


def with_multipliers(terms: Sequence[RewardTerm], multipliers: Mapping[str, float]) -> tuple[RewardTerm, ...]:
    """Specialised terms with solved multipliers (nats); a budget that is not named gets 0."""
    return tuple(
        replace(term, multiplier=multipliers.get(term.id, 0.0)) if term.kind == "budget" else term for term in terms
    )


def decode(
    decoder: Decoder,
    model: LanguageModel,
    tasks: Sequence[DecodeTask],
    max_tokens: int,
    seed: int,
    *,
    prompts_at_once: int,
    progress: Progress | None = None,
) -> list[DecodeResult]:
    """Decodes all tasks, a few prompts at a time. Each batch of prompts has random numbers of its own."""
    results: dict[int, DecodeResult] = {}
    for part, own_seed in decoding_parts([id(task.law) for task in tasks], seed, prompts_at_once):
        found = decoder.decode(model, [tasks[index] for index in part], max_tokens=max_tokens, seed=own_seed)
        results.update(zip(part, found, strict=True))
        if progress is not None:
            progress(len(results), len(tasks))
    return [results[index] for index in range(len(tasks))]


def decoding_parts(laws: Sequence[Hashable], seed: int, prompts_at_once: int) -> list[tuple[list[int], int]]:
    """(the prompts that are decoded together, their seed): prompts of one law follow each other.

    `laws` [X] tells which prompts have one law. They come in the order of their first prompt, so that a seed repeats a
    run.
    """
    first_use: dict[Hashable, int] = {}
    for index, law in enumerate(laws):
        first_use.setdefault(law, index)
    order = sorted(range(len(laws)), key=lambda index: first_use[laws[index]])
    return [
        (order[first : first + prompts_at_once], int(np.random.SeedSequence((seed, first)).generate_state(1)[0]))
        for first in range(0, len(order), prompts_at_once)
    ]


@dataclass(frozen=True, eq=False)
class ScoredSamples:
    """Finished responses to one prompt under every term of a program.

    `values` [N, T]: what the law weighs (-1, 0 or the quantity; 0 where a term does not apply). `factors` [N, T]: log
    factors in nats, with the multipliers of `terms`; -inf where a hard rule is broken. `violated` [N, T]. `counts`
    [N, T]: whether the term is about the response.
    """

    values: FloatMatrix
    factors: FloatMatrix
    violated: NDArray[np.bool_]
    counts: NDArray[np.bool_]


def score_samples(program: RewardProgram, plan: PromptPlan, texts: Sequence[str]) -> ScoredSamples:
    """Scores responses with the reference evaluator. `program` carries the multipliers; a budget without one weighs 0.

    Raises EnforcementError as `score_traces`.
    """
    return score_traces(program, [plan.trace.answered(text) for text in texts], plan)


def score_traces(program: RewardProgram, traces: Sequence[Trace], plan: PromptPlan | None = None) -> ScoredSamples:
    """Scores conversations that end with a response, all with the terms of `plan` (None: with those of `program`).

    A hard rule that cannot be decided counts as broken, a soft or graded term as absent. Raises EnforcementError for a
    budget that cannot be decided: counting it as 0 would let the law meet it with answers that cannot be scored.
    """
    column = {term.id: position for position, term in enumerate(program.terms)}
    multipliers = {term.id: term.multiplier or 0.0 for term in program.terms if term.kind == "budget"}
    alive = with_multipliers(program.terms, multipliers) if plan is None else plan.weighed(multipliers)
    shape = (len(traces), len(program.terms))
    values, factors, violated = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=np.bool_)
    counts = np.zeros(shape, dtype=np.bool_)
    for row, trace in enumerate(traces):
        for term in alive:
            score = evaluate_term(term, trace)
            at = row, column[term.id]
            if score.contribution is None or score.value is None:
                if term.kind == "budget":
                    message = f"prompt {trace.id}: `{term.id}` cannot be scored for an answer: {score.reason}"
                    raise EnforcementError(message, term.id)
                if term.kind == "hard":
                    values[at], factors[at], violated[at], counts[at] = -1.0, NEGATIVE_INFINITY, True, True
                continue
            values[at], factors[at] = score.value, score.contribution
            violated[at] = score.verdict is Verdict.VIOLATED
            counts[at] = score.verdict is not Verdict.NOT_APPLICABLE
    return ScoredSamples(values, factors, violated, counts)
