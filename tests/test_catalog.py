"""Laws of the catalogs. A new predicate or unit is one new file, and these tests run on it without being edited."""

import itertools
import random
import time
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.counts import linear
from bylaw.compiler.regular import unit_machine
from bylaw.spec import catalog
from bylaw.spec.expression import Extent, Matcher, Phrase, Regex
from bylaw.spec.machine import CountingMachine

PREDICATES = catalog.names("predicates")
UNITS = catalog.names("units")

# What texts are made of: words, marks, breaks, and characters of several scripts that are easily got wrong.
PIECES = (
    *("a", "A", "cat", "Cat's", "I", "AB", "42", "3.5", "_", "-", "*", "**", "#", "##", "|", "1.", "2)", "\u2022"),
    *(" ", "  ", "\n", "\n\n", "\t", "\r", "\u00a0", "\u2028", ".", "!", "?", "\u2026", "\u3002", "\uff01", ",", "'"),
    *('"', "\u2019", "\u201d", ")", "\u00e9", "e\u0301", "\u00df", "\u1e9e", "\u0130", "\u01c5", "\u212a", "\u017f"),
    *(
        "\u4e2d",
        "\u0661",
        "\u05d0",
        "\U0001f600",
        "\U0001d400",
        "\u200d",
        "\ufb05",
        "\u00aa",
        "\u24d0",
        "{",
        "}",
        "[]",
        "\ufb00",
        "\u200b",
        "\uff43",
    ),
)
PHRASES = (
    "a",
    "cat",
    "A",
    "cat's",
    "\u00e9",
    "\u00df",
    "k",
    "s",
    "-",
    "a b",
    "*",
    "42",
    " ",
    "\u0130",
    "\ufb05",
    "I a",
)
PATTERNS = (("[a-z]+", ""), (r"\bcat", "i"), ("a|ab", ""), (r"^\w+$", "m"), ("[^a]\\s*$", ""), ("k", "i"), ("a?", ""))
MATCHERS: tuple[Matcher, ...] = (*map(Phrase, PHRASES), *(Regex(source, flags) for source, flags in PATTERNS))


def texts(seed: str, number: int) -> list[str]:
    """Random texts, the same ones for every run."""
    chance = random.Random(seed)
    return ["".join(chance.choices(PIECES, k=chance.randint(0, 12))) for _ in range(number)]


def show(extents: tuple[Extent, ...], text: str) -> str:
    return f"{[(e.start, e.end) for e in extents]} in {text!r}"


@pytest.mark.parametrize("folder", ["predicates", "units"])
def test_names_are_unique_words(folder: str) -> None:
    names = catalog.names(folder)
    assert names
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name == name.lower() for name in names)


@pytest.mark.parametrize("name", PREDICATES)
def test_predicate_is_documented_and_its_examples_hold(name: str) -> None:
    predicate = catalog.predicate(name)
    assert predicate.summary
    assert predicate.summary[0].islower()
    assert {example.holds for example in predicate.examples} == {True, False}
    for example in predicate.examples:
        assert bool(example.matchers) is predicate.takes_matchers
        found = [predicate.find(example.text, matcher) for matcher in (example.matchers or (None,))]
        assert all(map(bool, found)) is example.holds, example


@pytest.mark.parametrize("name", UNITS)
def test_unit_is_documented_and_its_examples_hold(name: str) -> None:
    unit = catalog.unit(name)
    assert unit.summary
    assert unit.summary[0].islower()
    assert unit.examples
    for example in unit.examples:
        assert len(unit.find(example.text)) == example.count, example
        if unit.machine is not None:
            assert _machine(name).count(example.text) == example.count, example


@pytest.mark.parametrize("name", PREDICATES)
def test_predicate_agrees_with_its_language(name: str) -> None:
    predicate = catalog.predicate(name)
    samples = texts(name, 250)
    for matcher in MATCHERS if predicate.takes_matchers else (None,):
        described = predicate.language(matcher)
        if described is None:
            continue
        automaton = language(described.node, described.mode)
        near = [*samples, "", *_around(matcher)]
        for text in near:
            assert automaton.accepts(text) is bool(predicate.find(text, matcher)), (matcher, text)


def _around(matcher: Matcher | None) -> list[str]:
    """Texts with the matcher's own words at an edge, inside and doubled."""
    core = matcher.text if isinstance(matcher, Phrase) else "cat"
    forms = (core, core.upper(), core.lower(), core.swapcase())
    return [
        f"{before}{form}{after}"
        for form in forms
        for before in ("", " ", "a", "-", "\u00e9")
        for after in ("", " ", "s", "\u0301", core)
    ]


@pytest.mark.parametrize("name", PREDICATES)
def test_found_extents_lie_in_the_text_in_order(name: str) -> None:
    predicate = catalog.predicate(name)
    for matcher in MATCHERS if predicate.takes_matchers else (None,):
        for text in texts(name + "extents", 60):
            found = predicate.find(text, matcher)
            assert all(0 <= e.start <= e.end <= len(text) for e in found), show(found, text)
            # Two matches may share a character of which each takes a part, as `f` twice in a ligature.
            assert all(a.start <= b.start and a.end <= b.end for a, b in itertools.pairwise(found)), show(found, text)


@pytest.mark.parametrize("name", UNITS)
def test_unit_machine_counts_what_is_found(name: str) -> None:
    unit = catalog.unit(name)
    if unit.machine is None:
        pytest.skip("this unit is counted on the finished text only")
    machine = _machine(name)
    valued = linear(machine)
    for text in texts(name, 800):
        found = unit.find(text)
        assert machine.count(text) == len(found), show(found, text)
        assert valued.value(text) == len(found), show(found, text)


@pytest.mark.parametrize("name", UNITS)
def test_units_lie_in_the_text_apart_and_in_order(name: str) -> None:
    for text in texts(name + "extents", 300):
        found = catalog.unit(name).find(text)
        assert all(0 <= e.start < e.end <= len(text) for e in found), show(found, text)
        assert all(a.end <= b.end and a.start <= b.start for a, b in itertools.pairwise(found)), show(found, text)


@pytest.mark.parametrize(
    ("kind", "wrong", "meant"), [("unit", "word", "words"), ("predicate", "starts_with", "start_with")]
)
def test_an_unknown_name_suggests_a_known_one(kind: str, wrong: str, meant: str) -> None:
    with pytest.raises(catalog.UnknownName) as raised:
        getattr(catalog, kind)(wrong)
    assert raised.value.suggestion == meant
    assert f"`{wrong}`" in str(raised.value)


def test_private_files_are_no_members() -> None:
    with pytest.raises(catalog.UnknownName):
        catalog.unit("_single")
    with pytest.raises(catalog.UnknownName):
        catalog.predicate("__init__")


@pytest.mark.parametrize("text", [f"{i}" * 20_000 for i in ("a", "a ", ". ", "* ", "#", "\n", "| \n", "1. \n", "'")])
def test_finding_takes_linear_time(text: str) -> None:
    """A text of this size is done in well under a second per member; a quadratic search would take minutes."""
    for name in UNITS:
        catalog.unit(name).find(text)
    for name in PREDICATES:
        predicate = catalog.predicate(name)
        predicate.find(text, Phrase("aab") if predicate.takes_matchers else None)


# What the newer units are about: marks that begin and end something, digits, schemes, fences, joiners.
FRAGMENTS = (
    *"aBpstw1_ \n\t.,:;/\\-+=%@#&()[]{}<>|*`!?$\"'",
    *"\u00e9\u0430\u0394\u00b5\u201c\u201d\u201e\u00ab\u00bb\u2022\u2013\u3002\u200b",
    *"\U0001f600\u2764\ufe0f\u200d\U0001f3fd\U0001f1f3\u20e3\U000e0067",
    *[
        "42",
        "2024",
        "1.",
        "2)",
        "-",
        "//",
        "---",
        "***",
        "```",
        "~~~",
        "</",
        "http",
        "HTTPS://",
        "ftp://",
        "www.",
        "a@b.co",
        "x.yz",
        "555-0142",
    ],
    "May 1, ",
    "- ",
)


@pytest.mark.parametrize("name", UNITS)
@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_every_law_of_a_unit_on_marks_and_schemes(name: str, text: str) -> None:
    unit = catalog.unit(name)
    found = unit.find(text)
    assert all(0 <= e.start < e.end <= len(text) for e in found), show(found, text)
    # Two units may share a character of which each takes a part, as the letters of a ligature.
    assert all(a.end <= b.end and a.start <= b.start for a, b in itertools.pairwise(found)), show(found, text)
    if unit.machine is not None:
        assert _machine(name).count(text) == len(found), show(found, text)


@cache
def _machine(name: str) -> CountingMachine:
    machine = unit_machine(name)
    assert machine is not None
    return machine


@pytest.mark.parametrize(
    "text",
    [
        f"{piece}" * (20_000 // len(piece))
        for piece in ("a@", "1-", "1.1.1.1 ", "4111 ", "::", "eyJ", "token ", "(", "[](", "`", "```\n", "<a ", "May 1 ")
    ],
)
def test_finding_marks_and_schemes_takes_linear_time(text: str) -> None:
    for name in UNITS:
        start = time.process_time()
        catalog.unit(name).find(text)
        assert time.process_time() - start < 2, name
