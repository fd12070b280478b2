"""The formatter: `format_text(path, text)` returns a policy in its one layout, with every comment.

Laws (tests/test_formatter.py): the syntax tree and the comments stay the same, and formatting twice is formatting once.
The first is checked on every text before it is returned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.spec import ast
from bylaw.spec.formatter_comments import Gap, comments_of, gaps
from bylaw.spec.formatter_document import Document, Remark, render
from bylaw.spec.formatter_layout import Layout
from bylaw.spec.parser import ParseResult, parse
from bylaw.spec.source import LITERATE_SUFFIX, Source, code_blocks

_BYTE_ORDER_MARK = "\ufeff"
_SET_APART = (ast.RuleDecl, ast.ExceptionDecl, ast.ExamplesDecl, ast.TestDecl)


class LayoutError(ValueError):
    """A policy that cannot be formatted; the message says why, for people."""


@dataclass(frozen=True, slots=True)
class _Unit:
    """What begins a line of its own at the left margin: the tokens `[start:end]` of a header, annotation or item."""

    start: int
    end: int
    node: ast.Node


def format_text(path: str, text: str) -> str:
    """Return the text of a policy file in the one layout; of a literate file only the fenced blocks change.

    Raises:
        PolicySyntaxError: the text does not parse.
        LayoutError: a declaration goes on in another fenced block, or the result would say something else.
    """
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    text = text.removeprefix(mark)
    before = parse(Source.of(path, text), keeps_tokens=True)
    before.require()
    newline = "\r\n" if text[: text.find("\n") + 1].endswith("\r\n") else "\n"
    is_literate = path.endswith(LITERATE_SUFFIX)
    formatted = _literate(path, text, newline) if is_literate else _formatted(before, 0, newline)
    _check(before, parse(Source.of(path, formatted), keeps_tokens=True))
    return mark + formatted


def _literate(path: str, text: str, newline: str) -> str:
    out: list[str] = []
    end = 0
    for block in code_blocks(text):
        part = parse(Source(path, text[block.start : block.end]), keeps_tokens=True)
        if not part.is_ok:
            line = text.count("\n", 0, block.start)
            raise LayoutError(f"the code block at line {line} ends within a declaration; write each one in one block")
        laid_out = _formatted(part, block.indentation, newline)
        is_cut = block.end == len(text) and not text.endswith("\n")
        out += [text[end : block.start], laid_out.removesuffix(newline) if is_cut else laid_out]
        end = block.end
    return "".join([*out, text[end:]])


def _formatted(parsed: ParseResult, margin: int, newline: str) -> str:
    """Return the text of a whole source, each line from column `margin` on."""
    between = gaps(parsed.source.text, parsed.tokens)
    layout = Layout(parsed.source, parsed.tokens, between, parsed.module)
    out: list[str] = []
    previous: tuple[_Unit, bool] | None = None
    start_of_line = " " * margin
    for unit in _units(parsed.module, layout):
        laid_out = render(layout.document(unit.node), margin, newline)
        current = unit, "\n" in laid_out
        gap = between[unit.start]
        needs_blank = previous is not None and _are_apart(previous, current) and not gap.has_blank
        comments = _comments(layout, unit.start, needs_blank, margin, newline)
        is_blank = gap.ends_blank or (needs_blank and not any(comment.is_own_line for comment in gap.comments))
        if previous is not None and isinstance(previous[0].node, ast.Annotation):
            is_blank = False
        out += [comments, newline, newline if is_blank else "", start_of_line, laid_out]
        previous = current
    out.append(_comments(layout, len(parsed.tokens), False, margin, newline))
    text = "".join(out).lstrip("\r\n")
    return text + newline if text else ""


def _units(module: ast.Module, layout: Layout) -> list[_Unit]:
    nodes: list[ast.Node] = [] if module.header is None else [module.header]
    for item in module.items:
        nodes += [*item.annotations, item]
    return [_Unit(*layout.extent(node), node) for node in nodes]


def _are_apart(previous: tuple[_Unit, bool], current: tuple[_Unit, bool]) -> bool:
    """Whether an empty line has to stand between two units: rules over several lines."""
    return all(is_long and isinstance(unit.node, _SET_APART) for unit, is_long in (previous, current))


def _comments(layout: Layout, index: int, needs_blank: bool, margin: int, newline: str) -> str:
    """Return the comments before a token, or behind the last one, from the end of the line before them on."""
    parts = layout.leading(index, True)
    document: Document = tuple(parts)
    text = render(document, margin, newline)
    if needs_blank and any(not isinstance(part, Remark) for part in parts):
        head, found, rest = text.partition(newline)
        text = f"{head}{newline}{found}{rest}"
    return text


def _check(before: ParseResult, after: ParseResult) -> None:
    """Raise LayoutError unless two texts say the same and have the same comments."""
    if not after.is_ok or not ast.same(before.module, after.module):
        raise LayoutError("the formatted text would not say the same; please report this, with the file")
    if _all_comments(before) != _all_comments(after):
        raise LayoutError("the formatted text would lose a comment; please report this, with the file")


def _all_comments(parsed: ParseResult) -> Sequence[str]:
    found: list[Gap] = gaps(parsed.source.text, parsed.tokens)
    return comments_of(found)
