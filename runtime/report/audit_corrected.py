"""What reports say of rates that people's labels corrected, and the badge of those that no label stands behind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bylaw.runtime.correction_record import CorrectedRate, SheetAgreement
from bylaw.runtime.record import AuditRecord, Interval
from bylaw.runtime.report import figures

if TYPE_CHECKING:
    from markupsafe import Markup

TITLE = "Rates corrected with people's labels"
NOTE = (
    "Verdicts err, so their rate is not the rate of the thing. A corrected rate is what people would have found, "
    "estimated from their labels of a random part of these answers and the verdicts on all (PPI++), with the interval "
    "of both errors. Beside it: what sensitivity and specificity alone say (Rogan and Gladen), the share of broken "
    "answers that the verdicts find, the share of kept ones that they pass, and agreement beyond chance (kappa)."
)
HEADINGS = (
    "rule", "judged", "corrected", "95% interval", "Rogan–Gladen", "sensitivity", "specificity", "kappa", "labelled",
    "by that",
)  # fmt: skip
BADGE = "uncalibrated"


def corrected_sentence(rate: CorrectedRate) -> str:
    """One sentence for people: what the verdicts say, and what it is worth."""
    judged = (
        "the verdicts say nothing of it: none of these answers has one"
        if rate.judged is None
        else f"the verdicts alone say {figures.percent(rate.judged)}"
    )
    said = (
        f"`{rate.term}`: corrected with {figures.plural(rate.labelled, 'label')}, the rate is "
        f"{figures.percent(rate.value)} (95% sure: {figures.percent_interval(rate.interval)}); {judged}."
    )
    if rate.within is not None:
        said += f" By that it is {'kept' if rate.within else 'not kept'}."
    return said


def corrected_rows(rates: Sequence[CorrectedRate]) -> list[tuple[str, ...]]:
    """A row for each corrected rate, under `HEADINGS`."""
    return [
        (
            rate.term,
            figures.NOTHING if rate.judged is None else figures.percent(rate.judged),
            figures.percent(rate.value),
            figures.percent_interval(rate.interval),
            _share(rate.inverted, rate.inverted_interval),
            _share(rate.sensitivity, rate.sensitivity_interval),
            _share(rate.specificity, rate.specificity_interval),
            _beyond_chance(rate.kappa, rate.kappa_interval),
            f"{figures.whole(rate.labelled)} of {figures.whole(rate.texts)}",
            figures.NOTHING if rate.within is None else "kept" if rate.within else "not kept",
        )
        for rate in rates
    ]


def corrected_remarks(rates: Sequence[CorrectedRate]) -> list[tuple[str, str]]:
    """(rule, sentence): how the sheet was drawn, how far people agree, and what else is to be known."""
    found = []
    for rate in rates:
        how = "by verdict" if rate.by == "verdict" else "evenly"
        found.append((rate.term, f"labels of {figures.plural(rate.people, 'person', 'people')}, drawn {how}"))
        if rate.does_not_apply:
            found.append(
                (rate.term, f"people say of {rate.does_not_apply} labelled answers that the rule does not apply")
            )
        if rate.cannot_say:
            between = f"{figures.percent(rate.lowest)} to {figures.percent(rate.highest)}"
            found.append((rate.term, f"people cannot tell {rate.cannot_say} answers; with those it may be {between}"))
        if rate.agreement is not None:
            found.append((rate.term, agreement_sentence(rate.agreement)))
        if rate.inverted_why:
            found.append((rate.term, f"nothing by Rogan and Gladen: {rate.inverted_why}"))
        found += [(rate.term, remark) for remark in rate.remarks]
    return found


def agreement_sentence(of: SheetAgreement) -> str:
    """How far people agree, as a part of a sentence."""
    said = f"{figures.plural(of.texts, 'answer')} labelled by several people, who differ on {of.disagreements}"
    if of.kappa is not None:
        said += f"; kappa {_beyond_chance(of.kappa, of.kappa_interval)}"
    if of.alpha is not None:
        said += f", Krippendorff's alpha {_beyond_chance(of.alpha, of.alpha_interval)}"
    return f"{said} ({of.why})" if of.why else said


def uncalibrated(record: AuditRecord) -> tuple[str, ...]:
    """The clauses whose verdicts come from scores that no label of these answers was held against."""
    scored = {rule for each in record.scoring for rule in each.rules}
    corrected = {rate.term for rate in record.corrections}
    return tuple(
        term.term
        for term in record.terms
        if term.rule in scored and term.term not in corrected and term.rate is not None
    )


def uncalibrated_note(record: AuditRecord) -> str:
    """One sentence beside the rates; empty where there is nothing to say."""
    names = uncalibrated(record)
    if not names:
        return ""
    which = "The rate of" if len(names) == 1 else "The rates of"
    are = "is" if len(names) == 1 else "are"
    return (
        f"{which} {', '.join(names)} {are} {BADGE}: nobody labelled answers of this audit to say how often the scores "
        f"err on them (bylaw label)."
    )


def badge_of(record: AuditRecord, term: str) -> str:
    """What stands beside the rate of the verdicts: the corrected one, `uncalibrated`, or nothing for a clause that is
    no matter of scores and has no labels."""
    for rate in record.corrections:
        if rate.term == term:
            return f"corrected: {figures.percent(rate.value)}"
    return BADGE if term in uncalibrated(record) else ""


def corrected_lines(record: AuditRecord) -> list[str]:
    """The sentences for reports without tables: each corrected rate, then what is uncalibrated."""
    note = uncalibrated_note(record)
    return [*map(corrected_sentence, record.corrections), *([note] if note else [])]


def corrected_markdown(record: AuditRecord) -> list[str]:
    """Lines of Markdown; none where there is nothing to say. Nothing of a model's text is in them."""
    from bylaw.runtime.report.markdown import escape

    note = uncalibrated_note(record)
    if not record.corrections:
        return [escape(note), ""] if note else []
    lines = [f"## {TITLE}", "", NOTE, "", "| " + " | ".join(HEADINGS) + " |", "|" + " --- |" * len(HEADINGS)]
    lines += ["| " + " | ".join(map(escape, row)) + " |" for row in corrected_rows(record.corrections)]
    lines += ["", *(f"- {escape(rule)}: {escape(said)}" for rule, said in corrected_remarks(record.corrections))]
    return [*lines, "", *([escape(note), ""] if note else [])]


def corrected_block(record: AuditRecord) -> Markup:
    """A section of the page, escaped; empty where there is nothing to say."""
    from markupsafe import Markup

    note = uncalibrated_note(record)
    last = Markup('<p class="note">{}</p>\n').format(note) if note else Markup("")
    if not record.corrections:
        return last
    cell, first = Markup('<td data-label="{}">{}</td>'), Markup('<th scope="row"><code>{}</code></th>')
    heads = Markup("").join(Markup('<th scope="col">{}</th>').format(each) for each in HEADINGS)
    body = Markup("").join(
        Markup("<tr>{}{}</tr>").format(
            first.format(row[0]),
            Markup("").join(cell.format(name, each) for name, each in zip(HEADINGS[1:], row[1:], strict=True)),
        )
        for row in corrected_rows(record.corrections)
    )
    items = Markup("").join(
        Markup("<li><code>{}</code>: {}</li>").format(rule, said)
        for rule, said in corrected_remarks(record.corrections)
    )
    section = Markup(
        '<section aria-labelledby="corrected">\n<h2 id="corrected">{}</h2>\n<p class="note">{}</p>\n'
        '<div class="scroll"><table class="stack">\n<thead><tr>{}</tr></thead>\n<tbody>{}</tbody>\n</table></div>\n'
        "<ul>{}</ul>\n{}</section>\n"
    )
    return section.format(TITLE, NOTE, heads, body, items, last)


def _share(value: float | None, interval: Interval | None) -> str:
    if value is None or interval is None:
        return figures.NOTHING
    return f"{figures.percent(value)} ({figures.percent_interval(interval)})"


def _beyond_chance(value: float | None, interval: Interval | None) -> str:
    if value is None or interval is None:
        return figures.NOTHING
    return f"{value:.2f} ({interval.low:.2f} to {interval.high:.2f})"
