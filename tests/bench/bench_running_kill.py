"""100 random `kill -9` during a run of 2,000 samples against a scripted local server, and what a sample costs.

    python tests/bench/bench_running_kill.py > tests/bench/bench_running_kill.txt

Every life of the run is a whole process (`python -m bylaw sample`); one kill in five comes at a random moment of its
first two seconds (while modules are loaded, the file is opened, the first answers come), the others after 1 to 38 more
requests and up to a tenth of a second. Some answers are withheld by the server, some are cut, some need two attempts.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from sample_kills import (
    AT_ONCE,
    Process,
    kill_again_and_again,
    prepared,
    questions,
    quick,
    report,
    stored,
    trouble,
)
from sample_server import server

PROMPTS, EPOCHS, KILLS, SEED = 500, 4, 100, 20
MOST, FIRST = 38, 2.0


def used() -> float:
    """Seconds of the processor that ended processes of ours took."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def calm_run(folder: Path) -> None:
    """The run without kills, and what a sample costs."""
    with server(script=quick) as at:
        life = Process(folder, at.url, EPOCHS)
        code, output, errors = life.ended()
        assert code == 3, errors
        print("without kills:", output.splitlines()[0])
    costs = []
    with server() as at:
        for number in range(3):
            spent = []
            for epochs in (1, EPOCHS):
                began, before = time.monotonic(), used()
                place = prepared(folder.parent / f"cost{number}_{epochs}", PROMPTS)
                assert Process(place, at.url, epochs).ended()[0] == 0
                spent.append((used() - before, time.monotonic() - began))
            (small, _), (large, wall) = spent
            costs.append((1000 * (large - small) / (PROMPTS * (EPOCHS - 1)), wall))
    told = ", ".join(f"{each:.2f}" for each, _ in costs)
    print(f"overhead: {told} ms of the processor a sample (2,000 samples less 500, three times)")
    print(f"2,000 samples on the clock, start and export included: {', '.join(f'{wall:.1f} s' for _, wall in costs)}")


def main() -> None:
    print("OMP_NUM_THREADS=1 python tests/bench/bench_running_kill.py")
    print(f"python {platform.python_version()}, {os.cpu_count()} cores, {PROMPTS} prompts x {EPOCHS} epochs\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        calm, wild = prepared(folder / "calm", PROMPTS), prepared(folder / "wild", PROMPTS)
        calm_run(calm)
        began = time.monotonic()
        with server(script=trouble) as at:
            found = kill_again_and_again(Process, wild, at, EPOCHS, KILLS, MOST, SEED, FIRST)
            killing = time.monotonic() - began
            code, output, errors = Process(wild, at.url, EPOCHS).ended()
            assert code == 3, errors
            print("with kills:   ", output.splitlines()[0])
            again = sum(at.asked[name] > count for name, count in found.asked.items())
            twice = sum(count - 1 for count in at.answered.values() if count > 1)
            names = questions(wild / "a.samples")
        after = ", ".join(str(count) for count in found.answers[9::10])
        print(f"{KILLS} kills in {killing:.0f} s, {found.early} of them at a random moment from the start on")
        print(f"samples stored after every tenth kill: {after}")
        print("after every kill: the file whole, nothing that was stored lost or changed")
        ids = [json.loads(line)["id"] for line in (wild / "a.jsonl").read_text().splitlines()]
        expected = [f"p{n}#{epoch + 1}" for n in range(PROMPTS) for epoch in range(EPOCHS)]
        print(f"samples lost: {len(set(expected) - set(ids))}; samples there twice: {len(ids) - len(set(ids))}")
        print(
            f"answers in the store: {len(stored(wild))}; questions that were never asked: "
            f"{len(set(names.values()) - set(at.asked))}"
        )
        print(f"stored samples that were asked for again: {again}")
        print(
            f"answers that a kill caught under way, and that were asked for again: {twice} (at most {AT_ONCE} a kill)"
        )
        same = report(wild) == report(calm)
        print(f"transcripts and audit (JSON) the same as without kills, byte for byte: {'yes' if same else 'NO'}")
        assert same
        assert ids == expected
        assert again == 0


if __name__ == "__main__":
    main()
