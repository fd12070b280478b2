"""Which of many patterns occur in each of many texts, by hyperscan: some texts at a time, joined, in one call.

The engine reports each match to Python, which costs a call. Where a few texts have too many, they are searched one by
one, each pattern reported once a text; where that happens often, all are. hyperscan is an extra: without it, and for
patterns that it refuses, the patterns are in a google-re2 Set (runtime/audit/pattern_sets.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import accumulate
from typing import Any, Final

import numpy as np

from bylaw.runtime.audit.byte_patterns import (
    BORDER,
    Written,
    changed_by_plain,
    class_source,
    present_in,
    size,
    written,
)
from bylaw.runtime.audit.searched import Ints, Searched
from bylaw.spec.catalog import Language
from bylaw.spec.charset import CharSet
from bylaw.spec.normal import plain

_PART: Final = 1 << 16
"""Characters that are searched in one call: they stay in the processor's cache."""
_MOST_TOGETHER: Final = 1024
"""Texts that are searched in one call."""
_MOST_SOURCE: Final = 16_000
"""Characters of a source; the engine takes none that is longer."""
_MOST_PLACES: Final = 600
"""Of a pattern; with more the engine takes seconds to say that it is too large."""
_LONGEST: Final = 1 << 29
"""Characters of a text; the engine counts bytes in 32 bits, and a longer text is left to the evaluator."""
_MOST_MATCHES: Final = 16
"""Matches a text at which a part is searched text by text."""
_MOST_CHANGED: Final = 64
"""Characters in a part that are not in their plain form at which each of its texts is looked at."""
_MOST_CROWDED: Final = 8
"""Parts with too many matches, if they are a quarter, after which texts are searched one by one."""


@dataclass(slots=True)
class HyperscanSet:
    """A search for patterns in texts, or in their plain form (`is_plain`). Not for several threads at once."""

    is_plain: bool
    _joined: Any
    _sources: tuple[tuple[str, int], ...]
    _single: Any = None
    _parts: int = 0
    _crowded: int = 0

    def search(self, texts: Sequence[str]) -> Searched:
        """Which patterns occur in which texts; see Searched."""
        hits: list[int] = []
        counts: list[int] = []
        lengths: list[int] = []
        sizes: list[int] = []
        refused: list[int] = []
        parts = _parts_of(texts)
        for first, last in parts:
            joined, each = self._encoded(list(texts[first:last]), first, refused)
            seen = len(hits)
            self._search(joined, hits, last - first)
            counts.append((len(hits) - seen) // 2)
            sizes.append(len(joined))
            lengths += each
        return Searched(*_placed(hits, counts, sizes, lengths, [last for _, last in parts]), tuple(refused))

    def _encoded(self, part: list[str], first: int, refused: list[int]) -> tuple[bytes, list[int]]:
        """(the texts of a part as searched, joined; how many bytes each has); those that are no Unicode are refused,
        and empty here."""
        if len(part) == 1 and len(part[0]) > _LONGEST:
            part[0] = "\ud800"
        try:
            data = list(map(str.encode, part))
        except UnicodeEncodeError:
            data = []
            for place, text in enumerate(part):
                try:
                    data.append(text.encode())
                except UnicodeEncodeError:
                    refused.append(first + place)
                    part[place] = ""
                    data.append(b"")
        joined, lengths = _framed(data), list(map(len, data))
        if self.is_plain and not all(map(str.isascii, part)):
            return _in_plain_form(part, joined, lengths)
        return joined, lengths

    def _search(self, joined: bytes, hits: list[int], count: int) -> None:
        """Notes of each match where it ends and its number."""
        self._parts += 1
        if self._crowded < _MOST_CROWDED or self._crowded * 4 < self._parts:
            seen = len(hits)
            most = seen + 2 * _MOST_MATCHES * (count + 4)
            note = hits.extend
            is_done = _scan(
                self._joined,
                joined,
                lambda number, start, end, flags, context: note((end, number)) or len(hits) > most,
            )
            if is_done:
                return
            self._crowded += 1
            del hits[seen:]
        self._search_each(joined, hits)

    def _search_each(self, joined: bytes, hits: list[int]) -> None:
        """The same, text by text: each pattern is reported once, as ending at the border after the text."""
        if self._single is None:
            self._single = _database(self._sources, single=True) or self._joined
        end = 1
        for each in joined[1:-1].split(BORDER):
            end += len(each) + 1
            found: list[int] = []
            _scan(self._single, BORDER + each + BORDER, lambda number, *_, found=found: found.append(number))
            for number in found:
                hits += end, number


def hyperscan_set(languages: Mapping[int, Language], is_plain: bool) -> tuple[HyperscanSet | None, dict[int, Written]]:
    """(a search for those of the numbered patterns that hyperscan takes; how these are written). None: there is nothing
    to search for, or hyperscan is not installed."""
    try:
        import hyperscan  # noqa: F401
    except ImportError:
        return None, {}
    present = present_in(is_plain)
    # all at once; where the engine refuses that, each is tried by itself
    for is_tried in (False, True):
        forms = {number: _accepted(number, language, present, is_tried) for number, language in languages.items()}
        taken = {number: form for number, form in forms.items() if form is not None}
        sources = tuple(source for number, each in taken.items() for source in _places(number, each))
        joined = _database(sources) if sources else None
        if joined is not None:
            return HyperscanSet(is_plain, joined, sources), taken
    return None, {}


def _accepted(number: int, language: Language, present: CharSet, is_tried: bool) -> Written | None:
    """The form of a pattern that the engine takes, the tight one if it can be."""
    for is_loose in (size(language.node) > _MOST_PLACES, True):
        found = written(language, present, is_loose)
        if not found.is_joinable:
            return None
        sources = _places(number, found)
        longest = max(len(source) for source, _ in sources)
        if longest <= _MOST_SOURCE and not (is_tried and _database(sources) is None):
            return found
    return None


def _places(number: int, found: Written) -> tuple[tuple[str, int], ...]:
    return (*((source, 2 * number) for source in found.sure), *((source, 2 * number + 1) for source in found.maybe))


def _database(sources: Sequence[tuple[str, int]], single: bool = False) -> Any:
    """None: the engine refuses a pattern, or all of them together."""
    import hyperscan

    flag = hyperscan.HS_FLAG_SINGLEMATCH if single else 0
    database = hyperscan.Database()
    try:
        database.compile(
            expressions=[source.encode() for source, _ in sources],
            ids=[place for _, place in sources],
            flags=[flag] * len(sources),
        )
    except hyperscan.error:
        return None
    return database


def _scan(database: Any, data: bytes, seen: Any) -> bool:
    """Whether the whole was searched: not when `seen` said to stop. Raises hyperscan.error for anything else."""
    import hyperscan

    try:
        database.scan(data, match_event_handler=seen)
    except hyperscan.ScanTerminated:
        return False
    return True


@cache
def _search_for_changes() -> Any:
    return _database(((class_source(changed_by_plain()), 0),))


def _framed(data: Sequence[bytes]) -> bytes:
    return BORDER.join((b"", *data, b""))


def _in_plain_form(part: Sequence[str], joined: bytes, lengths: list[int]) -> tuple[bytes, list[int]]:
    """Joined texts in their plain form, and how many bytes each has then."""
    ends: list[int] = []
    note = ends.append
    is_done = _scan(
        _search_for_changes(),
        joined,
        lambda number, start, end, flags, context: note(end) or len(ends) > _MOST_CHANGED,
    )
    if not is_done:
        data = [plain(text).encode() for text in part]
        return _framed(data), list(map(len, data))
    if not ends:
        return joined, lengths
    borders = list(accumulate(length + 1 for length in lengths))  # where those after the texts are
    pieces: list[bytes] = []
    done = 0
    for end in sorted(ends):
        start = end - 1
        while joined[start] & 0xC0 == 0x80:
            start -= 1
        form = _plain_form(joined[start:end])
        pieces += joined[done:start], form
        lengths[bisect_left(borders, end)] += len(form) - (end - start)
        done = end
    return b"".join((*pieces, joined[done:])), lengths


@lru_cache(maxsize=4096)
def _plain_form(character: bytes) -> bytes:
    """Of one character, in UTF-8."""
    return plain(character.decode()).encode()


def _parts_of(texts: Sequence[str]) -> list[tuple[int, int]]:
    """(first, last + 1) of the texts that are searched together; a very long one is alone."""
    lengths = list(map(len, texts))
    if max(lengths, default=0) <= _PART:
        step = min(_MOST_TOGETHER, max(1, _PART * len(texts) // max(1, sum(lengths))))
        return [(first, min(first + step, len(texts))) for first in range(0, len(texts), step)]
    ends = list(accumulate(lengths))
    found: list[tuple[int, int]] = []
    first = 0
    while first < len(texts):
        before = ends[first - 1] if first else 0
        last = max(first + 1, bisect_left(ends, before + _PART, first))
        found.append((first, last))
        first = last
    return found


def _placed(
    hits: Sequence[int], counts: Sequence[int], sizes: Sequence[int], lengths: Sequence[int], lasts: Sequence[int]
) -> tuple[Ints, Ints]:
    """(texts, places of patterns) of matches that were noted part by part, where they end and what they are.

    `counts`, `sizes`: of each part its matches and its bytes. `lengths`: bytes of each text. A match ends in its text
    or at the border after it, and no earlier text has its last byte.
    """
    noted = np.fromiter(hits, np.int64, len(hits)).reshape(-1, 2)
    firsts = np.cumsum(np.array([0, *sizes], np.int64))[:-1]
    texts_of_parts = np.array(lasts, np.int64) - np.array([0, *lasts[:-1]], np.int64)
    borders = np.cumsum(np.array(lengths, np.int64) + 1) + np.repeat(np.arange(len(counts)), texts_of_parts)
    last_bytes = noted[:, 0] - 1 + np.repeat(firsts, counts)
    return np.searchsorted(borders, last_bytes), noted[:, 1]
