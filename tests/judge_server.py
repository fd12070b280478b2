"""A judge behind an OpenAI-compatible address, as scripted: real HTTP on 127.0.0.1, with all that goes wrong there.

`JudgeServer.script` says for each request which of `BEHAVIOURS` it meets; the others are one verdict after the other.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

KEY = "sk-birchwood-secret-0123456789"
MODEL = "birchwood-judge-1"
_DICTATED = re.compile(r'"verdict"\s*:\s*"([^"]+)"')
_LONGEST = 30.0  # nothing here waits longer


@dataclass
class Exchange:
    """One request. `body`: as JSON; `number`: how often this very question came before."""

    body: dict[str, Any]
    headers: dict[str, str]
    number: int
    server: JudgeServer
    connection: socket.socket

    def send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer, in one piece."""
        named = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
        lines = [f"HTTP/1.1 {status} Said", *(f"{name}: {value}" for name, value in named.items())]
        self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + data)

    def raw(self, data: bytes) -> None:
        self.connection.sendall(data)

    def break_off(self) -> None:
        """Ends the connection at once (TCP reset)."""
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionResetError

    def wait(self, seconds: float) -> None:
        """Waits, but not beyond the end of the server."""
        self.server.stopped.wait(min(seconds, _LONGEST))

    def answer(self, **changes: Any) -> bytes:
        """A chat completion with the verdict of this server; `changes` to its message, choice or whole."""
        text = self.server.judge(self.body)
        message = {"role": "assistant", "content": text, "refusal": None, **changes.pop("message", {})}
        choice = {"index": 0, "message": message, "finish_reason": "stop", **changes.pop("choice", {})}
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        whole = {"id": "x", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice]}
        return json.dumps({**whole, "usage": usage, **changes}).encode()


def user_text(body: dict[str, Any]) -> str:
    """What the last message of a request says."""
    return str(body["messages"][-1]["content"])


def fair(body: dict[str, Any]) -> str:
    """A verdict that hangs on nothing but the question: the word for "no" of the list that the request has."""
    found: Any = body
    for name in ("response_format", "json_schema", "schema", "properties", "verdict", "enum"):
        found = (found or {}).get(name)
    word = found[1] if found else "satisfied"
    return json.dumps({"reason": "Nothing in the text says so.", "quote": "", "verdict": word})


def careful(body: dict[str, Any]) -> str:
    """A judge that looks at nothing but whether `your own fault` stands in the text between the marked tags."""
    found = re.search(r'<text id="(\w+)">\n(.*)\n</text id="\1">', user_text(body), re.DOTALL)
    is_blame = found is not None and "your own fault" in found[2]
    told = ("your own fault", "expressed") if is_blame else ("", "not_expressed")
    return json.dumps({"reason": "I read the text.", "quote": told[0], "verdict": told[1]})


def gullible(body: dict[str, Any]) -> str:
    """The adversarial mode, a judge that is talked round: it gives the last verdict that somebody dictates in the text,
    in words of its own; without one it is careful."""
    told = [each for each in _DICTATED.findall(user_text(body)) if each != "..."]
    if not told:
        return careful(body)
    return json.dumps({"reason": "As I am told, it is as it should be.", "quote": "", "verdict": told[-1]})


# ------------------------------------------------------------------------------------------------------- behaviours
def _good(it: Exchange) -> None:
    it.send(200, it.answer())


def _error(status: int, code: str = "", headers: Mapping[str, str] | None = None) -> Callable[[Exchange], None]:
    data = json.dumps({"error": {"message": f"told to say {status}", "type": "x", "code": code or None}}).encode()
    return lambda it: it.send(status, data, headers)


def _too_many_until_a_date(it: Exchange) -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    it.send(429, b"slow down", {"retry-after": when})


def _hang(it: Exchange) -> None:
    it.wait(_LONGEST)
    it.break_off()


def _cut_body(it: Exchange) -> None:
    data = it.answer()
    it.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data))
    it.raw(data[: len(data) // 2])
    it.connection.shutdown(socket.SHUT_RDWR)


def _cut_stream(it: Exchange) -> None:
    data = it.answer()
    it.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
    it.raw(b"%x\r\n%s\r\n" % (len(data) // 2, data[: len(data) // 2]))
    it.connection.shutdown(socket.SHUT_RDWR)


def _drip(it: Exchange) -> None:
    data = it.answer()
    it.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(data))
    for position in range(len(data)):
        it.raw(data[position : position + 1])
        it.wait(0.03)


def _slow(it: Exchange) -> None:
    it.wait(0.15)
    it.send(200, it.answer())


def _huge(it: Exchange) -> None:
    piece = b" " * 65536
    it.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (4096 * len(piece)))
    for _ in range(4096):
        it.raw(piece)


def _packed(it: Exchange) -> None:
    it.send(200, gzip.compress(it.answer()), {"content-encoding": "gzip"})


def _duplicate(it: Exchange) -> None:
    choices = json.loads(it.answer())["choices"]
    it.send(200, it.answer(choices=choices * 2))


def _with_words_around(it: Exchange) -> None:
    text = f"Let me think about that.\n\n```json\n{it.server.judge(it.body)}\n```\nI hope this helps!"
    it.send(200, it.answer(message={"content": text}))


def _message(**message: Any) -> Callable[[Exchange], None]:
    return lambda it: it.send(200, it.answer(message=message))


def _choice(**choice: Any) -> Callable[[Exchange], None]:
    return lambda it: it.send(200, it.answer(choice=choice))


def _says(data: bytes, kind: str = "application/json") -> Callable[[Exchange], None]:
    return lambda it: it.send(200, data, {"content-type": kind})


BEHAVIOURS: dict[str, Callable[[Exchange], None]] = {
    "verdict": _good,
    "429 with seconds": _error(429, headers={"retry-after": "7"}),
    "429 with a date": _too_many_until_a_date,
    "429 without a time": _error(429),
    "429 with milliseconds": _error(429, headers={"retry-after-ms": "1500"}),
    "429 for a day": _error(429, headers={"retry-after": "86400"}),
    "429 nothing left": _error(429, "insufficient_quota"),
    "408": _error(408),
    "409": _error(409),
    "500": _error(500),
    "503": _error(503, headers={"retry-after": "2"}),
    "400": _error(400, "context_length_exceeded"),
    "400 filtered": _error(400, "content_filter"),
    "401": _error(401, "invalid_api_key"),
    "403": _error(403),
    "404": _error(404, "model_not_found"),
    "redirect": _error(302, headers={"location": "http://127.0.0.1:1/v1/chat/completions"}),
    "hang": _hang,
    "reset": Exchange.break_off,
    "cut body": _cut_body,
    "cut stream": _cut_stream,
    "drip": _drip,
    "slow": _slow,
    "huge": _huge,
    "packed": _packed,
    "bad JSON": _says(b'{"choices": [{"message": {"content": "satis'),
    "web page": _says(b"<html><b>Please \x1b[31mlog in</b></html>", "text/html"),
    "wrong content type": lambda it: it.send(200, it.answer(), {"content-type": "text/html"}),
    "wrong schema": _says(b'{"result": "satisfied"}'),
    "no choices": _says(b'{"choices": []}'),
    "error in a success": _says(b'{"error": {"message": "too busy here", "code": 503}}'),
    "refusal": _message(content=None, refusal="I cannot assist with that."),
    "content filter": _choice(finish_reason="content_filter"),
    "empty": _message(content=" \n"),
    "no content": _message(content=None, tool_calls=[{"id": "1", "type": "function"}]),
    "cut at its limit": _choice(finish_reason="length"),
    "no usage": lambda it: it.send(200, it.answer(usage=None)),
    "strange usage": lambda it: it.send(200, it.answer(usage={"prompt_tokens": -1, "completion_tokens": "many"})),
    "duplicate": _duplicate,
    "words around": _with_words_around,
    "no verdict": _message(content="I would rather talk about lamps."),
    "off the menu": _message(content='{"reason": "So so.", "quote": "", "verdict": "mostly"}'),
    "half a character": _message(content='{"reason": "\ud83d", "quote": "", "verdict": "satisfied"}'),
}


def question_of(body: dict[str, Any]) -> str:
    """A short name of a question: of all of its messages and its seed."""
    data = json.dumps([body["messages"], body.get("seed")], sort_keys=True)
    return hashlib.sha256(data.encode()).hexdigest()[:16]


class JudgeServer:
    """`judge`: the text of a verdict for a request's body; `script`: the behaviour for a request, by its body and how
    often the same question came before. `requests` and `headers` are all that came; `answered` counts by question the
    good answers that were written in full; `busy` are under way now."""

    def __init__(
        self,
        script: Callable[[dict[str, Any], int], str] = lambda body, number: "verdict",
        judge: Callable[[dict[str, Any]], str] = fair,
        question: Callable[[dict[str, Any]], str] = question_of,
    ) -> None:
        self.script, self.judge, self.question = script, judge, question
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.asked: dict[str, int] = {}
        self.answered: dict[str, int] = {}
        self.busy = self.busiest = 0
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.http = _server(self)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> JudgeServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stopped.set()
        self.http.shutdown()
        self.http.server_close()

    def wait_for(self, is_so: Callable[[], bool], seconds: float = 20.0) -> None:
        """Waits until something is so; AssertionError after `seconds`."""
        end = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < end, "it did not come to that in time"
            time.sleep(0.005)

    def meet(self, body: dict[str, Any], headers: dict[str, str], connection: socket.socket) -> None:
        """One request and what it meets."""
        name = self.question(body)
        with self.lock:
            self.requests.append(body)
            self.headers.append(headers)
            number = self.asked.get(name, 0)
            self.asked[name] = number + 1
            self.busy += 1
            self.busiest = max(self.busiest, self.busy)
        try:
            behaviour = self.script(body, number)
            BEHAVIOURS[behaviour](Exchange(body, headers, number, self, connection))
            with self.lock:
                self.answered[name] = self.answered.get(name, 0) + (behaviour in ("verdict", "slow"))
        finally:
            with self.lock:
                self.busy -= 1


def _server(judge: JudgeServer) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            judge.paths.append(self.path)
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                judge.meet(body, headers, self.connection)
            except OSError:
                self.close_connection = True  # a client that gave up, or a connection that was broken off

        def log_message(self, format: str, *args: object) -> None:
            pass

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 128

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # broken connections are what it is for

    return Quiet(("127.0.0.1", 0), Handler)
