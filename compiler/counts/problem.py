"""The inequalities of a set of statements, with what is certain of the quantities in them besides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from bylaw.compiler.counts.cases import Case, Exact, Linear, Quantity
from bylaw.compiler.counts.linear import Row, row
from bylaw.compiler.counts.table import INSIDE, PARTWISE, PLAIN, gone_with, relations, relations_of
from bylaw.compiler.counts.words import amount, shown, unit_name, variable
from bylaw.spec import catalog
from bylaw.spec.expression import Matcher, PartOf, Phrase, Regex, TextExpression

NON_ASCII = "non_ascii_characters"
PARTS = ("lines", "paragraphs")
MOST_PAIRS = 400
"""Pairs of phrases of which it is looked whether one is a part of the other."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a row holds: because of a statement, by its number, or (None) because it is certain; in words (`told`) where
    the row does not say it well."""

    statement: int | None
    row: Row
    told: str = ""


@dataclass
class Problem:
    """Rows over numbered quantities; bit `i` of the sources of a row stands for `reasons[i]`."""

    is_ascii: bool = False
    quantities: list[Quantity] = field(default_factory=list)
    numbers: dict[Quantity, int] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    reals: set[int] = field(default_factory=set)

    def number(self, quantity: Quantity) -> int:
        """The number of a quantity; one that is not a fact is a whole number from 0 up, and 0 or 1 where it says yes
        or no."""
        known = self.numbers.get(quantity)
        if known is not None:
            return known
        new = self.numbers[quantity] = len(self.quantities)
        self.quantities.append(quantity)
        if quantity.kind == "fact":
            self.reals.add(new)
            return new
        self.rows.append(Row(((new, -1),), 0))
        if quantity.kind in ("found", "said"):
            self.rows.append(Row(((new, 1),), 1))
        return new

    def add(
        self,
        terms: Mapping[Quantity, Fraction | int],
        bound: Fraction | int,
        statement: int | None = None,
        *,
        strict: bool = False,
        because: int = 0,
        told: str = "",
    ) -> None:
        """Adds a row with a reason of its own; `because` are the sources that it follows from besides."""
        numbered = {self.number(quantity): factor for quantity, factor in terms.items()}
        sources = because | 1 << len(self.reasons)
        made = row(numbered, bound, strict=strict, sources=sources, reals=self.reals)
        self.reasons.append(Reason(statement, made, told))
        self.rows.append(made)

    def statements(self, sources: int) -> frozenset[int]:
        """The statements among the sources of a row."""
        found = (each.statement for place, each in enumerate(self.reasons) if sources >> place & 1)
        return frozenset(statement for statement in found if statement is not None)


def problem_of(said: Sequence[tuple[int, Case]], is_ascii: bool = False) -> Problem:
    """The rows of statements, by their numbers, and of all that is certain of what they speak of.

    With `is_ascii`, of what is certain in texts of ASCII characters.
    """
    problem = Problem(is_ascii)
    exact: list[tuple[int, Exact]] = []
    for statement, case in said:
        for fact in case:
            if isinstance(fact, Linear):
                problem.add(fact.terms, fact.bound, statement, strict=fact.strict)
            else:
                exact.append((statement, fact))
    if len(problem.quantities) < 2 and not exact:
        return problem
    _relate_parts(problem)
    _complete_sums(problem)
    _relate_phrases(problem)
    for statement, fact in exact:
        _spell_out(problem, statement, fact)
    _relate_units(problem)
    _carry_none_and_some(problem)
    return problem


def _by_scope(problem: Problem, kinds: Iterable[str]) -> dict[TextExpression, list[Quantity]]:
    found: dict[TextExpression, list[Quantity]] = {}
    for quantity in problem.quantities:
        if quantity.kind in kinds and quantity.scope is not None:
            found.setdefault(quantity.scope, []).append(quantity)
    return found


def _unit(name: str, scope: TextExpression) -> Quantity:
    return Quantity("unit", name, None, scope)


# ------------------------------------------------------------------------------------------------------------ parts
def _relate_parts(problem: Problem) -> None:
    """A part of a text has no more than the text, and neither have several parts of a kind together."""
    together: dict[tuple[str, str, bool, TextExpression], list[Quantity]] = {}
    for scope, quantities in _by_scope(problem, ("unit",)).items():
        if not isinstance(scope, PartOf):
            continue
        for quantity in quantities:
            whole = _unit(quantity.name, scope.subject)
            if quantity.name in INSIDE:
                problem.add({quantity: 1, whole: -1}, 0)
            if scope.unit in PARTS and quantity.name in PARTWISE:
                kind = (quantity.name, scope.unit, scope.index > 0, scope.subject)
                together.setdefault(kind, []).append(quantity)
    for (name, _, _, subject), parts in together.items():
        if len(parts) > 1 or name not in INSIDE:
            problem.add({**dict.fromkeys(parts, 1), _unit(name, subject): -1}, 0)


# ------------------------------------------------------------------------------------------------------------ units
def _complete_sums(problem: Problem) -> None:
    """Brings in what several quantities are a part of together, such as the sentences of questions and statements."""
    texts = _by_scope(problem, ("times", "found"))
    for scope, quantities in _by_scope(problem, ("unit",)).items():
        names = {quantity.name for quantity in quantities}
        for name in sorted(names):
            for number in relations_of(name):
                each = relations()[number]
                if len(each.smaller.keys() & names) > 1:
                    _bring_in(problem, (other for other in each.larger if other != PLAIN), scope)
        if "characters" in names and (len(names) > 2 or scope in texts):
            _bring_in(problem, (PLAIN,), scope)


def _bring_in(problem: Problem, names: Iterable[str], scope: TextExpression) -> None:
    for name in names:
        problem.number(_unit(name, scope))


def _relate_units(problem: Problem) -> None:
    for scope, quantities in _by_scope(problem, ("unit",)).items():
        units = {quantity.name: quantity for quantity in quantities}
        _apply_table(problem, units, False, 0)
        if problem.is_ascii:
            _apply_table(problem, units, True, 0)
        elif NON_ASCII in units:
            own = problem.numbers[_unit(NON_ASCII, scope)]
            known = next((each for each in problem.rows if _is_none(each, own)), None)
            if known is not None:
                _apply_table(problem, units, True, known.sources)


def _apply_table(problem: Problem, units: Mapping[str, Quantity], is_ascii: bool, because: int) -> None:
    table = relations(is_ascii)
    used = sorted({number for name in units for number in relations_of(name, is_ascii)})
    for number in used:
        each = table[number]
        smaller = [name for name in each.smaller if name in units]
        if smaller and all(name in units for name in each.larger):
            terms = {units[name]: each.smaller[name] for name in smaller}
            terms.update((units[name], -factor) for name, factor in each.larger.items())
            problem.add(terms, each.more, because=because)


# ---------------------------------------------------------------------------------------------------------- phrases
def _relate_phrases(problem: Problem) -> None:
    """What is asked to be found, or to occur, with the units that come with it and with other phrases inside it."""
    asked, limited = _asked_and_limited(problem)
    units = _by_scope(problem, ("unit",))
    for scope, quantities in _by_scope(problem, ("times", "found")).items():
        own = [each for each in quantities if isinstance(each.key, (Phrase, Regex))]
        needed = [each for each in own if each in asked]
        near = units.get(scope, [])
        for quantity in needed if not limited.isdisjoint(near) else ():
            for unit in near:
                least = _least_with(quantity, unit.name, unit in limited)
                if least:
                    problem.add({quantity: least, unit: -1}, 0)
        others = [each for each in own if each in limited]
        for one in needed if len(needed) * len(others) <= MOST_PAIRS else ():
            for other in others:
                if one is not other:
                    _relate_two(problem, one, other)


def _asked_and_limited(problem: Problem) -> tuple[frozenset[Quantity], frozenset[Quantity]]:
    """The quantities of which statements ask for some, and those that they limit."""
    asked: set[Quantity] = set()
    limited: set[Quantity] = set()
    for reason in problem.reasons:
        for number, factor in reason.row.terms:
            (limited if factor > 0 else asked).add(problem.quantities[number])
    return frozenset(asked), frozenset(limited)


def _least_with(quantity: Quantity, unit: str, is_limited: bool) -> int:
    """`is_limited` tells whether it is worth more than a look at the phrase."""
    from bylaw.compiler.counts.texts import each_brings, fewest_with

    matcher = quantity.key
    assert isinstance(matcher, (Phrase, Regex))
    return (each_brings if quantity.kind == "times" else fewest_with)(quantity.name, matcher, unit, is_limited)


def _relate_two(problem: Problem, one: Quantity, other: Quantity) -> None:
    """What follows for the second quantity from the first one."""
    from bylaw.compiler.counts.texts import times_inside

    if one.key == other.key and one.name == other.name:
        if other.kind == "times":
            problem.add({one: 1, other: -1}, 0)  # what is found occurs
        return
    if not isinstance(one.key, Phrase) or not isinstance(other.key, Phrase):
        return
    if other.name in ("contain", "mention") and (one.kind, other.kind) != ("times", "found"):
        least = times_inside(one.name, one.key, other.name, other.key)
        if least:
            problem.add({one: least if other.kind == "times" else 1, other: -1}, 0)


def _spell_out(problem: Problem, statement: int, exact: Exact) -> None:
    """What all is known of a text that is known by its plain form."""
    for quantity in list(problem.quantities):
        if quantity.scope != exact.scope:
            continue
        value = _value_in(exact.text, quantity)
        if value is not None:
            told = f"{shown(exact.text)} has {amount(quantity, value)}"
            problem.add({quantity: 1}, value, statement, told=told)
            problem.add({quantity: -1}, -value, statement, told=told)


def _value_in(text: str, quantity: Quantity) -> int | None:
    if quantity.kind == "unit":
        if quantity.name == PLAIN:
            return len(text)
        unit = catalog.unit(quantity.name)
        return None if unit.is_raw and quantity.name != "line_breaks" else len(unit.find(text))
    matcher: Matcher = quantity.key  # type: ignore[assignment]
    found = len(catalog.predicate(quantity.name).find(text, matcher))
    return found if quantity.kind == "times" else int(found > 0)


# --------------------------------------------------------------------------------------------------- none and some
def _is_none(each: Row, number: int) -> bool:
    """Whether a row says that a quantity is 0."""
    return each.bound == 0 and not each.strict and each.terms == ((number, 1),)


def _carry_none_and_some(problem: Problem) -> None:
    """Where there is none of one thing, there is none of another; where there is a part, there are those before it."""
    waiting = list(problem.rows)
    done: set[tuple[int, bool]] = set()
    for each in waiting:
        if each.strict or not each.terms:
            continue
        if each.bound == 0 and all(factor > 0 for _, factor in each.terms):
            none, some = [number for number, _ in each.terms], []
        elif each.bound < 0 and len(each.terms) == 1 and each.terms[0][1] < 0:
            none, some = [], [each.terms[0][0]]
        else:
            continue
        before = len(problem.rows)
        for number in (*none, *some):
            if number in problem.reals or (number, bool(none)) in done:
                continue
            done.add((number, bool(none)))
            follow = _none_with if none else _some_with
            quantity = problem.quantities[number]
            for terms, bound, told in list(follow(problem, quantity)):
                problem.add(terms, bound, because=each.sources, told=told)
        waiting += problem.rows[before:]


def _none_with(problem: Problem, quantity: Quantity) -> Iterator[tuple[dict[Quantity, int], int, str]]:
    if quantity.kind == "unit":
        gone = gone_with(quantity.name)
        for other in problem.quantities:
            if other.kind == "unit" and other.scope == quantity.scope and other.name in gone:
                yield {other: 1}, 0, f"where there are no {variable(quantity)} there are no {variable(other)}"
    elif quantity.kind == "found":
        times = quantity._replace(kind="times")
        if times in problem.numbers:
            yield {times: 1}, 0, f"{shown(quantity.key)} must not be found"


def _some_with(problem: Problem, quantity: Quantity) -> Iterator[tuple[dict[Quantity, int], int, str]]:
    found = quantity._replace(kind="found")
    if quantity.kind == "times" and found in problem.numbers:
        yield {found: -1}, -1, f"{shown(quantity.key)} has to be found"
    scope = quantity.scope
    if quantity.kind in ("unit", "times") and isinstance(scope, PartOf):
        parts = _unit(scope.unit, scope.subject)
        if parts in problem.numbers:
            yield {parts: -1}, -abs(scope.index), f"the {unit_name(scope.unit, 1)} with number {scope.index} is needed"
