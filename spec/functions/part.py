"""The n-th part of a text between separators, without white space around it; -1 is the last, blank parts are left out,
and where there is none it is the empty text."""

from bylaw.spec.catalog import Argument, Function, FunctionExample, Parameter
from bylaw.spec.functions._arguments import TEXT, N, refuse_empty, refuse_index, whole
from bylaw.spec.functions._parts import split
from bylaw.spec.functions._text import item


def value(text: str, separator: str, n: float) -> str:
    return item(split(text, separator), whole(n, "n"))


def _refuse(arguments: tuple[Argument | None, ...]) -> str | None:
    return refuse_empty(1, "a separator")(arguments) or refuse_index(2)(arguments)


FUNCTION = Function(
    summary="the n-th part between separators; -1 is the last one",
    parameters=(TEXT, Parameter("separator", "text"), N),
    result="text",
    value=value,
    examples=(
        FunctionExample(("one *** two *** three", "***", 2), "two"),
        FunctionExample(("one *** two", "***", -1), "two"),
        FunctionExample(("one", "***", 2), ""),
    ),
    refuse=_refuse,
)
