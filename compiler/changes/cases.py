"""Which examples, tests and transcripts come out differently under the other version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from bylaw.compiler.analysis import terms_by_rule
from bylaw.compiler.cases import Case, cases
from bylaw.compiler.changes.match import example_key
from bylaw.compiler.changes.types import Flip, RulePair, TranscriptChange, TranscriptChanges, Version
from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.verdicts import rule_verdict
from bylaw.spec.logic import meaning
from bylaw.spec.regulator import PolicyExample, PolicyTest, RegulatorSet
from bylaw.spec.trace import Trace

NOT_THERE = "not there"
"""The verdict of a rule that the version does not have."""


def terms_key(terms: Iterable[RewardTerm]) -> Hashable:
    """What decides the verdicts of a rule; equal keys give equal verdicts everywhere."""
    return frozenset(
        (
            term.kind,
            term.sense == "at least",
            meaning(term.condition),
            meaning(term.holds),
            meaning(term.among),
            meaning(term.own),
            _why(term),
        )
        for term in terms
        if term.holds is not None
    )


def _why(term: RewardTerm) -> Hashable:
    return tuple((each.reason, meaning(each.where)) for each in term.waivers)


def differing(pairs: Sequence[RulePair], old: Version, new: Version) -> tuple[RulePair, ...]:
    """The rules whose verdicts can differ."""
    before, after = terms_by_rule(old.program), terms_by_rule(new.program)
    return tuple(
        pair
        for pair in pairs
        if terms_key(before.get(pair.old_name or "", ())) != terms_key(after.get(pair.new_name or "", ()))
    )


# ------------------------------------------------------------------------------------------------ examples and tests
def flips(pairs: Sequence[RulePair], differ: Sequence[RulePair], old: Version, new: Version) -> Iterator[Flip]:
    """Examples and tests of each version that come out differently under the other one; those of both only once.

    What is about a rule that the other version does not have has nothing to come out as.
    """
    forward = {pair.old_name: pair.new_name for pair in pairs if pair.old_name and pair.new_name}
    backward = {pair.new_name: pair.old_name for pair in pairs if pair.old_name and pair.new_name}
    open_old = {pair.old_name for pair in differ if pair.old_name}
    open_new = {pair.new_name for pair in differ if pair.new_name}
    if not differ:
        return
    yield from _flips(old, new, forward, open_old, "old")
    seen = {(forward.get(example.rule), example_key(example)) for example in old.policy.examples}
    known = tuple(example for example in new.policy.examples if (example.rule, example_key(example)) not in seen)
    tests = {_test_key(test, forward) for test in old.policy.tests}
    unknown = tuple(test for test in new.policy.tests if _test_key(test, {}) not in tests)
    policy = replace(new.policy, examples=known, tests=unknown)
    yield from _flips(replace(new, policy=policy), old, backward, open_new, "new")


def _flips(own: Version, other: Version, names: Mapping[str, str], differ: set[str], version: str) -> Iterator[Flip]:
    examples = tuple(
        replace(each, rule=names[each.rule])
        for each in own.policy.examples
        if each.rule in names and each.rule in differ
    )
    tests = tuple(_renamed(test, names) for test in own.policy.tests if _is_about(test, names, differ))
    asked: RegulatorSet = replace(own.policy, examples=examples, tests=tests)
    texts = [example.messages[-1].content for example in examples]
    texts += [test.messages[each.steps - 1].content for test in tests for each in test.expectations]
    for case, text in zip(cases(asked, other.program), texts, strict=True):
        if not case.passed:
            yield _flip(case, text, own, version)


def _flip(case: Case, text: str, own: Version, version: str) -> Flip:
    verdicts = Counter(case.found.values())
    found = next(iter(verdicts)) if len(verdicts) == 1 else ", ".join(f"{k} {v}" for k, v in sorted(case.found.items()))
    if not verdicts:
        found = NOT_THERE
    rule = next(iter(case.found)) if len(case.found) == 1 else None
    place = own.place(case.extent)
    return Flip(version, case.kind, case.name, text, case.expected, found, rule, place)  # type: ignore[arg-type]


def _is_about(test: PolicyTest, names: Mapping[str, str], differ: set[str]) -> bool:
    """Whether a test can come out differently, and names no rule that the other version does not have."""
    named = {name for each in test.expectations for name in each.rules}
    if not named <= names.keys():
        return False
    return bool(named & differ) or any(not each.rules for each in test.expectations)


def _renamed(test: PolicyTest, names: Mapping[str, str]) -> PolicyTest:
    expectations = tuple(replace(e, rules=tuple(names.get(n, n) for n in e.rules)) for e in test.expectations)
    return replace(test, expectations=expectations)


def _test_key(test: PolicyTest, names: Mapping[str, str]) -> Hashable:
    said = tuple((e.verdict, tuple(names.get(n, n) for n in e.rules), e.steps) for e in test.expectations)
    return (test.messages, test.facts, said)


def lost_and_found(old: Sequence[PolicyExample], new: Sequence[PolicyExample]) -> tuple[int, int]:
    """How many examples of a rule are new, and how many are gone."""
    before, after = Counter(map(example_key, old)), Counter(map(example_key, new))
    return sum((after - before).values()), sum((before - after).values())


# -------------------------------------------------------------------------------------------------------- transcripts
def transcript_changes(
    source: str, traces: Sequence[Trace], differ: Sequence[RulePair], old: Version, new: Version, most: int
) -> TranscriptChanges:
    """What the rules say of each conversation in both versions; `most` places are named for each rule."""
    before, after = terms_by_rule(old.program), terms_by_rule(new.program)
    counts: dict[str, Counter[tuple[str, str]]] = {pair.name: Counter() for pair in differ}
    places: dict[str, list[tuple[str, str, str]]] = {pair.name: [] for pair in differ}
    changed: set[int] = set()
    hard = [0, 0]
    shared = _unchanged(old, differ)
    for number, trace in enumerate(traces):
        broken = [False, False]
        for pair in differ:
            rules = before.get(pair.old_name or "", ()), after.get(pair.new_name or "", ())
            verdicts = _verdict(rules[0], trace), _verdict(rules[1], trace)
            if verdicts[0] != verdicts[1]:
                changed.add(number)
                counts[pair.name][verdicts] += 1
                if len(places[pair.name]) < most:
                    places[pair.name].append((trace.id or f"number {number + 1}", *verdicts))
            broken = [b or _breaks(terms, trace) for b, terms in zip(broken, rules, strict=True)]
        if broken[0] != broken[1] and not _breaks(shared, trace):
            hard[0 if broken[1] else 1] += 1
    rules_found = tuple(
        TranscriptChange(name, tuple((*pair, n) for pair, n in sorted(found.items())), tuple(places[name]))
        for name, found in counts.items()
        if found
    )
    return TranscriptChanges(source, len(traces), len(changed), hard[0], hard[1], rules_found)


def _verdict(terms: Sequence[RewardTerm], trace: Trace) -> str:
    if not any(term.holds is not None for term in terms):
        return NOT_THERE
    return rule_verdict(terms, trace).verdict


def _breaks(terms: Iterable[RewardTerm], trace: Trace) -> bool:
    return any(term.kind == "hard" and evaluate_term(term, trace).verdict is Verdict.VIOLATED for term in terms)


def _unchanged(version: Version, differ: Sequence[RulePair]) -> list[RewardTerm]:
    names = {pair.old_name for pair in differ}
    return [term for term in version.program.terms if term.kind == "hard" and term.rule not in names]
