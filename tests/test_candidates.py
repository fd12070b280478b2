"""Texts that probably obey: every unit can be had often enough, alone and beside others."""

import time

import pytest
from test_count_proofs import said

from bylaw.compiler.candidates import LONGEST, candidates
from bylaw.compiler.witnesses import is_true_of
from bylaw.spec import catalog
from bylaw.spec.expression import BooleanExpression, Compare, Count, MessageText, NumberConstant


def shown(statements: list[BooleanExpression]) -> str | None:
    """The first candidate that obeys all of them."""
    texts = candidates(statements)
    return next((text for text in texts if all(is_true_of(each, text) for each in statements)), None)


def at_least(unit: str, number: int) -> BooleanExpression:
    return Compare(">=", Count(unit, MessageText("response")), NumberConstant(float(number)))


@pytest.mark.parametrize("number", [1, 2, 3, 7, 50, 300])
def test_every_unit_can_be_had_often(number: int) -> None:
    missed = [unit for unit in catalog.names("units") if shown([at_least(unit, number)]) is None]
    assert not missed


def test_different_words_without_digits() -> None:
    text = shown(said("must have at least 300 unique_words"))
    assert text is not None
    assert len(set(text.split())) == 300
    assert not any(char.isdigit() for char in text)
    assert shown(said("must have at least 3000 unique_words")) is not None


@pytest.mark.parametrize(
    "sentences",
    [
        ("must have at least 300 unique_words", "must have no digits", "must have at least 3 tables"),
        ("must have at least 40 unique_words", 'must start with "Dear customer,"', 'must end with "Bye."'),
        ("must have at least 12 unique_words", "must have at least 30 words", "must mention any of [/cat|dog/]"),
        ("must have at least 70 unique_words", "must be lowercase"),
    ],
)
def test_different_words_beside_other_things(sentences: tuple[str, ...]) -> None:
    assert shown(said(*sentences)) is not None


def test_too_many_to_write_down_are_not_tried() -> None:
    start = time.process_time()
    texts = list(candidates([at_least("unique_words", 10**9)]))
    assert time.process_time() - start < 1
    assert all(len(text) <= LONGEST for text in texts)


def test_other_counts_cost_as_little_as_before() -> None:
    statements = [at_least("words", 90), at_least("sentences", 9), at_least("commas", 3)]
    best = 1.0
    for _ in range(20):
        start = time.process_time()
        next(candidates(statements))
        best = min(best, time.process_time() - start)
    assert best < 0.001
