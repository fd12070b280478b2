"""Which of 200 deterministic rules hold, over 100 MB of text: one pass for all rules, against other ways.

    OMP_NUM_THREADS=1 python tests/bench/bench_scanning.py [--megabytes 100]

In one run: bylaw's Scanner in batches, a bare google-re2 Set and a bare hyperscan database of the same patterns (the
fastest engines, which know neither word edges of all scripts nor plain forms nor rules), one call a text and in the
best batch form (32 texts joined by line ends, every match reported: with the text that it is in, as an answer about
each text needs it, and without, which is less than what is asked), Python's `re` one rule after the other, the
reference evaluator, JSON decoding of the same texts, and copying memory. Texts are `str`, as a file of transcripts
gives them: the bare engines are timed with their encoding, and, marked so, over bytes that are ready. The slow ones see
a part of the text; rates are bytes of UTF-8 per second of processor, the engines take turns in slices and the best of
three passes of each slice counts. The texts are completions and documents of the public data, varied by shuffling their
sentences; every rule set is also compared for equal verdicts, with hyperscan and without.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import re2

from bylaw.compiler.evaluate import evaluate_term
from bylaw.compiler.importers import gitleaks
from bylaw.compiler.importers.interface import Naming
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit.columns import VERDICTS, VIOLATED
from bylaw.runtime.audit.pattern_sets import questions_of, source_of
from bylaw.runtime.audit.scanning import Scanner
from bylaw.spec.catalog import Language
from bylaw.spec.charset import word_characters
from bylaw.spec.pattern import Chars, render
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

DATA = Path(__file__).parents[3] / "shared" / "data"
RARE = ("indemnity", "surrender", "tariff", "voucher", "bailiff", "custard", "lantern", "ferry", "harbour", "turnip")
SLICE, BYTES, OURS = 4000, "over bytes that are ready", "bylaw, all rules"
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


@dataclass(frozen=True)
class Slice:
    texts: list[str]
    data: list[bytes]
    traces: list[Trace]


Way = Callable[[Slice], object]


def every(work: Callable[[Any], object], on: Iterable[Any]) -> None:
    """Does it and keeps nothing: memory that grows costs more than what is measured."""
    for each in on:
        work(each)


def runs(items: Sequence[Any], length: int) -> Iterator[Sequence[Any]]:
    return (items[first : first + length] for first in range(0, len(items), length))


def hyperscan_of(patterns: Sequence[str]) -> dict[str, Way]:
    """Ways to search; none where hyperscan is not installed."""
    try:
        import hyperscan
    except ImportError:
        return {}
    kept = []
    for place, pattern in enumerate(patterns):
        try:
            hyperscan.Database().compile([pattern.encode()], ids=[place], flags=[hyperscan.HS_FLAG_UTF8])
        except hyperscan.error:
            continue
        kept.append((pattern.encode(), place))
    print(f"  hyperscan takes {len(kept)} of {len(patterns)} patterns as they are")

    def database(flags: int) -> Any:
        found = hyperscan.Database()
        found.compile([p for p, _ in kept], ids=[i for _, i in kept], flags=[flags] * len(kept))
        return found

    once, each = database(hyperscan.HS_FLAG_SINGLEMATCH | hyperscan.HS_FLAG_UTF8), database(hyperscan.HS_FLAG_UTF8)
    found: list[int] = []
    note = found.append

    def seen(place: int, start: int, end: int, flags: int, context: object) -> None:
        note(place)

    def search(engine: Any, data: bytes) -> None:
        engine.scan(data, match_event_handler=seen)
        found.clear()

    where: list[int] = []
    note_where = where.extend

    def seen_where(place: int, start: int, end: int, flags: int, context: object) -> None:
        note_where((place, end))

    def search_where(data: Sequence[bytes]) -> None:
        each.scan(b"\n".join(data), match_event_handler=seen_where)
        ends = np.cumsum(np.fromiter(map(len, data), np.int64, len(data)) + 1)
        pairs = np.fromiter(where, np.int64, len(where)).reshape(-1, 2)
        np.searchsorted(ends, pairs[:, 1])
        where.clear()

    return {
        "hyperscan, a text a call": lambda part: every(lambda text: search(once, text.encode()), part.texts),
        "hyperscan, joined, told apart": lambda part: every(
            lambda some: search_where(list(map(str.encode, some))), runs(part.texts, 32)
        ),
        "hyperscan, joined, not told in which text": lambda part: every(
            lambda some: search(each, "\n".join(some).encode()), runs(part.texts, 32)
        ),
        f"hyperscan, a text a call, {BYTES}": lambda part: every(lambda text: search(once, text), part.data),
        f"hyperscan, joined, told apart, {BYTES}": lambda part: every(search_where, runs(part.data, 32)),
        f"hyperscan, joined, not told in which text, {BYTES}": lambda part: every(
            lambda some: search(each, b"\n".join(some)), runs(part.data, 32)
        ),
    }


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
    source = source_of(language)
    beside = render(Chars(word_characters().complement()))
    return source.replace(f"(?:\\A|{beside})", r"\b").replace(f"(?:{beside}|\\z)", r"\b")


def bare_set(patterns: Sequence[str]) -> Any:
    options = re2.Options()
    options.max_mem, options.log_errors, options.never_capture = 1 << 28, False, True
    found = re2.Set.SearchSet(options)
    for pattern in patterns:
        found.Add(pattern)
    found.Compile()
    return found


def without_hyperscan(terms: tuple[RewardTerm, ...]) -> Scanner:
    with mock.patch.dict(sys.modules, {"hyperscan": None}):
        return Scanner(terms)


def in_turns(ways: Mapping[str, Way], sample: list[str]) -> dict[str, float]:
    """Seconds of each way: slice by slice in turns, so that a busy machine slows all alike, the best of three."""
    spent = dict.fromkeys(ways, 0.0)
    for texts in runs(sample, SLICE):
        traces = [Trace((Message("assistant", text),)) for text in texts]
        part = Slice(list(texts), [text.encode() for text in texts], traces)
        for key, work in ways.items():
            spent[key] += min(timed(work, [part]) for _ in range(3))
    return spent


def bytes_of(texts: Iterable[str]) -> int:
    return sum(len(text.encode()) for text in texts)


def run(name: str, rules: str, sample: list[str], size: int) -> None:
    terms: tuple[RewardTerm, ...] = compile_source(Source.of("p.bylaw", rules)).require().terms[:200]
    start = time.process_time()
    scanner = Scanner(terms)
    built = time.process_time() - start
    slower = without_hyperscan(terms)
    # the other engines get the edges of words as ASCII has them, which is less work than ours
    patterns = [simple(language) for asked in questions_of(terms).values() for language in asked.values()]
    print(f"\n{name}: {len(terms)} rules, {len(patterns)} patterns, built in {built:.2f} s")
    bare = bare_set(patterns)
    ways: dict[str, Way] = {
        OURS: lambda part: every(scanner.codes_of_texts, runs(part.texts, 500)),
        "bylaw, of conversations": lambda part: every(scanner.batch, runs(part.traces, 500)),
        "re2 Set, a text a call": lambda part: every(lambda text: bare.Match(text.encode()), part.texts),
        f"re2 Set, a text a call, {BYTES}": lambda part: every(bare.Match, part.data),
        **hyperscan_of(patterns),
    }
    rates = {key: size / seconds for key, seconds in in_turns(ways, sample).items()}
    looks, asked = scanner.looks, scanner.texts * len(terms)
    part = sample[: len(sample) // 10]
    rates["bylaw, without hyperscan"] = bytes_of(part) / timed(slower.codes_of_texts, list(runs(part, 500)))
    rates |= one_by_one(terms, scanner, slower, patterns, sample, f"looked at {looks} of {asked} verdicts")
    for key, rate in rates.items():
        print(f"  {key:64} {rate / 1e6:9.2f} MB/s")
    ours, others = rates[OURS], {key: rate for key, rate in rates.items() if key.startswith(("re2", "hyperscan"))}
    print(f"  over Python re one by one: {ours / rates['Python re, one by one']:.0f} times")
    for key in (each for each in others if BYTES not in each):
        print(f"  of {key}: {ours / others[key]:.0%}, with {BYTES}: {ours / others.get(f'{key}, {BYTES}', 1.0):.0%}")
    spans = rates["bylaw, spans of what matched"] / rates["evaluator, one by one"]
    print(f"  spans only where something matched: {spans:.0f} times the evaluator")


def one_by_one(
    terms: tuple[RewardTerm, ...],
    scanner: Scanner,
    slower: Scanner,
    patterns: Sequence[str],
    sample: list[str],
    looked: str,
) -> dict[str, float]:
    """Rates of the slow ways over a part of the texts, whose verdicts are compared."""
    few, some = sample[:40], sample[:400]
    violated = int((scanner.codes_of_texts(some) == VIOLATED).sum())
    compiled = python_patterns(patterns)
    rates = {"Python re, one by one": bytes_of(few) / timed(lambda text: [each.search(text) for each in compiled], few)}
    rates["Python re, one by one"] *= len(compiled) / len(patterns)
    traces = [Trace((Message("assistant", text),)) for text in few]
    many = [Trace((Message("assistant", text),)) for text in some]
    evaluator, spans = [], []
    for _ in range(3):
        evaluator.append(timed(lambda trace: [evaluate_term(term, trace) for term in terms], traces))
        spans.append(timed(spans_of(scanner), [many]))
    rates["evaluator, one by one"] = bytes_of(few) / min(evaluator)
    rates["bylaw, spans of what matched"] = bytes_of(some) / min(spans)
    for found in (scanner.codes_of_texts(some[:100]), slower.codes_of_texts(some[:100])):
        for text, row in zip(some, found.tolist(), strict=False):
            trace = Trace((Message("assistant", text),))
            assert [VERDICTS[code] for code in row] == [evaluate_term(term, trace).verdict for term in terms]
    print(f"  {violated / len(some):.2f} rules broken a text; the evaluator {looked}")
    print("  verdicts of 100 texts equal those of the evaluator, with hyperscan and without")
    return rates


def spans_of(scanner: Scanner) -> Callable[[list[Trace]], None]:
    def work(traces: list[Trace]) -> None:
        scanned = scanner.batch(traces)
        every(scanned.scores, range(len(traces)))

    return work


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
    texts_of_20 = list(corpus(20_000_000))
    tracemalloc.start()
    scanner = Scanner(compile_source(Source.of("p.bylaw", phrases())).require().terms)
    peaks = []
    for number, texts in enumerate(runs(texts_of_20, 500)):
        scanner.codes_of_texts(texts)
        if number in (3, 17):
            peaks.append(tracemalloc.get_traced_memory()[0] / 1e6)
    print(f"\nin batches: {peaks[0]:.1f} MB of Python memory after 2,000 texts, {peaks[1]:.1f} MB after 9,000")


if __name__ == "__main__":
    main()
