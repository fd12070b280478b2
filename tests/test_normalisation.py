"""Matching looks through Unicode: what a search finds in plain texts, the automata accept in texts as they are."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bylaw.compiler.automata.build import decomposed_length, fixed_length, language, occurrences
from bylaw.compiler.automata.counts import linear
from bylaw.spec import catalog
from bylaw.spec.charset import CharSet
from bylaw.spec.expression import Extent, Matcher, Phrase, Regex
from bylaw.spec.matching import find_all, find_words, node_of, refusal, words_node
from bylaw.spec.normal import LARGEST_CLASS, forms, lookalikes, plain, plain_text, spelled, spelled_text
from bylaw.spec.pattern import Chars, parse_pattern, render

# Letters and their wide, bold, accented, ligated and foreign doubles; marks in every order; Hangul apart and together;
# spaces; what shows nothing; characters whose plain form is long, is a mark, or holds a line of others.
TRICKY = (
    *"aeikfIEK1l. =<\n-'_",
    *("\uff41", "\U0001d41a", "\u212a", "\ufb01", "\ufb00", "\u0149", "\u01c6", "\u2026", "\u00bd", "\u2460", "\u3000"),
    *("\u00e9", "\u00c9", "\u1ec7", "\u1eb9", "\u00ea", "\u0301", "\u0302", "\u0323", "\u0338", "\u2260", "\u212b"),
    *("\ud55c", "\u1112", "\u1161", "\u11ab", "\u314e", "\u3164", "\uffa0", "\u09cb", "\u09c7", "\u09be", "\u1fb3"),
    *("\u0345", "\u03b9", "\u03b1", "\u0390", "\u0130", "\u017f", "\u00df", "\u0430", "\u0435", "\u0456", "\u0406"),
    *("\u200b", "\u00ad", "\u200d", "\ufe0f", "\ufeff", "\u202e", "\U000e0061", "\U0001f600", "\u4e2d", "\ufdfa"),
)
PATTERNS = (
    ("[a-e]", ""),
    ("\u00e9+", ""),
    ("[e\u00e9]\u0301?", ""),
    ("e\u0301", "i"),
    ("e\u0323\u0302", ""),
    ("\ufb01|\u2026", ""),
    ("^.{2}$", ""),
    (r"\b\u00e9\b", ""),
    ("[^a-z]k", "i"),
    ("[\u0000-\uffff]\u00bd", ""),
    ("(?:a\u200b|[\u00ad-]i)$", "m"),
    ("\u09c7\u09be|\u1112\u1161", ""),
    ("l*", ""),
)
texts = st.text(st.sampled_from(TRICKY), max_size=7)
phrases = st.builds(Phrase, st.text(st.sampled_from(TRICKY), min_size=1, max_size=3), st.booleans())
matchers = st.one_of(phrases, st.sampled_from([Regex(*pattern) for pattern in PATTERNS]))


def near(matcher: Matcher, text: str, form: str) -> str:
    """A text around the matcher's own words, in one of the normal forms."""
    core = matcher.text if isinstance(matcher, Phrase) else ""
    return text[:3] + unicodedata.normalize(form, core) + text[3:]  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------ the plain form
@given(texts, texts)
def test_the_plain_form_is_taken_character_by_character(one: str, two: str) -> None:
    assert plain(one + two) == plain(one) + plain(two)
    assert plain(plain(one)) == plain(one)
    assert plain(one) == "".join(plain(char) for char in one)


def test_every_plain_form_is_its_own() -> None:
    assert all(plain(form) == form for form, _ in forms())
    assert all(char not in charset for char in map(chr, range(128)) for _, charset in forms())


@pytest.mark.parametrize("char", [char for char in TRICKY if len(unicodedata.normalize("NFKC", char)) <= 3])
def test_plain_forms_are_those_of_the_standard(char: str) -> None:
    """Python's own table says the same of characters that are no newer than it."""
    nothing = {"\u200b", "\u00ad", "\u200d", "\ufe0f", "\ufeff", "\u202e", "\U000e0061", "\u3164", "\uffa0"}
    assert plain(char) == ("" if char in nothing else unicodedata.normalize("NFKC", char))


@given(texts)
def test_offsets_map_back_to_all_characters_that_take_part(text: str) -> None:
    whole = plain_text(text)
    assert whole.text == plain(text)
    for start in range(len(whole.text)):
        for end in range(start + 1, len(whole.text) + 1):
            extent = whole.extent(start, end)
            covered = plain(text[extent.start : extent.end])
            assert whole.text[start:end] in covered
            # No smaller stretch will do: the first and the last character take part.
            assert plain(text[extent.start])
            assert plain(text[extent.end - 1])


# ---------------------------------------------------------------------------------------------------- finding phrases
@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("cat", "the \uff43\uff41\uff54", [(4, 7)]),
        ("cat", "c\u200bat c\u00ad\u200dat", [(0, 4), (5, 10)]),
        ("cat", "\U0001d41c\U0001d41a\U0001d42d", [(0, 3)]),
        ("fi", "\ufb01n \ufb03", [(0, 1), (3, 4)]),
        ("f", "\ufb00", [(0, 1), (0, 1)]),
        ("...", "so\u2026", [(2, 3)]),
        ("\u2026", "so... ", [(2, 5)]),
        ("caf\u00e9", "cafe\u0301 caf\u00e9", [(0, 5), (6, 10)]),
        ("cafe\u0301", "cafe\u0301 caf\u00e9", [(0, 5), (6, 10)]),
        ("cafe\u0301", "cafe", []),
        (
            "\u1ec7",
            "\u1ec7 \u1eb9\u0302 \u00ea\u0323 e\u0323\u0302 e\u0302\u0323",
            [(0, 1), (2, 4), (5, 7), (8, 11), (12, 15)],
        ),
        ("\ud55c", "\u1112\u1161\u11ab \ud558\u11ab", [(0, 3), (4, 6)]),
        ("\U0001f468\u200d\U0001f4bb", "\U0001f468\U0001f4bb \U0001f468\u200d\U0001f4bb", [(0, 2), (3, 6)]),
        ("a b", "a\u00a0b a\u2003b", [(0, 3), (4, 7)]),
        ("3", "x\u00b3", [(1, 2)]),
        ("pay", "p\u0430y", []),
    ],
)
def test_what_contain_looks_through(phrase: str, text: str, found: list[tuple[int, int]]) -> None:
    assert [(extent.start, extent.end) for extent in find_all(text, Phrase(phrase))] == found


@pytest.mark.parametrize(
    ("phrase", "text", "count"),
    [
        ("cafe", "cafe caf\u00e9 cafe\u0301 CAFE", 2),
        ("CAF\u00c9", "cafe\u0301, CAFE\u0301 caf\u00e9s", 2),
        ("\u2260", "a\u2260b a=\u0338b", 2),
        ("k", "\u212a K k kk", 3),
        ("refund", "re\u200bfund prerefund RE\ufb00UND", 1),
    ],
)
def test_what_mention_looks_through(phrase: str, text: str, count: int) -> None:
    assert len(find_words(text, Phrase(phrase))) == count


@pytest.mark.parametrize(
    ("phrase", "text", "contains", "mentions"),
    [
        ("pay", "p\u0430y", True, True),
        ("pay", "\u0440\u0430\u0443", True, True),
        ("bill", "bi1l", True, True),
        ("bill", "biIl", True, True),
        ("bill", "BiIl", False, True),
        ("GO", "G0", True, True),
        ("go", "g0", False, True),
        ("caf\u00e9", "c\u0430f\u0435\u0301", True, True),
        ("modern", "modem", False, False),
    ],
)
def test_lookalikes_are_found_where_they_are_asked_for(phrase: str, text: str, contains: bool, mentions: bool) -> None:
    assert bool(find_all(text, Phrase(phrase, lookalikes=True))) is contains
    assert bool(find_words(text, Phrase(phrase, lookalikes=True))) is mentions
    assert not find_words(text, Phrase(phrase))


def test_lookalikes_are_symmetric_and_write_one_character() -> None:
    for char in "aoilO01\u0430\u03bf":
        group = lookalikes(CharSet.of(char))
        assert all(lookalikes(CharSet.of(other)) == group for other in group)
        assert all(plain(other) == other == unicodedata.normalize("NFD", other) for other in group)


@pytest.mark.parametrize("matcher", [Phrase("\u200b"), Phrase("\u00ad\ufe0f"), Regex("\u200b"), Regex("\u200d|a")])
def test_what_matching_ignores_altogether_is_refused(matcher: Matcher) -> None:
    assert refusal(matcher) is not None
    assert all(catalog.predicate(name).refuse(matcher) for name in ("contain", "match", "start_with", "end_with"))


@pytest.mark.parametrize("matcher", [Phrase("a\u200b"), Phrase(""), Regex("a?"), Regex("[\u200b-]"), Regex("\u00e9")])
def test_what_matching_sees_is_not_refused(matcher: Matcher) -> None:
    assert refusal(matcher) is None


# -------------------------------------------------------------------------------------------- the law: find == automata
@settings(max_examples=200, deadline=None)
@given(matchers, texts, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
@example(Phrase("\u2260"), "a", "NFD")
@example(Phrase("\u1fb3"), "\u0391\u0399", "NFD")
@example(Phrase("\u0301"), "e\u0301", "NFC")
def test_the_automata_accept_what_is_found(matcher: Matcher, text: str, form: str) -> None:
    whole = near(matcher, text, form)
    for name in ("contain", "mention", "match", "start_with", "end_with"):
        predicate = catalog.predicate(name)
        described = predicate.language(matcher)
        assert described is not None
        automaton = language(described.node, described.mode)
        for tried in (whole, text, whole + text, near(matcher, "", form)):
            assert automaton.accepts(tried) is bool(predicate.find(tried, matcher)), (name, tried)


@settings(max_examples=200, deadline=None)
@given(matchers, texts, st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]))
@example(Phrase("f"), "\ufb00\ufb00", "NFC")
@example(Phrase("aa"), "\uff41a\u200baaa", "NFC")
def test_machines_count_what_is_found(matcher: Matcher, text: str, form: str) -> None:
    whole = near(matcher, text, form)
    for name, node in (("contain", node_of(matcher)), ("mention", words_node(matcher))):
        machine = occurrences(node)
        if machine is None:
            assert not isinstance(matcher, Phrase) or not plain(matcher.text), "phrases can always be counted"
            continue
        values = linear(machine)
        for tried in (whole, whole + whole, text):
            found = catalog.predicate(name).find(tried, matcher)
            assert machine.count(tried) == values.value(tried) == len(found), (name, tried)


@given(matchers, texts)
def test_a_match_reads_the_same_in_the_original(matcher: Matcher, text: str) -> None:
    whole = near(matcher, text, "NFD")
    for extent in find_all(whole, matcher):
        assert 0 <= extent.start <= extent.end <= len(whole)
        if isinstance(matcher, Phrase) and not matcher.lookalikes:
            covered = unicodedata.normalize("NFC", plain(whole[extent.start : extent.end]))
            wanted = unicodedata.normalize("NFC", plain(matcher.text))
            assert wanted in covered or unicodedata.normalize("NFD", wanted) in unicodedata.normalize("NFD", covered)


@given(phrases)
def test_a_phrase_is_found_in_each_of_its_own_spellings(phrase: Phrase) -> None:
    if not plain(phrase.text):
        return
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        # A mark at the start could compose with what stands before it.
        assert find_all("x" + plain(phrase.text), phrase)
        single = unicodedata.normalize(form, phrase.text)  # type: ignore[arg-type]
        if plain(phrase.text) == plain(unicodedata.normalize("NFKC", phrase.text)):
            assert find_all("x" + single, phrase), (phrase, form)


# ------------------------------------------------------------------------------------------------------------- limits
def test_ascii_patterns_stay_as_they_are() -> None:
    for source in ("a[b-d]+", r"\w{2,3}$", "(?i)top"):
        tree = parse_pattern(source)
        assert render(spelled(tree)) == render(tree)


def test_large_and_negated_classes_are_taken_as_they_are() -> None:
    large = Chars(CharSet(((0xC0, 0xC0 + LARGEST_CLASS),)))
    assert spelled(large) == large
    assert not find_all("e\u0301", Regex("^[^a-z]$"))
    assert find_all("\u00e9", Regex("^[^a-z]$")) == (Extent(0, 1),)


def test_spellings_of_one_text_have_one_length_when_taken_apart() -> None:
    node = spelled_text("d\u00e9j\u00e0 vu")
    assert fixed_length(node) is None
    assert fixed_length(node, decomposed_length) == 9


def test_many_marks_take_no_time() -> None:
    heap = "e" + "\u0301\u0323" * 200
    assert find_all(heap, Phrase(heap[:100]))
    assert not find_words(heap * 20, Phrase("\u00e9"))
