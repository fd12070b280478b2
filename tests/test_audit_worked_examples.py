"""Printed values of judge correction that `test_judge_correction` does not hold to their last digit."""

from __future__ import annotations

import math
from statistics import mean, pvariance, variance

import pytest

from bylaw.runtime.judges.correction import prediction_powered, quality_of_counts, rogan_gladen

PEOPLE, JUDGE = [1, 0, 1, 1, 0, 1, 0, 1], [1, 0, 1, 0, 0, 1, 1, 1]
REST = [1, 1, 0, 1, 0, 1, 1, 0, 1, 1, 1, 0]


def test_the_error_of_rogan_and_gladen():
    """0.30 of 1,000 judged positive; 85 of 100 and 90 of 100 right: 0.266667 with the error 0.037349."""
    found = rogan_gladen(300, 1000, quality_of_counts(85, 10, 15, 90))
    assert (round(found.value, 6), round(found.standard_error, 6)) == (0.266667, 0.037349)


def test_the_interval_of_ppi_py_is_ours_with_the_divisor_n():
    """ppi_py 0.2.3 gives 0.636418 [0.324086, 0.948751] for these: its variances divide by n, ours by n - 1."""
    power = 0.27404
    found = prediction_powered(PEOPLE, JUDGE, REST, power=power)
    rectified = [person - power * verdict for person, verdict in zip(PEOPLE, JUDGE, strict=True)]
    for spread, error in ((variance, found.standard_error), (pvariance, (0.948751 - 0.324086) / (2 * 1.959964))):
        parts = power**2 * spread(REST) / len(REST) + spread(rectified) / len(PEOPLE)
        assert error == pytest.approx(math.sqrt(parts), abs=5e-7)
    assert round(found.value, 6) == 0.636418
    assert found.value == pytest.approx(power * mean(REST) + mean(rectified), abs=1e-12)
    middle = (0.948751 + 0.324086) / 2
    assert middle == pytest.approx(found.value, abs=1e-6)
