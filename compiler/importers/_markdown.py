"""A Markdown document as sections with anchors, fenced blocks and sentences that use a rule word.

Fences are read as `spec/source.py` reads them, so that a heading, or a policy block, inside one is not taken for one of
the document.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_FENCE = re.compile(r" {0,3}(?P<mark>`{3,}|~{3,})[ \t]*(?P<info>[^\s`]*)(?P<rest>[^\r\n]*)")
_HEADING = re.compile(r" {0,3}(?P<depth>#{1,6})[ \t]+(?P<title>[^\r\n]*)")
_AUTHORITY = re.compile(r"(?:^|\s)authority=[\"']?([^\s\"']+)")
_ASIDE = re.compile(r"!!!\s")
_RULE_WORD = re.compile(
    r"\b(must not|must never|must|should not|should never|shouldn't|should|shall|never|cannot|may not|may|need not|"
    r"always)\b",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?])(?:\[\^[^\[\]\s]+\])*[)\"*_”’]*\s+(?=[A-Z*\"“(\[])")
_FOOTNOTE = re.compile(r"\[\^[^\[\]\s]+\]")
_LINK = re.compile(r"\[([^\[\]]+)\]\(([^()\s]*)\)")


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence with a rule word, without Markdown; `word` is that word in lower case."""

    line: int
    text: str
    word: str

    @property
    def is_permission(self) -> bool:
        """Whether it allows something instead of asking for it."""
        return self.word in ("may", "need not")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: the line of its first fence, its info word, and its lines."""

    line: int
    info: str
    lines: tuple[str, ...]


@dataclass(slots=True)
class Section:
    """What stands under one heading, up to the next. `id` is None without an anchor; lines count from 1, `end` is the
    first line after it."""

    line: int
    depth: int
    title: str
    id: str | None
    authority: str | None
    end: int = 0
    blocks: list[Block] = field(default_factory=list)
    paragraphs: list[tuple[int, str]] = field(default_factory=list)
    asides: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Document:
    """The sections of a document in order; the first has line 0 and holds what stands before any heading.

    `open_fence` is the mark of a fence that is never closed, empty when there is none.
    """

    sections: tuple[Section, ...]
    open_fence: str


def read_document(text: str) -> Document:
    """The sections of a Markdown text. Any text has some."""
    sections = [Section(0, 0, "", None, None)]
    fence, info, start = "", "", 0
    inside: list[str] = []
    is_aside = False
    for line, content in enumerate(text.split("\n"), 1):
        content = content.removesuffix("\r")
        match = _FENCE.match(content)
        if fence:
            if match and match["mark"].startswith(fence) and not match["info"] and not match["rest"].strip():
                sections[-1].blocks.append(Block(start, info, tuple(inside)))
                fence, inside = "", []
            else:
                inside.append(content)
            continue
        if match:
            fence, info, start = match["mark"], match["info"], line
            continue
        heading = _HEADING.match(content)
        if heading:
            sections[-1].end = line
            sections.append(_section(line, heading))
            is_aside = False
        elif _ASIDE.match(content):
            sections[-1].asides.append(line)
            is_aside = True
        elif content.strip() and not (is_aside and content.startswith((" ", "\t"))):
            is_aside = False
            sections[-1].paragraphs.append((line, content.strip()))
    sections[-1].end = text.count("\n") + 2
    return Document(tuple(sections), fence)


def _section(line: int, heading: re.Match[str]) -> Section:
    """The section of a heading, whose title may end with `{#anchor name=value}`."""
    depth, title = len(heading["depth"]), heading["title"].strip()
    closed = title.rstrip(" \t#")
    start = closed.rfind("{#")
    words = closed[start + 2 : -1].split()
    if start < 0 or not closed.endswith("}") or not words or "{" in closed[start + 1 :] or "}" in closed[start:-1]:
        return Section(line, depth, title, None, None)
    authority = _AUTHORITY.search(" ".join(words[1:]))
    return Section(line, depth, closed[:start].rstrip(), words[0], authority[1].lower() if authority else None)


def sentences(section: Section, titles: dict[str, str]) -> list[Sentence]:
    """The sentences of a section that use a rule word; `titles` are those of all anchors, for links without a text."""
    found = []
    for line, paragraph in section.paragraphs:
        for text in _SENTENCE_END.split(paragraph):
            word = _RULE_WORD.search(text)
            if word:
                found.append(Sentence(line, plain(text, titles), " ".join(word[0].lower().split())))
    return found


def plain(text: str, titles: dict[str, str]) -> str:
    """A text without footnotes, links, emphasis and list marks."""

    def shown(link: re.Match[str]) -> str:
        return f'"{titles.get(link[2][1:], link[2])}"' if link[1] == "?" else link[1]

    bare = _LINK.sub(shown, _FOOTNOTE.sub("", text))
    return re.sub(r"^(?:[-*+]|[0-9]+[.)])\s+", "", bare).replace("**", "").replace("*", "").strip()
