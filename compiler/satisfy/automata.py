"""What one text has to be, by automata: a text that a row of statements allows, or a proof that there is none."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from bylaw.compiler.satisfy.branch import Branch, Refutation, fact_of, no_text
from bylaw.compiler.satisfy.numbers import LARGEST, solved, whole
from bylaw.compiler.satisfy.words import impossible
from bylaw.spec.expression import (
    BooleanExpression,
    Compare,
    Count,
    Fact,
    FoundAmong,
    MessageText,
    Node,
    Not,
    NumberConstant,
    NumberFact,
    Occurrences,
    Or,
    TextExpression,
)
from bylaw.spec.logic import conjunction, walk

if TYPE_CHECKING:  # most questions are answered without automata
    from bylaw.compiler.automata.dfa import Dfa

STATE_LIMIT, SEARCH_LIMIT = 10_000, 20_000
BY_AUTOMATA = "(proved by automata)"
RESPONSE = MessageText("response")
_BLANKS = r"\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""White space as Python knows it, around a number or a word."""


def by_automata(
    subject: TextExpression, parts: list[BooleanExpression], branch: Branch
) -> Refutation | tuple[str, ...]:
    """A text that all statements allow which have an automaton, or a proof that there is none."""
    from bylaw.compiler.automata.algebra import any_witness, minimal_conflict
    from bylaw.compiler.automata.partition import StateLimit
    from bylaw.compiler.regular import dfa_of

    known: list[tuple[BooleanExpression, Dfa]] = []
    for part in parts:
        language = dfa_of(said_of_response(_plain_count(part), subject), STATE_LIMIT)
        if language is not None:
            known.append((part, language))
    known += _spelled_values(subject, branch)
    if not known:
        return ()
    languages = [language for _, language in known]
    try:
        conflict = minimal_conflict(languages, SEARCH_LIMIT)
        if conflict is not None:
            core = tuple(known[place][0] for place in conflict)
            return Refutation(core, impossible(core) or f"{no_text(subject)} {BY_AUTOMATA}")
        return _witnesses(languages)
    except StateLimit:
        try:
            text = any_witness(languages[:1], SEARCH_LIMIT)
        except StateLimit:
            text = None
        return () if text is None else (text,)


def _witnesses(languages: list[Dfa]) -> tuple[str, ...]:
    """A shortest text of all languages, of ASCII characters if there is one, and one that looks different."""
    from bylaw.compiler.automata.algebra import any_witness, shortest_witness
    from bylaw.compiler.automata.build import language
    from bylaw.compiler.automata.partition import StateLimit
    from bylaw.spec.pattern import parse_pattern

    readable = language(parse_pattern(r"[\n\x20-\x7e]*", ""), "full")
    found = []
    for search, those in ((shortest_witness, [*languages, readable]), (any_witness, languages)):
        try:
            text = search(those, SEARCH_LIMIT)
        except StateLimit:
            continue
        if text is not None:
            found.append(text)
    return tuple(dict.fromkeys(found))


def _spelled_values(subject: TextExpression, branch: Branch) -> list[tuple[BooleanExpression, Dfa]]:
    """A fact that is also used as a number, or as true or false, has to spell one."""
    from bylaw.compiler.automata.build import language
    from bylaw.spec.pattern import parse_pattern

    if not isinstance(subject, Fact):
        return []
    blank, number = f"[{_BLANKS}]*", r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?"
    found = []
    for part in branch.parts:
        inner = part.item if isinstance(part, Not) else part
        if fact_of(part) == subject.path:
            word = "false" if isinstance(part, Not) else "true"
            found.append((part, language(parse_pattern(f"{blank}{word}{blank}", "i"), "full")))
        elif isinstance(inner, Compare) and NumberFact(subject.path) in walk(inner):
            found.append((part, language(parse_pattern(f"{blank}{number}{blank}", ""), "full")))
    return found


def _plain_count(part: BooleanExpression) -> BooleanExpression:
    """A comparison of one count with a number, in the form that automata know."""
    if not isinstance(part, Compare):
        return part
    answer = solved(part)
    if answer is None or not isinstance(answer[0], (Count, Occurrences, FoundAmong)):
        return part
    counted, ranges = answer[0], whole(answer[1])
    sides = []
    for low, high in ranges:
        least = Compare(">=", counted, NumberConstant(low))
        most = (Compare("<=", counted, NumberConstant(high)),) if high < LARGEST else ()
        sides.append(conjunction((least, *most)))
    known = tuple(side for side in sides if side is not None)
    return known[0] if len(known) == 1 else Or(known)


def said_of_response(expression: Any, subject: TextExpression) -> Any:
    """The same, said of the response instead of another text."""
    if expression == subject:
        return RESPONSE
    if isinstance(expression, tuple):
        return tuple(said_of_response(each, subject) for each in expression)
    if not isinstance(expression, Node) or not is_dataclass(expression):
        return expression
    changed = {
        each.name: new
        for each in fields(expression)
        if (new := said_of_response(old := getattr(expression, each.name), subject)) is not old and new != old
    }
    return replace(expression, **changed) if changed else expression
