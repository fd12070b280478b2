"""What judges are worth, and rates freed of their errors: printed values, people's labels, and coverage by simulation.

Simulations draw with fixed seeds. Their limits fail a right interval (one that covers 95 % of draws) in fewer than one
of a thousand seeds; the intervals meant for few labels are wider than that.
"""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path
from statistics import variance

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bylaw.runtime.judges.correction import (
    CorrectionError,
    JudgeQuality,
    prediction_powered,
    quality,
    quality_of_counts,
    rogan_gladen,
)
from bylaw.runtime.judges.label_sheet import SheetRow, stratified
from bylaw.runtime.record import Interval

DATA = Path(__file__).parents[2] / "shared" / "data" / "xstest"
PEOPLE, JUDGE = [1, 0, 1, 1, 0, 1, 0, 1], [1, 0, 1, 0, 0, 1, 1, 1]
REST = [1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0]
BITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60)


def pair(interval: Interval | None) -> tuple[float, float]:
    assert interval is not None
    return interval.low, interval.high


# ------------------------------------------------------------------------------------------------------ printed values
def test_rogan_and_gladen_with_the_interval_of_lang_and_reiczigel():
    found = rogan_gladen(300, 1000, quality_of_counts(85, 10, 15, 90))
    assert found.value == pytest.approx(0.266667, abs=5e-7)
    assert found.standard_error == pytest.approx(0.03735, abs=5e-6)
    assert pair(found.interval) == pytest.approx((0.183687, 0.335598), abs=5e-7)
    assert (found.judged, found.labelled, found.audited, found.power) == (0.3, 200, 1000, None)


def test_prediction_powered_mean_with_the_divisor_n_minus_1():
    found = prediction_powered(PEOPLE, JUDGE, REST)
    assert found.power == pytest.approx(0.313187, abs=5e-7)
    assert found.value == pytest.approx(0.638049, abs=5e-7)
    assert found.standard_error == pytest.approx(0.170178, abs=5e-7)
    assert prediction_powered(PEOPLE, JUDGE, REST, power=1).value == pytest.approx(0.666667, abs=5e-7)
    # what ppi_py, with the divisor n, takes for the best part of the verdicts, and then gets
    assert prediction_powered(PEOPLE, JUDGE, REST, power=0.27404).value == pytest.approx(0.636418, abs=5e-6)
    assert quality(PEOPLE, JUDGE).kappa == pytest.approx(0.466667, abs=5e-7)


@pytest.mark.parametrize(
    ("model", "people", "judged", "sensitivity", "specificity", "kappa"),
    [("gpt4", 0.489, 0.427, 0.873, 1.000, 0.875), ("llama2orig", 0.776, 0.578, 0.739, 0.980, 0.548)],
)
@pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_a_judge_against_people_on_two_models(model, people, judged, sensitivity, specificity, kappa):
    labels, verdicts = xstest(model)
    found = quality(labels, verdicts)
    assert sum(labels) / len(labels) == pytest.approx(people, abs=5e-4)
    assert sum(verdicts) / len(verdicts) == pytest.approx(judged, abs=5e-4)
    values = (found.sensitivity, found.specificity, found.kappa)
    assert values == pytest.approx((sensitivity, specificity, kappa), abs=5e-4)
    # all texts are labelled, so that the correction gives back exactly what people say
    corrected = rogan_gladen(sum(verdicts), len(verdicts), found)
    assert corrected.value == pytest.approx(sum(labels) / len(labels), abs=1e-12)
    assert abs(corrected.judged - corrected.value) > 0.05


@pytest.mark.skipif(not DATA.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_labels_of_a_third_of_the_texts_undo_a_bias_of_twenty_points():
    labels, verdicts = xstest("llama2orig")
    rng, truth, covered, better = random.Random(11), sum(labels) / len(labels), 0, 0
    for _ in range(40):
        order = rng.sample(range(len(labels)), len(labels))
        chosen, rest = order[:150], order[150:]
        found = prediction_powered(
            [labels[i] for i in chosen], [verdicts[i] for i in chosen], [verdicts[i] for i in rest]
        )
        covered += found.interval.low <= truth <= found.interval.high
        better += abs(found.value - truth) < abs(found.judged - truth)
    # the texts are all there are, and a third of them is labelled: the interval is too wide rather than too short
    assert covered >= 38
    assert better == 40


def xstest(model: str) -> tuple[list[bool], list[bool]]:
    """Refusals, full or partial: by people, by the judge."""
    with (DATA / f"{model}.gpt_judge.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple([row[name] != "1_full_compliance" for row in rows] for name in ("final_label", "gpt4_label"))  # type: ignore[return-value]


# ------------------------------------------------------------------------------------------------------ what must hold
@settings(max_examples=40)
@given(BITS, st.lists(st.booleans(), min_size=2, max_size=60))
def test_without_verdicts_the_labels_stand_alone(pairs, rest):
    people, judge = zip(*pairs, strict=True)
    found = prediction_powered(people, judge, rest, power=0)
    assert found.value == pytest.approx(sum(people) / len(people), abs=1e-12)
    assert found.standard_error == pytest.approx(stats.sem([float(p) for p in people]), abs=1e-12)
    best = prediction_powered(people, judge, rest)
    assert 0 <= best.interval.low <= best.value <= best.interval.high <= 1
    assert best.interval.low < best.interval.high


@settings(max_examples=40)
@given(BITS)
def test_quality_counts_and_its_intervals_hold_the_values(pairs):
    people, judge = zip(*pairs, strict=True)
    found = quality(people, judge)
    counts = (found.true_positive, found.false_positive, found.false_negative, found.true_negative)
    assert sum(counts) == len(pairs)
    assert found == quality_of_counts(*counts)
    assert (found.sensitivity is None) == (not any(people))
    for value, interval in ((found.sensitivity, found.sensitivity_interval), (found.kappa, found.kappa_interval)):
        if value is not None:
            assert interval.low <= value <= interval.high
            assert interval.low < interval.high


def test_the_error_of_kappa_is_that_of_many_draws():
    rng, draws = random.Random(5), []
    cells = [((True, True), 0.4), ((False, True), 0.1), ((True, False), 0.15), ((False, False), 0.35)]
    for _ in range(400):
        drawn = rng.choices([cell for cell, _ in cells], [share for _, share in cells], k=200)
        draws.append(quality(*zip(*drawn, strict=True)))
    spread = float(stats.tstd([found.kappa for found in draws]))
    half = sum(found.kappa_interval.high - found.kappa_interval.low for found in draws) / len(draws) / 2
    # the deviation of 400 draws has an error of 3.5 %; four of them
    assert half / 1.96 == pytest.approx(spread, rel=0.15)


def test_texts_of_one_conversation_do_not_count_as_independent():
    people, judge = [True, True, False, False] * 10, [True, False, False, True] * 10
    doubled = quality(people * 2, judge * 2, list(range(40)) * 2)
    alone, naive = quality(people, judge), quality(people * 2, judge * 2)
    width = [high - low for low, high in (pair(q.sensitivity_interval) for q in (alone, doubled, naive))]
    assert width[0] <= width[1] < 1.25 * width[0]
    assert width[2] < 0.8 * width[1]
    powered = prediction_powered(
        people * 2, judge * 2, REST * 2, groups=list(range(40)) * 2, rest_groups=[*range(12)] * 2
    )
    once = prediction_powered(people, judge, REST, power=powered.power)
    assert powered.standard_error == pytest.approx(once.standard_error, rel=1e-9)


def test_a_sheet_in_one_stratum_is_a_random_sample():
    rows = [SheetRow(p, j, "all") for p, j in zip(PEOPLE, JUDGE, strict=True)]
    graded = [SheetRow(r.people * 0.8 + 0.1, r.judge * 0.5 + 0.2, "all") for r in rows]
    audited = [r.judge for r in graded] + [v * 0.5 + 0.2 for v in REST]
    found = stratified(graded, {"all": audited})
    # the same estimate, written for texts with a verdict that hold the labelled ones
    by_hand = found.power * (sum(audited) / 20) + sum(r.people - found.power * r.judge for r in graded) / 8
    assert found.value == pytest.approx(by_hand, abs=1e-12)
    # 8 of 20 texts were drawn for the sheet, and the 20 from what the model writes
    of_sheet = (1 - 8 / 20) * variance([r.people - found.power * r.judge for r in graded]) / 8
    of_texts = variance([r.people for r in graded]) / 20
    assert found.standard_error == pytest.approx(math.sqrt(of_sheet + of_texts), abs=1e-12)


def test_verdicts_that_were_labelled_more_often_count_for_less():
    # 900 texts judged clean and 100 judged broken, 50 labels of each: 2 and 40 are broken
    clean = [SheetRow(i < 2, 0, 0) for i in range(50)]
    broken = [SheetRow(i < 40, 1, 1) for i in range(50)]
    found = stratified(clean + broken, {0: [0.0] * 900, 1: [1.0] * 100})
    assert found.value == pytest.approx(0.9 * 2 / 50 + 0.1 * 40 / 50, abs=1e-12)
    assert found.value < sum(row.people for row in clean + broken) / 100 / 3
    # in two phases: the texts as a sample of all, the sheet as a sample of them (Cochran, 12.2); ours is no smaller
    of_texts = 0.9 * 0.04 * 0.96 * 50 / 49 + 0.1 * 0.16 * 50 / 49 + 0.9 * (0.04 - 0.116) ** 2 + 0.1 * (0.8 - 0.116) ** 2
    of_sheet = 0.81 * (1 - 50 / 900) * 0.04 * 0.96 / 49 + 0.01 * 0.5 * 0.16 / 49
    assert found.standard_error == pytest.approx(math.sqrt(of_texts / 1000 + of_sheet), rel=0.25)
    assert found.standard_error >= math.sqrt(of_texts / 1000 + of_sheet)


# ------------------------------------------------------------------------------------------------------------- coverage
@pytest.mark.parametrize(
    ("rate", "sensitivity", "specificity", "labels", "texts"),
    [(0.3, 0.85, 0.9, 60, 300), (0.03, 0.9, 0.98, 80, 400), (0.5, 0.65, 0.65, 60, 300)],
)
def test_intervals_hold_the_rate_as_often_as_they_say(rate, sensitivity, specificity, labels, texts):
    rng, draws = random.Random(17), 100
    held, asked = {"powered": 0, "inverted": 0, "sheet": 0}, {"powered": 0, "inverted": 0, "sheet": 0}
    for _ in range(draws):
        people = [rng.random() < rate for _ in range(texts)]
        judge = [rng.random() < (sensitivity if p else 1 - specificity) for p in people]
        found = {"powered": prediction_powered(people[:labels], judge[:labels], judge[labels:])}
        try:
            of = quality(people[:labels], judge[:labels])
            found["inverted"] = rogan_gladen(sum(judge[labels:]), texts - labels, of)
        except CorrectionError:
            pass
        where = {v: [i for i, j in enumerate(judge) if j is v] for v in (False, True)}
        if min(map(len, where.values())) >= 2:
            sheet = [SheetRow(people[i], judge[i], v) for v in where for i in where[v][: labels // 2]]
            found["sheet"] = stratified(sheet, {v: [float(v)] * len(at) for v, at in where.items()})
        for name, corrected in found.items():
            asked[name] += 1
            held[name] += corrected.interval.low <= rate <= corrected.interval.high
    for name, count in held.items():
        assert asked[name] > draws / 4, name
        # fewer than one right interval in a thousand is held by so few draws
        assert count >= stats.binom.ppf(0.001, asked[name], 0.95), (name, count, asked[name])
    raw_bias = abs(rate * sensitivity + (1 - rate) * (1 - specificity) - rate)
    assert raw_bias > 0.015 or rate == 0.5


@pytest.mark.parametrize("label", [0, 1])
def test_no_interval_is_a_point_where_all_agree(label):
    for count in (5, 20, 100):
        found = prediction_powered([label] * count, [label] * count, [label] * 400)
        # as wide on the far side as what so many labels leave possible: at least half of the exact bound
        assert abs(found.value - label) < 1e-12
        assert found.interval.high - found.interval.low > 0.5 * (1 - 0.025 ** (1 / count))
        sheet = stratified([SheetRow(label, label, 0)] * count, {0: [float(label)] * 400})
        assert sheet.interval.high - sheet.interval.low > 0.5 * (1 - 0.025 ** (1 / count))


# ------------------------------------------------------------------------------------------------------------- refusals
def test_a_judge_that_guesses_corrects_nothing():
    with pytest.raises(CorrectionError, match=r"not informative: sensitivity 0\.60 \+ specificity 0\.55 − 1 = 0\.15"):
        rogan_gladen(30, 100, quality_of_counts(60, 45, 40, 55))
    assert rogan_gladen(30, 100, quality_of_counts(65, 45, 35, 55)).value == 0
    with pytest.raises(CorrectionError, match="labelled no text that they say does,"):
        rogan_gladen(30, 100, quality_of_counts(0, 1, 0, 9))
    with pytest.raises(CorrectionError, match="labelled no text that they say does not"):
        rogan_gladen(30, 100, quality_of_counts(9, 0, 1, 0))
    # enough to pass, but with two more texts of each kind nothing is left of it: every rate is possible
    assert pair(rogan_gladen(3, 9, quality_of_counts(1, 1, 1, 3)).interval)[1] == 1


def sheet_of(*strata: object) -> list[SheetRow]:
    return [SheetRow(1, 1, stratum) for stratum in strata]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quality([True], []), "1 labels and 0 verdicts"),
        (lambda: quality([], []), "no text has both"),
        (lambda: quality([True], [True], []), "1 labels and 0 groups"),
        (lambda: quality_of_counts(0, 0, 0, 0), "at least one label"),
        (lambda: quality_of_counts(1, 0, 0, -1), "not negative"),
        (lambda: rogan_gladen(5, 4, quality_of_counts(9, 1, 1, 9)), "5 of 4 verdicts is not a share"),
        (lambda: rogan_gladen(0, 0, quality_of_counts(9, 1, 1, 9)), "is not a share"),
        (lambda: prediction_powered([1], [1], [1]), "two labels at least"),
        (lambda: prediction_powered([1, 0], [1, 0], []), "two labels at least"),
        (lambda: prediction_powered([1, 0], [1], [1]), "2 labels and 1 verdicts"),
        (lambda: prediction_powered([1, 2], [1, 0], [1]), "numbers from 0 to 1, not 2"),
        (lambda: prediction_powered([1, 0], [1, 0], [math.nan]), "numbers from 0 to 1, not nan"),
        (lambda: prediction_powered([1, 0], [1, 0], [1], power=1.5), "lies between 0 and 1, not 1.5"),
        (lambda: prediction_powered([1, 0], [1, 0], [1], groups=["a", "a"]), "belong to one conversation"),
        (lambda: stratified([], {}), "no audited texts"),
        (lambda: stratified(sheet_of("x"), {"y": [1.0]}), "stratum `x`, and no audited text"),
        (lambda: stratified(sheet_of("y"), {"y": [1.0] * 5}), "has 5 audited texts and 1 labels; label 2"),
        (lambda: stratified(sheet_of("y", "y"), {"y": [1.0]}), "has 2 labels and 1 audited texts"),
        (lambda: stratified(sheet_of("y", "y"), {"y": [1.0] * 5, "z": [0.0] * 5}), "`z` has 5 audited texts and 0"),
    ],
)
def test_what_cannot_be_corrected_is_one_message(call, message):
    with pytest.raises(CorrectionError, match=message):
        call()


def test_lines_for_people_name_labels_and_errors():
    of: JudgeQuality = quality_of_counts(85, 10, 15, 90)
    assert of.describe() == (
        "200 texts labelled by people too, sensitivity 0.85 [0.77, 0.91], specificity 0.90 [0.83, 0.94], "
        "kappa 0.75 [0.65, 0.83]"
    )
    assert of.information == pytest.approx(0.75)
    assert quality_of_counts(3, 0, 0, 0).describe().endswith("specificity unknown, kappa unknown")
    assert rogan_gladen(300, 1000, of).describe() == (
        "0.267 [0.18, 0.34] corrected with 200 labels; the judge alone says 0.300"
    )
