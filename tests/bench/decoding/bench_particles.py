"""How the cost of an answer grows with the number of particles, on the shipped model.

Run: OMP_NUM_THREADS=1 python tests/bench/decoding/bench_particles.py

Four prompts of examples/support, decoded one by one under a small policy. Passes count beginnings that particles share
once. Writes the table and the plot beside this file.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from matplotlib.figure import Figure

from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.decoders.interface import Decoder
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.smc import Smc
from bylaw.runtime.default_model import default_model_path
from bylaw.runtime.enforcement import decode_tasks, plan_prompts
from bylaw.runtime.models import load_model, sample_base
from bylaw.runtime.report.price_plots import svg_text
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

HERE = Path(__file__).parent
PROMPTS = HERE.parents[2] / "examples" / "support" / "prompts.jsonl"
RULES = """policy bench.particles version "1"
levels root > user
rule no_promise at root { must not mention any of ["full refund", "we will refund"] }
rule next_step at root { must mention any of ["return label", "colleague", "spare part"] }
rule wishes at user { should mention any of ["Best wishes"] weight 2 }
"""
SIZES, TOKENS, SAMPLES = (1, 4, 16, 64, 256), 100, 64


def main() -> None:
    model = load_model(default_model_path())
    lines = PROMPTS.read_text(encoding="utf-8").splitlines()[:4]
    said = [json.loads(line)["messages"] for line in lines]
    traces = [
        Trace(tuple(Message(each["role"], each["content"]) for each in messages), id=str(number))
        for number, messages in enumerate(said)
    ]
    plans = plan_prompts(compile_source(Source("bench", RULES)).require(), traces, model, TOKENS)
    base = sample_base(model, [plan.tokens for plan in plans], SAMPLES, TOKENS, seed=0)
    tasks = decode_tasks(plans, base, model, {}, TOKENS)
    rows: dict[str, list[tuple[int, float, float, float, float]]] = {"sir": [], "smc": []}
    for size in SIZES:
        decoders: dict[str, Decoder] = {"sir": Sir(size, 1, batch_size=256), "smc": Smc(size, 1, batch_size=256)}
        for name, decoder in decoders.items():
            seconds, passes, gains, worth = [], [], [], []
            for index, task in enumerate(tasks):
                began = time.process_time()
                [result] = decoder.decode(model, [task], max_tokens=TOKENS, seed=index)
                seconds.append(time.process_time() - began)
                passes.append(result.diagnostics.passes)
                gains.append(result.log_z_estimate)
                worth.append(result.ess)
            rows[name].append((size, *(float(np.mean(each)) for each in (seconds, passes, gains, worth))))
    parts = [
        "OMP_NUM_THREADS=1 python tests/bench/decoding/bench_particles.py",
        f"shipped model, at most {TOKENS} tokens, one answer at a time, means over {len(tasks)} prompts, one core",
        "",
        "decoder  particles  seconds  ms a particle  passes  passes a particle  log Z estimate  effective size",
    ]
    for name, found in rows.items():
        for size, spent, asked, gain, own in found:
            parts.append(
                f"{name:>7}  {size:9}  {spent:7.2f}  {1000 * spent / size:13.1f}  {asked:6.0f}  {asked / size:17.1f}"
                f"  {gain:14.2f}  {own:14.1f}"
            )
    (HERE / "bench_particles.txt").write_text("\n".join(parts) + "\n", encoding="utf-8")
    figure = Figure(figsize=(8.0, 3.4))
    figure.subplots_adjust(left=0.09, right=0.98, bottom=0.17, top=0.9, wspace=0.3)
    for place, (column, label) in enumerate(((1, "seconds of one core"), (2, "passes")), 1):
        axes = figure.add_subplot(1, 2, place)
        for (name, found), mark in zip(rows.items(), "os", strict=True):
            axes.plot([row[0] for row in found], [row[column] for row in found], marker=mark, label=name)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xlabel("particles")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    (HERE / "bench_particles.svg").write_text(svg_text(figure, "particles"), encoding="utf-8")
    print("\n".join(parts))


if __name__ == "__main__":
    main()
