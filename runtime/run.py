"""The main job: base samples -> calibration -> regulated samples -> audit of both -> price, as one record.

Can be interrupted at any time: what had been reached by then is returned as an incomplete record.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

import bylaw
from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.pipeline import Compiled
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.audit import audit
from bylaw.runtime.audit.statistics import exact_lower, exact_upper, wilson
from bylaw.runtime.calibration.check import check_on_fresh_samples
from bylaw.runtime.calibration.fit import FitSettings
from bylaw.runtime.calibration.job import JobSettings, calibrate_in_memory
from bylaw.runtime.calibration.problem import Multipliers, budget_problem
from bylaw.runtime.decoders.interface import Decoder, DecodeResult, DecodeTask
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.enforcement import (
    BATCH,
    EnforcementError,
    PromptPlan,
    Stages,
    decode,
    decode_tasks,
    hard_mass,
    plan_prompts,
    require_feasible,
    with_own,
)
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.sampling import BaseSample, sample_base
from bylaw.runtime.prices.policy import price_policy
from bylaw.runtime.record import (
    AuditRecord,
    Calibration,
    Check,
    DecoderSummary,
    Interval,
    Price,
    RunRecord,
    SamplePair,
    TermAudit,
)
from bylaw.runtime.twist.compiler import TwistCompiler
from bylaw.runtime.twist.policies import twist_compiler
from bylaw.spec.errors import Severity
from bylaw.spec.trace import Trace

DecoderName = Literal["sir", "mask"]
Solved = tuple[Multipliers, Calibration | None]
"""Multipliers, and how they were found; None for a policy without budgets."""
PAIRS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class RunSettings:
    """`samples` and `particles` are per prompt, `responses` are handed out of the particles; lengths in tokens.

    `decoder` writes the answers that are handed out; calibration always uses `sir`, with `calibration_particles` in its
    first round, and pools these with the samples of the base model. `temperature` is that of the model and
    `prompts_digest` that of the file of prompts: both are recorded, since they fix the law.
    """

    samples: int = 16
    particles: int = 32
    responses: int = 16
    max_tokens: int = 160
    seed: int = 0
    decoder: DecoderName = "sir"
    calibration_particles: int = 32
    temperature: float = 1.0
    prompts_digest: str = ""

    @property
    def job(self) -> JobSettings:
        """The calibration that is part of the run."""
        fit = FitSettings(self.samples, self.calibration_particles)
        return JobSettings(self.temperature, self.max_tokens, self.seed, fit)


@dataclass(frozen=True, slots=True)
class _Calibrating:
    """Stages of a calibration that is part of a run."""

    stages: Stages

    def stage(self, name: str, total: int) -> None:
        self.stages.stage(f"calibrating: {name}", total)

    def progress(self, done: int, total: int) -> None:
        self.stages.progress(done, total)


@dataclass
class _Progress:
    """What has been reached so far."""

    base: AuditRecord | None = None
    calibration: Calibration | None = None
    check: Check | None = None
    regulated: AuditRecord | None = None
    price: Price | None = None
    decoder: DecoderSummary | None = None
    pairs: tuple[SamplePair, ...] = ()
    complete: bool = False


def run_policy(
    compiled: Compiled,
    prompts: Sequence[Trace],
    prompts_name: str,
    model: LanguageModel,
    settings: RunSettings,
    stages: Stages,
    solved: Solved | None = None,
) -> RunRecord:
    """Runs the whole job. Raises PolicyError, EnforcementError, CalibrationError, Infeasible, ModelError.

    With `solved` multipliers of an earlier calibration the run has none of its own: whoever loads them sees to it that
    they belong to these rules, this model and these prompts (`calibration.record.require_current`).
    An interrupt from the keyboard ends it early: the record then has `complete` False and holds what was reached.
    """
    program = compiled.require()
    started = time.monotonic()
    reached = _Progress()
    warnings = [found.message for found in compiled.diagnostics if found.severity is Severity.WARNING]
    # A prompt that cannot be enforced is reported before any sample is drawn.
    plans = plan_prompts(program, prompts, model, settings.max_tokens)
    compiler = twist_compiler(model, settings.max_tokens)
    warnings += require_feasible(plans, model, settings.max_tokens, compiler=compiler)
    _, idle = budget_problem(program, plans)
    warnings += [f"budget `{name}` applies to none of the prompts" for name in idle]
    with _partial_on_interrupt():
        _reach(program, compiled, plans, model, settings, stages, reached, solved, compiler, warnings)
    return RunRecord(
        policy=program.policy,
        policy_version=program.version,
        policy_digest=program.digest,
        policy_path=compiled.source.path,
        policy_text=compiled.source.slice(compiled.source.whole),
        model=model.name,
        model_digest=model.digest,
        prompts=prompts_name,
        prompt_count=len(prompts),
        seed=settings.seed,
        samples_per_prompt=settings.samples,
        max_tokens=settings.max_tokens,
        seconds=time.monotonic() - started,
        bylaw_version=bylaw.__version__,
        warnings=tuple(warnings),
        base=reached.base,
        calibration=reached.calibration,
        regulated=reached.regulated,
        price=reached.price,
        decoder=reached.decoder,
        pairs=reached.pairs,
        complete=reached.complete,
        temperature=settings.temperature,
        particles=settings.particles,
        responses_per_prompt=settings.responses,
        calibration_particles=settings.calibration_particles,
        prompts_digest=settings.prompts_digest,
        check=reached.check,
    )


@contextmanager
def _partial_on_interrupt() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        return


def _reach(
    program: RewardProgram,
    compiled: Compiled,
    plans: Sequence[PromptPlan],
    model: LanguageModel,
    settings: RunSettings,
    stages: Stages,
    reached: _Progress,
    solved: Solved | None,
    compiler: TwistCompiler,
    warnings: list[str],
) -> None:
    """Fills `reached` stage by stage, and adds to `warnings`."""
    base = _sample_base(plans, model, settings, stages)
    masses = hard_mass(plans, base, model, settings.max_tokens, compiler=compiler)
    warnings += [mass.message() for mass in masses if mass.is_rare]
    answers = [[sample.text for sample in samples] for samples in base]
    reached.base = _audit(program, compiled, plans, answers, "base model")
    _stop_if_interrupted(reached.base)

    if solved is None:
        solved = calibrate_in_memory(program, plans, base, model, settings.job, _Calibrating(stages), compiler)
    multipliers, calibration = solved
    reached.calibration = calibration
    calibrated = program.with_multipliers(multipliers.common)
    plans = with_own(plans, multipliers.own)

    stages.stage("sampling under the policy", len(plans))
    tasks = decode_tasks(plans, base, model, multipliers.common, settings.max_tokens, compiler=compiler)
    results = _decode(tasks, model, settings, stages)
    reached.decoder = _decoder_summary(results, settings)
    _require_answers(plans, results)
    if calibration is not None:
        reached.check = check_on_fresh_samples(calibrated, plans, results, calibration)
    regulated = [[answer.text for answer in result.responses[: settings.responses]] for result in results]
    record = _audit(calibrated, compiled, plans, regulated, "under the policy")
    if not reached.decoder.biased:
        record = _judged_by_the_law(_allowing_for_resampling(record, plans, results), reached.check)
    reached.regulated = record
    _stop_if_interrupted(record)
    reached.pairs = _pairs(calibrated, plans, answers, regulated)

    stages.stage("pricing the rules", len(plans))
    reached.price = price_policy(
        calibrated,
        plans,
        base,
        results,
        tasks,
        model,
        max_tokens=settings.max_tokens,
        masked=settings.decoder == "mask",
        progress=stages.progress,
    )
    reached.complete = True


def _sample_base(
    plans: Sequence[PromptPlan], model: LanguageModel, settings: RunSettings, stages: Stages
) -> list[list[BaseSample]]:
    stages.stage("sampling the base model", len(plans) * settings.samples)
    return sample_base(
        model,
        [plan.tokens for plan in plans],
        settings.samples,
        settings.max_tokens,
        seed=settings.seed,
        batch_size=BATCH,
        progress=stages.progress,
    )


def _stop_if_interrupted(record: AuditRecord) -> None:
    """An audit that is interrupted returns what it has; the run must end there as well."""
    if not record.complete:
        raise KeyboardInterrupt


def _require_answers(plans: Sequence[PromptPlan], results: Sequence[DecodeResult]) -> None:
    """A prompt without a legal answer is an error: leaving it out would make the policy look met."""
    for plan, result in zip(plans, results, strict=True):
        if not result.samples:
            hard = [term.id for term in plan.terms if term.kind == "hard"]
            names = ", ".join(f"`{name}`" for name in hard)
            raise EnforcementError(
                f"prompt {plan.trace.id}: none of {result.particles} proposals obeys {names or 'the rules'}; "
                "ask for more particles, or make the rules easier to meet",
                hard[0] if hard else None,
            )


def _decode(
    tasks: Sequence[DecodeTask], model: LanguageModel, settings: RunSettings, stages: Stages
) -> list[DecodeResult]:
    decoder: Decoder = Sir(particles=settings.particles, responses=settings.responses, batch_size=BATCH)
    if settings.decoder == "mask":
        decoder = Mask(particles=settings.particles, batch_size=BATCH)
    # calibration has (seed, 2, round): these answers are independent of the draws that the multipliers came from
    seed = int(np.random.SeedSequence((settings.seed, 1, 0)).generate_state(1)[0])
    at_once = max(1, BATCH // settings.particles)
    return decode(decoder, model, tasks, settings.max_tokens, seed, prompts_at_once=at_once, progress=stages.progress)


def _audit(
    program: RewardProgram, compiled: Compiled, plans: Sequence[PromptPlan], answers: Sequence[Sequence[str]], name: str
) -> AuditRecord:
    """Intervals are about these prompts, as everywhere in a run: answers to one prompt are independent draws from one
    law, and taking all answers together can only make the interval wider than it needs to be."""
    traces = [plan.trace.answered(text) for plan, texts in zip(plans, answers, strict=True) for text in texts]
    return audit(program, traces, source=name, policy=compiled.source)


def _decoder_summary(results: Sequence[DecodeResult], settings: RunSettings) -> DecoderSummary:
    sizes = [result.ess for result in results]
    return DecoderSummary(
        name=settings.decoder,
        biased=any(result.biased for result in results),
        particles=settings.particles,
        mean_ess=float(np.mean(sizes)),
        smallest_ess=float(np.min(sizes)),
        mean_log_z=float(np.mean([result.log_z_estimate for result in results])),
        dead=sum(result.dead for result in results),
        model_tokens=sum(len(sample.tokens) for result in results for sample in result.samples),
    )


def _allowing_for_resampling(
    record: AuditRecord, plans: Sequence[PromptPlan], results: Sequence[DecodeResult]
) -> AuditRecord:
    """Answers resampled from weighted particles are worth fewer independent ones: drawing n of them from particles of
    effective number e has the variance of 1/e + 1/n, so X prompts are worth X^2 / sum(1/e + 1/n)."""

    def worth(indices: Sequence[int]) -> float:
        noise = sum(1 / results[index].ess + 1 / len(results[index].responses) for index in indices)
        return len(indices) ** 2 / noise

    def widened(term: TermAudit) -> TermAudit:
        alive = [index for index, plan in enumerate(plans) if any(own.id == term.term for own in plan.terms)]
        if not alive or not term.applicable:
            return term
        total = min(worth(alive), term.applicable)
        if term.rate is not None:
            return _with_confidence(replace(term, interval=wilson(term.rate * total, total)), term.rate, total)
        if term.mean is None or term.mean_interval is None:
            return term
        half = (term.mean_interval.high - term.mean) * (term.applicable / total) ** 0.5
        return replace(term, mean_interval=Interval(term.mean - half, term.mean + half))

    independent = min(worth(range(len(results))), record.transcripts)
    return replace(record, terms=tuple(map(widened, record.terms)), independent=independent)


def _with_confidence(term: TermAudit, rate: float, total: float) -> TermAudit:
    """The one-sided bound of a share, and the verdict of a limit that asks for a confidence, on `total` answers."""
    if term.bound is None or term.confidence_bound is None or term.sense == "exactly":
        return term
    confidence = 0.95 if term.confidence is None else term.confidence
    edge = (exact_lower if term.sense == "at least" else exact_upper)(rate * total, total, confidence)
    if term.confidence is None or term.within is None:
        return replace(term, confidence_bound=edge)
    within = edge >= term.bound if term.sense == "at least" else edge <= term.bound
    return replace(term, confidence_bound=edge, within=within)


def _judged_by_the_law(record: AuditRecord, check: Check | None) -> AuditRecord:
    """Budgets are bounds on the law, and a binding one lies exactly on its bound: the answers handed out are above it
    every second time. So a budget is met when the law meets it within the error of the weighted samples; one that asks
    for a confidence is judged on the answers, as in any audit. Few answers to a prompt leave a limit for each prompt
    open, so there the law decides alone."""
    status = {} if check is None else {budget.term: budget.status for budget in check.budgets}
    verdicts = {"met": True, "met within its error": True, "missed": False, "undetermined": None}
    terms = tuple(
        replace(term, within=verdicts[status[term.term]])
        if term.term in status and term.confidence is None and (term.each_prompt or term.within is not None)
        else term
        for term in record.terms
    )
    return replace(record, terms=terms)


def _pairs(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[str]],
    regulated: Sequence[Sequence[str]],
) -> tuple[SamplePair, ...]:
    """For each prompt one answer of each kind; first the prompts where the base model broke most."""
    pairs = []
    for plan, before, after in zip(plans, base, regulated, strict=True):
        if not before or not after:
            continue
        broken = [_broken(program, plan, text) for text in before]
        worst = max(range(len(before)), key=lambda index: len(broken[index][0]))
        names, spans = _broken(program, plan, after[0])
        pairs.append(
            SamplePair(
                source=plan.trace.id,
                prompt=plan.trace.text("prompt") or "",
                base=before[worst],
                base_violated=broken[worst][0],
                base_spans=broken[worst][1],
                regulated=after[0],
                regulated_violated=names,
                regulated_spans=spans,
            )
        )
    return tuple(sorted(pairs, key=lambda pair: -len(pair.base_violated))[:PAIRS_SHOWN])


def _broken(program: RewardProgram, plan: PromptPlan, text: str) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    trace = plan.trace.answered(text)
    scores = [evaluate_term(term, trace) for term in program.terms]
    broken = [score for score in scores if score.verdict is Verdict.VIOLATED]
    spans = sorted({(extent.start, extent.end) for score in broken for extent in score.evidence})
    return tuple(score.term for score in broken), tuple(spans)
