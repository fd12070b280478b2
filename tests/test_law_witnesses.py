"""Divergences of a model from the law by fitted witnesses: lower bounds that hold, and are exact where they can be."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from bylaw.compiler.law.divergence import DIVERGENCES, KL, REVERSE_KL, TWICE_JENSEN_SHANNON
from bylaw.compiler.law.draws import Draws, apart
from bylaw.compiler.law.numerics import EmptySupport, LowEffectiveSampleSize
from bylaw.compiler.law.samples import PromptSamples
from bylaw.compiler.law.witnesses import WitnessBound, witness_bound

NAMES = sorted(DIVERGENCES)
PROMPTS, RESPONSES, FEATURES = 3, 10, 3


class World:
    """Enumerable laws P(y|x) and Q(y|x) ∝ P e^{θ·F}, or with a ratio that is itself linear in F."""

    def __init__(self, seed: int, is_ratio_linear: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.features = rng.normal(size=(PROMPTS, RESPONSES, FEATURES))
        self.log_p = np.log(rng.dirichlet(np.ones(RESPONSES), size=PROMPTS))
        tilt = self.features @ np.array([0.6, -0.4, 0.3])
        if is_ratio_linear:
            tilt = np.log1p(0.9 * tilt / np.abs(tilt).max())
        log_q = self.log_p + tilt
        self.log_q = log_q - np.logaddexp.reduce(log_q, axis=1, keepdims=True)

    def truth(self, name: str) -> float:
        return float(np.mean([DIVERGENCES[name].value(q, p) for q, p in zip(self.log_q, self.log_p, strict=True)]))

    def apart(self, rng: np.random.Generator, number: int, columns: np.ndarray | None = None) -> Draws:
        """The model drawn from itself, the law by uniform proposals with weights."""
        features = self.features if columns is None else columns
        model, law = [], []
        for x in range(PROMPTS):
            y = rng.choice(RESPONSES, number, p=np.exp(self.log_q[x]))
            model.append(PromptSamples(np.zeros(number), features[x, y]))
            y = rng.choice(RESPONSES, number)
            law.append(PromptSamples(self.log_p[x, y], features[x, y]))
        return apart(model, law)

    def together(self, rng: np.random.Generator, number: int) -> Draws:
        """Uniform proposals with weights for both."""
        prompt = np.repeat(np.arange(PROMPTS), number)
        y = rng.choice(RESPONSES, PROMPTS * number)
        return Draws(prompt, self.features[prompt, y], self.log_q[prompt, y], self.log_p[prompt, y])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_exact_where_the_log_ratio_is_linear_in_the_features(name: str, seed: int) -> None:
    """Fails by chance with probability below 1e-5 a case (4.5 errors); chi-squared needs the ratio itself linear."""
    world = World(seed, is_ratio_linear=name == "chi_squared")
    rng = np.random.default_rng(seed)
    truth = world.truth(name)
    for draws in (world.apart(rng, 6000), world.together(rng, 6000)):
        found = witness_bound(draws, DIVERGENCES[name])
        # What fitting costs is of the order of coefficients per draw.
        assert abs(found.bound.value - truth) < 4.5 * found.bound.standard_error + 0.002
        assert found.bound.standard_error < 0.1 * truth


@pytest.mark.parametrize("name", NAMES)
def test_the_bound_is_not_above_the_truth_beyond_its_error(name: str) -> None:
    """Of 100 runs, 2.5 % may lie 1.96 errors above the truth; eight noise features invite overfitting.

    More than the limit happens with probability below 1e-4 if the rate is 2.5 %, and is certain to be seen at 25 %.
    """
    world = World(2)
    rng = np.random.default_rng(7)
    truth = world.truth(name)
    noise = np.concatenate([world.features, rng.normal(size=(PROMPTS, RESPONSES, 8))], axis=2)
    runs = [witness_bound(world.apart(rng, 150, noise), DIVERGENCES[name], seed=k) for k in range(100)]
    above = sum(run.bound.value - 1.96 * run.bound.standard_error > truth for run in runs)
    limit = int(binom.ppf(1.0 - 1e-4, 100, 0.025))
    assert above <= limit < 15
    assert np.mean([run.bound.value for run in runs]) <= truth


@pytest.mark.parametrize("name", ["kl", "squared_hellinger", "twice_jensen_shannon", "total_variation"])
def test_a_witness_sees_the_divergence_of_the_marginals_only(name: str) -> None:
    """One prompt, cells of a feature as indicators: the bound reaches D_f of the marginals, which is below D_f."""
    world, rng = World(3), np.random.default_rng(8)
    cell = np.arange(RESPONSES) % 3
    indicator = (cell[:, None] == np.arange(2)).astype(float)
    log_q, log_p = world.log_q[0], world.log_p[0]
    marginal = [np.log(np.bincount(cell, np.exp(law))) for law in (log_q, log_p)]
    y, z = rng.choice(RESPONSES, 8000, p=np.exp(log_q)), rng.choice(RESPONSES, 8000, p=np.exp(log_p))
    zero = np.zeros(8000)
    found = witness_bound(
        apart([PromptSamples(zero, indicator[y])], [PromptSamples(zero, indicator[z])]), DIVERGENCES[name]
    )
    seen, whole = (DIVERGENCES[name].value(*laws) for laws in (marginal, (log_q, log_p)))
    assert seen < 0.8 * whole
    assert abs(found.bound.value - seen) < 4.5 * found.bound.standard_error + 0.001
    assert found.direct is None


@pytest.mark.parametrize("name", NAMES)
def test_equal_laws_are_not_told_apart(name: str) -> None:
    """Q = P and thirty noise features: judged on what it was fitted on, a witness would claim a divergence."""
    rng = np.random.default_rng(9)
    samples = [PromptSamples(np.zeros(400), rng.normal(size=(400, 30))) for _ in range(2)]
    found = witness_bound(apart(samples[:1], samples[1:]), DIVERGENCES[name])
    assert found.bound.value < 3.5 * found.bound.standard_error


@pytest.mark.parametrize("name", NAMES)
def test_the_gap_to_the_known_ratio(name: str) -> None:
    world, rng = World(4), np.random.default_rng(10)
    found = witness_bound(world.together(rng, 6000), DIVERGENCES[name])
    assert found.direct is not None
    assert found.gap is not None
    assert abs(found.direct.value - world.truth(name)) < 4.5 * found.direct.standard_error
    assert found.gap.value == pytest.approx(found.direct.value - found.bound.value, abs=1e-12)
    # One feature of three, the weakest: the gap is real, and beyond its error.
    draws = world.together(rng, 6000)
    blind = Draws(draws.prompt, draws.features[:, 2:], draws.log_model, draws.log_law)
    less = witness_bound(blind, DIVERGENCES[name])
    assert less.gap is not None
    assert less.gap.value > 5.0 * less.gap.standard_error > 0.0


def test_the_direct_error_is_the_spread_of_repeated_runs() -> None:
    """40 runs; the ratio of the stated to the seen spread is within 1 ± 0.5 with probability above 1 − 1e-4."""
    world, rng = World(5), np.random.default_rng(11)
    runs: list[WitnessBound] = [witness_bound(world.together(rng, 200), KL, seed=k) for k in range(40)]
    for values, errors in (
        ([r.bound.value for r in runs], [r.bound.standard_error for r in runs]),
        ([r.direct.value for r in runs if r.direct], [r.direct.standard_error for r in runs if r.direct]),
    ):
        assert len(values) == 40
        assert 0.5 < np.mean(errors) / np.std(values, ddof=1) < 1.5


def test_a_hard_rule_makes_kl_infinite_and_leaves_the_others_finite() -> None:
    """A base model that breaks a hard rule in a tenth of its responses, against the law that forbids them."""
    rng = np.random.default_rng(12)
    broken = rng.random(4000) < 0.1
    draws = Draws(
        np.zeros(4000, int), broken[:, None] * 1.0, np.zeros(4000), np.where(broken, -np.inf, 0.0)
    )  # fmt: skip
    kl = witness_bound(draws, KL)
    assert kl.direct is not None
    assert (kl.direct.value, kl.gap) == (np.inf, None)
    rate = float(broken.mean())
    other = witness_bound(draws, REVERSE_KL)  # KL(law‖model) = −log of the mass that is kept
    assert other.direct is not None
    assert other.direct.value == pytest.approx(-np.log1p(-rate), rel=1e-9)
    assert abs(other.bound.value - other.direct.value) < 0.01
    share = witness_bound(draws, DIVERGENCES["total_variation"])
    assert share.bound.value == pytest.approx(rate, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rare", [1e-6, 1e-12, 1e-20, 1e-200])
def test_a_feature_of_hardly_any_weight(name: str, rare: float) -> None:
    """Some draws of the law weigh next to nothing and alone have a feature: steep witnesses must not overflow."""
    rng = np.random.default_rng(16)
    features, is_rare = rng.normal(size=(1600, 2)), np.arange(800) % 7 == 0
    log_law = np.where(is_rare, np.log(rare), 0.0)
    features[:, 1] = np.concatenate([np.zeros(800), np.where(is_rare, 1.0, 0.0)])
    samples = PromptSamples(np.zeros(800), features[:800]), PromptSamples(log_law, features[800:])
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        found = witness_bound(apart(samples[:1], samples[1:]), DIVERGENCES[name])
    assert abs(found.bound.value) < 4.5 * found.bound.standard_error + 0.02
    turned = witness_bound(apart(samples[1:], samples[:1]), DIVERGENCES[name])
    assert abs(turned.bound.value) < 4.5 * turned.bound.standard_error + 0.02


@pytest.mark.parametrize("name", ["kl", "twice_jensen_shannon", "total_variation"])
def test_one_response_to_each_of_many_prompts(name: str) -> None:
    """Split by prompts: of 40 runs on 300 prompts at most 5 lie 1.96 errors above the truth (chance 5e-4 at 2.5 %)."""
    rng = np.random.default_rng(15)
    features = rng.normal(size=(300, RESPONSES, 2))
    log_p = np.log(rng.dirichlet(5.0 * np.ones(RESPONSES), size=300))
    log_q = log_p + features @ np.array([0.8, -0.5])
    log_q -= np.logaddexp.reduce(log_q, axis=1, keepdims=True)
    divergence = DIVERGENCES[name]
    truth = float(np.mean([divergence.value(q, p) for q, p in zip(log_q, log_p, strict=True)]))
    above, found = 0, []
    for seed in range(40):
        ours = (np.exp(log_q).cumsum(axis=1) < rng.random((300, 1))).sum(axis=1).clip(max=RESPONSES - 1)
        y = np.concatenate([ours, rng.choice(RESPONSES, 300 * 30)])
        x = np.concatenate([np.arange(300), np.repeat(np.arange(300), 30)])
        is_ours = np.arange(y.size) < 300
        weights = np.where(is_ours, 0.0, -np.inf), np.where(is_ours, -np.inf, log_p[x, y])
        draws = Draws(x, features[x, y], *weights)
        bound = witness_bound(draws, divergence, seed=seed, split="prompts").bound
        above += bound.value - 1.96 * bound.standard_error > truth
        found.append(bound.value)
    assert above <= 5
    assert 0.6 * truth < np.mean(found) <= truth + 0.01
    with pytest.raises(ValueError, match="cannot be split"):
        witness_bound(draws.subset(x < 3, np.arange(300) < 3), divergence, split="prompts", ess_floor=1.0)


def test_the_same_seed_gives_the_same_answer_and_units_do_not_matter() -> None:
    world, rng = World(7), np.random.default_rng(14)
    draws = world.together(rng, 500)
    first, again = witness_bound(draws, TWICE_JENSEN_SHANNON), witness_bound(draws, TWICE_JENSEN_SHANNON)
    assert first.bound == again.bound
    scaled = Draws(draws.prompt, draws.features * [1e3, 1.0, 1e-3] + 5.0, draws.log_model + 7.0, draws.log_law - 3.0)
    other = witness_bound(scaled, TWICE_JENSEN_SHANNON)
    assert other.bound.value == pytest.approx(first.bound.value, abs=1e-9)
    np.testing.assert_allclose(other.coefficients[:, 1:] * [1e3, 1.0, 1e-3], first.coefficients[:, 1:], rtol=1e-5)


def test_refusals() -> None:
    zero, one = np.zeros(200), np.zeros((200, 1))
    good = Draws(np.zeros(200, int), one, zero, zero)
    with pytest.raises(LowEffectiveSampleSize, match="floor"):
        witness_bound(good, KL, ess_floor=500.0)
    with pytest.raises(ValueError, match="folds"):
        witness_bound(good, KL, folds=1)
    with pytest.raises(ValueError, match="ridge"):
        witness_bound(good, KL, ridge=-1.0)
    with pytest.raises(ValueError, match=r"\[N\]"):
        Draws(np.zeros(3, int), one, zero, zero)
    with pytest.raises(ValueError, match="inf"):
        Draws(np.zeros(200, int), one, zero + np.inf, zero)
    with pytest.raises(ValueError, match="finite"):
        Draws(np.zeros(200, int), one + np.nan, zero, zero)
    with pytest.raises(EmptySupport, match="under the law"):
        Draws(np.zeros(200, int), one, zero, zero - np.inf)
    with pytest.raises(ValueError, match="numbered"):
        Draws(np.full(200, 3), one, zero, zero, np.ones(2))
    samples = PromptSamples(zero, one)
    with pytest.raises(ValueError, match="prompts of the model"):
        apart([samples], [])
    with pytest.raises(ValueError, match="number of features"):
        apart([samples], [PromptSamples(zero, np.zeros((200, 2)))])
