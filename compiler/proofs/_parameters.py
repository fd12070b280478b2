"""Parameters that are allowed values with which hard rules contradict each other (P419).

The policy is resolved anew with the ends of the range of a parameter, or with each of its choices: what contradicts
itself there, and not with the present value, is a finding that the same analysis confirms which every policy goes
through (compiler/outrank.py). For which other values this is so is then proved with the parameter as a variable, by
linear arithmetic (compiler/counts), or by halving: where rules ask for more the smaller the parameter is, what
contradicts itself with one value does so with all smaller ones. Values between the ends are looked for by arithmetic.

One parameter is changed at a time, and the others keep their values. Looked at are the parameters of the main file.
Those of imported files are looked at where these are checked; parameters of rules have no ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import ceil, floor
from typing import TYPE_CHECKING

from bylaw.compiler.contradiction import Contradiction, Open, contradiction
from bylaw.compiler.conversations import Conversations
from bylaw.compiler.demands import Demand
from bylaw.compiler.outrank_messages import span_of
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.proofs._revalued import Conflict, Ids, Policies, Value, hard, shown, value_of, values_to_try
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.logic import reads_events
from bylaw.spec.regulator import RegulatorSet

if TYPE_CHECKING:  # only where a number has a range
    from bylaw.compiler.counts.linear import Range

MOST_CHOICES = 8
MOST_VALUES = 100
"""Whole values of a range that are tried one by one."""
MOST_STEPS = 4
"""Sets of rules that are found one after the other on the way from an end of a range to the present value."""
MOST_PAIRS = 500
"""Pairs of rules of which values between the ends of a range are looked for."""


def all_findings(view: PolicyView, items: Sequence[ast.ParamDecl]) -> Iterator[Finding]:
    """P419 for each set of rules and each parameter of which some allowed value makes them contradict each other."""
    values = {item.name.text: values_to_try(item) for item in items}
    policies: Policies | None = None
    for item in items:
        if not values[item.name.text]:
            continue
        if view.is_late:
            yield Undecided(_about(item), "cap on time")
            continue
        policies = policies or Policies(view)
        yield from _Parameter(policies, item, values[item.name.text]).run()


def _about(item: ast.ParamDecl) -> str:
    return f"whether the rules can be obeyed with every value that `{item.name.text}` is allowed"


@dataclass(frozen=True, slots=True)
class _Where:
    """For which values, in words; one of them; and the range that would be left, where it is one."""

    words: str
    value: Value
    left: tuple[float, float] | None = None


@dataclass(slots=True)
class _Parameter:
    """The questions about one parameter; `told` are the rules that have been told to contradict each other, and for
    which values."""

    policies: Policies
    item: ast.ParamDecl
    values: Sequence[Value]
    told: set[tuple[Ids, str]] = field(default_factory=set)
    undecided: set[str] = field(default_factory=set)
    opened: RewardProgram | None = None
    lowered: dict[Value, tuple[RegulatorSet, RewardProgram] | str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.item.name.text

    def run(self) -> Iterator[Finding]:
        """All findings for this parameter."""
        if len(self.values) > MOST_CHOICES:
            yield Undecided(_about(self.item), "too many choices to be tried")
            return
        present = value_of(self.item.default)
        assert present is not None
        now = self.lowered[present] = self.policies.now()
        if isinstance(self.item.allowed, ast.NumberRange):
            yield from self._in_range(hard(now[1]))
        else:
            yield from self._chosen(hard(now[1]))
        for why in sorted(self.undecided):
            yield Undecided(_about(self.item), why)

    def _chosen(self, now: list[RewardTerm]) -> Iterator[Diagnostic]:
        """What is found with one of a few values, and told of all for which it is the same."""
        several: dict[str, list[tuple[Value, Conflict]]] = {}
        for value in self.values:
            if self._changes(value, now):
                for each in self._conflicts(value):
                    several.setdefault(each.found.message, []).append((value, each))
        for pairs in several.values():
            where = " or ".join(shown(value) for value, _ in pairs)
            yield self._finding(_Where(f"where `{self.name}` is {where}", pairs[0][0]), pairs[0][1])

    # ------------------------------------------------------------------------------------------------------ policies
    def _at(self, value: Value) -> tuple[RegulatorSet, RewardProgram] | str:
        """The policy with another value of the parameter."""
        if value not in self.lowered:
            default = self.item.default
            named = {"value": value, "percent": False} if isinstance(default, ast.Number) else {"value": value}
            item = self.item.changed(default=default.changed(**named))
            self.lowered[value] = self.policies.lowered(self._with(item))
        return self.lowered[value]

    def _changes(self, value: Value, now: list[RewardTerm]) -> bool:
        """Whether hard rules say something else with a value."""
        at = self._at(value)
        if isinstance(at, str):
            self.undecided.add(f"with {shown(value)} something else is wrong: {at}")
            return False
        return hard(at[1]) != now

    def _with(self, item: ast.ParamDecl) -> ast.Module:
        module = self.policies.view.module
        return module.changed(items=tuple(item if each is self.item else each for each in module.items))

    def _conflicts(self, value: Value) -> list[Conflict]:
        """What contradicts itself with a value, and not with the present one."""
        at = self._at(value)
        if isinstance(at, str):
            return []
        found, undecided = self.policies.conflicts(*at)
        self.undecided |= {note for each in undecided for note in each.notes}
        return found

    def _demands(self, value: Value, members: Ids) -> list[Demand]:
        at = self._at(value)
        if isinstance(at, str):
            return []
        return [Demand.of(term) for term in at[1].terms if term.id in members and term.kind == "hard"]

    def _contradicts(self, value: Value, members: Ids) -> Contradiction | Open | None:
        """What is known of some rules with a value."""
        demands = self._demands(value, members)
        if len(demands) < len(members):
            return Open((), ("with this value some of it is a limit",))
        if any(reads_events(demand.obeyed) for demand in demands):
            at = self._at(value)
            assert not isinstance(at, str)
            return Conversations.of(at[0]).contradiction(demands, self.policies.view.witnesses)
        if not all(demand.reads_only_the_answer for demand in demands):
            return Open(tuple(range(len(demands))), ("it depends on facts",))
        return contradiction(demands, self.policies.view.witnesses)

    # -------------------------------------------------------------------------------------------------------- ranges
    def _in_range(self, now: list[RewardTerm]) -> Iterator[Diagnostic]:
        assert isinstance(self.item.allowed, ast.NumberRange)
        ends = float(self.item.allowed.low.amount), float(self.item.allowed.high.amount)
        from_ends = [end for end in ends if end != self._present() and self._changes(end, now)]
        if not from_ends:
            return
        from bylaw.compiler.counts.parameters import fact_of, with_facts

        opened = self.policies.lowered(with_facts(self.policies.view.module, [self.name]))
        self.opened = None if isinstance(opened, str) else opened[1]
        fact = fact_of(self.name)
        for end in from_ends:
            yield from self._inwards(end, fact, ends)
        if self.opened is not None:
            yield from self._between(self.opened, fact, ends)

    def _inwards(self, end: float, fact: str, ends: tuple[float, float]) -> Iterator[Diagnostic]:
        """What is found with an end of the range, then with the first value of which it says nothing, and so on."""
        value, is_low = end, end < self._present()
        for _ in range(MOST_STEPS):
            found = [(self._where(value, is_low, each, fact, ends), each) for each in self._conflicts(value)]
            for where, each in found:
                yield from self._told(where, value, each)
            left = [where.left[0] if is_low else where.left[1] for where, _ in found if where.left is not None]
            if not left or self.policies.view.is_late:
                return
            value = max(left) if is_low else min(left)
            if value == self._present():
                return

    def _told(self, where: _Where, value: float, each: Conflict) -> Iterator[Diagnostic]:
        """The finding, once, with what is seen with the value of `where`, or else with `value`, where it was seen."""
        if (each.members, where.words) in self.told:
            return
        self.told.add((each.members, where.words))
        if where.value == value:
            yield self._finding(where, each)
            return
        again = [own for own in self._conflicts(where.value) if own.members == each.members]
        yield self._finding(where, again[0]) if again else self._finding(replace(where, value=value), each)

    def _where(self, value: float, is_low: bool, each: Conflict, fact: str, ends: tuple[float, float]) -> _Where:
        """For which values rules contradict each other that do so with one below the present one, or above it."""
        from bylaw.compiler.counts.directions import direction, reads
        from bylaw.compiler.counts.proofs import counts_contradiction_over

        if self.opened is None:
            return self._one_by_one(value, is_low, each.members, ends)
        terms = [term for term in self.opened.terms if term.id in each.members]
        demands = [Demand.of(term) for term in terms if term.kind == "hard"]
        if len(demands) < len(each.members) or any(reads(part, fact) for own in demands for part in own.context):
            return self._one_by_one(value, is_low, each.members, ends)
        statements = [demand.obeyed for demand in demands]
        edge, left = value, None
        if direction(statements, fact) == (1 if is_low else -1) and self._is_whole(ends):
            edge = self._last(value, each.members)
            left = (edge + 1, ends[1]) if is_low else (ends[0], edge - 1)
        proof = counts_contradiction_over(statements, {fact: ends})
        if proof is not None and proof.holds_for(edge) and not proof.holds_for(self._present()):
            near = edge if left else _nearest(proof.ranges, self._present())
            return _Where(proof.text, edge if near is None else near, left)
        if left is None or edge == value == ends[not is_low]:
            return _Where(f"where `{self.name}` is {shown(value)}", value, left)
        return _Where(f"for every `{self.name}` {'up to' if is_low else 'from'} {edge:g}", edge, left)

    def _one_by_one(self, value: float, is_low: bool, members: Ids, ends: tuple[float, float]) -> _Where:
        """The whole values from here towards the present one, each tried, where it cannot be a variable."""
        edge, left = value, None
        if self._is_whole(ends):
            step = 1.0 if is_low else -1.0
            for _ in range(MOST_VALUES):
                if edge + step == self._present() or self.policies.view.is_late:
                    break
                if not any(each.members == members for each in self._conflicts(edge + step)):
                    break
                edge += step
            left = (edge + 1, ends[1]) if is_low else (ends[0], edge - 1)
        if edge == value:
            return _Where(f"where `{self.name}` is {shown(value)}", value, left)
        low, high = sorted((value, edge))
        return _Where(f"for every whole `{self.name}` from {low:g} to {high:g}", edge, left)

    def _present(self) -> float:
        """The present value of a number."""
        present = value_of(self.item.default)
        assert isinstance(present, float)
        return present

    def _is_whole(self, ends: tuple[float, float]) -> bool:
        return all(each == int(each) for each in (*ends, self._present()))

    def _last(self, value: float, members: Ids) -> float:
        """The value nearest to the present one that is proved; everything between it and `value` is proved with it."""
        bad, good = int(value), int(self._present())
        while abs(good - bad) > 1 and not self.policies.view.is_late:
            middle = (good + bad) // 2
            if isinstance(self._contradicts(float(middle), members), Contradiction):
                bad = middle
            else:
                good = middle
        return float(bad)

    def _between(self, program: RewardProgram, fact: str, ends: tuple[float, float]) -> Iterator[Diagnostic]:
        """Values that are not seen from the ends, because some rule asks neither for less nor for more."""
        from bylaw.compiler.counts.directions import direction, reads
        from bylaw.compiler.counts.proofs import counts_contradiction_over

        demands = [Demand.of(term) for term in program.terms if term.kind == "hard"]
        demands = [each for each in demands if not any(reads(part, fact) for part in each.context)]
        open_ = [demand for demand in demands if reads(demand.obeyed, fact)]
        if direction([demand.obeyed for demand in open_], fact) is not None:
            return
        present = self._present()
        for group in _groups(open_, demands):
            if self.policies.view.is_late:
                self.undecided.add("cap on time")
                return
            proof = counts_contradiction_over([demand.obeyed for demand in group], {fact: ends})
            if proof is None or proof.holds_for(present):
                continue
            value = _nearest(proof.ranges, present)
            names = frozenset(group[number].term.id for number in proof.statements)
            if value is None or any(members == names for members, _ in self.told):
                continue
            same = [each for each in self._conflicts(value) if each.members == names]
            if not same:
                self.undecided.add(f"{_listed(names)} contradict each other {proof.text}, which was not confirmed")
            for each in same[:1]:
                yield from self._told(_Where(proof.text, value), value, each)

    # ------------------------------------------------------------------------------------------------------ messages
    def _finding(self, where: _Where, each: Conflict) -> Diagnostic:
        there = self.policies.view.program
        marks = [Label(span_of(there.term(name).extent), words) for name, words in each.marks]
        present = value_of(self.item.default)
        assert present is not None
        is_fine = self._contradicts(present, each.members) is None
        them = "it" if len(each.members) == 1 else f"{'both' if len(each.members) == 2 else 'all'} of them"
        now = f"`{self.name}` is {shown(present)} now" + (f", where an answer can obey {them}" if is_fine else "")
        tried = shown(where.value)
        return Diagnostic(
            "P419",
            Severity.WARNING,
            f"{where.words}, {each.found.message}",
            Label((self.item.allowed or self.item.type).span, f"with {tried}, which is allowed, ..."),
            tuple(marks),
            (f"{now}; with {tried}:", *each.found.notes),
            self._fix(where),
        )

    def _fix(self, where: _Where) -> Fix:
        if where.left is None or self.item.allowed is None:
            return Fix("allow fewer values, or change one of the rules")
        written = "between {:g} and {:g}".format(*where.left)
        return Fix(f"write `{written}`, or change one of the rules", self.item.allowed.span, written)


def _groups(open_: Sequence[Demand], demands: Sequence[Demand]) -> Iterator[list[Demand]]:
    """Rules in which the parameter stands: alone, with each other one, and with all that are in force with it."""
    for own in open_:
        yield [own]
        near = [each for each in demands if each is not own and each.may_meet(own)]
        yield from ([own, each] for each in near[:MOST_PAIRS])
        yield [own, *(each for each in near if each.is_in_force_with(own))]


def _nearest(ranges: Sequence[Range], present: float) -> float | None:
    """A value that lies in one of the ranges, the nearest whole one to the present value where there is one."""
    found: list[float] = []
    for each in ranges:
        assert each.low is not None
        assert each.high is not None
        low, high = float(each.low), float(each.high)
        inside = (floor(low) + 1.0, low) if present < low else (ceil(high) - 1.0, high)
        near = [value for value in (round(inside[1]), *inside, (low + high) / 2) if each.holds(value)]
        found += [float(value) for value in near[:1]]
    return min(found, key=lambda value: abs(value - present), default=None)


def _listed(names: Ids) -> str:
    return " and ".join(f"`{name}`" for name in sorted(names))
