"""Expected values of sentences under probable concepts: against adding up all ways in which the concepts turn out."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from bylaw.compiler import decision_diagrams, soft_values
from bylaw.compiler.decision_diagrams import Diagrams
from bylaw.compiler.evaluate import evaluate_term, number, truth
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.soft_values import SoftValueError, SoftValues, probability
from bylaw.compiler.values import Unknown
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    Concept,
    ConceptScore,
    EachEvent,
    EachPart,
    EventAt,
    EventCount,
    EventSelector,
    Extent,
    Holds,
    MessageText,
    Neighbour,
    Not,
    NumberConstant,
    NumberExpression,
    Or,
    Phrase,
    Rank,
)
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

CONCEPTS = tuple(
    Concept(name, f"Is {name}.", like=("A warm hello.",) * (name == "warm"), threshold=threshold)
    for name, threshold in (("warm", 0.5), ("curt", 0.7), ("grim", 0.2))
)
MESSAGES = (
    Message("user", "Where is my parcel?"),
    Message("assistant", "Lost. Bad luck."),
    Message("user", "Can you look again?"),
    Message("assistant", "A warm hello. No. Look yourself."),
)
SIDES: Any = ["before", "after"]
TEXTS = (*(message.content for message in MESSAGES), "A warm hello.", "No.", "Look yourself.", "Lost.", "Bad luck.")


def trace(*, drawn: random.Random | None = None, **scores: float) -> Trace:
    """The conversation; with scores of its response, or random ones of everything: none, certain or, five, between."""
    known = {(name, MESSAGES[-1].content): value for name, value in scores.items()}
    if drawn is not None:
        keys = [(concept.name, text) for concept in CONCEPTS for text in TEXTS]
        known = {key: drawn.choice([0.0, 1.0]) for key in keys if drawn.random() < 0.9}
        asked = [key for key in keys if key[1] == MESSAGES[-1].content]
        for key in (*asked, *drawn.sample(keys, 2)):
            known[key] = drawn.uniform(0.05, 0.95)
    return Trace(MESSAGES, {"meta.vip": True}, scores=known)


# ------------------------------------------------------------------------------------------------ random sentences
def statement(drawn: random.Random, depth: int, inside: bool = False) -> BooleanExpression:
    """A random statement; `inside` a quantifier `it` stands for something."""
    if depth == 0:
        return leaf(drawn, inside)
    parts = lambda: tuple(statement(drawn, depth - 1, inside) for _ in range(drawn.randint(2, 3)))  # noqa: E731
    match drawn.randrange(9):
        case 0 | 1:
            return And(parts())
        case 2 | 3:
            return Or(parts())
        case 4:
            return Not(statement(drawn, depth - 1, inside))
        case 5:
            return Compare(
                drawn.choice(["<", "<=", ">", ">=", "==", "!="]), quantity(drawn, depth - 1, inside), some(drawn)
            )
        case 6 if not inside:
            return EachPart(quantifier(drawn), "sentences", MessageText("response"), statement(drawn, depth - 1, True))
        case 7 if not inside:
            return EachEvent(quantifier(drawn), selector(drawn, depth - 1), statement(drawn, depth - 1, True))
        case 8 if not inside:
            return EachEvent(
                quantifier(drawn), EventSelector("message"), Neighbour(drawn.choice(SIDES), selector(drawn, depth - 1))
            )
    return leaf(drawn, inside)


def leaf(drawn: random.Random, inside: bool) -> BooleanExpression:
    expresses = Compare(">=", score(drawn, inside), NumberConstant(drawn.choice([0.5, 0.7])))
    others: list[BooleanExpression] = [
        BooleanFact("meta.vip"),
        BooleanFact("meta.nothing"),
        BooleanConstant(drawn.random() < 0.5),
        Holds("contain", MessageText("it" if inside else "response"), (Phrase("No"),)),
    ]
    return expresses if drawn.random() < 0.9 else drawn.choice(others)


def score(drawn: random.Random, inside: bool) -> ConceptScore:
    concept = drawn.choice(CONCEPTS)
    if inside:
        return ConceptScore(concept, MessageText("it"))
    last = EventAt(EventSelector("message", role=None, where=leaf(drawn, True)), -1)
    return ConceptScore(concept, drawn.choice([*[MessageText("response")] * 4, MessageText("prompt"), last]))


def quantity(drawn: random.Random, depth: int, inside: bool = False) -> NumberExpression:
    match drawn.randrange(5):
        case 0 | 1:
            return score(drawn, inside)
        case 2:
            operator = drawn.choice(["+", "-", "*", "/", "distance"])
            return Arithmetic(operator, score(drawn, inside), quantity(drawn, max(0, depth - 1), inside))
        case 3:
            return Rank(tuple(statement(drawn, max(0, depth - 1), inside) for _ in range(3)))
    return EventCount(selector(drawn, depth)) if not inside else some(drawn)


def some(drawn: random.Random) -> NumberConstant:
    return NumberConstant(drawn.choice([-1.0, 0.0, 0.5, 1.0, 2.0]))


def selector(drawn: random.Random, depth: int) -> EventSelector:
    where = statement(drawn, max(0, depth - 1), True) if drawn.random() < 0.6 else None
    return EventSelector("message", role=drawn.choice([None, "assistant"]), where=where)


def quantifier(drawn: random.Random) -> Any:
    return drawn.choice(["every", "some"])


def term(drawn: random.Random) -> RewardTerm:
    kind = drawn.choice(["soft", "soft", "graded", "hard", "budget"])
    made = RewardTerm("t", "t", kind, "user", Extent(0, 0), weight=1.0)
    if drawn.random() < 0.5:
        made = replace(made, condition=statement(drawn, 1))
    if kind == "budget" and drawn.random() < 0.5:
        made = replace(made, among=statement(drawn, 1))
    if kind == "graded":
        return replace(made, value=quantity(drawn, 2))
    return replace(made, holds=statement(drawn, drawn.randint(2, 3)))


# ----------------------------------------------------------------------------------------------------------- oracles
def by_enumeration(one: RewardTerm, said: Trace, shares: dict[str, float]) -> float | None:
    """The evaluator in each way in which the uncertain scores can turn out; None: the value cannot be told."""
    uncertain = [key for key, value in said.scores.items() if 0 < value < 1]
    total = 0.0
    for ways in product((1.0, 0.0), repeat=len(uncertain)):
        scores = dict(said.scores) | dict(zip(uncertain, ways, strict=True))
        value = evaluate_term(one, replace(said, scores=scores)).value
        if value is None:
            return None
        weight = 1.0
        for key, way in zip(uncertain, ways, strict=True):
            chance = probability(said.scores[key], shares.get(key[0], 0.5))
            weight *= chance if way else 1.0 - chance
        total += weight * value
    return total


def test_random_terms_against_enumeration() -> None:
    """One table of diagrams for all of them, as in use. Every kind of term, with unknown facts and missing scores."""
    drawn = random.Random(7)
    shares = {"warm": 0.2, "grim": 0.9}
    soft = SoftValues(shares)
    unknown, hangs_on = 0, [0] * 6
    for _ in range(500):
        one, said = term(drawn), trace(drawn=drawn)
        expected = by_enumeration(one, said, shares)
        (found,) = soft.terms([one], said)
        assert (found.value is None) == (expected is None), one
        assert (found.reason is None) == (found.value is not None)
        unknown += expected is None
        if expected is not None:
            assert found.value == pytest.approx(expected, abs=1e-12), one
            hangs_on[found.events] += 1
    assert 50 < unknown < 250  # neither side of the comparison is empty
    assert sum(hangs_on[2:]) > 70


def test_certain_scores_give_what_the_evaluator_says() -> None:
    """The same value to the last bit, and the same reason."""
    drawn = random.Random(11)
    soft = SoftValues({"warm": 0.01})
    for _ in range(600):
        one, said = term(drawn), trace(drawn=drawn)
        said = replace(said, scores={key: float(round(value)) for key, value in said.scores.items()})
        hard = evaluate_term(one, said)
        (found,) = soft.terms([one], said)
        assert (found.value, found.reason if hard.value is None else None, found.events) == (
            hard.value,
            hard.reason if hard.value is None else None,
            0,
        ), one


# ----------------------------------------------------------------------------------------------------- closed forms
POLICY = """policy mill.desk version "1.0.0" edition 1
levels root > user
concept warm means "Is warm."
concept curt means "Is curt." {{
  threshold 0.7
}}
concept grim means "Is grim."
define good as response expresses warm and not response expresses curt
{}
"""


def program(said: str) -> RewardProgram:
    return compile_source(Source.of("mill.bylaw", POLICY.format(said))).require()


def expect(said: str, scores: dict[str, float], **shares: float) -> float | None:
    (one,) = program(f"rule r at user {{\n{said}\n}}").terms
    return SoftValues(shares).terms([one], trace(**scores))[0].value


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("should express warm", -0.2),
        ("should not express warm", -0.8),
        ("must not express curt", -0.4),
        ("when response expresses grim\n should not express curt", -0.1 * 0.4),
        ("when response expresses warm\n should not express warm", -0.8),  # one event, not two
        ('when good or response expresses warm\n should not contain "hello"', -0.8),
        ('when good or response expresses grim\n should not contain "hello"', -(1 - 0.52 * 0.9)),
        ("prefer higher score of warm in response weight 2", 0.8),
        ("prefer lower score of curt in response weight 2", 0.4),
        ("prefer good over response expresses warm", -1 * 0.8 * 0.4 - 2 * 0.2),
        ("when not good\n prefer response expresses grim over not response expresses grim", -0.9 * (1 - 0.8 * 0.6)),
    ],
)
def test_closed_forms(said: str, value: float) -> None:
    assert expect(said, {"warm": 0.8, "curt": 0.4, "grim": 0.1}) == pytest.approx(value, abs=1e-12)


def test_shares_are_bayes_rule() -> None:
    """A likelihood ratio of 4 where one in five is warm is even odds; a certain label stays certain."""
    assert expect("should express warm", {"warm": 0.8}, warm=0.2) == pytest.approx(-0.5, abs=1e-12)
    assert expect("should express warm", {"warm": 1.0}, warm=0.2) == 0.0
    assert expect("should express warm", {"warm": 0.8}, warm=0.0) == -1.0
    assert probability(0.8, 0.2) == pytest.approx(0.5)
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        SoftValues({"warm": 1.5})


def test_each_class_with_its_probability() -> None:
    (term,) = program(
        "rule r at user {\n  prefer good over response expresses warm over response expresses grim\n}"
    ).terms
    assert term.value is not None
    found = SoftValues().distribution(term.value, trace(warm=0.8, curt=0.4, grim=0.1))
    assert isinstance(found, dict)
    assert list(found) == [0.0, -1.0, -2.0, -3.0]
    assert list(found.values()) == pytest.approx([0.48, 0.32, 0.02, 0.18], abs=1e-12)
    assert isinstance(SoftValues().distribution(term.value, trace(warm=0.8)), Unknown)


def test_what_cannot_be_told_is_not_guessed() -> None:
    """Three-valued as the evaluator is: certain where the known parts settle it, else the reason."""
    (one,) = program('rule r at user {\n  when not (good and meta.vip)\n  should not contain "hello"\n}').terms
    soft = SoftValues()
    said = replace(trace(warm=0.8, curt=0.4), facts={})
    (found,) = soft.terms([one], said)
    assert (found.value, found.reason) == (None, "the fact `meta.vip` is not given")
    (settled,) = soft.terms([one], replace(said, scores={("warm", MESSAGES[-1].content): 0.0}))
    assert settled.value == -1.0
    unscored = replace(said, unscored={("warm", MESSAGES[-1].content): "the judge refused"}, scores={})
    assert soft.terms([one], unscored)[0].reason == "the judge refused"


def many(count: int, chance: float) -> tuple[Trace, BooleanExpression]:
    """`count` pairs of concepts, of which each has to have one: 2^(2 count) ways, and a diagram of 2 count nodes."""
    concepts = [Concept(f"c{number}", "Is so.") for number in range(2 * count)]
    each = [Compare(">=", ConceptScore(concept, MessageText("response")), NumberConstant(0.5)) for concept in concepts]
    said = trace(**{concept.name: chance for concept in concepts})
    return said, And(tuple(Or((one, other)) for one, other in zip(each[::2], each[1::2], strict=True)))


def test_many_events_take_no_time_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    said, expression = many(40, 0.9)
    found = SoftValues().truth(expression, said)
    assert found == pytest.approx((1 - 0.01) ** 40, abs=1e-12)
    with pytest.raises(SoftValueError, match="more than 200 scores of concepts"):
        SoftValues().truth(*reversed(many(101, 0.9)))  # type: ignore[arg-type]
    one = RewardTerm("t", "t", "soft", "user", Extent(0, 0), holds=many(101, 0.9)[1], weight=1.0)
    (told,) = SoftValues().terms([one], many(101, 0.9)[0])
    assert (told.value, told.reason) == (None, "it hangs on more than 200 scores of concepts")
    monkeypatch.setattr(decision_diagrams, "MOST_NODES", 60)
    with pytest.raises(SoftValueError, match="too many ways to add up"):
        SoftValues().truth(expression, said)
    monkeypatch.undo()
    monkeypatch.setattr(decision_diagrams, "MOST_STEPS", 60)
    with pytest.raises(SoftValueError, match="too many ways to add up"):
        SoftValues().truth(expression, said)


def test_a_text_that_hangs_on_a_score_is_tried_out_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last message that is not grim: which text that is hangs on scores, so the evaluator is asked of each way."""
    grim, warm = CONCEPTS[2], CONCEPTS[0]
    grim_one = Compare(">=", ConceptScore(grim, MessageText("it")), NumberConstant(0.5))
    last = EventAt(EventSelector("message", role="assistant", where=Not(grim_one)), -1)
    expression = Compare(">=", ConceptScore(warm, last), NumberConstant(0.5))
    later, earlier = MESSAGES[3].content, MESSAGES[1].content
    scores = {
        ("grim", later): 0.3,
        ("grim", earlier): 0.6,
        ("warm", later): 0.9,
        ("warm", earlier): 0.2,
        ("warm", ""): 0.5,
    }
    said = Trace(MESSAGES, scores=scores)
    expected = 0.7 * 0.9 + 0.3 * (0.4 * 0.2 + 0.6 * 0.5)
    assert SoftValues().truth(expression, said) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(soft_values, "MOST_TRIES", 5)
    with pytest.raises(SoftValueError, match="to try all"):
        SoftValues().truth(expression, said)


def test_a_full_table_is_begun_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values do not depend on what was put together before."""
    said, expression = many(6, 0.7)
    fresh = SoftValues().truth(expression, said)
    monkeypatch.setattr(decision_diagrams, "_FULL", 5)
    soft = SoftValues()
    assert [soft.truth(expression, said) for _ in range(3)] == [fresh] * 3


def test_diagrams_are_reduced() -> None:
    """Equal parts stand once, and an event that makes no difference is not asked for."""
    diagrams = Diagrams()
    yes, no = diagrams.end(1.0), diagrams.end(0.0)
    first, second = diagrams.choice(0, yes, no), diagrams.choice(1, yes, no)
    both = diagrams.combined("times", lambda one, other: one * other, first, second)
    assert both == diagrams.combined("times", lambda one, other: one * other, second, first)
    assert diagrams.choice(0, second, second) == second
    assert diagrams.chosen(1, first, first) == first
    assert diagrams.events(diagrams.chosen(1, first, no)) == {0, 1}
    assert diagrams.end(True) != diagrams.end(1.0)
    assert dict(diagrams.distribution(both, [0.5, 0.2])) == pytest.approx({1.0: 0.1, 0.0: 0.9})
    assert diagrams.expected(both, [0.5, 0.2]) == pytest.approx(0.1, abs=1e-15)


def test_numbers_and_truths_of_the_evaluator() -> None:
    """Without concepts nothing is expanded."""
    said = trace()
    statement_, counted = BooleanFact("meta.vip"), EventCount(EventSelector("message"))
    assert SoftValues().truth(statement_, said) == float(bool(truth(statement_, said))) == 1.0
    assert SoftValues().number(counted, said) == number(counted, said) == 4.0
