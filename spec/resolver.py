"""Resolving a policy: Module -> RegulatorSet.

Every name is looked up, every type checked, every definition unfolded. What the language has but this version cannot
resolve yet is an error with a span (P901): a policy is never loaded with a part of it left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bylaw.spec import ast, catalog
from bylaw.spec.clauses import resolve_rule
from bylaw.spec.declarations import build_scope
from bylaw.spec.errors import Diagnostic, Fix
from bylaw.spec.examples import resolve_examples
from bylaw.spec.permissions import lift
from bylaw.spec.regulator import PolicyExample, Regulator, RegulatorSet
from bylaw.spec.scope import Messages

EDITION = 1

_UNSUPPORTED: Mapping[type, str] = MappingProxyType(
    {
        ast.ImportDecl: "imports are",
        ast.ConceptDecl: "concepts and topics are",
        ast.ExceptionDecl: "exceptions are",
        ast.ApplyDecl: "applying a rule with parameters is",
        ast.TestDecl: "`test` blocks are",
    }
)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The policy and what there is to say about it. With an error among the diagnostics the policy must not be used."""

    regulators: RegulatorSet
    diagnostics: tuple[Diagnostic, ...]

    @property
    def ok(self) -> bool:
        """Whether the policy may be used."""
        return not any(diagnostic.is_error for diagnostic in self.diagnostics)


def resolve(module: ast.Module) -> Resolution:
    """Resolves a whole file; goes on after a mistake, so that all independent ones are reported."""
    messages = Messages()
    scope = build_scope(module, messages)
    regulators: list[Regulator] = []
    examples: list[PolicyExample] = []
    rules = tuple(item.name.text for item in module.items if isinstance(item, ast.RuleDecl))
    for item in module.items:
        for annotation in item.annotations:
            messages.not_supported(f"annotations (`@{annotation.name.text}`) are", annotation.span)
        if isinstance(item, ast.RuleDecl):
            regulators += resolve_rule(item, scope, messages)
            own = (clause for clause in item.clauses if isinstance(clause, ast.Example))
            examples += resolve_examples(item.name.text, own, messages)
        elif isinstance(item, ast.ExamplesDecl):
            _check_rule(item.rule, rules, messages)
            examples += resolve_examples(item.rule.text, item.examples, messages)
        elif type(item) in _UNSUPPORTED:
            messages.not_supported(_UNSUPPORTED[type(item)], item.span)
    header = module.header
    if header is not None and header.edition is not None and header.edition.value != EDITION:
        note = f"this version of bylaw knows edition {EDITION}"
        message = f"there is no edition {header.edition.value}"
        messages.error("P111", message, header.edition.span, notes=(note,))
    policy, version = ("unnamed", "0") if header is None else (header.name.text, header.version.value)
    lifted = lift(tuple(regulators), scope.levels, messages)
    if not rules and not any(isinstance(item, ast.ApplyDecl) for item in module.items):
        note = 'a rule begins with `rule NAME {` and holds a sentence such as `must not mention "..."`'
        messages.warning(
            "P601", "this file has no rules", module.span if header is None else header.span, notes=(note,)
        )
    resolved = RegulatorSet(policy, version, scope.levels, lifted, tuple(examples))
    return Resolution(resolved, tuple(messages.found))


def _check_rule(name: ast.Name, rules: tuple[str, ...], messages: Messages) -> None:
    if name.text not in rules:
        nearest = catalog.nearest(name.text, rules)
        fix = None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest)
        messages.error("P101", f"there is no rule called `{name.text}`", name.span, fix=fix)
