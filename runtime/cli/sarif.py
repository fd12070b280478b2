"""What a check found in the format SARIF 2.1.0 (OASIS Standard), which code hosts and editors read.

Columns count Unicode characters, which `columnKind` declares: without it they would count UTF-16 units.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bylaw
from bylaw.runtime.cli.formats import Checked, message
from bylaw.spec.errors import CODES, Diagnostic, Fix, Label, Severity, place
from bylaw.spec.pages import NoPage, page
from bylaw.spec.source import Source, Span

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def as_sarif(files: Sequence[Checked]) -> str:
    """Return what was found in some files as one SARIF log with one run."""
    codes = sorted({diagnostic.code for file in files for diagnostic in file.diagnostics})
    seen: Counter[str] = Counter()
    run = {
        "tool": {
            "driver": {
                "name": "bylaw",
                "semanticVersion": bylaw.__version__,
                "rules": [_rule(code, files) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": all(file.is_readable for file in files)}],
        "artifacts": [{"location": {"uri": _uri(path)}} for path in _paths(files)],
        "results": [
            _result(diagnostic, file.source, codes.index(diagnostic.code), seen)
            for file in files
            for diagnostic in file.diagnostics
        ],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, ensure_ascii=False, indent=2)


def _paths(files: Sequence[Checked]) -> list[str]:
    """Return the files that were checked, and those they import that something is said of, each once."""
    paths = [file.path for file in files]
    for file in files:
        for each in file.diagnostics:
            paths += [place(file.source, label.span)[0] for label in (each.primary, *each.secondary)]
    return list(dict.fromkeys(paths))


def _rule(code: str, files: Iterable[Checked]) -> dict[str, Any]:
    """Return what is said of a code in general, with its page as help."""
    severity = next(each.severity for file in files for each in file.diagnostics if each.code == code)
    title = CODES.get(code, code)
    rule: dict[str, Any] = {
        "id": code,
        "shortDescription": {"text": title},
        "defaultConfiguration": {"level": _LEVELS[severity]},
    }
    try:
        found = page(code)
    except NoPage:
        return rule
    rule["fullDescription"] = {"text": found.meaning}
    rule["help"] = {"text": found.as_text(), "markdown": found.markdown}
    return rule


def _result(diagnostic: Diagnostic, source: Source, number: int, seen: Counter[str]) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": number,
        "level": _LEVELS[diagnostic.severity],
        "message": {"text": message(diagnostic)},
        "locations": [{"physicalLocation": _physical(diagnostic.primary.span, source)}],
        "partialFingerprints": {"bylawFinding/v1": _fingerprint(diagnostic, source, seen)},
    }
    if diagnostic.secondary:
        result["relatedLocations"] = [
            _related(label, source, order) for order, label in enumerate(diagnostic.secondary, 1)
        ]
    if diagnostic.fix is not None and diagnostic.fix.span is not None:
        result["fixes"] = [_fix(diagnostic.fix, diagnostic.fix.span, source)]
    return result


def _physical(span: Span, source: Source) -> dict[str, Any]:
    path = place(source, span)[0]
    return {"artifactLocation": {"uri": _uri(path)}, "region": _region(span, source)}


def _region(span: Span, source: Source) -> dict[str, int]:
    """Return a region; the end column is the first one that does not belong to it, here as in SARIF."""
    _, location = place(source, span)
    return {
        "startLine": location.line,
        "startColumn": location.column,
        "endLine": location.end_line,
        "endColumn": location.end_column,
    }


def _related(label: Label, source: Source, number: int) -> dict[str, Any]:
    located = {"id": number, "physicalLocation": _physical(label.span, source)}
    return located | ({"message": {"text": label.message}} if label.message else {})


def _fix(fix: Fix, span: Span, source: Source) -> dict[str, Any]:
    replacement: dict[str, Any] = {"deletedRegion": _region(span, source)}
    if fix.replacement:
        replacement["insertedContent"] = {"text": fix.replacement}
    change = {"artifactLocation": {"uri": _uri(place(source, span)[0])}, "replacements": [replacement]}
    return {"description": {"text": fix.description}, "artifactChanges": [change]}


def _fingerprint(diagnostic: Diagnostic, source: Source, seen: Counter[str]) -> str:
    """Return what stays the same when lines are added elsewhere: file, code, message and the line's own text."""
    file = source.file_at(diagnostic.primary.span.start)
    line = file.line_text(file.position(diagnostic.primary.span.start)[0]).strip()
    said = "\0".join((file.path, diagnostic.code, diagnostic.message, line))
    seen[said] += 1
    return hashlib.sha256(f"{said}\0{seen[said]}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _uri(path: str) -> str:
    """Return a path as a URI: absolute paths with `file:`, others relative to where bylaw was started."""
    given = Path(path)
    return given.as_uri() if given.is_absolute() else quote(given.as_posix(), errors="surrogateescape")
