"""What a record comes to, in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bylaw.runtime.audit.clustered import FEW_CLUSTERS
from bylaw.runtime.audit.statistics import wilson
from bylaw.runtime.record import AuditRecord, BudgetResult, RunRecord, TermAudit
from bylaw.runtime.report.figures import (
    in_unit_of,
    is_not_shown,
    limit,
    limit_met,
    not_shown_words,
    outcome,
    percent,
    percent_interval,
    plural,
    quantity,
    whole,
)
from bylaw.runtime.report.rows import run_rows
from bylaw.runtime.report.text import one_line

_CLAUSE = 90
PAIRS_NOTE = (
    "For each prompt the worst of the answers of the model alone, the one that breaks most clauses, is shown beside "
    "the first answer under the policy: the pairs show what the policy prevents, not how often."
)


def run_summary(record: RunRecord) -> tuple[str, ...]:
    """The outcome of a run: the sentence that opens the report, then what has to be known beside it."""
    sentences = [_under_policy(record)]
    if record.base is not None:
        sentences.append(_without_policy(record.base))
    if record.regulated is not None:
        sentences.extend(
            f"{_quoted(t)} could not be scored in {plural(t.unscored, 'answer')}, which are no passes."
            for t in record.regulated.terms
            if t.unscored
        )
        sentences.extend(_limits(record.regulated, {row.term.term: row.budget for row in run_rows(record)}))
    if record.calibration is not None and not record.calibration.converged:
        sentences.append("The calibration of the limits did not converge, so their multipliers are not final.")
    if record.decoder is not None and record.decoder.biased:
        sentences.append(
            f"The decoder `{record.decoder.name}` is biased: its answers do not follow the law of the policy exactly."
        )
    return tuple(s for s in sentences if s)


def audit_summary(record: AuditRecord) -> tuple[str, ...]:
    """The outcome of an audit in sentences."""
    rules = [t for t in record.terms if _is_rule(t)]
    broken = [t for t in rules if t.violated]
    many = plural(record.transcripts, "transcript")
    if not record.transcripts:
        sentences = ["No transcript was audited."]
    elif not rules:
        sentences = [f"In {many} there was no rule to break: the policy states limits and preferences only."]
    elif broken:
        sentences = [
            f"In {many}, {len(broken)} of {plural(len(rules), 'rule')} {_was(len(broken))} broken ({_kinds(broken)}). "
            f"{_worst(broken)}"
        ]
    else:
        sentences = [f"In {many} {_none_broken(rules, record)}."]
    sentences.extend(_limits(record, {}))
    unscored = [t for t in record.terms if t.unscored]
    if unscored:
        most = max(t.unscored for t in unscored)
        sentences.append(
            f"Some transcripts could not be scored, up to {whole(most)} for one clause; they are counted apart and are "
            "no passes."
        )
    if record.clusters is not None and 0 < record.clusters < min(FEW_CLUSTERS, record.transcripts):
        sentences.append(
            f"They answer {plural(record.clusters, 'prompt')} only: below {FEW_CLUSTERS} it is hardly known how "
            "prompts differ, and intervals say little."
        )
    never = sum(not t.applicable and not t.unscored for t in record.terms)
    if never and record.transcripts:
        sentences.append(
            f"{plural(never, 'clause')} never applied, so nothing is known about {'it' if never == 1 else 'them'}."
        )
    if record.problems:
        sentences.append(f"{plural(len(record.problems), 'part')} of the input could not be read and was left out.")
    return tuple(sentences)


def _kinds(broken: Sequence[TermAudit]) -> str:
    """`3 hard rules and 1 weighed rule`: what was counted."""
    counts = [(sum(t.kind == kind for t in broken), word) for kind, word in (("hard", "hard"), ("soft", "weighed"))]
    return " and ".join(plural(count, f"{word} rule") for count, word in counts if count)


def _none_broken(rules: Sequence[TermAudit], record: AuditRecord) -> str:
    is_scored = any(t.applicable for t in rules)
    if any(t.unscored for t in rules):
        return "no rule was found broken, as far as could be scored" if is_scored else "no rule could be scored"
    if not is_scored:
        return "no rule ever applied, so none was found broken"
    bound = percent(wilson(0, record.clusters or record.transcripts).high)
    return f"no rule was found broken (at most {bound} of them, 95% interval)"


def _is_rule(term: TermAudit) -> bool:
    return term.kind in ("hard", "soft")


def _quoted(term: TermAudit) -> str:
    """The author's title in quotation marks, or the clause in backticks; neither may be ended from inside."""
    if term.title:
        return f"“{one_line(term.title, _CLAUSE).replace('`', chr(39))}”"
    return f"`{one_line(term.clause, _CLAUSE).replace('`', chr(39))}`"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _worst(terms: Sequence[TermAudit]) -> str:
    worst = max(terms, key=lambda t: t.rate or 0.0)
    return (
        f"Most often {_quoted(worst)}: in {outcome(worst)} of the {worst.applicable:,} to which it "
        f"applied ({percent_interval(worst.interval)})."
    )


def _under_policy(record: RunRecord) -> str:
    audit = record.regulated
    if audit is None or not audit.transcripts:
        return "The run ended before the model answered under this policy."
    answers = plural(audit.transcripts, "answer")
    hard = [t for t in audit.terms if t.kind == "hard"]
    broken = [t for t in hard if t.violated]
    unscored = any(t.unscored for t in hard)
    if not hard:
        start = f"This policy has no hard rule; the model gave {answers} under it"
    elif broken:
        worst = max(broken, key=lambda t: t.rate or 0.0)
        start = (
            f"Under this policy the model still broke {len(broken)} of {plural(len(hard), 'hard rule')} in {answers}, "
            f"most often {_quoted(worst)} ({outcome(worst)}, {percent_interval(worst.interval)})"
        )
    else:
        start = f"Under this policy the model broke no hard rule in {answers}"
        if not unscored and any(t.applicable for t in hard):
            start += f" (at most {percent(wilson(0, audit.independent or audit.clusters or audit.transcripts).high)})"
    if unscored:
        start += ", as far as could be scored"
    if record.price is None:
        return f"{start}. What that costs was not measured."
    low, high = record.price.kl_interval.low, record.price.kl_interval.high
    return f"{start}, at a price of {quantity(record.price.kl)} nats a response ({quantity(low)} to {quantity(high)})."


def _without_policy(audit: AuditRecord) -> str:
    broken = [t for t in audit.terms if t.kind == "hard" and t.violated]
    if not broken:
        has_hard = audit.transcripts and any(t.kind == "hard" for t in audit.terms)
        answers = plural(audit.transcripts, "answer")
        return f"Without the policy the same model broke no hard rule in {answers}." if has_hard else ""
    worst = max(broken, key=lambda t: t.rate or 0.0)
    return (
        f"Without the policy the same model broke {plural(len(broken), 'hard rule')}, most often "
        f"{_quoted(worst)}, in {outcome(worst)} of its answers ({percent_interval(worst.interval)})."
    )


def _limits(audit: AuditRecord, budgets: Mapping[str, BudgetResult | None]) -> list[str]:
    limits = [t for t in audit.terms if t.bound is not None]
    if not limits or not audit.transcripts:
        return []
    met = {t.term: limit_met(t, budgets.get(t.term)) for t in limits}
    open_ones = [t for t in limits if is_not_shown(t, audit, budgets.get(t.term))]
    kept = sum(words == "met" for words in met.values())
    sentences = [f"{kept} of {plural(len(limits), 'limit')} {_is(len(limits))} met."]
    sentences.extend(f"Not shown to be kept: {_quoted(t)} ({not_shown_words(t, audit)})." for t in open_ones)
    for wanted in ("missed", "cannot be told"):
        sentences.extend(
            f"{wanted.capitalize()}: {_quoted(t)} ({_corrected(t, audit)}{_seen(t, budgets.get(t.term))}; {limit(t)})."
            for t in limits
            if met[t.term] == wanted and t not in open_ones
        )
    return sentences


def _corrected(term: TermAudit, audit: AuditRecord) -> str:
    """The rate that people's labels make of the verdicts, which is what decides; empty where there are none."""
    for rate in audit.corrections:
        if rate.term == term.term:
            return f"{percent(rate.value)} corrected with labels, by the verdicts alone "
    return ""


def _seen(term: TermAudit, budget: BudgetResult | None) -> str:
    law = "" if budget is None else f", {in_unit_of(budget.rate, term)} under the law"
    return f"{outcome(term)}{law}"


def _is(count: int) -> str:
    return "is" if count == 1 else "are"
