"""Prices of rules: rates, multipliers, shares, interactions against the exact law, and samples within their error."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from price_suites import POLICY, PROMPTS, exact_suite, model, program_of, sampled_suite

from bylaw.compiler.law.gibbs import ExactLaw
from bylaw.runtime.prices.errors import Impossible, Unanswerable
from bylaw.runtime.prices.interactions import interactions
from bylaw.runtime.prices.law import Law, flatten
from bylaw.runtime.prices.scored import ScoredPrompt, ScoredSuite
from bylaw.runtime.prices.shares import divided
from bylaw.runtime.prices.solve import Solved, solve
from bylaw.runtime.prices.table import PriceTable, price_table

TERMS = ("no_ba", "rarely", "little", "seldom", "often", "asked", "within")


@cache
def program():
    return program_of(POLICY)


@cache
def suite() -> ScoredSuite:
    return exact_suite(program())


@cache
def solved() -> Solved:
    return solve(flatten(suite(), exact=True), program().terms, ess_floor=1)


@cache
def table() -> PriceTable:
    return price_table(solved())


def row(name: str):
    return next(each for each in table().rows if each.term == name)


def broken(number: int) -> dict[str, np.ndarray]:
    """What each rule is about in all responses to a prompt, from the texts themselves."""
    texts, _ = model(number)
    found = {
        "no_ba": ["ba" in text for text in texts],
        "rarely": [text.endswith("d") for text in texts],
        "little": [len(text) for text in texts],
        "seldom": ["aa" in text for text in texts],
        "often": ["c" in text for text in texts],
        "asked": ["d" not in text for text in texts],
        "within": ["b" in text and "d" in text for text in texts],
        "about_within": ["d" in text for text in texts],
    }
    return {name: np.array(values, dtype=float) for name, values in found.items()}


def exponent(number: int, mu: dict[str, float], members: tuple[str, ...] = TERMS) -> np.ndarray:
    """[Y] the exponent of the law of `members`, written out by hand; −inf where the hard rule is broken."""
    seen = broken(number)
    parts = {
        "no_ba": np.where(seen["no_ba"] > 0, -np.inf, 0.0),
        "rarely": -1.5 * seen["rarely"],
        "little": -0.3 * seen["little"],
        "seldom": -mu["seldom"] * seen["seldom"],
        "often": -mu["often"] * seen["often"],
        "asked": -1.0 * seen["asked"] if "long" in PROMPTS[number] else 0.0 * seen["asked"],
        "within": -mu["within"] * (seen["within"] - 0.2 * seen["about_within"]),
    }
    return sum((parts[name] for name in members), np.zeros(len(seen["asked"])))


def law(number: int, mu: dict[str, float], members: tuple[str, ...] = TERMS) -> np.ndarray:
    weight = np.exp(model(number)[1] + exponent(number, mu, members))
    return weight / weight.sum()


def divergence(mu: dict[str, float], members: tuple[str, ...] = TERMS) -> float:
    total = 0.0
    for number in range(len(PROMPTS)):
        own, log_p0 = law(number, mu, members), model(number)[1]
        kept = own > 0
        total += float(own[kept] @ (np.log(own[kept]) - log_p0[kept])) / len(PROMPTS)
    return total


def multipliers() -> dict[str, float]:
    return {name: float(row(name).strength) for name in ("seldom", "often", "within")}


# ------------------------------------------------------------------------------------------------- the exact law
def test_rates_multipliers_and_divergence_are_those_of_the_exact_law() -> None:
    mu = multipliers()
    nothing = dict.fromkeys(mu, 0.0)
    seen = [broken(number) for number in range(len(PROMPTS))]
    for name in TERMS:
        about = {"within": "about_within"}.get(name)
        prompts = [1] if name == "asked" else range(len(PROMPTS))
        for found, members, where in ((row(name).base, (), nothing), (row(name).law, TERMS, mu)):
            laws = {number: law(number, where, members) for number in prompts}
            top = sum(laws[number] @ seen[number][name] for number in prompts)
            bottom = sum(laws[number] @ seen[number][about] for number in prompts) if about else len(prompts)
            assert found.value == pytest.approx(top / bottom, abs=1e-9), name
    # The conditions of Karush, Kuhn and Tucker: the three limits bind, with multipliers of the right sign.
    assert row("seldom").law.value == pytest.approx(0.01, abs=1e-9)
    assert row("often").law.value == pytest.approx(0.6, abs=1e-9)
    assert row("within").law.value == pytest.approx(0.2, abs=1e-9)
    assert mu["seldom"] > 0 > mu["often"]
    assert mu["within"] > 0
    assert table().kl.value == pytest.approx(divergence(mu), abs=1e-9)
    assert row("seldom").slack == pytest.approx(0.0, abs=1e-9)


def test_shares_are_shapley_values_over_all_sets_of_rules() -> None:
    mu, size = multipliers(), len(TERMS)
    value = {members: divergence(mu, members) for count in range(size + 1) for members in combinations(TERMS, count)}
    for name in TERMS:
        share = 0.0
        for members, own in value.items():
            if name not in members:
                weight = factorial(len(members)) * factorial(size - 1 - len(members)) / factorial(size)
                share += weight * (value[tuple(t for t in TERMS if t in (*members, name))] - own)
        assert row(name).kl == pytest.approx(share, abs=1e-9), name
    assert sum(each.kl for each in table().rows) == pytest.approx(table().kl.value, abs=1e-9)
    assert sum(each.share for each in table().rows) == pytest.approx(1.0, abs=1e-9)


def objective(found: Solved) -> float:
    """The divergence less what the weighed rules gain, in nats."""
    return price_table(found).kl.value - gained(found.law)


def gained(found: Law) -> float:
    weighed = [index for index, term in enumerate(found.terms) if term.kind in ("soft", "graded")]
    reward = (found.features[:, weighed] * found.strength[0, weighed]).sum(axis=1)
    return float(found.weights @ reward) / len(found.scores.prompts)


def test_shadow_prices_are_the_slope_of_the_objective() -> None:
    scores, step = solved().law.scores, 1e-4
    for name in ("seldom", "often", "within"):
        ends = []
        for side in (1, -1):
            terms = tuple(
                replace(term, bound=term.bound + side * step) if term.id == name else term for term in program().terms
            )
            ends.append(objective(solve(scores, terms, ess_floor=1)))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert row(name).shadow_price == pytest.approx(slope, rel=1e-4), name
        assert row(name).shadow_low <= row(name).shadow_price <= row(name).shadow_high


def test_what_a_weight_buys_is_the_slope_with_the_limits_kept() -> None:
    scores, step = solved().law.scores, 1e-4
    for name in ("rarely", "little", "asked"):
        ends = []
        for side in (1, -1):
            terms = tuple(
                replace(term, weight=float(np.sign(term.weight)) * (abs(term.weight) + side * step))
                if term.id == name
                else term
                for term in program().terms
            )
            moved = price_table(solve(scores, terms, ess_floor=1))
            ends.append((moved.kl.value, next(each.law.value for each in moved.rows if each.term == name)))
        slope = (np.array(ends[0]) - np.array(ends[1])) / (2 * step)
        assert row(name).buys.kl.value == pytest.approx(slope[0], rel=1e-5, abs=1e-8), name
        assert row(name).buys.rate.value == pytest.approx(slope[1], rel=1e-5, abs=1e-8), name
    assert row("seldom").buys is None
    assert row("no_ba").buys is None


def test_interactions_are_covariances_under_the_exact_law() -> None:
    mu = multipliers()
    found = interactions(solved().law)
    wanted = {"rarely": -1, "little": -1, "seldom": -1, "often": 1, "asked": -1}
    for first, second in combinations(wanted, 2):
        expected = 0.0
        for number in range(len(PROMPTS)):
            own, seen = law(number, mu), broken(number)
            if "asked" in (first, second) and number != 1:
                continue
            exact = ExactLaw(
                model(number)[1],
                seen["no_ba"] == 0,
                np.zeros(len(own)),
                np.column_stack([wanted[first] * seen[first], wanted[second] * seen[second]]),
                np.zeros(2),
            )
            tilt = exact.reweighted(reward=np.where(seen["no_ba"] > 0, 0.0, exponent(number, mu, TERMS[1:])))
            expected += float(tilt.covariance()[0, 1]) / len(PROMPTS)
        i, j = TERMS.index(first), TERMS.index(second)
        assert found.covariance[i, j] == pytest.approx(expected, abs=1e-10)
    # A hard rule is looked at under the law without it.
    expected = 0.0
    for number in range(len(PROMPTS)):
        own, seen = law(number, mu, TERMS[1:]), broken(number)
        kept, happens = 1 - seen["no_ba"], -seen["seldom"]
        expected += (own @ (kept * happens) - (own @ kept) * (own @ happens)) / len(PROMPTS)
    assert found.covariance[0, TERMS.index("seldom")] == pytest.approx(expected, abs=1e-10)
    assert np.allclose(found.covariance, found.covariance.T, equal_nan=True)


# ------------------------------------------------------------------------------------------------------- samples
def test_samples_agree_with_the_exact_law_within_their_intervals() -> None:
    """30 samples of 3 x 400 draws: each of 8 figures is inside its 95% interval in at least 24 of 30 (binomial: a right
    interval fails that with probability 0.04% each). The bias of divergences, of the order of one over the number of
    effective samples, is inside that as well."""
    exact = {each.term: each for each in table().rows}
    inside: dict[str, int] = {}
    for seed in range(30):
        found = solve(flatten(sampled_suite(program(), 400, seed, suite())), program().terms)
        made = price_table(found)
        for each in made.rows:
            truth = exact[each.term]
            if each.kind == "budget":
                inside[f"mu {each.term}"] = inside.get(f"mu {each.term}", 0) + (
                    each.strength_low <= truth.strength <= each.strength_high
                )
            if each.kind in ("soft", "graded"):
                inside[f"rate {each.term}"] = inside.get(f"rate {each.term}", 0) + (
                    each.base.low <= truth.base.value <= each.base.high
                )
        inside["kl"] = inside.get("kl", 0) + (made.kl.low <= table().kl.value <= made.kl.high)
        inside["base"] = inside.get("base", 0) + (
            made.rows[0].base.low <= exact["no_ba"].base.value <= made.rows[0].base.high
        )
    assert len(inside) == 8
    assert min(inside.values()) >= 24, inside


def test_intervals_are_of_the_law_with_its_multipliers() -> None:
    """40 samples: the interval of the divergence has that of the law with the same multipliers, on all responses.

    At a coverage of 95 % fewer than 33 of 40 have probability 0.1 %; fixed multipliers are what intervals say.
    """
    inside = 0
    for seed in range(40):
        found = solve(flatten(sampled_suite(program(), 400, 5000 + seed, suite())), program().terms, ess_floor=50)
        whole = divided(Law(solved().law.scores, program().terms, found.law.active, found.law.strength)).total.value
        stated = divided(found.law).total
        inside += stated.low <= whole <= stated.high
    assert inside >= 33


def test_free_rules_are_seldom_told_from_free() -> None:
    """40 samples of rules that have nothing to do with each other: one pair in any of them at 5 % each; more than 7 of
    40 has probability 0.2 % if the threshold is right."""
    rng = np.random.default_rng(3)
    terms = tuple(program().term(name) for name in ("rarely", "asked", "no_ba"))
    found = 0
    for _ in range(40):
        prompts = []
        for number in range(2):
            violated = rng.random((300, 3)) < 0.3
            values = -violated.astype(float)
            prompts.append(ScoredPrompt(f"p{number}", np.zeros(300), values, np.ones((300, 3), bool), violated))
        scores = flatten(ScoredSuite(suite().origin, tuple(term.id for term in terms), tuple(prompts)))
        made = interactions(solve(scores, terms).law)
        found += bool(made.tension or made.support)
    assert found <= 7


def test_interaction_errors_are_the_spread_over_samples() -> None:
    """60 samples: the stated error of each covariance is within a third of the spread (its own error is 9 %)."""
    made = []
    for seed in range(60):
        law_of = Law(
            flatten(sampled_suite(program(), 300, 100 + seed, suite())),
            program().terms,
            solved().law.active,
            solved().law.strength,
        )
        made.append(interactions(law_of))
    spread = np.std([each.covariance for each in made], axis=0)
    stated = np.mean([each.error for each in made], axis=0)
    upper = np.triu_indices(len(TERMS), 1)
    ratio = stated[upper] / spread[upper]
    assert ratio.min() > 0.67
    assert ratio.max() < 1.5


# ------------------------------------------------------------------------------------------------- remarks, refusals
def test_remarks() -> None:
    text = POLICY + (
        'rule unseen at user { should not contain "zz" weight 1 }\n'
        'rule free at user { limit response contains "aa" to at most 90% of responses }\n'
        'rule helped at user { limit response contains "aa" to at most 2% of responses }\n'
    )
    again = program_of(text)
    found = {
        each.term: each
        for each in price_table(solve(flatten(exact_suite(again), exact=True), again.terms, ess_floor=1)).rows
    }
    assert found["free"].remarks == ("redundant: holds without any rule",)
    assert found["helped"].remarks == ("redundant: holds because of the other rules",)
    assert found["helped"].strength == 0
    assert found["unseen"].remarks[0].startswith("vacuous: never seen")
    assert found["unseen"].kl == 0
    assert found["seldom"].remarks == ()


def test_a_limit_at_its_highest_price_says_so() -> None:
    terms = tuple(replace(term, price=0.5) if term.id == "seldom" else term for term in program().terms)
    made = price_table(solve(solved().law.scores, terms, ess_floor=1))
    found = next(each for each in made.rows if each.term == "seldom")
    assert found.strength == 0.5
    assert found.slack < 0
    assert found.remarks == ("at its highest price: its bound gives way",)


def test_limits_on_each_prompt_have_multipliers_of_their_own() -> None:
    terms = tuple(replace(term, each_prompt=True) if term.id == "often" else term for term in program().terms)
    found = solve(solved().law.scores, terms, ess_floor=1)
    scores, column = found.law.scores, TERMS.index("often")
    rates = np.add.reduceat(found.law.weights * scores.values[:, column], scores.starts)
    np.testing.assert_allclose(rates, 0.6, atol=1e-8)
    assert len(set(np.round(found.law.strength[:, column], 6))) == 3
    made = next(each for each in price_table(found).rows if each.term == "often")
    # Its own multipliers take up what a weight does in each prompt.
    assert made.shadow_price == pytest.approx(found.law.strength[:, column].mean(), abs=1e-9)


SOFT = 'rule g at user { should not end with "d" weight 2 }'
HEAD = 'policy tiny version "1"\nlevels root > user\n'
LIMITS = {
    "under a condition, for each prompt": 'when prompt contains "long" limit response contains "aa" to at most 1% of '
    "responses for each prompt",
    "among, for each prompt": 'limit response contains "b" to at most 20% of responses where response contains "d" '
    "for each prompt",
    "binding on some prompts only": 'limit response contains "aa" to at most 7% of responses for each prompt',
    "giving way": 'limit response contains "aa" to at most 1% of responses price at most 1',
    "giving way on each prompt": 'limit response contains "b" to at most 1% of responses where response contains "d" '
    "for each prompt price at most 3",
    "exactly": 'limit response contains "c" to exactly 30% of responses',
    "of a quantity": "limit average number of characters in response to at most 2",
}


@pytest.mark.parametrize("kind", LIMITS)
def test_prices_are_slopes_whatever_the_limit_is(kind: str) -> None:
    """By central differences of step h, whose own error is about h² = 1e-6 of the third derivative."""
    made = program_of(f"{HEAD}{SOFT}\nrule q at user {{ {LIMITS[kind]} }}\n")
    scores, step = flatten(exact_suite(made), exact=True), 1e-3

    def at(**by: float) -> Solved:
        terms = tuple(
            replace(term, weight=term.weight + by.get("g", 0.0))
            if term.id == "g"
            else replace(term, bound=term.bound + 0.1 * by.get("q", 0.0))
            for term in made.terms
        )
        return solve(scores, terms, ess_floor=1)

    def missed(found: Solved) -> float:
        """What a bound that gives way is missed by on each prompt, at its price."""
        term = found.law.terms[1]
        above = found.law.weights * (scores.values[:, 1] - term.bound * scores.counts[:, 1])
        return (term.price or 0.0) * max(above.sum(), 0.0) / len(PROMPTS)

    def measures(found: Solved) -> np.ndarray:
        rows = price_table(found)
        return np.array([objective(found) + missed(found), rows.kl.value, rows.rows[0].law.value])

    own, limit = price_table(at()).rows
    up, down = measures(at(q=step)), measures(at(q=-step))
    assert limit.shadow_price == pytest.approx((up - down)[0] / (0.2 * step), rel=1e-4)
    up, down = measures(at(g=step)), measures(at(g=-step))
    assert own.buys.kl.value == pytest.approx((up - down)[1] / (2 * step), rel=1e-5)
    assert own.buys.rate.value == pytest.approx((up - down)[2] / (2 * step), rel=1e-5)


def test_a_limit_on_each_prompt_is_told_of_the_prompts_that_it_is_about() -> None:
    text = f"{HEAD}rule q at user {{ {LIMITS['under a condition, for each prompt']} }}\n"
    common = program_of(text.replace(" for each prompt", ""))
    for each in (program_of(text), common):
        scores = flatten(exact_suite(each), exact=True)
        (row,) = price_table(solve(scores, each.terms, ess_floor=1)).rows
        chance = float(np.exp(model(1)[1]) @ broken(1)["seldom"])
        assert row.strength == pytest.approx(np.log(chance * 0.99 / (0.01 * (1 - chance))), abs=1e-8)
        assert row.shadow_price == pytest.approx(-row.strength / 3, abs=1e-8)
    some = program_of(f"{HEAD}rule q at user {{ {LIMITS['binding on some prompts only']} }}\n")
    (row,) = price_table(solve(flatten(exact_suite(some), exact=True), some.terms, ess_floor=1)).rows
    assert row.law.value < 0.069  # on average there is room, but not on each prompt
    assert row.slack == pytest.approx(0.0, abs=1e-8)


def test_whether_a_limit_on_each_prompt_holds_by_itself_is_asked_of_the_worst_prompt() -> None:
    """A twin meets the limit on every prompt; without any rule the mean would keep to it, but not the worst prompt."""
    own = [float(np.exp(model(number)[1]) @ broken(number)["seldom"]) for number in range(len(PROMPTS))]
    bound = (np.mean(own) + max(own)) / 2
    for share, why in ((bound, "because of the other rules"), (1.01 * max(own), "without any rule")):
        limits = "".join(
            f'rule {name} at user {{ limit response contains "aa" to at most {100 * at:.6f}% of responses for each '
            "prompt }\n"
            for name, at in (("q", share), ("twin", 0.01))
        )
        again = program_of(HEAD + limits)
        rows = price_table(solve(flatten(exact_suite(again), exact=True), again.terms, ess_floor=1)).rows
        assert next(each for each in rows if each.term == "q").remarks[0] == f"redundant: holds {why}"


def test_too_few_samples_and_empty_prompts_are_refused() -> None:
    few = flatten(sampled_suite(program(), 40, 1, suite()))
    with pytest.raises(Unanswerable, match=r"worth \d+ independent ones under this law, and at least 100"):
        solve(few, program().terms)
    nothing = replace(suite().prompts[0], log_ratio=np.full(len(suite().prompts[0].log_ratio), -np.inf))
    with pytest.raises(Unanswerable, match="no scored response for prompt `p0`"):
        flatten(replace(suite(), prompts=(nothing, *suite().prompts[1:])))
    first = suite().prompts[1]
    forbidden = replace(first, violated=np.ones_like(first.violated))
    with pytest.raises(Unanswerable, match="hard rules leave none of the scored responses to prompt `p1`"):
        solve(flatten(replace(suite(), prompts=(suite().prompts[0], forbidden))), program().terms)


def test_limits_that_conflict_are_named() -> None:
    text = POLICY + 'rule seldom_c at user { limit response contains "c" to at most 30% of responses }\n'
    again = program_of(text)
    scores = flatten(exact_suite(again), exact=True)
    with pytest.raises(Impossible) as caught:
        solve(scores, again.terms, ess_floor=1)
    assert set(caught.value.terms) == {"often", "seldom_c"}
    assert "`often`" in str(caught.value)


def test_a_rule_that_a_hard_rule_makes_idle_is_dominated() -> None:
    text = POLICY + "rule no_ab_or_ba at user { should not match /.*(ba).*b.*/ weight 2 }\n"
    text += 'rule again at user { must not contain "ba" }\n'
    again = program_of(text)
    made = price_table(solve(flatten(exact_suite(again), exact=True), again.terms, ess_floor=1))
    found = {each.term: each.remarks for each in made.rows}
    assert found["no_ab_or_ba"] == ("dominated: every response that breaks it breaks `no_ba` as well",)
    assert "dominated" in "".join((*found["no_ba"], *found["again"]))
    assert not (found["no_ba"] and found["again"])


def test_many_rules_are_divided_along_the_path() -> None:
    """Beyond 12 rules the path integral divides; the parts still add up to the divergence, with errors."""
    extra = "".join(
        f'rule r{number} at user {{ should not contain "{pair}" weight 0.4 }}\n'
        for number, pair in enumerate(("ab", "ac", "bc", "ca", "cb", "da", "ad", "cd"))
    )
    again = program_of(POLICY + extra)
    made = price_table(solve(flatten(exact_suite(again), exact=True), again.terms, ess_floor=1))
    assert len(made.rows) == 15
    assert "path" in made.method
    assert sum(row.kl for row in made.rows) == pytest.approx(made.kl.value, abs=1e-9)
    assert all(row.kl_standard_error > 0 for row in made.rows)


def test_parts_of_many_responses_are_those_of_all_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The quick way for many responses gives the same parts, and errors within a third of the exact ones."""
    monkeypatch.setattr("bylaw.runtime.prices.shares.FOR_ERRORS", 300)
    found = flatten(sampled_suite(program(), 2000, 5, suite()))
    quick = divided(solve(found, program().terms).law)
    monkeypatch.setattr("bylaw.runtime.prices.shares.FOR_ERRORS", 10**9)
    slow = divided(solve(found, program().terms).law)
    assert quick.method != slow.method
    np.testing.assert_allclose(quick.parts, slow.parts, atol=1e-12)
    assert np.abs(np.log(quick.errors / slow.errors)).max() < np.log(1.5)
