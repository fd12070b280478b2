"""A judge in this process: how probable "yes" and "no" are as the first word of a model's answer.

No text is sampled and nothing is parsed. The probability that the answer's first word is a label is summed over every
way in which tokens can spell it, so that a label may be several tokens, and `no` is not taken for the beginning of
`nothing`: after the label comes what is no letter, or the end of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from bylaw.runtime.judges.interface import JudgeError
from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel

YES, NO = ("yes", "Yes", "YES"), ("no", "No", "NO")
Path = tuple[int, ...]
LEAST = -20.0
"""Nats. There are some hundred beginnings, so that what is left out of a probability is below a millionth."""
_MOST_PATHS = 4_000


@dataclass
class _Spellings:
    """Ways to spell labels. `exact`: tokens that spell one and no more; `beyond`: for tokens that stay inside, the ones
    that complete a label and go on with what is no letter."""

    exact: dict[Path, int] = field(default_factory=dict)
    beyond: dict[Path, dict[int, list[int]]] = field(default_factory=dict)

    def paths(self) -> tuple[Path, ...]:
        """All that has to be walked through, the shorter ones first."""
        ends = {*self.exact, *self.beyond}
        return tuple(sorted({path[:n] for path in ends for n in range(len(path) + 1)}, key=lambda p: (len(p), p)))


@dataclass(frozen=True)
class LabelReader:
    """Reads the probabilities of labels off a model; `labels[i]` are the ways of writing label i.

    Raises JudgeError for fewer than two labels, an empty one, one that is written like another, and one that the tokens
    of the model cannot spell: such labels cannot be told apart.
    """

    model: LanguageModel
    labels: tuple[tuple[str, ...], ...] = (YES, NO)

    def __post_init__(self) -> None:
        written = [text for texts in self.labels for text in texts]
        if len(self.labels) < 2 or not all(self.labels) or not all(text.strip() for text in written):
            raise JudgeError("a judge by labels needs two labels at least, and none of them empty")
        twice = next((text for text in written if written.count(text) > 1), None)
        if twice is not None:
            raise JudgeError(f"the labels cannot be told apart: `{twice}` stands for two of them")
        spelled = {*self._spellings.exact.values(), *(n for some in self._spellings.beyond.values() for n in some)}
        for number, texts in enumerate(self.labels):
            if number not in spelled:
                raise JudgeError(f"the tokens of `{self.model.name}` cannot spell the label `{texts[0]}`")

    @property
    def longest(self) -> int:
        """The most tokens of the answer that are walked through."""
        return max(map(len, self._spellings.paths()))

    def log_probs(self, prompts: Sequence[tuple[int, ...]], least: float = LEAST) -> FloatArray:
        """[N, L], nats: log P(the first word of the answer to prompt n is label l), after a space or not.
        Beginnings that are less probable than e^`least` are not followed further. Raises ModelError."""
        following: dict[Path, list[Path]] = {}
        for path in self._spellings.paths()[1:]:
            following.setdefault(path[:-1], []).append(path)
        total = np.full((len(prompts), len(self.labels)), -np.inf)
        rows: list[tuple[Path, int]] = [((), number) for number in range(len(prompts))]
        log_rows = np.zeros(len(rows))
        session = self.model.session(list(prompts))
        while True:
            laws = session.log_probs()
            for (path, number), log_row, law in zip(rows, log_rows, laws, strict=True):
                for label, tokens in self._completing(path):
                    total[number, label] = np.logaddexp(total[number, label], log_row + _log_sum(law[tokens]))
            more = [
                (parent, (path, number), log_rows[parent] + laws[parent, path[-1]])
                for parent, (before, number) in enumerate(rows)
                for path in following.get(before, ())
            ]
            more = [each for each in more if each[2] >= least]
            if not more:
                return total.clip(max=0.0)
            session.select(np.array([parent for parent, _, _ in more], dtype=np.int64))
            session.advance(np.array([path[-1] for _, (path, _), _ in more], dtype=np.int64))
            rows, log_rows = [row for _, row, _ in more], np.array([log_row for _, _, log_row in more])

    def _completing(self, path: Path) -> Iterator[tuple[int, IntArray]]:
        """(label, tokens that complete it after `path`)."""
        for label, tokens in self._spellings.beyond.get(path, {}).items():
            yield label, np.array(tokens, dtype=np.int64)
        if path in self._spellings.exact:
            yield self._spellings.exact[path], self._closing

    @cached_property
    def _closing(self) -> IntArray:
        """Tokens that may follow a word: those that begin with no letter, and the end of the answer."""
        vocabulary = self.model.vocabulary
        pieces = enumerate(vocabulary.token_bytes)
        found = [token for token, piece in pieces if token in vocabulary.eos_ids or (piece and _closes(piece[0]))]
        return np.array(found, dtype=np.int64)

    @cached_property
    def _spellings(self) -> _Spellings:
        by_first: dict[int, list[tuple[int, bytes]]] = {}
        for token, piece in enumerate(self.model.vocabulary.token_bytes):
            if piece and token not in self.model.vocabulary.eos_ids:
                by_first.setdefault(piece[0], []).append((token, piece))
        found = _Spellings()
        for label, texts in enumerate(self.labels):
            for text in texts:
                for written in (text, f" {text}"):
                    _spell(written.encode(), label, by_first, found)
        return found


def _spell(written: bytes, label: int, by_first: Mapping[int, list[tuple[int, bytes]]], found: _Spellings) -> None:
    waiting: list[tuple[Path, int]] = [((), 0)]
    seen = 0
    while waiting:
        path, at = waiting.pop()
        left = written[at:]
        seen += 1
        if seen > _MOST_PATHS:
            raise JudgeError(f"there are too many ways to spell the label `{written.decode()}`: use a shorter one")
        for token, piece in by_first.get(left[0], ()):
            if piece == left:
                found.exact[*path, token] = label
            elif piece.startswith(left):
                if _closes(piece[len(left)]):
                    found.beyond.setdefault(path, {}).setdefault(label, []).append(token)
            elif left.startswith(piece):
                waiting.append(((*path, token), at + len(piece)))


def _closes(byte: int) -> bool:
    """Whether a byte of UTF-8 ends the word before it: no letter, digit or apostrophe, and of ASCII."""
    return byte < 128 and not chr(byte).isalnum() and byte not in b"'_"


def _log_sum(values: FloatArray) -> float:
    return float(np.logaddexp.reduce(values))
