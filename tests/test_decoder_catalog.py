"""What every decoder owes, over all that lie in the folder: a new file is tested without a change here.

Each runs with its defaults on the enumerated model. The weighted law is compared with p* by ratios of means over
independent runs, at 4 standard errors (6e-5 each); seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from decoding_models import CAP, Exact, counting, enumerated, hard, reward, twists_for

import bylaw.runtime.decoders
from bylaw.compiler.automata.counts import add
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.decoders.choose import decoder_named, decoder_names, decoder_options, sir_or_smc
from bylaw.runtime.decoders.interface import DecodeError, Decoder, DecodeResult, DecodeTask, PromptLaw
from bylaw.runtime.models.interface import LanguageModel
from bylaw.runtime.models.metering import Limits
from bylaw.runtime.twist import uniform_twist

NAMES = decoder_names()


@pytest.fixture(scope="module")
def exact() -> Exact:
    return enumerated()


def made(name: str, exact: Exact) -> Decoder:
    """With its defaults, but small where it knows these sizes; one response is asked for."""
    wanted = {"responses": 1, "reward_model": exact.tiny, "particles": 16, "draws": 16, "steps": 30}
    return decoder_named(name, **{key: value for key, value in wanted.items() if key in decoder_options(name)})


def test_the_folder_is_the_catalog() -> None:
    [folder] = bylaw.runtime.decoders.__path__
    files = {path.stem for path in Path(folder).glob("*.py")}
    assert {"mask", "qrs", "sir", "smc", "mh", "tree", "arm", "best_of_n"} <= set(NAMES) <= files
    assert not {"engine", "frontier", "interface", "weights", "choose", "pilot"} & set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_responses_are_legal_and_seeds_repeat(exact: Exact, name: str) -> None:
    decoder = made(name, exact)
    assert decoder.name == name
    decode = partial(decoder.decode, exact.tiny, [exact.task] * 3, max_tokens=CAP)
    results = decode(seed=1)
    assert len(results) == 3
    for result in results:
        assert result.biased == decoder.biased
        assert result.diagnostics.passes > 0
        assert result.diagnostics.stopped is None
        for sample in (*result.samples, *result.responses):
            assert sample.text == exact.tiny.vocabulary.text(sample.tokens)
            assert sample.log_reward == pytest.approx(reward(sample.text), abs=1e-9)
    if name != "best_of_n":  # whose samples may all break the rules
        assert all(result.responses for result in results)
    heard: list[tuple[int, str]] = []
    assert results == decode(seed=1, watch=lambda task, text: heard.append((task, text)))
    last = dict(heard)
    for index, result in enumerate(results):
        if result.responses:
            assert result.responses[0].text.startswith(last.get(index, ""))
    assert [result.samples for result in results] != [result.samples for result in decode(seed=2)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("passes", [0, 9, 60])
def test_budgets_are_never_exceeded(exact: Exact, name: str, passes: int) -> None:
    results = made(name, exact).decode(
        exact.tiny, [exact.task] * 2, max_tokens=CAP, seed=3, limits=Limits(passes=passes)
    )
    for result in results:
        assert result.diagnostics.passes <= passes
        texts = [sample.text for sample in result.responses] + ([result.rescued] if result.rescued else [])
        assert all(math.isfinite(reward(text)) for text in texts)
    if passes == 0:
        assert all(result.diagnostics.stopped == "passes" and not result.responses for result in results)


@pytest.mark.parametrize("name", NAMES)
def test_neither_batches_nor_memory_nor_other_laws_change_a_result(exact: Exact, name: str) -> None:
    """Tasks of three laws, in batches of all and of one; with memory for 16 rows, which is less than there are."""
    paid = replace(exact.task, law=replace(exact.law, residual=lambda text: 0.2 * len(text)))
    group = (add([hard("b"), counting("a", 0.5)]),)
    other = DecodeTask((5,), PromptLaw(group), twists_for(exact.tiny, group, CAP, []))
    tasks = [exact.task, paid, other] * 2
    decoder = made(name, exact)
    assert decoder.decode(exact.tiny, [], max_tokens=CAP, seed=5) == []

    def decode(decoder: Decoder, model: LanguageModel) -> list[DecodeResult]:
        found = decoder.decode(model, tasks, max_tokens=CAP, seed=5)
        return [replace(result, diagnostics=replace(result.diagnostics, passes=0)) for result in found]

    whole = decode(decoder, exact.tiny)
    assert len(whole) == len(tasks)
    for task, result in zip(tasks, whole, strict=True):
        assert all(s.log_reward == pytest.approx(task.law.log_reward(s.text), abs=1e-9) for s in result.samples)
    assert decode(replace(decoder, batch_size=1), exact.tiny) == whole  # type: ignore[type-var]
    assert decode(decoder, replace(exact.tiny, room=16)) == whole


@pytest.mark.parametrize("name", NAMES)
def test_what_a_budget_took_away_is_told(exact: Exact, name: str) -> None:
    """Each result is the whole one, or says that it was stopped; it holds a response, or a text in its place."""
    other = replace(exact.task, law=replace(exact.law, residual=lambda text: 0.2 * len(text)))
    decode = partial(made(name, exact).decode, exact.tiny, [exact.task, other, exact.task], max_tokens=CAP, seed=3)
    whole = decode()
    stopped = 0
    for passes in np.linspace(0, whole[0].diagnostics.passes, 12, dtype=int):
        results = decode(limits=Limits(passes=int(passes)))
        for result, free in zip(results, whole, strict=True):
            told = result.diagnostics
            assert told.passes <= passes
            if told.stopped is None:
                assert result.samples == free.samples
                assert result.responses == free.responses
            else:
                stopped += 1
                assert told.remarks
                assert result.responses or result.rescued is not None
            assert result.rescued is None or not result.samples
    assert stopped > 3


@pytest.mark.parametrize("name", NAMES)
def test_a_deadline_that_is_over_ends_at_once(exact: Exact, name: str) -> None:
    [result] = made(name, exact).decode(exact.tiny, [exact.task], max_tokens=CAP, seed=3, limits=Limits(seconds=0.0))
    assert result.diagnostics.stopped == "deadline"
    assert result.diagnostics.passes == 0


@pytest.mark.parametrize("name", NAMES)
def test_policies_without_a_response_are_refused(exact: Exact, name: str) -> None:
    group = hard("1b1b1b")
    twist = uniform_twist(TokenAutomaton(group, exact.tiny.vocabulary.token_bytes), exact.tiny.vocabulary, CAP)
    task = DecodeTask((5,), PromptLaw((group,)), (twist,))
    with pytest.raises(DecodeError, match="no response of at most 5 tokens"):
        made(name, exact).decode(exact.tiny, [task], max_tokens=5, seed=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_weighted_law_is_the_target(exact: Exact, name: str) -> None:
    """Of biased ones too: those hand out unweighted responses, but weigh what they drew."""
    runs = 60
    results = made(name, exact).decode(exact.tiny, [exact.task] * runs, max_tokens=CAP, seed=4)
    features: list[tuple[str, Callable[[str], float]]] = [
        ("mean reward", reward),
        ("contains bb", lambda text: float("bb" in text)),
        ("short", lambda text: float(len(text) <= 3)),
        ("begins with 1", lambda text: float(text.startswith("1"))),
    ]
    legal = np.flatnonzero(np.isfinite(exact.log_reward))
    texts = [exact.tiny.vocabulary.text(exact.responses[i]) for i in legal]
    totals = np.array([sum(math.exp(s.log_weight) for s in r.samples) / max(r.particles, 1) for r in results])
    for label, feature in features:
        truth = float(exact.target[legal] @ np.array([feature(text) for text in texts], dtype=float))
        sums = np.array(
            [sum(math.exp(s.log_weight) * feature(s.text) for s in r.samples) / max(r.particles, 1) for r in results]
        )
        gaps = sums - truth * totals
        error = gaps.std(ddof=1) / math.sqrt(runs)
        assert abs(gaps.mean()) < 4 * error, label
        # a law that is off by as much as masking is (test_decoders) would be seen by most
        assert error < 0.2 * totals.mean(), label


def test_names_and_options_that_do_not_exist() -> None:
    with pytest.raises(DecodeError, match=r"no decoder `best-of-n`; did you mean `best_of_n`\?; there are `arm`"):
        decoder_named("best-of-n")
    with pytest.raises(DecodeError, match="no decoder `engine`"):
        decoder_named("engine")
    with pytest.raises(DecodeError, match=r"no option `particle`; did you mean `particles`\?"):
        decoder_named("sir", particle=3)
    with pytest.raises(DecodeError, match="cannot be made"):
        decoder_named("arm")


def test_sir_or_smc_is_chosen_by_the_larger_log_z(exact: Exact) -> None:
    """The sign of the difference is that of long runs of both; the interval holds it."""
    chosen = sir_or_smc(exact.tiny, [exact.task], max_tokens=CAP, seed=1, particles=8, runs=40)
    long = []
    for name in ("sir", "smc"):
        results = decoder_named(name, particles=8).decode(exact.tiny, [exact.task] * 160, max_tokens=CAP, seed=2)
        long.append(float(np.mean([max(result.log_z_estimate, exact.log_z - 30) for result in results])))
    truth = long[1] - long[0]
    told = chosen.advantage_of_smc
    # the long runs have an error of their own, half the pilot's
    slack = (told.high - told.low) / 2
    assert told.low - slack <= truth <= told.high + slack
    assert chosen.decoder.name == ("smc" if told.value > 0 else "sir")
    assert chosen.passes > 0
    with pytest.raises(DecodeError, match="two runs"):
        sir_or_smc(exact.tiny, [exact.task], max_tokens=CAP, seed=1, runs=1)
    with pytest.raises(DecodeError, match="a limit ended the pilot"):
        sir_or_smc(exact.tiny, [exact.task], max_tokens=CAP, seed=1, limits=Limits(passes=5))
    # most estimates are zero here: they count as 30 nats below the lowest other one, not as infinitely little
    rare = replace(exact.task, law=replace(exact.law, residual=lambda text: 0.0 if text == "1." else -math.inf))
    seldom = sir_or_smc(exact.tiny, [rare], max_tokens=CAP, seed=1, particles=2, runs=30)
    assert abs(seldom.advantage_of_smc.value) <= 31
    assert math.isfinite(seldom.advantage_of_smc.high)
    again = sir_or_smc(exact.tiny, [replace(exact.task)] * 2, max_tokens=CAP, seed=1, particles=8, runs=4)
    assert again.decoder.name in ("sir", "smc")
