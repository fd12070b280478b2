"""What the resolvers of texts, quantities, subjects and sentences share: where they stand, names, and refusals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from bylaw.spec import ast, calls, lookup
from bylaw.spec.definitions import Binding, Place, unfold
from bylaw.spec.expression import (
    BooleanCall,
    BooleanExpression,
    Extent,
    MessageText,
    NumberCall,
    NumberExpression,
    TextCall,
    TextExpression,
)
from bylaw.spec.logic import walk
from bylaw.spec.scope import Messages, Scope, Unresolved
from bylaw.spec.source import Span

RESPONSE = MessageText("response")
ItKind = Literal["part", "call", "output", "message"]


@dataclass(frozen=True, eq=False)
class It(Binding):
    """What `it` stands for inside `every ...`, `call to ...` or `where (...)`. Two of them are never the same."""

    kind: ItKind = "part"


@dataclass(frozen=True, eq=False)
class Given(Binding):
    """A text that has been resolved already and is handed to a definition: the `it` that it may be made of is `it`."""

    text: TextExpression = RESPONSE
    it: It | None = None


@dataclass(frozen=True)
class Resolving:
    """Resolves what the author wrote; `place` tells in which file it stands and which definition is being unfolded.

    `it` is what the innermost quantifier around goes through. The place may show another one, or none: an argument
    of a definition can name an outer `it`, and the body of a definition sees only its parameters.
    """

    place: Place
    messages: Messages
    it: It | None = None

    @property
    def scope(self) -> Scope:
        """What the sentences may refer to by name."""
        return self.place.scope

    def truth(self, expression: ast.Expression) -> BooleanExpression:
        """A condition. Raises Unresolved."""
        raise NotImplementedError

    def number(self, expression: ast.Expression) -> NumberExpression:
        """A quantity. Raises Unresolved."""
        raise NotImplementedError

    def text(self, expression: ast.Expression) -> TextExpression:
        """A text. Raises Unresolved."""
        raise NotImplementedError

    # ----------------------------------------------------------------------------------------------------- names
    def within(self, kind: ItKind, span: Span) -> Self:
        """The same, inside a quantifier: `it` is what that goes through."""
        it = It(ast.Path("it", span), self.place, kind)
        return replace(self, it=it, place=replace(self.place, bindings={**self.place.bindings, "it": it}))

    def with_text(self, name: ast.Name, text: TextExpression) -> Self:
        """The same, where a name stands for a text."""
        given = Given(ast.Path(name.text, name.span), self.place, text, self.it)
        return replace(self, place=replace(self.place, bindings={**self.place.bindings, name.text: given}))

    def given(self, path: ast.Path) -> TextExpression | None:
        """The text that was handed in under this name; None for any other name. Raises Unresolved (P120)."""
        bound = self.place.bindings.get(path.text)
        if not isinstance(bound, Given):
            return None
        if bound.it is not self.it and MessageText("it") in walk(bound.text):
            message = f"`{path.text}` is said of a part or an event, and goes through others itself"
            raise self.messages.failure("P120", message, path.span)
        return bound.text

    def is_it(self, path: ast.Path) -> bool:
        """Whether a name is `it` or, for events, `it.NAME`, and not a parameter called so."""
        return path.parts[0] == "it" and ("it" not in self.place.bindings or self._it() is not None)

    def require_it(self, path: ast.Path) -> It:
        """What `it` stands for in this place. Raises Unresolved (P120)."""
        seen = self._it()
        if seen is None:
            note = "`it` is the part or the event that a sentence goes through, as in `call to NAME where (it ...)`"
            if self.place.unfolding:
                note = "a definition sees its parameters only: give it one more, and pass `it` where you use it"
            raise self.messages.failure("P120", f"`{path.text}` stands for nothing here", path.span, notes=(note,))
        if seen is not self.it:
            message = f"`{path.text}` means an outer part or event, which cannot be named inside another one"
            raise self.messages.failure("P120", message, path.span)
        return seen

    def _it(self) -> It | None:
        bound = self.place.bindings.get("it")
        return bound if isinstance(bound, It) else None

    def unfolded(self, expression: ast.Path | ast.Call) -> tuple[Self, ast.Expression] | None:
        """What a definition or an argument stands for, and who resolves it; None for other names."""
        if isinstance(expression, ast.Path) and (
            self.is_it(expression) or isinstance(self.place.bindings.get(expression.text), Given)
        ):
            return None
        found = unfold(expression, self.place, self.messages)
        return None if found is None else (replace(self, place=found[1]), found[0])

    def called(self, expression: ast.Path | ast.Call) -> TextCall | NumberCall | BooleanCall | None:
        """A function of the catalog with its arguments; None for anything else. Raises Unresolved (P122)."""
        return calls.resolve(expression, self) if isinstance(expression, ast.Call) else None

    def wrong_name(self, expression: ast.Path | ast.Call, what: str) -> Unresolved:
        """Refuses a name: one that is known `what`, another one is unknown."""
        if isinstance(expression, ast.Call):
            name = expression.function
            if name.text in calls.functions():
                return self.messages.failure("P122", f"`{name.text}(...)` {what}", expression.span)
            if name.text in self.scope.known():
                return self.messages.failure("P110", f"`{name.text}` takes no arguments", expression.span)
            return lookup.unknown(name, self.scope, self.messages, calls.functions())
        name = ast.Name(expression.text, expression.span)
        if name.text in self.scope.known() or lookup.is_fact(expression) or self.is_it(expression):
            return self.messages.failure("P105", f"`{name.text}` {what}", name.span)
        if name.text in calls.functions():
            note = f"call it with what it is about, as in `{name.text}(response)`"
            return self.messages.failure("P122", f"`{name.text}` is a function", name.span, notes=(note,))
        return lookup.unknown(name, self.scope, self.messages)

    def refuse(self, node: ast.Expression | ast.Verb, otherwise: str) -> Unresolved:
        """Refuses a construct that has no meaning where it stands."""
        match node:
            case ast.Part(ast.Quantifier.EVERY | ast.Quantifier.SOME as quantifier, unit):
                note = f"say something of it, as in `{quantifier} {unit.text} of response must ...`"
                message = f"`{quantifier} {unit.text}` can only be what a sentence is about"
                return self.messages.failure("P123", message, node.span, notes=(note,))
            case ast.CallTo() | ast.OutputOf() | ast.MessageFrom():
                note = "say something of it, as in `call to NAME must not contain ...`, or ask whether it `occurs`"
                return self.messages.failure(
                    "P120",
                    "a call, an output or a message can only be what a sentence is about",
                    node.span,
                    notes=(note,),
                )
        return self.messages.failure("P105", otherwise, node.span)


def extent(span: Span) -> Extent:
    """The range of a span."""
    return Extent(span.start, span.end)
