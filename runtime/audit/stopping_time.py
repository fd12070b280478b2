"""How long an audit of one limit goes on that stops as soon as it is decided: exactly, and for thousands of answers."""

from __future__ import annotations

import math

from bylaw.runtime.audit.sequential import Outcomes, StoppingRule
from bylaw.runtime.audit.statistics import CONFIDENCE


def share_outcomes(limit: float, rate: float, budget: int, confidence: float = CONFIDENCE) -> Outcomes:
    """`sequential.outcomes(gate(limit, confidence), rate, budget)`, fast enough for budgets of thousands.

    Paths of a probability below 1e-18 at a step are left out. Raises ValueError as these and `StoppingRule` do.
    """
    StoppingRule(limit, budget, confidence)
    if not 0 <= rate <= 1:
        raise ValueError(f"a rate lies between 0 and 1, got {rate}")
    import numpy as np
    from scipy.special import gammaln

    threshold, log_factorial = -math.log1p(-confidence), gammaln(np.arange(budget + 2) + 1.0)
    alive, least = np.ones(1), 0
    passes = fails = samples = 0.0
    for total in range(1, budget + 1):
        samples += float(alive.sum())
        after = np.append(alive * (1 - rate), 0.0)
        after[1:] += alive * rate
        counts = least + np.arange(len(after))
        mixture = log_factorial[counts] + log_factorial[total - counts] - log_factorial[total + 1]
        likelihood = counts * math.log(limit) + (total - counts) * math.log1p(-limit)
        is_decided, is_below = mixture - likelihood >= threshold, counts < limit * total
        passes += float(after[is_decided & is_below].sum())
        fails += float(after[is_decided & ~is_below].sum())
        after[is_decided] = 0.0
        open_ones = np.flatnonzero(after > 1e-18)
        if not len(open_ones):
            return Outcomes(passes, fails, 0.0, samples)
        alive, least = after[open_ones[0] : open_ones[-1] + 1], least + int(open_ones[0])
    return Outcomes(passes, fails, float(alive.sum()), samples)
