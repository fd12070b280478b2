"""The tables of Unicode that bylaw ships as JSON, and how they are made.

Regenerate after a new version of Unicode:

    pip install uniseg==0.10.1 unicodedata2==16.0.0 confusable-homoglyphs==3.3.1
    python -m bylaw.spec.unicode_tables

Those packages are needed for that only. What a policy means must not depend on the Python that reads it, so the tables
say it and not `unicodedata`. Sources: Unicode 16.0; UAX #29 (Word_Break, Sentence_Break), UAX #15 (NFKC), UAX #44
(Default_Ignorable_Code_Point), UTS #39 (confusables.txt).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bylaw.spec.charset import ALL, CharSet

UNICODE = "16.0.0"
SEGMENTS_FILE = "segment_tables.json"
MATCHING_FILE = "matching_tables.json"
_ROOM = Path(__file__).parent

# Values that UAX #29 treats alike in every rule.
_ALIKE = {"Format": "Extend", "": "Other"}
_SCRIPTS = ("LATIN ", "GREEK ", "CYRILLIC ")


@cache
def load(name: str) -> Mapping[str, Any]:
    """One of the two files, read when first asked for."""
    loaded: dict[str, Any] = json.loads((_ROOM / name).read_text(encoding="utf-8"))
    return loaded


def charset_of(ranges: str) -> CharSet:
    """The set that `written` wrote."""
    pairs = (part.partition("-") for part in ranges.split())
    return CharSet(tuple((int(first, 16), int(last or first, 16)) for first, _, last in pairs))


def written(points: Iterable[int]) -> str:
    """Code points as hexadecimal ranges: `41-5A 61`."""
    ranges = CharSet.of_ranges((point, point) for point in points).ranges
    return " ".join(f"{first:X}" if first == last else f"{first:X}-{last:X}" for first, last in ranges)


# ------------------------------------------------------------------------------------------------------------- making
def _points() -> Iterator[int]:
    for first, last in ALL.ranges:
        yield from range(first, last + 1)


def _by_class(classify: Callable[[int], str]) -> dict[str, str]:
    found: dict[str, list[int]] = {}
    for point in _points():
        found.setdefault(classify(point), []).append(point)
    found.pop("Other")
    return {name: written(found[name]) for name in sorted(found)}


def segments() -> dict[str, Any]:
    """The classes of characters that the rules of UAX #29 tell apart; the rest is `Other`.

    `Letter` in words: letters and numbers that stand alone (ideographs, kana, Thai). `Pictograph`: what ZWJ joins.
    """
    database, data = importlib.import_module("uniseg.db"), importlib.import_module("unicodedata2")
    word, sentence, picture = map(database.get_handle, ("Word_Break", "Sentence_Break", "Extended_Pictographic"))

    def is_letter(point: int) -> bool:
        found = database.get_value(word, point) in ("ALetter", "Hebrew_Letter", "Katakana", "Numeric")
        return found or data.category(chr(point))[0] in "LN"

    def word_class(point: int) -> str:
        value = database.get_value(word, point)
        value = _ALIKE.get(value, value)
        if value != "Other":
            return str(value)
        return "Letter" if is_letter(point) else "Pictograph" if database.get_value(picture, point) else "Other"

    def sentence_class(point: int) -> str:
        value = database.get_value(sentence, point)
        value = _ALIKE.get(value, value)
        return "Letter" if value == "Other" and is_letter(point) else str(value)

    return {"unicode": UNICODE, "words": _by_class(word_class), "sentences": _by_class(sentence_class)}


def matching() -> dict[str, Any]:
    """What matching looks through: characters it ignores, compatibility forms, and letters that look alike.

    `plain[i]` is what the characters in `forms[i]` stand for; a set in `lookalikes` is one UTS #39 skeleton.
    """
    database, data = importlib.import_module("uniseg.db"), importlib.import_module("unicodedata2")
    if data.unidata_version != UNICODE:
        raise ValueError(f"these tables are for Unicode {UNICODE}, not {data.unidata_version}")
    ignorable = database.get_handle("Default_Ignorable_Code_Point")
    ignored = [point for point in _points() if database.get_value(ignorable, point)]
    drop = dict.fromkeys(ignored, "")
    stands_for: dict[str, list[int]] = {}
    for point in _points():
        char = chr(point)
        plain = data.normalize("NFKC", char)
        if plain != char and point not in drop:
            stands_for.setdefault(plain.translate(drop), []).append(point)
    ignored += stands_for.pop("", [])
    plain_first = sorted(stands_for)
    return {
        "unicode": UNICODE,
        "ignored": written(ignored),
        "plain": plain_first,
        "forms": ["".join(map(chr, stands_for[plain])) for plain in plain_first],
        "lookalikes": _lookalikes(data, {point for points in stands_for.values() for point in points}),
    }


def _lookalikes(data: Any, unstable: set[int]) -> list[str]:
    """Sets of Latin, Greek and Cyrillic letters and digits that UTS #39 gives one skeleton."""
    package = importlib.import_module("confusable_homoglyphs.confusables")

    def usable(text: str) -> bool:
        if len(text) != 1 or ord(text) in unstable or data.normalize("NFD", text) != text:
            return False
        named = data.name(text, "").startswith(_SCRIPTS) and data.category(text)[0] == "L"
        return named or (text.isascii() and text.isdecimal())

    group: dict[str, set[str]] = {}
    for source, entries in package.confusables_data.items():
        for entry in entries:
            if usable(source) and usable(entry["c"]):
                joined = group.get(source, {source}) | group.get(entry["c"], {entry["c"]})
                group.update(dict.fromkeys(joined, joined))
    return sorted({"".join(sorted(members)) for members in group.values()})


def lines_of(value: Mapping[str, Any]) -> str:
    """JSON with one entry of a list or mapping a line, so that a change is readable."""
    return json.dumps(value, indent=0, ensure_ascii=True) + "\n"


def main() -> None:
    """Write both files beside this one."""
    for name, made in ((SEGMENTS_FILE, segments()), (MATCHING_FILE, matching())):
        target = _ROOM / name
        target.write_text(lines_of(made), encoding="utf-8")
        print(f"{target}: {target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
