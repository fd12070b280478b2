"""What a sample costs besides the model: `bylaw sample` over HTTP against a scripted server, beside the mock run of
Inspect AI of the same size, in one run.

    python tests/bench/bench_running_overhead.py --inspect VENV/bin/python > tests/bench/bench_running_overhead.txt

Both are whole processes, measured in seconds of the processor: 2,000 samples less 500, so that no start counts.
Inspect's mock model answers in its own process, without HTTP; its tokenizer, which it fetches from the network, is
replaced by one that splits at spaces, in its favour. Without --inspect only ours is measured.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from sample_kills import Process, prepared
from sample_server import server

SMALL, LARGE = 500, 2000
MOCK = """
import sys, tempfile
import tiktoken
class Splits:
    def encode(self, text, **_): return text.split()
tiktoken.get_encoding = tiktoken.encoding_for_model = lambda name: Splits()
import inspect_ai
from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import includes
from inspect_ai.solver import generate
count = int(sys.argv[1])
data = MemoryDataset([Sample(input=f"Where is order {n}?", target="x", id=n + 1) for n in range(count)])
task = Task(dataset=data, solver=generate(), scorer=includes())
with tempfile.TemporaryDirectory() as logs:
    found = eval(task, model="mockllm/model", display="none", log_dir=logs)[0]
assert found.status == "success" and found.results.completed_samples == count, found.status
print(inspect_ai.__version__)
"""


def measured(run: Callable[[int], str]) -> tuple[float, float, str]:
    """(milliseconds of the processor a sample, seconds on the clock for the large run, what it said)."""
    costs, wall, said = [], 0.0, ""
    for count in (SMALL, LARGE):
        began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        said = run(count)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        wall = time.monotonic() - began
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * (costs[1] - costs[0]) / (LARGE - SMALL), wall, said


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--inspect", help="a Python that has inspect-ai")
    python = parser.parse_args().inspect
    print("OMP_NUM_THREADS=1 python tests/bench/bench_running_overhead.py --inspect VENV/bin/python")
    print(f"python {platform.python_version()}, {os.cpu_count()} cores, {LARGE} samples less {SMALL}\n")
    with tempfile.TemporaryDirectory() as name, server() as at:
        for number in range(3):

            def ours(count: int, number: int = number) -> str:
                code, output, errors = Process(prepared(Path(name) / f"{number}_{count}", count), at.url, 1).ended()
                assert code == 0, errors
                return output

            cost, wall, _ = measured(ours)
            print(
                f"bylaw sample, HTTP:        {cost:5.2f} ms a sample; {LARGE} samples in {wall:.1f} s, start included"
            )
    if python is not None:

        def theirs(count: int) -> str:
            done = subprocess.run([python, "-c", MOCK, str(count)], text=True, capture_output=True, check=False)
            assert done.returncode == 0, done.stderr
            return done.stdout.split()[-1]

        cost, wall, version = measured(theirs)
        print(f"Inspect AI {version}, mock: {cost:5.2f} ms a sample; {LARGE} samples in {wall:.1f} s, start included")


if __name__ == "__main__":
    main()
