"""Where text comes from and where in it something stands: `Source`, `Span`, `Location`.

Offsets count characters of `Source.text`; lines and columns count from 1, columns in characters. A literate file
(`*.bylaw.md`) becomes a source whose prose is blanked with spaces, so every offset and line stays that of the file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from bylaw.spec.errors import Diagnostic, Label, Severity, SourceError

MAXIMUM_FILE_BYTES = 1_000_000
LITERATE_SUFFIX = ".bylaw.md"

_FENCE = re.compile(r" {0,3}(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^\s`]*)(?P<rest>[^\r\n]*)")
_LINE = re.compile(r"[^\n]*\n|[^\n]+\Z")
_NOT_LINE_BREAK = re.compile(r"[^\r\n]")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A stretch of source text: the characters from `start` up to, not including, `end`."""

    start: int
    end: int

    def to(self, other: Span) -> Span:
        """Return the span from the start of this one to the end of `other`."""
        return Span(self.start, other.end)


@dataclass(frozen=True, slots=True)
class Location:
    """A span as a person counts it: lines and columns from 1; the end column is the first one outside."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(frozen=True, slots=True)
class Source:
    """A policy text together with the path to show for it."""

    path: str
    text: str

    @classmethod
    def of(cls, path: str, text: str) -> Source:
        """Return the source of a file's text: without byte order mark, prose blanked when the path is literate."""
        text = text.removeprefix("\ufeff")
        return cls(path, blank_prose(text) if path.endswith(LITERATE_SUFFIX) else text)

    @classmethod
    def read(cls, path: str | Path) -> Source:
        """Read a policy file.

        Raises:
            SourceError: the file cannot be read, is larger than 1 MB (P006) or is not UTF-8 (P009).
        """
        shown = str(path)
        try:
            with Path(path).open("rb") as file:
                data = file.read(MAXIMUM_FILE_BYTES + 1)
        except OSError as error:
            raise _unreadable(shown, "P009", f"`{shown}` cannot be read", error.strerror or str(error)) from error
        if len(data) > MAXIMUM_FILE_BYTES:
            note = f"a policy file holds at most {MAXIMUM_FILE_BYTES:,} bytes; split it and `import` the parts"
            raise _unreadable(shown, "P006", f"`{shown}` is too large for a policy", note)
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            note = f"byte {error.start} (line {line}) is 0x{data[error.start]:02x}; save the file as UTF-8"
            raise _unreadable(shown, "P009", f"`{shown}` is not UTF-8 text", note) from error
        return cls.of(shown, text)

    def location(self, span: Span) -> Location:
        """Return the lines and columns of a span."""
        line, column = self.position(span.start)
        end_line, end_column = self.position(span.end)
        return Location(line, column, end_line, end_column)

    def position(self, offset: int) -> tuple[int, int]:
        """Return the line and the column of an offset, both counted from 1."""
        starts = _line_starts(self.text)
        bounded = min(max(offset, 0), len(self.text))
        index = bisect_right(starts, bounded) - 1
        return index + 1, bounded - starts[index] + 1

    def line_count(self) -> int:
        """Return the number of lines; an empty text has one."""
        return len(_line_starts(self.text))

    def line_span(self, line: int) -> Span:
        """Return the span of a line (counted from 1) without its line break."""
        starts = _line_starts(self.text)
        start = starts[line - 1]
        end = starts[line] - 1 if line < len(starts) else len(self.text)
        if end > start and self.text[end - 1] == "\r":
            end -= 1
        return Span(start, end)

    def line_text(self, line: int) -> str:
        """Return the text of a line (counted from 1) without its line break."""
        return self.slice(self.line_span(line))

    def slice(self, span: Span) -> str:
        """Return the text of a span."""
        return self.text[span.start : span.end]


def blank_prose(text: str) -> str:
    """Return a Markdown text with every character outside its ```` ```bylaw ```` fences replaced by a space.

    Line breaks stay, so lines and offsets are those of the document.
    """
    kept: list[str] = []
    fence = ""
    is_code = False
    for line in _LINE.findall(text):
        match = _FENCE.match(line)
        if fence:
            closes = match and match["mark"].startswith(fence) and not match["info"] and not match["rest"].strip()
            if closes:
                fence, is_code = "", False
            elif is_code:
                kept.append(line)
                continue
        elif match:
            fence, is_code = match["mark"], match["info"] == "bylaw"
        kept.append(_NOT_LINE_BREAK.sub(" ", line))
    return "".join(kept)


@lru_cache(maxsize=16)
def _line_starts(text: str) -> tuple[int, ...]:
    """Return the offset at which each line starts; only `\\n` ends a line, as in the grammar."""
    return (0, *(match.end() for match in re.finditer("\n", text)))


def _unreadable(path: str, code: str, message: str, note: str) -> SourceError:
    diagnostic = Diagnostic(code, Severity.ERROR, message, Label(Span(0, 0), ""), notes=(note,))
    return SourceError((diagnostic,), Source(path, ""))
