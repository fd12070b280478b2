"""What the verdicts of one clause come to: its rate or mean with interval and bounds, and whether its limit is kept."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit import clustered, statistics
from bylaw.runtime.audit.bounds import MOST_UNSCORED
from bylaw.runtime.audit.columns import NOT_APPLICABLE, UNSCORED, VIOLATED
from bylaw.runtime.audit.counts import ClusterCounts
from bylaw.runtime.audit.prompts import by_prompt, met_for_each, worst_of
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import Finding, Interval, TermAudit
from bylaw.spec.errors import place
from bylaw.spec.source import Source, Span

_CLAUSE_CHARACTERS = 400
_COMMENT = re.compile(
    r'(?P<kept>"""(?:[^\\"]|\\.|"(?!""))*"""|"(?:[^"\\\n]|\\[^\n])*"|/(?![/*\s])(?:[^/\\\n]|\\[^\n])+/)|#[^\n]*',
    re.DOTALL,
)


@dataclass(frozen=True)
class Scored:
    """The answers to which a clause applies, k of them scored and u not.

    Attributes:
        values: [k] of the scored ones: 1 or 0 for statements (1: broken, or for a limit that the event happened), else
            the quantity.
        prompts: [k] the number of the prompt of each, None where every answer stands for itself.
        unscored: u. unscored_prompts: [u] likewise.
    """

    values: NDArray[np.float64]
    prompts: NDArray[np.int64] | None
    unscored: int
    unscored_prompts: NDArray[np.int64] | None

    @classmethod
    def of(
        cls,
        term: RewardTerm,
        codes: NDArray[np.uint8],
        values: NDArray[np.float64],
        prompts: NDArray[np.int64] | None,
    ) -> Scored:
        """From the columns [n] of a clause."""
        known, lost = codes <= VIOLATED, codes == UNSCORED
        seen = values[known] if term.holds is None else (values[known] != 0).astype(np.float64)
        by = (None, None) if prompts is None else (prompts[known], prompts[lost])
        return cls(seen, by[0], int(lost.sum()), by[1])

    def counts(self, unscored_as: bool | None = None) -> ClusterCounts:
        """Outcomes of a statement, by prompt: of the scored answers, or with all unscored ones as events (or not)."""
        outcomes, prompts = self.values != 0, self.prompts
        if unscored_as is not None and self.unscored:
            outcomes = np.concatenate((outcomes, np.full(self.unscored, unscored_as)))
            if prompts is not None and self.unscored_prompts is not None:
                prompts = np.concatenate((prompts, self.unscored_prompts))
        return ClusterCounts.of_columns(outcomes, prompts)


def term_audit(
    term: RewardTerm,
    policy: Source,
    codes: NDArray[np.uint8],
    values: NDArray[np.float64],
    prompts: NDArray[np.int64] | None,
    names: Sequence[str],
    reasons: Counter[str],
    findings: Sequence[Finding],
) -> TermAudit:
    """What the columns of a term come to: `codes` [n], `values` [n] and the number of the prompt of each answer [n].

    `prompts` is None where every answer stands for itself; `names` are those of the prompts. `policy` is the file that
    the extents of the term point into; `reasons` count why answers are unscored, `findings` are the first that broke
    it.
    """
    scored = Scored.of(term, codes, values, prompts)
    level = _level(term, scored)
    bound, within = (None, None) if term.bound is None else _limit(term, scored)
    own = {}
    if term.each_prompt and scored.prompts is not None:
        own = by_prompt(scored.values.tolist(), [names[prompt] for prompt in scored.prompts.tolist()])
    if term.each_prompt:
        within = met_for_each(term, own, within, scored.unscored, _judge)
    path, where = place(policy, Span(term.extent.start, term.extent.end))
    return TermAudit(
        term=term.id,
        rule=term.rule,
        title=term.title,
        kind=term.kind,
        level=term.level,
        clause=clause_text(policy, term),
        location=f"{path}:{where.line}:{where.column}",
        applicable=len(scored.values),
        violated=int((codes == VIOLATED).sum()),
        unscored=scored.unscored,
        not_applicable=int((codes == NOT_APPLICABLE).sum()),
        rate=level.rate,
        interval=level.interval,
        best=level.best,
        worst=level.worst,
        mean=level.mean,
        mean_interval=level.mean_interval,
        sense=term.sense if term.bound is not None else None,
        bound=term.bound,
        confidence=term.confidence,
        confidence_bound=bound,
        within=within,
        reasons=tuple(reasons.most_common()),
        findings=tuple(findings),
        weight=term.weight,
        each_prompt=term.each_prompt,
        price=term.price,
        worst_prompt=worst_of(term, own),
        interval_of_all=level.of_all,
        is_scored_enough=is_scored_enough(len(scored.values), scored.unscored),
    )


def is_scored_enough(applicable: int, unscored: int, most: float = MOST_UNSCORED) -> bool:
    """Whether at most the share `most` of the answers that a clause may apply to could not be scored."""
    return unscored <= most * (applicable + unscored)


@dataclass(frozen=True, slots=True)
class _Level:
    """The rate of a statement, or the mean of a quantity, as `TermAudit` has them."""

    rate: float | None = None
    interval: Interval | None = None
    best: float | None = None
    worst: float | None = None
    of_all: Interval | None = None
    mean: float | None = None
    mean_interval: Interval | None = None


def _level(term: RewardTerm, scored: Scored) -> _Level:
    if term.holds is None:
        if not len(scored.values):
            return _Level()
        quantities, owners = scored.values.tolist(), None if scored.prompts is None else scored.prompts.tolist()
        mean = statistics.estimate(quantities, owners).mean
        return _Level(mean=mean, mean_interval=statistics.mean_interval(quantities, owners))
    if not len(scored.values) + scored.unscored:
        return _Level()
    least, most = scored.counts(False), scored.counts(True)
    of_all = Interval(clustered.interval_of(least).low, clustered.interval_of(most).high) if scored.unscored else None
    if not len(scored.values):
        return _Level(best=least.share, worst=most.share, of_all=of_all)
    counts = scored.counts()
    return _Level(counts.share, clustered.interval_of(counts), least.share, most.share, of_all)


def clause_text(policy: Source, term: RewardTerm) -> str:
    """The author's words for a term, on one line, without comments."""
    text = policy.slice(Span(term.extent.start, term.extent.end))
    words = " ".join(_COMMENT.sub(lambda match: match["kept"] or "", text).split())
    return words if len(words) <= _CLAUSE_CHARACTERS else words[: _CLAUSE_CHARACTERS - 1] + "…"


# ----------------------------------------------------------------------------------------------------------- limits
def _limit(term: RewardTerm, scored: Scored) -> tuple[float | None, bool | None]:
    """The one-sided bound at the declared (else 95 %) confidence, and whether the limit is kept.

    A declared confidence asks that the bound itself keeps the limit, else the rate or mean has to. The answer is None
    where it hangs on answers that could not be scored.
    """
    if not len(scored.values):
        return None, None
    if term.holds is None:
        owners = None if scored.prompts is None else scored.prompts.tolist()
        bound, within = _judge_mean(term, scored.values.tolist(), owners)
        # with more unscored, an average does not tell whether a limit is kept: the rest may be anything
        settled = scored.unscored <= MOST_UNSCORED * (len(scored.values) + scored.unscored)
        return bound, within if settled else None
    bound, within = _judge_share(term, scored.counts())
    if not scored.unscored:
        return bound, within
    if term.sense == "exactly" and within is False and _lies_between(term, scored):
        return bound, None  # too low with none of the unscored, too high with all: with some it may be met
    extremes = {_judge_share(term, scored.counts(case))[1] for case in (False, True)}
    return bound, within if extremes == {within} else None


def _lies_between(term: RewardTerm, scored: Scored) -> bool:
    least, most = scored.counts(False).share, scored.counts(True).share
    return least <= (term.bound or 0.0) <= most


def _judge(
    term: RewardTerm, values: Sequence[float], clusters: Sequence[Hashable] | None
) -> tuple[float | None, bool | None]:
    """(the one-sided bound, whether the limit is kept) of values [k], 1 or 0 for statements."""
    if term.holds is None:
        return _judge_mean(term, values, clusters)
    events = sum(value != 0 for value in values)
    if clusters is None:
        return _judge_share(term, ClusterCounts.independent(events, len(values)))
    return _judge_share(term, ClusterCounts.of_outcomes(values, clusters))


def _judge_share(term: RewardTerm, counts: ClusterCounts) -> tuple[float | None, bool | None]:
    confidence = term.confidence or CONFIDENCE
    if term.sense == "exactly":
        # no sample hits a share exactly: the limit is kept as long as the sample does not speak against it
        interval = clustered.interval_of(counts, confidence)
        return None, interval.low <= (term.bound or 0.0) <= interval.high
    bound = clustered.bound_of(counts, term.sense != "at least", confidence)
    return bound, _keeps(term, bound if term.confidence is not None else counts.share)


def _judge_mean(
    term: RewardTerm, values: Sequence[float], clusters: Sequence[Hashable] | None
) -> tuple[float | None, bool | None]:
    confidence = term.confidence or CONFIDENCE
    if term.sense == "exactly":
        interval = statistics.mean_interval(values, clusters, confidence)
        return None, None if interval is None else interval.low <= (term.bound or 0.0) <= interval.high
    bound = statistics.mean_bound(values, term.sense != "at least", confidence, clusters)
    judged = bound if term.confidence is not None else math.fsum(values) / len(values)
    return bound, None if judged is None else _keeps(term, judged)


def _keeps(term: RewardTerm, value: float) -> bool:
    limit = term.bound or 0.0
    slack = 1e-12 * max(1.0, abs(limit))
    return value <= limit + slack if term.sense != "at least" else value >= limit - slack
