"""Is Ẑ unbiased? The mean of 10,000 independent runs of each decoder on model A against the enumerated Z.

Run: OMP_NUM_THREADS=1 python tests/bench/decoding/bench_unbiased.py > tests/bench/decoding/bench_unbiased.txt

Then the passes that `qrs` needs for TV 0.05 on random models that nothing was developed on (seeds 3 to 6), against the
best peer that is known in closed form.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from decoding.models import gpt2_model
from decoding.ours import prepare, runs_of
from decoding.rules import rules_a
from decoding.run_a import _claim, best_peer, closed_peers
from decoding.truth import Truth

from bylaw.runtime.decoders.interface import Decoder
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.smc import Smc
from bylaw.runtime.decoders.tree import Tree

RUNS, FRESH = 10_000, (3, 4, 5, 6)


def main() -> None:
    print("OMP_NUM_THREADS=1 python tests/bench/decoding/bench_unbiased.py\n")
    truth = Truth(gpt2_model(0), rules_a())
    prepared = prepare(truth.model, truth.rules, samples=300, seed=0)
    z = float(np.exp(truth.log_z))
    print(f"model A, {RUNS:,} runs, Z = {z:.6f}; drift: (mean - Z) in standard errors")
    decoders: dict[str, Decoder] = {
        "mask 1": Mask(1),
        "sir 4": Sir(4, 1),
        "smc 4": Smc(4, 1),
        "smc 4, resampled at 0.95": Smc(4, 1, threshold=0.95),
        "tree 4": Tree(4, 1),
    }
    for name, decoder in decoders.items():
        runs = runs_of(decoder, truth.model, prepared, RUNS, 7, together=50)
        found = np.exp([run.log_z for run in runs])
        error = found.std(ddof=1) / np.sqrt(RUNS)
        print(f"{name:>24}  mean {found.mean():.6f} ± {error:.6f}  drift {(found.mean() - z) / error:5.2f}")
    print()
    for seed in FRESH:
        fresh, peers = Truth(gpt2_model(seed), rules_a()), {}
        closed_peers(fresh, peers)
        name, theirs = best_peer(peers)
        for samples in (300, 1000):
            print(_claim(fresh, seed, samples, name, theirs))


if __name__ == "__main__":
    main()
