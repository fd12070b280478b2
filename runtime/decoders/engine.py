"""The twisted proposal, run forward in batches, by the decoders, which draw, and by teacher forcing, which is told.

q(w | h) ∝ p0(w | h) · Π_g e^{r_g(w)} V̂_g(next_g, tokens left),   q(end | h) ∝ p0(end | h) · Π_g e^{final_g(h)}.
With `masked` the factors are replaced by the indicator that all of them are positive: plain masking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.counts import trim
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import (
    DecodeError,
    DecodeTask,
    PromptLaw,
    RegulatedSample,
    Watch,
)
from bylaw.runtime.look_ahead.compiled import Compiled
from bylaw.runtime.look_ahead.interface import LookAhead
from bylaw.runtime.models.interface import (
    PARTICLE_STREAM,
    FloatArray,
    IntArray,
    LanguageModel,
    OutOfMemory,
    Vocabulary,
    row_uniforms,
)
from bylaw.runtime.models.metering import OutOfBudget, Stop
from bylaw.runtime.twist import Twist

Choose: TypeAlias = Callable[[Frontier, IntArray, int], IntArray]
"""(the frontier, the row of each of its rows in the whole batch [n], step) -> next tokens [n], −1 for none."""
Key: TypeAlias = tuple[int, int]
"""(task, particle): what random numbers belong to."""
_Row = TypeVar("_Row")


@dataclass(frozen=True, eq=False)
class Paths:
    """N paths of the proposal; log arrays [N] in nats.

    `tokens` [N, cap]: the first `lengths` [N] of each row count. `dead` [N]: no token was left that all factors allow.
    `log_q` is −inf where a forced token could not be proposed. `unfinished` [N]: cut by a limit before the end.
    """

    tokens: IntArray
    lengths: IntArray
    log_p0: FloatArray
    log_q: FloatArray
    log_reward: FloatArray
    dead: NDArray[np.bool_]
    unfinished: NDArray[np.bool_]
    stopped: Stop | None = None


def factors_of(task: DecodeTask, vocabulary: Vocabulary) -> tuple[LookAhead, ...]:
    """All factors of a task's proposal: its twists, then what it looks ahead with besides."""
    end = int(vocabulary.end_ids[0]) if len(vocabulary.end_ids) else None
    return (*(Compiled(twist, end) for twist in task.twists), *task.look_ahead)


def run(
    model: LanguageModel,
    prompts: Sequence[tuple[int, ...]],
    factors: Sequence[LookAhead],
    cap: int,
    choose: Choose,
    *,
    masked: bool,
    begun: Sequence[tuple[int, ...]] | None = None,
    told: Callable[[Frontier, IntArray], None] | None = None,
) -> Paths:
    """Grow one path per prompt, all in one session, until each has ended, stopped, died or reached `cap` tokens.

    `begun`: tokens that a row starts with; its log p0 and log q count from there. `told(frontier, rows)` is called
    after each step with the rows that go on. A limit that is reached marks what is left as unfinished.
    """
    count = len(prompts)
    paths = Paths(
        np.zeros((count, cap), dtype=np.int64),
        np.full(count, cap, dtype=np.int64),
        np.zeros(count),
        np.zeros(count),
        np.zeros(count),
        np.zeros(count, dtype=np.bool_),
        np.zeros(count, dtype=np.bool_),
    )
    going = np.ones(count, dtype=np.bool_)
    frontier: Frontier | None = None
    stopped: Stop | None = None
    try:
        frontier = Frontier(model, factors, prompts, cap, begun=begun, masked=masked)
        for step in range(cap):
            _step(frontier, paths, going, step, choose)
            if not going.any():
                break
            if told is not None:
                told(frontier, np.flatnonzero(going))
    except OutOfBudget as error:
        stopped = error.reason
        paths.unfinished[going] = True
        paths.lengths[going] = 0
        if frontier is not None and len(frontier) == going.sum():
            _keep(paths, np.flatnonzero(going), frontier, np.arange(len(frontier)))
    return replace(paths, stopped=stopped)


def _step(frontier: Frontier, paths: Paths, going: NDArray[np.bool_], step: int, choose: Choose) -> None:
    """One more token for every row of the frontier, which are the rows of the batch that are `going`, in order."""
    rows = np.flatnonzero(going)
    chosen = choose(frontier, rows, step)
    dead, end = chosen < 0, frontier.is_end(chosen)
    paths.dead[rows[dead]] = True
    _keep(paths, rows[dead], frontier, np.flatnonzero(dead))
    ended = np.flatnonzero(end)
    if len(ended):
        at = rows[ended]
        _keep(paths, at, frontier, ended)
        paths.log_p0[at], paths.log_q[at], paths.log_reward[at] = frontier.ended(ended)
    alive = np.flatnonzero(~dead & ~end)
    going[rows[dead | end]] = False
    if len(alive) == 0:
        return
    frontier.advance(alive, chosen[alive])
    full = frontier.complete
    if full.any():
        at, whole = rows[alive][full], np.flatnonzero(full)
        _keep(paths, at, frontier, whole)
        paths.log_reward[at] += frontier.final[whole]
        going[at] = False
        frontier.select(np.flatnonzero(~full))


def _keep(paths: Paths, at: IntArray, frontier: Frontier, rows: IntArray) -> None:
    """Copy what the frontier knows of `rows` to the rows `at` of the paths."""
    if len(rows):
        paths.tokens[at], paths.lengths[at] = frontier.tokens[rows], frontier.lengths[rows]
        paths.log_p0[at], paths.log_q[at] = frontier.log_p0[rows], frontier.log_q[rows]
        paths.log_reward[at] = frontier.log_reward[rows]


def batches(tasks: Sequence[DecodeTask], keys: Sequence[Key], size: int) -> Iterator[list[Key]]:
    """The rows `keys` in order, at most `size` together, never two tasks with different factors in one batch."""
    batch: list[Key] = []
    for key in keys:
        if batch and (len(batch) == size or not _same(tasks[batch[-1][0]], tasks[key[0]])):
            yield batch
            batch = []
        batch.append(key)
    if batch:
        yield batch


def halved(part: list[_Row], waiting: list[list[_Row]]) -> list[list[_Row]]:
    """A batch that did not fit into memory and those behind it, in their order, now of half its size at most."""
    half = (len(part) + 1) // 2
    return [piece[at : at + half] for piece in (part, *waiting) for at in range(0, len(piece), half)]


def _same(left: DecodeTask, right: DecodeTask) -> bool:
    mine, theirs = (*left.twists, None, *left.look_ahead), (*right.twists, None, *right.look_ahead)
    return len(mine) == len(theirs) and all(a is b for a, b in zip(mine, theirs, strict=True))


def check_tasks(tasks: Sequence[DecodeTask], model: LanguageModel, max_tokens: int) -> None:
    """Raises `DecodeError` when laws, twists, vocabulary and length do not fit together or no response is possible."""
    checked: set[tuple[int, ...]] = set()
    for task in tasks:
        # comparing large automata takes a while, and most tasks share theirs
        parts = tuple(id(part) for part in (*task.law.groups, None, *task.twists))
        if parts not in checked:
            check(task, model, max_tokens)
            checked.add(parts)


def check(task: DecodeTask, model: LanguageModel, max_tokens: int) -> None:
    """`check_tasks` for one task."""
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
    """The particles of one task: those of positive weight, finished texts that the residual forbids, dead ends.

    `order` are the particle numbers of `samples`. `unfinished` were cut by a limit; `begun` is the tokens of the one of
    them that came farthest.
    """

    samples: list[RegulatedSample]
    refused: list[RegulatedSample]
    particles: int
    dead_ends: int = 0
    unfinished: int = 0
    begun: tuple[int, ...] = ()
    stopped: Stop | None = None


def draw_paths(
    model: LanguageModel,
    tasks: Sequence[DecodeTask],
    particles: int,
    max_tokens: int,
    seed: int,
    batch_size: int,
    *,
    masked: bool,
    watch: Watch | None = None,
) -> list[Drawn]:
    """What became of the particles of each task; `watch` follows the first particle of each."""
    if particles < 1:
        raise DecodeError("decoding needs one particle at least")
    check_tasks(tasks, model, max_tokens)
    results = [Drawn([], [], particles) for _ in tasks]
    keys = [(index, particle) for index in range(len(tasks)) for particle in range(particles)]
    for part, paths in draw_batches(model, tasks, keys, max_tokens, seed, batch_size, masked=masked, watch=watch):
        for row, (index, _) in enumerate(part):
            add(results[index], model.vocabulary, tasks[index].law, paths, row)
    return results


def draw_batches(
    model: LanguageModel,
    tasks: Sequence[DecodeTask],
    keys: Sequence[Key],
    max_tokens: int,
    seed: int,
    batch_size: int,
    *,
    masked: bool = False,
    watch: Watch | None = None,
) -> Iterator[tuple[list[Key], Paths]]:
    """The paths of the rows `keys`, batch by batch; random numbers belong to (seed, task, particle).

    A batch that does not fit into memory is halved, and later ones are no larger. After a limit nothing more is drawn:
    rows of later batches come as unfinished paths without tokens.
    """
    if batch_size < 1:
        raise DecodeError("decoding needs one row in a batch at least")
    waiting = [list(batch) for batch in batches(tasks, keys, batch_size)]
    stopped: Stop | None = None
    while waiting:
        part = waiting.pop(0)
        if stopped is not None:
            yield part, _unbegun(len(part), max_tokens, stopped)
            continue
        try:
            paths = _draw(model, tasks, part, max_tokens, seed, masked, watch)
        except OutOfMemory:
            if len(part) == 1:
                raise
            waiting = halved(part, waiting)
            continue
        stopped = paths.stopped
        yield part, paths


def _draw(
    model: LanguageModel,
    tasks: Sequence[DecodeTask],
    keys: Sequence[Key],
    cap: int,
    seed: int,
    masked: bool,
    watch: Watch | None,
) -> Paths:
    uniforms = row_uniforms(seed, PARTICLE_STREAM, keys, cap)

    def told(frontier: Frontier, rows: IntArray) -> None:
        for position, row in enumerate(rows):
            task, particle = keys[row]
            if particle == 0 and watch is not None:
                watch(task, model.vocabulary.beginning(frontier.response(position)))

    prompts = [tasks[index].prompt for index, _ in keys]
    return run(
        model,
        prompts,
        factors_of(tasks[keys[0][0]], model.vocabulary),
        cap,
        lambda frontier, rows, step: frontier.draw(uniforms[rows, step]),
        masked=masked,
        told=None if watch is None else told,
    )


def _unbegun(count: int, cap: int, stopped: Stop) -> Paths:
    nothing = np.zeros(count)
    return Paths(
        np.zeros((count, cap), dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        nothing,
        nothing,
        nothing,
        np.zeros(count, dtype=np.bool_),
        np.ones(count, dtype=np.bool_),
        stopped,
    )


def add(drawn: Drawn, vocabulary: Vocabulary, law: PromptLaw, paths: Paths, row: int) -> None:
    """Put one path where it belongs."""
    tokens = tuple(int(token) for token in paths.tokens[row, : paths.lengths[row]])
    if paths.unfinished[row]:
        drawn.unfinished += 1
        drawn.stopped = paths.stopped
        drawn.begun = max(drawn.begun, tokens, key=len)
    elif paths.dead[row]:
        drawn.dead_ends += 1
    else:
        sample = finish(
            vocabulary, law, tokens, *(float(a[row]) for a in (paths.log_p0, paths.log_q, paths.log_reward))
        )
        if sample is not None:
            (drawn.samples if sample.log_reward > -np.inf else drawn.refused).append(sample)


def finish(
    vocabulary: Vocabulary, law: PromptLaw, tokens: tuple[int, ...], log_p0: float, log_q: float, reward: float
) -> RegulatedSample | None:
    """The finished particle; `reward` is that of the groups. None where it is no text.

    Its log reward is −inf where the residual, a scorer or the rule on beginnings forbids it. Raises DecodeError for
    rewards that are not numbers.
    """
    try:
        text = vocabulary.text(tokens)
    except UnicodeDecodeError:
        # possible only without groups: an automaton refuses to end inside a character
        return None
    return RegulatedSample(tokens, text, log_p0, log_q, reward + law.beyond_groups(text))


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
    look_ahead: Sequence[LookAhead] = (),
) -> FloatArray:
    """[N] log q(sequence | prompt) in nats of given responses under the twisted proposal; −inf where it has none.

    A sequence shorter than `max_tokens` is taken to have ended by the end event or a stop string, one of that length to
    have been cut by the cap. The tokens are fed one by one through the code that samples, so the numbers are those of
    the sampler up to the rounding of the model's own arithmetic in another batch. Raises `DecodeError` for longer
    sequences, for tokens that no response can hold, and for laws and twists that do not fit.
    """
    if len(prompts) != len(sequences):
        raise DecodeError(f"{len(prompts)} prompts came with {len(sequences)} responses")
    task = DecodeTask((), law, tuple(twists), tuple(look_ahead))
    check(task, model, max_tokens)
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
    factors = factors_of(task, model.vocabulary)
    # rows of like length share a batch, so that batches stay full until they end
    order = np.argsort(-lengths, kind="stable")
    for first in range(0, len(order), batch_size):
        part = order[first : first + batch_size]

        def choose(frontier: Frontier, rows: IntArray, step: int, part: IntArray = part) -> IntArray:
            wanted = forced[part[rows], step]
            return np.where(np.isfinite(frontier.look().scores[frontier.nodes, wanted]), wanted, -1)

        paths = run(model, [prompts[i] for i in part], factors, max_tokens, choose, masked=masked)
        result[part] = np.where(paths.dead, -np.inf, paths.log_q)
    return result
