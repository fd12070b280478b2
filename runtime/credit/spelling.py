"""What the tokens of a response spell: which bytes of the text each of them adds, and what is certain after each.

A response is text up to its first stop string, without the one space that some tokenizers put before it. Both are as in
`Vocabulary`, so that the text here is the text that rules are about.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.compiler.automata.stops import cut, held_back
from bylaw.runtime.credit.errors import CreditError
from bylaw.spec.expression import Extent

# the second byte of a character is bounded more narrowly after these first ones (RFC 3629)
_SECOND = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}


@dataclass(frozen=True, slots=True)
class Prefix:
    """A response after some of its tokens: the characters that are complete, and the bytes of one that is not.

    `text` None: whatever follows, it is no well-formed text any more.
    """

    text: str | None
    pending: bytes = b""


@dataclass(frozen=True, slots=True)
class Spelling:
    """T tokens. `text` None where they spell no well-formed text. `ranges` [T]: the bytes of the text that each token
    adds, none for the end token and for what is cut off. `prefixes` [T]: the response before each token."""

    text: str | None
    ranges: tuple[tuple[int, int], ...]
    prefixes: tuple[Prefix, ...]

    def overlaps(self, extent: Extent) -> dict[int, int]:
        """The tokens of a range of characters, each with how many of its bytes lie in it, in order."""
        text = self.text or ""
        start = len(text[: extent.start].encode())
        end = start + len(text[extent.start : extent.end].encode())
        shared = {place: min(end, last) - max(start, first) for place, (first, last) in enumerate(self.ranges)}
        return {place: count for place, count in shared.items() if count > 0}


def spell(
    token_bytes: Sequence[bytes | None], stops: Sequence[str] = (), drops_leading_space: bool = False
) -> Spelling:
    """What tokens spell; the last one may have no bytes (None or empty): the end of the text.

    Raises CreditError for no tokens at all, and for a token without bytes before the last.
    """
    if not token_bytes:
        raise CreditError("a response has one token at least, and be it its end token; none was given")
    pieces = [piece or b"" for piece in token_bytes]
    if not all(pieces[:-1]):
        place = next(place for place, piece in enumerate(pieces) if not piece)
        raise CreditError(f"token {place + 1} of {len(pieces)} has no bytes, which only the last may lack")
    data = b"".join(pieces)
    dropped = int(drops_leading_space and data.startswith(b" "))
    endings = tuple(stop.encode() for stop in stops)
    kept, _ = cut(data[dropped:], endings)
    ranges, prefixes, read = [], [], 0
    for piece in pieces:
        known = data[dropped : max(read, dropped)]
        begun, stopped = cut(known, endings)
        prefixes.append(_prefix(begun if stopped else begun[: len(begun) - held_back(begun, endings)]))
        first, last = read - dropped, read - dropped + len(piece)
        ranges.append((min(max(first, 0), len(kept)), min(max(last, 0), len(kept))))
        read += len(piece)
    whole = _prefix(kept)
    return Spelling(None if whole.pending else whole.text, tuple(ranges), tuple(prefixes))


def _prefix(data: bytes) -> Prefix:
    decoder = codecs.getincrementaldecoder("utf-8")("strict")
    try:
        text = decoder.decode(data)
    except UnicodeDecodeError:
        return Prefix(None)
    return Prefix(text, decoder.getstate()[0])


def first_characters(pending: bytes) -> tuple[int, int]:
    """(the first, the last) code point of the characters whose UTF-8 begins with these bytes, from one to three."""
    first = pending[0]
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    low, high = _SECOND.get(first, (0x80, 0xBF))
    ends = []
    for second, other in ((low, 0x80), (high, 0xBF)):
        whole = pending + (bytes([second]) if len(pending) == 1 else b"")
        ends.append(ord((whole + bytes([other]) * (length - len(whole))).decode()))
    return ends[0], ends[1]
