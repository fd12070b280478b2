"""Words: the word segments of UAX #29 (Unicode 16) that have a letter or a digit in them.

A letter or digit is a character of the categories L and N, or one that the standard treats as such (Word_Break ALetter,
Hebrew_Letter, Katakana, Numeric). One tailoring: the six pictographs that are letters too (`\\u2139`, `\\u24c2`,
`\\U0001f170`, `\\U0001f171`, `\\U0001f17e`, `\\U0001f17f`) are letters only, so rule WB3c does not join them to what
stands before a joiner. That halves the counting machine and concerns no text that people write.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from bylaw.spec.segments import BREAK, CONFIRM, DROP, HOLD, Segmenter, classes

_LETTERS = frozenset({"ALetter", "Hebrew_Letter"})
_LINE_ENDS = frozenset({"CR", "LF", "Newline"})
_KEPT = frozenset({*_LETTERS, *_LINE_ENDS, "Numeric", "Katakana", "ExtendNumLet", "Regional_Indicator", "WSegSpace"})
"""The classes that can be told from `Other` once they have been read."""

_JOINS = {
    **{name: {*_LETTERS, "Numeric", "ExtendNumLet"} for name in _LETTERS},  # WB5, WB9, WB13a
    "Numeric": {*_LETTERS, "Numeric", "ExtendNumLet"},  # WB8, WB10, WB13a
    "Katakana": {"Katakana", "ExtendNumLet"},  # WB13, WB13a
    "ExtendNumLet": {*_LETTERS, "Numeric", "Katakana", "ExtendNumLet"},  # WB13a, WB13b
    "Hebrew_Letter, quote": set(_LETTERS),  # WB7
}
"""What follows without a boundary."""

_MIDDLES = {
    "ALetter": {"MidLetter", "MidNumLet", "Single_Quote"},  # WB6
    "Hebrew_Letter": {"MidLetter", "MidNumLet"},
    "Numeric": {"MidNum", "MidNumLet", "Single_Quote"},  # WB12
}
"""What follows without a boundary if the right thing follows it."""

_AFTER_MIDDLE = {
    "ALetter, middle": set(_LETTERS),  # WB7
    "Hebrew_Letter, double quote": {"Hebrew_Letter"},  # WB7c
    "Numeric, middle": {"Numeric"},  # WB11
}


class _State(NamedTuple):
    """`before` is the last character that is no Extend, Format or ZWJ, with what stood before it where that matters;
    `after_joiner` is about the very last one."""

    before: str
    after_joiner: bool = False


@cache
def segmenter() -> Segmenter:
    """The rules; their tables are read when first asked for."""
    counted = frozenset({*_LETTERS, "Katakana", "Numeric", "Letter"})
    return Segmenter(classes("words"), _State("start"), step, counted)


def step(state: _State, name: str) -> tuple[_State, int]:
    """Reads a character of a class: the rules in the order of the standard."""
    before = state.before
    if before == "start":
        return _after(name), 0
    if before == "CR" and name == "LF":  # WB3
        return _State("LF"), 0
    held = before in _AFTER_MIDDLE
    if before in _LINE_ENDS or name in _LINE_ENDS:  # WB3a, WB3b
        return _after(name), BREAK | held * CONFIRM
    if state.after_joiner and name == "Pictograph":  # WB3c
        return _after(name), held * CONFIRM
    if name in ("Extend", "ZWJ"):  # WB4
        return _State("Other" if before == "WSegSpace" else before, name == "ZWJ"), 0
    if held:
        return _after(name), DROP if name in _AFTER_MIDDLE[before] else CONFIRM | BREAK
    if name in _JOINS.get(before, ()) or before == name == "WSegSpace":  # WB3d
        return _after(name), 0
    if before == name == "Regional_Indicator":  # WB15, WB16: the second of a pair
        return _State("Other"), 0
    if name in _MIDDLES.get(before, ()):
        return _State("Numeric, middle" if before == "Numeric" else "ALetter, middle"), HOLD
    if before == "Hebrew_Letter" and name == "Single_Quote":  # WB7a
        return _State("Hebrew_Letter, quote"), 0
    if before == "Hebrew_Letter" and name == "Double_Quote":  # WB7b
        return _State("Hebrew_Letter, double quote"), HOLD
    return _after(name), BREAK  # WB999


def _after(name: str) -> _State:
    return _State(name if name in _KEPT else "Other", name == "ZWJ")
