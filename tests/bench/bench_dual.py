"""Ten budgets on 100,000 samples: ``solve_dual`` against scipy's general solvers on the same samples, in the same run.

    OMP_NUM_THREADS=1 python tests/bench/bench_dual.py

Every solver stops at a projected gradient of 1e-9 (largest |f − b| = 1) or where it can get no further. The objective
handed to scipy is vectorised numpy over all prompts at once, with its gradient (and Hessian for trust-constr).

* "first": from arrays. Ours copies and checks the samples and merges equal rows; scipy's objective is set up.
* "again": the samples are prepared, as in re-solving for other bounds (what-if, prices, trade-off curves).

Ours includes the verdict, base rates and all intervals; scipy's solvers give multipliers only. Times are the least of
the repetitions, processor time of one thread. "of theirs" is our time divided by theirs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bylaw.compiler.law.dual import solve_dual
from bylaw.compiler.law.samples import Population, PromptSamples

BUDGETS, SAMPLES, REPETITIONS = 10, 100_000, 7
Data = list[tuple[np.ndarray, np.ndarray]]


def rules(rng: np.random.Generator, prompts: int) -> Data:
    """0/1 features of base rates 3–50 % that a common property of the response makes likelier, as rules are."""
    rates = np.geomspace(0.03, 0.5, BUDGETS)
    made = []
    for _ in range(prompts):
        size = SAMPLES // prompts
        bad = rng.random((size, 1)) < 0.2
        made.append(
            (rng.normal(0.0, 0.5, size), (rng.random((size, BUDGETS)) < rates * np.where(bad, 2, 1)).astype(float))
        )
    return made


def scores(rng: np.random.Generator, prompts: int) -> Data:
    """Continuous features that no two samples share: correlated, skewed scores."""
    made = []
    for _ in range(prompts):
        size = SAMPLES // prompts
        common = rng.normal(size=(size, 1))
        made.append((rng.normal(0.0, 0.5, size), np.exp(0.5 * rng.normal(size=(size, BUDGETS)) + 0.4 * common)))
    return made


class Objective:
    """φ in scaled units on raw samples, as a user of a general solver would write it."""

    def __init__(self, data: Data, bounds: np.ndarray) -> None:
        self.weight = np.concatenate([weight for weight, _ in data])
        shifted = np.concatenate([features for _, features in data]) - bounds
        self.scale = np.abs(shifted).max(axis=0)
        self.features = shifted / self.scale
        self.counts = np.array([len(weight) for weight, _ in data])
        self.starts = np.cumsum(self.counts) - self.counts
        self.evaluations = 0

    def law(self, point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        exponent = self.weight - self.features @ point
        peak = np.maximum.reduceat(exponent, self.starts)
        mass = np.exp(exponent - np.repeat(peak, self.counts))
        total = np.add.reduceat(mass, self.starts)
        return peak + np.log(total / self.counts), mass / np.repeat(total * self.counts.size, self.counts)

    def __call__(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        self.evaluations += 1
        log_z, mass = self.law(point)
        return float(log_z.mean()), -(mass @ self.features)

    def hessian(self, point: np.ndarray) -> np.ndarray:
        _, mass = self.law(point)
        weighted = self.features * mass[:, None]
        means = np.add.reduceat(weighted, self.starts, axis=0)
        return weighted.T @ self.features - self.counts.size * means.T @ means

    def slope(self, point: np.ndarray) -> float:
        """The largest projected slope for μ ≥ 0."""
        gradient = self(point)[1]
        return float(np.maximum(np.minimum(gradient, point), -gradient).max())


@dataclass(frozen=True)
class Line:
    """One solver: seconds from arrays and on prepared samples, projected slope, distance from our μ, evaluations."""

    solver: str
    first: float
    again: float
    slope: float
    distance: float
    evaluations: int


def timed(run: Callable[[], object], repetitions: int) -> float:
    """The least processor time in seconds."""
    best = np.inf
    for _ in range(repetitions):
        began = time.thread_time()
        run()
        best = min(best, time.thread_time() - began)
    return float(best)


def general(method: str, objective: Objective) -> np.ndarray:
    """The multipliers [J] that a general solver of scipy finds."""
    start, limits = np.zeros(BUDGETS), [(0.0, None)] * BUDGETS
    options = {
        "L-BFGS-B": {"ftol": 0.0, "gtol": 1e-9, "maxiter": 2000, "maxfun": 4000},
        "SLSQP": {"ftol": 1e-16, "maxiter": 1000},
        "trust-constr": {"gtol": 1e-9, "xtol": 1e-13, "barrier_tol": 1e-12, "maxiter": 1000},
    }[method]
    hessian = {"hess": objective.hessian} if method == "trust-constr" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = minimize(objective, start, jac=True, method=method, bounds=limits, options=options, **hessian)
    return np.asarray(found.x / objective.scale)


def compare(data: Data, share: float, repetitions: int, methods: Sequence[str]) -> list[Line]:
    """Our line first, then one for each of scipy's ``methods``; budgets at ``share`` of the base rates."""
    population = Population([PromptSamples(*pair) for pair in data])
    bounds = share * population.base.mean
    prepared = Objective(data, bounds)

    def ours() -> np.ndarray:
        return solve_dual(population, bounds, ["at most"] * BUDGETS).mu

    def ours_first() -> np.ndarray:
        return solve_dual(Population([PromptSamples(*pair) for pair in data]), bounds, ["at most"] * BUDGETS).mu

    mu = ours()
    lines = [
        Line(
            "solve_dual",
            timed(ours_first, repetitions),
            timed(ours, repetitions),
            prepared.slope(mu * prepared.scale),
            0.0,
            0,
        )
    ]
    for method in methods:
        prepared.evaluations = 0
        point = general(method, prepared)
        evaluations = prepared.evaluations
        again = timed(lambda m=method: general(m, prepared), repetitions)  # type: ignore[misc]
        first = timed(lambda m=method: general(m, Objective(data, bounds)), repetitions)  # type: ignore[misc]
        slope = prepared.slope(point * prepared.scale)
        lines.append(Line(method, first, again, slope, float(np.abs(point - mu).max()), evaluations))
    return lines


def main() -> None:
    """Print the four comparisons."""
    print("OMP_NUM_THREADS=1 python tests/bench/bench_dual.py")
    print(f"{BUDGETS} budgets, {SAMPLES} samples; milliseconds of one thread, least of {REPETITIONS}")
    for name, make, share in (("0/1 rules", rules, 0.5), ("continuous scores", scores, 0.8)):
        for prompts in (1, 100):
            data = make(np.random.default_rng(1), prompts)
            lines = compare(data, share, REPETITIONS, ("L-BFGS-B", "SLSQP", "trust-constr"))
            print(f"\n{name}, {prompts} prompt(s) × {SAMPLES // prompts}, bounds at {share:g} of the base rates")
            heads = f"{'first':>8}{'of theirs':>11}{'again':>9}{'of theirs':>11}{'slope':>10}{'|Δμ|':>10}  calls"
            print(f"  {'solver':14}{heads}")
            for line in lines:
                first, again = 1e3 * line.first, 1e3 * line.again
                shares = lines[0].first / line.first, lines[0].again / line.again
                print(
                    f"  {line.solver:14}{first:8.1f}{shares[0]:11.3f}{again:9.1f}{shares[1]:11.3f}"
                    f"{line.slope:10.1e}{line.distance:10.1e}  {line.evaluations or ''}"
                )


if __name__ == "__main__":
    main()
