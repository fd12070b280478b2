"""Mutation testing of policies: do the examples and tests of a file notice when its rules say something else?

A mutant is the policy with one small change (`compiler/mutants/text.py` has the list). An example or a test that fails
on it has killed it; a mutant that survives is a rule that could be wrong without anybody noticing, and the report says
with which example it would be. The idea is that of DeMillo, Lipton and Sayward, Hints on Test Data Selection, 1978.
Mutants that are proved to say the same as the policy (equivalent mutants) and those that are no sound policy are not in
the score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from bylaw.compiler.mutants.bench import Bench, Tried
from bylaw.compiler.mutants.edits import edits_of
from bylaw.compiler.mutants.telling import Telling, as_syntax
from bylaw.compiler.mutants.text import MOST_ENTRIES, OPERATORS, Edit
from bylaw.spec import ast
from bylaw.spec.source import Source, Span

__all__ = (
    "OPERATORS",
    "Bench",
    "Edit",
    "Plan",
    "Report",
    "Settings",
    "Telling",
    "Tried",
    "as_syntax",
    "difference",
    "mutate",
    "place",
    "plan",
    "report",
    "run",
)


@dataclass(frozen=True, slots=True)
class Settings:
    """Which mutants are made: of declarations whose name holds `rule`, by these operators (none: all), at most so many
    (None: all). Samples are drawn with `seed`; `most_entries` of one list are dropped."""

    rule: str = ""
    operators: tuple[str, ...] = ()
    most: int | None = None
    seed: int = 0
    most_entries: int = MOST_ENTRIES


@dataclass(frozen=True, slots=True)
class Plan:
    """The mutants to try, in the order of the file, of so many (`made`); `left_out` counts what is not mutated."""

    edits: tuple[Edit, ...]
    made: int
    left_out: Mapping[str, int]


def plan(bench: Bench, settings: Settings) -> Plan:
    """What there is to try on a sound policy."""
    found = edits_of(bench.parsed, settings.seed, settings.most_entries)
    names = _named(bench.parsed.module, settings.rule)
    wanted = [
        edit
        for edit in found.edits
        if edit.item in names and (not settings.operators or edit.operator in settings.operators)
    ]
    chosen = wanted
    if settings.most is not None and len(wanted) > settings.most:
        chosen = [wanted[place] for place in sorted(Random(settings.seed).sample(range(len(wanted)), settings.most))]
    return Plan(tuple(chosen), len(wanted), found.left_out)


def _named(module: ast.Module, text: str) -> frozenset[int]:
    """The declarations that are called so, and exceptions to rules that are."""
    found = set()
    for number, item in enumerate(module.items):
        names = [getattr(item, "name", None), getattr(item, "target", None)]
        if isinstance(item, ast.ApplyDecl):
            names.append(item.alias or item.template)
        if not text or any(isinstance(name, ast.Name) and text in name.text for name in names):
            found.add(number)
    return frozenset(found)


def run(bench: Bench, edits: Sequence[Edit]) -> Iterator[Tried]:
    """Tries mutants one after the other."""
    return map(bench.judge, edits)


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the mutants of one file; `planned` is how many were to be tried, `made` how many there are."""

    tried: tuple[Tried, ...]
    planned: int
    made: int
    left_out: Mapping[str, int]

    def count(self, status: str) -> int:
        """How many mutants have this status."""
        return sum(each.status == status for each in self.tried)

    @property
    def survivors(self) -> tuple[Tried, ...]:
        """The mutants that nothing noticed, in the order of the file."""
        return tuple(each for each in self.tried if each.status == "survived")

    @property
    def score(self) -> float | None:
        """The share of mutants that were noticed, from 0 to 1; None where there was none to notice."""
        killed, survived = self.count("killed"), self.count("survived")
        return killed / (killed + survived) if killed + survived else None

    @property
    def operators(self) -> dict[str, tuple[int, int]]:
        """(noticed, all that could be) by operator."""
        counts = Counter((each.edit.operator, each.status) for each in self.tried)
        return {
            name: (counts[name, "killed"], counts[name, "killed"] + counts[name, "survived"])
            for name in OPERATORS
            if counts[name, "killed"] + counts[name, "survived"]
        }


def report(planned: Plan, tried: Iterable[Tried]) -> Report:
    """The report of what was tried, in the order of the file; of mutants that say the same only the first counts."""
    order = {edit: place for place, edit in enumerate(planned.edits)}
    seen: set[str] = set()
    told: list[Tried] = []
    for each in sorted(tried, key=lambda tried: order[tried.edit]):
        told.append(replace(each, status="duplicate", telling=None) if each.key and each.key in seen else each)
        seen.add(each.key)
    return Report(tuple(told), len(planned.edits), planned.made, planned.left_out)


def mutate(source: Source, path: Path | None = None, settings: Settings | None = None) -> Report:
    """All of it for one policy text. Raises PolicyError where it is not sound, its own examples and tests included."""
    bench = Bench(source, path)
    planned = plan(bench, settings or Settings())
    return report(planned, run(bench, planned.edits))


def difference(source: Source, edit: Edit) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The lines that an edit changes: as they are, and as they would be. Lines left blank are not shown."""
    first, last = (source.position(offset)[0] for offset in (edit.span.start, max(edit.span.end - 1, edit.span.start)))
    start, end = source.line_span(first).start, source.line_span(last).end
    after = source.text[start : edit.span.start] + edit.text + source.text[edit.span.end : end]
    before = tuple(source.line_text(line) for line in range(first, last + 1))
    return before, tuple(line.rstrip() for line in after.split("\n") if line.strip())


def place(source: Source, edit: Edit) -> int:
    """The line that an edit begins in."""
    return source.location(Span(edit.span.start, edit.span.end)).line
