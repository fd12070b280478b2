"""Mutants as edits of the text of a policy: what an edit is, and the words of the author around it.

An edit replaces one stretch of one declaration. It is made on the text and not on the tree, so that what is reported is
what the author would have written, in his own layout, and so that what is tried went through the parser as any policy
does. The places come from the tree and from the tokens, never from searching for words: a `not` in a text or a
comment is nobody's rule.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType

from bylaw.spec import ast
from bylaw.spec.lalr import Token
from bylaw.spec.parser import ParseResult
from bylaw.spec.source import Span

OPERATORS: Mapping[str, str] = MappingProxyType(
    {
        "negation": "a `not` less or more: `must` for `must not`, `is` for `is not`, a condition and its opposite",
        "strength": "`must` for `should` and the other way round",
        "level": "a rule or an exception at another level",
        "threshold": "a number one more or less, and a tenth more or less",
        "comparison": "`<` for `<=`, `at least` for `at most`, `more than` for `at least`, ...",
        "connective": "`and` for `or` and the other way round",
        "quantifier": "`any of` for `all of`, `every` for `some`, `first` for `last`, no `in order`",
        "exception": "an exception less",
        "condition": "a `when`, an `unless` or a `where` less",
        "sentence": "a sentence of a rule less",
        "overrides": "a rule that is overridden less",
        "entry": "an entry of a list or a lexicon less",
        "matching": "`contain` for `mention`, `start with` for `end with`, `follow` for `precede`, ...",
        "pattern": "a pattern without a flag, an anchor or an optional part, or with a wider repeat",
    }
)
"""What each operator does, in the order of reports."""

MOST_ENTRIES = 40
"""So many entries of one list are dropped, one by one; of a longer list a sample."""


@dataclass(frozen=True, slots=True)
class Edit:
    """`text` in place of the characters of `span` in declaration number `item` of the module; `owner` is its name."""

    operator: str
    span: Span
    text: str
    item: int
    owner: str

    def applied(self, text: str) -> str:
        """The text of the policy with this edit."""
        return text[: self.span.start] + self.text + text[self.span.end :]


@dataclass(slots=True)
class Collector:
    """The edits of one policy while they are collected; `left_out` counts what is not mutated, by reason."""

    text: str
    tokens: tuple[Token, ...]
    random: Random
    most_entries: int = MOST_ENTRIES
    item: int = 0
    owner: str = ""
    found: dict[tuple[Span, str], Edit] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    _starts: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._starts = [token.start for token in self.tokens]

    @staticmethod
    def of(parsed: ParseResult, seed: int, most_entries: int) -> Collector:
        """For a policy that was parsed with its tokens."""
        return Collector(parsed.source.text, parsed.tokens, Random(seed), most_entries)

    def slice(self, span: Span) -> str:
        """What the author wrote there."""
        return self.text[span.start : span.end]

    def between(self, start: int, end: int) -> Iterator[Token]:
        """The tokens of a stretch."""
        for place in range(bisect_left(self._starts, start), len(self.tokens)):
            token = self.tokens[place]
            if token.end > end:
                return
            yield token

    def token(self, kind: str, start: int, end: int) -> Token | None:
        """The first token of a kind in a stretch."""
        return next((token for token in self.between(start, end) if token.type == kind), None)

    def add(self, operator: str, span: Span, text: str) -> None:
        """Adds an edit, unless it is there already or changes nothing."""
        if self.slice(span) != text:
            self.found.setdefault((span, text), Edit(operator, span, text, self.item, self.owner))

    def delete(self, operator: str, node: ast.Node) -> None:
        """Adds an edit that takes a node away."""
        self.add(operator, node.span, "")

    def instead(self, operator: str, outer: ast.Node, inner: ast.Node) -> None:
        """Adds an edit that leaves only a part of a node."""
        self.add(operator, outer.span, f"({self.slice(inner.span)})")

    def skip(self, reason: str, count: int = 1) -> None:
        """Counts something that is not mutated."""
        self.left_out[reason] += count
