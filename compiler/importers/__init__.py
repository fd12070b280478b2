"""Reads rules that other tools wrote and writes them as policies. One file is one importer; its name is the kind.

`read_kind("model_spec").read(text, naming)` gives the policy and an account of every part of the input: a module of
this folder defines `IMPORTER`, and nothing else has to be edited for a new one.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from bylaw.compiler.importers.interface import Importer

_NOT_AN_IMPORTER = ("interface",)


def kinds() -> tuple[str, ...]:
    """The kinds that can be imported, in alphabetical order, without importing any; `-` in place of `_`."""
    stems = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(stem.replace("_", "-") for stem in stems if stem[0] != "_" and stem not in _NOT_AN_IMPORTER))


def importer(kind: str) -> Importer:
    """The importer of a kind, one of `kinds()`. Raises LookupError for any other."""
    if kind not in kinds():
        raise LookupError(f"there is no importer called `{kind}`")
    found: Importer = importlib.import_module(f"{__name__}.{kind.replace('-', '_')}").IMPORTER
    return found
