"""The reference evaluator: three-valued logic, verdicts, contributions, evidence, reasons."""

import math
from dataclasses import replace

import pytest

from bylaw.compiler.evaluate import Unknown, Verdict, evaluate, evaluate_term, number, text_of, truth
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardTerm
from bylaw.spec.expression import And, BooleanConstant, BooleanFact, Fact, Not, NumberFact, Or
from bylaw.spec.source import Source
from bylaw.spec.trace import FactValue, Message, Trace

VIOLATED, SATISFIED, SKIPPED, UNSCORED = Verdict.VIOLATED, Verdict.SATISFIED, Verdict.NOT_APPLICABLE, Verdict.UNSCORED
BROKEN = -math.inf
TRUE, FALSE, UNKNOWN = BooleanConstant(True), BooleanConstant(False), BooleanFact("meta.missing")
NOTHING = Trace(())


def term_of(sentences: str) -> RewardTerm:
    compiled = compile_source(Source.of("policy.bylaw", f"rule r at user {{ {sentences} }}"))
    (term,) = compiled.require().terms
    return term


def trace_of(response: str, prompt: str = "hello there", **facts: FactValue) -> Trace:
    given = {f"meta.{name}": value for name, value in facts.items()}
    return Trace((Message("user", prompt),), given).answered(response)


# ------------------------------------------------------------------------------------------------------------ logic
KLEENE = [
    (And((TRUE, UNKNOWN)), None),
    (And((FALSE, UNKNOWN)), False),
    (And((UNKNOWN, FALSE)), False),
    (Or((TRUE, UNKNOWN)), True),
    (Or((UNKNOWN, TRUE)), True),
    (Or((FALSE, UNKNOWN)), None),
    (Not(UNKNOWN), None),
    (And((TRUE, TRUE)), True),
    (Or((FALSE, FALSE)), False),
    (Not(And((FALSE, UNKNOWN))), True),
]


@pytest.mark.parametrize(("expression", "expected"), KLEENE)
def test_unknown_spreads_only_where_nothing_settles_the_question(expression: And, expected: bool | None) -> None:
    value = truth(expression, NOTHING)
    assert isinstance(value, Unknown) if expected is None else value is expected


FACTS = [
    ("12", 12.0),
    (" -3.5e2 ", -350.0),
    (7.0, 7.0),
    ("nan", "is not a number"),
    ("1_000", "is not a number"),
    ("\u0661", "is not a number"),
    (math.inf, "is not a number"),
    (True, "is not a number"),
    ("", "is not a number"),
    (None, "is not given"),
]


@pytest.mark.parametrize(("value", "expected"), FACTS)
def test_facts_as_numbers(value: FactValue | None, expected: float | str) -> None:
    found = number(NumberFact("meta.x"), Trace((), {} if value is None else {"meta.x": value}))
    assert expected in found.reason if isinstance(found, Unknown) else found == expected  # type: ignore[operator]


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), ("true", True), ("False ", False), ("yes", None), (1.0, None), ("", None)],
)
def test_facts_as_truth(value: FactValue, expected: bool | None) -> None:
    found = truth(BooleanFact("meta.x"), Trace((), {"meta.x": value}))
    assert isinstance(found, Unknown) if expected is None else found is expected


@pytest.mark.parametrize(("value", "shown"), [("a", "a"), (12.0, "12"), (0.5, "0.5"), (True, "true"), (-0.0, "0")])
def test_facts_as_texts(value: FactValue, shown: str) -> None:
    assert text_of(Fact("meta.x"), Trace((), {"meta.x": value})) == shown


# --------------------------------------------------------------------------------------------------- kinds of terms
KINDS = [
    ('must contain "x"', "x", SATISFIED, 0.0, 0.0),
    ('must contain "x"', "y", VIOLATED, -1.0, BROKEN),
    ('must not contain "x"', "x", VIOLATED, -1.0, BROKEN),
    ('should contain "x" weight 2', "x", SATISFIED, 0.0, 0.0),
    ('should contain "x" weight 2', "y", VIOLATED, -1.0, -2.0),
    ('should contain "x"', "y", VIOLATED, -1.0, -1.0),
    ('when prompt contains "bye" must contain "x"', "y", SKIPPED, 0.0, 0.0),
    ('unless prompt contains "hello" must contain "x"', "y", SKIPPED, 0.0, 0.0),
    ('when prompt contains "hello" must contain "x"', "y", VIOLATED, -1.0, BROKEN),
    ("prefer higher number of words in response weight 0.5", "a b c", SATISFIED, 3.0, 1.5),
    ("prefer lower number of words in response weight 0.5", "a b c", SATISFIED, 3.0, -1.5),
    ("prefer lower number of words in response", "", SATISFIED, 0.0, 0.0),
    ("prefer number of words in response near 5 weight 2", "a b c", SATISFIED, 2.0, -4.0),
    ('limit response contains "x" to at most 2% of responses', "x", VIOLATED, 1.0, None),
    ('limit response contains "x" to at most 2% of responses', "y", SATISFIED, 0.0, None),
    ('limit response contains "x" to at least 2% of responses', "x", SATISFIED, 1.0, None),
    ('limit response contains "x" to at least 2% of responses', "y", VIOLATED, 0.0, None),
    ("limit average number of words in response to at most 5", "a b", SATISFIED, 2.0, None),
    ('limit response contains "x" to at most 0% of responses', "x", VIOLATED, -1.0, BROKEN),
    ('limit response contains "x" to at least 100% of responses', "x", SATISFIED, 0.0, 0.0),
    ('when meta.missing == "a" must contain "x"', "x", UNSCORED, None, None),
    ('must contain "x" or have at most meta.missing words', "x", SATISFIED, 0.0, 0.0),
    ('must contain "x" or have at most meta.missing words', "y", UNSCORED, None, None),
    ("prefer higher number of commas in response per number of words in response", "", UNSCORED, None, None),
    ("prefer higher number of commas in response per number of words in response", "a, b", SATISFIED, 0.5, 0.5),
]


@pytest.mark.parametrize(("sentences", "response", "verdict", "value", "contribution"), KINDS)
def test_verdict_value_and_contribution(
    sentences: str, response: str, verdict: Verdict, value: float | None, contribution: float | None
) -> None:
    score = evaluate_term(term_of(sentences), trace_of(response))
    assert (score.verdict, score.value, score.contribution) == (verdict, value, contribution)
    assert (score.reason is not None) is (verdict is UNSCORED)
    assert str(score.contribution) != "-0.0"


def test_a_solved_budget_contributes() -> None:
    term = replace(term_of('limit response contains "x" to at most 2% of responses'), multiplier=3.0)
    assert evaluate_term(term, trace_of("x")).contribution == -3.0
    assert evaluate_term(term, trace_of("y")).contribution == 0.0


@pytest.mark.parametrize("last", ["user", "tool", "system"])
def test_a_conversation_without_a_response_is_unscored(last: str) -> None:
    trace = Trace((Message("assistant", "x"), Message(last, "x")))
    score = evaluate_term(term_of('must contain "x"'), trace)
    assert (score.verdict, score.contribution) == (UNSCORED, None)


# --------------------------------------------------------------------------------------------------------- evidence
EVIDENCE = [
    ('must not contain "ab"', "ab-ab", ["ab", "ab"]),
    ('must not mention any of ["b", "a"]', "a b ab", ["a", "b"]),
    ('must contain "x"', "abc", ["abc"]),
    ("must have at most 2 words", "one two three four.", ["three four"]),
    ("must have fewer than 2 words", "one two three", ["two three"]),
    ("must have no commas", "a, b, c", [", b,"]),
    ("must have exactly 1 lines", "a\nb", ["b"]),
    ("must have at least 2 lines", "one", ["one"]),
    ("2 must be at least number of words in response", "one two three", None),
    ('must contain "a" at most 1 times', "a-a", ["a", "a"]),
    ('must not contain "a" and must not contain "b"', "", None),
    ('limit response mentions "a" to at most 2% of responses', "b a", ["a"]),
    ("limit response has at least 2 words to at most 2% of responses", "a b c", ["b c"]),
    ('when response contains "b" must not contain "a"', "b a", ["a"]),
    ('must be uppercase and not contain "a"', "Aa", ["a"]),
    ("must not be lowercase", "abc", ["abc"]),
]


@pytest.mark.parametrize(("sentences", "response", "expected"), [case for case in EVIDENCE if case[2] is not None])
def test_evidence_points_at_what_breaks_the_rule(sentences: str, response: str, expected: list[str]) -> None:
    score = evaluate_term(term_of(sentences), trace_of(response))
    assert score.verdict is VIOLATED
    assert [response[e.start : e.end] for e in score.evidence] == expected


def test_what_holds_has_no_evidence() -> None:
    assert evaluate_term(term_of('must contain "x"'), trace_of("x")).evidence == ()


# ------------------------------------------------------------------------------------------------------------ scores
POLICY = """
rule a at user { must contain "x" }
rule b at user { should contain "y" weight 2 }
rule c at user { should have at most meta.limit words weight 2 }
rule d at user { limit response contains "z" to at most 2% of responses }
"""


def test_a_score_adds_up_and_says_what_is_allowed() -> None:
    program = compile_source(Source.of("policy.bylaw", POLICY)).require()
    priced = program.with_multipliers({"d": 0.5})
    assert evaluate(priced, trace_of("x z", limit=5)).reward == -2.5
    assert evaluate(priced, trace_of("y", limit=5)).reward == BROKEN
    # A missing fact leaves the reward open, but not the question whether the hard rules hold.
    assert evaluate(priced, trace_of("x")).reward is None
    assert evaluate(priced, trace_of("x")).allowed
    assert evaluate(program, trace_of("x", limit=5)).allowed
    assert not evaluate(program, trace_of("y", limit=5)).allowed
    assert not evaluate(program, Trace(())).allowed
    assert evaluate(program, trace_of("x", limit=5)).term("a").verdict is SATISFIED
    with pytest.raises(KeyError):
        evaluate(program, trace_of("x")).term("nobody")
