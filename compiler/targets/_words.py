"""Typed expressions in plain English: texts, quantities and what is looked for. `_sentences` has whole statements."""

from __future__ import annotations

import json
from collections.abc import Sequence

from bylaw.spec import catalog
from bylaw.spec.expression import (
    Arithmetic,
    Concept,
    ConceptScore,
    Continued,
    Count,
    EventAt,
    EventCount,
    Expression,
    Fact,
    FoundAmong,
    Matcher,
    MessageText,
    NumberCall,
    NumberConstant,
    NumberExpression,
    NumberFact,
    Occurrences,
    PartOf,
    Phrase,
    Rank,
    Regex,
    TextCall,
    TextConstant,
    TextExpression,
)

_MESSAGES = {
    "response": "the answer",
    "prompt": "the user's message",
    "system": "the system message",
    "developer": "the developer message",
    "conversation": "the conversation",
    "it": "it",
}
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def quoted(text: str) -> str:
    """A text of the policy in straight double quotes, breaks and quotes written as escapes."""
    return json.dumps(text, ensure_ascii=False)


def spoken(name: str) -> str:
    """`std.tone.blames_user` as a reader says it: `blames user`."""
    return name.rpartition(".")[2].replace("_", " ")


def listed(parts: Sequence[str], last: str) -> str:
    """`a, b or c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def number_words(value: float) -> str:
    """A number without a fraction that it has not."""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:g}"


def matchers_words(matchers: Sequence[Matcher], last: str) -> str:
    """What is looked for: quoted texts, then patterns between slashes."""
    texts = [quoted(each.text) for each in matchers if isinstance(each, Phrase)]
    patterns = [f"/{each.source}/{each.flags}" for each in matchers if isinstance(each, Regex)]
    if not patterns:
        return listed(texts, last)
    if len(patterns) == 1:
        return listed([*texts, f"a text of the pattern {patterns[0]}"], last)
    which = "each" if last == "and" else "one"
    return listed([*texts, f"a text of {which} of the patterns {listed(patterns, 'and')}"], last)


def text_words(text: TextExpression) -> str:
    """Which text is meant."""
    match text:
        case MessageText(role):
            return _MESSAGES[role]
        case Fact(path):
            return f"its `{path[3:]}`" if path.startswith("it.") else f"the known `{path}`"
        case TextConstant(value):
            return quoted(value)
        case PartOf(unit, index, subject):
            return f"the {_ordinal(index)} {singular(unit)} of {text_words(subject)}"
        case TextCall(function, arguments):
            return _called(function, arguments)
        case EventAt(selector, index):
            from bylaw.compiler.targets._sentences import selector_words

            return f"the {_ordinal(index)} {selector_words(selector)}"
        case Continued():
            return _MESSAGES["conversation"]


def number(value: NumberExpression) -> str:
    """Which quantity is meant."""
    match value:
        case NumberConstant(amount):
            return number_words(amount)
        case NumberFact(path):
            return f"its `{path[3:]}`" if path.startswith("it.") else f"the known `{path}`"
        case Count(unit, subject):
            return f"the number of {unit_words(unit)} in {text_words(subject)}"
        case Occurrences(_, subject, matchers):
            return f"the number of times that {text_words(subject)} has {matchers_words(matchers, 'or')}"
        case FoundAmong(_, subject, matchers):
            return f"how many of {matchers_words(matchers, 'and')} are in {text_words(subject)}"
        case Arithmetic("distance", left, right):
            return f"the distance of {number(left)} from {number(right)}"
        case Arithmetic(operator, left, right):
            return f"({number(left)} {operator} {number(right)})"
        case NumberCall(function, arguments):
            return _called(function, arguments)
        case ConceptScore(concept, subject):
            return f"how strongly {text_words(subject)} {expresses(concept, is_said=True)}"
        case EventCount(selector):
            from bylaw.compiler.targets._sentences import selector_words

            return f"how often the conversation has {article(selector_words(selector))}"
        case Rank(alternatives):
            from bylaw.compiler.targets._sentences import statement

            return "which comes first of: " + "; ".join(statement(each) for each in alternatives)


def expresses(concept: Concept, *, is_said: bool) -> str:
    """A concept with its meaning, as what a text does or does not."""
    verb = {(True, True): "is about", (True, False): "is not about"}.get(
        (concept.is_topic, is_said), "expresses" if is_said else "does not express"
    )
    return f"{verb} {quoted(spoken(concept.name))} ({_bare(concept.meaning)})"


def article(words: str) -> str:
    """Words with `a` or `an` before them."""
    return f"{'an' if words[:1] in 'aeiou' else 'a'} {words}"


def unit_words(unit: str) -> str:
    """A unit as it is counted: `all_caps_words` is `all caps words`."""
    return unit.replace("_", " ")


def singular(unit: str) -> str:
    """One of a unit."""
    return unit_words(unit).removesuffix("s")


def _called(function: str, arguments: Sequence[TextExpression | NumberExpression]) -> str:
    """A function of the catalog by what it gives: its own summary."""
    given = listed([argument_words(each) for each in arguments], "and") if arguments else ""
    return f"{spoken(function)} of {given} ({catalog.function(function).summary})"


def argument_words(argument: Expression) -> str:
    """What a function is given: a text or a quantity."""
    if isinstance(
        argument,
        NumberConstant | NumberFact | Count | Occurrences | Arithmetic | FoundAmong | NumberCall | ConceptScore
        | EventCount | Rank,
    ):  # fmt: skip
        return number(argument)
    return text_words(argument)  # type: ignore[arg-type]


def _ordinal(index: int) -> str:
    if index == -1:
        return "last"
    if index < 0:
        return f"{_ordinal(-index)} from last"
    return _ORDINALS[index - 1] if index <= len(_ORDINALS) else f"{index}th"


def _bare(text: str) -> str:
    return " ".join(text.split()).removesuffix(".")
