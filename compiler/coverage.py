"""Coverage of a policy by its own examples and tests: which verdicts, conditions and thresholds they have shown.

Three questions, each with its own count. Has every rule been seen with every verdict that it can have? Has every
single condition in `when` and `unless` been seen true and false (condition coverage, as in DO-178C)? Has every
threshold been seen kept and, by a near miss, broken? What an example shows counts only where it was decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from bylaw.compiler.analysis import terms_by_rule
from bylaw.compiler.cases import Case
from bylaw.compiler.evaluate import Unknown, number, truth
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.verdicts import rule_verdict
from bylaw.spec.expression import (
    And,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    Extent,
    Not,
    NumberConstant,
    Or,
)
from bylaw.spec.logic import meaning, negate
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.trace import Trace

NEAR = 0.1
"""A miss is near when it is off by one, or by this share of the threshold."""


@dataclass(frozen=True, slots=True)
class RuleCoverage:
    """The verdicts that a rule can have, and those that have been seen."""

    rule: str
    possible: tuple[str, ...]
    seen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ConditionCoverage:
    """One single condition of a rule or an exception, where it stands, and the values seen; `fact` names a bare one."""

    owner: str
    extent: Extent
    seen: tuple[bool, ...]
    fact: str | None = None


@dataclass(frozen=True, slots=True)
class ThresholdCoverage:
    """One comparison with a fixed number: the nearest values seen on the side where it holds and on the other."""

    rule: str
    extent: Extent
    operator: str
    bound: float
    nearest_kept: float | None
    nearest_broken: float | None

    @property
    def has_near_miss(self) -> bool:
        """Whether a value that breaks it by little has been seen, and one that keeps it at all."""
        if self.nearest_broken is None or self.nearest_kept is None:
            return False
        return abs(self.nearest_broken - self.bound) <= max(1.0, NEAR * abs(self.bound))


@dataclass(frozen=True, slots=True)
class Coverage:
    """All three, in the order of the file."""

    rules: tuple[RuleCoverage, ...]
    conditions: tuple[ConditionCoverage, ...]
    thresholds: tuple[ThresholdCoverage, ...]

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """(seen, possible) for `verdicts`, `conditions` (each counts twice) and `thresholds`."""
        return {
            "verdicts": (sum(len(r.seen) for r in self.rules), sum(len(r.possible) for r in self.rules)),
            "conditions": (sum(len(c.seen) for c in self.conditions), 2 * len(self.conditions)),
            "thresholds": (sum(t.has_near_miss for t in self.thresholds), len(self.thresholds)),
        }

    @property
    def share(self) -> float:
        """What has been seen of all that can be, from 0 to 1; 1 where there is nothing to see."""
        seen = sum(count for count, _ in self.counts.values())
        possible = sum(count for _, count in self.counts.values())
        return seen / possible if possible else 1.0


def coverage(policy: RegulatorSet, program: RewardProgram, cases: Iterable[Case]) -> Coverage:
    """What the cases show of a policy. Cases that fail count too: they have been seen."""
    observed = [each for case in cases for each in case.observed]
    rules = tuple(_rules(policy, program, observed))
    conditions = tuple(_conditions(policy, observed))
    return Coverage(rules, conditions, tuple(_thresholds(program, observed)))


Observed = list[tuple[tuple[RewardTerm, ...], Trace]]


# ---------------------------------------------------------------------------------------------------------- rules
def _rules(policy: RegulatorSet, program: RewardProgram, observed: Observed) -> Iterator[RuleCoverage]:
    conditional = {
        r.rule
        for r in policy.regulators
        if r.condition is not None or r.suite is not None or (r.among is not None and not r.is_hard_limit)
    }
    for rule, terms in terms_by_rule(program).items():
        if not any(term.holds is not None for term in terms):
            continue
        verdicts = {rule_verdict(seen, trace).verdict for seen, trace in observed if seen and seen[0].rule == rule}
        possible = ["complies", "violates"]
        possible += ["skips"] if rule in conditional else []
        possible += ["waived"] if any(term.waivers for term in terms) else []
        yield RuleCoverage(rule, tuple(possible), tuple(verdict for verdict in possible if verdict in verdicts))


# ----------------------------------------------------------------------------------------------------- conditions
def _conditions(policy: RegulatorSet, observed: Observed) -> Iterator[ConditionCoverage]:
    seen_owners: set[str] = set()
    owned: list[tuple[str, Extent, BooleanExpression | None]] = []
    for regulator in policy.regulators:
        if regulator.rule not in seen_owners:
            seen_owners.add(regulator.rule)
            owned.append((regulator.rule, regulator.rule_extent, regulator.condition))
    owned += [(each.rule, each.rule_extent, each.among) for each in policy.regulators if each.among is not None]
    owned += [(exception.name, exception.extent, exception.condition) for exception in policy.exceptions]
    traces = [trace for terms, trace in observed if terms and len(trace.messages) > 0]
    for owner, extent, condition in owned:
        for atom in _atoms(condition):
            values = {value for trace in traces if isinstance(value := _settled(atom, trace), bool)}
            words = atom.path if isinstance(atom, BooleanFact) else None
            place = getattr(atom, "extent", None) or extent
            yield ConditionCoverage(owner, place, tuple(sorted(values, reverse=True)), words)


def _settled(atom: BooleanExpression, trace: Trace) -> bool | None:
    value = truth(atom, trace)
    return None if isinstance(value, Unknown) else value


def _atoms(condition: BooleanExpression | None) -> list[BooleanExpression]:
    """The single conditions, each once however often it stands, and a negation as what it negates."""
    waiting = [] if condition is None else [condition]
    found: dict[object, BooleanExpression] = {}
    while waiting:
        part = waiting.pop()
        match part:
            case And(items) | Or(items):
                waiting.extend(reversed(items))
            case Not(item):
                waiting.append(item)
            case BooleanConstant():
                continue
            case _:
                found.setdefault(meaning(part), part)
    return list(found.values())


# ----------------------------------------------------------------------------------------------------- thresholds
@dataclass
class _Seen:
    """The values that have been seen of one quantity, by whether the comparison held."""

    kept: list[float] = field(default_factory=list)
    broken: list[float] = field(default_factory=list)


def _thresholds(program: RewardProgram, observed: Observed) -> Iterator[ThresholdCoverage]:
    for term in program.terms:
        for compare in _comparisons(term.holds):
            assert isinstance(compare.right, NumberConstant)
            seen = _Seen()
            for terms, trace in observed:
                if any(each.id == term.id for each in terms):
                    value = number(compare.left, trace)
                    if not isinstance(value, Unknown):
                        (seen.kept if truth(compare, trace) is True else seen.broken).append(value)
            bound = compare.right.value
            yield ThresholdCoverage(
                term.rule,
                compare.extent or term.extent,
                compare.operator,
                bound,
                _nearest(seen.kept, bound),
                _nearest(seen.broken, bound),
            )


def _comparisons(holds: BooleanExpression | None) -> Iterator[Compare]:
    waiting = [] if holds is None else [holds]
    while waiting:
        part = waiting.pop()
        match part:
            case And(items) | Or(items):
                waiting.extend(reversed(items))
            case Not(item):
                waiting.append(negate(item) if isinstance(item, Compare) else item)
            case Compare(_, left, NumberConstant()) if not isinstance(left, NumberConstant):
                yield part


def _nearest(values: list[float], bound: float) -> float | None:
    finite = [value for value in values if math.isfinite(value)]
    return min(finite, key=lambda value: abs(value - bound), default=None)
