"""Analyses that prove something about a policy. One file is one analysis; nothing else has to be edited for a new one.

A module of this folder defines `CODES`, the codes that it can find, and `find(view)`, which yields diagnostics and, for
what it could not decide, `Undecided`.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bylaw.compiler.proofs.interface import TIME_LIMIT, Finding, PolicyView, Undecided
from bylaw.compiler.witnesses import Witnesses

if TYPE_CHECKING:
    from types import ModuleType

    from bylaw.compiler.program import RewardProgram
    from bylaw.spec.ast import Module
    from bylaw.spec.regulator import RegulatorSet

__all__ = ["PolicyView", "Undecided", "analyses", "prove"]

_NOT_AN_ANALYSIS = ("interface",)


def analyses() -> tuple[str, ...]:
    """The names of the analyses, in alphabetical order, without importing any."""
    stems = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return tuple(sorted(stem for stem in stems if stem[0] != "_" and stem not in _NOT_AN_ANALYSIS))


def prove(
    module: Module,
    policy: RegulatorSet,
    program: RewardProgram,
    witnesses: Witnesses,
    seconds: float = TIME_LIMIT,
    path: Path | None = None,
) -> Iterator[Finding]:
    """What all analyses find; each is asked in turn until the time is used up, and says what it left open."""
    view = PolicyView(policy, program, witnesses, time.monotonic() + seconds, module, path)
    for name in analyses():
        yield from _analysis(name).find(view)


def _analysis(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")
