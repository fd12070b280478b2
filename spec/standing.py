"""What a rule or an exception says of itself: its level, where it counts, why, who may lift it, what happens then."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast, get_args

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Fix, Label
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.logic import conjunction, negate
from bylaw.spec.regulator import Action, OnViolation, Waivability
from bylaw.spec.scope import Messages, Scope, Unresolved
from bylaw.spec.sentences import Sentences

ACTIONS: tuple[str, ...] = get_args(Action)


def rank_of(level: ast.Name | None, scope: Scope, messages: Messages) -> str:
    """The level that a declaration stands at: the weakest where none is written. Records P106 for an unknown one."""
    if level is None:
        return scope.levels[-1]
    if level.text not in scope.levels:
        nearest = catalog.nearest(level.text, scope.levels)
        messages.error(
            "P106",
            f"there is no level called `{level.text}`",
            level.span,
            notes=(f"the levels of this policy are {' > '.join(scope.levels)}",),
            fix=None if nearest is None else Fix(f"write `{nearest}`", level.span, nearest),
        )
    return level.text


def price_of(price: ast.Price | ast.LevelPrice, messages: Messages) -> float:
    """The most that a limit may cost, in nats for each unit of what it limits. Raises Unresolved (P209)."""
    note = "nats: with `price at most 3`, what counts against the limit becomes at most e^3 = 20 times less likely"
    if price.value.percent:
        raise messages.failure("P209", "a price is a number of nats, not a share", price.span, notes=(note,))
    if price.value.amount <= 0:
        raise messages.failure("P209", "a price is a positive number of nats", price.span, notes=(note,))
    return float(price.value.amount)


def condition_of(clauses: Iterable[ast.Clause], sentences: Sentences) -> BooleanExpression | None:
    """All of `when` and none of `unless`; None for always. Leaves out what has no meaning, with a diagnostic."""
    parts: list[BooleanExpression] = []
    for clause in clauses:
        if isinstance(clause, (ast.When, ast.Unless)):
            try:
                truth = sentences.truth(clause.condition)
            except Unresolved:
                continue
            parts.append(truth if isinstance(clause, ast.When) else negate(truth))
    return conjunction(tuple(parts))


@dataclass(frozen=True, slots=True)
class Standing:
    """The clauses that are about the rule itself."""

    because: str | None
    sources: tuple[str, ...]
    waivable: Waivability
    overrides: tuple[str, ...]
    on_violation: OnViolation | None

    @staticmethod
    def of(declared: ast.RuleDecl | ast.ExceptionDecl, scope: Scope, messages: Messages) -> Standing:
        """Reads them; records a diagnostic for each that contradicts another or names nothing."""
        reasons = [clause for clause in declared.clauses if isinstance(clause, ast.Because)]
        actions = [clause for clause in declared.clauses if isinstance(clause, ast.OnViolation)]
        for clauses, what in ((reasons, "reasons"), (actions, "actions `on violation`")):
            for again in clauses[1:]:
                first = Label(clauses[0].span, "first here")
                message = f"`{declared.name.text}` has two {what}"
                messages.error("P010", message, again.span, secondary=(first,))
        return Standing(
            because=reasons[0].text.value if reasons else None,
            sources=tuple(c.text.value for c in declared.clauses if isinstance(c, ast.CitedSource)),
            waivable=_waivability(declared, scope, messages),
            overrides=tuple(n.text for c in declared.clauses if isinstance(c, ast.Overrides) for n in c.rules),
            on_violation=_action(actions[0], messages) if actions else None,
        )


def _waivability(declared: ast.RuleDecl | ast.ExceptionDecl, scope: Scope, messages: Messages) -> Waivability:
    by = [name for clause in declared.clauses if isinstance(clause, ast.WaivableBy) for name in clause.levels]
    implicit = [clause for clause in declared.clauses if isinstance(clause, ast.WaivableImplicitly)]
    never = [clause for clause in declared.clauses if isinstance(clause, ast.NotWaivable)]
    for name in by:
        rank_of(name, scope, messages)
    if never and (by or implicit):
        other = Label(by[0].span if by else implicit[0].span, "said here")
        message = f"`{declared.name.text}` is waivable and not waivable"
        messages.error("P307", message, never[0].span, secondary=(other,))
    return Waivability(tuple(name.text for name in by), bool(implicit), bool(never))


def _action(clause: ast.OnViolation, messages: Messages) -> OnViolation | None:
    name = clause.action.text
    if name in ACTIONS:
        message = None if clause.message is None else clause.message.value
        return OnViolation(cast(Action, name), message)
    nearest = catalog.nearest(name, ACTIONS)
    messages.error(
        "P306",
        f"`{name}` is not something that can be done about an answer",
        clause.action.span,
        notes=(f"an answer can be treated with {', '.join(ACTIONS)}",),
        fix=None if nearest is None else Fix(f"write `{nearest}`", clause.action.span, nearest),
    )
    return None
