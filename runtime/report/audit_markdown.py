"""An audit as Markdown: the verdict and what changed since the baseline, then what `bylaw audit` prints as Markdown."""

from __future__ import annotations

from bylaw.runtime.audit.baseline import BaselineComparison
from bylaw.runtime.record import AuditRecord
from bylaw.runtime.report.audit_baseline import HEADINGS, baseline_note, baseline_rows, baseline_sentence
from bylaw.runtime.report.audit_outcome import outcome_of
from bylaw.runtime.report.markdown import escape, render_markdown


def audit_markdown(record: AuditRecord, comparison: BaselineComparison | None = None) -> str:
    """The whole document. Nothing of a model's text is Markdown in it."""
    outcome = outcome_of(record)
    title, rest = render_markdown(record).split("\n", 1)
    lines = [title, "", f"**{outcome.result.capitalize()}.** {outcome.headline}", ""]
    lines += [line for remark in outcome.remarks for line in (escape(remark), "")]
    if comparison is not None:
        lines += [*baseline_lines(comparison), ""]
    return "\n".join(lines) + "\n## What was measured\n" + rest


def baseline_lines(comparison: BaselineComparison) -> list[str]:
    """The section of what changed since the baseline."""
    lines = ["## Since the baseline", "", escape(baseline_sentence(comparison)), ""]
    lines += ["| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(map(escape, row)) + " |" for row in baseline_rows(comparison)]
    return [*lines, "", baseline_note(comparison), *(f"\n{escape(note)}" for note in comparison.notes)]
