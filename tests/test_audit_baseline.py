"""An audit against an earlier one: only what is new or worse fails, by intervals, and chance seldom does."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bylaw.runtime.audit.baseline import (
    FAILING,
    BaselineComparison,
    BaselineError,
    baseline_of,
    compare_with_baseline,
    effective_number,
    read_baseline,
)
from bylaw.runtime.audit.clustered import rate as clustered_rate
from bylaw.runtime.audit.statistics import wilson
from bylaw.runtime.record import AuditRecord, Finding, Interval, TermAudit, to_json
from bylaw.runtime.report.audit_baseline import baseline_rows, baseline_sentence
from bylaw.runtime.report.audit_outcome import summary_json

ALL = 1000


def term(broken: int = 0, scored: int = ALL, total: int = ALL, unscored: int = 0, **changes: object) -> TermAudit:
    """A rule that applied to `scored` of `total` answers and was broken in some."""
    made = TermAudit(
        term="clean",
        rule="clean",
        title=None,
        kind="soft",
        level="law",
        clause='the response should not contain "bad"',
        location="rules.bylaw:2:3",
        applicable=scored,
        violated=broken,
        unscored=unscored,
        not_applicable=total - scored - unscored,
        rate=broken / scored if scored else None,
        interval=wilson(broken, scored) if scored else None,
        best=None,
        worst=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def limited(count: int, scored: int = ALL, bound: float = 0.05, sense: str = "at most", **changes: object) -> TermAudit:
    """A limit on the rate of an event, judged by the rate itself as without a declared confidence."""
    share = count / scored
    within = share <= bound if sense == "at most" else share >= bound
    return term(count, scored, **{"kind": "budget", "bound": bound, "sense": sense, "within": within, **changes})


def mean(value: float, half: float, **changes: object) -> TermAudit:
    """A preference with the interval value -+ half; more is better with a positive weight."""
    shown = {"mean_interval": Interval(value - half, value + half), **changes}
    return term(rate=None, interval=None, mean=value, kind="graded", **shown)


def record(*terms: TermAudit, **changes: object) -> AuditRecord:
    made = AuditRecord("demo", "1", "sha256:a", "log.jsonl", max([ALL, *(_total(each) for each in terms)]), terms)
    return replace(made, **changes)  # type: ignore[arg-type]


def _total(each: TermAudit) -> int:
    return each.applicable + each.unscored + each.not_applicable


def compare(now: TermAudit, then: TermAudit | None) -> BaselineComparison:
    earlier = record(*([] if then is None else [then]))
    return compare_with_baseline(record(now), baseline_of(earlier))


def status(now: TermAudit, then: TermAudit | None) -> str:
    (change,) = compare(now, then).changes
    return change.status


# ---------------------------------------------------------------------------------------------------- what fails
hard = {"kind": "hard"}


@pytest.mark.parametrize(
    ("now", "then", "expected"),
    [
        # a point is no evidence, a whole interval is
        (term(6, 100, 100), term(5, 100, 100), "known"),
        (term(30, 100, 100), term(5, 100, 100), "worse"),
        (term(5, 100, 100), term(30, 100, 100), "better"),
        (term(1), term(0), "unchanged"),
        (term(0), term(0), "unchanged"),
        (term(0), term(2), "fixed"),
        # one violation proves that a rule can be broken which must hold
        (term(1, **hard), term(0, **hard), "new"),
        (term(2, **hard), term(1, **hard), "known"),
        (term(60, **hard), term(1, **hard), "worse"),
        (term(0, **hard), term(1, **hard), "fixed"),
        # limits: 51 of 1,000 is above 5 % as a point only
        (limited(51), limited(49), "unchanged"),
        (limited(51), limited(51), "known"),
        (limited(90), limited(49), "new"),
        (limited(75), limited(60), "known"),
        (limited(200), limited(60), "worse"),
        (limited(45), limited(10), "worse"),
        (limited(940, bound=0.95, sense="at least"), limited(951, bound=0.95, sense="at least"), "unchanged"),
        (limited(900, bound=0.95, sense="at least"), limited(951, bound=0.95, sense="at least"), "new"),
        (limited(960, bound=0.95, sense="at least"), limited(999, bound=0.95, sense="at least"), "worse"),
        (limited(30, each_prompt=True, within=False), limited(30), "new"),
        # preferences: which way is better is said by the sign of the weight
        (mean(12, 1, weight=-0.1), mean(10, 0.5, weight=-0.1), "worse"),
        (mean(12, 1, weight=0.1), mean(10, 0.5, weight=0.1), "better"),
        (mean(11, 1, weight=-0.1), mean(10, 0.5, weight=-0.1), "unchanged"),
        (mean(12, 1), mean(10, 0.5), "unchanged"),
        # what is no longer measured is no pass
        (term(0, 0), term(0), "not measured"),
        (term(0, 0, unscored=ALL, **hard), term(0, **hard), "not measured"),
        (term(0, 900, unscored=100), term(0), "worse"),
        (term(0, 999, unscored=1), term(0), "unchanged"),
        (term(0, 0), term(0, 0), "unchanged"),
        # rules that the baseline does not have
        (term(9), None, "added"),
        (term(0, **hard), None, "added"),
        (term(1, **hard), None, "new"),
        (limited(51), None, "added"),
        (limited(90), None, "new"),
        (term(0, 0, unscored=ALL, **hard), None, "not measured"),
        (term(1, clause="other words", **hard), term(1, **hard), "new"),
        (limited(90, bound=0.04), limited(90), "new"),
    ],
)
def test_what_a_rule_comes_to(now: TermAudit, then: TermAudit | None, expected: str) -> None:
    compared = compare(now, then)
    (change,) = compared.changes
    assert (change.status, compared.fails) == (expected, expected in FAILING), change
    assert baseline_rows(compared)[0][:2] == ("clean", expected)
    assert (expected in FAILING) == ("clean (" in baseline_sentence(compared))


def test_a_rule_that_the_policy_lost_is_named_and_does_not_fail() -> None:
    compared = compare_with_baseline(record(), baseline_of(record(term(5, **hard))))
    assert [change.status for change in compared.changes] == ["removed"]
    assert not compared.fails


def test_a_mean_without_an_interval_is_said_to_tell_nothing() -> None:
    (change,) = compare(mean(12, 1, weight=-0.1, mean_interval=None), mean(10, 0.5, weight=-0.1)).changes
    assert (change.status, change.reason) == ("unchanged", "too few prompts for an interval")


def test_what_limits_a_comparison_is_said() -> None:
    then = baseline_of(record(term(), complete=False))
    notes = compare_with_baseline(record(term(), policy_digest="sha256:b", complete=False), then).notes
    assert len(notes) == 3
    assert compare(term(), term()).notes == ()


# --------------------------------------------------------------------------------------------- numbers that hold up
def test_the_difference_of_a_single_rule_is_that_of_newcombe() -> None:
    """45/50 and 38/50, the printed digits of the method's own example."""
    (change,) = compare(term(45, 50, 50), term(38, 50, 50)).changes
    assert change.difference is not None
    assert (round(change.difference.low, 6), round(change.difference.high, 6)) == (-0.009397, 0.285551)


@pytest.mark.parametrize("size", [1, 3.5, 20, 400, 25_000.25])
@pytest.mark.parametrize("rate", [0.0, 0.004, 0.3, 0.5, 0.97, 1.0])
def test_the_effective_number_is_read_back_from_an_interval(rate: float, size: float) -> None:
    found = effective_number(rate, wilson(rate * size, size), 1e6)
    assert math.isclose(found, size, rel_tol=1e-6)
    assert effective_number(rate, wilson(rate * size, size), size / 2) == size / 2
    assert effective_number(rate, Interval(0, 1), 1e6) == 0


def test_answers_to_the_same_prompts_count_for_less() -> None:
    """The same counts, 30 of 100 against 15 of 100, but ten answers to each of ten prompts, which agree."""

    def grouped(prompts: int) -> TermAudit:
        outcomes = [float(each < prompts) for each in range(10) for _ in range(10)]
        found = clustered_rate(outcomes, [each // 10 for each in range(100)])
        return term(10 * prompts, 100, 100, interval=found.interval)

    assert status(term(40, 100, 100), term(10, 100, 100)) == "worse"
    assert status(grouped(4), grouped(1)) == "known"
    assert status(grouped(4), term(10, 100, 100, interval=Interval(0, 1))) == "known"


@cache
def worse(first: int, second: int, sizes: tuple[int, int], rules: int) -> bool:
    """Whether `first` of sizes[0] now, `second` of sizes[1] then, fails in a policy of so many rules."""
    now, then = term(first, sizes[0], sizes[0]), term(second, sizes[1], sizes[1])
    others = [term(0, 0, size, term=str(n)) for size in sizes for n in range(rules - 1)]
    for number in range(rules - 1):
        others[number] = term(0, sizes[0], sizes[0], term=str(number))
        others[number + rules - 1] = term(0, sizes[1], sizes[1], term=str(number))
    one = replace(record(now, *others[: rules - 1]), transcripts=sizes[0])
    two = replace(record(then, *others[rules - 1 :]), transcripts=sizes[1])
    return compare_with_baseline(one, baseline_of(two)).changes[0].status == "worse"


def law(size: int, rate: float) -> list[float]:
    return [math.comb(size, k) * rate**k * (1 - rate) ** (size - k) for k in range(size + 1)]


@pytest.mark.parametrize("rules", [1, 4])
@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3, 0.5, 0.9])
def test_chance_alone_seldom_fails(rate: float, rules: int) -> None:
    """All pairs of counts of 24 and 36 answers, with their probabilities under equal rates: no sampling.

    A two-sided 95 % interval may fail 2.5 % of the time on one side; Newcombe's is no exact one, so a point is added.
    """
    sizes = (24, 36)
    total = sum(
        one * two
        for first, one in enumerate(law(sizes[0], rate))
        for second, two in enumerate(law(sizes[1], rate))
        if first / sizes[0] > second / sizes[1] and worse(first, second, sizes, rules)
    )
    assert total <= 0.035 / rules


def test_of_several_rules_each_gets_a_wider_interval() -> None:
    now, then = term(14, 100, 100), term(5, 100, 100)
    pair = record(now, term(0, term="other")), record(then, term(0, term="other"))
    (alone,) = compare(now, then).changes
    first, _ = compare_with_baseline(pair[0], baseline_of(pair[1])).changes
    assert alone.difference is not None
    assert first.difference is not None
    assert first.difference.low < alone.difference.low < alone.difference.high < first.difference.high
    assert (alone.status, first.status) == ("worse", "known")


# ------------------------------------------------------------------------------------------------------- the file
FINDING = Finding("log.jsonl:1", "the secret prompt", "the secret answer", ((0, 3),))


def test_a_summary_and_a_record_are_the_same_baseline(tmp_path: Path) -> None:
    made = record(term(3, findings=(FINDING,), **hard), mean(12, 1, term="short"), limited(51, term="seldom"))
    (tmp_path / "summary.json").write_text(summary_json(made), encoding="utf-8")
    (tmp_path / "report.json").write_text(to_json(made), encoding="utf-8")
    first = read_baseline(tmp_path / "summary.json")
    assert first == read_baseline(tmp_path / "report.json") == baseline_of(made)
    assert "secret" not in (tmp_path / "summary.json").read_text(encoding="utf-8")
    assert not compare_with_baseline(made, first).fails


def test_a_summary_with_a_comparison_is_a_baseline_too(tmp_path: Path) -> None:
    made = record(term(3, **hard))
    compared = compare_with_baseline(made, baseline_of(record(term(0, **hard))))
    (tmp_path / "summary.json").write_text(summary_json(made, compared), encoding="utf-8")
    assert json.loads((tmp_path / "summary.json").read_text())["baseline"]["failing"] == ["clean"]
    assert read_baseline(tmp_path / "summary.json") == baseline_of(made)


@pytest.mark.parametrize(
    "change",
    [
        {"violated": -1},
        {"violated": ALL + 1},
        {"applicable": ALL - 1},
        {"rate": 1.5},
        {"rate": None},
        {"rate": None, "interval": None},
        {"interval": {"low": 0.9, "high": 0.1}},
        {"kind": "iron"},
        {"violated": "3"},
        {"applicable": True},
    ],
)
def test_figures_that_no_audit_gives_are_refused(change: dict[str, object], tmp_path: Path) -> None:
    data = json.loads(summary_json(record(term(3))))
    data["terms"][0] |= change
    path = tmp_path / "summary.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(BaselineError, match=r"is no baseline.*summary\.json"):
        read_baseline(path)


def test_files_that_are_no_baseline_are_one_clear_message(tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    with pytest.raises(BaselineError, match="cannot be read: no such file"):
        read_baseline(path)
    for content in (b"\xff", b"[]", b"{}", b"{", b'{"policy": "demo"}', b"NaN"):
        path.write_bytes(content)
        with pytest.raises(BaselineError) as error:
            read_baseline(path)
        assert "summary.json that an earlier" in str(error.value)
        assert "\n" not in str(error.value)
    twice = json.loads(summary_json(record(term(3), term(4))))
    path.write_text(json.dumps(twice), encoding="utf-8")
    with pytest.raises(BaselineError, match="`clean` do not fit"):
        read_baseline(path)


def test_a_baseline_of_another_policy_is_refused() -> None:
    with pytest.raises(BaselineError, match="of the policy `other`, this audit of `demo`"):
        compare_with_baseline(record(), baseline_of(record(policy="other")))
