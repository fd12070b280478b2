"""What every scorer of concepts gives: a probability with its interval, or the reason why there is none.

A scorer is asked about many texts at once and answers each, in order. What it cannot tell is `unscored` with a reason,
never a guess: neither a violation nor a pass.

The score of a text is the probability that it expresses the concept *where half of all texts do* (even odds). So it
does not depend on how many examples of either kind an author happened to write, and 0.5 is the threshold. With the
share π of texts that do, the probability is σ(logit score + logit π): `probability` in compiler/soft_values.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol, TypeAlias

from bylaw.spec.expression import Concept
from bylaw.spec.trace import Trace

Why: TypeAlias = Literal[
    "cannot_tell", "not_applicable", "uncalibrated", "drift", "input", "transport", "refusal", "filtered", "parse",
    "timeout", "budget",
]  # fmt: skip
"""Why there is no score: the classes of reasons that an audit counts apart."""


class ScorerError(Exception):
    """A scorer cannot be made or used as asked; text fit for users. Root of the errors of `bylaw.runtime.scorers`."""


@dataclass(frozen=True, slots=True)
class Question:
    """Does this text express this concept? `trace` is the conversation that the text is part of, for scorers that read
    more than the text; None where nothing is known of it."""

    concept: Concept
    text: str
    trace: Trace | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What answers cost: `seconds` of processor or waiting, `requests` that were sent, `cached` answers that were not,
    tokens in and out."""

    seconds: float = 0.0
    requests: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.seconds + other.seconds,
            self.requests + other.requests,
            self.cached + other.cached,
            self.tokens_in + other.tokens_in,
            self.tokens_out + other.tokens_out,
        )


@dataclass(frozen=True, slots=True)
class Scored:
    """The answer to a question.

    `score`: at even odds, 0 to 1, with its interval [`low`, `high`]; None: unscored, and `why` and `reason` say why.
    `passages`: ranges (start, end) of the text, in characters, where the concept was seen. `record`: what another
    person needs to come to the same answer, as JSON values (hash of the text, model, parameters, prompt, verdict).
    """

    score: float | None
    low: float = 0.0
    high: float = 1.0
    why: Why | None = None
    reason: str = ""
    passages: tuple[tuple[int, int], ...] = ()
    cost: Cost = Cost()
    record: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if (self.score is None) != (self.why is not None) or (self.why is not None) != bool(self.reason):
            raise ValueError("an answer has a score, or else a class of reasons and a reason")
        if self.score is not None and not 0 <= self.low <= self.score <= self.high <= 1:
            raise ValueError(f"a score from 0 to 1 inside its interval, not {self.low}, {self.score}, {self.high}")


def unscored(why: Why, reason: str, cost: Cost = Cost(), record: Mapping[str, Any] | None = None) -> Scored:
    """No score, and why."""
    return Scored(None, why=why, reason=reason, cost=cost, record=record or {})


class ConceptScorer(Protocol):
    """Scores texts for one concept or for many.

    `name`: as in `scored by NAME`. `digest`: changes with everything that can change an answer. `reads`: whether an
    answer depends on the text alone or on the conversation around it too.
    """

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def reads(self) -> Literal["text", "conversation"]: ...

    def score(self, questions: Sequence[Question], progress: Callable[[int], None] = ...) -> Sequence[Scored]:
        """One answer for each question, in order; `progress` is told how many more are done. Nothing of one text is an
        exception: it is `unscored`. Raises ScorerError where the scorer cannot be used at all."""
