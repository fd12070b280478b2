"""Lays out one declaration: from its tokens and its syntax tree to a document.

Every token is written, in order, as the author spelt it; the tree only says which tokens belong together and so where a
line may end. A kind of node without an entry below is written with single blanks, so a new construct needs none.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from bylaw.spec import ast
from bylaw.spec.chunks import DECLARATION_WORDS
from bylaw.spec.errors import display_width
from bylaw.spec.formatter_comments import Gap
from bylaw.spec.formatter_document import (
    Block,
    Break,
    Document,
    Group,
    Line,
    Remark,
    WhenBroken,
    group,
    indent,
    is_forced,
)
from bylaw.spec.lalr import Token
from bylaw.spec.source import Source

_LONG_ITEM = 40  # a list with a longer item than this has one item a line where it is broken
_LONG_SUBJECT = 30  # after a longer subject than this a sentence may go on in the next line

# Before which of its own words a node is broken, all at once: alternatives stand below one another.
_CHAINS: Mapping[type, frozenset[str]] = MappingProxyType(
    {
        ast.Or: frozenset({"or"}),
        ast.VerbOr: frozenset({"or"}),
        ast.And: frozenset({"and"}),
        ast.VerbAnd: frozenset({"and"}),
        ast.PreferOrder: frozenset({"over"}),
    }
)
# Before which of its own words the rest of a node may go to the next line, each where it no longer fits.
_TAILS: Mapping[type, frozenset[str]] = MappingProxyType(
    {
        ast.ImportDecl: frozenset({"version", "as", "with"}),
        ast.ParamDecl: frozenset({"between", "one"}),
        ast.LexiconUnion: frozenset("+"),
        ast.LexiconDifference: frozenset("-"),
        ast.RuleDecl: frozenset({"at"}),
        ast.ExceptionDecl: frozenset({"to", "at"}),
        ast.ApplyDecl: frozenset({"as", "at"}),
        ast.LimitRate: frozenset({"to", "of", "over", "with confidence"}),
        ast.LimitAverage: frozenset({"to", "of", "over", "with confidence"}),
        ast.PreferNear: frozenset({"near"}),
        ast.OnViolation: frozenset({"with"}),
        ast.Example: frozenset({"note"}),
        ast.Like: frozenset({"note"}),
        ast.Unlike: frozenset({"note"}),
        ast.Compare: frozenset({"==", "!=", "<", "<=", ">", ">="}),
        ast.Arithmetic: frozenset({"+", "-", "*", "/", "per"}),
    }
)
# After which of its own words it may, likewise.
_OPENINGS: Mapping[type, frozenset[str]] = MappingProxyType(
    {ast.LexiconDecl: frozenset("="), ast.DefineDecl: frozenset({"as"}), ast.ConceptDecl: frozenset({"means"})}
)
_LATER_PARTS = (ast.Weight, ast.Share, ast.AmongResponses, ast.EachPrompt, ast.Price)  # each may go to the next line
_TITLED = (ast.RuleDecl, ast.ExceptionDecl, ast.LexiconDecl, ast.SuiteDecl, ast.ParamDecl)
_CLOSING = MappingProxyType({"(": ")", "[": "]", "{": "}"})
_TAIL_ENDS = frozenset({"{", "="})
_NO_BLANK_AFTER = frozenset({"(", "[", "@"})
_NO_BLANK_BEFORE = frozenset({")", "]", ","})
_WORDS = re.compile(r"[A-Za-z]+(?:\s+[A-Za-z]+)+")


class _Element(NamedTuple):
    """A child node with its tokens `[start:end]`, or a token of the node itself (`node` is None)."""

    start: int
    end: int
    node: ast.Node | None


class Layout:
    """Makes documents of the nodes of one text."""

    def __init__(self, source: Source, tokens: Sequence[Token], gaps: Sequence[Gap], module: ast.Module) -> None:
        """Read the tokens, the gaps before each and behind the last, and the tree of `source`."""
        self._source = source
        self._tokens = tokens
        self._gaps = gaps
        self._starts = [token.start for token in tokens]
        self._prose = {node.span.start for parent in ast.walk(module) for node in _prose_of(parent)}

    def extent(self, node: ast.Node) -> tuple[int, int]:
        """Return which tokens a node consists of."""
        return bisect_left(self._starts, node.span.start), bisect_left(self._starts, node.span.end)

    def document(self, node: ast.Node) -> Document:
        """Return the document of a node."""
        elements = list(self._elements(node))
        if isinstance(node, ast.ListLiteral):
            return self._brackets(node, elements)
        parts = self._flow(node, elements)
        if type(node) in _CHAINS:
            return group(indent(*parts))
        return parts

    def leading(self, index: int, keeps_first_blank: bool) -> list[Document]:
        """Return the comments before a token; a `Break` has to follow the last one."""
        out: list[Document] = []
        for number, comment in enumerate(self._gaps[index].comments):
            if comment.is_own_line:
                out += [Break(comment.follows_blank and (keeps_first_blank or number > 0)), Remark(comment.text)]
            else:
                out.append(Remark(f"  {comment.text}"))
        return out

    def _elements(self, node: ast.Node) -> Iterator[_Element]:
        start, end = self.extent(node)
        inside = sorted((*self.extent(child), number) for number, child in enumerate(ast.children(node)))
        children = tuple(ast.children(node))
        place = start
        for first, last, number in inside:
            if place <= first < last <= end:
                yield from (_Element(index, index + 1, None) for index in range(place, first))
                yield _Element(first, last, children[number])
                place = last
        yield from (_Element(index, index + 1, None) for index in range(place, end))

    def _element(self, element: _Element) -> Document:
        return self._token(element.start) if element.node is None else self.document(element.node)

    def _token(self, index: int) -> Document:
        token = self._tokens[index]
        if "\n" not in token.text:
            return " ".join(token.text.split()) if _WORDS.fullmatch(token.text) else token.text
        if token.text[0] != '"':
            return " ".join(token.text.split())
        line_start = self._source.text.rfind("\n", 0, token.start) + 1
        column = display_width(self._source.text[line_start : token.start])
        return Block(token.text, column if token.start in self._prose else None)

    # ------------------------------------------------------------------------------------------ one after another

    def _flow(self, owner: ast.Node, elements: Sequence[_Element]) -> tuple[Document, ...]:
        """Return the parts of a node or of a piece of it, with what stands between them."""
        out: list[Document] = []
        tail: list[Document] | None = None  # what may go to the next line together, its line end first
        index = 0
        while index < len(elements):
            element = elements[index]
            after = self._matching(elements, index)
            body = self._brackets(owner, elements[index:after]) if after > index + 1 else self._element(element)
            between = self._between(owner, elements[index - 1], element) if index else ""
            starts_tail = isinstance(between, Line) and type(owner) not in _CHAINS
            if tail is not None and (starts_tail or self._own_text(element) in _TAIL_ENDS or is_forced(between)):
                out.append(group(indent(*tail)))
                tail = None
            if starts_tail:
                tail = [between, body]
            else:
                (out if tail is None else tail).extend((between, body))
            index = after
        if tail is not None:
            out.append(group(indent(*tail)))
        return tuple(out)

    def _between(self, owner: ast.Node, left: _Element, right: _Element) -> Document:
        """Return what stands between two neighbours: nothing, a blank, a possible line end, or comments."""
        gap = self._gaps[right.start]
        if gap.comments:
            line: Document = (*self.leading(right.start, False), Break())
            return line if type(owner) in _CHAINS else indent(line)
        before, after = self._tokens[right.start - 1], self._tokens[right.start]
        if self._must_join(owner, before, after):
            return ""
        if not self._may_break(owner, left, right):
            return " "
        # a multi-line text that stood on lines of its own goes on doing so
        if isinstance(owner, ast.ConceptDecl) and gap.is_broken and "\n" in after.text:
            return indent(Break())
        return Line()

    def _must_join(self, owner: ast.Node, before: Token, after: Token) -> bool:
        if before.text in _NO_BLANK_AFTER or after.text in _NO_BLANK_BEFORE:
            return True
        if before.text == "-" and isinstance(owner, ast.Number | ast.Negate):
            return True
        if after.text == ":":
            return not isinstance(owner, ast.ParamDecl)
        return after.text == "(" and before.type == "NAME"

    def _may_break(self, owner: ast.Node, left: _Element, right: _Element) -> bool:
        before, after = self._tokens[left.end - 1].text, " ".join(self._tokens[right.start].text.split())
        if after in DECLARATION_WORDS:  # at the start of a line it would begin a declaration
            return False
        kind = type(owner)
        if right.node is None and after in (*_CHAINS.get(kind, ()), *_TAILS.get(kind, ())):
            return True
        if left.node is None and before in _OPENINGS.get(kind, ()):
            return not isinstance(right.node, ast.ListLiteral)
        if isinstance(right.node, _LATER_PARTS) or (left.node is None and before == ","):
            return True
        if isinstance(right.node, ast.Modality):
            return self._length(left.start, left.end) > _LONG_SUBJECT
        return isinstance(right.node, ast.Text) and isinstance(owner, _TITLED)

    # --------------------------------------------------------------------------------------------------- brackets

    def _matching(self, elements: Sequence[_Element], index: int) -> int:
        """Return where the elements go on behind the bracket that opens here, or behind this element."""
        opening = self._own_text(elements[index])
        if opening not in _CLOSING:
            return index + 1
        depth = 0
        for place in range(index, len(elements)):
            text = self._own_text(elements[place])
            depth += (text == opening) - (text == _CLOSING[opening])
            if depth == 0:
                return place + 1
        return index + 1

    def _own_text(self, element: _Element) -> str:
        return self._tokens[element.start].text if element.node is None else ""

    def _brackets(self, owner: ast.Node, elements: Sequence[_Element]) -> Group:
        opening, *inner, closing = elements
        if self._own_text(opening) == "{":
            return self._braces(opening, inner, closing)
        return self._separated(owner, opening, inner, closing)

    def _separated(self, owner: ast.Node, opening: _Element, inner: Sequence[_Element], closing: _Element) -> Group:
        """Return what stands between round or square brackets: items with commas between them."""
        is_list = isinstance(owner, ast.ListLiteral)
        items = list(self._items(inner))
        is_filled = is_list and bool(items) and self._is_filled(items, closing)
        body: list[Document] = [Line("")] if items and not self._gaps[items[0][0].start].comments else []
        for number, item in enumerate(items):
            start = item[0].start
            comments = self.leading(start, False)
            if comments:
                body += [*comments, Break(), *self._flow(owner, item)]
            elif number and is_filled:
                body.append(group(Line(), *self._flow(owner, item)))
            else:
                body += [*([Line()] if number else []), *self._flow(owner, item)]
            if number < len(items) - 1:
                body.append(",")
        if items and is_list:
            body.append(WhenBroken(","))
        dangling = self.leading(closing.start, False)
        end: Document = Break() if dangling else Line("") if items else ""
        forced = is_list and bool(items) and self._gaps[items[0][0].start].is_broken
        texts = self._token(opening.start), self._token(closing.start)
        return group(texts[0], indent(*body, *dangling), end, texts[1], forced=forced)

    def _items(self, inner: Sequence[_Element]) -> Iterator[list[_Element]]:
        item: list[_Element] = []
        for element in inner:
            if self._own_text(element) != ",":
                item.append(element)
            elif item:
                yield item
                item = []
        if item:
            yield item

    def _is_filled(self, items: Sequence[Sequence[_Element]], closing: _Element) -> bool:
        """Whether a list that does not fit on one line has as many items on each line as fit."""
        if any(gap.comments for gap in self._gaps[items[0][0].start : closing.start + 1]):
            return False
        if any(isinstance(element.node, ast.ListLiteral) for item in items for element in item):
            return False
        return all(self._length(item[0].start, item[-1].end) <= _LONG_ITEM for item in items)

    def _length(self, start: int, end: int) -> int:
        """Return about how long some tokens are, however they are spaced."""
        return sum(len(" ".join(token.text.split())) for token in self._tokens[start:end] if token.text != ",")

    def _braces(self, opening: _Element, inner: Sequence[_Element], closing: _Element) -> Group:
        """Return a block: on one line if it was and fits, with two blanks between its sentences."""
        body: list[Document] = []
        for number, element in enumerate(inner):
            gap = self._gaps[element.start]
            comments = self.leading(element.start, number > 0)
            blank = gap.ends_blank and (number > 0 or bool(comments))
            is_plain = not comments and not blank
            body += [*comments, Line("  " if number else " ") if is_plain else Break(blank), self._element(element)]
        dangling = self.leading(closing.start, bool(inner))
        last: Document = Break() if dangling else Line()
        forced = bool(inner) and self._spans_lines(opening, closing)
        return group("{", indent(*body, *dangling), last, "}", forced=forced)

    def _spans_lines(self, first: _Element, last: _Element) -> bool:
        start, end = self._tokens[first.start].start, self._tokens[last.start].end
        return self._source.text.find("\n", start, end) >= 0


def _prose_of(node: ast.Node) -> Iterator[ast.Node]:
    """Yield the texts of a node whose white space means nothing."""
    match node:
        case ast.Because() | ast.CitedSource():
            yield node.text
        case ast.ConceptDecl():
            yield node.meaning
        case ast.Like() | ast.Unlike() | ast.Example():
            yield from [node.note] if node.note else []
        case ast.RuleDecl() | ast.ExceptionDecl():
            yield from [node.title] if node.title else []
        case ast.ParamDecl() | ast.LexiconDecl() | ast.SuiteDecl():
            yield from [node.description] if node.description else []
