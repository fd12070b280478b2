"""The store of samples: whole shards or none, damage noticed, other keys refused, and a killed run that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bylaw.runtime.calibration.sample_store import SampleStore, StoreError, StoreKey, StoreMismatch, digest_of

KEY = StoreKey(model="a" * 64, prompts="b" * 64, temperature=1.0, max_tokens=8, seed=0)
ROWS = [{"text": "a\nb\u2028\x00 \U0001f600", "log_p0": -1.2345678901234567, "tokens": [1, 2]}, {"log_q": None}]
CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_calibrate import CAP, HALF, POLICY, SELDOM, JOB, calibrate_policy, program_of, prompts, replace
from bylaw.runtime.calibration.fit import FitSettings
from tinylanguage import Quiet, Tiny
from tinymodels import TabularModel

class Slow(Quiet):
    def progress(self, done, total):
        time.sleep({pause} if len(list(Path({folder!r}).rglob("*.jsonl"))) < {most} else 60)

job = replace(JOB, fit=FitSettings(samples=200, draws=200))
model = Tiny(TabularModel(letters=b"abcd1", max_tokens=CAP, seed=5))
calibrate_policy(program_of(POLICY + SELDOM + HALF), prompts(), "prompts", model, job, Path({folder!r}), Slow())
"""


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, KEY)
    assert store.get("base-4", 0) is None
    store.put("base-4", 0, ROWS)
    assert SampleStore(tmp_path, KEY).get("base-4", 0) == ROWS
    assert store.size == sum(path.stat().st_size for path in tmp_path.rglob("*.json*"))
    assert not store.damaged


@pytest.mark.parametrize("harm", ["cut", "flip", "moved", "empty", "line"])
def test_a_damaged_shard_is_noticed_and_left_out(harm: str, tmp_path: Path) -> None:
    store = SampleStore(tmp_path, KEY)
    for index in range(2):
        store.put("law-1", index, [*ROWS, index])
    path = tmp_path / "law-1" / "00000.jsonl"
    data = path.read_bytes()
    changed = {
        "cut": data[:-4],
        "flip": data.replace(b"1.234", b"1.235"),
        "moved": (tmp_path / "law-1" / "00001.jsonl").read_bytes(),
        "empty": b"",
        "line": data + b"{}\n",
    }
    path.write_bytes(changed[harm])
    assert store.get("law-1", 0) is None
    assert store.get("law-1", 1) == [*ROWS, 1]
    assert store.damaged == ["law-1/00000.jsonl"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("model", "c" * 64, "the model"), ("prompts", "c" * 64, "the prompts"), ("temperature", 0.5, "1 there, 0.5 now"),
     ("max_tokens", 9, "the longest response"), ("seed", 1, "the seed")],
)  # fmt: skip
def test_samples_of_something_else_are_refused(name: str, value: object, words: str, tmp_path: Path) -> None:
    SampleStore(tmp_path, KEY).put("base-4", 0, ROWS)
    other = replace(KEY, **{name: value})  # type: ignore[arg-type]
    with pytest.raises(StoreMismatch, match="choose another folder") as error:
        SampleStore(tmp_path, other)
    assert error.value.changed == (name,)
    assert words in str(error.value)
    assert other.digest != KEY.digest
    assert SampleStore(tmp_path, KEY).get("base-4", 0) == ROWS


def test_a_store_that_cannot_be_understood_is_refused(tmp_path: Path) -> None:
    SampleStore(tmp_path, KEY).put("base-4", 0, ROWS)
    (tmp_path / "store.json").write_text("{", encoding="utf-8")
    with pytest.raises(StoreError, match="damaged"):
        SampleStore(tmp_path, KEY)
    (tmp_path / "store.json").unlink()
    with pytest.raises(StoreError, match="is missing"):
        SampleStore(tmp_path, KEY)
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be kept"):
        SampleStore(tmp_path / "file" / "store", KEY)


def test_what_an_interrupt_left_beside_is_swept_and_old_laws_are_dropped(tmp_path: Path) -> None:
    store = SampleStore(tmp_path, KEY)
    for law in ("base-4", "law-1", "law-2"):
        store.put(law, 0, ROWS)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for number in (gone.pid, os.getppid()):  # one that is gone, and one that may be at work
        (tmp_path / "law-1" / f"00001.jsonl.{number}.part").write_text("half", encoding="utf-8")
    before = SampleStore(tmp_path, KEY).size
    assert [path.name for path in tmp_path.rglob("*.part")] == [f"00001.jsonl.{os.getppid()}.part"]
    freed = store.keep_only({"base-4", "law-2"})
    assert freed == before - store.size > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base-4", "law-2", "store.json"]


def test_digests_do_not_depend_on_the_order_of_keys() -> None:
    assert digest_of({"a": 0.1, "b": [1]}) == digest_of({"b": [1], "a": 0.1})
    assert digest_of({"a": 0.1}) != digest_of({"a": 0.1 + 1e-16 * 2})


def child(folder: Path, pause: float = 0.0, most: int = 1_000) -> subprocess.Popen[bytes]:
    """A calibration with a pause at each step, which waits where there are as many shards as `most`."""
    code = CHILD.format(tests=str(Path(__file__).parent), folder=str(folder), pause=pause, most=most)
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_killed_calibration_goes_on_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """Killed twice, at other places, by a signal that nothing can catch."""
    whole = child(tmp_path / "whole")
    killed = tmp_path / "killed"
    for shards in (2, 9):
        running = child(killed, 0.04, shards + 3)  # so that it cannot end before it is killed, however busy it is here
        deadline = time.monotonic() + 60
        while len(list(killed.rglob("*.jsonl"))) < shards and running.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert running.poll() is None, running.stderr.read() if running.stderr else ""
        running.send_signal(signal.SIGKILL)
        running.communicate()
        assert not (killed / "calibration.json").exists()
        assert len(list(killed.rglob("*.jsonl"))) >= shards
    kept = {path: path.stat().st_mtime_ns for path in killed.rglob("*.jsonl")}
    last = child(killed)
    assert (last.wait(60), whole.wait(60)) == (0, 0)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # nothing was drawn twice
    for process in (last, whole):
        process.communicate()
    assert contents(killed) == contents(tmp_path / "whole")


def test_a_damaged_shard_is_drawn_again_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    assert child(tmp_path).wait(60) == 0
    before = contents(tmp_path)
    for shard in list(tmp_path.rglob("*.jsonl"))[::2]:
        shard.write_bytes(shard.read_bytes()[:-9])
    assert child(tmp_path).wait(60) == 0
    assert contents(tmp_path) == before
