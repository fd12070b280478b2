"""Conflicts between hard rules that hold together nowhere, and how the chain of command settles them.

Found are the smallest sets of hard rules that no text obeys together. Where one of them stands at a weaker level than
all the others, it gives way where the others count (P403); rules of one level contradict each other (P401). Shortest
texts that show it come with every finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bylaw.compiler.contradiction import Contradiction, Open, contradiction, opposites
from bylaw.compiler.conversations import Conversations
from bylaw.compiler.defeat import silenced, waived
from bylaw.compiler.demands import Demand, key_of
from bylaw.compiler.outrank_messages import conflict, outranked, undecided
from bylaw.compiler.program import RewardProgram, RewardTerm, Waiver
from bylaw.compiler.witnesses import Witnesses, is_true_of
from bylaw.spec.errors import Diagnostic
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.logic import conjunction, conjuncts, reads_events
from bylaw.spec.source import Span

MOST_OTHERS = 8
"""Rules that are told of which contradict one of a pair that is told of already."""


def settle_conflicts(
    program: RewardProgram, witnesses: Witnesses, conversations: Conversations
) -> tuple[RewardProgram, tuple[Diagnostic, ...]]:
    """The program in which weaker rules give way, and the findings (P401, P402, P403).

    The texts of `witnesses`, and the conversations where rules are about events, are tried first: one that obeys
    several rules is a proof that they can be obeyed, and costs little.
    """
    docket = _Docket(program, witnesses, conversations)
    docket.settle()
    return docket.program, _summed_up(tuple(docket.found.values()), docket.program)


@dataclass
class _Docket:
    """What is still to be settled; `found` are the findings, each once."""

    program: RewardProgram
    witnesses: Witnesses
    conversations: Conversations
    found: dict[tuple[str, frozenset[str]], Diagnostic] = field(default_factory=dict)
    shown: dict[str, str | None] = field(default_factory=dict)
    demands: dict[str, Demand] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.contexts = dict.fromkeys(rule.keys for rule in self.hard() if not rule.is_dead)
        self.rank: Mapping[str, int] = {level: place for place, level in enumerate(self.program.levels)}

    def hard(self) -> list[Demand]:
        """The hard rules, in the order of the file."""
        return [self.demand_of(term) for term in self.program.terms if term.kind == "hard"]

    def demand_of(self, term: RewardTerm) -> Demand:
        """What a term demands; taken apart once, as long as nothing lifts it further."""
        known = self.demands.get(term.id)
        if known is None or known.term is not term:
            known = self.demands[term.id] = Demand.of(term)
        return known

    def contradiction(self, rules: Sequence[Demand]) -> Contradiction | Open | None:
        """What is known of rules that are in force together."""
        if all(rule.reads_only_the_answer for rule in rules):
            # Of several conflicts in one set, which is told (and so which rule gives way) must not hang on what is
            # remembered of other policies.
            return contradiction(rules, self.witnesses, is_anew=len(rules) > 2)
        if all(_is_decidable(rule) for rule in rules):
            return self.conversations.contradiction(rules, self.witnesses)
        return opposites(rules)  # what the answer is held against comes with each conversation

    # ------------------------------------------------------------------------------------------------------ pairs
    def settle(self) -> None:
        """Level by level from the strongest, so that what has given way, to one rule or to several, beats no other."""
        contradicts: dict[tuple[str, str], bool] = {}
        for rank in sorted({self.rank[rule.term.level] for rule in self.hard()}):
            stronger = [rule for rule in self.hard() if self.rank[rule.term.level] < rank]
            stronger.sort(key=lambda rule: self.rank[rule.term.level])
            for rule in [rule for rule in self.hard() if self.rank[rule.term.level] == rank]:
                self._settle_against(stronger, rule, contradicts)
            self._settle_groups(rank)
        self._report()

    def _settle_against(self, stronger: list[Demand], own: Demand, contradicts: dict[tuple[str, str], bool]) -> None:
        """Holds one rule against all stronger ones."""
        weak, beaten_by = own, []
        for strong in stronger:
            if not strong.may_meet(weak):
                continue
            key = (strong.key, weak.key)
            if key not in contradicts:
                contradicts[key] = self._contradict(strong, weak)
            if contradicts[key] and _ever_meet(strong, weak):
                beaten_by.append(strong)
                self.give_way([strong], own)
                weak = self.demand_of(self.program.term(weak.term.id))
        if beaten_by:
            beaten_by.sort(key=lambda rule: not rule.is_in_force_with(own))  # what beats it everywhere is told first
            terms = frozenset(rule.term.id for rule in (*beaten_by, own))
            is_always = any(rule.is_in_force_with(own) for rule in beaten_by)
            proof = self.contradiction([beaten_by[0], own])
            assert isinstance(proof, Contradiction)
            self.found[("P403", terms)] = outranked(
                own, beaten_by[:1], is_always, proof.proof, self.witnesses, beaten_by[1:]
            )

    def _contradict(self, one: Demand, other: Demand) -> bool:
        """Whether it is proved that no text obeys both, although some text obeys each."""
        if not (one.reads_only_the_answer and other.reads_only_the_answer):
            found = self.contradiction([one, other])
            return isinstance(found, Contradiction) and len(found.members) == 2
        if self.witnesses.are_known_together(one.key, other.key):
            return False
        for rule, against in ((one, other), (other, one)):
            text = self._shown_by(rule)
            if text is not None and is_true_of(against.obeyed, text):
                return False
        if self.witnesses.combined([one.obeyed, other.obeyed]) is not None:
            return False
        found = contradiction([one, other], self.witnesses)
        # A rule that nobody can obey is an error of its own.
        return isinstance(found, Contradiction) and len(found.members) == 2

    def _shown_by(self, rule: Demand) -> str | None:
        """A text that obeys a rule, where one is found without automata."""
        if rule.key not in self.shown:
            self.shown[rule.key] = self.witnesses.likely(rule.obeyed, rule.key)
        return self.shown[rule.key]

    def give_way(self, stronger: list[Demand], weak: Demand) -> None:
        """Writes down that a rule gives way where all the stronger ones count."""
        where = _beyond(weak, stronger)
        self.program = _with_waiver(self.program, weak.term, Waiver(stronger[0].term.rule, "level", where))

    # ----------------------------------------------------------------------------------------------------- groups
    def _settle_groups(self, rank: int) -> None:
        """Rules of one level give way to several stronger ones that are certain to be in force together."""
        while (finding := self._next_waiver(rank)) is not None:
            stronger, weak, proof = finding
            terms = frozenset(rule.term.id for rule in (*stronger, weak))
            self.found[("P403", terms)] = outranked(
                weak, stronger, _beyond(weak, stronger) is None, proof, self.witnesses
            )
            self.give_way(stronger, weak)

    def _next_waiver(self, rank: int) -> tuple[list[Demand], Demand, str] | None:
        alive = [rule for rule in self.hard() if self.rank[rule.term.level] <= rank and _is_decidable(rule)]
        for group in _groups(alive, self.contexts):
            stronger = [rule for rule in group if self.rank[rule.term.level] < rank]
            own = [rule for rule in group if self.rank[rule.term.level] == rank]
            if own and len(stronger) > 1:
                found = self._outranked_by_several(stronger, own)
                if found is not None:
                    return found
        return None

    def _outranked_by_several(
        self, stronger: list[Demand], own: list[Demand]
    ) -> tuple[list[Demand], Demand, str] | None:
        """The first rule that cannot be obeyed together with several stronger ones.

        Stronger rules that contradict each other are told of by themselves; everything would follow from them.
        """
        clashing = {number for found in self._contradictions(stronger) for number in found.members}
        stronger = [rule for number, rule in enumerate(stronger) if number not in clashing]
        base = None
        if all(rule.reads_only_the_answer for rule in (*stronger, *own)):
            base = self.witnesses.obeying([rule.obeyed for rule in stronger], [rule.key for rule in stronger])
        elif self.contradiction([*stronger, *own]) is None:
            return None
        for weak in own:
            # A text that obeys all stronger rules and this one settles it, and costs next to nothing to try.
            if base is not None and is_true_of(weak.obeyed, base):
                continue
            rules = [*stronger, weak]
            for found in self._contradictions(rules):
                if isinstance(found, Contradiction) and len(stronger) in found.members and len(found.members) > 1:
                    return [rules[n] for n in found.members if n < len(stronger)], weak, found.proof
        return None

    def _report(self) -> None:
        """Contradictions that no level settles (P401), and questions that stay open (P402)."""
        reported: set[str] = set()
        for group in _groups(self.hard(), self.contexts):
            # A conflict is told once, not again for every condition under which it arises.
            rules = [rule for rule in group if rule.term.id not in reported]
            for found in self._contradictions(rules):
                members = [rules[number] for number in found.members]
                names = frozenset(rule.term.id for rule in members)
                if not _ever_meet(*members):
                    continue
                reported |= names
                if isinstance(found, Open):
                    self.found.setdefault(("P402", names), undecided([rule.term for rule in members], *found.why))
                    continue
                self.found.setdefault(("P401", names), conflict(members, found.proof, self.witnesses))
                if len(members) == 2:
                    self._report_others(members, group)

    def _report_others(self, pair: Sequence[Demand], group: Sequence[Demand]) -> None:
        """Further rules that contradict one of a pair: whoever settles the pair would meet them next."""
        told = 0
        for member in pair:
            for other in group:
                if other in pair or told == MOST_OTHERS or not self._contradict(member, other):
                    continue
                if self.rank[member.term.level] != self.rank[other.term.level] or not _ever_meet(member, other):
                    continue
                names = frozenset((member.term.id, other.term.id))
                found = self.contradiction([member, other])
                if isinstance(found, Contradiction) and ("P401", names) not in self.found:
                    told += 1
                    self.found["P401", names] = conflict([member, other], found.proof, self.witnesses)

    def _contradictions(self, rules: list[Demand]) -> Iterator[Contradiction | Open]:
        """What is wrong with rules that are in force together, one after the other; numbers are those of `rules`.

        Rules about answers first, then those about events with them.
        """
        about_answers = [number for number, rule in enumerate(rules) if rule.reads_only_the_answer]
        broken = set[int]()
        for found in self._one_by_one(rules, about_answers):
            broken |= set(found.members)
            yield found
        about_events = [n for n, rule in enumerate(rules) if not rule.reads_only_the_answer and _is_decidable(rule)]
        if about_events:
            yield from self._one_by_one(rules, [n for n in (*about_answers, *about_events) if n not in broken])
        yield from self._one_by_one(rules, [n for n, rule in enumerate(rules) if not _is_decidable(rule)])

    def _one_by_one(self, rules: list[Demand], left: list[int]) -> Iterator[Contradiction | Open]:
        while left:
            found = self.contradiction([rules[number] for number in left])
            if found is None:
                return
            yield replace(found, members=tuple(left[place] for place in found.members))
            left = [number for place, number in enumerate(left) if place not in found.members]


def _is_decidable(rule: Demand) -> bool:
    """Whether proofs speak of it: it is about the answer alone, or about events."""
    return rule.reads_only_the_answer or reads_events(rule.obeyed)


def _ever_meet(*rules: Demand) -> bool:
    """Whether all can be in force together, unless that is refuted; a rule that never is meets nobody."""
    context = conjunction(tuple(part for rule in rules for part in rule.context))
    if context is None:
        return True
    from bylaw.compiler.satisfy import can_meet

    return can_meet(context, context) is not False


def _beyond(weak: Demand, stronger: list[Demand]) -> BooleanExpression | None:
    """Where all the stronger rules count, apart from what the weak one asks for itself; None for wherever it counts."""
    parts = {key_of(part): part for rule in stronger for part in rule.context}
    return conjunction(tuple(part for key, part in parts.items() if key not in weak.keys))


def _summed_up(found: tuple[Diagnostic, ...], program: RewardProgram) -> tuple[Diagnostic, ...]:
    """The findings with one note for all questions that stayed open."""
    settled = [finding for finding in found if finding.code != "P402"]
    places = dict.fromkeys(mark.span for f in found if f.code == "P402" for mark in (f.primary, *f.secondary))
    if not places:
        return found
    terms = [term for term in program.terms if Span(term.extent.start, term.extent.end) in places]
    why = tuple(dict.fromkeys(note for finding in found if finding.code == "P402" for note in finding.notes))
    return (*settled, undecided(terms, *why))


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


def _groups(hard: list[Demand], known: Iterable[frozenset[str]] = ()) -> list[list[Demand]]:
    """Hard rules that are in force together: for each condition, all that hold wherever it does.

    Whether two different conditions can meet is not decided here, and neither is what a rule asks for that depends on
    the prompt or on facts; a prompt for which no answer is left is reported before its first token. Rules that are
    never in force (a permission lifts them altogether) are in no group.
    """
    alive = [rule for rule in hard if not rule.is_dead]
    contexts = sorted(dict.fromkeys((*known, *(rule.keys for rule in alive))), key=len)
    # Where the words of one condition are among those of another, its rules are in force there too.
    return [[rule for rule in alive if rule.keys <= context] for context in contexts]
