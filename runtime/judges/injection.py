"""Text that nobody vouches for, made fit to be shown to a judge: as data, whole, and without what eyes do not see.

`judge_copy` leaves out characters that show nothing (bidirectional, zero-width, control, tags, variation selectors),
breaks up what chat templates use as control words (`<|im_start|>`, `[INST]`), and cuts at a limit with a mark that
can be seen; each character knows where it comes from. `fresh_nonce` makes the mark of the tags around the text, which
nobody can have written into it. A judge can be talked round all the same: it is no security boundary. Hard rules that
must hold are for deterministic checks; `flip_rate` (in `bylaw.runtime.judges.canaries`) measures what is left.
"""

from __future__ import annotations

import re
import secrets
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from bylaw.spec.charset import CharSet
from bylaw.spec.chunks import HIDDEN
from bylaw.spec.normal import forms

MOST_CHARACTERS = 60_000
"""How much of a text a judge is shown, in characters: some 15,000 tokens of English."""
_HEAD = 3 / 4
_NOWHERE = -1
_NONCE_BYTES = 8
_CONTROL_WORDS = re.compile(
    r"<[|\uff5c][^|\uff5c<>\n]{1,60}[|\uff5c]>|</?s>|<(?:start|end)_of_turn>|<(?:bos|eos|pad|unk)>|\[/?INST\]|<</?SYS>>"
    r"|\[/?(?:SYSTEM_PROMPT|TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS)\]|<end_of_utterance>",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class JudgeCopy:
    """What a judge sees of a text.

    `origins[i]` is the place of character i in the original, -1 for one that is ours. `hidden`: characters that were
    left out because they show nothing; `cut`: those beyond the limit; `broken`: control words that were broken up.
    """

    text: str
    origins: array[int]
    hidden: int
    cut: int
    broken: int

    @property
    def is_whole(self) -> bool:
        """Whether the judge sees all that can be seen of the text."""
        return self.cut == 0

    def extent(self, start: int, end: int) -> tuple[int, int] | None:
        """Where in the original `text[start:end]` comes from; None if nothing of it does, or if a cut is inside."""
        places = self.origins[start:end]
        known = [place for place in places if place != _NOWHERE]
        ours = (char for char, place in zip(self.text[start:end], places, strict=True) if place == _NOWHERE)
        # a space of ours only breaks up a control word; anything else is the mark of a cut
        return None if not known or any(not char.isspace() for char in ours) else (known[0], known[-1] + 1)


@cache
def _unseen() -> re.Pattern[str]:
    """Everything that shows nothing, as one class, which is searched fast; of `\\r\\n` the line feed stays."""
    hidden = HIDDEN.pattern.partition("]")[0]
    ranges = (f"\\U{low:08x}-\\U{high:08x}" for low, high in CharSet.of(forms()[0][1]).ranges)
    return re.compile(f"{hidden}\r{''.join(ranges)}]")


def judge_copy(text: str, most: int = MOST_CHARACTERS) -> JudgeCopy:
    """The copy of a text that a judge is shown: at most `most` characters of it, the beginning and the end.

    A control word gets a space after its first character, so that no tokenizer takes it for one. Linear in the length.
    Raises ValueError for a limit below 100 characters.
    """
    if most < 100:
        raise ValueError(f"a judge is shown 100 characters at least, not {most}")
    seen, origins = [], array("q")
    place = 0
    for found in _unseen().finditer(text):
        seen.append(text[place : found.start()])
        origins.extend(range(place, found.start()))
        place = found.end()
    seen.append(text[place:])
    origins.extend(range(place, len(text)))
    hidden = len(text) - len(origins)
    copy, origins, cut = _cut("".join(seen), origins, most)
    copy, origins, broken = _broken_up(copy, origins)
    return JudgeCopy(copy, origins, hidden, cut, broken)


def _cut(text: str, origins: array[int], most: int) -> tuple[str, array[int], int]:
    if len(text) <= most:
        return text, origins, 0
    head = int(most * _HEAD)
    tail = len(text) - (most - head)
    mark = f"\n[... {tail - head} characters of the text are not shown here ...]\n"
    ours = array("q", [_NOWHERE]) * len(mark)
    return text[:head] + mark + text[tail:], origins[:head] + ours + origins[tail:], tail - head


def _broken_up(text: str, origins: array[int]) -> tuple[str, array[int], int]:
    places = [found.start() + 1 for found in _CONTROL_WORDS.finditer(text)]
    if not places:
        return text, origins, 0
    pieces, kept, before = [], array("q"), 0
    for place in places:
        pieces.append(text[before:place])
        kept.extend(origins[before:place])
        kept.append(_NOWHERE)
        before = place
    pieces.append(text[before:])
    kept.extend(origins[before:])
    return " ".join(pieces), kept, len(places)


def fresh_nonce(texts: Iterable[str], draw: Callable[[], str] | None = None) -> str:
    """A random mark (16 hexadecimal digits) that none of the texts holds, in any case of letters.

    `draw` makes a mark; None: from the system's source of secrets. Raises ValueError where `draw` gives a hundred marks
    in a row that cannot be used.
    """
    draw = draw or _drawn
    together = "\0".join(texts).casefold()
    for _ in range(100):
        nonce = draw()
        if nonce and nonce.isalnum() and nonce.casefold() not in together:
            return nonce
    raise ValueError("no mark could be drawn that the text does not hold")


def _drawn() -> str:
    return secrets.token_hex(_NONCE_BYTES)
