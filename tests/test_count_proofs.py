"""Proofs about counts: what is certain of any text, contradictions and what only looks like one, parameters."""

import random
import time
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
import pytest
from random_texts import policy

from bylaw.compiler.counts import counts_contradiction, counts_contradiction_over
from bylaw.compiler.counts.linear import Range, Row, contradiction, row, values_of
from bylaw.compiler.counts.parameters import fact_of, limits_of, with_facts
from bylaw.compiler.counts.products import fewest, gains, greatest, never_without
from bylaw.compiler.counts.table import (
    ANY_CASE,
    INSIDE,
    PARTWISE,
    PLAIN,
    SENTENCEWISE,
    Relation,
    gone_with,
    relations,
)
from bylaw.compiler.counts.texts import CHARACTERWISE, each_brings, fewest_with, machine_of
from bylaw.compiler.evaluate import truth
from bylaw.compiler.regular import dfa_of
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanExpression,
    Compare,
    Count,
    EachPart,
    Holds,
    Matcher,
    MessageText,
    NumberConstant,
    NumberExpression,
    Occurrences,
    Operator,
    Or,
    PartOf,
    Phrase,
    Regex,
)
from bylaw.spec.loader import load
from bylaw.spec.logic import negate
from bylaw.spec.machine import CountingMachine
from bylaw.spec.normal import plain
from bylaw.spec.parser import parse
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source
from bylaw.spec.spaces import WHITE_SPACE
from bylaw.spec.trace import Trace

RESPONSE = MessageText("response")
HEBREW = "\u05d0"


def said(*sentences: str, before: str = "") -> list[BooleanExpression]:
    """What rules with these sentences ask for."""
    rules = "".join(f"rule r{number} at user {{\n  {each}\n}}\n" for number, each in enumerate(sentences))
    return resolved(f"{before}\n{rules}", ())


def resolved(text: str, facts: tuple[str, ...]) -> list[BooleanExpression]:
    parsed = parse(Source.of("counts.bylaw", f'policy counts version "1"\n{text}'))
    module = with_facts(parsed.require(), facts)
    resolution = resolve(load(replace(parsed, module=module), None))
    assert not [found for found in resolution.diagnostics if found.is_error], resolution.diagnostics
    found = [each.obligation for each in resolution.regulators.regulators]
    return [each for each in found if each is not None]


# ------------------------------------------------------------------------------------------ what is certain of any text
def machines(each: Relation) -> list[tuple[int, CountingMachine]] | None:
    """The relation as a sum of counts, or None where a unit has no machine."""
    terms = [*each.smaller.items(), *((unit, -factor) for unit, factor in each.larger.items())]
    found = [(factor, machine) for unit, factor in terms if (machine := machine_of(unit)) is not None]
    return found if len(found) == len(terms) else None


@pytest.mark.parametrize("is_ascii", [False, True])
def test_relations_between_units_with_machines_are_proved_and_tight(is_ascii: bool) -> None:
    for each in relations(is_ascii):
        terms = machines(each)
        if terms is not None:
            assert greatest(terms, is_ascii=is_ascii) == each.more, each


def test_what_goes_with_what_is_proved() -> None:
    for unit in catalog.names("units"):
        for other in gone_with(unit):
            one, two = machine_of(other), machine_of(unit)
            if one is not None and two is not None:
                assert never_without(one, two), (other, unit)


def from_state(machine: CountingMachine, state: int, final: tuple[int, ...] = ()) -> CountingMachine:
    """The machine that starts in another state."""
    order = list(range(len(machine.step)))
    order[0], order[state] = state, 0
    step = tuple(tuple((order[target], count) for target, count in machine.step[own]) for own in order)
    return CountingMachine(machine.classes, step, tuple((final or machine.final)[own] for own in order))


def least_to(machine: CountingMachine) -> dict[int, int]:
    """For each state that can be reached the least count on the way there."""
    best, waiting = {0: 0}, [0]
    for state in waiting:
        for target, count in machine.step[state]:
            if target not in best or best[target] > best[state] + count:
                best[target] = best[state] + count
                waiting.append(target)
    return best


def least_from(machine: CountingMachine) -> tuple[int, ...]:
    """For each state the least that is still counted."""
    due = list(machine.final)
    while True:
        lower = [min(due[state], *(count + due[to] for to, count in each)) for state, each in enumerate(machine.step)]
        if lower == due:
            return tuple(due)
        due = lower


def is_partwise(machine: CountingMachine) -> bool:
    """Whether a line break ends all that is counted, and blank lines have nothing."""
    break_ = machine.class_of("\n")
    for state in least_to(machine):
        target, count = machine.step[state][break_]
        due, after = machine.final[state] - count, from_state(machine, target)
        if greatest([(1, after), (-1, machine)]) != due or greatest([(-1, after), (1, machine)]) != -due:
            return False
    blank, waiting = {0}, [0]
    for state in waiting:
        steps = [machine.step[state][machine.class_of(char)] for char in WHITE_SPACE if char != "\n"]
        if machine.final[state] or any(count for _, count in steps):
            return False
        waiting += [target for target, _ in steps if target not in blank]
        blank |= {target for target, _ in steps}
    return True


def is_inside(machine: CountingMachine) -> bool:
    """Whether a stretch of a text never has more than the text."""
    due = least_from(machine)
    for state, least in least_to(machine).items():
        most = greatest([(1, machine), (-1, from_state(machine, state, due))])
        if most is None or most > least:
            return False
    return True


def test_units_of_parts_and_of_stretches_are_proved() -> None:
    for unit in PARTWISE:
        machine = machine_of(unit)
        assert machine is not None
        assert is_partwise(machine), unit
    for unit in INSIDE:
        machine, build = machine_of(unit), catalog.unit(unit).machine
        assert machine is not None
        assert build is not None
        assert is_inside(machine), unit
        assert is_inside(build()), unit
    tables = machine_of("tables")
    assert tables is not None
    assert not is_partwise(tables)
    bullets = machine_of("bullets")
    assert bullets is not None
    assert not is_inside(bullets)


def test_units_of_characters_and_of_any_case() -> None:
    for unit in ANY_CASE:
        build = catalog.unit(unit).machine
        assert build is not None
        machine = build()
        for small in "abcdefghijklmnopqrstuvwxyz":
            one, two = machine.class_of(small), machine.class_of(small.upper())
            assert all(each[one] == each[two] for each in machine.step), (unit, small)
    for unit in CHARACTERWISE:
        build = catalog.unit(unit).machine
        assert build is not None
        assert len(build().step) == 1
        assert build().final == (0,)
    breaks = catalog.unit("line_breaks").machine
    assert breaks is not None
    assert not [char for char in map(chr, range(0x110000)) if char != "\n" and "\n" in plain(char)]


PIECES = (
    *(
        "a",
        "B",
        "word",
        "The the",
        "x.x",
        "5;6",
        "3.50",
        "e.g. ",
        "Why? ",
        "No! ",
        "Yes. ",
        "\n",
        "\n\n",
        "- a\n",
        "1. b\n",
    ),
    *(
        "# T\n",
        "***\n",
        "| a |\n",
        "*hi*",
        "[x]",
        "[x](y)",
        "![x](y)",
        "`c`",
        "```\n",
        '"q"',
        "(p)",
        "<b>",
        "@me",
        "#tag",
    ),
    *(
        HEBREW,
        f"{HEBREW}.",
        "\ufdfa",
        "\u33c2",
        "\u2026",
        "\U0001f130",
        "\u200b",
        "\u00ad",
        "\u0301",
        "\u4f60",
        "\u3002",
    ),
    *(
        "\u0430p",
        "\U0001f600",
        "\u00a0",
        "\r\n",
        "\u2028",
        "_",
        "'",
        ", ",
        ";",
        ":",
        "-",
        "\u2013",
        "II",
        "SHOUT",
        "level",
    ),
    *(
        "a@b.example",
        "https://a.example/x",
        "2024-05-31",
        "4111 1111 1111 1111",
        "531-21-7351",
        "+44 20 7946 0958",
        " ",
    ),
)


@cache
def texts() -> tuple[str, ...]:
    """All short texts over an awkward alphabet, all examples of units, random pieces, and policies."""
    awkward = ("a", "B", "1", ".", "?", "\n", " ", HEBREW, "\ufdfa", '"', "-", "*", "\u2026")
    short = ["".join(chars) for length in range(4) for chars in product(awkward, repeat=length)]
    short += ["".join(chars) for chars in product('aB. \n?"1', repeat=4)]
    shown = [example.text for unit in catalog.names("units") for example in catalog.unit(unit).examples]
    generator = random.Random(7)
    mixed = ["".join(generator.choices(PIECES, k=generator.randint(1, 16))) for _ in range(3_000)]
    policies = [policy(generator) for _ in range(10)]
    pairs = [one + other for one in shown for other in generator.sample(shown, 12)]
    return tuple(dict.fromkeys([*short, *shown, *pairs, *mixed, *policies]))


def many(unit: str, text: str) -> int:
    return len(plain(text)) if unit == PLAIN else len(catalog.unit(unit).find(text))


@cache
def related() -> frozenset[str]:
    return frozenset(unit for a in (False, True) for each in relations(a) for unit in (*each.smaller, *each.larger))


def test_relations_hold_for_many_texts() -> None:
    units = sorted(related())
    counts = np.array([[many(unit, text) for unit in units] for text in texts()])
    assert len(counts) > 10_000
    tight: set[tuple[bool, int]] = set()
    for is_ascii in (False, True):
        tried = [place for place, text in enumerate(texts()) if text.isascii() or not is_ascii]
        for number, each in enumerate(relations(is_ascii)):
            one, other = (
                sum(factor * counts[tried, units.index(unit)] for unit, factor in side.items())
                for side in (each.smaller, each.larger)
            )
            other = other + each.more
            wrong = np.flatnonzero(one > other)
            assert not len(wrong), (texts()[tried[wrong[0]]], each)
            if np.any((one == other) & (other > 0)):
                tight.add((is_ascii, number))
    assert len(tight) > 135, "most relations are tried where they are tight"


def test_what_goes_with_what_for_many_texts() -> None:
    gone = {unit: gone_with(unit) for unit in catalog.names("units") if gone_with(unit)}
    for text in texts()[::3]:
        for unit, others in gone.items():
            if not catalog.unit(unit).find(text):
                assert not [other for other in others if catalog.unit(other).find(text)], (unit, text)


def test_sentences_together_have_all_words() -> None:
    for text in texts()[::2]:
        extents = catalog.unit("sentences").find(text)
        for unit in SENTENCEWISE:
            find = catalog.unit(unit).find
            assert len(find(text)) <= sum(len(find(text[each.start : each.end])) for each in extents), (unit, text)


def test_a_relation_that_is_not_true_is_refuted() -> None:
    sentences, words = machine_of("sentences"), machine_of("words")
    assert sentences is not None
    assert words is not None
    more = gains([(1, sentences), (-1, words)])
    assert more is not None
    assert len(catalog.unit("sentences").find(more * 9)) > len(catalog.unit("words").find(more * 9))
    assert greatest([(1, sentences), (-1, words)]) is None
    assert greatest([(1, sentences), (-1, words)], is_ascii=True) == 0
    assert gains([(1, words), (-4, sentences), (-4, words)]) is None
    assert not never_without(sentences, words)


# -------------------------------------------------------------------------------------------------- contradictions
CONTRADICTIONS: list[tuple[tuple[str, ...], str]] = [
    (
        ("must have at least 60 sentences", "must have at most 50 characters"),
        "at least 60 sentences need at least 60 characters; at most 50 characters are allowed",
    ),
    (
        ("must have at least 10 unique_words", "must have at most 9 words"),
        "at least 10 unique words need at least 10 words; at most 9 words are allowed",
    ),
    (
        ("must have at least 5 paragraphs", "must have at most 7 line_breaks"),
        "at least 5 paragraphs need at least 8 line breaks; at most 7 line breaks are allowed",
    ),
    (
        ("must have at least 5 letters", "must have no words"),
        "at least 5 letters are asked for; where there are no words there are no letters",
    ),
    (
        ("must have at least 3 commas", "must have at least 2 colons", "must have at most 4 punctuation_marks"),
        "at least 3 commas and at least 2 colons need at least 5 punctuation marks; at most 4 punctuation marks are "
        "allowed",
    ),
    (
        ("must have at least 3 questions", "must have at least 2 exclamations", "must have at most 4 sentences"),
        "at least 3 questions and at least 2 exclamations need at least 5 sentences; at most 4 sentences are allowed",
    ),
    (
        ('must contain "Kind regards, Mo Ling"', "must have at most 3 words"),
        'containing "Kind regards, Mo Ling" needs at least 4 words; at most 3 words are allowed',
    ),
    (
        ('must mention "refund" at least 3 times', "must have at most 17 letters"),
        '"refund" at least 3 times needs at least 18 letters; at most 17 letters are allowed',
    ),
    (
        ('must be in ["Yes, of course.", "No, sorry."]', "must have at least 4 words"),
        'either at least 4 words are asked for; "Yes, of course." has 3 words; or at least 4 words are asked for; '
        '"No, sorry." has 2 words',
    ),
    (
        ('must start with "Dear customer, thank you"', "must have no commas"),
        'starting with "Dear customer, thank you" needs at least 1 comma; no commas are allowed',
    ),
    (
        (
            "every line of response must have at most 5 words",
            "must have at most 4 lines",
            "must have at least 21 words",
        ),
        "at least 21 words need at least 5 lines (`words <= 5 * lines`); at most 4 lines are allowed",
    ),
    (
        (
            "number of words in response must be at least 3 * number of sentences in response",
            "number of words in response must be at most 2 * number of sentences in response",
            "must have at least 1 sentences",
        ),
        "asked for: `3 * sentences <= words`, `words <= 2 * sentences`, `1 <= sentences`",
    ),
    (
        ("must be ascii", "must have at least 10 sentences", "must have at most 9 words"),
        "at least 10 sentences need at least 10 words; at most 9 words are allowed",
    ),
    (
        ("line 1 of response must have at least 30 words", "must have at most 20 words"),
        "at least 30 words in line 1 need at least 30 words; at most 20 words are allowed",
    ),
    (
        ("must contain /^SECTION [0-9]/m at least 5 times", "must have fewer than 5 sentences"),
        "/^SECTION [0-9]/m at least 5 times needs at least 5 sentences; at most 4 sentences are allowed",
    ),
    (
        ("must have at least 3 highlights", "must have at most 5 asterisks"),
        "at least 3 highlights need at least 6 asterisks; at most 5 asterisks are allowed",
    ),
    (
        ("must have at least 7 bullets", "must have at most 6 lines"),
        "at least 7 bullets need at least 7 lines; at most 6 lines are allowed",
    ),
    (
        ("must have at least 3 bullets", "must have at least 2 headings", "must have at most 4 lines"),
        "at least 3 bullets and at least 2 headings need at least 5 lines; at most 4 lines are allowed",
    ),
    (
        ("must have at least 4 questions", "must have at most 3 question_marks"),
        "at least 4 questions need at least 4 question marks; at most 3 question marks are allowed",
    ),
    (
        ("must have at least 41 words", "must have at most 10 characters"),
        "at least 41 words need at least 11 characters; at most 10 characters are allowed",
    ),
    (
        ("must have at least 3 vowels", "must have at least 4 consonants", "must have at most 6 letters"),
        "at least 3 vowels and at least 4 consonants need at least 7 letters; at most 6 letters are allowed",
    ),
    (
        ("must have at least 2 quotations", "must have at most 3 quotation_marks"),
        "at least 2 quotations need at least 4 quotation marks; at most 3 quotation marks are allowed",
    ),
    (
        ("must have at least 5 statements", "must have no sentences or have at most 2 sentences"),
        "either at least 5 statements need at least 5 sentences; no sentences are allowed; or at least 5 statements "
        "need at least 5 sentences; at most 2 sentences are allowed",
    ),
    (
        (
            'must contain at least 2 of ["tide", "harbour", "boat"]',
            'must not contain "tide"',
            'must not contain "harbour"',
        ),
        'not containing "harbour" needs containing "tide" (`2 <= containing "tide" + containing "harbour" + containing '
        '"boat"`); not containing "tide" is asked for',
    ),
    (
        ('must contain "ebb and flow"', 'must contain "ebb" at most 0 times'),
        'containing "ebb and flow" needs "ebb" at least 1 time; "ebb" at most 0 times is allowed',
    ),
    (
        ("must have no lines", 'must contain "boat"'),
        'containing "boat" needs at least 1 line; no lines are allowed',
    ),
    (
        ("must have at least 2 numbered_items", "must have at most 1 digits"),
        "at least 2 numbered items need at least 2 digits; at most 1 digit is allowed",
    ),
    (
        ("must have exactly 4 doubled_words", "must have at least 7 unique_words", "must have at most 10 words"),
        "at least 4 doubled words and at least 7 unique words need at least 11 words; at most 10 words are allowed",
    ),
    (
        ("must have at least 100 letters", "must have at most 6 characters"),
        "at least 100 letters need at least 7 characters; at most 6 characters are allowed",
    ),
    (
        ("some line of response must have at least 12 words", "must have fewer than 12 words"),
        "at least 12 words are asked for; at most 11 words are allowed",
    ),
    (
        ("paragraph 1 of response must have at least 4 commas", "must have at most 3 commas"),
        "at least 4 commas in paragraph 1 need at least 4 commas; at most 3 commas are allowed",
    ),
]


@pytest.mark.parametrize(("sentences", "story"), CONTRADICTIONS, ids=lambda value: str(value)[:60])
def test_contradictions_are_proved_and_told(sentences: tuple[str, ...], story: str) -> None:
    proof = counts_contradiction(said(*sentences))
    assert proof is not None
    assert proof.text == story
    assert proof.statements == tuple(range(len(sentences))), "each is needed"
    for left_out in range(len(sentences)):
        fewer = [each for number, each in enumerate(sentences) if number != left_out]
        assert counts_contradiction(said(*fewer)) is None


LOOKALIKES: list[tuple[tuple[str, ...], str]] = [
    (("must have at least 3 sentences", "must have at most 1 words"), f"{HEBREW}.{HEBREW}.{HEBREW}"),
    (("must have at least 4 words", "must have at most 1 characters"), "\ufdfa"),
    (("must have at least 2 numbers", "must have at most 1 words"), "5;6"),
    (('must mention "x" at least 3 times', "must have at most 1 words"), "x.x.x"),
    (("must have at least 1 capital_letters", "must have no letters"), "\U0001f150"),
    (("must have at least 3 full_stops", "must have at most 1 characters"), "\u2026"),
    (("must have at least 10 unique_words", "must have at most 10 words"), "a b c d e f g h i j"),
    (("must have at least 5 paragraphs", "must have at most 8 line_breaks"), "a\n\na\n\na\n\na\n\na"),
    (("must have at least 5 words", "must have no letters"), "1 2 3 4 5"),
    (("must have at least 3 lines", "must have no words"), ".\n.\n."),
    (("must have at least 3 commas", "must have at least 2 colons", "must have at most 5 punctuation_marks"), ",,,::"),
    (("must have at least 2 questions", "must have at most 2 sentences"), "Is it? Why?"),
    (('must contain "Kind regards, Mo Ling"', "must have at most 4 words"), "Kind regards, Mo Ling"),
    (('must contain "abc" at least 3 times', "must have at most 1 words"), "abcabcabc"),
    (("must have at least 3 highlights", "must have at most 6 asterisks"), "*a**b**c*"),
    (("must have at least 4 quotation_marks", "must have at most 0 quotations"), '""""'),
    (
        ("every line of response must have at least 5 characters", "must have at most 0 characters"),
        "",
    ),
    (("every line of response must have at most 1 characters", "must have at least 9 characters"), "a" + "\n" * 9),
    (
        (
            "every sentence of response must have at least 1 words",
            "must have at most 1 words",
            "must have at least 2 sentences",
        ),
        f"{HEBREW}.{HEBREW}",
    ),
    (("line 1 of response must have at most 2 words", "must have at least 3 words"), "a b\nc"),
    (
        (
            "last line of response must have at least 2 words",
            "line 1 of response must have at least 2 words",
            "must have at most 3 words",
        ),
        "a b c",
    ),
    (("must have at least 2 parentheses", "must have at most 6 characters"), "(a)(b)"),
    (("must have at least 2 tables", "must have at most 2 line_breaks"), "|a\n\n|b"),
    (('must be in ["Yes.", "No, no."]', "must have at least 1 commas"), "No, no."),
    (('must start with "Ahoy, all" or have no commas', "must have no commas"), "Ahoy"),
    (('must mention "harbour"', 'must not contain "harbour"'), "Harbour"),
    (('must contain at least 2 of ["tide", "ebb", "boat"]', 'must not contain "tide"'), "ebb boat"),
    (("must be uppercase", "must have at most 0 capital_letters or have at least 1 words"), "A"),
    (("number of words in response must be exactly 2 * number of sentences in response",), "Go on. Do it."),
    (("must contain /^SECTION [0-9]/m at least 2 times", "must have at most 2 lines"), "SECTION 1\nSECTION 2"),
]


@pytest.mark.parametrize(("sentences", "witness"), LOOKALIKES, ids=lambda value: str(value)[:60])
def test_what_only_looks_like_a_contradiction_is_not_proved(sentences: tuple[str, ...], witness: str) -> None:
    statements = said(*sentences)
    trace = Trace(()).answered(witness)
    assert [truth(each, trace) for each in statements] == [True] * len(statements)
    assert counts_contradiction(statements) is None
    if witness.isascii():
        assert counts_contradiction(statements, only_ascii=True) is None


def test_in_ascii_more_is_certain() -> None:
    statements = said("must have at least 60 sentences", "must have at most 50 words")
    assert counts_contradiction(statements) is None
    proof = counts_contradiction(statements, only_ascii=True)
    assert proof is not None
    assert proof.only_ascii
    assert proof.text == "at least 60 sentences need at least 60 words; at most 50 words are allowed"


# ------------------------------------------------------------------------------------------------------- brute force
ALPHABET = ("a", "B", ".", "\n", " ")
UNITS = (
    *("words", "sentences", "characters", "lines", "paragraphs", "line_breaks", "commas", "letters", "unique_words"),
    *("full_stops", "statements", "capital_letters", "all_caps_words", "doubled_words", "punctuation_marks", "vowels"),
)
PHRASES: tuple[Matcher, ...] = (
    Phrase("a"),
    Phrase("a."),
    Phrase("B a"),
    Regex("a+"),
    Regex("^a", "m"),
    Regex("[aB]\\."),
)
OPERATORS: tuple[Operator, ...] = ("<", "<=", "==", "!=", ">=", ">")


@cache
def small_texts() -> tuple[str, ...]:
    return tuple("".join(chars) for length in range(6) for chars in product(ALPHABET, repeat=length))


@pytest.fixture
def remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a unit finds in a text is looked for once: many statements count the same units of the same texts."""
    known = {name: catalog.unit(name) for name in catalog.names("units")}
    units = {name: replace(each, find=cache(each.find)) for name, each in known.items()}
    monkeypatch.setattr(catalog, "unit", units.__getitem__)


@cache
def obeying(statement: BooleanExpression) -> int:
    """Which of the small texts obey a simple statement, as the bits of a number."""
    return sum(
        1 << place for place, text in enumerate(small_texts()) if truth(statement, Trace(()).answered(text)) is True
    )


def obeyed(statement: BooleanExpression) -> int:
    """The same for any statement, put together from those of its parts."""
    match statement:
        case And(items):
            found = -1
            for item in items:
                found &= obeyed(item)
            return found
        case Or(items):
            found = 0
            for item in items:
                found |= obeyed(item)
            return found
    return obeying(statement)


def simple(generator: random.Random) -> BooleanExpression:
    kind = generator.randrange(10)
    bound = NumberConstant(float(generator.randrange(5)))
    operator = generator.choice(OPERATORS)
    if kind < 6:
        return Compare(operator, Count(generator.choice(UNITS), RESPONSE), bound)
    matcher = generator.choice(PHRASES)
    if kind == 6:
        predicate = generator.choice(("contain", "mention", "start_with", "end_with", "match"))
        held = Holds(predicate, RESPONSE, (matcher,))
        return held if generator.random() < 0.6 else negate(held)
    if kind == 7:
        return Compare(operator, Occurrences(generator.choice(("contain", "mention")), RESPONSE, (matcher,)), bound)
    if kind == 8:
        part = PartOf(generator.choice(("lines", "sentences")), generator.choice((1, 2, -1)), RESPONSE)
        return Compare(operator, Count(generator.choice(UNITS), part), bound)
    item = Compare(operator, Count(generator.choice(UNITS), MessageText("it")), NumberConstant(bound.value % 3))
    unit = generator.choice(("lines", "paragraphs", "sentences"))
    return EachPart(generator.choice(("every", "some")), unit, RESPONSE, item)


def compound(generator: random.Random) -> BooleanExpression:
    if generator.random() < 0.75:
        return simple(generator)
    items = tuple(simple(generator) for _ in range(generator.randint(2, 3)))
    return Or(items) if generator.random() < 0.7 else And(items)


@pytest.mark.usefixtures("remembered")
def test_a_proof_never_contradicts_brute_force() -> None:
    generator = random.Random(20)
    pool = [compound(generator) for _ in range(120)]
    proved = 0
    for _ in range(3_000):
        statements = generator.sample(pool, generator.randint(2, 5))
        common = -1
        for each in statements:
            common &= obeyed(each)
        proof = counts_contradiction(statements)
        is_empty = common & ((1 << len(small_texts())) - 1) == 0
        if proof is None:
            continue
        proved += 1
        assert is_empty, (statements, proof.text)
    assert proved > 400


@pytest.mark.usefixtures("remembered")
def test_arithmetic_never_contradicts_brute_force() -> None:
    generator = random.Random(21)
    vectors = [
        (text, {unit: float(len(catalog.unit(unit).find(text))) for unit in UNITS}) for text in small_texts()[::3]
    ]

    def amount(depth: int = 0) -> NumberExpression:
        kind = generator.randrange(6 if depth < 2 else 2)
        if kind < 3:
            return Count(generator.choice(UNITS), RESPONSE)
        if kind == 3:
            return NumberConstant(float(generator.randrange(4)))
        operator = generator.choice(("+", "-", "distance") if kind == 4 else ("*",))
        right = NumberConstant(float(generator.randrange(1, 4))) if operator == "*" else amount(depth + 1)
        return arithmetic(operator, amount(depth + 1), right)

    proved = 0
    for _ in range(1_500):
        statements = [
            Compare(generator.choice(OPERATORS), left, amount())
            for left in (amount(), ratio(generator) if generator.random() < 0.4 else amount())
        ]
        proof = counts_contradiction(statements)
        if proof is None:
            continue
        proved += 1
        for text, _ in vectors[:: generator.randint(1, 7)]:
            trace = Trace(()).answered(text)
            assert not all(truth(each, trace) is True for each in statements), (statements, text, proof.text)
    assert proved > 100


def arithmetic(operator: str, left: NumberExpression, right: NumberExpression) -> NumberExpression:
    return Arithmetic(operator, left, right)  # type: ignore[arg-type]


def ratio(generator: random.Random) -> NumberExpression:
    one, other = (Count(generator.choice(UNITS), RESPONSE) for _ in range(2))
    return arithmetic("/", one, other)


def test_relations_of_phrases_hold_for_many_texts() -> None:
    matchers: list[Matcher] = [
        *(
            Phrase(text)
            for text in ("a", "II", "Dr. B, no", "x.x", "- a", "1. b", "the", "caf\u00e9", "\u4f60", "a-B", "\n")
        ),
        *(Regex("^- [^\n]+", "m"), Regex("[A-Z]{2,}"), Regex("a|B"), Regex("^#+ ", "m"), Regex("[0-9]+[.;][0-9]+")),
    ]
    units = (*UNITS, PLAIN, "digits", "consonants", "bullets", "headings", "numbers", "hyphens")
    counted = {text: {unit: many(unit, text) for unit in units} for text in texts()[::16]}
    reached = set()
    for matcher in matchers:
        for predicate in ("contain", "mention", "start_with", "end_with", "match"):
            question = catalog.predicate(predicate)
            least = {unit: fewest_with(predicate, matcher, unit) for unit in units}
            each = {
                unit: each_brings(predicate, matcher, unit) for unit in units if predicate in ("contain", "mention")
            }
            for text, counts in counted.items():
                times = len(question.find(text, matcher))
                if not times:
                    continue
                for unit, own in counts.items():
                    assert own >= least[unit], (predicate, matcher, unit, text)
                    assert own >= each.get(unit, 0) * times, (predicate, matcher, unit, text)
                    if own == least[unit] > 0:
                        reached.add((matcher, unit))
    assert len(reached) > 60


def test_the_fewest_units_in_a_language() -> None:
    language = dfa_of(Holds("contain", RESPONSE, (Regex("(one two|three), [a-z]"),)))
    words, commas = machine_of("words"), machine_of("commas")
    assert language is not None
    assert words is not None
    assert commas is not None
    assert fewest(language, words) == 2
    assert fewest(language, commas) == 1
    nothing = dfa_of(And((Holds("match", RESPONSE, (Phrase("a"),)), Holds("match", RESPONSE, (Phrase("b"),)))))
    assert nothing is not None
    assert fewest(nothing, words) is None


# ---------------------------------------------------------------------------------------------------- linear systems
def test_elimination_never_loses_a_solution() -> None:
    generator = random.Random(22)
    box = list(product(range(-2, 5), repeat=3))
    refuted = 0
    for _ in range(3_000):
        rows = [
            row(
                {
                    variable: generator.randint(-3, 3)
                    for variable in generator.sample(range(3), generator.randint(1, 3))
                },
                Fraction(generator.randint(-8, 8), generator.choice((1, 1, 2))),
                strict=generator.random() < 0.2,
                sources=1 << number,
            )
            for number in range(generator.randint(2, 7))
        ]
        solutions = [point for point in box if all(holds(each, point) for each in rows)]
        sources = contradiction(rows)
        if sources is not None:
            refuted += 1
            assert not solutions
            taken = [each for number, each in enumerate(rows) if sources >> number & 1]
            assert contradiction(taken) is not None, "the sources are enough"
        within = values_of(0, rows)
        assert not solutions or within is not None
        for point in solutions:
            assert within is not None
            assert within.holds(point[0])
    assert refuted > 300


def holds(each: Row, point: tuple[int, ...]) -> bool:
    total = sum(factor * point[variable] for variable, factor in each.terms)
    return total < each.bound or (total == each.bound and not each.strict)


def test_whole_numbers_and_reals() -> None:
    half = [row({0: 2}, 1), row({0: -2}, -1)]
    assert contradiction(half) == 0, "no whole number is a half"
    assert contradiction([row({0: 2}, 1, reals={0}), row({0: -2}, -1, reals={0})], {0}) is None
    between = [row({0: 1}, 1, strict=True, reals={0}), row({0: -1}, 0, strict=True, reals={0})]
    assert contradiction(between, {0}) is None
    assert values_of(0, between, {0}) == Range(Fraction(0), Fraction(1), True, True)
    assert contradiction([row({0: 1}, 1, strict=True), row({0: -1}, 0, strict=True)]) is not None
    assert values_of(0, [row({0: 1, 1: 1}, 4), row({1: -1}, -3)]) == Range(None, Fraction(1))
    many = [
        row({v: 1 + (v + w) % 3, w: -1 - (v * w) % 2, 9: (-1) ** w}, v) for v in range(9) for w in range(9) if v != w
    ]
    assert contradiction(many, most_rows=30) is None, "too many rows: nothing is said"


# --------------------------------------------------------------------------------------------------------- parameters
PARAMETERS: list[tuple[str, str, tuple[float, ...], tuple[float, ...]]] = [
    (
        "param longest : number = 90 between 10 and 400\n"
        "rule a at user {\n  must have at most longest words\n}\n"
        "rule b at user {\n  must have at least 60 unique_words\n}\n",
        "for every `longest` below 60",
        (10, 59),
        (60, 400),
    ),
    (
        "param longest : number = 90 between 10 and 400\n"
        "define enough as longest / 2\n"
        "rule a at user {\n  number of words in response must be at most enough\n}\n"
        "rule b at user {\n  must have exactly 60 words or have exactly 70 words\n}\n",
        "for every `longest` below 120",
        (10, 118),
        (120, 400),
    ),
    (
        "param size : number = 9 between 1 and 100\n"
        "rule a at user {\n  must have exactly size words\n}\n"
        "rule b at user {\n  must have at most 20 words or have at least 50 words\n}\n",
        "for every `size` above 20 and below 50",
        (21, 49),
        (20, 50),
    ),
    (
        "param fewest : number = 9 between 1 and 100\n"
        "rule a at user {\n  must have at least fewest paragraphs\n}\n"
        "rule b at user {\n  must have at most 10 line_breaks\n}\n",
        "for every `fewest` above 6",
        (7, 100),
        (1, 6),
    ),
]


@pytest.mark.parametrize(("text", "story", "refuted", "fine"), PARAMETERS, ids=lambda value: str(value)[:40])
def test_values_of_a_parameter(text: str, story: str, refuted: tuple[float, ...], fine: tuple[float, ...]) -> None:
    limits = limits_of(parse(Source.of("counts.bylaw", text)).require())
    statements = resolved(text, tuple(limits))
    proof = counts_contradiction_over(statements, {fact_of(name): ends for name, ends in limits.items()})
    assert proof is not None
    assert proof.text == story
    assert proof.statements == (0, 1)
    (name,) = limits
    default = text.partition("= ")[2].partition(" ")[0]
    for value in (*refuted, *fine):
        put_in = resolved(text.replace(f"= {default} ", f"= {value:g} ", 1), ())
        assert (counts_contradiction(put_in) is not None) is proof.holds_for(value) is (value in refuted), value
    assert counts_contradiction_over(statements[:1], {fact_of(name): limits[name]}) is None


def test_a_parameter_that_is_hidden_stays_what_it_is() -> None:
    text = (
        "param size : number = 9 between 1 and 100\n"
        "define more(size: number) as number of words in response > size\n"
        "rule a at user {\n  when more(3)\n  must have at most size lines\n}\n"
    )
    parsed = parse(Source.of("counts.bylaw", text)).require()
    changed = with_facts(parsed, ["size"])
    assert changed.items[1] == parsed.items[1]
    assert changed.items[2] != parsed.items[2]
    assert with_facts(parsed, ["other"]) is parsed


# -------------------------------------------------------------------------------------------------------------- speed
def test_pairs_take_less_than_a_millisecond() -> None:
    statements = [
        said("must have at least 60 sentences", "must have at most 50 characters"),
        said("must have at least 10 words", "must have at most 90 words"),
        said("must have at least 3 bullets", "must have at most 9 headings"),
        said("must have at most 5 paragraphs", "must have at least 2 line_breaks"),
    ]
    for pair in statements:
        counts_contradiction(pair)
    best = 1.0
    for _ in range(5):
        start = time.process_time()
        for pair in statements:
            for _ in range(10):
                counts_contradiction(pair)
        best = min(best, (time.process_time() - start) / 40)
    assert best < 0.001
