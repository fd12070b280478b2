"""`bylaw plan`: what each rule takes, what a pilot tells, and what is printed."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from bylaw.compiler.evaluate import evaluate
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit import planning, sequential
from bylaw.runtime.audit.columns import columns_of
from bylaw.runtime.audit.pilot import Pilot, correlation, pilot_of
from bylaw.runtime.audit.policy_plan import Assumptions, PerRule, PolicyPlan, RulePlan, plan_policy
from bylaw.runtime.audit.power import exact_power
from bylaw.runtime.audit.statistics import exact_upper, wilson
from bylaw.runtime.cli import main
from bylaw.runtime.report.plan_text import curve, power_plot
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

HEAD = 'policy demo version "1"\n'
HARD = 'rule clean { must not contain "bad" }\n'
SELDOM = 'rule seldom { limit response contains "sorry" to at most 30% of responses }\n'
OFTEN = 'rule often { limit response contains "thanks" to at least 70% of responses }\n'
SHORT = "rule short { limit average number of words in response to at most 4 }\n"
KIND = 'rule kind { should contain "please" weight 1 }\n'
JUDGED = (
    'concept rude means "Insults the reader." { like "You fool." unlike "You are mistaken." }\n'
    "rule polite { limit response expresses rude to at most 10% of responses }\n"
)
ALL = HARD + SELDOM + OFTEN + SHORT + KIND + JUDGED


def program(*rules: str) -> RewardProgram:
    return compile_source(Source("rules.bylaw", HEAD + "".join(rules))).require()


def pilot(rules: RewardProgram, *answers: str, each: int = 1) -> Pilot:
    given = [Trace((Message("user", f"q{n // each}"), Message("assistant", text))) for n, text in enumerate(answers)]
    return pilot_of(columns_of(rules.terms, (evaluate(rules, trace).terms for trace in given), given))


def one(rules: RewardProgram, seen: Pilot | None = None, **given: object) -> RulePlan:
    (found,) = plan_policy(rules, Assumptions(**given), seen).rules
    return found


# ------------------------------------------------------------------------------------------------------------- sizes
def test_a_hard_rule_takes_the_size_without_any_failure():
    found = one(program(HARD))
    assert (found.samples, found.allowed, found.limit, found.power) == (299, 0, 0.01, 1.0)
    assert one(program(HARD), hard_limit=0.05).samples == 59
    # with a rate, so many that some may break it
    some = one(program(HARD), rate=PerRule(0.002))
    assert some.samples == planning.certify(0.01, 0.002).samples > 299


def test_limits_take_what_certifies_them_and_at_least_is_the_mirror_image():
    found = one(program(SELDOM), rate=PerRule(0.2))
    expected = planning.certify(0.3, 0.2)
    assert (found.samples, found.allowed, found.power) == (expected.samples, expected.allowed, expected.power)
    assert exact_upper(found.allowed, found.independent) <= 0.3
    mirrored = one(program(OFTEN), rate=PerRule(own={"often": 0.8}))
    assert (mirrored.samples, mirrored.limit, mirrored.rate) == (found.samples, 0.7, 0.8)
    assert one(program(SELDOM)).rate == 0.15
    assert one(program(OFTEN)).rate == 0.85


def test_the_largest_number_counts_and_prompts_repeat():
    plan = plan_policy(program(HARD, SELDOM, KIND), Assumptions(cluster_size=4, correlation=0.2))
    assert plan.design_effect == pytest.approx(1.6)
    assert plan.samples == max(each.samples for each in plan.rules) == 4 * plan.prompts
    for each in plan.rules:
        assert each.samples % 4 == 0
        assert each.samples >= each.independent * 1.6 > each.samples - 4


def test_together_each_limit_takes_more():
    rules = program(HARD, SELDOM)
    alone, together = (plan_policy(rules, Assumptions(is_together=flag)) for flag in (False, True))
    assert [each.confidence for each in together.rules] == pytest.approx([0.975, 0.975])
    assert [each.samples for each in alone.rules] == [299, planning.certify(0.3, 0.15).samples]
    assert [each.samples for each in together.rules] == [368, planning.certify(0.3, 0.15, rules=2).samples]


def test_a_confidence_of_the_author_counts():
    rule = SELDOM.replace("of responses", "of responses with confidence 0.99")
    assert one(program(rule)).samples == planning.certify(0.3, 0.15, confidence=0.99).samples


def test_rates_without_a_limit_are_estimated():
    found = one(program(KIND))
    interval = wilson(found.samples / 2, found.samples)
    assert interval.high - interval.low <= 0.1 < 0.1001
    shorter = wilson((found.samples - 1) / 2, found.samples - 1)
    assert shorter.high - shorter.low > 0.1
    exactly = one(program(SELDOM.replace("at most", "exactly")))
    assert (exactly.purpose, exactly.samples) == ("estimate", found.samples)


def test_rules_that_seldom_apply_take_more_answers():
    whole = one(program(SELDOM))
    assert one(program(SELDOM), applicable=PerRule(0.25)).samples == 4 * whole.samples


def test_judged_rules_take_labels():
    plain = one(program(JUDGED))
    assert (plain.is_judged, plain.is_least, plain.labels) == (True, True, None)
    judge = {"sensitivity": PerRule(0.85), "specificity": PerRule(0.95)}
    found = one(program(JUDGED), **judge)
    assert not found.is_least
    kinds = {"labels_violating": found.labels, "labels_keeping": found.labels}
    exact = planning.certify_judged(0.1, 0.05, sensitivity=0.85, specificity=0.95, **kinds)
    known = planning.certify_judged(
        0.1, 0.05, sensitivity=0.85, specificity=0.95, labels_violating=10**9, labels_keeping=10**9
    )
    assert found.samples == exact.samples <= 2 * known.samples
    fewer = {name: number - 1 for name, number in kinds.items()}
    # one label less: more than twice the answers, or none suffice
    assert _judged_or_none(fewer) > 2 * known.samples
    assert found.samples > plain.samples
    given = one(program(JUDGED), labels=2000, **judge)
    assert given.labels == 1000
    assert "label at least" in one(program(JUDGED), labels=40, **judge).why_not


def _judged_or_none(labels: dict[str, int]) -> float:
    try:
        return planning.certify_judged(0.1, 0.05, sensitivity=0.85, specificity=0.95, **labels).samples
    except planning.OutOfReach:
        return float("inf")


def test_planted_violations_take_what_finds_them():
    found = one(program(SELDOM), rate=PerRule(0.2), planted={"seldom": 1.5})
    multiplier, rate, needed, power = found.planted
    odds = 0.25 * np.exp(1.5)
    assert (multiplier, rate) == (1.5, pytest.approx(odds / (1 + odds)))
    assert exact_power(needed, rate, 0.3, 0.05) >= 0.8
    assert all(exact_power(fewer, rate, 0.3, 0.05) < 0.8 for fewer in range(1, needed))
    assert power == pytest.approx(exact_power(found.independent, rate, 0.3, 0.05))
    weak = one(program(SELDOM), rate=PerRule(0.1), planted={"seldom": 0.2})
    assert weak.planted[2] is None
    assert weak.planted[3] < 0.05


# ------------------------------------------------------------------------------------------------------------- pilots
def test_a_pilot_gives_rates_spread_and_how_often_rules_apply():
    rules = program(SELDOM, SHORT)
    seen = pilot(rules, "sorry", "one two three", "one", *["fine"] * 7)
    share, average = plan_policy(rules, Assumptions(), seen).rules
    assert share.rate == pytest.approx(1.5 / 11)
    assert share.source == "pilot, 1 of 10"
    assert average.rate == pytest.approx(1.2)
    assert average.source == "pilot, 10 answers"
    assert plan_policy(rules, Assumptions(rate=PerRule(own={"seldom": 0.29})), seen).rules[0].source == "given"


def test_a_pilot_too_small_to_tell_anything_of_a_limit_does_not_forbid_it():
    rules = program(HARD)
    few = one(rules, pilot(rules, *["fine"] * 20))
    assert (few.samples, few.rate) == (299, 0.0)
    assert few.source == "no answer breaks it (pilot, 0 of 20: too few to tell)"
    # one that is broken in 20 is another matter, and so is a pilot that can tell
    assert one(rules, pilot(rules, "bad", *["fine"] * 19)).samples is None
    many = one(rules, pilot(rules, *["fine"] * 99))
    assert (many.rate, many.source) == (pytest.approx(0.005), "pilot, 0 of 99")


def test_the_size_for_an_average_has_its_power():
    rules = program(SHORT)
    generator = np.random.default_rng(7)
    words = generator.integers(1, 6, 400)
    found = one(rules, pilot(rules, *("w " * number for number in words)))
    sd, mean = words.std(ddof=1), words.mean()
    draws = generator.normal(mean, sd, (4000, found.samples))
    from scipy.stats import t

    uppers = draws.mean(1) + t.ppf(0.95, found.samples - 1) * draws.std(1, ddof=1) / found.samples**0.5
    # 4,000 runs: the error is 0.6 points
    assert (uppers <= 4).mean() == pytest.approx(0.8, abs=0.05)


def test_the_correlation_is_that_of_a_known_law():
    generator = np.random.default_rng(1)
    groups, size, alike = 4000, 5, 0.3
    rates = generator.beta(0.2 * (1 / alike - 1), 0.8 * (1 / alike - 1), groups)
    values = (generator.random((groups, size)) < rates[:, None]).astype(float)
    found = correlation(values.ravel(), np.repeat(np.arange(groups), size))
    assert found == pytest.approx(alike, abs=0.03)
    assert correlation(np.ones(4), np.array([0, 0, 1, 1])) is None
    assert correlation(np.ones(2), np.array([0, 1])) is None
    assert correlation(np.array([1.0, 1, 0, 0]), np.array([0, 0, 1, 1])) == 1.0


def test_a_pilot_of_several_answers_gives_size_and_correlation():
    rules = program(SELDOM)
    seen = pilot(rules, *(["sorry", "sorry"] + ["fine"] * 2) * 5, each=2)
    plan = plan_policy(rules, Assumptions(rate=PerRule(0.1)), seen)
    assert (plan.cluster_size, plan.correlation) == (2, 1.0)
    assert plan.samples == 2 * plan.rules[0].independent


# -------------------------------------------------------------------------------------------------- what cannot be
@pytest.mark.parametrize(
    ("rule", "given", "message"),
    [
        (SELDOM, {"rate": PerRule(0.3)}, "at this rate it is not kept"),
        (SELDOM, {"rate": PerRule(0.2999999)}, "more than 10000000 independent samples"),
        (SHORT, {}, "from a pilot of two answers"),
        (SELDOM.replace("of responses", "of responses for each prompt"), {}, "9 answers to each, none of which"),
    ],
)
def test_what_cannot_be_planned_says_why(rule, given, message):
    found = one(program(rule), **given)
    assert (found.purpose, found.samples) == ("none", None)
    assert message in found.why_not


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate": PerRule(own={"seldm": 0.1})}, "there is no rule `seldm`; rules here: seldom"),
        ({"rate": PerRule(own={"seldm": 0.1})}, r"; did you mean `seldom`\?$"),
        ({"planted": {"x": 1.0}}, "there is no rule `x`"),
        ({"rate": PerRule(1.5)}, "a rate lies between 0 and 1, got 1.5"),
    ],
)
def test_wrong_assumptions_are_one_message(given, message):
    with pytest.raises(ValueError, match=message):
        plan_policy(program(SELDOM), Assumptions(**given))


# ------------------------------------------------------------------------------------------------------------ the verb
@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.bylaw").write_text(HEAD + ALL)
    lines = ({"prompt": f"q{n}", "response": "sorry" if n % 9 == 0 else "thanks a lot"} for n in range(90))
    (tmp_path / "pilot.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return lambda *words: CliRunner().invoke(main, ["plan", "rules.bylaw", *words])


def test_the_plan_is_printed_in_three_formats(run):
    text, markdown, data = (run("--format", name) for name in ("text", "markdown", "json"))
    assert [each.exit_code for each in (text, markdown, data)] == [0, 0, 0]
    found = json.loads(data.stdout)
    assert found["samples"] == max(each["samples"] or 0 for each in found["rules"])
    for each in (text.stdout, markdown.stdout):
        assert f"It takes {found['samples']} answers to certify every limit that could be planned for" in each
        assert "polite (judged)" in each
        assert "≥" in each


def test_a_pilot_and_prices_and_a_plot(run, tmp_path):
    words = ("pilot.jsonl", "--price-in", "1", "--price-out", "2", "--planted", "seldom=2", "--format", "json")
    first = run(*words, "--plot", "a.svg")
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout)
    rule = next(each for each in found["rules"] if each["term"] == "seldom")
    assert rule["source"] == "pilot, 10 of 90"
    cost = found["cost"]
    assert cost["price"] == pytest.approx((cost["tokens_in"] + 2 * cost["tokens_out"]) / 1e6)
    assert cost["requests"] == found["samples"]
    assert rule["planted"][0] == 2
    assert run(*words, "--plot", "b.svg").exit_code == 0
    drawing = (tmp_path / "a.svg").read_bytes()
    assert drawing == (tmp_path / "b.svg").read_bytes()
    for words_in in (b"answers in all", b"chance to certify", b"seldom"):
        assert words_in in drawing


def test_the_curve_is_exact_and_goes_through_the_plan():
    found = one(program(SELDOM))
    sizes, powers = curve(found)
    assert dict(zip(sizes, powers, strict=True))[found.independent] == pytest.approx(found.power)
    assert power_plot(plan_policy(program(SELDOM), Assumptions()), ".png")[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rate", "seldm=1%"), "there is no rule `seldm`"),
        (("--rate", "5%", "--rate", "6%"), "--rate is said twice"),
        (("--rate", "x"), "write it as 5%, 0.05 or RULE=5%"),
        (("--power", "100%"), "--power lies between 0% and 100%"),
        (("--planted", "seldom=0"), "--planted is RULE=MULTIPLIER"),
        (("--planted", "kind=1"), "`kind` has no limit"),
        (("--plot", "a.pdf"), "--plot writes .svg and .png files"),
        (("--plot", "no/a.svg"), "there is no folder `no`"),
        (("--price-in", "1"), "a price needs tokens"),
        (("--judge-sensitivity", "90%"), "a judge has a sensitivity and a specificity: say both"),
        (("none.jsonl",), "none.jsonl"),
    ],
)
def test_each_wrong_word_is_one_message_and_exit_code_2(run, tmp_path, words, message):
    found = run(*words)
    assert found.exit_code == 2
    assert message in found.output
    assert "Traceback" not in found.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pilot.jsonl", "rules.bylaw"]


def test_a_rule_is_planned_for_in_its_order():
    plan: PolicyPlan = plan_policy(program(ALL), Assumptions())
    assert [each.term for each in plan.rules] == ["clean", "seldom", "often", "short", "kind", "polite"]


def test_what_stopping_takes_is_exact():
    found = one(program(SELDOM), rate=PerRule(0.15))
    mean, kept, within = found.stopped
    assert within == 3 * found.independent
    exact = sequential.outcomes(sequential.gate(0.3), 0.15, within)
    assert (mean, kept) == (pytest.approx(exact.samples), pytest.approx(exact.passes))
    hard = one(program(HARD))
    assert hard.stopped == (309, 1.0, 309)
    rare = one(program(HARD), rate=PerRule(0.001))
    generator = np.random.default_rng(3)
    ends = np.minimum(generator.geometric(0.001, 200_000), 309)
    # the error of the mean of 200,000 runs is below 0.2
    assert rare.stopped[0] == pytest.approx(rare.samples / rare.independent * ends.mean(), abs=1)
    assert rare.stopped[1] == pytest.approx(0.999**309)
    assert one(program(SELDOM), cluster_size=2).stopped is None
