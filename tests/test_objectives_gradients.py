"""Gradients of the objectives against autograd of the exact quantities that they stand for, to 1e-9, by enumeration."""

import math
from dataclasses import replace

import pytest

torch = pytest.importorskip("torch", reason="objectives need the extra `models`")

from enumerated import REAL, World, divergence, gradient_of  # noqa: E402

from bylaw.runtime.objectives import catalog  # noqa: E402
from bylaw.runtime.objectives.dpo import slope as preference_slope  # noqa: E402
from bylaw.runtime.objectives.fdpg import slope  # noqa: E402
from bylaw.runtime.objectives.interface import Batch  # noqa: E402
from bylaw.runtime.objectives.policy_gradient import surrogate  # noqa: E402
from bylaw.runtime.objectives.ppo import generalised_advantages  # noqa: E402
from tinymodels import TabularModel  # noqa: E402

EXACT = 1e-9
Tensor = torch.Tensor
DIVERGENCES = ("forward_kl", "reverse_kl", "js", "tv", "chi2", "reverse_chi2")


def soft(text: bytes) -> float:
    return 1.1 * (b"a" in text) - 0.7 * text.count(b"b") + 0.4 * (len(text) > 1)


def hard(text: bytes) -> float:
    return -math.inf if b"c" in text else soft(text)


SOFT = World(TabularModel(b"abcd", max_tokens=3, seed=1), soft)
HARD = World(TabularModel(b"abcd", max_tokens=3, seed=1), hard)


def at(world: World) -> Tensor:
    return world.start(seed=11).requires_grad_()


def close(found: Tensor, wanted: Tensor) -> bool:
    assert float(wanted.abs().max()) > 1e-3, "a gradient of nothing proves nothing"
    return float((found - wanted).abs().max()) < EXACT * max(1.0, float(wanted.abs().max()))


def uniform(world: World) -> Tensor:
    return torch.full_like(world.log_base, -math.log(len(world.responses)))


# ---------------------------------------------------------------------------------------------------- divergences
@pytest.mark.parametrize("rows", ["policy", "others"])
@pytest.mark.parametrize("baseline", [0.0, 0.37])
@pytest.mark.parametrize("name", DIVERGENCES)
def test_gradients_towards_the_law_are_those_of_the_divergence(name: str, baseline: float, rows: str) -> None:
    logits = at(SOFT)
    objective = catalog.build("fdpg", {"divergence": name, "baseline": "none"})
    log_law = SOFT.log_law(logits)
    if rows == "policy":
        old = SOFT.token_log_probs(logits).detach()
        batch = SOFT.batch(logits, weight=log_law.detach().exp(), reward=SOFT.reward, behaviour=old)
    else:
        weight = SOFT.log_base + SOFT.reward - uniform(SOFT)
        batch = SOFT.batch(logits, reward=SOFT.reward, log_weight=weight)  # each response once, drawn uniformly
    made = objective.prepare(batch)
    assert torch.allclose(made.log_z, torch.tensor(SOFT.log_z, dtype=REAL), atol=1e-12)
    made = replace(made, baseline=torch.full_like(SOFT.reward, baseline))  # any constant is right where rows cover π
    found = objective.loss(made)
    exact = divergence(name, log_law, SOFT.target())
    assert close(gradient_of(found.value(), logits), gradient_of(exact, logits))
    # the reported estimates of both Kullback-Leibler divergences are the exact ones
    for each in ("forward_kl", "reverse_kl"):
        ratio = found.metrics[each]
        assert float(ratio.total / ratio.count) == pytest.approx(
            float(divergence(each, log_law, SOFT.target())), abs=1e-9
        )


@pytest.mark.parametrize("name", ["forward_kl", "js", "tv", "chi2"])
@pytest.mark.parametrize("rows", ["policy", "law"])
def test_gradients_see_the_mass_on_what_hard_rules_forbid(name: str, rows: str) -> None:
    """Also where no row shows it: rows of the regulated decoder, with the limit of f′ as the baseline."""
    logits = at(HARD)
    objective = catalog.build("fdpg", {"divergence": name, "baseline": "none" if rows == "policy" else "auto"})
    log_law = HARD.log_law(logits)
    if rows == "policy":
        old = HARD.token_log_probs(logits).detach()
        batch = HARD.batch(logits, weight=log_law.detach().exp(), reward=HARD.reward, behaviour=old)
    else:
        kept = torch.nonzero(torch.isfinite(HARD.reward))[:, 0]
        batch = HARD.batch(logits, weight=HARD.target().exp(), reward=HARD.reward).take(kept)
        batch = replace(batch, log_weight=torch.full_like(batch.reward, HARD.log_z))
    found = objective.loss(objective.prepare(batch)).value()
    exact = divergence(name, log_law, HARD.target())
    assert close(gradient_of(found, logits), gradient_of(exact, logits))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_slopes_are_derivatives_of_their_divergences(name: str) -> None:
    gap = torch.linspace(-3, 3, 25, dtype=REAL)
    made = {
        "forward_kl": lambda u: -u.log(),
        "reverse_kl": lambda u: u * u.log(),
        "js": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
        "tv": lambda u: (u - 1).abs() / 2,
        "chi2": lambda u: (u - 1) ** 2 / u,
        "reverse_chi2": lambda u: (u - 1) ** 2,
    }[name]
    ratio = gap.exp().requires_grad_()
    kept = gap != 0
    assert torch.allclose(slope(gap, name)[kept], gradient_of(made(ratio).sum(), ratio)[kept], atol=1e-10)


@pytest.mark.parametrize("name", ["reverse_kl", "forward_kl", "js", "alpha"])
def test_slopes_of_preferences_are_those_of_the_divergence_up_to_a_constant(name: str) -> None:
    gap = torch.linspace(-3, 3, 25, dtype=REAL)
    ratio = gap.exp().requires_grad_()
    made = {
        "reverse_kl": lambda u: u * u.log(),
        "forward_kl": lambda u: -u.log(),
        "js": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
        # α-divergence: (u^α − αu − (1 − α)) / (α(α − 1))
        "alpha": lambda u: (u**0.3 - 0.3 * u - 0.7) / (0.3 * (0.3 - 1)),
    }[name]
    shift = preference_slope(gap, name, 0.3) - gradient_of(made(ratio).sum(), ratio)
    assert float((shift - shift[0]).abs().max()) < 1e-10
    assert torch.equal(preference_slope(gap, "alpha", 1.0), gap)


# ------------------------------------------------------------------------------------------------ policy gradients
def objective_value(world: World, log_law: Tensor, beta: float) -> Tensor:
    """E_π R − β KL(π‖p0), nats."""
    return (log_law.exp() * (world.reward - beta * (log_law - world.log_base))).sum()


@pytest.mark.parametrize("beta", [1.0, 0.3])
def test_reinforce_climbs_reward_less_divergence(beta: float) -> None:
    logits = at(SOFT)
    log_law = SOFT.log_law(logits)
    old = SOFT.token_log_probs(logits).detach()
    objective = catalog.build("reinforce", {"beta": beta})
    batch = SOFT.batch(logits, weight=log_law.detach().exp(), reward=SOFT.reward, behaviour=old)
    found = objective.loss(objective.prepare(batch)).value()
    value = objective_value(SOFT, log_law, beta)
    assert close(gradient_of(found, logits), -gradient_of(value, logits))
    if beta == 1.0:  # log Z − J(π) = KL(π‖p*)
        gap = SOFT.log_z - float(value)
        assert gap == pytest.approx(float(divergence("reverse_kl", log_law, SOFT.target())), abs=1e-9)


def test_leaving_one_out_is_unbiased() -> None:
    """The mean over every pair of samples of a prompt is the exact gradient."""
    logits = at(SOFT)
    log_law = SOFT.log_law(logits)
    size = len(SOFT.responses)
    rows = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    weight = (log_law[rows[:, 0]] + log_law[rows[:, 1]]).detach().exp().repeat_interleave(2)
    old = SOFT.token_log_probs(logits).detach()
    whole = SOFT.batch(logits, reward=SOFT.reward, behaviour=old).take(rows.ravel())
    batch = replace(whole, weight=weight, prompt=torch.arange(size * size).repeat_interleave(2))
    objective = catalog.build("rloo")
    found = objective.loss(objective.prepare(batch)).value()
    assert close(gradient_of(found, logits), -gradient_of(objective_value(SOFT, log_law, 1.0), logits))


def test_leave_one_out_divergence_gradients_are_unbiased() -> None:
    """The same for f-DPG with a given log Z; a mean that held the row itself would shrink the gradient by half."""
    logits = at(SOFT)
    log_law = SOFT.log_law(logits)
    size = len(SOFT.responses)
    rows = torch.cartesian_prod(torch.arange(size), torch.arange(size))
    old = SOFT.token_log_probs(logits).detach()
    given = {"reward": SOFT.reward, "behaviour": old, "log_z": torch.full_like(SOFT.reward, SOFT.log_z)}
    whole = SOFT.batch(logits, **given).take(rows.ravel())
    batch = replace(whole, prompt=torch.arange(size * size).repeat_interleave(2))
    objective = catalog.build("fdpg", {"divergence": "js"})
    made = objective.prepare(batch)
    weight = (log_law[rows[:, 0]] + log_law[rows[:, 1]]).detach().exp().repeat_interleave(2)
    found = objective.loss(replace(made, weight=weight)).value()
    assert close(gradient_of(found, logits), gradient_of(divergence("js", log_law, SOFT.target()), logits))


@pytest.mark.parametrize("trace", [0.0, 0.5, 1.0])
def test_advantages_by_token_give_the_gradient_of_the_whole(trace: float) -> None:
    """With an exact critic for every λ; with any other for λ = 1 only."""
    logits = at(SOFT)
    log_law = SOFT.log_law(logits)
    old = SOFT.token_log_probs(logits).detach()
    exact = -gradient_of(objective_value(SOFT, log_law, 1.0), logits)
    critic = policy_values(SOFT, logits.detach())
    found = {}
    for name, values in (("exact", critic), ("wrong", 0.3 - 0.5 * critic)):
        objective = catalog.build("ppo", {"trace": trace, "whiten": False, "value_weight": 0.0})
        given = {"reward": SOFT.reward, "behaviour": old, "old_values": values, "values": values}
        batch = SOFT.batch(logits, weight=log_law.detach().exp(), **given)
        loss = objective.loss(objective.prepare(batch))
        found[name] = gradient_of(loss.parts["policy"][1].total, logits)
    assert close(found["exact"], exact)
    assert close(found["wrong"], exact) == (trace == 1.0)


def policy_values(world: World, logits: Tensor) -> Tensor:
    """[Y, T] E_π[rest of (R − log π/p0) | beginning], nats: what the critic of PPO must say before each token."""
    log_law = world.log_law(logits)
    tokens = torch.where(world.mask, world.token_log_probs(logits) - world.reference, 0.0)
    values = torch.zeros(world.mask.shape, dtype=REAL)
    for row, response in enumerate(world.responses):
        for place in range(int(world.mask[row].sum())):
            inside = torch.tensor([each[:place] == response[:place] for each in world.responses])
            law = log_law[inside].exp() / log_law[inside].exp().sum()
            values[row, place] = (law * (world.reward[inside] - tokens[inside][:, place:].sum(dim=1))).sum()
    return values


def test_the_sampled_divergence_of_group_relative_policies_is_the_other_one() -> None:
    """Sampled k3 has the gradient of KL(p0‖π) at each place; weighted by the ratio, that of KL(π‖p0)."""
    world = World(TabularModel(b"abcd", max_tokens=1, seed=3), soft)
    logits = at(world)
    log_law = world.log_law(logits)
    old = world.token_log_probs(logits).detach()
    for form, exact in (
        ("k3", divergence("reverse_kl", world.log_base, log_law)),
        ("k3_weighted", divergence("reverse_kl", log_law, world.log_base)),
    ):
        objective = catalog.build("grpo", {"beta": 1.0, "kl": form})
        given = {"weight": log_law.detach().exp(), "behaviour": old, "advantage": torch.zeros_like(world.reward)}
        found = objective.loss(world.batch(logits, **given)).value()
        assert close(gradient_of(found, logits), gradient_of(exact, logits))


# -------------------------------------------------------------------------------------------------------- the rest
def test_distilling_has_the_gradient_of_the_forward_divergence() -> None:
    for world in (SOFT, HARD):
        logits = at(world)
        objective = catalog.build("distill")
        batch = world.batch(logits, log_weight=world.log_base + world.reward)
        found = objective.loss(objective.prepare(batch)).value()
        exact = divergence("forward_kl", world.log_law(logits), world.target())
        assert close(gradient_of(found, logits), gradient_of(exact, logits))


def test_the_gradient_of_a_preference_is_the_known_one() -> None:
    """β (σ(−d)) (∇ log π(rejected) − ∇ log π(chosen)), Rafailov et al. 2023, §4."""
    logits = at(SOFT)
    pairs = torch.tensor([[3, 40], [10, 2]])
    objective = catalog.build("dpo", {"beta": 0.7})
    batch = SOFT.batch(logits, pairs=pairs)
    log_law = SOFT.log_law(logits)
    ratio = (log_law - SOFT.log_base).detach()
    total = sum(
        0.7 * float(torch.sigmoid(-0.7 * (ratio[a] - ratio[b]))) * (log_law[b] - log_law[a]) / 2
        for a, b in pairs.tolist()
    )
    found = objective.loss(objective.prepare(batch)).value()
    assert close(gradient_of(found, logits), gradient_of(total, logits))


@pytest.mark.parametrize("clip", [None, 0.2])
def test_values_are_pulled_to_their_returns(clip: float | None) -> None:
    values = torch.tensor([[0.0, 0.5]], dtype=REAL, requires_grad=True)
    batch = Batch(
        torch.zeros(1, 2, dtype=REAL),
        torch.ones(1, 2, dtype=torch.bool),
        reference=torch.zeros(1, 2, dtype=REAL),
        behaviour=torch.zeros(1, 2, dtype=REAL),
        reward=torch.ones(1, dtype=REAL),
        values=values,
        old_values=torch.tensor([[0.0, 0.1]], dtype=REAL),
    )
    objective = catalog.build("ppo", {"trace": 1.0, "value_weight": 1.0, "value_clip": clip})
    found = objective.loss(objective.prepare(batch)).parts["value"][1]
    # returns are 1 and 1; the second value left its clip range (0.3), and there the worse error is the clipped one's
    errors = [0.5, 0.5 * (0.5 - 1) ** 2] if clip is None else [0.5, 0.5 * (0.3 - 1) ** 2]
    assert float(found.total) == pytest.approx(sum(errors), abs=1e-12)
    wanted = torch.tensor([[-1.0, -0.5 if clip is None else 0.0]], dtype=REAL)
    assert torch.allclose(gradient_of(found.total, values), wanted, atol=1e-12)


def test_advantages_are_discounted_sums_of_surprises() -> None:
    """A_t = Σ_l (γλ)^l (r_{t+l} + γ V_{t+l+1} − V_{t+l}), by definition, on rows of different lengths."""
    draw = torch.Generator().manual_seed(3)
    rewards, values = (torch.randn(3, 5, generator=draw, dtype=REAL) for _ in range(2))
    mask = torch.arange(5) < torch.tensor([[5], [2], [1]])
    discount, trace = 0.9, 0.6
    found, returns = generalised_advantages(rewards, values, mask, discount, trace)
    for row, length in enumerate((5, 2, 1)):
        v = [*values[row, :length].tolist(), 0.0]
        surprise = [float(rewards[row, t]) + discount * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            wanted = sum((discount * trace) ** (k - t) * surprise[k] for k in range(t, length))
            assert float(found[row, t]) == pytest.approx(wanted, abs=1e-12)
            assert float(returns[row, t]) == pytest.approx(wanted + v[t], abs=1e-12)
    assert float(found[~mask].abs().sum()) == 0.0


@pytest.mark.parametrize(
    ("ratio", "advantage", "largest", "value", "slope_of_log"),
    [
        (1.1, 2.0, None, -2.2, -2.2),  # inside: as it is
        (1.5, 2.0, None, -2.4, 0.0),  # too far up and good: held
        (0.5, 2.0, None, -1.0, -1.0),  # too far down and good: pulled back
        (1.5, -2.0, None, 3.0, 3.0),  # too far up and bad: pulled back
        (0.5, -2.0, None, 1.6, 0.0),  # too far down and bad: held
        (5.0, -2.0, 3.0, 6.0, 0.0),  # cut off
    ],
)
def test_ratios_are_clipped_where_they_have_gone_far_enough(
    ratio: float, advantage: float, largest: float | None, value: float, slope_of_log: float
) -> None:
    at_ratio = torch.tensor(math.log(ratio), dtype=REAL, requires_grad=True)
    found = surrogate(at_ratio, torch.tensor(advantage, dtype=REAL), 0.2, 0.2, largest)
    assert float(found.detach()) == pytest.approx(value)
    assert float(gradient_of(found, at_ratio)) == pytest.approx(slope_of_log)
