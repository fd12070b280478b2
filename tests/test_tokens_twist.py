"""Look-ahead over tokens: quick ways give the numbers of the slow ones, and what tokens cannot spell is told."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from price_suites import plans, program_of
from token_vocabularies import random_vocabulary, soft

from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.enforcement import EnforcementError
from bylaw.runtime.look_ahead.compiled import Compiled
from bylaw.runtime.models.interface import Vocabulary
from bylaw.runtime.twist import build_twist, uniform_twist
from bylaw.runtime.twist import inside as inside_module
from bylaw.runtime.twist.policies import require_feasible
from bylaw.spec.pattern import parse_pattern


@dataclass(frozen=True)
class NoModel:
    """A vocabulary is all of a model that feasibility needs."""

    vocabulary: Vocabulary
    name: str = "quay"
    digest: str = "none"


@pytest.mark.parametrize("spaced", [False, True])
def test_states_valued_one_by_one_have_the_values_of_states_valued_together(
    spaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = tuple(piece or None for piece in random_vocabulary(3, 120))
    vocabulary = Vocabulary(pieces, frozenset({0}), spaced)
    automaton = TokenAutomaton(soft(), pieces, spaced)
    twist = build_twist(automaton, vocabulary, (), 9)
    inner = np.arange(automaton.size, automaton.size * automaton.utf8.size, dtype=np.int32)
    finite = 0
    for left in range(10):
        together = twist.inside.values(twist.log_value, left, twist.inside.locate(inner))
        alone = twist.inside.of_states(twist.log_value, left, inner)
        assert np.array_equal(np.isfinite(alone), np.isfinite(together))
        known = np.isfinite(alone)
        assert alone[known] == pytest.approx(together[known], abs=1e-12)
        finite += int(known.sum())
        # a value does not depend on what else is asked
        few = inner[:: max(1, len(inner) // 7)]
        assert np.array_equal(twist.inside.of_states(twist.log_value, left, few), alone[:: max(1, len(inner) // 7)])
    assert finite > 500
    state = Compiled(twist, 0).begin([(), ()], [(), ()])
    left = np.array([8, 8])
    quick = state.look_ahead(left)
    monkeypatch.setattr(inside_module, "_FEW_CLASSES", 0)
    slow = state.look_ahead(left)
    assert np.array_equal(np.isfinite(quick), np.isfinite(slow))
    assert quick[np.isfinite(quick)] == pytest.approx(slow[np.isfinite(slow)], abs=1e-12)
    mixed = Compiled(twist, 0).begin([(), ()], [(), ()]).look_ahead(np.array([8, 3]))
    assert np.array_equal(mixed[0], slow[0])
    assert not np.array_equal(mixed[0], mixed[1])


LETTERS = Vocabulary((None, *(bytes([byte]) for byte in b"abcdefghij ."), b"ABC"), frozenset({0}))


def test_characters_that_no_tokens_spell_are_named_before_the_first_token() -> None:
    for wanted, character in (("漢", "漢.*U\\+6F22"), ("cafés", "é.*U\\+00E9")):
        program = program_of(f'rule r at user {{ must contain "{wanted}" }}')
        with pytest.raises(EnforcementError, match=f"spell no text that obeys .*{character}.*no byte fallback") as told:
            require_feasible(plans(program), NoModel(LETTERS), 8)
        assert told.value.terms == ("r",)
    # with byte fallback the same rules can be met
    bytes_too = Vocabulary((*LETTERS.token_bytes, *(bytes([b]) for b in range(256))), frozenset({0}))
    require_feasible(plans(program), NoModel(bytes_too), 8)


def test_a_vocabulary_without_a_token_that_may_follow_is_told() -> None:
    program = program_of('rule shout at user { must match /[A-Z]+/ and not contain "A" }')
    with pytest.raises(EnforcementError, match="the tokens of `quay` spell no text that obeys"):
        require_feasible(plans(program), NoModel(LETTERS), 8)
    nothing = Vocabulary((None, None, b"\xff"), frozenset({0}))
    automaton = TokenAutomaton(language(parse_pattern("a"), "search"), nothing.token_bytes)
    assert uniform_twist(automaton, nothing, 5).log_z() == -np.inf
    assert not np.isfinite(
        Compiled(uniform_twist(automaton, nothing, 5), 0).begin([()], [()]).look_ahead(np.array([4]))
    ).any()
    assert build_twist(automaton, nothing, (), 5).log_z() == -np.inf
    # the empty text may still be legal: then only the end is left
    empty = TokenAutomaton(language(parse_pattern("a"), "search").complement(), nothing.token_bytes)
    ahead = Compiled(uniform_twist(empty, nothing, 5), 0).begin([()], [()]).look_ahead(np.array([4]))
    assert np.isfinite(ahead).tolist() == [[True, False, False]]
    assert replace(nothing, stops=()).regular.tolist() == [False, False, True]
