"""What a search for many patterns in many texts finds, whatever engine it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Ints: TypeAlias = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Searched:
    """Pairs of a text and a place, in any order, some of them several times.

    The place is 2 x the number of a pattern that is in the text, and 2 x its number + 1 where it may be. `refused` are
    texts of which nothing is known: they are no Unicode, or need more memory than the engine has.
    """

    texts: Ints
    places: Ints
    refused: tuple[int, ...]


class Search(Protocol):
    def search(self, texts: Sequence[str]) -> Searched: ...
