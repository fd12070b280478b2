"""Reads the logs of Inspect, an evaluation framework: `.eval` (a zip archive) and `.json`.

A sample is a conversation; one that was asked several times (epochs) is one for each. What stands in the metadata of a
sample becomes facts below `meta`, as in JSON lines; what Inspect itself says of it becomes `meta.inspect.sample`,
`.epoch`, `.task`, `.model`, `.status`, `.target`, `.error`, `.limit` and `.scores.NAME`. What the filter of an endpoint
withheld is no answer, whatever stands in its place: `.stop_reason` says so. Reasoning is no part of an answer and is
passed over. Calls of tools that ran at the maker of the model are calls like others.
Layout: https://inspect.aisi.org.uk/eval-logs.html, and logs written by versions from 2024 to 2026.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bylaw.runtime.audit import conversation
from bylaw.runtime.audit.archive import Archive, opened
from bylaw.runtime.audit.inputs import Limits, TranscriptError, Unreadable, quote, require_text
from bylaw.runtime.audit.withheld import FILTER
from bylaw.spec.trace import FactValue, Message, Trace

SUFFIXES = (".eval", ".json")
_MEMBER = re.compile(r"samples/(?P<id>.*)_epoch_(?P<epoch>\d+)(?P<end>\.json|/sample\.json)", re.DOTALL)
_PIECE = re.compile(r"/([0-9]{1,12})\.json\Z")
_REFERENCE = re.compile(r"(?:attachment|tc)://([0-9a-f]{1,32})")
_DEVELOPER = "bylaw_role"
"""Where our own logs say that a system message is the developer's: Inspect has no such role."""


@dataclass(frozen=True, slots=True)
class _Log:
    """What a log says of all its samples."""

    facts: Mapping[str, Any]
    epochs: int
    problems: tuple[str, ...]
    completed: int


def samples(path: Path, limits: Limits, shown: str, answered: bool) -> Iterator[tuple[int, Trace | str]]:
    """Every sample as (its place in the log from 1 on, trace or why there is none), by epoch and id.

    What is wrong with the log as a whole, a run that did not finish say, comes first, with place 1. With `answered`
    False the inputs of the samples are read, which have to end with a user message. Raises TranscriptError for a file
    that is no log of Inspect, or is too large.
    """
    found = 0
    source = _packed if path.suffix.lower() == ".eval" else _plain
    for number, (log, name, read) in enumerate(source(path, limits, shown)):
        if not number:
            yield from ((1, words) for words in log.problems)
            completed = log.completed
            continue
        found += 1
        try:
            trace, left_out = _trace(read(), log, limits, answered)
        except Unreadable as error:
            yield number, f"{name}: {error}"
            continue
        except RecursionError:
            yield number, f"{name}: it is nested too deeply"
            continue
        yield number, trace
        yield from ((number, f"{name}: {words}") for words in left_out)
    if found < completed:
        yield max(found, 1), f"the log counts {completed:,} samples, and holds {found:,}"


# ------------------------------------------------------------------------------------------------------------- files
def _packed(path: Path, limits: Limits, shown: str) -> Iterator[tuple[_Log, str, Any]]:
    """The log, then each sample of a `.eval` file with its name and how to read it."""
    with opened(path, limits, shown) as archive:
        header = next((name for name in ("header.json", "_journal/start.json") if name in archive.names), None)
        if header is None:
            raise TranscriptError(f"{quote(shown)} is no log of Inspect: it has no `header.json`")
        try:
            log = _log(_decoded(archive.read(header)), shown, is_whole=header == "header.json")
        except Unreadable as error:
            raise TranscriptError(f"{quote(shown)} cannot be read: `{header}`: {error}") from None
        yield log, "", None
        found = [match for name in archive.names if (match := _MEMBER.fullmatch(name))]
        for match in sorted(found, key=lambda each: (int(each["epoch"]), _order(each["id"]))):
            yield log, f"the sample {quote(match['id'])}, epoch {match['epoch']}", _reader(archive, match)


def _order(identifier: str) -> str:
    """Names by their letters, and numbers in them by their size."""
    return re.sub(r"[0-9]+", lambda digits: digits[0].zfill(20), identifier)


def _reader(archive: Archive, match: re.Match[str]) -> Any:
    return lambda: _sample(archive, match[0]) if match["end"] == ".json" else _pieces(archive, match[0])


def _sample(archive: Archive, name: str) -> Any:
    return _decoded(archive.read(name))


def _pieces(archive: Archive, name: str) -> Any:
    """A sample that is stored in pieces: its messages are places in a list that is cut into several members."""
    folder = name.removesuffix("/sample.json")
    sample = _sample(archive, name)
    if not isinstance(sample, dict):
        raise Unreadable("it is not an object")
    pool, attachments = _cut_list(archive, f"{folder}/messages"), _cut_list(archive, f"{folder}/attachments")
    try:
        sample["messages"] = [
            pool[place] for start, end in sample.get("message_refs", ()) for place in _places(start, end, pool)
        ]
    except (TypeError, ValueError):
        raise Unreadable("its list of messages is damaged") from None
    sample["attachments"] = {str(place): text for place, text in enumerate(attachments)}
    if f"{folder}/metadata.json" in archive.within(folder):
        sample["metadata"] = _sample(archive, f"{folder}/metadata.json")
    return sample


def _places(start: int, end: int, pool: list[Any]) -> range:
    if not 0 <= start <= end <= len(pool):
        raise ValueError
    return range(start, end)


def _cut_list(archive: Archive, folder: str) -> list[Any]:
    found: list[Any] = []
    parts = [(int(match[1]), name) for name in archive.within(folder) if (match := _PIECE.search(name))]
    for start, name in sorted(parts):
        part = _sample(archive, name)
        if start != len(found) or not isinstance(part, list):
            raise Unreadable(f"a piece is missing before {quote(name)}")
        found += part
    return found


def _plain(path: Path, limits: Limits, shown: str) -> Iterator[tuple[_Log, str, Any]]:
    """The log, then each sample of a `.json` file, which has to be held whole."""
    with path.open("rb") as file:
        data = file.read(limits.sample_bytes + 1)
    if len(data) > limits.sample_bytes:
        raise TranscriptError(
            f"{quote(shown)} is larger than {limits.sample_bytes:,} bytes; a log of that size can be read as `.eval`, "
            "to which `inspect log convert` turns it"
        )
    try:
        found = _decoded(data)
    except Unreadable as error:
        raise TranscriptError(f"{quote(shown)} cannot be read: {error}") from None
    log = _log(found, shown, is_whole=True)
    yield log, "", None
    given = found.get("samples")
    for number, sample in enumerate(given if isinstance(given, list) else (), 1):
        about = (sample.get("id"), sample.get("epoch")) if isinstance(sample, dict) else (number, 1)
        yield log, f"the sample {quote(str(about[0]))}, epoch {quote(str(about[1]))[1:-1]}", lambda each=sample: each


def _decoded(data: bytes) -> Any:
    """JSON, in which Inspect writes NaN where there is no number. Raises Unreadable."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=lambda name: None if name == "NaN" else name)
    except UnicodeDecodeError:
        raise Unreadable("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise Unreadable(f"it is not JSON: {error.msg[:1].lower()}{error.msg[1:]} at line {error.lineno}") from None
    except (RecursionError, ValueError):
        raise Unreadable("it is not usable JSON: it is nested too deeply, or a number is too long") from None


def _log(data: Any, shown: str, *, is_whole: bool) -> _Log:
    about = data.get("eval") if isinstance(data, dict) else None
    if not isinstance(about, dict):
        raise TranscriptError(
            f"{quote(shown)} is no log of Inspect; conversations of other makers are read from JSON Lines (.jsonl)"
        )
    status = data.get("status") if is_whole else "started"
    problems = []
    if status != "success":
        problems.append(f"the run did not finish (status {quote(str(status))}), so samples may be missing")
    if about.get("shards"):
        problems.append("the samples lie in other logs, of which this one is only the sum; read these, or their folder")
    config, results = about.get("config"), data.get("results")
    epochs = config.get("epochs") if isinstance(config, dict) else None
    completed = results.get("completed_samples") if isinstance(results, dict) else None
    facts = {"task": about.get("task"), "model": about.get("model"), "status": status}
    return _Log(facts, _count(epochs), tuple(problems), _count(completed))


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


# ----------------------------------------------------------------------------------------------------------- samples
def _trace(sample: Any, log: _Log, limits: Limits, answered: bool) -> tuple[Trace, tuple[str, ...]]:
    if not isinstance(sample, dict):
        raise Unreadable("it is not an object")
    if sample.get("invalidation"):
        raise Unreadable("it is marked as invalid")
    identifier, epoch = sample.get("id"), _count(sample.get("epoch")) or 1
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)):
        raise Unreadable("it has no `id`")
    messages = _messages(sample, answered)
    if not answered:
        conversation.require_user(messages)
    name = require_text(str(identifier), "its `id`")
    facts, left_out = _facts(sample, log, limits, name, epoch)
    return Trace(messages, facts, name if max(log.epochs, epoch) <= 1 else f"{name}_epoch_{epoch}"), left_out


def _facts(
    sample: Mapping[str, Any], log: _Log, limits: Limits, name: str, epoch: int
) -> tuple[dict[str, FactValue], tuple[str, ...]]:
    """What is known of a sample; where its own metadata say something else, Inspect is right."""
    error, limit, target = sample.get("error"), sample.get("limit"), sample.get("target")
    scores = sample.get("scores") or ({"score": sample["score"]} if sample.get("score") else {})
    own: dict[str, Any] = {**log.facts, "sample": name, "epoch": epoch}
    own["target"] = target[0] if isinstance(target, list) and len(target) == 1 else target
    own["target"] = own["target"] if isinstance(own["target"], str) and own["target"] else None
    own["error"] = error.get("message", "an error") if isinstance(error, dict) else None
    own["limit"] = limit.get("type") if isinstance(limit, dict) else None
    own["stop_reason"] = FILTER if _is_filtered(sample) else None
    if isinstance(scores, dict):
        own["scores"] = {key: each.get("value") for key, each in scores.items() if isinstance(each, dict)}
    metadata = sample.get("metadata")
    given, words = conversation.facts_of(metadata if isinstance(metadata, dict) else {}, set(), limits)
    said, more = conversation.facts_of({"inspect": own}, set(), replace(limits, fact_depth=max(limits.fact_depth, 4)))
    twice = tuple(f"the fact {quote(path)} is given twice and was left out" for path in given if path in said)
    return {**given, **said}, (*words, *more, *twice)


def _messages(sample: Mapping[str, Any], answered: bool) -> tuple[Message, ...]:
    given, spoken = sample.get("input"), sample.get("messages")
    asked = [{"role": "user", "content": given}] if isinstance(given, str) else given
    if not answered:
        raw: Any = asked
    elif spoken:
        raw = spoken
    else:  # a log that keeps no conversation has what went in and what came out
        raw = [*asked, *_output(sample.get("output"))] if isinstance(asked, list) else asked
    if not isinstance(raw, list) or not raw:
        raise Unreadable("it has no messages")
    if answered and raw is not asked and _is_filtered(sample) and _is_last_word(raw[-1]):
        raw = raw[:-1]
    whole = _resolved(raw, _attachments(sample))
    return conversation.messages_of([plain for message in whole for plain in _said(message)])


def _is_filtered(sample: Mapping[str, Any]) -> bool:
    """Whether the filter of an endpoint withheld the last answer, all of it or the rest."""
    output = sample.get("output")
    choices = output.get("choices") if isinstance(output, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return isinstance(first, dict) and first.get("stop_reason") == FILTER


def _is_last_word(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant" and not message.get("tool_calls")


def _output(output: Any) -> list[Any]:
    choices = output.get("choices") if isinstance(output, dict) else None
    return [choices[0].get("message")] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else []


def _attachments(sample: Mapping[str, Any]) -> Mapping[str, Any]:
    """Long texts that stand apart; in logs of 2024 beside the events."""
    old = sample.get("transcript")
    found = sample.get("attachments") or (old.get("content") if isinstance(old, dict) else None)
    return found if isinstance(found, dict) else {}


def _resolved(value: Any, attachments: Mapping[str, Any]) -> Any:
    """The value with the texts that its references stand for. Raises Unreadable where one is missing."""
    if isinstance(value, str):
        match = _REFERENCE.fullmatch(value)
        if match is None:
            return value
        if match[1] not in attachments:
            raise Unreadable(f"the text {quote(value)} that a message refers to is missing")
        return attachments[match[1]]
    if isinstance(value, list):
        return [_resolved(item, attachments) for item in value]
    return {key: _resolved(item, attachments) for key, item in value.items()} if isinstance(value, dict) else value


def _said(message: Any) -> Iterator[Any]:
    """A message as other makers write it; one with calls of tools between its texts is several."""
    if not isinstance(message, dict):
        yield message
        return
    role, content, metadata = message.get("role"), message.get("content"), message.get("metadata")
    if role == "system" and isinstance(metadata, dict) and metadata.get(_DEVELOPER) == "developer":
        message = {**message, "role": "developer"}
    if role == "tool" and content in ("", [], None):  # what the model was told then is the error
        error = message.get("error")
        told = error.get("message") if isinstance(error, dict) else message.get("tool_error")
        message = {**message, "content": told if isinstance(told, str) else ""}
    if not isinstance(content, list):
        yield message
        return
    parts: list[Any] = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "tool_use" and "tool_type" in part:
            if parts:
                yield {"role": role, "content": parts}
            yield from _at_the_maker(part)
            parts = []
        elif kind != "reasoning":
            parts.append(part)
    if parts or message.get("tool_calls") or not any(isinstance(p, dict) and "tool_type" in p for p in content):
        yield {**message, "content": parts}


def _at_the_maker(part: Mapping[str, Any]) -> Iterator[Any]:
    call = {"id": part.get("id"), "function": part.get("name"), "arguments": part.get("arguments")}
    yield {"role": "assistant", "content": None, "tool_calls": [call]}
    result = part.get("error") or part.get("result") or ""
    yield {"role": "tool", "name": part.get("name"), "tool_call_id": part.get("id"), "content": result}
