"""Made-up vocabularies with halves of characters, and rules that read them."""

from __future__ import annotations

import random

from bylaw.compiler.automata.algebra import intersect
from bylaw.compiler.automata.build import language, occurrences
from bylaw.compiler.automata.counts import Valued, add, count_between, linear, scale, support
from bylaw.spec.charset import RE2_SPACE
from bylaw.spec.machine import CountingMachine
from bylaw.spec.pattern import parse_pattern, whole_words

WORDS = CountingMachine((RE2_SPACE,), (((0, 0), (1, 1)), ((0, 0), (1, 0))), (0, 0))
LETTERS = "abé 世界🙂xя"


def hard() -> Valued:
    return support(
        intersect(
            [
                language(parse_pattern("bé|世界|a b"), "search").complement(),
                language(parse_pattern("[a世\u0400-\uffff]"), "search"),
                count_between(WORDS, 0, 3),
            ]
        )
    )


def soft() -> Valued:
    count = occurrences(whole_words("a"))
    assert count is not None
    return add([hard(), scale(linear(count), 0.75), scale(linear(WORDS), -0.3)])


def random_vocabulary(seed: int, size: int = 150) -> tuple[bytes | None, ...]:
    maker = random.Random(seed)
    found: list[bytes | None] = [None, b"", b" ", b"a", b"\x80", b"\xed\xa0", b"\xff", b"\x80\x80\x80\x80", b" \xe4"]
    while len(found) < size:
        data = "".join(maker.choices(LETTERS, k=maker.randint(1, 5))).encode()
        first, last = sorted((maker.randint(0, len(data)), maker.randint(0, len(data))))
        found.append(data[first:last] if maker.random() < 0.5 else data)
    return tuple(found)
