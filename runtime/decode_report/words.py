"""Tokens put together to words, for people: a word is what stands between spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bylaw.runtime.decode_report.record import DecodeReport, Position
from bylaw.runtime.report.text import one_line
from bylaw.spec.errors import visible

END = "(end)"


@dataclass(frozen=True, slots=True)
class Word:
    """Neighbouring positions that make one word, with the space before it. `kl`: nats paid on it.

    `breaks_before`, `breaks_after`: whether a line breaks there.
    """

    text: str
    positions: tuple[Position, ...]
    breaks_before: bool
    breaks_after: bool

    @property
    def kl(self) -> float:
        return sum(position.kl for position in self.positions)

    @property
    def acted(self) -> tuple[str, ...]:
        """The rules that acted on any of its tokens, each once."""
        return tuple(dict.fromkeys(term for position in self.positions for term in position.acted))


def words_of(report: DecodeReport) -> tuple[Word, ...]:
    """The words of a response in order; the end of text is a word of its own."""
    groups: list[list[Position]] = []
    for position in report.positions:
        if not groups or _begins(groups[-1], position):
            groups.append([])
        groups[-1].append(position)
    return tuple(_word(group) for group in groups)


def _begins(group: Sequence[Position], position: Position) -> bool:
    so_far, data = _data(group), _data([position])
    return position.is_end or (not so_far.isspace() and (data[:1].isspace() or so_far[-1:].isspace()))


def _data(group: Sequence[Position]) -> bytes:
    return b"".join(bytes.fromhex(position.data) for position in group)


def _word(group: Sequence[Position]) -> Word:
    if group[0].is_end:
        return Word(END, tuple(group), False, False)
    text = _data(group).decode("utf-8", "replace")
    kept = text.strip()
    if not kept:
        return Word(piece(text, False), tuple(group), False, "\n" in text)
    before, _, after = text.partition(kept)
    return Word(visible(kept), tuple(group), "\n" in before, "\n" in after)


def piece(text: str, is_end: bool, most: int = 24) -> str:
    """One token as it is shown: spaces and line breaks at its ends are signs, what is hidden is written out."""
    if is_end:
        return END
    kept = text.strip()
    lead, tail = (text, "") if not kept else (text[: text.index(kept)], text[text.index(kept) + len(kept) :])
    signs = {" ": "␣", "\n": "↵", "\t": "→"}
    edge = ["".join(signs.get(sign, visible(sign)) for sign in part) for part in (lead, tail)]
    shown = f"{edge[0]}{visible(kept)}{edge[1]}"
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def rule_words(report: DecodeReport, term: str) -> str:
    """A rule as people know it: its id, with its title where it has one."""
    title = next((row.title for row in report.rows if row.term == term), None)
    return f"`{term}`" + (f" ({one_line(title)})" if title else "")
