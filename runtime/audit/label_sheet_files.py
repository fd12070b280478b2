"""Label sheets as tables that people fill in, and their way back: no answer to another question, and none is lost.

A sheet is CSV in UTF-8 with a mark at its beginning, by which spreadsheet programs know that. Its rows hold an item,
the question, the conversation, the answer, and an empty cell for the label. No cell begins with a character that makes
a spreadsheet take it for a formula, and control characters are written as escapes.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bylaw.runtime.audit.inputs import DEFAULT_LIMITS, quote, quote_all, suggestion
from bylaw.runtime.audit.label_sheets import (
    ANSWERS,
    LABELS_KIND,
    Answer,
    Item,
    Key,
    Label,
    Labels,
    LabelSheetError,
    RuleSheet,
    shown,
    text_digest,
)
from bylaw.runtime.audit.tables import field_limit
from bylaw.spec.errors import visible
from bylaw.spec.trace import Trace

COLUMNS = ("item", "question", "conversation", "answer", "label", "remark")
LONGEST_CELL = 32_767
"""Characters of a cell, of which widespread spreadsheet programs cut off more."""
_FORMULA = ("=", "+", "-", "@", "\t")
_DELIMITERS = (",", ";", "\t")
_MOST_BYTES = 200_000_000

Row = tuple[str, str, str, str]
"""Item, question, conversation, answer."""


@dataclass(frozen=True, slots=True)
class Sheets:
    """The rows of a sheet, those of the second one (none where nothing is labelled twice), and their items."""

    first: tuple[Row, ...]
    second: tuple[Row, ...]
    items: tuple[Item, ...]


# ---------------------------------------------------------------------------------------------------------- writing
def sheets_of(
    drawn: Sequence[tuple[RuleSheet, Sequence[tuple[int, int]]]],
    trace_at: Callable[[int], Trace],
    *,
    twice: int,
    seed: int,
) -> Sheets:
    """The rows for what was drawn, rule after rule; `twice` random ones of each rule, in another order, for a second
    person. `trace_at` gives the transcript of a place."""
    items: list[Item] = []
    rows: dict[str, Row] = {}
    second: list[str] = []
    for sheet, places in drawn:
        rng = random.Random(f"{seed}:{sheet.term}:twice")
        shared = set(rng.sample(range(len(places)), min(twice, len(places))))
        own: list[str] = []
        for number, (place, stratum) in enumerate(places):
            name = str(len(items) + 1)
            cells = tuple(cell(text) for text in (sheet.question, *shown(trace_at(place))))
            items.append(Item(name, sheet.term, place, stratum, text_digest(*cells), number in shared))
            rows[name] = (name, cells[0], cells[1], cells[2])
            own += [name] * (number in shared)
        rng.shuffle(own)
        second += own
    return Sheets(tuple(rows.values()), tuple(rows[name] for name in second), tuple(items))


def cell(text: str) -> str:
    """A text as it stands in a sheet: one kind of line break, nothing hidden, and no formula."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    clean = "\n".join("\t".join(visible(part) for part in line.split("\t")) for line in lines)
    return f"'{clean}" if clean.startswith(_FORMULA) else clean


def table(rows: Sequence[Row]) -> str:
    """A sheet as CSV."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows((*row, "", "") for row in rows)
    return "\ufeff" + out.getvalue()


# ---------------------------------------------------------------------------------------------------------- reading
@dataclass(frozen=True, slots=True)
class _Filled:
    """One row that somebody filled in; `line` is where it begins."""

    line: int
    item: str
    text: str
    label: str
    remark: str


def imported(key: Key, paths: Sequence[str | Path]) -> Labels:
    """What people filled into the sheets of a key, a file a person.

    A file is the sheet or the second one, whole: several people may fill in copies of the same. Raises LabelSheetError,
    which names the file and the line, for a file that cannot be read, a row that is missing, unknown, there twice or
    was edited, and a label that is empty or none of `ANSWERS`.
    """
    if len({Path(path).resolve() for path in paths}) < len(paths):
        raise LabelSheetError("a sheet is named twice; name the sheet of each person once")
    known = {item.item: item for item in key.items}
    found = [_answers(Path(path), known) for path in paths]
    if not any(len(answers) == len(known) for answers in found):
        raise LabelSheetError(
            f"these are second sheets only, with a part of the {len(known)} items; import the first sheet too"
        )
    labels = tuple(
        Label(
            item.item, item.term, item.place, item.stratum,
            tuple(answers[item.item][0] if item.item in answers else None for answers in found),
            tuple(answers[item.item][1] if item.item in answers else "" for answers in found),
        )
        for item in key.items
    )  # fmt: skip
    return Labels(LABELS_KIND, key.drawn, tuple(Path(path).name for path in paths), labels)


def _answers(path: Path, known: dict[str, Item]) -> dict[str, tuple[Answer, str]]:
    """(label, remark) by item."""
    name = quote(str(path))
    found: dict[str, tuple[Answer, str]] = {}
    filled = _filled(path)
    for row in filled:
        at = f"{name}, line {row.line}"
        if row.item not in known:
            raise LabelSheetError(f"{at}: the key has no item {quote(row.item)}; is this a sheet of another export?")
        if row.item in found:
            raise LabelSheetError(f"{at}: item {quote(row.item)} is there twice; keep one of the two rows")
        if row.text != known[row.item].text:
            raise LabelSheetError(
                f"{at}: the texts of item {quote(row.item)} are not those that were exported: they were edited or cut "
                f"off, or this is a sheet of another export; only the columns `label` and `remark` are to be filled in"
            )
        found[row.item] = (_answer(row, at, filled), row.remark)
    shared = {item.item for item in known.values() if item.is_shared}
    wanted = shared if found.keys() <= shared else known.keys()
    missing = [item for item in known if item in wanted and item not in found]
    if missing:
        raise LabelSheetError(
            f"{name} lacks {len(missing)} of {len(wanted)} items ({quote_all(missing, 5)}); every item that was drawn "
            f"has to be there, else the labels are no random sample: put the rows back"
        )
    return found


def _answer(row: _Filled, at: str, filled: Sequence[_Filled]) -> Answer:
    words = " ".join(row.label.casefold().split())
    for answer in ANSWERS:
        if words == answer:
            return answer
    allowed = quote_all(ANSWERS)
    if not words:
        more = sum(not other.label.strip() for other in filled) - 1
        also = f", and {more} more items neither" if more else ""
        raise LabelSheetError(
            f"{at}: item {quote(row.item)} has no label{also}; each takes one of {allowed} (`cannot say` where you "
            f"cannot)"
        )
    raise LabelSheetError(f"{at}: {quote(row.label)} is no label: it is one of {allowed}{suggestion(words, ANSWERS)}")


def _filled(path: Path) -> list[_Filled]:
    name = quote(str(path))
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise LabelSheetError(f"{name} is larger than {_MOST_BYTES:,} bytes; no sheet is")
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise LabelSheetError(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except UnicodeDecodeError:
        raise LabelSheetError(f"{name} is not UTF-8 text; save it from the spreadsheet as `CSV UTF-8`") from None
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = next((mark for mark in _DELIMITERS if len(next(csv.reader([first], delimiter=mark), [])) > 1), ",")
    rows: list[_Filled] = []
    with field_limit(DEFAULT_LIMITS.line_bytes):
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        line = 1
        places: dict[str, int] | None = None
        try:
            for cells in reader:
                if places is None:
                    places = _places(cells, name)
                elif any(each.strip() for each in cells):
                    rows.append(_row(cells, places, line, name))
                line = reader.line_num + 1
        except csv.Error as error:
            raise LabelSheetError(f"{name}, line {line}: the row is not CSV: {error}") from None
    if not rows:
        raise LabelSheetError(f"{name} holds no row of a label sheet; `bylaw label export` writes one")
    return rows


def _places(cells: Sequence[str], name: str) -> dict[str, int]:
    names = [each.strip().casefold() for each in cells]
    lacking = [column for column in COLUMNS[:-1] if names.count(column) != 1]
    if lacking:
        raise LabelSheetError(
            f"{name} does not begin with the columns of a label sheet: {quote_all(lacking)} is not there, or there "
            f"twice; keep the first row as `bylaw label export` wrote it"
        )
    return {column: names.index(column) for column in COLUMNS if column in names}


def _row(cells: Sequence[str], places: dict[str, int], line: int, name: str) -> _Filled:
    if len(cells) <= max(places.values()):
        raise LabelSheetError(f"{name}, line {line}: the row has {len(cells)} cells, which are too few")
    told = {column: cells[place] for column, place in places.items()}
    digest = text_digest(told["question"], told["conversation"], told["answer"])
    return _Filled(line, told["item"].strip(), digest, told["label"], told.get("remark", "").strip())
