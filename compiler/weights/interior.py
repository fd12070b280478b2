"""Primal-dual interior points for the two losses, in the reduced variables of ``constraints``.

    hinge:     min  Σ c max(0, m − D v) + ½ Σ q (v − r)²
    logistic:  min  Σ c log(1 + exp(m − D v)) + ½ Σ q (v − r)²          both subject to G v ≥ h

Every step factors one V × V matrix. Sources: Mehrotra 1992 (predictor and corrector), Ferris and Munson 2003 (the same
for support vector machines), Boyd and Vandenberghe 2004 §11.7 (primal-dual steps with a line search on the residual).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bylaw.compiler.weights.problem import FloatArray

_STEPS = 200
_TO_BOUNDARY = 0.995
_FEASIBLE = 1e-13
_STATIONARY = 1e-15
_NEARLY = 0.999  # near the end, of the way to the boundary
_CAUTIOUS, _UNSOLVED = 0.1, 1e-9  # centring of a second try, where the first one ended farther off than this
_ROUNDINGS = 4.0  # of a constraint
_CENTRING = 0.01  # of the logistic loss: how far one step brings the products down
_RECENTRING, _ENDING = 0.3, 1e-3  # the same after a step shorter than _SHORT, or longer than _WHOLE
_SHORT, _WHOLE = 0.3, 0.99
_WIDTH, _LEAST_SHARE = 0.1, 0.1  # of a start near a guess: the rounded kink in mean margins, the least share of c
_TINIEST = float(np.finfo(float).tiny)
_BLOCK = 15000  # numbers of a block: 120 KiB, below which memory is reused instead of mapped anew
_MANY_ROWS, _STRIDE = 1000, 4  # from so many rows on, the first steps of the logistic loss see one in _STRIDE
_ROUGH = 1e-2  # the gap that these steps end at


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

    def thinned(self, stride: int) -> Task:
        """Every ``stride``-th row with the counts scaled to the same sum."""
        count = self.count[::stride] * (self.count.sum() / self.count[::stride].sum())
        return replace(self, matrix=self.matrix[::stride], margin=self.margin[::stride], count=count)


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
        self.hessian = np.diag(task.pull) + gram(task.matrix, self.spread) + gram(task.sides, held / room)

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


def hinge_point(task: Task, tolerance: float, near: FloatArray | None = None) -> Point:
    """The minimiser of the hinge loss with q > 0, to a duality gap of ``tolerance`` in the units of the mean loss.

    ``near`` [V] is a guess of where it lies.
    """
    state = _far_start(task) if near is None else _near_start(task, near)
    size = 2 * task.margin.size + task.limits.size
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


def _far_start(task: Task) -> _HingeState:
    short = task.margin - task.matrix @ task.centre
    slack = np.maximum(short, 0.0) + 1.0
    room = np.maximum(task.sides @ task.centre - task.limits, 1.0)
    held = np.full(room.size, 1.0 / max(room.size, 1))
    half = 0.5 * task.count
    return _HingeState(task, task.centre, (half, half, held, slack - short, slack, room))


def _near_start(task: Task, near: FloatArray) -> _HingeState:
    """The state that minimising the loss with a rounded kink has: α = c σ(short / T), s = T log(1 + exp(short / T))."""
    width = _WIDTH * float(np.abs(task.margin).mean()) or 1.0
    short = task.margin - task.matrix @ near
    share = np.clip(sigmoid(short / width), _LEAST_SHARE, 1.0 - _LEAST_SHARE)
    slack = np.maximum(short, 0.0) + width * np.log1p(np.exp(-np.abs(short) / width))
    slack = np.maximum(slack, _LEAST_SHARE * width)
    over = np.maximum(slack - short, _LEAST_SHARE * width)
    rows = task.count * share
    room = np.maximum(task.sides @ near - task.limits, width)
    held = 0.1 * width / max(room.size, 1) / room
    return _HingeState(task, near, (rows, task.count - rows, held, over, slack, room))


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


def logistic_point(
    task: Task, start: FloatArray, tolerance: float, held: FloatArray | None = None, gap: float = 1e-2
) -> Point:
    """The minimiser of the logistic loss, to a duality gap of ``tolerance`` in the units of the mean loss.

    ``start`` [V] need not meet the constraints. ``held`` [J] ≥ 0 are multipliers known of a similar task, near which
    the search starts with this ``gap``. Otherwise the first steps see every few rows only, where there are many. The
    caller makes sure that there is a minimiser.
    """
    distance, steps = task.sides @ start - task.limits, 0
    room = np.maximum(distance, 1.0)
    cold = start, room, np.full(room.size, 1.0 / max(room.size, 1))
    if held is not None:
        warm = start, *_lifted(np.maximum(distance, 0.0), held, gap)
    elif task.margin.size >= _MANY_ROWS and tolerance < _ROUGH:
        rough, _, steps = _logistic_steps(task.thinned(_STRIDE), cold, _ROUGH)
        warm = rough[0], *_lifted(rough[1], rough[2], gap)
    else:
        warm = cold
    state, residuals, more = _logistic_steps(task, warm, tolerance)
    if not _miss(task, state, residuals) <= max(_UNSOLVED, tolerance):
        again = _logistic_steps(task, cold, tolerance, _TO_BOUNDARY, _CAUTIOUS)
        steps += again[2]
        if not _miss(task, state, residuals) <= _miss(task, *again[:2]):
            state, residuals = again[:2]
    return Point(state[0], residuals[0], state[2], steps + more)


_State = tuple[FloatArray, FloatArray, FloatArray]


def _lifted(room: FloatArray, held: FloatArray, gap: float) -> tuple[FloatArray, FloatArray]:
    """Both with products that sum to ``gap`` or more: of each two the smaller one is raised."""
    least = gap / max(room.size, 1)
    large = np.maximum(np.maximum(room, held), np.sqrt(least))
    small = np.maximum(np.minimum(room, held), least / large)
    loose = room >= held
    return np.where(loose, large, small), np.where(loose, small, large)


def _miss(task: Task, state: _State, residuals: _State) -> float:
    """The duality gap or the largest residual, whichever is more (a constraint's is relative to its limit)."""
    size = _ROUNDINGS * (1.0 + float(np.abs(task.limits).max(initial=0.0)))
    gap = float(state[1] @ state[2])
    return max(gap, float(np.abs(residuals[1]).max(initial=0.0)), float(np.abs(residuals[2]).max(initial=0.0)) / size)


def _logistic_steps(
    task: Task, state: _State, tolerance: float, farthest: float = _NEARLY, least: float = 0.0
) -> tuple[_State, _State, int]:
    """(state, its residuals, steps taken) from a state with positive room and held.

    No step goes beyond the share ``farthest`` of the way to the boundary, nor asks products to fall below ``least``
    of what they are.
    """
    residuals = _logistic_residuals(task, state)
    size = _ROUNDINGS * (1.0 + float(np.abs(task.limits).max(initial=0.0)))
    steps, centring = 0, _CENTRING
    while steps < _STEPS:
        _, room, held = state
        pressed, dual, outside = residuals
        gap = float(held @ room)
        infeasible = max(float(np.abs(dual).max(initial=0.0)), float(np.abs(outside).max(initial=0.0)) / size)
        if gap <= tolerance and infeasible <= max(_STATIONARY, 1e-2 * tolerance):
            break
        hessian = gram(task.matrix, pressed * (1.0 - pressed / task.count))
        hessian += gram(task.sides, held / room)
        hessian.ravel()[:: len(hessian) + 1] += task.pull  # a view: `gram` makes a new matrix
        centred = max(centring, least) * gap / max(room.size, 1)
        third = held * room - centred
        move = solve_symmetric(hessian, -dual - ((third + held * outside) / room) @ task.sides)
        room_move = task.sides @ move + outside
        moves = (move, room_move, (-third - held * room_move) / room)
        reach = _reach((room, held), (moves[1], moves[2]), min(max(_TO_BOUNDARY, 1.0 - gap), farthest))
        following = _searched(task, state, residuals, moves, centred, reach)
        if following is None:
            break
        (state, residuals), steps = following, steps + 1
        # A short step means products of unequal size; a whole one, that the end is near.
        centring = _RECENTRING if reach < _SHORT else _CENTRING if reach < _WHOLE else _ENDING
    return state, residuals, steps


def gram(matrix: FloatArray, weight: FloatArray) -> FloatArray:
    """[V, V] Σ weight_r d_r d_rᵀ over the rows of D [R, V], in blocks that fit the cache."""
    size = matrix.shape[1]
    block = max(_BLOCK // max(size, 1), 1)
    if weight.size <= block:
        return (matrix * weight[:, None]).T @ matrix
    total = np.zeros((size, size))
    for begin in range(0, weight.size, block):
        part = matrix[begin : begin + block]
        total += (part * weight[begin : begin + block, None]).T @ part
    return total


def _logistic_residuals(task: Task, state: _State) -> _State:
    """α = c σ(m − D v) [R], stationarity [V] and the definition of u [J]."""
    variables, room, held = state
    pressed = task.count * sigmoid(task.margin - task.matrix @ variables)
    dual = task.slope + task.pull * (variables - task.centre) - pressed @ task.matrix - held @ task.sides
    return pressed, dual, task.sides @ variables - task.limits - room


def _searched(
    task: Task, state: _State, residuals: _State, moves: _State, centred: float, reach: float
) -> tuple[_State, _State] | None:
    """(state, residuals) after a step that shortens the residual; None where rounding leaves no such step."""

    def length(at: _State, of: _State) -> float:
        return float(np.sqrt(of[1] @ of[1] + of[2] @ of[2] + ((at[2] * at[1] - centred) ** 2).sum()))

    step, now = reach, length(state, residuals)
    while step > 1e-10:
        following = (state[0] + step * moves[0], state[1] + step * moves[1], state[2] + step * moves[2])
        found = _logistic_residuals(task, following)
        if length(following, found) <= (1.0 - 0.01 * step) * now:
            return following, found
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


def _reach(positive: tuple[FloatArray, ...], moves: tuple[FloatArray, ...], share: float = 1.0) -> float:
    """The largest step in [0, 1] that goes at most this share of the way to where one of them is 0."""
    fastest = max(float((-move / value).max(initial=0.0)) for value, move in zip(positive, moves, strict=True))
    return share / max(share, fastest)


def solve_symmetric(matrix: FloatArray, right: FloatArray) -> FloatArray:
    """x with matrix x = right for a positive semidefinite matrix, the shortest one where it is singular."""
    scale = 1.0 / np.sqrt(np.maximum(matrix.diagonal(), _TINIEST))
    scaled = matrix * (scale[:, None] * scale)
    try:
        np.linalg.cholesky(scaled)
        solution: FloatArray = np.linalg.solve(scaled, scale * right) * scale
    except np.linalg.LinAlgError:
        solution = np.linalg.lstsq(scaled, scale * right, rcond=1e-14)[0] * scale
    return solution
