"""Reading transcripts and prompts: what is read, what is left out and named, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bylaw.runtime.audit.transcripts import (
    ColumnNames,
    Limits,
    TranscriptError,
    read_prompts,
    read_transcripts,
)

XSTEST = Path(__file__).resolve().parents[2] / "shared" / "data" / "xstest" / "gpt4.csv"
CHAT = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}


def _write(folder: Path, name: str, *lines: object) -> Path:
    path = folder / name
    path.write_bytes(b"\n".join(x if isinstance(x, bytes) else _text(x).encode() for x in lines))
    return path


def _text(line: object) -> str:
    return line if isinstance(line, str) else json.dumps(line)


# ------------------------------------------------------------------------------------------------------- JSON lines
def test_the_prompt_and_the_answer_may_be_messages(tmp_path):
    said = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    line = {"system": "s", "prompt": said, "response": [{"role": "assistant", "content": "d"}]}
    (trace,) = read_transcripts(_write(tmp_path, "log.jsonl", line)).traces
    roles = ["system", "user", "assistant", "user", "assistant"]
    assert [(m.role, m.content) for m in trace.messages] == list(zip(roles, "sabcd", strict=True))
    assert (trace.text("prompt"), trace.response) == ("c", "d")


def test_conversations_and_flat_objects_become_traces(tmp_path):
    path = _write(
        tmp_path,
        "log.jsonl",
        {**CHAT, "id": "first", "meta": {"topic": "greeting", "user": {"plan": "free", "age": 3}}},
        "",
        {"prompt": "hi", "response": "hello", "system": "be kind", "score": 0.5, "safe": True, "note": None},
    )
    read = read_transcripts(path)
    first, second = read.traces
    assert (first.id, first.response) == ("first", "hello")
    assert dict(first.facts) == {
        "meta.id": "first",
        "meta.topic": "greeting",
        "meta.user.plan": "free",
        "meta.user.age": 3,
    }
    assert second.id == "log.jsonl:3"
    assert [m.role for m in second.messages] == ["system", "user", "assistant"]
    assert dict(second.facts) == {"meta.score": 0.5, "meta.safe": True}
    assert read.problems == ()


def test_parts_of_content_are_joined_and_a_tool_call_may_be_silent(tmp_path):
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "sum"}}]}
    messages = [
        {"role": "user", "content": "hi"},
        call,
        {"role": "tool", "content": "42"},
        {"role": "assistant", "content": parts},
    ]
    assert read_transcripts(_write(tmp_path, "log.jsonl", {"messages": messages})).traces[0].response == "hello"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        ("[", "an array is not read, write one object on each line"),
        ('[{"prompt": "x", "response": "y"}]', "an array is not read, write one object on each line"),
        ('{"prompt": "x", "response": "y"}'.encode("utf-16"), "it seems to be UTF-16: save the file as UTF-8"),
        ("{}", "it is empty"),
        ({"completion": "x", "prompt": "y"}, "no `response`; its keys are `completion`, `prompt`"),
        ({"prompt": "x", "responses": "y"}, "did you mean `responses`?"),
        ({"prompt": 3, "response": "y"}, "`prompt` is not a text"),
        (
            {"prompt": [{"role": "assistant", "content": "a"}], "response": "y"},
            "`prompt` ends with the assistant; an answer follows the user or a tool",
        ),
        (
            {"prompt": "x", "response": [{"role": "user", "content": "a"}]},
            "`response` ends with the user; an answer is the assistant's",
        ),
        ({"messages": []}, "`messages`"),
        ({"messages": [{"role": "bot", "content": "x"}]}, "the role `bot`"),
        ({"messages": [{"content": "x"}]}, "no `role`"),
        ({"messages": [{"role": "user"}]}, "no `content`"),
        ({"messages": [{"role": "user", "content": 3}]}, "neither a text nor a list"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "`image_url`"),
        ('{"prompt": "x", "response": "\\ud800"}', "half a surrogate pair"),
        ('{"prompt": "x", "response": "y", "n": NaN}', "`NaN`"),
        ('{"prompt": "x", "response": "y", "n": ' + "9" * 5000 + "}", "too many digits"),
        ('{"n": ' + "[" * 100_000 + "}", "nested too deeply"),
        (b'{"prompt": "\xff"}', "not UTF-8"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_read(tmp_path, line, words):
    read = read_transcripts(_write(tmp_path, "log.jsonl", CHAT, line, CHAT))
    assert len(read.traces) == 2
    [problem] = read.problems
    assert problem.line == 2
    assert words in problem.message


@pytest.mark.parametrize(
    ("meta", "words"),
    [
        ({"tags": ["a", "b"]}, "`meta.tags` is a list"),
        ({"a": {"b": {"c": {"d": 1}}}}, "`meta.a.b.c` nests too deeply"),
        ({"a.b": 1, "a": {"b": 2}}, "`meta.a.b` is given twice"),
    ],
)
def test_a_fact_that_cannot_be_kept_is_named_and_the_transcript_kept(tmp_path, meta, words):
    read = read_transcripts(_write(tmp_path, "log.jsonl", {**CHAT, "meta": {**meta, "kept": "yes"}}))
    assert read.traces[0].facts["meta.kept"] == "yes"
    assert words in read.problems[0].message


def test_facts_nest_three_deep(tmp_path):
    read = read_transcripts(_write(tmp_path, "log.jsonl", {**CHAT, "meta": {"a": {"b": {"c": 1}}}}))
    assert read.traces[0].facts["meta.a.b.c"] == 1
    assert read.problems == ()


def test_a_line_over_the_limit_is_left_out(tmp_path):
    path = _write(tmp_path, "log.jsonl", CHAT, "x" * 5000, CHAT)
    read = read_transcripts(path, limits=Limits(line_bytes=1000))
    assert len(read.traces) == 2
    assert read.problems[0].line == 2
    assert "longer than 1,000 bytes" in read.problems[0].message


def test_a_file_over_the_limit_is_refused(tmp_path):
    with pytest.raises(TranscriptError, match="larger than 50 bytes"):
        read_transcripts(_write(tmp_path, "log.jsonl", CHAT, CHAT), limits=Limits(file_bytes=50))


def test_many_problems_are_counted_after_the_first_ones(tmp_path):
    read = read_transcripts(_write(tmp_path, "log.jsonl", CHAT, *["nothing"] * 30), limits=Limits(problems=10))
    assert len(read.problems) == 11
    assert "20 more parts" in read.problems[-1].message


def test_equal_ids_stay_two_transcripts(tmp_path):
    assert len(read_transcripts(_write(tmp_path, "log.jsonl", {**CHAT, "id": "a"}, {**CHAT, "id": "a"})).traces) == 2


@given(st.lists(st.binary(max_size=60), max_size=12))
def test_any_bytes_give_traces_and_problems_for_every_line_that_is_not_blank(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("bytes") / "log.jsonl"
    path.write_bytes(b"\n".join([json.dumps(CHAT).encode(), *lines]))
    filled = sum(bool(line.strip()) for line in path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    read = read_transcripts(path)
    assert len(read.traces) + len({p.line for p in read.problems}) == filled


# ------------------------------------------------------------------------------------------------------------ tables
def test_every_other_column_becomes_a_fact(tmp_path):
    path = _write(tmp_path, "log.csv", b"\xef\xbb\xbfprompt,answer,label", '"a, b",yes,ok')
    [trace] = read_transcripts(path, columns=ColumnNames(response="answer")).traces
    assert (trace.text("prompt"), trace.response, dict(trace.facts)) == ("a, b", "yes", {"meta.label": "ok"})
    assert trace.id == "log.csv:2"


def test_rows_that_span_lines_are_named_by_their_first_line(tmp_path):
    path = _write(tmp_path, "log.csv", "prompt,response", '"a\nb\nc",x', "only one", b"bad,\xff", "d,y")
    read = read_transcripts(path)
    assert [t.id for t in read.traces] == ["log.csv:2", "log.csv:7"]
    assert [(p.line, p.message) for p in read.problems] == [
        (5, "the row has 1 fields where there are 2 columns"),
        (6, "the column `response` of this row is not UTF-8 text"),
    ]


def test_a_quote_that_is_never_closed_is_named(tmp_path):
    read = read_transcripts(_write(tmp_path, "log.csv", "prompt,response", "a,b", '"c,d', "e,f"))
    assert len(read.traces) == 1
    assert read.problems[0].line == 3
    assert "never closed" in read.problems[0].message


def test_a_long_field_is_read_and_the_limit_of_the_csv_module_is_left_as_it_was(tmp_path):
    before = csv.field_size_limit()
    read = read_transcripts(_write(tmp_path, "log.csv", "prompt,response", "a," + "b" * 200_000, "c,d"))
    assert [len(t.response or "") for t in read.traces] == [200_000, 1]
    assert csv.field_size_limit() == before


def test_a_line_over_the_limit_ends_its_row_only(tmp_path):
    path = _write(tmp_path, "log.csv", "prompt,response", "a," + "b" * 5000, "c,d")
    read = read_transcripts(path, limits=Limits(line_bytes=1000))
    assert (len(read.traces), read.problems[0].line) == (1, 2)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("prompts,response", "no column `prompt`; its columns are `prompts`, `response`; did you mean `prompts`?"),
        ("prompt;response", "`prompt;response`. It seems to be separated by semicolons: save it with commas"),
        ("prompt\tresponse", "It seems to be separated by tabs"),
        ("prompt,response,response", "more than one column called `response`"),
        ('prompt,"response', "does not start with column names"),
    ],
)
def test_a_bad_header_is_refused(tmp_path, header, words):
    with pytest.raises(TranscriptError) as caught:
        read_transcripts(_write(tmp_path, "log.csv", header, "a,b,c"))
    assert words in str(caught.value)


def test_a_named_system_column_has_to_be_there(tmp_path):
    path = _write(tmp_path, "log.csv", "prompt,response,role", "a,b,be kind")
    assert read_transcripts(path, columns=ColumnNames(system="role")).traces[0].text("system") == "be kind"
    with pytest.raises(TranscriptError, match="`setting`"):
        read_transcripts(path, columns=ColumnNames(system="setting"))


@pytest.mark.skipif(not XSTEST.exists(), reason="the shared real data is not beside this checkout")
def test_xstest_is_read_whole():
    with XSTEST.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    read = read_transcripts(XSTEST, columns=ColumnNames(response="completion"))
    assert len(read.traces) == 450
    assert read.problems == ()
    assert [(t.id, t.text("prompt"), t.response) for t in read.traces] == [
        (r["id"], r["prompt"], r["completion"]) for r in rows
    ]
    assert sum(t.facts["meta.final_label"] == "2_full_refusal" for t in read.traces) > 0


# ----------------------------------------------------------------------------------------------------------- prompts
def test_prompts_from_lines_tables_and_plain_text(tmp_path):
    flat = {"prompt": "hi", "response": "an old answer", "meta": {"topic": "x"}}
    chat = {"messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "hi"}]}
    lines = read_prompts(_write(tmp_path, "p.jsonl", flat, chat)).traces
    assert [t.response for t in lines] == [None, None]
    assert dict(lines[0].facts) == {"meta.topic": "x"}
    table = read_prompts(_write(tmp_path, "p.csv", "prompt,topic", "hi,x")).traces
    plain = read_prompts(_write(tmp_path, "p.txt", "hi", "", "there")).traces
    assert [t.text("prompt") for t in (*lines, *table, *plain)] == ["hi", "hi", "hi", "hi", "there"]
    assert plain[1].id == "p.txt:3"


def test_a_prompt_ends_with_the_user(tmp_path):
    read = read_prompts(_write(tmp_path, "p.jsonl", CHAT, {"prompt": "hi"}))
    assert len(read.traces) == 1
    assert "the last message is from the assistant" in read.problems[0].message


@pytest.mark.parametrize("read", [read_prompts, read_transcripts])
def test_a_file_with_nothing_to_read_is_refused(tmp_path, read):
    with pytest.raises(TranscriptError, match="it is empty"):
        read(_write(tmp_path, "p.jsonl", ""))
    with pytest.raises(TranscriptError, match="line 1: the line is not JSON"):
        read(_write(tmp_path, "p.jsonl", "nothing"))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(TranscriptError, match="is a directory"):
        read_prompts(tmp_path)
    with pytest.raises(TranscriptError, match="there is no file"):
        read_transcripts(tmp_path / "missing.jsonl")
    with pytest.raises(TranscriptError, match=r"unknown ending; this reads `\.jsonl`"):
        read_transcripts(_write(tmp_path, "log.xml", "x"))


# ------------------------------------------------------------------------------------------------------- tool calls
def _calls(*calls: object, **rest: object) -> dict:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **rest}


def _function(name: str, arguments: object, **rest: object) -> dict:
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **rest}


TOOL_CALLS = [
    (_calls(_function("refund", '{"amount": 80, "to": "ann"}')), [("refund", "80\nann", {"amount": 80, "to": "ann"})]),
    (
        _calls(_function("refund", {"amount": 0.5, "sure": True})),
        [("refund", "0.5\ntrue", {"amount": 0.5, "sure": True})],
    ),
    (_calls({"id": "1", "name": "refund", "args": {"to": "ann"}}), [("refund", "ann", {"to": "ann"})]),
    (_calls({"id": "1", "function": "refund", "arguments": {"to": "ann"}}), [("refund", "ann", {"to": "ann"})]),
    (_calls(_function("mail", '{"to": ["a", "b"], "x": {"y": 1}}')), [("mail", "a\nb\n1", {"to": "a\nb", "x.y": 1})]),
    (_calls(_function("mail", '{"to": [{"name": "a"}, ["b", null]]}')), [("mail", "a\nb", {"to": "a\nb"})]),
    (_calls(_function("mail", '{"to": null}')), [("mail", "", {})]),
    (_calls(_function("mail", "")), [("mail", "", {})]),
    (_calls(_function("mail", None)), [("mail", "", {})]),
    (_calls(_function("bash", "rm -rf /")), [("bash", "rm -rf /", {})]),
    (_calls(_function("bash", '["rm", "-rf"]')), [("bash", "rm\n-rf", {})]),
    (_calls(_function("bash", '{"n": NaN}')), [("bash", '{"n": NaN}', {})]),
    (_calls(_function("count", '{"n": 1' + "0" * 400 + "}")), [("count", "1" + "0" * 400, {"n": "1" + "0" * 400})]),
    (
        _calls(_function("a", "{}"), _function("b", "{}"), content="Wait."),
        [("", "Wait.", {}), ("a", "", {}), ("b", "", {})],
    ),
    (_calls(_function("a", "{}"), content=""), [("a", "", {})]),
    (
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "First."},
                {"type": "tool_use", "id": "t", "name": "refund", "input": {"amount": 3}},
            ],
        },
        [("", "First.", {}), ("refund", "3", {"amount": 3})],
    ),
]


@pytest.mark.parametrize(("message", "expected"), TOOL_CALLS)
def test_tool_calls_become_events(tmp_path, message, expected):
    path = _write(tmp_path, "log.jsonl", {"messages": [{"role": "user", "content": "hi"}, message]})
    read = read_transcripts(path)
    assert read.problems == ()
    _, *found = read.traces[0].messages
    assert [(m.tool, m.content, dict(m.arguments)) for m in found] == expected
    assert all(m.role == "assistant" and m.kind == ("call" if m.tool else "message") for m in found)
    assert read.traces[0].response is None or found[-1].tool == ""


def test_outputs_know_the_tool_of_their_call(tmp_path):
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "three"}]}
    messages = [
        _calls(_function("search", "{}", id="c1"), _function("mail", "{}", id="c2")),
        {"role": "tool", "tool_call_id": "c2", "content": "sent"},
        {"role": "tool", "name": "search", "content": "found"},
        {"role": "tool", "content": "whose?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "count", "input": {}}]},
        {"role": "user", "content": [result, {"type": "text", "text": "And now?"}]},
    ]
    [trace] = read_transcripts(_write(tmp_path, "log.jsonl", {"messages": messages})).traces
    assert [(m.kind, m.tool, m.content) for m in trace.messages[2:]] == [
        ("output", "mail", "sent"),
        ("output", "search", "found"),
        ("output", "", "whose?"),
        ("call", "count", ""),
        ("output", "count", "three"),
        ("message", "", "And now?"),
    ]


@pytest.mark.parametrize(
    ("message", "words"),
    [
        (_calls({"id": "1"}), "message 1 calls a tool without a name"),
        (_calls(_function("", "{}")), "without a name"),
        (_calls("refund"), "a tool call that is not an object"),
        ({"role": "assistant", "content": None, "tool_calls": {"name": "x"}}, "is not a list"),
        ({"role": "user", "content": "x", "tool_calls": [_function("a", "{}")]}, "who calls no tools"),
        (_calls(_function("a", '{"x.y": 1, "x": {"y": 2}}')), "gives `x.y` twice"),
        (_calls(_function("a", '{"x": "\\ud800"}')), "half a surrogate pair"),
        (_calls(_function("a", '{"x": ' * 400 + "1" + "}" * 400)), None),
        ({"role": "user", "content": [{"type": "tool_use", "name": "a"}]}, "a part of the type `tool_use`"),
    ],
)
def test_a_call_that_cannot_be_read_is_named(tmp_path, message, words):
    read = read_transcripts(_write(tmp_path, "log.jsonl", {"messages": [message]}, CHAT))
    if words is None:  # deep, yet readable
        assert len(read.traces) == 2
        return
    assert len(read.traces) == 1
    assert words in read.problems[0].message


def test_facts_of_the_user_the_session_and_the_request(tmp_path):
    path = tmp_path / "rows.jsonl"
    row = {
        "prompt": "a",
        "response": "b",
        "user": {"vip": True, "plan": {"name": "x"}},
        "session.region": "eu",
        "request": 3,
    }
    path.write_text(json.dumps(row), encoding="utf-8")
    (trace,) = read_transcripts(path).traces
    expected = {"user.vip": True, "user.plan.name": "x", "session.region": "eu", "meta.request": 3}
    assert dict(trace.facts) == expected
    table = tmp_path / "rows.csv"
    table.write_text("prompt,response,user.vip,topic\na,b,true,x\n", encoding="utf-8")
    assert dict(read_transcripts(table).traces[0].facts) == {"user.vip": "true", "meta.topic": "x"}
