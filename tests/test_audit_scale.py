"""Large audits: texts that are not kept, several processes, interrupts, workers that die, and stores of samples."""

from __future__ import annotations

import csv
import gc
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sample_server
from click.testing import CliRunner, Result

from bylaw.compiler.pipeline import Compiled, compile_file
from bylaw.runtime.audit import folder, workers
from bylaw.runtime.audit.audit import Audited, gather, measure
from bylaw.runtime.audit.inputs import DEFAULT_LIMITS, Limits, TranscriptError
from bylaw.runtime.audit.transcripts import ProblemList, read_transcripts, stream_transcripts
from bylaw.runtime.audit.workers import Crew, WorkerError, blocks, tallied_by_workers
from bylaw.runtime.cli import audit_steps, main
from bylaw.runtime.record import to_json
from bylaw.spec.trace import Message, Trace

RULES = """\
rule hard at user { must not mention "ferry boat" }
rule many at user { limit average number of "lamp" in response to at most 3 }
rule least at user { limit response contains "please" to at least 30% of responses for each prompt }
rule asked at user { when user.vip must not mention "sorry" }
"""
WORDS = ("ferry", "boat", "lamp", "please", "sorry", "the", "a", "of")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    path = tmp_path_factory.mktemp("rules") / "rules.bylaw"
    path.write_text(RULES, encoding="utf-8")
    return compile_file(path)


def lines(count: int, seed: int = 0) -> list[str]:
    choose = random.Random(seed)
    found = []
    for number in range(count):
        data: dict[str, Any] = {"prompt": f"Where is {choose.randrange(1 + count // 3)}?"}
        data["response"] = " ".join(choose.choices(WORDS, k=12))
        if number % 3:
            data["user.vip"] = number % 2 == 0
        found.append(json.dumps(data))
    return found


def bad_file(path: Path) -> Path:
    """JSON Lines with all that can be wrong with a line: a mark at its beginning, no break at its end."""
    found = lines(400)
    for place, line in (
        (3, "nonsense"), (90, ""), (91, '{"prompt": "lamp"'), (150, "x" * 5000), (151, '["a"]'), (300, '{"prompt": 1}'),
        (399, "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")),
    ):  # fmt: skip
        found.insert(place, line)
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join([*found, "y" * 9000]).encode())
    return path


def by_workers(policy: Compiled, path: Path, count: int, limits: Limits = DEFAULT_LIMITS) -> Audited:
    stream = stream_transcripts(path, limits=limits)
    problems = ProblemList(str(path), limits.problems)
    tallied = tallied_by_workers(policy.require(), stream, count, most_findings=5, problems=problems)
    return gather(
        policy.require(), tallied, source=str(path), policy=policy.source,
        problems=lambda: (*stream.problems, *problems.found()),
    )  # fmt: skip


def held(policy: Compiled, path: Path, limits: Limits = DEFAULT_LIMITS) -> Audited:
    read = read_transcripts(path, limits=limits)
    return measure(
        policy.require(), read.traces, source=str(path), policy=policy.source, problems=read.problems
    )  # fmt: skip


def audit(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["audit", *map(str, arguments)])


# --------------------------------------------------------------------------------------------------------- streaming
def test_a_stream_is_read_as_the_file_is_again_and_again(tmp_path: Path) -> None:
    path = bad_file(tmp_path / "a.jsonl")
    for limits in (DEFAULT_LIMITS, Limits(line_bytes=1000, problems=3)):
        read, stream = read_transcripts(path, limits=limits), stream_transcripts(path, limits=limits)
        assert stream.problems == ()
        assert tuple(stream) == tuple(stream) == read.traces
        assert stream.problems == read.problems
        assert len(read.problems) > 3
    begun = iter(stream)
    next(begun)
    assert 0 < stream.position <= path.stat().st_size
    (tmp_path / "none.jsonl").write_text("nonsense\n")
    with pytest.raises(TranscriptError, match="there is no transcript to read in"):
        list(stream_transcripts(tmp_path / "none.jsonl"))
    with pytest.raises(TranscriptError, match="there is no file"):
        list(stream_transcripts(tmp_path / "nowhere.jsonl"))


class Watched(str):
    """A text of which it can be seen whether it is still there."""


@pytest.mark.parametrize("count", [600, 6_000])
def test_texts_are_let_go_as_they_pass_by(count: int, policy: Compiled) -> None:
    """One by one where there are few, in batches where there are many: the last batch is there, the findings, and what
    the evaluator remembers."""
    texts: list[weakref.ref[Watched]] = []
    alive = []

    def passing() -> Iterator[Trace]:
        for number in range(count):
            text = Watched(f"It is lamp {number}, a ferry boat.")
            texts.append(weakref.ref(text))
            yield Trace((Message("user", f"What is {number}?"), Message("assistant", text)))
            if number % 250 == 249:
                alive.append(sum(each() is not None for each in texts))

    found = measure(policy.require(), passing(), source="t", policy=policy.source)
    assert found.record.transcripts == len(texts) == count
    assert max(alive) <= 2 * 500 + 100
    gc.collect()
    assert sum(each() is not None for each in texts) < 100


def test_a_large_file_of_a_folder_is_not_held_and_left_out_whole_where_its_end_is_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.csv").write_text("prompt,response\nx,y\nz,w\n")
    (tmp_path / "b.jsonl").write_text("\n".join(lines(5)))
    (tmp_path / "c.csv").write_bytes(b'prompt,response\nx,y\nz,"w\n')
    (tmp_path / "d.jsonl").touch()
    whole = read_transcripts(tmp_path, limits=Limits(file_bytes=1000))
    monkeypatch.setattr(folder, "_HELD_BYTES", 0)
    assert read_transcripts(tmp_path, limits=Limits(file_bytes=1000)) == whole
    small = read_transcripts(tmp_path, limits=Limits(file_bytes=100))
    assert {trace.id.partition(":")[0] for trace in small.traces} == {"a.csv", "c.csv"} & {
        trace.id.partition(":")[0] for trace in whole.traces
    }
    assert any("larger than 100 bytes" in problem.message for problem in small.problems)


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_reports_of_a_file_that_is_read_twice_are_the_same_bytes(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rules.bylaw").write_text(RULES)
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        bad_file(path)
    else:
        with path.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["prompt", "response", "said"])
            rows.writerows(
                [f"Where {n % 7}?", "lamp please ferry boat" if n % 5 else "sorry", n % 5] for n in range(200)
            )
    options = ["--report", "html,md,jsonl,junit,sarif", "--format", "json"]
    options += ["--compare", "hard=said:1"] if kind == "csv" else []
    texts = []
    for number, size in enumerate((10**9, 0)):
        monkeypatch.setattr(audit_steps, "_HELD_BYTES", size)
        done = audit(tmp_path / "rules.bylaw", path, *options, "--out", tmp_path / f"out{number}")
        assert done.exit_code == (3 if kind == "jsonl" else 0), done.output
        texts.append(done.stdout)
    files = sorted(path.name for path in (tmp_path / "out0").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "out1").iterdir())
    assert len(files) == 6
    for name in files:
        assert (tmp_path / "out0" / name).read_bytes() == (tmp_path / "out1" / name).read_bytes(), name
    assert texts[0] == texts[1]


def test_a_file_that_changes_between_its_readings_is_one_message_and_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rules.bylaw").write_text(RULES)
    monkeypatch.setattr(audit_steps, "_HELD_BYTES", 0)
    path = tmp_path / "a.jsonl"
    kept = "\n".join(lines(50))
    measuring = audit_steps._audited

    def changing(text: str) -> Callable[..., Audited]:
        def changed(*arguments: Any) -> Audited:
            found = measuring(*arguments)
            path.write_text(text)
            return found

        return changed

    for text in ("\n".join(lines(20)), "\n".join(lines(50, 1)), "nonsense"):
        path.write_text(kept)
        monkeypatch.setattr(audit_steps, "_audited", changing(text))
        done = audit(tmp_path / "rules.bylaw", path, "--report", "jsonl,html", "--out", tmp_path / "out")
        assert (done.exit_code, type(done.exception)) == (2, SystemExit)
        assert "the transcripts changed while they were audited" in done.stderr
        assert not list((tmp_path / "out").glob("*"))


# ----------------------------------------------------------------------------------------------------------- workers
@pytest.mark.parametrize("size", [1, 700, 10**6])
def test_blocks_are_whole_lines_wherever_they_are_cut(size: int, tmp_path: Path) -> None:
    path = bad_file(tmp_path / "a.jsonl")
    found = list(blocks(path, DEFAULT_LIMITS, size))
    assert b"".join(block.data for block in found) == path.read_bytes()
    assert all(block.data.endswith(b"\n") for block in found[:-1])
    assert [block.before for block in found] == [path.read_bytes()[: b.end - len(b.data)].count(b"\n") for b in found]
    with pytest.raises(TranscriptError, match="larger than 1,000 bytes"):
        list(blocks(path, Limits(file_bytes=1000), size))
    path.write_bytes(b'{"prompt": "a"}\n' + b"x" * 10**6 + b'\n{"prompt": "b"}\n' + b"z" * 10**6)
    cut = list(blocks(path, Limits(line_bytes=1000), size))
    assert sum(len(block.data) for block in cut) <= 2 * max(size, 10) + 6000
    assert b"".join(block.data for block in cut).count(b"\n") == 3


@pytest.mark.parametrize("limits", [DEFAULT_LIMITS, Limits(line_bytes=1000, problems=2)])
def test_several_processes_say_what_one_says_bit_for_bit(
    limits: Limits, policy: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bad_file(tmp_path / "a.jsonl")
    alone = held(policy, path, limits)
    assert len(alone.record.problems) >= 3
    assert alone.record.clusters is not None
    monkeypatch.setattr(workers, "blocks", lambda path, limits: blocks(path, limits, 3_000))
    found = by_workers(policy, path, 2, limits)
    assert to_json(found.record) == to_json(alone.record)
    assert len(found.columns.parts) > 5
    assert (found.columns.keys, found.columns.names) == (alone.columns.keys, alone.columns.names)
    for index in range(len(RULES.splitlines())):
        assert (found.columns.codes(index) == alone.columns.codes(index)).all()


def test_what_is_no_file_of_lines_is_sent_to_the_workers(policy: Compiled, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [f'"Where {number % 50}?",{WORDS[number % 8]} lamp,true' for number in range(1200)]
    path.write_text("\n".join(["prompt,response,user.vip", *rows]))
    assert to_json(by_workers(policy, path, 2).record) == to_json(held(policy, path).record)


def test_nothing_to_read_is_the_same_message_for_several_processes(tmp_path: Path) -> None:
    (tmp_path / "rules.bylaw").write_text(RULES)
    (tmp_path / "a.jsonl").write_text("nonsense\n")
    one, two = (audit(tmp_path / "rules.bylaw", tmp_path / "a.jsonl", "--workers", count) for count in (1, 2))
    assert (one.exit_code, one.output) == (two.exit_code, two.output) == (2, one.output)
    assert not multiprocessing.active_children()


def test_a_worker_that_is_killed_is_replaced_and_its_chunk_done_again(
    policy: Compiled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines(3000)))
    alone = held(policy, path)
    crews: list[Crew] = []
    in_order = Crew.in_order

    def watched(self: Crew, chunks: Iterator[workers.Chunk]) -> Iterator[Any]:
        crews.append(self)
        for number, each in enumerate(in_order(self, chunks)):
            if number == 4:
                self.workers[number % 2].process.kill()
            yield each

    monkeypatch.setattr(Crew, "in_order", watched)
    monkeypatch.setattr(workers, "blocks", lambda path, limits: blocks(path, limits, 10_000))
    assert to_json(by_workers(policy, path, 2).record) == to_json(alone.record)
    assert crews[0].replaced == 1
    assert not multiprocessing.active_children()


def test_texts_that_end_every_worker_end_the_audit_with_one_message(policy: Compiled, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines(100_000)))
    is_over = threading.Event()

    def kill() -> None:
        while not is_over.is_set():
            for child in multiprocessing.active_children():
                child.kill()
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(WorkerError, match=r"3 workers died over the same texts \(the last with signal SIGKILL\)"):
            by_workers(policy, path, 1)
    finally:
        is_over.set()
        killer.join()
    assert not multiprocessing.active_children()


def test_workers_that_fail_are_one_message_and_no_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object, **__: object) -> Iterator[Any]:
        raise WorkerError("3 workers died over the same texts")
        yield

    monkeypatch.setattr(workers, "tallied_by_workers", failing)
    (tmp_path / "rules.bylaw").write_text(RULES)
    (tmp_path / "a.jsonl").write_text("\n".join(lines(5)))
    options = ["--workers", "2", "--report", "md", "--out", tmp_path / "out"]
    done = audit(tmp_path / "rules.bylaw", tmp_path / "a.jsonl", *options)
    assert (done.exit_code, done.stdout, done.stderr) == (2, "", "error: 3 workers died over the same texts\n")
    assert not list(tmp_path.glob("out/*"))


def test_an_interrupt_ends_all_processes_and_says_what_was_done(tmp_path: Path) -> None:
    (tmp_path / "rules.bylaw").write_text(RULES)
    line = lines(1)[0] + "\n"
    with (tmp_path / "a.jsonl").open("w") as file:
        file.writelines(line for _ in range(1_000_000))
    command = [sys.executable, "-c", "from bylaw.runtime.cli import main; main()", "audit", "rules.bylaw", "a.jsonl"]
    done = subprocess.Popen(
        [*command, "--format", "json", "--workers", "2"], cwd=tmp_path, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    time.sleep(3.0)
    os.killpg(done.pid, signal.SIGINT)
    said, complained = done.communicate(timeout=60)
    assert done.returncode == 130, complained
    assert "Traceback" not in complained
    record = json.loads(said)
    assert record["complete"] is False
    assert record["transcripts"] < 1_000_000
    for term in record["terms"]:
        assert term["applicable"] + term["not_applicable"] + term["unscored"] == record["transcripts"]
    until = time.monotonic() + 10  # what Python itself starts beside workers ends a little later
    while is_there(done.pid) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_there(done.pid)
    shutil.rmtree(tmp_path)


def is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


# ----------------------------------------------------------------------------------------------------------- samples
def test_a_store_of_samples_is_audited_as_its_transcripts_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    Path("rules.bylaw").write_text(sample_server.RULES)
    Path("prompts.jsonl").write_text(sample_server.prompts(6))
    with sample_server.server() as at:
        command = ["sample", "prompts.jsonl", "--endpoint", at.url, "--model", sample_server.NAME, "--epochs", "2"]
        done = CliRunner().invoke(main, [*command, "--out", "a.samples", "--transcripts", "a.jsonl"])
    assert done.exit_code == 0, done.output
    options = ["--format", "json", "--report", "jsonl,html"]
    found = [audit("rules.bylaw", path, *options, "--out", f"out {path}") for path in ("a.samples", "a.jsonl")]
    assert [each.exit_code for each in found] == [0, 0]
    records = [json.loads(each.stdout) for each in found]
    assert records[0].pop("source") == "a.samples"
    records[1].pop("source")
    assert records[0] == records[1]
    assert (records[0]["transcripts"], records[0]["clusters"]) == (12, 6)
    verdicts = [(tmp_path / f"out {path}" / "verdicts.jsonl").read_text() for path in ("a.samples", "a.jsonl")]
    assert verdicts[0] == verdicts[1]
    Path("b.samples").write_text("lamps")
    refused = audit("rules.bylaw", "b.samples")
    assert refused.exit_code == 2
    assert "is no store of samples" in refused.stderr
    assert audit("rules.bylaw", "c.samples").exit_code == 2
