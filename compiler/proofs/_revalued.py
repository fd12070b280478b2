"""A policy with another value of one of its parameters, and what its hard rules then contradict."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

from bylaw.compiler.conversations import Conversations
from bylaw.compiler.defeat import settle
from bylaw.compiler.lower import lower
from bylaw.compiler.outrank import settle_conflicts
from bylaw.compiler.outrank_messages import span_of
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.compiler.verify import verify
from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic
from bylaw.spec.loader import Loaded, load
from bylaw.spec.parser import ParseResult
from bylaw.spec.regulator import RegulatorSet
from bylaw.spec.resolver import resolve
from bylaw.spec.source import Source

Value: TypeAlias = float | str | bool
Ids: TypeAlias = frozenset[str]


def values_to_try(item: ast.ParamDecl) -> tuple[Value, ...]:
    """The values to be tried: the ends of a range, or all choices; without the present one."""
    found: tuple[Value, ...] = ()
    match item.allowed, item.default:
        case ast.NumberRange(low, high), ast.Number():
            found = (float(low.amount), float(high.amount))
        case ast.Choices(options), _:
            found = tuple(
                float(each.amount) if isinstance(each, ast.Number) else each.value
                for each in options.items
                if isinstance(each, ast.Number | ast.Text)
            )
        case None, ast.Bool(value):
            found = (not value,)
    return tuple(each for each in dict.fromkeys(found) if each != value_of(item.default))


def value_of(literal: ast.Literal) -> Value | None:
    match literal:
        case ast.Number():
            return float(literal.amount)
        case ast.Text(value) | ast.Bool(value):
            return value
    return None


def shown(value: Value | None) -> str:
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


@dataclass(frozen=True, slots=True)
class Conflict:
    """A finding of the analysis that every policy goes through, and the ids of the rules that it is about."""

    found: Diagnostic
    members: Ids
    marks: tuple[tuple[str, str], ...]
    """(id, words) of each mark."""


@dataclass(slots=True)
class Policies:
    """The policy with other values of a parameter."""

    view: PolicyView
    loaded: Loaded | None = None
    present: set[str] | None = None

    def now(self) -> tuple[RegulatorSet, RewardProgram]:
        """The policy as it is, before levels are settled."""
        policy = self.view.policy
        return policy, verify(lower(policy, settle(policy)))

    def lowered(self, module: ast.Module) -> tuple[RegulatorSet, RewardProgram] | str:
        """The policy with another main file, before levels are settled; or what is wrong with it."""
        if self.loaded is None:
            self.loaded = _loaded(self.view)
        main = replace(self.loaded.main, module=module)
        resolution = resolve(replace(self.loaded, main=main))
        settled = settle(resolution.regulators) if resolution.ok else None
        said = (*resolution.diagnostics, *(settled.diagnostics if settled is not None else ()))
        wrong = next((each for each in said if each.is_error), None)
        if wrong is not None or settled is None:
            return "" if wrong is None else wrong.message
        return resolution.regulators, verify(lower(resolution.regulators, settled))

    def conflicts(self, policy: RegulatorSet, program: RewardProgram) -> tuple[list[Conflict], list[Diagnostic]]:
        """What is new against the present policy: P401 and P403, and what was not decided."""
        if self.present is None:
            self.present = {_identity(each) for each in self._settled(*self.now())}
        news = [each for each in self._settled(policy, program) if _identity(each) not in self.present]
        found = [_conflict(each, program) for each in news if each.code in ("P401", "P403")]
        return found, [each for each in news if each.code == "P402"]

    def _settled(self, policy: RegulatorSet, program: RewardProgram) -> tuple[Diagnostic, ...]:
        return settle_conflicts(program, self.view.witnesses, Conversations.of(policy))[1]


def _loaded(view: PolicyView) -> Loaded:
    """The policy with what it imports."""
    # Texts stand behind each other in the order in which they are read, so that the main file keeps its length.
    source = Source("", " " * view.module.span.end)
    return load(ParseResult(source, view.module, ()), view.path)


def _identity(each: Diagnostic) -> str:
    return f"{each.code} {each.message}"


def _conflict(found: Diagnostic, program: RewardProgram) -> Conflict:
    marks: list[tuple[str, str]] = []
    for mark in (found.primary, *found.secondary):
        there = [term for term in program.terms if span_of(term.extent) == mark.span]
        named = [term for term in there if {f"`{term.id}`", f"`{term.rule}`"} & set(_names(found.message))]
        marks += [(term.id, mark.message) for term in (named or there)[:1]]
    return Conflict(found, frozenset(name for name, _ in marks), tuple(marks))


def _names(message: str) -> list[str]:
    return [f"`{part}`" for part in message.split("`")[1::2]]


def hard(program: RewardProgram) -> list[RewardTerm]:
    return [term for term in program.terms if term.kind == "hard"]
