"""Audits transcripts against a policy: every clause gets its rate, its interval, and the answers that broke it.

`evaluate_term` decides what is true and nothing else does. What cannot be scored is counted apart with its reason and
is never a pass: every rate comes with what it would be if all of those were violations, or none.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

from bylaw.compiler.evaluate import TermScore, Verdict, evaluate_term
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.runtime.audit import statistics
from bylaw.runtime.audit.prompts import by_prompt, met_for_each, worst_of
from bylaw.runtime.audit.scanning import Scanner
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import AuditRecord, Finding, InputProblem, Interval, TermAudit
from bylaw.spec.errors import place
from bylaw.spec.source import Source, Span
from bylaw.spec.trace import Trace

MAXIMUM_FINDINGS = 5

_UNSCORED_SHARE = 0.02
"""With more than 2 % unscored, an average does not tell whether a limit is kept: the rest may be anything."""

_SCANNED_FROM = 20_000
"""Texts times terms."""

_CLAUSE_CHARACTERS = 400
_COMMENT = re.compile(
    r'(?P<kept>"""(?:[^\\"]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\[^\n])*"|/(?![/*\s])(?:[^/\\\n]|\\[^\n])+/)|#[^\n]*',
    re.DOTALL,
)

Progress = Callable[[int, int], None]


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
    trace. An interrupt from the keyboard ends the audit early: the record then covers the traces that were done, with
    `complete` False. Raises ValueError when `clusters` is not as long as `traces`.
    """
    if clusters is not None and len(clusters) != len(traces):
        raise ValueError(f"{len(clusters)} clusters do not fit {len(traces)} traces")
    asked = len(traces)
    scores: list[tuple[TermScore, ...]] = []
    # many patterns are faster looked for all at once, where there are so many texts that preparing for it pays
    scanner = Scanner(program.terms, score) if asked * len(program.terms) >= _SCANNED_FROM else None
    try:
        for trace in traces:
            # one append a trace: an interrupt cannot leave a trace counted for some of the terms only
            each = tuple(score(term, trace) for term in program.terms) if scanner is None else scanner.scores(trace)
            scores.append(each)
            if progress is not None:
                progress(len(scores), len(traces))
    except KeyboardInterrupt:
        traces = traces[: len(scores)]
    keys: Sequence[Hashable] = range(len(scores)) if clusters is None else clusters[: len(scores)]
    terms = []
    for index, term in enumerate(program.terms):
        tally = _tally([row[index] for row in scores], traces, keys, max_findings)
        terms.append(_summary(term, tally, policy, clusters is not None))
    return AuditRecord(
        policy=program.policy,
        policy_version=program.version,
        policy_digest=program.digest,
        source=source,
        transcripts=len(scores),
        terms=tuple(terms),
        problems=tuple(problems),
        complete=len(scores) == asked,
        clusters=None if clusters is None else len(set(keys)),
    )


def score(term: RewardTerm, trace: Trace) -> TermScore:
    """What `evaluate_term` says; where it fails, or gives a value that is no number, the trace is unscored."""
    try:
        found = evaluate_term(term, trace)
    except Exception as error:  # one transcript that cannot be scored must not end the audit of all the others
        reason = f"scoring failed: {type(error).__name__}: {str(error)[:200]}"
        return _unscored(term, reason)
    if found.value is not None and not math.isfinite(found.value):
        return _unscored(term, "the value is too large for a number")
    return found


def _unscored(term: RewardTerm, reason: str) -> TermScore:
    return TermScore(term.id, Verdict.UNSCORED, None, None, reason=reason, is_hard=term.kind == "hard")


# --------------------------------------------------------------------------------------------------------- counting
@dataclass(slots=True)
class _Tally:
    """What was seen of one term. `clusters` runs along with `values`: 1 or 0 for statements, else the quantity."""

    values: list[float] = field(default_factory=list)
    clusters: list[Hashable] = field(default_factory=list)
    unscored_clusters: list[Hashable] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    not_applicable: int = 0
    violated: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def unscored(self) -> int:
        return len(self.unscored_clusters)


def _tally(
    scores: Sequence[TermScore], traces: Sequence[Trace], clusters: Sequence[Hashable], max_findings: int
) -> _Tally:
    tally = _Tally()
    for number, (found, trace, cluster) in enumerate(zip(scores, traces, clusters, strict=True), 1):
        if found.verdict is Verdict.NOT_APPLICABLE:
            tally.not_applicable += 1
        elif found.verdict is Verdict.UNSCORED or found.value is None:
            tally.unscored_clusters.append(cluster)
            tally.reasons[found.reason or "no reason was given"] += 1
        else:
            is_violated = found.verdict is Verdict.VIOLATED
            tally.values.append(found.value)
            tally.clusters.append(cluster)
            tally.violated += is_violated
            if is_violated and len(tally.findings) < max_findings:
                tally.findings.append(_finding(found, trace, number))
    return tally


def _finding(found: TermScore, trace: Trace, number: int) -> Finding:
    spans = tuple((extent.start, extent.end) for extent in found.evidence)
    source = trace.id or f"transcript {number}"
    return Finding(source, trace.text("prompt") or "", trace.response or "", spans, found.reason)


# ------------------------------------------------------------------------------------------------------ summarising
def _summary(term: RewardTerm, tally: _Tally, policy: Source, clustered: bool) -> TermAudit:
    clusters = tally.clusters if clustered else None
    rate = interval = best = worst = mean = mean_interval = None
    is_statement = term.holds is not None
    if is_statement:
        outcomes = [value != 0 for value in tally.values]
        seen = len(outcomes) + tally.unscored
        if outcomes:
            rate, interval = sum(outcomes) / len(outcomes), statistics.clustered_rate(outcomes, clusters)
        if seen:
            best, worst = sum(outcomes) / seen, (sum(outcomes) + tally.unscored) / seen
    elif tally.values:
        found = statistics.estimate(tally.values, clusters)
        mean, mean_interval = found.mean, statistics.mean_interval(tally.values, clusters)
    bound, within = (None, None) if term.bound is None else _budget(term, tally, clustered)
    prompts = by_prompt(tally.values, tally.clusters) if term.each_prompt and clustered else {}
    if term.each_prompt:
        within = met_for_each(term, prompts, within, tally.unscored, _judge)
    path, where = place(policy, Span(term.extent.start, term.extent.end))
    return TermAudit(
        term=term.id,
        rule=term.rule,
        title=term.title,
        kind=term.kind,
        level=term.level,
        clause=clause_text(policy, term),
        location=f"{path}:{where.line}:{where.column}",
        applicable=len(tally.values),
        violated=tally.violated,
        unscored=tally.unscored,
        not_applicable=tally.not_applicable,
        rate=rate,
        interval=interval,
        best=best,
        worst=worst,
        mean=mean,
        mean_interval=mean_interval,
        sense=term.sense if term.bound is not None else None,
        bound=term.bound,
        confidence=term.confidence,
        confidence_bound=bound,
        within=within,
        reasons=tuple(tally.reasons.most_common()),
        findings=tuple(tally.findings),
        weight=term.weight,
        each_prompt=term.each_prompt,
        price=term.price,
        worst_prompt=worst_of(term, prompts),
    )


def clause_text(policy: Source, term: RewardTerm) -> str:
    """The author's words for a term, on one line, without comments."""
    text = policy.slice(Span(term.extent.start, term.extent.end))
    words = " ".join(_COMMENT.sub(lambda match: match["kept"] or "", text).split())
    return words if len(words) <= _CLAUSE_CHARACTERS else words[: _CLAUSE_CHARACTERS - 1] + "…"


# ---------------------------------------------------------------------------------------------------------- budgets
def _budget(term: RewardTerm, tally: _Tally, clustered: bool) -> tuple[float | None, bool | None]:
    """The one-sided bound at the declared (else 95 %) confidence, and whether the budget is met.

    A declared confidence asks that the bound itself keeps the limit, else the rate or mean has to. The answer is None
    where it hangs on transcripts that could not be scored.
    """
    if not tally.values:
        return None, None
    bound, within = _judge(term, tally.values, tally.clusters if clustered else None)
    if not tally.unscored:
        return bound, within
    if term.holds is None:
        settled = tally.unscored <= _UNSCORED_SHARE * (len(tally.values) + tally.unscored)
        return bound, within if settled else None
    clusters = [*tally.clusters, *tally.unscored_clusters] if clustered else None
    extremes = {_judge(term, [*tally.values, *[value] * tally.unscored], clusters)[1] for value in (0.0, 1.0)}
    return bound, within if extremes == {within} else None


def _judge(
    term: RewardTerm, values: Sequence[float], clusters: Sequence[Hashable] | None
) -> tuple[float | None, bool | None]:
    confidence = term.confidence or CONFIDENCE
    limit = term.bound or 0.0
    if term.sense == "exactly":
        # no sample hits a share exactly: the limit is kept as long as the sample does not speak against it
        interval = _interval(term, values, clusters, confidence)
        return None, None if interval is None else interval.low <= limit <= interval.high
    upper = term.sense != "at least"
    bound = (
        statistics.mean_bound(values, upper, confidence, clusters)
        if term.holds is None
        else statistics.rate_bound([value != 0 for value in values], upper, confidence, clusters)
    )
    judged = bound if term.confidence is not None else math.fsum(values) / len(values)
    if judged is None:
        return bound, None
    slack = 1e-12 * max(1.0, abs(limit))
    return bound, judged <= limit + slack if upper else judged >= limit - slack


def _interval(
    term: RewardTerm, values: Sequence[float], clusters: Sequence[Hashable] | None, confidence: float
) -> Interval | None:
    if term.holds is None:
        return statistics.mean_interval(values, clusters, confidence)
    return statistics.clustered_rate([value != 0 for value in values], clusters, confidence)
