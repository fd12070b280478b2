"""Three-way consistency of policy, generator and judge, and whether judges favour their own answers.

A verdict says whether one judge thinks that one generator's answer to one prompt keeps one rule. The reference (people,
deterministic rules, or one trusted judge) speaks for the policy. All shares are among pairs (prompt, rule) that both
sides scored; verdicts on one prompt are never taken to be independent. Sources: SpecEval, arXiv:2509.02464, for the
three ways; Panickssery, Bowman and Feng, arXiv:2404.13076, for self-preference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.audit.clustered import ClusteredEstimate
from bylaw.runtime.audit.comparison import PairedDifference, paired_difference
from bylaw.runtime.audit.statistics import CONFIDENCE, cohen_kappa
from bylaw.runtime.record import Interval

VERDICTS = ("satisfied", "violated", "not_applicable", "unscored")
_Unit = tuple[str, str]


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """What `judge` says of the answer of `generator` to `prompt` under `rule`. `kept`: True, False, or None where the
    rule does not apply or there is no verdict; `is_scored` is False in the second case."""

    prompt: str
    rule: str
    generator: str
    judge: str
    kept: bool | None
    is_scored: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """One judge on one generator. `kept`: the share of answers that keep their rule, as the judge says. `agreement`:
    the share on which judge and reference say the same, `kappa` corrected for chance; None for the reference itself
    and where they share nothing. `unscored`: pairs without a verdict of this judge. `is_own`: the judge is the
    generator."""

    generator: str
    judge: str
    kept: ClusteredEstimate | None
    agreement: ClusteredEstimate | None
    kappa: float | None
    unscored: int
    is_own: bool


@dataclass(frozen=True, slots=True)
class Pair:
    """Two generators under one judge, or two judges on one generator: the difference of the shares kept, first minus
    second, on the pairs (prompt, rule) that both have."""

    first: str
    second: str
    common: str
    difference: PairedDifference


@dataclass(frozen=True, slots=True)
class SelfPreference:
    """How much likelier a judge is to let its own answers pass than those of others that are as good.

    "As good" is what the reference says: answers that it calls kept are compared with kept ones, broken with broken
    ones, so that neither better answers nor a judge that is stern with everybody look like favour. `on_kept`,
    `on_broken`: the share that the judge calls kept, own minus others (None where one side has none). `estimate`: both,
    weighted as among its own answers; above 0 it favours itself. `interval`: clustered by prompt.
    """

    judge: str
    others: tuple[str, ...]
    on_kept: float | None
    on_broken: float | None
    estimate: float
    standard_error: float
    interval: Interval
    own_answers: int
    other_answers: int
    prompts: int


@dataclass(frozen=True, slots=True)
class Consistency:
    """`cells`: every judge on every generator. `generators`: pairs of generators under the reference. `judges`: each
    judge against the reference, on each generator. `preferences`: of judges that are generators too. `three_way`: by
    model that is both, the share of pairs on which reference and its own judgement both say that its answer keeps the
    rule."""

    reference: str
    cells: tuple[Cell, ...]
    generators: tuple[Pair, ...]
    judges: tuple[Pair, ...]
    preferences: tuple[SelfPreference, ...]
    three_way: tuple[tuple[str, ClusteredEstimate], ...]
    prompts: int
    rules: int
    rows: int
    unscored: int


def consistency(rows: Iterable[VerdictRow], reference: str, confidence: float = CONFIDENCE) -> Consistency:
    """The three-way table of `rows`, with the judge named `reference` speaking for the policy.

    Raises ComparisonError for no rows, two different verdicts for one question, and a reference that gave none.
    """
    verdicts: dict[tuple[str, str], dict[_Unit, bool | None]] = {}
    missing: dict[tuple[str, str], int] = {}
    count = 0
    for row in rows:
        count += 1
        own = verdicts.setdefault((row.generator, row.judge), {})
        unit = (row.prompt, row.rule)
        said = row.kept if row.is_scored else None
        if unit in own:
            raise ComparisonError(
                f"there are two verdicts of `{row.judge}` on what `{row.generator}` answered to `{row.prompt}` under "
                f"`{row.rule}`: give repeats a prompt name of their own, or leave one out"
            )
        own[unit] = said
        missing[row.generator, row.judge] = missing.get((row.generator, row.judge), 0) + (not row.is_scored)
    scored = {key: {unit: said for unit, said in own.items() if said is not None} for key, own in verdicts.items()}
    judges = sorted({judge for _, judge in verdicts})
    if not count or reference not in judges:
        known = f"; there are {', '.join(f'`{judge}`' for judge in judges)}" if judges else ""
        raise ComparisonError(f"the reference `{reference}` gave no verdict{known}")
    generators = sorted({generator for generator, _ in verdicts})
    units = {unit for own in verdicts.values() for unit in own}
    return Consistency(
        reference,
        tuple(_cell(scored, missing, key, reference, confidence) for key in sorted(verdicts)),
        tuple(_pairs(scored, [(one, reference, two, reference) for at, one in enumerate(generators)
                              for two in generators[at + 1 :]], confidence, by_generator=True)),
        tuple(_pairs(scored, [(generator, judge, generator, reference) for generator in generators for judge in judges
                              if judge != reference], confidence, by_generator=False)),
        tuple(_preferences(scored, generators, reference, confidence)),
        tuple(_three_way(scored, generators, reference, confidence)),
        len({prompt for prompt, _ in units}),
        len({rule for _, rule in units}),
        count,
        sum(missing.values()),
    )  # fmt: skip


_Scored = Mapping[tuple[str, str], Mapping[_Unit, bool]]


def _rate(values: Sequence[bool], units: Sequence[_Unit], confidence: float) -> ClusteredEstimate | None:
    """None for fewer than two prompts, which say nothing about their spread."""
    prompts = [prompt for prompt, _ in units]
    return clustered.rate([float(value) for value in values], prompts, confidence) if len(set(prompts)) > 1 else None


def _shared(one: Mapping[_Unit, bool] | None, two: Mapping[_Unit, bool] | None) -> list[_Unit]:
    return [unit for unit in one if unit in two] if one and two else []


def _cell(
    scored: _Scored, missing: Mapping[tuple[str, str], int], key: tuple[str, str], reference: str, confidence: float
) -> Cell:
    generator, judge = key
    own, policy = scored[key], scored.get((generator, reference), {})
    kept = _rate(list(own.values()), list(own), confidence)
    agreement, kappa = None, None
    if judge != reference and (both := _shared(own, policy)):
        agreement = _rate([own[unit] == policy[unit] for unit in both], both, confidence)
        # positive means broken, as in every table of counts
        cells = [sum(own[u] is mine and policy[u] is theirs for u in both) for mine, theirs in
                 ((False, False), (False, True), (True, False), (True, True))]  # fmt: skip
        kappa = cohen_kappa(*cells)
    return Cell(generator, judge, kept, agreement, kappa, missing[key], judge == generator)


def _pairs(
    scored: _Scored, wanted: Sequence[tuple[str, str, str, str]], confidence: float, *, by_generator: bool
) -> Iterable[Pair]:
    for generator, judge, other_generator, other_judge in wanted:
        one, two = scored.get((generator, judge)), scored.get((other_generator, other_judge))
        both = _shared(one, two)
        if one is None or two is None or len({prompt for prompt, _ in both}) < 2:
            continue
        gap = paired_difference(
            [float(one[unit]) for unit in both],
            [float(two[unit]) for unit in both],
            [prompt for prompt, _ in both],
            confidence,
        )
        if by_generator:
            yield Pair(generator, other_generator, judge, gap)
        else:
            yield Pair(judge, other_judge, generator, gap)


def _preferences(
    scored: _Scored, generators: Sequence[str], reference: str, confidence: float
) -> Iterable[SelfPreference]:
    for judge in generators:
        if judge == reference or (judge, judge) not in scored:
            continue
        own = _judged(scored, judge, judge, reference)
        others = {each: _judged(scored, each, judge, reference) for each in generators if each != judge}
        named = tuple(sorted(each for each, found in others.items() if found))
        found = _preference(judge, named, own, [row for each in named for row in others[each]], confidence)
        if found is not None:
            yield found


def _judged(scored: _Scored, generator: str, judge: str, reference: str) -> list[tuple[str, bool, bool]]:
    """(prompt, what the reference says, what the judge says) of the answers of a generator."""
    said, policy = scored.get((generator, judge), {}), scored.get((generator, reference), {})
    return [(unit[0], policy[unit], said[unit]) for unit in _shared(said, policy)]


def _preference(
    judge: str,
    others: tuple[str, ...],
    own: Sequence[tuple[str, bool, bool]],
    rest: Sequence[tuple[str, bool, bool]],
    confidence: float,
) -> SelfPreference | None:
    """The difference standardised to the judge's own answers, with the clustered error of its linear part."""
    gaps: dict[bool, float] = {}
    parts: list[tuple[str, float]] = []
    strata = {truth for _, truth, _ in own} & {truth for _, truth, _ in rest}
    weight = {truth: sum(row[1] is truth for row in own) for truth in strata}
    total = sum(weight.values())
    for truth in sorted(strata):
        means = []
        for side, sign in ((own, 1.0), (rest, -1.0)):
            inside = [(prompt, float(said)) for prompt, policy, said in side if policy is truth]
            mean = sum(said for _, said in inside) / len(inside)
            means.append(mean)
            scale = sign * weight[truth] / total / len(inside)
            parts += [(prompt, scale * (said - mean)) for prompt, said in inside]
        gaps[truth] = means[0] - means[1]
    prompts = {row[0] for row in (*own, *rest)}
    if not strata or len(prompts) < 2:
        return None
    estimate = sum(weight[truth] * gap for truth, gap in gaps.items()) / total
    parts += [(prompt, (gaps[truth] - estimate) / total) for prompt, truth, _ in own if truth in strata]
    sums: dict[str, float] = dict.fromkeys(prompts, 0.0)
    for prompt, part in parts:
        sums[prompt] += part
    count = len(prompts)
    error = math.sqrt(count / (count - 1) * math.fsum(part * part for part in sums.values()))
    half = clustered.t_quantile((1 + confidence) / 2, count - 1) * error
    if half < 1e-12:
        # nothing varies: how far off it may be rests on the number of prompts alone, as for a mean of equal values
        half = 1 - (1 - confidence) ** (1 / count)
    interval = Interval(max(-1.0, estimate - half), min(1.0, estimate + half))
    sizes = len(own), len(rest)
    return SelfPreference(judge, others, gaps.get(True), gaps.get(False), estimate, error, interval, *sizes, count)


def _three_way(
    scored: _Scored, generators: Sequence[str], reference: str, confidence: float
) -> Iterable[tuple[str, ClusteredEstimate]]:
    for model in generators:
        own, policy = scored.get((model, model)), scored.get((model, reference))
        if model == reference or own is None or policy is None:
            continue
        both = _shared(own, policy)
        found = _rate([own[unit] and policy[unit] for unit in both], both, confidence) if both else None
        if found is not None:
            yield model, found
