"""The scorers by name: the files of this folder, found without importing one."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, cast

from bylaw.runtime.scorers.interface import ConceptScorer, ScorerError
from bylaw.spec import catalog as spec_catalog
from bylaw.spec.expression import Concept

if TYPE_CHECKING:
    from bylaw.runtime.concepts.labels import LabelledText

DEFAULT = "words"
"""The scorer of a concept that names none."""
_NOT_SCORERS = frozenset({"__init__", "interface", "catalog", "build", "asking"})


@dataclass(frozen=True)
class Making:
    """What scorers are made from, besides their concepts.

    `labels`: texts with what people said of them, by the full name of the concept. `base`: the folder of the policy;
    paths in `scored by NAME "path"` are relative to it. `alpha`: the share of texts of each class that prediction sets
    may miss. `options`: what was given on the command line for one kind of scorer, by its name (`judge`: see there).
    `is_rough_allowed`: whether scores that no example has been held against count.
    """

    labels: Mapping[str, tuple[LabelledText, ...]] = field(default_factory=lambda: MappingProxyType({}))
    base: Path = Path()
    alpha: float = 0.1
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    is_rough_allowed: bool = False


class ScorerKind(Protocol):
    """What a file of this folder has: its docstring says in the first line what the scorer is, `ARGUMENT` what the
    argument of `scored by NAME "..."` means (empty: it takes none), and `make` makes one scorer for concepts that
    name it. Raises ScorerError there, with the concept's name, for what cannot be made."""

    ARGUMENT: str

    @staticmethod
    def make(concepts: tuple[Concept, ...], making: Making) -> Mapping[str, ConceptScorer]:
        """The scorer of each concept, by the concept's full name; concepts may share one."""


def names() -> tuple[str, ...]:
    """The scorers that there are."""
    found = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(name for name in found if name not in _NOT_SCORERS and not name.startswith("_")))


def kind(name: str) -> ScorerKind:
    """One scorer's file. Raises ScorerError for a name that there is not, with the nearest one."""
    if name not in names():
        nearest = spec_catalog.nearest(name, names())
        meant = f"; did you mean `{nearest}`?" if nearest is not None else "."
        raise ScorerError(f"there is no scorer called `{name}`{meant} There are: {', '.join(names())}")
    return cast("ScorerKind", importlib.import_module(f"bylaw.runtime.scorers.{name}"))
