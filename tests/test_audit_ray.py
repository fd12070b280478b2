"""The audit in parts, and on a Ray cluster of which a machine is lost: the same record as in one piece."""

from __future__ import annotations

import importlib
import json
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import bylaw
from bylaw.compiler.evaluate import evaluate_term
from bylaw.compiler.pipeline import Compiled, compile_file
from bylaw.compiler.program import to_json
from bylaw.runtime.audit import ray_engine
from bylaw.runtime.audit.audit import Audited, gather, measure
from bylaw.runtime.audit.file_parts import cut
from bylaw.runtime.audit.inputs import ColumnNames, Limits, TranscriptError
from bylaw.runtime.audit.part_answers import Answer, join
from bylaw.runtime.audit.ray_engine import RayError, audit_on_ray
from bylaw.runtime.audit.ray_worker import Job, answer, verdict_file
from bylaw.runtime.audit.transcripts import read_transcripts, stream_transcripts
from bylaw.runtime.cli import main

RULES = """policy larkmoor.parts version "1.0.0" edition 1
levels root > user

rule no_numbers at root { must not contain /[0-9]{3}-[0-9]{4}/ }
rule no_shouting at user { should not contain "!!" weight 2 }
rule short at user { prefer lower number of words in response weight 0.01 }
rule seldom_sorry at user { limit response mentions "sorry" to at most 30% of responses for each prompt }
rule guests_wait at user { when meta.guest must mention "today" }
"""
WORDS = ("sorry", "the", "order", "555-1234", "yes!!", "please", "is", "on", "its", "way", "today")


@pytest.fixture(scope="module", autouse=True)
def arrow() -> Any:
    pytest.importorskip("pyarrow.parquet", reason="pyarrow, of the extra `parquet`, is not installed")
    return importlib.import_module("pyarrow")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    path = tmp_path_factory.mktemp("policy") / "rules.bylaw"
    path.write_text(RULES, encoding="utf-8")
    return compile_file(path)


def rows(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Answers to a third as many prompts; every eleventh lacks its response, every seventh a fact that a rule reads."""
    draw = random.Random(seed)
    return [
        {
            "prompt": f"please shout {draw.randrange(count // 3)}",
            "response": None if number % 11 == 10 else " ".join(draw.choices(WORDS, k=draw.randrange(3, 40))),
            "guest": None if number % 7 == 6 else draw.random() < 0.3,
        }
        for number in range(count)
    ]


def table(path: Path, data: list[dict[str, Any]], group: int) -> Path:
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    parquet.write_table(arrow.Table.from_pylist(data), path, row_group_size=group)
    return path


def broken(path: Path) -> Path:
    """The last row group of a table can no longer be read."""
    metadata = importlib.import_module("pyarrow.parquet").ParquetFile(path).metadata
    last = metadata.row_group(metadata.num_row_groups - 1)
    columns = [last.column(index) for index in range(last.num_columns)]
    begin = min(each.dictionary_page_offset or each.data_page_offset for each in columns)
    data = bytearray(path.read_bytes())
    data[begin : begin + sum(each.total_compressed_size for each in columns)] = b"\xff" * sum(
        each.total_compressed_size for each in columns
    )
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of several row groups, lines of JSON, and files of every kind that is left out."""
    where = tmp_path_factory.mktemp("answers")
    table(where / "a.parquet", rows(100), 9)
    broken(table(where / "b.parquet", rows(60, seed=2), 10))
    named = [{**row, "id": f"case {number}"} for number, row in enumerate(rows(50, seed=3))]
    (where / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in named) + "no line\n", encoding="utf-8")
    (where / "c2.jsonl").write_text("no line\n", encoding="utf-8")
    (where / "d.csv").write_text("", encoding="utf-8")
    (where / "e.doc").write_text("what is this?", encoding="utf-8")
    (where / "f.parquet").write_text("no table", encoding="utf-8")
    table(where / "g.parquet", rows(30, seed=4), 30)
    return where


def job(policy: Compiled, limits: Limits, verdicts: Path | None = None, findings: int = 5) -> Job:
    where = None if verdicts is None else str(verdicts)
    return Job(to_json(policy.require(), None), bylaw.__version__, ColumnNames(), limits, findings, where)


def in_one(policy: Compiled, path: Path, limits: Limits, findings: int = 5) -> Audited:
    stream = stream_transcripts(path, limits=limits)
    return measure(
        policy.require(), stream, source=str(path), policy=policy.source, problems=lambda: stream.problems,
        max_findings=findings,
    )  # fmt: skip


def in_parts(policy: Compiled, path: Path, limits: Limits, part_bytes: int, findings: int = 5) -> tuple[Audited, int]:
    files = cut(path, limits, part_bytes)
    parts = [part for file in files for part in file.parts]
    # in an order that is not theirs: a worker takes the parts as they come
    order = random.Random(5).sample(range(len(parts)), len(parts))
    done = {number: answer(number, parts[number], job(policy, limits, None, findings)) for number in order}
    joined = join(path, files, [done[number] for number in range(len(parts))], limits)
    audited = gather(
        policy.require(), joined.tallied, source=str(path), policy=policy.source, problems=joined.problems,
        max_findings=findings,
    )  # fmt: skip
    return audited, len(parts)


def require_same(found: Audited, expected: Audited) -> None:
    assert found.record == expected.record
    for index in range(len(expected.columns.terms)):
        assert found.columns.codes(index).tobytes() == expected.columns.codes(index).tobytes()
        assert found.columns.values(index).tobytes() == expected.columns.values(index).tobytes()
    assert np.array_equal(found.columns.prompts, expected.columns.prompts)
    assert (found.columns.keys, found.columns.names) == (expected.columns.keys, expected.columns.names)


# ---------------------------------------------------------------------------------------------------------- in parts
@pytest.mark.parametrize("part_bytes", [1, 3_000, 10**9])
@pytest.mark.parametrize(("problems", "findings"), [(1_000, 1_000), (7, 5), (0, 40)])
def test_a_folder_in_parts_is_audited_as_in_one(
    policy: Compiled, folder: Path, part_bytes: int, problems: int, findings: int
) -> None:
    limits = Limits(problems=problems)
    found, parts = in_parts(policy, folder, limits, part_bytes, findings)
    expected = in_one(policy, folder, limits, findings)
    require_same(found, expected)
    assert parts == {1: 12 + 6 + 1 + 1 + 1 + 1, 10**9: 6}.get(part_bytes, parts)
    assert expected.record.transcripts == 100 - 9 + 50 - 4 + 30 - 2  # without b.parquet, whose last rows are damaged
    assert expected.record.clusters is not None
    assert len(expected.record.problems) == min(problems, 9 + 4 + 2 + 6) + (problems < 21)


def test_a_table_in_parts_is_audited_as_in_one(policy: Compiled, tmp_path: Path) -> None:
    data = [{**row, "tags": ["a"]} for row in rows(100)]
    path = table(tmp_path / "a.parquet", data, 9)
    found, parts = in_parts(policy, path, Limits(), 1)
    assert parts == 12
    require_same(found, in_one(policy, path, Limits()))
    assert [each.line for each in found.record.problems][:3] == [1, 11, 22]  # what is left out of all rows: said once


@pytest.mark.parametrize("case", ["damaged", "too long", "no answers"])
def test_what_ends_reading_in_one_ends_the_parts(case: str, policy: Compiled, tmp_path: Path) -> None:
    data = [{"prompt": f"{n} {'x' * 500}", "response": None if case == "no answers" else "y"} for n in range(40)]
    path = table(tmp_path / "a.parquet", data, 10)
    if case == "damaged":
        broken(path)
    # what the table says that it unpacks to is below this, but equal texts are stored once
    limits = Limits(file_bytes=20_000) if case == "too long" else Limits()
    if case == "too long":
        table(path, [{"prompt": "x" * 1_000, "response": "y"}] * 40, 10)
    with pytest.raises(TranscriptError) as expected:
        read_transcripts(path, limits=limits)
    with pytest.raises(TranscriptError) as found:
        in_parts(policy, path, limits, 1)
    assert str(found.value) == str(expected.value)


def test_verdicts_in_tables_are_those_of_the_evaluator(policy: Compiled, folder: Path, tmp_path: Path) -> None:
    parquet = importlib.import_module("pyarrow.parquet")
    traces = {each.id: each for each in read_transcripts(folder).traces}
    terms = {term.id: term for term in policy.require().terms}
    (part,) = cut(folder, Limits())[-1].parts
    assert answer(3, part, job(policy, Limits(), tmp_path)).refused is None
    written = (tmp_path / verdict_file(3)).read_bytes()
    assert [each.name for each in tmp_path.iterdir()] == [verdict_file(3)]
    read = parquet.read_table(tmp_path / verdict_file(3))
    assert read.schema.metadata[b"bylaw.policy_digest"].decode() == policy.require().digest
    lines = read.to_pylist()
    assert len(lines) == 28 * len(terms)
    assert {line["verdict"] for line in lines} == {"satisfied", "violated", "not_applicable", "unscored"}
    for line in lines:
        term, trace = terms[line["term"]], traces[line["source"]]
        found = evaluate_term(term, trace)
        assert (line["rule"], line["kind"]) == (term.rule, term.kind)
        assert line["verdict"] == found.verdict.value.replace(" ", "_")
        assert line["value"] == (found.value if line["verdict"] in ("satisfied", "violated") else None)
        assert line["reason"] == found.reason
        assert [(each["start"], each["end"]) for each in line["spans"]] == [(e.start, e.end) for e in found.evidence]
    answer(3, part, job(policy, Limits(), tmp_path))  # a part that is done twice leaves the same file
    assert (tmp_path / verdict_file(3)).read_bytes() == written


# ----------------------------------------------------------------------------------------------------- what is refused
def test_a_worker_refuses_what_is_not_as_here(policy: Compiled, tmp_path: Path) -> None:
    path = table(tmp_path / "a.parquet", rows(20), 20)
    ((part,),) = [file.parts for file in cut(path, Limits())]
    told = job(policy, Limits())
    assert answer(0, part, told).refused is None
    other = answer(0, part, replace(told, bylaw="0.0.0"))
    assert "install the same on all machines" in (other.refused or "")
    changed = answer(0, part, replace(told, program=told.program.replace("sorry", "happy")))
    assert "it was changed after it was compiled" in (changed.refused or "")
    table(path, rows(20, seed=9), 20)
    assert "is not the file that it was" in (answer(0, part, told).refused or "")
    path.unlink()
    gone = answer(0, part, told)
    assert "there is no file" in (gone.refused or "")
    assert not gone.tallied


def test_one_message_for_each_thing_that_stands_in_the_way(
    policy: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = table(tmp_path / "a.parquet", rows(20), 20)
    rules = tmp_path / "concept.bylaw"
    rules.write_text(
        'policy larkmoor.concept version "1.0.0" edition 1\nlevels root > user\n'
        'concept anger means "Shows anger." {\n  like "I hate this."\n  unlike "I like this."\n}\n'
        "rule calm at user { should not express anger weight 1 }\n",
        encoding="utf-8",
    )
    with pytest.raises(RayError, match="asks whether a text expresses `anger`"):
        audit_on_ray(compile_file(rules).require(), path, policy=policy.source)
    asked = ["audit", policy.source.path, str(path)]
    refused = CliRunner().invoke(main, [*asked, "--verdicts-out", "v"])
    assert (refused.exit_code, "with --engine ray only" in refused.stderr) == (2, True)
    refused = CliRunner().invoke(main, [*asked, "--engine", "ray", "--workers", "2"])
    assert (refused.exit_code, "--workers is for this machine" in refused.stderr) == (2, True)

    real = importlib.import_module

    def without_ray(name: str) -> Any:
        if name == "ray":
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr("bylaw.runtime.audit.ray_engine.importlib.import_module", without_ray)
    with pytest.raises(RayError, match="needs the extra `ray`"):
        audit_on_ray(policy.require(), path, policy=policy.source)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:10001", "nowhere", "here:99999"])
def test_a_cluster_that_is_not_there_is_said_at_once(address: str, policy: Compiled, tmp_path: Path) -> None:
    pytest.importorskip("ray.data", reason="ray, of the extra `ray`, is not installed")
    path = table(tmp_path / "a.parquet", rows(20), 20)
    options = ["--engine", "ray", "--ray-address", address, "--verdicts-out", str(tmp_path / "v")]
    refused = CliRunner().invoke(main, ["audit", policy.source.path, str(path), *options])
    assert (refused.exit_code, refused.stdout) == (2, "")
    words = "cannot be used (connection refused)" if address == "127.0.0.1:1" else "is no address of a Ray cluster"
    assert refused.stderr.startswith("error: ")
    assert words in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert [each.name for each in tmp_path.iterdir()] == ["a.parquet"]


def test_ray_on_this_machine_alone_shares_no_folder_with_another_one() -> None:
    """The cluster is left out: what stands for it says what it was told."""

    class Told:
        options: dict[str, Any]

        def is_initialized(self) -> bool:
            return False

        def init(self, **options: Any) -> None:
            self.options = options

        def shutdown(self) -> None:
            assert Path(self.options["_temp_dir"]).is_dir()

    places = []
    for _ in range(2):
        told = Told()
        with ray_engine._connected(told, "local"):
            places.append(told.options["_temp_dir"])
        assert len(places[-1]) < 40  # sockets lie below it, whose paths have an end
        assert not Path(places[-1]).exists()
    assert places[0] != places[1]


@pytest.mark.parametrize("case", ["refused", "not shared", "there already"])
def test_nothing_is_left_of_an_audit_that_fails(
    case: str, policy: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster is left out: what stands for it gives these answers."""
    path = table(tmp_path / "a.parquet", rows(20), 20)
    place = tmp_path / "verdicts"
    if case == "there already":
        place.mkdir()
        (place / "kept").write_text("kept", encoding="utf-8")

    @contextmanager
    def connected(*_: Any) -> Iterator[None]:
        yield

    def answers(_: Any, parts: Any, told: Job, __: Any) -> list[Answer]:
        if case == "refused":
            raise RayError("on the machine `b`: there is no file")
        return [answer(number, part, replace(told, verdicts=None)) for number, part in enumerate(parts)]

    monkeypatch.setattr(ray_engine, "_library", lambda: None)
    monkeypatch.setattr(ray_engine, "_connected", connected)
    monkeypatch.setattr(ray_engine, "_machines", lambda _: {"a"})
    monkeypatch.setattr(ray_engine, "_answers", answers)
    words = {"refused": "on the machine `b`", "not shared": "has to be the same", "there already": "is there already"}
    with pytest.raises(RayError, match=words[case]):
        audit_on_ray(policy.require(), path, policy=policy.source, verdicts=place)
    assert sorted(each.name for each in tmp_path.rglob("*")) == (
        ["a.parquet", "kept", "verdicts"] if case == "there already" else ["a.parquet"]
    )


# ------------------------------------------------------------------------------------------------------- the cluster
FAST_TO_MISS = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 4,
}
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}


@contextmanager
def cluster_of_two() -> Iterator[tuple[Any, Any]]:
    """(the cluster, its second node); at the end none of its processes is left.

    `Cluster` notes its address in Ray's temporary folder and takes the note away again: in one of its own, no other
    Ray on this machine takes part in that, and none has to have made the folder before.
    """
    ray_cluster = importlib.import_module("ray.cluster_utils")
    started: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        # the paths of sockets must be short
        place = tempfile.TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True)
        with place as name:
            (Path(name) / "ray").mkdir()
            patch.setenv("RAY_TMPDIR", name)
            patch.delenv("RAY_ADDRESS", raising=False)
            cluster = ray_cluster.Cluster()
            try:
                cluster.add_node(**NODE, _system_config=FAST_TO_MISS)
                second = cluster.add_node(**NODE)
                cluster.wait_for_nodes(timeout=120)
                started = [one.process.pid for node in cluster.list_all_nodes() for one in processes(node)]
                yield cluster, second
            finally:
                cluster.shutdown()
    assert not [pid for pid in started if is_running(pid)]


def processes(node: Any) -> list[Any]:
    return [one for several in node.all_processes.values() for one in several]


def is_running(pid: int) -> bool:
    with suppress(OSError):
        return " Z " not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    return False


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_at_work(cluster: Any, node: Any, folder: Path, killed: list[str], is_over: threading.Event) -> None:
    """Waits until a worker of the node is in the middle of a part, and kills the machine with all that runs there."""
    raylet = node.all_processes["raylet"][0].process.pid
    while not is_over.is_set():
        workers = children(raylet)
        at_work = [each for each in folder.glob(".*/.part-*.tmp") if int(each.name.split(".")[-2]) in workers]
        if at_work:
            for pid in workers:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            killed.append(at_work[0].name)
            cluster.remove_node(node, allow_graceful=False)
            return
        time.sleep(0.005)


def test_a_cluster_of_two_of_which_one_is_killed_gives_the_same_record(policy: Compiled, tmp_path: Path) -> None:
    pytest.importorskip("ray.data", reason="ray, of the extra `ray`, is not installed")
    data = tmp_path / "answers"
    data.mkdir()
    for number in range(2):
        table(data / f"{number}.parquet", rows(2_400, seed=number), 300)
    asked = ["audit", policy.source.path, str(data), "--format", "json"]
    out = tmp_path / "out" / "verdicts"
    out.parent.mkdir()
    killed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_engine, "PART_BYTES", 1)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with cluster_of_two() as (cluster, second):
            is_over = threading.Event()
            killer = threading.Thread(target=kill_at_work, args=(cluster, second, out.parent, killed, is_over))
            killer.start()
            options = ["--engine", "ray", "--ray-address", cluster.address, "--verdicts-out", str(out)]
            found = CliRunner().invoke(main, [*asked, *options])
            is_over.set()
            killer.join()
    assert killed, "no worker of the second node was seen at work"
    here = CliRunner().invoke(main, asked)
    assert found.exit_code == here.exit_code == 3, found.stderr
    assert found.stdout == here.stdout
    assert "audited 16 parts on 2 machines" in found.stderr
    assert "1 of these were lost; their parts were done again by the others" in found.stderr
    assert sorted(each.name for each in out.iterdir()) == [verdict_file(number) for number in range(16)]
    (tmp_path / "here").mkdir()
    parts = [part for file in cut(data, Limits(), 1) for part in file.parts]
    again = int(killed[0].split("-")[1].split(".")[0])
    answer(again, parts[again], job(policy, Limits(), tmp_path / "here"))
    assert (out / verdict_file(again)).read_bytes() == (tmp_path / "here" / verdict_file(again)).read_bytes()
