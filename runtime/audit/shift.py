"""Where two models differ, token by token, and how much of a difference in behaviour a few tokens carry.

At each place of answers of the first model: the Jensen-Shannon divergence of the two next-token laws (nats, 0 to log
2). Cross-sampling writes with the first model and takes the second one's law wherever the divergence is above a
threshold; it runs over a whole curve of thresholds, because one of them alone can be picked to show anything. Source:
Sparse but Critical, arXiv:2603.22446.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.audit.clustered import ClusteredEstimate
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.models.interface import (
    BASE_STREAM,
    FloatArray,
    IntArray,
    LanguageModel,
    collapse_end,
    draw,
    require_numbers,
    row_uniforms,
)
from bylaw.runtime.models.sampling import BaseSample

MOST = math.log(2.0)
THRESHOLDS = (0.01, 0.03, 0.1, 0.2, 0.3, 0.5)
"""Nats."""
TOP = 10
"""The likeliest tokens of the first model, in which the second one's mass is measured."""
_SHOWN = 60

Answer = tuple[tuple[int, ...], bool]
"""Regular tokens, and whether the end of text follows."""


# ------------------------------------------------------------------------------------------------------ pure functions
def jensen_shannon(first: FloatArray, second: FloatArray) -> FloatArray:
    """[N] nats between the laws in the rows of two arrays of log-probabilities [N, V]; exactly 0 for equal rows.

    Raises ValueError for shapes that differ.
    """
    if first.shape != second.shape or first.ndim != 2:
        raise ValueError("two arrays of laws [N, V] need one shape")
    with np.errstate(invalid="ignore"):
        middle = np.logaddexp(first, second) - MOST
        terms = [np.where(np.isneginf(each), 0.0, np.exp(each) * (each - middle)) for each in (first, second)]
    found = 0.5 * (terms[0] + terms[1]).sum(axis=1)
    found[(first == second).all(axis=1)] = 0.0
    return np.asarray(np.clip(found, 0.0, MOST))


def mixed(first: FloatArray, second: FloatArray, threshold: float) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(the rows [N, V] of cross-sampling, where [N] they are the second's): those that differ by more than the
    threshold in nats. Below 0 all are the second's, from log 2 on none."""
    taken = jensen_shannon(first, second) > threshold
    return np.where(taken[:, None], second, first), taken


def entropy(law: FloatArray) -> FloatArray:
    """[N] nats of the laws in the rows of log-probabilities [N, V]."""
    return np.asarray(-np.where(np.isneginf(law), 0.0, np.exp(law) * np.where(np.isneginf(law), 0.0, law)).sum(axis=1))


def concentration(values: FloatArray, share: float) -> float:
    """How much of the total of `values` [N] ≥ 0 lies in the largest `share` of them (a fraction of one counts in
    part); `share` where all are alike, so that is its baseline. 0 for a total of 0."""
    if not 0 < share <= 1 or not values.size or values.min() < 0:
        raise ValueError("concentration needs values from 0 on, and a share above 0 and at most 1")
    ordered = np.sort(values)[::-1]
    total, count = float(ordered.sum()), share * len(ordered)
    whole = min(int(count), len(ordered))
    part = float(ordered[:whole].sum()) + (float(ordered[whole]) * (count - whole) if whole < len(ordered) else 0.0)
    return part / total if total > 0 else 0.0


# ------------------------------------------------------------------------------------------------------------- models
def require_same_tokens(first: LanguageModel, second: LanguageModel) -> None:
    """Raises ComparisonError where the laws of two models are not about the same tokens."""
    one, two = first.vocabulary, second.vocabulary
    if any(getattr(one, name) != getattr(two, name) for name in ("token_bytes", "eos_ids", "drops_leading_space")):
        raise ComparisonError(
            f"`{first.name}` and `{second.name}` have different tokens ({len(one)} and {len(two)}), so their "
            "next-token laws cannot be compared; use two checkpoints with one tokenizer, or "
            "compare their answers with `bylaw compare drift`"
        )


def token_laws(
    model: LanguageModel, prompts: Sequence[tuple[int, ...]], answer: Sequence[int], *, ended: bool
) -> Iterator[tuple[FloatArray, int]]:
    """(log-probabilities [N, V] after each prompt, the token that comes next) for each token of `answer`, and for the
    end of text where `ended`. Raises ModelError as the model does."""
    session = model.session(prompts)
    end = int(model.vocabulary.end_ids[0])
    following = [*answer, *([end] if ended else [])]
    for place, token in enumerate(following):
        law = session.log_probs()
        require_numbers(law, np.full(len(law), place))
        collapse_end(law, model.vocabulary)
        yield law, token
        if place + 1 < len(following):
            session.advance(np.full(len(prompts), token, dtype=np.int64))


@dataclass(frozen=True, slots=True)
class Place:
    """One place of an answer. `row`: of the answer, `at`: tokens before it. Entropies and divergence in nats; `mass`:
    what the second model gives to the first one's `TOP` likeliest tokens; the likeliest tokens with probabilities."""

    row: int
    at: int
    divergence: float
    first_entropy: float
    second_entropy: float
    mass: float
    first_top: int
    first_top_share: float
    second_top: int
    second_top_share: float


def places(
    first: LanguageModel,
    second: LanguageModel,
    prompts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    answers: Sequence[Answer],
    *,
    batch_size: int = 16,
    progress: Callable[[int, int], None] | None = None,
) -> list[Place]:
    """Both models at every place of `answers` [N], each after its prompt as the first and as the second model reads
    it [N]. `progress(done, N)` after each batch. Raises ComparisonError for models with different tokens."""
    require_same_tokens(first, second)
    found: list[Place] = []
    for begin in range(0, len(answers), batch_size):
        rows = np.arange(begin, min(begin + batch_size, len(answers)))
        found += _batch(first, second, prompts, answers, rows)
        if progress is not None:
            progress(int(rows[-1]) + 1, len(answers))
    return sorted(found, key=lambda each: (each.row, each.at))


def _batch(
    first: LanguageModel,
    second: LanguageModel,
    prompts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    answers: Sequence[Answer],
    rows: IntArray,
) -> list[Place]:
    # an answer without tokens that did not end has no place at all
    rows = rows[[bool(answers[row][0]) or answers[row][1] for row in rows]]
    found: list[Place] = []
    if not len(rows):
        return found
    sessions = [model.session([prompts[row][side] for row in rows]) for side, model in enumerate((first, second))]
    step = 0
    while True:
        laws = [session.log_probs() for session in sessions]
        for law in laws:
            require_numbers(law, np.full(len(rows), step))
            collapse_end(law, first.vocabulary)
        found += _places(laws[0], laws[1], rows, step)
        lengths = np.array([len(answers[row][0]) + answers[row][1] for row in rows])
        alive = np.flatnonzero(lengths > step + 1)
        if not len(alive):
            return found
        if len(alive) < len(rows):
            rows = rows[alive]
            for session in sessions:
                session.select(alive)
        chosen = np.array([answers[row][0][step] for row in rows], dtype=np.int64)
        for session in sessions:
            session.advance(chosen)
        step += 1


def _places(one: FloatArray, two: FloatArray, rows: IntArray, step: int) -> list[Place]:
    divergence, entropies = jensen_shannon(one, two), (entropy(one), entropy(two))
    count = min(TOP, one.shape[1])
    likeliest = np.argpartition(-one, count - 1, axis=1)[:, :count]
    mass = np.exp(np.take_along_axis(two, likeliest, axis=1)).sum(axis=1)
    tops = one.argmax(axis=1), two.argmax(axis=1)
    return [
        Place(
            int(row), step, float(divergence[at]), float(entropies[0][at]), float(entropies[1][at]),
            min(1.0, float(mass[at])), int(tops[0][at]), float(np.exp(one[at, tops[0][at]])),
            int(tops[1][at]), float(np.exp(two[at, tops[1][at]])),
        )
        for at, row in enumerate(rows)
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shift:
    """A summary over places. Means and shares are clustered by prompt.

    `above`: (threshold, share of places above it). `profile`: (first place, last place, mean divergence) by place in
    the answer. `carried`: (share of the places, share of all divergence in the largest of them; even: the same).
    `is_top_changed`: the share of places where the likeliest token differs. `strongest`: the places of the largest
    divergence.
    """

    divergence: ClusteredEstimate
    above: tuple[tuple[float, ClusteredEstimate], ...]
    profile: tuple[tuple[int, int, ClusteredEstimate], ...]
    carried: tuple[tuple[float, float], ...]
    is_top_changed: ClusteredEstimate
    mass: ClusteredEstimate
    first_entropy: float
    second_entropy: float
    strongest: tuple[Place, ...]
    places: int
    answers: int


def summary(
    found: Sequence[Place],
    owners: Sequence[int],
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    shown: int = 10,
    confidence: float = CONFIDENCE,
) -> Shift:
    """Of `places`, where answer `row` belongs to prompt `owners[row]`. Raises ComparisonError for fewer than two
    prompts with places."""
    prompts = [owners[each.row] for each in found]
    if len(set(prompts)) < 2:
        raise ComparisonError("where two models differ needs answers to two prompts at least")
    values = [min(each.divergence, MOST) for each in found]
    above = tuple(
        (float(limit), clustered.rate([float(value > limit) for value in values], prompts, confidence))
        for limit in thresholds
    )
    profile = []
    first, last = 0, 0
    while first <= max(each.at for each in found):
        inside = [at for at, each in enumerate(found) if first <= each.at <= last]
        if len({prompts[at] for at in inside}) > 1:
            part = clustered.mean(
                [values[at] for at in inside], [prompts[at] for at in inside], confidence, (0.0, MOST)
            )
            profile.append((first, last, part))
        first, last = last + 1, 2 * last + 1 if last else 1
    changed = clustered.rate([float(each.first_top != each.second_top) for each in found], prompts, confidence)
    array = np.array(values)
    strongest = sorted(found, key=lambda each: (-each.divergence, each.row, each.at))[:shown]
    return Shift(
        clustered.mean(values, prompts, confidence, (0.0, MOST)),
        above,
        tuple(profile),
        tuple((share, concentration(array, share)) for share in (0.01, 0.05, 0.1, 0.2)),
        changed,
        clustered.mean([each.mass for each in found], prompts, confidence, (0.0, 1.0)),
        math.fsum(each.first_entropy for each in found) / len(found),
        math.fsum(each.second_entropy for each in found) / len(found),
        tuple(each for each in strongest if each.divergence > 0),
        len(found),
        len({each.row for each in found}),
    )


# ----------------------------------------------------------------------------------------------------- cross-sampling
@dataclass(frozen=True, slots=True)
class CrossSample:
    """One answer. `replaced`: at how many of its `places` the second model's law was used."""

    tokens: tuple[int, ...]
    text: str
    ended: bool
    replaced: int
    places: int


def cross_sample(
    first: LanguageModel,
    second: LanguageModel,
    prompts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    threshold: float,
    max_tokens: int,
    *,
    samples: int = 1,
    seed: int = 0,
    most_replaced: int | None = None,
    batch_size: int = 16,
) -> list[list[CrossSample]]:
    """`samples` answers to each prompt by cross-sampling, at most `max_tokens` tokens each.

    `most_replaced`: of the places of an answer, the first model goes on alone after so many. The random numbers are
    those of `sample_base` and the same for every threshold, so that answers are paired. Raises ComparisonError for
    models with different tokens or with stop strings, ModelError for counts below one.
    """
    require_same_tokens(first, second)
    if first.vocabulary.stops or second.vocabulary.stops:
        raise ComparisonError("cross-sampling knows no stop strings")
    keys = [(prompt, sample) for prompt in range(len(prompts)) for sample in range(samples)]
    drawn: list[CrossSample] = []
    for begin in range(0, len(keys), batch_size):
        part = keys[begin : begin + batch_size]
        drawn += _cross_rows(first, second, prompts, part, threshold, max_tokens, seed, most_replaced)
    return [drawn[at * samples : (at + 1) * samples] for at in range(len(prompts))]


def _cross_rows(
    first: LanguageModel,
    second: LanguageModel,
    prompts: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
    keys: Sequence[tuple[int, int]],
    threshold: float,
    cap: int,
    seed: int,
    budget: int | None,
) -> list[CrossSample]:
    uniforms = row_uniforms(seed, BASE_STREAM, keys, cap)
    sessions = [model.session([prompts[key[0]][side] for key in keys]) for side, model in enumerate((first, second))]
    vocabulary = first.vocabulary
    tokens: list[list[int]] = [[] for _ in keys]
    replaced, visited = np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys), dtype=np.int64)
    ended = np.zeros(len(keys), dtype=np.bool_)
    rows: IntArray = np.arange(len(keys))
    for step in range(cap):
        laws = [session.log_probs() for session in sessions]
        for law in laws:
            require_numbers(law, np.full(len(rows), step))
            collapse_end(law, vocabulary)
        law, taken = mixed(laws[0], laws[1], threshold)
        if budget is not None:
            spent = taken & (replaced[rows] >= budget)
            law[spent], taken = laws[0][spent], taken & ~spent
        replaced[rows] += taken
        visited[rows] += 1
        chosen, _ = draw(law, uniforms[rows, step])
        stops = np.isin(chosen, vocabulary.end_ids)
        ended[rows[stops]] = True
        alive = np.flatnonzero(~stops)
        rows, chosen = rows[alive], chosen[alive]
        for row, token in zip(rows, chosen, strict=True):
            tokens[row].append(int(token))
        if step + 1 == cap or not len(rows):
            break
        for session in sessions:
            if len(alive) < len(stops):
                session.select(alive)
            session.advance(chosen)
    return [
        CrossSample(
            tuple(tokens[at]), vocabulary.text(tokens[at], "replace"), bool(ended[at]), int(replaced[at]),
            int(visited[at]),
        )
        for at in range(len(keys))
    ]  # fmt: skip


def as_answer(sample: BaseSample) -> Answer:
    """What `places` takes of a draw of the first model."""
    return sample.tokens, sample.ended


def beginning(model: LanguageModel, tokens: Sequence[int]) -> str:
    """The end of what stands before a place, for reports."""
    text = model.vocabulary.text(tokens, "replace")
    return text if len(text) <= _SHOWN else "…" + text[-_SHOWN + 1 :]
