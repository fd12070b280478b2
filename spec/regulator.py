"""Regulators: the rules of a policy after every name has been resolved and every type checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bylaw.spec.expression import BooleanExpression, Extent, NumberExpression
from bylaw.spec.trace import FactValue, Message

Modality = Literal["must", "must not", "should", "should not", "may", "need not", "prefer", "limit"]
Sense = Literal["at most", "at least", "exactly"]


@dataclass(frozen=True, slots=True)
class Regulator:
    """One normative clause of one rule.

    `obligation` (must, should and their negations) is what has to hold, with the negation of `must not` already
    inside; for `may` and `need not` it is what is permitted. `value` is what `prefer` raises (weights carry the sign)
    and what `limit` bounds; a limit on how often something happens has `event` instead.
    `condition` is `when` and not `unless`; None means always. Weights are in nats.
    """

    id: str
    rule: str
    level: str
    modality: Modality
    extent: Extent
    rule_extent: Extent
    title: str | None = None
    because: str | None = None
    condition: BooleanExpression | None = None
    obligation: BooleanExpression | None = None
    value: NumberExpression | None = None
    event: BooleanExpression | None = None
    weight: float | None = None
    sense: Sense = "at most"
    bound: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class PolicyExample:
    """A text or conversation that the author says complies with, or violates, a rule.

    A text alone (`is_text`) is the response; what the conversation before it would have said is then unknown.
    """

    rule: str
    verdict: Literal["complies", "violates", "skips"]
    messages: tuple[Message, ...]
    extent: Extent
    facts: tuple[tuple[str, FactValue], ...] = ()
    note: str | None = None
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class RegulatorSet:
    """A whole policy, resolved. `levels` run from the strongest to the weakest."""

    policy: str
    version: str
    levels: tuple[str, ...]
    regulators: tuple[Regulator, ...]
    examples: tuple[PolicyExample, ...]
