"""The folder that `bylaw concept --out` writes and `--scorers` reads: labels, and what was found with them.

    fitted.json    version, alpha, and for each concept: a digest of its definition, its scorer and that scorer's
                   digest, its calibration, and its labels as (number of the text, does it)
    texts.jsonl    the labelled texts, each with its place, its conversation and what it answers
    NAME/          what the scorer NAME keeps besides (`words`: its models)

The labelled texts are in the folder because scores hold for texts like these: whether others are like them is tested
against them. Nothing in it is run, and nothing is a pickle. A folder is written whole or not at all, and it is of use
for the definitions that it was made for only.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bylaw.runtime.concepts.labels import LabelledText
from bylaw.runtime.scorers.interface import ConceptScorer, ScorerError
from bylaw.spec.expression import Concept

if TYPE_CHECKING:
    from bylaw.runtime.concepts.calibration import Calibration
    from bylaw.runtime.scorers.catalog import Making

VERSION = 1
MANIFEST, TEXTS = "fitted.json", "texts.jsonl"
LARGEST = 1_000_000_000
"""Bytes of a file of the folder."""
_Text: TypeAlias = tuple[str, str, str, str]
"""text, group, place, prompt"""


@dataclass(frozen=True, slots=True)
class FittedConcept:
    """What a folder says of one concept. `definition`: digest of what the policy said of it; `scorer` and its `digest`
    when it was made; `labels`: texts that people labelled, besides the examples of the policy."""

    name: str
    definition: str
    scorer: str
    digest: str
    labels: tuple[LabelledText, ...]
    calibration: Calibration | None


@dataclass(frozen=True, slots=True)
class FittedFolder:
    """A folder of fitted concepts. `alpha`: the share of each class that prediction sets may miss."""

    path: Path
    alpha: float
    concepts: Mapping[str, FittedConcept]

    @property
    def labels(self) -> dict[str, tuple[LabelledText, ...]]:
        """The labelled texts by concept, as `Making.labels`."""
        return {name: each.labels for name, each in self.concepts.items()}

    def saved(self, scorer: str) -> Path | None:
        """Where a scorer of this name keeps what it saved; None where it saved nothing."""
        return found if (found := self.path / scorer).is_dir() else None


def definition_digest(concept: Concept) -> str:
    """SHA-256 (hexadecimal) of what a policy says of a concept and a score of it depends on: all but its threshold."""
    named = {
        name: getattr(concept, name) for name in concept.__match_args__ if name not in ("threshold", "distinct_from")
    }
    written = json.dumps(named, sort_keys=True, ensure_ascii=True, default=repr)
    return hashlib.sha256(written.encode()).hexdigest()


# ----------------------------------------------------------------------------------------------------------- writing
def require_place(path: str | Path) -> None:
    """Raises ScorerError where `path` is a file, or a folder with what others wrote. For before any work is done."""
    folder = Path(path)
    above = next(each for each in (folder, *folder.resolve().parents) if each.exists())
    if not above.is_dir():
        raise ScorerError(f"`{path}` cannot be written: `{above}` is a file")
    if folder.exists() and not (folder / MANIFEST).is_file() and any(folder.iterdir()):
        raise ScorerError(f"`{path}` is there already and was not written by `bylaw concept`; name another folder")


def write_folder(
    path: str | Path,
    concepts: Mapping[str, Concept],
    scorers: Mapping[str, ConceptScorer],
    labels: Mapping[str, Sequence[LabelledText]],
    alpha: float,
) -> Path:
    """Writes the folder `path`; what an earlier fit wrote there is replaced, anything else is not.

    It is made beside its place and moved there. Raises ScorerError where that cannot be done.
    """
    require_place(path)
    folder = Path(path).resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        _fill(made, concepts, scorers, labels, alpha)
        made.chmod(0o755)
        old = made.with_name(f"{made.name}.old")
        if folder.exists():
            os.replace(folder, old)
        try:
            os.replace(made, folder)
        except BaseException:
            if old.exists():
                os.replace(old, folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _fill(
    made: Path,
    concepts: Mapping[str, Concept],
    scorers: Mapping[str, ConceptScorer],
    labels: Mapping[str, Sequence[LabelledText]],
    alpha: float,
) -> None:
    rows: dict[_Text, int] = {}
    numbered = {
        name: [[rows.setdefault(_text(each), len(rows)), int(each.expresses)] for each in labels.get(name, ())]
        for name in concepts
    }
    lines = [json.dumps(row, ensure_ascii=True) + "\n" for row in rows]  # half a surrogate pair has no other way
    (made / TEXTS).write_text("".join(lines), encoding="utf-8", newline="\n")
    kept: dict[int, ConceptScorer] = {id(scorers[name]): scorers[name] for name in concepts}
    for scorer in kept.values():
        save = getattr(scorer, "save", None)
        if save is not None:
            save(made / scorer.name)
    data = {
        "version": VERSION,
        "alpha": alpha,
        "texts": hashlib.sha256((made / TEXTS).read_bytes()).hexdigest(),
        "concepts": {
            name: {**_about(concept, scorers[name]), "labels": numbered[name]} for name, concept in concepts.items()
        },
    }
    written = json.dumps(data, ensure_ascii=True, allow_nan=False)
    (made / MANIFEST).write_text(written + "\n", encoding="utf-8", newline="\n")


def _about(concept: Concept, scorer: ConceptScorer) -> dict[str, Any]:
    calibration = getattr(scorer, "calibrations", {}).get(concept.name)
    return {
        "definition": definition_digest(concept),
        "scorer": scorer.name,
        "digest": scorer.digest,
        "calibration": None if calibration is None else calibration.to_data(),
    }


def _text(each: LabelledText) -> _Text:
    return each.text, each.group, each.place, each.prompt


def _unwritable(path: str | Path, error: OSError) -> ScorerError:
    return ScorerError(f"`{path}` cannot be written: {(error.strerror or str(error)).lower()}")


# ----------------------------------------------------------------------------------------------------------- reading
def read_folder(path: str | Path, concepts: Mapping[str, Concept]) -> FittedFolder:
    """The folder's part about these concepts; what it has on others is left aside.

    Raises ScorerError for a folder that is none, that was changed or written by another version, and for a concept
    whose definition is no longer what it was made for.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ScorerError(f"there is no folder `{path}`; `bylaw concept RULES --out {path}` writes one")
    if not (folder / MANIFEST).is_file():
        raise ScorerError(f"`{path}` is no folder of fitted concepts: it has no {MANIFEST}")
    from bylaw.runtime.concepts.calibration import CalibrationError

    try:
        return _read(folder, concepts)
    except OSError as error:
        where = f"{Path(error.filename).name}: " if error.filename else ""
        raise ScorerError(f"`{path}` cannot be read: {where}{(error.strerror or str(error)).lower()}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, CalibrationError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ScorerError(f"`{path}` is no folder that this version wrote: {said}; write it again") from error


def _read(folder: Path, concepts: Mapping[str, Concept]) -> FittedFolder:
    from bylaw.runtime.concepts.calibration import Calibration

    data = json.loads(_content(folder / MANIFEST))
    if data["version"] != VERSION:
        raise ValueError(f"version {data['version']!r}, and this program reads {VERSION}")
    content = _content(folder / TEXTS)
    if hashlib.sha256(content).hexdigest() != data["texts"]:
        raise ValueError(f"{TEXTS} was changed")
    alpha = float(data["alpha"])
    if not 0 < alpha <= 0.5:
        raise ValueError(f"alpha is {alpha}")
    rows = [tuple(map(str, json.loads(line))) for line in content.decode("utf-8").split("\n") if line]
    if any(len(row) != 4 for row in rows):
        raise ValueError(f"{TEXTS} has other fields")
    found: dict[str, FittedConcept] = {}
    for name, about in data["concepts"].items():
        if name not in concepts:
            continue
        if about["definition"] != definition_digest(concepts[name]):
            raise ScorerError(f"`{name}` was changed since `{folder}` was written; write it again with `bylaw concept`")
        held = about["calibration"]
        calibration = None if held is None else Calibration.from_data(held)
        strings = (str(about["definition"]), str(about["scorer"]), str(about["digest"]))
        found[name] = FittedConcept(name, *strings, _labels(about["labels"], rows), calibration)
    return FittedFolder(folder, alpha, found)


def _labels(numbered: Any, rows: Sequence[tuple[str, ...]]) -> tuple[LabelledText, ...]:
    found = []
    for number, expresses in numbered:
        if type(number) is not int or not 0 <= number < len(rows) or expresses not in (0, 1):
            raise ValueError("a label is about no text")
        text, group, place, prompt = rows[number]
        found.append(LabelledText(text, expresses == 1, group, place, prompt))
    return tuple(found)


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST:,} bytes")
    return content


def with_folder(making: Making, folder: FittedFolder) -> Making:
    """`making` with what a folder holds: its labels before those that are there, its alpha, and for each scorer that
    keeps something besides, its place as the option of that name. With labels of other files, scorers are made anew."""
    is_more = any(making.labels.values())
    labels = dict(making.labels)
    for name, kept in folder.labels.items():
        known = {(each.text, each.prompt) for each in kept}
        labels[name] = (*kept, *(each for each in labels.get(name, ()) if (each.text, each.prompt) not in known))
    scorers = {each.scorer for each in folder.concepts.values()}
    saved = {scorer: place for scorer in scorers if not is_more and (place := folder.saved(scorer)) is not None}
    return replace(making, labels=labels, alpha=folder.alpha, options={**saved, **making.options})


def changed(folder: FittedFolder, scorers: Mapping[str, ConceptScorer]) -> tuple[str, ...]:
    """Concepts whose scorers, made again from what the folder holds, are not what they were when it was written: their
    code or their model was changed. A scorer that says nothing (it has a `reason`) is not among them."""
    return tuple(
        name
        for name, each in folder.concepts.items()
        if name in scorers and not getattr(scorers[name], "reason", "") and scorers[name].digest != each.digest
    )
