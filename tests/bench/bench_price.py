"""How long a what-if takes from a calibration on disk: 100 prompts x 1,000 responses x 12 terms.

Run: OMP_NUM_THREADS=1 python tests/bench/bench_price.py > tests/bench/bench_price.txt

The responses are scores only, drawn from a seed: 6 limits of shares, 1 of a quantity (a word count, so that few rows
are alike), 2 hard rules, 2 soft ones and a preference, at rates between 1 % and 40 %. The baseline is what a what-if
replaces even where nothing is drawn anew: scoring the same responses again, which is timed on 200 of them.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from price_suites import write_calibration

from bylaw.compiler.evaluate import evaluate_term
from bylaw.compiler.pipeline import compile_file
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.prices.calibrated import read_calibrated
from bylaw.runtime.prices.interactions import interactions
from bylaw.runtime.prices.scored import Origin, ScoredPrompt, ScoredSuite
from bylaw.runtime.prices.solve import solve
from bylaw.runtime.prices.table import price_table
from bylaw.runtime.prices.what_if import parse_change, what_if
from bylaw.spec.trace import Message, Trace

PROMPTS, RESPONSES, SCORED, REPEATS = 100, 1000, 200, 5
POLICY = 'policy bench version "1"\nlevels root > user\n' + "\n".join(
    [
        'rule card at root { must not contain "4242" }',
        'rule swear at root { must not mention any of ["damn", "bloody"] }',
        'rule blame at user { should not mention any of ["your own fault"] weight 2 }',
        'rule greet at user { should contain "Hello" weight 0.5 }',
        "rule brief at user { prefer lower number of words in response weight 0.01 }",
        "rule length at user { limit average number of words in response to at most 58 }",
        *(
            f"rule limit_{letter} at user "
            f'{{ limit response contains "{letter}{letter}" to at most {bound}% of responses }}'
            for letter, bound in (("a", 0.5), ("b", 1), ("c", 2), ("d", 5), ("e", 10), ("f", 25))
        ),
    ]
)
RATES = {"card": 0.02, "swear": 0.03, "blame": 0.1, "greet": 0.4}
LIMITS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)


def suite(program: RewardProgram) -> ScoredSuite:
    """Scores as responses of a model would have them: rates differ from prompt to prompt."""
    rng = np.random.default_rng(0)
    prompts = []
    for number in range(PROMPTS):
        values = np.zeros((RESPONSES, len(program.terms)))
        violated = np.zeros(values.shape, dtype=np.bool_)
        words = rng.poisson(60, RESPONSES).astype(float)
        limits = iter(LIMITS)
        for column, term in enumerate(program.terms):
            if term.holds is None:
                values[:, column] = words
                continue
            rate = RATES.get(term.rule) or next(limits)
            violated[:, column] = rng.random(RESPONSES) < rate * rng.uniform(0.5, 1.5)
            values[:, column] = violated[:, column] * (1.0 if term.kind == "budget" else -1.0)
        ratio = rng.normal(0.0, 0.3, RESPONSES)
        prompts.append(ScoredPrompt(f"p{number}", ratio, values, np.ones(values.shape, dtype=np.bool_), violated))
    origin = Origin(program.digest, "m" * 64, "p" * 64, 1.0, 160, 0)
    return ScoredSuite(origin, tuple(term.id for term in program.terms), tuple(prompts))


def timed(what: str, action: Callable[[], object]) -> tuple[float, float]:
    """The best of several runs, printed: seconds of the processor (children included), which do not count what else
    the machine does, and seconds on the wall."""
    best = [float("inf"), float("inf")]
    for _ in range(REPEATS):
        started, before = time.perf_counter(), _processor()
        action()
        best = [min(best[0], _processor() - before), min(best[1], time.perf_counter() - started)]
    print(f"{what:60} {best[0]:9.3f} {best[1]:9.3f}")
    return best[0], best[1]


def _processor() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rules.bylaw"
        path.write_text(POLICY, encoding="utf-8")
        program = compile_file(path).require()
        write_calibration(Path(folder), program, suite(program))
        print("OMP_NUM_THREADS=1 python tests/bench/bench_price.py\n")
        print(f"Python {sys.version.split()[0]}, one thread; {os.getloadavg()[0]:.1f} processes wanted the")
        print(f"{os.cpu_count()} cores of the machine when this began, which shows in the seconds on the wall\n")
        print(f"{PROMPTS} prompts x {RESPONSES} responses x {len(program.terms)} terms, best of {REPEATS}")
        print(f"{'seconds':60} processor      wall")
        size = (Path(folder) / "scores.npz").stat().st_size
        print(f"scores.npz: {size / 1e6:.1f} MB")
        question = [parse_change("limit_a=2%"), parse_change("blame weight 3")]
        found = read_calibrated(folder, program)
        loading = timed("load the record and the scores", lambda: read_calibrated(folder, program))
        answer = timed("what if: two laws solved and divided", lambda: what_if(found.scores, found.terms, question))
        print(f"{'what if with loading':60} {loading[0] + answer[0]:9.3f} {loading[1] + answer[1]:9.3f}")
        solved = solve(found.scores, found.terms)
        timed("solve the dual once", lambda: solve(found.scores, found.terms))
        timed("table of prices (Shapley over all 4,096 sets)", lambda: price_table(solved))
        timed("interactions", lambda: interactions(solved.law))
        call = [sys.executable, "-m", "bylaw", "price", str(path), "--calibration", folder]
        timed("the command, process start included", lambda: _run([*call, "--what-if", "limit_a=2%"]))
        timed(
            "process start alone: `bylaw check` of the policy",
            lambda: _run([sys.executable, "-m", "bylaw", "check", str(path)]),
        )
        rng = np.random.default_rng(1)
        words = ["Hello", "aa", "parcel", "your", "own", "fault", "order", "damn", "ff", "Friday"]
        texts = [" ".join(rng.choice(words, 60)) for _ in range(SCORED)]
        trace = Trace((Message("user", "Where is it?"),), {}, "p")
        each = timed(
            f"baseline: scoring {SCORED} responses again",
            lambda: [evaluate_term(term, trace.answered(text)) for text in texts for term in program.terms],
        )
        rest = [part * PROMPTS * RESPONSES / SCORED for part in each]
        print(f"{'baseline: scoring all of them again':60} {rest[0]:9.1f} {rest[1]:9.1f}")


def _run(call: list[str]) -> None:
    subprocess.run(call, check=True, capture_output=True)


if __name__ == "__main__":
    main()
