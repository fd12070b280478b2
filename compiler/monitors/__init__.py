"""Monitors: whether some conversation obeys a set of statements about events."""

from bylaw.compiler.monitors.conversation import (
    LIMIT,
    NotDecided,
    conversation_obeying,
    shown,
)

__all__ = (
    "LIMIT",
    "NotDecided",
    "conversation_obeying",
    "shown",
)
