"""The twist against plain-Python references: counts, the smoothed law, the backward programme, reachability."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_letters

import numpy as np
import pytest

from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, linear, scale, support
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime import twist as twist_module
from bylaw.runtime.models import Vocabulary
from bylaw.runtime.twist import Twist, TwistError, build_twist, uniform_twist
from bylaw.spec.pattern import parse_pattern


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


def reference(automaton: TokenAutomaton, samples: Sequence[Sample], kappa: float, left: int) -> float:
    """log V̂ of the empty text by recursion over single tokens, in Python floats."""
    regular = [token for token, piece in enumerate(PIECES) if piece is not None]
    seen: dict[tuple[int, int], int] = {}
    visits: dict[int, int] = {}
    unigram = dict.fromkeys([*regular, -1], 0)
    for sample in samples:
        state = automaton.start
        for token in (*sample.tokens, *([-1] if sample.ended else [])):
            unigram[token] += 1
            if state >= 0:
                visits[state] = visits.get(state, 0) + 1
                seen[state, token] = seen.get((state, token), 0) + 1
            if token >= 0 and state >= 0:
                state = int(automaton.step(np.array([state]), np.array([token]))[0][0])
    total, kinds = sum(unigram.values()), max(sum(count > 0 for count in unigram.values()), 1)
    base = {token: (count + kinds / len(unigram)) / (total + kinds) for token, count in unigram.items()}

    def law(state: int, token: int) -> float:
        u = state // automaton.size
        prior = base[token]
        if 0 < u < automaton.utf8.size:
            going_on = [t for t in regular if 0x80 <= (PIECES[t] or b"")[0] < 0xC0]
            prior = base[token] / sum(base[t] for t in going_on) if token in going_on else 0.0
        class_of = automaton.block(u).class_of
        same = [t for t in regular if token >= 0 and class_of[t] == class_of[token]]
        if token >= 0:
            # within a class only the sum matters: spread the class's count as the prior does
            mass = sum(seen.get((state, t), 0) for t in same)
            weights = {t: base[t] for t in same}
            share = weights[token] / sum(weights.values())
            return (mass * share + kappa * prior) / (visits.get(state, 0) + kappa)
        return (seen.get((state, -1), 0) + kappa * prior) / (visits.get(state, 0) + kappa)

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

    return math.log(value(automaton.start, left))


@pytest.mark.parametrize("samples", [SAMPLES, []], ids=["samples", "no samples"])
@pytest.mark.parametrize("spaced", [False, True])
def test_value_is_the_backward_programme_of_the_smoothed_law(samples: list[Sample], spaced: bool) -> None:
    automaton = TokenAutomaton(group(), PIECES, spaced)
    twist = build_twist(automaton, VOCABULARY, samples, 5, smoothing=0.7)
    for left in (1, 2, 3, 4):
        assert twist.log_z(left) == pytest.approx(reference(automaton, samples, 0.7, left), abs=1e-9)


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


def accepted(automaton: TokenAutomaton, tokens: tuple[int, ...]) -> bool:
    try:
        text = VOCABULARY.text(tokens)
    except UnicodeDecodeError:
        return False
    return math.isfinite(automaton.valued.value(text))


@pytest.mark.parametrize(
    "build", [lambda a: build_twist(a, VOCABULARY, SAMPLES, 5), lambda a: uniform_twist(a, VOCABULARY, 5)]
)
def test_reachability_is_exact_inside_characters_too(build: Callable[[TokenAutomaton], Twist]) -> None:
    automaton = TokenAutomaton(group(), PIECES)
    twist = build(automaton)
    regular = range(6)
    endings = [tokens for k in range(3) for tokens in itertools.product(regular, repeat=k)]
    for tokens, state in prefixes(automaton, 2).items():
        for left in (0, 1, 2):
            reachable = any(accepted(automaton, (*tokens, *more)) for more in endings if len(more) <= left)
            assert np.isfinite(twist.log_value[left, state]) == reachable, (tokens, left)


def test_look_ahead_is_reward_plus_value_of_the_next_state() -> None:
    automaton = TokenAutomaton(group(), PIECES)
    twist = build_twist(automaton, VOCABULARY, SAMPLES, 5)
    states = np.array([state for tokens, state in prefixes(automaton, 2).items()], dtype=np.int32)
    following, rewards = automaton.rows(states)
    expected = rewards + twist.log_value[3][following]
    for batch in (slice(None), slice(0, 1), states < automaton.size):
        assert twist.look_ahead(states[batch], 3)[:, :6] == pytest.approx(expected[batch][:, :6], abs=1e-12)
    assert np.isneginf(twist.look_ahead(states, 3)[:, 6:]).all()


def test_values_of_any_size_stay_finite() -> None:
    # rewards of ±900 nats per token are far outside of what exp can hold
    for weight in (-900.0, 900.0):
        machine = occurrences(parse_pattern("a"))
        assert machine is not None
        twist = build_twist(TokenAutomaton(scale(linear(machine), weight), PIECES), VOCABULARY, SAMPLES, 40)
        assert np.isfinite(twist.log_value[:, : twist.automaton.size]).all()
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
    monkeypatch.setattr(twist_module, "MAX_CELLS", 2 * wide.state_count + 2)
    with pytest.raises(TwistError, match="53 states × 53 token classes"):
        uniform_twist(wide, Vocabulary(pieces, frozenset({52})), 1)
