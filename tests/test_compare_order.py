"""Order sensitivity: exactly zero for models that treat their context as a set, found in those that do not."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest

from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.audit.order import (
    dispersion,
    kt_code_length,
    model_orders,
    order_divergence,
    orders,
    verdict_orders,
)
from bylaw.runtime.models.interface import FloatArray, IntArray, Vocabulary

BITS = Vocabulary((b"0", b"1", None), frozenset({2}))


@dataclass
class UrnSession:
    prefixes: list[tuple[int, ...]]
    weight: float

    def log_probs(self) -> FloatArray:
        """Pólya's urn with one ball of each colour at first; `weight` ≠ 1 lets older draws count for less or more."""
        rows = []
        for prefix in self.prefixes:
            mass = [1.0, 1.0]
            for age, bit in enumerate(reversed(prefix)):
                mass[bit] += self.weight**age
            rows.append(np.log([0.9 * mass[0] / sum(mass), 0.9 * mass[1] / sum(mass), 0.1]))
        return np.array(rows)

    def advance(self, tokens: IntArray) -> None:
        self.prefixes = [(*prefix, int(token)) for prefix, token in zip(self.prefixes, tokens, strict=True)]

    def select(self, indices: IntArray) -> None:
        self.prefixes = [self.prefixes[at] for at in indices]


@dataclass(frozen=True)
class Urn:
    weight: float = 1.0
    name: str = "urn"
    digest: str = "urn"
    vocabulary: Vocabulary = BITS

    def encode_chat(self, messages: object) -> tuple[int, ...]:
        return (0, 1)

    def session(self, prompts: object) -> UrnSession:
        return UrnSession(list(prompts), self.weight)  # type: ignore[call-overload]


def test_an_urn_does_not_know_the_order_and_a_forgetting_one_does():
    contexts = sorted(set(itertools.permutations([0, 0, 0, 1, 1, 1])))
    assert len(contexts) == 20
    fair = model_orders(Urn(), contexts, (1, 0), ended=True)
    assert (fair.spread, fair.divergence, fair.is_top_changed) == (0.0, 0.0, False)
    assert len(set(fair.log_probs)) == 1
    expected = math.log(0.9 * 4 / 8) + math.log(0.9 * 4 / 9) + math.log(0.1)
    assert fair.log_probs[0] == pytest.approx(expected, abs=1e-12)
    forgetful = model_orders(Urn(0.8), contexts, (1, 0), ended=True)
    assert forgetful.spread > 0.01
    assert forgetful.divergence > 0.001
    assert forgetful.is_top_changed


def test_the_average_over_orders_has_the_spread_over_the_root_of_their_number():
    values = np.array(model_orders(Urn(0.8), sorted(set(itertools.permutations([0, 0, 0, 1, 1, 1]))), (1,),
                                   ended=False).log_probs)  # fmt: skip
    spread = values.std()
    # all ways to draw two orders with replacement: the exact spread of their mean
    means = [0.5 * (one + two) for one, two in itertools.product(values, repeat=2)]
    assert np.std(means) == pytest.approx(spread / math.sqrt(2), abs=1e-12)
    assert dispersion(values[None, :])[0] == pytest.approx(values.std(ddof=1), abs=1e-12)


def test_a_transformer_without_positions_is_exchangeable():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=3, n_positions=8, n_embd=16, n_layer=1, n_head=2, initializer_range=0.5)
    network = transformers.GPT2LMHeadModel(config).double().eval()
    contexts = [[*each, 2] for each in sorted(set(itertools.permutations([0, 0, 0, 1, 1, 1])))]

    def spread() -> float:
        with torch.no_grad():
            law = torch.log_softmax(network(torch.tensor(contexts)).logits[:, -1], dim=-1).numpy()
        return float(dispersion(law.T).max())

    assert spread() > 1e-3
    with torch.no_grad():
        network.transformer.wpe.weight.zero_()
    assert spread() < 1e-12


def test_order_divergence_in_closed_form():
    law = np.log([[0.5, 0.25, 0.25]] * 3)
    assert order_divergence(law) == pytest.approx(0.0, abs=1e-15)
    with np.errstate(divide="ignore"):
        apart = np.log(np.eye(4))
    assert order_divergence(apart) == pytest.approx(math.log(4), abs=1e-12)
    with pytest.raises(ValueError, match="one law for each order"):
        order_divergence(np.zeros((2, 3)))


def test_the_code_of_krichevsky_and_trofimov_is_the_product_of_its_predictions():
    for bits in itertools.product((0, 1), repeat=5):
        counts, length = [0.5, 0.5], 0.0
        for bit in bits:
            length -= math.log(counts[bit] / sum(counts))
            counts[bit] += 1
        assert kt_code_length(sum(bits), 5 - sum(bits)) == pytest.approx(length, abs=1e-12)


def test_orders_are_all_or_different_and_begin_as_written():
    assert orders(3, 6, 0) == tuple(itertools.permutations(range(3)))
    some = orders(12, 9, 4)
    assert len(set(some)) == 9
    assert some[0] == tuple(range(12))
    assert some == orders(12, 9, 4)
    assert some != orders(12, 9, 5)
    with pytest.raises(ValueError, match="two parts"):
        orders(1, 5, 0)


def test_flips_of_verdicts_by_hand():
    found = verdict_orders({"i": {"1": ["yes"], "2": ["no"], "3": ["yes"]}, "j": {"1": ["no"], "2": ["no"]},
                            "k": {"1": ["no"]}})  # fmt: skip
    assert (found.items, found.left_out, found.unstable, found.verdicts) == (2, 1, 1, 5)
    assert found.flips.mean == pytest.approx((2 / 3 + 0) / 2)
    assert found.majority == pytest.approx((2 / 3 + 1) / 2)
    assert found.repeats is None
    with pytest.raises(ComparisonError, match="1 of 1 items"):
        verdict_orders({"i": {"1": ["yes"], "2": ["no"]}})


def test_what_repeats_do_is_not_blamed_on_the_order():
    """A judge that guesses flips as often in one order as between two; one that leans to what comes first does not."""
    rng = np.random.default_rng(3)
    guess = {str(item): {str(order): rng.integers(0, 2, 4).tolist() for order in range(2)} for item in range(120)}
    found = verdict_orders(guess)
    assert found.beyond is not None
    assert found.beyond.interval.low <= 0 <= found.beyond.interval.high
    assert found.flips.interval.low <= 0.5 <= found.flips.interval.high
    first = {str(item): {str(order): (rng.random(4) < (0.8, 0.3)[order]).tolist() for order in range(2)} for item in
             range(120)}  # fmt: skip
    leaning = verdict_orders(first)
    assert leaning.beyond is not None
    # between: 0.8·0.7 + 0.2·0.3; within: the mean of 2·0.8·0.2 and 2·0.3·0.7
    assert leaning.beyond.interval.low <= 0.62 - 0.37 <= leaning.beyond.interval.high
    assert leaning.beyond.interval.low > 0
