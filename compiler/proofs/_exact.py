"""A small exact linear programme: whether averages over a mixture can meet several demands, and if not, why not.

Each point of the mixture (a kind of answer) gives so much to each demand; a mixture gives the average. By Farkas' lemma
(Farkas 1902) no mixture meets all demands exactly if there are weights, none negative, under which every single point
gives less than the demands together ask for. The best weights are the solution of a matrix game (Dantzig 1951), found
by the simplex method on fractions with Bland's rule (Bland 1977), and points are taken in as they are needed
(Kelley 1960).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

Point = Sequence[Fraction]


def separating_weights(points: Sequence[Point], demands: Sequence[Fraction]) -> tuple[int, ...] | None:
    """Whole numbers, as small as possible, that prove that no mixture of the points meets all demands; else None.

    With them, sum(weight * demand) is larger than sum(weight * gives) for every point. `points` are N >= 1 rows of J
    numbers, `demands` J of them. Raises ValueError without points.
    """
    if not points:
        raise ValueError("a mixture needs a point")
    if not demands:
        return None
    misses = [[demand - gives for demand, gives in zip(demands, point, strict=True)] for point in points]
    chosen = [0]
    while True:
        weights, value = _best_weights([misses[index] for index in chosen])
        if value <= 0:
            return None
        worst = min(range(len(misses)), key=lambda index: _dot(weights, misses[index]))
        if _dot(weights, misses[worst]) == value:
            return _whole(weights)
        chosen.append(worst)


def _whole(weights: Sequence[Fraction]) -> tuple[int, ...]:
    denominator = math.lcm(*(weight.denominator for weight in weights))
    numbers = [int(weight * denominator) for weight in weights]
    divisor = math.gcd(*numbers)
    return tuple(number // divisor for number in numbers)


def _dot(left: Sequence[Fraction], right: Sequence[Fraction]) -> Fraction:
    return sum((a * b for a, b in zip(left, right, strict=True)), Fraction(0))


def _best_weights(rows: Sequence[Point]) -> tuple[tuple[Fraction, ...], Fraction]:
    """max over w >= 0, sum(w) = 1 of min over rows of w * row: (w, value).

    The primal simplex on max sum(z) subject to rows^T z <= 1, z >= 0, with the rows shifted to be at least 1, so that
    z = 0 is a start; its dual variables are w, scaled.
    """
    count, width = len(rows), len(rows[0])
    shift = 1 - min(min(row) for row in rows)
    table = [
        [*(rows[i][j] + shift for i in range(count)), *(Fraction(int(k == j)) for k in range(width)), Fraction(1)]
        for j in range(width)
    ]
    costs = [*([Fraction(-1)] * count), *([Fraction(0)] * (width + 1))]
    basis = list(range(count, count + width))
    while (column := next((c for c, cost in enumerate(costs[:-1]) if cost < 0), None)) is not None:
        usable = [r for r in range(width) if table[r][column] > 0]
        row = min(usable, key=lambda r: (table[r][-1] / table[r][column], basis[r]))
        pivot = table[row][column]
        table[row] = [entry / pivot for entry in table[row]]
        for other in range(width):
            if other != row and table[other][column]:
                table[other] = _less(table[other], table[row], table[other][column])
        costs = _less(costs, table[row], costs[column])
        basis[row] = column
    duals = costs[count : count + width]
    total = sum(duals, Fraction(0))
    weights = tuple(dual / total for dual in duals)
    return weights, min(_dot(weights, row) for row in rows)


def _less(row: Sequence[Fraction], pivot: Sequence[Fraction], factor: Fraction) -> list[Fraction]:
    return [entry - factor * step if step else entry for entry, step in zip(row, pivot, strict=True)]
