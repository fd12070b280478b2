"""Texts with what people said of them: the examples of a concept in a policy, and files of labels.

A line of a `.jsonl` or `.ndjson` file is

    {"text": ..., "labels": {"CONCEPT": true, ...}}

`response` and `completion` mean the same as `text`, `propositions` the same as `labels`; `prompt` is what the text
answers, and {"messages": [...], "labels": ...} is a whole conversation, of which the last message is labelled. A `.csv`
file has a column of that name for the text and a column for each concept, with true or false (yes or no, 1 or 0) in it.
What is not known is `null`, or an empty cell. An empty text can be labelled too: models give empty answers.

Texts of one conversation are one group: those with the same `group`, else those whose conversations begin with the same
message. A part that cannot be read is left out, named by file and line, and the rest is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bylaw.runtime.audit.conversation import decode, messages_of
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
from bylaw.runtime.concepts.label_tables import ACCEPTED, TEXTS, label_rows
from bylaw.runtime.record import InputProblem
from bylaw.spec.expression import Concept
from bylaw.spec.trace import Message

LIMITS = Limits(file_bytes=1_000_000_000)
MOST_TEXTS = 200_000
"""Labelled texts of one file."""
MOST_NAMES = 1_000
"""Different names of a file that are compared with those of concepts."""
_JSON_LINES, _TABLES, _PLAIN = (".jsonl", ".ndjson"), (".csv",), (".txt",)


class LabelError(TranscriptError):
    """A file of labels that cannot be used at all; text fit for users."""


@dataclass(frozen=True, slots=True)
class LabelledText:
    """`expresses`: whether people said that the text does. `group`: texts of one conversation, or variants of one text,
    have the same, and are never on both sides of a fold. `place`: file and line. `prompt`: what the text answers."""

    text: str
    expresses: bool
    group: str = ""
    place: str = ""
    prompt: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """The labelled texts of a file by the full name of the concept, in order; the parts that could not be read; and
    warnings about names that no concept has."""

    texts: Mapping[str, tuple[LabelledText, ...]]
    problems: tuple[InputProblem, ...] = ()
    warnings: tuple[str, ...] = ()


def own_labels(concept: Concept) -> tuple[LabelledText, ...]:
    """The examples that an author wrote: `like` and `unlike`."""
    told = ((concept.like, True), (concept.unlike, False))
    return tuple(
        LabelledText(text, expresses, place=f"`{'like' if expresses else 'unlike'}` of {concept.name}")
        for texts, expresses in told
        for text in texts
    )


def read_labels(
    path: str | Path, concepts: Sequence[str], *, limits: Limits = LIMITS, shown: str | None = None
) -> Labels:
    """The labels of a `.jsonl`, `.ndjson` or `.csv` file; `shown` is what places call it, its name if None.

    `concepts` are full names; a file may leave away what stands before the last dot, where one concept is meant then.
    Raises LabelError (or another TranscriptError) for a file that cannot be read, is too large, or says nothing of any
    of these concepts.
    """
    path = Path(path)
    check_path(path, (*_JSON_LINES, *_TABLES))
    names, named = _Names.of(concepts), path.name if shown is None else shown
    found: dict[str, list[LabelledText]] = {}
    problems: list[InputProblem] = []
    texts = empty = uncounted = last = 0
    for line, item in _items(path, limits, named):
        try:
            if isinstance(item, str):
                raise Unreadable(item)
            told = names.labels(item, line)
        except Unreadable as error:
            uncounted, last = uncounted + (len(problems) >= limits.problems), line
            if len(problems) < limits.problems:
                problems.append(InputProblem(str(path), line, str(error)))
            continue
        texts, empty = texts + 1, empty + (bool(told) and not item.text.strip())
        if texts > MOST_TEXTS:
            raise LabelError(f"{quote(str(path))} has more than {MOST_TEXTS:,} labelled texts; split it")
        for concept, expresses in told.items():
            each = LabelledText(item.text, expresses, item.group, item.place, item.prompt)
            found.setdefault(concept, []).append(each)
    if uncounted:
        problems.append(InputProblem(str(path), last, f"{uncounted:,} more parts up to this line could not be read"))
    if not texts:
        why = f": line {problems[0].line}: {problems[0].message}" if problems else ": it is empty"
        raise LabelError(f"there is no labelled text to read in {quote(str(path))}{why}")
    if not found:
        said = f"it speaks of {quote_all(names.unknown)}" if names.unknown else "it has no labels"
        raise LabelError(f"{quote(str(path))} says nothing of {quote_all(concepts)}: {said}{names.nearest()}")
    warnings = names.warnings(named)
    if empty:
        said = "1 labelled text is" if empty == 1 else f"{empty:,} labelled texts are"
        warnings = (*warnings, f"{named}: {said} empty (models give empty answers, so they count)")
    return Labels({name: tuple(each) for name, each in found.items()}, tuple(problems), warnings)


def read_texts(
    path: str | Path, *, limits: Limits = LIMITS, shown: str | None = None
) -> tuple[tuple[LabelledText, ...], tuple[InputProblem, ...]]:
    """The texts of such a file whether they have labels or not, and of a `.txt` file one on each line; with the parts
    that could not be read. Their `expresses` says nothing.

    Raises LabelError (or another TranscriptError) as `read_labels`.
    """
    path = Path(path)
    check_path(path, (*_JSON_LINES, *_TABLES, *_PLAIN))
    found: list[LabelledText] = []
    problems: list[InputProblem] = []
    for line, item in _items(path, limits, path.name if shown is None else shown, is_labelled=False):
        if isinstance(item, _Item):
            found.append(LabelledText(item.text, False, item.group, item.place, item.prompt))
        elif len(problems) < limits.problems:
            problems.append(InputProblem(str(path), line, item))
        if len(found) > MOST_TEXTS:
            raise LabelError(f"{quote(str(path))} has more than {MOST_TEXTS:,} texts; split it")
    if not found:
        why = f": line {problems[0].line}: {problems[0].message}" if problems else ": it is empty"
        raise LabelError(f"there is no text to read in {quote(str(path))}{why}")
    return tuple(found), tuple(problems)


def joined(
    concepts: Sequence[Concept], read: Iterable[Labels]
) -> tuple[dict[str, tuple[LabelledText, ...]], list[str]]:
    """(the labels of files by concept, warnings): each text once, and none that is labelled both ways.

    A text that a concept has as an example is left out, since the example already says it. A warning says how many.
    """
    files = list(read)
    found: dict[str, tuple[LabelledText, ...]] = {}
    warnings: list[str] = []
    again: dict[str, None] = {}
    for concept in concepts:
        own = {each.text.strip(): each.expresses for each in own_labels(concept)}
        kept: dict[tuple[str, str], LabelledText] = {}
        both: dict[tuple[str, str], str] = {}
        against: list[str] = []
        for each in (each for file in files for each in file.texts.get(concept.name, ())):
            key = each.text.strip(), each.prompt
            if own.get(key[0], each.expresses) != each.expresses:
                against.append(each.place)
            elif key[0] in own or (key in kept and kept[key].expresses == each.expresses):
                again.setdefault(each.place)
            if key[0] in own:
                continue
            if kept.setdefault(key, each).expresses != each.expresses:
                both.setdefault(key, f"{kept[key].place} and {each.place}")
        found[concept.name] = tuple(each for key, each in kept.items() if key not in both)
        if both:
            warnings.append(f"{_texts(len(both))} both ways for `{concept.name}` and left out: {_some(both.values())}")
        if against:
            words = f"{_texts(len(against))} otherwise than an example of `{concept.name}`, which counts"
            warnings.append(f"{words}: {_some(against)}")
    if again:
        said = "1 labelled text repeats" if len(again) == 1 else f"{len(again):,} labelled texts repeat"
        warnings.append(f"{said} an earlier one or an example of the policy; each text counts once: {_some(again)}")
    return found, warnings


def _texts(count: int) -> str:
    return "1 text is labelled" if count == 1 else f"{count:,} texts are labelled"


def _some(places: Iterable[str], most: int = 3) -> str:
    all_of_them = list(places)
    more = len(all_of_them) - most
    return "; ".join(all_of_them[:most]) + (f"; and {more:,} more" if more > 0 else "")


# ------------------------------------------------------------------------------------------------------------- names
@dataclass(slots=True)
class _Names:
    """Which concept a name in a file means; `unknown` are the names that mean none, each with its first line."""

    full: Mapping[str, str]
    known: tuple[str, ...]
    unknown: dict[str, int] = field(default_factory=dict)

    @staticmethod
    def of(concepts: Sequence[str]) -> _Names:
        short: dict[str, list[str]] = {}
        for name in concepts:
            short.setdefault(name.rpartition(".")[2], []).append(name)
        once = {name: meant[0] for name, meant in short.items() if len(meant) == 1}
        return _Names({**once, **{name: name for name in concepts}}, tuple(concepts))

    def labels(self, item: _Item, line: int) -> dict[str, bool]:
        """Full name -> label. Raises Unreadable for a label that is none, and for a concept that is labelled twice."""
        found: dict[str, bool] = {}
        for name, value in item.labels.items():
            concept = self.full.get(name)
            if concept is None:
                if len(self.unknown) < MOST_NAMES:
                    self.unknown.setdefault(name, line)
                continue
            expresses = _label(name, value)
            if expresses is None:
                continue
            if found.setdefault(concept, expresses) != expresses:
                raise Unreadable(f"`{concept}` is labelled twice, under two names")
        return found

    def nearest(self) -> str:
        """`; did you mean ...?` for the first unknown name that is near to a known one."""
        return next((said for name in self.unknown if (said := suggestion(name, self.full))), "")

    def warnings(self, shown: str) -> tuple[str, ...]:
        """A warning for each unknown name that is near to a concept's; one for all others together."""
        near = {name: said for name in self.unknown if (said := suggestion(name, self.full))}
        far = [name for name in self.unknown if name not in near]
        each = [
            f"{shown}:{self.unknown[name]}: no concept is called {quote(name)}{said}" for name, said in near.items()
        ]  # fmt: skip
        return (*each, *([f"{shown}: no concept is called {quote_all(far)}; left aside"] if far else []))


def _label(name: str, value: object) -> bool | None:
    """A label, or None where it is not known. Raises Unreadable."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    raise Unreadable(f"the label {quote(name)} is neither true nor false: {ACCEPTED}")


# ------------------------------------------------------------------------------------------------------------- files
@dataclass(frozen=True, slots=True)
class _Item:
    """One text, and what a line says of it under the names of the file."""

    text: str
    prompt: str
    group: str
    place: str
    labels: Mapping[str, object]


def _items(path: Path, limits: Limits, shown: str, is_labelled: bool = True) -> Iterator[tuple[int, _Item | str]]:
    """What each line says, or why it cannot be read."""
    try:
        with path.open("rb") as file:
            lines = Lines(file, limits)
            suffix = path.suffix.lower()
            if suffix in _TABLES:
                yield from _rows(lines, limits, shown)
            else:
                yield from _lines(lines, shown, _plain if suffix in _PLAIN else _labelled if is_labelled else _text)
    except OSError as error:
        raise LabelError(f"{quote(str(path))} cannot be read: {error.strerror or error}") from error


def _lines(lines: Lines, shown: str, read: Callable[[bytes, str], _Item]) -> Iterator[tuple[int, _Item | str]]:
    while True:
        try:
            line = next(lines).strip()
            if line:
                yield lines.number, read(line, f"{shown}:{lines.number}")
        except StopIteration:
            return
        except Unreadable as error:
            yield lines.number, str(error)


def _plain(line: bytes, place: str) -> _Item:
    try:
        return _Item(line.decode("utf-8"), "", "", place, {})
    except UnicodeDecodeError:
        raise Unreadable("the line is not UTF-8 text") from None


def _labelled(line: bytes, place: str) -> _Item:
    data = _object(line)
    labels = [data[key] for key in ("labels", "propositions") if key in data]
    if len(labels) != 1:
        wrong = "" if _has_text(data) else f"; it has no `text` and no `messages`{_misspelt(data, TEXTS)}"
        none = f"it has no `labels`{_misspelt(data, ('labels',))}{wrong}"
        raise Unreadable("it has both `labels` and `propositions`" if labels else none)
    if not isinstance(labels[0], dict):
        raise Unreadable('`labels` are not an object such as {"CONCEPT": true}')
    return replace(_item(data, place), labels=labels[0])


def _text(line: bytes, place: str) -> _Item:
    return _item(_object(line), place)


def _object(line: bytes) -> dict[str, Any]:
    data = decode(line)
    if not isinstance(data, dict):
        raise Unreadable("the line is not a JSON object")
    return data


def _item(data: Mapping[str, Any], place: str) -> _Item:
    conversation = _conversation(data)
    text, before = conversation[-1].content, conversation[:-1]
    asked = [message.content for message in before if message.role == "user"]
    return _Item(text, asked[-1] if asked else "", _group(data.get("group"), before), place, {})


def _conversation(data: Mapping[str, Any]) -> tuple[Message, ...]:
    """What was said, the labelled text last."""
    texts = [key for key in (*TEXTS, "messages") if key in data]
    if len(texts) != 1:
        if texts:
            raise Unreadable(f"it has both `{texts[0]}` and `{texts[1]}`; a line is about one text")
        raise Unreadable(f"it has no `text` and no `messages`{_misspelt(data, TEXTS)}")
    if texts[0] == "messages":
        messages = _messages(data["messages"], "messages")
        if messages[-1].role != "assistant":
            raise Unreadable(f"the conversation has no answer: its last message is of {quote(messages[-1].role)}")
        return messages
    prompt = data.get("prompt")
    before = () if prompt is None or prompt == "" else _messages(prompt, "prompt", "user")
    return (*before, *_messages(data[texts[0]], texts[0], "assistant"))


def _has_text(data: Mapping[str, Any]) -> bool:
    return any(key in data for key in (*TEXTS, "messages"))


def _misspelt(data: Mapping[str, Any], known: Sequence[str]) -> str:
    """`` but `txt`; did you mean `text`?`` for the first key that is near to a known one, else nothing."""
    return next((f", but {quote(key)}{said}" for key in data if (said := suggestion(key, known))), "")


def _messages(value: Any, name: str, role: str | None = None) -> tuple[Message, ...]:
    """A list of messages, or one text said by `role`."""
    if isinstance(value, str) and role is not None:
        return (Message(role, require_text(value, f"`{name}`")),)
    if not isinstance(value, list):
        raise Unreadable(f"`{name}` is neither a text nor a list of messages")
    try:
        return messages_of(value)
    except Unreadable as error:
        raise Unreadable(f"`{name}`: {error}") from None


def _group(given: object, before: Sequence[Message]) -> str:
    """The group of a text: the one that a file gives it, else that of its conversation, by what was said first."""
    if given is not None and given != "":
        if isinstance(given, bool) or not isinstance(given, (str, int)):
            raise Unreadable("`group` is neither a text nor a number")
        return f"group {given}"
    first = next((message.content for message in before if message.role == "user"), "")
    return hashlib.sha256(first.strip().encode("utf-8")).hexdigest()[:16] if first.strip() else ""


def _rows(lines: Lines, limits: Limits, shown: str) -> Iterator[tuple[int, _Item | str]]:
    for number, row in label_rows(lines, limits, shown):
        if isinstance(row, str):
            yield number, row
        else:
            before = (Message("user", row.prompt),) if row.prompt else ()
            yield number, _Item(row.text, row.prompt, _group(row.group, before), f"{shown}:{number}", row.labels)
