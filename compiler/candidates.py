"""Texts that probably obey a set of hard rules, put together from what the rules ask for.

A text that the reference evaluator finds to obey all of them is a proof that they can be obeyed, at a small part of
the cost of automata. Nothing follows from a candidate that does not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    Compare,
    Count,
    Holds,
    Matcher,
    MessageText,
    NumberConstant,
    Occurrences,
    Or,
    Phrase,
)
from bylaw.spec.pattern import Alternate, Chars, Concat, Node, PatternError, Repeat, parse_pattern

LONGEST = 40_000
"""Characters; a candidate beyond this is not worth evaluating."""
RESPONSE = MessageText("response")
JOINTS = (" ", "\n", "\n\n")


def candidates(statements: Sequence[BooleanExpression]) -> Iterator[str]:
    """A few texts, the likeliest first; each is made of the beginnings, parts and ends that are asked for."""
    wanted = _Wanted()
    for statement in statements:
        wanted.add(statement)
    yield from wanted.whole
    for joint in JOINTS:
        body = joint.join((*wanted.parts, *(_repeated(part, times, joint) for part, times in wanted.counted)))
        text = joint.join(filter(None, (wanted.start, body, wanted.end)))
        if len(text) > LONGEST:
            return
        plain = wanted.start + body + wanted.end
        yield from dict.fromkeys((text, plain, text.lower(), text.upper(), text.replace(",", "")))


def _repeated(part: str, times: int, joint: str) -> str:
    return joint.join([part] * times) if len(part) * times <= LONGEST else part


@dataclass
class _Wanted:
    """What has been found so far; `counted` are (what has one or more of a unit, how often)."""

    start: str = ""
    end: str = ""
    parts: list[str] = field(default_factory=list)
    counted: list[tuple[str, int]] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)

    def add(self, statement: BooleanExpression) -> None:
        match statement:
            case And(items):
                for item in items:
                    self.add(item)
            case Or(items):
                self.add(items[-1])  # a condition on the answer stands first, and what it asks for last
            case Holds(name, subject, matchers, quantity) if subject == RESPONSE and statement.argument is None:
                self._add_holds(name, matchers if quantity == "all" else matchers[:1])
            case Compare(operator, left, NumberConstant(bound)) if operator in (">=", ">", "=="):
                self._add_count(left, math.floor(bound) + (operator == ">"))

    def _add_holds(self, name: str, matchers: tuple[Matcher, ...]) -> None:
        texts = [_example(matcher) for matcher in matchers]
        match name:
            case "start_with":
                self.start = "".join(texts)
            case "end_with":
                self.end = "".join(texts)
            case "match":
                self.whole += texts
            case "contain" | "mention":
                self.parts += texts
            case _:
                self.whole += [each.text for each in catalog.predicate(name).examples if each.holds]

    def _add_count(self, counted: object, least: int) -> None:
        if least < 1:
            return
        match counted:
            case Count(unit, subject) if subject == RESPONSE:
                self._add_units(unit, least)
            case Occurrences(_, subject, (matcher, *_)) if subject == RESPONSE:
                self.counted.append((_example(matcher), least))

    def _add_units(self, name: str, least: int) -> None:
        unit = catalog.unit(name)
        shown = [each for each in unit.examples if each.count]
        shown.sort(key=lambda each: (not each.text.isascii(), len(each.text) / each.count))
        for best in shown:
            # What counts different things has no more of them when it is repeated, nor has what never ends.
            if best.count >= least or _adds_up(unit, best):
                self.counted.append((best.text, math.ceil(least / best.count)))
                return
        if shown:
            self.parts.append(_different_words(least))


def _adds_up(unit: catalog.Unit, shown: catalog.UnitExample) -> bool:
    """Whether an example has twice as many of a unit when it is repeated."""
    return any(len(unit.find(shown.text + joint + shown.text)) >= 2 * shown.count for joint in JOINTS)


def _different_words(number: int) -> str:
    """`a b aa ab ba bb aaa`: words without digits, of which few rules speak; only one where they would be too long."""
    found: list[str] = []
    for length in range(1, (number + 1).bit_length() + 1 if number * number.bit_length() <= LONGEST else 2):
        found += map("".join, product("ab", repeat=length))
    return " ".join(found[:number])


def _example(matcher: Matcher) -> str:
    """A text in which the matcher is found."""
    if isinstance(matcher, Phrase):
        return matcher.text
    try:
        return _shortest(parse_pattern(matcher.source, matcher.flags))
    except PatternError:
        return ""


def _shortest(node: Node) -> str:
    match node:
        case Chars(charset):
            return next((char for char in "a 0A.-_/x1" if char in charset), charset.pick() if charset else "")
        case Concat(items):
            return "".join(map(_shortest, items))
        case Alternate(items):
            return min(map(_shortest, items), key=len, default="")
        case Repeat(item, least):
            return _shortest(item) * least
    return ""
