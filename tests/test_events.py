"""Events of a conversation: tool calls, outputs and messages; before, after, how often; what is settled when."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.evaluate import TermScore, Unknown, Verdict, evaluate, evaluate_term, truth
from bylaw.compiler.factors import reward_of
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.specialise import CannotSpecialise, specialise
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    Compare,
    EachEvent,
    EventCount,
    EventSelector,
    Extent,
    Fact,
    Holds,
    MessageText,
    Neighbour,
    Not,
    NumberConstant,
    NumberFact,
    Or,
    Phrase,
)
from bylaw.spec.logic import negate
from bylaw.spec.source import Source
from bylaw.spec.trace import FactValue, Message, Trace, tool_call

VIOLATED, SATISFIED, SKIPPED, UNSCORED = Verdict.VIOLATED, Verdict.SATISFIED, Verdict.NOT_APPLICABLE, Verdict.UNSCORED
IT = MessageText("it")


def user(text: str) -> Message:
    return Message("user", text)


def says(text: str) -> Message:
    return Message("assistant", text)


def call(tool: str, **arguments: FactValue) -> Message:
    return tool_call(tool, arguments)


def output(tool: str, text: str) -> Message:
    return Message("tool", text, tool)


def term_of(sentences: str, before: str = "") -> RewardTerm:
    source = Source.of("policy.bylaw", f"{before}\nrule r at user {{ {sentences} }}")
    (term,) = compile_source(source).require().terms
    return term


def score(sentences: str, *messages: Message, before: str = "") -> TermScore:
    return evaluate_term(term_of(sentences, before), Trace(messages))


# ------------------------------------------------------------------------------------------------- hand-worked truths
REFUND = (user("I want my money"), call("refund", amount=80.0, to="ann"), output("refund", "done"), says("There."))
TWICE = (user("again"), call("refund", amount=20.0), call("refund", amount=90.0), says("Done."))
TALK = (user("hello"), says("Hi."))

NORMS = [
    ("call to refund must not occur", REFUND, VIOLATED),
    ("call to refund must not occur", TALK, SATISFIED),
    ("call to refund must occur", REFUND, SATISFIED),
    ("call to refund must occur", TALK, VIOLATED),
    ("call to refund must occur at most 1 times per conversation", REFUND, SATISFIED),
    ("call to refund must occur at most 1 times per conversation", TWICE, VIOLATED),
    ("call to refund must not occur at least 2 times", TWICE, VIOLATED),
    ("call to refund must occur exactly 2 times", TWICE, SATISFIED),
    ("call to refund must occur between 1 and 2 times", TALK, VIOLATED),
    ("call to refund where (it.amount > 50) must not occur", REFUND, VIOLATED),
    ("call to refund where (it.amount > 85) must not occur", REFUND, SATISFIED),
    ("call to refund where (it.amount > 85) must not occur", TWICE, VIOLATED),
    ('call to any tool must not contain "ann"', REFUND, VIOLATED),
    ('call to any tool must not contain "bob"', REFUND, SATISFIED),
    ('call to any tool must contain "ann"', TALK, SATISFIED),
    ('call to refund must contain "20"', TWICE, VIOLATED),
    ('call to ["pay", "refund"] must not mention "ann"', REFUND, VIOLATED),
    ('call to pay must not mention "ann"', REFUND, SATISFIED),
    ('call to refund where (it.to == "ann") must not occur', REFUND, VIOLATED),
    ('call to any tool where (it.tool == "refund") must not occur', REFUND, VIOLATED),
    ('call to any tool where (it.tool == "pay") must not occur', REFUND, SATISFIED),
    ('call to refund must follow message from user where (it contains "money")', REFUND, SATISFIED),
    ('call to refund must follow message from user where (it contains "please")', REFUND, VIOLATED),
    ("call to refund must follow output of refund", REFUND, VIOLATED),
    ("call to refund must not follow call to refund", TWICE, VIOLATED),
    ("call to refund must not follow call to refund", REFUND, SATISFIED),
    ("call to refund must precede output of refund", REFUND, SATISFIED),
    ("call to refund must precede output of refund", TWICE, VIOLATED),
    ("message from user must precede call to refund", TALK, VIOLATED),
    ("message from user must precede call to refund", REFUND, SATISFIED),
    ("output of refund must precede message from assistant", REFUND, SATISFIED),
    ('message from assistant must not contain "There"', REFUND, VIOLATED),
    ('message from assistant must end with "."', REFUND, SATISFIED),
    ('every message of conversation must not contain "money" or occur at least 9 times', REFUND, VIOLATED),
    ('every call of conversation must not contain "ann"', REFUND, VIOLATED),
    ('some call of conversation must contain "20"', TWICE, SATISFIED),
    ("every line of call to refund must have at most 1 words", REFUND, SATISFIED),
    ("first line of call to refund must be uppercase", REFUND, VIOLATED),
    ("number of lines in call to refund must be at most 1", REFUND, VIOLATED),
    ('call to refund must not contain "bob" or occur at least 2 times', TWICE, VIOLATED),
    ('call to refund must contain "0" and occur at most 2 times', TWICE, SATISFIED),
    ("call to refund where (it follows call to refund) must not occur", TWICE, VIOLATED),
    ("call to refund where (it follows call to refund) must not occur", REFUND, SATISFIED),
    ("call to refund must not contain it.to", REFUND, VIOLATED),
]


@pytest.mark.parametrize(("sentences", "messages", "expected"), NORMS)
def test_what_is_said_of_events(sentences: str, messages: tuple[Message, ...], expected: Verdict) -> None:
    assert score(sentences, *messages).verdict is expected


CONDITIONS = [
    ('call to refund contains "20"', TWICE, True),
    ('call to refund contains "30"', TWICE, False),
    ('call to refund does not contain "20"', TWICE, True),
    ('call to refund does not contain "0"', TWICE, False),
    ('not call to refund contains "20"', TWICE, False),
    ("call to refund occurs", TALK, False),
    ("call to refund does not occur", TALK, True),
    ("call to refund occurs at least 2 times", TWICE, True),
    ("call to refund follows call to refund", TWICE, True),
    ("call to refund does not follow call to refund", TWICE, True),
    ("call to refund precedes output of refund", REFUND, True),
    ("output of refund precedes call to refund", REFUND, False),
    ('message from user contains "hello"', TALK, True),
    ('output of any tool contains "done"', REFUND, True),
    ("number of lines in call to refund > 1", REFUND, True),
    ('call to refund where (it.to is in ["ann", "bob"]) occurs', REFUND, True),
    ('call to refund where (it.amount + 5 > 94 and it contains "9") occurs', TWICE, True),
]


@pytest.mark.parametrize(("condition", "messages", "holds"), CONDITIONS)
def test_conditions_mean_some_event(condition: str, messages: tuple[Message, ...], holds: bool) -> None:
    assert score(f"when {condition} must be empty", *messages).verdict is (VIOLATED if holds else SKIPPED)


def test_an_approval_counts_only_before_the_call() -> None:
    rule = 'call to pay where (it.amount > 50) must follow message from user where (it contains "yes")'
    asked, yes, pay = says("Shall I?"), user("yes"), call("pay", amount=60.0)
    assert score(rule, asked, yes, pay).verdict is SATISFIED
    assert score(rule, asked, pay, yes).verdict is VIOLATED
    assert score(rule, yes, call("pay", amount=60.0), call("pay", amount=70.0)).verdict is SATISFIED
    assert score(rule, asked, call("pay", amount=50.0)).verdict is SATISFIED


# ----------------------------------------------------------------------------------------------- what cannot be told
UNTOLD = [
    ("call to refund where (it.amount > 50) must not occur", (call("refund"),), UNSCORED),
    ("call to refund where (it.amount > 50) must not occur", (call("refund"), call("refund", amount=60.0)), VIOLATED),
    ("call to refund where (it.amount > 50) must occur", (call("refund"), call("refund", amount=60.0)), SATISFIED),
    ("call to refund where (it.amount > 50) must occur at most 2 times", (call("refund"),), SATISFIED),
    ("call to refund where (it.amount > 50) must occur exactly 1 times", (call("refund"),), UNSCORED),
    ("call to refund where (it.amount > 50) must occur exactly 2 times", (call("refund"),), VIOLATED),
    ('call to refund where (it.amount > 50) must contain "x"', (call("refund", note="x"),), SATISFIED),
    ('call to refund where (it.amount > 50) must contain "x"', (call("refund", note="y"),), UNSCORED),
    ("call to pay must follow call to refund where (it.sure)", (call("refund"), call("pay")), UNSCORED),
    ("call to pay must follow call to refund where (it.sure)", (call("pay"),), VIOLATED),
    ("call to pay must not follow output of search", (output("", "?"), call("pay")), UNSCORED),
    ("call to pay must not follow output of any tool", (output("", "?"), call("pay")), VIOLATED),
    ("call to refund where (it.amount > 50) must not occur", (call("refund", amount="many"),), UNSCORED),
    ("call to refund where (it.amount > 50) must not occur", (call("refund", amount="60"),), VIOLATED),
]


@pytest.mark.parametrize(("sentences", "messages", "expected"), UNTOLD)
def test_a_missing_argument_is_unknown_unless_the_rest_settles_it(
    sentences: str, messages: tuple[Message, ...], expected: Verdict
) -> None:
    found = score(sentences, user("go"), *messages, says("Done."))
    assert found.verdict is expected
    assert expected is not UNSCORED or found.reason


def test_a_conversation_that_ends_with_a_call_is_decided_where_no_response_is_needed() -> None:
    messages = (user("go"), call("refund", amount=80.0))
    assert score("call to refund must not occur", *messages).verdict is VIOLATED
    assert score("call to refund must occur", *messages).verdict is SATISFIED
    assert score('when prompt contains "stop" must contain "x"', *messages).verdict is SKIPPED
    assert score('must contain "x"', *messages).verdict is UNSCORED
    assert score('must contain "x"', *messages).evidence == ()


def test_the_reason_names_the_event() -> None:
    found = score("call to refund must not occur", *TWICE)
    assert found.reason == "message 2: call to refund (and 1 more)"
    assert found.evidence == ()
    assert score("call to refund where (it.amount > 85) must not occur", *TWICE).reason == "message 3: call to refund"
    assert score("call to refund must occur", *TALK).reason is None
    found = score('message from assistant must not contain "Done"', *TWICE)
    assert found.reason == "message 4: message from assistant"
    assert [(e.start, e.end) for e in found.evidence] == [(0, 4)]


# ---------------------------------------------------------------------------------- an evaluator by the definitions
TOOLS = ("a", "b")
TEXTS = ("x", "y", "x y", "")


@st.composite
def events(draw: st.DrawFn) -> tuple[Message, ...]:
    def one(kind: str) -> Message:
        text = draw(st.sampled_from(TEXTS))
        if kind == "call":
            values: dict[str, FactValue] = {"text": text}
            if draw(st.booleans()):
                values["n"] = draw(st.sampled_from((1.0, 5.0)))
            return tool_call(draw(st.sampled_from(TOOLS)), values)
        if kind == "output":
            return Message("tool", text, draw(st.sampled_from((*TOOLS, ""))))
        return Message(kind, text)

    kinds = draw(st.lists(st.sampled_from(("user", "assistant", "call", "output")), max_size=7))
    return tuple(one(kind) for kind in kinds)


def said() -> st.SearchStrategy[BooleanExpression]:
    """Something that may be said of one event."""
    return st.sampled_from(
        (
            Holds("contain", IT, (Phrase("x"),)),
            Compare(">", NumberFact("it.n"), NumberConstant(3.0)),
            Holds("match", Fact("it.tool"), (Phrase("a"),)),
            Holds("match", IT, argument=MessageText("prompt")),
            Holds("contain", MessageText("response"), argument=IT),
        )
    )


def selector() -> st.SearchStrategy[EventSelector]:
    where = st.none() | said() | said().map(Not) | st.tuples(said(), said()).map(Or)
    tools = st.sampled_from(((), ("a",), ("a", "b")))
    return st.one_of(
        st.builds(EventSelector, st.sampled_from(("call", "output")), tools, st.none(), where),
        st.builds(EventSelector, st.just("message"), st.just(()), st.sampled_from((None, "user", "assistant")), where),
    )


def beside() -> st.SearchStrategy[BooleanExpression]:
    return st.builds(Neighbour, st.sampled_from(("before", "after")), selector())


def statement() -> st.SearchStrategy[BooleanExpression]:
    item = st.one_of(said(), beside(), beside().map(Not), st.tuples(said(), beside()).map(And))
    each = st.builds(EachEvent, st.sampled_from(("every", "some")), selector(), item)
    bound = st.sampled_from((0.0, 1.0, 2.0)).map(NumberConstant)
    order = st.sampled_from(("<", "<=", "==", "!=", ">=", ">"))
    counted = st.builds(Compare, order, selector().map(EventCount), bound)
    return st.one_of(each, counted, each.map(negate), st.tuples(each, counted).map(And))


def brute(expression: BooleanExpression, messages: tuple[Message, ...], at: int | None = None) -> bool | None:
    """Every definition written out: None where a value is missing. Knows nothing of the evaluator."""
    again: Callable[[Any], bool | None] = lambda inner: brute(inner, messages, at)  # noqa: E731
    last = messages[-1] if messages else None
    response = last.content if last is not None and last.role == "assistant" and not last.tool else None
    match expression:
        case And(items):
            return _all([again(item) for item in items])
        case Or(items):
            return _not(_all([_not(again(item)) for item in items]))
        case Not(item):
            return _not(again(item))
        case Holds(_, MessageText("it"), (Phrase(text),)):
            return text in _message(messages, at).content
        case Holds(_, MessageText("it")):
            prompts = [m.content for m in messages if m.role == "user"]
            return _message(messages, at).content == prompts[-1] if prompts else None
        case Holds(_, MessageText("response")):
            return None if response is None else _message(messages, at).content in response
        case Holds(_, Fact(), (Phrase(text),)):
            return _message(messages, at).tool == text if _message(messages, at).tool else None
        case Compare(order, EventCount(chosen), NumberConstant(bound)):
            met = [_meant(chosen, messages, j) for j in range(len(messages))]
            sure, most = sum(m is True for m in met), sum(m is not False for m in met)
            answers = {_ordered(order, n, bound) for n in range(sure, most + 1)}
            return answers.pop() if len(answers) == 1 else None
        case Compare(order, NumberFact(), NumberConstant(bound)):
            given = dict(_message(messages, at).arguments)
            return _ordered(order, given["n"], bound) if "n" in given else None  # type: ignore[arg-type]
        case Neighbour(side, chosen):
            assert at is not None
            others = range(at) if side == "before" else range(at + 1, len(messages))
            return _not(_all([_not(_meant(chosen, messages, j)) for j in others]))
        case EachEvent(quantity, chosen, item):
            each = [(_meant(chosen, messages, j), brute(item, messages, j)) for j in range(len(messages))]
            if quantity == "every":
                return _all([_not(_all([meant, _not(holds)])) for meant, holds in each])
            return _not(_all([_not(_all([meant, holds])) for meant, holds in each]))
    raise AssertionError(expression)


def _message(messages: tuple[Message, ...], at: int | None) -> Message:
    assert at is not None
    return messages[at]


def _meant(chosen: EventSelector, messages: tuple[Message, ...], at: int) -> bool | None:
    message = messages[at]
    kind = "output" if message.role == "tool" else "call" if message.tool else "message"
    if kind != chosen.kind or (chosen.role and chosen.role != message.role):
        return False
    named = None if chosen.tools and not message.tool else not chosen.tools or message.tool in chosen.tools
    return _all([named, True if chosen.where is None else brute(chosen.where, messages, at)])


def _all(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _ordered(order: str, left: float, right: float) -> bool:
    table = {"<": left < right, "<=": left <= right, "==": left == right, "!=": left != right, ">=": left >= right}
    return table.get(order, left > right)


@given(statement(), events())
@settings(max_examples=250, deadline=None)
def test_the_evaluator_says_what_the_definitions_say(wanted: BooleanExpression, messages: tuple[Message, ...]) -> None:
    found = truth(wanted, Trace(messages))
    assert (None if isinstance(found, Unknown) else found) is brute(wanted, messages)


@given(statement(), events(), st.sampled_from(("", "x", "x y", "z")))
@settings(max_examples=250, deadline=None)
def test_what_is_left_before_the_answer_says_the_same(
    wanted: BooleanExpression, messages: tuple[Message, ...], answer: str
) -> None:
    """Whatever was called before: what is left needs the answer only, and says of it what the whole says."""
    whole = brute(wanted, (*messages, says(answer)))
    term = RewardTerm("r", "r", "hard", "user", Extent(0, 1), holds=wanted)
    program = RewardProgram("p", "1", ("user",), (term,))
    try:
        left = specialise(program, Trace(messages))
    except CannotSpecialise:
        return  # refusing is always safe; that it is rare is tested below
    kept = reward_of(left, answer) == 0.0
    if whole is False and kept:
        # Broken before the answer, whatever the answer is: only what is still asked of the answer is enforced.
        others = [brute(wanted, (*messages, says(other))) for other in ("", "x", "x y", "z", "sorry")]
        assert True not in others
    elif whole is not None:
        assert kept is whole


@pytest.mark.parametrize(
    "sentence", ['every message of conversation must not contain "x"', 'message from assistant must not contain "x"']
)
def test_what_others_said_before_does_not_free_the_answer(sentence: str) -> None:
    program = compile_source(Source.of("p.bylaw", f"rule r at user {{ {sentence} }}")).require()
    left = specialise(program, Trace((user("x"), says("x"), user("y"))))
    assert reward_of(left, "x") == float("-inf")
    assert reward_of(left, "y") == 0.0


def test_specialising_refuses_only_what_is_not_known() -> None:
    messages = (user("x"), call("a", n=5.0, text="x"), output("a", "y"))
    for sentences in (
        "call to a must occur at most 1 times",
        'call to a must not follow message from user where (it contains "z")',
        'message from assistant must not contain "x" or follow call to b',
        'message from assistant must follow output of a where (it contains "y")',
        "message from assistant must occur at most 1 times",
        "call to a must precede message from assistant",
        "call to a must not contain response",
        'call to a where (response contains "x") must not occur',
    ):
        program = compile_source(Source.of("p.bylaw", f"rule r at user {{ {sentences} }}")).require()
        try:
            (left,) = specialise(program, Trace(messages))
        except CannotSpecialise as error:
            assert "depends on the answer" in error.reason  # noqa: PT017
            assert "response contains" in sentences
            continue
        for answer in ("", "x", "5", "y z"):
            whole = evaluate_term(program.terms[0], Trace(messages).answered(answer))
            assert evaluate_term(left, Trace(()).answered(answer)).verdict is whole.verdict, (sentences, answer)


# --------------------------------------------------------------------------------------------------------------- cost
LONG = """
rule approved at user { call to pay where (it.amount > 50) must follow message from user where (it contains "yes") }
rule seldom at user { call to pay must occur at most 1 times per conversation }
rule quiet at user { message from assistant must not mention prompt }
rule late at user { call to pay where (it follows output of pay) must precede message from user }
rule nested at user {
  when call to pay where (call to pay contains "zz" or conversation contains "zz") occurs
  must be empty
}
"""


def test_time_grows_with_the_conversation_and_no_faster() -> None:
    program = compile_source(Source.of("policy.bylaw", LONG)).require()
    one = (user("yes"), call("pay", amount=60.0), output("pay", "done"), says("So be it."))

    def seconds(rounds: int) -> float:
        trace = Trace(one * rounds)
        start = time.process_time()
        evaluate(program, trace)
        return time.process_time() - start

    assert min(seconds(2500) for _ in range(2)) < 25 * min(seconds(250) for _ in range(3)) + 0.05
    assert seconds(2500) < 4


# -------------------------------------------------------------------------------------------------------- tool names
NAMED = [
    ('lexicon paying = ["refund", "pay"]', "call to paying must not occur", ("refund", "pay")),
    ('param tool : text = "refund"', "call to tool must not occur", ("refund",)),
    ('define tools as ["refund", "pay"]', "call to tools must not occur", ("refund", "pay")),
    ("", "call to shell.exec must not occur", ("shell.exec",)),
    ("", "call to any tool must not occur", ()),
    ("import std.agents as agents", "call to agents.tools must not occur", None),
]


@pytest.mark.parametrize(("before", "sentences", "tools"), NAMED)
def test_names_of_tools(before: str, sentences: str, tools: tuple[str, ...] | None) -> None:
    source = Source.of("policy.bylaw", f"{before}\nrule r at user {{ {sentences} }}")
    if tools is None:
        assert [d.code for d in compile_source(source).diagnostics] == ["P101"]
        return
    holds = term_of(sentences, before).holds
    assert isinstance(holds, Compare)
    assert isinstance(holds.left, EventCount)
    assert holds.left.selector.tools == tools


# --------------------------------------------------------------------------------------------- one event by its number
TALK = (user("one"), call("a", text="x"), output("a", "y"), says("two"), user("three"))


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        ("first message", "one"),
        ("last message", "four"),
        ("message 2", "two"),
        ("message 4", "four"),
        ("message 5", ""),
        ("first call", "x"),
        ("last output", "y"),
        ("call 2", ""),
    ],
)
def test_one_event_of_a_conversation(which: str, expected: str) -> None:
    text = f'rule r at user {{ limit {which} of conversation == "{expected}" and response contains "o" to at most 5% }}'
    program = compile_source(Source.of("p.bylaw", text)).require()
    trace = Trace(TALK)
    assert evaluate_term(program.term("r"), trace.answered("four")).value == 1.0
    assert evaluate_term(program.term("r"), Trace((*TALK, user("more"))).answered("four")).value is not None
    (left,) = specialise(program, trace)
    assert left.holds is not None
    assert truth(left.holds, Trace(()).answered("four")) is True


def test_what_no_message_says_is_the_empty_text() -> None:
    program = compile_source(
        Source.of("p.bylaw", 'rule r at user { when message 9 of conversation is empty must contain "x" }')
    ).require()
    (left,) = specialise(program, Trace(TALK))
    assert left.condition is not None
    assert truth(left.condition, Trace(()).answered("four")) is True
