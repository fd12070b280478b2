"""Texts that a separator cuts into parts."""

from __future__ import annotations

from bylaw.spec.catalog import NoValue


def split(text: str, separator: str) -> list[str]:
    """The parts without white space around them; blank ones are left out. Raises NoValue for an empty separator."""
    if not separator:
        raise NoValue("a separator cannot be the empty text")
    return [part.strip() for part in text.split(separator) if part.strip()]
