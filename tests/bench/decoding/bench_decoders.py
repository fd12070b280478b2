"""Our decoders and others on models whose law is known: distance to p*, log Ẑ, and what a response costs.

Run: OMP_NUM_THREADS=1 python tests/bench/decoding/bench_decoders.py [--quick] > tests/bench/decoding/bench_decoders.txt

Needs genlm-control 0.4, llguidance and xgrammar besides the package; all run in this process on the same tables. Cost
is the number of unique prefixes whose next-token law was asked for within the run that produces one response; what is
paid once (base samples, a pilot) is told apart. Plots go beside this file unless --quick is given.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

from decoding.measure import Row, table
from decoding.plots import distance_plot, gap_plot
from decoding.run_a import run_a
from decoding.run_bc import run_bc

HERE = Path(__file__).parent
LEGEND = """\
size: particles, proposals, steps or n. law: exact = closed form; runs = mean over independent runs, whose true
TV lies between `TV low` (never too large in the mean) and `TV` (too large by noise); `floor` is the TV that
noise alone would give; β = mean of the closed-form laws of the bounds that the runs chose. KL: KL(p*‖law),
nats, closed forms only. log Z gap: log Z − E log Ẑ, nats, ± one standard error; drift: (mean Ẑ − Z) in standard
errors, which tests that Ẑ is unbiased. some: share of runs with a response; laws are compared given one.
passes: unique prefixes of one response."""


def flat(rows: dict[str, list[Row]]) -> list[Row]:
    return [row for curve in rows.values() for row in curve]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs and no plots: under a minute")
    parser.add_argument("--only", choices=("a", "bc"), help="one half of it")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    chosen = "".join([" --quick" if options.quick else "", f" --only {options.only}" if options.only else ""])
    print(f"OMP_NUM_THREADS=1 python tests/bench/decoding/bench_decoders.py{chosen}\n")
    peers = ", ".join(f"{name} {version(name)}" for name in ("genlm-control", "llguidance", "xgrammar", "torch"))
    print(f"Python {sys.version.split()[0]}, {peers}; one process, one thread\n\n{LEGEND}\n")
    if options.only != "bc":
        report, truth = run_a(options.quick, say)
        print("\n".join(report.lines) + "\n")
        print(table(flat(report.ours)) + "\n\npeers\n" + table(flat(report.peers)) + "\n")
        if not options.quick:
            distance_plot(report.ours, report.peers, (10_000, truth.floor(10_000)), HERE / "bench_decoders_a.svg")
    if options.only != "a":
        for found in run_bc(options.quick, say):
            print("\n".join(found.lines[:1]) + "\n")
            print(table(flat(found.ours)) + "\n\npeers\n" + table(flat(found.peers)) + "\n")
            print("\n".join(found.lines[1:]) + "\n", flush=True)
            if not options.quick:
                gap_plot(found.name, found.ours, found.peers, HERE / f"bench_decoders_{found.label}.svg")
    print(f"{time.monotonic() - began:.0f} seconds in all")


if __name__ == "__main__":
    main()
