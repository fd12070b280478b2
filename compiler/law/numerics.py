"""Log-space arithmetic, array validation and the errors of the law modules. All logarithms are natural (nats)."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]

NORMAL_95 = 1.959963984540054  # two-sided 95 % quantile of the standard normal law


class EmptySupport(ValueError):
    """No response is left: every enumerated outcome or every sample of some prompt has weight zero."""

    def __init__(self, message: str, prompts: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.prompts = prompts


class LowEffectiveSampleSize(RuntimeError):
    """Too few effective samples to state a multiplier or a rate; the remedy is a better proposal, not more trust."""

    def __init__(self, ess: float, floor: float, prompt: int | None = None) -> None:
        where = "" if prompt is None else f" of prompt {prompt}"
        super().__init__(
            f"effective sample size {ess:.1f}{where} is below the floor {floor:.1f}: move the proposal towards the law "
            "(temper it, sample from the regulated decoder or the partly tuned model) or draw more samples"
        )
        self.ess = ess
        self.floor = floor
        self.prompt = prompt


def as_vector(values: npt.ArrayLike, name: str) -> FloatArray:
    """A float64 vector without NaN, copied and made read-only; ValueError on any other shape or on NaN."""
    return _frozen(values, name, 1)


def as_matrix(values: npt.ArrayLike, name: str) -> FloatArray:
    """A float64 matrix without NaN, copied and made read-only; ValueError on any other shape or on NaN."""
    return _frozen(values, name, 2)


def _frozen(values: npt.ArrayLike, name: str, dimensions: int) -> FloatArray:
    array = np.array(values, dtype=np.float64)
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension(s), got shape {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{name} contains NaN")
    array.setflags(write=False)
    return array


def log_sum_exp(values: FloatArray) -> float:
    """log Σ exp(values) over a vector [N]; −inf for an empty vector or one of −inf only."""
    if values.size == 0:
        return -np.inf
    peak = float(values.max())
    if not np.isfinite(peak):
        return peak
    return peak + float(np.log(np.exp(values - peak).sum()))


def log_mean_exp(values: npt.ArrayLike) -> float:
    """log of the mean of exp(values) over a vector [N], N ≥ 1; −inf entries count as zeros in the mean."""
    vector = as_vector(values, "values")
    if vector.size == 0:
        raise ValueError("log_mean_exp of no values")
    return log_sum_exp(vector) - float(np.log(vector.size))


def grouped_weights(log_weight: FloatArray, starts: IntArray, counts: IntArray) -> FloatArray:
    """[N] exp(log_weight) over its sum in each group; groups begin at ``starts`` [X] and have ``counts`` [X] entries.

    Every group needs an entry above −inf.
    """
    scaled = np.exp(log_weight - np.repeat(np.maximum.reduceat(log_weight, starts), counts))
    result: FloatArray = scaled / np.repeat(np.add.reduceat(scaled, starts), counts)
    return result


def weighted_sum(probability: FloatArray, values: FloatArray) -> FloatArray:
    """Σ_n p_n v_n over axis 0, with 0·(±inf) = 0: values off the support do not matter.

    Shapes: probability [N], values [N] or [N, J]; result [] or [J].
    """
    support = probability > 0.0
    result: FloatArray = np.asarray(probability[support] @ values[support], dtype=np.float64)
    return result
