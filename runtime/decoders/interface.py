"""What decoders take and give: a law over responses as automata and a residual, and samples that carry their weights.

All logarithms are natural (nats). The law of one prompt is p*(y) ∝ p0(y) · exp(Σ_groups R_g(y) + residual(y)), where a
hard rule is a reward of −inf. Responses are token sequences; their law p0 is that of `bylaw.runtime.models.interface`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bylaw.compiler.automata.counts import Valued
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.twist import Twist


class DecodeError(Exception):
    """A decoder was asked for something impossible or inconsistent. Root of the errors of `bylaw.runtime.decoders`."""


@dataclass(frozen=True)
class PromptLaw:
    """The reward of a response to one prompt.

    `groups`: weighted automata over the finished text; the log reward is the sum of their values, and −inf breaks a
    hard rule. `residual`: log reward of what no automaton expresses, called once with the finished text (−inf forbids
    it); it changes weights only, never the proposal.
    """

    groups: tuple[Valued, ...]
    residual: Callable[[str], float] | None = None


@dataclass(frozen=True)
class DecodeTask:
    """One prompt with its law and one twist per group, in the same order. Twists may be shared by many tasks."""

    prompt: tuple[int, ...]
    law: PromptLaw
    twists: tuple[Twist, ...]


@dataclass(frozen=True)
class RegulatedSample:
    """A response that keeps every hard rule, with its importance weight.

    `tokens`: regular tokens, without the end token. `log_p0`, `log_q`: log probability under the base model and under
    the proposal, with the end event unless the cap cut the response. `log_reward`: finite, but for refused ones.
    """

    tokens: tuple[int, ...]
    text: str
    log_p0: float
    log_q: float
    log_reward: float

    @property
    def log_weight(self) -> float:
        """log(p0 · e^R / q): the weight that turns the proposal into the unnormalised p*."""
        return self.log_p0 + self.log_reward - self.log_q


@dataclass(frozen=True)
class DecodeResult:
    """What a decoder did for one prompt with `particles` proposals.

    `samples`: every particle of positive weight, in the order of the particles. `responses`: the draws to hand out; for
    a biased decoder these follow the proposal, otherwise the weighted law. `log_z_estimate`: log mean weight of all
    particles, dead ones counting zero; exp of it is unbiased for Z. `dead_ends`: particles with no token left that all
    groups allow. `forbidden`: finished particles refused by the residual or no text; the texts among them are
    `refused`, with a log reward of −inf: an estimate of anything under the base model must not forget them. `biased`:
    the law of `responses` is not p* in the limit of many particles.
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
        self, model: LanguageModel, tasks: Sequence[DecodeTask], *, max_tokens: int, seed: int
    ) -> list[DecodeResult]:
        """One result per task. Equal arguments give bit-equal results. Raises `DecodeError` if a task does not fit."""
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
