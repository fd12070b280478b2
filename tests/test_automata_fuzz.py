"""Random pairs of statements: what automata prove and find is what the evaluator says of all short texts.

tests/bench/bench_automata_fuzz.py does the same with many more pairs.
"""

import random

import pytest
from random_patterns import ALPHABETS, LONGEST, Tally, Texts, disagreements, says, subjects

from bylaw.spec.expression import Holds, MessageText, Phrase

POOL, PAIRS = 60, 200


@pytest.mark.parametrize("alphabet", ALPHABETS)
def test_pairs_of_statements_agree_with_brute_force(alphabet: str) -> None:
    texts, tally = Texts(alphabet), Tally()
    pool = subjects("suite", texts, POOL)
    chooser = random.Random(alphabet)
    for number in range(PAIRS):
        one, other = chooser.sample(pool, 2)
        found = list(disagreements(one, other, texts, tally, combine=number % 10 == 0))
        assert not found, f"{one.statement} and {other.statement}: {found}"
    # Pairs of which nothing can be proved would say little.
    assert tally.disjoint > PAIRS / 4
    assert tally.included > PAIRS / 8
    assert tally.equivalent > 0


def test_the_brute_force_knows_all_short_texts() -> None:
    texts = Texts("ab ")
    assert len(texts.all) == sum(3**size for size in range(LONGEST + 1))
    bits = texts.where(Holds("contain", MessageText("response"), (Phrase("ba"),)))
    assert texts.shortest(bits) == 2
    assert [text for number, text in enumerate(texts.all) if bits >> number & 1] == [t for t in texts.all if "ba" in t]
    assert says(Holds("mention", MessageText("response"), (Phrase("A b"),)), "a b a")
