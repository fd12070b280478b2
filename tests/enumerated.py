"""A policy small enough to be enumerated, as tensors: the ground truth of the training objectives.

The base is a `TabularModel`; the policy has a logit of its own for every prefix and token, so that it can be any law
over the responses. All rows of a batch are all responses, and expectations are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bylaw.runtime.objectives.interface import Batch
from tinymodels import TabularModel, Tokens

REAL = torch.float64


@dataclass(frozen=True, eq=False)
class World:
    """`rule`: R(y) in nats of a response's text, −inf where a hard rule is broken. Y responses of at most T tokens, the
    end counted where there is one."""

    model: TabularModel
    rule: Callable[[bytes], float]
    responses: list[Tokens] = field(init=False)
    log_base: Tensor = field(init=False)
    reward: Tensor = field(init=False)

    def __post_init__(self) -> None:
        responses, log_base = self.model.enumerate()
        object.__setattr__(self, "responses", responses)
        object.__setattr__(self, "log_base", torch.tensor(log_base, dtype=REAL))
        rewards = [self.rule(self.model.text(each)) for each in responses]
        object.__setattr__(self, "reward", torch.tensor(rewards, dtype=REAL))

    @cached_property
    def prefixes(self) -> dict[Tokens, int]:
        """The number of every prefix after which a token is drawn."""
        found = sorted(
            (each for each in self.responses if len(each) < self.model.max_tokens), key=lambda t: (len(t), t)
        )
        return {prefix: number for number, prefix in enumerate(found)}

    @cached_property
    def _steps(self) -> tuple[Tensor, Tensor, Tensor]:
        """Prefix number, token and mask, [Y, T]."""
        cap = self.model.max_tokens
        where, what, mask = [], [], []
        for response in self.responses:
            tokens = response if len(response) == cap else (*response, self.model.eos_id)
            blank = cap - len(tokens)
            where.append([self.prefixes[tokens[:place]] for place in range(len(tokens))] + [0] * blank)
            what.append([*tokens] + [0] * blank)
            mask.append([True] * len(tokens) + [False] * blank)
        return torch.tensor(where), torch.tensor(what), torch.tensor(mask)

    @property
    def mask(self) -> Tensor:
        """[Y, T]."""
        return self._steps[2]

    @cached_property
    def base_logits(self) -> Tensor:
        """[prefixes, V]."""
        return torch.tensor(self.model.next_log_probs(list(self.prefixes)), dtype=REAL)

    @property
    def reference(self) -> Tensor:
        """[Y, T] log p0 of each token."""
        return self.token_log_probs(self.base_logits)

    def start(self, seed: int = 0, spread: float = 0.5) -> Tensor:
        """[prefixes, V] logits of a policy near the base, to be trained."""
        noise = torch.randn(self.base_logits.shape, generator=torch.Generator().manual_seed(seed), dtype=REAL)
        return self.base_logits + spread * noise

    def token_log_probs(self, logits: Tensor) -> Tensor:
        """[Y, T] log π of each token under the policy with these logits [prefixes, V]; NaN off the mask, on purpose."""
        where, what, mask = self._steps
        found = logits.log_softmax(dim=1)[where, what]
        return torch.where(mask, found, torch.nan)

    def log_law(self, logits: Tensor) -> Tensor:
        """[Y] log π."""
        return torch.where(self.mask, self.token_log_probs(logits), 0.0).sum(dim=1)

    def target(self, scale: float = 1.0) -> Tensor:
        """[Y] log p* = log p0 + scale · R − log Z."""
        tilted = self.log_base + scale * self.reward
        return tilted - tilted.logsumexp(0)

    @property
    def log_z(self) -> float:
        return float((self.log_base + self.reward).logsumexp(0))

    def batch(self, logits: Tensor, **given: Any) -> Batch:
        """Every response once, with the reference."""
        return Batch(self.token_log_probs(logits), self.mask, reference=self.reference, **given)

    def rewards_to_come(self) -> Tensor:
        """[Y, T] log Σ p0(rest) e^R of each response's beginning before token t, the soft value V(h)."""
        values = torch.zeros(self.mask.shape, dtype=REAL)
        for row, response in enumerate(self.responses):
            for place in range(int(self.mask[row].sum())):
                values[row, place] = self.soft_value(response[:place])
        return values

    def soft_value(self, begun: Tokens) -> float:
        """log E_p0[e^R | the response begins with `begun`], nats."""
        inside = torch.tensor([each[: len(begun)] == begun for each in self.responses])
        law = self.log_base[inside]
        return float((law + self.reward[inside]).logsumexp(0) - law.logsumexp(0))


def minimised(
    loss: Callable[[Tensor], Tensor],
    start: Tensor,
    steps: int = 100,
    value: Callable[[Tensor], Tensor] | None = None,
    tolerance: float = 1e-7,
) -> Tensor:
    """Where L-BFGS with a strong-Wolfe line search ends from `start`: at slopes below `tolerance`.

    `value`: what the line search goes by, for losses that are stand-ins and right only in gradient.
    """
    found = start.detach().clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [found],
        max_iter=steps,
        tolerance_grad=tolerance,
        tolerance_change=tolerance * 1e-3,
        history_size=30,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        here = loss(found)
        here.backward()
        return here if value is None else value(found.detach())

    optimiser.step(closure)
    return found.detach()


def followed(gradient: Callable[[Tensor], Tensor], start: Tensor, steps: int, rate: float) -> Tensor:
    """Where Adam ends from `start`, with a rate that falls to nothing."""
    found = start.detach().clone().requires_grad_()
    optimiser = torch.optim.Adam([found], lr=rate)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.01, steps)
    for _ in range(steps):
        optimiser.zero_grad()
        gradient(found).backward()
        optimiser.step()
        schedule.step()
    return found.detach()


def divergence(name: str, log_policy: Tensor, log_target: Tensor) -> Tensor:
    """D_f(π‖p) of two laws [Y] by definition; responses that p forbids (−inf) included."""
    policy, target = log_policy.exp(), log_target.exp()
    inside = log_target > -torch.inf
    gap = torch.where(inside, log_policy - log_target, 0.0)
    outside = policy[~inside].sum()
    if name == "forward_kl":
        return -(target * gap).sum()
    if name == "reverse_kl":
        return (policy * gap)[inside].sum() + torch.where(outside > 0, torch.inf, 0.0)
    if name == "js":
        middle = torch.log((policy + target) / 2)
        second = torch.where(inside, target * (torch.where(inside, log_target, 0.0) - middle), 0.0)
        return (policy * (log_policy - middle)).sum() + second.sum()
    if name == "tv":
        return (policy - target).abs().sum() / 2
    if name == "chi2":
        return ((policy - target) ** 2 / policy).sum()
    return ((policy - target) ** 2)[inside].div(target[inside]).sum() + torch.where(outside > 0, torch.inf, 0.0)


def total_variation(left: Tensor, right: Tensor) -> float:
    """Of two laws given as log-probabilities [Y]."""
    return float((left.exp() - right.exp()).abs().sum() / 2)


def gradient_of(value: Tensor, of: Tensor) -> Tensor:
    """d value / d `of`, the same shape."""
    (found,) = torch.autograd.grad(value, of, retain_graph=True)
    return found
