"""Would this audit notice? Plants violations of a rule by a known multiplier, and counts how often the audit finds it.

The answers are drawn from the law that the policy's own law is the mirror image of: p(y) ∝ p0(y) · exp(+μ f(y)), with μ
the multiplier in nats and f(y) = 1 where y breaks the rule (for a quantity, its value towards the wrong side). p0 is
the law of the answers at hand, each with the same weight. Where prompts have several answers, prompts are drawn with
replacement and p0 is that of the answers to each prompt; else answers are drawn from all of them, so that prompts whose
answer breaks the rule are drawn more often, too. Rates under the tilt are exact for these laws.

Each audit of drawn answers goes through the same tests of all rules as the audit itself (`rules_together.rule_tests`).
The power is a binomial share with the interval of Clopper and Pearson; as many audits without the tilt stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit import statistics
from bylaw.runtime.audit.columns import NOT_APPLICABLE, SATISFIED, VIOLATED, VerdictColumns
from bylaw.runtime.audit.inputs import suggestion
from bylaw.runtime.audit.multiplicity import DISCOVERY_LEVEL, Method, above, below
from bylaw.runtime.audit.rules_together import rule_tests
from bylaw.runtime.power_record import PlantedPower

RUNS = 400
LEAST = 0.8


class PowerError(ValueError):
    """A rule whose violations cannot be planted; text fit for users."""


@dataclass(frozen=True)
class Drawn(VerdictColumns):
    """Columns of answers that were drawn: `rows` [n] are places in `base`; `owners` [n] number their prompts, 0 to
    `owner_count` − 1. `instead` is a term that stands in for that of the same place, with its values [of `base`]."""

    base: tuple[tuple[NDArray[np.uint8], NDArray[np.float64]], ...] = ()
    rows: NDArray[np.int64] | None = None
    owners: NDArray[np.int64] | None = None
    owner_count: int = 0

    @property
    def count(self) -> int:
        """n."""
        return len(self._rows)

    @property
    def _rows(self) -> NDArray[np.int64]:
        assert self.rows is not None
        return self.rows

    def codes(self, index: int) -> NDArray[np.uint8]:
        """What term `index` says of each drawn answer [n]."""
        return self.base[index][0][self._rows]

    def values(self, index: int) -> NDArray[np.float64]:
        """What the law weighs of each drawn answer [n]."""
        return self.base[index][1][self._rows]

    @property
    def prompts(self) -> NDArray[np.int64]:
        """The number of the prompt of each [n]."""
        assert self.owners is not None
        return self.owners

    @property
    def prompt_count(self) -> int:
        """How many prompts were drawn."""
        return self.owner_count


@dataclass(frozen=True)
class Planted:
    """The law that audits are drawn from, and its parts.

    Attributes:
        terms: of the columns, the planted one with a limit. base: (codes, values) of each, [N].
        prompts: [N] the number of the prompt of each answer, None where every answer stands for itself.
        plain, tilted: [N] the probability of each answer, of all answers or of those to its prompt.
        sizes: [C] the answers to each prompt, starts: [C] where they begin in `by_prompt` [N].
    """

    terms: tuple[RewardTerm, ...]
    base: tuple[tuple[NDArray[np.uint8], NDArray[np.float64]], ...]
    prompts: NDArray[np.int64] | None
    plain: NDArray[np.float64]
    tilted: NDArray[np.float64]
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]
    by_prompt: NDArray[np.int64]

    def draw(self, generator: np.random.Generator, *, is_tilted: bool) -> Drawn:
        """As many answers as there are (in expectation, where prompts have different numbers of answers)."""
        weights = self.tilted if is_tilted else self.plain
        total = len(weights)
        if self.prompts is None:
            rows = generator.choice(total, total, p=weights)
            return Drawn(self.terms, (), self.base, rows.astype(np.int64), np.arange(total), total)
        chosen = generator.integers(len(self.sizes), size=len(self.sizes))
        sizes = self.sizes[chosen]
        owners = np.repeat(np.arange(len(chosen)), sizes)
        # the answers to all prompts stand in one row of cumulative weights, each prompt with weight 1
        ladder = np.cumsum(weights[self.by_prompt])
        ends = self.starts + self.sizes
        floor = np.concatenate([[0.0], ladder])[self.starts][chosen]
        height = ladder[ends - 1][chosen] - floor
        spots = np.repeat(floor, sizes) + generator.random(len(owners)) * np.repeat(height, sizes)
        places = np.searchsorted(ladder, spots, side="right")
        places = np.clip(places, np.repeat(self.starts[chosen], sizes), np.repeat(ends[chosen] - 1, sizes))
        return Drawn(self.terms, (), self.base, self.by_prompt[places], owners, len(chosen))

    def rate(self, index: int, *, is_tilted: bool) -> float:
        """The exact rate of a statement (value ≠ 0), or mean of a quantity, among the answers it applies to."""
        codes, values = self.base[index]
        weights = self.tilted if is_tilted else self.plain
        if self.prompts is not None:
            weights = weights * self.sizes[self.prompts]
        known = codes <= VIOLATED
        seen = values[known] if self.terms[index].holds is None else (values[known] != 0).astype(np.float64)
        return float((weights[known] * seen).sum() / weights[known].sum())


def plant(columns: VerdictColumns, rule: str, multiplier: float) -> tuple[Planted, int]:
    """(the law with violations of a term planted at so many nats, the place of the term).

    `rule` is the id of a term. A term without a limit gets its own rate as one. Raises PowerError: an unknown term, a
    multiplier that is not above 0, or answers that cannot be tilted.
    """
    names = [term.id for term in columns.terms]
    if rule not in names:
        near = suggestion(rule, names)
        raise PowerError(f"there is no rule `{rule}` to plant; rules here: {', '.join(names)}{near}")
    if not 0 < multiplier < np.inf:
        raise PowerError(f"`{rule}`: a multiplier is a number of nats above 0, got {multiplier:g}")
    index, prompts = names.index(rule), columns.prompts if columns.is_clustered else None
    base = [(columns.codes(place), columns.values(place)) for place in range(len(names))]
    terms = list(columns.terms)
    terms[index], base[index] = _limited(terms[index], *base[index])
    direction = _wrongness(terms[index], *base[index])
    owners = np.zeros(columns.count, np.int64) if prompts is None else prompts
    order = np.argsort(owners, kind="stable")
    sizes = np.bincount(owners).astype(np.int64)
    plain = 1.0 / sizes[owners]
    exponent = multiplier * direction
    peaks = np.full(len(sizes), -np.inf)
    np.maximum.at(peaks, owners, exponent)
    weights = np.exp(exponent - peaks[owners])
    tilted = weights / np.bincount(owners, weights)[owners]
    if np.allclose(tilted, plain, rtol=1e-12, atol=0.0):
        why = "no answer here breaks it" if not (direction > 0).any() else "all answers to each prompt break it alike"
        raise PowerError(f"`{rule}` cannot be planted: {why}, so no weighting of them makes it more frequent")
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    return Planted(tuple(terms), tuple(base), prompts, plain, tilted, sizes, starts, order), index


def _limited(
    term: RewardTerm, codes: NDArray[np.uint8], values: NDArray[np.float64]
) -> tuple[RewardTerm, tuple[NDArray[np.uint8], NDArray[np.float64]]]:
    """The term as a rule with a limit: its own, or "at most its rate here" (of a preference: on average no worse)."""
    known = codes <= VIOLATED
    if not known.any():
        raise PowerError(f"`{term.id}` cannot be planted: it never applied, or nothing could be scored")
    if term.kind in ("hard", "budget"):
        return term, (codes, values)
    if term.holds is not None:
        broken = np.where(known, (codes == VIOLATED).astype(np.float64), np.nan)
        return replace(term, kind="budget", sense="at most", bound=float(broken[known].mean())), (codes, broken)
    limited = replace(term, kind="budget", sense="at most", bound=float(values[known].mean()))
    return (replace(limited, sense="at least") if (term.weight or 0.0) > 0 else limited), (codes, values)


def _wrongness(term: RewardTerm, codes: NDArray[np.uint8], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """f of each answer [N]: 1 where it breaks the rule, or its quantity towards the wrong side; 0 where unknown."""
    if term.holds is not None:
        broken: NDArray[np.float64] = (codes == VIOLATED).astype(np.float64)
        return broken
    sign = -1.0 if term.sense == "at least" else 1.0
    wrong: NDArray[np.float64] = np.where(codes == SATISFIED, sign * np.nan_to_num(values), 0.0)
    return wrong


def planted_power(
    columns: VerdictColumns,
    rule: str,
    multiplier: float,
    *,
    runs: int = RUNS,
    seed: int = 0,
    least: float = LEAST,
    method: Method = "benjamini-hochberg",
    level: float = DISCOVERY_LEVEL,
    progress: Callable[[int, int], None] | None = None,
) -> PlantedPower:
    """How often an audit such as this one finds `rule` when its violations are planted at `multiplier` nats.

    Draws `runs` audits with the tilt and as many without. `progress` is told (done, 2 · runs). Raises PowerError.
    """
    law, index = plant(columns, rule, multiplier)
    generator = np.random.default_rng([seed, index])
    counts = [0, 0]
    together = 0
    for number in range(2 * runs):
        is_tilted = number < runs
        tests = rule_tests(law.draw(generator, is_tilted=is_tilted), method, level)
        found = next(test for test in tests.tests if test.term == rule)
        together = max(together, tests.together)
        counts[0 if is_tilted else 1] += found.is_found
        if progress is not None:
            progress(number + 1, 2 * runs)
    term = law.terms[index]
    planted_rate = law.rate(index, is_tilted=True)
    predicted = _predicted(law, index, planted_rate, level / max(together, 1) if method != "benjamini-yekutieli" else 0)
    return PlantedPower(
        term=rule,
        multiplier=multiplier,
        limit=0.0 if term.kind == "hard" else term.bound or 0.0,
        is_own_limit=columns.terms[index].kind in ("hard", "budget"),
        rate=law.rate(index, is_tilted=False),
        planted_rate=planted_rate,
        samples=columns.count,
        prompts=columns.prompt_count,
        runs=runs,
        seed=seed,
        method=method,
        level=level,
        found=counts[0],
        power=counts[0] / runs,
        interval=statistics.clopper_pearson(counts[0], runs),
        untilted=counts[1],
        untilted_rate=counts[1] / runs,
        untilted_interval=statistics.clopper_pearson(counts[1], runs),
        predicted=predicted,
        is_exact=predicted is not None and (together == 1 or term.kind == "hard"),
        least=least,
    )


def _predicted(law: Planted, index: int, rate: float, level: float) -> float | None:
    """The power of independent answers that all have a verdict, for one test at `level`; None elsewhere."""
    term, (codes, _) = law.terms[index], law.base[index]
    if law.prompts is not None or (codes >= NOT_APPLICABLE).any() or term.holds is None or term.each_prompt:
        return None
    if term.kind == "hard":
        return 1 - (1 - rate) ** len(codes)
    if level <= 0 or term.sense == "exactly":
        return None
    return exact_power(len(codes), rate, term.bound or 0.0, level, is_above=term.sense != "at least")


def exact_power(total: int, rate: float, limit: float, level: float, *, is_above: bool = True) -> float:
    """How often `total` independent answers of a true `rate` show at `level` that it is above (below) `limit`, exactly.

    Raises ValueError for shares outside [0, 1] or fewer than 1 answer.
    """
    if total < 1:
        raise ValueError(f"a number of answers is at least 1, got {total}")
    if not is_above:
        return exact_power(total, 1 - rate, 1 - limit, level)
    low, high = -1, total + 1
    while high - low > 1:  # the least count that is significant
        middle = (low + high) // 2
        low, high = (low, middle) if above(middle, total, limit) <= level else (middle, high)
    return 0.0 if high > total else 1 - below(high - 1, total, rate) if high else 1.0
