"""What if: the same answer as editing the policy and scoring again, on a law that is known exactly."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from price_suites import POLICY, exact_suite, program_of, sampled_suite

from bylaw.runtime.prices.errors import BadQuestion, Impossible, Unanswerable
from bylaw.runtime.prices.law import flatten
from bylaw.runtime.prices.solve import solve
from bylaw.runtime.prices.table import price_table
from bylaw.runtime.prices.what_if import Change, WhatIf, changed, parse_change, what_if

EDITS = {
    "another bound": (["seldom=4%"], (), "at most 1% of", "at most 4% of"),
    "a bound as a share": (["often=0.5"], (), "at least 60% of", "at least 50% of"),
    "among others": (["within=35%"], (), "at most 20% of", "at most 35% of"),
    "a limit to nothing": (["seldom=0%"], (), "at most 1% of", "at most 0% of"),
    "a limit to always": (["often=100%"], (), "at least 60% of", "at least 100% of"),
    "a weight": (["rarely weight 3"], (), "weight 1.5", "weight 3"),
    "the weight of a preference": (["little weight 0.05"], (), "weight 0.3", "weight 0.05"),
    "a limit out": (
        [],
        ("often",),
        'rule often at user { limit response contains "c" to at least 60% of responses }',
        "",
    ),
    "a hard rule out": ([], ("no_ba",), 'rule no_ba at root { must not contain "ba" }', ""),
}


@cache
def program():
    return program_of(POLICY)


@cache
def scores():
    return flatten(exact_suite(program()), exact=True)


def asked(changes: list[str], without: tuple[str, ...]) -> WhatIf:
    questions = [*map(parse_change, changes), *(Change("without", name) for name in without)]
    return what_if(scores(), program().terms, questions, ess_floor=1)


def agrees(found: WhatIf, text: str) -> None:
    """The side after the change is the priced law of the edited policy, scored again, to 1e-9."""
    again = program_of(text)
    solved = solve(flatten(exact_suite(again), exact=True), again.terms, ess_floor=1)
    made = price_table(solved)
    rows = {row.term: row for row in made.rows}
    assert found.after.kl.value == pytest.approx(made.kl.value, abs=1e-9)
    assert found.after.ess == pytest.approx(made.ess, rel=1e-9)
    seen = 0
    for row in found.rows:
        if row.after.status == "left out":
            assert row.term not in rows
            continue
        expected = rows[row.term]
        seen += 1
        assert row.after.kl == pytest.approx(expected.kl, abs=1e-9), row.term
        if expected.kind == row.kind:
            assert row.after.rate.value == pytest.approx(expected.law.value, abs=1e-9), row.term
            assert row.after.strength == pytest.approx(expected.strength, abs=1e-8), row.term
        else:  # a limit that became a hard rule
            assert (row.after.status, expected.law.value) == ("must hold", 0.0)
            assert row.after.rate.value == row.after.bound
    assert seen == len(rows)


@pytest.mark.parametrize("name", EDITS)
def test_a_change_is_what_editing_the_policy_and_scoring_again_gives(name: str) -> None:
    changes, without, before, after = EDITS[name]
    assert POLICY.count(before) == 1
    found = asked(changes, without)
    agrees(found, POLICY.replace(before, after))
    # Before is the policy as it is.
    table = price_table(solve(scores(), program().terms, ess_floor=1))
    assert found.before.kl == table.kl
    assert [row.before.rate for row in found.rows] == [row.law for row in table.rows]


def test_changes_combine() -> None:
    text = POLICY.replace("at most 1% of", "at most 3% of").replace("weight 1.5", "weight 0.5")
    text = text.replace('rule asked at user { when prompt contains "long" should contain "d" weight 1 }', "")
    found = asked(["seldom=3%", "rarely weight 0.5"], ("asked",))
    agrees(found, text)
    assert found.changes == (
        "`seldom` at most 3% instead of 1%",
        "`rarely` weight 0.5 instead of 1.5",
        "without `asked`",
    )
    assert [row.term for row in found.rows if row.is_changed] == ["rarely", "seldom", "asked"]


def test_a_sample_agrees_with_the_exact_answer_within_its_intervals() -> None:
    """20 samples of 3 x 600 draws: what a change does to the divergence and to a multiplier is inside the stated
    interval in at least 15 of 20 (a right interval fails that with probability 0.03% each)."""
    question = [parse_change("seldom=4%"), parse_change("rarely weight 3")]
    exact = what_if(scores(), program().terms, question, ess_floor=1)
    suite, inside = exact_suite(program()), np.zeros(2)
    for seed in range(20):
        found = what_if(flatten(sampled_suite(program(), 600, seed, suite)), program().terms, question)
        inside[0] += found.after.kl.low <= exact.after.kl.value <= found.after.kl.high
        mu, truth = found.rows[4].after, exact.rows[4].after
        inside[1] += mu.strength_low <= truth.strength <= mu.strength_high
    assert inside.min() >= 15, inside


@pytest.mark.parametrize(
    ("question", "said"),
    [
        ("nonsense", "is not a change; write `RULE=2%`"),
        ("seldom=nan", "`nan` in `seldom=nan` is not a finite number"),
        ("seldom=inf%", "not a finite number"),
        ("seldom=two", "`two` in `seldom=two` is not a number"),
        ("seldom=200%", "a bound of 200% is above 100 %, and `seldom` limits a share"),
        ("seldom=2", "did you mean `seldom=2%`?"),
        ("seldom=-1%", "a bound of -1% is below 0 %"),
        ("seldim=2%", "there is no rule called `seldim`; did you mean `seldom`?"),
        ("rarely=2%", "`rarely` is no limit, so it has no bound"),
        ("seldom weight 2", "`seldom` is no `should` or `prefer`, so it has no weight"),
        ("rarely weight -1", "the weight of `rarely` is negative (-1)"),
        ("rarely weight nan", "not a finite number"),
        ("rarely weight 0", "use --without rarely"),
    ],
)
def test_bad_questions_are_named(question: str, said: str) -> None:
    with pytest.raises(BadQuestion) as caught:
        asked([question], ())
    assert said in str(caught.value)


def test_a_rule_is_changed_once_and_something_is_changed() -> None:
    with pytest.raises(BadQuestion, match="`seldom` is changed twice"):
        asked(["seldom=2%"], ("seldom",))
    with pytest.raises(BadQuestion, match="nothing is changed"):
        asked([], ())


def test_a_rule_of_several_parts() -> None:
    again = program_of(
        'policy two version "1"\nlevels root > user\nrule both at root {\n'
        '  limit response contains "a" to at most 5% of responses\n'
        '  limit response contains "b" to at most 5% of responses\n  should contain "c" weight 1\n}\n'
    )
    ids = [term.id for term in again.terms]
    with pytest.raises(BadQuestion, match=f"2 parts with a bound: name one of `{ids[0]}`, `{ids[1]}`"):
        changed(again.terms, [parse_change("both=1%")])
    terms, _ = changed(again.terms, [parse_change(f"{ids[1]}=1%"), parse_change("both weight 2")])
    assert [term.bound for term in terms] == [0.05, 0.01, None]
    assert terms[2].weight == 2
    _, active = changed(again.terms, [Change("without", "both")])
    assert not active.any()


def test_a_quantity_has_no_percentage() -> None:
    again = program_of(
        'policy long version "1"\nlevels root > user\n'
        "rule short at root { limit average number of characters in response to at most 2 }\n"
    )
    with pytest.raises(BadQuestion, match="limits a quantity; give a number without %"):
        changed(again.terms, [parse_change("short=2%")])
    found = flatten(exact_suite(again), exact=True)
    answer = what_if(found, again.terms, [parse_change("short=1.5")], ess_floor=1)
    assert answer.rows[0].after.rate.value == pytest.approx(1.5, abs=1e-9)
    with pytest.raises(Impossible, match=r"`short` asks for at most -1"):
        what_if(found, again.terms, [parse_change("short=-1")], ess_floor=1)


def test_what_cannot_be_met_is_a_certificate_with_names() -> None:
    extra = 'rule seldom_c at user { limit response contains "c" to at most 90% of responses }\n'
    again = program_of(POLICY + extra)
    found = flatten(exact_suite(again), exact=True)
    with pytest.raises(Impossible) as caught:
        what_if(found, again.terms, [parse_change("seldom_c=30%")], ess_floor=1)
    assert set(caught.value.terms) == {"often", "seldom_c"}
    # Without the one, the other can be met.
    what_if(found, again.terms, [parse_change("seldom_c=30%"), Change("without", "often")], ess_floor=1)


def test_a_change_that_the_responses_cannot_carry_is_refused_with_the_number() -> None:
    found = flatten(sampled_suite(program(), 400, 0, exact_suite(program())))
    with pytest.raises(Unanswerable, match=r"worth \d+ independent ones under this law, and at least 100 are needed"):
        what_if(found, program().terms, [parse_change("little weight 8")])


def test_before_and_after_are_divided_in_one_way() -> None:
    """With 13 rules before and 12 after, both are divided along the path."""
    pairs = ("ab", "ac", "bc", "ca", "cb", "da")
    extra = (
        f'rule r{number} at user {{ should not contain "{pair}" weight 0.4 }}\n' for number, pair in enumerate(pairs)
    )
    again = program_of(POLICY + "".join(extra))
    found = what_if(flatten(exact_suite(again), exact=True), again.terms, [Change("without", "asked")], ess_floor=1)
    assert "path" in found.method
    for total, side in ((found.before, "before"), (found.after, "after")):
        assert sum(getattr(row, side).kl for row in found.rows) == pytest.approx(total.kl.value, abs=1e-9)
    alone = what_if(flatten(exact_suite(again), exact=True), again.terms, [Change("without", "r0")], ess_floor=1)
    assert [row.before.kl for row in found.rows] == [row.before.kl for row in alone.rows]
