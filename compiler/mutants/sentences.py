"""Mutants of what sentences and conditions say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from types import MappingProxyType

from bylaw.compiler.mutants.patterns import mutated_patterns
from bylaw.compiler.mutants.text import Collector
from bylaw.spec import ast
from bylaw.spec.source import Span

_OPPOSITE: Mapping[str, str] = MappingProxyType(
    {
        "must": "must not",
        "must not": "must",
        "should": "should not",
        "should not": "should",
        "may": "need not",
        "need not": "may",
    }
)
_OTHER_STRENGTH: Mapping[str, str] = MappingProxyType(
    {"must": "should", "must not": "should not", "should": "must", "should not": "must not"}
)
_OTHER_BOUNDS: Mapping[type[ast.Node], tuple[str, ...]] = MappingProxyType(
    {
        ast.AtLeast: ("at most", "more than"),
        ast.AtMost: ("at least", "fewer than"),
        ast.MoreThan: ("fewer than", "at least"),
        ast.FewerThan: ("more than", "at most"),
        ast.Exactly: ("at least", "at most"),
    }
)
_OTHER_COMPARISONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"<": ("<=",), "<=": ("<",), ">": (">=",), ">=": (">",), "==": ("<=", ">="), "!=": ("<", ">")}
)
_COMPARISON_TOKENS: Mapping[str, str] = MappingProxyType(
    {"<": "LESS", "<=": "LESS_EQUAL", ">": "MORE", ">=": "MORE_EQUAL", "==": "EQUAL", "!=": "UNEQUAL"}
)
_OTHER_VERBS: Mapping[type[ast.Node], tuple[tuple[str, str], ...]] = MappingProxyType(
    {
        ast.Contains: (("contain", "mention"),),
        ast.Mentions: (("mention", "contain"),),
        ast.StartsWith: (("starts with", "ends with"), ("start with", "end with")),
        ast.EndsWith: (("ends with", "starts with"), ("end with", "start with")),
        ast.Matches: (("matches", "contains"), ("match", "contain")),
        ast.Follows: (("follow", "precede"),),
        ast.Precedes: (("precede", "follow"),),
    }
)
_THIRD_PERSON: Mapping[str, str] = MappingProxyType(
    {"match": "matches", "have": "has", "be": "is", "express": "expresses"}
)
_OTHER_CHOICES: Mapping[ast.Choice, str] = MappingProxyType(
    {ast.Choice.ANY: "all of", ast.Choice.ALL: "any of", ast.Choice.NONE: "any of"}
)
_OTHER_QUANTIFIERS: Mapping[ast.Quantifier, str] = MappingProxyType(
    {
        ast.Quantifier.EVERY: "some",
        ast.Quantifier.SOME: "every",
        ast.Quantifier.FIRST: "last",
        ast.Quantifier.LAST: "first",
    }
)
_ATOMS = (ast.Claim, ast.Compare, ast.Path, ast.Call)
_POSITIVE = (ast.RuleWord.MUST, ast.RuleWord.SHOULD)
_NEGATIVE = (ast.RuleWord.MUST_NOT, ast.RuleWord.SHOULD_NOT)


def mutate_norm(norm: ast.Norm, out: Collector) -> None:
    """The sentence with the opposite rule word and with another strength, and what it says."""
    word = norm.modality.word.value
    if not (isinstance(norm.body, ast.VerbAnd) and norm.modality.word in _POSITIVE):  # `must not A and B` is refused
        out.add("negation", norm.modality.span, _OPPOSITE[word])
    if word in _OTHER_STRENGTH:
        if norm.weight is None:
            out.add("strength", norm.modality.span, _OTHER_STRENGTH[word])
        else:
            said = out.text[norm.modality.span.end : norm.weight.span.start].rstrip()
            out.add("strength", Span(norm.modality.span.start, norm.span.end), _OTHER_STRENGTH[word] + said)
            out.skip("a weight: it says how much, not whether")
    if norm.subject is not None:
        mutate_expression(norm.subject, out)
    mutate_expression(norm.body, out, is_under_not=norm.modality.word in _NEGATIVE)


def mutate_condition(condition: ast.Expression, out: Collector) -> None:
    """A condition: its atoms are negated besides."""
    _negate(condition, out)
    mutate_expression(condition, out)


def mutate_expression(node: ast.Node, out: Collector, is_under_not: bool = False) -> None:
    """Everything in an expression or a verb phrase."""
    if isinstance(node, ast.Expresses):
        out.skip("a concept: only a model scores it", 0 if node.score is None else 1)
        return
    handler = _HANDLERS.get(type(node))
    if handler is not None:
        handler(node, out)
    if isinstance(node, (ast.VerbAnd, ast.VerbOr)) and not is_under_not:
        _connective(node, out)
    for child in ast.children(node):
        if not (isinstance(node, ast.NthPart) and child is node.index):
            mutate_expression(child, out)


def mutate_number(number: ast.Number, out: Collector, allowed: tuple[float, float] | None = None) -> None:
    """A number one more or less and a tenth more or less; whole numbers stay whole, and nothing falls below zero."""
    value = number.value
    shown: list[float]
    if isinstance(value, int):
        tenth = max(1, round(abs(value) * 0.1))
        shown = [value + 1, value - 1, value + tenth, value - tenth]
    else:
        tenth_part = float(f"{abs(value) * 0.1:.3g}")
        shown = [float(f"{value + step:.10g}") for step in (tenth_part, -tenth_part)]
    low, high = allowed or (0.0 if value >= 0 else -math.inf, math.inf)
    percent = "%" if number.percent else ""
    for other in dict.fromkeys(shown):
        if low <= other <= high:
            out.add("threshold", number.span, f"{other}{percent}")


def mutate_list(items: ast.ListLiteral, out: Collector) -> None:
    """The list without each of its entries; of a long list, without those of a sample."""
    entries = items.items
    if len(entries) > 1:
        places = range(len(entries))
        if len(entries) > out.most_entries:
            places = sorted(out.random.sample(places, out.most_entries))  # type: ignore[assignment]
            out.skip("an entry beyond the sample of a long list", len(entries) - out.most_entries)
        for place in places:
            entry = entries[place].span
            if place + 1 < len(entries):
                out.add("entry", Span(entry.start, entries[place + 1].span.start), "")
            else:
                out.add("entry", Span(entries[place - 1].span.end, entry.end), "")
    for entry_ in entries:
        if isinstance(entry_, ast.Pattern):
            mutate_pattern(entry_, out)


def mutate_pattern(pattern: ast.Pattern, out: Collector) -> None:
    """A pattern with one difference each."""
    for source, flags in mutated_patterns(pattern.source, pattern.flags):
        if source:
            out.add("pattern", pattern.span, f"/{source}/{flags}")


# ---------------------------------------------------------------------------------------------------- single nodes
def _negate(node: ast.Expression, out: Collector) -> None:
    """The opposite of each part of a condition that is true or false by itself."""
    if isinstance(node, (ast.And, ast.Or)):
        for operand in node.operands:
            _negate(operand, out)
    elif isinstance(node, ast.Not) and not isinstance(node.operand, _ATOMS):
        _negate(node.operand, out)
    elif isinstance(node, _ATOMS) and not _is_negated(node):
        out.add("negation", node.span, f"not {out.slice(node.span)}")


def _is_negated(node: ast.Expression) -> bool:
    return isinstance(node, ast.Claim) and (node.negated or getattr(node.verb, "negated", False))


def _not(node: ast.Not | ast.VerbNot, out: Collector) -> None:
    out.instead("negation", node, node.operand)


def _claim(node: ast.Claim, out: Collector) -> None:
    if not node.negated:
        return
    word = out.token("DOES_NOT", node.subject.span.end, node.verb.span.start)
    if word is not None:
        said = out.slice(node.verb.span)
        first, blank, rest = said.partition(" ")
        out.add("negation", Span(word.start, node.verb.span.end), _THIRD_PERSON.get(first, f"{first}s") + blank + rest)


def _negated_verb(node: ast.Node, out: Collector) -> None:
    if getattr(node, "negated", False):
        word = out.token("NOT", node.span.start, node.span.end)
        if word is not None:
            out.add("negation", Span(word.start, _next(word.end, out)), "")


def _next(offset: int, out: Collector) -> int:
    """Where the next word begins."""
    while offset < len(out.text) and out.text[offset].isspace():
        offset += 1
    return offset


def _connective(node: ast.And | ast.Or | ast.VerbAnd | ast.VerbOr, out: Collector) -> None:
    """All the words between the operands of one node: `a and b and c` is `a or b or c`."""
    kind, other = ("AND", "or") if isinstance(node, (ast.And, ast.VerbAnd)) else ("OR", "and")
    first, last = node.operands[0].span, node.operands[-1].span
    text, end = "", first.start
    for left, right in pairwise(node.operands):
        word = out.token(kind, left.span.end, right.span.start)
        if word is None:
            return
        text += out.text[end : word.start] + other
        end = word.end
    out.add("connective", Span(first.start, last.end), text + out.text[end : last.end])


def _verb_operands(node: ast.VerbAnd | ast.VerbOr, out: Collector) -> None:
    for operand in node.operands:
        if not isinstance(operand, (ast.VerbAnd, ast.VerbOr, ast.VerbNot)):
            out.add("negation", operand.span, f"not {out.slice(operand.span)}")


def _compare(node: ast.Compare, out: Collector) -> None:
    word = out.token(_COMPARISON_TOKENS[node.operator], node.left.span.end, node.right.span.start)
    sides = (node.left, node.right)
    if word is None or (node.operator in ("==", "!=") and not any(map(_is_quantity, sides))):
        return
    for other in _OTHER_COMPARISONS[node.operator]:
        out.add("comparison", word.span, other)


def _is_quantity(node: ast.Expression) -> bool:
    return isinstance(node, (ast.Number, ast.NumberOf, ast.Arithmetic, ast.Negate))


def _bound(node: ast.Node, out: Collector) -> None:
    value: ast.Node = node.value  # type: ignore[attr-defined]
    for other in _OTHER_BOUNDS[type(node)]:
        first = next(iter(out.between(node.span.start, node.span.end)), None)
        if first is not None and first.end <= value.span.start:
            out.add("comparison", first.span, other)


def _number(node: ast.Number, out: Collector) -> None:
    mutate_number(node, out)


def _nth(node: ast.NthPart, out: Collector) -> None:
    mutate_number(node.index, out, (1, math.inf))


def _verb(node: ast.Node, out: Collector) -> None:
    for word, other in _OTHER_VERBS[type(node)]:
        said = out.slice(node.span)
        if said.startswith(word):
            out.add("matching", node.span, other + said[len(word) :])
            break
    amount = getattr(node, "amount", None)
    if isinstance(amount, ast.Among):
        if amount.in_order:
            out.add("quantifier", Span(node.what.span.end, node.span.end), "")  # type: ignore[attr-defined]
        else:
            out.add("quantifier", amount.span, _OTHER_CHOICES[amount.choice])


def _part(node: ast.Part, out: Collector) -> None:
    word = out.token("QUANTIFIER", node.span.start, node.unit.span.start)
    if word is not None:
        out.add("quantifier", word.span, _OTHER_QUANTIFIERS[node.quantifier])


def _events(node: ast.CallTo | ast.OutputOf | ast.MessageFrom, out: Collector) -> None:
    if node.where is None:
        return
    word = next((t for t in out.between(node.span.start, node.where.span.start) if t.text == "where"), None)
    if word is not None:
        out.add("condition", Span(len(out.text[: word.start].rstrip()), node.span.end), "")
    _negate(node.where, out)


_HANDLERS: Mapping[type[ast.Node], Callable[..., None]] = MappingProxyType(
    {
        ast.Not: _not,
        ast.VerbNot: _not,
        ast.Claim: _claim,
        **dict.fromkeys((ast.IsProperty, ast.IsAbout, ast.IsInLanguage, ast.IsIn, ast.IsBounded), _negated_verb),
        ast.And: _connective,
        ast.Or: _connective,
        ast.VerbAnd: _verb_operands,
        ast.VerbOr: _verb_operands,
        ast.Compare: _compare,
        **dict.fromkeys(_OTHER_BOUNDS, _bound),
        ast.Number: _number,
        ast.NthPart: _nth,
        **dict.fromkeys(_OTHER_VERBS, _verb),
        ast.Part: _part,
        **dict.fromkeys((ast.CallTo, ast.OutputOf, ast.MessageFrom), _events),
        ast.ListLiteral: mutate_list,
        ast.Pattern: mutate_pattern,
    }
)
