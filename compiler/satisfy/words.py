"""What has to be true of one thing at a time, in the words of authors, for the reasons that proofs give."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bylaw.compiler.satisfy.numbers import constant
from bylaw.spec.expression import (
    BooleanExpression,
    BooleanFact,
    Compare,
    ConceptScore,
    Count,
    EventCount,
    Expression,
    Fact,
    FoundAmong,
    Holds,
    Matcher,
    MessageText,
    Not,
    NumberFact,
    Occurrences,
    Operator,
    Phrase,
)
from bylaw.spec.logic import MIRRORED
from bylaw.spec.trace import written

ORDER_WORDS: Mapping[Operator, str] = MappingProxyType(
    {"<": "below ", "<=": "at most ", "==": "", "!=": "other than ", ">=": "at least ", ">": "above "}
)
_VERBS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "match": ("be", "be other than"),
        "contain": ("contain", "not contain"),
        "mention": ("mention", "not mention"),
        "start_with": ("start with", "not start with"),
        "end_with": ("end with", "not end with"),
    }
)
_TEXTS: Mapping[str, str] = MappingProxyType({"system": "system_prompt", "developer": "developer_prompt"})
LONGEST_LIST = 3


def name_of(expression: Expression) -> str | None:
    """What an author calls a text or a quantity; None where that takes more than a name."""
    match expression:
        case Fact(path) | NumberFact(path) | BooleanFact(path):
            return path
        case MessageText(role):
            return _TEXTS.get(role, role)
        case Count(unit, subject) if (inner := name_of(subject)) is not None:
            return f"number of {unit} in {inner}"
        case Occurrences(_, subject, (matcher,)) if (inner := name_of(subject)) is not None:
            return f"number of {_matcher(matcher)} in {inner}"
        case Occurrences(_, subject) | FoundAmong(_, subject) if (inner := name_of(subject)) is not None:
            return f"number of what is looked for in {inner}"
        case ConceptScore(concept, subject) if (inner := name_of(subject)) is not None:
            return f"score of {concept.name} in {inner}"
        case EventCount():
            return "number of such events"
    return None


def impossible(parts: Sequence[BooleanExpression]) -> str | None:
    """Why one thing cannot be all of this, such as: `user.age` cannot be below 13 and above 18.

    None where the parts are not about one thing, or about something that has no name.
    """
    said = [_said(part) for part in parts]
    known = list(dict.fromkeys(each for each in said if each is not None))
    names = {name for name, _, _ in known}
    if not known or len(names) != 1 or len(known) < len(parts):
        return None
    phrases = _joined(sorted(((verb, what) for _, verb, what in known), key=lambda said: said[0].startswith("not ")))
    subject = names.pop()
    return f"`{subject}` cannot {' and '.join(phrases)}".replace("cannot not ", "cannot fail to ", 1)


def apart(parts: Sequence[Compare]) -> str | None:
    """Why two quantities cannot be compared like this at once: `a` cannot be above and below `b`."""
    first = parts[0]
    names = [name_of(first.left), name_of(first.right)]
    words = []
    for part in parts:
        turned = name_of(part.left) != names[0]
        words.append(ORDER_WORDS[MIRRORED[part.operator] if turned else part.operator].strip() or "exactly")
    return None if None in names else f"`{names[0]}` cannot be {' and '.join(words)} `{names[1]}`"


def _joined(said: list[tuple[str, str]]) -> list[str]:
    """A verb is said once for all that follows it: be below 13, above 18."""
    phrases: list[str] = []
    previous = ""
    for verb, what in said:
        phrases.append(what if verb == previous else f"{verb} {what}")
        previous = verb
    return phrases


def _said(part: BooleanExpression) -> tuple[str, str, str] | None:
    """(what it is about, the verb, what is said)."""
    match part:
        case BooleanFact(path):
            return path, "be", "true"
        case Not(BooleanFact(path)):
            return path, "be", "false"
        case Compare(operator, left, right):
            for one, other, order in ((left, right, operator), (right, left, MIRRORED[operator])):
                bound, name = constant(other), name_of(one)
                if isinstance(bound, float) and name is not None:
                    return name, "be", ORDER_WORDS[order] + written(bound)
        case Holds() if (found := _holds(part, True)) is not None:
            return found
        case Not(Holds() as holds) if (found := _holds(holds, False)) is not None:
            return found
    return None


def _holds(holds: Holds, is_so: bool) -> tuple[str, str, str] | None:
    name = name_of(holds.subject)
    if name is None or holds.argument is not None or not holds.matchers or holds.predicate not in _VERBS:
        return None
    shown = [_matcher(matcher) for matcher in holds.matchers[:LONGEST_LIST]]
    shown += ["..."] if len(holds.matchers) > LONGEST_LIST else []
    verb = _VERBS[holds.predicate][0 if is_so else 1]
    if len(shown) == 1:
        what = shown[0]
    elif holds.quantity == "all":
        what = "all of " + ", ".join(shown)
    else:
        what = ("one of " if is_so and verb == "be" else "any of ") + ", ".join(shown)
    if verb == "be other than":
        return name, "be", "none of " + ", ".join(shown) if len(shown) > 1 else f"other than {what}"
    return name, verb, what


def _matcher(matcher: Matcher) -> str:
    if isinstance(matcher, Phrase):
        return json.dumps(matcher.text, ensure_ascii=False)
    return f"/{matcher.source}/{matcher.flags}"
