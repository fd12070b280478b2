"""A model under test behind an OpenAI-compatible address, as scripted: real HTTP, answers that hang on nothing but the
conversation and the seed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from judge_server import JudgeServer, user_text

NAME = "birchwood-large"


def answer(body: dict[str, Any]) -> str:
    """About one answer in five promises something, and another one in five begins like a terminal's colours."""
    number = hashlib.sha256(f"{user_text(body)} {body.get('seed')}".encode()).digest()[0]
    kind = "we guarantee it" if number % 5 == 0 else "\x1b[31mperhaps" if number % 5 == 1 else "it is on its way"
    return f"{user_text(body)} Lamp {number}: {kind}."


def server(**options: Any) -> JudgeServer:
    """The server; see `JudgeServer`."""
    return JudgeServer(**{"judge": answer, **options})


def prompts(count: int) -> str:
    """A file of prompts, as JSON Lines, each with a topic."""
    lines = [
        {"id": f"p{n}", "prompt": f"Where is order {n}?", "topic": "late" if n % 2 else "lost"} for n in range(count)
    ]
    return "".join(json.dumps(line) + "\n" for line in lines)


RULES = """\
policy birchwood.lamps version "1.0.0" edition 1

rule no_guarantee at user {
  response must not contain "guarantee"
}

rule has_text at user {
  response must contain "Lamp"
}
"""
