"""Ancestral sampling from the base model: the samples that twists count, calibrations weigh and audits compare with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.runtime.models.interface import (
    BASE_STREAM,
    BESIDE_STREAM,
    FloatArray,
    IntArray,
    LanguageModel,
    ModelError,
    collapse_end,
    require_numbers,
    row_uniforms,
)

BESIDE = 16
"""Draws from each next-token law besides the one that the response goes on with."""


@dataclass(frozen=True)
class BaseSample:
    """One draw from p0(·|x).

    `tokens`: regular tokens, without the end token. `text`: their text, invalid UTF-8 replaced by U+FFFD. `log_p0` in
    nats, with the factor of the end event when `ended`. `ended`: False where the cap or a stop string ended the
    response. `is_text`: whether the bytes are well-formed UTF-8, as every regulated response is. `beside`: further
    draws from the same next-token laws, `BESIDE` for each place where a token or the end was drawn, as little-endian
    int32, −1 for the end; what is counted on them too varies less, and costs no evaluation of the model.
    """

    tokens: tuple[int, ...]
    text: str
    log_p0: float
    ended: bool
    is_text: bool = True
    beside: bytes = b""


def sample_base(
    model: LanguageModel,
    prompts: Sequence[tuple[int, ...]],
    samples_per_prompt: int,
    max_tokens: int,
    *,
    seed: int,
    batch_size: int = 64,
    progress: Callable[[int, int], None] | None = None,
) -> list[list[BaseSample]]:
    """`samples_per_prompt` i.i.d. responses to each prompt, at most `max_tokens` tokens each.

    Random numbers belong to (seed, prompt index, sample index), so results do not depend on `batch_size` beyond
    rounding in the model's arithmetic. `progress(done, total)` is called after each batch, in responses. Raises
    `ModelError` for counts below one, and for a model that gives no probabilities.
    """
    if samples_per_prompt < 1 or max_tokens < 1 or batch_size < 1:
        raise ModelError("sampling needs at least one sample, one token and one row in a batch")
    keys = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(samples_per_prompt)]
    drawn: list[BaseSample] = []
    for first in range(0, len(keys), batch_size):
        part = keys[first : first + batch_size]
        drawn.extend(sample_rows(model, prompts, part, max_tokens, seed))
        if progress is not None:
            progress(len(drawn), len(keys))
    return [drawn[i * samples_per_prompt : (i + 1) * samples_per_prompt] for i in range(len(prompts))]


def sample_rows(
    model: LanguageModel, prompts: Sequence[tuple[int, ...]], keys: Sequence[tuple[int, int]], cap: int, seed: int
) -> list[BaseSample]:
    """Responses for the rows `keys` (prompt index, sample index), at most `cap` tokens each.

    The rows share one session, which finished ones leave. `sample_base` is this over batches of all rows.
    """
    vocabulary = model.vocabulary
    uniforms = row_uniforms(seed, BASE_STREAM, keys, cap)
    more = row_uniforms(seed, BESIDE_STREAM, keys, cap * BESIDE).reshape(len(keys), cap, BESIDE)
    beside = np.zeros((len(keys), cap, BESIDE), dtype="<i4")
    places = np.full(len(keys), cap, dtype=np.int64)
    session = model.session([prompts[prompt] for prompt, _ in keys])
    tokens = np.zeros((len(keys), cap), dtype=np.int64)
    lengths = np.full(len(keys), cap, dtype=np.int64)
    by_itself = np.zeros(len(keys), dtype=np.bool_)
    log_p0 = np.zeros(len(keys))
    rows: IntArray = np.arange(len(keys))
    end = vocabulary.end_ids[:1]
    for step in range(cap):
        law = session.log_probs()
        require_numbers(law, np.full(len(rows), step))
        collapse_end(law, vocabulary)
        chosen, others = _draw(law, uniforms[rows, step], more[rows, step])
        beside[rows, step] = np.where(np.isin(others, end), -1, others)
        log_p0[rows] += law[np.arange(len(rows)), chosen]
        ended = np.isin(chosen, end)
        lengths[rows[ended]] = step
        places[rows[ended]] = step + 1
        tokens[rows, step] = chosen
        stopped = np.zeros(len(rows), dtype=np.bool_)
        if vocabulary.stops:
            going = np.flatnonzero(~ended)
            stopped[going] = [vocabulary.stopped(tokens[rows[at], : step + 1].tolist()) for at in going]
        lengths[rows[stopped]] = places[rows[stopped]] = step + 1
        by_itself[rows[ended]] = True
        alive = np.flatnonzero(~ended & ~stopped)
        rows, chosen = rows[alive], chosen[alive]
        if step + 1 == cap or len(rows) == 0:
            break
        if len(alive) < len(ended):
            session.select(alive)
        session.advance(chosen)
    return [
        _finish(model, tokens[i, : lengths[i]], float(log_p0[i]), bool(by_itself[i]), beside[i, : places[i]].tobytes())
        for i in range(len(keys))
    ]


def _draw(law: FloatArray, uniforms: FloatArray, more: FloatArray) -> tuple[IntArray, IntArray]:
    """(a choice [n], further ones [n, m]) from each row of `law` [n, V], by inverse CDF of `uniforms` and `more`."""
    chosen = np.empty(len(law), dtype=np.int64)
    beside = np.empty(more.shape, dtype=np.int64)
    cumulative = np.cumsum(np.exp(law - law.max(axis=1, keepdims=True)), axis=1)
    for row, running in enumerate(cumulative):
        # u·total can round up to total itself; one step below keeps the choice on a column with positive mass
        below = np.nextafter(running[-1], 0.0)
        chosen[row] = np.searchsorted(running, min(uniforms[row] * running[-1], below), side="right")
        beside[row] = np.searchsorted(running, np.minimum(more[row] * running[-1], below), side="right")
    return chosen, beside


def _finish(model: LanguageModel, tokens: IntArray, log_p0: float, ended: bool, beside: bytes) -> BaseSample:
    ids = tuple(int(token) for token in tokens)
    try:
        return BaseSample(ids, model.vocabulary.text(ids), log_p0, ended, beside=beside)
    except UnicodeDecodeError:
        return BaseSample(ids, model.vocabulary.text(ids, errors="replace"), log_p0, ended, False, beside)
