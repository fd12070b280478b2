"""The engine of the decoders: shared beginnings, limits, batches that do not fit, models that give no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pytest

from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.counts import Valued, add, indicator, scale, support
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.decoders.engine import factors_of, run
from bylaw.runtime.decoders.frontier import Frontier
from bylaw.runtime.decoders.interface import Decoder, DecodeResult, DecodeTask, Diagnostics, PromptLaw, Scorer
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.weights import rescue
from bylaw.runtime.models import Vocabulary
from bylaw.runtime.models.interface import FloatArray, IntArray, ModelError, OutOfMemory
from bylaw.runtime.models.metering import Limits, Meter
from bylaw.runtime.twist import uniform_twist
from bylaw.spec.pattern import parse_pattern
from tinymodels import TabularModel, Tokens

CAP = 6


@dataclass(eq=False)
class Session:
    model: Tiny
    prefixes: list[Tokens]

    def log_probs(self) -> FloatArray:
        law = self.model.table.next_log_probs(self.prefixes).copy()
        if self.model.broken_after is not None and len(self.prefixes[0]) >= self.model.broken_after:
            law[:] = np.nan
        return law

    def advance(self, tokens: IntArray) -> None:
        self.prefixes = [(*prefix, int(token)) for prefix, token in zip(self.prefixes, tokens, strict=True)]
        self.model.saw(self.prefixes)

    def select(self, indices: IntArray) -> None:
        self.prefixes = [self.prefixes[i] for i in indices]
        self.model.saw(self.prefixes)


@dataclass(eq=False)
class Tiny:
    """A tabular model with a memory of `rows` sequences, which may break after some tokens."""

    rows: int = 10_000
    broken_after: int | None = None
    largest: int = 0
    name = digest = "tiny"

    @cached_property
    def table(self) -> TabularModel:
        return TabularModel(max_tokens=CAP, seed=3)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary((b"a", b"b", b"1", b" ", b".", None), frozenset({5}))

    def encode_chat(self, messages: object) -> Tokens:
        return (5,)

    def session(self, prompts: Sequence[Tokens]) -> Session:
        distinct = [prompt[1:] for prompt in prompts]
        self.saw(distinct)
        return Session(self, distinct)

    def saw(self, prefixes: Sequence[Tokens]) -> None:
        if len(prefixes) > self.rows:
            raise OutOfMemory(f"{len(prefixes)} rows")
        self.largest = max(self.largest, len(prefixes))


def group() -> Valued:
    """Holds a `1`, ends in `.`, and each time it holds `bb` costs 2 nats."""
    search = support(language(parse_pattern("1"), "search")), support(language(parse_pattern(r"\."), "suffix"))
    return add([*search, scale(indicator(language(parse_pattern("bb"), "search")), -2.0)])


def task(model: Tiny, **law: object) -> DecodeTask:
    valued = group()
    twist = uniform_twist(TokenAutomaton(valued, model.vocabulary.token_bytes), model.vocabulary, CAP)
    return DecodeTask((5,), PromptLaw((valued,), **law), (twist,))  # type: ignore[arg-type]


def without_costs(results: Sequence[DecodeResult]) -> list[DecodeResult]:
    return [replace(result, diagnostics=Diagnostics()) for result in results]


@pytest.mark.parametrize("decoder", [Sir(50, responses=3, batch_size=40), Mask(50, batch_size=40)], ids=["sir", "mask"])
def test_a_batch_that_does_not_fit_is_halved_and_changes_nothing(decoder: Decoder) -> None:
    whole, small = Tiny(), Tiny(rows=7)
    expected = decoder.decode(whole, [task(whole)] * 2, max_tokens=CAP, seed=4)
    found = decoder.decode(small, [task(small)] * 2, max_tokens=CAP, seed=4)
    assert without_costs(found) == without_costs(expected)
    assert whole.largest > 7 >= small.largest > 0


def test_a_single_row_that_does_not_fit_is_an_error() -> None:
    with pytest.raises(OutOfMemory):
        Sir(4).decode(Tiny(rows=0), [task(Tiny())], max_tokens=CAP, seed=0)


@pytest.mark.parametrize("after", [0, 2])
def test_a_model_that_gives_no_numbers_is_named(after: int) -> None:
    with pytest.raises(ModelError, match=f"no probabilities for token {after + 1} of a response"):
        Sir(20).decode(Tiny(broken_after=after), [task(Tiny())], max_tokens=CAP, seed=0)


def test_particles_share_what_they_have_in_common() -> None:
    tiny = Tiny()
    [result] = Sir(500, batch_size=500).decode(tiny, [task(tiny)], max_tokens=CAP, seed=0)
    beginnings = {sample.tokens[:k] for sample in result.samples for k in range(min(len(sample.tokens) + 1, CAP))}
    assert result.diagnostics.passes <= len(beginnings)
    assert result.diagnostics.passes < sum(min(len(sample.tokens) + 1, CAP) for sample in result.samples) / 2


def test_log_probabilities_are_those_of_the_model_and_of_the_proposal() -> None:
    tiny = Tiny()
    law = group()
    [result] = Sir(200, batch_size=13).decode(tiny, [task(tiny)], max_tokens=CAP, seed=0)
    factors = factors_of(task(tiny), tiny.vocabulary)
    for sample in result.samples[:40]:
        steps = [*sample.tokens, *([5] if len(sample.tokens) < CAP else [])]
        log_p0 = log_q = 0.0
        for k, token in enumerate(steps):
            look = Frontier(tiny, factors, [(5,)], CAP, begun=[sample.tokens[:k]]).look()
            log_p0 += look.law[0, token]
            log_q += look.scores[0, token] - np.logaddexp.reduce(look.scores[0])
        assert sample.log_p0 == pytest.approx(log_p0, abs=1e-12)
        assert sample.log_q == pytest.approx(log_q, abs=1e-12)
        assert sample.log_reward == pytest.approx(law.value(sample.text), abs=1e-12)


def test_rows_can_begin_with_given_tokens() -> None:
    tiny = Tiny()
    begun = [(0,), (2, 1, 1), ()]
    paths = run(
        tiny,
        [(5,)] * 3,
        factors_of(task(tiny), tiny.vocabulary),
        CAP,
        lambda frontier, rows, step: frontier.draw(np.full(len(rows), 0.5)),
        masked=False,
        begun=begun,
    )
    for row, start in enumerate(begun):
        tokens = tuple(paths.tokens[row, : paths.lengths[row]])
        assert tokens[: len(start)] == start
        # the reward is that of the whole text, the probabilities are those of what was drawn
        assert paths.log_reward[row] == pytest.approx(group().value(tiny.vocabulary.text(tokens)), abs=1e-12)
        drawn = [*tokens[len(start) :], *([5] if len(tokens) < CAP else [])]
        law = sum(tiny.table.next_log_probs([(*start, *drawn[:k])])[0][token] for k, token in enumerate(drawn))
        assert paths.log_p0[row] == pytest.approx(law, abs=1e-12)


@pytest.mark.parametrize("budget", range(0, 40, 3))
@pytest.mark.parametrize(
    "decoder", [Sir(8, responses=1), Mask(1), Mask(8, batch_size=3)], ids=["sir", "mask1", "mask8"]
)
def test_a_budget_is_never_exceeded_and_leaves_a_legal_text(decoder: Decoder, budget: int) -> None:
    tiny = Tiny()
    [result] = decoder.decode(tiny, [task(tiny)], max_tokens=CAP, seed=1, limits=Limits(passes=budget))
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
    tiny = Tiny()
    paths = run(
        meter.watch(tiny),
        [(5,)] * 4,
        factors_of(task(tiny), tiny.vocabulary),
        CAP,
        lambda frontier, rows, step: np.full(len(rows), 0),
        masked=True,
    )
    assert paths.stopped == "deadline"
    assert paths.unfinished.all()
    assert (paths.lengths == 4).all()  # the last token was chosen, and what follows it was not looked up


def test_what_scorers_forbid_is_not_rescued() -> None:
    tiny = Tiny()
    never = Scorer("never", lambda text: -np.inf)
    [result] = Mask(1).decode(tiny, [task(tiny, scorers=(never,))], max_tokens=CAP, seed=1, limits=Limits(passes=1))
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
    tiny = Tiny()
    heard: list[str] = []
    [result] = Mask(1).decode(tiny, [task(tiny)], max_tokens=CAP, seed=5, watch=lambda task, text: heard.append(text))
    [response] = result.responses
    assert heard == [response.text[: k + 1] for k in range(len(heard))]
    assert len(response.text) - len(heard) <= 1


def test_a_rescue_finds_what_groups_allow_only_together() -> None:
    """Each of three groups could end sooner than all of them can together."""
    tiny = Tiny()
    groups = tuple(support(language(parse_pattern(part), "search")) for part in ("1", "b", r"\. "))
    automata = [TokenAutomaton(valued, tiny.vocabulary.token_bytes) for valued in groups]
    twists = tuple(uniform_twist(automaton, tiny.vocabulary, CAP) for automaton in automata)
    together = DecodeTask((5,), PromptLaw(groups), twists)
    for begun in ((), (0,), (0, 0)):
        text = rescue(together, tiny.vocabulary, begun, CAP)
        assert text is not None
        assert together.law.log_reward(text) == 0.0
    assert rescue(together, tiny.vocabulary, (0, 0, 0), CAP) is None
