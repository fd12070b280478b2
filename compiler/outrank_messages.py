"""What is said of hard rules that contradict each other, with the shortest text that shows it."""

from __future__ import annotations

from collections.abc import Sequence

from bylaw.compiler.contradiction import SEARCH_LIMIT, question_of
from bylaw.compiler.conversations import shortest_conversation
from bylaw.compiler.demands import Demand
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.witnesses import Witnesses
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import Extent
from bylaw.spec.source import Span

LONGEST_WITNESS = 60
MOST_NAMED = 3
"""Rules that a note names before it only counts."""


def outranked(
    weak: Demand,
    stronger: list[Demand],
    is_always: bool,
    proof: str,
    witnesses: Witnesses,
    others: Sequence[Demand] = (),
) -> Diagnostic:
    """P403 for a rule that gives way to `stronger`, taken together, and to each of the `others`."""
    beaten = "never takes effect" if is_always else "gives way"
    where = "" if is_always else " where both count"
    by = " and ".join(f"`{rule.term.id}`" for rule in stronger)
    own = f"`{weak.term.id}` at `{weak.term.level}`"
    notes = [f"`{rule.term.id}` stands at level `{rule.term.level}`, {own}" for rule in stronger]
    notes += shows(stronger, by, f"it breaks `{weak.term.id}`", witnesses)
    notes.append(proof)
    if others:
        more = len(others) - MOST_NAMED
        named = ", ".join(f"`{rule.term.id}`" for rule in others[:MOST_NAMED])
        notes.append(f"so it does to {named}{f' and {more} more' if more > 0 else ''}")
    marks = [
        Label(span_of(rule.term.extent), "... and this" if place else "... this") for place, rule in enumerate(stronger)
    ]
    return Diagnostic(
        "P403",
        Severity.WARNING,
        f"`{weak.term.id}` {beaten}{where}: {by} outrank{'s' if len(stronger) == 1 else ''} it",
        Label(span_of(weak.term.extent), f"no {_what([weak, *stronger])} obeys this together with ..."),
        tuple(marks),
        tuple(notes),
        Fix("give it a condition with `when` or `unless`, or the same level and `overrides`, or remove it"),
    )


def conflict(
    members: list[Demand],
    proof: str,
    witnesses: Witnesses,
    *,
    situation: str | None = None,
) -> Diagnostic:
    """P401 for rules that no text obeys together; a warning where they are in force together only in a `situation`."""
    first, rest = members[0].term, [rule.term for rule in members[1:]]
    if not rest:
        return Diagnostic(
            "P401",
            Severity.ERROR,
            f"no {_what(members)} can obey `{first.rule}`",
            Label(span_of(first.extent), "nothing satisfies this"),
            notes=(proof,),
        )
    terms = [rule.term for rule in members]
    names = [f"`{term.id}`" for term in terms]
    both = "both" if len(names) == 2 else "all"
    levels = " and ".join(dict.fromkeys(f"`{term.level}`" for term in terms))
    always = "with no condition" if not any(term.condition for term in terms) else "and apply together"
    notes = [f"{both} are `must` rules at level {levels} {always}" + (f" {situation}" if situation else "")]
    notes += shows(members[:-1], " and ".join(names[:-1]), f"it breaks {names[-1]}", witnesses)
    notes.append(proof)
    never = "cannot" if situation else "can never"
    where = " where both apply" if situation else ""
    return Diagnostic(
        "P401",
        Severity.WARNING if situation else Severity.ERROR,
        f"rules {', '.join(names[:-1])} and {names[-1]} {never} {both} hold{where}",
        Label(span_of(first.extent), f"every {_what(members)} that obeys this ..."),
        tuple(
            Label(span_of(term.extent), "... or this" if number else "... breaks this")
            for number, term in enumerate(rest)
        ),
        tuple(notes),
        Fix("give one of them a condition with `when` or `unless`, or `overrides`, or remove one"),
    )


def _what(rules: Sequence[Demand]) -> str:
    """What the rules are about."""
    return "text" if all(rule.reads_only_the_answer for rule in rules) else "conversation"


def shows(rules: Sequence[Demand], named: str, what: str, witnesses: Witnesses) -> list[str]:
    """A note with the shortest text that obeys all of the rules, or a short one; none where no text is at hand."""
    if not all(rule.reads_only_the_answer for rule in rules):
        conversation = shortest_conversation(rules)
        return [] if conversation is None else [f"shortest conversation that obeys {named} is: {conversation}; {what}"]
    text = shortest(rules, witnesses)
    if text is not None:
        return [f"shortest text that obeys {named} is {quoted(text)}; {what}"]
    text = witnesses.obeying([rule.obeyed for rule in rules], [rule.key for rule in rules])
    return [] if text is None else [f"{quoted(text)} obeys {named}; {what}"]


def shortest(rules: Sequence[Demand], witnesses: Witnesses) -> str | None:
    """The shortest text that obeys all of the rules; None where automata cannot tell."""
    question = question_of(f"shortest {witnesses.letters}", [rule.key for rule in rules])
    return witnesses.shown(question, lambda: _shortest(rules, witnesses))


def _shortest(rules: Sequence[Demand], witnesses: Witnesses) -> str | None:
    from bylaw.compiler.automata.algebra import shortest_witness
    from bylaw.compiler.automata.partition import StateLimit

    languages = [witnesses.language(rule.obeyed, rule.key) for rule in rules]
    known = [language for language in languages if language is not None]
    if len(known) < len(languages):
        return None
    try:
        return shortest_witness(known, SEARCH_LIMIT, witnesses.letters)
    except StateLimit:
        return None


def quoted(text: str) -> str:
    """A text as it stands in a note."""
    shown = text if len(text) <= LONGEST_WITNESS else text[:LONGEST_WITNESS] + "..."
    return repr(shown)


def undecided(terms: list[RewardTerm], *why: str) -> Diagnostic:
    """P402 for rules of which it was not decided whether they can be obeyed."""
    shown = [f"`{term.id}`" for term in terms[:MOST_NAMED]]
    names = " and ".join(shown) + (f" and {len(terms) - len(shown)} more" if len(terms) > len(shown) else "")
    return Diagnostic(
        "P402",
        Severity.NOTE,
        f"whether {names} can be obeyed, with the other hard rules in force, was not decided",
        Label(span_of(terms[0].extent)),
        tuple(Label(span_of(term.extent)) for term in terms[1:MOST_NAMED]),
        why,
    )


def span_of(extent: Extent) -> Span:
    """Where it stands, for a mark."""
    return Span(extent.start, extent.end)
