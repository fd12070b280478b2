"""Values that may be unknown, and how numbers, facts and comparisons of them come out."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bylaw.spec.trace import FactValue, written

_NUMBER = re.compile(r"\s*[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\s*")
"""A number as tables and people write it; Python itself would also read `nan`, `1_000` and digits of other scripts."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that cannot be told, and why."""

    reason: str


def connective(values: Iterable[bool | Unknown], deciding: bool) -> bool | Unknown:
    """Kleene's `or` (decided by one true value) and `and` (decided by one false one); stops at the deciding value."""
    unknown: Unknown | None = None
    for value in values:
        if isinstance(value, Unknown):
            unknown = unknown or value
        elif value is deciding:
            return deciding
    return unknown or (not deciding)


def opposite(value: bool | Unknown) -> bool | Unknown:
    """Kleene's `not`."""
    return value if isinstance(value, Unknown) else not value


def compared(operator: str, left: float | Unknown, right: float | Unknown) -> bool | Unknown:
    """A comparison of two numbers. Raises ValueError for an unknown operator."""
    if isinstance(left, Unknown):
        return left
    if isinstance(right, Unknown):
        return right
    match operator:
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
        case ">=":
            return left >= right
        case "==":
            return left == right
        case "!=":
            return left != right
    raise ValueError(f"unknown comparison {operator!r}")


def calculated(operator: str, left: float | Unknown, right: float | Unknown) -> float | Unknown:
    """An arithmetic operation; a division by zero has no value. Raises ValueError for an unknown operator."""
    if isinstance(left, Unknown):
        return left
    if isinstance(right, Unknown):
        return right
    try:
        value = _operation(operator)(left, right)
    except ZeroDivisionError:
        return Unknown("a division by zero has no value")
    return value if math.isfinite(value) else Unknown("a number is too large")


def _operation(operator: str) -> Callable[[float, float], float]:
    match operator:
        case "+":
            return lambda left, right: left + right
        case "-":
            return lambda left, right: left - right
        case "*":
            return lambda left, right: left * right
        case "/":
            return lambda left, right: left / right
        case "distance":
            return lambda left, right: abs(left - right)
    raise ValueError(f"unknown operator {operator!r}")


def fact_as_number(value: FactValue | Unknown, path: str) -> float | Unknown:
    """A fact that has to be a number; tables have texts only, so a text may spell one."""
    if isinstance(value, Unknown):
        return value
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = float(value)
    if isinstance(value, (str, bool)) or not math.isfinite(value):
        return Unknown(f"the fact `{path}` is not a number")
    return float(value)


def fact_as_truth(value: FactValue | Unknown, path: str) -> bool | Unknown:
    """A fact that has to be true or false; tables have texts only, so a text may spell it."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if isinstance(value, (bool, Unknown)):
        return value
    return Unknown(f"the fact `{path}` is neither true nor false")


def fact_as_text(value: FactValue | Unknown) -> str | Unknown:
    """A fact as a person would write it."""
    return value if isinstance(value, Unknown) else written(value)
