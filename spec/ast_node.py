"""What all nodes of the syntax tree share. Import it from `spec.ast`."""

from __future__ import annotations

from typing import Any, ClassVar, NoReturn, Self, dataclass_transform

from bylaw.spec.source import Span


@dataclass_transform(frozen_default=True)
class Node:
    """A node: a frozen value whose fields are its annotations, in order; the last one is its span.

    Works like a frozen dataclass. Making one stands here once, because letting `dataclass` write the methods of a
    hundred classes takes a third of the time in which a policy can be checked.
    """

    __match_args__: ClassVar[tuple[str, ...]] = ()
    span: Span

    def __init_subclass__(cls) -> None:
        cls.__match_args__ = tuple(cls.__annotations__)  # type: ignore[misc]

    def __init__(self, *values: Any, **named: Any) -> None:
        """Take one value for each field, by place or by name; TypeError for anything else."""
        names = self.__match_args__
        if named:
            values = (*values, *(named.pop(name) for name in names[len(values) :] if name in named))
        if len(values) != len(names) or named:
            raise TypeError(f"{type(self).__name__} takes {', '.join(names)}")
        self.__dict__.update(zip(names, values, strict=True))  # at once: policies have very many nodes

    def changed(self, **named: Any) -> Self:
        """Return a copy with other values for some fields; TypeError for a field that is not there."""
        return type(self)(**{**self.__dict__, **named})

    def __setattr__(self, name: str, value: object) -> NoReturn:
        """Nodes do not change."""
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        """Nodes do not change."""
        raise AttributeError(f"{type(self).__name__} cannot be changed")

    def __eq__(self, other: object) -> bool:
        """Whether the other is a node of the same class with equal fields, span included (`same` ignores spans)."""
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        """Return a hash of the class and the fields."""
        return hash((type(self), *self.__dict__.values()))

    def __repr__(self) -> str:
        """Return the class with its fields."""
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({shown})"
