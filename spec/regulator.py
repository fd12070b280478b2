"""Regulators: the rules of a policy after every name has been resolved and every type checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bylaw.spec.expression import BooleanExpression, Concept, Count, Extent, NumberExpression, Occurrences
from bylaw.spec.trace import FactValue, Message

Modality = Literal["must", "must not", "should", "should not", "may", "need not", "prefer", "limit"]
Sense = Literal["at most", "at least", "exactly"]
ExampleVerdict = Literal["complies", "violates", "skips", "waived"]
Action = Literal["block", "rewrite", "redact", "regenerate", "ask"]


@dataclass(frozen=True, slots=True)
class Waivability:
    """Who may lift a rule besides its own level and stronger ones: the levels in `by`, anybody where context is enough
    (`implicitly`), or nobody at all (`never`)."""

    by: tuple[str, ...] = ()
    implicitly: bool = False
    never: bool = False


@dataclass(frozen=True, slots=True)
class OnViolation:
    """What a runtime does with an answer that breaks the rule, and what it tells the user."""

    action: Action
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Suite:
    """Prompts that limits, calibration and audits share, by the text of the last user message."""

    name: str
    prompts: tuple[str, ...]
    extent: Extent
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Regulator:
    """One normative clause of one rule.

    `obligation` (must, should and their negations) is what has to hold, with the negation of `must not` already
    inside; for `may` and `need not` it is what is permitted. `value` is what `prefer` raises (weights carry the sign)
    and what `limit` bounds; a limit on how often something happens has `event` instead.
    `condition` is `when` and not `unless`; None means always. Weights are in nats. `suite` is where a
    limit is measured; it is about the responses for which `among` is true (None: all), with `each_prompt` about those
    to each prompt by themselves, and keeping it may cost at most `price`, in nats for each unit of what it limits.
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
    suite: str | None = None
    sources: tuple[str, ...] = ()
    waivable: Waivability = Waivability()
    overrides: tuple[str, ...] = ()
    on_violation: OnViolation | None = None
    among: BooleanExpression | None = None
    each_prompt: bool = False
    price: float | None = None

    @property
    def is_hard_limit(self) -> bool:
        """Whether a limit leaves no room: at 0 % or 100 %, or of an average count at 0, no finite price meets it."""
        if self.event is not None:
            none = self.bound == 0 and self.sense in ("at most", "exactly")
            return none or (self.bound == 1 and self.sense in ("at least", "exactly"))
        return isinstance(self.value, (Count, Occurrences)) and self.bound == 0 and self.sense != "at least"


@dataclass(frozen=True, slots=True)
class PolicyException:
    """Where a rule, or another exception, does not count: where `condition` holds, or everywhere (None)."""

    name: str
    target: str
    level: str
    extent: Extent
    condition: BooleanExpression | None = None
    title: str | None = None
    because: str | None = None
    waivable: Waivability = Waivability()


@dataclass(frozen=True, slots=True)
class PolicyExample:
    """A text or conversation that the author says complies with, violates, skips or is waived from a rule.

    A text alone (`is_text`) is the response; what the conversation before it would have said is then unknown.
    """

    rule: str
    verdict: ExampleVerdict
    messages: tuple[Message, ...]
    extent: Extent
    facts: tuple[tuple[str, FactValue], ...] = ()
    note: str | None = None
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a `test` expects after its first `steps` messages; without names it is about every rule."""

    verdict: ExampleVerdict
    rules: tuple[str, ...]
    steps: int
    extent: Extent


@dataclass(frozen=True, slots=True)
class PolicyTest:
    """A conversation with expectations in between."""

    title: str
    messages: tuple[Message, ...]
    expectations: tuple[Expectation, ...]
    extent: Extent
    facts: tuple[tuple[str, FactValue], ...] = ()


@dataclass(frozen=True, slots=True)
class RegulatorSet:
    """A whole policy, resolved, before it is settled which rule lifts which. `levels` run from the strongest to the
    weakest."""

    policy: str
    version: str
    levels: tuple[str, ...]
    regulators: tuple[Regulator, ...]
    examples: tuple[PolicyExample, ...]
    exceptions: tuple[PolicyException, ...] = ()
    tests: tuple[PolicyTest, ...] = ()
    suites: tuple[Suite, ...] = ()
    concepts: tuple[Concept, ...] = ()
