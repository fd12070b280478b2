"""Two hundred random budget problems, twenty of each kind, against scipy's general solvers and exact linear programmes.

Verdicts (infeasible, hard face, solvable) come from an exact simplex method over fractions where features and bounds
are fractions (all boundary cases are), else from HiGHS. Values, rates and multipliers come from L-BFGS-B on
an objective written independently prompt by prompt, its multipliers polished by ``scipy.optimize.root``.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog, minimize, root
from scipy.special import logsumexp

from bylaw.compiler.law.dual import DualSolution, solve_dual
from bylaw.compiler.law.samples import Population, PromptSamples

SENSES = ("at most", "at least", "exactly")
PER_KIND = 10


@dataclass(frozen=True)
class Case:
    """One problem; ``exact`` says that features and bounds are fractions with small denominators."""

    prompts: list[tuple[np.ndarray, np.ndarray]]
    bounds: np.ndarray
    senses: list[str]
    box: np.ndarray
    each: np.ndarray
    exact: bool = False

    @property
    def population(self) -> Population:
        return Population([PromptSamples(w, f) for w, f in self.prompts])

    def solve(self, method: str = "auto") -> DualSolution:
        return solve_dual(
            self.population,
            self.bounds,
            self.senses,
            box=self.box,
            ess_floor=0.0,
            each_prompt=self.each,
            method=method,  # type: ignore[arg-type]
        )


# -------------------------------------------------------------------------------------------------------- generators
def drawn(rng: np.random.Generator, prompts: int, budgets: int, binary: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    made = []
    for _ in range(prompts):
        size = int(rng.integers(20, 50))
        weight = rng.normal(0.0, 0.7, size)
        weight[rng.random(size) < 0.1] = -np.inf
        common = rng.random((size, 1)) < 0.4
        if binary:
            features = (rng.random((size, budgets)) < rng.uniform(0.1, 0.5, budgets) + 0.2 * common).astype(float)
        else:
            features = rng.normal(rng.normal(0.0, 0.3, budgets), 1.0, (size, budgets)) + common
        weight[0] = 0.0
        made.append((weight, features))
    return made


def case(
    prompts: list[tuple[np.ndarray, np.ndarray]],
    bounds: object,
    senses: list[str],
    box: object = None,
    each: object = None,
    exact: bool = False,
) -> Case:
    size = len(senses)
    return Case(
        prompts,
        np.array(bounds, dtype=float),
        senses,
        np.full(size, np.inf) if box is None else np.array(box, dtype=float),
        np.zeros(size, dtype=bool) if each is None else np.array(each, dtype=bool),
        exact,
    )


def attained(rng: np.random.Generator, prompts: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Rates of a tilted law: bounds that can hold together with any senses."""
    means = []
    tilt = rng.normal(0.0, 0.5, prompts[0][1].shape[1])
    for weight, features in prompts:
        exponent = weight - features @ tilt
        means.append(np.exp(exponent - logsumexp(exponent)) @ features)
    return np.mean(means, axis=0)


def some(rng: np.random.Generator, budgets: int) -> list[str]:
    return [SENSES[int(k)] for k in rng.integers(0, 3, budgets)]


def make(kind: str, seed: int) -> Case:
    rng = np.random.default_rng([KINDS.index(kind), seed])
    budgets, prompts = int(rng.integers(2, 6)), int(rng.integers(1, 5))
    binary = bool(seed % 2)
    data = drawn(rng, prompts, budgets, binary)
    level = attained(rng, data)
    return BUILDERS[kind](rng, data, level)


def with_column(data: list[tuple[np.ndarray, np.ndarray]], column: object) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(w, np.column_stack([f, column(f)])) for w, f in data]  # type: ignore[operator]


def plain(rng, data, level):  # type: ignore[no-untyped-def]
    return case(data, level, some(rng, level.size))


def at_most(rng, data, level):  # type: ignore[no-untyped-def]
    return case(data, level, ["at most"] * level.size)


def at_least(rng, data, level):  # type: ignore[no-untyped-def]
    return case(data, level, ["at least"] * level.size)


def equalities(rng, data, level):  # type: ignore[no-untyped-def]
    return case(data, level, ["exactly"] * level.size)


def boxes(rng, data, level):  # type: ignore[no-untyped-def]
    return case(
        data, level, some(rng, level.size), np.where(rng.random(level.size) < 0.6, rng.random(level.size), np.inf)
    )


def collinear(rng, data, level):  # type: ignore[no-untyped-def]
    data = with_column(with_column(data, lambda f: 2.0 * f[:, 0]), lambda f: f[:, 0] + f[:, 1])
    return case(data, [*level, 2.0 * level[0], level[0] + level[1]], ["exactly", *some(rng, level.size + 1)])


def duplicated(rng, data, level):  # type: ignore[no-untyped-def]
    data = with_column(with_column(data, lambda f: f[:, 0]), lambda f: f[:, 0])
    senses = ["at most"] * (level.size + 2)
    return case(data, [*level, level[0], level[0] + 0.05], senses)


def constants(rng, data, level):  # type: ignore[no-untyped-def]
    data = with_column(with_column(data, lambda f: np.full(len(f), 0.5)), lambda f: np.zeros(len(f)))
    return case(data, [*level, 0.5, 0.25], [*some(rng, level.size), "exactly", "at most"])


def redundant(rng, data, level):  # type: ignore[no-untyped-def]
    high = np.max([f.max(axis=0) for _, f in data], axis=0)
    data = with_column(data, lambda f: f.sum(axis=1))
    return case(data, [level[0], *(high[1:] + 1.0), high.sum()], ["at most"] * (level.size + 1))


def elastic_conflict(rng, data, level):  # type: ignore[no-untyped-def]
    data = with_column(data, lambda f: f[:, 0])
    return case(
        data,
        [*level, level[0] + 0.2],
        ["at most"] * level.size + ["at least"],
        [*rng.uniform(2.0, 4.0, level.size), rng.uniform(0.3, 1.0)],
    )


def contradiction(rng, data, level):  # type: ignore[no-untyped-def]
    data = with_column(data, lambda f: f[:, 0])
    return case(data, [*level, level[0] + 0.01], ["at most"] * level.size + ["at least"])


def joint_conflict(rng, data, level):  # type: ignore[no-untyped-def]
    data = with_column(data, lambda f: -f[:, 0] - f[:, 1])
    return case(data, [*level, -level[0] - level[1] - 0.02], ["at most"] * (level.size + 1))


def hard_zero(rng, data, level):  # type: ignore[no-untyped-def]
    data = [(w, (f > 0.5).astype(float)) for w, f in data]
    for _, f in data:
        f[0] = 0.0
    return case(data, [0.0, *np.full(level.size - 1, 0.75)], ["at most"] * level.size, exact=True)


def corners(rng: np.random.Generator, corner: list[list[float]]) -> tuple[np.ndarray, np.ndarray]:
    size = int(rng.integers(12, 25))
    picks = np.concatenate([np.arange(len(corner)), rng.integers(0, len(corner), size)])
    return rng.normal(size=picks.size), np.array(corner)[picks]


def joint_face(rng, data, level):  # type: ignore[no-untyped-def]
    """Every response uses f₁ or f₂; at most half of each leaves only the responses with exactly one."""
    data = [corners(rng, [[1, 0, 0], [0, 1, 1], [1, 1, 0], [1, 1, 1]]) for _ in data]
    return case(data, [0.5, 0.5, 0.875], ["at most"] * 3, exact=True)


def equality_face(rng, data, level):  # type: ignore[no-untyped-def]
    """Two equalities that ask for a point on an edge of the features' convex hull."""
    data = [corners(rng, [[0, 0], [2, 0], [0, 2], [2, 1], [1, 1]]) for _ in data]
    share = float(rng.integers(1, 4)) / 4.0
    return case(data, [2.0 * share, 0.0] if rng.random() < 0.5 else [2.0, share], ["exactly"] * 2, exact=True)


def lattice(rng, data, level):  # type: ignore[no-untyped-def]
    """Small integers and bounds in halves: inside, outside and on the boundary by chance."""
    count = int(rng.integers(2, 5))
    data = [(w[:9], rng.integers(0, 3, (len(w), count)).astype(float)[:9]) for w, _ in data[:2]]
    return case(data, rng.integers(0, 5, count) / 2.0, some(rng, count), exact=True)


def own(rng, data, level):  # type: ignore[no-untyped-def]
    base = np.stack([np.exp(w - logsumexp(w)) @ f for w, f in data])
    gap = 0.5 * (base - np.stack([f.min(axis=0) for _, f in data])).min(axis=0)
    return case(data, base.min(axis=0) - 0.5 * gap + 0.1, ["at most"] * level.size, each=[True] * level.size)


def own_and_shared(rng, data, level):  # type: ignore[no-untyped-def]
    first = own(rng, data, level)
    base = np.mean([np.exp(w - logsumexp(w)) @ f for w, f in data], axis=0)
    each = np.arange(level.size) % 2 == 0
    return case(data, np.where(each, first.bounds, base - 0.05), first.senses, each=each)


def own_boxes(rng, data, level):  # type: ignore[no-untyped-def]
    first = own(rng, data, level)
    each = np.arange(level.size) % 2 == 1
    return case(data, first.bounds - 0.2, first.senses, rng.uniform(0.2, 1.0, level.size), each)


def own_infeasible(rng, data, level):  # type: ignore[no-untyped-def]
    data = [(w, (f > 0.5).astype(float)) for w, f in data]
    data[-1][1][:, 0] = 1.0
    for _, f in data:
        f[0, 1:], f[1, 1:] = 0.0, 1.0
    bounds = [0.75, *np.full(level.size - 1, 0.5)]
    return case(data, bounds, ["at most"] * level.size, each=[True] + [False] * (level.size - 1), exact=True)


BUILDERS = {
    function.__name__: function
    for function in (
        plain, at_most, at_least, equalities, boxes, collinear, duplicated, constants, redundant, elastic_conflict,
        contradiction, joint_conflict, hard_zero, joint_face, equality_face, lattice, own, own_and_shared, own_boxes,
        own_infeasible,
    )
}  # fmt: skip
KINDS = list(BUILDERS)


# ----------------------------------------------------------------------------------------------------------- oracles
def sides(problem: Case) -> list[tuple[int, int, int]]:
    """(budget, sign, prompt or −1) of every rigid one-sided constraint."""
    found = []
    for j, sense in enumerate(problem.senses):
        if np.isfinite(problem.box[j]):
            continue
        for sign in {"at most": (1,), "at least": (-1,), "exactly": (1, -1)}[sense]:
            found += [(j, sign, x) for x in (range(len(problem.prompts)) if problem.each[j] else (-1,))]
    return found


def constraint_table(problem: Case) -> tuple[list[list[Fraction]], list[int]]:
    """Signed c of every distinct row (0 where a side is about another prompt), and its prompt."""
    table, owner = [], []
    one = Fraction if problem.exact else float
    for x, (weight, features) in enumerate(problem.prompts):
        for row in np.unique(features[np.isfinite(weight)], axis=0):
            owner.append(x)
            table.append(
                [
                    sign * (one(row[j]) - one(problem.bounds[j])) if prompt in (-1, x) else one(0)  # type: ignore[misc]
                    for j, sign, prompt in sides(problem)
                ]
            )
    return table, owner  # type: ignore[return-value]


def exact_maximum(objective: list[Fraction], left: list[list[Fraction]], right: list[Fraction]) -> Fraction:
    """max objective·z over left z ≤ right, z ≥ 0, right ≥ 0: the simplex method in fractions, Bland's rule."""
    rows, columns = len(left), len(objective)
    tableau = [
        list(r) + [Fraction(int(i == k)) for k in range(rows)] + [b]
        for i, (r, b) in enumerate(zip(left, right, strict=True))
    ]
    cost = [-value for value in objective] + [Fraction(0)] * (rows + 1)
    basis = list(range(columns, columns + rows))
    while True:
        entering = next((k for k in range(columns + rows) if cost[k] < 0), None)
        if entering is None:
            return cost[-1]
        ratios = [(row[-1] / row[entering], basis[i], i) for i, row in enumerate(tableau) if row[entering] > 0]
        assert ratios, "unbounded"
        pivot = min(ratios)[2]
        scale = tableau[pivot][entering]
        tableau[pivot] = [value / scale for value in tableau[pivot]]
        for other in (*tableau[:pivot], *tableau[pivot + 1 :], cost):
            factor = other[entering]
            if factor:
                other[:] = [a - factor * b for a, b in zip(other, tableau[pivot], strict=True)]
        basis[pivot] = entering


def expected_verdict(problem: Case) -> str:
    """ "infeasible" if max_d g(d) > 0, "hard" if g(d) = 0 for a d whose d·c varies, else "solvable"; LAW.md §2."""
    table, owner = constraint_table(problem)
    count, prompts = len(sides(problem)), len(problem.prompts)
    if count == 0:
        return "solvable"
    number = Fraction if problem.exact else float
    zero, one = number(0), number(1)  # unknowns: d, then t = t⁺ − t⁻ per prompt with t_x ≤ d·c_xn

    def bound(x: int, sign: int) -> list[Fraction]:
        return [number(sign * int(k == x)) for k in range(prompts)]  # type: ignore[misc]

    left = [[-value for value in row] + bound(x, 1) + bound(x, -1) for row, x in zip(table, owner, strict=True)]
    left.append([one] * count + [zero] * (2 * prompts))
    right = [zero] * len(table) + [one]
    separate = [zero] * count + [number(1) / prompts] * prompts + [-number(1) / prompts] * prompts
    mean = [
        sum(row[k] / number(owner.count(x)) for row, x in zip(table, owner, strict=True)) / prompts
        for k in range(count)
    ]
    mean += [zero] * (2 * prompts)
    if problem.exact:
        if exact_maximum(separate, left, right) > 0:
            return "infeasible"
        on_face = exact_maximum(mean, [*left, [-value for value in separate]], [*right, zero])
        return "hard" if on_face > 0 else "solvable"
    options = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    gap = -linprog(-np.array(separate), np.array(left), np.array(right), options=options).fun
    if gap > 1e-8:
        return "infeasible"
    on_face = linprog(
        -np.array(mean), np.array([*left, [-v for v in separate]]), np.array([*right, 0.0]), options=options
    )
    return "hard" if -on_face.fun > 1e-7 else "solvable"


def limits(problem: Case) -> list[tuple[float, float]]:
    spans = {"at most": (0.0, 1.0), "at least": (-1.0, 0.0), "exactly": (-1.0, 1.0)}
    return [
        tuple(0.0 if edge == 0.0 else edge * float(rho) for edge in spans[sense])  # type: ignore[misc]
        for sense, rho in zip(problem.senses, problem.box, strict=True)
    ]


def general_solver(problem: Case, method: str = "L-BFGS-B") -> tuple[float, np.ndarray, np.ndarray]:
    """(dual value, multipliers [X, J], rates [X, J]) by a method of ``minimize`` on the expanded problem."""
    prompts, budgets = len(problem.prompts), problem.bounds.size
    slots = np.empty((prompts, budgets), dtype=int)
    used = 0
    for j in range(budgets):
        slots[:, j] = used + (np.arange(prompts) if problem.each[j] else 0)
        used += prompts if problem.each[j] else 1
    span = [limits(problem)[j] for j in range(budgets) for _ in range(prompts if problem.each[j] else 1)]

    def both(unknown: np.ndarray, curvature: bool = False) -> tuple[float, np.ndarray, np.ndarray]:
        value, slope, hessian = 0.0, np.zeros(used), np.zeros((used, used))
        for (weight, features), slot in zip(problem.prompts, slots, strict=True):
            alive = np.isfinite(weight)
            shifted = features[alive] - problem.bounds
            exponent = weight[alive] - shifted @ unknown[slot]
            total = logsumexp(exponent)
            law = np.exp(exponent - total)
            value += float(total - np.log(weight.size)) / prompts
            slope[slot] -= law @ shifted / prompts
            if curvature:
                hessian[np.ix_(slot, slot)] += (
                    np.cov(shifted.T, aweights=law, ddof=0).reshape(budgets, budgets) / prompts
                )
        return value, slope, hessian

    options = {
        "L-BFGS-B": {"maxiter": 5000, "maxfun": 50000, "ftol": 1e-16, "gtol": 1e-11, "maxcor": 30},
        "SLSQP": {"maxiter": 1000, "ftol": 1e-15},
        "trust-constr": {"maxiter": 1000, "gtol": 1e-9, "xtol": 1e-12, "barrier_tol": 1e-11},
    }[method]
    second = {"hess": lambda u: both(u, True)[2]} if method == "trust-constr" else {}
    unknown = np.zeros(used)
    for _ in range(2):  # a restart forgets what misled the first line searches
        found = minimize(
            lambda u: both(u)[:2], unknown, jac=True, method=method, bounds=span, options=options, **second
        )
        unknown = found.x
    low, high = np.array(span).T
    # Finish on the active set that L-BFGS-B found: its line search stops at the rounding of φ.
    inner = np.flatnonzero((unknown > low + 1e-6) & (unknown < high - 1e-6))
    if inner.size:

        def equations(part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            whole = unknown.copy()
            whole[inner] = part
            _, slope, hessian = both(whole, True)
            return slope[inner], hessian[np.ix_(inner, inner)]

        polished = root(equations, unknown[inner], jac=True, method="hybr", options={"xtol": 1e-14})
        whole = unknown.copy()
        whole[inner] = polished.x
        better = np.abs(equations(polished.x)[0]).max() <= np.abs(equations(unknown[inner])[0]).max()
        better &= both(whole)[0] <= both(unknown)[0] + 1e-13
        if better and (whole >= low).all() and (whole <= high).all():
            unknown = whole
    rates = []
    for (weight, features), slot in zip(problem.prompts, slots, strict=True):
        exponent = weight - features @ unknown[slot]
        rates.append(np.exp(exponent - logsumexp(exponent)) @ features)
    return float(both(unknown)[0]), unknown[slots], np.array(rates)


def is_unique(problem: Case, mu: np.ndarray, rates: np.ndarray) -> bool:
    """Whether the multipliers that may move are pinned: their covariance in the expanded problem has full rank."""
    population = problem.population
    hessian = np.zeros((mu.size, mu.size))
    for x, prompt in enumerate(population.prompts):
        block = Population([prompt]).moments(mu[x]).covariance
        hessian[x * mu.shape[1] : (x + 1) * mu.shape[1], x * mu.shape[1] : (x + 1) * mu.shape[1]] = block
    tie = np.zeros((mu.size, 0))
    for j in range(mu.shape[1]):
        rows = np.arange(mu.shape[0]) * mu.shape[1] + j
        column = np.zeros((mu.size, mu.shape[0] if problem.each[j] else 1))
        column[rows, np.arange(mu.shape[0]) if problem.each[j] else 0] = 1.0
        tie = np.hstack([tie, column])
    gap = np.where(problem.each, rates, rates.mean(axis=0)) - problem.bounds
    moves = (np.abs(gap) < 1e-6) | (np.array(problem.senses) == "exactly")  # the others stand at a limit for good
    free = (tie * moves.ravel()[:, None]).any(axis=0)
    reduced = (tie.T @ hessian @ tie)[np.ix_(free, free)]
    return bool(reduced.size == 0 or np.linalg.eigvalsh(reduced)[0] > 1e-4)


# ------------------------------------------------------------------------------------------------------------- tests
@pytest.mark.parametrize("kind", KINDS)
def test_two_hundred_problems(kind: str) -> None:
    verdicts = set()
    for seed in range(PER_KIND):
        problem = make(kind, seed)
        verdict, solution = expected_verdict(problem), problem.solve()
        verdicts.add(verdict)
        states = {"infeasible on the sampled support": "infeasible", "hard rule": "hard"}
        found = {states[status] for status in solution.status if status in states} or {"solvable"}
        assert found == {verdict}, (seed, solution.status)
        if verdict == "solvable":
            check_solution(problem, solution, seed)
        else:
            check_refusal(problem, solution, verdict)
    assert verdicts == EXPECTED.get(kind, {"solvable"})


EXPECTED = {
    "contradiction": {"infeasible"},
    "joint_conflict": {"infeasible"},
    "own_infeasible": {"infeasible"},
    "own": {"infeasible", "solvable"},
    "hard_zero": {"hard"},
    "joint_face": {"hard"},
    "equality_face": {"hard"},
    "lattice": {"infeasible", "hard", "solvable"},
}


def check_solution(problem: Case, solution: DualSolution, seed: int) -> None:
    value, mu, rates = general_solver(problem)
    assert solution.converged, seed
    assert solution.dual_value == pytest.approx(value, abs=1e-8), seed
    np.testing.assert_allclose(solution.prompt_rate, rates, atol=1e-8, err_msg=str(seed))
    if is_unique(problem, mu, rates):
        np.testing.assert_allclose(solution.prompt_mu, mu, atol=1e-8, rtol=1e-8, err_msg=str(seed))
    for j, (low, high) in enumerate(limits(problem)):
        own, rate = solution.prompt_mu[:, j], solution.prompt_rate[:, j] if problem.each[j] else solution.rate[j]
        over = np.atleast_1d(
            {"at most": 1.0, "at least": -1.0}.get(problem.senses[j], 1.0) * (rate - problem.bounds[j])
        )
        missed = (np.abs(over) if problem.senses[j] == "exactly" else over) > 1e-6
        assert ((own >= low) & (own <= high)).all()
        at_box = np.isfinite(problem.box[j]) & (np.abs(own) == problem.box[j])
        expected = "saturated" if (missed & at_box).any() else "binding" if (own != 0.0).any() else "met"
        assert solution.status[j] == expected
        assert not (missed & ~at_box).any()
        assert (np.abs(over)[np.abs(own[: over.size]) > 1e-6] < 1e-6).all() or at_box.any()
        span = solution.prompt_mu_interval[:, j]
        assert ((span[:, 0] <= own) & (own <= span[:, 1])).all()


def check_refusal(problem: Case, solution: DualSolution, verdict: str) -> None:
    """The named budgets alone already have the verdict, and without any one of them they have not."""
    assert np.isnan(solution.mu).all()
    assert solution.certificate is not None
    if verdict == "hard":
        named = [j for j, status in enumerate(solution.status) if status == "hard rule"]
        assert expected_verdict(part(problem, named)) == "hard"
        return
    named = list(solution.certificate.conflict)
    assert expected_verdict(part(problem, named)) == "infeasible"
    for fewer in combinations(named, len(named) - 1):
        assert expected_verdict(part(problem, list(fewer))) != "infeasible"


def part(problem: Case, named: list[int]) -> Case:
    return Case(
        [(w, f[:, named]) for w, f in problem.prompts],
        problem.bounds[named],
        [problem.senses[j] for j in named],
        problem.box[named],
        problem.each[named],
        problem.exact,
    )


@pytest.mark.parametrize("kind", ["plain", "boxes", "collinear", "elastic_conflict", "own", "own_and_shared"])
def test_quasi_newton_equals_newton(kind: str) -> None:
    for seed in range(4):
        problem = make(kind, seed)
        newton, quasi = problem.solve("newton"), problem.solve("lbfgs")
        assert quasi.converged
        assert quasi.dual_value == pytest.approx(newton.dual_value, abs=1e-8)
        np.testing.assert_allclose(quasi.prompt_rate, newton.prompt_rate, atol=1e-8)
        if is_unique(problem, newton.prompt_mu, newton.prompt_rate):
            np.testing.assert_allclose(quasi.prompt_mu, newton.prompt_mu, atol=1e-8)


@pytest.mark.parametrize("method", ["SLSQP", "trust-constr"])
@pytest.mark.parametrize("kind", ["plain", "boxes", "collinear", "own_and_shared"])
def test_other_general_solvers_find_no_lower_value(kind: str, method: str) -> None:
    for seed in range(2):
        problem = make(kind, seed)
        value = general_solver(problem, method)[0]
        found = problem.solve().dual_value
        assert found <= value + 1e-9
        assert found == pytest.approx(value, abs={"SLSQP": 1e-8, "trust-constr": 1e-5}[method])  # what they reach


@pytest.mark.parametrize("budgets", [70, 120])
def test_many_budgets(budgets: int) -> None:
    """Above 64 multipliers L-BFGS-B is the default; both end at the same law."""
    rng = np.random.default_rng(budgets)
    features = (rng.random((4000, budgets)) < rng.uniform(0.1, 0.5, budgets)).astype(float)
    population = Population([PromptSamples(rng.normal(0.0, 0.3, 4000), features)])
    bounds = population.moments(np.zeros(budgets)).mean * rng.uniform(0.85, 1.05, budgets)
    senses = ["at most"] * budgets
    box = np.where(rng.random(budgets) < 0.3, 0.1, np.inf)
    quasi = solve_dual(population, bounds, senses, box=box)
    newton = solve_dual(population, bounds, senses, box=box, method="newton")
    assert quasi.converged
    assert quasi.iterations != newton.iterations  # another path to the same point
    np.testing.assert_allclose(quasi.mu, newton.mu, atol=1e-8)
    assert quasi.status == newton.status
    assert {"met", "binding", "saturated"} <= set(quasi.status)


def test_a_tenth_of_the_time_of_general_solvers() -> None:
    """Ten budgets of 0/1 rules, 100,000 prepared samples; processor time. tests/bench/bench_dual.txt has all cases."""
    path = Path(__file__).parent / "bench" / "bench_dual.py"
    spec = importlib.util.spec_from_file_location("bench_dual", path)
    assert spec is not None
    assert spec.loader is not None
    bench = importlib.util.module_from_spec(spec)
    sys.modules["bench_dual"] = bench
    spec.loader.exec_module(bench)
    data = bench.rules(np.random.default_rng(1), 1)
    ours, *theirs = bench.compare(data, 0.5, 2, ("L-BFGS-B", "SLSQP"))
    assert ours.slope < 1e-12
    for line in theirs:
        assert ours.again <= 0.1 * line.again, line
        assert ours.first <= line.first, line
        assert line.distance < 1e-5  # all at the same multipliers
