"""A policy on many prompts: automata are shared, what cannot be met is told with its reason, what is rare counted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pytest

from bylaw.compiler import factors as factors_module
from bylaw.compiler.factors import Infeasible
from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.enforcement import EnforcementError, PromptPlan, decode_tasks, hard_mass, plan_prompts
from bylaw.runtime.enforcement import require_feasible as feasible
from bylaw.runtime.models import BaseSample, Vocabulary
from bylaw.runtime.twist import TwistError
from bylaw.runtime.twist import build as build_module
from bylaw.runtime.twist.compiler import TwistCompiler
from bylaw.runtime.twist.spelling import has_byte_fallback, missing_character
from bylaw.runtime.twist.store import TwistStore
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace
from tinymodels import TabularModel

CAP = 6


@dataclass(frozen=True)
class Tiny:
    """A tabular model with its vocabulary, as far as policies ask; the spelling of its tokens can be replaced."""

    model: TabularModel = field(default_factory=lambda: TabularModel(seed=3))
    spelling: tuple[bytes, ...] = (b"a", b"b", b"1", b" ", b".")

    name = "tiny"
    digest = "tiny"

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary((*self.spelling, None), frozenset({len(self.spelling)}))

    def encode_chat(self, messages: object) -> tuple[int, ...]:
        return (5,)

    def session(self, prompts: object) -> object:
        raise NotImplementedError


@dataclass
class Told:
    """Keeps what it is told."""

    stages: list[tuple[str, int]] = field(default_factory=list)
    done: list[tuple[int, int]] = field(default_factory=list)

    def stage(self, name: str, total: int) -> None:
        self.stages.append((name, total))

    def progress(self, done: int, total: int) -> None:
        self.done.append((done, total))


RULES = """
rule no_ab at user { must not contain "ab" }
rule full_stop at user { must end with "." }
rule one at user {
  when prompt contains "one"
  must contain "1"
}
rule calm at user { should not contain "bb" weight 0.8 }
"""


def plans_of(rules: str, *prompts: str, model: Tiny | None = None) -> tuple[PromptPlan, ...]:
    program = compile_source(Source("policy", rules)).require()
    traces = [Trace((Message("user", prompt),), id=str(number)) for number, prompt in enumerate(prompts, 1)]
    return plan_prompts(program, traces, model or Tiny(), CAP)  # type: ignore[arg-type]


def samples_of(model: Tiny, prompts: int, count: int) -> list[list[BaseSample]]:
    rng = np.random.default_rng(7)
    drawn = [model.model.sample(count, rng) for _ in range(prompts)]
    return [[BaseSample(t, model.vocabulary.text(t), 0.0, len(t) < CAP) for t in own] for own in drawn]


def compiler(model: Tiny, store: TwistStore | None = None, told: Told | None = None) -> TwistCompiler:
    return TwistCompiler(model, CAP, store, told)  # type: ignore[arg-type]


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hard rules and soft terms have automata of their own, as those of large policies."""
    monkeypatch.setattr(factors_module, "SMALL_STATES", 0)


def test_small_hard_and_soft_rules_are_one_automaton() -> None:
    plans = plans_of(RULES, "say one", "hello")
    for terms, names in zip((plan.terms for plan in plans), (3, 2), strict=True):
        found = factors_module.factorise(terms)
        assert (len(found.groups), found.hard_groups, len(found.members[0])) == (1, 1, names + 1)
        for text in ("a.", "1bb.", "bb1.", "ab1.", "1b", "1."):
            hard = "ab" not in text and text.endswith(".") and ("1" in text or names == 2)
            assert found.groups[0].value(text) == pytest.approx(-0.8 * ("bb" in text) if hard else -np.inf)


def test_prompts_share_what_is_equal(tmp_path: object, apart: None) -> None:
    model = Tiny()
    plans = plans_of(RULES, "say one", "hello", "one more", "goodbye")
    base = samples_of(model, len(plans), 20)
    told = Told()
    own = compiler(model, told=told)
    tasks = decode_tasks(plans, base, model, {}, CAP, compiler=own)  # type: ignore[arg-type]
    assert [task.law is tasks[0].law for task in tasks] == [True, False, True, False]
    assert tasks[0].law.groups != tasks[1].law.groups
    # the soft rule is alive for all of them, and its twist is one object
    assert len({id(task.twists[-1]) for task in tasks}) == 1
    assert len({id(twist) for task in tasks for twist in task.twists}) == own.built == 3
    assert [total for _, total in told.stages] == [CAP] * 3
    assert any("`no_ab`" in name for name, _ in told.stages)
    assert told.done == [(done, CAP) for done in range(1, CAP + 1)] * 3
    again = decode_tasks(plans, base, model, {}, CAP, compiler=own)  # type: ignore[arg-type]
    assert again[0].twists[0] is tasks[0].twists[0]


def test_a_second_run_loads_what_the_first_has_built(tmp_path_factory: pytest.TempPathFactory, apart: None) -> None:
    model = Tiny()
    store = TwistStore(tmp_path_factory.mktemp("twists"))
    plans = plans_of(RULES, "say one", "hello")
    base = samples_of(model, len(plans), 20)
    first, second, third = (compiler(model, store) for _ in range(3))
    tasks = decode_tasks(plans, base, model, {}, CAP, compiler=first)  # type: ignore[arg-type]
    again = decode_tasks(plans, base, model, {}, CAP, compiler=second)  # type: ignore[arg-type]
    assert (first.built, first.loaded, second.built, second.loaded) == (3, 0, 0, 3)
    for one, other in zip(tasks, again, strict=True):
        for twist, loaded in zip(one.twists, other.twists, strict=True):
            states = np.arange(twist.automaton.size, dtype=np.int32)
            assert np.array_equal(twist.look_ahead(states, 3), loaded.look_ahead(states, 3))
    decode_tasks(plans, samples_of(model, 2, 21), model, {}, CAP, compiler=third)  # type: ignore[arg-type]
    assert third.built == 3  # other samples are another key


def test_prompts_with_enough_samples_have_a_look_ahead_of_their_own(apart: None) -> None:
    model = Tiny()
    plans = plans_of(RULES, "say one", "hello")
    base = samples_of(model, len(plans), 256)
    one, other = decode_tasks(plans, base, model, {}, CAP, compiler=compiler(model))  # type: ignore[arg-type]
    assert one.twists[-1].automaton is other.twists[-1].automaton
    assert one.twists[-1] is not other.twists[-1]


def refused(rules: str, *, model: Tiny | None = None, cap: int = CAP) -> EnforcementError:
    plans = plans_of(rules, "hello", model=model)
    with pytest.raises(EnforcementError) as error:
        feasible(plans, model or Tiny(), cap)  # type: ignore[arg-type]
    return error.value


def test_a_policy_that_can_be_met_is_not_refused() -> None:
    assert feasible(plans_of(RULES, "say one", "hello"), Tiny(), CAP) == ()  # type: ignore[arg-type]


def test_no_text_at_all_obeys() -> None:
    said = {"a": 'must contain "a"', "b": 'must not contain "ab"', "c": "must contain /^(ab|b)+$/"}
    # together in one file they would not compile
    parts = [plans_of(f"rule {name} at user {{ {rule} }}", "hello")[0] for name, rule in said.items()]
    plan = PromptPlan(parts[0].trace, (5,), tuple(term for part in parts for term in part.terms))
    with pytest.raises(Infeasible, match=r"no text obeys `a`, `b`, `c` together"):
        feasible([plan], Tiny(), CAP)  # type: ignore[arg-type]


def test_no_text_is_short_enough() -> None:
    rules = 'rule long at user { must contain "a b a b." }\nrule other at user { must not contain "11" }'
    error = refused(rules)
    assert str(error) == (
        "prompt 1: no response of at most 6 tokens obeys `long`: the shortest has 8; allow as many, or ask for less"
    )
    assert (error.terms, error.term) == (("long",), "long")
    assert feasible(plans_of(rules, "hello"), Tiny(), 8) == ()  # type: ignore[arg-type]


def test_rules_that_are_too_long_together_are_all_named() -> None:
    rules = "\n".join(
        f'rule r{n} at user {{ must contain "{said}" }}' for n, said in enumerate(("aaa", "bbb", "1", "b"))
    )
    assert refused(rules).terms == ("r0", "r1", "r2")


def test_the_tokens_cannot_spell_a_character() -> None:
    error = refused('rule thanks at user { must contain "aé" }\nrule quiet at user { must not contain "bb" }')
    assert str(error) == (
        "prompt 1: the tokens of `tiny` spell no text that obeys `thanks`: `é` (U+00E9) is in none of them, and its "
        "tokenizer has no byte fallback; use another model or another wording"
    )
    assert error.terms == ("thanks",)


def test_halves_of_characters_count_as_spelled_where_they_meet() -> None:
    half = Tiny(spelling=(b"a", b"\xc3", b"\xa9", b" ", b"."))
    assert feasible(plans_of('rule r at user { must contain "é" }', "x", model=half), half, CAP) == ()  # type: ignore[arg-type]
    lone = Tiny(spelling=(b"a", b"\xc3", b"b", b" ", b"."))
    assert "`é` (U+00E9) is in none" in str(refused('rule r at user { must contain "é" }', model=lone))


def test_characters_may_be_there_and_still_not_fit() -> None:
    # `a` and `b` are spelled, but only together
    pairs = Tiny(spelling=(b"ab", b"1", b"2", b" ", b"."))
    error = refused('rule r at user { must contain "ba" must not contain "b a" must not contain "aba" }', model=pairs)
    assert "the tokens of `tiny` spell no text that obeys" in str(error)
    assert "U+" not in str(error)


def test_byte_fallback_is_every_byte_of_a_text() -> None:
    every = tuple(bytes([byte]) for byte in range(256))
    assert has_byte_fallback(Vocabulary((*every, None), frozenset({256})))
    assert not has_byte_fallback(Vocabulary((*every[:0x90], None), frozenset({0x90})))
    assert not has_byte_fallback(Tiny().vocabulary)


def test_a_missing_character_is_the_first_that_is_needed() -> None:
    own = compiler(Tiny())
    factors = own.factors(plans_of('rule r at user { must contain "aéb€" }', "x")[0].terms)
    assert missing_character(own.automaton(factors.groups[0]), Tiny().vocabulary) == "é"
    factors = own.factors(plans_of('rule r at user { must contain "ab" }', "x")[0].terms)
    assert missing_character(own.automaton(factors.groups[0]), Tiny().vocabulary) is None


def test_rules_that_are_too_large_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Tiny()
    plans = plans_of(RULES, "say one")
    monkeypatch.setattr(build_module, "MAX_CELLS", 40)
    with pytest.raises(TwistError, match=r"`no_ab`.*: the rules need \d+ states and 6 tokens of look-ahead") as error:
        decode_tasks(plans, samples_of(model, 1, 5), model, {}, CAP, compiler=compiler(model))  # type: ignore[arg-type]
    assert set(error.value.terms) == {"no_ab", "full_stop", "one", "calm"}
    with pytest.raises(TwistError) as error:
        feasible(plans, model, CAP)  # type: ignore[arg-type]
    assert set(error.value.terms) == {"no_ab", "full_stop", "one"}


def obeys(texts: Sequence[str], one: bool) -> int:
    return sum("ab" not in text and text.endswith(".") and (not one or "1" in text) for text in texts)


def test_hard_mass_gives_both_estimates() -> None:
    model = Tiny()
    plans = plans_of(RULES, "say one", "hello", "one more")
    base = samples_of(model, len(plans), 200)
    found = hard_mass(plans, base, model, CAP, compiler=compiler(model))  # type: ignore[arg-type]
    assert [mass.prompts for mass in found] == [("1", "3"), ("2",)]
    counted = [sample.text for index in (0, 2) for sample in base[index]], [s.text for own in base for s in own]
    responses, log_p0 = model.model.enumerate()
    texts = [model.vocabulary.text(tokens) for tokens in responses]
    for mass, samples, one in zip(found, counted, (True, False), strict=True):
        assert (mass.obeying, mass.samples) == (obeys(samples, one), len(samples))
        assert mass.obeying / mass.samples < mass.upper < 1
        legal = [text.endswith(".") and "ab" not in text and (not one or "1" in text) for text in texts]
        # the look-ahead sees the model through its automaton only: near the truth, not exact
        assert mass.log_twist == pytest.approx(math.log(np.exp(log_p0)[legal].sum()), abs=0.5)
        assert not mass.is_rare
        assert f"{mass.obeying} of {mass.samples} base samples" in mass.message()
    assert set(found[0].terms) == {"no_ab", "full_stop", "one"}


def test_a_rare_policy_says_so() -> None:
    model = Tiny()
    rare = TabularModel(seed=3)
    logits = rare.table.copy()
    logits[..., 2] -= 20.0  # `1` nearly never comes
    object.__setattr__(rare, "table", logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    plans = plans_of('rule ones at user { must contain "1111" }', "hello")
    base = samples_of(Tiny(rare), 1, 300)
    [mass] = hard_mass(plans, base, model, CAP, compiler=compiler(model))  # type: ignore[arg-type]
    assert (mass.is_rare, mass.obeying, mass.samples) == (True, 0, 300)
    assert mass.estimate == math.exp(mass.log_twist) < 1e-6
    assert mass.upper == pytest.approx(1 - 0.05 ** (1 / 300))  # none of n: the exact bound in closed form
    assert mass.message().startswith("`ones`: the base model obeys with probability ")
    assert "0 of 300 base samples obey (at most 0.0099 with 95% confidence)" in mass.message()


def test_prompts_without_hard_rules_have_no_mass_to_tell() -> None:
    plans = plans_of('rule calm at user { should not contain "bb" weight 0.8 }', "hello")
    assert hard_mass(plans, samples_of(Tiny(), 1, 5), Tiny(), CAP, compiler=compiler(Tiny())) == ()  # type: ignore[arg-type]
