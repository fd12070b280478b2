"""Fitting one concept to its examples: the models that text_model.py adds up.

How examples are weighed against each other are the constants below. They are the same for all concepts; those marked
with * were chosen by looking at the results of tests/bench/bench_concepts.py, all others beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np

from bylaw.runtime.concepts import cues as cue_model
from bylaw.runtime.concepts.background import background
from bylaw.runtime.concepts.features import FloatArray, IntArray, Read, Vocabulary, vocabulary
from bylaw.runtime.concepts.folds import BoolArray
from bylaw.runtime.concepts.logistic import Linear, fit_logistic
from bylaw.spec.expression import Concept, Cue

STRENGTH: Final = 4.0
"""Inverse of the squared penalty of weights; examples of both classes weigh the same in total."""
FORM_SCALE: Final = 0.15
"""How much the form of a text counts, in units of its standard deviation."""
UNLIKE: Final = 0.5
"""What a sentence of an `unlike` weighs; one of a labelled text, of a `like` or (*) of the background weighs 1."""
FADING: Final = 20.0
"""Labelled texts of a class at which `like` and background weigh half of what they do without any."""
SHORT_TEXTS: Final = 0.3
"""What a `like`, and the whole background together with FADING texts, weigh in the model of the whole."""
WHOLE_FROM: Final = 2.0
"""* Labelled texts of the smaller class at which the model of the whole has half of its final share of one half."""
CUES_AT_LEAST: Final = 0.25
CUES_FADING: Final = 8.0
"""* What cues say counts fully without labels and CUES_AT_LEAST in the end; half way at CUES_FADING texts a class."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """All texts that concepts are fitted to, read once. `row`: of each text; `present` [N, C]: of cues in texts;
    `form_mean` and `form_scale` [F]: of labelled texts, of the background where there are none."""

    row: dict[str, int]
    vocabulary: Vocabulary
    read: Read
    cues: tuple[Cue, ...]
    present: FloatArray
    form_mean: FloatArray
    form_scale: FloatArray

    @cached_property
    def background(self) -> IntArray:
        """Rows of the background."""
        return self.rows(background())

    @cached_property
    def starts(self) -> IntArray:
        """[N + 1] the first sentence of each text."""
        return np.searchsorted(self.read.owner, np.arange(len(self.row) + 1))

    @cached_property
    def whole(self) -> Any:
        """[N, V + F] terms and form of the texts."""
        import scipy.sparse as sparse

        forms = (self.read.forms - self.form_mean) / self.form_scale
        return sparse.hstack([self.read.whole, sparse.csr_matrix(forms)], format="csr")

    def rows(self, texts: Sequence[str]) -> IntArray:
        """The rows of texts."""
        return np.array([self.row[text] for text in texts], dtype=np.int64)

    def sentences(self, rows: IntArray) -> IntArray:
        """The sentences of the texts of these rows."""
        if not len(rows):
            return np.empty(0, dtype=np.int64)
        return np.concatenate([np.arange(self.starts[row], self.starts[row + 1]) for row in rows])


def make_corpus(concepts: Sequence[Concept], labelled: Sequence[str]) -> Corpus:
    """Reads the labelled texts, the examples of the concepts and the background."""
    examples = (text for concept in concepts for text in (*concept.like, *concept.unlike))
    texts = list(dict.fromkeys((*labelled, *examples, *background())))
    terms = vocabulary(texts)
    read = terms.read(texts)
    row = {text: number for number, text in enumerate(texts)}
    cues = tuple(dict.fromkeys(cue for concept in concepts for cue in concept.cues))
    shown = read.forms[[row[text] for text in (labelled or background())]]
    # with few texts a form may hardly vary by chance: half a unit more than nothing
    scale = shown.std(axis=0) + 0.5 / np.sqrt(len(shown))
    present = cue_model.presence(texts, cues)
    return Corpus(row, terms, read, cues, present, shown.mean(axis=0), scale / FORM_SCALE)


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Rows of a corpus: labelled texts [M] that express a concept (`does` [M]) or not, phrases of its author."""

    rows: IntArray
    does: BoolArray
    like: IntArray
    unlike: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Learned:
    """One concept: `whole` on terms and form of a text, `part` on terms of a sentence, `cue` on presence of cues. Their
    sum is the raw score; each is weighted already."""

    whole: Linear
    part: Linear
    cue: Linear


def learn(corpus: Corpus, concept: Concept, examples: Examples) -> Learned:
    """Fits the models of one concept. Without an example of any kind of what expresses it, all weights are 0."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    yes, no = examples.rows[examples.does], examples.rows[~examples.does]
    fewer = min(len(yes), len(no))
    share = 0.5 * fewer / (fewer + WHOLE_FROM)
    with threadpool_limits(1):  # for matrices as small as these, threads only wait for each other
        whole = _whole(corpus, yes, no, examples)
        part = _part(corpus, yes, no, examples, whole)
    counted = CUES_AT_LEAST + (1 - CUES_AT_LEAST) * CUES_FADING / (CUES_FADING + fewer)
    weights, intercept = _cues(corpus, concept, yes, no)
    return Learned(whole.times(share), part.times(1 - share), Linear(counted * weights, counted * intercept))


def _fading(labelled: int) -> float:
    return FADING / (FADING + labelled)


def _whole(corpus: Corpus, yes: IntArray, no: IntArray, examples: Examples) -> Linear:
    if not len(yes) or not len(no):
        return Linear(np.zeros(corpus.whole.shape[1]), 0.0)
    fading = _fading(min(len(yes), len(no)))
    share = SHORT_TEXTS * fading
    behind = SHORT_TEXTS * FADING * _fading(len(no)) / max(1, len(corpus.background))
    groups = (
        (yes, 1.0, True),
        (examples.like, share, True),
        (no, 1.0, False),
        (examples.unlike, share * UNLIKE, False),
        (corpus.background, behind, False),
    )
    return _logistic(corpus.whole, groups)


def _part(corpus: Corpus, yes: IntArray, no: IntArray, examples: Examples, whole: Linear) -> Linear:
    parts = corpus.read.parts
    width = parts.shape[1]
    known = (
        (corpus.sentences(examples.like), _fading(len(yes)), True),
        (corpus.sentences(no), 1.0, False),
        (corpus.sentences(examples.unlike), UNLIKE, False),
        (corpus.sentences(corpus.background), _fading(len(no)), False),
    )
    found = Linear(np.zeros(width), 0.0)
    if not len(yes):
        return _logistic(parts, known) if len(examples.like) else found
    # the first choice is that of the model of the whole or, without one, of the phrases against everything else
    found = Linear(whole.weights[:width], 0.0)
    if not found.weights.any() and len(examples.like):
        found = _logistic(parts, known)
    scores = parts @ found.weights
    best = np.array([_best(scores, corpus.starts, row) for row in yes], dtype=np.int64)
    return _logistic(parts, (*known, (best, 1.0, True)))


def _best(scores: FloatArray, starts: IntArray, row: int) -> int:
    return int(starts[row] + np.argmax(scores[starts[row] : starts[row + 1]]))


def _logistic(matrix: Any, groups: Sequence[tuple[IntArray, float, bool]]) -> Linear:
    """A logistic model of rows of a matrix; each group has rows, the weight of each, and the class."""
    rows = np.concatenate([group[0] for group in groups])
    weights = np.concatenate([np.full(len(group[0]), group[1]) for group in groups])
    does = np.concatenate([np.full(len(group[0]), group[2]) for group in groups])
    for kind in (True, False):
        weights[does == kind] *= len(rows) / 2 / weights[does == kind].sum()
    return fit_logistic(matrix[rows], does, weights, STRENGTH)


def _cues(corpus: Corpus, concept: Concept, yes: IntArray, no: IntArray) -> tuple[FloatArray, float]:
    """(weights [C], intercept) over all cues of the corpus; those of other concepts have the weight 0."""
    every = np.zeros(len(corpus.cues))
    own = [place for place, cue in enumerate(corpus.cues) if cue in concept.cues]
    if not own:
        return every, 0.0
    does, does_not = np.zeros(len(corpus.row)), np.zeros(len(corpus.row))
    np.add.at(does, yes, 1.0)
    np.add.at(does_not, no, 1.0)
    # the background counts as up to FADING texts that do not
    does_not[corpus.background] += FADING * _fading(len(no)) / max(1, len(corpus.background)) * cue_model.BACKGROUND
    every[own], intercept = cue_model.weigh(corpus.present[:, own], does, does_not)
    return every, intercept
