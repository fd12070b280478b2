"""What fitting weights to judgements leaves behind: plain frozen values that reports render and JSON carries.

Weights are in nats and 0 or more, as in the language; a loss is the mean over judgements, in nats (logistic) or in nats
by which a margin is missed (hinge). Rates are shares between 0 and 1, intervals 95 % unless said otherwise.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bylaw.runtime.record import InputProblem, Interval

FORMAT = 1


@dataclass(frozen=True, slots=True)
class RulesRead:
    """The policy that was weighed. `digest` is that of its program with the weights it had."""

    path: str
    digest: str
    policy: str
    version: str


@dataclass(frozen=True, slots=True)
class JudgementsRead:
    """One file of judgements: its SHA-256, and how many judgements and labelled answers were read from it."""

    path: str
    digest: str
    judgements: int
    labelled: int


@dataclass(frozen=True, slots=True)
class FitOptions:
    """What the fit was asked for. `margin` (nats) is that of judgements without one of their own; `keep` are rules
    whose weights stay, `without` rules that were left aside, the order of the classes among them. With `is_soft`, a
    rule counts as much as it is probably broken, where these `shares` of the texts express each concept."""

    loss: str
    l2: float
    at_least: float
    at_most: float | None
    margin: float
    is_monotone: bool
    keep: tuple[str, ...]
    without: tuple[str, ...]
    order: tuple[str, ...]
    group_by: str | None
    from_examples: bool
    resamples: int
    folds: int
    seed: int
    is_soft: bool = False
    shares: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class WeightInterval:
    """A two-sided 95 % interval in nats; `high` is None where the judgements set no end."""

    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class WeightRow:
    """One term: its weight now and fitted, the interval of the fitted one, how many judgements depend on it at all.

    `status` is `fitted`, `kept`, `untold` (no judgement depends on it: it stays, or is as near as limits and order
    allow), `undetermined` (judgements depend on it only together with others), `lower limit` or `upper limit`.
    """

    term: str
    rule: str
    level: str
    kind: str
    now: float
    fitted: float
    interval: WeightInterval | None
    judgements: float
    status: str
    remark: str


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of strict judgements that weights get right, as a coin would where two answers score the same."""

    rate: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class Accuracies:
    """`held_out`: of fitted weights on prompts that they were not fitted to. Beside it what takes no fitting: the
    weights of the policy `now`, the same weight for each rule (`equal_weights`), and the one rule that is right most
    often (`best_rule`, chosen on the other prompts). `undecided` is the share of judgements of which fitted weights say
    nothing: both answers score the same."""

    held_out: Accuracy
    now: Accuracy
    equal_weights: Accuracy
    best_rule: Accuracy
    undecided: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """Judgements that do not go together, or that no weights of these rules can express.

    `kind` is `contradiction` (both ways round), `cycle`, `equal` (the rules see no difference), `opposed` (the rules
    say the reverse, whatever their weights), `mixed` (answers that look the same to the rules are judged both ways, or
    in a circle) or `together` (a minimal set that no weights express). `judgements` is how many it is about.
    """

    kind: str
    places: tuple[str, ...]
    rules: tuple[str, ...]
    judgements: float


@dataclass(frozen=True, slots=True)
class Unweighed:
    """Pairs that were left out. `contradicted`: their better answer breaks a hard rule (places, rules). `decided`: only
    the worse one does, so that no weight matters. `unscored`: a term could not be told; `reasons` by term, with the
    number of pairs and one reason. `lines`: labelled answers that could not be ranked."""

    contradicted: tuple[tuple[str, tuple[str, ...]], ...]
    decided: int
    unscored: int
    reasons: tuple[tuple[str, int, str], ...]
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class WeightRecord:
    """The whole result. `gap` bounds how far the loss is from the smallest possible one; `accuracy` is None
    where it cannot be told; `why_no_accuracy` says why."""

    rules: RulesRead
    judgements: tuple[JudgementsRead, ...]
    options: FitOptions
    pairs: int
    ties: int
    prompts: int
    weight_of_judgements: float
    classes: tuple[tuple[str, int], ...]
    rows: tuple[WeightRow, ...]
    loss_before: float
    loss_after: float
    gap: float
    accuracy: Accuracies | None
    why_no_accuracy: str
    conflicts: tuple[Conflict, ...]
    unweighed: Unweighed
    problems: tuple[InputProblem, ...]
    warnings: tuple[str, ...]
    format: int = FORMAT

    @property
    def is_left_out(self) -> bool:
        """Whether a part of the input was left out that a person should look at."""
        lost = self.unweighed
        return bool(self.problems or lost.contradicted or lost.unscored or lost.lines)


def to_json(record: WeightRecord) -> str:
    """The record as JSON text."""
    return json.dumps(asdict(record), ensure_ascii=False, indent=2, allow_nan=False)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as `sha256:...`. Raises OSError."""
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
