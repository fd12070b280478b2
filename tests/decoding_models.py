"""A tabular model with a small policy, all of it enumerated, and the Monte-Carlo floor that laws are compared with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, indicator, linear, scale, support
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.decoders.interface import DecodeTask, PromptLaw
from bylaw.runtime.decoders.sir import proposal_log_prob
from bylaw.runtime.models import BaseSample, Vocabulary, sample_base
from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel, OutOfMemory
from bylaw.runtime.twist import Twist, build_twist
from bylaw.spec.pattern import parse_pattern
from tinymodels import TabularModel, Tokens

CAP = 6
REPLICATES = 199


class TinySession:
    """Prefixes in plain lists: the reference that caches are compared with. Prompts are one token, which is ignored."""

    def __init__(self, tiny: Tiny, prompts: Sequence[Tokens]) -> None:
        self.tiny = tiny
        self.prefixes: list[Tokens] = [tuple(prompt[1:]) for prompt in prompts]
        self._fit(self.prefixes)

    def _fit(self, prefixes: list[Tokens]) -> None:
        if self.tiny.room is not None and len(prefixes) > self.tiny.room:
            raise OutOfMemory(f"{len(prefixes)} rows do not fit")
        self.prefixes = prefixes

    def log_probs(self) -> FloatArray:
        law = self.tiny.model.next_log_probs(self.prefixes).copy()
        if self.tiny.broken_after is not None and len(self.prefixes[0]) >= self.tiny.broken_after:
            law[:] = np.nan
        return law

    def advance(self, tokens: IntArray) -> None:
        self._fit([(*prefix, int(token)) for prefix, token in zip(self.prefixes, tokens, strict=True)])

    def select(self, indices: IntArray) -> None:
        self._fit([self.prefixes[i] for i in indices])


@dataclass(frozen=True)
class Tiny:
    """A tabular model as a `LanguageModel`; the spelling of its tokens can be replaced.

    With `room` larger batches do not fit into memory; `broken_after` so many tokens its laws are not numbers.
    """

    model: TabularModel
    spelling: tuple[bytes, ...] = (b"a", b"b", b"1", b" ", b".")
    room: int | None = None
    broken_after: int | None = None

    name = "tiny"
    digest = "tiny"

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary((*self.spelling, None), frozenset({self.model.eos_id}))

    def encode_chat(self, messages: object) -> tuple[int, ...]:
        return (self.model.eos_id,)

    def session(self, prompts: Sequence[tuple[int, ...]]) -> TinySession:
        return TinySession(self, prompts)


def hard(pattern: str, *, absent: bool = False) -> Valued:
    found = language(parse_pattern(pattern), "search")
    return support(found.complement() if absent else found)


def counting(pattern: str, weight: float) -> Valued:
    machine = occurrences(parse_pattern(pattern))
    assert machine is not None
    return scale(linear(machine), weight)


def policy() -> tuple[Valued, ...]:
    """Must-not `ab`, must-contain `1`, must-end `.`, minus 0.7 nats for each space, plus 0.9 nats for `bb` anywhere."""
    ending = support(language(parse_pattern(r"\."), "suffix"))
    soft = add([counting(" ", -0.7), scale(indicator(language(parse_pattern("bb"), "search")), 0.9)])
    return add([hard("ab", absent=True), ending]), hard("1"), soft


def reward(text: str) -> float:
    """The same policy by hand."""
    if "ab" in text or "1" not in text or not text.endswith("."):
        return -math.inf
    return -0.7 * text.count(" ") + 0.9 * ("bb" in text)


def twists_for(
    model: LanguageModel, groups: Sequence[Valued], cap: int, samples: list[BaseSample]
) -> tuple[Twist, ...]:
    vocabulary = model.vocabulary
    automata = [TokenAutomaton(group, vocabulary.token_bytes, vocabulary.drops_leading_space) for group in groups]
    return tuple(build_twist(automaton, vocabulary, samples, cap) for automaton in automata)


@dataclass(frozen=True)
class Exact:
    """The tiny model with its policy, everything enumerated."""

    tiny: Tiny
    law: PromptLaw
    twists: tuple[Twist, ...]
    responses: list[Tokens]
    log_p0: FloatArray
    log_reward: FloatArray

    @cached_property
    def log_z(self) -> float:
        return float(np.logaddexp.reduce(self.log_p0 + self.log_reward))

    @cached_property
    def target(self) -> FloatArray:
        return np.exp(self.log_p0 + self.log_reward - self.log_z)

    @property
    def task(self) -> DecodeTask:
        return DecodeTask(self.tiny.encode_chat(()), self.law, self.twists)

    def log_q(self, *, masked: bool = False) -> FloatArray:
        """[Y] the proposal's exact law, by teacher forcing every response."""
        prompts = [self.task.prompt] * len(self.responses)
        return proposal_log_prob(
            self.tiny, prompts, self.responses, self.law, self.twists, CAP, batch_size=20_000, masked=masked
        )


def enumerated() -> Exact:
    """The tiny model under `policy`, with a twist counted on 300 samples for each of its three groups."""
    tiny = Tiny(TabularModel(seed=3))
    responses, log_p0 = tiny.model.enumerate()
    log_reward = np.array([reward(tiny.vocabulary.text(tokens)) for tokens in responses])
    samples = sample_base(tiny, [(5,)], 300, CAP, seed=11)[0]
    groups = policy()
    return Exact(tiny, PromptLaw(groups), twists_for(tiny, groups, CAP, samples), responses, log_p0, log_reward)


def weighted_tv(exact: Exact, counts: FloatArray, log_weight: FloatArray) -> FloatArray:
    """TV between the self-normalised weighted empirical law and p*, for counts [..., Y] of the responses."""
    weights = counts * np.where(np.isfinite(log_weight), np.exp(log_weight), 0.0)
    return np.asarray(0.5 * np.abs(weights / weights.sum(axis=-1, keepdims=True) - exact.target).sum(axis=-1))


def floor(exact: Exact, log_q: FloatArray, log_weight: FloatArray, draws: int) -> float:
    """The largest weighted TV of 199 replicates of `draws` exact draws from q; mass that q lacks is a dead particle."""
    q = np.exp(log_q)
    law = np.append(q, max(0.0, 1 - q.sum()))
    drawn = np.random.default_rng(1).multinomial(draws, law / law.sum(), size=REPLICATES)
    counts = drawn[:, :-1].astype(float)
    return float(weighted_tv(exact, counts, log_weight).max())


def log_weights(exact: Exact, log_q: FloatArray) -> FloatArray:
    possible = np.isfinite(log_q)
    return np.where(possible, exact.log_p0 + exact.log_reward - np.where(possible, log_q, 0.0), -np.inf)


def counts_of(exact: Exact, tokens: Sequence[Tokens]) -> FloatArray:
    index = {response: i for i, response in enumerate(exact.responses)}
    return np.bincount([index[t] for t in tokens], minlength=len(index)).astype(float)


def stopping(
    vocabulary: Vocabulary, responses: Sequence[Tokens], log_p0: FloatArray
) -> tuple[list[Tokens], FloatArray]:
    """The responses that are left when each is over with the token that completes a stop string, and their log p0."""
    masses: dict[Tokens, list[float]] = {}
    for response, log_mass in zip(responses, log_p0, strict=True):
        ends = (end for end in range(1, len(response)) if vocabulary.stopped(response[:end]))
        masses.setdefault(response[: next(ends, len(response))], []).append(float(log_mass))
    return list(masses), np.array([np.logaddexp.reduce(each) for each in masses.values()])
