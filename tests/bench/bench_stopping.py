"""Audits that stop by themselves, and planted violations, by simulation through the audit's own code.

    OMP_NUM_THREADS=1 python tests/bench/bench_stopping.py [POLICIES]

An exit code of 1 says that a promise was broken: more wrong words than 5 % (of policies with any), more false
discoveries than 10 %, or a power that is not the predicted one (each with 3 errors of the simulation allowed for).
"""

from __future__ import annotations

import math
import sys
import time

import numpy as np

from bylaw.compiler.evaluate import TermScore, Verdict
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit import planning
from bylaw.runtime.audit.followed import StoppingSettings, clean_size
from bylaw.runtime.audit.power import Drawn, exact_power, planted_power
from bylaw.runtime.audit.rules_together import rule_tests
from bylaw.runtime.audit.stopping import Stopper
from bylaw.spec.source import Source

BROKEN, LIMIT = 1.6, 0.2


def policy(limits: list[float], hard: int = 0) -> RewardProgram:
    rules = [f'rule h{n} {{ must not contain "h{n}" }}' for n in range(hard)]
    rules += [
        f'rule r{n} {{ limit response contains "w{n}" to at most {100 * limit:g}% of responses }}'
        for n, limit in enumerate(limits)
    ]
    return compile_source(Source("rules.bylaw", 'policy demo version "1"\n' + "\n".join(rules))).require()


def stopped(rules: RewardProgram, draws: np.ndarray) -> tuple[list[str], int]:
    """(the state of each rule, prompts read) for draws [n, rules, answers] of broken answers."""
    stopper = Stopper(rules, StoppingSettings(), is_repeated=draws.shape[2] > 1)
    made = {
        (term.id, flag): TermScore(term.id, Verdict.VIOLATED if flag else Verdict.SATISFIED, float(flag), None)
        for term in rules.terms
        for flag in (False, True)
    }
    for row in draws.tolist():
        if stopper.is_done:
            break
        stopper.add([[made[term.id, flag] for flag in own] for term, own in zip(rules.terms, row, strict=True)])
    return [each.state for each in stopper.results(rules)], stopper.read


def wrong_words(policies: int) -> bool:
    """Any wrong word, looked for after every prompt of up to 400; and how many prompts it took."""
    print("stopping, looked at after every prompt, up to 400: policies with any wrong word (at most 5 %)")
    print("                                       wrongly kept  wrongly broken  decided  prompts read")
    limits, generator, fine = [0.05, 0.1, 0.2, 0.3, 0.5], np.random.default_rng(1), True
    settings = [
        ("all exactly at their limits", [1.0] * 5, 1),
        ("all a tenth above", [1.1] * 5, 1),
        ("all a tenth below", [0.9] * 5, 1),
        ("two at half, three exactly at them", [0.5, 0.5, 1.0, 1.0, 1.0], 1),
        ("all at half", [0.5] * 5, 1),
        ("all exactly, 3 answers a prompt", [1.0] * 5, 3),
        ("all at half, 3 answers a prompt", [0.5] * 5, 3),
    ]
    rules = policy(limits)
    for name, shares, each in settings:
        rates = np.array(limits) * shares
        kept = broken = decided = read = 0
        runs = policies if each == 1 else policies // 4
        for _ in range(runs):
            own = rates
            if each > 1:  # alike answers to one prompt: a beta law with correlation 0.3
                own = generator.beta(rates * 7 / 3, (1 - rates) * 7 / 3, (400, 5))[:, :, None]
                draws = generator.random((400, 5, each)) < own
            else:
                draws = (generator.random((400, 5)) < own)[:, :, None]
            states, count = stopped(rules, draws)
            kept += any(state == "kept" and share >= 1 for state, share in zip(states, shares, strict=True))
            broken += any(state == "broken" and share <= 1 for state, share in zip(states, shares, strict=True))
            decided += sum(state != "undecided" for state in states)
            read += count
        error = 3 * math.sqrt(0.05 * 0.95 / runs)
        fine &= max(kept, broken) / runs <= 0.05 + error
        print(
            f"  {name:36} {100 * kept / runs:11.1f} % {100 * broken / runs:13.1f} % {decided / runs / 5:8.1%}"
            f" {read / runs:12.0f}"
        )
    return fine


def sizes() -> None:
    """Prompts that stopping takes on average, beside the size fixed beforehand with 80 % power."""
    print("\none limit: prompts read until decided (mean of 300 audits) beside the fixed size with 80 % power")
    generator = np.random.default_rng(2)
    for limit, rate in ((0.05, 0.01), (0.1, 0.02), (0.1, 0.05), (0.3, 0.15), (0.3, 0.45)):
        rules = policy([limit])
        reads = []
        for _ in range(300):
            reads.append(stopped(rules, (generator.random((3000, 1)) < rate)[:, :, None])[1])
        fixed = (
            planning.certify(limit, rate) if rate < limit else planning.certify(1 - limit, 1 - rate)
        ).independent  # fmt: skip
        middle, most = np.quantile(reads, [0.5, 0.95])
        print(
            f"  limit {limit:4.0%}, rate {rate:4.0%}: {np.mean(reads):6.0f} (half within {middle:.0f}, 95 % within "
            f"{most:.0f}); fixed {fixed}"
        )
    print(
        f"  hard rule, none broken, shown below 1 %: {clean_size(0.01, 0.05)}; fixed {planning.zero_failure_size(0.01)}"
    )


def discoveries(policies: int) -> bool:
    """False discoveries of `rule_tests` over many policies of 20 limits, four broken."""
    rules, generator = policy([LIMIT] * 20), np.random.default_rng(3)
    rates = np.array([BROKEN * LIMIT] * 4 + [LIMIT] * 16)
    print(
        f"\nfalse discoveries over {policies} policies of 20 limits of 20 %, four at 32 %, all others at 20 % exactly"
    )
    fine = True
    for method, level in (("benjamini-hochberg", 0.1), ("holm", 0.1), ("benjamini-yekutieli", 0.1)):
        shares, found = [], 0
        for _ in range(policies):
            happens = generator.random((150, 20)) < rates
            base = tuple((happens[:, n].astype(np.uint8), happens[:, n].astype(float)) for n in range(20))
            tests = rule_tests(Drawn(rules.terms, (), base, np.arange(150), np.arange(150), 150), method, level).tests
            listed = [n for n, test in enumerate(tests) if test.is_found]
            shares.append(sum(n >= 4 for n in listed) / max(1, len(listed)))
            found += sum(n < 4 for n in listed)
        error = float(np.std(shares, ddof=1)) / policies**0.5
        fine &= float(np.mean(shares)) <= level + 3 * error
        print(
            f"  {method:20} false {np.mean(shares):6.1%} (error {error:.1%}), of the broken found "
            f"{found / policies / 4:6.1%}"
        )
    return fine


def planted(runs: int) -> bool:
    """The share of planted audits that find the rule, beside the exact power."""
    print(
        f"\nplanted violations, one limit of 30 %, 15 % broken here: share found in {runs} audits, and the exact power"
    )
    rules, fine = policy([0.3]), True
    for total in (50, 200, 500):
        happens = np.arange(total) < 0.15 * total
        base = ((happens.astype(np.uint8), happens.astype(float)),)
        columns = Drawn(rules.terms, (), base, np.arange(total), np.arange(total), total)
        for multiplier in (0.9, 1.2, 1.6):
            found = planted_power(columns, "r0", multiplier, runs=runs)
            exact = exact_power(total, found.planted_rate, 0.3, 0.1)
            error = math.sqrt(max(exact * (1 - exact), 1e-4) / runs)
            fine &= abs(found.power - exact) <= 3.5 * error
            print(
                f"  {total:4} answers, {multiplier:3.1f} nats: rate {found.planted_rate:5.1%}  found "
                f"{found.power:6.1%}  exact {exact:6.1%}  found without {found.untilted_rate:5.1%}"
            )
    return fine


def main() -> int:
    policies = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    begin = time.process_time()
    fine = wrong_words(policies)
    sizes()
    fine &= discoveries(policies)
    fine &= planted(policies)
    spent = time.process_time() - begin
    print(f"\n{'every promise is kept' if fine else 'A PROMISE IS BROKEN'} ({spent:.0f} s of processor)")
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
