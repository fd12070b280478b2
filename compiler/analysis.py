"""Static analysis: what can be told about a policy before anything runs.

Examples are checked against the reference evaluator. Hard rules that can never hold together are found by automata,
with the smallest set that conflicts and the shortest text that shows it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bylaw.compiler.evaluate import Verdict, evaluate_term, truth
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import (
    BooleanConstant,
    BooleanExpression,
    Extent,
    Or,
    conjunction,
    conjuncts,
    meaning,
    negate,
    reads_context,
    reads_response,
)
from bylaw.spec.regulator import PolicyExample, RegulatorSet
from bylaw.spec.source import Span
from bylaw.spec.trace import Trace

if TYPE_CHECKING:  # most policies are checked without automata
    from bylaw.compiler.automata.dfa import Dfa

SEARCH_LIMIT = 50_000
LIKELY_TEXTS = ("", "a", "A", "1", "{}", "Yes.")
"""Short texts, at least one of which obeys what most policies forbid and ask for."""
LONGEST_WITNESS = 60


def analyse(policy: RegulatorSet, program: RewardProgram) -> tuple[Diagnostic, ...]:
    """All findings, in the order: examples, contradictions."""
    said = [example.messages[-1].content for example in policy.examples]
    return (*check_examples(policy, program), *check_conflicts(program, said))


# ------------------------------------------------------------------------------------------------------ examples
def check_examples(policy: RegulatorSet, program: RewardProgram) -> Iterator[Diagnostic]:
    """P501 for an example that is not what it says, P502 for one that cannot be decided."""
    for example in policy.examples:
        terms = [term for term in program.terms if term.rule == example.rule and term.holds is not None]
        if not terms:
            yield _about(
                example,
                "P501",
                f"`{example.rule}` decides nothing, so there is nothing that an example could show",
                notes=("only sentences that are true or false of a text decide something",),
            )
            continue
        trace = Trace(example.messages, dict(example.facts))
        scores = [evaluate_term(_assume_context(term) if example.is_text else term, trace) for term in terms]
        unscored = [score for score in scores if score.verdict is Verdict.UNSCORED]
        broken = [term for term, score in zip(terms, scores, strict=True) if score.verdict is Verdict.VIOLATED]
        if unscored and not broken:
            note = "write a whole conversation between braces, and facts with `given`"
            yield _about(example, "P502", f"this example cannot be decided: {unscored[0].reason}", notes=(note,))
            continue
        skipped = all(score.verdict is Verdict.NOT_APPLICABLE for score in scores)
        actual = "violates" if broken else "skips" if skipped else "complies"
        if actual != example.verdict:
            yield _wrong_example(example, actual, broken, terms)


def _assume_context(term: RewardTerm) -> RewardTerm:
    """A text alone says nothing about what came before it: the author means that the rule applied there."""
    said = tuple(part for part in conjuncts(term.condition) if reads_response(part) or not reads_context(part))
    return replace(term, condition=conjunction(said))


def _wrong_example(
    example: PolicyExample, actual: str, broken: list[RewardTerm], terms: list[RewardTerm]
) -> Diagnostic:
    said = {"complies": "comply with", "violates": "violate", "skips": "skip"}[example.verdict]
    found = {
        "complies": "complies with every sentence of the rule",
        "violates": "breaks the rule",
        "skips": "the rule does not apply here",
    }[actual]
    note = "either the example or the rule is not what you meant"
    if example.is_text and example.verdict == "skips":
        note = "a text alone is taken to come where the rule applies; write the conversation between braces"
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
        (note,),
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
def check_conflicts(program: RewardProgram, texts: Iterable[str] = ()) -> Iterator[Diagnostic]:
    """P401 for hard rules that are in force together and that no text obeys; P402 where that was not decided.

    `texts` are tried first: one that obeys a whole group is a proof that the group can be obeyed, and costs little.
    """
    hard = [rule for rule in (_Hard.of(t) for t in program.terms if t.kind == "hard") if not reads_context(rule.obeyed)]
    tried = dict.fromkeys((*LIKELY_TEXTS, *texts))
    reported: set[str] = set()
    for group in _groups(hard):
        # A conflict is told once, not again for every condition under which it arises.
        rules = [rule for rule in group if rule.term.id not in reported]
        if any(all(rule.allows(text) for rule in rules) for text in tried):
            continue
        for finding, terms in _contradictions(rules):
            reported.update(term.id for term in terms)
            yield finding


def _contradictions(rules: list[_Hard]) -> Iterator[tuple[Diagnostic, list[RewardTerm]]]:
    """What automata tell about hard rules that are in force together: findings, with the terms that they are about."""
    from bylaw.compiler.automata.algebra import minimal_conflict
    from bylaw.compiler.automata.partition import StateLimit
    from bylaw.compiler.regular import dfa_of

    languages = [(rule.term, dfa_of(rule.obeyed)) for rule in rules]
    decided = [(term, language) for term, language in languages if language is not None]
    undecided = [term for term, language in languages if language is None]
    if undecided:
        yield _undecided(undecided, "no automaton of a reasonable size describes this"), undecided
    while decided:
        try:
            conflict = minimal_conflict([language for _, language in decided], SEARCH_LIMIT)
        except StateLimit:
            terms = [term for term, _ in decided]
            yield _undecided(terms, "the search grew too large"), terms
            return
        if conflict is None:
            return
        yield _conflict([decided[index] for index in conflict]), [decided[index][0] for index in conflict]
        decided = [member for index, member in enumerate(decided) if index not in conflict]


@dataclass(frozen=True, slots=True)
class _Hard:
    """A hard rule: the prompts where it is in force, and what the responses that obey it there have in common."""

    term: RewardTerm
    context: frozenset[Hashable]
    obeyed: BooleanExpression

    @staticmethod
    def of(term: RewardTerm) -> _Hard:
        """Parts of the condition that read the response are part of what is obeyed: an answer can avoid them."""
        parts = conjuncts(term.condition)
        answered = conjunction(tuple(part for part in parts if reads_response(part)))
        assert term.holds is not None
        obeyed = term.holds if answered is None else Or((negate(answered), term.holds))
        return _Hard(term, frozenset(meaning(part) for part in parts if not reads_response(part)), obeyed)

    def allows(self, text: str) -> bool:
        """Whether a response obeys the rule."""
        return truth(self.obeyed, Trace(()).answered(text)) is True


def _groups(hard: list[_Hard]) -> list[list[_Hard]]:
    """Hard rules that are in force together: for each condition, all that hold wherever it does.

    Whether two different conditions can meet is not decided here, and neither is what a rule asks for that depends on
    the prompt or on facts; a prompt for which no answer is left is reported before its first token. Rules that are
    never in force (a permission lifts them altogether) are in no group.
    """
    alive = [rule for rule in hard if meaning(BooleanConstant(False)) not in rule.context]
    contexts = sorted({rule.context for rule in alive}, key=len)
    # Where the words of one condition are among those of another, its rules are in force there too.
    return [[rule for rule in alive if rule.context <= context] for context in contexts]


def _conflict(members: list[tuple[RewardTerm, Dfa]]) -> Diagnostic:
    first, rest = members[0][0], [term for term, _ in members[1:]]
    if not rest:
        return Diagnostic(
            "P401",
            Severity.ERROR,
            f"no text can obey `{first.rule}`",
            Label(_span(first.extent), "nothing satisfies this"),
            notes=(_proof([members[0][1]]),),
        )
    terms = [term for term, _ in members]
    names = [f"`{term.id}`" for term in terms]
    both = "both" if len(names) == 2 else "all"
    levels = " and ".join(dict.fromkeys(f"`{term.level}`" for term in terms))
    always = "with no condition" if not any(term.condition for term in terms) else "and apply together"
    notes = [f"{both} are `must` rules at level {levels} {always}"]
    witness = _obeys_all_but_last(members)
    if witness is not None:
        obeyed = " and ".join(names[:-1])
        notes.append(f"shortest text that obeys {obeyed} is {_quoted(witness)}; it breaks {names[-1]}")
    notes.append(_proof([language for _, language in members]))
    return Diagnostic(
        "P401",
        Severity.ERROR,
        f"rules {', '.join(names[:-1])} and {names[-1]} can never {both} hold",
        Label(_span(first.extent), "every text that obeys this ..."),
        tuple(Label(_span(t.extent), "... or this" if number else "... breaks this") for number, t in enumerate(rest)),
        tuple(notes),
        Fix("give one of them a condition with `when` or `unless`, or remove one"),
    )


def _proof(languages: list[Dfa]) -> str:
    states = sum(language.size for language in languages)
    return f"proved by the emptiness of a regular language, {states} state{'' if states == 1 else 's'}"


def _obeys_all_but_last(members: list[tuple[RewardTerm, Dfa]]) -> str | None:
    from bylaw.compiler.automata.algebra import shortest_witness
    from bylaw.compiler.automata.partition import StateLimit

    try:
        return shortest_witness([language for _, language in members[:-1]], SEARCH_LIMIT)
    except StateLimit:
        return None


def _quoted(text: str) -> str:
    shown = text if len(text) <= LONGEST_WITNESS else text[:LONGEST_WITNESS] + "..."
    return repr(shown)


def _undecided(terms: list[RewardTerm], why: str) -> Diagnostic:
    names = " and ".join(f"`{term.id}`" for term in terms)
    return Diagnostic(
        "P402",
        Severity.NOTE,
        f"whether {names} can be obeyed, alone and with the other hard rules, was not decided",
        Label(_span(terms[0].extent)),
        tuple(Label(_span(term.extent)) for term in terms[1:]),
        (why,),
    )


def _span(extent: Extent) -> Span:
    return Span(extent.start, extent.end)
