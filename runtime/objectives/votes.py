"""How strongly several voters prefer one of a pair, and what that makes of its label (Wang et al. 2024, 2401.06080).

Voters are rules, judges, or reward models of several seeds; each gives a difference of scores in its own nats. Pairs at
the bottom of the mean are probably labelled the wrong way round: their labels are flipped. Those at the top get the
mean as a margin. Those between get soft labels σ(mean).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bylaw.runtime.objectives._settings import between
from bylaw.runtime.objectives.errors import ObjectiveError


@dataclass(frozen=True, eq=False)
class Treated:
    """What votes make of P pairs: `flipped` [P] bool (the pair's rows change places), `preference` [P] the probability
    that the first row is the better one, after flipping, and `margin` [P] nats, as the fields of a batch."""

    flipped: Tensor
    preference: Tensor
    margin: Tensor

    def pairs(self, pairs: Tensor) -> Tensor:
        """[P, 2] the pairs in their new order."""
        return torch.where(self.flipped[:, None], pairs.flip(1), pairs)


def strength(differences: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (n − 1) [P] of score(chosen) − score(rejected) [M, P] over M voters; NaN abstains.

    Raises ObjectiveError for a pair that nobody has voted on.
    """
    there = ~torch.isnan(differences)
    count = there.sum(dim=0)
    if bool((count == 0).any()):
        pair = int(torch.nonzero(count == 0)[0, 0])
        raise ObjectiveError(f"nobody has voted on pair {pair}")
    mean = torch.where(there, differences, 0.0).sum(dim=0) / count
    squares = torch.where(there, (differences - mean) ** 2, 0.0).sum(dim=0)
    return mean, (squares / (count - 1).clamp(min=1)).sqrt()


def treat(mean: Tensor, flip_share: float = 0.2, margin_share: float = 0.2) -> Treated:
    """Labels of P pairs by the mean of their votes [P]: the lowest `flip_share` with a negative mean is flipped, the
    highest `margin_share` with a positive one gets its mean as a margin, and the rest soft labels."""
    between(0, 1, flip_share=flip_share, margin_share=margin_share, both_shares=flip_share + margin_share)
    size = mean.numel()
    rank = torch.argsort(torch.argsort(mean, stable=True), stable=True)
    flipped = (rank < round(flip_share * size)) & (mean < 0)
    certain = (rank >= size - round(margin_share * size)) & (mean > 0)
    zero, one = torch.zeros_like(mean), torch.ones_like(mean)
    return Treated(flipped, torch.where(flipped | certain, one, torch.sigmoid(mean)), torch.where(certain, mean, zero))
