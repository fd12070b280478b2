"""Which terms can pay without limit: ranges of quantities against the evaluator, and policies with and without caps."""

from __future__ import annotations

import subprocess
import sys
from math import inf

import pytest
from random_policies import Writer

from bylaw.compiler.evaluate import Unknown, number
from bylaw.compiler.law.normalisable import (
    _AS_LONG_AS,
    _FUNCTIONS,
    UnboundedTerm,
    describe,
    range_of,
    unbounded_terms,
)
from bylaw.compiler.pipeline import compile_source
from bylaw.compiler.program import RewardProgram
from bylaw.spec import catalog
from bylaw.spec.expression import (
    Arithmetic,
    Count,
    MessageText,
    NumberCall,
    NumberConstant,
    NumberExpression,
    NumberFact,
    TextConstant,
)
from bylaw.spec.logic import walk
from bylaw.spec.source import Source
from bylaw.spec.trace import Trace

RESPONSE = MessageText("response")
WORDS, SENTENCES = Count("words", RESPONSE), Count("sentences", RESPONSE)
PROMPT_WORDS = Count("words", MessageText("prompt"))
LONG = ("a. " * 700, "A" * 3000, "b a " * 800, "a\n\n" * 600)


def answered(text: str) -> Trace:
    return Trace(()).answered(text)


def policy(*clauses: str) -> RewardProgram:
    body = "\n".join(f"  {clause}" for clause in clauses)
    return compile_source(Source.of("policy.bylaw", f"rule r at user {{\n{body}\n}}\n")).require()


def told(*clauses: str) -> list[str]:
    return [each.reason for each in unbounded_terms(policy(*clauses))]


@pytest.mark.parametrize("seed", range(80))
def test_values_are_in_their_range(seed: int) -> None:
    """Random quantities of random and of very long texts; where one cannot rise, long texts do not raise it."""
    writer = Writer(f"range {seed}")
    quantity = writer.number()
    found = range_of(quantity)
    short = [number(quantity, answered(writer.text() + writer.text())) for _ in range(40)]
    long = [number(quantity, answered(text)) for text in LONG]
    values = [value for value in (*short, *long) if not isinstance(value, Unknown)]
    assert all(found.low <= value <= found.high for value in values)
    if found.is_whole:
        assert all(value.is_integer() for value in values)
    if not any(isinstance(part, NumberFact) for part in walk(quantity)):
        # A text is all that varies: what cannot grow has a number that it stays below, or is a share of the text.
        assert found.rises or found.high < inf or "/" in str(quantity)
        assert found.falls or found.low > -inf or "/" in str(quantity)


def test_the_random_quantities_are_of_both_kinds() -> None:
    """The test above would otherwise say little."""
    found = [range_of(Writer(f"range {seed}").number()) for seed in range(80)]
    assert 15 < sum(each.rises for each in found) < 75
    assert sum(each.falls for each in found) > 2


@pytest.mark.parametrize(
    ("quantity", "falls", "rises"),
    [
        (WORDS, False, True),
        (PROMPT_WORDS, False, False),
        (Arithmetic("-", PROMPT_WORDS, WORDS), True, False),
        (Arithmetic("distance", WORDS, NumberConstant(9.0)), False, True),
        (Arithmetic("*", NumberConstant(-2.0), WORDS), True, False),
        (Arithmetic("*", NumberFact("meta.age"), WORDS), True, True),
        (Arithmetic("*", PROMPT_WORDS, WORDS), False, True),
        (Arithmetic("/", WORDS, SENTENCES), False, True),
        (Arithmetic("/", WORDS, NumberConstant(-4.0)), True, False),
        (Arithmetic("/", NumberConstant(3.0), WORDS), False, False),
        (Arithmetic("/", NumberConstant(3.0), NumberFact("meta.age")), False, False),
        (Arithmetic("/", NumberConstant(3.0), NumberCall("unique_word_share", (RESPONSE,))), False, True),
        (Arithmetic("/", Count("commas", RESPONSE), Count("characters", RESPONSE)), False, False),
        (Arithmetic("/", Count("commas", RESPONSE), Count("characters", MessageText("prompt"))), False, True),
        (NumberCall("similarity", (RESPONSE, TextConstant("a"))), False, False),
        (NumberCall("longest_word", (MessageText("prompt"),)), False, False),
        (NumberCall("longest_word", (RESPONSE,)), False, True),
        (NumberCall("reading_ease", (RESPONSE,)), True, False),
        (NumberCall("phrases_found", (RESPONSE, TextConstant("a, b"))), False, False),
        (NumberCall("phrases_found", (TextConstant("a"), RESPONSE)), False, True),
        (NumberCall("json_of_tomorrow", (RESPONSE,)), True, True),
    ],
)
def test_what_can_grow(quantity: NumberExpression, falls: bool, rises: bool) -> None:
    found = range_of(quantity)
    assert (found.falls, found.rises) == (falls, rises)


def test_functions_keep_to_their_ranges() -> None:
    """The table lists functions of numbers that exist, and no example of the catalog leaves its range."""
    known = set(_FUNCTIONS) | set(_AS_LONG_AS)
    assert known == {name for name in catalog.names("functions") if catalog.function(name).result == "number"}
    for name, (low, high) in _FUNCTIONS.items():
        function = catalog.function(name)
        assert all(low <= float(example.value) <= high for example in function.examples), name
        if len(function.parameters) == 1:
            for text in LONG:
                assert low <= float(function.value(text)) <= high


@pytest.mark.parametrize(
    ("clauses", "reason"),
    [
        (("prefer higher number of words in response weight 0.5",), "it pays 0.5 nats for each unit of the words of"),
        (("prefer higher reading_ease(response) weight 1",), None),
        (("prefer lower reading_ease(response) weight 2",), "it pays 2 nats for each unit that `reading_ease` falls"),
        (("prefer lower number of words in response weight 0.5",), None),
        (("prefer number of words in response near 50 weight 1",), None),
        (('should contain "a" weight 3',), None),
        (("limit average number of words in response to at most 40",), None),
        (("limit average number of words in response to at least 40",), "its multiplier pays for the words of"),
        (("limit average number of words in response to exactly 40",), "its multiplier pays for the words of"),
        (('limit response contains "a" to at least 40% of responses',), None),
        (
            (
                "prefer higher number of words in response weight 0.5",
                "must have at most 900 words",
            ),
            None,
        ),
        (("prefer higher number of words in response weight 0.5", "must have at most 900 sentences"), "it pays"),
        (("prefer higher number of words in response weight 0.5", "must have at most 900 characters"), None),
    ],
)
def test_policies(clauses: tuple[str, ...], reason: str | None) -> None:
    found = told(*clauses)
    assert (found == []) if reason is None else (len(found) == 1 and found[0].startswith(reason))


def test_a_cap_on_some_prompts_only_is_no_cap() -> None:
    assert told(
        'when prompt contains "a"',
        "must have at most 9 characters",
        "prefer higher number of words in response weight 1",
    )


def test_a_multiplier_that_is_solved_decides_the_sign() -> None:
    program = policy("limit average number of words in response to exactly 40")
    name = program.terms[0].id
    assert unbounded_terms(program.with_multipliers({name: -0.1}))
    assert unbounded_terms(program.with_multipliers({name: 0.1})) == ()
    assert unbounded_terms(program.with_multipliers({name: 0.0})) == ()


def test_what_is_said() -> None:
    found = unbounded_terms(policy("prefer higher number of words in response weight 0.5"))
    assert found == (
        UnboundedTerm("r", "it pays 0.5 nats for each unit of the words of the response, which can grow without end"),
    )
    assert describe(found).startswith("this law exists only with a cap on the length of responses (`r`: it pays")
    assert describe(found, 64).startswith("this law exists only with the cap of 64 tokens (`r`: it pays")
    assert describe(()) == ""


def test_numpy_stays_out() -> None:
    probe = "import sys, bylaw.compiler.law.normalisable; print([m for m in ('numpy', 'scipy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
