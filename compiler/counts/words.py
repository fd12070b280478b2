"""Quantities and their bounds in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from bylaw.compiler.counts.cases import Quantity
from bylaw.compiler.counts.linear import Row
from bylaw.compiler.counts.table import PLAIN
from bylaw.spec.expression import MessageText, PartOf, Phrase, Regex, TextCall, TextExpression

LONGEST = 40
"""Characters of a phrase that are shown."""
Side: TypeAlias = Literal["low", "high"]


def bounded(quantity: Quantity, side: Side, value: int) -> str:
    """`at least 3 words`, `no commas in the prompt`, `mentioning "x"`."""
    how = "at least" if side == "low" else "at most"
    match quantity.kind:
        case "unit":
            none = side == "high" and value <= 0
            much = f"no {unit_name(quantity.name, 2)}" if none else f"{how} {value} {unit_name(quantity.name, value)}"
            return much + _where(quantity.scope)
        case "times":
            return f"{shown(quantity.key)} {how} {value} time{'' if value == 1 else 's'}{_where(quantity.scope)}"
        case "found":
            return f"{'' if side == 'low' else 'not '}{_doing(quantity)}"
        case "said":
            return "that a statement holds" if side == "low" else "that it does not hold"
    return f"`{quantity.name}` {how} {value}"


def _doing(quantity: Quantity) -> str:
    """`containing "x"`, `starting with "x"`, `being "x"`."""
    first, _, rest = quantity.name.partition("_")
    verb = "being" if first == "match" else f"{first}ing {rest}".strip()
    return f"{verb} {shown(quantity.key)}{_where(quantity.scope)}"


def unit_name(name: str, value: int) -> str:
    """`words`, `1 word`: the name of a unit behind a number."""
    if name == PLAIN:
        name = "characters"
    words = name.replace("_", " ")
    if value != 1 or not words.endswith("s"):
        return words
    return words[:-2] if words.endswith(("shes", "sses")) else words[:-1]


def shown(key: object) -> str:
    """A phrase in quotes, cut where it is long; a pattern between slashes."""
    if isinstance(key, Regex):
        return f"/{key.source}/{key.flags}"
    text = key.text if isinstance(key, Phrase) else str(key)
    return f'"{text if len(text) <= LONGEST else text[:LONGEST] + "..."}"'


def amount(quantity: Quantity, value: int) -> str:
    """`3 words`, `"x" 3 times`."""
    if quantity.kind == "unit":
        return f"{value or 'no'} {unit_name(quantity.name, value)}"
    if quantity.kind == "found":
        return f"{'a' if value else 'no'} match for {shown(quantity.key)}"
    return f"{shown(quantity.key)} {value} time{'' if value == 1 else 's'}"


def _where(scope: TextExpression | None) -> str:
    match scope:
        case None | MessageText("response"):
            return ""
        case MessageText(role):
            return f" in {role}"
        case PartOf(unit, index, subject):
            return f" in {unit_name(unit, 1)} {index}{_where(subject).replace(' in ', ' of ')}"
        case TextCall(function):
            return f" in the value of `{function}`"
    return " in another text"


def written(used: Row, quantities: Sequence[Quantity]) -> str:
    """A row as a formula, such as `3 * sentences <= words + 2`."""
    left = [(v, f) for v, f in used.terms if f > 0]
    right = [(v, -f) for v, f in used.terms if f < 0]
    one = _sum_of(left, max(-used.bound, 0), quantities)
    other = _sum_of(right, max(used.bound, 0), quantities)
    return f"{one} {'<' if used.strict else '<='} {other}"


def _sum_of(terms: Sequence[tuple[int, int]], constant: int, quantities: Sequence[Quantity]) -> str:
    parts = [f"{'' if f == 1 else f'{f} * '}{variable(quantities[v])}" for v, f in terms]
    if constant or not parts:
        parts.append(str(constant))
    return " + ".join(parts)


def variable(quantity: Quantity) -> str:
    """What a quantity is called in a formula."""
    match quantity.kind:
        case "unit":
            return unit_name(quantity.name, 2) + _where(quantity.scope)
        case "times":
            return f"times {shown(quantity.key)}{_where(quantity.scope)}"
        case "found":
            return _doing(quantity)
    return quantity.name or "a statement"
