"""Are the texts that are scored like the texts that scores were calibrated on? A two-sample classifier test.

A linear classifier (regularised least squares) is asked, text by text, which of the two sets a text is from, always
about texts that it was not fitted on. If both sets come from one source, it can do no better than chance. How good
chance is, is found by shuffling: the same with the sets' names dealt anew. So the level holds whatever the features
are, as long as the texts are independent: of each group (a conversation) one text is tested. Without drift, it is
found in at most 5 of 100 tests; who tests many sets of texts has to expect that. Least squares, because the classifier
out of fold is then one matrix for all shuffles, and a test takes less than a second.

Texts of which another share expresses a concept differ too, and what was calibrated class by class minds that not. So
who withdraws a calibration tests again, against texts that were `thinned` to the share of those that are scored.

Sources: Lopez-Paz and Oquab, "Revisiting classifier two-sample tests", ICLR 2017; Phipson and Smyth, *Statistical
Applications in Genetics and Molecular Biology* 9 (2010) 39 (p-values of shuffles are never zero).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from bylaw.runtime.concepts.conformal import BoolArray, FloatArray
from bylaw.runtime.concepts.performance import IntArray, group_numbers

if TYPE_CHECKING:
    from scipy.sparse import spmatrix

Features: TypeAlias = "npt.NDArray[np.float64] | spmatrix"
LEVEL = 0.05
STRICT_LEVEL = 0.02
"""Of the second test, against thinned texts: it alone guards where another share is all that differs, and what hangs on
it is every score of a concept."""
LEAST = 20
"""With fewer independent texts than this on one side, a test would seldom find even a great difference."""
MOST = 400
"""So many groups of each side are enough to find a drift that matters; of more, a random part is tested."""
MOST_WORDS = 20_000
MOST_CHARACTERS = 20_000
_SHUFFLES = 99
_FOLDS = 5
_RIDGE = 1.0
_SEED = 31


class DriftError(Exception):
    """Features that cannot be compared; text fit for users."""


@dataclass(frozen=True, slots=True)
class Drift:
    """`verdict`: `drift`, `none` (no drift found) or `cannot_tell` (too few texts). `auc`: how well the two sets are
    told apart (0.5: not at all) and `p_value`, None where nothing was tested. Independent texts tested of each side,
    and a `reason` fit for users."""

    verdict: Literal["drift", "none", "cannot_tell"]
    auc: float | None
    p_value: float | None
    calibrated: int
    audited: int
    reason: str

    @property
    def is_found(self) -> bool:
        """Whether calibration is to be withdrawn."""
        return self.verdict == "drift"


def drift(
    calibrated: Features,
    audited: Features,
    *,
    calibrated_groups: Sequence[object] | None = None,
    audited_groups: Sequence[object] | None = None,
    level: float = LEVEL,
    seed: int = _SEED,
) -> Drift:
    """Tests whether texts with features `audited` [M, F] come from where `calibrated` [N, F] do; dense or sparse (CSR).

    Of texts with equal groups [N], [M] (conversations) one is tested; a group that is on both sides is two. The same
    input gives the same answer. Raises DriftError for matrices of other widths, values that are not finite and a
    number of groups that differs from that of the texts.
    """
    _check(calibrated, audited)
    rng = np.random.default_rng(seed)
    sides = [
        _one_of_each(part.shape[0], groups, rng)
        for part, groups in ((calibrated, calibrated_groups), (audited, audited_groups))
    ]
    sizes = len(sides[0]), len(sides[1])
    if min(sizes) < LEAST:
        reason = (
            f"there are {sizes[0]} independent texts that scores were calibrated on and {sizes[1]} that are scored; "
            f"whether they differ in kind can be told from {LEAST} of each on"
        )
        return Drift("cannot_tell", None, None, *sizes, reason)
    kernel = _kernel(calibrated[sides[0]], audited[sides[1]])
    found, p_value = _tested(kernel, np.arange(sum(sizes)) >= sizes[0], rng)
    is_drift = p_value <= level and found > 0.5
    tested = f"p = {p_value:.2f} from {sizes[0]} and {sizes[1]} independent texts"
    if is_drift:
        reason = (
            f"the texts that are scored are of another kind than those that scores were calibrated on: a classifier "
            f"tells them apart with AUC {found:.2f} (0.50: not at all; {tested})"
        )
    else:
        reason = (
            f"the texts that are scored cannot be told from those that scores were calibrated on: no difference found "
            f"({tested})"
        )
    return Drift("drift" if is_drift else "none", found, p_value, *sizes, reason)


def drift_of_texts(
    calibrated: Sequence[str],
    audited: Sequence[str],
    *,
    calibrated_groups: Sequence[object] | None = None,
    audited_groups: Sequence[object] | None = None,
    level: float = LEVEL,
    seed: int = _SEED,
) -> Drift:
    """`drift` of texts by their words and pairs of words (TF-IDF over both sets, words that occur in two texts)."""
    features = _words([*calibrated, *audited])
    return drift(
        features[: len(calibrated)],
        features[len(calibrated) :],
        calibrated_groups=calibrated_groups,
        audited_groups=audited_groups,
        level=level,
        seed=seed,
    )


def thinned(expresses: Sequence[bool], share: float, *, seed: int = _SEED) -> list[int]:
    """Numbers of the texts, in their order, that are left when so many of the one kind or of the other are taken away
    at random that the `share` (0 to 1) of the rest expresses the concept, as nearly as whole texts can.

    The same input gives the same answer. Raises ValueError for a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share lies between 0 and 1, not {share}")
    kinds = [[i for i, does in enumerate(expresses) if bool(does) is kind] for kind in (False, True)]
    have, wanted = [len(kind) for kind in kinds], (1 - share, share)
    # all of the kind that there is too little of, and as many of the other as go with them
    size = min(count / part for count, part in zip(have, wanted, strict=True) if part > 0)
    rng = np.random.default_rng(seed)
    left = [
        rng.permutation(kind)[: min(count, round(size * part))].tolist()
        for kind, count, part in zip(kinds, have, wanted, strict=True)
    ]
    return sorted(int(number) for kind in left for number in kind)


def _words(texts: Sequence[str]) -> Features:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

    by_words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2, max_features=MOST_WORDS)
    try:
        found: Features = by_words.fit_transform([text[:MOST_CHARACTERS] for text in texts])
    except ValueError:
        # no word occurs in two texts: nothing that could differ
        found = csr_matrix((len(texts), 1))
    return found


def _check(calibrated: Features, audited: Features) -> None:
    if len(calibrated.shape) != 2 or len(audited.shape) != 2 or calibrated.shape[1] != audited.shape[1]:
        raise DriftError(
            f"features of shape {calibrated.shape} and {audited.shape}; both are matrices with the same columns"
        )
    for part in (calibrated, audited):
        if not np.isfinite(part.data if hasattr(part, "tocsr") else part).all():
            raise DriftError("a feature is not finite: the model that gave it is broken, or its input is")


def _one_of_each(count: int, groups: Sequence[object] | None, rng: np.random.Generator) -> IntArray:
    """One random row of each group, of at most MOST random groups, in their order."""
    if groups is not None and len(groups) != count:
        raise DriftError(f"there are {count} texts and {len(groups)} groups; each text has one group")
    order = rng.permutation(count)
    _, first = np.unique(group_numbers(groups, count)[order], return_index=True)
    return np.sort(order[rng.permutation(first)[:MOST]])


def _kernel(calibrated: Features, audited: Features) -> FloatArray:
    """[n, n] inner products of centred features, with a mean square of 1 on the diagonal. Columns of dense features are
    first brought to one scale; sparse ones (counts, TF-IDF) have one."""
    if hasattr(calibrated, "tocsr"):
        from scipy.sparse import vstack

        rows = vstack([calibrated, audited]).tocsr()
        products = np.asarray((rows @ rows.T).todense(), dtype=float)
    else:
        dense = np.concatenate([np.asarray(calibrated), np.asarray(audited)]).astype(float)
        dense = dense - dense.mean(axis=0)
        scale = dense.std(axis=0)
        dense = dense / np.where(scale > 0, scale, 1.0)
        products = dense @ dense.T
    products = products - products.mean(axis=0)
    products = products - products.mean(axis=1, keepdims=True)
    size = float(np.trace(products)) / len(products)
    found: FloatArray = products / size if size > 0 else products
    return found


def _tested(kernel: FloatArray, side: BoolArray, rng: np.random.Generator) -> tuple[float, float]:
    """The AUC out of fold, and the share of shuffles (with the truth among them) that reach it.

    Folds do not depend on the sides, and the sides are shuffled as a whole, so all columns are exchangeable.
    """
    columns = np.stack([side, *(rng.permutation(side) for _ in range(_SHUFFLES))], axis=1)
    folds = rng.permutation(np.arange(len(side)) % _FOLDS)
    total, pairs = np.zeros(columns.shape[1]), np.zeros(columns.shape[1])
    for fold in range(_FOLDS):
        out, rest = folds == fold, folds != fold
        targets = columns[rest] - columns[rest].mean(axis=0)
        weights = np.linalg.solve(kernel[np.ix_(rest, rest)] + _RIDGE * np.eye(int(rest.sum())), targets)
        better, among = _wins(kernel[np.ix_(out, rest)] @ weights, columns[out])
        total, pairs = total + better, pairs + among
    areas = total / np.maximum(pairs, 1)
    return float(areas[0]), float((areas >= areas[0] - 1e-12).mean())


def _wins(scores: FloatArray, side: BoolArray) -> tuple[FloatArray, FloatArray]:
    """For each column: how many pairs of both sides are the right way round (ties half), and how many there are."""
    from scipy.stats import rankdata

    ranks: FloatArray = rankdata(scores, axis=0)
    audited = side.sum(axis=0)
    won: FloatArray = (ranks * side).sum(axis=0) - audited * (audited + 1) / 2
    return won, (audited * (len(side) - audited)).astype(float)
