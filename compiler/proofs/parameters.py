"""Parameters that are allowed values with which hard rules contradict each other (P419): see `_parameters`."""

from __future__ import annotations

from collections.abc import Iterator

from bylaw.compiler.proofs.interface import Finding, PolicyView
from bylaw.spec import ast

CODES = ("P419",)


def find(view: PolicyView) -> Iterator[Finding]:
    """P419 for the parameters on which hard rules or permissions depend."""
    declared = [item for item in view.module.items if isinstance(item, ast.ParamDecl)]
    named = _named_where_it_matters(view.module) if declared else set()
    items = [item for item in declared if item.name.text in named]
    if items:
        from bylaw.compiler.proofs._parameters import all_findings

        yield from all_findings(view, items)


def _named_where_it_matters(module: ast.Module) -> set[str]:
    """What is named anywhere but in rules that are only weighed: these contradict nobody."""
    return {
        node.text
        for item in module.items
        if not (isinstance(item, ast.RuleDecl) and all(_is_weighed(clause) for clause in item.clauses))
        if not isinstance(item, ast.ParamDecl)
        for node in ast.walk(item)
        if isinstance(node, (ast.Path, ast.Name))
    }


def _is_weighed(clause: ast.Node) -> bool:
    """Whether a clause makes no hard rule and no permission."""
    match clause:
        case ast.Norm():
            return clause.modality.word in (ast.RuleWord.SHOULD, ast.RuleWord.SHOULD_NOT)
        case ast.LimitRate() | ast.LimitAverage() | ast.Overrides():
            return False
    return True
