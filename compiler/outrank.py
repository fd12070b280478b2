"""Conflicts between hard rules that hold together nowhere, and how the chain of command settles them.

Automata find the smallest sets of hard rules that no text obeys together. Where one of them stands at a weaker level
than all the others, it gives way where the others count (P403); rules of one level contradict each other (P401).
Shortest texts that show it come with every finding.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bylaw.compiler.candidates import candidates
from bylaw.compiler.defeat import silenced, waived
from bylaw.compiler.evaluate import truth
from bylaw.compiler.program import RewardProgram, RewardTerm, Waiver
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import (
    BooleanConstant,
    BooleanExpression,
    Extent,
    Or,
)
from bylaw.spec.logic import conjunction, conjuncts, meaning, negate, reads_context, reads_response
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

    `texts` are tried first: one that obeys several rules is a proof that they can be obeyed, and costs little.
    """
    docket = _Docket(program, tuple(dict.fromkeys((*LIKELY_TEXTS, *texts))))
    docket.settle_pairs()
    docket.settle_groups()
    return docket.program, _summed_up(tuple(docket.found.values()), docket.program)


@dataclass
class _Docket:
    """What is still to be settled. `obeying` says for each term, as the bits of a number, which of the tried texts obey
    it; `found` are the findings, each once."""

    program: RewardProgram
    tried: tuple[str, ...]
    found: dict[tuple[str, frozenset[str]], Diagnostic] = field(default_factory=dict)
    obeying: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rank: Mapping[str, int] = {level: place for place, level in enumerate(self.program.levels)}

    def hard(self) -> list[_Hard]:
        """The hard rules that automata may speak of, in the order of the file."""
        rules = [_Hard.of(term) for term in self.program.terms if term.kind == "hard"]
        return [rule for rule in rules if not reads_context(rule.obeyed)]

    def obeyed_together(self, rules: list[_Hard]) -> bool:
        """Whether a text is known that obeys all of them."""
        bits = -1
        for rule in rules:
            if rule.term.id not in self.obeying:
                allowed = [rule.allows(text) for text in self.tried]
                self.obeying[rule.term.id] = sum(1 << place for place, each in enumerate(allowed) if each)
            bits &= self.obeying[rule.term.id]
        if bits:
            return True
        return any(all(rule.allows(text) for rule in rules) for text in candidates([rule.obeyed for rule in rules]))

    # ------------------------------------------------------------------------------------------------------ pairs
    def settle_pairs(self) -> None:
        """A weaker rule gives way wherever a stronger one counts that it contradicts, whatever its own condition is.

        From the strongest level down: what has given way itself beats others only where it still counts.
        """
        contradicts: dict[tuple[Hashable, Hashable], bool] = {}
        by_rank: dict[int, list[_Hard]] = {}
        for rule in self.hard():
            by_rank.setdefault(self.rank[rule.term.level], []).append(rule)
        stronger: list[_Hard] = []
        for rank in sorted(by_rank):
            left = [self._settle_against(stronger, weak, contradicts) for weak in by_rank[rank]]
            stronger += left

    def _settle_against(
        self, stronger: list[_Hard], own: _Hard, contradicts: dict[tuple[Hashable, Hashable], bool]
    ) -> _Hard:
        """Holds one rule against all stronger ones; gives back what is left of it."""
        weak, beaten_by = own, []
        for strong in stronger:
            if not _may_meet(strong, weak):
                continue
            key = (strong.meaning, weak.meaning)
            if key not in contradicts:
                contradicts[key] = not self.obeyed_together([strong, weak]) and _is_contradiction([strong, weak])
            if contradicts[key]:
                beaten_by.append(strong)
                self.give_way([strong], weak)
                weak = _Hard.of(self.program.term(weak.term.id))
        if beaten_by:
            terms = frozenset(rule.term.id for rule in (*beaten_by, own))
            is_always = any(rule.keys <= own.keys for rule in beaten_by)
            self.found[("P403", terms)] = _outranked(own, beaten_by[:1], is_always, beaten_by[1:])
        return weak

    def give_way(self, stronger: list[_Hard], weak: _Hard) -> None:
        """Writes down that a rule gives way where all the stronger ones count."""
        where = _beyond(weak, stronger)
        self.program = _with_waiver(self.program, weak.term, Waiver(stronger[0].term.rule, "level", where))

    # ----------------------------------------------------------------------------------------------------- groups
    def settle_groups(self) -> None:
        """Larger conflicts, and those of one level, among rules that are certain to be in force together."""
        while (finding := self._next_waiver()) is not None:
            stronger, weak = finding
            terms = frozenset(rule.term.id for rule in (*stronger, weak))
            self.found[("P403", terms)] = _outranked(weak, stronger, _beyond(weak, stronger) is None)
            self.give_way(stronger, weak)

    def _next_waiver(self) -> tuple[list[_Hard], _Hard] | None:
        reported: set[str] = set()
        for group in _groups(self.hard()):
            # A conflict is told once, not again for every condition under which it arises.
            rules = [rule for rule in group if rule.term.id not in reported]
            if self.obeyed_together(rules):
                continue
            for finding in _contradictions(rules, self.rank):
                if isinstance(finding, _Finding):
                    reported |= finding.terms
                    self.found.setdefault((finding.diagnostic.code, finding.terms), finding.diagnostic)
                else:
                    return finding
        return None


def _beyond(weak: _Hard, stronger: list[_Hard]) -> BooleanExpression | None:
    """Where all the stronger rules count, apart from what the weak one asks for itself; None for wherever it counts."""
    parts = {meaning(part): part for rule in stronger for part in rule.context}
    return conjunction(tuple(part for key, part in parts.items() if key not in weak.keys))


def _may_meet(one: _Hard, other: _Hard) -> bool:
    """Whether two rules can be in force together, as far as their words tell."""
    return _NEVER not in one.keys and _NEVER not in other.keys and not one.opposites & other.keys


def _is_contradiction(rules: list[_Hard]) -> bool:
    """Whether automata prove that no text obeys all of them, although some text obeys each."""
    from bylaw.compiler.automata.algebra import any_witness
    from bylaw.compiler.automata.partition import StateLimit
    from bylaw.compiler.regular import dfa_of

    languages = [dfa_of(rule.obeyed) for rule in rules]
    known = [language for language in languages if language is not None]
    if len(known) < len(languages):
        return False
    try:
        if any(any_witness([language], SEARCH_LIMIT) is None for language in known):
            return False  # a rule that nobody can obey is an error of its own
        return any_witness(known, SEARCH_LIMIT) is None
    except StateLimit:
        return False


def _summed_up(found: tuple[Diagnostic, ...], program: RewardProgram) -> tuple[Diagnostic, ...]:
    """The findings with one note for all questions that stayed open."""
    settled = [finding for finding in found if finding.code != "P402"]
    places = dict.fromkeys(mark.span for f in found if f.code == "P402" for mark in (f.primary, *f.secondary))
    if not places:
        return found
    terms = [term for term in program.terms if _span(term.extent) in places]
    why = tuple(dict.fromkeys(note for finding in found if finding.code == "P402" for note in finding.notes))
    return (*settled, _undecided(terms, *why).diagnostic)


@dataclass(frozen=True, slots=True)
class _Finding:
    """A conflict that is an error, or a question that stayed open."""

    diagnostic: Diagnostic
    terms: frozenset[str]


def _with_waiver(program: RewardProgram, weak: RewardTerm, waiver: Waiver) -> RewardProgram:
    """The program in which a term gives way; what its rule overrides counts again there."""

    def changed(term: RewardTerm) -> RewardTerm:
        if term.id == weak.id:
            return waived(term, (*term.waivers, waiver))
        if not any(each.reason == "override" and each.by == weak.rule for each in term.waivers):
            return term
        return waived(term, tuple(_only_outside(each, waiver, weak.rule) for each in term.waivers))

    return replace(program, terms=tuple(changed(term) for term in program.terms))


def _only_outside(override: Waiver, waiver: Waiver, winner: str) -> Waiver:
    """An override whose winner gives way somewhere counts elsewhere only."""
    if override.reason != "override" or override.by != winner:
        return override
    return replace(override, where=conjunction((*conjuncts(override.where), silenced(waiver))))


def _contradictions(rules: list[_Hard], rank: Mapping[str, int]) -> Iterator[_Finding | tuple[list[_Hard], _Hard]]:
    """What automata tell about hard rules that are in force together: errors, open questions, and (stronger rules, the
    one weaker rule that gives way to them)."""
    from bylaw.compiler.automata.algebra import minimal_conflict
    from bylaw.compiler.automata.partition import StateLimit
    from bylaw.compiler.regular import dfa_of, why_not_regular

    languages = [(rule, dfa_of(rule.obeyed)) for rule in rules]
    decided = [(rule, language) for rule, language in languages if language is not None]
    undecided = [rule.term for rule, language in languages if language is None]
    if undecided:
        yield _undecided(undecided, *dict.fromkeys(map(why_not_regular, undecided)))
    while decided:
        try:
            conflict = minimal_conflict([language for _, language in decided], SEARCH_LIMIT)
        except StateLimit:
            yield _undecided([rule.term for rule, _ in decided], "the search grew too large")
            return
        if conflict is None:
            return
        members = [decided[index] for index in conflict]
        lowest = max(rank[rule.term.level] for rule, _ in members)
        weakest = [rule for rule, _ in members if rank[rule.term.level] == lowest]
        if len(weakest) > 1 or len(members) == 1:
            names = frozenset(rule.term.id for rule, _ in members)
            yield _Finding(_conflict([(rule.term, language) for rule, language in members]), names)
        else:
            yield [rule for rule, _ in members if rule is not weakest[0]], weakest[0]
        decided = [member for index, member in enumerate(decided) if index not in conflict]


@dataclass(frozen=True, slots=True)
class _Hard:
    """A hard rule: the prompts where it is in force, and what the responses that obey it there have in common."""

    term: RewardTerm
    context: tuple[BooleanExpression, ...]
    obeyed: BooleanExpression
    keys: frozenset[Hashable]
    opposites: frozenset[Hashable]
    meaning: Hashable

    @staticmethod
    def of(term: RewardTerm) -> _Hard:
        """Parts of the condition that read the response are part of what is obeyed: an answer can avoid them."""
        parts = conjuncts(term.condition)
        answered = conjunction(tuple(part for part in parts if reads_response(part)))
        assert term.holds is not None
        obeyed = term.holds if answered is None else Or((negate(answered), term.holds))
        context = tuple(part for part in parts if not reads_response(part))
        keys = frozenset(meaning(part) for part in context)
        opposites = frozenset(meaning(negate(part)) for part in context)
        return _Hard(term, context, obeyed, keys, opposites, meaning(obeyed))

    def allows(self, text: str) -> bool:
        """Whether a response obeys the rule."""
        return truth(self.obeyed, Trace(()).answered(text)) is True


_NEVER = meaning(BooleanConstant(False))


def _groups(hard: list[_Hard]) -> list[list[_Hard]]:
    """Hard rules that are in force together: for each condition, all that hold wherever it does.

    Whether two different conditions can meet is not decided here, and neither is what a rule asks for that depends on
    the prompt or on facts; a prompt for which no answer is left is reported before its first token. Rules that are
    never in force (a permission lifts them altogether) are in no group.
    """
    alive = [(rule, rule.keys) for rule in hard if _NEVER not in rule.keys]
    contexts = sorted(dict.fromkeys(keys for _, keys in alive), key=len)
    # Where the words of one condition are among those of another, its rules are in force there too.
    return [[rule for rule, keys in alive if keys <= context] for context in contexts]


# ------------------------------------------------------------------------------------------------------- messages
def _outranked(weak: _Hard, stronger: list[_Hard], is_always: bool, others: Sequence[_Hard] = ()) -> Diagnostic:
    """What to say of a rule that gives way to `stronger`, taken together, and to each of the `others`."""
    beaten = "never takes effect" if is_always else "gives way"
    where = "" if is_always else " where both count"
    by = " and ".join(f"`{rule.term.rule}`" for rule in stronger)
    own = f"`{weak.term.rule}` at `{weak.term.level}`"
    notes = [f"`{rule.term.rule}` stands at level `{rule.term.level}`, {own}" for rule in stronger]
    languages = _languages(stronger)
    witness = _witness(languages)
    if witness is not None:
        notes.append(f"shortest text that obeys {by} is {_quoted(witness)}; it breaks `{weak.term.rule}`")
    notes.append(_proof([*languages, *_languages([weak])]))
    if others:
        more = len(others) - MOST_NAMED
        named = ", ".join(f"`{rule.term.rule}`" for rule in others[:MOST_NAMED])
        notes.append(f"so it does to {named}{f' and {more} more' if more > 0 else ''}")
    marks = [
        Label(_span(rule.term.extent), "... and this" if place else "... this") for place, rule in enumerate(stronger)
    ]
    return Diagnostic(
        "P403",
        Severity.WARNING,
        f"`{weak.term.rule}` {beaten}{where}: {by} outrank{'s' if len(stronger) == 1 else ''} it",
        Label(_span(weak.term.extent), "no text obeys this together with ..."),
        tuple(marks),
        tuple(notes),
        Fix("give it a condition with `when` or `unless`, or the same level and `overrides`, or remove it"),
    )


def _languages(rules: list[_Hard]) -> list[Dfa]:
    from bylaw.compiler.regular import dfa_of

    return [language for rule in rules if (language := dfa_of(rule.obeyed)) is not None]


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
