"""Judged pairs as arrays: which of two responses is better, and how their features differ.

A soft term's feature is −1 where its rule is broken and 0 where it is kept, so that a score is φ·w with w ≥ 0 in nats.
A pair enters through the difference φ(better) − φ(worse) alone; the two feature vectors themselves ("classes") are kept
where they are known, because contradictions and cycles are about them. Everything quadratic is done on distinct
feature rows with counts, never on the rows themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.numerics import BoolArray, FloatArray, IntArray

__all__ = ["BoolArray", "FloatArray", "IntArray", "PairProblem", "pairs_from_features", "pairs_from_order"]

_BLOCK = 15000  # numbers worked on at a time


@dataclass(frozen=True, eq=False)
class PairProblem:
    """P judged pairs over K features. Arrays are copied, checked and made read-only.

    Attributes:
        names: [K] distinct names of the features.
        differences: [P, K] φ(better) − φ(worse), in units of the features (a soft term: −1 broken, 0 kept).
        margin: [P] ≥ 0 nats: by how much the better one has to score higher; for a tie, see ``fit``.
        count: [P] > 0, how many judgements the row stands for.
        tie: [P] judged equal (which of the two is called better is then of no meaning).
        group: [P] the prompt that it belongs to (bootstrap and held-out splits are by group).
        classes: [C, K] distinct feature vectors, or None where only the differences are known.
        better, worse: [P] rows of ``classes``, with differences = classes[better] − classes[worse]; None without.

    Raises:
        ValueError: naming the argument that has a wrong shape, NaN, infinite or negative entries.
    """

    names: tuple[str, ...]
    differences: FloatArray
    margin: FloatArray
    count: FloatArray
    tie: BoolArray
    group: IntArray
    classes: FloatArray | None = None
    better: IntArray | None = None
    worse: IntArray | None = None

    def __post_init__(self) -> None:
        names = checked_names(self.names)
        differences = checked_array(self.differences, "differences", (None, len(names)))
        pairs = differences.shape[0]
        margin = checked_array(self.margin, "margin", (pairs,))
        count = checked_array(self.count, "count", (pairs,))
        if (margin < 0.0).any():
            raise ValueError(f"margin must be ≥ 0 nats, got {margin.min():g} in row {int(margin.argmin())}")
        if (count <= 0.0).any():
            raise ValueError(f"count must be > 0, got {count.min():g} in row {int(count.argmin())}")
        fields: dict[str, object] = {
            "names": names,
            "differences": differences,
            "margin": margin,
            "count": count,
            "tie": _flags(self.tie, "tie", pairs),
            "group": checked_integers(self.group, "group", pairs),
        }
        given = [part is not None for part in (self.classes, self.better, self.worse)]
        if any(given) and not all(given):
            raise ValueError("classes, better and worse must be given together or not at all")
        if self.classes is not None and self.better is not None and self.worse is not None:
            fields |= _checked_classes(self.classes, self.better, self.worse, differences)
        for name, value in fields.items():
            object.__setattr__(self, name, value)

    @property
    def pairs(self) -> int:
        """P, the number of rows."""
        return int(self.count.size)

    @property
    def features(self) -> int:
        """K, the number of features."""
        return len(self.names)

    @property
    def judgements(self) -> float:
        """Σ count, the number of judgements that the rows stand for."""
        return float(self.count.sum())

    def merged(self) -> PairProblem:
        """The same judgements with equal rows added up (exact): one row for each distinct pair, margin, tie and group.

        Two rows are equal when the feature classes are (where those are known), otherwise when the differences are.
        """
        if self.pairs == 0:
            return self
        _, prompt = np.unique(self.group, return_inverse=True)
        tag = np.column_stack([self.margin, self.tie.astype(float), prompt.astype(float)])
        if self.better is not None and self.worse is not None:
            tag = np.column_stack([tag, self.better.astype(float), self.worse.astype(float)])
        else:
            tag = np.column_stack([tag, self.differences])
        first, inverse = distinct_rows(tag)
        if first.size == self.pairs:
            return self
        kept = self.selected(first)
        return replace(kept, count=np.bincount(inverse, weights=self.count, minlength=first.size).astype(np.float64))

    def selected(self, rows: npt.ArrayLike) -> PairProblem:
        """The problem with these rows only (indices or a mask [P]); features and classes stay."""
        index = np.asarray(rows)
        return replace(
            self,
            differences=self.differences[index],
            margin=self.margin[index],
            count=self.count[index],
            tie=self.tie[index],
            group=self.group[index],
            better=None if self.better is None else self.better[index],
            worse=None if self.worse is None else self.worse[index],
        )


def pairs_from_features(
    names: Sequence[str],
    better: npt.ArrayLike,
    worse: npt.ArrayLike,
    *,
    margin: npt.ArrayLike = 1.0,
    count: npt.ArrayLike = 1.0,
    tie: npt.ArrayLike = False,
    group: npt.ArrayLike | None = None,
) -> PairProblem:
    """P pairs from the feature vectors of the better and the worse response, each [P, K]; the rest [P] or one for all.

    Without ``group`` every pair is a prompt of its own. Equal rows are added up.

    Raises:
        ValueError: naming the argument that does not fit.
    """
    labels = checked_names(names)
    first = checked_array(better, "better", (None, len(labels)))
    pairs = first.shape[0]
    second = checked_array(worse, "worse", (pairs, len(labels)))
    kept, inverse = distinct_rows(np.vstack([first, second]))
    classes = np.vstack([first, second])[kept]
    return PairProblem(
        names=labels,
        differences=first - second,
        margin=spread(margin, "margin", pairs),
        count=spread(count, "count", pairs),
        tie=np.broadcast_to(np.asarray(tie), (pairs,)),
        group=np.arange(pairs) if group is None else np.asarray(group),
        classes=classes,
        better=inverse[:pairs],
        worse=inverse[pairs:],
    ).merged()


def pairs_from_order(
    names: Sequence[str],
    features: npt.ArrayLike,
    rank: npt.ArrayLike,
    group: npt.ArrayLike | None = None,
    *,
    margin: float = 1.0,
    count: npt.ArrayLike = 1.0,
    ties: bool = False,
) -> PairProblem:
    """All pairs of different rank within a group, from N responses: features [N, K], rank [N] with 0 the best.

    Equal responses (same group, rank and features) are merged before pairing, so what is built is quadratic in the
    number of distinct responses of a group only. A pair's count is the product of the counts [N] of its two sides.

    Args:
        names: [K]. group: [N] the prompt of each response; None puts all of them into one group.
        margin: nats, for every pair.
        count: [N] or one for all, how many times the response was seen.
        ties: whether two different responses of equal rank are also judged, as equal.

    Raises:
        ValueError: naming the argument that does not fit.
    """
    labels = checked_names(names)
    matrix = checked_array(features, "features", (None, len(labels)))
    size = matrix.shape[0]
    ranks = checked_array(rank, "rank", (size,))
    groups = np.zeros(size, np.int64) if group is None else checked_integers(group, "group", size)
    counts = spread(count, "count", size)
    if (counts <= 0.0).any():
        raise ValueError(f"count must be > 0, got {counts.min():g} in row {int(counts.argmin())}")
    kept, class_of = distinct_rows(matrix)
    classes = matrix[kept]
    _, prompt = np.unique(groups, return_inverse=True)
    keys = np.column_stack([prompt.astype(float), ranks, class_of.astype(float)])
    first, inverse = distinct_rows(keys)
    total = np.bincount(inverse, weights=counts, minlength=first.size)
    parts = list(_pairs_within(groups[first], ranks[first], ties))
    left = np.concatenate([part[0] for part in parts] or [np.zeros(0, np.int64)])
    right = np.concatenate([part[1] for part in parts] or [np.zeros(0, np.int64)])
    better, worse = class_of[first][left], class_of[first][right]
    problem = PairProblem(
        names=labels,
        differences=classes[better] - classes[worse],
        margin=np.full(left.size, float(margin)),
        count=total[left] * total[right],
        tie=ranks[first][left] == ranks[first][right],
        group=groups[first][left],
        classes=classes,
        better=better,
        worse=worse,
    )
    # Only a response that has two ranks can make the same pair twice.
    once = distinct_rows(keys[:, [0, 2]])[0].size == first.size
    return problem if once else problem.merged()


def _pairs_within(groups: IntArray, ranks: FloatArray, ties: bool) -> Iterator[tuple[IntArray, IntArray]]:
    """Index pairs (better, worse) of each group, and with ``ties`` those of equal rank once."""
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        ahead = ranks[members][:, None] < ranks[members][None, :]
        if ties:
            ahead |= np.triu(ranks[members][:, None] == ranks[members][None, :], 1)
        left, right = np.nonzero(ahead)
        yield members[left], members[right]


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of rows so short that what is computed on them stays in the cache."""
    step = max(_BLOCK // max(columns, 1), 1)
    return (slice(begin, begin + step) for begin in range(0, rows, step))


def distinct_rows(matrix: FloatArray) -> tuple[IntArray, IntArray]:
    """(index [U] of one row of each kind, kind [N] of each row) by exact equality, −0 being 0."""
    rows, columns = matrix.shape
    if columns == 0 or rows == 0:
        return np.arange(min(rows, 1)), np.zeros(rows, np.int64)
    factors = np.random.default_rng(0).integers(0, 2**64, columns, dtype=np.uint64) | np.uint64(1)
    # Sorting one number a row is much faster than sorting rows. Small floats differ in their high bits: fold them down.
    key = np.empty(rows, dtype=np.uint64)
    blocks = list(_blocks(rows, columns))
    for part in blocks:
        bits = np.ascontiguousarray(matrix[part] + 0.0).view(np.uint64)  # adding 0.0 turns −0 into 0
        key[part] = (bits ^ (bits >> np.uint64(32))) @ factors
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    if not all(np.array_equal(matrix[first[inverse[part]]], matrix[part]) for part in blocks):  # one key, two kinds
        whole = np.ascontiguousarray(matrix + 0.0).view(np.dtype((np.void, 8 * columns))).ravel()
        _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    return first.astype(np.int64), inverse.ravel().astype(np.int64)


def checked_names(names: Sequence[str]) -> tuple[str, ...]:
    """The feature names as a tuple; ValueError when one is given twice."""
    labels = tuple(names)
    if len(set(labels)) != len(labels):
        double = sorted({name for name in labels if labels.count(name) > 1})
        raise ValueError(f"names must be distinct, got {double} more than once")
    return labels


def checked_array(values: npt.ArrayLike, name: str, shape: tuple[int | None, ...]) -> FloatArray:
    """A finite, read-only float64 copy of this shape (None: any length); ValueError naming the argument otherwise."""
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers of shape {_shape_text(shape)}: {error}") from None
    fits = array.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, array.shape, strict=True))
    if not fits:
        raise ValueError(f"{name} must have shape {_shape_text(shape)}, got {_shape_text(array.shape)}")
    if np.isnan(array).any():
        raise ValueError(f"{name} contains NaN")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    array += 0.0
    array.setflags(write=False)
    return array


def spread(values: npt.ArrayLike, name: str, size: int) -> FloatArray:
    """A vector [size] from one number for all or from a vector; ValueError naming the argument otherwise."""
    array = np.asarray(values, dtype=np.float64)
    return checked_array(np.full(size, float(array)) if array.ndim == 0 else array, name, (size,))


def checked_integers(values: npt.ArrayLike, name: str, size: int) -> IntArray:
    """A read-only int64 copy [size]; ValueError naming the argument when it has another shape or is not whole."""
    array = np.array(values)
    if array.shape != (size,):
        raise ValueError(f"{name} must have shape ({size}), got {_shape_text(array.shape)}")
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"{name} must be whole numbers, got {array.dtype}")
    result = array.astype(np.int64)
    result.setflags(write=False)
    return result


def _flags(values: npt.ArrayLike, name: str, size: int) -> BoolArray:
    array = np.array(values)
    if array.shape != (size,) or (array.size and array.dtype != np.bool_):
        raise ValueError(f"{name} must be {size} truth values, got {array.dtype} of shape {_shape_text(array.shape)}")
    result: BoolArray = array.astype(np.bool_)
    result.setflags(write=False)
    return result


def _checked_classes(
    classes: FloatArray, better: IntArray, worse: IntArray, differences: FloatArray
) -> dict[str, object]:
    pairs, features = differences.shape
    table = checked_array(classes, "classes", (None, features))
    first, second = checked_integers(better, "better", pairs), checked_integers(worse, "worse", pairs)
    for name, index in (("better", first), ("worse", second)):
        if index.size and (index.min() < 0 or index.max() >= table.shape[0]):
            raise ValueError(f"{name} must be rows of classes, 0 to {table.shape[0] - 1}")
    parts = _blocks(pairs, features)
    if any((table[first[part]] - table[second[part]] != differences[part]).any() for part in parts):
        raise ValueError("differences must equal classes[better] − classes[worse]")
    return {"classes": table, "better": first, "worse": second}


def _shape_text(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("any" if part is None else str(part) for part in shape) + ")"
