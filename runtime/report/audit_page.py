"""An audit as one HTML page that is read first by people who did not write the rules: verdict, worst rules, answers.

The page needs nothing else and works from a file. Its content security policy names the one script and the one style
sheet by their SHA-256 digests, so that no other would run, should any text of a model slip through the escaping.
Without scripts everything is shown; with them it can be filtered and searched, and the view stands in the address
behind `#`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bylaw.compiler.evaluate import Verdict
from bylaw.runtime.audit.baseline import BaselineComparison
from bylaw.runtime.record import AuditRecord, TermAudit
from bylaw.runtime.report import figures, rows, scores
from bylaw.runtime.report.audit_baseline import (
    HEADINGS,
    baseline_note,
    baseline_rate_rows,
    baseline_rows,
    baseline_sentence,
)
from bylaw.runtime.report.audit_corrected import badge_of, corrected_block
from bylaw.runtime.report.audit_outcome import STATES, by_concern, outcome_of, state
from bylaw.runtime.report.audit_sections import NAMES, sections_of
from bylaw.runtime.report.audit_together import chance_words, kappa_words, labellers_sentence
from bylaw.runtime.report.audit_verdicts import Judged, verdict_of
from bylaw.runtime.report.charts import RateRow, rate_chart
from bylaw.runtime.report.sections import section_html
from bylaw.runtime.report.text import one_line
from bylaw.spec.trace import Message

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

PER_RULE = 50
"""Answers shown for each rule that they break, and as many that could not be scored by it."""

_WIDE, _NARROW = 980, 380
_WORST = 5
_MESSAGES = 40
_QUOTES, _QUOTE_CHARACTERS = 5, 120


# ---------------------------------------------------------------------------------------------------------- answers
@dataclass(frozen=True, slots=True)
class Mention:
    """A clause that an answer breaks, or that could not score it: the words that show it, and the reason."""

    term: str
    quotes: tuple[str, ...]
    reason: str | None


@dataclass(frozen=True, slots=True)
class ShownAnswer:
    """One transcript that breaks a clause or could not be scored. `spans` are those of all clauses together.

    `messages` are (who, words), the first of a conversation that is more than a question and an answer; `message_count`
    says how many there are in all.
    """

    source: str
    prompt: str
    response: str | None
    spans: tuple[tuple[int, int], ...]
    broken: tuple[Mention, ...]
    unscored: tuple[Mention, ...]
    messages: tuple[tuple[str, str], ...]
    message_count: int


@dataclass(slots=True)
class AnswerCollector:
    """Gathers the answers that a page shows while verdicts pass by: the first `per_rule` of each clause and verdict.

    `found` counts all that there were to show.
    """

    per_rule: int = PER_RULE
    found: int = 0
    answers: list[ShownAnswer] = field(default_factory=list)
    _counts: dict[tuple[str, Verdict], int] = field(default_factory=dict)

    def add(self, item: Judged) -> None:
        """Keeps the answer if any of its clauses has too few so far."""
        keys = [(found.term, verdict) for found in item.scores if (verdict := verdict_of(found)) in _SHOWN]
        if not keys:
            return
        self.found += 1
        if all(self._counts.get(key, 0) >= self.per_rule for key in keys):
            return
        for key in keys:
            self._counts[key] = self._counts.get(key, 0) + 1
        self.answers.append(_shown(item))

    def adding(self, items: Iterable[Judged]) -> Iterable[Judged]:
        """The same items, each kept as by `add` when it is taken."""
        for item in items:
            self.add(item)
            yield item


_SHOWN = (Verdict.VIOLATED, Verdict.UNSCORED)


def _shown(item: Judged) -> ShownAnswer:
    answer = item.trace.response
    broken, unscored, spans = [], [], []
    for found in item.scores:
        verdict = verdict_of(found)
        if verdict is Verdict.UNSCORED:
            unscored.append(Mention(found.term, (), found.reason or "no reason was given"))
        elif verdict is Verdict.VIOLATED:
            own = [(extent.start, extent.end) for extent in found.evidence]
            # what stands for the answer as a whole would cover the places that others point to
            spans += [span for span in own if span != (0, len(answer or ""))]
            quotes = _quotes(answer or "", own)
            broken.append(Mention(found.term, quotes, found.reason))
    said = item.trace.messages
    return ShownAnswer(
        item.source,
        item.trace.text("prompt") or "",
        answer,
        tuple(spans),
        tuple(broken),
        tuple(unscored),
        tuple((_who(each), each.content) for each in said[:_MESSAGES]) if len(said) > 2 else (),
        len(said),
    )


def _who(message: Message) -> str:
    """Who spoke, or which tool was called or answered."""
    return {"call": f"call to {message.tool}", "output": f"output of {message.tool}"}.get(message.kind, message.role)


def _quotes(answer: str, spans: Sequence[tuple[int, int]]) -> tuple[str, ...]:
    """The words of the spans, each once; none where the answer as a whole is meant."""
    words = [answer[start:end] for start, end in spans if (start, end) != (0, len(answer)) and start < end]
    return tuple(one_line(each, _QUOTE_CHARACTERS) for each in list(dict.fromkeys(words))[:_QUOTES])


# ------------------------------------------------------------------------------------------------------------- page
def audit_page(record: AuditRecord, answers: AnswerCollector, comparison: BaselineComparison | None = None) -> str:
    """The whole page. `answers` are those that it shows, `comparison` that with a baseline."""
    from bylaw.runtime.report.html import environment

    made = environment()
    style = made.get_template("audit_page.css.j2").render()
    script = made.get_template("audit_page.js.j2").render()
    terms = by_concern(record.terms, record)
    context = {
        "record": record,
        "style": _markup(style),
        "script": _markup(script),
        "style_hash": _markup(_digest(style)),
        "script_hash": _markup(_digest(script)),
        "outcome": outcome_of(record),
        "states": STATES,
        "state_counts": _state_counts(record, terms),
        "worst": _worst(record, terms, answers),
        "rows": [_row(record, term) for term in terms],
        "sections": _sections(record),
        "corrected": corrected_block(record),
        "rate_charts": _rate_charts(rows.audit_rate_rows(_only(record, terms)), "rates", _RATES),
        "answers": _answers(terms, answers),
        "answers_note": _answers_note(answers),
        "baseline": None if comparison is None else _baseline(record, comparison),
        "agreements": _agreements(record),
        "scores": {
            "title": scores.TITLE,
            "note": scores.NOTE,
            "rates_note": scores.rates_note(record.scoring),
            "headings": scores.HEADINGS,
            "rows": scores.score_rows(record.scoring),
            "remarks": tuple(scores.score_remarks(record.scoring)),
        },
    }
    return _rendered(made, context)


def _rendered(made: Environment, context: dict[str, Any]) -> str:
    return made.get_template("audit_page.html.j2").render(context)


def _digest(text: str) -> str:
    """A source for a content security policy that allows this text alone."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _markup(text: str) -> Markup:
    from markupsafe import Markup

    return Markup(text)  # only texts of this package and digests


def _only(record: AuditRecord, terms: Sequence[TermAudit]) -> AuditRecord:
    from dataclasses import replace

    return replace(record, terms=tuple(terms))


def _state_counts(record: AuditRecord, terms: Sequence[TermAudit]) -> list[tuple[str, int]]:
    """(What is counted, how many), for those of which there is one. Rules that are weighed and preferences count apart:
    nothing says of a preference that it is kept."""
    binding = [term for term in terms if term.kind == "hard" or term.bound is not None]
    count = figures.plural(len(binding), "rule or limit", "rules and limits")
    counts = [
        (
            f"of {count} that must be kept: {words}",
            sum(state(t, record) == name for t in binding),
        )
        for name, words in STATES
    ]
    weighed = sum(state(term, record) == "weighed" for term in terms)
    counts.append((f"weighed {'rule' if weighed == 1 else 'rules'} broken at times, which the weight allows", weighed))
    return [(words, number) for words, number in counts if number]


def _row(record: AuditRecord, term: TermAudit) -> dict[str, Any]:
    stands = state(term, record)
    return {"term": term, "state": stands, "words": dict(STATES)[stands], "badge": badge_of(record, term.term)}


def _sections(record: AuditRecord) -> dict[str, Any]:
    """The parts that stand at places of their own, by name; empty where there is nothing to say."""
    found = {section.name: section_html(section) for section in sections_of(record)}
    return {name: found.get(name, "") for name in NAMES}


def _worst(record: AuditRecord, terms: Sequence[TermAudit], answers: AnswerCollector) -> list[dict[str, Any]]:
    """The clauses of most concern, with one sentence each."""
    found = [term for term in terms if state(term, record) in ("broken", "unshown", "unknown", "weighed")][:_WORST]
    shown = answers.answers
    return [
        {
            "term": term,
            "state": state(term, record),
            "sentence": _sentence(record, term),
            "answers": sum(any(each.term == term.term for each in (*a.broken, *a.unscored)) for a in shown),
        }
        for term in found
    ]


def _sentence(record: AuditRecord, term: TermAudit) -> str:
    """What was measured of a clause, in words that need no knowledge of statistics."""
    applied = figures.plural(term.applicable, "answer")
    if term.rate is not None:
        what = "It happened" if term.kind == "budget" else "Broken"
        said = f"{what} in {figures.percent(term.rate)} of the {applied} to which it applies"
        said += f" (95% sure: {figures.percent_interval(term.interval)})."
    elif term.mean is not None:
        said = f"On average {figures.quantity(term.mean)} in {applied}"
        said += f" (95% sure: {figures.quantity_interval(term.mean_interval)})."
    else:
        said = "Nothing could be measured."
    if figures.is_not_shown(term, record):
        said += f" It is {figures.NOT_SHOWN}: {figures.not_shown_words(term, record)}."
    elif term.bound is not None:
        chance = chance_words(record, term)
        said += f" The limit is {figures.limit(term)}: {figures.limit_met(term)}{', ' * bool(chance)}{chance}."
    if term.unscored:
        said += f" {figures.plural(term.unscored, 'answer')} could not be scored"
        bounds = term.best is not None and term.worst is not None
        said += (
            f": in truth it may be {figures.percent(term.best or 0)} to {figures.percent(term.worst or 0)}." * bounds
        )
        said += "." * (not bounds)
    return said


_RATES = (
    "How often each rule is broken",
    "For each rule the share of answers that break it, with 95% intervals and limits. The table below has the same "
    "figures.",
)
_SINCE = (
    "How often each rule was broken in the baseline and is now",
    "For each rule the share of answers that break it, in the baseline (hollow) and now (filled), with 95% intervals. "
    "The table below has the same figures.",
)


def _rate_charts(drawn: Sequence[RateRow], prefix: str, words: tuple[str, str]) -> dict[str, Markup] | None:
    """A chart for wide pages and one for phones; the style sheet shows one of them. None without rows."""
    if not drawn:
        return None
    title, description = words
    return {
        name: _markup(rate_chart(drawn, width=width, prefix=f"{prefix}-{name}", title=title, description=description))
        for name, width in (("wide", _WIDE), ("narrow", _NARROW))
    }


def _baseline(record: AuditRecord, comparison: BaselineComparison) -> dict[str, Any]:
    labels = {term.term: term.title or term.clause for term in record.terms}
    return {
        "sentence": baseline_sentence(comparison),
        "notes": (baseline_note(comparison), *comparison.notes),
        "fails": comparison.fails,
        "headings": HEADINGS,
        "rows": baseline_rows(comparison),
        "charts": _rate_charts(baseline_rate_rows(comparison, labels), "since", _SINCE),
    }


def _answers(terms: Sequence[TermAudit], answers: AnswerCollector) -> list[dict[str, Any]]:
    """What the template needs of each answer; rules are named to the script by the row that they have."""
    place = {term.term: number for number, term in enumerate(terms)}
    return [
        {
            "source": each.source,
            "prompt": each.prompt,
            "response": each.response,
            "spans": each.spans,
            "messages": each.messages,
            "message_count": each.message_count,
            "broken": each.broken,
            "unscored": each.unscored,
            "broken_rows": [place[mention.term] for mention in each.broken],
            "unscored_rows": [place[mention.term] for mention in each.unscored],
        }
        for each in answers.answers
    ]


def _answers_note(answers: AnswerCollector) -> str:
    shown = len(answers.answers)
    count = f"{figures.plural(answers.found, 'answer')} {'breaks' if answers.found == 1 else 'break'} a rule or could "
    if shown == answers.found:
        return f"{count}not be scored by one; all are shown. The words that show it are marked."
    return (
        f"{count}not be scored by one. {figures.whole(shown)} are shown: for each rule the first "
        f"{figures.whole(answers.per_rule)} that break it and as many that it could not score; search and filter "
        "see these only. The words that show it are marked."
    )


def _agreements(record: AuditRecord) -> dict[str, Any] | None:
    agreements = record.agreements
    if not agreements:
        return None

    def share(value: float | None, interval: Any) -> str:
        words = figures.NOTHING if value is None else figures.percent(value)
        return f"{words} ({figures.percent_interval(interval)})" if interval is not None else words

    return {
        "headings": ("rule", "agreement", "baseline", "kappa", "found of what people call broken", "passed of what "
                     "people call kept", "labels"),
        "rows": [
            (
                item.term,
                share(item.agreement, item.agreement_interval),
                figures.percent(item.majority_baseline),
                kappa_words(item.kappa, item.kappa_interval),
                share(item.sensitivity, item.sensitivity_interval),
                share(item.specificity, item.specificity_interval),
                f"broken means {item.column} is {' or '.join(item.positive_labels)}",
            )
            for item in agreements
        ],
        "people": [labellers_sentence(each) for each in record.labellers],
    }  # fmt: skip
