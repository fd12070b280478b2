"""The first letters or digits of the words of a text, in lower case and in a row (what an acrostic spells)."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import units


def value(text: str) -> str:
    firsts = (next(filter(str.isalnum, found), "") for found in units(text, "words"))
    return "".join(firsts).lower()


FUNCTION = Function(
    summary="the first letter of every word, in lower case",
    parameters=(TEXT,),
    result="text",
    value=value,
    examples=(
        FunctionExample(("Able boats can dive",), "abcd"),
        FunctionExample(("",), ""),
    ),
)
