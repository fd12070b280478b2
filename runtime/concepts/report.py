"""What is known of the scores of a concept: how well they tell its examples apart, where they fail, what is missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from bylaw.runtime.concepts.examples import Candidate, Hard, HeldOut, hardest
from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.concepts.operation import Operation, Sets, Share, held_out_sets, operation
from bylaw.spec.expression import Concept

if TYPE_CHECKING:
    from bylaw.runtime.concepts.calibration import Calibration
    from bylaw.runtime.concepts.performance import Difference, Estimated
    from bylaw.runtime.judges.correction import JudgeQuality
    from bylaw.runtime.scorers.interface import ConceptScorer
    from bylaw.runtime.scoring_record import DriftTest

Pair: TypeAlias = tuple[LabelledText, LabelledText]
Alike: TypeAlias = Mapping[str, tuple[tuple[str, bool], ...]]
"""Texts that are nearly the same as a text, and whether one of both is merely contained in the other."""
_JUDGES = ("judge", "local_judge")
_LEARNERS = ("words", "embeddings")
"""Scorers that know nothing but examples."""


@dataclass(frozen=True, slots=True)
class Doubles:
    """Nearly the same texts among the examples: pairs with the same label, pairs with different labels, pairs of which
    the first contains the second, and texts of the file that is looked at (--texts) that are nearly an example."""

    same: tuple[Pair, ...]
    contradicting: tuple[Pair, ...]
    contained: tuple[Pair, ...]
    leaked: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class ConceptReport:
    """All that `bylaw concept` says of one concept.

    `scorer`: name and argument. `rules`: name and whether a `must` hangs on it. `counts`: examples that do, that do
    not; `own`: those of the policy among them. `groups`: independent ones (conversations, single texts). `calibration`:
    None where nothing was held against examples. `missing`: how many more it takes (that do, that do not); what a judge
    is shown as an example is not counted. `lacking`: why no score counts, empty where scores do. `gate`: `weak` below
    an AUC of .70; `unknown` without a calibration. `separation`: what is wrong where scores cannot tell the examples
    apart, else empty. `drift`: whether the texts that were given are of another kind than the examples; None where none
    were given or there is nothing to compare them with. `judge`: how a judge agreed with people, in words; empty for
    other scorers. `operation`: how good the threshold of the policy is; None where that is not known. `looked_at`:
    texts without labels that were looked through for ones `to_label`.
    """

    concept: Concept
    scorer: str
    rules: tuple[tuple[str, bool], ...]
    counts: tuple[int, int]
    own: tuple[int, int]
    groups: int
    calibration: Calibration | None
    lacking: str
    missing: tuple[int, int]
    gate: Literal["ok", "weak", "unknown"]
    separation: str
    sets: Sets | None
    doubles: Doubles
    hardest: tuple[Hard, ...]
    to_label: tuple[Candidate, ...] = ()
    drift: DriftTest | None = None
    judge: str = ""
    operation: Operation | None = None
    looked_at: int = 0

    @property
    def is_used_by_must(self) -> bool:
        return any(is_hard for _, is_hard in self.rules)


def report(
    concept: Concept,
    scorer: ConceptScorer,
    examples: Sequence[LabelledText],
    rules: Sequence[tuple[str, bool]],
    alpha: float,
    most: int,
    texts: Sequence[LabelledText] = (),
    alike: Alike | None = None,
    is_rough: bool = False,
) -> ConceptReport:
    """The report of one concept, with at most `most` hard examples. `examples` are those of the policy and the labels.

    What the scorer held out is its `held_out` (else nothing is said of sets and single examples), how well it did its
    `calibrations`. `texts` are looked through for examples; `alike` is what `find_alike` found (None: it looks itself).
    `is_rough`: scores count even where examples are missing.
    """
    from bylaw.runtime.concepts.calibration import gate, separation_error
    from bylaw.runtime.concepts.conformal import needed
    from bylaw.runtime.concepts.performance import group_numbers

    if alike is None:
        alike = find_alike(each.text for each in (*examples, *texts))
    does = sum(each.expresses for each in examples)
    counts = does, len(examples) - does
    enough = needed(alpha)
    held = _held_out(scorer, concept.name)
    calibration: Calibration | None = getattr(scorer, "calibrations", {}).get(concept.name)
    standing = getattr(scorer, "standings", {}).get(concept.name)
    quality: JudgeQuality | None = getattr(standing, "quality", None)
    groups = group_numbers([each.group for each in examples], len(examples))
    used = _counted(concept, scorer, examples, counts)
    missing = max(0, enough - used[0]), max(0, enough - used[1])
    return ConceptReport(
        concept=concept,
        scorer=scorer.name,
        rules=tuple(rules),
        counts=counts,
        own=(len(concept.like), len(concept.unlike)),
        groups=int(groups.max()) + 1 if len(groups) else 0,
        calibration=calibration,
        lacking=_silent(scorer, concept, counts)
        or ("" if is_rough else _too_few(scorer, concept, used, alpha))
        or _unknown(scorer, calibration is not None or quality is not None or any(missing)),
        missing=missing,
        gate=gate(calibration) if calibration is not None else _judge_gate(quality),
        # of a handful of examples, half of all would be on the wrong side by chance alone
        separation=""
        if calibration is None or any(missing)
        else separation_error(calibration, f"`{concept.name}`") or "",
        sets=None if held is None or any(missing) else held_out_sets(held, alpha, concept.threshold),
        doubles=_doubles(examples, texts, alike),
        hardest=() if held is None or calibration is None else hardest(held, calibration, most),
        judge="" if quality is None else quality.describe(),
        operation=None if calibration is None else operation(concept.threshold, held, calibration),
    )


def _held_out(scorer: ConceptScorer, concept: str) -> HeldOut | None:
    """What a scorer was calibrated from: its own `held_out`, or that of its `standing`."""
    own: Mapping[str, HeldOut] = getattr(scorer, "held_out", {})
    standing = getattr(scorer, "standing", None)
    if concept in own or getattr(standing, "concept", None) != concept:
        return own.get(concept)
    found: HeldOut | None = getattr(standing, "held_out", None)
    return found


def _judge_gate(quality: JudgeQuality | None) -> Literal["ok", "weak", "unknown"]:
    """Of yes-or-no answers the area under the curve is (sensitivity + specificity)/2."""
    from bylaw.runtime.concepts.calibration import WEAK_AUC

    if quality is None or quality.information is None:
        return "unknown"
    return "ok" if (quality.information + 1) / 2 >= WEAK_AUC else "weak"


def _counted(
    concept: Concept, scorer: ConceptScorer, examples: Sequence[LabelledText], counts: tuple[int, int]
) -> tuple[int, int]:
    """(that do, that do not) of the examples that a scorer is held against: those that a judge is shown are not."""
    if scorer.name not in _JUDGES:
        return counts
    from bylaw.runtime.judges.rubric import concept_rubric
    from bylaw.runtime.scorers._calibrated import not_shown

    kept = not_shown(examples, [each.text for each in concept_rubric(concept).examples])
    does = sum(each.expresses for each in kept)
    return does, len(kept) - does


def _silent(scorer: ConceptScorer, concept: Concept, counts: tuple[int, int]) -> str:
    """Why no score counts, whether rough ones are allowed or not."""
    if not sum(counts) and scorer.name in _LEARNERS:
        return (
            f"`{concept.name}` has no example and no label, so that nothing can be scored, not even roughly: write "
            f"`like` and `unlike` examples into the policy, or label texts (--labels)"
        )
    said = getattr(scorer, "reason", "")
    return said if isinstance(said, str) else ""


def _unknown(scorer: ConceptScorer, is_known: bool) -> str:
    return "" if is_known else f"nothing is known of how good `{scorer.name}` is here"


def _too_few(scorer: ConceptScorer, concept: Concept, counts: tuple[int, int], alpha: float) -> str:
    """Why no score counts unless rough ones are allowed."""
    from bylaw.runtime.scorers._calibrated import too_few

    standing = getattr(scorer, "standings", {}).get(concept.name) or getattr(scorer, "standing", None)
    return str(getattr(standing, "lacking", "")) or too_few(concept.name, counts, alpha) or ""


def find_alike(texts: Iterable[str]) -> Alike:
    """Which of these texts are nearly the same; looked for once, for all concepts together."""
    from bylaw.runtime.concepts.duplicates import near_duplicates

    known = list(dict.fromkeys(texts))
    found: dict[str, list[tuple[str, bool]]] = {}
    for pair in near_duplicates(known):
        first, second, is_part = known[pair.first], known[pair.second], pair.kind == "contained"
        found.setdefault(first, []).append((second, is_part))
        found.setdefault(second, []).append((first, is_part))
    return {text: tuple(others) for text, others in found.items()}


def _doubles(examples: Sequence[LabelledText], texts: Sequence[LabelledText], alike: Alike) -> Doubles:
    same: list[Pair] = []
    contradicting: list[Pair] = []
    contained: list[Pair] = []
    earlier: dict[str, list[LabelledText]] = {}
    for each in examples:
        for other, is_part in _near(each, earlier, alike):
            # the same text as an answer to another prompt is no double
            if each.prompt and other.prompt and each.prompt != other.prompt:
                continue
            if is_part:
                contained.append((other, each) if len(other.text) >= len(each.text) else (each, other))
            else:
                (same if each.expresses == other.expresses else contradicting).append((other, each))
        earlier.setdefault(each.text, []).append(each)
    leaked = [(near[0][0], each) for each in texts if (near := _near(each, earlier, alike))]
    return Doubles(tuple(same), tuple(contradicting), tuple(contained), tuple(leaked))


def _near(
    each: LabelledText, among: Mapping[str, list[LabelledText]], alike: Alike
) -> list[tuple[LabelledText, bool]]:  # fmt: skip
    known = ((each.text, False), *alike.get(each.text, ()))
    return [(other, is_part) for text, is_part in known for other in among.get(text, ())]


# --------------------------------------------------------------------------------------------------------- as values
def to_data(found: ConceptReport) -> dict[str, Any]:
    """A report as JSON values. Shares are from 0 to 1, intervals [low, high] at 95 %."""
    concept = found.concept
    data: dict[str, Any] = {
        "concept": concept.name,
        "meaning": concept.meaning,
        "is_topic": concept.is_topic,
        "scorer": found.scorer,
        "scorer_argument": concept.scorer_argument,
        "rules": [{"rule": rule, "must": is_hard} for rule, is_hard in found.rules],
        "examples": {
            "express": found.counts[0],
            "do_not": found.counts[1],
            "of_the_policy": {"express": found.own[0], "do_not": found.own[1]},
            "groups": found.groups,
            "missing": {"express": found.missing[0], "do_not": found.missing[1]},
        },
        "threshold": concept.threshold,
        "gate": found.gate,
        "lacking": found.lacking,
        "separation_error": found.separation,
        "calibration": None if found.calibration is None else _performance(found.calibration),
        "at_threshold": _operation(found.operation),
        "prediction_sets": _sets(found.sets),
        "duplicates": _doubled(found.doubles),
        "hardest": [_hard(each) for each in found.hardest],
        "to_label": [
            {"place": each.text.place, "text": each.text.text, "score": each.score, "reason": each.reason}
            for each in found.to_label
        ],
        "drift": None if found.drift is None else asdict(found.drift),
        "judge": found.judge,
    }
    return data


def _performance(found: Calibration) -> dict[str, Any]:
    def interval(name: str) -> dict[str, Any]:
        value = getattr(found, name)
        return {"value": value.value, "interval": [value.low, value.high]}

    return {
        "express": found.positives,
        "do_not": found.negatives,
        "auc": interval("auc"),
        "balanced_accuracy": interval("balanced_accuracy"),
        "accuracy": interval("accuracy"),
        "majority_accuracy": found.majority_accuracy,
        "majority_balanced_accuracy": 0.5,
        "prevalence": found.prevalence,
        "expected_calibration_error": found.ece,
        "threshold": 0.5,
        "threshold_how": found.how,
        "alpha": found.alpha,
    }


def _operation(found: Operation | None) -> dict[str, Any] | None:
    """Of the threshold of the policy, where `calibration` is of a score of 0.5."""
    if found is None:
        return None

    def interval(value: Estimated | Difference) -> dict[str, Any]:
        return {"value": value.value, "interval": [value.low, value.high]}

    return {
        "threshold": found.threshold,
        "balanced_accuracy": interval(found.balanced_accuracy),
        "accuracy": interval(found.accuracy),
        "balanced_accuracy_less_that_at_best": interval(found.from_best),
        "is_worse_than_best": found.is_worse,
    }


def _share_data(share: Share) -> dict[str, Any]:
    return {"count": share.count, "of": share.total, "share": share.value, "interval": [share.low, share.high]}


def _sets(found: Sets | None) -> dict[str, Any] | None:
    return None if found is None else {name: _share_data(getattr(found, name)) for name in Sets.__slots__}


def _doubled(found: Doubles) -> dict[str, list[list[str]]]:
    return {name: [[first.place, second.place] for first, second in getattr(found, name)] for name in Doubles.__slots__}


def _text(each: LabelledText) -> dict[str, Any]:
    return {"place": each.place, "text": each.text, "expresses": each.expresses}


def _hard(each: Hard) -> dict[str, Any]:
    nearest: Mapping[str, Any] | None = None
    if each.nearest is not None:
        nearest = {**_text(each.nearest), "alike": each.alike}
    return {**_text(each.example), "score": each.score, "nearest_of_the_other_kind": nearest}
