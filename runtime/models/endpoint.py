"""Samples of a model behind an OpenAI-compatible endpoint (`/chat/completions`): texts only, no token laws.

They are what `best_of_n` and rejection need. Nothing is sent unless `Endpoint.sample` is called. The API key is read
from the environment when a request is made; it is not kept, not shown, and removed from whatever the server says.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field, ValidationError

from bylaw.runtime.models.interface import Message, ModelError
from bylaw.runtime.models.servers import LONGEST_WAIT, ServerError, check_address, clean, read_key, retry_after

if TYPE_CHECKING:
    import httpx2
    import tenacity


class EndpointError(ModelError):
    """An endpoint that cannot be used as asked, or that did not answer with samples."""


class _Again(Exception):
    """A failure that may pass: worth another attempt, after `seconds` where the server says so."""

    def __init__(self, message: str, seconds: float | None = None) -> None:
        super().__init__(message)
        self.seconds = seconds


class _Said(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Said
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


@dataclass(frozen=True)
class EndpointText:
    """One sample. `cut`: it ended at the limit of tokens, not by itself."""

    text: str
    cut: bool


@dataclass(frozen=True)
class EndpointSamples:
    """What an endpoint gave of the `asked` samples; `problems` say what became of the others."""

    texts: tuple[EndpointText, ...]
    asked: int
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Endpoint:
    """Where samples come from and how they are asked for.

    `base_url`: up to and without `/chat/completions`, as `https://llm.example.org/v1`. `key_variable`: the environment
    variable that holds the API key; None: no key. `timeout`: seconds for one answer. `attempts`: for one request, with
    growing pauses, or those that the server asks for (at most a minute each). `requests_at_once` run beside each other,
    each asking for at most `per_request` samples.
    """

    base_url: str
    model: str
    key_variable: str | None = None
    temperature: float = 1.0
    max_tokens: int = 512
    stop: tuple[str, ...] = ()
    timeout: float = 120.0
    attempts: int = 5
    requests_at_once: int = 4
    per_request: int = 8
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        try:
            check_address(self.base_url)
        except ServerError as error:
            raise EndpointError(str(error)) from None
        if min(self.max_tokens, self.attempts, self.requests_at_once, self.per_request) < 1 or not self.timeout > 0:
            raise EndpointError("an endpoint needs one token, attempt, request and sample, and some time, at least")
        if not 0 <= self.temperature < float("inf"):
            raise EndpointError(f"a temperature of {self.temperature} is not possible")

    def sample(self, messages: Sequence[Message], count: int, *, seed: int | None = None) -> EndpointSamples:
        """`count` samples of the answer to a conversation; fewer, with the reasons, where some requests failed.

        A server that gives fewer choices than asked is asked again for the rest. `seed` is sent along (one number for
        each request, counted up from it); not every server heeds it. Raises EndpointError where there is no sample at
        all: with the status and the server's words for a refusal, which is not tried again.
        """
        if count < 1:
            raise EndpointError(f"cannot ask for {count} samples")
        key = self._key()
        texts: list[EndpointText] = []
        problems: list[str] = []
        asked = 0
        with _client(self.timeout, key) as client, ThreadPoolExecutor(self.requests_at_once) as pool:
            while len(texts) < count:
                sizes = _sizes(count - len(texts), self.per_request)
                bodies = [self._body(messages, size, seed, asked + i) for i, size in enumerate(sizes)]
                asked += len(bodies)
                tasks = [pool.submit(self._request, client, body, key) for body in bodies]
                before = len(texts)
                failed = False
                for task in tasks:
                    try:
                        found, odd = task.result()
                    except EndpointError as error:
                        failed = True
                        problems.append(str(error))
                    else:
                        texts += found
                        problems += odd
                if failed or len(texts) == before:
                    break
        if not texts:
            raise EndpointError(problems[0] if problems else "the endpoint gave no sample")
        return EndpointSamples(tuple(texts[:count]), count, tuple(dict.fromkeys(problems)))

    def _key(self) -> str | None:
        try:
            return read_key(self.key_variable)
        except ServerError as error:
            raise EndpointError(str(error)) from None

    def _body(self, messages: Sequence[Message], size: int, seed: int | None, number: int) -> dict[str, object]:
        body: dict[str, object] = {
            "model": self.model,
            "messages": [dict(message) for message in messages],
            "n": size,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        if self.stop:
            body["stop"] = list(self.stop)
        if seed is not None:
            body["seed"] = seed + number
        return body

    def _request(
        self, client: httpx2.Client, body: dict[str, object], key: str | None
    ) -> tuple[list[EndpointText], list[str]]:
        """One request with its attempts. Raises EndpointError."""
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

        pause = wait_exponential(multiplier=0.5, max=LONGEST_WAIT - 0.25) + wait_random(0, 0.25)

        def wait(state: tenacity.RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome is not None else None
            asked = error.seconds if isinstance(error, _Again) else None
            return pause(state) if asked is None else asked

        retrying = Retrying(
            stop=stop_after_attempt(self.attempts),
            wait=wait,
            retry=retry_if_exception_type(_Again),
            sleep=self.sleep,
            reraise=True,
        )
        try:
            data = retrying(self._post, client, body, key)
        except _Again as error:
            times = "once" if self.attempts == 1 else f"{self.attempts} times"
            raise EndpointError(f"{error} (tried {times})") from None
        return _read(data)

    def _post(self, client: httpx2.Client, body: dict[str, object], key: str | None) -> bytes:
        import httpx2

        url = self.base_url.rstrip("/") + "/chat/completions"
        where = f"the endpoint {self.base_url}"
        try:
            response = client.post(url, json=body)
        except httpx2.TimeoutException:
            raise _Again(f"{where} gave no answer within {self.timeout:g} seconds") from None
        except httpx2.TransportError as error:
            raise _Again(f"{where} cannot be reached: {clean(str(error) or type(error).__name__, key)}") from None
        except httpx2.HTTPError as error:
            raise EndpointError(f"{where} gave no usable answer: {clean(str(error), key)}") from None
        if response.is_success:
            return response.content
        message = f"{where} answered with status {response.status_code}: {clean(response.text, key)}"
        if response.status_code in (408, 429) or response.status_code >= 500:
            raise _Again(message, retry_after(response.headers.get("retry-after")))
        raise EndpointError(message)


def _client(timeout: float, key: str | None) -> httpx2.Client:
    """Redirects are not followed: the key goes where the user said and nowhere else."""
    try:
        import httpx2
        import tenacity  # noqa: F401 - needed later, missed now
    except ImportError as error:
        raise EndpointError(
            f"an endpoint needs the extra `endpoint` ({error.name} is missing): install bylaw with it, as in "
            "pip install '.[endpoint]'"
        ) from error
    return httpx2.Client(timeout=timeout, headers={} if key is None else {"authorization": f"Bearer {key}"})


def _sizes(count: int, most: int) -> list[int]:
    """`count` in requests of at most `most` samples."""
    return [min(most, count - first) for first in range(0, count, most)]


def _read(data: bytes) -> tuple[list[EndpointText], list[str]]:
    """The samples of an answer, and what was odd about it. Raises EndpointError for another format."""
    try:
        completion = _Completion.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        at = f" at `{place}`" if place else ""
        raise EndpointError(
            f"the endpoint's answer is not a chat completion{at}: {clean(first['msg'], None)}"
        ) from None
    texts, odd = [], []
    for choice in completion.choices:
        if choice.finish_reason == "content_filter":
            odd.append("the endpoint's filter withheld a sample, so that the samples are not those of the model alone")
        elif choice.message.content is None:
            odd.append(
                f"the endpoint gave a choice without text (it ended by `{clean(choice.finish_reason or '', None)}`)"
            )
        else:
            texts.append(EndpointText(choice.message.content, choice.finish_reason == "length"))
    return texts, odd
