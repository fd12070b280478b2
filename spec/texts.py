"""Resolving texts, parts of texts, and what is looked for in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, cast

from bylaw.spec import ast, calls, lookup
from bylaw.spec.expression import (
    EventAt,
    EventSelector,
    Fact,
    Matcher,
    MessageRole,
    MessageText,
    PartOf,
    Phrase,
    TextCall,
    TextConstant,
    TextExpression,
)
from bylaw.spec.resolving import Resolving
from bylaw.spec.scope import SUBJECTS, Unresolved
from bylaw.spec.source import Span

EventKind: TypeAlias = Literal["call", "output", "message"]

IT = MessageText("it")
EVENT_UNITS: Mapping[str, EventKind] = MappingProxyType({"message": "message", "call": "call", "output": "output"})
"""What a conversation, unlike a text, has parts of: `every message of conversation`, `last call of conversation`."""


def is_event(part: ast.Part | ast.NthPart) -> bool:
    """Whether it is an event of the conversation, and no part of a text."""
    is_named_so = part.unit.text in EVENT_UNITS
    return is_named_so and isinstance(part.whole, ast.Path) and part.whole.text == "conversation"


@dataclass(frozen=True)
class LookedFor:
    """What a verb looks for: matchers that the policy spells out, and texts that come with the conversation."""

    matchers: tuple[Matcher, ...]
    arguments: tuple[TextExpression, ...] = ()


class Texts(Resolving):
    """Resolves texts and what is looked for in them."""

    def text(self, expression: ast.Expression) -> TextExpression:
        """What a sentence is about. Raises Unresolved."""
        match expression:
            case ast.Text(value):
                return TextConstant(value)
            case ast.Part(ast.Quantifier.FIRST | ast.Quantifier.LAST) | ast.NthPart() if is_event(expression):
                selector = EventSelector(EVENT_UNITS[expression.unit.text])
                return EventAt(selector, self._place_of(expression))
            case ast.Part(ast.Quantifier.FIRST | ast.Quantifier.LAST, _, whole) | ast.NthPart(_, _, whole):
                return self.part_of(expression, self.text(whole))
            case ast.Call() | ast.Path():
                inner = self.unfolded(expression)
                return self._text_of_name(expression) if inner is None else inner[0].text(inner[1])
        raise self.refuse(expression, "this is not a text")

    def part_of(self, part: ast.Part | ast.NthPart, whole: TextExpression) -> PartOf:
        """The first, the last or the n-th part of a text. Raises Unresolved (P123)."""
        return PartOf(lookup.part(part.unit, self.messages), self._place_of(part), whole)

    def _place_of(self, part: ast.Part | ast.NthPart) -> int:
        """Where a part is, from 1, or from -1 backwards. Raises Unresolved (P123)."""
        if isinstance(part, ast.Part):
            return 1 if part.quantifier is ast.Quantifier.FIRST else -1
        if part.index.amount < 1:
            message = f"there is no {part.unit.text} {part.index.value}: parts are counted from 1"
            raise self.messages.failure("P123", message, part.index.span)
        return int(part.index.amount)

    def _text_of_name(self, expression: ast.Path | ast.Call) -> TextExpression:
        if isinstance(expression, ast.Path):
            if (given := self.given(expression)) is not None:
                return given
            if self.is_it(expression):
                return self._text_of_it(expression)
            if expression.text in SUBJECTS:
                return MessageText(cast(MessageRole, SUBJECTS[expression.text]))
            if isinstance(value := self.scope.parameter(expression.text), str):
                return TextConstant(value)
            if lookup.is_fact(expression):
                return Fact(expression.text)
        called = self.called(expression)
        if isinstance(called, TextCall):
            return called
        raise self.wrong_name(
            expression, "is not a text" if called is None else f"gives {calls.kind_of(called)}, not a text"
        )

    def _text_of_it(self, path: ast.Path) -> TextExpression:
        it = self.require_it(path)
        return IT if path.text == "it" else Fact(self.argument_of_it(path, it.kind))

    def argument_of_it(self, path: ast.Path, kind: str | None = None) -> str:
        """The name of a fact about the event that `it` stands for. Raises Unresolved (P120)."""
        kind = kind or self.require_it(path).kind
        if kind == "call" or (kind == "output" and path.text == "it.tool"):
            return path.text
        what = {"output": "the output of a tool", "message": "a message"}.get(kind, "a part of a text")
        note = "the arguments of a call are named so, as in `call to refund where (it.amount > 50)`"
        raise self.messages.failure("P120", f"{what} has no `{path.text[3:]}`", path.span, notes=(note,))

    def is_text(self, expression: ast.Expression) -> bool:
        """Whether something is a text for certain; a fact may be anything. Raises Unresolved."""
        match expression:
            case ast.Text() | ast.Part() | ast.NthPart():
                return True
            case ast.Path() | ast.Call():
                inner = self.unfolded(expression)
                if inner is not None:
                    return inner[0].is_text(inner[1])
                if isinstance(expression, ast.Call):
                    return calls.gives_text(expression.function.text)
                is_text = self.given(expression) is not None or isinstance(self.scope.parameter(expression.text), str)
                return is_text or expression.text in SUBJECTS or expression.text == "it"
        return False

    def is_fact(self, expression: ast.Expression) -> bool:
        """Whether something is a fact, by its own name or through definitions. Raises Unresolved."""
        if not isinstance(expression, (ast.Path, ast.Call)):
            return False
        inner = self.unfolded(expression)
        if inner is not None:
            return inner[0].is_fact(inner[1])
        return isinstance(expression, ast.Path) and lookup.is_fact(expression)

    def literal_text(self, expression: ast.Expression) -> str | None:
        """The text that an expression spells out, directly or by name; None for anything else."""
        match expression:
            case ast.Text(value):
                return value
            case ast.Path() | ast.Call():
                inner = self.unfolded(expression)
                if inner is not None:
                    return inner[0].literal_text(inner[1])
                known = self.scope.parameter(expression.text) if isinstance(expression, ast.Path) else None
                return known if isinstance(known, str) else None
        return None

    # ------------------------------------------------------------------------------------------ what is looked for
    def matchers(self, expression: ast.Expression, *, repeats: bool = False) -> tuple[Matcher, ...]:
        """What the policy spells out to look for: a text, a pattern, a list, a lexicon; each once, unless it `repeats`.

        Raises Unresolved.
        """
        found = self.looked_for(expression)
        if found.arguments:
            message = "a text that comes with the conversation can only be looked for by itself"
            note = "it can be neither counted nor part of a list that is counted, ordered or declared"
            raise self.messages.failure("P105", message, expression.span, notes=(note,))
        return found.matchers if repeats else tuple(dict.fromkeys(found.matchers))

    def looked_for(self, expression: ast.Expression) -> LookedFor:
        """What to look for. Raises Unresolved."""
        match expression:
            case ast.Text(value):
                return LookedFor((self._phrase(value, expression.span),))
            case ast.Pattern():
                return LookedFor((lookup.pattern(expression, self.messages),))
            case ast.ListLiteral(items):
                if not items:
                    message = "this list is empty, so nothing could be found"
                    raise self.messages.failure("P105", message, expression.span)
                each = [self.looked_for(item) for item in items]
                return LookedFor(
                    tuple(matcher for found in each for matcher in found.matchers),
                    tuple(argument for found in each for argument in found.arguments),
                )
            case ast.Part(ast.Quantifier.FIRST | ast.Quantifier.LAST) | ast.NthPart():
                return LookedFor((), (self.text(expression),))
            case ast.Call() | ast.Path():
                inner = self.unfolded(expression)
                return self._looked_for_by_name(expression) if inner is None else inner[0].looked_for(inner[1])
        raise self.refuse(expression, "only a text, a pattern, a list or a lexicon can be looked for")

    def _looked_for_by_name(self, expression: ast.Path | ast.Call) -> LookedFor:
        if isinstance(expression, ast.Path):
            if self.is_it(expression) or self.given(expression) is not None:
                return LookedFor((), (self.text(expression),))
            if (lexicon := self.scope.lexicon(expression.text)) is not None:
                return LookedFor(lexicon)
            value = self.scope.parameter(expression.text)
            if isinstance(value, str):
                return LookedFor((self._phrase(value, expression.span),))
            if isinstance(value, tuple):
                return LookedFor(value)
            if lookup.is_fact(expression) or expression.text in SUBJECTS:
                return LookedFor((), (self.text(expression),))
        called = self.called(expression)
        if isinstance(called, TextCall):
            return LookedFor((), (called,))
        raise self._not_looked_for(expression)

    def _not_looked_for(self, expression: ast.Path | ast.Call) -> Unresolved:
        return self.wrong_name(expression, "is not a text, pattern or lexicon to look for")

    def _phrase(self, text: str, span: Span) -> Phrase:
        if text == "":
            raise self.messages.failure("P105", "an empty text is found everywhere", span)
        return Phrase(text)
