"""Samples of a model under test: every one once, whatever a server does; what is there is never asked for again."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from decoding_models import Tiny
from judge_server import BEHAVIOURS, Exchange, JudgeServer
from sample_server import NAME, RULES, answer, server

from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.audit.audit import audit
from bylaw.runtime.audit.inputs import TranscriptError
from bylaw.runtime.audit.transcripts import read_transcripts
from bylaw.runtime.judges.budget import Budget, Meter
from bylaw.runtime.judges.store import AnswerStore, StoreError
from bylaw.runtime.judges.wire import Endpoint
from bylaw.runtime.models.sampling import sample_base
from bylaw.runtime.running.endpoint import EndpointSampler, cost_of, requests_of
from bylaw.runtime.running.export import holding, lines, read_samples, summary, write_transcripts
from bylaw.runtime.running.local import sample_model
from bylaw.runtime.running.plan import Done, Plan, RunningError, Sample, prompts_of
from bylaw.runtime.running.run import Job, bring_missing, to_ask
from bylaw.runtime.running.store import RunStore, open_store
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace, tool_call
from tinymodels import TabularModel

SETTINGS = {
    "kind": "endpoint", "place": "http://127.0.0.1/v1", "model": NAME, "temperature": 1.0, "max_tokens": 50,
    "stop": ["END"], "seed": 0,
}  # fmt: skip
CALL = [{"id": "1", "type": "function", "function": {"name": "look_up", "arguments": '{"order": 7}'}}]


def plan(*texts: str, epochs: int = 1, **settings: Any) -> Plan:
    traces = [Trace((Message("user", text),), {"meta.topic": "late"}, f"p{n}") for n, text in enumerate(texts)]
    return Plan(prompts_of(traces), epochs, {**SETTINGS, **settings})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[RunStore]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        found = open_store(tmp_path / "a.samples")
        yield found
        found.close()


def run(
    wanted: Plan,
    store: RunStore,
    at: JudgeServer,
    *,
    again: bool = False,
    budget: Budget | None = None,
    retries: int = 2,
    at_once: int = 3,
    done: Done = lambda _: None,
) -> dict[str, int]:
    """One call of a run that never sleeps; what was left out for now."""

    def bring(store: RunStore, missing: Sequence[Sample], done: Done) -> Iterator[str]:
        endpoint = Endpoint(at.url, timeout=2.0, max_retries=retries, at_once=at_once)
        with EndpointSampler(endpoint, store, Meter(budget or Budget()), wait=lambda _: None) as sampler:
            yield from sampler.bring(wanted, missing, done)

    return dict(bring_missing(Job(wanted, bring), store, done, again=again))


def asked(at: JudgeServer) -> list[tuple[str, int]]:
    return sorted((body["messages"][-1]["content"], body["seed"]) for body in at.requests)


# ------------------------------------------------------------------------------------------ which samples there are
def test_no_repeat_and_no_equal_prompt_gets_the_answer_of_another(store: RunStore) -> None:
    wanted = plan("Where?", "Why?", "Where?", epochs=3)
    assert len({sample.key for sample in wanted.samples}) == 9
    # Equal seeds at different prompts would give a server's answers to them the same luck.
    assert len({sample.seed for sample in wanted.samples}) == 9
    with server() as at:
        assert run(wanted, store, at) == {}
        assert len(asked(at)) == len(set(asked(at))) == 9
        assert run(wanted, store, at) == {}
        assert len(at.requests) == 9, "what is there was asked for again"
        assert all(body["stop"] == ["END"] and body["max_tokens"] == 50 for body in at.requests)
    held = holding(store)
    texts = [json.loads(held.answers[sample.key].text)["content"] for sample in wanted.samples]
    bodies = {(body["messages"][-1]["content"], body["seed"]): answer(body) for body in at.requests}
    prompt = ["Where?"] * 3 + ["Why?"] * 3 + ["Where?"] * 3
    assert texts == [bodies[words, sample.seed] for words, sample in zip(prompt, wanted.samples, strict=True)]


@pytest.mark.parametrize(
    "other",
    [
        {"temperature": 0.5}, {"max_tokens": 51}, {"stop": []}, {"seed": 1}, {"model": "other"},
        {"place": "http://127.0.0.2/v1"}, {"seed": None},
    ],
)  # fmt: skip
def test_whatever_an_answer_depends_on_is_a_part_of_its_name(other: dict[str, Any], store: RunStore) -> None:
    before, now = plan("Where?", epochs=2), plan("Where?", epochs=2, **other)
    assert not {sample.key for sample in before.samples} & {sample.key for sample in now.samples}
    store.begin(before)
    with pytest.raises(RunningError, match=rf"other settings: {next(iter(other))} .*; name another file"):
        store.begin(now)


def test_a_run_may_grow_but_not_change(store: RunStore) -> None:
    with server() as at:
        run(plan("Where?", "Why?"), store, at)
        run(plan("When?", "Why?", "Where?", epochs=2), store, at)
        assert len(asked(at)) == len(set(asked(at))) == 6
    with pytest.raises(RunningError, match="for 2 answers to each prompt, and 1 are fewer"):
        store.begin(plan("When?", "Why?", "Where?"))
    with pytest.raises(RunningError, match=r"1 of the 3 prompts .* no longer asked \(`p0` first\)"):
        store.begin(plan("Why?", "Where?", "Which?", epochs=2))
    assert summary(holding(store)).planned == 6


def test_no_seed_is_sent_where_none_is_wanted() -> None:
    wanted = plan("Where?", epochs=2, seed=None)
    assert [request.parameters.seed for request in requests_of(wanted, wanted.samples)] == [None, None]


def test_prompts_that_cannot_be_sent_are_refused() -> None:
    deep = Trace((Message("user", "Where?"), tool_call("look_up", {"order.id": 7}), Message("user", "So?")), id="p1")
    with pytest.raises(RunningError, match="`p1` calls `look_up` with arguments inside each other"):
        prompts_of([deep])
    alone = Trace((Message("tool", "It left.", "look_up"), Message("user", "So?")), id="p4")
    with pytest.raises(RunningError, match="`p4` has an output of a tool that nobody called"):
        prompts_of([alone])
    own = Trace((Message("system", "Be kind."), Message("user", "Where?")), id="p2")
    with pytest.raises(RunningError, match="`p2` has a system message of its own"):
        prompts_of([own], "Be brief.")
    (found,) = prompts_of([Trace((Message("user", "Where?"),), id="p3")], "Be brief.")
    assert found.messages == ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Where?"})


def test_prompts_with_calls_of_tools_are_sent_as_servers_want_them(store: RunStore, tmp_path: Path) -> None:
    said = (
        Message("user", "Where are both?"), Message("assistant", "One moment."), tool_call("look_up", {"order": 7}),
        tool_call("look_up", {"order": 8}), Message("tool", "It left.", "look_up"), Message("tool", "Lost.", "look_up"),
        Message("user", "So?"),
    )  # fmt: skip
    wanted = Plan(prompts_of([Trace(said, id="p0")]), 1, SETTINGS)
    with server() as at:
        run(wanted, store, at)
        (body,) = at.requests
    roles = [each["role"] for each in body["messages"]]
    assert roles == ["user", "assistant", "assistant", "tool", "tool", "user"]
    calls = body["messages"][2]["tool_calls"]
    assert [json.loads(call["function"]["arguments"]) for call in calls] == [{"order": 7}, {"order": 8}]
    assert [each["tool_call_id"] for each in body["messages"][3:5]] == [call["id"] for call in calls]
    write_transcripts(holding(store), tmp_path / "a.jsonl")
    (trace,) = read_transcripts(tmp_path / "a.jsonl").traces
    assert trace.messages[:-1] == said
    assert read_samples(store.path).traces == (trace,)
    with pytest.raises(RunningError, match="`p0` holds calls of tools, which a model in this process is not shown"):
        drawn(Plan(wanted.prompts, 1, {**SETTINGS, "kind": "model"}), open_store(tmp_path / "b"), Tiny(TabularModel()))


def test_what_a_run_would_cost_is_said_before_anything_is_sent(store: RunStore) -> None:
    wanted = plan("Where is my lamp?", "Why?", epochs=3)
    cost = cost_of(wanted, to_ask(wanted, None))
    assert (cost.requests, cost.cached, cost.tokens_out_most) == (6, 0, 300)
    assert cost.tokens_in == 3 * (6 + 8 + 2 + 8)  # a token for 3 bytes, and 8 a message
    with server() as at:
        run(wanted, store, at, budget=Budget(requests=4))
    assert cost_of(wanted, to_ask(wanted, store)).requests == 2


class Stopped(Exception):
    pass


def test_what_breaks_off_when_a_run_is_left_has_not_failed(store: RunStore) -> None:
    wanted = plan("Where?", "Why?", "When?")

    def stop(count: int) -> None:
        raise Stopped

    def script(body: dict[str, Any], number: int) -> str:
        return "slow" if body["messages"][-1]["content"] == "Where?" else "hang"

    with server(script=script) as at, pytest.raises(Stopped):
        run(wanted, store, at, done=stop)
    for thread in threading.enumerate():
        if thread.name.startswith("judge-"):
            thread.join(10)
            assert not thread.is_alive()
    assert (store.attempts_failed(), store.failures()) == ({}, {})
    assert summary(holding(store)).missing == 2


# -------------------------------------------------------------------------------------------------- what servers do
SAID = {
    "verdict": "text", "no usage": "text", "strange usage": "text", "duplicate": "text", "wrong content type": "text",
    "words around": "text", "no verdict": "text", "off the menu": "text", "empty": "empty", "refusal": "refusal",
    "cut at its limit": "cut", "content filter": "filtered", "400 filtered": "filtered", "400": "input",
    "no content": "parse", "half a character": "parse", "bad JSON": "parse", "web page": "parse",
    "wrong schema": "parse", "no choices": "parse", "packed": "parse", "error in a success": "transport",
    "reset": "transport", "cut body": "transport", "cut stream": "transport", "429 with seconds": "transport",
    "500": "transport", "503": "transport", "401": "transport", "redirect": "transport",
    "429 nothing left": "transport",
}  # fmt: skip


@pytest.mark.parametrize("behaviour", SAID)
def test_what_a_model_said_is_a_sample_and_nothing_else_is(behaviour: str, store: RunStore) -> None:
    """The first prompt meets the behaviour each time it is asked, the second one an answer."""
    wanted = plan("Where?", "Why?")

    def script(body: dict[str, Any], number: int) -> str:
        return behaviour if body["messages"][-1]["content"] == "Where?" else "verdict"

    with server(script=script) as at:
        run(wanted, store, at, retries=1)
    held = holding(store)
    found = summary(held)
    first = wanted.samples[0].key
    expected = SAID[behaviour]
    if expected in ("text", "empty", "refusal", "cut"):
        assert found.answered == 2
        assert found.cut == (expected == "cut")
        said = json.loads(next(lines(held)))["messages"][-1]
        words = {"empty": " \n", "refusal": "I cannot assist with that."}
        assert said["role"] == "assistant"
        if expected in words:
            assert said["content"] == words[expected]
        return
    assert first not in held.answers
    assert found.failed == {expected: 1}
    assert held.failures[first].reason
    assert "judge" not in held.failures[first].reason
    told = json.loads(next(lines(held)))
    assert [each["role"] for each in told["messages"]] == ["user"], "it is told as if something had been said"
    assert told["meta.sample.why"] == expected


def test_behaviours_are_those_of_the_server() -> None:
    assert set(SAID) <= set(BEHAVIOURS)


def test_calls_of_tools_are_what_a_model_does(store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def calls(it: Exchange) -> None:
        it.send(200, it.answer(message={"content": None, "tool_calls": CALL}))

    monkeypatch.setitem(BEHAVIOURS, "calls", calls)
    with server(script=lambda body, number: "calls") as at:
        run(plan("Where?"), store, at)
    write_transcripts(holding(store), tmp_path / "a.jsonl")
    (trace,) = read_transcripts(tmp_path / "a.jsonl").traces
    assert trace.messages[1:] == (tool_call("look_up", {"order": 7}),)
    assert read_samples(store.path).traces == (trace,)


def test_an_endpoint_that_cannot_be_used_is_asked_no_further(store: RunStore) -> None:
    wanted = plan(*(f"Where is {n}?" for n in range(40)))
    with server(script=lambda body, number: "401") as at:
        left = run(wanted, store, at)
        assert len(at.requests) <= 3
        (reason,) = left
        assert reason.startswith("not asked, since the endpoint cannot be used: status 401")
    found = summary(holding(store))
    assert found.missing == left[reason] == 40 - found.failed["transport"]
    with server() as at:
        run(plan(*(f"Where is {n}?" for n in range(40))), store, at)
        assert summary(holding(store)).is_complete


def test_what_was_withheld_is_not_asked_again_until_something_else_comes(store: RunStore) -> None:
    wanted = plan("Where?", "Why?", "When?")
    first = {"Where?": "content filter", "Why?": "503", "When?": "verdict"}

    def script(body: dict[str, Any], number: int) -> str:
        return "verdict" if number > 1 else first[body["messages"][-1]["content"]]

    with server(script=script) as at:
        run(wanted, store, at, retries=1)
        assert summary(holding(store)).failed == {"filtered": 1, "transport": 1}
        assert sum(at.asked.values()) == 1 + 2 + 1, "what is filtered is not repeated"
        run(wanted, store, at, retries=1)
        assert summary(holding(store)).failed == {"filtered": 1}, "another run asks again what the network lost"
        assert sum(at.asked.values()) == 5
        run(wanted, store, at, retries=1, again=True)
        assert summary(holding(store)).failed == {"filtered": 1}
        run(wanted, store, at, retries=1, again=True)
    found = summary(holding(store))
    assert (found.answered, found.retried, found.retries) == (3, 2, 4)
    alone = [json.loads(line)["id"] for line in lines(holding(store), first_try_only=True)]
    assert alone == ["p2"]


def test_budgets_end_a_call_and_the_next_one_goes_on(store: RunStore) -> None:
    wanted = plan(*(f"Where is {n}?" for n in range(12)))
    with server() as at:
        assert run(wanted, store, at, budget=Budget(requests=5)) == {"the budget of 5 requests is used up": 7}
        assert len(at.requests) == 5
        (reason,) = run(wanted, store, at, budget=Budget(tokens=250))
        assert "the budget of 250 tokens" in reason
        done = summary(holding(store)).answered
        assert 6 <= done <= 8
        (reason,) = run(wanted, store, at, budget=Budget(seconds=0.0))
        assert "0 seconds" in reason
        assert summary(holding(store)).answered == done
        assert run(wanted, store, at) == {}
        assert len(asked(at)) == len(set(asked(at))) == 12


# ------------------------------------------------------------------------------------------------------ what comes out
def test_transcripts_and_store_are_read_as_the_same(store: RunStore, tmp_path: Path) -> None:
    wanted = plan("Where?", "Why?", "When?", epochs=2)

    def script(body: dict[str, Any], number: int) -> str:
        return "content filter" if body["messages"][-1]["content"] == "Why?" else "verdict"

    with server(script=script) as at:
        run(wanted, store, at, budget=Budget(requests=5), at_once=1)
    assert write_transcripts(holding(store), tmp_path / "a.jsonl") == 5
    read, own = read_transcripts(tmp_path / "a.jsonl"), read_samples(store.path)
    assert own.traces == read.traces
    assert [problem.message for problem in own.problems] == [
        "1 of 6 samples were not asked for yet: run `bylaw sample` again"
    ]
    assert read.problems == ()
    assert [trace.id for trace in own.traces][:4] == ["p0#1", "p0#2", "p1#1", "p1#2"]
    compiled = compile_source(Source("rules.bylaw", RULES))
    record = audit(compiled.require(), read.traces, source="a.jsonl", policy=compiled.source)
    assert [term.unscored for term in record.terms] == [2, 2], "what was withheld counts as kept or as broken"
    assert [term.applicable for term in record.terms] == [3, 3]


def test_ids_that_stand_twice_are_told_apart() -> None:
    traces = [Trace((Message("user", text),), id="same") for text in ("a", "b")]
    assert Plan(prompts_of(traces), 1, SETTINGS).names == ("same (1)", "same (2)")
    assert Plan(prompts_of(traces), 2, SETTINGS).names == ("same (1)#1", "same (1)#2", "same (2)#1", "same (2)#2")


def test_other_files_are_no_stores_of_samples(tmp_path: Path) -> None:
    text, judged, later = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    text.write_text("lamps\n" * 1000)
    AnswerStore(judged).close()
    RunStore(later).close()
    with sqlite3.connect(later) as connection:
        connection.execute("pragma user_version = 99")
    for place, words in (
        (text, "is no store of samples, or it is damaged"),
        (judged, "is a database, but no store of samples"),
        (later, "was written by a later bylaw"),
    ):
        before = place.read_bytes()
        with pytest.raises(StoreError, match=words):
            open_store(place)
        assert place.read_bytes() == before
    with pytest.raises(StoreError, match="no store of judges' answers"):
        AnswerStore(tmp_path / "c")
    with pytest.raises(RunningError, match="there is no folder"):
        open_store(tmp_path / "none" / "a.samples")
    with pytest.raises(TranscriptError, match="there is no file of samples"):
        read_samples(tmp_path / "none.samples")
    (tmp_path / "blank").touch()
    with pytest.raises(TranscriptError, match="nothing was asked for yet"):
        read_samples(tmp_path / "blank")
    assert (tmp_path / "blank").read_bytes() == b""
    RunStore(tmp_path / "new").close()
    with pytest.raises(TranscriptError, match="is no store of samples"):
        read_samples(text)
    with pytest.raises(TranscriptError, match="nothing was asked for yet"):
        read_samples(tmp_path / "new")


# ------------------------------------------------------------------------------------------ models in this process
def local_plan(prompts: int, epochs: int) -> Plan:
    traces = [Trace((Message("user", f"{n}"),), id=f"p{n}") for n in range(prompts)]
    return Plan(prompts_of(traces), epochs, {**SETTINGS, "max_tokens": 6, "seed": 3})


def drawn(wanted: Plan, store: RunStore, model: Any, done: Callable[[int], None] = lambda _: None) -> dict[str, int]:
    job = Job(wanted, lambda kept, missing, told: sample_model(wanted, missing, model, kept, Meter(), told))
    return dict(bring_missing(job, store, done))


def test_a_model_in_this_process_goes_on_with_the_same_numbers(tmp_path: Path) -> None:
    model = Tiny(TabularModel(seed=1))
    wanted = local_plan(9, 5)
    whole, parts = open_store(tmp_path / "whole"), open_store(tmp_path / "parts")
    drawn(wanted, whole, model)

    def stop(count: int) -> None:
        raise Stopped

    for left in (45, 29, 13):
        assert len(to_ask(wanted, parts)) == left
        with pytest.raises(Stopped):
            drawn(wanted, parts, model, stop)
    assert to_ask(wanted, parts) == []
    assert list(lines(holding(parts))) == list(lines(holding(whole)))
    base = sample_base(
        model, [model.encode_chat([{"role": "user", "content": f"{n}"}]) for n in range(9)], 5, 6, seed=3
    )
    held = holding(whole)
    texts = [json.loads(held.answers[sample.key].text)["content"] for sample in wanted.samples]
    assert texts == [row.text for rows in base for row in rows]
    assert len(set(texts)) > 10
    whole.close()
    parts.close()
