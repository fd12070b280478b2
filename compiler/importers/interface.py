"""What an importer is, what it gives, and the account of what became of every part of the input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Outcome: TypeAlias = Literal["imported", "changed", "proposed", "skipped", "unreadable"]
"""`imported`: the policy says the same. `changed`: it says something near, and the reason says what differs.
`proposed`: a person has to read it before it means anything. `skipped`: it is not in the policy. `unreadable`: neither,
because nobody can tell what it says."""

INEXACT: tuple[Outcome, ...] = ("changed", "skipped", "unreadable")
"""The outcomes after which the policy does not say all that the input said."""


@dataclass(frozen=True, slots=True)
class AccountLine:
    """What became of one part of the input. `place` is where it stands there (`line 12`, `tests[3].assert[0]`)."""

    place: str
    what: str
    outcome: Outcome
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Naming:
    """What the input itself does not say: the name of the policy, and the path of the suite that it should declare.

    `suite` is relative to the policy file; None when no suite is wanted.
    """

    policy: str
    suite: str | None = None


@dataclass(frozen=True, slots=True)
class Imported:
    """A policy text in the one layout, the account, and the prompts of the input as JSON Lines (empty: it has none)."""

    text: str
    account: tuple[AccountLine, ...]
    suite: str = ""

    @property
    def is_exact(self) -> bool:
        """Whether nothing was left out and nothing changed its meaning."""
        return not any(line.outcome in INEXACT for line in self.account)

    @property
    def is_readable(self) -> bool:
        """Whether every part of the input could be read."""
        return all(line.outcome != "unreadable" for line in self.account)


class ImportFailure(ValueError):
    """The input is not what it was said to be, as a whole. `place` says where that shows."""

    def __init__(self, place: str, message: str) -> None:
        super().__init__(f"{place}: {message}" if place else message)
        self.place, self.message = place, message


@dataclass(frozen=True, slots=True)
class Importer:
    """One kind of input. `summary` is a line for `bylaw import --help`; `suffix` that of the files it writes.

    `read` takes the text of a file, and raises ImportFailure when it is not of this kind.
    """

    summary: str
    suffix: Literal[".bylaw", ".bylaw.md"]
    read: Callable[[str, Naming], Imported]
    has_suite: bool = False
