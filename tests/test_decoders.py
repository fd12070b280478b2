"""Decoders against laws that are enumerated: the weighted law is p*, log Ẑ is unbiased, masking is not p* and says so.

Statistical tests compare the decoder with the largest value of the same statistic in 199 replicates that are drawn from
its exact law by numpy (the Monte-Carlo floor): under a correct decoder all 200 are exchangeable, so the false-alarm
rate is 1/200 per test. Means are tested at 4 standard errors (6e-5 for a normal mean). Seeds are fixed, so a failure is
a change of the code and no bad luck.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from decoding_models import (
    CAP,
    Exact,
    Tiny,
    counting,
    counts_of,
    enumerated,
    floor,
    hard,
    log_weights,
    policy,
    reward,
    twists_for,
    weighted_tv,
)

from bylaw.compiler.automata.counts import Valued, add
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.decoders.interface import DecodeError, DecodeTask, Diagnostics, PromptLaw
from bylaw.runtime.decoders.mask import Mask
from bylaw.runtime.decoders.sir import Sir, proposal_log_prob, resample
from bylaw.runtime.models import load_model, sample_base
from bylaw.runtime.models.interface import FloatArray
from bylaw.runtime.twist import uniform_twist
from tinymodels import TabularModel, Tokens

STORIES = Path(__file__).parents[1].parent / "shared" / "data" / "models" / "stories260K"
PARTICLES = 20_000


@pytest.fixture(scope="module")
def exact() -> Exact:
    return enumerated()


@pytest.fixture(scope="module")
def log_q(exact: Exact) -> FloatArray:
    return exact.log_q()


@pytest.fixture(scope="module")
def log_mask(exact: Exact) -> FloatArray:
    return exact.log_q(masked=True)


def test_the_proposal_covers_the_law_and_nothing_illegal(exact: Exact, log_q: FloatArray) -> None:
    assert np.array_equal(np.isfinite(log_q), np.isfinite(exact.log_reward))
    assert 0.9 < np.exp(log_q).sum() <= 1 + 1e-9  # what is missing are dead ends between groups


def test_sir_weighted_law_is_the_target(exact: Exact, log_q: FloatArray, log_mask: FloatArray) -> None:
    [result] = Sir(PARTICLES, batch_size=5000).decode(exact.tiny, [exact.task], max_tokens=CAP, seed=5)
    assert all(reward(sample.text) == pytest.approx(sample.log_reward, abs=1e-9) for sample in result.samples)
    weight = log_weights(exact, log_q)
    tv = weighted_tv(exact, counts_of(exact, [sample.tokens for sample in result.samples]), weight)
    limit = floor(exact, log_q, weight, PARTICLES)
    assert tv <= limit
    dead_mass = 1 - np.exp(log_q).sum()
    assert abs(result.dead_ends / PARTICLES - dead_mass) < 4 * math.sqrt(dead_mass * (1 - dead_mass) / PARTICLES)
    assert (result.dead, result.biased) == (result.dead_ends, False)
    # the same budget tells masking apart from the target
    masked = np.exp(log_mask - np.logaddexp.reduce(log_mask))
    assert 0.5 * np.abs(masked - exact.target).sum() > limit + 0.1


def test_z_estimate_is_unbiased(exact: Exact) -> None:
    results = Sir(32, batch_size=4000).decode(exact.tiny, [exact.task] * 400, max_tokens=CAP, seed=6)
    estimates = np.exp([result.log_z_estimate for result in results])
    error = estimates.std(ddof=1) / math.sqrt(len(estimates))
    assert abs(estimates.mean() - math.exp(exact.log_z)) < 4 * error
    assert error < 0.05 * math.exp(exact.log_z)


def test_resampled_responses_follow_the_target(exact: Exact) -> None:
    decoder = Sir(256, responses=1, resampling="multinomial", batch_size=4096)
    results = decoder.decode(exact.tiny, [exact.task] * 200, max_tokens=CAP, seed=7)
    soft = np.array([result.responses[0].log_reward for result in results])
    legal = np.isfinite(exact.log_reward)
    mean = float(exact.target[legal] @ exact.log_reward[legal])
    # the bias of 256 particles is below 0.01 here, against a standard error of about 0.05
    assert abs(soft.mean() - mean) < 4 * soft.std(ddof=1) / math.sqrt(len(soft))


def brute_force_mask(exact: Exact) -> FloatArray:
    """[Y] log of p0(y)/Π Z_k, from sets of prefixes instead of automata: kept is what each group can still accept."""
    texts = [exact.tiny.vocabulary.text(tokens) for tokens in exact.responses]
    kept_by: list[set[Tokens]] = []
    for holds in (lambda text: "ab" not in text and text.endswith("."), lambda text: "1" in text):
        accepted = [tokens for tokens, text in zip(exact.responses, texts, strict=True) if holds(text)]
        kept_by.append({tokens[:k] for tokens in accepted for k in range(len(tokens) + 1)})
        kept_by.append({(*tokens, -1) for tokens in accepted})
    first, ends_first, second, ends_second = kept_by
    end = exact.tiny.model.eos_id
    log_kept: dict[Tokens, float] = {}

    def kept(prefix: Tokens) -> float:
        if prefix not in log_kept:
            law = np.exp(exact.tiny.model.next_log_probs([prefix])[0])
            ways = [(*prefix, token) for token in range(end)]
            mass = sum(law[way[-1]] for way in ways if way in first and way in second)
            stop = (*prefix, -1)
            log_kept[prefix] = math.log(mass + law[end] * (stop in ends_first and stop in ends_second) or math.nan)
        return log_kept[prefix]

    values = np.full(len(texts), -np.inf)
    for row, tokens in enumerate(exact.responses):
        stop = (*tokens, -1)
        if stop in ends_first and stop in ends_second:
            steps = len(tokens) + (len(tokens) < CAP)
            values[row] = exact.log_p0[row] - sum(kept(tokens[:k]) for k in range(steps))
    return values


def test_mask_has_its_closed_form_law_and_weights_repair_it(exact: Exact, log_mask: FloatArray) -> None:
    assert log_mask == pytest.approx(brute_force_mask(exact), abs=1e-9)
    decoder = Mask(PARTICLES, batch_size=5000)
    [result] = decoder.decode(exact.tiny, [exact.task], max_tokens=CAP, seed=8)
    assert (decoder.biased, result.biased) == (True, True)
    assert result.responses == result.samples
    counts = counts_of(exact, [sample.tokens for sample in result.samples])
    weight = log_weights(exact, log_mask)
    limit = floor(exact, log_mask, weight, PARTICLES)
    assert weighted_tv(exact, counts, weight) <= limit
    assert weighted_tv(exact, counts, np.zeros_like(weight)) > limit + 0.1  # without the weights
    assert result.log_z_estimate == pytest.approx(exact.log_z, abs=0.1)


@pytest.mark.parametrize("decoder", [Sir(500), Mask(500)])
def test_teacher_forcing_gives_the_samplers_numbers(exact: Exact, decoder: Sir | Mask) -> None:
    [result] = decoder.decode(exact.tiny, [exact.task], max_tokens=CAP, seed=9)
    tokens = [sample.tokens for sample in result.samples]
    again = proposal_log_prob(
        exact.tiny, [(5,)] * len(tokens), tokens, exact.law, exact.twists, CAP, masked=decoder.biased
    )
    assert again == pytest.approx(np.array([sample.log_q for sample in result.samples]), abs=1e-9)
    log_p0 = dict(zip(exact.responses, exact.log_p0, strict=True))
    assert all(sample.log_p0 == pytest.approx(log_p0[sample.tokens], abs=1e-9) for sample in result.samples)


def test_seeds_repeat_and_batches_do_not_matter(exact: Exact) -> None:
    tasks = [exact.task] * 3
    one = Sir(40, responses=5).decode(exact.tiny, tasks, max_tokens=CAP, seed=1)
    assert one == Sir(40, responses=5).decode(exact.tiny, tasks, max_tokens=CAP, seed=1)
    other = Sir(40, responses=5, batch_size=7).decode(exact.tiny, tasks, max_tokens=CAP, seed=1)
    # smaller batches share fewer beginnings, so only the cost is another
    assert [replace(found, diagnostics=Diagnostics()) for found in one] == [
        replace(found, diagnostics=Diagnostics()) for found in other
    ]
    assert one != Sir(40, responses=5).decode(exact.tiny, tasks, max_tokens=CAP, seed=2)
    assert one[0].samples != one[1].samples


def test_the_twist_is_exact_where_the_model_is_markov_in_the_state() -> None:
    # uniform tokens: the smoothed law of no samples at all is the true one, so every weight equals Z
    tiny = Tiny(TabularModel(spread=0.0))
    groups = (add(policy()),)
    task = DecodeTask((5,), PromptLaw(groups), twists_for(tiny, groups, CAP, []))
    [result] = Sir(200).decode(tiny, [task], max_tokens=CAP, seed=0)
    log_z = np.logaddexp.reduce(
        [p + reward(tiny.vocabulary.text(t)) for t, p in zip(*tiny.model.enumerate(), strict=True)]
    )
    assert [sample.log_weight for sample in result.samples] == pytest.approx([log_z] * 200, abs=1e-9)
    assert task.twists[0].log_z() == pytest.approx(log_z, abs=1e-9)
    assert result.ess == pytest.approx(200)


SPLIT_SPELLINGS = {
    # single bytes beside a token that ends a character and begins another
    "bytes": (b"\xc3", b"\xa9", b"\xa8", b"x", b"\xa9\xc3"),
    # two bytes inside a character at once save a token near the cap
    "many bytes at once": (b"\xe2", b"\x82", b"\xac", b"\x82\xac", b"x"),
    "no single bytes": (b"\xe2\x82", b"\xacx", b"\xac\xe2\x82", b"\xac", b"x"),
}


def split_reward(data: bytes) -> float:
    """Must contain é or €, never è, at most two x in a row; plus 0.5 nats for each x, 0.8 for each é or €."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return -math.inf
    if not re.search("[é€]", text) or "è" in text or "xxx" in text:
        return -math.inf
    return 0.5 * text.count("x") + 0.8 * len(re.findall("[é€]", text))


@pytest.mark.parametrize("spelling", SPLIT_SPELLINGS.values(), ids=SPLIT_SPELLINGS)
def test_the_law_holds_where_tokens_split_characters(spelling: tuple[bytes, ...]) -> None:
    """False alarms: 1/200 for the weighted law, 6e-5 for the mean of the estimates, for each of the three spellings."""
    tiny = Tiny(TabularModel(seed=6), spelling)
    hards = [hard("[é€]"), hard("è", absent=True), hard("xxx", absent=True)]
    groups = (add([*hards, counting("x", 0.5), counting("[é€]", 0.8)]),)
    twists = twists_for(tiny, groups, CAP, sample_base(tiny, [(5,)], 300, CAP, seed=11)[0])
    responses, log_p0 = tiny.model.enumerate()
    rewards = np.array([split_reward(tiny.vocabulary.data(tokens)) for tokens in responses])
    split = Exact(tiny, PromptLaw(groups), twists, responses, log_p0, rewards)
    log_q = split.log_q()
    assert np.array_equal(np.isfinite(log_q), np.isfinite(rewards))
    assert np.exp(log_q).sum() == pytest.approx(1, abs=1e-9)  # one group: no dead ends, no mass elsewhere
    weight = log_weights(split, log_q)
    [result] = Sir(PARTICLES, batch_size=5000).decode(tiny, [split.task], max_tokens=CAP, seed=5)
    tokens = [sample.tokens for sample in result.samples]
    forced = dict(zip(responses, log_q, strict=True))
    assert [sample.log_q for sample in result.samples] == pytest.approx([forced[t] for t in tokens], abs=1e-9)
    assert weighted_tv(split, counts_of(split, tokens), weight) <= floor(split, log_q, weight, PARTICLES)
    results = Sir(32, batch_size=4000).decode(tiny, [split.task] * 300, max_tokens=CAP, seed=6)
    assert sum(each.dead for each in results) == 0
    estimates = np.exp([each.log_z_estimate for each in results])
    error = estimates.std(ddof=1) / math.sqrt(len(estimates))
    assert abs(estimates.mean() - math.exp(split.log_z)) < 4 * error
    assert error < 0.05 * math.exp(split.log_z)


@pytest.mark.parametrize("spelling", SPLIT_SPELLINGS.values(), ids=SPLIT_SPELLINGS)
def test_masking_never_dies_inside_a_character(spelling: tuple[bytes, ...]) -> None:
    tiny = Tiny(TabularModel(seed=4), spelling)
    group = hard("[é€]x?[é€]")
    uniform = uniform_twist(TokenAutomaton(group, tiny.vocabulary.token_bytes), tiny.vocabulary, CAP)
    [result] = Mask(500).decode(tiny, [DecodeTask((5,), PromptLaw((group,)), (uniform,))], max_tokens=CAP, seed=0)
    assert (len(result.samples), result.dead) == (500, 0)
    assert all(re.search("[é€]x?[é€]", sample.text) for sample in result.samples)


@pytest.mark.parametrize("decoder", [Sir(50), Mask(50)])
def test_the_cap_is_respected_by_what_must_still_come(decoder: Sir | Mask) -> None:
    tiny = Tiny(TabularModel(seed=1))
    groups = (hard("1b1b1b"),)
    uniform = uniform_twist(TokenAutomaton(groups[0], tiny.vocabulary.token_bytes), tiny.vocabulary, 9)
    task = DecodeTask((5,), PromptLaw(groups), (uniform,))
    [result] = decoder.decode(tiny, [task], max_tokens=CAP, seed=0)
    assert {sample.text for sample in result.samples} == {"1b1b1b"}
    assert (len(result.samples), result.dead) == (50, 0)
    with pytest.raises(DecodeError, match="no response of at most 5 tokens"):
        decoder.decode(tiny, [task], max_tokens=5, seed=0)


def test_residual_rules_change_weights_only(exact: Exact) -> None:
    def residual(text: str) -> float:
        return -math.inf if text == text[::-1] else 0.25 * len(text)

    law = PromptLaw(exact.law.groups, residual)
    [plain] = Sir(4000).decode(exact.tiny, [exact.task], max_tokens=CAP, seed=2)
    [result] = Sir(4000).decode(exact.tiny, [DecodeTask((5,), law, exact.twists)], max_tokens=CAP, seed=2)
    expected = [s.log_reward + residual(s.text) for s in plain.samples if residual(s.text) > -math.inf]
    assert [sample.log_reward for sample in result.samples] == pytest.approx(expected)
    assert result.forbidden == len(plain.samples) - len(result.samples) > 0
    texts = [exact.tiny.vocabulary.text(tokens) for tokens in exact.responses]
    log_z = np.logaddexp.reduce(exact.log_p0 + exact.log_reward + [residual(text) for text in texts])
    assert result.log_z_estimate == pytest.approx(log_z, abs=0.15)
    broken = DecodeTask((5,), PromptLaw(exact.law.groups, lambda _: math.nan), exact.twists)
    with pytest.raises(DecodeError, match="nan"):
        Sir(50).decode(exact.tiny, [broken], max_tokens=CAP, seed=2)


def test_without_groups_the_proposal_is_the_model() -> None:
    tiny = Tiny(TabularModel(seed=4), (b"\xc3", b"\xa9", b"y", b"x", b"z"))
    [result] = Sir(100).decode(tiny, [DecodeTask((5,), PromptLaw(()), ())], max_tokens=CAP, seed=0)
    assert [sample.log_weight for sample in result.samples] == pytest.approx([0.0] * len(result.samples), abs=1e-12)
    assert result.forbidden > 0  # what is no UTF-8 is no text


def test_tasks_that_do_not_fit_are_refused(exact: Exact) -> None:
    def decode(task: DecodeTask, cap: int = CAP) -> None:
        Sir(4).decode(exact.tiny, [task], max_tokens=cap, seed=0)

    first, *others = exact.twists
    with pytest.raises(DecodeError, match="3 groups of rules came with 2 twists"):
        decode(DecodeTask((5,), exact.law, tuple(others)))
    with pytest.raises(DecodeError, match="another group"):
        decode(DecodeTask((5,), exact.law, (first, first, first)))
    with pytest.raises(DecodeError, match="looks 6 tokens ahead"):
        decode(exact.task, cap=7)
    other = Tiny(exact.tiny.model, (b"b", b"a", b"1", b" ", b"."))
    with pytest.raises(DecodeError, match="another vocabulary"):
        Sir(4).decode(other, [exact.task], max_tokens=CAP, seed=0)
    with pytest.raises(DecodeError, match="special token"):
        proposal_log_prob(exact.tiny, [(5,)], [(1, 5)], exact.law, exact.twists, CAP)
    with pytest.raises(DecodeError, match="longer than 6"):
        proposal_log_prob(exact.tiny, [(5,)], [(1,) * 7], exact.law, exact.twists, CAP)


def test_resampling() -> None:
    weights = np.log([0.5, 0.25, 0.125, 0.125])
    picked = resample(weights, 16, np.array([0.3]), "systematic")
    assert np.bincount(picked).tolist() == [8, 4, 2, 2]
    uniforms = np.random.default_rng(0).random(8000)
    shares = np.bincount(resample(weights, 8000, uniforms, "multinomial")) / 8000
    assert shares == pytest.approx(np.exp(weights), abs=4 * math.sqrt(0.25 / 8000))


needs_stories = pytest.mark.skipif(not STORIES.is_dir(), reason="the shared model stories260K is not there")


@needs_stories
@pytest.mark.parametrize(
    ("group", "holds"),
    [
        (hard(r"\bthe\b", absent=True), lambda text: not re.search(r"\bthe\b", text)),
        (hard("dragon"), lambda text: "dragon" in text),
    ],
    ids=["forbidden word", "required word"],
)
def test_a_real_model_keeps_the_rules(group: Valued, holds: Callable[[str], bool]) -> None:
    model = load_model(STORIES)
    prompt = model.encode_chat([{"role": "user", "content": "Once upon a time,"}])
    samples = sample_base(model, [prompt], 64, 40, seed=1)[0]
    task = DecodeTask(prompt, PromptLaw((group,)), twists_for(model, [group], 40, samples))
    [result] = Sir(200, batch_size=100).decode(model, [task], max_tokens=40, seed=2)
    assert (len(result.samples), result.dead) == (200, 0)
    assert all(holds(sample.text) for sample in result.samples)
    assert result == Sir(200, batch_size=100).decode(model, [task], max_tokens=40, seed=2)[0]
    tokens = [sample.tokens for sample in result.samples]
    again = proposal_log_prob(model, [prompt] * 200, tokens, task.law, task.twists, 40)
    # float32 arithmetic of another batch, summed over forty tokens
    assert again == pytest.approx(np.array([sample.log_q for sample in result.samples]), abs=2e-2)
