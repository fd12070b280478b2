"""Checking the JSON of a reward program against its dataclasses, in time linear in the JSON.

Pydantic tries every kind of expression that could stand in a place, and for each of them everything inside it: twenty
nested conditions would take minutes. Each expression says in `op` what it is, so only that kind is tried here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic_core import SchemaValidator

TAG = "op"


@cache
def validator(program: type) -> SchemaValidator:
    """What reads the JSON of this dataclass; its `validate_json` raises pydantic's ValidationError."""
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    schema: Any = TypeAdapter(program).core_schema
    defined = {each["ref"]: each for each in schema.get("definitions", ())}
    return SchemaValidator(_tagged(schema, defined))


def _tagged(schema: Any, defined: Mapping[str, Any]) -> Any:
    """The same schema, with a choice by tag wherever all choices have one."""
    if isinstance(schema, list):
        return [_tagged(each, defined) for each in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: _tagged(value, defined) for key, value in schema.items()}
    if schema.get("type") != "union":
        return changed
    tags = [_tag(defined.get(each.get("schema_ref"), each)) for each in schema["choices"]]
    if None in tags:
        return changed
    choices = dict(zip(tags, changed.pop("choices"), strict=True))
    return {**changed, "type": "tagged-union", "choices": choices, "discriminator": TAG}


def _tag(schema: Any) -> str | None:
    """The tag of a dataclass: the usual value of its field `op`."""
    fields: Any = getattr(schema.get("cls"), "__dataclass_fields__", {})
    return fields[TAG].default if TAG in fields else None
