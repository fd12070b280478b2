"""Held-out prompts for the examples: ``python -m bylaw.runtime.default_model.prompts FILE``."""

from __future__ import annotations

import argparse
import json
from itertools import count, islice
from pathlib import Path

from .dialogues import Dialogue, dialogue

EXAMPLE_SEED = 4
EXAMPLE_COUNT = 48


def example_prompts(seed: int = EXAMPLE_SEED, number: int = EXAMPLE_COUNT) -> tuple[Dialogue, ...]:
    """The first held-out dialogues of the stream that have a system message and one question."""
    stream = (dialogue(seed, index, "held-out") for index in count())
    return tuple(islice((d for d in stream if [m.role for m in d.prompt] == ["system", "user"]), number))


def as_record(identifier: str, example: Dialogue) -> dict[str, object]:
    """One line of the prompt file; meta values are strings, and keys that do not apply are left out."""
    meta = {
        "topic": example.topic,
        "product": example.product,
        "problem": example.problem.format(p=example.product),
        "name": example.name,
        "order": example.order,
        "card": example.card,
        "note": example.note,
        "conditions": " ".join(sorted(example.conditions - {"any"})) or None,
    }
    return {
        "id": identifier,
        "messages": [{"role": m.role, "content": m.content} for m in example.prompt],
        "meta": {key: value for key, value in meta.items() if value is not None},
    }


def prompt_lines() -> str:
    """The prompt file as text."""
    records = (as_record(f"support-{k:02d}", example) for k, example in enumerate(example_prompts(), start=1))
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.parse_args().file.write_text(prompt_lines(), encoding="utf-8")


if __name__ == "__main__":
    main()
