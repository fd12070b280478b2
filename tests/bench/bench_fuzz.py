"""Many small texts with random edits through the parser: no exception, no hang, nothing dropped or invented.

    python tests/bench/bench_fuzz.py --cases 1000000 --seed 1

Every case is a short policy text of which one to three bytes are deleted, inserted, replaced or swapped. Bytes that are
not UTF-8 must be refused with P009; all other texts must give a parse result, every diagnostic of which can be printed.
Each fifth text that still parses is printed back and must have the same tokens and the same tree; each 25th is
formatted twice.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from random_texts import declaration
from retelling import says_the_same

from bylaw.spec.errors import SourceError, render
from bylaw.spec.formatter import LayoutError, format_text
from bylaw.spec.parser import parse
from bylaw.spec.source import Source, decode

LONGEST = 160
POOL = 2_000
BYTES = [byte.encode() for byte in "{}()[]\"'/\\#@=<>!+-*%.,:;_a1 \n\t&|`é”\u202e\u00a0"] + [b"\xff", b"\x00", b"\xe2"]


@dataclass(slots=True)
class Tally:
    """What happened."""

    cases: int = 0
    accepted: int = 0
    refused_bytes: int = 0
    retold: int = 0
    formatted: int = 0
    slowest: float = 0.0
    slowest_text: str = ""
    failures: list[str] = field(default_factory=list)


def edited(generator: random.Random, data: bytes) -> bytes:
    """Bytes with one to three small edits."""
    for _ in range(generator.choice((1, 1, 2, 3))):
        place = generator.randrange(len(data) + 1)
        match generator.randrange(4):
            case 0:
                data = data[:place] + data[place + 1 :]
            case 1:
                data = data[:place] + generator.choice(BYTES) + data[place:]
            case 2:
                data = data[:place] + generator.choice(BYTES) + data[place + 1 :]
            case _:
                data = data[:place] + data[place + 1 : place + 2] + data[place : place + 1] + data[place + 2 :]
    return data


def one(data: bytes, tally: Tally) -> None:
    """Put one case through; raises AssertionError for a broken promise, and whatever the parser raises."""
    try:
        text = decode("fuzz", data)
    except SourceError:
        tally.refused_bytes += 1
        return
    start = time.process_time()
    keeps = tally.accepted % 5 == 0
    parsed = parse(Source.of("fuzz", text), keeps_tokens=keeps)
    seconds = time.process_time() - start
    if seconds > tally.slowest:
        tally.slowest, tally.slowest_text = seconds, text
    for diagnostic in parsed.diagnostics[:1]:
        assert render(diagnostic, parsed.source)
    if not parsed.is_ok:
        return
    tally.accepted += 1
    if keeps:
        tally.retold += 1
        assert says_the_same(parsed), "the reprint differs"
    if tally.accepted % 25 == 0:
        tally.formatted += 1
        try:
            result = format_text("fuzz", text)
        except LayoutError as error:
            raise AssertionError(str(error)) from error
        assert format_text("fuzz", result) == result, "formatting twice differs"


def main() -> int:
    """Run the cases; 1 when one failed."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--cases", type=int, default=1_000_000)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--seconds", type=float, default=720.0, help="stop after this long")
    chosen = options.parse_args()
    generator = random.Random(chosen.seed)
    pool: list[bytes] = []
    while len(pool) < POOL:
        text = declaration(generator)
        if len(text) <= LONGEST:
            pool.append(text.encode())
    tally = Tally()
    start, start_busy = time.perf_counter(), time.process_time()
    while tally.cases < chosen.cases and time.perf_counter() - start < chosen.seconds:
        data = edited(generator, generator.choice(pool))
        tally.cases += 1
        try:
            one(data, tally)
        except Exception:
            tally.failures.append(f"{data!r}\n{traceback.format_exc()}")
    seconds, busy = time.perf_counter() - start, time.process_time() - start_busy
    speed = f"{busy:.0f} s of processor time, {tally.cases / busy:,.0f} a second of it"
    kept = f"{tally.accepted:,}; {tally.retold:,} printed back, {tally.formatted:,} formatted twice"
    print(f"python tests/bench/bench_fuzz.py --cases {chosen.cases} --seed {chosen.seed}")
    print(f"cases             {tally.cases:,} in {seconds:.0f} s, {speed}")
    print(f"not UTF-8, P009   {tally.refused_bytes:,}")
    print(f"still a policy    {kept}")
    print(f"failures          {len(tally.failures)}")
    print(f"slowest parse     {tally.slowest * 1000:.1f} ms of processor time: {tally.slowest_text!r}")
    for failure in tally.failures[:10]:
        print(failure)
    return 1 if tally.failures else 0


if __name__ == "__main__":
    sys.exit(main())
