"""The transcripts of all files of a folder and of the folders in it, in the order of their names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bylaw.runtime.audit.inputs import Limits, TranscriptError, quote, quote_all
from bylaw.spec.errors import visible
from bylaw.spec.trace import Trace

Items = Iterator[tuple[int, Trace | str]]
Reader = Callable[[Path, str], Items]
"""(a file, what to call it) -> what it holds, in order: traces, and the words for what could not be read."""

NOTHING = "there is nothing to read in this file"
_HELD_BYTES = 32_000_000
"""Files up to this size are held while they are read."""
_LISTS = ("eval-set.json", "listing.json", "logs.json")
"""What Inspect writes beside its logs; they say which logs there are and hold no transcript."""


def items(
    folder: Path, read: Reader, suffixes: Sequence[str], limits: Limits
) -> Iterator[tuple[str, int, Trace | str]]:
    """What the files hold, as (file, place in it, trace or why there is none).

    A trace is named by its file (the path below `folder`) and its own id, `run/log.jsonl:17`. A file that cannot be
    used is left out whole; so is one with another ending, and a link to a folder. Both are said; names that start with
    a dot are passed over. Names are shown with nothing hidden in them: others may have chosen them. Raises
    TranscriptError for a folder that cannot be read or that holds too many files.
    """
    for path, shown, reason in files(folder, suffixes, limits):
        source = str(folder / shown)
        if reason is not None:
            yield source, 1, reason
            continue
        try:
            found = _whole(path, shown, read)
        except TranscriptError as error:
            yield source, 1, str(error)
            continue
        is_empty = True
        for place, item in found:
            is_empty = False
            yield source, place, item if isinstance(item, str) else named(item, shown)
        if is_empty:
            yield source, 1, NOTHING


def _whole(path: Path, shown: str, read: Reader) -> Iterable[tuple[int, Trace | str]]:
    """What a file holds, once it is known that it can be read to its end: one that is damaged there is left out whole.

    A large file is read twice for that, and never held. Raises TranscriptError.
    """
    if not path.is_file() or path.stat().st_size <= _HELD_BYTES:
        return list(read(path, shown))
    for _ in read(path, shown):
        pass
    return read(path, shown)


def files(folder: Path, suffixes: Sequence[str], limits: Limits) -> Iterator[tuple[Path, str, str | None]]:
    """The files as (path, what to call it, why it cannot be read if that is known from its kind), in the order of
    their names. Raises TranscriptError as `items`."""
    for path, reason in _files(folder, limits):
        if reason is None and path.suffix.lower() not in suffixes:
            reason = f"the file has an unknown ending; this reads {quote_all(suffixes)}"
        yield path, visible(path.relative_to(folder).as_posix()), reason


def named(trace: Trace, shown: str) -> Trace:
    """The trace, named by its file as well."""
    return trace if trace.id.startswith(f"{shown}:") else replace(trace, id=f"{shown}:{trace.id}")


def _files(folder: Path, limits: Limits) -> Iterator[tuple[Path, str | None]]:
    """The files in the order of their names, and why something cannot be read if that is known from its kind."""
    found: list[tuple[Path, str | None]] = []
    for root, folders, names in os.walk(folder, onerror=_refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        links = [name for name in folders if (Path(root) / name).is_symlink()]
        found += [(Path(root) / name, "a link to a folder is not followed") for name in links]
        for name in names:
            path = Path(root) / name
            if not name.startswith(".") and name not in _LISTS:
                found.append((path, None if path.is_file() else "it is no file"))
        if len(found) > limits.files:
            raise TranscriptError(f"{quote(str(folder))} holds more than {limits.files:,} files; split it")
    yield from sorted(found, key=lambda each: each[0].relative_to(folder).parts)


def _refuse(error: OSError) -> None:
    raise TranscriptError(f"{quote(str(error.filename))} cannot be read: {error.strerror or error}") from error
