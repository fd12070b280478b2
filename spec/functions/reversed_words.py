"""The words of a text from its last to its first, with single blanks between; marks between words are left out."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import units


def value(text: str) -> str:
    return " ".join(reversed(units(text, "words")))


FUNCTION = Function(
    summary="the words in the opposite order, with blanks between",
    parameters=(TEXT,),
    result="text",
    value=value,
    examples=(
        FunctionExample(("One, two three.",), "three two One"),
        FunctionExample(("",), ""),
    ),
)
