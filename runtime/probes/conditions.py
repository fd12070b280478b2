"""Situations that meet the condition of a rule, each a different way of meeting it where there are several.

What meets the condition is found by compiler/satisfy. A condition such as `prompt mentions any of [...]` has one
shortest answer; so it is sharpened first: one entry of the list, one way of a choice, one text that a pattern matches.
What is sharper implies the condition where it is met at all, and the reference evaluator checks every result anyway.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bylaw.compiler.evaluate import truth
from bylaw.compiler.satisfy import NotDecided, situation_meeting
from bylaw.spec.expression import And, BooleanExpression, Holds, Matcher, Or, Phrase, Regex
from bylaw.spec.logic import conjunction
from bylaw.spec.pattern import Alternate, Chars, Concat, Node, PatternError, Repeat, parse_pattern
from bylaw.spec.trace import Trace

_FRIENDLY = "etaoinshrdlucmfwypvbgkjqxz0123456789ETAOINSHRDLUCMFWYPVBGKJQXZ -.,/@_':!?()"
_MOST_REPEATS = 8
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Situations:
    """Different situations in which a condition is true, or why there is none (`reason`): that is `proved`, or else it
    was only not found. No situation has a score of a concept: nobody can promise what a scorer will say."""

    found: tuple[Trace, ...]
    is_proved_empty: bool = False
    reason: str = ""


def situations_meeting(parts: Sequence[BooleanExpression], draw: random.Random, most: int) -> Situations:
    """Up to `most` situations in which all parts are true, different in what is said and in the facts."""
    whole = conjunction(tuple(parts))
    if whole is None:
        return Situations((Trace(()),))
    reason = ""
    try:
        first = situation_meeting(whole)
    except NotDecided as error:
        first, reason = None, error.reason
    else:
        if first is None:
            return Situations((), True, "no situation meets the condition: that is proved")
    found: dict[object, Trace] = {}
    # With one entry of each list chosen, prompts differ; the first one stays the last resort.
    for _ in range(_TRIES * most):
        if len(found) >= most:
            break
        trace = _bare(_tried(sharpened(whole, draw)), whole)
        if trace is not None:
            found.setdefault((trace.messages, tuple(sorted(trace.facts.items()))), trace)
    plain = _bare(first, whole)
    if plain is not None and not found:
        found[()] = plain
    if not found and not reason:
        reason = "whether a prompt meets the condition hangs on a score that only a scorer can give"
    return Situations(tuple(found.values()), reason="" if found else reason)


def _tried(expression: BooleanExpression) -> Trace | None:
    try:
        return situation_meeting(expression)
    except NotDecided:
        return None


def _bare(trace: Trace | None, whole: BooleanExpression) -> Trace | None:
    """The situation without invented scores, where it meets the condition without them."""
    if trace is None:
        return None
    bare = replace(trace, scores={})
    return bare if truth(whole, bare) is True else None


# ------------------------------------------------------------------------------------------------------- sharpening
def sharpened(expression: BooleanExpression, draw: random.Random) -> BooleanExpression:
    """A statement that says more, chosen by chance; below a negation nothing changes."""
    match expression:
        case And(items):
            return And(tuple(sharpened(item, draw) for item in items))
        case Or(items) if items:
            return sharpened(draw.choice(items), draw)
        case Holds(_, _, matchers, "any") if matchers and not expression.in_order and expression.argument is None:
            return replace(expression, matchers=(_text_of(draw.choice(matchers), draw),))
        case Holds(_, _, matchers, "all") if matchers and expression.argument is None:
            return replace(expression, matchers=tuple(_text_of(each, draw) for each in matchers))
    return expression


def _text_of(matcher: Matcher, draw: random.Random) -> Matcher:
    """A text that a pattern matches, in place of the pattern; the pattern itself where none is drawn."""
    if not isinstance(matcher, Regex):
        return matcher
    try:
        text = "".join(_drawn(parse_pattern(matcher.source, matcher.flags), draw))
    except PatternError:
        return matcher
    return Phrase(text) if text.strip() else matcher


def _drawn(node: Node, draw: random.Random) -> Iterator[str]:
    match node:
        case Chars(charset):
            usual = [char for char in _FRIENDLY if char in charset]
            yield draw.choice(usual) if usual else charset.pick() if charset else ""
        case Concat(items):
            for item in items:
                yield from _drawn(item, draw)
        case Alternate(items) if items:
            yield from _drawn(draw.choice(items), draw)
        case Repeat(item, least, most):
            top = least + 2 if most is None else min(most, max(least, _MOST_REPEATS))
            for _ in range(draw.randint(least, max(least, top))):
                yield from _drawn(item, draw)
