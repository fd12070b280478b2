"""The errors of building look-ahead. Each knows the ids of the rules that it is about, so that a line can be shown."""

from __future__ import annotations


class TwistError(Exception):
    """A twist cannot be built: root of the errors of this package. `terms` are the ids of the rules it is about."""

    def __init__(self, message: str, terms: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.terms = terms

    def about(self, terms: tuple[str, ...]) -> TwistError:
        """The same error with the rules named in front. An error that names rules already stays as it is."""
        if self.terms or not terms:
            return self
        return TwistError(f"{named(terms)}: {self}", terms)


class EnforcementError(Exception):
    """A policy cannot be enforced on these prompts: `terms` are the ids of the rules, `term` the first, or None."""

    def __init__(self, message: str, term: str | None = None, terms: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.terms = terms or (() if term is None else (term,))
        self.term = self.terms[0] if self.terms else None


def named(terms: tuple[str, ...], most: int = 6) -> str:
    """The ids of rules as a message has them: the first few, and how many more there are."""
    shown = ", ".join(f"`{term}`" for term in terms[:most])
    return shown if len(terms) <= most else f"{shown} and {len(terms) - most} more"
