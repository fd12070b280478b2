"""One request to an OpenAI-compatible endpoint (`/chat/completions`) and what its answer means.

The official client sends it, with its own retries off and with only the headers that are named here: what lies in
`OPENAI_*` variables of the environment, and what the client tells about this machine, goes to no server. Redirects are
not followed, compressed answers are refused, and the body of an answer is read up to a limit of bytes and of time, so
that no server can hold or fill the process.

The tree of what can come back: a text; or else a class of reasons (see `bylaw.runtime.scorers.interface.Why`) and a
reason in the server's words, and whether another attempt may do better.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from bylaw.runtime.judges.interface import JudgeError, JudgeRequest
from bylaw.runtime.models.servers import LONGEST_WAIT, ServerError, check_address, clean, read_key, retry_after
from bylaw.runtime.scorers.interface import Why

if TYPE_CHECKING:
    import httpx2
    import openai

_SENT = frozenset(
    {
        "accept", "authorization", "connection", "content-length", "content-type", "host", "transfer-encoding",
        "user-agent",
    }
)  # fmt: skip
_MAY_PASS = frozenset({408, 409, 429})
_NO_USE = {401: "the key is not accepted", 402: "the account has nothing left", 404: "no such model or address"}
_NOT_TAKEN = frozenset({400, 413, 422})
_FILTERED = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_RATE = frozenset({"rate_limit_exceeded", "too_many_requests", "overloaded", "overloaded_error", "server_error"})

_MOST_TOKENS = 10**9


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a judge is and how long it may take.

    `base_url`: up to and without `/chat/completions`, as `https://llm.example.org/v1`. `key_variable`: the environment
    variable that holds the API key; None: no key is sent. `timeout`: seconds for one whole answer. `max_retries`:
    further attempts for one question (0: none). `at_once`: the most questions under way. `limit_field`: what the server
    calls the limit of an answer's tokens. `most_bytes`: of an answer. Raises JudgeError for what is not possible.
    """

    base_url: str
    key_variable: str | None = None
    timeout: float = 120.0
    max_retries: int = 4
    at_once: int = 8
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    most_bytes: int = 4 * 1024 * 1024

    def __post_init__(self) -> None:
        try:
            check_address(self.base_url)
        except ServerError as error:
            raise JudgeError(str(error)) from None
        if not 0 < self.timeout < float("inf"):
            raise JudgeError(f"a judge cannot be given {self.timeout} seconds for an answer: use more than 0")
        if self.max_retries < 0 or self.at_once < 1 or self.most_bytes < 1:
            raise JudgeError("a judge needs 0 retries or more, one question at once and one byte at least")


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one request came to.

    `may_pass`: another attempt may do better, after `pause` seconds where the server says so. `is_pressure`: the server
    had too much to do. `is_final`: no question at all will be answered. Tokens are the server's own count; None: it
    gave none. `seconds`: on the clock.
    """

    text: str | None
    why: Why | None = None
    reason: str = ""
    may_pass: bool = False
    pause: float | None = None
    is_pressure: bool = False
    is_final: bool = False
    tokens_in: int | None = None
    tokens_out: int | None = None
    finish_reason: str = ""
    model: str = ""
    seconds: float = 0.0

    @property
    def is_cut(self) -> bool:
        """Whether the answer ended at its limit of tokens."""
        return self.finish_reason == "length"


class _Said(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Said
    finish_reason: str | None = None


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)


class _TooMuch(Exception):
    """An answer that will not be read; text fit for users."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Wire:
    """Requests to one endpoint; threads may share it. Raises JudgeError for a key that is not set, and where the
    official client is not installed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        try:
            self._key = read_key(endpoint.key_variable)
        except ServerError as error:
            raise JudgeError(str(error)) from None
        self._client = _client(endpoint, self._key)

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def send(self, request: JudgeRequest, timeout: float) -> Attempt:
        """Sends a request once and reads the answer within `timeout` seconds. What goes wrong is no exception."""
        started = time.monotonic()
        found = self._send(request, timeout)
        tokens = found.tokens_in, found.tokens_out
        # whatever a server says it may say with the key that it was sent
        reason, finish, model = (clean(each, self._key) for each in (found.reason, found.finish_reason, found.model))
        return Attempt(
            found.text, found.why, reason, found.may_pass, found.pause, found.is_pressure, found.is_final, *tokens,
            finish, model, time.monotonic() - started,
        )  # fmt: skip

    def body(self, request: JudgeRequest) -> dict[str, Any]:
        """What is sent, as JSON; who asks a model for something else than a verdict adds to it."""
        return _body(request, self._endpoint.limit_field)

    def read(self, data: bytes) -> Attempt:
        """What the body of a success means; who wants something else than a verdict reads it otherwise."""
        return _read(data)

    def _send(self, request: JudgeRequest, timeout: float) -> Attempt:
        import httpx2
        import openai

        body = self.body(request)
        try:
            # The answer as bytes: the client's own types take what is no chat completion for one.
            answer = self._client.post(
                "/chat/completions", cast_to=httpx2.Response, body=body, options={"timeout": timeout}
            )
        except openai.APITimeoutError:
            reason = f"no answer within {timeout:g} seconds"
            return Attempt(None, "timeout", reason, may_pass=True, is_pressure=True)
        except openai.APIConnectionError as error:
            cause = error.__cause__
            if isinstance(cause, _TooMuch):  # some versions of the client pass it on like this
                return _of_too_much(cause)
            words = str(cause) or type(cause).__name__ if cause is not None else str(error)
            return Attempt(None, "transport", f"no connection, or it broke off: {words}", may_pass=True)
        except openai.APIStatusError as error:
            return _of_status(error.status_code, error.response.headers, _text(error.response))
        except _TooMuch as error:
            return _of_too_much(error)
        except (UnicodeError, ValueError, TypeError) as error:
            return Attempt(None, "input", f"the question cannot be sent: {error}")
        return self.read(answer.content)


def require_usable(endpoint: Endpoint) -> None:
    """Raises JudgeError where the extra `endpoint` is not installed or the key is not set; sends nothing."""
    Wire(endpoint).close()


def _client(endpoint: Endpoint, key: str | None) -> openai.OpenAI:
    try:
        import httpx2
        import openai
    except ImportError as error:
        raise JudgeError(
            f"an endpoint needs the extra `endpoint` ({error.name} is missing): install bylaw with it, as in "
            "pip install '.[endpoint]'"
        ) from error

    def before(request: httpx2.Request) -> None:
        for name in [name for name in request.headers if name not in _SENT]:
            del request.headers[name]
        if key is None:
            request.headers.pop("authorization", None)
        request.headers["accept-encoding"] = "identity"
        timeouts: Mapping[str, Any] = request.extensions.get("timeout", {})
        request.extensions["bylaw_deadline"] = time.monotonic() + float(timeouts.get("read") or endpoint.timeout)

    def after(response: httpx2.Response) -> None:
        packed = response.headers.get("content-encoding", "identity").strip().lower()
        if packed not in ("", "identity"):
            raise _TooMuch(f"the answer is packed ({packed}), though it was asked for as it is", response.status_code)
        response.stream = _limited(response, endpoint.most_bytes)

    http_client = httpx2.Client(
        timeout=endpoint.timeout, follow_redirects=False, event_hooks={"request": [before], "response": [after]}
    )
    return openai.OpenAI(api_key=key or "none", base_url=endpoint.base_url, max_retries=0, http_client=http_client)


def _limited(response: httpx2.Response, most_bytes: int) -> httpx2.SyncByteStream:
    """The body of a response, up to a limit of bytes and to the deadline of its request: the timeout of the HTTP client
    is one for each piece, and a server that sends a byte a second would never meet it."""
    import httpx2

    inner = response.stream
    deadline: float = response.request.extensions["bylaw_deadline"]

    class Limited(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            size = 0
            assert isinstance(inner, httpx2.SyncByteStream)
            for piece in inner:
                size += len(piece)
                if size > most_bytes:
                    raise _TooMuch(f"the answer has more than {most_bytes} bytes", response.status_code)
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout("the answer took too long", request=response.request)
                yield piece

        def close(self) -> None:
            assert isinstance(inner, httpx2.SyncByteStream)
            inner.close()

    return Limited()


def _body(request: JudgeRequest, limit_field: str) -> dict[str, Any]:
    parameters = request.parameters
    body: dict[str, Any] = {
        "model": parameters.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "temperature": parameters.temperature,
        limit_field: parameters.max_tokens,
    }
    if parameters.seed is not None:
        body["seed"] = parameters.seed
    if parameters.top_p is not None:
        body["top_p"] = parameters.top_p
    if request.response_format is not None:
        body["response_format"] = dict(request.response_format)
    return body


def _text(response: httpx2.Response) -> str:
    return response.content.decode("utf-8", "replace")


def _of_too_much(error: _TooMuch) -> Attempt:
    if error.status >= 300:
        return _of_status(error.status, {}, str(error))
    return Attempt(None, "parse", str(error))


def _of_status(status: int, headers: Mapping[str, str], text: str) -> Attempt:
    """What an answer means that is no success."""
    code, words = _error_of(text)
    said = f"status {status}: {words}"
    if code in _FILTERED:
        return Attempt(None, "filtered", said)
    if code in _SPENT:
        return Attempt(None, "transport", f"{said} (the account has nothing left)", is_final=True)
    if status in _MAY_PASS or status >= 500:
        is_pressure = status in (429, 503, 529)
        return Attempt(None, "transport", said, may_pass=True, pause=_pause(headers), is_pressure=is_pressure)
    if 300 <= status < 400:
        goal = headers.get("location", "nowhere")
        return Attempt(None, "transport", f"status {status}, a redirect to {goal}: use that address", is_final=True)
    if status in _NO_USE:
        return Attempt(None, "transport", f"{said} ({_NO_USE[status]})", is_final=True)
    return Attempt(None, "input" if status in _NOT_TAKEN else "transport", said)


def _pause(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait; some say it in milliseconds."""
    exact = headers.get("retry-after-ms")
    if exact is not None:
        try:
            return min(max(float(exact) / 1000, 0.0), LONGEST_WAIT)
        except ValueError:
            pass
    return retry_after(headers.get("retry-after"))


def _error_of(text: str) -> tuple[str, str]:
    """The code and the words of an error body ({"error": {"message", "type", "param", "code"}}); of another, itself."""
    try:
        error = json.loads(text)["error"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "", text
    if isinstance(error, str):
        return "", error
    if not isinstance(error, dict):
        return "", text
    inner = error.get("innererror")
    codes = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    known = [code for code in codes if isinstance(code, str) and code in _FILTERED | _SPENT | _RATE]
    plain = error.get("code")
    code = known[0] if known else str(plain) if type(plain) in (str, int) else ""
    return code, str(error.get("message") or text)


def _read(data: bytes) -> Attempt:
    """What the body of a success means."""
    try:
        parsed = json.loads(data)
    except (ValueError, RecursionError):
        # No model writes this part of an answer: it is a server's or a gateway's mistake, and may pass.
        words = data[:4096].decode("utf-8", "replace")
        return Attempt(None, "parse", f"the answer is not JSON: {words}", may_pass=True)
    if isinstance(parsed, dict) and parsed.get("error") and not parsed.get("choices"):
        code, words = _error_of(data.decode("utf-8", "replace"))
        if code in _FILTERED:
            return Attempt(None, "filtered", f"the endpoint's filter: {words}")
        status = int(code) if code.isascii() and code.isdigit() and len(code) == 3 else 0
        may_pass = code in _RATE or status in _MAY_PASS or 500 <= status < 600
        return Attempt(None, "transport", f"an error in place of an answer: {words}", may_pass, is_pressure=may_pass)
    try:
        choice = _Completion.model_validate(parsed).choices[0]
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        at = f" at `{place}`" if place else ""
        return Attempt(None, "parse", f"the answer is not a chat completion{at}: {first['msg']}")
    why, reason = _trouble(choice)
    tokens_in, tokens_out = _usage(parsed.get("usage"))
    model = parsed.get("model")
    return Attempt(
        choice.message.content if why is None else None,
        why,
        reason,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        finish_reason=clean(choice.finish_reason or ""),
        model=clean(model) if isinstance(model, str) else "",
    )


def _trouble(choice: _Choice) -> tuple[Why | None, str]:
    """Why a choice holds no answer."""
    if choice.finish_reason == "content_filter":
        return "filtered", "the endpoint's filter withheld the answer"
    if choice.message.refusal:
        return "refusal", f"the judge refused: {choice.message.refusal}"
    if choice.finish_reason == "length":
        return "parse", "the answer was cut at its limit of tokens"
    if not (choice.message.content or "").strip():
        ended = f" (it ended by `{choice.finish_reason}`)" if choice.finish_reason else ""
        return "parse", f"the judge gave an empty answer{ended}"
    return None, ""


def _usage(usage: object) -> tuple[int | None, int | None]:
    """Tokens in and out as the server counts them; None for what is no count."""
    counts = usage if isinstance(usage, dict) else {}
    found = [counts.get(name) for name in ("prompt_tokens", "completion_tokens")]
    whole = [value if type(value) is int and 0 <= value < _MOST_TOKENS else None for value in found]
    return whole[0], whole[1]
