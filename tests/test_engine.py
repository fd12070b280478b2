"""The engine of the decoders: shared beginnings, limits, batches that do not fit, models that give no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest
from decoding_models import CAP, Tiny, TinySession

from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.counts import Valued, add, indicator, scale, support
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.decoders.engine import factors_of, run
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import Decoder, DecodeResult, DecodeTask, Diagnostics, PromptLaw, Scorer
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.weights import rescue
from bylaw.runtime.models import Vocabulary, sample_base
from bylaw.runtime.models.interface import FloatArray, ModelError, OutOfMemory
from bylaw.runtime.models.metering import Limits, Meter
from bylaw.runtime.models.prefix_cache import PrefixCache
from bylaw.runtime.models.stopping import StoppingModel
from bylaw.runtime.twist import uniform_twist
from bylaw.spec.pattern import parse_pattern
from tinymodels import TabularModel, Tokens

TINY = Tiny(TabularModel(max_tokens=CAP, seed=3))


def group() -> Valued:
    """Holds a `1`, ends in `.`, and each time it holds `bb` costs 2 nats."""
    search = support(language(parse_pattern("1"), "search")), support(language(parse_pattern(r"\."), "suffix"))
    return add([*search, scale(indicator(language(parse_pattern("bb"), "search")), -2.0)])


def task(**law: object) -> DecodeTask:
    valued = group()
    twist = uniform_twist(TokenAutomaton(valued, TINY.vocabulary.token_bytes), TINY.vocabulary, CAP)
    return DecodeTask((5,), PromptLaw((valued,), **law), (twist,))  # type: ignore[arg-type]


def without_costs(results: Sequence[DecodeResult]) -> list[DecodeResult]:
    return [replace(result, diagnostics=Diagnostics()) for result in results]


@pytest.mark.parametrize("decoder", [Sir(50, responses=3, batch_size=40), Mask(50, batch_size=40)], ids=["sir", "mask"])
def test_a_batch_that_does_not_fit_is_halved_and_changes_nothing(decoder: Decoder) -> None:
    expected = decoder.decode(TINY, [task()] * 2, max_tokens=CAP, seed=4)
    found = decoder.decode(replace(TINY, room=7), [task()] * 2, max_tokens=CAP, seed=4)
    assert without_costs(found) == without_costs(expected)
    assert found[0].diagnostics.passes > expected[0].diagnostics.passes


def test_a_single_row_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(OutOfMemory):
        Sir(4).decode(replace(TINY, room=0), [task()], max_tokens=CAP, seed=0)


@pytest.mark.parametrize("after", [0, 2])
def test_a_model_that_gives_no_numbers_is_named(after: int) -> None:
    with pytest.raises(ModelError, match=f"no probabilities for token {after + 1} of a response"):
        Sir(20).decode(replace(TINY, broken_after=after), [task()], max_tokens=CAP, seed=0)
    with pytest.raises(ModelError, match=f"no probabilities for token {after + 1} of a response"):
        sample_base(replace(TINY, broken_after=after), [(5,)], 20, CAP, seed=0)


def test_particles_share_what_they_have_in_common() -> None:
    [result] = Sir(500, batch_size=500).decode(TINY, [task()], max_tokens=CAP, seed=0)
    beginnings = {sample.tokens[:k] for sample in result.samples for k in range(min(len(sample.tokens) + 1, CAP))}
    assert result.diagnostics.passes <= len(beginnings)
    assert result.diagnostics.passes < sum(min(len(sample.tokens) + 1, CAP) for sample in result.samples) / 2


def test_log_probabilities_are_those_of_the_model_and_of_the_proposal() -> None:
    law = group()
    [result] = Sir(200, batch_size=13).decode(TINY, [task()], max_tokens=CAP, seed=0)
    factors = factors_of(task(), TINY.vocabulary)
    for sample in result.samples[:40]:
        steps = [*sample.tokens, *([5] if len(sample.tokens) < CAP else [])]
        log_p0 = log_q = 0.0
        for k, token in enumerate(steps):
            look = Frontier(TINY, factors, [(5,)], CAP, begun=[sample.tokens[:k]]).look()
            log_p0 += look.law[0, token]
            log_q += look.scores[0, token] - np.logaddexp.reduce(look.scores[0])
        assert sample.log_p0 == pytest.approx(log_p0, abs=1e-12)
        assert sample.log_q == pytest.approx(log_q, abs=1e-12)
        assert sample.log_reward == pytest.approx(law.value(sample.text), abs=1e-12)


def test_rows_can_begin_with_given_tokens() -> None:
    begun = [(0,), (2, 1, 1), ()]
    paths = run(
        TINY,
        [(5,)] * 3,
        factors_of(task(), TINY.vocabulary),
        CAP,
        lambda frontier, rows, step: frontier.draw(np.full(len(rows), 0.5)),
        masked=False,
        begun=begun,
    )
    for row, start in enumerate(begun):
        tokens = tuple(paths.tokens[row, : paths.lengths[row]])
        assert tokens[: len(start)] == start
        # the reward is that of the whole text, the probabilities are those of what was drawn
        assert paths.log_reward[row] == pytest.approx(group().value(TINY.vocabulary.text(tokens)), abs=1e-12)
        drawn = [*tokens[len(start) :], *([5] if len(tokens) < CAP else [])]
        law = sum(TINY.model.next_log_probs([(*start, *drawn[:k])])[0][token] for k, token in enumerate(drawn))
        assert paths.log_p0[row] == pytest.approx(law, abs=1e-12)


class TwoEnds(Tiny):
    """The same law, whose end of text is spread over two tokens."""

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary((*self.spelling, None, None), frozenset({5, 6}))

    def session(self, prompts: Sequence[Tokens]) -> TinySession:
        return TwoEndsSession(self, prompts)


class TwoEndsSession(TinySession):
    def log_probs(self) -> FloatArray:
        law = super().log_probs()
        return np.concatenate([law[:, :5], law[:, 5:] + np.log(0.3), law[:, 5:] + np.log(0.7)], axis=1)


class Bounded(Tiny):
    context = 20


def test_models_around_a_model_tell_its_context_and_count_equal_prompts_once() -> None:
    meter = Meter()
    for around in (StoppingModel(Bounded(TINY.model), ("b1",)), PrefixCache(Bounded(TINY.model))):
        watched = meter.watch(around)
        assert around.context == getattr(watched, "context", None) == 20
    assert StoppingModel(TINY, ("b1",)).context is None
    assert getattr(meter.watch(Bounded(TINY.model)), "context", None) == 20
    meter.watch(TINY).session([(5,), (5,), (5, 0)])
    assert meter.passes == 2


def test_all_end_tokens_are_one_event() -> None:
    two = TwoEnds(TINY.model)
    twist = uniform_twist(TokenAutomaton(group(), two.vocabulary.token_bytes), two.vocabulary, CAP)
    other = DecodeTask((5,), PromptLaw((group(),)), (twist,))
    [one] = Sir(100).decode(TINY, [task()], max_tokens=CAP, seed=0)
    [found] = Sir(100).decode(two, [other], max_tokens=CAP, seed=0)
    assert [sample.tokens for sample in found.samples] == [sample.tokens for sample in one.samples]
    for name in ("log_p0", "log_q", "log_reward"):
        wanted = [getattr(sample, name) for sample in one.samples]
        assert [getattr(sample, name) for sample in found.samples] == pytest.approx(wanted, abs=1e-9)
    assert any(len(sample.tokens) < CAP for sample in one.samples)


@pytest.mark.parametrize("budget", range(0, 40, 3))
@pytest.mark.parametrize(
    "decoder", [Sir(8, responses=1), Mask(1), Mask(8, batch_size=3)], ids=["sir", "mask1", "mask8"]
)
def test_a_budget_is_never_exceeded_and_leaves_a_legal_text(decoder: Decoder, budget: int) -> None:
    [result] = decoder.decode(TINY, [task()], max_tokens=CAP, seed=1, limits=Limits(passes=budget))
    assert result.diagnostics.passes <= budget
    texts = [response.text for response in result.responses] or [result.rescued]
    assert all(text is not None and group().value(text) > -np.inf for text in texts)
    if result.diagnostics.stopped is None:
        assert result.rescued is None
        assert result.diagnostics.unfinished == 0
    else:
        assert result.diagnostics.stopped == "passes"
        assert result.diagnostics.unfinished > 0
        assert "budget of passes was used up" in result.diagnostics.remarks[-1]
        assert len(result.samples) + result.dead + result.diagnostics.unfinished == result.particles


def test_a_deadline_ends_the_work() -> None:
    now = iter(np.arange(100.0))
    meter = Meter(Limits(seconds=5.0), clock=lambda: float(next(now)))
    paths = run(
        meter.watch(TINY),
        [(5,)] * 4,
        factors_of(task(), TINY.vocabulary),
        CAP,
        lambda frontier, rows, step: np.full(len(rows), 0),
        masked=True,
    )
    assert paths.stopped == "deadline"
    assert paths.unfinished.all()
    assert (paths.lengths == 4).all()  # the last token was chosen, and what follows it was not looked up


def test_what_scorers_forbid_is_not_rescued() -> None:
    never = Scorer("never", lambda text: -np.inf)
    [result] = Mask(1).decode(TINY, [task(scorers=(never,))], max_tokens=CAP, seed=1, limits=Limits(passes=1))
    assert result.responses == ()
    assert result.rescued is None


def test_rewards_beyond_the_groups() -> None:
    law = PromptLaw(
        (group(),),
        residual=lambda text: -0.5,
        scorers=(Scorer("judge", lambda text: 0.25), Scorer("each", lambda text: -1.0, "sentence")),
        prefix_rule=lambda text: not text.startswith("b"),
    )
    assert law.log_reward("1! A.") == pytest.approx(-0.5 + 0.25 - 2.0)
    assert law.log_reward("b1.") == -np.inf
    assert law.log_reward("a.") == -np.inf


def test_a_growing_text_is_told_token_by_token() -> None:
    heard: list[str] = []
    [result] = Mask(1).decode(TINY, [task()], max_tokens=CAP, seed=5, watch=lambda task, text: heard.append(text))
    [response] = result.responses
    assert heard == [response.text[: k + 1] for k in range(len(heard))]
    assert len(response.text) - len(heard) <= 1


def test_nothing_is_rescued_beside_samples_and_a_bad_beginning_is_left() -> None:
    [result] = Sir(40, batch_size=10).decode(TINY, [task()], max_tokens=CAP, seed=1, limits=Limits(passes=60))
    assert (result.diagnostics.stopped, result.responses, result.rescued) == ("passes", (), None)
    assert result.samples
    groups = tuple(support(language(parse_pattern(part), "search")) for part in ("111", "bbb"))
    twists = tuple(
        uniform_twist(TokenAutomaton(valued, TINY.vocabulary.token_bytes), TINY.vocabulary, CAP) for valued in groups
    )
    both = DecodeTask((5,), PromptLaw(groups), twists)
    for passes in range(8):
        [result] = Mask(1).decode(TINY, [both], max_tokens=CAP, seed=2, limits=Limits(passes=passes))
        if result.diagnostics.stopped is not None:
            assert result.rescued is not None
            assert both.law.log_reward(result.rescued) == 0.0


def test_a_rescue_finds_what_groups_allow_only_together() -> None:
    """Each of three groups could end sooner than all of them can together."""
    groups = tuple(support(language(parse_pattern(part), "search")) for part in ("1", "b", r"\. "))
    automata = [TokenAutomaton(valued, TINY.vocabulary.token_bytes) for valued in groups]
    twists = tuple(uniform_twist(automaton, TINY.vocabulary, CAP) for automaton in automata)
    together = DecodeTask((5,), PromptLaw(groups), twists)
    for begun in ((), (0,), (0, 0)):
        text = rescue(together, TINY.vocabulary, begun, CAP)
        assert text is not None
        assert together.law.log_reward(text) == 0.0
    assert rescue(together, TINY.vocabulary, (0, 0, 0), CAP) is None
