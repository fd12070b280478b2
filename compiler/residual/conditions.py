"""What is known beforehand, and what is left of a condition then: of its meaning, and of its words.

A statement is decided where it reads nothing but what is given; `and`, `or` and `not` follow Kleene's logic, as they do
when a condition is evaluated. So leaving out what is decided changes no verdict, not even where other facts are not
given.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property

from bylaw.compiler.evaluate import truth
from bylaw.compiler.satisfy.branch import Variable, variables_of
from bylaw.compiler.values import Unknown
from bylaw.spec import ast
from bylaw.spec.expression import And, BooleanConstant, BooleanExpression, Not, Or
from bylaw.spec.logic import meaning, negate
from bylaw.spec.sentences import Sentences
from bylaw.spec.trace import FactValue, Message, Trace


@dataclass(frozen=True)
class Given:
    """Facts by dotted name, and the prompt (None: not known)."""

    facts: Mapping[str, FactValue]
    prompt: str | None = None

    @cached_property
    def known(self) -> frozenset[Variable]:
        """What a statement may read and be decided."""
        found: set[Variable] = {("fact", path) for path in self.facts}
        return frozenset(found if self.prompt is None else found | {("text", "prompt")})

    @cached_property
    def trace(self) -> Trace:
        """The situation so far."""
        messages = () if self.prompt is None else (Message("user", self.prompt),)
        return Trace(messages, dict(self.facts))

    def truth(self, expression: BooleanExpression | None) -> bool | None:
        """Whether a condition is true, or false, in every situation in which this is given; None where it is open."""
        match expression:
            case None:
                return True
            case BooleanConstant(value):
                return value
            case And(items) | Or(items):
                deciding = isinstance(expression, Or)
                values = [self.truth(item) for item in items]
                return deciding if deciding in values else None if None in values else not deciding
            case Not(item):
                inner = self.truth(item)
                return None if inner is None else not inner
        if not variables_of(expression) <= self.known:
            return None
        found = truth(expression, self.trace)
        return None if isinstance(found, Unknown) else found

    def left(self, expression: BooleanExpression | None) -> Hashable:
        """A key for what is left of a condition: the same for conditions of which the same is left."""
        decided = self.truth(expression)
        if decided is not None or expression is None:
            return decided
        match expression:
            case And(items) | Or(items):
                kind, parts = type(expression).__name__, set[Hashable]()
                for key in (self.left(item) for item in items if self.truth(item) is None):
                    parts |= key[1] if isinstance(key, tuple) and key[0] == kind else {key}
                return next(iter(parts)) if len(parts) == 1 else (kind, frozenset(parts))
            case Not(And() | Or() | Not() as item):
                return self.left(negate(item))
        return meaning(expression)


# -------------------------------------------------------------------------------------------------------------- words
def simplified(condition: ast.Expression, sentences: Sentences, given: Given) -> bool | ast.Expression:
    """What is left of a condition in its author's words: true, false, or the parts that are open.

    The same object where nothing is decided. Raises Unresolved.
    """
    match condition:
        case ast.And(operands) | ast.Or(operands):
            deciding = isinstance(condition, ast.Or)
            kept: list[ast.Expression] = []
            for operand in operands:
                left = simplified(operand, sentences, given)
                if left is deciding:
                    return deciding
                if not isinstance(left, bool):
                    kept.append(left)
            if not kept:
                return not deciding
            if len(kept) == len(operands) and all(left is old for left, old in zip(kept, operands, strict=True)):
                return condition
            return kept[0] if len(kept) == 1 else condition.changed(operands=tuple(kept))
        case ast.Not(operand):
            left = simplified(operand, sentences, given)
            if isinstance(left, bool):
                return not left
            return condition if left is operand else condition.changed(operand=left)
    decided = given.truth(sentences.truth(condition))
    return condition if decided is None else decided
