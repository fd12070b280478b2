"""One automaton read over thousands of short texts at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import TYPE_CHECKING

from bylaw.compiler.automata.dfa import Dfa

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Ints = NDArray[np.intp]

FEW_TEXTS = 200
"""Below this number texts are read one by one, without the import of numpy."""
FEW_LEFT = 16
"""The ends of the longest texts are read one by one once no more than these go on."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedTexts:
    """Texts prepared once for being read by many automata (`accepting`).

    `characters` are the distinct characters of all texts, and texts are kept as numbers of these. `few` holds short
    lists of texts as they are. Otherwise `order` lists the texts from the longest to the shortest; `columns[i]` are the
    characters number i of the first `len(columns[i])` texts in that order, and `tails` what remains of the longest
    ones.
    """

    count: int
    characters: str
    few: tuple[str, ...]
    order: Ints | None
    columns: tuple[Ints, ...]
    tails: tuple[tuple[int, ...], ...]

    @staticmethod
    def of(texts: Sequence[str]) -> EncodedTexts:
        """Raises ValueError for half of a surrogate pair, which is not a character."""
        whole = "".join(texts)
        characters = "".join(sorted(set(whole)))
        half = next((char for char in characters if "\ud800" <= char <= "\udfff"), None)
        if half is not None:
            raise ValueError(f"half of a surrogate pair is not a character: {half!a}")
        if len(texts) < FEW_TEXTS:
            return EncodedTexts(len(texts), characters, tuple(texts), None, (), ())
        import numpy as np

        lengths = np.array([len(text) for text in texts], dtype=np.intp)
        order = np.argsort(-lengths, kind="stable")
        beginnings = (np.cumsum(lengths) - lengths)[order]
        points = np.array([ord(char) for char in characters], dtype=np.uint32)
        codes = np.searchsorted(points, np.frombuffer(whole.encode("utf-32-le"), dtype=np.uint32))
        # How many texts are longer than each place is read off the lengths in rising order.
        longer = len(texts) - np.searchsorted(lengths[order][::-1], np.arange(lengths.max(initial=0)), side="right")
        together = int(np.count_nonzero(longer > FEW_LEFT))
        columns = tuple(codes[beginnings[:going] + place] for place, going in enumerate(longer[:together]))
        going = int(longer[together]) if together < len(longer) else 0
        ends = (beginnings + lengths[order])[:going]
        tails = tuple(
            tuple(codes[first + together : end].tolist()) for first, end in zip(beginnings[:going], ends, strict=True)
        )
        return EncodedTexts(len(texts), characters, (), order, columns, tails)


def accepting(dfa: Dfa, texts: EncodedTexts) -> int:
    """Which of the texts the automaton accepts: bit k is set exactly if it accepts text number k, from 0."""
    labels = dfa.alphabet.indices(texts.characters)
    if texts.order is None:
        return _one_by_one(dfa, texts.few, dict(zip(texts.characters, labels, strict=True)))
    import numpy as np

    # Only the classes that occur matter; a state is the place in the table at which its row begins.
    present = sorted(set(labels)) or [0]
    place_of = {label: place for place, label in enumerate(present)}
    places = np.array([place_of[label] for label in labels], dtype=np.intp)
    width = len(present)
    pick = itemgetter(*present) if width > 1 else lambda row: (row[present[0]],)
    table = np.array([pick(row) for row in dfa.delta], dtype=np.intp).ravel() * width
    states = np.full(texts.count, dfa.start * width, dtype=np.intp)
    entries = np.empty(texts.count, dtype=np.intp)
    for column in texts.columns:
        going = len(column)
        np.add(states[:going], places[column], out=entries[:going])
        np.take(table, entries[:going], out=states[:going], mode="clip")  # "clip" needs no buffer; none is outside
    states //= width
    for number, tail in enumerate(texts.tails):
        state = int(states[number])
        for code in tail:
            state = dfa.delta[state][labels[code]]
        states[number] = state
    verdicts = np.empty(texts.count, dtype=np.bool_)
    verdicts[texts.order] = np.array(dfa.accept, dtype=np.bool_)[states]
    return int.from_bytes(np.packbits(verdicts, bitorder="little").tobytes(), "little")


def _one_by_one(dfa: Dfa, texts: Sequence[str], label_of: dict[str, int]) -> int:
    found = 0
    for number, text in enumerate(texts):
        state = dfa.start
        for char in text:
            state = dfa.delta[state][label_of[char]]
        if dfa.accept[state]:
            found |= 1 << number
    return found
