"""Sampling, importance, resampling: a fixed number of twisted proposals per prompt, each with its exact weight.

exp(log Ẑ) is unbiased for Z for any twist. The weighted samples, and the resampled responses, follow p* as the number
of particles grows; log Z − E log Ẑ bounds KL(law of one resampled response ‖ p*) from above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bylaw.runtime.decoders.engine import draw_paths, proposal_log_prob
from bylaw.runtime.decoders.interface import DecodeError, DecodeResult, DecodeTask, Diagnostics, Watch
from bylaw.runtime.decoders.weights import conclude
from bylaw.runtime.models.interface import RESAMPLING_STREAM, FloatArray, IntArray, LanguageModel, row_uniforms
from bylaw.runtime.models.metering import Limits, Meter

__all__ = ["Sir", "proposal_log_prob", "resample"]


@dataclass(frozen=True)
class Sir:
    """`particles` proposals per prompt; with `responses` > 0 that many are resampled in proportion to their weights.

    `systematic` resampling has less variance; `multinomial` draws are independent given the particles.
    """

    particles: int = 64
    responses: int = 0
    resampling: Literal["systematic", "multinomial"] = "systematic"
    batch_size: int = 64

    @property
    def name(self) -> str:
        return "sir"

    @property
    def biased(self) -> bool:
        return False

    def decode(
        self,
        model: LanguageModel,
        tasks: Sequence[DecodeTask],
        *,
        max_tokens: int,
        seed: int,
        limits: Limits | None = None,
        watch: Watch | None = None,
    ) -> list[DecodeResult]:
        """One result per task; without responses where every particle is dead. Raises `DecodeError`; see `Decoder`."""
        if self.responses < 0 or self.resampling not in ("systematic", "multinomial"):
            raise DecodeError(f"cannot resample {self.responses} responses by `{self.resampling}` resampling")
        meter = Meter(limits)
        drawn = draw_paths(meter.watch(model), tasks, self.particles, max_tokens, seed, self.batch_size, masked=False)
        told = Diagnostics(meter.passes)
        results = []
        for index, (task, found) in enumerate(zip(tasks, drawn, strict=True)):
            uniforms = row_uniforms(seed, RESAMPLING_STREAM, [(index, 0)], max(self.responses, 1))[0]
            weights = np.array([sample.log_weight for sample in found.samples])
            picked = resample(weights, self.responses, uniforms, self.resampling) if found.samples else ()
            chosen = [found.samples[int(i)] for i in picked]
            if watch is not None and chosen:
                watch(index, chosen[0].text)
            results.append(conclude(task, model.vocabulary, found, chosen, told, biased=False, max_tokens=max_tokens))
        return results


def resample(
    log_weights: FloatArray, count: int, uniforms: FloatArray, method: Literal["systematic", "multinomial"]
) -> IntArray:
    """[count] indices in proportion to exp(log_weights) [N]; systematic uses the first of `uniforms` only."""
    cumulative = np.cumsum(np.exp(log_weights - log_weights.max()))
    points = (np.arange(count) + uniforms[0]) / max(count, 1) if method == "systematic" else uniforms[:count]
    below_total = np.nextafter(cumulative[-1], 0.0)
    picked: IntArray = np.searchsorted(cumulative, np.minimum(points * cumulative[-1], below_total), side="right")
    return picked
