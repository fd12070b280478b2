"""Label sheets: drawn as they say, blind, read back strictly, and the rates that labels correct.

What can be enumerated is exact. Simulations draw with fixed seeds; their limits fail a right interval in fewer than one
of a thousand seeds.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from label_draws import XSTEST, columns, corrected, labels_of, term, xstest
from scipy import stats

from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram, verdict_digest
from bylaw.runtime.audit.audit import measure
from bylaw.runtime.audit.corrected import (
    agreement_of,
    check_policy,
    check_transcripts,
    corrected_rate,
    settled,
    with_corrections,
)
from bylaw.runtime.audit.label_sheet_files import COLUMNS, cell
from bylaw.runtime.audit.label_sheets import (
    Label,
    Labels,
    LabelSheetError,
    draw,
    frame_of,
    labels_of_text,
    sealed,
    text_digest,
    transcripts_digest,
)
from bylaw.runtime.cli import main
from bylaw.runtime.judges.correction import quality
from bylaw.runtime.judges.label_sheet import SheetRow, stratified
from bylaw.runtime.judges.sheet_quality import sheet_quality
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

NAN = float("nan")
needs_xstest = pytest.mark.skipif(not XSTEST.is_dir(), reason="the public data lies in shared/data beside the checkout")


# ------------------------------------------------------------------------------------------------------ what is exact
def test_over_all_sheets_that_could_be_drawn_the_mean_rate_is_that_of_people():
    people = {0: [1, 0, 0, 0, 1], 1: [1, 1, 0, 1]}
    audited = {0: [0.0] * 5, 1: [1.0] * 4}
    found = [
        stratified([SheetRow(people[h][i], h, h) for h, picked in ((0, a), (1, b)) for i in picked], audited).value
        for a in itertools.combinations(range(5), 3)
        for b in itertools.combinations(range(4), 2)
    ]
    assert len(found) == 60
    assert sum(found) / 60 == pytest.approx(5 / 9, abs=1e-12)


def test_where_all_are_labelled_the_ratio_and_the_quality_are_those_of_the_counts():
    # 2 of 3 judged broken and 1 of 4 judged kept are broken; to one of each the rule does not apply
    people = {0: [1.0, 0.0, 0.0, NAN], 1: [1.0, 1.0, NAN]}
    sheet = [SheetRow(label, h, h) for h, labels in people.items() for label in labels]
    audited = {0: [0.0] * 4, 1: [1.0] * 3}
    assert stratified(sheet, audited).value == pytest.approx(3 / 5, abs=1e-12)
    found = sheet_quality(sheet, audited)
    assert (found.sensitivity, found.specificity) == pytest.approx((2 / 3, 1.0), abs=1e-12)
    even = quality([True, True, True, False, False], [True, True, False, False, False])
    assert found.kappa == pytest.approx(even.kappa, abs=1e-12)


def test_the_judge_may_say_that_the_question_does_not_apply_too():
    # one stratum: λ is 0 without variance of the judge, and what it says of applying is used as its other values are
    sheet = [SheetRow(p, j, 0) for p, j in ((1, 1), (0, 0), (NAN, NAN), (1, 1), (0, 0), (NAN, NAN), (0, 1), (1, NAN))]
    audited = {0: [r.judge for r in sheet] * 3}
    found = stratified(sheet, audited)
    assert 0 < found.power <= 1
    # the labels say 3 of 6; the verdicts are as they are among the labelled ones, so that they change nothing
    assert found.value == pytest.approx(0.5, abs=1e-12)


def test_a_sheet_by_verdict_gives_rogan_and_gladen_the_same_rate():
    people, judged = ["yes"] * 30 + ["no"] * 70, ["yes"] * 25 + ["no"] * 65 + ["yes"] * 10
    found = corrected(people, judged, 40, "verdict", 3)
    assert found.inverted == pytest.approx(found.value, abs=1e-9)
    assert found.judged == pytest.approx(0.35, abs=1e-12)
    assert (found.power, found.labelled, found.texts) == (0.0, 40, 100)
    # verdicts that are the same within strata say nothing more than the weights do
    assert found.labels_alone == pytest.approx(found.value, abs=1e-12)


@pytest.mark.parametrize("by", ["verdict", "random"])
def test_where_people_and_judge_always_agree_the_interval_is_no_point(by):
    # 40 labels of 1,000 answers: a right interval reaches as far as the judge's errors may go unseen
    judged = ["yes"] * 100 + ["no"] * 900
    found = corrected(judged, judged, 40, by, 0)
    assert found.value == pytest.approx(0.1, abs=1e-9)
    errors = 1 - 0.05 ** (1 / 20)  # the most that 20 labels without an error leave open
    assert 0.1 + 0.3 * errors < found.interval.high < 0.1 + 1.5 * errors
    assert found.interval.low < 0.1


def test_each_prompt_counts_once_where_its_answers_are_all_the_same():
    rows = [SheetRow(i % 3 == 0, i % 2 == 0, 0, i) for i in range(30)]
    audited = {0: [float(i % 2 == 0) for i in range(90)]}
    alone = stratified(rows, audited)
    repeated = stratified([row for row in rows for _ in range(4)], {0: audited[0] * 4}, clusters={0: [*range(90)] * 4})
    naive = stratified([row for row in rows for _ in range(4)], {0: audited[0] * 4})
    assert repeated.value == pytest.approx(alone.value, abs=1e-12)
    assert repeated.standard_error == pytest.approx(alone.standard_error, rel=0.1)
    assert naive.standard_error < 0.6 * alone.standard_error
    # prompts of one answer each are no clusters
    assert stratified(rows, audited, clusters={0: [*range(90)]}).standard_error == pytest.approx(
        alone.standard_error, rel=0.02
    )


def test_where_all_are_labelled_the_error_is_that_of_the_audited_texts_as_a_sample():
    sides = {True: (800, 200), False: (200, 800)}
    sheet = [SheetRow(float(n < yes), judge, judge) for judge, (yes, no) in sides.items() for n in range(yes + no)]
    found = stratified(sheet, {judge: [judge] * 1000 for judge in sides})
    assert found.standard_error == pytest.approx(0.5 / np.sqrt(2000), rel=0.002)


def test_prompts_whose_answers_differ_more_than_chance_makes_them_tell_no_more():
    sheet = [SheetRow(float(n % 2), n % 4 < 2, "all", n // 2) for n in range(200)]
    values = {"all": [row.judge for row in sheet]}
    alone, paired = stratified(sheet, values), stratified(sheet, values, clusters={"all": [n // 2 for n in range(200)]})
    assert paired.standard_error == pytest.approx(alone.standard_error, rel=1e-12)


def test_labels_of_one_prompt_count_once_for_what_the_judge_is_worth():
    verdicts = {side: [side] * 400 for side in (True, False)}
    spread = [SheetRow(float(side == (n % 5 > 0)), side, side) for side in verdicts for n in range(60)]
    alike = [replace(row, cluster=number // 6) for number, row in enumerate(spread)]
    apart, together = (sheet_quality(sheet, verdicts) for sheet in (spread, alike))
    assert (apart.sensitivity, apart.specificity) == (together.sensitivity, together.specificity)
    for name in ("sensitivity_interval", "specificity_interval", "kappa_interval"):
        one, other = getattr(apart, name), getattr(together, name)
        assert other.high - other.low > 1.5 * (one.high - one.low)


def test_of_few_audited_texts_less_is_known_of_the_judge():
    # the share of rare verdicts, by which sensitivity and specificity are weighed, is that of a sample too
    rows = [SheetRow(i < 20, 1.0, 1) for i in range(40)] + [SheetRow(False, 0.0, 0) for _ in range(40)]
    lengths = []
    for times in (1, 100):
        audited = {0: [0.0] * 400 * times, 1: [1.0] * 40 * times}
        of = sheet_quality(rows, audited).specificity_interval
        asked = {0: [i // 10 for i in range(400 * times)], 1: [-1 - i // 10 for i in range(40 * times)]}
        grouped = sheet_quality(rows, audited, clusters=asked).specificity_interval
        assert of is not None
        assert grouped is not None
        lengths.append((of.high - of.low, grouped.high - grouped.low))
    assert lengths[0][0] > 1.3 * lengths[1][0]
    assert lengths[0][1] > 1.3 * lengths[0][0]


# ------------------------------------------------------------------------------------------------------------- drawing
def test_a_sheet_by_verdict_takes_as_many_of_either_and_says_how_many_there_were():
    judged = ["yes"] * 12 + ["no"] * 180 + ["unscored"] * 3 + ["does not apply"] * 40
    rule, places = draw(term(), "clause", *columns(judged), number=60, by="verdict", seed=1)
    assert [(s.name, s.texts, s.drawn) for s in rule.strata] == [
        ("judged yes", 12, 12), ("judged no", 180, 45), ("not scored", 3, 3),
    ]  # fmt: skip
    assert Counter(stratum for _, stratum in places) == {1: 12, 2: 45, 3: 3}
    assert len({place for place, _ in places}) == 60
    frame = frame_of(rule, len(judged))
    assert all(frame[place] == stratum for place, stratum in places)
    assert frame[195:].tolist() == [0] * 40
    # the order tells nothing of the verdicts: runs of equal ones are as long as chance makes them
    changes = sum(a[1] != b[1] for a, b in itertools.pairwise(places))
    assert changes > 15
    assert draw(term(), "clause", *columns(judged), number=60, by="verdict", seed=1)[1] == places
    assert draw(term(), "clause", *columns(judged), number=60, by="verdict", seed=2)[1] != places


def test_an_even_sheet_is_one_stratum_and_takes_others_only_on_request():
    judged = ["yes"] * 10 + ["no"] * 30 + ["unscored"] * 10 + ["does not apply"] * 50
    rule, _ = draw(term(), "clause", *columns(judged), number=20, by="random", not_applicable=8, seed=1)
    assert [(s.name, s.texts, s.drawn) for s in rule.strata] == [("all", 50, 20), ("judged not to apply", 50, 8)]
    with pytest.raises(LabelSheetError, match="applies to none of the 50 transcripts"):
        draw(term(), "clause", *columns(judged[50:]), number=20, by="random")
    with pytest.raises(LabelSheetError, match="do not fit the 99 transcripts"):
        frame_of(rule, 99)
    with pytest.raises(LabelSheetError, match="do not fit"):
        frame_of(replace(rule, frame="eJw="), 100)


# ------------------------------------------------------------------------------------------------ rates and what judges
def test_answers_that_people_cannot_judge_and_those_without_a_verdict_are_allowed_for():
    people = ["yes"] * 20 + ["no"] * 60 + ["cannot say"] * 20 + ["does not apply"] * 20
    judged = ["yes"] * 18 + ["unscored"] * 4 + ["no"] * 98
    found = corrected(people, judged, 120, "verdict", 0)
    assert (found.labelled, found.cannot_say, found.does_not_apply) == (100, 20, 20)
    # all are labelled: in the stratum of those judged no (98: 60 - 2 no, 20 n/a, 20 silent), silence is left out
    assert found.lowest == pytest.approx(20 / 100, abs=1e-12)
    assert found.highest == pytest.approx(40 / 100, abs=1e-12)
    assert found.lowest < found.value < found.highest
    # two broken answers have no verdict: they count for the rate, and not for sensitivity
    assert found.sensitivity == pytest.approx(1.0, abs=1e-12)
    silent = "of 20 answers people cannot say it"
    assert any(remark.startswith(silent) for remark in found.remarks)


def test_a_group_of_answers_that_nobody_can_judge_is_one_message():
    people, judged = ["yes"] * 20 + ["no"] * 20 + ["cannot say"] * 3, ["yes"] * 20 + ["no"] * 20 + ["unscored"] * 3
    with pytest.raises(LabelSheetError) as told:
        corrected(people, judged, 43, "verdict", 0)
    assert "the rate of `helps` cannot be corrected: the stratum `not scored` has 3 audited texts and 0" in str(
        told.value
    )
    assert str(told.value).endswith("of 3 answers people cannot say it: let another person fill in the sheet too")


def test_transcripts_without_an_answer_are_not_drawn_and_left_out_of_the_rate():
    judged = ["yes"] * 20 + ["no"] * 76 + ["unscored"] * 4
    people = ["yes"] * 30 + ["no"] * 68 + ["cannot say"] * 2
    silent = np.array([place >= 98 for place in range(100)])
    found = corrected(people, judged, 100, "verdict", 0, silent=silent)
    assert (found.texts, found.labelled, found.cannot_say) == (98, 98, 0)
    assert found.value == pytest.approx(30 / 98, abs=1e-12)
    assert "2 transcripts without a verdict had no answer to label; it leaves them out" in found.remarks
    # 30 of 98 keep to the limit, and 32 of 100 would not
    limit = term("to at most 31% of responses")
    assert corrected(people, judged, 100, "verdict", 0, of=limit, silent=silent).within is None
    assert corrected(people, judged, 100, "verdict", 0, of=term("to at most 33% of responses"), silent=silent).within


def test_answers_without_a_verdict_do_not_drop_out_of_the_rate():
    people, judged = ["yes"] * 50 + ["no"] * 50, ["unscored"] * 50 + ["no"] * 50
    for by in ("verdict", "random"):
        found = corrected(people, judged, 100, by, 0)
        assert found.value == pytest.approx(0.5, abs=1e-12)
    assert found.inverted is None
    assert "people labelled no text that they say does" in found.inverted_why


@pytest.mark.parametrize(
    ("limit", "people", "kept"),
    [
        ("to at most 20% of responses", 30, False),
        ("to at most 20% of responses", 18, True),
        ("to at most 20% of responses with confidence 0.95", 18, False),
        ("to at most 40% of responses with confidence 0.95", 18, True),
        ("to at least 30% of responses", 28, False),
        ("to at least 10% of responses with confidence 0.95", 28, True),
    ],
)
def test_a_limit_is_held_against_the_corrected_rate(limit, people, kept):
    # the judge says 10 of 100; people find more
    said = ["yes"] * people + ["no"] * (100 - people)
    judged = ["yes"] * 10 + ["no"] * 90
    if "at least" in limit:
        codes, values = columns(judged)
        codes, values = codes ^ 1, np.where(values == -1, 1.0, 0.0)  # the event is what keeps it
        labels, rule = labels_of(said, judged, 100, "verdict", 0, term(limit))
        found = corrected_rate(term(limit), codes, values, None, labels, rule)
    else:
        found = corrected(said, judged, 100, "verdict", 0, of=term(limit))
    assert found.value == pytest.approx(people / 100, abs=1e-12)
    assert found.within is kept
    assert found.bound is not None
    assert (found.bound < found.value) is ("at least" in limit)
    assert found.interval.low < found.bound < found.interval.high  # of one side, the interval is of two


@pytest.mark.parametrize(
    ("limit", "outside", "kept"),
    [
        ("to at most 20% of responses", 0, True),
        ("to at most 20% of responses", 2, True),
        ("to at most 20% of responses", 3, None),
        ("to at most 10% of responses", 3, False),
        ("to exactly 18% of responses", 0, True),
        ("to exactly 18% of responses", 100, None),
        ("to exactly 60% of responses", 0, False),
        ("to exactly 60% of responses", 10, False),
    ],
)
def test_a_limit_is_not_kept_by_answers_that_no_sheet_was_drawn_from(limit, outside, kept):
    said, judged = ["yes"] * 18 + ["no"] * 82, ["yes"] * 10 + ["no"] * 90
    labels, rule = labels_of(
        [*said, *["no"] * outside], [*judged, *["does not apply"] * outside], 100, "verdict", 0, term(limit)
    )
    codes, values = columns([*judged, *["no"] * outside])  # the rule applies to these by now
    found = corrected_rate(term(limit), codes, values, None, labels, rule)
    assert (found.value, found.outside) == (pytest.approx(0.18, abs=1e-12), outside)
    assert found.within is kept


@pytest.mark.parametrize("limit", ["to exactly 18% of responses", "to at most 30% of responses"])
@pytest.mark.parametrize(("silent", "kept"), [(0, True), (45, None)])
def test_a_limit_may_hang_on_what_people_cannot_say(limit, silent, kept):
    said = ["yes"] * 18 + ["no"] * (82 - silent) + ["cannot say"] * silent
    assert corrected(said, ["yes"] * 10 + ["no"] * 90, 100, "random", 0, of=term(limit)).within is kept


@pytest.mark.parametrize(("missed", "kept"), [(True, False), (False, None)])
def test_labels_of_some_answers_do_not_tell_that_a_limit_is_kept_for_each_prompt(missed, kept):
    rule = 'rule helps { limit response contains "cannot" to at most 50% of responses for each prompt }'
    policy = Source.of("rules.bylaw", f'policy larkmoor.help version "1.0.0"\n{rule}\n')
    program = compile_source(policy).require()
    told = [asked == 0 and missed for asked in (0, 1) for _ in range(20)]
    given = [
        Trace((Message("user", f"{place // 20}"), Message("assistant", "I cannot" if each else "Yes")))
        for place, each in enumerate(told)
    ]
    measured = measure(program, given, policy=policy, source="answers")
    assert measured.record.terms[0].within is not missed
    labels, _ = labels_of(["no"] * 40, ["yes" if each else "no" for each in told], 40, "random", 0, program.terms[0])
    corrections = with_corrections(measured.record, measured.columns, [labels])
    assert corrections.corrections[0].value == pytest.approx(0, abs=1e-12)
    assert corrections.terms[0].within is kept


def test_the_corrected_rate_decides_whether_a_limit_is_kept(desk):
    assert export("--rule", "few_sorry").exit_code == 0
    rows = fill("sheet.csv", "ada.csv")
    for row in rows[1:]:
        if "limit" in row[1]:
            row[4] = "yes"  # people hear an apology in every answer, the list of words in a fifth of them
    put("ada.csv", rows)
    assert call("label", "import", "ada.csv", "--key", "sheet.key.json", "--out", "labels.json").exit_code == 0
    given = ("audit", "rules.bylaw", "answers.jsonl", "--format", "json")
    bare, found = (json.loads(call(*given, *more).stdout) for more in ((), ("--label-sheet", "labels.json")))
    limits = [next(term for term in each["terms"] if term["term"] == "few_sorry") for each in (bare, found)]
    assert [(limit["rate"], limit["within"]) for limit in limits] == [(0.2, True), (0.2, False)]
    assert limits[0]["confidence_bound"] < 0.6 < limits[1]["confidence_bound"]
    assert [rate["term"] for rate in found["corrections"]] == ["no_dates", "few_sorry"]


def test_a_hard_rule_is_broken_where_people_find_it_broken():
    people, judged = ["yes"] + ["no"] * 39, ["no"] * 40
    assert corrected(people, judged, 40, "random", 0).within is False
    assert corrected(["no"] * 40, judged, 40, "random", 0).within is None


@needs_xstest
@pytest.mark.parametrize("model", ["gpt4", "llama2orig"])
@pytest.mark.parametrize("by", ["random", "verdict"])
def test_xstest_with_100_labels(model, by):
    """The full human rate is held at the nominal coverage, and is nearer than the judge's; bench_xstest has more."""
    people, judge = xstest(model)
    truth, resamples = people.count("yes") / len(people), 200
    rng, held, errors, raw, alone = np.random.default_rng(3), 0, [], [], []
    for seed in range(resamples):
        places = rng.integers(len(people), size=len(people))  # the answers are drawn anew as well
        found = corrected([people[i] for i in places], [judge[i] for i in places], 100, by, seed)
        held += found.interval.low <= truth <= found.interval.high
        errors.append(abs(found.value - truth))
        raw.append(abs(found.judged - truth))
        alone.append(found.standard_error / np.sqrt(found.labels_alone * (1 - found.labels_alone) / 100))
    assert stats.binom.ppf(0.0005, resamples, 0.95) <= held
    assert np.mean(np.square(errors)) < 0.5 * np.mean(np.square(raw))
    assert np.mean(np.array(errors) < raw) > 0.8
    # what the verdicts add to 100 labels: the better the judge, the more
    assert np.mean(alone) < (0.8 if model == "gpt4" else 0.95)


def test_intervals_of_several_answers_to_a_prompt_hold_the_rate():
    rng, draws, rate = np.random.default_rng(5), 120, 0.3
    held = naive = 0
    for seed in range(draws):
        asked = np.repeat(np.arange(50), 6)
        broken = np.where(rng.random(300) < 0.75, (rng.random(50) < rate)[asked], rng.random(300) < rate)
        judged = np.where(broken, rng.random(300) < 0.85, rng.random(300) >= 0.9)
        sides = [np.where(each, "yes", "no").tolist() for each in (broken, judged)]
        found, bare = (corrected(*sides, 120, "verdict", seed, prompts) for prompts in (asked, None))
        held += found.interval.low <= rate <= found.interval.high
        naive += bare.interval.low <= rate <= bare.interval.high
    assert held >= stats.binom.ppf(0.001, draws, 0.95)
    assert naive < 0.85 * draws


# -------------------------------------------------------------------------------------------------------------- people
def said(*answers: str | None) -> Label:
    return Label("1", "helps", 0, 1, answers, ("",) * len(answers))  # type: ignore[arg-type]


def test_most_people_decide_and_the_first_file_among_as_many():
    assert settled(said("yes", "no", "no")) == "no"
    assert settled(said("no", "yes")) == "no"
    assert settled(said("cannot say", "yes")) == "yes"
    assert settled(said("cannot say", None)) == "cannot say"


def test_how_far_people_agree():
    pairs = [("yes", "yes")] * 8 + [("no", "no")] * 9 + [("yes", "no")] * 2 + [("no", "yes")] + [("yes", None)] * 5
    found = agreement_of([said(*pair) for pair in pairs])
    assert found is not None
    assert (found.texts, found.disagreements, found.raw) == (20, 3, 0.85)
    chance = (10 * 9 + 10 * 11) / 400
    assert found.kappa == pytest.approx((0.85 - chance) / (1 - chance), abs=1e-12)
    assert found.alpha is not None
    assert abs(found.alpha - found.kappa) < 0.02
    assert agreement_of([said("yes", None)]) is None
    alike = agreement_of([said("no", "no")] * 4)
    assert alike is not None
    assert alike.kappa is None
    assert "not defined" in alike.why


# ------------------------------------------------------------------------------------------------------ files and verbs
POLICY = """policy larkmoor.desk version "1.0.0" edition 1
levels root > user
lexicon dates = ["tomorrow", "by Monday"]
rule no_dates "Promise no dates" at root { must not mention any of dates }
rule few_sorry at user { limit response mentions "sorry" to at most 60% of responses }
rule short at user { prefer lower number of words in response weight 0.1 }
"""
ANSWERS = ("It comes tomorrow.", "By the weekend.", "=We are sorry", "You get it by Monday.", "On its way.")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.bylaw").write_text(POLICY, encoding="utf-8")
    write(tmp_path / "answers.jsonl", 100)
    return tmp_path


def write(path: Path, count: int, model: str = "northwind-7b") -> None:
    rows = (
        {"id": f"{model}-{i}", "prompt": f"Where is parcel {i}?", "response": ANSWERS[i % 5], "model": model}
        for i in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def export(*more: str) -> Result:
    return call(
        "label", "export", "rules.bylaw", "answers.jsonl", "--rule", "no_dates", "--number", "40", "--twice", "10",
        "--out", "sheet.csv", *more,
    )  # fmt: skip


def rows_of(path: str) -> list[list[str]]:
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def fill(source: str, target: str, wrong: int = 0, delimiter: str = ",", encoding: str = "utf-8") -> list[list[str]]:
    """Somebody who knows what a date is fills in a sheet, the first `wrong` rows against that."""
    rows = rows_of(source)
    for number, row in enumerate(rows[1:]):
        is_date = any(word in row[3] for word in ("tomorrow", "weekend", "Monday"))
        row[4] = " Yes" if is_date != (number < wrong) else "no"
    put(target, rows, delimiter, encoding)
    return rows


def put(target: str, rows: list[list[str]], delimiter: str = ",", encoding: str = "utf-8") -> None:
    with Path(target).open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator="\n").writerows(rows)


def test_from_a_sheet_to_a_corrected_rate(desk):
    done = export("--format", "json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["items"], told["twice"]) == (40, 10)
    sheet = Path("sheet.csv").read_text(encoding="utf-8-sig") + Path("sheet-second.csv").read_text(encoding="utf-8-sig")
    for hidden in ("northwind", "judged", "violated", "answers.jsonl"):
        assert hidden not in sheet
    rows = rows_of("sheet.csv")
    assert tuple(rows[0]) == COLUMNS
    assert {row[3] for row in rows[1:] if "sorry" in row[3]} == {"'=We are sorry"}
    second = [row[0] for row in rows_of("sheet-second.csv")[1:]]
    assert set(second) < {row[0] for row in rows[1:]}
    assert second != sorted(second, key=int)
    fill("sheet.csv", "ada.csv", delimiter=";")
    fill("sheet-second.csv", "bo.csv", wrong=2, encoding="utf-8-sig")
    done = call("label", "import", "ada.csv", "bo.csv", "--key", "sheet.key.json", "--out", "labels.json")
    assert done.exit_code == 0, done.output
    assert "10 answers labelled by several people, who differ on 2; kappa" in done.stdout
    assert done.stdout.count("  item ") == 2
    given = ("label", "import", "ada.csv", "bo.csv", "--key", "sheet.key.json", "--out", "labels.json", "--force")
    told = json.loads(call(*given, "--format", "json").stdout)
    assert told["files"] == ["ada.csv", "bo.csv"]
    assert sum(told["rules"][0]["labels"].values()) == 40
    assert told["rules"][0]["agreement"]["raw"] == 0.8
    assert all(set(each["labels"].values()) == {"yes", "no"} for each in told["disagreements"])
    done = call("audit", "rules.bylaw", "answers.jsonl", "--label-sheet", "labels.json", "--format", "json")
    assert done.exit_code == 0, done.output
    (rate,) = json.loads(done.stdout)["corrections"]
    assert (rate["term"], rate["people"], rate["judged"]) == ("no_dates", 2, pytest.approx(0.4))
    # a third of what is judged kept promises a date in words that no list has
    assert rate["interval"]["low"] < 0.6 < rate["interval"]["high"]
    assert rate["judged"] < rate["interval"]["low"]
    assert rate["specificity"] == 1.0
    for output in ("text", "markdown"):
        done = call("audit", "rules.bylaw", "answers.jsonl", "--label-sheet", "labels.json", "--format", output)
        assert "corrected" in done.stdout.lower()
    done = call("audit", "rules.bylaw", "answers.jsonl", "--label-sheet", "labels.json", "--gate")
    assert done.exit_code == 4


def broken(rows: list[list[str]], what: str) -> None:
    if what == "word":
        rows[3][4] = "yess"
    elif what == "empty":
        rows[3][4] = ""
    elif what == "missing":
        del rows[3]
    elif what == "twice":
        rows.append(rows[3])
    elif what == "edited":
        rows[3][3] += " indeed"
    elif what == "unknown":
        rows[3][0] = "4000"
    elif what == "short":
        rows[3] = rows[3][:3]
    elif what == "columns":
        rows[0][4] = "verdict"


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (
            "word",
            "`ada.csv`, line 4: `yess` is no label: it is one of `yes`, `no`, `does not apply`, `cannot say`; did",
        ),
        ("empty", "`ada.csv`, line 4: item `3` has no label; each takes one of"),
        ("missing", "`ada.csv` lacks 1 of 40 items (`3`)"),
        ("twice", "`ada.csv`, line 42: item `3` is there twice"),
        ("edited", "`ada.csv`, line 4: the texts of item `3` are not those that were exported"),
        ("unknown", "`ada.csv`, line 4: the key has no item `4000`"),
        ("short", "`ada.csv`, line 4: the row has 3 cells"),
        ("columns", "`ada.csv` does not begin with the columns of a label sheet: `label`"),
    ],
)
def test_a_sheet_with_one_thing_wrong_is_one_message_and_nothing_is_written(desk, what, words):
    assert export().exit_code == 0
    rows = fill("sheet.csv", "ada.csv")
    broken(rows, what)
    put("ada.csv", rows)
    done = call("label", "import", "ada.csv", "--key", "sheet.key.json", "--out", "labels.json")
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert done.stderr.count("error:") == 1
    assert not Path("labels.json").exists()


def test_files_that_are_no_sheets_keys_or_labels(desk):
    assert export().exit_code == 0
    fill("sheet.csv", "ada.csv")
    fill("sheet-second.csv", "bo.csv")
    Path("latin.csv").write_bytes(Path("ada.csv").read_bytes().replace(b"Yes", b"\xfcs"))
    Path("empty.csv").write_text("", encoding="utf-8")
    changed = Path("sheet.key.json").read_text(encoding="utf-8").replace('"place": 1,', '"place": 2,')
    Path("changed.json").write_text(changed, encoding="utf-8")
    for sheet, key, words in (
        ("latin.csv", "sheet.key.json", "save it from the spreadsheet as `CSV UTF-8`"),
        ("empty.csv", "sheet.key.json", "holds no row of a label sheet"),
        ("none.csv", "sheet.key.json", "`none.csv` cannot be read"),
        ("bo.csv", "sheet.key.json", "second sheets only"),
        ("ada.csv", "ada.csv", "is no key file that can be used: it is not JSON"),
        ("ada.csv", "changed.json", "it was changed after it was written"),
    ):
        done = call("label", "import", sheet, "--key", key, "--out", "labels.json")
        assert (done.exit_code, done.stdout) == (2, ""), sheet
        assert words in done.stderr
    assert not Path("labels.json").exists()
    again = export()
    assert again.exit_code == 2
    assert "`sheet.csv` is there already" in again.stderr


def test_the_sheet_of_one_person_is_not_that_of_two(desk):
    assert export().exit_code == 0
    fill("sheet.csv", "ada.csv")
    for again in ("ada.csv", desk / "ada.csv"):
        done = call("label", "import", "ada.csv", again, "--key", "sheet.key.json", "--out", "labels.json")
        assert (done.exit_code, "a sheet is named twice" in done.stderr) == (2, True)
    assert not Path("labels.json").exists()


def test_labels_serve_the_rules_and_answers_that_they_are_of_and_no_others(desk):
    assert export().exit_code == 0
    fill("sheet.csv", "ada.csv")
    assert call("label", "import", "ada.csv", "--key", "sheet.key.json", "--out", "labels.json").exit_code == 0
    Path("stricter.bylaw").write_text(POLICY.replace('"by Monday"', '"by Tuesday"'), encoding="utf-8")
    write(desk / "other.jsonl", 101)
    rows = [json.loads(line) for line in Path("answers.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[50]["response"] += "!"
    Path("edited.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for rules, answers, words in (
        ("stricter.bylaw", "answers.jsonl", "`labels.json` has labels for other rules"),
        ("rules.bylaw", "other.jsonl", "never for those of another model"),
        ("rules.bylaw", "edited.jsonl", "`labels.json` has labels of other transcripts"),
    ):
        done = call("audit", rules, answers, "--label-sheet", "labels.json", "--out", "report")
        assert (done.exit_code, done.stdout) == (2, "")
        assert words in done.stderr
        assert not Path("report").exists()
    Path("copy.json").write_bytes(Path("labels.json").read_bytes())
    done = call("audit", "rules.bylaw", "answers.jsonl", "--label-sheet", "labels.json", "--label-sheet", "copy.json")
    assert "`labels.json` and `copy.json` both have labels of `no_dates`" in done.stderr


def labelled() -> tuple[RewardProgram, Labels]:
    """The policy of the desk, and labels of two of its rules as the verbs write them."""
    assert export("--rule", "few_sorry").exit_code == 0
    fill("sheet.csv", "ada.csv")
    assert call("label", "import", "ada.csv", "--key", "sheet.key.json", "--out", "labels.json").exit_code == 0
    return compiled(POLICY), labels_of_text(Path("labels.json").read_text(encoding="utf-8"), "labels.json")


def compiled(text: str) -> RewardProgram:
    return compile_source(Source.of("rules.bylaw", text)).require()


BLAME = 'concept blame means "Blames the customer." { like "You lost it." }'
UNDER = "rule no_blame at user { must not express blame }"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("prefer lower number of words in response weight 0.1", "prefer lower number of words in response weight 9"),
        ("to at most 60% of responses", "to at most 5% of responses with confidence 0.9"),
        ('"1.0.0"', '"2.0.0"'),
        ('"Promise no dates"', '"No dates, please"'),
        ("must not mention any of dates }", 'must not mention any of dates\n  because "They change." }'),
        ('no_dates "Promise no dates" at root', "no_dates at user"),
        ("rule short", 'rule loud at user { must not contain "!" }\nrule short'),
    ],
)
def test_labels_hold_as_long_as_what_decides_their_rules_is_the_same(desk, old, new):
    before, labels = labelled()
    after = compiled(POLICY.replace(old, new))
    assert after.digest != before.digest
    check_policy(labels, after, "labels.json")
    Path("after.bylaw").write_text(POLICY.replace(old, new), encoding="utf-8")
    done = call("audit", "after.bylaw", "answers.jsonl", "--label-sheet", "labels.json", "--format", "json")
    assert [rate["term"] for rate in json.loads(done.stdout)["corrections"]] == ["no_dates", "few_sorry"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"by Monday"', '"by Tuesday"', "what decides `no_dates` is not what it was"),
        ('mentions "sorry"', 'contains "sorry"', "what decides `few_sorry` is not what it was"),
        (
            "{ must not mention any of dates }",
            '{ when prompt mentions "parcel" must not mention any of dates }',
            "`no_d",
        ),
        ('limit response mentions "sorry" to at most 60% of responses', 'must mention "sorry"', "`few_sorry`"),
        ("rule no_dates", "rule dateless", "`larkmoor.desk` has no `no_dates`"),
    ],
)
def test_labels_of_a_rule_that_was_changed_are_refused_by_name(desk, old, new, words):
    _, labels = labelled()
    assert old in POLICY
    with pytest.raises(LabelSheetError) as told:
        check_policy(labels, compiled(POLICY.replace(old, new)), "labels.json")
    assert "`labels.json` has labels for other rules: " in str(told.value)
    assert words in str(told.value)
    assert ("`few_sorry`" in str(told.value)) is ("few_sorry" in words)  # the other one is not blamed


@pytest.mark.parametrize(
    ("old", "new"), [("the customer", "anybody"), ("You lost it.", "Your fault."), ('it."', 'it."\n  threshold 0.7')]
)
def test_a_concept_that_a_rule_asks_about_is_a_part_of_it(old, new):
    text = f'policy larkmoor.desk version "1.0.0" edition 1\nlevels root > user\n{BLAME}\n{UNDER}\n'
    assert old in text
    found = [verdict_digest(compiled(each).term("no_blame")) for each in (text, text.replace(old, new))]
    assert found[0] != found[1]


def test_labels_of_an_older_bylaw_hold_for_the_very_same_policy_only(desk):
    program, labels = labelled()
    old = replace(labels, drawn=replace(labels.drawn, rules=tuple(
        replace(rule, verdict_digest="") for rule in labels.drawn.rules
    )))  # fmt: skip
    data = json.loads(sealed(old))
    for rule in data["drawn"]["rules"]:
        del rule["verdict_digest"]
    del data["seal"]
    words = json.dumps(data, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    data["seal"] = "sha256:" + hashlib.sha256(words.encode()).hexdigest()
    found = labels_of_text(json.dumps(data), "labels.json")
    assert found == old
    check_policy(found, program, "labels.json")
    with pytest.raises(LabelSheetError, match="the file is of an older bylaw"):
        check_policy(found, compiled(POLICY.replace("weight 0.1", "weight 0.2")), "labels.json")


def test_labels_that_are_there_are_not_overwritten(desk):
    labelled()
    before = Path("labels.json").read_bytes()
    fill("sheet.csv", "bo.csv", wrong=5)
    given = ("label", "import", "bo.csv", "--key", "sheet.key.json", "--out")
    done = call(*given, "labels.json")
    assert (done.exit_code, done.stdout, done.stderr.count("error:")) == (2, "", 1)
    assert "`labels.json` is there already; name another --out, or replace it with --force" in done.stderr
    assert Path("labels.json").read_bytes() == before
    key = Path("sheet.key.json").read_bytes()
    done = call(*given, "sheet.key.json", "--force")
    assert (done.exit_code, "--force replaces nothing else" in done.stderr) == (2, True)
    assert Path("sheet.key.json").read_bytes() == key
    assert call(*given, "labels.json", "--force").exit_code == 0
    assert Path("labels.json").read_bytes() != before


def test_verdicts_that_are_all_missing_say_nothing():
    from bylaw.runtime.report import figures
    from bylaw.runtime.report.audit_corrected import corrected_rows, corrected_sentence

    people = ["yes"] * 30 + ["no"] * 70
    found = corrected(people, ["unscored"] * 100, 100, "verdict", 0)
    assert found.judged is None
    assert found.value == pytest.approx(0.3, abs=1e-12)
    assert "; the verdicts say nothing of it: none of these answers has one." in corrected_sentence(found)
    assert corrected_rows([found])[0][1] == figures.NOTHING
    some = corrected(people, ["unscored"] * 90 + ["no"] * 10, 100, "verdict", 0)
    assert (some.judged, "the verdicts alone say 0%." in corrected_sentence(some)) == (0.0, True)


def test_a_hard_rule_that_only_people_found_broken_fails_the_gate(desk):
    write(desk / "clean.jsonl", 30)
    text = Path("clean.jsonl").read_text(encoding="utf-8")
    Path("answers.jsonl").write_text(text.replace("tomorrow", "before dawn").replace("by Monday", "soon"), "utf-8")
    given = ("audit", "rules.bylaw", "answers.jsonl", "--gate")
    assert call(*given).exit_code == 0
    assert export().exit_code == 0
    fill("sheet.csv", "ada.csv")
    assert call("label", "import", "ada.csv", "--key", "sheet.key.json", "--out", "labels.json").exit_code == 0
    done = call(*given, "--label-sheet", "labels.json", "--format", "json")
    assert done.exit_code == 4
    found = json.loads(done.stdout)["terms"][0]
    assert (found["violated"], found["within"]) == (0, False)


def test_answers_of_several_models_are_told(desk):
    assert "models" not in export().stderr
    with Path("answers.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"prompt": "Where?", "response": "Here.", "model": "northwind-70b"}) + "\n")
    for name in ("sheet.csv", "sheet-second.csv", "sheet.key.json"):
        Path(name).unlink()
    assert "warning: these are answers of 2 models" in export().stderr


def test_rules_that_can_be_labelled(desk):
    done = call("label", "export", "rules.bylaw", "answers.jsonl", "--rule", "short", "--out", "sheet.csv")
    assert done.exit_code == 2
    assert "measures a quantity" in done.stderr
    done = call("label", "export", "rules.bylaw", "answers.jsonl", "--rule", "no_date", "--out", "sheet.csv")
    assert "did you mean `no_dates`?" in done.stderr
    done = call("label", "export", "rules.bylaw", "answers.jsonl", "--out", "sheet.csv")
    assert "no rule of this policy hangs on scores" in done.stderr
    assert call("label", "export", "rules.bylaw", "answers.jsonl", "--out", "sheet.txt").exit_code == 2
    assert sorted(path.name for path in desk.iterdir()) == ["answers.jsonl", "rules.bylaw"]


def test_rules_that_hang_on_scores_are_labelled_by_default_and_uncalibrated_until_then(tmp_path, monkeypatch):
    example = Path(__file__).parents[1] / "examples" / "concepts"
    monkeypatch.chdir(tmp_path)
    given: list[str | Path] = [
        example / "rules.bylaw",
        example / "transcripts.jsonl",
        "--labels",
        example / "labels.jsonl",
    ]
    done = call("label", "export", *given, "--number", "30", "--twice", "0", "--out", "sheet.csv", "--format", "json")
    assert done.exit_code in (0, 3), done.output
    assert [rule["rule"] for rule in json.loads(done.stdout)["rules"]] == ["no_blame", "no_dates"]
    rows = rows_of("sheet.csv")
    for row in rows[1:]:
        row[4] = "no"
    put("sheet.csv", [row for row in rows if row])
    assert call("label", "import", "sheet.csv", "--key", "sheet.key.json", "--out", "labels.json").exit_code == 0
    assert "uncalibrated" in call("audit", *given).stdout
    done = call("audit", *given, "--label-sheet", "labels.json", "--format", "json", "--out", "report")
    assert "uncalibrated" not in Path("report/report.md").read_text(encoding="utf-8")
    found = json.loads(done.stdout)
    assert [rate["value"] for rate in found["corrections"]] == [0.0, 0.0]
    assert all(rate["sensitivity"] is None and rate["interval"]["high"] > 0 for rate in found["corrections"])


# ---------------------------------------------------------------------------------------------------------- small parts
def test_cells_hide_nothing_and_are_no_formulas():
    assert cell("=1+1") == "'=1+1"
    assert cell("a\r\nb\rc\td") == "a\nb\nc\td"
    assert cell("\x1b[31mred\u202e") == "\\u{001b}[31mred\\u{202e}"
    assert text_digest("a\r\nb ", "c") == text_digest("a\nb", "c")
    assert text_digest("ab", "c") != text_digest("a", "bc")


def test_the_digest_of_transcripts_is_of_every_message_in_order():
    one, two = (Trace((Message("user", "Hello"), Message("assistant", text))) for text in ("Yes.", "No."))
    found = {transcripts_digest(traces)[0] for traces in ([one, two], [two, one], [one], [one, one])}
    assert len(found) == 4
    assert transcripts_digest([one, replace(two, id="x", facts={"meta.model": "m"})]) == transcripts_digest([one, two])


def test_labels_come_back_as_they_were_written():
    labels, _ = labels_of(["yes", "no"] * 10, ["yes", "no"] * 10, 10, "verdict", 0)
    text = sealed(labels)
    assert labels_of_text(text, "labels.json") == labels
    for wrong, words in (
        (text.replace('"yes"', '"no"', 1), "changed after it was written"),
        (text.replace('"schema_version": 1', '"schema_version": 2'), "has version 2"),
        ("[]", "does not say that it is"),
    ):
        with pytest.raises(LabelSheetError, match=words):
            labels_of_text(wrong, "labels.json")
    elsewhere = replace(labels, labels=(replace(labels.labels[0], place=20), *labels.labels[1:]))
    with pytest.raises(LabelSheetError, match="not of the answers that were drawn"):
        corrected_rate(term(), *columns(["yes", "no"] * 10), None, elsewhere, elsewhere.drawn.rules[0])
    check_transcripts(labels, "sha256:0", 20, "labels.json")
    with pytest.raises(LabelSheetError, match="other transcripts"):
        check_transcripts(labels, "sha256:1", 20, "labels.json")


def test_the_page_shows_corrected_rates_and_nothing_of_them_is_markup():
    from bylaw.runtime.record import AuditRecord
    from bylaw.runtime.report.audit_corrected import badge_of, corrected_block, corrected_markdown, corrected_rows

    rate = replace(corrected(["yes", "no"] * 30, ["yes"] * 10 + ["no"] * 50, 40, "verdict", 0), remarks=("<b>&",))
    record: Any = AuditRecord("p", "1", "d", "answers", 60, (), corrections=(rate,))
    page = corrected_block(record)
    assert "<b>&" not in page
    assert "&lt;b&gt;&amp;" in page
    assert page.count("<tr>") == 2
    assert "\\<b" in "\n".join(corrected_markdown(record)) or "&lt;b" in "\n".join(corrected_markdown(record))
    (row,) = corrected_rows(record.corrections)
    assert len(row) == 10
    assert corrected_block(replace(record, corrections=())) == ""
    assert (badge_of(record, rate.term), badge_of(record, "other")) == (f"corrected: {row[2]}", "")
