"""Models B and C: the gap log Z − E log Ẑ, with Z by dynamic programming, and the claim about particles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from decoding.measure import Row, Run, number, run_row
from decoding.models import TableModel, markov_model, zipf_model
from decoding.ours import Prepared, prepare, runs_of
from decoding.peers import CONFIGURATIONS, Genlm
from decoding.rules import Rules, TokenMachine, check_rules, rules_b, rules_c
from decoding.run_a import BASE_SAMPLES, timed

from bylaw.runtime.decoders.interface import Decoder
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.pilot import pilot_of
from bylaw.runtime.decoders.qrs import Qrs
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.smc import Smc
from bylaw.runtime.decoders.tree import Tree

Say = Callable[[str], None]
FEW, MANY, BUDGET, ENOUGH = 8, 64, 1000, 12


@dataclass
class Found:
    """One model: rows by decoder, ours and theirs, and lines of text."""

    name: str
    label: str
    log_z: float
    ours: dict[str, list[Row]] = field(default_factory=dict)
    peers: dict[str, list[Row]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)


def ours_of(found: Found, model: TableModel, prepared: Prepared, quick: bool, say: Say) -> None:
    """sir, smc and mask from 1 to 256 particles, tree, and qrs."""
    sizes = (1, FEW, MANY) if quick else (1, 2, 4, FEW, 16, 32, MANY, *((256,) if model.cap <= 40 else ()))
    makers: dict[str, Callable[[int], Decoder]] = {"sir": Sir, "smc": Smc, "mask, weighted": Mask}
    for name, make in makers.items():
        for size in sizes if name != "mask, weighted" else sizes[::2]:
            say(f"{found.name}: {name} {size}")
            count = max(12, (400 if quick else 3000) // (size + 8))
            runs, seconds = timed(
                lambda make=make, size=size, count=count: runs_of(
                    make(size), model, prepared, count, 1, together=max(1, 256 // size)
                )
            )
            found.ours.setdefault(name, []).append(run_row(name, size, runs, seconds, found.log_z))
    if not quick:
        for size in (FEW, MANY):
            say(f"{found.name}: tree {size}")
            runs, seconds = timed(
                lambda size=size: runs_of(Tree(size), model, prepared, max(12, 400 // size), 1, together=8)
            )
            found.ours.setdefault("tree", []).append(run_row("tree", size, runs, seconds, found.log_z))
    say(f"{found.name}: qrs")
    task = prepared.task(0)
    pilot_results = runs_pilot(model, prepared)
    pilot = pilot_of(pilot_results, [task], model.cap)
    decoder = Qrs(pilot=pilot, at_once=1)
    runs, seconds = timed(lambda: runs_of(decoder, model, prepared, 10 if quick else 40, 1))
    found.ours["qrs, pilot, one by one"] = [
        run_row("qrs, pilot, one by one", 0, [without_z(run) for run in runs], seconds, found.log_z)
    ]


def runs_pilot(model: TableModel, prepared: Prepared):  # type: ignore[no-untyped-def]
    """256 proposals for the bound of qrs."""
    from decoding.models import CountedModel, Counter

    return Sir(256).decode(CountedModel(model, Counter()), [prepared.task(0)], max_tokens=model.cap, seed=99)


def without_z(run: Run) -> Run:
    """The same run; how many proposals of qrs count towards its Ẑ is no matter of a budget."""
    return Run(run.tokens, run.share, math.nan, run.ess, run.passes, run.acceptance, run.log_beta)


def peers_of(found: Found, machine: TokenMachine, quick: bool, say: Say) -> None:
    """genlm-control, and best-of-n as importance resampling of base samples."""
    for configuration in CONFIGURATIONS[4:5] if quick else (CONFIGURATIONS[0], *CONFIGURATIONS[2:]):
        name, peer = f"genlm {configuration.name}", Genlm(machine, configuration)
        direct = configuration.sampler == "direct"
        counts = {FEW: 12, MANY: 12} if quick else {1: 40, FEW: 30 if direct else 20, MANY: 24 if direct else 16}
        for size, count in counts.items():
            say(f"{found.name}: {name} {size}")
            runs, seconds = timed(lambda peer=peer, size=size, count=count: peer.runs(size, count, seed=size))
            found.peers.setdefault(name, []).append(run_row(name, size, runs, seconds, found.log_z))
    rng = np.random.default_rng(5)
    for size in (MANY, 1024):
        runs, seconds = timed(lambda size=size: [best_of(machine, size, rng) for _ in range(20)])
        found.peers.setdefault("soft best-of-n", []).append(run_row("soft best-of-n", size, runs, seconds, found.log_z))


def best_of(machine: TokenMachine, size: int, rng: np.random.Generator) -> Run:
    """Soft best-of-n: base samples resampled by e^R; unique prefixes counted."""
    model = machine.model
    drawn = model.sample(size, rng)
    asked, weights = set(), []
    for tokens in drawn:
        node = 0
        for place, token in enumerate((*tokens, model.end)):
            if place < model.cap:
                asked.add(node)
            node = model.child(node, token) if token != model.end else node
        weights.append(machine.rules.log_reward(model.text(tokens)))
    log_weights = np.array(weights)
    if not np.isfinite(log_weights).any():
        return Run((), np.zeros(0), -math.inf, 0.0, len(asked))
    share = np.exp(log_weights - log_weights.max())
    log_z = float(log_weights.max() + np.log(share.mean()))
    return Run(tuple(drawn), share / share.sum(), log_z, float(share.sum() ** 2 / np.square(share).sum()), len(asked))


def at_budget(rows: list[Row], passes: float) -> float:
    """The gap with that many passes by interpolation between logarithms; nan where the rows do not span them."""
    ways = sorted((row.passes, row.gap) for row in rows if math.isfinite(row.gap) and row.gap > 0)
    for (cost, gap), (more, less) in itertools.pairwise(ways):
        if cost <= passes <= more:
            share = math.log(passes / cost) / math.log(more / cost)
            return math.exp(math.log(gap) + share * math.log(less / gap))
    return math.nan


def claim(found: Found) -> list[str]:
    """Our better decoder at 8 particles against the best peer at 64 (of those with runs enough to tell)."""
    mine = [row for name in ("sir", "smc") for row in found.ours[name] if row.size == FEW]
    theirs = [
        row
        for rows in found.peers.values()
        for row in rows
        if row.size == MANY and math.isfinite(row.gap) and row.runs >= ENOUGH
    ]
    if not theirs:
        return [f"claim {found.name}: too few runs of the peers to tell"]
    ours, best = min(mine, key=lambda row: row.gap), min(theirs, key=lambda row: row.gap)
    difference, error = ours.gap - best.gap, math.hypot(ours.error, best.error)
    verdict = "holds" if difference <= 0 else "DOES NOT HOLD"
    if abs(difference) < 2 * error:
        verdict += " (within two standard errors)"
    lines = [
        f"claim {found.name}: gap at {FEW} particles {ours.gap:.4f} ± {ours.error:.4f} ({ours.name}, "
        f"{ours.passes:.0f} passes), best peer at {MANY} {best.gap:.4f} ± {best.error:.4f} ({best.name}, "
        f"{best.passes:.0f} passes): {verdict}"
    ]
    budgets = {
        name: at_budget(rows, BUDGET) for name, rows in [*found.ours.items(), *found.peers.items()] if len(rows) > 1
    }
    told = ", ".join(
        f"{name} {number(gap, 4)}"
        for name, gap in sorted(budgets.items(), key=lambda pair: (math.isnan(pair[1]), pair[1]))
    )
    lines.append(f"gap at {BUDGET} passes (interpolated; – where the runs do not span them): {told}")
    return lines


def run_one(label: str, model: TableModel, rules: Rules, quick: bool, say: Say) -> Found:
    machine = TokenMachine(rules, model)
    found = Found(model.name, label, machine.log_z())
    texts = [model.text(tokens) for tokens in model.sample(100 if quick else 1000, np.random.default_rng(3))]
    checked = check_rules(rules, texts)
    prepared = prepare(model, rules, samples=BASE_SAMPLES, seed=0)
    found.lines.append(
        f"{model.name}: P0(H) = {math.exp(machine.log_z(hard_only=True)):.2e}, log Z = {found.log_z:.4f}; the "
        f"hand-written rules agree with the reference evaluator on {checked} base samples; paid once: "
        f"{prepared.samples} base samples = {prepared.passes} unique prefixes, {len(prepared.twists)} twists"
    )
    ours_of(found, model, prepared, quick, say)
    peers_of(found, machine, quick, say)
    found.lines += claim(found)
    return found


def run_bc(quick: bool, say: Say) -> Iterator[Found]:
    """B at two lengths, and C twice."""
    b, c = rules_b(), rules_c()
    yield run_one("b_20", markov_model(0, 20), b, quick, say)
    yield run_one("c_0", zipf_model(0), c, quick, say)
    if not quick:
        yield run_one("b_80", markov_model(0, 80), b, quick, say)
        yield run_one("c_2", zipf_model(2), c, quick, say)
