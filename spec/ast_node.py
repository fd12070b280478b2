"""What all nodes of the syntax tree share. Import it from `spec.ast`."""

from __future__ import annotations

from typing import ClassVar

from bylaw.spec.source import Span


class Node:
    """A node: a frozen dataclass whose last field is its span.

    Comparing, hashing and showing stand here once, because letting `dataclass` write them for a hundred classes takes
    a third of the time in which a policy can be checked.
    """

    __slots__ = ()
    __match_args__: ClassVar[tuple[str, ...]] = ()
    span: Span

    def __eq__(self, other: object) -> bool:
        """Whether the other is a node of the same class with equal fields, span included (`same` ignores spans)."""
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.__match_args__)

    def __hash__(self) -> int:
        """Return a hash of the class and the fields."""
        return hash((type(self), *(getattr(self, name) for name in self.__match_args__)))

    def __repr__(self) -> str:
        """Return the class with its fields."""
        shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__match_args__)
        return f"{type(self).__name__}({shown})"
