"""The exact law of Markov models: against enumeration to 1e-9, at a size that cannot be enumerated, and its limits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from itertools import product as all_tuples
from time import process_time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from bylaw.compiler.automata.counts import support
from bylaw.compiler.evaluate import evaluate_term
from bylaw.compiler.law.dual import Sense, solve_dual
from bylaw.compiler.law.gibbs import ExactLaw, kl_divergence
from bylaw.compiler.law.markov import MarkovChain, MarkovLaw, RegulatedChain
from bylaw.compiler.law.markov_automaton import (
    TokenAutomaton,
    TooManyStates,
    from_transitions,
    from_valued,
    product,
)
from bylaw.compiler.law.markov_dual import NoMarkovLaw, extreme, solve_markov_dual
from bylaw.compiler.law.markov_length import length_limit, spectral_radius
from bylaw.compiler.law.numerics import EmptySupport
from bylaw.compiler.law.samples import Population, PromptSamples
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.regular import dfa_of, valued_of
from bylaw.spec.expression import Count, Extent, Holds, MessageText, Not, Phrase
from bylaw.spec.trace import Trace

RESPONSE = MessageText("response")
EXACT = 1e-9
REPEATABLE = settings(max_examples=40, deadline=None, derandomize=True, database=None)


def same(left: object, right: object) -> None:
    np.testing.assert_allclose(np.asarray(left, float), np.asarray(right, float), rtol=EXACT, atol=EXACT)


def random_chain(
    rng: np.random.Generator, tokens: int, longest: int, zeros: float = 0.2, end: float = 0.0
) -> MarkovChain:
    logits = rng.normal(size=(tokens + 1, tokens + 1))
    logits[:, -1] += end
    logits[:, :-1][rng.random((tokens + 1, tokens)) < zeros] = -np.inf  # an end is always possible
    rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return MarkovChain(rows[-1], rows[:-1], longest)


def random_automaton(
    rng: np.random.Generator, states: int, tokens: int, budgets: int, hard: float = 0.15
) -> TokenAutomaton:
    reward = rng.normal(0.0, 0.7, (states, tokens))
    reward[rng.random((states, tokens)) < hard] = -np.inf
    return TokenAutomaton(
        delta=rng.integers(0, states, (states, tokens)),
        start=int(rng.integers(states)),
        reward=reward,
        end_reward=np.where(rng.random(states) < hard, -np.inf, rng.normal(size=states)),
        features=np.round(rng.normal(size=(states, tokens, budgets)), 1),
        end_features=rng.integers(0, 2, (states, budgets)).astype(float),
    )


def all_responses(chain: MarkovChain) -> list[tuple[int, ...]]:
    return [y for length in range(chain.max_tokens + 1) for y in all_tuples(range(chain.vocabulary), repeat=length)]


def enumerated(law: MarkovLaw) -> tuple[list[tuple[int, ...]], ExactLaw]:
    """The same law on the list of all responses, from the definitions alone."""
    chain, automaton = law.space.chain, law.space.automaton
    responses = all_responses(chain)
    rows, end = chain.rows, chain.vocabulary
    log_p0 = []
    for response in responses:
        steps = (end, *response, *((end,) if len(response) < chain.max_tokens else ()))
        log_p0.append(sum(rows[one, other] for one, other in pairwise(steps)))
    totals = [automaton.totals(response) for response in responses]
    reward = np.array([each[0] for each in totals])
    features = np.array([each[1] for each in totals]).reshape(len(totals), automaton.budgets)
    return responses, ExactLaw(np.array(log_p0), reward > -np.inf, reward, features, law.mu)


@st.composite
def markov_laws(draw: st.DrawFn) -> MarkovLaw:
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    tokens, budgets = draw(st.integers(1, 3)), draw(st.integers(0, 3))
    chain = random_chain(rng, tokens, draw(st.integers(0, 5)), end=draw(st.sampled_from((0.0, -3.0))))
    automaton = random_automaton(rng, draw(st.integers(1, 4)), tokens, budgets, draw(st.sampled_from((0.0, 0.15))))
    mu = draw(st.sampled_from((0.0, 0.5, 2.0))) * rng.normal(size=budgets)
    try:
        return RegulatedChain(chain, automaton).law(mu)
    except EmptySupport:
        return RegulatedChain(chain, random_automaton(rng, 2, tokens, budgets, 0.0)).law(mu)


@REPEATABLE
@given(markov_laws())
def test_the_recursion_is_the_enumerated_law(law: MarkovLaw) -> None:
    responses, exact = enumerated(law)
    same(law.log_z, exact.log_z)
    mean, covariance = law.moments()
    same(mean, exact.expectation())
    same(law.expectation(), exact.expectation())
    same(covariance, exact.covariance())
    same(law.kl_to_base(), exact.kl_to_base())
    for response, log_p in zip(responses, exact.log_p, strict=True):
        found = law.log_prob(response)
        assert (found == -np.inf) == (log_p == -np.inf)
        assert found == pytest.approx(log_p, abs=EXACT)
    lengths = np.bincount([len(r) for r in responses], exact.probabilities, minlength=law.space.chain.max_tokens + 1)
    same(law.lengths(), lengths)
    base = np.exp(exact.log_p0)
    same(law.space.base().expectation(), base @ exact.features)
    same(law.space.base().log_z, 0.0)
    automaton = law.space.automaton
    ends = np.zeros(automaton.size)
    for response, chance in zip(responses, exact.probabilities, strict=True):
        state = automaton.start
        for token in response:
            state = automaton.delta[state, token]
        ends[state] += chance
    same(law.end_states(), ends)


@REPEATABLE
@given(markov_laws())
def test_next_token_laws_multiply_to_the_law(law: MarkovLaw) -> None:
    responses, exact = enumerated(law)
    longest = law.space.chain.max_tokens
    for response, log_p in zip(responses, exact.log_p, strict=True):
        if log_p == -np.inf:
            continue
        steps = (*response, law.space.chain.vocabulary)[:longest]
        following = [law.next_log_probs(response[:k]) for k in range(len(steps))]
        assert all(row.max() <= EXACT for row in following)
        same([np.exp(row).sum() for row in following], np.ones(len(following)))
        same(sum(row[token] for row, token in zip(following, steps, strict=True)), log_p)


@REPEATABLE
@given(markov_laws(), st.lists(st.sampled_from(("at most", "at least", "exactly")), min_size=3, max_size=3))
def test_the_exact_dual_finds_the_multipliers(law: MarkovLaw, kinds: list[Sense]) -> None:
    """Bounds are the rates of a law whose multipliers have the right signs: the solved law has to be that one."""
    senses = kinds[: law.mu.size]
    signs = {"at most": np.abs, "at least": lambda x: -np.abs(x), "exactly": lambda x: x}
    star = law.space.law([float(signs[sense](value)) for sense, value in zip(senses, law.mu, strict=True)])
    bounds, _ = star.moments()
    try:
        found = solve_markov_dual(law.space, bounds, senses)
    except NoMarkovLaw as error:
        # Only where the rates are those of a face: within 1e-9 of the extreme of some combination of features.
        _, exact = enumerated(star)
        ahead = (exact.features[exact.support] - bounds) @ error.direction
        assert ahead.min() >= -1e-6 * np.abs(ahead).max(initial=1.0)
        return
    # Features may be constant or dependent, so that multipliers are not unique; the law is.
    _, expected = enumerated(star)
    _, got = enumerated(found.law)
    np.testing.assert_allclose(got.probabilities, expected.probabilities, atol=1e-7)
    np.testing.assert_allclose(found.rate, bounds, atol=1e-8)
    assert found.dual_value == pytest.approx(star.log_z + star.mu @ bounds, abs=EXACT)
    untilted = enumerated(law.space.law())[1]
    assert found.budget_kl == pytest.approx(kl_divergence(got.log_p, untilted.log_p), abs=1e-8)


def test_the_dual_agrees_with_the_one_on_samples() -> None:
    rng = np.random.default_rng(5)
    space = RegulatedChain(random_chain(rng, 3, 5), random_automaton(rng, 3, 3, 2))
    _, exact = enumerated(space.law())
    weight = np.where(exact.support, exact.log_p0 + exact.reward + np.log(exact.log_p0.size), -np.inf)
    population = Population([PromptSamples(weight, exact.features)])
    bounds = exact.expectation() + np.array([-0.4, 0.3])
    mine = solve_markov_dual(space, bounds, ["at most", "at least"])
    other = solve_dual(population, bounds, ["at most", "at least"], tolerance=1e-12, ess_floor=0.0)
    same(mine.mu, other.mu)
    same(mine.budget_kl, other.budget_kl)
    assert (mine.mu * [1, -1] > 0).all()


def test_budgets_that_cannot_hold_are_refused_with_a_certificate() -> None:
    rng = np.random.default_rng(6)
    chain = random_chain(rng, 2, 4, zeros=0.0)
    # Feature 0 counts a token, feature 1 the other one, feature 2 all of them.
    counts = np.zeros((3, 2, 3))
    counts[:, 0, 0] = counts[:, 1, 1] = counts[:, :, 2] = 1.0
    space = RegulatedChain(chain, from_transitions(np.zeros((3, 2)), np.zeros(3), counts, np.zeros((3, 3))))
    senses: list[Sense] = ["at most", "at most", "at least"]
    with pytest.raises(NoMarkovLaw, match="no law meets budget") as caught:
        solve_markov_dual(space, [1.0, 1.0, 3.0], senses)
    _, exact = enumerated(space.law())
    assert caught.value.value > 0.0
    direction = caught.value.direction
    assert (direction * [1, 1, -1] >= 0).all()
    # The certificate, checked on every response: each breaks the weighted sum of the budgets by at least v*.
    assert ((exact.features - [1.0, 1.0, 3.0]) @ direction).min() == pytest.approx(caught.value.value, abs=EXACT)
    with pytest.raises(NoMarkovLaw, match="hard rule"):
        solve_markov_dual(space, [0.0, 2.0, 0.0], senses)
    with pytest.raises(NoMarkovLaw, match="hard rule"):
        solve_markov_dual(space, [2.0, 2.0, 4.0], senses)
    with pytest.raises(NoMarkovLaw, match="no law"):
        solve_markov_dual(space, [1.0, 1.0, 9.0], senses)
    assert solve_markov_dual(space, [1.0, 1.5, 1.8], senses).slack.min() >= -1e-9
    for direction in rng.normal(size=(10, 3)):
        least, features = extreme(space, direction)
        same(least, (exact.features @ direction)[exact.support].min())
        same(features @ direction, least)


def test_samples_follow_the_law() -> None:
    """20,000 draws: the chi-squared statistic of the responses is below its 99.9 % quantile (false alarm 0.1 %)."""
    rng = np.random.default_rng(7)
    law = RegulatedChain(random_chain(rng, 2, 4), random_automaton(rng, 3, 2, 1)).law([0.7])
    responses, exact = enumerated(law)
    place = {response: index for index, response in enumerate(responses)}
    drawn = np.bincount([place[each] for each in law.sample(20_000, rng)], minlength=len(responses))
    expected = 20_000 * exact.probabilities
    assert drawn[expected == 0.0].sum() == 0
    likely = expected >= 5.0
    cells = np.append(drawn[likely], drawn[~likely].sum()), np.append(expected[likely], expected[~likely].sum())
    kept = cells[1] > 0
    statistic = ((cells[0] - cells[1])[kept] ** 2 / cells[1][kept]).sum()
    assert statistic < chi2.ppf(0.999, int(kept.sum()) - 1)


SPELLINGS = ("a", "b ", ". ", "ab")


def term(kind: str, **said: object) -> RewardTerm:
    return RewardTerm(id="t", rule="t", kind=kind, level="user", extent=Extent(0, 1), **said)  # type: ignore[arg-type]


def test_terms_of_a_policy_run_on_tokens() -> None:
    """Compiled terms over characters, read by a model whose tokens are several of them, against the evaluator."""
    mentions = Holds("contain", RESPONSE, (Phrase("b a"),))
    terms = [
        term("hard", holds=Not(Holds("contain", RESPONSE, (Phrase("aa"),)))),
        term("soft", holds=Holds("end_with", RESPONSE, (Phrase("."),)), weight=1.5),
        term("graded", value=Count("words", RESPONSE), weight=-0.2),
    ]
    budgets = [
        term("budget", holds=mentions, sense="at most", bound=0.1, multiplier=-1.0),
        term("budget", value=Count("sentences", RESPONSE), sense="at most", bound=1.0, multiplier=-1.0),
    ]
    rewards, features = [valued_of(each) for each in terms], [valued_of(each) for each in budgets]
    automaton = from_valued(SPELLINGS, [each for each in rewards if each], [each for each in features if each])
    rng = np.random.default_rng(8)
    space = RegulatedChain(random_chain(rng, 4, 5, zeros=0.0), automaton)
    responses = all_responses(space.chain)
    for response in responses:
        trace = Trace(()).answered("".join(SPELLINGS[token] for token in response))
        said = [evaluate_term(each, trace).contribution for each in (*terms, *budgets)]
        reward, counted = automaton.totals(response)
        assert reward == pytest.approx(sum(said[:3]), abs=EXACT)
        same(counted, said[3:])
    found = solve_markov_dual(space, [0.5 * space.law().expectation()[0], 0.8], ["at most", "at most"])
    _, exact = enumerated(found.law)
    same(exact.expectation()[0], 0.5 * space.law().expectation()[0])
    same(found.rate, exact.expectation())


def big_space() -> RegulatedChain:
    """50 tokens, up to 200 of them: some 50^200 responses. No three tokens of the first 20 may stand in a row."""
    rng = np.random.default_rng(9)
    chain = random_chain(rng, 50, 200, zeros=0.3, end=-5.0)
    in_run = np.arange(50) < 20
    delta = np.where(in_run[None, :], np.array([1, 2, 2])[:, None], 0)
    reward = np.zeros((3, 50))
    reward[2, in_run] = -np.inf
    runs = TokenAutomaton(delta, 0, reward, np.zeros(3), np.zeros((3, 50, 0)), np.zeros((3, 0)))
    features = np.zeros((51, 50, 3))
    features[:, :5, 0] = 1.0  # how often a token of the first five
    features[:50, :, 1] = np.eye(50)  # how often a token is repeated
    features[:, :, 2] = 1.0  # how long
    pairs = from_transitions(
        rng.normal(0.0, 0.2, (51, 50)), np.where(np.arange(51) < 40, 0.0, -1.0), features, np.zeros((51, 3))
    )
    return RegulatedChain(chain, product(runs, pairs))


def test_length_200_and_50_tokens() -> None:
    space = big_space()
    start = space.law()
    base = start.expectation()
    bounds = np.array([0.5, 0.5, 1.2]) * base
    started = process_time()
    found = solve_markov_dual(space, bounds, ["at most", "at most", "exactly"])
    seconds = process_time() - started
    np.testing.assert_allclose(found.rate, bounds, rtol=1e-9)
    law = found.law
    # Ways to the same numbers that share little with the recursion for means: lengths by the forward pass, the free
    # energy, and the slope of log Z by a complex-free difference of the whole recursion.
    lengths = law.lengths()
    same(lengths.sum(), 1.0)
    assert lengths @ np.arange(201) == pytest.approx(bounds[2], rel=1e-9)
    step = 1e-4 * np.eye(3)[0]
    slope = (space.law(law.mu - step).log_z - space.law(law.mu + step).log_z) / 2e-4
    assert slope == pytest.approx(found.rate[0], rel=1e-5)
    drawn = law.sample(2000, np.random.default_rng(1))
    assert all(np.isfinite([law.log_prob(each) for each in drawn[:20]]))
    _, covariance = law.moments()
    counted = np.array([space.automaton.totals(each)[1] for each in drawn])
    # Three means of 2,000 draws each: beyond 4 standard errors with probability below 0.02 %.
    assert (np.abs(counted.mean(axis=0) - bounds) <= 4.0 * np.sqrt(np.diag(covariance) / 2000)).all()
    assert seconds < 60.0  # a few seconds on one core; enumeration would have 50^200 responses


def letters_ab(reward_per_b: float, longest: int) -> RegulatedChain:
    """LAW.md §1: each step is a with .5, b with .3 and the end with .2, and every b is rewarded."""
    row = np.log([0.5, 0.3, 0.2])
    reward = np.zeros((3, 2))
    reward[:, 1] = reward_per_b
    return RegulatedChain(MarkovChain(row, np.tile(row, (2, 1)), longest), from_transitions(reward, np.zeros(3)))


def test_a_reward_per_token_can_leave_no_law_without_a_cap() -> None:
    edge = length_limit(letters_ab(np.log(5.0 / 3.0), 10))
    assert not edge.normalisable
    assert edge.spectral_radius == pytest.approx(1.0, abs=1e-12)
    assert "only with a cap" in edge.describe()
    # Z grows by .2 with every token that the cap allows, and by 1 for the response that the cap ends.
    for longest in (10, 1000):
        same(np.exp(letters_ab(np.log(5.0 / 3.0), longest).law().log_z), 0.2 * longest + 1.0)
    below = length_limit(letters_ab(0.4, 10))
    same(below.spectral_radius, 0.5 + 0.3 * np.exp(0.4))
    same(below.log_z, np.log(0.2 / (0.5 - 0.3 * np.exp(0.4))))
    assert below.normalisable
    same(letters_ab(0.4, 2000).law().log_z, below.log_z)
    above = length_limit(letters_ab(1.0, 10))
    assert (above.normalisable, above.log_z) == (False, np.inf)
    same(above.spectral_radius, 0.5 + 0.3 * np.e)


@REPEATABLE
@given(st.integers(0, 2**32), st.sampled_from((0.0, 0.5, 1.5)))
def test_the_limit_of_growing_caps(seed: int, strength: float) -> None:
    """Where the spectral radius is below 1 the laws with a cap converge to log Z, elsewhere Z outgrows all."""
    rng = np.random.default_rng(seed)
    chain = random_chain(rng, 3, 0, zeros=0.4)
    # Every state can end, so that responses which only the cap ends vanish as it grows.
    automaton = replace(random_automaton(rng, 3, 3, 1, hard=0.2), end_reward=rng.normal(size=3))

    def capped(longest: int) -> RegulatedChain:
        return RegulatedChain(MarkovChain(chain.log_start, chain.log_next, longest), automaton)

    found = length_limit(capped(1), [-strength])
    if found.spectral_radius < 0.95:
        assert found.normalisable
        assert capped(800).law([-strength]).log_z == pytest.approx(found.log_z, abs=EXACT)
    elif not found.normalisable:
        assert found.spectral_radius >= 1.0 - 1e-12
        assert found.log_z == np.inf
        assert capped(1600).law([-strength]).log_z > capped(400).law([-strength]).log_z + 0.01


def test_what_never_ends_does_not_count() -> None:
    """After b the model goes on with b for ever: no finite response passes there, whatever it is paid."""
    rows = np.array([[0.5, 0.3, 0.2], [0.0, 1.0, 0.0]])
    with np.errstate(divide="ignore"):
        chain = MarkovChain(np.log(rows[0]), np.log(rows), 5)
    reward = np.zeros((3, 2))
    reward[:, 1] = 4.0
    found = length_limit(RegulatedChain(chain, from_transitions(reward, np.zeros(3))))
    same(found.spectral_radius, 0.5)
    same(found.log_z, np.log(0.2 / 0.5))
    # No ending is allowed but the one at the cap, which is not there without a cap.
    with np.errstate(divide="ignore"):
        endless = MarkovChain(np.log([0.5, 0.5, 0.0]), np.log([[0.5, 0.5, 0.0]] * 2), 5)
    never = length_limit(RegulatedChain(endless, from_transitions(reward, np.zeros(3))))
    assert (never.normalisable, never.log_z) == (False, -np.inf)
    assert "ends by itself" in never.describe()


def test_spectral_radius() -> None:
    rng = np.random.default_rng(3)
    matrix = rng.random((8, 8)) * (rng.random((8, 8)) < 0.4)
    same(spectral_radius(matrix), np.abs(np.linalg.eigvals(matrix)).max())
    triangle = np.triu(np.ones((60, 60)), 1) + 0.5 * np.eye(60)
    assert spectral_radius(triangle) == 0.5  # eigvals of the whole matrix would miss this by a tenth
    assert spectral_radius(np.zeros((0, 0))) == 0.0
    with pytest.raises(ValueError, match="square"):
        spectral_radius([[1.0, -1.0], [0.0, 1.0]])


def test_refusals() -> None:
    rng = np.random.default_rng(4)
    chain = random_chain(rng, 2, 3, zeros=0.0)
    automaton = random_automaton(rng, 2, 2, 1, hard=0.0)
    with pytest.raises(ValueError, match="log_start is not normalised"):
        MarkovChain(chain.log_start - 1.0, chain.log_next, 3)
    with pytest.raises(ValueError, match="max_tokens"):
        MarkovChain(chain.log_start, chain.log_next, -1)
    with pytest.raises(ValueError, match="2 tokens and the automaton reads 3"):
        RegulatedChain(chain, random_automaton(rng, 2, 3, 1))
    with pytest.raises(EmptySupport):
        RegulatedChain(chain, from_transitions(np.full((3, 2), -np.inf), np.full(3, -np.inf)))
    space = RegulatedChain(chain, automaton)
    with pytest.raises(ValueError, match="mu must be 1"):
        space.law([np.inf])
    with pytest.raises(ValueError, match="senses"):
        solve_markov_dual(space, [1.0, 2.0], ["at most"])
    with pytest.raises(ValueError, match="unknown sense"):
        solve_markov_dual(space, [1.0], ["below"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="direction"):
        extreme(space, [np.nan])
    with pytest.raises(ValueError, match="at most 2 tokens"):
        space.law().next_log_probs((0, 1, 0))
    forbidding = RegulatedChain(chain, from_transitions([[-np.inf, 0.0]] * 3, np.zeros(3)))
    with pytest.raises(ValueError, match="never begins"):
        forbidding.law().next_log_probs((0,))
    with pytest.raises(ValueError, match="out of the 2 states"):
        TokenAutomaton([[2, 0]] * 2, 0, np.zeros((2, 2)), np.zeros(2), np.zeros((2, 2, 0)), np.zeros((2, 0)))
    with pytest.raises(ValueError, match="finite"):
        from_transitions(np.zeros((3, 2)), np.zeros(3), np.full((3, 2, 1), np.inf), np.zeros((3, 1)))
    with pytest.raises(TooManyStates):
        product(automaton, random_automaton(rng, 2, 2, 1), limit=1)
    with pytest.raises(ValueError, match="a value for every text"):
        from_valued(["a"], features=[support(dfa_of(Holds("contain", RESPONSE, (Phrase("b"),))))])
