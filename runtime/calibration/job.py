"""The job of `bylaw calibrate`: prompts and a model in, a folder with samples, scores and a record out.

samples/            everything that was drawn, so that an interrupt costs one batch (`sample_store.py`)
scores.npz          all draws with their weights and scores, for questions that need no model (`runtime/scored.py`)
calibration.json    the multipliers and what they are for (`record.py`)

`bylaw run` calibrates in memory, by the same code: settings and seed being equal, it finds the same multipliers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.calibration.draws import Sampler
from bylaw.runtime.calibration.fit import FitSettings, fit
from bylaw.runtime.calibration.problem import Multipliers, budget_problem
from bylaw.runtime.calibration.record import (
    FILE_NAME,
    CalibrationRecord,
    CalibrationRecordError,
    load_record,
    prompts_digest,
    save_record,
)
from bylaw.runtime.calibration.report import Subject, build_record
from bylaw.runtime.calibration.sample_store import SampleStore, StoreError, StoreKey
from bylaw.runtime.enforcement import PromptPlan, Stages, plan_prompts, require_feasible
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.sampling import BaseSample
from bylaw.runtime.prices.scored import Origin
from bylaw.runtime.record import Calibration
from bylaw.runtime.twist.compiler import TwistCompiler
from bylaw.runtime.twist.policies import twist_compiler
from bylaw.spec.trace import Trace

SAMPLES, SCORES = "samples", "scores.npz"


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What fixes the law of a response (`temperature`, `max_tokens`), the seed, and how to fit."""

    temperature: float = 1.0
    max_tokens: int = 160
    seed: int = 0
    fit: FitSettings = field(default_factory=FitSettings)


@dataclass(frozen=True, slots=True)
class Written:
    """What a calibration left behind: its record, the files, the bytes of samples, the bytes of samples of earlier
    rules or settings that were removed, and the names of shards that were damaged and drawn again."""

    record: CalibrationRecord
    files: tuple[Path, ...]
    sample_bytes: int
    freed_bytes: int
    damaged: tuple[str, ...]


def earlier_calibration(folder: Path, program: RewardProgram) -> str | None:
    """What to warn of when `folder` holds a calibration that will be replaced; None where it does not.

    Raises StoreError where it is the calibration of another policy, or no calibration at all.
    """
    if not (folder / FILE_NAME).exists():
        return None
    try:
        known = load_record(folder)
    except CalibrationRecordError as error:
        raise StoreError(f"{error}; remove it, or choose another folder with --out") from None
    if known.policy != program.policy:
        raise StoreError(
            f"`{folder}` holds the calibration of the policy `{known.policy or 'without a name'}`, and this is "
            f"`{program.policy or 'without a name'}`; choose another folder with --out"
        )
    if known.rules != program.digest:
        return f"`{folder}` holds the calibration of other rules of this policy; it will be replaced"
    return None


def calibrate_policy(
    program: RewardProgram,
    prompts: Sequence[Trace],
    prompts_name: str,
    model: LanguageModel,
    settings: JobSettings,
    folder: Path,
    stages: Stages,
    notes: Sequence[str] = (),
) -> Written:
    """Draws, solves and writes. `notes` are warnings that the record shall keep.

    Raises StoreError (samples of something else are there, or nothing can be written), EnforcementError, Infeasible,
    BudgetInfeasible, TooFewSamples, ModelError, DecodeError, TwistError, OSError.
    """
    plans = plan_prompts(program, prompts, model, settings.max_tokens)
    compiler = twist_compiler(model, settings.max_tokens, stages)
    notes = (*notes, *require_feasible(plans, model, settings.max_tokens, compiler=compiler))
    key = StoreKey(model.digest, prompts_digest(prompts), settings.temperature, settings.max_tokens, settings.seed)
    store = SampleStore(folder / SAMPLES, key)
    sampler = Sampler(program, plans, model, settings.max_tokens, settings.seed, store, stages, compiler=compiler)
    origin = Origin(program.digest, key.model, key.prompts, key.temperature, key.max_tokens, key.seed)
    fitted = fit(sampler, origin, settings.fit)
    record = build_record(fitted, Subject(model.name, prompts_name, len(prompts)), settings.fit, notes)
    fitted.suite.save(folder / SCORES)
    path = save_record(record, folder)
    freed = store.keep_only(sampler.used)
    return Written(record, (path, folder / SCORES), store.size, freed, tuple(store.damaged))


def calibrate_in_memory(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    base: Sequence[Sequence[BaseSample]],
    model: LanguageModel,
    settings: JobSettings,
    stages: Stages,
    compiler: TwistCompiler | None = None,
) -> tuple[Multipliers, Calibration | None]:
    """The multipliers (nats) for one run, and how they were found; None for a policy without limits on these prompts.

    `base` [X][`settings.fit.samples`] are responses of `sample_base` with `settings.seed`: those that
    `calibrate_policy` would draw, which finds the same multipliers with the same settings. Nothing is kept. Raises
    BudgetInfeasible, TooFewSamples, EnforcementError, Infeasible, DecodeError, TwistError.
    """
    if not budget_problem(program, plans, settings.fit.elastic)[0].terms:
        return Multipliers({}), None
    prompts = prompts_digest([plan.trace for plan in plans])
    origin = Origin(program.digest, model.digest, prompts, settings.temperature, settings.max_tokens, settings.seed)
    sampler = Sampler(program, plans, model, settings.max_tokens, settings.seed, None, stages, base, compiler)
    fitted = fit(sampler, origin, settings.fit)
    record = build_record(fitted, Subject(model.name, "", len(plans)), settings.fit)
    return fitted.multipliers, record.summary()
