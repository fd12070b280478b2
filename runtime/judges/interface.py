"""What is asked of a judge and what comes back: the one seam between questions and verdicts, and the way to a judge.

Who asks makes `JudgeRequest`s and reads `JudgeReply`s; an `Asker` brings one for the other: over the network with a
cache and a budget (`client`), or from a script in tests. Whether a reply's text holds a verdict is not for the asker to
know, but it must know it before it stores an answer: so a request brings its `check`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

from bylaw.runtime.scorers.interface import Cost, Why


class JudgeError(Exception):
    """A judge cannot be made or used as asked; text fit for users. Root of the errors of `bylaw.runtime.judges`."""


@dataclass(frozen=True, slots=True)
class JudgeMessage:
    """One message to a judge. `role`: `system`, `user` or `assistant` (the judge's own words, when asked again)."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class JudgeParameters:
    """How a judge is to answer. `temperature` and `top_p` as endpoints have them; `seed`: None sends none (repeats are
    asked with `seed` + epoch, done by who makes the request); `max_tokens`: tokens of the answer."""

    model: str
    temperature: float = 0.0
    max_tokens: int = 512
    seed: int | None = None
    top_p: float | None = None


def _anything(_: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """One question to a judge.

    `response_format`: the JSON Schema that the answer should follow, as the value of `response_format` in the body of a
    request ({"type": "json_schema", "json_schema": {...}}); None: none is sent. `epoch`: the number of the repeat, from
    0; repeats of one question are different requests. `parser`: name and version of what reads the answer. `nonce`: the
    fresh random mark that closes off untrusted text in `messages` (empty: none). `check`: says in a few words why a
    reply's text is no answer, None if it is one; a text that it objects to is not stored (it is still handed back as
    the reply's `text`). `check` is no part of `key`, nor is the nonce; everything else is.
    """

    messages: tuple[JudgeMessage, ...]
    parameters: JudgeParameters
    response_format: Mapping[str, Any] | None = None
    epoch: int = 0
    parser: str = ""
    nonce: str = field(default="", compare=False)
    check: Callable[[str], str | None] = field(default=_anything, compare=False, repr=False)

    @property
    def key(self) -> str:
        """SHA-256 (hexadecimal) of everything that can change the answer or how it is read.

        Where the judge is (its address) is for the asker to add. In the messages the nonce is replaced by U+0000, which
        no message holds otherwise: a stored answer is found again although every question has a nonce of its own.
        """
        data = {
            "messages": [[message.role, self._without_nonce(message.content)] for message in self.messages],
            "parameters": asdict(self.parameters),
            "response_format": self.response_format,
            "epoch": self.epoch,
            "parser": self.parser,
        }
        written = json.dumps(data, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return hashlib.sha256(written.encode()).hexdigest()

    def _without_nonce(self, text: str) -> str:
        return text.replace(self.nonce, "\0") if self.nonce else text


@dataclass(frozen=True, slots=True)
class JudgeReply:
    """What became of a request.

    `index`: of the request in what was asked. `text`: the judge's answer as it came, or None: then `why` and `reason`
    say why there is none (`transport`, `timeout`, `refusal`, `filtered`, `budget`, `input`, and `parse` for what is no
    chat completion or was cut at its limit of tokens). `cost`: of this request with all its attempts (0 requests and 1
    `cached` for a stored answer). `attempts`: how often it was sent. `finish_reason`: the server's word, as it came.
    `model`: what the server says that it ran; empty where it says nothing.
    """

    index: int
    text: str | None
    why: Why | None = None
    reason: str = ""
    cost: Cost = field(default_factory=Cost)
    attempts: int = 0
    finish_reason: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        if (self.text is None) != (self.why is not None) or (self.why is not None) != bool(self.reason):
            raise ValueError("a reply has a text, or else a class of reasons and a reason")

    @property
    def is_cached(self) -> bool:
        """Whether the answer had been stored before."""
        return self.cost.cached > 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a list of requests would cost, before any is sent. `requests`: to send; `cached`: answers that are stored;
    `tokens_in`: estimated; `tokens_out_most`: at most that many (max_tokens of each)."""

    requests: int
    cached: int
    tokens_in: int
    tokens_out_most: int


class Asker(Protocol):
    """The way to a judge.

    `place`: where the judge is, for records and messages (an address without any secret; `in process`).
    """

    @property
    def place(self) -> str: ...

    def ask(self, requests: Sequence[JudgeRequest]) -> Iterator[JudgeReply]:
        """Exactly one reply for each request, as they come in, in any order (`index` says which request). Requests of
        one `key` are sent once. An answer is stored as soon as it is there. Nothing that goes wrong with one request is
        an exception. Raises JudgeError where the judge cannot be used at all (no key, no such address)."""

    def estimate(self, requests: Sequence[JudgeRequest]) -> Estimate:
        """What asking these would cost; sends nothing."""
