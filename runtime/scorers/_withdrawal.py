"""Whether texts are unlike those that scores were calibrated on: then the calibration does not hold for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from bylaw.runtime.scoring_record import DriftTest

Grouped: TypeAlias = tuple[str, str]
"""A text, and its conversation (empty: on its own)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Texts of a calibration and texts that are asked about."""

    calibrated: tuple[Grouped, ...]
    asked: tuple[Grouped, ...]


def drift_of(compared: Comparison) -> DriftTest:
    """A two-sample classifier test on the words of the texts, at level .05. The same texts give the same answer."""
    import numpy as np

    from bylaw.runtime.concepts.drift import LEAST, drift, drift_of_texts

    sides = compared.calibrated, compared.asked
    texts, groups = ([[each[part] for each in side] for side in sides] for part in (0, 1))
    if min(map(len, sides)) < LEAST:  # too few to tell, whatever they say: no text has to be read
        found = drift(
            np.zeros((len(sides[0]), 1)),
            np.zeros((len(sides[1]), 1)),
            calibrated_groups=groups[0],
            audited_groups=groups[1],
        )
    else:
        found = drift_of_texts(*texts, calibrated_groups=groups[0], audited_groups=groups[1])
    return DriftTest(found.is_found, found.p_value, found.reason)
