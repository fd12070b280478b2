"""The linear programmes of weight fitting, solved by HiGHS through scipy: the hinge loss without L2, and recession.

All are solved in their dual form: a few equations (one a variable) in many multipliers (one a row).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bylaw.compiler.weights.interior import Point, Task, hinge_point
from bylaw.compiler.weights.problem import FloatArray
from bylaw.compiler.weights.rows import Model
from bylaw.compiler.weights.working_set import by_working_set

_PRECISE = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
_GENTLE_PULLS = (1e-6, 1e-9)
_TOUCHES = 1e-8  # nats: a row or side nearer to its kink than this may have a multiplier inside its range
_STATIONARY = 1e-9
_EXACT = 1e-15


class NotSolved(RuntimeError):
    """A solver ended without an answer that can be certified; the message says what to change."""


def linear_point(task: Task) -> Point | None:
    """A vertex of the optimal face of the hinge loss without pull, with its multipliers; None if there is no optimum.

    max Σ α m + h·ν  over  0 ≤ α ≤ c, ν ≥ 0  with  Dᵀα + Gᵀν = slope; its equations' multipliers are the variables.
    """
    from scipy.optimize import linprog

    rows, constraints = task.margin.size, task.limits.size
    upper = np.concatenate([task.count, np.full(constraints, np.inf)])
    result = linprog(
        -np.concatenate([task.margin, task.limits]),
        A_eq=np.hstack([task.matrix.T, task.sides.T]),
        b_eq=task.slope,
        bounds=np.column_stack([np.zeros(rows + constraints), upper]),
        method="highs-ds",
        options=_PRECISE,
    )
    if result.status != 0:
        return None
    solution = np.asarray(result.x, dtype=np.float64)
    variables = -np.asarray(result.eqlin.marginals, dtype=np.float64)
    return Point(variables, solution[:rows], solution[rows:], int(result.nit))


def nearest_optimum(model: Model, task: Task) -> Point | None:
    """The optimum of the hinge loss without pull that is nearest to the reference, with multipliers that prove it.

    A small enough pull does not leave the optimal face (Mangasarian 1979); multipliers of the loss without it then
    exist on the rows and sides that the point touches, and a small linear programme finds them. None where it does not.
    """
    share = model.constraints.share / model.scale**2
    guess: FloatArray | None = None
    for pull in _GENTLE_PULLS:
        gentle = replace(task, pull=pull * share)
        found = by_working_set(gentle, lambda part, near: hinge_point(part, 1e-14, near), guess)
        if found is not None:
            guess = found.variables
            proof = _multipliers(task, found)
            if proof is not None:
                return proof
    return None


def _multipliers(task: Task, point: Point) -> Point | None:
    """The point with multipliers of the loss without pull, None if it is not an optimum of that."""
    short = task.margin - task.matrix @ point.variables
    gap = task.sides @ point.variables - task.limits
    tight, touched = np.abs(short) <= _TOUCHES, np.abs(gap) <= _TOUCHES * (1.0 + np.abs(task.limits))
    rows = np.where(short > _TOUCHES, task.count, 0.0)
    sides = np.zeros(gap.size)
    equations = np.hstack([task.matrix[tight].T, task.sides[touched].T])
    upper = np.concatenate([task.count[tight], np.full(int(touched.sum()), np.inf)])
    if upper.size:
        guess = np.concatenate([point.rows[tight], point.sides[touched]])
        found = _within(equations, task.slope - rows @ task.matrix, upper, guess)
        if found is None:
            return None
        rows[tight], sides[touched] = found[: int(tight.sum())], found[int(tight.sum()) :]
    rest = np.abs(rows @ task.matrix + sides @ task.sides - task.slope).max(initial=0.0)
    return Point(point.variables, rows, sides, point.steps) if rest <= _STATIONARY else None


def _within(equations: FloatArray, right: FloatArray, upper: FloatArray, guess: FloatArray) -> FloatArray | None:
    """x with ``equations`` x = ``right`` and 0 ≤ x ≤ ``upper``: the guess corrected, else by a linear programme."""
    from scipy.optimize import linprog

    if np.abs(right).max() <= _EXACT:  # no row pays
        return np.zeros(upper.size)
    # The correction that is smallest beside each entry's distance from its limits mostly keeps within them.
    near = np.clip(guess, 0.0, upper)
    distance = np.minimum(near, upper - near)
    scaled = equations * distance
    found: FloatArray = near + distance * np.linalg.lstsq(scaled, right - equations @ near, rcond=1e-12)[0]
    if np.abs(equations @ found - right).max() <= _EXACT and (found >= 0.0).all() and (found <= upper).all():
        return found
    result = linprog(
        np.zeros(upper.size),
        A_eq=equations,
        b_eq=right,
        bounds=np.column_stack([np.zeros(upper.size), upper]),
        method="highs-ds",
        options=_PRECISE,
    )
    return np.asarray(result.x, dtype=np.float64) if result.status == 0 else None


def recession_direction(matrix: FloatArray, sides: FloatArray) -> FloatArray | None:
    """A direction x [V] with D x ≥ 0, D x ≠ 0 and G x ≥ 0, along which the logistic loss falls for ever; None if none.

    It is positive on every row on which any such direction is. By Stiemke's lemma there is none exactly when some
    α > 0 and ν ≥ 0 have Dᵀα + Gᵀν = 0.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, eye_array, hstack, vstack

    rows, size = matrix.shape
    boxed = (sides > 0.0).any(axis=0) & (sides < 0.0).any(axis=0) & ((sides != 0.0).sum(axis=1) == 1).all()
    if size == 0 or not matrix.any() or boxed.all():
        return None
    proof = linprog(
        np.zeros(rows + sides.shape[0]),
        A_eq=np.hstack([matrix.T, sides.T]),
        b_eq=-matrix.sum(axis=0),
        bounds=(0.0, None),
        method="highs-ds",
        options=_PRECISE,
    )
    if proof.status == 0:
        return None
    above = hstack([csr_array(-matrix), eye_array(rows)])
    allowed = hstack([csr_array(-sides), csr_array((sides.shape[0], rows))])
    result = linprog(
        np.concatenate([np.zeros(size), -np.ones(rows)]),
        A_ub=vstack([above, allowed]),
        b_ub=np.zeros(rows + sides.shape[0]),
        bounds=[(None, None)] * size + [(0.0, 1.0)] * rows,
        method="highs-ds",
        options=_PRECISE,
    )
    if result.status != 0:
        raise NotSolved(f"whether the weights run to infinity was not decided ({result.message}); give l2 > 0")
    direction = np.asarray(result.x[:size], dtype=np.float64)
    return direction if -result.fun > 0.5 else None
