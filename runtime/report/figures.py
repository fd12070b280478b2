"""How numbers are written in every report, and the words for what a clause came to."""

from __future__ import annotations

import math

from bylaw.runtime.record import AuditRecord, BudgetResult, Calibration, Check, Interval, RunRecord, TermAudit

KINDS = (("hard", "hard rule"), ("soft", "soft rule"), ("graded", "preference"), ("budget", "limit"))
NOTHING = "–"
NOT_SHOWN = "not shown to be kept"


def percent(share: float) -> str:
    """A share as a percentage. Only 0 and 1 themselves are written `0%` and `100%`."""
    if math.isnan(share):
        return "unknown"
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f}%"
    if 0 < value < 0.1:
        return f"{value:.2g}%" if value >= 0.001 else "< 0.001%"
    if 99.9 < value < 100:
        return f"{min(value, 99.99):.2f}%"
    return f"{value:.1f}%"


def stated_percent(share: float) -> str:
    """A share that somebody chose, with the digits that they gave: `5%`, `99.5%`."""
    return f"{round(100 * share, 9):g}%"


def quantity(value: float) -> str:
    """A quantity or price to three figures or two decimals, whichever is more."""
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else "unbounded"
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def nats(value: float) -> str:
    """A price in nats to two decimals; a smaller one to its first figure."""
    if not math.isfinite(value):
        return quantity(value)
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.005 else f"{value:.1g}"


def whole(value: float) -> str:
    """A count with thousands apart."""
    return f"{value:,.0f}"


def percent_interval(interval: Interval | None) -> str:
    """An interval of shares in words."""
    return NOTHING if interval is None else f"{percent(interval.low)} to {percent(interval.high)}"


def quantity_interval(interval: Interval | None) -> str:
    """An interval of quantities in words."""
    return NOTHING if interval is None else f"{quantity(interval.low)} to {quantity(interval.high)}"


def kind(term: TermAudit) -> str:
    """What sort of clause this is."""
    return dict(KINDS).get(term.kind, term.kind)


def outcome(term: TermAudit | None) -> str:
    """The rate or mean of a clause, or why there is none."""
    if term is None:
        return NOTHING
    if term.rate is not None:
        return percent(term.rate)
    if term.mean is not None:
        return f"mean {quantity(term.mean)}"
    return "unscored" if term.unscored else "never applied"


def outcome_interval(term: TermAudit | None) -> str:
    """The 95% interval of a rate or mean."""
    if term is None:
        return NOTHING
    return percent_interval(term.interval) if term.rate is not None else quantity_interval(term.mean_interval)


def limit(term: TermAudit) -> str:
    """The bound that an author put on a clause, with the confidence that was asked for."""
    if term.bound is None:
        return NOTHING
    asked = "" if term.confidence is None else f", with {stated_percent(term.confidence)} confidence"
    asked += ", for each prompt" if term.each_prompt else ""
    asked += "" if term.price is None else f", price at most {term.price:g}"
    return f"{term.sense or 'at most'} {_stated(term, term.bound)}{asked}"


def broken(term: TermAudit) -> str:
    """How many of those to which the clause applies break it; nothing for a clause that measures a quantity."""
    return NOTHING if term.mean is not None else f"{whole(term.violated)} of {whole(term.applicable)}"


def limit_met(term: TermAudit | None, budget: BudgetResult | None = None) -> str:
    """Whether the limit is kept, by the answers and by the law, where there is one; nothing where there is no limit."""
    if term is None or term.bound is None:
        return NOTHING
    law = "" if budget is None else budget.status
    if law == "missed" or term.within is False:
        return "missed"
    return "cannot be told" if law == "undetermined" or term.within is None else "met"


def is_not_shown(
    term: TermAudit, record: AuditRecord | RunRecord | None = None, budget: BudgetResult | None = None
) -> bool:
    """Whether a limit is not known to be kept, and not known to be broken either.

    It asks for a confidence, the measured rate or mean keeps it, and only the bound on that does not: there are too few
    answers, or the rate is too near the limit. A gate does not let it pass. `record` says whether labels corrected the
    rate, which is then what counts, or whether an audit that stops by itself has shown that the limit is broken.
    """
    if term.within is not False or term.bound is None or term.confidence is None:
        return False
    if term.sense == "exactly" or term.each_prompt or (budget is not None and budget.status == "missed"):
        return False  # these are found missed only by what speaks against them
    stopped = record.stopping.limits if isinstance(record, AuditRecord) and record.stopping is not None else ()
    if any(each.term == term.term and each.state == "broken" for each in stopped):
        return False
    value, interval = _measured(term, record)
    if value is None:
        return False
    known = value if interval is None else interval.high if term.sense == "at least" else interval.low
    slack = 1e-12 * max(1.0, abs(term.bound))
    if term.sense == "at least":
        return min(value, known) >= term.bound - slack
    return max(value, known) <= term.bound + slack


def not_shown_words(term: TermAudit, record: AuditRecord | RunRecord | None = None) -> str:
    """What there is to say of a limit that is not shown to be kept, without its name."""
    value, _ = _measured(term, record)
    assert value is not None
    assert term.bound is not None
    assert term.confidence is not None
    asked = (
        f"{term.sense or 'at most'} {_stated(term, term.bound)} asked with {stated_percent(term.confidence)} confidence"
    )
    few = f"{plural(term.applicable, 'answer')} {'is' if term.applicable == 1 else 'are'} too few or it is too near"
    corrected = isinstance(record, AuditRecord) and any(rate.term == term.term for rate in record.corrections)
    return f"{in_unit_of(value, term)}{' corrected with labels' * corrected}, {asked}; {few}"


def _measured(term: TermAudit, record: AuditRecord | RunRecord | None) -> tuple[float | None, Interval | None]:
    """The rate or mean that a limit is judged by, with its 95% interval."""
    if isinstance(record, AuditRecord):
        for rate in record.corrections:
            if rate.term == term.term:
                return rate.value, rate.interval
    return (term.rate, term.interval) if term.rate is not None else (term.mean, term.mean_interval)


def limit_outcome(
    term: TermAudit, budget: BudgetResult | None = None, record: AuditRecord | RunRecord | None = None
) -> str:
    """Whether the limit is kept, in words. Where the law was calibrated to it, the law's own rate is what counts: the
    answers that were handed out lie above a limit that is just met every second time."""
    if is_not_shown(term, record, budget):
        return NOT_SHOWN
    met = limit_met(term, budget)
    if budget is None or (met == "met" and term.confidence is not None):
        return met
    if met == budget.status or (met, budget.status) == ("cannot be told", "undetermined") or met == "met":
        return f"{status(budget)}: {in_unit_of(budget.rate, term)} under the law"
    return met


def limit_bound(term: TermAudit) -> str:
    """The one-sided bound that limits are judged by, and the worst prompt of one that holds for each prompt, in words;
    empty where there is neither."""
    worst = term.worst_prompt
    at_worst = "" if worst is None else f"{in_unit_of(worst.rate, term)} in {worst.answers} answers to `{worst.prompt}`"
    if term.confidence_bound is None:
        return at_worst
    side = "at least" if term.sense == "at least" else "at most"
    confidence = 0.95 if term.confidence is None else term.confidence
    measured = f"{side} {in_unit_of(term.confidence_bound, term)} ({stated_percent(confidence)} sure)"
    return f"{measured}; {at_worst}" if at_worst else measured


def in_unit_of(value: float, term: TermAudit) -> str:
    """A value that was measured for a clause: a share, or a quantity where the clause measures one."""
    return percent(value) if _is_share(term, value) else quantity(value)


def _stated(term: TermAudit, bound: float) -> str:
    """A bound as its author gave it, in the unit of its clause."""
    return stated_percent(bound) if _is_share(term, bound) else f"{bound:g}"


def _is_share(term: TermAudit, bound: float) -> bool:
    """Whether a bound is on how often something happens; a clause that measures a quantity has a mean."""
    return term.mean is None and 0 <= bound <= 1


def strength(term: TermAudit, budget: BudgetResult | None) -> str:
    """With what force the clause enters the law: a weight that its author chose, or a multiplier solved for."""
    if budget is not None:
        return f"{quantity(budget.multiplier)} ({quantity_interval(budget.multiplier_interval)})"
    if term.weight is not None:
        return quantity(term.weight)
    return "must hold" if term.kind == "hard" else NOTHING


def status(result: BudgetResult) -> str:
    """What came of one limit under the law."""
    return "cannot be told" if result.status == "undetermined" else result.status


def sample(part: Calibration | Check) -> str:
    """From how good a sample the rates under the law come."""
    drawn = "draw" if isinstance(part, Calibration) else "proposal"
    by = "the model and the decoder together" if isinstance(part, Calibration) else "the decoder"
    return (
        f"{plural(part.samples, drawn)} of {by}, effective {quantity(part.ess)} in all and "
        f"{quantity(part.smallest_prompt_ess)} for the hardest prompt"
    )


def sampling(record: RunRecord) -> str:
    """The settings of a run that say how answers were drawn, as far as they were written down."""
    parts = [f"temperature {record.temperature:g}"]
    if record.particles:
        parts.append(f"{plural(record.particles, 'proposal')} of the decoder a prompt (particles)")
    if record.responses_per_prompt:
        parts.append(f"{plural(record.responses_per_prompt, 'answer')} under the policy a prompt (responses)")
    if record.calibration_particles:
        parts.append(
            f"{plural(record.calibration_particles, 'proposal')} a prompt in the first round of calibration "
            "(calibration particles)"
        )
    return ", ".join(parts)


def unscored(term: TermAudit) -> str:
    """How many transcripts have no verdict, and what the rate would be if all or none of them were violations."""
    if not term.unscored:
        return "0"
    if term.best is None or term.worst is None:
        return whole(term.unscored)
    return f"{whole(term.unscored)} ({percent(term.best)} to {percent(term.worst)})"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 rule`, `2 rules`."""
    return f"{whole(count)} {one if count == 1 else many or one + 's'}"
