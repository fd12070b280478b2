"""The public gold data of rule-based rewards as features, classes and pairs: shared by a test and a benchmark.

351 labelled answers in four types of response. Features are what the imported policy's rules say of an answer; its
class is worked out by the imported policy too, and so are the pairs: all answers of one type and different class.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bylaw.compiler.importers import importer
from bylaw.compiler.importers.interface import Naming
from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.soft_values import SoftValues
from bylaw.compiler.weights.fit import fit_weights
from bylaw.compiler.weights.problem import PairProblem, pairs_from_order
from bylaw.runtime.judgements.comparisons import class_order
from bylaw.runtime.judgements.features import features_of, weighed_terms
from bylaw.runtime.judgements.reader import read_judgements
from bylaw.spec.source import Source
from bylaw.spec.trace import Trace

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "openai_rbr"
TYPES = ("Comply", "Hard Refuse", "Safe Refuse 1", "Safe Refuse 2")
FOLDS = 5
STEPS = 1000
L2 = 0.001
"""Per judgement, in the fits of folds; nats⁻²."""
MOST = 20.0
"""Nats that a weight may be."""
RATES = (0.003, 0.01, 0.03, 0.1)

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Gold:
    """N answers: traces with their gold labels, rank [N] of their class (0 ideal), type [N] of response, conversation
    [N], the names of the 23 propositions with their values [N, 23]."""

    compiled: Compiled
    answers: tuple[Trace, ...]
    rank: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int64]
    conversation: npt.NDArray[np.int64]
    names: tuple[str, ...]
    propositions: Array

    def features(
        self, answers: Sequence[Trace] | None = None, soft: SoftValues | None = None, without: Sequence[str] = ()
    ) -> tuple[tuple[str, ...], Array]:
        """(ids of terms, [N, K]): the rules that the importer proposed, but those about propositions in `without`."""
        program = self.compiled.require()
        rules = [term.rule for term in program.terms]
        aside = [rule for rule in rules if any(rule.endswith(f"_{name}") for name in without)]
        terms = weighed_terms(program, ("completion_class", *aside))
        found = features_of(program, self.answers if answers is None else answers, terms, soft=soft)
        return tuple(term.id for term in terms), found.values

    def pairs(self, kind: int, features: tuple[tuple[str, ...], Array]) -> PairProblem:
        """All pairs of one type of response; features that never differ there are left out."""
        names, values = features
        here = self.kind == kind
        used = np.ptp(values[here], axis=0) > 0
        kept = tuple(name for name, use in zip(names, used, strict=True) if use)
        return pairs_from_order(kept, values[here][:, used], self.rank[here])


def read_gold() -> Gold:
    """The labelled answers of the published file."""
    text = (DATA / "proposition_prompts.yaml").read_text(encoding="utf-8")
    compiled = compile_source(Source.of("grades.bylaw", importer("rbr").read(text, Naming("grades")).text))
    labelled = read_judgements(DATA / "train.jsonl").labelled
    order = class_order(compiled, "completion_class")
    rank = [order.place(each) for each in labelled]
    lines = (DATA / "train.jsonl").read_text(encoding="utf-8").splitlines()
    propositions = [json.loads(line)["propositions"] for line in lines]
    names = tuple(sorted(propositions[0]))
    conversations: dict[object, int] = {}
    return Gold(
        compiled=compiled,
        answers=tuple(each.answer for each in labelled),
        rank=np.array(rank, np.int64),
        kind=np.array([TYPES.index(str(each.answer.facts["meta.response_type"])) for each in labelled], np.int64),
        conversation=np.array([conversations.setdefault(each.context, len(conversations)) for each in labelled]),
        names=names,
        propositions=np.array([[float(each[name]) for name in names] for each in propositions]),
    )


def scored(gold: Gold, names: Sequence[str], scores: Array) -> list[Trace]:
    """The answers with scores [N, len(names)] at even odds in place of these gold labels, and no others."""
    found = []
    for trace, row in zip(gold.answers, scores, strict=True):
        text = trace.response or ""
        found.append(
            replace(trace, scores={(name, text): float(score) for name, score in zip(names, row, strict=True)})
        )
    return found


# ------------------------------------------------------------------------------------------------ held-out pairs
def folds_of(gold: Gold) -> npt.NDArray[np.int64]:
    drawn = np.random.default_rng(0).permutation(int(gold.conversation.max()) + 1) % FOLDS
    fold: npt.NDArray[np.int64] = drawn[gold.conversation]
    return fold


def fitted(gold: Gold, features: tuple[tuple[str, ...], Array], used: npt.NDArray[np.bool_]) -> Array:
    names, values = features
    problem = pairs_from_order(names, values[used], gold.rank[used], gold.kind[used])
    return fit_weights(problem, loss="hinge", l2=L2 * problem.judgements, lower=0.0, upper=MOST).weights


def best_rule(gold: Gold, features: tuple[tuple[str, ...], Array], used: npt.NDArray[np.bool_]) -> Array:
    """Weight 1 on the rule that orders most pairs of the training part right, in each type of response."""
    names, values = features
    weights = np.zeros(len(names))
    for kind in range(len(TYPES)):
        here = used & (gold.kind == kind)
        problem = pairs_from_order(names, values[here], gold.rank[here])
        if problem.pairs:
            weights[int((problem.count @ np.sign(problem.differences)).argmax())] = 1.0
    return weights


def held_out(gold: Gold, rewards: Array, resamples: int = 1000) -> tuple[float, float, float, list[float]]:
    """(accuracy, low, high, by type) of rewards [N] out of fold on all pairs within a fold; equal rewards count 1/2.

    The 95 % interval is from resampled conversations.
    """
    fold = folds_of(gold)
    same = (fold[:, None] == fold) & (gold.kind[:, None] == gold.kind) & (gold.rank[:, None] < gold.rank)
    better, worse = np.nonzero(same & (gold.conversation[:, None] != gold.conversation))
    gap = rewards[better] - rewards[worse]
    right = np.where(np.abs(gap) <= 1e-9, 0.5, gap > 0)
    random = np.random.default_rng(1)
    size = int(gold.conversation.max()) + 1
    drawn = []
    for _ in range(resamples):
        times = np.bincount(random.integers(0, size, size), minlength=size)[gold.conversation]
        weight = times[better] * times[worse]
        drawn.append(float(weight @ right / weight.sum()))
    by_type = [
        float(right[gold.kind[better] == kind].mean()) if (gold.kind[better] == kind).any() else float("nan")
        for kind in range(len(TYPES))
    ]
    return float(right.mean()), float(np.quantile(drawn, 0.025)), float(np.quantile(drawn, 0.975)), by_type


def crossed(gold: Gold, features: tuple[tuple[str, ...], Array], fit: Callable[..., Array]) -> Array:
    """[N] rewards (nats), each by weights from the other folds."""
    fold, rewards = folds_of(gold), np.zeros(len(gold.answers))
    for part in range(FOLDS):
        rewards[fold == part] = features[1][fold == part] @ fit(gold, features, fold != part)
    return rewards


def even_scores(gold: Gold, names: tuple[str, ...], raw: Array) -> Array:
    """[N, P] scores at even odds, each calibrated without its fold."""
    from bylaw.runtime.concepts.calibration import calibrate

    fold, scores = folds_of(gold), np.zeros(raw.shape)
    for column, name in enumerate(names):
        labels = gold.propositions[:, gold.names.index(name)] > 0
        for part in range(FOLDS):
            seen = fold != part
            groups = [str(each) for each in gold.conversation[seen]]
            made = calibrate(raw[seen, column], labels[seen], groups)
            scores[~seen, column] = made.score(raw[~seen, column])
    return scores


# --------------------------------------------------------------------------------------------------- hinge and AdamW
def hinge(problem: PairProblem, weights: Array) -> float:
    """The mean hinge loss per pair at these weights."""
    short = np.maximum(problem.margin - problem.differences @ weights, 0.0)
    return float(problem.count @ short / problem.count.sum())


def best_adamw(problem: PairProblem, steps: Callable[[PairProblem, float], Array]) -> tuple[float, float]:
    """(smallest loss, its learning rate) of AdamW at several rates; it is never better than at its best step."""
    return min((hinge(problem, steps(problem, rate)), rate) for rate in RATES)


def numpy_adamw(problem: PairProblem, rate: float, most: float = MOST) -> Array:
    """Weights [K] in [0, `most`] after full-batch AdamW steps from 0 without decay on the mean hinge loss.

    Loshchilov and Hutter 2019, with the defaults of PyTorch.
    """
    share = problem.count / problem.count.sum()
    weights, first, second = (np.zeros(problem.features) for _ in range(3))
    for step in range(1, STEPS + 1):
        paying = share * (problem.differences @ weights < problem.margin)
        slope = -(paying @ problem.differences)
        first = 0.9 * first + 0.1 * slope
        second = 0.999 * second + 0.001 * slope * slope
        move = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        weights = np.clip(weights - rate * move, 0.0, most)
    return weights
