"""Samples of a model behind an OpenAI-compatible endpoint: the way of a judge's questions, with other answers.

What a model under test says is its behaviour, whatever it is: an empty answer, a refusal, a call of a tool, and an
answer that was cut at its limit of tokens are samples. What somebody else withheld, or what is no chat completion, is
none. Concurrency, pauses, retries, budgets and claims are those of `bylaw.runtime.judges.client`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bylaw.runtime.audit.conversation import messages_of
from bylaw.runtime.audit.inputs import Unreadable
from bylaw.runtime.judges.budget import Meter, estimate_tokens
from bylaw.runtime.judges.cache import AnswerCache, is_storable
from bylaw.runtime.judges.client import EndpointAsker
from bylaw.runtime.judges.interface import Estimate, JudgeMessage, JudgeParameters, JudgeRequest
from bylaw.runtime.judges.wire import Attempt, Endpoint, Wire
from bylaw.runtime.models.servers import clean
from bylaw.runtime.running.plan import Done, Plan, Prompt, Sample
from bylaw.runtime.running.store import Failure, RunStore
from bylaw.spec.trace import Message


@dataclass(frozen=True, slots=True)
class SampleRequest(JudgeRequest):
    """A sample as a request. `name`: its key; `chat`: the messages as they are sent, of which `messages` are only the
    texts; `stop`: texts before which an answer ends."""

    name: str = ""
    chat: tuple[Mapping[str, Any], ...] = ()
    stop: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """That of the sample, which stands for everything that it depends on."""
        return self.name


@dataclass(frozen=True)
class _Kept(AnswerCache):
    """Samples are stored under their own keys: the address is a part of those."""

    def key(self, request: JudgeRequest) -> str:
        return request.key


class SampleWire(Wire):
    """Requests for samples. `failed` is told of each attempt that brings none, at once."""

    def __init__(self, endpoint: Endpoint, failed: Callable[[JudgeRequest, Attempt], None]) -> None:
        super().__init__(endpoint)
        self._failed = failed

    def send(self, request: JudgeRequest, timeout: float) -> Attempt:
        """See `Wire.send`. Raises StoreError where the failure cannot be kept."""
        found = super().send(request, timeout)
        if found.text is None:
            self._failed(request, found)
        elif self._key is not None and self._key in found.text:
            # Somebody between us and the model repeats what it was sent; no key is kept, wherever it stands.
            return replace(found, text=found.text.replace(self._key, "***"))
        return found

    def body(self, request: JudgeRequest) -> dict[str, Any]:
        """As for a judge, with the messages of the prompt and the stop texts."""
        body = super().body(request)
        if isinstance(request, SampleRequest):
            body["messages"] = [dict(each) for each in request.chat]
            if request.stop:
                body["stop"] = list(request.stop)
        return body

    def read(self, data: bytes) -> Attempt:
        """The message of the first choice as JSON (`content`, and calls or a `refusal` where there are any)."""
        try:
            parsed = json.loads(data)
            choice = parsed["choices"][0]
            message = choice["message"]
            ended = choice.get("finish_reason")
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            return super().read(data)
        if not isinstance(message, dict) or ended == "content_filter":
            return super().read(data)
        trouble = _trouble(message)
        model, usage = parsed.get("model"), parsed.get("usage")
        tokens = [
            usage.get(name) if isinstance(usage, dict) else None for name in ("prompt_tokens", "completion_tokens")
        ]
        counted = [each if type(each) is int and 0 <= each < 10**9 else None for each in tokens]
        return Attempt(
            None if trouble else written(message),
            "parse" if trouble else None,
            trouble,
            tokens_in=counted[0],
            tokens_out=counted[1],
            finish_reason=clean(str(ended or "")),
            model=clean(model) if isinstance(model, str) else "",
        )


class EndpointSampler(EndpointAsker):
    """Brings the samples of a plan from an endpoint into a store. Use it in a `with` statement."""

    who = "the endpoint"

    def __init__(self, endpoint: Endpoint, store: RunStore, meter: Meter | None = None, **others: Any) -> None:
        super().__init__(endpoint, store, meter, **others)
        self._store = store
        self._is_left = False
        self._cache = _Kept(store, endpoint.base_url.rstrip("/"))

    def make_wire(self, endpoint: Endpoint) -> Wire:
        """What sends the requests. Raises JudgeError."""
        return SampleWire(endpoint, self._note)

    def bring(self, plan: Plan, samples: Sequence[Sample], done: Done) -> Generator[str, None, None]:
        """Asks for these samples; yields, as they come to nothing, why some are not asked for at all (budget, an
        endpoint that cannot be used), each reason as often as it holds. Leaving it early sends nothing further.

        Raises JudgeError for a key that is not set or a client that is not installed, StoreError for the store.
        """
        requests = requests_of(plan, samples)
        try:
            for number, reply in enumerate(self.ask(requests), 1):
                if reply.why is not None:
                    if reply.attempts and reply.why != "budget":
                        self._store.fail(requests[reply.index].key, Failure(reply.why, reply.reason), is_end=True)
                    else:
                        yield reply.reason
                done(number)
        finally:
            # What is under way when a run is left breaks off by our doing, which is no failure of an attempt.
            self._is_left = True

    def _note(self, request: JudgeRequest, attempt: Attempt) -> None:
        assert attempt.why is not None
        if self._is_left:
            return
        if attempt.tokens_in is not None and attempt.tokens_out is not None:
            tokens = attempt.tokens_in, attempt.tokens_out
        else:
            is_unused = attempt.why in ("transport", "input")
            tokens = (0, 0) if is_unused else (estimate_tokens(request.messages), 0)
        self._store.fail(request.key, Failure(attempt.why, attempt.reason), is_end=False, tokens=tokens)


def requests_of(plan: Plan, samples: Sequence[Sample]) -> list[SampleRequest]:
    """The requests for samples of a plan whose settings are those of an endpoint."""
    settings = plan.settings
    messages = [_texts(prompt) for prompt in plan.prompts]
    return [
        SampleRequest(
            messages[each.prompt],
            JudgeParameters(
                settings["model"], settings["temperature"], settings["max_tokens"],
                None if settings["seed"] is None else each.seed,
            ),
            epoch=each.epoch,
            name=each.key,
            chat=plan.prompts[each.prompt].messages,
            stop=tuple(settings["stop"]),
        )
        for each in samples
    ]  # fmt: skip


def cost_of(plan: Plan, samples: Sequence[Sample]) -> Estimate:
    """What asking for these would cost, without repeats after failures; sends nothing."""
    tokens = [estimate_tokens(_texts(prompt)) for prompt in plan.prompts]
    most = len(samples) * int(plan.settings["max_tokens"])
    return Estimate(len(samples), len(plan.samples) - len(samples), sum(tokens[each.prompt] for each in samples), most)


def _texts(prompt: Prompt) -> tuple[JudgeMessage, ...]:
    """The messages with what their calls of tools say as text, to be counted by."""
    return tuple(
        JudgeMessage(
            each["role"], f"{each['content'] or ''}{json.dumps(each['tool_calls']) if 'tool_calls' in each else ''}"
        )
        for each in prompt.messages
    )


def written(message: dict[str, Any]) -> str:
    """What is kept of a message of the assistant, as JSON."""
    kept: dict[str, Any] = {"content": message.get("content")}
    for name in ("tool_calls", "function_call", "refusal"):
        if message.get(name):
            kept[name] = message[name]
    return json.dumps(kept, ensure_ascii=False, sort_keys=True)


def spoken(text: str) -> tuple[Message, ...]:
    """What `written` kept as messages. A refusal that a server hands over beside the text is said as well.

    Raises Unreadable for what is none.
    """
    return messages_of([{"role": "assistant", **json.loads(text)}])


def _trouble(message: dict[str, Any]) -> str:
    """Why a message is no answer; empty where it is one."""
    others = ("refusal", "tool_calls", "function_call")
    if message.get("content") is None and not any(message.get(name) for name in others):
        return "the answer has neither a text nor a call of a tool"
    try:
        text = written(message)
        if not is_storable(text):
            return "the answer holds half a surrogate pair, which is no character"
        spoken(text)
    except (Unreadable, ValueError, TypeError, AttributeError) as error:
        return clean(f"the answer cannot be read: {error}")
    return ""
