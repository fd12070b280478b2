"""A judged audit of a thousand texts that is killed twice, and ended by two processes at once: every question that was
answered is asked once, and the report is the one that an audit without trouble gives."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from judge_server import KEY, MODEL, JudgeServer, user_text

RULES = """\
policy birchwood.lamps version "1.0.0" edition 1

concept blame means "Says that a problem is the customer's own fault." {
  scored by judge "Does the answer blame the customer?"
}

rule kind at user {
  response should not express blame weight 2
}
"""
TEXTS = 1000
AT_ONCE = 8


def number_of(body: dict[str, Any]) -> str:
    """Which text a request is about: marks in prompts are new in every request."""
    found = re.search(r"Lamp (\d+)", user_text(body))
    assert found is not None
    return found[1]


def judge(body: dict[str, Any]) -> str:
    """Every tenth text blames the customer, and says so in a quote."""
    is_blame = int(number_of(body)) % 10 == 0
    quote = "you broke it" if is_blame else ""
    said = {"reason": "Read it.", "quote": quote, "verdict": "expressed" if is_blame else "not_expressed"}
    return json.dumps(said)


def started(folder: Path, url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bylaw", "audit", "rules.bylaw", "answers.jsonl", "--rough", "--format", "json"]
    command += ["--judge", url, "--judge-model", MODEL, "--judge-key", "BIRCHWOOD_KEY"]
    environment = {**os.environ, "BYLAW_CACHE": str(folder / "cache"), "BIRCHWOOD_KEY": KEY, "NO_PROXY": "127.0.0.1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def killed(process: subprocess.Popen[str]) -> None:
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGKILL


def test_an_audit_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    (tmp_path / "rules.bylaw").write_text(RULES)
    lines = [
        {
            "prompt": f"What of order {n}?",
            "response": f"Lamp {n}: {'you broke it' if n % 10 == 0 else 'it is on its way'}.",
        }
        for n in range(TEXTS)
    ]
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    held: list[str] | None = None

    def script(body: dict[str, Any], number: int) -> str:
        if held is None:
            return "verdict"
        held.append(number_of(body))
        return "hang"

    with JudgeServer(script, judge, number_of) as server:
        # Killed while it runs at full speed: of what was under way, some answers may be lost.
        first = started(tmp_path, server.url)
        server.wait_for(lambda: len(server.requests) >= 300, 120)
        killed(first)
        server.wait_for(lambda: server.busy == 0)
        once = {name for name, count in server.answered.items() if count}
        assert 300 - AT_ONCE <= len(once) < TEXTS
        # Killed while all of its questions wait: whatever was answered before is stored.
        second = started(tmp_path, server.url)
        server.wait_for(lambda: len(server.requests) >= 600, 120)
        held = []
        server.wait_for(lambda: len(held or ()) == AT_ONCE)
        killed(second)
        twice = [name for name, count in server.answered.items() if count > 1]
        assert len(twice) <= AT_ONCE
        assert set(twice) <= once
        before, asked = dict(server.answered), dict(server.asked)
        held = None
        # And ended, by two at once.
        ends = [started(tmp_path, server.url) for _ in range(2)]
        said = [process.communicate(timeout=180) for process in ends]
        again = [name for name, count in server.asked.items() if count > asked.get(name, 0) and before.get(name)]
        assert again == [], "a question that had been answered was asked again"
        fresh = {name: count - asked.get(name, 0) for name, count in server.asked.items()}
        assert {fresh[name] for name in fresh if not before.get(name)} == {1}
        assert len(server.asked) == sum(1 for count in server.answered.values() if count) == TEXTS
    for process, (output, errors) in zip(ends, said, strict=True):
        assert process.returncode == 0, errors
        (term,) = json.loads(output)["terms"]
        assert (term["applicable"], term["violated"], term["unscored"]) == (TEXTS, TEXTS // 10, 0)
        (scoring,) = json.loads(output)["scoring"]
        assert scoring["requests"] + scoring["cached"] == TEXTS
    sent = [json.loads(output)["scoring"][0]["requests"] for output, _ in said]
    assert sum(sent) == sum(fresh.values())
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files
    assert not any(KEY.encode() in path.read_bytes() for path in files)
    assert KEY not in "".join(output + errors for output, errors in said)
