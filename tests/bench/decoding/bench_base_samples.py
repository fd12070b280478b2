"""How many base samples the look-ahead of a single prompt needs: acceptance and distance of `qrs` against their cost.

Four prompts of examples/support on the shipped model, with the multipliers of its calibration; means over the prompts.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import numpy as np

from bylaw.compiler.pipeline import compile_file
from bylaw.runtime.audit.transcripts import read_prompts
from bylaw.runtime.calibration.problem import Multipliers
from bylaw.runtime.calibration.record import load_record
from bylaw.runtime.cli.sampling import ModelChoice
from bylaw.runtime.decoders.qrs import Qrs
from bylaw.runtime.generation.answers import answers
from bylaw.runtime.generation.prepare import PrepareSettings, prepare

EXAMPLE = Path(__file__).parents[3] / "examples" / "support"
PROMPTS = (1, 7, 15, 22)
SAMPLES = (16, 32, 64, 128, 256)


class Quiet:
    def stage(self, name: str, total: int) -> None: ...
    def progress(self, done: int, total: int) -> None: ...


def main() -> None:
    program = compile_file(EXAMPLE / "rules.bylaw").require()
    multipliers = Multipliers(load_record(EXAMPLE / "expected" / "calibration").multipliers)
    model = ModelChoice(None, False).load(1.0)
    prompts = read_prompts(EXAMPLE / "prompts.jsonl").traces
    print("python tests/bench/decoding/bench_base_samples.py")
    print("samples  acceptance  ESS of 32  TV, upper end  seconds before  seconds for it  passes")
    for samples in SAMPLES:
        rows = []
        for index in PROMPTS:
            began = time.process_time()
            settings = PrepareSettings(samples=samples)
            prepared = prepare(program, [prompts[index]], model, settings, Quiet(), multipliers)
            ready = time.process_time()
            [answer] = answers(prepared, Qrs(), model, max_tokens=160, seed=1, particles=32)
            done = time.process_time()
            told = answer.result.diagnostics
            acceptance = np.nan if told.acceptance is None else told.acceptance.value
            distance = np.nan if told.total_variation is None else told.total_variation.high
            rows.append((acceptance, answer.result.ess, distance, ready - began, done - ready, told.passes))
        means = np.mean(rows, axis=0)
        shown = zip(means, (10, 9, 13, 14, 14, 6), (3, 1, 3, 1, 1, 0), strict=True)
        print("  ".join([f"{samples:7}", *(f"{mean:{width}.{digits}f}" for mean, width, digits in shown)]))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BYLAW_CACHE"] = folder
        main()
