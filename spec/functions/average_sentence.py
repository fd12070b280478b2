"""The average number of words in a sentence: all words in sentences by the number of sentences."""

from bylaw.spec.catalog import Function, FunctionExample, NoValue
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import units
from bylaw.spec.units import words


def value(text: str) -> float:
    sentences = units(text, "sentences")
    if not sentences:
        raise NoValue("the text has no sentences")
    return sum(len(words.find(sentence)) for sentence in sentences) / len(sentences)


FUNCTION = Function(
    summary="how many words a sentence has on average",
    parameters=(TEXT,),
    result="number",
    value=value,
    examples=(
        FunctionExample(("It rains. We all stay in.",), 3.0),
        FunctionExample(("One two",), 2.0),
    ),
)
