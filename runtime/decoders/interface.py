"""What decoders take and give: a law over responses as automata and a residual, and samples that carry their weights.

All logarithms are natural (nats). The law of one prompt is p*(y) ∝ p0(y) · exp(Σ_groups R_g(y) + residual(y)), where a
hard rule is a reward of −inf. Responses are token sequences; their law p0 is that of `bylaw.runtime.models.interface`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from bylaw.compiler.automata.counts import Valued
from bylaw.runtime.look_ahead.interface import LookAhead
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.metering import Limits, Stop
from bylaw.runtime.twist import Twist
from bylaw.spec.units import sentences

Watch = Callable[[int, str], None]
"""(task, text so far): is told how a response grows, by decoders that do not take back what they have said."""


class DecodeError(Exception):
    """A decoder was asked for something impossible or inconsistent. Root of the errors of `bylaw.runtime.decoders`."""


@dataclass(frozen=True)
class Scorer:
    """A black box that scores text, in nats: a judge, a classifier, a function of one's own. Calls may be dear.

    At the level `response` the reward is the score of the finished text; at the level `sentence` it is the sum of the
    scores of its sentences. −inf forbids.
    """

    name: str
    score: Callable[[str], float]
    level: Literal["response", "sentence"] = "response"

    def reward(self, text: str) -> float:
        """What a finished text is paid, in nats. Raises DecodeError for a score that is no number of nats."""
        if self.level == "response":
            return _number(self.score(text), f"the score of `{self.name}`")
        return sum(_number(self.score(part), f"the score of `{self.name}`") for part in sentences_of(text))


def sentences_of(text: str) -> tuple[str, ...]:
    """The sentences of a text as the language counts them."""
    return tuple(text[extent.start : extent.end] for extent in sentences.UNIT.find(text))


def _number(value: float, what: str) -> float:
    found = float(value)
    if np.isnan(found) or found == np.inf:
        raise DecodeError(f"{what} is {found}, not a number of nats")
    return found


@dataclass(frozen=True)
class PromptLaw:
    """The reward of a response to one prompt.

    `groups`: weighted automata over the finished text; the log reward is the sum of their values, and −inf breaks a
    hard rule. `residual`: log reward of what no automaton expresses, called once with the finished text (−inf forbids
    it); it changes weights only, never the proposal. `scorers`: the same, but dear. `prefix_rule`: a hard rule known
    only as a black box that tells of a beginning whether it may still become a legal text; the finished text must pass
    it too.
    """

    groups: tuple[Valued, ...]
    residual: Callable[[str], float] | None = None
    scorers: tuple[Scorer, ...] = ()
    prefix_rule: Callable[[str], bool] | None = None

    def cheap(self, text: str) -> float:
        """Nats: what a finished text is paid beyond the groups, without the scorers. Raises DecodeError."""
        if self.prefix_rule is not None and not self.prefix_rule(text):
            return -np.inf
        return 0.0 if self.residual is None else _number(self.residual(text), "the residual reward of a response")

    def dear(self, text: str) -> float:
        """Nats: what the scorers pay a finished text. Raises DecodeError."""
        return sum(scorer.reward(text) for scorer in self.scorers)

    def beyond_groups(self, text: str) -> float:
        """Nats: `cheap` and `dear` together; the scorers are not asked about a text that is forbidden anyway."""
        found = self.cheap(text)
        return found if found == -np.inf else found + self.dear(text)

    def log_reward(self, text: str) -> float:
        """Nats: the whole exponent for a finished text, by definition; −inf breaks a hard rule. Raises DecodeError."""
        total = sum((group.value(text) for group in self.groups), 0.0)
        return total if total == -np.inf else total + self.beyond_groups(text)


@dataclass(frozen=True)
class DecodeTask:
    """One prompt with its law and one twist per group, in the same order. Twists may be shared by many tasks.

    `look_ahead`: further factors of the proposal. Those that pay a reward (a grammar) must be part of `law` as well,
    through its residual.
    """

    prompt: tuple[int, ...]
    law: PromptLaw
    twists: tuple[Twist, ...]
    look_ahead: tuple[LookAhead, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """A number with its interval (95 %)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Diagnostics:
    """How a result was come by, and how far the law of its responses is from p*.

    `passes`: rows that the model evaluated for all tasks of the call together. `acceptance`: share of proposals that
    were accepted. `beta`: log of the bound of a rejection, nats. `total_variation`, `divergence` (KL(p*‖law), nats):
    estimates. `stopped`: the limit that ended the work early; then the law is that of what had been reached.
    `unfinished`: particles that a limit cut; they count with weight zero. `scorer_calls`: how often scorers were asked.
    """

    passes: int = 0
    acceptance: Estimate | None = None
    beta: float | None = None
    total_variation: Estimate | None = None
    divergence: Estimate | None = None
    stopped: Stop | None = None
    unfinished: int = 0
    scorer_calls: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegulatedSample:
    """A response that keeps every hard rule, with its importance weight.

    `tokens`: regular tokens, without the end token. `log_p0`, `log_q`: log probability under the base model and under
    the proposal, with the end event unless the cap cut the response. `log_reward`: finite, but for refused ones.
    `log_correction`: what the weight has besides, where the sample was not drawn from q alone: resampled on its way,
    chosen among tested tokens, or a state of a chain.
    """

    tokens: tuple[int, ...]
    text: str
    log_p0: float
    log_q: float
    log_reward: float
    log_correction: float = 0.0

    @property
    def log_weight(self) -> float:
        """log(p0 · e^R / q) + correction: weighted so, the samples of one result follow p*, and have the mean Z."""
        return self.log_p0 + self.log_reward - self.log_q + self.log_correction


@dataclass(frozen=True)
class DecodeResult:
    """What a decoder did for one prompt with `particles` proposals.

    `samples`: every particle of positive weight, in the order of the particles. `responses`: the draws to hand out; for
    a biased decoder these follow the proposal, otherwise the weighted law. `log_z_estimate`: log mean weight of all
    particles, dead ones counting zero; exp of it is unbiased for Z. `dead_ends`: particles with no token left that all
    groups allow. `forbidden`: finished particles refused by the residual or no text; the texts among them are
    `refused`, with a log reward of −inf: an estimate of anything under the base model must not forget them. `biased`:
    the law of `responses` is not p* in the limit of many particles. `rescued`: where a limit came before any response
    was finished, a legal text made from the best beginning without the model; its law is not p* and it has no weight.
    """

    samples: tuple[RegulatedSample, ...]
    responses: tuple[RegulatedSample, ...]
    refused: tuple[RegulatedSample, ...]
    particles: int
    dead_ends: int
    forbidden: int
    log_z_estimate: float
    ess: float
    biased: bool
    diagnostics: Diagnostics = Diagnostics()
    rescued: str | None = None

    @property
    def dead(self) -> int:
        """Particles of weight zero."""
        return self.dead_ends + self.forbidden


class Decoder(Protocol):
    """A way to sample from (an approximation of) p*."""

    @property
    def name(self) -> str: ...

    @property
    def biased(self) -> bool:
        """True when the responses do not follow p* in the limit; every report must say so."""
        ...

    def decode(
        self,
        model: LanguageModel,
        tasks: Sequence[DecodeTask],
        *,
        max_tokens: int,
        seed: int,
        limits: Limits | None = None,
        watch: Watch | None = None,
    ) -> list[DecodeResult]:
        """One result per task. Equal arguments give bit-equal results, but for deadlines in seconds.

        `limits` are for the whole call; what had been reached by then is returned. `watch` is told how responses grow
        (a decoder that cannot tell before it has decided tells once). Raises `DecodeError` if a task does not fit.
        """
        ...


def log_mean(log_weights: Sequence[float], particles: int) -> float:
    """log(Σ exp(w) / particles), −inf for no weights; nats."""
    if not log_weights:
        return -np.inf
    return float(np.logaddexp.reduce(np.asarray(log_weights, dtype=np.float64)) - np.log(particles))


def effective_size(log_weights: Sequence[float]) -> float:
    """(Σ w)² / Σ w², in particles; 0 for no weights."""
    if not log_weights:
        return 0.0
    shifted = np.asarray(log_weights, dtype=np.float64) - max(log_weights)
    weights = np.exp(shifted)
    return float(weights.sum() ** 2 / np.square(weights).sum())
