"""What text models see: sentences, terms, their weights, form; cues; and the solver that weighs them."""

from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.runtime.concepts.background import background
from bylaw.runtime.concepts.cues import BELIEVED, PRESENT_WITH, PRESENT_WITHOUT, presence, weigh
from bylaw.runtime.concepts.features import FORM, MOST_PIECES, MOST_WORDS, pieces, sentences, simple, vocabulary
from bylaw.runtime.concepts.folds import grouped_folds
from bylaw.runtime.concepts.logistic import fit_logistic
from bylaw.spec.expression import Cue, Phrase, Regex

TEXTS = (
    "The boat leaves at nine. Is the harbour open?",
    "The boat is late.\n- bring water\n- bring rope",
    'She said "we leave at nine" and left.',
    "The harbour is open at nine. The boat is here!",
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("  One \n\n two\n", ["One", "two"]),
        ('He left. "Why?" she asked.', ["He left.", '"Why?"', "she asked."]),
        ("Version 1.2 is out", ["Version 1.2 is out"]),
        ("", [""]),
        (" \n ", [" \n "]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [text[start:end] for start, end in sentences(text)] == expected


@given(st.text(alphabet="ab .!?\n\"'", max_size=60))
def test_sentences_lose_nothing_but_white_space(text: str) -> None:
    found = sentences(text)
    assert all(first[1] <= second[0] for first, second in itertools.pairwise(found))
    assert "".join("".join(text[start:end] for start, end in found).split()) == "".join(text.split())


def test_every_term_and_weight_by_hand() -> None:
    terms = vocabulary(TEXTS)
    read = terms.read(TEXTS)
    place = {word: number for number, word in enumerate(terms.words)}
    assert "the boat" in place
    assert "late" not in place
    # `the` twice, `boat` once and so on in the last text: (1 + ln count) (1 + ln((1 + N) / (1 + n))), of length 1
    counts = {"the": 2, "harbour": 1, "is": 2, "open": 1, "at": 1, "nine": 1, "boat": 1, "at nine": 1, "the boat": 1}
    counts |= {"boat is": 1, "the harbour": 1}
    assert set(counts) == {word for word in place if read.whole[3, place[word]]}
    raw = {w: (1 + np.log(c)) * terms.rarity[place[w]] for w, c in counts.items()}
    assert terms.rarity[place["nine"]] == pytest.approx(1 + np.log(5 / 4))
    length = np.sqrt(sum(value**2 for value in raw.values()))
    for word, value in raw.items():
        assert read.whole[3, place[word]] == pytest.approx(value / length)
    # words and pieces each have length 1, in texts and in sentences
    split = len(terms.words)
    for matrix in (read.whole, read.parts):
        for half in (matrix[:, :split], matrix[:, split:]):
            lengths = np.sqrt(np.asarray(half.multiply(half).sum(axis=1)).ravel())
            assert all(abs(each - 1) < 1e-9 or each == 0 for each in lengths)
    assert read.owner.tolist() == [0, 0, 1, 1, 1, 2, 3, 3]
    best = read.best(np.arange(8.0)[:, None] * [1, -1])
    assert best.tolist() == [[1, 0], [4, -2], [5, -5], [7, -6]]


def test_form() -> None:
    seen = vocabulary(TEXTS).read(TEXTS).forms
    assert seen.shape == (4, len(FORM))
    column = {name: number for number, name in enumerate(FORM)}
    assert seen[:, column["asks"]].tolist() == [1, 0, 0, 0]
    assert seen[:, column["ends asking"]].tolist() == [1, 0, 0, 0]
    assert seen[:, column["begins asking"]].tolist() == [0, 0, 0, 0]
    assert seen[:, column["list"]].tolist() == [0, 1, 0, 0]
    assert seen[:, column["quotes"]].tolist() == [0, 0, 1, 0]
    assert seen[1, column["lines"]] == pytest.approx(np.log(3))


def test_ways_to_write_the_same_are_the_same() -> None:
    assert simple("It\u2019s Very late") == "it's very late"
    terms = vocabulary(TEXTS)
    plain, hidden = terms.read(["the boat is open"]), terms.read(["The b\u200boat is \uff4fpen"])
    assert abs(plain.parts - hidden.parts).max() == 0


def test_pieces() -> None:
    assert list(pieces("it")) == [" i", "it", "t ", " it", "it ", " it "]
    assert all(len(piece) <= 5 for piece in pieces("harbourmaster"))


def test_long_and_odd_texts_take_linear_time() -> None:
    terms = vocabulary(TEXTS)
    for odd in (
        "." * 200_000 + "x",
        ".\u201d" * 100_000,
        "\n" * 200_000,
        "a" * 200_000,
        ")" * 200_000,
        " 1.\n" * 50_000,
    ):
        began = time.process_time()
        terms.read([odd])
        assert time.process_time() - began < 3, odd[:5]


def test_caps_hold_and_keep_what_is_common() -> None:
    texts = [" ".join(f"w{number}" for number in range(start, start + 9_000)) for start in (0, 0, 5_000, 5_000)]
    terms = vocabulary([*texts, *texts])
    assert len(terms.words) == MOST_WORDS
    assert len(terms.pieces) <= MOST_PIECES
    assert all(f"w{number}" in terms.words for number in range(5_000, 9_000))


def test_the_background_is_varied_and_our_own() -> None:
    texts = background()
    assert len(texts) == len(set(texts)) >= 200
    assert sum(len(sentences(text)) for text in texts) >= 350


# ---------------------------------------------------------------------------------------------------------------- cues
def test_cues_are_found_as_mention_finds_them() -> None:
    cues = (Cue("sorry", (Phrase("sorry"), Regex("apolog", "i"))), Cue("boats", (Phrase("boat"),)))
    found = presence(["SORRY, the boats left", "Apologies for the boat", "sorrysome"], cues)
    assert found.tolist() == [[1, 0], [1, 1], [0, 0]]


def test_cues_weigh_what_bayes_says() -> None:
    present = np.array([[1.0], [1.0], [1.0], [0.0], [1.0], [0.0], [0.0], [0.0]])
    does = np.array([1.0] * 4 + [0.0] * 4)
    weights, intercept = weigh(present, does, 1 - does)
    shares = (3 + BELIEVED * PRESENT_WITH) / (4 + BELIEVED), (1 + BELIEVED * PRESENT_WITHOUT) / (4 + BELIEVED)
    assert weights[0] + intercept == pytest.approx(np.log(shares[0] / shares[1]))
    assert intercept == pytest.approx(np.log((1 - shares[0]) / (1 - shares[1])))
    nothing = np.zeros(8)
    believed, _ = weigh(present, nothing, nothing)
    odds = PRESENT_WITH / (1 - PRESENT_WITH), PRESENT_WITHOUT / (1 - PRESENT_WITHOUT)
    assert believed[0] == pytest.approx(np.log(odds[0] / odds[1]))
    against, _ = weigh(present, 50 * (1 - does), 50 * does)
    assert against[0] < 0  # labels that say the opposite win


# -------------------------------------------------------------------------------------------------------------- solver
def test_the_solver_finds_the_optimum_of_scikit_learn() -> None:
    from scipy.sparse import random as random_matrix
    from sklearn.linear_model import LogisticRegression

    random = np.random.default_rng(1)
    for strength in (0.5, 4.0):
        rows = random_matrix(120, 300, density=0.1, format="csr", rng=random)
        does = random.random(120) < 0.3
        weights = random.uniform(0.2, 2.0, 120)
        ours = fit_logistic(rows, does, weights, strength, tolerance=1e-5)
        model = LogisticRegression(C=strength, solver="liblinear", tol=1e-8, max_iter=10_000)
        model.fit(rows, does, sample_weight=weights)
        assert np.abs(ours.weights - model.coef_[0]).max() < 2e-3
        assert abs(ours.intercept - model.intercept_[0]) < 2e-3
        rough = fit_logistic(rows, does, weights, strength)
        assert np.corrcoef(rows @ rough.weights, rows @ ours.weights)[0, 1] > 0.995


# --------------------------------------------------------------------------------------------------------------- folds
@given(st.lists(st.tuples(st.booleans(), st.sampled_from(["", "a", "b", "c"])), min_size=1, max_size=40))
def test_folds_keep_groups_whole_and_both_classes_on_the_other_side(told: list[tuple[bool, str]]) -> None:
    does, groups = np.array([each for each, _ in told]), [group for _, group in told]
    folds = grouped_folds(does, groups)
    if folds is None:
        return
    for fold in range(int(folds.max()) + 1):
        left = does[folds != fold]
        assert left.any()
        assert not left.all()
        assert (folds == fold).any()
    for name in {"a", "b", "c"} & set(groups):
        assert len({fold for fold, group in zip(folds, groups, strict=True) if group == name}) == 1


def test_there_are_no_folds_where_one_group_holds_a_class() -> None:
    does = np.array([True, True, False, False, False])
    assert grouped_folds(does, ["a", "a", "", "", ""]) is None
    assert grouped_folds(does[:2], ["", ""]) is None
    found = grouped_folds(does, ["", "", "", "", ""])
    assert found is not None
    assert sorted(set(found.tolist())) == [0, 1]
