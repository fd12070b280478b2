"""How many lines of a text begin with these characters, white space before them left aside; case matters."""

from bylaw.spec.catalog import Function, FunctionExample, NoValue, Parameter
from bylaw.spec.functions._arguments import TEXT, refuse_empty


def value(text: str, prefix: str) -> float:
    if not prefix:
        raise NoValue("the beginning of a line cannot be the empty text")
    return float(sum(line.lstrip().startswith(prefix) for line in text.split("\n")))


FUNCTION = Function(
    summary="how many lines begin with this text",
    parameters=(TEXT, Parameter("prefix", "text")),
    result="number",
    value=value,
    examples=(FunctionExample(("> a\n  > b\nc > d", ">"), 2.0), FunctionExample(("a", "b"), 0.0)),
    refuse=refuse_empty(1, "the beginning of a line"),
)
