"""The code in the n-th code block of a text (the unit code_blocks), without its fences; -1 is the last one, and where
there is none it is the empty text."""

from bylaw.spec.catalog import Function, FunctionExample
from bylaw.spec.functions._arguments import TEXT, N, refuse_index, whole
from bylaw.spec.functions._text import item
from bylaw.spec.units._fences import fenced_blocks


def value(text: str, n: float) -> str:
    codes = [text[block.code_start : block.code_end] for block in fenced_blocks(text)]
    return item(codes, whole(n, "n"))


FUNCTION = Function(
    summary="the code in the n-th code block; -1 is the last one",
    parameters=(TEXT, N),
    result="text",
    value=value,
    examples=(
        FunctionExample(("```json\n{}\n```\nb", 1), "{}\n"),
        FunctionExample(("a", 1), ""),
    ),
    refuse=refuse_index(1),
)
