"""Mutants of regular expressions: without a flag, an anchor or an optional part, or with a wider repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_PIECE = re.compile(
    r"(?P<escape>\\(?:[pP]\{[^}]*\}|x\{[^}]*\}|x[0-9A-Fa-f]{2}|u\{[^}]*\}|u[0-9A-Fa-f]{4}|.))"
    r"|(?P<class>\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\])"
    r"|(?P<flags>\(\?[imsU-]+\))"
    r"|(?P<open>\((?:\?(?:[imsU-]*:|P?<\w+>))?)"
    r"|(?P<close>\))"
    r"|(?P<repeat>(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??)"
    r"|(?P<bar>\|)"
    r"|(?P<anchor>[\^$])"
    r"|(?P<char>.)",
    re.DOTALL,
)
_ANCHORS = frozenset({"\\b", "\\B", "\\A", "\\z"})
_COUNTS = re.compile(r"\{([0-9]+)(,?)([0-9]*)\}(\??)")


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a pattern: an atom, an anchor, or what is repeated (`atom` is where that begins)."""

    kind: str
    start: int
    end: int
    atom: int = 0


def mutated_patterns(source: str, flags: str) -> Iterator[tuple[str, str]]:
    """Other patterns, as (source, flags), each with one difference; some may be no patterns of the regular subset."""
    for flag in flags:
        yield source, flags.replace(flag, "")
    for piece in _pieces(source):
        before, after = source[: piece.start], source[piece.end :]
        text = source[piece.start : piece.end]
        match piece.kind:
            case "flags":
                yield before + after, flags
            case "anchor":
                yield before + after, flags
            case "repeat":
                if text[0] == "?":
                    yield source[: piece.atom] + after, flags
                else:
                    for wider in _wider(text):
                        yield before + wider + after, flags


def _pieces(source: str) -> Iterator[_Piece]:
    """The anchors, repeats and flags of a pattern, in order."""
    opened: list[int] = []
    atom = 0
    for match in _PIECE.finditer(source):
        kind, start, end = match.lastgroup or "", match.start(), match.end()
        if kind == "flags" or kind == "anchor" or (kind == "escape" and match[0] in _ANCHORS):
            yield _Piece("flags" if kind == "flags" else "anchor", start, end)
        elif kind == "repeat":
            yield _Piece("repeat", start, end, atom)
            continue
        elif kind == "open":
            opened.append(start)
        elif kind == "close" and opened:
            atom = opened.pop()
            continue
        atom = start


def _wider(text: str) -> Iterator[str]:
    """Repeats that allow one more or one less."""
    if text[0] == "+":
        yield "*" + text[1:]
    counts = _COUNTS.fullmatch(text)
    if counts is None:
        return
    least, comma, most, lazy = int(counts[1]), counts[2], counts[3], counts[4]
    upper = most if comma else str(least)
    if least > 0:
        yield f"{{{least - 1},{upper}}}{lazy}"
    if upper:
        yield f"{{{least},{int(upper) + 1}}}{lazy}"
