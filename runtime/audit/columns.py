"""What every clause says of every transcript, a column a clause, without the texts.

A verdict takes two bits before compression, so a million transcripts under two hundred rules are held in some tens of
megabytes. Transcripts come in parts, which are independent of each other: they can be made in other processes and
joined in order with `merge`, and the columns are the same then, bit for bit.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.evaluate import TermScore, Verdict
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit.prompts import asked_in, name_of
from bylaw.spec.trace import Message, Trace

SATISFIED: Final = 0
VIOLATED: Final = 1
NOT_APPLICABLE: Final = 2
UNSCORED: Final = 3

VERDICTS: Final = (Verdict.SATISFIED, Verdict.VIOLATED, Verdict.NOT_APPLICABLE, Verdict.UNSCORED)
"""The verdict of each code."""
PART: Final = 8_192
"""Transcripts of one part, at most, where nobody says otherwise."""
KEY_BYTES: Final = 16

_CODES: Final = {verdict: code for code, verdict in enumerate(VERDICTS)}
_NOBODY: Final = bytes(8)
"""What the key of a transcript without a message of the user begins with; no digest does, but with a chance of 2^-64.
"""


def code_of(found: TermScore) -> int:
    """The code of what a term says; what has no value is unscored, as in every count."""
    if found.value is None and found.verdict is not Verdict.NOT_APPLICABLE:
        return UNSCORED
    return _CODES[found.verdict]


def value_of(found: TermScore) -> float:
    """The value of what a term says; nan where it does not apply or is unscored."""
    return float("nan") if found.value is None or code_of(found) > VIOLATED else found.value


def key_of(messages: Sequence[Message]) -> bytes:
    """The digest [16 bytes] of a conversation: BLAKE2b over every field with its length before it.

    Two conversations have the same key where all messages are the same: roles, texts, tools and arguments.
    """
    digest = blake2b(digest_size=KEY_BYTES)
    for each in messages:
        fields = [each.role, each.content, each.tool, str(len(each.arguments))]
        for name, value in each.arguments:
            # equal values have the same words: 1 and 1.0 are, 1 and "1" are not
            fields += [name, f"s{value}" if isinstance(value, str) else f"n{float(value)!r}"]
        for field_ in fields:
            data = field_.encode("utf-8", "surrogatepass")
            digest.update(struct.pack("<Q", len(data)))
            digest.update(data)
    return digest.digest()


def is_asked(key: bytes) -> bool:
    """Whether a key is that of a question. A transcript without a message of the user has one that says only its
    number: such keys must not be taken to mean the same in two audits."""
    return not key.startswith(_NOBODY)


@dataclass(frozen=True, slots=True)
class Part:
    """Transcripts that follow each other: the columns of these, packed. It can be pickled; `merge` reads it.

    `codes`: a packed column a term; `values`: a packed column a term that measures, else nothing. `prompts`: packed
    int32 [count], the place in `asked` [16 bytes each, in order of first appearance] of what each transcript answers.
    `names`: packed, one line for each of `asked`.
    """

    count: int
    codes: tuple[bytes, ...]
    values: tuple[bytes, ...]
    prompts: bytes
    asked: bytes
    names: bytes


def asked_by(trace: Trace, prompt: str | None = None) -> tuple[bytes | None, str]:
    """(the key of what a transcript answers, what to call that); None where no user has asked anything.

    `prompt` names it where the conversation does not say.
    """
    if prompt is not None:
        return key_of((Message("user", prompt),)), prompt
    context = asked_in(trace.messages)
    return (key_of(context), name_of(context)) if context else (None, "")


@dataclass(slots=True)
class PartBuilder:
    """Takes verdicts on transcripts in their order; `finish` gives the part, and the next one starts."""

    terms: tuple[RewardTerm, ...]
    count: int = 0
    _rows: list[bytes] = field(default_factory=list)
    _values: dict[int, list[float]] = field(init=False)
    _prompts: list[int] = field(default_factory=list)
    _places: dict[bytes, int] = field(default_factory=dict)
    _names: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._values = {place: [] for place, term in enumerate(self.terms) if term.holds is None}

    def add(self, scores: Sequence[TermScore], trace: Trace) -> None:
        """Adds one transcript with what each term says of it. Raises ValueError for scores of another number."""
        if len(scores) != len(self.terms):
            raise ValueError(f"{len(scores)} scores do not fit {len(self.terms)} terms")
        values = {place: [value_of(scores[place])] for place in self._values}
        self.add_rows(bytes(map(code_of, scores)), values, (asked_by(trace),))

    def add_rows(
        self, rows: bytes, values: Mapping[int, Sequence[float]], asked: Sequence[tuple[bytes | None, str]]
    ) -> None:
        """Adds k transcripts: their codes, k times one byte a term; the values [k] of each term that measures, nan
        where it does not apply or is unscored; and what `asked_by` says of each."""
        for key, name in asked:
            own = _NOBODY + struct.pack(">Q", self.count) if key is None else key
            place = self._places.setdefault(own, len(self._names))
            if place == len(self._names):
                self._names.append(name)
            self._prompts.append(place)
            self.count += 1
        for index, column in self._values.items():
            column.extend(values[index])
        self._rows.append(rows)

    def finish(self) -> Part:
        """The part of all transcripts since the last one."""
        rows = np.frombuffer(b"".join(self._rows), np.uint8).reshape(self.count, len(self.terms))
        values = [b""] * len(self.terms)
        for index, column in self._values.items():
            values[index] = zlib.compress(np.array(column, "<f8").tobytes(), 1)
        part = Part(
            self.count,
            tuple(_packed(column) for column in np.ascontiguousarray(rows.T)),
            tuple(values),
            zlib.compress(np.array(self._prompts, "<i4").tobytes(), 1),
            b"".join(self._places),
            zlib.compress("\n".join(self._names).encode("utf-8", "surrogatepass"), 1),
        )
        self.count, self._rows, self._prompts, self._places, self._names = 0, [], [], {}, []
        self._values = {index: [] for index in self._values}
        return part


@dataclass(frozen=True)
class VerdictColumns:
    """What every clause says of every transcript, without the texts: `count` transcripts n, a term for each of m."""

    terms: tuple[RewardTerm, ...]
    parts: tuple[Part, ...]

    @cached_property
    def count(self) -> int:
        """How many transcripts there are, n."""
        return sum(part.count for part in self.parts)

    def codes(self, index: int) -> NDArray[np.uint8]:
        """What term `index` says of each transcript [n]: SATISFIED, VIOLATED, NOT_APPLICABLE or UNSCORED.

        Unpacked at every call: take a column once, and let it go.
        """
        return _joined([_unpacked(part.codes[index], part.count) for part in self.parts], np.uint8)

    def values(self, index: int) -> NDArray[np.float64]:
        """What the law weighs of each transcript [n]; nan where the term does not apply or is unscored.

        For statements (`term.holds` is not None) value != 0 is the outcome that `rate` counts: broken, or for a limit
        that the event happened.
        """
        term = self.terms[index]
        if term.holds is None:
            packed = [zlib.decompress(part.values[index]) for part in self.parts]
            return _joined([np.frombuffer(data, "<f8") for data in packed], np.float64)
        satisfied, violated = (0.0, -1.0) if term.kind != "budget" else (0.0, 1.0)
        if term.kind == "budget" and term.sense == "at least":
            satisfied, violated = 1.0, 0.0  # the event has to happen: it is broken where it did not
        return np.array((satisfied, violated, np.nan, np.nan))[self.codes(index)]

    @property
    def prompts(self) -> NDArray[np.int64]:
        """The number of the prompt that each transcript answers [n], 0 to C - 1 in order of first appearance."""
        return self._asked.prompts

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """The key of each prompt [C], 16 bytes: see `key_of` and `is_asked`."""
        return tuple(each.tobytes() for each in self._all_keys()[self._asked.leaders])

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What to call each prompt [C], no two alike: the beginning of its last message."""
        found: list[str] = []
        taken: set[str] = set()
        for raw, number in zip(self._raw_names(), self._asked.first.tolist(), strict=True):
            name = raw or f"transcript {number + 1}"
            name = name if name not in taken else f"{name} (transcript {number + 1})"
            taken.add(name)
            found.append(name)
        return tuple(found)

    @property
    def prompt_count(self) -> int:
        """How many prompts were answered, C."""
        return len(self._asked.leaders)

    @property
    def is_clustered(self) -> bool:
        """Whether some prompt has several answers."""
        return self.prompt_count < self.count

    @cached_property
    def _asked(self) -> _Asked:
        prompts = np.empty(self.count, np.int64)
        first = np.empty(sum(len(part.asked) for part in self.parts) // KEY_BYTES, np.int64)
        offset = base = 0
        for part in self.parts:
            local = np.frombuffer(zlib.decompress(part.prompts), "<i4").astype(np.int64)
            size = len(part.asked) // KEY_BYTES
            first[base : base + size] = np.flatnonzero(np.diff(np.maximum.accumulate(local), prepend=-1)) + offset
            prompts[offset : offset + part.count] = local + base
            base, offset = base + size, offset + part.count
        numbers, leaders = _numbered(self._all_keys())
        return _Asked(numbers[prompts], first[leaders], leaders)

    def _all_keys(self) -> NDArray[np.uint8]:
        """The keys of all parts [k, 16], in order."""
        keys = np.empty((sum(len(part.asked) for part in self.parts) // KEY_BYTES, KEY_BYTES), np.uint8)
        offset = base = 0
        for part in self.parts:
            found = _keys_of(part, offset)
            keys[base : base + len(found)] = found
            base, offset = base + len(found), offset + part.count
        return keys

    def _raw_names(self) -> list[str]:
        """What each prompt is called where it is met first; nothing where it has no words."""
        leaders, base = self._asked.leaders, 0
        found: list[str] = []
        for part in self.parts:
            size = len(part.asked) // KEY_BYTES
            own = leaders[np.searchsorted(leaders, base) : np.searchsorted(leaders, base + size)] - base
            names = zlib.decompress(part.names).decode("utf-8", "surrogatepass").split("\n")
            found += [names[place] for place in own.tolist()]
            base += size
        return found


def merge(terms: Sequence[RewardTerm], parts: Iterable[Part]) -> VerdictColumns:
    """The columns of parts that follow each other in this order, each made by a `PartBuilder` of the same terms.

    Raises ValueError for a part of another number of terms.
    """
    found = tuple(part for part in parts if part.count)
    for part in found:
        if len(part.codes) != len(terms):
            raise ValueError(f"a part has {len(part.codes)} columns for {len(terms)} terms")
    return VerdictColumns(tuple(terms), found)


def columns_of(
    terms: Sequence[RewardTerm], scores: Iterable[Sequence[TermScore]], traces: Iterable[Trace]
) -> VerdictColumns:
    """The columns of scores, a sequence of the order of the terms each. ValueError on other lengths."""
    builder, parts = PartBuilder(tuple(terms)), []
    for row, trace in zip(scores, traces, strict=True):
        builder.add(row, trace)
        if builder.count == PART:
            parts.append(builder.finish())
    return merge(terms, [*parts, builder.finish()])


# ---------------------------------------------------------------------------------------------------------- packing
@dataclass(frozen=True, slots=True)
class _Asked:
    """`prompts` [n]; `first` [C]: the transcript in which a prompt is met first; `leaders` [C]: the place of its key
    among those of all parts."""

    prompts: NDArray[np.int64]
    first: NDArray[np.int64]
    leaders: NDArray[np.int64]


def _packed(codes: NDArray[np.uint8]) -> bytes:
    """Codes [k] from 0 to 3, four to a byte, compressed."""
    padded = np.zeros(-(-len(codes) // 4) * 4, np.uint8)
    padded[: len(codes)] = codes
    quarters = padded.reshape(-1, 4)
    packed = quarters[:, 0] | quarters[:, 1] << 2 | quarters[:, 2] << 4 | quarters[:, 3] << 6
    return zlib.compress(packed.tobytes(), 1)


def _unpacked(data: bytes, count: int) -> NDArray[np.uint8]:
    packed = np.frombuffer(zlib.decompress(data), np.uint8)
    return np.stack([packed >> shift & 3 for shift in (0, 2, 4, 6)], axis=1).reshape(-1)[:count]


def _keys_of(part: Part, offset: int) -> NDArray[np.uint8]:
    """The keys of a part [k, 16]; those that say only a number count from the first transcript of all."""
    keys = np.frombuffer(part.asked, np.uint8).reshape(-1, KEY_BYTES).copy()
    numbered = np.flatnonzero(~keys[:, : len(_NOBODY)].any(axis=1))
    numbers = keys[numbered, len(_NOBODY) :].copy().view(">u8")
    keys[numbered, len(_NOBODY) :] = (numbers + np.uint64(offset)).astype(">u8").view(np.uint8).reshape(-1, 8)
    return keys


def _numbered(keys: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(the number of each key [k], by first appearance; the places where each number is met first)."""
    if not len(keys):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    halves = np.ascontiguousarray(keys).view(np.uint64)
    # keys are digests, or numbers behind zeros: one number stands for both halves, and where it does not, both count
    mixed = halves[:, 0] ^ halves[:, 1]
    order = np.argsort(mixed, kind="stable")  # the first of equal keys comes first
    starts = np.diff(mixed[order], prepend=~mixed[order[:1]]) != 0
    same = np.flatnonzero(~starts)
    if (halves[order[same], 0] != halves[order[same - 1], 0]).any():
        order = np.lexsort((halves[:, 1], halves[:, 0]))
        starts = np.concatenate([[True], (halves[order[1:]] != halves[order[:-1]]).any(axis=1)])
    leaders = order[starts]
    rank = np.empty(len(leaders), np.int64)
    rank[np.argsort(leaders)] = np.arange(len(leaders))
    numbers = np.empty(len(keys), np.int64)
    numbers[order] = rank[np.cumsum(starts) - 1]
    return numbers, np.sort(leaders)


def _joined(arrays: Sequence[NDArray[Any]], kind: type) -> NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *arrays])
