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

    `told` is what the decoder knows of its own work; what a limit did is added here, and where it left nothing a
    legal text is made from the best beginning.
    """
    weights = [sample.log_weight for sample in drawn.samples]
    empty = drawn.stopped is not None and not responses and not drawn.samples
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
        rescued=_rescued(task, vocabulary, drawn.begun, max_tokens) if empty else None,
    )


def _rescued(task: DecodeTask, vocabulary: Vocabulary, begun: tuple[int, ...], max_tokens: int) -> str | None:
    """Where the beginning leads nowhere (groups may be impossible together after it), from none."""
    found = rescue(task, vocabulary, begun, max_tokens)
    return rescue(task, vocabulary, (), max_tokens) if found is None and begun else found


_FAR = 64
"""Tokens."""
REASONS: dict[Stop, str] = {
    "passes": "the budget of passes was used up",
    "deadline": "the deadline came",
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
    """A short legal text that `begun` (tokens) can be completed to, chosen by the look-ahead without the model.

    At each place the token is taken that brings the factors nearest to where they could end, all together. None where
    that leads nowhere, or where what no automaton expresses forbids the text.
    """
    states = [factor.begin([task.prompt], [begun]) for factor in factors_of(task, vocabulary)]
    tokens = list(begun)
    for room in range(max_tokens - len(begun), -1, -1):
        if all(np.isfinite(state.final()[0]) for state in states) or vocabulary.stopped(tokens):
            break
        chosen = _nearest(states, room, vocabulary) if room else None
        if chosen is None:
            return None
        tokens.append(chosen)
        for state in states:
            state.advance(np.array([chosen]))
    try:
        text = vocabulary.text(tokens)
    except UnicodeDecodeError:
        return None
    return text if np.isfinite(task.law.log_reward(text)) else None


def _nearest(states: Sequence[LookAheadState], room: int, vocabulary: Vocabulary) -> int | None:
    """The token after which the factors, each asked alone, have the fewest tokens to go in all; None for none.

    Of equals the one that the look-ahead likes best. Distances beyond `_FAR` are not told apart.
    """
    distance = np.zeros((len(states), len(vocabulary)))
    liking = np.zeros(len(vocabulary))
    for row, state in enumerate(states):
        distance[row] = np.inf
        for left in (*range(min(room, _FAR)), room - 1):
            factors = state.look_ahead(np.array([left]))[0]
            distance[row, np.isfinite(factors) & np.isinf(distance[row])] = left
        liking += factors
    total = np.where(vocabulary.regular & np.isfinite(liking), distance.sum(axis=0), np.inf)
    nearest = np.flatnonzero(total == total.min())
    return int(nearest[np.argmax(liking[nearest])]) if np.isfinite(total.min()) else None
