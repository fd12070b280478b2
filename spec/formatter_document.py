"""Documents: text with places where a line may end, and the renderer that decides which of them do.

A group is laid out on one line where it fits and contains nothing that must stand on a line of its own; otherwise each
of its own line ends becomes a line break, and the groups inside it are decided in turn. The idea is Oppen's
("Prettyprinting", 1980); one walk with a stack, no recursion over the text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from bylaw.spec.errors import display_width

STEP = 2
WIDTH = 100


@dataclass(frozen=True, slots=True)
class Line:
    """A place where a line may end; `flat` stands there where it does not."""

    flat: str = " "


@dataclass(frozen=True, slots=True)
class Break:
    """A line ends here, always; with `blank` an empty line follows."""

    blank: bool = False


@dataclass(frozen=True, slots=True)
class Remark:
    """A comment; a `Break` follows wherever more text does, so its width counts for nothing."""

    text: str


@dataclass(frozen=True, slots=True)
class Block:
    """A text over several lines that is kept as it is.

    With `column`, the one at which it stood, its further lines move with its first line as far as they have blanks.
    """

    text: str
    column: int | None = None


@dataclass(frozen=True, slots=True)
class WhenBroken:
    """Text that stands only where the group around it is broken."""

    text: str


@dataclass(frozen=True, slots=True)
class Indent:
    """Line ends inside stand one step further right."""

    inner: Document
    is_forced: bool


@dataclass(frozen=True, slots=True)
class Group:
    """On one line, or broken at each of its own line ends."""

    inner: Document
    is_forced: bool


Document: TypeAlias = str | Line | Break | Remark | Block | WhenBroken | Indent | Group | tuple["Document", ...]
_Task: TypeAlias = tuple[int, bool, Document]


def group(*parts: Document, forced: bool = False) -> Group:
    """Return a group; what must break inside breaks it too."""
    return Group(parts, forced or is_forced(parts))


def indent(*parts: Document) -> Indent:
    """Return parts whose line ends stand one step further right."""
    return Indent(parts, is_forced(parts))


def is_forced(document: Document) -> bool:
    """Whether a line must end inside."""
    if isinstance(document, tuple):
        return any(map(is_forced, document))
    if isinstance(document, Group | Indent):
        return document.is_forced
    return isinstance(document, Break | Remark)


def render(document: Document, margin: int = 0, newline: str = "\n") -> str:
    """Return the text of a document whose first line starts at column `margin`, which is not written."""
    out: list[str] = []
    column = margin
    stack: list[_Task] = [(margin, False, document)]
    while stack:
        level, flat, current = stack.pop()
        match current:
            case str() | Remark():
                text = current if isinstance(current, str) else current.text
                out.append(text)
                column += display_width(text)
            case tuple():
                stack.extend((level, flat, part) for part in reversed(current))
            case Indent():
                stack.append((level + STEP, flat, current.inner))
            case Group():
                task = (level, not current.is_forced, current.inner)
                fits = flat or (task[1] and _fits(task, stack, WIDTH - column))
                stack.append((level, fits, current.inner))
            case Line() if flat:
                out.append(current.flat)
                column += len(current.flat)
            case Line() | Break():
                blank = newline if isinstance(current, Break) and current.blank else ""
                out.append(f"{blank}{newline}{' ' * level}")
                column = level
            case Block():
                text = _shifted(current, column)
                out.append(text)
                column = display_width(text.rpartition("\n")[2])
            case WhenBroken():
                out.append("" if flat else current.text)
    return "".join(out)


def _fits(task: _Task, stack: list[_Task], room: int) -> bool:
    """Whether a task, and what follows it up to the next line end, fits into `room` columns."""
    rest = len(stack)
    waiting = [task]
    while room >= 0:
        if not waiting:
            if rest == 0:
                return True
            rest -= 1
            waiting.append(stack[rest])
        level, flat, current = waiting.pop()
        match current:
            case str():
                room -= display_width(current)
            case tuple():
                waiting.extend((level, flat, part) for part in reversed(current))
            case Indent() | Group():
                waiting.append((level, flat and not current.is_forced, current.inner))
            case Line() if flat:
                room -= len(current.flat)
            case Line() | Break() | Remark():
                return True
            case Block():
                return display_width(current.text.partition("\n")[0]) <= room
            case WhenBroken():
                room -= 0 if flat else len(current.text)
    return False


def _shifted(block: Block, column: int) -> str:
    if block.column is None or block.column == column:
        return block.text
    first, *lines = block.text.split("\n")
    return "\n".join([first, *(_moved(line, column - block.column) for line in lines)])


def _moved(line: str, by: int) -> str:
    blanks = len(line) - len(line.lstrip(" "))
    return line if line[blanks:].isspace() or blanks == len(line) else " " * max(blanks + by, 0) + line[blanks:]
