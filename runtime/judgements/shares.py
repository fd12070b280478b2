"""What share of texts expresses a concept, from their scores alone.

A score is the probability at even odds, so s / (1 - s) is the likelihood ratio of "expresses", and the likelihood of a
share π of texts is ∏ (π s + (1 - π)(1 - s)): concave in π, with one maximum (Saerens, Latinne and Decaestecker,
*Neural Computation* 14 (2002) 21-41, who find it by expectation maximisation). One text that does and one that does not
are added, as in Laplace's rule of succession, so that few texts say little and no share is 0 or 1.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from bylaw.spec.trace import Trace

_STEPS = 50
"""Halvings of [0, 1]: the share is exact to 1e-15."""


def share_of(scores: npt.ArrayLike) -> float:
    """The most probable share (between 0 and 1) of texts that express a concept, from their scores [N] at even odds.

    1/2 for no scores. Raises ValueError for what is not from 0 to 1.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError("scores [N] from 0 to 1")
    values = np.concatenate([values, [1.0, 0.0]])
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        share = (low + high) / 2
        slope = float(np.sum((2 * values - 1) / (share * values + (1 - share) * (1 - values))))
        low, high = (share, high) if slope > 0 else (low, share)
    return (low + high) / 2


def shares_of(traces: Iterable[Trace]) -> dict[str, float]:
    """The share of each concept among the texts that have a score of it, by its full name; a text counts once."""
    known: dict[str, dict[str, float]] = {}
    for trace in traces:
        for (concept, text), score in trace.scores.items():
            known.setdefault(concept, {})[text] = score
    return {concept: share_of(list(texts.values())) for concept, texts in sorted(known.items())}
