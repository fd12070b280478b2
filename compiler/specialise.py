"""Prompt-time partial evaluation: what is left of a program once everything but the response is known.

Most conditions are about the prompt, about facts or about what tools were called before. They are settled here, before
the first token; what remains reads the response alone, and can become an automaton. The answer that is being written is
a message, not a call: rules about calls and outputs are settled altogether.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from bylaw.compiler.expressions import found, number_in, text_in, truth_in
from bylaw.compiler.program import ProgramError, RewardProgram, RewardTerm
from bylaw.compiler.situation import Situation
from bylaw.compiler.unscored import is_untold, never_scored
from bylaw.compiler.values import Unknown, compared
from bylaw.spec import catalog
from bylaw.spec.expression import (
    And,
    Arithmetic,
    BooleanCall,
    BooleanConstant,
    BooleanExpression,
    BooleanFact,
    Compare,
    ConceptScore,
    Continued,
    Count,
    EachEvent,
    EachPart,
    EventAt,
    EventCount,
    EventSelector,
    Expression,
    Fact,
    FoundAmong,
    Holds,
    MessageText,
    Neighbour,
    Not,
    NumberCall,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    Operator,
    Or,
    PartOf,
    Phrase,
    Rank,
    TextCall,
    TextConstant,
    TextExpression,
)
from bylaw.spec.logic import MIRRORED, children, negate, selectors, walk
from bylaw.spec.trace import Trace

TRUE, FALSE = BooleanConstant(True), BooleanConstant(False)


class CannotSpecialise(ProgramError):
    """A term depends on something about the prompt that is not known, so it cannot be enforced: `term`, `reason`."""

    def __init__(self, term: str, reason: str) -> None:
        super().__init__(f"`{term}` cannot be enforced here: {reason}")
        self.term, self.reason = term, reason


def specialise(program: RewardProgram, trace: Trace) -> tuple[RewardTerm, ...]:
    """The terms that are alive for this prompt; `trace` has no response yet.

    A term whose condition is false is gone. The condition of the others is None, or reads the response. Raises
    CannotSpecialise: nothing is enforced on a guess, and no score that nobody will give (`Trace.lacks_scores`).
    """
    start = _Partial(Situation(trace))
    alive = []
    for term in program.terms:
        try:
            condition = start.truth(term.condition or TRUE)
            among = TRUE if condition == FALSE else start.truth(term.among or TRUE)
            if FALSE in (condition, among):
                continue
            left = replace(
                term,
                condition=None if condition == TRUE else condition,
                among=None if term.among is None else among,
                holds=None if term.holds is None else start.truth(term.holds),
                value=None if term.value is None else start.number(term.value),
            )
            if term.kind == "hard" and left.holds == FALSE and term.holds is not None:
                left = replace(left, holds=start.of_the_answer(term.holds))
                if left.holds == TRUE:  # broken by what was done before
                    continue
        except _Missing as missing:
            if term.kind in ("soft", "graded") and is_untold(term, start.here, missing.reason):
                continue  # as for an answer whose score cannot be told: it pays nothing
            raise CannotSpecialise(term.id, missing.reason) from None
        if (reason := never_scored(left, trace)) is not None:
            raise CannotSpecialise(term.id, reason)
        alive.append(left)
    return tuple(alive)


class _Missing(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def _known(value: bool | float | str | Unknown) -> bool | float | str:
    if isinstance(value, Unknown):
        raise _Missing(value.reason)
    return value


@dataclass(frozen=True, slots=True)
class _Partial:
    """Evaluates as far as the conversation before the answer allows.

    `here` is that conversation, with what `it` stands for where that is known. `it` is `answer` where `it` is the
    answer as the last event of the conversation, `part` where it is a part of a text that is not known yet.
    `is_last` says that the event is the answer, whatever `it` is.
    """

    here: Situation
    it: Literal["known", "answer", "part"] = "known"
    is_last: bool = False

    def at(self, position: int) -> _Partial:
        """The same, where `it` is an event: one before the answer, or the answer."""
        if position == len(self.here.trace.messages):
            return _Partial(self.here, "answer", True)
        return _Partial(self.here.at(position))

    def is_open(self, expression: Expression) -> bool:
        """Whether the answer can change the value."""
        return any(self._is_open(part) for part in walk(expression))

    def _is_open(self, part: Expression) -> bool:
        match part:
            case MessageText("response" | "conversation") | Continued():
                return True
            case MessageText("it"):
                return self.it != "known"
            case Fact(path) | NumberFact(path) | BooleanFact(path):
                return self.is_last and path.startswith("it.")
            case Neighbour() if self.is_last:
                return True
        return any(_may_be_answer(selector) for selector in selectors(part))

    # --------------------------------------------------------------------------------------------------- booleans
    def truth(self, expression: BooleanExpression) -> BooleanExpression:
        """What is left of a statement. Raises _Missing."""
        if not self.is_open(expression):
            return BooleanConstant(bool(_known(truth_in(expression, self.here))))
        match expression:
            case Not(item):
                return negate(self.truth(item))
            case And(items) | Or(items):
                return _join([lambda item=item: self.truth(item) for item in items], isinstance(expression, Or))  # type: ignore[misc]
            case Compare():
                return self._compare(expression)
            case Holds():
                return self._holds(expression)
            case BooleanCall(_, arguments):
                return replace(expression, arguments=self._arguments(arguments))
            case EachPart():
                return self._each_part(expression)
            case EachEvent():
                return self._each_event(expression)
            case Neighbour(side, selector):
                return self._neighbour(side, selector)
            case BooleanFact(path):
                raise _Missing(f"an answer has no `{path}`")
        return expression

    def _holds(self, holds: Holds) -> BooleanExpression:
        subject = self._text(holds.subject)
        if holds.argument is None:
            return replace(holds, subject=subject)
        argument = self._text(holds.argument)
        if not isinstance(argument, TextConstant):
            return replace(holds, subject=subject, argument=argument)
        if argument.value == "" and holds.predicate != "match":
            return TRUE  # the empty text is found everywhere
        return replace(holds, subject=subject, matchers=(Phrase(argument.value),), argument=None)

    def _compare(self, compare: Compare) -> BooleanExpression:
        sides = ((compare.left, compare.right, compare.operator), (compare.right, compare.left, None))
        for counted, other, operator in sides:
            if isinstance(counted, EventCount):
                order = operator or MIRRORED[compare.operator]
                return self._compare_count(order, counted.selector, self.number(other), compare)
        return replace(compare, left=self.number(compare.left), right=self.number(compare.right))

    def _each_part(self, each: EachPart) -> BooleanExpression:
        subject = self._text(each.subject)
        if isinstance(subject, TextConstant):
            text = subject.value
            parts = [text[e.start : e.end] for e in catalog.unit(each.unit).find(text)]
            found_in = [replace(self, here=self.here.part(part), it="known") for part in parts]
            return _join([lambda p=p: p.truth(each.item) for p in found_in], each.quantity == "some")  # type: ignore[misc]
        item = replace(self, it="part").truth(each.item)
        if item == BooleanConstant(each.quantity == "every"):
            return item  # holds of every part there can be, or of none
        return replace(each, subject=subject, item=item)

    # ----------------------------------------------------------------------------------------------------- events
    def _each_event(self, each: EachEvent) -> BooleanExpression:
        """One statement for each event so far, and one for the answer."""
        is_some = each.quantity == "some"

        def said(position: int) -> BooleanExpression:
            def status() -> BooleanExpression:
                meant = self._status(each.selector, position)
                return meant if is_some else negate(meant)

            return _join([status, lambda: self.at(position).truth(each.item)], not is_some)

        positions = range(len(self.here.trace.messages) + 1)
        return _join([lambda p=p: said(p) for p in positions], is_some)  # type: ignore[misc]

    def of_the_answer(self, broken: BooleanExpression) -> BooleanExpression:
        """What a hard rule that was broken before still asks of the answer, since no answer mends what was done: a rule
        about calls nothing more, one about every message the same of the answer; any other stays broken."""
        match broken:
            case And(items):
                parts = [self.truth(item) for item in items]
                asked = [self.of_the_answer(i) if p == FALSE else p for i, p in zip(items, parts, strict=True)]
                return _join([lambda part=part: part for part in asked], False)  # type: ignore[misc]
            case EachEvent("every", selector, item) if _may_be_answer(selector):
                n = len(self.here.trace.messages)
                return _join([lambda: negate(self._status(selector, n)), lambda: self.at(n).truth(item)], True)
        made = [selector for part in walk(broken) for selector in selectors(part)]
        return TRUE if made and not any(map(_may_be_answer, made)) else FALSE

    def _status(self, selector: EventSelector, position: int) -> BooleanExpression:
        """Whether an event is one of those meant."""
        if position == len(self.here.trace.messages):
            if not _may_be_answer(selector):
                return FALSE
            return TRUE if selector.where is None else self.at(position).truth(selector.where)
        if self._is_settled(selector):
            return BooleanConstant(bool(_known(found(selector, self.here).statuses[position])))
        bare = found(self.here.once("bare", selector, lambda: replace(selector, where=None)), self.here)
        candidate, where = bare.statuses[position], selector.where
        assert where is not None
        if candidate is False:
            return FALSE
        return And((BooleanConstant(bool(_known(candidate))), self.at(position).truth(where)))

    def _is_settled(self, selector: EventSelector) -> bool:
        """Whether the answer cannot change which of the events before it are meant."""
        where = selector.where
        return where is None or self.here.once("settled", selector, lambda: not _Partial(self.here).is_open(where))

    def _require_settled(self, selector: EventSelector) -> None:
        if not self._is_settled(selector):
            raise _Missing("which events are meant depends on the answer that is being written")

    def _neighbour(self, side: Literal["before", "after"], selector: EventSelector) -> BooleanExpression:
        self._require_settled(selector)
        last = len(self.here.trace.messages)
        position = last if self.is_last else self.here.position
        if position is None:
            raise _Missing("nothing stands before or after this")
        settled = [lambda: BooleanConstant(bool(_known(found(selector, self.here).beside(side, position))))]
        if side == "after" and position < last:
            return _join([*settled, lambda: self._status(selector, last)], True)
        return _join(settled, True)

    def _compare_count(
        self, operator: Operator, selector: EventSelector, bound: NumberExpression, whole: Compare
    ) -> BooleanExpression:
        """The answer is one more such event, or it is not."""
        self._require_settled(selector)
        sure, _, doubt = found(selector, self.here).count()
        if doubt is not None:
            raise _Missing(doubt.reason)
        answer = self._status(selector, len(self.here.trace.messages))
        with_it, without = (self._counted(operator, sure + more, bound, whole) for more in (1, 0))
        return _join([lambda: _both(answer, with_it), lambda: _both(negate(answer), without)], True)

    def _counted(self, operator: Operator, count: int, bound: NumberExpression, whole: Compare) -> BooleanExpression:
        if isinstance(bound, NumberConstant):
            return BooleanConstant(compared(operator, float(count), bound.value) is True)
        return Compare(operator, NumberConstant(float(count)), bound, whole.extent)

    # ---------------------------------------------------------------------------------------------------- numbers
    def number(self, expression: NumberExpression) -> NumberExpression:
        """What is left of a quantity. Raises _Missing."""
        if not self.is_open(expression):
            return NumberConstant(float(_known(number_in(expression, self.here))))
        match expression:
            case Arithmetic():
                return replace(expression, left=self.number(expression.left), right=self.number(expression.right))
            case Count() | Occurrences() | FoundAmong() | ConceptScore():
                return replace(expression, subject=self._text(expression.subject))
            case NumberCall(_, arguments):
                return replace(expression, arguments=self._arguments(arguments))
            case EventCount(selector):
                self._require_settled(selector)
                sure, _, doubt = found(selector, self.here).count()
                answer = self._status(selector, len(self.here.trace.messages))
                if doubt is not None or not isinstance(answer, BooleanConstant):
                    raise _Missing("how many events are meant depends on the answer" if doubt is None else doubt.reason)
                return NumberConstant(float(sure + answer.value))
            case Rank(alternatives):
                return self._rank(alternatives)
            case NumberFact(path):
                raise _Missing(f"an answer has no `{path}`")
            case NumberConstant():
                return expression

    def _rank(self, alternatives: tuple[BooleanExpression, ...]) -> NumberExpression:
        """What stands below an alternative that holds for certain does not matter."""
        kept: list[BooleanExpression] = []
        for alternative in alternatives:
            kept.append(self.truth(alternative))
            if kept[-1] == TRUE:
                break
        return Rank(tuple(kept))

    # ------------------------------------------------------------------------------------------------------ texts
    def _text(self, expression: TextExpression) -> TextExpression:
        if not self.is_open(expression):
            return TextConstant(str(_known(text_in(expression, self.here))))
        match expression:
            case MessageText("conversation"):
                # As `Trace.text` joins messages: what was said before, and the response below it.
                return Continued("".join(message.content + "\n" for message in self.here.trace.messages))
            case MessageText("it") if self.it == "answer":
                return MessageText("response")
            case EventAt(_, index):
                return self._event_at(index)
            case PartOf():
                return replace(expression, subject=self._text(expression.subject))
            case TextCall(_, arguments):
                return replace(expression, arguments=self._arguments(arguments))
            case Fact(path):
                raise _Missing(f"an answer has no `{path}`")
        return expression

    def _event_at(self, index: int) -> TextExpression:
        """A message by its number, where the answer is the last one."""
        said = [message.content for message in self.here.trace.messages if message.kind == "message"]
        place = index - 1 if index > 0 else len(said) + 1 + index
        if place == len(said):
            return MessageText("response")
        return TextConstant(said[place] if 0 <= place < len(said) else "")

    def _arguments(
        self, arguments: tuple[TextExpression | NumberExpression, ...]
    ) -> tuple[TextExpression | NumberExpression, ...]:
        return tuple(
            self._text(argument) if isinstance(argument, TextExpression) else self.number(argument)
            for argument in arguments
        )


def _may_be_answer(selector: EventSelector) -> bool:
    return selector.kind == "message" and selector.role in (None, "assistant")


def _both(left: BooleanExpression, right: BooleanExpression) -> BooleanExpression:
    return _join([lambda: left, lambda: right], False)


def _join(parts: Iterable[Callable[[], BooleanExpression]], deciding: bool) -> BooleanExpression:
    """Or (`deciding` true) or And of what is left; an unknown part does no harm where another part settles it."""
    kept: list[BooleanExpression] = []
    missing: _Missing | None = None
    for part in parts:
        try:
            simplified = part()
        except _Missing as unknown:
            missing = missing or unknown
            continue
        if simplified == BooleanConstant(deciding):
            return simplified
        kept += [] if isinstance(simplified, BooleanConstant) else [simplified]
    if missing is not None:
        raise missing
    whole = (Or if deciding else And)(tuple(kept)) if kept else BooleanConstant(not deciding)
    return kept[0] if len(kept) == 1 else whole


def reads_only_response(expression: Expression) -> bool:
    """Whether the response alone settles `expression`."""
    match expression:
        case MessageText(role):
            return role in ("response", "it")
        case Fact() | NumberFact() | BooleanFact() | Continued() | EachEvent() | EventCount() | EventAt() | Neighbour():
            return False
    return all(reads_only_response(child) for child in children(expression))
