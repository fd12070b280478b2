"""Texts that show what can be obeyed together: most questions about many rules are settled by a few of them.

One text that obeys two rules proves that they do not contradict each other; one that obeys the first and breaks the
second proves that the first does not imply the second. For each statement the bits of two numbers say which of the
texts it is true of, and false of, so that such a text is looked for in all pairs of rules by a few operations on whole
numbers. Automata are asked what is left.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from bylaw.compiler.candidates import candidates
from bylaw.compiler.demands import key_of
from bylaw.compiler.evaluate import truth
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.logic import negate
from bylaw.spec.trace import Trace

if TYPE_CHECKING:  # most policies are checked without automata
    from bylaw.compiler.automata.dfa import Dfa
    from bylaw.compiler.automata.many import EncodedTexts

_TEXT = re.compile(r'"[^"\n]*"')
LIKELY_TEXTS = ("", "a", "A", "1", "{}", "Yes.")
"""Short texts, at least one of which obeys what most policies forbid and ask for."""
MANY = 64
"""Texts to be tried on one statement above which its automaton is built for it."""
MOST_CANDIDATES = 12
MOST_LOOKED_AT = 16


@dataclass(slots=True)
class Tried:
    """What the first `upto` texts say of a statement: the bits of those that it is true of, and false of."""

    true: int = 0
    false: int = 0
    upto: int = 0


@dataclass(frozen=True, slots=True)
class Proved:
    """What became of a question about several statements: the keys of those that no text obeys together (`proof` says
    why), or of those of which that was not decided (`why`, where `proof` is None)."""

    members: tuple[str, ...]
    proof: str | None
    why: tuple[str, ...] = ()


@dataclass(slots=True)
class Witnesses:
    """Texts, and what is known of statements about the answer through them. It grows; what it knows stays true.

    `is_thorough` says that texts which are found are kept to be tried on every statement, for which automata are built
    when there are many: that pays where all pairs of rules are asked about. `letters` are those of an author who writes
    in another alphabet than the Latin one, the most frequent first; texts that are shown are made of them.
    """

    texts: list[str] = field(default_factory=list)
    is_thorough: bool = False
    letters: str = ""
    tried: dict[str, Tried] = field(default_factory=dict)
    proved: dict[str, Proved] = field(default_factory=dict)
    notes: dict[str, str | None] = field(default_factory=dict)
    _conflicts: dict[str, list[str]] = field(default_factory=dict)
    _numbers: dict[str, int] = field(default_factory=dict)
    _languages: dict[str, Dfa | None] = field(default_factory=dict)
    _encoded: EncodedTexts | None = None
    _asked: set[str] = field(default_factory=set)

    def add(self, text: str) -> int:
        """Keeps a text; its number."""
        number = self._numbers.setdefault(text, len(self.texts))
        if number == len(self.texts):
            self.texts.append(text)
        return number

    def language(self, statement: BooleanExpression, key: str | None = None) -> Dfa | None:
        """The automaton of the answers that a statement is true of; None where there is none of a reasonable size."""
        from bylaw.compiler.regular import dfa_of

        key = key_of(statement) if key is None else key
        if key not in self._languages:
            opposite = self._languages.get(key_of(negate(statement)))
            self._languages[key] = dfa_of(statement) if opposite is None else opposite.complement()
        return self._languages[key]

    # --------------------------------------------------------------------------------------------- what is known
    def known(self, key: str) -> tuple[int, int]:
        """The texts that a statement is known to be true of, and false of, as far as they have been tried."""
        tried = self.tried.get(key)
        if tried is None:
            return 0, 0
        self._asked.add(key)
        return tried.true, tried.false

    def are_known_together(self, one: str, other: str) -> bool:
        """Whether a text is known already that both statements are true of, by their keys."""
        first, second = self.tried.get(one), self.tried.get(other)
        return first is not None and second is not None and bool(first.true & second.true)

    def __post_init__(self) -> None:
        for question, answer in self.proved.items():
            self._index(question, answer)

    def remembered(self, question: str) -> Proved | None:
        """What became of a question that was asked before, perhaps in an earlier version of the policy."""
        found = self.proved.get(question)
        if found is not None:
            self._asked.add(question)
        return found

    def remember(self, question: str, answer: Proved) -> None:
        """Keeps the answer to a question."""
        self.proved[question] = answer
        self._asked.add(question)
        self._index(question, answer)

    def known_conflict(self, keys: Collection[str]) -> Proved | None:
        """A contradiction that was proved before and whose statements are all among these."""
        for key in keys:
            for question in self._conflicts.get(key, ()):
                if all(member in keys for member in self.proved[question].members):
                    return self.remembered(question)
        return None

    def _index(self, question: str, answer: Proved) -> None:
        if answer.proof is not None:
            self._conflicts.setdefault(min(answer.members), []).append(question)

    def shown(self, question: str, find: Callable[[], str | None]) -> str | None:
        """A text that `find` gives, or gave before."""
        if question not in self.notes:
            self.notes[question] = find()
        self._asked.add(question)
        return self.notes[question]

    def asked(self) -> dict[str, Tried]:
        """What is known of each statement that was asked about, by its key."""
        return {key: tried for key, tried in self.tried.items() if key in self._asked}

    def asked_notes(self) -> dict[str, str | None]:
        """The texts that were shown."""
        return {key: text for key, text in self.notes.items() if key in self._asked}

    def asked_proofs(self) -> dict[str, Proved]:
        """The answers to all questions that were asked."""
        return {key: proved for key, proved in self.proved.items() if key in self._asked}

    # ------------------------------------------------------------------------------------------- what texts tell
    def true_of(self, statement: BooleanExpression, key: str | None = None) -> int:
        """The texts that a statement is true of, as the bits of a number."""
        return self._tell(statement, key)[0]

    def false_of(self, statement: BooleanExpression, key: str | None = None) -> int:
        """The texts that a statement is false of; a text of which that cannot be told is in neither."""
        return self._tell(statement, key)[1]

    def obeying(self, statements: Sequence[BooleanExpression], keys: Sequence[str] = ()) -> str | None:
        """A known text, or one that is put together now, of which all statements are true; the shortest known one."""
        keys = keys or [key_of(statement) for statement in statements]
        found = self.known_to_obey(keys)
        if found is not None:
            return found
        bits = (1 << len(self.texts)) - 1
        for statement, key in zip(statements, keys, strict=True):
            bits &= self.true_of(statement, key)
            if not bits:
                break
        return self._shortest(bits) if bits else self.combined(statements)

    def known_to_obey(self, keys: Sequence[str]) -> str | None:
        """A text that all statements are known to be true of, by their keys; nothing is tried."""
        bits = (1 << len(self.texts)) - 1
        for key in keys:
            bits &= self.known(key)[0]
            if not bits:
                return None
        return self._shortest(bits)

    def combined(self, statements: Sequence[BooleanExpression]) -> str | None:
        """A text put together from what the statements ask for, of which all of them are true; it is kept."""
        for text in candidates(statements):
            if all(is_true_of(statement, text) for statement in statements):
                return self.kept(text)
        return None

    def kept(self, text: str) -> str:
        """The text, which is added where that pays."""
        if self.is_thorough:
            self.add(text)
        return text

    def _shortest(self, bits: int) -> str:
        """A short one of some texts: those that were kept first are short."""
        return min((self.texts[number] for number in islice(bit_numbers(bits), MOST_LOOKED_AT)), key=len)

    def _tell(self, statement: BooleanExpression, key: str | None = None) -> tuple[int, int]:
        key = key_of(statement) if key is None else key
        tried = self.tried.get(key)
        if tried is None:
            known = self.tried.get(key_of(negate(statement)), Tried())
            tried = self.tried[key] = Tried(known.false, known.true, known.upto)
        self._asked.add(key)
        if tried.upto < len(self.texts):
            self._try(statement, key, tried)
        return tried.true, tried.false

    def _try(self, statement: BooleanExpression, key: str, tried: Tried) -> None:
        total = len(self.texts)
        language = self._languages.get(key)
        if language is None and self.is_thorough and total - tried.upto > MANY:
            language = self.language(statement, key)
        if language is not None and total - tried.upto > MANY:
            from bylaw.compiler.automata.many import accepting

            # All texts at once cost little more than the new ones alone.
            tried.true = accepting(language, self._encode())
            tried.false = ~tried.true & ((1 << total) - 1)
        else:
            for number in range(tried.upto, total):
                said = truth(statement, Trace(()).answered(self.texts[number]))
                if said is True:
                    tried.true |= 1 << number
                elif said is False:
                    tried.false |= 1 << number
        tried.upto = total

    def _encode(self) -> EncodedTexts:
        from bylaw.compiler.automata.many import EncodedTexts

        if self._encoded is None or self._encoded.count != len(self.texts):
            self._encoded = EncodedTexts.of(self.texts)
        return self._encoded

    # ------------------------------------------------------------------------------------------------ new texts
    def likely(self, statement: BooleanExpression, key: str | None = None) -> str | None:
        """A text that a statement is true of, where one is known or easily put together; without automata."""
        known = self.true_of(statement, key)
        if known:
            return self._shortest(known)
        for number, text in enumerate(candidates([statement])):
            if number >= MOST_CANDIDATES:
                return None
            if is_true_of(statement, text):
                return self.kept(text)
        return None


def letters_of(policy: str) -> str:
    """The letters outside ASCII in the texts of a policy, the most frequent first; none where most are of ASCII."""
    if policy.isascii():
        return ""
    counted = Counter(char for text in _TEXT.findall(policy) for char in text if char.isalpha())
    foreign = [char for char, _ in counted.most_common() if not char.isascii()]
    return "".join(foreign) if 2 * sum(counted[char] for char in foreign) > counted.total() else ""


def is_true_of(statement: BooleanExpression, text: str) -> bool:
    """Whether the reference evaluator finds a statement to be true of an answer."""
    return truth(statement, Trace(()).answered(text)) is True


def is_false_of(statement: BooleanExpression, text: str) -> bool:
    """Whether the reference evaluator finds a statement to be false of an answer."""
    return truth(statement, Trace(()).answered(text)) is False


def bit_numbers(bits: int) -> Iterator[int]:
    """The numbers of the bits that are set, lowest first."""
    while bits:
        low = bits & -bits
        yield low.bit_length() - 1
        bits ^= low
