"""Drift over checkpoints: exact on a path of laws, sampled with its noise, and consistency of policy and judges."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from test_compare_coverage import enumerated

from bylaw.compiler.evaluate import Verdict
from bylaw.runtime.audit import consistency as three_way
from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.audit.consistency import VerdictRow, consistency
from bylaw.runtime.audit.drift_over_checkpoints import distance, drift, settled

RULES = ("no_ab", "has_c", "ends_in_d")
KEPT, BROKEN, APART = Verdict.SATISFIED, Verdict.VIOLATED, Verdict.NOT_APPLICABLE


def verdicts_of(text: str) -> tuple[Verdict, ...]:
    """Of the rules by hand; the last applies to texts that are not empty."""
    return (
        BROKEN if "ab" in text else KEPT,
        KEPT if "c" in text else BROKEN,
        APART if not text else KEPT if text.endswith("d") else BROKEN,
    )


@cache
def path(positions: tuple[float, ...]) -> tuple[list[tuple[Verdict, ...]], np.ndarray]:
    """(verdicts of each text, the laws [C, Y] on the geometric path p0^(1−b) q^b, q ∝ p0 exp(2 × rules kept))."""
    texts, p0, _ = enumerated()
    verdicts = [verdicts_of(text) for text in texts]
    reward = np.array([2.0 * sum(each is KEPT for each in found) for found in verdicts])
    rows = np.log(p0) + np.outer(positions, reward)
    rows -= np.logaddexp.reduce(rows, axis=1, keepdims=True)
    return verdicts, np.exp(rows)


def shares(verdicts: list[tuple[Verdict, ...]], law: np.ndarray) -> np.ndarray:
    """[R, 3] the exact shares of a law."""
    kinds = (KEPT, APART, BROKEN)
    return np.array([[sum(p for p, found in zip(law, verdicts, strict=True) if found[rule] is kind) for kind in kinds]
                     for rule in range(3)])  # fmt: skip


def test_magnitude_and_time_are_exact_on_a_geometric_path():
    positions = [0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 0.9, 0.99, 1.0]
    verdicts, laws = path(tuple(positions))
    vectors = [shares(verdicts, law) for law in laws]
    for one, two in itertools.combinations(vectors, 2):
        l1, js = distance(one, two)
        assert l1 == pytest.approx(np.abs(one - two).sum() / 3, abs=1e-12)
        middle = (one + two) / 2
        by_hand = sum(0.5 * each[at] * math.log(each[at] / middle[at]) for each in (one, two) for at in
                      np.ndindex(one.shape) if each[at] > 0) / 3  # fmt: skip
        assert js == pytest.approx(by_hand, abs=1e-12)
    # along the path each rate falls: the time is when 95% of the change is done, found here by bisection in b
    broken = np.array([vector[:, 2] for vector in vectors])
    assert (np.diff(broken, axis=0) < 0).all()
    for rule in range(3):
        left = np.abs(broken[:, rule] - broken[-1, rule]) / abs(broken[0, rule] - broken[-1, rule])
        assert settled(broken[:, rule]) == next(at for at in range(9) if left[at] <= 0.05)
    assert settled(broken) in {settled(broken[:, rule]) for rule in range(3)}
    assert distance(vectors[0], vectors[0]) == (0.0, 0.0)


def test_settling_by_hand():
    assert settled([0.5, 0.1, 0.11, 0.1]) == 1  # 0.11 is within 0.02 of 0.1
    assert settled([0.5, 0.1, 0.2, 0.1]) == 3  # it left once more
    assert settled([0.3, 0.3, 0.3]) == 0
    assert settled([0.0, 0.5, 1.0], tolerance=0.5) == 1
    assert distance([[1, 0, 0]], [[0, 0, 1]]) == (2.0, pytest.approx(math.log(2)))
    with pytest.raises(ValueError, match="sum to one"):
        distance([[0.5, 0, 0]], [[0, 0, 1]])
    with pytest.raises(ValueError, match="no rule"):
        distance([[math.nan] * 3], [[0, 0, 1]])


def sampled(positions: list[float], prompts: int, answers: int, seed: int) -> list[list[list[tuple[Verdict, ...]]]]:
    verdicts, laws = path(tuple(positions))
    rng = np.random.default_rng(seed)
    drawn = [rng.choice(len(law), p=law, size=(prompts, answers)) for law in laws]
    return [[[verdicts[at] for at in row] for row in each] for each in drawn]


def test_drift_on_samples_covers_the_exact_vector():
    positions = [0.0, 0.5, 0.98, 1.0]
    verdicts, laws = path(tuple(positions))
    exact = [shares(verdicts, law) for law in laws]
    found = drift(RULES, list("abcd"), [0, 100, 200, 300], sampled(positions, 80, 4, 1), resamples=200)
    for number, rule in enumerate(found.rules):
        for at, interval in enumerate(rule.intervals):
            rate = exact[at][number, 2] / (1 - exact[at][number, 1])
            assert interval is not None
            assert interval.low - 0.02 <= rate <= interval.high + 0.02
        assert rule.change is not None
        assert rule.change.interval.high < 0
        assert rule.settled is not None
        assert rule.settled_range is not None
        assert rule.settled_range[0] <= rule.settled <= rule.settled_range[1]
    first, _, last, whole = found.stretches
    assert (whole.first, whole.last) == ("a", "d")
    assert first.p_value < 0.01
    assert whole.p_value < 0.01
    assert whole.l1 > 5 * whole.noise
    # the last two laws are nearly one: all that is seen there is noise
    assert last.p_value > 0.01
    assert last.l1 < 3 * last.noise
    exact_whole = distance(exact[0], exact[-1])[0]
    assert whole.l1_interval.low - 0.05 <= exact_whole <= whole.l1_interval.high + 0.05


@pytest.mark.parametrize("positions", [(0.2, 0.35), (0.3, 0.3)])
def test_the_interval_of_a_magnitude_covers(positions: tuple[float, float]):
    """Of 40 intervals, 95% at least hold the exact magnitude; fewer than 34 are a false alarm of about 0.3%."""
    verdicts, laws = path(positions)
    exact = distance(*(shares(verdicts, law) for law in laws))[0]
    held = 0
    for seed in range(40):
        rows = sampled(list(positions), 30, 3, seed)
        found = drift(RULES, ["a", "b"], [0, 1], rows, seed=seed, resamples=100).stretches[0]
        held += found.l1_interval.low <= exact <= found.l1_interval.high
    assert held >= 34


def test_without_drift_the_p_value_is_honest():
    """Two checkpoints of one law, 60 runs at 10%: more than 14 alarms have a chance of less than 0.2%."""
    alarms = sum(
        drift(RULES, ["a", "b"], [0, 1], sampled([0.3, 0.3], 15, 3, seed), seed=seed, resamples=60).stretches[0].p_value
        <= 0.1
        for seed in range(60)
    )
    assert alarms <= 14


def test_drift_refuses_what_has_no_answer():
    rows = sampled([0.0, 1.0], 3, 1, 0)
    with pytest.raises(ValueError, match="must rise"):
        drift(RULES, ["a", "b"], [1, 1], rows)
    with pytest.raises(ValueError, match="every prompt"):
        drift(RULES, ["a", "b"], [0, 1], [rows[0], rows[1][:2]])
    nothing = [[[(Verdict.UNSCORED,) * 3]] * 3] * 2
    with pytest.raises(ValueError, match="no rule has a verdict"):
        drift(RULES, ["a", "b"], [0, 1], nothing)
    still = drift(RULES, ["a", "b"], [0, 1], [rows[0], rows[0]], resamples=50)
    assert still.stretches[0].l1 == 0.0
    assert all(rule.settled is None for rule in still.rules)


# -------------------------------------------------------------------------------------------------------- consistency
def rows_of(lean: float, prompts: int, seed: int, stern: float = 0.0) -> list[VerdictRow]:
    """Models `x` and `y` answer and judge; `x` lets its own broken answers pass with probability `lean`, and judges
    anybody's kept answer as broken with probability `stern`."""
    rng = np.random.default_rng(seed)
    made = []
    for prompt, rule, generator in itertools.product(range(prompts), ("a", "b"), ("x", "y")):
        truth = bool(rng.random() < (0.7 if generator == "x" else 0.8))
        forgiven = rng.random() < (lean if generator == "x" else 0.0)
        said = (truth or forgiven) and not (truth and rng.random() < stern)
        for judge, kept in (("policy", truth), ("x", bool(said)), ("y", truth)):
            made.append(VerdictRow(str(prompt), rule, generator, judge, kept))
    return made


def test_three_ways_by_hand():
    rows = [
        VerdictRow(str(at), "r", "x", judge, kept)
        for at, pair in enumerate([(True, True), (True, False), (False, True), (False, False)])
        for judge, kept in zip(("policy", "x"), pair, strict=True)
    ]
    rows += [VerdictRow("4", "r", "x", "policy", True), VerdictRow("4", "r", "x", "x", None, is_scored=False)]
    found = consistency(rows, "policy")
    own = next(cell for cell in found.cells if cell.judge == "x")
    assert (own.is_own, own.unscored) == (True, 1)
    assert own.kept is not None
    assert own.agreement is not None
    assert (own.kept.mean, own.agreement.mean, own.kappa) == (0.5, 0.5, 0.0)
    policy = next(cell for cell in found.cells if cell.judge == "policy")
    assert policy.kept is not None
    assert policy.kept.mean == 0.6
    assert found.three_way[0][0] == "x"
    assert found.three_way[0][1].mean == 0.25
    (judged,) = found.judges
    assert (judged.first, judged.second, judged.common) == ("x", "policy", "x")
    assert (judged.difference.difference, judged.difference.pairs) == (0.0, 4)
    assert found.generators == ()


def test_self_preference_is_found_and_not_imagined():
    """The exact value is 0.3 × 0.5 = 0.15; an equally stern judge has none although it differs from the policy."""
    found = consistency(rows_of(0.5, 400, 1), "policy")
    own = next(each for each in found.preferences if each.judge == "x")
    assert own.others == ("y",)
    assert own.interval.low > 0
    assert own.interval.low <= 0.15 <= own.interval.high
    assert own.on_kept == 0
    assert own.on_broken == pytest.approx(0.5, abs=0.15)
    fair = next(each for each in found.preferences if each.judge == "y")
    assert fair.estimate == 0
    assert -0.05 < fair.interval.low < 0 < fair.interval.high < 0.05
    stern = consistency(rows_of(0.0, 400, 2, stern=0.2), "policy")
    gap = next(pair for pair in stern.judges if (pair.first, pair.common) == ("x", "y"))
    assert gap.difference.interval.high < 0
    (models,) = found.generators
    assert (models.first, models.second, models.common) == ("x", "y", "policy")
    assert models.difference.interval.low <= -0.1 <= models.difference.interval.high


@pytest.mark.parametrize(("lean", "stern", "exact"), [(0.5, 0.0, 0.15), (0.0, 0.2, 0.0)])
def test_the_interval_of_self_preference_covers(lean: float, stern: float, exact: float):
    """100 tables of 40 prompts: 95% hold the exact value, fewer than 86 are a false alarm of about 0.02% each. The
    second judge is stern with everybody, while its own answers are the worse ones: no favour."""
    held = 0
    for seed in range(100):
        found = consistency(rows_of(lean, 40, seed, stern), "policy").preferences[0].interval
        held += found.low <= exact <= found.high
    assert held >= 86


def test_consistency_refuses_what_it_cannot_compare():
    rows = rows_of(0.0, 2, 0)
    with pytest.raises(ComparisonError, match="the reference `people` gave no verdict; there are `policy`"):
        consistency(rows, "people")
    with pytest.raises(ComparisonError, match="two verdicts"):
        consistency([*rows, rows[0]], "policy")
    with pytest.raises(ComparisonError, match="gave no verdict"):
        consistency([], "policy")
    assert three_way.VERDICTS[0] == "satisfied"
