"""Catalogs without registries: a folder is the table.

The name of a file is the key, names are listed without importing, an unknown name is an error with a suggestion.
A new predicate, unit or function is one new file that defines `PREDICATE`, `UNIT` or `FUNCTION`; nothing else has to be
edited.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bylaw.spec.expression import Extent, Matcher
from bylaw.spec.machine import CountingMachine
from bylaw.spec.pattern import Node as PatternNode

ParameterKind: TypeAlias = Literal["text", "number"]
ResultKind: TypeAlias = Literal["number", "text", "boolean"]
Argument: TypeAlias = str | float
Value: TypeAlias = float | str | bool


class NoValue(Exception):
    """A function has no value for these arguments; `reason` says why, in words for the author."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownName(LookupError):
    """No file of the catalog has this name; `suggestion` is the nearest one, or None."""

    def __init__(self, kind: str, name: str, suggestion: str | None) -> None:
        super().__init__(f"there is no {kind} called `{name}`")
        self.kind, self.name, self.suggestion = kind, name, suggestion


@dataclass(frozen=True, slots=True)
class Language:
    """The texts for which a predicate holds, as a regular language: `node` found anywhere (`search`), at the start
    (`prefix`), at the end (`suffix`) or spelling out the whole text (`full`)."""

    mode: str
    node: PatternNode


@dataclass(frozen=True, slots=True)
class PredicateExample:
    """A text for which a predicate holds, or not; with several matchers, for all of them."""

    text: str
    matchers: tuple[Matcher, ...]
    holds: bool


def _usable(_: object) -> None:
    """The `refuse` of an entry that takes everything of the right kind."""


@dataclass(frozen=True, slots=True)
class Predicate:
    """One yes-or-no question about a text.

    `find` gives the extents that show that it holds, nothing when it does not; `language` the same as a regular
    language for one matcher (or for none), or None where it is not regular. `takes_matchers` says whether the predicate
    looks for something. `summary` is one line for the author. `refuse` says why a matcher cannot be used, None when it
    can.
    """

    summary: str
    takes_matchers: bool
    find: Callable[[str, Matcher | None], tuple[Extent, ...]]
    language: Callable[[Matcher | None], Language | None]
    examples: tuple[PredicateExample, ...]
    refuse: Callable[[Matcher], str | None] = _usable


@dataclass(frozen=True, slots=True)
class UnitExample:
    """A text and how many units it has."""

    text: str
    count: int


@dataclass(frozen=True, slots=True)
class Unit:
    """Something that can be counted. `find` gives one extent a unit; `machine` counts the same as an automaton, or is
    None where that is not possible.

    What is counted is the plain form of a text (spec/normal.py), as matching reads it, unless the unit `is_raw`. The
    files give `find` and `machine` for the form that they count; `unit` gives a `find` for texts as they are stored.
    """

    summary: str
    find: Callable[[str], tuple[Extent, ...]]
    machine: Callable[[], CountingMachine] | None
    examples: tuple[UnitExample, ...]
    is_raw: bool = False


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a function takes: `name` is what the author may write before the argument."""

    name: str
    kind: ParameterKind


@dataclass(frozen=True, slots=True)
class FunctionExample:
    """Arguments of a function and its value for them."""

    arguments: tuple[Argument, ...]
    value: Value


@dataclass(frozen=True, slots=True)
class Function:
    """A number, text or yes-or-no answer that is computed from texts and numbers.

    `value` takes one argument a parameter and raises NoValue where there is no value: what depends on it is then
    unscored, with that reason. `refuse` looks at the arguments that are known when a policy is checked (None: not known
    yet) and says why they cannot be used, None when they can. `summary` is one line for the author.
    """

    summary: str
    parameters: tuple[Parameter, ...]
    result: ResultKind
    value: Callable[..., Value]
    examples: tuple[FunctionExample, ...]
    refuse: Callable[[tuple[Argument | None, ...]], str | None] = _usable


@cache
def names(folder: str) -> tuple[str, ...]:
    """The keys of a catalog (`predicates`, `units`, `functions`), in alphabetical order, without importing any."""
    return tuple(sorted(p.stem for p in (Path(__file__).parent / folder).glob("*.py") if not p.stem.startswith("_")))


def predicate(name: str) -> Predicate:
    """The predicate in `predicates/<name>.py`. Raises UnknownName."""
    return _load("predicates", "predicate", name).PREDICATE  # type: ignore[no-any-return]


@cache
def unit(name: str) -> Unit:
    """The unit in `units/<name>.py`, which finds in texts as they are stored. Raises UnknownName."""
    found: Unit = _load("units", "countable unit", name).UNIT
    return found if found.is_raw else replace(found, find=_through_plain(found.find))


def _through_plain(find: Callable[[str], tuple[Extent, ...]]) -> Callable[[str], tuple[Extent, ...]]:
    """The same search in the plain form of a text, with the places in the text itself."""

    def find_in_text(text: str) -> tuple[Extent, ...]:
        if text.isascii():
            return find(text)
        from bylaw.spec.normal import plain_text  # loads tables that plain texts do without

        plain = plain_text(text)
        return tuple(plain.extent(extent.start, extent.end) for extent in find(plain.text))

    return find_in_text


def function(name: str) -> Function:
    """The function in `functions/<name>.py`. Raises UnknownName."""
    return _load("functions", "function", name).FUNCTION  # type: ignore[no-any-return]


def nearest(name: str, known: tuple[str, ...]) -> str | None:
    """The known name that `name` was probably meant to be."""
    found = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return found[0] if found else None


@cache
def _load(folder: str, kind: str, name: str) -> Any:
    known = names(folder)
    if name not in known:
        raise UnknownName(kind, name, nearest(name, known))
    return importlib.import_module(f"bylaw.spec.{folder}.{name}")
