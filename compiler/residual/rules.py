"""Which rules, exceptions and permissions of a policy are alive once some facts are known, and why others are not.

Decided on the settled program: a sentence is gone where its condition, with all that lifts it, is false in every
situation that is still possible.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from bylaw.compiler.defeat import PERMISSIONS, settle, silenced
from bylaw.compiler.permissions import eased_parts
from bylaw.compiler.program import RewardProgram, RewardTerm, Waiver
from bylaw.compiler.residual.conditions import Given
from bylaw.compiler.satisfy.branch import variables_of
from bylaw.spec.expression import BooleanConstant, BooleanExpression
from bylaw.spec.logic import conjunction, conjuncts, negate
from bylaw.spec.regulator import PolicyException, Regulator, RegulatorSet
from bylaw.spec.trace import written

SHOWN = 60


@dataclass(frozen=True)
class Alive:
    """What is left of a policy: `rules` and `exceptions` by name, `permissions` by the id of the sentence.

    `gone` says of everything else why, by name.
    """

    rules: frozenset[str]
    exceptions: frozenset[str]
    permissions: frozenset[str]
    gone: Mapping[str, str]


def alive(policy: RegulatorSet, program: RewardProgram, given: Given) -> Alive:
    """What can still count in some situation in which this is given."""
    question = _Question(policy, program, given)
    question.ask_terms()
    question.ask_permissions()
    question.ask_exceptions()
    rules = {regulator.rule for regulator in policy.regulators}
    names = {exception.name for exception in policy.exceptions}
    return Alive(
        frozenset(rules - question.gone.keys()),
        frozenset(names - question.gone.keys()),
        frozenset(question.permissions),
        question.gone,
    )


@dataclass
class _Question:
    policy: RegulatorSet
    program: RewardProgram
    given: Given
    gone: dict[str, str] = field(default_factory=dict)
    permissions: set[str] = field(default_factory=set)

    def of_rule(self, name: str) -> list[Regulator]:
        """The sentences of a rule."""
        return [regulator for regulator in self.policy.regulators if regulator.rule == name]

    def ask_terms(self) -> None:
        """Rules none of whose sentences can count; those with permissions only are asked about later."""
        terms: dict[str, list[RewardTerm]] = {}
        for term in self.program.terms:
            terms.setdefault(term.rule, []).append(term)
        for rule, own in terms.items():
            if all(self.given.truth(term.condition) is False for term in own):
                self.gone[rule] = self._why(rule, own)

    def _why(self, rule: str, terms: Sequence[RewardTerm]) -> str:
        condition = self.of_rule(rule)[0].condition
        if self.given.truth(condition) is False:
            return self.reason(condition)
        for waiver in (waiver for term in terms for waiver in term.waivers):
            if self.given.truth(waiver.where) is True:
                return _LIFTED[waiver.reason].format(waiver.by)
        return "it is lifted in every situation that is left"

    # ----------------------------------------------------------------------------------------------- permissions
    def ask_permissions(self) -> None:
        """A permission lives as long as a rule does that it lifts."""
        sentences = [each for each in self.policy.regulators if each.modality in PERMISSIONS]
        if not sentences:
            return
        waivers = settle(self.policy).waivers
        for sentence in sentences:
            counts = conjunction((*conjuncts(sentence.condition), *map(silenced, waivers.get(sentence.id, ()))))
            if self.given.truth(counts) is not False and self._lifts_something(sentence):
                self.permissions.add(sentence.id)
        obliging = {term.rule for term in self.program.terms}
        for rule in dict.fromkeys(sentence.rule for sentence in sentences):
            needed = any(sentence.id in self.permissions for sentence in sentences if sentence.rule == rule)
            if needed:
                self.gone.pop(rule, None)
            elif rule not in obliging:
                self.gone[rule] = self._why_unneeded(rule)

    def _lifts_something(self, permission: Regulator) -> bool:
        remembered: dict[str, Sequence[Waiver]] = {t.rule: (*t.waivers, *t.eased) for t in self.program.terms}
        for target in self.policy.regulators:
            lifted = any(each.by == permission.rule for each in remembered.get(target.rule, ()))
            is_alive = target.rule not in self.gone and target.modality not in PERMISSIONS
            if is_alive and (lifted or target.rule in remembered) and eased_parts(permission, target):
                return True
        return False

    def _why_unneeded(self, rule: str) -> str:
        condition = self.of_rule(rule)[0].condition
        if self.given.truth(condition) is False:
            return self.reason(condition)
        return "no rule is left that it could lift"

    # ------------------------------------------------------------------------------------------------ exceptions
    def ask_exceptions(self) -> None:
        """Exceptions that never count, and those to something that is gone."""
        exceptions = {exception.name: exception for exception in self.policy.exceptions}
        for exception in exceptions.values():
            if self.given.truth(exception.condition) is False:
                self.gone[exception.name] = self.reason(exception.condition)
            elif self.given.truth(self._where(exception)) is False:
                self.gone[exception.name] = "an exception to it counts in every situation that is left"
        for _ in exceptions:
            for exception in exceptions.values():
                if exception.target in self.gone:
                    self.gone.setdefault(exception.name, f"`{exception.target}`, which it is to, is gone")

    def _where(self, exception: PolicyException) -> BooleanExpression | None:
        parts = list(conjuncts(exception.condition))
        for other in self.policy.exceptions:
            if other.target == exception.name:
                parts.append(negate(self._where(other) or BooleanConstant(True)))
        return conjunction(tuple(parts))

    # --------------------------------------------------------------------------------------------------- reasons
    def reason(self, condition: BooleanExpression | None) -> str:
        """Which facts decide that a condition is false."""
        false = [part for part in conjuncts(condition) if self.given.truth(part) is False][:1]
        reads = sorted({each for part in false for each in variables_of(part)} & self.given.known)
        said = [f"`{path}` is {self.shown(path)}" for kind, path in reads if kind == "fact"]
        said += ["the prompt is known" for kind, _ in reads if kind == "text"]
        return f"its condition is false: {', '.join(said) or 'whatever is given'}"

    def shown(self, path: str) -> str:
        """A given fact as an author would write it."""
        value = self.given.facts[path]
        return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else written(value)


_LIFTED: Mapping[str, str] = {
    "exception": "the exception `{}` lifts it",
    "permission": "the permission `{}` lifts it",
    "override": "`{}` overrides it",
    "level": "it gives way to `{}`",
}
