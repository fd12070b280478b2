"""How long `bylaw check` takes on a large policy: cold, again, and after an edit of one rule; and its peak memory.

    python tests/bench/bench_proofs.py [--rules 1000] > tests/bench/bench_proofs.txt

Every check is a process of its own, so the start of Python and all imports are part of it. The policy is made up from a
fixed seed (large_policies.py): words and lists that must not be mentioned, patterns, limits on length, things that
must be mentioned under conditions, soft rules.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from large_policies import large_policy


def check(path: Path, cache: Path, *options: str) -> tuple[float, float, dict[str, object]]:
    """(seconds on the wall, seconds of the processor, what was found)."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "bylaw", "check", "--format", "json", *options, str(path)],
        env={**os.environ, "BYLAW_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, used, json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=1000)
    rules = parser.parse_args().rules
    print(f"python tests/bench/bench_proofs.py --rules {rules}")
    text = large_policy(rules)
    edits = {
        "one word of one rule": text.replace("must not mention ", "must not contain ", 1),
        "one list grows": text.replace("must not mention any of [", 'must not mention any of ["brandnew", ', 1),
        "one bound": re.sub(r"at most (\d+) words", lambda found: f"at most {int(found[1]) + 1} words", text, count=1),
        "one rule more": text + '\nrule added at user {\n  must not mention "completely new"\n}\n',
    }
    with tempfile.TemporaryDirectory() as folder:
        path, cache = Path(folder) / "rules.bylaw", Path(folder) / "cache"
        path.write_text(text, encoding="utf-8")
        show("without proofs (--quick)", check(path, cache, "--quick"))
        show("cold", check(path, cache))
        show("again, nothing changed", check(path, cache))
        for name, edited in edits.items():
            path.write_text(edited, encoding="utf-8")
            show(f"edited: {name}", check(path, cache))
            path.write_text(text, encoding="utf-8")
            check(path, cache)
        size = sum(file.stat().st_size for file in cache.rglob("*.json"))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"largest memory of any of them: {peak:.0f} MiB; file that keeps what was proved: {size / 2**20:.1f} MiB")


def show(name: str, measured: tuple[float, float, dict[str, object]]) -> None:
    wall, used, found = measured
    codes = Counter(each["code"] for each in found["diagnostics"])  # type: ignore[attr-defined]
    left = sum(each["count"] for each in found["undecided"])  # type: ignore[attr-defined]
    told = ", ".join(f"{count} {code}" for code, count in sorted(codes.items())) or "no findings"
    print(f"{name:32} {wall:6.2f} s ({used:6.2f} s of processor): {told}; {left} questions not analysed", flush=True)


if __name__ == "__main__":
    main()
