"""Automata of what is said of the lines of a response: of every line, of some line, of the n-th, of the last.

A line is what stands between two line breaks, if there is more than white space (spec/units/lines.py). An automaton
for one line is started again at each line break.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bylaw.compiler.automata.alphabet import Alphabet
from bylaw.compiler.automata.build import explore
from bylaw.compiler.automata.dfa import Dfa
from bylaw.spec.charset import NEWLINE
from bylaw.spec.expression import (
    And,
    BooleanExpression,
    Compare,
    Count,
    FoundAmong,
    Holds,
    MessageText,
    Not,
    NumberConstant,
    NumberExpression,
    Occurrences,
    Or,
    PartOf,
    TextExpression,
)
from bylaw.spec.spaces import INLINE_SPACE

RESPONSE = MessageText("response")
IT = MessageText("it")
FURTHEST_LINE = 20
State = tuple[int, bool, int]
"""The state of the automaton for one line, whether the line is blank so far, and what is known of the lines before."""

DONE_TRUE, DONE_FALSE = -1, -2


def every_line(line: Dfa, limit: int) -> Dfa:
    """The texts all of whose lines are in the language. Raises StateLimit."""
    return _over_lines(
        line,
        limit,
        lambda before, verdict: before if verdict else DONE_FALSE,
        lambda before, verdict: verdict is not False,
    )


def line_at(line: Dfa, index: int, limit: int) -> Dfa:
    """The texts whose line at this place (from 1, or -1 for the last) is in the language; no line is the empty text.

    Raises StateLimit.
    """
    empty = line.accept[line.start]
    if index == -1:
        # `before` is 1 + the verdict of the last line, 0 before the first.
        return _over_lines(
            line,
            limit,
            lambda before, verdict: 1 + verdict,
            lambda before, verdict: verdict if verdict is not None else before == 2 if before else empty,
        )

    def after(before: int, verdict: bool) -> int:
        return before + 1 if before + 1 < index else DONE_TRUE if verdict else DONE_FALSE

    def at_end(before: int, verdict: bool | None) -> bool:
        return empty if verdict is None or before + 1 < index else verdict

    return _over_lines(line, limit, after, at_end)


def _over_lines(
    line: Dfa,
    limit: int,
    after: Callable[[int, bool], int],
    at_end: Callable[[int, bool | None], bool],
) -> Dfa:
    """`after` says what is known after one more line with this verdict, `at_end` whether the text is accepted; its
    verdict is that of the line that the text ends with, None when that is blank."""
    blanks = Alphabet.of((NEWLINE, INLINE_SPACE))
    joint, (mapped, kinds) = Alphabet.join([line.alphabet, blanks])
    line_break, space = (next(iter(blanks.indices(char))) for char in "\n ")

    def step(state: State, label: int) -> State:
        inside, is_blank, before = state
        if before < 0:
            return state
        if kinds[label] != line_break:
            return line.delta[inside][mapped[label]], is_blank and kinds[label] == space, before
        known = before if is_blank else after(before, line.accept[inside])
        return line.start, True, known

    def accepts(state: State) -> bool:
        inside, is_blank, before = state
        if before < 0:
            return before == DONE_TRUE
        return at_end(before, None if is_blank else line.accept[inside])

    order, delta = explore((line.start, True, 0), step, joint.size, limit)
    return Dfa(joint, delta, 0, tuple(map(accepts, order))).minimise()


# ------------------------------------------------------------------------------------------------- of one line alone
def read_line(expression: Holds | Compare) -> int | None:
    """The place of the one line that a statement is about; None where it reads anything else."""
    match expression:
        case Holds(_, PartOf("lines", index, MessageText("response"))) if expression.argument is None:
            found = index
        case Compare(_, counted, NumberConstant()) | Compare(_, NumberConstant(), counted) if isinstance(
            counted, (Count, Occurrences, FoundAmong)
        ):
            subject = counted.subject
            if not isinstance(subject, PartOf) or subject.unit != "lines" or subject.subject != RESPONSE:
                return None
            found = subject.index
        case _:
            return None
    return found if found == -1 or 0 < found <= FURTHEST_LINE else None


def as_response(expression: BooleanExpression, text: TextExpression) -> BooleanExpression | None:
    """The same statement, said of the response instead of `text`; None where it reads anything else."""
    match expression:
        case And(items) | Or(items):
            said = [as_response(item, text) for item in items]
            known = tuple(item for item in said if item is not None)
            return replace(expression, items=known) if len(known) == len(said) else None
        case Not(item):
            inner = as_response(item, text)
            return None if inner is None else Not(inner)
        case Holds(_, subject) if subject == text and expression.argument is None:
            return replace(expression, subject=RESPONSE)
        case Compare():
            left, right = _number(expression.left, text), _number(expression.right, text)
            return None if left is None or right is None else replace(expression, left=left, right=right)
    return None


def _number(expression: NumberExpression, text: TextExpression) -> NumberExpression | None:
    match expression:
        case NumberConstant():
            return expression
        case Count() | Occurrences() | FoundAmong() if expression.subject == text:
            return replace(expression, subject=RESPONSE)
    return None
