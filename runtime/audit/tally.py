"""Scores transcripts by all terms and counts what was seen, part by part: in this process or in others.

A `Tallier` scores; what it hands over, a `Tallied`, can be pickled and holds no texts but those of the first few
findings. `Gathering` joins what talliers hand over, in order: the result is the same however the parts are cut, and
whoever made them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TypeAlias

import numpy as np

from bylaw.compiler.evaluate import TermScore, Verdict, evaluate_term
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit.columns import (
    UNSCORED,
    VIOLATED,
    Part,
    PartBuilder,
    VerdictColumns,
    asked_by,
    code_of,
    merge,
    value_of,
)
from bylaw.runtime.audit.scanning import Scanned, Scanner
from bylaw.runtime.audit.withheld import why_withheld
from bylaw.runtime.record import Finding
from bylaw.spec.trace import Trace

MAXIMUM_FINDINGS = 5
"""Findings that are kept of each term, unless said otherwise."""
NO_REASON = "no reason was given"
Asked: TypeAlias = tuple[tuple[bytes | None, str], ...]
"""For each transcript what `asked_by` says."""

_SCANNED_FROM = 20_000
"""Texts times terms from which preparing to look for all patterns at once pays."""
_BATCH_TEXTS, _BATCH_CHARACTERS = 500, 1_000_000
"""Transcripts that are scored together: enough for the engine, and so few that an interrupt costs little."""


def score(term: RewardTerm, trace: Trace) -> TermScore:
    """What `evaluate_term` says; where it fails, or gives a value that is no number, the trace is unscored."""
    try:
        found = evaluate_term(term, trace)
    except Exception as error:  # one transcript that cannot be scored must not end the audit of all the others
        reason = f"scoring failed: {type(error).__name__}: {str(error)[:200]}"
        return _unscored(term, reason)
    if found.value is not None and not math.isfinite(found.value):
        return _unscored(term, "the value is too large for a number")
    if found.verdict is Verdict.UNSCORED and (why := why_withheld(trace)) is not None:
        return _unscored(term, f"there is no answer ({why})")
    return found


def _unscored(term: RewardTerm, reason: str) -> TermScore:
    return TermScore(term.id, Verdict.UNSCORED, None, None, reason=reason, is_hard=term.kind == "hard")


def finding_of(found: TermScore, trace: Trace) -> Finding:
    """A broken clause as a finding; its source is empty where the transcript has no name."""
    spans = tuple((extent.start, extent.end) for extent in found.evidence)
    return Finding(trace.id, trace.text("prompt") or "", trace.response or "", spans, found.reason)


@dataclass(frozen=True, slots=True)
class Tallied:
    """What was seen of transcripts that follow each other.

    `reasons`: (place of the term, why a transcript is unscored, how often), in order of first appearance. `findings`:
    (place of the term, number of the transcript in this part from 0, the finding), in order; at least the first few of
    each term, unless the same tallier has handed over as many before.
    """

    part: Part
    reasons: tuple[tuple[int, str, int], ...]
    findings: tuple[tuple[int, int, Finding], ...]

    @property
    def count(self) -> int:
        """How many transcripts these are."""
        return self.part.count


@dataclass(frozen=True, slots=True)
class _Batch:
    """Transcripts that were scored together; `findings` count from the first of them."""

    rows: bytes
    values: Mapping[int, Sequence[float]]
    asked: Asked
    reasons: tuple[tuple[int, str], ...]
    findings: tuple[tuple[int, int, Finding], ...]


@dataclass(slots=True)
class Tallier:
    """Scores transcripts by all terms and counts. Keeps its scanner: one for a process. Not for several threads.

    `in_order`: the parts come in the order of the transcripts, so that findings beyond the first `most_findings` of
    each term need not be made.
    """

    terms: tuple[RewardTerm, ...]
    most_findings: int = MAXIMUM_FINDINGS
    in_order: bool = True
    _seen: int = 0
    _scanner: Scanner | None = None
    _batches: list[_Batch] = field(default_factory=list)
    _found: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many transcripts there are since `finish`."""
        return sum(len(batch.asked) for batch in self._batches)

    def is_scanned(self, coming: int) -> bool:
        """Whether so many transcripts more are scored together: where there are few, one after the other."""
        return (self._seen + coming) * len(self.terms) >= _SCANNED_FROM

    def add(self, traces: Sequence[Trace], prompts: Sequence[str] | None = None) -> None:
        """Scores transcripts, all of them or, where it is interrupted, none. `prompts` names what each answers; without
        them the conversations say it."""
        if self._scanner is None and self.is_scanned(len(traces)):
            self._scanner = Scanner(self.terms, score)
        names: Sequence[str | None] = [None] * len(traces) if prompts is None else prompts
        asked = tuple(asked_by(trace, name) for trace, name in zip(traces, names, strict=True))
        scanner = self._scanner
        batch = (
            self._one_by_one(traces, asked) if scanner is None else self._together(scanner.batch(traces), traces, asked)
        )
        # one append: an interrupt cannot leave a transcript counted for some of the terms only
        self._batches.append(batch)
        self._seen += len(traces)
        self._found.update(index for index, _, _ in batch.findings)

    def _together(self, scanned: Scanned, traces: Sequence[Trace], asked: Asked) -> _Batch:
        codes = scanned.codes
        values = {place: scanned.values(place).tolist() for place in self._measuring()}
        reasons = [
            (place, scanned.score(number, place).reason or NO_REASON)
            for number, place in np.argwhere(codes == UNSCORED).tolist()
        ]
        findings = []
        for place in np.flatnonzero((codes == VIOLATED).any(axis=0)).tolist():
            left = max(0, self.most_findings - self._found[place])
            for number in np.flatnonzero(codes[:, place] == VIOLATED)[:left].tolist():
                findings.append((place, number, finding_of(scanned.score(number, place), traces[number])))
        return _Batch(np.ascontiguousarray(codes).tobytes(), values, asked, tuple(reasons), tuple(findings))

    def _one_by_one(self, traces: Sequence[Trace], asked: Asked) -> _Batch:
        rows = bytearray()
        values: dict[int, list[float]] = {place: [] for place in self._measuring()}
        reasons: list[tuple[int, str]] = []
        findings: list[tuple[int, int, Finding]] = []
        found = Counter(self._found)
        for number, trace in enumerate(traces):
            scores = [score(term, trace) for term in self.terms]
            row = bytes(map(code_of, scores))
            rows += row
            for place, column in values.items():
                column.append(value_of(scores[place]))
            for place, code in enumerate(row):
                if code == UNSCORED:
                    reasons.append((place, scores[place].reason or NO_REASON))
                elif code == VIOLATED and found[place] < self.most_findings:
                    found[place] += 1
                    findings.append((place, number, finding_of(scores[place], trace)))
        return _Batch(bytes(rows), values, asked, tuple(reasons), tuple(findings))

    def _measuring(self) -> list[int]:
        return [place for place, term in enumerate(self.terms) if term.holds is None]

    def finish(self) -> Tallied:
        """What was seen since the last time."""
        builder, reasons = PartBuilder(self.terms), Counter[tuple[int, str]]()
        findings: list[tuple[int, int, Finding]] = []
        for batch in self._batches:
            findings += [(place, builder.count + number, found) for place, number, found in batch.findings]
            builder.add_rows(batch.rows, batch.values, batch.asked)
            reasons.update(batch.reasons)
        tallied = Tallied(
            builder.finish(), tuple((place, why, n) for (place, why), n in reasons.items()), tuple(findings)
        )  # fmt: skip
        self._batches = []
        if not self.in_order:
            self._found.clear()
        return tallied

    def part(self, traces: Iterable[Trace], prompts: Sequence[str] | None = None) -> Tallied:
        """What is seen of a part: `add`, in batches, and `finish`. Raises ValueError where the prompts do not fit."""
        names = None if prompts is None else iter(prompts)
        for batch in batches(traces):
            self.add(batch, None if names is None else list(islice(names, len(batch))))
        if names is not None and next(names, None) is not None:
            raise ValueError("there are more prompts than traces")
        return self.finish()


def batches(
    traces: Iterable[Trace], texts: int = _BATCH_TEXTS, characters: int = _BATCH_CHARACTERS
) -> Iterator[list[Trace]]:
    """The traces in runs of at most `texts`, closed once they hold `characters`; as they are scored together."""
    batch: list[Trace] = []
    size = 0
    for trace in traces:
        batch.append(trace)
        size += sum(len(each.content) for each in trace.messages)
        if len(batch) >= texts or size >= characters:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


@dataclass(slots=True)
class Gathering:
    """Joins what talliers hand over, in the order of the transcripts."""

    terms: tuple[RewardTerm, ...]
    most_findings: int = MAXIMUM_FINDINGS
    count: int = 0
    _parts: list[Part] = field(default_factory=list)
    _reasons: list[Counter[str]] = field(init=False)
    _findings: list[list[Finding]] = field(init=False)

    def __post_init__(self) -> None:
        self._reasons = [Counter() for _ in self.terms]
        self._findings = [[] for _ in self.terms]

    def add(self, tallied: Tallied) -> None:
        """The next part."""
        for place, why, count in tallied.reasons:
            self._reasons[place][why] += count
        for place, number, found in tallied.findings:
            if len(self._findings[place]) < self.most_findings:
                source = found.source or f"transcript {self.count + number + 1}"
                self._findings[place].append(replace(found, source=source))
        self._parts.append(tallied.part)
        self.count += tallied.count

    def columns(self) -> VerdictColumns:
        """The columns of all parts."""
        return merge(self.terms, self._parts)

    def reasons(self, index: int) -> Counter[str]:
        """Why transcripts are unscored by a term, with counts, in order of first appearance."""
        return self._reasons[index]

    def findings(self, index: int) -> tuple[Finding, ...]:
        """The first transcripts that broke a term."""
        return tuple(self._findings[index])
