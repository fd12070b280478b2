"""What goes into an objective and what comes out: a batch of responses, and a loss in parts with their counts.

B responses (rows) of at most T tokens, P pairs of rows, J rules. Logarithms are natural (nats). An objective gives sums
and counts apart, so that micro-batches and processes add up to the whole batch exactly: Σ weight · Σ total / Σ count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from bylaw.runtime.objectives.errors import ObjectiveError

Source: TypeAlias = Literal["data", "law", "policy", "any"]
"""Who wrote the rows: a data set, the regulated decoder (rows with a `log_weight`), the policy that is trained (rows
with its `behaviour`), or either of the last two."""

MEANING: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "the number of the prompt of each row",
        "reference": "log-probabilities of the tokens under the reference model",
        "behaviour": "log-probabilities of the tokens under the policy that wrote them",
        "log_weight": "log weights of the rows under the law, as decoders give them",
        "reward": "the reward of each row in nats",
        "rule_rewards": "the reward of each row by rule",
        "pairs": "pairs of rows, the preferred one first",
        "desirable": "which rows are desirable",
        "reference_point": "the reference point in nats",
        "span": "which tokens carry the preference",
        "rule_weights": "the weight of each rule",
        "values": "values of a critic at each token",
        "old_values": "values of the critic when the rows were written",
        "score": "scores of a reward head",
        "advantage": "advantages: call `prepare` with the whole batch first",
        "returns": "returns: call `prepare` with the whole batch first",
        "log_z": "estimates of log Z: call `prepare` with the whole batch first",
    }
)


Axis: TypeAlias = Literal["row", "token", "row or token", "rule", "pair", "one"]
_AXES: Mapping[str, Axis] = MappingProxyType(
    {
        **dict.fromkeys(("log_probs", "mask", "reference", "behaviour", "span"), "token"),
        **dict.fromkeys(("values", "old_values", "returns"), "token"),
        **dict.fromkeys(
            ("weight", "prompt", "place", "log_weight", "reward", "desirable", "score", "baseline", "log_z"), "row"
        ),
        **dict.fromkeys(("pairs", "preference", "margin", "pair_weight"), "pair"),
        "advantage": "row or token",
        "rule_rewards": "rule",
        "rule_weights": "one",
        "reference_point": "one",
    }
)
"""What the first axis of each field counts; `token` is [B, T], `rule` [B, J], `one` concerns the whole batch."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows with all that is known about them; what an objective needs is in its `NEEDS`.

    Attributes:
        log_probs: [B, T] log π of each token; carries the gradient. Entries off the mask are ignored, NaN included.
        mask: [B, T] bool, the tokens of the response, its end token included.
        weight: [B] ≥ 0, how much each row counts (1).
        prompt: [B] integers; rows with the same number answer the same prompt (all rows the same one).
        place: [B] integers, where the loop keeps a row's tokens; nothing but carried along when rows are taken or left.
        reference, behaviour: [B, T] log p0, and log π when the policy wrote the row. No gradient.
        log_weight: [B] nats, log W with E[W g(y)] = Σ_y p0 e^R 1_H g for every g; −inf is no weight. For exact samples
            of p* it is log Ẑ of the prompt, not 0. Where particles died on the way, give their `log_z` as well.
        reward: [B] R(y) = Σ w r − Σ μ f in nats; −inf where a hard rule is broken.
        rule_rewards: [B, J] unweighted rewards by rule, NaN where a rule does not apply. `rule_weights`: [J].
        pairs: [P, 2] rows (chosen, rejected). `preference` [P]: probability that the first is the better one (1).
            `margin` [P]: least difference of scores. `pair_weight` [P] ≥ 0 (1).
        desirable: [B] bool; for prohibitions the undesirable rows are negatives, the others own samples.
        span: [B, T] bool, tokens that carry the preference (all).
        values, old_values: [B, T] a critic's value before each token, now (with gradient) and then. Nats.
        score: [B] a reward head's score, with gradient.
        advantage: [B] or [B, T]; returns: [B, T]; baseline, log_z: [B]. Made by `prepare`, no gradient.
        reference_point: scalar, nats.
    """

    log_probs: Tensor
    mask: Tensor
    weight: Tensor | None = None
    prompt: Tensor | None = None
    place: Tensor | None = None
    reference: Tensor | None = None
    behaviour: Tensor | None = None
    log_weight: Tensor | None = None
    reward: Tensor | None = None
    rule_rewards: Tensor | None = None
    rule_weights: Tensor | None = None
    pairs: Tensor | None = None
    preference: Tensor | None = None
    margin: Tensor | None = None
    pair_weight: Tensor | None = None
    desirable: Tensor | None = None
    span: Tensor | None = None
    values: Tensor | None = None
    old_values: Tensor | None = None
    score: Tensor | None = None
    advantage: Tensor | None = None
    returns: Tensor | None = None
    baseline: Tensor | None = None
    log_z: Tensor | None = None
    reference_point: Tensor | None = None

    def __post_init__(self) -> None:
        if self.log_probs.dim() != 2:
            raise ObjectiveError(f"`log_probs` has the shape {_shape(self.log_probs)}, not [rows, tokens]")
        if self.mask.dtype != torch.bool:
            raise ObjectiveError(f"`mask` holds {self.mask.dtype}; it must say true or false for each token")
        rows, tokens = self.log_probs.shape
        count = 0 if self.pairs is None else self.pairs.shape[0]
        for name, axis in _AXES.items():
            value = getattr(self, name)
            if value is None or axis == "one":
                continue
            shape = tuple(value.shape)
            wanted: tuple[tuple[int, ...], ...] = {
                "row": ((rows,),),
                "token": ((rows, tokens),),
                "row or token": ((rows,), (rows, tokens)),
                "rule": ((rows, *shape[1:2]),),
                "pair": ((count, 2),) if name == "pairs" else ((count,),),
            }[axis]
            if shape not in wanted:
                raise ObjectiveError(f"`{name}` has the shape {list(shape)}, not {list(wanted[0])}")

    @property
    def rows(self) -> int:
        """B."""
        return int(self.log_probs.shape[0])

    def need(self, *names: str) -> tuple[Tensor, ...]:
        """The fields of these names; `a|b` is the first of the two that is there. Raises ObjectiveError for a missing
        one."""
        found = []
        for name in names:
            given = [each for each in name.split("|") if getattr(self, each) is not None]
            if not given:
                told = " or ".join(f"`{each}`, {MEANING.get(each, 'which is needed here')}" for each in name.split("|"))
                raise ObjectiveError(f"the batch has no {told}")
            found.append(getattr(self, given[0]))
        return tuple(found)

    def prompts(self) -> Tensor:
        """[B] prompt numbers as 0 ... X − 1, in the order of the numbers."""
        if self.prompt is None:
            return torch.zeros(self.rows, dtype=torch.long, device=self.mask.device)
        return torch.unique(self.prompt, return_inverse=True)[1]

    def weights(self) -> Tensor:
        """[B] weights of rows, 1 where none were given."""
        made = torch.ones(self.rows, dtype=wide(self.log_probs).dtype, device=self.mask.device)
        return made if self.weight is None else self.weight.to(made.dtype)

    def pair_weights(self) -> Tensor:
        """[P] weights of pairs, 1 where none were given."""
        (pairs,) = self.need("pairs")
        made = torch.ones(pairs.shape[0], dtype=wide(self.log_probs).dtype, device=self.mask.device)
        return made if self.pair_weight is None else self.pair_weight.to(made.dtype)

    def take(self, rows: Tensor) -> Batch:
        """The batch of these rows, [N] integers. Raises ObjectiveError where a pair would be torn apart."""
        chosen: dict[str, Tensor] = {}
        for name, axis in _AXES.items():
            value = getattr(self, name)
            if value is not None and axis not in ("pair", "one"):
                chosen[name] = value[rows]
        if self.pairs is not None:
            place = torch.full((self.rows,), -1, dtype=torch.long, device=rows.device)
            place[rows] = torch.arange(rows.shape[0], device=rows.device)
            moved = place[self.pairs]
            kept = (moved >= 0).all(dim=1)
            if bool(((moved >= 0).any(dim=1) & ~kept).any()):
                raise ObjectiveError("a micro-batch holds one row of a pair without the other; keep pairs together")
            chosen["pairs"] = moved[kept]
            for name in ("preference", "margin", "pair_weight"):
                value = getattr(self, name)
                if value is not None:
                    chosen[name] = value[kept]
        return replace(self, **chosen)


def _shape(value: Tensor) -> str:
    return str(list(value.shape))


@dataclass(frozen=True, eq=False)
class Ratio:
    """A mean in two halves: `total` is a sum (with gradient, where it is part of a loss) over `count` things."""

    total: Tensor
    count: Tensor


@dataclass(frozen=True, eq=False)
class Loss:
    """`parts` by name with their weights; `metrics` are means to report, without gradient.

    The counts depend on masks, weights, pairs and settings, never on log-probabilities.
    """

    parts: Mapping[str, tuple[float, Ratio]]
    metrics: Mapping[str, Ratio]

    def value(self, counts: Mapping[str, Tensor] | None = None) -> Tensor:
        """Scalar Σ weight · total / count, with `counts` of the whole batch where this is a micro-batch of it.

        Raises ObjectiveError where there is nothing to take the mean of.
        """
        found: Tensor | None = None
        for name, (weight, ratio) in self.parts.items():
            count = ratio.count if counts is None else counts[name]
            if not bool(count > 0):
                raise ObjectiveError(f"the batch is empty: nothing to take the mean of for `{name}`")
            term = weight * ratio.total / count
            found = term if found is None else found + term
        if found is None:
            raise ObjectiveError("the loss has no parts")
        return found

    def require_finite(self) -> None:
        """Raises ObjectiveError that names the part that is no finite number."""
        for name, (_, ratio) in self.parts.items():
            if not bool(torch.isfinite(ratio.total.detach()).all()):
                raise ObjectiveError(f"the loss `{name}` is {float(ratio.total.detach())}, no finite number")


# --------------------------------------------------------------------------------------------------- what files share
def wide(values: Tensor) -> Tensor:
    """The same numbers with at least 32 bits: sums over tokens lose digits in less."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def on_mask(values: Tensor, mask: Tensor) -> Tensor:
    """[B, T] with 0 off the mask, whatever stood there."""
    return torch.where(mask, wide(values), 0.0)


def sums(values: Tensor, mask: Tensor) -> Tensor:
    """[B] sums over the tokens of the mask; of log-probabilities: those of whole responses, nats."""
    return on_mask(values, mask).sum(dim=1)


def log_ratios(batch: Batch, span: bool = False) -> Tensor:
    """[B] log π(y) − log p0(y), nats; with `span` only over the tokens of `batch.span`."""
    (reference,) = batch.need("reference")
    mask = batch.mask & batch.span if span and batch.span is not None else batch.mask
    return sums(batch.log_probs, mask) - sums(reference.detach(), mask)


def mean_over(values: Tensor, weights: Tensor) -> Ratio:
    """The weighted mean; entries of weight 0 count for nothing, whatever they are."""
    return Ratio(torch.where(weights > 0, values * weights, 0.0).sum(), weights.sum())


def metric(values: Tensor, weights: Tensor) -> Ratio:
    """A weighted mean to report."""
    return mean_over(values.detach(), weights.detach())


def bounded(reward: Tensor, hard_penalty: float | None, objective: str) -> Tensor:
    """[B] rewards in nats, where that of a response that breaks a hard rule (−inf) is −`hard_penalty`.

    Raises ObjectiveError for +inf and NaN, and for −inf where there is no penalty: rewards must then be finite.
    """
    if bool((torch.isnan(reward) | (reward == torch.inf)).any()):
        raise ObjectiveError(f"a reward is no number of nats; `{objective}` cannot use it")
    broken = reward == -torch.inf
    if not bool(broken.any()):
        return reward
    if hard_penalty is None:
        raise ObjectiveError(
            f"a response breaks a hard rule, and `{objective}` needs finite rewards; set `hard_penalty` (nats), or "
            "train by `distill` or `fdpg`, which take hard rules as they are"
        )
    return torch.where(broken, torch.full_like(reward, -hard_penalty), reward)
