"""A run that is killed ten times and ended by two processes at once: no sample is lost, none is there twice, what is
stored is never asked for again, and the audit is that of a run without trouble, byte for byte."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from pathlib import Path

import pytest
from sample_kills import (
    AT_ONCE,
    Nursery,
    Process,
    kill_again_and_again,
    number_of,
    prepared,
    questions,
    quick,
    report,
    stored,
    trouble,
)
from sample_server import server

PROMPTS, EPOCHS, KILLS = 60, 2, 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked here")
def test_a_run_is_the_same_however_often_it_is_killed(tmp_path: Path) -> None:
    calm, wild = prepared(tmp_path / "calm", PROMPTS), prepared(tmp_path / "wild", PROMPTS)
    with Nursery() as nursery:
        with server(script=quick) as at:
            code, output, errors = nursery.start(calm, at.url, EPOCHS).ended()
            # Some answers are withheld, and the run says so; one that had to be repeated is an answer like any other.
            assert code == 3, errors
            assert "120 samples: 116 answered, 4 without an answer (filtered 4), 0 still to ask" in output
            assert "4 answers (3.4%) took more than one attempt" in output
        with server(script=trouble) as at:
            found = kill_again_and_again(nursery.start, wild, at, EPOCHS, KILLS, most=6, seed=8, first=0.3)
            assert found.answers == sorted(found.answers)
            assert 0 < found.answers[-1] < 116, "it was not killed while it ran"
            for life in [nursery.start(wild, at.url, EPOCHS) for _ in range(2)]:
                code, output, errors = life.ended()
                assert code == 3, errors
            again = [name for name, count in found.asked.items() if at.asked[name] > count]
            assert again == [], "what was stored was asked for again"
            lost = sum(count - 1 for count in at.answered.values() if count > 1)
            assert lost <= KILLS * AT_ONCE, "more was answered twice than was under way when it was killed"
            assert len(stored(wild)) == 116
            assert set(questions(wild / "a.samples").values()) == set(at.asked)
    assert report(wild) == report(calm)
    ids = [json.loads(line)["id"] for line in (wild / "a.jsonl").read_text().splitlines()]
    assert ids == [f"p{n}#{epoch}" for n in range(PROMPTS) for epoch in (1, 2)]


def count(store: Path, table: str = "answers") -> int:
    """Rows in a store that a process may have open."""
    connection = sqlite3.connect(store)
    try:
        return int(connection.execute(f"select count(*) from {table}").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.skipif(os.name == "nt", reason="there is no such signal")
def test_an_interrupted_run_writes_what_is_there(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "run", 40)
    with server(script=lambda body, number: "hang" if number_of(body) >= 20 else "verdict") as at:
        life = Process(folder, at.url, 1)
        at.wait_for(lambda: sum(at.answered.values()) == 20 and at.busy >= 1, 60)
        at.wait_for(lambda: count(folder / "a.samples") == 20)
        life.signal(signal.SIGINT)
        code, output, errors = life.ended()
    assert code == 130, errors
    assert "the same command goes on with `a.samples`" in errors
    assert "40 samples: 20 answered, 0 without an answer, 20 still to ask" in output
    assert len((folder / "a.jsonl").read_text().splitlines()) == 20
    assert count(folder / "a.samples", "failures") == 0, "what we broke off ourselves counts as failed"
