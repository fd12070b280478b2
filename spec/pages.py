"""The pages about codes: `codes/P203.md` says what a message means, what to avoid and what to write instead.

A page begins with `# P203: ` and the words of `CODES`, then says in prose what the code means; `## Avoid` holds a
fenced policy that gives the code and `## Prefer` one that gives nothing, where a file can show it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from bylaw.spec.errors import CODES

FOLDER = Path(__file__).parent / "codes"
GROUPS: Mapping[str, str] = MappingProxyType(
    {
        "P0": "Writing",
        "P1": "Names and types",
        "P2": "Rule words, weights and limits",
        "P3": "Authority and exceptions",
        "P4": "Rules against each other, and patterns",
        "P5": "Examples and tests",
        "P6": "Style and comments",
        "P7": "Enforcement on a model",
    }
)
_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(r"^## (?P<title>.+)\n", re.MULTILINE)


class NoPage(LookupError):
    """There is no such code, or no page for it; `suggestion` is the nearest code, or None."""

    def __init__(self, code: str, suggestion: str | None) -> None:
        """Name the code that was asked for."""
        super().__init__(f"there is no page about `{code}`")
        self.code, self.suggestion = code, suggestion


@dataclass(frozen=True, slots=True)
class Page:
    """The page of one code, as Markdown."""

    code: str
    markdown: str

    @property
    def title(self) -> str:
        """The first line, without the code."""
        return self.markdown.partition("\n")[0].partition(": ")[2]

    @property
    def meaning(self) -> str:
        """The prose between the title and the first section, on one line."""
        prose = _SECTION.split(self.markdown.partition("\n")[2])[0]
        return " ".join(_FENCE.sub("", prose).split())

    def section(self, title: str) -> str:
        """Return the text of a section, empty where there is none."""
        parts = _SECTION.split(self.markdown)
        return next((text for name, text in zip(parts[1::2], parts[2::2], strict=True) if name == title), "")

    def block(self, title: str) -> str | None:
        """Return the policy in the `Avoid` or `Prefer` section, None where there is none."""
        match = _FENCE.search(self.section(title))
        return None if match is None else match["text"]

    def as_text(self) -> str:
        """Return the page for a terminal: headings plain, policies indented."""
        text = _FENCE.sub(lambda match: _indented(match["text"]), self.markdown)
        text = re.sub(r"^# ", "", text, flags=re.MULTILINE)
        return _SECTION.sub(lambda match: f"{match['title']}\n", text).strip() + "\n"

    def as_data(self) -> dict[str, str | None]:
        """Return the page as plain data."""
        return {
            "code": self.code,
            "title": self.title,
            "meaning": self.meaning,
            "avoid": self.block("Avoid"),
            "prefer": self.block("Prefer"),
            "markdown": self.markdown,
        }


def page(code: str) -> Page:
    """Return the page of a code.

    Raises:
        NoPage: there is no such code.
    """
    if code in CODES:
        path = FOLDER / f"{code}.md"
        if path.is_file():
            return Page(code, path.read_text(encoding="utf-8"))
    raise NoPage(code, nearest(code))


def nearest(code: str) -> str | None:
    """Return the code that was probably meant."""
    begun = [each for each in CODES if each.startswith(code) and each != code] if code else []
    found = begun or difflib.get_close_matches(code, [each for each in CODES if each != code], n=1, cutoff=0.5)
    return found[0] if found else None


def by_group() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the title of each group that has codes, and its codes."""
    for prefix, title in GROUPS.items():
        codes = tuple(code for code in CODES if code.startswith(prefix))
        if codes:
            yield title, codes


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.rstrip("\n").split("\n"))
