"""How far two decoders are from the law of a calibration, by their responses alone.

    bylaw calibrate examples/support/rules.bylaw --prompts six.jsonl --max-tokens 100 --out calibration
    python tests/bench/bench_law_distance.py calibration six.jsonl

`six.jsonl` are the first six lines of examples/support/prompts.jsonl. `sir` samples the law: its distance should be
zero within its error. `mask` only removes illegal tokens, which is not the law. 64 responses to each prompt.
"""

from __future__ import annotations

import sys
import time

from bylaw.compiler.law.divergence import DIVERGENCES
from bylaw.compiler.law.numerics import NORMAL_95
from bylaw.runtime.audit.transcripts import read_prompts
from bylaw.runtime.decoders.interface import Decoder
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.default_model import default_model_path
from bylaw.runtime.enforcement import decode, decode_tasks, plan_prompts
from bylaw.runtime.law_distance import read, response_distance
from bylaw.runtime.models import load_model, sample_base

RESPONSES, PARTICLES, BATCH, SEED = 64, 192, 64, 123
DECODERS: tuple[Decoder, ...] = (
    Sir(particles=PARTICLES, responses=RESPONSES, resampling="multinomial", batch_size=BATCH),
    Mask(particles=RESPONSES, batch_size=BATCH),
)


def main(folder: str, prompts: str) -> None:
    """Prints one table a decoder."""
    found = read(folder)
    record = found.record
    program = record.calibrated_program()
    model = load_model(str(default_model_path()), temperature=record.temperature)
    plans = plan_prompts(program, read_prompts(prompts).traces, model, record.max_tokens)
    base = sample_base(model, [plan.tokens for plan in plans], 24, record.max_tokens, seed=77, batch_size=BATCH)
    tasks = decode_tasks(plans, base, model, record.multipliers, record.max_tokens)
    for decoder in DECODERS:
        results = decode(decoder, model, tasks, record.max_tokens, SEED, prompts_at_once=1)
        traces = [
            plan.trace.answered(sample.text)
            for plan, result in zip(plans, results, strict=True)
            for sample in result.responses
        ]
        start = time.perf_counter()
        distance = response_distance(found, traces, decoder.name)
        print(f"{decoder.name}: {len(traces)} responses, measured in {time.perf_counter() - start:.1f} s")
        for row in distance.rows:
            error = NORMAL_95 * row.bound.standard_error
            print(f"  {DIVERGENCES[row.divergence].name:22} at least {row.bound.value:8.4f} ± {error:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
