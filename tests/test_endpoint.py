"""Samples from an OpenAI-compatible endpoint, against a real server on this machine that misbehaves as told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bylaw.runtime.models.endpoint import Endpoint, EndpointError, EndpointText

KEY = "sk-very-secret-0123456789"
MESSAGES = [{"role": "user", "content": "How do I return a lamp to Birchwood Lighting?"}]
Answer = tuple[int, dict[str, str], bytes]


def completion(*choices: tuple[str | None, str | None]) -> bytes:
    found = [{"index": i, "message": {"content": text}, "finish_reason": why} for i, (text, why) in enumerate(choices)]
    return json.dumps({"id": "x", "choices": found}).encode()


def as_asked(body: dict[str, Any]) -> Answer:
    return 200, {}, completion(*[(f"sample {body['seed']}.{i}", "stop") for i in range(body["n"])])


class Server:
    """`answers` are given in order, the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[Callable[[dict[str, Any]], Answer]] = [as_asked]
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.busy = self.busiest = 0
        lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with lock:
                    outer.requests.append({"path": self.path, **body})
                    outer.headers.append({name.lower(): value for name, value in self.headers.items()})
                    outer.busy += 1
                    outer.busiest = max(outer.busiest, outer.busy)
                    answer = outer.answers.pop(0) if len(outer.answers) > 1 else outer.answers[0]
                try:
                    status, headers, data = answer(body)
                finally:
                    with lock:  # before it is sent: whoever has it may ask again at once
                        outer.busy -= 1
                try:
                    self.send_response(status)
                    for name, value in {"content-length": str(len(data)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # a client that gave up

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("BIRCHWOOD_KEY", KEY)
    found = Server()
    yield found
    found.http.shutdown()
    found.http.server_close()


def endpoint(server: Server, slept: list[float] | None = None, **options: Any) -> Endpoint:
    sleep = (lambda _: None) if slept is None else slept.append
    return Endpoint(server.url + "/", "lamp-1", key_variable="BIRCHWOOD_KEY", sleep=sleep, **options)


def test_samples_are_asked_for_as_told(server: Server) -> None:
    source = endpoint(server, temperature=0.7, max_tokens=33, stop=("\n\n",), per_request=4, requests_at_once=2)
    found = source.sample(MESSAGES, 10, seed=7)
    assert (len(found.texts), found.asked, found.problems) == (10, 10, ())
    assert len({each.text for each in found.texts}) == 10
    assert sorted(request["n"] for request in server.requests) == [2, 4, 4]
    assert sorted(request["seed"] for request in server.requests) == [7, 8, 9]
    for request in server.requests:
        assert request["path"] == "/v1/chat/completions"
        assert (request["model"], request["temperature"], request["max_tokens"]) == ("lamp-1", 0.7, 33)
        assert (request["stop"], request["messages"]) == (["\n\n"], MESSAGES)
    assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    assert KEY not in repr(source)
    assert found == source.sample(MESSAGES, 10, seed=7)


def test_requests_beside_each_other_are_limited(server: Server) -> None:
    def slow(body: dict[str, Any]) -> Answer:
        time.sleep(0.05)
        return as_asked(body)

    server.answers = [slow]
    endpoint(server, per_request=1, requests_at_once=3).sample(MESSAGES, 9, seed=0)
    assert server.busiest == 3


def test_too_many_requests_are_tried_again_when_the_server_says(server: Server) -> None:
    slept: list[float] = []
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    server.answers = [
        lambda _: (429, {"retry-after": "3"}, b"slow down"),
        lambda _: (503, {"retry-after": later}, b""),
        lambda _: (503, {"retry-after": "86400"}, b""),
        lambda _: (500, {"retry-after": "soon"}, b""),
        as_asked,
    ]
    assert len(endpoint(server, slept).sample(MESSAGES, 2, seed=0).texts) == 2
    assert slept[0] == 3
    assert 25 < slept[1] <= 30
    assert slept[2] == 60
    assert 0 < slept[3] <= 60


def test_a_server_that_stays_broken_is_named(server: Server) -> None:
    slept: list[float] = []
    server.answers = [lambda _: (500, {}, f"<h1>key {KEY}</h1>\n".encode() + b"x" * 1000)]
    with pytest.raises(EndpointError, match=r"status 500: .*\(tried 3 times\)") as error:
        endpoint(server, slept, attempts=3).sample(MESSAGES, 1)
    assert len(server.requests) == 3
    assert len(slept) == 2
    assert slept[0] < slept[1]
    assert KEY not in str(error.value)
    assert len(str(error.value)) < 400
    assert "\n" not in str(error.value)
    assert "seed" not in server.requests[0]


@pytest.mark.parametrize("status", [400, 401, 404, 302])
def test_a_refusal_is_not_tried_again(server: Server, status: int) -> None:
    server.answers = [lambda _: (status, {"location": "http://127.0.0.1:1/"}, b'{"error": "no such model"}')]
    with pytest.raises(EndpointError, match=f"status {status}: .*no such model"):
        endpoint(server).sample(MESSAGES, 1)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<html>", "not a chat completion"),
        (b'{"choices": []}', "not a chat completion at `choices`"),
        (b'{"choices": [{"message": {"content": 3}}]}', r"at `choices\.0\.message\.content`"),
        (b'{"object": "list"}', "at `choices`"),
        (completion((None, "tool_calls")), r"without text \(it ended by `tool_calls`\)"),
        (completion(("x", "content_filter")), "withheld"),
    ],
)
def test_other_answers_are_told_apart(server: Server, data: bytes, message: str) -> None:
    server.answers = [lambda _: (200, {}, data)]
    with pytest.raises(EndpointError, match=message):
        endpoint(server).sample(MESSAGES, 1)
    assert len(server.requests) == 1


def test_cut_texts_are_known_and_missing_choices_asked_for(server: Server) -> None:
    server.answers = [lambda _: (200, {}, completion(("one", "length"))), as_asked]
    found = endpoint(server).sample(MESSAGES, 3, seed=0)
    assert found.texts[0] == EndpointText("one", cut=True)
    assert [each.cut for each in found.texts] == [True, False, False]
    assert [request["n"] for request in server.requests] == [3, 2]
    assert [request["seed"] for request in server.requests] == [0, 1]


def test_more_choices_than_asked_are_left_out(server: Server) -> None:
    server.answers = [lambda body: (200, {}, completion(*[(f"text {i}", "stop") for i in range(5)]))]
    found = endpoint(server).sample(MESSAGES, 3)
    assert [text.text for text in found.texts] == ["text 0", "text 1", "text 2"]


def test_partial_failures_are_told(server: Server) -> None:
    server.answers = [as_asked, lambda _: (400, {}, b"quota")]
    found = endpoint(server, per_request=2, requests_at_once=1).sample(MESSAGES, 6, seed=0)
    assert len(found.texts) == 2
    assert found.asked == 6
    assert len(found.problems) == 1
    assert "quota" in found.problems[0]


def test_time_and_connections_run_out(server: Server) -> None:
    def late(body: dict[str, Any]) -> Answer:
        time.sleep(0.5)
        return as_asked(body)

    server.answers = [late]
    with pytest.raises(EndpointError, match=r"no answer within 0\.1 seconds \(tried 2 times\)"):
        endpoint(server, timeout=0.1, attempts=2).sample(MESSAGES, 1, seed=0)
    gone = Endpoint("http://127.0.0.1:9/v1", "lamp-1", attempts=1, timeout=2)
    with pytest.raises(EndpointError, match=r"cannot be reached: .*\(tried once\)"):
        gone.sample(MESSAGES, 1)


def test_what_cannot_be_asked_is_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EndpointError, match="cannot ask for 0"):
        endpoint(server).sample(MESSAGES, 0)
    monkeypatch.setenv("BIRCHWOOD_KEY", "")
    with pytest.raises(EndpointError, match="`BIRCHWOOD_KEY` that should hold the API key is not set"):
        endpoint(server).sample(MESSAGES, 1)
    monkeypatch.setenv("BIRCHWOOD_KEY", "schlüssel")
    with pytest.raises(EndpointError, match="no header can carry") as error:
        endpoint(server).sample(MESSAGES, 1)
    assert "schlüssel" not in str(error.value)
    for wrong in ("llm.example.org", "ftp://llm.example.org", "https://", "http://["):
        with pytest.raises(EndpointError, match="no address"):
            Endpoint(wrong, "m")
    with pytest.raises(EndpointError, match="must not hold a password"):
        Endpoint("https://me:hunter2@llm.example.org", "m")
    with pytest.raises(EndpointError, match="temperature"):
        Endpoint("https://llm.example.org", "m", temperature=float("nan"))
    with pytest.raises(EndpointError, match="at least"):
        Endpoint("https://llm.example.org", "m", attempts=0)
    assert server.requests == []
