"""Which picture of the base model makes the best look-ahead: what the next token class depends on, and smoothing.

    python tests/bench/decoding/bench_proxy.py

Writes bench_proxy.txt beside itself. `gap` is log Z − E log w of one proposal in nats, which is KL(q ‖ p*); `TV` is the
total variation of q to p*; `chi` is log(1 + χ²(p*‖q)), which rules how many proposals importance resampling needs. All
three are enumerated on the models of six tokens (A: random GPT-2s; tabular: laws that depend on the place and the last
two tokens). On B, an order-2 law of 40 tokens, the gap is a mean over 4,000 proposals against the exact log Z. On the
model that comes with bylaw nobody knows Z: there the mean log weight and the mean log Ẑ are printed, and larger is
better. `the state, 4 events` has a guessed constant; elsewhere the samples choose how much to smooth, by leave-one-out,
4 events at least. `stretch`: places after the fourth share a law by half octaves. What bylaw does is `the state and
every place`.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from models import gpt2_model, markov_model
from numpy.typing import NDArray

from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, indicator, linear, scale, support
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.models.interface import Vocabulary
from bylaw.runtime.models.sampling import BaseSample
from bylaw.runtime.twist import Twist, build_twist
from bylaw.runtime.twist import proxy as proxy_module
from bylaw.runtime.twist.proxy import leave_one_out
from bylaw.spec.pattern import parse_pattern
from tinymodels import TabularModel

FloatArray = NDArray[np.float64]
HERE = Path(__file__).parent
SAMPLES, REPEATS = (128, 256, 512), 3
UNIGRAM, FLOORLESS = 1e9, 2.0**-6


def found(pattern: str, mode: Any = "search") -> Any:
    return language(parse_pattern(pattern), mode)


def counted(pattern: str, weight: float) -> Valued:
    machine = occurrences(parse_pattern(pattern))
    assert machine is not None
    return scale(linear(machine), weight)


def rules(a: str, b: str, needed: str, end: str) -> Valued:
    """Must-not `ab`, must-contain, must-end, −1 nat for each `b`, +1.5 nats for two ends in a row."""
    hard = [support(found(a + b).complement()), support(found(needed)), support(found(end, "suffix"))]
    return add([*hard, counted(b, -1.0), scale(indicator(found(end + end)), 1.5)])


@dataclass(eq=False)
class World:
    """A model over single letters with a policy: moves and rewards by state and token, dead moves to the last state."""

    family: str
    laws: Callable[[Sequence[tuple[int, ...]]], FloatArray]
    sample: Callable[[int, np.random.Generator], list[tuple[int, ...]]]
    pieces: tuple[bytes, ...]
    cap: int
    group: Valued

    def __post_init__(self) -> None:
        self.end = len(self.pieces)
        self.vocabulary = Vocabulary((*self.pieces, None), frozenset({self.end}))
        self.automaton = TokenAutomaton(self.group, self.vocabulary.token_bytes)
        rows = [self.automaton.row(state) for state in range(self.automaton.size)]
        self.moves = np.array([moves[: self.end] for moves, _ in rows])
        self.paid = np.array([paid[: self.end] for _, paid in rows])
        self.final = self.automaton.final(np.arange(self.automaton.size))

    def scores(self, law: FloatArray, states: NDArray[Any], values: FloatArray) -> FloatArray:
        """[n, V + 1] the proposal's law, log; `values` [V + 1, Q + 1] by the token before (plus one) and the state."""
        after = np.where(self.moves >= 0, self.paid + values[np.arange(1, self.end + 1), self.moves], -np.inf)[states]
        scores = np.concatenate([law[:, :-1] + after, (law[:, -1] + self.final[states])[:, None]], axis=1)
        with np.errstate(invalid="ignore"):
            return scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)


@dataclass(eq=False)
class Enumerated(World):
    """All responses that the policy allows; `measure` is exact."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.levels: list[tuple[Any, ...]] = []
        prefixes: list[tuple[int, ...]] = [()]
        states, log_p, reward = np.array([self.automaton.start]), np.zeros(1), np.zeros(1)
        joint = []
        for _ in range(self.cap):
            law = self.laws(prefixes)
            after = self.moves[states]
            kept = np.flatnonzero(after.ravel() >= 0)
            self.levels.append((states, law, kept))
            joint.append(log_p + law[:, -1] + reward + self.final[states])
            prefixes = [(*prefixes[i // self.end], int(i % self.end)) for i in kept]
            reward = (reward[:, None] + self.paid[states]).ravel()[kept]
            log_p, states = (log_p[:, None] + law[:, :-1]).ravel()[kept], after.ravel()[kept]
        self.joint = np.concatenate([*joint, log_p + reward + self.final[states]])
        self.log_z = float(np.logaddexp.reduce(self.joint))

    def measure(self, values: FloatArray) -> tuple[float, ...]:
        """(gap, TV, chi) under `values` [cap + 1, V + 1, Q + 1]."""
        log_q, ended = np.zeros(1), []
        for step, (states, law, kept) in enumerate(self.levels):
            scores = log_q[:, None] + self.scores(law, states, values[self.cap - step - 1])
            scores[np.isneginf(log_q)] = -np.inf
            ended.append(scores[:, -1])
            log_q = scores[:, :-1].ravel()[kept]
        log_q = np.concatenate([*ended, log_q])
        q = np.exp(log_q)
        assert abs(q.sum() - 1) < 1e-9
        able = q > 0
        weight = self.joint[able] - log_q[able] - self.log_z
        tv = 0.5 * np.abs(q - np.exp(self.joint - self.log_z)).sum()
        return float(-(q[able] @ weight)), float(tv), float(np.log(q[able] @ np.exp(2 * weight)))


@dataclass(eq=False)
class Simulated(World):
    """A Markov law of order 2: proposals are drawn, and log Z comes from dynamic programming."""

    rows: FloatArray | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        assert self.rows is not None
        size = self.end + 1
        self.after = np.array([[(c % size) * size + t for t in range(self.end)] for c in range(size * size)])
        value = np.repeat(self.final[None, :], size * size, axis=0)
        for _ in range(self.cap):
            ahead = value[self.after[:, None, :], np.maximum(self.moves, 0)[None]] + self.paid[None]
            terms = self.rows[: size * size, None, :-1] + np.where(self.moves[None] >= 0, ahead, -np.inf)
            ending = self.rows[: size * size, None, -1] + self.final[None]
            value = np.logaddexp(np.logaddexp.reduce(terms, axis=2), ending)
        self.log_z = float(value[size * size - 1, self.automaton.start])

    def measure(self, values: FloatArray) -> tuple[float, ...]:
        assert self.rows is not None
        rng, count = np.random.default_rng(1), 4_000
        context = np.full(count, len(self.after) - 1)
        states, weight, alive = np.full(count, self.automaton.start), np.zeros(count), np.ones(count, dtype=bool)
        for step in range(self.cap):
            at = np.flatnonzero(alive)
            law = self.rows[context[at]]
            scores = self.scores(law, states[at], values[self.cap - step - 1])
            drawn = (np.exp(scores).cumsum(axis=1) < rng.random((len(at), 1))).sum(axis=1).clip(max=self.end)
            picked = np.arange(len(at)), drawn
            weight[at] += law[picked] - scores[picked]
            stop = drawn == self.end
            weight[at[stop]] += self.final[states[at[stop]]]
            alive[at[stop]] = False
            go, token = at[~stop], drawn[~stop]
            weight[go] += self.paid[states[go], token]
            states[go], context[go] = self.moves[states[go], token], self.after[context[go], token]
        weight[alive] += self.final[states[alive]]
        weight -= self.log_z
        return float(-weight.mean()), float("nan"), float(np.log(np.mean(np.exp(2 * weight))))


def built(world: World, samples: list[BaseSample], *, least: float = proxy_module.LEAST, **how: Any) -> FloatArray:
    """The values of a twist of ours, the same whatever the last token was."""
    kept, coarse = proxy_module.LEAST, proxy_module._COARSE
    proxy_module.LEAST, proxy_module._COARSE = (
        least,
        tuple(2.0**power for power in range(-6, 21, 2) if 2.0**power >= least),
    )
    try:
        twist = build_twist(world.automaton, world.vocabulary, samples, world.cap, **how)
    finally:
        proxy_module.LEAST, proxy_module._COARSE = kept, coarse
    return np.repeat(twist.log_value[:, None, :], world.end + 1, axis=1)


def stretches(cap: int) -> NDArray[np.int64]:
    """[cap + 1] the first four places are stretches of their own, then each octave has two."""
    places = np.arange(cap + 1)
    octave = np.floor(np.log2(np.maximum(places, 1))).astype(np.int64)
    return np.where(places < 4, places, 2 * octave + (places >= 1.5 * 2.0**octave))


def last_class(world: World, samples: list[BaseSample]) -> FloatArray:
    """Given the state and the class of the last token, smoothed towards the state; both amounts by leave-one-out."""
    size, classes = world.automaton.size, world.automaton.class_of[: world.end]
    kinds = int(classes.max()) + 2
    label, memory = np.append(classes, kinds - 1), np.append(0, classes + 1)
    counts = np.zeros((kinds, size, kinds))
    spoken = np.zeros(world.end + 1)
    for sample in samples:
        state, last = world.automaton.start, 0
        for token in (*sample.tokens, *([world.end] if sample.ended else [])):
            spoken[token] += 1
            if state >= 0:
                counts[last, state, label[token]] += 1
                state = world.moves[state, token] if token < world.end else -1
            last = memory[min(token + 1, world.end)]
    alone = (spoken + 1) / (spoken + 1).sum()
    by_class = np.bincount(label, weights=alone, minlength=kinds)

    def smoothed(seen: FloatArray, prior: FloatArray) -> FloatArray:
        total, prior = seen.sum(axis=-1, keepdims=True), np.broadcast_to(prior, seen.shape)
        at = seen > 0
        likely = {
            k: leave_one_out(seen[at], np.broadcast_to(total, seen.shape)[at], prior[at], k)
            for k in (4.0 * 2.0 ** np.arange(0, 14)).tolist()
        }
        k = max(likely, key=likely.__getitem__)
        return (seen + k * prior) / (total + k)

    law = smoothed(counts, smoothed(counts.sum(axis=0), by_class)[None])
    tokens = law[memory][:, :, label] * (alone / by_class[label])
    values = np.full((world.cap + 1, world.end + 1, size + 1), -np.inf)
    values[0, :, :-1] = world.final
    with np.errstate(divide="ignore"):
        for left in range(1, world.cap + 1):
            ahead = world.paid + values[left - 1][np.arange(1, world.end + 1), world.moves]
            terms = np.log(tokens[:, :, :-1]) + np.where(world.moves >= 0, ahead, -np.inf)
            ending = np.log(tokens[:, :, -1]) + world.final
            values[left, :, :-1] = np.logaddexp(np.logaddexp.reduce(terms, axis=2), ending)
    return values


VARIANTS: dict[str, Callable[[World, list[BaseSample]], FloatArray]] = {
    "nothing": lambda w, s: built(w, s, smoothing=UNIGRAM),
    "the state, 4 events": lambda w, s: built(w, s, smoothing=4.0),
    "the state": lambda w, s: built(w, s, stretch_of=np.zeros(w.cap + 1, dtype=np.int64)),
    "the state and the last class": last_class,
    "the state and every place": built,
    "the state and the stretch": lambda w, s: built(w, s, stretch_of=stretches(w.cap)),
    "the same, no least amount": lambda w, s: built(w, s, least=FLOORLESS, stretch_of=stretches(w.cap)),
}


def worlds() -> list[World]:
    found: list[World] = []
    for seed in range(4):
        tabular = TabularModel(seed=seed)
        pieces, group = tabular.vocabulary[:-1], rules("a", "b", "1", r"\.")
        found.append(Enumerated("tabular", tabular.next_log_probs, tabular.sample, pieces, 6, group))
        table = gpt2_model(seed, spread=0.5)
        laws = lambda prefixes, table=table: np.array([table.row(table.node(prefix)) for prefix in prefixes])  # noqa: E731
        found.append(Enumerated("A", laws, table.sample, table.pieces, table.cap, rules("a", "b", "c", "d")))
        order2 = markov_model(seed, cap=40)
        group = rules("a", "b", "cc", "d")
        found.append(Simulated("B", lambda _: np.zeros(0), order2.sample, order2.pieces, 40, group, order2.rows))
    return found


def tables() -> list[str]:
    parts, all_worlds = [], worlds()
    for family in ("A", "tabular", "B"):
        parts.append(f"\n{family}: means over 4 models × {REPEATS} sets of base samples")
        head = "".join(f"{count:>10} gap      TV     chi" for count in SAMPLES)
        parts.append(f"{'next class given':32}{head}")
        for name, build in VARIANTS.items():
            cells = ""
            for count in SAMPLES:
                found = []
                for world in (one for one in all_worlds if one.family == family):
                    for repeat in range(REPEATS):
                        drawn = world.sample(count, np.random.default_rng(100 + repeat))
                        samples = [BaseSample(t, "", 0.0, len(t) < world.cap) for t in drawn]
                        found.append(world.measure(build(world, samples)))  # type: ignore[attr-defined]
                gap, tv, chi = np.mean(found, axis=0)
                cells += f"{gap:14.3f}{tv:8.3f}{chi:8.3f}".replace("nan", "  -")
            parts.append(f"{name:32}{cells}")
    return parts


def shipped() -> list[str]:
    from bylaw.compiler.automata.counts import count_between
    from bylaw.runtime.audit.transcripts import read_prompts
    from bylaw.runtime.decoders.interface import DecodeTask, PromptLaw
    from bylaw.runtime.decoders.sir import Sir
    from bylaw.runtime.default_model import default_model_path
    from bylaw.runtime.models import load_model, sample_base
    from bylaw.spec.units import words

    model, cap = load_model(default_model_path()), 100
    traces = read_prompts(HERE.parents[2] / "examples" / "support" / "prompts.jsonl").traces[:8]
    prompts = [model.encode_chat([{"role": m.role, "content": m.content} for m in t.messages]) for t in traces]
    base = [sample for own in sample_base(model, prompts, 32, cap, seed=0) for sample in own]
    policies = {
        "10 to 60 words": support(count_between(words.machine(), 10, 60)),
        "must contain `order`": support(found("order")),
        "-0.7 a `you`, +2 for `refund`": add([counted("you", -0.7), scale(indicator(found("refund")), 2.0)]),
    }
    flat = np.zeros(cap + 1, dtype=np.int64)
    variants: dict[str, Callable[[TokenAutomaton], Twist]] = {
        "the state, 4 events": lambda a: build_twist(a, model.vocabulary, base, cap, smoothing=4.0),
        "the state": lambda a: build_twist(a, model.vocabulary, base, cap, stretch_of=flat),
        "the state and every place": lambda a: build_twist(a, model.vocabulary, base, cap),
        "the state and the stretch": lambda a: build_twist(a, model.vocabulary, base, cap, stretch_of=stretches(cap)),
    }
    parts = [
        f"\nThe model of bylaw: {len(base)} base samples, 4 prompts × 32 proposals of at most {cap} tokens",
        f"{'next class given':32}" + "".join(f"{name:>34}" for name in policies),
        f"{'':32}" + f"{'mean log w':>22}{'mean log Ẑ':>12}" * len(policies),
    ]
    for name, build in variants.items():
        cells = ""
        for group in policies.values():
            vocabulary = model.vocabulary
            twist = build(TokenAutomaton(group, vocabulary.token_bytes, vocabulary.drops_leading_space))
            tasks = [DecodeTask(prompt, PromptLaw((group,)), (twist,)) for prompt in prompts[:4]]
            results = Sir(32).decode(model, tasks, max_tokens=cap, seed=1)
            weights = [sample.log_weight for result in results for sample in result.samples]
            cells += f"{np.mean(weights):22.2f}{np.mean([result.log_z_estimate for result in results]):12.2f}"
        parts.append(f"{name:32}{cells}")
    return parts


def main() -> None:
    began = time.perf_counter()
    parts = ["python tests/bench/decoding/bench_proxy.py", *tables(), *shipped()]
    (HERE / "bench_proxy.txt").write_text("\n".join(parts) + "\n", encoding="utf-8")
    print("\n".join(parts))
    print(f"\n{time.perf_counter() - began:.0f} s in all")


if __name__ == "__main__":
    main()
