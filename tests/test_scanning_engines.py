"""Searching many texts at once for many patterns: what is found is what is found one by one."""

import random
import sys
import tracemalloc
from collections.abc import Callable

import pytest

from bylaw.compiler.evaluate import evaluate_term
from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.audit import hyperscan_sets
from bylaw.runtime.audit.byte_patterns import class_source, present_in, written
from bylaw.runtime.audit.columns import VERDICTS
from bylaw.runtime.audit.hyperscan_sets import HyperscanSet
from bylaw.runtime.audit.scanning import Scanner
from bylaw.runtime.audit.text_search import text_search
from bylaw.spec.catalog import Language
from bylaw.spec.charset import CharSet
from bylaw.spec.normal import forms, plain
from bylaw.spec.pattern import PatternError, compile_node, parse_pattern
from bylaw.spec.source import Source
from bylaw.spec.trace import Message, Trace

ATOMS = (
    *("a", "b", "s", "k", "S", "K", " ", "x", "1", "\\n", ".", "[^a]", "[^\\n]", "\\w", "\\W", "\\d", "\\s", "[a-c]"),
    *("\u00e9", "\u00df", "\u00ff", "\u201c", "[\u00e9a]", "[^\u00e9]", "\\x{1f600}", "\\x00", "\u2026", "\ufb01"),
)
EDGES = ("^", "$", "\\b", "\\B")
REPEATS = ("*", "+", "?", "{2}", "{1,3}", "{0,2}", "{2,}", "*?", "{20}", "{0,30}")
CHARACTERS = "aabbskSK \n\n.x1\u00e9\u00df\u00ff\u201c\u201d\u2026\ufb01\u212a\u017f\U0001f600\x00_-\u0301\uff21\u0416"
ENGINES = ("hyperscan", "re2")


def only(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if engine == "re2":
        monkeypatch.setitem(sys.modules, "hyperscan", None)
    else:
        pytest.importorskip("hyperscan")


def random_pattern(generator: random.Random, depth: int = 0) -> str:
    kind = generator.random()
    if depth > 3 or kind < 0.5:
        found = ""
        for _ in range(generator.randrange(1, 4)):
            if generator.random() < 0.2:
                found += generator.choice(EDGES)
            else:
                found += generator.choice(ATOMS) + (generator.choice(REPEATS) if generator.random() < 0.35 else "")
        return found
    inner = random_pattern(generator, depth + 1)
    if kind < 0.8:
        return (
            f"({inner}|{random_pattern(generator, depth + 1)})" if kind < 0.7 else f"({inner}){generator.choice('*+?')}"
        )
    return inner + random_pattern(generator, depth + 1)


def random_languages(generator: random.Random, number: int) -> dict[int, Language]:
    found: dict[int, Language] = {}
    while len(found) < number:
        mode = generator.choice(("search",) * 4 + ("prefix", "suffix", "full"))
        flags = "".join(flag for flag in "ims" if generator.random() < 0.25)
        try:
            found[len(found)] = Language(mode, parse_pattern(random_pattern(generator), flags))
        except PatternError:
            continue
    return found


def random_text(generator: random.Random) -> str:
    if generator.random() < 0.13:
        return generator.choice(("", "", "a\ud800"))
    alphabet = CHARACTERS if generator.random() < 0.7 else "ab \n"
    return "".join(generator.choice(alphabet) for _ in range(generator.choice((1, 2, 3, 6, 15, 60))))


def truth_of(language: Language) -> Callable[[str], bool]:
    """By one pattern and one text; where it has to be at an end, all texts that go on are tried."""
    pattern = compile_node(language.node)
    if language.mode == "search":
        return lambda text: pattern.search(text) is not None
    if language.mode == "full":
        return lambda text: pattern.fullmatch(text) is not None
    return lambda text: _at_an_end(language, text)


def _at_an_end(language: Language, text: str) -> bool:
    import re2

    from bylaw.spec.pattern import render

    source = f"(?:{render(language.node)})"
    return re2.search(f"\\A{source}" if language.mode == "prefix" else f"{source}\\z", text) is not None


def check(languages: dict[int, Language], is_plain: bool, texts: list[str]) -> None:
    search = text_search(languages, is_plain)
    assert search.exact == set(languages)
    keys, refused = search.found(texts, 1000)
    assert keys.tolist() == sorted(set(keys.tolist()))
    assert refused == {number for number, text in enumerate(texts) if "\ud800" in text}
    found = {divmod(key, 1000) for key in keys.tolist()}
    for number, language in languages.items():
        holds = truth_of(language)
        for place, text in enumerate(texts):
            expected = place not in refused and holds(plain(text) if is_plain else text)
            assert ((place, number) in found) == expected, (language, text)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(8))
def test_random_patterns_are_found_where_they_are(seed: int, engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(engine, monkeypatch)
    generator = random.Random(seed)
    if seed % 3 == 1:
        monkeypatch.setattr(hyperscan_sets, "_PART", 50)  # many parts
    if seed % 3 == 2:
        monkeypatch.setattr(hyperscan_sets, "_MOST_MATCHES", 1)  # too many matches: text by text
    if seed % 4 == 3:
        monkeypatch.setattr(hyperscan_sets, "_MOST_PLACES", -1)  # all patterns loose, and looked for again
    languages = random_languages(generator, 30)
    texts = [random_text(generator) for _ in range(generator.choice((1, 30)))]
    check(languages, seed % 2 == 0, texts)


@pytest.mark.parametrize("engine", ENGINES)
def test_no_match_runs_from_one_text_into_the_next(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts that end and begin with halves, that are empty, or that hold the character with the border's number."""
    only(engine, monkeypatch)
    texts = ["ab", "cd", "", "", "\n", "\u00ff", "\xff\x00", "c", "abcd", "ab\ncd", "x" * 200_000 + "ab", "cd"]
    sources = (
        "abcd",
        "ab.?cd",
        "ab[^x]*cd",
        "b(?:.|\\n)c",
        "^cd",
        "ab$",
        "^$",
        "\\x{ff}",
        "\\x00",
        "(?:^|b)cd",
        "ab(?:c|$)",
    )
    nodes = [parse_pattern(source, flags) for source in sources for flags in ("", "m", "s")]
    check({number: Language("search", node) for number, node in enumerate(nodes)}, False, texts)
    check({number: Language("full", node) for number, node in enumerate(nodes)}, True, texts)


def test_borders_of_repeats_are_not_characters() -> None:
    """What may come any number of times does not match the byte that separates texts."""
    for source in ("a.*b", "a[^x]+b", "a\\W{2,}b", "a(?:.|\\n)*b"):
        for is_loose in (False, True):
            found = written(Language("search", parse_pattern(source, "s")), present_in(False), is_loose)
            assert not any("\\xff" in each or "-\\xf5" in each for each in (*found.sure, *found.maybe))


def test_classes_in_bytes() -> None:
    """One character of a set, for sets with forms of each length and ranges that cross them."""
    import re

    generator = random.Random(5)
    for _ in range(60):
        ends = sorted(generator.sample((0, 9, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF), 4))
        charset = CharSet.of_ranges([(ends[0], ends[1]), (ends[2], ends[3])])
        pattern = re.compile(class_source(charset).encode(), re.DOTALL)
        for point in (generator.randrange(0x110000) for _ in range(300)):
            if not 0xD800 <= point <= 0xDFFF:
                assert (pattern.fullmatch(chr(point).encode()) is not None) == charset.has(point)
        for end in ends:
            assert pattern.fullmatch(chr(end).encode()) is not None


def test_plain_forms_are_plain() -> None:
    """Patterns leave out the characters that plain texts cannot have."""
    changed = present_in(True).complement()
    assert changed
    assert not any(char in changed for text, _ in forms() for char in text)


PHRASES = """
rule a at user { must not mention "sure" }
rule b at user { must not mention "\u00e9t\u00e9" }
rule c at user { must not contain /e/ }
rule d at user { must end with "." }
rule e at user { must not contain /(secret|^token)( |$)/ }
"""


@pytest.mark.parametrize("engine", ENGINES)
def test_words_beside_characters_of_all_scripts(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(engine, monkeypatch)
    terms = compile_source(Source.of("p.bylaw", PHRASES)).require().terms
    beside = (
        "",
        " ",
        "a",
        "\u00e9",
        "\u201c",
        "\u0416",
        "\u0301",
        "_",
        "5",
        "\U0001f600",
        "\xff",
        "\u00ad",
        "\n",
        "\x00",
    )
    words = ("sure", "\u00e9t\u00e9", "e\u0301te\u0301", "\uff33ure", "secret", "token", "su\u00adre")
    texts = [f"{before}{word}{after}" for word in words for before in beside for after in beside]
    scanner = Scanner(terms)
    codes = scanner.codes_of_texts(texts)
    for text, row in zip(texts, codes.tolist(), strict=True):
        trace = Trace((Message("assistant", text),))
        assert [VERDICTS[code] for code in row] == [evaluate_term(term, trace).verdict for term in terms], text
    assert scanner.looks == 0


def test_too_many_matches_are_bounded() -> None:
    """Where a pattern is everywhere, each is reported once a text, and in the end nothing else is tried."""
    pytest.importorskip("hyperscan")
    terms = compile_source(Source.of("p.bylaw", PHRASES)).require().terms
    scanner = Scanner(terms)
    (search,) = scanner._searches[0][1].searches
    assert isinstance(search, HyperscanSet)
    texts = ["eels " * 5_000, "sure."] * 40
    tracemalloc.start()
    codes = scanner.codes_of_texts(texts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert codes[:2, 2].tolist() == [1, 1]
    assert codes[:2, 0].tolist() == [0, 1]
    assert search._crowded == hyperscan_sets._MOST_CROWDED < search._parts
    assert peak < 8_000_000


def test_what_the_engine_refuses_is_in_the_other() -> None:
    """A pattern that may match nothing cannot be in joined texts."""
    pytest.importorskip("hyperscan")
    nodes = ("a{3}", "(?:b|$)", "\\b")
    languages = {number: Language("search", parse_pattern(source)) for number, source in enumerate(nodes)}
    search = text_search(languages, False)
    assert [type(each).__name__ for each in search.searches] == ["HyperscanSet", "Re2Sets"]
    check(languages, False, ["", "aaa", "b", "aa", "-", "-b"])
