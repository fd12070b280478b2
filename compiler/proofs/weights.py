"""Weights that never matter between the examples of their rule (P416).

The law prefers, of two answers to the same prompt, the one with the higher sum of weighted values, and takes neither if
it breaks a hard rule. Between an example that complies and one that violates, a weight matters if the order is another
one without it. Where it disagrees with the other rules and loses each time, the author should know which rules win.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

from bylaw.compiler.analysis import as_meant
from bylaw.compiler.evaluate import TermScore, Verdict, evaluate_term
from bylaw.compiler.program import RewardTerm
from bylaw.compiler.proofs._limits import decimal, listed, mark, quoted
from bylaw.compiler.proofs.interface import Finding, PolicyView, Undecided
from bylaw.spec.errors import Diagnostic, Fix, Severity
from bylaw.spec.logic import conjuncts, meaning, reads_response
from bylaw.spec.regulator import PolicyExample
from bylaw.spec.trace import Trace

CODES = ("P416",)

MOST_NAMED = 3
"""Rules that outvote, in one message."""
MOST_PAIRS = 400
"""Pairs of examples of one sentence that are compared."""


def find(view: PolicyView) -> Iterator[Finding]:
    """P416 for each `should` sentence that loses against the others in all pairs of examples where they disagree."""
    by_rule: dict[str, list[PolicyExample]] = {}
    for example in view.policy.examples:
        by_rule.setdefault(example.rule, []).append(example)
    for term in view.program.terms:
        if term.kind != "soft" or not term.weight or term.rule not in by_rule:
            continue
        if view.is_late:
            yield Undecided(f"whether the weight of `{term.id}` matters", "the time is used up")
            continue
        outvoted = _outvoted(view, term, by_rule[term.rule])
        if outvoted is not None:
            yield _never_matters(view, term, outvoted)


# ---------------------------------------------------------------------------------------------------------- pairs
@dataclass(frozen=True, slots=True)
class _Pair:
    """A complying and a violating example, and by how much the other terms prefer the latter (nats, above 0).

    `against` are the terms that prefer the violating example, the strongest first.
    """

    better: PolicyExample
    worse: PolicyExample
    deficit: Fraction
    against: tuple[str, ...]


def _outvoted(view: PolicyView, term: RewardTerm, examples: Sequence[PolicyExample]) -> _Pair | None:
    """The pair in which the weight comes nearest to mattering; None where it matters in some pair, or in none loses."""
    good = [example for example in examples if example.verdict == "complies"]
    bad = [example for example in examples if example.verdict == "violates"]
    scored = {id(example): _scores(view, term, example) for example in (*good, *bad)}
    nearest: _Pair | None = None
    pairs = [(one, other) for one, other in product(good, bad) if _situation(one) == _situation(other)]
    for one, other in pairs[:MOST_PAIRS]:
        pair = _compared(view, term, (one, other), (scored[id(one)], scored[id(other)]))
        if pair is None:
            continue
        if pair.deficit == 0 or 0 < pair.deficit <= _exact(term.weight):
            return None
        if pair.deficit > 0 and (nearest is None or pair.deficit < nearest.deficit):
            nearest = pair
    return nearest


def _situation(example: PolicyExample) -> Hashable:
    """What an answer comes after: only answers to the same can be compared."""
    return example.is_text, example.messages[:-1], example.messages[-1].kind, frozenset(example.facts)


def _scores(view: PolicyView, term: RewardTerm, example: PolicyExample) -> Mapping[str, TermScore]:
    """All terms on one example. A text alone comes where the rule applies, and so do rules under its condition."""
    trace = Trace(example.messages, dict(example.facts))
    own = _context(term)
    found = {}
    for other in view.program.terms:
        is_same = example.is_text and _context(other) <= own
        found[other.id] = evaluate_term(as_meant(other, trace, is_same), trace)
    return found


def _context(term: RewardTerm) -> frozenset[Hashable]:
    return frozenset(meaning(part) for part in conjuncts(term.condition) if not reads_response(part))


def _compared(
    view: PolicyView,
    term: RewardTerm,
    examples: tuple[PolicyExample, PolicyExample],
    scores: tuple[Mapping[str, TermScore], Mapping[str, TermScore]],
) -> _Pair | None:
    """What the other terms say of a pair; None where the term does not tell it apart, hard rules decide it, or a term
    that could say something is unscored."""
    one, other = scores
    if one[term.id].verdict is not Verdict.SATISFIED or other[term.id].verdict is not Verdict.VIOLATED:
        return None
    votes: dict[str, Fraction] = {}
    for each in view.program.terms:
        if each.kind == "budget" or each.id == term.id:
            continue  # what a limit costs an answer is not written in the policy
        here, there = one[each.id].value, other[each.id].value
        if here is None or there is None or not math.isfinite(here - there):
            return None
        if each.kind == "hard":
            if here < 0 or there < 0:
                return None
            continue
        vote = _exact(each.weight) * (Fraction(here) - Fraction(there))
        if vote:
            votes[each.id] = vote
    against = sorted((name for name in votes if votes[name] < 0), key=lambda name: votes[name])
    return _Pair(*examples, -sum(votes.values(), Fraction(0)), tuple(against))


def _exact(weight: float | None) -> Fraction:
    return Fraction(repr(weight or 0.0))


# -------------------------------------------------------------------------------------------------------- messages
def _never_matters(view: PolicyView, term: RewardTerm, pair: _Pair) -> Diagnostic:
    names = [f"`{name}`" for name in pair.against]
    more = len(names) - MOST_NAMED
    shown = f"{', '.join(names[:MOST_NAMED])} and {more} more" if more > 0 else listed(names)
    marks = [mark(view.program.term(name).extent, "this outvotes it") for name in pair.against[:MOST_NAMED]]
    marks += [mark(pair.better.extent, "this complies ..."), mark(pair.worse.extent, "... and this is preferred to it")]
    texts = f"{quoted(pair.better.messages[-1].content)} and {quoted(pair.worse.messages[-1].content)}"
    verb = "outvotes" if len(names) == 1 else "outvote"
    own = decimal(_exact(term.weight))
    return Diagnostic(
        "P416",
        Severity.WARNING,
        f"the weight of `{term.id}` never matters between its examples: {shown} {verb} it",
        mark(term.extent, f"this weighs {own}"),
        tuple(marks),
        (
            f"between {texts} the other rules prefer the second by {decimal(pair.deficit)}; this one weighs {own}",
            "without this weight every pair of its examples has the order that it has with it",
        ),
        Fix(f"give it a weight above {decimal(pair.deficit)}, or an example in which it decides"),
    )
