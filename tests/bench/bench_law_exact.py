"""The exact law of Markov models at size, the path integral beside Shapley's values, and a trade-off curve.

    OMP_NUM_THREADS=1 python tests/bench/bench_law_exact.py

Processor seconds of one thread, least of two repetitions. "states" are joint ones, (last token, automaton state); the
automaton counts tokens of one kind up to a limit, beyond which a hard rule forbids more. "apart" is the largest
difference between the two divisions of KL, in nats: they are different definitions for rules that depend on each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from bylaw.compiler.law.markov import MarkovChain, RegulatedChain
from bylaw.compiler.law.markov_automaton import TokenAutomaton, from_transitions, product
from bylaw.compiler.law.markov_dual import solve_markov_dual
from bylaw.compiler.law.markov_length import length_limit
from bylaw.compiler.law.path_prices import path_integral
from bylaw.compiler.law.prices import PricedPrompt, shapley
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.law.tradeoff import tradeoff_curve

Result = TypeVar("Result")
TOKENS, LONGEST = 50, 200


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    best, result = np.inf, None
    for _ in range(2):
        before = time.process_time()
        result = work()
        best = min(best, time.process_time() - before)
    assert result is not None
    return best, result


def counted(most: int) -> RegulatedChain:
    """50 tokens, at most 200 of them: at most ``most`` tokens of one kind, and three features of pairs of tokens."""
    rng = np.random.default_rng(most)
    logits = rng.normal(size=(TOKENS + 1, TOKENS + 1))
    logits[:, -1] -= 5.0
    rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    kind = np.arange(TOKENS) < 10
    states = np.arange(most + 1)[:, None]
    reward = np.where(kind[None, :] & (states == most), -np.inf, 0.0)
    delta = np.minimum(states + kind[None, :], most)
    none = np.zeros((most + 1, TOKENS, 0))
    limit = TokenAutomaton(delta, 0, reward, np.zeros(most + 1), none, np.zeros((most + 1, 0)))
    features = np.zeros((TOKENS + 1, TOKENS, 3))
    features[:, :5, 0] = features[:, :, 2] = 1.0
    features[:TOKENS, :, 1] = np.eye(TOKENS)
    pairs = from_transitions(np.zeros((51, 50)), np.zeros(51), features, np.zeros((51, 3)))
    return RegulatedChain(MarkovChain(rows[-1], rows[:-1], LONGEST), product(limit, pairs))


def markov() -> None:
    print(f"Markov model: {TOKENS} tokens, responses of up to {LONGEST}, three budgets")
    print(f"{'states':>8} {'log Z':>8} {'moments':>8} {'dual':>8} {'steps':>6} {'2,000 draws':>12} {'no cap':>8}")
    for most in (1, 10, 60):
        space = counted(most)
        size = space.graph.size
        log_z, _ = timed(lambda space=space: space.law().log_z)
        moments, (mean, _) = timed(lambda space=space: space.law().moments())
        bounds = np.array([0.7, 0.7, 0.95]) * mean
        dual, found = timed(
            lambda space=space, b=bounds: solve_markov_dual(space, b, ["at most", "at most", "exactly"])
        )
        draws, _ = timed(lambda law=found.law: law.sample(2000, np.random.default_rng(0)))
        limit, _ = timed(lambda space=space, mu=found.mu: length_limit(space, mu)) if size <= 1000 else (np.nan, None)
        shown = (
            f"{size:>8} {log_z:>8.3f} {moments:>8.3f} {dual:>8.2f} {found.iterations:>6} {draws:>12.3f} {limit:>8.3f}"
        )
        print(shown)


def attribution() -> None:
    print("\nKL divided among rules, 10 prompts of 1,000 samples")
    print(f"{'rules':>8} {'path':>8} {'laws':>6} {'error bound':>12} {'Shapley':>8} {'apart':>8}")
    for terms in (6, 12, 24, 48):
        rng = np.random.default_rng(terms)
        prompts = []
        for _ in range(10):
            common = rng.normal(size=(1000, 1))
            factors = 0.2 * (rng.normal(size=(1000, terms)) + common)
            factors[:, :2] = np.where(rng.random((1000, 2)) < 0.2, -np.inf, 0.0)
            prompts.append(PricedPrompt(rng.normal(0.0, 0.3, 1000), factors))
        path, found = timed(lambda p=prompts: path_integral(p))
        line = f"{terms:>8} {path:>8.3f} {found.evaluations:>6} {found.approximation_error.max():>12.1e}"
        if terms <= 12:
            seconds, other = timed(lambda p=prompts: shapley(p))
            line += f" {seconds:>8.3f} {np.abs(other.shares - found.shares).max():>8.4f}"
        print(line)


def curve() -> None:
    print("\nTrade-off curve of 21 points, all other multipliers solved anew at each")
    print(f"{'budgets':>8} {'samples':>8} {'seconds':>8} {'solved':>7}")
    for budgets, size in ((3, 10_000), (10, 100_000)):
        rng = np.random.default_rng(size)
        features = (rng.random((size, budgets)) < 0.3).astype(float)
        population = Population([PromptSamples(rng.normal(0.0, 0.5, size), features)])
        work = lambda p=population, n=budgets: tradeoff_curve(p, [0.2] * n, ["at most"] * n, 0)  # noqa: E731
        seconds, found = timed(work)
        print(f"{budgets:>8} {size:>8} {seconds:>8.3f} {len(found.solved):>7}")


if __name__ == "__main__":
    markov()
    attribution()
    curve()
