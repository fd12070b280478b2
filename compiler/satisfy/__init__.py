"""Satisfiability of conditions: a situation that meets them, or a proof that there is none."""

from bylaw.compiler.satisfy.situations import (
    NotDecided,
    Refutation,
    can_meet,
    decide,
    implies,
    situation_meeting,
)

__all__ = (
    "NotDecided",
    "Refutation",
    "can_meet",
    "decide",
    "implies",
    "situation_meeting",
)
