"""Whether a residual policy says the same as the original wherever what was given holds, sentence by sentence."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path

from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.program import RewardTerm, Waiver
from bylaw.compiler.residual.conditions import Given
from bylaw.compiler.residual.rules import Alive
from bylaw.spec.expression import BooleanExpression
from bylaw.spec.logic import meaning
from bylaw.spec.source import Source

MOST_SHOWN = 3


def differences(compiled: Compiled, text: str, path: Path | None, given: Given, left: Alive) -> tuple[str, ...]:
    """Where the text, compiled, differs from what is left of the original; empty where it says the same."""
    shown = "residual.bylaw" if path is None else str(path.with_name("residual.bylaw"))
    again = compile_source(Source(shown, text), path)
    if again.program is None:
        errors = [diagnostic for diagnostic in again.diagnostics if diagnostic.is_error]
        return tuple(f"{each.message} ({each.code})" for each in errors[:MOST_SHOWN])
    before, after = _by_rule(compiled.require().terms), _by_rule(again.program.terms)
    found = [f"`{name}` is new" for name in after if name not in before]
    for name, terms in before.items():
        others = after.get(name, [])
        if name in left.rules or others:
            if [_key(term, given) for term in terms] != [_key(term, given) for term in others]:
                found.append(f"`{name}` would not say the same")
        elif any(given.truth(term.condition) is not False for term in terms):
            found.append(f"`{name}` would be missing")
    return tuple(found)


def _by_rule(terms: Sequence[RewardTerm]) -> dict[str, list[RewardTerm]]:
    found: dict[str, list[RewardTerm]] = {}
    for term in terms:
        found.setdefault(term.rule, []).append(term)
    return found


def _key(term: RewardTerm, given: Given) -> Hashable:
    """What is left of a sentence: equal for sentences that say the same wherever this is given."""
    condition = given.left(term.condition)
    if condition is False:
        return False
    said = (term.kind, term.level, term.title, term.because, term.weight, term.sense, term.bound, term.confidence)
    done = (term.action, term.action_message, term.suite, term.sources, term.each_prompt, term.price)
    waivers = frozenset(_waiver(each, given) for each in term.waivers if given.truth(each.where) is not False)
    own = given.left(term.own if term.waivers else term.condition)
    left = (_left(term.holds, given), _left(term.among, given), meaning(term.value))
    return (said, done, condition, own if waivers else None, waivers, *left)


def _waiver(waiver: Waiver, given: Given) -> Hashable:
    return (waiver.by, waiver.reason, given.left(waiver.where))


def _left(holds: BooleanExpression | None, given: Given) -> Hashable:
    return None if holds is None else given.left(holds)
