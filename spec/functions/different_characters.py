"""How many of some characters occur in a text, each counted once; upper and lower case differ."""

from bylaw.spec.catalog import Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT, refuse_empty


def value(text: str, characters: str) -> float:
    return float(len(set(text).intersection(characters)))


FUNCTION = Function(
    summary="how many of these characters occur, each counted once",
    parameters=(TEXT, Parameter("characters", "text")),
    result="number",
    value=value,
    examples=(FunctionExample(("Well; so: go! Why?", ".,;:!?"), 4.0), FunctionExample(("rhythm", "aeiou"), 0.0)),
    refuse=refuse_empty(1, "the list of characters"),
)
