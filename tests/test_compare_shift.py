"""Token-level shift and cross-sampling: the law of the mixture is enumerated and compared."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from decoding_models import CAP, Exact, enumerated
from prefix_models import LETTERS, TableModel, base_rows, conditionals, law_of
from scipy.spatial.distance import jensenshannon

from bylaw.runtime.audit import shift
from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.models import Vocabulary, sample_base
from bylaw.runtime.models.interface import FloatArray

PROMPT = ((LETTERS,), (LETTERS,))


@cache
def exact() -> Exact:
    return enumerated()


@cache
def base() -> TableModel:
    return TableModel(base_rows(exact().tiny), exact().tiny.vocabulary, name="base")


@cache
def law() -> TableModel:
    """The policy's exact law p* as a model."""
    found = exact()
    return TableModel(conditionals(found.log_p0 + found.log_reward), found.tiny.vocabulary, name="law")


def mixture(threshold: float) -> tuple[FloatArray, float]:
    """(the law of cross-sampling [Y], the exact share of places that are replaced)."""
    rows, taken, reached = [], [], np.zeros(1)
    replaced = visited = 0.0
    for one, two in zip(base().rows, law().rows, strict=True):
        row, is_taken = shift.mixed(one, two, threshold)
        rows.append(row)
        taken.append(is_taken)
        replaced += float(np.exp(reached[is_taken]).sum())
        visited += float(np.exp(reached).sum())
        reached = (reached[:, None] + row[:, :LETTERS]).ravel()
    return np.exp(law_of(rows)), replaced / visited


def valid() -> np.ndarray:
    return np.isfinite(exact().log_reward)


def test_jensen_shannon_agrees_with_scipy_and_knows_its_ends():
    rng = np.random.default_rng(0)
    one, two = rng.dirichlet(np.ones(9), size=2 * 30).reshape(2, 30, 9)
    found = shift.jensen_shannon(np.log(one), np.log(two))
    assert found == pytest.approx([jensenshannon(p, q) ** 2 for p, q in zip(one, two, strict=True)], abs=1e-12)
    with np.errstate(divide="ignore"):
        apart = np.log(np.eye(2))
    assert shift.jensen_shannon(apart, apart[::-1]).tolist() == [math.log(2)] * 2
    assert shift.jensen_shannon(apart, apart).tolist() == [0.0, 0.0]


def test_the_law_of_cross_sampling_runs_from_one_model_to_the_other():
    target, p0 = exact().target, np.exp(exact().log_p0)
    everything, share = mixture(-1.0)
    assert 0.5 * np.abs(everything - target).sum() == pytest.approx(0.0, abs=1e-9)
    assert share == 1.0
    nothing, share = mixture(math.log(2))
    assert nothing == pytest.approx(p0, abs=1e-12)
    assert share == 0.0
    assert nothing[valid()].sum() == pytest.approx(p0[valid()].sum(), abs=1e-12)
    curve = [mixture(threshold) for threshold in (-1.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.69)]
    shares, good = [share for _, share in curve], [float(found[valid()].sum()) for found, _ in curve]
    assert shares == sorted(shares, reverse=True)
    assert good == sorted(good, reverse=True)
    assert all(found.sum() == pytest.approx(1.0, abs=1e-9) for found, _ in curve)
    assert good[0] == pytest.approx(1.0, abs=1e-9)
    # few places carry much: a fifth of them turns the share of valid answers from 6% into more than 40%
    assert shares[3] < 0.22
    assert good[3] > 0.44 > 0.07 > p0[valid()].sum()


def test_cross_samples_follow_the_enumerated_law():
    """1,500 answers at one threshold: share valid, share replaced and mean length within 4 standard errors, a false
    alarm of about 2 in 10,000 in all."""
    threshold = 0.1
    expected, share = mixture(threshold)
    found = shift.cross_sample(base(), law(), [PROMPT], threshold, CAP, samples=1500, seed=5, batch_size=750)[0]
    index = {tokens: at for at, tokens in enumerate(exact().responses)}
    drawn = np.array([index[each.tokens] for each in found])
    lengths = np.array([len(tokens) for tokens in exact().responses], dtype=float)
    for figure in (valid().astype(float), lengths):
        value, exact_mean = figure[drawn], float(expected @ figure)
        assert abs(value.mean() - exact_mean) < 4 * value.std() / math.sqrt(len(found))
    replaced, places = (np.array([getattr(each, name) for each in found]) for name in ("replaced", "places"))
    residual = replaced - share * places
    assert abs(residual.mean()) < 4 * residual.std() / math.sqrt(len(found))


def test_at_its_ends_cross_sampling_is_the_sampling_of_either_model():
    for threshold, model in ((1.0, base()), (-1.0, law())):
        crossed = shift.cross_sample(base(), law(), [PROMPT, PROMPT], threshold, CAP, samples=6, seed=3)
        plain = sample_base(model, [(LETTERS,), (LETTERS,)], 6, CAP, seed=3)
        assert [[each.tokens for each in row] for row in crossed] == [[each.tokens for each in row] for row in plain]
    none = shift.cross_sample(base(), law(), [PROMPT], -1.0, CAP, samples=6, seed=3, most_replaced=0)[0]
    assert [each.tokens for each in none] == [
        each.tokens for each in sample_base(base(), [(LETTERS,)], 6, CAP, seed=3)[0]
    ]
    some = shift.cross_sample(base(), law(), [PROMPT], -1.0, CAP, samples=20, seed=3, most_replaced=2)[0]
    assert max(each.replaced for each in some) == 2


def test_places_are_those_of_teacher_forcing():
    answers = [((0, 2, 4), True), ((), True), ((4,), False), ((), False), ((0,) * CAP, False)]
    found = shift.places(base(), law(), [PROMPT] * 5, answers, batch_size=2)
    assert [(each.row, each.at) for each in found] == [
        *((0, at) for at in range(4)), (1, 0), (2, 0), *((4, at) for at in range(CAP))
    ]  # fmt: skip
    for each in found:
        before = answers[each.row][0][: each.at]
        session = base().session([(LETTERS, *before)]), law().session([(LETTERS, *before)])
        one, two = (np.exp(side.log_probs()[0]) for side in session)
        assert each.divergence == pytest.approx(jensenshannon(one, two) ** 2, abs=1e-12)
        has = one > 0
        assert each.first_entropy == pytest.approx(-(one[has] * np.log(one[has])).sum(), abs=1e-12)
        assert (each.first_top, each.second_top) == (one.argmax(), two.argmax())
        assert each.mass == pytest.approx(1.0)  # six tokens are all among the ten likeliest


def test_the_summary_over_prompts():
    drawn = sample_base(base(), [(LETTERS,)] * 12, 8, CAP, seed=1)
    answers = [shift.as_answer(each) for row in drawn for each in row]
    owners = [at // 8 for at in range(96)]
    found = shift.summary(shift.places(base(), law(), [PROMPT] * 96, answers), owners)
    assert found.places == sum(len(tokens) + ended for tokens, ended in answers)
    assert found.strongest[0].divergence == max(each.divergence for each in found.strongest)
    shares = [rate.mean for _, rate in found.above]
    assert shares == sorted(shares, reverse=True)
    assert all(carried >= share for share, carried in found.carried)
    assert [first for first, _, _ in found.profile] == [0, 1, 2, 4][: len(found.profile)]
    assert 0 < found.divergence.interval.low < found.divergence.mean < found.divergence.interval.high < math.log(2)
    same = shift.summary(shift.places(base(), base(), [PROMPT] * 96, answers), owners)
    assert (same.divergence.mean, same.is_top_changed.mean, same.strongest) == (0.0, 0.0, ())
    with pytest.raises(ComparisonError, match="two prompts"):
        shift.summary(shift.places(base(), law(), [PROMPT] * 96, answers), [0] * 96)


def test_concentration_by_hand():
    values = np.array([0.0, 4.0, 1.0, 0.0])
    assert shift.concentration(values, 0.25) == 0.8
    assert shift.concentration(values, 0.375) == pytest.approx(0.9)
    assert shift.concentration(np.ones(10), 0.3) == pytest.approx(0.3)
    assert shift.concentration(np.zeros(3), 0.5) == 0.0
    with pytest.raises(ValueError, match="share above 0"):
        shift.concentration(values, 0.0)


def test_models_with_other_tokens_are_refused():
    other = TableModel(base().rows, Vocabulary((b"a", b"b", b"1", b" ", b"!", None), frozenset({5})), name="other")
    with pytest.raises(ComparisonError, match="`base` and `other` have different tokens"):
        shift.places(base(), other, [PROMPT], [((0,), True)])
    with pytest.raises(ComparisonError, match="different tokens"):
        shift.cross_sample(base(), other, [PROMPT], 0.1, CAP)
