"""Which patterns occur in each of many texts: one pass of the fastest engine there is, and a look where it cannot tell.

hyperscan where it is installed and takes the pattern, else google-re2. What an engine says may be there, such as a
phrase beside a character that is not ASCII, is looked for in that text by the whole pattern.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from bylaw.runtime.audit.byte_patterns import present_in, written
from bylaw.runtime.audit.hyperscan_sets import hyperscan_set
from bylaw.runtime.audit.pattern_sets import is_exact, re2_sets, source_of
from bylaw.runtime.audit.searched import Ints, Search
from bylaw.spec.catalog import Language
from bylaw.spec.normal import plain


@dataclass(frozen=True, slots=True)
class TextSearch:
    """A search for numbered patterns. `exact` are those whose presence settles the question; that one of the others is
    absent settles it too. What is in neither is not searched for."""

    is_plain: bool
    languages: Mapping[int, Language]
    searches: tuple[Search, ...]
    exact: frozenset[int]
    inexact: frozenset[int]
    _whole: dict[int, Any] = field(default_factory=dict)

    def found(self, texts: Sequence[str], width: int) -> tuple[Ints, frozenset[int]]:
        """(`width` x the place of a text + the number of a pattern that occurs there, ascending; the places of texts of
        which nothing is known). `width` is more than any number."""
        each = [search.search(texts) for search in self.searches]
        refused = frozenset(text for one in each for text in one.refused)
        pairs = [one.texts * (2 * width) + one.places for one in each]
        keys = pairs[0] if len(pairs) == 1 else np.concatenate([np.zeros(0, np.int64), *pairs])
        keys.sort()
        if refused:
            keys = keys[~np.isin(keys // (2 * width), list(refused))]
        is_open = keys & 1 == 1
        if is_open.any():
            sure = keys[~is_open]
            open_ = np.unique(keys[is_open]) - 1
            open_ = open_[~np.isin(open_, sure)]
            there = [key for key in open_.tolist() if self._occurs(texts[key // (2 * width)], key % (2 * width) // 2)]
            keys = np.concatenate([sure, np.array(there, np.int64)])
            keys.sort()
        keys >>= 1
        return keys[np.diff(keys, prepend=-1) != 0], refused

    def _occurs(self, text: str, number: int) -> bool:
        """Whether a pattern that may be there is, or may still be."""
        if number not in self._whole:
            self._whole[number] = _pattern_of(self.languages[number])
        pattern = self._whole[number]
        return pattern is None or pattern.search(plain(text) if self.is_plain else text) is not None


def text_search(languages: Mapping[int, Language], is_plain: bool) -> TextSearch:
    """A search for numbered patterns in texts, or in their plain form."""
    fast, taken = hyperscan_set(languages, is_plain)
    rest = {
        number: written(language, present_in(is_plain)) for number, language in languages.items() if number not in taken
    }
    sets, added = re2_sets(rest, is_plain)
    searched = frozenset(taken) | added
    exact = frozenset(number for number in searched if is_exact(languages[number]))
    searches = tuple(cast(Search, each) for each in (fast, sets) if each is not None)
    return TextSearch(is_plain, languages, searches, exact, searched - exact)


def _pattern_of(language: Language) -> Any:
    """The whole pattern; None where it is too large."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = 1 << 28
    try:
        return re2.compile(source_of(language), options)
    except re2.error:
        return None
