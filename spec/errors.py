"""What the spec layer says when something is wrong: `Diagnostic`, its rendering, and the exceptions that carry it.

Codes are stable and never reused: P0xx syntax, P1xx names, P2xx rule words and weights, P3xx authority, P4xx analysis,
P5xx examples, P6xx style, P7xx enforcement on a model.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # source.py raises SourceError, so it is the one that imports
    from bylaw.spec.source import Location, Source, Span

CODES: Mapping[str, str] = MappingProxyType(
    {
        "P001": "a text stands in curly or single quotes",
        "P002": "a text is not closed",
        "P003": "a brace is never closed, or closes nothing",
        "P004": "a sentence of a rule states a fact instead of a norm",
        "P005": "something else was expected here",
        "P006": "a file is too large or nested too deeply",
        "P007": "a word of the language is used as a name",
        "P008": "a character has no meaning here, or is invisible",
        "P009": "a file cannot be read as UTF-8 text",
        "P010": "a part that may appear once appears twice",
        "P011": "a number has too many digits",
        "P012": "an escape in a text is unknown",
        "P013": "a pattern flag is unknown or repeated",
        "P014": "a declared name has dots",
        "P101": "a name stands for nothing",
        "P102": "something cannot be counted",
        "P103": "a text cannot be called this",
        "P104": "a name is declared twice",
        "P105": "something of another kind was expected",
        "P106": "a level is not declared",
        "P107": "a pattern cannot be used",
        "P109": "a definition uses itself",
        "P110": "a definition gets the wrong arguments",
        "P111": "the edition is unknown",
        "P112": "the value of a parameter is not among those it allows",
        "P113": "an import is not found",
        "P114": "imports go round in a circle",
        "P115": "an imported file is not sound",
        "P116": "an imported file has another version",
        "P117": "the file of a lexicon cannot be used",
        "P118": "a rule cannot be applied like this",
        "P119": "a suite of prompts cannot be used",
        "P120": "an event of a conversation is used where it has no meaning",
        "P121": "a concept contradicts itself, or is used as something else",
        "P122": "a function gets the wrong arguments, or its value is used as something else",
        "P123": "a part of a text is used where it has no meaning",
        "P201": "`may not` can be read two ways",
        "P202": "a word is not one of the six rule words",
        "P203": "a negative rule word before `and` can be read two ways",
        "P204": "a rule that cannot be traded off has a weight",
        "P205": "a rule asks for nothing",
        "P206": "a rule does not depend on the response",
        "P207": "a weight is not a positive number",
        "P208": "the bound of a limit makes no sense",
        "P209": "the price of a limit makes no sense",
        "P210": "a limit says `where` of something that no answer changes",
        "P301": "a permission is given without authority",
        "P302": "a permission lifts nothing",
        "P303": "exceptions or overrides go round in a circle",
        "P304": "a rule that is not waivable is lifted",
        "P306": "an action on violation is unknown",
        "P307": "a rule is waivable and not waivable",
        "P308": "an exception holds more than where a rule does not count",
        "P309": "a permission makes room in a rule that is not in its words",
        "P401": "hard rules can never hold together",
        "P402": "whether hard rules can hold together was not decided",
        "P403": "a rule gives way to a stronger one",
        "P404": "square brackets hold a word where they mean single characters",
        "P405": "an anchor of a pattern belongs to one alternative only",
        "P406": "a dot of a pattern that looks like a domain stands for any character",
        "P407": "an alternative of a pattern is empty, or the pattern is found in every text",
        "P408": "a part of a pattern changes nothing",
        "P409": "another rule already asks for all that a rule asks for",
        "P410": "two rules say the same",
        "P411": "a condition is never true, or always",
        "P412": "an exception or a permission is never reached",
        "P413": "hard rules decide what a limit is about",
        "P414": "limits cannot be met together",
        "P415": "a suite is too small for the confidence that is asked of it",
        "P416": "a weight never matters between the examples of its rule",
        "P418": "every answer obeys a rule",
        "P419": "rules contradict each other for some values of a parameter",
        "P420": "a range of characters holds more than the letters that it names",
        "P421": "a limit about some answers can be met by giving fewer of them",
        "P422": "what a rule pays has no upper limit",
        "P501": "an example is not what it says",
        "P502": "an example cannot be decided",
        "P503": "an example does not end with what the assistant says or does",
        "P504": "a test does not come out as it says",
        "P505": "a fact is given that no rule asks for",
        "P506": "examples contradict each other",
        "P507": "no example and no test shows a rule",
        "P601": "a file has no rules",
        "P602": "a text that is looked for has a blank at an end",
        "P603": "a word is written with letters of two scripts that look alike",
        "P604": "an entry of a list stands there twice",
        "P605": "something is declared and no rule uses it",
        "P606": "two names look alike",
        "P611": "a comment that silences a warning is not complete",
        "P612": "a comment silences nothing",
        "P613": "something is used that its author advises against",
        "P614": "the authority of a heading does not fit the rules below it",
        "P615": "two things of a document have the same anchor",
        "P701": "a rule cannot be enforced on a prompt",
        "P702": "no text obeys the hard rules of a prompt",
        "P703": "the model cannot meet a budget",
    }
)

PROVED: frozenset[str] = frozenset(
    (
        *("P409", "P410", "P411", "P412", "P413", "P414", "P415", "P416", "P418", "P419", "P421"),
        *("P422", "P506", "P507", "P606"),
    )
)
"""Codes that are found only where the analyses are asked for (compiler/proofs)."""


class Severity(StrEnum):
    """How bad a diagnostic is; any error keeps the policy from being loaded."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Label:
    """A mark under a stretch of source text, with a few words beside it (or none)."""

    span: Span
    message: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """A proposed edit: put `replacement` in place of `span`.

    `safe` says that the edit cannot change what a person already meant. A fix without a span is advice only.
    """

    description: str
    span: Span | None = None
    replacement: str = ""
    safe: bool = False


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One message about one place of a policy."""

    code: str
    severity: Severity
    message: str
    primary: Label
    secondary: tuple[Label, ...] = ()
    notes: tuple[str, ...] = ()
    fix: Fix | None = None

    @property
    def is_error(self) -> bool:
        """Whether this keeps the policy from being loaded."""
        return self.severity is Severity.ERROR


class PolicyError(Exception):
    """Root of everything the spec layer raises.

    PolicyError
    ├── SourceError          a file cannot be read, is too large or is not UTF-8 (Source.read)
    └── PolicySyntaxError    a text does not parse (ParseResult.require)
    """

    def __init__(self, diagnostics: Sequence[Diagnostic], source: Source) -> None:
        """Carry the diagnostics and the source they point into."""
        self.diagnostics = tuple(diagnostics)
        self.source = source
        super().__init__("\n".join(render(diagnostic, source) for diagnostic in self.diagnostics))


class SourceError(PolicyError):
    """A file cannot be read, is too large or is not UTF-8."""


class PolicySyntaxError(PolicyError):
    """A text does not parse."""


_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_BLUE = "\x1b[1;34m"
_COLOURS: Mapping[Severity, str] = MappingProxyType(
    {Severity.ERROR: "\x1b[1;31m", Severity.WARNING: "\x1b[1;33m", Severity.NOTE: "\x1b[1;36m"}
)
_TAB_WIDTH = 4
_LONGEST_LINE = 240
"""Characters of a line that are shown."""
_BEFORE_MARK = 40


def render(diagnostic: Diagnostic, source: Source, colour: bool = False) -> str:
    """Return a diagnostic as text for people: header, marked source lines, notes and fix; ends with a line break.

    Control and invisible characters of the source are shown escaped, tabs as spaces; marks allow for wide characters.
    """
    paint = _Painter(colour)
    head = paint(f"{diagnostic.severity}[{diagnostic.code}]", _COLOURS[diagnostic.severity])
    out = [f"{head}{paint(': ' + visible(diagnostic.message), _BOLD)}"]
    files = _marked_files(diagnostic, source)
    width = max(len(str(max(lines, default=1))) for _, lines in files)
    for number, (file, lines) in enumerate(files):
        marked = diagnostic.primary.span.start if number == 0 else _first_mark(lines)
        line, column = file.position(marked)
        arrow = "-->" if number == 0 else ":::"
        out.append(f"{' ' * width}{paint(arrow, _BLUE)} {visible(file.path)}:{line}:{column}")
        if file.text:
            out.append(paint(f"{' ' * width} |", _BLUE))
            out.extend(_excerpt(lines, file, width, diagnostic.severity, paint))
    for note in diagnostic.notes:
        out.append(f"{' ' * width} {paint('= note:', _BLUE)} {visible(note)}")
    if diagnostic.fix:
        mark = "   [safe to apply]" if diagnostic.fix.safe else ""
        out.append(f"{' ' * width} {paint('= fix:', _BLUE)} {visible(diagnostic.fix.description)}{mark}")
    return "\n".join(out) + "\n"


def to_json(diagnostic: Diagnostic, source: Source) -> dict[str, Any]:
    """Return a diagnostic as plain data: the same facts as `render`, spans as offsets and as lines and columns."""
    fix = diagnostic.fix
    return {
        "code": diagnostic.code,
        "severity": str(diagnostic.severity),
        "message": diagnostic.message,
        "path": place(source, diagnostic.primary.span)[0],
        "primary": _label_json(diagnostic.primary, source),
        "secondary": [_label_json(label, source) for label in diagnostic.secondary],
        "notes": list(diagnostic.notes),
        "fix": None
        if fix is None
        else {
            "description": fix.description,
            "span": None if fix.span is None else _span_json(fix.span, source),
            "replacement": None if fix.span is None else fix.replacement,
            "safe": fix.safe,
        },
    }


def place(source: Source, span: Span) -> tuple[str, Location]:
    """Return the path of the file that a span lies in, and its lines and columns there."""
    file = source.file_at(span.start)
    return file.path, file.location(span)


def visible(text: str) -> str:
    """Return text with control, format and unassigned characters written as escapes, so that nothing is hidden."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible_character(character) for character in text)


def display_width(text: str) -> int:
    """Return how many columns a terminal gives to a text that `visible` has treated."""
    if text.isascii():
        return len(text)
    return sum(_character_width(character) for character in text)


def _visible_character(character: str) -> str:
    # Joiners make up ordinary words and emoji; every other format character can hide or reorder text.
    if character in "\u200c\u200d" or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Cn", "Zl", "Zp"):
        return character
    return f"\\u{{{ord(character):04x}}}"


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _expand(text: str) -> str:
    """Return a piece of a source line as it is printed: tabs as spaces, hidden characters escaped."""
    return visible(text.replace("\t", " " * _TAB_WIDTH))


class _Painter:
    """Wraps text in an escape sequence, or returns it as it is when colour is off."""

    def __init__(self, colour: bool) -> None:
        self._colour = colour

    def __call__(self, text: str, style: str) -> str:
        return f"{style}{text}{_RESET}" if self._colour else text


_Marked = dict[int, list[tuple[Label, bool]]]
"""The labels by the line they start on, in the order of the text; the flag tells the primary one."""


def _marked_files(diagnostic: Diagnostic, source: Source) -> list[tuple[Source, _Marked]]:
    """Return the labels by file, the file of the primary one first, then in the order of the files."""
    labels = [(diagnostic.primary, True), *((label, False) for label in diagnostic.secondary)]
    labels.sort(key=lambda pair: pair[0].span.start)
    first = source.file_at(diagnostic.primary.span.start)
    files: dict[int, tuple[Source, _Marked]] = {first.start: (first, {})}
    for label, is_primary in labels:
        file = source.file_at(label.span.start)
        line, _ = file.position(label.span.start)
        files.setdefault(file.start, (file, {}))[1].setdefault(line, []).append((label, is_primary))
    return list(files.values())


def _first_mark(lines: _Marked) -> int:
    return min(label.span.start for labels in lines.values() for label, _ in labels)


def _excerpt(lines: _Marked, source: Source, width: int, severity: Severity, paint: _Painter) -> list[str]:
    """Return the marked source lines; a gap between two of them is shown as `...`."""
    out: list[str] = []
    previous = 0
    for line in sorted(lines):
        if previous and line > previous + 1:
            out.append(paint(" ...", _BLUE))
        previous = line
        own, whole = source.line_span(line), _window(lines[line], source, line)
        before, after = "..." if whole.start > own.start else "", "..." if whole.end < own.end else ""
        shown = source.line_text(line)[whole.start - own.start : whole.end - own.start]
        text = f"{before}{_expand(shown).rstrip()}{after}"
        out.append(f"{paint(f'{line:>{width}} |', _BLUE)} {text}")
        for label, is_primary in lines[line]:
            style = _COLOURS[severity] if is_primary else _BLUE
            marks = " " * len(before) + _marks(label, is_primary, source, whole)
            out.append(f"{paint(' ' * width + ' |', _BLUE)} {paint(marks, style)}")
    return out


def _window(marks: list[tuple[Label, bool]], source: Source, line: int) -> Span:
    """The part of a line that is shown: all of it, unless it is very long; then what stands around the first mark."""
    whole = source.line_span(line)
    if whole.end - whole.start <= _LONGEST_LINE:
        return whole
    first = min(max(label.span.start, whole.start) for label, _ in marks)
    start = max(min(first - _BEFORE_MARK, whole.end - _LONGEST_LINE), whole.start)
    return replace(whole, start=start, end=min(start + _LONGEST_LINE, whole.end))


def _marks(label: Label, is_primary: bool, source: Source, whole: Span) -> str:
    """Return the carets (or dashes) below a line and the words beside them; a longer span ends with what is shown."""
    start = max(min(label.span.start, whole.end), whole.start)
    end = max(min(label.span.end, whole.end), start)
    before = display_width(_expand(source.text[whole.start : start]))
    length = max(display_width(_expand(source.text[start:end])), 1)
    words = f" {visible(label.message)}" if label.message else ""
    return " " * before + ("^" if is_primary else "-") * length + words


def _span_json(span: Span, source: Source) -> dict[str, int]:
    _, location = place(source, span)
    return {
        "start": span.start,
        "end": span.end,
        "line": location.line,
        "column": location.column,
        "end_line": location.end_line,
        "end_column": location.end_column,
    }


def _label_json(label: Label, source: Source) -> dict[str, Any]:
    return {"message": label.message, **_span_json(label.span, source)}
