"""What a target is given and gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from bylaw.compiler.pipeline import Compiled
from bylaw.compiler.program import RewardProgram
from bylaw.spec.expression import Concept
from bylaw.spec.trace import Trace

Data: TypeAlias = Literal["none", "answers", "prompts"]
"""What a target needs besides the policy: nothing, transcripts with answers, or prompts."""


Unscored: TypeAlias = Literal["error", "broken", "none"]
"""What a rule that cannot be told of an answer gives in training."""


class TargetError(Exception):
    """A target cannot be made of this policy and this data; text fit for users. Root of what targets raise.

    TargetError
    +-- UnknownTarget     there is no target of this name
    +-- UnwritableBundle  its files cannot be written
    """


class UnknownTarget(TargetError):
    """There is no target of this name."""


class UnwritableBundle(TargetError):
    """The files of a target cannot be written; nothing was changed."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A part that a target cannot say, by name, and why. `count`: how often, where it is about rows of data."""

    what: str
    reason: str
    count: int = 0

    @property
    def words(self) -> str:
        """One line for people."""
        return f"{self.what}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Options:
    """How a target is made.

    `keep`: which answers a data set for SFT has: to each prompt the one that the law weighs most of those that break no
    `must` and no `should` (clean), or of those that break no `must` (best), or all of these. `pairs`: to each prompt
    the best and the worst answer, or all pairs. `hard_penalty`: nats by which a broken hard rule counts where a number
    has to be finite (None: 10 more than all soft rules together). `max_tokens`: tokens of an answer in training;
    `samples`: answers to each prompt there. `unscored`: what a rule that cannot be told of an answer is there: an error
    that ends the training, broken, or as if it did not apply. `table`: how data for an engine is written that reads
    both.
    """

    keep: Literal["clean", "best", "all"] = "clean"
    pairs: Literal["extreme", "all"] = "extreme"
    hard_penalty: float | None = None
    max_tokens: int = 512
    samples: int = 8
    unscored: Unscored = "error"
    table: Literal["parquet", "jsonl"] = "jsonl"


@dataclass(frozen=True, slots=True)
class Question:
    """A closed question for a judge, about one rule (`text`: the rule in words) or one concept."""

    name: str
    text: str = ""
    criteria: str = ""
    violates: tuple[str, ...] = ()
    complies: tuple[str, ...] = ()
    concept: Concept | None = None
    others: tuple[Concept, ...] = ()


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """How a judge is asked a question. `words`: its answers and what they mean. `user` is the message with the text:
    pieces of it, and the names of what is to be put between them (`nonce`, `text`). `response_format`: the JSON Schema
    of an answer."""

    question: str
    meaning: str
    words: Mapping[str, str]
    system: str
    user: tuple[tuple[Literal["literal", "slot"], str], ...]
    response_format: Mapping[str, Any]


def _nothing() -> None:
    """The `advance` of inputs that nobody watches."""


def _nobody(question: Question) -> AskedQuestion:
    raise TargetError(f"nothing was handed over that words questions for judges, such as that about `{question.name}`")


@dataclass(frozen=True)
class Inputs:
    """What a target is made from. `program` is that of `compiled`, with multipliers where they are known (nats).
    `traces`: what its `DATA` asks for. `bylaw`: the version of this package. `ask`: words a question for a judge.
    `advance` is called after each trace."""

    compiled: Compiled
    program: RewardProgram
    bylaw: str
    traces: tuple[Trace, ...] = ()
    options: Options = field(default_factory=Options)
    ask: Callable[[Question], AskedQuestion] = _nobody
    advance: Callable[[], None] = _nothing


@dataclass(frozen=True, slots=True)
class Made:
    """The files of a target, by their path in its folder, what it could not say, and what is good to know."""

    files: Mapping[str, bytes]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


class Target(Protocol):
    """What a file of this folder has: its docstring says in the first line what the target is; `DATA` what it needs,
    `OPTIONS` which options it reads (fields of `Options`, and `calibration`), and `build` makes it. Raises TargetError
    where nothing can be made; the same inputs give the same bytes."""

    DATA: Data
    OPTIONS: frozenset[str]

    @staticmethod
    def build(inputs: Inputs) -> Made:
        """The files of this target."""
