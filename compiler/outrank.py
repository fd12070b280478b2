"""Conflicts between hard rules that hold together nowhere, and how the chain of command settles them.

Automata find the smallest sets of hard rules that no text obeys together. Where one of them stands at a weaker level
than all the others, it gives way where the others count (P403); rules of one level contradict each other (P401).
Shortest texts that show it come with every finding.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bylaw.compiler.candidates import candidates
from bylaw.compiler.defeat import silenced
from bylaw.compiler.evaluate import truth
from bylaw.compiler.program import RewardProgram, RewardTerm, Waiver
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import (
    BooleanCall,
    BooleanConstant,
    BooleanExpression,
    ConceptScore,
    Extent,
    NumberCall,
    Or,
    TextCall,
)
from bylaw.spec.logic import conjunction, conjuncts, meaning, negate, reads_context, reads_response, walk
from bylaw.spec.source import Span
from bylaw.spec.trace import Trace

if TYPE_CHECKING:  # most policies are checked without automata
    from bylaw.compiler.automata.dfa import Dfa

SEARCH_LIMIT = 50_000
LIKELY_TEXTS = ("", "a", "A", "1", "{}", "Yes.")
"""Short texts, at least one of which obeys what most policies forbid and ask for."""
LONGEST_WITNESS = 60
MOST_NAMED = 3
"""Rules that a note names before it only counts."""


def settle_conflicts(program: RewardProgram, texts: Iterable[str] = ()) -> tuple[RewardProgram, tuple[Diagnostic, ...]]:
    """The program in which weaker rules give way, and the findings (P401, P402, P403).

    `texts` are tried first: one that obeys a whole group is a proof that the group can be obeyed, and costs little.
    """
    tried = tuple(dict.fromkeys((*LIKELY_TEXTS, *texts)))
    rank = {level: position for position, level in enumerate(program.levels)}
    found: dict[tuple[str, frozenset[str]], Diagnostic] = {}
    # From the strongest level down, so that a rule that has given way beats no other.
    for weakest in sorted({rank[term.level] for term in program.terms if term.kind == "hard"}):
        finding: _Finding | None = None
        while (finding := _next_waiver(program, tried, rank, weakest, found)) is not None:
            assert finding.waiver is not None
            program = _with_waiver(program, finding.term, finding.waiver)
    return program, _summed_up(tuple(found.values()), program)


def _summed_up(found: tuple[Diagnostic, ...], program: RewardProgram) -> tuple[Diagnostic, ...]:
    """The findings with one note for all questions that stayed open."""
    settled = [finding for finding in found if finding.code != "P402"]
    places = dict.fromkeys(mark.span for f in found if f.code == "P402" for mark in (f.primary, *f.secondary))
    if not places:
        return found
    terms = [term for term in program.terms if _span(term.extent) in places]
    why = tuple(dict.fromkeys(note for finding in found if finding.code == "P402" for note in finding.notes))
    return (*settled, _undecided(terms, *why).diagnostic)


def _next_waiver(
    program: RewardProgram,
    tried: tuple[str, ...],
    rank: Mapping[str, int],
    weakest: int,
    found: dict[tuple[str, frozenset[str]], Diagnostic],
) -> _Finding | None:
    """The next conflict that the chain of command settles, among rules down to a level; adds what there is to say."""
    terms = [term for term in program.terms if term.kind == "hard" and rank[term.level] <= weakest]
    for finding in _findings(terms, tried, rank):
        found.setdefault((finding.diagnostic.code, finding.terms), finding.diagnostic)
        if finding.waiver is not None:
            return finding
    return None


@dataclass(frozen=True, slots=True)
class _Finding:
    """One conflict, or a question that stayed open; with a waiver, `term` gives way."""

    diagnostic: Diagnostic
    terms: frozenset[str]
    term: str = ""
    waiver: Waiver | None = None


def _with_waiver(program: RewardProgram, identifier: str, waiver: Waiver) -> RewardProgram:
    def changed(term: RewardTerm) -> RewardTerm:
        remembered = replace(waiver, own=term.waivers[0].own if term.waivers else term.condition)
        condition = conjunction((*conjuncts(term.condition), silenced(waiver)))
        return replace(term, condition=condition, waivers=(*term.waivers, remembered))

    return replace(program, terms=tuple(changed(t) if t.id == identifier else t for t in program.terms))


def _findings(terms: list[RewardTerm], tried: tuple[str, ...], rank: Mapping[str, int]) -> Iterator[_Finding]:
    hard = [rule for rule in map(_Hard.of, terms) if not reads_context(rule.obeyed)]
    reported: set[str] = set()
    for group in _groups(hard):
        # A conflict is told once, not again for every condition under which it arises.
        rules = [rule for rule in group if rule.term.id not in reported]
        if any(all(rule.allows(text) for rule in rules) for text in (*tried, *candidates([r.obeyed for r in rules]))):
            continue
        for finding in _contradictions(rules, rank):
            reported |= finding.terms
            yield finding


def _contradictions(rules: list[_Hard], rank: Mapping[str, int]) -> Iterator[_Finding]:
    """What automata tell about hard rules that are in force together: findings, with the terms that they are about."""
    from bylaw.compiler.automata.algebra import minimal_conflict
    from bylaw.compiler.automata.partition import StateLimit
    from bylaw.compiler.regular import dfa_of

    languages = [(rule, dfa_of(rule.obeyed)) for rule in rules]
    decided = [(rule, language) for rule, language in languages if language is not None]
    undecided = [rule.term for rule, language in languages if language is None]
    if undecided:
        yield _undecided(undecided, *dict.fromkeys(map(_why_not, undecided)))
    while decided:
        try:
            conflict = minimal_conflict([language for _, language in decided], SEARCH_LIMIT)
        except StateLimit:
            yield _undecided([rule.term for rule, _ in decided], "the search grew too large")
            return
        if conflict is None:
            return
        yield _settled([decided[index] for index in conflict], rank)
        decided = [member for index, member in enumerate(decided) if index not in conflict]


@dataclass(frozen=True, slots=True)
class _Hard:
    """A hard rule: the prompts where it is in force, and what the responses that obey it there have in common."""

    term: RewardTerm
    context: tuple[BooleanExpression, ...]
    obeyed: BooleanExpression

    @staticmethod
    def of(term: RewardTerm) -> _Hard:
        """Parts of the condition that read the response are part of what is obeyed: an answer can avoid them."""
        parts = conjuncts(term.condition)
        answered = conjunction(tuple(part for part in parts if reads_response(part)))
        assert term.holds is not None
        obeyed = term.holds if answered is None else Or((negate(answered), term.holds))
        return _Hard(term, tuple(part for part in parts if not reads_response(part)), obeyed)

    @property
    def keys(self) -> frozenset[Hashable]:
        return frozenset(meaning(part) for part in self.context)

    def allows(self, text: str) -> bool:
        """Whether a response obeys the rule."""
        return truth(self.obeyed, Trace(()).answered(text)) is True


def _groups(hard: list[_Hard]) -> list[list[_Hard]]:
    """Hard rules that are in force together: for each condition, all that hold wherever it does.

    Whether two different conditions can meet is not decided here, and neither is what a rule asks for that depends on
    the prompt or on facts; a prompt for which no answer is left is reported before its first token. Rules that are
    never in force (a permission lifts them altogether) are in no group.
    """
    keyed = [(rule, rule.keys) for rule in hard]
    alive = [(rule, keys) for rule, keys in keyed if meaning(BooleanConstant(False)) not in keys]
    contexts = sorted({keys for _, keys in alive}, key=len)
    # Where the words of one condition are among those of another, its rules are in force there too.
    return [[rule for rule, keys in alive if keys <= context] for context in contexts]


# ------------------------------------------------------------------------------------------------------- messages
def _settled(members: list[tuple[_Hard, Dfa]], rank: Mapping[str, int]) -> _Finding:
    """A conflict: the weakest member gives way where it is alone at its level, otherwise it is an error."""
    names = frozenset(rule.term.id for rule, _ in members)
    lowest = max(rank[rule.term.level] for rule, _ in members)
    weakest = [member for member in members if rank[member[0].term.level] == lowest]
    if len(weakest) > 1 or len(members) == 1:
        return _Finding(_conflict([(rule.term, language) for rule, language in members]), names)
    weak = weakest[0][0]
    stronger = [member for member in members if member[0] is not weak]
    parts = {meaning(part): part for rule, _ in stronger for part in rule.context}
    where = conjunction(tuple(part for key, part in parts.items() if key not in weak.keys))
    waiver = Waiver(stronger[0][0].term.rule, "level", where)
    outranked = _outranked(weak.term, stronger, weakest[0][1], where is None)
    return _Finding(outranked, names, weak.term.id, waiver)


def _outranked(weak: RewardTerm, stronger: list[tuple[_Hard, Dfa]], language: Dfa, is_always: bool) -> Diagnostic:
    first = stronger[0][0].term
    beaten = "never takes effect" if is_always else "gives way"
    where = "" if is_always else " where both count"
    by = " and ".join(f"`{rule.term.rule}`" for rule, _ in stronger)
    notes = [
        f"`{rule.term.rule}` stands at level `{rule.term.level}`, `{weak.rule}` at `{weak.level}`"
        for rule, _ in stronger
    ]
    witness = _witness([each for _, each in stronger])
    if witness is not None:
        notes.append(f"shortest text that obeys {by} is {_quoted(witness)}; it breaks `{weak.rule}`")
    notes.append(_proof([*(each for _, each in stronger), language]))
    return Diagnostic(
        "P403",
        Severity.WARNING,
        f"`{weak.rule}` {beaten}{where}: {by} outrank{'s' if len(stronger) == 1 else ''} it",
        Label(_span(weak.extent), "no text obeys this together with ..."),
        (
            Label(_span(first.extent), "... this"),
            *(Label(_span(rule.term.extent), "... and this") for rule, _ in stronger[1:]),
        ),
        tuple(notes),
        Fix("give it a condition with `when` or `unless`, or the same level and `overrides`, or remove it"),
    )


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
    witness = _witness([language for _, language in members[:-1]])
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
        Fix("give one of them a condition with `when` or `unless`, or `overrides`, or remove one"),
    )


def _proof(languages: list[Dfa]) -> str:
    states = sum(language.size for language in languages)
    return f"proved by the emptiness of a regular language, {states} state{'' if states == 1 else 's'}"


def _witness(languages: list[Dfa]) -> str | None:
    from bylaw.compiler.automata.algebra import shortest_witness
    from bylaw.compiler.automata.partition import StateLimit

    try:
        return shortest_witness(languages, SEARCH_LIMIT)
    except StateLimit:
        return None


def _quoted(text: str) -> str:
    shown = text if len(text) <= LONGEST_WITNESS else text[:LONGEST_WITNESS] + "..."
    return repr(shown)


def _why_not(term: RewardTerm) -> str:
    """Why there is no automaton of what a term says."""
    parts = [part for said in (term.condition, term.holds) if said is not None for part in walk(said)]
    if any(isinstance(part, ConceptScore) for part in parts):
        return "concepts are scored, so no proof about texts speaks of them"
    if any(isinstance(part, (NumberCall, TextCall, BooleanCall)) for part in parts):
        return "functions are computed on the finished text, so no proof speaks of them"
    return "no automaton of a reasonable size describes this"


def _undecided(terms: list[RewardTerm], *why: str) -> _Finding:
    shown = [f"`{term.id}`" for term in terms[:MOST_NAMED]]
    names = " and ".join(shown) + (f" and {len(terms) - len(shown)} more" if len(terms) > len(shown) else "")
    diagnostic = Diagnostic(
        "P402",
        Severity.NOTE,
        f"whether {names} can be obeyed, alone and with the other hard rules, was not decided",
        Label(_span(terms[0].extent)),
        tuple(Label(_span(term.extent)) for term in terms[1:MOST_NAMED]),
        why,
    )
    return _Finding(diagnostic, frozenset(term.id for term in terms))


def _span(extent: Extent) -> Span:
    return Span(extent.start, extent.end)
