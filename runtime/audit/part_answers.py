"""What became of the parts of files that were audited apart from each other, and how these are put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bylaw.runtime.audit.file_parts import CutFile
from bylaw.runtime.audit.folder import NOTHING
from bylaw.runtime.audit.inputs import Limits, TranscriptError
from bylaw.runtime.audit.parquet import require_size
from bylaw.runtime.audit.tally import Tallied
from bylaw.runtime.audit.transcripts import ProblemList, nothing_to_read
from bylaw.runtime.record import InputProblem


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a part. `unusable` are the words of a TranscriptError, `refused` say why a machine cannot do such
    work at all; without either `tallied` are the verdicts, in order, and the rest is as in `PartReader`."""

    number: int
    tallied: tuple[Tallied, ...] = ()
    problems: tuple[tuple[int, str], ...] = ()
    more: int = 0
    last: int = 0
    text_bytes: int = 0
    unusable: str | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Joined:
    """The verdicts in order, what could not be read, and the numbers of the parts that are in it."""

    tallied: tuple[Tallied, ...]
    problems: tuple[InputProblem, ...]
    used: tuple[int, ...]


def join(path: Path, files: Sequence[CutFile], answers: Sequence[Answer], limits: Limits) -> Joined:
    """Puts the parts together, file by file, as reading `path` at once would have.

    `answers` are those of all parts in order. A file with a part that cannot be used is left out whole in a folder;
    otherwise TranscriptError is raised, as it is where not one transcript is left.
    """
    problems = ProblemList(str(path), limits.problems)
    tallied: list[Tallied] = []
    used: list[int] = []
    at = 0
    for file in files:
        own = answers[at : at + len(file.parts)]
        at += len(own)
        if (reason := file.reason or _unusable(path, file, own, limits)) is not None:
            problems.add(file.source, 1, reason)
            continue
        for each in own:
            for line, words in each.problems:
                problems.add(file.source, line, words)
            if each.more:
                problems.count(file.source, each.last, each.more)
            tallied += each.tallied
            used.append(each.number)
    if not any(each.count for each in tallied):
        raise nothing_to_read(path, problems.found())
    return Joined(tuple(tallied), problems.found(), tuple(used))


def _unusable(path: Path, file: CutFile, answers: Sequence[Answer], limits: Limits) -> str | None:
    """Why a file of a folder is left out. Raises TranscriptError where there is only the one."""
    read, is_empty = 0, True
    try:
        for part, each in zip(file.parts, answers, strict=True):
            read += each.text_bytes
            require_size(read, limits, part.shown)
            if each.unusable is not None:
                raise TranscriptError(each.unusable)
            is_empty = is_empty and not each.problems and not any(one.count for one in each.tallied)
    except TranscriptError as error:
        if not path.is_dir():
            raise
        return str(error)
    return NOTHING if is_empty and path.is_dir() else None
