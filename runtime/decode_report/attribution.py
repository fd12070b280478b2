"""Each rule alone: an automaton and a twist of its own, so that its part in every next-token law can be told.

A group of rules shares one automaton in decoding, which knows the sum only. Here each term is compiled by itself, with
a twist from the same base samples. What a rule does alone is exact as far as its twist is; what rules do together is
not the sum of it, and is reported as `interaction`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.compiler.factors import Factors
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.look_ahead.compiled import Compiled, CompiledState
from bylaw.runtime.models.interface import FloatArray, IntArray
from bylaw.runtime.twist import CountedSample, SamplePool, Twist
from bylaw.runtime.twist.compiler import TwistCompiler

MOST_RULES = 64
"""Rules that are looked at one by one; what is beyond is looked at as one."""


@dataclass(frozen=True, eq=False)
class Factor:
    """The twists of one rule, or of all the rest together. `term` is its id, or what the rest is called."""

    term: str
    twists: tuple[Twist, ...]


@dataclass(frozen=True, eq=False)
class Attribution:
    """`factors` to walk through a response; ids of the terms that were `alone`, among the `rest`, or `finished`: known
    from the finished text only. `rest_name` is what the factor of the rest is called, None where there is none."""

    factors: tuple[Factor, ...]
    alone: frozenset[str]
    rest: frozenset[str]
    finished: frozenset[str]
    rest_name: str | None


def attribute(
    terms: Sequence[RewardTerm],
    compiler: TwistCompiler,
    samples: Sequence[CountedSample],
    most: int = MOST_RULES,
) -> Attribution:
    """Compiles specialised terms with their multipliers one by one, hard rules and then large weights first.

    Raises TwistError, which names the rule that is too large.
    """
    pool = SamplePool.of(samples)
    found: list[tuple[RewardTerm, Factors]] = [(term, compiler.factors([term])) for term in terms]
    compiled = sorted(((t, f) for t, f in found if not f.residual), key=lambda pair: -_weight(pair[0]))
    factors = [Factor(term.id, compiler.twists(alone, pool)) for term, alone in compiled[:most]]
    others = [term for term, _ in compiled[most:]]
    name = None
    if others:
        name = f"({len(others)} more rules)"
        factors.append(Factor(name, compiler.twists(compiler.factors(others), pool)))
    alone_ids = frozenset(term.id for term, _ in compiled[:most])
    rest = frozenset(term.id for term in others)
    return Attribution(tuple(factors), alone_ids, rest, frozenset(t.id for t in terms) - alone_ids - rest, name)


def _weight(term: RewardTerm) -> float:
    """How much a term can matter, in nats: what the order of the work goes by."""
    return np.inf if term.kind == "hard" else abs((term.multiplier if term.kind == "budget" else term.weight) or 0.0)


class Walk:
    """One factor along N responses at once. `end` is the vocabulary's first end token, None where it has none."""

    def __init__(self, factor: Factor, rows: int, end: int | None) -> None:
        self.factor = factor
        nothing: list[tuple[int, ...]] = [()] * rows
        self._states = [Compiled(twist, end).begin(nothing, nothing) for twist in factor.twists]

    def log_factors(self, rows: IntArray, left: int, width: int) -> FloatArray:
        """[n, V] nats: what the rule adds to each next token of `rows`, with `left` tokens to go behind it."""
        total = np.zeros((len(rows), width))
        for state in self._states:
            total += _part(state, rows).look_ahead(np.full(len(rows), left))
        return total

    def advance(self, rows: IntArray, tokens: IntArray) -> None:
        """Append `tokens` [n] to `rows`."""
        for state in self._states:
            part = _part(state, rows)
            part.advance(tokens)
            state.states[rows] = part.states


def _part(state: CompiledState, rows: IntArray) -> CompiledState:
    return CompiledState(state.twist, state.end, state.states[rows], state.paid[rows])
