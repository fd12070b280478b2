"""What can be wrong with credit for single tokens; text fit for users."""

from __future__ import annotations


class CreditError(Exception):
    """A reward cannot be shared among the tokens of a response as asked."""
