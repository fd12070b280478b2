"""The tabular models as language models of the runtime, and stages that nobody watches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bylaw.runtime.models.interface import Vocabulary
from tinymodels import TabularModel


@dataclass(frozen=True)
class TinySession:
    tables: list[TabularModel]
    prefixes: list[tuple[int, ...]]

    def log_probs(self) -> NDArray[np.float64]:
        rows = np.empty((len(self.prefixes), len(self.tables[0].vocabulary)))
        for table in dict.fromkeys(self.tables):
            at = [row for row, own in enumerate(self.tables) if own is table]
            rows[at] = table.next_log_probs([self.prefixes[row] for row in at])
        return rows

    def advance(self, tokens: NDArray[np.int64]) -> None:
        self.prefixes[:] = [(*prefix, int(token)) for prefix, token in zip(self.prefixes, tokens, strict=True)]

    def select(self, indices: NDArray[np.int64]) -> None:
        self.prefixes[:] = [self.prefixes[int(index)] for index in indices]
        self.tables[:] = [self.tables[int(index)] for index in indices]


@dataclass(frozen=True)
class Tiny:
    """A tabular model as a language model. With `others`, a prompt that holds the digit k is answered by other k."""

    table: TabularModel
    name: str = "tiny"
    digest: str = "0" * 64
    others: tuple[TabularModel, ...] = ()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        pieces = tuple(piece or None for piece in self.table.vocabulary)
        return Vocabulary(pieces, frozenset({self.table.eos_id}))

    def encode_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        digits = [int(letter) for letter in messages[-1]["content"] if letter.isdigit()]
        return (digits[0] % (len(self.others) + 1) if digits else 0,)

    def answering(self, prompt: tuple[int, ...]) -> TabularModel:
        return (self.table, *self.others)[prompt[0]]

    def session(self, prompts: Sequence[tuple[int, ...]]) -> TinySession:
        return TinySession([self.answering(prompt) for prompt in prompts], [prompt[1:] for prompt in prompts])


class Quiet:
    """Stages that nobody watches; can interrupt when a stage is reached."""

    def __init__(self, interrupt_at: str = "") -> None:
        self.interrupt_at = interrupt_at

    def stage(self, name: str, total: int) -> None:
        if self.interrupt_at and name.startswith(self.interrupt_at):
            raise KeyboardInterrupt

    def progress(self, done: int, total: int) -> None: ...
