"""Tables of Parquet and folders of files as transcripts: the same conversations as from JSON Lines, and what is said
of the rest."""

from __future__ import annotations

import csv
import importlib
import json
import os
import random
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bylaw.runtime.audit.transcripts import ColumnNames, Limits, TranscriptError, read_prompts, read_transcripts
from bylaw.runtime.cli import main

XSTEST = Path(__file__).resolve().parents[2] / "shared" / "data" / "xstest" / "gpt4.csv"
CHAT = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]


@pytest.fixture(scope="module")
def arrow() -> Any:
    pytest.importorskip("pyarrow.parquet", reason="pyarrow, of the extra `parquet`, is not installed")
    return importlib.import_module("pyarrow")


def table(arrow: Any, path: Path, columns: dict[str, Any], **options: Any) -> Path:
    importlib.import_module("pyarrow.parquet").write_table(arrow.table(columns), path, **options)
    return path


# ------------------------------------------------------------------------------------------------------------ Parquet
def test_rows_say_what_the_same_lines_of_json_say(arrow, tmp_path):
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
    rows = [
        {"id": "a", "messages": CHAT, "meta": {"topic": "x", "n": 2}, "score": 0.5},
        {
            "id": None,
            "messages": [
                {"role": "user", "content": "add"},
                {"role": "assistant", "content": "", "tool_calls": [call]},
                {"role": "tool", "content": "1", "tool_call_id": "1"},
            ],
            "meta": {"topic": None, "n": 3},
            "score": float("nan"),
        },
    ]
    path = table(arrow, tmp_path / "log.parquet", {key: [row[key] for row in rows] for key in rows[0]})
    read = read_transcripts(path)
    lines = tmp_path / "log.jsonl"
    rows[1]["score"] = None
    lines.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    expected = read_transcripts(lines).traces
    assert [(t.messages, dict(t.facts)) for t in read.traces] == [(t.messages, dict(t.facts)) for t in expected]
    assert [t.id for t in read.traces] == ["a", "log.parquet:2"]
    assert read.problems == ()


def test_columns_of_text_and_facts_of_all_kinds(arrow, tmp_path):
    columns = {
        "prompt": ["hi", "ho"],
        "answer": arrow.array(["one", "two"]).dictionary_encode(),
        "system": [None, "be kind"],
        "id": [7, None],
        "day": [date(2026, 1, 2), None],
        "at": [datetime(2026, 1, 2, 3, tzinfo=UTC), None],
        "price": [Decimal("1.25"), None],
        "sure": [True, False],
        "user": [{"vip": True}, {"vip": None}],
        "tags": [["x"], []],
        "raw": [b"x", b"y"],
    }
    path = table(arrow, tmp_path / "log.parquet", columns)
    read = read_transcripts(path, columns=ColumnNames(response="answer"))
    first, second = read.traces
    assert (first.id, first.response, second.id) == ("7", "one", "log.parquet:2")
    assert [m.role for m in first.messages] == ["user", "assistant"]
    assert second.text("system") == "be kind"
    assert dict(first.facts) == {
        "meta.id": 7,
        "meta.day": "2026-01-02",
        "meta.at": "2026-01-02T03:00:00+00:00",
        "meta.price": 1.25,
        "meta.sure": True,
        "user.vip": True,
    }
    assert dict(second.facts) == {"meta.sure": False}
    assert [(p.line, p.message) for p in read.problems] == [
        (1, "the column `tags` holds lists and was left out"),
        (1, "the column `raw` holds bytes and was left out"),
    ]
    prompts = read_prompts(path, columns=ColumnNames(response="answer")).traces
    assert [(t.text("prompt"), t.response) for t in prompts] == [("hi", None), ("ho", None)]


def test_a_row_that_lacks_a_text_is_named_and_the_rest_is_read(arrow, tmp_path):
    columns = {"prompt": ["a", None, "b" * 5_000, "c"], "response": ["x", "y", "z", None]}
    read = read_transcripts(table(arrow, tmp_path / "log.parquet", columns), limits=Limits(line_bytes=1_000))
    assert [t.text("prompt") for t in read.traces] == ["a"]
    assert [(p.line, p.message) for p in read.problems] == [
        (2, "`prompt` is missing in this row"),
        (3, "the row is longer than 1,000 bytes"),
        (4, "`response` is missing in this row"),
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"prompts": ["a"], "response": ["b"]}, "no column `prompt`; its columns are `prompts`, `response`; did you"),
        ({"prompt": ["a"]}, "no column `response`"),
        ({"prompt": [3], "response": ["b"]}, "line 1: `prompt` is not a text"),
        ({"prompt": [], "response": []}, "it is empty"),
        ({"messages": [[]]}, "`messages` is not a list of messages, or it is empty"),
    ],
)
def test_a_table_that_holds_no_conversation_is_refused(arrow, tmp_path, columns, words):
    with pytest.raises(TranscriptError) as caught:
        read_transcripts(table(arrow, tmp_path / "log.parquet", columns))
    assert words in str(caught.value)


def test_a_named_system_column_may_be_empty_but_has_to_be_there(arrow, tmp_path):
    path = table(arrow, tmp_path / "log.parquet", {"prompt": ["a"], "response": ["b"], "role": [None], "system": ["s"]})
    [trace] = read_transcripts(path, columns=ColumnNames(system="role")).traces
    assert (trace.text("system"), dict(trace.facts)) == ("", {"meta.system": "s"})
    with pytest.raises(TranscriptError, match="no column `setting`"):
        read_transcripts(path, columns=ColumnNames(system="setting"))


def test_a_small_table_that_stands_for_much_text_is_refused(arrow, tmp_path):
    """The same text a thousand times is stored once, and counted as often as it is said."""
    path = table(arrow, tmp_path / "log.parquet", {"prompt": ["a"] * 1_000, "response": ["b" * 100_000] * 1_000})
    assert path.stat().st_size < 20_000
    with pytest.raises(TranscriptError, match="holds more than 50,000,000 bytes of text; split it"):
        read_transcripts(path, limits=Limits(file_bytes=50_000_000))
    rows = {"prompt": [f"{n:0500}" for n in range(2_000)], "response": ["b"] * 2_000}
    path = table(arrow, tmp_path / "log.parquet", rows, compression="zstd")
    with pytest.raises(TranscriptError, match="unpacks to more than 500,000 bytes"):
        read_transcripts(path, limits=Limits(file_bytes=500_000))


def test_several_batches_and_row_groups_keep_their_order(arrow, tmp_path):
    columns = {"prompt": [str(number) for number in range(1_000)], "response": ["x"] * 1_000}
    path = table(arrow, tmp_path / "log.parquet", columns, row_group_size=300)
    assert [t.text("prompt") for t in read_transcripts(path).traces] == columns["prompt"]


def test_any_damage_to_a_table_is_a_refusal_or_named(arrow, tmp_path):
    """100 damaged copies, seeds 0 to 99: never another exception, and never a row too many."""
    path = table(arrow, tmp_path / "log.parquet", {"prompt": ["a", "b"], "response": ["x", "y"], "n": [1, 2]})
    data = path.read_bytes()
    refused = 0
    for seed in range(100):
        chance = random.Random(seed)
        changed = bytearray(data[: chance.randrange(len(data))] if seed % 4 == 0 else data)
        for _ in range(chance.randint(1, 3) if changed else 0):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path.write_bytes(changed)
        try:
            assert len(read_transcripts(path).traces) <= 2
        except TranscriptError:
            refused += 1
    assert refused >= 25


def test_without_pyarrow_the_message_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "log.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(TranscriptError, match=r"needs the extra `parquet` .* pip install '\.\[parquet\]'"):
        read_transcripts(tmp_path / "log.parquet")


@pytest.mark.skipif(not XSTEST.exists(), reason="the shared real data is not beside this checkout")
def test_real_answers_are_the_same_from_both_kinds_of_tables(arrow, tmp_path):
    with XSTEST.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    path = table(arrow, tmp_path / "gpt4.parquet", {key: [row[key] for row in rows] for key in rows[0]})
    names = ColumnNames(response="completion")
    assert read_transcripts(path, columns=names) == read_transcripts(XSTEST, columns=names)


# ------------------------------------------------------------------------------------------------------------ folders
def folder(path: Path) -> Path:
    (path / "b" / "inner").mkdir(parents=True)
    (path / "b" / "inner" / "x.csv").write_text("prompt,response\nin csv,yes\n")
    (path / "b" / "log.jsonl").write_text(json.dumps({"messages": CHAT, "id": "named"}) + "\n")
    (path / "a.jsonl").write_text("\n".join(json.dumps({"messages": CHAT}) for _ in range(2)))
    (path / "b.jsonl").write_text("nothing\n" + json.dumps({"messages": CHAT}))
    (path / ".hidden.jsonl").write_text("nothing")
    (path / ".git").mkdir()
    (path / ".git" / "x.jsonl").write_text("nothing")
    (path / "logs.json").write_text("{}")
    return path


def test_a_folder_is_read_in_the_order_of_its_names_and_ids_start_with_the_file(tmp_path):
    read = read_transcripts(folder(tmp_path))
    assert [trace.id for trace in read.traces] == [
        "a.jsonl:1",
        "a.jsonl:2",
        "b/inner/x.csv:2",
        "b/log.jsonl:named",
        "b.jsonl:2",
    ]
    assert [(p.source, p.line) for p in read.problems] == [(str(tmp_path / "b.jsonl"), 1)]


def test_what_a_folder_holds_besides_is_said(tmp_path):
    folder(tmp_path)
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "half.csv").write_text("prompt\na\n")
    (tmp_path / "link").symlink_to(tmp_path / "b", target_is_directory=True)
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    read = read_transcripts(tmp_path)
    assert len(read.traces) == 5
    said = {Path(problem.source).name: problem.message for problem in read.problems}
    assert said.pop("b.jsonl") == "the line is not JSON: expecting value at column 1"
    assert said.pop("notes.md").startswith("the file has an unknown ending; this reads `.jsonl`")
    assert said.pop("other.json").startswith("`other.json` is no log of Inspect")
    assert said.pop("half.csv").startswith("`half.csv` has no column `response`")
    assert said == {
        "empty.csv": "there is nothing to read in this file",
        "link": "a link to a folder is not followed",
        "gone.jsonl": "it is no file",
    }


def test_names_of_files_hide_nothing(tmp_path):
    line = json.dumps({"messages": CHAT})
    for name in (b"a\x1b[2J.jsonl", b"b\xff.jsonl"):
        (tmp_path / os.fsdecode(name)).write_text(f"{line}\nnothing")
    read = read_transcripts(tmp_path)
    assert [trace.id for trace in read.traces] == ["a\\u{001b}[2J.jsonl:1", "b\\u{dcff}.jsonl:1"]
    assert [Path(problem.source).name for problem in read.problems] == ["a\\u{001b}[2J.jsonl", "b\\u{dcff}.jsonl"]


def test_a_file_that_breaks_off_is_left_out_whole(tmp_path):
    line = json.dumps({"messages": CHAT})
    (tmp_path / "long.jsonl").write_text(f"{line}\n" * 3)
    (tmp_path / "short.jsonl").write_text(line)
    read = read_transcripts(tmp_path, limits=Limits(file_bytes=2 * len(line)))
    assert [trace.id for trace in read.traces] == ["short.jsonl:1"]
    assert "the file is larger than" in read.problems[0].message


def test_a_folder_without_transcripts_is_refused(tmp_path):
    with pytest.raises(TranscriptError, match="it is empty"):
        read_transcripts(tmp_path)
    (tmp_path / "x.jsonl").write_text("nothing")
    with pytest.raises(TranscriptError, match=r": `x\.jsonl`, line 1: the line is not JSON"):
        read_transcripts(tmp_path)
    (tmp_path / "y.jsonl").write_text("nothing")
    with pytest.raises(TranscriptError, match="holds more than 1 files; split it"):
        read_transcripts(tmp_path, limits=Limits(files=1))


def test_the_verb_audits_a_folder_of_several_kinds(arrow, tmp_path):
    rules = tmp_path / "rules.bylaw"
    rules.write_text('policy hut.desk version "1.0.0" edition 1\nrule kind { must not contain "bad" }\n')
    logs = tmp_path / "logs"
    logs.mkdir()
    table(arrow, logs / "a.parquet", {"prompt": ["x", "y"], "response": ["bad", "fine"]})
    about = {"eval": {"task": "t", "model": "m", "config": {}}, "status": "success"}
    sample = {"id": 1, "epoch": 1, "input": "z", "messages": CHAT}
    (logs / "b.json").write_text(json.dumps({**about, "samples": [sample]}))
    found = CliRunner().invoke(main, ["audit", str(rules), str(logs), "--format", "json"])
    assert found.exit_code == 0, found.output
    [term] = json.loads(found.stdout)["terms"]
    assert (term["violated"], term["applicable"]) == (1, 3)
    assert term["findings"][0]["source"] == "a.parquet:1"
    (logs / "c.txt").write_text("x")
    again = CliRunner().invoke(main, ["audit", str(rules), str(logs)])
    assert again.exit_code == 3
    assert "c.txt, line 1: the file has an unknown ending" in again.stderr
