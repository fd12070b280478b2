"""Defeat: which rule lifts which, and where.

Exceptions, permissions and `overrides` are settled here, each with its authority: it stands at the level of what it
lifts or at a stronger one, or that rule says that it is waivable. What they lift is written into conditions, so that
later stages know nothing about them, and remembered as waivers, so that every later message can give the reason. That
a stronger rule beats a weaker one which it contradicts is found by automata (compiler/outrank.py).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from bylaw.compiler.program import Waiver
from bylaw.spec import catalog
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.expression import BooleanConstant, BooleanExpression, Extent, Or
from bylaw.spec.logic import conjunction, conjuncts, meaning, negate, reads_context
from bylaw.spec.regulator import PolicyException, Regulator, RegulatorSet, Waivability
from bylaw.spec.source import Span

if TYPE_CHECKING:  # most policies are checked without automata
    from bylaw.compiler.automata.dfa import Dfa

PERMISSIONS = ("may", "need not")
OBLIGATIONS = ("must", "must not", "should", "should not")
ALWAYS = BooleanConstant(True)


@dataclass(frozen=True, slots=True)
class Settled:
    """The regulators that remain (no permissions among them), each under the condition where it counts; `waivers` by
    the id of the regulator."""

    regulators: tuple[Regulator, ...]
    waivers: Mapping[str, tuple[Waiver, ...]]
    diagnostics: tuple[Diagnostic, ...]


def settle(policy: RegulatorSet) -> Settled:
    """Settles exceptions, then overrides, then permissions."""
    court = _Court(policy)
    court.hear_exceptions()
    court.hear_overrides()
    court.hear_permissions()
    remaining = tuple(r for r in court.regulators.values() if r.modality not in PERMISSIONS)
    return Settled(remaining, {name: tuple(found) for name, found in court.waivers.items()}, tuple(court.found))


@dataclass
class _Court:
    """Everything that is still being settled; regulators by id."""

    policy: RegulatorSet
    regulators: dict[str, Regulator] = field(init=False)
    waivers: dict[str, list[Waiver]] = field(default_factory=dict)
    found: list[Diagnostic] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.regulators = {regulator.id: regulator for regulator in self.policy.regulators}

    # ------------------------------------------------------------------------------------------------ exceptions
    def hear_exceptions(self) -> None:
        """Lifts rules where exceptions to them count; an exception to an exception restores the rule."""
        exceptions = {exception.name: exception for exception in self.policy.exceptions}
        rules = {regulator.rule for regulator in self.policy.regulators}
        circular = self._circular_exceptions(exceptions)
        for exception in self.policy.exceptions:
            target = exception.target
            if target not in rules and target not in exceptions:
                self._unknown(target, (*sorted(rules), *exceptions), exception.extent)
            elif target not in exceptions and exception.name not in circular:
                where = self._where_it_counts(exception, exceptions)
                for regulator in [r for r in self.regulators.values() if r.rule == target]:
                    about = f"`{target}`"
                    if self._allowed(
                        exception.level, regulator.level, regulator.waivable, exception.extent, regulator.extent, about
                    ):
                        self._waive(regulator, Waiver(exception.name, "exception", where))

    def _where_it_counts(
        self, exception: PolicyException, exceptions: Mapping[str, PolicyException]
    ) -> BooleanExpression | None:
        parts = list(conjuncts(exception.condition))
        for other in exceptions.values():
            if other.target == exception.name:
                about = f"exception `{exception.name}`"
                if self._allowed(
                    other.level, exception.level, exception.waivable, other.extent, exception.extent, about
                ):
                    parts.append(negate(self._where_it_counts(other, exceptions) or ALWAYS))
        return conjunction(tuple(parts))

    def _circular_exceptions(self, exceptions: Mapping[str, PolicyException]) -> set[str]:
        edges = {name: [exception.target] for name, exception in exceptions.items()}
        extents = {name: exception.extent for name, exception in exceptions.items()}
        return self._report_circles(edges, extents, "exceptions to each other")

    # ------------------------------------------------------------------------------------------------- overrides
    def hear_overrides(self) -> None:
        """Where a rule counts that overrides another one, the other does not."""
        rules = {regulator.rule: regulator for regulator in self.policy.regulators}
        edges = {name: list(regulator.overrides) for name, regulator in rules.items()}
        extents = {name: regulator.rule_extent for name, regulator in rules.items()}
        circular = self._report_circles(edges, extents, "rules that override each other")
        for name, winner in rules.items():
            for overridden in winner.overrides:
                if overridden not in rules:
                    self._unknown(overridden, tuple(rules), winner.rule_extent)
                elif name not in circular:
                    self._override(winner, overridden)

    def _override(self, winner: Regulator, name: str) -> None:
        where = self.regulators[winner.id].condition
        for regulator in [r for r in self.regulators.values() if r.rule == name]:
            about = f"`{name}`"
            if self._allowed(
                winner.level, regulator.level, regulator.waivable, winner.rule_extent, regulator.extent, about
            ):
                self._waive(regulator, Waiver(winner.rule, "override", where))

    # ----------------------------------------------------------------------------------------------- permissions
    def hear_permissions(self) -> None:
        """`may` and `need not` lift the rules, or the parts of rules, that say the opposite."""
        for permission in [r for r in self.regulators.values() if r.modality in PERMISSIONS]:
            targets = [r for r in self.regulators.values() if r.modality in OBLIGATIONS]
            opposed = [(target, parts) for target in targets if (parts := _opposed_parts(permission, target))]
            if not opposed:
                self._error(
                    "P302",
                    f"this permission lifts nothing: no rule says the opposite of `{permission.rule}`",
                    Label(_span(permission.extent)),
                    notes=("`may X` lifts rules that forbid X; `need not X` lifts rules that ask for X",),
                )
            for target, parts in opposed:
                about = f"`{target.rule}`"
                if self._allowed(
                    permission.level, target.level, target.waivable, permission.extent, target.extent, about
                ):
                    self._lift(permission, target, parts)

    def _lift(self, permission: Regulator, target: Regulator, lifted: frozenset[Hashable]) -> None:
        parts = conjuncts(target.obligation)
        if all(meaning(part) in lifted for part in parts):
            self._waive(target, Waiver(permission.rule, "permission", permission.condition))
            return
        kept: list[BooleanExpression] = []
        for part in parts:
            if meaning(part) not in lifted:
                kept.append(part)
            elif permission.condition is not None:
                kept.append(Or((permission.condition, part)))
        self.regulators[target.id] = replace(target, obligation=conjunction(tuple(kept)))

    # --------------------------------------------------------------------------------------------------- helpers
    def _waive(self, regulator: Regulator, waiver: Waiver) -> None:
        current = self.regulators[regulator.id]
        before = self.waivers.setdefault(regulator.id, [])
        before.append(replace(waiver, own=before[0].own if before else current.condition))
        condition = conjunction((*conjuncts(current.condition), silenced(waiver)))
        self.regulators[regulator.id] = replace(current, condition=condition)

    def _allowed(
        self, level: str, target_level: str, waivable: Waivability, at: Extent, target: Extent, about: str
    ) -> bool:
        """Whether something at `level` may lift what stands at `target_level`; records P301 or P304."""
        levels = self.policy.levels
        chain = f"chain of command: {' > '.join(levels)}"
        if waivable.never:
            self._error(
                "P304",
                f"{about} is not waivable, so nothing lifts it",
                Label(_span(at)),
                (Label(_span(target), "this says `not waivable`"),),
            )
            return False
        rank = {name: position for position, name in enumerate(levels)}
        if waivable.implicitly or level in waivable.by or rank.get(level, 0) <= rank.get(target_level, 0):
            return True
        self._error(
            "P301",
            f"`{level}` has no authority to lift {about}",
            Label(_span(at), f"this stands at level `{level}`"),
            (Label(_span(target), f"this stands at level `{target_level}`"),),
            (chain, f"the rule can grant it: `waivable by {level}`"),
        )
        return False

    def _report_circles(self, edges: Mapping[str, Iterable[str]], extents: Mapping[str, Extent], what: str) -> set[str]:
        """The names that reach themselves; records one P303 for each circle."""
        circular: set[str] = set()
        for start in edges:
            if start in circular:
                continue
            circle = _circle(start, edges)
            if circle:
                circular |= set(circle)
                first, *rest = circle
                marks = tuple(Label(_span(extents[name])) for name in rest)
                note = " -> ".join((*circle, first))
                self._error("P303", f"these are {what}", Label(_span(extents[first])), marks, (note,))
        return circular

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


def silenced(waiver: Waiver) -> BooleanExpression:
    """Where a waiver leaves a term in force."""
    return BooleanConstant(False) if waiver.where is None else negate(waiver.where)


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


def _opposed_parts(permission: Regulator, rule: Regulator) -> frozenset[Hashable]:
    """The parts of an obligation that a permission lifts: `must not A or B` has two, not A and not B.

    A part is opposed when every text that uses the permission breaks it: in the same words, or as regular languages.
    """
    if permission.obligation is None:
        return frozenset()
    used = permission.obligation if permission.modality == "may" else negate(permission.obligation)
    asked = {meaning(negate(part)) for part in _alternatives(used)}
    parts = conjuncts(rule.obligation)
    found = frozenset(meaning(part) for part in parts) & asked
    if found:
        return found
    return frozenset(meaning(part) for part in parts if any(_excludes(use, part) for use in _alternatives(used)))


def _alternatives(used: BooleanExpression) -> tuple[BooleanExpression, ...]:
    """`may A or B` permits A, and permits B."""
    return tuple(each for item in used.items for each in _alternatives(item)) if isinstance(used, Or) else (used,)


def _excludes(used: BooleanExpression, part: BooleanExpression) -> bool:
    """Whether no text does both, where automata of a modest size can tell; texts that use the permission exist."""
    if reads_context(used) or reads_context(part):
        return False
    from bylaw.compiler.automata.algebra import any_witness
    from bylaw.compiler.automata.partition import StateLimit

    left, right = _language_of(used), _language_of(part)
    if left is None or right is None:
        return False
    try:
        return any_witness([left]) is not None and any_witness([left, right]) is None
    except StateLimit:
        return False


@lru_cache(maxsize=64)
def _language_of(expression: BooleanExpression) -> Dfa | None:
    """Each permission is held against every rule, so its automaton is asked for again and again."""
    from bylaw.compiler.regular import dfa_of

    return dfa_of(expression)


def _span(extent: Extent) -> Span:
    return Span(extent.start, extent.end)
