"""Which samples a run is to have: each prompt so many times, each sample with a name that says what it depends on.

The name (key) of a sample is a SHA-256 of the conversation, of everything that says how it is answered (address, model,
temperature, limit of tokens, stop texts, seed), of the epoch, and of how many equal prompts came before it. So a repeat
never gets the answer of another repeat, nor does a prompt that stands twice in a file, and another model never finds an
old answer.

The seed that is sent with a sample comes from the seed of the run, the prompt, its occurrence and the epoch: a server
that starts its random numbers from the seed alone would otherwise give the answers to different prompts the same luck,
and an audit takes them for independent. The same model at another address gets the same seeds.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from bylaw.spec.trace import FactValue, Trace

Done = Callable[[int], None]
"""Told how many of the samples that were missing have come to their end."""
_FORMAT = 1
_SEEDS = 2**31


class RunningError(Exception):
    """A run cannot be begun or gone on with as asked; text fit for users. Root of the errors of this package."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation to be answered. `messages`: as an endpoint takes them (`role`, `content`, `tool_calls`,
    `tool_call_id`). `facts`: what else is known of it, by dotted name; `occurrence`: how many prompts with the same
    messages stand before it."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    facts: tuple[tuple[str, FactValue], ...]
    occurrence: int

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) of the messages and the occurrence: what it is known by when a run goes on."""
        return _digest([self.messages, self.occurrence])


@dataclass(frozen=True, slots=True)
class Sample:
    """One answer to be had. `index`: in the plan; `prompt`: the position of its prompt; `epoch`: of the repeat, from 0;
    `key`: SHA-256, hexadecimal; `seed`: from 0 to 2³¹ − 1."""

    index: int
    prompt: int
    epoch: int
    key: str
    seed: int


@dataclass(frozen=True)
class Plan:
    """Everything that a run is to bring. `settings`: all that its answers depend on besides the prompts, as JSON."""

    prompts: tuple[Prompt, ...]
    epochs: int
    settings: Mapping[str, Any]

    @cached_property
    def samples(self) -> tuple[Sample, ...]:
        """All of them: the repeats of the first prompt, those of the second one, and so on."""
        base = _digest(self.settings)
        found: list[Sample] = []
        for number, prompt in enumerate(self.prompts):
            digest = prompt.digest
            name = f"{_FORMAT}\n{base}\n{digest}"
            for epoch in range(self.epochs):
                key = hashlib.sha256(f"{name}\n{epoch}".encode()).hexdigest()
                luck = f"{self.settings['seed']}\n{digest}\n{epoch}"
                seed = int.from_bytes(hashlib.sha256(luck.encode()).digest()[:8], "big") % _SEEDS
                found.append(Sample(len(found), number, epoch, key, seed))
        return tuple(found)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each sample is called in transcripts: the id of its prompt, with the number of the repeat (from 1) where
        there are several. Ids that stand at several prompts are told apart by the number of the prompt (from 1)."""
        counts = Counter(prompt.id for prompt in self.prompts)
        own = [each.id if counts[each.id] == 1 else f"{each.id} ({at})" for at, each in enumerate(self.prompts, 1)]
        return tuple(f"{own[each.prompt]}#{each.epoch + 1}" if self.epochs > 1 else own[each.prompt]
                     for each in self.samples)  # fmt: skip


def prompts_of(traces: Sequence[Trace], system: str | None = None) -> tuple[Prompt, ...]:
    """Prompts of conversations that end with the user. `system`: goes before each as the system message.

    Raises RunningError for one that has a system message then, and for calls of tools that cannot be sent as they were.
    """
    seen: Counter[str] = Counter()
    found = []
    for trace in traces:
        messages = chat_of(trace)
        if system is not None:
            if messages and messages[0]["role"] in ("system", "developer"):
                raise RunningError(f"the prompt `{trace.id}` has a system message of its own: do without --system")
            messages = ({"role": "system", "content": system}, *messages)
        content = _digest(messages)
        found.append(Prompt(trace.id, messages, tuple(trace.facts.items()), seen[content]))
        seen[content] += 1
    return tuple(found)


def chat_of(trace: Trace) -> tuple[dict[str, Any], ...]:
    """The messages of a conversation as an endpoint takes them. Calls get new ids, since a trace keeps none; calls that
    follow each other are of one message. Raises RunningError for what a trace no longer tells."""
    found: list[dict[str, Any]] = []
    waiting: list[tuple[str, str]] = []
    for message in trace.messages:
        if message.kind == "call":
            if any("." in name for name, _ in message.arguments):
                raise _untold(trace, f"calls `{message.tool}` with arguments inside each other")
            if not (found and "tool_calls" in found[-1]):
                found.append({"role": "assistant", "content": None, "tool_calls": []})
            number = f"call-{sum(len(each.get('tool_calls', ())) for each in found) + 1}"
            arguments = json.dumps(dict(message.arguments), ensure_ascii=False)
            function = {"name": message.tool, "arguments": arguments}
            found[-1]["tool_calls"].append({"id": number, "type": "function", "function": function})
            waiting.append((message.tool, number))
        elif message.kind == "output":
            own = next((each for each in waiting if each[0] == message.tool), None)
            if own is None:
                raise _untold(trace, "has an output of a tool that nobody called")
            waiting.remove(own)
            found.append({"role": "tool", "name": message.tool, "tool_call_id": own[1], "content": message.content})
        else:
            found.append({"role": message.role, "content": message.content})
    return tuple(found)


def is_plain(prompt: Prompt) -> bool:
    """Whether a prompt is of texts alone, as every chat template takes them."""
    return all(each["role"] != "tool" and "tool_calls" not in each for each in prompt.messages)


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """SHA-256 (hexadecimal) of prompts with their facts, in their order."""
    return _digest([[each.messages, each.facts] for each in prompts])


def _untold(trace: Trace, what: str) -> RunningError:
    return RunningError(f"the prompt `{trace.id}` {what}, which cannot be sent again as it was: leave it out")


def _digest(value: object) -> str:
    written = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()
