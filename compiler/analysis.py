"""Examples and tests of a policy, checked against the reference evaluator whenever the policy is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.verdicts import RuleVerdict, rule_verdict, with_known_waivers
from bylaw.spec import catalog
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import BooleanFact, Extent, Fact, NumberFact
from bylaw.spec.logic import conjunction, conjuncts, reads_context, reads_response, walk
from bylaw.spec.regulator import Expectation, PolicyExample, PolicyTest, RegulatorSet
from bylaw.spec.source import Span
from bylaw.spec.trace import Trace

SAID: Mapping[str, str] = {"complies": "comply with", "violates": "violate", "skips": "skip", "waived": "waive"}
Scored = Callable[[Trace], Trace]
"""Adds to a trace what scorers say of its texts."""


def unchanged(trace: Trace) -> Trace:
    """Nothing scores: a concept is known of its own examples only."""
    return trace


def analyse(policy: RegulatorSet, program: RewardProgram) -> tuple[Diagnostic, ...]:
    """All findings, in the order: examples, tests."""
    rules = terms_by_rule(program)
    return (*_check_examples(policy, rules), *_check_tests(policy, rules), *_check_facts(policy))


def terms_by_rule(program: RewardProgram) -> dict[str, tuple[RewardTerm, ...]]:
    """The terms of each rule, in the order of the file."""
    rules: dict[str, tuple[RewardTerm, ...]] = {}
    for term in program.terms:
        rules[term.rule] = (*rules.get(term.rule, ()), term)
    return rules


# ------------------------------------------------------------------------------------------------------ examples
def example_verdict(example: PolicyExample, terms: tuple[RewardTerm, ...], scored: Scored = unchanged) -> RuleVerdict:
    """What the rule says of an example. A text alone is taken to come where the rule applies."""
    trace = scored(Trace(example.messages, dict(example.facts)))
    return rule_verdict([as_meant(term, trace, example.is_text) for term in terms], trace)


def as_meant(term: RewardTerm, trace: Trace, is_text: bool) -> RewardTerm:
    """The term as the author of an example or a test means it.

    A text alone says nothing about what came before it: the rule applied there. An exception whose facts are not given
    does not count.
    """
    if not is_text:
        return with_known_waivers(term, trace)
    said = tuple(part for part in conjuncts(term.condition) if reads_response(part) or not reads_context(part))
    return replace(term, condition=conjunction(said))


def _check_examples(policy: RegulatorSet, rules: Mapping[str, tuple[RewardTerm, ...]]) -> Iterator[Diagnostic]:
    """P501 for an example that is not what it says, P502 for one that cannot be decided."""
    for example in policy.examples:
        terms = rules.get(example.rule, ())
        if not any(term.holds is not None for term in terms):
            yield _about(
                example.extent,
                "P501",
                f"`{example.rule}` decides nothing, so there is nothing that an example could show",
                notes=("only sentences that are true or false of a text decide something",),
            )
            continue
        found = example_verdict(example, terms)
        if found.verdict == "unscored":
            yield _undecided(example.extent, f"this example cannot be decided: {found.reason}", found.reason or "")
        elif found.verdict != example.verdict:
            yield _wrong_example(example, found)


def _undecided(extent: Extent, message: str, reason: str) -> Diagnostic:
    """P502; no error where only a score is missing, since a check asks no scorer."""
    if "no scorer" not in reason:
        return _about(
            extent, "P502", message, notes=("write a whole conversation between braces, and facts with `given`",)
        )
    notes = (
        "a text is decided by its concept where it is one of its `like` or `unlike` texts",
        "`bylaw test` asks scorers, and decides it where they can tell",
    )
    return replace(_about(extent, "P502", message, notes=notes), severity=Severity.WARNING)


def _wrong_example(example: PolicyExample, found: RuleVerdict) -> Diagnostic:
    label = {
        "complies": "complies with every sentence of the rule",
        "violates": "breaks the rule",
        "skips": "the rule does not apply here",
        "waived": "" if found.waiver is None else f"`{found.waiver.by}` lifts the rule here",
    }[found.verdict]
    note = "either the example or the rule is not what you meant"
    if example.is_text and example.verdict in ("skips", "waived"):
        note = "a text alone is taken to come where the rule applies; write the conversation between braces"
    marked = found.broken or (found.terms if found.verdict == "complies" else ())
    said = "broken by this text" if found.broken else "checked: holds for this text"
    marks = tuple(Label(_span(term.extent), said) for term in marked)
    message = f"this example does not {SAID[example.verdict]} `{example.rule}`"
    return _about(example.extent, "P501", message, label, marks, (note,))


# ---------------------------------------------------------------------------------------------------------- tests
def _check_tests(policy: RegulatorSet, rules: Mapping[str, tuple[RewardTerm, ...]]) -> Iterator[Diagnostic]:
    """P504 for an expectation that does not come out, P502 for one that cannot be decided."""
    for test in policy.tests:
        for expectation in test.expectations:
            for name in expectation.rules:
                if not any(term.holds is not None for term in rules.get(name, ())):
                    yield _no_such_rule(name, expectation, tuple(rules))
            yield from _failures(test, expectation, rules)


def expected_verdicts(
    test: PolicyTest,
    expectation: Expectation,
    rules: Mapping[str, tuple[RewardTerm, ...]],
    scored: Scored = unchanged,
) -> dict[str, RuleVerdict]:
    """What the rules that an expectation is about say at its place; all rules when it names none."""
    trace = scored(Trace(test.messages[: expectation.steps], dict(test.facts)))
    names = expectation.rules or tuple(rules)
    return {
        name: rule_verdict([as_meant(term, trace, False) for term in rules[name]], trace)
        for name in names
        if any(term.holds is not None for term in rules.get(name, ()))
    }


def _failures(
    test: PolicyTest, expectation: Expectation, rules: Mapping[str, tuple[RewardTerm, ...]]
) -> Iterator[Diagnostic]:
    found = expected_verdicts(test, expectation, rules)
    if not expectation.rules:
        # Without names: `complies` means that nothing is broken, anything else that it is true of some rule.
        broken = [name for name, each in found.items() if each.verdict == "violates"]
        if expectation.verdict == "complies":
            found = {name: found[name] for name in broken}
        elif any(each.verdict == expectation.verdict for each in found.values()):
            return
        else:
            unscored = next((each for each in found.values() if "no scorer" in (each.reason or "")), None)
            if unscored is not None:
                message = f"whether a rule {_shown(expectation.verdict)} here cannot be decided: {unscored.reason}"
                yield replace(_undecided(expectation.extent, message, unscored.reason or ""), notes=())
                return
            yield _about(expectation.extent, "P504", f"no rule {_shown(expectation.verdict)} here")
            return
    for name, each in found.items():
        if each.verdict == "unscored":
            message = f"`{name}` cannot be decided here: {each.reason}"
            yield replace(_undecided(expectation.extent, message, each.reason or ""), notes=())
        elif each.verdict != expectation.verdict:
            marked = each.broken or each.terms
            said = "broken here" if each.broken else "checked here"
            marks = tuple(Label(_span(term.extent), said) for term in marked)
            lifted = () if each.waiver is None else (f"`{each.waiver.by}` lifts the rule here",)
            message = f"`{name}` {_shown(each.verdict)} here, but the test says that it {_shown(expectation.verdict)}"
            yield _about(expectation.extent, "P504", message, "", marks, lifted)


def _check_facts(policy: RegulatorSet) -> Iterator[Diagnostic]:
    """P505 for a fact that is given and that no sentence of the policy reads: its name is probably misspelt."""
    sentences = ((r.condition, r.obligation, r.value, r.event, r.among) for r in policy.regulators)
    parts = [said for sentence in sentences for said in sentence]
    parts += [exception.condition for exception in policy.exceptions]
    said = [part for whole in parts if whole is not None for part in walk(whole)]
    read = {part.path for part in said if isinstance(part, (Fact, NumberFact, BooleanFact))}
    given_at = [(each.facts, each.extent) for each in policy.examples]
    given_at += [(each.facts, each.extent) for each in policy.tests]
    for facts, extent in given_at:
        for name, _ in facts:
            if name not in read:
                nearest = catalog.nearest(name, tuple(sorted(path for path in read if not path.startswith("it."))))
                fix = None if nearest is None else Fix(f"write `{nearest}`")
                message = f"`{name}` is given here, but no rule asks for it"
                yield Diagnostic("P505", Severity.WARNING, message, Label(_span(extent)), fix=fix)


def _shown(verdict: str) -> str:
    return {"complies": "complies", "violates": "is violated", "skips": "skips", "waived": "is waived"}.get(
        verdict, verdict
    )


def _no_such_rule(name: str, expectation: Expectation, known: tuple[str, ...]) -> Diagnostic:
    nearest = catalog.nearest(name, known)
    fix = None if nearest is None else Fix(f"write `{nearest}`")
    message = f"there is no rule called `{name}` in force that decides anything"
    return Diagnostic("P101", Severity.ERROR, message, Label(_span(expectation.extent)), fix=fix)


def _about(
    extent: Extent,
    code: str,
    message: str,
    label: str = "",
    secondary: tuple[Label, ...] = (),
    notes: tuple[str, ...] = (),
) -> Diagnostic:
    return Diagnostic(code, Severity.ERROR, message, Label(_span(extent), label), secondary, notes)


def _span(extent: Extent) -> Span:
    return Span(extent.start, extent.end)
