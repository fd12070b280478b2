"""Best-of-k under a judge that is not the truth: closed forms, enumeration, and the curve on samples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats
from test_compare_coverage import enumerated

from bylaw.runtime.audit import scaling
from bylaw.runtime.audit.scaling import Scalar, best_draws, nearest_error, soft_errors


def by_quad(model: Scalar, draws: int) -> float:
    """The same error by the density of the nearest, with another integrator."""
    law = stats.norm(model.mean, model.sd)

    def integrand(y: float) -> float:
        away = abs(y - model.judge)
        farther = law.sf(model.judge + away) + law.cdf(model.judge - away)
        return float((y - model.target) ** 2 * draws * law.pdf(y) * farther ** (draws - 1))

    ends = sorted({model.judge, model.mean - 12 * model.sd, model.mean + 12 * model.sd})
    return sum(integrate.quad(integrand, low, high, epsabs=1e-13, limit=400)[0] for low, high in
               itertools.pairwise(ends))  # fmt: skip


@pytest.mark.parametrize("model", [Scalar(0, 1, 0, 0), Scalar(0.3, 1.2, 0.5, 1.5), Scalar(-2, 0.5, 0, -3)])
@pytest.mark.parametrize("draws", [1, 2, 7, 40])
def test_the_error_of_the_nearest_is_exact(model: Scalar, draws: int):
    assert nearest_error(model, draws) == pytest.approx(by_quad(model, draws), abs=1e-8)


def test_one_draw_and_endless_draws():
    model = Scalar(0.3, 1.2, 0.5, 1.5)
    assert nearest_error(model, 1) == pytest.approx(1.2**2 + 0.2**2, abs=1e-12)
    assert nearest_error(model, 10**7) == pytest.approx((1.5 - 0.5) ** 2, abs=1e-6)


def test_a_judge_that_knows_the_truth_gains_four_times_for_twice_the_draws():
    """err(k)/err(2k) → 4, and k² err → 1/(2 f(target)²)."""
    model = Scalar(0.3, 1.2, 0.5, 0.5)
    ratios = [nearest_error(model, k) / nearest_error(model, 2 * k) for k in (64, 1024, 16384)]
    assert ratios == sorted(ratios)
    assert ratios[-1] == pytest.approx(4.0, abs=1e-3)
    coefficient = 1 / (2 * stats.norm(0.3, 1.2).pdf(0.5) ** 2)
    assert 16384**2 * nearest_error(model, 16384) == pytest.approx(coefficient, rel=1e-3)
    assert best_draws(model, 500).is_end


def test_the_best_number_of_draws():
    """It is finite where the judge is beyond the truth as seen from the model, and wherever |judge − target| > sd with
    the model's mean at the truth. That |judge − target| > sd alone is enough, as it is sometimes put, is not so: with
    the judge between model and truth every draw helps."""
    for model in (Scalar(0, 1, 1, 1.5), Scalar(0, 1, 0, 2), Scalar(0, 1, 0, 1.01), Scalar(0, 1, 0, 6)):
        found = best_draws(model, 2000)
        assert not found.is_end
        errors = [nearest_error(model, k) for k in range(1, 60)]
        assert found.draws == 1 + int(np.argmin(errors))
        assert found.error == min(errors)
        assert nearest_error(model, 4 * found.draws + 20) > found.error
    between = Scalar(3, 0.5, 0, 1)
    assert abs(between.judge - between.target) > between.sd
    assert best_draws(between, 2000).is_end


def test_soft_selection_is_exact_for_two_draws_and_at_its_ends():
    model, temperature = Scalar(0.3, 1.2, 0.5, 1.5), 0.9
    place, weight = scaling._panels(list(np.linspace(0.3 - 12, 0.3 + 12, 161)))
    mass = weight * stats.norm(0.3, 1.2).pdf(place)
    liking = np.exp(-((place - 1.5) ** 2) / temperature)
    loss = (place - 0.5) ** 2
    kept = (loss[:, None] * liking[:, None] + loss * liking) / (liking[:, None] + liking)
    assert soft_errors(model, [2], temperature)[0] == pytest.approx(float(mass @ kept @ mass), abs=1e-8)
    for draws in (1, 5):
        random = soft_errors(model, [draws], 1e6)[0]
        assert random == pytest.approx(1.2**2 + 0.2**2, abs=1e-5)
    assert soft_errors(model, [1], 0.5)[0] == pytest.approx(1.2**2 + 0.2**2, abs=1e-9)
    # the colder, the nearer to the nearest
    gaps = [abs(soft_errors(model, [9], t)[0] - nearest_error(model, 9)) for t in (0.8, 0.4, 0.2)]
    assert gaps == sorted(gaps, reverse=True)


def test_a_best_temperature_exists_for_a_wrong_judge_and_is_zero_for_a_right_one():
    wrong = Scalar(0, 1, 1, 1.5)
    temperature, error = scaling.best_temperature(wrong, 64)
    assert 0 < temperature < math.inf
    assert error < nearest_error(wrong, 64)
    assert error < wrong.sd**2 + (wrong.mean - wrong.target) ** 2
    assert scaling.best_temperature(Scalar(0, 1, 1, 1), 64)[0] == 0.0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Scalar(0, 0, 0, 0), "above 0"),
        (lambda: Scalar(math.nan, 1, 0, 0), "finite"),
        (lambda: nearest_error(Scalar(0, 1, 0, 0), 0), "one draw"),
        (lambda: soft_errors(Scalar(0, 1, 0, 0), [2], 0.01), "tenth of the variance"),
        (lambda: scaling.best_of_samples([1.0], [1.0], 2), "best of 2"),
        (lambda: scaling.best_of_law([0.5, 0.6], [0, 1], 2), "sum to one"),
    ],
)
def test_wrong_input_is_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


# ------------------------------------------------------------------------------------------------- enumerable models
def test_best_of_sixteen_on_the_enumerable_model():
    """Its law and E[max] by brute force, and its KL below log 16 − 15/16 (1.835 nats)."""
    _, p0, law = enumerated()
    rng = np.random.default_rng(2)
    scores = rng.normal(size=len(p0)).round(2)  # with ties
    for draws in (1, 2, 16):
        found = scaling.best_of_law(p0, scores, draws)
        assert found.sum() == pytest.approx(1.0, abs=1e-12)
        levels = np.unique(scores)
        upto = np.array([p0[scores <= level].sum() for level in levels])
        brute = float(np.sum(levels * np.diff(np.concatenate([[0.0], np.minimum(upto, 1.0)]) ** draws)))
        assert float(found @ scores) == pytest.approx(brute, abs=1e-9)
    assert scaling.divergence_bound(16) == pytest.approx(1.835, abs=5e-4)
    divergence = float(np.sum(found * np.log(found / p0)))
    assert 0 < divergence <= scaling.divergence_bound(16)
    small, value = np.array([0.2, 0.5, 0.3]), np.array([1.0, 3.0, 3.0])
    pairs = np.zeros(3)
    for one, two in itertools.product(range(3), repeat=2):
        best = [one, two] if value[one] == value[two] else [max((one, two), key=value.__getitem__)]
        for at in best:
            pairs[at] += small[one] * small[two] / len(best)
    assert scaling.best_of_law(small, value, 2) == pytest.approx(pairs, abs=1e-12)
    assert law.sum() == pytest.approx(1.0)


# ----------------------------------------------------------------------------------------------------------- samples
def test_best_of_samples_is_the_mean_over_all_subsets():
    proxy, truth = [3.0, 1.0, 3.0, 2.0, 0.0], [1.0, 5.0, 0.0, 2.0, 7.0]
    for draws in range(1, 6):
        values = []
        for subset in itertools.combinations(range(5), draws):
            top = max(proxy[at] for at in subset)
            tied = [truth[at] for at in subset if proxy[at] == top]
            values.append(sum(tied) / len(tied))
        assert scaling.best_of_samples(proxy, truth, draws) == pytest.approx(math.fsum(values) / len(values), abs=1e-12)


def scalar_samples(model: Scalar, prompts: int, count: int, seed: int) -> dict[str, list[tuple[float, float]]]:
    rng = np.random.default_rng(seed)
    drawn = rng.normal(model.mean, model.sd, size=(prompts, count))
    return {str(at): [(-((y - model.judge) ** 2), -((y - model.target) ** 2)) for y in row] for at, row in
            enumerate(drawn.tolist())}  # fmt: skip


def test_the_curve_on_samples_agrees_with_the_closed_form_and_warns():
    """Each interval at 99.9%, six of them: a false alarm of 0.6%; the seed is fixed."""
    wrong = Scalar(0, 1, 0.5, 2.0)
    found = scaling.scaling_curve(scalar_samples(wrong, 150, 24, 3), confidence=0.999)
    for point in (found.points[at] for at in (0, 1, 2, 3, 7, -1)):
        assert point.interval.low <= -nearest_error(wrong, point.draws) <= point.interval.high
        assert point.oracle >= point.truth
    assert [point.proxy for point in found.points] == sorted(point.proxy for point in found.points)
    exact = best_draws(wrong, 24)
    assert found.best_range[0] <= exact.draws <= found.best_range[1]
    assert found.is_overoptimised
    right = scaling.scaling_curve(scalar_samples(Scalar(0, 1, 0.5, 0.5), 150, 24, 4))
    assert not right.is_overoptimised
    assert right.best == 24
    assert right.correlation == pytest.approx(1.0)


def test_the_warning_is_honest_about_a_useless_judge():
    """A judge of pure chance gives a flat curve: the loss is claimed in at most 2.5% of runs. 120 runs, more than 10
    claims would be a false alarm of less than 0.1%."""
    claims = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        rows = {str(at): [tuple(pair) for pair in rng.normal(size=(8, 2)).tolist()] for at in range(24)}
        claims += scaling.scaling_curve(rows, seed=seed, resamples=20).is_overoptimised
    assert claims <= 10


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"a": [(1.0, 1.0)] * 3}, "four prompts"),
        ({name: [(1.0, 1.0)] for name in "abcd"}, "two samples"),
        ({name: [(1.0, 1.0), (math.nan, 0.0)] for name in "abcd"}, "not a finite number"),
        ({name: [(1.0, 1.0), (2.0, 1.0)] for name in "abcd"}, "the same for every sample"),
    ],
)
def test_samples_without_an_answer_are_refused(rows, words):
    with pytest.raises(ValueError, match=words):
        scaling.scaling_curve(rows)
