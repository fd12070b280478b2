"""Builds the terms and verbs of the syntax tree: one method for each rule or alias of `grammar.lark`.

`spec/transform.py` adds clauses and declarations and hands the methods to the parser.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.lalr import Token
from bylaw.spec.source import Span

Children = list[Any]

MAXIMUM_DIGITS = 15

_ESCAPE = re.compile(r"\\(?:u\{([0-9A-Fa-f]{1,6})\}|(.))", re.DOTALL)
_PLAIN_ESCAPES = MappingProxyType({"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\"})
_CODE_POINTS = 0x110000
_SURROGATES = range(0xD800, 0xE000)
_FLAGS = frozenset("ims")
_PartType = TypeVar("_PartType")


@dataclass(frozen=True, slots=True)
class Part:
    """An optional part of a construct on its way to the node that owns it."""

    kind: str
    value: Any


def part(children: Children, kind: str) -> Any:
    """Return the value of the optional part of this kind, or None."""
    return next((child.value for child in children if type(child) is Part and child.kind == kind), None)


def only(children: Children, kind: type[_PartType]) -> tuple[_PartType, ...]:
    """Return the children of a class, in order."""
    return tuple(child for child in children if isinstance(child, kind))


def first(children: Children, kind: type[_PartType]) -> _PartType | None:
    """Return the first child of a class, or None."""
    return next((child for child in children if isinstance(child, kind)), None)


def words(text: str) -> frozenset[str]:
    """Return the words of a text as a set."""
    return frozenset(text.split())


def name_of(token: Token) -> ast.Name:
    """Return the name that a token spells."""
    return ast.Name(token.text, token.span)


def _named(value: Any) -> Any:
    return name_of(value) if isinstance(value, Token) else value


def passed(kind: str) -> Callable[[Any, Children, Span], Part]:
    """Make the method of a rule that only wraps its one child."""

    def handler(self: Any, children: Children, span: Span) -> Part:
        return Part(kind, _named(children[0]))

    return handler


def single(node: Callable[..., Any]) -> Callable[[Any, Children, Span], Any]:
    """Make the method of a rule whose node holds its children in order and nothing else; tokens become names."""

    def handler(self: Any, children: Children, span: Span) -> Any:
        return node(
            *[_named(child) for child in children if not isinstance(child, Token) or child.type == "NAME"], span
        )

    return handler


def several(node: Callable[..., Any]) -> Callable[[Any, Children, Span], Any]:
    """Make the method of a rule whose node holds all its children as one tuple."""

    def handler(self: Any, children: Children, span: Span) -> Any:
        return node(tuple(children), span)

    return handler


def _arithmetic(operator: str) -> Callable[[Any, Children, Span], ast.Arithmetic]:
    def handler(self: Any, children: Children, span: Span) -> ast.Arithmetic:
        return ast.Arithmetic(children[0], operator, children[1], span)

    return handler


class TermBuilder:
    """Methods for terms and verbs; collects what it finds wrong in `diagnostics`."""

    def __init__(self) -> None:
        """Start without diagnostics."""
        self.diagnostics: list[Diagnostic] = []

    def report(self, code: str, message: str, primary: Label, *notes: str, fix: Fix | None = None) -> None:
        """Add an error."""
        self.diagnostics.append(Diagnostic(code, Severity.ERROR, message, primary, notes=notes, fix=fix))

    # ------------------------------------------------------------------------------------------------- literals

    def number(self, children: Children, span: Span) -> ast.Number:
        token = children[0]
        digits = token.text.removesuffix("%")
        if len(digits) > MAXIMUM_DIGITS:
            message = f"this number has more than {MAXIMUM_DIGITS} digits"
            self.report("P011", message, Label(span), "numbers of a policy are kept exactly, up to that length")
            digits = "0"
        value = float(digits) if "." in digits else int(digits)
        return ast.Number(value, token.type == "PERCENT", span)

    def minus_number(self, children: Children, span: Span) -> ast.Number:
        return ast.Number(-children[0].value, children[0].percent, span)

    def truth(self, children: Children, span: Span) -> ast.Bool:
        return ast.Bool(children[0].text == "true", span)

    def string(self, children: Children, span: Span) -> ast.Text:
        token = children[0]
        width = 3 if token.type == "LONG_STRING" else 1
        inner = token.text[width:-width]
        if "\\" not in inner or token.type == "STRING_TRAP":
            return ast.Text(inner, span)
        return ast.Text(_ESCAPE.sub(lambda match: self._escape(match, span.start + width), inner), span)

    def _escape(self, match: re.Match[str], offset: int) -> str:
        code_point, letter = match.groups()
        if code_point is None and letter in _PLAIN_ESCAPES:
            return _PLAIN_ESCAPES[letter]
        if code_point is not None:
            value = int(code_point, 16)
            if value < _CODE_POINTS and value not in _SURROGATES:
                return chr(value)
        place = Span(offset + match.start(), offset + match.end())
        note = 'known escapes are `\\"`, `\\\\`, `\\n`, `\\t`, `\\r` and `\\u{1F600}`'
        fix = Fix("write `\\\\` for a backslash", Span(place.start, place.start + 1), "\\\\")
        self.report("P012", f"`{match[0]}` is not a known escape", Label(place), note, fix=fix)
        return match[0]

    def pattern(self, children: Children, span: Span) -> ast.Pattern:
        inner, _, flags = children[0].text[1:].rpartition("/")
        if set(flags) - _FLAGS or len(set(flags)) < len(flags):
            place = Span(span.end - len(flags), span.end)
            wrong = next((flag for flag in flags if flag not in _FLAGS), None)
            message = f"`{wrong}` is not a pattern flag" if wrong else f"the pattern flags `{flags}` repeat a letter"
            note = "flags are `i` (any case), `m` (`^` and `$` at lines) and `s` (`.` takes line breaks)"
            self.report("P013", message, Label(place), note)
        return ast.Pattern(inner, "".join(sorted(set(flags))), span)

    list_literal = several(ast.ListLiteral)

    # --------------------------------------------------------------------------------------------- noun phrases

    def path(self, children: Children, span: Span) -> ast.Path:
        return ast.Path(children[0].text, span)

    argument_name = passed("name")

    def argument(self, children: Children, span: Span) -> ast.Argument:
        return ast.Argument(part(children, "name"), children[-1], span)

    def call(self, children: Children, span: Span) -> ast.Call:
        return ast.Call(name_of(children[0]), tuple(children[1:]), span)

    def part_of(self, children: Children, span: Span) -> ast.Part:
        return ast.Part(ast.Quantifier(children[0].text), name_of(children[1]), children[2], span)

    def nth_part(self, children: Children, span: Span) -> ast.NthPart:
        return ast.NthPart(name_of(children[0]), self.number(children[1:], children[1].span), children[2], span)

    number_of = single(ast.NumberOf)
    score_of = single(ast.ScoreOf)
    any_tool = several(lambda _, span: ast.AnyTool(span))
    where = passed("where")

    def call_to(self, children: Children, span: Span) -> ast.CallTo:
        return ast.CallTo(_named(children[1]), part(children, "where"), span)

    def output_of(self, children: Children, span: Span) -> ast.OutputOf:
        return ast.OutputOf(_named(children[1]), part(children, "where"), span)

    def message_from(self, children: Children, span: Span) -> ast.MessageFrom:
        return ast.MessageFrom(name_of(children[1]), part(children, "where"), span)

    # ---------------------------------------------------------------------------------------------- expressions

    or_expression = several(ast.Or)
    and_expression = several(ast.And)
    not_expression = single(ast.Not)

    def compare(self, children: Children, span: Span) -> ast.Compare:
        return ast.Compare(children[0], children[1].text, children[2], span)

    def claim(self, children: Children, span: Span) -> ast.Claim:
        return ast.Claim(children[0], children[1], False, span)

    def negated_claim(self, children: Children, span: Span) -> ast.Claim:
        return ast.Claim(children[0], children[2], True, span)

    add = _arithmetic("+")
    subtract = _arithmetic("-")
    multiply = _arithmetic("*")
    divide = _arithmetic("/")

    def negate(self, children: Children, span: Span) -> ast.Expression:
        operand = children[0]
        # `-1` is a number; `-(1)` and `--1` stay operations, so that printing and parsing again agree
        if isinstance(operand, ast.Number) and operand.span.end == span.end and operand.value >= 0:
            return self.minus_number(children, span)
        return ast.Negate(operand, span)

    # ---------------------------------------------------------------------------------------------------- bounds

    at_least = single(ast.AtLeast)
    at_most = single(ast.AtMost)
    exactly = single(ast.Exactly)
    more_than = single(ast.MoreThan)
    fewer_than = single(ast.FewerThan)
    between = single(ast.Between)

    # ----------------------------------------------------------------------------------------------------- verbs

    verb_or = several(ast.VerbOr)
    verb_and = several(ast.VerbAnd)
    verb_not = single(ast.VerbNot)

    def find(self, children: Children, span: Span) -> ast.Contains | ast.Mentions:
        return _finder(children[0])(children[1], part(children, "times"), span)

    def find_among(self, children: Children, span: Span) -> ast.Contains | ast.Mentions:
        choice = ast.Choice(children[1].text.split()[0])
        ordered = part(children, "in_order")
        if ordered is not None and choice is not ast.Choice.ALL:
            message = f"`{choice} of ... in order` has no meaning"
            self.report("P005", message, Label(ordered), "only `all of` a list can come in order")
        is_ordered = ordered is not None
        return _finder(children[0])(children[2], ast.Among(choice, is_ordered, children[1].span), span)

    def in_order(self, children: Children, span: Span) -> Part:
        return Part("in_order", span)

    def find_count(self, children: Children, span: Span) -> ast.Contains | ast.Mentions:
        bound = children[1]
        return _finder(children[0])(children[2], ast.CountAmong(bound, bound.span), span)

    def times(self, children: Children, span: Span) -> Part:
        return Part("times", ast.Times(children[0], span))

    match = single(ast.Matches)
    start_with = single(ast.StartsWith)
    end_with = single(ast.EndsWith)
    have_count = single(ast.HasCount)
    have_none = single(ast.HasNone)
    have_some = single(ast.HasSome)
    follow = single(ast.Follows)
    precede = single(ast.Precedes)
    express_score = passed("score")
    occur_per = passed("per")

    def express(self, children: Children, span: Span) -> ast.Expresses:
        return ast.Expresses(name_of(children[1]), part(children, "score"), span)

    def quote_limit(self, children: Children, span: Span) -> Part:
        return Part("limit", ast.QuoteLimit(children[0], name_of(children[1]), span))

    def quote(self, children: Children, span: Span) -> ast.Quotes:
        return ast.Quotes(children[1], part(children, "limit"), span)

    def occur(self, children: Children, span: Span) -> ast.Occurs:
        bound = children[1] if len(children) > 1 else None
        return ast.Occurs(bound, part(children, "per"), span)

    # `be` and `be not` share these five; the second element is added when the polarity is known
    property_match = passed("matching")

    def is_property(self, children: Children, span: Span) -> Part:
        return Part("IsProperty", (name_of(children[0]), part(children, "matching")))

    about = passed("IsAbout")
    in_language = passed("IsInLanguage")
    is_in = passed("IsIn")
    is_bounded = passed("IsBounded")

    def be(self, children: Children, span: Span) -> ast.Verb:
        return _is(children[1], False, span)

    def be_not(self, children: Children, span: Span) -> ast.Verb:
        return _is(children[1], True, span)


def _finder(verb: Token) -> type[ast.Contains] | type[ast.Mentions]:
    return ast.Mentions if verb.text.startswith("mention") else ast.Contains


def _is(complement: Part, negated: bool, span: Span) -> ast.Verb:
    value = complement.value
    match complement.kind:
        case "IsProperty":
            name, matching = value
            return ast.IsProperty(name, matching, negated, span)
        case "IsAbout":
            return ast.IsAbout(value, negated, span)
        case "IsInLanguage":
            return ast.IsInLanguage(value, negated, span)
        case "IsIn":
            return ast.IsIn(value, negated, span)
        case _:
            return ast.IsBounded(value, negated, span)
