"""The examples and tests of a policy as a list of cases, with what each was expected to show and what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bylaw.compiler.analysis import Scored, as_meant, example_verdict, expected_verdicts, terms_by_rule, unchanged
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.verdicts import RuleVerdict
from bylaw.spec.expression import Extent
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.trace import Trace


@dataclass(frozen=True, slots=True)
class Case:
    """One example, or one expectation of a test.

    `found` are the verdicts of the rules that it is about, `reason` says why the first of them that is unscored is.
    `observed` are all that it shows, for coverage: each rule's
    terms with the conversation that they were evaluated on.
    """

    name: str
    kind: str
    expected: str
    found: Mapping[str, str]
    extent: Extent
    passed: bool
    observed: tuple[tuple[tuple[RewardTerm, ...], Trace], ...]
    reason: str | None = None


def cases(policy: RegulatorSet, program: RewardProgram, scored: Scored = unchanged) -> tuple[Case, ...]:
    """All cases, in the order examples, tests; `scored` adds to each conversation what scorers say of it."""
    rules = terms_by_rule(program)
    return (*_examples(policy, rules, scored), *_tests(policy, rules, scored))


def _examples(policy: RegulatorSet, rules: Mapping[str, tuple[RewardTerm, ...]], scored: Scored) -> Iterator[Case]:
    numbers: dict[str, int] = {}
    for example in policy.examples:
        number = numbers[example.rule] = numbers.get(example.rule, 0) + 1
        terms = rules.get(example.rule, ())
        trace = scored(Trace(example.messages, dict(example.facts)))
        found, reason = "unscored", None
        if any(term.holds is not None for term in terms):
            verdict = example_verdict(example, terms, scored)
            found, reason = verdict.verdict, verdict.reason
        seen = tuple(as_meant(term, trace, example.is_text) for term in terms)
        yield Case(
            name=f"{example.rule}: example {number} ({example.verdict})",
            kind="example",
            expected=example.verdict,
            found={example.rule: found},
            extent=example.extent,
            passed=found == example.verdict,
            observed=((seen, trace),),
            reason=reason,
        )


def _tests(policy: RegulatorSet, rules: Mapping[str, tuple[RewardTerm, ...]], scored: Scored) -> Iterator[Case]:
    for test in policy.tests:
        for number, expectation in enumerate(test.expectations, 1):
            verdicts = expected_verdicts(test, expectation, rules, scored)
            about = f" {', '.join(expectation.rules)}" if expectation.rules else ""
            which = f" ({number})" if len(test.expectations) > 1 else ""
            trace = scored(Trace(test.messages[: expectation.steps], dict(test.facts)))
            yield Case(
                name=f"{test.title}{which}: expect {expectation.verdict}{about}",
                kind="test",
                expected=expectation.verdict,
                found={name: each.verdict for name, each in verdicts.items()},
                extent=expectation.extent,
                passed=_comes_out(expectation.verdict, expectation.rules, verdicts),
                observed=tuple(
                    (tuple(as_meant(term, trace, False) for term in rules[name]), trace) for name in verdicts
                ),
                reason=next((each.reason for each in verdicts.values() if each.verdict == "unscored"), None),
            )


def _comes_out(expected: str, names: tuple[str, ...], verdicts: Mapping[str, RuleVerdict]) -> bool:
    found = [each.verdict for each in verdicts.values()]
    if names:
        return len(verdicts) == len(set(names)) and all(verdict == expected for verdict in found)
    return "violates" not in found if expected == "complies" else expected in found
