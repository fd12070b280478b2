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

    A file with the same head is gone on with; a last line that an interruption left unfinished is cut off. Raises
    AnswersFileError for any other file, and where the folder is missing.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        self.path = path
        self.done: frozenset[int] = frozenset()
        first = json.dumps({"format": FORMAT, **head}, sort_keys=True, ensure_ascii=False)
        try:
            if path.exists() and path.stat().st_size:
                self._go_on(first)
            else:
                path.write_text(first + "\n", encoding="utf-8")
        except OSError as error:
            raise AnswersFileError(f"`{path}` cannot be used for answers: {error.strerror or error}") from error

    def add(self, index: int, answer: Mapping[str, Any]) -> None:
        """Writes one answer, to the disk. Raises AnswersFileError."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"prompt": index, **answer}, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise AnswersFileError(f"`{self.path}` cannot be written: {error.strerror or error}") from error

    def _go_on(self, first: str) -> None:
        data = self.path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        lines = whole.decode("utf-8", "replace").split("\n")[:-1]
        known = _head(lines[0] if lines else "")
        if known is None:
            raise AnswersFileError(f"`{self.path}` exists and is no file of answers; choose another one with --out")
        wanted = json.loads(first)
        changed = sorted(key for key in {*known, *wanted} if known.get(key) != wanted.get(key))
        if changed:
            raise AnswersFileError(
                f"`{self.path}` holds answers that were made otherwise ({', '.join(changed)}); choose another file "
                "with --out, or remove it"
            )
        try:
            self.done = frozenset(int(json.loads(line)["prompt"]) for line in lines[1:])
        except (ValueError, KeyError, TypeError) as error:
            raise AnswersFileError(f"`{self.path}` is damaged: {error}; remove it and begin again") from error
        if len(whole) < len(data):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))


def _head(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.get("format") == FORMAT else None
