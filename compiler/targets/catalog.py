"""The targets by name: the files of this folder, found without importing one."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import cast

from bylaw.compiler.targets.interface import Target, UnknownTarget
from bylaw.spec import catalog as spec_catalog

_NOT_TARGETS = frozenset({"interface", "catalog", "bundle", "writing", "reward_functions"})


def names() -> tuple[str, ...]:
    """The targets that there are, in alphabetical order."""
    found = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(name for name in found if name not in _NOT_TARGETS and not name.startswith("_")))


def summary(name: str) -> str:
    """One line about a target: the first of its file. Raises UnknownTarget."""
    _require(name)
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").partition("\n")[0]


def target(name: str) -> Target:
    """One target's file. Raises UnknownTarget for a name that there is not, with the nearest one."""
    _require(name)
    return cast("Target", importlib.import_module(f"bylaw.compiler.targets.{name}"))


def _require(name: str) -> None:
    if name not in names():
        nearest = spec_catalog.nearest(name, names())
        meant = f"; did you mean `{nearest}`?" if nearest is not None else "."
        raise UnknownTarget(f"there is no target called `{name}`{meant} There are: {', '.join(names())}")
