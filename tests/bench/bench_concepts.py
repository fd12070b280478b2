"""OMP_NUM_THREADS=1 python tests/bench/bench_concepts.py [OUT.npz]

How well the default scorer sees nineteen propositions of the gold data of Rule Based Rewards (those with at least
fourteen positives), without torch: five folds by conversation, everything fitted without the held-out fold (vocabulary,
rarity of terms, models), thresholds and Platt scaling without the fold that they are used on.

concepts_rbr.bylaw holds the phrases (`like`, `unlike`) and the patterns (`cued by`). With OUT.npz the raw scores of
held-out texts are written there: raw [N, K], labels [N, K], groups [N], names [K].
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bylaw.compiler.pipeline import compile_source
from bylaw.runtime.concepts import text_model
from bylaw.runtime.concepts.calibration import Calibration, calibrate
from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.concepts.performance import auc, group_numbers
from bylaw.runtime.scorers.build import concepts_of
from bylaw.spec.expression import Concept
from bylaw.spec.source import Source

Array = npt.NDArray[np.float64]
DATA = Path(__file__).parents[3] / "shared" / "data" / "openai_rbr" / "train.jsonl"
POLICY = Path(__file__).with_name("concepts_rbr.bylaw")
NOTES = """\
What fails, and why. An area below .86 has
* additional_content, fully_complies and partially_complies with few labels or none: whether a text is an answer or
  more than a refusal depends on what was asked, which is not in it. additional_content is labelled mostly where the
  request had to be refused, so that the request says more than the answer;
* judgement: preaching and advice have the same words, and people label both ways;
* third_person: `we` of the assistant and `we` of everybody differ by what is meant;
* illogical_continuation_of_prompt and conditional_verbiage without labels: the first is about the request, the second
  is labelled only in talks about distress, which no phrase says. disallowed_content without labels has a good order
  and a bad threshold.
Patterns take away from disallowed_content and inability_to_comply (17 and 15 positives: .02 to .03 of area, within
the error): most texts with the words of a pattern are neither.

What was chosen by looking at these results, once for all concepts: that only the text is read (the request added
nothing to the means), how much the background weighs, WHOLE_FROM, how the share of cues falls with labels, and one
choice of the best sentences instead of two (same figures, less time). Phrases and patterns were written from the
questions of the propositions, by somebody who had read about two dozen of the completions to learn their form.
"""
FEWEST = 14
FEW, DRAWS = 8, 5


@dataclass(frozen=True)
class Gold:
    """N completions with labels [N, K]; `fold` [N] is made of whole conversations."""

    texts: tuple[str, ...]
    labels: npt.NDArray[np.bool_]
    groups: tuple[str, ...]
    names: tuple[str, ...]
    fold: npt.NDArray[np.int64]


def gold() -> Gold:
    """The completions, with the propositions that have enough positives."""
    rows = [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]
    names = [name for name in rows[0]["propositions"] if sum(row["propositions"][name] for row in rows) >= FEWEST]
    labels = np.array([[row["propositions"][name] for name in names] for row in rows], dtype=bool)
    groups = tuple(row["prompt"][0]["content"] for row in rows)  # conversations that begin alike are one
    fold = folds_of(groups)
    return Gold(tuple(row["completion"][0]["content"] for row in rows), labels, groups, tuple(names), fold)


def folds_of(groups: Sequence[str], folds: int = 5) -> npt.NDArray[np.int64]:
    """Conversations in a random order (fixed seed), dealt out in turn: no label is looked at."""
    numbers = group_numbers(groups, len(groups))
    dealt = np.random.default_rng(7).permutation(int(numbers.max()) + 1) % folds
    found: npt.NDArray[np.int64] = dealt[numbers]
    return found


def concepts(names: Sequence[str]) -> list[Concept]:
    """The concepts of the policy, in the order of the labels."""
    rules = "".join(f"rule r_{name} {{ should not express {name} }}\n" for name in names)
    found = concepts_of(compile_source(Source(POLICY.name, POLICY.read_text(encoding="utf-8") + rules)).require())
    return [found[name] for name in names]


def labelled(data: Gold, column: int, rows: npt.NDArray[np.int64]) -> tuple[LabelledText, ...]:
    """Texts of one proposition."""
    return tuple(
        LabelledText(data.texts[row], bool(data.labels[row, column]), data.groups[row]) for row in rows.tolist()
    )


def stripped(each: Concept, phrases: bool, patterns: bool) -> Concept:
    """The concept with what its author gave, or without."""
    kept = each if phrases else replace(each, like=(), unlike=())
    return kept if patterns else replace(kept, cues=())


def with_all_labels(data: Gold, told: Sequence[Concept]) -> Array:
    """[N, K] raw scores, each of a model that was fitted without the text's fold."""
    raw = np.empty(data.labels.shape)
    for train, out in held_out(data):
        labels = {each.name: labelled(data, column, train) for column, each in enumerate(told)}
        raw[out] = text_model.fit(told, labels).raw([data.texts[row] for row in out])
    return raw


def held_out(data: Gold) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    for fold in np.unique(data.fold):
        yield np.flatnonzero(data.fold != fold), np.flatnonzero(data.fold == fold)


def with_few_labels(data: Gold, told: Sequence[Concept], few: int, seed: int) -> tuple[Array, Array]:
    """([N, K] raw scores, [N, K] scores at even odds) from `few` texts of each class out of the other folds; without
    any, the score is rough: that of the raw score itself."""
    raw, score = np.empty(data.labels.shape), np.empty(data.labels.shape)
    random = np.random.default_rng(seed)
    for train, out in held_out(data):
        labels: dict[str, tuple[LabelledText, ...]] = {}
        for column, each in enumerate(told):
            does = data.labels[train, column]
            drawn = [random.permutation(train[does == kind])[:few] for kind in (True, False)]
            labels[each.name] = labelled(data, column, np.concatenate(drawn))
        prepared = text_model.prepare(told, labels)
        raw[out] = prepared.fit().raw([data.texts[row] for row in out])
        for column, each in enumerate(told):
            score[out, column] = (
                _score(prepared, each, raw[out, column]) if few else 1 / (1 + np.exp(-raw[out, column]))
            )
    return raw, score


def _score(prepared: text_model.Prepared, concept: Concept, raw: Array) -> Array:
    own = prepared.labels[concept.name]
    inner = prepared.out_of_fold(concept, with_phrases=False)
    assert inner is not None
    found = calibrate(inner, [each.expresses for each in own], [each.group for each in own])
    return np.asarray(found.score(raw))


# ------------------------------------------------------------------------------------------------------------ figures
def area(data: Gold, raw: Array) -> Array:
    """[K] area under the curve."""
    groups = group_numbers(data.groups, len(data.groups))
    return np.array([auc(raw[:, k], data.labels[:, k], groups).value for k in range(len(data.names))])


def balanced(data: Gold, score: Array) -> Array:
    """[K] mean of the shares of both classes on the right side of one half."""
    said = score >= 0.5
    return np.array([np.mean([(said[data.labels[:, k] == kind, k] == kind).mean() for kind in (True, False)])
                     for k in range(len(data.names))])  # fmt: skip


def calibrations(data: Gold, raw: Array) -> list[Calibration]:
    return [calibrate(raw[:, k], data.labels[:, k], data.groups) for k in range(len(data.names))]


def main() -> None:
    data = gold()
    told = concepts(data.names)
    began = time.perf_counter()
    every = {
        "words": with_all_labels(data, [stripped(each, False, False) for each in told]),
        "+ phrases": with_all_labels(data, [stripped(each, True, False) for each in told]),
        "+ patterns": with_all_labels(data, told),
    }
    known = {name: calibrations(data, raw) for name, raw in every.items()}
    drawn = [with_few_labels(data, told, FEW, seed) for seed in range(DRAWS)]
    none = with_few_labels(data, told, 0, 0)
    if len(sys.argv) > 1:
        groups = group_numbers(data.groups, len(data.groups))
        np.savez(sys.argv[1], raw=every["+ patterns"], labels=data.labels, groups=groups, names=np.array(data.names))
    few = np.mean([area(data, raw) for raw, _ in drawn], axis=0), np.mean([balanced(data, s) for _, s in drawn], axis=0)
    zero = area(data, none[0]), balanced(data, none[1])
    print(__doc__.splitlines()[0] if __doc__ else "")
    print(f"\n{len(data.texts)} completions, {len(set(data.groups))} conversations, {len(data.names)} propositions\n")
    table(data, known, few, zero)
    print(f"\n{NOTES}")
    speed(data, told)
    print(f"\nwhole benchmark: {time.perf_counter() - began:.0f} s")


def table(
    data: Gold, known: Mapping[str, list[Calibration]], few: tuple[Array, Array], zero: tuple[Array, Array]
) -> None:
    print("AUC, balanced accuracy (.50 for whoever always says the same), plain accuracy of that (`same`), ECE")
    head = "".join(f"{name:>18}" for name in (*known, f"{FEW} + {FEW} labels", "no label"))
    print(f"{'':36}{'positive':>9}{'same':>6}{head}{'ECE':>7}")
    rows: list[list[float]] = []
    for k, name in enumerate(data.names):
        own = [found[k] for found in known.values()]
        figures = [value for found in own for value in (found.auc.value, found.balanced_accuracy.value)]
        figures += [few[0][k], few[1][k], zero[0][k], zero[1][k]]
        rows.append([own[-1].majority_accuracy, *figures, own[-1].ece])
        print(_line(name, str(own[-1].positives), rows[-1]))
    print(_line("mean", "", np.mean(rows, axis=0).tolist()))


def _line(name: str, positives: str, figures: Sequence[float]) -> str:
    same, *pairs, ece = figures
    shown = "".join(f"{a:>12.3f}{b:>6.3f}" for a, b in zip(pairs[::2], pairs[1::2], strict=True))
    return f"{name:36}{positives:>9}{same:>6.2f}{shown}{ece:>7.3f}"


def speed(data: Gold, told: Sequence[Concept]) -> None:
    """Fits and asks 23 concepts, as many as there are propositions: some of the nineteen twice."""
    many = [*told, *(replace(each, name=f"{each.name}_again") for each in told[:4])]
    rows = np.arange(len(data.texts))
    labels = {each.name: labelled(data, column % len(told), rows) for column, each in enumerate(many)}
    began = time.process_time()
    prepared = text_model.prepare(many, labels)
    read = time.process_time() - began
    began = time.process_time()
    fitted = prepared.fit()
    each = (time.process_time() - began) / len(many)
    print(f"{len(many)} concepts, {len(data.texts)} labelled texts, {len(fitted.vocabulary):,} terms")
    print(f"fitting a concept {1e3 * each:.0f} ms (reading all texts once, for all concepts: {read:.2f} s)")
    print(f"weights {fitted.bytes / len(many) / 1e6:.3f} MB a concept")
    began = time.process_time()
    fitted.raw(data.texts)
    print(f"asking, many at a time: {1e3 * (time.process_time() - began) / len(data.texts):.2f} ms a completion")
    began = time.process_time()
    for text in data.texts[:100]:
        fitted.raw([text])
    print(f"asking, one at a time: {1e3 * (time.process_time() - began) / 100:.2f} ms a completion")


if __name__ == "__main__":
    main()
