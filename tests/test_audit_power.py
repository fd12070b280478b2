"""Planted violations: the law that they are drawn from, exactly, and how often the audit finds them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from bylaw.compiler.evaluate import evaluate
from bylaw.compiler.law.gibbs import ExactLaw
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit import multiplicity, statistics
from bylaw.runtime.audit.columns import VerdictColumns, columns_of
from bylaw.runtime.audit.power import Drawn, PowerError, exact_power, plant, planted_power
from bylaw.runtime.audit.rules_together import rule_tests
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace
from tinymodels import TabularModel

SELDOM = 'rule seldom { limit response contains "sorry" to at most 30% of responses }\n'


def program(*rules: str) -> RewardProgram:
    return compile_source(Source("rules.bylaw", 'policy demo version "1"\n' + "".join(rules))).require()


def trace(text: str, prompt: object = "hi") -> Trace:
    return Trace((Message("user", str(prompt)), Message("assistant", text)))


def columns(rules: RewardProgram, given: list[Trace]) -> VerdictColumns:
    return columns_of(rules.terms, (evaluate(rules, each).terms for each in given), given)


def answers(broken: int, total: int, word: str = "sorry") -> list[Trace]:
    return [trace(word if number < broken else "fine", number) for number in range(total)]


# ------------------------------------------------------------------------------------------------------ exact power
@pytest.mark.parametrize(
    ("total", "rate", "limit", "level"), [(20, 0.5, 0.3, 0.1), (7, 0.9, 0.5, 0.05), (50, 0.1, 0.1, 0.2)]
)
@pytest.mark.parametrize("is_above", [True, False])
def test_the_power_is_the_sum_over_all_counts_that_are_significant(total, rate, limit, level, is_above):
    tail = multiplicity.above if is_above else multiplicity.below
    expected = math.fsum(
        stats.binom.pmf(count, total, rate) for count in range(total + 1) if tail(count, total, limit) <= level
    )
    assert exact_power(total, rate, limit, level, is_above=is_above) == pytest.approx(expected, abs=1e-12)


def test_the_power_at_the_limit_is_no_more_than_the_level():
    for total in (1, 10, 100, 1000):
        assert exact_power(total, 0.2, 0.2, 0.1) <= 0.1
    assert exact_power(1, 0.9, 0.5, 0.01) == 0.0


# ------------------------------------------------------------------------------------------------- an enumerable model
def test_on_an_enumerable_model_the_share_found_is_the_predicted_power():
    """Answers are drawn from the law whose multiplier has its sign turned round, exp(+μ f), by enumeration.

    300 audits of 60 answers: outside of the interval of 99.9 % by chance once in a thousand seeds.
    """
    model = TabularModel(max_tokens=4)
    tokens, log_p = model.enumerate()
    given = [trace(model.text(each).decode()) for each in tokens]
    rules = program('rule mild { limit response contains "aa" to at most 20% of responses }\n')
    happens = np.array([evaluate(rules, each).terms[0].value for each in given])
    base = float(np.exp(log_p) @ happens)
    limit, multiplier = math.ceil(100 * base) / 100 + 0.05, 1.2
    rules = program(f'rule mild {{ limit response contains "aa" to at most {100 * limit:g}% of responses }}\n')
    planted = rules.with_multipliers({"mild": -multiplier})
    rewards = np.array([evaluate(planted, each).reward for each in given])
    law = ExactLaw(log_p, np.ones(len(given), bool), rewards, np.zeros((len(given), 1)), np.zeros(1))
    probabilities = law.probabilities
    rate = float(probabilities @ happens)
    assert rate == pytest.approx(base * math.exp(multiplier) / (1 - base + base * math.exp(multiplier)), abs=1e-9)
    assert base < limit < rate

    generator, runs, size = np.random.default_rng(3), 300, 60
    found = 0
    for _ in range(runs):
        places = generator.choice(len(given), size, p=probabilities / probabilities.sum())
        own = [trace(given[place].response, number) for number, place in enumerate(places)]
        found += rule_tests(columns(rules, own)).tests[0].is_found
    predicted = exact_power(size, rate, limit, 0.1)
    assert 0.2 < predicted < 0.99
    interval = statistics.clopper_pearson(found, runs, 0.999)
    assert interval.low <= predicted <= interval.high


# ---------------------------------------------------------------------------------------------------------- planting
def test_the_tilt_of_independent_answers_is_exact():
    given = columns(program(SELDOM), answers(40, 200))
    law, index = plant(given, "seldom", 0.7)
    assert law.rate(index, is_tilted=False) == pytest.approx(0.2, abs=1e-12)
    odds = 0.25 * math.exp(0.7)
    assert law.rate(index, is_tilted=True) == pytest.approx(odds / (1 + odds), abs=1e-12)


def test_the_tilt_is_inside_of_each_prompt_where_prompts_have_several_answers():
    words = [["sorry", "fine"], ["fine", "fine"], ["sorry", "sorry", "fine", "fine"]]
    given = [trace(word, prompt) for prompt, own in enumerate(words) for word in own]
    law, index = plant(columns(program(SELDOM), given), "seldom", 1.0)
    tilted = math.e / (1 + math.e)
    assert law.rate(index, is_tilted=False) == pytest.approx((1 + 0 + 2) / 8, abs=1e-12)
    assert law.rate(index, is_tilted=True) == pytest.approx((2 * tilted + 0 + 4 * tilted) / 8, abs=1e-12)
    generator = np.random.default_rng(0)
    broken = total = 0.0
    for _ in range(2000):
        drawn = law.draw(generator, is_tilted=True)
        assert drawn.prompt_count == 3
        assert len(drawn.prompts) == drawn.count
        broken += (drawn.values(0) != 0).sum()
        total += drawn.count
    # about 16,000 answers: the error of the share is below 0.6 points
    assert broken / total == pytest.approx(law.rate(index, is_tilted=True), abs=0.02)


def test_the_share_found_is_the_predicted_power():
    given = columns(program(SELDOM), answers(40, 200))
    found = planted_power(given, "seldom", 0.9, runs=300, seed=4)
    assert (found.limit, found.is_own_limit, found.is_exact) == (0.3, True, True)
    assert found.predicted == pytest.approx(exact_power(200, found.planted_rate, 0.3, 0.1), abs=1e-12)
    interval = statistics.clopper_pearson(found.found, 300, 0.999)
    assert interval.low <= found.predicted <= interval.high
    assert found.untilted_interval.low <= 0.1
    assert planted_power(given, "seldom", 0.9, runs=300, seed=4) == found
    assert planted_power(given, "seldom", 0.9, runs=30, seed=5) != found


def test_a_larger_multiplier_and_more_answers_have_more_power():
    few, many = (columns(program(SELDOM), answers(total // 5, total)) for total in (50, 400))
    weak, strong = planted_power(few, "seldom", 0.5, runs=40), planted_power(few, "seldom", 3.0, runs=40)
    assert weak.power < strong.power == 1.0
    assert planted_power(many, "seldom", 1.0, runs=40).power > planted_power(few, "seldom", 1.0, runs=40).power
    assert not weak.is_enough
    assert strong.is_enough


def test_with_several_rules_the_power_is_at_least_the_strictest():
    rules = program(SELDOM, *(SELDOM.replace("seldom", f"r{n}").replace("sorry", f"w{n}") for n in range(4)))
    found = planted_power(columns(rules, answers(40, 200)), "seldom", 1.1, runs=200)
    assert (found.is_exact, found.predicted) == (False, pytest.approx(exact_power(200, found.planted_rate, 0.3, 0.02)))
    assert found.interval.high >= found.predicted


def test_hard_rules_and_rules_without_a_limit():
    rules = program('rule clean { must not contain "bad" }\n', 'rule kind { should contain "please" weight 1 }\n')
    given = columns(rules, [trace(("bad" if n == 0 else "good") + (" please" if n % 2 else ""), n) for n in range(100)])
    hard = planted_power(given, "clean", 2.0, runs=300)
    assert hard.predicted == pytest.approx(1 - (1 - hard.planted_rate) ** 100)
    interval = statistics.clopper_pearson(hard.found, 300, 0.999)
    assert interval.low <= hard.predicted <= interval.high
    soft = planted_power(given, "kind", 2.0, runs=100)
    assert (soft.limit, soft.is_own_limit) == (0.5, False)
    assert soft.power > 0.9 > 0.25 > soft.untilted_rate


def test_quantities_are_tilted_towards_the_wrong_side():
    rules = program("rule short { limit average number of words in response to at most 3 }\n")
    given = columns(rules, [trace("one " * (1 + n % 4), n) for n in range(120)])
    found = planted_power(given, "short", 0.8, runs=60)
    weights = np.exp(0.8 * np.arange(1, 5))
    assert found.planted_rate == pytest.approx(float(weights @ np.arange(1, 5) / weights.sum()), abs=1e-9)
    assert (found.rate, found.predicted) == (pytest.approx(2.5), None)
    assert found.power > 0.9 > 0.05 > found.untilted_rate


@pytest.mark.parametrize(
    ("rule", "multiplier", "message"),
    [
        ("seldm", 1.0, "there is no rule `seldm` to plant; rules here: seldom"),
        ("seldm", 1.0, r"; did you mean `seldom`\?$"),
        ("x", 1.0, "rules here: seldom$"),
        ("seldom", -1.0, "a multiplier is a number of nats above 0, got -1"),
        ("seldom", 1.0, "`seldom` cannot be planted: no answer here breaks it"),
    ],
)
def test_what_cannot_be_planted_is_one_message(rule, multiplier, message):
    with pytest.raises(PowerError, match=message):
        planted_power(columns(program(SELDOM), answers(0, 20)), rule, multiplier)


def test_false_discoveries_through_the_tests_of_the_audit():
    """150 policies of 20 limits of 20 %, four of them broken at 32 %, all others exactly at it: BH at 10 %.

    The share of false ones among the discoveries is at most 10 % on average; 3 errors of that are allowed for.
    """
    rule = 'rule r{0} {{ limit response contains "w{0}" to at most 20% of responses }}\n'
    rules = program(*(rule.format(number) for number in range(20)))
    generator = np.random.default_rng(5)
    rates = np.array([0.32] * 4 + [0.2] * 16)
    shares, found = [], 0
    for _ in range(150):
        happens = generator.random((150, 20)) < rates
        base = tuple((happens[:, place].astype(np.uint8), happens[:, place].astype(float)) for place in range(20))
        drawn = Drawn(rules.terms, (), base, np.arange(150), np.arange(150), 150)
        tests = rule_tests(drawn).tests
        discovered = [place for place, test in enumerate(tests) if test.is_found]
        shares.append(sum(place >= 4 for place in discovered) / max(1, len(discovered)))
        found += sum(place < 4 for place in discovered)
    error = np.std(shares, ddof=1) / len(shares) ** 0.5
    assert np.mean(shares) <= 0.10 + 3 * error
    assert found / 600 > 0.7
