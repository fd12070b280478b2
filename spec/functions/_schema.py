"""JSON Schema with the library `jsonschema`, without the parts that a text could make slow. Imported only when used."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from jsonschema import validators
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from bylaw.spec.pattern import PatternError, compile_pattern

MOST_REFERENCES = 10_000
PATTERN_WORDS = ("pattern", "patternProperties")
UNUSABLE_TOGETHER = ("unevaluatedProperties", "unevaluatedItems")


class UnusableSchema(ValueError):
    """A schema that is none, or has a part that is not supported."""


class TooMuchWork(Exception):
    """A schema that refers to itself is followed too often."""


def check(schema: Any) -> None:
    """Raises UnusableSchema, with the reason."""
    if not isinstance(schema, (dict, bool)):
        raise UnusableSchema("a schema is an object, true or false")
    try:
        kind = validators.validator_for(schema, default=jsonschema.Draft202012Validator)
        problem = best_match(kind(kind.META_SCHEMA).iter_errors(schema))
    except RecursionError:
        raise UnusableSchema("it is nested too deeply") from None
    if problem is not None:
        place = "/".join(map(str, problem.path))
        raise UnusableSchema(f"{'at ' + place + ': ' if place else ''}{problem.message[:200]}")
    parts = list(_parts(schema))
    for part in parts:
        _check_part(part)
    if isinstance(schema, dict) and not any("$id" in part for part in parts[1:]):
        _check_references(schema, parts)


def matches(schema: Any, instance: Any) -> bool:
    """Whether a schema that `check` has seen allows a JSON value. Raises TooMuchWork, UnusableSchema."""
    kind = validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    steps = iter(range(MOST_REFERENCES))

    def reference(follow: Any) -> Any:
        def followed(validator: Any, target: Any, value: Any, parent: Any) -> Iterator[ValidationError]:
            if next(steps, None) is None:
                raise TooMuchWork
            yield from follow(validator, target, value, parent) or ()

        return followed

    known = kind.VALIDATORS
    ours = {word: reference(known[word]) for word in ("$ref", "$dynamicRef", "$recursiveRef") if word in known}
    checker = validators.extend(kind, {**ours, **_OURS})
    try:
        return bool(checker(schema, registry=Registry()).is_valid(instance))
    except Unresolvable as error:
        raise UnusableSchema(f"the reference {error.ref} leads nowhere") from None


def _check_references(schema: dict[str, Any], parts: list[dict[str, Any]]) -> None:
    resource = Resource.from_contents(schema, default_specification=DRAFT202012)
    resolver = Registry().with_resource("", resource).resolver()
    for reference in filter(None, (part.get("$ref") for part in parts)):
        try:
            resolver.lookup(str(reference))
        except (Unresolvable, LookupError, ValueError):
            raise UnusableSchema(f"the reference {str(reference)[:60]} leads nowhere") from None


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """All objects in a schema; those that are only data do no harm."""
    waiting = [schema]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield part
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _check_part(part: Mapping[str, Any]) -> None:
    pattern, by_pattern = (part.get(word) for word in PATTERN_WORDS)
    sources = [*([pattern] if isinstance(pattern, str) else []), *(by_pattern if isinstance(by_pattern, dict) else [])]
    for source in sources:
        try:
            compile_pattern(source)
        except PatternError as error:
            raise UnusableSchema(f"the pattern {source[:60]}: {error}") from None
    if any(word in part for word in UNUSABLE_TOGETHER):
        raise UnusableSchema("unevaluatedProperties and unevaluatedItems are not supported")
    for word in ("$ref", "$dynamicRef", "$recursiveRef"):
        reference = part.get(word)
        if isinstance(reference, str) and not reference.startswith("#"):
            raise UnusableSchema(f"the reference {reference[:60]} does not begin with #: nothing is fetched")


# ----------------------------------------------------------------------------------- keywords that have to be linear
def _pattern(validator: Any, pattern: str, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not compile_pattern(pattern).search(instance):
        yield ValidationError(f"the pattern {pattern} is not found")


def _pattern_properties(validator: Any, patterns: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    for pattern, part in patterns.items() if isinstance(instance, dict) else ():
        search = compile_pattern(pattern).search
        for name, value in instance.items():
            if search(name):
                yield from validator.descend(value, part, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    searches = [compile_pattern(pattern).search for pattern in schema.get("patternProperties", {})]
    for name in instance if isinstance(instance, dict) else ():
        if name not in schema.get("properties", {}) and not any(search(name) for search in searches):
            yield from validator.descend(instance[name], allowed, path=name)


def _unique_items(validator: Any, wanted: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list) and len(set(map(_form, instance))) < len(instance):
        yield ValidationError("two items are equal")


def _form(value: Any) -> str:
    """The same text for equal JSON values: 1 and 1.0 are equal, 1 and true are not."""
    return json.dumps(_plain(value), sort_keys=True)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value


_OURS: Mapping[str, Any] = {
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "uniqueItems": _unique_items,
}
