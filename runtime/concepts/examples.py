"""Which examples a concept's scores get wrong, what stands next to them, and which texts to label next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.scorers.interface import Scored

if TYPE_CHECKING:
    from bylaw.runtime.concepts.calibration import Calibration

MOST_COMPARED = 5_000
"""Examples that are searched for the nearest one."""
_NEAR = 0.25
"""A score at most so far from the threshold is near it: one that is further away is not doubtful."""
_CHARACTERS = 20_000
"""Of a text: more of it changes little about what is near."""
Reason: TypeAlias = Literal["cannot_tell", "uncertain", "unknown", "unscored", "likely", "unlikely"]


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Labelled texts with raw scores [N] that were made without knowing their labels: out of fold, or by a scorer that
    learns from none."""

    examples: tuple[LabelledText, ...]
    raw: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.examples) != len(self.raw):
            raise ValueError(f"{len(self.examples)} examples with {len(self.raw)} scores")


@dataclass(frozen=True, slots=True)
class Hard:
    """An example and its score out of fold. `nearest`: the most similar example of the other kind (None: no two share a
    word), `alike`: the cosine of their words, 0 to 1."""

    example: LabelledText
    score: float
    nearest: LabelledText | None
    alike: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that would teach most if it were labelled. `score`: what is known of it, None for nothing."""

    text: LabelledText
    score: float | None
    reason: Reason


def hardest(held: HeldOut, calibration: Calibration, most: int) -> tuple[Hard, ...]:
    """The examples whose scores are furthest on the wrong side, or least far on the right one; worst first, variants of
    one text once."""
    scores = calibration.score(held.raw)
    wrong = [1 - score if each.expresses else score for each, score in zip(held.examples, scores, strict=True)]
    order = sorted(
        range(len(wrong)), key=lambda n: (-wrong[n], held.raw[n] if held.examples[n].expresses else -held.raw[n], n)
    )
    chosen = _distinct([held.examples[number].text for number in order[: 10 * most]], most)
    rows = [order[number] for number in chosen]
    near = _nearest(held.examples, rows)
    return tuple(
        Hard(held.examples[row], float(scores[row]), *found) for row, found in zip(rows, near, strict=True)
    )  # fmt: skip


def _nearest(
    examples: Sequence[LabelledText], rows: Sequence[int]
) -> list[tuple[LabelledText | None, float]]:  # fmt: skip
    """For each of some examples, the most similar one of the other kind by its words (TF-IDF), and how similar."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

    if not rows:
        return []
    among = sorted({*range(min(len(examples), MOST_COMPARED)), *rows})
    place = {row: number for number, row in enumerate(among)}
    vectors = TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\b\w+\b")
    try:
        words = vectors.fit_transform([examples[row].text[:_CHARACTERS] for row in among])
    except ValueError:  # not one of them has a word
        return [(None, 0.0)] * len(rows)
    alike = np.asarray((words[[place[row] for row in rows]] @ words.T).todense())
    found: list[tuple[LabelledText | None, float]] = []
    for row, similar in zip(rows, alike, strict=True):
        other = [number for number, each in enumerate(among) if examples[each].expresses != examples[row].expresses]
        best = max(other, key=lambda number: float(similar[number]), default=None)
        if best is None or similar[best] <= 0:
            found.append((None, 0.0))
        else:
            found.append((examples[among[best]], min(1.0, float(similar[best]))))
    return found


def to_label(
    texts: Sequence[LabelledText],
    answers: Sequence[Scored],
    labelled: Sequence[LabelledText],
    missing: tuple[int, int],
    most: int,
    threshold: float = 0.5,
) -> tuple[Candidate, ...]:
    """Texts to label next: those that the scores cannot tell, nearest to the `threshold` first, then those without any
    score, then those whose score is near the threshold, and none whose score is far from it. Where examples of a kind
    are `missing` (that do, that do not), every second one is what looks most like that kind. Variants of one text and
    of texts that are labelled already are left out. `texts` have no labels: their `expresses` says nothing.

    Raises ValueError for lengths that differ.
    """
    known = [_known(answer) for answer in answers]
    if len(texts) != len(known):
        raise ValueError(f"{len(texts)} texts with {len(known)} answers")
    far = [abs((threshold if (score := known[n]) is None else score) - threshold) for n in range(len(texts))]
    open_first = sorted(
        (n for n in range(len(texts)) if answers[n].why is not None or far[n] <= _NEAR),
        key=lambda n: (answers[n].why != "cannot_tell", answers[n].why is None, far[n], n),
    )
    scored = [number for number in range(len(texts)) if known[number] is not None]
    up = sorted(scored, key=lambda number: (-(known[number] or 0.0), number))
    wanted: list[tuple[list[int], Reason | None]] = [(open_first, None)]
    if missing[0]:
        wanted.append((up, "likely"))
    if missing[1]:
        wanted.append((up[::-1], "unlikely"))
    order: dict[int, Reason] = {}
    for round_ in range(min(len(texts), 10 * most)):
        for numbers, reason in wanted:
            if round_ < len(numbers):
                number = numbers[round_]
                order.setdefault(number, reason or _doubt(answers[number], known[number]))
    numbers = list(order)
    chosen = _distinct([texts[number].text for number in numbers], most, [each.text for each in labelled])
    return tuple(
        Candidate(texts[numbers[n]], known[numbers[n]], order[numbers[n]]) for n in chosen
    )  # fmt: skip


def _doubt(answer: Scored, known: float | None) -> Reason:
    if known is None:
        return "unknown"
    if answer.why is None:
        return "uncertain"
    return "cannot_tell" if answer.why == "cannot_tell" else "unscored"


def _known(answer: Scored) -> float | None:
    """The score of an answer, or the one that was too uncertain to be given."""
    if answer.score is not None:
        return answer.score
    found = answer.record.get("score")
    return float(found) if isinstance(found, (int, float)) and 0 <= found <= 1 else None


def _distinct(texts: Sequence[str], most: int, known: Sequence[str] = ()) -> list[int]:
    """The first texts, at most `most`, none nearly the same as an earlier one or as one that is known."""
    from bylaw.runtime.concepts.duplicates import near_duplicates

    variants = {pair.second - len(known) for pair in near_duplicates([*known, *texts])}
    return [number for number in range(len(texts)) if number not in variants][:most]
