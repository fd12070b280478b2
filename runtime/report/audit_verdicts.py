"""The verdict on every answer by every clause, one at a time: for JSON Lines, and for the answers that a page shows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bylaw.compiler.evaluate import TermScore, Verdict
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.audit.columns import VERDICTS, code_of
from bylaw.runtime.audit.scanning import Scanner
from bylaw.runtime.audit.tally import batches, score
from bylaw.runtime.record import AuditRecord, writable
from bylaw.spec.errors import place
from bylaw.spec.source import Source, Span
from bylaw.spec.trace import Trace

_SCANNED_FROM = 20_000
"""Texts times terms from which preparing to look for all patterns at once pays, as in an audit."""


class OtherTranscripts(ValueError):
    """The transcripts given are not those that the record was made from."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One transcript with what each clause says of it, in the order of the program. `number` counts from 1."""

    number: int
    trace: Trace
    scores: tuple[TermScore, ...]

    @property
    def source(self) -> str:
        """What the transcript is called, as in findings."""
        return self.trace.id or f"transcript {self.number}"


def judged(program: RewardProgram, traces: Iterable[Trace], record: AuditRecord) -> Iterator[Judged]:
    """The verdicts behind the figures of `record`, over the transcripts that it covers, which are taken one by one.

    Raises OtherTranscripts, at the latest after the last one, where these do not give the counts of the record.
    """
    terms = program.terms
    if [term.id for term in terms] != [term.term for term in record.terms]:
        raise OtherTranscripts("the record is of other rules than were given")
    scanner = Scanner(terms, score) if record.transcripts * len(terms) >= _SCANNED_FROM else None
    counts: list[Counter[Verdict]] = [Counter() for _ in terms]
    number = 0
    for batch in batches(islice(traces, record.transcripts)):
        scanned = None if scanner is None else scanner.batch(batch)
        for own, trace in enumerate(batch):
            scores = tuple(score(term, trace) for term in terms) if scanned is None else scanned.scores(own)
            for count, found in zip(counts, scores, strict=True):
                count[verdict_of(found)] += 1
            number += 1
            yield Judged(number, trace, scores)
    if number < record.transcripts:
        raise OtherTranscripts("the record is of more transcripts than were given")
    for term, count in zip(record.terms, counts, strict=True):
        seen = (count[Verdict.VIOLATED], count[Verdict.UNSCORED], count[Verdict.NOT_APPLICABLE])
        if seen != (term.violated, term.unscored, term.not_applicable):
            raise OtherTranscripts(f"the transcripts do not give the counts that the record has for `{term.term}`")


def verdict_of(found: TermScore) -> Verdict:
    """The verdict as it is counted: what has no value is unscored."""
    return VERDICTS[code_of(found)]


# -------------------------------------------------------------------------------------------------------- JSON Lines
@dataclass(frozen=True, slots=True)
class Places:
    """Where in the policy each clause stands: (file, line, column, last line, column behind it), by term."""

    by_term: dict[str, tuple[str, int, int, int, int]]

    @classmethod
    def of(cls, program: RewardProgram, policy: Source) -> Places:
        """The places of the clauses of a program in the file that it was compiled from."""
        return cls({term.id: _place(term, policy) for term in program.terms})


def _place(term: RewardTerm, policy: Source) -> tuple[str, int, int, int, int]:
    path, where = place(policy, Span(term.extent.start, term.extent.end))
    return path, where.line, where.column, where.end_line, where.end_column


def json_lines(judgements: Iterable[Judged], program: RewardProgram, policy: Source) -> Iterator[str]:
    """One line a transcript and clause, with its line break; each is one JSON object.

    Keys: `transcript` (from 1), `source`, `term`, `rule`, `kind`, `level`, `verdict` (`satisfied`, `violated`,
    `not_applicable`, `unscored`), `value` (what the law weighs), `reason` (why it is unscored, or which event breaks
    it), `spans` (start and end in characters of the answer), `evidence` (the words there), `file`, `line`, `column`,
    `end_line`, `end_column` (of the clause; the end column is the first one outside).
    """
    places = Places.of(program, policy).by_term
    for item in judgements:
        for term, found in zip(program.terms, item.scores, strict=True):
            data = _row(item, term, found, places[term.id])
            yield json.dumps(writable(data), ensure_ascii=False, allow_nan=False) + "\n"


def _row(item: Judged, term: RewardTerm, found: TermScore, where: tuple[str, int, int, int, int]) -> dict[str, Any]:
    answer = item.trace.response or ""
    verdict = verdict_of(found)
    is_violated = verdict is Verdict.VIOLATED
    path, line, column, end_line, end_column = where
    return {
        "transcript": item.number,
        "source": item.source,
        "term": term.id,
        "rule": term.rule,
        "kind": term.kind,
        "level": term.level,
        "verdict": verdict.value.replace(" ", "_"),
        "value": found.value,
        "reason": found.reason or ("no reason was given" if verdict is Verdict.UNSCORED else None),
        "spans": [[each.start, each.end] for each in found.evidence] if is_violated else [],
        "evidence": [answer[each.start : each.end] for each in found.evidence] if is_violated else [],
        "file": path,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }
