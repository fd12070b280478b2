"""What rules say in plain English: conditions, obligations and limits, as a person or a judge would be told."""

from __future__ import annotations

from bylaw.compiler.program import RewardTerm
from bylaw.compiler.targets._words import (
    argument_words,
    article,
    expresses,
    listed,
    matchers_words,
    number,
    number_words,
    quoted,
    singular,
    spoken,
    text_words,
    unit_words,
)
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
    Count,
    EachEvent,
    EachPart,
    EventCount,
    EventSelector,
    FoundAmong,
    Holds,
    MessageText,
    Neighbour,
    Not,
    NumberConstant,
    Occurrences,
    Operator,
    Or,
    Rank,
)
from bylaw.spec.logic import OPPOSITE

_VERBS = {
    "contain": ("contains", "does not contain"),
    "mention": ("mentions", "does not mention"),
    "start_with": ("begins with", "does not begin with"),
    "end_with": ("ends with", "does not end with"),
    "match": ("is as a whole", "is not as a whole"),
}
_AMOUNTS: dict[Operator, str] = {
    "<": "fewer than",
    "<=": "at most",
    "==": "exactly",
    "!=": "any number other than",
    ">=": "at least",
    ">": "more than",
}
_COMPARED: dict[Operator, str] = {**_AMOUNTS, "<": "less than", "!=": "other than"}


def statement(said: BooleanExpression, *, holds: bool = True) -> str:
    """An expression as a clause, or its opposite: `the answer does not mention "damn"`."""
    match said:
        case Not(item):
            return statement(item, holds=not holds)
        case And(items) | Or(items):
            return _joined(said, holds) if items else ("it is so" if isinstance(said, And) is holds else "it is not so")
        case BooleanConstant(value):
            return "it is so" if value is holds else "it is not so"
        case BooleanFact(path):
            return f"`{path}` is {'true' if holds else 'false'}"
        case Holds():
            return _holds(said, holds)
        case Compare():
            return _compared(said, holds)
        case BooleanCall(function, arguments):
            given = listed([argument_words(each) for each in arguments], "and") if arguments else "it"
            true = "is true" if holds else "is not true"
            return f"it {true} of {given}: {catalog.function(function).summary}"
        case EachPart(quantity, unit, subject, item):
            every = (quantity == "every") is holds
            inner = statement(item, holds=holds)
            return f"{'every' if every else 'some'} {singular(unit)} of {text_words(subject)} is such that {inner}"
        case EachEvent(quantity, selector, item):
            every = (quantity == "every") is holds
            return f"for {'every' if every else 'some'} {selector_words(selector)}, {statement(item, holds=holds)}"
        case Neighbour(side, selector):
            return f"{'some' if holds else 'no'} {selector_words(selector)} comes {side} it"


def selector_words(selector: EventSelector) -> str:
    """Which events are meant, as one of them."""
    tools = listed([f"`{tool}`" for tool in selector.tools], "or") if selector.tools else "any tool"
    match selector.kind:
        case "call":
            words = f"call of {tools}"
        case "output":
            words = f"output of {tools}"
        case _:
            words = "message" if selector.role is None else f"message from the {selector.role}"
    return words if selector.where is None else f"{words} where {statement(selector.where)}"


def _joined(said: And | Or, holds: bool) -> str:
    parts = [statement(item, holds=holds) for item in said.items]
    if len(parts) == 1:
        return parts[0]
    nested = any(isinstance(item, And | Or | EachPart | EachEvent) for item in said.items)
    parts = [f"({part})" for part in parts] if nested else parts
    if isinstance(said, And) is holds:
        return " and ".join(parts)
    return "either " + " or ".join(parts)


def _holds(said: Holds, holds: bool) -> str:
    subject = text_words(said.subject)
    if said.extent is None and said.subject == MessageText("prompt"):
        # the condition that lowering writes for a suite: it stands nowhere in the policy
        return f"{subject} is {'one' if holds else 'none'} of the suite"
    if said.predicate not in _VERBS:
        name = spoken(said.predicate)
        return f"{subject} {'is' if holds else 'is not'} {name} ({catalog.predicate(said.predicate).summary})"
    verb = _VERBS[said.predicate][0 if holds else 1]
    if said.argument is not None:
        return f"{subject} {verb} {text_words(said.argument)}"
    everything = said.quantity == "all"
    found = matchers_words(said.matchers, "and" if everything else "or")
    if everything and not holds and len(said.matchers) > 1:
        found = f"all of {found}"
    return f"{subject} {verb} {found}" + (", in this order" if said.in_order else "")


def _compared(said: Compare, holds: bool) -> str:
    operator = said.operator if holds else OPPOSITE[said.operator]
    left, right = said.left, said.right
    if isinstance(left, ConceptScore) and right == NumberConstant(left.concept.threshold) and operator in (">=", "<"):
        return f"{text_words(left.subject)} {expresses(left.concept, is_said=operator == '>=')}"
    if not isinstance(right, NumberConstant):
        return f"{number(left)} is {_COMPARED[operator]} {number(right)}"
    amount = f"{_AMOUNTS[operator]} {number_words(right.value)}"
    if (right.value == 0 and operator in ("<=", "==")) or (right.value == 1 and operator == "<"):
        amount = "no"
    match left:
        case Count(unit, subject):
            return f"{text_words(subject)} has {amount} {unit_words(unit)}"
        case Occurrences(_, subject, matchers) if amount != "no":
            return f"{text_words(subject)} has {matchers_words(matchers, 'or')} {amount} times"
        case FoundAmong(_, subject, matchers) if amount != "no":
            return f"{text_words(subject)} has {amount} of {matchers_words(matchers, 'and')}"
        case EventCount(selector):
            if operator == ">=" and right.value == 1:
                return f"there is {article(selector_words(selector))}"
            return f"the conversation has {amount} {selector_words(selector)}"
        case _:
            return f"{number(left)} is {_COMPARED[operator]} {number_words(right.value)}"


# -------------------------------------------------------------------------------------------------------- whole terms
def where_words(term: RewardTerm) -> str:
    """Where a term counts, as the beginning of a sentence; empty for everywhere."""
    words = []
    if term.condition is not None:
        said = statement(term.condition)
        if term.suite is not None:
            said = said.replace("one of the suite", f"one of the suite {quoted(term.suite)}", 1)
        words.append(f"when {said}")
    if term.among is not None:
        words.append(f"among the answers for which {statement(term.among)}")
    return ", ".join(words)


def kept(term: RewardTerm) -> str | None:
    """What is so of an answer that does not count against a term; None for a quantity, which is never broken."""
    if term.holds is None:
        return None
    return statement(term.holds, holds=term.kind != "budget" or term.sense == "at least")


def instruction(term: RewardTerm) -> str:
    """A term as one sentence that tells somebody what to do."""
    where = where_words(term)
    said = _instruction(term)
    sentence = f"{where}: {said}" if where else said
    return f"{sentence[0].upper()}{sentence[1:]}."


def _instruction(term: RewardTerm) -> str:
    said = kept(term)
    if term.kind == "hard":
        return f"make sure that {said}"
    if term.kind == "soft":
        return f"if you can, see to it that {said}"
    if term.kind == "graded":
        return _graded(term)
    sense = term.sense or "at most"
    bound = term.bound or 0.0
    if term.holds is None:
        assert term.value is not None
        return f"keep the average of this {sense} {number_words(bound)}: {number(term.value)}"
    share = f"{100 * bound:.6g}% of answers"
    if sense == "at most":
        return f"let it be rare, in at most {share}, that {statement(term.holds)}"
    return f"in {sense} {share}, see to it that {statement(term.holds)}"


def _graded(term: RewardTerm) -> str:
    value = term.value
    assert value is not None
    if isinstance(value, Rank) and (term.weight or 0.0) >= 0:
        order = "; ".join(statement(each) for each in value.alternatives)
        return f"the earlier of these you can do, the better: {order}"
    if isinstance(value, Arithmetic) and value.operator == "distance" and (term.weight or 0.0) < 0:
        return f"keep this near {number(value.right)}: {number(value.left)}"
    return f"the {'lower' if (term.weight or 0.0) < 0 else 'higher'} this is, the better: {number(value)}"
