"""Rates of an audit freed of the errors of its verdicts, with the labels of a sheet that was drawn from it.

The verdict of a rule is the judge here, whether a model, a classifier or a pattern came to it. The rate that is
reported is that of PPI++ by strata (`label_sheet.stratified`); beside it stands what Rogan and Gladen's formula makes
of sensitivity and specificity alone. Labels serve the answers that they were drawn from and no others: a judge errs by
another amount on each model.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.program import RewardProgram, RewardTerm, verdict_digest
from bylaw.runtime.audit import clustered, statistics
from bylaw.runtime.audit.agreement_statistics import cohen_kappa, krippendorff_alpha
from bylaw.runtime.audit.columns import NOT_APPLICABLE, UNSCORED, VerdictColumns
from bylaw.runtime.audit.inputs import quote, quote_all
from bylaw.runtime.audit.label_sheets import Label, Labels, LabelSheetError, RuleSheet, frame_of
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.correction_record import CorrectedRate, SheetAgreement
from bylaw.runtime.judges.correction import JudgeQuality, rogan_gladen
from bylaw.runtime.judges.estimates import Corrected, CorrectionError
from bylaw.runtime.judges.label_sheet import SheetRow, stratified
from bylaw.runtime.judges.sheet_quality import sheet_quality
from bylaw.runtime.record import AuditRecord, Interval, TermAudit
from bylaw.spec.expression import ConceptScore
from bylaw.spec.logic import walk

FEW_LABELS = 30
"""With fewer, hardly anything is known of how often a judge errs."""

_UNKNOWN = JudgeQuality(0, 0, 0, 0, None, None, None, None, None, None)
_SAID: Mapping[str, float] = {"yes": 1.0, "no": 0.0, "does not apply": math.nan}


def check_policy(labels: Labels, program: RewardProgram, name: str) -> None:
    """Raises LabelSheetError for labels of other rules; `name` is what messages call the file.

    A rule is another one when what decides its verdicts is (`verdict_digest`); the rest of the policy may change. Files
    without such digests, which were written before there were any, hold for the very same policy only.
    """
    drawn = labels.drawn
    if drawn.policy_digest == program.digest:
        return
    if not all(rule.verdict_digest for rule in drawn.rules):
        raise LabelSheetError(
            f"{quote(name)} has labels for other rules: `{drawn.policy}` as it was when the sheet was exported "
            f"({drawn.policy_digest[:19]}…), and this is `{program.policy}` ({program.digest[:19]}…); the file is of "
            f"an older bylaw and does not say which of its rules are still the same, so export a sheet for these"
        )
    now = {term.id: verdict_digest(term) for term in program.terms}
    gone = [rule.term for rule in drawn.rules if rule.term not in now]
    changed = [rule.term for rule in drawn.rules if now.get(rule.term, rule.verdict_digest) != rule.verdict_digest]
    said = [f"`{program.policy}` has no {quote_all(gone)}"] * bool(gone)
    said += [f"what decides {quote_all(changed)} is not what it was when the sheet was exported"] * bool(changed)
    if said:
        raise LabelSheetError(
            f"{quote(name)} has labels for other rules: {', and '.join(said)}; people answered about the words of "
            f"then, so export a sheet for those of now"
        )


def check_transcripts(labels: Labels, digest: str, count: int, name: str) -> None:
    """Raises LabelSheetError for labels that were drawn from other transcripts than those with this digest."""
    drawn = labels.drawn
    if (drawn.transcripts_digest, drawn.transcripts) != (digest, count):
        raise LabelSheetError(
            f"{quote(name)} has labels of other transcripts: they were drawn from {drawn.transcripts:,} in "
            f"{quote(drawn.source)}, and these {count:,} are not the same. A calibration holds for the answers it was "
            f"drawn from, and never for those of another model: export a sheet from these transcripts"
        )


def with_corrections(record: AuditRecord, columns: VerdictColumns, sheets: Sequence[Labels]) -> AuditRecord:
    """The record with a corrected rate for each clause that has labels, in the order of the policy.

    Whether a limit is kept is then decided by the corrected rate, and the bound beside it is that of this rate; a limit
    `for each prompt` that is missed by some prompt stays missed, and a rule that must hold is not kept (`within` False)
    where people found it broken. The sheets must have been drawn from just these transcripts and rules
    (`check_policy`, `check_transcripts`). Raises LabelSheetError for a clause that two sheets have labels of, and where
    labels tell nothing of a rate.
    """
    by_term: dict[str, tuple[Labels, RuleSheet]] = {}
    for labels in sheets:
        for rule in labels.drawn.rules:
            if rule.term in by_term:
                raise LabelSheetError(f"two files of labels have {quote(rule.term)}; name one of them")
            by_term[rule.term] = (labels, rule)
    unknown = [name for name in by_term if name not in {term.id for term in columns.terms}]
    if unknown:
        raise LabelSheetError(f"the policy has no rule {quote_all(unknown)}, of which there are labels")
    prompts = columns.prompts if columns.is_clustered else None
    found = [
        corrected_rate(term, columns.codes(index), columns.values(index), prompts, *by_term[term.id])
        for index, term in enumerate(columns.terms)
        if term.id in by_term
    ]
    return replace(record, terms=_decided(record.terms, found), corrections=tuple(found))


def _decided(terms: Sequence[TermAudit], rates: Sequence[CorrectedRate]) -> tuple[TermAudit, ...]:
    by_term = {rate.term: rate for rate in rates}
    found = []
    for term in terms:
        rate = by_term.get(term.term)
        if rate is not None and term.bound is not None:
            within = rate.within
            if term.each_prompt:
                within = False if term.within is False else None
            term = replace(term, within=within, confidence_bound=rate.bound)
        elif rate is not None and rate.within is False:
            term = replace(term, within=False)
        found.append(term)
    return tuple(found)


# ------------------------------------------------------------------------------------------------------- one clause
@dataclass(frozen=True, slots=True)
class _Told:
    """A sheet beside the verdicts of all answers it was drawn from, by stratum. `sheet` has the rows with an answer,
    `silent` those that people cannot tell, with 0 for it; `judge` is nan where there is no verdict or none applies."""

    sheet: tuple[SheetRow, ...]
    silent: tuple[SheetRow, ...]
    audited: Mapping[Hashable, list[float]]
    prompts: Mapping[Hashable, list[int]] | None

    def estimate(self, rows: Sequence[SheetRow], confidence: float = CONFIDENCE) -> Corrected:
        """PPI++ by strata. An answer without a verdict counts as one that is judged no: any guess serves that is not
        made from the labels, and the labels correct it."""
        return stratified(rows, self.audited, confidence, self.prompts)


def corrected_rate(
    term: RewardTerm,
    codes: NDArray[np.uint8],
    values: NDArray[np.float64],
    prompts: NDArray[np.int64] | None,
    labels: Labels,
    rule: RuleSheet,
) -> CorrectedRate:
    """The corrected rate of a clause from its columns [n], the prompt of each answer [n] where some have several, and
    its labels. Raises LabelSheetError where they tell nothing of the rate, in one message that names the clause."""
    frame = frame_of(rule, len(codes))
    mine = [label for label in labels.labels if label.term == rule.term]
    if any(not 0 <= label.place < len(frame) or frame[label.place] != label.stratum for label in mine):
        raise LabelSheetError(
            f"the labels of {quote(term.id)} are not of the answers that were drawn; import them again"
        )
    judged = np.where(codes == NOT_APPLICABLE, np.nan, np.where(codes == UNSCORED, 0.0, values != 0))
    said = [settled(label) for label in mine]
    told = _told(rule, frame, judged, prompts, mine, said)
    found, lowest, highest = _estimated(term, told)
    scored = np.where(codes == UNSCORED, np.nan, judged)
    quality, inverted, why = _inverted(rule, frame, scored, mine, said, prompts)
    outside, undrawn = (int(((frame == 0) & mask).sum()) for mask in (codes < NOT_APPLICABLE, codes == UNSCORED))
    bound, within = _limit(term, told, found, lowest, highest, outside + undrawn)
    if term.kind == "hard" and any(row.people == 1 for row in told.sheet):
        within = False
    return CorrectedRate(
        term=term.id,
        by=labels.drawn.by,
        texts=int((frame > 0).sum()),
        outside=outside,
        labelled=len(told.sheet),
        does_not_apply=said.count("does not apply"),
        cannot_say=len(told.silent),
        people=sum(any(label.answers[place] is not None for label in mine) for place in range(len(labels.files))),
        value=found.value,
        standard_error=found.standard_error,
        interval=found.interval,
        power=found.power or 0.0,
        labels_alone=found.value if found.labels_alone is None else found.labels_alone,
        judged=found.judged if ((frame > 0) & ~np.isnan(scored)).any() else None,
        lowest=min(lowest, found.value),
        highest=max(highest, found.value),
        inverted=None if inverted is None else inverted.value,
        inverted_interval=None if inverted is None else inverted.interval,
        inverted_why=why,
        sensitivity=quality.sensitivity,
        sensitivity_interval=quality.sensitivity_interval,
        specificity=quality.specificity,
        specificity_interval=quality.specificity_interval,
        kappa=quality.kappa,
        kappa_interval=quality.kappa_interval,
        bound=bound,
        within=within,
        agreement=agreement_of(mine),
        remarks=tuple(_remarks(term, codes, rule, len(told.sheet), len(told.silent), outside, undrawn)),
    )


def _estimated(term: RewardTerm, told: _Told) -> tuple[Corrected, float, float]:
    """(the corrected rate, what it would be if all answers that people cannot judge were no, or yes)."""
    try:
        found = told.estimate(told.sheet)
        lowest, highest = found.value, found.value
        if told.silent:
            lowest = told.estimate([*told.sheet, *told.silent]).value
            highest = told.estimate([*told.sheet, *(replace(row, people=1.0) for row in told.silent)]).value
    except CorrectionError as error:
        more = ""
        if told.silent:
            more = f"; of {len(told.silent)} answers people cannot say it: let another person fill in the sheet too"
        raise LabelSheetError(f"the rate of {quote(term.id)} cannot be corrected: {error}{more}") from None
    return found, lowest, highest


def settled(label: Label) -> str:
    """What people say of an answer: what most of them do; where as many say otherwise, what the first of these says.
    Who cannot say is not counted as long as somebody can."""
    given = [answer for answer in label.answers if answer is not None and answer != "cannot say"]
    if not given:
        return "cannot say"
    counts = Counter(given)
    most = max(counts.values())
    return next(answer for answer in given if counts[answer] == most)


def _told(
    rule: RuleSheet,
    frame: NDArray[np.uint8],
    judged: NDArray[np.float64],
    prompts: NDArray[np.int64] | None,
    mine: Sequence[Label],
    said: Sequence[str],
) -> _Told:
    sheet: list[SheetRow] = []
    silent: list[SheetRow] = []
    for label, answer in zip(mine, said, strict=True):
        cluster = label.place if prompts is None else int(prompts[label.place])
        stratum = rule.strata[label.stratum - 1].name
        row = SheetRow(_SAID.get(answer, 0.0), float(judged[label.place]), stratum, cluster)
        (sheet if answer in _SAID else silent).append(row)
    strata = {each.name: number for number, each in enumerate(rule.strata, 1)}
    return _Told(
        tuple(sheet),
        tuple(silent),
        {name: judged[frame == number].tolist() for name, number in strata.items()},
        None if prompts is None else {name: prompts[frame == number].tolist() for name, number in strata.items()},
    )


def _inverted(
    rule: RuleSheet,
    frame: NDArray[np.uint8],
    scored: NDArray[np.float64],
    mine: Sequence[Label],
    said: Sequence[str],
    prompts: NDArray[np.int64] | None,
) -> tuple[JudgeQuality, Corrected | None, str]:
    """(what the verdicts are worth, the rate from that and the judged rate alone, why there is none)."""
    own = _told(rule, frame, scored, prompts, mine, said)
    try:
        of = sheet_quality(own.sheet, own.audited, clusters=own.prompts)
    except CorrectionError as error:
        return _UNKNOWN, None, str(error)
    known = (frame > 0) & ~np.isnan(scored)
    share, total = float(scored[known].mean()), float(known.sum())
    if prompts is not None and len(np.unique(prompts[known])) > 1:
        total = clustered.rate(scored[known].tolist(), prompts[known].tolist()).effective
    try:
        return of, rogan_gladen(share * total, total, of), ""
    except CorrectionError as error:
        return of, None, str(error)


def _limit(
    term: RewardTerm, told: _Told, found: Corrected, lowest: float, highest: float, outside: int
) -> tuple[float | None, bool | None]:
    """(the one-sided bound, whether the limit is kept by the corrected rate), as limits are judged without labels. What
    people cannot say, and `outside` answers that no sheet was drawn from, may break the limit: it is None where it
    hangs on them."""
    if term.bound is None:
        return None, None
    confidence, limit = term.confidence or CONFIDENCE, term.bound
    unknown = outside / (found.audited + outside)
    lowest, highest = lowest * (1 - unknown), highest * (1 - unknown) + unknown
    if term.sense == "exactly":
        at = told.estimate(told.sheet, confidence).interval
        kept = {at.low + value - found.value <= limit <= at.high + value - found.value for value in (lowest, highest)}
        is_open = len(kept) > 1 or (kept == {False} and lowest <= limit <= highest)
        return None, None if is_open else kept.pop()
    upper = term.sense != "at least"
    # a two-sided interval at 2c − 1 ends where the one-sided one at c does
    at = told.estimate(told.sheet, 2 * confidence - 1).interval
    bound = at.high if upper else at.low
    judged = found.value if term.confidence is None else bound
    shift = highest - found.value if upper else lowest - found.value
    within = _keeps(judged, limit, upper)
    if within != _keeps(judged + shift, limit, upper) or (term.each_prompt and within):
        return bound, None
    return bound, within


def _keeps(value: float, limit: float, upper: bool) -> bool:
    slack = 1e-12
    return value <= limit + slack if upper else value >= limit - slack


def _remarks(
    term: RewardTerm,
    codes: NDArray[np.uint8],
    rule: RuleSheet,
    labelled: int,
    silent: int,
    outside: int,
    undrawn: int,
) -> list[str]:
    found = []
    if labelled < FEW_LABELS:
        found.append(f"{labelled} labels are few: from {FEW_LABELS} on the error of a judge is known roughly")
    if silent:
        found.append(f"of {silent} answers people cannot say it; they are left out, with the bounds that they allow")
    if outside:
        found.append(
            f"the rule applies to {outside:,} answers that were none when the sheet was drawn; it leaves them out"
        )
    if undrawn:
        found.append(f"{undrawn:,} transcripts without a verdict had no answer to label; it leaves them out")
    condition = [each for each in (term.condition, term.among) if each is not None]
    if any(isinstance(part, ConceptScore) for each in condition for part in walk(each)):
        out = int((codes == NOT_APPLICABLE).sum())
        if out and all(stratum.name != "judged not to apply" for stratum in rule.strata):
            found.append(
                f"whether the rule applies is scored too, and none of the {out:,} answers to which it is judged not to "
                f"apply were labelled (--not-applicable)"
            )
    return found


# ------------------------------------------------------------------------------------------------------------ people
def agreement_of(labels: Sequence[Label]) -> SheetAgreement | None:
    """How far people agree on the answers that several of them labelled; None where there are none. "Cannot say" is no
    label here. Cohen's kappa is that of the two people with most answers in common."""
    answers = [[None if each == "cannot say" else each for each in label.answers] for label in labels]
    shared = [row for row in answers if sum(each is not None for each in row) > 1]
    if not shared:
        return None
    disagreements = sum(len({each for each in row if each is not None}) > 1 for row in shared)
    pairs = list(itertools.combinations(range(len(shared[0])), 2))
    common = {pair: sum(row[pair[0]] is not None and row[pair[1]] is not None for row in shared) for pair in pairs}
    first, second = max(pairs, key=lambda pair: common[pair])
    why, kappa, alpha = "", None, None
    try:
        kappa = cohen_kappa([row[first] for row in shared], [row[second] for row in shared])
        alpha = krippendorff_alpha(shared)
    except ValueError as error:
        why = str(error)
    raw, of = _raw(shared)
    return SheetAgreement(
        texts=len(shared),
        disagreements=disagreements,
        raw=raw,
        raw_interval=of,
        kappa=None if kappa is None else kappa.value,
        kappa_interval=None if kappa is None else kappa.interval,
        alpha=None if alpha is None else alpha.value,
        alpha_interval=None if alpha is None else alpha.interval,
        why=why,
    )


def _raw(shared: Sequence[Sequence[str | None]]) -> tuple[float, Interval]:
    """(the mean share of pairs of people who say the same of an answer, Wilson's interval for so many answers)."""
    shares = []
    for row in shared:
        given = [each for each in row if each is not None]
        pairs = list(itertools.combinations(given, 2))
        shares.append(sum(a == b for a, b in pairs) / len(pairs))
    mean = math.fsum(shares) / len(shares)
    return mean, statistics.wilson(math.fsum(shares), len(shares))
