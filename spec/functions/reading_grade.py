"""The Flesch-Kincaid grade: 0.39 x words per sentence + 11.8 x syllables per word - 15.59, for English.

Kincaid and others, Derivation of new readability formulas for Navy enlisted personnel (1975): about the year of a US
school that is needed to read the text. Words, sentences and syllables as in `reading_ease`.
"""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._readability import averages


def value(text: str) -> float:
    words, syllables = averages(text)
    return 0.39 * words + 11.8 * syllables - 15.59


FUNCTION = Function(
    summary="Flesch-Kincaid grade of an English text: about the years of school needed to read it",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(FunctionExample(("The cat sat on the mat.",), 0.39 * 6 + 11.8 - 15.59),),
)
