"""The files of fitted concepts: concepts.json (names, terms, cues, digest) and concepts.npz (arrays of numbers, which
are read without pickles). Everything that is read is checked before it is used."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from bylaw.runtime.concepts.features import FORM, MOST_PIECES, MOST_WORDS, Vocabulary
from bylaw.runtime.scorers.interface import ScorerError
from bylaw.spec.expression import Cue, Matcher, Phrase, Regex
from bylaw.spec.pattern import PatternError, parse_pattern

if TYPE_CHECKING:
    from bylaw.runtime.concepts.text_model import FittedConcepts

VERSION: Final = 1
HEADER, ARRAYS = "concepts.json", "concepts.npz"
LARGEST: Final = 200_000_000
"""Bytes of a file, packed and unpacked."""
MOST_CONCEPTS: Final = 1_000
_SINGLE: Final = ("whole", "part", "cue")


@dataclass(frozen=True, slots=True)
class Data:
    """What the files say: the fields of fitted concepts, and their digest when they were written."""

    fields: Mapping[str, Any]
    digest: str


def arrays(fitted: FittedConcepts) -> dict[str, npt.NDArray[Any]]:
    """The numbers of fitted concepts, by name."""
    names = (*_SINGLE, "intercepts", "form_mean", "form_scale")
    return {"rarity": fitted.vocabulary.rarity, **{name: getattr(fitted, name) for name in names}}


def header(fitted: FittedConcepts) -> str:
    """Everything else of fitted concepts, as JSON."""
    cues = [{"lexicon": cue.lexicon, "matchers": [_matcher(each) for each in cue.matchers]} for cue in fitted.cues]
    words, pieces = fitted.vocabulary.words, fitted.vocabulary.pieces
    data = {"version": VERSION, "names": fitted.names, "form": FORM, "words": words, "pieces": pieces, "cues": cues}
    return json.dumps(data, ensure_ascii=True, separators=(",", ":"))


def _matcher(each: Matcher) -> dict[str, Any]:
    if isinstance(each, Phrase):
        return {"phrase": each.text, "lookalikes": each.lookalikes}
    return {"regex": each.source, "flags": each.flags}


def write(fitted: FittedConcepts, folder: Path) -> None:
    """Writes both files. Raises ScorerError where that cannot be done."""
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays(fitted))  # type: ignore[arg-type]
    written = json.dumps({"digest": fitted.digest}) + "\n" + header(fitted) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ARRAYS).write_bytes(packed.getvalue())
        (folder / HEADER).write_text(written, encoding="utf-8", newline="\n")
    except OSError as error:
        raise ScorerError(f"`{folder}` cannot be written: {(error.strerror or str(error)).lower()}") from error


def read(folder: Path) -> Data:
    """What the files say. Raises ScorerError for what cannot be read or does not fit together."""
    try:
        digest, about = (json.loads(line) for line in _content(folder / HEADER).decode("utf-8").splitlines())
        return Data(_fields(about, _numbers(_content(folder / ARRAYS))), str(digest["digest"]))
    except OSError as error:
        raise ScorerError(f"`{folder}` cannot be read: {(error.strerror or str(error)).lower()}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, zipfile.BadZipFile, PatternError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ScorerError(f"`{folder}` holds no models that this version wrote: {said}; fit them again") from error


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"{path.name} is larger than {LARGEST:,} bytes")
    return content


def _numbers(content: bytes) -> dict[str, npt.NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        if sum(each.file_size for each in packed.infolist()) > LARGEST:
            raise ValueError(f"{ARRAYS} unpacks to more than {LARGEST:,} bytes")
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def _fields(about: Mapping[str, Any], numbers: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    if about["version"] != VERSION:
        raise ValueError(f"version {about['version']!r}, and this program reads {VERSION}")
    if tuple(about["form"]) != FORM:
        raise ValueError("they look at other things of a text's form")
    names, words, pieces = (_strings(about[name], name) for name in ("names", "words", "pieces"))
    for name, held, most in (
        ("names", names, MOST_CONCEPTS),
        ("words", words, MOST_WORDS),
        ("pieces", pieces, MOST_PIECES),
    ):
        if len(held) > most or len(set(held)) < len(held):
            raise ValueError(f"`{name}` are more than {most:,}, or one stands there twice")
    cues = tuple(_cue(each) for each in about["cues"])
    terms, forms, count = len(words) + len(pieces), len(FORM), len(names)
    shapes = {
        "rarity": (terms,),
        "whole": (terms + forms, count),
        "part": (terms, count),
        "cue": (len(cues), count),
        "intercepts": (3, count),
        "form_mean": (forms,),
        "form_scale": (forms,),
    }
    for name, shape in shapes.items():
        array = numbers[name]
        kind = np.float32 if name in _SINGLE else np.float64
        if array.shape != shape or array.dtype != kind or not np.isfinite(array).all():
            raise ValueError(f"`{name}` are no {kind.__name__} numbers of shape {shape}, all finite")
    if not (numbers["form_scale"] > 0).all():
        raise ValueError("`form_scale` is not above 0")
    kept = {name: numbers[name] for name in shapes if name != "rarity"}
    return {"names": names, "vocabulary": Vocabulary(words, pieces, numbers["rarity"]), "cues": cues, **kept}


def _strings(value: object, name: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError(f"`{name}` is no list of texts")
    return tuple(value)


def _cue(value: Mapping[str, Any]) -> Cue:
    matchers: list[Matcher] = []
    for each in value["matchers"]:
        if "phrase" in each:
            matchers.append(Phrase(str(each["phrase"]), each["lookalikes"] is True))
        else:
            parse_pattern(str(each["regex"]), str(each["flags"]))
            matchers.append(Regex(str(each["regex"]), str(each["flags"])))
    if not matchers:
        raise ValueError("a cue is empty")
    return Cue(str(value["lexicon"]), tuple(matchers))
