"""What a comparison of two versions of a policy says, as plain data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from bylaw.compiler.changes.texts import Answer, Result
from bylaw.compiler.pipeline import Compiled
from bylaw.compiler.program import RewardProgram
from bylaw.spec.expression import Extent
from bylaw.spec.regulator import Regulator, RegulatorSet

_WEIGHT = re.compile(r"\s+weight\s+[0-9.]+$")

Direction = Literal["forbidden", "allowed"]
Strength = Literal["hard", "soft", "budget"]
Kind = Literal[
    "rule added",
    "rule removed",
    "rule renamed",
    "rule moved",
    "levels",
    "level",
    "rule word",
    "sentence added",
    "sentence removed",
    "sentence",
    "condition",
    "exception",
    "waivable",
    "overrides",
    "lifted",
    "on violation",
    "weight",
    "limit",
    "suite",
    "concept",
    "parameter",
    "lexicon",
    "definition",
    "template",
    "import",
    "version",
    "title",
    "because",
    "source",
    "examples",
    "tests",
]
"""The kinds of change, in the order in which they are told."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: the file, and the line counted from 1."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class Change:
    """One difference. `about` is a rule, or what else has a name; `words` is a sentence without its name; `old` and
    `new` are the values or the words of the author. `is_meaning` says that the policy means something else by it."""

    kind: Kind
    about: str
    words: str
    is_meaning: bool
    old: str | None = None
    new: str | None = None
    old_place: Place | None = None
    new_place: Place | None = None


@dataclass(frozen=True, slots=True)
class TextChange:
    """Texts that one rule newly forbids or newly allows, or newly weighs or no longer weighs where it is not hard.

    `scope` is `policy` where all hard rules of both versions are looked at, `rule` where it is this rule alone; then
    `others` are rules which settle these texts anyway. `rule` is the name in the version that forbids; `sentence` is
    what the witness breaks there, in the words of the author.
    """

    rule: str
    direction: Direction
    strength: Strength
    scope: Literal["policy", "rule"]
    answer: Answer
    others: tuple[str, ...] = ()
    sentence: str = ""
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """An example or an expectation of a test that comes out differently under the other version.

    `version` is whose it is; `place` where it stands there; `expected` what it says; `found` the verdict of each rule
    under the other version; `text` the last message.
    """

    version: Literal["old", "new"]
    kind: str
    name: str
    text: str
    expected: str
    found: str
    rule: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class TranscriptChange:
    """How often one rule's verdicts went from one to another.

    `counts` are (old verdict, new verdict, how often), of those that changed; `places` are the first conversations,
    each with the two verdicts.
    """

    rule: str
    counts: tuple[tuple[str, str, int], ...]
    places: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class TranscriptChanges:
    """What transcripts show: `total` conversations, `changed` of them with another verdict of some rule; how many break
    a hard rule now and did not before, and the other way round."""

    source: str
    total: int
    changed: int
    newly_forbidden: int
    newly_allowed: int
    rules: tuple[TranscriptChange, ...]


@dataclass(frozen=True, slots=True)
class Overall:
    """Whether the hard rules of the new version, all together, forbid (or allow) any text that the old ones did not.

    `how` says how that is known: `equal` (the typed rules are the same), `proved`, `witness`, or `not decided`.
    """

    direction: Direction
    result: Result
    how: Literal["equal", "proved", "witness", "not decided"]


@dataclass(frozen=True, slots=True)
class PolicyChanges:
    """All that changed from one version of a policy to the other, what a user must know first at the top.

    `rules` counts them in both versions, `titles` are those of rules that have one, `same_by_proof` the rules that are
    written in another way and proved to mean the same.
    """

    old: str
    new: str
    rules: tuple[int, int]
    titles: Mapping[str, str]
    overall: tuple[Overall, Overall]
    texts: tuple[TextChange, ...]
    changes: tuple[Change, ...]
    same_by_proof: tuple[str, ...]
    flips: tuple[Flip, ...]
    transcripts: tuple[TranscriptChanges, ...] = ()

    @property
    def is_same_meaning(self) -> bool:
        """Whether nothing changed but words for readers: known from equal typed rules, or proved."""
        return not any(change.is_meaning for change in self.changes)

    @property
    def undecided(self) -> int:
        """How many questions about texts stayed open."""
        return sum(each.answer.result == "not decided" for each in self.texts)


@dataclass(frozen=True, slots=True)
class Version:
    """One of the two policies, sound and with all its stages."""

    compiled: Compiled
    policy: RegulatorSet
    program: RewardProgram

    @staticmethod
    def of(compiled: Compiled) -> Version:
        """Raises PolicyError for a policy that is not sound."""
        program = compiled.require()
        assert compiled.regulators is not None
        return Version(compiled, compiled.regulators, program)

    def words(self, extent: Extent, most: int = 300) -> str:
        """What the author wrote there, on one line."""
        shown = " ".join(self.compiled.source.text[extent.start : extent.end].split())
        return shown if len(shown) <= most else shown[: most - 1].rstrip() + "…"

    def sentence(self, extent: Extent) -> str:
        """A whole sentence of a rule without its weight, which is told by itself."""
        return _WEIGHT.sub("", self.words(extent, most=extent.end - extent.start + 1))

    def told(self, change: TextChange) -> TextChange:
        """The same with the words of the sentence that its witness breaks in this version."""
        term = change.answer.breaks
        if term is None:
            return change
        return replace(change, sentence=self.sentence(term.extent), place=self.place(term.extent))

    def place(self, extent: Extent) -> Place:
        """Where that is."""
        file = self.compiled.source.file_at(extent.start)
        return Place(file.path, file.position(extent.start)[0])


@dataclass(frozen=True, slots=True)
class RulePair:
    """A rule in both versions; None where it is not there. `why` is what ties two names together."""

    old: tuple[Regulator, ...]
    new: tuple[Regulator, ...]
    why: str = ""

    @property
    def old_name(self) -> str | None:
        return self.old[0].rule if self.old else None

    @property
    def new_name(self) -> str | None:
        return self.new[0].rule if self.new else None

    @property
    def name(self) -> str:
        """The name in the new version, or else in the old one."""
        named: Sequence[Regulator] = self.new or self.old
        return named[0].rule
