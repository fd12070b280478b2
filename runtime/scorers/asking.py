"""Asks scorers what a policy has to know of conversations: each question once, and no question that decides nothing.

Which questions there are shows in evaluating: a condition may hide a question until another one is answered. So traces
are evaluated with scores that note what is missing, the answers are fetched together, and that again until nothing is
missing. What a scorer cannot tell stays `unscored` with its reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.scorers._telling import in_words, reason_of, texts
from bylaw.runtime.scorers._withdrawal import REMEDY, Comparison, drift_at_share, drift_of
from bylaw.runtime.scorers.build import Scorers, of_hard_rules, rules_of
from bylaw.runtime.scorers.interface import Cost, Question, Scored, ScorerError, Why, unscored
from bylaw.runtime.scoring_record import ConceptScoring, DriftTest
from bylaw.spec.trace import Message, Trace

if TYPE_CHECKING:
    from bylaw.runtime.judges.correction import JudgeQuality
    from bylaw.runtime.twist.compiler import Stages

Key: TypeAlias = tuple[str, str, tuple[Message, ...]]
"""(concept, text, the conversation around it where the scorer reads that)."""
Place: TypeAlias = tuple[str, str]
Evaluate: TypeAlias = Callable[[int, Trace], object]
"""Does with the trace of this number whatever will be done with it."""


@dataclass(frozen=True, slots=True)
class ScoringRecord:
    """Who scored what, and what it cost; `digest` changes with everything that could change a score. `answers` are all
    of them, in the order in which they came."""

    digest: str
    concepts: tuple[ConceptScoring, ...]
    answers: tuple[tuple[str, Scored], ...] = ()

    @property
    def cost(self) -> Cost:
        parts = (Cost(e.seconds, e.requests, e.cached, e.tokens_in, e.tokens_out) for e in self.concepts)
        return sum(parts, Cost())


@dataclass(eq=False)
class Asker:
    """Asks, and remembers every answer. `refused`: concepts that are not asked about, with the reason.
    `takes_doubtful`: whether a calibrated score that is on no side for certain counts, as it does where probabilities
    are weighed and not verdicts. `announce`: is told what a judge's answers may cost, before it is asked."""

    scorers: Scorers
    refused: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    stages: Stages | None = None
    takes_doubtful: bool = False
    announce: Callable[[str], None] | None = None
    answers: dict[Key, Scored] = field(default_factory=dict)
    groups: dict[Key, str] = field(default_factory=dict)
    drifts: dict[str, DriftTest] = field(default_factory=dict)
    compared: dict[Comparison, DriftTest] = field(default_factory=dict)
    rules: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))

    @staticmethod
    def of(
        program: RewardProgram,
        scorers: Scorers,
        stages: Stages | None = None,
        announce: Callable[[str], None] | None = None,
        *,
        takes_doubtful: bool = False,
    ) -> Asker:
        """For a program: a concept whose scores hardly separate its examples says nothing where a `must` hangs on
        it."""
        hard = of_hard_rules(program)
        refused = {
            name: f"{reason}, and `{hard[name]}` may not forbid on that: label more texts"
            for name, reason in scorers.weak.items()
            if name in hard
        }
        asker = Asker(scorers, MappingProxyType(refused), stages, takes_doubtful, announce)
        asker.rules = MappingProxyType(rules_of(program))
        return asker

    def key(self, place: Place, trace: Trace) -> Key:
        concept, text = place
        return concept, text, trace.messages if self.scorers.reads_conversation((concept,)) else ()

    def knows(self, concept: str) -> bool:
        """Whether somebody answers for this concept."""
        return concept in self.scorers.by_concept

    def lacks(self, concept: str) -> str | None:
        """Why no answer about this concept will ever be a score; None where some may be."""
        if not self.knows(concept):
            return Trace(()).lacks_scores(concept)
        return self.refused.get(concept) or self.scorers.silent.get(concept)

    def ask(self, questions: Iterable[tuple[Place, Trace]]) -> None:
        """Fetches the answers that are not there yet, all questions to one scorer together. Raises ScorerError."""
        wanted: dict[Key, Question] = {}
        for place, trace in questions:
            key = self.key(place, trace)
            if key not in self.answers and key not in wanted:
                wanted[key] = Question(self.scorers.concepts[place[0]], place[1], trace)
                # texts of one conversation are no independent texts
                self.groups[key] = _beginning(trace)
        by_scorer: dict[int, list[Key]] = {}
        for key in wanted:
            if key[0] in self.refused:
                self.answers[key] = unscored("uncalibrated", self.refused[key[0]])
            else:
                by_scorer.setdefault(id(self.scorers.by_concept[key[0]]), []).append(key)
        for keys in by_scorer.values():
            self._ask_one(keys, [wanted[key] for key in keys])

    def _ask_one(self, keys: Sequence[Key], questions: Sequence[Question]) -> None:
        scorer = self.scorers.by_concept[keys[0][0]]
        done = 0

        def progress(more: int) -> None:
            nonlocal done
            done += more
            if self.stages is not None:
                self.stages.progress(done, len(questions))

        if self.stages is not None:
            self.stages.stage(f"scoring with {scorer.name}", len(questions))
        estimate = getattr(scorer, "estimate", None)
        if estimate is not None and self.announce is not None:
            expected = estimate(questions)
            if expected.requests or expected.cached:
                self.announce(in_words(scorer.name, expected, getattr(scorer, "requests_left", None)))
        found = scorer.score(questions, progress)
        if len(found) != len(questions):
            raise ScorerError(f"`{scorer.name}` gave {len(found)} answers to {len(questions)} questions")
        self.answers.update((key, self._kept(key, answer)) for key, answer in zip(keys, found, strict=True))

    def _kept(self, key: Key, answer: Scored) -> Scored:
        drift = self.drifts.get(key[0])
        doubtful = _score_of(answer) if self.takes_doubtful and answer.why == "cannot_tell" else None
        if doubtful is not None:
            answer = Scored(doubtful, passages=answer.passages, cost=answer.cost, record=answer.record)
        return answer if drift is None else _withdrawn(answer, drift, self.scorers.is_rough_allowed)

    def withdraw(self) -> bool:
        """Looks once at each concept for whether the texts are unlike those of its calibration, and takes back the
        scores where they are; whether any was."""
        is_any = False
        for name in self.scorers.texts:
            if name in self.drifts or (found := self._drift_of(name)) is None:
                continue
            self.drifts[name] = found
            for key in [key for key in self.answers if found.fired and key[0] == name]:
                kept = _withdrawn(self.answers[key], found, self.scorers.is_rough_allowed)
                is_any |= kept is not self.answers[key]
                self.answers[key] = kept
        return is_any

    def drifted(self) -> dict[str, str]:
        """What to say, by concept, where the texts that were asked about are unlike those of its calibration and their
        scores were not taken back: answers that are still being written are asked about one by one, too few to tell."""
        found = {name: self._drift_of(name) for name in self.scorers.texts if name not in self.drifts}
        return {name: drift.message for name, drift in found.items() if drift is not None and drift.fired}

    def _drift_of(self, name: str) -> DriftTest | None:
        """Whether the texts of a concept are unlike those of its calibration; None where no score hangs on that."""
        keys = [key for key in self.answers if key[0] == name]
        if not any(self.answers[key].score is not None for key in keys):
            return None
        compared = Comparison(self.scorers.texts[name], tuple({key[1]: self.groups[key] for key in keys}.items()))
        if compared not in self.compared:
            self.compared[compared] = drift_of(compared)
        first = self.compared[compared]
        if not first.fired:
            return first
        scores = [score for key in keys if (score := _score_of(self.answers[key])) is not None]
        return drift_at_share(compared, first, self.scorers.expressing.get(name, frozenset()), scores)

    def record(self) -> ScoringRecord:
        """What was asked so far, in the order of the concepts."""
        by_concept: dict[str, list[Scored]] = {}
        for key, answer in self.answers.items():
            by_concept.setdefault(key[0], []).append(answer)
        known = [name for name in self.scorers.concepts if name in by_concept]
        concepts = tuple(self._asked(name, by_concept[name]) for name in known)
        return ScoringRecord(self.scorers.digest, concepts, tuple((key[0], each) for key, each in self.answers.items()))

    def _asked(self, name: str, answers: Sequence[Scored]) -> ConceptScoring:
        scorer, concept, found = (
            self.scorers.by_concept[name],
            self.scorers.concepts[name],
            self.scorers.known.get(name),
        )
        scores = [each.score for each in answers if each.score is not None]
        classes: Counter[Why] = Counter(each.why for each in answers if each.why is not None)
        cost = sum((each.cost for each in answers), Cost())
        return ConceptScoring(
            concept=name,
            scorer=scorer.name,
            digest=scorer.digest,
            asked=len(answers),
            scored=len(scores),
            expressing=sum(score >= concept.threshold for score in scores),
            unscored=tuple((why, number, reason_of(why, answers)) for why, number in classes.most_common()),
            accuracy=None if found is None else (found.balanced_accuracy.value, found.auc.value, found.prevalence),
            drift=self.drifts.get(name),
            seconds=cost.seconds,
            requests=cost.requests,
            cached=cost.cached,
            tokens_in=cost.tokens_in,
            tokens_out=cost.tokens_out,
            remarks=tuple(self._remarks(name, answers)),
            notes=tuple(self._notes(name)),
            rules=self.rules.get(name, ()),
            errors=self._errors(name),
        )

    def _remarks(self, name: str, answers: Sequence[Scored]) -> Iterator[str]:
        rough = sum(bool(each.record.get("rough")) for each in answers)
        if rough:
            yield f"{rough} of its scores were held against too few examples to mean much"
        if name in self.scorers.weak and name not in self.refused:
            yield self.scorers.weak[name]
        drift = self.drifts.get(name)
        if drift is not None and drift.fired and self.scorers.is_rough_allowed:
            yield f"{drift.message}; its scores count all the same (--rough)"

    def _notes(self, name: str) -> Iterator[str]:
        quality = self._quality(name)
        if quality is not None:
            yield f"held against people: {quality.describe()}"
        asked = {key[1] for key in self.answers if key[0] == name}
        labelled = asked & {text for text, _ in self.scorers.texts.get(name, ())}
        if labelled:
            told = "the judge was held against them" if quality is not None else "their scores are not held out"
            is_one = len(labelled) == 1
            which = "is among the labelled texts" if is_one else "are among the labelled ones"
            yield f"{len(labelled)} of the {texts(len(asked))} {which}: {told}, so agreement on them says little"

    def _quality(self, name: str) -> JudgeQuality | None:
        """How often people and a judge agree; None for other scorers and where no label was answered."""
        standings: Mapping[str, Any] = getattr(self.scorers.by_concept[name], "standings", {})
        found: JudgeQuality | None = getattr(standings.get(name), "quality", None)
        return found

    def _errors(self, name: str) -> str:
        found, quality = self.scorers.known.get(name), self._quality(name)
        if found is not None:
            balanced = found.balanced_accuracy
            return f"balanced accuracy {balanced.value:.2f} [{balanced.low:.2f}, {balanced.high:.2f}]"
        return "" if quality is None else quality.describe()


def _beginning(trace: Trace) -> str:
    """What a conversation begins with; of a text alone, nothing."""
    said = [message.content for message in trace.messages if message.role not in ("system", "developer")]
    return said[0] if len(said) > 1 else ""


def _score_of(answer: Scored) -> float | None:
    """The score, also where it is on no side for certain; None where there is none."""
    if answer.score is not None or answer.why != "cannot_tell":
        return answer.score
    doubtful = answer.record.get("score")
    return doubtful if isinstance(doubtful, float) and 0 <= doubtful <= 1 else None


def _withdrawn(answer: Scored, drift: DriftTest, is_rough_allowed: bool) -> Scored:
    """The answer without a score that its calibration does not stand for here."""
    if not drift.fired or answer.score is None or is_rough_allowed:
        return answer
    return unscored("drift", f"{drift.message}; {REMEDY}", answer.cost, answer.record)


# ---------------------------------------------------------------------------------------------------------- in batches
class _Noting(Mapping[Place, float]):
    """The scores of one trace, as far as they are known; `missing` are those that were asked for and are not."""

    def __init__(self, asker: Asker, trace: Trace) -> None:
        self._asker, self._trace = asker, trace
        self.missing: dict[Place, None] = {}
        self.used: dict[Place, None] = {}

    def get(self, place: Place, default: Any = None) -> Any:
        given = self._trace.scores.get(place)
        if given is not None or place in self._trace.unscored or not self._asker.knows(place[0]):
            return default if given is None else given
        answer = self._asker.answers.get(self._asker.key(place, self._trace))
        if answer is None:
            self.missing[place] = None
            return default
        self.used[place] = None
        return default if answer.score is None else answer.score

    def __getitem__(self, place: Place) -> float:
        found: float | None = self.get(place)
        if found is None:
            raise KeyError(place)
        return found

    def __iter__(self) -> Iterator[Place]:
        return iter(self._trace.scores)

    def __len__(self) -> int:
        return len(self._trace.scores)


def score_traces(
    program: RewardProgram,
    traces: Sequence[Trace],
    scorers: Scorers,
    stages: Stages | None = None,
    evaluate: Evaluate | None = None,
    announce: Callable[[str], None] | None = None,
) -> tuple[tuple[Trace, ...], ScoringRecord]:
    """The traces with what scorers say of them, and a record of it. Scores that a trace has already stay.

    `evaluate` (number of the trace, trace) does whatever will be done with a trace, so that what it asks for is known
    (None: the terms of the program are evaluated); `announce` is told what judges may cost before they are asked.
    Raises ScorerError where a scorer cannot be used at all.
    """
    asker = Asker.of(program, scorers, stages, announce)
    if not scorers.by_concept:
        return tuple(traces), asker.record()
    return ask_about(asker, traces, evaluate or terms_evaluated(program)), asker.record()


def ask_about(asker: Asker, traces: Sequence[Trace], evaluate: Evaluate, *, is_last: bool = True) -> tuple[Trace, ...]:
    """The traces with everything that `evaluate` asks for, from what is remembered or asked now. Raises ScorerError.

    Where more traces come (not `is_last`), it is not looked yet at whether texts are unlike those of a calibration.
    """
    views = [_Noting(asker, trace) for trace in traces]
    _ask_until_known(asker, traces, views, evaluate)
    while is_last and asker.withdraw():  # what is not known any more may make other questions count
        _ask_until_known(asker, traces, views, evaluate)
    is_alone = len(traces) == 1
    return tuple(_with_answers(asker, trace, view, is_alone) for trace, view in zip(traces, views, strict=True))


def _ask_until_known(asker: Asker, traces: Sequence[Trace], views: Sequence[_Noting], evaluate: Evaluate) -> None:
    open_ones: Sequence[int] = range(len(traces))
    while open_ones:
        for number in open_ones:
            views[number].missing.clear()
            evaluate(number, replace(traces[number], scores=views[number]))
        open_ones = [number for number in open_ones if views[number].missing]
        asker.ask((place, traces[number]) for number in open_ones for place in views[number].missing)


def terms_evaluated(program: RewardProgram) -> Evaluate:
    """Evaluates the terms of a program; a term that is decided without a missing score does not ask for it."""

    def evaluate(_: int, trace: Trace) -> None:
        noting = trace.scores
        for term in program.terms:
            before = dict(noting.missing) if isinstance(noting, _Noting) else {}
            try:
                is_open = evaluate_term(term, trace).verdict is Verdict.UNSCORED
            except Exception:  # the audit says of which trace and why
                is_open = True
            if not is_open and isinstance(noting, _Noting):
                noting.missing = before

    return evaluate


def _with_answers(asker: Asker, trace: Trace, view: _Noting, is_alone: bool) -> Trace:
    """The trace with what it used of the answers. Of many, reasons that differ by a number only are one reason."""
    if not view.used:
        return trace
    scores, unknown, passages = dict(trace.scores), dict(trace.unscored), dict(trace.passages)
    for place in view.used:
        answer = asker.answers[asker.key(place, trace)]
        if answer.score is None:
            is_usual = answer.why == "cannot_tell" and not is_alone
            unknown[place] = f"the scores of `{place[0]}` cannot tell" if is_usual else answer.reason
        else:
            scores[place] = answer.score
            if answer.passages:
                passages[place] = answer.passages
    return replace(trace, scores=scores, unscored=unknown, passages=passages)
