"""Building a twist: what is too large is refused, the rest is counted, smoothed and solved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.tokens import Block, TokenAutomaton
from bylaw.runtime.models.interface import IntArray, Vocabulary
from bylaw.runtime.twist.chain import build_chain, tally
from bylaw.runtime.twist.counting import CountedSample, SamplePool, count_samples
from bylaw.runtime.twist.errors import TwistError
from bylaw.runtime.twist.inside import Inside
from bylaw.runtime.twist.programme import FAR, Progress, backward, nearest_ends
from bylaw.runtime.twist.proxy import fit_law
from bylaw.runtime.twist.table import StateArray, Twist, boundary_states

MAX_CELLS = 50_000_000
"""Most cells of the transitions (Q states × C classes) or of the values (Q states × tokens): 400 MB in float64."""


def build_twist(
    automaton: TokenAutomaton,
    vocabulary: Vocabulary,
    samples: Iterable[CountedSample] | SamplePool,
    max_tokens: int,
    *,
    smoothing: float | None = None,
    stretch_of: IntArray | None = None,
    progress: Progress | None = None,
) -> Twist:
    """The twist of one group from base samples of all prompts; the law of the model is that of `proxy.fit_law`.

    Without `smoothing` (in events) the samples themselves choose it, and the law may depend on the place in the
    response: `stretch_of` [max_tokens + 1] numbers the places that have one law, by tokens behind them (default: each
    has its own). `progress(done, total)` is called as tokens of look-ahead are done. Raises `TwistError` when
    the tables would be too large.
    """
    if smoothing is not None and not smoothing > 0:
        raise TwistError("smoothing must be positive, or tokens never sampled could not be proposed")
    blocks = boundary_blocks(automaton, max_tokens)
    stretch_of = np.arange(max_tokens + 1) if stretch_of is None else stretch_of
    events = count_samples(automaton, SamplePool.of(samples), blocks, stretch_of)
    law = fit_law(automaton, vocabulary, blocks, events, smoothing)
    inside = Inside.of(automaton, nearest_ends(automaton, law.chain, max_tokens + 1))
    values = backward(automaton, law, stretch_of, inside, max_tokens, progress)
    return Twist(automaton, max_tokens, values, inside, law.proxy)


def uniform_twist(automaton: TokenAutomaton, vocabulary: Vocabulary, max_tokens: int) -> Twist:
    """V̂ = 1 where an accepted text can still be reached and 0 elsewhere; needs no samples."""
    if len(vocabulary.end_ids) == 0:  # a response has `max_tokens` tokens exactly, which the shortest ways do not tell
        twist = build_twist(automaton, vocabulary, (), max_tokens, smoothing=1.0)
        flat = np.where(np.isfinite(twist.log_value), 0.0, -np.inf)
        return Twist(automaton, max_tokens, flat, replace(twist.inside, weighed=False))
    nearest = np.minimum(_ways_out(automaton, vocabulary, max_tokens), max_tokens + 1)
    reached = nearest[boundary_states(automaton)] <= np.arange(max_tokens + 1)[:, None]
    flat = np.full((max_tokens + 1, reached.shape[1] + 1), -np.inf)
    flat[:, :-1][reached] = 0.0
    return Twist(automaton, max_tokens, flat, replace(Inside.of(automaton, nearest), weighed=False))


def shortest_response(automaton: TokenAutomaton, vocabulary: Vocabulary, max_tokens: int = 1) -> int | None:
    """The fewest tokens of a response that the automaton allows, be they more than `max_tokens`; None where no tokens
    spell one. Raises TwistError where a twist of `max_tokens` would be too large."""
    found = int(_ways_out(automaton, vocabulary, max_tokens)[automaton.start])
    return None if found >= FAR else found


def _ways_out(automaton: TokenAutomaton, vocabulary: Vocabulary, max_tokens: int) -> StateArray:
    """[S + 1] the fewest tokens from each state to a legal end, `FAR` where there is none."""
    blocks = boundary_blocks(automaton, max_tokens)
    with np.errstate(divide="ignore"):
        possible = {
            u: np.log(tally(block.class_of[vocabulary.regular], minlength=block.next_state.shape[1]))
            for u, block in blocks.items()
        }
    return nearest_ends(automaton, build_chain(automaton, blocks, possible, 0.0))


def boundary_blocks(automaton: TokenAutomaton, max_tokens: int) -> dict[int, Block]:
    """The blocks of transitions from boundaries, by transducer state: 0, and the extra start state if there is one."""
    if max_tokens < 1:
        raise TwistError("a twist looks one token ahead at least")
    if (automaton.size + 2) * (max_tokens + 1) > MAX_CELLS:
        raise TwistError(
            f"the rules need {automaton.size:,} states and {max_tokens:,} tokens of look-ahead, more than "
            f"{MAX_CELLS:,} cells; split them into groups or shorten the response"
        )
    blocks: dict[int, Block] = {}
    for u in sorted({0, automaton.start // automaton.size}):
        try:
            block = automaton.block(u)
        except StateLimit as error:
            raise TwistError(f"the rules need too many token classes; split them into groups ({error})") from error
        if block.next_state.size > MAX_CELLS:
            rows, classes = block.next_state.shape
            raise TwistError(
                f"the rules need {rows:,} states × {classes:,} token classes, more than {MAX_CELLS:,} cells"
            )
        blocks[u] = block
    return blocks
