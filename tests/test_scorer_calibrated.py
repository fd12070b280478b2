"""What all scorers with raw numbers share: from a number to an answer, or to the reason why there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bylaw.runtime.concepts.conformal import class_conformal
from bylaw.runtime.concepts.examples import HeldOut
from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.concepts.report import held_out_sets
from bylaw.runtime.concepts.text_model import fit, prepare
from bylaw.runtime.scorers import words
from bylaw.runtime.scorers._calibrated import answer, grouped_examples, not_shown, standing
from bylaw.runtime.scorers.catalog import Making
from bylaw.spec.expression import Concept

BLAMES = Concept("blames", "Blames the reader.")
POSITIVE = (1.0, *(10.0 + number / 10 for number in range(11)))
NEGATIVE = tuple(-number / 10 for number in range(12))


def told(count: int) -> tuple[LabelledText, ...]:
    return tuple(LabelledText(f"text {number}", number < count // 2) for number in range(count))


def test_a_set_on_the_other_side_of_the_threshold_is_no_answer() -> None:
    """One of twelve that do is far below the others: 2 is among them (and above all that do not), and still nearer to
    those that do not than the threshold is, halfway between the means."""
    held = standing(BLAMES, told(24), (*POSITIVE, *NEGATIVE), Making())
    assert held.lacking == ""
    assert held.calibration is not None
    assert held.calibration.sets([2.0]).tolist() == [[False, True]]
    found = answer(held, 2.0, {})
    assert (found.score, found.why) == (None, "cannot_tell")
    assert "lies on one side of the threshold and among the examples of the other" in found.reason
    assert 0 < found.record["score"] < 0.5
    assert (answer(held, 10.5, {}).score or 0) > 0.5
    assert (answer(held, -1.0, {}).score or 1) < 0.5
    among_neither = answer(held, 0.5, {})
    assert (among_neither.score, among_neither.why) == (None, "cannot_tell")
    assert "neither" in among_neither.reason


@pytest.mark.parametrize("raw", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("is_rough_allowed", [False, True])
def test_what_is_no_number_is_no_score(raw: float, is_rough_allowed: bool) -> None:
    making = Making(is_rough_allowed=is_rough_allowed)
    for held in (standing(BLAMES, told(24), (*POSITIVE, *NEGATIVE), making), standing(BLAMES, (), None, making)):
        found = answer(held, raw, {}, rough=lambda value: 0.5)
        assert (found.score, found.why) == (None, "input")


def test_groups_of_conversations_reach_the_calibration() -> None:
    labels = tuple(LabelledText(f"text {number}", number < 12, f"talk {number // 2}") for number in range(24))
    held = standing(BLAMES, labels, (*POSITIVE, *NEGATIVE), Making())
    assert held.calibration is not None
    assert held.calibration.groups == 12


LETTER = "Dear reader, your lamp from Larkmoor is on its way and should reach you on Monday at the latest"


def test_variants_of_a_text_are_one_group_with_their_conversations() -> None:
    labels = (
        LabelledText(f"{LETTER}.", True, "talk 1"),
        LabelledText("We open at nine.", False, "talk 1"),
        LabelledText(f"{LETTER}!", True, "talk 2"),
        LabelledText("The shade is made of paper.", False, "talk 3"),
        LabelledText("A cable costs four crowns.", False),
        LabelledText("A bulb has forty watts, it says.", False),
    )
    other = Concept("thanks", "Thanks the reader.", like=("Many thanks.",), unlike=(f"{LETTER} again.",))
    making = Making(labels={"blames": labels, "thanks": labels[3:]})
    found = grouped_examples((BLAMES, other), making)
    groups = [each.group for each in found["blames"]]
    assert len({groups[0], groups[1], groups[2]}) == 1
    assert groups[0]
    assert groups[3:] == ["", "", ""]
    assert [(each.text, each.expresses) for each in found["blames"]] == [(each.text, each.expresses) for each in labels]
    # the letter of another concept is nothing to this one
    assert [each.group for each in found["thanks"]] == [""] * 5


def test_variants_of_what_a_judge_is_shown_are_no_labels_of_it() -> None:
    labels = (
        LabelledText(f"  {LETTER}.", True),
        LabelledText(LETTER.upper(), True),
        LabelledText(LETTER.replace("Monday", "Friday"), True),
        LabelledText("We open at nine.", False),
        LabelledText("The shade is made of paper.", False),
    )
    assert not_shown(labels, [LETTER, "We open at nine!"]) == labels[4:]
    assert not_shown(labels, []) == labels


# ------------------------------------------------------------------------------------------ what was held out was held
SYLLABLES = ("ba", "do", "ki", "lu", "me", "no", "pa", "ri", "su", "te", "vo", "wa")


def said_by_chance(count: int, seed: int) -> list[str]:
    """Texts of invented words that have nothing in common."""
    random = np.random.default_rng(seed)
    return [" ".join("".join(random.choice(SYLLABLES, 4)) for _ in range(14)) for _ in range(count)]


def area(raw: np.ndarray, does: np.ndarray) -> float:
    return float((raw[does][:, None] > raw[~does]).mean())


def test_a_variant_is_never_on_the_other_side_of_a_fold() -> None:
    """Twins labelled by chance and in no group: whoever has seen the twin looks perfect. 30 independent pairs: an AUC
    of .8 comes by chance in fewer than 1 of 300 such sets (standard error .11); the seed is fixed."""
    chance = np.random.default_rng(4).random(30) < 0.5
    twins = tuple(
        LabelledText(f"{said} {mark}", bool(does))
        for said, does in zip(said_by_chance(30, 5), chance, strict=True)
        for mark in ("first", "second")
    )
    made = words.make((BLAMES,), Making(labels={"blames": twins}))["blames"]
    assert isinstance(made, words.WordsScorer)
    calibration = made.calibrations["blames"]
    assert calibration.groups == 30
    assert calibration.auc.value < 0.8
    assert calibration.auc.low < 0.5


def test_phrases_of_the_policy_are_held_out_too() -> None:
    """They have nothing in common, so whoever has not seen one cannot tell which kind it is."""
    phrases = said_by_chance(40, 6)
    concept = Concept("blames", "Blames.", like=tuple(phrases[:20]), unlike=tuple(phrases[20:]))
    raw = prepare((concept,), {}).out_of_fold(concept, with_phrases=True)
    assert raw is not None
    does = np.arange(40) < 20
    assert area(raw, does) < 0.75  # standard error .09
    assert area(fit((concept,), {}).raw(phrases)[:, 0], does) == 1.0


def test_a_head_has_not_seen_what_it_is_held_against() -> None:
    from bylaw.runtime.scorers._heads import fit_head, out_of_fold

    random = np.random.default_rng(7)
    features, does = random.normal(size=(60, 100)), np.arange(60) % 2 == 0
    raw = out_of_fold(features, does, [""] * 60)
    assert raw is not None
    assert area(raw, does) < 0.75  # standard error .075
    assert area(fit_head(features, does).raw(features), does) == 1.0


def test_a_sentence_in_a_long_text_is_learnt_from_labels_alone() -> None:
    """No phrase of the policy says what the concept is: only whole texts are labelled, each with other filler."""
    filler = said_by_chance(60, 8)
    told = [
        LabelledText(f"{filler[number]}. {'You broke it yourself.' if number % 2 else 'It is here.'}", number % 2 == 1)
        for number in range(40)
    ]
    fitted = fit((BLAMES,), {"blames": told})
    rest = ". ".join(filler[40:])
    texts = [f"{rest}. You broke it yourself.", f"{rest}. It is here."]
    blames, calm = fitted.raw(texts)[:, 0]
    assert blames > calm + 1
    # the sentence itself is taken for one that does, and none of the others is
    _, read, parts = fitted._raw(texts)
    said = [texts[owner][start:end] for owner, (start, end) in zip(read.owner, read.places, strict=True)]
    assert [sentence for sentence, score in zip(said, parts[:, 0], strict=True) if score > 0] == [
        "You broke it yourself."
    ]


def test_prediction_sets_are_checked_on_groups_that_they_were_not_made_from() -> None:
    random = np.random.default_rng(21)
    does = np.arange(60) % 2 == 0
    raw = random.normal(size=60) + 1.5 * does
    groups = [f"talk {number // 4}" for number in range(60)]
    held = HeldOut(
        tuple(LabelledText(f"{n}", bool(does[n]), groups[n]) for n in range(60)), tuple(float(each) for each in raw)
    )
    covered, unscored = {True: 0, False: 0}, 0
    for number in range(60):
        rest = np.arange(60) // 4 != number // 4
        may_not, may = class_conformal(raw[rest], does[rest]).sets([raw[number]], 0.1)[0]
        covered[bool(does[number])] += bool(may if does[number] else may_not)
        unscored += bool(may == may_not)
    found = held_out_sets(held, 0.1)
    assert (found.does.count, found.does_not.count, found.unscored.count) == (covered[True], covered[False], unscored)
    seen = class_conformal(raw, does).sets(raw, 0.1)
    assert (found.does.count, found.does_not.count) != (int(seen[does, 1].sum()), int(seen[~does, 0].sum()))
