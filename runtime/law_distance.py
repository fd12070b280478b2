"""How far a model is from the law of a calibration, and how soon an audit sees it, LAW.md §4.

The law is that of the record: rules, weights and multipliers as calibrated, on the scored responses that calibration
left. The model is the base model (its ratio to the law is then known, and the gap of the bound is reported), or
whatever gave a file of responses: another model, a decoder, a tuned model, of which no probabilities are needed.
Witnesses see what the rules see: the quantities of all terms, which hard rules are broken, and what is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bylaw.compiler.law.detection import RateTest, SameLaws, rate_test
from bylaw.compiler.law.divergence import DIVERGENCES
from bylaw.compiler.law.draws import Draws
from bylaw.compiler.law.numerics import BoolArray, FloatArray, IntArray, LowEffectiveSampleSize
from bylaw.compiler.law.samples import Estimate
from bylaw.compiler.law.witnesses import Split, witness_bound
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.calibration.record import CalibrationRecord, load_record
from bylaw.runtime.enforcement import EnforcementError, score_traces
from bylaw.runtime.prices.calibrated import Calibrated, read_calibrated
from bylaw.runtime.prices.errors import Unanswerable
from bylaw.runtime.prices.law import Law, Scores, broken, features
from bylaw.runtime.prices.solve import weights_of
from bylaw.spec.trace import Trace

LEAST_DRAWS = 4
"""Responses of a prompt under either law; one with fewer of the law is left out, and where most have fewer of the
model, cross-fitting splits by prompts."""
LEAST_PROMPTS = 20
"""Prompts, where the split is by prompts."""
MOST_PROMPTS = 200
"""Prompts to which the witness gives an intercept of their own."""
ORDER = ("kl", "reverse_kl", "twice_jensen_shannon", "squared_hellinger", "total_variation", "chi_squared")


@dataclass(frozen=True, slots=True)
class DistanceRow:
    """One divergence: `divergence` is its key in `DIVERGENCES`, the rest as in `WitnessBound`."""

    divergence: str
    bound: Estimate
    direct: Estimate | None
    gap: Estimate | None


@dataclass(frozen=True, slots=True)
class Distance:
    """What was found. `responses` are those of the model that were used, to `prompts` prompts; `split` is what the
    halves of cross-fitting were made of; `left_out` says what was not used, in words. `columns` are the quantities that
    the witness sees. `model_ess` and `law_ess` are effective numbers of draws, all prompts together."""

    policy: str
    model: str
    rows: tuple[DistanceRow, ...]
    prompts: int
    responses: int
    columns: int
    split: Split
    model_ess: float
    law_ess: float
    left_out: tuple[str, ...]


def read(folder: str | Path) -> Calibrated:
    """A calibration with its scores. Raises as `read_calibrated`."""
    return read_calibrated(folder, load_record(folder).calibrated_program())


def base_distance(found: Calibrated, seed: int = 0) -> Distance:
    """Of the base model from the law, on the draws that both are weighted by.

    Raises Unanswerable where too few effective draws are left.
    """
    law = recorded_law(found)
    scores = found.scores
    prompt = np.repeat(np.arange(len(scores.prompts)), scores.sizes)
    return _distance(
        found, found.record.model, prompt, _columns(scores, found.terms), scores.log_ratio, law.log_weight, (), seed
    )


def response_distance(found: Calibrated, traces: Sequence[Trace], name: str, seed: int = 0) -> Distance:
    """Of whatever gave `traces`, whose ids are those of the calibration's prompts (several responses may share one).

    Raises Unanswerable where no trace belongs to a prompt, a limit cannot be scored, or too few draws are left.
    """
    law, scores = recorded_law(found), found.scores
    number = {each: index for index, each in enumerate(scores.prompts)}
    known = [trace for trace in traces if trace.id in number]
    if not known:
        raise Unanswerable(
            f"no response in `{name}` has the id of a prompt of the calibration (such as `{scores.prompts[0]}`)"
        )
    left_out = []
    if len(known) < len(traces):
        strange = len(traces) - len(known)
        left_out.append(
            f"{strange:,} response{'s' if strange > 1 else ''} whose id is none of the calibration's prompts"
        )
    known.sort(key=lambda trace: number[str(trace.id)])
    theirs = _scored(found.record.calibrated_program(), known)
    prompt = np.array([number[str(trace.id)] for trace in known])
    none, size = np.full(len(known), -np.inf), scores.log_ratio.size
    return _distance(
        found,
        name,
        np.concatenate([prompt, np.repeat(np.arange(len(scores.prompts)), scores.sizes)]),
        np.concatenate([_columns(theirs, found.terms), _columns(scores, found.terms)]),
        np.concatenate([np.zeros(len(known)), np.full(size, -np.inf)]),
        np.concatenate([none, law.log_weight]),
        tuple(left_out),
        seed,
    )


@dataclass(frozen=True, slots=True)
class RuleEffect:
    """The rate of what a rule is about without rules and under the law, as a record has them, and the audit that tells
    the two apart; no `test` where they are the same."""

    term: str
    before: float
    after: float
    test: RateTest | None


def rule_effects(record: CalibrationRecord, error: float) -> tuple[RuleEffect, ...]:
    """For each term that is about a share of responses, in the record's order. 0 < `error` < 1/2: ValueError."""
    found = []
    for term in record.terms:
        if term.is_share and term.base is not None and term.law is not None:
            before, after = (min(max(each.value, 0.0), 1.0) for each in (term.base, term.law))
            try:
                test = rate_test(before, after, error)
            except SameLaws:
                test = None
            found.append(RuleEffect(term.term, before, after, test))
    return tuple(found)


def recorded_law(found: Calibrated) -> Law:
    """The law with the weights of the rules and the multipliers of the record."""
    scores, terms, record = found.scores, found.terms, found.record
    strength = weights_of(scores, terms)
    common, own = record.multipliers, record.own()
    for column, term in enumerate(terms):
        if term.kind == "budget":
            strength[:, column] = -np.array([each.get(term.id, common.get(term.id, 0.0)) for each in own])
    return Law(scores, terms, np.ones(len(terms), dtype=np.bool_), strength)


# ------------------------------------------------------------------------------------------------------------ parts
def _distance(
    found: Calibrated,
    model: str,
    prompt: IntArray,
    columns: FloatArray,
    log_model: FloatArray,
    log_law: FloatArray,
    left_out: tuple[str, ...],
    seed: int,
) -> Distance:
    kept, split = _usable(prompt, log_model, log_law, len(found.scores.prompts))
    if not kept.all():
        names = [found.scores.prompts[index] for index in np.flatnonzero(~kept)]
        shown = ", ".join(f"`{name}`" for name in names[:5]) + (f" and {len(names) - 5:,} more" if names[5:] else "")
        least = f"{LEAST_DRAWS} responses of the law or of the model" if split == "draws" else "any response"
        left_out += (f"prompts without {least}: {shown}",)
    if not kept.any() or (split == "prompts" and kept.sum() < LEAST_PROMPTS):
        raise Unanswerable(
            f"the model's responses cannot be split into halves: give {LEAST_DRAWS} or more to each prompt, or one to "
            f"each of {LEAST_PROMPTS} prompts or more"
        )
    chosen = kept[prompt]
    varies = np.ptp(columns[chosen], axis=0) > 0.0
    renumbered = np.cumsum(kept) - 1
    draws = Draws(renumbered[prompt[chosen]], columns[chosen][:, varies], log_model[chosen], log_law[chosen])
    rows = []
    for name in ORDER:
        try:
            bound = witness_bound(
                draws,
                DIVERGENCES[name],
                seed=seed,
                per_prompt=int(kept.sum()) <= MOST_PROMPTS,
                split=split,
                ess_floor=found.record.floor,
            )
        except LowEffectiveSampleSize as error:
            raise Unanswerable(
                f"the responses are worth {error.ess:.0f} independent ones under the model or the law, and at least "
                f"{error.floor:.0f} are needed: nothing is stated; calibrate with more samples"
            ) from None
        rows.append(DistanceRow(name, bound.bound, bound.direct, bound.gap))
    return Distance(
        policy=found.record.policy,
        model=model,
        rows=tuple(rows),
        prompts=int(kept.sum()),
        responses=int((log_model[chosen] > -np.inf).sum()),
        columns=int(varies.sum()),
        split=split,
        model_ess=bound.model_ess,
        law_ess=bound.law_ess,
        left_out=left_out,
    )


def _usable(prompt: IntArray, log_model: FloatArray, log_law: FloatArray, size: int) -> tuple[BoolArray, Split]:
    """([X] the prompts that can be used, how to split): by draws, unless most prompts have too few of the model."""
    model, law = (np.bincount(prompt[weight > -np.inf], minlength=size) for weight in (log_model, log_law))
    covered = law >= LEAST_DRAWS
    single, several = covered & (model > 0), covered & (model >= LEAST_DRAWS)
    return (several, "draws") if 2 * several.sum() >= single.sum() else (single, "prompts")


def _columns(scores: Scores, terms: Sequence[RewardTerm]) -> FloatArray:
    """[N, 3T] what a witness sees: quantities, broken hard rules, and what is counted."""
    return np.concatenate([features(scores, terms), broken(scores, terms), scores.counts], axis=1).astype(np.float64)


def _scored(program: RewardProgram, traces: Sequence[Trace]) -> Scores:
    """Scores of responses, each a prompt of its own, as calibration makes them. Unanswerable where a limit cannot be
    decided."""
    try:
        scored = score_traces(program, traces)
    except EnforcementError as error:
        raise Unanswerable(str(error), () if error.term is None else (error.term,)) from None
    one, ids = np.ones(len(traces), dtype=np.int64), tuple(str(trace.id) for trace in traces)
    return Scores(
        prompts=ids,
        starts=np.arange(len(traces)),
        sizes=one,
        drawn=len(traces),
        log_ratio=np.zeros(len(traces)),
        values=scored.values,
        counts=scored.counts,
        violated=scored.violated,
    )
