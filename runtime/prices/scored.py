"""Responses with their weights under the base law and their scores: what every question about the law can be asked of.

Calibration writes such a suite, prices and what-ifs read it: once responses are scored, no model is needed any more.
The file is NumPy's archive of plain arrays (nothing in it is executed) with one JSON text for the rest.
"""

from __future__ import annotations

import json
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
LARGEST = 4_000_000_000
"""Bytes of a file, packed or unpacked; a larger one is not read."""
_KINDS = {"log_ratio": "f", "values": "f", "counts": "b", "violated": "b"}
_DAMAGED = (
    ValueError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    MemoryError,
    RuntimeError,
    SyntaxError,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)  # whatever zipfile, zlib, json and NumPy's reader of headers raise on bytes that nobody wrote on purpose

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]


class ScoredError(Exception):
    """A file of scored responses that cannot be read; text fit for users."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What the scores are about: digests of the rules (`RewardProgram.digest`), the model and the prompts, and what
    else fixes the base law (the temperature, and the cap on the length of a response in tokens)."""

    rules: str
    model: str
    prompts: str
    temperature: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, eq=False)
class ScoredPrompt:
    """The N responses to one prompt that all proposals together drew, under the T terms of a program, in its order.

    Attributes:
        id: of the prompt, as in its file.
        log_ratio: [N] log p0(y)/m(y) in nats, m the mixture of all laws that responses were drawn from (balance
            heuristic); −inf for a draw that ended without a text, which still counts in every mean.
        values: [N, T] as `TermScore.value`: −1 or 0 for a hard or soft term, the quantity of a graded term or budget;
            0 where a term does not count.
        counts: [N, T] whether the term is about this response: its condition holds, and what a limit is `among`.
        violated: [N, T] whether the response counts against the term.
    """

    id: str
    log_ratio: FloatArray
    values: FloatArray
    counts: BoolArray
    violated: BoolArray

    def __post_init__(self) -> None:
        shape = self.values.shape
        if (
            len(shape) != 2
            or self.log_ratio.shape != shape[:1]
            or self.counts.shape != shape
            or self.violated.shape != shape
        ):
            raise ValueError("log_ratio must be [N], and values, counts and violated [N, T]")


@dataclass(frozen=True, eq=False)
class ScoredSuite:
    """All prompts of a suite. `terms` are the ids of the program's terms in the order of the columns."""

    origin: Origin
    terms: tuple[str, ...]
    prompts: tuple[ScoredPrompt, ...]

    @property
    def size(self) -> int:
        """How many responses there are, draws without a text included."""
        return sum(len(prompt.log_ratio) for prompt in self.prompts)

    def save(self, path: Path) -> None:
        """Writes the file whole or not at all. Raises OSError."""
        sizes = [len(prompt.log_ratio) for prompt in self.prompts]
        head = {
            "format": FORMAT,
            "origin": asdict(self.origin),
            "terms": self.terms,
            "prompts": [prompt.id for prompt in self.prompts],
            "sizes": sizes,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".part")
        with beside.open("wb") as file:
            np.savez_compressed(
                file,
                head=np.array(json.dumps(head)),
                log_ratio=_joined([prompt.log_ratio for prompt in self.prompts]),
                values=_joined([prompt.values for prompt in self.prompts]),
                counts=_joined([prompt.counts for prompt in self.prompts]),
                violated=_joined([prompt.violated for prompt in self.prompts]),
            )
        beside.replace(path)


def load(path: Path) -> ScoredSuite:
    """Reads what `save` wrote. Raises ScoredError for anything else."""
    try:
        _require_small(path)
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _KINDS}
            head = json.loads(str(archive["head"]))
        return _suite(head, arrays)
    except OSError as error:
        raise ScoredError(f"`{path}` cannot be read: {error.strerror or error}") from None
    except _DAMAGED as error:
        raise ScoredError(f"`{path}` is not a file of scored responses: {error}; run `bylaw calibrate` again") from None


def _require_small(path: Path) -> None:
    """Raises ScoredError for a file that is too large, as it lies there or unpacked."""
    size = path.stat().st_size
    if size <= LARGEST:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    if size > LARGEST:
        raise ScoredError(f"`{path}` is larger than {LARGEST} bytes; run `bylaw calibrate` again")


def _suite(head: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> ScoredSuite:
    if head["format"] != FORMAT:
        raise ScoredError(f"format {head['format']!r} of scored responses is unknown; this version reads {FORMAT}")
    for name, array in arrays.items():
        if array.dtype.kind != _KINDS[name]:
            raise ValueError(f"{name} is of type {array.dtype}")
    if not all(type(size) is int and 0 <= size <= LARGEST for size in head["sizes"]):
        raise ValueError("its numbers of responses are not whole numbers of 0 or more")
    edges = np.cumsum(np.array(head["sizes"], dtype=np.int64))
    if edges.size == 0 or any(len(array) != edges[-1] for array in arrays.values()):
        raise ValueError("its arrays disagree about the number of responses")
    parts = {name: np.split(array, edges[:-1]) for name, array in arrays.items()}
    prompts = tuple(
        ScoredPrompt(
            str(identifier),
            np.asarray(log_ratio, dtype=np.float64),
            np.asarray(values, dtype=np.float64),
            np.asarray(counts, dtype=np.bool_),
            np.asarray(violated, dtype=np.bool_),
        )
        for identifier, log_ratio, values, counts, violated in zip(head["prompts"], *parts.values(), strict=True)
    )
    terms = tuple(str(term) for term in head["terms"])
    if any(prompt.values.shape[1] != len(terms) for prompt in prompts):
        raise ValueError("its arrays disagree about the number of terms")
    return ScoredSuite(Origin(**head["origin"]), terms, prompts)


def _joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate(parts) if parts else np.zeros(0)
