"""f-DPG: gradients of an f-divergence from the policy to the law itself, from weighted samples of any proposal q.

    D_f(π‖p*) = E_{p*} f(π/p*),    ∇ D_f = E_q[ (π/q) (f′(e^ℓ) − b) ∇ log π ],    ℓ = log π − log p*

with p* = P/Z, P = p0 e^R 1_H, Z_x estimated as the mean of P/q over the prompt's rows (or given as `log_z`), and the
baseline b as below. f′ by name, with f(1) = 0:

    forward_kl    KL(p*‖π)   −e^−ℓ            reverse_kl    KL(π‖p*)   ℓ + 1
    js            2 JS       log 2 + log σ(ℓ)  tv           TV         sign(ℓ)/2
    chi2          χ²(p*‖π)   1 − e^−2ℓ         reverse_chi2 χ²(π‖p*)   2 (e^ℓ − 1)

Any b is right where q can write all that π can. The regulated decoder cannot: it never writes what a hard rule forbids,
and rows of it say nothing of the mass that π still has there. What they lack is f′(∞) ∇π(forbidden), which is
−f′(∞) Σ_allowed ∇π: so with b = f′(∞) the gradient is whole again (0, log 2, 1/2 and 1 for forward_kl, js, tv, chi2).

Weights of particles need not be P/q of the text alone: what is used is E[W g(y)] = Σ P g, which they have.

All have the optimum p* (TV keeps jittering: its gradient does not shrink). The reverse ones are infinite where a hard
rule is broken. Sources: Go et al. 2023 (arXiv:2302.08215); Khalifa et al. 2021 (2012.11635); Korbak et al. 2022
(2206.00761, baselines). Derived here from the definition: ∇ E_{p*} f(π/p*) = Σ f′(π/p*) π ∇ log π.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from bylaw.runtime.objectives._groups import group_log_sum, group_sums
from bylaw.runtime.objectives._settings import positive
from bylaw.runtime.objectives.errors import NoAllowedSample, ObjectiveError
from bylaw.runtime.objectives.interface import Batch, Loss, Source, mean_over, metric, sums

NEEDS: tuple[str, ...] = ("reference", "reward", "behaviour|log_weight")
ROWS: Source = "any"
OPTIMUM = "p*"

_LIMIT = {"forward_kl": 0.0, "js": math.log(2), "tv": 0.5, "chi2": 1.0}
"""f′(∞), the price of mass where the law has none; infinite for those that are not here."""


@dataclass(frozen=True)
class Settings:
    """`baseline`: f′(∞) (`limit`), the mean of (π/q) f′ over the other rows of the prompt, 0, or `auto`, which is the
    limit for rows of the decoder and the others' mean for rows that the policy wrote. `largest_ratio`: where π/q is cut
    off (none: nowhere), which trades a bias for less variance far from q."""

    divergence: Literal["forward_kl", "reverse_kl", "js", "tv", "chi2", "reverse_chi2"] = "js"
    baseline: Literal["auto", "limit", "leave_one_out", "none"] = "auto"
    largest_ratio: float | None = None

    def __post_init__(self) -> None:
        if self.largest_ratio is not None:
            positive(largest_ratio=self.largest_ratio)


def slope(gap: Tensor, divergence: str) -> Tensor:
    """f′(e^ℓ) at `gap` ℓ in nats, any shape, +inf where the law forbids the row. ObjectiveError for another name."""
    made = {
        "forward_kl": lambda: -torch.exp(-gap),
        "reverse_kl": lambda: gap + 1,
        "js": lambda: math.log(2) + logsigmoid(gap),
        "tv": lambda: torch.sign(gap) / 2,
        "chi2": lambda: -torch.expm1(-2 * gap),
        "reverse_chi2": lambda: 2 * torch.expm1(gap),
    }.get(divergence)
    if made is None:
        raise ObjectiveError(f"there is no divergence `{divergence}` for `fdpg`")
    return made()


def log_target(batch: Batch) -> Tensor:
    """[B] log P = log p0 + R of each row, nats, not normalised; −inf where a hard rule is broken."""
    reference, reward = batch.need("reference", "reward")
    found = sums(reference, batch.mask) + reward
    if bool((torch.isnan(found) | (found == torch.inf)).any()):
        raise ObjectiveError("a reward is no number of nats; `fdpg` cannot use it")
    return found


def log_proposal(batch: Batch, target: Tensor) -> Tensor:
    """[B] log q of each row in nats: of the policy that wrote it, or from its log weight and `target` [B].

    Raises ObjectiveError where neither tells.
    """
    if batch.behaviour is not None:
        return sums(batch.behaviour, batch.mask)
    (log_weight,) = batch.need("log_weight")
    found = target - log_weight
    if not bool(torch.isfinite(found).all()):
        raise ObjectiveError(
            "a row that the law forbids, or of weight 0, does not say how likely it was to be drawn; leave it out, or "
            "give the `behaviour` of rows that the policy wrote"
        )
    return found


def prepare(batch: Batch, settings: Settings) -> Batch:
    """log Z of each row's prompt, and baselines with the policy as it is now. Raises NoAllowedSample where all rows of
    a prompt break hard rules, and ObjectiveError for a reverse divergence where one does."""
    target = log_target(batch)
    if settings.divergence not in _LIMIT and bool((target == -torch.inf).any()):
        raise ObjectiveError(
            f"a row breaks a hard rule, where `{settings.divergence}` is infinite; use `forward_kl`, `js`, `tv` or "
            "`chi2`, or rows of the regulated decoder"
        )
    proposal, group, weights = log_proposal(batch, target), batch.prompts(), batch.weights()
    if batch.log_z is None:
        counts = group_sums(weights, group)
        log_z = (group_log_sum(target - proposal + weights.log(), group) - counts.log())[group]
        empty = torch.unique(group[log_z == -torch.inf]).tolist()
        if empty:
            raise NoAllowedSample(empty, "every sample breaks a hard rule")
        batch = replace(batch, log_z=log_z)
    form = settings.baseline
    if form == "auto":
        form = "limit" if batch.behaviour is None else "leave_one_out"
    if form == "none":
        return replace(batch, baseline=torch.zeros_like(target))
    if form == "limit":
        return replace(batch, baseline=torch.full_like(target, _limit(settings.divergence)))
    ratio, gap, share = _terms(batch, settings, target, proposal)
    pulled = weights * _pull(ratio, gap, share, settings.divergence)
    others = group_sums(weights, group)[group] - weights
    mean = (group_sums(pulled, group)[group] - pulled) / others
    return replace(batch, baseline=torch.where(others > 0, mean, 0.0))


def loss(batch: Batch, settings: Settings) -> Loss:
    """A stand-in whose gradient is that of D_f, per row; the metrics estimate both KL divergences in nats."""
    (baseline,) = batch.need("baseline")
    weights = batch.weights()
    target = log_target(batch)
    proposal = log_proposal(batch, target)
    ratio, gap, share = _terms(batch, settings, target, proposal)
    pull = _pull(ratio, gap, share, settings.divergence) - ratio * baseline
    each = pull.detach() * sums(batch.log_probs, batch.mask)
    metrics = {
        "forward_kl": metric(torch.where(share > 0, -share * gap, 0.0), weights),
        "share_forbidden": metric((target == -torch.inf).to(weights.dtype), weights),
        "policy_over_proposal": metric(ratio, weights),
    }
    if not bool((target == -torch.inf).any()):
        metrics["reverse_kl"] = metric(ratio * gap, weights)
    return Loss({"divergence": (1.0, mean_over(each, weights))}, metrics)


def _limit(divergence: str) -> float:
    if divergence not in _LIMIT:
        raise ObjectiveError(
            f"rows of the regulated decoder do not show what hard rules forbid, where `{divergence}` is infinite; use "
            "`forward_kl`, `js`, `tv` or `chi2`, or where the law has no hard rules the baseline `leave_one_out`"
        )
    return _LIMIT[divergence]


def _terms(batch: Batch, settings: Settings, target: Tensor, proposal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """π/q, ℓ and p*/q, [B] each, without gradient."""
    now = sums(batch.log_probs.detach(), batch.mask)
    ratio = (now - proposal).exp()
    if settings.largest_ratio is not None:
        ratio = ratio.clamp(max=settings.largest_ratio)
    log_share = target - batch.log_z
    return ratio, now - log_share, (log_share - proposal).exp()


def _pull(ratio: Tensor, gap: Tensor, share: Tensor, divergence: str) -> Tensor:
    """(π/q) f′ [B]; a row that the policy gives nothing still pulls by p*/q where the divergence is KL(p*‖π)."""
    if divergence == "forward_kl":
        return -share
    return torch.where(ratio > 0, slope(gap, divergence) * ratio, 0.0)
