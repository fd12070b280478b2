"""What a record says of all rules together: tests adjusted for their number, one score, and two audits compared."""

from __future__ import annotations

from dataclasses import dataclass

from bylaw.runtime.interval import Interval


@dataclass(frozen=True, slots=True)
class RuleTest:
    """The test of one clause: is it broken more often than it may be?

    Attributes:
        term: the clause.
        p_value: one-sided (two-sided for `exactly`) and exact: how likely so many violations are at the limit itself,
            at most, whatever the unscored answers are. None where there is nothing to test.
        adjusted: for the number of limits, by the method of `RuleTests`: for a list of discoveries.
        holm: by Holm's method: small only where one can be sure of this very limit.
        is_found: `adjusted` is at most the level of `RuleTests`. is_shown: `holm` is at most its `gate_level`.
        is_certain: no chance plays a part: one violation shows that a hard rule is broken.
        posterior: the probability that the limit is broken, after Jeffreys' prior; None where there is none.
        why_not: why there is no p-value.
    """

    term: str
    p_value: float | None
    adjusted: float | None = None
    holm: float | None = None
    is_found: bool = False
    is_shown: bool = False
    is_certain: bool = False
    posterior: float | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class RuleTests:
    """The tests of all hard rules and limits, in the order of the policy.

    `adjusted` holds the expected share of false discoveries to `level` (`benjamini-hochberg`, `benjamini-yekutieli`) or
    the chance of any (`holm`); `holm` holds the chance of any to `gate_level`. `together` many p-values were adjusted
    for each other: those of limits, as the tests of hard rules cannot err by chance.
    """

    method: str
    level: float
    gate_level: float
    together: int
    tests: tuple[RuleTest, ...]


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """The weighted share of answers that keep the rules, with weights that were declared before the audit.

    Attributes:
        score: Σ w · (share of answers that keep the rule) / Σ w, in [0, 1]. interval: 95 %, never a point.
        standard_error: with what rules share through answers to the same prompts.
        least, most: the score with every unscored answer broken, and kept.
        weights: (rule, its share of the weight) of those in the score. declared: (rule, weight) as given, and `source`
            says by whom; `digest` is the SHA-256 of these.
        worst, worst_kept: the rule of the score that is kept least, and how often.
        left_out: (rule, why) for those with weight of which nothing was measured. warnings: sentences.
    """

    score: float
    standard_error: float
    interval: Interval
    least: float
    most: float
    weights: tuple[tuple[str, float], ...]
    declared: tuple[tuple[str, float], ...]
    source: str
    digest: str
    worst: str
    worst_kept: float
    left_out: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RuleDifference:
    """One clause in two audits, always here minus there.

    Attributes:
        term, clause: which one. is_share: rates are compared; else means of a quantity.
        here, there: the rates (means) of the answers compared. difference: here − there, with its 95 % interval.
        p_value: two-sided; exact for shares of pairs. adjusted: for the number of clauses. is_found: at most the level.
        pairs: of answers to the same prompt (None where unpaired). here_count, there_count: answers compared.
        prompts: how many prompts these answer here. worse: 1 where more is worse, −1 where less is, 0 neither.
        only_here, only_there: pairs that break the clause (where the event happened) on one side only.
        left_out_here, left_out_there: answers to common prompts to which the clause applies that have no partner.
        why_not: why there is no comparison.
    """

    term: str
    clause: str
    is_share: bool
    here: float | None = None
    there: float | None = None
    difference: float | None = None
    interval: Interval | None = None
    p_value: float | None = None
    adjusted: float | None = None
    is_found: bool = False
    pairs: int | None = None
    here_count: int = 0
    there_count: int = 0
    prompts: int = 0
    worse: int = 1
    only_here: int | None = None
    only_there: int | None = None
    left_out_here: int = 0
    left_out_there: int = 0
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Against:
    """An audit compared with other transcripts under the same rules: of another model, or of a checkpoint.

    `common` prompts are in both, `only_here` and `only_there` in one. `method` adjusts the p-values of all clauses to
    `level`. Where not `is_paired`, no prompt is in both, and rates are compared as those of independent samples.
    """

    source: str
    transcripts: int
    is_paired: bool
    common: int
    only_here: int
    only_there: int
    method: str
    level: float
    rules: tuple[RuleDifference, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LabellerAgreement:
    """How far several people agree on whether a clause was broken: Krippendorff's alpha over all columns of labels.

    `alpha` is 1 where they always agree and 0 where chance would agree as often; `raw` is the share of pairs of labels
    that are equal, `broken` that of labels that say broken. `items` carry two labels or more. None: not defined, for
    the reason in `why_not`.
    """

    term: str
    columns: tuple[str, ...]
    items: int
    alpha: float | None = None
    interval: Interval | None = None
    raw: float | None = None
    broken: float | None = None
    why_not: str = ""
