"""Answers and sentences that were written for nothing in particular: what a concept's examples are held against.

They are the project's own, about invented organisations and everyday things (background.jsonl, one JSON object with
`text` a line). Few of them express what a policy is likely to be about, and none was taken from labelled data.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("background.jsonl")


@cache
def background() -> tuple[str, ...]:
    """The texts, in order."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line)["text"] for line in lines if line.strip())
