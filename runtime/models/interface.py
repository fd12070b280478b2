"""What a decoder asks of a language model: a vocabulary in bytes, prompts as tokens, and batches of next-token laws.

The law of a response (nats throughout). A response is a sequence of at most `max_tokens` regular tokens. Below the cap
it ends by the one event "end of text", whose probability is the sum over `Vocabulary.eos_ids`; a response that reaches
the cap simply ends there, with no factor for the end. Special tokens other than these (beginning of text, padding,
unknown, unused ids) have no bytes and cannot occur in a response: a session gives them probability zero and normalises
over the rest. That makes p0 a law over responses that every part of the runtime shares.
"""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.stops import cut, held_back

FloatArray: TypeAlias = NDArray[np.float64]
IntArray: TypeAlias = NDArray[np.int64]

Message: TypeAlias = Mapping[str, str]
"""One turn of a conversation: the keys `role` and `content`."""

BASE_STREAM, PARTICLE_STREAM, RESAMPLING_STREAM, BESIDE_STREAM, CHAIN_STREAM = range(5)
"""Streams of random numbers, all of them, so that no two are the same."""


class ModelError(Exception):
    """A model that cannot be loaded or used as asked: root of the errors of `bylaw.runtime.models`."""


class OutOfMemory(ModelError):
    """A batch did not fit into the memory of the device. Whoever made the batch halves it and goes on."""


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of a model as bytes.

    `token_bytes[i]` is what token i adds to the response, or None where it adds no text (special or unused ids).
    `eos_ids` are the tokens that end a response. `drops_leading_space` says that the tokenizer writes one space before
    the first word that is no part of the text (sentencepiece models): it is removed from the finished response.
    `stops` are strings at which a response is over: it ends with the token that completes one, with no factor for the
    end of text, and its text is what comes before.
    """

    token_bytes: tuple[bytes | None, ...]
    eos_ids: frozenset[int]
    drops_leading_space: bool = False
    stops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(not 0 <= token < len(self.token_bytes) for token in self.eos_ids):
            raise ModelError(f"an end-of-text token lies outside the vocabulary of {len(self.token_bytes)} tokens")
        if any(piece == b"" for piece in self.token_bytes):
            raise ModelError("a regular token must have at least one byte")
        if not all(self.stops):
            raise ModelError("a stop string needs one character at least")

    def __len__(self) -> int:
        return len(self.token_bytes)

    @cached_property
    def regular(self) -> NDArray[np.bool_]:
        """[V]: True where a token adds bytes and does not end the response."""
        return np.array(
            [b is not None and i not in self.eos_ids for i, b in enumerate(self.token_bytes)], dtype=np.bool_
        )

    @cached_property
    def end_ids(self) -> IntArray:
        """The end-of-text tokens in ascending order; the first stands for the event in collapsed rows."""
        return np.array(sorted(self.eos_ids), dtype=np.int64)

    def data(self, tokens: Sequence[int]) -> bytes:
        """The concatenated bytes of regular tokens. Raises `ModelError` for a token without bytes."""
        pieces = [self.token_bytes[token] for token in tokens]
        if any(piece is None for piece in pieces):
            raise ModelError("a response holds a special token, which has no text")
        return b"".join(piece for piece in pieces if piece is not None)

    def text(self, tokens: Sequence[int], errors: Literal["strict", "replace"] = "strict") -> str:
        """The response as text. Raises `UnicodeDecodeError` for invalid UTF-8 when `errors` is `strict`."""
        return self._spoken(tokens)[0].decode("utf-8", errors)

    def beginning(self, tokens: Sequence[int]) -> str:
        """What an unfinished response certainly begins with.

        A character whose bytes are not all there is left out, and so is what may be the beginning of a stop string.
        """
        data, stopped = self._spoken(tokens)
        if not stopped:
            data = data[: len(data) - held_back(data, self._stop_bytes)]
        return codecs.getincrementaldecoder("utf-8")("replace").decode(data)

    def stopped(self, tokens: Sequence[int]) -> bool:
        """Whether the last of these tokens completes a stop string. Tokens before it must not have."""
        if not self.stops or not len(tokens):
            return False
        window = max(map(len, self._stop_bytes)) + len(self.token_bytes[tokens[-1]] or b"") - 1
        tail = b""
        for token in reversed(tokens):
            tail = (self.token_bytes[token] or b"") + tail
            if len(tail) > window:
                # before the window may stand a space that is dropped, and no stop string begins there
                return any(stop in tail[-window:] for stop in self._stop_bytes)
        return self._spoken(tokens)[1]

    @cached_property
    def _stop_bytes(self) -> tuple[bytes, ...]:
        return tuple(stop.encode() for stop in self.stops)

    def _spoken(self, tokens: Sequence[int]) -> tuple[bytes, bool]:
        """(the bytes that count as text, whether a stop string ends them)."""
        data = self.data(tokens)
        if self.drops_leading_space and data.startswith(b" "):
            data = data[1:]
        return cut(data, self._stop_bytes)


class Session(Protocol):
    """A batch of N growing token sequences with their caches, independent of each other after `select` too."""

    def log_probs(self) -> FloatArray:
        """[N, V], nats: log p0(next token | sequence), temperature applied, normalised over regular and end tokens.

        −inf for tokens that cannot occur in a response. The caller owns the array and may overwrite it.
        """
        ...

    def advance(self, tokens: IntArray) -> None:
        """Append `tokens[n]` to sequence n. Raises `ModelError` when the model's context is exceeded."""
        ...

    def select(self, indices: IntArray) -> None:
        """Make the batch `[old[i] for i in indices]`: reorder, duplicate and drop sequences."""
        ...


class LanguageModel(Protocol):
    """A model with its tokenizer and temperature: everything that fixes p0(y|x)."""

    @property
    def name(self) -> str:
        """A short name for reports."""
        ...

    @property
    def digest(self) -> str:
        """sha256 (hexadecimal) over the files that fix the law: weights, configuration and tokenizer."""
        ...

    @property
    def vocabulary(self) -> Vocabulary: ...

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """The prompt tokens of a conversation, up to the place where the response starts; at least one token."""
        ...

    def session(self, prompts: Sequence[tuple[int, ...]]) -> Session:
        """A batch with one sequence for each prompt, in order; equal prompts are evaluated once."""
        ...


def require_numbers(law: FloatArray, lengths: IntArray) -> None:
    """Raises ModelError where a row of `law` [N, V] is no law; `lengths` [N]: tokens of the response before it."""
    broken = ~np.isfinite(law.max(axis=1))
    if broken.any():
        at = int(lengths[broken][0])
        raise ModelError(
            f"the model gives no probabilities for token {at + 1} of a response (its logits are not numbers)"
        )


def collapse_end(log_probs: FloatArray, vocabulary: Vocabulary) -> None:
    """Merge all end-of-text tokens into the first, in place. `log_probs`: [N, V], nats."""
    ends = vocabulary.end_ids
    if len(ends) > 1:
        total = np.logaddexp.reduce(log_probs[:, ends], axis=1)
        log_probs[:, ends] = -np.inf
        log_probs[:, ends[0]] = total


def draw(log_weights: FloatArray, uniforms: FloatArray) -> tuple[IntArray, FloatArray]:
    """One choice per row in proportion to exp(log_weights), by inverse CDF.

    `log_weights`: [N, V], nats, not normalised, every row with one finite entry at least; overwritten. `uniforms`: [N]
    in [0, 1). Returns the chosen columns [N] and log normalisers [N] (nats).
    """
    peak = log_weights.max(axis=1, keepdims=True)
    log_weights -= peak
    cumulative = np.exp(log_weights, out=log_weights)
    np.cumsum(cumulative, axis=1, out=cumulative)
    total = cumulative[:, -1]
    # u·total can round up to total itself; one step below keeps the choice on a column with positive mass
    target = np.minimum(uniforms * total, np.nextafter(total, 0.0))
    chosen = (cumulative <= target[:, None]).sum(axis=1).astype(np.int64)
    return chosen, peak[:, 0] + np.log(total)


def row_uniforms(seed: int, stream: int, keys: Sequence[tuple[int, int]], draws: int) -> FloatArray:
    """[len(keys), draws] uniforms in [0, 1): row (prompt, sample) depends on (seed, stream, prompt, sample), nothing
    else.

    Streams keep users of one seed independent: a twist counts base samples, and would be correlated with particles that
    use the same numbers. Raises `ModelError` for a negative seed.
    """
    if seed < 0:
        raise ModelError(f"a seed must not be negative: {seed}")
    rows = [np.random.default_rng(np.random.SeedSequence((seed, stream, *key))).random(draws) for key in keys]
    return np.array(rows, dtype=np.float64).reshape(len(keys), draws)
