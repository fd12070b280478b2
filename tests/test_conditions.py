"""Whether conditions can be met, against brute force; and what is said of conditions that never or always hold."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from bylaw.compiler.evaluate import evaluate_term, truth
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.satisfy import NotDecided, Refutation, can_meet, decide, implies, situation_meeting
from bylaw.compiler.satisfy.numbers import LARGEST, contains, meeting, picks, solved, whole
from bylaw.compiler.values import calculated, compared
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    Concept,
    ConceptScore,
    Count,
    Fact,
    Holds,
    MessageText,
    Not,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Or,
    Phrase,
    Regex,
)
from bylaw.spec.loader import load
from bylaw.spec.logic import negate
from bylaw.spec.parser import parse
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source
from bylaw.spec.trace import FactValue, Message, Trace

OPERATORS = ("<", "<=", "==", "!=", ">=", ">")


def condition(text: str) -> BooleanExpression:
    """The condition of a rule, as the resolver gives it."""
    source = Source("test", f'concept c means "x" {{ threshold 0.6 }}\nrule r {{ when {text} must have no commas }}')
    policy = resolve(load(parse(source), None)).regulators
    assert policy is not None
    found = policy.regulators[0].condition
    assert found is not None
    return found


# ------------------------------------------------------------------------------------------------------------ numbers
def test_comparisons_are_solved_as_the_evaluator_calculates() -> None:
    dice = random.Random(1)
    quantity = NumberFact("user.age")

    def value(expression: NumberExpression, of: float) -> object:
        match expression:
            case NumberConstant(number):
                return number
            case Arithmetic(operator, left, right):
                return calculated(operator, value(left, of), value(right, of))  # type: ignore[arg-type]
        return of

    for _ in range(400):
        side: NumberExpression = quantity
        for _ in range(dice.randint(0, 3)):
            number = NumberConstant(dice.choice((-2.0, 0.0, 0.1, 0.3, 1.0, 3.0, 1e20, 1e300)))
            operator = dice.choice(("+", "-", "*", "/", "distance"))
            sides = (side, number) if dice.random() < 0.5 else (number, side)
            side = Arithmetic(operator, *sides)
        asked = Compare(dice.choice(OPERATORS), side, NumberConstant(dice.choice((-1.0, 0.0, 0.3, 0.4, 2.0, 1e300))))
        answer = solved(asked)
        assert answer is not None
        points = [-2.0, 0.0, 0.1, 0.2, 0.3, 1.0, 3.0, -1e300, 5e-324, LARGEST, *(dice.uniform(-9, 9) for _ in range(9))]
        points += [edge for interval in answer[1] for edge in interval]
        for point in points:
            said = compared(asked.operator, value(asked.left, point), value(asked.right, point))  # type: ignore[arg-type]
            assert (said is True) == contains(answer[1], point), (asked, point)


def test_numbers_are_picked_from_their_set() -> None:
    for operator, bound in itertools.product(OPERATORS, (-3.0, 0.0, 0.1, 18.0)):
        numbers = meeting(operator, bound)  # type: ignore[arg-type]
        found = list(picks(numbers, 3))
        assert found
        assert all(contains(numbers, number) for number in found)
    assert next(picks(meeting("<", 13))) == 12
    assert next(picks(meeting(">=", 18))) == 18
    assert whole(meeting("<", 0.5)) == ((0.0, 0.0),)
    assert whole(meeting("<", 0)) == ()


# -------------------------------------------------------------------------------------------------------- brute force
FACTS: dict[str, tuple[FactValue, ...]] = {
    "user.age": (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, "1", "x", True),
    "user.limit": (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
    "meta.kind": ("a", "b", "ab", "ba", "aa", "", "other", "1", "true", "2"),
    "meta.other": ("a", "b", "ab", "other"),
    "user.vip": (True, False),
}


def _leaf(dice: random.Random) -> BooleanExpression:
    kind = dice.random()
    bound = NumberConstant(dice.choice((0.0, 1.0, 2.0)))
    operator = dice.choice(OPERATORS)
    if kind < 0.3:
        return Compare(operator, NumberFact("user.age"), bound)
    if kind < 0.4:
        return Compare(operator, bound, NumberFact("user.limit"))
    if kind < 0.45:
        return Compare(operator, NumberFact("user.age"), NumberFact("user.limit"))
    if kind < 0.5:
        return Compare(operator, Arithmetic("+", NumberFact("user.age"), NumberConstant(0.5)), bound)
    if kind < 0.6:
        return BooleanFact(dice.choice(("user.vip", "user.vip", "user.age", "meta.kind")))
    if kind < 0.65:
        return Holds("match", Fact("meta.kind"), argument=Fact("meta.other"))
    if kind < 0.7:
        return Compare(operator, NumberFact("meta.kind"), bound)
    subject = Fact(dice.choice(("meta.kind", "meta.kind", "meta.other")))
    if kind < 0.9:
        texts = tuple(map(Phrase, dice.sample(("a", "b", "ab", "other"), dice.choice((1, 1, 2)))))
        return Holds("match", subject, texts)
    if kind < 0.95:
        return Holds(dice.choice(("contain", "start_with")), subject, (Phrase(dice.choice(("a", "b"))),))
    return Holds("match", subject, (Regex(dice.choice(("a+", "[ab]*", "b.*", "[0-9]+"))),))


def _formula(dice: random.Random, depth: int) -> BooleanExpression:
    if depth == 0 or dice.random() < 0.2:
        return _leaf(dice)
    if dice.random() < 0.15:
        return Not(_formula(dice, depth - 1))
    items = tuple(_formula(dice, depth - 1) for _ in range(dice.choice((2, 2, 3))))
    return And(items) if dice.random() < 0.65 else Or(items)


def _situations() -> list[Trace]:
    return [Trace((), dict(zip(FACTS, values, strict=True))) for values in itertools.product(*FACTS.values())]


def test_what_brute_force_finds_is_found_and_what_is_refuted_it_does_not_find() -> None:
    dice = random.Random(7)
    situations = _situations()
    dice.shuffle(situations)
    counts = {"met": 0, "refuted": 0, "open": 0}
    for _ in range(400):
        asked = _formula(dice, 3)
        try:
            answer = decide(asked)
        except NotDecided:
            assert all(truth(asked, each) is not True for each in situations), "brute force finds one"
            counts["open"] += 1
            continue
        if isinstance(answer, Trace):
            assert truth(asked, answer) is True
            counts["met"] += 1
        else:
            counts["refuted"] += 1
            assert answer.reason
            assert all(truth(asked, each) is not True for each in situations[:1500]), asked
            core = And(answer.parts) if answer.parts else BooleanConstant(False)
            assert ";" in answer.reason or all(truth(core, each) is not True for each in situations[:1500])
    assert counts["met"] > 200
    assert counts["refuted"] > 60
    assert counts["open"] <= 4


# ------------------------------------------------------------------------------------------------------- single cases
@pytest.mark.parametrize(
    "text",
    [
        "user.age < 13 or user.age > 18",
        'meta.channel != "sms"',
        'meta.channel matches /a.*/ and meta.channel matches /.*b/ and meta.channel != "ab"',
        'prompt contains "x" and not prompt mentions "x" and number of words in prompt > 3',
        'prompt starts with "Dear" and prompt has at least 300 words',
        "user.age + 1 > user.limit and user.limit > user.age",
        'meta.a == meta.b and meta.a == "x"',
        "meta.a != meta.b",
        "meta.a matches /[0-9]+/ and meta.a > 3",
        "prompt expresses c",
        "prompt expresses c and score of c in prompt < 0.9",
        'system_prompt contains "a" and not conversation contains "b"',
        'response contains "a" and prompt contains "b"',
        'language(prompt) == "de"',
        'every sentence of prompt contains "a"',
        "number of words in prompt < 5 and user.max < number of words in prompt",
        'not call to refund contains "x"',
        "true",
    ],
)
def test_a_situation_is_found(text: str) -> None:
    asked = condition(text)
    trace = situation_meeting(asked)
    assert trace is not None
    assert truth(asked, trace) is True


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("user.age < 13 and user.age > 18", "`user.age` cannot be below 13 and above 18"),
        ("user.age * 2 < 26 and 18 < user.age", "no number `user.age` meets all of this"),
        ("user.vip and not user.vip", "`user.vip` cannot be true and false"),
        ("user.vip and user.vip > 3", "`user.vip` cannot be a number and also true or false"),
        ('meta.a == "sms" and meta.a == "mail"', '`meta.a` cannot be "sms" and "mail"'),
        ('meta.a is in ["x", "y"] and meta.a == "z"', '`meta.a` cannot be one of "x", "y" and "z"'),
        ('meta.a == "x" and meta.a > 3', '`meta.a` cannot be "x" and above 3'),
        ('meta.a == meta.b and meta.a == "x" and meta.b == "y"', "`meta.a` and `meta.b` cannot be the same here"),
        ("user.a > user.b and user.b > user.a", "`user.a` cannot be above and below `user.b`"),
        ("user.a > user.b and user.a < 1 and user.b > 2", "`user.a` cannot be above `user.b` here"),
        ("user.a < user.a", "`user.a` cannot be below `user.a`"),
        ('lower(meta.a) == "true" and meta.a and meta.a > 3', "`meta.a` cannot be a number and also true or false"),
        ('lower(meta.a) == "x" and not lower(meta.a) contains "x"', "no text meets all of this"),
        ("not prompt contains /[0-9]*/", "`prompt` cannot fail to contain /[0-9]*/"),
        ("number of words in prompt < 0", "`number of words in prompt` cannot be below 0"),
        ("number of words in prompt < 3 and number of words in prompt > 2", "cannot be below 3 and above 2"),
        ('prompt is uppercase and prompt contains "abc"', "(proved by automata)"),
        ('prompt contains "x" and number of words in prompt < 1', "(proved by automata)"),
        ("meta.a matches /[a-z]+/ and meta.a > 3", "`meta.a` cannot be /[a-z]+/ and above 3"),
        (
            "prompt expresses c and score of c in prompt < 0.5",
            "`score of c in prompt` cannot be at least 0.6 and below",
        ),
        ('language(prompt) == "de" and language(prompt) == "en"', "no text meets all of this"),
        ('call to pay contains "x" and not call to pay contains "x"', "the same cannot be true and false"),
    ],
)
def test_a_proof_is_found(text: str, reason: str) -> None:
    answer = decide(condition(text))
    assert isinstance(answer, Refutation)
    assert reason in answer.reason


def test_what_is_not_known_is_not_decided() -> None:
    for text in ('call to refund contains "x"', 'reading_grade(prompt) > 900 and prompt contains "x"'):
        with pytest.raises(NotDecided):
            situation_meeting(condition(text))
        assert can_meet(condition(text), None) is None
        assert implies(condition(text), condition("user.vip")) is None


def test_too_many_ways_are_not_decided() -> None:
    parts = [f'(user.a{n} == "x" or user.b{n} == "y") and user.c{n} > user.d{n}' for n in range(12)]
    assert situation_meeting(condition(" and ".join(parts))) is not None
    with pytest.raises(NotDecided, match="no situation was found"):
        situation_meeting(condition(" and ".join((*parts, "user.e * user.e == -1"))))
    closed = [f'(user.a{n} == "x" or user.b{n} == "y") and (user.a{n} == "z" or user.b{n} == "z")' for n in range(9)]
    with pytest.raises(NotDecided, match="more than 400 ways"):
        situation_meeting(condition(" and ".join((*closed, "(user.e == 1 and user.e == 2 or user.f and not user.f)"))))


def test_a_condition_that_is_unknown_is_not_met() -> None:
    """A situation gives every fact, and a fact that is no number makes no comparison true."""
    asked = condition("user.age >= 18 or user.age < 18")
    assert truth(asked, Trace(())) not in (True, False)
    assert isinstance(decide(negate(asked)), Refutation)
    found = situation_meeting(condition("user.age >= 18 or user.vip"))
    assert found is not None
    assert set(found.facts) == {"user.age", "user.vip"}


def test_concepts_are_free_but_their_scores_have_an_order() -> None:
    one = Concept("calm", "x", threshold=0.7, distinct_from=("kind",))
    other = Concept("kind", "y")
    prompt = MessageText("prompt")
    high = Compare(">=", ConceptScore(one, prompt), NumberConstant(0.7))
    low = Compare("<", ConceptScore(one, prompt), NumberConstant(0.5))
    assert can_meet(high, low) is False
    assert can_meet(high, Compare(">=", ConceptScore(other, prompt), NumberConstant(0.5))) is True
    assert can_meet(low, negate(high)) is True
    assert implies(low, negate(high)) is True


def test_pairs_of_conditions() -> None:
    sms, chat = condition('meta.channel == "sms"'), condition('meta.channel == "chat"')
    either = condition('meta.channel is in ["sms", "chat"]')
    assert can_meet(sms, chat) is False
    assert can_meet(sms, either) is True
    assert can_meet(None, sms) is True
    assert can_meet(None, None) is True
    assert (implies(sms, either), implies(either, sms)) == (True, False)
    assert (implies(sms, None), implies(None, sms), implies(None, None)) == (True, False, True)
    adult, old = condition("user.age >= 18"), condition("user.age > 65 and user.vip")
    assert (implies(old, adult), implies(adult, old)) == (True, False)


def test_simple_pairs_are_answered_in_less_than_a_millisecond() -> None:
    pairs = [
        (condition('meta.channel == "sms"'), condition('meta.channel == "chat"')),
        (condition('meta.channel == "sms"'), condition('user.role == "staff"')),
        (condition("user.age < 18"), condition("user.age >= 18")),
        (condition('meta.channel == "sms" and user.vip'), condition('meta.channel is in ["sms", "mail"]')),
    ]
    best = float("inf")
    for _ in range(5):
        start = time.process_time()
        for _ in range(50):
            for one, other in pairs:
                can_meet(one, other)
        best = min(best, (time.process_time() - start) / (50 * len(pairs)))
    assert best < 0.001


def test_counts_are_whole_numbers() -> None:
    words = Count("words", MessageText("prompt"))
    asked = And((Compare(">", words, NumberConstant(2.0)), Compare("<", words, NumberConstant(3.0))))
    assert isinstance(decide(asked), Refutation)
    age = NumberFact("user.age")
    asked = And((Compare(">", age, NumberConstant(2.0)), Compare("<", age, NumberConstant(3.0))))
    assert isinstance(decide(asked), Trace)


# ----------------------------------------------------------------------------------------------------------- findings
def findings(text: str) -> list[tuple[str, str]]:
    """(code, message) of what is found about conditions."""
    found = compile_source(Source("rules.bylaw", text), proofs=True)
    assert found.ok, found.diagnostics
    return [(each.code, each.message) for each in found.diagnostics if each.code in ("P411", "P412", "P418")]


@pytest.mark.parametrize(
    "text",
    [
        "param is_open : boolean = true\nrule a { when is_open must have no commas }",
        "param is_open : boolean = false\nparam b : boolean = true\nrule a { when is_open and b must have no commas }",
        'param tone : text = "plain"\nrule a { unless tone == "warm" must have no commas }',
        'rule a { when user.age < 18 unless meta.channel == "sms" must have no commas }',
        "rule a { when user.age < 18 and user.vip or user.age > 60 must have no commas }",
        'rule a { when response contains "x" must contain "y" }',
        'rule a { when call to pay contains "x" must have no commas }',
        "rule a { must have no commas }\nexception e to a { when user.vip }\nexception f to a { when user.old }",
        "rule a { must have no commas }\nexception e to a { when user.vip }\nexception f to e { when user.old }",
        "rule a { when user.vip must have no commas }\nrule b { when user.old may have at least 1 commas }",
    ],
)
def test_nothing_is_said_of_what_may_matter(text: str) -> None:
    assert findings(text) == []


def test_one_thing_is_said_of_a_rule() -> None:
    text = (
        "rule a { when user.age < 1 and user.age > 2 and user.vip unless user.age > 5 must have at least 0 words }\n"
        "exception e to a { when user.age > 7 }\n"
    )
    assert findings(text) == [("P411", "`a` never applies: its `when` is never true")]


def test_of_two_exceptions_that_say_the_same_the_second_is_told() -> None:
    text = "rule a { must have no commas }\n" + "".join(f"exception {e} to a {{ when user.vip }}\n" for e in "ef")
    message = "the exception `f` changes nothing: `e` lifts `a` in the same situations"
    assert findings(text) == [("P412", message)]


def test_conditions_of_included_and_applied_rules_are_looked_at() -> None:
    text = (
        'rule t(limit: number) { when user.age < limit and user.age > 20 must mention "x" }\n'
        "apply t(18) as young\napply t(30) as old\n"
    )
    assert findings(text) == [("P411", "`young` never applies: its conditions exclude each other")]


LEAVES = (
    "user.age < 18", "user.age >= 18", "user.age >= 13", "user.age == 15", "user.vip", "not user.vip",
    'meta.channel == "sms"', 'meta.channel != "mail"', 'meta.channel is in ["sms", "chat"]', "user.age > user.limit",
    'prompt contains "x"', "number of words in prompt > 2", "number of words in prompt <= 1",
)  # fmt: skip
GIVEN: dict[str, tuple[FactValue, ...]] = {
    "user.age": (12.0, 13.0, 15.0, 17.5, 18.0, 30.0),
    "user.vip": (True, False),
    "meta.channel": ("sms", "mail", "chat", "other"),
    "user.limit": (10.0, 16.0, 40.0),
}
PROMPTS = ("", "x", "a b c", "x y z")


def _said(dice: random.Random) -> str:
    if dice.random() < 0.4:
        return dice.choice(LEAVES)
    return dice.choice((" and ", " or ")).join(dice.sample(LEAVES, 2))


def _clauses(dice: random.Random) -> list[str]:
    words = dice.choice((("when",), ("when", "when"), ("when", "unless"), ("unless",)))
    return [f"{word} {_said(dice)}" for word in words]


def _policy(rule: list[str], exceptions: dict[str, tuple[str, list[str]]]) -> str:
    lines = [f'rule r {{\n{chr(10).join(rule)}\nmust not contain "z"\n}}']
    lines += [f"exception {name} to {to} {{\n{chr(10).join(said)}\n}}" for name, (to, said) in exceptions.items()]
    return "\n".join(lines) + "\n"


def _verdicts(text: str) -> list[str]:
    compiled = compile_source(Source("rules.bylaw", text))
    term = compiled.require().terms[0]
    found = []
    for values in itertools.product(*GIVEN.values()):
        for prompt in PROMPTS:
            messages = (Message("user", prompt), Message("assistant", "z"))
            found.append(str(evaluate_term(term, Trace(messages, dict(zip(GIVEN, values, strict=True)))).verdict))
    return found


def test_what_is_said_to_change_nothing_changes_nothing() -> None:
    """Each finding about random conditions, against every situation of a small world."""
    dice, counts = random.Random(5), {"never": 0, "clause": 0, "exception": 0}
    for _ in range(150):
        rule, exceptions = _clauses(dice), {"e": ("r", _clauses(dice))}
        if dice.random() < 0.5:
            exceptions["f"] = (dice.choice(("r", "e")), _clauses(dice))
        for code, message in findings(_policy(rule, exceptions)):
            name = message.split("`")[1]
            if code == "P412":
                counts["exception"] += 1
                rest = {other: said for other, said in exceptions.items() if name not in (other, said[0])}
                assert _verdicts(_policy(rule, rest)) == _verdicts(_policy(rule, exceptions)), message
            elif message.startswith("`r` never applies"):
                counts["never"] += 1
                assert set(_verdicts(_policy(rule, {}))) == {"not applicable"}
            elif "changes nothing in `r`" in message:
                counts["clause"] += 1
                others = [_policy([said for said in rule if said is not one], {}) for one in rule]
                assert _verdicts(_policy(rule, {})) in [_verdicts(other) for other in others]
    assert min(counts.values()) >= 3, counts
