"""An audit in the format SARIF 2.1.0: one result a clause that is broken, not shown to be kept or open, at its line.

Columns count Unicode characters. Rules are those of the policy; the transcripts that broke one are related locations.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bylaw
from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.baseline import BaselineComparison, Status
from bylaw.runtime.cli.sarif import SCHEMA
from bylaw.runtime.record import AuditRecord, Finding, TermAudit, writable
from bylaw.runtime.report import figures
from bylaw.runtime.report.audit_outcome import STATES, State, outcome_of, state
from bylaw.runtime.report.audit_verdicts import Places
from bylaw.runtime.report.text import one_line
from bylaw.spec.source import Source

_LEVELS: dict[State, str] = {
    "broken": "error", "unshown": "error", "unknown": "warning", "weighed": "note", "kept": "none", "idle": "none",
}  # fmt: skip
_BASELINE: dict[Status, str] = {
    "new": "new", "worse": "updated", "not measured": "updated", "known": "unchanged", "unchanged": "unchanged",
    "better": "updated", "fixed": "absent", "added": "new",
}  # fmt: skip
_LINE = re.compile(r"(?P<file>.+):(?P<line>[1-9][0-9]{0,8})")
_EXCERPT = 160


def audit_sarif(
    record: AuditRecord, program: RewardProgram, policy: Source, comparison: BaselineComparison | None = None
) -> str:
    """One log with one run; the order of rules and results is that of the policy.

    Levels: `error` for what a gate does not let pass, `warning` for what cannot be told, `note` for rules that are
    weighed and were broken. With a baseline every result has its `baselineState`, and what is fixed is `absent`.
    """
    places = Places.of(program, policy).by_term
    changes = {} if comparison is None else {change.term: change for change in comparison.changes}
    results = []
    for number, term in enumerate(record.terms):
        change = changes.get(term.term)
        is_told = change is not None and change.status in ("fixed", "worse", "not measured")
        if _LEVELS[state(term, record)] == "none" and not is_told:
            continue
        result = _result(term, record, number, places[term.term])
        if change is not None:
            result["baselineState"] = _BASELINE[change.status]
            result["message"]["text"] += f" Since the baseline: {change.status}; {change.reason}."
        results.append(result)
    outcome = outcome_of(record)
    run = {
        "tool": {
            "driver": {
                "name": "bylaw",
                "semanticVersion": bylaw.__version__,
                "rules": [_rule(term) for term in record.terms],
            }
        },
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": record.complete}],
        "artifacts": [{"location": {"uri": uri}} for uri in _files(results)],
        "results": results,
        "properties": {
            "policyDigest": record.policy_digest,
            "transcripts": record.transcripts,
            "result": outcome.result,
            "headline": outcome.headline,
        },
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(writable(log), ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _rule(term: TermAudit) -> dict[str, Any]:
    level = "error" if term.kind == "hard" or term.bound is not None else "note"
    return {
        "id": term.term,
        "shortDescription": {"text": one_line(term.title or term.clause)},
        "fullDescription": {"text": one_line(term.clause)},
        "defaultConfiguration": {"level": level},
        "properties": {"kind": figures.kind(term), "level": term.level},
    }


def _result(term: TermAudit, record: AuditRecord, number: int, where: tuple[str, int, int, int, int]) -> dict[str, Any]:
    path, line, column, end_line, end_column = where
    level = _LEVELS[state(term, record)]
    result: dict[str, Any] = {
        "ruleId": term.term,
        "ruleIndex": number,
        "kind": "fail" if level != "none" else "open" if not term.applicable else "pass",
        "level": level,
        "message": {"text": _message(term, record)},
        "locations": [
            {
                "physicalLocation": {
                    "artifactLocation": {"uri": _uri(path)},
                    "region": {
                        "startLine": line, "startColumn": column, "endLine": end_line, "endColumn": end_column,
                    },
                }
            }
        ],
        "partialFingerprints": {"bylawAudit/v1": _fingerprint(term)},
        "properties": _figures(term, record),
    }  # fmt: skip
    if term.findings:
        result["relatedLocations"] = [_related(each, order) for order, each in enumerate(term.findings, 1)]
    return result


def _message(term: TermAudit, record: AuditRecord) -> str:
    """What was found, in a sentence; a code host shows it beside the line."""
    name = f"{figures.kind(term)} `{term.term}`".capitalize()
    if state(term, record) == "unshown":
        return one_line(f"{name} is {figures.NOT_SHOWN}: {figures.not_shown_words(term, record)}") + "."
    parts = [f"{name} is {dict(STATES)[state(term, record)]}: {figures.outcome(term)}"]
    if term.mean is None and term.applicable:
        parts.append(f" ({figures.broken(term)} answers)")
    if figures.outcome_interval(term) != figures.NOTHING:
        parts.append(f", 95% interval {figures.outcome_interval(term)}")
    if term.bound is not None:
        parts.append(f"; its limit is {figures.limit(term)}")
    if term.unscored:
        parts.append(f"; {figures.plural(term.unscored, 'answer')} could not be scored")
    return one_line("".join(parts)) + "."


def _figures(term: TermAudit, record: AuditRecord) -> dict[str, Any]:
    interval = term.interval or term.mean_interval
    return {
        "state": state(term, record),
        "rate": term.rate,
        "mean": term.mean,
        "interval": None if interval is None else [interval.low, interval.high],
        "applicable": term.applicable,
        "violated": term.violated,
        "unscored": term.unscored,
        "notApplicable": term.not_applicable,
    }


def _related(finding: Finding, number: int) -> dict[str, Any]:
    """A transcript that broke the rule, with its line where its name says one."""
    said = finding.event or "; ".join(finding.response[start:end] for start, end in finding.spans) or finding.response
    located: dict[str, Any] = {
        "id": number,
        "message": {"text": f"{one_line(finding.source, _EXCERPT)}: {one_line(said, _EXCERPT)}"},
    }
    named = _LINE.fullmatch(finding.source)
    if named is None:
        located["logicalLocations"] = [{"name": one_line(finding.source)}]
    else:
        region = {"startLine": int(named["line"])}
        located["physicalLocation"] = {"artifactLocation": {"uri": _uri(named["file"])}, "region": region}
    return located


def _fingerprint(term: TermAudit) -> str:
    """What stays the same when lines are added elsewhere, and from audit to audit: the rule and its words."""
    said = "\0".join((term.term, term.kind, term.clause))
    return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _files(results: list[dict[str, Any]]) -> list[str]:
    """Every file that a result points to, once."""
    located = [place for result in results for place in (*result["locations"], *result.get("relatedLocations", ()))]
    uris = [place["physicalLocation"]["artifactLocation"]["uri"] for place in located if "physicalLocation" in place]
    return list(dict.fromkeys(uris))


def _uri(path: str) -> str:
    """A path as a URI: absolute paths with `file:`, others relative to where bylaw was started."""
    given = Path(path)
    return given.as_uri() if given.is_absolute() else quote(given.as_posix(), errors="surrogateescape")
