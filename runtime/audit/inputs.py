"""What reading transcripts is given and gives back, and how their files are read line by line within limits."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bylaw.runtime.record import InputProblem
from bylaw.spec.errors import visible
from bylaw.spec.scope import FACT_ROOTS
from bylaw.spec.trace import Trace

_QUOTED_CHARACTERS = 60
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class TranscriptError(Exception):
    """A file of transcripts or prompts that cannot be used at all; text fit for users. Root of what the readers raise.

    A part that cannot be read is no error: it is left out, named by an `InputProblem`, and the rest is read.
    """


class Unreadable(TranscriptError):
    """One line or row cannot be read; the readers turn it into an `InputProblem`."""


@dataclass(frozen=True, slots=True)
class ColumnNames:
    """Which columns (keys, in JSON lines) hold the texts; every other one becomes a fact, as `fact_name` says.

    Without a name for it, the system message is what stands in `system`, where there is such a column. `id` names a
    transcript in findings and is optional too.
    """

    prompt: str = "prompt"
    response: str = "response"
    system: str | None = None
    id: str = "id"


@dataclass(frozen=True, slots=True)
class Limits:
    """What a file may ask of us. `line_bytes` bounds a line and, in tables, a field; `file_bytes` bounds a file, and
    what a packed one unpacks to; `sample_bytes` bounds what has to be held in one piece: a part of a packed log, or a
    log that is not packed; `files` bounds how many a folder holds; `fact_depth` bounds how deeply objects nest below
    `meta`; beyond `problems` parts that cannot be read the rest is only counted."""

    line_bytes: int = 5_000_000
    file_bytes: int = 2_000_000_000
    sample_bytes: int = 200_000_000
    files: int = 100_000
    fact_depth: int = 3
    problems: int = 1_000


DEFAULT_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Transcripts:
    """The conversations of a file in order, and the parts of it that could not be read."""

    traces: tuple[Trace, ...]
    problems: tuple[InputProblem, ...]


def fact_name(column: str) -> str:
    """The fact that a column (a key, in JSON lines) gives: `user.vip` as it is, `topic` as `meta.topic`."""
    root, dot, rest = column.partition(".")
    return column if dot and rest and root in FACT_ROOTS else f"meta.{column}"


def quote(text: str) -> str:
    """The user's words in backticks, on one line, shortened, with nothing hidden in them."""
    shown = visible(text[: _QUOTED_CHARACTERS + 1])
    return f"`{shown}`" if len(text) <= _QUOTED_CHARACTERS else f"`{shown[:_QUOTED_CHARACTERS]}…`"


def quote_all(names: Iterable[str], most: int = 12) -> str:
    """Several names, each in backticks; a long list ends with how many are left."""
    known = list(names)
    shown = ", ".join(quote(name) for name in known[:most])
    return shown if len(known) <= most else f"{shown} and {len(known) - most} more"


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` where a known name is near, else nothing."""
    by_folded = {item.casefold(): item for item in known}
    near = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f"; did you mean {quote(by_folded[near[0]])}?" if near else ""


def require_text(text: str, what: str) -> str:
    """The text itself. Raises Unreadable for half a surrogate pair, which no report could be written with."""
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise Unreadable(f"{what} holds half a surrogate pair, which is no character") from None
    return text


class Lines(Iterator[bytes]):
    """The lines of a file with their breaks, read one at a time. `number` is that of the line returned last, where
    `before` lines came before this file.

    Raises Unreadable for a line over the limit, after which the next line follows; TranscriptError for a file over it.
    """

    def __init__(self, file: BinaryIO, limits: Limits, before: int = 0) -> None:
        self._file, self._limits = file, limits
        self._read = 0
        self.number = before

    def __next__(self) -> bytes:
        line = self._take()
        if not line:
            raise StopIteration
        self.number += 1
        if len(line) > self._limits.line_bytes:
            while line and not line.endswith(b"\n"):
                line = self._take()
            raise Unreadable(f"the line is longer than {self._limits.line_bytes:,} bytes")
        return line.removeprefix(_BYTE_ORDER_MARK) if self.number == 1 else line

    def _take(self) -> bytes:
        line = self._file.readline(self._limits.line_bytes + 1)
        self._read += len(line)
        if self._read > self._limits.file_bytes:
            raise TranscriptError(f"the file is larger than {self._limits.file_bytes:,} bytes; split it")
        return line


def check_path(path: Path, suffixes: Sequence[str]) -> None:
    """Raises TranscriptError where `path` is no file, or its name does not end in one of `suffixes`."""
    if path.is_dir():
        raise TranscriptError(f"{quote(str(path))} is a directory; name a file")
    if not path.exists():
        raise TranscriptError(f"there is no file {quote(str(path))}")
    if path.suffix.lower() not in suffixes:
        raise TranscriptError(f"{quote(str(path))} has an unknown ending; this reads {quote_all(suffixes)}")
