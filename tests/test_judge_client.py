"""The way to a judge: whatever a server does, each question ends in the right state, and only answers are kept."""

from __future__ import annotations

import json
import random
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_server import BEHAVIOURS, KEY, MODEL, JudgeServer, careful, fair, gullible

from bylaw.runtime.judges.budget import Budget, Meter, estimate_tokens
from bylaw.runtime.judges.client import EndpointAsker
from bylaw.runtime.judges.interface import JudgeError, JudgeMessage, JudgeParameters, JudgeReply, JudgeRequest
from bylaw.runtime.judges.store import Answer, AnswerStore, StoreError, default_place
from bylaw.runtime.judges.throttle import Throttle
from bylaw.runtime.judges.wire import Attempt, Endpoint, Wire, _of_status, _read
from bylaw.runtime.models.servers import clean
from bylaw.runtime.scorers.interface import Cost

MENU = ("satisfied", "violated", "not_applicable", "cannot_judge")


def objection(text: str) -> str | None:
    """Reads a verdict as a reader of answers does: the last object with a verdict of the menu."""
    try:
        verdict = json.loads(text[text.index("{") : text.rindex("}") + 1])["verdict"]
    except ValueError:
        return "no verdict"
    return None if verdict in MENU else "a verdict that there is not"


def request(text: str = "The lamp is on its way.", epoch: int = 0, **parameters: Any) -> JudgeRequest:
    messages = (JudgeMessage("system", "Is the customer blamed?"), JudgeMessage("user", text))
    shape = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": {"type": "object"}}}
    return JudgeRequest(messages, JudgeParameters(MODEL, **parameters), shape, epoch, "test 1", check=objection)


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv("BIRCHWOOD_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with JudgeServer() as found:
        yield found


@pytest.fixture
def store(tmp_path: Path) -> Iterator[AnswerStore]:
    found = AnswerStore(tmp_path / "answers.sqlite")
    yield found
    found.close()


def asker(
    server: JudgeServer,
    store: AnswerStore | None = None,
    time: Time | None = None,
    meter: Meter | None = None,
    **how: Any,
) -> EndpointAsker:
    wait = Time().sleep if time is None else time.sleep
    how = {"timeout": 20.0, "max_retries": 2, "key_variable": "BIRCHWOOD_KEY", **how}
    return EndpointAsker(Endpoint(server.url, **how), store, meter, wait)


def ask(way: EndpointAsker, *requests: JudgeRequest) -> list[JudgeReply]:
    """All replies, by index: exactly one for each request."""
    found = sorted(way.ask(requests), key=lambda reply: reply.index)
    assert [reply.index for reply in found] == list(range(len(requests)))
    return found


# --------------------------------------------------------------------------------------------------- one behaviour each
# What becomes of a question whose server always does this: the class of reasons (None: an answer), its words, how often
# it is sent with two retries, and whether the answer is kept.
ENDS: dict[str, tuple[str | None, str, int, bool]] = {
    "verdict": (None, "", 1, True),
    "slow": (None, "", 1, True),
    "wrong content type": (None, "", 1, True),
    "duplicate": (None, "", 1, True),
    "words around": (None, "", 1, True),
    "no usage": (None, "", 1, True),
    "strange usage": (None, "", 1, True),
    "no verdict": (None, "", 1, False),
    "off the menu": (None, "", 1, False),
    "half a character": (None, "", 1, False),
    "429 with seconds": ("transport", "status 429: told to say 429 (tried 3 times)", 3, False),
    "429 with a date": ("transport", "status 429: slow down", 3, False),
    "429 without a time": ("transport", "status 429", 3, False),
    "429 with milliseconds": ("transport", "status 429", 3, False),
    "429 for a day": ("transport", "status 429", 3, False),
    "429 nothing left": ("transport", "the account has nothing left", 1, False),
    "408": ("transport", "status 408", 3, False),
    "409": ("transport", "status 409", 3, False),
    "500": ("transport", "status 500", 3, False),
    "503": ("transport", "status 503", 3, False),
    "400": ("input", "status 400: told to say 400", 1, False),
    "400 filtered": ("filtered", "told to say 400", 1, False),
    "401": ("transport", "the key is not accepted", 1, False),
    "403": ("transport", "status 403", 1, False),
    "404": ("transport", "no such model or address", 1, False),
    "redirect": ("transport", "a redirect to http://127.0.0.1:1/v1", 1, False),
    "hang": ("timeout", "no answer within 0.2 seconds (tried 3 times)", 3, False),
    "drip": ("timeout", "no answer within 0.2 seconds", 3, False),
    "reset": ("transport", "no connection, or it broke off", 3, False),
    "cut body": ("transport", "no connection, or it broke off", 3, False),
    "cut stream": ("transport", "no connection, or it broke off", 3, False),
    "huge": ("parse", "more than 100000 bytes", 1, False),
    "packed": ("parse", "packed (gzip)", 1, False),
    "bad JSON": ("parse", "not JSON", 3, False),
    "web page": ("parse", "not JSON: <html><b>Please [31mlog in", 3, False),
    "wrong schema": ("parse", "not a chat completion at `choices`", 1, False),
    "no choices": ("parse", "not a chat completion at `choices`", 1, False),
    "error in a success": ("transport", "an error in place of an answer: too busy here", 3, False),
    "refusal": ("refusal", "the judge refused: I cannot assist", 1, False),
    "content filter": ("filtered", "filter withheld", 1, False),
    "empty": ("parse", "an empty answer", 1, False),
    "no content": ("parse", "an empty answer", 1, False),
    "cut at its limit": ("parse", "cut at its limit", 1, False),
}


LATE = ("hang", "drip")  # what meets a short limit of time; everything else has a long one, however busy the machine is


def test_every_behaviour_has_its_end() -> None:
    assert set(ENDS) == set(BEHAVIOURS)
    assert len(ENDS) >= 20


@pytest.mark.parametrize("behaviour", sorted(ENDS))
def test_a_question_ends_in_the_right_state(server: JudgeServer, store: AnswerStore, behaviour: str) -> None:
    why, words, sent, is_kept = ENDS[behaviour]
    server.script = lambda body, number: behaviour
    is_late = behaviour in LATE
    way = asker(server, store, timeout=0.2 if is_late else 20.0, most_bytes=100_000)
    (reply,) = ask(way, request())
    assert (reply.why, reply.text is None) == (why, why is not None)
    assert words in reply.reason
    assert (reply.attempts, reply.cost.requests, len(server.requests)) == (sent, sent, sent)
    assert len(store) == is_kept
    assert KEY not in reply.reason
    assert len(reply.reason) < 300
    assert reply.reason.isprintable()
    # And when the server has come to its senses, the question is asked again, unless there was an answer.
    server.script = lambda body, number: "verdict"
    (later,) = ask(asker(server, store) if is_late else way, request())
    assert later.text is not None
    assert later.is_cached == is_kept
    assert len(server.requests) == sent + (not is_kept)
    assert objection(later.text) is None
    assert len(store) == 1


FLEETING = sorted(name for name, (why, _, sent, _) in ENDS.items() if why is not None and sent > 1)


@pytest.mark.parametrize("behaviour", FLEETING)
def test_what_passes_is_tried_again(server: JudgeServer, store: AnswerStore, behaviour: str) -> None:
    server.script = lambda body, number: behaviour if number == 0 else "verdict"
    (reply,) = ask(asker(server, store, timeout=0.7 if behaviour in LATE else 20.0), request())
    assert reply.text == fair({})
    assert (reply.attempts, reply.cost.requests, len(server.requests), len(store)) == (2, 2, 2, 1)


def test_no_retry_means_none(server: JudgeServer) -> None:
    for behaviour in FLEETING:
        server.requests.clear()
        server.script = lambda body, number, behaviour=behaviour: behaviour  # type: ignore[misc]
        (reply,) = ask(asker(server, max_retries=0, timeout=0.1 if behaviour in LATE else 20.0), request())
        assert (reply.why, len(server.requests), "tried" in reply.reason) == (ENDS[behaviour][0], 1, False)


def test_many_questions_among_troubles_are_all_answered_once(server: JudgeServer, store: AnswerStore) -> None:
    """Half of the first attempts fail in one way or another; nothing is lost, mixed up or kept that should not be."""
    names = [name for name in FLEETING if name not in LATE]
    chance = random.Random(7)
    fate = {
        number: chance.choice([*names, "refusal", "content filter", "400", *["verdict"] * 20]) for number in range(150)
    }

    def script(body: dict[str, Any], number: int) -> str:
        named = fate[int(body["messages"][-1]["content"].split()[-1])]
        return named if number == 0 or ENDS[named][2] == 1 else "verdict"

    server.script = script
    server.judge = lambda body: json.dumps({"reason": body["messages"][-1]["content"], "verdict": "violated"})
    requests = [request(f"Text number {number}") for number in range(150)]
    replies = ask(asker(server, store, max_retries=3), *requests)
    for reply in replies:
        why, _, sent, _ = ENDS[fate[reply.index]]
        is_lasting = why is not None and sent == 1
        assert reply.why == (why if is_lasting else None)
        if reply.text is not None:
            assert json.loads(reply.text)["reason"] == f"Text number {reply.index}"
    answered = sum(reply.text is not None for reply in replies)
    assert len(store) == answered == sum(ENDS[named][0] is None or ENDS[named][2] > 1 for named in fate.values())
    before = len(server.requests)
    again = ask(asker(server, store), *requests)
    assert [reply.is_cached for reply in again] == [reply.text is not None for reply in replies]
    assert len(server.requests) == before + 150 - answered


# ------------------------------------------------------------------------------------------------------ what is sent
def test_what_is_sent_and_said(server: JudgeServer, store: AnswerStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ORG_ID", "PROJECT_ID", "API_KEY", "ADMIN_KEY"):
        monkeypatch.setenv(f"OPENAI_{name}", f"other-secret-{name}")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/elsewhere")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-team: other-secret-team")
    way = asker(server, store)
    (reply,) = ask(way, request(temperature=0.5, seed=3, top_p=0.9, max_tokens=77))
    assert server.paths == ["/v1/chat/completions"]
    (body,) = server.requests
    assert body == {
        "model": MODEL,
        "messages": [{"role": m.role, "content": m.content} for m in request().messages],
        "temperature": 0.5,
        "seed": 3,
        "top_p": 0.9,
        "max_tokens": 77,
        "response_format": request().response_format,
    }
    (headers,) = server.headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert set(headers) <= {
        "host", "accept", "accept-encoding", "authorization", "connection", "content-length", "content-type",
        "user-agent",
    }  # fmt: skip
    assert "other-secret" not in json.dumps(headers)
    assert reply.cost == Cost(reply.cost.seconds, 1, 0, 100, 20)
    assert (reply.finish_reason, reply.model, way.place) == ("stop", MODEL, server.url)
    assert KEY.encode() not in b"".join(path.read_bytes() for path in store.path.parent.iterdir())
    assert KEY not in repr(way) + repr(vars(way))
    # a server that names the key in what it says of itself is not quoted with it
    wire = Wire(Endpoint(server.url, key_variable="BIRCHWOOD_KEY"))
    with monkeypatch.context() as patch:
        patch.setattr(Wire, "read", lambda self, data: Attempt("Yes.", finish_reason=f"stop {KEY}", model=f"m {KEY}"))
        echo = wire.send(request("Echo."), 20.0)
    assert (echo.text, echo.finish_reason, echo.model) == ("Yes.", "stop ***", "m ***")
    (bare,) = ask(asker(server, key_variable=None, limit_field="max_completion_tokens"), request("Another."))
    assert bare.text is not None
    assert "authorization" not in server.headers[-1]
    assert "max_completion_tokens" in server.requests[-1]
    assert "max_tokens" not in server.requests[-1]


def test_pauses_are_those_that_the_server_asks_for(server: JudgeServer) -> None:
    wanted = {
        "429 with seconds": (7, 7.5), "429 with a date": (25, 30.5), "429 for a day": (60, 60),
        "429 with milliseconds": (1.5, 2), "429 without a time": (0.5, 0.75),
    }  # fmt: skip
    for behaviour, (least, most) in wanted.items():
        time = Time()
        server.script = lambda body, number, name=behaviour: name if number == 0 else "verdict"  # type: ignore[misc]
        (reply,) = ask(asker(server, time=time), request(behaviour))
        assert reply.text is not None
        assert least <= time.slept[0] <= most, behaviour
    growing = Time()
    server.script = lambda body, number: "500"
    ask(asker(server, time=growing, max_retries=9), request())
    assert len(growing.slept) == 9
    assert all(0.5 * 2**n <= pause <= 0.75 * 2**n for n, pause in enumerate(growing.slept[:6]))
    assert max(growing.slept) == 60


KNOWN = st.sampled_from(
    ["choices", "message", "content", "refusal", "finish_reason", "error", "code", "type", "innererror", "usage",
     "model", "prompt_tokens", "completion_tokens", "length", "content_filter", "insufficient_quota", "503", "stop"]
)  # fmt: skip
LEAF = st.none() | st.booleans() | st.integers() | st.just(10**30) | st.floats() | KNOWN | st.text(max_size=5)
ANYTHING = st.recursive(LEAF, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KNOWN, inner, max_size=4))
NEARLY = st.fixed_dictionaries(
    {"choices": st.lists(st.fixed_dictionaries({"message": ANYTHING, "finish_reason": LEAF}), max_size=2)},
    optional={"usage": ANYTHING, "error": ANYTHING, "model": LEAF},
)


@settings(max_examples=150, derandomize=True)
@given(
    body=ANYTHING | NEARLY | st.fixed_dictionaries({"error": ANYTHING}),
    status=st.sampled_from([200, 302, 400, 404, 429, 500]),
)
def test_whatever_an_answer_holds_it_is_a_text_or_a_reason(body: object, status: int) -> None:
    """No body of an answer is an exception; it can be told, counted and stored."""
    data = json.dumps(body).encode()
    found = _read(data) if status == 200 else _of_status(status, {"retry-after": data.decode()[:20]}, data.decode())
    assert (found.text is None) == (found.why is not None)
    assert found.text is None or found.text.strip()
    JudgeReply(0, found.text, found.why, clean(found.reason))
    for tokens in (found.tokens_in, found.tokens_out):
        assert tokens is None or 0 <= tokens < 2**62
    assert found.pause is None or 0 <= found.pause <= 60
    f"{found.model}{found.finish_reason}".encode()


# --------------------------------------------------------------------------------------------------- cannot be used
def test_a_judge_that_cannot_be_used_is_not_asked_on_and_on(server: JudgeServer) -> None:
    """A key that is refused ends the run at once, a dead server after 25 attempts; each question says why."""
    for behaviour, most in (("401", 4), ("404", 4), ("redirect", 4), ("500", 25 + 4), ("400", 10 + 4)):
        server.requests.clear()
        server.script = lambda body, number, behaviour=behaviour: behaviour  # type: ignore[misc]
        replies = ask(asker(server, max_retries=0, at_once=4), *(request(f"{number}") for number in range(60)))
        assert len(server.requests) <= most, behaviour
        sent = [reply for reply in replies if reply.cost.requests]
        told = [reply for reply in replies if not reply.cost.requests]
        assert {reply.why for reply in sent} == {ENDS[behaviour][0]}
        assert {reply.why for reply in told} == {"transport"}
        assert all("not asked, since the judge cannot be used" in reply.reason for reply in told)
        assert all(sent[0].reason[:10] in reply.reason for reply in told)
    nobody = EndpointAsker(Endpoint("http://127.0.0.1:1/v1", at_once=4), wait=Time().sleep)
    replies = ask(nobody, *(request(f"{number}") for number in range(20)))
    assert {reply.why for reply in replies} == {"transport"}
    assert 25 <= sum(reply.cost.requests for reply in replies) < 25 + 4 * 5
    assert "onnection refused" in replies[0].reason


def test_a_few_questions_that_are_not_taken_stop_nothing(server: JudgeServer) -> None:
    server.script = lambda body, number: "verdict" if body["messages"][-1]["content"] == "0" else "400"
    replies = ask(asker(server, at_once=1), *(request(f"{number}") for number in range(30)))
    assert len(server.requests) == 30
    assert Counter(reply.why for reply in replies) == {None: 1, "input": 29}


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("birchwood", "no address of an endpoint"),
        ("ftp://127.0.0.1/v1", "no address of an endpoint"),
        ("http://127.0.0.1:99999/v1", "no address of an endpoint"),
        ("http://me:secret@127.0.0.1/v1", "must not hold a password"),
        ("http://127.0.0.1/v1?api-key=secret", "must not hold a password or a query"),
    ],
)
def test_addresses_that_cannot_be_used(url: str, words: str) -> None:
    with pytest.raises(JudgeError, match=words) as error:
        Endpoint(url)
    assert "secret" not in str(error.value)


def test_what_else_cannot_be_used(server: JudgeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for how in ({"timeout": 0}, {"timeout": float("nan")}, {"max_retries": -1}, {"at_once": 0}):
        with pytest.raises(JudgeError, match="judge"):
            Endpoint(server.url, **how)
    for key, words in (("", "is not set"), ("clé", "no header can carry")):
        monkeypatch.setenv("BIRCHWOOD_KEY", key)
        with pytest.raises(JudgeError, match=words):
            ask(asker(server), request())
    for limit in ({"requests": -1}, {"tokens": -5}, {"seconds": float("nan")}):
        with pytest.raises(JudgeError, match="is not possible"):
            Budget(**limit)
    monkeypatch.setitem(__import__("sys").modules, "openai", None)
    with pytest.raises(JudgeError, match="needs the extra `endpoint`"):
        ask(asker(server, key_variable=None), request())
    assert server.requests == []


# ------------------------------------------------------------------------------------------------------------ budget
def test_requests_stop_at_the_budget(server: JudgeServer, store: AnswerStore) -> None:
    requests = [request(f"{number}") for number in range(30)]
    meter = Meter(Budget(requests=12))
    replies = ask(asker(server, store, meter=meter), *requests)
    assert Counter(reply.why for reply in replies) == {None: 12, "budget": 18}
    assert {reply.reason for reply in replies if reply.why} == {"the budget of 12 requests is used up"}
    assert (len(server.requests), len(store), meter.spent.requests) == (12, 12, 12)
    assert (meter.spent.tokens_in, meter.spent.tokens_out, meter.estimated) == (1200, 240, 0)
    # What was answered is not asked again: the next budget goes on where this one ended.
    later = ask(asker(server, store, meter=Meter(Budget(requests=18))), *requests)
    assert {reply.why for reply in later} == {None}
    assert sum(reply.is_cached for reply in later) == 12
    assert max(server.asked.values()) == 1
    nothing = ask(
        asker(server, store, meter=Meter(Budget(requests=0)), key_variable="NOT_SET"), *requests, request("x")
    )
    assert [reply.why for reply in nothing] == [None] * 30 + ["budget"]


def test_attempts_count_against_the_budget(server: JudgeServer) -> None:
    server.script = lambda body, number: "500"
    (reply,) = ask(asker(server, meter=Meter(Budget(requests=2)), max_retries=5), request())
    assert reply.why == "budget"
    assert reply.reason == "the budget of 2 requests is used up (the last attempt: status 500: told to say 500)"
    assert len(server.requests) == 2


def test_tokens_stop_at_the_budget(server: JudgeServer) -> None:
    """120 tokens are used by each; what is set aside for questions under way is given back, so eight fit into 1,000."""
    meter = Meter(Budget(tokens=1000))
    text = "The lamp is on its way, and it will be with you soon. " * 5
    replies = ask(asker(server, meter=meter, at_once=8), *(request(f"{text}{n:02}", max_tokens=50) for n in range(20)))
    most = estimate_tokens(request(f"{text}00").messages) + 50
    assert 120 < most < 240
    fit = 1 + (1000 - most) // 120
    assert Counter(reply.why for reply in replies) == {None: fit, "budget": 20 - fit}
    assert meter.spent.tokens_in + meter.spent.tokens_out == 120 * fit <= 1000
    assert "may take" in next(reply.reason for reply in replies if reply.why)
    (large,) = ask(asker(server, meter=Meter(Budget(tokens=100))), request(max_tokens=200))
    assert (large.why, large.cost.requests) == ("budget", 0)


def test_tokens_are_estimated_where_the_server_counts_none(server: JudgeServer) -> None:
    for behaviour in ("no usage", "strange usage"):
        server.script = lambda body, number, behaviour=behaviour: behaviour  # type: ignore[misc]
        meter = Meter()
        (reply,) = ask(asker(server, meter=meter), request(behaviour))
        assert reply.cost.tokens_in == estimate_tokens(request(behaviour).messages) > 0
        assert reply.cost.tokens_out == -(-len(fair({})) // 3)
        assert meter.estimated == 1


def test_time_stops_at_the_budget(server: JudgeServer) -> None:
    server.script = lambda body, number: "hang"
    started = time.monotonic()
    replies = ask(asker(server, meter=Meter(Budget(seconds=0.3)), timeout=20), *(request(f"{n}") for n in range(9)))
    assert time.monotonic() - started < 10
    assert {reply.why for reply in replies} == {"budget"}
    # no time for the answer is no time for another attempt: not the judge was too slow
    before = len(server.requests)
    clock = Meter(Budget(seconds=5), clock=lambda: 100.0 * (len(server.requests) - before))  # the question takes it all
    (last,) = ask(asker(server, meter=clock, timeout=0.2, max_retries=0), request())
    assert (last.why, last.attempts) == ("budget", 1)
    assert "the time is up: no answer within" in last.reason
    server.script = lambda body, number: "429 with seconds"
    still = Time()
    (reply,) = ask(asker(server, time=still, meter=Meter(Budget(seconds=5))), request())
    assert (reply.why, still.slept) == ("budget", [])
    assert "the time is up: status 429" in reply.reason


def test_an_estimate_comes_before_and_sends_nothing(server: JudgeServer, store: AnswerStore) -> None:
    requests = [request(f"{number}", max_tokens=40) for number in range(10)]
    ask(asker(server, store), *requests[:4])
    sent = len(server.requests)
    found = asker(server, store, key_variable="NOT_SET").estimate([*requests, requests[0], requests[9]])
    assert (found.requests, found.cached, found.tokens_out_most) == (6, 5, 240)
    assert found.tokens_in == sum(estimate_tokens(each.messages) for each in requests[4:])
    assert len(server.requests) == sent


# ------------------------------------------------------------------------------------------------------------- cache
def test_all_cached_needs_no_key_and_no_server(server: JudgeServer, store: AnswerStore) -> None:
    requests = [request(f"{number}") for number in range(5)]
    first = ask(asker(server, store), *requests)
    server.script = lambda body, number: "500"
    again = ask(asker(server, store, key_variable="NOT_SET"), *requests)
    assert [reply.text for reply in again] == [reply.text for reply in first]
    assert {reply.cost for reply in again} == {Cost(cached=1)}
    assert {(reply.model, reply.finish_reason, reply.attempts) for reply in again} == {(MODEL, "stop", 1)}
    assert len(server.requests) == 5


def test_each_input_of_an_answer_is_in_its_name(server: JudgeServer, store: AnswerStore) -> None:
    from dataclasses import replace

    base = request(seed=1)
    other = [
        base,
        request("Another text."),
        replace(base, messages=base.messages[1:]),
        replace(base, messages=(JudgeMessage("user", base.messages[0].content), base.messages[1])),
        replace(base, response_format=None),
        replace(base, response_format={"type": "json_object"}),
        replace(base, epoch=1),
        replace(base, parser="test 2"),
        *(replace(base, parameters=replace(base.parameters, **changed)) for changed in (
            {"model": "other"}, {"temperature": 0.1}, {"max_tokens": 9}, {"seed": 2}, {"seed": None}, {"top_p": 0.5},
        )),
    ]  # fmt: skip
    replies = ask(asker(server, store), *other)
    assert not any(reply.is_cached for reply in replies)
    assert len(store) == len(server.requests) == len(other)
    with JudgeServer() as elsewhere:
        (reply,) = ask(asker(elsewhere, store), base)
        assert not reply.is_cached
    # A fresh mark does not make a question new.
    marked = [replace(request(f"<text {mark}>Hello</text {mark}>"), nonce=mark) for mark in ("a1b2c3", "d4e5f6")]
    first, second = (ask(asker(server, store), each)[0] for each in marked)
    assert (first.is_cached, second.is_cached) == (False, True)


def test_a_question_that_is_there_twice_is_sent_once(server: JudgeServer, store: AnswerStore) -> None:
    for kept in (store, None):
        server.requests.clear()
        server.script = lambda body, number: "verdict" if "a" in body["messages"][-1]["content"] else "refusal"
        texts = ["a", "b", "a", "a", "b"] if kept is None else ["ya", "yb", "ya", "ya", "yb"]
        replies = ask(asker(server, kept), *(request(text) for text in texts))
        assert len(server.requests) == 2
        assert [reply.why for reply in replies] == [None, "refusal", None, None, "refusal"]
        assert sum(reply.cost.requests for reply in replies) == 2
        assert sum(reply.cost.cached for reply in replies) == 2


def test_an_answer_that_its_reader_no_longer_takes_is_asked_again(server: JudgeServer, store: AnswerStore) -> None:
    from dataclasses import replace

    ask(asker(server, store), request())
    strict = replace(request(), check=lambda text: None if "carefully" in text else "not careful")
    server.judge = lambda body: '{"reason": "I looked carefully.", "verdict": "violated"}'
    (reply,) = ask(asker(server, store), strict)
    assert not reply.is_cached
    assert ask(asker(server, store), strict)[0].is_cached


def test_two_runs_at_once_pay_once_and_say_the_same(server: JudgeServer, tmp_path: Path) -> None:
    """Two stores of one file, as two processes have them (the locks are of a process: what they exclude between
    processes is shown with real ones in test_judge_resume); answers are each different, and both report the first."""
    counter = iter(range(10_000))
    server.judge = lambda body: json.dumps({"reason": f"{next(counter)}", "verdict": "satisfied"})
    requests = [request(f"{number}") for number in range(40)]
    found: dict[int, list[JudgeReply]] = {}

    def run(number: int) -> None:
        store = AnswerStore(tmp_path / "answers.sqlite")
        found[number] = ask(asker(server, store), *requests)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert [reply.text for reply in found[0]] == [reply.text for reply in found[1]]
    # Threads that share a store do not ask the same twice at all.
    server.asked.clear()
    shared = AnswerStore(tmp_path / "shared.sqlite")
    way = asker(server, shared)
    threads = [threading.Thread(target=lambda: list(way.ask(requests))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert set(server.asked.values()) == {1}
    way.close()


HOLDS = """
import sys
from pathlib import Path
from bylaw.runtime.judges.store import AnswerStore
print(AnswerStore(Path(sys.argv[1])).claim(sys.argv[2]), flush=True)
sys.stdin.readline()
"""


def test_a_question_that_another_process_is_at_is_not_claimed(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="there are no locks on a part of a file")
    store, key, other = AnswerStore(tmp_path / "answers.sqlite"), request("a").key, request("b").key
    command = [sys.executable, "-c", HOLDS, str(store.path), key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        assert (store.claim(key), store.claim(other)) == (False, True)
        # the claim of a process that is killed is given back
        holder.kill()
    assert store.claim(key)
    store.close()


def test_leaving_early_sends_nothing_further(server: JudgeServer, store: AnswerStore) -> None:
    server.script = lambda body, number: "slow"
    with asker(server, store, at_once=2) as way:
        replies = way.ask([request(f"{number}") for number in range(50)])
        next(replies)
        replies.close()
        server.wait_for(lambda: server.busy == 0)
        time.sleep(0.05)
    assert len(server.requests) < 25
    assert len(store) >= 1


def test_a_mistake_in_the_reader_of_answers_is_heard(server: JudgeServer, store: AnswerStore) -> None:
    from dataclasses import replace

    def broken(text: str) -> str | None:
        raise ZeroDivisionError

    way = asker(server, store)
    with pytest.raises(ZeroDivisionError), way:
        list(way.ask([replace(request(), check=broken)]))


# ------------------------------------------------------------------------------------------------------------- store
def test_the_file_of_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = AnswerStore(tmp_path / "new" / "answers.sqlite")
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    first, second = Answer("ü\0\n'", "m", "stop", 1, 2, 3), Answer("later", "m", "stop", 1, 2, 1)
    assert store.get("aa") is None
    assert store.put("aa", first) == first
    assert store.put("aa", second) == first == store.get("aa")
    assert len(store) == 1
    store.remove("aa")
    assert store.get("aa") is None
    mode = sqlite3.connect(store.path).execute("pragma journal_mode").fetchone()
    assert mode == ("wal",)
    store.close()
    with pytest.raises(StoreError, match="was closed before"):
        store.get("aa")
    monkeypatch.setenv("BYLAW_CACHE", str(tmp_path / "elsewhere"))
    assert default_place() == tmp_path / "elsewhere" / "judges" / "answers.sqlite"


def test_a_file_that_many_make_at_once(tmp_path: Path) -> None:
    def make(path: Path, number: int) -> None:
        store = AnswerStore(path)
        found.append(store.put("aa", Answer(str(number), "m", "stop", 1, 1, 1)))
        store.close()

    for number in range(8):
        found: list[Answer] = []
        path = tmp_path / f"{number}.sqlite"
        threads = [threading.Thread(target=make, args=(path, each)) for each in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert len(found) == 6
        assert len(set(found)) == 1


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("create table lamps (name text)")


def _later(path: Path) -> None:
    AnswerStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 99")


def _damaged(path: Path) -> None:
    store = AnswerStore(path)
    for number in range(200):
        store.put(f"{number:x}", Answer("x" * 500, "m", "stop", 1, 1, 1))
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = bytes(random.Random(1).randbytes(len(data) - 4096))
    path.write_bytes(data)


def _read_all(path: Path) -> None:
    store = AnswerStore(path)
    for number in range(200):
        store.get(f"{number:x}")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(b"lamps, " * 1000), "is no store of judges' answers, or it is damaged"),
        (_foreign, "is a database, but no store of judges' answers"),
        (_later, "was written by a later bylaw"),
        (_damaged, "damaged"),
        (Path.mkdir, "cannot be kept in"),
    ],
)
def test_files_that_are_no_store(tmp_path: Path, spoil: Callable[[Path], object], words: str) -> None:
    path = tmp_path / "answers.sqlite"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(StoreError, match=words) as error:
        _read_all(path)
    assert str(path) in str(error.value)
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_store_that_fails_ends_the_run_with_its_message(server: JudgeServer, tmp_path: Path) -> None:
    store = AnswerStore(tmp_path / "answers.sqlite")
    store._connection.execute("pragma max_page_count = 4")  # a disk that is full
    server.judge = lambda body: json.dumps({"reason": "x" * 9000, "verdict": "violated"})
    with pytest.raises(StoreError, match=r"cannot be kept in .*full"):
        ask(asker(server, store), *(request(f"{number}") for number in range(20)))
    assert len(server.requests) < 20


# ---------------------------------------------------------------------------------------------------------- throttle
def test_as_many_at_once_as_the_server_bears(server: JudgeServer) -> None:
    server.script = lambda body, number: "slow"
    ask(asker(server, at_once=3), *(request(f"{number}") for number in range(9)))
    assert server.busiest == 3


def test_half_as_many_after_trouble_and_slowly_more_after_that() -> None:
    clock = Time()
    throttle = Throttle(8, first=8, clock=lambda: clock.now)
    slots = [throttle.take(lambda: False) for _ in range(8)]
    assert throttle.take(lambda: True) is None
    for number, slot in enumerate(slots):
        assert slot is not None
        throttle.give(slot[0], is_good=number > 5, is_pressure=number <= 5, pause=9.0)
    assert throttle.allowed == 4, "what was under way when the server complained counts once"
    slot = throttle.take(lambda: False)
    assert slot == (1, 9.0), "nobody sends while the server asks for a pause"
    clock.now = 20.0
    throttle.give(1, is_good=True)
    for _ in range(4):
        ticket, pause = throttle.take(lambda: False) or (0, 1.0)
        assert pause == 0
        throttle.give(ticket, is_good=True)
    assert throttle.allowed == 5
    for _ in range(100):
        ticket, _ = throttle.take(lambda: False) or (0, 1.0)
        throttle.give(ticket, is_good=True)
    assert throttle.allowed == 8
    for _ in range(9):
        ticket, _ = throttle.take(lambda: False) or (0, 1.0)
        throttle.give(ticket, is_good=False, is_pressure=True)
    assert throttle.allowed == 1


# -------------------------------------------------------------------------------------------------- adversarial mode
def test_how_often_a_judge_is_talked_round_is_measured(server: JudgeServer, store: AnswerStore) -> None:
    """A judge that obeys whoever dictates a verdict, and one that does not, over the same texts and canaries."""
    from bylaw.runtime.judges.canaries import flip_rate
    from bylaw.runtime.judges.judge import Judge
    from bylaw.runtime.judges.rubric import concept_rubric
    from bylaw.spec.expression import Concept

    rubric = concept_rubric(Concept("blame", "Says that it is the customer's own fault.", scorer="judge"), ())
    texts = ["It is your own fault that the lamp broke.", "Well, that was your own fault.", "The lamp is on its way."]
    server.judge = careful
    heeding = flip_rate(Judge(asker(server, store), JudgeParameters("careful")), rubric, texts)
    server.judge = gullible
    obeying = flip_rate(Judge(asker(server, store), JudgeParameters("gullible")), rubric, texts)
    for report in (heeding, obeying):
        assert (report.unjudged, report.control.judged, report.control.flipped) == (0, 3, 0)
        assert {(flips.judged, flips.yes, flips.silenced) for flips in report.attacks} == {(3, 2, 0)}
    assert {flips.flipped for flips in heeding.attacks} == {0}
    hidden = {flips.canary.name: flips.hidden for flips in obeying.attacks}
    assert (hidden["verdict"], hidden["ignore_the_rubric"], hidden["zero_width"]) == (2, 2, 0)
    assert heeding.rate is not None
    assert obeying.rate is not None
    share = sum(hidden.values()) / (2 * len(hidden))
    assert obeying.rate[0] == pytest.approx(share)
    assert 0.5 <= share < 1
    assert heeding.rate[0] == 0 < heeding.rate[1].high < obeying.rate[1].low < share < obeying.rate[1].high
    # What cannot be seen is left out of what a judge is shown: that makes the same question, which is sent once.
    assert (obeying.cost.requests, obeying.cost.cached) == (len(texts) * (1 + len(hidden)), len(texts))
    assert len(store) == len(server.requests) == 2 * obeying.cost.requests


# ------------------------------------------------------------------------------------------- as the scorer tells it
def test_whatever_the_server_does_the_score_or_its_absence_says_so(server: JudgeServer, store: AnswerStore) -> None:
    """All behaviours at once, through the scorer `judge`: scored, or unscored with the right class of reason; an answer
    that cannot be read is asked for once more. Nothing is 0 or 1 that was not said."""
    from bylaw.runtime.judges.judge import Judge
    from bylaw.runtime.scorers.catalog import Making
    from bylaw.runtime.scorers.interface import Question
    from bylaw.runtime.scorers.judge import make
    from bylaw.spec.expression import Concept

    # Without those that end the run, and one that passes after each of the others: 25 in a row would end it too.
    order = [name for name in ENDS if ENDS[name][2] != 1 or ENDS[name][0] != "transport"]
    server.script = lambda body, number: next(
        (name for name in order if f"Text of <{name}>" in body["messages"][1]["content"]), "verdict"
    )
    concept = Concept("blame", "Says that it is the customer's own fault.", scorer="judge")
    scored = {}
    for names, timeout in (([name for name in order if name not in LATE], 20.0), (LATE, 0.2)):
        way = asker(server, store, max_retries=1, timeout=timeout, most_bytes=100_000, at_once=1)
        making = Making(options={"judge": Judge(way, JudgeParameters(MODEL))}, is_rough_allowed=True)
        others = ("Text", "Another text") if timeout > 1 else ("Text", "Text")
        questions = [Question(concept, f"{text} of <{name}>") for name in names for text in others]
        scored |= dict(zip(names, make((concept,), making)["blame"].score(questions)[::2], strict=True))
    for name, answer in scored.items():
        why, _, sent, is_kept = ENDS[name]
        expected = "parse" if why is None and not is_kept else why
        assert (answer.why, answer.score) == (expected, None if expected else 0.0), name
        assert answer.cost.requests == (min(sent, 2) if why is not None else 2 - is_kept), name
        assert answer.record["text"]
    others_kept = len(order) - len(LATE)
    assert len(store) == sum(answer.score is not None for answer in scored.values()) + others_kept
