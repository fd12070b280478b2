"""All patterns of a program in one pass: the verdicts are those of the reference evaluator, whatever is asked."""

import random
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from random_policies import everywhere

from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit import audit as audits
from bylaw.runtime.audit import pattern_sets, scanning, tally
from bylaw.runtime.audit.columns import VERDICTS, value_of
from bylaw.runtime.audit.scanning import Scanner
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

SATISFIED, VIOLATED, SKIPPED = Verdict.SATISFIED, Verdict.VIOLATED, Verdict.NOT_APPLICABLE


def terms_of(rules: str) -> tuple[RewardTerm, ...]:
    return compile_source(Source.of("policy.bylaw", rules)).require().terms


def answer(response: str, prompt: str | None = None) -> Trace:
    said = (Message("assistant", response),)
    return Trace(said if prompt is None else (Message("user", prompt), *said))


def expected(terms: tuple[RewardTerm, ...], trace: Trace) -> tuple[Verdict, ...]:
    return tuple(evaluate_term(term, trace).verdict for term in terms)


@pytest.mark.parametrize("seed", range(150))
def test_random_policies_have_the_verdicts_of_the_evaluator(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One by one and all at once, with one engine and the other."""
    if seed % 3:
        without_hyperscan(monkeypatch)
    writer = everywhere(f"scan {seed}")
    terms = writer.program(6).terms
    scanner = Scanner(terms)
    traces = []
    for _ in range(8):
        trace = writer.trace(with_facts=False)
        if writer.random.random() < 0.9:
            trace = trace.answered(writer.text() * writer.random.choice((1, 1, 5)))
        traces.append(trace)
        text = writer.text()
        assert scanner.verdicts_of_text(text) == expected(terms, answer(text))
    scanned = scanner.batch(traces)
    truths = [tuple(evaluate_term(term, trace) for term in terms) for trace in traces]
    for number, truth in enumerate(truths):
        assert [VERDICTS[code] for code in scanned.codes[number]] == [score.verdict for score in truth]
        assert scanned.scores(number) == truth
        assert scanner.scores(traces[number]) == truth
    for index in range(len(terms)):
        values = [value_of(truth[index]) for truth in truths]
        np.testing.assert_array_equal(scanned.values(index), values)


RULES = """
lexicon greetings = ["hello", "good day", /h[ae]llo+/i]
rule a at user { must not mention any of greetings }
rule b at user { must not contain /\\d{3}-\\d{4}/ }
rule c at user { must start with "Dear" }
rule d at user { when prompt mentions "refund" must contain "within 30 days" }
rule e at user { must mention at most 1 of greetings }
rule f at user { should have at most 5 words weight 2 }
rule g at user { must not be empty }
"""
SAID = [
    ("Dear Ann, all is well.", "hi", (SATISFIED, SATISFIED, SATISFIED, SKIPPED, SATISFIED, SATISFIED, SATISFIED)),
    ("Hello, call 555-1234", "hi", (VIOLATED, VIOLATED, VIOLATED, SKIPPED, VIOLATED, SATISFIED, SATISFIED)),
    ("othello", "a refund?", (VIOLATED, SATISFIED, VIOLATED, VIOLATED, SATISFIED, SATISFIED, SATISFIED)),
    ("good days", "hi", (SATISFIED, SATISFIED, VIOLATED, SKIPPED, SATISFIED, SATISFIED, SATISFIED)),
    ("\uff28\uff25llo and good day", "x", (VIOLATED, SATISFIED, VIOLATED, SKIPPED, VIOLATED, SATISFIED, SATISFIED)),
    (" \u3000\n", "x", (SATISFIED, SATISFIED, VIOLATED, SKIPPED, SATISFIED, SATISFIED, VIOLATED)),
]


@pytest.mark.parametrize(("response", "prompt", "verdicts"), SAID)
def test_what_each_rule_says(response: str, prompt: str, verdicts: tuple[Verdict, ...]) -> None:
    terms = terms_of(RULES)
    assert expected(terms, answer(response, prompt)) == verdicts
    assert Scanner(terms).verdicts(answer(response, prompt)) == verdicts


def test_only_what_is_open_is_looked_at() -> None:
    """Rules about patterns that do not occur cost no look, and whole words one where the letters occur."""
    terms = terms_of("\n".join(f'rule r{n} at user {{ must not mention "word{n}" }}' for n in range(200)))
    scanner = Scanner(terms)
    scanner.verdicts_of_text("nothing of the kind")
    assert (scanner.texts, scanner.looks) == (1, 0)
    # the letters of word1 and word17 occur
    said = "a word1, some word17s"
    assert [n for n, v in enumerate(scanner.verdicts_of_text(said)) if v is VIOLATED] == [1]
    assert (scanner.texts, scanner.looks) == (2, 0)
    for text in (f"{said} \u00e0 la carte", f"\u00e9word1 {said}", f"{said} word2\u0436"):
        assert [n for n, v in enumerate(scanner.verdicts_of_text(text)) if v is VIOLATED] == [1]
    assert (scanner.texts, scanner.looks) == (5, 0)


@pytest.mark.parametrize(
    "said",
    ["kind", "\u212aind", " \u212aind.", "mankind", "\u017fkind", "kind\u0301", "\u201ckind\u201d", "\U0001f600kind"],
)
def test_letters_that_are_other_letters_in_another_case(said: str) -> None:
    terms = terms_of('rule a at user { must not mention "kind" }\nrule b at user { must not mention "\u00e9kind" }')
    assert Scanner(terms).verdicts_of_text(said) == expected(terms, answer(said))


def test_a_text_that_is_no_unicode_is_left_to_the_evaluator() -> None:
    terms = terms_of('rule a at user { must not contain "x" }')
    scanner = Scanner(terms)
    assert scanner.verdicts_of_text("x\ud800") == (VIOLATED,)
    assert scanner.verdicts_of_text("\ud800") == (SATISFIED,)
    assert scanner.looks == 2


class Starved:
    """A Set that ran out of memory: it finds nothing, and does not say why."""

    def Match(self, text: bytes) -> list[int]:  # noqa: N802
        return []


def test_an_engine_without_memory_passes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    without_hyperscan(monkeypatch)
    monkeypatch.setattr(pattern_sets, "_set_of", lambda patterns, taken: (taken.update(patterns), (Starved(), ()))[1])
    scanner = Scanner(terms_of('rule a at user { must not contain "x" }'))
    assert scanner.verdicts_of_text("an x") == (VIOLATED,)
    assert scanner.looks == 1


def test_many_patterns_are_several_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    without_hyperscan(monkeypatch)
    monkeypatch.setattr(pattern_sets, "_MOST_PATTERNS", 7)
    terms = terms_of("\n".join(f'rule r{n} at user {{ must not contain "({n})" }}' for n in range(50)))
    scanner = Scanner(terms)
    (search,) = scanner._searches[0][1].searches
    assert isinstance(search, pattern_sets.Re2Sets)
    assert len(search.sets) == 8
    generator = random.Random(1)
    for text in _texts(generator):
        assert scanner.verdicts_of_text(text) == expected(terms, answer(text))


def without_hyperscan(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is not installed."""
    monkeypatch.setitem(sys.modules, "hyperscan", None)


def _texts(generator: random.Random) -> Iterator[str]:
    for _ in range(30):
        yield " ".join(f"({generator.randrange(80)})" for _ in range(generator.randrange(6)))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_MOST_REMEMBERED", 4)
    terms = terms_of("\n".join(f'rule r{n} at user {{ must not contain "({n})" }}' for n in range(12)))
    scanner = Scanner(terms)
    for n in range(12):
        assert [place for place, v in enumerate(scanner.verdicts_of_text(f"({n})")) if v is VIOLATED] == [n]
        assert len(scanner._following._known) <= 6


def test_a_large_audit_scans_and_a_small_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """And both say the same."""
    compiled = compile_source(Source.of("policy.bylaw", RULES))
    traces = [answer(said, prompt) for said, prompt, _ in SAID] * 3
    records = []
    for least in (10**9, 1):
        monkeypatch.setattr(tally, "_SCANNED_FROM", least)
        records.append(audits.audit(compiled.require(), traces, source="t.jsonl", policy=compiled.source))
    assert records[0] == records[1]
    assert sum(term.violated for term in records[1].terms) > 0
