"""How many answers an audit of a whole policy takes, rule by rule, before any is drawn.

What is certified is decided by the limits: a limit on a share by the exact one-sided bound (`planning.certify`), a hard
rule by answers none of which breaks it, the limit on an average by Student's t. Rules that are weighed only, and limits
that say `exactly`, have nothing to certify: they take as many answers as it takes to know their rate within a width.
A gate passes where every limit is certified, and errs then with at most the error of one (Berger 1982, Technometrics
24:295-300), so that each limit takes the confidence by itself. With `is_together` what is said of each limit holds for
all at once, whatever becomes of the others (Bonferroni; the steps of Holm never take more). What a pilot tells of
rates, of how often rules apply, and of how alike the answers to one prompt are, is used where nothing else is said.

Shares are between 0 and 1, multipliers in nats.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bylaw.compiler.program import RewardProgram, RewardTerm, scores_in
from bylaw.runtime.audit import planning, statistics
from bylaw.runtime.audit.inputs import suggestion
from bylaw.runtime.audit.pilot import Pilot, PilotRule
from bylaw.runtime.audit.planning import OutOfReach

HARD_LIMIT = 0.01
WIDTH = 0.05
STOPPED_WITHIN, MOST_STEPS = 3, 20_000
"""An audit that stops is followed for so many times the fixed size, and no further than so many answers."""


@dataclass(frozen=True, slots=True)
class PerRule:
    """A number for every rule, or for some: `own` by term, else `common`, else None."""

    common: float | None = None
    own: Mapping[str, float] = field(default_factory=dict)

    def of(self, term: str) -> float | None:
        """What is said of this rule."""
        return self.own.get(term, self.common)


@dataclass(frozen=True, slots=True)
class Assumptions:
    """What a plan rests on. `rate`: expected (of an average: its mean); `applicable`: the share of answers that a rule
    applies to; `sensitivity`, `specificity`: of whatever judges the rules that hang on what texts express; `labels`: of
    people, half on either verdict (None: as many as it takes); `hard_limit`: a rate of broken answers that counts as
    none; `width`: half the interval of what is only estimated; `cluster_size`: answers to each prompt, `correlation`
    between these (None: the pilot's, else 1 and 0). `planted`: multipliers in nats, by term."""

    rate: PerRule = PerRule()
    applicable: PerRule = PerRule()
    sensitivity: PerRule = PerRule()
    specificity: PerRule = PerRule()
    labels: int | None = None
    confidence: float = statistics.CONFIDENCE
    power: float = planning.POWER
    hard_limit: float = HARD_LIMIT
    width: float = WIDTH
    cluster_size: int | None = None
    correlation: float | None = None
    planted: Mapping[str, float] = field(default_factory=dict)
    is_together: bool = False


@dataclass(frozen=True, slots=True)
class RulePlan:
    """What one rule takes.

    `purpose`: "certify" (a limit or hard rule), "estimate" (its rate), or "none" with the reason in `why_not`. `rate`
    is what is expected, `source` says where from. `samples` answers in all (`prompts` of `cluster_size`), so that
    `independent` ones are about the rule; `allowed` of these may break it. `labels` of people on either verdict.
    `steady`: from so many independent answers on the power is never lost again. `planted`: (multiplier, rate under it,
    answers that find it with the power, power to find it of the planned answers). `stopped`: with `bylaw audit --stop`,
    exactly for one answer to each prompt (answers on average, chance to be shown to be kept, within so many answers);
    what the steps of Holm save is not counted.
    """

    term: str
    kind: str
    purpose: str
    sense: str = "at most"
    limit: float | None = None
    rate: float | None = None
    source: str = ""
    samples: int | None = None
    prompts: int | None = None
    independent: int | None = None
    allowed: int | None = None
    power: float | None = None
    steady: int | None = None
    confidence: float | None = None
    labels: int | None = None
    is_judged: bool = False
    is_share: bool = True
    is_least: bool = False
    planted: tuple[float, float, int | None, float] | None = None
    stopped: tuple[float, float, int] | None = None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class PolicyPlan:
    """The plan of an audit: one set of answers serves all rules, so that the largest number counts.

    `questions` is how often a scorer is asked, `labels` how many texts people label at most.
    """

    policy: str
    digest: str
    confidence: float
    is_together: bool
    power: float
    certified: int
    cluster_size: int
    correlation: float
    design_effect: float
    samples: int
    prompts: int
    questions: int
    labels: int
    rules: tuple[RulePlan, ...]
    pilot: Pilot | None


def plan_policy(program: RewardProgram, given: Assumptions, pilot: Pilot | None = None) -> PolicyPlan:
    """The plan. Raises ValueError for an assumption about an unknown rule, or outside of its range."""
    names = [term.id for term in program.terms]
    for part in (given.rate, given.applicable, given.sensitivity, given.specificity):
        _known(part.own, names)
    _known(given.planted, names)
    size = given.cluster_size or (1 if pilot is None else max(1, round(pilot.answers_each)))
    alike = given.correlation if given.correlation is not None else (0.0 if pilot is None else pilot.correlation)
    design = planning.design_effect(size, alike)
    certified = [term for term in program.terms if _is_certified(term)]
    sharing = max(1, len(certified)) if given.is_together else 1
    share = replace(given, confidence=1 - (1 - given.confidence) / sharing)
    each_error = (1 - given.confidence) / max(1, len(certified))
    rules = tuple(
        _planted(
            _rule(term, share, None if pilot is None else pilot.rules.get(term.id), size, alike), share, size, alike
        )
        for term in program.terms
    )
    if size == 1:
        rules = tuple(_stopped(each, each_error) for each in rules)
    samples = max((each.samples for each in rules if each.samples is not None), default=0)
    concepts = {score.concept.name for term in program.terms for score in scores_in(term)}
    return PolicyPlan(
        policy=program.policy,
        digest=program.digest,
        confidence=given.confidence,
        is_together=given.is_together,
        power=given.power,
        certified=sum(each.purpose == "certify" for each in rules),
        cluster_size=size,
        correlation=alike,
        design_effect=design,
        samples=samples,
        prompts=math.ceil(samples / size),
        questions=samples * len(concepts),
        labels=2 * max((each.labels or 0 for each in rules), default=0),
        rules=rules,
        pilot=pilot,
    )


def _known(own: Mapping[str, float], names: list[str]) -> None:
    for name in own:
        if name not in names:
            near = suggestion(name, names)
            raise ValueError(f"there is no rule `{name}`; rules here: {', '.join(names)}{near}")


def _is_certified(term: RewardTerm) -> bool:
    return term.kind == "hard" or (term.kind == "budget" and term.sense != "exactly")


def _rule(term: RewardTerm, given: Assumptions, seen: PilotRule | None, size: int, alike: float) -> RulePlan:
    base = RulePlan(term.id, term.kind, "none", term.sense or "at most", is_judged=bool(scores_in(term)),
                    is_share=term.holds is not None)  # fmt: skip
    applicable = given.applicable.of(term.id)
    if applicable is None:
        # of answers that nobody scored it is not known whether the rule would be about them
        is_unknown = seen is None or (not seen.applicable and bool(seen.unscored))
        applicable = 1.0 if seen is None or is_unknown else seen.applicable / seen.total
    if not 0 < applicable <= 1:
        return replace(base, why_not="the pilot has no answer that it applies to: say how many with --applicable")
    if term.each_prompt:
        return _each_prompt(term, given, base)
    try:
        found = (
            _average(term, given, seen, base, size, alike)
            if term.holds is None
            else _share(term, given, seen, base, size, alike)
        )
    except OutOfReach as error:
        return replace(base, why_not=str(error))
    if found.samples is None or applicable == 1:
        return found
    prompts = math.ceil(math.ceil(found.samples / applicable - 1e-9) / size)
    return replace(found, samples=prompts * size, prompts=prompts)


def _each_prompt(term: RewardTerm, given: Assumptions, base: RulePlan) -> RulePlan:
    bound = term.bound or 0.0
    if term.holds is None or term.sense == "exactly" or not 0 < bound < 1:
        return replace(base, limit=bound, why_not="it is for each prompt, and no share: not planned")
    limit = 1 - bound if term.sense == "at least" else bound
    each = planning.zero_failure_size(limit, given.confidence)
    return replace(
        base, limit=bound, why_not=f"it is for each prompt: {each} answers to each, none of which breaks it, certify it"
    )


# -------------------------------------------------------------------------------------------------------------- shares
def _share(
    term: RewardTerm, given: Assumptions, seen: PilotRule | None, base: RulePlan, size: int, alike: float
) -> RulePlan:
    """Statements: hard rules, limits on shares, and rules that are weighed only."""
    is_mirrored = term.sense == "at least"
    if not _is_certified(term):
        rate, source = _expected(given.rate.of(term.id), seen, 0.5, "nothing is known of it: the hardest rate")
        return _estimated(replace(base, limit=term.bound, rate=rate, source=source), given, size, alike)
    shown = given.hard_limit if term.kind == "hard" else term.bound or 0.0
    limit = 1 - shown if is_mirrored else shown
    if limit <= 0:
        limit, shown = given.hard_limit, 1 - given.hard_limit if is_mirrored else given.hard_limit
    base = replace(base, purpose="certify", limit=shown, confidence=_confidence(term, given))
    if limit >= 1:
        return replace(base, purpose="none", why_not="it is kept whatever is answered")
    half = "halfway to 100%" if is_mirrored else "half of the limit"
    usual = (0.0, "no answer breaks it") if term.kind == "hard" else (limit / 2, half)
    said = given.rate.of(term.id)
    said = 1 - said if said is not None and is_mirrored else said
    expected, source = _expected(said, seen, *usual, is_mirrored=is_mirrored)
    if expected >= limit and said is None and seen is not None and seen.events == 0:
        # of so few answers even none that breaks it tells nothing of the limit
        expected, source = usual[0], f"{usual[1]} ({source}: too few to tell)"
    base = replace(base, rate=1 - expected if is_mirrored else expected, source=source)
    if expected >= limit:
        return replace(base, purpose="none", why_not="at this rate it is not kept: no number of answers certifies it")
    return _certified(term, given, base, limit, expected, size, alike)


def _certified(
    term: RewardTerm, given: Assumptions, base: RulePlan, limit: float, rate: float, size: int, alike: float
) -> RulePlan:
    confidence = _confidence(term, given)
    se, sp = given.sensitivity.of(term.id), given.specificity.of(term.id)
    if base.is_judged and (se is None) != (sp is None):
        raise ValueError(f"`{term.id}`: a judge has a sensitivity and a specificity: say both")
    if base.is_judged and se is not None and sp is not None:
        labels, samples = planning.labels_for(
            limit, rate, sensitivity=se, specificity=sp, labels=given.labels, confidence=confidence,
            power=given.power, cluster_size=size, correlation=alike,
        )  # fmt: skip
        prompts = math.ceil(samples / size)
        return replace(
            base, samples=prompts * size, prompts=prompts, labels=labels, power=given.power,
            independent=math.ceil(samples / planning.design_effect(size, alike)),
        )  # fmt: skip
    found = planning.certify(
        limit, rate, confidence=confidence, power=given.power, cluster_size=size, correlation=alike
    )
    return replace(
        base, samples=found.samples, prompts=found.clusters, independent=found.independent, allowed=found.allowed,
        power=found.power, steady=found.steady, is_least=base.is_judged,
    )  # fmt: skip


def _estimated(base: RulePlan, given: Assumptions, size: int, alike: float) -> RulePlan:
    """So many answers that Wilson's interval of the rate reaches at most `width` to either side."""
    rate = base.rate or 0.0

    def fits(count: int) -> bool:
        found = statistics.wilson(rate * count, count)
        return found.high - found.low <= 2 * given.width

    low, high = 0, 1
    while not fits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    prompts = math.ceil(high * planning.design_effect(size, alike) / size - 1e-9)
    return replace(base, purpose="estimate", samples=prompts * size, prompts=prompts, independent=high)


# ------------------------------------------------------------------------------------------------------------ averages
def _average(
    term: RewardTerm, given: Assumptions, seen: PilotRule | None, base: RulePlan, size: int, alike: float
) -> RulePlan:
    """Limits on averages, by Student's t: n = ((t_confidence + t_power) · sd / (limit − mean))²."""
    if not _is_certified(term) or term.bound is None:
        return replace(base, limit=term.bound, why_not="it measures a quantity: nothing to certify")
    base = replace(base, limit=term.bound, confidence=_confidence(term, given))
    if seen is None or seen.spread is None:
        return replace(base, why_not="how much its quantity varies has to come from a pilot of two answers or more")
    mean = given.rate.of(term.id)
    source = "given" if mean is not None else f"pilot, {seen.applicable} answers"
    expected = seen.mean if mean is None else mean
    assert expected is not None
    base = replace(base, rate=expected, source=source)
    gap = expected - term.bound if term.sense == "at least" else term.bound - expected
    if gap <= 0:
        return replace(base, why_not="at this mean it is not kept: no number of answers certifies it")
    confidence, count = _confidence(term, given), 2
    while count <= planning.MOST_SAMPLES:
        quantiles = (statistics.t_quantile(share, count - 1) for share in (confidence, given.power))
        needed = math.ceil((math.fsum(quantiles) * seen.spread / gap) ** 2)
        if needed <= count:
            break
        count = min(needed, 2 * count)
    else:
        raise OutOfReach(f"more than {planning.MOST_SAMPLES} answers are needed: the mean is too near to the limit")
    prompts = math.ceil(count * planning.design_effect(size, alike) / size - 1e-9)
    return replace(
        base, purpose="certify", samples=prompts * size, prompts=prompts, independent=count, power=given.power
    )


# ------------------------------------------------------------------------------------------------------------- planted
def _planted(found: RulePlan, given: Assumptions, size: int, alike: float) -> RulePlan:
    """With what it takes to find violations planted by a multiplier, where that is asked for."""
    multiplier = given.planted.get(found.term)
    if multiplier is None:
        return found
    if found.purpose != "certify" or found.limit is None or found.rate is None or found.independent is None:
        raise ValueError(f"`{found.term}` has no limit that answers can be planned for: nothing to plant")
    from bylaw.runtime.audit.power import exact_power

    is_mirrored = found.sense == "at least"
    limit, rate = (1 - found.limit, 1 - found.rate) if is_mirrored else (found.limit, found.rate)
    if found.kind == "hard" and rate == 0:
        raise ValueError(f"`{found.term}`: no multiplier makes what never happens more frequent: give it a --rate")
    tilted = rate * math.exp(multiplier) / (1 - rate + rate * math.exp(multiplier))
    confidence = found.confidence or given.confidence
    needed = None
    if tilted > limit:
        plan = planning.certify(
            1 - limit, 1 - tilted, confidence=confidence, power=given.power, cluster_size=size, correlation=alike
        )
        needed = plan.samples
    power = exact_power(found.independent, tilted, limit, 1 - confidence)
    return replace(found, planted=(multiplier, 1 - tilted if is_mirrored else tilted, needed, power))


# ------------------------------------------------------------------------------------------------------------ stopping
def _stopped(found: RulePlan, error: float) -> RulePlan:
    """With what an audit takes that stops as soon as this rule is decided, for an error of its own."""
    if found.allowed is None or found.is_judged or not found.independent or not found.samples:
        return found
    assert found.limit is not None
    assert found.rate is not None
    from bylaw.runtime.audit.followed import clean_size
    from bylaw.runtime.audit.stopping_time import share_outcomes

    error = min(error, 1 - (found.confidence or 0.0))
    scale = found.samples / found.independent
    if found.kind == "hard":
        size = clean_size(found.limit, error)
        mean = size if found.rate == 0 else (1 - (1 - found.rate) ** size) / found.rate
        return replace(found, stopped=(scale * mean, (1 - found.rate) ** size, math.ceil(scale * size)))
    is_mirrored = found.sense == "at least"
    limit, rate = (1 - found.limit, 1 - found.rate) if is_mirrored else (found.limit, found.rate)
    budget = min(STOPPED_WITHIN * found.independent, MOST_STEPS)
    ended = share_outcomes(limit, rate, budget, 1 - error)
    return replace(found, stopped=(scale * ended.samples, ended.passes, math.ceil(scale * budget)))


# --------------------------------------------------------------------------------------------------------------- parts
def _confidence(term: RewardTerm, given: Assumptions) -> float:
    """That of the plan, or the author's where that is more."""
    return max(given.confidence, term.confidence or 0.0)


def _expected(
    said: float | None, seen: PilotRule | None, usual: float, why: str, *, is_mirrored: bool = False
) -> tuple[float, str]:
    """(the rate that is expected, of being on the wrong side; where it comes from)."""
    if said is not None:
        if not 0 <= said <= 1:
            raise ValueError(f"a rate lies between 0 and 1, got {said}")
        return said, "given"
    if seen is None or not seen.applicable or seen.events is None:
        return usual, why
    # Jeffreys' estimate: a pilot without any event has not shown that there are none
    told = seen.applicable - seen.events if is_mirrored else seen.events
    return (seen.events + 0.5) / (seen.applicable + 1), f"pilot, {told} of {seen.applicable}"
