"""What can be wrong with a question about prices. Every message is fit for users."""

from __future__ import annotations


class PriceError(Exception):
    """A question about prices that has no answer. `terms` are the ids of those that it is about.

    PriceError
    +-- BadQuestion      the question itself: no such rule, a bound above 100 %, a negative weight
    +-- Unanswerable     the scored responses cannot say: too few, or no response is left
        +-- Impossible   no law on the scored responses meets these limits together
    """

    def __init__(self, message: str, terms: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.terms = terms


class BadQuestion(PriceError):
    """The question itself is wrong."""


class Unanswerable(PriceError):
    """The scored responses cannot answer the question."""


class Impossible(Unanswerable):
    """No law on the scored responses meets these limits together."""
