"""What a judge is asked about a text: one closed question, made from a concept or a rule of a policy."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from bylaw.runtime.judges.interface import JudgeError
from bylaw.spec.expression import Concept

Word: TypeAlias = Literal["yes", "no", "not_applicable", "cannot_judge"]
"""What a verdict means, whatever words the judge says it in."""

_WORDS: Mapping[str, tuple[str, str]] = {
    "concept": ("expressed", "not_expressed"),
    "topic": ("about_it", "not_about_it"),
    "rule": ("violated", "satisfied"),
}
_MOST_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class ShownExample:
    """A text of the policy with the verdict that is right for it, in the rubric's words."""

    text: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Rubric:
    """One closed question about a text.

    `question`: as a judge reads it. `meaning`: what the concept means, or what the rule says. `criteria`: what else its
    author wrote. `examples`: as many of each kind, in an order that the seed fixes. `distinct_from`: what it is not to
    be taken for, as (name, meaning; empty where it is not known). The answer "yes" is that the text expresses the
    concept, or that it breaks the rule: what a passage can show.
    """

    name: str
    kind: Literal["concept", "topic", "rule"]
    question: str
    meaning: str
    criteria: str = ""
    examples: tuple[ShownExample, ...] = ()
    distinct_from: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.question.strip():
            raise JudgeError(f"`{self.name}` has an empty question for its judge: write what the judge is to answer")

    @property
    def yes(self) -> str:
        """The judge's word for "yes"."""
        return _WORDS[self.kind][0]

    @property
    def no(self) -> str:
        """The judge's word for "no"."""
        return _WORDS[self.kind][1]

    @property
    def words(self) -> dict[str, Word]:
        """The judge's words and what they mean."""
        return {self.yes: "yes", self.no: "no", "not_applicable": "not_applicable", "cannot_judge": "cannot_judge"}


def concept_rubric(
    concept: Concept, others: Sequence[Concept] = (), *, most_examples: int = _MOST_EXAMPLES, seed: int = 0
) -> Rubric:
    """The question about a concept: the argument of `scored by judge "..."`, or one made from its meaning.

    Of `like` and `unlike` as many are shown as there are of both, at most `most_examples` of each; none where one kind
    is missing, because examples of one kind only would push the answer. `others`: concepts whose meaning is known, for
    `distinct from`. Raises JudgeError for an empty question.
    """
    kind: Literal["concept", "topic"] = "topic" if concept.is_topic else "concept"
    spoken = spoken_name(concept.name)
    made = f'Is the text about "{spoken}"?' if concept.is_topic else f'Does the text express "{spoken}"?'
    known = {other.name: other.meaning for other in others}
    yes, no = _WORDS[kind]
    return Rubric(
        concept.name,
        kind,
        made if concept.scorer_argument is None else concept.scorer_argument,
        concept.meaning,
        examples=_balanced(concept.name, concept.like, concept.unlike, (yes, no), most_examples, seed),
        distinct_from=tuple((spoken_name(name), known.get(name, "")) for name in concept.distinct_from),
    )


def rule_rubric(
    name: str,
    text: str,
    *,
    criteria: str = "",
    violates: Sequence[str] = (),
    complies: Sequence[str] = (),
    most_examples: int = _MOST_EXAMPLES,
    seed: int = 0,
) -> Rubric:
    """The question whether a text breaks a rule. `text`: the rule in words; `criteria`: its description or rubric;
    `violates` and `complies`: its examples, shown in balance as for concepts. Raises JudgeError for an empty rule."""
    if not text.strip():
        raise JudgeError(f"the rule `{name}` has no words that a judge could apply: give it a title or a description")
    shown = _balanced(name, violates, complies, _WORDS["rule"], most_examples, seed)
    return Rubric(name, "rule", "Does the text break the rule, or does it keep it?", text, criteria, shown)


def spoken_name(name: str) -> str:
    """`std.tone.blames_user` as a reader says it: `blames user`."""
    return name.rpartition(".")[2].replace("_", " ")


def _balanced(
    name: str, yes: Sequence[str], no: Sequence[str], words: tuple[str, str], most: int, seed: int
) -> tuple[ShownExample, ...]:
    """As many of both kinds, chosen and ordered by a hash of name and seed (Python's own hash differs by process)."""
    source = hashlib.sha256(f"{seed}\0{name}".encode("utf-8", "surrogatepass")).digest()
    generator = random.Random(int.from_bytes(source[:8]))
    count = min(len(yes), len(no), most)
    shown = [
        ShownExample(text, word)
        for texts, word in zip((yes, no), words, strict=True)
        for text in generator.sample(list(texts), count)
    ]
    generator.shuffle(shown)
    return tuple(shown)
