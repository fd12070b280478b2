"""Propositions to classes to rewards, on OpenAI's gold data of rule-based rewards (351 labelled answers).

    OMP_NUM_THREADS=1 python tests/bench/bench_rbr_weights.py > tests/bench/bench_rbr_weights.txt

Read from beside the checkout. Four questions, each with what it is compared with:

1. In each type of response: the hinge loss of bylaw's convex solver and its time, against 1,000 full-batch steps of
   torch AdamW on the same merged pairs in double precision, the best of four learning rates by objective, and the time
   of that rate alone. Both have the same box for weights and, where it is used, the same L2; times are of one
   processor, the median of 5 (AdamW: 3), from pairs to weights.
2. Building the pairs of 4,000 answers (gold answers drawn with replacement), against two Python double loops over all
   pairs: one that only lists which pairs there are, and one that also subtracts their feature rows.
3. Accuracy on pairs of which both conversations are held out (five folds by conversation; hinge, L2 0.001 a
   judgement), with 95 % intervals from 1,000 resamples of conversations, beside equal weights, the best single rule
   of the training part and a coin.
4. The same where labels are replaced by scores of a text model: out of fold, and calibrated without the fold (Platt
   scaling, scores at even odds). Raw scores of the other folds come from models that saw the labels of this one, as in
   all stacking. A plain model is fitted here: TF-IDF of words, logistic. `--scores FILE.npz` adds
   another one by its raw scores [N, P], with labels, groups and names; the table has those of the embedded default.
   Four kinds of features are compared: expected values where
   shares of texts are found from the scores, expected values at even odds, rules on rounded scores, and gold labels
   with the same rules. Rules about propositions that have no score are left out of all four. Then the classes, which
   are conjunctions of up to 17 propositions: how probable they are, where propositions are taken to be independent.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from rbr_gold import (
    FOLDS,
    MOST,
    RATES,
    STEPS,
    TYPES,
    Array,
    Gold,
    best_rule,
    crossed,
    even_scores,
    fitted,
    folds_of,
    held_out,
    hinge,
    read_gold,
    scored,
)

from bylaw.compiler.soft_values import SoftValues
from bylaw.compiler.values import Unknown
from bylaw.compiler.weights.fit import fit_weights
from bylaw.compiler.weights.problem import PairProblem, pairs_from_order
from bylaw.runtime.judgements.comparisons import class_order
from bylaw.runtime.judgements.shares import shares_of
from bylaw.spec.trace import Trace

FEWEST = 14
"""Positive examples of a proposition that a text model is fitted for."""


def timed(run: Callable[[], object], repeats: int) -> float:
    """Median seconds of the processor."""
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        run()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds)


# ------------------------------------------------------------------------------------------------- 1. against AdamW
def torch_adamw(problem: PairProblem, rate: float, l2_mean: float, low: float) -> Array:
    import torch

    rows = torch.tensor(problem.differences)
    share = torch.tensor(problem.count / problem.count.sum())
    weights = torch.zeros(problem.features, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.AdamW([weights], lr=rate, weight_decay=0.0)
    for _ in range(STEPS):
        optimiser.zero_grad()
        (share @ torch.relu(1.0 - rows @ weights) + 0.5 * l2_mean * (weights @ weights)).backward()
        optimiser.step()
        with torch.no_grad():
            weights.clamp_(low, MOST)
    found: Array = weights.detach().numpy()
    return found


def against_adamw(gold: Gold) -> None:
    print("\n1. hinge loss and time in each type of response")
    rules = gold.features()
    plain = (gold.names, gold.propositions)
    for kind, title in enumerate(TYPES):
        if len(set(gold.rank[gold.kind == kind])) < 2:
            print(f"{title}: all {int((gold.kind == kind).sum())} answers are of one class, so there is no pair")
            continue
        for what, features, low in (("rules, w ≥ 0", rules, 0.0), ("propositions, any sign", plain, -MOST)):
            problem = gold.pairs(kind, features)
            for l2_mean in (0.0, 0.01):
                compare(f"{title}, {what}, l2 {l2_mean:g}", problem, l2_mean, low)


def compare(title: str, problem: PairProblem, l2_mean: float, low: float) -> None:
    l2 = l2_mean * problem.judgements

    def ours() -> Array:
        return fit_weights(problem, loss="hinge", l2=l2, lower=low, upper=MOST).weights

    def objective(weights: Array) -> float:
        return hinge(problem, weights) + 0.5 * l2_mean * float(weights @ weights)

    ours()  # what is imported on first use is no part of either time
    fast, value = timed(ours, 5), objective(ours())
    best, rate = min((objective(torch_adamw(problem, rate, l2_mean, low)), rate) for rate in RATES)
    slow = timed(lambda: torch_adamw(problem, rate, l2_mean, low), 3)
    print(
        f"{title}: {problem.judgements:.0f} pairs, {problem.pairs} distinct, {problem.features} features\n"
        f"  bylaw {value:.10f} in {1e3 * fast:6.1f} ms   AdamW {best:.10f} in {1e3 * slow:6.1f} ms (lr {rate:g})   "
        f"difference {value - best:+.1e}, {slow / fast:.0f} times as fast"
    )


# ------------------------------------------------------------------------------------------------------ 2. pairs
def against_loops(gold: Gold, size: int = 4000) -> None:
    drawn = np.random.default_rng(0).integers(0, len(gold.answers), size)
    names, values = gold.names, gold.propositions[drawn]
    rank, kind = gold.rank[drawn], gold.kind[drawn]
    ranks, kinds = rank.tolist(), kind.tolist()

    def ours() -> PairProblem:
        return pairs_from_order(names, values, rank, kind)

    def listed() -> list[tuple[int, int]]:
        found = []
        for better in range(size):
            for worse in range(size):
                if kinds[better] == kinds[worse] and ranks[better] < ranks[worse]:
                    found.append((better, worse))
        return found

    def subtracted() -> int:
        pairs = 0
        for better in range(size):
            for worse in range(size):
                if kinds[better] == kinds[worse] and ranks[better] < ranks[worse]:
                    values[better] - values[worse]  # not kept: a list of them takes a gigabyte
                    pairs += 1
        return pairs

    fast, problem = timed(ours, 9), ours()
    assert problem.judgements == len(listed())
    indices, rows = timed(listed, 3), timed(subtracted, 1)
    print(f"\n2. building the pairs of {size:,} answers: {problem.judgements:.0f} pairs, {problem.pairs} distinct")
    print(f"  bylaw, merged, with feature rows   {1e3 * fast:9.1f} ms")
    print(f"  double loop, which pairs there are {1e3 * indices:9.1f} ms   {indices / fast:6.0f} times as long")
    print(f"  double loop, with feature rows     {1e3 * rows:9.1f} ms   {rows / fast:6.0f} times as long")


# ------------------------------------------------------------------------------------------------- 3. held-out pairs
def line(title: str, found: tuple[float, float, float, list[float]]) -> None:
    rate, low, high, by_type = found
    each = "  ".join("     –" if np.isnan(one) else f"{one:6.3f}" for one in by_type)
    print(f"  {title:<44} {rate:.3f} [{low:.3f}, {high:.3f}]   {each}")


def with_gold(gold: Gold) -> None:
    fold = folds_of(gold)
    same = (fold[:, None] == fold) & (gold.kind[:, None] == gold.kind) & (gold.rank[:, None] < gold.rank)
    print(f"\n3. accuracy on {int(same.sum()):,} pairs of held-out conversations, gold labels")
    print(f"  {'':<44} {'all':<22} {'  '.join(title[-6:].rjust(6) for title in TYPES)}")
    features = gold.features()
    line("bylaw fit", held_out(gold, crossed(gold, features, fitted)))
    line("equal weights", held_out(gold, features[1].sum(axis=1)))
    line("the best single rule of each type", held_out(gold, crossed(gold, features, best_rule)))
    line("a coin", held_out(gold, np.zeros(len(gold.answers))))


# ---------------------------------------------------------------------------------------------------- 4. soft scores
def plain_scores(gold: Gold) -> tuple[tuple[str, ...], Array]:
    """Raw scores [N, P] out of fold of a plain text model, for propositions with enough examples."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts = [trace.response or "" for trace in gold.answers]
    kept = [place for place in range(len(gold.names)) if gold.propositions[:, place].sum() >= FEWEST]
    fold, raw = folds_of(gold), np.zeros((len(texts), len(kept)))
    for part in range(FOLDS):
        seen = np.flatnonzero(fold != part)
        words = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
        train = words.fit_transform([texts[row] for row in seen])
        test = words.transform([texts[row] for row in np.flatnonzero(fold == part)])
        for column, place in enumerate(kept):
            model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=500)
            model.fit(train, gold.propositions[seen, place])
            raw[fold == part, column] = model.decision_function(test)
    return tuple(gold.names[place] for place in kept), raw


def with_scores(gold: Gold, path: str | None) -> None:
    if path is None:
        what = "a plain model, TF-IDF and logistic"
        names, raw = plain_scores(gold)
    else:
        what = "the raw scores that were given"
        with np.load(path, allow_pickle=False) as data:
            names, raw = tuple(map(str, data["names"])), np.asarray(data["raw"], np.float64)
            labels = np.asarray(data["labels"], np.float64)
        if not np.array_equal(labels, gold.propositions[:, [gold.names.index(name) for name in names]]):
            raise SystemExit(f"{path}: its labels are not those of the published rows, in their order")
    scores = even_scores(gold, names, raw)
    soft_answers = scored(gold, names, scores)
    shares = shares_of(soft_answers)
    truth = {name: float(gold.propositions[:, gold.names.index(name)].mean()) for name in names}
    off = [abs(shares[name] - truth[name]) for name in names]
    left = len(gold.names) - len(names)
    print(f"\n4. {len(names)} propositions scored by {what}, out of fold; the other {left} left out")
    print(
        f"  shares of texts found from scores: off by {np.mean(off):.3f} on average, {max(off):.3f} at most "
        f"(taking 1/2: {np.mean([abs(share - 0.5) for share in truth.values()]):.3f})"
    )
    without = [name for name in gold.names if name not in names]
    began = time.process_time()
    found = gold.features(soft_answers, SoftValues(shares), without)
    spent = 1e3 * (time.process_time() - began) / len(soft_answers)
    print(f"  expected values: {spent:.2f} ms an answer, {len(found[0])} rules")
    true = gold.features(None, None, without)
    applies = np.stack([gold.kind == kind_of(name) for name in true[0]], axis=1)
    kinds = (
        ("expected values, shares found from scores", found),
        ("expected values, at even odds", gold.features(soft_answers, SoftValues(), without)),
        ("rules on rounded scores", gold.features(soft_answers, None, without)),
        ("the mean of each rule (no scores)", (true[0], np.broadcast_to(means(true[1], applies), true[1].shape))),
    )
    print("  mean squared error of what rules say, against gold labels, where they apply:")
    for title, (_, values) in kinds:
        print(f"    {title:<42} {np.mean((values - true[1])[applies] ** 2):.4f}")
    print(f"  {'accuracy on held-out pairs':<44} {'all':<22} {'  '.join(title[-6:].rjust(6) for title in TYPES)}")
    for title, features in (*kinds[:3], ("gold labels", true)):
        line(title, held_out(gold, crossed(gold, features, fitted)))
    line("equal weights on expected values", held_out(gold, found[1].sum(axis=1)))
    with_classes(gold, soft_answers, found)


def with_classes(gold: Gold, answers: Sequence[Trace], rules: tuple[tuple[str, ...], Array]) -> None:
    """How probable each completion class is, beside the share of answers that are in it, and the Brier score of it,
    beside that of always saying this share. Propositions without scores are taken to be false here."""
    term = gold.compiled.require().term("completion_class")
    assert term.value is not None
    none = dict.fromkeys(gold.names, 0.0)
    known = [
        replace(each, scores={(name, each.response or ""): score for name, score in none.items()} | dict(each.scores))
        for each in answers
    ]
    order = class_order(gold.compiled, "completion_class").names
    tables = []
    for shares in (shares_of(answers), {}):
        soft = SoftValues(shares)
        found = [soft.distribution(term.value, trace) for trace in known]
        assert not any(isinstance(each, Unknown) for each in found)
        tables.append(np.array([[each.get(-float(place), 0.0) for place in range(6)] for each in found]))  # type: ignore[union-attr]
    places = -np.arange(6.0)
    line("expected place in the order, nothing fitted", held_out(gold, tables[0] @ places))
    line("the same at even odds", held_out(gold, tables[1] @ places))
    both = (*rules[0], "order"), np.column_stack([rules[1], tables[0] @ places])
    line("expected values and the expected place", held_out(gold, crossed(gold, both, fitted)))
    print(f"  {'':<32} mean probability    Brier score")
    print(f"  {'classes':<24}   share    found    even    found    even   of the share")
    for place, name in enumerate(order):
        does = gold.rank == place
        share = float(does.mean())
        means = [float(table[:, place].mean()) for table in tables]
        brier = [float(np.mean((table[:, place] - does) ** 2)) for table in tables]
        numbers = "".join(f"{number:8.3f}" for number in (share, *means, *brier, share * (1 - share)))
        print(f"    {name:<24}{numbers}")


def kind_of(rule: str) -> int:
    """The type of response that an imported rule is about: its name begins with it."""
    return next(kind for kind, title in enumerate(TYPES) if rule.startswith(title.lower().replace(" ", "_") + "__"))


def means(values: Array, applies: npt.NDArray[np.bool_]) -> Array:
    """[K] the mean of each column where it applies."""
    found: Array = (values * applies).sum(axis=0) / applies.sum(axis=0)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scores", help="raw scores out of fold of another text model")
    path = parser.parse_args().scores
    import torch

    torch.set_num_threads(1)
    given = "" if path is None else " --scores out_of_fold.npz"
    print(f"OMP_NUM_THREADS=1 python tests/bench/bench_rbr_weights.py{given}")
    print(f"python {platform.python_version()}, numpy {np.__version__}, torch {torch.__version__}, one thread")
    gold = read_gold()
    against_adamw(gold)
    against_loops(gold)
    with_gold(gold)
    with_scores(gold, None)
    if path is not None:
        with_scores(gold, path)


if __name__ == "__main__":
    main()
