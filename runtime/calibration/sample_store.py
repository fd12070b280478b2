"""What was drawn from a model, kept on disk so that nothing is drawn twice and an interrupt loses at most one batch.

A store is a folder for one model, one list of prompts, one temperature, one cap on lengths and one seed. It holds one
folder for each law that responses were drawn from, and in it one file of JSON lines for each batch. The first line of
such a shard says what it holds and has the SHA-256 of the rest; a shard is written beside its place and moved there:
it is whole or absent. What a batch holds follows from its names and the key of the store alone: a lost or damaged one
is drawn again and comes out the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FORMAT = 1
KEY_FILE = "store.json"
_SAID = {
    "model": "the model",
    "prompts": "the prompts",
    "temperature": "the temperature",
    "max_tokens": "the longest response",
    "seed": "the seed",
}


class StoreError(Exception):
    """A store cannot be used.

    StoreError
    +-- StoreMismatch   it holds samples of another model, other prompts or other settings
    """


class StoreMismatch(StoreError):
    """The samples in a store were drawn under another key; `changed` are the names of the fields that differ."""

    def __init__(self, message: str, changed: tuple[str, ...]) -> None:
        super().__init__(message)
        self.changed = changed


@dataclass(frozen=True, slots=True)
class StoreKey:
    """What every sample of a store depends on: digests of the model and the prompts, the temperature, the cap on the
    length of a response in tokens, and the seed."""

    model: str
    prompts: str
    temperature: float
    max_tokens: int
    seed: int

    @property
    def digest(self) -> str:
        """SHA-256 over all fields, hexadecimal."""
        return digest_of(asdict(self))


def digest_of(value: Any) -> str:
    """SHA-256 of JSON values in one canonical spelling, hexadecimal. Floats are written so that they read back."""
    return hashlib.sha256(_line(value).encode()).hexdigest()


class SampleStore:
    """Shards in a folder. `damaged` names those that were found damaged and left out, in the order of the finding."""

    def __init__(self, folder: Path, key: StoreKey) -> None:
        """Opens the store in `folder`, which is made where it is missing.

        Raises StoreMismatch for a store under another key, StoreError for a folder that cannot be read or written.
        """
        self.folder = folder
        self.key = key
        self.damaged: list[str] = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._sweep()
            known = _key_of(folder)
            if known is None:
                self._require_no_shards()
                _write(folder / KEY_FILE, (json.dumps({"format": FORMAT, **asdict(key)}, indent=2) + "\n").encode())
            elif known != key:
                raise _mismatch(folder, known, key)
        except OSError as error:
            raise StoreError(f"the samples cannot be kept in `{folder}`: {_words(error)}") from error

    def get(self, law: str, index: int) -> list[Any] | None:
        """The rows of a shard; None where it is absent, or damaged, which `damaged` then says."""
        path = self._path(law, index)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"`{path}` cannot be read: {_words(error)}") from error
        rows = _rows(data, self._head(law, index))
        if rows is None:
            self.damaged.append(f"{law}/{path.name}")
        return rows

    def put(self, law: str, index: int, rows: Sequence[Any]) -> None:
        """Writes a shard, whole or not at all. Raises StoreError."""
        body = "".join(_line(row) + "\n" for row in rows).encode()
        head = self._head(law, index)
        first = {**head, "rows": len(rows), "sha256": _sealed(head, body)}
        path = self._path(law, index)
        try:
            path.parent.mkdir(exist_ok=True)
            _write(path, (_line(first) + "\n").encode() + body)
        except OSError as error:
            raise StoreError(f"the samples cannot be kept in `{path.parent}`: {_words(error)}") from error

    def keep_only(self, laws: Collection[str]) -> int:
        """Removes the shards of all other laws; returns how many bytes that freed."""
        freed = 0
        for folder in sorted(self.folder.iterdir()):
            if folder.is_dir() and folder.name not in laws:
                freed += sum(file.stat().st_size for file in folder.iterdir())
                shutil.rmtree(folder, ignore_errors=True)
        return freed

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(file.stat().st_size for file in self.folder.rglob("*") if file.is_file())

    def _head(self, law: str, index: int) -> dict[str, Any]:
        return {"format": FORMAT, "key": self.key.digest, "law": law, "index": index}

    def _path(self, law: str, index: int) -> Path:
        return self.folder / law / f"{index:05d}.jsonl"

    def _sweep(self) -> None:
        """Removes what an interrupt left beside its place, and leaves alone what another process is writing."""
        for left in (*self.folder.glob("*.part"), *self.folder.glob("*/*.part")):
            if _is_abandoned(left):
                with suppress(OSError):
                    left.unlink()

    def _require_no_shards(self) -> None:
        if any(self.folder.glob("*/*.jsonl")):
            raise StoreError(
                f"`{self.folder}` holds samples, but `{KEY_FILE}`, which says what they are of, is missing; "
                "remove the folder or choose another one"
            )


def _key_of(folder: Path) -> StoreKey | None:
    path = folder / KEY_FILE
    if not path.exists():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != FORMAT:
            raise StoreError(f"`{path}` was written by another version of bylaw; remove `{folder}` to draw again")
        return StoreKey(**data)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise StoreError(f"`{path}` is damaged ({error}); remove `{folder}` to draw again") from None


def _mismatch(folder: Path, known: StoreKey, key: StoreKey) -> StoreMismatch:
    before, after = asdict(known), asdict(key)
    changed = tuple(name for name in before if before[name] != after[name])
    parts = [
        f"{_SAID[name]} (other contents)"
        if name in ("model", "prompts")
        else f"{_SAID[name]} ({before[name]:g} there, {after[name]:g} now)"
        for name in changed
    ]
    return StoreMismatch(
        f"the samples in `{folder}` were drawn otherwise: {', '.join(parts)} changed; choose another folder with "
        "--out, or remove this one to draw again",
        changed,
    )


def _rows(data: bytes, head: Mapping[str, Any]) -> list[Any] | None:
    """The rows behind the first line, None unless that line fits and its digest is that of the rest."""
    first, newline, body = data.partition(b"\n")
    try:
        found = json.loads(first)
        rows = [json.loads(line) for line in body.splitlines()] if newline else None
    except (ValueError, RecursionError):
        return None
    if rows is None or found != {**head, "rows": len(rows), "sha256": _sealed(head, body)}:
        return None
    return rows


def _sealed(head: Mapping[str, Any], body: bytes) -> str:
    return hashlib.sha256(_line(dict(head)).encode() + b"\n" + body).hexdigest()


def _line(value: Any) -> str:
    # ASCII only: whatever the model said, a line of the file is one row
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _is_abandoned(part: Path) -> bool:
    """Whether the process that was writing this file is gone."""
    number = part.name.split(".")[-2]
    if os.name != "posix" or not number.isdigit():
        return True
    try:
        os.kill(int(number), 0)  # signal 0 is none: it only asks whether there is such a process
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return int(number) == os.getpid()


def _write(path: Path, data: bytes) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
