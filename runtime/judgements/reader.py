"""Reads judgements: JSON lines that say which of several answers to one prompt is better.

    {"prompt": ..., "chosen": ..., "rejected": ...}           a pair; `margin` (nats) and `weight` (how often) may stand
    {"prompt": ..., "responses": [...], "tie": true}          answers that are equally good
    {"prompt": ..., "ranking": [[best, ...], [next, ...]]}    any number of answers; those of one list are equally good
    {"prompt": ..., "response": ..., "class": "ideal"}        one answer; an order of classes says which is better

`prompt` is a text or a list of messages (`messages` does too). An answer is a text, a list of messages (the answer
alone, or the whole conversation), or an object {"response": ..., "labels": {...}}. Labels say what people saw in an
answer: concept -> true, false or a score from 0 to 1. What else a line has becomes facts, as in transcripts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bylaw.runtime.audit.conversation import decode, facts_of, messages_of
from bylaw.runtime.audit.inputs import (
    Limits,
    Lines,
    TranscriptError,
    Unreadable,
    check_path,
    quote,
    quote_all,
    require_text,
    suggestion,
)
from bylaw.runtime.record import InputProblem
from bylaw.spec.functions import edit_distance
from bylaw.spec.trace import FactValue, Message, Trace

SUFFIXES = (".jsonl", ".ndjson")
LIMITS = Limits(file_bytes=1_000_000_000)
MOST_JUDGEMENTS = 1_000_000
MOST_ANSWERS = 64
"""Answers of one line: a ranking of n makes n(n-1)/2 pairs."""
MOST_MESSAGES = 1_000
MOST_KEYS = 1_000
"""Different keys that are compared with the known ones."""
LARGEST_MARGIN = 1_000.0
"""Nats."""
LARGEST_WEIGHT = 1e9

_FORMS = ("chosen", "responses", "ranking", "response")
_SPELLINGS = {"completion": "response", "propositions": "labels"}
"""What other files call the same."""
_USED = frozenset(
    ("prompt", "messages", "system", "chosen", "rejected", "responses", "tie", "ranking", "response", "class", "labels")
) | {"margin", "weight", "prompt_labels", "facts", "id", *_SPELLINGS}


class JudgementError(TranscriptError):
    """A file of judgements that cannot be used at all; text fit for users."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one line says: answers to one conversation in tiers, best first; those of one tier are equally good.

    `context` is the conversation that they answer. `margin` is by how much a tier is better than the next (nats), None
    where the line does not say. `weight` is how many judgements the line stands for.
    """

    place: str
    context: tuple[Message, ...]
    tiers: tuple[tuple[Trace, ...], ...]
    margin: float | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class LabelledAnswer:
    """One answer, and the name of the class that somebody put it in (None: it is to be worked out)."""

    place: str
    context: tuple[Message, ...]
    answer: Trace
    kind: str | None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Judgements:
    """The judgements of a file in order, the answers that are only labelled, and the lines that could not be read.

    `warnings` are about keys that became facts but look like slips of the pen, one a key.
    """

    judgements: tuple[Judgement, ...]
    labelled: tuple[LabelledAnswer, ...]
    problems: tuple[InputProblem, ...]
    warnings: tuple[str, ...] = ()


def read_judgements(path: str | Path, limits: Limits = LIMITS, shown: str | None = None) -> Judgements:
    """The judgements of a `.jsonl` or `.ndjson` file; `shown` is what places call it, its name if None.

    A line that cannot be read is left out and named by a problem. Raises TranscriptError for a file that cannot be
    read, that is too large, or in which not one line can be read.
    """
    path = Path(path)
    check_path(path, SUFFIXES)
    found: list[Judgement | LabelledAnswer] = []
    problems: list[InputProblem] = []
    slips: dict[str, str] = {}
    uncounted = last = 0
    for line, item in _items(path, limits, path.name if shown is None else shown, slips):
        if not isinstance(item, str):
            found.append(item)
        elif len(problems) < limits.problems:
            problems.append(InputProblem(str(path), line, item))
        else:
            uncounted, last = uncounted + 1, line
        if len(found) > MOST_JUDGEMENTS:
            raise JudgementError(f"{quote(str(path))} has more than {MOST_JUDGEMENTS:,} judgements; split it")
    if uncounted:
        problems.append(InputProblem(str(path), last, f"{uncounted:,} more lines up to this one could not be read"))
    if not found:
        why = f": line {problems[0].line}: {problems[0].message}" if problems else ": it is empty"
        raise JudgementError(f"there is no judgement to read in {quote(str(path))}{why}")
    return Judgements(
        tuple(each for each in found if isinstance(each, Judgement)),
        tuple(each for each in found if isinstance(each, LabelledAnswer)),
        tuple(problems),
        tuple(f"{where}: {quote(key)} was read as a fact{_near(key)}" for key, where in slips.items() if where),
    )


def _items(
    path: Path, limits: Limits, shown: str, slips: dict[str, str]
) -> Iterator[tuple[int, Judgement | LabelledAnswer | str]]:
    """What each line says, or why it cannot be read. `slips` gets unknown keys: where each stands first if it
    looks like a known one, else an empty text."""
    try:
        with path.open("rb") as file:
            lines = Lines(file, limits)
            while True:
                try:
                    line = next(lines).strip()
                    if line:
                        yield lines.number, _line(line, f"{shown}:{lines.number}", limits, slips)
                except StopIteration:
                    return
                except Unreadable as error:
                    yield lines.number, str(error)
    except OSError as error:
        raise JudgementError(f"{quote(str(path))} cannot be read: {error.strerror or error}") from error


# ---------------------------------------------------------------------------------------------------------- one line
@dataclass(frozen=True, slots=True)
class _Frame:
    """What the answers of a line share."""

    context: tuple[Message, ...] | None
    prompt: str | None
    facts: Mapping[str, FactValue]
    scores: Mapping[tuple[str, str], float]
    place: str


def _line(line: bytes, place: str, limits: Limits, slips: dict[str, str]) -> Judgement | LabelledAnswer:
    data = decode(line)
    if not isinstance(data, dict):
        raise Unreadable("the line is not a JSON object")
    for key in data:
        if key not in _USED and key not in slips and len(slips) < MOST_KEYS:
            slips[key] = place if _near(key) else ""
    data = {_SPELLINGS.get(key, key) if _SPELLINGS.get(key) not in data else key: item for key, item in data.items()}
    form = _form(data)
    frame = _frame(data, place, limits)
    weight = _amount(data, "weight", LARGEST_WEIGHT)
    if weight == 0:
        raise Unreadable("`weight` is 0, so the line says nothing; leave it out")
    if form == "response":
        return _labelled(data, frame, 1.0 if weight is None else weight)
    if "labels" in data:
        example = '{"response": ..., "labels": ...}'
        raise Unreadable(f"`labels` are about one answer; write that answer as {example}")
    margin = _amount(data, "margin", LARGEST_MARGIN)
    if margin is not None and form != "chosen":
        raise Unreadable("`margin` says how much better `chosen` is than `rejected`; this line has none of the two")
    named = {"chosen": _pair, "responses": _tie, "ranking": _ranking}[form](data)
    answers = [[_answer(value, name, frame) for name, value in tier] for tier in named]
    context = answers[0][0][0]
    for tier, names in zip(answers, named, strict=True):
        for (each, _), (name, _) in zip(tier, names, strict=True):
            if each != context:
                raise Unreadable(f"`{named[0][0][0]}` and `{name}` answer different conversations")
    tiers = tuple(tuple(trace for _, trace in tier) for tier in answers)
    said = [trace.messages for tier in tiers for trace in tier]
    if len(set(said)) < len(said):
        raise Unreadable("two of its answers are the same text, which is neither better nor worse than itself")
    return Judgement(place, context, tiers, margin, 1.0 if weight is None else weight)


def _near(key: str) -> str:
    """`; did you mean ...?` where a known key is at most two letters away, of a short one at most one; else nothing.

    Names of three letters and fewer are near to too many words to say anything.
    """
    folded = key.casefold()
    for known in sorted(_USED):
        most = min(2, len(known) // 3) if len(known) > 3 else 0
        if most and abs(len(known) - len(key)) <= most and edit_distance.value(folded, known) <= most:
            return f"; did you mean {quote(known)}?"
    return ""


def _form(data: Mapping[str, Any]) -> str:
    """Which of the forms a line has."""
    found = [form for form in _FORMS if form in data]
    if len(found) > 1:
        raise Unreadable(f"it has both `{found[0]}` and `{found[1]}`; a line is one judgement")
    if not found:
        if "rejected" in data:
            raise Unreadable("it has `rejected` without `chosen`")
        near = next((said for key in data if (said := suggestion(str(key), (*_FORMS, "rejected")))), "")
        raise Unreadable(f"it has none of {quote_all(_FORMS)}; its keys are {quote_all(map(str, data))}{near}")
    return found[0]


_Named = list[list[tuple[str, Any]]]
"""The answers of a line in tiers, each with what to call it in a message."""


def _pair(data: Mapping[str, Any]) -> _Named:
    if "rejected" not in data:
        meant = next((key for key in map(str, data) if key not in _USED and suggestion(key, ("rejected",))), None)
        raise Unreadable(f"it has `chosen` without `rejected`{'' if meant is None else f'; is {quote(meant)} a slip?'}")
    return [[("chosen", data["chosen"])], [("rejected", data["rejected"])]]


def _tie(data: Mapping[str, Any]) -> _Named:
    if data.get("tie") is not True:
        raise Unreadable('`responses` are in no order; add `"tie": true` when they are equally good, or use `ranking`')
    given = data["responses"]
    if not isinstance(given, list) or not 2 <= len(given) <= MOST_ANSWERS:
        raise Unreadable(f"`responses` is not a list of 2 to {MOST_ANSWERS} answers")
    return [[(f"responses[{number}]", item) for number, item in enumerate(given)]]


def _ranking(data: Mapping[str, Any]) -> _Named:
    given = data["ranking"]
    if not isinstance(given, list) or not all(isinstance(tier, list) and tier for tier in given):
        raise Unreadable("`ranking` is not a list of lists of answers, the best list first")
    tiers = [
        [(f"ranking[{number}][{place}]", item) for place, item in enumerate(tier)] for number, tier in enumerate(given)
    ]
    if not 2 <= sum(map(len, tiers)) <= MOST_ANSWERS:
        raise Unreadable(f"`ranking` has not 2 to {MOST_ANSWERS} answers")
    return tiers


def _labelled(data: Mapping[str, Any], frame: _Frame, weight: float) -> LabelledAnswer:
    kind = data.get("class")
    if kind is not None and (not isinstance(kind, str) or not kind.strip()):
        raise Unreadable("`class` is not the name of a class")
    if "margin" in data:
        raise Unreadable("`margin` says how much better one answer is than another; this line has one answer")
    value = data["response"]
    if "labels" in data:
        if isinstance(value, dict):
            raise Unreadable("`labels` are given twice: in the line and in `response`")
        value = {"response": value, "labels": data["labels"]}
    context, answer = _answer(value, "response", frame)
    return LabelledAnswer(frame.place, context, answer, kind.strip() if kind else None, weight)


def _frame(data: Mapping[str, Any], place: str, limits: Limits) -> _Frame:
    """The conversation before the answers, and the facts."""
    system = data.get("system")
    if system is not None and not isinstance(system, str):
        raise Unreadable("`system` is not a text")
    before = (Message("system", require_text(system, "`system`")),) if system else ()
    given = data.get("prompt")
    context: tuple[Message, ...] | None = None
    if isinstance(given, str):
        context = (*before, Message("user", require_text(given, "`prompt`")))
    elif given is not None:
        context = (*before, *_messages(given, "prompt"))
    elif "messages" in data:
        context = (*before, *_messages(data["messages"], "messages"))
    if context is not None and context[-1].role not in ("user", "tool"):
        raise Unreadable(f"the conversation ends with the {context[-1].role}; an answer follows the user")
    facts, _ = facts_of(data, set(_USED), limits)  # a list is no fact; a rule that reads one is unscored
    if "facts" in data:
        if not isinstance(data["facts"], dict):
            raise Unreadable("`facts` is not an object")
        more, left_out = facts_of(data["facts"], set(), limits)
        if left_out:
            raise Unreadable(left_out[0].removesuffix(" and was left out"))
        facts |= more
    scores: dict[tuple[str, str], float] = {}
    asked = [message.content for message in context or () if message.role == "user"]
    for concept, score in _labels(data.get("prompt_labels"), "prompt_labels").items():
        if not asked:
            raise Unreadable("`prompt_labels` are about a prompt, and there is none")
        scores[concept, asked[-1]] = score
    return _Frame(context, given if isinstance(given, str) else None, facts, scores, place)


def _messages(value: Any, name: str) -> tuple[Message, ...]:
    if isinstance(value, list) and len(value) > MOST_MESSAGES:
        raise Unreadable(f"`{name}` has more than {MOST_MESSAGES:,} messages")
    if not isinstance(value, list) or not value:
        raise Unreadable(f"`{name}` is neither a text nor a list of messages")
    try:
        return messages_of(value)
    except Unreadable as error:
        raise Unreadable(f"`{name}`: {error}") from None


def _answer(value: Any, name: str, frame: _Frame) -> tuple[tuple[Message, ...], Trace]:
    """The conversation that an answer is about, and the two together."""
    labels: Any = None
    if isinstance(value, dict):
        unknown = sorted(set(map(str, value)) - {"response", "labels", "completion", "propositions"})
        if unknown or not {"response", "completion"} & set(value):
            raise Unreadable(f'`{name}` is not an object with `response` and `labels`, as in {{"response": "..."}}')
        labels = value.get("labels", value.get("propositions"))
        value = value.get("response", value.get("completion"))
    messages = _said(value, name, frame)
    context = messages[: _end_of_context(messages)]
    last = messages[-1]
    if last.role != "assistant" or last.tool:
        raise Unreadable(f"`{name}` does not end with an answer of the assistant")
    scores = dict(frame.scores)
    for concept, score in _labels(labels, f"labels of {name}").items():
        if scores.setdefault((concept, last.content), score) != score:
            raise Unreadable(f"`{concept}` is labelled twice for one text, once in the prompt and once in the answer")
    return context, Trace(messages, frame.facts, frame.place, scores)


def _said(value: Any, name: str, frame: _Frame) -> tuple[Message, ...]:
    """The whole conversation with an answer, whether the answer is given with what came before it or not."""
    if isinstance(value, str):
        value = require_text(value, f"`{name}`")
        if frame.context is None:
            raise Unreadable("it has neither `prompt` nor `messages`, and its answers are no conversations")
        return (*frame.context, Message("assistant", value))
    messages = _messages(value, name)
    if messages[0].role in ("assistant", "tool"):
        if frame.context is None:
            raise Unreadable(f"`{name}` begins with the assistant, and there is no `prompt`")
        return (*frame.context, *messages)
    context = messages[: _end_of_context(messages)]
    if frame.prompt is not None:
        if frame.prompt not in [message.content for message in context if message.role == "user"]:
            raise Unreadable(f"`{name}` is a conversation in which `prompt` does not stand")
    elif frame.context is not None and frame.context != context:
        raise Unreadable(f"`{name}` is a conversation that does not begin with `prompt`")
    return messages


def _end_of_context(messages: tuple[Message, ...]) -> int:
    """How many messages come before the answer: all up to the last one of the user."""
    return max((place + 1 for place, message in enumerate(messages) if message.role == "user"), default=0)


def _labels(value: Any, name: str) -> dict[str, float]:
    """Concept -> score from 0 to 1."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable(f'`{name}` are not an object such as {{"CONCEPT": true}}')
    found: dict[str, float] = {}
    for concept, score in value.items():
        if score is None:
            continue  # not known: the same as leaving it out
        if not isinstance(score, (bool, int, float)) or not 0 <= score <= 1:
            raise Unreadable(f"the label {quote(concept)} is neither true, false nor a score from 0 to 1")
        found[concept] = float(score)
    return found


def _amount(data: Mapping[str, Any], name: str, largest: float) -> float | None:
    """A number that is not negative; None where there is none."""
    value = data.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise Unreadable(f"`{name}` is not a number from 0 on")
    if value > largest:
        raise Unreadable(f"`{name}` is larger than {largest:,.0f}")
    return float(value)
