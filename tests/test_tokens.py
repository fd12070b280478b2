"""The UTF-8 transducer against Python's decoder, and token automata against running the automaton on decoded text."""

from __future__ import annotations

import random
from math import inf

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bylaw.compiler.automata import tokens as tokens_module
from bylaw.compiler.automata.algebra import intersect
from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, count_between, linear, scale, support
from bylaw.compiler.automata.nfa import pattern_alphabet
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.tokens import TokenAutomaton, Utf8
from bylaw.spec.charset import RE2_SPACE, CharSet
from bylaw.spec.machine import CountingMachine
from bylaw.spec.pattern import literal, parse_pattern, whole_words

WORDS = CountingMachine((RE2_SPACE,), (((0, 0), (1, 1)), ((0, 0), (1, 0))), (0, 0))
SPLIT = Alphabet.of(
    [CharSet.of("aé世🙂"), CharSet.of_ranges([(0x400, 0x10400)]), CharSet.of_ranges([(0xD700, 0xE0FF)])]
)
# Bytes around every boundary of the table of well-formed sequences.
EDGES = bytes.fromhex("00417f8081 8f909fa0bfc0c1c2dfe0e1ecedeeeff0f1f3f4f5ff 20c3a9e4b896f09f9982".replace(" ", ""))


def decodes(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.sampled_from(EDGES), max_size=9).map(bytes)
    | st.binary(max_size=9)
    | st.text(max_size=4).map(str.encode)
)
def test_utf8_accepts_exactly_what_python_decodes(data):
    found = Utf8.of(SPLIT).read(0, data)
    assert (found is not None and found[0] == 0) == decodes(data)
    if decodes(data):
        assert found == (0, tuple(SPLIT.indices(data.decode())))
    # What is read without an error is the beginning of a well-formed text.
    assert (found is not None) == any(decodes(data + end) for end in endings())


def endings() -> list[bytes]:
    tails = [b""]
    for first in (0x80, 0x90, 0xA0, 0xBF):
        tails += [bytes([first]), bytes([first, 0x80]), bytes([first, 0x80, 0x80])]
    return tails


def test_utf8_of_every_character():
    alphabet = pattern_alphabet(whole_words("Straße"))
    utf8 = Utf8.of(alphabet)
    for point in [*range(0xD800), *range(0xE000, 0x30000, 7), *range(0xE0000, 0x110000, 97), 0x10FFFF]:
        assert utf8.read(0, chr(point).encode()) == (0, (alphabet.index(chr(point)),))
    assert Utf8.of(Alphabet.of([])).size == 8


def test_utf8_completions_are_the_classes_that_can_follow():
    utf8 = Utf8.of(SPLIT)
    state, _ = utf8.read(0, "世".encode()[:2]) or (0, ())
    expected = {SPLIT.index(("世".encode()[:2] + bytes([last])).decode()) for last in range(0x80, 0xC0)}
    assert set(np.flatnonzero(utf8.completions[state])) == expected
    assert utf8.completions[0].all()


def hard_and_soft() -> Valued:
    rules = intersect(
        [
            language(literal("bé"), "search").complement(),
            language(parse_pattern("[a世]"), "search"),
            count_between(WORDS, 0, 3),
        ]
    )
    count = occurrences(whole_words("a"))
    assert count is not None
    return add([support(rules), scale(linear(count), 0.75), scale(linear(WORDS), -0.25)])


VALUED = hard_and_soft()


def random_vocabulary(maker: random.Random) -> list[bytes | None]:
    vocabulary: list[bytes | None] = [None, b"", *(bytes([byte]) for byte in "abé 世🙂x".encode())]
    for _ in range(60):
        data = "".join(maker.choices("abé 世🙂x", k=maker.randint(1, 3))).encode()
        first, last = sorted((maker.randint(0, len(data)), maker.randint(0, len(data))))
        vocabulary.append(data[first:last] if maker.random() < 0.4 else data)
    vocabulary += [b"\xff", b"a\xc0", b"\xed\xa0"]
    return vocabulary


def strict_prefix(data: bytes) -> bool:
    """Whether bytes can be completed to a well-formed text."""
    return any(decodes(data + end) for end in endings())


@pytest.mark.parametrize("drop_leading_space", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_walking_tokens_equals_reading_the_text(seed, drop_leading_space):
    maker = random.Random(seed)
    vocabulary = random_vocabulary(maker)
    automaton = TokenAutomaton(VALUED, vocabulary, drop_leading_space)
    finished = 0
    for _ in range(150):
        state, total, data = automaton.start, 0.0, b""
        for _ in range(maker.randint(0, 6)):
            following, rewards = automaton.row(state)
            allowed = np.flatnonzero(following >= 0)
            token = (
                maker.choice(allowed) if len(allowed) and maker.random() < 0.95 else maker.randrange(len(vocabulary))
            )
            (state,), (reward,) = automaton.step(np.array([state]), np.array([token]))
            assert (state, reward) == (following[token], rewards[token])
            piece = vocabulary[token]
            if state < 0:
                assert reward == -inf
                assert piece is None or not reachable(data + piece, drop_leading_space)
                break
            data += piece or b""
            total += reward
            assert reachable(data, drop_leading_space)
        else:
            text = data[1:] if drop_leading_space and data.startswith(b" ") else data
            expected = VALUED.value(text.decode()) if decodes(text) else -inf
            assert total + automaton.final(np.array([state]))[0] == pytest.approx(expected)
            finished += expected > -inf
    assert finished > 20


def reachable(data: bytes, drop_leading_space: bool) -> bool:
    """Whether some continuation of the bytes has a finite value: no forbidden phrase, at most three words so far."""
    data = data[1:] if drop_leading_space and data.startswith(b" ") else data
    for end in endings():
        if decodes(data + end):
            state = VALUED.start
            for label in VALUED.alphabet.indices((data + end).decode()):
                state = VALUED.delta[state][label]
            if VALUED.distance[state] is not None:
                return True
    return False


def test_tables_and_shapes():
    vocabulary = random_vocabulary(random.Random(3))
    automaton = TokenAutomaton(VALUED, vocabulary)
    size, classes = automaton.next_state.shape
    assert size == automaton.size == VALUED.size
    assert automaton.class_of.shape == (len(vocabulary),)
    assert automaton.class_of.max() < classes < len(vocabulary)
    assert automaton.next_state.dtype == np.int32
    states = np.arange(size, dtype=np.int32)
    following, rewards = automaton.rows(states)
    assert np.array_equal(following, automaton.next_state[:, automaton.class_of])
    assert np.array_equal(rewards, automaton.reward[:, automaton.class_of])
    columns = {automaton.next_state[:, c].tobytes() + automaton.reward[:, c].tobytes() for c in range(classes)}
    assert len(columns) == classes
    assert following.max() < automaton.state_count
    inside = np.unique(following[following >= size])
    assert np.all(automaton.final(inside) == -inf)
    u, _ = automaton.split(inside)
    assert all(automaton.completions(int(state)).any() for state in u)
    gone, cost = automaton.rows(np.array([-1, automaton.start]))
    assert (gone[0] == -1).all()
    assert (cost[0] == -inf).all()
    assert automaton.final(np.array([-1]))[0] == -inf


def test_a_language_can_be_used_directly():
    forbidden = language(literal("no"), "search").complement()
    automaton = TokenAutomaton(forbidden, [b"n", b"o", b"no", b"on", None])
    following, rewards = automaton.row(automaton.start)
    assert list(following >= 0) == [True, True, False, True, False]
    after_n, _ = automaton.row(int(following[0]))
    assert list(after_n >= 0) == [True, False, False, False, False]
    assert rewards[0] == 0.0


def test_too_large_a_table_is_refused(monkeypatch):
    monkeypatch.setattr(tokens_module, "MAX_CELLS", 10)
    with pytest.raises(StateLimit):
        TokenAutomaton(VALUED, random_vocabulary(random.Random(1))).block(0)
