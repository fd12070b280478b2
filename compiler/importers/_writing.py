"""Writes parts of policies from texts that nobody has looked at: whatever they hold, they stay inside their quotes."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bylaw.compiler.importers.interface import ImportFailure
from bylaw.spec import ast
from bylaw.spec.chunks import DECLARATION_WORDS, HIDDEN
from bylaw.spec.formatter import format_text
from bylaw.spec.pattern import PatternError, parse_pattern
from bylaw.spec.printer_terms import number as printed_number
from bylaw.spec.printer_terms import quoted as printed_text
from bylaw.spec.scope import FACT_ROOTS, SUBJECTS
from bylaw.spec.source import MAXIMUM_FILE_BYTES, Span
from bylaw.spec.transform import RESERVED_WORDS

_NOWHERE = Span(0, 0)
_TAKEN = frozenset((*RESERVED_WORDS, *DECLARATION_WORDS, *SUBJECTS, *FACT_ROOTS, "it"))
_PATTERN_START = re.compile(r"[*\s]")
_SPECIAL = re.compile(r"[\\^$.|?*+()\[\]{}]")


def quoted(text: str) -> str:
    """A text in double quotes on one line, for any text. Halves of surrogate pairs, no characters, become U+FFFD."""
    return printed_text(ast.Text(re.sub("[\ud800-\udfff]", "\ufffd", text), _NOWHERE))


def listed(texts: Iterable[str]) -> str:
    """A list of texts."""
    return f"[{', '.join(map(quoted, texts))}]"


def number(value: int | float) -> str:
    """A number without exponent, with its sign."""
    digits = printed_number(ast.Number(abs(value), False, _NOWHERE))
    return f"-{digits}" if value < 0 else digits


def prose(text: str) -> str:
    """A text on one line for a title or a reason: runs of white space become one blank."""
    return quoted(" ".join(text.split()))


def comment(text: str) -> str:
    """A comment line that holds a text, whatever is in it; characters that nobody sees become blanks."""
    return "# " + " ".join("".join(c if c.isprintable() else " " for c in text).split())


def pattern(source: str, flags: str = "") -> str:
    """A pattern between slashes.

    Raises:
        PatternError: it is not regular, or not a pattern.
    """
    written = _slashes_escaped(source)
    if _PATTERN_START.match(written):
        written = f"(?:{written})"
    parse_pattern(written, flags)
    return f"/{written}/{flags}"


def escaped(text: str) -> str:
    """The pattern source that finds exactly this text."""
    return _SPECIAL.sub(lambda found: "\\" + found[0], text)


def _slashes_escaped(source: str) -> str:
    """The same pattern without a bare slash, on one line, and with every character in it to be seen."""
    replaced = {"/": r"\/", "\n": r"\n", "\r": r"\r", "\t": r"\t"}
    out = []
    for pair in re.findall(r"\\.|.", source, re.DOTALL):
        last = pair[-1]
        if "\ud800" <= last <= "\udfff":
            raise PatternError("half of a surrogate pair is not a character", 0, len(source))
        written = replaced.get(last, f"\\x{{{ord(last):x}}}" if HIDDEN.match(last) else None)
        out.append(pair if written is None else written)
    return "".join(out)


def identifier(text: str, fallback: str) -> str:
    """A name made of a text: letters, digits and underscores of ASCII, and no word of the language."""
    name = re.sub(r"[^A-Za-z0-9_]+", "_", text).strip("_")[:80] or fallback
    if name[0].isdigit():
        name = f"{fallback}_{name}"
    return f"{name}_{fallback}" if name in _TAKEN else name


def unused(name: str, taken: set[str]) -> str:
    """The name, or the name with the first number that makes it new; `taken` gets it."""
    found, count = name, 1
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    taken.add(found)
    return found


def policy_name(text: str) -> str:
    """The name of a policy, made of the stem of a file name: parts between dots are names."""
    parts = [identifier(part, "p") for part in text.split(".") if part]
    return ".".join(parts) or "imported"


def header(name: str) -> str:
    """The first line of a policy."""
    return f'policy {policy_name(name)} version "0.1.0" edition 1'


def laid_out(text: str, suffix: str) -> str:
    """The text of a policy in the one layout.

    Raises:
        ImportFailure: it would be too large for a policy.
    """
    if len(text.encode()) <= MAXIMUM_FILE_BYTES:
        text = format_text(f"imported{suffix}", text)
    if len(text.encode()) > MAXIMUM_FILE_BYTES:
        raise ImportFailure("", f"the policy would have more than {MAXIMUM_FILE_BYTES:,} bytes; split the input")
    return text


__all__ = [
    "PatternError",
    "comment",
    "escaped",
    "header",
    "identifier",
    "laid_out",
    "listed",
    "number",
    "pattern",
    "policy_name",
    "prose",
    "quoted",
    "unused",
]
