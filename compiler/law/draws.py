"""Responses weighted for two laws at once, and means under either of them, prompt by prompt.

A response drawn from one law counts for that law only; one that can be weighted for both (by probabilities, or by a
reward) counts for both, and its part in an error is then one number. Weights are self-normalised per prompt, prompts
are a fixed suite. Source: self-normalised importance sampling and its delta method (Owen, *Monte Carlo theory*, ch. 9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import BoolArray, EmptySupport, FloatArray, IntArray, as_vector
from bylaw.compiler.law.samples import PromptSamples

_SMALL = 1e-12


@dataclass(frozen=True, eq=False)
class Draws:
    """N responses to X prompts, weighted for the model Q, for the law P, or for both.

    Attributes:
        prompt: [N] whole numbers 0 … X−1.
        features: [N, K] what the witness sees; finite wherever one of the weights is positive.
        log_model: [N] log weight for Q up to a constant per prompt (0 for a draw from Q), −inf where it has none.
        log_law: [N] the same for P.
        prompt_weight: [X] nonnegative; None means uniform.

    Raises:
        ValueError: shapes disagree, a weight is +inf or NaN, or a feature is not finite where it counts.
        EmptySupport: some prompt has no weight for one of the two laws (``.prompts`` names them).
    """

    prompt: IntArray
    features: FloatArray
    log_model: FloatArray
    log_law: FloatArray
    prompt_weight: FloatArray | None = None

    def __post_init__(self) -> None:
        prompt = np.array(self.prompt, dtype=np.int64)
        model, law = as_vector(self.log_model, "log_model"), as_vector(self.log_law, "log_law")
        features = np.array(self.features, dtype=np.float64)
        if features.ndim != 2 or not prompt.shape == model.shape == law.shape == features.shape[:1] or not prompt.size:
            raise ValueError("prompt, log_model and log_law must be [N] and features [N, K], with N ≥ 1")
        if np.isposinf(model).any() or np.isposinf(law).any():
            raise ValueError("a log weight is +inf: the proposal must cover both laws")
        counts = (model > -np.inf) | (law > -np.inf)
        if not np.isfinite(features[counts]).all():
            raise ValueError("features must be finite on responses of positive weight")
        features[~counts] = 0.0
        raw = np.ones(int(prompt.max()) + 1) if self.prompt_weight is None else self.prompt_weight
        weight = as_vector(raw, "prompt_weight")
        if prompt.min() < 0 or prompt.max() >= weight.size or not (weight >= 0).all() or not 0 < weight.sum() < np.inf:
            raise ValueError(f"prompts must be numbered 0 … {weight.size - 1} with nonnegative weights, not all zero")
        for name, value in (
            ("prompt", prompt),
            ("features", features),
            ("log_model", model),
            ("log_law", law),
            ("prompt_weight", as_vector(weight / weight.sum(), "prompt_weight")),
        ):
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        for name, log_weight in (("the model", model), ("the law", law)):
            held = np.bincount(prompt[log_weight > -np.inf], minlength=weight.size)
            empty = tuple(int(index) for index in np.flatnonzero((held == 0) & (weight > 0)))
            if empty:
                raise EmptySupport(f"no response of positive weight under {name} for prompt(s) {list(empty)}", empty)

    @property
    def share(self) -> FloatArray:
        """[X] the normalised prompt weights."""
        return as_vector(np.ones(0) if self.prompt_weight is None else self.prompt_weight, "prompt_weight")

    def subset(self, chosen: BoolArray, prompts: BoolArray | None = None) -> Draws:
        """The draws for which ``chosen`` [N] holds, prompts outside ``prompts`` [X] (None: none) with weight zero.

        Raises EmptySupport as the constructor.
        """
        share = self.share if prompts is None else np.where(prompts, self.share, 0.0)
        return Draws(self.prompt[chosen], self.features[chosen], self.log_model[chosen], self.log_law[chosen], share)


def apart(
    model: Sequence[PromptSamples], law: Sequence[PromptSamples], prompt_weight: npt.ArrayLike | None = None
) -> Draws:
    """Draws of the model and weighted draws of the law, made independently of each other for the same X prompts.

    Raises: ValueError where the numbers of prompts or features differ, and as ``Draws``.
    """
    if len(model) != len(law) or not model:
        raise ValueError(f"{len(model)} prompts of the model and {len(law)} of the law")
    if len({samples.features.shape[1] for samples in (*model, *law)}) != 1:
        raise ValueError("the samples disagree on the number of features")
    pieces = [
        (index, samples, side) for index, both in enumerate(zip(model, law, strict=True))
        for side, samples in enumerate(both)
    ]  # fmt: skip
    none = [np.full(samples.log_weight.shape, -np.inf) for _, samples, _ in pieces]
    return Draws(
        np.concatenate([np.full(samples.log_weight.size, index) for index, samples, _ in pieces]),
        np.concatenate([samples.features for _, samples, _ in pieces]),
        np.concatenate([s.log_weight if side == 0 else none[i] for i, (_, s, side) in enumerate(pieces)]),
        np.concatenate([s.log_weight if side == 1 else none[i] for i, (_, s, side) in enumerate(pieces)]),
        None if prompt_weight is None else as_vector(prompt_weight, "prompt_weight"),
    )


class Side:
    """The self-normalised weights of one law.

    Attributes:
        within: [N] sum to one for each prompt. weight: [N] the same times the prompt's share, one in all.
        concentration: [X] Σ within² of each prompt. ess: pooled effective number of draws.
        freedom: ``ess`` less what normalising each prompt uses up.
    """

    def __init__(self, draws: Draws, log_weight: FloatArray) -> None:
        prompts = draws.share.size
        peak = np.full(prompts, -np.inf)
        np.maximum.at(peak, draws.prompt, log_weight)
        raw = np.exp(log_weight - np.where(peak > -np.inf, peak, 0.0)[draws.prompt])
        total = np.bincount(draws.prompt, raw, prompts)
        self.within: FloatArray = raw / np.where(total > 0.0, total, 1.0)[draws.prompt]
        self.concentration: FloatArray = np.bincount(draws.prompt, np.square(self.within), prompts).astype(np.float64)
        self.weight: FloatArray = self.within * draws.share[draws.prompt]
        self.ess = float(1.0 / (np.square(draws.share) @ self.concentration))
        self.freedom = max(0.0, self.ess * float(1.0 - draws.share @ self.concentration))

    def mean(self, draws: Draws, values: FloatArray) -> tuple[float, FloatArray]:
        """The mean of values [N], the bias of self-normalisation taken off, and each draw's part in its error [N]."""
        centred = self._centred(draws, values)
        freedom = np.maximum(1.0 - self.concentration, _SMALL)[draws.prompt]
        return float(draws.share @ self.prompt_means(draws, values)), self.weight * centred / np.sqrt(freedom)

    def prompt_means(self, draws: Draws, values: FloatArray) -> FloatArray:
        """[X] the means of values [N] prompt by prompt, the first-order bias of self-normalisation taken off."""
        used = np.where(self.within > 0.0, values, 0.0)
        bias = -np.square(self.within) * self._centred(draws, values)
        result: FloatArray = np.bincount(draws.prompt, self.within * used - bias, draws.share.size).astype(np.float64)
        return result

    def _centred(self, draws: Draws, values: FloatArray) -> FloatArray:
        used = np.where(self.within > 0.0, values, 0.0)
        result: FloatArray = used - np.bincount(draws.prompt, self.within * used, draws.share.size)[draws.prompt]
        return result
