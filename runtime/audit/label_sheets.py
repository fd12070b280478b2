"""Which answers people label, and what is kept of that: drawn at random, by verdict or evenly, blind and by a seed.

These are labels of whole rules ("does this answer break it?"), by which the rates of an audit are corrected. Labels of
concepts, from which scorers learn, are another matter: runtime/concepts/labels.py.

A sheet is drawn from the answers of one audit that a rule says something about: those that break it, that keep it, and
that it could not score; with `not_applicable` also from those to which it says it does not apply. The key that stays
behind holds what labellers must not see: verdicts, places, and from which stratum each answer of the audit could have
been drawn. Whoever has it can estimate; whoever labels has the sheet alone.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import random
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from bylaw.compiler.program import RewardTerm, verdict_digest
from bylaw.runtime.audit.inputs import quote
from bylaw.runtime.record import RecordError, parsed, read_back, writable
from bylaw.spec.trace import Message, Trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

By = Literal["verdict", "random"]
Answer = Literal["yes", "no", "does not apply", "cannot say"]
ANSWERS: tuple[Answer, ...] = ("yes", "no", "does not apply", "cannot say")

YES, NO, UNSCORED, NOT_APPLICABLE = "judged yes", "judged no", "not scored", "judged not to apply"
EVENLY = "all"
"""The one stratum of a sheet that was drawn evenly."""

_LEAST = 2
"""Labels of a stratum without which nothing is known of how its answers differ."""
SCHEMA_VERSION = 1
KEY_KIND, LABELS_KIND = "key of a bylaw label sheet", "labels of a bylaw label sheet"


_Kind = TypeVar("_Kind", "Key", "Labels")


class LabelSheetError(Exception):
    """A sheet, key or file of labels that cannot be drawn, read or used; text fit for users."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """One group of answers that labels were drawn from at random: `texts` there are, `drawn` are on the sheet."""

    name: str
    texts: int
    drawn: int


@dataclass(frozen=True, slots=True)
class RuleSheet:
    """What was drawn for one clause. `frame`: the stratum of every answer of the audit, packed (`frame_of`): 0 for
    none, else the number of the stratum, from 1. `question` is what people are asked. `verdict_digest`: of what decides
    the verdicts of the clause (compiler/program.py); empty in files that were written before there was one."""

    term: str
    clause: str
    question: str
    strata: tuple[Stratum, ...]
    frame: str
    verdict_digest: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One row of a sheet. `place`: the number of the answer in the audit, from 0; `stratum`: the number of it, from 1.
    `text`: digest of what the row shows. `is_shared`: the second sheet has it too."""

    item: str
    term: str
    place: int
    stratum: int
    text: str
    is_shared: bool


@dataclass(frozen=True, slots=True)
class Drawn:
    """What sheets were drawn from and for: digests of the policy and of the answers, the seed, and how."""

    policy: str
    policy_version: str
    policy_digest: str
    source: str
    transcripts: int
    transcripts_digest: str
    by: By
    seed: int
    rules: tuple[RuleSheet, ...]


@dataclass(frozen=True, slots=True)
class Key:
    """What stays behind when sheets go to people. `items` are in the order of the sheet."""

    kind: str
    drawn: Drawn
    items: tuple[Item, ...]
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class Label:
    """One labelled answer: what each person said, in the order of the files, and wrote beside it; None: it is not on
    the sheet of that person."""

    item: str
    term: str
    place: int
    stratum: int
    answers: tuple[Answer | None, ...]
    remarks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Labels:
    """Labels of people with all that is needed to correct rates by them. `files`: what each person's was called."""

    kind: str
    drawn: Drawn
    files: tuple[str, ...]
    labels: tuple[Label, ...]
    schema_version: int = SCHEMA_VERSION


# ---------------------------------------------------------------------------------------------------------- digests
def transcripts_digest(traces: Iterable[Trace]) -> tuple[str, int]:
    """(SHA-256 over the messages of all transcripts in order, how many there are). Facts and ids are not in it."""
    from bylaw.runtime.audit.columns import key_of

    found, count = hashlib.sha256(), 0
    for trace in traces:
        found.update(key_of(trace.messages))
        count += 1
    return "sha256:" + found.hexdigest(), count


def text_digest(*cells: str) -> str:
    """Of what a row shows; line breaks of other systems and blanks at the ends make no difference."""
    words = [cell.replace("\r\n", "\n").replace("\r", "\n").strip() for cell in cells]
    return hashlib.sha256(json.dumps(words, ensure_ascii=True).encode()).hexdigest()[:32]


# ---------------------------------------------------------------------------------------------------------- drawing
def question_of(term: RewardTerm, clause: str) -> str:
    """What people are asked about an answer. Raises LabelSheetError for a clause that measures a quantity."""
    if term.holds is None:
        raise LabelSheetError(
            f"{quote(term.id)} measures a quantity; people can be asked about clauses that an answer keeps or breaks"
        )
    asked = "Does the answer break this rule?"
    if term.kind == "budget":
        asked = "Does what this limit counts happen in the answer?"
    named = "" if term.title is None else f" {term.title}:"
    return f"{asked}{named} {clause} (answer: {' / '.join(ANSWERS)})"


def draw(
    term: RewardTerm,
    clause: str,
    codes: NDArray[np.uint8],
    values: NDArray[np.float64],
    *,
    number: int,
    by: By,
    not_applicable: int = 0,
    seed: int = 0,
    silent: NDArray[np.bool_] | None = None,
) -> tuple[RuleSheet, list[tuple[int, int]]]:
    """(what was drawn for a clause, the answers in random order: (place, number of the stratum)).

    `codes` and `values` [n] are the columns of the clause. By verdict, answers that are judged yes and no get half of
    `number` each, and those without a verdict their share of it (5 at least); what a small stratum leaves goes to the
    others. Evenly, all of these are one stratum. `not_applicable` more are drawn from those to which the clause is
    judged not to apply. `silent` [n]: transcripts without an answer, of which nobody can judge one; they are not drawn.
    Raises LabelSheetError where there is nothing to draw from, and for a quantity.
    """
    import numpy as np

    from bylaw.runtime.audit.columns import NOT_APPLICABLE as OUT
    from bylaw.runtime.audit.columns import UNSCORED as NONE

    question = question_of(term, clause)
    judged, unscored = codes < OUT, codes == NONE
    if silent is not None:
        unscored &= ~silent
    groups: list[tuple[str, NDArray[np.bool_]]] = [
        (YES, judged & (values != 0)), (NO, judged & (values == 0)), (UNSCORED, unscored),
    ]  # fmt: skip
    groups = [(name, mask) for name, mask in groups if mask.any()]
    if not groups:
        raise LabelSheetError(
            f"{quote(term.id)} applies to none of the {len(codes):,} transcripts, so there is nothing to label"
        )
    if by == "random":
        groups = [(EVENLY, np.logical_or.reduce([mask for _, mask in groups]))]
        wanted = [min(number, int(groups[0][1].sum()))]
    else:
        wanted = _allocated([(name, int(mask.sum())) for name, mask in groups], number)
    out = codes == OUT
    if not_applicable and out.any():
        groups.append((NOT_APPLICABLE, out))
        wanted.append(min(max(_LEAST, not_applicable), int(out.sum())))
    frame, rng, places = np.zeros(len(codes), np.uint8), random.Random(f"{seed}:{term.id}"), []
    strata = []
    for index, ((name, mask), count) in enumerate(zip(groups, wanted, strict=True), 1):
        frame[mask] = index
        there = np.flatnonzero(mask).tolist()
        strata.append(Stratum(name, len(there), count))
        places += [(place, index) for place in rng.sample(there, count)]
    rng.shuffle(places)
    return RuleSheet(term.id, clause, question, tuple(strata), _packed(frame), verdict_digest(term)), places


def _allocated(sizes: Sequence[tuple[str, int]], number: int) -> list[int]:
    """How many answers to draw from each stratum, at least two where there are so many."""
    total = sum(size for _, size in sizes)
    least = [min(size, _LEAST) for _, size in sizes]
    found = list(least)
    for index, (name, size) in enumerate(sizes):
        if name == UNSCORED:
            found[index] = min(size, max(5, math.ceil(number * size / total)))
    # one after the other to the verdict that has fewest so far, so that a small one leaves its part to the other
    for _ in range(number - sum(found)):
        open_ = [i for i, (name, size) in enumerate(sizes) if name != UNSCORED and found[i] < size]
        if not open_:
            break
        found[min(open_, key=lambda i: found[i])] += 1
    return found


def _packed(frame: NDArray[np.uint8]) -> str:
    return base64.b64encode(zlib.compress(frame.tobytes(), 9)).decode("ascii")


def frame_of(sheet: RuleSheet, count: int) -> NDArray[np.uint8]:
    """The stratum of every answer [count]. Raises LabelSheetError where it is not of so many, or of other strata."""
    import numpy as np

    try:
        data = zlib.decompressobj().decompress(base64.b64decode(sheet.frame, validate=True), count + 1)
    except (binascii.Error, zlib.error, ValueError):
        data = b""
    frame = np.frombuffer(data, np.uint8)
    sizes = np.bincount(frame, minlength=len(sheet.strata) + 1)
    if len(frame) != count or sizes[1:].tolist() != [stratum.texts for stratum in sheet.strata]:
        raise LabelSheetError(
            f"the strata of {quote(sheet.term)} do not fit the {count:,} transcripts it was drawn from"
        )
    return frame


# ------------------------------------------------------------------------------------------------------------ files
def sealed(record: Key | Labels) -> str:
    """The record as JSON, with a digest over it. It shows what was changed by mistake; it is no signature."""
    data = writable(asdict(record))
    text = {**data, "seal": _seal(data)}
    return json.dumps(text, ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def _seal(data: dict[str, Any]) -> str:
    words = json.dumps(data, ensure_ascii=True, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return "sha256:" + hashlib.sha256(words.encode()).hexdigest()


def key_of_text(text: str, name: str) -> Key:
    """Reads a key back; `name` is what messages call the file. Raises LabelSheetError."""
    return _opened(Key, KEY_KIND, "key", text, name)


def labels_of_text(text: str, name: str) -> Labels:
    """Reads labels back; `name` is what messages call the file. Raises LabelSheetError."""
    return _opened(Labels, LABELS_KIND, "labels", text, name)


def _opened(kind: type[_Kind], wanted: str, word: str, text: str, name: str) -> _Kind:
    makes = {"key": "`bylaw label export` writes it beside the sheet", "labels": "`bylaw label import` writes it"}[word]
    try:
        data = parsed(text)
        if not isinstance(data, dict) or data.get("kind") != wanted:
            raise RecordError(f"it does not say that it is the {wanted}")
        if data.get("schema_version") != SCHEMA_VERSION:
            raise RecordError(f"it has version {data.get('schema_version')!r}, and this bylaw reads {SCHEMA_VERSION}")
        seal = data.pop("seal", None)
        if seal != _seal(data):
            raise RecordError("it was changed after it was written")
        return read_back(kind, json.dumps(data), data)
    except RecordError as error:
        raise LabelSheetError(f"{quote(name)} is no {word} file that can be used: {error} ({makes})") from None


# -------------------------------------------------------------------------------------------------------- what is shown
def shown(trace: Trace) -> tuple[str, str]:
    """(the conversation before the answer, the answer) as a labeller sees them. Nothing else of a transcript is shown:
    its name, facts and scores may say which model wrote it."""
    said = trace.messages
    answer = trace.response
    before = said if answer is None else said[:-1]
    return "\n\n".join(f"{_who(each)}: {each.content}" for each in before), answer or ""


def _who(message: Message) -> str:
    return {"call": f"call to {message.tool}", "output": f"output of {message.tool}"}.get(message.kind, message.role)
