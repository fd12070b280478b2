"""Where text comes from and where in it something stands: `Source`, `Span`, `Location`.

Offsets count characters of `Source.text`; lines and columns count from 1, columns in characters. A literate file
(`*.bylaw.md`) becomes a source whose prose is blanked with spaces, so every offset and line stays that of the file.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
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
    """A policy text together with the path to show for it.

    The text of an imported file stands in `text[start:end]`, behind the texts of the files that were read before it:
    so an offset says by itself which file it lies in. `end` None is the end of `text`. `document` is the file with its
    prose where it is literate, from `start` on character for character what `text` has blanked; None elsewhere.
    """

    path: str
    text: str
    start: int = 0
    end: int | None = None
    document: str | None = None

    @classmethod
    def of(cls, path: str, text: str) -> Source:
        """Return the source of a file's text: without byte order mark, prose blanked when the path is literate."""
        text = text.removeprefix("\ufeff")
        if not path.endswith(LITERATE_SUFFIX):
            return Source(path, text)
        return Source(path, blank_prose(text), document=text)

    @classmethod
    def read(cls, path: str | Path) -> Source:
        """Read a policy file.

        Raises:
            SourceError: the file cannot be read, is larger than 1 MB (P006) or is not UTF-8 (P009).
        """
        return Source.of(str(path), read_text(path))

    @property
    def whole(self) -> Span:
        """The span of the file."""
        return Span(self.start, len(self.text) if self.end is None else self.end)

    def file_at(self, offset: int) -> Source:
        """Return the file that an offset lies in: this one, or a file without a name for an offset outside."""
        return self if self.start <= offset <= self.whole.end else Source("", "")

    def location(self, span: Span) -> Location:
        """Return the lines and columns of a span."""
        line, column = self.position(span.start)
        end_line, end_column = self.position(span.end)
        return Location(line, column, end_line, end_column)

    def position(self, offset: int) -> tuple[int, int]:
        """Return the line and the column of an offset, both counted from 1 in its file."""
        starts = _line_starts(self.text)
        bounded = min(max(offset, self.start), self.whole.end)
        index = bisect_right(starts, bounded) - 1
        return index + 1 - self._lines_before(), bounded - max(starts[index], self.start) + 1

    def line_count(self) -> int:
        """Return the number of lines; an empty text has one."""
        return bisect_right(_line_starts(self.text), self.whole.end) - self._lines_before()

    def line_span(self, line: int) -> Span:
        """Return the span of a line (counted from 1) without its line break."""
        starts = _line_starts(self.text)
        start = starts[line - 1 + self._lines_before()]
        following = line + self._lines_before()
        end = min(starts[following] - 1 if following < len(starts) else len(self.text), self.whole.end)
        if end > start and self.text[end - 1] == "\r":
            end -= 1
        return Span(start, end)

    def line_text(self, line: int) -> str:
        """Return the text of a line (counted from 1) without its line break, as it stands in the file."""
        span = self.line_span(line)
        if self.document is None:
            return self.slice(span)
        return self.document[span.start - self.start : span.end - self.start]

    def slice(self, span: Span) -> str:
        """Return the text of a span."""
        return self.text[span.start : span.end]

    def _lines_before(self) -> int:
        return bisect_right(_line_starts(self.text), self.start) - 1 if self.start else 0


@dataclass(frozen=True, slots=True)
class SourceMap(Source):
    """A policy file with the files it imports: `text` holds them all, one after the other, each on lines of its own.

    It works as the source of the main file, but places in the others are found too: `position` and `location` count in
    the file that an offset lies in, and `file_at` returns that file. Lines by number are those of the main file.
    """

    files: tuple[Source, ...] = ()

    @classmethod
    def joining(cls, files: Sequence[Source]) -> Source:
        """Return the map of files that were each put behind the text of those before (`behind`), the main one first;
        of a single file, that file."""
        main, *others = files
        if not others:
            return main
        text = files[-1].text
        placed = tuple(Source(file.path, text, *_bounds(file), file.document) for file in files)
        return SourceMap(main.path, text, placed[0].start, placed[0].end, main.document, placed)

    def file_at(self, offset: int) -> Source:
        """Return the file that an offset lies in; an offset between two files belongs to the first."""
        index = bisect_right([file.start for file in self.files], offset) - 1
        return self.files[max(index, 0)]

    def position(self, offset: int) -> tuple[int, int]:
        """Return the line and the column of an offset, both counted from 1 in the file that it lies in."""
        return self.file_at(offset).position(offset)


def behind(before: str, path: str, text: str) -> Source:
    """Return the source of a file whose text is put behind what was read before it."""
    own = Source.of(path, text)
    return Source(path, f"{before}\n{own.text}", len(before) + 1, document=own.document)


def _bounds(file: Source) -> tuple[int, int]:
    return file.whole.start, file.whole.end


def read_text(path: str | Path) -> str:
    """Return the text of a policy file as it is on disk.

    Raises:
        SourceError: as `Source.read`.
    """
    shown = str(path)
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAXIMUM_FILE_BYTES + 1)
    except OSError as error:
        raise _unreadable(shown, "P009", f"`{shown}` cannot be read", error.strerror or str(error)) from error
    return decode(shown, data)


def decode(shown: str, data: bytes) -> str:
    """Return the text of a policy's bytes; `shown` is the name to call it by.

    Raises:
        SourceError: there is more than 1 MB (P006) or it is not UTF-8 (P009).
    """
    if len(data) > MAXIMUM_FILE_BYTES:
        note = f"a policy file holds at most {MAXIMUM_FILE_BYTES:,} bytes; split it and `import` the parts"
        raise _unreadable(shown, "P006", f"`{shown}` is too large for a policy", note)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        note = f"byte {error.start} (line {line}) is 0x{data[error.start]:02x}; save the file as UTF-8"
        raise _unreadable(shown, "P009", f"`{shown}` is not UTF-8 text", note) from error


@dataclass(frozen=True, slots=True)
class CodeBlock:
    """What stands in a fence such as ```` ```bylaw ````: `text[start:end]`; `indentation` counts the blanks before."""

    start: int
    end: int
    indentation: int


def code_blocks(text: str) -> tuple[CodeBlock, ...]:
    """Return the policy's blocks in a Markdown text, in order; one that is never closed ends with the text."""
    return tuple(block for info, block in fenced_blocks(text) if info == "bylaw")


def fenced_blocks(text: str) -> tuple[tuple[str, CodeBlock], ...]:
    """Return all fenced blocks of a Markdown text as `code_blocks`, each with the first word behind its fence."""
    found: list[tuple[str, CodeBlock]] = []
    fence = info = ""
    start = indentation = 0
    for line in _LINE.finditer(text):
        match = _FENCE.match(line[0])
        if match is None:
            continue
        if not fence:
            fence, info = match["mark"], match["info"]
            start, indentation = line.end(), match.start("mark")
        elif match["mark"].startswith(fence) and not match["info"] and not match["rest"].strip():
            found.append((info, CodeBlock(start, line.start(), indentation)))
            fence = ""
    if fence:
        found.append((info, CodeBlock(start, len(text), indentation)))
    return tuple(found)


def blank_prose(text: str) -> str:
    """Return a Markdown text with every character outside its ```` ```bylaw ```` fences replaced by a space.

    Line breaks stay, so lines and offsets are those of the document.
    """
    kept: list[str] = []
    end = 0
    for block in code_blocks(text):
        kept += [_NOT_LINE_BREAK.sub(" ", text[end : block.start]), text[block.start : block.end]]
        end = block.end
    return "".join([*kept, _NOT_LINE_BREAK.sub(" ", text[end:])])


@lru_cache(maxsize=16)
def _line_starts(text: str) -> tuple[int, ...]:
    """Return the offset at which each line starts; only `\\n` ends a line, as in the grammar."""
    return (0, *(match.end() for match in re.finditer("\n", text)))


def _unreadable(path: str, code: str, message: str, note: str) -> SourceError:
    diagnostic = Diagnostic(code, Severity.ERROR, message, Label(Span(0, 0), ""), notes=(note,))
    return SourceError((diagnostic,), Source(path, ""))
