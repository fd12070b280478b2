"""The regular subset of regular expressions: a syntax tree, its parser, and a google-re2 object that agrees with it.

The tree is the meaning. Searching text is left to RE2, and what RE2 compiles is rendered from the tree with every
class, case fold and anchor written out, so that the automata and the search engine cannot read one pattern in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal, Protocol, cast

import re2

from bylaw.spec.charset import (
    ALL,
    ASCII_DIGIT,
    ASCII_WORD,
    EMPTY,
    LAST,
    NEWLINE,
    RE2_SPACE,
    CharSet,
    fold,
    folded,
    word_characters,
)

MAX_DEPTH: Final = 100
MAX_LENGTH: Final = 10_000
MAX_REPEAT: Final = 1_000  # also the most that nested repeats may multiply to, as in RE2
MAX_SIZE: Final = 20_000
_MAX_MEMORY: Final = 1 << 28  # bytes RE2 may use for one pattern; its default of 8 MiB is too little for MAX_SIZE

Kind = Literal[
    "text_start", "text_end", "line_start", "line_end", "word_boundary", "not_word_boundary", "unicode_word_edge"
]


@dataclass(frozen=True)
class Chars:
    """Exactly one character, from the set."""

    charset: CharSet


@dataclass(frozen=True)
class Empty:
    """The empty text."""


@dataclass(frozen=True)
class Concat:
    """The items one after the other."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Alternate:
    """Any one of the items; earlier ones are preferred where spans matter."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    """The item `least` to `most` times (None: no upper bound). `lazy` changes spans, never the language."""

    item: Node
    least: int
    most: int | None
    lazy: bool = False


@dataclass(frozen=True)
class Assertion:
    """A condition on the place between two characters.

    `word_boundary` and `not_word_boundary` are about ASCII word characters, as in RE2. `unicode_word_edge` holds unless
    the characters on both sides are word characters of any script.
    """

    kind: Kind


Node = Chars | Empty | Concat | Alternate | Repeat | Assertion


class PatternError(ValueError):
    """A pattern that is wrong or not regular. `offset` and `length` mark the place in the source, in characters."""

    def __init__(self, message: str, offset: int, length: int) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length


class Match(Protocol):
    """The part of a match object that we rely on; offsets count characters."""

    def start(self) -> int: ...
    def end(self) -> int: ...
    def span(self) -> tuple[int, int]: ...
    def group(self) -> str: ...


class CompiledPattern(Protocol):
    """The part of a compiled google-re2 pattern that we rely on."""

    def search(self, text: str) -> Match | None: ...
    def fullmatch(self, text: str) -> Match | None: ...
    def finditer(self, text: str) -> Iterator[Match]: ...


def literal(text: str, ignore_case: bool = False) -> Node:
    """The tree of a fixed text."""
    return _concat([Chars(fold(char) if ignore_case else CharSet.of(char)) for char in text])


def whole_words(text: str) -> Node:
    """The tree of a fixed text in any case that is not part of a longer word of any script.

    An end of the text that is not a word character (as in "C++") needs no word edge there.
    """
    word = word_characters()
    edge = Assertion("unicode_word_edge")
    before = [edge] if text[:1] and text[0] in word else []
    after = [edge] if text[-1:] and text[-1] in word else []
    return _concat([*before, *(Chars(fold(char)) for char in text), *after])


@lru_cache(maxsize=1024)
def parse_pattern(source: str, flags: str = "") -> Node:
    """The syntax tree of a pattern; `flags` holds any of i (ignore case), m (^ and $ at lines), s (. is any character).

    Raises PatternError for what is malformed, too large, or not regular.
    """
    for flag in flags:
        if flag not in "ims":
            raise PatternError(f"there is no pattern flag `{flag}`; the flags are i, m and s", 0, len(source))
    if len(source) > MAX_LENGTH:
        raise PatternError(f"this pattern is longer than {MAX_LENGTH:,} characters", 0, len(source))
    tree = _Parser(source, flags).parse()
    size, repeats = _extent(tree)
    if repeats > MAX_REPEAT:
        raise PatternError(f"repeats inside repeats multiply to more than {MAX_REPEAT:,}", 0, len(source))
    if size > MAX_SIZE:
        raise PatternError(f"written out, this pattern has more than {MAX_SIZE:,} parts", 0, len(source))
    if _empty(tree)[1]:
        raise PatternError(
            "`\\B` needs a character to match beside it: alone it would match inside one", 0, len(source)
        )
    return tree


@lru_cache(maxsize=1024)
def compile_pattern(source: str, flags: str = "") -> CompiledPattern:
    """A google-re2 object for the same language as `parse_pattern(source, flags)`. Raises PatternError as that does.

    Its spans are those of the source given to RE2 directly, but for lazy repeats that may match nothing inside another
    repeat, as in `(?:(a|)*?)*`: there RE2's choice depends on how the groups are written.
    """
    try:
        return compile_node(parse_pattern(source, flags))
    except re2.error as error:
        raise PatternError("this pattern is too large for the search engine", 0, len(source)) from error


def compile_node(node: Node) -> CompiledPattern:
    """A google-re2 object for a tree.

    Raises ValueError for `unicode_word_edge`, which RE2 lacks, and re2.error when the pattern is too large for it.
    """
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_MEMORY
    return cast(CompiledPattern, re2.compile(render(node), options))


_RENDERED_ASSERTIONS: Final = {
    "text_start": r"\A",
    "text_end": r"\z",
    "line_start": "(?m:^)",
    "line_end": "(?m:$)",
    "word_boundary": r"\b",
    "not_word_boundary": r"\B",
}


def render(node: Node) -> str:
    """RE2 source for a tree, free of flags and of named classes. Raises ValueError for `unicode_word_edge`."""
    match node:
        case Chars(charset):
            return _render_chars(charset)
        case Empty():
            return "(?:)"
        case Concat(items):
            return "".join(map(render, items))
        case Alternate(items):
            return f"(?:{'|'.join(map(render, items))})"
        case Repeat(item, least, most, lazy):
            count = f"{{{least}}}" if least == most else f"{{{least},{'' if most is None else most}}}"
            return f"(?:{render(item)}){count}{'?' if lazy else ''}"
        case Assertion(kind):
            if kind == "unicode_word_edge":
                raise ValueError("the search engine has no word edges for all scripts")
            return _RENDERED_ASSERTIONS[kind]


def _render_chars(charset: CharSet) -> str:
    if len(charset.ranges) == 1 and charset.ranges[0][0] == charset.ranges[0][1]:
        point = charset.ranges[0][0]
        return chr(point) if point < 128 and chr(point).isalnum() else f"\\x{{{point:x}}}"
    if not charset:
        return f"[^\\x{{0}}-\\x{{{LAST:x}}}]"
    return "[" + "".join(f"\\x{{{first:x}}}-\\x{{{last:x}}}" for first, last in charset.ranges) + "]"


def _concat(items: list[Node]) -> Node:
    if not items:
        return Empty()
    return items[0] if len(items) == 1 else Concat(tuple(items))


def _extent(node: Node) -> tuple[int, int]:
    """(parts when every repeat is written out, largest product of repeat counts on a path from the root)."""
    match node:
        case Concat(items) | Alternate(items):
            sizes, repeats = zip(*map(_extent, items), strict=True)
            return sum(sizes) + 1, max(repeats)
        case Repeat(item, least, most):
            size, repeat = _extent(item)
            times = max(least, most or 0, 1)
            return size * times + 1, repeat * times
        case _:
            return 1, 1


def _empty(node: Node) -> tuple[bool, bool]:
    """(whether the pattern may match the empty text, whether it may do so because of a `\\B`).

    RE2 works on bytes and finds `\\B` between the bytes of one character. That is harmless as long as the match goes on
    to read a whole character, which it cannot do from there.
    """
    match node:
        case Concat(items):
            parts = [_empty(item) for item in items]
            nullable = all(empty for empty, _ in parts)
            return nullable, nullable and any(asserted for _, asserted in parts)
        case Alternate(items):
            parts = [_empty(item) for item in items]
            return any(empty for empty, _ in parts), any(asserted for _, asserted in parts)
        case Repeat(item, least, most):
            empty, asserted = _empty(item)
            return empty or least == 0, asserted and most != 0
        case Assertion(kind):
            return True, kind == "not_word_boundary"
        case _:
            return isinstance(node, Empty), False


_CLASSES: Final = {"d": ASCII_DIGIT, "w": ASCII_WORD, "s": RE2_SPACE}
_CONTROLS: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}
_HEX: Final = re.compile(r"x([0-9A-Fa-f]{2})|x\{([0-9A-Fa-f]{1,8})\}|u([0-9A-Fa-f]{4})")
_COUNT: Final = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")
_OPEN_COUNT: Final = re.compile(r"\{,([0-9]+)\}")
_INLINE_FLAGS: Final = re.compile(r"\(\?([ims]*)(?:-([ims]+))?([:)])")
_UNSUPPORTED_GROUPS: Final = (
    ("(?=", "look-ahead is not supported: it can look beyond the match"),
    ("(?!", "negative look-ahead is not supported: write the rule with `must not` instead"),
    ("(?<=", "look-behind is not supported"),
    ("(?<!", "negative look-behind is not supported"),
    ("(?P<", "named groups are not supported: use plain parentheses"),
    ("(?<", "named groups are not supported: use plain parentheses"),
    ("(?P=", "back-references are not supported: they are not regular"),
    ("(?P>", "recursive patterns are not supported: they are not regular"),
    ("(?R", "recursive patterns are not supported: they are not regular"),
    ("(?>", "atomic groups are not supported"),
    ("(?#", "comments inside patterns are not supported"),
    ("(?(", "conditional groups are not supported: they are not regular"),
)
_ESCAPE_HINTS: Final = {
    "A": "write ^ (without the flag m) for the start of the text",
    "z": "write $ (without the flag m) for the end of the text",
    "Z": "write $ (without the flag m) for the end of the text",
    "p": "write the characters in a class, as in [a-zé]",
    "P": "write the characters in a class, as in [^a-zé]",
    "Q": "put a backslash before each special character",
    "k": "back-references are not regular",
}


class _Parser:
    """Recursive descent over one pattern; `place` is the offset of the next character."""

    def __init__(self, source: str, flags: str) -> None:
        self.source = source
        self.flags = frozenset(flags)
        self.place = 0
        self.depth = 0

    def parse(self) -> Node:
        node = self.alternatives()
        if self.place < len(self.source):
            raise PatternError("this `)` closes no group", self.place, 1)
        return node

    def fail(self, message: str, start: int) -> PatternError:
        """The error for the stretch from `start` to the current place, at least one character long."""
        start = min(start, max(len(self.source) - 1, 0))
        return PatternError(message, start, max(1, min(self.place, len(self.source)) - start))

    def peek(self) -> str:
        return self.source[self.place : self.place + 1]

    def alternatives(self) -> Node:
        items = [self.sequence()]
        while self.peek() == "|":
            self.place += 1
            items.append(self.sequence())
        return items[0] if len(items) == 1 else Alternate(tuple(items))

    def sequence(self) -> Node:
        items: list[Node] = []
        while self.peek() not in ("", "|", ")"):
            atom = self.atom()
            if atom is not None:
                items.append(self.repeated(atom))
        return _concat(items)

    def repeated(self, atom: Node) -> Node:
        """`atom` with the repeat that follows it, if any."""
        start = self.place
        bounds = self.bounds()
        if bounds is None:
            return atom
        lazy = self.peek() == "?"
        self.place += lazy
        end = self.place
        if self.peek() == "+":
            self.place += 1
            raise self.fail("possessive repeats are not supported", start)
        if self.bounds() is not None:
            raise self.fail("two repeats follow each other: put the first in parentheses", start)
        self.place = end
        return Repeat(atom, *bounds, lazy)

    def bounds(self) -> tuple[int, int | None] | None:
        """Reads * + ? {m} {m,} {m,n}; None when none is next. A brace of any other form is a plain character."""
        start = self.place
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if self.peek() in simple:
            self.place += 1
            return simple[self.source[start]]
        if open_count := _OPEN_COUNT.match(self.source, start):
            self.place = open_count.end()
            raise self.fail(f"a repeat needs its lower number: write {{0,{open_count[1]}}}", start)
        count = _COUNT.match(self.source, start)
        if count is None:
            return None
        self.place = count.end()
        if max(len(count[1]), len(count[3] or "")) > 4:
            raise self.fail(f"a repeat goes to {MAX_REPEAT:,} at most", start)
        least = int(count[1])
        most = least if count[2] is None else int(count[3]) if count[3] else None
        if max(least, most or 0) > MAX_REPEAT:
            raise self.fail(f"a repeat goes to {MAX_REPEAT:,} at most", start)
        if most is not None and most < least:
            raise self.fail("the lower number of this repeat is above the upper one", start)
        return least, most

    def atom(self) -> Node | None:
        """One item without its repeat; None for flags such as (?i), which only change how the rest is read."""
        start = self.place
        char = self.peek()
        if char == "(":
            return self.group()
        if char == "[":
            return Chars(self.charset())
        if char == "\\":
            return self.escaped_atom()
        if self.bounds() is not None:
            raise self.fail(f"there is nothing to repeat before `{self.source[start : self.place]}`", start)
        self.place += 1
        match char:
            case ".":
                return Chars(ALL if "s" in self.flags else NEWLINE.complement())
            case "^":
                return Assertion("line_start" if "m" in self.flags else "text_start")
            case "$":
                return Assertion("line_end" if "m" in self.flags else "text_end")
            case _:
                return Chars(self.char_set(char, start))

    def group(self) -> Node | None:
        start = self.place
        outer = self.flags
        inline = _INLINE_FLAGS.match(self.source, start)
        if inline:
            self.place = inline.end()
            self.flags = (self.flags | set(inline[1])) - set(inline[2] or "")
            if inline[3] == ")":
                return None
        elif self.source.startswith("(?", start):
            raise self.unsupported_group(start)
        else:
            self.place += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.fail(f"groups are nested more than {MAX_DEPTH} deep", start)
        node = self.alternatives()
        self.depth -= 1
        if self.peek() != ")":
            raise PatternError("this group is never closed", start, 1)
        self.place += 1
        self.flags = outer
        return node

    def unsupported_group(self, start: int) -> PatternError:
        for opening, message in _UNSUPPORTED_GROUPS:
            if self.source.startswith(opening, start):
                return PatternError(message, start, len(opening))
        return PatternError("this kind of group is not supported", start, 2)

    def escaped_atom(self) -> Node:
        following = self.source[self.place + 1 : self.place + 2]
        if following in ("b", "B"):
            self.place += 2
            return Assertion("word_boundary" if following == "b" else "not_word_boundary")
        start = self.place
        found = self.escape()
        return Chars(found if isinstance(found, CharSet) else self.char_set(found, start))

    def escape(self) -> str | CharSet:
        """Reads a backslash and what belongs to it: one character, or the set of a class such as \\d."""
        start = self.place
        self.place += 2
        char = self.source[start + 1 : start + 2]
        if not char:
            raise self.fail("a backslash ends the pattern: write \\\\ for the character itself", start)
        if char.lower() in _CLASSES:
            charset = _CLASSES[char.lower()]
            charset = folded(charset) if "i" in self.flags else charset
            return charset if char.islower() else charset.complement()
        if char in _CONTROLS:
            return _CONTROLS[char]
        if char in "xu":
            return self.hexadecimal(start)
        if char.isascii() and (char == "_" or (char.isprintable() and not char.isalnum())):
            return char
        if char.isdecimal():
            raise self.fail("back-references are not supported: they are not regular", start)
        hint = _ESCAPE_HINTS.get(char)
        raise self.fail(f"the escape \\{char} is not supported" + (f": {hint}" if hint else ""), start)

    def hexadecimal(self, start: int) -> str:
        found = _HEX.match(self.source, start + 1)
        if found is None:
            raise self.fail("write two hexadecimal digits as in \\x41, or \\x{1F600}, or four as in \\u00e9", start)
        self.place = found.end()
        point = int(found[1] or found[2] or found[3], 16)
        if point > LAST or not ALL.has(point):
            raise self.fail("there is no character with this number", start)
        return chr(point)

    def char_set(self, char: str, start: int) -> CharSet:
        if not ALL.has(ord(char)):
            raise self.fail("half of a surrogate pair is not a character", start)
        return fold(char) if "i" in self.flags else CharSet.of(char)

    def charset(self) -> CharSet:
        """Reads a class in square brackets."""
        start = self.place
        self.place += 1
        negated = self.peek() == "^"
        self.place += negated
        members: list[CharSet] = []
        while self.peek() != "]" or not members:
            if not self.peek():
                raise PatternError("this `[` is never closed", start, 1)
            members.append(self.class_member())
        self.place += 1
        charset = EMPTY.union(*members)
        charset = folded(charset) if "i" in self.flags else charset
        return charset.complement() if negated else charset

    def class_member(self) -> CharSet:
        """Reads one character, range or escape inside square brackets."""
        start = self.place
        if self.source.startswith("[:", start) and ":]" in self.source[start:]:
            raise PatternError("named classes such as [:alpha:] are not supported: write the characters", start, 2)
        first = self.class_character()
        if isinstance(first, CharSet):
            return first
        if self.peek() != "-" or self.source[self.place + 1 : self.place + 2] in ("]", ""):
            return CharSet.of(first)
        self.place += 1
        last = self.class_character()
        if isinstance(last, CharSet) or ord(last) < ord(first):
            message = (
                "a range ends in one character" if isinstance(last, CharSet) else "this range is the wrong way round"
            )
            raise self.fail(message, start)
        return CharSet.of_ranges([(ord(first), ord(last))])

    def class_character(self) -> str | CharSet:
        start = self.place
        if self.peek() == "\\":
            if self.source[start + 1 : start + 2] in ("b", "B"):
                self.place += 2
                raise self.fail("a word boundary cannot be inside square brackets", start)
            return self.escape()
        char = self.peek()
        self.place += 1
        self.char_set(char, start)
        return char
