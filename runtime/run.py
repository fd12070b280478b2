"""The main job: base samples -> calibration -> regulated samples -> audit of both -> price, as one record.

Can be interrupted at any time: what had been reached by then is returned as an incomplete record.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

import numpy as np

import bylaw
from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.law.prices import PricedPrompt, balance_log_ratio, shapley
from bylaw.compiler.pipeline import Compiled
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.audit import audit
from bylaw.runtime.audit.statistics import wilson
from bylaw.runtime.calibration import budget_problem, calibrate, regulated_population
from bylaw.runtime.decoders._proposal import proposal_log_prob
from bylaw.runtime.decoders.interface import Decoder, DecodeResult, DecodeTask
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.enforcement import PromptPlan, decode, decode_tasks, plan_prompts, score_samples
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.sampling import BaseSample, sample_base
from bylaw.runtime.record import (
    AuditRecord,
    BudgetResult,
    Calibration,
    DecoderSummary,
    Interval,
    Price,
    RunRecord,
    SamplePair,
    TermAudit,
    TermPrice,
)
from bylaw.spec.trace import Trace

DecoderName = Literal["sir", "mask"]
NORMAL_95 = 1.959963984540054
PAIRS_SHOWN = 12
BATCH = 128


@dataclass(frozen=True, slots=True)
class RunSettings:
    """`samples` and `particles` are per prompt, `responses` are handed out of the particles; lengths in tokens.

    `decoder` writes the answers that are handed out; calibration always uses `sir`, with `calibration_particles` in its
    first round and twice as many in each round after it.
    """

    samples: int = 16
    particles: int = 32
    responses: int = 16
    max_tokens: int = 160
    seed: int = 0
    decoder: DecoderName = "sir"
    calibration_particles: int = 16


class Stages(Protocol):
    """Is told how the run gets on."""

    def stage(self, name: str, total: int) -> None: ...
    def progress(self, done: int, total: int) -> None: ...


@dataclass
class _Progress:
    """What has been reached so far."""

    base_samples: list[list[BaseSample]] = field(default_factory=list)
    base: AuditRecord | None = None
    calibration: Calibration | None = None
    regulated: AuditRecord | None = None
    results: list[DecodeResult] = field(default_factory=list)
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
) -> RunRecord:
    """Runs the whole job. Raises PolicyError, EnforcementError, CalibrationError, Infeasible, ModelError.

    An interrupt from the keyboard ends it early: the record then has `complete` False and holds what was reached.
    """
    program = compiled.require()
    started = time.monotonic()
    reached = _Progress()
    warnings = [diagnostic.message for diagnostic in compiled.diagnostics]
    # A prompt that cannot be enforced is reported before any sample is drawn.
    plans = plan_prompts(program, prompts, model)
    _, idle = budget_problem(program, plans)
    warnings += [f"budget `{name}` applies to none of the prompts" for name in idle]
    with _partial_on_interrupt():
        _reach(program, compiled, plans, model, settings, stages, reached)
    return RunRecord(
        policy=program.policy,
        policy_version=program.version,
        policy_digest=program.digest,
        policy_path=compiled.source.path,
        policy_text=compiled.source.text,
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
) -> None:
    """Fills `reached` stage by stage."""
    prompts = [plan.tokens for plan in plans]
    stages.stage("sampling the base model", len(plans) * settings.samples)
    base = sample_base(
        model,
        prompts,
        settings.samples,
        settings.max_tokens,
        seed=settings.seed,
        batch_size=BATCH,
        progress=stages.progress,
    )
    reached.base_samples = base
    answers = [[sample.text for sample in samples] for samples in base]
    reached.base = _audit(program, compiled, plans, answers, "base model")

    def redraw(multipliers: dict[str, float], number: int) -> list[DecodeResult]:
        stages.stage(f"calibrating, round {number}", len(plans))
        more = replace(settings, calibration_particles=settings.calibration_particles * 2 ** (number - 1))
        return _decode(plans, base, model, multipliers, more, stages, number, responses=0)[1]

    multipliers, calibration = calibrate(program, plans, base, redraw)  # type: ignore[arg-type]
    reached.calibration = calibration
    calibrated = program.with_multipliers(multipliers)

    stages.stage("sampling under the policy", len(plans))
    tasks, results = _decode(plans, base, model, multipliers, settings, stages, 0, responses=settings.responses)
    reached.results = results
    reached.decoder = _decoder_summary(results, settings)
    if calibration is not None:
        reached.calibration = _checked_on_fresh_samples(calibrated, plans, results, calibration)
    regulated = [[answer.text for answer in result.responses[: settings.responses]] for result in results]
    record = _audit(calibrated, compiled, plans, regulated, "under the policy")
    if not reached.decoder.biased:
        record = _judged_by_the_law(_allowing_for_resampling(record, results), reached.calibration)
    reached.regulated = record
    reached.pairs = _pairs(calibrated, plans, answers, regulated)

    stages.stage("pricing the rules", len(plans))
    reached.price = _price(calibrated, plans, base, results, tasks, model, settings, stages)
    reached.complete = reached.base.complete and reached.regulated.complete


def _decode(
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[BaseSample]],
    model: LanguageModel,
    multipliers: dict[str, float],
    settings: RunSettings,
    stages: Stages,
    stream: int,
    *,
    responses: int,
) -> tuple[list[DecodeTask], list[DecodeResult]]:
    tasks = decode_tasks(plans, base, model, multipliers, settings.max_tokens)
    particles = settings.particles if responses else settings.calibration_particles
    decoder: Decoder = Sir(particles=particles, responses=responses, batch_size=BATCH)
    if responses and settings.decoder == "mask":
        decoder = Mask(particles=settings.particles, batch_size=BATCH)
    seed = int(np.random.SeedSequence((settings.seed, 1, stream)).generate_state(1)[0])
    at_once = max(1, BATCH // particles)
    found = decode(decoder, model, tasks, settings.max_tokens, seed, prompts_at_once=at_once, progress=stages.progress)
    return tasks, found


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


def _checked_on_fresh_samples(
    program: RewardProgram, plans: Sequence[PromptPlan], results: Sequence[DecodeResult], calibration: Calibration
) -> Calibration:
    """The rates under the law from the final samples, which played no part in finding the multipliers."""
    problem, _ = budget_problem(program, plans)
    moments = regulated_population(program, plans, results, problem).moments(
        [b.multiplier for b in calibration.budgets]
    )
    budgets = []
    for index, (budget, share) in enumerate(zip(calibration.budgets, problem.share, strict=True)):
        rate = float(moments.mean[index]) / share
        half = NORMAL_95 * float(np.sqrt(moments.mean_variance[index, index])) / share
        budgets.append(
            BudgetResult(
                term=budget.term,
                sense=budget.sense,
                bound=budget.bound,
                multiplier=budget.multiplier,
                multiplier_interval=budget.multiplier_interval,
                base_rate=budget.base_rate,
                rate=rate,
                rate_interval=Interval(rate - half, rate + half),
                status=_status(budget, rate, half),
            )
        )
    return Calibration(
        tuple(budgets),
        calibration.rounds,
        calibration.samples,
        moments.ess,
        float(moments.prompt_ess.min()),
        calibration.converged,
    )


def _allowing_for_resampling(record: AuditRecord, results: Sequence[DecodeResult]) -> AuditRecord:
    """Answers resampled from weighted particles are worth no more than the particles' effective number."""
    handed_out = sum(len(result.responses) for result in results)
    share = sum(min(len(result.responses), result.ess) for result in results) / max(handed_out, 1)

    def widened(term: TermAudit) -> TermAudit:
        if term.rate is None or term.interval is None:
            return term
        total = term.applicable * share
        return replace(term, interval=wilson(min(term.rate * total, total), total))

    return replace(record, terms=tuple(map(widened, record.terms)), independent=record.transcripts * share)


def _judged_by_the_law(record: AuditRecord, calibration: Calibration | None) -> AuditRecord:
    """Budgets are bounds on the law, and a binding one lies exactly on its bound: the answers handed out are above it
    every second time. So a budget is met when the law meets it within the error of the weighted samples; one that asks
    for a confidence is judged on the answers, as in any audit."""
    status = {} if calibration is None else {budget.term: budget.status for budget in calibration.budgets}
    terms = tuple(
        replace(term, within=status[term.term] != "missed")
        if term.term in status and term.confidence is None and term.within is not None
        else term
        for term in record.terms
    )
    return replace(record, terms=terms)


def _status(budget: BudgetResult, rate: float, half: float) -> str:
    """`met`, `met within its error`, or `missed`, judged on samples that the multiplier did not come from."""
    excess = {"at most": rate - budget.bound, "at least": budget.bound - rate}.get(
        budget.sense, abs(rate - budget.bound)
    )
    if excess <= 0:
        return "met"
    return "met within its error" if excess <= half else "missed"


def _price(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[BaseSample]],
    results: Sequence[DecodeResult],
    tasks: Sequence[DecodeTask],
    model: LanguageModel,
    settings: RunSettings,
    stages: Stages,
) -> Price | None:
    """Shapley shares of KL(p*||p0) on base and regulated samples together (balance heuristic)."""
    by_law: dict[int, list[int]] = {}
    for index, task in enumerate(tasks):
        by_law.setdefault(id(task.law), []).append(index)
    priced: dict[int, PricedPrompt] = {}
    for members in by_law.values():
        prompts = [tasks[index].prompt for index in members for _ in base[index]]
        tokens = [sample.tokens for index in members for sample in base[index]]
        first = tasks[members[0]]
        log_q = proposal_log_prob(
            model,
            prompts,
            tokens,
            first.law,
            first.twists,
            settings.max_tokens,
            batch_size=BATCH,
            masked=settings.decoder == "mask",
        )
        split = np.split(log_q, np.cumsum([len(base[index]) for index in members])[:-1])
        for index, own in zip(members, split, strict=True):
            priced[index] = _priced_prompt(program, plans[index], base[index], own, results[index])
            stages.progress(len(priced), len(tasks))
    if not program.terms:
        return None
    found = shapley([priced[index] for index in range(len(tasks))], seed=settings.seed)
    low, high = found.total.interval
    terms = tuple(
        TermPrice(term.id, float(share), float(np.hypot(error, order)))
        for term, share, error, order in zip(
            program.terms, found.shares, found.standard_error, found.permutation_error, strict=True
        )
    )
    method = "Shapley value over all sets of rules" if found.exact else "Shapley value over random orders of the rules"
    return Price(found.total.value, Interval(max(low, 0.0), high), terms, method)


def _priced_prompt(
    program: RewardProgram, plan: PromptPlan, base: Sequence[BaseSample], base_log_q: np.ndarray, result: DecodeResult
) -> PricedPrompt:
    log_p0 = np.array([s.log_p0 for s in base] + [s.log_p0 for s in result.samples])
    log_q = np.concatenate([base_log_q, [s.log_q for s in result.samples]])
    ratio = balance_log_ratio(log_p0, log_q, len(base), result.particles)
    # The law is over texts: a base sample that is not valid UTF-8 has none, and p0 is taken given that there is one.
    ratio[: len(base)][["\ufffd" in sample.text for sample in base]] = -np.inf
    texts = [sample.text for sample in base] + [sample.text for sample in result.samples]
    return PricedPrompt(ratio, score_samples(program, plan, texts).factors)


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
