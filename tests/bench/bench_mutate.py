"""How much of the standard library and of the example policies their own examples and tests would notice, and how fast.

    python tests/bench/bench_mutate.py

All mutants of every file, one process, in processor time; then a sample of those of a policy of 50 rules. A score is
the share of mutants that an example or a test notices; those that are proved to say the same, say what another one
says, change no verdict or are no sound policy are not in it.
"""

from __future__ import annotations

import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bench_parse import policy

from bylaw.compiler.mutants import Report, Settings, mutate
from bylaw.spec import loader
from bylaw.spec.source import Source

ROOT = Path(__file__).parent.parent.parent
STATUSES = ("killed", "survived", "equivalent", "duplicate", "unseen", "invalid")
SAMPLE = 300


def measured(source: Source, path: Path | None, settings: Settings) -> tuple[Report, float]:
    """The report on a policy, and the processor time it took (s)."""
    start = time.process_time()
    found = mutate(source, path, settings)
    return found, time.process_time() - start


def row(name: str, found: Report, seconds: float) -> str:
    """One line of the table."""
    counts = "".join(f"{found.count(status):>11}" for status in STATUSES)
    untold = sum(each.telling is None for each in found.survivors)
    score = "" if found.score is None else f"{found.score:.1%}"
    return f"{name:34}{len(found.tried):>6}{counts}{untold:>8}{score:>8}{seconds:>8.1f}"


def table() -> Iterator[str]:
    """The lines of the table, as they come."""
    yield f"{'file':34}{'tried':>6}{''.join(f'{status:>11}' for status in STATUSES)}{'untold':>8}{'score':>8}{'s':>8}"
    library = sorted(Path(loader.__file__).parent.joinpath("std").glob("*.bylaw"))
    for path in (*library, *sorted(ROOT.glob("examples/*/rules.bylaw"))):
        name = f"{path.parent.name}/{path.stem}"
        yield row(name, *measured(Source.read(path), path, Settings()))
    source = Source.of("policy.bylaw", policy(50))
    yield row(f"50 rules, a sample of {SAMPLE}", *measured(source, None, Settings(most=SAMPLE)))


if __name__ == "__main__":
    print("python tests/bench/bench_mutate.py")
    print()
    print(f"Python {platform.python_version()}, {platform.machine()}, one process")
    print()
    for line in table():
        print(line, flush=True)
