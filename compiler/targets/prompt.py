"""A system prompt that tells a model the rules in plain words.

Files: `system_prompt.txt`. What a prompt asks for is not what a model does: `bylaw audit` measures that.
"""

from __future__ import annotations

from typing import Any

from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.targets._files import rendered
from bylaw.compiler.targets._law import facts_read
from bylaw.compiler.targets._sentences import instruction
from bylaw.compiler.targets.interface import Data, Inputs, Made, TargetError

DATA: Data = "none"
OPTIONS: frozenset[str] = frozenset()
MOST_CHARACTERS = 60_000
"""Of a prompt, about 15,000 tokens; a longer one is refused."""


def build(inputs: Inputs) -> Made:
    """The prompt. Raises TargetError where it would be too long."""
    program = inputs.program
    if not program.terms:
        raise TargetError("the policy has no rule that a prompt could say")
    levels = [(level, _rules(program, level)) for level in program.levels]
    text = rendered("system_prompt.txt.j2", levels=[(level, rules) for level, rules in levels if rules])
    length = len(text.decode("utf-8", "replace"))
    if length > MOST_CHARACTERS:
        longest = max((rule for _, rules in levels for rule in rules), key=lambda rule: len(" ".join(rule["said"])))
        raise TargetError(
            f"the prompt would have {length:,} characters, and {MOST_CHARACTERS:,} is the most; the longest rule is "
            f"`{longest['name']}`"
        )
    return Made({"system_prompt.txt": text}, notes=_notes(program))


def _rules(program: RewardProgram, level: str) -> list[dict[str, Any]]:
    """The rules of a level in the order of the policy, each with its sentences."""
    found: dict[str, list[RewardTerm]] = {}
    for term in program.terms:
        if term.level == level:
            found.setdefault(term.rule, []).append(term)
    return [_rule(name, terms) for name, terms in found.items()]


def _rule(name: str, terms: list[RewardTerm]) -> dict[str, Any]:
    because = terms[0].because
    return {
        "name": name,
        "title": _line(terms[0].title),
        "because": None if because is None else _line(because),
        "said": list(dict.fromkeys(instruction(term) for term in terms)),
    }


def _line(text: str | None) -> str | None:
    """Prose on one line, its full stop left out."""
    return None if text is None else " ".join(text.split()).removesuffix(".")


def _notes(program: RewardProgram) -> tuple[str, ...]:
    """What a model has to be told besides."""
    facts = facts_read(program.terms)
    if not facts:
        return ()
    known = ", ".join(f"`{fact}`" for fact in facts)
    return (f"rules read {known}: a model knows that only where its prompt says it",)
