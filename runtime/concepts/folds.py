"""Folds of labelled texts: what belongs together is never on both sides of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bylaw.runtime.concepts.performance import group_numbers

BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.int64]


def grouped_folds(does: BoolArray, groups: Sequence[object], most: int = 5) -> IntArray | None:
    """[N] the fold, 0 to `most` − 1 or fewer, of each labelled text [N]: whole groups, in a random order (fixed seed),
    those with most examples of the class first, each to the fold with the fewest of them. None where some fold would
    leave one class without an example."""
    numbers = group_numbers(groups, len(does))
    count = int(numbers.max()) + 1 if len(numbers) else 0
    yes = np.bincount(numbers, does, count)
    no = np.bincount(numbers, minlength=count) - yes
    folds = min(most, int((yes > 0).sum()), int((no > 0).sum()))
    if folds < 2:
        return None
    order = np.random.default_rng(0).permutation(count)
    order = order[np.argsort(-yes[order], kind="stable")]
    fold_of = np.empty(count, dtype=np.int64)
    total = np.zeros((folds, 2))
    for group in order:
        first, second = (0, 1) if yes[group] else (1, 0)
        fold = min(range(folds), key=lambda number: (total[number, first], total[number, second]))
        fold_of[group] = fold
        total[fold] += (yes[group], no[group])
    found: IntArray = fold_of[numbers]
    for fold in range(folds):
        left = does[found != fold]
        if left.all() or not left.any():
            return None
    return found
