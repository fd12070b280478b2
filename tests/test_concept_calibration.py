"""What a score means and what is known of its errors: against definitions, other libraries, and draws.

Sampled tests have fixed seeds; their limits fail right code in fewer than one of a thousand seeds.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.metrics import roc_auc_score

from bylaw.runtime.concepts import calibration_fit as fit
from bylaw.runtime.concepts import performance, score_band
from bylaw.runtime.concepts.calibration import (
    Calibration,
    CalibrationError,
    calibrate,
    gate,
    missing,
    separation_error,
)
from bylaw.runtime.concepts.conformal import class_conformal, coverage, needed
from bylaw.runtime.concepts.folds import grouped_folds

RBR = Path(__file__).parents[2] / "shared" / "data" / "openai_rbr" / "train.jsonl"
LABELLED = st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=2, max_size=40).filter(
    lambda rows: len({does for _, does in rows}) == 2
)


def drawn(count: int, share: float, apart: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Raw scores and labels: two normal distributions."""
    rng = np.random.default_rng(seed)
    does = rng.random(count) < share
    return rng.normal(size=count) + apart * does, does


def split(rows: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([x for x, _ in rows], dtype=float), np.array([does for _, does in rows])


# ---------------------------------------------------------------------------------------------------------- the score
@pytest.mark.parametrize(
    ("count", "share", "apart"), [(12, 0.5, 1.0), (200, 0.3, 1.5), (60, 0.5, 9.0), (500, 0.03, 1.0)]
)
def test_platt_scaling_is_the_best_there_is(count, share, apart):
    raw, does = drawn(count, share, apart, 1)
    positives, negatives = does.sum(), (~does).sum()
    targets = np.where(does, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(at):
        return float((np.logaddexp(0, at[0] * raw + at[1]) - targets * (at[0] * raw + at[1])).sum())

    ours = fit.platt(raw, does)
    theirs = optimize.minimize(loss, (1.0, 0.0), method="BFGS", options={"gtol": 1e-7})
    assert loss(ours) <= theirs.fun + 1e-9
    p = fit.sigmoid(ours[0] * raw + ours[1])
    assert abs(float((targets - p).sum())) < 1e-8 * count
    assert abs(float(((targets - p) * raw).sum())) < 1e-7 * count


@settings(max_examples=40)
@given(LABELLED)
def test_a_calibration_is_sound_whatever_it_is_made_from(rows):
    raw, does = split(rows)
    found = calibrate(raw, does)
    grid = np.linspace(-5, 5, 21)
    score, probability, (low, high) = found.score(grid), found.probability(grid), found.interval(grid)
    assert (np.diff(score) >= 0).all()
    assert ((low <= score) & (score <= high) & (low >= 0) & (high <= 1)).all()
    # the score is the probability with the threshold's odds taken out
    odds = probability / (1 - probability) / (found.threshold / (1 - found.threshold))
    assert score == pytest.approx(odds / (1 + odds), abs=1e-9)
    assert (found.how == "midpoint") == (min(found.positives, found.negatives) < 15)
    assert Calibration.from_data(json.loads(json.dumps(found.to_data()))) == found


@settings(max_examples=50)
@given(LABELLED)
def test_the_area_under_the_curve_agrees_with_scikit_learn(rows):
    raw, does = split(rows)
    found = performance.auc(raw, does, np.arange(len(raw)))
    assert found.value == pytest.approx(roc_auc_score(does, raw), abs=1e-12)
    assert found.low < found.high


def test_half_is_the_threshold_whatever_the_number_of_examples_of_each_class():
    raw, does = drawn(400, 0.5, 2.0, 2)
    many = np.concatenate([raw, *[raw[~does]] * 9]), np.concatenate([does, *[does[~does]] * 9])
    even, rare = calibrate(raw, does, few_below=1000), calibrate(*many, few_below=1000)
    at = np.linspace(-1, 3, 9)
    assert np.abs(rare.probability(at) - even.probability(at)).max() > 0.3
    assert np.abs(rare.score(at) - even.score(at)).max() < 0.05
    middle = (raw[does].mean() + raw[~does].mean()) / 2
    for found in (even, rare):
        assert float(found.score(middle)) == pytest.approx(0.5, abs=1e-12)
        assert float(found.probability(middle)) == pytest.approx(found.threshold, abs=1e-12)
    # and is then the probability at even odds, which is known here: σ(2x − 2)
    assert np.abs(even.score(at) - 1 / (1 + np.exp(2 - 2 * at))).max() < 0.07


def test_the_threshold_of_many_examples_is_where_balanced_accuracy_is_best():
    raw, does = drawn(3000, 0.2, 1.5, 3)
    skewed = np.exp(raw)
    found = calibrate(skewed, does)
    assert found.how == "out_of_fold"
    cut = (fit.logit(found.threshold) - found.intercept) / found.slope
    best = stats.norm.cdf(0.75)
    at_cut = (stats.norm.cdf(math.log(cut)) + stats.norm.cdf(1.5 - math.log(cut))) / 2
    assert best - 0.01 < at_cut < best
    assert found.balanced_accuracy.low <= best <= found.balanced_accuracy.high
    assert calibrate(skewed, does, few_below=10_000).how == "midpoint"


@pytest.mark.parametrize(("count", "apart"), [(10, 2.5), (40, 1.0)])
def test_intervals_of_scores_hold_the_probability_at_even_odds(count, apart):
    """Known here: σ(apart·x − apart²/2). With five examples a class that hardly overlap, as with twenty that do."""
    at, held, draws = np.array([-0.5, 0.3, 1.25, 2.0, 3.0]), np.zeros(5), 60
    truth = 1 / (1 + np.exp(-apart * (at - apart / 2)))
    does = np.arange(count) % 2 == 0
    for seed in range(draws):
        raw = np.random.default_rng(seed).normal(size=count) + apart * does
        bounds = score_band.within(score_band.band(raw, does, 1.0), at)
        low, high = (1 / (1 + np.exp(-side)) for side in bounds)
        held += (low <= truth) & (truth <= high)
    assert (held >= stats.binom.ppf(0.001, draws, 0.94)).all(), held


@settings(max_examples=12)
@given(LABELLED, st.floats(0.1, 1))
def test_a_band_is_the_middle_of_what_the_examples_leave_possible(rows, independent):
    """Against the posterior by brute force: a grid ten times as fine, without bins, knots or refinement."""
    raw, does = split(rows)
    if raw.std() == 0:
        return
    places = np.array([-3.0, -0.7, 0.0, 1.1, 4.0])
    found = np.array(score_band.within(score_band.band(raw, does, independent), places))
    z, at = (raw - raw.mean()) / raw.std(), (places - raw.mean()) / raw.std()
    slopes = 1.25 * np.tan(np.pi / 2 * (np.arange(400) + 0.5) / 400)[:, None, None]
    cuts = np.linspace(z.min() - 0.5, z.max() + 0.5, 200)[None, :, None]
    margin = slopes * (z - cuts) + math.log(does.sum() / (~does).sum())
    log = independent * (margin @ does - np.logaddexp(0, margin).sum(axis=2))
    weight = np.exp(log - log.max()).ravel()
    for place, low, high in zip(at, *found, strict=True):
        if z.min() - 0.5 <= place <= z.max() + 0.5:
            values = (slopes[..., 0] * (place - cuts[..., 0])).ravel()
            below = [float(weight[values < x].sum() / weight.sum()) for x in (low, high)]
            # logits beyond 60 are cut off there: the score is 0 or 1 to 26 digits
            assert below[0] == pytest.approx(0.025, abs=0.015) or low == -60
            assert below[1] == pytest.approx(0.975, abs=0.015) or high == 60


def test_a_model_turned_round_is_told_and_not_used():
    raw, does = drawn(100, 0.5, 2.0, 4)
    found = calibrate(-raw, does)
    assert found.slope == 0
    assert found.score([-3, 0, 3]) == pytest.approx([0.5] * 3)
    assert gate(found) == "weak"
    assert "cannot tell its own examples apart: AUC 0.10 [0.05, 0.18] from" in (separation_error(found, "`rude`") or "")
    constant = calibrate(np.full(40, 0.1), does[:40])
    assert (constant.slope, constant.auc.value, gate(constant)) == (0.0, 0.5, "weak")
    assert separation_error(constant) is not None


# ------------------------------------------------------------------------------------------------- what is known of it
def test_noise_gets_no_better_than_chance():
    """Twenty concepts that are noise: thresholds chosen on the same texts would make all of them look better."""
    found = [calibrate(*drawn(80, 0.4, 0.0, 200 + seed)) for seed in range(20)]
    balanced = [c.balanced_accuracy.value for c in found]
    assert abs(np.mean(balanced) - 0.5) < 3.3 * np.std(balanced, ddof=1) / math.sqrt(20)
    assert sum(c.auc.low <= 0.5 <= c.auc.high for c in found) >= 16
    assert all(gate(c) == "weak" for c in found)
    assert sum(separation_error(c) is not None for c in found) >= 16
    # where accuracy looks fine, the majority's stands beside it
    assert all(c.majority_accuracy > 0.5 for c in found)
    assert np.mean([c.ece for c in found]) < 0.12


def test_few_examples_are_no_proof_that_a_concept_cannot_separate_them():
    found = calibrate([0.0, 1.0, 0.5, 2.0], [False, True, True, False])
    assert found.auc.value == 0.5
    assert separation_error(found) is not None
    found = calibrate([0.0, 1.0, 0.5, 2.0], [False, False, True, True])
    assert (found.auc.value, separation_error(found)) == (0.75, None)
    assert missing(found) == (7, 7)
    assert missing(found, 0.2) == (2, 2)


def test_examples_that_are_all_on_the_right_side_leave_an_interval():
    found = calibrate([0.0] * 10 + [1.0] * 10, [False] * 10 + [True] * 10)
    assert (found.auc.value, found.auc.high, found.balanced_accuracy.value) == (1, 1, 1)
    assert 0.7 < found.auc.low < 0.95
    assert 0.7 < found.balanced_accuracy.low < 0.95


def test_intervals_of_the_area_hold_it_as_often_as_they_say():
    truth, held, draws = float(stats.norm.cdf(1.5 / math.sqrt(2))), {1: 0, 4: 0}, 200
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        does = np.arange(60) % 3 == 0
        for size in held:
            # conversations of `size` texts with the same label and nearly the same score
            noise = np.repeat(rng.normal(size=60), size)
            labels, groups = np.repeat(does, size), np.repeat(np.arange(60), size)
            found = performance.auc(noise + 1.5 * labels, labels, groups)
            held[size] += found.low <= truth <= found.high
    assert min(held.values()) >= stats.binom.ppf(0.001, draws, 0.94), held


def test_copies_of_an_example_in_one_group_add_nothing():
    raw, does = drawn(60, 0.4, 1.0, 5)
    once = calibrate(raw, does)
    twice = calibrate(np.repeat(raw, 2), np.repeat(does, 2), np.repeat(np.arange(60), 2).tolist())
    naive = calibrate(np.repeat(raw, 2), np.repeat(does, 2))
    assert twice.groups == 60
    for name in ("low", "value", "high"):
        assert getattr(twice.auc, name) == pytest.approx(getattr(once.auc, name), abs=1e-9)
    assert naive.auc.low > once.auc.low + 0.01
    assert np.abs(np.subtract(twice.interval([0.5, 2.0]), once.interval([0.5, 2.0]))).max() < 0.01
    assert float(naive.interval(2.0)[0]) > float(twice.interval(2.0)[0]) + 0.01
    # a group of its own each, where none is named
    assert calibrate(raw, does, [""] * 60) == once == calibrate(raw, does, [None] * 60)


def test_what_is_measured_is_measured_without_the_group():
    """Scores and labels are alike within a conversation, and have nothing to do with each other between them."""
    rng = np.random.default_rng(6)
    does = np.repeat(rng.random(60) < 0.5, 5)
    groups, raw = np.repeat(np.arange(60), 5), np.repeat(rng.normal(size=60), 5)
    found = calibrate(raw, does, groups.tolist())
    assert found.groups == 60
    assert found.balanced_accuracy.low < 0.5 < found.balanced_accuracy.high
    # one conversation holds all that do, so that nothing can be held back: all examples, and nothing claimed of others
    apart = calibrate(*drawn(90, 0.3, 3.0, 6), ["one" if d else "" for d in drawn(90, 0.3, 3.0, 6)[1]])
    assert apart.balanced_accuracy.high - apart.balanced_accuracy.low > 0.4


@pytest.mark.parametrize("how", ["midpoint", "out_of_fold"])
def test_thresholds_and_probabilities_are_those_of_the_other_folds(how):
    """And folds are whole groups: what is measured on a text was made without its group."""
    raw, does = drawn(80, 0.4, 1.0, 8)
    groups = np.arange(80) // 4
    found = fit.cross_fitted(raw, does, groups, how)
    folds = grouped_folds(does, groups.tolist())
    assert all(len(set(folds[groups == group])) == 1 for group in range(20))
    for fold in range(5):
        out = folds == fold
        rest = ~out
        slope, intercept = fit.platt(raw[rest], does[rest])
        assert found.probability[out] == pytest.approx(fit.sigmoid(slope * raw[out] + intercept), abs=1e-12)
        cut = fit.threshold(raw[rest], does[rest], groups[rest], how)
        assert (found.above[out] == (raw[out] > cut)).all()
    # it makes a difference: these are other numbers than those of all examples
    slope, intercept = fit.platt(raw, does)
    assert np.abs(found.probability - fit.sigmoid(slope * raw + intercept)).max() > 0.01
    whole = calibrate(raw, does, groups.tolist(), few_below=0 if how == "out_of_fold" else 100)
    right = found.above == does
    assert whole.balanced_accuracy.value == pytest.approx((right[does].mean() + right[~does].mean()) / 2)
    assert whole.ece == pytest.approx(performance.calibration_error(found.probability, does))
    assert how == "midpoint" or (raw > fit.threshold(raw, does, groups, how)).tolist() != found.above.tolist()


def test_calibration_error_by_hand():
    # gaps of two bins with opposite signs do not make up for each other
    probability, does = np.array([0.25, 0.25, 0.75, 0.75]), np.array([False, True, False, True])
    assert performance.calibration_error(probability, does) == pytest.approx(0.25, abs=1e-12)
    probability, does = np.array([0.05, 0.05, 0.95, 1.0]), np.array([False, True, True, True])
    assert performance.calibration_error(probability, does) == pytest.approx((0.9 + 0.05) / 4, abs=1e-12)
    assert performance.calibration_error(np.array([0.0, 1.0]), np.array([False, True])) == 0


# ------------------------------------------------------------------------------------------------------ prediction sets
def test_the_examples_that_a_set_needs():
    assert [needed(alpha) for alpha in (0.5, 0.2, 0.1, 0.05, 0.07, 1 / 3)] == [1, 4, 9, 19, 14, 2]
    for count, is_single in ((8, False), (9, True)):
        sets = class_conformal(np.r_[np.arange(count), 100.0 + np.arange(count)], np.arange(2 * count) >= count)
        assert (sets.sets([-50.0, 300.0], 0.1).sum(axis=1) == 1).all() == is_single


@given(LABELLED, st.sampled_from([0.05, 0.1, 0.2, 0.34, 0.5]))
def test_sets_are_what_their_definition_says(rows, alpha):
    raw, does = split(rows)
    found = class_conformal(raw, does)
    grid = np.linspace(-5, 5, 21)
    for x, (may_not, may) in zip(grid, found.sets(grid, alpha).tolist(), strict=True):
        p_does = (1 + (raw[does] <= x).sum()) / (does.sum() + 1)
        p_does_not = (1 + (raw[~does] >= x).sum()) / ((~does).sum() + 1)
        assert (may_not, may) == (p_does_not > alpha + 1e-12, p_does > alpha + 1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.25])
def test_coverage_is_exact_for_every_place_of_a_new_text(alpha):
    """Among m examples, a new text of the class is at each of m + 1 places with the same probability: count them."""
    for count in (3, 9, 10, 25, 99):
        examples, does = np.arange(1.0, count + 1), np.ones(count, dtype=bool)
        low = class_conformal(np.r_[examples, -examples], np.r_[does, ~does])
        places = np.arange(count + 1) + 0.5
        held, spared = low.sets(places, alpha)[:, 1].mean(), low.sets(-places, alpha)[:, 0].mean()
        assert held == spared == pytest.approx(1 - math.floor(alpha * (count + 1) + 1e-9) / (count + 1), abs=1e-12)
        assert held >= 1 - alpha - 1e-12


def test_both_classes_are_covered_where_one_is_rare():
    """3 % of texts do. Sets over both classes together would reach 90 % without ever holding one that does."""
    held = np.zeros(2)
    total = np.zeros(2)
    for seed in range(40):
        raw, does = drawn(1000, 0.03, 1.5, 300 + seed)
        found = coverage(class_conformal(raw[:500], does[:500]).sets(raw[500:], 0.1), does[500:])
        held += (found.covered_positives, found.covered_negatives)
        total += (found.positives, found.negatives)
    # sets of one draw share their examples: 40 draws whose coverage of a class of 15 has a deviation of about .08
    assert held[0] / total[0] >= 0.9 - 3.1 * 0.08 / math.sqrt(40)
    assert held[1] / total[1] >= 0.9 - 3.1 * 0.02 / math.sqrt(40)


def test_coverage_counts():
    sets = np.array([[True, False], [False, True], [True, True], [False, False], [True, False]])
    found = coverage(sets, [True, True, False, False, False])
    assert (found.positives, found.covered_positives, found.negatives, found.covered_negatives) == (2, 1, 3, 2)
    assert (found.unscored, found.wrong) == (2, 1)
    with pytest.raises(ValueError, match="one set for each label"):
        coverage(sets, [True])


# ------------------------------------------------------------------------------------------------------ people's labels
@pytest.mark.skipif(not RBR.is_file(), reason="the public data lies in shared/data beside the checkout")
def test_each_class_of_propositions_that_people_labelled_is_covered():
    """Words alone, six propositions, calibrated on four parts of the conversations and tried on the fifth.

    A plain model: what is tested is that what it cannot tell is unscored, however weak it is.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    rows = [json.loads(line) for line in RBR.read_text(encoding="utf-8").splitlines()]
    texts = TfidfVectorizer(min_df=3, sublinear_tf=True).fit_transform(
        [row["completion"][0]["content"] for row in rows]
    )
    groups = [json.dumps(row["prompt"]) for row in rows]
    part = np.random.default_rng(0).permutation(len(rows)) % 5
    part = part[performance.group_numbers(groups, len(rows))]
    kernel = (texts @ texts.T).toarray()
    counts = np.zeros(6)
    for name in ("apology", "disclaimer", "fully_complies", "judgement", "requests_information", "third_person"):
        does = np.array([row["propositions"][name] for row in rows])
        raw = out_of_fold(kernel, does, part)
        for number in range(5):
            out = part == number
            some = [group for group, is_out in zip(groups, out, strict=True) if not is_out]
            found = calibrate(raw[~out], does[~out], some)
            counts += np.array([*vars_of(coverage(found.sets(raw[out]), does[out]))])
    covered, spared, unscored = counts[1] / counts[0], counts[3] / counts[2], counts[4] / (counts[0] + counts[2])
    assert covered >= 0.87
    assert spared >= 0.87
    assert unscored < 0.5
    # of what is scored, fewer are wrong than where every text must be decided: at most a tenth of each class
    assert counts[5] / ((counts[0] + counts[2]) * (1 - unscored)) < 0.2


def vars_of(found) -> list[int]:
    return [getattr(found, name) for name in found.__slots__]


def out_of_fold(kernel: np.ndarray, does: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Least squares on similarities, each part from the other four."""
    raw = np.empty(len(does))
    for number in range(5):
        out, rest = part == number, part != number
        weights = np.linalg.solve(kernel[np.ix_(rest, rest)] + np.eye(rest.sum()), does[rest] - does[rest].mean())
        raw[out] = kernel[np.ix_(out, rest)] @ weights
    return raw


# ---------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: calibrate([0.0, 1.0], [True, True]), "no example that does not"),
        (lambda: calibrate([0.0, 1.0], [False, False]), "no example that does:"),
        (lambda: calibrate([], np.array([], dtype=bool)), "no example that does"),
        (lambda: calibrate([0.0, math.nan], [True, False]), "not finite"),
        (lambda: calibrate([0.0, math.inf], [True, False]), "not finite"),
        (lambda: calibrate([0.0], [True, False]), "1 scores and 2 labels"),
        (lambda: calibrate([[0.0, 1.0]], [[True, False]]), "each score has one label"),
        (lambda: calibrate([0.0, 1.0], [1, 0]), "a label is true or false"),
        (lambda: calibrate([0.0, 1.0], [True, False], ["a"]), "2 scores and 1 groups"),
        (lambda: calibrate([0.0, 1.0], [True, False], alpha=0), "above 0 and up to 0.5, not 0"),
        (lambda: calibrate([0.0, 1.0], [True, False], alpha=0.9), "above 0 and up to 0.5, not 0.9"),
        (lambda: calibrate([0.0, 1.0], [True, False]).score([math.nan]), "not finite"),
    ],
)
def test_what_cannot_be_calibrated_is_one_message(call, message):
    with pytest.raises(CalibrationError, match=message):
        call()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"slope": None}, "no calibration that bylaw wrote"),
        ({"slope": -1.0}, "out of its range"),
        ({"slope": math.nan}, "not finite"),
        ({"threshold": 1.0}, "out of its range"),
        ({"ece": 2}, "out of its range"),
        ({"version": 2}, "version 2, and this program reads 1"),
        ({"how": "guess"}, "`how` is 'guess'"),
        ({"positives": 2.0}, "whole"),
        ({"positives": True}, "whole"),
        ({"positives": 999}, "made from other examples"),
        ({"alpha": 0.7}, "not 0.7"),
        ({"auc": [0.5, 0.6, 0.7]}, "inside its interval"),
        ({"auc": [0.5]}, "no calibration that bylaw wrote"),
        ({"band": [[0, 0, 1]]}, "ascending order"),
        ({"band": [[1, 0, 1], [0, 0, 1]]}, "ascending order"),
        ({"band": [[0, 0, 1], [1, 2, 1]]}, "above the upper"),
        ({"band": [[0, 0], [1, 2]]}, "no calibration that bylaw wrote"),
        ({"conformal": {}}, "is missing"),
        ({"conformal": {"positives": 1, "negatives": 0, "does": [], "does_not": []}}, "values of examples"),
        ({"conformal": {"positives": 3, "negatives": 3, "does": [2, 1], "does_not": [1, 2]}}, "strangest"),
    ],
)
def test_a_calibration_that_was_changed_is_not_read(change, message):
    data = calibrate(*drawn(40, 0.5, 1.0, 7)).to_data() | change
    with pytest.raises(CalibrationError, match=message):
        Calibration.from_data(data)
    data = calibrate(*drawn(40, 0.5, 1.0, 7)).to_data()
    del data["slope"]
    with pytest.raises(CalibrationError, match="'slope' is missing"):
        Calibration.from_data(data)
