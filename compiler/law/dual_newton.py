"""Minimisers of the dual: projected Newton with an active set, and L-BFGS-B where there are many multipliers.

Both stop at the same test, the projected gradient in scaled units. Sources: Bertsekas 1982 (projected Newton),
Levenberg's damping as a trust region; Byrd, Lu, Nocedal and Zhu 1995 (L-BFGS-B, scipy's).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from bylaw.compiler.law.dual_problem import Arrow, Dense, Problem, State
from bylaw.compiler.law.numerics import FloatArray

_ITERATIONS = 500
_RETRIES = 60
_ARMIJO = 1e-4
_ROUNDING = 1e-14  # a slope that no step brings down further
_MANY_ROWS = 32768  # from here on the first steps go by an estimated curvature, down to a slope of _ROUGH_END
_ROUGH_END = 3e-6
_ROUGH_ROWS = 4096  # a first guess comes from about so many rows, where there are several times as many
_ROUGH_ITERATIONS = 30
_ROUGH_TOLERANCE = 1e-4  # of the thinned sample, whose own error is larger
_SETTLED = 1e-10  # relative: on many rows, a step this short is not worth another pass


@dataclass(frozen=True, eq=False)
class Solved:
    """Where a search ended; ``curvature`` was taken where the projected gradient was ``curvature_slope``."""

    state: State
    curvature: Dense | Arrow
    curvature_slope: float
    iterations: int


def minimise(problem: Problem, start: FloatArray, tolerance: float, lowest: float) -> Solved:
    """Projected Newton from ``start`` [U].

    Args:
        problem: the dual in scaled units.
        start: [U] a first guess, projected here.
        tolerance: on the projected gradient.
        lowest: φ cannot go below this (nats) when the budgets can hold together; below it the search ends.

    Where the law rests on few samples φ is nearly piecewise linear and pure Newton steps overshoot. The Levenberg term
    then works as a trust region: raised until Armijo's condition holds, lowered while the quadratic model is good.
    On many rows the first steps go by an estimate of the curvature; the last ones never do.
    """
    rough = problem.rows.log_weight.size >= _MANY_ROWS and not problem.own.size
    enough = max(tolerance, _ROUGH_END) if rough else tolerance
    guess, curvature = _first_guess(problem, start, lowest)
    state, iterations = _newton(problem, guess, enough, lowest, curvature, rough)
    return _finished(state, tolerance, lowest, iterations)


def _newton(
    problem: Problem,
    start: FloatArray,
    tolerance: float,
    lowest: float,
    known: Dense | Arrow | None = None,
    rough: bool = False,
    limit: int = _ITERATIONS,
) -> tuple[State, int]:
    """The search from ``start``; its first step by the curvature ``known``, if any."""
    state, damping = problem.at(problem.project(start)), 0.0
    for iteration in range(limit):
        if state.stationarity <= tolerance or state.value < lowest:
            return state, iteration
        curvature, known = known or state.curvature(rough), None
        smallest = max(1e-8 * curvature.largest(), 1e-14)
        for _ in range(_RETRIES):
            trial = problem.at(problem.project(state.point + curvature.step(state, damping)))
            if _acceptable(state, trial):
                break
            damping = max(10.0 * damping, smallest)
        else:
            return state, iteration
        move = trial.point - state.point
        promised = -float(state.gradient * problem.measure @ move + 0.5 * curvature.along(move))
        gain = (state.value - trial.value) / promised if promised > 1e-12 * max(1.0, abs(state.value)) else 1.0
        if gain > 0.7:
            damping = 0.1 * damping if damping > smallest else 0.0
        elif gain < 0.25:
            damping = max(4.0 * damping, smallest)
        rough = rough and trial.stationarity < 0.3 * state.stationarity
        state = trial
    return state, limit


def _finished(state: State, tolerance: float, lowest: float, iterations: int) -> Solved:
    """The end of a search, with steps past the tolerance: it bounds the slope, not the multipliers."""
    problem = state.problem
    settled = _SETTLED if problem.rows.log_weight.size >= _MANY_ROWS else 0.0
    for rounds in range(2):
        curvature, slope = state.curvature(), state.stationarity
        while state.value >= lowest and state.stationarity > _ROUNDING:
            move = curvature.step(state, 0.0)
            if state.stationarity <= tolerance and (np.abs(move) <= settled * np.abs(state.point)).all():
                break
            trial = problem.at(problem.project(state.point + move))
            if not trial.stationarity < 0.5 * state.stationarity:
                break
            state = trial
        if state.stationarity <= tolerance or state.value < lowest or rounds:
            break
        state, more = _newton(problem, state.point, tolerance, lowest)
        iterations += more
    return Solved(state, curvature, slope, iterations)


def quasi_newton(problem: Problem, start: FloatArray, tolerance: float, lowest: float) -> Solved:
    """L-BFGS-B, for many multipliers; the last digits, which its line search loses to rounding, by Newton."""
    from scipy.optimize import minimize  # here, so that reading a policy does not load it

    def objective(point: FloatArray) -> tuple[float, FloatArray]:
        state = problem.at(point)
        if state.value < lowest:
            raise StopIteration
        return state.value, state.gradient * problem.measure

    last = [problem.project(start)]

    def remember(point: FloatArray) -> None:
        last[0] = point.copy()

    options = {"maxiter": 20 * _ITERATIONS, "maxfun": 40 * _ITERATIONS, "ftol": 0.0, "gtol": tolerance, "maxcor": 20}
    limits = list(zip(problem.lower, problem.upper, strict=True))
    try:
        found = minimize(
            objective, last[0], jac=True, method="L-BFGS-B", bounds=limits, callback=remember, options=options
        )
        point, iterations = np.asarray(found.x, dtype=np.float64), int(found.nit)
    except StopIteration:
        point, iterations = last[0], 0
    state, more = _newton(problem, point, tolerance, lowest)
    return _finished(state, tolerance, lowest, iterations + more)


def _first_guess(problem: Problem, start: FloatArray, lowest: float) -> tuple[FloatArray, Dense | Arrow | None]:
    """The solution on a thinned sample, where that is cheap and exists, and the curvature there; else ``start``."""
    rows = problem.rows
    step = rows.log_weight.size // max(_ROUGH_ROWS, 32 * rows.prompts)
    if step < 4 or rows.log_weight.size < _MANY_ROWS:
        return start, None
    thin = replace(problem, rows=rows.thinned(step))
    rough, _ = _newton(thin, start, _ROUGH_TOLERANCE, lowest - float(np.log(step)), limit=_ROUGH_ITERATIONS)
    return (rough.point, rough.curvature()) if rough.stationarity <= _ROUGH_TOLERANCE else (start, None)


def _acceptable(state: State, trial: State) -> bool:
    """Whether ``trial`` satisfies Armijo's condition along the projected step."""
    predicted = float(state.gradient * state.problem.measure @ (trial.point - state.point))
    if predicted >= 0.0:
        return False
    noise = 8.0 * np.finfo(np.float64).eps * max(1.0, abs(state.value))
    if trial.value <= state.value + _ARMIJO * predicted and state.value - trial.value > noise:
        return True
    # Near the optimum the decrease drowns in rounding; then the slope itself must shrink.
    return bool(abs(trial.value - state.value) <= noise and trial.stationarity < state.stationarity)
