"""Rules that add nothing to others, and soft rules that no allowed answer can follow.

A rule is redundant where the hard rules of its level and of stronger ones that are in force wherever it is already
imply it: no answer obeys them and breaks it. Rules are asked about from the last and weakest to the first, and what is
found redundant is left out from then on, so that of two rules that say the same one remains. Texts settle nearly all
of the questions (compiler/witnesses.py); the rest is put to automata.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bylaw.compiler.contradiction import Contradiction, Open, contradiction
from bylaw.compiler.demands import Demand
from bylaw.compiler.outrank_messages import quoted, shortest, shows, span_of
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.compiler.witnesses import Witnesses
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity

CODES = ("P409", "P410")
JOINTS = (" ", "\n")
MOST_ALONE = 8
"""Rules that are asked one by one whether they imply another, before all are asked together."""
JOINT_LIMIT = 10_000

Group = tuple[frozenset[str], int]
"""Rules of one condition and one level (its rank): the same hard rules are in force with all of them."""


def find(view: PolicyView) -> Iterator[Finding]:
    """P409 and P410 for what adds nothing, P403 for soft rules that cannot be followed."""
    rank = {level: place for place, level in enumerate(view.program.levels)}
    demands = [Demand.of(term) for term in view.program.terms if term.kind in ("hard", "soft")]
    alive = [demand for demand in demands if not demand.is_dead]
    told = set[str]()
    for demand, first in _said_twice(alive):
        told.add(demand.term.id)
        yield _duplicate(demand, first, "both read the same once names are resolved")
    about_answers = [demand for demand in alive if demand.reads_only_the_answer and demand.term.id not in told]
    if len(about_answers) > 1:
        yield from _Redundancy(view, about_answers, rank).run()


def _said_twice(demands: Sequence[Demand]) -> Iterator[tuple[Demand, Demand]]:
    """P410 for sentences that are not held against others by proof, and that are the same word for word."""
    seen: dict[Hashable, Demand] = {}
    for demand in demands:
        if demand.reads_only_the_answer and demand.term.kind == "hard":
            continue
        term = demand.term
        first = seen.setdefault((term.kind, term.level, demand.keys, demand.key), demand)
        if first is not demand:
            yield demand, first


@dataclass
class _Redundancy:
    """The questions about one policy; `removed` are the ids of what adds nothing."""

    view: PolicyView
    demands: Sequence[Demand]
    rank: Mapping[str, int]
    removed: set[str] = field(default_factory=set)

    @property
    def witnesses(self) -> Witnesses:
        return self.view.witnesses

    def run(self) -> Iterator[Finding]:
        """All findings. What is in a contradiction of its own is left out: everything follows from it."""
        groups: dict[Group, list[Demand]] = {}
        for demand in self.demands:
            groups.setdefault((demand.keys, self.rank[demand.term.level]), []).append(demand)
        in_force = {group: self._hard_in_force(group) for group in groups}
        for group, members in groups.items():
            groups[group] = list(self._unsettled(members, in_force[group], self._known))
        self._collect_texts(
            {
                group: [each for each in members if not self._is_known(each, in_force[group])]
                for group, members in groups.items()
            },
            in_force,
        )
        left = [
            (demand, in_force[group])
            for group, members in groups.items()
            for demand in self._unsettled(members, in_force[group], self._known)
        ]
        place = {demand.term.id: number for number, demand in enumerate(self.demands)}
        left.sort(key=lambda pair: (self.rank[pair[0].term.level], place[pair[0].term.id]), reverse=True)
        left.sort(key=lambda pair: pair[0].term.kind == "soft")  # so that soft rules are held against what remains
        found: list[Diagnostic] = []
        for number, (demand, hard) in enumerate(left):
            if self.view.is_late:
                yield Undecided("whether rules add something to others", "cap on time", len(left) - number)
                break
            for finding in self._ask(demand, hard):
                if isinstance(finding, Diagnostic):
                    found.append(finding)
                else:
                    yield finding
        self._try_all()  # for the next time, too
        yield from self._soft_twins()
        yield from reversed(found)

    def _soft_twins(self) -> Iterator[Finding]:
        """P410 for soft rules of one level and one condition that the same answers break, in whatever words."""
        alike: dict[Hashable, list[Demand]] = {}
        for demand in self.demands:
            if demand.term.kind == "soft" and demand.term.id not in self.removed:
                said = (*self.witnesses.known(demand.key), demand.term.level, demand.keys)
                alike.setdefault(said, []).append(demand)
        for members in alike.values():
            first = members[0]
            for demand in members[1:]:
                if demand.key != first.key and self._is_same(demand, [first]):
                    yield _duplicate(
                        demand, first, "proved by automata: no text obeys one of them and breaks the other"
                    )

    def _try_all(self) -> None:
        for demand in self.demands:
            self.witnesses.true_of(demand.obeyed, demand.key)

    def _hard_in_force(self, group: Group) -> list[Demand]:
        """The hard rules that are certain to be in force with a group, at its level or a stronger one."""
        keys, rank = group
        return [
            demand
            for demand in self.demands
            if demand.term.kind == "hard" and demand.keys <= keys and self.rank[demand.term.level] <= rank
        ]

    # -------------------------------------------------------------------------------------------------------- texts
    def _collect_texts(self, groups: Mapping[Group, list[Demand]], in_force: Mapping[Group, list[Demand]]) -> None:
        """Texts that break one rule and, most of them, obey the others; and texts that follow a soft rule."""
        for group, members in groups.items():
            if not members:
                continue
            base = self.witnesses.combined([demand.obeyed for demand in in_force[group]]) if in_force[group] else ""
            for demand in members:
                sides = [demand.broken(), demand] if demand.term.kind == "soft" else [demand.broken()]
                for each in sides:
                    text = self.witnesses.likely(each.obeyed, each.key)
                    if text is None:
                        continue
                    self.witnesses.add(text)
                    if base:
                        for joint in JOINTS:
                            self.witnesses.add(base + joint + text)
                            self.witnesses.add(text + joint + base)
        self._try_all()

    def _known(self, demand: Demand) -> tuple[int, int]:
        return self.witnesses.known(demand.key)

    def _is_known(self, demand: Demand, hard: Sequence[Demand]) -> bool:
        """Whether it was proved before, perhaps of an earlier version of the policy, that others imply it."""
        keys = {each.key for each in hard if each.term.id != demand.term.id} | {demand.broken().key}
        return self.witnesses.known_conflict(keys) is not None

    def _unsettled(
        self, members: Sequence[Demand], hard: Sequence[Demand], told: Callable[[Demand], tuple[int, int]]
    ) -> Iterator[Demand]:
        """The rules of which no known text shows that they add something and, soft ones, that they can be followed."""
        everything = (1 << len(self.witnesses.texts)) - 1
        if not members:
            return
        obeying = [told(demand)[0] for demand in hard]
        before, after = [everything], [everything]
        for bits in obeying:
            before.append(before[-1] & bits)
        for bits in reversed(obeying):
            after.append(after[-1] & bits)
        after.reverse()
        place = {demand.term.id: number for number, demand in enumerate(hard)}
        for demand in members:
            number = place.get(demand.term.id)
            others = before[-1] if number is None else before[number] & after[number + 1]
            true, false = told(demand)
            if not others & false or (demand.term.kind == "soft" and not others & true):
                yield demand

    # ---------------------------------------------------------------------------------------------------- questions
    def _ask(self, demand: Demand, hard: Sequence[Demand]) -> Iterator[Finding]:
        others = [each for each in hard if each.term.id != demand.term.id and each.term.id not in self.removed]
        others.sort(key=lambda each: -self.rank[each.term.level])  # the last ones are the likeliest to be named
        if not others or isinstance(contradiction(others, self.witnesses), Contradiction):
            return
        if demand.term.kind == "soft":
            found = contradiction([*others, demand], self.witnesses)
            if isinstance(found, Contradiction):
                if len(others) in found.members and len(found.members) > 1:
                    yield _unfollowable(demand, _members(others, found), found.proof, self.witnesses)
                return
        found = self._implied(demand, others)
        if isinstance(found, Open):
            if len(others) in found.members:  # otherwise the others are not decided among themselves: P402 says so
                yield Undecided(f"whether `{demand.term.id}` adds something to other rules", "; ".join(found.why))
        elif found is not None and len(found.members) > 1:  # alone: every answer obeys it, which P418 says
            reasons = _members(others, found)
            if self._does_more(demand, reasons):
                return
            self.removed.add(demand.term.id)
            if self._is_same(demand, reasons):
                yield _duplicate(demand, reasons[0], found.proof)
            else:
                yield _redundant(demand, reasons, found.proof, self.witnesses)

    def _does_more(self, demand: Demand, reasons: Sequence[Demand]) -> bool:
        """Whether a rule has an effect besides what it asks for: it lifts others, has its own answer to a violation, or
        cannot be lifted as easily as the rules that imply it."""
        rules = {regulator.rule: regulator for regulator in self.view.policy.regulators}
        own, others = rules[demand.term.rule], [rules[each.term.rule] for each in reasons]
        if all(own.rule == other.rule for other in others):
            return False
        lifts = bool(own.overrides) or any(
            waiver.by == own.rule for term in self.view.program.terms for waiver in (*term.waivers, *term.eased)
        )
        answers = own.on_violation is not None and any(own.on_violation != other.on_violation for other in others)
        return lifts or answers or any(own.waivable != other.waivable for other in others)

    def _implied(self, demand: Demand, others: Sequence[Demand]) -> Contradiction | Open | None:
        """What proves that the others imply a rule: one of them alone, if that is enough."""
        broken = demand.broken()
        known = self.witnesses.known_conflict({broken.key, *(each.key for each in others)})
        if known is not None:
            return contradiction([*others, broken], self.witnesses, JOINT_LIMIT)
        false_of = self.witnesses.false_of(demand.obeyed, demand.key)
        likely = [n for n, o in enumerate(others) if not self.witnesses.true_of(o.obeyed, o.key) & false_of]
        for number in reversed(likely[-MOST_ALONE:]):
            found = contradiction([others[number], broken], self.witnesses)
            if isinstance(found, Contradiction) and len(found.members) > 1:
                return Contradiction((number, len(others)), found.proof)
        return contradiction([*others, broken], self.witnesses, JOINT_LIMIT)

    def _is_same(self, demand: Demand, reasons: Sequence[Demand]) -> bool:
        """Whether a rule and the only one that implies it say the same, in the same place."""
        if len(reasons) > 1:
            return False
        term, other = demand.term, reasons[0].term
        if (term.kind, term.level, demand.keys) != (other.kind, other.level, reasons[0].keys):
            return False
        if demand.key == reasons[0].key:
            return True
        both_ways = ((demand, reasons[0].broken()), (reasons[0], demand.broken()))
        return all(isinstance(contradiction(pair, self.witnesses), Contradiction) for pair in both_ways)


def _members(others: Sequence[Demand], found: Contradiction) -> list[Demand]:
    return [others[number] for number in found.members if number < len(others)]


# ------------------------------------------------------------------------------------------------------- messages
def _redundant(demand: Demand, reasons: Sequence[Demand], proof: str, witnesses: Witnesses) -> Diagnostic:
    by = _names(reasons)
    notes = []
    text = shortest([demand.broken()], witnesses)
    if text is not None:
        one_of = "" if len(reasons) == 1 else "one of "
        notes.append(f"shortest text that breaks `{demand.term.id}` is {quoted(text)}; it breaks {one_of}{by} too")
    if demand.term.kind == "soft":
        notes.append(f"so its weight is the same for every answer that {by} allow{'s' if len(reasons) == 1 else ''}")
    return Diagnostic(
        "P409",
        Severity.WARNING,
        f"`{demand.term.id}` adds nothing: whatever obeys {by} obeys it",
        Label(span_of(demand.term.extent), "already asked for ..."),
        tuple(
            Label(span_of(each.term.extent), "... and this" if n else "... by this") for n, each in enumerate(reasons)
        ),
        (*notes, _why(demand, proof)),
        Fix(f"remove it, or ask for more than {by}"),
    )


def _duplicate(demand: Demand, first: Demand, proof: str) -> Diagnostic:
    soft = demand.term.kind == "soft"
    note = ("their weights add up",) if soft else ()
    return Diagnostic(
        "P410",
        Severity.WARNING,
        f"`{demand.term.id}` says the same as `{first.term.id}`",
        Label(span_of(demand.term.extent), "the same answers break this ..."),
        (Label(span_of(first.term.extent), "... and this"),),
        (*note, _why(demand, proof)),
        Fix(f"remove `{demand.term.id}`" + (", or give one of them both weights" if soft else "")),
    )


def _why(demand: Demand, proof: str) -> str:
    """The proof, which takes the rule to be broken: nobody asks for what that needs."""
    if proof.startswith(("proved by", "both read")):
        return proof
    needed = proof.replace(" are asked for", " are needed").replace(" is asked for", " is needed")
    return f"to break `{demand.term.id}` alone: {needed}"


def _unfollowable(demand: Demand, reasons: Sequence[Demand], proof: str, witnesses: Witnesses) -> Diagnostic:
    by = _names(reasons)
    name = demand.term.id
    return Diagnostic(
        "P403",
        Severity.WARNING,
        f"`{name}` never takes effect: no answer that {by} allow{'s' if len(reasons) == 1 else ''} follows it",
        Label(span_of(demand.term.extent), "no text follows this and obeys ..."),
        tuple(Label(span_of(each.term.extent), "... and this" if n else "... this") for n, each in enumerate(reasons)),
        (*shows(reasons, by, f"it does not follow `{name}`", witnesses), proof),
        Fix("give it a condition under which it can be followed, or remove it"),
    )


def _names(demands: Sequence[Demand]) -> str:
    names = [f"`{demand.term.id}`" for demand in demands]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
