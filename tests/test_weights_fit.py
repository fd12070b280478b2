"""Fitted weights against scipy's general solvers, torch's AdamW, closed forms and their own certificates."""

import importlib.util
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, linprog, minimize
from scipy.sparse import csr_array, eye_array, hstack

from bylaw.compiler.weights.conflicts import conflicts
from bylaw.compiler.weights.fit import SeparableJudgements, fit_weights
from bylaw.compiler.weights.problem import PairProblem, pairs_from_features, pairs_from_order

BENCH = Path(__file__).parent / "bench" / "bench_weights.py"
GOLD = Path(__file__).resolve().parents[2] / "shared" / "data" / "openai_rbr"
LETTERS = "abcdefgh"


def made(differences, margin=1.0, count=1.0, tie=False, group=None):
    """A problem from bare differences."""
    matrix = np.atleast_2d(np.asarray(differences, dtype=float))
    pairs = matrix.shape[0]
    return PairProblem(
        names=tuple(LETTERS[: matrix.shape[1]]),
        differences=matrix,
        margin=np.broadcast_to(np.asarray(margin, dtype=float), (pairs,)),
        count=np.broadcast_to(np.asarray(count, dtype=float), (pairs,)),
        tie=np.broadcast_to(np.asarray(tie), (pairs,)),
        group=np.arange(pairs) if group is None else np.asarray(group),
    )


def losses_of(problem, loss, weights):
    """Each row's loss, written out as LAW.md-like formulas rather than as the package's rows."""
    score = problem.differences @ weights
    if loss == "hinge":
        strict = np.maximum(0.0, problem.margin - score)
        tied = np.maximum(0.0, np.abs(score) - problem.margin)
    else:
        strict = np.logaddexp(0.0, problem.margin - score)
        tied = np.logaddexp(0.0, problem.margin - score) + np.logaddexp(0.0, problem.margin + score)
    return np.where(problem.tie, tied, strict)


def objective_of(problem, loss, weights, l2, reference):
    return problem.count @ losses_of(problem, loss, weights) + 0.5 * l2 * ((weights - reference) ** 2).sum()


def random_problem(seed):
    """(problem, options, reference) of one of 100: integer or real features, ties, boxes, orders, pulls."""
    rng = np.random.default_rng(seed)
    features, pairs = int(rng.integers(1, 7)), int(rng.integers(3, 60))
    real = rng.random() < 0.5
    differences = rng.normal(size=(pairs, features)) if real else rng.integers(-2, 3, (pairs, features)).astype(float)
    problem = made(
        differences * 10.0 ** rng.integers(-1, 3),
        margin=rng.choice([0.3, 1.0, 2.0], pairs),
        count=rng.integers(1, 5, pairs),
        tie=rng.random(pairs) < 0.2,
    )
    lower = rng.choice([-np.inf, -1.0, 0.0])
    upper = rng.choice([0.5, 3.0, np.inf])
    monotone = [(int(i), int(j)) for i, j in rng.integers(0, features, (int(rng.integers(0, 4)), 2)) if i < j]
    reference = rng.normal(size=features)
    l2 = float(rng.choice([0.0, 0.1, 2.0]))
    return problem, {"lower": lower, "upper": upper, "monotone": monotone, "l2": l2, "reference": reference}, reference


def allowed(weights, options):
    """The general solvers miss bounds and order by a little: the next weights that obey them."""
    kept = np.clip(weights, options["lower"], options["upper"])
    for over, under in sorted(options["monotone"], key=lambda pair: -pair[1]):
        kept[over] = max(kept[over], kept[under])
    return kept


def general_minimum(problem, loss, options, start):
    """The least objective that scipy's general solvers find; the hinge as a smooth programme with slack variables."""
    features, l2 = problem.features, options["l2"]
    order = np.zeros((len(options["monotone"]), features))
    for row, (over, under) in enumerate(options["monotone"]):
        order[row, [over, under]] = 1.0, -1.0
    box = [(options["lower"], options["upper"])] * features
    sign = np.where(problem.tie, -1.0, 1.0)
    rows = np.vstack([problem.differences, problem.differences[problem.tie]])
    if loss == "logistic":
        margins = np.concatenate([problem.margin, problem.margin[problem.tie]])
        signs = np.concatenate([np.ones(problem.pairs), -np.ones(problem.tie.sum())])
        counts = np.concatenate([problem.count, problem.count[problem.tie]])

        def gradient(weights):
            share = counts / (1.0 + np.exp(np.clip(signs * (rows @ weights) - margins, -500, 500)))
            return -(share * signs) @ rows + l2 * (weights - options["reference"])

        def value(weights):
            return objective_of(problem, loss, weights, l2, options["reference"])

        limits = [LinearConstraint(order, 0.0, np.inf)] if len(order) else []
        method, tight = ("SLSQP", {"ftol": 1e-15}) if len(order) else ("L-BFGS-B", {"ftol": 1e-16, "gtol": 1e-11})
        found = minimize(value, start, jac=gradient, bounds=box, constraints=limits, method=method, options=tight)
        return value(allowed(found.x, options))
    margins = np.concatenate([problem.margin * sign, -problem.margin[problem.tie]])
    signed = np.vstack([problem.differences, -problem.differences[problem.tie]])
    counts = np.concatenate([problem.count, problem.count[problem.tie]])
    slack = np.eye(margins.size)
    if l2 == 0.0:
        found = linprog(
            np.concatenate([np.zeros(features), counts]),
            A_ub=np.vstack([np.hstack([-signed, -slack]), np.hstack([-order, np.zeros((len(order), margins.size))])]),
            b_ub=np.concatenate([-margins, np.zeros(len(order))]),
            bounds=box + [(0.0, None)] * margins.size,
            method="highs-ipm",
        )
        return objective_of(problem, loss, allowed(found.x[:features], options), 0.0, 0.0)
    everything = np.vstack([np.hstack([signed, slack]), np.hstack([order, np.zeros((len(order), margins.size))])])
    floor = np.concatenate([margins, np.zeros(len(order))])

    def value_and_slope(point):
        pull = point[:features] - options["reference"]
        return 0.5 * l2 * pull @ pull + counts @ point[features:], np.concatenate([l2 * pull, counts])

    first = np.concatenate([start, np.maximum(0.0, margins - signed @ start)])
    found = minimize(
        value_and_slope,
        first,
        jac=True,
        bounds=box + [(0.0, None)] * margins.size,
        constraints=[{"type": "ineq", "fun": lambda x: everything @ x - floor, "jac": lambda _: everything}],
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return objective_of(problem, loss, allowed(found.x[:features], options), l2, options["reference"])


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_the_objective_is_that_of_general_solvers_on_100_random_problems(loss):
    infinite = 0
    for seed in range(100):
        problem, options, reference = random_problem(seed)
        try:
            fitted = fit_weights(problem, loss=loss, **options)
        except SeparableJudgements as error:
            infinite += 1
            along = error.direction
            assert loss == "logistic"
            assert options["l2"] == 0.0
            rises = problem.differences @ along
            assert (rises[~problem.tie] >= -1e-9).all()
            assert rises.max() > 0.0
            np.testing.assert_allclose(rises[problem.tie], 0.0, atol=1e-9)
            continue
        weights = fitted.weights
        assert (weights >= options["lower"]).all()
        assert (weights <= options["upper"]).all()
        assert all(weights[over] >= weights[under] for over, under in options["monotone"])
        value = objective_of(problem, loss, weights, options["l2"], reference)
        assert fitted.objective == pytest.approx(value, rel=1e-12, abs=1e-12)
        assert fitted.loss == pytest.approx(problem.count @ losses_of(problem, loss, weights) / problem.judgements)
        assert fitted.gap <= 1e-9 * max(problem.judgements, value), (seed, fitted.gap)
        start = np.sort(np.clip(np.zeros(problem.features), options["lower"], options["upper"]))
        general = general_minimum(problem, loss, options, start)
        # The other may stop early, never lower: what is certified is ours.
        assert value <= general + 1e-7 * max(1.0, abs(general)), (seed, value, general)
        assert general <= value + 2e-5 * max(1.0, abs(value)), (seed, value, general)
    assert infinite < 20


@pytest.mark.parametrize("options", [{"l2": 30.0}, {}, {"lower": -np.inf, "upper": 0.7}, {"monotone": [(3, 0)]}])
def test_many_rows_are_solved_on_few_and_certified_on_all(options):
    """2,000 rows, of which most are never in the hinge's working set; the bound and HiGHS know all of them."""
    rng = np.random.default_rng(31)
    differences = rng.normal(size=(2000, 5))
    likely = 1.0 / (1.0 + np.exp(-differences @ [2.0, 1.0, 0.5, 0.1, 0.0]))
    differences[rng.random(2000) > likely] *= -1.0
    problem = made(differences, margin=rng.choice([0.5, 1.0], 2000), tie=rng.random(2000) < 0.1)
    fitted = fit_weights(problem, loss="hinge", **options)
    assert fitted.gap <= 1e-9 * fitted.objective
    everything = {"lower": 0.0, "upper": np.inf, "monotone": [], "l2": 0.0, "reference": np.zeros(5)} | options
    value = objective_of(problem, "hinge", fitted.weights, everything["l2"], 0.0)
    assert value == pytest.approx(fitted.objective, rel=1e-12)
    if everything["l2"] == 0.0 and not everything["monotone"]:
        sign = np.where(problem.tie, -1.0, 1.0)
        rows = np.vstack([differences, -differences[problem.tie]])
        floor = np.concatenate([sign * problem.margin, -problem.margin[problem.tie]])
        found = linprog(
            np.concatenate([np.zeros(5), np.ones(len(floor))]),
            A_ub=hstack([csr_array(-rows), -eye_array(len(floor))]),
            b_ub=-floor,
            bounds=[(everything["lower"], everything["upper"])] * 5 + [(0.0, None)] * len(floor),
        )
        assert value == pytest.approx(found.fun, rel=1e-9)


def test_the_certificate_notices_a_weight_that_is_not_the_best():
    """Moving the answer by a little raises the objective above the bound that came with it."""
    problem, _, reference = random_problem(3)
    for loss in ("hinge", "logistic"):
        fitted = fit_weights(problem, loss=loss, l2=0.5, reference=reference, lower=-9.0, upper=9.0)
        bound = fitted.objective - fitted.gap
        rng = np.random.default_rng(5)
        for _ in range(50):
            other = fitted.weights + rng.normal(scale=1e-3, size=fitted.weights.size)
            assert objective_of(problem, loss, other, 0.5, reference) >= bound - 1e-9


def test_closed_forms():
    """One feature: the Bradley–Terry weight is the log odds; a hinge stops at its kink or where the pull wins."""
    wins = made([[1.0], [-1.0]], margin=0.0, count=[30.0, 10.0])
    assert fit_weights(wins, loss="logistic").weights[0] == pytest.approx(np.log(3.0), abs=1e-10)
    only = made([[1.0]], margin=1.0, count=[4.0])
    assert fit_weights(only, loss="hinge").weights[0] == pytest.approx(1.0, abs=1e-9)
    # 4·(1 − w) + (3/2)·w² has its minimum at 4/3, past the kink at 1.
    assert fit_weights(only, loss="hinge", l2=3.0).weights[0] == pytest.approx(1.0, abs=1e-7)
    assert fit_weights(only, loss="hinge", l2=8.0).weights[0] == pytest.approx(0.5, abs=1e-9)


def test_ties_follow_rao_and_kupper():
    """With the tie threshold as margin, the likelihood of win, tie and loss is Rao and Kupper's, up to a constant."""
    margin, wins, ties, losses = 0.7, 20.0, 12.0, 9.0
    problem = made([[1.0], [1.0], [-1.0]], margin=margin, count=[wins, ties, losses], tie=[False, True, False])
    fitted = fit_weights(problem, loss="logistic", lower=-np.inf)

    def likelihood(weight):
        theta, ours = np.exp(margin), np.exp(weight)
        first, second = ours / (ours + theta), 1.0 / (1.0 + theta * ours)
        equal = (theta**2 - 1.0) * ours / ((ours + theta) * (1.0 + theta * ours))
        assert first + second + equal == pytest.approx(1.0)
        return wins * np.log(first) + ties * np.log(equal) + losses * np.log(second)

    found = minimize(lambda w: -likelihood(w[0]), [0.0], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13})
    assert fitted.weights[0] == pytest.approx(found.x[0], abs=1e-6)
    constant = ties * np.log(np.exp(2 * margin) - 1.0)
    assert fitted.objective == pytest.approx(found.fun + constant, abs=1e-8)


def test_a_hinge_tie_is_a_band():
    band = made([[1.0], [1.0]], margin=[2.0, 0.5], count=[1.0, 5.0], tie=[False, True])
    assert fit_weights(band, loss="hinge").weights[0] == pytest.approx(0.5, abs=1e-9)
    pressed = made([[1.0], [1.0]], margin=[2.0, 0.0], count=[1.0, 5.0], tie=[False, True])
    assert fit_weights(pressed, loss="hinge").weights[0] == pytest.approx(0.0, abs=1e-9)


def test_weights_that_the_judgements_do_not_say_stay_at_the_reference_and_are_flagged():
    differences = [[1.0, 0.0, 1.0], [-1.0, 0.0, -1.0], [1.0, 0.0, 1.0]]
    for loss in ("hinge", "logistic"):
        for l2 in (0.0, 1.0):
            fitted = fit_weights(made(differences), loss=loss, l2=l2, reference=[0.0, 0.25, 0.0])
            assert fitted.undetermined.tolist() == [True, True, True]
            assert fitted.weights[1] == pytest.approx(0.25, abs=1e-12)
            assert fitted.weights[0] == pytest.approx(fitted.weights[2], abs=1e-6), "the sum is judged, not the parts"
    alone = fit_weights(made([[1.0, 0.0], [-1.0, 0.0]]), loss="logistic")
    assert alone.undetermined.tolist() == [False, True]
    assert not fit_weights(made([[1.0, 0.0], [-1.0, 0.0]]), loss="logistic", upper=[9.0, 0.0]).undetermined[1]


def test_of_equally_good_hinge_weights_the_ones_nearest_to_the_reference_are_given():
    """d = (1, 1), margin 1: every w with w1 + w2 ≥ 1 is as good."""
    assert fit_weights(made([[1.0, 1.0]]), loss="hinge").weights == pytest.approx([0.5, 0.5], abs=1e-7)
    other = fit_weights(made([[1.0, 1.0]]), loss="hinge", reference=[2.0, 0.0])
    assert other.weights == pytest.approx([2.0, 0.0], abs=1e-6)
    assert other.separable


def test_separable_judgements_have_a_name_not_a_huge_number():
    consistent = made([[1.0, 0.0], [1.0, 1.0]])
    with pytest.raises(SeparableJudgements, match=r"`a`.*run to infinity.*l2 > 0") as caught:
        fit_weights(consistent, loss="logistic")
    assert caught.value.direction[0] > 0.0
    assert fit_weights(consistent, loss="logistic", l2=0.1).separable
    assert fit_weights(consistent, loss="logistic", upper=4.0).weights == pytest.approx([4.0, 4.0], abs=1e-6)
    # Only the second feature separates: the first is named by nobody.
    half = made([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])
    with pytest.raises(SeparableJudgements) as caught:
        fit_weights(half, loss="logistic")
    assert caught.value.names == ("b",)
    # Not allowed to go where it would separate: weights ≥ 0.
    assert fit_weights(made([[-1.0]]), loss="logistic").weights == pytest.approx([0.0], abs=1e-9)


def test_a_monotone_order_pools_what_violates_it():
    """Log odds 0.5 and 2 in the wrong order become the pooled log odds (the pool-adjacent-violators answer)."""
    counts = [30.0, 20.0, 80.0, 10.0]
    problem = made([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]], margin=0.0, count=counts)
    free = fit_weights(problem, loss="logistic").weights
    assert free[0] < free[1]
    tied = fit_weights(problem, loss="logistic", monotone=[(0, 1)]).weights
    assert tied == pytest.approx([np.log(110.0 / 30.0)] * 2, abs=1e-9)
    both = fit_weights(problem, loss="logistic", monotone=[(0, 1), (1, 0)]).weights
    assert both == pytest.approx(tied, abs=1e-9)


def test_merging_changes_nothing():
    rng = np.random.default_rng(2)
    features = rng.integers(-1, 1, (60, 4)).astype(float)
    rank, group = rng.integers(0, 3, 60), rng.integers(0, 5, 60)
    merged = pairs_from_order("abcd", features, rank, group)
    better, worse, where = [], [], []
    for i in range(60):
        for j in range(60):
            if group[i] == group[j] and rank[i] < rank[j]:
                better.append(features[i])
                worse.append(features[j])
                where.append(group[i])
    plain = made(np.array(better) - np.array(worse), group=where)
    assert merged.judgements == plain.pairs > merged.pairs
    again = pairs_from_features("abcd", better, worse, group=where)
    assert again.pairs == merged.merged().pairs
    for loss in ("hinge", "logistic"):
        values = [fit_weights(one, loss=loss, l2=1.0) for one in (plain, plain.merged(), merged, again)]
        for one in values[1:]:
            assert one.objective == pytest.approx(values[0].objective, rel=1e-12)
            np.testing.assert_allclose(one.weights, values[0].weights, atol=1e-7)


def test_a_million_pairs_of_repeated_rows_are_never_built():
    rng = np.random.default_rng(3)
    features = rng.integers(-1, 1, (4000, 3)).astype(float)
    began = time.process_time()
    problem = pairs_from_order("abc", features, rng.integers(0, 3, 4000))
    assert problem.judgements > 5_000_000
    assert problem.pairs <= 8 * 3 * 8
    assert time.process_time() - began < 2.0


def test_units_do_not_matter():
    """A feature in other units has its weight in those units."""
    problem, _, _ = random_problem(11)
    scale = 10.0 ** np.arange(problem.features)
    scaled = made(problem.differences * scale, problem.margin, problem.count, problem.tie)
    for loss in ("hinge", "logistic"):
        plain, other = fit_weights(problem, loss=loss, upper=np.inf), fit_weights(scaled, loss=loss)
        assert other.objective == pytest.approx(plain.objective, rel=1e-9)


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l2": -1.0}, "l2 must be"),
        ({"l2": float("nan")}, "l2 must be"),
        ({"lower": float("nan")}, "lower contains NaN"),
        ({"upper": [1.0, 2.0, 3.0]}, "upper must be 2 numbers"),
        ({"reference": [0.0, np.inf]}, "reference must be finite"),
        ({"reference": [0.0]}, r"reference must have shape \(2\)"),
        ({"lower": 2.0, "upper": 1.0}, "no weight is allowed for `a`"),
        ({"lower": [0.0, 3.0], "upper": [1.0, 9.0], "monotone": [(0, 1)]}, "lower of `b` is 3 and upper of `a` is 1"),
        ({"monotone": [(0, 2)]}, "monotone names weight 2"),
        ({"loss": "squared"}, "unknown loss 'squared'"),
    ],
)
def test_wrong_options_are_named(loss, change, message):
    with pytest.raises(ValueError, match=message):
        fit_weights(made([[1.0, 0.0], [-1.0, 1.0]]), **({"loss": loss} | change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"differences": [[np.nan]]}, "differences contains NaN"),
        ({"differences": [["x"]]}, "differences must be numbers"),
        ({"differences": [1.0]}, r"differences must have shape \(any, 1\)"),
        ({"margin": [-1.0]}, "margin must be ≥ 0 nats, got -1 in row 0"),
        ({"margin": [np.inf]}, "margin must be finite"),
        ({"count": [0.0]}, "count must be > 0"),
        ({"count": [1.0, 1.0]}, "count must have shape"),
        ({"tie": [1]}, "tie must be 1 truth values"),
        ({"group": [0.5]}, "group must be whole numbers"),
        ({"names": ("a", "a"), "differences": [[1.0, 1.0]]}, "names must be distinct"),
        ({"classes": [[1.0], [0.0]]}, "classes, better and worse"),
        ({"classes": [[1.0], [0.0]], "better": [1], "worse": [0]}, "differences must equal"),
        ({"classes": [[1.0], [0.0]], "better": [2], "worse": [0]}, "better must be rows of classes"),
    ],
)
def test_wrong_judgements_are_named(change, message):
    fields = {"names": ("a",), "differences": [[1.0]], "margin": [1.0], "count": [1.0], "tie": [False], "group": [0]}
    with pytest.raises(ValueError, match=message):
        PairProblem(**(fields | change))


def test_empty_cases():
    with pytest.raises(ValueError, match="no judged pairs"):
        fit_weights(made(np.zeros((0, 2))), loss="logistic")
    with pytest.raises(ValueError, match="margin is 0 for every strict pair"):
        fit_weights(made([[1.0]], margin=0.0), loss="hinge")
    assert pairs_from_order("ab", np.zeros((5, 2)), np.zeros(5)).pairs == 0
    for loss, mean in (("hinge", 1.0), ("logistic", np.log1p(np.e))):
        fitted = fit_weights(made(np.zeros((3, 0))), loss=loss)
        assert fitted.weights.shape == (0,)
        assert fitted.loss == pytest.approx(mean)
        same = fit_weights(made(np.zeros((3, 2))), loss=loss)
        assert same.undetermined.all()
        assert same.loss == pytest.approx(mean)
        assert not same.separable


def test_torch_belongs_to_the_benchmark_only():
    """No module of the package names it."""
    for path in (Path(__file__).parents[1] / "compiler" / "weights").glob("*.py"):
        assert "torch" not in path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def bench():
    """The benchmark's own functions: the rival and the reader of the gold data."""
    spec = importlib.util.spec_from_file_location("bench_weights", BENCH)
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_weights"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_adamw_comes_to_the_same_objective_and_never_below(bench, loss):
    rng = np.random.default_rng(8)
    truth = np.array([2.0, 0.5, 1.0, 0.0])
    differences = rng.integers(-1, 2, (300, 4)).astype(float)
    differences *= np.where(rng.random(300) < 1.0 / (1.0 + np.exp(-differences @ truth)), 1.0, -1.0)[:, None]
    problem = made(differences)
    ours = fit_weights(problem, loss=loss, l2=0.05 * problem.judgements, lower=-3.0, upper=3.0).weights
    value = bench.objective(problem, ours, loss, 0.05)
    other = bench.objective(problem, bench.adamw(differences, None, loss, 0.05, 3.0, 0.01), loss, 0.05)
    # The hinge's kink keeps steps of fixed length from settling; the smooth loss must agree to 1e-6.
    assert -1e-12 <= other - value <= (1e-6 if loss == "logistic" else 1e-3)


@pytest.mark.skipif(not GOLD.exists(), reason="the labelled responses are not beside this checkout")
def test_gold_data_fit_no_worse_than_adamw_and_certified(bench):
    """Every response has exactly one class; 9,508 pairs, fitted to certified optimality, AdamW never below."""
    gold = bench.read_gold()
    assert len(gold.rank) == 351
    assert np.bincount(gold.rank).tolist() == [149, 10, 151, 24, 17]
    names, features = gold.features(with_classes=False)
    problem = pairs_from_order(names, features, gold.rank, gold.kind)
    assert problem.judgements == 9508
    rival = bench.adamw(bench.all_pairs(features, gold.rank, gold.kind), None, "hinge", 0.01, 20.0, 0.03)
    for loss in ("hinge", "logistic"):
        fitted = fit_weights(problem, loss=loss, l2=0.01 * problem.judgements, lower=-20.0, upper=20.0)
        assert fitted.gap <= 1e-9 * fitted.objective
        value = bench.objective(problem, fitted.weights, loss, 0.01)
        assert value <= bench.objective(problem, rival, loss, 0.01)


@pytest.mark.skipif(not GOLD.exists(), reason="the labelled responses are not beside this checkout")
def test_which_orderings_of_the_gold_data_propositions_cannot_express(bench):
    """Classes are conjunctions of propositions, which sums of weights cannot all express; class indicators can."""
    gold = bench.read_gold()
    plain = conflicts(pairs_from_order(*gold.features(with_classes=False), gold.rank, gold.kind), nonnegative=False)
    assert not plain.contradictions
    assert not plain.cycles
    assert plain.inexpressible
    for one in plain.inexpressible:
        np.testing.assert_allclose(one.combination, 0.0, atol=1e-9)
    full = pairs_from_order(*gold.features(with_classes=True), gold.rank, gold.kind)
    assert conflicts(full, nonnegative=False).nothing
    fitted = fit_weights(full, loss="hinge", lower=-np.inf)
    assert fitted.loss == pytest.approx(0.0, abs=1e-12)
    assert fitted.separable
