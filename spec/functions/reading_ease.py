"""Flesch's reading ease: 206.835 - 1.015 x words per sentence - 84.6 x syllables per word, for English.

Flesch, A new readability yardstick (1948). About 100 is very easy, 60 to 70 plain, below 30 very hard; single texts can
leave that range. Words and sentences are the units of these names, so a heading or a bullet is a sentence; syllables
are counted by rules (`_syllables`), where the published examples were counted by people.
"""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._readability import averages


def value(text: str) -> float:
    words, syllables = averages(text)
    return 206.835 - 1.015 * words - 84.6 * syllables


FUNCTION = Function(
    summary="Flesch reading ease of an English text: about 100 is very easy, 30 hard",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(FunctionExample(("The cat sat on the mat.",), 206.835 - 1.015 * 6 - 84.6),),
)
