"""Conditions that are never true, or always (P411), exceptions and permissions that are never reached (P412), and rules
that every answer obeys (P418).

The policy's own examples and tests settle most of that at no cost: a condition that they have shown true and false is
neither always true nor never, and a rule that a known text breaks is one. What is left is decided in `_never`.
"""

from __future__ import annotations

from collections.abc import Iterator

from bylaw.compiler.conversations import Conversations
from bylaw.compiler.demands import key_of
from bylaw.compiler.evaluate import truth
from bylaw.compiler.proofs.interface import Finding, PolicyView
from bylaw.spec.logic import conjuncts, negate, reads_context
from bylaw.spec.regulator import Regulator

CODES = ("P411", "P412", "P418")
PERMISSIONS = ("may", "need not")


def find(view: PolicyView) -> Iterator[Finding]:
    """Everything that is found, and what stayed open."""
    if _is_settled(view):
        return
    from bylaw.compiler.proofs._never import all_findings

    yield from all_findings(view)


def _is_settled(view: PolicyView) -> bool:
    """Whether what is known already shows that there is nothing to find."""
    rules = view.policy.regulators
    if view.policy.exceptions or any(each.modality in PERMISSIONS for each in rules):
        return False
    tried = Conversations.of(view.policy).tried
    parts = [part for each in rules for part in conjuncts(each.condition)]
    shown = all({truth(part, trace) for trace in tried} >= {True, False} for part in parts)
    together = all(any(truth(each.condition, trace) is True for trace in tried) for each in rules if each.condition)
    return shown and together and all(_can_be_broken(view, each) for each in rules)


def _can_be_broken(view: PolicyView, rule: Regulator) -> bool:
    """Whether a text is known that breaks what a rule asks for; what asks for nothing is not in question."""
    asked = rule.obligation
    if asked is None:
        return True
    if reads_context(asked):
        return False
    return bool(view.witnesses.known(key_of(asked))[1]) or view.witnesses.likely(negate(asked)) is not None
