"""A language model as judge: one closed question about each text, answered with a reason, a quote and a verdict.

`scored by judge "QUESTION"`: the question that the judge is asked; without it, one is made from what the concept means.
The judge is reached only where one is named (`--judge`), see `bylaw.runtime.judges`.

A verdict becomes a score by how often the judge was right on labelled texts: the probability, at even odds, that a text
does after this judge said yes, or no. Without labels nothing is known of that, and the answer is `uncalibrated` (unless
rough scores are allowed). What cannot be read, was refused or did not come is `unscored` with its reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.judges.correction import JudgeQuality, quality
from bylaw.runtime.judges.even_odds import score_of_verdict
from bylaw.runtime.judges.exchange import Answer
from bylaw.runtime.judges.injection import judge_copy
from bylaw.runtime.judges.interface import Estimate, JudgeError
from bylaw.runtime.judges.judge import Judge
from bylaw.runtime.judges.options import judge_of
from bylaw.runtime.judges.prompt import Exhibit, templates_digest
from bylaw.runtime.judges.repeats import Votes, votes
from bylaw.runtime.judges.rubric import Rubric, concept_rubric
from bylaw.runtime.judges.verdict import PARSER, Verdict
from bylaw.runtime.scorers._calibrated import grouped_examples, made_digest, not_shown, text_digest
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import ConceptScorer, Cost, Question, Scored, ScorerError, Why, unscored
from bylaw.spec.expression import Concept

ARGUMENT = "the question that the judge answers about each text with yes or no"
LEAST_AREA = 0.7
"""Below this area under the curve, for verdicts (sensitivity + specificity)/2, a judge says too little for a score."""
Answers: TypeAlias = tuple[Answer[Verdict], ...]


@dataclass(frozen=True, slots=True)
class Judged:
    """One concept as the judge is asked about it; `labels` are texts that the prompt does not show."""

    concept: Concept
    rubric: Rubric
    labels: tuple[LabelledText, ...]
    digest: str


@dataclass(frozen=True, slots=True)
class Standing:
    """What a judge's verdicts on one concept are worth. `quality`: None where no label of it was answered. `lacking`:
    why its verdicts do not count; empty where they do. `unanswered`: labelled texts without a verdict."""

    quality: JudgeQuality | None
    lacking: str
    unanswered: int


class JudgeScorer:
    """Asks one judge about any number of concepts. Labelled texts are asked about when the first question comes, in the
    same batch, and once. Answers are kept by the judge's asker, not here."""

    name = "judge"

    def __init__(self, judge: Judge, judged: Mapping[str, Judged], making: Making) -> None:
        self.judge = judge
        self._judged = judged
        self._is_rough = making.is_rough_allowed
        self._alpha = making.alpha
        self._standings: dict[str, Standing] = {}
        self.digest = _digest(judge, judged)

    @property
    def reads(self) -> Literal["text", "conversation"]:
        return "conversation" if self.judge.reads_conversation else "text"

    @property
    def judging_models(self) -> tuple[str, ...]:
        """What the model that judges is known by; nothing where it may judge its own answers."""
        return () if self.judge.is_same_model_allowed else (self.judge.parameters.model,)

    @property
    def standings(self) -> Mapping[str, Standing]:
        """What is known of the judge by concept, for those that were asked about."""
        return dict(self._standings)

    def estimate(self, questions: Sequence[Question]) -> Estimate:
        """What `score` would cost for these questions, labelled texts included; sends nothing."""
        questions = [question for question in questions if not self._hopeless(question.concept.name)]
        labels, items = self._items(questions)
        return self.judge.estimate([*(item for _, item in labels), *items])

    def score(self, questions: Sequence[Question], progress: Callable[[int], None] = lambda _: None) -> list[Scored]:
        """One answer for each question, in order. Raises ScorerError where the judge cannot be used at all."""
        hopeless = [self._hopeless(question.concept.name) for question in questions]
        if any(hopeless):  # nothing that the judge could say would count
            rest = iter(self.score([each for each, why in zip(questions, hopeless, strict=True) if not why], progress))
            progress(sum(map(bool, hopeless)))
            for question, why in zip(questions, hopeless, strict=True):
                if why:
                    self._standings[question.concept.name] = Standing(None, why, 0)
            return [unscored("uncalibrated", why) if why else next(rest) for why in hopeless]
        labels, items = self._items(questions)
        told = _Progress(progress, len(questions), self.judge.repeats * (len(labels) + len(items)))
        try:
            answers = self.judge.ask([*(item for _, item in labels), *items], told.more)
        except JudgeError as error:
            raise ScorerError(str(error)) from error
        told.all()
        spent = self._calibrate([name for name, _ in labels], answers[: len(labels)])
        return [
            self._scored(question, answer, spent.pop(question.concept.name, Cost()))
            for question, answer in zip(questions, answers[len(labels) :], strict=True)
        ]

    def _items(
        self, questions: Sequence[Question]
    ) -> tuple[list[tuple[str, tuple[Rubric, Exhibit]]], list[tuple[Rubric, Exhibit]]]:
        """(concept and question of labelled texts that were not asked about yet, the questions themselves)."""
        asked = [self._of(question.concept.name) for question in questions]
        fresh = {each.concept.name: each for each in asked if each.concept.name not in self._standings}
        labels = [
            (name, (each.rubric, Exhibit(label.text, (("user", label.prompt),) if label.prompt else ())))
            for name, each in fresh.items()
            for label in each.labels
        ]
        items = [(each.rubric, _exhibit(question)) for each, question in zip(asked, questions, strict=True)]
        return labels, items

    @property
    def requests_left(self) -> int | None:
        """What the judge's budget allows to send; None: no limit."""
        meter = getattr(self.judge.asker, "meter", None)
        if meter is None or meter.budget.requests is None:
            return None
        return max(0, int(meter.budget.requests - meter.spent.requests))

    def _hopeless(self, concept: str) -> str:
        """Why no answer about this concept can count, whatever the judge says of its labels; empty: some may."""
        return "" if self._is_rough else _too_few(self._of(concept), self._alpha)

    def _of(self, concept: str) -> Judged:
        if concept not in self._judged:
            raise ScorerError(f"this judge was not made for `{concept}`")
        return self._judged[concept]

    def _calibrate(self, names: Sequence[str], answers: Sequence[Answers]) -> dict[str, Cost]:
        """Takes in the answers about labelled texts; what they cost, by concept."""
        spent: dict[str, Cost] = {}
        by_concept: dict[str, list[Votes]] = {}
        for name, some in zip(names, answers, strict=True):
            by_concept.setdefault(name, []).append(votes(some))
            spent[name] = sum((each.cost for each in some), spent.get(name, Cost()))
        for name, found in by_concept.items():
            self._standings[name] = _standing(self._judged[name], found, self._alpha)
        return spent

    def _scored(self, question: Question, answers: Answers, spent: Cost) -> Scored:
        concept = question.concept
        together = votes(answers)
        cost = sum((each.cost for each in answers), spent)
        standing = self._standings.get(concept.name) or _standing(self._judged[concept.name], (), self._alpha)
        record = self._record(question, answers, together, standing)
        if together.is_yes is None:
            return unscored(together.why or "transport", together.reason, cost, record)
        if not together.is_yes and (cut := judge_copy(question.text, self.judge.most_characters).cut):
            told = (
                f"the judge saw all but {cut} characters of the text, and nothing in what it saw: the text is too long"
            )
            return unscored("input", told, cost, record)
        passages = _passages(answers) if together.is_yes else ()
        if standing.lacking or standing.quality is None:
            if not self._is_rough:
                return unscored("uncalibrated", standing.lacking, cost, record)
            mean = together.mean if together.mean is not None else 0.5
            return Scored(mean, 0.0, 1.0, passages=passages, cost=cost, record={**record, "rough": True})
        score, low, high = score_of_verdict(standing.quality, together.is_yes)
        if low < concept.threshold <= high:
            told = (
                f"after its answer the score of `{concept.name}` is {score:.2f} (95 % {low:.2f} to {high:.2f}): with "
                f"so few labels, or such a judge, that is on no side of {concept.threshold:g}"
            )
            return unscored("cannot_tell", told, cost, {**record, "score": score})
        return Scored(score, low, high, passages=passages, cost=cost, record=record)

    def _record(self, question: Question, answers: Answers, together: Votes, standing: Standing) -> dict[str, Any]:
        judge = self.judge
        return {
            "text": text_digest(question.text),
            "judge": judge.asker.place,
            "parameters": asdict(judge.parameters),
            "models": sorted({each.model for each in answers if each.model}),
            "templates": templates_digest(),
            "parser": PARSER,
            "answers": [_told(each) for each in answers],
            "mean": together.mean,
            "spread": together.spread,
            "quality": None if standing.quality is None else standing.quality.describe(),
        }


def make(concepts: tuple[Concept, ...], making: Making) -> Mapping[str, ConceptScorer]:
    """One scorer for all concepts. Raises ScorerError, with the first concept's name, where no judge is named or cannot
    be used; sends nothing."""
    option = making.options.get("judge")
    first = concepts[0].name if concepts else ""
    if not option:
        raise ScorerError(f"`{first}` is scored by a judge: name one with --judge and --judge-model")
    try:
        judge = judge_of(option)
        judged = {concept.name: _judged(concept, concepts, making) for concept in concepts}
    except JudgeError as error:
        raise ScorerError(f"`{first}`: {error}") from error
    scorer = JudgeScorer(judge, judged, making)
    return {concept.name: scorer for concept in concepts}


def _judged(concept: Concept, others: Sequence[Concept], making: Making) -> Judged:
    rubric = concept_rubric(concept, others)
    shown = [example.text for example in rubric.examples]
    labels = not_shown(grouped_examples((concept,), making)[concept.name], shown)
    return Judged(concept, rubric, labels, made_digest("judge", concept, labels, making, repr(rubric)))


def _too_few(judged: Judged, alpha: float) -> str:
    """Why no verdict can count, however the judge does on its labels; empty where some may."""
    from bylaw.runtime.concepts.conformal import needed

    name, labels = judged.concept.name, judged.labels
    does, enough = sum(label.expresses for label in labels), needed(alpha)
    if min(does, len(labels) - does) >= enough:
        return ""
    return (
        f"the judge was not asked, since it can be held against {does} labelled texts that express `{name}` and "
        f"{len(labels) - does} that do not; {_remedy(enough)}"
    )


def _remedy(enough: int) -> str:
    return (
        f"{enough} of each are needed before its verdicts say something: label more texts (--labels), or take them as "
        f"they are with --rough"
    )


def _standing(judged: Judged, found: Sequence[Votes], alpha: float) -> Standing:
    """From the verdicts on labelled texts, in their order; fewer than 1/alpha − 1 of a class are too few."""
    from bylaw.runtime.concepts.conformal import needed

    name = judged.concept.name
    pairs = [(label, each.is_yes) for label, each in zip(judged.labels, found, strict=False) if each.is_yes is not None]
    unanswered = len(judged.labels) - len(pairs)
    does = sum(label.expresses for label, _ in pairs)
    enough = needed(alpha)
    measured = None
    if pairs:
        people = [label.expresses for label, _ in pairs]
        named = any(label.group for label, _ in pairs)
        groups = [label.group or f"\0{number}" for number, (label, _) in enumerate(pairs)] if named else None
        measured = quality(people, [said for _, said in pairs if said is not None], groups)
    if min(does, len(pairs) - does) < enough:
        also = f" ({unanswered} more got no verdict)" if unanswered else ""
        lacking = (
            f"the judge was held against {does} labelled texts that express `{name}` and {len(pairs) - does} that do "
            f"not{also}; {_remedy(enough)}"
        )
        return Standing(measured, lacking, unanswered)
    assert measured is not None
    area = ((measured.information or 0.0) + 1) / 2
    lacking = ""
    if area < LEAST_AREA:
        lacking = (
            f"the judge hardly tells what expresses `{name}` from what does not: {measured.describe()}; area under the "
            f"curve {area:.2f}, {LEAST_AREA:g} is needed"
        )
    return Standing(measured, lacking, unanswered)


def _exhibit(question: Question) -> Exhibit:
    """The text, and what was said before it where it is the last message of a conversation."""
    messages = () if question.trace is None else question.trace.messages
    if messages and messages[-1].content == question.text:
        messages = messages[:-1]
    return Exhibit(question.text, tuple((message.role, message.content) for message in messages))


def _passages(answers: Answers) -> tuple[tuple[int, int], ...]:
    """Where the judge saw it: the quotes of all answers that say yes."""
    found = {
        passage
        for each in answers
        if each.value is not None and each.value.word == "yes"
        for passage in each.value.passages
    }
    return tuple(sorted(found))


def _told(answer: Answer[Verdict]) -> dict[str, Any]:
    value, why = answer.value, answer.why
    if value is None:
        failed: dict[str, Why | str | None] = {"why": why, "reason": answer.reason}
        return dict(failed)
    told = {"verdict": value.said, "reason": value.reason, "quote": value.quote}
    return {**told, "asked_again": True} if answer.asked_again else dict(told)


def _digest(judge: Judge, judged: Mapping[str, Judged]) -> str:
    parts = [judge.asker.place, repr(judge.parameters), str(judge.repeats), str(judge.reads_conversation)]
    parts += [str(judge.most_characters), templates_digest(), PARSER]
    parts += [each.digest for _, each in sorted(judged.items())]
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class _Progress:
    """Turns answers that are there into questions that are done: a question has several answers, and labels count."""

    def __init__(self, progress: Callable[[int], None], questions: int, answers: int) -> None:
        self._progress, self._questions, self._answers = progress, questions, max(answers, 1)
        self._there = 0
        self._done = 0

    def more(self, count: int) -> None:
        self._there += count
        self._tell(self._there * self._questions // self._answers)

    def all(self) -> None:
        self._tell(self._questions)

    def _tell(self, done: int) -> None:
        if done > self._done:
            self._progress(done - self._done)
            self._done = done
