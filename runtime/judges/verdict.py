"""From a judge's words to a verdict, strictly: what cannot be read as one is a problem, never a guess.

An answer should be one JSON object. Many servers ignore the form that was asked for, so the *last* object in the answer
that is a verdict counts. One that stands in the judged text itself never does: a judge that repeats the text has not
judged it. The quoted words must occur in the text as the judge saw it; they are handed on as places in the original.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from bylaw.runtime.judges.injection import JudgeCopy
from bylaw.runtime.judges.rubric import Rubric, Word
from bylaw.spec.normal import plain

PARSER = "verdict-1"
"""Name and version of the reader of verdicts: part of the key of every stored answer."""
FORM = '{"reason": "...", "quote": "...", "verdict": "..."}'
_KEYS = ("reason", "quote", "verdict")
_MOST_ANSWER = 20_000
_ALIKE = str.maketrans(
    {"‘": "'", "’": "'", "‚": "'", "“": '"', "”": '"', "„": '"', "–": "-", "—": "-", "‐": "-", "‑": "-"}
)
_LEFT_OUT = re.compile(r"\[?(?:\.{3}|…)\]?")


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an answer is no verdict, in a few words that a judge can act on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge said. `said`: in its own word. `passages`: the quoted words, as (start, end) in characters of the
    original text."""

    word: Word
    said: str
    reason: str
    quote: str
    passages: tuple[tuple[int, int], ...] = ()


Found: TypeAlias = dict[str, Any]


def verdict_format(rubric: Rubric) -> Mapping[str, Any]:
    """The `response_format` of a request: the JSON Schema of a verdict, the reason before the verdict."""
    properties = {
        "reason": {"type": "string"},
        "quote": {"type": "string"},
        "verdict": {"type": "string", "enum": list(rubric.words)},
    }
    return object_format("verdict", properties)


def object_format(name: str, properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """A strict `response_format` for one object that has all of these properties and no others."""
    schema = {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"type": "json_schema", "json_schema": {"name": name, "strict": True, "schema": schema}}


def read_verdict(answer: str, rubric: Rubric, copy: JudgeCopy, others: Sequence[str] = ()) -> Verdict | Problem:
    """The verdict in an answer about one text, or what is wrong with the answer. `others`: what else the judge was
    shown, that a verdict may have been planted in."""
    found = last_object(answer, lambda item: _wrong_with(item, rubric), [copy.text, *others])
    if isinstance(found, Problem):
        return found
    said = found["verdict"].strip().casefold()
    word = rubric.words[said]
    quote = found["quote"].strip()
    passages = passages_of(quote, copy)
    if passages is None:
        return Problem("the quote does not occur in the text")
    if word == "yes" and not passages:
        return Problem(f'the verdict "{said}" needs a quote from the text')
    return Verdict(word, said, found["reason"].strip(), quote, passages)


def last_object(answer: str, wrong: Callable[[Found], str | None], shown: Sequence[str]) -> Found | Problem:
    """The last JSON object of an answer in which nothing is `wrong`, leaving out what the `shown` texts hold.

    Objects inside of other objects are part of those. The problem that is told is that of the last object.
    """
    if len(answer) > _MOST_ANSWER:
        return Problem(f"the answer has more than {_MOST_ANSWER} characters")
    told = "there is no JSON object in it"
    for item, written in reversed(list(_objects(answer))):
        problem = wrong(item)
        if problem is None and _stands_in(item, written, shown):
            problem = "it only repeats what the text itself says"
        if problem is None:
            return item
        told = problem if told.startswith("there is") else told
    return Problem(told)


def passages_of(quote: str, copy: JudgeCopy) -> tuple[tuple[int, int], ...] | None:
    """Where the quoted words stand in the original; several passages where the judge left words out with `...`.

    White space, the shape of quotation marks and dashes, and capitals are not told apart. () for an empty quote, None
    where a part of it does not occur, or not in this order.
    """
    parts = [part.strip(" \t\r\n\"'“”‘’«»") for part in _LEFT_OUT.split(quote)]
    whole = quote.strip(" \t\r\n\"'“”‘’«»")
    at = copy.text.find(whole)
    if at >= 0 and whole:
        extent = copy.extent(at, at + len(whole))
        return None if extent is None else (extent,)
    text, places = _folded(copy.text)
    found: list[tuple[int, int]] = []
    start = 0
    for part in filter(None, (_folded(part)[0].strip() for part in parts)):
        at = text.find(part, start)
        if at < 0:
            return None
        extent = copy.extent(places[at], places[at + len(part) - 1] + 1)
        if extent is None:
            return None
        found.append(extent)
        start = at + len(part)
    return tuple(found) if found or not whole else None


def _folded(text: str) -> tuple[str, array[int]]:
    """The text with one space for all white space, plain signs and small letters; and where each character is from."""
    kept: list[str] = []
    places = array("q")
    for place, char in enumerate(text):
        folded = " " if char.isspace() else plain(char.translate(_ALIKE)).casefold()
        if folded == " " and kept and kept[-1] == " ":
            continue
        for single in folded:
            kept.append(single)
            places.append(place)
    return "".join(kept), places


def _wrong_with(item: Found, rubric: Rubric) -> str | None:
    missing = [key for key in _KEYS if not isinstance(item.get(key), str)]
    if missing:
        return f'it lacks the text "{missing[0]}"'
    order = [list(item).index(key) for key in _KEYS]
    if any(one > other for one, other in pairwise((order[0], order[2]))):
        return "the reason has to come before the verdict"
    if item["verdict"].strip().casefold() not in rubric.words:
        return f"its verdict is none of {', '.join(rubric.words)}"
    return None if item["reason"].strip() else "it gives no reason"


def _objects(text: str) -> Iterator[tuple[Found, str]]:
    """The JSON objects in a text from left to right, each with how it is written; none inside of another."""
    decoder = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse)
    place = text.find("{")
    while place >= 0:
        try:
            item, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            yield item, text[place:end]
        place = text.find("{", end)


def _once(pairs: list[tuple[str, Any]]) -> Found:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _stands_in(item: Found, written: str, shown: Sequence[str]) -> bool:
    """Whether a shown text holds this object, in these or in other words of JSON."""
    plainly = "".join(written.split())
    return any(plainly in "".join(text.split()) or any(item == other for other, _ in _objects(text)) for text in shown)
