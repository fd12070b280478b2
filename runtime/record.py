"""What an audit and a run leave behind: plain frozen values that reports render and JSON carries.

Every rate has its interval, every estimate its error. Rates are shares between 0 and 1, prices are nats.
"""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass
from typing import Any, TypeVar

from bylaw.runtime.correction_record import CorrectedRate
from bylaw.runtime.interval import Interval as Interval  # it is part of every record, so that this module has it too
from bylaw.runtime.power_record import PlantedPower
from bylaw.runtime.scoring_record import ConceptScoring
from bylaw.runtime.statistics_record import Against, LabellerAgreement, RuleTests, ScoreRecord
from bylaw.runtime.stopping_record import StoppingRecord

RECORD_SCHEMA_VERSION = 1
_Record = TypeVar("_Record")


class RecordError(Exception):
    """A record that cannot be read; text fit for users."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One response in which a rule was broken (or a budgeted event happened), with the places that show it.

    `spans` are (start, end) in characters of `response`. `source` names the transcript: a file line, or a prompt id.
    `event` says what broke the rule where that is not the answer: `message 3: call to refund`.
    """

    source: str
    prompt: str
    response: str
    spans: tuple[tuple[int, int], ...]
    event: str | None = None


@dataclass(frozen=True, slots=True)
class PromptRate:
    """What a limit measures among the `answers` to one prompt: a share, or the mean of a quantity."""

    prompt: str
    rate: float
    answers: int


@dataclass(frozen=True, slots=True)
class TermAudit:
    """One clause of the policy over all transcripts.

    `rate` is the share of applicable, scored transcripts in which the clause was violated (for a budget: in which the
    event happened), with its interval; None for quantities (`prefer`, `limit average`), which have `mean` and
    `mean_interval` instead, and where nothing was applicable. `worst` and `best` are the rates if every unscored
    transcript were a violation, or none were, and `interval_of_all`, where some are unscored, holds the rate of all
    transcripts whatever those are. `is_scored_enough` is False where a larger share of those that it may apply to is
    unscored than the audit allows, `is_decided` where an audit that stops by itself ended before it was decided.
    `within` is whether the budget is met: True, False, or None where it cannot be told or there is no budget.
    `applicable` counts the transcripts that were scored and to which the clause applies: together with `unscored` and
    `not_applicable` that is all of them. `weight` is that of the clause in nats, where it has one.
    A limit `each_prompt` is met where it is met for the answers to each prompt; `worst_prompt` is the prompt that is
    farthest from that, where prompts have several answers. `price` is the most that a limit may cost, in nats for each
    unit. A limit about a part of the answers is applicable to these: its rate or mean is among them.
    """

    term: str
    rule: str
    title: str | None
    kind: str
    level: str
    clause: str
    location: str
    applicable: int
    violated: int
    unscored: int
    not_applicable: int
    rate: float | None
    interval: Interval | None
    best: float | None
    worst: float | None
    mean: float | None = None
    mean_interval: Interval | None = None
    sense: str | None = None
    bound: float | None = None
    confidence: float | None = None
    confidence_bound: float | None = None
    within: bool | None = None
    reasons: tuple[tuple[str, int], ...] = ()
    findings: tuple[Finding, ...] = ()
    weight: float | None = None
    each_prompt: bool = False
    price: float | None = None
    worst_prompt: PromptRate | None = None
    interval_of_all: Interval | None = None
    is_scored_enough: bool = True
    is_decided: bool = True


@dataclass(frozen=True, slots=True)
class InputProblem:
    """A part of the input that could not be read and was left out."""

    source: str
    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """A clause against human labels: a table of counts, and what follows from it. Positive means violated.

    `unscored` and `unlabelled` transcripts are in none of the four counts.
    """

    term: str
    column: str
    positive_labels: tuple[str, ...]
    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int
    unscored: int
    agreement: float
    agreement_interval: Interval
    sensitivity: float | None
    sensitivity_interval: Interval | None
    specificity: float | None
    specificity_interval: Interval | None
    kappa: float | None
    human_rate: float
    rule_rate: float
    majority_baseline: float
    unlabelled: int = 0
    kappa_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One audit. `clusters` is the number of prompts where the intervals allow for several answers to one prompt, None
    where every transcript stands for itself. With `complete` False it was interrupted after `transcripts`.
    `independent` is how many independent answers the answers are worth, where they were resampled; None: all.
    `scoring` says of each concept that was asked about who scored it, and how well. With `stopping` it read only as
    many prompts as it took to decide the limits: `within` is that decision then, and intervals of a fixed size do not
    hold. `power` says how surely it finds planted violations, `corrections` what rates
    are once people's labels have corrected the verdicts.
    `tests` are those of all rules together, `score` is the whole policy's with declared weights, `against` compares
    with other transcripts, and `labellers` says how far people agree who labelled the same answers. Of the answers to
    any rule a share of `most_unscored` may be unscored at a gate.
    """

    policy: str
    policy_version: str
    policy_digest: str
    source: str
    transcripts: int
    terms: tuple[TermAudit, ...]
    problems: tuple[InputProblem, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    complete: bool = True
    clusters: int | None = None
    independent: float | None = None
    scoring: tuple[ConceptScoring, ...] = ()
    stopping: StoppingRecord | None = None
    power: tuple[PlantedPower, ...] = ()
    corrections: tuple[CorrectedRate, ...] = ()
    tests: RuleTests | None = None
    score: ScoreRecord | None = None
    against: Against | None = None
    labellers: tuple[LabellerAgreement, ...] = ()
    most_unscored: float = 0.02


@dataclass(frozen=True, slots=True)
class BudgetResult:
    """A budget after calibration. `multiplier` in nats; rates are means over the prompts to which it applies.

    In a `Calibration`, `status` is what the solver found. In a `Check` it is `met` (the whole interval of the rate
    keeps the bound), `met within its error` (the bound lies inside the interval), `missed` (the whole interval breaks
    the bound), or `undetermined` (too few effective samples). There the interval of the rate allows for the error of
    calibration as well.
    """

    term: str
    sense: str
    bound: float
    multiplier: float
    multiplier_interval: Interval
    base_rate: float
    rate: float
    rate_interval: Interval
    status: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """How the multipliers were found, from how good a sample. `ess` is in effective samples, all prompts together."""

    budgets: tuple[BudgetResult, ...]
    rounds: int
    samples: int
    ess: float
    smallest_prompt_ess: float
    converged: bool


@dataclass(frozen=True, slots=True)
class Check:
    """The budgets on the final samples, which played no part in finding the multipliers."""

    budgets: tuple[BudgetResult, ...]
    samples: int
    ess: float
    smallest_prompt_ess: float


@dataclass(frozen=True, slots=True)
class TermPrice:
    """What one clause costs: its share of KL(p*||p0) (nats a response, Shapley value) and the error of that share."""

    term: str
    kl: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class Price:
    """KL(p*||p0) in nats a response, mean over the prompts, with its interval, and who is responsible for it."""

    kl: float
    kl_interval: Interval
    terms: tuple[TermPrice, ...]
    method: str


@dataclass(frozen=True, slots=True)
class DecoderSummary:
    """`ess` is per prompt, out of `particles`; `dead` counts particles that ended without a legal text; `biased` is
    True for decoders whose law is not p*."""

    name: str
    biased: bool
    particles: int
    mean_ess: float
    smallest_ess: float
    mean_log_z: float
    dead: int
    model_tokens: int


@dataclass(frozen=True, slots=True)
class SamplePair:
    """The same prompt answered by the base model and under the policy, with the clauses broken in each answer."""

    source: str
    prompt: str
    base: str
    base_violated: tuple[str, ...]
    base_spans: tuple[tuple[int, int], ...]
    regulated: str
    regulated_violated: tuple[str, ...]
    regulated_spans: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One `bylaw run`. With `complete` False it was interrupted, and what is None had not been reached.

    `particles`, `responses_per_prompt` and `calibration_particles` (those of the first round) are counts a prompt, 0
    where nobody wrote them down. `prompts_digest` is the SHA-256 of the file of prompts in hexadecimal digits.
    `scoring` says of each concept who scored the texts of the run.
    """

    policy: str
    policy_version: str
    policy_digest: str
    policy_path: str
    policy_text: str
    model: str
    model_digest: str
    prompts: str
    prompt_count: int
    seed: int
    samples_per_prompt: int
    max_tokens: int
    seconds: float
    bylaw_version: str
    warnings: tuple[str, ...]
    base: AuditRecord | None
    calibration: Calibration | None
    regulated: AuditRecord | None
    price: Price | None
    decoder: DecoderSummary | None
    pairs: tuple[SamplePair, ...]
    complete: bool
    schema_version: int = RECORD_SCHEMA_VERSION
    temperature: float = 1.0
    particles: int = 0
    responses_per_prompt: int = 0
    calibration_particles: int = 0
    prompts_digest: str = ""
    check: Check | None = None
    scoring: tuple[ConceptScoring, ...] = ()


def to_json(record: AuditRecord | RunRecord) -> str:
    """The record as JSON text. JSON has no infinity: such numbers become the texts that `_UNWRITABLE` lists."""
    return json.dumps(writable(dataclasses.asdict(record)), ensure_ascii=False, indent=2, allow_nan=False)


def run_from_json(text: str) -> RunRecord:
    """Reads the record of a run back. Raises RecordError for anything else, other schema versions included."""
    try:
        data = parsed(text)
        version = data.get("schema_version", RECORD_SCHEMA_VERSION) if isinstance(data, dict) else RECORD_SCHEMA_VERSION
        if version == RECORD_SCHEMA_VERSION:
            return read_back(RunRecord, text, data)
    except RecordError as error:
        raise RecordError(f"this is not the record of a run: {error}") from None
    raise RecordError(
        f"this record has schema version {version!r}; this version of bylaw reads {RECORD_SCHEMA_VERSION} only"
    )


def parsed(text: str) -> Any:
    """JSON as values. Raises RecordError for what is none, as `NaN` and `Infinity` outside of texts are."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"it is not JSON: {error}") from None


def read_back(kind: type[_Record], text: str, data: Any) -> _Record:
    """The dataclass whose fields were written with `writable`, from its JSON text and the values of that.

    Raises RecordError with the field that is missing or of another kind: a number is no truth value and no other text
    than those that `writable` makes.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        found = TypeAdapter(kind).validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise RecordError(f"`{place}`: {first['msg']}") from None
    # Pydantic takes `true` for the number 1 and "0.5" for a half; what it read would not be written like that.
    written = writable(dataclasses.asdict(found))  # type: ignore[call-overload]
    if (wrong := _misread(written, data, "")) is not None:
        raise RecordError(f"`{wrong}`: a value of another kind belongs there")
    return found


def _misread(written: Any, data: Any, place: str) -> str | None:
    """The first place where `data` is of another kind than what would be written there; None if there is none."""
    if isinstance(written, dict) and isinstance(data, dict):
        pairs = [(key, item, data[key]) for key, item in written.items() if key in data]
    elif isinstance(written, list) and isinstance(data, list):
        pairs = [(str(index), item, given) for index, (item, given) in enumerate(zip(written, data, strict=True))]
    else:
        return None if _kind(written) is _kind(data) else place
    for key, item, given in pairs:
        found = _misread(item, given, f"{place}.{key}" if place else key)
        if found is not None:
            return found
    return None


def _kind(value: Any) -> type:
    """The kind of a JSON value; whole numbers are numbers, and what is no finite number is none."""
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        return float
    return object if isinstance(value, float) else type(value)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no value of JSON")


_UNWRITABLE = {math.inf: "Infinity", -math.inf: "-Infinity"}
"""Texts for numbers that JSON cannot write; `NaN` is the third. Where a number is asked for, they are read as one."""


def writable(value: Any) -> Any:
    """`value` with texts in place of the numbers that JSON cannot write."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else _UNWRITABLE.get(value, value)
    if isinstance(value, dict):
        return {key: writable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [writable(item) for item in value]
    return value
