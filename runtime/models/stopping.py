"""A model that ends its responses at stop strings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from bylaw.runtime.models.interface import LanguageModel, Message, Session, Vocabulary
from bylaw.runtime.models.metering import Meter


@dataclass(frozen=True)
class StoppingModel:
    """The model `inner`, whose responses are over where one of `stops` is complete; see `Vocabulary.stops`.

    That makes another law p0 of it, so that its digest is another one too. Raises ModelError for an empty stop string.
    """

    inner: LanguageModel
    stops: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.inner.name

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps([self.inner.digest, self.stops]).encode()).hexdigest()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        return replace(self.inner.vocabulary, stops=self.stops)

    @property
    def context(self) -> int | None:
        """The most tokens of prompt and response together, or None where the model states no limit."""
        found: int | None = getattr(self.inner, "context", None)
        return found

    def metered_by(self, meter: Meter) -> StoppingModel:
        """The same law, whose evaluations are counted where they are made: see `Meter.watch`."""
        return StoppingModel(meter.watch(self.inner), self.stops)

    def encode_chat(self, messages: Sequence[Message]) -> tuple[int, ...]:
        return self.inner.encode_chat(messages)

    def session(self, prompts: Sequence[tuple[int, ...]]) -> Session:
        return self.inner.session(prompts)
