"""The controller of an autoregressive reward model, logits + α·log π_r (GenARM, arXiv 2410.08193), with its weights.

Each token is drawn from q(w | h) ∝ p0(w | h) · π_r(w | h)^α · Π_rules e^{r} V̂. Without rules that is the law of the
published decoder, which states it as a temperature of 1/(1 + α) on a mean of logits.

The target law is p* of the rules, or with `rewarding` p*(y) ∝ p0(y) · e^{R(y)} · π_r(y | prompt)^α: the reward of a
sample then includes α·log π_r of its tokens. The controller alone follows neither, unless π_r is the one right model:
its responses come unweighted only on demand (`corrected=False`, BIASED), and the weights are always reported.
exp(log Ẑ) is unbiased for the Z of the target law.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from bylaw.runtime.decoders.engine import draw_paths
from bylaw.runtime.decoders.interface import DecodeResult, DecodeTask, Diagnostics, Watch
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.weights import conclude
from bylaw.runtime.look_ahead.autoregressive_reward import AutoregressiveReward
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.metering import Limits, Meter


@dataclass(frozen=True, eq=False)
class Arm:
    """`particles` draws of the controller with `reward_model` and α = `alpha`.

    `corrected`: `responses` of them are resampled by their weights; otherwise all are handed out as they were drawn.
    Passes are those of the model that writes; the reward model is evaluated as often.
    """

    reward_model: LanguageModel
    alpha: float = 1.0
    rewarding: bool = False
    particles: int = 64
    responses: int = 0
    corrected: bool = True
    batch_size: int = 64

    @property
    def name(self) -> str:
        return "arm"

    @property
    def biased(self) -> bool:
        return not self.corrected

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
        """One result per task; see `Decoder`. With one particle, uncorrected, `watch` is told of every token.

        Raises `DecodeError`, and ModelError for a reward model with another vocabulary.
        """
        factor = AutoregressiveReward(
            self.reward_model, self.alpha, model.vocabulary, max_tokens if self.rewarding else None
        )
        steered = [replace(task, look_ahead=(*task.look_ahead, factor)) for task in tasks]
        law = f"; the law includes {factor.name}" if self.rewarding else ""
        remark = f"the proposal includes {factor.name}{law}"
        if self.corrected:
            inner = Sir(self.particles, self.responses, batch_size=self.batch_size)
            results = inner.decode(model, steered, max_tokens=max_tokens, seed=seed, limits=limits, watch=watch)
            return [_remarked(result, remark) for result in results]
        meter = Meter(limits)
        drawn = draw_paths(
            meter.watch(model),
            steered,
            self.particles,
            max_tokens,
            seed,
            self.batch_size,
            masked=False,
            watch=watch if self.particles == 1 else None,
        )
        told = Diagnostics(meter.passes, remarks=(remark,))
        return [
            conclude(task, model.vocabulary, found, found.samples, told, biased=True, max_tokens=max_tokens)
            for task, found in zip(steered, drawn, strict=True)
        ]


def _remarked(result: DecodeResult, remark: str) -> DecodeResult:
    told = replace(result.diagnostics, remarks=(remark, *result.diagnostics.remarks))
    return replace(result, diagnostics=told)
