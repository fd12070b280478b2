"""From the concepts of a policy to the scorers that answer for them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.scorers import catalog
from bylaw.runtime.scorers._calibrated import examples_of
from bylaw.runtime.scorers._calibrated import too_few as too_few_of
from bylaw.runtime.scorers._withdrawal import Grouped
from bylaw.runtime.scorers.catalog import DEFAULT, Making
from bylaw.runtime.scorers.interface import ConceptScorer, Question, Scored, ScorerError, Why, unscored
from bylaw.spec.expression import BooleanExpression, Concept, ConceptScore, NumberExpression
from bylaw.spec.logic import walk

if TYPE_CHECKING:
    from bylaw.runtime.concepts.calibration import Calibration

NEEDED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "judge": ("judge", "name one with --judge and --judge-model"),
        "function": ("function", "functions of a policy are run with --allow-functions only"),
    }
)
"""Scorers that reach beyond this process or run code of the policy: their option of `Making`, and what to do."""


class NoScorer(ScorerError):
    """A concept that no scorer can be made for: `concept` is its full name."""

    def __init__(self, concept: str, reason: str) -> None:
        super().__init__(f"`{concept}` has no scorer: {reason}")
        self.concept = concept


@dataclass(frozen=True, slots=True)
class Silent:
    """Answers every question with the same reason why it cannot: nothing is guessed in its place."""

    name: str
    why: Why
    reason: str
    reads: Literal["text", "conversation"] = "text"

    @property
    def digest(self) -> str:
        return hashlib.sha256(f"{self.name}\n{self.why}\n{self.reason}".encode()).hexdigest()

    def score(self, questions: Sequence[Question], progress: Callable[[int], None] = lambda _: None) -> list[Scored]:
        progress(len(questions))
        return [unscored(self.why, self.reason) for _ in questions]


@dataclass(frozen=True, eq=False)
class Scorers:
    """Who answers for which concept, by the concept's full name.

    `known` are calibrations, `weak` concepts whose scores cannot be trusted to forbid anything, with the reason.
    `texts` (with their conversations) are those that the scores of a concept were calibrated on: for texts unlike them
    the calibration does not hold. `expressing`: those of them that express the concept.
    `silent` are concepts of which no score can count, with the reason.
    `is_rough_allowed`: as in `Making`; `left_out`: how many labels could not be read.
    """

    concepts: Mapping[str, Concept]
    by_concept: Mapping[str, ConceptScorer]
    known: Mapping[str, Calibration] = field(default_factory=lambda: MappingProxyType({}))
    weak: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    texts: Mapping[str, tuple[Grouped, ...]] = field(default_factory=lambda: MappingProxyType({}))
    expressing: Mapping[str, frozenset[str]] = field(default_factory=lambda: MappingProxyType({}))
    silent: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    is_rough_allowed: bool = False
    left_out: int = 0

    @property
    def digest(self) -> str:
        """Changes with everything that can change a score."""
        parts = [f"{name}\n{scorer.name}\n{scorer.digest}" for name, scorer in sorted(self.by_concept.items())]
        whole = [*parts, *sorted(self.weak), str(self.is_rough_allowed)]
        return hashlib.sha256("\n".join(whole).encode()).hexdigest()

    def reads_conversation(self, names: Iterable[str]) -> bool:
        """Whether one of these concepts is scored by what reads more than the text."""
        return any(name in self.by_concept and self.by_concept[name].reads == "conversation" for name in names)


# ------------------------------------------------------------------------------------------------ what is asked about
def sentences_of(term: RewardTerm) -> tuple[BooleanExpression | NumberExpression, ...]:
    """What a term says and where it counts, with what may lift it."""
    lifted = tuple(waiver.where for waiver in term.waivers)
    said = (term.condition, term.among, term.holds, term.value, term.own, *lifted)
    return tuple(each for each in said if each is not None)


def concepts_of(program: RewardProgram) -> dict[str, Concept]:
    """The concepts that a verdict or a value of the program hangs on, by full name, in the order of the program."""
    scores = (part for term in program.terms for said in sentences_of(term) for part in walk(said))
    return {part.concept.name: part.concept for part in scores if isinstance(part, ConceptScore)}


def of_hard_rules(program: RewardProgram) -> dict[str, str]:
    """Concepts that a `must` hangs on, with the rule."""
    found: dict[str, str] = {}
    for term in program.terms:
        if term.kind == "hard":
            for said in sentences_of(term):
                for part in walk(said):
                    if isinstance(part, ConceptScore):
                        found.setdefault(part.concept.name, term.rule)
    return found


def rules_of(program: RewardProgram) -> dict[str, tuple[str, ...]]:
    """The rules that hang on each concept, by the concept's full name, each once."""
    found: dict[str, dict[str, None]] = {}
    for term in program.terms:
        for said in sentences_of(term):
            for part in walk(said):
                if isinstance(part, ConceptScore):
                    found.setdefault(part.concept.name, {})[term.rule] = None
    return {name: tuple(rules) for name, rules in found.items()}


# ------------------------------------------------------------------------------------------------------------- making
def build(concepts: Mapping[str, Concept], making: Making) -> Scorers:
    """The scorer that each concept names, else `words`; one that needs an option which is not given is silent.

    Raises NoScorer for a name that there is not and for what cannot be made of one concept, ScorerError otherwise.
    """
    named: dict[str, list[Concept]] = {}
    for concept in concepts.values():
        named.setdefault(concept.scorer or DEFAULT, []).append(concept)
    made: dict[str, ConceptScorer] = {}
    for name, group in named.items():
        made.update(_made(name, tuple(group), making))
    return assembled(concepts, made, making)


def assembled(concepts: Mapping[str, Concept], made: Mapping[str, ConceptScorer], making: Making) -> Scorers:
    """Scorers that are made already, with what is known of how good they are."""
    calibrations = {name: found for name in made if (found := calibration_of(made[name], name)) is not None}
    # a judge, which is held against its labels when it is first asked, is one that can say what that costs
    held_against = [name for name in made if name in calibrations or hasattr(made[name], "estimate")]
    return Scorers(
        concepts=MappingProxyType(dict(concepts)),
        by_concept=MappingProxyType({name: made[name] for name in concepts}),
        known=MappingProxyType(calibrations),
        weak=MappingProxyType(_weak(calibrations)),
        texts=MappingProxyType({name: texts for name in held_against if (texts := _texts(concepts[name], making))}),
        expressing=MappingProxyType({name: _expressing(concepts[name], making) for name in held_against}),
        silent=MappingProxyType(_silent(concepts, made, calibrations, making)),
        is_rough_allowed=making.is_rough_allowed,
    )


def _made(name: str, group: tuple[Concept, ...], making: Making) -> Mapping[str, ConceptScorer]:
    if name == DEFAULT and not making.is_rough_allowed:  # what would be fitted for nothing need not be loaded
        lacking = {each.name: why for each in group if (why := too_few(each, making)) is not None}
        if lacking:
            rest = tuple(each for each in group if each.name not in lacking)
            silent = {each: Silent(name, "uncalibrated", why) for each, why in lacking.items()}
            return {**silent, **(_made(name, rest, making) if rest else {})}
    try:
        kind = catalog.kind(name)
    except ScorerError as error:
        raise NoScorer(group[0].name, str(error)) from None
    option, remedy = NEEDED.get(name, ("", ""))
    if option and not making.options.get(option):
        return {
            each.name: Silent(name, "input", f"`{each.name}` is scored by {_article(name)}: {remedy}")
            for each in group
        }  # fmt: skip
    found = kind.make(group, making)
    missing = [each.name for each in group if each.name not in found]
    if missing:
        raise NoScorer(missing[0], f"`{name}` made none for it")
    return found


def _article(name: str) -> str:
    return f"a {name}"


def calibration_of(scorer: ConceptScorer, concept: str) -> Calibration | None:
    """How well the scores of a concept separated its examples; None where nothing is known of it."""
    calibrations: Mapping[str, Calibration] = getattr(scorer, "calibrations", {})
    return calibrations.get(concept)


def _weak(calibrations: Mapping[str, Calibration]) -> dict[str, str]:
    if not calibrations:
        return {}
    from bylaw.runtime.concepts.calibration import gate

    found = {}
    for name, calibration in calibrations.items():
        if gate(calibration) != "ok":
            auc = calibration.auc
            found[name] = (
                f"the scores of `{name}` hardly separate its examples (area under the curve {auc.value:.2f}, 95 % "
                f"{auc.low:.2f} to {auc.high:.2f}; .70 is needed)"
            )
    return found


def _silent(
    concepts: Mapping[str, Concept],
    made: Mapping[str, ConceptScorer],
    calibrations: Mapping[str, Calibration],
    making: Making,
) -> dict[str, str]:
    found = {name: scorer.reason for name, scorer in made.items() if isinstance(scorer, Silent)}
    if making.is_rough_allowed:
        return found
    for name, concept in concepts.items():
        known = calibrations.get(name)
        counts = None if known is None else (known.positives, known.negatives)
        if name not in found and (why := too_few(concept, making, counts)) is not None:
            found[name] = why
    return found


def too_few(concept: Concept, making: Making, counts: tuple[int, int] | None = None) -> str | None:
    """Why no set of these examples (those that do, those that do not; None: of the policy and the labels) can ever say
    on which side a text is; None where they are enough."""
    if counts is None:
        labels = [each.expresses for each in examples_of(concept, making)]
        counts = sum(labels), len(labels) - sum(labels)
    return too_few_of(concept.name, counts, making.alpha)


def _texts(concept: Concept, making: Making) -> tuple[Grouped, ...]:
    """What the scores of a concept were held against: labelled texts; without any, its examples."""
    labelled = {each.text: each.group for each in making.labels.get(concept.name, ())}
    return tuple(labelled.items()) or tuple((text, "") for text in (*concept.like, *concept.unlike))


def _expressing(concept: Concept, making: Making) -> frozenset[str]:
    """Those of `_texts` that express the concept."""
    labelled = {each.text: each.expresses for each in making.labels.get(concept.name, ())}
    return frozenset(text for text, does in labelled.items() if does) if labelled else frozenset(concept.like)
