"""Puts weights into a policy file: only the numbers change, comments and prose stay, and the result is checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bylaw.compiler.pipeline import Compiled, compile_source
from bylaw.compiler.program import RewardProgram, RewardTerm
from bylaw.spec import ast
from bylaw.spec.fixes import Edit, apply_edits
from bylaw.spec.formatter import format_text
from bylaw.spec.printer_terms import number
from bylaw.spec.source import Source, Span

DIGITS = 3
"""Significant digits of a weight in a policy file: no judgements tell more of them."""
_NOTHING = 1e-6
"""Nats below which a weight is what a solver left of 0."""
_BYTE_ORDER_MARK = "\ufeff"
_WEIGHED = (ast.Norm, ast.PreferHigher, ast.PreferLower, ast.PreferNear, ast.PreferOrder)


class WeightsUnwritable(Exception):
    """The weights cannot be put into the file, which is as it was; text fit for users."""


def written_weight(nats: float) -> float:
    """A weight as a file says it."""
    return 0.0 if nats < _NOTHING else float(f"{nats:.{DIGITS}g}")


def with_weights(path: str, text: str, compiled: Compiled, weights: Mapping[str, float]) -> str:
    """The text of a policy file with these weights (nats, by term id) in it.

    `text` is the file as it is on disk, `compiled` what it was compiled to. A file in the one layout stays in it.
    Raises WeightsUnwritable for a weight of 0, for a sentence that does not stand in this file, and where
    the result would not be a sound policy that differs in these weights alone.
    """
    program = compiled.require()
    mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
    plain = text.removeprefix(mark)
    spots = _spots(compiled)
    wanted = {term: written_weight(nats) for term, nats in weights.items()}
    edits = []
    none, elsewhere = [], []
    for identifier, nats in wanted.items():
        term = program.term(identifier)
        if nats == written_weight(abs(term.weight or 0.0)):
            continue
        spot = spots.get((term.rule, term.extent.start, term.extent.end))
        if nats <= 0:
            none.append(identifier)
        elif spot is None:
            elsewhere.append(term)
        else:
            edits.append(_edit(spot, number(ast.Number(nats, False, Span(0, 0)))))
    _require_writable(path, none, elsewhere)
    changed = apply_edits(plain, edits)
    if edits and format_text(path, plain) == plain:
        changed = format_text(path, changed)
    _require_same(path, changed, program, {each: nats for each, nats in wanted.items() if nats > 0})
    return mark + changed


def _require_writable(path: str, none: Sequence[str], elsewhere: Sequence[RewardTerm]) -> None:
    """Raises WeightsUnwritable, naming all terms whose weight would be 0, and all that do not stand in this file."""
    problems = []
    if none:
        named = ", ".join(f"`{identifier}`" for identifier in none)
        problems.append(
            f"{named} would get the weight 0, which a policy cannot say: delete the rule, or give --at-least 0.01, or "
            "--keep it"
        )
    if elsewhere:
        named = ", ".join(f"`{term.id}`" for term in elsewhere)
        options = " ".join(dict.fromkeys(f"--keep {term.rule}" for term in elsewhere))
        one = len(elsewhere) == 1
        problems.append(
            f"{named} {'is' if one else 'are'} not written out in `{path}` ({'it is' if one else 'they are'} imported "
            f"or applied); {options} leaves {'its weight as it is' if one else 'their weights as they are'}"
        )
    if problems:
        raise WeightsUnwritable("; ".join(problems))


def _spots(compiled: Compiled) -> dict[tuple[str, int, int], tuple[Span, Span | None]]:
    """Where each sentence with a weight stands, and the number of its weight, by rule and extent.

    Rules with parameters are left aside: one of their sentences may be several terms.
    """
    found = {}
    for item in compiled.module.items:
        if isinstance(item, ast.RuleDecl) and item.parameters is None:
            for clause in item.clauses:
                if isinstance(clause, _WEIGHED):
                    at = None if clause.weight is None else clause.weight.value.span
                    found[item.name.text, clause.span.start, clause.span.end] = (clause.span, at)
    return found


def _edit(spot: tuple[Span, Span | None], said: str) -> Edit:
    clause, at = spot
    return Edit(clause.end, clause.end, f" weight {said}") if at is None else Edit(at.start, at.end, said)


def _require_same(path: str, text: str, before: RewardProgram, weights: Mapping[str, float]) -> None:
    """Raises WeightsUnwritable unless the text is the same policy with these weights."""
    compiled = compile_source(Source.of(path, text), Path(path))
    errors = [each for each in compiled.diagnostics if each.is_error]
    if errors:
        raise WeightsUnwritable(f"with these weights `{path}` would not be sound: {errors[0].message}")
    expected = replace(before, terms=tuple(_weighed(term, weights) for term in before.terms))
    if compiled.require().digest != expected.digest:  # which covers everything but where things stand
        raise WeightsUnwritable(f"`{path}` cannot be written so that only its weights change")


def _weighed(term: RewardTerm, weights: Mapping[str, float]) -> RewardTerm:
    """A term with its new weight."""
    weight = term.weight
    if term.id in weights and weight is not None:
        nats = weights[term.id]
        if nats != written_weight(abs(weight)):
            weight = -nats if weight < 0 else nats
    return replace(term, weight=weight)
