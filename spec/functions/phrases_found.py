"""How many of the phrases of a list, which is written with commas, a text mentions: each counts once.

Phrases are found as whole words in any case, as by the predicate `mention`.
"""

from bylaw.spec.catalog import Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._text import listed, mentions, refuse_no_list
from bylaw.spec.matching import folded


def value(text: str, phrases: str) -> float:
    return float(sum(bool(mentions(text, phrase)) for phrase in {folded(phrase) for phrase in listed(phrases)}))


FUNCTION = Function(
    summary="how many of the phrases, with commas between, are mentioned",
    parameters=(TEXT, Parameter("phrases", "text")),
    result="number",
    value=value,
    examples=(
        FunctionExample(("And so, but not for us", "for, and, nor, but, or, yet, so"), 4.0),
        FunctionExample(("android", "and"), 0.0),
    ),
    refuse=refuse_no_list(1),
)
