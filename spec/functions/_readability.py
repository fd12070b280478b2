"""What the readability formulas of Flesch and Kincaid measure."""

from __future__ import annotations

from bylaw.spec.catalog import NoValue
from bylaw.spec.functions._syllables import syllables
from bylaw.spec.functions._text import units


def averages(text: str) -> tuple[float, float]:
    """(words per sentence, syllables per word). Raises NoValue when there are no words."""
    words, sentences = units(text, "words"), units(text, "sentences")
    if not words or not sentences:
        raise NoValue("the text has no words")
    return len(words) / len(sentences), sum(map(syllables, words)) / len(words)
