"""How well a clause agrees with what people said about the same transcripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from bylaw.compiler.evaluate import Verdict
from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit import agreement_statistics
from bylaw.runtime.audit.audit import score
from bylaw.runtime.audit.inputs import quote, quote_all, suggestion
from bylaw.runtime.audit.statistics import cohen_kappa, wilson
from bylaw.runtime.record import Agreement, Interval
from bylaw.runtime.statistics_record import LabellerAgreement
from bylaw.spec.trace import Trace


class LabelError(Exception):
    """Labels with which a clause cannot be compared; text fit for users."""


def agreement(term: RewardTerm, traces: Iterable[Trace], column: str, positive_labels: Sequence[str]) -> Agreement:
    """Compares the verdicts of `term` with the labels in the fact `column` (with or without `meta.` in front).

    The traces are gone through several times. Positive means violated: `positive_labels` are the labels that say so,
    every other label says that the clause was kept. A clause that does not apply is kept. Raises LabelError for a
    quantity, for a column that no transcript has, for a positive label that nobody gave, and where no transcript is
    left to compare.
    """
    if term.holds is None:
        raise LabelError(f"{quote(term.id)} measures a quantity; labels can be compared with yes-or-no clauses only")
    path = _path(column, traces)
    labels = [_label(trace, path) for trace in traces]
    given = Counter(label for label in labels if label)
    _check_labels(given, path, positive_labels)
    cells: Counter[tuple[bool, bool]] = Counter()
    unscored = 0
    for trace, label in zip(traces, labels, strict=True):
        if not label:
            continue
        verdict = score(term, trace).verdict
        if verdict is Verdict.UNSCORED:
            unscored += 1
        else:
            cells[(verdict is Verdict.VIOLATED, label in positive_labels)] += 1
    unlabelled = sum(not label for label in labels)
    return _agreement(term.id, path, tuple(positive_labels), cells, unscored, unlabelled)


def _agreement(
    term: str, path: str, positive: tuple[str, ...], cells: Counter[tuple[bool, bool]], unscored: int, unlabelled: int
) -> Agreement:
    both, rule_only, human_only, neither = (
        cells[key] for key in ((True, True), (True, False), (False, True), (False, False))
    )
    total = both + rule_only + human_only + neither
    if not total:
        raise LabelError(f"no transcript with a label in {quote(path)} could be scored by {quote(term)}")
    human, kept = both + human_only, rule_only + neither
    return Agreement(
        term=term,
        column=path,
        positive_labels=positive,
        true_positive=both,
        false_positive=rule_only,
        false_negative=human_only,
        true_negative=neither,
        unscored=unscored,
        agreement=(both + neither) / total,
        agreement_interval=wilson(both + neither, total),
        sensitivity=both / human if human else None,
        sensitivity_interval=_share(both, human),
        specificity=neither / kept if kept else None,
        specificity_interval=_share(neither, kept),
        kappa=cohen_kappa(both, rule_only, human_only, neither),
        kappa_interval=_kappa_interval(both, rule_only, human_only, neither),
        human_rate=human / total,
        rule_rate=(both + rule_only) / total,
        majority_baseline=max(human, kept) / total,
        unlabelled=unlabelled,
    )


def _kappa_interval(both: int, rule_only: int, human_only: int, neither: int) -> Interval | None:
    """The interval of kappa; None where kappa is not defined."""
    rule = [True] * (both + rule_only) + [False] * (human_only + neither)
    human = [True] * both + [False] * rule_only + [True] * human_only + [False] * neither
    try:
        return agreement_statistics.cohen_kappa(rule, human).interval
    except ValueError:
        return None


def labellers(
    term: RewardTerm, traces: Iterable[Trace], columns: Sequence[tuple[str, Sequence[str]]]
) -> LabellerAgreement:
    """How far the people behind several columns of labels agree on whether `term` was broken; `columns` are
    (column, labels that mean broken). `traces` are gone through several times. Raises LabelError as `agreement` does.
    """
    paths = [_path(column, traces) for column, _ in columns]
    rows: list[list[bool | None]] = []
    for trace in traces:
        given = (_label(trace, path) for path in paths)
        rows.append([label in broken if label else None for label, (_, broken) in zip(given, columns, strict=True)])
    shared = [row for row in rows if sum(each is not None for each in row) > 1]
    try:
        found = agreement_statistics.krippendorff_alpha(shared)
    except ValueError as error:
        return LabellerAgreement(term.id, tuple(paths), len(shared), why_not=str(error))
    broken_share = dict(found.prevalence).get(True, 0.0)
    return LabellerAgreement(term.id, tuple(paths), found.items, found.value, found.interval, found.raw, broken_share)


def _share(count: int, total: int) -> Interval | None:
    return wilson(count, total) if total else None


def _path(column: str, traces: Iterable[Trace]) -> str:
    known = sorted({path for trace in traces for path in trace.facts})
    for path in (column, f"meta.{column}"):
        if path in known:
            return path
    shown = f"the facts there are {quote_all(known)}" if known else "they come without facts"
    near = suggestion(column, [*known, *(path.removeprefix("meta.") for path in known)])
    raise LabelError(f"no transcript has a label in {quote(column)}; {shown}{near}")


def _label(trace: Trace, path: str) -> str:
    value = trace.facts.get(path, "")
    # written as a rule would compare it
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _check_labels(given: Counter[str], path: str, positive_labels: Sequence[str]) -> None:
    if not positive_labels:
        raise LabelError("name at least one label that says that the clause was broken")
    for label in positive_labels:
        if label not in given:
            there = quote_all(name for name, _ in given.most_common())
            raise LabelError(
                f"no transcript has the label {quote(label)} in {quote(path)}; the labels there are {there}"
                f"{suggestion(label, given)}"
            )
