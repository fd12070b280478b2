"""Builds decode reports: a response is fed through the code that samples, with every choice told.

It costs one pass of the model for each token of the responses, and a twist for each rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bylaw.compiler.factors import reward_of
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.decode_report.attribution import MOST_RULES, Attribution, attribute
from bylaw.runtime.decode_report.forcing import Forced, Traced
from bylaw.runtime.decode_report.record import (
    ACTED,
    WRITTEN,
    DecodeReport,
    DecodeReportError,
    Ending,
    Measured,
    Outcome,
    RuleRow,
    Turn,
)
from bylaw.runtime.decoders.interface import DecodeResult, DecodeTask, Estimate, RegulatedSample
from bylaw.runtime.enforcement import PromptPlan
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.metering import Meter
from bylaw.runtime.twist import CountedSample
from bylaw.runtime.twist.policies import twist_compiler

NOTES = (
    "All logarithms and divergences are in nats. Over positions, log_q - log_p0 adds up to that of the response. The "
    "divergence at positions (kl) adds up to no property of this response; its mean over responses of the law is the "
    "divergence of the whole law from the base model.",
    "kl_law and lawful are those of the twisted law, which estimates the law of the rules from base samples: what is "
    "paid here depends on how good the estimate is, the weight of the response makes up for it.",
    "Each rule is measured alone: the base model with this rule only against the base model. What rules do together is "
    "not the sum: interaction is what is left of log(law / base model) of the token that was said. A part of it comes "
    "from look-ahead, which for several rules in one automaton tells more beginnings apart than for one.",
    f"A rule acted where it alone moves the next-token law by {ACTED} nats or forbids what the model most wanted to "
    f"say. Effects below {WRITTEN} nats are left out at positions and are part of the sums of rules.",
    "Rules without an automaton do nothing at positions: they weigh the finished response, and `reward` says how much.",
)


def build_report(
    program: RewardProgram,
    plan: PromptPlan,
    model: LanguageModel,
    task: DecodeTask,
    result: DecodeResult,
    base_samples: Sequence[CountedSample],
    *,
    decoder: str,
    seed: int,
    max_tokens: int,
    response: int = 0,
    multipliers: Mapping[str, float] | None = None,
    options: Mapping[str, object] | None = None,
    most_rules: int = MOST_RULES,
) -> DecodeReport:
    """The report of one of `result.responses`; see `build_reports`. Raises DecodeReportError where there is none."""
    if not 0 <= response < len(result.responses):
        raise DecodeReportError(
            f"there is no response number {response + 1}: the decoder found {len(result.responses)}"
        )
    found = build_reports(
        program,
        plan,
        model,
        task,
        result,
        base_samples,
        decoder=decoder,
        seed=seed,
        max_tokens=max_tokens,
        multipliers=multipliers,
        options=options,
        most_rules=most_rules,
        only=[response],
    )
    return found[0]


def build_reports(
    program: RewardProgram,
    plan: PromptPlan,
    model: LanguageModel,
    task: DecodeTask,
    result: DecodeResult,
    base_samples: Sequence[CountedSample],
    *,
    decoder: str,
    seed: int,
    max_tokens: int,
    multipliers: Mapping[str, float] | None = None,
    options: Mapping[str, object] | None = None,
    most_rules: int = MOST_RULES,
    only: Sequence[int] | None = None,
) -> tuple[DecodeReport, ...]:
    """One report for each of `result.responses` (or for those numbered in `only`), in order.

    `base_samples` are those that the twists of `task` were counted on; `multipliers` (nats) are those of the limits,
    as for `decode_tasks`. `decoder` is its name: `mask` proposes from the masked law, all others from the twisted one.
    A decoder that draws from yet another law is told of in the remarks. Raises DecodeReportError for a response that
    the proposal cannot make; TwistError, ModelError.
    """
    chosen = [result.responses[i] for i in (range(len(result.responses)) if only is None else only)]
    if not chosen:
        return ()
    terms = plan.weighed(multipliers or {})
    attribution = attribute(terms, twist_compiler(model, max_tokens), base_samples, most_rules)
    law: Literal["twist", "mask"] = "mask" if decoder == "mask" else "twist"
    meter = Meter()
    distinct = list(dict.fromkeys(sample.tokens for sample in chosen))
    forced = Forced(meter.watch(model), task, attribution, law, max_tokens)
    traces = dict(zip(distinct, forced.all(distinct), strict=True))
    shared = _Shared(program, plan, model, decoder, law, seed, max_tokens, dict(options or {}), meter.passes)
    return tuple(_report(shared, result, sample, traces[sample.tokens], terms, attribution) for sample in chosen)


@dataclass(frozen=True)
class _Shared:
    """What the reports of one call have in common."""

    program: RewardProgram
    plan: PromptPlan
    model: LanguageModel
    decoder: str
    law: Literal["twist", "mask"]
    seed: int
    max_tokens: int
    options: dict[str, object]
    passes: int


def _report(
    shared: _Shared,
    result: DecodeResult,
    sample: RegulatedSample,
    traced: Traced,
    terms: Sequence[RewardTerm],
    attribution: Attribution,
) -> DecodeReport:
    plan, model = shared.plan, shared.model
    log_q = sum(position.log_q for position in traced.positions)
    remarks = list(result.diagnostics.remarks)
    if abs(log_q - sample.log_q) > 1e-3 * max(1.0, abs(log_q)):
        remarks.append(
            f"the decoder drew this response with log q = {sample.log_q:.3f}, and the law that is shown here gives it "
            f"{log_q:.3f}: the decoder proposes in another way than token by token from this law"
        )
    return DecodeReport(
        policy=shared.program.policy,
        policy_version=shared.program.version,
        rules=shared.program.digest,
        model=model.name,
        model_digest=model.digest,
        prompt_id=plan.trace.id,
        prompt=tuple(Turn(message.role, message.content) for message in plan.trace.messages),
        prompt_tokens=len(plan.tokens),
        response=sample.text,
        ending=_ending(traced, sample, model),
        decoder=shared.decoder,
        law=shared.law,
        seed=shared.seed,
        options=tuple((name, str(value)) for name, value in sorted(shared.options.items())),
        max_tokens=shared.max_tokens,
        temperature=float(getattr(model, "temperature", 1.0)),
        outcome=_outcome(result, sample),
        positions=tuple(traced.positions),
        rows=_rows(shared.program, terms, sample.text, traced, attribution),
        report_passes=shared.passes,
        remarks=tuple(remarks),
        notes=NOTES,
    )


def _ending(traced: Traced, sample: RegulatedSample, model: LanguageModel) -> Ending:
    if traced.positions[-1].is_end:
        return "end of text"
    return "stop string" if model.vocabulary.stopped(sample.tokens) else "cap"


def _outcome(result: DecodeResult, sample: RegulatedSample) -> Outcome:
    told = result.diagnostics
    return Outcome(
        log_z=result.log_z_estimate,
        ess=result.ess,
        particles=result.particles,
        dead_ends=result.dead_ends,
        forbidden=result.forbidden,
        biased=result.biased,
        log_p0=sample.log_p0,
        log_q=sample.log_q,
        log_reward=sample.log_reward,
        log_correction=sample.log_correction,
        log_weight=sample.log_weight,
        log_ratio=sample.log_reward - result.log_z_estimate,
        acceptance=_measured(told.acceptance),
        beta=told.beta,
        total_variation=_measured(told.total_variation),
        divergence=_measured(told.divergence),
        passes=told.passes,
        unfinished=told.unfinished,
        scorer_calls=told.scorer_calls,
        stopped=told.stopped,
    )


def _measured(found: Estimate | None) -> Measured | None:
    return None if found is None else Measured(float(found.value), float(found.low), float(found.high))


def _rows(
    program: RewardProgram, terms: Sequence[RewardTerm], text: str, traced: Traced, attribution: Attribution
) -> tuple[RuleRow, ...]:
    """Every term of the program, those first that moved the distribution most; one row more for the rest together."""
    alive = {term.id: term for term in terms}
    rows = [_row(alive.get(term.id, term), term.id in alive, text, traced, attribution) for term in program.terms]
    if attribution.rest_name is not None:
        rest = [term for term in terms if term.id in attribution.rest]
        name = attribution.rest_name
        sums = (traced.kl[name], traced.on_response[name], traced.forbade[name], _acted(traced, name))
        rows.append(RuleRow(name, name, None, "rest", None, "the rest", *sums, reward_of(rest, text)))
    rows.sort(key=lambda row: -np.inf if row.kl is None else row.kl, reverse=True)
    return tuple(rows)


def _row(term: RewardTerm, is_alive: bool, text: str, traced: Traced, attribution: Attribution) -> RuleRow:
    weight = term.multiplier if term.kind == "budget" else term.weight
    named = term.id, term.rule, term.title, term.kind, weight
    if not is_alive:
        return RuleRow(*named, "not in force", 0.0, 0.0, 0, 0, 0.0)
    reward = reward_of([term], text)
    if term.id in attribution.alone:
        sums = (traced.kl[term.id], traced.on_response[term.id], traced.forbade[term.id], _acted(traced, term.id))
        return RuleRow(*named, "automaton", *sums, reward)
    if term.id in attribution.rest:
        return RuleRow(*named, "among the rest", None, None, None, None, reward)
    return RuleRow(*named, "finished text", 0.0, 0.0, 0, 0, reward)


def _acted(traced: Traced, term: str) -> int:
    return sum(term in position.acted for position in traced.positions)
