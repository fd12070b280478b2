"""The decode report of one response, as plain frozen values and as JSON. All logarithms and divergences are in nats."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from bylaw.runtime.record import RecordError, parsed, read_back, writable

SCHEMA_VERSION = 1
ACTED = 0.05
"""Nats: a rule acted at a position where it alone moves the next-token law by this much, or forbids what the model
most wanted to say."""
WRITTEN = 1e-4
"""Nats: effects of a rule on a position that are smaller in every respect are not written there."""

How = Literal["automaton", "finished text", "among the rest", "the rest", "not in force"]
Ending = Literal["end of text", "stop string", "cap"]


class DecodeReportError(Exception):
    """A decode report cannot be built, written or read; text fit for users."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A token that might have come next: its `probability` in the base model, and under the twisted `law`.

    The end of text has no bytes.

    `data` is in hexadecimal digits, since a token may end inside a character; `text` is for reading.
    """

    token: int
    text: str
    data: str
    probability: float
    law: float
    is_end: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """What one rule, alone, does to one next-token law.

    `kl`: KL(base model with this rule only ‖ base model). `on_chosen`, `on_wanted`, `on_lost`: log of the
    factor by which it changes the probability of the token that was said, of the one that the model most wanted, and of
    the one that lost most; −inf forbids.
    """

    term: str
    kl: float
    on_chosen: float
    on_wanted: float
    on_lost: float


@dataclass(frozen=True, slots=True)
class Position:
    """One token, or the end of text, of the response.

    `log_p0`, `log_q`, `log_law`: log probability of what was said under the base model, under the law that the decoder
    proposes from, and under the twisted law, which is the estimate of the law of the rules. `kl`: KL(proposal ‖ base
    model), what was paid here; `kl_law`: the same of the twisted law. `removed`: mass of the base model on what no
    legal response goes on with. `wanted` and `lawful`: the likeliest tokens of the base model and of the twisted law.
    `lost`: the token whose probability falls most from the one to the other; None where none falls.
    `effects`: of each rule alone, largest `kl` first. `interaction`: log(twisted law / base model) of what was said,
    less the `on_chosen` of all rules; None where that is no number. `acted`: the rules that acted, those that forbid
    what the model most wanted first.
    """

    index: int
    token: int
    text: str
    data: str
    is_end: bool
    log_p0: float
    log_q: float
    log_law: float
    kl: float
    kl_law: float
    removed: float
    wanted: tuple[Candidate, ...]
    lawful: tuple[Candidate, ...]
    lost: Candidate | None
    effects: tuple[Effect, ...]
    interaction: float | None
    acted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One term of the policy over the whole response.

    `weight` is in nats (for a limit its multiplier); None for a hard rule. `how` it was looked at: by its own
    automaton, on the finished text only, together with others, or not at all as it is not in force for this prompt.
    `kl`: sum over positions of the divergence that it alone makes; `on_response`: log(law with this rule only / base
    model) of the response; `forbade`: positions where it forbids what the model most wanted; `acted`: positions where
    it acted. `reward`: what it pays this response, by the reference evaluator. None where a figure does not exist.
    """

    term: str
    rule: str
    title: str | None
    kind: str
    weight: float | None
    how: How
    kl: float | None
    on_response: float | None
    forbade: int | None
    acted: int | None
    reward: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the decoder found for this prompt, and the weight of this response.

    `log_z`: estimated log normaliser of the law; `ess`: effective particles; `log_weight`: log(p0 · e^R / q) of this
    response plus `log_correction`; `log_ratio`: estimated log(law / base model) of it, the reward less `log_z`.
    `passes` are those of the decoder for all prompts of its call.
    """

    log_z: float
    ess: float
    particles: int
    dead_ends: int
    forbidden: int
    biased: bool
    log_p0: float
    log_q: float
    log_reward: float
    log_correction: float
    log_weight: float
    log_ratio: float
    acceptance: Measured | None
    beta: float | None
    total_variation: Measured | None
    divergence: Measured | None
    passes: int
    unfinished: int
    scorer_calls: int
    stopped: str | None


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the conversation before the response."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class DecodeReport:
    """One response. `rules` is the digest of the program, `model_digest` SHA-256 in hexadecimal digits.

    `law`: `twist` where the decoder proposes from the twisted law, `mask` where it only removes tokens. `options` are
    those of the decoder. `rows` come with the rules that moved the distribution most first. `report_passes`: rows that
    the model evaluated to make this report and those of the same batch. `notes` say what the numbers mean.
    """

    policy: str
    policy_version: str
    rules: str
    model: str
    model_digest: str
    prompt_id: str
    prompt: tuple[Turn, ...]
    prompt_tokens: int
    response: str
    ending: Ending
    decoder: str
    law: Literal["twist", "mask"]
    seed: int
    options: tuple[tuple[str, str], ...]
    max_tokens: int
    temperature: float
    outcome: Outcome
    positions: tuple[Position, ...]
    rows: tuple[RuleRow, ...]
    report_passes: int
    remarks: tuple[str, ...]
    notes: tuple[str, ...]
    schema_version: int = SCHEMA_VERSION

    @property
    def total_kl(self) -> float:
        """Nats paid along this response: the sum of `kl` over its positions."""
        return sum(position.kl for position in self.positions)


def to_json(report: DecodeReport) -> str:
    """JSON text; a number that JSON cannot write is a text, as in the records of runs."""
    return json.dumps(writable(asdict(report)), ensure_ascii=False, indent=1, allow_nan=False)


def save(report: DecodeReport, path: str | Path) -> Path:
    """Writes the report as JSON, whole or not at all; folders are not made. Raises DecodeReportError."""
    place = Path(path)
    # half a surrogate pair cannot be written; in JSON the escape means the same
    write_whole(place, (to_json(report) + "\n").encode("utf-8", "backslashreplace"))
    return place


def write_whole(place: Path, data: bytes) -> None:
    """Writes beside the place first and moves there then. Raises DecodeReportError."""
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, place)
    except OSError as error:
        raise DecodeReportError(f"`{place}` cannot be written: {(error.strerror or str(error)).lower()}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def load(path: str | Path) -> DecodeReport:
    """Reads what `save` wrote. Raises DecodeReportError, whose text names the file and what is wrong with it."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise DecodeReportError(f"`{path}` cannot be read: {(error.strerror or str(error)).lower()}") from error
    except UnicodeDecodeError:
        raise DecodeReportError(f"`{path}` is no decode report: it is not UTF-8 text") from None
    try:
        return from_json(text)
    except RecordError as error:
        raise DecodeReportError(f"`{path}` is no decode report: {error}") from None


def from_json(text: str) -> DecodeReport:
    """Reads JSON text. Raises RecordError."""
    data = parsed(text)
    if not isinstance(data, dict) or not {"schema_version", "positions", "outcome"} <= set(data):
        raise RecordError("it has no positions of a response; `bylaw generate --report` writes such files")
    if data["schema_version"] != SCHEMA_VERSION:
        version = data["schema_version"]
        raise RecordError(f"it has schema version {version!r}, and this bylaw reads version {SCHEMA_VERSION}")
    report = read_back(DecodeReport, text, data)
    if not report.positions:
        raise RecordError("it has no positions of a response")
    return report
