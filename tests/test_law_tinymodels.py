"""The tiny models keep their own promises, and importing the law package stays free of numpy."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from tinymodels import MarkovModel, TabularModel


@pytest.mark.parametrize("model", [TabularModel(max_tokens=3, seed=1), MarkovModel(max_tokens=3, seed=1)])
def test_sampling_follows_the_enumerated_law(model: TabularModel | MarkovModel) -> None:
    """G-test with a seeded sample: the statistic exceeds its 99.9 % normal bound in one run of a thousand."""
    responses, log_p0 = model.enumerate()
    count = 20_000
    observed = Counter(model.sample(count, np.random.default_rng(0)))
    expected = count * np.exp(log_p0)
    seen = np.array([observed[response] for response in responses])
    assert seen.sum() == count
    usable = expected >= 5.0
    statistic = float((np.square(seen[usable] - expected[usable]) / expected[usable]).sum())
    cells = int(usable.sum())
    assert abs(statistic - cells) <= 3.3 * np.sqrt(2.0 * cells)


def test_interface() -> None:
    model = TabularModel()
    assert model.vocabulary[model.eos_id] == b""
    assert [len(token) for token in model.vocabulary] == [1, 1, 1, 1, 1, 0]
    table = model.next_log_probs([(), (0,), (1, 2), (3, 1, 2)])
    assert table.shape == (4, 6)
    assert table.dtype == np.float64
    np.testing.assert_allclose(np.exp(table).sum(axis=1), 1.0, atol=1e-12)
    assert not np.array_equal(table[2], table[3])  # same last two tokens, other position
    assert model.text((0, 3, 4)) == b"a ."


def test_the_law_package_does_not_import_numpy() -> None:
    code = "import sys, bylaw.compiler.law; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
