"""What decoding costs, counted where it is spent: evaluations of the model, and the limits that are set on them.

A pass is one row of one forward evaluation: the next-token law behind one more token of one sequence, or behind one
prompt. Prompts are counted once each however long they are, since their tokens are evaluated together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from bylaw.runtime.models.interface import FloatArray, IntArray, LanguageModel, Message, ModelError, Session, Vocabulary

Stop = Literal["passes", "deadline"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call of a decoder may spend: `passes` of the model and `seconds` of the clock; None: as it takes."""

    passes: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        if self.passes is not None and self.passes < 0:
            raise ModelError(f"a budget of {self.passes} passes is not possible")
        if self.seconds is not None and not self.seconds >= 0:
            raise ModelError(f"a deadline of {self.seconds} seconds is not possible")


class OutOfBudget(Exception):
    """The next evaluation would go beyond the limits. Decoders catch it and return what they have."""

    def __init__(self, reason: Stop) -> None:
        super().__init__(f"stopped by the limit on {reason}")
        self.reason = reason


class Meter:
    """Counts the passes of every model it watches, and stops them where a limit is reached."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.passes = 0
        self._limits = limits or Limits()
        self._clock = clock
        self._began = clock()

    @property
    def seconds(self) -> float:
        """Since the meter was made."""
        return self._clock() - self._began

    def spend(self, rows: int) -> None:
        """Call before `rows` rows are evaluated. Raises OutOfBudget instead where that would go beyond a limit."""
        if self._limits.passes is not None and self.passes + rows > self._limits.passes:
            raise OutOfBudget("passes")
        if self._limits.seconds is not None and self.seconds >= self._limits.seconds:
            raise OutOfBudget("deadline")
        self.passes += rows

    def watch(self, model: LanguageModel) -> LanguageModel:
        """The same model, counted; of a model that remembers laws (`PrefixCache`) only what it evaluates."""
        inside: Callable[[Meter], LanguageModel] | None = getattr(model, "metered_by", None)
        return MeteredModel(model, self) if inside is None else inside(self)


@dataclass(frozen=True, eq=False)
class MeteredModel:
    """A `LanguageModel` whose passes are counted by `meter`."""

    inner: LanguageModel
    meter: Meter

    @property
    def name(self) -> str:
        return self.inner.name

    @property
    def digest(self) -> str:
        return self.inner.digest

    @property
    def vocabulary(self) -> Vocabulary:
        return self.inner.vocabulary

    @property
    def context(self) -> int | None:
        """The most tokens of prompt and response together, or None where the model states no limit."""
        found: int | None = getattr(self.inner, "context", None)
        return found

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return self.inner.encode_chat(messages)

    def session(self, prompts: Sequence[tuple[int, ...]]) -> MeteredSession:
        self.meter.spend(len(set(prompts)))
        return MeteredSession(self.inner.session(prompts), self.meter)


class MeteredSession:
    """A `Session` whose passes are counted."""

    def __init__(self, inner: Session, meter: Meter) -> None:
        self._inner = inner
        self._meter = meter

    def log_probs(self) -> FloatArray:
        return self._inner.log_probs()

    def advance(self, tokens: IntArray) -> None:
        self._meter.spend(len(tokens))
        self._inner.advance(tokens)

    def select(self, indices: IntArray) -> None:
        self._inner.select(indices)
