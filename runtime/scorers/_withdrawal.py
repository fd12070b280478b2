"""Whether texts are unlike those that scores were calibrated on: then the calibration does not hold for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from bylaw.runtime.scoring_record import DriftTest

if TYPE_CHECKING:
    from bylaw.runtime.concepts.drift import Drift

Grouped: TypeAlias = tuple[str, str]
"""A text, and its conversation (empty: on its own)."""
REMEDY = "label some of these texts and add them (--labels), or let the scores count as they are (--rough)"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Texts of a calibration and texts that are asked about."""

    calibrated: tuple[Grouped, ...]
    asked: tuple[Grouped, ...]


def drift_of(compared: Comparison) -> DriftTest:
    """A two-sample classifier test on the words of the texts, at level .05. The same texts give the same answer."""
    found = _tested(compared)
    return DriftTest(found.is_found, found.p_value, found.reason)


def drift_at_share(
    compared: Comparison, first: DriftTest, expressing: Collection[str], scores: Sequence[float]
) -> DriftTest:
    """`first`, which fired, and the same again for one concept against the texts of its calibration thinned to the
    share that expresses it here: where that finds nothing (at level .02), another share is all that differs, which a
    calibration of each class does not mind.

    `expressing`: those texts of the calibration that express the concept; `scores`: of the texts that are asked about,
    at even odds. Where either is missing, or too few texts are left to test again, `first` stands.
    """
    from bylaw.runtime.concepts.drift import STRICT_LEVEL, thinned
    from bylaw.runtime.judgements.shares import share_of

    labels = [text in expressing for text, _ in compared.calibrated]
    if not scores or all(labels) or not any(labels):
        return first
    share, before = share_of(scores), sum(labels) / len(labels)
    kept = tuple(compared.calibrated[number] for number in thinned(labels, share))
    found = _tested(replace(compared, calibrated=kept), STRICT_LEVEL)
    shares = f"the share of texts that express it ({before:.0%} of the calibration's, about {share:.0%} of these)"
    if found.p_value is None:
        told = f"whether {shares} is all that differs cannot be told from so few labelled texts"
        return replace(first, share=share, message=f"{first.message}; {told}")
    if not found.is_found:
        told = (
            f"nothing but {shares} was found to differ, which its calibration allows for (p = {first.p_value:.2f}; "
            f"p = {found.p_value:.2f} against labelled texts thinned to that share)"
        )
        return DriftTest(False, first.p_value, told, found.p_value, share)
    told = f"and not for {shares} alone (p = {found.p_value:.2f} against labelled texts thinned to that share)"
    return DriftTest(True, first.p_value, f"{first.message}, {told}", found.p_value, share)


def _tested(compared: Comparison, level: float | None = None) -> Drift:
    import numpy as np

    from bylaw.runtime.concepts.drift import LEAST, LEVEL, drift, drift_of_texts

    level = LEVEL if level is None else level
    sides = compared.calibrated, compared.asked
    texts, groups = ([[each[part] for each in side] for side in sides] for part in (0, 1))
    of_calibrated, of_asked = groups
    if min(map(len, sides)) < LEAST:  # too few to tell, whatever they say: no text has to be read
        nothing = (np.zeros((len(side), 1)) for side in sides)
        return drift(*nothing, calibrated_groups=of_calibrated, audited_groups=of_asked, level=level)
    return drift_of_texts(*texts, calibrated_groups=of_calibrated, audited_groups=of_asked, level=level)
