"""Results from particles: log Ẑ, effective sizes, and a legal text where a limit left none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bylaw.runtime.decoders.engine import Drawn, factors_of
from bylaw.runtime.decoders.interface import (
    DecodeResult,
    DecodeTask,
    Diagnostics,
    RegulatedSample,
    effective_size,
    log_mean,
)
from bylaw.runtime.look_ahead.interface import LookAheadState
from bylaw.runtime.models.interface import Vocabulary
from bylaw.runtime.models.metering import Stop


def conclude(
    task: DecodeTask,
    vocabulary: Vocabulary,
    drawn: Drawn,
    responses: Sequence[RegulatedSample],
    told: Diagnostics,
    *,
    biased: bool,
    max_tokens: int,
) -> DecodeResult:
    """A result with log Ẑ and the effective sample size of its weights; particles that a limit cut count as zero.

    `told` is what the decoder knows of its own work; what a limit did is added here, and where it left no response a
    legal text is made from the best beginning.
    """
    weights = [sample.log_weight for sample in drawn.samples]
    stopped = drawn.stopped is not None
    return DecodeResult(
        samples=tuple(drawn.samples),
        responses=tuple(responses),
        refused=tuple(drawn.refused),
        particles=drawn.particles,
        dead_ends=drawn.dead_ends,
        forbidden=drawn.particles - len(drawn.samples) - drawn.dead_ends - drawn.unfinished,
        log_z_estimate=log_mean(weights, drawn.particles),
        ess=effective_size(weights),
        biased=biased,
        diagnostics=replace(
            told,
            stopped=drawn.stopped,
            unfinished=drawn.unfinished,
            remarks=(*told.remarks, *stopped_remarks(drawn)),
        ),
        rescued=rescue(task, vocabulary, drawn.begun, max_tokens) if stopped and not responses else None,
    )


REASONS: dict[Stop, str] = {
    "passes": "the budget of passes was used up",
    "deadline": "the deadline came",
    "interrupt": "it was interrupted",
}


def stopped_remarks(drawn: Drawn) -> tuple[str, ...]:
    """What must be said of a result that a limit ended."""
    if drawn.stopped is None:
        return ()
    return (
        f"{REASONS[drawn.stopped]}: {drawn.unfinished} of {drawn.particles} particles were not finished and count as "
        "nothing, so that short responses are favoured and log Z is underestimated",
    )


def rescue(task: DecodeTask, vocabulary: Vocabulary, begun: tuple[int, ...], max_tokens: int) -> str | None:
    """The shortest legal text that `begun` (tokens) can be completed to, chosen by the look-ahead without the model.

    None where there is none, or where what no automaton expresses forbids it.
    """
    states = [factor.begin([task.prompt], [begun]) for factor in factors_of(task, vocabulary)]
    tokens = list(begun)
    for _ in range(max_tokens - len(begun) + 1):
        if all(np.isfinite(state.final()[0]) for state in states):
            break
        left = np.array([_nearest(states, max_tokens - len(tokens)) - 1])
        if left[0] < 0:
            return None
        factors = np.sum([state.look_ahead(left)[0] for state in states], axis=0)
        factors[~vocabulary.regular] = -np.inf
        chosen = int(np.argmax(factors))
        if not np.isfinite(factors[chosen]):
            return None
        tokens.append(chosen)
        for state in states:
            state.advance(np.array([chosen]))
    try:
        text = vocabulary.text(tokens)
    except UnicodeDecodeError:
        return None
    return text if np.isfinite(task.law.log_reward(text)) else None


def _nearest(states: Sequence[LookAheadState], most: int) -> int:
    """The fewest tokens after which all factors may be content; −1 where they cannot be within `most`."""
    for left in range(most + 1):
        if all(np.isfinite(state.value(np.array([left]))[0]) for state in states):
            return left
    return -1
