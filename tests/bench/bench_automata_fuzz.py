"""Random pairs of statements about a response, automata against brute force with the reference evaluator.

    python tests/bench/bench_automata_fuzz.py --pairs 10000 --seed 1

For each pair: whether some text obeys both, or the first and not the second; whether one includes the other; whether
they are equivalent. Brute force looks at all texts up to five characters over an alphabet of three; every text that is
found is weighed by the evaluator, and a shortest one must be as short as the shortest that brute force finds.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from random_patterns import ALPHABETS, LONGEST, Tally, Texts, disagreements, subjects

COMBINED = 5
"""Of every so many pairs, unions, intersections and differences are built and compared on all short texts."""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    share = -(-arguments.pairs // len(ALPHABETS))
    tally, failures, statements, began = Tally(), 0, 0, time.perf_counter()
    for alphabet in ALPHABETS:
        texts = Texts(alphabet)
        pool = subjects(arguments.seed, texts, max(share // 4, 10))
        statements += len(pool)
        chooser = random.Random(f"{arguments.seed} {alphabet!r}")
        for number in range(min(share, arguments.pairs - tally.pairs)):
            one, other = chooser.sample(pool, 2)
            for found in disagreements(one, other, texts, tally, combine=number % COMBINED == 0):
                failures += 1
                print(f"{alphabet!r}: {one.statement} and {other.statement}: {found}", file=sys.stderr)
    print(f"python tests/bench/bench_automata_fuzz.py --pairs {arguments.pairs} --seed {arguments.seed}")
    print(f"pairs          {tally.pairs:,} of {statements:,} statements, in {time.perf_counter() - began:.0f} s")
    print(f"texts          all up to {LONGEST} characters over each of {len(ALPHABETS)} alphabets of three characters")
    print(f"questions      {2 * tally.pairs:,} for a text: {tally.disjoint:,} have none, which is proved")
    print(f"               {tally.longer:,} have a text over the alphabet, but none of up to {LONGEST} characters")
    print(f"               {tally.included:,} inclusions of {tally.pairs:,}, {tally.equivalent:,} equivalences")
    print(f"combinations   {3 * tally.combined:,}: union, intersection and difference of {tally.combined:,} pairs")
    print(f"disagreements  {failures}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
