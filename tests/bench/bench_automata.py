"""How long automata take: each rule by itself, pairs of rules, a thousand rules over thousands of texts.

    python tests/bench/bench_automata.py --pairs 700

The sentences are those of tests/bench/realistic.py, compiled as policies are. A pair is built from nothing each time:
the caches of patterns and of joint alphabets are emptied before it. What is asked of it: a shortest text that obeys the
one and not the other, and whether there is none (inclusion). Tables that every process builds once are built before.
Times are processor time.
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from realistic import FORBIDDEN, REQUIRED

from bylaw.compiler import regular
from bylaw.compiler.automata import build, nfa
from bylaw.compiler.automata.algebra import includes, shortest_witness
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.evaluate import truth
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.regular import dfa_of
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.logic import negate
from bylaw.spec.source import Source
from bylaw.spec.trace import Trace

WORDS = ("ferry", "Thank you", "refund", "2024-05-01", "a", "the", "!", "guaranteed", "1.", "https://x.example", "\n")


def compiled(sentences: Sequence[str]) -> list[BooleanExpression]:
    """What the rules say, each in a policy of its own, since many contradict each other."""
    found = []
    for sentence in sentences:
        words = sentence if " of response must " in sentence else f"must {sentence}"
        program = compile_source(Source("rules.bylaw", f"rule measured at user {{ {words} }}")).program
        if program is None or program.terms[0].holds is None:
            raise SystemExit(f"not a rule: {words}")
        found.append(program.terms[0].holds)
    return found


def empty_caches() -> None:
    """Forgets what was built for patterns."""
    caches = [build._language, build.occurrences, nfa.pattern_alphabet, regular._machine]
    try:
        from bylaw.compiler.automata import readable
    except ImportError:  # in versions before it was there
        pass
    else:
        caches.append(readable._best)
    for cache in caches:
        cache.cache_clear()


def timed(action: Callable[[], object]) -> tuple[float, object]:
    """(seconds of processor time, result)."""
    began = time.process_time()
    result = action()
    return time.process_time() - began, result


def line(name: str, seconds: Sequence[float]) -> str:
    """Count, mean, median, 95th percentile and worst, in milliseconds."""
    rising = sorted(seconds)
    shares = (rising[len(rising) // 2], rising[len(rising) * 95 // 100], rising[-1])
    numbers = (sum(rising) / len(rising), *shares)
    return f"{name:<34}{len(rising):>7,}" + "".join(f"{1000 * number:>11,.1f}" for number in numbers)


def ask(one: BooleanExpression, other: BooleanExpression) -> str:
    """Builds both automata and asks; every text is weighed by the evaluator."""
    left, right = dfa_of(one), dfa_of(other)
    if left is None or right is None:
        return "no automaton"
    try:
        witness = shortest_witness([left, right.complement()])
    except StateLimit:
        return "too large"
    if includes(right, left) != (witness is None):
        raise SystemExit("inclusion and its witness disagree")
    if witness is None:
        return "included"
    answered = Trace(()).answered(witness)
    if truth(one, answered) is not True or truth(other, answered) is not False:
        raise SystemExit(f"no witness: {witness!r}")
    return "text"


def pairs(required: list[BooleanExpression], forbidden: list[BooleanExpression], count: int) -> Iterator[str]:
    """The table of pairs: of what is required and what is forbidden, and of two that are required."""
    chooser = random.Random(1)
    crossed = [(one, other) for one in required for other in forbidden]
    alike = [(one, negate(other)) for place, one in enumerate(required) for other in required[place + 1 :]]
    everything: list[float] = []
    outcomes: dict[str, int] = {}
    for name, known in (("  required and forbidden", crossed), ("  two required", alike)):
        taken = []
        for one, other in chooser.sample(known, min(count // 2, len(known))):
            empty_caches()
            seconds, outcome = timed(lambda one=one, other=other: ask(one, other))
            taken.append(seconds)
            outcomes[str(outcome)] = outcomes.get(str(outcome), 0) + 1
        everything += taken
        yield line(name, taken)
    yield line("pairs, building included", everything)
    yield "  " + ", ".join(f"{name}: {number:,}" for name, number in sorted(outcomes.items()))


def thousand(sentences: Sequence[str]) -> Iterator[str]:
    """A thousand rules, each with words of its own, and what they say of three thousand texts."""
    chooser = random.Random(2)
    statements = compiled([f'{sentence} or contain "#{number}"' for number, sentence in enumerate(sentences)])
    began, size = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    empty_caches()
    automata = [found for found in map(dfa_of, statements) if isinstance(found, Dfa)]
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size) / 1024
    yield f"{len(automata):,} automata built in {time.process_time() - began:.1f} s, {grown:.0f} MiB"
    try:
        from bylaw.compiler.automata.many import EncodedTexts, accepting
    except ImportError:  # in versions before it was there
        return
    texts = [" ".join(chooser.choices(WORDS, k=chooser.randint(1, 8))) for _ in range(3_000)]
    seconds, encoded = timed(lambda: EncodedTexts.of(texts))
    taken, verdicts = timed(lambda: [accepting(automaton, encoded) for automaton in automata])  # type: ignore[arg-type]
    length = sum(map(len, texts)) / len(texts)
    yield f"read over {len(texts):,} texts of {length:.0f} characters in {taken:.2f} s"
    yield f"  and {seconds:.2f} s once for the texts"
    yield f"  {sum(bits.bit_count() for bits in verdicts):,} verdicts are yes"  # type: ignore[attr-defined]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=int, default=700)
    arguments = parser.parse_args()
    required, forbidden = compiled(REQUIRED), compiled(FORBIDDEN)
    once, _ = timed(lambda: ask(required[-1], forbidden[4]))
    print(f"python tests/bench/bench_automata.py --pairs {arguments.pairs}")
    print(f"{len(required)} required and {len(forbidden)} forbidden; tables and one pair: {once:.2f} s")
    print(f"{'milliseconds':<34}{'number':>7}{'mean':>11}{'median':>11}{'95%':>11}{'worst':>11}")
    empty_caches()
    built = [timed(lambda statement=statement: dfa_of(statement)) for statement in (*required, *forbidden)]
    print(line("rules built", [seconds for seconds, _ in built]))
    print(f"  no automaton: {sum(found is None for _, found in built)}")
    simple = [sentence for sentence in (*REQUIRED, *FORBIDDEN) if " of response must " not in sentence]
    for text in thousand([simple[number % len(simple)] for number in range(1_000)]):
        print(text)
    for text in pairs(required, forbidden, arguments.pairs):
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
