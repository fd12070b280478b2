"""The score of a whole policy, with weights that somebody declared before the audit, from verdicts in columns.

The estimator is that of `policy_score`, in one pass over the rules: the variance Σ_c (Σ_r w_r f_r ρ_rc / n_r)² needs
one number a prompt, and so does the interval, where each rule's part is as long as its own interval reaches. A rule
that never varied has no correlation with others: it is taken as 1 with every rule that shares a prompt with it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.program import RewardTerm
from bylaw.runtime.audit import clustered
from bylaw.runtime.audit.columns import VerdictColumns
from bylaw.runtime.audit.counts import ClusterCounts
from bylaw.runtime.audit.policy_score import NO_SPREAD
from bylaw.runtime.audit.statistics import CONFIDENCE
from bylaw.runtime.audit.summary import Scored
from bylaw.runtime.interval import Interval
from bylaw.runtime.record import RecordError, parsed
from bylaw.runtime.statistics_record import ScoreRecord
from bylaw.spec.errors import visible

OWN: Final = "own"
"""The word of `--weights` for what the policy itself says."""
_MOST_BYTES = 1_000_000


class WeightError(Exception):
    """Weights that cannot be used; text fit for users."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The weight of each rule that counts in the score, in the order of the policy, and who declared them."""

    by_rule: tuple[tuple[str, float], ...]
    source: str

    @property
    def digest(self) -> str:
        """SHA-256 of rules and weights as JSON, sorted by rule."""
        text = json.dumps(dict(self.by_rule), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def weights_of(text: str, terms: Sequence[RewardTerm]) -> Weights:
    """The weights in `own`, `RULE=W,RULE=W`, or the path of a JSON object of them; rules not named do not count.

    `own` takes the weights in nats of the rules that have one and can be broken. Raises WeightError for what is none of
    these, for a rule that there is not or that measures a quantity, for `exactly`, and unless some weight is positive.
    """
    if text.strip() == OWN:
        found: dict[str, float] = {term.id: term.weight for term in terms if term.kind == "soft" and term.weight}
        if not found:
            raise WeightError(
                "no rule of this policy has a weight of its own; name them as in --weights polite=2,short=1"
            )
        return Weights(tuple(found.items()), "the policy's own weights of its soft rules, in nats")
    if "=" in text and not os.path.isfile(text):  # a long list is no name that a file could have
        return _checked(_pairs(text), terms, "given on the command line")
    return _checked(_read(text), terms, f"declared in {Path(text).name}")


def _pairs(text: str) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for part in text.split(","):
        name, equals, value = part.partition("=")
        if not equals:
            raise WeightError(f"write weights as RULE=WEIGHT,RULE=WEIGHT; `{visible(part.strip())}` has no `=`")
        try:
            found.append((name.strip(), float(value)))
        except ValueError:
            raise WeightError(
                f"the weight of `{visible(name.strip())}` is no number: `{visible(value.strip())}`"
            ) from None
    return found


def _read(path: str) -> list[tuple[str, object]]:
    try:
        with Path(path).open("rb") as file:
            data = parsed(file.read(_MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise WeightError(
            f"the weights `{visible(path)}` cannot be read: {(error.strerror or str(error)).lower()}"
        ) from None
    except (UnicodeDecodeError, RecordError) as error:
        raise WeightError(f"the weights `{visible(path)}` are no JSON: {error}") from None
    if not isinstance(data, dict):
        raise WeightError(f'the weights `{visible(path)}` are no object such as {{"polite": 2, "short": 1}}')
    return list(data.items())


def _checked(pairs: Iterable[tuple[str, object]], terms: Sequence[RewardTerm], source: str) -> Weights:
    known = {term.id: term for term in terms}
    found: dict[str, float] = {}
    for name, value in pairs:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise WeightError(
                f"there is no rule `{visible(name)}` to weigh" + (f"; did you mean `{near[0]}`?" if near else "")
            )
        if name in found:
            raise WeightError(f"`{name}` has two weights")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
            raise WeightError(f"the weight of `{name}` is {visible(str(value))}; a weight is a finite number from 0")
        if known[name].holds is None:
            raise WeightError(f"`{name}` measures a quantity, which has no share of answers that keep it: leave it out")
        if known[name].bound is not None and known[name].sense == "exactly":
            raise WeightError(
                f"`{name}` is a limit to exactly a share: no single answer keeps or breaks it; leave it out"
            )
        found[name] = float(value)
    if not any(found.values()):
        raise WeightError("all weights are 0: at least one rule has to count")
    return Weights(tuple((term.id, found[term.id]) for term in terms if found.get(term.id)), source)


# ------------------------------------------------------------------------------------------------------------ scoring
@dataclass(frozen=True)
class _Rule:
    """A rule of the score: its estimate, and how far each prompt draws it: [C], the squares sum to the squared error;
    `met` packs the prompts that it was scored on."""

    name: str
    estimate: clustered.ClusteredEstimate
    pull: NDArray[np.float64]
    met: NDArray[np.uint8]
    least: float
    most: float


def declared_score(columns: VerdictColumns, weights: Weights) -> ScoreRecord | str:
    """The score of the rules with these weights; why there is none, where none of them was measured."""
    left_out: list[tuple[str, str]] = []
    sums = _Sums(columns.prompt_count)
    for index, term in enumerate(columns.terms):
        weight = dict(weights.by_rule).get(term.id)
        if weight is None:
            continue
        rule = _rule(columns, index, term)
        if isinstance(rule, str):
            left_out.append((term.id, rule))
        else:
            sums.add(rule, weight)
    if not sums.seen:
        return "no rule with a weight was measured, so that there is no score"
    total = math.fsum(weight for _, weight, _, _, _ in sums.seen)
    score = math.fsum(weight * estimate.mean for _, weight, estimate, _, _ in sums.seen) / total
    error, down, up = sums.errors()
    worst = min(sums.seen, key=lambda each: each[2].mean)
    return ScoreRecord(
        score=score,
        standard_error=error / total,
        interval=Interval(max(0.0, score - down / total), min(1.0, score + up / total)),
        least=math.fsum(weight * least for _, weight, _, least, _ in sums.seen) / total,
        most=math.fsum(weight * most for _, weight, _, _, most in sums.seen) / total,
        weights=tuple((name, weight / total) for name, weight, _, _, _ in sums.seen),
        declared=weights.by_rule,
        source=weights.source,
        digest=weights.digest,
        worst=worst[0],
        worst_kept=worst[2].mean,
        left_out=tuple(left_out),
        warnings=tuple(dict.fromkeys(text for _, _, estimate, _, _ in sums.seen for text in estimate.warnings)),
    )


def _rule(columns: VerdictColumns, index: int, term: RewardTerm) -> _Rule | str:
    scored = Scored.of(term, columns.codes(index), columns.values(index), columns.prompts)
    if not len(scored.values):
        return "no answer could be scored" if scored.unscored else "it never applied"
    is_good = term.kind == "budget" and term.sense == "at least"  # the event is what ought to happen
    kept = scored.values != 0 if is_good else scored.values == 0
    assert scored.prompts is not None
    counts = ClusterCounts.of_columns(kept, scored.prompts)
    if counts.clusters < 2:
        return "it was scored on one prompt only, which does not show how prompts differ"
    estimate = clustered.rate_of(counts, CONFIDENCE)
    size = columns.prompt_count
    sizes = np.bincount(scored.prompts, minlength=size)
    events = np.bincount(scored.prompts[kept], minlength=size)
    factor = math.sqrt(counts.clusters / (counts.clusters - 1)) / counts.samples
    pull = (events - estimate.mean * sizes) * factor if 0 < counts.events < counts.samples else np.zeros(size)
    seen = counts.samples + scored.unscored
    return _Rule(
        term.id, estimate, pull, np.packbits(sizes > 0), counts.events / seen, (counts.events + scored.unscored) / seen
    )


class _Sums:
    """Adds up what rules draw the score by, one number a prompt, whatever the number of rules."""

    def __init__(self, prompts: int) -> None:
        self.seen: list[tuple[str, float, clustered.ClusteredEstimate, float, float]] = []
        self._drawn = [np.zeros(prompts) for _ in range(3)]  # by the error, and by the reach down and up
        self._varied: list[tuple[float, float, NDArray[np.uint8]]] = []
        self._still: list[tuple[float, float, NDArray[np.uint8]]] = []

    def add(self, rule: _Rule, weight: float) -> None:
        """Adds a rule with its weight."""
        estimate = rule.estimate
        self.seen.append((rule.name, weight, estimate, rule.least, rule.most))
        down, up = weight * (estimate.mean - estimate.interval.low), weight * (estimate.interval.high - estimate.mean)
        norm = float(np.sqrt(np.sum(rule.pull**2)))
        if norm < NO_SPREAD:
            self._still.append((down, up, rule.met))
            return
        self._varied.append((down, up, rule.met))
        for drawn, scale in zip(self._drawn, (weight, down / norm, up / norm), strict=True):
            np.add(drawn, scale * rule.pull, out=drawn)

    def errors(self) -> tuple[float, float, float]:
        """(standard error, reach down, reach up) of the weighted sum."""
        error, *reaches = (float(np.sum(drawn**2)) for drawn in self._drawn)
        for side in (0, 1):
            for place, one in enumerate(self._still):
                others = (*self._varied, *self._still[place + 1 :])
                shared = math.fsum(other[side] for other in others if np.bitwise_and(one[2], other[2]).any())
                reaches[side] += float(one[side] ** 2 + 2 * one[side] * shared)
        down, up = (math.sqrt(max(0.0, reach)) for reach in reaches)
        return math.sqrt(error), down, up
