"""Logs of Inspect: what is read of them, what is left out and named, and the logs that an audit is written as."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bylaw.compiler.evaluate import TermScore
from bylaw.compiler.pipeline import compile_file, compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.audit import audit, score
from bylaw.runtime.audit.inspect_export import ExportError, write_inspect_log
from bylaw.runtime.audit.prompts import prompts_of
from bylaw.runtime.audit.transcripts import Limits, TranscriptError, read_prompts, read_transcripts
from bylaw.runtime.cli import main
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

ROOT = Path(__file__).resolve().parents[1]
REAL = ROOT.parent / "shared" / "data" / "inspect_logs"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ABOUT = {"task": "trains", "model": "invented/model", "config": {}}
SAID = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


def sample(name: object = "a", epoch: int = 1, **rest: object) -> dict[str, object]:
    return {"id": name, "epoch": epoch, "input": "hi", "target": "t", "messages": SAID, **rest}


def log(folder: Path, *samples: object, name: str = "log.eval", **header: object) -> Path:
    """A log with these samples, in the form that its name asks for."""
    head = {"version": 2, "status": "success", "eval": ABOUT, **header}
    path = folder / name
    if name.endswith(".json"):
        path.write_text(json.dumps({**head, "samples": samples}), encoding="utf-8")
        return path
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps(head))
        for each in samples:
            archive.writestr(f"samples/{each['id']}_epoch_{each['epoch']}.json", json.dumps(each))  # type: ignore[index]
    return path


def _frames(arrow: Any, data: bytes) -> bytes:
    """The data in two frames, as programs write that pack in pieces."""
    half = len(data) // 2
    return b"".join(arrow.compress(part, codec="zstd", asbytes=True) for part in (data[:half], data[half:]))


def pack_with_zstandard(path: Path) -> Path:
    """Packs every member anew as current versions of Inspect do, by a method that `zipfile` does not know."""
    arrow = pytest.importorskip("pyarrow")
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    out = path.with_suffix(".tmp")
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(name, _frames(arrow, data))
        infos = {info.filename: info for info in archive.infolist()}
    data = bytearray(out.read_bytes())
    for name, info in infos.items():
        central = data.index(b"PK\x01\x02", info.header_offset)
        while data[central + 46 : central + 46 + len(name.encode())] != name.encode():
            central = data.index(b"PK\x01\x02", central + 4)
        for start, method, total in ((info.header_offset, 8, 14), (central, 10, 16)):
            struct.pack_into("<H", data, start + method, 93)
            struct.pack_into("<I", data, start + total, zlib.crc32(members[name]))
            struct.pack_into("<I", data, start + total + 8, len(members[name]))
    path.write_bytes(data)
    return path


# ------------------------------------------------------------------------------------------------------------ reading
@pytest.mark.skipif(not REAL.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_real_logs_of_both_forms_say_the_same():
    packed, plain = (read_transcripts(REAL / f"log_formats.{form}") for form in ("eval", "json"))
    assert packed == plain
    [trace] = packed.traces
    assert (trace.id, trace.response, packed.problems) == ("1", "No", ())
    assert [m.role for m in trace.messages] == ["system", "user", "assistant"]
    assert dict(trace.facts) == {
        "meta.label_confidence": 0.8860552919198255,
        "meta.inspect.task": "popularity",
        "meta.inspect.model": "ollama/llama3.1",
        "meta.inspect.status": "success",
        "meta.inspect.sample": "1",
        "meta.inspect.epoch": 1,
        "meta.inspect.target": " Yes",
        "meta.inspect.scores.match": "I",
    }
    [prompt] = read_prompts(REAL / "log_formats.eval").traces
    assert (prompt.response, prompt.text("prompt")) == (None, trace.text("prompt"))


@pytest.mark.parametrize("name", ["log.eval", "log.json"])
def test_epochs_facts_and_scores(tmp_path, name):
    first = sample("s2", 1, metadata={"topic": "x", "user": {"vip": True}}, scores={"m": {"value": math.nan}})
    again = sample("s2", 2, scores={"m": {"value": 0.5}, "n": {"value": "C"}}, error={"message": "lost"})
    read = read_transcripts(
        log(tmp_path, first, sample("s10"), again, name=name, eval={**ABOUT, "config": {"epochs": 2}})
    )
    by_id = {trace.id: trace for trace in read.traces}
    assert list(by_id) == ["s2_epoch_1", "s10_epoch_1", "s2_epoch_2"]
    assert by_id["s2_epoch_1"].facts["meta.topic"] == "x"
    assert by_id["s2_epoch_1"].facts["user.vip"] is True
    assert "meta.inspect.scores.m" not in by_id["s2_epoch_1"].facts
    later = by_id["s2_epoch_2"].facts
    assert (later["meta.inspect.scores.m"], later["meta.inspect.scores.n"]) == (0.5, "C")
    assert (later["meta.inspect.error"], later["meta.inspect.epoch"]) == ("lost", 2)
    assert prompts_of(read.traces) == ["hi"] * 3
    assert read.problems == ()


MESSAGES = [
    (  # a call and its output know each other by the id
        [
            {
                "role": "assistant",
                "content": [{"type": "reasoning", "reasoning": "secret"}, {"type": "text", "text": "Wait."}],
                "tool_calls": [{"id": "1", "function": "add", "arguments": {"x": 1, "y": {"z": 2}}}],
            },
            {"role": "tool", "tool_call_id": "1", "content": "3"},
        ],
        [("message", "", "Wait."), ("call", "add", "1\n2"), ("output", "add", "3")],
    ),
    (  # what a model is told of a call that failed is the error
        [{"role": "tool", "function": "add", "content": "", "error": {"type": "timeout", "message": "too slow"}}],
        [("output", "add", "too slow")],
    ),
    (  # a tool that ran at the maker of the model
        [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Looking."},
                    {"type": "tool_use", "tool_type": "web_search", "id": "w", "name": "search",
                     "arguments": '{"q": "trains"}', "result": "none", "error": None},
                    {"type": "text", "text": "There is none."},
                ],
            }
        ],
        [("message", "", "Looking."), ("call", "search", "trains"), ("output", "search", "none"),
         ("message", "", "There is none.")],
    ),
    ([{"role": "assistant", "content": "attachment://0af"}], [("message", "", "a long text")]),
]  # fmt: skip


@pytest.mark.parametrize(("said", "expected"), MESSAGES)
def test_messages_become_events(tmp_path, said, expected):
    given = sample(messages=[SAID[0], *said], attachments={"0af": "a long text"})
    read = read_transcripts(log(tmp_path, given))
    assert read.problems == ()
    assert [(m.kind, m.tool, m.content) for m in read.traces[0].messages[1:]] == expected


def test_a_log_without_conversations_has_what_went_in_and_came_out(tmp_path):
    given = sample(messages=[], output={"choices": [{"message": {"role": "assistant", "content": "hello"}}]})
    assert [m.content for m in read_transcripts(log(tmp_path, given)).traces[0].messages] == ["hi", "hello"]


BAD = [
    (sample("bad", messages=[{"role": "user", "content": [{"type": "image", "image": "x"}]}]), "the type `image`"),
    (sample("bad", messages=[{"role": "assistant", "content": "attachment://0"}]), "`attachment://0` that a message"),
    (sample("bad", invalidation={"author": "x"}), "it is marked as invalid"),
    (sample("bad", messages=[], input=None), "it has no messages"),
    (sample("bad", messages=[3]), "message 1 is not an object"),
    (sample(True), "it has no `id`"),
    (sample("bad", metadata={"tags": ["x"]}), "`meta.tags` is a list"),
    (sample("bad", metadata={"inspect": {"epoch": 7}}), "`meta.inspect.epoch` is given twice"),
]


@pytest.mark.parametrize("form", ["eval", "json"])
@pytest.mark.parametrize(("bad", "words"), BAD)
def test_a_bad_sample_is_named_and_the_rest_is_read(tmp_path, form, bad, words):
    read = read_transcripts(log(tmp_path, sample("a"), bad, name=f"log.{form}"))
    assert "a" in [trace.id for trace in read.traces]
    [problem] = read.problems
    assert words in problem.message
    assert f"the sample `{bad['id']}`, epoch 1" in problem.message


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"status": "cancelled"}, "did not finish (status `cancelled`)"),
        ({"eval": {**ABOUT, "shards": {"selection": "ids"}}}, "lie in other logs"),
        ({"results": {"completed_samples": 4}}, "the log counts 4 samples, and holds 1"),
    ],
)
def test_what_a_log_lacks_is_said(tmp_path, header, words):
    read = read_transcripts(log(tmp_path, sample(), **header))
    assert len(read.traces) == 1
    assert words in read.problems[0].message


def test_a_log_that_was_not_finished_is_read_from_its_journal(tmp_path):
    path = tmp_path / "log.eval"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_journal/start.json", json.dumps({"version": 2, "eval": ABOUT}))
        archive.writestr("samples/a_epoch_1.json", json.dumps(sample()))
    read = read_transcripts(path)
    assert read.traces[0].facts["meta.inspect.status"] == "started"
    assert "status `started`" in read.problems[0].message


def test_a_sample_that_is_stored_in_pieces(tmp_path):
    path = log(tmp_path)
    shell = {key: value for key, value in sample("in/pieces").items() if key != "messages"}
    pool = [{"role": "system", "content": "unused"}, SAID[0], {"role": "assistant", "content": "attachment://1"}]
    with zipfile.ZipFile(path, "a") as archive:
        folder = "samples/in/pieces_epoch_1"
        archive.writestr(f"{folder}/sample.json", json.dumps({**shell, "message_refs": [[1, 3]]}))
        archive.writestr(f"{folder}/metadata.json", json.dumps({"topic": "x"}))
        archive.writestr(f"{folder}/messages/2.json", json.dumps(pool[2:]))
        archive.writestr(f"{folder}/messages/0.json", json.dumps(pool[:2]))
        archive.writestr(f"{folder}/attachments/0.json", json.dumps(["other", "a long text"]))
        archive.writestr("samples/b_epoch_1/sample.json", json.dumps({**shell, "message_refs": [[0, 1]]}))
        archive.writestr("samples/c_epoch_1/sample.json", json.dumps(shell))
        archive.writestr("samples/c_epoch_1/messages/1.json", json.dumps(pool))
    read = read_transcripts(path)
    [trace] = read.traces
    assert (trace.id, trace.response, trace.facts["meta.topic"]) == ("in/pieces", "a long text", "x")
    assert [problem.message.partition(": ")[2] for problem in read.problems] == [
        "its list of messages is damaged",
        "a piece is missing before `samples/c_epoch_1/messages/1.json`",
    ]


# ------------------------------------------------------------------------------------------------------------- limits
@pytest.mark.parametrize("packed_anew", [False, True], ids=["deflate", "zstandard"])
def test_a_member_that_unpacks_to_too_much_is_left_out(tmp_path, packed_anew):
    huge = sample("b", store={"x": "0" * 3_000_000})
    path = log(tmp_path, sample("a"), huge, sample("c"))
    if packed_anew:
        pack_with_zstandard(path)
    assert path.stat().st_size < 20_000
    read = read_transcripts(path, limits=Limits(sample_bytes=1_000_000))
    assert [trace.id for trace in read.traces] == ["a", "c"]
    assert "it unpacks to more than 1,000,000 bytes" in read.problems[0].message
    with pytest.raises(TranscriptError, match="unpacks to more than 2,000,000 bytes; split it"):
        read_transcripts(path, limits=Limits(file_bytes=2_000_000))
    assert len(read_transcripts(path).traces) == 3


def test_a_packed_log_of_current_versions_says_the_same(tmp_path):
    path = log(tmp_path, sample("a"), sample("ü/b", 2))
    before = read_transcripts(path)
    assert read_transcripts(pack_with_zstandard(path)) == before


def test_a_member_that_is_damaged_is_named(tmp_path):
    path = log(tmp_path, sample("a"), sample("b", store={"x": "y" * 100}))
    data = bytearray(pack_with_zstandard(path).read_bytes())
    central = data.rindex(b"PK\x01\x02")
    struct.pack_into("<I", data, central + 16, 7)
    path.write_bytes(data)
    [problem] = read_transcripts(path).problems
    assert "it is damaged: its checksum is wrong" in problem.message


@pytest.mark.parametrize(
    ("offset", "value", "words"),
    [(8, 1, "it is encrypted"), (10, 12, "packed by the method 12"), (42, 90_000, "it is damaged: ")],
)
def test_a_member_that_cannot_be_unpacked_is_named(tmp_path, offset, value, words):
    path = log(tmp_path, sample("a"), sample("b"))
    data = bytearray(path.read_bytes())
    struct.pack_into("<H" if offset < 40 else "<I", data, data.rindex(b"PK\x01\x02") + offset, value)
    path.write_bytes(data)
    read = read_transcripts(path)
    assert [trace.id for trace in read.traces] == ["a"]
    assert words in read.problems[0].message


def test_without_a_library_for_its_packing_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = pack_with_zstandard(log(tmp_path, sample()))
    for name in ("compression.zstd", "pyarrow", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(TranscriptError, match=r"packed with Zstandard, .* pip install '\.\[parquet\]'"):
        read_transcripts(path)


def test_a_list_of_members_that_is_too_long_is_not_read(tmp_path):
    path = log(tmp_path, sample())
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, data.rindex(b"PK\x05\x06") + 12, 200_000_000)
    path.write_bytes(data)
    with pytest.raises(TranscriptError, match="lists too many parts"):
        read_transcripts(path)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("log.eval", b"PK\x03\x04 cut", "is no zip archive, or it was not written to its end"),
        ("log.eval", b"", "is no zip archive"),
        ("log.json", b'{"eval": {}, "samples": [', "it is not JSON"),
        ("log.json", b"[" * 200_000, "nested too deeply"),
        ("log.json", b'[{"messages": []}]', "conversations of other makers are read from JSON Lines"),
        ("log.json", b"\xff", "it is not UTF-8 text"),
        ("log.json", b'{"eval": {}, "status": "success"}', "there is no transcript"),
        ("log.json", b"{" + b" " * 2_000, "`.eval`, to which `inspect log convert` turns it"),
    ],
)
def test_what_is_no_log_is_refused(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TranscriptError) as caught:
        read_transcripts(tmp_path / name, limits=Limits(sample_bytes=1_000 if b"  " in data else 1_000_000))
    assert words in str(caught.value)


@pytest.mark.parametrize("packed_anew", [False, True], ids=["deflate", "zstandard"])
def test_any_damage_is_a_problem_or_a_refusal(tmp_path, packed_anew):
    """400 damaged copies of a log, seeds 0 to 399; every sample that is read is one that was written."""
    path = log(tmp_path, *(sample(f"s{number}") for number in range(3)))
    data = (pack_with_zstandard(path) if packed_anew else path).read_bytes()
    whole = {trace.id: trace.messages for trace in read_transcripts(path).traces}
    refused = 0
    for seed in range(400):
        chance = random.Random(seed)
        changed = bytearray(data[: chance.randrange(len(data))] if seed % 4 == 0 else data)
        for _ in range(chance.randint(1, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path.write_bytes(changed)
        try:
            read = read_transcripts(path, limits=Limits(sample_bytes=1_000_000))
        except TranscriptError:
            refused += 1
            continue
        assert all(whole[trace.id] == trace.messages for trace in read.traces)
    assert 100 <= refused < 400


# ------------------------------------------------------------------------------------------------------------ writing
POLICY = Source.of(
    "rules.bylaw",
    """policy hut.desk version "2.0.0" edition 1
rule clean { must not contain "bad" unless meta.topic contains "quotes" }
rule vip { when user.plan contains "gold" must contain "dear" }
rule seldom { limit response contains "sorry" to at most 30% }
rule brief { prefer lower number of words in response weight 0.1 }
""",
)
CALL = Message("assistant", "Ann\n3", "book", (("to.name", "Ann"), ("seats", 3)))
TRACES = (
    Trace((Message("user", "hi"), Message("assistant", "a bad ü one")), {"meta.topic": "x"}, "one"),
    Trace(
        (Message("user", "hi"), Message("assistant", "sorry")),
        {"meta.n": 2, "meta.topic": "y", "user.plan": "basic"},
        "one",
    ),
    Trace((Message("user", "other"), Message("assistant", "bad")), {"meta.topic": "quotes"}, "one"),
    Trace(
        (
            Message("developer", "be kind"),
            Message("user", "book"),
            Message("assistant", "Wait."),
            CALL,
            CALL,
            Message("tool", "full", "book"),
            Message("tool", "done", "book"),
            Message("assistant", ""),
            Message("tool", "whose?"),
        ),
        {"session.flag": True},
        "folder/log.jsonl:7",
    ),
    Trace((Message("user", "hi"), Message("assistant", "half \ud800")), {}, "a\0b"),
)


def written(folder: Path, name: str, traces: tuple[Trace, ...] = TRACES) -> Path:
    compiled = compile_source(POLICY)
    program = compiled.require()
    record = audit(program, traces, source="answers.jsonl", policy=compiled.source)
    return write_inspect_log(record, traces, scored(program, traces), folder / name, created=NOW)


def scored(program: RewardProgram, traces: Iterable[Trace]) -> Iterator[tuple[Trace, list[TermScore]]]:
    return ((trace, [score(term, trace) for term in program.terms]) for trace in traces)


@pytest.mark.parametrize("name", ["log.eval", "log.json"])
def test_an_audit_that_is_written_reads_back_as_its_transcripts(tmp_path, name):
    read = read_transcripts(written(tmp_path, name))
    assert read.problems == ()
    own = {path for trace in read.traces for path in trace.facts if path.startswith("meta.inspect.")}
    assert own >= {"meta.inspect.scores.clean", "meta.inspect.sample"}
    back = {trace.id: trace for trace in read.traces}
    names = ["one_epoch_1", "one_epoch_2", "one (2)_epoch_1", "folder/log.jsonl:7_epoch_1", "a_b_epoch_1"]
    assert set(back) == set(names)
    for trace, found in zip(TRACES[:4], names, strict=False):
        assert back[found].messages == trace.messages
        facts = back[found].facts.items()
        assert {path: value for path, value in facts if not path.startswith("meta.inspect.")} == dict(trace.facts)
    assert back["a_b_epoch_1"].response == "half ?"
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_both_forms_hold_the_same_samples_and_equal_audits_are_equal_bytes(tmp_path):
    plain = json.loads(written(tmp_path, "log.json").read_bytes())
    first = written(tmp_path, "log.eval").read_bytes()
    assert written(tmp_path, "log.eval").read_bytes() == first
    with zipfile.ZipFile(tmp_path / "log.eval") as archive:
        for each in plain.pop("samples"):
            stored = archive.read(f"samples/{each['id']}_epoch_{each['epoch']}.json")
            assert json.dumps(json.loads(stored)) == json.dumps(each)  # as texts: NaN is not equal to itself
        assert json.loads(archive.read("header.json")) == plain
        assert len(json.loads(archive.read("summaries.json"))) == len(TRACES)


def test_verdicts_and_rates_stand_in_the_log(tmp_path):
    found = json.loads(written(tmp_path, "log.json").read_bytes())
    broken, _, quoted, unanswered, _ = (each["scores"] for each in found["samples"])
    assert broken["clean"]["value"] == "I"
    assert broken["clean"]["explanation"] == "violated: bad"
    assert broken["clean"]["metadata"]["spans"] == [[2, 5]]
    assert broken["clean"]["metadata"]["location"].startswith("rules.bylaw:2:")
    assert broken["brief"]["value"] == 4
    assert math.isnan(quoted["clean"]["value"])
    assert quoted["clean"]["reason"] == "not applicable"
    assert math.isnan(unanswered["clean"]["value"])
    assert unanswered["clean"]["metadata"]["verdict"] == "unscored"
    assert found["samples"][0]["events"][0]["data"]["violated"] == ["clean: bad"]
    clean, _, seldom, brief = found["results"]["scores"]
    assert clean["metrics"]["violation_rate"]["value"] == 0.5
    assert (clean["scored_samples"], clean["unscored_samples"]) == (2, 3)
    assert seldom["metrics"]["bound"]["value"] == 0.3
    assert seldom["metrics"]["interval_low"]["value"] < 0.25 < seldom["metrics"]["interval_high"]["value"]
    assert set(brief["metrics"]) == {"mean", "interval_low", "interval_high"}


@pytest.mark.skipif(not REAL.is_dir(), reason="the public data lies in shared/data beside the checkout")
def test_what_is_written_has_the_shape_of_real_logs(tmp_path):
    """Wherever a real log has a key that ours has, the value is of the same kind; and ours lacks no key without which
    a log is none: those that every version since has required."""
    real = json.loads((REAL / "log_formats.json").read_bytes())
    ours = json.loads(written(tmp_path, "log.json").read_bytes())
    assert _unlike(real, ours, "") == []
    assert {"version", "status", "eval", "plan", "results", "stats", "samples"} <= set(ours) & set(real)
    assert {"run_id", "created", "task", "task_id", "dataset", "model", "config"} <= set(ours["eval"])
    assert {"id", "epoch", "input", "target", "messages", "output", "scores", "metadata"} <= set(ours["samples"][0])
    with zipfile.ZipFile(REAL / "log_formats.eval") as theirs, zipfile.ZipFile(written(tmp_path, "a.eval")) as mine:
        needed = {name for name in theirs.namelist() if not name.startswith("samples/")} - {"reductions.json"}
        assert needed <= set(mine.namelist())
        assert _unlike(json.loads(theirs.read("summaries.json")), json.loads(mine.read("summaries.json")), "") == []


def _unlike(real: object, ours: object, place: str) -> list[str]:
    free = ("/metadata", "/params", "/value", "/id", "/config", "/packages", "/answer", "/input", "/task_version")
    if place.endswith(free):
        return []
    if isinstance(real, dict) and isinstance(ours, dict):
        return [each for key in real.keys() & ours.keys() for each in _unlike(real[key], ours[key], f"{place}/{key}")]
    if isinstance(real, list) and isinstance(ours, list):
        return [each for item in ours[:2] if real for each in _unlike(real[0], item, f"{place}/0")]
    kinds = [float if isinstance(each, int) and not isinstance(each, bool) else type(each) for each in (real, ours)]
    return [] if kinds[0] is kinds[1] else [place]


def test_the_library_of_inspect_reads_what_is_written(tmp_path):
    library = pytest.importorskip("inspect_ai.log", reason="inspect_ai is not installed")
    for name in ("log.eval", "log.json"):
        found = library.read_eval_log(str(written(tmp_path, name)))
        assert (found.status, len(found.samples), found.eval.task) == ("success", len(TRACES), "hut.desk")
        assert found.results.scores[0].metrics["violation_rate"].value == 0.5
        again = library.read_eval_log_sample(str(tmp_path / name), id="one", epoch=2)
        assert again.messages[-1].text == "sorry"
        assert len(library.read_eval_log_sample_summaries(str(tmp_path / name))) == len(TRACES)


def test_scores_and_epochs_of_a_log_survive_an_audit(tmp_path):
    given = [sample("s", 1, scores={"m": {"value": 1}}), sample("s", 2, error={"message": "lost"})]
    traces = read_transcripts(log(tmp_path, *given, eval={**ABOUT, "config": {"epochs": 2}})).traces
    back = read_transcripts(written(tmp_path, "out.eval", traces)).traces
    assert [trace.id for trace in back] == ["s_epoch_1", "s_epoch_2"]
    assert back[0].facts["meta.inspect.scores.m"] == 1
    assert back[1].facts["meta.inspect.error"] == "lost"
    assert back[0].facts["meta.inspect.model"] == "invented/model"


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path):
    with pytest.raises(ExportError, match=r"ends in neither `\.eval` nor `\.json`"):
        written(tmp_path, "log.zip")
    with pytest.raises(ExportError, match="cannot be written"):
        written(tmp_path / "missing", "log.eval")
    compiled = compile_source(POLICY)
    record = audit(compiled.require(), TRACES, source="x", policy=compiled.source)
    for wrong in ([], list(scored(compiled.require(), TRACES))[:-1], [(trace, []) for trace in TRACES]):
        with pytest.raises(ValueError, match=r"zip\(\) argument 2 is shorter"):
            write_inspect_log(record, TRACES, wrong, tmp_path / "log.eval", created=NOW)
    assert list(tmp_path.iterdir()) == []


def test_the_agents_of_the_example_survive_the_way_there_and_back(tmp_path):
    example = ROOT / "examples" / "agents"
    compiled = compile_file(example / "rules.bylaw")
    program = compiled.require()
    traces = read_transcripts(example / "transcripts.jsonl").traces
    record = audit(program, traces, source="transcripts.jsonl", policy=compiled.source)
    place = write_inspect_log(record, traces, scored(program, traces), tmp_path / "log.eval", created=NOW)
    back = read_transcripts(place).traces
    assert [trace.messages for trace in back] == [trace.messages for trace in traces]
    again = audit(program, back, source="transcripts.jsonl", policy=compiled.source)
    assert again == record


# --------------------------------------------------------------------------------------------- `bylaw audit --report`
READER = """
import json, sys
from inspect_ai.log import read_eval_log, read_eval_log_sample_summaries

log = read_eval_log(sys.argv[1])
print(json.dumps({
    "status": log.status, "task": log.eval.task, "model": log.eval.model,
    "texts": [sample.messages[-1].text for sample in log.samples],
    "values": [{name: str(score.value) for name, score in sample.scores.items()} for sample in log.samples],
    "rates": {score.name: {name: each.value for name, each in score.metrics.items()} for score in log.results.scores},
    "summaries": len(read_eval_log_sample_summaries(sys.argv[1])),
}))
"""


DESK = """policy hut.desk version "1.0.0" edition 1
rule clean at user { must not contain "bad" }
rule guests at user { when meta.guest must contain "please" }
"""
DESK_ANSWERS = [
    {"prompt": f"Is it {n}?", "response": "bad \x1b[0m news" if n % 3 else "good", "model": "hut-1"} for n in range(7)
]


def reported(folder: Path, name: str) -> Result:
    """`bylaw audit --report inspect`, into this folder below."""
    rules, answers = folder / "rules.bylaw", folder / "answers.jsonl"
    rules.write_text(DESK)
    answers.write_text("".join(json.dumps(each) + "\n" for each in DESK_ANSWERS))
    return CliRunner().invoke(
        main, ["audit", str(rules), str(answers), "--report", "inspect", "--out", f"{folder / name}"]
    )


def test_equal_audits_are_equal_logs_and_a_time_is_said_from_outside(tmp_path, monkeypatch):
    found = []
    for name, moment in (("a", ""), ("b", ""), ("c", "1800000000")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", moment)
        assert reported(tmp_path, name).exit_code == 0
        assert sorted(each.name for each in (tmp_path / name).iterdir()) == ["audit.eval", "summary.json"]
        found.append((tmp_path / name / "audit.eval").read_bytes())
    assert found[0] == found[1] != found[2]
    back = read_transcripts(tmp_path / "a" / "audit.eval").traces
    assert [trace.response for trace in back] == [each["response"] for each in DESK_ANSWERS]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    done = reported(tmp_path, "none")
    assert (done.exit_code, "write seconds since 1970" in " ".join(done.stderr.split())) == (2, True)
    assert list(tmp_path.glob("none/*")) == []


INSPECT = os.environ.get("INSPECT_PYTHON") or (sys.executable if importlib.util.find_spec("inspect_ai") else None)
"""A Python with Inspect's own library, where there is one."""


@pytest.mark.skipif(INSPECT is None, reason="inspect_ai is not installed (INSPECT_PYTHON names a Python that has it)")
def test_a_report_for_inspect_is_opened_by_its_library(tmp_path):
    assert INSPECT is not None
    reported(tmp_path, "a")
    place = str(tmp_path / "a" / "audit.eval")
    done = subprocess.run([INSPECT, "-c", READER, place], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert (data["status"], data["task"], data["model"], data["summaries"]) == ("success", "hut.desk", "hut-1", 7)
    assert data["texts"] == [each["response"] for each in DESK_ANSWERS]
    assert (data["rates"]["clean"]["violation_rate"], data["rates"]["guests"]) == (pytest.approx(4 / 7), {})
    assert [each["clean"] for each in data["values"]] == ["I" if n % 3 else "C" for n in range(7)]


def test_a_log_is_written_from_transcripts_that_are_read_again_one_by_one(tmp_path):
    """No list of the texts is needed: they may be in a file that is gone through for each pass."""

    class Again:
        passes = 0

        def __iter__(self) -> Iterator[Trace]:
            self.passes += 1
            return iter(TRACES)

    again, compiled = Again(), compile_source(POLICY)
    program = compiled.require()
    record = audit(program, TRACES, source="answers.jsonl", policy=compiled.source)
    place = write_inspect_log(record, again, scored(program, again), tmp_path / "a.eval", created=NOW)  # type: ignore[arg-type]
    assert again.passes == 2
    assert place.read_bytes() == written(tmp_path, "b.eval").read_bytes()
