"""Defeat: which rule lifts which, and where.

Exceptions, permissions and `overrides` are settled here, in this order and each with its authority: it stands at the
level of what it lifts or at a stronger one, or that rule says that it is waivable. What they lift is written into
conditions, so that later stages know nothing about them, and remembered as waivers, so that every later message can
give the reason. That a stronger rule beats a weaker one which it contradicts is found by automata
(compiler/outrank.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from bylaw.compiler.permissions import Easing, eased_parts, parts_of
from bylaw.compiler.program import RewardTerm, Waiver
from bylaw.spec import catalog
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import (
    BooleanConstant,
    BooleanExpression,
    Extent,
    Holds,
    MessageText,
    Or,
    Phrase,
)
from bylaw.spec.logic import conjunction, conjuncts, meaning, negate
from bylaw.spec.regulator import PolicyException, Regulator, RegulatorSet, Waivability
from bylaw.spec.source import Span

PERMISSIONS = ("may", "need not")
OBLIGATIONS = ("must", "must not", "should", "should not")
ALWAYS = BooleanConstant(True)
LONGEST_CHAIN = 50
"""Exceptions to exceptions, and rules that override rules that override rules, in a row."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The regulators that remain (no permissions among them), each under its own condition; `waivers` and `eased`
    (permissions that lift a part of what is asked) by the id of the regulator."""

    regulators: tuple[Regulator, ...]
    waivers: Mapping[str, tuple[Waiver, ...]]
    eased: Mapping[str, tuple[Waiver, ...]]
    diagnostics: tuple[Diagnostic, ...]


def settle(policy: RegulatorSet) -> Settled:
    """Settles exceptions, then permissions, then overrides."""
    court = _Court(policy)
    court.hear_exceptions()
    court.hear_permissions()
    court.hear_overrides()
    remaining = tuple(r for r in court.regulators.values() if r.modality not in PERMISSIONS)
    waivers = {name: tuple(found) for name, found in court.waivers.items()}
    eased = {name: tuple(found) for name, found in court.eased.items()}
    return Settled(remaining, waivers, eased, tuple(court.found))


def waived(term: RewardTerm, waivers: tuple[Waiver, ...]) -> RewardTerm:
    """The term with these waivers and no others."""
    own = term.own if term.waivers else term.condition
    condition = conjunction((*conjuncts(own), *map(silenced, waivers)))
    return replace(term, condition=condition, own=own if waivers else None, waivers=waivers)


def silenced(waiver: Waiver) -> BooleanExpression:
    """Where a waiver leaves a term in force."""
    return BooleanConstant(False) if waiver.where is None else negate(waiver.where)


@dataclass
class _Court:
    """Everything that is still being settled; regulators by id, conditions without waivers."""

    policy: RegulatorSet
    regulators: dict[str, Regulator] = field(init=False)
    waivers: dict[str, list[Waiver]] = field(default_factory=dict)
    eased: dict[str, list[Waiver]] = field(default_factory=dict)
    found: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        suites = {suite.name: suite.prompts for suite in self.policy.suites}
        self.regulators = {r.id: _with_suite(r, suites) for r in self.policy.regulators}

    def of_rule(self, name: str) -> list[Regulator]:
        """The sentences of a rule."""
        return [regulator for regulator in self.regulators.values() if regulator.rule == name]

    def in_force(self, regulator: Regulator) -> BooleanExpression | None:
        """Where a sentence counts, as far as it has been settled; None for everywhere."""
        waivers = self.waivers.get(regulator.id, ())
        return conjunction((*conjuncts(regulator.condition), *map(silenced, waivers)))

    # ------------------------------------------------------------------------------------------------ exceptions
    def hear_exceptions(self) -> None:
        """Lifts rules where exceptions to them count; an exception to an exception restores the rule."""
        exceptions = {exception.name: exception for exception in self.policy.exceptions}
        rules = dict.fromkeys(regulator.rule for regulator in self.policy.regulators)
        edges = {name: [exception.target] for name, exception in exceptions.items()}
        extents = {name: exception.extent for name, exception in exceptions.items()}
        unusable = self._unusable(edges, extents, "exceptions to each other")
        for exception in self.policy.exceptions:
            target = exception.target
            if target not in rules and target not in exceptions:
                self._unknown(target, (*rules, *exceptions), exception.extent)
            elif target not in exceptions and not unusable:
                where = self._where_it_counts(exception, exceptions)
                for regulator in self.of_rule(target):
                    if self._allowed(exception.level, exception.extent, regulator):
                        self._waive(regulator, Waiver(exception.name, "exception", where))

    def _where_it_counts(
        self, exception: PolicyException, exceptions: Mapping[str, PolicyException]
    ) -> BooleanExpression | None:
        parts = list(conjuncts(exception.condition))
        for other in exceptions.values():
            if other.target == exception.name and self._allowed(other.level, other.extent, exception):
                parts.append(negate(self._where_it_counts(other, exceptions) or ALWAYS))
        return conjunction(tuple(parts))

    # ----------------------------------------------------------------------------------------------- permissions
    def hear_permissions(self) -> None:
        """`may` and `need not` lift the rules, or the parts of rules, that say the opposite.

        All are heard before any rule is changed, so that their order makes no difference.
        """
        targets = [r for r in self.regulators.values() if r.modality in OBLIGATIONS]
        granted: dict[str, list[tuple[Regulator, Easing]]] = {}
        for permission in [r for r in self.regulators.values() if r.modality in PERMISSIONS]:
            opposed = [(target, easing) for target in targets if (easing := eased_parts(permission, target))]
            if not opposed:
                self._error(
                    "P302",
                    f"this permission lifts nothing: no rule says the opposite of `{permission.rule}`",
                    Label(_span(permission.extent)),
                    notes=("`may X` lifts rules that forbid X; `need not X` lifts rules that ask for X",),
                )
            for target, easing in opposed:
                if self._allowed(permission.level, permission.extent, target):
                    granted.setdefault(target.id, []).append((permission, easing))
        for name, easings in granted.items():
            self._ease(self.regulators[name], easings)

    def _ease(self, target: Regulator, easings: list[tuple[Regulator, Easing]]) -> None:
        parts = parts_of(target)
        room: dict[int, list[BooleanExpression | None]] = {}
        for permission, easing in easings:
            where = self.in_force(permission)
            if easing.is_whole(parts):
                self._waive(target, Waiver(permission.rule, "permission", where))
                continue
            self.eased.setdefault(target.id, []).append(Waiver(permission.rule, "permission", where))
            for number, used in easing.parts.items():
                room.setdefault(number, []).append(conjunction((*conjuncts(where), *conjuncts(used))))
            if any(used is not None for used in easing.parts.values()):
                self._lifted_by_proof(permission, target)
        kept: list[BooleanExpression] = []
        for number, part in enumerate(parts):
            allowed = room.get(number, [])
            if None not in allowed:
                known = tuple(each for each in allowed if each is not None)
                kept.append(Or((*known, part)) if known else part)
        if not kept:  # each part is lifted by a permission of its own
            self._waive(target, Waiver(easings[0][0].rule, "permission"))
        elif room:
            self.regulators[target.id] = replace(target, obligation=conjunction(tuple(kept)))

    # ------------------------------------------------------------------------------------------------- overrides
    def hear_overrides(self) -> None:
        """Where a rule counts that overrides another one, the other does not: winners that win first."""
        rules = {regulator.rule: regulator for regulator in self.policy.regulators}
        edges = {name: list(regulator.overrides) for name, regulator in rules.items()}
        extents = {name: regulator.rule_extent for name, regulator in rules.items()}
        unusable = self._unusable(edges, extents, "rules that override each other")
        for winner in rules.values():
            for overridden in winner.overrides:
                if overridden not in rules:
                    self._unknown(overridden, tuple(rules), winner.rule_extent)
        for name in () if unusable else _in_order(edges):
            for overridden in edges[name]:
                if overridden in rules:
                    self._override(rules[name], overridden)

    def _override(self, winner: Regulator, name: str) -> None:
        counts = [self.in_force(regulator) for regulator in self.of_rule(winner.rule)]
        different = {meaning(each): each for each in counts}
        where = None if None in counts else _any(tuple(each for each in different.values() if each is not None))
        for regulator in self.of_rule(name):
            if self._allowed(winner.level, winner.rule_extent, regulator):
                self._waive(regulator, Waiver(winner.rule, "override", where))

    # --------------------------------------------------------------------------------------------------- helpers
    def _waive(self, regulator: Regulator, waiver: Waiver) -> None:
        self.waivers.setdefault(regulator.id, []).append(waiver)

    def _allowed(self, level: str, at: Extent, target: Regulator | PolicyException) -> bool:
        """Whether something at `level` may lift `target`; records P301 or P304."""
        is_exception = isinstance(target, PolicyException)
        about = f"exception `{target.name}`" if isinstance(target, PolicyException) else f"`{target.rule}`"
        waivable: Waivability = target.waivable
        if waivable.never:
            self._error(
                "P304",
                f"{about} is not waivable, so nothing lifts it",
                Label(_span(at)),
                (Label(_span(target.extent), "this says `not waivable`"),),
            )
            return False
        rank = {name: position for position, name in enumerate(self.policy.levels)}
        if waivable.implicitly or level in waivable.by or rank[level] <= rank[target.level]:
            return True
        self._error(
            "P301",
            f"`{level}` has no authority to lift {about}",
            Label(_span(at), f"this stands at level `{level}`"),
            (Label(_span(target.extent), f"this stands at level `{target.level}`"),),
            (
                f"chain of command: {' > '.join(self.policy.levels)}",
                f"the {'exception' if is_exception else 'rule'} can grant it: `waivable by {level}`",
            ),
        )
        return False

    def _unusable(self, edges: Mapping[str, list[str]], extents: Mapping[str, Extent], what: str) -> bool:
        """Records a P303 for each circle, or a P006 for a chain that is too long."""
        circular: set[str] = set()
        for start in edges:
            circle = [] if start in circular else _circle(start, edges)
            if circle:
                circular |= set(circle)
                first, *rest = circle
                marks = tuple(Label(_span(extents[name])) for name in rest)
                note = " -> ".join((*circle, first))
                self._error("P303", f"these are {what}", Label(_span(extents[first])), marks, (note,))
        if circular:
            return True
        depth: dict[str, int] = {}
        for name in _in_order(edges):
            depth.setdefault(name, 1)
            for target in edges[name]:
                depth[target] = max(depth.get(target, 1), depth[name] + 1)
                if depth[target] > LONGEST_CHAIN:
                    note = f"at most {LONGEST_CHAIN} may stand in a row"
                    message = "too many rules or exceptions lift each other in a row"
                    self._error("P006", message, Label(_span(extents[name])), notes=(note,))
                    return True
        return False

    def _lifted_by_proof(self, permission: Regulator, target: Regulator) -> None:
        self.found.append(
            Diagnostic(
                "P309",
                Severity.NOTE,
                f"`{permission.rule}` makes room in `{target.rule}`: nobody can use it and keep the rule",
                Label(_span(permission.extent), "answers that use this are allowed ..."),
                (Label(_span(target.extent), "... although they break this"),),
                ("proved by automata; say it in the words of the rule to lift the rule itself",),
            )
        )

    def _unknown(self, name: str, known: tuple[str, ...], at: Extent) -> None:
        nearest = catalog.nearest(name, known)
        fix = None if nearest is None else Fix(f"write `{nearest}`")
        note = "rules of an imported file are in force only with `include`, or where they are applied"
        self._error("P101", f"there is no rule called `{name}` in force", Label(_span(at)), (), (note,), fix)

    def _error(
        self,
        code: str,
        message: str,
        primary: Label,
        secondary: tuple[Label, ...] = (),
        notes: tuple[str, ...] = (),
        fix: Fix | None = None,
    ) -> None:
        self.found.append(Diagnostic(code, Severity.ERROR, message, primary, secondary, notes, fix))


def _with_suite(regulator: Regulator, suites: Mapping[str, tuple[str, ...]]) -> Regulator:
    """Where a limit is measured over a suite, it is about the prompts of the suite and no others."""
    if regulator.suite is None:
        return regulator
    prompts = tuple(Phrase(prompt) for prompt in suites[regulator.suite])
    asked = Holds("match", MessageText("prompt"), prompts)
    return replace(regulator, condition=conjunction((*conjuncts(regulator.condition), asked)))


def _any(items: tuple[BooleanExpression, ...]) -> BooleanExpression:
    return items[0] if len(items) == 1 else Or(items)


def _in_order(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """The names so that each comes after all that point to it (Kahn's algorithm); without those in a circle."""
    waiting = dict.fromkeys(edges, 0)
    for targets in edges.values():
        for target in targets:
            if target in waiting:
                waiting[target] += 1
    ready = [name for name, count in waiting.items() if not count]
    for name in ready:  # grows while it is gone through
        for target in edges[name]:
            if target in waiting:
                waiting[target] -= 1
                ready += [] if waiting[target] else [target]
    return ready


def _circle(start: str, edges: Mapping[str, Iterable[str]]) -> list[str]:
    """A way from a name back to itself, or nothing."""
    waiting, seen = [[start]], {start}
    while waiting:
        way = waiting.pop()
        for target in edges.get(way[-1], ()):
            if target == start:
                return way
            if target not in seen:
                seen.add(target)
                waiting.append([*way, target])
    return []


def _span(extent: Extent) -> Span:
    return Span(extent.start, extent.end)
