"""The twist against plain-Python references: counts, the smoothed law, the backward programme, reachability."""

from __future__ import annotations

import itertools
import math
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_letters

import numpy as np
import pytest

from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, count_between, indicator, linear, scale, support
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.models import Vocabulary, load_model, sample_base
from bylaw.runtime.twist import Twist, TwistError, build_twist, uniform_twist
from bylaw.runtime.twist import build as twist_module
from bylaw.spec.pattern import Alternate, parse_pattern, whole_words
from bylaw.spec.units import words

DEFAULT_MODEL = Path(__file__).parents[1] / "runtime" / "default_model" / "weights"


@dataclass(frozen=True)
class Sample:
    tokens: tuple[int, ...]
    ended: bool


# a, ab, the two halves of é, a half of é that starts the next é, x, the end, an unused id
PIECES = (b"a", b"ab", b"\xc3", b"\xa9", b"\xa9\xc3", b"x", None, None)
VOCABULARY = Vocabulary(PIECES, frozenset({6}))
SAMPLES = [
    Sample((0, 1, 5), True),
    Sample((2, 3, 0), True),
    Sample((0, 0, 0, 5), False),
    Sample((1,), True),
    Sample((2, 4, 3, 1), False),
    Sample((), True),
]


def group() -> Valued:
    """Contains `b`, never `xx`, and every `a` costs 0.3 nats, every `é` earns 40."""
    machines = [occurrences(parse_pattern(letter)) for letter in ("a", "é")]
    priced = [scale(linear(m), w) for m, w in zip(machines, (-0.3, 40.0), strict=True) if m is not None]
    contains = support(language(parse_pattern("b"), "search"))
    never = support(language(parse_pattern("xx"), "search").complement())
    return add([contains, never, *priced])


# a, ab, é, éa, aé, x, the end, an unused id: no token ends inside a character
WHOLE = (b"a", b"ab", "é".encode(), "éa".encode(), "aé".encode(), b"x", None, None)


def reference(automaton: TokenAutomaton, samples: Sequence[Sample], kappa: float, state: int, left: int) -> float:
    """log V̂ of a state by recursion over single tokens, in Python floats; for tokens that split no character."""
    regular = [token for token, piece in enumerate(automaton.token_bytes) if piece is not None]
    seen: dict[tuple[int, int], int] = {}
    visits: dict[int, int] = {}
    unigram = dict.fromkeys([*regular, -1], 0)
    for sample in samples:
        place = automaton.start
        for token in (*sample.tokens, *([-1] if sample.ended else [])):
            unigram[token] += 1
            if place >= 0:
                visits[place] = visits.get(place, 0) + 1
                seen[place, token] = seen.get((place, token), 0) + 1
            if token >= 0 and place >= 0:
                place = int(automaton.step(np.array([place]), np.array([token]))[0][0])
    total, kinds = sum(unigram.values()), max(sum(count > 0 for count in unigram.values()), 1)
    base = {token: (count + kinds / len(unigram)) / (total + kinds) for token, count in unigram.items()}

    def law(state: int, token: int) -> float:
        if token < 0:
            return (seen.get((state, -1), 0) + kappa * base[-1]) / (visits.get(state, 0) + kappa)
        class_of = automaton.block(state // automaton.size).class_of
        same = [t for t in regular if class_of[t] == class_of[token]]
        # within a class only the sum matters: spread the class's count as the prior does
        mass = sum(seen.get((state, t), 0) for t in same)
        share = base[token] / sum(base[t] for t in same)
        return (mass * share + kappa * base[token]) / (visits.get(state, 0) + kappa)

    def value(state: int, tokens_left: int) -> float:
        final = math.exp(float(automaton.final(np.array([state]))[0]))
        if tokens_left == 0:
            return final
        total = law(state, -1) * final
        for token in regular:
            following, paid = automaton.step(np.array([state]), np.array([token]))
            if following[0] >= 0:
                total += law(state, token) * math.exp(float(paid[0])) * value(int(following[0]), tokens_left - 1)
        return total

    found = value(state, left)
    return math.log(found) if found > 0 else -math.inf


@pytest.mark.parametrize("samples", [SAMPLES, []], ids=["samples", "no samples"])
@pytest.mark.parametrize("spaced", [False, True])
def test_value_is_the_backward_programme_of_the_smoothed_law(samples: list[Sample], spaced: bool) -> None:
    automaton = TokenAutomaton(group(), WHOLE, spaced)
    twist = build_twist(automaton, Vocabulary(WHOLE, frozenset({6})), samples, 5, smoothing=0.7)
    states = [*range(automaton.size), *([automaton.start] if spaced else [])]
    assert twist.log_value.shape == (6, len(states) + 1)
    for left in (0, 1, 2, 3, 4):
        expected = [reference(automaton, samples, 0.7, state, left) for state in states]
        assert twist.value(np.array(states, dtype=np.int32), left) == pytest.approx(np.array(expected), abs=1e-9)
        assert twist.log_z(left) == pytest.approx(expected[states.index(automaton.start)], abs=1e-9)


@pytest.mark.parametrize("begun", [b"\xc3", b"\xe2", b"\xe2\x82", b"\xf0", b"\xf0\x9f", b"a\xf0\x9f\x98"])
def test_value_inside_a_character_is_the_mean_over_its_completions(begun: bytes) -> None:
    prices = {"a": -0.3, "é": 0.4, "€": 40.0, "[😀-😋]": -2.5, "b": 0.1}
    machines = [(occurrences(parse_pattern(pattern)), price) for pattern, price in prices.items()]
    never = support(language(parse_pattern("[\u20ad-\u20bf]"), "search").complement())
    rules = add([never, *(scale(linear(m), price) for m, price in machines if m is not None)])
    pieces = (*(bytes([byte]) for byte in range(256)), None)
    automaton = TokenAutomaton(rules, pieces)
    twist = build_twist(automaton, Vocabulary(pieces, frozenset({256})), [], 6)
    state, left = automaton.start, 5
    for byte in begun:
        state = int(automaton.row(state)[0][byte])
    whole = begun.decode(errors="ignore")
    pending = begun[len(whole.encode()) :]
    # all characters that begin so, found by trying every one; each class counts once
    fits = [
        char
        for char in map(chr, [*range(0x80, 0xD800), *range(0xE000, 0x110000)])
        if char.encode()[: len(pending)] == pending
    ]
    missing = len(fits[0].encode()) - len(pending)
    alphabet, before = automaton.valued.alphabet, automaton.start
    for label in alphabet.indices(whole):
        before = automaton.valued.delta[before][label]
    values = []
    for label in {alphabet.index(char) for char in fits}:
        after = float(twist.log_value[left - missing, automaton.valued.delta[before][label]])
        values.append(math.exp(after + automaton.valued.increments[before][label]))
    assert float(twist.value(np.array([state], dtype=np.int32), left)[0]) == pytest.approx(
        math.log(sum(values) / len(values)), abs=1e-9
    )
    assert np.isneginf(twist.value(np.array([state], dtype=np.int32), missing - 1)).all()


def prefixes(automaton: TokenAutomaton, length: int) -> dict[tuple[int, ...], int]:
    """All token sequences of a length that are not forbidden, with their states."""
    found: dict[tuple[int, ...], int] = {(): automaton.start}
    for _ in range(length):
        found = {
            (*tokens, token): int(state)
            for tokens, before in found.items()
            for token, state in enumerate(automaton.row(before)[0])
            if state >= 0
        }
    return found


def accepted(automaton: TokenAutomaton, vocabulary: Vocabulary, tokens: tuple[int, ...]) -> bool:
    try:
        text = vocabulary.text(tokens)
    except UnicodeDecodeError:
        return False
    return math.isfinite(automaton.valued.value(text))


SPLITS = {
    "bytes": (b"a", b"b", b"\xc3", b"\xa9"),
    "bytes and more": PIECES[:6],
    "many bytes at once": (b"b", b"\xe2", b"\x82", b"\xac", b"\x82\xac", b"\xacb"),
    "no single bytes": (b"b", b"\xe2\x82", b"\xac\xe2\x82", b"\xe2", b"\x82\xacb", b"\xac\xc3"),
}
RULES = {
    "priced": group(),
    "two characters": support(language(parse_pattern("[é€].?[é€]"), "search")),
    "b after them": support(language(parse_pattern("[é€]b$"), "search")),
}


@pytest.mark.parametrize("pieces", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
@pytest.mark.parametrize("build", [lambda *a: build_twist(a[0], a[1], [], a[2]), uniform_twist], ids=["built", "flat"])
def test_reachability_is_exact_inside_characters_too(
    pieces: tuple[bytes, ...], rules: Valued, build: Callable[[TokenAutomaton, Vocabulary, int], Twist]
) -> None:
    vocabulary = Vocabulary((*pieces, None), frozenset({len(pieces)}))
    automaton = TokenAutomaton(rules, vocabulary.token_bytes)
    twist = build(automaton, vocabulary, 5)
    endings = [tokens for k in range(4) for tokens in itertools.product(range(len(pieces)), repeat=k)]
    met: dict[int, tuple[int, ...]] = {}
    for length in range(3):
        met |= {state: tokens for tokens, state in prefixes(automaton, length).items()}
    for state, tokens in met.items():
        fewest = min((len(more) for more in endings if accepted(automaton, vocabulary, (*tokens, *more))), default=9)
        for left in (0, 1, 2, 3):
            value = float(twist.value(np.array([state], dtype=np.int32), left)[0])
            assert math.isfinite(value) == (fewest <= left), (tokens, left)
            assert not math.isfinite(value) or twist.inside.weighed or value == 0.0


def test_without_an_end_of_text_no_possible_path_is_lost() -> None:
    pieces = (b"b", b"\xe2", b"\x82", b"\xac", b"\x82\xac", b"\xacb")
    automaton = TokenAutomaton(support(language(parse_pattern("€"), "search")), pieces)
    vocabulary = Vocabulary(pieces, frozenset())
    twist = build_twist(automaton, vocabulary, [], 5)
    for tokens, state in {**prefixes(automaton, 1), **prefixes(automaton, 2)}.items():
        for left in (0, 1, 2):
            more = itertools.product(range(6), repeat=left)
            possible = any(accepted(automaton, vocabulary, (*tokens, *ending)) for ending in more)
            value = float(twist.value(np.array([state], dtype=np.int32), left)[0])
            assert math.isfinite(value) or not possible, (tokens, left)


@pytest.mark.parametrize("spaced", [False, True])
def test_look_ahead_is_reward_plus_value_of_the_next_state(spaced: bool) -> None:
    automaton = TokenAutomaton(group(), PIECES, spaced)
    twist = build_twist(automaton, VOCABULARY, SAMPLES, 5)
    met = {automaton.start, *prefixes(automaton, 1).values(), *prefixes(automaton, 2).values()}
    states = np.array(sorted(met), dtype=np.int32)
    following, rewards = automaton.rows(states)
    # one state at a time, so that nothing is shared between rows
    value = np.array([[twist.value(np.array([s], dtype=np.int32), 3)[0] for s in row] for row in following])
    for batch in (slice(None), slice(0, 1), states < automaton.size):
        assert twist.look_ahead(states[batch], 3)[:, :6] == pytest.approx((rewards + value)[batch][:, :6], abs=1e-12)
    assert np.isneginf(twist.look_ahead(states, 3)[:, 6:]).all()


@pytest.mark.skipif(not (DEFAULT_MODEL / "config.json").is_file(), reason="the default model is not there")
def test_a_real_policy_fits_in_memory() -> None:
    # letters of all scripts: some 300 transducer states for each of well over a thousand automaton states
    model = load_model(DEFAULT_MODEL)
    vocabulary = model.vocabulary
    phrases = ["refund", "free gift", "legal advice", "promise"]
    soft = scale(indicator(language(Alternate(tuple(map(whole_words, phrases))), "search")), -0.5)
    rules = add([support(count_between(words.machine(), 0, 90)), soft])
    automaton = TokenAutomaton(rules, vocabulary.token_bytes, vocabulary.drops_leading_space)
    assert (automaton.size > 1400, automaton.utf8.size > 300) == (True, True)
    samples = sample_base(model, [model.encode_chat([{"role": "user", "content": "Hello"}])], 8, 160, seed=0)[0]
    tracemalloc.start()
    try:
        twist = build_twist(automaton, vocabulary, samples, 160)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert twist.log_value.shape == (161, automaton.size + 1)
    assert peak < 200e6
    assert -3 < twist.log_z() < 0


def test_values_of_any_size_stay_finite() -> None:
    # rewards of ±900 nats per token are far outside of what exp can hold
    for weight in (-900.0, 900.0):
        machine = occurrences(parse_pattern("a"))
        assert machine is not None
        twist = build_twist(TokenAutomaton(scale(linear(machine), weight), PIECES), VOCABULARY, SAMPLES, 40)
        assert np.isfinite(twist.log_value[:, :-1]).all()
        assert (twist.log_z() > 900 * 30) == (weight > 0)


def test_uniform_twist_knows_reachability_only() -> None:
    twist = uniform_twist(TokenAutomaton(group(), PIECES), VOCABULARY, 5)
    assert set(np.unique(twist.log_value)) == {-np.inf, 0.0}
    assert twist.log_z(0) == -np.inf
    assert twist.log_z(1) == 0.0


def test_too_large_tables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    automaton = TokenAutomaton(group(), PIECES)
    with pytest.raises(TwistError, match="one token ahead"):
        uniform_twist(automaton, VOCABULARY, 0)
    with pytest.raises(TwistError, match="smoothing"):
        build_twist(automaton, VOCABULARY, SAMPLES, 5, smoothing=0.0)
    with pytest.raises(TwistError, match="tokens of look-ahead"):
        uniform_twist(automaton, VOCABULARY, 10**8)
    # a long literal over single letters has a class for each of them
    pieces = (*(letter.encode() for letter in ascii_letters), None)
    wide = TokenAutomaton(support(language(parse_pattern(ascii_letters), "search")), pieces)
    monkeypatch.setattr(twist_module, "MAX_CELLS", 2 * wide.size + 4)
    with pytest.raises(TwistError, match="53 states × 53 token classes"):
        uniform_twist(wide, Vocabulary(pieces, frozenset({52})), 1)
