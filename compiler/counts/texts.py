"""How many units a text has at least in which something is found, and how many come with each time it occurs."""

from __future__ import annotations

from functools import cache, lru_cache

from bylaw.compiler.automata.build import occurrences
from bylaw.compiler.automata.partition import StateLimit
from bylaw.compiler.automata.pullback import machine_over_texts
from bylaw.compiler.counts.products import fewest, greatest
from bylaw.compiler.counts.table import ANY_CASE, INSIDE, PARTWISE, PLAIN, names
from bylaw.compiler.regular import RESPONSE, dfa_of, unit_machine
from bylaw.spec import catalog
from bylaw.spec.charset import CharSet
from bylaw.spec.expression import Holds, Matcher, Phrase, Regex
from bylaw.spec.machine import CountingMachine
from bylaw.spec.matching import find_words
from bylaw.spec.normal import LARGEST_CLASS, plain, spelled_text
from bylaw.spec.pattern import Alternate, Assertion, Chars, Concat, Node, PatternError, Repeat, literal, parse_pattern

CHARACTERWISE = names(
    "asterisks capital_letters colons commas consonants dashes digits exclamation_marks full_stops hyphens letters "
    "line_breaks punctuation_marks question_marks quotation_marks semicolons vowels"
)
"""Units that are single characters, the same ones in the plain form of a text as in the text."""

LONGEST_PRODUCT = 60
"""Characters of a phrase, or of a pattern as it is written, for which machines are multiplied."""
MOST_STATES = 2_000
MOST_EACH = 12
_CASES_OF_ASCII = CharSet.of("\u017f\u212a")


def only_form(phrase: Phrase) -> str | None:
    """The one form in which plain texts have a phrase; None where there are several."""
    text = plain(phrase.text)
    if phrase.lookalikes or not text:
        return None
    return text if text.isascii() or spelled_text(text) == literal(text) else None


@cache
def machine_of(unit: str) -> CountingMachine | None:
    """What counts a unit, or plain characters, in texts as they are stored."""
    if unit == PLAIN:
        every = catalog.unit("characters").machine
        assert every is not None
        return machine_over_texts(every())
    return unit_machine(unit)


def count_in(text: str, unit: str) -> int:
    """How many units a plain text has."""
    return len(text) if unit == PLAIN else len(catalog.unit(unit).find(text))


# ---------------------------------------------------------------------------------------------------- where it is found
@lru_cache(maxsize=4096)
def fewest_with(predicate: str, matcher: Matcher, unit: str, by_machines: bool = True) -> int:
    """A number of units that every text has in which the matcher is found like this; 0 where none is known.

    Without `by_machines`, only as far as the matcher itself tells.
    """
    known = _fewest_by_form(predicate, matcher, unit) if isinstance(matcher, Phrase) else 0
    machine = machine_of(unit) if by_machines else None
    written = matcher.text if isinstance(matcher, Phrase) else matcher.source
    if known or machine is None or len(written) > LONGEST_PRODUCT:
        return known
    language = dfa_of(Holds(predicate, RESPONSE, (matcher,)), MOST_STATES)
    if language is None:
        return 0
    try:
        return fewest(language, machine, most_states=MOST_STATES) or 0
    except StateLimit:
        return 0


def _fewest_by_form(predicate: str, phrase: Phrase, unit: str) -> int:
    text = only_form(phrase)
    is_counted = unit == PLAIN or (unit in INSIDE and (unit in CHARACTERWISE or not catalog.unit(unit).is_raw))
    if text is None or not is_counted:
        return 0
    if predicate == "mention" and not (text.isascii() and (unit == PLAIN or unit in ANY_CASE)):
        return 0
    return count_in(text, unit)


# ------------------------------------------------------------------------------------------------- each time it occurs
@lru_cache(maxsize=4096)
def each_brings(predicate: str, matcher: Matcher, unit: str, by_machines: bool = True) -> int:
    """A number of units that come with each occurrence of the matcher; 0 where none is known."""
    if isinstance(matcher, Phrase):
        text = only_form(matcher)
        if text is not None and (unit == PLAIN or unit in CHARACTERWISE):
            return _in_any_case(text, unit) if predicate == "mention" else count_in(text, unit)
    else:
        by_pattern = _brought_by_pattern(matcher, unit)
        if by_pattern:
            return by_pattern
    return _brought_by_product(predicate, matcher, unit) if by_machines else 0


def _in_any_case(text: str, unit: str) -> int:
    if not text.isascii():
        return 0
    return sum(min(count_in(char.lower(), unit), count_in(char.upper(), unit)) for char in text)


def _brought_by_product(predicate: str, matcher: Matcher, unit: str) -> int:
    written = matcher.text if isinstance(matcher, Phrase) else matcher.source
    machine = machine_of(unit)
    if machine is None or len(written) > LONGEST_PRODUCT:
        return 0
    language = catalog.predicate(predicate).language(matcher)
    try:
        times = None if language is None else occurrences(language.node, MOST_STATES)
        if times is None:
            return 0
        found = 0
        while found < MOST_EACH:
            if greatest(((found + 1, times), (-1, machine)), most_states=MOST_STATES) != 0:
                return found
            found += 1
    except StateLimit:
        return 0
    return found


def _brought_by_pattern(matcher: Regex, unit: str) -> int:
    """What the characters of a match are, or what stands on a line that a match begins."""
    try:
        node = parse_pattern(matcher.source, matcher.flags)
    except PatternError:
        return 0
    if unit == PLAIN or unit in CHARACTERWISE:
        return _shortest(node, _characters_of(unit)) if _is_spelled_plainly(node) else 0
    if unit not in PARTWISE or not _is_on_own_line(node) or not matcher.source.startswith("^"):
        return 0
    rest = Regex(matcher.source[1:], matcher.flags)
    return fewest_with("start_with", rest, unit)


def _is_on_own_line(node: Node) -> bool:
    """Whether matches begin at the start of a line and stay on it, so that no line has two."""
    begins = isinstance(node, Concat) and node.items[:1] == (Assertion("line_start"),)
    return begins and not any("\n" in chars.charset for chars in _sets(node)) and _shortest(node, None) > 0


def _is_spelled_plainly(node: Node) -> bool:
    """Whether each character of a match is one character of the plain text: no accents that compose."""
    ascii_only = CharSet.of_ranges([(0, 0x7F)]).union(_CASES_OF_ASCII)
    return all(len(chars.charset) > LARGEST_CLASS or not chars.charset.difference(ascii_only) for chars in _sets(node))


def _sets(node: Node) -> tuple[Chars, ...]:
    match node:
        case Chars():
            return (node,)
        case Concat(items) | Alternate(items):
            return tuple(chars for item in items for chars in _sets(item))
        case Repeat(item):
            return _sets(item)
    return ()


def _shortest(node: Node, counted: CharSet | None) -> int:
    """The fewest characters of a set (None: of all) that a match of the pattern has."""
    match node:
        case Chars(charset):
            return int(counted is None or not charset.difference(counted.union(_CASES_OF_ASCII)))
        case Concat(items):
            return sum(_shortest(item, counted) for item in items)
        case Alternate(items):
            return min((_shortest(item, counted) for item in items), default=0)
        case Repeat(item, least):
            return _shortest(item, counted) * least
    return 0


@cache
def _characters_of(unit: str) -> CharSet | None:
    """The characters that are units, in plain texts; None for all."""
    if unit == PLAIN:
        return None
    build = catalog.unit(unit).machine
    assert build is not None
    machine = build()
    counted = [charset for charset, (_, count) in zip(machine.classes, machine.step[0], strict=False) if count]
    found = CharSet(()).union(*counted)
    return found if not machine.step[0][-1][1] else found.union(CharSet(()).union(*machine.classes).complement())


# ------------------------------------------------------------------------------------------------- phrases in phrases
def times_inside(outer: str, matcher: Phrase, predicate: str, inner: Phrase) -> int:
    """How often the inner phrase occurs in every text that has the outer one, found by the predicate `outer`."""
    whole, part = only_form(matcher), only_form(inner)
    if whole is None or part is None:
        return 0
    if predicate == "contain":
        return 0 if outer == "mention" else whole.count(part)
    found = find_words(whole, inner)
    if outer == "match":
        return len(found)
    if outer == "mention":
        return len(found) if whole.isascii() and part.isascii() else 0
    # What stands around the outer phrase may make a longer word of what is at its edges.
    first = 0 if outer == "start_with" else 1
    last = len(whole) if outer == "end_with" else len(whole) - 1
    return sum(first <= extent.start and extent.end <= last for extent in found)
