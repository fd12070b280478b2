"""Weighted feature rows of a sample, equal rows merged, and the law on them: what every step of the dual evaluates.

Features of rules are mostly 0/1 or small counts, so thousands of samples share one row f. Under any multipliers they
share the factor exp(−μ·f) as well, hence

    Σ_{n: f_n = f} exp(w_n − μ·f) = exp(log Σ e^{w_n} − μ·f),    Σ_{n: f_n = f} exp(2 w_n − 2 μ·f) likewise,

and the law, its moments and their Monte-Carlo errors are the same numbers (up to rounding) on the merged rows. Equal
means equal to the last bit: a hash proposes, a comparison decides. Arrays are feature-major [J, G], so that one
product with μ reads memory in order; second moments are summed in blocks that fit the processor's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import BoolArray, FloatArray, IntArray

_BLOCK = 4096  # columns of a block: J = 10 features of float64 then take 320 KiB
_STRETCH = 512  # columns of a stretch that stands for eight
_PROBE = 2048  # rows looked at before the whole is hashed
_KEPT = 1e-4  # a variance this small beside the mean square is not computed as a difference
_SAFE_RANGE = 300.0  # nats between log weights within which their squares neither overflow nor vanish
_MOST_CELLS = 1 << 20  # 0/1 rows are counted in a table up to this size, hashed and sorted beyond


@dataclass(frozen=True, eq=False)
class Rows:
    """G weighted rows of J features, prompt after prompt.

    Attributes:
        values: [J, G] features. log_weight: [G] log Σ e^w of the samples merged into a row, nats.
        log_square: [G] log Σ e^{2w} of the same samples, for Monte-Carlo errors.
        starts, counts: [X] where each prompt begins and how many rows it has (≥ 1).
        log_sizes: [X] log of the number of samples of a prompt, forbidden ones included.
        single: every row is one sample, so that ``log_square`` is twice ``log_weight``.
    """

    values: FloatArray
    log_weight: FloatArray
    log_square: FloatArray
    starts: IntArray
    counts: IntArray
    log_sizes: FloatArray
    single: bool = False

    @property
    def prompts(self) -> int:
        """X, the number of prompts."""
        return int(self.starts.size)

    def spread(self, per_prompt: FloatArray) -> FloatArray:
        """[..., G] from [..., X]: each prompt's number at each of its rows."""
        result: FloatArray = per_prompt if self.prompts == 1 else np.repeat(per_prompt, self.counts, axis=-1)
        return result

    @cached_property
    def even(self) -> bool:
        """Whether all prompts have as many rows, so that arrays over rows reshape to [..., X, G / X]."""
        return bool((self.counts == self.counts[0]).all())

    def fold(self, change: np.ufunc, per_row: FloatArray, per_prompt: FloatArray) -> None:
        """Changes ``per_row`` [G] (contiguous) in place by each prompt's number [X], ``np.subtract`` for one."""
        if self.even:
            table = per_row.reshape(self.prompts, -1)
            change(table, per_prompt[:, None], out=table)
        else:
            change(per_row, np.repeat(per_prompt, self.counts), out=per_row)

    def total(self, per_row: FloatArray) -> FloatArray:
        """[..., X] from [..., G]: sums over the rows of each prompt."""
        if self.prompts == 1:
            return np.asarray(per_row.sum(axis=-1, keepdims=True), dtype=np.float64)
        result: FloatArray = np.add.reduceat(per_row, self.starts, axis=-1)
        return result

    def normalised(self, tilt: FloatArray) -> tuple[FloatArray, FloatArray]:
        """(log Ẑ_x [X] in nats, w̃ [G]) for log weights ``log_weight − tilt``; w̃ sums to 1 in every prompt."""
        exponent = self.log_weight - tilt
        peak = np.maximum.reduceat(exponent, self.starts)
        self.fold(np.subtract, exponent, peak)
        np.exp(exponent, out=exponent)
        total = self.total(exponent)
        self.fold(np.multiply, exponent, 1.0 / total)
        return peak + np.log(total) - self.log_sizes, exponent

    def squares(self, tilt: FloatArray | None, log_z: FloatArray, weight: FloatArray) -> FloatArray:
        """[G] Σ w̃_n² over the samples merged into each row, of weight w̃ [G] under the law with partition ``log_z``.

        ``tilt`` [G] is not looked at where every row is ``single``.
        """
        if self.single or tilt is None:
            return np.square(weight)
        result: FloatArray = np.exp(self.log_square - 2.0 * tilt - 2.0 * self.spread(log_z + self.log_sizes))
        return result

    def sums(self, weight: FloatArray) -> FloatArray:
        """[J, X] Σ weight f over the rows of each prompt."""
        if self.prompts == 1:
            return (self.values @ weight)[:, None]
        if self.even:
            size = weight.size // self.prompts
            stack = self.values.reshape(self.values.shape[0], self.prompts, size).transpose(1, 0, 2)
            result: FloatArray = (stack @ weight.reshape(self.prompts, size, 1))[:, :, 0].T
            return result
        if self.prompts * 512 > weight.size:
            return np.array([np.add.reduceat(row * weight, self.starts) for row in self.values]).reshape(
                -1, self.prompts
            )
        ends = self.starts + self.counts
        parts = [self.values[:, a:b] @ weight[a:b] for a, b in zip(self.starts, ends, strict=True)]
        return np.stack(parts, axis=1)

    @cached_property
    def extremes(self) -> tuple[FloatArray, FloatArray]:
        """([J, X], [J, X]): the smallest and largest value of each feature in each prompt."""
        if self.prompts == 1:
            return self.values.min(axis=1, keepdims=True), self.values.max(axis=1, keepdims=True)
        low: FloatArray = np.minimum.reduceat(self.values, self.starts, axis=1)
        high: FloatArray = np.maximum.reduceat(self.values, self.starts, axis=1)
        return low, high

    @cached_property
    def silent(self) -> BoolArray:
        """[J, X] whether a feature is 0 on every sample of a prompt."""
        result: BoolArray = (self.extremes[0] == 0.0) & (self.extremes[1] == 0.0)
        return result

    @cached_property
    def never(self) -> BoolArray:
        """[J] whether a feature is 0 on every sample."""
        result: BoolArray = np.logical_and.reduce(self.silent, axis=1)
        return result

    def standardised(self, centre: FloatArray, scale: FloatArray) -> Rows:
        """The same rows with features (f − centre) / scale; centre, scale [J]."""
        values = self.values - centre[:, None]
        values /= scale[:, None]
        return replace(self, values=values)

    def thinned(self, step: int) -> Rows:
        """Every ``step``-th row of each prompt (its first one always): a rough law to start from."""
        counts = -(-self.counts // step)
        starts = np.cumsum(counts) - counts
        kept = np.arange(int(counts.sum())) * step + np.repeat(self.starts - step * starts, counts)
        values = np.take(self.values, kept, axis=1)
        weight, square = self.log_weight[kept], self.log_square[kept]
        return Rows(values, weight, square, starts, counts, self.log_sizes, self.single)


def weighted_gram(values: FloatArray, weight: FloatArray, start: int = 0, stop: int | None = None) -> FloatArray:
    """[J, J] Σ_g weight_g v_g v_gᵀ over the columns start … stop of ``values`` [J, G]."""
    end = values.shape[1] if stop is None else stop
    total = np.zeros((values.shape[0], values.shape[0]))
    space = np.empty((values.shape[0], min(_BLOCK, end - start)))
    for begin in range(start, end, _BLOCK):
        block = values[:, begin : min(begin + _BLOCK, end)]
        scaled = np.multiply(block, weight[begin : min(begin + _BLOCK, end)], out=space[:, : block.shape[1]])
        total += scaled @ block.T
    return total


def centred_gram(rows: Rows, means: FloatArray, weight: FloatArray, sums: FloatArray, masses: FloatArray) -> FloatArray:
    """[J, J] Σ weight c cᵀ over all rows, c = f less its prompt's mean [J, X].

    ``sums`` [J, X] and ``masses`` [X] are Σ weight f and Σ weight of each prompt. One product and a correction do it,
    unless that loses digits: then the rows themselves are centred first.
    """
    whole = weighted_gram(rows.values, weight)
    cross = sums @ means.T
    result = whole - cross - cross.T + (means * masses) @ means.T
    if (np.diag(result) >= _KEPT * np.diag(whole)).all():
        return result
    owner = None if rows.prompts == 1 else np.repeat(np.arange(rows.prompts), rows.counts)
    result = np.zeros_like(whole)
    for begin in range(0, rows.log_weight.size, _BLOCK):
        part = slice(begin, begin + _BLOCK)
        block = rows.values[:, part] - (means if owner is None else np.take(means, owner[part], axis=1))
        result += (block * weight[part]) @ block.T
    return result


def sampled_gram(values: FloatArray, weight: FloatArray, centre: FloatArray) -> FloatArray:
    """[J, J] second moments about ``centre`` [J] for weights [G] of sum 1, estimated from every eighth stretch of rows.

    Good enough to choose a step by.
    """
    total, mass = np.zeros((values.shape[0], values.shape[0])), 0.0
    for begin in range(0, values.shape[1], 8 * _STRETCH):
        part = weight[begin : begin + _STRETCH]
        block = values[:, begin : begin + _STRETCH] - centre[:, None]
        total += (block * part) @ block.T
        mass += float(part.sum())
    return total / mass if mass > 0.0 else total


def merged(rows: Rows) -> Rows:
    """Single samples with equal ones of a prompt merged, or the rows themselves where that would not halve them."""
    size = rows.log_weight.size
    if size <= rows.prompts or rows.values.shape[0] == 0 or not _worth_merging(rows):
        return rows
    found = _groups(rows)
    if found is None:
        return rows
    group, first = found
    peak = np.full(first.size, -np.inf)
    np.maximum.at(peak, group, rows.log_weight)
    relative = np.exp(rows.log_weight - peak[group])
    owner = np.searchsorted(rows.starts, first, side="right") - 1
    counts = np.bincount(owner, minlength=rows.prompts).astype(np.int64)
    return Rows(
        np.ascontiguousarray(rows.values[:, first]),
        peak + np.log(np.bincount(group, relative)),
        2.0 * peak + np.log(np.bincount(group, relative * relative)),
        np.cumsum(counts) - counts,
        counts,
        rows.log_sizes,
    )


def binary_rows(
    features: Sequence[FloatArray], log_weight: FloatArray, starts: IntArray, counts: IntArray, log_sizes: FloatArray
) -> Rows | None:
    """What ``merged`` gives for 0/1 features ([N_x, J] of each prompt) without transposing them; None for others.

    The row is read as a binary number by one product, and the samples are counted in a table of all such numbers.
    """
    budgets, prompts = features[0].shape[1], len(features)
    if budgets == 0 or prompts << budgets > _MOST_CELLS or not _is_binary(features[0][:_PROBE]):
        return None
    lowest = np.minimum.reduceat(log_weight, starts)
    peak = np.maximum.reduceat(log_weight, starts)
    if not all(_is_binary(part) for part in features) or (peak - lowest).max() > _SAFE_RANGE:
        return None
    digits = np.arange(budgets)[::-1]
    number = np.concatenate([part @ np.exp2(digits) for part in features])
    if prompts > 1:
        number += np.repeat(np.arange(prompts) * 2.0**budgets, counts)
    key = number.astype(np.intp)
    relative = np.exp(log_weight - np.repeat(peak, counts))
    mass = np.bincount(key, relative)
    cells = np.flatnonzero(mass)
    if 2 * cells.size > key.size:
        return None
    owner = cells >> budgets
    found = np.bincount(owner, minlength=prompts).astype(np.int64)
    np.square(relative, out=relative)
    return Rows(
        (cells >> digits[:, None] & 1).astype(np.float64),
        peak[owner] + np.log(mass[cells]),
        2.0 * peak[owner] + np.log(np.bincount(key, relative)[cells]),
        np.cumsum(found) - found,
        found,
        log_sizes,
    )


def _is_binary(features: FloatArray) -> bool:
    return bool(((features == 0.0) | (features == 1.0)).all())


def _worth_merging(rows: Rows) -> bool:
    """Whether the first rows repeat each other: rows of continuous features do not, and need no search."""
    probe = min(rows.log_weight.size, _PROBE)
    if np.unique(rows.values[0, :probe]).size * 2 > probe:
        return False
    keys = _hashed(rows.values[:, :probe], np.searchsorted(rows.starts, np.arange(probe), side="right") - 1)
    return bool(np.unique(keys).size * 2 <= probe)


def _groups(rows: Rows) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]] | None:
    """(group of each row [G], a row of each group), groups ordered by prompt; None if that does not halve them."""
    key = _two_valued_key(rows)
    if key is not None:
        table = np.full(int(key[-1]) + (1 << rows.values.shape[0]), -1, dtype=np.intp)
        table[key] = np.arange(key.size)
        present = np.flatnonzero(table >= 0)
        first = table[present]
        table[present] = np.arange(present.size)
        return (table[key], first) if 2 * first.size <= key.size else None
    owner = np.repeat(np.arange(rows.prompts), rows.counts)
    _, first, group = np.unique(_hashed(rows.values, owner), return_index=True, return_inverse=True)
    same = all(bool((row == row[first][group]).all()) for row in rows.values)
    if 2 * first.size > group.size or not same or not (owner == owner[first][group]).all():
        return None
    order = np.argsort(owner[first], kind="stable")
    rank = np.empty(order.size, dtype=np.intp)
    rank[order] = np.arange(order.size)
    return rank[group], first[order]


def _two_valued_key(rows: Rows) -> npt.NDArray[np.intp] | None:
    """[G] the number whose binary digits are the prompt and the row, where every feature takes two values at most."""
    if rows.prompts << rows.values.shape[0] > _MOST_CELLS:
        return None
    key = np.zeros(rows.log_weight.size, dtype=np.intp)
    if rows.prompts > 1:
        key += np.repeat(np.arange(rows.prompts), rows.counts)
    for row in rows.values:
        low = row == row.min()
        if not (low | (row == row.max())).all():
            return None
        key <<= 1
        key += ~low
    return key


def _hashed(values: FloatArray, owner: npt.NDArray[np.intp]) -> npt.NDArray[np.uint64]:
    """[G] a 64-bit key of (prompt, row). Multiplicative hashing with odd multipliers (Knuth, TAOCP 6.4)."""
    multiplier = np.random.default_rng(0).integers(1, 2**63, values.shape[0] + 1, dtype=np.uint64) * 2 + 1
    key: npt.NDArray[np.uint64] = owner.astype(np.uint64) * multiplier[-1]
    for row, factor in zip(values, multiplier[:-1], strict=True):
        bits = np.add(row, 0.0).view(np.uint64)  # adding 0.0 makes −0.0 and 0.0 one
        key += (bits ^ (bits >> np.uint64(29))) * factor
    return key
