"""How often the intervals, tests and stopping rules of an audit are right, by simulation.

    OMP_NUM_THREADS=1 python tests/bench/bench_coverage.py [DRAWS]

Each row draws audits from a known law and counts. Rows of the first table have to lie in 95 ± 1.5 %. Those of the
second, with few events or few clusters, lie above: there the design effect is drawn towards the size of a cluster,
without which the same intervals fell to 88 %. They may not lie below 93.5 %. Beside ours stand the t interval of the
clustered error, and Wilson's for the samples as if independent. An exit code of 1 says that a promise was broken.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import numpy as np

from bylaw.runtime.audit import clustered, comparison, multiplicity, policy_score, sequential, statistics

BAND = (0.935, 0.965)
# (rate, clusters, samples in each (negative: 1 … 2m − 1), correlation; with "of": the rate of those prompts that break)
IN_BAND = [
    (0.5, 15, 10, 0.3),
    (0.5, 50, 5, 0.2),
    (0.3, 20, -5, 0.3),
    (0.3, 200, 1, 0.0),
    (0.3, 100, 5, 0.0),
    (0.2, 20, 10, 0.5),
    (0.1, 30, 10, 0.3),
    (0.1, 50, 5, 0.2),
    (0.1, 100, -5, 0.3),
    (0.1, 200, 10, 0.0),
    (0.1, 300, 1, 0.0),
    (0.05, 50, 10, 0.3),
    (0.05, 100, -5, 0.2),
    (0.05, 200, 5, 0.3),
    (0.02, 200, -5, 0.2),
    (0.02, 400, 3, 0.3),
    (0.9, 40, 10, 0.2),
    (0.95, 60, 8, 0.1),
    (0.05, 100, -5, "of 0.5"),
    (0.02, 200, 5, "of 0.9"),
    (0.3, 40, 10, "of 0.6"),
]
ABOVE_FLOOR = [
    (0.5, 8, 5, 0.2),
    (0.3, 10, 5, 0.3),
    (0.2, 10, 10, 0.0),
    (0.1, 10, 10, 0.2),
    (0.1, 20, 5, 0.1),
    (0.1, 20, -5, 0.3),
    (0.05, 30, 20, 0.5),
    (0.02, 100, 5, 0.1),
    (0.01, 100, 5, 0.1),
    (0.01, 300, 5, 0.1),
    (0.005, 400, 5, 0.3),
    (0.1, 40, 10, "of 0.3"),
]


def sizes(clusters: int, each: int) -> np.ndarray:
    """[clusters] samples of each cluster."""
    return np.full(clusters, each) if each > 0 else 1 + (np.arange(clusters) * 7919) % (-2 * each - 1)


def rates(generator: np.random.Generator, rate: float, clusters: int, correlation: float | str) -> np.ndarray:
    """[clusters] rates of prompts with that mean and correlation."""
    if isinstance(correlation, str):
        high = float(correlation.removeprefix("of "))
        return high * (generator.random(clusters) < rate / high)
    if correlation == 0:
        return np.full(clusters, rate)
    size = (1 - correlation) / correlation
    return generator.beta(rate * size, (1 - rate) * size, clusters)


def draw(generator: np.random.Generator, setting: tuple[float, int, int, float | str]) -> tuple[list[float], list[int]]:
    """(outcomes, clusters) of one audit."""
    rate, clusters, each, correlation = setting
    counts = sizes(clusters, each)
    names = np.repeat(np.arange(clusters), counts)
    found = generator.random(names.size) < np.repeat(rates(generator, rate, clusters, correlation), counts)
    return found.astype(float).tolist(), names.tolist()


def shares(settings: list[tuple[float, int, int, float | str]], draws: int, seed: int, floor_only: bool) -> bool:
    """Prints one table; whether its promise is kept."""
    kept = True
    print(f"{'rate':>6} {'prompts':>7} {'each':>5} {'corr.':>6}   {'ours':>6} {'t':>6} {'naive':>6}   length")
    for place, setting in enumerate(settings):
        generator = np.random.default_rng([seed, place])
        hits, length = np.zeros(3), 0.0
        for _ in range(draws):
            outcomes, names = draw(generator, setting)
            found = clustered.rate(outcomes, names)
            naive = statistics.wilson(sum(outcomes), len(outcomes))
            hits += [each.low <= setting[0] <= each.high for each in (found.interval, found.unclipped, naive)]
            length += found.interval.high - found.interval.low
        ours = hits[0] / draws
        good = ours >= BAND[0] and (floor_only or ours <= BAND[1])
        kept &= good
        each = f"1…{-2 * setting[2] - 1}" if setting[2] < 0 else str(setting[2])
        figures = " ".join(f"{100 * hit / draws:6.1f}" for hit in hits)
        print(
            f"{setting[0]:6} {setting[1]:7} {each:>5} {setting[3]:>6}   {figures}   {length / draws:.3f}{ending(good)}"
        )
    return bool(kept)


def paired(draws: int) -> bool:
    """Paired differences of two models on the same prompts, and scores."""
    kept = True
    print(f"{'rates':>13} {'prompts':>7} {'each':>5} {'alike':>6}   {'ours':>6} {'t':>6}   p ≤ 5 % if equal")
    settings = [
        (0.3, 0.2, 100, 1, 0.5),
        (0.1, 0.05, 200, 1, 0.7),
        (0.3, 0.3, 50, 5, 0.5),
        (0.2, 0.1, 60, 5, 0.7),
        (0.05, 0.05, 150, 5, 0.5),
        (0.02, 0.02, 300, 1, 0.5),
    ]
    for place, (first, second, prompts, each, alike) in enumerate(settings):
        generator = np.random.default_rng([3, place])
        hits, found_different = np.zeros(2), 0
        names = np.repeat(np.arange(prompts), each)
        for _ in range(draws):
            # half of the answers follow a mood of the prompt, which for both models is the same with this probability
            moods = generator.random((2, prompts))
            moods[1] = np.where(generator.random(prompts) < alike, moods[0], moods[1])
            own = generator.random((2, prompts * each))
            level = np.where(generator.random(own.shape) < 0.5, np.repeat(moods, each, axis=1), own)
            outcomes = (level < np.array([[first], [second]])).astype(float)
            result = comparison.paired_difference(*outcomes.tolist(), names.tolist())
            half = clustered.t_quantile(0.975, result.degrees) * result.standard_error
            hits += [
                result.interval.low <= first - second <= result.interval.high,
                abs(result.difference - first + second) <= half,
            ]
            found_different += result.p_value <= 0.05
        ours = hits[0] / draws
        good = BAND[0] <= ours and (first != second or found_different / draws <= 0.06)
        kept &= good
        null = f"{100 * found_different / draws:6.1f}" if first == second else "     -"
        print(
            f"{first:6} {second:6} {prompts:7} {each:5} {alike:6}   {100 * ours:6.1f} {100 * hits[1] / draws:6.1f}   "
            f"{null}{ending(good)}"
        )
    return bool(kept)


def others(draws: int) -> bool:
    """Newcombe, clustered scores, the policy score."""
    kept = True
    generator = np.random.default_rng(4)

    def count(name: str, once: Callable[[], bool]) -> None:
        nonlocal kept
        share = sum(once() for _ in range(draws)) / draws
        kept &= share >= BAND[0]
        print(f"{name:64} {100 * share:6.1f}{ending(share >= BAND[0])}")

    def newcombe(first: float, second: float, one: int, two: int) -> bool:
        found = comparison.newcombe(generator.binomial(one, first), one, generator.binomial(two, second), two).interval
        return found.low <= first - second <= found.high

    def scores(prompts: int) -> bool:
        centre = generator.beta(4, 2, prompts)
        values = np.clip(np.repeat(centre, 5) + generator.normal(0, 0.02, prompts * 5), 0, 1)
        found = clustered.mean(values.tolist(), np.repeat(np.arange(prompts), 5).tolist()).interval
        return found.low <= 2 / 3 <= found.high

    def policy(kept_at: float, prompts: int) -> bool:
        common = generator.random(prompts) < 0.5  # half the prompts are judged by all ten rules with one fate
        fate = generator.random(prompts)
        rules = {}
        for rule in range(10):
            level = np.where(common, fate, generator.random(prompts))
            rules[str(rule)] = policy_score.RuleValues(tuple((level < kept_at).astype(float)), tuple(range(prompts)))
        found = policy_score.policy_score(rules, {str(rule): 1.0 + rule for rule in range(10)}).interval
        return found.low <= kept_at <= found.high

    count("Newcombe, 30 % of 60 against 20 % of 80", lambda: newcombe(0.3, 0.2, 60, 80))
    count("Newcombe, 5 % of 100 against 2 % of 200", lambda: newcombe(0.05, 0.02, 100, 200))
    count("clustered mean score, 30 prompts of 5", lambda: scores(30))
    count("clustered mean score, 8 prompts of 5", lambda: scores(8))
    count("policy score, ten rules of one set of 100 prompts, kept at 90 %", lambda: policy(0.9, 100))
    count("policy score, ten rules of one set of 60 prompts, kept at 99 %", lambda: policy(0.99, 60))
    return kept


def tests_at_the_limit(draws: int) -> bool:
    """How often the rate of a rule that is exactly at its limit is called above it, and below it, at 5 %."""
    kept = True
    print(
        f"{'limit':>6} {'prompts':>7} {'each':>5} {'corr.':>6}   {'above':>6} {'naive':>6}   {'below':>6} {'naive':>6}"
    )
    for place, setting in enumerate([s for s in IN_BAND + ABOVE_FLOOR if s[0] <= 0.5][::2]):
        generator, limit = np.random.default_rng([5, place]), setting[0]
        hits = np.zeros(4)
        for _ in range(draws):
            outcomes, names = draw(generator, setting)
            count, total = sum(outcomes), len(outcomes)
            p_values = (
                multiplicity.clustered_above(outcomes, limit, names),
                multiplicity.above(count, total, limit),
                multiplicity.clustered_below(outcomes, limit, names),
                multiplicity.below(count, total, limit),
            )
            hits += [p_value <= 0.05 for p_value in p_values]
        good = max(hits[0], hits[2]) / draws <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / draws)
        kept &= bool(good)
        each = f"1…{-2 * setting[2] - 1}" if setting[2] < 0 else str(setting[2])
        figures = [f"{100 * hit / draws:6.1f}" for hit in hits]
        print(
            f"{limit:6} {setting[1]:7} {each:>5} {setting[3]:>6}   {figures[0]} {figures[1]}   "
            f"{figures[2]} {figures[3]}{ending(good)}"
        )
    return kept


def discoveries(policies: int) -> bool:
    """The share of false discoveries and the probability of any, over policies of 40 rules on shared prompts."""
    kept = True
    print(
        f"{'rules share':>22} {'method':>20}   false ones  any false  of the broken found  (raw 5 %: false ones, any)"
    )
    for place, (name, each) in enumerate([("nothing", 1), ("200 prompts", 1), ("60 prompts of 4", 4)]):
        generator = np.random.default_rng([6, place])
        prompts = 60 if each == 4 else 200
        limit, tests = 0.05, 40
        tally = {method: np.zeros(3) for method in ("benjamini-hochberg", "holm", "benjamini-yekutieli")}
        raw = np.zeros(2)
        for _ in range(policies):
            broken = generator.random(tests) < 0.2
            true = np.where(broken, 0.18, limit)  # the others are exactly at their limit: the hardest case
            # half of the rules follow a mood of the prompt, the others its opposite: dependence of both signs
            mood = np.repeat(generator.random((prompts, 1)), each, axis=0)
            sign = np.arange(tests) % 2 == 0
            own = generator.random((prompts * each, tests))
            follows = (generator.random(own.shape) < 0.7) & (name != "nothing")
            level = np.where(follows, np.where(sign, mood, 1 - mood), own)
            outcomes = (level < true).astype(float)
            names = np.repeat(np.arange(prompts), each).tolist()
            p_values = [multiplicity.clustered_above(outcomes[:, rule].tolist(), limit, names) for rule in range(tests)]
            for method, sums in tally.items():
                found = np.array(multiplicity.adjust(p_values, method).rejected)
                wrong = int((found & ~broken).sum())
                sums += [wrong / max(1, found.sum()), wrong > 0, (found & broken).sum() / max(1, broken.sum())]
            plain = np.array(p_values) <= 0.05
            raw += [(plain & ~broken).sum() / max(1, plain.sum()), (plain & ~broken).any()]
        for method, sums in tally.items():
            figures = 100 * sums / policies
            kept &= bool(figures[1 if method == "holm" else 0] <= 10)
            print(
                f"{name:>22} {method:>20}   {figures[0]:9.1f}  {figures[1]:9.1f}  {figures[2]:19.1f}  "
                f"{100 * raw[0] / policies:.1f}, {100 * raw[1] / policies:.1f}"
            )
    return kept


def peeking(draws: int) -> bool:
    """Runs that miss the true mean at some look, with a look after every value."""
    kept = True
    print("exact, shares, up to 300 looks; beside it Wilson's interval at every look")

    def naive(rate: float) -> Callable[[int, int], sequential.State]:
        def decide(count: int, total: int) -> sequential.State:
            found = statistics.wilson(count, total)
            return "go on" if found.low <= rate <= found.high else "fail"

        return decide

    for rate in (0.01, 0.05, 0.1, 0.3, 0.5, 0.8, 0.99):
        found = sequential.outcomes(sequential.gate(rate), rate, 300)
        wilson = sequential.outcomes(naive(rate), rate, 300)
        kept &= found.passes + found.fails <= 0.05
        print(
            f"  rate {rate:4}   missed {100 * (found.passes + found.fails):5.2f} %   Wilson {100 * wilson.fails:5.1f} %"
        )
    print(f"simulated, scores, up to 300 looks, {draws} runs")
    laws: dict[str, tuple[float, Callable[[np.random.Generator, int], np.ndarray]]] = {
        "means of 5 answers, rate 10 %": (0.1, lambda g, n: g.binomial(5, g.beta(0.2, 1.8, n)) / 5),
        "0 or 1, rate 2 %": (0.02, lambda g, n: (g.random(n) < 0.02).astype(float)),
        "uniform": (0.5, lambda g, n: g.random(n)),
        "Beta(8, 2)": (0.8, lambda g, n: g.beta(8, 2, n)),
    }
    for place, (name, (mean, law)) in enumerate(laws.items()):
        generator = np.random.default_rng([7, place])
        rule = sequential.StoppingRule(mean, 300, kind="score")
        missed = sum(rule.run(law(generator, 300).tolist()).state != "budget" for _ in range(draws))
        kept &= missed / draws <= 0.05
        print(f"  {name:30} missed {100 * missed / draws:5.2f} %")
    return kept


def ending(good: bool) -> str:
    return "" if good else "  MISSED"


def main() -> int:
    draws = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    start = time.process_time()
    print(f"OMP_NUM_THREADS=1 python tests/bench/bench_coverage.py {draws}")
    print(f"\nshares, 95 % intervals: covered in 95 ± 1.5 % of {draws} draws (error 0.3 points at 5,000)")
    kept = shares(IN_BAND, draws, 1, False)
    print("\nshares with hardly any event or few prompts: covered in at least 93.5 %")
    kept &= shares(ABOVE_FLOOR, draws, 2, True)
    print("\npaired differences: covered in at least 93.5 %")
    kept &= paired(draws // 2)
    print("\nother intervals: covered in at least 93.5 %")
    kept &= others(draws // 2)
    print(
        "\na rule exactly at its limit is called above it, or below it, at 5 %: in at most 5 % (and 3 errors of that)"
    )
    kept &= tests_at_the_limit(draws // 2)
    print("\nfalse discoveries at 10 % over 1,000 policies of 40 rules, a fifth broken (18 %, the limit is 5 %)")
    kept &= discoveries(1000)
    print("\nlooking after every value")
    kept &= peeking(draws // 3)
    print(
        f"\n{'every promise is kept' if kept else 'A PROMISE IS BROKEN'} "
        f"({time.process_time() - start:.0f} s of processor)"
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
