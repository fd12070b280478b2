"""Records as tables in a terminal.

Everything is a rich `Text`, never markup, and went through `visible`: model text can neither style the output nor send
an escape sequence to the terminal. Evidence stands in brackets, so that it is marked without colours too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bylaw.runtime.record import Agreement, AuditRecord, BudgetResult, InputProblem, RunRecord, TermAudit
from bylaw.runtime.report import figures
from bylaw.runtime.report.audit_corrected import corrected_lines
from bylaw.runtime.report.audit_sections import sections_of
from bylaw.runtime.report.audit_together import beside_heading, beside_rate, kappa_words, labellers_sentence
from bylaw.runtime.report.rows import run_rows
from bylaw.runtime.report.scores import HEADINGS, TITLE, rates_note, score_remarks, score_rows
from bylaw.runtime.report.sections import print_section
from bylaw.runtime.report.summary import audit_summary, run_summary
from bylaw.runtime.report.terminal import add_row, fit, new_table, say
from bylaw.runtime.report.text import excerpt, one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from bylaw.runtime.scoring_record import ConceptScoring

_EXCERPT = 400
_PROBLEMS = 10


def render_console(record: AuditRecord | RunRecord, console: Console) -> None:
    """Prints the record: what it comes to, one line a clause, and the findings."""
    if not record.complete:
        say(console, "interrupted: every figure covers what was done", "bold red")
    if isinstance(record, RunRecord):
        _print_run(record, console)
    else:
        _print_audit(record, console)


def _print_audit(record: AuditRecord, console: Console) -> None:
    _sentences(console, audit_summary(record))
    beside = beside_heading(record)
    others = ["rate or mean", "95% interval", "broken", "limit", *([beside] if beside else [])]
    table = new_table(console, "clause", *others)
    for term in record.terms:
        add_row(
            console,
            table,
            _clause(term),
            figures.outcome(term),
            figures.outcome_interval(term),
            figures.broken(term),
            _limit(term, None, record),
            *([beside_rate(record, term)] if beside else []),
        )
    console.print(table)
    if note := rates_note(record.scoring):
        say(console, note)
    _print_unscored(record.terms, console)
    for sentence in corrected_lines(record):
        say(console, sentence)
    for section in sections_of(record, has_column=True):
        # the notes are for documents: a table on a terminal is read by those who ran the audit
        print_section(replace(section, notes=()) if section.name == "chance" else section, console)
    _print_scores(record.scoring, console)
    for agreement in record.agreements:
        _print_agreement(agreement, console)
    for each in record.labellers:
        say(console, labellers_sentence(each))
    _print_findings(record.terms, console)
    _print_problems(record.problems, console)


def _print_run(record: RunRecord, console: Console) -> None:
    _sentences(console, run_summary(record))
    for warning in record.warnings:
        say(console, f"warning: {warning}", "yellow")
    rows = run_rows(record)
    if rows:
        table = new_table(console, "clause", "before", "after", "weight (nats)", "price (nats)", "limit")
        for row in rows:
            add_row(
                console,
                table,
                _clause(row.term),
                _rate(row.before),
                _rate(row.after),
                figures.strength(row.term, row.budget),
                f"{figures.nats(row.price.kl)} ± {figures.nats(1.96 * row.price.standard_error)}"
                if row.price
                else figures.NOTHING,
                _limit(row.after, row.budget) if row.after else figures.limit(row.term),
            )
        console.print(table)
    if record.regulated is not None:
        _print_unscored(record.regulated.terms, console)
    _print_scores(record.scoring, console)
    if record.calibration is not None:
        found = record.calibration
        state = "" if found.converged else " (not converged)"
        say(
            console,
            f"calibration: {figures.plural(found.rounds, 'round')}{state}, effective sample size "
            f"{figures.quantity(found.ess)}, {figures.quantity(found.smallest_prompt_ess)} for the hardest prompt",
        )
    if record.check is not None:
        say(console, f"check: {figures.sample(record.check)}")
    for audit in (record.base, record.regulated):
        if audit is not None:
            _print_problems(audit.problems, console)


# ------------------------------------------------------------------------------------------------------------ parts
def _print_unscored(terms: Sequence[TermAudit], console: Console) -> None:
    """One line a reason; clauses that lost as many transcripts to it share the line."""
    lines: dict[tuple[str, int], list[str]] = {}
    for term in terms:
        for reason, count in term.reasons:
            lines.setdefault((reason, count), []).append(term.term)
    for (reason, count), names in lines.items():
        who = f"each of the {len(names)} clauses" if 1 < len(names) == len(terms) else ", ".join(names)
        say(console, f"unscored: {who}: {figures.plural(count, 'transcript')}: {reason}", "yellow")


def _print_scores(scoring: Sequence[ConceptScoring], console: Console) -> None:
    if not scoring:
        return
    say(console, TITLE, "bold")
    table = new_table(console, *HEADINGS)
    for row in score_rows(scoring):
        add_row(console, table, *row)
    console.print(table)
    for concept, remark in score_remarks(scoring):
        say(console, f"{concept}: {remark}", "yellow")


def _print_agreement(found: Agreement, console: Console) -> None:
    kappa = "undefined" if found.kappa is None else kappa_words(found.kappa, found.kappa_interval)
    say(
        console,
        f"labels in {found.column}: {found.term} agrees on {figures.percent(found.agreement)} "
        f"({figures.percent_interval(found.agreement_interval)}); the more frequent label alone would on "
        f"{figures.percent(found.majority_baseline)}; kappa {kappa}",
    )


def _print_findings(terms: Sequence[TermAudit], console: Console) -> None:
    for term in terms:
        if not term.findings:
            continue
        console.print()
        say(console, f"{term.location}: {term.clause}", "bold")
        for finding in term.findings:
            say(console, f"  {finding.source}", "dim")
            if finding.event is not None:
                console.print(_indented(finding.event, console), highlight=False)
            if finding.event is None or finding.spans:
                console.print(_marked(finding.response, finding.spans, console), soft_wrap=False)


def _indented(words: str, console: Console) -> Text:
    from rich.text import Text

    return Text(f"    {fit(one_line(words), console)}")


def _print_problems(problems: Sequence[InputProblem], console: Console) -> None:
    for problem in problems[:_PROBLEMS]:
        say(console, f"left out: {problem.source}:{problem.line}: {problem.message}", "yellow")
    if len(problems) > _PROBLEMS:
        say(console, f"left out: {len(problems) - _PROBLEMS:,} more parts of the input", "yellow")


def _marked(response: str, spans: Sequence[tuple[int, int]], console: Console) -> Text:
    """An answer, indented, with its evidence in brackets and in reverse."""
    from rich.text import Text

    shown = excerpt(response, spans, _EXCERPT)
    if shown.whole:  # no part of it says more than another, so its beginning will do
        shown = replace(excerpt(response, (), _EXCERPT // 3), whole=True)
    text = Text("    ")
    for piece in shown.pieces:
        words = piece.text.replace("\n", "\n    ")
        text.append(fit(f"⟦{words}⟧" if piece.marked else words, console), "reverse" if piece.marked else "")
    notes = ["(an empty answer)"] if not response else []
    notes += ["(the answer as a whole)"] if shown.whole else []
    notes += [f"({shown.left_out:,} more characters)"] if shown.left_out else []
    if notes:
        text.append(("\n    " if response else "") + " ".join(notes), "dim")
    return text


def _sentences(console: Console, sentences: Sequence[str]) -> None:
    for number, sentence in enumerate(sentences):
        say(console, sentence, "bold" if number == 0 else "")
    console.print()


def _clause(term: TermAudit) -> str:
    return one_line(f"{term.title or term.clause} [{term.term}]", 160)


def _rate(term: TermAudit | None) -> str:
    return figures.NOTHING if term is None else f"{figures.outcome(term)} ({figures.outcome_interval(term)})"


def _limit(term: TermAudit, budget: BudgetResult | None = None, record: AuditRecord | None = None) -> str:
    if term.bound is None:
        return figures.NOTHING
    worst = "" if term.worst_prompt is None else f"; measured {one_line(figures.limit_bound(term), 160)}"
    return f"{figures.limit_outcome(term, budget, record)} ({figures.limit(term)}){worst}"
