"""What a few answers tell before an audit is planned: rates, how often rules apply, how alike answers are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit.columns import UNSCORED, VIOLATED, VerdictColumns


@dataclass(frozen=True, slots=True)
class PilotRule:
    """One rule in a pilot of `total` answers: it applied to `applicable` that were scored.

    `events`: of statements, the answers on the wrong side. `mean`, `spread` (standard deviation, None for fewer than
    two answers): of quantities. `correlation`: between answers to one prompt, None where no prompt has several.
    """

    total: int
    applicable: int
    unscored: int
    events: int | None
    mean: float | None
    spread: float | None
    correlation: float | None


@dataclass(frozen=True, slots=True)
class Pilot:
    """`answers` to `prompts`; `correlation` is the largest of the rules, 0 where no prompt has several answers."""

    answers: int
    prompts: int
    correlation: float
    rules: Mapping[str, PilotRule]

    @property
    def answers_each(self) -> float:
        """Answers to each prompt, on average."""
        return self.answers / self.prompts if self.prompts else 1.0


def pilot_of(columns: VerdictColumns) -> Pilot:
    """What these columns tell."""
    prompts = columns.prompts if columns.is_clustered else None
    rules = {
        term.id: _rule(term, columns.codes(place), columns.values(place), prompts)
        for place, term in enumerate(columns.terms)
    }
    found = [each.correlation for each in rules.values() if each.correlation is not None]
    return Pilot(columns.count, columns.prompt_count, max(found, default=0.0), rules)


def _rule(
    term: RewardTerm, codes: NDArray[np.uint8], values: NDArray[np.float64], prompts: NDArray[np.int64] | None
) -> PilotRule:
    known = codes <= VIOLATED
    count = int(known.sum())
    seen = (codes[known] == VIOLATED).astype(np.float64) if term.holds is not None else values[known]
    events = int(seen.sum()) if term.holds is not None else None
    mean = float(seen.mean()) if count and term.holds is None else None
    spread = float(seen.std(ddof=1)) if count > 1 and term.holds is None else None
    alike = None if prompts is None else correlation(seen, prompts[known])
    return PilotRule(len(codes), count, int((codes == UNSCORED).sum()), events, mean, spread, alike)


def correlation(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> float | None:
    """The correlation of values [n] inside of their clusters [n], between 0 and 1, by the analysis of variance.

    (MSB − MSW)/(MSB + (m − 1)·MSW) with m the size of a cluster, for unequal ones m = (n − Σ m_c²/n)/(C − 1) (Donner
    1986, International Statistical Review 54:67-82). None for fewer than two clusters, without two values in any, or
    without any spread.
    """
    count = len(values)
    names, places, sizes = np.unique(clusters, return_inverse=True, return_counts=True)
    groups = len(names)
    if groups < 2 or count <= groups:
        return None
    means = np.bincount(places, values) / sizes
    between = float((sizes * (means - values.mean()) ** 2).sum()) / (groups - 1)
    within = float(((values - means[places]) ** 2).sum()) / (count - groups)
    size = (count - float((sizes**2).sum()) / count) / (groups - 1)
    below = between + (size - 1) * within
    if below <= 0 or not math.isfinite(below):
        return None
    return min(1.0, max(0.0, (between - within) / below))
