"""Concepts and topics: what a text expresses, by examples and by scores; functions of the catalog in sentences."""

import json

import pytest

from bylaw.compiler.evaluate import TermScore, Unknown, Verdict, evaluate_term, number, truth
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram, RewardTerm, from_json, to_json
from bylaw.compiler.specialise import CannotSpecialise, specialise
from bylaw.compiler.verify import ProgramInvalid, verify
from bylaw.spec.expression import (
    And,
    BooleanCall,
    BooleanExpression,
    Compare,
    Concept,
    ConceptScore,
    EachEvent,
    EachPart,
    EventCount,
    EventSelector,
    Extent,
    Fact,
    FoundAmong,
    Holds,
    MessageText,
    Neighbour,
    Not,
    NumberCall,
    NumberConstant,
    NumberFact,
    Or,
    PartOf,
    Phrase,
    Rank,
    TextCall,
)
from bylaw.spec.source import Source
from bylaw.spec.trace import FactValue, Message, Trace

VIOLATED, SATISFIED, SKIPPED, UNSCORED = Verdict.VIOLATED, Verdict.SATISFIED, Verdict.NOT_APPLICABLE, Verdict.UNSCORED
RESPONSE, IT = MessageText("response"), MessageText("it")
CONCEPTS = """
concept rude means "Insults the reader." {
  like "You fool."
  unlike "You are mistaken."
  threshold 0.6
}
topic boats means "Boats and sailing." { like "Where do ferries go?" }
define refusal(t) as t contains "cannot"
"""


def term_of(sentences: str, before: str = CONCEPTS) -> RewardTerm:
    source = Source.of("policy.bylaw", f"{before}\nrule r at user {{ {sentences} }}")
    (term,) = compile_source(source).require().terms
    return term


def score(
    sentences: str, response: str, prompt: str = "hello", known: dict[tuple[str, str], float] | None = None
) -> TermScore:
    trace = Trace((Message("user", prompt), Message("assistant", response)), scores=known or {})
    return evaluate_term(term_of(sentences), trace)


# ------------------------------------------------------------------------------------------------------------ concepts
SAID = [
    ("must not express rude", "You fool.", {}, VIOLATED),
    ("must not express rude", "  You fool.\n", {}, VIOLATED),
    ("must not express rude", "You are mistaken.", {}, SATISFIED),
    ("must not express rude", "Nonsense.", {}, UNSCORED),
    ("must not express rude", "Nonsense.", {("rude", "Nonsense."): 0.6}, VIOLATED),
    ("must not express rude", "Nonsense.", {("rude", "Nonsense."): 0.59}, SATISFIED),
    ("must not express rude", "You fool.", {("rude", "You fool."): 0.0}, VIOLATED),
    ("must not express rude", "Nonsense.", {("boats", "Nonsense."): 1.0}, UNSCORED),
    ("must not express rude with score at least 0.9", "Nonsense.", {("rude", "Nonsense."): 0.8}, SATISFIED),
    ("must express rude with score between 0.7 and 0.9", "Nonsense.", {("rude", "Nonsense."): 0.8}, SATISFIED),
    ("must not be rude", "You fool.", {}, VIOLATED),
    ("must not be refusal", "I cannot.", {}, VIOLATED),
    ("must be not refusal", "I can.", {}, SATISFIED),
    ("every sentence of response must not express rude", "You fool. You are mistaken.", {}, VIOLATED),
    ("every sentence of response must not express rude", "You are mistaken. You are mistaken.", {}, SATISFIED),
    ("every sentence of response must not express rude", "You are mistaken. Hm.", {}, UNSCORED),
    ("every sentence of response must not express rude", "You fool. Hm.", {}, VIOLATED),
    ("every sentence of response must be refusal", "I cannot. She cannot.", {}, SATISFIED),
    ("score of rude in response must be at most 0.5", "You fool.", {}, VIOLATED),
    ("when response is about boats must be empty", "Where do ferries go?", {}, VIOLATED),
    ("when response is not about boats must be empty", "Where do ferries go?", {}, SKIPPED),
    ("when score of boats in response < 0.5 must be empty", "x", {("boats", "x"): 0.2}, VIOLATED),
]


@pytest.mark.parametrize(("sentences", "response", "known", "expected"), SAID)
def test_what_a_text_expresses(
    sentences: str, response: str, known: dict[tuple[str, str], float], expected: Verdict
) -> None:
    found = score(sentences, response, known=known)
    assert found.verdict is expected
    assert (found.reason is not None) is (expected is UNSCORED)


def test_definitions_and_concepts_of_imports_are_said_of_texts() -> None:
    before = "import std.honesty as honesty\nimport std.agents as agents"
    for sentences, response, expected in (
        ("must not be honesty.refusal", "I can't help with that.", VIOLATED),
        ("must not be honesty.refusal", "Here you are.", SATISFIED),
        ("must express agents.explicit_approval", "Go ahead with the refund.", SATISFIED),
    ):
        assert evaluate_term(term_of(sentences, before), Trace(()).answered(response)).verdict is expected


def test_the_reason_names_the_concept() -> None:
    assert score("must not express rude", "Hm.").reason == "no scorer has scored `rude`"


def test_a_score_is_a_quantity() -> None:
    found = score("prefer lower score of rude in response weight 2", "Hm.", known={("rude", "Hm."): 0.25})
    assert (found.value, found.contribution) == (0.25, -0.5)


def test_scores_of_what_is_known_are_settled_before_the_answer() -> None:
    program = compile_source(
        Source.of("policy.bylaw", CONCEPTS + 'rule r at user { when prompt is about boats must contain "x" }')
    ).require()
    asked = (Message("user", "Are sails boats?"),)
    with pytest.raises(CannotSpecialise, match="no scorer has scored `boats`"):
        specialise(program, Trace(asked))
    assert specialise(program, Trace(asked, scores={("boats", "Are sails boats?"): 0.1})) == ()
    (left,) = specialise(program, Trace(asked, scores={("boats", "Are sails boats?"): 0.9}))
    assert left.condition is None


@pytest.mark.parametrize(
    "sentence", ["must not express rude", "should not express rude", "when response is rude must be empty"]
)
def test_an_answer_that_nobody_scores_is_not_written_on_a_guess(sentence: str) -> None:
    program = compile_source(Source.of("policy.bylaw", CONCEPTS + f"rule r at user {{ {sentence} }}")).require()
    with pytest.raises(CannotSpecialise, match="nothing scores `rude` while an answer is written"):
        specialise(program, Trace((Message("user", "Hello"),)))


# ------------------------------------------------------------------------ functions, quotations, languages, schemas
FUNCTIONS = [
    ("reading_grade(response) must be at most 3", "The cat sat.", "", {}, SATISFIED),
    ("reading_grade(response) must be at most 3", "Incomprehensible antidisestablishmentarianism.", "", {}, VIOLATED),
    ('word(response, 2) must start with "b"', "a bc", "", {}, SATISFIED),
    ('word(response, number of words in prompt) must start with "b"', "a bc", "one two", {}, SATISFIED),
    ('word(response, number of words in prompt) must start with "b"', "a bc", "one", {}, VIOLATED),
    ("word(response, n: meta.n) must be uppercase", "a B", "", {"meta.n": "2"}, SATISFIED),
    ("word(response, n: meta.n) must be uppercase", "a B", "", {}, UNSCORED),
    (
        'when json_matches(response, meta.schema) must contain "x"',
        "1",
        "",
        {"meta.schema": '{"type": "number"}'},
        VIOLATED,
    ),
    ("must be json matching meta.schema", "[]", "", {"meta.schema": '{"type": "object"}'}, VIOLATED),
    ("must be json matching meta.schema", "{}", "", {"meta.schema": '{"type": "object"}'}, SATISFIED),
    ("must be json matching meta.schema", "{}", "", {"meta.schema": "no schema"}, UNSCORED),
    ("must not quote prompt more than 2 words", "He said we sail.", "we sail at noon", {}, SATISFIED),
    ("must not quote prompt more than 2 words", "We sail at night.", "we sail at noon", {}, VIOLATED),
    ("must not quote prompt", "a b c d e f g", "a b c d e f g h", {}, SATISFIED),
    ("must not quote prompt", "a b c d e f g h", "a b c d e f g h", {}, VIOLATED),
    ('must be in language "de"', "Die Fähre verlässt den Hafen am Mittag.", "", {}, SATISFIED),
    ('must be in language "de"', "The ferry leaves the harbour at noon.", "", {}, VIOLATED),
    ('must be not in language "de"', "The ferry leaves the harbour at noon.", "", {}, SATISFIED),
    ("must be in language meta.code", "The ferry leaves the harbour at noon.", "", {"meta.code": "en"}, SATISFIED),
    ('must be in language "de"', "123", "", {}, UNSCORED),
    ("when word(prompt, 1) == word(prompt, 2) must be empty", "x", "a a", {}, VIOLATED),
    ("when word(prompt, 1) != word(prompt, 2) must be empty", "x", "a a", {}, SKIPPED),
    ("must contain meta.name", "Dear Ann", "", {"meta.name": "Ann"}, SATISFIED),
    ("must contain meta.name", "Dear Bob", "", {"meta.name": "Ann"}, VIOLATED),
    ("must contain meta.name", "Dear Bob", "", {"meta.name": ""}, SATISFIED),
    ("must contain meta.name", "Dear Bob", "", {}, UNSCORED),
    ("must mention meta.name", "dear ANN", "", {"meta.name": "Ann"}, SATISFIED),
    ("must start with prompt", "one two", "one", {}, SATISFIED),
    ("must end with last word of prompt", "so two", "one two", {}, SATISFIED),
    ("must match prompt", "", "", {}, SATISFIED),
    ("must match prompt", "x", "", {}, VIOLATED),
    ('must not contain any of ["x", meta.name]', "Ann", "", {"meta.name": "Ann"}, VIOLATED),
    ('must contain all of ["x", meta.name]', "Ann", "", {"meta.name": "Ann"}, VIOLATED),
    ('must contain all of ["x", meta.name]', "Ann x", "", {"meta.name": "Ann"}, SATISFIED),
    ('must contain all of ["x", meta.name]', "Ann", "", {}, VIOLATED),
    ('must contain at least 2 of ["a", "b", "c"]', "a c", "", {}, SATISFIED),
    ('must contain at least 2 of ["a", "b", "c"]', "a a", "", {}, VIOLATED),
    ('must mention exactly 1 of ["a", "b"]', "A ab", "", {}, SATISFIED),
    ('must contain all of ["a", "b"] in order', "xaxb", "", {}, SATISFIED),
    ('must contain all of ["a", "b"] in order', "ba", "", {}, VIOLATED),
    ('must contain all of ["ab", "b"] in order', "ab", "", {}, VIOLATED),
    ('must mention all of ["One", /t.o/] in order', "one, two", "", {}, SATISFIED),
]


@pytest.mark.parametrize(("sentences", "response", "prompt", "facts", "expected"), FUNCTIONS)
def test_what_comes_with_the_conversation(
    sentences: str, response: str, prompt: str, facts: dict[str, FactValue], expected: Verdict
) -> None:
    term = term_of(sentences)
    trace = Trace((Message("user", prompt),), facts)
    found = evaluate_term(term, trace.answered(response))
    assert found.verdict is expected
    try:
        left = specialise(RewardProgram("p", "1", ("user",), (term,)), trace)
    except CannotSpecialise:
        assert expected is UNSCORED or not facts
        return
    verdicts = {evaluate_term(each, Trace(()).answered(response)).verdict for each in left}
    assert verdicts == ({expected} if left else set())
    assert left or expected is SKIPPED


def test_a_text_that_is_known_before_the_answer_is_looked_for_as_a_phrase() -> None:
    term = term_of("must contain meta.name")
    (left,) = specialise(RewardProgram("p", "1", ("user",), (term,)), Trace((), {"meta.name": "Ann"}))
    assert isinstance(left.holds, Holds)
    assert (left.holds.matchers, left.holds.argument) == ((Phrase("Ann"),), None)


YES, NO, MISSING = Holds("contain", RESPONSE, (Phrase("y"),)), Holds("contain", RESPONSE, (Phrase("n"),)), None
UNTOLD = Holds("contain", RESPONSE, argument=Fact("meta.missing"))


@pytest.mark.parametrize(
    ("alternatives", "expected"),
    [
        ((YES, NO), 0.0),
        ((NO, YES), -1.0),
        ((NO, NO, YES), -2.0),
        ((NO, NO), -2.0),
        ((YES, UNTOLD), 0.0),
        ((UNTOLD, YES), None),
        ((NO, UNTOLD, YES), None),
    ],
)
def test_the_rank_of_alternatives(alternatives: tuple[BooleanExpression, ...], expected: float | None) -> None:
    found = number(Rank(alternatives), Trace(()).answered("y"))
    assert isinstance(found, Unknown) if expected is None else (found, str(found)) == (expected, str(expected))


# ------------------------------------------------------------------------------------------------- programs as data
CONCEPT = Concept("rude", "Insults.", like=("Fool.",), unlike=("Hm.",), scorer="judge", threshold=0.75)
LARGE = EventSelector("call", ("refund",), where=Compare(">", NumberFact("it.amount"), NumberConstant(50.0)))
NODES: list[BooleanExpression] = [
    EachPart("every", "sentences", RESPONSE, Holds("contain", IT, (Phrase("x"),))),
    EachPart("some", "lines", PartOf("paragraphs", -1, RESPONSE), Not(Holds("empty", IT))),
    Holds("contain", RESPONSE, argument=Fact("meta.name")),
    Holds("mention", RESPONSE, (Phrase("a"), Phrase("b", lookalikes=True)), "all", in_order=True),
    Holds("match", TextCall("language", (RESPONSE,)), (Phrase("en"),)),
    Holds("start_with", TextCall("paragraph", (RESPONSE, NumberConstant(2.0))), (Phrase("A"),)),
    BooleanCall("json_matches", (RESPONSE, Fact("request.schema")), Extent(1, 2)),
    Compare("<=", NumberCall("reading_grade", (RESPONSE,)), NumberConstant(8.0)),
    Compare(">=", ConceptScore(CONCEPT, RESPONSE), NumberConstant(0.75)),
    EachEvent("every", LARGE, Neighbour("before", EventSelector("message", role="user")), Extent(3, 4)),
    Compare("<=", EventCount(LARGE), NumberConstant(1.0)),
    Compare(">=", FoundAmong("contain", RESPONSE, (Phrase("a"), Phrase("b"))), NumberConstant(2.0)),
    Compare(">=", Rank((YES, NO)), NumberConstant(-1.0)),
]


def program_of(holds: BooleanExpression) -> RewardProgram:
    return RewardProgram("p", "1", ("user",), (RewardTerm("r", "r", "hard", "user", Extent(0, 1), holds=holds),))


@pytest.mark.parametrize("node", NODES, ids=lambda node: type(node).__name__)
def test_every_node_survives_json(node: BooleanExpression) -> None:
    program = verify(program_of(node))
    again = from_json(to_json(program))
    assert again == program
    assert again.digest == program.digest
    assert truth(node, Trace(()).answered("y")) == truth(again.terms[0].holds or node, Trace(()).answered("y"))


def test_deep_programs_are_read_in_linear_time() -> None:
    deep: BooleanExpression = Holds("contain", IT, (Phrase("x"),))
    for level in range(15):
        deep = EachPart("every", "sentences", RESPONSE if level == 14 else IT, Or((And((deep, YES)), NO)))
    program = program_of(deep)
    assert from_json(to_json(program)) == program


def test_a_node_of_the_wrong_kind_is_refused() -> None:
    data = json.loads(to_json(program_of(NODES[0])))
    data["terms"][0]["holds"]["op"] = "each_word"
    with pytest.raises(Exception, match="not a reward program"):
        from_json(json.dumps(data))


ONE_TOO_MANY = (RESPONSE, RESPONSE)
WRONG: list[tuple[BooleanExpression, str]] = [
    (EachPart("every", "sentenses", RESPONSE, YES), "no countable unit called `sentenses`"),
    (Holds("contain", PartOf("words", 0, RESPONSE), (Phrase("x"),)), "counted from 1"),
    (Holds("contain", PartOf("wrods", 1, RESPONSE), (Phrase("x"),)), "no countable unit"),
    (Holds("contain", RESPONSE, (Phrase("x"),), argument=RESPONSE), "either spelled out or comes with"),
    (Holds("empty", RESPONSE, argument=RESPONSE), "looks for nothing"),
    (Holds("contain", RESPONSE, (Phrase("x"),), in_order=True), "only all of a list"),
    (BooleanCall("json_matchs", (RESPONSE, RESPONSE)), "no function called `json_matchs`"),
    (BooleanCall("language", (RESPONSE,)), "gives no boolean"),
    (Compare("<", NumberCall("reading_grade", ONE_TOO_MANY), NumberConstant(1.0)), "takes 1 arguments, not 2"),
    (Compare("<", NumberCall("reading_grade", (NumberConstant(1.0),)), NumberConstant(1.0)), "is a text"),
    (Compare(">", ConceptScore(Concept("c", "m", threshold=2.0), RESPONSE), NumberConstant(1.0)), "between 0 and 1"),
    (Compare(">", ConceptScore(Concept("", "m"), RESPONSE), NumberConstant(1.0)), "no name"),
    (Compare(">", ConceptScore(Concept("c", "m", like=("x",), unlike=("x ",)), RESPONSE), NumberConstant(1.0)), "both"),
    (Compare(">", Rank((YES,)), NumberConstant(0.0)), "two alternatives"),
    (And((YES, Holds("contain", IT, (Phrase("x"),)))), "`it` stands for nothing"),
    (EachPart("every", "words", RESPONSE, Compare(">", NumberFact("it.n"), NumberConstant(1.0))), "`it.n` stands for"),
    (EachPart("every", "words", RESPONSE, Neighbour("before", LARGE)), "only events stand"),
    (EachEvent("every", EventSelector("message", ("a",)), YES), "belongs to no tool"),
    (EachEvent("every", EventSelector("call", role="user"), YES), "only messages have a role"),
    (EachEvent("every", EventSelector("message", role="tool"), YES), "nobody called `tool`"),
    (EachEvent("every", EventSelector("call", ("",)), YES), "no name"),
    (Compare(">", FoundAmong("contain", RESPONSE, ()), NumberConstant(1.0)), "nothing to look for"),
]


@pytest.mark.parametrize(("node", "words"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_what_no_program_may_hold(node: BooleanExpression, words: str) -> None:
    with pytest.raises(ProgramInvalid, match=words):
        verify(program_of(node))
