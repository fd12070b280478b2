"""A text without its code blocks (the unit code_blocks) and without the code in it (the unit inline_codes)."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.units import code_blocks, inline_codes


def value(text: str) -> str:
    extents = sorted((*code_blocks.find(text), *inline_codes.find(text)), key=lambda extent: extent.start)
    kept, place = [], 0
    for extent in extents:
        kept.append(text[place : extent.start])
        place = extent.end
    return "".join(kept) + text[place:]


FUNCTION = Function(
    summary="the text without code blocks and code inside lines",
    parameters=(TEXT,),
    result="text",
    value=value,
    examples=(
        FunctionExample(("a `b` c",), "a  c"),
        FunctionExample(("a\n```\nx\n```\nb",), "a\n\nb"),
    ),
)
