"""Writes an audit as a log of Inspect, `.eval` or `.json`, which its viewer and its library open.

A clause of the policy is a scorer, a transcript a sample. A statement that is kept has the value `C` and a broken one
`I`; a quantity is its number; what does not apply or could not be scored is NaN, which Inspect counts in no metric,
with the reason. The metrics are the rates, means and intervals of the audit, none is computed anew.
Layout: version 2 of the log as Inspect 0.3 writes it; what it is read back with is runtime/audit/inspect_log.py.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import Any, TypeAlias

from bylaw.compiler.evaluate import TermScore, Verdict
from bylaw.runtime.audit.columns import key_of
from bylaw.runtime.audit.withheld import FILTER, FILTERED, why_withheld
from bylaw.runtime.record import AuditRecord, TermAudit
from bylaw.spec.trace import Message, Trace

SUFFIXES = (".eval", ".json")
NO_MODEL = "none/none"
"""How Inspect writes that no model was asked."""

_OURS = "meta.inspect."
_LONGEST_ID = 500
_LONGEST_QUOTE = 400
_LONGEST_INPUT = 2_000
_IN_MEMORY = 1 << 22
"""Bytes from which on the summaries of the samples lie on disk while a log is written."""
_UNIX = 3
"""What a zip archive says of who wrote it; left out, it would be another number on another system."""
_MODELS = ("meta.inspect.model", "meta.sample.model", "model.name", "meta.model")
EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""What a zip archive can say at the earliest: the time of a log that has none of its own."""


class ExportError(Exception):
    """A log that cannot be written; text fit for users."""


@dataclass(frozen=True, slots=True)
class _Names:
    """What Inspect knows the transcripts by, in order: (id, epoch), no two of them alike; and who answered."""

    each: tuple[tuple[str, int], ...]
    model: str


Scored: TypeAlias = tuple[Trace, Sequence[TermScore]]
"""A transcript with what each term of the record says of it, as `audit.score` gives it."""


def write_inspect_log(
    record: AuditRecord,
    traces: Iterable[Trace],
    scored: Iterable[Scored],
    path: str | Path,
    *,
    created: datetime = EARLIEST,
    model: str | None = None,
) -> Path:
    """Writes the audit `record` of `traces` to `path`, whole or not at all; the ending says in which form.

    `traces` are gone through for their names first, and `scored` then, one by one, which are the same transcripts in
    the same order: no text is kept, but for what a `.eval` file says of all samples together, which lies on disk.
    `created` (with a time zone) is the time that the log carries: equal arguments give equal bytes. `model` is the one
    that answered, else what the transcripts name if they name one, else `none/none`.
    Raises ExportError for another ending and where the file cannot be written, ValueError where `scored` does not fit.
    """
    place = Path(path)
    if place.suffix.lower() not in SUFFIXES:
        raise ExportError(f"`{place}` ends in neither `.eval` nor `.json`, the two forms of a log of Inspect")
    if created.tzinfo is None:
        raise ValueError("`created` has no time zone")
    names = _names(islice(traces, record.transcripts))
    answered_by = model or names.model
    header = _header(record, names, created, answered_by)
    samples = _written(record, names, scored, created.isoformat(timespec="seconds"), answered_by)
    temporary = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        if place.suffix.lower() == ".eval":
            _write_packed(temporary, header, samples, created)
        else:
            _write_plain(temporary, header, samples)
        os.replace(temporary, place)
    except OSError as error:
        raise ExportError(f"`{place}` cannot be written: {(error.strerror or str(error)).lower()}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
    return place


# ------------------------------------------------------------------------------------------------------------- files
def _json(value: Any) -> bytes:
    """JSON as Inspect writes it, with NaN; half a surrogate pair, which no file can hold, becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, indent=2).encode("utf-8", "replace")


def _write_packed(path: Path, header: Mapping[str, Any], samples: Iterator[dict[str, Any]], created: datetime) -> None:
    moment = max(created.astimezone(UTC), EARLIEST).timetuple()

    def member(name: str) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name, (moment[0], moment[1], moment[2], moment[3], moment[4], moment[5]))
        info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, _UNIX
        return info

    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, SpooledTemporaryFile(_IN_MEMORY) as summaries:
        archive.writestr(
            member("_journal/start.json"), _json({key: header[key] for key in ("version", "eval", "plan")})
        )
        for number, sample in enumerate(samples):
            archive.writestr(member(f"samples/{sample['id']}_epoch_{sample['epoch']}.json"), _json(sample))
            summaries.write((b",\n" if number else b"[\n") + _json(_summary(sample)))
        summaries.write(b"\n]" if summaries.tell() else b"[]")
        for name in ("_journal/summaries/1.json", "summaries.json"):
            summaries.seek(0)
            with archive.open(member(name), "w", force_zip64=True) as file:
                shutil.copyfileobj(summaries, file)
        archive.writestr(member("header.json"), _json(header))


def _summary(sample: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: sample[key] for key in ("id", "epoch", "target", "metadata")}
    asked = sample["input"]
    if isinstance(asked, str):
        kept["input"] = asked[:_LONGEST_INPUT]
    else:
        kept["input"] = [{"role": each["role"], "content": each["content"][:_LONGEST_INPUT]} for each in asked]
    scores = {name: {"value": each["value"]} for name, each in sample["scores"].items()}
    return {**kept, "scores": scores, "completed": True, "message_count": len(sample["messages"])}


def _write_plain(path: Path, header: Mapping[str, Any], samples: Iterator[dict[str, Any]]) -> None:
    with path.open("wb") as file:
        file.write(_json(header).removesuffix(b"\n}") + b',\n  "samples": [')
        for number, sample in enumerate(samples):
            file.write((b"," if number else b"") + b"\n" + _json(sample))
        file.write(b"\n  ]\n}\n")


# ------------------------------------------------------------------------------------------------------------ header
def _header(record: AuditRecord, names: _Names, created: datetime, model: str) -> dict[str, Any]:
    moment = created.isoformat(timespec="seconds")
    epochs = max((epoch for _, epoch in names.each), default=1)
    count = len(names.each)
    spec = {
        "eval_id": _identifier(record, moment, "eval"),
        "run_id": _identifier(record, moment, "run"),
        "created": moment,
        "task": record.policy,
        "task_id": _identifier(record, moment, "task"),
        "task_version": record.policy_version,
        "task_attribs": {},
        "task_args": {},
        "dataset": {
            "name": Path(record.source).name,
            "location": record.source,
            "samples": count,
            "sample_ids": list(dict.fromkeys(name for name, _ in names.each)),
            "shuffled": False,
        },
        "model": model,
        "model_args": {},
        "config": {"epochs": epochs} if epochs > 1 else {},
        "packages": {"bylaw": _version()},
        "metadata": {"policy_digest": record.policy_digest},
        "scorers": [{"name": term.term, "options": {}, "metadata": _about(term)} for term in record.terms],
    }
    return {
        "version": 2,
        "status": "success" if record.complete else "cancelled",
        "eval": spec,
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {
            "total_samples": count,
            "completed_samples": count,
            "scores": [_result(term) for term in record.terms],
        },
        "stats": {"started_at": moment, "completed_at": moment, "model_usage": {}},
    }


def _identifier(record: AuditRecord, moment: str, kind: str) -> str:
    """22 characters, as Inspect has them, that are the same for the same audit."""
    return hashlib.sha256("\0".join((kind, record.policy_digest, record.source, moment)).encode()).hexdigest()[:22]


def _version() -> str:
    from importlib.metadata import version

    return version("bylaw")


def _about(term: TermAudit) -> dict[str, Any]:
    return {
        "rule": term.rule,
        "title": term.title,
        "kind": term.kind,
        "level": term.level,
        "clause": term.clause,
        "location": term.location,
    }


def _result(term: TermAudit) -> dict[str, Any]:
    values: dict[str, float | None] = {}
    if term.rate is not None:
        values = {"violation_rate": term.rate, "worst_case": term.worst, "best_case": term.best}
        interval = term.interval
    else:
        values = {"mean": term.mean}
        interval = term.mean_interval
    if interval is not None:
        values |= {"interval_low": interval.low, "interval_high": interval.high}
    values |= {"bound": term.bound, "within": None if term.within is None else float(term.within)}
    metrics = {
        name: {"name": name, "value": value, "params": {}} for name, value in values.items() if value is not None
    }
    return {
        "name": term.term,
        "scorer": term.term,
        "scored_samples": term.applicable,
        "unscored_samples": term.unscored + term.not_applicable,
        "params": {},
        "metrics": metrics,
        "metadata": {**_about(term), "unscored": term.unscored, "not_applicable": term.not_applicable},
    }


# ----------------------------------------------------------------------------------------------------------- samples
def _names(traces: Iterable[Trace]) -> _Names:
    """The names of transcripts. Answers to one prompt under one id are epochs of one sample; an id that two prompts
    share is told apart by a number."""
    taken: dict[tuple[str, int], int] = {}
    prompts: dict[str, bytes] = {}
    models: set[Any] = set()
    found = []
    for number, trace in enumerate(traces, 1):
        given, epoch = _given(trace, number)
        prompt, name, again = key_of(_asked(trace.messages)), given, 1
        while prompts.setdefault(name, prompt) != prompt:
            again += 1
            name = f"{given} ({again})"
        if (name, epoch) in taken:
            epoch = taken[name, 0] + 1
        taken[name, epoch] = epoch
        taken[name, 0] = max(taken.get((name, 0), 0), epoch)
        found.append((name, epoch))
        models.add(next((trace.facts[fact] for fact in _MODELS if trace.facts.get(fact)), None))
    only = models.pop() if len(models) == 1 else None
    return _Names(tuple(found), only if isinstance(only, str) else NO_MODEL)


def _given(trace: Trace, number: int) -> tuple[str, int]:
    epoch = trace.facts.get(f"{_OURS}epoch")
    name, repeat = trace.id, 1
    if isinstance(epoch, (int, float)) and not isinstance(epoch, bool) and epoch >= 1:
        repeat = int(epoch)
        name = name.removesuffix(f"_epoch_{repeat}")
    name = name or f"transcript {number}"
    return "".join(character if character.isprintable() else "_" for character in name[:_LONGEST_ID]), repeat


def _asked(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The conversation up to the last message of the user; all of it where there is none."""
    last = max((place + 1 for place, each in enumerate(messages) if each.role == "user"), default=len(messages))
    return messages[:last]


def _written(
    record: AuditRecord, names: _Names, scored: Iterable[Scored], moment: str, model: str
) -> Iterator[dict[str, Any]]:
    for (name, epoch), (trace, row) in zip(names.each, scored, strict=True):
        said = _messages(trace.messages)
        asked = _messages(_asked(trace.messages))
        only = asked[0] if len(asked) == 1 and asked[0]["role"] == "user" else None
        scores = {term.term: _score(term, found, trace) for term, found in zip(record.terms, row, strict=True)}
        earlier = {
            path.removeprefix(f"{_OURS}scores."): {"value": value}
            for path, value in trace.facts.items()
            if path.startswith(f"{_OURS}scores.")
        }
        target, error = trace.facts.get(f"{_OURS}target"), trace.facts.get(f"{_OURS}error")
        sample = {
            "id": name,
            "epoch": epoch,
            "input": asked if only is None else only["content"],
            "target": target if isinstance(target, str) else "",
            "messages": said,
            "output": _output(trace, said, model),
            "scores": {**earlier, **scores},
            "metadata": {path: value for path, value in trace.facts.items() if not path.startswith(_OURS)},
            "store": {},
            "events": [_told(scores, moment)],
            "attachments": {},
        }
        if isinstance(error, str):
            sample["error"] = {"message": error, "traceback": "", "traceback_ansi": ""}
        yield sample


def _told(scores: Mapping[str, Mapping[str, Any]], moment: str) -> dict[str, Any]:
    """The verdicts as the one event of a sample: it is what the viewer opens a sample with."""
    verdicts: dict[str, list[str]] = {}
    for name, each in scores.items():
        words = each["explanation"].partition(": ")[2]
        verdicts.setdefault(each["metadata"]["verdict"], []).append(f"{name}: {words}" if words else name)
    return {"event": "info", "timestamp": moment, "working_start": 0, "source": "bylaw", "data": verdicts}


def _output(trace: Trace, said: Sequence[dict[str, Any]], model: str) -> dict[str, Any]:
    if trace.response is None:
        withheld = [{"message": {"role": "assistant", "content": ""}, "stop_reason": FILTER}]
        is_filtered = why_withheld(trace) == FILTERED
        return {"model": model, "choices": withheld if is_filtered else [], "completion": ""}
    return {
        "model": model,
        "choices": [{"message": said[-1], "stop_reason": "unknown"}],
        "completion": trace.response,
    }


def _score(term: TermAudit, found: TermScore, trace: Trace) -> dict[str, Any]:
    spans = [[extent.start, extent.end] for extent in found.evidence]
    quotes = [(trace.response or "")[start:end][:_LONGEST_QUOTE] for start, end in spans]
    verdict = str(found.verdict)
    value: str | float = math.nan
    if found.verdict not in (Verdict.UNSCORED, Verdict.NOT_APPLICABLE) and found.value is not None:
        is_quantity = term.rate is None and term.mean is not None
        value = found.value if is_quantity else "I" if found.verdict is Verdict.VIOLATED else "C"
    why = found.reason or " … ".join(quotes)
    score: dict[str, Any] = {
        "value": value,
        "explanation": f"{verdict}: {why}" if why else verdict,
        "metadata": {"verdict": verdict, "spans": spans, "rule": term.rule, "location": term.location},
    }
    if quotes:
        score["answer"] = " … ".join(quotes)
    if isinstance(value, float) and math.isnan(value):
        score["reason"] = verdict if found.verdict is Verdict.NOT_APPLICABLE else (found.reason or verdict)
    return score


# ---------------------------------------------------------------------------------------------------------- messages
def _messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Messages as Inspect has them: calls stand beside the text before them, outputs know the id of their call."""
    found: list[dict[str, Any]] = []
    waiting: dict[str, list[str]] = {}
    for number, message in enumerate(messages, 1):
        if message.kind == "call":
            identifier = f"call_{number}"
            waiting.setdefault(message.tool, []).append(identifier)
            given = dict(message.arguments) or ({"input": message.content} if message.content else {})
            call = {"id": identifier, "function": message.tool, "arguments": given, "type": "function"}
            last = found[-1] if found else None
            if last is None or last["role"] != "assistant" or ("tool_calls" not in last and not last["content"]):
                found.append(last := {"role": "assistant", "content": ""})
            last.setdefault("tool_calls", []).append(call)
        elif message.kind == "output":
            output = {"role": "tool", "content": message.content}
            if message.tool:
                output["function"] = message.tool
            if waiting.get(message.tool):
                output["tool_call_id"] = waiting[message.tool].pop(0)
            found.append(output)
        elif message.role == "developer":
            found.append({"role": "system", "content": message.content, "metadata": {"bylaw_role": "developer"}})
        else:
            found.append({"role": message.role, "content": message.content})
    return found
