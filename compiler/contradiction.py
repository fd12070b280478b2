"""Whether some answer does all that is demanded of it: a text that shows it, a proof that there is none, or neither.

Known and likely texts are tried first, then the arithmetic of counts, then automata. Of many demands only those take
part in a product of automata that the last text found still breaks, so a thousand rules cost little more than the few
that are hard to obey together (lazy constraint generation, as in counterexample-guided abstraction refinement).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

from bylaw.compiler.demands import Demand
from bylaw.compiler.witnesses import Proved, Witnesses, is_true_of
from bylaw.spec.expression import BooleanExpression, Holds, Matcher, Not

if TYPE_CHECKING:  # most policies are checked without automata
    from bylaw.compiler.automata.dfa import Dfa

SEARCH_LIMIT = 50_000
MOST_COUNTED = 60
"""Demands whose counts are put into one system of inequalities."""
LONG_LIST = 60
"""Entries; of a longer list only those take part in a product that matter."""
MOST_ADDED = 3
_UNTOLD = re.compile(r"a statement|<=")
_AMOUNT = re.compile(r"\d|\bno\b")
"""What a proof by arithmetic has that is about amounts; another one says less than automata do."""
"""Demands that join the product at once."""


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Demands, by number, that no answer obeys together, while one obeys every smaller part of them; `proof` says in
    words what proves it."""

    members: tuple[int, ...]
    proof: str


@dataclass(frozen=True, slots=True)
class Open:
    """Demands, by number, of which it was not decided whether they can be obeyed (together); `why` in words."""

    members: tuple[int, ...]
    why: tuple[str, ...]


def contradiction(
    demands: Sequence[Demand], witnesses: Witnesses, limit: int = SEARCH_LIMIT, *, is_anew: bool = False
) -> Contradiction | Open | None:
    """None when an answer is known that obeys all of the demands, which read the answer alone.

    A contradiction is proved; where parts of it are too large to be decided alone, it may not be a smallest one.
    """
    keys = [demand.key for demand in demands]
    if witnesses.known_to_obey(keys) is not None:
        return None
    known = None if is_anew else witnesses.known_conflict(frozenset(keys))
    if known is not None:
        return Contradiction(tuple(sorted(keys.index(key) for key in known.members)), known.proof or "")
    if witnesses.obeying([demand.obeyed for demand in demands], keys) is not None:
        return None
    question = question_of(limit, keys)
    known = None if is_anew else witnesses.remembered(question)
    if known is None:
        found = _found(demands, witnesses, limit)
        if found is not None:
            named = tuple(keys[number] for number in found.members)
            answer = Proved(named, found.proof) if isinstance(found, Contradiction) else Proved(named, None, found.why)
            witnesses.remember(question, answer)
        return found
    members = tuple(sorted(keys.index(key) for key in known.members))
    return Open(members, known.why) if known.proof is None else Contradiction(members, known.proof)


def _found(demands: Sequence[Demand], witnesses: Witnesses, limit: int) -> Contradiction | Open | None:
    """Arithmetic first, which is told in words, then automata, then whether one rule is the opposite of another."""
    counted = _counted(demands)
    if counted is not None and _AMOUNT.search(counted.proof) and not _UNTOLD.search(counted.proof):
        return counted
    found = _Search(demands, witnesses, limit).run()
    return counted or opposites(demands) or found if isinstance(found, Open) else found


def opposites(demands: Sequence[Demand]) -> Contradiction | None:
    """Two demands of which one is the opposite of the other, whatever they speak of."""
    place = {demand.key: number for number, demand in enumerate(demands)}
    for number, demand in enumerate(demands):
        other = place.get(demand.broken().key)
        if other is not None:
            return Contradiction(
                (min(number, other), max(number, other)), "one asks for exactly what the other forbids"
            )
    return None


def _counted(demands: Sequence[Demand]) -> Contradiction | None:
    """A contradiction between counts, which says in words why, whatever the numbers."""
    from bylaw.compiler.counts import counts_contradiction

    if len(demands) > MOST_COUNTED:
        return None
    found = counts_contradiction([demand.obeyed for demand in demands])
    return None if found is None or found.only_ascii else Contradiction(found.statements, found.text)


@dataclass(slots=True)
class _Search:
    """The lazy product. Of a demand that forbids a long list, only those entries take part that a text has had: what
    contradicts a part of the list contradicts the whole."""

    demands: Sequence[Demand]
    witnesses: Witnesses
    limit: int
    entries: dict[int, tuple[Matcher, ...]] = field(default_factory=dict)

    def run(self) -> Contradiction | Open | None:
        from bylaw.compiler.automata.algebra import any_witness
        from bylaw.compiler.automata.partition import StateLimit
        from bylaw.compiler.regular import why_not_regular

        text, active, irregular = "", list[int](), list[int]()
        while True:
            broken = [n for n, demand in enumerate(self.demands) if not is_true_of(demand.obeyed, text)]
            if not broken:
                self.witnesses.kept(text)
                return None
            grown = [n for n in broken if self._has_grown(n, text)]
            usable = [n for n in broken if n not in irregular and self._has_language(n, irregular)]
            added = [n for n in usable if n not in active][:MOST_ADDED]
            if not added and not set(grown) & set(active):
                if set(usable) & set(active):
                    raise AssertionError(f"an automaton and the evaluator disagree about {text!r}")
                why = tuple(dict.fromkeys(why_not_regular(self.demands[n].term) for n in irregular))
                return Open(tuple(irregular), why)
            active += added
            try:
                found = any_witness([self._language(n) for n in active], self.limit, letters=self.witnesses.letters)
            except StateLimit:
                return Open(tuple(active), ("the search grew too large",))
            if found is None:
                return self._smallest(active)
            text = found

    def _has_grown(self, number: int, text: str) -> bool:
        """Whether a text has entries of a long list that have not taken part yet; from now on they do."""
        match self.demands[number].obeyed:
            case Not(Holds(_, _, matchers, "any") as listed) if len(matchers) > LONG_LIST and not listed.in_order:
                known = self.entries.get(number, ())
                rest = [m for m in matchers if m not in known]
                had = [m for m in rest if is_true_of(replace(listed, matchers=(m,)), text)]
                more = [m for m in rest if m not in had][: len(known)] if had else []  # twice as many each time
                self.entries[number] = (*known, *had, *more)
                return bool(had)
        return False

    def _statement(self, number: int) -> BooleanExpression:
        statement = self.demands[number].obeyed
        if number in self.entries:
            assert isinstance(statement, Not)
            assert isinstance(statement.item, Holds)
            return Not(replace(statement.item, matchers=self.entries[number]))
        return statement

    def _has_language(self, number: int, irregular: list[int]) -> bool:
        if self.witnesses.language(self._statement(number)) is not None:
            return True
        irregular.append(number)
        return False

    def _language(self, number: int) -> Dfa:
        language = self.witnesses.language(self._statement(number))
        assert language is not None
        return language

    def _smallest(self, active: list[int]) -> Contradiction:
        from bylaw.compiler.automata.algebra import minimal_conflict

        languages = [self._language(n) for n in active]
        found = minimal_conflict(languages, self.limit)
        assert found is not None
        states = sum(languages[place].size for place in found)
        members = tuple(sorted(active[place] for place in found))
        return Contradiction(members, emptiness(states))


def question_of(what: object, keys: Collection[str]) -> str:
    """A short name for a question about statements, in whatever order."""
    return blake2b(" ".join((str(what), *sorted(set(keys)))).encode(), digest_size=16).hexdigest()


def emptiness(states: int) -> str:
    """What a proof by automata is called in a note."""
    return f"proved by the emptiness of a regular language, {states} state{'' if states == 1 else 's'}"
