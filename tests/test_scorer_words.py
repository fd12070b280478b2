"""The default scorer: from examples and labels to scores that were held against texts it has not seen."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.concepts.report import held_out_sets
from bylaw.runtime.concepts.text_model import FittedConcepts, fit, prepare
from bylaw.runtime.scorers import words
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import Question, Scored, ScorerError
from bylaw.spec.expression import Concept, Cue, Phrase

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "openai_rbr"
BLAMES = Concept(
    "blames_user",
    "Says that a problem is the reader's own fault.",
    like=("You should have read the manual.", "This is your own fault.", "You broke it yourself."),
    unlike=("The manual has a page on this.", "The fault is in the lamp."),
)
PLAIN = Concept("thanks", "Thanks the reader.", like=("Thank you for writing to us.", "Many thanks for your order."))
NEUTRAL = (
    "Your lamp from Larkmoor is on its way.", "The parcel left our store on Monday.", "The shade is made of paper.",
    "We open at nine on weekdays.", "The bulb has forty watts.", "A new cable costs four crowns.",
    "The receipt is in the box.", "Turn the switch to the left.", "The guide is on our page.",
    "Finchwell delivers to all towns on the coast.",
)  # fmt: skip
BLAMING = (
    "You dropped it yourself, so it is your own fault.", "You should have read the guide first.",
    "This only happened because you did not listen.", "You broke the switch by being careless.",
    "It is your own mistake that the cable is torn.", "You should have kept the receipt, that is your fault.",
)  # fmt: skip
CALM = ("The cable is torn.", "The switch is broken.", "The guide has a page on this.", "It was dropped on the way.")


def letters(count: int, seed: int = 0) -> tuple[LabelledText, ...]:
    """Answers of an invented shop; every other one has a sentence that blames, the rest one on the same matter."""
    random = np.random.default_rng(seed)
    found = []
    for number in range(count):
        blames = number % 2 == 0
        said = [str(each) for each in random.choice(NEUTRAL, 4, replace=False)]
        said.insert(int(random.integers(0, 5)), str(random.choice(BLAMING if blames else CALM)))
        found.append(LabelledText(f"Dear customer {seed}{number}, {' '.join(said)}", blames, f"talk {number // 2}"))
    return tuple(found)


@pytest.fixture(scope="module")
def labelled() -> Making:
    return Making(labels={"blames_user": letters(60)})


@pytest.fixture(scope="module")
def scorer(labelled: Making) -> words.WordsScorer:
    found = words.make((BLAMES, PLAIN), labelled)
    assert found["blames_user"] is found["thanks"]
    assert isinstance(found["thanks"], words.WordsScorer)
    return found["thanks"]


def ask(scorer: words.WordsScorer, *texts: str, concept: Concept = BLAMES) -> list[Scored]:
    return scorer.score([Question(concept, text) for text in texts])


def test_texts_that_nobody_labelled_are_scored(scorer: words.WordsScorer) -> None:
    fresh = letters(40, seed=5)
    found = ask(scorer, *(each.text for each in fresh))
    scored = [(each, answer) for each, answer in zip(fresh, found, strict=True) if answer.score is not None]
    assert len(scored) >= 30
    right = [(answer.score or 0) > 0.5 for each, answer in scored if each.expresses]
    wrong = [(answer.score or 0) > 0.5 for each, answer in scored if not each.expresses]
    assert np.mean(right) >= 0.9
    assert np.mean(wrong) <= 0.1
    assert all(answer.why == "cannot_tell" for answer in found if answer.score is None)
    calibration = scorer.calibrations["blames_user"]
    assert calibration.auc.value > 0.95
    assert (calibration.positives, calibration.negatives) == (30, 30)  # labelled texts suffice, so they alone count
    assert len(scorer.held_out["blames_user"].raw) == 60


def test_passages_are_what_was_seen_and_only_where_it_counts(scorer: words.WordsScorer) -> None:
    fresh = letters(40, seed=6)
    answers = ask(scorer, *(each.text for each in fresh))
    hits = [
        any(each.text[start:end] in sentence or sentence in each.text[start:end] for start, end in answer.passages)
        for each, answer in zip(fresh, answers, strict=True)
        if each.expresses and answer.score is not None and answer.score > 0.5
        for sentence in BLAMING
        if sentence in each.text
    ]
    assert np.mean(hits) >= 0.9
    assert not any(each.passages for each in answers if each.score is not None and each.score < 0.5)


def test_filler_and_invisible_characters_hide_nothing(scorer: words.WordsScorer) -> None:
    text = letters(1)[0].text
    filler = " ".join(NEUTRAL) + " "
    alone, behind, hidden = scorer.fitted.raw([text, 50 * filler + text, "\u200b".join(text)])[:, 0]
    assert hidden == pytest.approx(alone, abs=1e-6)
    spaced = "\u200b".join(text)
    places = scorer.fitted.look([spaced])[1][0][0]
    shown = [spaced[start:end].replace("\u200b", "") for start, end in places]
    assert any(sentence in place for place in shown for sentence in BLAMING)
    best = [scorer.fitted.look([each])[0][0, 0] for each in (50 * filler, 50 * filler + text)]
    assert best[1] > best[0] + 0.5  # the sentence that blames is still seen
    assert behind == best[1]


def test_without_enough_examples_it_says_what_is_missing(scorer: words.WordsScorer, labelled: Making) -> None:
    [answer] = ask(scorer, "Thank you for the parcel.", concept=PLAIN)
    assert (answer.score, answer.why) == (None, "uncalibrated")
    assert "`thanks` has 2 examples that do and 0 that do not; 9 of each are needed" in answer.reason
    rough = words.make((BLAMES, PLAIN), replace(labelled, is_rough_allowed=True))["thanks"]
    thankful, cold = rough.score([Question(PLAIN, text) for text in ("Thank you for the parcel.", "It is raining.")])
    assert thankful.score is not None
    assert cold.score is not None
    assert thankful.score > cold.score
    assert (thankful.low, thankful.high, thankful.record["rough"]) == (0, 1, True)


def test_nothing_known_is_no_score_even_where_rough_ones_count() -> None:
    bare = Concept("calm", "Is calm.")
    cued = replace(bare, name="sorry", cues=(Cue("sorry", (Phrase("sorry"),)),))
    made = words.make((bare, cued), Making(is_rough_allowed=True))
    [answer] = made["calm"].score([Question(bare, "Hm.")])
    assert (answer.score, answer.why) == (None, "uncalibrated")
    sorry, not_sorry = made["sorry"].score([Question(cued, text) for text in ("Sorry, no.", "No.")])
    assert sorry.score is not None
    assert not_sorry.score is not None
    assert sorry.score > not_sorry.score


def test_nine_examples_of_each_in_the_policy_suffice() -> None:
    concept = Concept(
        "blames_user",
        "Blames.",
        like=(*BLAMING, "You did it.", "It is your own fault again.", "You should have known."),
        unlike=(*CALM, *NEUTRAL[:5]),
    )
    made = words.make((concept,), Making())["blames_user"]
    assert isinstance(made, words.WordsScorer)
    assert made.calibrations["blames_user"].positives == 9
    [answer] = made.score([Question(concept, "It is your own fault that you dropped it.")])
    assert answer.score is not None
    assert answer.score > 0.5


def test_cues_help_where_examples_are_few() -> None:
    """Letters that blame in words that no example has, but one lexicon."""
    cued = replace(BLAMES, cues=(Cue("blame", (Phrase("to blame"), Phrase("serves you right"))),))
    texts = ["Serves you right, the lamp is gone.", "The lamp is gone, and only you are to blame.", "The lamp is gone."]
    with_cues, without = (fit((each,), {}).raw(texts)[:, 0] for each in (cued, BLAMES))
    assert min(with_cues[:2]) - with_cues[2] > max(0.0, min(without[:2]) - without[2]) + 1


def test_labels_that_mean_nothing_get_no_good_figures() -> None:
    """Twins in one group, labelled by chance: whoever sees a twin in training would look perfect. 60 groups: an AUC
    beyond .70 comes by chance in about 1 of 250 such sets (standard error .075); the seed is fixed."""
    random = np.random.default_rng(3)
    told = []
    for number, chance in enumerate(random.random(60) < 0.5):
        text = " ".join(str(each) for each in random.choice(NEUTRAL, 3, replace=False))
        told += [LabelledText(f"{text} {number}{twin}", bool(chance), f"group {number}") for twin in ("a", "b")]
    bare = replace(BLAMES, like=(), unlike=())
    raw = prepare((bare,), {"blames_user": told}).out_of_fold(bare, with_phrases=False)
    assert raw is not None
    does = np.array([each.expresses for each in told])
    assert 0.3 < (raw[does][:, None] > raw[~does]).mean() < 0.7


def test_the_same_input_gives_the_same_scorer_and_another_label_another(
    scorer: words.WordsScorer, labelled: Making
) -> None:
    again = words.make((BLAMES, PLAIN), labelled)["thanks"]
    assert again.digest == scorer.digest
    other = words.make((BLAMES, PLAIN), Making(labels={"blames_user": letters(58)}))["thanks"]
    assert other.digest != scorer.digest


def test_an_argument_is_refused() -> None:
    with pytest.raises(ScorerError, match="`words` takes no argument, not `fast`"):
        words.make((replace(BLAMES, scorer="words", scorer_argument="fast"),), Making())


# --------------------------------------------------------------------------------------------------------------- files
@pytest.fixture(scope="module")
def saved(scorer: words.WordsScorer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted")
    scorer.save(folder)
    return folder


def test_what_was_saved_answers_as_before(scorer: words.WordsScorer, labelled: Making, saved: Path) -> None:
    read = words.make((BLAMES, PLAIN), replace(labelled, options={"words": saved}))["thanks"]
    assert isinstance(read, words.WordsScorer)
    assert read.digest == scorer.digest
    texts = [each.text for each in letters(10, seed=8)]
    found = [(each.score, each.low, each.passages) for each in ask(read, *texts)]
    assert found == [(each.score, each.low, each.passages) for each in ask(scorer, *texts)]
    assert not any(path.suffix in (".pkl", ".pickle") for path in saved.iterdir())
    one = words.make((BLAMES,), replace(labelled, options={"words": saved}))["blames_user"]  # a part of it
    assert isinstance(one, words.WordsScorer)
    assert [each.score for each in ask(one, *texts)] == [score for score, _, _ in found]


def test_other_labels_than_those_that_were_saved_are_fitted(
    scorer: words.WordsScorer, labelled: Making, saved: Path
) -> None:
    more = Making(labels={"blames_user": (*letters(60), *letters(4, seed=9))}, options={"words": saved})
    found = words.make((BLAMES, PLAIN), more)["thanks"]
    assert isinstance(found, words.WordsScorer)
    assert found.digest != scorer.digest
    assert found.calibrations["blames_user"].positives == 32


def _header(change: Callable[[dict[str, object]], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        digest, about = (folder / "concepts.json").read_text(encoding="utf-8").splitlines()
        data = json.loads(about)
        change(data)
        (folder / "concepts.json").write_text(f"{digest}\n{json.dumps(data)}\n", encoding="utf-8")

    return damage


def _arrays(change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:  # type: ignore[type-arg]
    def damage(folder: Path) -> None:
        with np.load(folder / "concepts.npz") as held:
            arrays = dict(held)
        change(arrays)
        np.savez(folder / "concepts.npz", **arrays)

    return damage


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda folder: (folder / "concepts.npz").unlink(), "cannot be read: no such file"),
    "no header": (lambda folder: (folder / "concepts.json").unlink(), "cannot be read: no such file"),
    "not JSON": (lambda folder: (folder / "concepts.json").write_text("x\ny\n"), "no models that this version wrote"),
    "version": (_header(lambda data: data.update(version=9)), "version 9, and this program reads 1"),
    "names": (_header(lambda data: data.update(names=["a", "a"])), "one stands there twice"),
    "no texts": (_header(lambda data: data.update(words=[1])), "`words` is no list of texts"),
    "fewer": (_header(lambda data: data["words"].pop()), "numbers of shape"),  # type: ignore[attr-defined]
    "a word": (_header(lambda data: data["words"].__setitem__(0, "!!")), "changed since"),  # type: ignore[attr-defined]
    "a pattern": (_header(lambda data: data.update(cues=[{"lexicon": "l", "matchers": [{"regex": "(", "flags": ""}]}])),
                  "no models that this version wrote"),
    "not finite": (_arrays(lambda held: held["part"].fill(np.nan)), "all finite"),
    "another number": (_arrays(lambda held: held["part"].fill(0)), "changed since"),
    "a pickle": (_arrays(lambda held: held.update(part=np.array([{}], dtype=object))), "no models that this version"),
    "a type": (_arrays(lambda held: held.update(part=held["part"].astype(float))), "no float32 numbers"),
    "no zip": (lambda folder: (folder / "concepts.npz").write_bytes(b"x"), "no models that this version wrote"),
    "no raw scores": (lambda folder: (folder / "raw.json").unlink(), "cannot be read: no such file"),
    "raw scores": (lambda folder: (folder / "raw.json").write_text("[]"), "nothing that this version wrote"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_folder_is_one_message(kind: str, labelled: Making, saved: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fitted"
    shutil.copytree(saved, folder)
    damage, said = DAMAGE[kind]
    damage(folder)
    with pytest.raises(ScorerError, match=said):
        words.make((BLAMES, PLAIN), replace(labelled, options={"words": folder}))


class Planted:
    """What a pickle would run on being read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.place),)


def test_no_pickle_is_read_and_nothing_is_unpacked_beyond_its_limit(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "fitted"
    shutil.copytree(saved, folder)
    _arrays(lambda held: held.update(part=np.array([Planted(tmp_path / "run")], dtype=object)))(folder)
    with pytest.raises(ScorerError, match="no models that this version wrote"):
        FittedConcepts.load(folder)
    assert not (tmp_path / "run").exists()
    with np.load(saved / "concepts.npz", allow_pickle=False) as held:
        np.savez_compressed(folder / "concepts.npz", **dict(held), more=np.zeros(10_000_000))
    size = (folder / "concepts.npz").stat().st_size
    monkeypatch.setattr("bylaw.runtime.concepts.text_files.LARGEST", max(size, 40_000_000))
    with pytest.raises(ScorerError, match="unpacks to more than"):
        FittedConcepts.load(folder)


def test_fitted_models_are_small_and_say_the_same_alone_and_together(scorer: words.WordsScorer) -> None:
    fitted = scorer.fitted
    assert isinstance(fitted, FittedConcepts)
    assert fitted.bytes / len(fitted.names) <= 300_000
    texts = [each.text for each in letters(6, seed=4)] + ["", "?", "\n"]
    together = fitted.raw(texts)
    assert np.abs(together - np.concatenate([fitted.raw([text]) for text in texts])).max() < 1e-6
    assert np.isfinite(together).all()


# ------------------------------------------------------------------------------------------------------------ real data
@pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_propositions_of_people_in_real_completions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the conversations say what the other half holds (tests/bench/bench_concepts.py: five folds, all
    figures). Deterministic, so the bounds are what was found (.913, 0.9 ms, 40 ms) with a margin for other machines."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).with_name("bench"))])
    import bench_concepts as bench

    data = bench.gold()
    told = bench.concepts(data.names)
    train, out = np.flatnonzero(data.fold % 2 == 0), np.flatnonzero(data.fold % 2 == 1)
    prepared = prepare(told, {each.name: bench.labelled(data, k, train) for k, each in enumerate(told)})
    began = time.process_time()
    fitted = prepared.fit()
    assert (time.process_time() - began) / len(told) < 0.3
    began = time.process_time()
    raw = fitted.raw([data.texts[row] for row in out])
    assert (time.process_time() - began) / len(out) < 0.009
    labels = data.labels[out]
    area = [(raw[does, k][:, None] > raw[~does, k]).mean() for k, does in enumerate(labels.T)]
    assert np.mean(area) >= 0.89
    assert fitted.bytes / len(told) <= 300_000


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_what_the_scorer_says_of_itself_on_propositions_of_people(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nineteen propositions, five folds by conversation, as the scorer itself measures them; a mean area of .927, a
    balanced accuracy of .871 (always the same answer: .50, which is right for .81 of all texts) and a calibration error
    of .034 were found. Deterministic but for the last digits."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).with_name("bench"))])
    import bench_concepts as bench

    data = bench.gold()
    told = bench.concepts(data.names)
    rows = np.arange(len(data.texts))
    labels = {each.name: bench.labelled(data, k, rows) for k, each in enumerate(told)}
    made = words.make(tuple(told), Making(labels=labels))[told[0].name]
    assert isinstance(made, words.WordsScorer)
    known = [made.calibrations[each.name] for each in told]
    # all texts but copies: seven of the completions are empty
    assert {each.positives + each.negatives for each in known} == {len(set(data.texts))}
    assert np.mean([each.auc.value for each in known]) >= 0.92
    assert np.mean([each.balanced_accuracy.value for each in known]) >= 0.86
    assert np.mean([each.ece for each in known]) <= 0.05
    assert np.mean([each.majority_accuracy for each in known]) == pytest.approx(0.81, abs=0.01)
    # Sets that were made from the other conversations: that they hold each class is their construction, how seldom they
    # say nothing is what the scores are good for (bench_conformal.py tries them on folds that nothing was made from).
    sets = [held_out_sets(made.held_out[each.name], 0.1) for each in told]
    assert min(each.does.value for each in sets) >= 0.87
    assert min(each.does_not.value for each in sets) >= 0.87
    assert np.mean([each.unscored.value for each in sets]) <= 0.25


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_phrases_and_patterns_alone_say_much_of_real_completions(monkeypatch: pytest.MonkeyPatch) -> None:
    """No label at all: found are a mean area of .853 and a balanced accuracy of .789 (one half is chance)."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).with_name("bench"))])
    import bench_concepts as bench

    data = bench.gold()
    raw = fit(bench.concepts(data.names), {}).raw(data.texts)
    assert bench.area(data, raw).mean() >= 0.84
    assert bench.balanced(data, 1 / (1 + np.exp(-raw))).mean() >= 0.77
