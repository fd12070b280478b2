"""What a text model sees of a text: words, pairs of words and pieces of words, of each sentence and of the whole, and
a little of its form.

Pieces are runs of 2 to 5 characters of what stands between spaces, with its borders, so that a word that was never seen
shares much with its relatives. All concepts of a model share one vocabulary, and a text goes through it once. Matching
is about the plain form of a text (spec/normal.py), so invisible characters and full-width letters hide nothing.

Weights are (1 + ln count) · (1 + ln((1 + N) / (1 + n))) for a term in n of N training texts, scaled to length 1 for
words and for pieces apart: Salton and Buckley, *Information Processing & Management* 24 (1988) 513-523.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from bylaw.spec.normal import plain, plain_text

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
Matrix: TypeAlias = Any
"""A sparse matrix in rows (scipy)."""
Span: TypeAlias = tuple[int, int]

FORM: Final = (
    "length",
    "sentences",
    "question marks",
    "asks",
    "ends asking",
    "begins asking",
    "lines",
    "list",
    "quotes",
)
"""What is seen of the form of a text, in order."""
WORD_TEXTS: Final = 2
PIECE_TEXTS: Final = 3
MOST_WORDS: Final = 12_000
MOST_PIECES: Final = 20_000
_PIECES: Final = (2, 3, 4, 5)
_REMEMBERED: Final = 50_000
_LONGEST_TOKEN: Final = 40
_WORD: Final = re.compile(r"\w[\w']*|[?!]")
_BREAK: Final = re.compile(r"[.!?\u2026\u3002][\"'\u201d\u2019)\]]*+(?=\s)|\n")
_LIST: Final = re.compile(r"^[ \t]*+(?:\d++[.)]|[-*\u2022])\s", re.MULTILINE)


def sentences(text: str) -> list[Span]:
    """The places (start, end) of the sentences of a text, which end at a full stop, question mark or line; at least
    one, so that every text has a best one. Linear in the text."""
    ends = [match.end() for match in _BREAK.finditer(text)]
    found = []
    for start, end in zip([0, *ends], [*ends, len(text)], strict=True):
        held = text[start:end]
        first, last = start + len(held) - len(held.lstrip()), end - len(held) + len(held.rstrip())
        if last > first:
            found.append((first, last))
    return found or [(0, len(text))]


def simple(text: str) -> str:
    """A part of a plain text as models see it: lower case, straight apostrophes."""
    return text.replace("\u2019", "'").replace("\u2018", "'").lower()


def form(text: str, places: Sequence[Span]) -> list[float]:
    """The form of a text, one number for each name in `FORM`; `places` are its sentences."""
    asking = text.count("?")
    first = text[places[0][0] : places[0][1]]
    return [
        float(np.log1p(len(text))),
        float(np.log1p(len(places))),
        float(min(asking, 5)),
        float(asking > 0),
        float(text.rstrip().endswith("?")),
        float("?" in first),
        float(np.log1p(text.count("\n"))),
        float(_LIST.search(text) is not None),
        float(text.count('"') > 1),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """N texts as a model sees them.

    `whole` [N, V] and `parts` [S, V] are sparse weights of terms in the texts and in their S sentences; `owner` [S] is
    the text of each sentence (ascending), `places` its start and end in the text; `forms` [N, len(FORM)].
    """

    whole: Matrix
    parts: Matrix
    owner: IntArray
    places: list[Span]
    forms: FloatArray

    def best(self, scores: FloatArray) -> FloatArray:
        """[N, K] the highest score of a sentence of each text; `scores` [S, K]."""
        starts = np.flatnonzero(np.diff(self.owner, prepend=-1))
        found: FloatArray = np.maximum.reduceat(scores, starts, axis=0) if len(starts) else scores
        return found


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The terms of a model: `words` (and pairs, with a space between), `pieces`, and the weight [V] of each, words
    first."""

    words: tuple[str, ...]
    pieces: tuple[str, ...]
    rarity: FloatArray
    _word: dict[str, int] = field(init=False, repr=False)
    _piece: dict[str, int] = field(init=False, repr=False)
    _known: dict[str, tuple[int, ...]] = field(init=False, repr=False, default_factory=dict)
    """The pieces of tokens that were met: most of a text are tokens that were met before."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_word", {term: place for place, term in enumerate(self.words)})
        start = len(self.words)
        object.__setattr__(self, "_piece", {term: start + place for place, term in enumerate(self.pieces)})

    def __len__(self) -> int:
        return len(self.words) + len(self.pieces)

    def read(self, texts: Sequence[str]) -> Read:
        """The texts in terms of this vocabulary."""
        import scipy.sparse as sparse

        owner: list[int] = []
        places: list[Span] = []
        forms: list[list[float]] = []
        columns: list[list[int]] = []
        for number, text in enumerate(texts):
            held = plain_text(text)
            found = sentences(held.text)
            forms.append(form(held.text, found))
            owner += [number] * len(found)
            columns += [self._columns(simple(held.text[start:end])) for start, end in found]
            extents = (held.extent(start, end) for start, end in found)
            places += [(each.start, each.end) for each in extents]
        lengths = np.fromiter(map(len, columns), dtype=np.int64, count=len(columns))
        where = np.fromiter(chain.from_iterable(columns), dtype=np.int64, count=int(lengths.sum()))
        rows = np.repeat(np.arange(len(columns)), lengths)
        owners = np.array(owner, dtype=np.int64)
        parts = self._weighed(rows, where, len(columns))
        whole = self._weighed(owners[rows] if len(rows) else rows, where, len(texts))
        packed = [
            sparse.csr_matrix(each, shape=(count, len(self)))
            for each, count in ((whole, len(texts)), (parts, len(columns)))
        ]
        seen = np.array(forms, dtype=float).reshape(len(texts), len(FORM))
        return Read(packed[0], packed[1], owners, places, seen)

    def _columns(self, sentence: str) -> list[int]:
        tokens = _WORD.findall(sentence)
        word = self._word
        found = [word[token] for token in tokens if token in word]
        found += [word[pair] for pair in map(" ".join, pairwise(tokens)) if pair in word]
        known = self._known
        for token in sentence.split():
            own = known.get(token)
            if own is None:
                own = tuple(self._piece[piece] for piece in pieces(token) if piece in self._piece)
                if len(known) < _REMEMBERED:
                    known[token] = own
            found += own
        return found

    def _weighed(self, rows: IntArray, columns: IntArray, count: int) -> tuple[FloatArray, tuple[IntArray, IntArray]]:
        """Counts of (row, column) as weights of length 1 a row, for words and for pieces apart."""
        width = max(1, len(self))
        keys, counts = np.unique(rows * width + columns, return_counts=True)
        row, column = np.divmod(keys, width)
        weights = (1 + np.log(counts)) * self.rarity[column]
        is_piece = (column >= len(self.words)).astype(np.int64)
        length = np.sqrt(np.bincount(row * 2 + is_piece, weights**2, 2 * max(1, count)))
        return weights / length[row * 2 + is_piece], (row, column)


def pieces(token: str) -> Iterable[str]:
    """The pieces of what stands between two spaces, with a space for each border."""
    padded = f" {token[:_LONGEST_TOKEN]} "
    for size in _PIECES:
        if size >= len(padded):
            yield padded
            return
        yield from (padded[start : start + size] for start in range(len(padded) - size + 1))


def vocabulary(texts: Sequence[str]) -> Vocabulary:
    """The terms of these texts that occur in at least WORD_TEXTS of them (pieces: PIECE_TEXTS), the most common ones
    where there are more than MOST_WORDS (MOST_PIECES)."""
    in_texts: Counter[str] = Counter()
    of_pieces: Counter[str] = Counter()
    for text in texts:
        terms: set[str] = set()
        tokens: set[str] = set()
        seen = plain(text)
        for start, end in sentences(seen):
            held = simple(seen[start:end])
            words = _WORD.findall(held)
            terms.update(words, map(" ".join, pairwise(words)))
            tokens.update(held.split())
        in_texts.update(terms)
        of_pieces.update(set(chain.from_iterable(map(pieces, tokens))))
    chosen = _common(in_texts, WORD_TEXTS, MOST_WORDS), _common(of_pieces, PIECE_TEXTS, MOST_PIECES)
    counts = [*(in_texts[term] for term in chosen[0]), *(of_pieces[term] for term in chosen[1])]
    rarity = 1 + np.log((1 + len(texts)) / (1 + np.array(counts, dtype=float)))
    return Vocabulary(tuple(chosen[0]), tuple(chosen[1]), rarity)


def _common(counts: Counter[str], least: int, most: int) -> list[str]:
    kept = [term for term, count in counts.items() if count >= least]
    if len(kept) > most:
        kept = sorted(kept, key=lambda term: (-counts[term], term))[:most]
    return sorted(kept)
