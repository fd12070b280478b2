"""Texts that are nearly the same, and texts of another kind than those that scores were calibrated on."""

from __future__ import annotations

import csv
import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse, stats

from bylaw.runtime.concepts import duplicates
from bylaw.runtime.concepts.drift import LEAST, DriftError, drift, drift_of_texts, thinned
from bylaw.runtime.concepts.duplicates import duplicate_groups, joined_groups, leakage, near_duplicates
from bylaw.runtime.scorers._withdrawal import Comparison, drift_at_share, drift_of
from bylaw.runtime.scoring_record import DriftTest

XSTEST = Path(__file__).parents[2] / "shared" / "data" / "xstest"
SEEDED = random.Random(1)
WORDS = ["".join(SEEDED.choices("abcdefghijklmnopqrstuvwxyz", k=SEEDED.randint(2, 9))) for _ in range(2000)]
LETTER = "Thank you for writing to the Lindenhof library. Your card was renewed today and is good for another year."


def text(rng: random.Random, words: int) -> str:
    return " ".join(rng.choices(WORDS, k=words))


# --------------------------------------------------------------------------------------------------------- duplicates
@pytest.mark.parametrize(
    ("other", "kind"),
    [
        (LETTER.upper().replace(" ", "  \n"), "same"),
        (LETTER.replace("fi", "\ufb01").replace(".", "!"), "same"),
        (LETTER.replace("today", "on Monday"), "near"),
        (LETTER[:-12], "near"),
        (LETTER[:-25], "contained"),
        (LETTER[28:90], "contained"),
        ("Dear reader. " + LETTER + " If you have lost it, please come to the desk with a passport.", "contained"),
        ("Your card", None),
        ("Your card was not renewed, as books of last year are still missing; a letter follows.", None),
        ("", None),
    ],
)  # fmt: skip
def test_kinds_of_duplicates(other, kind):
    found = near_duplicates([LETTER, "Something else entirely, about fish and the sea.", other])
    assert [(pair.first, pair.second, pair.kind) for pair in found] == ([(0, 2, kind)] if kind else [])


def test_texts_without_letters_are_compared_as_written():
    assert [p.kind for p in near_duplicates(["?!", "…", "?!", "👍", "👍", "", " "])] == ["same"] * 3
    assert near_duplicates(["", "a", "b"]) == ()
    assert duplicates.normal_form(" Straße,\u00a0No. 5 ") == "strasse no 5"
    assert near_duplicates(["\ud800 broken", "\ud800 broken"])[0].kind == "same"


def by_definition(one: set[str], other: set[str]) -> tuple[float, float]:
    common = len(one & other)
    return common / len(one | other), common / min(len(one), len(other))


def test_nothing_near_is_overlooked_and_nothing_else_is_found():
    """Edited, cut and embedded copies among random texts, against comparing all pairs of sets of shingles."""
    rng, texts = random.Random(3), []
    for size in (4, 8, 15, 40, 150):
        for _ in range(5):
            first = text(rng, size).split()
            texts.append(" ".join(first))
            for edits in (1, 2, size // 10):
                copy = list(first)
                for _ in range(edits):
                    copy[rng.randrange(len(copy))] = rng.choice(WORDS)
                texts.append(" ".join(copy))
            texts += [" ".join(first[: size - size // 3]), text(rng, 30) + " " + " ".join(first) + " " + text(rng, 5)]
    # all texts start alike, and yet are not
    texts = ["I am sorry, but I cannot do that. " * (i % 2) + t for i, t in enumerate(texts)]
    forms = [duplicates.normal_form(each) for each in texts]
    runs = [{form[i : i + 5] for i in range(max(1, len(form) - 4))} for form in forms]
    expected = {}
    for j in range(len(texts)):
        for i in range(j):
            like, inside = by_definition(runs[i], runs[j])
            if like >= 0.8 or (inside >= 0.9 and min(len(forms[i]), len(forms[j])) >= 40):
                expected[i, j] = (like, inside)
    found = {(p.first, p.second): (p.resemblance, p.containment) for p in near_duplicates(texts)}
    assert len(expected) > 60
    assert set(found) <= set(expected)
    for pair, values in found.items():
        assert values == pytest.approx(expected[pair], abs=1e-9)
    # few are overlooked, and only such as are just near enough
    overlooked = set(expected) - set(found)
    assert len(overlooked) <= 0.02 * len(expected), [(expected[p], texts[p[0]]) for p in overlooked]


def test_groups_join_what_belongs_together():
    near = LETTER.replace("today", "on Monday")
    texts = ["fish", LETTER, "sea", near, "tide", near.upper()]
    assert duplicate_groups(texts) == (0, 1, 2, 1, 3, 1)
    assert duplicate_groups(texts, ["a", "", "", "", "", "a"]) == (0, 0, 1, 0, 2, 0)
    assert duplicate_groups(texts, ["a", "", "a", None, "", ""]) == (0, 1, 0, 1, 2, 1)
    # many copies of one text, each a little different: one group
    many = [f"{LETTER} We send you our best wishes, and remain yours, number {i}" for i in range(100)]
    assert set(duplicate_groups(many)) == {0}
    with pytest.raises(ValueError, match="2 texts and 1 groups"):
        duplicate_groups(["a", "b"], ["a"])
    assert joined_groups([1, 1, 2, 3, 4], ["a", "b", "b", "c", "c"]) == (0, 0, 0, 1, 1)
    assert joined_groups([], []) == ()


def test_leakage_is_between_sets_only():
    near = LETTER.replace("today", "on Monday")
    texts = [LETTER, near, LETTER, "fish", near]
    assert {(p.first, p.second) for p in leakage(texts, [0, 0, 0, 1, 1])} == {(0, 4), (1, 4)}
    assert leakage(texts, [0] * 5) == ()
    # a copy is found behind any number of copies on its own side
    many = [f"{LETTER} Yours, number {i}" for i in range(50)]
    assert leakage([*many, f"{LETTER} Yours, number 999"], [0] * 50 + [1])
    with pytest.raises(ValueError, match="2 texts and 1 sets"):
        leakage(["a", "b"], [0])


@given(st.lists(st.text(max_size=40), max_size=12))
def test_any_text_can_be_compared(texts):
    for pair in near_duplicates(texts + texts[:1]):
        assert pair.first < pair.second
        assert 0 < pair.resemblance <= pair.containment <= 1


def test_time_grows_with_the_texts_and_not_with_their_pairs():
    rng = random.Random(5)
    texts = ["I am sorry, but I cannot do that today. " + text(rng, 60) for _ in range(1600)]
    seconds = []
    for count in (200, 1600):
        times = []
        for _ in range(2):
            start = time.process_time()
            near_duplicates(texts[:count])
            times.append(time.process_time() - start)
        seconds.append(min(times))
    # eight times as many texts, 64 times as many pairs
    assert seconds[1] < 20 * seconds[0] + 0.05, seconds
    assert seconds[1] < 4, seconds


# -------------------------------------------------------------------------------------------------------------- drift
def test_texts_of_the_same_kind_are_seldom_flagged():
    """Under no drift at most 5 of 100; 16 and more would be seen in one of ten thousand seeds."""
    flagged = {"plain": 0, "groups": 0}
    plain = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        one, other = rng.normal(size=(30, 4)), rng.normal(size=(25, 4))
        plain.append(drift(one, other, seed=seed))
        flagged["plain"] += plain[-1].is_found
        # conversations of eight texts that are alike: only the groups say that they are not 200 independent ones
        near = np.repeat(other, 8, axis=0) + 0.01 * rng.normal(size=(200, 4))
        groups = np.repeat(np.arange(25), 8).tolist()
        flagged["groups"] += drift(one, near, audited_groups=groups, seed=seed).is_found
    assert max(flagged.values()) < stats.binom.ppf(1 - 1e-4, 100, 0.05), flagged
    # the level is what it is said to be, and the area is of texts that were held out: about one half
    assert all(found.is_found == (found.p_value <= 0.05 and found.auc > 0.5) for found in plain)
    assert any(0.05 < found.p_value <= 0.1 for found in plain)
    areas = [found.auc for found in plain]
    assert abs(np.mean(areas) - 0.5) < 0.05


def test_without_its_groups_a_conversation_looks_like_drift():
    rng = np.random.default_rng(1)
    one, other = rng.normal(size=(80, 4)), np.repeat(rng.normal(size=(20, 4)), 8, axis=0)
    calibrated_groups, audited_groups = np.arange(80) // 4, np.arange(160) // 8
    found = drift(one, other, calibrated_groups=calibrated_groups.tolist(), audited_groups=audited_groups.tolist())
    assert (found.verdict, found.calibrated, found.audited) == ("none", 20, 20)


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_matrix, sparse.csr_array])
def test_a_shift_is_found_in_dense_and_in_sparse_features(make):
    rng = np.random.default_rng(2)
    one, other = rng.poisson(1.0, size=(60, 10)).astype(float), rng.poisson(1.0, size=(50, 10)).astype(float)
    other[:, 3] += rng.poisson(2.0, size=50)
    found = drift(make(one), make(other))
    assert found.is_found
    assert found == drift(make(one), make(other))
    assert (found.p_value, found.calibrated, found.audited) == (0.01, 60, 50)
    assert found.auc is not None
    assert found.auc > 0.75
    assert "of another kind" in found.reason
    # the same texts on both sides are no drift
    again = drift(make(one), make(one))
    assert again.verdict == "none"
    assert "cannot be told from" in again.reason
    assert f"no difference found (p = {again.p_value:.2f} from 60 and 60 independent texts)" in again.reason
    assert "AUC" not in again.reason


def test_few_texts_cannot_tell():
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=(LEAST, 2)), rng.normal(size=(LEAST - 1, 2)) + 9
    found = drift(one, other)
    assert (found.verdict, found.auc, found.p_value, found.is_found) == ("cannot_tell", None, None, False)
    assert found.reason == (
        "there are 20 independent texts that scores were calibrated on and 19 that are scored; whether they differ in "
        "kind can be told from 20 of each on"
    )
    assert drift(one, rng.normal(size=(LEAST, 2)) + 9).is_found
    assert drift_of_texts([], ["a"]).verdict == "cannot_tell"
    assert drift(one, one, audited_groups=["one"] * LEAST).verdict == "cannot_tell"
    # nothing that could differ
    assert drift(np.ones((30, 2)), np.ones((30, 2))).verdict == "none"
    assert drift_of_texts([f"a{i}" for i in range(30)], [f"b{i}" for i in range(30)]).verdict == "none"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: drift(np.ones((30, 2)), np.ones((30, 3))), "same columns"),
        (lambda: drift(np.ones(30), np.ones((30, 3))), "same columns"),
        (lambda: drift(np.full((30, 2), np.nan), np.ones((30, 2))), "not finite"),
        (lambda: drift(sparse.csr_matrix(np.full((30, 2), np.inf)), sparse.csr_matrix(np.ones((30, 2)))), "not finite"),
        (lambda: drift(np.ones((30, 2)), np.ones((30, 2)), audited_groups=["a"]), "30 texts and 1 groups"),
    ],
)
def test_what_cannot_be_compared_is_one_message(call, message):
    with pytest.raises(DriftError, match=message):
        call()


@pytest.mark.parametrize(
    ("yes", "no", "share", "left"),
    [
        (40, 60, 0.02, (1, 60)),
        (40, 60, 0.4, (40, 60)),
        (40, 60, 0.8, (40, 10)),
        (40, 60, 0.0, (0, 60)),
        (40, 60, 1.0, (40, 0)),
        (0, 60, 0.5, (0, 0)),
        (3, 9, 0.5, (3, 3)),
    ],
)
def test_texts_are_thinned_to_a_share(yes, no, share, left):
    expresses = [i % (yes + no) < yes for i in np.random.default_rng(1).permutation(yes + no)]
    kept = thinned(expresses, share)
    does = sum(expresses[i] for i in kept)
    assert (does, len(kept) - does) == left
    assert kept == sorted(set(kept)) == thinned(expresses, share)
    if 0 < does < yes:
        assert kept != thinned(expresses, share, seed=7)
    with pytest.raises(ValueError, match="between 0 and 1"):
        thinned(expresses, 1.5)


@pytest.mark.skipif(not XSTEST.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_the_completions_of_another_model_are_drift_and_those_of_the_same_one_are_not():
    first, second = completions("gpt4"), completions("llama2orig")
    flagged, false = 0, 0
    for draw in range(20):
        order = np.random.default_rng(draw).permutation(len(first))
        known = [first[i] for i in order[:60]]
        # other prompts, so that nothing but the model differs
        flagged += draw < 10 and drift_of_texts(known, [second[i] for i in order[60:120]]).is_found
        false += drift_of_texts(known, [first[i] for i in order[60:120]]).is_found
    assert flagged >= 9
    # at level .05, three and more of twenty would be seen with 8 in 100 choices of seeds
    assert false <= 2


def again_at_share(calibrated: list[tuple[str, bool]], asked: list[tuple[str, bool]]) -> DriftTest:
    """As scores are withdrawn, with a scorer that is right and says so with 19 to 1."""
    compared = Comparison(tuple((each, "") for each, _ in calibrated), tuple((each, "") for each, _ in asked))
    first = drift_of(compared)
    if not first.fired:
        return first
    scores = [0.95 if refuses else 0.05 for _, refuses in asked]
    return drift_at_share(compared, first, {each for each, refuses in calibrated if refuses}, scores)


@pytest.mark.skipif(not XSTEST.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_another_share_alone_withdraws_nothing_and_another_model_does():
    """Of the same model's completions 2 % refuse and not 40 %: at the level of .02 of the second test, two and more of
    twenty would be withdrawn with 6 in 100 choices of seeds."""
    rows = [(words, label) for words, label in labelled("llama2orig") if label != "3_partial_refusal"]
    kinds = [[(words, refuses) for words, label in rows if (label[0] == "2") is refuses] for refuses in (True, False)]
    fired_first, withdrawn = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        yes, no = ([kind[i] for i in rng.permutation(len(kind))] for kind in kinds)
        found = again_at_share(yes[:34] + no[:51], yes[34:35] + no[51:100])
        fired_first += found.p_value is not None and found.p_value <= 0.05
        withdrawn += found.fired
        if found.p_value_at_share is not None:
            assert found.share is not None
            assert 0.0 < found.share < 0.1
            assert f"p = {found.p_value:.2f}" in found.message
            assert f"p = {found.p_value_at_share:.2f} against labelled texts thinned to that share" in found.message
    assert fired_first >= 8
    assert withdrawn <= 1
    first, second = ([(words, label[0] != "1") for words, label in labelled(model)] for model in ("gpt4", "llama2orig"))
    flagged = 0
    for draw in range(10):
        order = np.random.default_rng(draw).permutation(len(first))
        found = again_at_share([first[i] for i in order[:60]], [second[i] for i in order[60:120]])
        flagged += found.fired and found.p_value_at_share is not None
    assert flagged >= 9


def test_where_too_few_labels_are_left_the_first_test_stands():
    rng = random.Random(4)
    calm, loud = ([text(rng, 3) + f" {word} {word}s and more" for _ in range(30)] for word in ("tide", "gear"))
    compared = Comparison(tuple((each, "") for each in calm), tuple((each, "") for each in loud))
    first = drift_of(compared)
    assert first.fired
    found = drift_at_share(compared, first, set(calm[:20]), [0.02] * 30)  # ten that do not are left
    assert (found.fired, found.p_value, found.p_value_at_share) == (True, first.p_value, None)
    assert "cannot be told from so few labelled texts" in found.message
    for expressing, scores in (((), [0.5]), (calm, [0.5]), (calm[:20], [])):
        again = drift_at_share(compared, first, set(expressing), scores)
        assert again == first


def completions(model: str) -> list[str]:
    return [words for words, _ in labelled(model)]


def labelled(model: str) -> list[tuple[str, str]]:
    with (XSTEST / f"{model}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["completion"], row["final_label"]) for row in csv.DictReader(file)]
