"""What stands between the tokens of a policy: comments, line breaks and blank lines. The syntax tree has none of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from bylaw.spec.lalr import Token

_PIECE = re.compile(r"#[^\n]*|\n|[^\s#]")


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment without the blanks at its end.

    `is_own_line` says that it begins its line, `follows_blank` that at least one empty line stands before it.
    """

    text: str
    is_own_line: bool
    follows_blank: bool


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands before a token: comments, then perhaps an empty line; `is_broken` where a line ends in it."""

    comments: tuple[Comment, ...] = ()
    ends_blank: bool = False
    is_broken: bool = False

    @property
    def has_blank(self) -> bool:
        """Whether an empty line stands anywhere in it."""
        return self.ends_blank or any(comment.follows_blank for comment in self.comments)


def gaps(text: str, tokens: Sequence[Token]) -> list[Gap]:
    """Return the gap before each token, and as the last one what stands behind all of them.

    A comment between an element and its comma is moved behind the comma, so that commas stay with their elements.

    Raises:
        ValueError: there is something else than white space and comments between two tokens.
    """
    starts = [*(token.start for token in tokens), len(text)]
    ends = [0, *(token.end for token in tokens)]
    found = [_gap(text[end:start], end == 0) for end, start in zip(ends, starts, strict=True)]
    for index, token in enumerate(tokens):
        if token.text == "," and found[index].comments:
            found[index + 1] = _joined(found[index], found[index + 1])
            found[index] = Gap()
    return found


def _gap(text: str, starts_file: bool) -> Gap:
    comments: list[Comment] = []
    lines = 1 if starts_file else 0  # a comment at the start of a file has its own line
    for match in _PIECE.finditer(text):
        if match[0] == "\n":
            lines += 1
        elif match[0].startswith("#"):
            comments.append(Comment(match[0].rstrip(), lines > 0, lines > 1))
            lines = 0
        else:
            raise ValueError(f"{match[0]!r} belongs to no token")
    return Gap(tuple(comments), lines > 1, "\n" in text)


def _joined(before: Gap, after: Gap) -> Gap:
    moved = tuple(replace(comment, is_own_line=True) for comment in after.comments)
    return Gap((*before.comments, *moved), after.ends_blank, True)


def comments_of(found: Sequence[Gap]) -> list[str]:
    """Return all comments, sorted, to compare two texts."""
    return sorted(comment.text for gap in found for comment in gap.comments)
