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
from typing import TYPE_CHECKING, TypeAlias

from bylaw.compiler.contradiction import Contradiction, Open, contradiction
from bylaw.compiler.conversations import Conversations, is_about_events
from bylaw.compiler.defeat import settle
from bylaw.compiler.demands import Demand
from bylaw.compiler.lower import lower
from bylaw.compiler.outrank import settle_conflicts
from bylaw.compiler.outrank_messages import span_of
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.compiler.verify import verify
from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.loader import Loaded, load
from bylaw.spec.parser import ParseResult
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source

if TYPE_CHECKING:  # only where a number has a range
    from bylaw.compiler.counts.linear import Range

CODES = ("P419",)

MOST_CHOICES = 8
MOST_PAIRS = 500
"""Pairs of rules of which values between the ends of a range are looked for."""
Value: TypeAlias = float | str | bool
Ids: TypeAlias = frozenset[str]


def find(view: PolicyView) -> Iterator[Finding]:
    """P419 for each set of rules and each parameter of which some allowed value makes them contradict each other."""
    items = [item for item in view.module.items if isinstance(item, ast.ParamDecl)]
    values = {item.name.text: _values(item) for item in items}
    policies: _Policies | None = None
    for item in items:
        if not values[item.name.text]:
            continue
        if view.is_late:
            yield Undecided(_about(item), "cap on time")
            continue
        policies = policies or _Policies(view)
        yield from _Parameter(policies, item, values[item.name.text]).run()


def _about(item: ast.ParamDecl) -> str:
    return f"whether the rules can be obeyed with every value that `{item.name.text}` is allowed"


def _values(item: ast.ParamDecl) -> tuple[Value, ...]:
    """The values to be tried: the ends of a range, or all choices; without the present one."""
    found: tuple[Value, ...] = ()
    match item.allowed, item.default:
        case ast.NumberRange(low, high), ast.Number():
            found = (float(low.amount), float(high.amount))
        case ast.Choices(options), _:
            found = tuple(
                float(each.amount) if isinstance(each, ast.Number) else each.value
                for each in options.items
                if isinstance(each, ast.Number | ast.Text)
            )
        case None, ast.Bool(value):
            found = (not value,)
    return tuple(each for each in dict.fromkeys(found) if each != _value(item.default))


def _value(literal: ast.Literal) -> Value | None:
    match literal:
        case ast.Number():
            return float(literal.amount)
        case ast.Text(value) | ast.Bool(value):
            return value
    return None


@dataclass(frozen=True, slots=True)
class _Conflict:
    """A finding of the analysis that every policy goes through, and the ids of the rules that it is about."""

    found: Diagnostic
    members: Ids
    marks: tuple[tuple[str, str], ...]
    """(id, words) of each mark."""


@dataclass(frozen=True, slots=True)
class _Where:
    """For which values, in words; one of them; and the range that would be left, where it is one."""

    words: str
    value: Value
    left: tuple[float, float] | None = None


@dataclass(slots=True)
class _Policies:
    """The policy with other values of a parameter."""

    view: PolicyView
    loaded: Loaded | None = None
    present: set[str] | None = None

    def lowered(self, module: ast.Module) -> tuple[RegulatorSet, RewardProgram] | str:
        """The policy with another main file, before levels are settled; or what is wrong with it."""
        if self.loaded is None:
            self.loaded = _loaded(self.view)
        main = replace(self.loaded.main, module=module)
        resolution = resolve(replace(self.loaded, main=main))
        settled = settle(resolution.regulators) if resolution.ok else None
        said = (*resolution.diagnostics, *(settled.diagnostics if settled is not None else ()))
        wrong = next((each for each in said if each.is_error), None)
        if wrong is not None or settled is None:
            return "" if wrong is None else wrong.message
        return resolution.regulators, verify(lower(resolution.regulators, settled))

    def conflicts(self, policy: RegulatorSet, program: RewardProgram) -> tuple[list[_Conflict], list[Diagnostic]]:
        """What is new against the present policy: P401 and P403, and what was not decided."""
        if self.present is None:
            now = self.lowered(self.view.module)
            assert not isinstance(now, str), now
            self.present = {_identity(each) for each in self._settled(*now)}
        news = [each for each in self._settled(policy, program) if _identity(each) not in self.present]
        found = [_conflict(each, program) for each in news if each.code in ("P401", "P403")]
        return found, [each for each in news if each.code == "P402"]

    def _settled(self, policy: RegulatorSet, program: RewardProgram) -> tuple[Diagnostic, ...]:
        return settle_conflicts(program, self.view.witnesses, Conversations.of(policy))[1]


def _loaded(view: PolicyView) -> Loaded:
    """The policy with what it imports."""
    # Texts stand behind each other in the order in which they are read, so that the main file keeps its length.
    source = Source("", " " * view.module.span.end)
    return load(ParseResult(source, view.module, ()), None)


def _identity(each: Diagnostic) -> str:
    return f"{each.code} {each.message}"


def _conflict(found: Diagnostic, program: RewardProgram) -> _Conflict:
    marks: list[tuple[str, str]] = []
    for mark in (found.primary, *found.secondary):
        there = [term for term in program.terms if span_of(term.extent) == mark.span]
        named = [term for term in there if {f"`{term.id}`", f"`{term.rule}`"} & set(_names(found.message))]
        marks += [(term.id, mark.message) for term in (named or there)[:1]]
    return _Conflict(found, frozenset(name for name, _ in marks), tuple(marks))


def _names(message: str) -> list[str]:
    return [f"`{part}`" for part in message.split("`")[1::2]]


@dataclass(slots=True)
class _Parameter:
    """The questions about one parameter; `told` are the rules that have been told to contradict each other, and for
    which values."""

    policies: _Policies
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
        present = _value(self.item.default)
        assert present is not None
        now = self._at(present)
        if isinstance(now, str):
            yield Undecided(_about(self.item), now)
            return
        is_used = False
        several: dict[str, list[tuple[Value, _Conflict]]] = {}
        for value in self.values:
            at = self._at(value)
            if isinstance(at, str):
                yield Undecided(_about(self.item), f"with {_shown(value)} there is something else: {at}")
            elif _hard(at[1]) != _hard(now[1]):
                is_used = True
                for each in self._conflicts(value):
                    several.setdefault(_identity(each.found), []).append((value, each))
        if isinstance(self.item.allowed, ast.NumberRange):
            yield from self._in_range(is_used, [pair for pairs in several.values() for pair in pairs])
        else:
            for pairs in several.values():
                where = " or ".join(_shown(value) for value, _ in pairs)
                yield self._finding(_Where(f"where `{self.name}` is {where}", pairs[0][0]), pairs[0][1])
        for why in sorted(self.undecided):
            yield Undecided(_about(self.item), why)

    # ------------------------------------------------------------------------------------------------------ policies
    def _at(self, value: Value) -> tuple[RegulatorSet, RewardProgram] | str:
        """The policy with another value of the parameter."""
        if value not in self.lowered:
            default = self.item.default
            if value != _value(default):
                named = {"value": value, "percent": False} if isinstance(default, ast.Number) else {"value": value}
                default = default.changed(**named)
            self.lowered[value] = self.policies.lowered(self._with(self.item.changed(default=default)))
        return self.lowered[value]

    def _with(self, item: ast.ParamDecl) -> ast.Module:
        module = self.policies.view.module
        return module.changed(items=tuple(item if each is self.item else each for each in module.items))

    def _conflicts(self, value: Value) -> list[_Conflict]:
        """What contradicts itself with a value, and not with the present one."""
        at = self._at(value)
        if isinstance(at, str):
            return []
        found, undecided = self.policies.conflicts(*at)
        self.undecided |= {note for each in undecided for note in each.notes}
        return found

    def _demands(self, value: Value, members: Ids) -> list[Demand]:
        at = self._at(value)
        return [] if isinstance(at, str) else [Demand.of(term) for term in at[1].terms if term.id in members]

    def _contradicts(self, value: Value, members: Ids) -> Contradiction | Open | None:
        """What is known of some rules with a value."""
        demands = self._demands(value, members)
        if any(is_about_events(demand.obeyed) for demand in demands):
            at = self._at(value)
            assert not isinstance(at, str)
            return Conversations.of(at[0]).contradiction(demands)
        if not all(demand.reads_only_the_answer for demand in demands):
            return Open(tuple(range(len(demands))), ("it depends on facts",))
        return contradiction(demands, self.policies.view.witnesses)

    # -------------------------------------------------------------------------------------------------------- ranges
    def _in_range(self, is_used: bool, found: Sequence[tuple[Value, _Conflict]]) -> Iterator[Diagnostic]:
        ends = _ends(self.item)
        if ends is None or not is_used:
            return
        from bylaw.compiler.counts.parameters import fact_of, with_facts

        opened = self.policies.lowered(with_facts(self.policies.view.module, [self.name]))
        self.opened = None if isinstance(opened, str) else opened[1]
        fact = fact_of(self.name)
        for value, each in found:
            assert isinstance(value, float)
            yield from self._told(self._where(value, each, fact, ends), value, each)
        if self.opened is not None:
            yield from self._between(self.opened, fact, ends)

    def _told(self, where: _Where, value: float, each: _Conflict) -> Iterator[Diagnostic]:
        """The finding, once, with what is seen with the value of `where`, or else with `value`, where it was seen."""
        if (each.members, where.words) in self.told:
            return
        self.told.add((each.members, where.words))
        if where.value == value:
            yield self._finding(where, each)
            return
        again = [own for own in self._conflicts(where.value) if own.members == each.members]
        yield self._finding(where, again[0]) if again else self._finding(replace(where, value=value), each)

    def _where(self, value: float, each: _Conflict, fact: str, ends: tuple[float, float]) -> _Where:
        """For which values rules contradict each other that do so with an end of the range."""
        from bylaw.compiler.counts.directions import direction, reads
        from bylaw.compiler.counts.proofs import counts_contradiction_over

        alone = _Where(f"where `{self.name}` is {_shown(value)}", value)
        terms = [] if self.opened is None else [term for term in self.opened.terms if term.id in each.members]
        demands = [Demand.of(term) for term in terms if term.kind == "hard"]
        if len(demands) < len(each.members) or any(reads(part, fact) for own in demands for part in own.context):
            return alone
        statements = [demand.obeyed for demand in demands]
        is_low, edge, left = value == ends[0], value, None
        if direction(statements, fact) == (1 if is_low else -1) and self._is_whole(ends):
            edge = self._last(value, each.members)
            left = (edge + 1, ends[1]) if is_low else (ends[0], edge - 1)
        proof = counts_contradiction_over(statements, {fact: ends})
        if proof is not None and proof.holds_for(edge) and not proof.holds_for(self._present()):
            shown = edge if left else _nearest(proof.ranges, self._present())
            return _Where(proof.text, edge if shown is None else shown, left)
        if edge == value:
            return replace(alone, left=left)
        return _Where(f"for every `{self.name}` {'up to' if is_low else 'from'} {edge:g}", edge, left)

    def _present(self) -> float:
        """The present value of a number."""
        present = _value(self.item.default)
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
    def _finding(self, where: _Where, each: _Conflict) -> Diagnostic:
        there = self.policies.view.program
        marks = [Label(span_of(there.term(name).extent), words) for name, words in each.marks]
        present = _value(self.item.default)
        assert present is not None
        is_fine = self._contradicts(present, each.members) is None
        them = "it" if len(each.members) == 1 else f"{'both' if len(each.members) == 2 else 'all'} of them"
        now = f"`{self.name}` is {_shown(present)} now" + (f", where an answer can obey {them}" if is_fine else "")
        shown = _shown(where.value)
        return Diagnostic(
            "P419",
            Severity.WARNING,
            f"{where.words}, {each.found.message}",
            Label((self.item.allowed or self.item.type).span, f"with {shown}, which is allowed, ..."),
            tuple(marks),
            (f"{now}; with {shown}:", *each.found.notes),
            self._fix(where),
        )

    def _fix(self, where: _Where) -> Fix:
        if where.left is None or self.item.allowed is None:
            return Fix("allow fewer values, or change one of the rules")
        written = "between {:g} and {:g}".format(*where.left)
        return Fix(f"write `{written}`, or change one of the rules", self.item.allowed.span, written)


def _hard(program: RewardProgram) -> list[RewardTerm]:
    return [term for term in program.terms if term.kind == "hard"]


def _ends(item: ast.ParamDecl) -> tuple[float, float] | None:
    from bylaw.compiler.counts.parameters import limits_of

    return limits_of(ast.Module(None, (item,), item.span)).get(item.name.text)


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


def _shown(value: Value | None) -> str:
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"
