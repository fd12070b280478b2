"""Files of transcripts cut into parts that can be read apart from each other, on other machines too.

A table of Parquet is cut between its row groups; other files are one part each. Read in order and put together, the
parts give what `read_transcripts` gives: the same ids, the same problems in the same order.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path

from bylaw.runtime.audit import folder, parquet
from bylaw.runtime.audit.inputs import ColumnNames, Limits, TranscriptError, check_path, quote
from bylaw.runtime.audit.transcripts import SUFFIXES, items_of
from bylaw.spec.trace import Trace

PART_BYTES = 64_000_000
"""Bytes of text to a part, about, where a table can be cut."""
_TAIL_BYTES = 65_536
_PARQUET = ".parquet"


class OtherFile(Exception):
    """A file is missing on this machine, or is not the one that was cut into parts; text fit for users."""


@dataclass(frozen=True, slots=True)
class FilePart:
    """A file, or the row groups `first` to `stop` (exclusive) of one; `stop` None: the whole file.

    `path` is where the file lies on every machine, `shown` what its transcripts are called by, `is_named` whether all
    ids start with that, as in a folder. `size` (bytes) and `tail` (digest of the last bytes) say which file it is.
    """

    path: str
    shown: str
    is_named: bool
    size: int
    tail: str
    first: int = 0
    stop: int | None = None


@dataclass(frozen=True, slots=True)
class CutFile:
    """A file in parts. `source` is what problems call it; with a `reason` it cannot be read and has no parts."""

    source: str
    parts: tuple[FilePart, ...]
    reason: str | None = None


# ---------------------------------------------------------------------------------------------------------- cutting
def cut(path: str | Path, limits: Limits, part_bytes: int = PART_BYTES) -> tuple[CutFile, ...]:
    """The file, or the files of a folder in the order of their names, in parts of about `part_bytes` bytes of text.

    Raises TranscriptError for what cannot be read at all; in a folder such a file has the reason in its place.
    """
    path = Path(path)
    if not path.is_dir():
        check_path(path, SUFFIXES)
        return (CutFile(str(path), _parts(path, path.name, False, limits, part_bytes)),)
    found = []
    for file, shown, reason in folder.files(path, SUFFIXES, limits):
        parts: tuple[FilePart, ...] = ()
        if reason is None:
            try:
                parts = _parts(file, shown, True, limits, part_bytes)
            except TranscriptError as error:
                reason = str(error)
        found.append(CutFile(str(path / shown), parts, reason))
    return tuple(found)


def _parts(path: Path, shown: str, is_named: bool, limits: Limits, part_bytes: int) -> tuple[FilePart, ...]:
    try:
        size, tail = _identity(path)
        whole = FilePart(str(path.absolute()), shown, is_named, size, tail)
        if path.suffix.lower() != _PARQUET:
            return (whole,)
        sizes = parquet.row_groups(path, limits, shown)
    except OSError as error:
        raise TranscriptError(f"{quote(str(path))} cannot be read: {error.strerror or error}") from error
    edges = [0]
    held = 0
    for index, each in enumerate(sizes):
        if held and held + each > part_bytes:
            edges.append(index)
            held = 0
        held += each
    if not sizes:
        return (whole,)
    return tuple(
        FilePart(whole.path, shown, is_named, size, tail, first, stop)
        for first, stop in pairwise([*edges, len(sizes)])
    )  # fmt: skip


def _identity(path: Path) -> tuple[int, str]:
    """(size in bytes, digest of the last bytes): in a table those say where everything else stands."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        return size, blake2b(file.read(_TAIL_BYTES), digest_size=16).hexdigest()


# ---------------------------------------------------------------------------------------------------------- reading
@dataclass(slots=True)
class PartReader:
    """Reads a part once. What is known of it beside the transcripts is complete when these have been taken.

    `problems` are (line or row, words) in order, the first `Limits.problems` of them; `more` is how many came after
    these, up to line `last`. `text_bytes` is how many bytes of text the rows of a table had.
    """

    part: FilePart
    columns: ColumnNames
    limits: Limits
    problems: list[tuple[int, str]] = field(default_factory=list)
    more: int = 0
    last: int = 0
    text_bytes: int = 0

    def traces(self) -> Iterator[Trace]:
        """The transcripts in order. Raises TranscriptError where the part cannot be used, OtherFile where the file is
        missing or another one."""
        path = Path(self.part.path)
        try:
            if _identity(path) != (self.part.size, self.part.tail):
                raise OtherFile(f"{quote(self.part.path)} is not the file that it was when the audit began")
            for line, item in self._items(path):
                if isinstance(item, Trace):
                    yield folder.named(item, self.part.shown) if self.part.is_named else item
                elif len(self.problems) < self.limits.problems:
                    self.problems.append((line, item))
                else:
                    self.more, self.last = self.more + 1, line
        except FileNotFoundError:
            raise OtherFile(f"there is no file {quote(self.part.path)}") from None
        except OSError as error:
            raise TranscriptError(f"{quote(self.part.path)} cannot be read: {error.strerror or error}") from error

    def _items(self, path: Path) -> Iterator[tuple[int, Trace | str]]:
        part = self.part
        if part.stop is None:
            yield from items_of(path, self.columns, self.limits, part.shown, True)
        else:
            groups = range(part.first, part.stop)
            self.text_bytes = yield from parquet.rows(path, self.columns, self.limits, part.shown, True, groups)
