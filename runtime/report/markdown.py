"""Records as Markdown. Nothing of a model's text is Markdown: in lines it is escaped, in blocks it stands in fences."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bylaw.runtime.record import (
    Agreement,
    AuditRecord,
    BudgetResult,
    Finding,
    InputProblem,
    Interval,
    RunRecord,
    TermAudit,
)
from bylaw.runtime.report import figures
from bylaw.runtime.report.audit_corrected import corrected_markdown
from bylaw.runtime.report.audit_sections import sections_of
from bylaw.runtime.report.audit_together import beside_heading, beside_rate, kappa_words, labellers_sentence
from bylaw.runtime.report.rows import run_rows
from bylaw.runtime.report.scores import HEADINGS, NOTE, TITLE, rates_note, score_remarks, score_rows
from bylaw.runtime.report.sections import section_markdown
from bylaw.runtime.report.summary import PAIRS_NOTE, audit_summary, run_summary
from bylaw.runtime.report.text import block, excerpt, one_line
from bylaw.runtime.scoring_record import ConceptScoring

# what stands at the start of a line only (`1.`, `-`, `+`) is not among them: no words of others start a line
_SPECIAL = re.compile(r"([\\`*_\[\]#!|<>~$&])")
_OPEN, _CLOSE = "⟦", "⟧"
_PROBLEMS = 50


def render_markdown(record: AuditRecord | RunRecord) -> str:
    """The record as one Markdown document."""
    lines = _run(record) if isinstance(record, RunRecord) else _audit(record)
    return "\n".join(lines) + "\n"


def escape(words: str) -> str:
    """Text on one line in which nothing has a meaning in Markdown."""
    return _SPECIAL.sub(r"\\\1", one_line(words))


def _audit(record: AuditRecord) -> list[str]:
    lines = [f"# Audit of {escape(record.source)} against the policy {escape(record.policy)}", ""]
    if not record.complete:
        lines += ["> **Interrupted.** Every figure covers the transcripts that were done.", ""]
    lines += _sentences(audit_summary(record))
    lines += ["## Every clause", ""]
    beside = beside_heading(record)
    lines += _table(
        (
            "clause",
            "what",
            "rate or mean",
            "95% interval",
            "broken",
            "not applicable",
            "unscored (rate if none or all are broken)",
            "limit",
            *([beside] if beside else []),
        ),
        (
            (
                f"{escape(term.clause)} ({escape(term.location)})",
                figures.kind(term),
                figures.outcome(term),
                figures.outcome_interval(term),
                figures.broken(term),
                figures.whole(term.not_applicable),
                figures.unscored(term),
                _limit(term, None, record),
                *([escape(beside_rate(record, term))] if beside else []),
            )
            for term in record.terms
        ),
    )
    if note := rates_note(record.scoring):
        lines += [escape(note), ""]
    lines += _reasons(record.terms)
    lines += corrected_markdown(record)
    lines += [line for section in sections_of(record, has_column=True) for line in section_markdown(section)]
    lines += _scores(record.scoring)
    lines += _agreements(record.agreements)
    lines += [line for each in record.labellers for line in (escape(labellers_sentence(each)), "")]
    lines += _findings(record.terms)
    lines += _problems(record.problems)
    clusters = "" if record.clusters is None else f", allowing for several answers to {record.clusters:,} prompts"
    lines += [
        "## How it was made",
        "",
        f"- policy: {escape(record.policy)}, version {escape(record.policy_version)}",
        f"- digest of the rules: `{one_line(record.policy_digest)}`",
        f"- transcripts: {record.transcripts:,} from {escape(record.source)}",
        f"- intervals: 95%{clusters}",
    ]
    return lines


def _run(record: RunRecord) -> list[str]:
    lines = [f"# The policy {escape(record.policy)} on the model {escape(record.model)}", ""]
    if not record.complete:
        lines += ["> **Interrupted.** What the run had not reached is missing.", ""]
    lines += _sentences(run_summary(record))
    lines += [f"> **Warning:** {escape(warning)}\n" for warning in record.warnings]
    rows = run_rows(record)
    if rows:
        lines += ["## All figures", ""]
        header = (
            "clause",
            "what",
            "applied to",
            "before",
            "after",
            "weight or multiplier (nats)",
            "price (nats)",
            "limit",
        )
        lines += _table(
            header,
            (
                (
                    f"{escape(row.term.clause)} ({escape(row.term.location)})",
                    figures.kind(row.term),
                    figures.whole(row.term.applicable),
                    _rate(row.before),
                    _rate(row.after),
                    figures.strength(row.term, row.budget),
                    _error(row.price.kl, row.price.standard_error) if row.price else figures.NOTHING,
                    _limit(row.after, row.budget) if row.after else figures.limit(row.term),
                )
                for row in rows
            ),
        )
    if record.price is not None:
        low_high = figures.quantity_interval(record.price.kl_interval)
        lines += [
            f"Price in all: {figures.quantity(record.price.kl)} nats a response ({low_high}), divided over the clauses "
            f"as Shapley values ({escape(record.price.method)}).",
            "",
        ]
    if record.regulated is not None:
        lines += _reasons(record.regulated.terms)
    lines += _scores(record.scoring)
    lines += _calibration(record)
    lines += _pairs(record)
    for audit in (record.base, record.regulated):
        lines += _problems(audit.problems) if audit is not None else []
    lines += _provenance(record)
    return [*lines, "", "## The policy", "", *_fence(block(record.policy_text))]


def _calibration(record: RunRecord) -> list[str]:
    found = record.calibration
    if found is None:
        return []
    lines = ["## How the limits were met", ""]
    header = ("limit", "asked", "without limits", "under the law", "multiplier (nats)", "outcome")
    budgets = [(row.term, row.budget) for row in run_rows(record) if row.budget is not None]
    if budgets:
        lines += _table(
            header,
            (
                (
                    escape(term.clause),
                    figures.limit(term),
                    figures.in_unit_of(budget.base_rate, term),
                    f"{figures.in_unit_of(budget.rate, term)} ({figures.in_unit_of(budget.rate_interval.low, term)} to "
                    f"{figures.in_unit_of(budget.rate_interval.high, term)})",
                    figures.strength(term, budget),
                    figures.status(budget),
                )
                for term, budget in budgets
            ),
        )
    state = "converged" if found.converged else "not converged"
    lines += [f"{figures.plural(found.rounds, 'round')}, {state}; calibrated on {figures.sample(found)}.", ""]
    if record.check is not None:
        checked = figures.sample(record.check)
        lines += [f"Checked on {checked}, which played no part in finding the multipliers.", ""]
    return lines


def _pairs(record: RunRecord) -> list[str]:
    if not record.pairs:
        return []
    note = f"{PAIRS_NOTE} Places that break a clause stand in {_OPEN}{_CLOSE}."
    lines = ["## The same prompts, before and after", "", note, ""]
    for pair in record.pairs:
        lines += [f"### {escape(pair.source)}", "", *_quoted(pair.prompt, ())]
        for who, answer, spans, broken in (
            ("The model alone", pair.base, pair.base_spans, pair.base_violated),
            ("Under the policy", pair.regulated, pair.regulated_spans, pair.regulated_violated),
        ):
            verdict = f"breaks {', '.join(map(escape, broken))}" if broken else "breaks nothing"
            lines += [f"{who} ({verdict}):", "", *_quoted(answer, spans)]
    return lines


def _provenance(record: RunRecord) -> list[str]:
    digest = f", SHA-256 `{one_line(record.prompts_digest)}`" if record.prompts_digest else ""
    lines = [
        "## How it was made",
        "",
        f"- policy: {escape(record.policy)}, version {escape(record.policy_version)}, {escape(record.policy_path)}",
        f"- digest of the rules: `{one_line(record.policy_digest)}`",
        f"- model: {escape(record.model)} `{one_line(record.model_digest)}`",
        f"- prompts: {record.prompt_count:,} from {escape(record.prompts)}, "
        f"{figures.plural(record.samples_per_prompt, 'answer')} each, at most {record.max_tokens:,} tokens long"
        f"{digest}",
        f"- sampling: {figures.sampling(record)}",
    ]
    if record.decoder is not None:
        made = record.decoder
        law = "biased" if made.biased else "samples the law of the policy"
        lines.append(
            f"- decoder: {escape(made.name)} ({law}), {figures.plural(made.particles, 'particle')}, {made.dead:,} of "
            f"them ended without a legal answer; effective {figures.quantity(made.mean_ess)} on average, "
            f"{figures.quantity(made.smallest_ess)} at worst; mean log Z {figures.quantity(made.mean_log_z)}; "
            f"{made.model_tokens:,} tokens computed"
        )
    return [
        *lines,
        f"- seed: {record.seed}",
        f"- time: {figures.quantity(record.seconds)} seconds",
        f"- bylaw {escape(record.bylaw_version)}, record schema {record.schema_version}",
    ]


# ------------------------------------------------------------------------------------------------------------ parts
def _sentences(sentences: Iterable[str]) -> list[str]:
    """Sentences in which words in backticks stay code: what the author wrote, with nothing else escaped in it."""
    lines = []
    for sentence in sentences:
        pieces = one_line(sentence).split("`")
        lines += ["".join(f"`{p}`" if i % 2 else _SPECIAL.sub(r"\\\1", p) for i, p in enumerate(pieces)), ""]
    return lines


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table; the cells are escaped already where they hold anybody's words."""
    lines = [_row(header), _row(["---"] * len(header))]
    return [*lines, *(_row(row) for row in rows), ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _limit(term: TermAudit, budget: BudgetResult | None = None, record: AuditRecord | None = None) -> str:
    if term.bound is None:
        return figures.NOTHING
    bound = figures.limit_bound(term)
    bound = bound if term.worst_prompt is None else escape(bound)  # it holds what the prompt is called
    return f"{figures.limit_outcome(term, budget, record)} ({figures.limit(term)})" + (
        f"; measured {bound}" if bound else ""
    )


def _rate(term: TermAudit | None) -> str:
    return figures.NOTHING if term is None else f"{figures.outcome(term)} ({figures.outcome_interval(term)})"


def _error(value: float, standard_error: float) -> str:
    return f"{figures.nats(value)} ± {figures.nats(1.96 * standard_error)}"


def _reasons(terms: Sequence[TermAudit]) -> list[str]:
    lines = [f"- {escape(t.term)}: {escape(why)} ({count:,})" for t in terms for why, count in t.reasons]
    return ["### Why some could not be scored", "", *lines, ""] if lines else []


def _scores(scoring: Sequence[ConceptScoring]) -> list[str]:
    if not scoring:
        return []
    rows = [tuple(map(escape, row)) for row in score_rows(scoring)]
    remarks = [f"- {escape(concept)}: {escape(remark)}" for concept, remark in score_remarks(scoring)]
    return [f"## {TITLE}", "", *_table(HEADINGS, rows), NOTE, "", *remarks, *([""] if remarks else [])]


def _agreements(agreements: Sequence[Agreement]) -> list[str]:
    if not agreements:
        return []
    header = (
        "clause",
        "labels",
        "agreement",
        "baseline",
        "kappa",
        "sensitivity",
        "specificity",
        "people, rule",
        "counts",
    )
    rows = (
        (
            escape(a.term),
            f"{escape(a.column)}: {' or '.join(map(escape, a.positive_labels))}",
            f"{figures.percent(a.agreement)} ({figures.percent_interval(a.agreement_interval)})",
            figures.percent(a.majority_baseline),
            kappa_words(a.kappa, a.kappa_interval),
            _share(a.sensitivity, a.sensitivity_interval),
            _share(a.specificity, a.specificity_interval),
            f"{figures.percent(a.human_rate)}, {figures.percent(a.rule_rate)}",
            f"both {a.true_positive:,}, rule only {a.false_positive:,}, people only {a.false_negative:,}, neither "
            f"{a.true_negative:,}, unscored {a.unscored:,}, no label {a.unlabelled:,}",
        )
        for a in agreements
    )
    return ["## Agreement with people", "", *_table(header, rows)]


def _share(value: float | None, interval: Interval | None) -> str:
    return figures.NOTHING if value is None else f"{figures.percent(value)} ({figures.percent_interval(interval)})"


def _findings(terms: Sequence[TermAudit]) -> list[str]:
    if not any(term.findings for term in terms):
        return []
    lines = ["## Findings", "", f"The first answers that broke each clause; the places stand in {_OPEN}{_CLOSE}.", ""]
    for term in terms:
        if term.findings:
            lines += [f"### {escape(term.clause)}", ""]
            for finding in term.findings:
                lines += _finding(finding)
    return lines


def _finding(finding: Finding) -> list[str]:
    lines = [f"{escape(finding.source)}, prompt:", "", *_quoted(finding.prompt, ())]
    if finding.event is not None:
        lines += [f"broken by {escape(finding.event)}", ""]
    if finding.event is None or finding.spans:
        lines += ["answer:", "", *_quoted(finding.response, finding.spans)]
    return lines


def _problems(problems: Sequence[InputProblem]) -> list[str]:
    if not problems:
        return []
    lines = [f"- {escape(p.source)}:{p.line}: {escape(p.message)}" for p in problems[:_PROBLEMS]]
    rest = len(problems) - len(lines)
    return ["## Left out of the input", "", *lines, *([f"- and {rest:,} more"] if rest else []), ""]


def _quoted(words: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """A text in a fence, with its evidence in brackets."""
    shown = excerpt(words, spans)
    lines = _fence("".join(f"{_OPEN}{p.text}{_CLOSE}" if p.marked else p.text for p in shown.pieces))
    if shown.whole:
        lines += ["(the answer as a whole)", ""]
    return [*lines, f"({shown.left_out:,} more characters)", ""] if shown.left_out else lines


def _fence(words: str) -> list[str]:
    """A code block whose fence is longer than any run of backticks in it."""
    longest = max((len(run) for run in re.findall(r"`+", words)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", words, fence, ""]
