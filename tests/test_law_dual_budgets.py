"""Budgets of each prompt, conditional and elastic budgets, and what is refused by name."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from price_suites import program_of

from bylaw.compiler.law.dual import solve_dual
from bylaw.compiler.law.gibbs import ExactLaw
from bylaw.compiler.law.numerics import LowEffectiveSampleSize
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.runtime.calibration.pool import ratios
from bylaw.runtime.calibration.problem import BudgetProblem, budget_problem, solve
from bylaw.runtime.enforcement import PromptPlan
from bylaw.spec.trace import Message, Trace

AT_MOST = ["at most"]


def enumerated(log_p0: np.ndarray, features: np.ndarray) -> PromptSamples:
    """An exact law as samples: one of each response from the uniform proposal."""
    return PromptSamples(log_p0 + np.log(log_p0.size), features)


def random_law(rng: np.random.Generator, size: int, budgets: int) -> tuple[np.ndarray, np.ndarray]:
    features = (rng.random((size, budgets)) < rng.uniform(0.2, 0.6, budgets)).astype(float)
    features[0], features[1] = 0.0, 1.0
    return np.log(rng.dirichlet(np.ones(size))), features


# ----------------------------------------------------------------------------------------------- budgets of each prompt
@pytest.mark.parametrize("seed", [0, 1, 2, 3, 5, 6])  # in 4 the equality of one prompt cannot hold
def test_budgets_of_each_prompt_alone_are_one_problem_per_prompt(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prompts = [enumerated(*random_law(rng, 30, 3)) for _ in range(5)]
    population = Population(prompts, rng.random(5) + 0.1)
    bounds, senses = [0.2, 0.25, 0.4], ["at most", "at most", "exactly"]
    joint = solve_dual(population, bounds, senses, ess_floor=0.0, each_prompt=[True] * 3)
    assert joint.converged
    assert joint.each_prompt == (True, True, True)
    kl = 0.0
    for x, prompt in enumerate(prompts):
        alone = solve_dual(Population([prompt]), bounds, senses, ess_floor=0.0)
        np.testing.assert_allclose(joint.prompt_mu[x], alone.mu, atol=1e-8)
        np.testing.assert_allclose(joint.prompt_rate[x], alone.rate, atol=1e-9)
        np.testing.assert_allclose(joint.prompt_mu_interval[x], alone.mu_interval, atol=1e-6)
        kl += population.weights[x] * alone.budget_kl
    assert joint.budget_kl == pytest.approx(kl, abs=1e-9)
    np.testing.assert_allclose(joint.mu, population.weights @ joint.prompt_mu, atol=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_a_population_budget_costs_no_more_kl_than_one_of_each_prompt(seed: int) -> None:
    rng = np.random.default_rng(seed)
    population = Population([enumerated(*random_law(rng, 30, 2)) for _ in range(4)])
    bounds = [0.15, 0.2]
    pooled = solve_dual(population, bounds, AT_MOST * 2, ess_floor=0.0)
    own = solve_dual(population, bounds, AT_MOST * 2, ess_floor=0.0, each_prompt=[True, True])
    mixed = solve_dual(population, bounds, AT_MOST * 2, ess_floor=0.0, each_prompt=[True, False])
    assert pooled.budget_kl < mixed.budget_kl < own.budget_kl
    assert own.prompt_rate.max(axis=0) == pytest.approx(bounds, abs=1e-8)
    assert (pooled.prompt_rate.max(axis=0) > bounds).all()  # what the cheaper one leaves above its bound
    assert mixed.prompt_rate[:, 0].max() <= 0.15 + 1e-8
    assert mixed.rate[1] == pytest.approx(0.2, abs=1e-8)


def test_the_mean_multiplier_is_the_price_of_the_bound_in_all_prompts() -> None:
    rng = np.random.default_rng(3)
    population = Population([enumerated(*random_law(rng, 40, 2)) for _ in range(3)], [0.2, 0.3, 0.5])
    step = 1e-4
    costs = [
        solve_dual(population, [0.2 + shift, 0.3], AT_MOST * 2, ess_floor=0.0, each_prompt=[True, False]).budget_kl
        for shift in (step, 0.0, -step)
    ]
    solution = solve_dual(population, [0.2, 0.3], AT_MOST * 2, ess_floor=0.0, each_prompt=[True, False])
    assert (costs[0] - costs[2]) / (2 * step) == pytest.approx(-solution.mu[0], rel=1e-4)


def test_budgets_of_each_prompt_cover() -> None:
    """300 repetitions, 4 prompts with own and shared multipliers, nominal 95 %.

    A binomial(300, .95) count leaves [.91, .983] with probability below 0.3 %; 9 numbers are tested, and the seed is
    fixed.
    """
    rng = np.random.default_rng(5)
    laws = [random_law(rng, 12, 2) for _ in range(4)]
    exact = Population([enumerated(*law) for law in laws])
    base = exact.moments([0.0, 0.0])
    bounds, each = [0.6 * base.prompt_mean[:, 0].min(), 0.7 * base.mean[1]], [True, False]
    truth = solve_dual(exact, bounds, AT_MOST * 2, ess_floor=0.0, each_prompt=each)
    within = np.zeros((4, 2))
    mean_within = 0
    for _ in range(300):
        drawn = []
        for log_p0, features in laws:
            picks = rng.choice(12, 400, p=np.exp(log_p0))
            drawn.append(PromptSamples(np.zeros(400), features[picks]))
        found = solve_dual(Population(drawn), bounds, AT_MOST * 2, ess_floor=0.0, each_prompt=each)
        low, high = found.prompt_mu_interval[..., 0], found.prompt_mu_interval[..., 1]
        within += (low <= truth.prompt_mu) & (truth.prompt_mu <= high)
        mean_within += int(found.mu_interval[0, 0] <= truth.mu[0] <= found.mu_interval[0, 1])
    shares = np.append(within.ravel(), mean_within) / 300
    assert ((shares >= 0.91) & (shares <= 0.983)).all(), shares


def test_intervals_of_own_multipliers_are_the_sandwich_of_the_expanded_problem() -> None:
    """Against H⁻¹SH⁻¹ written out with one unknown per shared budget and per prompt and own budget."""
    rng = np.random.default_rng(14)
    prompts = [PromptSamples(rng.normal(0.0, 0.4, 500), (rng.random((500, 3)) < 0.4).astype(float)) for _ in range(4)]
    population = Population(prompts, [0.1, 0.2, 0.3, 0.4])
    each = [True, False, True]
    solution = solve_dual(population, [0.2, 0.25, 0.9], AT_MOST * 3, each_prompt=each)
    assert solution.status == ("binding", "binding", "met")
    hessian, middle = np.zeros((5, 5)), np.zeros((5, 5))
    for x, (share, prompt) in enumerate(zip(population.weights, prompts, strict=True)):
        moments = Population([prompt]).moments(solution.prompt_mu[x])
        place = np.zeros((3, 5))  # which unknowns act on the features: the own one of this prompt, the shared one
        place[0, x], place[1, 4] = 1.0, 1.0
        hessian += share * place.T @ moments.covariance @ place
        middle += share**2 * place.T @ moments.mean_variance @ place
    covariance = np.linalg.inv(hessian) @ middle @ np.linalg.inv(hessian)
    half = 1.959963984540054 * np.sqrt(np.diag(covariance))
    own, shared = solution.prompt_mu_interval[:, 0], solution.mu_interval[1]
    np.testing.assert_allclose(np.diff(own)[:, 0] / 2.0, half[:4], rtol=1e-8)
    assert np.diff(shared)[0] / 2.0 == pytest.approx(half[4], rel=1e-8)
    mean = 1.959963984540054 * np.sqrt(population.weights @ covariance[:4, :4] @ population.weights)
    assert np.diff(solution.mu_interval[0])[0] / 2.0 == pytest.approx(mean, rel=1e-8)
    # A bound just above the rate that the law has anyway: zero, but not for certain.
    rate, error = solution.rate[1], np.diff(solution.rate_interval[1])[0] / 4.0
    free = solve_dual(population, [0.2, 0.9, 0.9], AT_MOST * 3, each_prompt=each)
    near = solve_dual(population, [0.2, free.rate[1] + 0.2 * error, 0.9], AT_MOST * 3, each_prompt=each)
    assert rate < free.rate[1]
    assert near.mu[1] == 0.0
    assert near.mu_interval[1, 0] == 0.0
    assert near.mu_interval[1, 1] > 0.0


def test_a_prompt_in_which_a_rule_never_fires_has_no_upper_end() -> None:
    rng = np.random.default_rng(15)
    fires = PromptSamples(rng.normal(0.0, 0.3, 400), (rng.random((400, 1)) < 0.4).astype(float))
    silent = PromptSamples(rng.normal(0.0, 0.3, 400), np.zeros((400, 1)))
    solution = solve_dual(Population([fires, silent]), [0.1], AT_MOST, each_prompt=[True])
    assert solution.never_fired == (False,)
    assert np.isfinite(solution.prompt_mu_interval[0]).all()
    assert solution.prompt_mu_interval[1, 0].tolist() == [0.0, np.inf]
    assert solution.mu_interval[0, 1] == np.inf
    assert solution.mu_interval[0, 0] > 0.0


def test_an_impossible_prompt_is_named() -> None:
    rng = np.random.default_rng(6)
    free = enumerated(*random_law(rng, 20, 2))
    stuck = PromptSamples(free.log_weight, np.column_stack([np.ones(20), free.features[:, 1]]))
    population = Population([free, stuck, free])
    solution = solve_dual(population, [0.5, 0.3], AT_MOST * 2, ess_floor=0.0, each_prompt=[True, False])
    assert solution.status == ("infeasible on the sampled support", "undetermined")
    assert solution.certificate is not None
    assert solution.certificate.prompts == (1,)
    assert "disclaimers at prompt(s) 1" in solution.certificate.describe(["disclaimers", "length"])
    assert solve_dual(population, [0.5, 0.3], AT_MOST * 2, ess_floor=0.0).converged  # on average it can hold
    zero = solve_dual(population, [0.0, 0.3], AT_MOST * 2, box=[np.inf, 3.0], ess_floor=0.0, each_prompt=[False, True])
    assert zero.status[0] == "infeasible on the sampled support"
    face = solve_dual(Population([free, free]), [0.3, 0.0], AT_MOST * 2, ess_floor=0.0, each_prompt=[True, True])
    assert face.status == ("undetermined", "hard rule")


# -------------------------------------------------------------------------------------------------------- conditional
ELASTIC = """policy tiny version "1"
levels platform > operator > user
rule top at platform { limit response contains "a" to at most 30% of responses }
rule middle at operator { limit response contains "b" to at most 30% of responses }
rule bottom at user { limit response contains "a" to at least 80% of responses }
"""


def among(bound: float) -> BudgetProblem:
    """A limit among the responses with a property."""
    text = 'limit response contains "b" to at most 20% of responses where response contains "d"'
    program = program_of(f'policy tiny version "1"\nlevels root > user\nrule r at user {{ {text} }}\n')
    return BudgetProblem((replace(program.terms[0], bound=bound),), (0,), (1.0,), (np.inf,))


@pytest.mark.parametrize("seed", range(5))
def test_conditional_budget_on_an_enumerated_law(seed: int) -> None:
    rng = np.random.default_rng(seed)
    log_p0 = np.log(rng.dirichlet(np.ones(50)))
    holds, values = rng.random(50) < 0.4, rng.random(50)
    measured = np.where(holds, values, 0.0)[:, None]
    problem = among(0.3)
    feature = problem.features(measured, holds[:, None])[:, 0]
    assert (problem.bounds, problem.senses) == ([0.0], AT_MOST)
    solution = solve(Population([enumerated(log_p0, feature[:, None])]), problem, 0.0, corrected=False)
    law = ExactLaw(log_p0, np.ones(50, dtype=bool), np.zeros(50), feature[:, None], solution.mu)
    probability = np.exp(log_p0 - np.where(holds, values - 0.3, 0.0) * solution.mu[0])
    rate = (probability * holds) @ values / (probability @ holds)
    assert rate == pytest.approx(0.3, abs=1e-9)
    assert law.expectation()[0] == pytest.approx(0.0, abs=1e-9)
    loose = among(0.95)
    population = Population([enumerated(log_p0, loose.features(measured, holds[:, None]))])
    assert solve(population, loose, 0.0, corrected=False).mu[0] == 0.0


def test_conditional_rate_covers() -> None:
    """500 repetitions, nominal 95 %: a binomial(500, .95) count leaves [.92, .975] with probability below 0.6 %."""
    rng = np.random.default_rng(7)
    weight_law = np.log(rng.dirichlet(np.full(20, 2.0)))
    holds, values = rng.random(20) < 0.5, rng.random(20)
    probability = np.exp(weight_law)
    truth = probability[holds] @ values[holds] / probability[holds].sum()
    proposal = np.exp(0.5 * weight_law)
    proposal /= proposal.sum()
    covered = 0
    for _ in range(500):
        picks = rng.choice(20, 300, p=proposal)
        amount, count = (values * holds)[picks, None], holds[picks, None].astype(float)
        found = ratios([(weight_law - np.log(proposal))[picks]], [amount], [count])
        covered += abs(found.value[0] - truth) <= 1.959963984540054 * found.error[0]
    assert 0.92 <= covered / 500 <= 0.975, covered


# ------------------------------------------------------------------------------------------------------------ elastic
@pytest.mark.parametrize("seed", range(10))
def test_lower_level_pays_in_a_conflict(seed: int) -> None:
    rng = np.random.default_rng(seed)
    log_p0, features = np.log(rng.dirichlet(np.full(40, 20.0))), (rng.random((40, 2)) < (0.5, 0.3)).astype(float)
    prices = {"user": 1.5, "operator": 4.0, "platform": 12.0}
    population = Population([enumerated(log_p0, np.column_stack([features, features[:, :1]]))])
    program = program_of(ELASTIC)
    plans = [PromptPlan(Trace((Message("user", "Ask."),)), (), program.terms)]
    problem, idle = budget_problem(program, plans, prices)
    assert (problem.price, problem.senses, idle) == ((12.0, 4.0, 1.5), ["at most", "at most", "at least"], ())
    solution = solve(population, problem, 0.0, corrected=False)
    assert solution.converged
    assert solution.status[2] == "saturated"
    assert solution.mu[2] == -1.5
    assert solution.status[0] == "binding"
    assert solution.rate[0] == pytest.approx(0.3, abs=1e-8)  # the higher level holds to the digit
    assert solution.slack[2] == pytest.approx(0.3 - 0.8, abs=1e-8)  # the lower one absorbs the whole conflict
    turned, _ = budget_problem(program, plans, {"user": 12.0, "operator": 4.0, "platform": 1.5})
    again = solve(population, turned, 0.0, corrected=False)
    assert again.mu[0] == 1.5
    assert again.status[0] == "saturated"
    assert again.rate[2] == pytest.approx(0.8, abs=1e-8)


@pytest.mark.parametrize("seed", range(20))
def test_elastic_budgets_are_always_feasible(seed: int) -> None:
    rng = np.random.default_rng(seed)
    budgets = int(rng.integers(1, 6))
    population = Population([enumerated(*random_law(rng, 25, budgets)) for _ in range(3)])
    senses = [("at most", "at least", "exactly")[int(k)] for k in rng.integers(0, 3, budgets)]
    box = 5.0 / rng.uniform(0.5, 2.0, budgets)
    each = rng.random(budgets) < 0.5
    solution = solve_dual(population, rng.normal(0.5, 1.0, budgets), senses, box=box, ess_floor=0.0, each_prompt=each)
    assert solution.converged
    assert set(solution.status) <= {"met", "binding", "saturated"}


# ---------------------------------------------------------------------------------------------------------- refusals
def test_bad_bounds_are_refused_by_name() -> None:
    rng = np.random.default_rng(8)
    flags = (rng.random((300, 2)) < 0.4).astype(float)
    population = Population([PromptSamples(np.zeros(300), flags)])
    for wrong in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="bounds"):
            solve_dual(population, [0.1, wrong], AT_MOST * 2)
    for wrong in (1.5, 5.0, -0.01):
        with pytest.raises(ValueError, match=r"budget 1 bounds a rate by .*between 0 and 1"):
            solve_dual(population, [0.1, wrong], AT_MOST * 2, is_rate=[False, True])
    counts = Population([PromptSamples(np.zeros(300), 7.0 * flags)])
    with pytest.raises(ValueError, match=r"budget 0 is marked as a rate, but its feature runs from 0 to 7"):
        solve_dual(counts, [0.1, 0.2], AT_MOST * 2, is_rate=[True, True])
    with pytest.raises(ValueError, match="is_rate"):
        solve_dual(population, [0.1, 0.2], AT_MOST * 2, is_rate=[True])
    with pytest.raises(ValueError, match="each_prompt"):
        solve_dual(population, [0.1, 0.2], AT_MOST * 2, each_prompt=[True])
    with pytest.raises(ValueError, match="method"):
        solve_dual(population, [0.1, 0.2], AT_MOST * 2, method="adam")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="weight 0"):
        solve_dual(
            Population([population.prompts[0]] * 2, [1.0, 0.0]), [0.1, 0.2], AT_MOST * 2, each_prompt=[True, False]
        )
    solution = solve_dual(population, [-0.1, 0.9], AT_MOST * 2)
    assert solution.status == ("infeasible on the sampled support", "undetermined")


def test_contradictory_bounds_name_both() -> None:
    rng = np.random.default_rng(9)
    flag = (rng.random(400) < 0.3).astype(float)
    population = Population([PromptSamples(np.zeros(400), np.column_stack([flag, flag, rng.random(400)]))])
    solution = solve_dual(population, [0.01, 0.02, 0.5], ["at most", "at least", "at most"])
    refused = "infeasible on the sampled support"
    assert solution.status == (refused, refused, "undetermined")
    assert solution.certificate is not None
    assert solution.certificate.value == pytest.approx(0.005)
    told = solution.certificate.describe(["at most 1 %", "at least 2 %", "other"])
    assert "at most 1 % + at least 2 %" in told


def test_what_never_fires_says_so() -> None:
    rng = np.random.default_rng(10)
    noise = rng.random(600)
    population = Population([PromptSamples(np.zeros(600), np.column_stack([np.zeros(600), noise]))])
    solution = solve_dual(population, [0.001, 0.45], AT_MOST * 2)
    assert solution.never_fired == (True, False)
    assert solution.never_fired_ceiling[0] == pytest.approx(3.0 / 600.0)
    assert np.isnan(solution.never_fired_ceiling[1])
    assert solution.mu[0] == 0.0
    # Were the rate at its ceiling, the budget of 0.1 % would need this multiplier.
    most, bound = 3.0 / 600.0, 0.001
    assert solution.mu_interval[0].tolist() == pytest.approx([0.0, np.log(most * (1 - bound) / (bound * (1 - most)))])
    assert solve_dual(population, [0.01, 0.45], AT_MOST * 2).mu_interval[0].tolist() == [0.0, 0.0]
    assert solve_dual(population, [0.0, 0.45], AT_MOST * 2).mu_interval[0].tolist() == [0.0, np.inf]
    weighted = Population([PromptSamples(rng.normal(size=600), population.prompts[0].features)])
    assert solve_dual(weighted, [0.01, 0.45], AT_MOST * 2).mu_interval[0, 1] == np.inf
    wanted = solve_dual(population, [0.1, 0.45], ["at least", "at most"])
    assert wanted.status[0] == "infeasible on the sampled support"
    assert wanted.never_fired == (True, False)


def test_collapse_of_one_prompt_is_named_for_its_own_budget() -> None:
    rng = np.random.default_rng(11)
    good = PromptSamples(np.zeros(500), (rng.random((500, 1)) < 0.4).astype(float))
    collapsed = PromptSamples(np.append(12.0, np.zeros(499)), good.features)
    population = Population([good, collapsed, good])
    with pytest.raises(LowEffectiveSampleSize, match="of prompt 1") as caught:
        solve_dual(population, [0.5], AT_MOST, ess_floor=5.0, each_prompt=[True])
    assert caught.value.prompt == 1
