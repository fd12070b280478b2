"""Whether a text is JSON that a JSON Schema allows (2020-12 unless `$schema` names another draft).

A text that is no JSON does not match. The library `jsonschema` decides, but for what a text could make slow:
* `pattern` and `patternProperties` are patterns of this language, found anywhere, in time linear in the text;
* equal items (`uniqueItems`) are found by their form;
* references lead to places of the schema itself, nothing is ever fetched, and following more than 10,000 of them gives
  no value.
`format` is not checked. A schema that cannot be used is refused when the policy is checked.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from bylaw.spec.catalog import Argument, Function, FunctionExample, NoValue, Parameter
from bylaw.spec.functions._arguments import TEXT
from bylaw.spec.functions._json import read


def value(text: str, schema: str) -> bool:
    from bylaw.spec.functions._schema import TooMuchWork, UnusableSchema, matches

    try:
        instance = read(text)
    except NoValue:
        return False
    try:
        return matches(_checked(schema), instance)
    except UnusableSchema as error:
        raise NoValue(f"the schema cannot be used: {error}") from None
    except (TooMuchWork, RecursionError):
        raise NoValue("comparing the text with the schema takes too many steps") from None


@lru_cache(maxsize=64)
def _checked(schema: str) -> Any:
    from bylaw.spec.functions._schema import UnusableSchema, check

    try:
        parsed = json.loads(schema)
    except (ValueError, RecursionError):
        raise UnusableSchema("it is not JSON") from None
    check(parsed)
    return parsed


def _refuse(arguments: tuple[Argument | None, ...]) -> str | None:
    from bylaw.spec.functions._schema import UnusableSchema

    schema = arguments[1]
    if not isinstance(schema, str):
        return None
    try:
        _checked(schema)
    except UnusableSchema as error:
        return f"this schema cannot be used: {error}"
    return None


FUNCTION = Function(
    summary="whether a text is JSON that a JSON Schema allows",
    parameters=(TEXT, Parameter("schema", "text")),
    result="boolean",
    value=value,
    examples=(
        FunctionExample(('{"name": "rope"}', '{"type": "object", "required": ["name"]}'), True),
        FunctionExample(("[]", '{"type": "object"}'), False),
        FunctionExample(("no JSON", "{}"), False),
    ),
    refuse=_refuse,
)
