"""Sums of valued automata in arrays against the sums of `counts`, and what happens where they would be too large."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from bylaw.compiler import factors as factors_module
from bylaw.compiler.automata import merging
from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, indicator, linear, scale, support, trim
from bylaw.compiler.automata.merging import Tables, have_a_text, merge, plus
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.factors import Infeasible, factorise, reward_of
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardTerm
from bylaw.spec.pattern import parse_pattern
from bylaw.spec.source import Source

PATTERNS = ("ab", "a+b", "[éx]y", "b$", "^a", "c.c", "(ab|ba)+")
TEXTS = ["".join(letters) for length in range(5) for letters in itertools.product("abcy", repeat=length)]


def some(choose: random.Random) -> Valued:
    """An automaton that forbids, asks for, prices or rewards something."""
    found = language(parse_pattern(choose.choice(PATTERNS)), "search")
    machine = occurrences(parse_pattern(choose.choice("abcé")))
    assert machine is not None
    kinds = (support(found), support(found.complement()), scale(linear(machine), -0.5), scale(indicator(found), 0.7))
    return choose.choice(kinds)


def terms_of(policy: str) -> tuple[RewardTerm, ...]:
    return compile_source(Source("policy", policy)).require().terms


@pytest.mark.parametrize("cells", [merging._LOOKUP_CELLS, 0], ids=["array", "dictionary"])
def test_a_sum_is_that_of_single_states_down_to_the_numbering(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "_LOOKUP_CELLS", cells)
    choose = random.Random(1)
    empty = 0
    for _ in range(120):
        left, right = some(choose), some(choose)
        assert Tables.of(left).valued() == trim(left)
        expected, found = add((left, right)), plus(Tables.of(left), Tables.of(right), 10_000).valued()
        assert found == expected
        empty += expected.distance[expected.start] is None
    assert empty > 0  # the case without any text was met


def test_merged_automata_add_up_whatever_the_limit() -> None:
    choose = random.Random(2)
    parts = [some(choose) for _ in range(9)]
    for limit in (3, 12, 100, 10_000):
        merged = merge([(str(n), Tables.of(part)) for n, part in enumerate(parts)], limit)
        assert sorted(name for names, _ in merged for name in names) == sorted(map(str, range(9)))
        assert all(tables.size <= limit for names, tables in merged if len(names) > 1)
        groups = [tables.valued() for _, tables in merged]
        for text in choose.sample(TEXTS, 60):
            whole = sum(part.value(text) for part in parts)
            assert sum(group.value(text) for group in groups) == pytest.approx(whole, abs=1e-12), text
    with pytest.raises(StateLimit):
        plus(Tables.of(parts[0]), Tables.of(parts[1]), 1)


def test_a_text_in_common_is_found_or_ruled_out() -> None:
    def has(pattern: str, *, not_: bool = False) -> Tables:
        found = language(parse_pattern(pattern), "search")
        return Tables.of(support(found.complement() if not_ else found))

    assert have_a_text([has("abc"), has("cab"), has("x", not_=True)], 1000) is True
    assert have_a_text([has("abc"), has("[bc]b?c"), has("bc", not_=True)], 1000) is False
    letters = [has(letter) for letter in "abcdefgh"]
    assert have_a_text([*letters, has("hg", not_=True)], 1000) is True
    # no text, but every pair has one: only all combinations show it
    assert have_a_text([*letters, has("[a-h]{8}", not_=True), has("^[a-h]{8}$")], 3) is None


def test_a_penalty_is_paid_by_what_the_rule_forbids() -> None:
    rule = support(language(parse_pattern("ab|c$"), "search").complement())
    priced = Tables.of(rule).penalty(0.7).valued()
    for text in TEXTS:
        assert priced.value(text) == (0.0 if math.isfinite(rule.value(text)) else -0.7)


LISTED = ("ab", "cab", "bb y", "é", "ya", "cc", "abc", "b'a")


@pytest.mark.parametrize("kind", ["must not mention any of [{}]", "should not contain any of [{}] weight 0.7"])
@pytest.mark.parametrize("limit", [30, 6_000])
def test_a_long_list_in_parts_says_the_same(kind: str, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ", ".join(f'"{word}"' for word in LISTED)
    terms = terms_of(f"rule r at user {{ {kind.format(listed)} }}")
    monkeypatch.setattr(factors_module, "LONG_LIST", 3)
    monkeypatch.setattr(factors_module, "HARD_STATES", limit)
    factors = factorise(terms)
    assert factors.residual == ()
    assert {name for names in factors.members for name in names} == {"r"}
    for text in (*TEXTS[::7], "b'a", "b’a", "É", "bb  y", "x CAB"):
        assert sum(group.value(text) for group in factors.groups) == reward_of(terms, text), text


def test_hard_rules_that_only_forbid_cannot_get_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors_module, "HARD_STATES", 12)
    forbid = 'rule a at user { must not contain "abcab" }\nrule b at user { must not contain "bcbcbc" }\n'
    factors = factorise(terms_of(forbid + 'rule c at user { must not contain "ccaacc" }'))
    assert (factors.hard_groups > 1, factors.gets_stuck, factors.joint, factors.remarks()) == (True, False, True, ())
    factors = factorise(terms_of(forbid + 'rule c at user { must contain "cabcb" }'))
    assert (factors.hard_groups > 1, factors.gets_stuck, factors.joint) == (True, True, True)
    assert "can get stuck between them" in factors.remarks()[0]
    monkeypatch.setattr(factors_module, "JOINT_STATES", 1)
    factors = factorise(terms_of(forbid + 'rule c at user { must contain "cabcb" }'))
    assert factors.joint is None
    assert "no text that obeys all of them was found" in factors.remarks()[0]


def test_a_conflict_between_separate_automata_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors_module, "HARD_STATES", 2)
    said = {"a": 'must contain "ab"', "b": 'must not contain "b"', "c": 'must contain "c"'}
    # together in one file they would not compile
    rules = [terms_of(f"rule {name} at user {{ {rule} }}")[0] for name, rule in said.items()]
    with pytest.raises(Infeasible, match="no text obeys `a`, `b` together") as error:
        factorise(rules)
    assert error.value.terms == ("a", "b")


def test_a_hard_rule_without_an_automaton_is_told() -> None:
    factors = factorise(terms_of("rule long at user { must have at most 3000 words }"))
    assert factors.blind == ("long",)
    assert factors.remarks() == ("`long`: decided on the finished text only, so that look-ahead does not see it",)
