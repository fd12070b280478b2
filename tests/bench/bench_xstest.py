"""Rates corrected with labels: a judge of refusals on XSTest against people, and the intervals by simulation.

    OMP_NUM_THREADS=1 python tests/bench/bench_xstest.py [RESAMPLES]

First table: answers of two models to 450 prompts, a judge (GPT-4) on all and people on 100 that `bylaw label` would
draw. `fixed`: the 450 are all there is, and 100 of them are labelled anew each time; the interval, which is that of
what the model writes, then covers more than 95 %. `drawn`: the 450 are themselves drawn anew, so that 95 % is due. The
truth is the rate of all labels of people. Second table: judges that err by known rates, with several answers to a
prompt, with answers to which the rule does not apply, and with some without a verdict.

An exit code of 1 says that a promise was broken: fewer than 91 % covered by an interval of a rate, sensitivity or
specificity (of 200 draws, a right interval covers fewer in one of a hundred runs), or a corrected rate farther from the
truth, on average, than the judge's own. `naive` takes the answers to a prompt for independent.
"""

from __future__ import annotations

import math
import random
import sys
import time
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
from label_draws import XSTEST, corrected, xstest

LEAST = 0.91


def real(resamples: int) -> bool:
    print(f"XSTest, 100 labels of 450 answers, {resamples} resamples")
    print(
        "  model      answers by       truth  judge  corrected (mean, RMSE)  labels alone  covered  nearer  R-G covered"
    )
    good = True
    for model in ("gpt4", "llama2orig"):
        people, judge = xstest(model)
        truth = people.count("yes") / len(people)
        for answers in ("fixed", "drawn"):
            for by in ("random", "verdict"):
                rng, found, raw = random.Random(f"{model}{by}"), [], []
                for seed in range(resamples):
                    places = (
                        rng.choices(range(len(people)), k=len(people)) if answers == "drawn" else range(len(people))
                    )
                    mine = [people[i] for i in places], [judge[i] for i in places]
                    found.append(corrected(*mine, 100, by, seed))
                    raw.append(abs(found[-1].judged - truth))
                held = fmean(f.interval.low <= truth <= f.interval.high for f in found)
                inverted = fmean(
                    f.inverted_interval is not None and f.inverted_interval.low <= truth <= f.inverted_interval.high
                    for f in found
                )
                nearer = fmean(abs(f.value - truth) < off for f, off in zip(found, raw, strict=True))
                error, alone = rmse([f.value for f in found], truth), rmse([f.labels_alone for f in found], truth)
                good &= held >= LEAST and error < math.sqrt(fmean(off * off for off in raw))
                print(
                    f"  {model:10} {answers:7} {by:8} {truth:5.3f}  {fmean(f.judged for f in found):5.3f}  "
                    f"{fmean(f.value for f in found):9.3f} {error:12.4f} {alone:13.4f} {100 * held:8.1f} "
                    f"{100 * nearer:7.1f} {100 * inverted:12.1f}"
                )
    return good


def rmse(values: list[float], truth: float) -> float:
    return math.sqrt(fmean((value - truth) ** 2 for value in values))


# (name, rate, sensitivity, specificity, prompts, answers to each, correlation, not applicable, unscored, labels)
SIMULATED = [
    ("even", 0.30, 0.85, 0.90, 600, 1, 0.0, 0.0, 0.0, 150),
    ("rare", 0.03, 0.90, 0.98, 2000, 1, 0.0, 0.0, 0.0, 150),
    ("rare, few labels", 0.02, 0.80, 0.99, 1000, 1, 0.0, 0.0, 0.0, 60),
    ("a judge that guesses", 0.40, 0.60, 0.55, 600, 1, 0.0, 0.0, 0.0, 150),
    ("several answers", 0.30, 0.85, 0.90, 100, 6, 0.5, 0.0, 0.0, 150),
    ("many labels", 0.30, 0.85, 0.90, 60, 5, 0.6, 0.0, 0.0, 250),
    ("does not apply", 0.30, 0.85, 0.90, 800, 1, 0.0, 0.4, 0.0, 150),
    ("unscored", 0.30, 0.85, 0.90, 600, 1, 0.0, 0.0, 0.1, 150),
]


def simulated(resamples: int) -> bool:
    print(f"\nknown judges, 95 % intervals of {resamples} draws")
    print("  case                  by       rate  judge  corrected  RMSE   length  covered  naive  Se cov. Sp cov. R-G")
    good = True
    for name, rate, hit, spared, prompts, each, correlation, out, lost, labels in SIMULATED:
        for by in ("random", "verdict"):
            rng, found, tally = (
                np.random.default_rng(7),
                [],
                {"rate": 0, "naive": 0, **dict.fromkeys(("se", "ses", "sp", "sps", "rg", "rgs"), 0)},
            )
            for seed in range(resamples):
                people, judge, asked = audit(rng, rate, hit, spared, prompts, each, correlation, out, lost)
                got = corrected(people, judge, labels, by, seed, asked if each > 1 else None)
                found.append(got)
                tally["rate"] += got.interval.low <= rate <= got.interval.high
                if each > 1:
                    bare = corrected(people, judge, labels, by, seed)
                    tally["naive"] += bare.interval.low <= rate <= bare.interval.high
                for key, interval, true in (
                    ("se", got.sensitivity_interval, hit), ("sp", got.specificity_interval, spared),
                ):  # fmt: skip
                    tally[f"{key}s"] += interval is not None
                    tally[key] += interval is not None and interval.low <= true <= interval.high
                if got.inverted_interval is not None:
                    tally["rgs"] += 1
                    tally["rg"] += got.inverted_interval.low <= rate <= got.inverted_interval.high
            covered = tally["rate"] / resamples
            good &= covered >= LEAST and all(tally[key] >= LEAST * tally[f"{key}s"] for key in ("se", "sp", "rg"))
            naive = f"{100 * tally['naive'] / resamples:6.1f}" if each > 1 else "     –"
            inverted = f"{100 * tally['rg'] / tally['rgs']:6.1f}" if tally["rgs"] > resamples / 2 else "     –"
            print(
                f"  {name:21} {by:8} {rate:4.2f}  {fmean(f.judged for f in found):5.3f} "
                f"{fmean(f.value for f in found):9.3f} {rmse([f.value for f in found], rate):8.4f} "
                f"{fmean(f.interval.high - f.interval.low for f in found):7.3f} {100 * covered:7.1f} "
                f"{naive}  {100 * tally['se'] / tally['ses']:6.1f}  {100 * tally['sp'] / tally['sps']:6.1f}  "
                f"{inverted}"
            )
    return good


def audit(
    rng: np.random.Generator, rate: float, hit: float, spared: float, prompts: int, each: int, correlation: float,
    out: float, lost: float,
) -> tuple[list[str], list[str], np.ndarray]:  # fmt: skip
    """(what people say, what the judge says, the prompt) of answers: each takes the outcome of its prompt with the
    probability of the square root of the correlation. People agree that the rule does not apply, but for 5 %."""
    asked = np.repeat(np.arange(prompts), each)
    shared = rng.random(prompts) < rate
    own = rng.random(prompts * each) < rate
    broken = np.where(rng.random(prompts * each) < math.sqrt(correlation), shared[asked], own)
    judged = np.where(broken, rng.random(len(own)) < hit, rng.random(len(own)) >= spared)
    people, judge = np.where(broken, "yes", "no").astype(object), np.where(judged, "yes", "no").astype(object)
    if out:
        beside = rng.random(len(own)) < out
        people[beside & (rng.random(len(own)) < 0.95)] = "does not apply"
        judge[beside & (rng.random(len(own)) < 0.9)] = "does not apply"
        # the rate is that of the answers to which both say that it applies, or the judge alone does: see the sheet
        people[(judge == "does not apply")] = "does not apply"
    if lost:
        judge[rng.random(len(own)) < lost] = "unscored"
    return people.tolist(), judge.tolist(), asked


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    print("OMP_NUM_THREADS=1 python tests/bench/bench_xstest.py" + f" {count}" * (len(sys.argv) > 1) + "\n")
    started = time.perf_counter()
    fine = real(count) if XSTEST.is_dir() else print("XSTest is not there: the public data lies beside the checkout")
    fine = (fine is not False) & simulated(count)
    print(f"\n{time.perf_counter() - started:.0f} s; every promise kept: {'yes' if fine else 'NO'}")
    sys.exit(not fine)
