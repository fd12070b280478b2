"""Resolving exceptions: where a rule, or another exception, does not count."""

from __future__ import annotations

from bylaw.spec import ast
from bylaw.spec.definitions import Place
from bylaw.spec.expression import Extent
from bylaw.spec.regulator import PolicyException
from bylaw.spec.scope import Messages, Scope
from bylaw.spec.sentences import Sentences
from bylaw.spec.standing import Standing, condition_of, rank_of

_ABOUT_ITSELF = (
    ast.When,
    ast.Unless,
    ast.Because,
    ast.CitedSource,
    ast.WaivableBy,
    ast.WaivableImplicitly,
    ast.NotWaivable,
)


def resolve_exception(item: ast.ExceptionDecl, scope: Scope, messages: Messages) -> PolicyException:
    """One exception; whether its target is in force is settled with the whole policy (compiler/defeat.py)."""
    for clause in item.clauses:
        if not isinstance(clause, _ABOUT_ITSELF):
            note = "an exception says where a rule does not count; what holds there instead is a rule of its own"
            messages.error("P308", "this has no place in an exception", clause.span, notes=(note,))
    standing = Standing.of(item, scope, messages)
    return PolicyException(
        name=item.name.text,
        target=item.target.text,
        level=rank_of(item.level, scope, messages),
        extent=Extent(item.name.span.start, item.target.span.end),
        condition=condition_of(item.clauses, Sentences(Place(scope), messages)),
        title=None if item.title is None else item.title.value,
        because=standing.because,
        waivable=standing.waivable,
    )
