"""An audit held against an earlier one: only what is new or worse fails, judged by intervals and never by points.

For each rule the difference of two independent rates is enclosed by Newcombe's interval (1998, method 10; on the
effective number of answers where these come in clusters), that of two means by the same combination of their own
intervals (Zou and Donner 2008). All intervals of one comparison hold together, with at least `CONFIDENCE`: with m of
them each has the confidence 1 − (1 − CONFIDENCE)/m (Bonferroni), so that a policy of many rules does not fail by
chance. Answers to the same prompts are more alike than that, so nothing is called worse for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bylaw.runtime.audit import statistics
from bylaw.runtime.audit.comparison import difference_of
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.record import AuditRecord, Interval, RecordError, TermAudit, parsed, read_back

Status = Literal["new", "worse", "not measured", "known", "fixed", "better", "unchanged", "added", "removed"]
FAILING: tuple[Status, ...] = ("new", "worse", "not measured")

MOST_BYTES = 50_000_000
_KINDS = ("hard", "soft", "graded", "budget")


class BaselineError(Exception):
    """A baseline that cannot be used; text fit for users."""


@dataclass(frozen=True, slots=True)
class BaselineTerm:
    """What is kept of one clause: fields of `TermAudit` that a comparison needs, and no text of any answer."""

    term: str
    kind: str
    clause: str
    location: str
    applicable: int
    violated: int
    unscored: int
    not_applicable: int
    rate: float | None
    interval: Interval | None
    mean: float | None = None
    mean_interval: Interval | None = None
    sense: str | None = None
    bound: float | None = None
    within: bool | None = None


@dataclass(frozen=True, slots=True)
class Baseline:
    """An earlier audit, as `summary.json` and `report.json` both hold it."""

    policy: str
    policy_version: str
    policy_digest: str
    source: str
    transcripts: int
    terms: tuple[BaselineTerm, ...]
    complete: bool = True
    clusters: int | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """One clause then and now.

    Attributes:
        status: `new`, `worse` and `not measured` fail. `known` is a finding that was there before and is not shown to
            be worse; `unchanged` says only that no difference is shown.
        then, now: the rates (shares), or the means where `is_share` is False, with their own 95 % intervals.
        difference: now minus then, simultaneous for all clauses.
        reason: one sentence for the reader.
    """

    term: str
    clause: str
    location: str
    status: Status
    reason: str
    is_share: bool = True
    then: float | None = None
    now: float | None = None
    difference: Interval | None = None
    then_interval: Interval | None = None
    now_interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class BaselineComparison:
    """All clauses, those of today's policy first. `intervals` many hold together with `confidence`."""

    source: str
    changes: tuple[Change, ...]
    intervals: int
    confidence: float
    notes: tuple[str, ...]

    @property
    def fails(self) -> bool:
        """Whether anything is new, worse, or no longer measured."""
        return any(change.status in FAILING for change in self.changes)


def baseline_of(record: AuditRecord) -> Baseline:
    """What a later audit is held against."""
    return Baseline(
        record.policy,
        record.policy_version,
        record.policy_digest,
        record.source,
        record.transcripts,
        tuple(_kept(term) for term in record.terms),
        record.complete,
        record.clusters,
    )


def _kept(term: TermAudit) -> BaselineTerm:
    return BaselineTerm(**{name: getattr(term, name) for name in BaselineTerm.__slots__})


def read_baseline(path: str | Path) -> Baseline:
    """The `summary.json` or `report.json` of an earlier audit. Raises BaselineError with what is wrong in it."""
    try:
        with Path(path).open("rb") as file:
            body = file.read(MOST_BYTES + 1)
        text = body.decode("utf-8")
    except OSError as error:
        raise BaselineError(f"the baseline `{path}` cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise BaselineError(f"the baseline `{path}` is not UTF-8 text; {_WANTED}") from None
    if len(body) > MOST_BYTES:
        raise BaselineError(f"the baseline `{path}` is larger than {MOST_BYTES:,} bytes; {_WANTED}")
    try:
        found = read_back(Baseline, text, parsed(text))
    except RecordError as error:
        raise BaselineError(f"`{path}` is no baseline: {error}; {_WANTED}") from None
    _check(found, path)
    return found


_WANTED = "give the summary.json that an earlier `bylaw audit --report` wrote"


def _check(baseline: Baseline, path: str | Path) -> None:
    """Numbers that no audit gives would compare as kept: refuse them."""
    names = [term.term for term in baseline.terms]
    for term in baseline.terms:
        counts = (term.applicable, term.violated, term.unscored, term.not_applicable)
        is_share = term.rate is None or 0 <= term.rate <= 1
        intervals = [each for each in (term.interval, term.mean_interval) if each is not None]
        if (
            min(counts) < 0
            or term.violated > term.applicable
            or sum(counts) - term.violated != baseline.transcripts
            or not is_share
            or term.kind not in _KINDS
            or (term.rate is None) != (term.interval is None)
            or (term.rate is None and term.mean is None) == bool(term.applicable)
            or not all(each.low <= each.high for each in intervals)
            or names.count(term.term) > 1
        ):
            raise BaselineError(f"`{path}` is no baseline: the figures of `{term.term}` do not fit together; {_WANTED}")


def require_policy(baseline: Baseline, policy: str) -> None:
    """Raises BaselineError where the baseline is an audit of another policy than the one of this name."""
    if policy != baseline.policy:
        raise BaselineError(
            f"the baseline is of the policy `{baseline.policy}`, this audit of `{policy}`: "
            f"audit `{policy}` once without --baseline and use the summary.json of that"
        )


# ------------------------------------------------------------------------------------------------------- comparing
def compare_with_baseline(record: AuditRecord, baseline: Baseline) -> BaselineComparison:
    """Every clause of today's audit against the earlier one. Raises BaselineError for an audit of another policy."""
    require_policy(baseline, record.policy)
    earlier = {term.term: term for term in baseline.terms}
    pairs = [(term, earlier.get(term.term)) for term in record.terms]
    count = sum(_questions(now, then) for now, then in pairs)
    each = 1 - (1 - CONFIDENCE) / max(count, 1)
    sizes = _Sizes(record.clusters, baseline.clusters, each)
    present = {term.term for term in record.terms}
    gone = [
        Change(
            term.term, term.clause, term.location, "removed", "this policy no longer has the rule", then=_level(term)
        )
        for term in baseline.terms
        if term.term not in present
    ]
    changes = (*(_change(now, then, sizes) for now, then in pairs), *gone)
    return BaselineComparison(baseline.source, changes, count, CONFIDENCE, _notes(record, baseline))


@dataclass(frozen=True, slots=True)
class _Sizes:
    """How many prompts there are now and then (None: each answer for itself), and the confidence of one interval."""

    now: int | None
    then: int | None
    confidence: float


def _questions(now: TermAudit, then: BaselineTerm | None) -> int:
    """How many intervals are looked at for a clause."""
    if then is None or not _same_rule(now, then):
        return int(now.within is False)
    compared = _level(now) is not None and _level(then) is not None
    return int(compared) + int(bool(now.unscored)) + int(now.within is False and then.within is not False)


def _same_rule(now: TermAudit, then: BaselineTerm) -> bool:
    return (now.kind, now.clause, now.sense, now.bound) == (then.kind, then.clause, then.sense, then.bound)


def _level(term: TermAudit | BaselineTerm) -> float | None:
    return term.rate if term.rate is not None else term.mean


def _interval(term: TermAudit | BaselineTerm) -> Interval | None:
    return term.interval if term.rate is not None else term.mean_interval


def _change(now: TermAudit, then: BaselineTerm | None, sizes: _Sizes) -> Change:
    is_share = now.rate is not None or now.mean is None

    def change(status: Status, reason: str, gap: Interval | None = None) -> Change:
        levels = (None if then is None else _level(then), _level(now))
        own = (None if then is None else _interval(then), _interval(now))
        return Change(now.term, now.clause, now.location, status, reason, is_share, *levels, gap, *own)

    if then is None or not _same_rule(now, then):
        words = "the rule is not in the baseline" if then is None else "the rule was written anew since the baseline"
        if (now.kind == "hard" or now.bound is not None) and now.unscored and not now.applicable:
            return change("not measured", f"{words}, and no answer could be scored")
        if _is_shown(now, sizes):
            return change("new", f"{words}, and {_said(now)}")
        return change("added", words)
    if not now.applicable and then.applicable:
        return change("not measured", "it was measured in the baseline, and nothing could be measured now")
    gap = _difference(now, then, sizes)
    if _is_finding(now) and not _is_finding(then) and _is_shown(now, sizes):
        return change("new", f"{_said(now)}, and the baseline had no such finding", gap)
    side = _bad_side(now)
    if gap is not None and side and (gap.low > 0 if side > 0 else gap.high < 0):
        return change("worse", "the whole interval of the difference is on the worse side", gap)
    lost = _unscored_difference(now, then, sizes)
    if lost is not None and lost.low > 0:
        return change("worse", "more of the answers than in the baseline could not be scored", gap)
    return change(*_no_worse(now, then, gap, side), gap)


def _no_worse(now: TermAudit, then: BaselineTerm, gap: Interval | None, side: int) -> tuple[Status, str]:
    if gap is not None and side and (gap.high < 0 if side > 0 else gap.low > 0):
        return "better", "the whole interval of the difference is on the better side"
    if _is_finding(now) and _is_finding(then):
        return "known", f"{_said(now)}; not shown to be worse than in the baseline"
    if _is_finding(then) and not _is_finding(now):
        return "fixed", "the finding of the baseline did not occur again"
    if _is_finding(now):
        return "unchanged", f"{_said(now)}, but the intervals do not show that this is more than chance"
    if not now.applicable and not then.applicable:
        return "unchanged", "it was measured neither in the baseline nor now"
    return "unchanged", "no difference is shown" if gap is not None else "too few prompts for an interval"


def _is_finding(term: TermAudit | BaselineTerm) -> bool:
    """A rule that was broken, or a limit that is missed."""
    return term.violated > 0 if term.kind in ("hard", "soft") else term.within is False


def _is_shown(now: TermAudit, sizes: _Sizes) -> bool:
    """Whether the interval alone says so: one violation proves that a hard rule is broken; a limit is missed where the
    whole interval lies beyond it. A soft rule and a preference have no limit to be beyond."""
    if now.kind == "hard":
        return now.violated > 0
    if now.within is not False or now.bound is None:
        return False
    interval = _at(now, sizes.now, sizes.confidence)
    if interval is None:
        return False
    over, under = interval.low > now.bound, interval.high < now.bound
    beyond = over or under if now.sense == "exactly" else under if now.sense == "at least" else over
    # A limit for each prompt that the answers keep together was found missed by a test of the single prompts.
    return beyond or (now.each_prompt and _keeps(now))


def _keeps(now: TermAudit) -> bool:
    level, bound = _level(now), now.bound
    if level is None or bound is None or now.sense == "exactly":
        return False
    return level >= bound if now.sense == "at least" else level <= bound


def _said(now: TermAudit) -> str:
    if now.bound is not None:
        return "its limit is missed"
    return f"it was broken in {now.violated:,} of {now.applicable:,} answers"


def _bad_side(now: TermAudit) -> int:
    """1 where more is worse, -1 where less is, 0 where neither is."""
    if now.kind in ("hard", "soft"):
        return 1
    if now.kind == "graded":
        return 0 if not now.weight else -1 if now.weight > 0 else 1
    if now.sense == "exactly":
        level, bound = _level(now), now.bound
        return 0 if level is None or bound is None else 1 if level > bound else -1
    return -1 if now.sense == "at least" else 1


# ------------------------------------------------------------------------------------------------------- intervals
def effective_number(rate: float, interval: Interval, most: float) -> float:
    """How many independent answers have a Wilson interval at `rate` as wide as this 95 % interval; at most `most`.

    So the error of answers that come in clusters is carried over to other confidences. 0 for an interval that says
    nothing (width 1).
    """
    width = interval.high - interval.low
    if width >= 1 or most <= 0:
        return 0.0

    def excess(size: float) -> float:
        found = statistics.wilson(rate * size, size)
        return found.high - found.low - width

    if excess(most) >= -1e-9:
        return most
    low, high = math.log(1e-9), math.log(most)
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(math.exp(middle)) > 0 else (low, middle)
    return math.exp(low)


def _at(term: TermAudit | BaselineTerm, clusters: int | None, confidence: float) -> Interval | None:
    """The interval of a rate or mean at another confidence than the 95 % that it was recorded with."""
    if term.rate is not None and term.interval is not None:
        size = effective_number(term.rate, term.interval, term.applicable)
        return statistics.wilson(term.rate * size, size, confidence) if size > 0 else Interval(0.0, 1.0)
    if term.mean is None or term.mean_interval is None:
        return None
    degrees = max(min(term.applicable, clusters or term.applicable) - 1, 1)
    usual, wanted = (statistics.t_quantile((1 + level) / 2, degrees) for level in (CONFIDENCE, confidence))
    low, high = term.mean - term.mean_interval.low, term.mean_interval.high - term.mean
    return Interval(term.mean - low * wanted / usual, term.mean + high * wanted / usual)


def _difference(now: TermAudit, then: BaselineTerm, sizes: _Sizes) -> Interval | None:
    """Now minus then; None where one of them has no rate or mean, or no interval."""
    if (now.rate is None) != (then.rate is None):
        return None
    one, two = _at(now, sizes.now, sizes.confidence), _at(then, sizes.then, sizes.confidence)
    first, second = _level(now), _level(then)
    if one is None or two is None or first is None or second is None:
        return None
    if now.rate is not None:
        return difference_of(first, one, second, two).interval
    gap = first - second
    low, high = math.hypot(first - one.low, two.high - second), math.hypot(one.high - first, second - two.low)
    return Interval(gap - low, gap + high)


def _unscored_difference(now: TermAudit, then: BaselineTerm, sizes: _Sizes) -> Interval | None:
    """Of the shares that could not be scored, among the answers to which the rule may apply."""
    shares = []
    for term, clusters in ((now, sizes.now), (then, sizes.then)):
        total = term.applicable + term.unscored
        if not total:
            return None
        # whether answers to one prompt fail together is not recorded: they count as one answer
        size = float(min(total, clusters or total))
        share = term.unscored / total
        shares.append((share, statistics.wilson(share * size, size, sizes.confidence)))
    return difference_of(*shares[0], *shares[1]).interval


def _notes(record: AuditRecord, baseline: Baseline) -> tuple[str, ...]:
    found = []
    if record.policy_digest != baseline.policy_digest:
        found.append(
            "The policy was changed since the baseline: a rule whose own words are the same may still mean something "
            "else, through a definition or an exception."
        )
    if not baseline.complete:
        found.append(f"The baseline was interrupted after {baseline.transcripts:,} transcripts.")
    if not record.complete:
        found.append("This audit was interrupted; only what was done is compared.")
    return tuple(found)
