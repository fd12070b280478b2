"""A run of `bylaw sample` that is killed at random moments, again and again, and what must be so at each of them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from judge_server import JudgeServer, question_of, user_text
from sample_server import NAME, RULES, prompts

from bylaw.compiler.pipeline import compile_file
from bylaw.runtime.audit.audit import audit
from bylaw.runtime.audit.prompts import prompts_of
from bylaw.runtime.audit.transcripts import read_transcripts
from bylaw.runtime.record import to_json
from bylaw.runtime.running.store import open_store

AT_ONCE = 8


def number_of(body: dict[str, Any]) -> int:
    """Which prompt a request is about."""
    return int(user_text(body).removeprefix("Where is order ").removesuffix("?"))


def trouble(body: dict[str, Any], number: int) -> str:
    """Some answers are withheld, some are cut, and some come only at the second time that they are asked for; the
    others take a moment each, so that there is always something under way."""
    prompt = number_of(body)
    if prompt % 50 == 7:
        return "content filter"
    if prompt % 37 == 5 and number == 0:
        return "429 without a time"
    return "cut at its limit" if prompt % 41 == 3 else "slow"


def quick(body: dict[str, Any], number: int) -> str:
    """The same without the wait."""
    found = trouble(body, number)
    return "verdict" if found == "slow" else found


def prepared(folder: Path, count: int) -> Path:
    """A folder with prompts and a policy."""
    folder.mkdir()
    (folder / "prompts.jsonl").write_text(prompts(count))
    (folder / "rules.bylaw").write_text(RULES)
    return folder


def command(url: str, epochs: int) -> list[str]:
    """The run, as the arguments of `bylaw`."""
    found = ["sample", "prompts.jsonl", "--endpoint", url, "--model", NAME, "--out", "a.samples"]
    return [*found, "--epochs", str(epochs), "--at-once", str(AT_ONCE)]


class Life(Protocol):
    """One process of a run."""

    def is_over(self) -> bool: ...

    def signal(self, number: int) -> None: ...

    def ended(self) -> tuple[int, str, str]:
        """Waits for its end: (exit code, or minus the signal; standard output; standard error)."""
        ...


Start = Callable[[Path, str, int], Life]
"""(folder, address, epochs): starts a run."""


class Process:
    """A run that is started as people start it."""

    def __init__(self, folder: Path, url: str, epochs: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bylaw", *command(url, epochs)], cwd=folder, text=True,
            env={**os.environ, "NO_PROXY": "127.0.0.1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def is_over(self) -> bool:
        return self._process.poll() is not None

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self) -> tuple[int, str, str]:
        output, errors = self._process.communicate(timeout=300)
        return self._process.returncode, output, errors


_NURSERY = """
import json, os, sys
import openai, httpx2
import bylaw.runtime.cli.sample, bylaw.runtime.running.endpoint, bylaw.runtime.running.export
from bylaw.runtime.cli import main

for line in sys.stdin:
    asked = json.loads(line)
    if "pid" in asked:
        pid, status = os.waitpid(asked["pid"], os.WNOHANG if asked["look"] else 0)
        print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
        continue
    pid = os.fork()
    if pid == 0:
        os.chdir(asked["folder"])
        for number, name in ((1, asked["out"]), (2, asked["err"])):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        code = 70
        try:
            main(asked["arguments"])
        except SystemExit as end:
            code = end.code or 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    print(json.dumps(pid), flush=True)
"""


class Nursery:
    """Starts runs as forks of a process that has everything loaded: real processes, which a signal kills as any other,
    without the second that each takes to load what it needs. Use it in a `with` statement."""

    def __enter__(self) -> Nursery:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _NURSERY], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, "NO_PROXY": "127.0.0.1"},
        )  # fmt: skip
        self._count = 0
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def ask(self, what: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, folder: Path, url: str, epochs: int) -> Life:
        self._count += 1
        out, err = folder / f"out{self._count}", folder / f"err{self._count}"
        asked = {"folder": str(folder), "out": str(out), "err": str(err), "arguments": command(url, epochs)}
        return Fork(self, int(self.ask(asked)), out, err)


@dataclass
class Fork:
    """A run that a nursery started."""

    nursery: Nursery
    pid: int
    out: Path
    err: Path
    code: int | None = None

    def is_over(self) -> bool:
        if self.code is None:
            self.code = self.nursery.ask({"pid": self.pid, "look": True})
        return self.code is not None

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ended(self) -> tuple[int, str, str]:
        if self.code is None:
            self.code = self.nursery.ask({"pid": self.pid, "look": False})
        return int(self.code or 0), self.out.read_text(), self.err.read_text()


def report(folder: Path) -> tuple[bytes, str]:
    """(the transcripts, the audit of them as JSON)."""
    place = folder / "a.jsonl"
    compiled = compile_file(folder / "rules.bylaw")
    read = read_transcripts(place)
    record = audit(
        compiled.require(), read.traces, source="a.jsonl", policy=compiled.source, problems=read.problems,
        clusters=prompts_of(read.traces),
    )  # fmt: skip
    return place.read_bytes(), to_json(record).replace(str(folder), "")


def stored(folder: Path) -> dict[str, tuple[Any, ...]]:
    """What the store holds, by key; read from a copy, so that the next process finds what the killed one left."""
    if not (folder / "a.samples").exists():
        return {}
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    for name in ("a.samples", "a.samples-wal"):
        if (folder / name).exists():
            shutil.copy(folder / name, copy / name)
    connection = sqlite3.connect(copy / "a.samples")
    try:
        if not connection.execute("select count(*) from sqlite_master where name = 'answers'").fetchone()[0]:
            return {}
        assert connection.execute("pragma integrity_check").fetchone() == ("ok",)
        return {row[0]: row[1:] for row in connection.execute("select * from answers")}
    finally:
        connection.close()


@dataclass
class Killed:
    """What a run with kills left. `answers`: how many were stored after each kill; `early`: kills at a random moment
    from the start on; `asked`: how often the server had met the question of each stored sample when it was first seen
    in the store."""

    answers: list[int] = field(default_factory=list)
    early: int = 0
    asked: dict[str, int] = field(default_factory=dict)


def kill_again_and_again(
    start: Start, folder: Path, at: JudgeServer, epochs: int, kills: int, most: int, seed: int, first: float
) -> Killed:
    """Starts the run and kills it, `kills` times: in one of five at a random moment of its first `first` seconds, else
    after up to `most` more requests have come and a moment.

    Asserts after each kill that nothing that was stored is lost or changed, and that the file is whole.
    """
    rng = random.Random(seed)
    found = Killed()
    before: dict[str, tuple[Any, ...]] = {}
    names: dict[str, str] = {}
    for _ in range(kills):
        life = start(folder, at.url, epochs)
        if rng.random() < 0.2:
            time.sleep(rng.uniform(0, first))
            found.early += 1
        else:
            wanted = len(at.requests) + rng.randint(1, most)
            end = time.monotonic() + 60
            while len(at.requests) < wanted and not life.is_over():
                assert time.monotonic() < end, "it asks for nothing"
                time.sleep(0.002)
            time.sleep(rng.uniform(0, 0.1))
        assert not life.is_over(), life.ended()
        life.signal(signal.SIGKILL)
        assert life.ended()[0] == -signal.SIGKILL
        now = stored(folder)
        assert {key: now.get(key) for key in before} == before, "a sample was lost or changed"
        at.wait_for(lambda: at.busy == 0)
        fresh = now.keys() - before.keys()
        if fresh:
            names = names or questions(folder / "copy" / "a.samples")
            found.asked.update({names[key]: at.asked[names[key]] for key in fresh})
        before = now
        found.answers.append(len(now))
    return found


def questions(store: Path) -> dict[str, str]:
    """What the server calls the question of each sample, by key."""
    opened = open_store(store, must_exist=True)
    try:
        plan = opened.plan()
    finally:
        opened.close()
    assert plan is not None
    chats = [prompt.messages for prompt in plan.prompts]
    return {each.key: question_of({"messages": chats[each.prompt], "seed": each.seed}) for each in plan.samples}
