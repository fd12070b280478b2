"""Texts with `{{variables}}`, and the conditions that tell one set of variables from another."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from bylaw.compiler.importers import _writing as write

_HOLE = re.compile(r"\{\{-?\s*([A-Za-z_]\w*)\s*-?\}\}")
_OTHER = re.compile(r"\{\{|\{%|\{#")
_MOST_ROWS = 10_000


class TemplateError(ValueError):
    """A template or its variables cannot be read here; the message says why."""


@dataclass(frozen=True, slots=True)
class Template:
    """A text in which only plain variables are filled in."""

    text: str

    @property
    def names(self) -> tuple[str, ...]:
        """Its variables, in order."""
        return tuple(dict.fromkeys(found[1] for found in _HOLE.finditer(self.text)))

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with its variables filled in; one without a value becomes empty, as in Nunjucks."""
        return _HOLE.sub(lambda found: values.get(found[1], ""), self.text)


def holes(text: str) -> Template:
    """A template. Raises TemplateError for anything but plain variables: filters, loops, conditions."""
    other = _OTHER.search(_HOLE.sub("", text))
    if other:
        raise TemplateError(f"`{other[0]}` begins more than a variable in it")
    return Template(text)


def filled(value: Any, variables: Mapping[str, Any]) -> Any:
    """The value of an assertion with the variables of its test filled in, in lists too."""
    if isinstance(value, list):
        return [filled(item, variables) if isinstance(item, str) else item for item in value]
    if not isinstance(value, str):
        return value
    template = holes(value)
    missing = [name for name in template.names if not _is_plain(variables.get(name))]
    if missing:
        raise TemplateError(f"the variable `{missing[0]}` has no single value here")
    return template.fill({name: _shown(variables[name]) for name in template.names})


def conditions(prompts: tuple[Template, ...] | None, variables: Mapping[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """The condition under which a test applies (empty: always), and the rows of its suite.

    Raises TemplateError when the variables are no plain values, or too many.
    """
    sets = _sets(variables)
    if prompts is None or not prompts:
        return " and ".join(_fact(name, value) for name, value in variables.items()), []
    rows: list[dict[str, Any]] = []
    for values in sets:
        shown = {name: _shown(value) for name, value in values.items()}
        for prompt in prompts:
            row: dict[str, Any] = {"prompt": prompt.fill(shown)}
            rows.append({**row, "meta": values} if values else row)
    texts = list(dict.fromkeys(row["prompt"] for row in rows))
    condition = f"prompt == {write.quoted(texts[0])}" if len(texts) == 1 else f"prompt is in {write.listed(texts)}"
    return (condition if variables else ""), [row for row in rows if row["prompt"].strip()]


def _sets(variables: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All combinations: a variable with a list of values stands for a test with each."""
    columns: list[list[Any]] = []
    size = 1
    for name, value in variables.items():
        values = value if isinstance(value, list) else [value]
        if not values or not all(_is_plain(item) for item in values):
            raise TemplateError(f"the variable `{name}` is not a plain value")
        size *= len(values)
        if size > _MOST_ROWS:
            raise TemplateError(f"its variables make more than {_MOST_ROWS:,} tests")
        columns.append(values)
    return [dict(zip(variables, values, strict=True)) for values in product(*columns)]


def _fact(name: str, value: Any) -> str:
    """That a fact has a value, or one of some."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise TemplateError(f"the variable `{name}` cannot be the name of a fact")
    path = f"meta.{name}"
    values = value if isinstance(value, list) else [value]
    said = " or ".join(_equal(path, item) for item in values)
    return f"({said})" if len(values) > 1 else said


def _equal(path: str, value: Any) -> str:
    if isinstance(value, bool):
        return path if value else f"not {path}"
    return f"{path} == {write.quoted(value) if isinstance(value, str) else write.number(value)}"


def _is_plain(value: Any) -> bool:
    """Whether a variable is one value that stands in the file."""
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return False
    if isinstance(value, str):
        return not value.startswith("file://") and not _OTHER.search(value)
    return isinstance(value, (bool, int, float)) and value == value


def _shown(value: Any) -> str:
    """A value as a template writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
