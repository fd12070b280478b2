"""From a policy, a model and prompts to decoding tasks: multipliers, samples for the look-ahead, twists."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.cache import cache_folder
from bylaw.runtime.calibration.draws import Draw, Sampler
from bylaw.runtime.calibration.problem import Multipliers
from bylaw.runtime.calibration.record import prompts_digest
from bylaw.runtime.calibration.sample_store import SampleStore, StoreError, StoreKey
from bylaw.runtime.decoders.interface import DecodeTask
from bylaw.runtime.enforcement import EnforcementError, PromptPlan, Stages, plan_prompts, with_own
from bylaw.runtime.generation.extras import Extras
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.twist.compiler import TwistCompiler
from bylaw.runtime.twist.policies import ENOUGH_FOR_OWN_TWIST, decode_tasks, require_feasible, twist_compiler
from bylaw.spec.trace import Trace

LOOK_AHEAD_SEED = 0
"""The samples that look-ahead is counted on do not depend on the seed of the answers, so that they can be kept."""
LEAST_SAMPLES = 64
"""Fewest base samples in all, when their number is not given."""
LEAST_PER_PROMPT = 16
STORES_KEPT = 100
"""Sets of prompts whose base samples stay in the cache."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything that does not depend on the decoder.

    `base` [X] are the base samples that look-ahead was counted on, those of each prompt; `pool` are all of them.
    `remarks` say what look-ahead cannot promise for these rules; `compiler` remembers what it built.
    """

    program: RewardProgram
    plans: tuple[PromptPlan, ...]
    tasks: tuple[DecodeTask, ...]
    base: tuple[tuple[Draw, ...], ...]
    remarks: tuple[str, ...] = ()
    compiler: TwistCompiler | None = None

    @property
    def pool(self) -> tuple[Draw, ...]:
        return tuple(draw for own in self.base for draw in own)

    def counted_for(self, index: int) -> tuple[Draw, ...]:
        """Base samples for a closer look at one prompt: its own where there are enough, else all."""
        own = self.base[index]
        return own if len(own) >= ENOUGH_FOR_OWN_TWIST else self.pool


@dataclass(frozen=True)
class PrepareSettings:
    """`temperature` is that of the model; `samples` are of the base model for each prompt, None: enough for all."""

    max_tokens: int = 160
    temperature: float = 1.0
    samples: int | None = None

    def samples_for(self, prompts: int) -> int:
        """Base samples for each of so many prompts."""
        return self.samples or max(LEAST_PER_PROMPT, -(-LEAST_SAMPLES // prompts))


def prepare(
    program: RewardProgram,
    prompts: Sequence[Trace],
    model: LanguageModel,
    settings: PrepareSettings,
    stages: Stages,
    multipliers: Multipliers | None = None,
    extras: Extras | None = None,
    kept: Sequence[Draw] = (),
) -> Prepared:
    """The tasks of all prompts. A policy with limits needs their multipliers.

    Look-ahead is counted on `kept` where there are any: base samples of other prompts, under this model and these
    settings (`kept_samples` finds them). Else the base model is sampled, and the samples are kept in the cache folder,
    by model, prompts and settings. Raises EnforcementError, Infeasible, TwistError, ModelError, ExtraError.
    """
    plans = plan_prompts(program, prompts, model, settings.max_tokens)
    known = multipliers or Multipliers({})
    require_multipliers(plans, known)
    plans = tuple(with_own(plans, known.own))
    compiler = twist_compiler(model, settings.max_tokens)
    remarks = require_feasible(plans, model, settings.max_tokens, compiler=compiler)
    elsewhere = [list(kept), *([] for _ in plans[1:])]
    base = elsewhere if kept else _base_samples(program, plans, model, settings, stages)
    tasks = decode_tasks(plans, base, model, known.common, settings.max_tokens, compiler=compiler)
    if extras is not None:
        tasks = extras.add_to(tasks)
        extras.require_start(tasks, model.vocabulary, settings.max_tokens)
    return Prepared(program, plans, tuple(tasks), tuple(map(tuple, base)), remarks, compiler)


def require_multipliers(plans: Sequence[PromptPlan], multipliers: Multipliers) -> None:
    """Raises EnforcementError for a limit without a multiplier: its law is not known, and 0 would let it be broken."""
    for plan in plans:
        for term in plan.terms:
            if term.kind == "budget" and term.id not in multipliers.common and term.id not in dict(plan.own):
                raise EnforcementError(
                    f"`{term.id}` is a limit on the average answer, and what it takes to keep it has not been solved "
                    "for yet: run `bylaw calibrate` on prompts like these and give its folder with --calibration",
                    term.id,
                )


def _base_samples(
    program: RewardProgram,
    plans: Sequence[PromptPlan],
    model: LanguageModel,
    settings: PrepareSettings,
    stages: Stages,
) -> list[list[Draw]]:
    digest = prompts_digest([plan.trace for plan in plans])
    key = StoreKey(model.digest, digest, settings.temperature, settings.max_tokens, LOOK_AHEAD_SEED)
    kept = cache_folder() / "samples"
    try:
        store: SampleStore | None = SampleStore(kept / key.digest[:24], key)
        _forget_oldest(kept, STORES_KEPT)
    except (StoreError, OSError):
        store = None  # a cache that cannot be written saves nothing, and that is all
    sampler = Sampler(program, plans, model, settings.max_tokens, LOOK_AHEAD_SEED, store, stages)
    draws = settings.samples_for(len(plans))
    try:
        return sampler.base(draws)
    except StoreError:
        return replace(sampler, store=None).base(draws)


def _forget_oldest(folder: Path, kept: int) -> None:
    stores = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
    for path in stores[:-kept]:
        shutil.rmtree(path, ignore_errors=True)
