"""The invariants of a reward program, checked after every pass and before any use of a program that was read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from bylaw.compiler.program import ProgramError, RewardProgram, RewardTerm
from bylaw.compiler.verify_expressions import expression_problems, scope_problems
from bylaw.spec.expression import BooleanConstant
from bylaw.spec.logic import reads_response, walk

_NEEDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "hard": ("holds",),
        "soft": ("holds", "weight"),
        "graded": ("value", "weight"),
        "budget": ("sense", "bound"),
    }
)
"""What a term of each kind has; `weight`, `sense` and `bound` stand on no other kind."""
_ONLY_BUDGETS = ("multiplier", "confidence", "among", "each_prompt", "price")


class ProgramInvalid(ProgramError):
    """The program breaks an invariant; `problems` says which, each with the id of its term."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def verify(program: RewardProgram) -> RewardProgram:
    """The same program, if it is sound. Raises ProgramInvalid."""
    problems = [f"{term.id}: {problem}" for term in program.terms for problem in _term_problems(term, program)]
    repeated = [name for name, times in Counter(term.id for term in program.terms).items() if times > 1]
    problems += [f"{name}: two terms have this id" for name in repeated]
    if not program.levels or len(set(program.levels)) != len(program.levels):
        problems.append("the levels are missing or repeated")
    if problems:
        raise ProgramInvalid(tuple(problems))
    return program


def _term_problems(term: RewardTerm, program: RewardProgram) -> Iterator[str]:
    if term.level not in program.levels:
        yield f"level `{term.level}` is not declared"
    if not 0 <= term.extent.start <= term.extent.end:
        yield "the extent is not a range"
    if (term.holds is None) == (term.value is None):
        yield "a term has either a statement or a value"
    for name in ("holds", "value", "weight", "sense", "bound"):
        is_given, is_needed = getattr(term, name) is not None, name in _NEEDS[term.kind]
        if is_needed and not is_given:
            yield f"a {term.kind} term needs `{name}`"
        if is_given and not is_needed and not (term.kind == "budget" and name in ("holds", "value")):
            yield f"a {term.kind} term has no `{name}`"
    yield from _number_problems(term)
    if term.kind != "budget" and any(getattr(term, name) not in (None, False) for name in _ONLY_BUDGETS):
        yield "only a budget has a multiplier, a confidence, a price, or is about a part of the responses"
    measured = term.holds or term.value
    if measured is not None and not reads_response(measured):
        yield "nothing that the model answers can change it"
    if term.among is not None and not isinstance(term.among, BooleanConstant) and not reads_response(term.among):
        yield "nothing that the model answers can change what it is about"
    for expression in (term.condition, term.holds, term.value, term.among):
        if expression is not None:
            yield from scope_problems(expression)
            for part in walk(expression):
                yield from expression_problems(part)


def _number_problems(term: RewardTerm) -> Iterator[str]:
    for name in ("weight", "bound", "multiplier", "confidence", "price"):
        number = getattr(term, name)
        if number is not None and not math.isfinite(number):
            yield f"`{name}` is not finite"
    if term.kind == "soft" and term.weight is not None and not term.weight > 0:
        yield "a soft term has a positive weight"
    if term.kind == "budget" and term.holds is not None and term.bound is not None and not 0 <= term.bound <= 1:
        yield "a share lies between 0 and 1"
    if term.price is not None and not term.price > 0:
        yield "a price is positive"
    if term.confidence is not None and not 0 < term.confidence < 1:
        yield "a confidence lies between 0 and 1"
