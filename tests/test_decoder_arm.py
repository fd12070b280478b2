"""The controller of an autoregressive reward model: exact for the one right model, far off for the converged one.

Means are tested at 4 standard errors (a false alarm in 16,000 for each); seeds are fixed.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from decoding_models import CAP, Exact, enumerated, reward
from prefix_models import (
    ExactLookAhead,
    NextDraw,
    TableModel,
    base_rows,
    beginnings,
    by_depth,
    conditionals,
    distance,
    law_of,
    shorter,
    table,
)

from bylaw.runtime.decoders.arm import Arm
from bylaw.runtime.decoders.interface import DecodeTask, PromptLaw
from bylaw.runtime.decoders.sir import proposal_log_prob
from bylaw.runtime.decoders.tree import Tree
from bylaw.runtime.look_ahead.autoregressive_reward import AutoregressiveReward
from bylaw.runtime.models import Vocabulary
from bylaw.runtime.models.interface import FloatArray, ModelError
from bylaw.runtime.models.metering import Limits
from tinymodels import TabularModel, enumerate_model

ALPHA = 0.5


@pytest.fixture(scope="module")
def exact() -> Exact:
    return enumerated()


def ungoverned(exact: Exact) -> DecodeTask:
    """The policy as a residual only: all that moves the proposal is the reward model."""
    return DecodeTask((5,), PromptLaw((), reward), ())


def normalised(rows: list[FloatArray]) -> list[FloatArray]:
    return [each - np.logaddexp.reduce(each, axis=1, keepdims=True) for each in rows]


def right_model(exact: Exact) -> TableModel:
    """π_r(w | h) ∝ (p*(w | h) / p0(w | h))^(1/α): the reward model for which the controller is p*."""
    target = conditionals(exact.log_p0 + exact.log_reward)
    rows = [(star - own) / ALPHA for star, own in zip(target, base_rows(exact.tiny), strict=True)]
    return TableModel(normalised(rows), exact.tiny.vocabulary, name="right")


def converged_model(exact: Exact) -> TableModel:
    """π_r(y) ∝ e^{R(y)/α}, to which the Bradley–Terry loss on preferences by R converges."""
    return TableModel(conditionals(exact.log_reward / ALPHA), exact.tiny.vocabulary, name="converged")


def controller(exact: Exact, model: TableModel) -> FloatArray:
    """[Y] the law of the controller without any rule, from its definition."""
    rows = [own + ALPHA * arm for own, arm in zip(base_rows(exact.tiny), model.rows, strict=True)]
    return law_of(normalised(rows))


def forced(exact: Exact, model: TableModel, task: DecodeTask) -> FloatArray:
    """[Y] the law of the proposal with the factor, by the code that samples."""
    factor = AutoregressiveReward(model, ALPHA, exact.tiny.vocabulary)
    return law_of(NextDraw(table(exact), replace(task, look_ahead=(factor,))).proposal)


def test_the_right_model_gives_the_target(exact: Exact) -> None:
    law = forced(exact, right_model(exact), ungoverned(exact))
    # the factor is held within e^±60 for each token, so that what the rules forbid keeps a mass of e^−60
    assert distance(law, exact.target) < 1e-9
    [result] = Arm(right_model(exact), ALPHA, particles=200).decode(
        table(exact), [ungoverned(exact)], max_tokens=CAP, seed=1
    )
    assert result.log_z_estimate == pytest.approx(exact.log_z, abs=1e-9)
    assert result.ess == pytest.approx(200)


def test_the_converged_model_is_far_off_and_its_weights_repair_it(exact: Exact) -> None:
    model, task = converged_model(exact), ungoverned(exact)
    law = forced(exact, model, task)
    legal = exact.target > 0
    assert law[legal] == pytest.approx(controller(exact, model)[legal], abs=1e-9)
    tv = distance(law, exact.target)
    divergence = float(exact.target[legal] @ (np.log(exact.target[legal]) - law[legal]))
    print(f"controller with the converged reward model: TV {tv:.3f}, KL(p*‖q) {divergence:.3f} nats")
    assert tv > 0.3
    # in closed form: the weighted law of the proposal is p*, and the weights have the mean Z
    weights = exact.log_p0[legal] + exact.log_reward[legal] - law[legal]
    assert np.logaddexp.reduce(law[legal] + weights) == pytest.approx(exact.log_z, abs=1e-9)
    results = Arm(model, ALPHA, particles=64, responses=1, batch_size=4096).decode(
        table(exact), [task] * 150, max_tokens=CAP, seed=2
    )
    estimates = np.exp([result.log_z_estimate - exact.log_z for result in results])
    assert abs(estimates.mean() - 1) < 4 * estimates.std(ddof=1) / math.sqrt(len(estimates)) < 0.5
    assert not any(result.biased for result in results)


def test_uncorrected_responses_follow_the_controller_and_say_so(exact: Exact) -> None:
    decoder = Arm(converged_model(exact), ALPHA, particles=4000, corrected=False, batch_size=4000)
    [result] = decoder.decode(table(exact), [ungoverned(exact)], max_tokens=CAP, seed=3)
    assert (decoder.biased, result.biased) == (True, True)
    assert result.responses == result.samples
    law = np.exp(controller(exact, decoder.reward_model))  # type: ignore[arg-type]
    lengths = np.concatenate([np.full(len(part), depth) for depth, part in enumerate(by_depth(law))])
    legal = exact.target > 0
    mean = float(law[legal] @ lengths[legal] / law[legal].sum())
    drawn = np.array([len(sample.tokens) for sample in result.responses])
    assert abs(drawn.mean() - mean) < 4 * drawn.std() / math.sqrt(len(drawn))
    assert abs(mean - float(exact.target @ lengths)) > 0.1  # p* has another mean length
    assert "converged" in " ".join(result.diagnostics.remarks)


def test_with_rules_the_factor_multiplies_in(exact: Exact) -> None:
    decoder = Arm(converged_model(exact), 0.2, particles=50)
    [result] = decoder.decode(table(exact), [exact.task], max_tokens=CAP, seed=4)
    factor = AutoregressiveReward(converged_model(exact), 0.2, exact.tiny.vocabulary)
    tokens = [sample.tokens for sample in result.samples]
    again = proposal_log_prob(
        table(exact), [(5,)] * len(tokens), tokens, exact.law, exact.twists, CAP, look_ahead=(factor,)
    )
    assert [sample.log_q for sample in result.samples] == pytest.approx(again, abs=1e-9)
    assert all(reward(sample.text) == pytest.approx(sample.log_reward, abs=1e-9) for sample in result.samples)


@pytest.mark.parametrize("alpha", [0.7, -0.4])
def test_as_a_reward_it_changes_the_law(exact: Exact, alpha: float) -> None:
    """p*(y) ∝ p0(y) · e^{R(y)} · π_r(y)^α, by enumeration."""
    tiny = TabularModel(seed=8)
    model = TableModel([tiny.next_log_probs(beginnings(depth)) for depth in range(CAP)], exact.tiny.vocabulary)
    _, log_arm = tiny.enumerate()
    values = exact.log_p0 + exact.log_reward + alpha * log_arm
    log_z = float(np.logaddexp.reduce(values))
    index = {tokens: at for at, tokens in enumerate(exact.responses)}
    results = Arm(model, alpha, rewarding=True, particles=64, batch_size=4096).decode(
        table(exact), [exact.task] * 50, max_tokens=CAP, seed=5
    )
    for sample in results[0].samples:
        assert sample.log_p0 + sample.log_reward == pytest.approx(values[index[sample.tokens]], abs=1e-9)
    estimates = np.exp([result.log_z_estimate - log_z for result in results])
    assert abs(estimates.mean() - 1) < 4 * estimates.std(ddof=1) / math.sqrt(len(estimates)) < 0.5
    assert "the law includes" in results[0].diagnostics.remarks[0]
    # the tree reads the same reward off the factor
    task = replace(exact.task, look_ahead=(AutoregressiveReward(model, alpha, exact.tiny.vocabulary, CAP - 1),))
    [every] = Tree(2000, mode="distinct", together=100).decode(table(exact), [task], max_tokens=CAP - 1, seed=1)
    log_z = np.logaddexp.reduce(shorter(exact)[2] + alpha * enumerate_model(tiny, CAP - 1)[1])
    assert every.log_z_estimate == pytest.approx(log_z, abs=1e-9)


def test_what_does_not_fit_is_refused_and_limits_hold(exact: Exact) -> None:
    vocabulary = exact.tiny.vocabulary
    other = TableModel(base_rows(exact.tiny), Vocabulary((*vocabulary.token_bytes[:4], b"!", None), frozenset({5})))
    with pytest.raises(ModelError, match=r"another vocabulary.*token 4 is b'!' there and b'\.' here"):
        Arm(other).decode(table(exact), [exact.task], max_tokens=CAP, seed=0)
    with pytest.raises(ModelError, match="no number"):
        Arm(converged_model(exact), math.nan).decode(table(exact), [exact.task], max_tokens=CAP, seed=0)
    model = table(exact)
    [result] = Arm(converged_model(exact), ALPHA).decode(
        model, [exact.task], max_tokens=CAP, seed=0, limits=Limits(passes=30)
    )
    assert result.diagnostics.stopped == "passes"
    assert len(model.asked) <= 30
    assert ExactLookAhead.of(exact).values[0][0] == pytest.approx(exact.log_z, abs=1e-9)
