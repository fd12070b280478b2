"""What can be said of Markov chains from their own record: how often they accepted, how long they remember."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bylaw.runtime.decoders.interface import Estimate
from bylaw.runtime.models.interface import FloatArray

WINDOW = 5.0
"""Sokal's rule: lags are summed up to this many autocorrelation times."""
FEWEST_BATCHES = 10


def autocorrelation_time(series: Sequence[FloatArray]) -> float:
    """The largest integrated autocorrelation time, in steps, of statistics [chains, steps]; 1 if all are independent.

    Statistics that never change are left out: where none does, nothing is known, and it is the whole length.
    """
    changing = [one for one in series if one.min() < one.max()]
    return max((_time(one) for one in changing), default=float(max(1, series[0].shape[1])))


def _time(series: FloatArray) -> float:
    """Deviations are from the mean of all chains, so that chains that stay apart show. Windowed after Sokal (1997)."""
    chains, steps = series.shape
    centred = series - series.mean()
    size = 1 << (2 * steps - 1).bit_length()
    power = np.square(np.abs(np.fft.rfft(centred, size, axis=1)))
    products = np.fft.irfft(power, size, axis=1)[:, :steps].sum(axis=0)
    correlations = products / (chains * (steps - np.arange(steps))) / np.square(centred).mean()
    times = 2 * np.cumsum(correlations) - 1
    enough = np.flatnonzero(np.arange(steps) >= WINDOW * times)
    return float(np.clip(times[enough[0]] if len(enough) else times[-1], 1.0, chains * steps))


def acceptance(accepted: NDArray[np.bool_]) -> tuple[Estimate, str]:
    """(share of `accepted` [chains, steps] with its 95 % interval, how the interval was come by).

    Batch means (each about √steps steps of one chain, Student's t) where there are ten batches at least, as steps of
    one chain depend on each other; otherwise Wilson's interval as if they did not.
    """
    from bylaw.runtime.audit.statistics import wilson

    chains, steps = accepted.shape
    share = float(accepted.mean())
    length = max(1, int(np.sqrt(steps)))
    each = steps // length
    means = accepted[:, : each * length].reshape(chains * each, length).mean(axis=1)
    if len(means) >= FEWEST_BATCHES and means.std() > 0:
        from scipy import stats

        half = float(stats.t.ppf(0.975, len(means) - 1)) * float(means.std(ddof=1)) / len(means) ** 0.5
        return Estimate(share, max(0.0, share - half), min(1.0, share + half)), f"{len(means)} batch means"
    bounds = wilson(int(accepted.sum()), accepted.size)
    return Estimate(share, bounds.low, bounds.high), "as if steps were independent"
