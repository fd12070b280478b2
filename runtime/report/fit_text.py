"""A fit of weights as text for a terminal, and as Markdown. Texts of files are made visible and stay on one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType

from bylaw.runtime.judgements.record import Accuracy, Conflict, WeightRecord, WeightRow
from bylaw.runtime.report.figures import NOTHING, percent, percent_interval, quantity, whole
from bylaw.runtime.report.markdown import escape
from bylaw.runtime.report.text import one_line

_MOST_PLACES = 6
_MOST_CONFLICTS = 10
"""Conflicts of one kind, and lines left out, that are listed; the record has all of them."""
_COLUMNS = ("rule", "weight now", "fitted", "95% interval", "judgements", "remark")
_LEFT = frozenset((0, 5))
_KINDS = MappingProxyType(
    {
        "contradiction": "that say the opposite of each other",
        "cycle": "that go round in a circle",
        "equal": "between answers that look the same to every rule",
        "opposed": "for an answer that every rule speaks against",
        "mixed": "both ways round, or in a circle, among answers that look the same to every rule",
        "together": "that ask together for weights that do not exist",
    }
)
_OVERLAPPING = frozenset(("mixed", "together"))


def render_text(record: WeightRecord) -> str:
    """The fit for a terminal: what was weighed, a table of weights, how well they do, and what does not fit."""
    lines = [*_opening(record), "", *_aligned(_COLUMNS, [_cells(row) for row in record.rows]), "", *_result(record)]
    rest = list(_rest(record))
    return "\n".join([*lines, *([""] if rest else []), *rest])


def render_markdown(record: WeightRecord) -> str:
    """The fit as Markdown."""
    lines = [f"# Weights of {escape(record.rules.policy)}", "", *(escape(line) for line in _opening(record)), ""]
    lines += [_row(_COLUMNS), _row(["---" if place in _LEFT else "---:" for place in range(len(_COLUMNS))])]
    lines += [_row([escape(cell) for cell in _cells(row)]) for row in record.rows]
    lines += ["", *(f"* {escape(line)}" for line in _result(record))]
    rest = ["", "## What does not fit", "", *map(_item, _rest(record))]
    return "\n".join([*lines, *(rest if len(rest) > 3 else [])])


def _item(line: str) -> str:
    """A line as an item of a list, one that is set in as an item below it."""
    return f"  * {escape(line.strip())}" if line.startswith(" ") else f"* {escape(line)}"


def _opening(record: WeightRecord) -> Iterator[str]:
    weight = record.weight_of_judgements
    parts = [f"{record.ties:,} of them ties"] * bool(record.ties)
    parts += [f"weighed as {quantity(weight)}"] * (weight != record.pairs)
    said = f" ({', '.join(parts)})" if parts else ""
    about = f"{'in' if record.options.group_by else 'about'} {_groups(record, record.prompts)}"
    yield f"{one_line(record.rules.policy)}: {record.pairs:,} judgements of two answers{said}, {about}"
    if record.classes:
        counts = ", ".join(f"{one_line(name)} {count:,}" for name, count in record.classes)
        yield f"classes: {counts}"
    if record.options.is_soft:
        shares = ", ".join(f"{one_line(name)} {percent(share)}" for name, share in record.options.shares)
        yield f"each rule counts as much as it is likely to be broken; texts that express, found from scores: {shares}"


def _cells(row: WeightRow) -> list[str]:
    shown = NOTHING
    if row.interval is not None:
        high = row.interval.high
        shown = f"{_nats(row.interval.low)} " + ("or more" if high is None else f"to {_nats(high)}")
    judged = _many(row.judgements).split()[0]
    return [one_line(row.term), _nats(row.now), _nats(row.fitted), shown, judged, row.remark]


def _result(record: WeightRecord) -> Iterator[str]:
    unit = "nats a judgement" if record.options.loss == "logistic" else "nats of margin missed a judgement"
    yield f"loss: {record.loss_before:.4f} with the weights now, {record.loss_after:.4f} fitted ({unit})"
    yield from _accuracy(record)
    for warning in record.warnings:
        yield f"warning: {warning}"


def _groups(record: WeightRecord, count: float) -> str:
    """So many prompts, or blocks of prompts."""
    return _many(count, "block" if record.options.group_by else "prompt")


def _accuracy(record: WeightRecord) -> Iterator[str]:
    found = record.accuracy
    what = "blocks" if record.options.group_by else "prompts"
    if found is None:
        yield f"accuracy on {what} that were not fitted cannot be told: {record.why_no_accuracy}"
        return
    undecided = f"; of {percent(found.undecided)} they say nothing" if found.undecided else ""
    yield f"accuracy on {what} that were not fitted: {_share(found.held_out)}{undecided}"
    others = (
        ("weights now", found.now),
        ("each weight 1", found.equal_weights),
        ("the best rule alone", found.best_rule),
    )
    yield f"for comparison: {', '.join(f'{name} {_share(share)}' for name, share in others)}"


def _share(found: Accuracy) -> str:
    return f"{percent(found.rate)} ({percent_interval(found.interval)})"


# ------------------------------------------------------------------------------------------------ what does not fit
def _rest(record: WeightRecord) -> Iterator[str]:
    yield from _conflicts(record)
    lost = record.unweighed
    if lost.contradicted:
        yield f"{_many(len(lost.contradicted))} for an answer that breaks a hard rule, left out:"
        for place, rules in lost.contradicted[:_MOST_CONFLICTS]:
            yield f"  {one_line(place)}: breaks {', '.join(map(_quoted, rules))}"
        yield from _more(len(lost.contradicted))
    if lost.decided:
        yield f"{_many(lost.decided)} against an answer that breaks a hard rule, left out: no weight matters there"
    if lost.unscored:
        yield f"{_many(lost.unscored)} left out because a rule could not be told:"
        for term, number, reason in lost.reasons[:_MOST_CONFLICTS]:
            yield f"  {_quoted(term)}: {one_line(reason)} ({number:,})"
        yield from _more(len(lost.reasons))
    if lost.lines:
        yield f"{_many(len(lost.lines), 'labelled answer')} left out:"
        for place, reason in lost.lines[:_MOST_CONFLICTS]:
            yield f"  {one_line(place)}: {reason}"
        yield from _more(len(lost.lines))
    if record.problems:
        yield f"{_many(len(record.problems), 'line')} left out that cannot be read:"
        for problem in record.problems[:_MOST_CONFLICTS]:
            yield f"  {one_line(problem.source)}:{problem.line}: {problem.message}"
        yield from _more(len(record.problems))


def _conflicts(record: WeightRecord) -> Iterator[str]:
    told: set[str] = set()
    is_missing = False
    for kind, said in _KINDS.items():
        found = [each for each in record.conflicts if each.kind == kind and not set(each.places) <= told]
        if not found:
            continue
        if kind in _OVERLAPPING:  # one judgement may be in several of them
            yield f"{_many(len(found), 'set')} of judgements {said}:"
        else:
            yield f"{_many(sum(each.judgements for each in found))} {said}:"
        for each in found[:_MOST_CONFLICTS]:
            yield f"  {_conflict(each)}"
        yield from _more(len(found))
        if kind in ("contradiction", "cycle"):
            told |= {place for each in found for place in each.places}
        is_missing |= kind not in ("contradiction", "cycle")
    if is_missing:
        yield "where these are no slips, a rule is missing: add one that tells the two answers apart"


def _conflict(each: Conflict) -> str:
    places = [one_line(place) for place in each.places[:_MOST_PLACES]]
    said = ", ".join(places)
    if len(each.places) > _MOST_PLACES:
        said += f" and {len(each.places) - _MOST_PLACES:,} more"
    if not each.rules:
        return said
    return f"{said}: {', '.join(map(_quoted, each.rules))}"


def _more(total: int) -> Iterator[str]:
    if total > _MOST_CONFLICTS:
        yield f"  and {total - _MOST_CONFLICTS:,} more"


# ----------------------------------------------------------------------------------------------------------- writing
def _nats(value: float) -> str:
    return f"{value:.2f}" if value < 1e-6 or value >= 0.1 else f"{value:.2g}"


def _many(count: float, what: str = "judgement") -> str:
    shown = whole(count) if count == round(count) else quantity(count)
    return f"{shown} {what}{'' if count == 1 else 's'}"


def _quoted(text: str) -> str:
    return f"`{one_line(text)}`"


def _aligned(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    table = [head, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    for row in table:
        cells = (
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
