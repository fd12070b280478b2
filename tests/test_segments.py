"""Words and sentences are those of UAX #29: rule by rule, against other packages, and as machines."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bylaw.compiler.regular import unit_machine
from bylaw.spec import catalog, segments_sentences, segments_words
from bylaw.spec.cases import cases
from bylaw.spec.charset import ALL, CharSet
from bylaw.spec.machine import CountingMachine, minimal
from bylaw.spec.segments import OTHER, Segmenter

CASES = json.loads((Path(__file__).parent / "conformance" / "segments.json").read_text(encoding="utf-8"))
SEGMENTERS = {"words": segments_words.segmenter, "sentences": segments_sentences.segmenter}


@cache
def whole(kind: str) -> Segmenter:
    """The rules with every segment kept, so that the segments make up the text."""
    segmenter = SEGMENTERS[kind]()
    return replace(segmenter, counted=frozenset(segmenter.names))


def divided(kind: str, text: str) -> list[str]:
    return [text[extent.start : extent.end] for extent in whole(kind).find(text)]


# ------------------------------------------------------------------------------------------------------- rule by rule
@pytest.mark.parametrize(
    ("rule", "segments"),
    [
        ("WB3", "a|\r\n|b"),
        ("WB3a, WB3b", "a|\n|\n|\r|\u2028|\u0301|b"),
        ("WB3c", "\U0001f469\u200d\U0001f4bb|\U0001f469|\U0001f4bb|x\u200d\U0001f4bb"),
        ("WB3c, tailored", "-\u200d|\u2139|-\u200d\u231a"),
        ("WB3d", "a|  \u2003|b| \u0301| "),
        ("WB4", "a\u0301\u00ad\u200db|\r|\u0301"),
        ("WB5", "na\u00efve|-|\u05d0a"),
        ("WB6, WB7", "can't|-|a:b|:|:|a.b|.|.|a\u0301\u2019\u0301b1|:|a"),
        ("WB7a", "\u05d0'|-|a|'"),
        ("WB7b, WB7c", '\u05d0"\u05d1|"|-|a|"|b|-|\u05d0|"|-|\u05d0\'\u05d1'),
        ("WB8, WB9, WB10", "12|-|a1b2"),
        ("WB11, WB12", "3.14|-|1,000'5;6|;|;|7|.|a|.|8"),
        ("WB13", "\u30a2\u30ab|\u3042|\u30a2|a"),
        ("WB13a, WB13b", "_a_1_\u30a2_|-|__"),
        ("WB15, WB16", "\U0001f1e6\U0001f1e7|\U0001f1e8|a|\U0001f1e6\U0001f1e7|\U0001f1e8\U0001f1e9"),
        ("WB999", "\u4e2d|\u6587|(|\U0001f600|)|\u0e01|\u0e02|+|+"),
    ],
)
def test_each_rule_for_words(rule: str, segments: str) -> None:
    assert divided("words", segments.replace("|", "")) == segments.split("|")


@pytest.mark.parametrize(
    ("rule", "segments"),
    [
        ("SB3, SB4", "a\r\n|b\r|\u0301\u2028|\u0085|c\u000bd"),
        ("SB5", "a\u0301.\u0301 \u0301\u0301|B"),
        ("SB6", "3.5 a.\u03015A.) |5"),
        ("SB7", "U.S.A. is"),
        ("SB7, not after a digit", "1.|A e.A"),
        ("SB8", "e.g. this. (5) and on. |5 OK. |\u201cYes"),
        ("SB8, stopped", "a. |("),
        ("SB8, by a mark", "a. |1. |A a! |b"),
        ("SB8a", "a., b., C. , D.!. !|E"),
        ("SB9", "\u201cGo.\u201d) |A?) \u00a0|(B."),
        ("SB10", "a.   \n|b! \u2003|c"),
        ("SB11", "a! |b? |\u4e2d\u3002|\u6587.|\u4e2d"),
        ("SB998", "a b (c) - d, e"),
    ],
)
def test_each_rule_for_sentences(rule: str, segments: str) -> None:
    assert divided("sentences", segments.replace("|", "")) == segments.split("|")


# ----------------------------------------------------------------------------------------------- against other packages
@pytest.mark.parametrize("start", range(0, len(CASES), 100))
def test_segments_are_those_of_other_packages(start: int) -> None:
    for case in CASES[start : start + 100]:
        text = case["text"]
        assert divided("words", text) == case["words"], ascii(text)
        found = [text[extent.start : extent.end] for extent in segments_sentences.segmenter().find(text)]
        assert _written(found) == _written(case["sentences"]), ascii(text)


def _written(sentences: list[str]) -> list[str]:
    """Those with a letter or a digit; what else makes a sentence is for each package to say."""
    return [sentence for sentence in sentences if any(map(str.isalnum, sentence))]


# ----------------------------------------------------------------------------------------- what is counted as a word
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("... \U0001f600 - _ \u0301 \u200d", 0),
        ("can't 3.50 well-known", 4),
        ("\u4e2d\u6587 \u3072\u3089 \u30ab\u30ca", 5),
        ("\u0e01\u0e34 \u0915\u093f", 2),
        ("\u00bd \u2460 \u24d0 \u00b2", 4),
        ("1\ufe0f\u20e3", 1),
        ("_a __", 1),
    ],
)
def test_words_have_a_letter_or_a_digit(text: str, words: int) -> None:
    assert len(catalog.unit("words").find(text)) == words


def test_sentences_come_without_the_white_space_around_them() -> None:
    text = "  One. \u00a0Two!\n \n...\n\tThree \r\n"
    found = catalog.unit("sentences").find(text)
    assert [text[extent.start : extent.end] for extent in found] == ["One.", "Two!", "Three"]


# ------------------------------------------------------------------------------------------------------------ machines
def _characters(kind: str) -> st.SearchStrategy[str]:
    """Every class with the same chance, two characters of each, capitals and the odd ones besides."""
    classes = [[charset.pick(), next(iter(charset))] for charset in SEGMENTERS[kind]().classes.values()]
    odd = [*"aB1.' -_", "\u0345", "\uff9e", "\u2139", "\U0001f170", "\u01c5", "\U0001f600", "\u0e01", "\u00bd"]
    return st.one_of(*map(st.sampled_from, classes), st.sampled_from(odd))


@settings(max_examples=400, deadline=None)
@given(st.text(_characters("words"), max_size=14))
def test_word_machines_count_what_is_found(text: str) -> None:
    for name in ("words", "all_caps_words"):
        unit = catalog.unit(name)
        assert unit.machine is not None
        assert unit_machine(name).count(text) == len(unit.find(text)), name


@settings(max_examples=400, deadline=None)
@given(st.text(_characters("sentences"), max_size=14))
def test_sentence_machines_count_what_is_found(text: str) -> None:
    unit = catalog.unit("sentences")
    assert unit.machine is not None
    assert unit_machine("sentences").count(text) == len(unit.find(text))


@given(st.text(_characters("words"), max_size=14), st.sampled_from(("words", "sentences")))
def test_segments_make_up_the_text(text: str, kind: str) -> None:
    segments = divided(kind, text)
    assert "".join(segments) == text
    assert all(segments)
    assert list(accumulate(map(len, segments))) == [extent.end for extent in whole(kind).find(text)]


@pytest.mark.parametrize(("name", "states"), [("words", 9), ("sentences", 11), ("all_caps_words", 37)])
def test_machines_are_small(name: str, states: int) -> None:
    """They are multiplied with every count and every other rule, so a state more is felt."""
    machine = catalog.unit(name).machine
    assert machine is not None
    assert len(machine().step) == states


@st.composite
def machines(draw: st.DrawFn) -> CountingMachine:
    size = draw(st.integers(1, 4))
    cell = st.tuples(st.integers(0, size - 1), st.integers(0, 2))
    step = draw(st.lists(st.tuples(cell, cell, cell), min_size=size, max_size=size))
    final = draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    return CountingMachine((CharSet.of("a"), CharSet.of("b")), tuple(step), (0, *final[1:]))


LIKE_THE_REST = CountingMachine(
    (CharSet.of("a"), CharSet.of("b")),
    (((1, 2), (2, 0), (1, 2)), ((0, 0), (0, 0), (0, 0)), ((0, 0), (0, 0), (0, 0))),
    (0, 0, 1),
)
"""A class that nothing tells from all other characters: without it the states are met in another order."""


@example(LIKE_THE_REST, [])
@given(machines(), st.lists(st.text("abc", max_size=8), max_size=12))
def test_minimal_machines_count_the_same(machine: CountingMachine, texts: list[str]) -> None:
    smallest = minimal(machine)
    assert all(smallest.count(text) == machine.count(text) for text in texts)
    assert len(smallest.step) <= len(machine.step)
    assert minimal(smallest) == smallest
    doubled = CountingMachine(
        machine.classes,
        tuple(
            tuple((target + len(machine.step) * copy, add) for target, add in row)
            for copy in (1, 0)
            for row in machine.step
        ),
        machine.final * 2,
    )
    assert minimal(doubled) == smallest


def test_a_machine_that_counts_in_the_empty_text_is_refused() -> None:
    with pytest.raises(ValueError, match="empty text"):
        minimal(CountingMachine((), (((0, 0),),), (1,)))


# -------------------------------------------------------------------------------------------------------------- tables
@pytest.mark.parametrize("kind", SEGMENTERS)
def test_classes_are_apart(kind: str) -> None:
    classes = SEGMENTERS[kind]().classes
    assert OTHER not in classes
    assert sum(map(len, classes.values())) == len(CharSet(()).union(*classes.values())) < len(ALL)


def test_capitals_are_letters() -> None:
    segmenter = segments_words.segmenter()
    counted = CharSet(()).union(*(segmenter.classes[name] for name in segmenter.counted))
    assert not cases().upper.difference(counted)


def test_tables_are_read_when_they_are_needed() -> None:
    code = (
        "from bylaw.spec import catalog, unicode_tables as tables; from bylaw.spec.expression import Phrase\n"
        "[catalog.predicate(name) for name in catalog.names('predicates')]\n"
        "[catalog.unit(name) for name in catalog.names('units')]\n"
        "catalog.predicate('contain').find('some text', Phrase('text'))\n"
        "assert tables.load.cache_info().currsize == 0\n"
        "catalog.unit('words').find('some text')\n"
        "assert tables.load.cache_info().currsize == 1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
