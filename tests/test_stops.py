"""Stop strings: what the rules see is what the reader gets."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import pytest
from decoding_models import Tiny

from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, linear, scale, support
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.stops import cut, held_back, until_stop
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.decoders.interface import DecodeTask, PromptLaw
from bylaw.runtime.decoders.sir import Sir, proposal_log_prob
from bylaw.runtime.models import Vocabulary, sample_base
from bylaw.runtime.models.prefix_cache import PrefixCache
from bylaw.runtime.models.stopping import StoppingModel
from bylaw.runtime.twist import build_twist
from bylaw.spec.pattern import parse_pattern
from tinymodels import TabularModel


def rules() -> Valued:
    """Never `ab`, ends in `.`, each `c` costs 0.4 nats."""
    machine = occurrences(parse_pattern("c"))
    assert machine is not None
    return add(
        [
            support(language(parse_pattern("ab"), "search").complement()),
            support(language(parse_pattern(r"\."), "suffix")),
            scale(linear(machine), -0.4),
        ]
    )


STOPS = [(".a",), ("ab",), ("aab", "b."), ("ca", "ccab", "a"), ("é\n", "\n"), ("aa",)]


@pytest.mark.parametrize("stops", STOPS, ids=map(repr, STOPS))
def test_the_value_is_that_of_the_text_before_the_stop_string(stops: tuple[str, ...]) -> None:
    rule, stopped = rules(), until_stop(rules(), stops)
    maker = random.Random(1)
    seen = set()
    for _ in range(3000):
        text = "".join(maker.choice("abc.é\n") for _ in range(maker.randrange(9)))
        before, found = cut(text, stops)
        assert stopped.value(text) == pytest.approx(rule.value(before), abs=1e-12), text
        seen.add((found, rule.value(before) > float("-inf")))
    assert len(seen) == 4


def test_what_is_cut() -> None:
    assert cut("one\n\nUser: two", ("User:", "\n\n")) == ("one", True)
    assert cut("one", ("User:",)) == ("one", False)
    assert cut("xabcd", ("abcd", "bc")) == ("xa", True)  # `bc` is complete first, so nothing more would be written
    assert cut("xabc", ("bc", "abc")) == ("x", True)
    assert cut("", ("a",)) == ("", False)


def test_what_is_held_back_is_the_longest_beginning_of_a_stop_string() -> None:
    assert held_back("one U", ("User:",)) == 1
    assert held_back("one Use", ("User:", "e!")) == 3
    assert held_back("one", ("User:",)) == 0


def test_what_the_reader_gets_is_told_as_soon_as_it_is_certain() -> None:
    stops, text = ("abc", "bd"), "aabab.abca"
    for size in range(len(text) + 1):
        begun = text[:size]
        before, found = cut(begun, stops)
        certain = before if found else before[: len(before) - held_back(before, stops)]
        for end in ("", "c", "d", "bc", "bd", "x"):
            assert cut(begun + end, stops)[0].startswith(certain)


def test_without_stop_strings_nothing_changes() -> None:
    rule = rules()
    assert until_stop(rule, ()) is rule


def test_bad_stop_strings_are_refused() -> None:
    with pytest.raises(ValueError, match="one character at least"):
        until_stop(rules(), ("a", ""))
    with pytest.raises(ValueError, match="one character at least"):
        cut("a", ("",))
    with pytest.raises(StateLimit):
        until_stop(rules(), ("abcabcabc" * 9,), limit=20)


def test_a_space_that_is_dropped_begins_no_stop_string() -> None:
    vocabulary = Vocabulary((b" aaaa", b"b", b" a", b"x"), frozenset(), drops_leading_space=True, stops=(" a", "bx"))
    assert not vocabulary.stopped((0,))
    assert not vocabulary.stopped((0, 1))
    assert vocabulary.stopped((0, 1, 2))
    assert vocabulary.stopped((0, 1, 3))
    assert vocabulary.text((0, 1)) == "aaaab"


def test_stopping_counts_what_the_cache_inside_it_evaluates() -> None:
    cache = PrefixCache(Tiny(TabularModel(seed=3)))
    model = StoppingModel(cache, ("b1",))
    decode = partial(Sir(8).decode, model, [DecodeTask((5,), PromptLaw(()), ())], max_tokens=6, seed=1)
    assert decode()[0].diagnostics.passes > 0
    assert decode()[0].diagnostics.passes == 0
    assert model.digest != cache.digest
    assert StoppingModel(cache, ("b1", "a")).digest != model.digest


class TestDecoding:
    """The law over responses that end at a stop string, enumerated."""

    stops = ("b1", "..a")

    def model(self) -> StoppingModel:
        return StoppingModel(Tiny(TabularModel(max_tokens=6, seed=3)), self.stops)

    def responses(self) -> dict[tuple[int, ...], float]:
        """Every response with its log p0: whatever a longer response goes on with after the stop string is not said."""
        tiny = self.model()
        found: dict[tuple[int, ...], list[float]] = {}
        for tokens, log_p0 in zip(*tiny.inner.model.enumerate(), strict=True):  # type: ignore[attr-defined]
            sizes = [size for size in range(len(tokens) + 1) if tiny.vocabulary.stopped(tokens[:size])]
            found.setdefault(tokens[: sizes[0]] if sizes else tokens, []).append(float(log_p0))
        return {tokens: float(np.logaddexp.reduce(parts)) for tokens, parts in found.items()}

    def test_base_samples_follow_the_law(self) -> None:
        law = self.responses()
        [samples] = sample_base(self.model(), [(0,)], 3000, 6, seed=0, batch_size=3000)
        for sample in samples[:300]:
            assert sample.log_p0 == pytest.approx(law[sample.tokens], abs=1e-9)
            assert sample.text == cut(self.model().inner.vocabulary.text(sample.tokens), self.stops)[0]
        stopped = sum(np.exp(p) for tokens, p in law.items() if self.model().vocabulary.stopped(tokens))
        share = np.mean([self.model().vocabulary.stopped(sample.tokens) for sample in samples])
        assert abs(share - stopped) < 5 * np.sqrt(stopped / 3000)  # false alarm: below 1e-6

    def test_the_weighted_law_is_that_of_the_texts_which_are_handed_out(self) -> None:
        model, rule = self.model(), rules_of_digits()
        law = self.responses()
        weights = {tokens: p + rule.value(model.vocabulary.text(tokens)) for tokens, p in law.items()}
        log_z = float(np.logaddexp.reduce(list(weights.values())))
        group = until_stop(rule, self.stops)
        [base] = sample_base(model, [(0,)], 300, 6, seed=1, batch_size=300)
        twist = build_twist(TokenAutomaton(group, model.vocabulary.token_bytes), model.vocabulary, base, 6)
        task = DecodeTask((0,), PromptLaw((group,)), (twist,))
        [result] = Sir(20_000, batch_size=20_000).decode(model, [task], max_tokens=6, seed=2)
        for sample in result.samples[:500]:
            assert sample.log_p0 == pytest.approx(law[sample.tokens], abs=1e-9)
            assert sample.log_reward == pytest.approx(rule.value(sample.text), abs=1e-9)
        own = np.exp([sample.log_weight for sample in result.samples])
        error = own.std() / np.sqrt(len(own))
        assert abs(own.sum() / result.particles - np.exp(log_z)) < 5 * error  # false alarm: below 1e-6
        stopped = np.array([model.vocabulary.stopped(sample.tokens) for sample in result.samples])
        exact = sum(np.exp(w - log_z) for tokens, w in weights.items() if model.vocabulary.stopped(tokens))
        share = float((own * stopped).sum() / own.sum())
        spread = np.sqrt(np.sum((own * (stopped - share)) ** 2)) / own.sum()
        assert 0.05 < exact < 0.95
        assert abs(share - exact) < 5 * spread  # false alarm: below 1e-6
        # the proposal covers the law: whatever is legal can be drawn
        legal = [tokens for tokens, w in weights.items() if w > -np.inf][::7]
        log_q = proposal_log_prob(model, [(0,)] * len(legal), legal, task.law, task.twists, 6, batch_size=len(legal))
        assert np.isfinite(log_q).all()


def rules_of_digits() -> Valued:
    """Holds a `1`, never `ab`, each `.` costs 0.4 nats. The `1` of the stop string `b1` does not count."""
    machine = occurrences(parse_pattern(r"\."))
    assert machine is not None
    return add(
        [
            support(language(parse_pattern("ab"), "search").complement()),
            support(language(parse_pattern("1"), "search")),
            scale(linear(machine), -0.4),
        ]
    )
