"""Models small enough to enumerate or to solve by dynamic programming: the ground truth of the statistical tests.

Both speak the runtime's interface: ``vocabulary`` (token bytes), ``eos_id`` and ``next_log_probs(prefixes) -> [N, V]``.
A response is a tuple of content token ids without the end-of-sequence token. Sampling stops at EOS or after
``max_tokens`` content tokens; a response of exactly ``max_tokens`` tokens simply ends there, without an EOS factor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Tokens = tuple[int, ...]
FloatArray = NDArray[np.float64]


def _normalised(logits: FloatArray) -> FloatArray:
    peak = logits.max(axis=-1, keepdims=True)
    return logits - peak - np.log(np.exp(logits - peak).sum(axis=-1, keepdims=True))


@dataclass(frozen=True, eq=False)
class TabularModel:
    """(A) Next-token law from a seeded random table over (position, last two tokens).

    With five tokens and a cap of six there are 19 531 responses. ``spread`` scales the random logits; 0 is uniform.
    """

    letters: bytes = b"ab1 ."
    max_tokens: int = 6
    seed: int = 0
    spread: float = 1.0
    table: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = len(self.letters) + 1
        logits = self.spread * np.random.default_rng(self.seed).normal(size=(self.max_tokens, size, size, size))
        object.__setattr__(self, "table", _normalised(logits))

    @property
    def vocabulary(self) -> tuple[bytes, ...]:
        """Token bytes by id; the end-of-sequence token is the empty string."""
        return (*(bytes([letter]) for letter in self.letters), b"")

    @property
    def eos_id(self) -> int:
        return len(self.letters)

    def text(self, tokens: Tokens) -> bytes:
        return b"".join(self.vocabulary[token] for token in tokens)

    def next_log_probs(self, prefixes: Sequence[Tokens]) -> FloatArray:
        """[N, V] log p0(token | prefix) for N content prefixes shorter than ``max_tokens``."""
        # Before the text begins the context reads as EOS.
        start = self.eos_id
        position = [len(prefix) for prefix in prefixes]
        second = [prefix[-2] if len(prefix) > 1 else start for prefix in prefixes]
        last = [prefix[-1] if prefix else start for prefix in prefixes]
        return self.table[position, second, last].reshape(len(prefixes), len(self.vocabulary))

    def enumerate(self) -> tuple[list[Tokens], FloatArray]:
        """(every response, its log p0 [Y]); the probabilities sum to one."""
        return enumerate_model(self, self.max_tokens)

    def sample(self, count: int, rng: np.random.Generator) -> list[Tokens]:
        """``count`` independent responses."""
        return sample_model(self, self.max_tokens, count, rng)


@dataclass(frozen=True, eq=False)
class MarkovModel:
    """(B) Position-free order-2 Markov law; partition functions by dynamic programming at any ``max_tokens``."""

    letters: bytes = b"abc"
    max_tokens: int = 40
    seed: int = 0
    end_bias: float = -1.0
    table: FloatArray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        size = len(self.letters) + 1
        logits = np.random.default_rng(self.seed).normal(size=(size, size, size))
        logits[:, :, -1] += self.end_bias
        object.__setattr__(self, "table", _normalised(logits))

    @property
    def vocabulary(self) -> tuple[bytes, ...]:
        return (*(bytes([letter]) for letter in self.letters), b"")

    @property
    def eos_id(self) -> int:
        return len(self.letters)

    def text(self, tokens: Tokens) -> bytes:
        return b"".join(self.vocabulary[token] for token in tokens)

    def next_log_probs(self, prefixes: Sequence[Tokens]) -> FloatArray:
        """[N, V] log p0(token | prefix)."""
        start = self.eos_id
        second = [prefix[-2] if len(prefix) > 1 else start for prefix in prefixes]
        last = [prefix[-1] if prefix else start for prefix in prefixes]
        return self.table[second, last].reshape(len(prefixes), len(self.vocabulary))

    def enumerate(self) -> tuple[list[Tokens], FloatArray]:
        """(every response, its log p0 [Y]); only sensible for a small ``max_tokens``."""
        return enumerate_model(self, self.max_tokens)

    def sample(self, count: int, rng: np.random.Generator) -> list[Tokens]:
        return sample_model(self, self.max_tokens, count, rng)

    def log_values(self, step_reward: FloatArray) -> FloatArray:
        """[max_tokens + 1, V, V] log V(h) in nats, by tokens left and the last two tokens (LAW.md §3, BELLMAN).

        ``step_reward`` [V, V, V] is r(second, last, next) in nats, −inf to forbid; the column of EOS is the reward for
        stopping. With no token left V = 1: the cap adds no factor.
        """
        size = len(self.vocabulary)
        values = np.zeros((self.max_tokens + 1, size, size))
        content = size - 1
        for left in range(1, self.max_tokens + 1):
            terms = self.table + step_reward
            # V(hw) is indexed by (last, next): broadcast it over the second-to-last token.
            terms = terms + np.concatenate([values[left - 1][:, :content], np.zeros((size, 1))], axis=1)[None, :, :]
            peak = np.maximum(terms.max(axis=2, keepdims=True), -1e300)
            with np.errstate(divide="ignore"):  # a context from which nothing is allowed has V = 0
                values[left] = peak[:, :, 0] + np.log(np.exp(terms - peak).sum(axis=2))
        return values

    def log_partition(self, step_reward: FloatArray) -> float:
        """log Z of p0 · exp(Σ_k r(y_{k−2}, y_{k−1}, y_k)) in nats."""
        return float(self.log_values(step_reward)[self.max_tokens, self.eos_id, self.eos_id])

    def total_reward(self, tokens: Tokens, step_reward: FloatArray) -> float:
        """R(y) in nats: the sum of step rewards, the stopping reward included unless the cap ended the response."""
        padded = (self.eos_id, self.eos_id, *tokens)
        if len(tokens) < self.max_tokens:
            padded = (*padded, self.eos_id)
        return float(sum(step_reward[padded[k - 2], padded[k - 1], padded[k]] for k in range(2, len(padded))))


def enumerate_model(model: TabularModel | MarkovModel, max_tokens: int) -> tuple[list[Tokens], FloatArray]:
    """All responses of a model in order of length, and their log-probabilities [Y]."""
    responses: list[Tokens] = []
    scores: list[FloatArray] = []
    frontier: list[Tokens] = [()]
    log_p = np.zeros(1)
    for _ in range(max_tokens):
        following = model.next_log_probs(frontier)
        responses += frontier
        scores.append(log_p + following[:, model.eos_id])
        content = [token for token in range(len(model.vocabulary)) if token != model.eos_id]
        frontier = [(*prefix, token) for prefix in frontier for token in content]
        log_p = (log_p[:, None] + following[:, content]).ravel()
    return responses + frontier, np.concatenate([*scores, log_p])


def sample_model(
    model: TabularModel | MarkovModel,
    max_tokens: int,
    count: int,
    rng: np.random.Generator,
    proposal: Callable[[Sequence[Tokens]], FloatArray] | None = None,
) -> list[Tokens]:
    """``count`` responses from the model, or from another ``proposal`` with the same signature as next_log_probs."""
    following = model.next_log_probs if proposal is None else proposal
    responses: list[Tokens] = [()] * count
    active = np.arange(count)
    for _ in range(max_tokens):
        if not active.size:
            break
        cumulative = np.exp(following([responses[index] for index in active])).cumsum(axis=1)
        drawn = (rng.random((active.size, 1)) * cumulative[:, -1:] >= cumulative).sum(axis=1)
        active, drawn = active[drawn != model.eos_id], drawn[drawn != model.eos_id]
        for index, token in zip(active, drawn, strict=True):
            responses[index] = (*responses[index], int(token))
    return responses
