"""Reading 4,000 transcripts from each kind of file, and writing an audit of them as a log of Inspect.

Seconds of the processor, the best of three. With the path of a Python that has inspect_ai as an argument, the time of
its own `read_eval_log` on the same logs stands beside it, in a process of its own without the time of its import.
"""

from __future__ import annotations

import csv
import importlib
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.audit.audit import audit, score
from bylaw.runtime.audit.inspect_export import write_inspect_log
from bylaw.runtime.audit.transcripts import read_transcripts
from bylaw.spec.source import Source

COUNT = 4_000
RULES = 'policy hut.desk version "1.0.0" edition 1\nrule kind { must not contain "bad" }\n'
THEIRS = """
import sys, time
from inspect_ai.log import read_eval_log
for path in sys.argv[1:]:
    best = 9e9
    for _ in range(3):
        start = time.process_time(); found = read_eval_log(path); best = min(best, time.process_time() - start)
    print(path.rsplit(".", 1)[1], len(found.samples), best)
"""


def rows() -> list[dict[str, str]]:
    chance = random.Random(1)
    words = ["train", "ticket", "noon", "please", "the", "of", "seat", "yes", "good", "bad"]

    def text(most: int) -> str:
        return " ".join(chance.choices(words, k=chance.randint(5, most)))

    return [{"id": f"t{number}", "prompt": text(40), "response": text(200), "topic": "x"} for number in range(COUNT)]


def best(work: Callable[[], object]) -> float:
    found = []
    for _ in range(3):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def say(what: str, path: Path, seconds: float) -> None:
    size = path.stat().st_size
    print(f"{what:<22}{size / 1e6:8.2f} MB{seconds:9.3f} s{seconds / COUNT * 1e6:9.1f} µs each")


def main() -> None:
    given = rows()
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = folder / "log.jsonl"
        lines.write_text("\n".join(map(json.dumps, given)), encoding="utf-8")
        with (folder / "log.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(given[0]))
            writer.writeheader()
            writer.writerows(given)
        parquet.write_table(arrow.Table.from_pylist(given), folder / "log.parquet")
        compiled = compile_source(Source.of("rules.bylaw", RULES))
        program, traces = compiled.require(), read_transcripts(lines).traces
        record = audit(program, traces, source="log.jsonl", policy=compiled.source)
        scored = [(trace, [score(term, trace) for term in program.terms]) for trace in traces]
        now = datetime(2026, 1, 2, tzinfo=UTC)
        for form in ("eval", "json"):
            path = folder / f"log.{form}"
            seconds = best(partial(write_inspect_log, record, traces, scored, path, created=now))
            say(f"write .{form}", path, seconds)
        for form in ("jsonl", "csv", "parquet", "eval", "json"):
            path = folder / f"log.{form}"
            assert len(read_transcripts(path).traces) == COUNT
            say(f"read .{form}", path, best(partial(read_transcripts, path)))
        for other in sys.argv[1:]:
            asked = [other, "-c", THEIRS, str(folder / "log.eval"), str(folder / "log.json")]
            for line in subprocess.run(asked, capture_output=True, text=True, check=True).stdout.splitlines():
                form, count, seconds_taken = line.split()
                assert int(count) == COUNT
                say(f"inspect_ai, .{form}", folder / f"log.{form}", float(seconds_taken))


if __name__ == "__main__":
    main()
