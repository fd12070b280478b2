"""What can be chosen about a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bylaw.runtime.training.errors import TrainingError

if TYPE_CHECKING:
    from bylaw.runtime.objectives.catalog import Objective

RowSource: TypeAlias = Literal["law", "policy", "data"]
"""Who writes the rows: the regulated decoder on the base model, the policy that is trained, or a file."""

RUN_FIELDS = frozenset({"checkpoint_every", "keep_checkpoints", "micro_rows"})
"""Settings that do not change what a run is: it may be gone on with under others."""


@dataclass(frozen=True, slots=True)
class Optimiser:
    """AdamW. `rate` is the peak learning rate; it rises over `warm_up` steps and then follows `schedule` to zero.

    `clip`: largest norm of the gradient of a step. Matrices decay by `weight_decay`, norms and biases do not.
    """

    rate: float = 1e-4
    warm_up: int = 10
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    weight_decay: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.99
    epsilon: float = 1e-8
    clip: float | None = 1.0

    def __post_init__(self) -> None:
        _positive(learning_rate=self.rate, epsilon=self.epsilon)
        _at_least(0, warm_up=self.warm_up, weight_decay=self.weight_decay)
        if self.schedule not in ("constant", "linear", "cosine"):
            raise TrainingError(f"there is no schedule `{self.schedule}`; there are constant, linear and cosine")
        if not (0 <= self.beta1 < 1 and 0 <= self.beta2 < 1):
            raise TrainingError("the betas of the optimiser must lie from 0 up to, but not at, 1")
        if self.clip is not None:
            _positive(clip=self.clip)

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of step `step` (from 0) of `steps`."""
        if step < self.warm_up:
            return self.rate * (step + 1) / (self.warm_up + 1)
        left = max(0.0, 1.0 - (step - self.warm_up) / max(1, steps - self.warm_up))
        if self.schedule == "constant":
            return self.rate
        if self.schedule == "linear":
            return self.rate * left
        return self.rate * 0.5 * (1.0 - math.cos(math.pi * left))


@dataclass(frozen=True, slots=True)
class Evaluation:
    """How a run is measured, on samples that it does not learn from.

    `prompts`: so many prompts at most (evenly spread), with `samples` of the policy for each; the law is known from
    `law_samples` particles of the regulated decoder for each. `every`: rounds between two evaluations (0: only before
    the first round and after the last).
    """

    prompts: int = 16
    samples: int = 16
    law_samples: int = 32
    every: int = 1

    def __post_init__(self) -> None:
        _at_least(1, eval_prompts=self.prompts)
        _at_least(2, eval_samples=self.samples, law_samples=self.law_samples)
        _at_least(0, eval_every=self.every)


@dataclass(frozen=True, slots=True)
class Bounds:
    """When a run ends early, and what its guard calls suspicious.

    `kl`: most nats of KL(π‖p0) per response. `distance`: the run has arrived where KL(p*‖π) is at most so many nats.
    `length`, `distinct`: least share of the law's mean length and distinct bigrams. `empty`: most share of empty
    answers beyond the law's.
    """

    kl: float | None = None
    distance: float | None = None
    length: float = 0.5
    distinct: float = 0.5
    empty: float = 0.05

    def __post_init__(self) -> None:
        for name, value in (("max_kl", self.kl), ("distance", self.distance)):
            if value is not None:
                _positive(**{name: value})
        _at_least(0, length=self.length, distinct=self.distinct, empty=self.empty)


@dataclass(frozen=True, slots=True)
class Lora:
    """Low-rank adapters on all linear layers but the output: `rank`, and `alpha` (their scale is alpha / rank)."""

    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self) -> None:
        _at_least(1, lora_rank=self.rank)
        _positive(lora_alpha=self.alpha)


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """One training run. Lengths are in tokens; counts of samples are for each prompt and round.

    `rows` None: as the objective says. A round writes (or reads) rows for `prompts_per_round` prompts (None: all) and
    goes over them `epochs` times, `prompts_per_step` prompts with all their rows to a step of the optimiser;
    `micro_rows` rows go through the network at once, which changes memory and rounding only. Rows of the law are drawn
    again every `redraw` rounds (they never go stale). `precision`: bf16 is for the passes of the network; weights and
    losses stay in 32 bits. `pairs`, `labels`: how preference objectives pair sampled rows. `ascent`: step of the dual
    ascent on limits, None: multipliers stay. `temperature` is that of the model and part of the law.
    """

    objective: str = "distill"
    options: tuple[tuple[str, str], ...] = ()
    rows: RowSource | None = None
    rounds: int = 4
    samples: int = 16
    epochs: int = 1
    redraw: int = 1
    prompts_per_round: int | None = None
    prompts_per_step: int = 8
    micro_rows: int = 32
    max_tokens: int = 160
    temperature: float = 1.0
    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    pairs: Literal["all", "extremes"] = "all"
    labels: Literal["law", "certain"] = "law"
    ascent: float | None = None
    lora: Lora | None = None
    optimiser: Optimiser = field(default_factory=Optimiser)
    evaluation: Evaluation = field(default_factory=Evaluation)
    bounds: Bounds = field(default_factory=Bounds)
    checkpoint_every: int = 50
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        _at_least(1, rounds=self.rounds, samples=self.samples, epochs=self.epochs, redraw=self.redraw)
        _at_least(1, prompts_per_step=self.prompts_per_step, micro_rows=self.micro_rows, max_tokens=self.max_tokens)
        _at_least(1, checkpoint_every=self.checkpoint_every, keep_checkpoints=self.keep_checkpoints)
        _at_least(0, seed=self.seed)
        _positive(temperature=self.temperature)
        if self.prompts_per_round is not None:
            _at_least(1, prompts_per_round=self.prompts_per_round)
        if self.precision not in ("fp32", "bf16"):
            raise TrainingError(f"there is no precision `{self.precision}`; there are fp32 and bf16")
        if self.rows not in (None, "law", "policy", "data"):
            raise TrainingError(f"rows cannot come from `{self.rows}`; they come from law, policy or data")
        if self.ascent is not None:
            _positive(ascent=self.ascent)

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        found = asdict(self)
        found["options"] = dict(self.options)
        return found

    def identity(self) -> dict[str, Any]:
        """What a run has to agree on to be gone on with."""
        return {name: value for name, value in self.as_json().items() if name not in RUN_FIELDS}


_GIVEN = frozenset(
    {
        "log_probs", "mask", "weight", "prompt", "reference", "behaviour", "log_weight", "reward", "rule_rewards",
        "rule_weights", "pairs", "preference", "margin", "desirable", "log_z",
    }
)  # fmt: skip
"""Fields of a batch that the loop can fill."""
_PER_SOURCE: Mapping[str, frozenset[str]] = {
    "law": frozenset({"behaviour", "desirable"}),
    "policy": frozenset({"desirable"}),
    "data": frozenset({"behaviour", "log_weight", "log_z"}),
}
"""What rows of a source do not have."""


def objective_of(settings: TrainSettings) -> tuple[Objective, RowSource]:
    """The objective with its options, and where its rows come from.

    Raises ObjectiveError for a name or option that there is not, and TrainingError for an objective that this loop does
    not train, or that cannot learn from such rows.
    """
    from bylaw.runtime.objectives import catalog

    found = catalog.build(settings.objective, dict(settings.options))
    lacking = [need for need in found.needs if not _GIVEN & set(need.split("|"))]
    if lacking:
        raise TrainingError(
            f"`{settings.objective}` is not yet trained by the loop: it needs `{lacking[0]}`, which is not made here"
        )
    source = settings.rows or _usual(found)
    missing = [need for need in found.needs if not (_GIVEN - _PER_SOURCE[source]) & set(need.split("|"))]
    if missing:
        raise TrainingError(
            f"`{settings.objective}` cannot learn from rows of the {source}: these have no `{missing[0]}`"
        )
    if found.rows == "policy" and source != "policy":
        raise TrainingError(
            f"`{settings.objective}` learns from what the policy itself writes; leave out --rows {source}"
        )
    return found, source


def _usual(objective: Objective) -> RowSource:
    """What an objective learns from where nothing is said."""
    if objective.rows == "any" or objective.rows == "law":
        return "law"
    if objective.rows == "policy":
        return "policy"
    if "pairs" in objective.needs:
        return "policy"  # pairs are made of samples and their rewards
    return "data" if "desirable" in objective.needs else "law"


def _positive(**values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise TrainingError(f"`{name}` is {value:g}; it must be above 0")


def _at_least(least: float, **values: float) -> None:
    for name, value in values.items():
        if not (math.isfinite(value) and value >= least):
            raise TrainingError(f"`{name}` is {value:g}; it must be {least:g} or more")
