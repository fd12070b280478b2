"""The thirteen identities of LAW.md §5 on random enumerable models, to 1e-9 (relative where magnitudes are large).

Models are drawn with all that can be degenerate: responses of probability zero, hard sets that leave one response,
constant, zero and copied features, tied and large rewards. Examples are derandomised: every run draws the same ones.
Derivatives are complex steps, which have no cancellation and so no truncation error either (Squire and Trapp 1998).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bylaw.compiler.law.divergence import DIVERGENCES
from bylaw.compiler.law.dual import DualSolution, Sense, solve_dual
from bylaw.compiler.law.gibbs import ExactLaw, kl_divergence
from bylaw.compiler.law.samples import Population, PromptSamples, effective_sample_size

EXACT = 1e-9
STEP = 1e-30  # of the complex steps
REPEATABLE = settings(max_examples=60, deadline=None, derandomize=True, database=None)
SOLVED = settings(REPEATABLE, max_examples=40)

FEATURES = ("normal", "normal", "event", "count", "constant", "zero", "copy", "rare")


def same(left: object, right: object) -> None:
    np.testing.assert_allclose(np.asarray(left, float), np.asarray(right, float), rtol=EXACT, atol=EXACT)


def feature(kind: str, before: list[np.ndarray], size: int, rng: np.random.Generator) -> np.ndarray:
    if kind == "copy" and before:
        return 2.0 * before[0]
    columns = {
        "event": (rng.random(size) < 0.4).astype(float),
        "count": rng.integers(0, 40, size).astype(float),
        "constant": np.full(size, 0.7),
        "zero": np.zeros(size),
        "rare": (np.arange(size) == 0).astype(float),
    }
    return columns.get(kind, rng.normal(size=size))


@st.composite
def laws(draw: st.DrawFn, rewards: bool = True, features: tuple[str, ...] = FEATURES, least: int = 1) -> ExactLaw:
    """A random law: 1 to 60 responses, 0 to 4 features (at least ``least`` of them), any hard set, ties and zeros."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.integers(1 + least, 60))
    logits = draw(st.sampled_from((0.0, 1.0, 5.0))) * rng.normal(size=size)
    logits[rng.random(size) < draw(st.sampled_from((0.0, 0.0, 0.3)))] = -np.inf
    allowed = rng.random(size) < draw(st.sampled_from((1.0, 0.7, 0.1)))
    kept = int(rng.integers(size))
    allowed[kept], logits[kept] = True, 0.0
    columns: list[np.ndarray] = []
    for kind in draw(st.lists(st.sampled_from(features), min_size=least, max_size=4)):
        columns.append(feature(kind, columns, size, rng))
    reward = draw(st.sampled_from((0.0, 1.0, 10.0))) * rng.normal(size=size) if rewards else np.zeros(size)
    if draw(st.booleans()):
        reward = np.round(reward)  # ties
    mu = draw(st.sampled_from((0.0, 0.3, 2.0))) * rng.normal(size=len(columns))
    log_p0 = logits - np.log(np.exp(logits).sum())
    return ExactLaw(log_p0, allowed, reward, np.array(columns).reshape(len(columns), size).T, mu)


@st.composite
def response_laws(draw: st.DrawFn, support: np.ndarray) -> np.ndarray:
    """[Y] log q of some q on the support, itself possibly with zeros."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    places = np.flatnonzero(support)
    if draw(st.booleans()):
        places = rng.choice(places, size=int(rng.integers(1, places.size + 1)), replace=False)
    logits = draw(st.sampled_from((0.5, 4.0))) * rng.normal(size=places.size)
    log_q = np.full(support.size, -np.inf)
    log_q[places] = logits - np.log(np.exp(logits).sum())
    return log_q


def mean_under(log_q: np.ndarray, values: np.ndarray) -> np.ndarray:
    kept = log_q > -np.inf
    return np.exp(log_q[kept]) @ values[kept]


def solved(law: ExactLaw, bounds: np.ndarray, senses: list[Sense]) -> DualSolution:
    """The dual on the enumerated space, as one prompt of 'samples' from the uniform proposal: exact, not estimated."""
    weight = np.where(law.support, law.log_p0 + law.reward + np.log(law.log_p0.size), -np.inf)
    population = Population([PromptSamples(weight, np.where(law.support[:, None], law.features, 0.0))])
    return solve_dual(population, bounds, senses, tolerance=1e-13, ess_floor=0.0)


def log_partition(law: ExactLaw, mu: np.ndarray) -> complex:
    """log Σ p0 1_H e^{R − μ·f} straight from its definition, for complex μ too."""
    kept = law.support
    exponent = law.log_p0[kept] + law.reward[kept] - law.features[kept] @ mu
    peak = exponent.real.max()
    return complex(np.log(np.exp(exponent - peak).sum()) + peak)


def complex_mean(law: ExactLaw, mu: np.ndarray) -> np.ndarray:
    kept = law.support
    exponent = law.log_p0[kept] + law.reward[kept] - law.features[kept] @ mu
    weight = np.exp(exponent - exponent.real.max())
    return weight @ law.features[kept] / weight.sum()


@REPEATABLE
@given(st.data())
def test_identity_1_free_energy_splits_for_every_q(data: st.DataObject) -> None:
    law = data.draw(laws())
    log_q = data.draw(response_laws(law.support))
    gain = float(mean_under(log_q, law.log_factor))
    same(law.log_z, gain - kl_divergence(log_q, law.log_p0) + kl_divergence(log_q, law.log_p))


@REPEATABLE
@given(laws())
def test_identity_2_kl_is_mean_reward_minus_log_z(law: ExactLaw) -> None:
    reward = float(law.expectation(law.reward) - law.expectation() @ law.mu)
    same(kl_divergence(law.log_p, law.log_p0), reward - law.log_z)
    same(law.kl_to_base(), reward - law.log_z)
    assert law.kl_to_base() >= -EXACT


@REPEATABLE
@given(laws())
def test_identity_3_gradient_and_hessian_of_log_z(law: ExactLaw) -> None:
    same(law.log_z, log_partition(law, law.mu).real)
    for index in range(law.mu.size):
        moved = law.mu + 1j * STEP * np.eye(law.mu.size)[index]
        # θ = −μ, hence the signs.
        same(-log_partition(law, moved).imag / STEP, law.expectation()[index])
        same(-complex_mean(law, moved).imag / STEP, law.covariance()[index])
    assert np.linalg.eigvalsh(law.covariance()).min(initial=0.0) >= -EXACT * (1.0 + np.trace(law.covariance()))


@REPEATABLE
@given(laws())
def test_identity_4_hard_rules_only_is_conditioning(law: ExactLaw) -> None:
    hard = law.reweighted(mu=np.zeros(law.mu.size), reward=np.zeros(law.log_p0.size))
    base = np.where(law.allowed, np.exp(law.log_p0), 0.0)
    same(hard.probabilities, base / base.sum())
    assert hard.probabilities[~law.allowed].max(initial=0.0) == 0.0
    same(hard.kl_to_base(), -np.log(base.sum()))


@SOLVED
@given(laws(features=("normal", "event", "count", "constant")), st.integers(0, 2**32))
def test_identity_5_shadow_price(law: ExactLaw, seed: int) -> None:
    """d max{E R − KL}/db = μ*, which is dKL*/db = −μ* when nothing is soft, by a rule of eight points.

    Bounds are taken where known multipliers attain them; one budget may be slack, with multiplier and slope zero.
    """
    rng = np.random.default_rng(seed)
    senses: list[Sense] = [("at most", "at least", "exactly")[k] for k in rng.integers(0, 3, law.mu.size)]
    sign = np.array([{"at most": 1.0, "at least": -1.0, "exactly": 1.0}[sense] for sense in senses])
    untilted = law.reweighted(mu=np.zeros(law.mu.size), reward=0.3 * law.reward * (seed % 2))
    spread = np.maximum(np.sqrt(np.diag(untilted.covariance())), 1e-3)
    slack = (rng.random(law.mu.size) < 0.2) & (np.array(senses) != "exactly")
    mu = np.where(slack, 0.0, sign * rng.uniform(0.3, 1.2, law.mu.size) / spread)
    star = untilted.reweighted(mu=mu)
    covariance = star.covariance()[np.ix_(~slack, ~slack)]
    reach = np.maximum(np.ptp(star.features[star.support], axis=0), 1e-9)
    scaled = covariance / np.outer(reach[~slack], reach[~slack])
    # A constant or a copied feature has no multiplier of its own; a finite difference needs spread in all directions.
    assume(covariance.size and np.linalg.eigvalsh(scaled).min() > 1e-3)
    bounds = star.expectation() + np.where(slack, sign * (1.0 + spread), 0.0)
    found = solved(star, bounds, senses)
    np.testing.assert_allclose(found.mu * spread, mu * spread, atol=1e-8)
    same(found.dual_value, star.log_z + mu @ bounds)
    if not seed % 2:
        same(-found.dual_value, star.kl_to_base())
    inverse = np.zeros((law.mu.size, law.mu.size))
    inverse[np.ix_(~slack, ~slack)] = np.linalg.inv(covariance)
    index = int(rng.integers(law.mu.size))
    # No multiplier moves by more than 0.12 over the range of its feature: the rule's own error is then about 1e-13.
    step = 0.03 * float(spread[index] if slack[index] else 1.0 / np.abs(inverse[:, index] * reach).max())
    eight = (1 / 280, -4 / 105, 1 / 5, -4 / 5, 4 / 5, -1 / 5, 4 / 105, -1 / 280)
    far = [bounds + k * step * np.eye(law.mu.size)[index] for k in (-4, -3, -2, -1, 1, 2, 3, 4)]
    slope = sum(c * solved(star, each, senses).dual_value for c, each in zip(eight, far, strict=True)) / step
    assert slope * spread[index] == pytest.approx(mu[index] * spread[index], rel=EXACT, abs=EXACT)


@REPEATABLE
@given(laws(), st.floats(1e-3, 1e3), st.floats(-50.0, 50.0))
def test_identity_6_scales_and_constants(law: ExactLaw, scale: float, constant: float) -> None:
    for factor in (2.0, scale):
        scaled = ExactLaw(law.log_p0, law.allowed, law.reward, factor * law.features, law.mu / factor)
        same(scaled.probabilities, law.probabilities)
        same(scaled.log_z, law.log_z)
    shifted = law.reweighted(reward=law.reward + constant)
    same(shifted.probabilities, law.probabilities)
    same(shifted.log_z, law.log_z + constant)
    same(shifted.kl_to_base(), law.kl_to_base())


@SOLVED
@given(st.lists(st.tuples(st.floats(0.02, 0.98), st.floats(0.02, 0.98)), min_size=1, max_size=5), st.booleans())
def test_identity_7_independent_features(pairs: list[tuple[float, float]], nuisance: bool) -> None:
    """μ_j = log[p_j(1−b_j)/((1−p_j)b_j)]₊ and KL adds up, whatever independent soft term stands beside them."""
    rates, bounds = np.array(pairs).T
    coins = len(pairs) + nuisance
    outcomes = np.array(list(product((0.0, 1.0), repeat=coins)))
    chances = np.append(rates, [0.3] * nuisance)
    log_p0 = (outcomes * np.log(chances) + (1 - outcomes) * np.log1p(-chances)).sum(axis=1)
    reward = 1.5 * outcomes[:, -1] * nuisance
    features = outcomes[:, : len(pairs)]
    law = ExactLaw(log_p0, np.ones(len(outcomes), bool), reward, features, np.zeros(len(pairs)))
    found = solved(law, bounds, ["at most"] * len(pairs))
    same(found.mu, np.maximum(np.log(rates * (1 - bounds) / ((1 - rates) * bounds)), 0.0))
    met = np.minimum(rates, bounds)
    parts = met * np.log(met / rates) + (1 - met) * np.log((1 - met) / (1 - rates))
    same(found.budget_kl, parts.sum())
    same(law.reweighted(mu=found.mu).kl_to_base(), parts.sum() + law.kl_to_base())


@SOLVED
@given(st.data())
def test_identity_8_pythagoras_of_the_projection(data: st.DataObject) -> None:
    """KL(q‖p0) = KL(q‖p*) + KL(p*‖p0) for q with the same moments; for any q the gap is −μ·(E_q f − b)."""
    drawn = data.draw(laws(rewards=False))
    star = drawn.reweighted(mu=np.abs(drawn.mu))
    bounds = star.expectation()
    kept = np.flatnonzero(star.support)
    # q = p* + d with Σd = 0 and f·d = 0, as long as it stays positive: the same moments without solving for anything.
    constraints = np.vstack([np.ones(kept.size), (star.features[kept] / (1.0 + np.abs(star.features[kept]).max())).T])
    _, values, rows = np.linalg.svd(constraints)
    null = rows[int((values > 1e-12 * values[0]).sum()) :]
    direction = null.T @ data.draw(st.sampled_from((np.ones, np.arange)))(len(null)).astype(float)
    probability = star.probabilities[kept]
    negative = direction < 0
    room = float((probability[negative] / -direction[negative]).min(initial=1.0))
    moved = np.full(star.log_p0.size, -np.inf)
    with np.errstate(divide="ignore"):
        moved[kept] = np.log(np.maximum(probability + 0.9 * room * direction, 0.0))
    log_q = data.draw(response_laws(star.support))
    for other, gap in ((moved, 0.0), (log_q, -float(star.mu @ (mean_under(log_q, star.features) - bounds)))):
        same(
            kl_divergence(other, star.log_p0),
            kl_divergence(other, star.log_p) + star.kl_to_base() + gap,
        )
        if np.all(mean_under(other, star.features) <= bounds):  # q meets the budgets: p* is the nearest law that does
            assert kl_divergence(other, star.log_p0) >= kl_divergence(other, star.log_p) + star.kl_to_base() - EXACT


@REPEATABLE
@given(laws(), st.lists(st.integers(0, 40), min_size=60, max_size=60))
def test_identity_9_importance_weights(law: ExactLaw, copies: list[int]) -> None:
    """Z as a mean, the acceptance of rejection, and ESS/N = Z²/E e^{2R}: exact where N copies follow p0 exactly."""
    counts = np.array(copies[: law.log_p0.size])
    counts[np.flatnonzero(law.support)[0]] += 1
    with np.errstate(divide="ignore"):
        rational = ExactLaw(np.log(counts / counts.sum()), law.allowed, law.reward, law.features, law.mu)
    base, peak = np.exp(rational.log_p0), rational.log_factor.max()
    factor = np.exp(rational.log_factor - peak)
    same(np.log(base @ factor) + peak, rational.log_z)
    same(base @ np.exp(rational.log_factor - peak), np.exp(rational.log_z - peak))
    samples = np.repeat(np.arange(counts.size), counts)
    limit = np.exp(2.0 * (rational.log_z - peak)) / (base @ factor**2)
    same(effective_sample_size(rational.log_factor[samples]) / samples.size, limit)
    weight = np.where(rational.allowed, rational.reward, -np.inf)[samples]
    moments = Population([PromptSamples(weight, rational.features[samples])]).moments(rational.mu)
    same(moments.ess / samples.size, limit)
    same(moments.log_z, [rational.log_z])
    same(moments.mean, rational.expectation())


@pytest.mark.parametrize("name", sorted(DIVERGENCES))
@settings(REPEATABLE, max_examples=25)
@given(st.integers(0, 2**32), st.integers(1, 30), st.sampled_from((0.3, 1.0, 3.0)))
def test_identity_10_duality_of_divergences(name: str, seed: int, size: int, spread: float) -> None:
    """The witness f′(Q/P) attains D_f; any other witness falls short by its Fenchel–Young loss."""
    divergence, rng = DIVERGENCES[name], np.random.default_rng(seed)
    logits = spread * rng.normal(size=(2, size))
    log_q, log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    ratio = np.exp(log_q - log_p)
    value = divergence.value(log_q, log_p)
    same(divergence.variational(divergence.optimal_witness(ratio), log_q, log_p), value)
    witness = rng.uniform(-0.49, 0.49, size)  # inside every domain
    loss = divergence.fenchel_young(ratio, witness)
    assert (loss >= -EXACT * (1.0 + ratio)).all()
    same(value - divergence.variational(witness, log_q, log_p), float(np.exp(log_p) @ loss))
    same(divergence.value(log_p, log_p), 0.0)


@REPEATABLE
@given(st.data())
def test_identity_11_training_maximises_the_law(data: st.DataObject) -> None:
    """log Z − J(π) = KL(π‖p*) for J(π) = E_π R − KL(π‖p0): the policy gradient vanishes at p* and only there."""
    law = data.draw(laws())
    log_pi = data.draw(response_laws(law.support))
    objective = float(mean_under(log_pi, law.log_factor)) - kl_divergence(log_pi, law.log_p0)
    same(law.log_z - objective, kl_divergence(log_pi, law.log_p))
    kept = law.support

    def value(logits: np.ndarray) -> complex:
        log_policy = logits - np.log(np.exp(logits).sum())
        return complex(np.exp(log_policy) @ (law.log_factor[kept] - log_policy + law.log_p0[kept]))

    star = law.log_p[kept].astype(complex)
    for index in range(int(kept.sum())):
        assert abs(value(star + 1j * STEP * np.eye(star.size)[index]).imag / STEP) <= EXACT * (1 + abs(law.log_z))


def dpo_loss(logits: np.ndarray, law: ExactLaw, pairs: np.ndarray) -> complex:
    """Σ pairs(y, y′) of −σ(R−R′) log σ(h−h′), h = log π/p0: the population loss with Bradley–Terry(R) labels."""
    kept = law.support
    log_policy = logits - np.log(np.exp(logits).sum())
    implied = log_policy - law.log_p0[kept]
    reward = law.log_factor[kept]
    labels = 0.5 * (1.0 + np.tanh(0.5 * (reward[:, None] - reward[None, :])))
    margin = implied[:, None] - implied[None, :]
    # log σ(z) without overflow in either direction
    log_sigma = np.where(margin.real > 0, -np.log(1.0 + np.exp(-np.where(margin.real > 0, margin, 0.0))), 0.0)
    log_sigma += np.where(margin.real <= 0, margin - np.log(1.0 + np.exp(np.where(margin.real <= 0, margin, 0.0))), 0.0)
    return complex(-(pairs * labels * log_sigma).sum())


@SOLVED
@given(laws(), st.integers(0, 2**32))
def test_identity_11_the_population_dpo_loss_is_minimal_at_the_law(law: ExactLaw, seed: int) -> None:
    rng = np.random.default_rng(seed)
    size = int(law.support.sum())
    pairs = rng.dirichlet(np.ones(size * size)).reshape(size, size)
    pairs = 0.5 * (pairs + pairs.T)  # any law of pairs of positive density will do: which comes first says nothing
    star = law.log_p[law.support].astype(complex)
    least = dpo_loss(star, law, pairs).real
    for index in range(size):
        slope = dpo_loss(star + 1j * STEP * np.eye(size)[index], law, pairs).imag / STEP
        assert abs(slope) <= EXACT
    for scale in (1e-4, 1e-2, 1.0, 5.0):
        other = star + scale * rng.normal(size=size)
        assert dpo_loss(other, law, pairs).real >= least - 1e-12 * (1.0 + least)
    if size > 1 and np.ptp(law.log_factor[law.support]) < 20.0:  # labels short of certainty: the minimum is not flat
        assert dpo_loss(star + np.eye(size)[0], law, pairs).real > least


def best_of(law: ExactLaw, count: int) -> np.ndarray:
    """[Y] log-probabilities of the best of ``count`` draws from p0 by R − μ·f; ties at random, forbidden ones last."""
    base = np.exp(law.log_p0)
    result = np.zeros(base.size)
    below = 0.0
    for score in np.unique(law.log_factor):
        group = law.log_factor == score
        mass = base[group].sum()
        if mass > 0:
            result[group] = base[group] / mass * ((below + mass) ** count - below**count)
        below += mass
    with np.errstate(divide="ignore"):
        return np.log(result)


@REPEATABLE
@given(laws(), st.integers(1, 200))
def test_identity_12_best_of_n(law: ExactLaw, count: int) -> None:
    """KL ≤ log n − (n−1)/n by the enumerated law of the best of n, which for small cases is checked draw by draw."""
    log_best = best_of(law, count)
    same(np.exp(log_best).sum(), 1.0)
    assert -EXACT <= kl_divergence(log_best, law.log_p0) <= np.log(count) - (count - 1) / count + EXACT
    size = law.log_p0.size
    if size <= 8:
        brute = np.zeros(size)
        for draws in product(range(size), repeat=3):
            scores = law.log_factor[list(draws)]
            winners = [draw for draw, score in zip(draws, scores, strict=True) if score == scores.max()]
            for winner in winners:
                brute[winner] += np.exp(law.log_p0[list(draws)].sum()) / len(winners)
        same(np.exp(best_of(law, 3)), brute)


@dataclass(frozen=True, eq=False)
class Tree:
    """A random autoregressive law: log p0(token | prefix), where the last token ends the response."""

    responses: list[tuple[int, ...]]
    log_p0: np.ndarray
    following: dict[tuple[int, ...], np.ndarray]


def random_tree(rng: np.random.Generator, tokens: int, depth: int) -> Tree:
    following: dict[tuple[int, ...], np.ndarray] = {}
    responses, scores, open_prefixes = [], [], [((), 0.0)]
    while open_prefixes:
        prefix, score = open_prefixes.pop()
        logits = 2.0 * rng.normal(size=tokens + 1)
        if len(prefix) == depth:
            logits[:-1] = -np.inf
        following[prefix] = logits - np.log(np.exp(logits).sum())
        responses.append(prefix)
        scores.append(score + following[prefix][-1])
        if len(prefix) < depth:
            open_prefixes += [((*prefix, token), score + following[prefix][token]) for token in range(tokens)]
    return Tree(responses, np.array(scores), following)


@settings(REPEATABLE, max_examples=40)
@given(st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 4), st.sampled_from((1.0, 0.5, 0.05)))
def test_identity_13_chain_rule_over_tokens(seed: int, tokens: int, depth: int, share: float) -> None:
    """Bellman's p*(w|h) = p0(w|h) V(hw)/V(h) multiply to p*(y), and KL(p*‖p0) is the sum of theirs over tokens."""
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, tokens, depth)
    size = len(tree.responses)
    allowed = rng.random(size) < share
    allowed[int(rng.integers(size))] = True
    law = ExactLaw(tree.log_p0, allowed, 2.0 * rng.normal(size=size), rng.normal(size=(size, 1)), np.array([0.4]))
    factor = dict(zip(tree.responses, law.log_factor, strict=True))
    value: dict[tuple[int, ...], float] = {}
    regulated: dict[tuple[int, ...], np.ndarray] = {}
    for prefix in sorted(tree.following, key=len, reverse=True):
        ahead = [value[(*prefix, token)] if len(prefix) < depth else -np.inf for token in range(tokens)]
        terms = tree.following[prefix] + np.array([*ahead, factor[prefix]])
        value[prefix] = float(np.logaddexp.reduce(terms))
        regulated[prefix] = terms - value[prefix] if value[prefix] > -np.inf else np.full(tokens + 1, -np.inf)
    same(value[()], law.log_z)
    reached: dict[tuple[int, ...], float] = defaultdict(float)
    for response, log_p in zip(tree.responses, law.log_p, strict=True):
        steps = [regulated[response[:k]][token] for k, token in enumerate((*response, tokens))]
        same(np.exp(sum(steps)), np.exp(log_p))
        for length in range(len(response) + 1):
            reached[response[:length]] += float(np.exp(log_p))
    chain = sum(mass * kl_divergence(regulated[h], tree.following[h]) for h, mass in reached.items() if mass > 0.0)
    same(chain, law.kl_to_base())
