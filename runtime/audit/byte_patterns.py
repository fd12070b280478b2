"""Patterns as engines search for them: in the UTF-8 bytes of texts, between bytes that no text has.

Bytes FF are the borders of texts. UTF-8 has no FF, and no pattern here asks for one but where it means a border: so no
match runs from one text into the next, and many texts can be searched as one buffer. Characters are written as their
bytes, anchors as the border, and a word edge at an end of a pattern as the byte beside it. That byte settles it where
it is ASCII or the border; beside other characters, and where a part of a pattern cannot be said in bytes, what is found
may be there and is to be looked at. Sources mean the same to google-re2 (with `LATIN1`) and to hyperscan (no flags).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final, Literal

from bylaw.spec.catalog import Language
from bylaw.spec.charset import LAST, CharSet, word_characters
from bylaw.spec.normal import forms, may_be_empty
from bylaw.spec.pattern import Alternate, Assertion, Chars, Concat, Empty, Node, Repeat

BORDER: Final = b"\xff"
"""Stands before, between and after texts."""
_ASCII: Final = CharSet(((0, 0x7F),))
_OTHERS: Final = _ASCII.complement()
_LENGTHS: Final = ((0, 0x7F), (0x80, 0x7FF), (0x800, 0xFFFF), (0x10000, LAST))
"""Code points with UTF-8 forms of one to four bytes."""
_ALL_OTHERS: Final = (
    r"[\xc2-\xdf][\x80-\xbf]",
    r"[\xe0-\xef][\x80-\xbf]{2}",
    r"[\xf0-\xf4][\x80-\xbf]{3}",
)
"""Every character that is not ASCII, in valid UTF-8."""
_LONGEST_FORM: Final = 4
_FEW: Final = 3
_PLACES: Final = 6
_MOST_RANGES: Final = 100
"""Bytes, roughly, in the source of a class of a few characters that are not ASCII, in that of another one beside its
ranges, and how many of these count."""
_MOST_BRANCHES: Final = 50
_MOST_TIMES: Final = 16
"""Repeats beyond this are written as without an upper bound in the loosest form."""

Range = tuple[int, int]
Side = Literal["text", "line", "edge"] | None
"""What has to be beside a pattern: a border of the text, or of a line, no word character, or anything."""


@dataclass(frozen=True, slots=True)
class Written:
    """Sources of one pattern: what matches one of `sure` is in the text; if one of `maybe` matches, it may be there; if
    neither matches it is not. `is_joinable`: each match holds a byte of its text, which tells one text from the next.
    """

    sure: tuple[str, ...]
    maybe: tuple[str, ...]
    is_joinable: bool


def written(language: Language, present: CharSet, is_loose: bool = False) -> Written:
    """The sources of a language. `present`: all characters that the texts have. `is_loose`: a shorter source that may
    be found in more texts: some characters as any bytes, and long repeats without their counts."""
    sure: list[str] = []
    maybe: list[str] = []
    is_joinable = True
    for node in _branches(language):
        # `\B` is also found inside a character: beside it characters have to be written out
        is_whole = any(part == Assertion("not_word_boundary") for part in _parts(node))
        head, items, tail = _ends(language.mode, _shortened(language.mode, _items(node)))
        middle = Concat(tuple(items))
        is_joinable = is_joinable and (not may_be_empty(middle) or (head is not None and tail is not None))
        source, is_exact = _Writer(present, is_loose, is_whole).source(middle, head is None, tail is None)
        certain, open_ = _framed(source, head, tail)
        if is_exact:
            sure.append(certain)
            maybe += open_
        else:
            maybe += [certain, *open_]
    return Written(tuple(sure), tuple(maybe), is_joinable)


def size(node: Node) -> int:
    """About how many places the source of a pattern has with its repeats of more than one byte written out."""
    match node:
        case Chars(charset):
            if charset.ranges and charset.ranges[-1][1] < 0x80:
                return 1
            return _FEW if len(charset.ranges) <= _FEW else _PLACES + min(len(charset.ranges), _MOST_RANGES)
        case Concat(items) | Alternate(items):
            return sum(map(size, items))
        case Repeat(item, least, most):
            places = size(item)
            return places if places == 1 else places * max(least, most or 0, 1)
    return 0


def class_source(charset: CharSet) -> str:
    """A source for the UTF-8 forms of one character of a set, which is not empty."""
    others = charset.intersection(_OTHERS)
    if others == _OTHERS:
        inner = charset.intersection(_ASCII)
        return _any_of([*([_bytes_source(inner.ranges)] if inner else []), *_ALL_OTHERS])
    return _any_of(_tree(part for first, last in charset.ranges for part in _sequences(first, last)))


@cache
def present_in(is_plain: bool) -> CharSet:
    """All characters, or those that plain texts have."""
    return changed_by_plain().complement() if is_plain else CharSet(()).complement()


@cache
def changed_by_plain() -> CharSet:
    """The characters that are not their own plain form."""
    return CharSet.of("".join(chars for _, chars in forms()))


@cache
def beside_words() -> CharSet:
    """The characters that no word has."""
    return word_characters().complement()


def is_word_at(end: Literal[0, -1], node: Node) -> bool:
    """Whether all texts of the pattern begin (0) or end (-1) with a letter, mark or number of any script."""
    match node:
        case Chars(charset):
            return bool(charset) and not charset.intersection(beside_words())
        case Concat(items):
            return bool(items) and is_word_at(end, items[end])
        case Alternate(items):
            return all(is_word_at(end, item) for item in items)
    return False


# ------------------------------------------------------------------------------------------------- ends of a pattern
def _branches(language: Language) -> Sequence[Node]:
    """The alternatives of a pattern one by one where some have borders of their own."""
    node = _bare(language.node)
    if language.mode != "search" or not isinstance(node, Alternate) or not _has_assertions(node):
        return (node,)
    return node.items if len(node.items) <= _MOST_BRANCHES else (node,)


def _bare(node: Node) -> Node:
    while isinstance(node, Concat) and len(node.items) == 1:
        (node,) = node.items
    return node


def _items(node: Node) -> list[Node]:
    """A sequence as a flat list."""
    node = _bare(node)
    return [part for item in node.items for part in _items(item)] if isinstance(node, Concat) else [node]


def _ends(mode: str, items: list[Node]) -> tuple[Side, list[Node], Side]:
    """(what has to be before, the pattern without its assertions about that, what has to be after)."""
    head: Side = "text" if mode in ("prefix", "full") else None
    tail: Side = "text" if mode in ("suffix", "full") else None
    head, items = _end(head, items, 1)
    tail, items = _end(tail, items[::-1], -1)
    return head, items[::-1], tail


def _end(side: Side, items: list[Node], step: Literal[1, -1]) -> tuple[Side, list[Node]]:
    """One end of a sequence that is given from there on."""
    text, line = (Assertion("text_start"), Assertion("line_start"))
    if step == -1:
        text, line = (Assertion("text_end"), Assertion("line_end"))
    if side is None and items:
        if items[0] == text:
            side, items = "text", items[1:]
        elif items[0] == line:
            return "line", items[1:]
        elif len(items) > 1 and _is_edge(items[0]) and is_word_at(0 if step == 1 else -1, items[1]):
            return "edge", items[1:]
    # at the border of a text there is that of a line, and no word goes on
    while side == "text" and items and (items[0] in (text, line) or _is_edge(items[0])):
        items = items[1:]
    return side, items


def _shortened(mode: str, items: list[Node]) -> list[Node]:
    """The shortest texts that are found where those of the sequence are: what may be missing at an open end is left
    out, so that `a+` is not found again at each further `a`."""
    for is_open in (mode in ("search", "prefix"), mode in ("search", "suffix")):
        while is_open and items and isinstance(last := items[-1], Repeat) and not _has_assertions(last):
            items = items[:-1]
            if last.least:
                items = [*items, Repeat(last.item, last.least, last.least)]
                break
        items = items[::-1]
    return items


def _framed(source: str, head: Side, tail: Side) -> tuple[str, list[str]]:
    """(the source with what is beside it where that is certain, those where it is not)."""
    border: dict[Side, str] = {**_BESIDE, "edge": _no_word(), None: ""}
    certain = f"{border[head]}{source}{border[tail]}"
    open_ = []
    other = r"[\x80-\xf4]"
    if head == "edge":
        after = f"(?:{border[tail]}|{other})" if tail == "edge" else border[tail]
        open_.append(f"{other}{source}{after}")
    if tail == "edge":
        open_.append(f"{border[head]}{source}{other}")
    return certain, open_


@cache
def _no_word() -> str:
    """One byte that is an ASCII character no word has, or the border."""
    return _bytes_source([*_ASCII.intersection(beside_words()).ranges, (0xFF, 0xFF)])


def _is_edge(node: Node) -> bool:
    return node == Assertion("unicode_word_edge")


def _has_assertions(node: Node) -> bool:
    return any(isinstance(part, Assertion) for part in _parts(node))


def _parts(node: Node) -> Iterator[Node]:
    yield node
    match node:
        case Concat(items) | Alternate(items):
            for item in items:
                yield from _parts(item)
        case Repeat(item):
            yield from _parts(item)


# --------------------------------------------------------------------------------------------------------- in bytes
@dataclass(frozen=True, slots=True)
class _Writer:
    """Source for a tree in bytes, and whether it is found nowhere else. `present`: characters that texts have."""

    present: CharSet
    is_loose: bool
    is_whole: bool

    def source(self, node: Node, at_start: bool = False, at_end: bool = False) -> tuple[str, bool]:
        """`at_start`, `at_end`: nothing of the pattern comes before, or after: a border is a byte there."""
        match node:
            case Chars(charset):
                return self.chars(charset, 1, 1)
            case Empty():
                return "", True
            case Concat(items):
                last = len(items) - 1
                ends = [(at_start and place == 0, at_end and place == last) for place in range(len(items))]
                return _joined("", (self.source(item, *end) for item, end in zip(items, ends, strict=True)))
            case Alternate(items):
                source, is_exact = _joined("|", (self.source(item, at_start, at_end) for item in items))
                return f"(?:{source})", is_exact
            case Repeat(item, least, most):
                return self.repeat(_bare(item), least, most)
            case Assertion(kind):
                known = _IN_BYTES.get(kind)
                if (at_start and kind in _AT_START) or (at_end and kind in _AT_END):
                    known = _BESIDE["line" if kind.startswith("line") else "text"]
                return (known, True) if known is not None else ("", False)

    def repeat(self, item: Node, least: int, most: int | None) -> tuple[str, bool]:
        is_exact = True
        if self.is_loose and max(least, most or 0) > _MOST_TIMES:
            least, most, is_exact = min(least, _MOST_TIMES), None, False
        if isinstance(item, Chars) and (self.is_loose or most is None):
            source, is_same = self.chars(item.charset, least, most)
            return source, is_exact and is_same
        source, is_same = self.source(item)
        return f"(?:{source}){_times(least, most)}", is_exact and is_same

    def chars(self, charset: CharSet, least: int, most: int | None) -> tuple[str, bool]:
        """So many characters of a set."""
        if charset.ranges and charset.ranges[-1][1] < 0x80:
            return _some(_bytes_source(charset.ranges), least, most), True
        charset, others, is_any = _present(charset, self.present)
        if not charset:
            return (_NOTHING if least else ""), True
        if is_any and least <= 1 and most is None and not self.is_whole:
            # any number of them: where one ends does not matter, since what follows begins with a first byte
            return _some(_single(charset), least, most), True
        if others and self.is_loose:
            return _some(_single(charset), least, None if most is None else most * _LONGEST_FORM), False
        source = _whole(charset, self.present)
        return _some(source if (least, most) == (1, 1) else f"(?:{source})", least, most), True


@lru_cache(maxsize=512)
def _present(charset: CharSet, present: CharSet) -> tuple[CharSet, CharSet, bool]:
    """(those characters of a set that texts have; those of them that are not ASCII, and whether these are all)."""
    charset = charset.intersection(present)
    others = charset.intersection(_OTHERS)
    return charset, others, bool(others) and not present.intersection(_OTHERS).difference(others)


def _single(charset: CharSet) -> str:
    """A byte of a set: one of its ASCII characters, or any of the others."""
    return _bytes_source([*charset.intersection(_ASCII).ranges, (0x80, 0xF4)])


@lru_cache(maxsize=512)
def _whole(charset: CharSet, present: CharSet) -> str:
    """A source for one character of a set. Those that no text has can be in or not: as few ranges as can be."""
    return class_source(min(charset, charset.union(_absent(present)), key=lambda each: len(each.ranges)))


@cache
def _absent(present: CharSet) -> CharSet:
    return present.complement()


def _joined(between: str, parts: Iterable[tuple[str, bool]]) -> tuple[str, bool]:
    each = list(parts)
    return between.join(source for source, _ in each), all(is_exact for _, is_exact in each)


def _some(source: str, least: int, most: int | None) -> str:
    return source if (least, most) == (1, 1) else f"{source}{_times(least, most)}"


_BESIDE: Final[Mapping[Side, str]] = {"text": r"\xff", "line": r"[\x0a\xff]"}
_IN_BYTES: Final = {"word_boundary": r"\b", "not_word_boundary": r"\B"}
"""These two are about bytes in the engines as well, and the border is no word character."""
_AT_START: Final = ("text_start", "line_start")
_AT_END: Final = ("text_end", "line_end")
_NOTHING: Final = r"[^\x00-\xff]"


def _times(least: int, most: int | None) -> str:
    if (least, most) == (0, None):
        return "*"
    if (least, most) == (1, None):
        return "+"
    return f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"


def _tree(sequences: Iterable[tuple[Range, ...]]) -> list[str]:
    """Alternatives for sequences of ranges of bytes that share what they begin with: engines are faster with these."""
    finals: list[Range] = []
    after: dict[Range, list[tuple[Range, ...]]] = {}
    for first, *rest in sequences:
        if rest:
            after.setdefault(first, []).append(tuple(rest))
        else:
            finals.append(first)
    before: dict[str, list[Range]] = {}
    for first, rests in after.items():
        before.setdefault(_any_of(_tree(rests)), []).append(first)
    found = [f"{_bytes_source(firsts)}{rest}" for rest, firsts in before.items()]
    return [_bytes_source(finals), *found] if finals else found


def _any_of(branches: Sequence[str]) -> str:
    return branches[0] if len(branches) == 1 else f"(?:{'|'.join(branches)})"


def _sequences(first: int, last: int) -> Iterator[tuple[Range, ...]]:
    """The UTF-8 forms of a range of characters as sequences of ranges of bytes."""
    for low, high in _LENGTHS:
        start, end = max(first, low), min(last, high)
        if start <= end:
            yield from _split(chr(start).encode(), chr(end).encode())


def _split(start: bytes, end: bytes) -> Iterator[tuple[Range, ...]]:
    if len(start) == 1:
        yield ((start[0], end[0]),)
        return
    lowest, highest = b"\x80" * (len(start) - 1), b"\xbf" * (len(start) - 1)
    first, last = start[0], end[0]
    if first == last:
        for rest in _split(start[1:], end[1:]):
            yield ((first, first), *rest)
        return
    if start[1:] != lowest:
        for rest in _split(start[1:], highest):
            yield ((first, first), *rest)
        first += 1
    after = last
    if end[1:] != highest:
        last -= 1
    if first <= last:
        yield ((first, last), *((0x80, 0xBF) for _ in lowest))
    if last != after:
        for rest in _split(lowest, end[1:]):
            yield ((after, after), *rest)


def _bytes_source(ranges: Sequence[Range]) -> str:
    """One byte of some ranges."""
    if len(ranges) == 1 and ranges[0][0] == ranges[0][1]:
        return f"\\x{ranges[0][0]:02x}"
    each = (f"\\x{first:02x}" if first == last else f"\\x{first:02x}-\\x{last:02x}" for first, last in ranges)
    return f"[{''.join(each)}]"
