"""JSON Lines of verdicts and scores that other tools, people or earlier audits wrote; every line counts.

Unlike transcripts nothing is left out: a verdict that is missing without a word would tilt a comparison, so a line that
cannot be read ends the reading.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bylaw.runtime.audit.answer_files import ComparisonError
from bylaw.runtime.audit.consistency import VERDICTS, VerdictRow
from bylaw.runtime.audit.inputs import quote, suggestion

MOST_BYTES = 500_000_000
_LINE_BYTES = 1_000_000
_NAMES = ("prompt", "rule", "generator", "judge")


def read_verdicts(paths: Sequence[str]) -> list[VerdictRow]:
    """Rows `{"prompt", "rule", "generator", "judge", "verdict"}` of all files; other keys are not looked at.

    `verdict` is `satisfied`, `violated`, `not_applicable` or `unscored`. Raises ComparisonError with file and line.
    """
    return [_verdict(place, data) for path in paths for place, data in _lines(path)]


def read_orders(path: str) -> dict[str, dict[str, list[str]]]:
    """Rows `{"item", "order", "verdict"}`: by item, by order, what was said; `unscored` verdicts are left out.

    Several rows of one item and order are repeats. Raises ComparisonError with file and line.
    """
    found: dict[str, dict[str, list[str]]] = {}
    for place, data in _lines(path):
        item, order, verdict = (_text(place, data, key) for key in ("item", "order", "verdict"))
        said = found.setdefault(item, {}).setdefault(order, [])
        if verdict != "unscored":
            said.append(verdict)
    return found


def read_scores(path: str, score: str, truth: str) -> dict[str, list[tuple[float, float]]]:
    """Rows `{"prompt", SCORE, TRUTH}` with two numbers (true and false are 1 and 0): by prompt, the pairs.

    Raises ComparisonError with file and line.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for place, data in _lines(path):
        pair = _number(place, data, score), _number(place, data, truth)
        found.setdefault(_text(place, data, "prompt"), []).append(pair)
    return found


def read_answers(path: str) -> dict[str, list[str]]:
    """Rows `{"prompt", "answers": [texts]}`: the valid answers of each prompt, by its last user message.

    Raises ComparisonError with file and line.
    """
    found: dict[str, list[str]] = {}
    for place, data in _lines(path):
        given = data.get("answers")
        if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
            raise ComparisonError(f'{place}: `answers` has to be a list of texts, as in {{"answers": ["yes", "no"]}}')
        prompt = " ".join(_text(place, data, "prompt").split())
        if prompt in found:
            raise ComparisonError(f"{place}: the answers to {quote(prompt)} stand there twice")
        found[prompt] = list(dict.fromkeys(each.strip() for each in given))
    return found


def _lines(path: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(`file:line`, the object there)."""
    count = 0
    try:
        if Path(path).is_file() and Path(path).stat().st_size > MOST_BYTES:
            raise ComparisonError(f"{quote(path)} is larger than {MOST_BYTES:,} bytes")
        with Path(path).open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LINE_BYTES + 1), b""), 1):
                place = f"{path}:{number}"
                if len(line) > _LINE_BYTES:
                    raise ComparisonError(f"{place}: the line is longer than {_LINE_BYTES:,} bytes")
                if line.strip():
                    count += 1
                    yield place, _object(place, line)
    except OSError as error:
        raise ComparisonError(f"{quote(path)} cannot be read: {error.strerror or error}") from error
    if not count:
        raise ComparisonError(f"{quote(path)} is empty: it has to have a JSON object on each line")


def _object(place: str, line: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise ComparisonError(f"{place}: the line is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise ComparisonError(f"{place}: the line is not JSON: {error}") from None
    if not isinstance(data, dict):
        raise ComparisonError(f"{place}: the line is not a JSON object")
    return data


def _text(place: str, data: Mapping[str, Any], key: str) -> str:
    value = _value(place, data, key)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int)) and str(value).strip():
        return str(value)
    raise ComparisonError(f"{place}: `{key}` has to be a text or a whole number")


def _number(place: str, data: Mapping[str, Any], key: str) -> float:
    value = _value(place, data, key)
    try:
        number = float(value) if isinstance(value, (int, float)) else math.nan
    except OverflowError:
        number = math.nan
    if not math.isfinite(number):
        raise ComparisonError(f"{place}: `{key}` has to be a finite number, or true or false")
    return number


def _value(place: str, data: Mapping[str, Any], key: str) -> Any:
    if key not in data:
        names = [str(name) for name in data]
        raise ComparisonError(f"{place}: the line has no {quote(key)}{suggestion(key, names)}")
    return data[key]


def _verdict(place: str, data: Mapping[str, Any]) -> VerdictRow:
    prompt, rule, generator, judge = (_text(place, data, key) for key in _NAMES)
    verdict = _text(place, data, "verdict").replace(" ", "_")
    if verdict not in VERDICTS:
        raise ComparisonError(f"{place}: {quote(verdict)} is no verdict; there are {', '.join(VERDICTS)}")
    kept = {"satisfied": True, "violated": False}.get(verdict)
    return VerdictRow(prompt, rule, generator, judge, kept, verdict != "unscored")
