"""Canonical text of terms and verbs; `spec/printer.py` prints declarations with it.

Brackets are written only where the tree needs them; parsing the text gives the same tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from types import MappingProxyType
from typing import assert_never

from bylaw.spec import ast
from bylaw.spec.chunks import HIDDEN

# How tightly an expression binds, as in the grammar: or, and, not, comparison, sum, product, atom.
_OR, _AND, _NOT, _PREDICATE, _SUM, _PRODUCT, _ATOM = range(7)
# Names that are keywords where a verb goes on, and words that make one keyword with the one before them.
_BOUNDS = frozenset({"between", "exactly"})
_LANGUAGE = frozenset({"language"})
_PHRASES = frozenset(
    {"number of", "score of", "output of", "outputs of", "call to", "calls to", "message from", "messages from"}
)
_FIRST_WORD, _LAST_WORD = re.compile(r"[A-Za-z_][\w.]*"), re.compile(r"[A-Za-z_][\w.]*\Z")
_ESCAPES = MappingProxyType({'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"})


def quoted(text: ast.Text) -> str:
    """Return a text in double quotes on one line."""
    body = "".join(_ESCAPES.get(character, character) for character in text.value)
    return f'"{HIDDEN.sub(_code_point, body)}"'


def _code_point(match: re.Match[str]) -> str:
    return f"\\u{{{ord(match[0]):04x}}}"


def number(value: ast.Number) -> str:
    """Return a number without exponent."""
    digits = str(value.value) if isinstance(value.value, int) else f"{Decimal(repr(value.value)):f}"
    return f"{digits}%" if value.percent else digits


def names(values: Iterable[ast.Name]) -> str:
    """Return names with commas between."""
    return ", ".join(value.text for value in values)


def literal(value: ast.Literal | ast.Path) -> str:
    """Return a literal, or a path among the items of a list."""
    match value:
        case ast.Number():
            return number(value)
        case ast.Text():
            return quoted(value)
        case ast.Pattern():
            return f"/{value.source}/{value.flags}"
        case ast.Bool():
            return "true" if value.value else "false"
        case ast.ListLiteral():
            return f"[{', '.join(map(literal, value.items))}]"
        case ast.Path():
            return value.text
        case _:
            assert_never(value)


def expression(value: ast.Expression, is_closed: bool = False) -> str:
    """Return an expression, in brackets where it has to be `is_closed`."""
    return _at_least(_ATOM + 1 if is_closed else _OR, value)


def summand(value: ast.Expression, is_closed: bool = False) -> str:
    """Return an expression where the grammar takes a sum: whatever is looser stands in brackets."""
    return _at_least(_ATOM + 1 if is_closed else _SUM, value)


def apart(keywords: frozenset[str], text: str) -> str:
    """Return an expression, in brackets where its first word would be read as one of some keywords."""
    first = _FIRST_WORD.match(text)
    return f"({text})" if first and first[0] in keywords else text


def before(following: str, text: str) -> str:
    """Return an expression, in brackets where its last word and the following one would be read as one phrase."""
    last = _LAST_WORD.search(text)
    return f"({text})" if last and f"{last[0]} {following}" in _PHRASES else text


def _at_least(strength: int, value: ast.Expression) -> str:
    """Return an expression, in brackets where it binds less tightly than that."""
    its, text = _expression(value)
    return text if its >= strength else f"({text})"


def _expression(value: ast.Expression) -> tuple[int, str]:
    match value:
        case ast.Or():
            return _OR, " or ".join(_at_least(_AND, operand) for operand in value.operands)
        case ast.And():
            return _AND, " and ".join(_at_least(_NOT, operand) for operand in value.operands)
        case ast.Not():
            return _NOT, f"not {_at_least(_NOT, value.operand)}"
        case ast.Compare():
            return _PREDICATE, f"{summand(value.left)} {value.operator} {summand(value.right)}"
        case ast.Claim():
            said = f"does not {verb(value.verb)}" if value.negated else verb(value.verb, is_third_person=True)
            return _PREDICATE, f"{summand(value.subject)} {said}"
        case ast.Arithmetic():
            strength = _SUM if value.operator in "+-" else _PRODUCT
            left, right = _at_least(strength, value.left), _at_least(strength + 1, value.right)
            return strength, f"{left} {value.operator} {right}"
        case ast.Negate():
            is_number = isinstance(value.operand, ast.Number) and value.operand.value >= 0
            operand = _at_least(_ATOM, value.operand)
            return _ATOM, f"-({operand})" if is_number else f"-{operand}"
        case ast.Number() | ast.Text() | ast.Pattern() | ast.Bool() | ast.ListLiteral():
            return _ATOM, literal(value)
        case _:
            return _ATOM, noun(value)


def noun(value: ast.NounPhrase) -> str:
    """Return a noun phrase."""
    match value:
        case ast.Path():
            return value.text
        case ast.Call():
            return f"{value.function.text}({arguments(value.arguments)})"
        case ast.Part():
            return f"{value.quantifier} {value.unit.text} of {noun(value.whole)}"
        case ast.NthPart():
            return f"{value.unit.text} {number(value.index)} of {noun(value.whole)}"
        case ast.NumberOf():
            counted = value.counted.text if isinstance(value.counted, ast.Name) else literal(value.counted)
            return f"number of {counted} in {noun(value.whole)}"
        case ast.ScoreOf():
            return f"score of {value.concept.text} in {noun(value.whole)}"
        case ast.CallTo():
            return f"call to {_tools(value.tools)}{_where(value.where)}"
        case ast.OutputOf():
            return f"output of {_tools(value.tools)}{_where(value.where)}"
        case ast.MessageFrom():
            return f"message from {value.role.text}{_where(value.where)}"
        case _:
            assert_never(value)


def arguments(values: Iterable[ast.Argument]) -> str:
    """Return the arguments of a call, without its brackets."""
    return ", ".join(f"{value.name.text + ': ' if value.name else ''}{expression(value.value)}" for value in values)


def _tools(value: ast.Tools) -> str:
    match value:
        case ast.AnyTool():
            return "any tool"
        case ast.Name():
            return value.text
        case _:
            return literal(value)


def _where(condition: ast.Expression | None) -> str:
    return "" if condition is None else f" where ({expression(condition)})"


def bound(value: ast.Bound, following: str = "", is_closed: bool = False) -> str:
    """Return a bound that the word `following` comes after; `is_closed` puts its end in brackets."""
    last = value.high if isinstance(value, ast.Between) else value.value
    text = before(following, summand(last, is_closed))
    match value:
        case ast.AtLeast():
            return f"at least {text}"
        case ast.AtMost():
            return f"at most {text}"
        case ast.Exactly():
            return f"exactly {text}"
        case ast.MoreThan():
            return f"more than {text}"
        case ast.FewerThan():
            return f"fewer than {text}"
        case ast.Between():
            return f"between {summand(value.low)} and {text}"
        case _:
            assert_never(value)


def verb_phrase(value: ast.VerbPhrase) -> str:
    """Return a verb phrase after a rule word: verbs in their base form."""
    match value:
        case ast.VerbOr():
            return " or ".join(_bracketed(operand, ast.VerbOr) for operand in value.operands)
        case ast.VerbAnd():
            return " and ".join(_bracketed(operand, ast.VerbOr, ast.VerbAnd) for operand in value.operands)
        case ast.VerbNot():
            return f"not {_bracketed(value.operand, ast.VerbOr, ast.VerbAnd)}"
        case _:
            return verb(value)


def _bracketed(value: ast.VerbPhrase, *looser: type) -> str:
    text = verb_phrase(value)
    return f"({text})" if isinstance(value, looser) else text


def verb(value: ast.Verb, is_third_person: bool = False) -> str:
    """Return a verb with what belongs to it, in the base form or the third person."""
    ending = "s" if is_third_person else ""
    match value:
        case ast.Contains():
            return f"contain{ending} {_found(value)}"
        case ast.Mentions():
            return f"mention{ending} {_found(value)}"
        case ast.Matches():
            return f"match{'es' if is_third_person else ''} {summand(value.pattern)}"
        case ast.StartsWith():
            return f"start{ending} with {summand(value.what)}"
        case ast.EndsWith():
            return f"end{ending} with {summand(value.what)}"
        case ast.Expresses():
            score = f" with score {bound(value.score)}" if value.score else ""
            return f"express{'es' if is_third_person else ''} {value.concept.text}{score}"
        case ast.Quotes():
            unit = value.limit.unit.text if value.limit else ""
            limit = f" {bound(value.limit.bound, unit)} {unit}" if value.limit else ""
            return f"quote{ending} {summand(value.what)}{limit}"
        case ast.Follows():
            return f"follow{ending} {noun(value.event)}"
        case ast.Precedes():
            return f"precede{ending} {noun(value.event)}"
        case ast.Occurs():
            per = f" per {value.per.text}" if value.per else ""
            return f"occur{ending}" + (f" {bound(value.times)} times{per}" if value.times else "")
        case ast.HasCount() | ast.HasNone() | ast.HasSome():
            return f"{'has' if is_third_person else 'have'} {_counted(value)}"
        case _:
            return f"{'is' if is_third_person else 'be'} {'not ' if value.negated else ''}{_complement(value)}"


def _found(value: ast.Contains | ast.Mentions) -> str:
    what = summand(value.what)
    match value.amount:
        case None:
            return apart(_BOUNDS, what)
        case ast.Times():
            return f"{apart(_BOUNDS, what)} {bound(value.amount.bound)} times"
        case ast.Among():
            ordered = " in order" if value.amount.in_order else ""
            return f"{value.amount.choice} of {what}{ordered}"
        case ast.CountAmong():
            return f"{bound(value.amount.bound, 'of')} of {what}"


def _counted(value: ast.HasCount | ast.HasNone | ast.HasSome) -> str:
    match value:
        case ast.HasCount():
            return f"{bound(value.bound, value.unit.text)} {value.unit.text}"
        case ast.HasNone():
            return f"no {value.unit.text}"
        case ast.HasSome():
            return f"{'an' if value.unit.text[0] in 'aeiou' else 'a'} {value.unit.text}"


def _complement(value: ast.IsProperty | ast.IsAbout | ast.IsInLanguage | ast.IsIn | ast.IsBounded) -> str:
    match value:
        case ast.IsProperty():
            matching = f" matching {summand(value.matching)}" if value.matching else ""
            return f"{value.property.text}{matching}"
        case ast.IsAbout():
            return f"about {value.topic.text}"
        case ast.IsInLanguage():
            return f"in language {summand(value.language)}"
        case ast.IsIn():
            return f"in {apart(_LANGUAGE, summand(value.collection))}"
        case ast.IsBounded():
            return bound(value.bound)
