"""A file of answers: JSON Lines behind a head that tells what they are answers to; can be gone on with."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FORMAT = "bylaw answers 1"


class AnswersFileError(Exception):
    """The file holds something else, or cannot be read or written."""


class AnswersFile:
    """Answers in `path`. `head` are JSON values: everything that the answers depend on.

    A file with the same head is gone on with; a last line that an interruption left unfinished is cut off. `done` are
    the prompts that are answered in it, `missing` how many of these answers hold no response. Raises AnswersFileError
    for any other file, and where the folder is missing.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path = path
        self.done: frozenset[int] = frozenset()
        self.missing = 0
        first = _line({"format": FORMAT, **head})
        try:
            if path.exists() and not path.is_file():
                raise AnswersFileError(f"`{path}` is no file; choose another one with --out")
            if path.exists() and not (first + "\n").encode().startswith(path.read_bytes()):
                self._go_on(first)
            else:  # not there, or interrupted before its first line was whole
                path.write_bytes((first + "\n").encode())
        except OSError as error:
            raise AnswersFileError(
                f"answers cannot be kept in `{path}`: {(error.strerror or str(error)).lower()}; choose another file "
                "with --out"
            ) from error

    def add(self, answer: Mapping[str, Any]) -> None:
        """Writes one answer, to the disk. Raises AnswersFileError."""
        try:
            with self.path.open("ab") as file:
                file.write((_line(answer) + "\n").encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise AnswersFileError(
                f"`{self.path}` cannot be written: {(error.strerror or str(error)).lower()}; what it holds is kept"
            ) from error

    def _go_on(self, first: str) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.split(b"\n")[:-1]
        known = _head(lines[0] if lines else b"")
        if known is None:
            raise AnswersFileError(f"`{self.path}` exists and is no file of answers; choose another one with --out")
        wanted = json.loads(first)
        changed = sorted(key for key in {*known, *wanted} if known.get(key) != wanted.get(key))
        if changed:
            raise AnswersFileError(
                f"`{self.path}` holds answers that were made otherwise ({', '.join(changed)}); choose another file "
                "with --out, or remove this one"
            )
        done = []
        for number, line in enumerate(lines[1:], 2):
            index, answered = _answer(line)
            if index is None or index in done:
                raise AnswersFileError(
                    f"`{self.path}` is damaged in line {number}; remove that line to have its answer made again, or "
                    "the file to begin again"
                )
            done.append(index)
            self.missing += not answered
        self.done = frozenset(done)
        if len(whole) < len(data):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))


def _line(value: Mapping[str, Any]) -> str:
    # ASCII only: no character of an answer can be taken for the end of a line
    return json.dumps(value, sort_keys=True, allow_nan=False)


def _answer(line: bytes) -> tuple[int | None, bool]:
    """(the prompt, None where the line is no answer; whether there is a response)."""
    try:
        found = json.loads(line)
        index = found["prompt"]
        return (index if type(index) is int else None), bool(found["responses"] or found.get("rescued"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None, False


def _head(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None
