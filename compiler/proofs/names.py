"""Names that look alike (P606), so that one is easily read, or written, for the other.

Two names look alike when they differ in nothing but upper and lower case, in underscores, or in characters that are
mistaken for each other: those with one skeleton in UTS #39 (`1`, `l` and `I`; `0` and `O`), `0` and `o`, `rn` and `m`,
`vv` and `w`. Numbers are taken at their word: `item1` and `item2`, `rule_1_1` and `rule_11` are different names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from bylaw.compiler.proofs.interface import PolicyView
from bylaw.spec import ast
from bylaw.spec.charset import CharSet
from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.normal import lookalikes, plain
from bylaw.spec.scope import FACT_ROOTS
from bylaw.spec.source import Span

CODES = ("P606",)

_SEPARATOR = re.compile(r"(?<![0-9])_|_(?![0-9])")
"""An underscore that does not stand between two digits, where it divides numbers."""
_PAIRS = (("rn", "m"), ("vv", "w"), ("o", "0"))
_DECLARED = (
    ast.RuleDecl,
    ast.ParamDecl,
    ast.LexiconDecl,
    ast.DefineDecl,
    ast.ConceptDecl,
    ast.ExceptionDecl,
)


def find(view: PolicyView) -> Iterator[Diagnostic]:
    """P606 for each name of the file that looks like another one of its kind that stands before it."""
    module = view.module
    for named in (_declared(module), _levels(module), _suites(module), _tools(module), _facts(module)):
        names: dict[str, Span] = {}
        for text, span in sorted(named, key=lambda pair: pair[1].start):
            names.setdefault(text, span)
        seen: dict[str, str] = {}
        for text, span in names.items():
            keys = _keys(text)
            before = next((seen[key] for key in keys if key in seen), None)
            if before is not None:
                yield _warning((before, names[before]), (text, span))
            for key in keys:
                seen.setdefault(key, text)


# ---------------------------------------------------------------------------------------------------------- names
_Named = Iterator[tuple[str, Span]]


def _declared(module: ast.Module) -> _Named:
    """Rules, parameters, lexicons, definitions, concepts and exceptions, which share one space."""
    for item in module.items:
        if isinstance(item, _DECLARED):
            yield item.name.text, item.name.span
        elif isinstance(item, ast.ApplyDecl) and item.alias is not None:
            yield item.alias.text, item.alias.span


def _levels(module: ast.Module) -> _Named:
    for item in module.items:
        if isinstance(item, ast.LevelsDecl):
            yield from ((level.text, level.span) for level in item.levels)


def _suites(module: ast.Module) -> _Named:
    yield from ((item.name.text, item.name.span) for item in module.items if isinstance(item, ast.SuiteDecl))


def _tools(module: ast.Module) -> _Named:
    """Tools, where rules speak of them and where examples use them."""
    declared = {item.name.text for item in module.items if isinstance(item, _DECLARED)}
    for node in ast.walk(module):
        for tools in (getattr(node, "tools", None), getattr(node, "tool", None)):
            if isinstance(tools, ast.Name) and tools.text not in declared and "." not in tools.text:
                yield tools.text, tools.span
            elif isinstance(tools, ast.ListLiteral):
                yield from ((each.value, each.span) for each in tools.items if isinstance(each, ast.Text))


def _facts(module: ast.Module) -> _Named:
    """Facts that a sentence reads. A fact that is given and that none reads is P505."""
    for node in ast.walk(module):
        if isinstance(node, ast.Path) and node.text.partition(".")[0] in (*FACT_ROOTS, "it") and "." in node.text:
            yield node.text, node.span


# ------------------------------------------------------------------------------------------------------------- looks
def _keys(name: str) -> tuple[str, str]:
    """What names that look alike have in common: the letters in any case, or what the characters look like."""
    bare = _SEPARATOR.sub("", plain(name))
    looks = "".join(map(_skeleton, bare)).casefold()
    for pair, one in _PAIRS:
        looks = looks.replace(pair, one)
    return f"letters {bare.casefold()}", f"looks {looks}"


def _skeleton(char: str) -> str:
    """One of the characters that are mistaken for this one, the same for all of them."""
    return next(iter(lookalikes(CharSet.of(char))), char)


def _warning(before: tuple[str, Span], now: tuple[str, Span]) -> Diagnostic:
    return Diagnostic(
        "P606",
        Severity.WARNING,
        f"`{before[0]}` and `{now[0]}` look alike",
        Label(now[1], "this is easily taken for ..."),
        (Label(before[1], "... this"),),
        (_difference(before[0], now[0]),),
        Fix("give one of them a name that reads differently, or use one name if they are the same"),
    )


def _difference(one: str, other: str) -> str:
    """In what the names differ."""
    if one.casefold() == other.casefold():
        return "they differ in capitals only"
    if one.replace("_", "") == other.replace("_", ""):
        return "they differ in `_` only"
    if _keys(one)[0] == _keys(other)[0]:
        return "they differ in capitals and `_` only"
    start = _common(one, other)
    end = _common(one[start:][::-1], other[start:][::-1])
    mine, theirs = (_shown(name[start : len(name) - end]) for name in (one, other))
    return f"where `{one}` has {mine}, `{other}` has {theirs}"


def _shown(part: str) -> str:
    if part.isascii():
        return f"`{part}`" if part else "nothing"
    return f"`{part}` ({', '.join(f'U+{ord(char):04X}' for char in part)})"


def _common(one: Iterable[str], other: Iterable[str]) -> int:
    """How many characters they have in common from the start."""
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
