"""Sentences: the sentence segments of UAX #29 (Unicode 16) that have a letter or a digit in them."""

from __future__ import annotations

from functools import cache

from bylaw.spec.segments import BREAK, CONFIRM, DROP, HOLD, Segmenter, classes

_PARAGRAPH_ENDS = frozenset({"CR", "LF", "Sep"})
_TERMINATORS = frozenset({"ATerm", "STerm"})
_LETTERS = frozenset({"Upper", "Lower", "OLetter", "Numeric", "Letter"})
_ENDINGS = {kind + place: kind for kind in ("ATerm", "STerm") for place in (", close", ", space", "")} | {
    "ATerm after a letter": "ATerm"
}
"""States in which a sentence may just have ended: after its mark, after closing marks, after spaces."""


@cache
def segmenter() -> Segmenter:
    """The rules; their tables are read when first asked for."""
    return Segmenter(classes("sentences"), "start", step, _LETTERS)


def step(state: str, name: str) -> tuple[str, int]:
    """Reads a character of a class: the rules in the order of the standard. `looking` is the look-ahead of SB8."""
    if state == "CR" and name == "LF":  # SB3
        return "Sep", 0
    if state in ("CR", "Sep"):  # SB4
        return _after(name), BREAK
    if name == "Extend":  # SB5
        return ("text" if state == "start" else state), 0
    if state == "looking":
        return _looking(name)
    if state in _ENDINGS:
        return _ending(state, name)
    if name == "ATerm" and state in ("Upper", "Lower"):
        return "ATerm after a letter", 0
    return _after(name), 0  # SB998


def _looking(name: str) -> tuple[str, int]:
    """SB8: a small letter carries the sentence on if none of the characters before it speaks against that."""
    if name == "Lower":
        return "Lower", DROP
    if name in ("Upper", "OLetter") or name in _TERMINATORS or name in _PARAGRAPH_ENDS:
        return _after(name), CONFIRM
    return "looking", 0


def _ending(state: str, name: str) -> tuple[str, int]:
    kind, spaced = _ENDINGS[state], state.endswith("space")
    if name in _TERMINATORS or name in _PARAGRAPH_ENDS or name == "SContinue":  # SB8a, SB9, SB10
        return _after(name), 0
    if name == "Sp":  # SB9, SB10
        return f"{kind}, space", 0
    if name == "Close" and not spaced:  # SB9
        return f"{kind}, close", 0
    if kind == "STerm":  # SB11
        return _after(name), BREAK
    if state == kind or state == "ATerm after a letter":
        if name == "Numeric":  # SB6
            return _after(name), 0
        if name == "Upper" and state != kind:  # SB7
            return _after(name), 0
    if name == "Lower":  # SB8
        return _after(name), 0
    if name in ("Upper", "OLetter"):  # SB11
        return _after(name), BREAK
    return "looking", HOLD


def _after(name: str) -> str:
    """The state after a character of which only itself matters."""
    if name in ("LF", "Sep"):
        return "Sep"
    return name if name in ("CR", "Upper", "Lower", *_TERMINATORS) else "text"
