"""Audits transcripts against a policy: every clause gets its rate, its interval, and the answers that broke it.

`evaluate_term` decides what is true and nothing else does. What cannot be scored is counted apart with its reason and
is never a pass: every rate comes with what it would be if all of those were violations, or none.

Transcripts are taken one after the other and let go: what is kept of them are their verdicts, in some bytes each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass

from bylaw.compiler.program import RewardProgram
from bylaw.runtime.audit.columns import PART, VerdictColumns
from bylaw.runtime.audit.summary import clause_text, term_audit
from bylaw.runtime.audit.tally import MAXIMUM_FINDINGS, Gathering, Tallied, Tallier, batches, score
from bylaw.runtime.record import AuditRecord, InputProblem
from bylaw.spec.source import Source
from bylaw.spec.trace import Trace

__all__ = ["MAXIMUM_FINDINGS", "Audited", "Progress", "audit", "clause_text", "gather", "measure", "score"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Audited:
    """An audit, and the verdicts behind its figures."""

    record: AuditRecord
    columns: VerdictColumns


def audit(
    program: RewardProgram,
    traces: Sequence[Trace],
    *,
    source: str,
    policy: Source,
    problems: Sequence[InputProblem] = (),
    clusters: Sequence[str] | None = None,
    progress: Progress | None = None,
    max_findings: int = MAXIMUM_FINDINGS,
) -> AuditRecord:
    """Scores every trace with every term.

    `source` names the transcripts, `policy` is the file that the extents of the program point into. `clusters` says for
    each trace which prompt it answers, where a prompt has several answers. `progress` is told (done, all) after every
    trace, where there are many after some hundreds. An interrupt from the keyboard ends the audit early: the record
    then covers the traces that were done, with `complete` False. Raises ValueError when `clusters` is not as long as
    `traces`.
    """
    if clusters is not None and len(clusters) != len(traces):
        raise ValueError(f"{len(clusters)} clusters do not fit {len(traces)} traces")
    gathering, complete = _gathered(program, traces, clusters, progress, max_findings)
    columns = gathering.columns()
    return _record(program, gathering, columns, source, policy, problems, clusters is not None, complete)


def measure(
    program: RewardProgram,
    traces: Iterable[Trace],
    *,
    source: str,
    policy: Source,
    problems: Sequence[InputProblem] | Callable[[], Sequence[InputProblem]] = (),
    progress: Progress | None = None,
    max_findings: int = MAXIMUM_FINDINGS,
) -> Audited:
    """The audit of traces that may come one after the other and are not kept, with the verdicts on all of them.

    Which traces answer the same prompt is seen in their conversations. `problems` may be a function, which is asked
    when the last trace has come. `progress` is told (done, all), where all is 0 if it is not known; otherwise as
    `audit`. Whatever the traces raise as they are read is raised here.
    """
    gathering, complete = _gathered(program, traces, None, progress, max_findings)
    return _audited(program, gathering, source, policy, problems() if callable(problems) else problems, complete)


def gather(
    program: RewardProgram,
    tallied: Iterable[Tallied],
    *,
    source: str,
    policy: Source,
    problems: Sequence[InputProblem] | Callable[[], Sequence[InputProblem]] = (),
    max_findings: int = MAXIMUM_FINDINGS,
    complete: bool = True,
) -> Audited:
    """The audit of parts that others have scored, in the order of the transcripts; the same as `measure` gives, bit for
    bit. `problems` as there. An interrupt ends it early, after the last part that came."""
    gathering = Gathering(program.terms, max_findings)
    try:
        for each in tallied:
            gathering.add(each)
    except KeyboardInterrupt:
        complete = False
    return _audited(program, gathering, source, policy, problems() if callable(problems) else problems, complete)


def _gathered(
    program: RewardProgram,
    traces: Iterable[Trace],
    clusters: Sequence[str] | None,
    progress: Progress | None,
    max_findings: int,
) -> tuple[Gathering, bool]:
    """(what was seen, whether of all)."""
    tallier, gathering = Tallier(program.terms, max_findings), Gathering(program.terms, max_findings)
    asked, done, complete = len(traces) if isinstance(traces, Sized) else 0, 0, True
    try:
        for batch in batches(traces):
            together = len(batch) if tallier.is_scanned(len(batch)) else 1
            for first in range(0, len(batch), together):
                part = batch[first : first + together]
                tallier.add(part, None if clusters is None else clusters[done : done + len(part)])
                done += len(part)
                if progress is not None:
                    progress(done, asked)
            if tallier.count >= PART:
                gathering.add(tallier.finish())
    except KeyboardInterrupt:
        complete = False
    gathering.add(tallier.finish())
    return gathering, complete


def _audited(
    program: RewardProgram,
    gathering: Gathering,
    source: str,
    policy: Source,
    problems: Sequence[InputProblem],
    complete: bool,
) -> Audited:
    columns = gathering.columns()
    return Audited(
        _record(program, gathering, columns, source, policy, problems, columns.is_clustered, complete), columns
    )


def _record(
    program: RewardProgram,
    gathering: Gathering,
    columns: VerdictColumns,
    source: str,
    policy: Source,
    problems: Sequence[InputProblem],
    is_clustered: bool,
    complete: bool,
) -> AuditRecord:
    prompts = columns.prompts if is_clustered else None
    names = columns.names if is_clustered and any(term.each_prompt for term in program.terms) else ()
    terms = (
        term_audit(
            term, policy, columns.codes(index), columns.values(index), prompts, names,
            gathering.reasons(index), gathering.findings(index),
        )
        for index, term in enumerate(program.terms)
    )  # fmt: skip
    return AuditRecord(
        policy=program.policy,
        policy_version=program.version,
        policy_digest=program.digest,
        source=source,
        transcripts=columns.count,
        terms=tuple(terms),
        problems=tuple(problems),
        complete=complete,
        clusters=columns.prompt_count if is_clustered else None,
    )
