"""Answers as they are handed out: decoded part by part, checked by the reference evaluator, kept line by line."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.runtime.decoders.interface import Decoder, DecodeResult, Estimate, Watch
from bylaw.runtime.enforcement import BATCH, PromptPlan, decoding_parts
from bylaw.runtime.generation.prepare import Prepared
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.metering import Limits


class BrokenRule(Exception):
    """A decoder handed out a response that breaks a hard rule by the reference evaluator: a defect of this program."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What was decoded for one prompt, by its position among the prompts.

    `seconds`, and the passes of the diagnostics, are those of all the `together` prompts of one call of the decoder.
    `cut` tells of each response whether it was still going on at the most tokens that it may have.
    """

    index: int
    plan: PromptPlan
    result: DecodeResult
    seed: int
    seconds: float
    together: int = 1
    cut: tuple[bool, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """What is handed out: the responses, or what was rescued in time, where that is more than nothing."""
        rescued = (self.result.rescued,) if self.result.rescued else ()
        return tuple(sample.text for sample in self.result.responses) or rescued


def answers(
    prepared: Prepared,
    decoder: Decoder,
    model: LanguageModel,
    *,
    max_tokens: int,
    seed: int,
    particles: int,
    responses: int | None = None,
    limits: Limits | None = None,
    watch: Watch | None = None,
    done: frozenset[int] = frozenset(),
) -> Iterator[Answer]:
    """One answer per prompt, in the order in which they are decoded. Prompts in `done` are left out.

    Of more than `responses` responses to a prompt the last are handed out (of a chain: the longest walked). Prompts of
    one law are decoded together, as many as fill a batch with `particles` rows each. With `limits`, which
    are for each prompt, or `watch` it is one prompt at a time. What comes for a prompt does not depend on `done`.
    Raises DecodeError, ModelError, and BrokenRule where a response breaks a hard rule.
    """
    together = prompts_together(particles, alone=limits is not None or watch is not None)
    laws = [id(task.law) for task in prepared.tasks]
    for part, own_seed in decoding_parts(laws, seed, together):
        if done.issuperset(part):
            continue
        results, seconds = _decode(prepared, decoder, model, part, max_tokens, own_seed, limits, watch)
        for index, result in zip(part, results, strict=True):
            require_legal(prepared.plans[index], result)
            if responses is not None and len(result.responses) > responses:
                result = replace(result, responses=result.responses[-responses:])
            if index not in done:
                cut = tuple(
                    len(sample.tokens) == max_tokens and not model.vocabulary.stopped(sample.tokens)
                    for sample in result.responses
                )
                yield Answer(index, prepared.plans[index], result, own_seed, seconds, len(part), cut)


def prompts_together(particles: int, *, alone: bool) -> int:
    """Prompts of one law that are decoded in one call; their number is part of what the answers depend on."""
    return 1 if alone else max(1, BATCH // max(particles, 1))


def _decode(
    prepared: Prepared,
    decoder: Decoder,
    model: LanguageModel,
    part: Sequence[int],
    max_tokens: int,
    seed: int,
    limits: Limits | None,
    watch: Watch | None,
) -> tuple[list[DecodeResult], float]:
    began = time.monotonic()
    found = decoder.decode(
        model,
        [prepared.tasks[index] for index in part],
        max_tokens=max_tokens,
        seed=seed,
        limits=limits,
        watch=None if watch is None else lambda position, text: watch(part[position], text),
    )
    return found, time.monotonic() - began


def require_legal(plan: PromptPlan, result: DecodeResult) -> None:
    """Raises BrokenRule unless the reference evaluator finds every hard rule kept by all that is handed out."""
    rescued = [] if result.rescued is None else [result.rescued]
    require_legal_texts(plan, [*(response.text for response in result.responses), *rescued])


def require_legal_texts(plan: PromptPlan, texts: Sequence[str]) -> None:
    """The same for single texts."""
    for text in dict.fromkeys(texts):
        trace = plan.trace.answered(text)
        for term in plan.terms:
            if term.kind == "hard" and evaluate_term(term, trace).verdict not in (
                Verdict.SATISFIED,
                Verdict.NOT_APPLICABLE,
            ):
                raise BrokenRule(
                    f"a response to prompt {plan.trace.id} breaks `{term.id}` by the reference evaluator; this is a "
                    "defect of bylaw, and the response is withheld"
                )


def as_json(answer: Answer, decoder: str) -> dict[str, object]:
    """One line of an answers file; all logarithms in nats. `prompt` counts the prompts from 0."""
    result, told = answer.result, answer.result.diagnostics
    found: dict[str, object] = {
        "prompt": answer.index,
        "id": answer.plan.trace.id,
        "messages": [{"role": message.role, "content": message.content} for message in answer.plan.trace.messages],
        "responses": [
            {
                "text": sample.text,
                "tokens": list(sample.tokens),
                "log_p0": sample.log_p0,
                "log_q": sample.log_q,
                "log_reward": sample.log_reward,
                "cut": cut,
            }
            for sample, cut in zip(result.responses, answer.cut, strict=True)
        ],
        "decoder": decoder,
        "biased": result.biased,
        "seed": answer.seed,
        "particles": result.particles,
        "dead_ends": result.dead_ends,
        "refused": result.forbidden,
        "log_z": _finite(result.log_z_estimate),
        "effective_samples": result.ess,
        "passes": told.passes,
        "acceptance": _interval(told.acceptance),
        "log_beta": told.beta,
        "total_variation": _interval(told.total_variation),
        "divergence": _interval(told.divergence),
        "stopped": told.stopped,
        "remarks": list(told.remarks),
        "together": answer.together,
        "seconds": round(answer.seconds, 3),
    }
    if result.rescued is not None:
        found["rescued"] = result.rescued
    return found


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _interval(estimate: Estimate | None) -> dict[str, float] | None:
    return None if estimate is None else {key: float(value) for key, value in vars(estimate).items()}
