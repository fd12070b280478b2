"""Suffix Metropolis–Hastings against its own transition matrix on a model that is enumerated.

The matrix is built from p0, the rewards and the law of the proposal by the definition of the chain, without the
decoder. Counts of states are compared with the largest total variation of 199 replicates that numpy draws from the
power of the matrix: false alarms 1/200 for each. Other bounds state their own. Seeds are fixed, so a failure is a
change of the code and no bad luck.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from decoding_models import REPLICATES, Tiny, counting, hard, stopping, twists_for

from bylaw.compiler.automata.counts import add
from bylaw.runtime.decoders._chains import acceptance, autocorrelation_time
from bylaw.runtime.decoders.interface import DecodeError, DecodeTask, Diagnostics, PromptLaw, Scorer
from bylaw.runtime.decoders.mh import Mh
from bylaw.runtime.decoders.sir import proposal_log_prob
from bylaw.runtime.models import sample_base
from bylaw.runtime.models.interface import FloatArray, IntArray
from bylaw.runtime.models.metering import Limits
from bylaw.runtime.models.stopping import StoppingModel
from tinymodels import TabularModel, Tokens

CAP = 4


@dataclass(frozen=True)
class Chain:
    """Every legal response, with what the chain's law is made of, and the law by definition."""

    tiny: Tiny | StoppingModel
    task: DecodeTask
    tokens: list[Tokens]
    log_p0: FloatArray
    log_cheap: FloatArray
    log_dear: FloatArray
    log_q: FloatArray
    events: IntArray

    @property
    def target(self) -> FloatArray:
        mass = np.exp(self.log_p0 + self.log_cheap + self.log_dear)
        return np.asarray(mass / mass.sum())

    def matrices(self, *, delayed: bool) -> tuple[FloatArray, FloatArray]:
        """[Y, Y] the transition matrix, and the probability of a step to be accepted from each response."""
        events = self.events
        weight = np.exp(self.log_p0 + self.log_cheap - self.log_q)
        dear = np.exp(self.log_dear)
        moves = np.zeros((len(events), len(events)))
        for cut in range(CAP):
            groups: dict[Tokens, list[int]] = {}
            for row, tokens in enumerate(self.tokens):
                if events[row] > cut:
                    groups.setdefault(tokens[:cut], []).append(row)
            for rows in map(np.array, groups.values()):
                q = np.exp(self.log_q[rows])
                first = (weight / events)[rows]
                ratio, late = first[None, :] / first[:, None], dear[rows][None, :] / dear[rows][:, None]
                staged, whole = np.minimum(1, ratio) * np.minimum(1, late), np.minimum(1, ratio * late)
                accept = staged if delayed else whole
                moves[np.ix_(rows, rows)] += (q / q.sum())[None, :] * accept / events[rows][:, None]
        accepted = moves.sum(axis=1)
        return moves + np.diag(1 - accepted), accepted


def residual(text: str) -> float:
    return -math.inf if text == text[::-1] else 0.3 * text.count("b")


def judge(text: str) -> float:
    return 1.2 if text.startswith("b") else -0.6 * len(text) / CAP


@pytest.fixture(scope="module")
def chain() -> Chain:
    tiny = Tiny(TabularModel(seed=3, max_tokens=CAP))
    groups = (add([hard("ab", absent=True), hard("1"), counting(" ", -0.7)]),)
    law = PromptLaw(groups, residual, (Scorer("judge", judge),))
    twists = twists_for(tiny, groups, CAP, sample_base(tiny, [(5,)], 100, CAP, seed=11)[0])
    responses, log_p0 = tiny.model.enumerate()
    texts = [tiny.vocabulary.text(tokens) for tokens in responses]
    log_q = proposal_log_prob(tiny, [(5,)] * len(responses), responses, law, twists, CAP, batch_size=1000)
    # the proposal covers what the groups allow, palindromes too: it may propose them, and no chain stays there
    by_rules = np.array([-np.inf if "ab" in t or "1" not in t else -0.7 * t.count(" ") for t in texts])
    assert np.exp(log_q[np.isfinite(by_rules)]).sum() == pytest.approx(1, abs=1e-9)
    rows = np.flatnonzero(np.isfinite(by_rules))
    return Chain(
        tiny,
        DecodeTask((5,), law, twists),
        [responses[row] for row in rows],
        log_p0[rows],
        by_rules[rows] + [residual(texts[row]) for row in rows],
        np.array([judge(texts[row]) for row in rows]),
        log_q[rows],
        np.array([min(len(responses[row]) + 1, CAP) for row in rows]),
    )


def legal(chain: Chain) -> IntArray:
    return np.flatnonzero(chain.target > 0)


def matrix_of(chain: Chain, *, delayed: bool) -> tuple[FloatArray, FloatArray]:
    """The matrix on the legal responses; what is proposed beyond them is rejected."""
    with np.errstate(divide="ignore", invalid="ignore"):
        whole, accepted = chain.matrices(delayed=delayed)
    rows = legal(chain)
    return whole[np.ix_(rows, rows)], accepted[rows]


# -------------------------------------------------------------------------------------------------------- closed form
@pytest.mark.parametrize("delayed", [True, False])
def test_the_matrix_balances_and_keeps_the_law(chain: Chain, delayed: bool) -> None:
    matrix, _ = matrix_of(chain, delayed=delayed)
    law = chain.target[legal(chain)]
    assert len(law) > 100
    flow = law[:, None] * matrix
    assert np.abs(flow - flow.T).max() < 1e-12
    assert np.abs(matrix.sum(axis=1) - 1).max() < 1e-12
    assert matrix.min() >= 0
    assert np.abs(law @ matrix - law).max() < 1e-10
    assert 0.5 * np.abs(np.linalg.matrix_power(matrix, 1000) - law).sum(axis=1).max() < 1e-6  # from every start


def stopping_chain() -> Chain:
    """The model as it is, with stop strings and a residual: the end that they make is no event, and cannot be cut."""
    tiny = Tiny(TabularModel(seed=3, max_tokens=CAP))
    model = StoppingModel(tiny, ("b1", "."))
    tokens, log_p0 = stopping(model.vocabulary, *tiny.model.enumerate())
    log_cheap = np.array([residual(model.vocabulary.text(response)) for response in tokens])
    by_end = [len(response) < CAP and not model.vocabulary.stopped(response) for response in tokens]
    events = np.array([len(response) for response in tokens]) + np.array(by_end)
    task = DecodeTask((5,), PromptLaw((), residual), ())
    return Chain(model, task, tokens, log_p0, log_cheap, np.zeros(len(tokens)), log_p0, events)


@pytest.mark.parametrize(
    ("steps", "delayed", "stops"),
    [(1, True, False), (1, False, False), (3, True, False), (6, True, False), (3, True, True)],
)
def test_states_follow_the_powers_of_the_matrix(chain: Chain, steps: int, delayed: bool, stops: bool) -> None:
    chain = stopping_chain() if stops else chain
    rows, walks = legal(chain), 2000
    start = int(np.argsort(chain.target[rows])[len(rows) // 2])
    decoder = Mh(
        steps,
        chains=walks,
        burn_in=steps - 1,
        start=(chain.tokens[rows[start]],),
        delayed=delayed,
        batch_size=walks,
    )
    [result] = decoder.decode(chain.tiny, [chain.task], max_tokens=CAP, seed=4)
    law = np.linalg.matrix_power(matrix_of(chain, delayed=delayed)[0], steps)[start]
    index = {chain.tokens[row]: place for place, row in enumerate(rows)}
    counts = np.bincount([index[sample.tokens] for sample in result.samples], minlength=len(rows))
    drawn = np.random.default_rng(1).multinomial(walks, law / law.sum(), size=REPLICATES)
    distance = 0.5 * np.abs(np.vstack([counts, drawn]) / walks - law).sum(axis=1)
    assert distance[0] <= distance[1:].max()
    if steps == 1:  # the test can tell: where the chain starts it is far from p*
        assert 0.5 * np.abs(counts / walks - chain.target[rows]).sum() > distance[1:].max() + 0.1


def test_kept_states_and_acceptance_are_those_of_the_stationary_chain(chain: Chain) -> None:
    """The acceptance, the mean reward and the share of texts that begin with b, each at 4.5 standard errors: 7e-6."""
    decoder = Mh(steps=120, chains=60, burn_in=20, particles=8, batch_size=600)
    [result] = decoder.decode(chain.tiny, [chain.task], max_tokens=CAP, seed=5)
    assert len(result.samples) == result.particles == 60 * 100
    rows = legal(chain)
    law = chain.target[rows]
    _, accepted = matrix_of(chain, delayed=True)
    rate = result.diagnostics.acceptance
    assert rate is not None
    error = (rate.high - rate.low) / 2 / 1.96
    assert abs(rate.value - law @ accepted) < 4.5 * error
    assert error < 0.02
    rewards = (chain.log_cheap + chain.log_dear)[rows]
    starts = np.array([chain.tiny.vocabulary.text(chain.tokens[row]).startswith("b") for row in rows])
    seen = np.array([[s.log_reward, s.text.startswith("b")] for s in result.samples]).reshape(60, 100, 2)
    for means, wanted in zip(seen.mean(axis=1).T, (law @ rewards, law @ starts), strict=True):
        assert abs(means.mean() - wanted) < 4.5 * means.std(ddof=1) / math.sqrt(60)
    assert 60 < result.ess < 6000
    said = " ".join(result.diagnostics.remarks)
    for part in ("batch means", "changed the response", "the first stage accepted", "autocorrelation time"):
        assert part in said


def test_scorers_are_asked_only_about_what_the_first_stage_accepts(chain: Chain) -> None:
    asked: list[str] = []

    def counted(text: str) -> float:
        asked.append(text)
        return judge(text)

    task = replace(chain.task, law=replace(chain.task.law, scorers=(Scorer("judge", counted),)))
    calls = []
    for delayed in (True, False):
        [result] = Mh(40, particles=4, delayed=delayed).decode(chain.tiny, [task], max_tokens=CAP, seed=6)
        assert result.diagnostics.scorer_calls == len(asked) == len(set(asked))
        calls.append(len(asked))
        asked.clear()
    assert calls[0] < calls[1]
    assert "first stage" not in " ".join(result.diagnostics.remarks)


def test_states_weigh_the_same_and_keep_the_rules(chain: Chain) -> None:
    plain = replace(chain.task, law=replace(chain.task.law, scorers=()))
    [result] = Mh(10, chains=3, burn_in=4, thin=2, particles=40, batch_size=200).decode(
        chain.tiny, [plain], max_tokens=CAP, seed=1
    )
    assert len(result.samples) == 3 * 3
    assert {round(sample.log_weight, 9) for sample in result.samples} == {round(result.log_z_estimate, 9)}
    log_z = float(np.logaddexp.reduce(chain.log_p0 + chain.log_cheap))
    assert result.log_z_estimate == pytest.approx(log_z, abs=0.5)  # 120 draws; their own error is near 0.1
    [result] = Mh(10, chains=3, burn_in=4).decode(chain.tiny, [chain.task], max_tokens=CAP, seed=1)
    assert math.isnan(result.log_z_estimate)
    assert {round(sample.log_weight, 9) for sample in result.samples} == {0.0}
    rows = {tokens: row for row, tokens in enumerate(chain.tokens)}
    for sample in result.samples:
        row = rows[sample.tokens]
        assert sample.log_reward == pytest.approx(chain.task.law.log_reward(sample.text), abs=1e-9)
        assert sample.log_p0 == pytest.approx(chain.log_p0[row], abs=1e-9)
        assert sample.log_q == pytest.approx(chain.log_q[row], abs=1e-9)


# --------------------------------------------------------------------------------------------------- cost and limits
def test_seeds_repeat_and_batches_do_not_matter(chain: Chain) -> None:
    def decode(seed: int, batch_size: int) -> list[object]:
        decoder = Mh(8, chains=3, burn_in=2, particles=5, batch_size=batch_size)
        results = decoder.decode(chain.tiny, [chain.task] * 3, max_tokens=CAP, seed=seed)
        return [replace(r, diagnostics=replace(r.diagnostics, passes=0)) for r in results]

    assert decode(1, 64) == decode(1, 64) == decode(1, 4) == decode(1, 1)
    assert decode(1, 64) != decode(2, 64)
    results = Mh(8, chains=2, burn_in=0).decode(chain.tiny, [chain.task] * 2, max_tokens=CAP, seed=3)
    assert results[0].samples != results[1].samples


def test_a_step_evaluates_only_what_it_regrows(chain: Chain) -> None:
    """With the uniform cut the new part has half of the events on average, and nothing is evaluated to go back."""
    one = chain.tokens[int(np.argmax(chain.target))]
    passes = [
        Mh(steps, burn_in=0, start=(one,))
        .decode(chain.tiny, [chain.task], max_tokens=CAP, seed=7)[0]
        .diagnostics.passes
        for steps in (1, 401)
    ]
    whole = float(chain.target @ chain.events)
    assert 1 <= (passes[1] - passes[0]) / 400 < 0.75 * whole


def test_limits_return_the_states_that_were_reached(chain: Chain) -> None:
    decoder = Mh(30, chains=2, burn_in=5, particles=4)
    free = decoder.decode(chain.tiny, [chain.task] * 2, max_tokens=CAP, seed=1)
    passes = free[0].diagnostics.passes
    for budget in range(passes // 2, passes // 2 + 12):
        limits = Limits(passes=budget)
        cut = decoder.decode(chain.tiny, [chain.task] * 2, max_tokens=CAP, seed=1, limits=limits)
        for early, late in zip(cut, free, strict=True):
            kept = len(early.samples) // 2
            assert 0 < kept < 25
            assert early.samples == (*late.samples[:kept], *late.samples[25 : 25 + kept])
            assert early.diagnostics.stopped == "passes"
            assert early.diagnostics.passes <= budget
            assert f"{5 + kept} of 30 steps were made" in early.diagnostics.remarks[0]
    burning = decoder.decode(chain.tiny, [chain.task], max_tokens=CAP, seed=1, limits=Limits(passes=30))[0]
    assert len(burning.responses) == 2
    assert "before the end of the burn-in" in burning.diagnostics.remarks[0]
    # the shortest text that the rules allow is a palindrome
    plain = replace(chain.task, law=replace(chain.task.law, residual=None))
    nothing = decoder.decode(chain.tiny, [plain], max_tokens=CAP, seed=1, limits=Limits(seconds=0))[0]
    assert (nothing.samples, nothing.diagnostics.stopped) == ((), "deadline")
    assert nothing.rescued is not None
    assert plain.law.log_reward(nothing.rescued) > -math.inf


def test_rows_are_divided_until_they_fit(chain: Chain) -> None:
    decoder = Mh(6, chains=8, burn_in=2, particles=4)
    free = decoder.decode(chain.tiny, [chain.task], max_tokens=CAP, seed=1)
    assert isinstance(chain.tiny, Tiny)
    small = decoder.decode(replace(chain.tiny, room=3), [chain.task], max_tokens=CAP, seed=1)
    assert [replace(r, diagnostics=Diagnostics()) for r in small] == [
        replace(r, diagnostics=Diagnostics()) for r in free
    ]


# ------------------------------------------------------------------------------------------------------------- starts
def test_where_no_chain_can_start_nothing_is_said_to_follow_the_law(chain: Chain) -> None:
    for law in (
        replace(chain.task.law, residual=lambda text: -math.inf),
        replace(chain.task.law, scorers=(Scorer("no", lambda text: -math.inf),)),
    ):
        told: list[str] = []
        [bad, good] = Mh(4, burn_in=0).decode(
            chain.tiny,
            [replace(chain.task, law=law), chain.task],
            max_tokens=CAP,
            seed=1,
            watch=lambda task, text, told=told: told.append(f"{task} {text}"),  # type: ignore[misc]
        )
        assert (bad.samples, bad.responses, bad.log_z_estimate, bad.ess) == ((), (), -math.inf, 0.0)
        assert len(bad.refused) + bad.dead_ends + bad.forbidden >= bad.particles == 16
        assert "no chain could start" in bad.diagnostics.remarks[0]
        assert len(good.samples) == 4
        assert told == [f"1 {good.responses[0].text}"]


def test_a_scorer_that_forbids_is_obeyed_from_the_start(chain: Chain) -> None:
    law = replace(chain.task.law, scorers=(Scorer("b", lambda text: -math.inf if "b" in text else 0.0),))
    [result] = Mh(20, chains=10, burn_in=0, particles=8).decode(
        chain.tiny, [replace(chain.task, law=law)], max_tokens=CAP, seed=1
    )
    assert len(result.samples) == 200
    assert not any("b" in sample.text for sample in result.samples)


@pytest.mark.parametrize(
    ("decoder", "said"),
    [
        (Mh(steps=5, burn_in=5), "leave no state"),
        (Mh(chains=0), "one chain"),
        (Mh(burn_in=-1), "one chain"),
        (Mh(start=((2,), (2,))), "2 responses to start at came with 1 prompts"),
        (Mh(start=((0, 1),)), "prompt 1 starts at breaks a rule"),
        (Mh(start=((2,),)), "prompt 1 starts at breaks a rule"),  # a palindrome
        (Mh(start=((2, 5),)), "no response of the model"),
        (Mh(start=((2,) * 5,)), "no response of the model"),
        (Mh(start=((4, 2, 1),)), "prompt 1 starts at breaks a rule"),  # over after its first token
    ],
)
def test_impossible_settings_and_starts_are_refused(chain: Chain, decoder: Mh, said: str) -> None:
    model = StoppingModel(chain.tiny, (".",)) if (4, 2, 1) in decoder.start else chain.tiny
    with pytest.raises(DecodeError, match=said):
        decoder.decode(model, [chain.task], max_tokens=CAP, seed=0)


# ---------------------------------------------------------------------------------------------------------- statistics
@pytest.mark.parametrize("memory", [0.0, 0.5, 0.9])
def test_autocorrelation_times_of_known_processes(memory: float) -> None:
    """An AR(1) process has (1 + ρ)/(1 − ρ); 40,000 steps give it to a few per cent."""
    noise = np.random.default_rng(0).normal(size=(20, 2000))
    series = np.zeros_like(noise)
    series[:, 0] = noise[:, 0] / math.sqrt(1 - memory**2)
    for step in range(1, 2000):
        series[:, step] = memory * series[:, step - 1] + noise[:, step]
    assert autocorrelation_time([series]) == pytest.approx((1 + memory) / (1 - memory), rel=0.15)
    apart = series + np.arange(20)[:, None] * 100
    assert autocorrelation_time([apart, series]) > 500  # chains that never meet
    assert autocorrelation_time([np.ones((3, 70))]) == 70  # nothing ever changed: nothing is known


def test_intervals_of_the_acceptance() -> None:
    generator = np.random.default_rng(0)
    sticky = np.repeat(generator.random((4, 100)) < 0.3, 10, axis=1)  # decided once for ten steps
    rate, how = acceptance(sticky)
    assert how.endswith("batch means")
    assert rate.value == sticky.mean()
    naive = 1.96 * math.sqrt(rate.value * (1 - rate.value) / sticky.size)
    assert rate.high - rate.low > 2 * 1.5 * naive
    short, how = acceptance(np.array([[True, False, True]]))
    assert how == "as if steps were independent"
    assert 0 < short.low < short.value < short.high < 1
