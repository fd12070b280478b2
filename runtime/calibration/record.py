"""The record of a calibration: the program with its multipliers, how far they can be trusted, and what they are for.

`bylaw calibrate` writes it; decoders, audits and whoever trains on the law load it. Multipliers hold for one policy,
one model, one list of prompts and one way of sampling, so the record names all four, and `require_current` refuses it
where one of them has changed. Rates are shares between 0 and 1 or quantities, multipliers are nats per unit of the
rate.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bylaw.compiler.program import ProgramError, RewardProgram, from_json
from bylaw.compiler.program import to_json as program_json
from bylaw.runtime.calibration.sample_store import digest_of
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.record import BudgetResult, Calibration, Interval, RecordError, parsed, read_back, writable
from bylaw.spec.trace import Trace

SCHEMA_VERSION = 1
FILE_NAME = "calibration.json"
LARGEST = 500_000_000
"""Bytes of a record; a larger one is not read."""


class CalibrationRecordError(Exception):
    """A record of a calibration cannot be used; text fit for users.

    CalibrationRecordError
    +-- StaleRecord   it was made for other rules, another model, other prompts or other settings
    """


class StaleRecord(CalibrationRecordError):
    """The record was made for something else; `changed` are of `rules`, `model`, `prompts` and `settings`."""

    def __init__(self, message: str, changed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.changed = changed


@dataclass(frozen=True, slots=True)
class Estimate:
    """A rate or mean with its 95 % interval."""

    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class TermRate:
    """How often a clause is broken (for a limit: how often the event happens, or the mean of its quantity).

    `base` is under the model as it is, `law` under all rules with the multipliers. `fired` of `draws` answers of the
    model as it is to prompts that the clause is about broke it; where none did, `at_most` is the largest share that
    this leaves open with 95 % confidence, else None. None for both rates where the clause is about no answer.
    """

    term: str
    kind: str
    level: str
    is_share: bool
    base: Estimate | None
    law: Estimate | None
    fired: int
    draws: int
    at_most: float | None


@dataclass(frozen=True, slots=True)
class PromptBudget:
    """A limit on one prompt: its rates, and its multiplier where prompts have multipliers of their own."""

    prompt: str
    base_rate: float
    rate: Estimate
    multiplier: float | None
    multiplier_interval: Interval | None


@dataclass(frozen=True, slots=True)
class BudgetRecord:
    """A limit. `multiplier` and its interval are None where each prompt has its own (in `prompts`).

    `base_rate` is under the model as it is, `free_rate` under all rules but the limits, `rate` under the law. `slack`
    is the room that is left, in the unit of the rate, that of the worst prompt for a limit on each prompt. `status` is
    `met` (no multiplier needed, the whole interval keeps the bound), `met within its error`, `binding` (the multiplier
    holds the rate at the bound), `saturated` (the price of slack was reached and the bound gave way) or `undetermined`.
    `price` (nats per unit) is the largest multiplier that was allowed. `prompts` are all prompts where each has its own
    multiplier, else the worst ones, worst first; of `applicable` prompts, `beyond` lie on the wrong side of the bound
    by more than their error. `base_share` and `share` tell, for a limit among some responses, how many these are.
    """

    term: str
    level: str
    sense: str
    bound: float
    is_share: bool
    among: bool
    each_prompt: bool
    price: float | None
    multiplier: float | None
    multiplier_interval: Interval | None
    base_rate: Estimate
    free_rate: Estimate
    rate: Estimate
    slack: float
    status: str
    beyond: int
    applicable: int
    base_share: Estimate | None
    share: Estimate | None
    prompts: tuple[PromptBudget, ...]


@dataclass(frozen=True, slots=True)
class ProposalRecord:
    """One law that samples were drawn from: the base model (`round` 0) or the rules with multipliers times `scale`."""

    round: int
    draws: int
    without_text: int
    scale: float
    multipliers: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class CalibrationRecord:
    """One calibration. `rules` is the digest of the program, which `program` holds with its multipliers as JSON text.

    `model_digest` and `prompts_digest` are SHA-256 in hexadecimal digits, `temperature` and `max_tokens` (tokens) fix
    the law of a response. `ess` is in effective samples under the law, all prompts together, less what normalising each
    prompt uses up; `smallest_prompt_ess` that of the hardest prompt. `elastic` are the prices (nats) that were given
    for levels. Nothing in it depends on when or where it was made.
    """

    policy: str
    policy_version: str
    rules: str
    model: str
    model_digest: str
    prompts: str
    prompts_digest: str
    prompt_count: int
    temperature: float
    max_tokens: int
    seed: int
    floor: float
    proposals: tuple[ProposalRecord, ...]
    samples: int
    ess: float
    smallest_prompt_ess: float
    rounds: int
    converged: bool
    elastic: tuple[tuple[str, float], ...]
    budgets: tuple[BudgetRecord, ...]
    terms: tuple[TermRate, ...]
    warnings: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    program: str
    schema_version: int = SCHEMA_VERSION

    def calibrated_program(self) -> RewardProgram:
        """The program with its multipliers; those of limits on each prompt are in `own`."""
        return from_json(self.program)

    @property
    def multipliers(self) -> dict[str, float]:
        """Nats by term id; 0 for a limit on each prompt, whose multipliers are in `own`."""
        return {budget.term: budget.multiplier or 0.0 for budget in self.budgets}

    def own(self) -> list[dict[str, float]]:
        """[X] the multipliers (nats, by term id) of single prompts, in the order of the prompts."""
        found: list[dict[str, float]] = [{} for _ in range(self.prompt_count)]
        for budget in self.budgets:
            for place, prompt in enumerate(budget.prompts if budget.each_prompt else ()):
                if prompt.multiplier is not None:
                    found[place][budget.term] = prompt.multiplier
        return found

    def summary(self) -> Calibration:
        """The calibration as the record of a run has it. A limit on each prompt shows the mean of its multipliers."""
        return Calibration(
            tuple(map(_result, self.budgets)),
            self.rounds,
            self.samples,
            self.ess,
            self.smallest_prompt_ess,
            self.converged,
        )


def _result(budget: BudgetRecord) -> BudgetResult:
    own = [prompt.multiplier for prompt in budget.prompts if prompt.multiplier is not None]
    mean = sum(own) / len(own) if own else 0.0
    interval = budget.multiplier_interval or (Interval(min(own), max(own)) if own else Interval(0.0, 0.0))
    return BudgetResult(
        term=budget.term,
        sense=budget.sense,
        bound=budget.bound,
        multiplier=mean if budget.multiplier is None else budget.multiplier,
        multiplier_interval=interval,
        base_rate=budget.free_rate.value,
        rate=budget.rate.value,
        rate_interval=budget.rate.interval,
        status=budget.status,
    )


def prompts_digest(prompts: Sequence[Trace]) -> str:
    """SHA-256 over the conversations, their facts and their names, in their order, hexadecimal."""
    return digest_of(
        [
            {"id": trace.id, "facts": sorted(trace.facts.items()), "messages": [asdict(m) for m in trace.messages]}
            for trace in prompts
        ]
    )


# -------------------------------------------------------------------------------------------------- files
def save_record(record: CalibrationRecord, folder: Path) -> Path:
    """Writes the record into `folder`, whole or not at all, and returns its path. Raises OSError."""
    text = json.dumps(writable(asdict(record)), ensure_ascii=False, indent=2, allow_nan=False) + "\n"
    path = folder / FILE_NAME
    beside = path.with_name(f"{FILE_NAME}.{os.getpid()}.part")
    try:
        # half a surrogate pair cannot be written; in JSON the escape means the same
        beside.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")
        os.replace(beside, path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    return path


def load_record(path: str | Path) -> CalibrationRecord:
    """Reads the record in a file, or in the folder that `bylaw calibrate` wrote.

    Raises CalibrationRecordError for anything else: another version, a missing field, a multiplier that is no number or
    has the wrong sign, a program that does not belong to its digest.
    """
    file = Path(path)
    file = file / FILE_NAME if file.is_dir() else file
    try:
        if file.stat().st_size > LARGEST:
            raise CalibrationRecordError(f"`{file}` is larger than {LARGEST} bytes")
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise CalibrationRecordError(
            f"the calibration `{file}` cannot be read: {(error.strerror or str(error)).lower()}; `bylaw calibrate` "
            "writes one"
        ) from None
    except UnicodeDecodeError:
        raise CalibrationRecordError(f"`{file}` is not the record of a calibration: it is not UTF-8 text") from None
    try:
        return _checked(_parsed(text))
    except CalibrationRecordError as error:
        raise CalibrationRecordError(f"`{file}` is not the record of a calibration: {error}") from None


def _parsed(text: str) -> CalibrationRecord:
    try:
        data = parsed(text)
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version == SCHEMA_VERSION:
            return read_back(CalibrationRecord, text, data)
    except RecordError as error:
        raise CalibrationRecordError(str(error)) from None
    raise CalibrationRecordError(
        f"its schema version is {version!r}, and this version of bylaw reads {SCHEMA_VERSION} only"
    )


def _require_numbers(record: CalibrationRecord) -> None:
    """Raises CalibrationRecordError for a number that no calibration could have.

    (A rate may be NaN on a prompt to which no answer is one that its limit is about, and an interval may have no end.)
    """
    positive = {"floor": record.floor, "temperature": record.temperature}
    positive |= {f"elastic.{level}": price for level, price in record.elastic}
    least_zero = {"ess": record.ess, "smallest_prompt_ess": record.smallest_prompt_ess}
    any_finite: dict[str, float] = {}
    for place, law in enumerate(record.proposals):
        least_zero[f"proposals.{place}.scale"] = law.scale
        any_finite |= {f"proposals.{place}.multipliers.{name}": value for name, value in law.multipliers}
    for place, budget in enumerate(record.budgets):
        if budget.price is not None:
            positive[f"budgets.{place}.price"] = budget.price
        for name in ("base_rate", "free_rate", "rate"):
            any_finite[f"budgets.{place}.{name}"] = getattr(budget, name).value
    for place, term in enumerate(record.terms):
        least_zero[f"terms.{place}.at_most"] = term.at_most or 0.0
        for name, rate in (("base", term.base), ("law", term.law)):
            any_finite[f"terms.{place}.{name}"] = rate.value if rate is not None else 0.0
    for numbers, least, what in (
        (positive, math.ulp(0.0), "a positive number"),
        (least_zero, 0.0, "a number of 0 or more"),
        (any_finite, -math.inf, "a finite number"),
    ):
        for name, value in numbers.items():
            if not math.isfinite(value) or value < least:
                raise CalibrationRecordError(f"`{name}` is {value:g}, and must be {what}")


def _checked(record: CalibrationRecord) -> CalibrationRecord:
    _require_numbers(record)
    try:
        program = record.calibrated_program()
    except ProgramError as error:
        raise CalibrationRecordError(f"`program`: {error}") from None
    if program.digest != record.rules:
        raise CalibrationRecordError("`rules` is not the digest of its program: the file was changed")
    budgets = {term.id: term for term in program.terms if term.kind == "budget"}
    for budget in record.budgets:
        term = budgets.get(budget.term)
        if term is None or (term.sense, term.bound) != (budget.sense, budget.bound):
            raise CalibrationRecordError(f"`{budget.term}` is not a limit of its program: the file was changed")
        if not budget.each_prompt and (budget.multiplier is None or term.multiplier != budget.multiplier):
            raise CalibrationRecordError(f"`{budget.term}` has another multiplier in its program: the file was changed")
        if budget.each_prompt and len(budget.prompts) != record.prompt_count:
            raise CalibrationRecordError(f"`{budget.term}` does not have a multiplier for each prompt")
        own = [prompt.multiplier or 0.0 for prompt in budget.prompts] if budget.each_prompt else []
        for value in (budget.multiplier or 0.0, *own):
            wrong = {"at most": value < 0, "at least": value > 0}.get(budget.sense, False)
            if not math.isfinite(value) or wrong:
                raise CalibrationRecordError(f"`{budget.term}` cannot have the multiplier {value}")
    return record


# -------------------------------------------------------------------------------------------------- staleness
def require_current(
    record: CalibrationRecord,
    program: RewardProgram | None = None,
    model: LanguageModel | None = None,
    prompts: Sequence[Trace] | None = None,
    settings: Mapping[str, float] | None = None,
) -> None:
    """Raises StaleRecord unless the record was made for all that is given here.

    `settings` has the keys `temperature` and `max_tokens` (tokens).
    """
    changed: list[tuple[str, str]] = []
    if program is not None and program.digest != record.rules:
        changed.append(
            ("rules", f"the rules (`{record.policy}` as {_short(record.rules)}, now {_short(program.digest)})")
        )
    if model is not None and model.digest != record.model_digest:
        changed.append(
            ("model", f"the model (`{record.model}` as {_short(record.model_digest)}, now {_short(model.digest)})")
        )
    if prompts is not None and prompts_digest(prompts) != record.prompts_digest:
        changed.append(
            ("prompts", f"the prompts ({record.prompt_count} of `{record.prompts}`, now {len(prompts)} others)")
        )
    for name, value in (settings or {}).items():
        then = getattr(record, name)
        if then != value:
            changed.append(("settings", f"--{name.replace('_', '-')} ({then:g}, now {value:g})"))
    if changed:
        raise StaleRecord(
            f"this calibration no longer holds: {'; '.join(words for _, words in changed)} changed since; run "
            "`bylaw calibrate` again",
            tuple(dict.fromkeys(name for name, _ in changed)),
        )


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def program_text(program: RewardProgram) -> str:
    """The program as the record holds it."""
    return program_json(program, indent=None)
