"""The law of the next token class against plain-Python references: smoothing, places, the choice of both."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from tinylanguage import Tiny

from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, linear, scale, support
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.models import BaseSample, Vocabulary, sample_base
from bylaw.runtime.models.interface import FloatArray
from bylaw.runtime.models.sampling import BESIDE
from bylaw.runtime.twist import SamplePool, Twist, build_twist
from bylaw.runtime.twist.build import boundary_blocks
from bylaw.runtime.twist.counting import count_samples
from bylaw.runtime.twist.proxy import LEAST, fit_law, leave_one_out
from bylaw.spec.pattern import parse_pattern
from tinymodels import TabularModel, Tokens

CAP = 6
PIECES = (b"a", b"b", b"1", b" ", b".", None)
VOCABULARY = Vocabulary(PIECES, frozenset({5}))
END = 5


def rules() -> Valued:
    """Must-not `ab`, must-contain `1`, minus 0.7 nats for each space."""
    never = support(language(parse_pattern("ab"), "search").complement())
    once = support(language(parse_pattern("1"), "search"))
    spaces = occurrences(parse_pattern(" "))
    assert spaces is not None
    return add([never, once, scale(linear(spaces), -0.7)])


def drawn(seed: int, count: int) -> list[BaseSample]:
    responses = TabularModel(seed=seed).sample(count, np.random.default_rng(seed + 50))
    return [BaseSample(tokens, "", 0.0, len(tokens) < CAP) for tokens in responses]


def events_by_hand(automaton: TokenAutomaton, samples: list[BaseSample]) -> list[tuple[int, int, int]]:
    """(state, class or −1 for the end, place) of everything that happened."""
    found = []
    for sample in samples:
        state = automaton.start
        for place, token in enumerate((*sample.tokens, END) if sample.ended else sample.tokens):
            if state < 0:
                break
            found.append((state, -1 if token == END else int(automaton.class_of[token]), place))
            if token != END:
                state = int(automaton.step(np.array([state]), np.array([token]))[0][0])
    return found


def test_events_are_what_happened() -> None:
    automaton = TokenAutomaton(rules(), PIECES)
    samples = drawn(3, 60)
    stretch_of = np.array([0, 1, 1, 2, 2, 2, 3])
    blocks = boundary_blocks(automaton, CAP)
    events = count_samples(automaton, SamplePool.of(samples), blocks, stretch_of)
    expected = Counter(
        (state, label, int(stretch_of[place])) for state, label, place in events_by_hand(automaton, samples)
    )
    kinds = zip(events.column.tolist(), events.label.tolist(), events.stretch.tolist(), strict=True)
    assert dict(zip(kinds, events.count.tolist(), strict=True)) == dict(expected)
    assert events.tokens.tolist() == [sum(s.tokens.count(token) for s in samples) for token in range(6)]


def test_leave_one_out_is_every_event_predicted_from_the_others() -> None:
    seen = [("x", 3), ("y", 1), ("z", 6)]
    prior = {"x": 0.2, "y": 0.5, "z": 0.1}
    expected = sum(count * math.log((count - 1 + 2.5 * prior[kind]) / (10 - 1 + 2.5)) for kind, count in seen)
    counts = np.array([float(count) for _, count in seen])
    priors = np.array([prior[kind] for kind, _ in seen])
    assert leave_one_out(counts, np.full(3, 10.0), priors, 2.5) == pytest.approx(expected, abs=1e-12)


def values_by_hand(twist: Twist, samples: list[BaseSample], left: int) -> list[float]:
    """log V̂ of all states by recursion over single tokens with the smoothing that the twist chose, in Python floats."""
    automaton, proxy = twist.automaton, twist.proxy
    assert proxy is not None
    events = [(s, c, place) for s, c, place in events_by_hand(automaton, samples)]
    in_state, at_state = Counter((s, c) for s, c, _ in events), Counter(s for s, _, _ in events)
    here, at_here = Counter(events), Counter((s, stretch) for s, _, stretch in events)
    spoken = Counter(token for sample in samples for token in sample.tokens)
    ends = sum(count for (_, label), count in in_state.items() if label == -1)
    total, kinds = sum(spoken.values()) + ends, len(spoken) + (ends > 0)
    alone = {token: (spoken[token] + kinds / 6) / (total + kinds) for token in range(5)}
    alone[END] = (ends + kinds / 6) / (total + kinds)

    def law(state: int, token: int, stretch: int) -> float:
        label = -1 if token == END else int(automaton.class_of[token])
        same = [END] if token == END else [t for t in range(5) if automaton.class_of[t] == label]
        mass = sum(alone[t] for t in same)
        k1, k2 = proxy.state_smoothing, proxy.position_smoothing
        by_state = (in_state[state, label] + k1 * mass) / (at_state[state] + k1)
        if k2 < math.inf:
            by_state = (here[state, label, stretch] + k2 * by_state) / (at_here[state, stretch] + k2)
        return by_state * alone[token] / mass

    @cache
    def value(state: int, left: int) -> float:
        final = math.exp(float(automaton.final(np.array([state]))[0]))
        if left == 0:
            return final
        stretch = CAP - left
        found = law(state, END, stretch) * final
        for token in range(5):
            following, paid = automaton.step(np.array([state]), np.array([token]))
            if following[0] >= 0:
                found += law(state, token, stretch) * math.exp(float(paid[0])) * value(int(following[0]), left - 1)
        return found

    found = [value(state, left) for state in range(automaton.size)]
    return [math.log(one) if one > 0 else -math.inf for one in found]


@pytest.mark.parametrize("seed", [1, 3])
def test_value_is_the_backward_programme_of_the_law_that_was_chosen(seed: int) -> None:
    samples = drawn(seed, 400)
    twist = build_twist(TokenAutomaton(rules(), PIECES), VOCABULARY, samples, CAP)
    assert twist.proxy is not None
    assert math.isfinite(twist.proxy.position_smoothing)  # the tabular law does depend on the place
    for left in (0, 1, 3, 4):
        expected = values_by_hand(twist, samples, left)
        found = twist.value(np.arange(twist.automaton.size, dtype=np.int32), left)
        assert found == pytest.approx(np.array(expected), abs=1e-9)


def test_the_choice_has_the_least_loss_of_all_that_are_tried() -> None:
    automaton = TokenAutomaton(rules(), PIECES)
    blocks, pool = boundary_blocks(automaton, CAP), SamplePool.of(drawn(3, 300))
    flat = count_samples(automaton, pool, blocks, np.zeros(CAP + 1, dtype=np.int64))
    apart = count_samples(automaton, pool, blocks, np.arange(CAP + 1))
    chosen = fit_law(automaton, VOCABULARY, blocks, flat).proxy
    fixed = [fit_law(automaton, VOCABULARY, blocks, flat, float(k)).proxy for k in (4, 8, 16, 64, 256, 4096)]
    assert chosen.bits <= min(proxy.bits for proxy in fixed) + 1e-3
    assert fit_law(automaton, VOCABULARY, blocks, apart).proxy.bits < chosen.bits
    assert chosen.state_smoothing >= LEAST
    assert chosen.events == flat.count.sum() == apart.count.sum()


def test_places_are_not_told_apart_where_that_does_not_help() -> None:
    # tokens drawn independently of everything: no condition helps
    rng = np.random.default_rng(5)
    samples = [BaseSample(tuple(rng.integers(0, 5, CAP).tolist()), "", 0.0, False) for _ in range(400)]
    twist = build_twist(TokenAutomaton(rules(), PIECES), VOCABULARY, samples, CAP)
    assert twist.proxy is not None
    assert twist.proxy.state_smoothing > 50
    assert twist.proxy.position_smoothing > 500


def test_without_samples_there_is_a_law_all_the_same() -> None:
    twist = build_twist(TokenAutomaton(rules(), PIECES), VOCABULARY, [], CAP)
    assert twist.proxy is not None
    assert (twist.proxy.samples, twist.proxy.events) == (0, 0)
    assert np.isfinite(twist.log_z())


def divergence(model: TabularModel, twist: Twist) -> float:
    """KL(q ‖ p*) of the proposal in nats, both enumerated."""
    automaton = twist.automaton
    prefixes: list[tuple[Tokens, int, float, float, float]] = [((), automaton.start, 0.0, 0.0, 0.0)]
    found: list[tuple[float, float]] = []
    rows = [automaton.row(state) for state in range(automaton.size)]
    finals = automaton.final(np.arange(automaton.size, dtype=np.int32))
    for step in range(CAP):
        laws = model.next_log_probs([prefix for prefix, *_ in prefixes])
        ahead = twist.look_ahead(np.array([state for _, state, *_ in prefixes], dtype=np.int32), CAP - step - 1)
        after: list[tuple[Tokens, int, float, float, float]] = []
        for (prefix, state, log_p, log_q, reward), law, factors in zip(prefixes, laws, ahead, strict=True):
            final = float(finals[state])
            scores: FloatArray = law + np.append(factors[:5], final)
            scores = scores - np.logaddexp.reduce(scores)
            following, paid = rows[state]
            if math.isfinite(final):
                found.append((log_q + scores[5], log_p + law[5] + reward + final))
            after += [
                (
                    (*prefix, token),
                    int(following[token]),
                    log_p + law[token],
                    log_q + scores[token],
                    reward + paid[token],
                )
                for token in range(5)
                if np.isfinite(scores[token])
            ]
        prefixes = after
    found += [(log_q, log_p + reward + float(finals[state])) for _, state, log_p, log_q, reward in prefixes]
    log_q, joint = np.array(found).T
    assert np.exp(log_q).sum() == pytest.approx(1, abs=1e-9)
    return float(np.exp(log_q) @ (log_q - joint) + np.logaddexp.reduce(joint))


def test_the_proposal_is_closer_to_the_law_than_with_a_guessed_constant() -> None:
    """Both are enumerated; the table of all that was tried is tests/bench/decoding/bench_proxy.txt."""
    before, now = [], []
    for seed in (0, 1):
        automaton = TokenAutomaton(rules(), PIECES)
        samples = drawn(seed, 512)
        for smoothing, found in ((4.0, before), (None, now)):
            twist = build_twist(automaton, VOCABULARY, samples, CAP, smoothing=smoothing)
            found.append(divergence(TabularModel(seed=seed), twist))
    assert min(*before, *now) > 0
    assert np.mean(now) < np.mean(before)


# ------------------------------------------------------------------------------------- draws beside what was said
def beside(samples: list[BaseSample], seed: int, table: TabularModel, width: int = 7) -> list[BaseSample]:
    """The samples with `width` further draws at each place, the end as -1."""
    rng = np.random.default_rng(seed)
    found = []
    for sample in samples:
        law = [np.exp(table.next_log_probs([sample.tokens[:k]])[0]) for k in range(len(sample.tokens) + sample.ended)]
        more = [np.where((row := rng.choice(6, size=width, p=p / p.sum())) == END, -1, row) for p in law]
        found.append(replace(sample, beside=np.array(more, dtype="<i4").tobytes()))
    return found


def test_draws_beside_are_counted_in_equal_shares() -> None:
    automaton = TokenAutomaton(rules(), PIECES)
    samples = beside(drawn(3, 40), 1, TabularModel(seed=3))
    events = count_samples(automaton, SamplePool.of(samples), boundary_blocks(automaton, CAP), np.arange(CAP + 1))
    expected: Counter[tuple[int, int, int]] = Counter()
    squares: Counter[tuple[int, int, int]] = Counter()
    for sample in samples:
        state = automaton.start
        rows = np.frombuffer(sample.beside, dtype="<i4").reshape(-1, 7)
        for place, row in enumerate(rows):
            if state < 0:
                break
            said = sample.tokens[place] if place < len(sample.tokens) else -1
            here = Counter(-1 if token < 0 else int(automaton.class_of[token]) for token in (said, *row))
            for label, often in here.items():
                expected[state, label, place] += often / 8  # type: ignore[assignment]
                squares[state, label, place] += (often / 8) ** 2  # type: ignore[assignment]
            if said >= 0:
                state = int(automaton.step(np.array([state]), np.array([said]))[0][0])
    keys = list(zip(events.column.tolist(), events.label.tolist(), events.stretch.tolist(), strict=True))
    assert dict(zip(keys, events.count.tolist(), strict=True)) == pytest.approx(dict(expected))
    own = {key: squares[key] / expected[key] for key in expected}
    assert dict(zip(keys, events.own.tolist(), strict=True)) == pytest.approx(own)
    said = {token for sample in samples for token in sample.tokens}
    assert events.kinds == len(said) + 1
    assert events.tokens.sum() + events.ends <= sum(len(sample.tokens) + sample.ended for sample in samples) + 1e-9


def test_draws_beside_bring_the_look_ahead_nearer_to_the_truth() -> None:
    """The spread of log V-hat of the empty response over sets of base samples: what is counted on more varies less."""
    table, automaton = TabularModel(seed=3), TokenAutomaton(rules(), PIECES)
    with_more, without = [], []
    for seed in range(30):
        samples = [
            BaseSample(tokens, "", 0.0, len(tokens) < CAP) for tokens in table.sample(60, np.random.default_rng(seed))
        ]
        without.append(build_twist(automaton, VOCABULARY, samples, CAP).log_z())
        with_more.append(build_twist(automaton, VOCABULARY, beside(samples, seed, table, 16), CAP).log_z())
    # fixed seeds; the ratio of two variances of 30 draws is beyond 2 by chance less often than once in 30
    assert np.var(without) > 2 * np.var(with_more)


def test_samples_of_the_model_carry_draws_beside() -> None:
    [samples] = sample_base(Tiny(TabularModel(seed=3)), [(0,)], 400, CAP, seed=0)
    pool = SamplePool.of(samples)
    assert pool.beside.shape == (int((pool.lengths + pool.ended).sum()), BESIDE)
    first = pool.beside[pool.place].reshape(-1)
    law = np.exp(TabularModel(seed=3).next_log_probs([()])[0])
    for token, share in enumerate((*law[:END], law[END])):
        seen = np.mean(first == (token if token < END else -1))
        assert abs(seen - share) < 5 * math.sqrt(share * (1 - share) / len(first))  # false alarm: below 1e-6 each
    assert [sample.tokens for sample in samples] == [
        sample.tokens for sample in sample_base(Tiny(TabularModel(seed=3)), [(0,)], 400, CAP, seed=0, batch_size=7)[0]
    ]


def test_pools_without_draws_beside_for_all_samples_use_none() -> None:
    samples = beside(drawn(3, 5), 1, TabularModel(seed=3))
    assert SamplePool.of(samples).beside.shape[1] == 7
    assert SamplePool.of([*samples, *drawn(4, 1)]).beside.shape[1] == 0
    assert SamplePool.of([]).beside.shape == (0, 0)
