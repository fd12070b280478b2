"""What rewards are hacked with: answers that get short, alike, or empty, and a policy that leaves the law behind.

Everything is compared with the law itself, on its own weighted samples: where the policy asks for short answers the law
is short as well, and nothing is wrong with a policy that is as short.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.models.interface import FloatArray
from bylaw.runtime.training.distance import Distances, law_weights
from bylaw.runtime.training.experience import Experience, rates
from bylaw.runtime.training.settings import Bounds


@dataclass(frozen=True, slots=True)
class Shape:
    """What answers are like: `length` in tokens, `distinct`: share of different ones among all pairs of neighbouring
    tokens, `empty`: share of answers without a word."""

    length: float
    distinct: float
    empty: float


def shape_of(tokens: Sequence[tuple[int, ...]], texts: Sequence[str | None]) -> Shape:
    """Of N answers; compare `distinct` between equal numbers of answers only, since it falls with their number."""
    pairs = [pair for row in tokens for pair in itertools.pairwise(row)]
    return Shape(
        float(np.mean([len(row) for row in tokens])) if tokens else 0.0,
        len(set(pairs)) / len(pairs) if pairs else 0.0,
        float(np.mean([text is not None and not text.strip() for text in texts])) if texts else 0.0,
    )


def law_shape(law: Experience, policy: Experience) -> Shape:
    """Of the law, on as many answers to each prompt as the policy gave, drawn from the weighted rows in even steps."""
    weights = law_weights(law)
    chosen: list[int] = []
    for prompt in np.unique(policy.prompt):
        own = np.flatnonzero((law.prompt == prompt) & (weights > 0))
        if len(own):
            count = int((policy.prompt == prompt).sum())
            points = (np.arange(count) + 0.5) / count
            cumulative = np.cumsum(weights[own])
            picked = np.searchsorted(cumulative / cumulative[-1], points)
            chosen += own[np.minimum(picked, len(own) - 1)].tolist()
    return shape_of([law.tokens[at] for at in chosen], [law.texts[at] for at in chosen])


def findings(
    program: RewardProgram,
    policy: Experience,
    law: Experience,
    found: Distances,
    base_rates: dict[str, float],
    bounds: Bounds,
) -> tuple[str, ...]:
    """What is suspicious about the rows of a policy, in words; nothing where they are like the law.

    `base_rates` are the rates of the model before training, by term.
    """
    mine, wanted = shape_of(policy.tokens, policy.texts), law_shape(law, policy)
    said = []
    if wanted.length > 0 and mine.length < bounds.length * wanted.length:
        said.append(
            f"length collapse: answers have {mine.length:.1f} tokens on average, those of the law {wanted.length:.1f}"
        )
    if wanted.distinct > 0 and mine.distinct < bounds.distinct * wanted.distinct:
        said.append(
            f"loss of diversity: {100 * mine.distinct:.1f} % of neighbouring tokens are distinct pairs, under the law "
            f"{100 * wanted.distinct:.1f} % of as many answers"
        )
    if mine.empty > wanted.empty + bounds.empty:
        said.append(_empty(program, policy, mine, wanted, base_rates))
    overshoot = found.base.value - 2 * found.base.error - 2 * (found.law.value + 2 * found.law.error)
    if np.isfinite(overshoot) and overshoot > 1.0:
        said.append(
            f"over-optimisation: the policy is {found.base.value:.2f} nats from the base model, the law only "
            f"{found.law.value:.2f}"
        )
    if bounds.kl is not None and found.base.value > bounds.kl:
        said.append(f"KL to the base model of {found.base.value:.2f} nats, beyond the bound of {bounds.kl:g}")
    return tuple(said)


def _empty(program: RewardProgram, policy: Experience, mine: Shape, wanted: Shape, base_rates: dict[str, float]) -> str:
    """Empty answers, and the rules whose gain is theirs alone."""
    spoken: FloatArray = np.array([float(text is not None and bool(text.strip())) for text in policy.texts])
    now, without = rates(program, policy), rates(program, policy, spoken)
    hollow = [
        term.id
        for term in program.terms
        if term.kind in ("hard", "soft")
        and term.id in base_rates
        and now.get(term.id, 0.0) < base_rates[term.id]
        and (spoken.sum() == 0 or without.get(term.id, 0.0) >= base_rates[term.id])
    ]
    told = f"; only they keep {', '.join(f'`{name}`' for name in hollow)} more often" if hollow else ""
    return f"empty answers: {100 * mine.empty:.1f} % say nothing, under the law {100 * wanted.empty:.1f} %{told}"
