"""Which of 200 deterministic rules hold, over 100 MB of text: one pass for all rules, against other ways.

    OMP_NUM_THREADS=1 python tests/bench/bench_scanning.py [--megabytes 100]

In one run: bylaw's Scanner, a bare google-re2 Set and a bare hyperscan database of the same patterns (the fastest
engines, which know neither word edges of all scripts nor rules), Python's `re` one rule after the other, the reference
evaluator, JSON decoding of the same texts, and copying memory. The slow ones see a part of the text; rates are bytes
of UTF-8 per second of processor. The texts are completions and documents of the public data, varied by shuffling their
sentences; every rule set is also compared for equal verdicts.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import re2

from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.importers import gitleaks
from bylaw.compiler.importers.interface import Naming
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit.pattern_sets import questions_of, source_of
from bylaw.runtime.audit.scanning import Scanner
from bylaw.spec.catalog import Language
from bylaw.spec.charset import word_characters
from bylaw.spec.pattern import Chars, render
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

DATA = Path(__file__).parents[3] / "shared" / "data"
RARE = ("indemnity", "surrender", "tariff", "voucher", "bailiff", "custard", "lantern", "ferry", "harbour", "turnip")
COMMON = ("sorry", "cannot", "help", "please", "sure", "important", "however")


def sentences_of_the_data() -> list[str]:
    found = [json.loads(line)["completion"][0]["content"] for line in (DATA / "openai_rbr/train.jsonl").open()]
    for path in sorted((DATA / "model_spec").glob("*.md")):
        found += re.split(r"\n\n+", path.read_text(encoding="utf-8"))
    return [part for text in found for part in re.split(r"(?<=[.!?])\s+", text) if part.strip()]


def corpus(size: int) -> Iterator[str]:
    """About 2,000 characters each."""
    generator, sentences, done = random.Random(0), sentences_of_the_data(), 0
    while done < size:
        text, length = [], 0
        while length < 2000:
            text.append(generator.choice(sentences))
            length += len(text[-1]) + 1
        whole = " ".join(text)
        done += len(whole.encode())
        yield whole


def phrases() -> str:
    """200 rules as policies have them: words and phrases, most of them rare, patterns, beginnings."""
    generator = random.Random(1)
    rules = [f'must not mention "{word}"' for word in COMMON]
    while len(rules) < 160:
        rule = f'must not mention "{" ".join(generator.sample(RARE, generator.choice((1, 2, 2, 3))))}"'
        rules += [] if rule in rules else [rule]
    rules += [f"must not contain /\\b{'abcdefghij'[n % 10]}[a-z]*-{n}\\d{{2,4}}\\b/" for n in range(30)]
    rules += [f'must not start with "{word.title()}"' for word in RARE[:10]]
    return "\n".join(f"rule r{number} at user {{ {rule} }}" for number, rule in enumerate(rules[:200]))


def secrets() -> str:
    """200 of the rules about secrets that a public list has."""
    text = (DATA / "gitleaks" / "gitleaks.toml").read_text(encoding="utf-8")
    return gitleaks.IMPORTER.read(text, Naming("secrets")).text


def timed(work: Callable[[Any], object], on: Sequence[Any]) -> float:
    """Seconds of processor for all of them."""
    start = time.process_time()
    for each in on:
        work(each)
    return time.process_time() - start


def hyperscan_of(patterns: Sequence[str]) -> Callable[[bytes], list[int]] | None:
    try:
        import hyperscan
    except ImportError:
        return None
    database = hyperscan.Database()
    kept, flags = [], hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_UTF8
    for place, pattern in enumerate(patterns):
        try:
            hyperscan.Database().compile([pattern.encode()], ids=[place], flags=[flags])
        except hyperscan.error:
            continue
        kept.append((pattern.encode(), place))
    database.compile([p for p, _ in kept], ids=[i for _, i in kept], flags=[flags] * len(kept))
    print(f"  hyperscan takes {len(kept)} of {len(patterns)} patterns")

    def scan(data: bytes) -> list[int]:
        found: list[int] = []
        database.scan(data, match_event_handler=lambda place, *_: found.append(place))
        return found

    return scan


def python_patterns(patterns: Sequence[str]) -> list[re.Pattern[str]]:
    """The same patterns for Python's engine, where it reads them."""
    found = []
    for pattern in patterns:
        rewritten = re.sub(r"\\x\{([0-9a-f]+)\}", lambda m: f"\\U{int(m[1], 16):08x}", pattern)
        rewritten = rewritten.replace(r"\z", r"\Z").replace("(?m:^)", r"(?:^|(?<=\n))")
        try:
            found.append(re.compile(rewritten))
        except re.error:
            continue
    return found


def simple(language: Language) -> str:
    """The pattern with ASCII's word edges in place of those of all scripts."""
    source = source_of(language)[0]
    beside = render(Chars(word_characters().complement()))
    return source.replace(f"(?:\\A|{beside})", r"\b").replace(f"(?:{beside}|\\z)", r"\b")


def run(name: str, rules: str, sample: list[str], size: int) -> None:
    terms: tuple[RewardTerm, ...] = compile_source(Source.of("p.bylaw", rules)).require().terms[:200]
    start = time.process_time()
    scanner = Scanner(terms)
    built = time.process_time() - start
    # the other engines get the edges of words as ASCII has them, which is less work than ours
    patterns = [simple(language) for asked in questions_of(terms).values() for language in asked.values()]
    print(f"\n{name}: {len(terms)} rules, {len(patterns)} patterns, built in {built:.2f} s")
    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = 1 << 28, False, True
    bare = re2.Set.SearchSet(options)
    for pattern in patterns:
        bare.Add(pattern)
    bare.Compile()
    data = [text.encode() for text in sample]
    rates: dict[str, float] = {}
    few, some = sample[:40], sample[:400]
    bytes_of = lambda part: sum(len(text.encode()) for text in part)  # noqa: E731

    # interleaved, so that a busy machine slows all of them alike
    spent = dict.fromkeys(("bylaw, all rules", "bare re2 Set"), 0.0)
    for first in range(0, len(sample), 5000):
        part, raw = sample[first : first + 5000], data[first : first + 5000]
        spent["bylaw, all rules"] += timed(scanner.verdicts_of_text, part)
        spent["bare re2 Set"] += timed(bare.Match, raw)
    rates |= {key: size / seconds for key, seconds in spent.items()}
    asked, looks = scanner.texts * len(terms), scanner.looks
    violated = sum(v is Verdict.VIOLATED for text in some for v in scanner.verdicts_of_text(text))
    scan = hyperscan_of(patterns)
    if scan is not None:
        rates["bare hyperscan"] = size / timed(scan, data)
    compiled = python_patterns(patterns)
    rates["Python re, one by one"] = bytes_of(few) / timed(lambda text: [each.search(text) for each in compiled], few)
    rates["Python re, one by one"] *= len(compiled) / len(patterns)
    traces = [Trace((Message("assistant", text),)) for text in few]
    rates["evaluator, one by one"] = bytes_of(few) / timed(
        lambda trace: [evaluate_term(term, trace) for term in terms], traces
    )
    for text in some[:100]:
        trace = Trace((Message("assistant", text),))
        assert scanner.verdicts_of_text(text) == tuple(evaluate_term(term, trace).verdict for term in terms)
    rates["bylaw, spans of what matched"] = bytes_of(few) / timed(scanner.scores, traces)
    print(f"  {violated / len(some):.2f} rules broken a text; the evaluator looked at {looks} of {asked} verdicts")
    print("  verdicts of 100 texts equal those of the evaluator")
    for key, rate in rates.items():
        print(f"  {key:30} {rate / 1e6:9.2f} MB/s")
    best = max(rates["bare re2 Set"], rates.get("bare hyperscan", 0.0))
    print(f"  over Python re one by one: {rates['bylaw, all rules'] / rates['Python re, one by one']:.0f} times")
    print(f"  of the bare re2 Set: {rates['bylaw, all rules'] / rates['bare re2 Set']:.0%}", end="")
    print(f", of the fastest engine: {rates['bylaw, all rules'] / best:.0%}")
    spans = rates["bylaw, spans of what matched"] / rates["evaluator, one by one"]
    print(f"  spans only where something matched: {spans:.0f} times the evaluator")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=float, default=100)
    size = int(parser.parse_args().megabytes * 1e6)
    sample = list(corpus(size))
    size = sum(len(text.encode()) for text in sample)
    print(f"python {sys.version.split()[0]}, google-re2, {len(sample)} texts, {size / 1e6:.0f} MB")
    lines = [json.dumps({"response": text}) for text in sample]
    print(f"JSON lines decoded: {size / timed(json.loads, lines) / 1e6:.0f} MB/s")
    block = np.zeros(1 << 28, np.uint8)
    print(f"memory copied: {len(block) / timed(np.copy, [block]) / 1e9:.1f} GB/s")
    del lines, block
    run("phrases", phrases(), sample, size)
    run("secrets", secrets(), sample, size)
    tracemalloc.start()
    scanner = Scanner(compile_source(Source.of("p.bylaw", phrases())).require().terms)
    peaks = []
    for number, text in enumerate(corpus(20_000_000)):
        scanner.verdicts_of_text(text)
        if number in (2000, 9000):
            peaks.append(tracemalloc.get_traced_memory()[0] / 1e6)
    print(f"\nstreamed: {peaks[0]:.1f} MB of Python memory after 2,000 texts, {peaks[1]:.1f} MB after 9,000")


if __name__ == "__main__":
    main()
