"""Calibration on a pool of draws: rounds that move the proposal towards the law until the pool can carry a solution.

Round 0 is the base model. Each round draws from the rules with the multipliers found so far. Where the pool is worth
too few independent samples under these (a steep law rests on few draws, and its multipliers are then mostly noise), the
proposal goes to t times the multipliers, with the largest t at which the pool is worth enough: a ladder of tempered
laws (Neal 2001), of which each rung is reached from the ones below. All rounds are solved together, so nothing drawn is
lost. Pooling reuses draws that earlier multipliers came from; that dependence is of the order of one over their number,
as in adaptive multiple importance sampling (Cornuet et al. 2012).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bylaw.compiler.law.dual import DualSolution
from bylaw.compiler.law.numerics import EmptySupport, LowEffectiveSampleSize
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.calibration.draws import Proposal, Sampler
from bylaw.runtime.calibration.pool import Pool, free_log_weight
from bylaw.runtime.calibration.problem import (
    ESS_FLOOR,
    BudgetInfeasible,
    BudgetProblem,
    Multipliers,
    TooFewSamples,
    budget_problem,
    first_guess,
    multipliers_of,
    solve,
    tilted,
)
from bylaw.runtime.prices.scored import Origin, ScoredSuite

RUNGS = 64
"""Steps of t between 0 and 1 that are looked at."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """`samples` of the base model and `draws` from the law in the first round, per prompt; the latter double where a
    round was aimed well and still says too little. `rounds` at most. Below `floor` effective samples nothing is stated.
    `elastic` are prices of slack (nats per unit of the rate) by authority level.
    """

    samples: int = 32
    draws: int = 64
    rounds: int = 4
    floor: float = ESS_FLOOR
    elastic: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A solved calibration. `solution` is None for a policy without budgets."""

    problem: BudgetProblem
    idle: tuple[str, ...]
    pool: Pool
    suite: ScoredSuite
    solution: DualSolution | None
    multipliers: Multipliers

    @property
    def sizes(self) -> list[list[int]]:
        """[X] how many draws of each prompt every law has, in the order of the suite."""
        return [[len(law[index]) for law in self.pool.draws] for index in range(len(self.suite.prompts))]


def fit(sampler: Sampler, origin: Origin, settings: FitSettings) -> Fitted:
    """Draws, pools and solves.

    Raises BudgetInfeasible, TooFewSamples, and what drawing raises (StoreError, Infeasible, DecodeError, TwistError,
    EnforcementError).
    """
    problem, idle = budget_problem(sampler.program, sampler.plans, settings.elastic)
    pool = Pool(sampler, settings.samples)
    guess, scale = _aim(sampler.program, pool, problem, origin, settings.floor)
    draws = settings.draws
    for number in range(1, settings.rounds + 1):
        aimed = guess.scaled(scale)
        pool.add(Proposal(tuple(sorted(aimed.common.items())), aimed.own, draws, number, scale))
        suite = pool.suite(origin)
        try:
            population = suite_population(sampler.program, suite, problem)
            if not problem.terms:
                return Fitted(problem, idle, pool, suite, None, Multipliers({}))
            solution = solve(population, problem, settings.floor)
            return Fitted(problem, idle, pool, suite, solution, multipliers_of(problem, solution))
        except (LowEffectiveSampleSize, EmptySupport, TooFewSamples) as error:
            if number == settings.rounds:
                raise _refusal(error, sampler, problem, pool) from None
            draws = draws if scale < 1.0 else 2 * draws
            guess, scale = _aim(sampler.program, pool, problem, origin, settings.floor)
        except BudgetInfeasible as error:
            # What is rare need not be impossible: look for it with a tilted and larger sample before giving up.
            if number == settings.rounds:
                raise
            draws = 2 * draws
            guess, scale = tilted(problem, aimed, error.terms), 1.0
    raise AssertionError("the last round either solves or raises")


def suite_population(program: RewardProgram, suite: ScoredSuite, problem: BudgetProblem) -> Population:
    """The suite with weights for the law without budgets and the features of `problem`. Raises EmptySupport."""
    return Population(
        [
            PromptSamples(free_log_weight(program, prompt), problem.features(prompt.values, prompt.counts))
            for prompt in suite.prompts
        ]
    )


def _aim(
    program: RewardProgram, pool: Pool, problem: BudgetProblem, origin: Origin, floor: float
) -> tuple[Multipliers, float]:
    """(multipliers that the pool asks for, the largest t at which t times them is carried by the pool)."""
    if not problem.terms:
        return Multipliers({}), 1.0
    try:
        population = suite_population(program, pool.suite(origin), problem)
    except EmptySupport:  # the hard rules left no draw of some prompt: the next round obeys them
        return Multipliers({}), 0.0
    guess = first_guess(population, problem)
    table = guess.table(problem, len(population.prompts))

    def worth(scale: float) -> float:
        moments = population.moments(table * scale)
        # a multiplier of one prompt rests on the samples of that prompt alone
        return float(moments.prompt_ess.min()) if any(problem.each_prompt) else moments.freedom

    enough = min(floor, 0.5 * worth(0.0))
    scales = (rung / RUNGS for rung in range(RUNGS, 0, -1))
    return guess, next((scale for scale in scales if worth(scale) >= enough), 0.0)


def _refusal(error: Exception, sampler: Sampler, problem: BudgetProblem, pool: Pool) -> TooFewSamples:
    if isinstance(error, TooFewSamples):
        return error
    if isinstance(error, EmptySupport):
        plans = [sampler.plans[index] for index in error.prompts] or list(sampler.plans)
        hard = tuple(term.id for term in plans[0].terms if term.kind == "hard")
        drawn = sum(len(law[error.prompts[0]]) for law in pool.draws) if error.prompts else 0
        return TooFewSamples(f"prompt {plans[0].trace.id}: none of {drawn} draws obeys the hard rules", hard)
    assert isinstance(error, LowEffectiveSampleSize)
    drawn = sum(len(own) for law in pool.draws for own in law)
    scales = ", ".join(f"{proposal.scale:.2g}" for proposal in pool.proposals)
    of = "for the hardest prompt, " if any(problem.each_prompt) else ""
    each = " of every prompt, since a limit is `for each prompt` (--ess-floor of `bylaw calibrate`)" if of else ""
    return TooFewSamples(
        f"{drawn} draws in {len(pool.proposals)} rounds (multipliers times {scales}) are worth {error.ess:.0f} "
        f"independent ones under the law {of}and at least {error.floor:.0f} are needed{each}: nothing is stated; ask "
        "for more draws (--draws and --rounds of `bylaw calibrate`, --calibration-particles of `bylaw run`), or loosen "
        "the limits",
        tuple(term.id for term in problem.terms),
    )
