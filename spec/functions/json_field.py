"""The value at a place of a JSON text, as a text: `items.0.name` is the name of the first of the items.

A text is given as it is, everything else as compact JSON (`true`, `3.5`, `[1,2]`). There is no value when the text is
no JSON or has nothing at the place.
"""

import json
import re
from typing import Any

from bylaw.spec.catalog import Function, FunctionExample, NoValue, Parameter
from bylaw.spec.functions._arguments import TEXT, refuse_empty
from bylaw.spec.functions._json import read

_INDEX = re.compile("[0-9]{1,9}")


def value(text: str, path: str) -> str:
    found: Any = read(text)
    for step in path.split("."):
        if isinstance(found, dict) and step in found:
            found = found[step]
        elif isinstance(found, list) and _INDEX.fullmatch(step) and int(step) < len(found):
            found = found[int(step)]
        else:
            raise NoValue(f"the JSON has nothing at {path}")
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False, separators=(",", ":"))


FUNCTION = Function(
    summary="the value at a place of a JSON text, such as order.items.0.name",
    parameters=(TEXT, Parameter("path", "text")),
    result="text",
    value=value,
    examples=(
        FunctionExample(('{"order": {"items": [{"name": "rope"}]}}', "order.items.0.name"), "rope"),
        FunctionExample(('{"paid": true}', "paid"), "true"),
    ),
    refuse=refuse_empty(1, "a path"),
)
