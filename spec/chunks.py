"""Cuts a file into its declarations, so that each is parsed alone and one run finds the mistakes of all.

A new chunk starts at a line that begins with a declaration keyword (or `@`): at any indentation outside braces, and
inside open braces where it stands at the first column or no further right than the declaration before it, which then
lacks a closing brace. Texts, patterns and comments are skipped; what is wrong with them is reported on the way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from bylaw.spec.errors import Diagnostic, Fix, Label, Severity
from bylaw.spec.source import Source, Span

MAXIMUM_DEPTH = 100

_QUOTES = "\u201c-\u201f\u00ab\u00bb"
_SINGLE_QUOTES = "\u2018-\u201b'"
_LONG_TEXT = r'"""(?:[^\\"]++|\\.|"(?!""))*+(?P<long_end>""")?'
_TEXT = r'"(?:[^"\\\n]++|\\[^\n])*+(?P<text_end>")?'
_TRAP = (
    rf'[{_QUOTES}][^{_QUOTES}"\n]*+(?P<trap_end>[{_QUOTES}"])?'
    rf"|[{_SINGLE_QUOTES}][^{_SINGLE_QUOTES}\n]*+(?P<single_end>[{_SINGLE_QUOTES}])?"
)
_LINE = r"(?P<line>[ \t]*(?:[A-Za-z_][\w.]*|@))"
_PATTERN = r"|(?P<pattern>(?<![\w)\]])/(?![/*\s])(?:[^/\\\n]++|\\[^\n])++(?P<pattern_end>/[A-Za-z]*)?)"
_REST = (
    rf"(?P<long>{_LONG_TEXT})|(?P<text>{_TEXT})|(?P<trap>{_TRAP})|(?P<comment>#[^\n]*)"
    rf"|(?P<open>[{{(\[])|(?P<close>[}})\]])|\n{_LINE}|(?P<foreign>[^\x00-\x7f]+)"
)
_TOKEN = re.compile(_REST + _PATTERN, re.DOTALL)
_TOKEN_BUT_PATTERN = re.compile(_REST, re.DOTALL)
_FIRST_LINE = re.compile(_LINE)
# whatever a token above may start with, one class being found much faster than the alternatives: `"`, `#`, `'`, `/`,
# brackets, line feeds and all beyond ASCII, said by what it is not, because that compiles faster too
_START = re.compile(r"[^\x00-\t\x0b-!$-&*-.0-Z\\^-z|~\x7f]")
DECLARATION_WORDS = (
    *("policy", "import", "include", "levels", "param", "lexicon", "suite", "concept", "topic"),
    *("define", "rule", "exception", "apply", "examples", "test"),
)
_DECLARATION = re.compile(
    rf"(?:{'|'.join(DECLARATION_WORDS)})"
    r"[ \t\r\n]+(?!(?:must|should|may|need|is|are|has|and|or|contains?|mentions?|expresses)\b)[A-Za-z_\"'\u2018-\u201f]"
)
# Control, bidirectional and invisible characters; tab, line feed and the joiners of ordinary words stay.
HIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ud800-\udfff\ufff9-\ufffb\U000e0000-\U000e007f]|\r(?!\n)"
)
_NOTHING = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_MAXIMUM_HIDDEN = 10


@dataclass(frozen=True, slots=True)
class Chunk:
    """One declaration: `text[start:end]`, from its keyword to the next one's.

    `unclosed` holds the offsets of the braces still open at its end, outermost first; `suspect` is the offset of a
    brace that by the indentation ought to have been closed earlier, with the brace that closed it instead.
    `is_readable` is False where a text is not closed or a character means nothing: parsing would only add noise.
    """

    start: int
    end: int
    unclosed: tuple[int, ...]
    suspect: tuple[int, int] | None
    is_readable: bool


@dataclass(slots=True)
class _Scanner:
    """The state of one walk through a file."""

    source: Source
    diagnostics: list[Diagnostic] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    start: int = 0
    indentation: int = 0
    braces: list[int] = field(default_factory=list)
    inner: int = 0
    suspect: tuple[int, int] | None = None
    is_readable: bool = True
    is_complete: bool = False
    is_annotated: bool = False
    is_too_deep: bool = False

    def report(self, code: str, message: str, primary: Label, *notes: str, fix: Fix | None = None) -> None:
        self.diagnostics.append(Diagnostic(code, Severity.ERROR, message, primary, notes=notes, fix=fix))

    def cut(self, offset: int) -> None:
        """End the chunk at an offset and begin the next one there."""
        chunk = Chunk(self.start, offset, tuple(self.braces), self.suspect, self.is_readable)
        nothing = _NOTHING.match(self.source.text, self.start, offset)
        if nothing is None or nothing.end() < offset:
            self.chunks.append(chunk)
        self.start = offset
        self.braces.clear()
        self.inner, self.suspect = 0, None
        self.is_readable, self.is_complete, self.is_annotated, self.is_too_deep = True, False, False, False


def scan(source: Source) -> tuple[tuple[Chunk, ...], tuple[Diagnostic, ...]]:
    """Return the chunks of a file, and what is wrong with its texts, its characters and its depth."""
    text = source.text
    scanner = _Scanner(source, start=source.start)
    _report_hidden(scanner)
    offset = source.start
    no_pattern_before = 0
    if first := _FIRST_LINE.match(text, offset):
        _line(scanner, first)
        offset = first.end()
    while start := _START.search(text, offset):
        place = start.start()
        match = (_TOKEN if place >= no_pattern_before else _TOKEN_BUT_PATTERN).match(text, place)
        if match is None:
            offset = start.end()
            continue
        offset = match.end()
        kind = match.lastgroup
        if kind == "pattern" and match["pattern_end"] is None:
            # a lone slash is a division: the rest of its line is read again, once, without looking for patterns
            no_pattern_before, offset = match.end(), match.start() + 1
        elif kind in _STEPS:
            _STEPS[kind](scanner, match)
        elif kind in ("text", "long"):
            offset = _text(scanner, match)
    scanner.cut(len(text))
    return tuple(scanner.chunks), tuple(scanner.diagnostics)


def _line(scanner: _Scanner, match: re.Match[str]) -> None:
    """Decide whether a line's first word begins a chunk."""
    text = scanner.source.text
    start = match.start("line")
    word = match.end() - len(match["line"].lstrip(" \t"))
    column = word - start
    is_annotation = text[word] == "@"
    is_declaration = is_annotation or _DECLARATION.match(text, word) is not None
    if not is_declaration:
        if scanner.is_complete:
            scanner.cut(start)
            scanner.indentation = column
        return
    if scanner.braces and column > 0 and column > scanner.indentation:
        return
    if not scanner.is_annotated or scanner.braces or scanner.is_complete:
        scanner.cut(start)
    scanner.indentation = column
    scanner.is_annotated = is_annotation


def _open(scanner: _Scanner, match: re.Match[str]) -> None:
    if match[0] == "{":
        scanner.braces.append(match.start())
    else:
        scanner.inner += 1
    scanner.is_complete = False
    if len(scanner.braces) + scanner.inner > MAXIMUM_DEPTH and not scanner.is_too_deep:
        scanner.is_too_deep, scanner.is_readable = True, False
        label = Label(Span(match.start(), match.end()), f"level {MAXIMUM_DEPTH + 1} opens here")
        note = f"brackets may stand {MAXIMUM_DEPTH} deep; give a part a name with `define`"
        scanner.report("P006", "this is nested too deeply", label, note)


def _close(scanner: _Scanner, match: re.Match[str]) -> None:
    if match[0] != "}":
        scanner.inner = max(scanner.inner - 1, 0)
        return
    scanner.inner = 0
    if scanner.braces:
        opened = scanner.braces.pop()
        if scanner.suspect is None and _stands_left_of(scanner.source, match.start(), opened):
            scanner.suspect = (opened, match.start())
        scanner.is_complete = not scanner.braces
        return
    span = Span(match.start(), match.end())
    if scanner.is_readable:
        fix = Fix("delete this `}`", span, "")
        note = "a `{` is missing before it, or one `}` is too many"
        scanner.report("P003", "this `}` closes nothing", Label(span), note, fix=fix)
    scanner.is_readable = False


def _stands_left_of(source: Source, closing: int, opening: int) -> bool:
    """Whether a brace that begins its line stands further left than the line of the brace it closes."""
    closing_line = source.line_span(source.position(closing)[0])
    opening_line = source.line_span(source.position(opening)[0])
    if closing_line == opening_line or source.text[closing_line.start : closing].strip(" \t"):
        return False
    opening_text = source.slice(opening_line)
    return closing - closing_line.start < len(opening_text) - len(opening_text.lstrip(" \t"))


def _text(scanner: _Scanner, match: re.Match[str]) -> int:
    """Report a text that is not closed; return where to go on."""
    if match["text_end"] or match["long_end"]:
        return match.end()
    scanner.is_readable = False
    start = match.start()
    if match["long"] is not None:
        label = Label(Span(start, start + 3), "opened here")
        fix = Fix('close it with `"""`')
        scanner.report("P002", 'this text is never closed by `"""`', label, fix=fix)
        # what follows on the line is taken for the text, and the lines after it for the policy again
        end = scanner.source.text.find("\n", start)
        return len(scanner.source.text) if end < 0 else end
    curly = re.search(f"[{_QUOTES}]", match[0])
    if curly:
        span = Span(start, start + curly.end())
        is_single = re.search(f"[{_QUOTES}]", match[0][curly.end() :]) is None
        fix = Fix(f'{match[0][: curly.start()]}"', span, f'{match[0][: curly.start()]}"', safe=is_single)
        label = Label(Span(start + curly.start(), start + curly.end()), "this is a curly quote")
        scanner.report("P001", "text must be in straight double quotes", label, _QUOTE_NOTE, fix=fix)
        return match.end()
    note = "text that spans lines is written between triple quotes"
    label = Label(Span(start, start + 1), "opened here")
    fix = Fix('close it with `"` or use `"""`')
    scanner.report("P002", "this text is not closed on its line", label, note, fix=fix)
    swallowed = match[0].rstrip()
    for _ in range(min(len(swallowed) - len(swallowed.rstrip("}")), len(scanner.braces))):
        scanner.braces.pop()  # of a rule on one line the text has swallowed the end too
        scanner.is_complete = not scanner.braces
    return match.end()


_QUOTE_NOTE = "word processors replace quotes while you type"


_SHORTENED: Mapping[str, str] = MappingProxyType(
    {"mustn": "must not", "shouldn": "should not", "needn": "need not", "don": "must not", "doesn": "does not"}
)


def _shortened_word(scanner: _Scanner, match: re.Match[str]) -> bool:
    """Report `mustn't` and its like, whose apostrophe opens no text; whether this is one."""
    word = re.search(r"[A-Za-z]+\Z", scanner.source.text[: match.start()][-20:])
    if word is None or not re.match(r".t\b", match[0]):
        return False
    span = Span(match.start() - len(word[0]), match.start() + 2)
    meant = _SHORTENED.get(word[0].lower())
    fix = None if meant is None else Fix(f"write `{meant}`", span, meant)
    message = f"`{scanner.source.slice(span)}` is not one of the six rule words"
    note = "must, must not, should, should not, may, need not"
    scanner.report("P202", message, Label(span), note, fix=fix)
    scanner.is_readable = False
    return True


def _trap(scanner: _Scanner, match: re.Match[str]) -> None:
    """Report a text in curly or single quotes, or a rule word with an apostrophe."""
    if _shortened_word(scanner, match):
        return
    is_closed = bool(match["trap_end"] or match["single_end"])
    inner = match[0][1:-1] if is_closed else match[0][1:].rstrip()
    is_single = match[0][0] == "'"
    span = Span(match.start(), match.end() if is_closed else match.start() + 1 + len(inner))
    wanted = '"' + inner.replace("\\", "\\\\").replace('"', '\\"') + '"'
    note = "single quotes may stand inside a text, not around it" if is_single else _QUOTE_NOTE
    label = Label(span, "these are single quotes" if is_single else "these are curly quotes")
    # Where another single quote follows, the text may end there and this one be an apostrophe.
    rest = scanner.source.text[span.end :].split("\n", 1)[0]
    is_plain = is_closed and "\\" not in inner and not (is_single and "'" in rest)
    fix = Fix(wanted, span, wanted, safe=is_plain)
    scanner.report("P001", "text must be in straight double quotes", label, note, fix=fix)
    scanner.is_readable = scanner.is_readable and is_closed


def _foreign(scanner: _Scanner, match: re.Match[str]) -> None:
    """Report characters beyond ASCII outside texts, patterns and comments; hidden ones are reported already."""
    shown = HIDDEN.sub("", match[0])
    scanner.is_readable = False
    if not shown:
        return
    span = Span(match.start(), match.end())
    if not shown.strip():
        name = unicodedata.name(shown[0], "unusual space").lower()
        fix = Fix("write an ordinary blank", span, " " * len(match[0]), safe=True)
        scanner.report("P008", f"this white space is a {name}", Label(span), fix=fix)
        return
    note = "names are made of a-z, A-Z, 0-9 and `_`; any other text stands between double quotes"
    scanner.report("P008", f"`{shown}` has no meaning outside a text", Label(span), note)


def _report_hidden(scanner: _Scanner) -> None:
    """Report characters that cannot be seen, wherever they stand; they make a text read otherwise than it is."""
    for number, match in enumerate(HIDDEN.finditer(scanner.source.text, scanner.start)):
        if number == _MAXIMUM_HIDDEN:
            return
        span = Span(match.start(), match.end())
        code_point = ord(match[0])
        name = unicodedata.name(match[0], "a control character").lower()
        fix = Fix("delete it", span, "")
        message = f"an invisible character (U+{code_point:04X}, {name}) stands here"
        note = f"where a text needs it, write `\\u{{{code_point:04x}}}`"
        scanner.report("P008", message, Label(span), note, fix=fix)


_STEPS: Mapping[str | None, Callable[[_Scanner, re.Match[str]], None]] = MappingProxyType(
    {"open": _open, "close": _close, "line": _line, "trap": _trap, "foreign": _foreign}
)
