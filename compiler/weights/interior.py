"""Primal-dual interior points for the two losses, in the reduced variables of ``constraints``.

    hinge:     min  Σ c max(0, m − D v) + ½ Σ q (v − r)²
    logistic:  min  Σ c log(1 + exp(m − D v)) + ½ Σ q (v − r)²          both subject to G v ≥ h

Every step factors one V × V matrix. Sources: Mehrotra 1992 (predictor and corrector), Ferris and Munson 2003 (the same
for support vector machines), Boyd and Vandenberghe 2004 §11.7 (primal-dual steps with a line search on the residual).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bylaw.compiler.weights.problem import FloatArray

_STEPS = 200
_TO_BOUNDARY = 0.995
_FEASIBLE = 1e-13
_STATIONARY = 1e-15
_CENTRING = 0.01  # of the logistic loss: how far one step brings the products down


@dataclass(frozen=True, eq=False)
class Task:
    """One loss over R rows and V variables: D [R, V], m [R], c [R], q [V], r [V], G [J, V], h [J], slope [V].

    The slope is a linear term, slope·v: what rows add that are left out because their hinge is surely on.
    """

    matrix: FloatArray
    margin: FloatArray
    count: FloatArray
    pull: FloatArray
    centre: FloatArray
    sides: FloatArray
    limits: FloatArray
    slope: FloatArray


@dataclass(frozen=True, eq=False)
class Point:
    """Where the method ended: v [V], the rows' multipliers α [R] in [0, c], the constraints' ν [J] ≥ 0, steps taken."""

    variables: FloatArray
    rows: FloatArray
    sides: FloatArray
    steps: int


@dataclass(frozen=True, eq=False)
class _HingeState:
    """Slack s has the multiplier β = c − α ("rest"), t = D v + s − m ("over") has α, u = G v − h ("room") has ν."""

    task: Task
    variables: FloatArray
    positive: tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]  # α, β, ν, t, s, u

    @property
    def products(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """α t [R], β s [R], ν u [J]."""
        rows, rest, held, over, slack, room = self.positive
        return rows * over, rest * slack, held * room

    def residuals(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Stationarity [V], the definitions of t [R] and u [J], and α + β = c [R]; all zero at a feasible point."""
        task = self.task
        rows, rest, held, over, slack, room = self.positive
        dual = task.slope + task.pull * (self.variables - task.centre) - rows @ task.matrix - held @ task.sides
        short = task.matrix @ self.variables + slack - task.margin - over
        return dual, short, task.sides @ self.variables - task.limits - room, task.count - rows - rest

    def moved(self, step: float, move: FloatArray, moves: tuple[FloatArray, ...]) -> _HingeState:
        """The state after ``step`` of a direction."""
        rows, rest, held, over, slack, room = (
            value + step * change for value, change in zip(self.positive, moves, strict=True)
        )
        return _HingeState(self.task, self.variables + step * move, (rows, rest, held, over, slack, room))


class _HingeDirections:
    """Newton directions at one state, for any right-hand side of the products; the matrix is built once."""

    def __init__(self, state: _HingeState, residuals: tuple[FloatArray, FloatArray, FloatArray, FloatArray]) -> None:
        task = state.task
        rows, rest, held, over, slack, room = state.positive
        self.state, self.residuals = state, residuals
        self.spread = 1.0 / (slack / rest + over / rows)
        self.hessian = np.diag(task.pull) + (task.matrix.T * self.spread) @ task.matrix
        self.hessian += (task.sides.T * (held / room)) @ task.sides

    def __call__(self, products: tuple[FloatArray, ...]) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        task = self.state.task
        rows, rest, held, over, slack, room = self.state.positive
        dual, short, outside, lost = self.residuals
        first, second, third = products
        pressed = (second + slack * lost) / rest - short - first / rows
        right = (self.spread * pressed) @ task.matrix - dual - ((third + held * outside) / room) @ task.sides
        move = solve_symmetric(self.hessian, right)
        rows_move = self.spread * (pressed - task.matrix @ move)
        rest_move = lost - rows_move
        room_move = task.sides @ move + outside
        held_move = (-third - held * room_move) / room
        over_move = (-first - over * rows_move) / rows
        slack_move = (-second - slack * rest_move) / rest
        return move, (rows_move, rest_move, held_move, over_move, slack_move, room_move)


def hinge_point(task: Task, tolerance: float) -> Point:
    """The minimiser of the hinge loss with q > 0, to a duality gap of ``tolerance`` in the units of the mean loss."""
    short = task.margin - task.matrix @ task.centre
    slack = np.maximum(short, 0.0) + 1.0
    room = np.maximum(task.sides @ task.centre - task.limits, 1.0)
    held = np.full(room.size, 1.0 / max(room.size, 1))
    half = 0.5 * task.count
    state = _HingeState(task, task.centre, (half, half, held, slack - short, slack, room))
    size = 2 * short.size + room.size
    best, best_state, best_step = np.inf, state, 0
    for step in range(_STEPS):
        residuals, products = state.residuals(), state.products
        gap = sum(float(part.sum()) for part in products)
        infeasible = max(float(np.abs(part).max(initial=0.0)) for part in residuals)
        # Rounding ends progress at some point: the best point so far is then the answer, with its own certificate.
        merit = max(gap / tolerance, infeasible / (_FEASIBLE * (1.0 + float(np.abs(state.variables).max(initial=0.0)))))
        if merit < best:
            best, best_state, best_step = merit, state, step
        if merit <= 1.0 or step > best_step + 12 or not np.isfinite(merit):
            break
        directions = _HingeDirections(state, residuals)
        move, moves = directions(products)
        ahead = state.moved(_reach(state.positive, moves), move, moves)
        centred = (sum(float(part.sum()) for part in ahead.products) / gap) ** 3 * gap / size
        corrected = tuple(products[i] + moves[i] * moves[i + 3] - centred for i in range(3))
        move, moves = directions(corrected)
        state = state.moved(_TO_BOUNDARY * _reach(state.positive, moves), move, moves)
    rows, _, held, *_ = best_state.positive
    return Point(_polished(best_state), rows, held, step)


def hinge_value(task: Task, variables: FloatArray) -> float:
    """The objective of the hinge loss at variables [V], in the units of the mean loss."""
    apart = variables - task.centre
    short = np.maximum(task.margin - task.matrix @ variables, 0.0)
    return float(task.count @ short + task.slope @ variables + 0.5 * task.pull @ apart**2)


def _polished(state: _HingeState) -> FloatArray:
    """[V] the minimiser with the rows and sides that look tight made equations, if it is allowed and no worse."""
    task, (rows, rest, held, over, slack, room) = state.task, state.positive
    tight = (rows > task.count * over) & (rest > task.count * slack)
    touched = held > room
    paying = ~tight & (slack > over)
    equations = np.vstack([task.matrix[tight], task.sides[touched]])
    right = np.concatenate([task.margin[tight], task.limits[touched]])
    drift = task.pull * task.centre + task.count[paying] @ task.matrix[paying] - task.slope
    # v = the shortest solution of the equations plus what their null space N leaves free.
    _, values, basis = np.linalg.svd(np.linalg.qr(equations, mode="r"), full_matrices=True)
    rank = int((values > 1e-10 * values.max(initial=0.0)).sum())
    fixed = np.linalg.lstsq(equations, right, rcond=1e-10)[0]
    null = basis[rank:].T
    left = solve_symmetric((null.T * task.pull) @ null, null.T @ (drift - task.pull * fixed))
    variables: FloatArray = fixed + null @ left
    allowed = (task.sides @ variables >= task.limits - 1e-12 * (1.0 + np.abs(task.limits))).all()
    better = hinge_value(task, variables) <= hinge_value(task, state.variables) + 1e-15
    return variables if allowed and better else state.variables


def logistic_point(task: Task, start: FloatArray, tolerance: float) -> Point:
    """The minimiser of the logistic loss, to a duality gap of ``tolerance`` in the units of the mean loss.

    ``start`` [V] need not meet the constraints. The caller makes sure that there is a minimiser.
    """
    variables = start.copy()
    room = np.maximum(task.sides @ variables - task.limits, 1.0)
    held = np.full(room.size, 1.0 / max(room.size, 1)) if room.size else room
    state = (variables, room, held)
    steps = 0
    while steps < _STEPS:
        variables, room, held = state
        pressed, dual, outside = _logistic_residuals(task, state)
        gap = float(held @ room)
        infeasible = max(float(np.abs(part).max(initial=0.0)) for part in (dual, outside))
        if gap <= tolerance and infeasible <= max(_STATIONARY, 1e-2 * tolerance):
            break
        curve = pressed * (1.0 - pressed / task.count)
        hessian = np.diag(task.pull) + (task.matrix.T * curve) @ task.matrix
        hessian += (task.sides.T * (held / room)) @ task.sides
        centred = _CENTRING * gap / max(room.size, 1)
        third = held * room - centred
        move = solve_symmetric(hessian, -dual - ((third + held * outside) / room) @ task.sides)
        room_move = task.sides @ move + outside
        moves = (move, room_move, (-third - held * room_move) / room)
        following = _searched(task, state, moves, centred)
        if following is None:
            break
        state, steps = following, steps + 1
    pressed, _, _ = _logistic_residuals(task, state)
    return Point(state[0], pressed, state[2], steps)


_State = tuple[FloatArray, FloatArray, FloatArray]


def _logistic_residuals(task: Task, state: _State) -> _State:
    """α = c σ(m − D v) [R], stationarity [V] and the definition of u [J]."""
    variables, room, held = state
    pressed = task.count * sigmoid(task.margin - task.matrix @ variables)
    dual = task.slope + task.pull * (variables - task.centre) - pressed @ task.matrix - held @ task.sides
    return pressed, dual, task.sides @ variables - task.limits - room


def _searched(task: Task, state: _State, moves: _State, centred: float) -> _State | None:
    """The state after a step that shortens the residual; None where rounding leaves no such step."""

    def length(at: _State) -> float:
        _, dual, outside = _logistic_residuals(task, at)
        return float(np.sqrt(dual @ dual + outside @ outside + ((at[2] * at[1] - centred) ** 2).sum()))

    reach = _reach((state[1], state[2]), (moves[1], moves[2]))
    step = reach if reach == 1.0 and not state[1].size else _TO_BOUNDARY * reach
    now = length(state)
    while step > 1e-10:
        following = (state[0] + step * moves[0], state[1] + step * moves[1], state[2] + step * moves[2])
        if length(following) <= (1.0 - 0.01 * step) * now:
            return following
        step *= 0.5
    return None


def sigmoid(values: FloatArray) -> FloatArray:
    """1 / (1 + exp(−x)) without overflow."""
    small = np.exp(-np.abs(values))
    result: FloatArray = np.where(values >= 0.0, 1.0, small) / (1.0 + small)
    return result


def softplus(values: FloatArray) -> FloatArray:
    """log(1 + exp(x)) without overflow."""
    result: FloatArray = np.maximum(values, 0.0) + np.log1p(np.exp(-np.abs(values)))
    return result


def _reach(positive: tuple[FloatArray, ...], moves: tuple[FloatArray, ...]) -> float:
    """The largest step in [0, 1] that keeps all of them ≥ 0."""
    fastest = max(float((-move / value).max(initial=0.0)) for value, move in zip(positive, moves, strict=True))
    return 1.0 / max(1.0, fastest)


def solve_symmetric(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """x with matrix x = right for a positive semidefinite matrix, the shortest one where it is singular."""
    scale = 1.0 / np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    scaled = matrix * np.outer(scale, scale)
    try:
        np.linalg.cholesky(scaled)
        solution: FloatArray = np.linalg.solve(scaled, scale * right) * scale
    except np.linalg.LinAlgError:
        solution = np.linalg.lstsq(scaled, scale * right, rcond=1e-14)[0] * scale
    return solution
