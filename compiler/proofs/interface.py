"""What an analysis of a policy may look at, and what it may say."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from bylaw.compiler.program import RewardProgram
from bylaw.compiler.witnesses import Witnesses
from bylaw.spec.ast import Module
from bylaw.spec.errors import Diagnostic
from bylaw.spec.regulator import RegulatorSet

TIME_LIMIT = 120.0
"""Seconds after which questions that have not been asked yet stay open."""


@dataclass(frozen=True, slots=True)
class Undecided:
    """Questions that an analysis could not answer: `count` of them, `about` what, and `why` (a cap, no automaton)."""

    about: str
    why: str
    count: int = 1


Finding = Diagnostic | Undecided


@dataclass(frozen=True, slots=True)
class PolicyView:
    """A policy that is about to be analysed.

    `policy` is what the author wrote, before rules lift each other; `program` is what is left of it, one term for each
    sentence, where exceptions, permissions, overrides and levels have been settled. `witnesses` knows texts that obey
    or break what the hard rules ask for. `until` is the end of the time for the analyses (`time.monotonic`), and
    `module` the main file as it is written, which lies at `path`, where it is a file.
    """

    policy: RegulatorSet
    program: RewardProgram
    witnesses: Witnesses
    until: float
    module: Module
    path: Path | None = None

    @property
    def is_late(self) -> bool:
        """Whether the time is used up: what is left to ask stays open."""
        return time.monotonic() > self.until
