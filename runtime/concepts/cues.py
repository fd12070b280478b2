"""Cues: lexicons that hint at a concept, weighed by naive Bayes.

A cue is present in a text where one of its entries is mentioned. What its presence and its absence say, in nats, is
ln P(present | expresses) − ln P(present | does not), from labelled texts and from what authors mean by a cue: before
any label it is taken to be present in `PRESENT_WITH` of the texts that express the concept, and in `PRESENT_WITHOUT` of
those that do not, as if seen in `BELIEVED` texts of each kind. Labels that say otherwise soon outweigh that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from bylaw.runtime.concepts.features import FloatArray
from bylaw.spec import catalog
from bylaw.spec.expression import Cue

PRESENT_WITH: Final = 0.6
PRESENT_WITHOUT: Final = 0.15
BELIEVED: Final = 4.0
BACKGROUND: Final = 0.2
"""What a text of the background says of a cue, against a labelled one."""


def presence(texts: Sequence[str], cues: Sequence[Cue]) -> FloatArray:
    """[N, C] 1 where a cue is present in a text, else 0."""
    find = catalog.predicate("mention").find
    found = np.zeros((len(texts), len(cues)))
    for row, text in enumerate(texts):
        for column, cue in enumerate(cues):
            found[row, column] = any(find(text, matcher) for matcher in cue.matchers)
    return found


def weigh(present: FloatArray, with_weight: FloatArray, without_weight: FloatArray) -> tuple[FloatArray, float]:
    """(weights [C], intercept) in nats: presence [N, C] @ weights + intercept is what the cues say of N texts.

    `with_weight` [N] is how much each text counts as one that expresses the concept, `without_weight` as one that does
    not; both may be empty of weight.
    """
    shares = []
    for weight, prior in ((with_weight, PRESENT_WITH), (without_weight, PRESENT_WITHOUT)):
        shares.append((weight @ present + BELIEVED * prior) / (weight.sum() + BELIEVED))
    absent = np.log1p(-shares[0]) - np.log1p(-shares[1])
    return np.log(shares[0]) - np.log(shares[1]) - absent, float(absent.sum())
