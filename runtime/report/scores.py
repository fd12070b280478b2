"""What a report says of scores: for each concept who scored it, how much of it, and what its scores are worth."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bylaw.runtime.report import figures
from bylaw.runtime.scoring_record import ConceptScoring

TITLE = "What the texts express"
HEADINGS = ("concept", "scored by", "texts scored", "that express it", "balanced accuracy", "AUC", "among the labelled")
NOTE = (
    "How well a concept is scored was measured on labelled texts that were held out; always saying the more frequent "
    "answer has a balanced accuracy of 50% and an area under the curve (AUC) of 0.5. The last column is the share of "
    "those texts that express the concept."
)


def score_rows(scoring: Sequence[ConceptScoring]) -> list[tuple[str, ...]]:
    """One row for each concept, under `HEADINGS`."""
    return [_row(each) for each in scoring]


def score_remarks(scoring: Sequence[ConceptScoring]) -> Iterator[tuple[str, str]]:
    """(concept, sentence): what is not scored and why, drift, and what else is to be said."""
    for each in scoring:
        for why, number, reason in each.unscored:
            yield each.concept, f"{figures.plural(number, 'text')} not scored ({why.replace('_', ' ')}): {reason}"
        if each.drift is not None and not each.drift.fired:  # else it is the reason that is told already
            yield each.concept, each.drift.message
        for remark in each.remarks:
            yield each.concept, remark
        for note in each.notes:
            yield each.concept, note


def rates_note(scoring: Sequence[ConceptScoring]) -> str:
    """One sentence beside the rates: the intervals of rules that hang on scores leave out how often those err. Empty
    where no rule hangs on a score."""
    told = [each for each in scoring if each.scored and each.rules]
    if not told:
        return ""
    rules = list(dict.fromkeys(rule for each in told for rule in each.rules))
    errors = "; ".join(f"{each.concept}: {each.errors or 'how often is not known'}" for each in told)
    which = "The interval of" if len(rules) == 1 else "The intervals of"
    are, them = ("is that", "it") if len(rules) == 1 else ("are those", "them")
    return f"{which} {', '.join(rules)} {are} of the scores' verdicts; that scores err ({errors}) is not in {them}."


def _row(each: ConceptScoring) -> tuple[str, ...]:
    known = ("–", "–", "–")
    if each.accuracy is not None:
        balanced, area, labelled = each.accuracy
        known = (figures.percent(balanced), f"{area:.2f}", figures.percent(labelled))
    share = f" ({figures.percent(each.expressing / each.scored)})" if each.scored else ""
    scored = f"{figures.whole(each.scored)} of {figures.whole(each.asked)}"
    return (each.concept, each.scorer, scored, f"{figures.whole(each.expressing)}{share}", *known)
