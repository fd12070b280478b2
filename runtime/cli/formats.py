"""What a check found, as other programs read it: JSON, workflow commands of GitHub, JUnit; SARIF is in `sarif.py`.

Each function returns the whole output. Places are lines and columns from 1, columns in characters.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from bylaw.spec.errors import Diagnostic, Severity, place, render, to_json, visible
from bylaw.spec.source import Source

if TYPE_CHECKING:
    from bylaw.compiler.proofs.interface import Undecided

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


@dataclass(frozen=True, slots=True)
class Checked:
    """One file that was checked: the path as it was given, what was found, and whether it could be read at all.

    `undecided` are the questions that proofs left open.
    """

    path: str
    source: Source
    diagnostics: tuple[Diagnostic, ...]
    is_readable: bool = True
    undecided: tuple[Undecided, ...] = ()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a test case failed: a kind, one line, and all there is to say."""

    kind: str
    message: str
    details: str


@dataclass(frozen=True, slots=True)
class Case:
    """One test case: passed without failures. `errors` are for what could not be tried; `output` is for people."""

    group: str
    name: str
    failures: tuple[Failure, ...] = ()
    errors: tuple[Failure, ...] = ()
    output: str = ""


def as_json(files: Iterable[Checked], is_ok: bool) -> str:
    """Return what was found as one JSON object."""
    listed = tuple(files)
    found = [to_json(diagnostic, file.source) for file in listed for diagnostic in file.diagnostics]
    left = [{"path": file.path, **asdict(each)} for file in listed for each in file.undecided]
    return json.dumps({"ok": is_ok, "diagnostics": found, "undecided": left}, ensure_ascii=False, indent=2)


# ----------------------------------------------------------------------------------------------------------- GitHub
def as_github(files: Iterable[Checked]) -> str:
    """Return one workflow command a diagnostic, which GitHub shows beside the line of a change."""
    return "\n".join(_command(diagnostic, file.source) for file in files for diagnostic in file.diagnostics)


def _command(diagnostic: Diagnostic, source: Source) -> str:
    path, location = place(source, diagnostic.primary.span)
    properties = {"file": path, "line": location.line, "endLine": location.end_line}
    if location.line == location.end_line:  # columns are for marks within one line
        properties |= {"col": location.column, "endColumn": max(location.end_column, location.column + 1)}
    properties["title"] = diagnostic.code
    listed = ",".join(f"{name}={_property(str(value))}" for name, value in properties.items())
    return f"::{_COMMANDS[diagnostic.severity]} {listed}::{_data(message(diagnostic))}"


def message(diagnostic: Diagnostic) -> str:
    """Return all that a diagnostic says in words: the message, then one line each for mark, notes and fix."""
    lines = [diagnostic.message]
    lines += [diagnostic.primary.message] if diagnostic.primary.message else []
    lines += [f"note: {note}" for note in diagnostic.notes]
    lines += [f"fix: {diagnostic.fix.description}"] if diagnostic.fix else []
    return "\n".join(map(visible, lines))


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


# ------------------------------------------------------------------------------------------------------------ JUnit
def as_junit(files: Iterable[Checked]) -> str:
    """Return one test case a file, which fails once for each error; warnings and notes stand in its output."""
    return junit("bylaw check", [_case(file) for file in files])


def junit(name: str, cases: Sequence[Case]) -> str:
    """Return test cases as JUnit XML; characters that XML cannot hold are written as escapes."""
    from xml.etree.ElementTree import Element, SubElement, indent, tostring

    failed = sum(bool(case.failures) for case in cases)
    broken = sum(bool(case.errors) for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failed), "errors": str(broken)}
    name = _plain(name)
    root = Element("testsuites", {"name": name, **counts})
    suite = SubElement(root, "testsuite", {"name": name, **counts, "skipped": "0"})
    for case in cases:
        element = SubElement(suite, "testcase", {"classname": _plain(case.group), "name": _plain(case.name)})
        for tag, failures in (("failure", case.failures), ("error", case.errors)):
            for failure in failures:
                attributes = {"type": failure.kind, "message": _plain(failure.message)}
                SubElement(element, tag, attributes).text = _plain(failure.details)
        if case.output:
            SubElement(element, "system-out").text = _plain(case.output)
    indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(root, encoding="unicode")


def _case(file: Checked) -> Case:
    errors = tuple(_failure(each, file.source) for each in file.diagnostics if each.is_error)
    rest = "\n".join(render(each, file.source) for each in file.diagnostics if not each.is_error)
    if file.is_readable:
        return Case("bylaw.check", file.path, errors, (), rest)
    return Case("bylaw.check", file.path, (), errors, rest)


def _failure(diagnostic: Diagnostic, source: Source) -> Failure:
    return Failure(diagnostic.code, diagnostic.message, render(diagnostic, source))


def _plain(text: str) -> str:
    """Return a text without characters that XML forbids; line breaks stay."""
    return "\n".join(map(visible, text.split("\n")))
