"""The twisted proposal, run forward in batches, by the decoders, which draw, and by teacher forcing, which is told.

q(w | h) ∝ p0(w | h) · Π_g e^{r_g(w)} V̂_g(next_g, tokens left),   q(end | h) ∝ p0(end | h) · Π_g e^{final_g(h)}.
With `masked` the factors are replaced by the indicator that all of them are positive: plain masking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.counts import trim
from bylaw.runtime.decoders.interface import (
    DecodeError,
    DecodeResult,
    DecodeTask,
    PromptLaw,
    RegulatedSample,
    effective_size,
    log_mean,
)
from bylaw.runtime.models.interface import (
    PARTICLE_STREAM,
    FloatArray,
    IntArray,
    LanguageModel,
    Vocabulary,
    collapse_end,
    draw,
    row_uniforms,
)
from bylaw.runtime.twist import StateArray, Twist

Choose: TypeAlias = Callable[[IntArray, int, FloatArray], tuple[IntArray, FloatArray]]
"""(rows [n], step, scores [n, V]) -> (chosen tokens [n], log Σ exp(scores) [n])."""


@dataclass(frozen=True, eq=False)
class Paths:
    """N finished paths of the proposal; log arrays [N] in nats.

    `tokens` [N, cap]: the first `lengths` [N] of each row count. `dead` [N]: no token was left that all groups allow.
    `log_q` is −inf where a forced token could not be proposed.
    """

    tokens: IntArray
    lengths: IntArray
    log_p0: FloatArray
    log_q: FloatArray
    log_reward: FloatArray
    dead: NDArray[np.bool_]


def run(
    model: LanguageModel,
    prompts: Sequence[tuple[int, ...]],
    twists: Sequence[Twist],
    cap: int,
    choose: Choose,
    *,
    masked: bool,
) -> Paths:
    """Grow one path per prompt, all in one session, until each has ended, died or reached `cap` tokens."""
    count = len(prompts)
    vocabulary = model.vocabulary
    paths = _empty_paths(count, cap)
    session = model.session(prompts)
    rows: IntArray = np.arange(count)
    states: list[StateArray] = [np.full(count, twist.automaton.start, dtype=np.int32) for twist in twists]
    for step in range(cap):
        law = session.log_probs()
        collapse_end(law, vocabulary)
        scores = _scores(law, twists, states, cap - step - 1, vocabulary, masked)
        chosen, possible = _pick(paths, rows, step, law, scores, choose)
        stopped = possible & np.isin(chosen, vocabulary.end_ids[:1])
        for twist, state in zip(twists, states, strict=True):
            paths.log_reward[rows[stopped]] += twist.automaton.final(state[stopped])
        paths.lengths[rows[stopped | ~possible]] = step
        alive = np.flatnonzero(possible & ~stopped)
        everyone = len(alive) == len(rows)
        rows, chosen = rows[alive], chosen[alive]
        paths.tokens[rows, step] = chosen
        for group, twist in enumerate(twists):
            states[group], reward = twist.automaton.step(states[group][alive], chosen.astype(np.int32))
            paths.log_reward[rows] += reward
        if len(rows) == 0 or step + 1 == cap:
            break
        if not everyone:
            session.select(alive)
        session.advance(chosen)
    for twist, state in zip(twists, states, strict=True):
        paths.log_reward[rows] += twist.automaton.final(state)
    return paths


def _empty_paths(count: int, cap: int) -> Paths:
    return Paths(
        np.zeros((count, cap), dtype=np.int64),
        np.full(count, cap, dtype=np.int64),
        np.zeros(count),
        np.zeros(count),
        np.zeros(count),
        np.zeros(count, dtype=np.bool_),
    )


def _pick(
    paths: Paths, rows: IntArray, step: int, law: FloatArray, scores: FloatArray, choose: Choose
) -> tuple[IntArray, NDArray[np.bool_]]:
    """(tokens [n], whether each row goes on or ends [n]); adds probabilities to `paths` and marks dead rows there."""
    chosen = np.zeros(len(rows), dtype=np.int64)
    possible = np.isfinite(scores.max(axis=1))
    paths.dead[rows[~possible]] = True
    at = np.flatnonzero(possible)
    if len(at):
        chosen[at], totals = choose(rows[at], step, scores if len(at) == len(rows) else scores[at])
        paths.log_q[rows[at]] += scores[at, chosen[at]] - totals
        paths.log_p0[rows[at]] += law[at, chosen[at]]
        possible[at] = np.isfinite(scores[at, chosen[at]])
    return chosen, possible


def _scores(
    law: FloatArray,
    twists: Sequence[Twist],
    states: Sequence[StateArray],
    left: int,
    vocabulary: Vocabulary,
    masked: bool,
) -> FloatArray:
    """[N, V] log of the unnormalised proposal, the end event in the column of the first end token."""
    if not twists:
        return law
    factors = twists[0].look_ahead(states[0], left)
    for twist, state in zip(twists[1:], states[1:], strict=True):
        factors += twist.look_ahead(state, left)
    if len(vocabulary.end_ids):
        finals = [twist.automaton.final(state) for twist, state in zip(twists, states, strict=True)]
        factors[:, vocabulary.end_ids[0]] = np.sum(finals, axis=0)
    if masked:
        return np.where(np.isfinite(factors), law, -np.inf)
    factors += law
    return factors


def batches(tasks: Sequence[DecodeTask], particles: int, size: int) -> Iterator[list[tuple[int, int]]]:
    """Rows (task, particle) in order, at most `size` together, never two tasks with different twists in one batch."""
    batch: list[tuple[int, int]] = []
    for index, task in enumerate(tasks):
        for particle in range(particles):
            if batch and (len(batch) == size or not _same(tasks[batch[-1][0]].twists, task.twists)):
                yield batch
                batch = []
            batch.append((index, particle))
    if batch:
        yield batch


def _same(left: Sequence[Twist], right: Sequence[Twist]) -> bool:
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))


def check(task: DecodeTask, model: LanguageModel, max_tokens: int) -> None:
    """Raises `DecodeError` when law, twists, vocabulary and length do not fit together or no response is possible."""
    if max_tokens < 1:
        raise DecodeError("a response needs room for one token at least")
    if len(task.twists) != len(task.law.groups):
        raise DecodeError(f"{len(task.law.groups)} groups of rules came with {len(task.twists)} twists")
    for group, twist in zip(task.law.groups, task.twists, strict=True):
        if twist.automaton.valued != group and twist.automaton.valued != trim(group):
            raise DecodeError("a twist belongs to another group of rules")
        if twist.automaton.token_bytes != model.vocabulary.token_bytes:
            raise DecodeError("a twist was built for another vocabulary")
        if twist.max_tokens < max_tokens:
            raise DecodeError(f"a twist looks {twist.max_tokens} tokens ahead, and responses may have {max_tokens}")
        if twist.log_z(max_tokens) == -np.inf:
            raise DecodeError(f"no response of at most {max_tokens} tokens can keep the rules")


@dataclass(eq=False)
class Drawn:
    """The particles of one task: those of positive weight, finished texts that the residual forbids, dead ends."""

    samples: list[RegulatedSample]
    refused: list[RegulatedSample]
    particles: int
    dead_ends: int = 0


def draw_paths(
    model: LanguageModel,
    tasks: Sequence[DecodeTask],
    particles: int,
    max_tokens: int,
    seed: int,
    batch_size: int,
    *,
    masked: bool,
) -> list[Drawn]:
    """What became of the particles of each task."""
    if particles < 1 or batch_size < 1:
        raise DecodeError("decoding needs one particle and one row in a batch at least")
    checked: set[tuple[int, ...]] = set()
    for task in tasks:
        # comparing large automata takes a while, and most tasks share theirs
        parts = tuple(id(part) for part in (*task.law.groups, None, *task.twists))
        if parts not in checked:
            check(task, model, max_tokens)
            checked.add(parts)
    results = [Drawn([], [], particles) for _ in tasks]
    for keys in batches(tasks, particles, batch_size):
        uniforms = row_uniforms(seed, PARTICLE_STREAM, keys, max_tokens)

        def choose(
            rows: IntArray, step: int, scores: FloatArray, u: FloatArray = uniforms
        ) -> tuple[IntArray, FloatArray]:
            return draw(scores.copy(), u[rows, step])

        prompts = [tasks[index].prompt for index, _ in keys]
        paths = run(model, prompts, tasks[keys[0][0]].twists, max_tokens, choose, masked=masked)
        for row, (index, _) in enumerate(keys):
            drawn = results[index]
            if paths.dead[row]:
                drawn.dead_ends += 1
                continue
            sample = _finish(model.vocabulary, tasks[index].law, paths, row)
            if sample is not None:
                (drawn.samples if sample.log_reward > -np.inf else drawn.refused).append(sample)
    return results


def _finish(vocabulary: Vocabulary, law: PromptLaw, paths: Paths, row: int) -> RegulatedSample | None:
    """The finished particle, with a log reward of −inf where the residual forbids it; None where it is no text."""
    tokens = tuple(int(token) for token in paths.tokens[row, : paths.lengths[row]])
    try:
        text = vocabulary.text(tokens)
    except UnicodeDecodeError:
        # possible only without groups: an automaton refuses to end inside a character
        return None
    extra = 0.0 if law.residual is None else float(law.residual(text))
    if np.isnan(extra) or extra == np.inf:
        raise DecodeError(f"the residual reward of a response is {extra}, not a number of nats")
    reward = float(paths.log_reward[row]) + extra
    return RegulatedSample(tokens, text, float(paths.log_p0[row]), float(paths.log_q[row]), reward)


def summarise(
    drawn: Drawn,
    responses: Sequence[RegulatedSample],
    *,
    biased: bool,
) -> DecodeResult:
    """A result with log Ẑ and the effective sample size of its weights."""
    weights = [sample.log_weight for sample in drawn.samples]
    return DecodeResult(
        samples=tuple(drawn.samples),
        responses=tuple(responses),
        refused=tuple(drawn.refused),
        particles=drawn.particles,
        dead_ends=drawn.dead_ends,
        forbidden=drawn.particles - len(drawn.samples) - drawn.dead_ends,
        log_z_estimate=log_mean(weights, drawn.particles),
        ess=effective_size(weights),
        biased=biased,
    )


def proposal_log_prob(
    model: LanguageModel,
    prompts: Sequence[tuple[int, ...]],
    sequences: Sequence[Sequence[int]],
    law: PromptLaw,
    twists: Sequence[Twist],
    max_tokens: int,
    *,
    batch_size: int = 64,
    masked: bool = False,
) -> FloatArray:
    """[N] log q(sequence | prompt) in nats of given responses under the twisted proposal; −inf where it has none.

    A sequence shorter than `max_tokens` is taken to have ended by the end event, one of that length to have been cut by
    the cap. The tokens are fed one by one through the code that samples, so the numbers are those of the sampler up to
    the rounding of the model's own arithmetic in another batch. Raises `DecodeError` for longer sequences, for tokens
    that no response can hold, and for laws and twists that do not fit.
    """
    if len(prompts) != len(sequences):
        raise DecodeError(f"{len(prompts)} prompts came with {len(sequences)} responses")
    check(DecodeTask((), law, tuple(twists)), model, max_tokens)
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    if (lengths > max_tokens).any():
        raise DecodeError(f"a response of {lengths.max()} tokens is longer than {max_tokens}")
    ends = model.vocabulary.end_ids
    if (lengths < max_tokens).any() and len(ends) == 0:
        raise DecodeError("a model without an end-of-text token cannot end before the cap")
    forced = np.full((len(sequences), max_tokens), int(ends[0]) if len(ends) else 0, dtype=np.int64)
    for row, sequence in enumerate(sequences):
        if not model.vocabulary.regular[list(sequence)].all():
            raise DecodeError("a response holds a special token, which no response can")
        forced[row, : len(sequence)] = sequence
    result = np.zeros(len(sequences))
    # rows of like length share a batch, so that batches stay full until they end
    order = np.argsort(-lengths, kind="stable")
    for first in range(0, len(order), batch_size):
        part = order[first : first + batch_size]

        def choose(rows: IntArray, step: int, scores: FloatArray, part: IntArray = part) -> tuple[IntArray, FloatArray]:
            chosen = forced[part[rows], step]
            return chosen, draw(scores.copy(), np.zeros(len(rows)))[1]

        paths = run(model, [prompts[i] for i in part], twists, max_tokens, choose, masked=masked)
        result[part] = np.where(paths.dead, -np.inf, paths.log_q)
    return result
