"""Static analysis: what can be told about a policy before anything runs.

Examples are checked against the reference evaluator. Hard rules that can never hold together are found by automata,
with the smallest set that conflicts and the shortest text that shows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from bylaw.compiler.automata.algebra import minimal_conflict, shortest_witness
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.evaluate import Unknown, Verdict, evaluate_term, truth
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.regular import dfa_of
from bylaw.spec.errors import Diagnostic, Label, Severity
from bylaw.spec.expression import BooleanExpression, Extent, same
from bylaw.spec.regulator import PolicyExample, RegulatorSet
from bylaw.spec.source import Span
from bylaw.spec.trace import Trace

SEARCH_LIMIT = 50_000
LONGEST_WITNESS = 60


def analyse(policy: RegulatorSet, program: RewardProgram) -> tuple[Diagnostic, ...]:
    """All findings, in the order: examples, contradictions."""
    return (*check_examples(policy, program), *check_conflicts(program))


# ------------------------------------------------------------------------------------------------------ examples
def check_examples(policy: RegulatorSet, program: RewardProgram) -> Iterator[Diagnostic]:
    """P501 for an example that is not what it says, P502 for one that cannot be decided."""
    for example in policy.examples:
        terms = [term for term in program.terms if term.rule == example.rule and term.kind != "graded"]
        if not terms:
            yield _about(example, "P501", f"`{example.rule}` decides nothing, so no text can break it")
            continue
        trace = Trace(example.messages, dict(example.facts))
        scores = [evaluate_term(_assume_applicable(term, trace), trace) for term in terms]
        unscored = [score for score in scores if score.verdict is Verdict.UNSCORED]
        broken = [term for term, score in zip(terms, scores, strict=True) if score.verdict is Verdict.VIOLATED]
        if unscored and not broken:
            yield _about(example, "P502", f"this example cannot be decided: {unscored[0].reason}")
            continue
        skipped = all(score.verdict is Verdict.NOT_APPLICABLE for score in scores)
        actual = "violates" if broken else "skips" if skipped else "complies"
        if actual != example.verdict:
            yield _wrong_example(example, actual, broken, terms)


def _assume_applicable(term: RewardTerm, trace: Trace) -> RewardTerm:
    """A text without a conversation says nothing about a condition on the prompt: the author means that it holds."""
    if len(trace.messages) == 1 and term.condition is not None and isinstance(truth(term.condition, trace), Unknown):
        return replace(term, condition=None)
    return term


def _wrong_example(
    example: PolicyExample, actual: str, broken: list[RewardTerm], terms: list[RewardTerm]
) -> Diagnostic:
    said = {"complies": "comply with", "violates": "violate", "skips": "skip"}[example.verdict]
    found = {
        "complies": "complies with every sentence of the rule",
        "violates": "breaks the rule",
        "skips": "the rule does not apply here",
    }[actual]
    marks = [
        Label(_span(term.extent), "broken by this text" if broken else "checked: holds for this text")
        for term in (broken or (terms if actual == "complies" else []))
    ]
    return _about(
        example,
        "P501",
        f"this example does not {said} `{example.rule}`",
        found,
        tuple(marks),
        ("either the example or the rule is not what you meant",),
    )


def _about(
    example: PolicyExample,
    code: str,
    message: str,
    label: str = "",
    secondary: tuple[Label, ...] = (),
    notes: tuple[str, ...] = (),
) -> Diagnostic:
    return Diagnostic(code, Severity.ERROR, message, Label(_span(example.extent), label), secondary, notes)


# ----------------------------------------------------------------------------------------------------- conflicts
def check_conflicts(program: RewardProgram) -> Iterator[Diagnostic]:
    """P401 for hard rules that apply together and that no text obeys; P402 where that could not be decided."""
    for group in _groups(program):
        languages = [(term, language) for term in group if (language := _language(term)) is not None]
        if not languages:
            continue
        try:
            conflict = minimal_conflict([language for _, language in languages], SEARCH_LIMIT)
        except StateLimit:
            yield _undecided([term for term, _ in languages])
            continue
        if conflict is not None:
            yield _conflict([languages[index] for index in conflict])


def _groups(program: RewardProgram) -> list[list[RewardTerm]]:
    """Hard terms that are in force together: under one condition, together with those that are always in force.

    Whether two different conditions can meet is not decided here; a prompt for which they do is reported before its
    first token.
    """
    hard = [term for term in program.terms if term.kind == "hard"]
    always = [term for term in hard if term.condition is None]
    conditions: list[BooleanExpression] = []
    for term in hard:
        if term.condition is not None and not any(same(term.condition, other) for other in conditions):
            conditions.append(term.condition)
    groups = [[*always, *(t for t in hard if same(t.condition, condition))] for condition in conditions]
    if not any(_conflicting(always)):
        return groups if groups else [always]
    # The conflict would otherwise be told again for every condition.
    return [always]


def _conflicting(terms: list[RewardTerm]) -> Iterator[bool]:
    languages = [language for term in terms if (language := _language(term)) is not None]
    if languages:
        try:
            yield minimal_conflict(languages, SEARCH_LIMIT) is not None
        except StateLimit:
            yield True


def _language(term: RewardTerm) -> Dfa | None:
    return None if term.holds is None else dfa_of(term.holds)


def _conflict(members: list[tuple[RewardTerm, Dfa]]) -> Diagnostic:
    first, rest = members[0][0], [term for term, _ in members[1:]]
    if not rest:
        return Diagnostic(
            "P401", Severity.ERROR, f"no text can obey `{first.rule}`", Label(_span(first.extent), "nothing satisfies this")
        )
    names = [f"`{term.id}`" for term, _ in members]
    witness = _obeys_all_but_last(members)
    notes = [f"proved with automata of {', '.join(str(language.size) for _, language in members)} states"]
    if witness is not None:
        others = " and ".join(names[:-1])
        notes.insert(0, f"shortest text that obeys {others} is {_quoted(witness)}; it breaks {names[-1]}")
    return Diagnostic(
        "P401",
        Severity.ERROR,
        f"rules {', '.join(names[:-1])} and {names[-1]} can never {'both' if len(names) == 2 else 'all'} hold",
        Label(_span(first.extent), "every text that obeys this ..."),
        tuple(Label(_span(term.extent), "... breaks this" if len(rest) == 1 else "... or this") for term in rest),
        tuple(notes),
    )


def _obeys_all_but_last(members: list[tuple[RewardTerm, Dfa]]) -> str | None:
    try:
        return shortest_witness([language for _, language in members[:-1]], SEARCH_LIMIT)
    except StateLimit:
        return None


def _quoted(text: str) -> str:
    shown = text if len(text) <= LONGEST_WITNESS else text[:LONGEST_WITNESS] + "..."
    return repr(shown)


def _undecided(terms: list[RewardTerm]) -> Diagnostic:
    return Diagnostic(
        "P402",
        Severity.WARNING,
        "whether these rules can hold together was not decided (the search grew too large)",
        Label(_span(terms[0].extent)),
        tuple(Label(_span(term.extent)) for term in terms[1:]),
    )


def _span(extent: Extent) -> Span:
    return Span(extent.start, extent.end)
