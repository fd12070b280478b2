"""Statements about whole conversations: the shortest conversation that obeys all of them, or a proof that none does."""

import itertools
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from bylaw.compiler.evaluate import truth
from bylaw.compiler.monitors import LIMIT, NotDecided, conversation_obeying, shown
from bylaw.compiler.pipeline import compile_file, compile_source
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanExpression,
    Compare,
    Count,
    EachEvent,
    EventAt,
    EventCount,
    EventSelector,
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
from bylaw.spec.logic import negate, reads_events
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace, tool_call

ROOT = Path(__file__).parents[1]
IT = MessageText("it")


# ------------------------------------------------------------------------------------------------------ policy texts
def obeyed(term: RewardTerm) -> BooleanExpression:
    assert term.holds is not None
    return term.holds if term.condition is None else Or((negate(term.condition), term.holds))


def hard(program: RewardProgram) -> list[RewardTerm]:
    return [term for term in program.terms if term.kind == "hard"]


def statements_of(*sentences: str, before: str = "") -> list[BooleanExpression]:
    rules = "\n".join(f"rule r{number} at user {{ {sentence} }}" for number, sentence in enumerate(sentences))
    compiled = compile_source(Source.of("policy.bylaw", f"{before}\n{rules}"))
    assert compiled.draft is not None, compiled.diagnostics
    return [obeyed(term) for term in hard(compiled.draft)]


YES = 'lexicon approvals = ["yes", "go ahead"]'
CONTRADICTIONS: list[tuple[tuple[str, ...], tuple[int, ...]]] = [
    (("call to a must precede call to b", "call to b must precede call to a", "call to a must occur"), (0, 1, 2)),
    (("call to a must follow call to b", "call to b must follow call to a", "call to b must occur"), (0, 1, 2)),
    (("call to a must occur at most 2 times", 'must contain "x"', "call to a must occur at least 3 times"), (0, 2)),
    (
        (
            'call to ["a", "b"] must occur at most 2 times',
            "call to a must occur",
            "call to b must occur at least 2 times",
        ),
        (0, 1, 2),
    ),
    (
        (
            "call to a must follow message from user",
            "call to a must occur",
            "when message from user occurs must be empty",
            'must contain "x"',
        ),
        (0, 1, 2, 3),
    ),
    (
        (
            "call to refund where (it.amount > 100) must follow message from user where (it mentions any of approvals)",
            "call to refund where (it.amount > 150) must occur",
            "when message from user where (it mentions any of approvals) occurs call to refund must not occur",
        ),
        (0, 1, 2),
    ),
    (
        (
            "call to refund where (it.amount > 100) must not occur",
            "call to refund must occur at most 4 times",
            "call to refund where (it.amount <= 100) must not occur",
            "call to refund where (it.amount > 0) must occur",
        ),
        (0, 2, 3),
    ),
    (
        (
            "call to pay where (it.sure) must not occur",
            "call to pay where (not it.sure) must not occur",
            "call to pay where (it.sure or it.amount > 5) must occur",
            "call to pay where (it.amount > 5) must not occur",
        ),
        (0, 2, 3),
    ),
    (
        ('first message of conversation must contain "x"', 'every message of conversation must not contain "x"'),
        (0, 1),
    ),
    (('last message of conversation must contain "x"', 'must not contain "x"'), (0, 1)),
    (
        (
            'message 2 of conversation must contain "x"',
            "message from assistant must occur at most 1 times",
            'every message of conversation must contain "z" or occur at most 1 times',
            'must contain "y"',
            'when message from user occurs must not contain "y"',
            'when message from system occurs must not contain "y"',
            'when message from developer occurs must not contain "y"',
        ),
        (0, 1, 3, 4, 5, 6),
    ),
    (('call to a must not contain "secret"', 'call to a where (it.note contains "secret") must occur'), (0, 1)),
    (("call to a must be empty", "call to a where (it.amount > 5) must occur"), (0, 1)),
    (("call to any tool must not contain /[0-9]/", "call to refund where (it.amount > 100) must occur"), (0, 1)),
    (('call to any tool where (it.tool starts with "pay") must not occur', "call to pay_all must occur"), (0, 1)),
    (
        (
            "call to a must precede output of a",
            "output of a where (it precedes message from assistant) must not occur or occur at least 9 times",
            "when output of a occurs must be empty",
            'must contain "x"',
            "call to a must occur",
        ),
        (0, 2, 3, 4),
    ),
    (("call to a where (it follows call to a) must occur", "call to a must occur at most 1 times"), (0, 1)),
    (("message from assistant must occur at most 0 times",), (0,)),
    (('when meta.vip must contain "x"', 'when not meta.vip must contain "y"', "must be empty"), (0, 1, 2)),
    (
        (
            "when meta.age < 18 call to a must not occur",
            "when meta.age >= 18 call to a must not occur",
            "call to a must occur",
        ),
        (0, 1, 2),
    ),
    (
        (
            'when prompt contains "x" must contain "y"',
            'when call to a occurs must not contain "y"',
            "call to a must occur",
            "call to a must follow message from user",
            'when message from user where (not it contains "x") occurs must be empty',
            "must have at least 1 words",
        ),
        (0, 1, 2, 4, 5),  # without a message from the user, nothing is known of the prompt
    ),
]


def decided(statements: Sequence[BooleanExpression], limit: int = LIMIT) -> Trace | None:
    """What monitors find, checked."""
    found = conversation_obeying(statements, limit)
    if found is not None:
        assert found.response is not None
        assert all(truth(statement, found) is True for statement in statements)
    return found


@pytest.mark.parametrize(("sentences", "kept"), CONTRADICTIONS)
def test_rules_that_no_conversation_obeys_together(sentences: tuple[str, ...], kept: tuple[int, ...]) -> None:
    statements = statements_of(*sentences, before=YES)
    assert decided(statements) is None
    smallest = list(range(len(statements)))
    for place in range(len(statements)):
        rest = [other for other in smallest if other != place]
        if decided([statements[other] for other in rest]) is None:
            smallest = rest
    assert tuple(smallest) == kept


CONVERSATIONS = [
    (("call to a must precede call to b",), "answer: `a`"),
    (("call to b must follow call to a", "call to b must occur"), "call `a()`; call `b()`; answer: `a`"),
    (("call to b must precede call to a", "call to b must occur"), "call `b()`; call `a()`; answer: `a`"),
    (("call to a must occur at least 3 times",), "call `a()` (3 times); answer: `a`"),
    (("call to a must precede output of a", "call to a must occur"), "call `a()`; output of `a`: `a`; answer: `a`"),
    (
        (
            "call to refund where (it.amount > 100) must follow message from user where (it mentions any of approvals)",
            "call to refund where (it.amount > 50) must occur",
        ),
        "call `refund(amount: 51)`; answer: `a`",
    ),
    (
        (
            "call to refund where (it.amount > 100) must follow message from user where (it mentions any of approvals)",
            "call to refund where (it.amount > 150) must occur",
        ),
        "user: `yes`; call `refund(amount: 151)`; answer: `a`",
    ),
    (
        ("call to a where (it.n > 0.1) must occur", "call to a where (it.n >= 0.2) must not occur"),
        "call `a(n: 0.15)`; answer: `a`",
    ),
    (
        (
            'call to a must contain "secret"',
            'call to a where (not it.note contains "secret" and it.amount > 5) must occur',
        ),
        "call `a(amount: 6, note: a, text: secret)`; answer: `a`",
    ),
    (("call to a where (it.n > it.m) must occur",), "call `a(n: 1, m: 0)`; answer: `a`"),
    (("call to a where (it.n < 5 and it.n contains /7/) must occur",), "call `a(n: -7)`; answer: `a`"),
    (
        ("call to a must occur at least 50 times", "call to a where (it.n > 5) must occur exactly 2 times"),
        "call `a(n: 1)` (48 times); call `a(n: 6)` (2 times); answer: `a`",
    ),
    (("call to a where (it.sure) must occur",), "call `a(sure: true)`; answer: `a`"),
    (
        ('call to any tool where (it.tool starts with "pay") must occur', 'call to ["pay", "paya"] must not occur'),
        "call `payb()`; answer: `a`",
    ),
    (('message 3 of conversation must contain "x"',), "user: `a` (2 times); answer: `x`"),
    (
        ('first message of conversation must contain "x"', 'must not contain "x"'),
        "user: `x`; answer: `a`",
    ),
    (('when message from user occurs must be empty', 'must contain "x"'), "answer: `x`"),
    (
        ('when prompt contains "x" must be empty', 'must contain "x"', "call to a must follow message from user",
         "call to a must occur"),
        "user: `a`; call `a()`; answer: `x`",
    ),
    (('when system_prompt does not contain "zz" must contain "x"', "must be empty"),
     "system: `zz`; answer: an empty text"),
    (('when meta.vip must contain "x"', "when meta.age > 17 must be empty", 'must contain "z"'),
     "meta.age is `1`; meta.vip is `true`; answer: `x z`"),
    (("call to a must occur at most meta.limit times", "call to a must occur"),
     "meta.limit is `1`; call `a()`; answer: `a`"),
]  # fmt: skip


@pytest.mark.parametrize(("sentences", "expected"), CONVERSATIONS)
def test_the_shortest_conversation_that_obeys_all_rules(sentences: tuple[str, ...], expected: str) -> None:
    found = decided(statements_of(*sentences, before=YES))
    assert found is not None
    assert shown(found) == expected


OPEN = [
    (
        ("call to a where (response contains it.note) must occur", 'call to a must contain "x"', "must be empty"),
        "compared with another",
    ),
    (("call to a where (it.n mentions prompt) must occur", 'message from assistant must contain "x"'), "compared"),
    (
        (
            'call to a where (it contains "zz") must occur',
            'when conversation contains "zz" must be empty',
            'must contain "x"',
        ),
        "as one text",
    ),
    (
        (
            "call to a must occur at most meta.limit times",
            "call to a must occur at least 4 times",
            "when meta.limit >= 4 must be empty",
            'must contain "x"',
        ),
        "facts",
    ),
]


@pytest.mark.parametrize(("sentences", "why"), OPEN)
def test_what_monitors_do_not_describe_is_not_decided(sentences: tuple[str, ...], why: str) -> None:
    with pytest.raises(NotDecided, match=why):
        conversation_obeying(statements_of(*sentences))


def test_concepts_are_not_decided_but_prove_nothing_either() -> None:
    concept = 'concept rude means "It is rude." { like "Go away." unlike "Please come in." }'
    rude = "call to a must express rude"
    with pytest.raises(NotDecided, match="concepts"):
        conversation_obeying(statements_of(rude, 'call to a must contain "x"', "call to a must occur", before=concept))
    found = decided(statements_of(rude, "call to a must occur", before=concept))
    assert found is not None
    assert shown(found) == "call `a(text: Go away.)`; answer: `a`"
    both = statements_of(rude, "call to a must occur", "call to a must occur at most 0 times", before=concept)
    assert decided(both) is None


def test_a_search_that_grows_too_large_is_not_decided() -> None:
    statements = statements_of(*(f"call to t{n} must occur at least 9 times" for n in range(6)))
    with pytest.raises(NotDecided, match="too large"):
        conversation_obeying(statements, limit=2_000)


def test_which_statements_are_about_events() -> None:
    events, words = statements_of("call to a must not occur", "must have at most 9 words")
    assert reads_events(events)
    assert not reads_events(words)
    (nested,) = statements_of('when call to a occurs must contain "x"')
    assert reads_events(nested)


def test_how_conversations_are_shown() -> None:
    messages = (
        Message("system", "Be `kind`."),
        Message("user", "a\nb"),
        tool_call("refund", {"amount": 1.5, "sure": True, "note": "x" * 70}),
        Message("tool", "", "refund"),
        Message("assistant", "Well."),
        Message("assistant", "Done."),
    )
    assert shown(Trace(messages, {"meta.vip": True})) == (
        "meta.vip is `true`; system: `Be 'kind'.`; user: `a\\nb`; call `refund(amount: 1.5, sure: true, "
        f"note: {'x' * 60}...)`; output of `refund`: an empty text; assistant: `Well.`; answer: `Done.`"
    )


# -------------------------------------------------------------------------------------------- against all conversations
SAID: tuple[BooleanExpression, ...] = (
    Holds("contain", IT, (Phrase("x"),)),
    Not(Holds("contain", IT, (Phrase("y"),))),
    Compare(">=", Count("words", IT), NumberConstant(2.0)),
    Compare(">", NumberFact("it.n"), NumberConstant(3.0)),
    Compare("<=", NumberFact("it.n"), NumberConstant(1.0)),
    Compare("!=", Arithmetic("+", NumberFact("it.n"), NumberConstant(1.0)), NumberConstant(6.0)),
    Holds("contain", Fact("it.n"), (Phrase("5"),)),
    Holds("match", Fact("it.tool"), (Phrase("a"),)),
    Holds("contain", MessageText("response"), (Phrase("x"),)),
    Holds("contain", MessageText("prompt"), (Phrase("x"),)),
)
MESSAGES = (
    Message("user", "x"),
    Message("user", "y"),
    tool_call("a", {"n": 1.0}),
    tool_call("a", {"n": 5.0, "text": "x y"}),
    tool_call("b", {}),
    Message("tool", "x", "a"),
    Message("tool", "y", "b"),
    Message("assistant", "y"),
)
ANSWERS = (Message("assistant", "x"), Message("assistant", "y"))


class Drawn:
    """Random statements, built from what the language has for events."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def said(self) -> BooleanExpression:
        one = self.random.choice(SAID)
        return self.random.choice((one, one, Not(one), And((one, self.random.choice(SAID))), Or((one, Not(one)))))

    def selector(self, depth: int = 0) -> EventSelector:
        kind = self.random.choice(("call", "call", "output", "message"))
        where: BooleanExpression | None = None
        if self.random.random() < 0.5:
            where = self.said() if depth or self.random.random() < 0.7 else self.beside(depth + 1)
        if kind == "message":
            return EventSelector("message", role=self.random.choice((None, "user", "assistant")), where=where)
        return EventSelector(kind, self.random.choice(((), ("a",), ("b",), ("a", "b"))), None, where)  # type: ignore[arg-type]

    def beside(self, depth: int = 0) -> BooleanExpression:
        near = Neighbour(self.random.choice(("before", "after")), self.selector(depth + 1))
        return near if self.random.random() < 0.7 else Not(near)

    def item(self) -> BooleanExpression:
        one, two = self.said(), self.beside()
        return self.random.choice((one, two, two, And((one, two)), Or((one, two))))

    def statement(self) -> BooleanExpression:
        bound = NumberConstant(self.random.choice((0.0, 1.0, 1.0, 2.0)))
        order = self.random.choice(("<", "<=", "==", "!=", ">=", ">"))
        place = EventAt(self.selector(1), self.random.choice((1, 2, -1, -2)))
        whole: list[BooleanExpression] = [
            EachEvent(self.random.choice(("every", "some")), self.selector(), self.item()),
            EachEvent(self.random.choice(("every", "some")), self.selector(), self.item()),
            Compare(order, EventCount(self.selector()), bound),
            Compare(order, EventCount(self.selector()), bound),
            Holds("contain", place, (Phrase(self.random.choice(("x", "y"))),)),
            Holds("contain", MessageText("response"), (Phrase(self.random.choice(("x", "y"))),)),
            Holds("contain", MessageText("prompt"), (Phrase(self.random.choice(("x", "y"))),)),
        ]
        one, two = self.random.sample(whole, 2)
        return self.random.choice((one, one, negate(one), Or((one, two)), Or((negate(one), two)), And((one, two))))


def all_conversations(most: int) -> list[Trace]:
    """Every conversation over MESSAGES with up to `most` messages, the shortest first."""
    return [
        Trace((*before, answer))
        for length in range(most)
        for before in itertools.product(MESSAGES, repeat=length)
        for answer in ANSWERS
    ]


def disagreements(seed: int, statements: int, sets: int, most: int) -> tuple[int, int, int]:
    """How many random sets monitors leave open, prove empty, and find a conversation for; no set may be answered
    otherwise than by looking at all conversations."""
    drawn = Drawn(seed)
    pool = [drawn.statement() for _ in range(statements)]
    traces = all_conversations(most)
    obeying = [
        sum(1 << place for place, trace in enumerate(traces) if truth(statement, trace) is True) for statement in pool
    ]
    count = {"open": 0, "none": 0, "found": 0, "wrong": 0}
    for _ in range(sets):
        chosen = drawn.random.sample(range(len(pool)), drawn.random.choice((1, 2, 2, 3, 3, 4, 5)))
        bits = -1
        for place in chosen:
            bits &= obeying[place]
        known = None if not bits else traces[(bits & -bits).bit_length() - 1]
        try:
            found = decided([pool[place] for place in chosen], limit=2_000)
        except NotDecided as undecided:
            count["wrong" if "evaluated" in undecided.reason else "open"] += 1
            continue
        if found is None:
            assert known is None, ([pool[place] for place in chosen], known)
        elif known is not None:
            assert len(found.messages) <= len(known.messages), ([pool[place] for place in chosen], known, found)
        count["none" if found is None else "found"] += 1
    assert not count["wrong"], "conversations that were found and do not obey"
    return count["open"], count["none"], count["found"]


@pytest.mark.parametrize(("seed", "statements", "sets", "most"), [(11, 80, 250, 4), (12, 20, 60, 5)])
def test_monitors_agree_with_looking_at_all_conversations(seed: int, statements: int, sets: int, most: int) -> None:
    open_ones, none, found = disagreements(seed, statements, sets, most)
    assert open_ones <= 0.1 * sets
    assert none >= 0.1 * sets
    assert found >= 0.3 * sets


# --------------------------------------------------------------------------------------------------------- real rules
LIBRARY = "import std.agents as agents\n" + "\n".join(
    f"apply agents.{name}() as r{number} at user"
    for number, name in enumerate(
        (
            "approval_first",
            "at_most_calls",
            "no_tools",
            "no_outbound_after_untrusted",
            "no_action_on_injected_text",
            "no_secrets_in_arguments",
            "no_card_numbers_in_arguments",
            "no_dangerous_commands",
            "user_first",
        )
    )
)


def real_rules(name: str) -> list[RewardTerm]:
    if name == "library":
        return hard(compile_source(Source.of("policy.bylaw", LIBRARY)).require())
    return hard(compile_file(ROOT / "examples" / "agents" / "rules.bylaw").require())


@pytest.mark.parametrize("name", ["library", "example"])
def test_all_pairs_of_real_rules_are_decided_at_once(name: str) -> None:
    terms = real_rules(name)
    pairs = list(itertools.combinations([obeyed(term) for term in terms], 2))
    assert len(pairs) >= 30
    assert decided([obeyed(term) for term in terms]) is not None
    seconds = []
    for pair in pairs:
        start = time.process_time()
        assert decided(pair) is not None
        seconds.append(time.process_time() - start)
    assert sum(seconds) / len(seconds) < 0.05
    assert sorted(seconds)[len(seconds) // 2] < 0.05


def test_real_rules_where_something_is_called() -> None:
    terms = {term.id: obeyed(term) for term in real_rules("library")}
    (refund,) = statements_of("call to refund must occur")
    assert decided([terms["r2"], refund]) is None
    found = decided([*(each for name, each in terms.items() if name != "r2"), refund])
    assert found is not None
    assert shown(found) == "user: `yes`; call `refund(text: a)`; answer: `a`"


def test_real_rules_with_facts_where_something_is_called() -> None:
    terms = {term.id: obeyed(term) for term in real_rules("example")}
    (dear,) = statements_of("call to book_ticket where (it.price > 200) must occur")
    found = decided([terms["dear_tickets_need_a_yes"], terms["search_first"], dear])
    assert found is not None
    assert len(found.messages) == 3
    assert found.facts["meta.account"] == "business"
    (private,) = statements_of('when meta.account == "business" must be empty', 'must contain "x"')[:1]
    (said,) = statements_of('must contain "x"')
    found = decided([terms["dear_tickets_need_a_yes"], dear, private, said])
    assert found is not None
    assert [message.role for message in found.messages] == ["user", "assistant", "assistant"]
