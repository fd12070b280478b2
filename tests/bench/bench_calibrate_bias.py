"""Which way calibrations from few draws err, and how often their intervals cover the truth.

    python tests/bench/bench_calibrate_bias.py

A model that can be enumerated answers some prompts; a limit binds. Each line of the first part: seeds, then the mean
over them of (exact rate under the found multiplier) / limit − 1 in per cent, with its standard error, and the spread of
one calibration, with and without the correction for the bias of self-normalised rates. The second part counts in how
many of 500 calibrations the 95 % interval of the multiplier holds the exact one. `bylaw run` and `bylaw calibrate` find
the same multipliers, so this is about both.
"""

from __future__ import annotations

import math
import sys
import tempfile
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from tinylanguage import Quiet, Tiny

from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.calibration import fit
from bylaw.runtime.calibration.fit import FitSettings
from bylaw.runtime.calibration.job import JobSettings, calibrate_policy
from bylaw.runtime.calibration.problem import solve
from bylaw.runtime.calibration.record import BudgetRecord
from bylaw.runtime.enforcement import plan_prompts, score_samples
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace
from tinymodels import TabularModel

CAP, RULES = 4, 'rule no_ba { must not contain "ba" }\nrule rarely { should not end with "d" weight 1.5 }\n'
MODEL = Tiny(
    TabularModel(letters=b"abcd1", max_tokens=CAP, seed=5),
    others=(TabularModel(b"abcd1", CAP, 6), TabularModel(b"abcd1", CAP, 7)),
)


@dataclass(frozen=True)
class Case:
    """A limit on how many responses hold `event`, over `count` prompts of three kinds."""

    event: str
    bound: float
    count: int

    @cached_property
    def program(self) -> RewardProgram:
        limit = f'rule seldom {{ limit response contains "{self.event}" to at most {self.bound:.0%} of responses }}'
        return compile_source(Source.of("tiny.bylaw", RULES + limit)).require()

    @cached_property
    def prompts(self) -> list[Trace]:
        return [Trace((Message("user", f"prompt {number % 3}"),), {}, f"p{number}") for number in range(self.count)]

    @cached_property
    def exact(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(log weight without the limit, whether the event happened) of all responses, for the three kinds."""
        found = []
        for plan in plan_prompts(self.program, self.prompts[:3], MODEL, CAP):
            responses, log_p0 = MODEL.answering(plan.tokens).enumerate()
            scored = score_samples(self.program, plan, [MODEL.vocabulary.text(tokens) for tokens in responses])
            found.append((log_p0 + scored.factors.sum(axis=1), scored.values[:, 2]))
        return found

    def excess(self, multiplier: float) -> float:
        """Exact rate under a multiplier / limit − 1."""
        rates = []
        for free, event in self.exact:
            weight = np.exp(free - multiplier * event)
            rates.append(float(weight @ event / weight.sum()))
        return float(np.mean(rates)) / self.bound - 1

    def truth(self) -> float:
        """The exact multiplier in nats, by bisection."""
        low, high = 0.0, 20.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.excess(middle) > 0 else (low, middle)
        return low

    def calibrated(self, seed: int, samples: int, draws: int) -> BudgetRecord:
        job = JobSettings(max_tokens=CAP, seed=seed, fit=FitSettings(samples, draws))
        with tempfile.TemporaryDirectory() as folder:
            return calibrate_policy(self.program, self.prompts, "", MODEL, job, Path(folder), Quiet()).record.budgets[0]


def bias(case: Case, seeds: range) -> None:
    print(f"{case.count} prompts, at most {case.bound:.0%} with `{case.event}`, 16 + 16 draws for each prompt")
    for name, used in (("not corrected", partial(solve, corrected=False)), ("corrected", solve)):
        with patch.object(fit, "solve", used):
            found = [case.calibrated(seed, 16, 16).multiplier or 0.0 for seed in seeds]
        say(name, [case.excess(multiplier) for multiplier in found])


def say(name: str, found: list[float]) -> None:
    mean, spread = 100 * float(np.mean(found)), 100 * float(np.std(found, ddof=1))
    error = spread / math.sqrt(len(found))
    print(f"  {name:15} {len(found)} seeds  {mean:+6.1f} % ± {error:.1f}   spread {spread:.1f} %", flush=True)


def coverage(case: Case, runs: int) -> None:
    truth, hits, widths = case.truth(), 0, []
    for seed in range(runs):
        interval = case.calibrated(seed, 64, 64).multiplier_interval
        assert interval is not None
        hits += interval.low <= truth <= interval.high
        widths.append(interval.high - interval.low)
    error = 100 * math.sqrt(0.05 * 0.95 / runs)
    print(
        f"{case.count} prompts, at most {case.bound:.0%} with `{case.event}`, 64 + 64 draws: the interval (mean width "
        f"{np.mean(widths):.2f} nats) covers {truth:.3f} nats in {100 * hits / runs:.1f} % ± {error:.1f} of {runs}"
    )


if __name__ == "__main__":
    bias(Case("a", 0.1, 24), range(100))
    bias(Case("aa", 0.02, 96), range(60))
    coverage(Case("a", 0.1, 6), 500)
