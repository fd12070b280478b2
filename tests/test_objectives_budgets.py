"""Multipliers that climb the dual while the policy follows: both end where the solved dual is."""

import math
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="objectives need the extra `models`")

from enumerated import REAL, World, total_variation  # noqa: E402

from bylaw.compiler.law.dual import solve_dual  # noqa: E402
from bylaw.compiler.law.samples import Population, PromptSamples  # noqa: E402
from bylaw.runtime.objectives import catalog  # noqa: E402
from bylaw.runtime.objectives.dual_ascent import (  # noqa: E402
    Ascent,
    Budget,
    Multipliers,
    from_calibration,
    from_zero,
    started,
)
from bylaw.runtime.objectives.errors import ObjectiveError  # noqa: E402
from tinymodels import TabularModel  # noqa: E402

Tensor = torch.Tensor
WORLD = World(TabularModel(b"abcd", max_tokens=3, seed=1), lambda text: 0.6 * (b"a" in text))
FEATURES = torch.tensor(
    [[float(1 in each), float(len(each)), float(3 in each)] for each in WORLD.responses], dtype=REAL
)
RATES = (WORLD.log_base.exp()[:, None] * FEATURES).sum(dim=0)
BUDGETS = (
    Budget("few_b", "at most", 0.5 * float(RATES[0])),
    Budget("long", "at least", float(RATES[1]) + 0.4),
    Budget("some_d", "exactly", float(RATES[2]) + 0.1),
)


def solved(budgets: tuple[Budget, ...]) -> list[float]:
    """The multipliers of the dual, by the compiler's own solver on the enumerated world."""
    samples = PromptSamples(
        log_weight=(WORLD.log_base + WORLD.reward).numpy() + math.log(len(WORLD.responses)),
        features=FEATURES.numpy(),
    )
    box = [math.inf if budget.price is None else budget.price for budget in budgets]
    found = solve_dual(
        Population([samples]), [b.bound for b in budgets], [b.sense for b in budgets], box=box, ess_floor=1.0
    )
    return [float(each) for each in found.mu]


def law(values: tuple[float, ...]) -> Tensor:
    """[Y] log p* with these multipliers."""
    tilted = WORLD.log_base + WORLD.reward - FEATURES @ torch.tensor(values, dtype=REAL)
    return tilted - tilted.logsumexp(0)


def moments(log_law: Tensor) -> tuple[list[float], list[float]]:
    mean = (log_law.exp()[:, None] * FEATURES).sum(dim=0)
    return mean.tolist(), ((log_law.exp()[:, None] * (FEATURES - mean) ** 2).sum(dim=0)).tolist()


@pytest.mark.parametrize("newton", [False, True])
@pytest.mark.parametrize("price", [None, 0.3])
def test_ascent_on_the_exact_law_ends_where_the_dual_is_solved(newton: bool, price: float | None) -> None:
    budgets = (Budget("few_b", "at most", BUDGETS[0].bound, price), *BUDGETS[1:])
    state = from_zero(budgets)
    for _ in range(100 if newton else 700):
        rates, variances = moments(law(state.values))
        state = state.updated(rates, Ascent(step=0.5, decay=0.0), variances if newton else None)
    wanted = solved(budgets)
    assert state.values == pytest.approx(wanted, abs=1e-5)
    assert state.values[0] > 0 > state.values[1]
    rates, _ = moments(law(state.values))
    assert state.excess(rates)[1:] == pytest.approx((0, 0), abs=1e-5)
    if price is not None:  # the price is reached, and the bound gives way
        assert state.values[0] == price
        assert state.excess(rates)[0] > 0.01


def test_policy_and_multipliers_together_reach_the_law_with_its_budgets() -> None:
    """One step of the policy, one of the multipliers: both end at p* of the solved dual."""
    objective = catalog.build("fdpg", {"divergence": "reverse_kl", "baseline": "none"})
    logits = WORLD.base_logits.clone().requires_grad_()
    optimiser = torch.optim.Adam([logits], lr=0.1, betas=(0.8, 0.99))
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, 300)
    state = from_zero(BUDGETS)
    for _ in range(300):
        log_probs = WORLD.token_log_probs(logits)
        log_law = WORLD.log_law(logits).detach()
        rates, variances = moments(log_law)
        state = state.updated(rates, Ascent(step=0.1, decay=0.0), variances)
        reward = state.reward(WORLD.reward, FEATURES)
        batch = WORLD.batch(logits, weight=log_law.exp(), reward=reward, behaviour=log_probs.detach())
        optimiser.zero_grad()
        objective.loss(objective.prepare(batch)).value().backward()
        optimiser.step()
        schedule.step()
    wanted = tuple(solved(BUDGETS))
    assert state.values == pytest.approx(wanted, abs=1e-3)
    assert total_variation(WORLD.log_law(logits.detach()), law(wanted)) < 1e-3
    assert max(state.excess(moments(WORLD.log_law(logits.detach()))[0])) < 1e-3


def test_averages_settle_where_noisy_iterates_do_not() -> None:
    """Rates from 40 samples a step, 3,000 steps: the average ends within .15 nats, the iterates go on (one seed)."""
    budgets, generator = BUDGETS[:1], np.random.default_rng(4)
    (wanted,) = solved_first()
    state, late = from_zero(budgets), []
    for step in range(3000):
        share = float(law((state.values[0], 0.0, 0.0)).exp() @ FEATURES[:, 0])
        rate = generator.binomial(40, share) / 40
        state = state.updated([rate], Ascent(step=1.0, decay=0.25, average_from=200))
        late += [state.values[0]] if step > 2000 else []
    assert abs(state.averages[0] - wanted) < 0.15
    assert float(np.std(late)) > 0.02


def solved_first() -> list[float]:
    """The multiplier of the first budget alone, by bisection on its rate."""
    low, high = 0.0, 20.0
    for _ in range(100):
        middle = (low + high) / 2
        rate = float(law((middle, 0.0, 0.0)).exp() @ FEATURES[:, 0])
        low, high = (middle, high) if rate > BUDGETS[0].bound else (low, middle)
    return [low]


# --------------------------------------------------------------------------------------------------------- the state
def test_signs_and_prices_hold_the_multipliers() -> None:
    assert Budget("x", "at most", 0.1).projected(-2) == 0
    assert Budget("x", "at least", 0.1).projected(2) == 0
    assert Budget("x", "exactly", 0.1, 1.5).projected(-2) == -1.5
    assert Budget("x", "at least", 0.1, 1.5).projected(-7) == -1.5
    state = from_zero((Budget("x", "at most", 0.1),))
    assert state.updated([1.0], Ascent(step=50.0)).values == (1.0,)  # no multiplier moves by more than `largest`
    assert state.updated([None], Ascent()) == state
    for bad in (math.nan, math.inf):
        with pytest.raises(ObjectiveError, match="the rate of the limit `x`"):
            state.updated([bad], Ascent())
    with pytest.raises(ObjectiveError, match="1 limits and 2 rates"):
        state.updated([0.1, 0.2], Ascent())
    with pytest.raises(ObjectiveError, match="cannot have the multiplier -1"):
        started(state.budgets, [-1.0])
    with pytest.raises(ObjectiveError, match="above 0"):
        Ascent(step=0)


def test_rewards_pay_for_features() -> None:
    state = started((Budget("x", "at most", 0.1), Budget("y", "at least", 0.5)), [2.0, -1.0])
    features = torch.tensor([[1.0, 0.0], [0.0, 3.0], [math.nan, 1.0]], dtype=REAL)
    assert state.reward(torch.ones(3, dtype=REAL), features).tolist() == [-1.0, 4.0, 2.0]


def test_ascent_starts_from_a_calibration() -> None:
    def budget(term: str, sense: str, multiplier: float | None, each_prompt: bool = False) -> Any:
        return SimpleNamespace(
            term=term, sense=sense, bound=0.2, price=None, multiplier=multiplier, each_prompt=each_prompt
        )

    shared = (budget("a", "at most", 1.5), budget("b", "at least", -0.5))
    record = SimpleNamespace(budgets=(*shared, budget("c", "at most", None, True)))
    state = from_calibration(cast("Any", record))
    assert (state.values, [each.term for each in state.budgets]) == ((1.5, -0.5), ["a", "b"])
    assert isinstance(state, Multipliers)
