"""What a worker of a Ray cluster does: reads a part of the transcripts and scores it by the policy.

A worker is sent texts and numbers only. The policy is the JSON of its program, whose digest is checked; the program is
made from it once in each process. What goes back holds verdicts, and no texts but those of the first findings.
"""

from __future__ import annotations

import os
import pickle
import platform
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import bylaw
from bylaw.compiler.program import ProgramError, RewardProgram, from_json
from bylaw.runtime.audit.columns import PART
from bylaw.runtime.audit.file_parts import FilePart, OtherFile, PartReader
from bylaw.runtime.audit.inputs import ColumnNames, Limits, TranscriptError
from bylaw.runtime.audit.part_answers import Answer
from bylaw.runtime.audit.tally import Tallied, Tallier, batches
from bylaw.runtime.audit.verdict_parquet import ROWS, VerdictTable

_HELD_CHARACTERS = 16_000_000
"""Texts of a part that are held together: a worker needs some hundred megabytes, however large a file is."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every worker is told. `program` is what `program.to_json` writes; `verdicts` is the folder, the same on all
    machines, for a table of the verdicts on each part; `bylaw` is the version that all of them need."""

    program: str
    bylaw: str
    columns: ColumnNames
    limits: Limits
    findings: int
    verdicts: str | None = None


def audit_batch(batch: dict[str, Any], job: Job) -> dict[str, list[Any]]:
    """A step of a Ray Data job: rows with `number` and `part` (a pickled FilePart) become rows with `answer` (a
    pickled Answer)."""
    parts = zip(batch["number"].tolist(), batch["part"], strict=True)
    return {"answer": [pickle.dumps(answer(number, pickle.loads(part), job)) for number, part in parts]}


def answer(number: int, part: FilePart, job: Job) -> Answer:
    """The verdicts on a part, or why there are none."""
    try:
        if bylaw.__version__ != job.bylaw:
            raise OtherFile(
                f"bylaw is {bylaw.__version__} there and {job.bylaw} here; install the same on all machines"
            )
        program, tallier = _prepared(job.program, job.findings)
        reader = PartReader(part, job.columns, job.limits)
        tallied = _tallied(number, reader, program, tallier, job.verdicts)
    except TranscriptError as error:
        return Answer(number, unusable=str(error))
    except (OtherFile, ProgramError, OSError) as error:
        return Answer(number, refused=f"on the machine `{platform.node()}`: {error}")
    except Exception as error:  # Ray would wrap it in a page of its own
        said = f"{type(error).__name__}: {str(error)[:200]}"
        return Answer(number, refused=f"on the machine `{platform.node()}`, a part of `{part.shown}`: {said}")
    problems = tuple(reader.problems)
    return Answer(number, tallied, problems, reader.more, reader.last, reader.text_bytes)


@lru_cache(maxsize=1)
def _prepared(program: str, findings: int) -> tuple[RewardProgram, Tallier]:
    """The program, and the tallier with its scanner: made once in a process, which is given part after part."""
    made = from_json(program)
    return made, Tallier(made.terms, findings, in_order=False)


def _tallied(
    number: int, reader: PartReader, program: RewardProgram, tallier: Tallier, verdicts: str | None
) -> tuple[Tallied, ...]:
    most = max(1, min(PART, ROWS // max(1, len(program.terms))))
    if verdicts is None:
        return tuple(tallier.part(traces) for traces in batches(reader.traces(), most, _HELD_CHARACTERS))
    place = Path(verdicts) / verdict_file(number)
    beside = place.with_name(f".{place.name}.{platform.node()}.{os.getpid()}.tmp")
    try:
        table = VerdictTable(beside, program)
        found = []
        for traces in batches(reader.traces(), most, _HELD_CHARACTERS):
            found.append(tallier.part(traces))
            table.add(traces, found[-1].part)
        table.close()
        os.replace(beside, place)  # a part that is done twice, since a machine was lost, leaves the same file
        return tuple(found)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def verdict_file(number: int) -> str:
    """The file with the verdicts on a part."""
    return f"part-{number:06d}.parquet"
