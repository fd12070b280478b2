"""One run against a real server of another project: `transformers serve` with a tiny model that cannot judge anything.

What it shows: requests that a real server takes, its answers read, its nonsense `unscored` and not stored.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bylaw.runtime.judges.budget import Meter
from bylaw.runtime.judges.client import EndpointAsker
from bylaw.runtime.judges.interface import JudgeMessage, JudgeParameters, JudgeRequest
from bylaw.runtime.judges.judge import Judge
from bylaw.runtime.judges.store import AnswerStore
from bylaw.runtime.judges.wire import Endpoint
from bylaw.runtime.scorers.catalog import Making
from bylaw.runtime.scorers.interface import Question
from bylaw.runtime.scorers.judge import make
from bylaw.spec.expression import Concept

STORIES = Path(__file__).parents[2] / "shared" / "data" / "models" / "stories260K-chat"
SERVE = Path(sys.executable).with_name("transformers")
pytestmark = [
    pytest.mark.skipif(not STORIES.is_dir(), reason="the shared model stories260K-chat is not there"),
    pytest.mark.skipif(
        not SERVE.exists() or any(importlib.util.find_spec(name) is None for name in ("fastapi", "uvicorn", "torch")),
        reason="`transformers serve` is not installed: transformers[serving]",
    ),
]


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A server that listens; it is stopped afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub"), "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    (tmp_path / "hub" / "hub").mkdir(parents=True)
    command = [str(SERVE), "serve", str(STORIES), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    log = tmp_path / "log"
    with log.open("w") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out, start_new_session=True)
    try:
        end = time.monotonic() + 90
        while not _is_up(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def _is_up(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_a_real_server(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    store = AnswerStore(tmp_path / "answers.sqlite")
    parameters = JudgeParameters(str(STORIES), max_tokens=12)
    meter = Meter()
    with EndpointAsker(Endpoint(url, timeout=60.0, max_retries=0, at_once=2), store, meter) as way:
        # Any text is an answer here: it comes, is counted by the server and stored; one that is cut is none.
        whole = JudgeRequest((JudgeMessage("user", "Lily had a lamp"),), JudgeParameters(str(STORIES), max_tokens=400))
        short = replace(whole, parameters=parameters)
        replies = sorted(way.ask([whole, short]), key=lambda reply: reply.index)
        assert replies[0].text is not None, replies[0]
        assert len(replies[0].text) > 100
        assert (replies[0].finish_reason, replies[0].attempts) == ("stop", 1)
        assert (replies[1].text, replies[1].why, replies[1].cost.tokens_out) == (None, "parse", 12)
        assert (meter.estimated, meter.spent.requests, len(store)) == (0, 2, 1)
        assert meter.spent.tokens_in > 0
        (again,) = way.ask([whole])
        assert (again.text, again.is_cached) == (replies[0].text, True)
        # Verdicts it has none: asked twice for each, and unscored, never a number.
        making = Making(options={"judge": Judge(way, parameters)}, is_rough_allowed=True)
        concept = Concept("blame", "Says that it is the customer's own fault.", scorer="judge")
        before = len(store)
        (answer,) = make((concept,), making)["blame"].score([Question(concept, "The lamp is on its way.")])
        assert (answer.score, answer.why) == (None, "parse"), answer
        assert len(store) == before
        # A model that it does not serve is a reason and no exception.
        wrong = replace(whole, parameters=JudgeParameters("birchwood/none", max_tokens=4))
        (failed,) = way.ask([wrong])
        assert (failed.text, failed.why) == (None, "input"), failed
    store.close()
