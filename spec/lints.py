"""Warnings about what is allowed but is probably not what was meant: `lint(module)`.

Each lint looks at the syntax tree alone. A lint is right to be here when a careful author would thank for it: a correct
file gets none. `spec/lints_silence.py` takes those away that a comment allows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TypeGuard

from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic
from bylaw.spec.source import Span


class Use(Enum):
    """What is done with a text or a pattern that is looked for."""

    CONTAIN = "contain"
    MENTION = "mention"
    COUNT = "count"
    START = "start with"
    END = "end with"
    WHOLE = "match"


Literal = ast.Text | ast.Pattern


def lint(module: ast.Module) -> Iterator[Diagnostic]:
    """Yield the warnings (P404 to P408, P602 to P605) of a module."""
    from bylaw.spec import lints_patterns, lints_texts, lints_unused

    through = [item.value.span for item in module.items if _looks_through(item)]
    for literal, uses in literals(module).values():
        if isinstance(literal, ast.Pattern):
            yield from lints_patterns.lint_pattern(literal, uses)
            continue
        yield from lints_texts.blank_at_an_end(literal, uses)
        if not any(span.start <= literal.span.start < span.end for span in through):
            yield from lints_texts.look_alikes(literal)
    nodes = tuple(ast.walk(module))
    sequences = {node.span for node in map(_sequence, nodes) if node is not None}
    for node in nodes:
        if isinstance(node, ast.ListLiteral) and node.span not in sequences:
            yield from lints_texts.lint_list(node)
    yield from lints_unused.unused(module)


def _looks_through(item: ast.Item) -> TypeGuard[ast.LexiconDecl]:
    """Whether an item is a lexicon whose words are found in all letters that look alike."""
    return isinstance(item, ast.LexiconDecl) and any(each.name.text == "lookalikes" for each in item.annotations)


def _sequence(node: ast.Node) -> ast.Node | None:
    """Return the list in which an entry may stand twice, if this is what holds it; of prompts P119 speaks."""
    match node:
        case ast.Contains(amount=ast.Among(in_order=True)) | ast.Mentions(amount=ast.Among(in_order=True)):
            return node.what
        case ast.SuiteDecl():
            return node.value
    return None


def literals(module: ast.Module) -> Mapping[Span, tuple[Literal, frozenset[Use]]]:
    """Return every text and pattern that is looked for, by its span, with all that is done with it.

    Those of a lexicon, a parameter or a definition have the uses of its name; an unused one has none.
    """
    values = _declared(module)
    found: dict[Span, tuple[Literal, frozenset[Use]]] = {}
    waiting: list[tuple[ast.Node, Use | None]] = [*_uses(module)]
    waiting += [(item.value, None) for item in module.items if isinstance(item, ast.LexiconDecl)]
    seen: set[tuple[Span, Use | None]] = set()
    while waiting:
        node, use = waiting.pop()
        if (node.span, use) in seen:
            continue
        seen.add((node.span, use))
        if isinstance(node, ast.Text | ast.Pattern):
            before = found.get(node.span, (node, frozenset()))[1]
            found[node.span] = node, before if use is None else before | {use}
        elif isinstance(node, ast.Path):
            waiting += [(values[node.text], use)] if node.text in values else []
        elif isinstance(node, ast.ListLiteral | ast.LexiconUnion | ast.LexiconDifference):
            waiting += [(child, use) for child in ast.children(node)]
    return dict(sorted(found.items()))


def _declared(module: ast.Module) -> dict[str, ast.Node]:
    """Return what the names stand for that can stand for a text, a pattern or a list."""
    values: dict[str, ast.Node] = {}
    for item in module.items:
        match item:
            case ast.LexiconDecl():
                values[item.name.text] = item.value
            case ast.ParamDecl():
                values[item.name.text] = item.default
            case ast.DefineDecl(parameters=None):
                values[item.name.text] = item.body
    return values


def _uses(module: ast.Module) -> Iterator[tuple[ast.Node, Use]]:
    """Yield what each verb looks for, with what it does with it."""
    for node in ast.walk(module):
        match node:
            case ast.Contains(what=what, amount=ast.Times()) | ast.Mentions(what=what, amount=ast.Times()):
                yield what, Use.COUNT
            case ast.Contains(what=what):
                yield what, Use.CONTAIN
            case ast.Mentions(what=what):
                yield what, Use.MENTION
            case ast.StartsWith(what=what):
                yield what, Use.START
            case ast.EndsWith(what=what):
                yield what, Use.END
            case ast.Matches(pattern=what) | ast.IsIn(collection=what):
                yield what, Use.WHOLE
            case ast.NumberOf(counted=ast.Name(text=name, span=span)):
                yield ast.Path(name, span), Use.COUNT
            case ast.NumberOf(counted=what):
                yield what, Use.COUNT
            case ast.CuedBy(lexicons=names):
                yield from ((ast.Path(name.text, name.span), Use.MENTION) for name in names)
