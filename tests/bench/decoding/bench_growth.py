"""What look-ahead costs as policies grow: rules, phrases of a list, tokens of the answer, states, tokens of the model.

    python tests/bench/decoding/bench_growth.py

Writes bench_growth.txt and bench_growth.svg beside itself. Every point is a process of its own, so that its peak memory
is its own: the most that the process holds, less what it held before. Policies are made up from a fixed seed; the
vocabulary is that of the model that comes with bylaw (for the last axis: made-up words over all bytes), and so are the
base samples, 256 sequences of random tokens: cost does not depend on what they say. `automata` is the time from rules
to merged automata, `look-ahead` from there to the twists. A rule whose automaton would be too large is named.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from bylaw.compiler.factors import factorise
from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.default_model import default_model_path
from bylaw.runtime.models.interface import Vocabulary
from bylaw.runtime.models.tokenbytes import read_vocabulary
from bylaw.runtime.report.price_plots import svg_text
from bylaw.runtime.twist import SamplePool, TwistError
from bylaw.runtime.twist.compiler import TwistCompiler
from bylaw.spec.source import Source

HERE = Path(__file__).parent
LETTERS = "etaoinshrdlucmfwypvbgk"
TOKENS, SAMPLES = 160, 256


@dataclass(frozen=True)
class NoModel:
    """A vocabulary is all of a model that look-ahead needs."""

    vocabulary: Vocabulary
    name: str = "none"
    digest: str = "none"


@dataclass(frozen=True)
class Point:
    """Seconds, mebibytes, and the sizes of what came out; `told` is a refusal or a remark."""

    size: int
    automata: float
    look_ahead: float
    groups: int
    states: int
    classes: int
    memory: float
    told: str


def words(count: int) -> list[str]:
    draw = random.Random(5)
    found: dict[str, None] = {}
    while len(found) < count:
        found["".join(draw.choice(LETTERS) for _ in range(draw.randint(4, 9)))] = None
    return list(found)


def forbidding(count: int) -> str:
    return "\n".join(f'rule r{n} at user {{ must not mention "{word}" }}' for n, word in enumerate(words(count)))


def mixed(count: int) -> str:
    """Half forbid a word, a quarter ask for one, a quarter would like one: products grow as fast as they can."""
    kinds = ("must not mention {}", "must mention {}", "must not contain {}", "should mention {} weight 0.5")
    return "\n".join(
        f"rule r{n} at user {{ {kinds[n % 4].format(json.dumps(word))} }}" for n, word in enumerate(words(count))
    )


def listing(count: int) -> str:
    return f"rule list at user {{ must not mention any of [{', '.join(map(json.dumps, words(count)))}] }}"


def at_most(count: int) -> str:
    return f"rule length at user {{ must have at most {count} words }}"


def vocabulary_of(size: int) -> Vocabulary:
    """All bytes, then made-up words with a space before them, and an end of text."""
    pieces = [bytes([byte]) for byte in range(256)]
    pieces += [f" {word}".encode() for word in words(max(size - 257, 0))]
    return Vocabulary((*pieces[: size - 1], None), frozenset({size - 1}))


def own_vocabulary() -> Vocabulary:
    folder = Path(default_model_path())
    size = json.loads((folder / "config.json").read_text())["vocab_size"]
    description = json.loads((folder / "tokenizer.json").read_text())
    ends = frozenset(token["id"] for token in description["added_tokens"] if token["content"] == "<|end|>")
    return read_vocabulary(description, size, ends)


def measure(size: int, policy: str, vocabulary: Vocabulary, tokens: int) -> Point:
    terms = compile_source(Source("growth", policy)).require().terms
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    factors = factorise(terms)
    merged = time.process_time()
    rng = np.random.default_rng(3)
    regular = np.flatnonzero(vocabulary.regular)
    drawn = rng.choice(regular, size=(SAMPLES, min(tokens, 160))).astype(np.int32)
    count = drawn.shape[1]
    pool = SamplePool(
        drawn.ravel(), np.arange(SAMPLES) * count, np.full(SAMPLES, count), np.ones(SAMPLES, dtype=np.bool_)
    )
    told = "; ".join(factors.remarks())
    compiler = TwistCompiler(NoModel(vocabulary), tokens)  # type: ignore[arg-type]
    merged_at = time.process_time()
    try:
        twists = compiler.twists(factors, pool)
    except TwistError as error:
        told, twists = str(error), ()
    ended = time.process_time()
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return Point(
        size, merged - began, ended - merged_at, len(factors.groups), sum(group.size for group in factors.groups),
        max((twist.automaton.block(0).next_state.shape[1] for twist in twists), default=0), memory, told,
    )  # fmt: skip


def alone(*arguments: Any) -> Point:
    """`measure` in a process of its own."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def work() -> None:
        there.send(measure(*arguments))

    process = context.Process(target=work)
    process.start()
    there.close()
    found: Point = here.recv()
    process.join()
    return found


@dataclass(frozen=True)
class Axis:
    name: str
    unit: str
    points: tuple[Point, ...]


def axes() -> list[Axis]:
    own = own_vocabulary()

    def along(name: str, unit: str, sizes: Sequence[int], ask: Callable[[int], tuple[str, Vocabulary, int]]) -> Axis:
        return Axis(name, unit, tuple(alone(size, *ask(size)) for size in sizes))

    sixty = forbidding(60) + "\nrule length at user { must have at most 90 words }"
    many = (10, 100, 1000, 3000, 10_000)
    return [
        along(
            "rules that forbid a word each", "rules", (1, 10, 100, 300, 1000), lambda n: (forbidding(n), own, TOKENS)
        ),
        along("rules of all kinds", "rules", (1, 4, 16, 64, 256), lambda n: (mixed(n), own, TOKENS)),
        along("one list of forbidden phrases", "phrases", many, lambda n: (listing(n), own, TOKENS)),
        along("tokens of the answer", "tokens", (32, 128, 512, 2048), lambda n: (sixty, own, n)),
        along("at most so many words", "words", (30, 100, 300, 1000, 3000), lambda n: (at_most(n), own, TOKENS)),
        along("vocabulary", "tokens", (512, 4096, 32_000, 128_000), lambda n: (sixty, vocabulary_of(n), TOKENS)),
    ]


def table(axis: Axis) -> str:
    head = f"{axis.unit:>20}  automata s  look-ahead s  groups   states  classes  peak MiB  MiB per 1,000 states"
    lines, told = [axis.name, head], set[str]()
    for point in axis.points:
        each = f"{1000 * point.memory / point.states:20.1f}" if point.states else f"{'-':>20}"
        lines.append(
            f"{point.size:20,}  {point.automata:10.2f}  {point.look_ahead:12.2f}  {point.groups:6}  {point.states:7,}"
            f"  {point.classes:7,}  {point.memory:8.0f}  {each}"
        )
        if point.told and point.told not in told:
            told.add(point.told)
            lines.append(f"{'':22}{point.told}")
    return "\n".join(lines)


def draw(found: Sequence[Axis]) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.0, 7.2))
    figure.subplots_adjust(left=0.06, right=0.985, bottom=0.08, top=0.94, wspace=0.28, hspace=0.42)
    for number, axis in enumerate(found, 1):
        axes = figure.add_subplot(2, 3, number)
        sizes = [point.size for point in axis.points]
        for label, mark, values in (
            ("automata, s", "o", [point.automata for point in axis.points]),
            ("look-ahead, s", "s", [point.look_ahead for point in axis.points]),
            ("states / 1,000", "^", [point.states / 1000 for point in axis.points]),
            ("peak memory, GiB", "D", [point.memory / 1024 for point in axis.points]),
        ):
            axes.plot(sizes, np.maximum(values, 1e-3), marker=mark, label=label, linewidth=1.2)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(axis.name, fontsize="medium")
        axes.set_xlabel(axis.unit)
        axes.spines[["top", "right"]].set_visible(False)
        if number == 1:
            axes.legend(frameon=False, fontsize="small")
    return svg_text(figure, "growth")


def main() -> None:
    began = time.perf_counter()
    found = axes()
    parts = ["python tests/bench/decoding/bench_growth.py", f"{SAMPLES} base samples, {TOKENS} tokens of look-ahead"]
    parts += [f"\n{table(axis)}" for axis in found]
    (HERE / "bench_growth.txt").write_text("\n".join(parts) + "\n", encoding="utf-8")
    (HERE / "bench_growth.svg").write_text(draw(found), encoding="utf-8")
    print("\n".join(parts))
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
