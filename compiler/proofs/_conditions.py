"""The conditions of rules and exceptions, clause by clause, as their author wrote them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from types import MappingProxyType
from typing import Any, Literal

from bylaw.compiler.outrank_messages import span_of
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.compiler.satisfy import NotDecided, Refutation, decide
from bylaw.compiler.satisfy.branch import EVENTS, variables_of
from bylaw.spec import ast
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    BooleanFact,
    EachEvent,
    EachPart,
    Extent,
    Not,
    Or,
)
from bylaw.spec.logic import conjuncts, reads_response
from bylaw.spec.regulator import PolicyException, Regulator
from bylaw.spec.source import Span
from bylaw.spec.trace import FactValue, Trace, written

LONGEST_TEXT = 60
_PARAMETER = "parameter."


@dataclass(frozen=True, slots=True)
class Clause:
    """One `when` or `unless`: `said` is what has to hold, so for `unless` the opposite of what is written there."""

    word: Literal["when", "unless"]
    said: BooleanExpression
    span: Span

    @property
    def is_settled_before_the_answer(self) -> bool:
        """Whether it is about facts and texts that are there before the answer, and about nothing else."""
        reads = variables_of(self.said)
        return bool(reads) and EVENTS not in reads and not reads_response(self.said)


@dataclass(frozen=True, slots=True)
class Conditional:
    """A rule or an exception with its clauses; `name_at` is where it is named."""

    name: str
    is_exception: bool
    name_at: Span
    clauses: tuple[Clause, ...]


def conditionals(view: PolicyView) -> Iterator[Conditional]:
    """Every rule and every exception that has conditions, each once."""
    seen: set[str] = set()
    for regulator in view.policy.regulators:
        if regulator.rule not in seen and regulator.condition is not None:
            seen.add(regulator.rule)
            declared = _declared(view, regulator.extent, ast.RuleDecl)
            yield _conditional(regulator.rule, regulator, declared, regulator.rule_extent)
    for exception in view.policy.exceptions:
        if exception.condition is not None:
            declared = _declared(view, exception.extent, ast.ExceptionDecl)
            yield _conditional(exception.name, exception, declared, exception.extent)


def _declared(view: PolicyView, extent: Extent, kind: type) -> Any:
    """The declaration in the main file that a place lies in; None where it is in another file."""
    items = (item for item in view.module.items if isinstance(item, kind))
    return next((item for item in items if item.span.start <= extent.start < item.span.end), None)


def _conditional(name: str, said: Regulator | PolicyException, declared: Any, at: Extent) -> Conditional:
    written_clauses = [] if declared is None else declared.clauses
    clauses = [each for each in written_clauses if isinstance(each, (ast.When, ast.Unless))]
    name_at = span_of(at)
    condition = said.condition
    parts = condition.items if isinstance(condition, And) and len(clauses) != 1 else (condition,)
    if len(parts) == len(clauses):
        pairs = zip(clauses, parts, strict=True)
        found = tuple(Clause(_word(clause), part, clause.span) for clause, part in pairs if part is not None)
    else:  # of another file: its words are not at hand
        found = tuple(Clause("when", part, name_at) for part in conjuncts(condition))
    return Conditional(name, isinstance(said, PolicyException), name_at, found)


def _word(clause: ast.When | ast.Unless) -> Literal["when", "unless"]:
    return "when" if isinstance(clause, ast.When) else "unless"


# ---------------------------------------------------------------------------------------------------------- questions
def refuted(parts: Iterable[BooleanExpression]) -> Refutation | None:
    """Why statements can never be true together; None where they can. Raises NotDecided.

    What hangs on parameters alone is left open: the author may give them other values.
    """
    fresh = count()
    items = tuple(freed(part, fresh) for part in parts)
    answer = decide(items[0] if len(items) == 1 else And(items))
    return answer if isinstance(answer, Refutation) else None


def is_refuted(parts: Iterable[BooleanExpression]) -> bool:
    """Whether it is certain that statements can never be true together."""
    try:
        return refuted(parts) is not None
    except NotDecided:
        return False


def freed(expression: BooleanExpression, fresh: Iterator[int]) -> BooleanExpression:
    """The same, where each statement about nothing but parameters may be true or false."""
    match expression:
        case And(items) | Or(items):
            return replace(expression, items=tuple(freed(item, fresh) for item in items))
        case Not(item):
            return Not(freed(item, fresh))
        case EachPart() | EachEvent():
            return expression
    return expression if variables_of(expression) else BooleanFact(f"{_PARAMETER}{next(fresh)}")


def places(parts: Iterable[BooleanExpression]) -> list[Span]:
    """Where statements are written, as far as that is known."""
    found = [getattr(part.item if isinstance(part, Not) else part, "extent", None) for part in parts]
    return list(dict.fromkeys(span_of(extent) for extent in found if isinstance(extent, Extent)))


def shown(trace: Trace) -> str:
    """A situation in a few words: its facts and texts."""
    facts = [f"`{path}` is {_value(value)}" for path, value in trace.facts.items() if not path.startswith(_PARAMETER)]
    texts = [f"the {_ROLES[message.role]} is {_quoted(message.content)}" for message in trace.messages]
    return ", ".join((*facts, *texts)) or "always"


_ROLES: Mapping[str, str] = MappingProxyType(
    {"user": "prompt", "assistant": "answer", "system": "system prompt", "developer": "developer prompt"}
)


def _value(value: FactValue) -> str:
    return _quoted(value) if isinstance(value, str) else written(value)


def _quoted(text: str) -> str:
    return json.dumps(text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "...", ensure_ascii=False)
