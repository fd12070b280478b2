"""Which answers several questions about a text, or about the arguments of a call, can have together.

A pattern is one combination of answers (0 false, 1 unknown, 2 true), with a text that has it. Automata prove that there
is no other combination; where a question is none for automata, more combinations stay possible, without a text.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

from bylaw.compiler.automata.algebra import any_witness, shortest_witness
from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.dfa import Dfa
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.candidates import candidates
from bylaw.compiler.evaluate import truth
from bylaw.compiler.expressions import truth_in
from bylaw.compiler.monitors.reading import RESPONSE, breakpoint, is_linear, said_of_response
from bylaw.compiler.regular import dfa_of
from bylaw.compiler.situation import Situation
from bylaw.compiler.values import Unknown
from bylaw.spec.charset import CharSet
from bylaw.spec.expression import (
    BooleanExpression,
    BooleanFact,
    Compare,
    Concept,
    ConceptScore,
    Fact,
    Holds,
    NumberConstant,
    NumberFact,
    Regex,
)
from bylaw.spec.logic import walk
from bylaw.spec.trace import FactValue, Message, Trace, written

FALSE, UNKNOWN, TRUE = 0, 1, 2
Values = tuple[int, ...]
LIKELY = ("a", "", "yes", "A", "1", "{}", "Yes.")
SEARCH_LIMIT, SHORTEST_LIMIT = 20_000, 2_000
MOST_PATTERNS = 256
NUMBERS = (1.0, 0.0, 10.0, 100.0, 1000.0, -1.0)
NUMBER_TEXT = Regex(r"\s*[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?\s*")
TRUTH_TEXT = Regex(r"\s*(true|false)\s*", "i")


class NotDecided(Exception):
    """What monitors describe does not settle the question: `reason`, in words for the author."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def coded(value: bool | Unknown) -> int:
    """0 for false, 1 for unknown, 2 for true: `and` is the least, `or` the greatest."""
    return UNKNOWN if isinstance(value, Unknown) else TRUE if value else FALSE


@dataclass(frozen=True, slots=True)
class Pattern:
    """One combination of answers, texts (or values of an argument) that have it, and automata that all accept every
    such text, and with `is_tight` nothing else. Without an example, it is only not known to be impossible."""

    values: Values
    examples: tuple[FactValue, ...]
    languages: tuple[Dfa, ...] = ()
    is_tight: bool = False


@dataclass(frozen=True, slots=True)
class Patterns:
    """All combinations that are possible. `is_exact` says that each has an example."""

    items: tuple[Pattern, ...]
    is_exact: bool


# ------------------------------------------------------------------------------------------------------------- texts
@lru_cache(maxsize=256)
def text_patterns(questions: tuple[BooleanExpression, ...], is_thorough: bool = True) -> Patterns:
    """The combinations of answers to questions about one text, each asked of the response. Raises NotDecided.

    Unless `is_thorough`, a few likely texts are tried and no automata are built: all other combinations stay possible.
    """
    found: dict[Values, str] = {}
    for text in _likely_texts(questions):
        found.setdefault(answers_to(questions, text), text)
    if not is_thorough:
        likely = [Pattern(values, (text,)) for values, text in found.items()]
        others = list(_possible(questions, set(found), [], {()}))
        return Patterns((*likely, *others), not others)
    languages = [language_of(question) for question in questions]
    regular = [place for place, language in enumerate(languages) if language is not None]
    signed = [(language, language.complement()) for language in languages if language is not None]
    known = {tuple(values[place] for place in regular): text for values, text in found.items()}
    combinations, is_complete = _combinations(signed, known)
    for signs in combinations:
        shorter = _readable([pair[sign == FALSE] for pair, sign in zip(signed, signs, strict=True)], known.get(signs))
        if shorter is not None:
            values = answers_to(questions, shorter)
            found[values] = min(shorter, found.get(values, shorter), key=len)
    is_exact = is_complete and len(regular) == len(questions)
    items = []
    for values, text in found.items():
        chosen = tuple(pair[values[at] == FALSE] for pair, at in zip(signed, regular, strict=True))
        items.append(Pattern(values, (text,), chosen, len(regular) == len(questions)))
    if not is_exact:
        items += _possible(questions, set(found), regular, set(combinations))
    return Patterns(tuple(items), is_exact)


def _likely_texts(questions: tuple[BooleanExpression, ...]) -> Iterator[str]:
    concepts = [part.concept for question in questions for part in walk(question) if isinstance(part, ConceptScore)]
    likely = itertools.chain(LIKELY, *(map(_examples, concepts)), *(candidates([one]) for one in questions))
    return itertools.islice(dict.fromkeys(itertools.chain(likely, candidates(questions))), 64)


def _examples(concept: Concept) -> Iterable[str]:
    return (*concept.like[:2], *concept.unlike[:2])


def answers_to(questions: Sequence[BooleanExpression], text: str) -> Values:
    trace = Trace((Message("assistant", text),))
    return tuple(coded(truth(question, trace)) for question in questions)


@lru_cache(maxsize=512)
def language_of(question: BooleanExpression) -> Dfa | None:
    """The texts of which this is true, where that is a regular language of a reasonable size."""
    return dfa_of(question)


def _combinations(signed: list[tuple[Dfa, Dfa]], known: dict[Values, str]) -> tuple[list[Values], bool]:
    """The combinations that automata do not rule out, and whether each of them has a text (added to `known`)."""
    level: list[Values] = [()]
    is_complete = True
    for length in range(1, len(signed) + 1):
        longer = []
        for signs in ((*shorter, sign) for shorter in level for sign in (TRUE, FALSE)):
            if not any(each[:length] == signs for each in known):
                try:
                    text = any_witness([signed[at][sign == FALSE] for at, sign in enumerate(signs)], SEARCH_LIMIT)
                except StateLimit:
                    is_complete = False
                else:
                    if text is None:
                        continue
                    known[tuple(TRUE if yes.accepts(text) else FALSE for yes, _ in signed)] = text
            longer.append(signs)
        level = longer
        if len(level) > MOST_PATTERNS:
            raise NotDecided("the rules ask too many different things about one text")
    return level, is_complete


def _readable(languages: list[Dfa], text: str | None) -> str | None:
    """A short text that all accept; `text` is one, where one is known."""
    if text in (None, "", "a"):
        return text
    try:
        return shortest_witness(languages, SHORTEST_LIMIT)
    except StateLimit:
        return text


def _possible(
    questions: tuple[BooleanExpression, ...], found: set[Values], regular: list[int], combinations: set[Values]
) -> Iterator[Pattern]:
    """Combinations for which there is no example, although nothing rules them out."""
    if len(questions) > 8:
        raise NotDecided("the rules ask too many different things about one text")
    for values in itertools.product((TRUE, FALSE), repeat=len(questions)):
        if values not in found and tuple(values[place] for place in regular) in combinations:
            yield Pattern(values, ())


# --------------------------------------------------------------------------------------- values of arguments and facts
@lru_cache(maxsize=256)
def value_patterns(path: str, questions: tuple[BooleanExpression, ...], is_thorough: bool = True) -> Patterns:
    """The combinations of answers to questions about one argument of a call (`it.NAME`), or about one fact, that is
    there. Raises NotDecided. `is_thorough` as for texts."""
    kinds = {type(part) for each in questions for part in walk(each) if getattr(part, "path", None) == path}
    values: list[FactValue] = []
    texts: Patterns | None = None
    if NumberFact in kinds:
        values += _numbers(questions, path)
    if BooleanFact in kinds:
        values += [True, False]
    if Fact in kinds:
        about = tuple(said_of_response(each, Fact(path)) for each in questions if _reads_text(each, path))
        texts = text_patterns(about, is_thorough)
        if kinds == {Fact}:
            return texts
        values += [example for each in texts.items for example in each.examples]
        digits = [text for text in values if isinstance(text, str) and text.isdecimal()]
        values += [other for text in digits for other in (f"-{text}", f"0.{text}", f"{text}000")]
    found: dict[Values, list[FactValue]] = {}
    for value in values:
        found.setdefault(tuple(_answer(question, path, value) for question in questions), []).append(value)
    language: tuple[Dfa, ...] = ()
    if len(kinds) == 1 and is_thorough:
        language = _whole(NUMBER_TEXT if kinds == {NumberFact} else TRUTH_TEXT)
    items = [Pattern(each, tuple(examples), language) for each, examples in found.items()]
    if not _is_simple(questions, path):
        items += _possible(questions, set(found), [], {()})
        return Patterns(tuple(items), False)
    return Patterns(tuple(items), True)


def _reads_text(question: BooleanExpression, path: str) -> bool:
    """Whether it reads the argument as a text, and not as a number or as true or false."""
    paths = [part for part in walk(question) if isinstance(part, (Fact, NumberFact, BooleanFact)) and part.path == path]
    return bool(paths) and all(isinstance(part, Fact) for part in paths)


def _is_simple(questions: tuple[BooleanExpression, ...], path: str) -> bool:
    """Whether the examples of `value_patterns` are all there can be: comparisons with constants, or only the truth."""
    number = NumberFact(path)
    return all(isinstance(question, BooleanFact) for question in questions) or all(
        isinstance(question, Compare)
        and {type(question.left), type(question.right)} == {NumberFact, NumberConstant}
        and number in (question.left, question.right)
        for question in questions
    )


def _numbers(questions: tuple[BooleanExpression, ...], path: str) -> list[float]:
    """Numbers at, beside and between all those where an answer may change; small whole ones first."""
    points = sorted({point for each in questions if (point := breakpoint(each, path)) is not None})
    found = [1.0, 0.0, *(math.floor(point) + 1.0 for point in points), *(math.ceil(point) - 1.0 for point in points)]
    found += points
    between = [(one + other) / 2 for one, other in itertools.pairwise(points)]
    found += [round(point, digits) for digits in range(4) for point in between] + between
    for point in points:
        found += [point + 0.5, point * 2, point * 10, math.nextafter(point, math.inf), math.nextafter(point, -math.inf)]
    if not all(is_linear(question, path) for question in questions):
        found += NUMBERS
    return list(dict.fromkeys(value + 0.0 for value in found if math.isfinite(value)))


def _answer(question: BooleanExpression, path: str, value: FactValue) -> int:
    call = Message("assistant", written(value), "tool", ((path.removeprefix("it."), value),))
    if path.startswith("it."):
        return coded(truth_in(question, Situation(Trace((call,))).at(0)))
    return coded(truth(question, Trace((Message("assistant", ""),), {path: value})))


@cache
def _whole(pattern: Regex) -> tuple[Dfa, ...]:
    language = dfa_of(Holds("match", RESPONSE, (pattern,)))
    return () if language is None else (language,)


@lru_cache(maxsize=256)
def exactly(texts: tuple[str, ...]) -> Dfa:
    """The automaton of these texts as they are stored, and no others."""
    points = sorted({ord(char) for text in texts for char in text})
    alphabet = Alphabet.of([CharSet.of_ranges([(point, point)]) for point in points])
    states = {"": 0}
    for text in texts:
        for length in range(1, len(text) + 1):
            states.setdefault(text[:length], len(states))
    nowhere = len(states)
    rows = [[nowhere] * alphabet.size for _ in range(nowhere + 1)]
    for prefix, state in states.items():
        if prefix:
            rows[states[prefix[:-1]]][alphabet.index(prefix[-1])] = state
    accept = tuple(state < nowhere and prefix in texts for prefix, state in [*states.items(), ("", nowhere)])
    return Dfa(alphabet, tuple(map(tuple, rows)), 0, accept)
