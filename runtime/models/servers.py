"""What every client of a server needs: the address, the key, the server's words, and how long it asks to wait."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

LONGEST_WAIT = 60.0
"""Seconds: a server that asks for a longer pause gets this one."""
_SHOWN = 200


class ServerError(ValueError):
    """An address or a key that cannot be used; text fit for users."""


def check_address(url: str) -> None:
    """Raises ServerError for what is no http address, and for one that holds a password or a query: addresses are shown
    and stored, secrets never."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        secret = parts.username is not None or parts.password is not None or bool(parts.query or parts.fragment)
    except ValueError:
        usable, secret = False, False
    if secret:
        raise ServerError(
            "the address of an endpoint must not hold a password or a query: name a variable of the environment"
        )
    if not usable:
        raise ServerError(f"`{url}` is no address of an endpoint: use one like https://llm.example.org/v1")


def read_key(variable: str | None) -> str | None:
    """The API key in a variable of the environment; None for no variable. Raises ServerError where it is not set or
    cannot be sent."""
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ServerError(f"the environment variable `{variable}` that should hold the API key is not set")
    if not key.isascii() or not key.isprintable():
        raise ServerError(f"the API key in `{variable}` has characters that no header can carry")
    return key


def clean(text: str, key: str | None = None) -> str:
    """The words of a server on one line, shortened, and never with the key."""
    if key is not None:
        text = text.replace(key, "***")
    text = text[: 16 * _SHOWN]
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"


def retry_after(value: str | None) -> float | None:
    """Seconds to wait, from a `Retry-After` header that holds seconds or a date (RFC 9110 §10.2.3); at most a minute;
    None where it holds neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT) if seconds == seconds else None
