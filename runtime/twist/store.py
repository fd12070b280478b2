"""Built twists on disk, so that a policy and a model that have met need not wait again.

A twist follows from its key alone: the automaton, the vocabulary, the base samples, the cap, the smoothing and the
version of this format; the model with its temperature is part of the key as well. A file is written beside its place
and moved there, so it is whole or absent. Whatever is damaged, or of another key, is ignored and built again. The
files can be deleted at any time; those that were not used for the longest time go first when there is no room.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from hashlib import blake2b
from math import isnan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.automata.counts import Valued
from bylaw.compiler.automata.tokens import TokenAutomaton
from bylaw.runtime.cache import cache_folder
from bylaw.runtime.models.interface import Vocabulary
from bylaw.runtime.twist.inside import Inside
from bylaw.runtime.twist.table import Proxy, Twist, boundary_states

FORMAT = 2
"""Raised by every change of what a twist of the same key holds."""
LARGEST_STORE = 1 << 30
"""Bytes of all files together."""


@dataclass(frozen=True, slots=True)
class TwistKey:
    """All that a twist follows from. Digests are hexadecimal; `smoothing` None is what the samples choose."""

    automaton: str
    vocabulary: str
    model: str
    temperature: float
    samples: str
    max_tokens: int
    smoothing: float | None = None

    @property
    def digest(self) -> str:
        """BLAKE2b over all fields and the format, hexadecimal."""
        return blake2b(repr((FORMAT, self)).encode(), digest_size=20).hexdigest()


def automaton_digest(valued: Valued) -> str:
    """BLAKE2b over the alphabet and all tables, hexadecimal: automata of equal digest are equal."""
    hashed = blake2b(digest_size=20)
    alphabet = valued.alphabet
    hashed.update(repr((valued.size, valued.start, valued.dead, alphabet.size, len(alphabet.starts))).encode())
    for part, kind in (
        (alphabet.starts, np.int64),
        (alphabet.labels, np.int64),
        (valued.delta, np.int64),
        (valued.increments, np.float64),
        (valued.final, np.float64),
    ):
        hashed.update(np.ascontiguousarray(np.array(part, dtype=kind)).data)
    return hashed.hexdigest()


def vocabulary_digest(vocabulary: Vocabulary) -> str:
    """BLAKE2b over the bytes of all tokens, the ends and the treatment of the first space, hexadecimal."""
    hashed = blake2b(repr((sorted(vocabulary.eos_ids), vocabulary.drops_leading_space)).encode(), digest_size=20)
    for piece in vocabulary.token_bytes:
        hashed.update(b"-" if piece is None else len(piece).to_bytes(4, "little") + piece)
    return hashed.hexdigest()


@dataclass(frozen=True, slots=True)
class TwistStore:
    """Twists in a folder, at most `limit` bytes of them; one that is larger than a quarter of that is not kept."""

    folder: Path
    limit: int = LARGEST_STORE

    @staticmethod
    def default() -> TwistStore:
        """The store in the cache folder of this user."""
        return TwistStore(cache_folder() / "twists")

    def get(self, key: TwistKey, automaton: TokenAutomaton) -> Twist | None:
        """The twist of a key, for the automaton that the key names; None where there is no sound file."""
        path = self._path(key)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
                value, nearest, proxy = found["log_value"], found["nearest"], found["proxy"]
                if str(found["seal"]) != _seal(key, value, nearest, proxy):
                    return None
        except (
            OSError,
            ValueError,
            KeyError,
            EOFError,
            TypeError,
            AttributeError,
            NotImplementedError,
            zipfile.BadZipFile,
        ):
            return None
        rows = key.max_tokens + 1, len(boundary_states(automaton)) + 1
        fits = (value.shape, value.dtype, nearest.shape, proxy.shape) == (
            rows, np.dtype(np.float64), (automaton.state_count + 1,), (5,),
        )  # fmt: skip
        if not fits or nearest.dtype not in (np.dtype(np.uint16), np.dtype(np.int32)) or np.isnan(value).any():
            return None
        with suppress(OSError):
            os.utime(path)  # what was used last is kept longest
        inside = Inside.of(automaton, nearest.astype(np.int32))
        return Twist(automaton, key.max_tokens, value, inside, _proxy(proxy))

    def put(self, key: TwistKey, twist: Twist) -> bool:
        """Keeps a twist, and removes others where room is needed. False where it cannot be kept, which is no error."""
        nearest = twist.inside.nearest
        small = nearest.astype(np.uint16) if nearest.max() < 2**16 else nearest
        if twist.log_value.nbytes + small.nbytes > self.limit // 4:
            return False
        path, proxy = self._path(key), _numbers(twist.proxy)
        beside = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                seal = np.array(_seal(key, twist.log_value, small, proxy))
                np.savez(file, seal=seal, log_value=twist.log_value, nearest=small, proxy=proxy)
            os.replace(beside, path)
        except OSError:
            return False
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
        self._make_room()
        return True

    def get_or_build(self, key: TwistKey, automaton: TokenAutomaton, build: Callable[[], Twist]) -> Twist:
        """The twist of a key from the disk, or else built and kept."""
        found = self.get(key, automaton)
        if found is None:
            found = build()
            self.put(key, found)
        return found

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(size for _, size, _ in self._files())

    def _path(self, key: TwistKey) -> Path:
        return self.folder / f"{key.digest}.npz"

    def _make_room(self) -> None:
        """Removes the files that were not used for the longest time, until the rest is within the limit."""
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= self.limit:
                return
            with suppress(OSError):
                path.unlink()
            total -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        """(last use, bytes, path) of every file; one that another process removes in between is left out."""
        found = []
        for path in self.folder.glob("*.npz"):
            with suppress(OSError):
                stat = path.stat()
                found.append((stat.st_mtime, stat.st_size, path))
        return found


def _seal(key: TwistKey, *arrays: NDArray[np.generic]) -> str:
    """BLAKE2b over the key and all numbers, hexadecimal: the checksums of a zip file are not read by all readers."""
    hashed = blake2b(key.digest.encode(), digest_size=20)
    for array in arrays:
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


def _numbers(proxy: Proxy | None) -> NDArray[np.float64]:
    fields = asdict(proxy).values() if proxy is not None else (np.nan,) * 5
    return np.array(list(fields), dtype=np.float64)


def _proxy(numbers: NDArray[np.float64]) -> Proxy | None:
    samples, events, state, position, bits = (float(number) for number in numbers)
    return None if isnan(samples) else Proxy(int(samples), int(events), state, position, bits)
