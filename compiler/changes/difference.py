"""What changed in meaning from one version of a policy to the next: `compare(old, new)` -> `PolicyChanges`.

Rules are tied to each other first (compiler/changes/match.py), and what is equal is left alone. What changed in their
words is told by compiler/changes/rules.py and parts.py; which texts it newly forbids and allows is found by
automata (changes_texts.py); which examples, tests and transcripts it turns around by the evaluator (changes_cases.py).
"Nothing" is said of texts only where the typed rules are equal or automata prove it; whatever else is "not decided".
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from bylaw.compiler.changes import parts
from bylaw.compiler.changes.cases import differing, flips, lost_and_found, transcript_changes
from bylaw.compiler.changes.clauses import Clause
from bylaw.compiler.changes.match import pairs
from bylaw.compiler.changes.rules import is_equal, matched_sentences, rule_changes
from bylaw.compiler.changes.situations import Situations
from bylaw.compiler.changes.texts import NOTHING, Answer, Search, is_witness, samples_of, together
from bylaw.compiler.changes.types import (
    Change,
    Direction,
    Kind,
    Overall,
    PolicyChanges,
    RulePair,
    TextChange,
    TranscriptChanges,
    Version,
)
from bylaw.compiler.pipeline import Compiled
from bylaw.compiler.program import RewardTerm
from bylaw.spec.logic import meaning
from bylaw.spec.trace import Trace

SECONDS = 30.0
"""After this time, questions about texts that are still open stay so."""
PLACES = 5
_ORDER = {kind: number for number, kind in enumerate(get_args(Kind))}
_CONTENT: tuple[Kind, ...] = ("sentence", "sentence added", "sentence removed", "condition", "rule word")


def compare(
    old: Compiled,
    new: Compiled,
    transcripts: Iterable[tuple[str, Sequence[Trace]]] = (),
    *,
    seconds: float = SECONDS,
    places: int = PLACES,
) -> PolicyChanges:
    """All differences of two sound policies.

    `transcripts` are (source, conversations) to be judged by both; `places` is how many of each rule are named. After
    `seconds` no new question about texts is begun. Raises PolicyError for a policy that is not sound.
    """
    before, after = Version.of(old), Version.of(new)
    rules = pairs(before, after)
    renamed = {pair.old_name: pair.new_name for pair in rules if pair.old_name and pair.new_name}
    differ = differing(rules, before, after)
    told = list(_told(rules, before, after, renamed))
    comparison = _Comparison(before, after, _search(before, after, seconds))
    texts, overall = comparison.hard(differ)
    texts += comparison.weighed(differ)
    same = tuple(
        pair.name for pair in differ if any(_is_content(each, pair) for each in told) and comparison.is_same(pair)
    )
    changes = [replace(c, is_meaning=False) if c.about in same and c.kind in _CONTENT else c for c in told]
    changes += _unexplained(rules, changes, same, before, after)
    return PolicyChanges(
        before.compiled.source.path,
        after.compiled.source.path,
        (_count(before), _count(after)),
        {each.rule: each.title for version in (before, after) for each in version.policy.regulators if each.title},
        overall,
        tuple(sorted(texts, key=_urgency)),
        tuple(sorted(changes, key=lambda change: _ORDER[change.kind])),
        same,
        tuple(flips(rules, differ, before, after)),
        tuple(_transcripts(transcripts, differ, before, after, places)),
    )


def _told(rules: Sequence[RulePair], old: Version, new: Version, renamed: dict[str, str]) -> Iterator[Change]:
    yield from parts.levels(old, new)
    declared = tuple(parts.declarations(old, new))
    changed = parts.changed_names(declared, new)
    for pair in rules:
        if not is_equal(pair, renamed):
            yield from rule_changes(pair, old, new, renamed, changed)
        yield from parts.lifted(pair, old, new, renamed)
    yield from parts.moved(rules, old, new)
    yield from parts.exceptions(old, new, renamed)
    yield from parts.suites(old, new)
    yield from parts.concepts(rules, old, new)
    yield from declared
    yield from _examples(rules, old, new)


def _examples(rules: Sequence[RulePair], old: Version, new: Version) -> Iterator[Change]:
    """How many examples of each rule, and tests of the policy, were added and removed."""
    for pair in rules:
        one = [each for each in old.policy.examples if each.rule == pair.old_name]
        other = [each for each in new.policy.examples if each.rule == pair.new_name]
        more, fewer = lost_and_found(one, other)
        if pair.old and pair.new and (more or fewer):
            yield Change(
                "examples", pair.name, f"{more} new examples, {fewer} gone", False, str(len(one)), str(len(other))
            )
    titles = [[(test.title, test.messages) for test in version.policy.tests] for version in (old, new)]
    more, fewer = (sum(each not in theirs for each in ours) for ours, theirs in (titles[::-1], titles))
    if more or fewer:
        counts = str(len(titles[0])), str(len(titles[1]))
        yield Change("tests", "tests", f"{more} new tests, {fewer} gone", False, *counts)


def _unexplained(
    rules: Sequence[RulePair], told: Sequence[Change], same: Sequence[str], old: Version, new: Version
) -> Iterator[Change]:
    """A rule that ends up as other terms although nothing that was told explains it: nothing passes as unchanged."""
    if any(change.is_meaning for change in told):
        return
    for pair in rules:
        before, after = _terms(pair.old_name, old), _terms(pair.new_name, new)
        if before != after and pair.name not in same:
            yield Change("sentence", pair.name, "does not ask for the same in both versions", True)


def _terms(rule: str | None, version: Version) -> Hashable:
    """All that a rule ends up as, apart from how it is called."""
    counted = Counter(
        (
            *(term.kind, term.level, meaning(term.condition), meaning(term.holds), meaning(term.value)),
            *(term.weight, term.sense, term.bound, term.confidence, term.suite, term.action, term.action_message),
            *(meaning(term.among), term.each_prompt, term.price),
        )
        for term in version.program.terms
        if term.rule == rule
    )
    return frozenset(counted.items())


def _transcripts(
    transcripts: Iterable[tuple[str, Sequence[Trace]]],
    differ: Sequence[RulePair],
    old: Version,
    new: Version,
    places: int,
) -> Iterator[TranscriptChanges]:
    for source, traces in transcripts:
        yield transcript_changes(source, traces, differ, old, new, places)


def _is_content(change: Change, pair: RulePair) -> bool:
    return change.about == pair.name and change.kind in _CONTENT


def _count(version: Version) -> int:
    return len({each.rule for each in version.policy.regulators})


def _urgency(change: TextChange) -> tuple[bool, int, bool, bool]:
    """Hard rules first; then what is shown, what is open, what is proved to be nothing; forbidden before allowed."""
    result = ("witness", "not decided", "nothing").index(change.answer.result)
    return (change.strength != "hard", result, change.scope == "rule", change.direction == "allowed")


# ------------------------------------------------------------------------------------------------------------- texts
def _search(old: Version, new: Version, seconds: float) -> Search:
    traces = [Trace(each.messages, dict(each.facts)) for version in (old, new) for each in version.policy.examples]
    for version in (old, new):
        for test in version.policy.tests:
            traces += [Trace(test.messages[: each.steps], dict(test.facts)) for each in test.expectations]
    return Search(Situations(tuple(samples_of(traces))), tuple(traces), time.monotonic() + seconds)


@dataclass
class _Side:
    """One version as the questions see it: its terms by rule, and all its hard clauses."""

    version: Version
    terms: dict[str, list[RewardTerm]] = field(default_factory=dict)
    hard: list[Clause] = field(default_factory=list)

    def __post_init__(self) -> None:
        for term in self.version.program.terms:
            self.terms.setdefault(term.rule, []).append(term)
            if term.kind == "hard":
                self.hard.append(Clause.of(term))
        self.keys = {clause.key for clause in self.hard}

    def hard_of(self, rule: str | None, *, own: bool = False) -> list[Clause]:
        """The hard clauses of one rule."""
        return [Clause.of(term, own=own) for term in self.terms.get(rule or "", ()) if term.kind == "hard"]


class _Comparison:
    """Asks what the rules of one version let pass and those of the other do not."""

    def __init__(self, old: Version, new: Version, search: Search) -> None:
        self.old, self.new, self.search = _Side(old), _Side(new), search

    def hard(self, differ: Sequence[RulePair]) -> tuple[list[TextChange], tuple[Overall, Overall]]:
        """What each rule newly forbids and allows, and the same for all hard rules together."""
        found: list[TextChange] = []
        overall = []
        for direction, breaking, keeping in (("forbidden", self.new, self.old), ("allowed", self.old, self.new)):
            answers: list[Answer] = []
            for pair in differ:
                for change, answer in self._of_rule(pair, direction, breaking, keeping):  # type: ignore[arg-type]
                    answers.append(answer)
                    found += [] if change is None else [breaking.version.told(change)]
            overall.append(_overall(direction, answers))  # type: ignore[arg-type]
        return found, (overall[0], overall[1])

    def _of_rule(
        self, pair: RulePair, direction: Direction, breaking: _Side, keeping: _Side
    ) -> Iterator[tuple[TextChange | None, Answer]]:
        """(what to tell, the answer for the whole policy) of a rule whose hard clauses changed."""
        is_new = breaking is self.new
        name, there = (pair.new_name, pair.old_name) if is_new else (pair.old_name, pair.new_name)
        mine = [clause for clause in breaking.hard_of(name) if clause.key not in keeping.keys]
        if name is None or not mine:
            return
        counterpart = keeping.hard_of(there)
        alone = [self._alone(clause, keeping.hard_of(there, own=True)) for clause in mine] if counterpart else []
        is_plain = not any(clause.term.waivers for clause in (*mine, *counterpart))
        asked = []
        for number, clause in enumerate(mine):
            own = alone[number] if alone else None
            if own is not None and own.result == "nothing" and is_plain:
                asked.append(NOTHING)
            elif own is not None and own.trace is not None and is_witness(clause, keeping.hard, own.trace):
                asked.append(replace(own, breaks=clause.term))
            else:
                asked.append(self.search.ask(clause, keeping.hard, counterpart))
        policy, by_itself = together(asked), together(alone)
        told = policy.result != "nothing" or not counterpart
        yield TextChange(name, direction, "hard", "policy", policy) if told else None, policy
        if by_itself.trace is not None and policy.result != "witness":
            others = [c.term.rule for c in keeping.hard if c.says(by_itself.trace) is False]
            yield TextChange(name, direction, "hard", "rule", by_itself, tuple(dict.fromkeys(others))), policy

    def _alone(self, clause: Clause, counterpart: list[Clause]) -> Answer:
        return self.search.ask(Clause.of(clause.term, own=True), counterpart, counterpart)

    def weighed(self, differ: Sequence[RulePair]) -> list[TextChange]:
        """Which texts soft rules and limits newly count, and count no longer, sentence by sentence."""
        found = []
        for pair in differ:
            for one, other in self._weighed_terms(pair):
                sides = (("forbidden", other, one, self.new), ("allowed", one, other, self.old))
                for direction, broken, kept, side in sides:
                    counterpart = [Clause.of(kept, own=True)]
                    answer = self.search.ask(Clause.of(broken, own=True), counterpart, counterpart)
                    if answer.result != "nothing":
                        kind = "budget" if broken.kind == "budget" else "soft"
                        change = TextChange(broken.rule, direction, kind, "rule", answer)  # type: ignore[arg-type]
                        found.append(side.version.told(change))
        return found

    def _weighed_terms(self, pair: RulePair) -> Iterator[tuple[RewardTerm, RewardTerm]]:
        """Sentences of both versions that are weighed or counted, and that are not equal."""
        if not pair.old or not pair.new:
            return
        before = {term.id: term for term in self.old.terms.get(pair.old_name or "", ())}
        after = {term.id: term for term in self.new.terms.get(pair.new_name or "", ())}
        for one, other in matched_sentences(pair)[0]:
            left, right = before.get(one.id), after.get(other.id)
            if left is None or right is None or left.holds is None or right.holds is None:
                continue
            is_weighed = left.kind == right.kind and left.kind != "hard"
            if is_weighed and Clause.of(left, own=True).key != Clause.of(right, own=True).key:
                yield left, right

    def is_same(self, pair: RulePair) -> bool:
        """Whether it is proved that a rule asks for the same in both versions, whatever words it uses."""
        if not pair.old or not pair.new:
            return False
        before, after = self.old.terms.get(pair.old_name or "", []), self.new.terms.get(pair.new_name or "", [])
        matched, _, _ = matched_sentences(pair)
        ids = {one.id: other.id for one, other in matched}
        known = {term.id: term for term in after}
        weighed = [term for term in before if term.kind != "hard"]
        for term in weighed:
            other = known.get(ids.get(term.id, ""))
            if other is None or not self._are_same(term, other):
                return False
        if {term.id for term in after if term.kind != "hard"} - {ids[term.id] for term in weighed}:
            return False
        if any(each.modality in ("may", "need not") for each in (*pair.old, *pair.new)):
            return False
        return self._forbid_the_same(pair)

    def _forbid_the_same(self, pair: RulePair) -> bool:
        """Whether the hard sentences of both versions forbid the same: by themselves, and where some give way."""
        for own in (True, False):
            hard = [
                side.hard_of(name, own=own) for side, name in ((self.old, pair.old_name), (self.new, pair.new_name))
            ]
            for mine, theirs in (hard, hard[::-1]):
                if any(self.search.ask(clause, theirs).result != "nothing" for clause in mine):
                    return False
        return True

    def _are_same(self, one: RewardTerm, other: RewardTerm) -> bool:
        """Whether two terms that are weighed or counted are proved to be true of the same texts."""
        if one.kind != other.kind:
            return False
        if one.holds is None or other.holds is None:
            return _quantity(one) == _quantity(other)
        clauses = Clause.of(one, own=True), Clause.of(other, own=True)
        # A rate is one of the answers that a limit is about.
        if meaning(one.among) != meaning(other.among):
            return False
        if one.kind == "budget" and not all(self.search.counts_wherever(a, b) for a, b in (clauses, clauses[::-1])):
            return False
        return all(self.search.ask(a, [b]).result == "nothing" for a, b in (clauses, clauses[::-1]))


def _quantity(term: RewardTerm) -> Hashable:
    own = term.own if term.waivers else term.condition
    return (meaning(own), meaning(term.value), meaning(term.holds), meaning(term.among))


def _overall(direction: Direction, answers: Sequence[Answer]) -> Overall:
    if not answers:
        return Overall(direction, "nothing", "equal")
    result = together(answers).result
    how = {"nothing": "proved", "witness": "witness", "not decided": "not decided"}[result]
    return Overall(direction, result, how)  # type: ignore[arg-type]
