"""Model D: hard rules on two real models. Violations by the reference evaluator, and the time of a response.

Run: OMP_NUM_THREADS=1 python tests/bench/decoding/run_d.py > tests/bench/decoding/run_d.txt

--responses N     responses of each decoder on each model (default 10,000; a quarter under the rarer rules); sir and smc
                  give every particle of positive weight, mask and qrs what they hand out
--state FILE      keeps what is done, so that an interrupted run goes on where it was (chunks have seeds of their own)
--only NAME       one model: stories260K or default
--quick           200 responses and 2 repetitions

The shipped model is asked with the prompts of examples/support, stories260K (where the data are beside the checkout)
with those of examples/childrens_story. Times are of the same process at equal batch, one after the other in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.compiler.specialise import specialise
from bylaw.runtime.audit.statistics import exact_upper
from bylaw.runtime.decoders.interface import Decoder, DecodeTask, effective_size
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.pilot import least_bound, pilot_of, quality
from bylaw.runtime.decoders.qrs import Qrs
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.smc import Smc
from bylaw.runtime.default_model import default_model_path
from bylaw.runtime.enforcement import PromptPlan
from bylaw.runtime.models import load_model, sample_base
from bylaw.runtime.twist.compiler import TwistCompiler
from bylaw.runtime.twist.policies import decode_tasks
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

ROOT = Path(__file__).parents[3]
STORIES = ROOT.parent / "shared" / "data" / "models" / "stories260K"
BATCH, TARGET, BASE, PILOT = 32, 0.05, 64, 32
STORY_RULES = """policy bench.stories version "1"
levels root > user
lexicon frightening = ["dead", "die", "died", "kill", "killed", "gun", "knife", "blood", "monster"]
rule gentle at root { must not mention any of frightening }
rule not_sad at root { must not mention "sad" }
rule calm at root { must not contain "!" }
rule others at root { must not mention any of ["Lily", "Tim", "Tom"] }
rule short at root { must have at most 90 words }
"""
HARDER_STORY_RULES = (
    STORY_RULES
    + """rule a_friend at root { must mention any of ["friend", "friends"] }
rule finished at root { must end with "." }
"""
)
SUPPORT_RULES = """policy bench.support version "1"
levels root > user
rule no_cards at root { must not contain /[0-9]{4}([ -]?[0-9]{4}){3}/ }
rule no_codes at root { must not contain /\\bcode [A-Z][0-9]\\b/i }
rule no_promise at root { must not mention any of ["full refund", "we will refund", "refund is on its way"] }
rule thanks at root { must mention any of ["thank", "thanks"] }
rule signed at root { must end with "Larkmoor team" }
rule short at root { must have at most 90 words }
"""


@dataclass(eq=False)
class Setting:
    """One model with its policy and prompts; `tasks` are one a prompt."""

    name: str
    path: Path
    program: RewardProgram
    model: Any
    traces: list[Trace]
    tasks: list[DecodeTask]
    cap: int
    rare: bool


def setting(name: str, path: Path, rules: str, prompts: Path, count: int, cap: int, *, rare: bool = False) -> Setting:
    """Loads the model, draws base samples and builds the twists. `rare`: qrs would take hours for 10,000 responses."""
    program = compile_source(Source(f"{name}.bylaw", rules)).require()
    model = load_model(path)
    lines = [json.loads(line) for line in prompts.read_text(encoding="utf-8").splitlines()[:count]]
    traces = [
        Trace(
            id=line["id"],
            messages=tuple(
                Message(role=each["role"], content=each["content"])
                for each in line.get("messages") or [{"role": "user", "content": line["prompt"]}]
            ),
        )
        for line in lines
    ]
    plans = [
        PromptPlan(
            trace,
            model.encode_chat([{"role": each.role, "content": each.content} for each in trace.messages]),
            specialise(program, trace),
        )
        for trace in traces
    ]
    base = sample_base(model, [plan.tokens for plan in plans], BASE, cap, seed=0)
    tasks = decode_tasks(plans, base, model, {}, cap, compiler=TwistCompiler(model, cap))
    return Setting(name, path, program, model, traces, tasks, cap, rare)


def violations(found: Setting, prompt: int, text: str) -> list[str]:
    """The hard rules that a response breaks, by the reference evaluator; what cannot be decided counts as broken."""
    trace = found.traces[prompt].answered(text)
    scores = [(term, evaluate_term(term, trace)) for term in found.program.terms if term.kind == "hard"]
    return [term.id for term, score in scores if score.contribution is None or score.verdict is Verdict.VIOLATED]


def decoders(found: Setting) -> dict[str, Decoder]:
    """Each gives about 128 responses in a call, over all prompts."""
    each = max(2, 128 // len(found.tasks))
    every: dict[str, Decoder] = {
        "mask": Mask(each, batch_size=128),
        "sir": Sir(each, batch_size=128),
        "smc": Smc(each, batch_size=128),
    }
    if found.rare:
        return every
    first = Sir(PILOT, batch_size=128).decode(found.model, found.tasks, max_tokens=found.cap, seed=6)
    pilot = pilot_of(first, found.tasks, found.cap)
    return {**every, "qrs": Qrs(responses=each, pilot=pilot, total_variation=TARGET, batch_size=128)}


def count_violations(found: Setting, wanted: int, state: dict[str, Any], keep: Callable[[], None]) -> list[str]:
    """Counts until every decoder has `wanted` responses; `state` remembers what was counted."""
    lines = []
    for name, decoder in decoders(found).items():
        own = state.setdefault(f"{found.name}/{name}", {"chunk": 0, "responses": 0, "broken": 0, "which": {}, "s": 0.0})
        while own["responses"] < wanted:
            began = time.perf_counter()
            results = decoder.decode(found.model, found.tasks, max_tokens=found.cap, seed=1000 + own["chunk"])
            spent = time.perf_counter() - began
            for prompt, result in enumerate(results):
                for sample in result.responses or result.samples:
                    broken = violations(found, prompt, sample.text)
                    own["responses"] += 1
                    own["broken"] += bool(broken)
                    for rule in broken:
                        own["which"][rule] = own["which"].get(rule, 0) + 1
            own["chunk"] += 1
            own["s"] += spent
            keep()
            print(f"{found.name} {name}: {own['responses']} of {wanted}", file=sys.stderr, flush=True)
        upper = exact_upper(own["broken"], own["responses"])
        lines.append(
            f"{found.name:<16}{name:<6}{own['responses']:>8} responses{own['broken']:>6} violations "
            f"(at most {upper:.1e} with 95 % confidence){1000 * own['s'] / own['responses']:>9.1f} ms a response"
            + (f"  {own['which']}" if own["broken"] else "")
        )
    return lines


def base_rate(found: Setting) -> str:
    """How often the model without the rules keeps them: what zero violations has to be compared with."""
    samples = sample_base(found.model, [task.prompt for task in found.tasks], BASE, found.cap, seed=77)
    kept = [not violations(found, prompt, sample.text) for prompt, own in enumerate(samples) for sample in own]
    return f"{found.name}: {sum(kept)} of {len(kept)} responses of the model without the rules keep all of them"


class Plain:
    """transformers' own `generate` on the same weights, sampling at temperature 1."""

    def __init__(self, path: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.network = AutoModelForCausalLM.from_pretrained(str(path), dtype=torch.float32).eval()

    def generate(self, prompt: tuple[int, ...], batch: int, cap: int, seed: int) -> int:
        """`batch` responses to one prompt; returns the number of tokens generated, padding left out."""
        import torch

        torch.manual_seed(seed)
        ids = torch.tensor([prompt] * batch)
        with torch.inference_mode():
            out = self.network.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=True, temperature=1.0, top_k=0, top_p=1.0,
                max_new_tokens=cap, pad_token_id=0,
            )  # fmt: skip
        return int((out[:, ids.shape[1] :] != 0).sum())


def times(found: Setting, repeats: int) -> list[str]:
    """Seconds of `BATCH` responses to one prompt: plain generate, mask, qrs at a TV of 0.05; medians of ratios."""
    plain, task = Plain(found.path), found.tasks[0]
    pilot = pilot_of(Sir(PILOT * 8).decode(found.model, [task], max_tokens=found.cap, seed=5), [task], found.cap)
    quality_lines: list[str] = []

    def decode(decoder: Decoder, seed: int) -> int:
        results = decoder.decode(found.model, [task], max_tokens=found.cap, seed=seed)
        told = results[0].diagnostics
        if told.acceptance is not None:
            distance = told.total_variation
            quality_lines.append(
                f"acceptance {told.acceptance.value:.3f}, estimated TV "
                + (
                    "not known"
                    if distance is None
                    else f"{distance.value:.3f} [{distance.low:.3f}, {distance.high:.3f}]"
                )
            )
        return sum(min(len(sample.tokens) + 1, found.cap) for sample in results[0].responses)

    ways: dict[str, Callable[[int], int]] = {
        "generate": lambda seed: plain.generate(task.prompt, BATCH, found.cap, seed),
        "mask": lambda seed: decode(Mask(BATCH, batch_size=BATCH), seed),
        "qrs": lambda seed: decode(Qrs(responses=BATCH, pilot=pilot, total_variation=TARGET, batch_size=BATCH), seed),
    }
    if found.rare:
        del ways["qrs"]
        told = quality(pilot, least_bound(pilot, TARGET))
        size = effective_size([weight for weight in pilot.log_weights if np.isfinite(weight)])
        quality_lines.append(
            f"effective size of {len(pilot.log_weights)} proposals {size:.1f}, acceptance at TV {TARGET} "
            f"{told.acceptance.value:.3f}: too low to be timed"
        )
    spent: dict[str, list[float]] = {name: [] for name in ways}
    tokens: dict[str, list[int]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, way in ways.items():
            began = time.perf_counter()
            made = way(repeat)
            if repeat:  # the first round warms up
                spent[name].append(time.perf_counter() - began)
                tokens[name].append(made)
        print(f"{found.name}: times, repetition {repeat} of {repeats}", file=sys.stderr, flush=True)
    lines = [f"{found.name}: batch {BATCH}, at most {found.cap} tokens, {repeats} repetitions in turns, one thread"]
    for name, limit in [each for each in (("generate", 1.0), ("mask", 1.5), ("qrs", 4.0)) if each[0] in ways]:
        ratios = np.array(spent[name]) / np.array(spent["generate"])
        verdict = "" if name == "generate" else f"  at most {limit} x {_holds(float(np.median(ratios)) <= limit)}"
        lines.append(
            f"  {name:<9}{1000 * np.median(spent[name]) / BATCH:>9.2f} ms a response"
            f"  [{1000 * min(spent[name]) / BATCH:.2f}, {1000 * max(spent[name]) / BATCH:.2f}]"
            f"{np.mean(tokens[name]) / BATCH:>8.1f} tokens a response   x {np.median(ratios):.2f} "
            f"[{ratios.min():.2f}, {ratios.max():.2f}]{verdict}"
        )
    return [*lines, f"  qrs: {quality_lines[-1]}"]


def _holds(is_so: bool) -> str:
    return "holds" if is_so else "DOES NOT HOLD"


def chosen(only: str | None) -> tuple[list[Callable[[], Setting]], list[str]]:
    """What there is to do, and what is skipped and why."""
    examples, ways, skipped = ROOT / "examples", [], []
    if only != "default":
        if STORIES.is_dir():
            prompts = examples / "childrens_story" / "prompts.jsonl"
            ways.append(lambda: setting("stories260K", STORIES, STORY_RULES, prompts, 5, 64))
            ways.append(lambda: setting("stories, rarer", STORIES, HARDER_STORY_RULES, prompts, 5, 64, rare=True))
        else:
            skipped.append("stories260K is skipped: its weights are not beside this checkout")
    if only != "stories260K":
        weights = default_model_path()
        if any(weights.glob("*.safetensors")):
            asked = examples / "support" / "prompts.jsonl"
            ways.append(lambda: setting("default", weights, SUPPORT_RULES, asked, 8, 96))
        else:
            skipped.append("the shipped model is skipped: its weights are not in this checkout")
    return ways, skipped


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--responses", type=int, default=10_000)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--only", choices=("stories260K", "default"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    wanted, repeats = (200, 2) if options.quick else (options.responses, 7)
    state: dict[str, Any] = {}
    if options.state is not None and options.state.exists():
        state = json.loads(options.state.read_text(encoding="utf-8"))

    def keep() -> None:
        if options.state is not None:
            part = options.state.with_suffix(".part")
            part.write_text(json.dumps(state), encoding="utf-8")
            part.replace(options.state)

    shown = sys.argv[1:] if arguments is None else list(arguments)
    print(" ".join(["OMP_NUM_THREADS=1 python tests/bench/decoding/run_d.py", *shown]) + "\n")
    print(f"Python {sys.version.split()[0]}; {os.getloadavg()[0]:.1f} processes wanted the {os.cpu_count()} cores")
    ways, skipped = chosen(options.only)
    print("\n".join(skipped))
    for way in ways:
        found = way()
        print(base_rate(found))
        print("\n".join(times(found, repeats)) + "\n", flush=True)
        print("\n".join(count_violations(found, wanted // 4 if found.rare else wanted, state, keep)) + "\n", flush=True)


if __name__ == "__main__":
    main()
