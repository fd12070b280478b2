"""Probes as files that people edit, and their way from there into use: nothing is used that nobody has accepted.

A folder holds `search.jsonl` and `estimation.jsonl`, one probe a line in the form of prompts and suites everywhere in
bylaw; `tried.jsonl` with what a search did; and `probes.json`, which says how they were made. Whoever reviews a folder
edits, deletes and adds lines. Each line is `open`, `rejected`, or `accepted` with the name of what was accepted: the
text that is there must still be the one that was looked at.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, get_args

from bylaw.runtime.audit.conversation import parse_line
from bylaw.runtime.audit.inputs import DEFAULT_LIMITS, ColumnNames, Unreadable, quote
from bylaw.runtime.probes.lines import line_of, plain_facts, to_data
from bylaw.runtime.probes.make import Made, Settings
from bylaw.runtime.probes.probe import Check, Lean, Origin, Probe, ProbeError, Set, root_of
from bylaw.spec.fixes import write_atomically

SETS: tuple[Set, ...] = ("search", "estimation")
MANIFEST = "probes.json"
TRIED = "tried.jsonl"
VERSION = 1
State: TypeAlias = Literal["open", "accepted", "rejected"]
_LEANS, _ORIGINS = get_args(Lean), get_args(Origin)


class FolderError(ProbeError):
    """A folder of probes cannot be read, written or used; the message names the file and the line."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a folder. `name`: the `id` that stands in it. `state` is `accepted` only for what was accepted with
    just these messages and facts; `is_edited`: whether they are others than were made."""

    file: Path
    number: int
    name: str
    probe: Probe
    state: State
    is_edited: bool
    data: dict[str, Any] = field(compare=False)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder as it is now. `manifest` says how it was made."""

    place: Path
    manifest: dict[str, Any]
    lines: tuple[Line, ...]

    def of(self, part: Set) -> tuple[Line, ...]:
        """The lines of one set."""
        return tuple(line for line in self.lines if line.probe.part == part)


# ---------------------------------------------------------------------------------------------------------- writing
def write_folder(place: str | Path, made: Made, settings: Settings, source: Mapping[str, Any]) -> dict[str, Any]:
    """Writes what was made into a new or empty folder; gives the manifest. `source` says of what it was made.

    Raises FolderError: for a folder with something in it, since
    what people edited is not overwritten; for what cannot be written.
    """
    require_new(place)
    folder = Path(place)
    texts: dict[str, str] = {}
    for part in SETS:
        lines = [line_of(to_data(probe)) for probe in made.probes if probe.part == part]
        texts[f"{part}.jsonl"] = "".join(f"{line}\n" for line in lines)
    tried = [
        {"id": each.probe.id, "rule": found.aim, "round": each.round, "difficulty": each.probe.difficulty,
         "outcome": each.outcome, "reason": each.reason, "prompt": each.probe.text, "answer": each.answer}
        for found in made.searched for each in found.tried
    ]  # fmt: skip
    if tried:
        texts[TRIED] = "".join(f"{line_of(each)}\n" for each in tried)
    manifest = _manifest(made, settings, source)
    texts[MANIFEST] = json.dumps(manifest, ensure_ascii=False, indent=2) + "\n"
    _write_whole(folder, texts)
    return manifest


def require_new(place: str | Path) -> None:
    """Raises FolderError for a place where something is already: what people edited is not overwritten."""
    folder = Path(place)
    try:
        is_taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise FolderError(f"`{folder}` cannot be read: {error.strerror or error}") from None
    if is_taken:
        raise FolderError(f"`{folder}` is there already and not empty; name another folder, or move that one away")


def _write_whole(folder: Path, texts: Mapping[str, str]) -> None:
    """All files beside the folder first, then the folder in its place at once."""
    beside: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        for name, text in texts.items():
            (beside / name).write_bytes(text.encode("utf-8"))
        beside.chmod(0o755)
        os.replace(beside, folder)
    except (OSError, UnicodeEncodeError) as error:
        if beside is not None:
            shutil.rmtree(beside, ignore_errors=True)
        raise FolderError(f"`{folder}` cannot be written: {error}") from None


def _manifest(made: Made, settings: Settings, source: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "bylaw_probes": VERSION,
        **source,
        "settings": asdict(settings),
        "probes": {part: sum(probe.part == part for probe in made.probes) for part in SETS},
        "families": {part: len({p.family for p in made.probes if p.part == part}) for part in SETS},
        "left_out": [{"rule": name, "reason": reason} for name, reason in made.left_out],
        "dropped": [{"reason": reason, "probes": number} for reason, number in made.dropped],
        "searches": [
            {"rule": each.aim, "difficulty": each.difficulty, "rounds": [asdict(step) for step in each.steps]}
            for each in made.searched
        ],
        "failed_questions": list(made.failed),
        "cost": asdict(made.cost),
    }


# ---------------------------------------------------------------------------------------------------------- reading
def read_folder(place: str | Path) -> Folder:
    """A folder as it is now, edited or not. Raises FolderError for the first thing in it that cannot be read."""
    folder = Path(place)
    manifest = _read_manifest(folder)
    lines: list[Line] = []
    for part in SETS:
        lines += _read_lines(folder / f"{part}.jsonl", part)
    seen: dict[str, Line] = {}
    for line in lines:
        other = seen.setdefault(line.name, line)
        if other is not line:
            where = f"`{other.file.name}`, line {other.number}"
            raise FolderError(
                f"`{line.file}`, line {line.number}: the id {quote(line.name)} stands in {where} too; "
                "give this line another one, or take its `id` away"
            )
    return Folder(folder, manifest, tuple(lines))


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except OSError as error:
        raise FolderError(
            f"`{folder}` is no folder of probes: `{MANIFEST}` cannot be read ({error.strerror or error}); "
            "`bylaw probe make` makes one"
        ) from None
    except (ValueError, RecursionError):
        raise FolderError(f"`{folder / MANIFEST}` is not JSON") from None
    if not isinstance(manifest, dict) or manifest.get("bylaw_probes") != VERSION:
        raise FolderError(f"`{folder / MANIFEST}` is not of a form that this bylaw reads (`bylaw_probes`: {VERSION})")
    return manifest


def _read_lines(file: Path, part: Set) -> Iterator[Line]:
    try:
        raw = file.read_bytes().splitlines()
    except OSError as error:
        raise FolderError(f"`{file}` cannot be read: {error.strerror or error}") from None
    for number, line in enumerate(raw, 1):
        if line.strip():
            try:
                yield _read_line(file, number, line.strip(), part)
            except (Unreadable, ValueError) as error:
                raise FolderError(f"`{file}`, line {number}: {error}") from None


def _read_line(file: Path, number: int, line: bytes, part: Set) -> Line:
    trace, left_out = parse_line(line, ColumnNames(), DEFAULT_LIMITS, "", False)
    if left_out:
        raise ValueError(left_out[0])
    data = json.loads(line)
    about = data.get("probe")
    if not isinstance(about, dict) or not isinstance(about.get("rules"), str) or not about["rules"].split():
        raise ValueError('it does not say which rules it is about: add "probe": {"rules": "NAME"}')
    probe = Probe(
        trace.messages,
        tuple(about["rules"].split()),
        cast("Origin", _one_of(about, "origin", _ORIGINS, "given")),
        (root_of(trace.messages[-1].content),),
        plain_facts(trace.facts),
        cast("Lean", _one_of(about, "lean", _LEANS, "neutral")),
        _difficulty(about),
        str(about.get("template", "")),
        str(about.get("variant", "")),
        family=str(about.get("family", "")),
        part=part,
        relation=str(about.get("relation", "")),
    )
    name = trace.id or probe.id
    said = str(about.get("review", "open"))
    return Line(file, number, name, probe, _state(said, probe), name != probe.id, data)


def _state(said: str, probe: Probe) -> State:
    """`accepted` counts for the content that was accepted: an edit afterwards opens the line again."""
    word, _, of = said.partition(" ")
    if word not in ("open", "accepted", "rejected"):
        raise ValueError(f"its `review` says {quote(said)}; it is `open`, `rejected`, or what `--accept` writes")
    if word == "accepted":
        return "accepted" if of == probe.id else "open"
    return cast("State", word)


def _one_of(about: Mapping[str, Any], name: str, known: Sequence[str], usual: str) -> str:
    value = about.get(name, usual)
    if value not in known:
        raise ValueError(f"its `{name}` is {quote(str(value))}; it is one of {', '.join(known)}")
    return str(value)


def _difficulty(about: Mapping[str, Any]) -> int:
    value = about.get("difficulty", 1)
    if type(value) is not int or not 1 <= value <= 5:
        raise ValueError(f"its `difficulty` is {quote(str(value))}; it is a whole number from 1 to 5")
    return value


# --------------------------------------------------------------------------------------------------------- reviewing
@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a line."""

    line: Line
    message: str


def findings(folder: Folder, check: Check) -> tuple[Finding, ...]:
    """What is wrong with the lines that are not rejected: no rule of that name, a condition that is not met, a prompt
    or a family that is in both sets."""
    found = []
    where: dict[str, tuple[Set | None, str]] = {}
    for line in folder.lines:
        if line.state == "rejected":
            continue
        try:
            checked = check(line.probe)
        except KeyError as error:
            checked = f"the policy has no rule called {quote(str(error.args[0]))}"
        if isinstance(checked, str):
            found.append(Finding(line, checked))
        for key in (line.probe.family, root_of(line.probe.text)):
            part, name = where.setdefault(key, (line.probe.part, line.name)) if key else (line.probe.part, "")
            if part != line.probe.part:
                found.append(Finding(line, f"it belongs together with `{name}`, which is in the {part} set"))
                break
    return tuple(found)


def reviewed(folder: Folder, states: Mapping[str, Literal["accepted", "rejected", "open"]]) -> Folder:
    """Writes what a reviewer said of lines, by their names; all else in the files stays as it is.

    Raises FolderError for a name that is not in the folder, and where a file cannot be written.
    """
    names = {line.name for line in folder.lines}
    for name in states:
        if name not in names:
            raise FolderError(f"there is no probe called {quote(name)} in `{folder.place}`")
    for part in SETS:
        own = folder.of(part)
        if not any(line.name in states for line in own):
            continue
        texts = []
        for line in own:
            data = line.data
            if line.name in states:
                state = states[line.name]
                said = f"accepted {line.probe.id}" if state == "accepted" else state
                data = {**data, "id": line.name, "probe": {**data["probe"], "review": said}}
            texts.append(line_of(data) + "\n")
        try:
            write_atomically(folder.place / f"{part}.jsonl", "".join(texts))
        except OSError as error:
            raise FolderError(f"`{folder.place}` cannot be written: {error.strerror or error}") from None
    return read_folder(folder.place)


def accepted(folder: Folder, part: Set, leans: Sequence[Lean] = ()) -> tuple[Probe, ...]:
    """The probes of one set that may be used; with `leans` only those that push this way.

    Raises FolderError while a line of the folder is open, and where nothing is accepted.
    """
    open_ = [line for line in folder.lines if line.state == "open"]
    if open_:
        first = open_[0]
        raise FolderError(
            f"{len(open_)} of {len(folder.lines)} probes in `{folder.place}` were not reviewed, the first in "
            f"`{first.file.name}`, line {first.number}; accept or reject them with `bylaw probe review`"
        )
    found = [line.probe for line in folder.of(part) if line.state == "accepted"]
    chosen = tuple(probe for probe in found if not leans or probe.lean in leans)
    if not chosen:
        raise FolderError(f"no probe of the {part} set in `{folder.place}` is accepted")
    return chosen


def write_suite(place: str | Path, probes: Sequence[Probe]) -> None:
    """Accepted probes as one file of prompts, which `--prompts` and `suite NAME = file "..."` read. Raises
    FolderError."""
    text = "".join(line_of(to_data(each, f"accepted {each.id}")) + "\n" for each in probes)
    try:
        write_atomically(Path(place), text)
    except OSError as error:
        raise FolderError(f"`{place}` cannot be written: {error.strerror or error}") from None
