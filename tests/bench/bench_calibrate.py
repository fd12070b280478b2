"""The limits of examples/support on the model that comes with bylaw: calibrated, then met by 2,016 fresh answers.

    python tests/bench/bench_calibrate.py FOLDER

Prints the calibration, then for every limit the rate of 2,016 fresh answers (48 prompts with 42 answers each, resampled
from 64 fresh particles) and of the weighted particles themselves, with 95 % intervals. The intervals of answers allow
for resampling; those of particles hold the error of calibration too. Samples go to FOLDER and are used again by
a second call.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

from bylaw.compiler.pipeline import compile_file
from bylaw.runtime.audit.statistics import wilson
from bylaw.runtime.audit.transcripts import read_prompts
from bylaw.runtime.calibration.check import check_on_fresh_samples
from bylaw.runtime.calibration.job import JobSettings, calibrate_policy
from bylaw.runtime.calibration.text import markdown
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.default_model import default_model_path
from bylaw.runtime.enforcement import BATCH, decode, decode_tasks, plan_prompts, score_samples
from bylaw.runtime.models.huggingface import load_model
from bylaw.runtime.models.sampling import sample_base

EXAMPLE = Path(__file__).parents[2] / "examples" / "support"
PARTICLES, ANSWERS, FRESH_SEED = 64, 42, 20_000


class Lines:
    """Stages on stderr."""

    def stage(self, name: str, total: int) -> None:
        print(f"{name} ({total})", file=sys.stderr, flush=True)

    def progress(self, done: int, total: int) -> None: ...


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    program = compile_file(str(EXAMPLE / "rules.bylaw")).require()
    prompts = read_prompts(EXAMPLE / "prompts.jsonl").traces
    model = load_model(default_model_path(), name="default")
    settings = JobSettings()
    begun = time.process_time()
    record = calibrate_policy(program, prompts, "examples/support", model, settings, folder, Lines()).record
    print(f"calibration: {time.process_time() - begun:.0f} s of processor time (less what was drawn before)\n")
    print(markdown(record), "\n")

    plans = plan_prompts(program, prompts, model, settings.max_tokens)
    base = sample_base(
        model, [plan.tokens for plan in plans], settings.fit.samples, settings.max_tokens, seed=0, batch_size=BATCH
    )
    tasks = decode_tasks(plans, base, model, record.multipliers, settings.max_tokens)
    decoder = Sir(particles=PARTICLES, responses=ANSWERS, resampling="multinomial", batch_size=BATCH)
    results = decode(decoder, model, tasks, settings.max_tokens, FRESH_SEED, prompts_at_once=2)
    check = check_on_fresh_samples(program.with_multipliers(record.multipliers), plans, results, record.summary())
    worth = len(plans) ** 2 / sum(1 / result.ess + 1 / ANSWERS for result in results)
    print(f"{len(plans) * ANSWERS:,} fresh answers, worth {worth:.0f} independent ones\n")
    for budget in check.budgets:
        column = [term.id for term in program.terms].index(budget.term)
        events = sum(
            float(score_samples(program, plan, [answer.text for answer in result.responses]).values[:, column].sum())
            for plan, result in zip(plans, results, strict=True)
        )
        rate = events / (len(plans) * ANSWERS)
        interval = wilson(rate * worth, worth)
        kept = interval.low <= budget.bound
        print(
            f"{budget.term}: at most {100 * budget.bound:g} %; answers {100 * rate:.2f} % "
            f"[{100 * interval.low:.2f}, {100 * interval.high:.2f}] {'met' if kept else 'MISSED'}; particles "
            f"{100 * budget.rate:.2f} % [{100 * budget.rate_interval.low:.2f}, {100 * budget.rate_interval.high:.2f}] "
            f"{budget.status}"
        )
    print(f"\nversions: {asdict(record)['versions']}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
