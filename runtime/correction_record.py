"""What a record says of rates that people's labels corrected: the rate, its error, and what the judge is worth."""

from __future__ import annotations

from dataclasses import dataclass

from bylaw.runtime.interval import Interval


@dataclass(frozen=True, slots=True)
class SheetAgreement:
    """How far people agree about a rule on the texts that several of them labelled.

    `texts` that have two labels or more; `raw`: the share of pairs of labels that are equal; `kappa`: Cohen's, of the
    first two people, `alpha`: Krippendorff's, of all. Both are None where they are not defined (one label only, too few
    texts), with `why` in words. `disagreements`: how many texts have different labels.
    """

    texts: int
    disagreements: int
    raw: float | None
    raw_interval: Interval | None
    kappa: float | None
    kappa_interval: Interval | None
    alpha: float | None
    alpha_interval: Interval | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class CorrectedRate:
    """The rate of one clause as people would have found it, estimated from a sheet of labels and all verdicts.

    Shares between 0 and 1; intervals are two-sided 95 % ones. `value` is what PPI++ says (by strata, where the sheet
    was drawn `by` verdict), with its standard error and `power` (how much the verdicts count, 0 to 1). `judged`: the
    rate of the verdicts alone over the same texts, None where none of these has a verdict; `labels_alone`: of the
    labels alone, each with its weight.
    `texts`: from how many the sheet was drawn; `outside`: to how many others the clause applies now, of which the sheet
    says nothing. `labelled`: with an answer; of these people say of `does_not_apply` that the clause does not apply.
    `cannot_say`: without an answer; `lowest` and `highest` are the value if all of these were no, or yes.
    `inverted`: what Rogan and Gladen's formula says, with the interval of Lang and Reiczigel; None where it says
    nothing, `inverted_why` in words. Sensitivity, specificity and kappa of the verdicts, over all these texts; None
    where no label tells. `bound` is the one-sided bound at the confidence of a limit, `within` whether the limit is
    kept by the corrected rate: None where there is no limit or it cannot be told. Of a rule that must hold it is False
    where people found it broken, else None: labels of a part do not tell that it is kept everywhere. `people`: how many
    labelled. `remarks` are sentences for readers.
    """

    term: str
    by: str
    texts: int
    outside: int
    labelled: int
    does_not_apply: int
    cannot_say: int
    people: int
    value: float
    standard_error: float
    interval: Interval
    power: float
    labels_alone: float
    judged: float | None
    lowest: float
    highest: float
    inverted: float | None = None
    inverted_interval: Interval | None = None
    inverted_why: str = ""
    sensitivity: float | None = None
    sensitivity_interval: Interval | None = None
    specificity: float | None = None
    specificity_interval: Interval | None = None
    kappa: float | None = None
    kappa_interval: Interval | None = None
    bound: float | None = None
    within: bool | None = None
    agreement: SheetAgreement | None = None
    remarks: tuple[str, ...] = ()
