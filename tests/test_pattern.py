"""Character sets, patterns against google-re2, pattern errors, and counting machines."""

from __future__ import annotations

import itertools
import random
import sys
import unicodedata
from contextlib import suppress

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from bylaw.compiler.automata.build import language, occurrences
from bylaw.spec.charset import ALL, EMPTY, RE2_SPACE, CharSet, fold, folded, word_characters
from bylaw.spec.machine import CountingMachine
from bylaw.spec.pattern import (
    Chars,
    Concat,
    Empty,
    PatternError,
    compile_node,
    compile_pattern,
    literal,
    parse_pattern,
    render,
    whole_words,
)

LETTERS = "abA \né1_"


def raw_re2(source: str, flags: str = ""):
    options = re2.Options()
    options.log_errors = False
    return re2.compile(f"(?{flags}){source}" if flags else source, options)


def texts(alphabet: str, longest: int) -> list[str]:
    return ["".join(chars) for length in range(longest + 1) for chars in itertools.product(alphabet, repeat=length)]


class PatternMaker:
    """Random pattern sources in the syntax that RE2 and bylaw share."""

    ATOMS = (
        "a",
        "b",
        "A",
        " ",
        "\\n",
        "é",
        "1",
        "_",
        ".",
        "\\d",
        "\\w",
        "\\s",
        "\\D",
        "\\W",
        "\\S",
        "\\x61",
        "\\x{e9}",
    )
    CLASSES = ("[ab]", "[^a]", "[a-b1]", "[^\\w]", "[\\s_]", "[^\\n]", "[A-b]", "[é-]", "[]a]", "[^]\\d]", "[ \\D]")
    EDGES = ("^", "$", "\\b", "\\B")
    REPEATS = ("*", "+", "?", "{2}", "{1,2}", "{0,1}", "{2,}", "{0}", "*?", "+?", "??", "{1,2}?")

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def make(self, depth: int) -> str:
        roll = self.random.random()
        if depth == 0 or roll < 0.2:
            return self.random.choice((*self.ATOMS, *self.ATOMS, *self.CLASSES, *self.EDGES))
        if roll < 0.5:
            return self.make(depth - 1) + self.make(depth - 1)
        if roll < 0.65:
            return f"(?:{self.make(depth - 1)}|{self.make(depth - 1)})"
        if roll < 0.7:
            return f"({self.make(depth - 1)}|)"
        if roll < 0.75:
            return f"(?{self.random.choice(('i', 'm', 's', 'im', 'i-s'))}:{self.make(depth - 1)})"
        return f"(?:{self.make(depth - 1)}){self.random.choice(self.REPEATS)}"

    def accepted(self, depth: int, flags: str) -> str:
        """A source that bylaw accepts: the few it refuses match an empty text beside \\B."""
        while True:
            source = self.make(depth)
            with suppress(PatternError):
                parse_pattern(source, flags)
                return source

    def flags(self) -> str:
        return "".join(flag for flag in "ims" if self.random.random() < 0.25)


def disagreements(source: str, flags: str, sample: list[str]) -> list[str]:
    """The texts on which the automata, the compiled pattern or the occurrence count differ from plain RE2."""
    plain, ours, tree = raw_re2(source, flags), compile_pattern(source, flags), parse_pattern(source, flags)
    search, full, machine = language(tree, "search"), language(tree, "full"), occurrences(tree)
    wrong = []
    for text in sample:
        found, same = plain.search(text), ours.search(text)
        verdicts = [
            (found and found.span()) == (same and same.span()),
            search.accepts(text) == bool(found),
            full.accepts(text) == bool(plain.fullmatch(text)),
            machine is None or machine.count(text) == sum(1 for _ in plain.finditer(text)),
        ]
        if not all(verdicts):
            wrong.append(text)
    return wrong


def test_random_patterns_agree_with_re2_on_all_short_texts():
    maker = PatternMaker(11)
    for _ in range(1500):
        flags = maker.flags()
        source = maker.accepted(4, flags)
        sample = texts("".join(maker.random.sample(LETTERS, 3)), 4)
        assert not disagreements(source, flags, sample), (source, flags)


def test_random_patterns_agree_with_re2_on_the_whole_alphabet():
    maker = PatternMaker(12)
    sample = texts(LETTERS, 3)
    for _ in range(120):
        flags = maker.flags()
        source = maker.accepted(5, flags)
        assert not disagreements(source, flags, sample), (source, flags)


def test_prefix_and_suffix_modes_agree_with_re2():
    maker = PatternMaker(13)
    for _ in range(150):
        source = maker.accepted(3, "")
        tree = parse_pattern(source)
        prefix, suffix = language(tree, "prefix"), language(tree, "suffix")
        starts, ends = raw_re2(f"\\A(?:{source})"), raw_re2(f"(?:{source})\\z")
        for text in texts("".join(maker.random.sample(LETTERS, 3)), 3):
            assert prefix.accepts(text) == bool(starts.search(text)), (source, text)
            assert suffix.accepts(text) == bool(ends.search(text)), (source, text)


@pytest.mark.parametrize("char", "kKſsSKßẞσςΣΐéÉİıǆǅﬅﬆµμ")
def test_case_folding_agrees_with_re2(char):
    everything = "kKſsSKßẞσςΣΐ\u1fd3éÉİıiIǆǅǄﬅﬆµμΜ"
    tree = parse_pattern(char, "i")
    for other in everything:
        assert (other in fold(char)) == bool(raw_re2(f"(?i){char}").fullmatch(other)), (char, other)
        assert language(tree, "full").accepts(other) == (other in fold(char))


def test_case_folding_of_classes_agrees_with_re2():
    sample = "kKſsSKzé1\u00df\u1e9e"
    for source in (r"[j-l]", r"[^s]", r"\w", r"\W", r"[\w]", r"[^\w]", r"[^\W]", r"[\x{80}-\x{10ffff}]", r"[^ß]"):
        for char in sample:
            expected = bool(raw_re2(f"(?i){source}").fullmatch(char))
            assert bool(compile_pattern(source, "i").fullmatch(char)) == expected, (source, char)
            assert language(parse_pattern(source, "i"), "full").accepts(char) == expected, (source, char)


def test_word_characters_are_letters_marks_numbers_and_the_underscore():
    expected = {
        char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char)[0] in "LMN" or char == "_"
    }
    assert set(word_characters()) == expected


def test_offsets_count_characters_and_dollar_is_the_end_of_the_text():
    assert compile_pattern("é+").search("añéé").span() == (2, 4)
    assert compile_pattern("a$").search("a\n") is None
    assert compile_pattern("a$", "m").search("a\n").span() == (0, 1)
    assert compile_pattern("\\u00e9\\x41\\x{1F600}").fullmatch("éA😀")
    assert compile_pattern("[^\\x00-\\x{10FFFF}]").search("a") is None
    assert compile_pattern("a{1000}b{1000}").fullmatch("a" * 1000 + "b" * 1000)


def test_inline_flags_end_with_their_group():
    tree = language(parse_pattern("(?:a(?i)b|c)d"), "full")
    assert [tree.accepts(text) for text in ("abd", "aBd", "Cd", "aBD", "Abd")] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("source", "message", "offset", "length"),
    [
        ("a**", "two repeats", 1, 2),
        ("x(?=a)", "look-ahead", 1, 3),
        ("(?<!a)b", "negative look-behind", 0, 4),
        ("(?P<n>a)", "named groups", 0, 4),
        ("(?<n>a)", "named groups", 0, 3),
        ("(?>a)", "atomic", 0, 3),
        ("(?y)", "not supported", 0, 2),
        ("(a)\\1", "back-references", 3, 2),
        ("\\pL", "the escape \\p is not supported", 0, 2),
        ("\\é", "the escape", 0, 2),
        ("a++", "possessive", 1, 2),
        ("*a", "nothing to repeat", 0, 1),
        ("a|{2}", "nothing to repeat", 2, 3),
        ("(a", "never closed", 0, 1),
        ("a)", "closes no group", 1, 1),
        ("x[a", "never closed", 1, 1),
        ("[]", "never closed", 0, 1),
        ("[b-a]", "wrong way round", 1, 3),
        ("[a-\\d]", "a range ends in one character", 1, 4),
        ("[\\b]", "word boundary", 1, 2),
        ("[[:alpha:]]", "named classes", 1, 2),
        ("a{,3}", "{0,3}", 1, 4),
        ("a{3,2}", "above the upper", 1, 5),
        ("a{1001}", "1,000 at most", 1, 6),
        ("a{99999999999}", "1,000 at most", 1, 13),
        ("ab\\", "backslash ends", 2, 1),
        ("\\x4", "hexadecimal", 0, 2),
        ("\\ud800", "no character", 0, 6),
        ("\\x{110000}", "no character", 0, 10),
        ("a\ud800", "surrogate", 1, 1),
        ("(?:a{100}){20}", "multiply to more than 1,000", 0, 14),
        ("(?:abcdefghijklmnopqrstu){1000}", "more than 20,000 parts", 0, 31),
        ("a|\\B", "needs a character", 0, 4),
        ("(" * 101 + ")" * 101, "nested more than 100", 100, 1),
        ("a" * 10_001, "longer than 10,000", 0, 10_001),
    ],
)
def test_pattern_errors_name_the_place(source, message, offset, length):
    with pytest.raises(PatternError) as caught:
        parse_pattern(source)
    assert message in caught.value.message
    assert (caught.value.offset, caught.value.length) == (offset, length)


def test_an_unknown_flag_is_an_error():
    with pytest.raises(PatternError, match="no pattern flag `x`"):
        parse_pattern("a", "x")


def test_literals_and_whole_words():
    assert literal("") == Empty()
    assert literal("a.") == Concat((Chars(CharSet.of("a")), Chars(CharSet.of("."))))
    assert compile_node(literal("a.é", ignore_case=True)).fullmatch("A.É")
    war = language(whole_words("war"), "search")
    assert [war.accepts(text) for text in ("War!", "(WAR)", "warm", "été-war", "éwar", "war_", "war")] == [
        True, True, False, True, False, False, True,
    ]  # fmt: skip
    assert language(whole_words("C++"), "search").accepts("c++17")
    with pytest.raises(ValueError, match="word edges"):
        render(whole_words("war"))


def test_counting_machine():
    words = CountingMachine((RE2_SPACE,), (((0, 0), (1, 1)), ((0, 0), (1, 0))), (0, 0))
    assert [words.count(text) for text in ("", " ", "a", "two words ", "é\nü ñ")] == [0, 0, 1, 2, 3]
    with pytest.raises(ValueError, match="overlap"):
        CountingMachine((RE2_SPACE, CharSet.of(" ")), (((0, 0), (0, 0), (0, 0)),), (0,))
    with pytest.raises(ValueError, match="own states"):
        CountingMachine((), (((1, 0),),), (0,))
    with pytest.raises(ValueError, match="one row per state"):
        CountingMachine((), (((0, 0),),), (0, 0))


points = st.sampled_from([*range(0x20, 0x30), 0xD7FE, 0xD7FF, 0xE000, 0xE001, 0x10FFFE, 0x10FFFF])
charsets = st.lists(st.tuples(points, points)).map(lambda pairs: CharSet.of_ranges(map(sorted, pairs)))


@given(charsets, charsets)
def test_charset_algebra(one, other):
    sample = [chr(point) for point in (0, *range(0x1F, 0x31), 0xD7FD, 0xD7FE, 0xD7FF, 0xE000, 0xE001, 0xE002, 0x10FFFF)]
    for char in sample:
        assert (char in one.union(other)) == (char in one or char in other)
        assert (char in one.intersection(other)) == (char in one and char in other)
        assert (char in one.difference(other)) == (char in one and char not in other)
        assert (char in one.complement()) == (char not in one)
    assert one.complement().complement() == one
    assert one.union(one.complement()) == ALL
    assert len(one) + len(one.complement()) == len(ALL)
    assert not one or one.pick() in one


def test_charset_picks_readable_characters():
    assert [CharSet.of(chars).pick() for chars in ("\n1a", "\n1.", " .", "\n ", "\x00λ\u03a2", "世\x01")] == list(
        "a1. λ世"
    )
    assert folded(CharSet.of("k")) == CharSet.of("kK\u212a")
    with pytest.raises(ValueError, match="no representative"):
        EMPTY.pick()
    with pytest.raises(ValueError, match="sorted"):
        CharSet(((5, 6), (7, 8)))
    with pytest.raises(ValueError, match="surrogates"):
        CharSet(((0, 0xE000),))
