"""The whole `bylaw audit` of JSON Lines under 200 deterministic rules: peak memory and time, by size of the file.

    OMP_NUM_THREADS=1 python tests/bench/bench_streaming.py [--megabytes 100 300 1000] [--workers 2]

Each audit is a process of its own, whose peak resident memory and processor time the kernel counts (the peak of the
largest of its processes and the time of all, where it has workers); the time includes the start of Python, the
statistics and the record. Texts and rules are those of bench_scanning.py, with a question for each answer, one in four
asked twice. The files are made on the fly below the folder for temporary files and deleted. Beside it: decoding the
same lines with `json`, and copying memory. At last a small audit, for what a sample costs there.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from bench_scanning import corpus, phrases, timed

BASE = 50_000_000
"""Bytes of different texts; larger files have them again, with other questions."""


def lines(size: int, texts: list[str]) -> Iterator[str]:
    """About `size` bytes."""
    done = 0
    for number, text in enumerate(cycle(texts)):
        data = {"prompt": f"What about number {number - number % 4 // 3} in the town of Birchwood?", "response": text}
        line = json.dumps(data, ensure_ascii=False) + "\n"
        done += len(line.encode())
        if done > size:
            return
        yield line


def audit(folder: Path, name: str, workers: int) -> tuple[float, float, float, int, dict[str, object]]:
    """(peak MB, seconds of processor, seconds, samples, the record) of one audit."""
    command = [sys.executable, "-c", "from bylaw.runtime.cli import main; main()", "audit", "rules.bylaw", name]
    command += ["--format", "json", "--workers", str(workers)]
    start, peak = time.perf_counter(), 0.0
    with (folder / "record.json").open("wb") as out:
        child = subprocess.Popen(command, cwd=folder, stdout=out)
        while (found := os.wait4(child.pid, os.WNOHANG))[0] == 0:
            peak = max(peak, *map(highest, [child.pid, *children(child.pid)]))
            time.sleep(0.02)
    used, seconds = found[2], time.perf_counter() - start
    assert found[1] == 0, found[1]
    record = json.loads((folder / "record.json").read_text())
    return peak, used.ru_utime + used.ru_stime, seconds, record["transcripts"], record


def children(process: int) -> list[int]:
    try:
        return list(map(int, Path(f"/proc/{process}/task/{process}/children").read_text().split()))
    except OSError:
        return []


def highest(process: int) -> float:
    """The most resident memory that a process had so far, in MB."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    texts = list(corpus(BASE))
    print(f"python {sys.version.split()[0]}, {os.cpu_count()} cores, 200 rules", flush=True)
    some = list(islice(lines(BASE, texts), 5_000))
    print(f"JSON lines decoded: {sum(map(len, some)) / timed(json.loads, some) / 1e6:.0f} MB/s")
    block = np.zeros(1 << 28, np.uint8)
    print(f"memory copied: {len(block) / timed(np.copy, [block]) / 1e9:.1f} GB/s")
    del block, some
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "rules.bylaw").write_text(phrases(), encoding="utf-8")
        for size in options.megabytes:
            path = folder / "a.jsonl"
            with path.open("w", encoding="utf-8") as file:
                file.writelines(lines(size * 1_000_000, texts))
            report(folder, path, 1)
        if options.workers > 1:
            report(folder, path, options.workers)
        small = folder / "small.jsonl"
        with small.open("w", encoding="utf-8") as file:
            file.writelines(islice(lines(BASE, texts), 2_000))
        report(folder, small, 1)


def report(folder: Path, path: Path, workers: int) -> None:
    """Audits a file and prints what it took."""
    size = path.stat().st_size
    peak, processor, seconds, count, record = audit(folder, path.name, workers)
    done = "1 process" if workers == 1 else f"{workers} workers"
    print(
        f"{size / 1e6:7.0f} MB, {count:7,} samples, {record['clusters']:7,} prompts, {done}: peak {peak:4.0f} MB"
        f"{' a process' if workers > 1 else ''}, {processor:6.1f} s of processor ({size / processor / 1e6:5.1f} MB/s), "
        f"{seconds:6.1f} s on the clock, {1000 * processor / count:.3f} ms a sample",
        flush=True,
    )


if __name__ == "__main__":
    main()
