"""The files of a target as bytes: lines of JSON, tables and templates."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bylaw.compiler.targets.interface import Inputs, TargetError

if TYPE_CHECKING:
    from jinja2 import Environment

MANIFEST = "bylaw.json"
_BREAKS = {ord(char): f"\\u{ord(char):04x}" for char in "\x85\u2028\u2029"}
"""Characters that some readers of lines take for the end of one, as JSON's escapes."""
MOST_ROWS = 5_000_000
MOST_BYTES = 2_000_000_000
"""Bytes of a file; more is refused."""


def json_lines(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """One JSON object a line, by whatever a reader takes for the end of one. Half a surrogate pair, which is no
    character, is written as its escape. Raises TargetError for more than a file may hold."""
    found: list[bytes] = []
    size = 0
    for number, row in enumerate(rows, 1):
        text = json.dumps(row, ensure_ascii=False, allow_nan=False).translate(_BREAKS)
        line = text.encode("utf-8", "backslashreplace") + b"\n"
        size += len(line)
        if number > MOST_ROWS or size > MOST_BYTES:
            raise TargetError(
                f"the data would have more than {MOST_ROWS:,} rows or {MOST_BYTES:,} bytes: split the transcripts"
            )
        found.append(line)
    return b"".join(found)


def table(rows: list[dict[str, Any]], kind: str) -> bytes:
    """Rows of one shape as `parquet` or `jsonl`. Raises TargetError where Parquet cannot be written here."""
    if kind == "jsonl":
        return json_lines(rows)
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise TargetError(
            "writing Parquet needs the extra `parquet` (pyarrow is missing): install bylaw with it, as in "
            "pip install '.[parquet]', or choose --table jsonl"
        ) from None
    if len(rows) > MOST_ROWS:
        raise TargetError(f"the data would have more than {MOST_ROWS:,} rows: split the prompts")
    held = io.BytesIO()
    try:
        parquet.write_table(arrow.Table.from_pylist(rows), held)
    except UnicodeEncodeError:
        raise TargetError("a text holds half a surrogate pair, which Parquet cannot hold") from None
    return held.getvalue()


def json_file(data: Any) -> bytes:
    """A JSON text for people and machines."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, indent=2).encode("utf-8", "backslashreplace") + b"\n"


def rendered(template: str, **values: Any) -> bytes:
    """A template of this package with its variables. Raises TargetError for a template that lacks one."""
    from jinja2 import TemplateError

    try:
        text = _environment().get_template(template).render(**values)
    except TemplateError as error:
        raise TargetError(f"the template {template} cannot be used: {error}") from error
    return (text.strip() + "\n").encode("utf-8", "backslashreplace")


@cache
def _environment() -> Environment:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    # no HTML: what is written are prompts, Markdown and code, into which policies and data come as escaped literals
    return ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def origin(inputs: Inputs) -> dict[str, str]:
    """What every file says of where it is from: for templates and headers. The version as a JSON text, since authors
    may write anything into it."""
    program = inputs.program
    return {
        "policy": program.policy,
        "version": json.dumps(program.version),
        "digest": program.digest,
        "bylaw": inputs.bylaw,
    }
