"""Sequential Monte Carlo against laws that are enumerated: every expectation under its weights is unbiased for any N.

For each response y the mean over particles of weight · 1[y] has the mean p0(y) e^{R(y)}, for two particles as for many
thousands, however often they are resampled. That is tested for Z and for the most probable responses, each at 4.5
standard errors: 7e-6 for a normal mean, so below 1e-4 for each call of `check_unbiased`. Other bounds state their own.
Seeds are fixed, so a failure is a change of the code and no bad luck.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from decoding_models import CAP, Exact, Tiny, counting, enumerated, hard, policy, stopping, twists_for

from bylaw.compiler.automata.build import language
from bylaw.compiler.automata.counts import Valued, add, indicator, scale, support
from bylaw.compiler.automata.stops import until_stop
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.decoders._black_boxes import settled
from bylaw.runtime.decoders._particles import Particles, ancestors
from bylaw.runtime.decoders._rejection import draw_allowed
from bylaw.runtime.decoders.interface import (
    DecodeError,
    Decoder,
    DecodeResult,
    DecodeTask,
    Diagnostics,
    PromptLaw,
    Scorer,
    sentences_of,
)
from bylaw.runtime.decoders.sir import Sir
from bylaw.runtime.decoders.smc import Smc
from bylaw.runtime.models import sample_base
from bylaw.runtime.models.interface import FloatArray
from bylaw.runtime.models.metering import Limits
from bylaw.runtime.models.stopping import StoppingModel
from bylaw.runtime.twist import Twist, uniform_twist
from bylaw.spec.pattern import parse_pattern
from tinymodels import TabularModel, Tokens, enumerate_model

TOP = 12


@pytest.fixture(scope="module")
def exact() -> Exact:
    return enumerated()


def check_unbiased(
    results: Sequence[DecodeResult], tokens: Sequence[Tokens], log_target: FloatArray, error: float
) -> None:
    """Z and the masses of the TOP responses, and the standard error of Z is below `error`·Z."""
    best = np.argsort(-log_target)[:TOP]
    column = {tokens[row]: place for place, row in enumerate(best)}
    found = np.zeros((len(results), TOP + 1))
    for row, result in enumerate(results):
        for sample in result.samples:
            mass = math.exp(sample.log_weight) / result.particles
            found[row, TOP] += mass
            if sample.tokens in column:
                found[row, column[sample.tokens]] += mass
        assert found[row, TOP] == pytest.approx(math.exp(result.log_z_estimate))
    wanted = np.exp(np.append(log_target[best], np.logaddexp.reduce(log_target)))
    errors = found.std(axis=0, ddof=1) / math.sqrt(len(results))
    assert (np.abs(found.mean(axis=0) - wanted) < 4.5 * errors).all()
    assert errors[TOP] < error * wanted[TOP]


def runs_with_resampling(results: Sequence[DecodeResult]) -> int:
    return sum("resampled" in remark for result in results for remark in result.diagnostics.remarks)


# ------------------------------------------------------------------------------------------------------- exact weights
def test_z_and_the_weighted_law_are_unbiased_over_ten_thousand_runs(exact: Exact) -> None:
    decoder = Smc(3, threshold=0.9, batch_size=30_000)
    results = decoder.decode(exact.tiny, [exact.task] * 10_000, max_tokens=CAP, seed=1)
    assert runs_with_resampling(results) > 5000
    check_unbiased(results, exact.responses, exact.log_p0 + exact.log_reward, 0.01)
    dead = sum(result.dead_ends for result in results) / 30_000
    sir = Sir(4000, batch_size=4000).decode(exact.tiny, [exact.task], max_tokens=CAP, seed=2)[0].dead_ends / 4000
    assert 0 < dead < sir  # dead ends between groups are replaced, where something is left to grow


@pytest.mark.parametrize("method", ["stratified", "multinomial"])
def test_other_ways_to_resample_are_unbiased(exact: Exact, method: str) -> None:
    decoder = Smc(4, threshold=1.0, resampling=method, batch_size=40_000)  # type: ignore[arg-type]
    results = decoder.decode(exact.tiny, [exact.task] * 1000, max_tokens=CAP, seed=4)
    assert runs_with_resampling(results) == 1000
    check_unbiased(results, exact.responses, exact.log_p0 + exact.log_reward, 0.04)


def test_responses_follow_the_law_as_particles_grow(exact: Exact) -> None:
    """One response of 128 particles, 150 times, at 4 standard errors (false alarms 6e-5); the bias is below 0.01."""
    decoder = Smc(128, responses=1, threshold=0.9, resampling="multinomial", batch_size=20_000)
    results = decoder.decode(exact.tiny, [exact.task] * 150, max_tokens=CAP, seed=7)
    soft = np.array([result.responses[0].log_reward for result in results])
    legal = np.isfinite(exact.log_reward)
    mean = float(exact.target[legal] @ exact.log_reward[legal])
    assert abs(soft.mean() - mean) < 4 * soft.std(ddof=1) / math.sqrt(len(soft))


def test_what_no_automaton_expresses_is_in_the_weights(exact: Exact) -> None:
    def residual(text: str) -> float:
        return -math.inf if text == text[::-1] else 0.25 * len(text)

    judge = Scorer("judge", lambda text: 0.8 if text.startswith("b") else -0.3)
    law = replace(exact.law, residual=residual, scorers=(judge,))
    texts = [exact.tiny.vocabulary.text(tokens) for tokens in exact.responses]
    extra = np.array([residual(text) + judge.score(text) for text in texts])
    results = Smc(4, threshold=1.0, batch_size=40_000).decode(
        exact.tiny, [replace(exact.task, law=law)] * 1000, max_tokens=CAP, seed=8
    )
    check_unbiased(results, exact.responses, exact.log_p0 + exact.log_reward + extra, 0.05)
    for result in results[:200]:
        for sample in result.samples:
            assert sample.log_reward == pytest.approx(law.log_reward(sample.text), abs=1e-9)
        # a scorer is asked once about each text, and never about one that is forbidden
        assert result.diagnostics.scorer_calls == len({sample.text for sample in result.samples})


def test_without_resampling_it_is_sir(exact: Exact) -> None:
    tasks = [exact.task] * 5
    [*smc] = Smc(40, responses=7, threshold=0).decode(exact.tiny, tasks, max_tokens=CAP, seed=3)
    sir = Sir(40, responses=7, batch_size=40).decode(exact.tiny, tasks, max_tokens=CAP, seed=3)
    assert smc == sir


def test_seeds_repeat_and_batches_do_not_matter(exact: Exact) -> None:
    def decode(seed: int, batch_size: int) -> list[DecodeResult]:
        decoder = Smc(20, responses=5, threshold=0.95, batch_size=batch_size)
        return decoder.decode(exact.tiny, [exact.task] * 4, max_tokens=CAP, seed=seed)

    def without_cost(results: list[DecodeResult]) -> list[DecodeResult]:
        return [replace(r, diagnostics=replace(r.diagnostics, passes=0)) for r in results]

    one = decode(1, 64)
    assert one == decode(1, 64)
    assert without_cost(one) == without_cost(decode(1, 7)) == without_cost(decode(1, 1000))
    assert one != decode(2, 64)
    assert one[0].samples != one[1].samples


def test_responses_that_stop_strings_end_are_weighed_alike(exact: Exact) -> None:
    model = StoppingModel(exact.tiny, ("b1", " ."))
    groups = (until_stop(add([hard("1"), counting("b", 0.9)]), model.stops),)
    tokens, log_p0 = stopping(model.vocabulary, exact.responses, exact.log_p0)
    texts = [model.vocabulary.text(response) for response in tokens]
    rewards = np.array([0.9 * text.count("b") if "1" in text else -np.inf for text in texts])
    rule = np.array([0.0 if balanced(text) else -np.inf for text in texts])
    twists = twists_for(model, groups, CAP, sample_base(model, [(5,)], 300, CAP, seed=1)[0])
    task = DecodeTask((5,), PromptLaw(groups, prefix_rule=balanced), twists)
    results = Smc(6, threshold=1.0, batch_size=40_000).decode(model, [task] * 400, max_tokens=CAP, seed=2)
    check_unbiased(results, tokens, log_p0 + rewards + rule, 0.06)
    assert any(model.vocabulary.stopped(sample.tokens) for sample in results[0].samples + results[1].samples)


# -------------------------------------------------------------------------------------------------- rules to be asked
class Need(Exception):
    """The next draw has to be chosen among these entries."""


class Script:
    """Random numbers that make the choices of `chosen`, one after the other, and their probability."""

    def __init__(self, law: FloatArray, chosen: Sequence[int]) -> None:
        self.left = {token: float(mass) for token, mass in enumerate(law) if mass > 0}
        self.chosen = list(chosen)
        self.probability = 1.0

    def random(self) -> float:
        if not self.chosen:
            raise Need
        token, total = self.chosen.pop(0), sum(self.left.values())
        before = sum(mass for other, mass in self.left.items() if other < token)
        mass = self.left.pop(token)
        self.probability *= mass / total
        return (before + mass / 2) / total


def all_draws(law: FloatArray, allows: Callable[[int], bool]) -> list[tuple[int, float, float]]:
    """(token, weight, probability) of everything that can happen."""
    found, open_paths = [], [()]
    with np.errstate(divide="ignore"):
        scores = np.log(law) + 3.7
    while open_paths:
        path: tuple[int, ...] = open_paths.pop()
        script = Script(law, path)
        try:
            token, log_weight = draw_allowed(scores, allows, script)  # type: ignore[arg-type]
            found.append((token, math.exp(log_weight), script.probability))
        except Need:
            open_paths += [(*path, token) for token in script.left]  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize("allowed", [{0, 3}, {1}, {0, 1, 2, 4}, set(range(5))], ids=str)
def test_rejected_tokens_give_the_allowed_mass_exactly(allowed: set[int]) -> None:
    law = np.array([0.35, 0.05, 0.2, 0.3, 0.1, 0.0])
    draws = all_draws(law, lambda token: token in allowed)
    mass = law[list(allowed)].sum()
    assert sum(probability for *_, probability in draws) == pytest.approx(1, abs=1e-12)
    for token in allowed:
        mine = [(weight, probability) for drawn, weight, probability in draws if drawn == token]
        share = sum(probability for _, probability in mine)
        assert share == pytest.approx(law[token] / mass, abs=1e-12)
        assert sum(weight * probability for weight, probability in mine) / share == pytest.approx(mass, abs=1e-12)


def test_nothing_allowed_is_a_dead_end() -> None:
    generator = np.random.default_rng(0)
    assert draw_allowed(np.log([0.5, 0.5]), lambda token: False, generator) == (-1, -math.inf)
    assert draw_allowed(np.full(3, -math.inf), lambda token: True, generator) == (-1, -math.inf)


def balanced(text: str) -> bool:
    """Never more b than a, nor two more a than b: a rule on beginnings, as if known only as a black box."""
    level = 0
    for letter in text:
        level += (letter == "a") - (letter == "b")
        if not 0 <= level <= 2:
            return False
    return True


def test_a_rule_on_beginnings_is_kept_with_few_questions(exact: Exact) -> None:
    law = replace(exact.law, prefix_rule=balanced)
    task = replace(exact.task, law=law)
    texts = [exact.tiny.vocabulary.text(tokens) for tokens in exact.responses]
    extra = np.array([0.0 if balanced(text) else -np.inf for text in texts])
    target = exact.log_p0 + exact.log_reward + extra
    results = Smc(8, batch_size=40_000).decode(exact.tiny, [task] * 700, max_tokens=CAP, seed=5)
    check_unbiased(results, exact.responses, target, 0.05)
    assert all(balanced(sample.text) for result in results for sample in result.samples)
    # proposals that are blind to the rule lose most of their particles to it
    blind = Sir(8 * 500, batch_size=4000).decode(exact.tiny, [task], max_tokens=CAP, seed=5)[0]
    assert blind.ess / blind.particles < 0.6 * np.mean([result.ess / result.particles for result in results])

    asked: list[str] = []

    def counted(text: str) -> bool:
        asked.append(text)
        return balanced(text)

    [result] = Smc(30).decode(
        exact.tiny, [replace(task, law=replace(law, prefix_rule=counted))], max_tokens=CAP, seed=6
    )
    assert len(asked) == len(set(asked))  # verdicts are remembered
    assert f"the rule on beginnings was asked {len(asked)} times" in result.diagnostics.remarks
    beginnings = {sample.text[:end] for sample in result.samples for end in range(len(sample.text) + 1)}
    assert len(asked) < 0.6 * 5 * len(beginnings)  # masking would ask about each token behind each beginning


def test_nothing_is_left_where_a_rule_allows_nothing(exact: Exact) -> None:
    law = replace(exact.law, prefix_rule=lambda text: len(text) < 2)
    [result] = Smc(10, responses=3).decode(exact.tiny, [replace(exact.task, law=law)], max_tokens=CAP, seed=0)
    assert (result.samples, result.responses, result.log_z_estimate, result.ess) == ((), (), -math.inf, 0.0)
    assert (result.dead_ends, result.forbidden, result.rescued) == (10, 0, None)
    forbidding = replace(exact.law, residual=lambda text: -math.inf)
    [result] = Smc(10).decode(exact.tiny, [replace(exact.task, law=forbidding)], max_tokens=CAP, seed=0)
    assert (result.samples, result.log_z_estimate) == ((), -math.inf)
    assert result.dead_ends + result.forbidden == 10
    assert len(result.refused) == result.forbidden > 0


# -------------------------------------------------------------------------------------------------------- sentences
def test_settled_sentences_stay_as_they_are() -> None:
    """Every text of four characters over an alphabet that has all that can join or divide sentences."""
    assert [(part.start, part.end) for part in settled("Hello! He came. Then")] == [(0, 6), (7, 15)]
    assert settled("It cost 3.") == settled("Hello!") == settled("e.g. (12") == ()
    seen = 0
    for letters in itertools.product("aA1.! ,\n", repeat=4):
        text = "".join(letters)
        whole = sentences_of(text)
        for end in range(1, 4):
            parts = tuple(text[:end][part.start : part.end] for part in settled(text[:end]))
            assert whole[: len(parts)] == parts
            seen += len(parts)
    assert seen > 100


@dataclass(frozen=True)
class Judged:
    """A tiny model whose texts have several sentences, with what a judge of sentences pays."""

    tiny: Tiny
    task: DecodeTask
    tokens: list[Tokens]
    log_target: FloatArray


def sentence_score(sentence: str) -> float:
    return -math.inf if "aa" in sentence else 2.0 if "b" in sentence else -2.0


@pytest.fixture(scope="module")
def judged() -> Judged:
    tiny = Tiny(TabularModel(seed=5), (b"a", b"b", b"1", b"! ", b"!"))
    groups = (add([hard("1"), counting(" ", 0.4)]),)
    law = PromptLaw(groups, scorers=(Scorer("judge", sentence_score, "sentence"),))
    tokens, log_p0 = tiny.model.enumerate()
    target = np.full(len(tokens), -np.inf)
    for row, response in enumerate(tokens):
        text = tiny.vocabulary.text(response)
        if "1" in text:
            target[row] = log_p0[row] + 0.4 * text.count(" ") + sum(map(sentence_score, sentences_of(text)))
    samples = sample_base(tiny, [(5,)], 300, CAP, seed=11)[0]
    return Judged(tiny, DecodeTask((5,), law, twists_for(tiny, groups, CAP, samples)), tokens, target)


def test_judges_of_sentences_steer_without_bias(judged: Judged) -> None:
    asked: set[str] = set()

    def heard(sentence: str) -> float:
        asked.add(sentence)
        return sentence_score(sentence)

    law = replace(judged.task.law, scorers=(Scorer("judge", heard, "sentence"),))
    tasks = [replace(judged.task, law=law)] * 1000
    by_sentence = Smc(8, at="sentence", threshold=0.9, batch_size=40_000).decode(
        judged.tiny, tasks, max_tokens=CAP, seed=2
    )
    assert runs_with_resampling(by_sentence) > 300
    check_unbiased(by_sentence, judged.tokens, judged.log_target, 0.05)
    assert all(
        sample.log_reward == pytest.approx(judged.task.law.log_reward(sample.text), abs=1e-9)
        for result in by_sentence[:100]
        for sample in result.samples
    )
    texts = [judged.tiny.vocabulary.text(response) for response in judged.tokens]
    assert asked <= {sentence for text in texts for sentence in sentences_of(text)}
    by_token = Smc(8, batch_size=40_000).decode(judged.tiny, tasks, max_tokens=CAP, seed=2)
    gaps = np.array([[max(r.log_z_estimate, -10.0) for r in each] for each in (by_sentence, by_token)])
    gain = gaps[0] - gaps[1]
    assert gain.mean() > 4 * gain.std(ddof=1) / math.sqrt(len(gain))


# ------------------------------------------------------------------------------------------- when to use it, and not
def gaps(decoder: Decoder, tiny: Tiny, task: DecodeTask, cap: int, runs: int) -> FloatArray:
    """[runs] log Ẑ."""
    results = decoder.decode(tiny, [task] * runs, max_tokens=cap, seed=3)
    return np.array([result.log_z_estimate for result in results])


def test_resampling_pays_where_the_look_ahead_is_nearly_right() -> None:
    """Thirty tokens of a model that depends on more than the rules can see: a required word must be prepared.

    Both have unbiased Ẑ, so the larger mean log Ẑ is nearer to log Z, and its law to p*. At 3 standard errors.
    """
    cap = 30
    tiny = Tiny(TabularModel(seed=1, max_tokens=cap, spread=2.0))
    groups = (add([hard("1b1a"), hard("ab1", absent=True), counting("[ab]", 0.7)]),)
    twists = twists_for(tiny, groups, cap, sample_base(tiny, [(5,)], 300, cap, seed=1)[0])
    task = DecodeTask((5,), PromptLaw(groups), twists)
    smc = gaps(Smc(16, batch_size=2000), tiny, task, cap, 200)
    sir = gaps(Sir(16, batch_size=2000), tiny, task, cap, 200)
    gain = smc - sir
    assert gain.mean() > 0.3
    assert gain.mean() > 3 * gain.std(ddof=1) / math.sqrt(len(gain))


class Fixed:
    """Every token alike at every place: after an `a` the rules need what the model hardly ever says."""

    eos_id, max_tokens = 5, CAP
    vocabulary = (b"a", b"b", b"1", b" ", b".", b"")

    def next_log_probs(self, prefixes: Sequence[Tokens]) -> FloatArray:
        return np.tile(np.log([0.55, 0.05, 0.1, 0.05, 0.1, 0.15]), (len(prefixes), 1))


def test_resampling_hurts_where_the_look_ahead_knows_nothing() -> None:
    """`a` must be followed by the rare `b`, and `ab` is paid at the end: a blind look-ahead kills who has to wait.

    At 4 standard errors, as is that a twist of the model repairs it.
    """
    model = Fixed()
    tiny = Tiny(model)  # type: ignore[arg-type]
    paid = scale(indicator(language(parse_pattern("ab.*[.]"), "suffix")), 8.0)
    ends_in_a = support(language(parse_pattern("a"), "suffix").complement())
    group: Valued = add([hard("a[^b]", absent=True), ends_in_a, paid])
    blind = uniform_twist(TokenAutomaton(group, tiny.vocabulary.token_bytes), tiny.vocabulary, CAP)
    [informed] = twists_for(tiny, [group], CAP, sample_base(tiny, [(5,)], 300, CAP, seed=1)[0])
    tokens, log_p0 = enumerate_model(model, CAP)  # type: ignore[arg-type]
    texts = [tiny.vocabulary.text(response) for response in tokens]
    pays = np.array([-np.inf if re.search("a[^b]|a$", t) else 8.0 * bool(re.search("ab.*[.]$", t)) for t in texts])
    log_z = float(np.logaddexp.reduce(log_p0 + pays))

    def gap(decoder: Decoder, twist: Twist) -> FloatArray:
        return log_z - gaps(decoder, tiny, DecodeTask((5,), PromptLaw((group,)), (twist,)), CAP, 400)

    sir = gap(Sir(16, batch_size=7000), blind)
    for worse, better in (
        (gap(Smc(16, batch_size=7000), blind), sir),
        (sir, gap(Smc(16, batch_size=7000), informed)),
    ):
        loss = worse - better
        assert loss.mean() > 4 * loss.std(ddof=1) / math.sqrt(len(loss))


# ------------------------------------------------------------------------------------------------ limits and memory
def test_limits_return_what_there_is(exact: Exact) -> None:
    groups = (add(policy()),)
    task = DecodeTask((5,), PromptLaw(groups), twists_for(exact.tiny, groups, CAP, []))
    tasks = [task] * 3
    free = Smc(16, responses=2, batch_size=16).decode(exact.tiny, tasks, max_tokens=CAP, seed=1)
    passes = free[0].diagnostics.passes
    cut = Smc(16, responses=2, batch_size=16).decode(
        exact.tiny, tasks, max_tokens=CAP, seed=1, limits=Limits(passes=passes // 2)
    )
    assert replace(cut[0], diagnostics=Diagnostics()) == replace(free[0], diagnostics=Diagnostics())
    assert cut[1].diagnostics.stopped == cut[2].diagnostics.stopped == "passes"
    assert 0 < cut[1].diagnostics.unfinished <= 16
    assert (cut[2].diagnostics.unfinished, cut[2].samples, cut[2].responses) == (16, (), ())
    for result in cut:
        assert len(result.samples) + result.dead + result.diagnostics.unfinished == 16
        assert result.diagnostics.passes <= passes // 2
        text = result.responses[0].text if result.responses else result.rescued
        assert text is not None
        assert exact.law.log_reward(text) > -math.inf
    [nothing] = Smc(4).decode(exact.tiny, [task], max_tokens=CAP, seed=1, limits=Limits(seconds=0))
    assert (nothing.diagnostics.stopped, nothing.samples) == ("deadline", ())
    assert nothing.rescued is not None


def test_tasks_are_divided_until_they_fit_and_particles_never(exact: Exact) -> None:
    decoder = Smc(12, responses=2, threshold=0.9, batch_size=1000)
    tasks = [exact.task] * 6
    free = decoder.decode(exact.tiny, tasks, max_tokens=CAP, seed=1)
    small = decoder.decode(replace(exact.tiny, room=20), tasks, max_tokens=CAP, seed=1)
    assert [replace(r, diagnostics=Diagnostics()) for r in small] == [
        replace(r, diagnostics=Diagnostics()) for r in free
    ]
    assert small[0].diagnostics.passes > free[0].diagnostics.passes
    with pytest.raises(DecodeError, match=r"the 12 particles of one prompt .*\(--particles\)"):
        decoder.decode(replace(exact.tiny, room=2), tasks, max_tokens=CAP, seed=1)


def test_the_common_beginning_is_told_as_it_grows(exact: Exact) -> None:
    told: dict[int, list[str]] = {}
    results = Smc(3, responses=3, threshold=1.0).decode(
        exact.tiny,
        [exact.task] * 30,
        max_tokens=CAP,
        seed=1,
        watch=lambda task, text: told.setdefault(task, []).append(text),
    )
    for task, result in enumerate(results):
        *parts, last = told[task]
        assert last == result.responses[0].text
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(parts))
        assert all(response.text.startswith(part) for part in parts for response in result.responses)
    assert sum(len(parts) > 1 for parts in told.values()) > 10


def test_the_weights_of_a_resampled_task_are_their_mean() -> None:
    slots = Particles(2, 4, 3)
    slots.log_p0[:] = [0.0, -1.0, -2.0, -9.0, -1.0, -1.0, -1.0, -1.0]
    before = np.logaddexp.reduce(slots.log_weights()[0]) - math.log(4)
    parent = slots.resample(np.array([0]), [np.array([0.5, 0.1, 0.2, 0.3])], "systematic")
    assert parent.tolist()[4:] == [4, 5, 6, 7]
    assert slots.log_weights()[0] == pytest.approx([before] * 4, abs=1e-12)
    assert slots.log_weights()[1] == pytest.approx([-1.0] * 4)
    assert slots.log_p0[:4].tolist() == [[0.0, -1.0, -2.0, -9.0][at] for at in parent[:4]]


@pytest.mark.parametrize("method", ["systematic", "stratified", "multinomial"])
def test_ancestors_are_expected_in_proportion(method: str) -> None:
    """At 5 standard errors of a binomial share, which bounds the other two: 6e-7 for each of five."""
    weights = np.log([0.5, 0.25, 0.125, 0.125, 0.0 + 1e-300])
    generator = np.random.default_rng(0)
    picked = [ancestors(weights, 5, generator.random(5), method) for _ in range(4000)]  # type: ignore[arg-type]
    shares = np.bincount(np.concatenate(picked), minlength=5) / 20_000
    assert (np.abs(shares - np.exp(weights)) <= 5 * np.sqrt(np.exp(weights) / 20_000)).all()


@pytest.mark.parametrize(
    ("decoder", "said"),
    [
        (Smc(0), "one particle"),
        (Smc(4, threshold=1.5), "threshold of resampling is a share"),
        (Smc(4, resampling="best"), "`best` resampling"),  # type: ignore[arg-type]
        (Smc(4, at="word"), "not by `word`"),  # type: ignore[arg-type]
        (Smc(4, batch_size=0), "one row"),
        (Smc(4, responses=-1), "-1 responses"),
    ],
)
def test_impossible_settings_are_refused(exact: Exact, decoder: Smc, said: str) -> None:
    with pytest.raises(DecodeError, match=said):
        decoder.decode(exact.tiny, [exact.task], max_tokens=CAP, seed=0)
