"""What calibrations promise, held against texts that they have not seen.

    OMP_NUM_THREADS=1 python tests/bench/bench_concepts.py scores.npz
    OMP_NUM_THREADS=1 python tests/bench/bench_conformal.py scores.npz > tests/bench/bench_conformal.txt

The gold data of Rule-Based Rewards (shared/data/openai_rbr beside the checkout): each proposition with at least 14
positives is scored out of fold (five folds by conversation), by a plain TF-IDF logistic model and, where a file is
given, as it says (`raw` [N, K], `labels` [N, K], `groups` [N], `names` [K]). Then calibration is made on four parts of
the conversations and tried on the fifth. Coverage at alpha = .10 is the share of a class whose set held it; unscored
are the texts whose set was not one class, or not the one of the score. XSTest: drift between two models' completions to
other prompts, and between halves of one's. Near-duplicates: texts of 150 invented words that begin alike.
"""

from __future__ import annotations

import csv
import json
import random
import sys
import time
from pathlib import Path

import numpy as np

from bylaw.runtime.audit.statistics import wilson
from bylaw.runtime.concepts import calibration, conformal, drift, duplicates, performance

DATA = Path(__file__).parents[3] / "shared" / "data"
LEAST_POSITIVES, ALPHA, DRAWS = 14, 0.1, 10


def rbr() -> tuple[list[str], np.ndarray, list[str], list[str]]:
    """Texts [N], labels [N, K], conversations [N], names [K] of the propositions with enough positives."""
    lines = (DATA / "openai_rbr" / "train.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    names = sorted(rows[0]["propositions"])
    labels = np.array([[bool(row["propositions"][name]) for name in names] for row in rows])
    kept = labels.sum(axis=0) >= LEAST_POSITIVES
    texts = [" ".join(message["content"] for message in row["completion"]) for row in rows]
    groups = [json.dumps(row["prompt"]) for row in rows]
    return texts, labels[:, kept], groups, [name for name, is_kept in zip(names, kept, strict=True) if is_kept]


def plain_scores(texts: list[str], labels: np.ndarray, groups: list[str]) -> np.ndarray:
    """[N, K] out of fold: words and characters, one logistic model a proposition, nothing tuned."""
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=2)
    fold = folds(groups)
    raw = np.empty(labels.shape)
    for number in range(5):
        rest, out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        known, unknown = [texts[i] for i in rest], [texts[i] for i in out]
        fitted = hstack([words.fit_transform(known), characters.fit_transform(known)]).tocsr()
        asked = hstack([words.transform(unknown), characters.transform(unknown)]).tocsr()
        for k in range(labels.shape[1]):
            model = LogisticRegression(C=10, class_weight="balanced", solver="liblinear").fit(fitted, labels[rest, k])
            raw[out, k] = model.decision_function(asked)
    return raw


def folds(groups: list[str], seed: int = 0) -> np.ndarray:
    """[N] five folds of whole conversations."""
    number = performance.group_numbers(groups, len(groups))
    return (np.random.default_rng(seed).permutation(int(number.max()) + 1) % 5)[number]


def held_out(raw: np.ndarray, labels: np.ndarray, groups: list[str]) -> tuple[np.ndarray, np.ndarray, float]:
    """Sets, decisions and expected calibration error, each by a calibration without its conversation."""
    part = folds(groups, seed=1)
    sets, above, probability = np.empty((len(raw), 2), dtype=bool), np.empty(len(raw), dtype=bool), np.empty(len(raw))
    for number in range(5):
        out = part == number
        some = [group for group, is_out in zip(groups, out, strict=True) if not is_out]
        found = calibration.calibrate(raw[~out], labels[~out], some, alpha=ALPHA)
        sets[out], above[out] = found.sets(raw[out]), found.score(raw[out]) > 0.5
        probability[out] = found.probability(raw[out])
    return sets, above, performance.calibration_error(probability, labels)


def share(count: int, total: int) -> str:
    interval = wilson(count, total)
    return f"{count / total:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def table(raw: np.ndarray, labels: np.ndarray, groups: list[str], names: list[str]) -> None:
    print(f"{len(raw)} texts, {len(set(groups))} conversations, alpha {ALPHA}; balanced accuracy of the majority: .500")
    print(f"{'proposition':38} {'does':>4} {'AUC':>5} {'bal':>5} {'acc':>5} {'major':>5} {'ECE':>5} "
          f"{'covered does':>13} {'does not':>9} {'unscored':>9}")  # fmt: skip
    rows = []
    for k, name in enumerate(names):
        does = labels[:, k]
        sets, above, error = held_out(raw[:, k], does, groups)
        found = conformal.coverage(sets, does)
        area = performance.auc(raw[:, k], does, performance.group_numbers(groups, len(groups))).value
        balanced = (above[does].mean() + 1 - above[~does].mean()) / 2
        plain, major = float((above == does).mean()), float(max(does.mean(), 1 - does.mean()))
        # a set on the other side of the threshold than the score is no answer either
        unanswered = float(((sets.sum(axis=1) != 1) | (sets[:, 1] != above)).mean())
        rows.append((area, balanced, plain, major, error, found, unanswered))
        print(f"{name:38} {does.sum():4} {area:5.3f} {balanced:5.3f} {plain:5.3f} {major:5.3f} {error:5.3f} "
              f"{found.covered_positives / found.positives:13.3f} {found.covered_negatives / found.negatives:9.3f} "
              f"{unanswered:9.3f}")  # fmt: skip
    means = [float(np.mean([row[i] for row in rows])) for i in range(5)]
    of = [row[5] for row in rows]
    print("means: AUC {:.3f}, balanced accuracy {:.3f}, accuracy {:.3f} (majority {:.3f}), ECE {:.3f}".format(*means))
    does_mean = np.mean([c.covered_positives / c.positives for c in of])
    does_not_mean = np.mean([c.covered_negatives / c.negatives for c in of])
    unscored = np.mean([row[6] for row in rows])
    print(
        f"coverage, mean of propositions: does {does_mean:.3f}, does not {does_not_mean:.3f}; unscored {unscored:.3f}"
    )
    does_all = share(sum(c.covered_positives for c in of), sum(c.positives for c in of))
    does_not_all = share(sum(c.covered_negatives for c in of), sum(c.negatives for c in of))
    wrong = share(sum(c.wrong for c in of), sum(c.positives + c.negatives - c.unscored for c in of))
    print(f"coverage, all texts: does {does_all}, does not {does_not_all}; of sets of one class, wrong {wrong}")


def drifts() -> None:
    completions = {}
    for model in ("gpt4", "llama2orig"):
        with (DATA / "xstest" / f"{model}.csv").open(encoding="utf-8", newline="") as file:
            completions[model] = [row["completion"] for row in csv.DictReader(file)]
    first, second = completions["gpt4"], completions["llama2orig"]
    for size in (25, 50, 100):
        rng, flagged, false, start = np.random.default_rng(0), 0, 0, time.process_time()
        for draw in range(10 * DRAWS):
            order = rng.permutation(len(first))
            one, other = order[:size], order[size : 2 * size]
            known = [first[i] for i in one]
            flagged += drift.drift_of_texts(known, [second[i] for i in other], seed=draw).is_found
            false += drift.drift_of_texts(known, [first[i] for i in other], seed=draw).is_found
        seconds = (time.process_time() - start) / (20 * DRAWS)
        print(f"drift, {size} + {size} texts: gpt4 -> llama2orig flagged in {flagged} of {10 * DRAWS} draws, "
              f"gpt4 -> gpt4 in {false}; {seconds:.2f} s a test")  # fmt: skip


def near_duplicates() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(5000)]
    texts = ["I am sorry, but I cannot help with that. " + " ".join(rng.choices(words, k=150)) for _ in range(10_000)]
    copies = [text.replace("o", "0", 3) for text in texts[:100]]
    for size in (2500, 5000, 10_000):
        start = time.process_time()
        found = duplicates.near_duplicates([*texts[:size], *copies])
        seconds = time.process_time() - start
        print(f"near-duplicates: {size} texts and 100 edited copies, {len(found)} pairs found in {seconds:.1f} s")


def main() -> None:
    given = sys.argv[1] if len(sys.argv) > 1 else ""
    print(f"OMP_NUM_THREADS=1 python tests/bench/bench_conformal.py {Path(given).name if given else ''}".strip())
    texts, labels, groups, names = rbr()
    print("\na plain TF-IDF logistic model, as a baseline")
    table(plain_scores(texts, labels, groups), labels, groups, names)
    if given:
        with np.load(given, allow_pickle=False) as scores:
            raw, labels = scores["raw"], scores["labels"].astype(bool)
            groups, names = [str(group) for group in scores["groups"]], [str(name) for name in scores["names"]]
        print("\nthe scorer `words`: scores of bench_concepts.py")
        table(raw, labels, groups, names)
    print()
    drifts()
    near_duplicates()


if __name__ == "__main__":
    main()
