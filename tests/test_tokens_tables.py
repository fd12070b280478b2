"""Token tables against a slow reference: all tokens through transducer and automaton by character."""

from __future__ import annotations

import random
from math import inf

import numpy as np
import pytest
from token_vocabularies import hard, random_vocabulary, soft

from bylaw.compiler.automata import actions
from bylaw.compiler.automata.algebra import intersect
from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.spellings import TokenTable, token_table
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.spec.pattern import literal


def reference(automaton: TokenAutomaton, u: int, q: int, data: bytes | None) -> tuple[int, float]:
    """(next composite state, reward) of one token from state (u, q), by reading its bytes one after the other."""
    valued, utf8 = automaton.valued, automaton.utf8
    at_start = u == utf8.size
    if data is None:
        return -1, -inf
    if at_start:
        if not data:
            return automaton.start, 0.0
        data, u, q = data.removeprefix(b" "), 0, valued.start
    read = utf8.read(u, data)
    if read is None:
        return -1, -inf
    paid = 0.0
    for label in read[1]:
        paid += valued.increments[q][label]
        q = valued.delta[q][label]
    ways = np.flatnonzero(utf8.completions[read[0]]) if read[0] else []
    hopeful = any(valued.distance[valued.delta[q][label]] is not None for label in ways)
    if not (hopeful if read[0] else valued.distance[q] is not None):
        return -1, -inf
    return read[0] * automaton.size + q, paid


@pytest.mark.parametrize(("rules", "spaced", "size"), [(hard, False, 150), (soft, True, 120)])
def test_every_block_equals_the_reference(rules, spaced, size):
    for seed in range(2):
        pieces = random_vocabulary(seed, size)
        automaton = TokenAutomaton(rules(), pieces, spaced)
        inner = random.Random(seed).sample(range(1, automaton.utf8.size), 12)
        for u in [0, *inner, *([automaton.utf8.size] if spaced else [])]:
            block = automaton.block(u)
            for row in range(len(block.next_state)):
                expected = [reference(automaton, u, row, data) for data in pieces]
                assert block.next_state[row, block.class_of].tolist() == [state for state, _ in expected]
                assert block.reward[row, block.class_of].tolist() == [paid for _, paid in expected]
            columns = {
                next_.tobytes() + paid.tobytes() for next_, paid in zip(block.next_state.T, block.reward.T, strict=True)
            }
            assert len(columns) == block.next_state.shape[1]
            # class 0 is forbidden everywhere, and the others are numbered by their first tokens
            assert (block.next_state[:, 0] == -1).all()
            first = [block.class_of.tolist().index(c) for c in range(1, block.next_state.shape[1])]
            assert first == sorted(first)


def test_exits_are_the_effects_of_tokens_inside_characters():
    pieces = random_vocabulary(5)
    automaton = TokenAutomaton(hard(), pieces)
    met = 0
    for u in range(1, automaton.utf8.size):
        read = [automaton.utf8.read(u, data) for data in pieces if data is not None]
        expected = {(labels, target) for target, labels in filter(None, read)}
        found = automaton.exits(u)
        assert len(found) == len(set(found))
        assert set(found) == expected
        met += len(found)
    assert met > 50


def test_work_in_parts_gives_the_same_tables(monkeypatch):
    pieces = random_vocabulary(7, 200)
    whole = TokenAutomaton(soft(), pieces, True)
    chosen = [0, *range(1, whole.utf8.size, 9), whole.utf8.size]
    blocks = [whole.block(u) for u in chosen]
    for step, kept in ((1, 10**9), (10**9, 1), (40, 4 * whole.size), (1, 30 * whole.size)):
        monkeypatch.setattr(actions, "STEP_CELLS", step)
        monkeypatch.setattr(actions, "KEPT_CELLS", kept)
        parts = TokenAutomaton(soft(), pieces, True)
        for u, block in zip(chosen, blocks, strict=True):
            other = parts.block(u)
            assert np.array_equal(block.class_of, other.class_of)
            assert np.array_equal(block.next_state, other.next_state)
            assert np.array_equal(block.reward, other.reward)


def test_parts_of_tokens():
    pieces = (None, b"", b"ab", "é".encode(), "é".encode()[1:] + b"x\xf0\x9f", b"\xc3", b"\xff", b"\x80" * 4)
    table = TokenTable.of(pieces)
    assert table.head.tolist() == [-1, 0, 0, 0, 1, 0, -1, -1]
    assert table.heads == (b"", b"\xa9")
    assert [table.tails[tail] for tail in table.tail] == [b"", b"", b"", b"", b"\xf0\x9f", b"\xc3", b"", b""]
    assert table.from_boundary.tolist() == [1, 2, 3, 5]
    assert table.inside.tolist() == [1, 4]
    assert "".join(map(chr, table.points)) == "abéx"
    assert token_table(pieces) is token_table(tuple(pieces))


def test_large_random_vocabulary_walks_like_its_text():
    """20,000 tokens and forty phrases: every token of random states against the value of the text itself."""
    maker = random.Random(11)
    syllables = ["".join(maker.choices("abcdeé ", k=maker.randint(1, 6))).encode() for _ in range(40_000)]
    pieces = tuple(dict.fromkeys(syllables))[:20_000]
    phrases = ["".join(maker.choices("abcdeé ", k=6)).strip() or "ab" for _ in range(40)]
    forbidden = intersect([language(literal(phrase), "search").complement() for phrase in phrases[:40]])
    automaton = TokenAutomaton(forbidden, pieces)
    valued = automaton.valued
    states = maker.sample(range(automaton.size), 12)
    following, rewards = automaton.rows(np.array(states, dtype=np.int32))
    for row, state in enumerate(states):
        for token in maker.sample(range(len(pieces)), 400):
            assert (following[row, token], rewards[row, token]) == reference(automaton, 0, state, pieces[token])
    assert valued.size > 50
