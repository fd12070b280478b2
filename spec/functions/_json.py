"""Reading JSON texts (RFC 8259)."""

from __future__ import annotations

import json
from typing import Any

from bylaw.spec.catalog import NoValue


def read(text: str) -> Any:
    """The value of a JSON text. Raises NoValue when it is none, or nested too deeply or with too long a number."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise NoValue("the text is not JSON") from None


def _refuse(name: str) -> None:
    # Python's reader takes NaN and Infinity, which are not JSON.
    raise ValueError(name)
