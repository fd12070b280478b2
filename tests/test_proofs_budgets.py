"""Limits against hard rules and against each other: against brute force over short texts, with SciPy as the judge."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.optimize import linprog

from bylaw.compiler.evaluate import number, truth
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.proofs import _mixtures
from bylaw.compiler.proofs._exact import separating_weights
from bylaw.compiler.proofs.suites import prompts_needed
from bylaw.runtime.audit.audit import audit
from bylaw.runtime.audit.statistics import exact_lower, exact_upper
from bylaw.spec.errors import Diagnostic, Severity
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

CHARACTERS = "ab.\u200b\u2025\u2026"
"""The three characters of these policies, one that shows nothing, and two that matching reads as `..` and `...`."""
TEXTS = ["".join(chars) for length in range(5) for chars in itertools.product(CHARACTERS, repeat=length)]
WORLD = "rule world at user { must match /[ab.]*/ must have at most 4 characters }\n"
"""Leaves no answers but those of TEXTS, and others that are read like them."""


def check(text: str) -> Compiled:
    compiled = compile_source(Source("rules.bylaw", text), proofs=True)
    assert compiled.draft is not None, compiled.diagnostics
    return compiled


def found(compiled: Compiled, code: str) -> list[Diagnostic]:
    return [each for each in compiled.diagnostics if each.code == code]


def terms_at(compiled: Compiled, diagnostic: Diagnostic) -> list[RewardTerm]:
    """The terms that a message marks."""
    assert compiled.draft is not None
    places = {(mark.span.start, mark.span.end) for mark in (diagnostic.primary, *diagnostic.secondary)}
    return [term for term in compiled.draft.terms if (term.extent.start, term.extent.end) in places]


def value_of(term: RewardTerm, text: str) -> float:
    here = Trace(()).answered(text)
    if term.holds is not None:
        return float(truth(term.holds, here) is True)
    assert term.value is not None
    return float(number(term.value, here))  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- judge
def is_feasible(texts: list[str], limits: list[RewardTerm]) -> bool:
    """Whether some mixture of these texts meets all limits, by SciPy."""
    if not texts or not limits:
        return bool(texts)
    kinds = sorted({tuple(value_of(limit, text) for limit in limits) for text in texts})
    rows: list[list[float]] = []
    bounds: list[float] = []
    for place, limit in enumerate(limits):
        assert limit.bound is not None
        for sign, sense in ((1.0, "at most"), (-1.0, "at least")):
            if limit.sense in (sense, "exactly"):
                rows.append([sign * kind[place] for kind in kinds])
                bounds.append(sign * limit.bound)
    ones = np.ones((1, len(kinds)))
    solved = linprog(np.zeros(len(kinds)), A_ub=np.array(rows), b_ub=np.array(bounds), A_eq=ones, b_eq=[1.0])
    assert solved.status in (0, 2)
    return bool(solved.status == 0)


def fate(texts: list[str], limit: RewardTerm) -> Severity | None:
    """What hard rules that leave only these texts make of a limit by itself."""
    if not is_feasible(texts, [limit]):
        return Severity.ERROR
    values = [value_of(limit, text) for text in texts]
    bound = limit.bound or 0.0
    if limit.holds is not None:
        binds = {"at most": max(values) > 0, "at least": min(values) < 1}.get(limit.sense or "", True)
    else:
        binds = {"at most": max(values) > bound, "at least": min(values) < bound}.get(limit.sense or "", True)
    return None if binds else Severity.WARNING


# ------------------------------------------------------------------------------------------------------------ random
def event(choose: random.Random, depth: int = 1) -> str:
    piece = choose.choice(["a", "b", ".", "ab", "ba", "a.", "aa"])
    kinds = [
        f'response contains "{piece}"',
        f'response starts with "{piece}"',
        f'response ends with "{piece}"',
        f"response has at least {choose.randint(1, 3)} characters",
        f'response is in ["{piece}", "{choose.choice(["ab", "a", "b"])}"]',
    ]
    if depth:
        kinds.append(f"(not ({event(choose, 0)}))")
        kinds.append(f"({event(choose, 0)} {choose.choice(['and', 'or'])} {event(choose, 0)})")
    return choose.choice(kinds)


def limit_of(choose: random.Random, name: str, averages: bool) -> str:
    sense = choose.choice(["at most", "at least", "at most", "at least", "exactly"])
    if averages and choose.random() < 0.5:
        unit = choose.choice(["characters", "full_stops"])
        bound = choose.choice(["0.5", "1", "2", "2.5", "3.5"])
        return f"rule {name} at user {{ limit average number of {unit} in response to {sense} {bound} }}\n"
    share = choose.choice([5, 20, 30, 50, 60, 75, 90])
    return f"rule {name} at user {{ limit {event(choose)} to {sense} {share}% of responses }}\n"


def hard_of(choose: random.Random, name: str) -> str:
    verb = choose.choice(
        [
            f'must not contain "{choose.choice(["a", "b", ".", "ab"])}"',
            f'must start with "{choose.choice(["a", "b", "ab"])}"',
            f"must have at most {choose.randint(1, 3)} characters",
            f'must be in ["a", "b", "ab", "{choose.choice([".", "ba", "aa"])}"]',
        ]
    )
    return f"rule {name} at user {{ {verb} }}\n"


def random_policy(seed: int, averages: bool) -> str:
    choose = random.Random(seed)
    hard = [hard_of(choose, f"hard_{place}") for place in range(choose.randrange(3))]
    return WORLD + "".join([*hard, *(limit_of(choose, f"limit_{place}", averages) for place in range(3))])


def assert_as_judged(compiled: Compiled) -> tuple[int, int]:
    """Both codes against the judge; how many there were of each."""
    assert compiled.draft is not None
    hard = [term for term in compiled.draft.terms if term.kind == "hard"]
    limits = [term for term in compiled.draft.terms if term.kind == "budget"]
    texts = [text for text in TEXTS if all(value_of(term, text) for term in hard)]
    if not texts:
        assert found(compiled, "P401")
        return 0, 0
    decided = {each.primary.span.start: each.severity for each in found(compiled, "P413")}
    assert decided == {limit.extent.start: severity for limit in limits if (severity := fate(texts, limit)) is not None}
    for each in found(compiled, "P413"):
        rules = [term for term in terms_at(compiled, each) if term.kind == "hard"]
        (limit,) = [term for term in terms_at(compiled, each) if term.kind == "budget"]
        kept = [text for text in TEXTS if all(value_of(term, text) for term in rules)]
        assert fate(kept, limit) in (each.severity, Severity.ERROR)
    left = [limit for limit in limits if limit.extent.start not in decided]
    clashes = found(compiled, "P414")
    assert (not clashes) is is_feasible(texts, left), [each.message for each in clashes]
    for each in clashes:
        marked = terms_at(compiled, each)
        members = [term for term in marked if term.kind == "budget"]
        rules = [term for term in marked if term.kind == "hard"]
        assert not is_feasible(texts, members)
        assert not is_feasible([text for text in TEXTS if all(value_of(rule, text) for rule in rules)], members)
        for term in members:
            assert is_feasible(texts, [other for other in members if other is not term])
    return len(decided), len(clashes)


@pytest.mark.parametrize("seed", range(40))
def test_events_against_brute_force(seed: int) -> None:
    assert_as_judged(check(random_policy(seed, averages=False)))


@pytest.mark.parametrize("seed", range(100, 115))
def test_averages_too(seed: int) -> None:
    """A range that is wider than what there is makes for no false claim, so only claims are held against the judge."""
    compiled = check(random_policy(seed, averages=True))
    assert compiled.draft is not None
    hard = [term for term in compiled.draft.terms if term.kind == "hard"]
    texts = [text for text in TEXTS if all(value_of(term, text) for term in hard)]
    if not texts:
        return
    for each in (*found(compiled, "P413"), *found(compiled, "P414")):
        members = [term for term in terms_at(compiled, each) if term.kind == "budget"]
        assert is_feasible(texts, members) is (each.severity is not Severity.ERROR), each.message


@pytest.mark.parametrize("seed", range(300, 330))
def test_pairs_alone_against_brute_force(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of many limits for the same prompts."""
    monkeypatch.setattr(_mixtures, "MOST_EVENTS", 0)
    compiled = check(random_policy(seed, averages=False))
    assert compiled.draft is not None
    hard = [term for term in compiled.draft.terms if term.kind == "hard"]
    texts = [text for text in TEXTS if all(value_of(term, text) for term in hard)]
    limits = [term for term in compiled.draft.terms if term.kind == "budget"]
    left = [limit for limit in limits if texts and fate(texts, limit) is None]
    expected = {
        (one.id, other.id) for one, other in itertools.combinations(left, 2) if not is_feasible(texts, [one, other])
    }
    marked = (terms_at(compiled, each) for each in found(compiled, "P414"))
    assert {tuple(term.id for term in terms if term.kind == "budget") for terms in marked} == expected


# ------------------------------------------------------------------------------------------------- linear programme
@pytest.mark.parametrize("seed", range(60))
def test_weights_separate_exactly_where_there_is_no_mixture(seed: int) -> None:
    choose = random.Random(seed)
    width, count = choose.randint(1, 4), choose.randint(1, 7)
    points = [[Fraction(choose.randint(-3, 3)) for _ in range(width)] for _ in range(count)]
    demands = [Fraction(choose.randint(-6, 6), choose.choice([1, 2, 3])) for _ in range(width)]
    weights = separating_weights(points, demands)
    solved = linprog(
        np.zeros(count),
        A_ub=-np.array([[float(point[place]) for point in points] for place in range(width)]),
        b_ub=-np.array([float(demand) for demand in demands]),
        A_eq=np.ones((1, count)),
        b_eq=[1.0],
    )
    assert (weights is None) is (solved.status == 0)
    if weights is not None:
        asked = sum(weight * demand for weight, demand in zip(weights, demands, strict=True))
        assert min(weights) >= 0
        assert math.gcd(*weights) == 1
        for point in points:
            assert sum(weight * gives for weight, gives in zip(weights, point, strict=True)) < asked


def test_a_mixture_needs_a_point_and_no_demand_is_always_met() -> None:
    with pytest.raises(ValueError, match="point"):
        separating_weights([], [Fraction(1)])
    assert separating_weights([[]], []) is None


# ------------------------------------------------------------------------------------------- what counts where
def test_only_rules_that_count_wherever_the_limit_does_decide_it() -> None:
    rule = 'rule silent at user {{ {} must not mention "thanks" }}\n'
    limit = 'rule often at user {{ {} limit response mentions "thanks" to at least 5% of responses {} }}\n'
    mail, call = 'when meta.channel == "mail"', 'when meta.channel == "call"'
    assert found(check(rule.format("") + limit.format(mail, "")), "P413")
    assert found(check(rule.format(mail) + limit.format(mail, "")), "P413")
    assert not found(check(rule.format(mail) + limit.format("", "")), "P413")
    assert not found(check(rule.format(mail) + limit.format(call, "")), "P413")
    suite = 'suite asked = ["Where is my order?", "Order 7, please."]\n'
    over = limit.format("", "over suite asked")
    assert found(check(suite + rule.format('when prompt mentions "order"') + over), "P413")
    assert not found(check(suite + rule.format('when prompt mentions "please"') + over), "P413")
    assert not found(check(suite + rule.format('when system_prompt does not contain "x"') + over), "P413")


def test_a_rule_that_is_lifted_somewhere_decides_nothing() -> None:
    text = """
rule silent at user { must not mention "thanks" }
exception friends to silent at user { when user.friend }
rule often at user { limit response mentions "thanks" to at least 5% of responses }
"""
    assert not found(check(text), "P413")


def test_limits_about_different_prompts_are_about_different_averages() -> None:
    limit = 'rule {} at user {{ {} limit response mentions "yes" to {} of responses }}\n'
    mail = 'when meta.channel == "mail"'
    assert not found(check(limit.format("a", mail, "at least 60%") + limit.format("b", "", "at most 50%")), "P414")
    assert found(check(limit.format("a", mail, "at least 60%") + limit.format("b", mail, "at most 50%")), "P414")


def test_what_no_automaton_tells_counts_as_possible() -> None:
    text = 'concept rude means "Insults." { like "Fool." }\n'
    limit = "rule {} at user {{ limit response expresses rude to {} of responses }}\n"
    clash = check(text + limit.format("a", "at least 60%") + limit.format("b", "at most 50%"))
    assert [each.message for each in found(clash, "P414")] == ["`a` and `b` can never both be met"]
    fine = check(text + limit.format("a", "at least 40%") + limit.format("b", "at most 50%"))
    assert not found(fine, "P414")
    assert any("decide `a`" in each.about for each in fine.undecided)


def test_many_limits_are_held_together_in_pairs() -> None:
    rules = [
        f'rule r{place} at user {{ limit response starts with "w{place:02}" to at least 4% of responses }}\n'
        for place in range(12)
    ]
    assert not found(check("".join(rules)), "P414")
    rules.append('rule most at user { limit response starts with "w07" to at most 3% of responses }\n')
    (clash,) = found(check("".join(rules)), "P414")
    assert "`r7` and `most`" in clash.message


# ---------------------------------------------------------------------------------------------------------- suites
@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.95, 0.99, 0.999])
@pytest.mark.parametrize("bound", [0.001, 0.01, 0.05, 0.1, 0.3, 0.5, 0.9])
def test_one_prompt_fewer_is_too_few(confidence: float, bound: float) -> None:
    """Against the bound that an audit takes for its verdict."""
    slack = 1e-12
    for sense, share in (("at most", bound), ("at least", 1.0 - bound)):
        needed = prompts_needed(_budget(sense, share, confidence))
        assert needed is not None
        for count in {needed, max(needed - 1, 1)}:
            if sense == "at most":
                is_met = exact_upper(0, count, confidence) <= share + slack
            else:
                is_met = exact_lower(count, count, confidence) >= share - slack
            assert is_met is (count >= needed)


def _budget(sense: Any, bound: float, confidence: float) -> RewardTerm:
    text = 'rule r at user { limit response mentions "x" to at most 5% of responses with confidence 0.95 }'
    return replace(check(text).require().terms[0], sense=sense, bound=bound, confidence=confidence)


@pytest.mark.parametrize("count", [28, 29])
def test_an_audit_of_the_suite_agrees(count: int) -> None:
    """Without a single answer against it, 29 answers show `at most 10%` with 95% confidence and 28 do not."""
    prompts = [f"Question {place}?" for place in range(count)]
    text = (
        f"suite asked = [{', '.join(map(repr, prompts))}]\n".replace("'", '"')
        + 'rule r at user {\n  limit response mentions "sorry" to at most 10% of responses over suite asked '
        "with confidence 0.95\n}\n"
    )
    compiled = check(text)
    traces = [Trace((Message("user", prompt), Message("assistant", "Yes."))) for prompt in prompts]
    (term,) = audit(compiled.require(), traces, source="log.jsonl", policy=compiled.source).terms
    assert term.within is (count >= 29)
    assert bool(found(compiled, "P415")) is (count < 29)
