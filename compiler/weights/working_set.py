"""The hinge loss on few of its rows: those whose side of the kink is not plain are kept, the others are checked after.

A row far from its kink pays nothing, or a linear amount. If the minimiser with such rows fixed leaves each of them on
the side that was assumed, it is the minimiser with all rows, because the optimality conditions are the same ones. Rows
on the wrong side join the set and it is solved again; the set only grows, so this ends. Sources: Joachims 1998 (working
sets for support vector machines), Chapelle 2007 (the smoothed hinge).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bylaw.compiler.weights.interior import Point, Task, logistic_point
from bylaw.compiler.weights.problem import FloatArray

_SMALL = 400  # rows below which nothing is gained
_ROWS_A_VARIABLE = 16
_STAGES = ((0.1, 4), (0.01, 1))  # (temperature in units of the mean margin, every which row)
_COARSE = 1.0  # the gap in temperatures that a stage ends at
_NEAR = 1.0  # and that the next one starts from
_AT_KINK = 1e-10  # nats: on which side such a row stands is rounding
_NEAR_KINK = 1e-3
_LEAST_PULL = 1e-4


def by_working_set(
    task: Task, solver: Callable[[Task, FloatArray | None], Point | None], guess: FloatArray | None = None
) -> Point | None:
    """What ``solver`` would give for all rows, from a few; None where it gives None for all rows.

    ``guess`` [V] is where to look for kinks, otherwise the minimiser of the smoothed loss. A solver answers None for a
    set that leaves the problem unbounded.
    """
    rows, size = task.matrix.shape
    if rows <= _SMALL:
        return solver(task, None)
    near = smoothed(task) if guess is None else guess
    missed = task.margin - task.matrix @ near
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
        point = solver(reduced, near)
        if point is None:
            return solver(task, None)
        steps += point.steps
        near = point.variables
        missed = task.margin - task.matrix @ near
        wrong = ~member & np.where(paying, missed < -_AT_KINK, missed > _AT_KINK)
        if not wrong.any():
            multipliers = np.where(paying, task.count, 0.0)
            multipliers[member] = point.rows
            return Point(point.variables, multipliers, point.sides, steps)
        member |= wrong | (np.abs(missed) <= _NEAR_KINK)


def smoothed(task: Task) -> FloatArray:
    """[V] roughly the minimiser of the hinge loss with its kink rounded off, less and less."""
    unit = float(task.count @ np.abs(task.margin)) / float(task.count.sum()) or 1.0
    variables, held = np.zeros(task.pull.size), None
    for share, stride in _STAGES:
        temperature = share * unit
        part = task.thinned(stride)
        rounded = replace(
            part,
            matrix=part.matrix / temperature,
            margin=part.margin / temperature,
            pull=np.maximum(task.pull, _LEAST_PULL) / temperature,
            slope=task.slope / temperature,
        )
        # Multipliers are in units of the loss over the temperature.
        near = None if held is None else held / temperature
        found = logistic_point(rounded, variables, _COARSE, near, _NEAR)
        variables, held = found.variables, found.sides * temperature
    return variables
