"""Limits about a part of the answers that are met by giving fewer answers of this part (P421).

Such a limit bounds the average of (what is counted - the bound) over these answers, with 0 for all others. A model
keeps it by better answers, and as well by fewer of them. A limit that asks for `at least` so many of these answers, or
hard rules that leave no others, leave only the first way. Where each of these answers counts against the limit, as in
`limit A to at most 5% of responses where A`, only the second one is left, which its author hardly means.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bylaw.compiler.demands import Demand
from bylaw.compiler.proofs._limits import (
    Limit,
    Open,
    RuledOut,
    ask,
    hard_rules,
    in_force,
    limits_of,
    listed,
    mark,
)
from bylaw.compiler.proofs.interface import PolicyView
from bylaw.spec import ast
from bylaw.spec.errors import Diagnostic, Fix, Severity
from bylaw.spec.logic import meaning, negate
from bylaw.spec.printer_terms import expression

CODES = ("P421",)


def find(view: PolicyView) -> Iterator[Diagnostic]:
    """P421 for each limit about a part of the answers where nothing keeps this part from becoming smaller.

    A limit about answers that hard rules forbid is told as one that never binds (P413).
    """
    limits = limits_of(view)
    rules = hard_rules(view)
    for limit in limits:
        if limit.term.among is None:
            continue
        if any(_holds_up(other, limit) for other in limits):
            continue
        counting = in_force(rules, limit)
        answer = ask(view, [negate(limit.term.among)], counting)
        if isinstance(answer, RuledOut) or isinstance(ask(view, [limit.term.among], counting), RuledOut):
            continue  # there are no other answers, or no such ones
        only = _only_by_none(view, limit, counting)
        yield _told(view, limit, "may" if isinstance(answer, Open) else "can") if only is None else only


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


def _only_by_none(view: PolicyView, limit: Limit, rules: Sequence[Demand]) -> Diagnostic | None:
    """The finding for a limit that no answer helps to meet which it is about; None where some does, or may."""
    among, event, sense = limit.term.among, limit.term.holds, limit.term.sense
    assert among is not None
    if event is None:
        return None
    for is_needed, wanted in ((sense != "at least", negate(event)), (sense != "at most", event)):
        proof = ask(view, [among, wanted], rules) if is_needed else None
        if isinstance(proof, RuledOut):
            names = [f"`{rule.term.id}`" for rule in proof.rules]
            under = f"with {listed(names)}, " if names else ""
            all_or_none = "no" if wanted is event else "every"
            return Diagnostic(
                "P421",
                Severity.WARNING,
                f"{limit.name} can only be met by giving none of the answers that it is about",
                mark(limit.term.extent, "no such answer helps to meet it"),
                tuple(mark(rule.term.extent, "... where this holds") for rule in proof.rules),
                (f"{under}{all_or_none} answer that it is about shows what it counts",),
                Fix("forbid these answers with `must not`, or let `where` pick out more of them"),
            )
    return None


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
