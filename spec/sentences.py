"""Resolving sentences: syntax -> typed expressions.

Each function records a diagnostic with the author's words and raises Unresolved where a part has no meaning, so that
the caller can go on with the next clause and one run reports all mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NoReturn, cast

from bylaw.spec import ast, catalog
from bylaw.spec.errors import Fix, Label
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanConstant,
    BooleanExpression,
    Compare,
    Count,
    Extent,
    Fact,
    Holds,
    Matcher,
    MessageRole,
    MessageText,
    Not,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Or,
    Phrase,
    Regex,
    TextConstant,
    TextExpression,
    negate,
)
from bylaw.spec.pattern import PatternError, parse_pattern
from bylaw.spec.scope import FACT_ROOTS, SUBJECTS, Messages, Scope, Unresolved
from bylaw.spec.source import Span

RESPONSE = MessageText("response")

_UNSUPPORTED: Mapping[type, str] = {
    ast.Part: "parts of a text (`every sentence of ...`) are",
    ast.NthPart: "parts of a text (`paragraph 2 of ...`) are",
    ast.ScoreOf: "scores of concepts are",
    ast.CallTo: "rules about tool calls are",
    ast.OutputOf: "rules about the output of tools are",
    ast.MessageFrom: "rules about single messages are",
    ast.IsAbout: "topics (`about ...`) are",
    ast.IsInLanguage: "recognising languages is",
    ast.Expresses: "concepts (`express ...`) are",
    ast.Quotes: "`quote` is",
    ast.Follows: "`follow` is",
    ast.Precedes: "`precede` is",
    ast.Occurs: "`occur` is",
}


@dataclass(frozen=True)
class Binding:
    """An argument of a definition, together with the names that were visible where it was written."""

    value: ast.Expression
    names: Mapping[str, Binding]


@dataclass(frozen=True)
class Sentences:
    """Resolves the sentences of one file. `bindings` are the arguments of the definition that is being unfolded."""

    scope: Scope
    messages: Messages
    bindings: Mapping[str, Binding]
    unfolding: tuple[str, ...] = ()

    # ------------------------------------------------------------------------------------------------- booleans
    def truth(self, expression: ast.Expression) -> BooleanExpression:
        """A condition. Raises Unresolved."""
        match expression:
            case ast.And(operands):
                return And(tuple(self.truth(operand) for operand in operands))
            case ast.Or(operands):
                return Or(tuple(self.truth(operand) for operand in operands))
            case ast.Not(operand):
                return negate(self.truth(operand))
            case ast.Bool(value):
                return BooleanConstant(value)
            case ast.Compare(left, operator, right):
                return self._compare(left, operator, right, expression.span)
            case ast.Claim(subject, verb, negated):
                said = self.said_of(subject, verb)
                return negate(said) if negated else said
            case ast.Call() | ast.Path():
                unfolded = self._unfold(expression)
                if unfolded is not None:
                    return unfolded[0].truth(unfolded[1])
                return self._truth_of_path(expression)
        self._unsupported_or(expression, "this is not something that can be true or false")

    def _truth_of_path(self, expression: ast.Path | ast.Call) -> BooleanExpression:
        if isinstance(expression, ast.Path):
            if isinstance(value := self.scope.parameters.get(expression.text), bool):
                return BooleanConstant(value)
            if expression.parts[0] in FACT_ROOTS and len(expression.parts) > 1:
                return Holds("match", Fact(expression.text), (Phrase("true"),), extent=_extent(expression.span))
            if expression.text in self.scope.known():
                self._fail("P105", f"`{expression.text}` is not true or false by itself", expression.span)
        self._unknown_name(_name_of(expression))

    def _compare(self, left: ast.Expression, operator: str, right: ast.Expression, span: Span) -> BooleanExpression:
        texts = [side for side in (left, right) if self._is_text_literal(side)]
        if texts:
            if operator not in ("==", "!="):
                self._fail("P105", "texts can be compared with `==` and `!=` only", span)
            literal = texts[-1]
            subject = self.text(left if literal is right else right)
            holds = Holds("match", subject, (Phrase(self._text_literal(literal)),), extent=_extent(span))
            return holds if operator == "==" else Not(holds)
        symbol = cast(Literal["<", "<=", "==", "!=", ">=", ">"], operator)
        return Compare(symbol, self.number(left), self.number(right), _extent(span))

    def _is_text_literal(self, expression: ast.Expression) -> bool:
        return isinstance(expression, ast.Text) or (
            isinstance(expression, ast.Path) and isinstance(self.scope.parameters.get(expression.text), str)
        )

    def _text_literal(self, expression: ast.Expression) -> str:
        if isinstance(expression, ast.Text):
            return expression.value
        return str(self.scope.parameters[cast(ast.Path, expression).text])

    # -------------------------------------------------------------------------------------------------- verbs
    def said_of(self, subject: ast.Expression | None, verb: ast.VerbPhrase) -> BooleanExpression:
        """What a verb phrase says of a subject; None is the response. Raises Unresolved."""
        match verb:
            case ast.VerbAnd(operands):
                return And(tuple(self.said_of(subject, operand) for operand in operands))
            case ast.VerbOr(operands):
                return Or(tuple(self.said_of(subject, operand) for operand in operands))
            case ast.VerbNot(operand):
                return negate(self.said_of(subject, operand))
            case ast.IsBounded(bound, negated):
                if subject is None:
                    self._fail("P105", "a response is not a number", verb.span, "say what is counted: `have at most 50 words`")
                return self._negated_if(negated, self._bounded(self.number(subject), bound, verb.span))
        text = RESPONSE if subject is None else self.text(subject)
        return self._said_of_text(text, verb)

    def _said_of_text(self, text: TextExpression, verb: ast.Verb) -> BooleanExpression:
        extent = _extent(verb.span)
        match verb:
            case ast.Contains(what, amount):
                return self._found("contain", text, what, amount, verb.span)
            case ast.Mentions(what, amount):
                return self._found("mention", text, what, amount, verb.span)
            case ast.Matches(what):
                return Holds("match", text, self.matchers(what), extent=extent)
            case ast.StartsWith(what):
                return Holds("start_with", text, self.matchers(what), extent=extent)
            case ast.EndsWith(what):
                return Holds("end_with", text, self.matchers(what), extent=extent)
            case ast.HasCount(bound, unit):
                return self._bounded(Count(self._unit(unit), text), bound, verb.span)
            case ast.HasNone(unit):
                return Compare("<=", Count(self._unit(unit), text), NumberConstant(0.0), extent)
            case ast.HasSome(unit):
                return Compare(">=", Count(self._unit(unit), text), NumberConstant(1.0), extent)
            case ast.IsIn(collection, negated):
                return self._negated_if(negated, Holds("match", text, self.matchers(collection), extent=extent))
            case ast.IsProperty(name, matching, negated):
                if matching is not None:
                    self.messages.not_supported(f"`{name.text} matching ...` is", verb.span)
                    raise Unresolved
                return self._negated_if(negated, Holds(self._property(name), text, extent=extent))
        self._unsupported_or(verb, "this cannot be said of a text")

    def _found(
        self, predicate: Literal["contain", "mention"], text: TextExpression, what: ast.Expression,
        amount: ast.Amount | None, span: Span,
    ) -> BooleanExpression:  # fmt: skip
        matchers = self.matchers(what)
        match amount:
            case ast.Times(bound):
                return self._bounded(Occurrences(predicate, text, matchers), bound, span)
            case ast.CountAmong(bound):
                self.messages.not_supported("`at least n of` a set is", bound.span)
                raise Unresolved
            case ast.Among(ast.Choice.ALL):
                return Holds(predicate, text, matchers, "all", _extent(span))
            case ast.Among(ast.Choice.NONE):
                return Not(Holds(predicate, text, matchers, "any", _extent(span)))
        return Holds(predicate, text, matchers, "any", _extent(span))

    def _bounded(self, amount: NumberExpression, bound: ast.Bound, span: Span) -> BooleanExpression:
        extent = _extent(span)
        match bound:
            case ast.AtLeast(value):
                return Compare(">=", amount, self.number(value), extent)
            case ast.AtMost(value):
                return Compare("<=", amount, self.number(value), extent)
            case ast.Exactly(value):
                return Compare("==", amount, self.number(value), extent)
            case ast.MoreThan(value):
                return Compare(">", amount, self.number(value), extent)
            case ast.FewerThan(value):
                return Compare("<", amount, self.number(value), extent)
            case ast.Between(low, high):
                return And((
                    Compare(">=", amount, self.number(low), extent), Compare("<=", amount, self.number(high), extent),
                ))  # fmt: skip

    # ------------------------------------------------------------------------------------------------ numbers
    def number(self, expression: ast.Expression) -> NumberExpression:
        """A quantity. Raises Unresolved."""
        match expression:
            case ast.Number():
                return NumberConstant(float(expression.amount))
            case ast.Negate(operand):
                return Arithmetic("-", NumberConstant(0.0), self.number(operand))
            case ast.Arithmetic(left, operator, right):
                symbol = cast(Literal["+", "-", "*", "/"], operator)
                return Arithmetic(symbol, self.number(left), self.number(right))
            case ast.NumberOf(counted, whole):
                return self._number_of(counted, self.text(whole))
            case ast.Call() | ast.Path():
                unfolded = self._unfold(expression)
                if unfolded is not None:
                    return unfolded[0].number(unfolded[1])
                return self._number_of_path(expression)
        self._unsupported_or(expression, "this is not a number")

    def _number_of_path(self, expression: ast.Path | ast.Call) -> NumberExpression:
        if isinstance(expression, ast.Path):
            value = self.scope.parameters.get(expression.text)
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                return NumberConstant(float(value))
            if expression.parts[0] in FACT_ROOTS and len(expression.parts) > 1:
                return NumberFact(expression.text)
            if expression.text in self.scope.known():
                self._fail("P105", f"`{expression.text}` is not a number", expression.span)
        self._unknown_name(_name_of(expression))

    def _number_of(self, counted: ast.Name | ast.Pattern | ast.Text | ast.ListLiteral, text: TextExpression) -> NumberExpression:
        if isinstance(counted, ast.Name):
            if counted.text in self.scope.lexicons:
                return Occurrences("mention", text, self.scope.lexicons[counted.text])
            return Count(self._unit(counted), text)
        return Occurrences("contain", text, self.matchers(counted))

    # -------------------------------------------------------------------------------------------------- texts
    def text(self, expression: ast.Expression) -> TextExpression:
        """What a sentence is about. Raises Unresolved."""
        match expression:
            case ast.Text(value):
                return TextConstant(value)
            case ast.Call() | ast.Path():
                unfolded = self._unfold(expression)
                if unfolded is not None:
                    return unfolded[0].text(unfolded[1])
                if isinstance(expression, ast.Path):
                    if expression.text in SUBJECTS:
                        return MessageText(cast(MessageRole, SUBJECTS[expression.text]))
                    if isinstance(value := self.scope.parameters.get(expression.text), str):
                        return TextConstant(value)
                    if expression.parts[0] in FACT_ROOTS and len(expression.parts) > 1:
                        return Fact(expression.text)
                    if expression.text in self.scope.known():
                        self._fail("P105", f"`{expression.text}` is not a text", expression.span)
                self._unknown_name(_name_of(expression))
        self._unsupported_or(expression, "this is not a text")

    # ----------------------------------------------------------------------------------------------- matchers
    def matchers(self, expression: ast.Expression) -> tuple[Matcher, ...]:
        """What to look for: a text, a pattern, a list, a lexicon or a parameter. Raises Unresolved."""
        match expression:
            case ast.Text(value):
                if value == "":
                    self._fail("P105", "an empty text is found everywhere", expression.span)
                return (Phrase(value),)
            case ast.Pattern(source, flags):
                return (self._regex(source, flags, expression.span),)
            case ast.ListLiteral(items):
                if not items:
                    self._fail("P105", "this list is empty, so nothing could be found", expression.span)
                return tuple(matcher for item in items for matcher in self.matchers(item))
            case ast.Path(text) if text in self.bindings:
                binding = self.bindings[text]
                return replace(self, bindings=binding.names).matchers(binding.value)
            case ast.Path(text) if text in self.scope.lexicons:
                return self.scope.lexicons[text]
            case ast.Path(text) if isinstance(self.scope.parameters.get(text), str):
                return (Phrase(str(self.scope.parameters[text])),)
            case ast.Path(text) if isinstance(self.scope.parameters.get(text), tuple):
                return cast("tuple[Matcher, ...]", self.scope.parameters[text])
            case ast.Path(text):
                if text in self.scope.known() or text.split(".")[0] in FACT_ROOTS:
                    self._fail("P105", f"`{text}` is not a text, pattern or lexicon to look for", expression.span)
                self._unknown_name(ast.Name(text, expression.span))
        self._unsupported_or(expression, "only a text, a pattern, a list or a lexicon can be looked for")

    def _regex(self, source: str, flags: str, span: Span) -> Regex:
        try:
            parse_pattern(source, flags)
        except PatternError as error:
            # The source of a pattern stands between slashes, exactly as written.
            start = min(span.start + 1 + error.offset, span.end - 1)
            self.messages.error("P107", f"this pattern cannot be used: {error.message}", Span(start, max(start + error.length, start + 1)))
            raise Unresolved from None
        return Regex(source, flags)

    # ------------------------------------------------------------------------------------------ catalog names
    def _unit(self, name: ast.Name) -> str:
        known = catalog.names("units")
        if name.text not in known:
            nearest = catalog.nearest(name.text, known)
            self.messages.error(
                "P102", f"`{name.text}` is not something that can be counted", name.span,
                notes=(f"countable are {', '.join(known)}",),
                fix=None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest),
            )  # fmt: skip
            raise Unresolved
        return name.text

    def _property(self, name: ast.Name) -> str:
        known = tuple(n for n in catalog.names("predicates") if not catalog.predicate(n).takes_matchers)
        if name.text not in known:
            nearest = catalog.nearest(name.text, known)
            self.messages.error(
                "P103", f"a text cannot be `{name.text}`", name.span,
                notes=(f"a text can be {', '.join(known)}",),
                fix=None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest),
            )  # fmt: skip
            raise Unresolved
        return name.text

    # -------------------------------------------------------------------------------------------- definitions
    def _unfold(self, expression: ast.Path | ast.Call) -> tuple[Sentences, ast.Expression] | None:
        """The body of a definition with its arguments bound, or the argument that a name is bound to."""
        name = _name_of(expression)
        if isinstance(expression, ast.Path) and name.text in self.bindings:
            binding = self.bindings[name.text]
            return replace(self, bindings=binding.names), binding.value
        definition = self.scope.definitions.get(name.text)
        if definition is None:
            return None
        if name.text in self.unfolding:
            self._fail("P109", f"`{name.text}` is defined by itself", name.span, notes=(" -> ".join((*self.unfolding, name.text)),))
        bindings = self._bind(definition, expression)
        return replace(self, bindings=bindings, unfolding=(*self.unfolding, name.text)), definition.body

    def _bind(self, definition: ast.DefineDecl, use: ast.Path | ast.Call) -> dict[str, Binding]:
        parameters = definition.parameters or ()
        arguments = use.arguments if isinstance(use, ast.Call) else ()
        bound: dict[str, Binding] = {}
        for position, argument in enumerate(arguments):
            if argument.name is None:
                name = parameters[position].name.text if position < len(parameters) else ""
            else:
                name = argument.name.text
            if name not in {p.name.text for p in parameters} or name in bound:
                self._fail("P110", f"`{definition.name.text}` has no place for this argument", argument.span, secondary=(Label(definition.name.span, "defined here"),))
            bound[name] = Binding(argument.value, self.bindings)
        for parameter in parameters:
            if parameter.name.text not in bound:
                if parameter.default is None:
                    self._fail("P110", f"`{definition.name.text}` needs a value for `{parameter.name.text}`", use.span, secondary=(Label(parameter.span, "declared here"),))
                bound[parameter.name.text] = Binding(parameter.default, {})
        return bound

    # ------------------------------------------------------------------------------------------------- errors
    def _unknown_name(self, name: ast.Name) -> NoReturn:
        if name.text.split(".")[0] in ("it", "agents", "std", "spec") and "." in name.text:
            self.messages.not_supported(f"names from elsewhere (`{name.text}`) are", name.span)
            raise Unresolved
        nearest = catalog.nearest(name.text, self.scope.known())
        declared = self.scope.spans.get(nearest or "")
        self.messages.error(
            "P101", f"there is nothing called `{name.text}`", name.span, "not defined in this file",
            secondary=() if declared is None else (Label(declared, "did you mean this one?"),),
            notes=(f"facts that come with a conversation begin with {', '.join(f'`{root}.`' for root in FACT_ROOTS)}",),
            fix=None if nearest is None else Fix(f"write `{nearest}`", name.span, nearest),
        )  # fmt: skip
        raise Unresolved

    def _unsupported_or(self, node: ast.Expression | ast.Verb, otherwise: str) -> NoReturn:
        """Tells a construct that later versions resolve from one that has no meaning here."""
        for part in ast.walk(node):
            if type(part) in _UNSUPPORTED:
                self.messages.not_supported(_UNSUPPORTED[type(part)], node.span)
                raise Unresolved
        self._fail("P105", otherwise, node.span)

    def _fail(self, code: str, message: str, span: Span, label: str = "", *, secondary: tuple[Label, ...] = (), notes: tuple[str, ...] = ()) -> NoReturn:
        self.messages.error(code, message, span, label, secondary=secondary, notes=notes)
        raise Unresolved

    @staticmethod
    def _negated_if(negated: bool, expression: BooleanExpression) -> BooleanExpression:
        return negate(expression) if negated else expression


def _name_of(expression: ast.Path | ast.Call) -> ast.Name:
    return expression.function if isinstance(expression, ast.Call) else ast.Name(expression.text, expression.span)


def _extent(span: Span) -> Extent:
    return Extent(span.start, span.end)
