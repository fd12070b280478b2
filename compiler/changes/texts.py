"""Which texts one version of some rules lets pass and another one does not: shortest witnesses, or a proof of none.

The question is always the same: is there a conversation that breaks one clause and keeps all clauses of a list? A
shortest text that breaks the clause is found by automata; the rules of the list that it breaks, and only these, are
then added to the search, until a text keeps all that are in force in some conversation, or none is left
(counterexample-guided refinement). So a policy of hundreds of rules costs no more than the few that matter. A text is
shown only when the reference evaluator confirms it.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from itertools import pairwise
from typing import Literal

from bylaw.compiler.automata.algebra import shortest_witness
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.candidates import candidates
from bylaw.compiler.changes.clauses import TRUE, Clause
from bylaw.compiler.changes.situations import IMPOSSIBLE, Missing, Needs, Situations, scored
from bylaw.compiler.evaluate import truth
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.regular import dfa_of, why_not_regular
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    Compare,
    Concept,
    ConceptScore,
    MessageText,
    NumberConstant,
)
from bylaw.spec.logic import conjunction, conjuncts, meaning, negate, reads_context, reads_response, walk
from bylaw.spec.trace import Trace

MOST_STEPS = 200
"""Searches for one question; more than that is not decided."""
MOST_TRIES = 400
"""Texts tried for a question that automata do not decide."""
AFTER_A_CALL = "Done."
"""What the assistant says last where a conversation ends with a call: rules about answers are then decided."""
SCORED_TEXT = "..."
"""An answer of which only its score matters."""
CAP = "the search grew too large"
LATE = "the time was used up"
Result = Literal["witness", "nothing", "not decided"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found out about one question.

    `witness` comes with the conversation `trace`, whose last message breaks `breaks`; `is_shortest` says that no
    shorter answer does. `nothing` is a proof. Otherwise `reason` says why it was not decided.
    """

    result: Result
    trace: Trace | None = None
    breaks: RewardTerm | None = None
    is_shortest: bool = False
    reason: str = ""

    @property
    def text(self) -> str:
        """The last message of the witness; the empty text without one."""
        return self.trace.messages[-1].content if self.trace is not None else ""


NOTHING = Answer("nothing")


def together(answers: Iterable[Answer]) -> Answer:
    """One answer for several questions: the shortest witness, else what was not decided, else nothing."""
    all_answers = list(answers)
    witnesses = [each for each in all_answers if each.result == "witness"]
    if witnesses:
        best = min(witnesses, key=lambda each: len(each.text))
        is_shortest = all(each.is_shortest or each.result == "nothing" for each in all_answers)
        return Answer("witness", best.trace, best.breaks, is_shortest)
    return next((each for each in all_answers if each.result == "not decided"), NOTHING)


@dataclass(slots=True)
class _Progress:
    """One question on its way.

    `waiting` are texts that break the clause, the shortest first, each with the clauses that it was made to keep, by
    number; `reason` says why the search can no longer prove that there is nothing.
    """

    waiting: list[tuple[int, int, str, tuple[int, ...]]] = field(default_factory=list)
    seen: set[frozenset[int]] = field(default_factory=set)
    reason: str = ""


@dataclass(slots=True)
class Search:
    """Answers questions until `until` (`time.monotonic`); `limit` caps the states of a search.

    `samples` are whole conversations of examples and tests, which may be witnesses as they are.
    """

    situations: Situations
    samples: Sequence[Trace]
    until: float
    limit: int = 20_000
    languages: dict[Hashable, Dfa | None] = field(default_factory=dict)
    needs: dict[Hashable, Needs] = field(default_factory=dict)

    def ask(self, broken: Clause, kept: Sequence[Clause], related: Sequence[Clause] = ()) -> Answer:
        """A shortest answer that breaks `broken` and keeps all of `kept`, in a conversation where that is so.

        What a scorer might give is assumed for clauses that ask for something else only, and not for those `related`,
        which are the other version of the same rule.
        """
        if self._is_part_of(broken, kept):
            return NOTHING
        if self._is_late():
            return Answer("not decided", reason=LATE)
        cases, others = broken.cases(), [case for clause in kept for case in clause.cases()]
        answers = [self._asked(case, others, related) for case in cases]
        answer = together(answers)
        if answer.result != "not decided":
            return answer
        return self._guess(broken, kept, related) or answer

    def _asked(self, broken: Clause, kept: Sequence[Clause], related: Sequence[Clause]) -> Answer:
        """What automata know."""
        progress = _Progress()
        found = self._refine(broken, kept, related, progress)
        return found or (Answer("not decided", reason=progress.reason) if progress.reason else NOTHING)

    def _is_part_of(self, broken: Clause, kept: Sequence[Clause]) -> bool:
        """Whether one of the clauses asks for all that this one does, in the same words, wherever this one counts."""
        asked = {meaning(part) for part in conjuncts(broken.kept)}
        return any(
            asked <= {meaning(part) for part in conjuncts(clause.kept)} and self.counts_wherever(clause, broken)
            for clause in kept
        )

    # ------------------------------------------------------------------------------------------------ automata
    def _refine(
        self, broken: Clause, kept: Sequence[Clause], related: Sequence[Clause], progress: _Progress
    ) -> Answer | None:
        if self.situations.find(broken.where) is IMPOSSIBLE:
            return None
        self._push(progress, broken, kept, ())
        steps = 0
        while progress.waiting:
            steps += 1
            if steps > MOST_STEPS or self._is_late():
                progress.reason = LATE if self._is_late() else CAP
                return None
            _, _, text, constraints = heappop(progress.waiting)
            _weigh(broken, [kept[number] for number in constraints], text)
            against = [number for number, clause in enumerate(kept) if _is_broken_by(clause, text)]
            forced = [number for number in against if self.counts_wherever(kept[number], broken)]
            if forced:
                self._push(progress, broken, kept, (*constraints, *forced))
                continue
            wanted = _all_of(broken.where, [negate(kept[number].where) for number in against])
            situation = self.situations.find(wanted)
            if isinstance(situation, Trace):
                trace = self._confirmed(broken, kept, related, situation, text)
                if trace is not None:
                    return Answer("witness", trace, broken.term, is_shortest=not progress.reason)
            if situation is not IMPOSSIBLE:
                progress.reason = progress.reason or _why_no_situation(broken, against, situation)
            for number in against:  # a text that is meant has to keep one of them at least
                self._push(progress, broken, kept, (*constraints, number))
        return None

    def _push(self, progress: _Progress, broken: Clause, kept: Sequence[Clause], numbers: tuple[int, ...]) -> None:
        """Puts a shortest text in line that breaks the one clause and keeps these others, if there is one."""
        chosen = frozenset(numbers)
        if chosen in progress.seen:
            return
        progress.seen.add(chosen)
        languages = [self._language(negate(broken.kept)), *(self._language(kept[number].kept) for number in chosen)]
        open_terms = [
            clause.term
            for clause, language in zip((broken, *(kept[number] for number in chosen)), languages, strict=True)
            if language is None
        ]
        if open_terms:
            progress.reason = progress.reason or why_not_decided(open_terms[0])
            return
        try:
            text = shortest_witness([language for language in languages if language is not None], self.limit)
        except StateLimit:
            progress.reason = progress.reason or CAP
            return
        if text is not None:
            heappush(progress.waiting, (len(text), len(progress.seen), text, tuple(chosen)))

    def counts_wherever(self, clause: Clause, other: Clause) -> bool:
        """Whether it is proved that a clause counts wherever the other one does."""
        if clause.where == TRUE or meaning(clause.where) == meaning(other.where):
            return True
        return self.situations.find(And((other.where, negate(clause.where)))) is IMPOSSIBLE

    def _language(self, statement: BooleanExpression) -> Dfa | None:
        key = meaning(statement)
        if key not in self.languages:
            self.languages[key] = None if reads_context(statement) else dfa_of(statement, self.limit)
        return self.languages[key]

    def _confirmed(
        self, broken: Clause, kept: Sequence[Clause], related: Sequence[Clause], situation: Trace, text: str
    ) -> Trace | None:
        """The conversation with its answer, if the reference evaluator says what it is shown for."""
        answered = (trace.answered(text) for trace in self._needs(broken, kept).completed(situation))
        return self._first(broken, kept, related, answered)

    def _first(
        self, broken: Clause, kept: Sequence[Clause], related: Sequence[Clause], tried: Iterable[Trace]
    ) -> Trace | None:
        """The first of some conversations that is a witness, as it is or with scores."""
        read, same_rule = [clause.kept for clause in kept], [clause.kept for clause in (broken, *related)]
        for trace in tried:
            if broken.says(trace) is False:
                for each in scored(trace, read, same_rule):
                    if is_witness(broken, kept, each):
                        return each
        return None

    def _needs(self, broken: Clause, kept: Sequence[Clause]) -> Needs:
        key = (broken.key, tuple(clause.key for clause in kept))
        if key not in self.needs:
            self.needs[key] = Needs.of(part for clause in (broken, *kept) for part in (clause.where, clause.kept))
        return self.needs[key]

    # ------------------------------------------------------------------------------------------------- guessing
    def _guess(self, broken: Clause, kept: Sequence[Clause], related: Sequence[Clause]) -> Answer | None:
        """A witness among the conversations and texts that are at hand, for what automata do not decide."""
        needs = self._needs(broken, kept)
        written = (self._first(broken, kept, related, _as_written(broken, needs, each)) for each in self.samples)
        found = [trace for trace in written if trace is not None]
        situation = self.situations.find(broken.where)
        if not found and isinstance(situation, Trace):
            said = dict.fromkeys(trace.messages[-1].content for trace in self.samples if trace.response is not None)
            tried = dict.fromkeys((*candidates([negate(broken.kept)]), *candidates([broken.kept]), "", *said))
            for text in list(tried)[:MOST_TRIES]:
                if self._is_late():
                    break
                if truth(broken.kept, situation.answered(text)) is False:
                    trace = self._confirmed(broken, kept, related, situation, text)
                    found += [] if trace is None else [trace]
            if not found and related:
                found += self._between_thresholds(broken, kept, related, situation)
        if not found:
            return None
        return Answer("witness", min(found, key=lambda trace: len(trace.messages[-1].content)), broken.term)

    def _between_thresholds(
        self, broken: Clause, kept: Sequence[Clause], related: Sequence[Clause], situation: Trace
    ) -> list[Trace]:
        """An answer with a score between the thresholds of both versions, where nothing else of a concept changed."""
        before, after = _scores_in(related), _scores_in([broken])
        needs = self._needs(broken, kept)
        for name in before.keys() & after.keys():
            if before[name][0] != after[name][0]:
                continue
            bounds = sorted(before[name][1] | after[name][1])
            for score in (*bounds, *((low + high) / 2 for low, high in pairwise(bounds))):
                answers = (trace.answered(SCORED_TEXT) for trace in needs.completed(situation))
                rated = (replace(each, scores={**each.scores, (name, SCORED_TEXT): score}) for each in answers)
                found = self._first(broken, kept, related, rated)
                if found is not None:
                    return [found]
        return []

    def _is_late(self) -> bool:
        return time.monotonic() > self.until


def _as_written(broken: Clause, needs: Needs, sample: Trace) -> Iterator[Trace]:
    """What an author wrote down, with what it leaves open; after a call at its end also with an answer."""
    said = broken.says(sample)
    if said is True or (said is None and not needs.facts):
        return
    for end in (sample,) if sample.response is not None else (sample, sample.answered(AFTER_A_CALL)):
        yield from needs.completed(end)


def is_witness(broken: Clause, kept: Sequence[Clause], trace: Trace) -> bool:
    """Whether a conversation breaks one clause and keeps all others for certain, as the reference evaluator sees it."""
    return broken.says(trace) is False and all(clause.says(trace) is True for clause in kept)


def _weigh(broken: Clause, kept: Sequence[Clause], text: str) -> None:
    """Raises AssertionError where the reference evaluator sees a text otherwise than the automata that made it."""
    answered = Trace(()).answered(text)
    if truth(broken.kept, answered) is not False or any(truth(clause.kept, answered) is not True for clause in kept):
        raise AssertionError(f"automata and evaluator do not agree on {text!r} about `{broken.term.id}`")


def why_not_decided(term: RewardTerm) -> str:
    """Why automata cannot speak of a term."""
    parts = [part for part in (term.condition, term.among, term.holds) if part is not None and reads_response(part)]
    if any(reads_context(part) for part in parts):
        return "what it asks of the answer depends on the rest of the conversation"
    return why_not_regular(term)


def _scores_in(clauses: Iterable[Clause]) -> dict[str, tuple[Concept, set[float]]]:
    """The concepts that clauses compare the score of the answer with numbers for: apart from their own threshold."""
    found: dict[str, tuple[Concept, set[float]]] = {}
    for part in (part for clause in clauses for part in walk(clause.kept)):
        match part:
            case Compare(_, ConceptScore(concept, MessageText("response")), NumberConstant(bound)):
                found.setdefault(concept.name, (replace(concept, threshold=0.0), set()))[1].add(bound)
    return found


def _all_of(first: BooleanExpression, others: Sequence[BooleanExpression]) -> BooleanExpression:
    """All of them; what is always true is left out."""
    return conjunction(tuple(part for part in (first, *others) if part != TRUE)) or TRUE


def _is_broken_by(clause: Clause, text: str) -> bool:
    """Whether a text breaks what a clause asks for where it counts.

    What hangs on the rest of the conversation, or on a scorer, is looked at once there is a conversation.
    """
    if reads_context(clause.kept):
        return False
    found = truth(clause.kept, Trace(()).answered(text))
    return found is False or (found is not True and not any(isinstance(p, ConceptScore) for p in walk(clause.kept)))


def _why_no_situation(broken: Clause, against: Sequence[int], situation: Trace | Missing) -> str:
    if isinstance(situation, Trace):
        return "no conversation was found in which all other rules are known to be kept"
    if against:
        return "whether its condition and those of other rules can meet is not known"
    return "no conversation was found in which it counts"


def samples_of(conversations: Iterable[Trace]) -> Iterator[Trace]:
    """The conversations without their last message."""
    for trace in conversations:
        yield Trace(trace.messages[:-1], trace.facts, trace.id)
