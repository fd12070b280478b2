"""Which terms of a policy can pay ever more as a response grows, so that the law needs a cap on the length, LAW.md §1.

With unbounded length Z can be infinite: a reward per token outweighs its improbability. If every term's reward is
bounded above for each prompt, Z is finite whatever the model is. This module says which terms are not, from the range
of their quantities alone; whether a given model then has a law is a question about that model (``markov_length``).

The analysis errs on one side only: a term that it does not name is bounded. It reads quantities one by one, so that
`words - words` counts as unbounded. This module does not load numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Final

from bylaw.compiler.counts.words import shown, unit_name
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanExpression,
    Compare,
    ConceptScore,
    Count,
    EventCount,
    Expression,
    FoundAmong,
    MessageText,
    NumberCall,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Rank,
    TextExpression,
)
from bylaw.spec.logic import MIRRORED, reads_response, walk

LENGTH: Final = Count("characters", MessageText("response"))
"""A bound on this bounds everything: there are only so many texts of a length."""

_COUNTED: Final = (0.0, inf)
_SHARE: Final = (0.0, 1.0)
_FUNCTIONS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    dict.fromkeys(
        (
            "average_sentence",
            "average_word",
            "edit_distance",
            "lines_starting",
            "long_palindromes",
            "longest_alliteration",
            "longest_character_run",
            "longest_line",
            "longest_paragraph",
            "longest_repetition",
            "longest_sentence",
            "longest_word",
            "most_repeated_word",
            "nesting_depth",
            "parts",
            "syllables",
            "url_outside",
            "words_before",
        ),
        _COUNTED,
    )
    | dict.fromkeys(("overlap", "repeated_share", "similarity", "unique_word_share"), _SHARE)
    # A word has a syllable at least, and a sentence more than no words.
    | {"reading_ease": (-inf, 206.835 - 84.6), "reading_grade": (11.8 - 15.59, inf)}
)
"""Least and largest values over all texts; a function that is not listed can have any."""
_AS_LONG_AS: Final[Mapping[str, int]] = MappingProxyType(
    {"different_characters": 1, "phrases_found": 1, "quoted_words": 1}
)
"""Functions that count what they find of another argument: no more than that has."""


@dataclass(frozen=True, slots=True)
class QuantityRange:
    """What a quantity can be.

    Attributes:
        low, high: least and largest value over all prompts and responses (−inf, inf: no limit).
        falls, rises: whether for one prompt there can be responses with values below, above, any number.
        is_whole: whether it is always a whole number.
    """

    low: float
    high: float
    falls: bool
    rises: bool
    is_whole: bool = False


@dataclass(frozen=True, slots=True)
class UnboundedTerm:
    """A term without an upper limit on what it pays for a response.

    Attributes:
        term: its id. reason: one clause for people, such as "it pays 0.5 nats for each of the words of the response".
    """

    term: str
    reason: str


def unbounded_terms(program: RewardProgram) -> tuple[UnboundedTerm, ...]:
    """The terms whose reward is not bounded above over the responses to a prompt, in the order of the program.

    Empty: the law exists for every model without a cap on the length. A hard rule that caps the characters of every
    response bounds all; one that caps a quantity bounds the terms on that quantity. A budget counts by the sign that
    its multiplier can have, or has.
    """
    caps = tuple(_caps(program.terms))
    if any(quantity == LENGTH and operator in ("<", "<=", "==") for quantity, operator in caps):
        return ()
    found = ((term, _grows(term, caps)) for term in program.terms)
    return tuple(UnboundedTerm(term.id, reason) for term, reason in found if reason)


def describe(terms: Iterable[UnboundedTerm], cap: int | None = None) -> str:
    """One sentence for a verb to print, for the terms that ``unbounded_terms`` gave; empty for none.

    `cap` is the most tokens that a response can have in the run at hand.
    """
    told = "; ".join(f"`{each.term}`: {each.reason}" for each in terms)
    how = "a cap on the length of responses" if cap is None else f"the cap of {cap} tokens"
    return f"this law exists only with {how} ({told})" if told else ""


def range_of(expression: NumberExpression) -> QuantityRange:
    """The range of a quantity, by interval arithmetic over its parts."""
    match expression:
        case NumberConstant(value):
            return QuantityRange(value, value, False, False, float(value).is_integer())
        case NumberFact():
            return QuantityRange(-inf, inf, False, False)
        case Count(_, subject) | Occurrences(_, subject):
            return QuantityRange(0.0, inf, False, _varies(subject), True)
        case FoundAmong(_, _, matchers):
            return QuantityRange(0.0, float(len(matchers)), False, False, True)
        case ConceptScore():
            return QuantityRange(0.0, 1.0, False, False)
        case EventCount():
            # A response is a text: it adds at most one event to a conversation that is given.
            return QuantityRange(0.0, inf, False, False, True)
        case Rank(alternatives):
            return QuantityRange(-float(len(alternatives)), 0.0, False, False, True)
        case NumberCall():
            return _called(expression)
        case Arithmetic(operator, left, right):
            return _calculated(expression, operator, range_of(left), range_of(right))


def _called(call: NumberCall) -> QuantityRange:
    varies = any(_varies(argument) for argument in call.arguments)
    if call.function in _AS_LONG_AS:
        return QuantityRange(0.0, inf, False, _varies(call.arguments[_AS_LONG_AS[call.function]]), True)
    low, high = _FUNCTIONS.get(call.function, (-inf, inf))
    return QuantityRange(low, high, varies and low == -inf, varies and high == inf)


def _varies(argument: Expression) -> bool:
    """Whether a text or a number can be another one for another response."""
    return reads_response(argument) or any(
        isinstance(part, MessageText) and part.role == "it" for part in walk(argument)
    )


def _calculated(whole: Arithmetic, operator: str, one: QuantityRange, other: QuantityRange) -> QuantityRange:
    is_whole = one.is_whole and other.is_whole
    match operator:
        case "+":
            low, high = one.low + other.low, one.high + other.high
            return QuantityRange(low, high, one.falls or other.falls, one.rises or other.rises, is_whole)
        case "-":
            low, high = one.low - other.high, one.high - other.low
            return QuantityRange(low, high, one.falls or other.rises, one.rises or other.falls, is_whole)
        case "distance":
            grows = one.falls or one.rises or other.falls or other.rises
            inside = max(one.low, other.low) <= min(one.high, other.high)
            least = 0.0 if inside else max(other.low - one.high, one.low - other.high)
            return QuantityRange(least, max(other.high - one.low, one.high - other.low), False, grows, is_whole)
        case "*":
            return _product(one, other, is_whole)
    if _is_count_per_character(whole):
        return QuantityRange(0.0, inf, False, False)
    return _product(one, _inverse(other), False)


def _product(one: QuantityRange, other: QuantityRange, is_whole: bool) -> QuantityRange:
    corners = [_times(a, b) for a in (one.low, one.high) for b in (other.low, other.high)]
    # A side that grows takes the product with it, up or down by the sign that the other side can have.
    rises = any((a.rises and b.high > 0.0) or (a.falls and b.low < 0.0) for a, b in ((one, other), (other, one)))
    falls = any((a.rises and b.low < 0.0) or (a.falls and b.high > 0.0) for a, b in ((one, other), (other, one)))
    return QuantityRange(min(corners), max(corners), falls, rises, is_whole)


def _times(one: float, other: float) -> float:
    return 0.0 if one == 0.0 or other == 0.0 else one * other


def _inverse(divisor: QuantityRange) -> QuantityRange:
    """1 by a quantity that is not 0: a division by 0 has no value, and a whole number is then at least 1 from it."""
    changes = divisor.falls or divisor.rises
    if divisor.low > 0.0 or divisor.high < 0.0:
        ends = sorted(0.0 if abs(end) == inf else 1.0 / end for end in (divisor.low, divisor.high))
        return QuantityRange(ends[0], ends[1], False, False)
    least = -1.0 if divisor.is_whole else -inf
    low, high = (least if divisor.low < 0.0 else 0.0), (-least if divisor.high > 0.0 else 0.0)
    # A fact or a quantity of the prompt is one number for each prompt; only what a response changes can come near 0.
    nears = (changes or divisor.high < inf) and not divisor.is_whole and divisor.low != divisor.high
    return QuantityRange(low, high, nears and low < 0.0, nears and high > 0.0)


def _is_count_per_character(quotient: Arithmetic) -> bool:
    """`commas / characters` of one text: a machine counts no more than so much a character."""
    match quotient:
        case Arithmetic("/", Count(unit, one), Count("characters", other)) if one == other:
            # Characters are counted in the text as it is stored, which its plain form is not much longer than.
            return catalog.unit(unit).machine is not None
    return False


# ------------------------------------------------------------------------------------------------------------- terms
def _grows(term: RewardTerm, caps: tuple[tuple[NumberExpression, str], ...]) -> str | None:
    """Why the reward of a term has no upper limit; None where it has."""
    if term.value is None:
        return None
    found = range_of(term.value)
    below = any(quantity == term.value and operator in ("<", "<=", "==") for quantity, operator in caps)
    above = any(quantity == term.value and operator in (">", ">=", "==") for quantity, operator in caps)
    rises, falls = found.rises and not below, found.falls and not above
    name = _name(term.value)
    if term.kind == "graded":
        weight = term.weight or 0.0
        if weight > 0.0 and rises:
            return f"it pays {weight:g} nats for each unit of {name}, which can grow without end"
        if weight < 0.0 and falls:
            return f"it pays {-weight:g} nats for each unit that {name} falls, which can fall without end"
        return None
    if term.kind != "budget":
        return None
    ups, downs = _signs(term)
    if ups and rises:
        return f"its multiplier pays for {name}, which can grow without end"
    if downs and falls:
        return f"its multiplier pays for less of {name}, which can fall without end"
    return None


def _signs(term: RewardTerm) -> tuple[bool, bool]:
    """(whether a budget's multiplier can pay for more of its quantity, for less of it)."""
    if term.multiplier is not None:
        return term.multiplier < 0.0, term.multiplier > 0.0
    return term.sense in ("at least", "exactly"), term.sense in ("at most", "exactly")


def _caps(terms: Iterable[RewardTerm]) -> Iterator[tuple[NumberExpression, str]]:
    """Quantities that hard rules without a condition hold below, above or at a number that the response cannot move."""
    for term in terms:
        if term.kind == "hard" and term.condition is None and term.holds is not None:
            for part in _conjuncts(term.holds):
                if isinstance(part, Compare):
                    for one, other, operator in (
                        (part.left, part.right, part.operator),
                        (part.right, part.left, MIRRORED[part.operator]),
                    ):
                        if not _varies(other):
                            yield one, operator


def _conjuncts(holds: BooleanExpression) -> Iterator[BooleanExpression]:
    if isinstance(holds, And):
        for item in holds.items:
            yield from _conjuncts(item)
    else:
        yield holds


def _name(expression: NumberExpression) -> str:
    match expression:
        case Count(unit, subject):
            return f"the {unit_name(unit, 2)}{_of(subject)}"
        case Occurrences(_, subject, matchers):
            return f"how often {' or '.join(map(shown, matchers))} occurs{_of(subject)}"
        case NumberCall(function):
            return f"`{function}`"
        case Arithmetic("distance", left, right):
            return f"the distance between {_name(left)} and {_name(right)}"
        case Arithmetic(operator, left, right):
            return f"{_name(left)} {operator} {_name(right)}"
        case NumberConstant(value):
            return f"{value:g}"
        case NumberFact(path):
            return f"`{path}`"
    return "a quantity"


def _of(subject: TextExpression) -> str:
    match subject:
        case MessageText("response"):
            return " of the response"
        case MessageText(role):
            return f" of the {role}"
    return " of a part of the response"
