"""The hinge loss on few of its rows: those whose side of the kink is not plain are kept, the others are checked after.

A row far from its kink pays nothing, or a linear amount. If the minimiser with such rows fixed leaves each of them on
the side that was assumed, it is the minimiser with all rows, because the optimality conditions are the same ones. Rows
on the wrong side join the set and it is solved again; the set only grows, so this ends. Sources: Joachims 1998 (working
sets for support vector machines), Chapelle 2007 (the smoothed hinge).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bylaw.compiler.weights.interior import Point, Task, logistic_point
from bylaw.compiler.weights.problem import FloatArray

_SMALL = 400  # rows below which nothing is gained
_ROWS_A_VARIABLE = 16
_STAGES = ((0.1, 4), (0.01, 1))  # (temperature in units of the mean margin, every which row)
_COARSE = 0.1
_AT_KINK = 1e-10  # nats: on which side such a row stands is rounding
_NEAR_KINK = 1e-3
_LEAST_PULL = 1e-4


def by_working_set(task: Task, solver: Callable[[Task], Point | None], guess: FloatArray | None = None) -> Point | None:
    """What ``solver`` would give for all rows, from a few; None where it gives None for all rows.

    ``guess`` [V] is where to look for kinks, otherwise the minimiser of the smoothed loss. A solver answers None for a
    set that leaves the problem unbounded.
    """
    rows, size = task.matrix.shape
    if rows <= _SMALL:
        return solver(task)
    missed = task.margin - task.matrix @ (smoothed(task) if guess is None else guess)
    wanted = min(rows, max(_SMALL // 2, _ROWS_A_VARIABLE * size))
    member = np.zeros(rows, dtype=bool)
    member[np.argpartition(np.abs(missed), wanted - 1)[:wanted]] = True
    steps = 0
    while True:
        paying = ~member & (missed > 0.0)
        reduced = Task(
            matrix=task.matrix[member],
            margin=task.margin[member],
            count=task.count[member],
            pull=task.pull,
            centre=task.centre,
            sides=task.sides,
            limits=task.limits,
            slope=task.slope - task.count[paying] @ task.matrix[paying],
        )
        point = solver(reduced)
        if point is None:
            return solver(task)
        steps += point.steps
        missed = task.margin - task.matrix @ point.variables
        wrong = ~member & np.where(paying, missed < -_AT_KINK, missed > _AT_KINK)
        if not wrong.any():
            multipliers = np.where(paying, task.count, 0.0)
            multipliers[member] = point.rows
            return Point(point.variables, multipliers, point.sides, steps)
        member |= wrong | (np.abs(missed) <= _NEAR_KINK)


def smoothed(task: Task) -> FloatArray:
    """[V] roughly the minimiser of the hinge loss with its kink rounded off, less and less."""
    unit = float(task.count @ np.abs(task.margin)) / float(task.count.sum()) or 1.0
    variables = np.zeros(task.pull.size)
    for share, stride in _STAGES:
        temperature = share * unit
        rounded = Task(
            matrix=task.matrix[::stride] / temperature,
            margin=task.margin[::stride] / temperature,
            count=task.count[::stride] * (task.count.sum() / task.count[::stride].sum()),
            pull=np.maximum(task.pull, _LEAST_PULL) / temperature,
            centre=task.centre,
            sides=task.sides,
            limits=task.limits,
            slope=task.slope / temperature,
        )
        variables = logistic_point(rounded, variables, _COARSE).variables
    return variables
