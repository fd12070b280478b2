"""Fitting weights to judged pairs: bylaw's convex solvers against 1,000 steps of AdamW on the same pairs.

    OMP_NUM_THREADS=1 python tests/bench/bench_weights.py > tests/bench/bench_weights.txt

The judgements are OpenAI's gold data of rule-based rewards (351 labelled responses), read from beside the checkout: in
every response type, all pairs of responses of different class. Both sides get the same feature rows and ranks, and both
times hold everything from there: building the pairs and fitting. The rival is full-batch torch AdamW on all pairs in
torch's default precision, without a Python loop over pairs, no weight decay (L2 is part of the objective), weights
clamped to the box after each step, the best of its learning rates by objective and the time of that rate alone (median
of 3; bylaw: of 9). A second rival is given bylaw's merged pairs. Times are of one processor.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from bylaw.compiler.weights.fit import Loss, fit_weights
from bylaw.compiler.weights.problem import PairProblem, pairs_from_order

GOLD = Path(__file__).resolve().parents[3] / "shared" / "data" / "openai_rbr"
TYPES = {
    "Hard Refuse": "hard_refuse",
    "Safe Refuse 1": "safe_refuse_1",
    "Safe Refuse 2": "safe_refuse_2",
    "Comply": "comply",
}
LEARNING_RATES = (0.003, 0.01, 0.03, 0.1)
STEPS = 1000


@dataclass(frozen=True, eq=False)
class Gold:
    """The labelled responses: propositions [N, 23] in {0, 1}, class rank [N] (0 ideal), response type [N]."""

    propositions: tuple[str, ...]
    values: np.ndarray
    classes: tuple[str, ...]
    rank: np.ndarray
    kind: np.ndarray

    def features(self, with_classes: bool) -> tuple[tuple[str, ...], np.ndarray]:
        """(names, rows): the propositions, and one indicator a class if asked."""
        if not with_classes:
            return self.propositions, self.values
        indicators = (self.rank[:, None] == np.arange(len(self.classes))).astype(float)
        return (*self.propositions, *self.classes), np.hstack([self.values, indicators])


def read_gold(folder: Path = GOLD) -> Gold:
    """Read the labelled responses and derive their classes as the YAML says; each must get exactly one."""
    spec = yaml.safe_load((folder / "proposition_prompts.yaml").read_text(encoding="utf-8"))
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    responses = [json.loads(line) for line in lines]
    names = tuple(sorted(spec["simple_propositions"]))
    order = tuple(spec["completion_class_order"])
    return Gold(
        propositions=names,
        values=np.array([[float(row["propositions"][name]) for name in names] for row in responses]),
        classes=order,
        rank=np.array([order.index(completion_class(spec, row)) for row in responses]),
        kind=np.array([list(TYPES).index(row["response_type"]) for row in responses]),
    )


def completion_class(spec: dict[str, Any], row: dict[str, Any]) -> str:
    """The one class whose conditions hold for the row's response type."""
    known = dict(row["propositions"])
    for name, conditions in spec["derived_propositions"].items():
        known[name] = all(known[part] == wanted for part, wanted in conditions.items())
    kind = TYPES[row["response_type"]]
    found = [
        name
        for name, kinds in spec["completion_classes"].items()
        if all(known[part] == wanted for part, wanted in kinds[kind].items())
    ]
    if len(found) != 1:
        raise ValueError(f"a response has the classes {found}")
    return str(found[0])


def adamw(
    differences: np.ndarray, count: np.ndarray | None, loss: Loss, l2_mean: float, box: float, rate: float
) -> np.ndarray:
    """The weights after STEPS full-batch steps from zero on the mean loss, margin 1."""
    import torch

    pairs = torch.tensor(differences, dtype=torch.float32)
    share = None if count is None else torch.tensor(count / count.sum(), dtype=torch.float32)
    weights = torch.zeros(pairs.shape[1], dtype=pairs.dtype, requires_grad=True)
    optimiser = torch.optim.AdamW([weights], lr=rate, weight_decay=0.0)
    for _ in range(STEPS):
        optimiser.zero_grad()
        short = 1.0 - pairs @ weights
        each = torch.relu(short) if loss == "hinge" else torch.nn.functional.softplus(short)
        mean = each.mean() if share is None else share @ each
        (mean + 0.5 * l2_mean * (weights @ weights)).backward()
        optimiser.step()
        with torch.no_grad():
            weights.clamp_(-box, box)
    return np.clip(weights.detach().numpy().astype(np.float64), -box, box)


def all_pairs(features: np.ndarray, rank: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Every pair's difference, one row each, nothing merged."""
    parts = []
    for one in np.unique(kind):
        rows, ranks = features[kind == one], rank[kind == one]
        better, worse = np.nonzero(ranks[:, None] < ranks[None, :])
        parts.append(rows[better] - rows[worse])
    return np.vstack(parts)


def objective(problem: PairProblem, weights: np.ndarray, loss: Loss, l2_mean: float) -> float:
    """The mean loss per judgement plus the pull, margin 1."""
    short = 1.0 - problem.differences @ weights
    each = np.maximum(short, 0.0) if loss == "hinge" else np.logaddexp(0.0, short)
    return float(problem.count @ each / problem.count.sum() + 0.5 * l2_mean * weights @ weights)


def timed(run: Callable[[], np.ndarray], repeats: int) -> tuple[np.ndarray, float]:
    """(result, median seconds of the processor, so that what else runs on the machine matters less)."""
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        result = run()
        seconds.append(time.process_time() - began)
    return result, statistics.median(seconds)


def compare(gold: Gold, with_classes: bool, loss: Loss, l2_mean: float, box: float) -> None:
    """Print one comparison."""
    names, features = gold.features(with_classes)
    problem = pairs_from_order(names, features, gold.rank, gold.kind)
    merged = fit_weights(problem, loss=loss, l2=l2_mean * problem.judgements, lower=-box, upper=box)

    def ours() -> np.ndarray:
        pairs = pairs_from_order(names, features, gold.rank, gold.kind)
        return fit_weights(pairs, loss=loss, l2=l2_mean * pairs.judgements, lower=-box, upper=box).weights

    def theirs(rate: float) -> np.ndarray:
        return adamw(all_pairs(features, gold.rank, gold.kind), None, loss, l2_mean, box, rate)

    def theirs_merged(rate: float) -> np.ndarray:
        return adamw(problem.differences, problem.count, loss, l2_mean, box, rate)

    fitted, fast = timed(ours, 9)
    value = objective(problem, fitted, loss, l2_mean)
    title = f"{loss}, {len(names)} features, l2 {l2_mean:g} a judgement, |w| ≤ {box:g}"
    print(f"\n{title}: {problem.judgements:.0f} pairs, {problem.pairs} distinct")
    print(
        f"  bylaw                objective {value:.10f}  {1e3 * fast:8.1f} ms  "
        f"gap {merged.gap / problem.judgements:.1e}"
    )
    for label, run in (("AdamW, all pairs", theirs), ("AdamW, merged pairs", theirs_merged)):
        tried = []
        for rate in LEARNING_RATES:
            tried.append((objective(problem, run(rate), loss, l2_mean), rate))
        best, rate = min(tried)
        _, slow = timed(partial(run, rate), 3)
        print(
            f"  {label:<20} objective {best:.10f}  {1e3 * slow:8.1f} ms  (lr {rate:g})  "
            f"bylaw: {value - best:+.2e} and {slow / fast:.1f} times as fast"
        )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    import torch

    torch.set_num_threads(1)
    print("OMP_NUM_THREADS=1 python tests/bench/bench_weights.py")
    print(f"python {platform.python_version()}, numpy {np.__version__}, torch {torch.__version__}, one thread\n")
    gold = read_gold()
    for name, number in zip(gold.classes, np.bincount(gold.rank, minlength=len(gold.classes)), strict=True):
        print(f"{name:<26}{number}")
    for with_classes in (False, True):
        for loss in ("hinge", "logistic"):
            for l2_mean, box in ((0.01, 20.0), (0.0, 5.0)):
                compare(gold, with_classes, loss, l2_mean, box)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
