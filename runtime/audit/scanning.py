"""Which rules hold for texts, decided for all rules and some texts at once.

All patterns of a program that are about one text of the conversation are searched for in one pass
(runtime/audit/text_search.py). What follows from that alone is settled: a rule whose patterns do not occur needs no
look at the text, however many such rules there are. The rest, and only that, is asked of the reference evaluator: rules
that count or read facts, and patterns that no engine takes. The verdicts are those of the evaluator; tests compare them
on random policies and texts.

    Scanner(terms).batch(traces) -> Scanned     # codes [n, m], values(index) [n], score(number, index)

Good batches are 0.5 to 2 MB of text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from bylaw.compiler.evaluate import TermScore, Verdict, evaluate_term, settled, violated
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.situation import Situation
from bylaw.runtime.audit.columns import NOT_APPLICABLE, SATISFIED, VERDICTS, VIOLATED, code_of, value_of
from bylaw.runtime.audit.pattern_sets import Asked, Role, questions_of
from bylaw.runtime.audit.pattern_verdicts import Pattern, Reading
from bylaw.runtime.audit.searched import Ints
from bylaw.runtime.audit.text_search import TextSearch, text_search
from bylaw.spec.trace import Message, Trace

_OPEN: Final = 4
"""In the place of a code: the evaluator has to look."""
_MOST_KEPT: Final = 1000
"""Rows of codes of which the scores are remembered."""
_MOST_REMEMBERED: Final = 100_000
_MOST_BYTES: Final = 1 << 26
"""Combinations of patterns whose consequences are remembered, and bytes that these may take."""

_NEW: Final = -1
"""In the place of a row: that of a combination that is not known yet."""

Codes: TypeAlias = NDArray[np.uint8]
Combination: TypeAlias = int | bytes
"""Stands for patterns that occur together."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """What m terms say of n texts. `codes` [n, m] are those of columns.VERDICTS; scores in full are made when asked
    for. `looked` holds those that the evaluator gave on the way."""

    codes: Codes
    looked: Mapping[tuple[int, int], TermScore]
    _scanner: Scanner
    _traces: Sequence[Trace]

    def values(self, index: int) -> NDArray[np.float64]:
        """[n]: what the law weighs, of the term in this place; nan where it does not apply or is unscored."""
        term = self._scanner.terms[index]
        codes = self.codes[:, index]
        if term.holds is None:
            scores = (self.looked.get((number, index)) for number in range(len(codes)))
            return np.array([np.nan if score is None else value_of(score) for score in scores], np.float64)
        return _values(term)[codes]

    def score(self, number: int, index: int) -> TermScore:
        """All that the evaluator says, with the places of what is broken."""
        kept = self._scanner.kept(self.codes[number].tobytes())[index]
        return kept if kept is not None else self._score(number, index, Situation(self._traces[number]))

    def scores(self, number: int) -> tuple[TermScore, ...]:
        """The same for all terms, in order."""
        found = self._scanner.kept(self.codes[number].tobytes())
        here = Situation(self._traces[number])
        return tuple([self._score(number, index, here) if kept is None else kept for index, kept in enumerate(found)])

    def _score(self, number: int, index: int, here: Situation) -> TermScore:
        """What the code does not say by itself."""
        found = self.looked.get((number, index))
        if found is not None:
            return found
        return self._scanner.told(index, here, self.codes[number, index] == VIOLATED)


@dataclass(slots=True)
class Scanner:
    """Verdicts of many terms on many texts. Not for several threads at once.

    `looks`: how often the evaluator was asked about a term, of `texts` times the number of terms.
    """

    terms: tuple[RewardTerm, ...]
    look: Callable[[RewardTerm, Trace], TermScore] = evaluate_term
    texts: int = 0
    looks: int = 0
    _settled: tuple[dict[int, TermScore], ...] = field(init=False)
    _kept: dict[bytes, list[TermScore | None]] = field(init=False, default_factory=dict)
    _searches: tuple[tuple[Role, TextSearch, int], ...] = field(init=False)
    _following: _Following = field(init=False)

    def __post_init__(self) -> None:
        searches: list[tuple[Role, TextSearch, int]] = []
        patterns: dict[Asked, Pattern] = {}
        number = 0
        for role, questions in questions_of(self.terms).items():
            languages = {number + place: language for place, language in enumerate(questions.values())}
            search = text_search(languages, role[1])
            missing = number + len(languages)
            for place, asked in zip(languages, questions, strict=True):
                if place in search.exact or place in search.inexact:
                    patterns[asked] = Pattern(place, missing, place in search.exact)
            searches.append((role, search, missing))
            number = missing + 1
        self._searches = tuple(searches)
        self._following = _Following(self.terms, patterns, number)
        self._settled = tuple(map(_settled_scores, self.terms))

    def batch(self, traces: Sequence[Trace]) -> Scanned:
        """What each term says of each trace."""
        # most terms are about few texts of the conversation, and each text is in one form only
        return self._scanned(traces, {name: [trace.text(name) for trace in traces] for name in self._names()})

    def verdicts(self, trace: Trace) -> tuple[Verdict, ...]:
        """The verdict of each term, in order."""
        return tuple(VERDICTS[code] for code in self.batch((trace,)).codes[0].tolist())

    def codes_of_texts(self, texts: Sequence[str]) -> Codes:
        """[n, m]: the codes for answers of which nothing else is known."""
        of_roles: dict[str, Sequence[str | None]] = {}
        for name in self._names():
            nothing = None if name == "prompt" else ""
            of_roles[name] = texts if name in ("response", "conversation") else [nothing] * len(texts)
        return self._scanned(_Answers(texts), of_roles).codes

    def verdicts_of_text(self, text: str) -> tuple[Verdict, ...]:
        """The verdict of each term on one such answer."""
        return tuple(VERDICTS[code] for code in self.codes_of_texts((text,))[0].tolist())

    def scores(self, trace: Trace) -> tuple[TermScore, ...]:
        """All that the evaluator says of each term, with the places of what is broken."""
        return self.batch((trace,)).scores(0)

    def asked(self, index: int, trace: Trace) -> TermScore:
        """What the evaluator says."""
        self.looks += 1
        return self.look(self.terms[index], trace)

    def told(self, index: int, here: Situation, is_violated: bool) -> TermScore:
        """All that is to be said of a term of which it is known, or not, that it is violated."""
        if is_violated:
            try:
                return violated(self.terms[index], here)
            except Exception:  # what is then to be said of the text, the one who looks knows
                pass
        return self.asked(index, here.trace)

    def kept(self, codes: bytes) -> list[TermScore | None]:
        """The scores that codes, one a term, say by themselves: of what is kept or does not apply. Read only."""
        known = self._kept.get(codes)
        if known is None:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            known = [scores.get(code) for scores, code in zip(self._settled, codes, strict=True)]
            self._kept[codes] = known
        return known

    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for (name, _), _, _ in self._searches))

    def _scanned(self, traces: Sequence[Trace], texts: Mapping[str, Sequence[str | None]]) -> Scanned:
        count = len(traces)
        self.texts += count
        keys, refused = self._occurring(count, texts)
        rows = self._following.rows(count, keys, refused)
        codes = self._following.codes[rows]
        looked: dict[tuple[int, int], TermScore] = {}
        for number in np.flatnonzero(self._following.is_open[rows]).tolist():
            trace = traces[number]
            for index in np.flatnonzero(codes[number] == _OPEN).tolist():
                found = looked[number, index] = self.asked(index, trace)
                codes[number, index] = code_of(found)
        return Scanned(codes, looked, self, traces)

    def _occurring(self, count: int, texts: Mapping[str, Sequence[str | None]]) -> tuple[Ints, set[int]]:
        """(for each text and what occurs in it a key, ascending; the texts that have to be looked at)."""
        width = self._following.width
        found: list[Ints] = []
        refused: set[int] = set()
        for (name, _), search, missing in self._searches:
            known = texts[name]
            if None not in known:
                keys, unknown = search.found(cast(Sequence[str], known), width)
            else:
                present = [number for number, text in enumerate(known) if text is not None]
                keys, unknown = search.found([text for text in known if text is not None], width)
                absent = np.array([number for number, text in enumerate(known) if text is None], np.int64)
                found.append(absent * width + missing)
                keys = np.array(present, np.int64)[keys // width] * width + keys % width
                unknown = frozenset(present[number] for number in unknown)
            found.append(keys)
            refused |= unknown
        if len(found) == 1:
            return found[0], refused
        return np.sort(np.concatenate([np.zeros(0, np.int64), *found])), refused


@dataclass(frozen=True, slots=True)
class _Answers(Sequence[Trace]):
    """Texts as traces, made where one is asked for."""

    texts: Sequence[str]

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, number: int) -> Trace:  # type: ignore[override]
        return Trace((Message("assistant", self.texts[number]),))


# ------------------------------------------------------------------------------------------------------ consequences
@dataclass(slots=True)
class _Following:
    """What follows for the terms from what occurs; each combination of patterns is thought through once.

    Row 0 of `codes` [.., m] is that of a text about which nothing is known, row 1 that of one in which nothing occurs.
    """

    terms: tuple[RewardTerm, ...]
    patterns: Mapping[Asked, Pattern]
    width: int
    codes: Codes = field(init=False)
    is_open: NDArray[np.bool_] = field(init=False)
    _known: dict[Combination, int] = field(init=False)
    _touched: tuple[tuple[int, ...], ...] = field(init=False)

    def __post_init__(self) -> None:
        touched: list[set[int]] = [set() for _ in range(self.width)]
        for index, term in enumerate(self.terms):
            for questions in questions_of((term,)).values():
                for pattern in filter(None, map(self.patterns.get, questions)):
                    touched[pattern.number].add(index)
                    touched[pattern.missing].add(index)
        self._touched = tuple(tuple(sorted(each)) for each in touched)
        self._forget()

    def rows(self, count: int, keys: Ints, refused: Iterable[int]) -> Ints:
        """[n]: for each text its row of `codes`; what occurs is in `keys`. The rows hold until the next call."""
        if len(self._known) > min(_MOST_REMEMBERED, _MOST_BYTES // max(1, len(self.terms))):
            self._forget()
        texts, numbers = np.divmod(keys, self.width)
        starts = np.flatnonzero(np.diff(texts, prepend=-1))
        ends = np.append(starts, len(keys))[1:]
        combinations = _combinations(numbers, starts, ends, self.width)
        found = [self._known.get(combination, _NEW) for combination in combinations]
        if _NEW in found:
            for place, combination in enumerate(combinations):
                if found[place] == _NEW:
                    occurring = frozenset(numbers[starts[place] : ends[place]].tolist())
                    found[place] = self._known.get(combination) or self._added(combination, occurring)
        rows = np.ones(count, np.int64)
        rows[texts[starts]] = found
        rows[list(refused)] = 0
        return rows

    def _forget(self) -> None:
        self.codes = np.full((16, len(self.terms)), _OPEN, np.uint8)
        nothing = Reading(self.patterns, frozenset())
        self.codes[1] = [_code(nothing.verdict(term)) for term in self.terms]
        self.is_open = (self.codes == _OPEN).any(axis=1)
        self._known = {b"": 1}

    def _added(self, combination: Combination, numbers: frozenset[int]) -> int:
        """The row of a combination that is new: only the terms that ask for one of its patterns differ from row 1."""
        row = len(self._known) + 1
        if row == len(self.codes):
            self.codes = np.concatenate([self.codes, np.empty_like(self.codes)])
            self.is_open = np.concatenate([self.is_open, np.empty_like(self.is_open)])
        reading = Reading(self.patterns, numbers)
        codes = self.codes[row]
        codes[:] = self.codes[1]
        for index in {index for number in numbers for index in self._touched[number]}:
            codes[index] = _code(reading.verdict(self.terms[index]))
        self.is_open[row] = (codes == _OPEN).any()
        self._known[combination] = row
        return row


def _combinations(numbers: Ints, starts: Ints, ends: Ints, width: int) -> list[Combination]:
    """What tells each run of numbers below `width` from others: one number for a short run, else its bytes."""
    counts = ends - starts
    most = 62 // (width + 1).bit_length()
    packed = np.zeros(len(starts), np.int64)
    for place in range(min(most, int(counts.max(initial=0)))):
        more = np.flatnonzero(counts > place)
        packed[more] = packed[more] * (width + 1) + numbers[starts[more] + place] + 1
    found: list[Combination] = [*packed.tolist()]
    for place in np.flatnonzero(counts > most).tolist():
        found[place] = numbers[starts[place] : ends[place]].tobytes()
    return found


def _code(verdict: Verdict | None) -> int:
    return _OPEN if verdict is None else VERDICTS.index(verdict)


def _settled_scores(term: RewardTerm) -> dict[int, TermScore]:
    kept = {NOT_APPLICABLE: settled(term, Verdict.NOT_APPLICABLE)}
    if term.holds is not None:
        kept[SATISFIED] = settled(term, Verdict.SATISFIED)
    return kept


def _values(term: RewardTerm) -> NDArray[np.float64]:
    """For each code the value of a statement that has it."""
    values = np.full(len(VERDICTS), np.nan)
    values[[SATISFIED, VIOLATED]] = (0.0, -1.0) if term.kind != "budget" else (0.0, 1.0)
    if term.kind == "budget" and term.sense == "at least":
        values[[SATISFIED, VIOLATED]] = (1.0, 0.0)
    return values
