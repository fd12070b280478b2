"""Linear programmes of feasibility that need a general solver: budgets of each prompt, and faces of the support.

A law q over the rows of each prompt; c = (f − b)/s per budget, signed so that c ≤ 0 is asked for. Shared budgets bound
Σ_x π_x E_x c, budgets of each prompt bound E_x c for every x.

* Conflict: min v with every left side ≤ v. v > 0 proves that the budgets cannot hold together; d* are the duals.
* Face: write q = t·uniform + r with r ≥ 0 and maximise t. t = 0 says that every law that meets the budgets leaves some
  row out, so that no finite multipliers exist (the dual is attained exactly when a law of full support is feasible).

Both answers are read off the dual direction d and then checked by hand on all rows, so that no verdict hangs on the
solver's tolerance. Solver: HiGHS (Huangfu and Hall 2018) through scipy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bylaw.compiler.law.numerics import BoolArray, FloatArray
from bylaw.compiler.law.rows import Rows
from bylaw.compiler.law.samples import own_tilt

_ZERO = 1e-9  # relative to the largest |f − b| of each budget
_CLEARLY_INSIDE = 1e-5
_TIGHTEST = 1e-10  # HiGHS's smallest feasibility tolerance


@dataclass(frozen=True, eq=False)
class Direction:
    """A checked dual direction.

    Attributes:
        table: [X, J] signed weights d on c; those of shared budgets are the same in every prompt.
        value: Σ_x π_x min_n d·c_xn with Σ|d| = 1 (own budgets counted with π_x): > 0 proves infeasibility.
        spread: Σ_x π_x mean_n d·c_xn − value: 0 when d·c is an identity between features.
    """

    table: FloatArray
    value: float
    spread: float


def conflict_direction(
    rows: Rows, share: FloatArray, senses: Sequence[str], each: BoolArray, members: Sequence[int]
) -> Direction | None:
    """A direction that proves that ``members`` cannot hold together, None if they can; rows are standardised."""
    found = _solve(rows, share, senses, each, members, face=False)
    return found if found.value > _ZERO else None


def face_direction(
    rows: Rows, share: FloatArray, senses: Sequence[str], each: BoolArray, members: Sequence[int]
) -> Direction | None:
    """A direction that shows that ``members`` leave only a face of the support, None if they do not."""
    found = _solve(rows, share, senses, each, members, face=True)
    return found if found.value >= -_ZERO and found.spread > _ZERO else None


def _solve(
    rows: Rows, share: FloatArray, senses: Sequence[str], each: BoolArray, members: Sequence[int], face: bool
) -> Direction:
    from scipy.optimize import linprog  # here, so that reading a policy does not load it
    from scipy.sparse import coo_array, csr_array

    size, prompts = rows.log_weight.size, rows.prompts
    owner = np.repeat(np.arange(prompts), rows.counts)
    sides: list[tuple[int, float, int]] = []  # (budget, sign, prompt or −1)
    data, line = [], []
    for index in members:
        for sign in {"at most": (1.0,), "at least": (-1.0,), "exactly": (1.0, -1.0)}[senses[index]]:
            data.append(sign * rows.values[index] * (1.0 if each[index] else share[owner]))
            line.append(len(sides) + (owner if each[index] else np.zeros(size, dtype=np.intp)))
            sides += [(index, sign, x) for x in (range(prompts) if each[index] else (-1,))]
    column = np.tile(np.arange(size), len(data))
    inside = coo_array((np.concatenate(data), (np.concatenate(line), column)), shape=(len(sides), size)).tocsr()
    uniform = 1.0 / rows.counts[owner].astype(np.float64)
    last = csr_array((inside @ uniform if face else -np.ones(len(sides)))[:, None])
    total = csr_array((np.ones(size), (owner, np.arange(size))), shape=(prompts, size))
    last_total = csr_array(np.full((prompts, 1), 1.0 if face else 0.0))
    answer = linprog(
        np.append(np.zeros(size), -1.0 if face else 1.0),
        A_ub=_beside(inside, last),
        b_ub=np.zeros(len(sides)),
        A_eq=_beside(total, last_total),
        b_eq=np.ones(prompts),
        bounds=np.array([(0.0, np.inf)] * size + [(0.0, 1.0) if face else (-np.inf, np.inf)]),
        method="highs",
        options={"primal_feasibility_tolerance": _TIGHTEST, "dual_feasibility_tolerance": _TIGHTEST},
    )
    if answer.status != 0:
        raise RuntimeError(f"the linear programme of feasibility did not end: {answer.message}")
    if face and answer.x[-1] > _CLEARLY_INSIDE:
        return Direction(np.zeros((prompts, each.size)), -1.0, 0.0)
    return _checked(rows, share, sides, np.maximum(-np.asarray(answer.ineqlin.marginals), 0.0), each)


def _beside(left: object, right: object) -> object:
    from scipy.sparse import hstack

    return hstack([left, right], format="csr")


def _checked(
    rows: Rows, share: FloatArray, sides: Sequence[tuple[int, float, int]], weight: FloatArray, each: BoolArray
) -> Direction:
    """The direction of the duals ``weight`` [sides], with its value and spread recomputed from the rows."""
    total = float(weight.sum())
    kept = np.where(weight > _ZERO * total, weight, 0.0) / total if total > 0.0 else weight
    table = np.zeros((rows.prompts, each.size))
    for (index, sign, prompt), part in zip(sides, kept, strict=True):
        if prompt < 0:
            table[:, index] += sign * part
        elif share[prompt] > 0.0:
            table[prompt, index] += sign * part / share[prompt]
    scores = own_tilt(rows, table)
    value = float(share @ np.minimum.reduceat(scores, rows.starts))
    mean = float(share @ (np.add.reduceat(scores, rows.starts) / rows.counts))
    return Direction(table, value, mean - value)
