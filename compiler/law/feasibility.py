"""Which budgets cannot hold together, and which are hard rules in disguise, LAW.md §2.

Signed constraints c_k(y) ≤ 0: f − b for "at most", b − f for "at least", both for "exactly". With every prompt's law
free on that prompt's own support,

    v* = min_q max_k E_q c_k = max_{d ≥ 0, Σd = 1} g(d),     g(d) = mean_x min_n d·c(y_xn).

g is concave and piecewise linear; Kelley's cutting planes maximise it exactly (finitely many vertices), each master
problem being a matrix game solved by the simplex method. v* > 0 is a proof of infeasibility on the sampled support with
certificate d*; v* = 0 means that only a face of the support is left. Sources: Kelley 1960; von Neumann's minimax
theorem; Dantzig 1951 (games as linear programmes); Bland 1977 (a pivot rule that cannot cycle).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt

from bylaw.compiler.law.feasibility_lp import Direction, conflict_direction, face_direction
from bylaw.compiler.law.numerics import BoolArray, FloatArray, as_matrix, as_vector
from bylaw.compiler.law.rows import Rows
from bylaw.compiler.law.samples import Population

Sense: TypeAlias = Literal["at most", "at least", "exactly"]

_RELATIVE_TOLERANCE = 1e-9  # of the largest |c|: below it a separation counts as zero
_PIVOT_TOLERANCE = 1e-12
_MOST_FOR_CUTS = 24  # budgets; beyond, a general linear-programming solver closes sooner than cutting planes
_MAXIMUM_CUTS = 2000
_MAXIMUM_PIVOTS = 20000


@dataclass(frozen=True, eq=False)
class Certificate:
    """The separating direction of a set of budgets.

    Attributes:
        direction: [J] signed d*, Σ|d*| ≤ 1: positive presses an "at most" side, negative an "at least" side.
        value: v* in the features' units; > 0 proves infeasibility on the sampled support, < 0 is the margin.
        conflict: indices of a minimal subset that already cannot hold (drop any one and the rest can); empty if v* ≤ 0.
        samples: N, the size of the sampled support that the statement is about.
        prompts: indices of the prompts that the conflict needs, where budgets of each prompt take part; else empty.
    """

    direction: FloatArray
    value: float
    conflict: tuple[int, ...]
    samples: int
    prompts: tuple[int, ...] = ()

    def describe(self, names: Sequence[str] | None = None) -> str:
        """One sentence for people, with the limits of what samples can prove."""
        if self.value == 0.0:
            return f"feasible only on a face of the sampled support (N = {self.samples}): compile it as a hard rule"
        if self.value < 0.0 or not self.conflict:
            return f"feasible with margin {-self.value:.6g} on the sampled support (N = {self.samples})"
        labels = [names[index] if names is not None else f"budget {index}" for index in self.conflict]
        where = f" at prompt(s) {', '.join(map(str, self.prompts))}" if self.prompts else ""
        lead = f"infeasible on the sampled support (N = {self.samples})"
        return f"{lead}: {' + '.join(labels)}{where}, v* = {self.value:.6g}"


def checked_budgets(
    population: Population,
    bounds: npt.ArrayLike,
    senses: Sequence[Sense],
    is_rate: Sequence[bool] | None = None,
) -> tuple[FloatArray, tuple[Sense, ...]]:
    """The bounds [J] and senses of a population's J budgets; ValueError when they do not fit.

    ``is_rate`` [J] marks budgets on shares: their bounds and features must lie in [0, 1].
    """
    vector = as_vector(bounds, "bounds")
    kinds = tuple(senses)
    if vector.shape != (population.budgets,) or len(kinds) != population.budgets:
        raise ValueError(
            f"{population.budgets} features need as many bounds and senses, got {vector.size}, {len(kinds)}"
        )
    if not np.isfinite(vector).all():
        raise ValueError("bounds must be finite")
    unknown = sorted(set(kinds) - set(get_args(Sense)))
    if unknown:
        raise ValueError(f"unknown sense(s) {unknown}, expected one of {list(get_args(Sense))}")
    if is_rate is not None:
        _check_rates(population, vector, is_rate)
    return vector, kinds


def _check_rates(population: Population, bounds: FloatArray, is_rate: Sequence[bool]) -> None:
    if len(is_rate) != bounds.size:
        raise ValueError(f"{bounds.size} budgets need as many entries of is_rate, got {len(is_rate)}")
    low, high = population.rows.values.min(axis=1), population.rows.values.max(axis=1)
    for index, (bound, rate) in enumerate(zip(bounds, is_rate, strict=True)):
        if rate and not 0.0 <= bound <= 1.0:
            raise ValueError(
                f"budget {index} bounds a rate by {bound:g}, but a rate lies between 0 and 1: "
                "give it as a share (5 % is 0.05)"
            )
        if rate and not (low[index] >= 0.0 and high[index] <= 1.0):
            raise ValueError(
                f"budget {index} is marked as a rate, but its feature runs from {low[index]:g} to {high[index]:g}: "
                "a rate is the mean of a feature within [0, 1]"
            )


def separation(population: Population, bounds: npt.ArrayLike, senses: Sequence[Sense]) -> Certificate:
    """v* and d* of all J budgets together, whatever their sign; J = 0 gives −inf.

    An "exactly" budget contributes both sides, so v* ≥ 0 whenever there is one; only v* > 0 is then informative.

    Raises:
        ValueError: bounds or senses do not fit the features.
        RuntimeError: the cutting planes did not close (not seen for J ≤ 10).
    """
    vector, kinds = checked_budgets(population, bounds, senses)
    return _separation(population, vector, kinds, tuple(range(vector.size)))


def infeasibility(population: Population, bounds: npt.ArrayLike, senses: Sequence[Sense]) -> Certificate | None:
    """The certificate that the J budgets cannot hold together on the sampled support, None if they can.

    ``conflict`` is made minimal by deletion: a budget is dropped for good when the others still conflict without it.

    Raises:
        ValueError: bounds or senses do not fit the features.
    """
    vector, kinds = checked_budgets(population, bounds, senses)
    return conflict_among(population, vector, kinds, tuple(range(vector.size)))


def conflict_among(
    population: Population,
    bounds: FloatArray,
    senses: Sequence[Sense],
    members: Sequence[int],
    each: BoolArray | None = None,
) -> Certificate | None:
    """``infeasibility`` of the budgets in ``members`` only (the others are elastic or switched off).

    ``each`` [J] marks budgets that must hold in every prompt; the certificate then names prompts, and its value is in
    units of the largest |f − b| of each feature.
    """
    if (each is not None and each[list(members)].any()) or len(members) > _MOST_FOR_CUTS:
        every = np.zeros(bounds.size, dtype=np.bool_) if each is None else each
        return _general_conflict(population, bounds, senses, tuple(members), every)
    tolerance = _tolerance(population, bounds, members)
    full = _separation(population, bounds, senses, tuple(members), enough=tolerance)
    if full.value <= tolerance:
        return None
    conflict = [index for index in members if full.direction[index] != 0.0]
    for index in tuple(conflict):
        rest = tuple(other for other in conflict if other != index)
        tolerance = _tolerance(population, bounds, rest)
        if rest and _separation(population, bounds, senses, rest, enough=tolerance).value > tolerance:
            conflict.remove(index)
    return Certificate(full.direction, full.value, tuple(conflict), full.samples)


def _general_conflict(
    population: Population, bounds: FloatArray, senses: Sequence[Sense], members: tuple[int, ...], each: BoolArray
) -> Certificate | None:
    rows, share = _standardised(population, bounds), population.weights

    def proof(chosen: Sequence[int]) -> Direction | None:
        return conflict_direction(rows, share, senses, each, chosen) if chosen else None

    found = proof(members)
    if found is None:
        return None
    full, conflict = found, [index for index in members if found.table[:, index].any()]
    for index in tuple(conflict):
        smaller = proof([other for other in conflict if other != index])
        if smaller is not None:
            conflict.remove(index)
            found = smaller
    used = np.abs(found.table[:, each]).sum(axis=1) > 0.0
    return Certificate(
        share @ full.table,
        full.value,
        tuple(conflict),
        population.size,
        tuple(int(x) for x in np.flatnonzero(used)) if len(population.prompts) > 1 else (),
    )


def hard_budgets(
    population: Population,
    bounds: npt.ArrayLike,
    senses: Sequence[Sense],
    members: Sequence[int] | None = None,
    each: BoolArray | None = None,
) -> tuple[int, ...]:
    """Budgets that only a restriction of the support can meet: their multiplier would be infinite.

    "b = 0 is a hard rule": a budget whose bound is exactly the smallest (for "at least" the largest) value that its
    feature can average to on the samples (in some prompt, for a budget of each), or a minimal set of budgets that
    together leave only a face. Constant features are excluded: they hold for free. Infeasible budgets are not
    reported here.

    Raises:
        ValueError: bounds or senses do not fit the features.
    """
    vector, kinds = checked_budgets(population, bounds, senses)
    chosen = tuple(range(vector.size)) if members is None else tuple(members)
    every = np.zeros(vector.size, dtype=np.bool_) if each is None else each
    found = {index for index in chosen if _hard_alone(population, vector, kinds, every, index)}
    rows, share = _standardised(population, vector), population.weights
    rest = [index for index in chosen if index not in found]
    joint = face_direction(rows, share, kinds, every, rest) if len(rest) > 1 else None
    if joint is not None:
        face = [index for index in rest if joint.table[:, index].any()]
        for index in tuple(face):
            smaller = [other for other in face if other != index]
            if smaller and face_direction(rows, share, kinds, every, smaller) is not None:
                face = smaller
        found |= set(face)
    return tuple(sorted(found))


def _hard_alone(
    population: Population, bounds: FloatArray, senses: Sequence[Sense], each: BoolArray, index: int
) -> bool:
    tolerance = _tolerance(population, bounds, (index,))
    lowest, highest = population.rows.extremes
    low, high = lowest[index], highest[index]
    if not each[index]:
        low, high = (np.atleast_1d(population.weights @ edge) for edge in (low, high))
    varies = high - low > tolerance
    at_low = (senses[index] != "at least") & (np.abs(low - bounds[index]) <= tolerance)
    at_high = (senses[index] != "at most") & (np.abs(high - bounds[index]) <= tolerance)
    return bool((varies & (at_low | at_high)).any())


def _standardised(population: Population, bounds: FloatArray) -> Rows:
    """The merged rows with features (f − b) / max|f − b|."""
    low, high = population.rows.values.min(axis=1), population.rows.values.max(axis=1)
    largest = np.maximum(np.abs(low - bounds), np.abs(high - bounds))
    return population.rows.standardised(bounds, np.where(largest > 0.0, largest, 1.0))


def achievable_range(population: Population) -> tuple[FloatArray, FloatArray]:
    """([J], [J]): the smallest and largest population average of each feature over all laws on the sampled support."""
    low, high = population.rows.extremes
    return low @ population.weights, high @ population.weights


def _tolerance(population: Population, bounds: FloatArray, members: Sequence[int]) -> float:
    chosen = list(members)
    if not chosen:
        return 0.0
    values = population.rows.values[chosen]
    edges = np.stack([values.min(axis=1), values.max(axis=1)])
    return _RELATIVE_TOLERANCE * float(np.abs(edges - bounds[chosen]).max())


def _separation(
    population: Population,
    bounds: FloatArray,
    senses: Sequence[Sense],
    members: tuple[int, ...],
    enough: float = -np.inf,
) -> Certificate:
    """Maximise g over the simplex of the signed sides of the budgets in ``members``.

    Once v* ≤ ``enough`` is certain the search may stop: the value is then only a lower bound on v*.
    """
    sides = [(index, sign) for index in members for sign in _signs(senses[index])]
    direction = np.zeros(bounds.size)
    if not sides:
        return Certificate(direction, float(-np.inf), (), population.size)
    columns = np.array([index for index, _ in sides])
    signs = np.array([sign for _, sign in sides])
    violations = (population.rows.values[columns].T - bounds[columns]) * signs
    gap = 0.1 * _tolerance(population, bounds, members)
    best, value = _maximise_over_simplex(population, violations, gap, enough)
    for (index, sign), part in zip(sides, best, strict=True):
        direction[index] += sign * part
    direction[np.abs(direction) < _RELATIVE_TOLERANCE] = 0.0
    direction.setflags(write=False)
    return Certificate(direction, value, (), population.size)


def _signs(sense: Sense) -> tuple[float, ...]:
    return {"at most": (1.0,), "at least": (-1.0,), "exactly": (1.0, -1.0)}[sense]


def _maximise_over_simplex(
    population: Population, violations: FloatArray, gap: float, enough: float
) -> tuple[FloatArray, float]:
    """(d* [K], g(d*)) for violations [G, K] of the population's merged rows, to an optimality gap of ``gap``."""
    size = violations.shape[1]
    points = [np.full(size, 1.0 / size), *np.eye(size)]
    cuts: list[FloatArray] = []
    best, best_value = points[0], -np.inf
    while len(cuts) < _MAXIMUM_CUTS:
        for point in points:
            cut = _cut(population, violations, point)
            cuts.append(cut)
            if cut @ point > best_value:
                best, best_value = point, float(cut @ point)
        point, upper = solve_matrix_game(np.array(cuts))
        if upper - best_value <= gap or upper < enough:
            return best, best_value
        points = [point]
    raise RuntimeError(f"cutting planes did not close within {_MAXIMUM_CUTS} cuts")


def _cut(population: Population, violations: FloatArray, point: FloatArray) -> FloatArray:
    """A supergradient of g at ``point``: the prompt-weighted mean of the violations of each prompt's minimiser [K]."""
    scores = violations @ point
    rows = population.rows
    lowest = np.minimum.reduceat(scores, rows.starts)
    attained = np.flatnonzero(scores == np.repeat(lowest, rows.counts))
    prompt_of = np.searchsorted(rows.starts, attained, side="right") - 1
    _, first = np.unique(prompt_of, return_index=True)
    result: FloatArray = population.weights @ violations[attained[first]]
    return result


def solve_matrix_game(payoff: npt.ArrayLike) -> tuple[FloatArray, float]:
    """max over d in the simplex of min_k (payoff d)_k, for payoff [K, J]: (d* [J], value).

    The primal simplex method on max Σy s.t. payoff₊ᵀ y ≤ 1, y ≥ 0 with payoff₊ shifted to be ≥ 1, so that y = 0 is a
    feasible start; d* are the duals of its J rows, scaled. Bland's rule, so it ends.

    Raises:
        RuntimeError: the pivot limit was reached.
    """
    matrix = as_matrix(payoff, "payoff")
    rows, columns = matrix.shape
    scale = float(np.ptp(matrix)) or 1.0
    lowest = float(matrix.min())
    positive = (matrix - lowest) / scale + 1.0
    tableau = np.zeros((columns + 1, rows + columns + 1))
    tableau[:columns, :rows] = positive.T
    tableau[:columns, rows : rows + columns] = np.eye(columns)
    tableau[:columns, -1] = 1.0
    tableau[-1, :rows] = -1.0
    basis = np.arange(rows, rows + columns)
    for _ in range(_MAXIMUM_PIVOTS):
        entering = np.flatnonzero(tableau[-1, :-1] < -_PIVOT_TOLERANCE)
        if entering.size == 0:
            break
        column = int(entering[0])
        usable = np.flatnonzero(tableau[:-1, column] > _PIVOT_TOLERANCE)
        ratios = tableau[usable, -1] / tableau[usable, column]
        ties = usable[ratios <= ratios.min() + 1e-14 * np.abs(ratios.min())]
        row = int(ties[np.argmin(basis[ties])])
        tableau[row] /= tableau[row, column]
        others = np.arange(columns + 1) != row
        tableau[others] -= np.outer(tableau[others, column], tableau[row])
        basis[row] = column
    else:
        raise RuntimeError(f"the simplex method did not end within {_MAXIMUM_PIVOTS} pivots")
    duals = np.maximum(tableau[-1, rows : rows + columns], 0.0)
    strategy = duals / duals.sum()
    # The value is recomputed from the strategy, not read off the tableau: pivots accumulate rounding.
    return strategy, float((matrix @ strategy).min())
