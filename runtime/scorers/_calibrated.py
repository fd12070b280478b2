"""What scorers share that answer with a raw number: examples, calibration, and the answer or the reason for none."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bylaw.runtime.concepts.examples import HeldOut
from bylaw.runtime.concepts.labels import LabelledText, own_labels
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import Cost, Scored, ScorerError, unscored
from bylaw.spec.expression import Concept

if TYPE_CHECKING:
    from bylaw.runtime.concepts.calibration import Calibration

NOTHING = Cost()
_JOINED = "joined "


@dataclass(frozen=True, slots=True)
class Standing:
    """What the raw numbers of a scorer mean for one concept. `calibration`: None where there is no example of a class;
    `lacking`: why no answer of it counts, empty where answers do; `held_out`: what it was calibrated from."""

    concept: str
    calibration: Calibration | None
    lacking: str
    alpha: float
    is_rough_allowed: bool
    held_out: HeldOut | None = None


class HasStanding:
    """A scorer of one concept whose numbers are calibrated on labelled texts."""

    __slots__ = ()
    standing: Standing

    @property
    def calibrations(self) -> Mapping[str, Calibration]:
        """What its numbers of the labelled texts say, by concept."""
        found = self.standing.calibration
        return {} if found is None else {self.standing.concept: found}

    @property
    def held_out(self) -> Mapping[str, HeldOut]:
        """The labelled texts with the numbers that it was calibrated from, by concept."""
        found = self.standing.held_out
        return {} if found is None else {self.standing.concept: found}


def examples_of(concept: Concept, making: Making) -> tuple[LabelledText, ...]:
    """Its examples in the policy and its labels, each text (with what it answers) once."""
    kept: dict[tuple[str, str], LabelledText] = {}
    for each in (*own_labels(concept), *making.labels.get(concept.name, ())):
        kept.setdefault((each.text.strip(), each.prompt), each)
    return tuple(kept.values())


def without_variants_apart(
    examples: Mapping[str, Sequence[LabelledText]],
) -> dict[str, tuple[LabelledText, ...]]:
    """The examples of each concept, with nearly the same texts in one group: so no variant of a text is on both sides
    of a fold, and copies of one example do not count as if they were many. Texts are compared once for all concepts."""
    from bylaw.runtime.concepts.duplicates import duplicate_groups, joined_groups
    from bylaw.runtime.concepts.performance import group_numbers

    texts = list(dict.fromkeys(each.text for some in examples.values() for each in some))
    variant = dict(zip(texts, duplicate_groups(texts), strict=True))
    found = {}
    for name, some in examples.items():
        given = group_numbers([each.group for each in some], len(some)).tolist()
        groups = joined_groups([variant[each.text] for each in some], given)
        sizes = Counter(groups)
        found[name] = tuple(
            replace(each, group=f"{_JOINED}{group}" if sizes[group] > 1 else "")
            for each, group in zip(some, groups, strict=True)
        )
    return found


def grouped_examples(concepts: Sequence[Concept], making: Making) -> dict[str, tuple[LabelledText, ...]]:
    """`examples_of` of each concept by its full name, `without_variants_apart`."""
    return without_variants_apart({concept.name: examples_of(concept, making) for concept in concepts})


def not_shown(examples: Sequence[LabelledText], shown: Sequence[str]) -> tuple[LabelledText, ...]:
    """The examples that are not, nor nearly, one of the texts that a judge is shown with their verdicts: how it does on
    those says nothing of others."""
    from bylaw.runtime.concepts.duplicates import leakage

    if not shown:
        return tuple(examples)
    texts, sets = [*shown, *(each.text for each in examples)], [0] * len(shown) + [1] * len(examples)
    known = {pair.second - len(shown) for pair in leakage(texts, sets)}
    return tuple(each for number, each in enumerate(examples) if number not in known)


def standing(
    concept: Concept, examples: Sequence[LabelledText], raw: Sequence[float] | None, making: Making
) -> Standing:
    """Calibrates from raw numbers of the examples that the scorer has not seen (out of fold); None: it has given none.

    Raises ScorerError for numbers that cannot be calibrated from.
    """
    from bylaw.runtime.concepts.calibration import CalibrationError, calibrate
    from bylaw.runtime.concepts.conformal import needed

    labels = [each.expresses for each in examples]
    counts = sum(labels), len(labels) - sum(labels)
    calibration = None
    try:
        enough = needed(making.alpha)
        if raw is not None and min(counts):
            calibration = calibrate(raw, labels, [each.group for each in examples], alpha=making.alpha)
    except (CalibrationError, ValueError) as error:
        raise ScorerError(f"`{concept.name}`: {error}") from error
    lacking = ""
    if calibration is None and min(counts) >= enough:
        lacking = (
            f"all examples of one kind for `{concept.name}` are of one conversation, or nearly the same text, so that "
            f"none can be held back to see how good its scores are: label other texts, of other conversations"
        )
    else:
        lacking = too_few(concept.name, counts, making.alpha) or ""
    held_out = None if raw is None or calibration is None else HeldOut(tuple(examples), tuple(map(float, raw)))
    return Standing(concept.name, calibration, lacking, making.alpha, making.is_rough_allowed, held_out)


def too_few(concept: str, counts: tuple[int, int], alpha: float) -> str | None:
    """Why no prediction set of so many examples (that do, that do not) can ever say on which side a text is; None where
    they are enough. Raises ValueError as `needed`."""
    from bylaw.runtime.concepts.conformal import needed

    enough = needed(alpha)
    if min(counts) >= enough:
        return None
    do = "1 example that does" if counts[0] == 1 else f"{counts[0]} examples that do"
    do_not = f"{counts[1]} that {'does' if counts[1] == 1 else 'do'} not"
    return (
        f"`{concept}` has {do} and {do_not}; {enough} of each are needed before its scores say something: label more "
        "texts (--labels), or take the scores as they are (--rough)"
    )


def answer(
    held: Standing,
    raw: float,
    record: Mapping[str, Any],
    *,
    rough: Callable[[float], float] | None = None,
    passages: tuple[tuple[int, int], ...] = (),
    cost: Cost = NOTHING,
) -> Scored:
    """The answer for one text. `rough` makes a score of a raw number without calibration (None: nothing can)."""
    import numpy as np

    said = {**record, "raw": raw}
    if not np.isfinite(raw):
        return unscored("input", "the model gave no finite number for this text", cost, said)
    calibration = held.calibration
    if calibration is not None:
        said["score"] = _one(calibration.score([raw]))
    elif rough is not None:
        said["score"] = rough(raw)
    if held.lacking:
        if not held.is_rough_allowed or (calibration is None and rough is None):
            return unscored("uncalibrated", held.lacking, cost, said)
        return Scored(float(said["score"]), 0.0, 1.0, passages=passages, cost=cost, record={**said, "rough": True})
    assert calibration is not None
    score = float(said["score"])
    may_not, may = map(bool, calibration.sets([raw], held.alpha)[0])
    if may_not == may or may != (score >= 0.5):
        reason = f"its score for `{held.concept}`, {score:.2f}, {_why(may_not, may)} (alpha {held.alpha:g})"
        return unscored("cannot_tell", reason, cost, said)
    low, high = (_one(bound) for bound in calibration.interval([raw]))
    low, high = max(0.0, min(low, score)), min(1.0, max(high, score))
    return Scored(score, low, high, passages=passages, cost=cost, record=said)


def _why(may_not: bool, may: bool) -> str:
    if may_not and may:
        return "is found among examples that do and among those that do not"
    if may_not or may:
        return "lies on one side of the threshold and among the examples of the other"
    return "is found neither among examples that do nor among those that do not"


def _one(values: Any) -> float:
    return min(1.0, max(0.0, float(values[0])))


def text_digest(text: str) -> str:
    """SHA-256 (hexadecimal) of a text, for records."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def made_digest(scorer: str, concept: Concept, examples: Sequence[LabelledText], making: Making, *content: str) -> str:
    """SHA-256 (hexadecimal) of everything that a scorer of one concept was made from; `content`: model, code. Whether
    rough scores count is not in it: that changes no score, only whether it is given."""
    parts = [scorer, repr((concept.name, concept.meaning, concept.is_topic)), concept.scorer_argument or ""]
    parts += [repr(making.alpha), *content]
    parts += [repr((each.text, each.prompt, each.expresses, each.group)) for each in examples]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
