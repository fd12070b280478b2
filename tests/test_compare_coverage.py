"""Coverage of valid answers and diversity, exactly on an enumerable model and without bias on samples."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.audit.coverage_of_answers import (
    compare_coverage,
    coverage,
    diversity,
    expected_distinct,
    rarefied,
)
from tinymodels import TabularModel, enumerate_model

CARD = TabularModel(letters=b"abcd", seed=0)


def card_policy(text: str) -> float:
    """The rules of the card: no `ab`, a `c`, ends in `d`, −1 nat for each `b`, +1.5 for each `dd` (overlapping)."""
    if "ab" in text or "c" not in text or not text.endswith("d"):
        return -math.inf
    return -text.count("b") + 1.5 * sum(text[at : at + 2] == "dd" for at in range(len(text)))


def enumerated() -> tuple[list[str], np.ndarray, np.ndarray]:
    """(texts, p0, p*) of the model of the card."""
    responses, log_p0 = enumerate_model(CARD, 6)
    texts = [CARD.text(tokens).decode() for tokens in responses]
    weighed = log_p0 + np.array([card_policy(text) for text in texts])
    return texts, np.exp(log_p0), np.exp(weighed - np.logaddexp.reduce(weighed))


def test_the_model_of_the_card_has_833_valid_answers():
    texts, p0, law = enumerated()
    valid = np.array([card_policy(text) > -math.inf for text in texts])
    assert len(texts) == 5461
    assert valid.sum() == 833
    # before: the share of valid answers; after enforcement all mass is on them
    assert coverage(p0[valid]).mass == pytest.approx(p0[valid].sum(), abs=1e-15)
    assert 0 < coverage(p0[valid]).mass < 0.2
    assert coverage(law[valid]).mass == pytest.approx(1.0, abs=1e-12)
    assert expected_distinct(law[valid], 100) > 5 * expected_distinct(p0[valid], 100)


def test_a_model_of_equal_tokens_in_closed_form():
    """With all five tokens alike, p(y) = 5^−(|y| + 1), and 5^−6 at the cap: what the metrics must then be."""
    texts, _, _ = enumerated()
    model = TabularModel(letters=b"abcd", seed=0, spread=0.0)
    flat = np.exp(enumerate_model(model, 6)[1])
    by_hand = np.array([5.0 ** -(len(text) + (len(text) < 6)) for text in texts])
    assert flat == pytest.approx(by_hand, abs=1e-15)
    assert flat.sum() == pytest.approx(1.0, abs=1e-12)
    valid = np.array([card_policy(text) > -math.inf for text in texts])
    lengths = Counter(len(text) for text, is_valid in zip(texts, valid, strict=True) if is_valid)
    mass = sum(count * 5.0 ** -(length + (length < 6)) for length, count in lengths.items())
    found = coverage(flat[valid], smoothing=0.0)
    assert found.mass == pytest.approx(mass, abs=1e-15)
    assert found.mass == pytest.approx(0.0809600, abs=5e-8)
    assert found.jensen_shannon == pytest.approx(0.0965196, abs=5e-8)
    assert expected_distinct(flat[valid], 100) == pytest.approx(7.7303313, abs=5e-8)


def test_divergences_agree_with_scipy_and_their_definitions():
    rng = np.random.default_rng(5)
    for _ in range(20):
        p = rng.dirichlet(np.ones(7)) * rng.random()
        target = rng.dirichlet(np.ones(7))
        found, q = coverage(p, target, smoothing=0.0), p / p.sum()
        assert found.jensen_shannon == pytest.approx(jensenshannon(q, target) ** 2, abs=1e-12)
        assert found.kl == pytest.approx(np.sum(target * np.log(target / q)), abs=1e-12)
        assert found.reverse_kl == pytest.approx(np.sum(q * np.log(q / target)), abs=1e-12)
        assert found.cross_entropy == pytest.approx(-np.sum(target * np.log(q)), abs=1e-12)
        assert found.is_mode_found == (q.argmax() == target.argmax())
    same = coverage([0.25, 0.25], smoothing=0.0)
    assert (same.kl, same.reverse_kl, same.jensen_shannon, same.mass, same.is_mode_found) == (0, 0, 0, 0.5, True)
    apart = coverage([1.0, 0.0], [0.0, 1.0], smoothing=0.0)
    assert apart.jensen_shannon == pytest.approx(math.log(2), abs=1e-12)
    assert apart.kl == math.inf
    assert math.isfinite(coverage([1.0, 0.0], [0.0, 1.0]).kl)


@pytest.mark.parametrize(
    ("law", "target"), [([], None), ([0.7, 0.7], None), ([-0.1, 0.2], None), ([0.1], [0.5, 0.5]), ([math.nan], None)]
)
def test_what_is_no_law_is_refused(law, target):
    with pytest.raises(ValueError, match="probabilit"):
        coverage(law, target)


def test_rarefaction_is_unbiased_for_the_expected_number_of_distinct_answers():
    p = np.array([0.5, 0.3, 0.15])  # 0.05 is not valid
    law = np.append(p, 0.05)
    for draws in (1, 2, 3, 4):
        total = 0.0
        for sample in itertools.product(range(4), repeat=4):
            counts = Counter(at for at in sample if at < 3)
            total += math.prod(law[at] for at in sample) * rarefied(list(counts.values()), 4, draws)
        assert total == pytest.approx(expected_distinct(p, draws), abs=1e-12)


def test_diversity_by_hand():
    found = diversity(["a", "a", "b", "x", "?"], [True, True, True, False, None], 2, ["a", "z"])
    assert (found.samples, found.unscored, found.valid) == (5, 1, 0.75)
    assert found.pairwise == pytest.approx(5 / 6)  # of six pairs one is equal
    # among the six pairs of draws: `a` is in five, `b` and `x` in three
    assert found.distinct == pytest.approx((5 + 3) / 6)
    assert found.unique == pytest.approx((5 + 3 + 3) / 6 / 2)
    assert found.listed == pytest.approx(5 / 6 / 2)
    with pytest.raises(ValueError, match="3 draws need"):
        diversity(["a", "b"], [True, True], 3)


def test_before_and_after_cover_the_exact_values():
    """60 prompts × 12 draws from p0 and p*, 40 runs: 240 intervals of 95%, of which 216 hold the exact value at least.

    With 95% each, fewer are a false alarm of about 0.1%.
    """
    texts, p0, law = enumerated()
    valid = np.array([card_policy(text) > -math.inf for text in texts])
    cumulative = [np.cumsum(each) / each.sum() for each in (p0, law)]
    rng = np.random.default_rng(8)
    exact = [
        (p0[valid].sum(), 1.0, True),
        (expected_distinct(p0[valid], 12), expected_distinct(law[valid], 12), True),
        (1 - (p0**2).sum(), 1 - (law**2).sum(), True),
    ]
    held = tried = 0
    for _ in range(40):
        sides = []
        for steps in cumulative:
            drawn = np.searchsorted(steps, rng.random((60, 12)))
            sides.append({str(at): ([texts[i] for i in row], [bool(valid[i]) for i in row]) for at, row in
                          enumerate(drawn)})  # fmt: skip
        found = compare_coverage(*sides, draws=12)
        lines = (found.lines[0], found.lines[1], found.lines[3])
        for (before, after, _), line in zip(exact, lines, strict=True):
            held += line.before_interval.low <= before <= line.before_interval.high
            held += line.difference.interval.low <= after - before <= line.difference.interval.high
            tried += 2
        assert found.lines[0].after == 1.0
    assert tried == 240
    assert held >= 216


def test_files_that_do_not_fit_are_refused():
    good = {"p": (["a", "b"], [True, True]), "q": (["a", "b"], [True, False])}
    with pytest.raises(ComparisonError, match="same prompts"):
        compare_coverage(good, {"p": good["p"], "r": good["q"]})
    with pytest.raises(ComparisonError, match="two scored answers at least"):
        compare_coverage(good, {"p": good["p"], "q": (["a", "b"], [True, None])})
    found = compare_coverage(good, {"p": good["p"], "q": (["a", "b", "c"], [True, None, True])}, draws=100)
    assert (found.draws, found.unscored) == (2, (0, 1))
    assert (found.valid_bounds[1].low, found.valid_bounds[1].high) == (pytest.approx(5 / 6), 1.0)
