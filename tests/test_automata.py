"""Automata: alphabets, algebra and minimisation against brute force, witnesses, counts and values."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.automata.algebra import (
    any_witness,
    common,
    difference,
    equivalent,
    includes,
    intersect,
    is_empty,
    minimal_conflict,
    number_between,
    product,
    shortest_witness,
    union,
)
from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.build import charsets_of, language, occurrences
from bylaw.compiler.automata.counts import (
    Valued,
    add,
    count_between,
    indicator,
    linear,
    minimise,
    remembering,
    saturating,
    scale,
    support,
    trim,
)
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.many import FEW_TEXTS, EncodedTexts, accepting
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.regular import unit_machine
from bylaw.spec.charset import ASCII_DIGIT, RE2_SPACE, CharSet
from bylaw.spec.machine import CountingMachine
from bylaw.spec.normal import Normalised
from bylaw.spec.pattern import compile_pattern, literal, parse_pattern, whole_words

A, B = CharSet.of("aα"), CharSet.of("b")
ALPHABET = Alphabet.of([A, B])
TEXTS = ["".join(chars) for length in range(6) for chars in itertools.product("abz", repeat=length)]
WORDS = CountingMachine((RE2_SPACE,), (((0, 0), (1, 1)), ((0, 0), (1, 0))), (0, 0))


def search(source: str, flags: str = "", mode="search") -> Dfa:
    return language(parse_pattern(source, flags), mode)


def accepted(dfa: Dfa) -> set[str]:
    return {text for text in TEXTS if dfa.accepts(text)}


@st.composite
def dfas(draw, most: int = 5) -> Dfa:
    size = draw(st.integers(1, most))
    states = st.integers(0, size - 1)
    delta = draw(st.lists(st.tuples(states, states, states), min_size=size, max_size=size))
    accept = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return Dfa(ALPHABET, tuple(delta), draw(states), tuple(accept))


def brute_minimal_size(dfa: Dfa) -> int:
    """The number of languages left to read, by the verdicts on all short continuations of all short texts."""
    reached = {dfa.run(text) for text in TEXTS}
    return len(
        {tuple(Dfa(ALPHABET, dfa.delta, state, dfa.accept).accepts(text) for text in TEXTS) for state in reached}
    )


@settings(max_examples=60, deadline=None)
@given(dfas(), dfas(), dfas(3))
def test_algebra_agrees_with_brute_force(one, two, three):
    sets = [accepted(dfa) for dfa in (one, two, three)]
    everything = set(TEXTS)
    assert accepted(one.complement()) == everything - sets[0]
    assert accepted(intersect([one, two, three])) == sets[0] & sets[1] & sets[2]
    assert accepted(union([one, two])) == sets[0] | sets[1]
    assert accepted(difference(one, two)) == sets[0] - sets[1]
    for least, most in ((0, 1), (1, 2), (2, None), (3, 3), (4, None)):
        counts = {text: sum(text in chosen for chosen in sets) for text in TEXTS}
        expected = {text for text, count in counts.items() if least <= count and (most is None or count <= most)}
        assert accepted(number_between([one, two, three], least, most)) == expected
    majority = product([one, two, three], lambda verdicts: sum(verdicts) >= 2)
    assert accepted(majority) == {text for text in TEXTS if sum(text in chosen for chosen in sets) >= 2}
    small = one.minimise()
    assert accepted(small) == sets[0]
    assert small.size == brute_minimal_size(one)
    assert small == intersect([one, one])


@settings(max_examples=80, deadline=None)
@given(dfas(3), dfas(3))
def test_witness_inclusion_and_conflict_agree_with_brute_force(one, two):
    both = sorted(accepted(one) & accepted(two), key=len)
    found = shortest_witness([one, two])
    # A shortest text is at most 3 * 3 - 1 characters long; beyond the brute force, trust only that it is a member.
    if both:
        assert found is not None
        assert len(found) == len(both[0])
    if found is None:
        assert not both
        assert any_witness([one, two]) is None
        conflict = minimal_conflict([one, two])
        assert conflict == tuple(i for i, dfa in enumerate((one, two)) if is_empty(dfa))[-1:] or conflict == (0, 1)
    else:
        assert one.accepts(found)
        assert two.accepts(found)
        other = any_witness([one, two])
        assert other is not None
        assert one.accepts(other)
        assert two.accepts(other)
        assert minimal_conflict([one, two]) is None
    if includes(one, two):
        assert accepted(two) <= accepted(one)
    else:
        assert any_witness([two, one.complement()]) is not None
    assert equivalent(one, two) == (one.minimise() == two.minimise())


def test_alphabets():
    alphabet = Alphabet.of([CharSet.of("abc"), CharSet.of("cde"), ASCII_DIGIT])
    assert alphabet.size == 5
    assert CharSet(()).union(*alphabet.classes).complement() == CharSet(())
    assert {alphabet.index(char) for char in "ab"} == alphabet.classes_in(CharSet.of("ab"))
    assert alphabet.index("c") not in {alphabet.index("a"), alphabet.index("d")}
    with pytest.raises(ValueError, match="not a union"):
        alphabet.classes_in(CharSet.of("a"))
    with pytest.raises(ValueError, match="surrogate"):
        alphabet.index("\ud800")
    joint, maps = Alphabet.join([alphabet, ALPHABET, alphabet])
    assert maps[0] == maps[2]
    for char in "abcdez5α\ue000\U0010ffff":
        assert maps[0][joint.index(char)] == alphabet.index(char)
        assert maps[1][joint.index(char)] == ALPHABET.index(char)
    with pytest.raises(ValueError, match="does not refine"):
        ALPHABET.map_to(alphabet)
    every = CharSet(()).complement()
    assert Alphabet.of([]) == Alphabet.of([every]) == Alphabet.of([CharSet(())])
    assert Alphabet.of([]).size == 1


def test_language_over_a_given_alphabet():
    tree = parse_pattern(r"\ba\n")
    wide = Alphabet.of([*charsets_of(tree), ASCII_DIGIT])
    assert language(tree, "search", wide).accepts("1 a\n")
    assert language(tree, "search", wide).alphabet == wide
    with pytest.raises(ValueError, match="does not refine"):
        language(tree, "search", ALPHABET)


def test_state_limits_are_errors_and_never_answers():
    wide = parse_pattern("a.{30}b")
    with pytest.raises(StateLimit, match="not analysable"):
        language(wide, "search", limit=500)
    many = [search(f"{char}.*{char}.*{char}") for char in "abcdefgh"]
    with pytest.raises(StateLimit):
        shortest_witness([*many, search("ab").complement(), search("[^a-h]").complement()], limit=50)
    with pytest.raises(StateLimit):
        includes(product(many[:2], any), intersect(many[2:4]), limit=3)
    with pytest.raises(StateLimit):
        count_between(WORDS, 100, 200, limit=100)
    with pytest.raises(StateLimit):
        minimal_conflict([search("a{9}", mode="full"), search("a{7}", mode="full")], limit=1)


@pytest.mark.parametrize(
    ("required", "forbidden", "expected"),
    [
        ((r"^Sure", r"thanks\.$"), (r",",), "Surethanks."),
        ((r"\d{4}", r"\bwar\b"), (r"[a-z] \d",), "0000 war"),
        ((r"^[^a-z]*$", r"peace"), (), None),
        ((r"^.{3}$", r"é"), (r"[a-z]",), None),
        ((r"\n\n", r"^#"), (r"^$",), None),
        ((r"(?m)^- .*\n- ",), (r"\s$",), None),
    ],
)
def test_witnesses_of_patterns_are_shortest_and_confirmed_by_re2(required, forbidden, expected):
    rules = [search(source) for source in required] + [search(source).complement() for source in forbidden]
    found = shortest_witness(rules)
    possible = all(any_witness([rule]) is not None for rule in rules)
    assert possible
    if found is None:
        assert expected is None
        assert minimal_conflict(rules) is not None
        return
    assert all(compile_pattern(source).search(found) for source in required)
    assert not any(compile_pattern(source).search(found) for source in forbidden)
    if expected is not None:
        assert len(found) == len(expected)
    shorter = intersect([*rules, language(parse_pattern(f"[^\\x00]{{0,{max(len(found) - 1, 0)}}}"), "full")])
    assert is_empty(shorter) or not found


def found_in(source: str, flags: str = "") -> Dfa:
    """The texts in whose plain form the pattern is found."""
    return language(Normalised((parse_pattern(source, flags),)), "search")


@pytest.mark.parametrize(
    ("source", "letters", "expected"),
    [
        # One character that reads as several is shorter, and nothing to show.
        ("^answer$", "", "answer"),
        ("^1/2$", "", "1/2"),
        ("^.{3}$", "", "aaa"),
        ("^.{3}$", "βα", "βββ"),
        # Letters before the spaces that policies have more of.
        ("^.{3}$", " eβ", "eee"),
        ("^[^a-z]{3}$", " 7e", "AAA"),
        ("^[^a-z]{3}$", " 7É", "ÉÉÉ"),
        # What is not the author's takes more characters where that does without.
        ("^(?:éé|z{9})$", "", "z" * 9),
        ("^(?:éé|z{9})$", "é", "éé"),
        ("^(?:é+[0-9]|é{7})$", "\ud800", "é0"),
        ("^[éα]$", "", "é"),
        ("^[ίΊ]$", "", "ί"),
        # What does not show, or is no character yet, comes last.
        ("^[\u200be\u0378]$", "\u200b", "e"),
        ("^[\ue000ก]$", "\ue000", "ก"),
        ("^[\u0007\n]$", "", "\n"),
        # No space at an end where another character does as well.
        ("^[ .]{3}$", "", ". ."),
        ("^[ .]$", " ", "."),
        ("^ .$", "", " a"),
        ("^. $", "", "a "),
    ],
)
def test_witnesses_are_readable_and_in_the_alphabet_of_the_author(source, letters, expected):
    assert shortest_witness([found_in(source)], letters=letters) == expected
    other = any_witness([found_in(source)], letters=letters)
    assert other is not None
    assert found_in(source).accepts(other)
    assert set(other) <= set(expected) | set(". ")


def test_characters_that_do_not_show_are_used_where_nothing_else_does():
    only = language(parse_pattern("^a?\u200b+\ue000?$"), "search")
    assert shortest_witness([only]) == any_witness([only]) == "\u200b"
    assert shortest_witness([only, language(parse_pattern("..."), "search")]) == "a\u200b\u200b"
    assert shortest_witness([only, language(parse_pattern("[é\ue000]"), "search")]) == "\u200b\ue000"


def test_many_words_are_words_of_one_alphabet():
    """Without spaces, `aกaก` would be four words."""
    words = unit_machine("words")
    assert words is not None
    assert shortest_witness([count_between(words, 5, None)]) == "a a a a a"
    assert shortest_witness([count_between(words, 5, None), found_in("b")], letters="βb") == "β β β β b"


@pytest.mark.parametrize(
    ("source", "states"),
    [("x.{0,300}y", 303), ("x.{300,}y", 303), ("(?:ab?){1,60}z", 4), (r"\bx\b.{0,40}\b(?:yes|no)\b", 600)],
)
def test_gaps_of_many_lengths_need_few_states(source, states):
    """The sets of places inside the gap at which a match may be are not told apart."""
    assert search(source, "s").size <= states


def test_equal_languages_have_equal_automata_whatever_their_alphabets():
    assert search("[ab]c|[ab]d") == search("(?:a|b)(?:c|d)")
    assert search("a|[^a]") == search(".", "s") != search("a|[^ab]")
    # Plain texts have no full-width letters, so what looks for one finds nothing.
    assert found_in("a\uff21|ab|cb") == found_in("[ac]b")
    assert found_in("\uff21|\u200b").size == 1
    assert search("[0-9]").alphabet.size == search("[0-4]|[5-9]").alphabet.size == 2


def test_minimal_conflicts_are_minimal():
    rules = [search("x"), search("^Sure, "), search("thanks"), search("[,y]").complement(), search("a{3}")]
    assert minimal_conflict(rules) == (1, 3)
    assert minimal_conflict([rules[0], *rules[2:]]) is None
    words, few = search("^(?:a b c)$"), count_between(WORDS, 0, 2)
    assert minimal_conflict([rules[0], words, few]) == (1, 2) or minimal_conflict([words, few]) == (0, 1)
    assert minimal_conflict([Dfa.constant(ALPHABET, False), words]) == (0,)
    assert shortest_witness([]) == ""


def test_witnesses_for_large_sets_of_rules():
    keywords = [language(whole_words(word), "search") for word in ("alpha", "beta", "gamma", "delta", "epsilon")]
    rules = [*keywords, count_between(WORDS, 100, 120), search(r"[.!?]$"), search("(?i)sure").complement()]
    found = any_witness(rules)
    assert found is not None
    assert all(rule.accepts(found) for rule in rules)


@pytest.mark.parametrize(
    "source",
    ["ab", "aa", "aba", "a|b", "ab|ba", "(?i)aBa", r"\bab\b", "[ab]z", "(?m)^a", "a$", "[ab]+", "a{2,3}", "a{2,}"],
)
def test_occurrences_are_counted_as_a_search_finds_them(source):
    tree = parse_pattern(source)
    machine = occurrences(tree)
    assert machine is not None
    pattern = compile_pattern(source)
    for text in [*TEXTS, "ab ab,ab\nab", "a\na a", "aAbaBabA"]:
        assert machine.count(text) == sum(1 for _ in pattern.finditer(text)), text


@pytest.mark.parametrize("word", ["w", "wé", "-w", "w-", "w w", "ww"])
def test_whole_words_agree_with_their_definition(word):
    tree = whole_words(word)
    found, machine = language(tree, "search"), occurrences(tree)
    assert machine is not None
    for length in range(7):
        for text in map("".join, itertools.product("wÉ- ", repeat=length)):
            count = place = 0
            while place < len(text):
                end = place + len(word)
                sides = (text[place - 1 : place] + text[place : place + 1], text[end - 1 : end] + text[end : end + 1])
                whole = not any(len(side) == 2 and set(side) <= set("wÉ") for side in sides)
                if text[place:end].lower() == word and whole:
                    count, place = count + 1, end
                else:
                    place += 1
            assert (found.accepts(text), machine.count(text)) == (count > 0, count), text


def test_occurrences_of_whole_words_and_of_what_is_not_countable():
    machine = occurrences(whole_words("war"))
    assert machine is not None
    assert machine.count("War, warm WAR éwar war-war war") == 5
    overlapping = occurrences(literal("aa", ignore_case=True))
    assert overlapping is not None
    assert overlapping.count("aAaAa") == 2
    for source in ("a|ab", "a*", "", "(?:ab)+", "a+?b", r"\b"):
        assert occurrences(parse_pattern(source)) is None
    lazy = occurrences(parse_pattern("a+"))
    assert lazy is not None
    assert lazy.count("aaxa") == 2


@st.composite
def machines(draw) -> CountingMachine:
    size = draw(st.integers(1, 3))
    cell = st.tuples(st.integers(0, size - 1), st.integers(0, 2))
    step = draw(st.lists(st.tuples(cell, cell, cell), min_size=size, max_size=size))
    final = draw(st.lists(st.integers(0, 2), min_size=size, max_size=size))
    return CountingMachine((A, B), tuple(step), tuple(final))


@settings(max_examples=60, deadline=None)
@given(machines(), st.integers(0, 4), st.one_of(st.none(), st.integers(0, 6)))
def test_counts_agree_with_the_machine(machine, least, most):
    bounded = count_between(machine, least, most, ALPHABET)
    values = linear(machine)
    distance = saturating(machine, lambda count: -abs(count - 2), 3, -1.0)
    capped = saturating(machine, lambda count: min(count, 2) * 1.5, 2)
    for text in TEXTS[:150]:
        count = machine.count(text)
        assert bounded.accepts(text) == (count >= least and (most is None or count <= most))
        assert values.value(text) == count
        assert distance.value(text) == -abs(count - 2)
        assert capped.value(text) == min(count, 2) * 1.5


@settings(max_examples=60, deadline=None)
@given(machines(), dfas(4), dfas(4))
def test_sums_of_values(machine, hard, soft):
    total = add([support(hard), scale(indicator(soft), -2.0), scale(linear(machine), 0.5)])
    small = minimise(total)
    assert small.size <= total.size
    for text in TEXTS[:150]:
        expected = -2.0 * soft.accepts(text) + 0.5 * machine.count(text) if hard.accepts(text) else -inf
        assert total.value(text) == expected
        assert small.value(text) == expected
    for automaton in (total, small):
        hopeless = [state for state, distance in enumerate(automaton.distance) if distance is None]
        assert hopeless == ([] if automaton.dead is None else [automaton.dead])


def test_trim_merges_what_is_hopeless():
    delta = ((1, 2, 0), (3, 3, 3), (2, 2, 2), (1, 1, 1))
    rows = ((1.0, 2.0, 3.0), (4.0,) * 3, (5.0,) * 3, (6.0,) * 3)
    trimmed = trim(Valued(ALPHABET, delta, 0, rows, (0.0, -inf, 1.0, -inf)))
    assert trimmed.size == 3
    assert trimmed.dead is not None
    # The class of "z" comes first in the alphabet, since it holds the first character of all.
    assert [trimmed.value(text) for text in ("", "z", "b", "zb", "a", "bb")] == [0.0, -inf, 3.0, -inf, 3.0, 6.0]
    nothing = trim(support(Dfa.constant(ALPHABET, False)))
    assert (nothing.size, nothing.dead) == (1, 0)
    with pytest.raises(ValueError, match="nothing to add"):
        add([])


def test_minimisation_of_a_large_automaton():
    maker = random.Random(5)
    base = tuple(tuple(maker.randrange(300) for _ in range(3)) for _ in range(300))
    verdicts = tuple(maker.random() < 0.5 for _ in range(300))
    # Ten copies of the same automaton, each stepping into a random copy.
    delta = tuple(tuple(target + 300 * maker.randrange(10) for target in base[state % 300]) for state in range(3000))
    copies = Dfa(ALPHABET, delta, 0, verdicts * 10)
    assert copies.minimise() == Dfa(ALPHABET, base, 0, verdicts).minimise()


MIXED = [*random.Random(3).sample(TEXTS, 300), "ab" * 700, "b" * 900 + "a", *["zα" * 30] * 20, "", "\U0010ffff\ue000"]


@settings(max_examples=40, deadline=None)
@given(dfas(), st.integers(0, len(MIXED)))
def test_many_texts_are_read_as_one_is(dfa, count):
    for texts in (MIXED, MIXED[:count], MIXED[count:], [""] * FEW_TEXTS):
        expected = sum(1 << number for number, text in enumerate(texts) if dfa.accepts(text))
        assert accepting(dfa, EncodedTexts.of(texts)) == expected


def test_many_texts_over_alphabets_of_their_own():
    encoded, few = EncodedTexts.of(MIXED), EncodedTexts.of(MIXED[:9])
    for source in ("a.*b$", "^[^z]*$", "α", "[^\\x00-\U0010fffe]", ".{60}", ""):
        dfa = search(source)
        expected = sum(1 << number for number, text in enumerate(MIXED) if dfa.accepts(text))
        assert accepting(dfa, encoded) == expected
        assert accepting(dfa, few) == expected & 0x1FF
    for texts in (["a", "\udc00"], ["\ud800"] * FEW_TEXTS):
        with pytest.raises(ValueError, match="surrogate"):
            EncodedTexts.of(texts)


def test_common_alphabets():
    one, two = common([search("a"), search("b|c")])
    assert one.alphabet == two.alphabet
    assert one.accepts("xa")
    assert not two.accepts("xa")


def test_checking_needs_no_numpy():
    modules = "alphabet, algebra, build, counts, dfa, many, nfa, partition"
    code = f"import sys; from bylaw.compiler.automata import {modules}; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_automaton_that_remembers_the_last_character_has_the_same_values() -> None:
    rule = add(
        [
            support(language(parse_pattern("ab"), "search").complement()),
            scale(indicator(language(parse_pattern("c"), "search")), -0.5),
        ]
    )
    wide = remembering(rule)
    maker = random.Random(2)
    reached: dict[int, set[str]] = {}
    for _ in range(2000):
        text = "".join(maker.choice("abcx") for _ in range(maker.randrange(8)))
        assert wide.value(text) == rule.value(text)
        state = wide.start
        for label in wide.alphabet.indices(text):
            state = wide.delta[state][label]
        if state != wide.dead:
            reached.setdefault(state, set()).add(text[-1:])
    assert max(map(len, reached.values())) == 1
    with pytest.raises(StateLimit):
        remembering(rule, 3)
