"""Intervals by prompt, held-out accuracy, and conflicts of judgements: planted ones are found, nothing else is."""

import numpy as np
import pytest

from bylaw.compiler.weights.bootstrap import bootstrap_intervals
from bylaw.compiler.weights.conflicts import conflicts
from bylaw.compiler.weights.cycles import shortest_cycles
from bylaw.compiler.weights.fit import SeparableJudgements, fit_weights
from bylaw.compiler.weights.held_out import cluster_rate, held_out_accuracy
from bylaw.compiler.weights.problem import PairProblem, pairs_from_features, pairs_from_order


def simulated(seed, truth, groups=60, within=3):
    """Bradley–Terry judgements of ``within`` pairs a prompt."""
    rng = np.random.default_rng(seed)
    size = groups * within
    group = np.repeat(np.arange(groups), within)
    left, right = rng.integers(-1, 1, (2, size, len(truth))).astype(float)
    wins = rng.random(size) < 1.0 / (1.0 + np.exp(-(left - right) @ np.asarray(truth)))
    better, worse = np.where(wins[:, None], left, right), np.where(wins[:, None], right, left)
    return pairs_from_features("abc"[: len(truth)], better, worse, margin=0.0, group=group)


# ------------------------------------------------------------------------------------------------------- intervals
def test_intervals_cover_the_truth():
    """120 simulations of 95 % intervals of two weights, 60 prompts: 240 intervals, coverage between 87 and 98.7 %.

    With 60 resamples the ends are the second smallest and the second largest, about 93 % at best. A true coverage of
    93 % leaves the range with a probability of about 1 % (the two intervals of a simulation counted as one), a true
    coverage of 80 % in 97 of 100 cases.
    """
    truth = np.array([1.0, 0.5])
    covered = []
    for seed in range(120):
        problem = simulated(seed, truth)
        ends = bootstrap_intervals(problem, resamples=60, seed=seed, loss="logistic", lower=-np.inf)
        assert (ends[:, 0] <= ends[:, 1]).all()
        covered.append((ends[:, 0] <= truth) & (truth <= ends[:, 1]))
    assert 0.87 <= np.mean(covered) <= 0.987


def test_prompts_are_resampled_not_pairs():
    """Every judgement repeated ten times within its prompt says nothing new: the same interval, not a narrower one."""
    problem = simulated(1, [1.0, 0.5])
    repeated = PairProblem(
        problem.names, problem.differences, problem.margin, 10.0 * problem.count, problem.tie, problem.group
    )
    once = bootstrap_intervals(problem, resamples=200, seed=4, loss="logistic")
    again = bootstrap_intervals(repeated, resamples=200, seed=4, loss="logistic")
    np.testing.assert_allclose(once, again, atol=1e-8)
    apart = PairProblem(
        problem.names,
        np.repeat(problem.differences, 10, axis=0),
        np.zeros(10 * problem.pairs),
        np.repeat(problem.count, 10),
        np.zeros(10 * problem.pairs, bool),
        np.arange(10 * problem.pairs),
    )
    narrow = bootstrap_intervals(apart, resamples=200, seed=4, loss="logistic")
    assert (np.diff(narrow) < 0.5 * np.diff(once)).all()


def test_the_same_seed_gives_the_same_intervals():
    problem = simulated(2, [1.0, 0.5])
    for options in ({"loss": "hinge"}, {"loss": "hinge", "l2": 1.0}, {"loss": "logistic"}):
        margin = PairProblem(**(vars(problem) | {"margin": np.ones(problem.pairs)}))
        first = bootstrap_intervals(margin, resamples=20, seed=9, **options)
        np.testing.assert_array_equal(first, bootstrap_intervals(margin, resamples=20, seed=9, **options))
        fitted = fit_weights(margin, **options).weights
        assert np.isfinite(first).all()
        assert (first[:, 0] - 1.0 <= fitted).all()
        assert (fitted <= first[:, 1] + 1.0).all()


def test_what_the_judgements_do_not_say_has_an_infinite_interval():
    differences = np.array([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0]] * 20 + [[0.0, 0.0, 1.0]])
    size = len(differences)
    problem = PairProblem(
        ("often", "never", "once"), differences, np.ones(size), np.ones(size), np.zeros(size, bool), np.arange(size)
    )
    ends = bootstrap_intervals(problem, resamples=60, seed=0, loss="hinge", lower=0.0)
    assert np.isfinite(ends[0]).all()
    assert ends[1].tolist() == [0.0, np.inf]
    assert ends[2].tolist() == [0.0, np.inf], "a third of the resamples do not hold the one judgement"
    boxed = bootstrap_intervals(problem, resamples=60, seed=0, loss="hinge", lower=-1.0, upper=2.0)
    assert boxed[1].tolist() == [-1.0, 2.0]


def test_resamples_whose_weights_run_to_infinity_say_so():
    """One of 12 prompts keeps the weight finite; a third of the resamples lack it."""
    differences = np.array([[1.0]] * 11 + [[-1.0]])
    problem = PairProblem(("a",), differences, np.zeros(12), np.ones(12), np.zeros(12, bool), np.arange(12))
    ends = bootstrap_intervals(problem, resamples=100, seed=0, loss="logistic")
    assert ends[0, 1] == np.inf
    assert 0.0 <= ends[0, 0] < np.log(11.0)
    both = bootstrap_intervals(problem.selected(np.arange(11)), resamples=20, seed=0, loss="logistic")
    assert both[0, 1] == np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resamples": 1}, "resamples must be at least 2"),
        ({"level": 1.0}, "level must be between"),
        ({"l2": -1.0}, "l2 must be"),
        ({"folds": 1}, "folds must be from 2 to the number of prompts"),
        ({"folds": 61}, r"number of prompts \(60\)"),
    ],
)
def test_wrong_arguments_are_named(change, message):
    problem = simulated(0, [1.0, 0.5])
    options = {"loss": "logistic", "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        held_out_accuracy(problem, **options) if "folds" in change else bootstrap_intervals(
            problem, **({"resamples": 10} | options)
        )


def test_one_prompt_has_no_interval():
    problem = simulated(0, [1.0, 0.5])
    alone = problem.selected(problem.group == 0)
    with pytest.raises(ValueError, match="single prompt"):
        bootstrap_intervals(alone, resamples=10, seed=0, loss="logistic", l2=1.0)


# --------------------------------------------------------------------------------------------------------- held out
def test_held_out_accuracy_is_that_of_fits_without_the_fold():
    """Leave one prompt out, written out by hand."""
    problem = simulated(5, [2.0, 0.3, 0.0], groups=12)
    found = held_out_accuracy(problem, folds=12, seed=3, loss="logistic", l2=0.5)
    right = total = 0.0
    for prompt in range(12):
        rest = problem.selected(problem.group != prompt)
        score = problem.differences[problem.group == prompt] @ fit_weights(rest, loss="logistic", l2=0.5).weights
        count = problem.count[problem.group == prompt]
        right += count @ np.where(np.abs(score) < 1e-9, 0.5, score > 0.0)
        total += count.sum()
    assert found.rate == pytest.approx(right / total)
    assert found.interval[0] < found.rate < found.interval[1]
    assert (found.judgements, found.groups, found.folds) == (total, 12, 12)


def test_fitted_weights_beat_equal_ones_where_they_should():
    """A rule whose true weight is negative in effect misleads equal weights; the gain's interval excludes zero."""
    problem = simulated(6, [2.5, 0.0, 0.0], groups=150)
    found = held_out_accuracy(problem, folds=5, seed=1, loss="logistic")
    assert found.gain == pytest.approx(found.rate - found.baseline.rate)
    assert found.gain_interval[0] > 0.0
    assert found.single.rate > found.baseline.rate
    noise = simulated(7, [0.0, 0.0, 0.0], groups=150)
    blind = held_out_accuracy(noise, folds=5, seed=1, loss="logistic")
    assert blind.interval[0] < 0.5 < blind.interval[1]


def test_the_interval_of_a_rate_allows_for_prompts():
    """Judgements that agree within a prompt: 400 simulated 95 % intervals cover in 91–98 % (5 σ around 94.5 %)."""
    rng = np.random.default_rng(12)
    covered = naive = 0
    group = np.repeat(np.arange(40), 10)
    for _ in range(400):
        values = np.repeat((rng.random(40) < 0.7).astype(float), 10)
        low, high = cluster_rate(values, np.ones(400), group).interval
        covered += low <= 0.7 <= high
        low, high = cluster_rate(values, np.ones(400), np.arange(400)).interval
        naive += low <= 0.7 <= high
    assert 0.91 <= covered / 400 <= 0.98
    assert naive / 400 < 0.7, "the test could not tell otherwise"
    low, high = cluster_rate(np.ones(50), np.ones(50), np.repeat(np.arange(5), 10)).interval
    assert high == pytest.approx(1.0)
    assert low < 0.6, "five prompts, all right, are not certainty"


def test_ties_are_counted_apart():
    better = [[0.0], [0.0], [-1.0], [0.0]] * 6
    worse = [[-1.0], [-1.0], [0.0], [-1.0]] * 6
    tie = [False, False, False, True] * 6
    problem = pairs_from_features("a", better, worse, tie=tie, group=np.repeat(np.arange(6), 4))
    found = held_out_accuracy(problem, folds=3, seed=0, loss="hinge")
    assert (found.judgements, found.tied_judgements, found.ties) == (18.0, 6.0, 1.0)
    assert found.rate == pytest.approx(2.0 / 3.0)
    with pytest.raises(ValueError, match="no strict pair"):
        held_out_accuracy(problem.selected(problem.tie), folds=2, seed=0, loss="hinge")


# -------------------------------------------------------------------------------------------------------- conflicts
def classed(classes, judged, names="abcdefgh", **more):
    """Judgements between rows of ``classes``: (better, worse)."""
    table = np.asarray(classes, dtype=float)
    better, worse = np.array(judged).reshape(-1, 2).T
    return pairs_from_features(names[: table.shape[1]], table[better], table[worse], **more), table


def by_features(problem, found):
    return tuple(tuple(problem.classes[index]) for index in found)


def test_planted_cycles_and_contradictions_are_found_and_nothing_else():
    """40 random consistent judgements by true weights; then a cycle of three, one of four, and one contradiction."""
    rng = np.random.default_rng(0)
    table = np.unique(rng.integers(-2, 1, (60, 5)), axis=0).astype(float)
    score = table @ np.array([1.0, 1.37, 2.11, 3.3, 5.7])
    order = np.argsort(-score)
    assert len(np.unique(score)) == len(score)
    consistent = [(order[i], order[j]) for i in range(30) for j in (i + 1, i + 7)]
    clean, _ = classed(table, consistent)
    assert conflicts(clean).nothing
    assert conflicts(clean).judgements == len(consistent)

    # Each planted loop lies within a stretch of the order that no other loop touches.
    three = [(order[0], order[1]), (order[1], order[2]), (order[2], order[0])]
    four = [(order[10], order[11]), (order[11], order[12]), (order[12], order[13]), (order[13], order[10])]
    twice = [(order[21], order[20])]
    problem, _ = classed(table, [*consistent, *three, *four, *twice])
    found = conflicts(problem)
    assert [len(cycle.path) for cycle in found.cycles] == [3, 4]
    assert set(by_features(problem, found.cycles[0].path)) == {tuple(table[index]) for index in order[0:3]}
    assert set(by_features(problem, found.cycles[1].path)) == {tuple(table[index]) for index in order[10:14]}
    edges = dict(zip(zip(problem.better.tolist(), problem.worse.tolist(), strict=True), problem.count, strict=True))
    for cycle in found.cycles:
        steps = zip(cycle.path, cycle.path[1:] + cycle.path[:1], strict=True)
        assert all(edges.get(step, 0.0) > 0.0 for step in steps)
    (one,) = found.contradictions
    assert set(by_features(problem, (one.first, one.second))) == {tuple(table[order[20]]), tuple(table[order[21]])}
    assert (one.first_better, one.second_better, one.equal) == (1.0, 1.0, 0.0)
    assert not found.inexpressible
    assert not found.nothing


def test_counts_stay_apart_and_are_not_netted():
    problem, _ = classed([[0.0], [-1.0]], [(0, 1)] * 5 + [(1, 0)] * 2)
    (one,) = conflicts(problem).contradictions
    assert {one.first_better, one.second_better} == {5.0, 2.0}
    tied, _ = classed([[0.0], [-1.0]], [(0, 1), (1, 0)], tie=[False, True])
    (one,) = conflicts(tied).contradictions
    assert {one.first_better, one.second_better, one.equal} == {0.0, 1.0}
    assert one.equal == 1.0
    agreed, _ = classed([[0.0], [-1.0]], [(0, 1), (0, 1)], tie=[True, True])
    assert conflicts(agreed).nothing


def test_equal_features_that_were_judged_different():
    problem, _ = classed([[0.0], [-1.0]], [(0, 0), (0, 1)])
    (one,) = conflicts(problem).contradictions
    assert one.first == one.second
    assert problem.classes[one.first].tolist() == [0.0]


def test_a_chain_of_contradictions_is_not_a_cycle():
    problem, _ = classed([[0.0], [-1.0], [-2.0]], [(0, 1), (1, 0), (1, 2), (2, 1)])
    found = conflicts(problem)
    assert len(found.contradictions) == 2
    assert not found.cycles


def test_the_shortest_cycle_agrees_with_enumeration():
    rng = np.random.default_rng(4)
    seen = 0
    for _ in range(60):
        size = int(rng.integers(3, 7))
        judged = [(i, j) for i, j in rng.integers(0, size, (2 * size, 2)) if i != j]
        problem, _ = classed(np.arange(size)[:, None], judged)
        edges = set(zip(problem.better.tolist(), problem.worse.tolist(), strict=True))
        best = {}
        for cycle in simple_cycles(edges, len(problem.classes)):
            key = frozenset(reachable(edges, cycle[0]) & reachable({(b, a) for a, b in edges}, cycle[0]))
            best[key] = min(best.get(key, 99), len(cycle))
        found = {frozenset(cycle.members): len(cycle.path) for cycle in conflicts(problem).cycles}
        assert found == best
        seen += len(best)
    assert seen > 20


def test_the_shortest_cycle_through_the_first_node_agrees_with_enumeration():
    rng = np.random.default_rng(5)
    seen = 0
    for _ in range(60):
        size = int(rng.integers(4, 8))
        edges = {(i, j) for i, j in rng.integers(0, size, (3 * size, 2)).tolist() if i != j}
        edges -= {(j, i) for i, j in edges if i < j}
        best = {}
        for cycle in simple_cycles(edges, size):
            group = reachable(edges, cycle[0]) & reachable({(b, a) for a, b in edges}, cycle[0])
            if cycle[0] == min(group):
                best[tuple(sorted(group))] = min(best.get(tuple(sorted(group)), 99), len(cycle))
        found = shortest_cycles(sorted(edges), through_first=True)
        assert [(members, len(path)) for path, members in found] == sorted(best.items())
        for path, members in found:
            assert path[0] == members[0]
            assert set(zip(path, path[1:] + path[:1], strict=True)) <= edges
        seen += len(best)
    assert seen > 20
    assert shortest_cycles([]) == []
    with pytest.raises(ValueError, match="set contradictions aside"):
        shortest_cycles([(0, 1), (1, 0)], through_first=True)


def simple_cycles(edges, size):
    """All simple cycles of three or more nodes, by depth-first search from their smallest node."""

    def walk(path):
        for there in range(size):
            if (path[-1], there) not in edges:
                continue
            if there == path[0] and len(path) > 2:
                yield path
            if there > path[0] and there not in path:
                yield from walk([*path, there])

    for start in range(size):
        yield from walk([start])


def reachable(edges, start):
    found, queue = {start}, [start]
    while queue:
        here = queue.pop()
        new = {there for at, there in edges if at == here} - found
        found |= new
        queue.extend(new)
    return found


def test_orderings_that_no_weights_can_express_come_with_a_minimal_certificate():
    """Keeping one more rule made a response worse, in a way that only the sum of two judgements shows."""
    classes = [[0.0, -1.0, 0.0], [-1.0, 0.0, 0.0], [-1.0, 0.0, -1.0], [0.0, -1.0, -1.0], [0.0, 0.0, 0.0]]
    # a outweighs b without c, b outweighs a with c: as judgements consistent, as weights not.
    problem, _ = classed(classes, [(0, 1), (2, 3), (4, 0)], names="abc")
    found = conflicts(problem)
    assert not found.contradictions
    assert not found.cycles
    (one,) = found.inexpressible
    assert sorted(one.multipliers) == pytest.approx([0.5, 0.5])
    assert one.combination == pytest.approx(np.zeros(3), abs=1e-9)
    named = {by_features(problem, pair) for pair in one.pairs}
    assert named == {(tuple(classes[0]), tuple(classes[1])), (tuple(classes[2]), tuple(classes[3]))}
    # Breaking more is judged better: impossible for weights ≥ 0, a matter of sign for free ones.
    worse, _ = classed([[0.0], [-1.0]], [(1, 0)])
    assert len(conflicts(worse).inexpressible) == 1
    assert conflicts(worse, nonnegative=False).nothing
    # The order of two weights is a reason too.
    swapped, _ = classed([[0.0, -1.0], [-1.0, 0.0]], [(1, 0)])
    assert conflicts(swapped).nothing
    assert len(conflicts(swapped, monotone=[(0, 1)]).inexpressible) == 1


def test_minimal_sets_are_minimal_and_what_is_left_can_be_expressed():
    """Random judgements: every set is infeasible, no proper subset is, and without the sets a separating w exists."""
    from scipy.optimize import linprog

    def separable(differences):
        answer = linprog(np.zeros(4), A_ub=-differences, b_ub=-np.ones(len(differences)), bounds=(0, None))
        return answer.status == 0

    rng = np.random.default_rng(7)
    sets = 0
    for _ in range(25):
        table = np.unique(rng.integers(-2, 1, (12, 4)), axis=0).astype(float)
        ranks = rng.permutation(len(table))
        judged = [(i, j) for i, j in rng.integers(0, len(table), (12, 2)) if ranks[i] < ranks[j]]
        if not judged:
            continue
        problem, _ = classed(table, judged)
        found = conflicts(problem)
        assert not found.cycles
        gone = set()
        for one in found.inexpressible:
            differences = np.array([problem.classes[a] - problem.classes[b] for a, b in one.pairs])
            assert (one.combination <= 1e-9).all()
            np.testing.assert_allclose(np.array(one.multipliers) @ differences, one.combination, atol=1e-9)
            assert not separable(differences)
            for index in range(len(differences)):
                assert len(differences) == 1 or separable(np.delete(differences, index, axis=0))
            gone |= {tuple(row) for row in differences}
            sets += 1
        left = np.array([row for row in problem.differences if tuple(row) not in gone]).reshape(-1, 4)
        assert len(left) == 0 or separable(left)
    assert sets > 10


def test_conflicts_need_to_know_the_responses():
    bare = PairProblem(("a",), np.ones((1, 1)), np.ones(1), np.ones(1), np.zeros(1, bool), np.zeros(1, int))
    with pytest.raises(ValueError, match="classes of the problem are not known"):
        conflicts(bare)


def test_no_conflicts_means_the_logistic_loss_has_no_minimum_and_the_reverse():
    """With weights ≥ 0 and strict judgements only: nothing found ⇔ all judgements can be met for ever better."""
    rng = np.random.default_rng(21)
    kinds = set()
    for _ in range(30):
        table = np.unique(rng.integers(-1, 1, (8, 3)), axis=0).astype(float)
        problem = pairs_from_order("abc", table, rng.integers(0, 3, len(table)))
        if problem.pairs == 0:
            continue
        nothing = conflicts(problem).nothing
        kinds.add(nothing)
        if nothing:
            assert fit_weights(problem, loss="hinge").loss == pytest.approx(0.0, abs=1e-12)
            with pytest.raises(SeparableJudgements):
                fit_weights(problem, loss="logistic")
        else:
            assert fit_weights(problem, loss="hinge").loss > 1e-6
    assert kinds == {True, False}
