"""Adaptive weighted rejection sampling of one token under a rule that can only be asked (Lipkin et al. 2025).

Tokens are drawn without replacement until one passes. With S the tokens not rejected so far, the allowed share of S is
(1 − q_S(a)) times that of S∖{a} for a rejected a. Once a token a has passed, one more is drawn from S∖{a}: 1 if it
passes and q_S(a) if not has the allowed share of S as its mean. So E[weight | token] is the allowed mass, exactly.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bylaw.runtime.models.interface import FloatArray


def draw_allowed(
    scores: FloatArray, allows: Callable[[int], bool], generator: np.random.Generator
) -> tuple[int, float]:
    """(token, log weight in nats) by scores [V]: log of a law, not normalised, −inf for tokens that cannot come.

    The token follows the law restricted to what `allows`; the mean of exp(weight) given the token is the share of the
    law that is allowed. (−1, −inf) where nothing is.
    """
    masses = np.exp(scores - scores.max()) if np.isfinite(scores).any() else np.zeros(len(scores))
    log_weight = 0.0
    while (drawn := _take(masses, generator)) is not None:
        token, share, log_rest = drawn
        if allows(token):
            second = _take(masses, generator)
            passes = second is None or allows(second[0])
            return token, log_weight if passes else log_weight + float(np.log(share))
        log_weight += log_rest
    return -1, -np.inf


def _take(masses: FloatArray, generator: np.random.Generator) -> tuple[int, float, float] | None:
    """Draw an entry and set it to zero: (entry, its share, log of the share of the others), None where all are zero."""
    cumulative = np.cumsum(masses)
    total = float(cumulative[-1])
    if total <= 0.0:
        return None
    target = min(generator.random() * total, np.nextafter(total, 0.0))
    token = int(np.searchsorted(cumulative, target, side="right"))
    mass = float(masses[token])
    masses[token] = 0.0
    with np.errstate(divide="ignore"):
        # the rest is summed anew: total − mass would cancel where one token has nearly everything
        return token, mass / total, float(np.log(masses.sum() / total))
