"""What a hard or a soft sentence demands of an answer, apart from where it is in force: what proofs speak of."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b

from bylaw.compiler.evaluate import truth
from bylaw.compiler.program import RewardTerm
from bylaw.spec.expression import (
    BooleanCall,
    BooleanConstant,
    BooleanExpression,
    Fact,
    Holds,
    NumberCall,
    Or,
    Phrase,
    TextCall,
)
from bylaw.spec.logic import conjunction, conjuncts, meaning, negate, reads_context, reads_response, walk
from bylaw.spec.normal import plain
from bylaw.spec.trace import Trace


def key_of(statement: BooleanExpression) -> str:
    """A short key that is the same for statements that say the same, on every machine."""
    return blake2b(repr(meaning(statement)).encode(), digest_size=16).hexdigest()


NEVER = key_of(BooleanConstant(False))


@dataclass(frozen=True, slots=True)
class Demand:
    """A term with its condition taken apart.

    `context` are the parts of the condition that are settled before the answer, and `keys` are those of the parts;
    `opposites` are the keys of their opposites, and `pins` the facts that have to be one text. `obeyed` is what an
    answer has to do there: parts of the condition that read the answer belong to it, because an answer can avoid them.
    `key` is that of `obeyed`.
    """

    term: RewardTerm
    context: tuple[BooleanExpression, ...]
    obeyed: BooleanExpression
    keys: frozenset[str]
    opposites: frozenset[str]
    pins: Mapping[str, str]
    key: str
    reads_only_the_answer: bool

    @staticmethod
    def of(term: RewardTerm) -> Demand:
        """Raises ValueError for a term that is neither true nor false of an answer."""
        if term.holds is None:
            raise ValueError(f"`{term.id}` demands nothing")
        settled = map(_settled, conjuncts(term.condition))
        parts = tuple(part for part in settled if part != BooleanConstant(True))
        answered = conjunction(tuple(part for part in parts if reads_response(part)))
        obeyed = term.holds if answered is None else Or((negate(answered), term.holds))
        context = tuple(part for part in parts if not reads_response(part))
        keys = frozenset(map(key_of, context))
        opposites = frozenset(key_of(negate(part)) for part in context)
        pins = dict(pin for part in context if (pin := _pin(part)) is not None)
        return Demand(term, context, obeyed, keys, opposites, pins, key_of(obeyed), not reads_context(obeyed))

    @property
    def is_dead(self) -> bool:
        """Whether it is in force nowhere: something lifts it altogether."""
        return NEVER in self.keys

    def may_meet(self, other: Demand) -> bool:
        """Whether both can be in force together, as far as their words tell."""
        for path, text in self.pins.items():
            if other.pins.get(path, text) != text:
                return False
        return not (self.opposites & other.keys or self.is_dead or other.is_dead)

    def is_in_force_with(self, other: Demand) -> bool:
        """Whether this one is certain to be in force wherever `other` is: its condition is among that of the other."""
        return not self.is_dead and self.keys <= other.keys

    def broken(self) -> Demand:
        """The opposite demand: that the answer breaks this one."""
        opposite = negate(self.obeyed)
        return replace(self, obeyed=opposite, key=key_of(opposite))


def _settled(part: BooleanExpression) -> BooleanExpression:
    """A part that reads nothing, such as one about a parameter, is true or false once and for all."""
    if reads_response(part) or reads_context(part) or isinstance(part, BooleanConstant):
        return part
    if any(isinstance(each, (BooleanCall, TextCall, NumberCall)) for each in walk(part)):
        return part
    value = truth(part, Trace(()))
    return BooleanConstant(value) if isinstance(value, bool) else part


def _pin(part: BooleanExpression) -> tuple[str, str] | None:
    """(path, text) of a fact that has to be this one text; texts with different spellings may be the same."""
    match part:
        case Holds("match", Fact(path), (Phrase(text),)) if part.argument is None:
            return path, unicodedata.normalize("NFKC", plain(text)).casefold()
    return None
