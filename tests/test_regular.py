"""Automata, factors and specialised terms say what the reference evaluator says."""

import itertools
from dataclasses import replace

import pytest
from random_policies import ALPHABET, RESPONSE, Writer, everywhere

from bylaw.compiler.evaluate import Unknown, evaluate_term, truth
from bylaw.compiler.factors import Infeasible, factorise, reward_of
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.regular import dfa_of, valued_of
from bylaw.compiler.specialise import CannotSpecialise, specialise
from bylaw.spec.expression import (
    Arithmetic,
    BooleanCall,
    BooleanFact,
    Compare,
    Count,
    EachPart,
    Extent,
    Fact,
    FoundAmong,
    Holds,
    MessageText,
    Not,
    NumberCall,
    NumberConstant,
    NumberFact,
    Occurrences,
    Or,
    PartOf,
    Phrase,
    Rank,
    TextConstant,
)
from bylaw.spec.logic import walk
from bylaw.spec.trace import Message, Trace

SHORT = ["".join(letters) for length in range(4) for letters in itertools.product("aAb .", repeat=length)]
SEEDS = range(60)


def answered(text: str) -> Trace:
    return Trace(()).answered(text)


@pytest.mark.parametrize("seed", SEEDS)
def test_automaton_of_a_statement_agrees_with_the_evaluator(seed: int) -> None:
    writer = Writer(f"truth {seed}")
    statement = writer.truth()
    automaton = dfa_of(statement)
    if automaton is None:
        return
    for text in (*SHORT, *(writer.text() + writer.text() for _ in range(60))):
        assert automaton.accepts(text) is truth(statement, answered(text)), text


def test_most_statements_have_an_automaton() -> None:
    """The test above would otherwise say little."""
    built = [dfa_of(Writer(f"truth {seed}").truth()) is not None for seed in SEEDS]
    assert sum(built) > 0.6 * len(built)


@pytest.mark.parametrize("seed", SEEDS)
def test_valued_automaton_of_a_term_agrees_with_the_evaluator(seed: int) -> None:
    writer = Writer(f"term {seed}")
    term = writer.term("t")
    valued = valued_of(term)
    if valued is None:
        return
    for text in (*SHORT, *(writer.text() + writer.text() for _ in range(60))):
        assert valued.value(text) == pytest.approx(evaluate_term(term, answered(text)).contribution, abs=1e-9), text


@pytest.mark.parametrize("seed", SEEDS)
def test_factors_add_up_to_the_reward(seed: int) -> None:
    writer = Writer(f"factors {seed}")
    terms = writer.program(5).terms
    texts = [writer.text() + writer.text() for _ in range(80)]
    try:
        factors = factorise(terms)
    except Infeasible as infeasible:
        culprits = [term for term in terms if term.id in infeasible.terms]
        assert culprits
        assert all(reward_of(culprits, text) == float("-inf") for text in (*SHORT, *texts))
        return
    for text in (*SHORT, *texts):
        whole = sum(group.value(text) for group in factors.groups) + factors.residual_reward(text)
        assert whole == pytest.approx(reward_of(terms, text), abs=1e-9), text


@pytest.mark.parametrize("seed", range(200))
def test_specialising_preserves_what_is_true(seed: int) -> None:
    writer = everywhere(seed)
    program, trace = writer.program(3), writer.trace(with_facts=seed % 2 == 0)
    for term in program.terms:
        refused = ""
        alive: tuple[RewardTerm, ...] = ()
        try:
            alive = specialise(replace(program, terms=(term,)), trace)
        except CannotSpecialise as error:
            refused = error.reason
        if refused:
            assert _may_be_unknown(term, trace), refused
            continue
        for response in ("", "a", "ab. b", writer.text(), writer.text()):
            whole = evaluate_term(term, trace.answered(response))
            # A term that is gone does not apply; those that are left need the response only.
            left = evaluate_term(alive[0], answered(response)) if alive else None
            seen = (0.0, 0.0) if left is None else (left.value, left.contribution)
            assert seen == pytest.approx((whole.value, whole.contribution))


def _may_be_unknown(term: RewardTerm, trace: Trace) -> bool:
    """Whether a fact that the term reads is missing, or it divides by something."""
    parts = [p for e in (term.condition, term.holds, term.value) if e is not None for p in walk(e)]
    missing = any(isinstance(p, (Fact, NumberFact, BooleanFact)) and p.path not in trace.facts for p in parts)
    return missing or any(isinstance(p, Arithmetic) and p.operator == "/" for p in parts)


@pytest.mark.parametrize("seed", range(40))
def test_specialised_terms_feed_the_automata(seed: int) -> None:
    writer = everywhere(f"pipeline {seed}")
    program, trace = writer.program(3), writer.trace()
    try:
        terms = specialise(program, trace)
        factors = factorise(terms)
    except (CannotSpecialise, Infeasible):
        return
    for text in SHORT[::5]:
        whole = sum(group.value(text) for group in factors.groups) + factors.residual_reward(text)
        assert whole == pytest.approx(reward_of(terms, text), abs=1e-9)


def holds(name: str, text: str, about: str = "response") -> Holds:
    return Holds(name, MessageText(about), (Phrase(text),))  # type: ignore[arg-type]


def hard(statement: Holds | Compare, **given: object) -> RewardTerm:
    return RewardTerm("t", "t", "hard", "user", Extent(0, 1), holds=statement, **given)  # type: ignore[arg-type]


def test_specialise_tells_which_fact_is_missing() -> None:
    program = Writer(0).program(0)
    term = hard(holds("contain", "a"), condition=BooleanFact("user.vip"))
    with pytest.raises(CannotSpecialise, match=r"`t` cannot be enforced here: the fact `user\.vip` is not given"):
        specialise(replace(program, terms=(term,)), Trace((Message("user", "hi"),)))


def test_a_conversation_is_the_messages_and_the_response() -> None:
    program = replace(Writer(0).program(0), terms=(hard(holds("contain", "hi\nyou", "conversation")),))
    (term,) = specialise(program, Trace((Message("user", "hi"),)))
    assert valued_of(term) is None
    assert reward_of((term,), "you") == 0.0
    assert reward_of((term,), "hi you") == float("-inf")


def test_infeasible_names_only_the_rules_that_conflict() -> None:
    # As matching sees it: the unit `commas` counts one character, and a full-width comma is found as one too.
    commas = Occurrences("contain", RESPONSE, (Phrase(","),))
    terms = [
        replace(hard(Compare(">=", Count("words", RESPONSE), NumberConstant(5.0))), id="innocent"),
        replace(hard(Compare("<=", commas, NumberConstant(0.0))), id="no_commas"),
        replace(hard(holds("start_with", "Well, ")), id="opener"),
    ]
    with pytest.raises(Infeasible) as raised:
        factorise(terms)
    assert raised.value.terms == ("no_commas", "opener")


def test_large_counts_and_hard_statements_are_left_to_the_evaluator() -> None:
    assert dfa_of(Compare("<=", Count("words", RESPONSE), NumberConstant(1e6))) is None
    assert dfa_of(Holds("json", RESPONSE)) is None
    assert dfa_of(Holds("contain", MessageText("prompt"), (Phrase("a"),))) is None
    two = Occurrences("contain", RESPONSE, (Phrase("a"), Phrase("ab")))
    assert dfa_of(Compare("<=", two, NumberConstant(2.0))) is None
    assert dfa_of(Compare("<", two, NumberConstant(1.0))) is not None


def test_a_difference_may_be_negative() -> None:
    """What is known of counts does not hold for what is computed from them."""
    difference = Arithmetic("-", Count("words", RESPONSE), NumberConstant(3.0))
    assert dfa_of(Compare(">=", difference, NumberConstant(0.0))) is None
    assert dfa_of(Compare("<=", difference, NumberConstant(-1.0))) is None
    assert truth(Compare("<=", difference, NumberConstant(-1.0)), answered("one two")) is True


def test_unknown_is_never_a_truth_value() -> None:
    assert isinstance(truth(BooleanFact("user.vip"), Trace(())), Unknown)
    assert len(ALPHABET) == len(set(ALPHABET))


# ---------------------------------------------------------------------- what is found among several, and which is best
LISTED = (Phrase("a"), Phrase("b"), Phrase("A"))


@pytest.mark.parametrize("operator", ["<", "<=", "==", "!=", ">=", ">"])
@pytest.mark.parametrize("bound", [0.0, 1.0, 2.0, 3.0, 4.0])
def test_how_many_of_a_list_are_found(operator: str, bound: float) -> None:
    statement = Compare(operator, FoundAmong("contain", RESPONSE, LISTED), NumberConstant(bound))  # type: ignore[arg-type]
    automaton = dfa_of(statement)
    assert automaton is not None
    for text in SHORT:
        assert automaton.accepts(text) is truth(statement, answered(text)), text


def test_an_order_of_alternatives_has_an_automaton() -> None:
    best, good = Holds("start_with", RESPONSE, (Phrase("a"),)), Holds("contain", RESPONSE, (Phrase("b"),))
    value = Rank((best, good, Not(best)))
    term = RewardTerm("r", "r", "graded", "user", Extent(0, 1), value=value, weight=2.0)
    valued = valued_of(term)
    assert valued is not None
    for text in SHORT:
        assert valued.value(text) == evaluate_term(term, answered(text)).contribution, text


def test_parts_calls_and_texts_that_are_looked_for_are_left_to_the_evaluator() -> None:
    it = Holds("contain", MessageText("it"), (Phrase("a"),))
    for statement in (
        EachPart("every", "sentences", RESPONSE, it),
        EachPart("every", "lines", RESPONSE, EachPart("every", "words", MessageText("it"), it)),
        Holds("contain", PartOf("lines", -2, RESPONSE), (Phrase("a"),)),
        Holds("contain", PartOf("words", 1, RESPONSE), (Phrase("a"),)),
        Holds("contain", RESPONSE, argument=PartOf("lines", 1, RESPONSE)),
        Holds("contain", RESPONSE, LISTED, "all", in_order=True),
        Compare("<=", Count("words", PartOf("sentences", 1, RESPONSE)), NumberConstant(2.0)),
        Compare("<=", NumberCall("reading_grade", (RESPONSE,)), NumberConstant(2.0)),
        BooleanCall("json_matches", (RESPONSE, TextConstant("{}"))),
    ):
        assert dfa_of(statement) is None
        assert isinstance(truth(statement, answered("a")), bool)
    line = RewardTerm(
        "r", "r", "graded", "user", Extent(0, 1), value=Count("words", PartOf("lines", 1, RESPONSE)), weight=1.0
    )
    assert valued_of(line) is None


LINES = ["".join(letters) for length in range(6) for letters in itertools.product("ab \n", repeat=length)]


@pytest.mark.parametrize("place", [1, 2, 3, -1, None, "some"])
@pytest.mark.parametrize("kind", ["contain", "words", "start", "both", "not"])
def test_what_is_said_of_lines_has_an_automaton(kind: str, place: int | str | None) -> None:
    text = PartOf("lines", place, RESPONSE) if isinstance(place, int) else MessageText("it")
    contain, start = Holds("contain", text, (Phrase("ab"),)), Holds("start_with", text, (Phrase("a"),))
    words = Compare("<=", Count("words", text), NumberConstant(1.0))
    said = {"contain": contain, "words": words, "start": start, "both": Or((contain, words)), "not": Not(start)}[kind]
    statement = said if isinstance(place, int) else EachPart("some" if place else "every", "lines", RESPONSE, said)
    automaton = dfa_of(statement)
    assert automaton is not None
    for response in LINES:
        assert automaton.accepts(response) is truth(statement, answered(response)), repr(response)
