"""Masking: at every token the ones that make the rules unreachable are removed and the rest is renormalised.

BIASED. The law is p0(y) / Π_k Z_k on the permitted set, Z_k the mass kept at step k, and rewards are ignored (LAW.md
§3): the common baseline, one pass per token. Its weight Π_k Z_k · e^R is still exact, so log Ẑ is unbiased and the
weighted samples are those of p*.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.runtime.decoders.engine import draw_paths
from bylaw.runtime.decoders.interface import DecodeResult, DecodeTask, Diagnostics, Watch
from bylaw.runtime.decoders.weights import conclude
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.metering import Limits, Meter


@dataclass(frozen=True)
class Mask:
    """`particles` masked responses per prompt. Any twist will do, since only its reachability is used."""

    particles: int = 1
    batch_size: int = 64

    @property
    def name(self) -> str:
        return "mask"

    @property
    def biased(self) -> bool:
        return True

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
        """The responses are the finished particles themselves, unweighted; see `Decoder`.

        With one particle `watch` is told of every token. Raises `DecodeError`.
        """
        meter = Meter(limits)
        drawn = draw_paths(
            meter.watch(model),
            tasks,
            self.particles,
            max_tokens,
            seed,
            self.batch_size,
            masked=True,
            watch=watch if self.particles == 1 else None,
        )
        told = Diagnostics(meter.passes)
        return [
            conclude(task, model.vocabulary, found, found.samples, told, biased=True, max_tokens=max_tokens)
            for task, found in zip(tasks, drawn, strict=True)
        ]
