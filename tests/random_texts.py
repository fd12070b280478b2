"""Random policy texts: token sequences that `grammar.lark` derives, with comments and line breaks strewn in between."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from bylaw.spec import grammar_tables
from bylaw.spec.parser import parse
from bylaw.spec.source import Source
from bylaw.spec.transform_terms import words

GRAMMAR = Path(grammar_tables.__file__).with_name("grammar.lark")
DEPTH = 9
MOST_TOKENS = 150
# What terminals that are no fixed words stand for. Traps are left out: a text with one does not parse.
SAMPLES = {
    "NAME": ("a", "b2", "mood", "reply", "in_order", "Shop", "it", "longest_name_that_anybody_would_think_of"),
    "STRING": ('""', '"a # no comment"', '"say \\"no\\" \\u{e9}"', '"é, 漢字"', '"a text of a length that takes room"'),
    "LONG_STRING": ('"""one\n   two"""', '"""a "quote" #x"""', '"""\n\n  far\n\tback\n"""'),
    "REGEX": ("/a+/", "/[^#]{2}/im", '/\\/\\d "/', "/(one|two|three|four|five|six)\\b.*(seven|eight|nine)/s"),
    "INT": ("0", "1", "007", "42"),
    "DECIMAL": ("0.50", "3.0", "12.25"),
    "PERCENT": ("2%", "0.5%", "100%"),
}
# Of these mostly the plainest form is taken, or every sentence would be a thicket.
OPERATORS = words("_sum _product _atom _expression _all _one _predicate _verb_phrase _verb_all _verb_one noun")
TRAPS = frozenset({"STRING_TRAP", "MODAL_TRAP"})
BETWEEN = ("  ", "\t", "\n ", "\n\n\n  ", " # why\n  ", "\n  # own line\n ", " #\n # two\n\n  # three\n ")


class Grammar:
    """The productions of the policy language, and how deep each symbol is at least."""

    def __init__(self) -> None:
        tables = grammar_tables.load()
        self.literals = {name: text for name, text in tables.literals.items() if name not in TRAPS}
        self.words: dict[str, list[str]] = {}
        for first, found in tables.phrases.items():
            for name, further in found:
                self.words.setdefault(name, []).append(" ".join((first, *further)))
        self.productions: dict[str, list[tuple[str, ...]]] = {}
        for rule in grammar_tables.build_parser(GRAMMAR.read_text(encoding="utf-8")).rules:
            expansion: Sequence[Any] = rule.expansion
            if not any(symbol.name in TRAPS for symbol in expansion):
                self.productions.setdefault(rule.origin.name, []).append(tuple(symbol.name for symbol in expansion))
        self.productions["_clause"] += [("norm",)] * 20  # most of the language stands in them
        self.least = self._least_depths()

    def _least_depths(self) -> dict[str, int]:
        least = dict.fromkeys(self.productions, 99)
        for _ in self.productions:
            for name, expansions in self.productions.items():
                depths = (max((least.get(symbol, 0) for symbol in body), default=0) for body in expansions)
                least[name] = min(least[name], _cost(name) + min(depths))
        return least

    def declarations(self) -> list[str]:
        names = sorted(name for name in self.productions if name.endswith("_decl"))
        return names + ["rule_decl"] * len(names)

    def tokens(self, generator: random.Random, symbol: str, depth: int = DEPTH) -> Iterator[str]:
        expansions = self.productions.get(symbol)
        if expansions is None:
            yield self.terminal(generator, symbol)
            return
        costs = [max((self.least.get(part, 0) for part in body), default=0) for body in expansions]
        is_plain = symbol in OPERATORS and generator.random() < 0.7
        most = min(costs) + 1 if is_plain else max(depth, min(costs) + 1)
        fitting = [body for body, cost in zip(expansions, costs, strict=True) if cost < most]
        if symbol.startswith("__") and generator.random() < 0.5:  # a repetition goes on
            fitting = [body for body in fitting if symbol in body] or fitting
        for part in generator.choice(fitting):
            yield from self.tokens(generator, part, depth - _cost(symbol))

    def terminal(self, generator: random.Random, name: str) -> str:
        if name in SAMPLES:
            return generator.choice(SAMPLES[name])
        return self.literals[name] if name in self.literals else generator.choice(self.words[name])


def _cost(symbol: str) -> int:
    """How much deeper a symbol's parts stand: helpers, which make no node, cost nothing."""
    return 0 if symbol.startswith("_") else 1


@cache
def grammar() -> Grammar:
    return Grammar()


def spaced(generator: random.Random, tokens: Sequence[str]) -> str:
    """A declaration's text; what follows a line break inside it is indented, so that it begins no other declaration."""
    out: list[str] = []
    wildness = generator.choice((0.0, 0.03, 0.3))
    for number, token in enumerate(tokens):
        if number:
            joins = tokens[number - 1] in "([{" or token in ")]},"
            plain = "" if joins and generator.random() < 0.5 else " "
            out.append(generator.choice(BETWEEN) if generator.random() < wildness else plain)
        out.append(token)
    return "".join(out)


def declaration(generator: random.Random, name: str = "") -> str:
    """A declaration that parses; those that the parser refuses (`must` with a weight) are drawn again."""
    for _ in range(200):
        kind = name or generator.choice(grammar().declarations())
        tokens = list(islice(grammar().tokens(generator, kind), MOST_TOKENS))
        if len(tokens) < MOST_TOKENS:
            text = spaced(generator, tokens)
            parsed = parse(Source("random.bylaw", text))
            if parsed.is_ok and len(parsed.module.items) == 1:
                return text
    raise AssertionError("the generator finds no declaration that parses")


def policy(generator: random.Random, most: int = 4, may_have_header: bool = True) -> str:
    """A policy text with comments before, between and behind its declarations."""
    out = (
        ['# first\n\npolicy shop.rules version "1" # the first\n']
        if may_have_header and generator.random() < 0.3
        else []
    )
    for _ in range(generator.randint(0, most)):
        if generator.random() < 0.2:
            out.append(generator.choice(("@draft\n", '@owner("me") # who\n', "@a\n# why\n@b\n\n")))
        out += [declaration(generator), generator.choice(("\n", "\n\n", "\n\n\n", " # behind\n", "\n# next\n"))]
    return "".join([*out, generator.choice(("", "", "# end", "\n# end\n\n"))])
