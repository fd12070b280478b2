"""Prompts as data for engines that sample the answers themselves, each prompt once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from bylaw.compiler.evaluate import Verdict, evaluate_term
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.targets._law import facts_read
from bylaw.compiler.targets._messages import conversation_text
from bylaw.compiler.targets.interface import LeftOut, TargetError
from bylaw.spec.trace import FactValue, Trace

HELD_OUT = 10
"""One prompt in so many is held out for validation, by its own hash, where there are that many."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt as a row: `conversation` is all that a reward function has to know of it."""

    trace: Trace
    conversation: str
    facts: Mapping[str, FactValue]


def prompts(traces: tuple[Trace, ...], terms: tuple[RewardTerm, ...]) -> tuple[list[Prompt], tuple[LeftOut, ...]]:
    """The prompts, each once, and those left out because a rule could not be told of any answer to them. Raises
    TargetError where none is left."""
    names = facts_read(terms)
    found: dict[str, Prompt] = {}
    untold: dict[str, tuple[int, str]] = {}
    for trace in traces:
        facts = {name: trace.facts[name] for name in names if name in trace.facts}
        text = conversation_text(trace.messages, facts)
        if text in found:
            continue
        lacking = _untold(terms, trace)
        if lacking is not None:
            number, reason = untold.get(lacking[0], (0, lacking[1]))
            untold[lacking[0]] = number + 1, reason
            continue
        found[text] = Prompt(trace, text, facts)
    left_out = tuple(
        LeftOut(f"`{name}`", f"{number} prompt{'' if number == 1 else 's'} left out: {reason}", number)
        for name, (number, reason) in untold.items()
    )
    if not found:
        told = "; ".join(each.words for each in left_out) or "the data is empty"
        raise TargetError(f"there is no prompt to train on: {told}")
    return list(found.values()), left_out


def _untold(terms: tuple[RewardTerm, ...], trace: Trace) -> tuple[str, str] | None:
    """(a rule of which nothing can be told for lack of a fact, why), as an answer of one word shows it."""
    answered = trace.answered("word")
    for term in terms:
        if facts_read((term,)):
            score = evaluate_term(term, answered)
            if score.verdict is Verdict.UNSCORED:
                return term.id, score.reason or "it cannot be told"
    return None


def parted(found: list[Prompt]) -> tuple[list[Prompt], list[Prompt]]:
    """(to train on, to validate on): by a hash of each prompt; the same for both where there are few."""
    if len(found) < 2 * HELD_OUT:
        return found, found
    held = {each.conversation for each in found if _number(each.conversation) % HELD_OUT == 0}
    if not 0 < len(held) < len(found):
        held = {found[0].conversation}
    train = [each for each in found if each.conversation not in held]
    return train, [each for each in found if each.conversation in held]


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8])
