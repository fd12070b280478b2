"""Limits about a part of the answers that are met by giving fewer answers of this part (P421).

Such a limit bounds the average of (what is counted - the bound) over these answers, with 0 for all others. A model
keeps it by better answers, and as well by fewer of them. A limit that asks for `at least` so many of these answers, or
hard rules that leave no others, leave only the first way.
"""

from __future__ import annotations

from collections.abc import Iterator

from bylaw.compiler.proofs._limits import Limit, Open, RuledOut, ask, hard_rules, in_force, limits_of, mark
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Severity
from bylaw.spec.logic import meaning, negate
from bylaw.spec.printer_terms import expression

CODES = ("P421",)


def find(view: PolicyView) -> Iterator[Diagnostic]:
    """P421 for each limit about a part of the answers where nothing keeps this part from becoming smaller."""
    limits = limits_of(view)
    rules = hard_rules(view)
    for limit in limits:
        if limit.term.among is None:
            continue
        if any(_holds_up(other, limit) for other in limits):
            continue
        answer = ask(view, [negate(limit.term.among)], in_force(rules, limit))
        if not isinstance(answer, RuledOut):  # there are other answers, as far as automata tell
            yield _told(view, limit, "may" if isinstance(answer, Open) else "can")


def _holds_up(other: Limit, limit: Limit) -> bool:
    """Whether another limit asks for so many of the answers that a limit is about, for the same prompts.

    One with a price may give way, and then holds nothing up.
    """
    if other.term.holds is None or other.term.among is not None or other.keys != limit.keys:
        return False
    if other.gives_way or limit.term.among is None or (limit.term.each_prompt and not other.term.each_prompt):
        return False
    if meaning(other.term.holds) == meaning(limit.term.among):
        return other.term.sense != "at most"
    return meaning(other.term.holds) == meaning(negate(limit.term.among)) and other.term.sense != "at least"


def _told(view: PolicyView, limit: Limit, verb: str) -> Diagnostic:
    words = _words(view, limit)
    asked = "such answers" if words is None else f"answers of which `{words}` is true"
    return Diagnostic(
        "P421",
        Severity.NOTE,
        f"{limit.name} {verb} be met by giving fewer of the answers that it is about",
        mark(limit.term.extent, "it counts only some of the answers"),
        (),
        (f"nothing asks for {asked}",),
        Fix(f"to keep them, add a limit such as `limit {words or 'CONDITION'} to at least 20% of responses`"),
    )


def _words(view: PolicyView, limit: Limit) -> str | None:
    """The condition as it stands behind `where`; None for a limit of another file or of a rule with parameters."""
    for node in ast.walk(view.module):
        if not isinstance(node, ast.LimitRate | ast.LimitAverage) or node.among is None:
            continue
        if (node.span.start, node.span.end) == (limit.term.extent.start, limit.term.extent.end):
            return expression(node.among.condition)
    return None
