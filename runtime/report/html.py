"""Records as one HTML page that needs nothing else: no script, no network, charts inside.

Model text is only ever a variable of a template: autoescaped, with control and invisible characters written out. A
content security policy in the page forbids everything but its own style sheet, should anything slip through.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bylaw.runtime.record import AuditRecord, RunRecord
from bylaw.runtime.report import charts, figures, rows, scores, summary, text
from bylaw.runtime.report.audit_corrected import corrected_block
from bylaw.runtime.report.audit_sections import sections_of
from bylaw.runtime.report.audit_together import kappa_words, labellers_sentence
from bylaw.runtime.report.sections import section_html

if TYPE_CHECKING:
    from jinja2 import Environment

_WIDE, _NARROW = 980, 380


def render_html(record: AuditRecord | RunRecord) -> str:
    """The whole page."""
    if isinstance(record, RunRecord):
        return environment().get_template("run.html.j2").render(_run_context(record))
    return environment().get_template("audit.html.j2").render(_audit_context(record))


def _run_context(record: RunRecord) -> dict[str, Any]:
    return {
        "record": record,
        "scores": _scores(record),
        "sentences": summary.run_summary(record),
        "rows": rows.run_rows(record),
        "rate_charts": _both(
            charts.rate_chart,
            rows.run_rate_rows(record),
            "rates",
            "How often each rule is broken, before and after",
            "For each clause the share of answers that break it, by the model alone and under the policy, with 95% "
            "intervals and limits. The table below has the same figures.",
        ),
        "price_charts": _both(
            charts.bar_chart,
            rows.price_rows(record),
            "prices",
            "What each clause costs",
            "For each clause its share of the price in nats a response, with 95% whiskers. The table below has the "
            "same figures.",
        ),
        "pairs_note": summary.PAIRS_NOTE,
        # as a policy counts its lines, so that the links to them fit
        "policy_lines": [line.removesuffix("\r") for line in record.policy_text.removesuffix("\n").split("\n")],
    }


def _audit_context(record: AuditRecord) -> dict[str, Any]:
    return {
        "record": record,
        "scores": _scores(record),
        "sentences": summary.audit_summary(record),
        "sections": [section_html(section) for section in sections_of(record)],
        "corrected": corrected_block(record),
        "labellers": [labellers_sentence(each) for each in record.labellers],
        "rate_charts": _both(
            charts.rate_chart,
            rows.audit_rate_rows(record),
            "rates",
            "How often each clause is broken",
            "For each clause the share of transcripts that break it, with 95% intervals and limits. The table below "
            "has the same figures.",
        ),
    }


def _scores(record: AuditRecord | RunRecord) -> dict[str, Any]:
    return {
        "title": scores.TITLE,
        "note": scores.NOTE,
        "rates_note": scores.rates_note(record.scoring),
        "headings": scores.HEADINGS,
        "rows": scores.score_rows(record.scoring),
        "remarks": tuple(scores.score_remarks(record.scoring)),
    }


def render_picture(record: AuditRecord | RunRecord) -> str | None:
    """The chart of rates as one SVG file that carries its own style; None where there is nothing to draw.

    It says with a hollow circle and a filled one, and in its description, what is before and what is after.
    """
    is_run = isinstance(record, RunRecord)
    drawn = rows.run_rate_rows(record) if isinstance(record, RunRecord) else rows.audit_rate_rows(record)
    if not drawn:
        return None
    title = "How often each rule is broken" + (
        ": by the model alone (hollow) and under the policy (filled)" if is_run else ""
    )
    svg = charts.rate_chart(
        drawn,
        width=_WIDE,
        prefix="rates",
        title=title,
        description="Shares of answers with 95% intervals; limits dashed.",
    )
    style = environment().get_template("chart.css.j2").render()
    opening, rest = svg.split("\n", 1)
    return f"{opening}\n<style>\n{style}\nsvg {{ background: var(--card); }}\n</style>\n{rest}\n"


def _both(draw: Any, chart_rows: Any, prefix: str, title: str, description: str) -> dict[str, Any] | None:
    """A chart for wide pages and one for phones; the style sheet shows one of them. None without rows."""
    from markupsafe import Markup

    if not chart_rows:
        return None
    # the charts escape every label themselves
    return {
        name: Markup(draw(chart_rows, width=width, prefix=f"{prefix}-{name}", title=title, description=description))
        for name, width in (("wide", _WIDE), ("narrow", _NARROW))
    }


def environment() -> Environment:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    for function in (
        figures.percent,
        figures.quantity,
        figures.whole,
        figures.percent_interval,
        figures.quantity_interval,
        figures.kind,
        figures.outcome,
        figures.outcome_interval,
        figures.limit,
        figures.broken,
        figures.in_unit_of,
        figures.nats,
        figures.limit_met,
        figures.limit_outcome,
        figures.is_not_shown,
        figures.limit_bound,
        figures.strength,
        figures.status,
        figures.unscored,
        figures.plural,
        figures.sample,
        figures.sampling,
        kappa_words,
        text.excerpt,
        _quoted_code,
        _line_of,
    ):
        environment.filters[function.__name__.strip("_")] = function
    return environment


def _visible(value: Any) -> Any:
    """Every text that a template prints, before it is escaped. Markup is what the templates and charts wrote."""
    return text.block(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _quoted_code(sentence: str) -> Any:
    """A sentence in which words in backticks become code."""
    from markupsafe import Markup, escape

    parts = [escape(text.block(part)) for part in sentence.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(p) if i % 2 else p for i, p in enumerate(parts))


def _line_of(location: str) -> str:
    """The line in `rules.bylaw:12:3`, as the name of an anchor; empty where there is none."""
    parts = location.rsplit(":", 2)
    return f"line-{parts[1]}" if len(parts) == 3 and parts[1].isdigit() else ""
