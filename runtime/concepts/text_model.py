"""What the words of a text say about concepts: logistic models of the whole text and of its best sentence, and cues.

For each concept
* the model of the whole learns from labelled texts;
* the model of sentences learns from sentences: those of texts that do not express the concept, and of each text that
  does the one that looks most like it to the model of the whole (multiple instance learning, one round of Andrews,
  Tsochantaridis and Hofmann, NIPS 2002). Its score of a text is the highest of a sentence: filler dilutes nothing;
* an author's `like` counts as a sentence and a short text that does, `unlike` as one that does not, of less weight;
* a background of texts that were written for nothing in particular stands for what does not, the less of it the more
  labelled texts do that;
* lexicons that the concept is `cued by` add what they say by naive Bayes.

The raw score is a weighted sum of these in nats; with a few dozen labels or more the first two weigh the same. It says
which of two texts expresses the concept more. What it means is for calibration (calibration.py), which needs raw scores
of texts that the model has not seen: `Prepared.out_of_fold`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from bylaw.runtime.concepts import cues as cue_model
from bylaw.runtime.concepts import text_files
from bylaw.runtime.concepts.features import FloatArray, Read, Span, Vocabulary
from bylaw.runtime.concepts.folds import BoolArray, grouped_folds
from bylaw.runtime.concepts.labels import LabelledText, own_labels
from bylaw.runtime.concepts.text_fit import Corpus, Examples, Learned, learn, make_corpus
from bylaw.runtime.scorers.interface import ScorerError
from bylaw.spec.expression import Concept, Cue

BATCH: Final = 256
"""Texts that are read at a time."""
_MOST_PASSAGES: Final = 3
SingleArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class FittedConcepts:
    """Models of K concepts on one vocabulary of V terms, F numbers of form and C cues.

    `names` are those of the concepts. `whole` [V + F, K], `part` [V, K] and `cue` [C, K] are weights, in single
    precision; `intercepts` [3, K]; `form_mean` and `form_scale` [F]. Raw scores are in nats.
    """

    names: tuple[str, ...]
    vocabulary: Vocabulary
    cues: tuple[Cue, ...]
    whole: SingleArray
    part: SingleArray
    cue: SingleArray
    intercepts: FloatArray
    form_mean: FloatArray
    form_scale: FloatArray

    def raw(self, texts: Sequence[str]) -> FloatArray:
        """[N, K] raw scores of N texts."""
        raw = np.empty((len(texts), len(self.names)))
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            raw[start : start + len(batch)] = self._raw(batch)[0]
        return raw

    def look(self, texts: Sequence[str]) -> tuple[FloatArray, list[list[tuple[Span, ...]]]]:
        """([N, K] raw scores, for each text and concept the sentences that look most like it, in the order of the
        text: the best one, and up to two others that hardly fall behind)."""
        raw = np.empty((len(texts), len(self.names)))
        seen: list[list[tuple[Span, ...]]] = []
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            raw[start : start + len(batch)], read, parts = self._raw(batch)
            bounds = np.searchsorted(read.owner, np.arange(len(batch) + 1))
            for first, last in pairwise(bounds):
                seen.append(_passages(parts[first:last], read.places[first:last]))
        return raw, seen

    def _raw(self, texts: Sequence[str]) -> tuple[FloatArray, Read, FloatArray]:
        """([N, K] raw scores, the texts, [S, K] scores of their sentences)."""
        read = self.vocabulary.read(texts)
        parts = read.parts @ self.part + self.intercepts[1]
        forms = (read.forms - self.form_mean) / self.form_scale
        terms = len(self.vocabulary)
        whole = read.whole @ self.whole[:terms] + forms @ self.whole[terms:] + self.intercepts[0]
        cue = cue_model.presence(texts, self.cues) @ self.cue + self.intercepts[2]
        return whole + read.best(parts) + cue, read, parts

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of everything that raw scores depend on."""
        found = hashlib.sha256(text_files.header(self).encode())
        for name, array in text_files.arrays(self).items():
            found.update(f"{name}{array.shape}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    @property
    def bytes(self) -> int:
        """What the weights take, without the vocabulary that all concepts share."""
        return self.whole.nbytes + self.part.nbytes + self.cue.nbytes + self.intercepts.nbytes

    def save(self, folder: str | Path) -> None:
        """Writes concepts.json and concepts.npz into the folder. Raises ScorerError where that cannot be done."""
        text_files.write(self, Path(folder))

    @classmethod
    def load(cls, folder: str | Path) -> FittedConcepts:
        """What `save` wrote. Raises ScorerError for files that are not there, too large, changed, of another version,
        or that do not fit together."""
        data = text_files.read(Path(folder))
        found = cls(**data.fields)
        if found.digest != data.digest:
            raise ScorerError(f"`{folder}`: the models were changed since they were written; fit them again")
        return found


def _passages(scores: FloatArray, places: Sequence[Span]) -> list[tuple[Span, ...]]:
    """For each concept; `scores` [S, K] of the sentences of one text."""
    found = []
    for column in scores.T:
        best = np.argsort(-column, kind="stable")[:_MOST_PASSAGES]
        kept = [place for place in best if column[place] >= max(column[best[0]] / 2, 0.0)] or [best[0]]
        found.append(tuple(places[place] for place in sorted(kept)))
    return found


@dataclass(frozen=True, eq=False)
class Prepared:
    """Concepts with their examples, all texts read: ready to fit, and to fit again without some."""

    concepts: tuple[Concept, ...]
    labels: Mapping[str, tuple[LabelledText, ...]]
    corpus: Corpus

    def fit(self) -> FittedConcepts:
        """The models of all concepts, each from all of its examples."""
        learned = [learn(self.corpus, concept, self._all(concept)) for concept in self.concepts]
        return _fitted(self.concepts, self.corpus, learned)

    def out_of_fold(
        self, concept: Concept, with_phrases: bool, groups: Sequence[object] | None = None
    ) -> FloatArray | None:
        """[N] raw scores of the labelled texts of a concept, after them (`with_phrases`) of its `like` and `unlike`,
        each by a model that has not seen the text's group; None where one group holds all of a class. `groups` [N]:
        None means those of the labelled texts.

        The vocabulary and how rare its terms are come from all texts, without their labels.
        """
        told = (*self.labels.get(concept.name, ()), *(own_labels(concept) if with_phrases else ()))
        does = np.array([each.expresses for each in told], dtype=bool)
        folds = grouped_folds(does, [each.group for each in told] if groups is None else groups)
        if folds is None:
            return None
        rows = self.corpus.rows([each.text for each in told])
        raw = np.empty(len(told))
        for fold in range(int(folds.max()) + 1):
            out = folds == fold
            learned = learn(self.corpus, concept, self._without(concept, out))
            raw[out] = _scores(self.corpus, learned, rows[out])
        return raw

    def _all(self, concept: Concept) -> Examples:
        labelled = self.labels.get(concept.name, ())
        return self._without(concept, np.zeros(len(labelled), dtype=bool))

    def _without(self, concept: Concept, out: BoolArray) -> Examples:
        """The examples but those that are `out`, labelled texts first, then (if it is longer) like and unlike."""
        labelled = self.labels.get(concept.name, ())
        kept = [each for each, is_out in zip(labelled, out, strict=False) if not is_out]
        phrases = out[len(labelled) :]
        likes, unlikes = np.array(concept.like, dtype=object), np.array(concept.unlike, dtype=object)
        if len(phrases):
            likes, unlikes = likes[~phrases[: len(likes)]], unlikes[~phrases[len(likes) :]]
        does = np.array([each.expresses for each in kept], dtype=bool)
        rows = self.corpus.rows([each.text for each in kept])
        return Examples(rows, does, self.corpus.rows(list(likes)), self.corpus.rows(list(unlikes)))


def prepare(concepts: Sequence[Concept], labels: Mapping[str, Sequence[LabelledText]]) -> Prepared:
    """Reads the labelled texts (by the full name of the concept), the concepts' own examples and the background."""
    kept = {concept.name: tuple(labels.get(concept.name, ())) for concept in concepts}
    texts = list(dict.fromkeys(each.text for some in kept.values() for each in some))
    return Prepared(tuple(concepts), kept, make_corpus(concepts, texts))


def fit(concepts: Sequence[Concept], labels: Mapping[str, Sequence[LabelledText]]) -> FittedConcepts:
    """The models of concepts, from their examples and labelled texts."""
    return prepare(concepts, labels).fit()


def _scores(corpus: Corpus, learned: Learned, rows: Any) -> FloatArray:
    parts = corpus.read.parts @ learned.part.weights
    best = np.array([parts[corpus.starts[row] : corpus.starts[row + 1]].max() for row in rows])
    whole = corpus.whole[rows] @ learned.whole.weights
    cue = corpus.present[rows] @ learned.cue.weights
    intercept = learned.whole.intercept + learned.part.intercept + learned.cue.intercept
    found: FloatArray = whole + best + cue + intercept
    return found


def _fitted(concepts: Sequence[Concept], corpus: Corpus, learned: Sequence[Learned]) -> FittedConcepts:
    def columns(part: str, height: int) -> SingleArray:
        found = [getattr(each, part).weights for each in learned]
        return np.ascontiguousarray(np.array(found, dtype=np.float32).reshape(len(learned), height).T)

    terms, forms = len(corpus.vocabulary), len(corpus.form_mean)
    intercepts = [[getattr(each, part).intercept for each in learned] for part in ("whole", "part", "cue")]
    return FittedConcepts(
        names=tuple(concept.name for concept in concepts),
        vocabulary=corpus.vocabulary,
        cues=corpus.cues,
        whole=columns("whole", terms + forms),
        part=columns("part", terms),
        cue=columns("cue", len(corpus.cues)),
        intercepts=np.array(intercepts, dtype=float).reshape(3, len(learned)),
        form_mean=corpus.form_mean,
        form_scale=corpus.form_scale,
    )
