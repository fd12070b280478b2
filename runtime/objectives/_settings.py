"""Checks that settings of objectives share."""

from __future__ import annotations

import math

from bylaw.runtime.objectives.errors import ObjectiveError


def positive(**values: float) -> None:
    """Raises ObjectiveError for one that is not above 0."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ObjectiveError(f"`{name}` is {value:g}; it must be above 0")


def not_negative(**values: float) -> None:
    """Raises ObjectiveError for one below 0."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ObjectiveError(f"`{name}` is {value:g}; it must be 0 or more")


def between(low: float, high: float, **values: float) -> None:
    """Raises ObjectiveError for one outside [`low`, `high`]."""
    for name, value in values.items():
        if not low <= value <= high:
            raise ObjectiveError(f"`{name}` is {value:g}; it must lie from {low:g} to {high:g}")
