"""Weights that never matter between examples: against every weight tried out with the reference evaluator."""

from __future__ import annotations

import random
from dataclasses import replace
from fractions import Fraction

import pytest

from bylaw.compiler.evaluate import evaluate
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.spec.errors import Diagnostic
from bylaw.spec.source import Source
from bylaw.spec.trace import Trace

OUTVOTED = """
rule thank at user {
  should mention "thanks" weight 0.5
  complies "Sure, thanks."
  violates "Fine."
}
rule no_sure at user {
  should not start with "Sure" weight 2
}
"""


def check(text: str) -> Compiled:
    compiled = compile_source(Source("rules.bylaw", text), proofs=True)
    assert compiled.draft is not None, compiled.diagnostics
    return compiled


def found(text: str) -> list[Diagnostic]:
    return [each for each in check(text).diagnostics if each.code == "P416"]


def test_an_outvoted_weight_is_told_with_the_least_one_that_matters() -> None:
    (each,) = found(OUTVOTED)
    assert each.message == "the weight of `thank` never matters between its examples: `no_sure` outvotes it"
    assert each.fix is not None
    assert "above 2," in each.fix.description


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("weight 0.5", "weight 2"),  # a tie: without the weight there was none
        ("weight 0.5", "weight 2.5"),
        ('should not start with "Sure"', 'should not start with "Fine"'),  # agrees
        ('should not start with "Sure"', 'should not start with "Hm"'),  # silent
        ('should not start with "Sure"', 'when prompt mentions "x"\n  should not start with "Sure"'),  # unknown
        ('should not start with "Sure" weight 2', 'must not start with "Sure"'),  # decided by a hard rule
        ('violates "Fine."', 'violates "Fine."\n  violates "Sure."'),  # matters in another pair
        ('complies "Sure, thanks."', ""),
    ],
)
def test_what_is_not_outvoted_everywhere(before: str, after: str) -> None:
    assert before in OUTVOTED
    assert not found(OUTVOTED.replace(before, after))


def test_only_answers_to_the_same_are_compared() -> None:
    conversation = '{{ given meta.vip = {} user "{}" assistant "{}" }}'
    text = OUTVOTED.replace("should mention", "when meta.vip or not meta.vip\n  should mention")

    def policy(*said: tuple[str, str, str]) -> str:
        good, bad = (conversation.format(*each) for each in said)
        return text.replace('"Sure, thanks."', good).replace('"Fine."', bad)

    assert found(policy(("true", "Hi", "Sure, thanks."), ("true", "Hi", "Fine.")))
    assert not found(policy(("true", "Hi", "Sure, thanks."), ("true", "Ho", "Fine.")))
    assert not found(policy(("true", "Hi", "Sure, thanks."), ("false", "Hi", "Fine.")))


def order(program: RewardProgram, good: str, bad: str) -> int:
    """Which of two answers the law prefers: 1 the first, -1 the second, 0 neither."""
    rewards = []
    for text in (good, bad):
        reward = evaluate(program, Trace(()).answered(text)).reward
        assert reward is not None
        rewards.append(Fraction(reward).limit_denominator(1000))
    return (rewards[0] > rewards[1]) - (rewards[0] < rewards[1])


def random_policy(seed: int) -> str:
    choose = random.Random(seed)
    words = ["ash", "elm", "fir", "oak", "yew"]
    texts = [" ".join(choose.choices(words, k=choose.randint(1, 4))) for _ in range(8)]
    target = choose.choice(words)
    examples = [f'  {"complies" if target in text.split() else "violates"} "{text}"' for text in dict.fromkeys(texts)]
    weight = choose.choice([0.25, 0.5, 1, 1.5])
    lines = [f'rule target at user {{\n  should mention "{target}" weight {weight}', *examples, "}"]
    for name in ("one", "two", "three"):
        other = choose.choice(words)
        said = choose.choice(
            [
                f'should {choose.choice(["", "not "])}mention "{other}" weight {choose.choice([0.5, 1, 2, 3])}',
                f"prefer lower number of words in response weight {choose.choice([0.25, 0.5, 1])}",
                f"should have at most {choose.randint(1, 3)} words weight {choose.choice([0.5, 1, 2])}",
            ]
        )
        lines.append(f"rule {name} at user {{ {said} }}")
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(60))
def test_against_the_evaluator_with_and_without_the_weight(seed: int) -> None:
    compiled = check(random_policy(seed))
    program, policy = compiled.draft, compiled.regulators
    assert program is not None
    assert policy is not None
    bare = with_weight(program, 0.0)
    by_verdict: dict[str, list[str]] = {"complies": [], "violates": []}
    for example in policy.examples:
        by_verdict[example.verdict].append(example.messages[-1].content)
    pairs = [(good, bad) for good in by_verdict["complies"] for bad in by_verdict["violates"]]
    decides = any(order(program, *pair) != order(bare, *pair) for pair in pairs)
    loses = [pair for pair in pairs if order(program, *pair) < 0]
    expected = bool(loses) and not decides
    (each,) = [each for each in compiled.diagnostics if each.code == "P416" and "`target`" in each.message] or [None]
    assert (each is not None) is expected
    if each is not None and each.fix is not None:
        least = float(each.fix.description.split("above ")[1].split(",")[0])
        for weight, matters in ((least + 0.001, True), (least - 0.001, False)):
            heavier = with_weight(program, weight)
            assert any(order(heavier, *pair) > order(bare, *pair) for pair in pairs) is matters


def with_weight(program: RewardProgram, weight: float) -> RewardProgram:
    terms = tuple(replace(term, weight=weight) if term.rule == "target" else term for term in program.terms)
    return replace(program, terms=terms)
