"""Means, deviations and log-sums over the rows of each prompt, where NaN stands for a row that does not count."""

from __future__ import annotations

import torch
from torch import Tensor


def group_sums(values: Tensor, group: Tensor) -> Tensor:
    """[X, ...] sums of `values` [B, ...] over the rows of each group, `group` [B] being 0 ... X − 1."""
    made = torch.zeros((_size(group), *values.shape[1:]), dtype=values.dtype, device=values.device)
    return made.index_add(0, group, values)


def _size(group: Tensor) -> int:
    return int(group.max()) + 1 if group.numel() else 0


def group_mean(values: Tensor, group: Tensor) -> Tensor:
    """[B, ...] the mean over each row's group, of what is not NaN; NaN where nothing is."""
    there = ~torch.isnan(values)
    counts = group_sums(there.to(values.dtype), group)
    return (group_sums(torch.where(there, values, 0.0), group) / counts)[group]


def group_deviation(values: Tensor, group: Tensor) -> Tensor:
    """[B, ...] the standard deviation of each row's group, with n − 1; 0 where fewer than two rows count."""
    there = ~torch.isnan(values)
    counts = group_sums(there.to(values.dtype), group)
    squares = torch.where(there, (values - group_mean(values, group)) ** 2, 0.0)
    return (group_sums(squares, group) / (counts - 1).clamp(min=1)).sqrt()[group]


def leave_one_out_mean(values: Tensor, group: Tensor) -> Tensor:
    """[B] the mean of the other rows of each row's group; NaN for a row that is NaN or has no other."""
    there = ~torch.isnan(values)
    counts = group_sums(there.to(values.dtype), group)[group]
    totals = group_sums(torch.where(there, values, 0.0), group)[group]
    return torch.where(counts > 1, (totals - values) / (counts - 1), torch.nan)


def group_log_sum(values: Tensor, group: Tensor) -> Tensor:
    """[X] log Σ exp over the rows of each group; −inf where all are −inf."""
    peak = torch.full((_size(group),), -torch.inf, dtype=values.dtype, device=values.device)
    peak = peak.scatter_reduce(0, group, values, reduce="amax", include_self=True)
    safe = torch.where(torch.isfinite(peak), peak, 0.0)
    return safe + group_sums((values - safe[group]).exp(), group).log()


def deviation(values: Tensor) -> Tensor:
    """Scalar: the standard deviation with n − 1 of what is not NaN; 0 for fewer than two."""
    found = values[~torch.isnan(values)]
    return found.std() if found.numel() > 1 else torch.zeros((), dtype=values.dtype, device=values.device)
