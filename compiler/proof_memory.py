"""What was found out about a policy, kept in a file, so that after an edit only what is new is asked again.

The file holds texts, what is true of them by the key of each statement, and contradictions by the keys of the
statements that take part: all of it depends on what sentences mean and on nothing else in the policy. It is made anew
when any part of this program that could answer differently has changed, or when it is not exactly what was written.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from bylaw.compiler.witnesses import Proved, Tried, Witnesses

MOST_TEXTS = 20_000
LARGEST = 64_000_000
"""Characters; a larger file is not read."""
_ROOTS = ("spec", "compiler")


@dataclass(frozen=True, slots=True)
class Memory:
    """The contents of such a file."""

    texts: tuple[str, ...]
    tried: Mapping[str, Tried]
    proved: Mapping[str, Proved]
    notes: Mapping[str, str | None]

    def witnesses(self) -> Witnesses:
        """Witnesses that know all this, and ask about many texts at once."""
        found = Witnesses(is_thorough=True, tried=dict(self.tried), proved=dict(self.proved), notes=dict(self.notes))
        for text in self.texts:
            found.add(text)
        return found


def load(path: Path) -> Memory | None:
    """What the file holds; None where there is none, or none that this program wrote and would write again."""
    try:
        if path.stat().st_size > LARGEST:
            return None
        head, _, body = path.read_text(encoding="utf-8").partition("\n")
        if head != _seal(body):
            return None
        data = json.loads(body)
    except (OSError, ValueError, RecursionError):
        return None
    return Memory(
        tuple(data["texts"]),
        {key: _tried(value) for key, value in data["tried"].items()},
        {key: Proved(tuple(members), proof, tuple(why)) for key, (members, proof, why) in data["proved"].items()},
        data["notes"],
    )


def save(path: Path, witnesses: Witnesses) -> None:
    """Writes what is known of the statements that were asked about, whole or not at all. Raises OSError."""
    if len(witnesses.texts) > MOST_TEXTS:
        return
    data: dict[str, Any] = {
        "texts": witnesses.texts,
        "tried": {key: _plain(tried) for key, tried in witnesses.asked().items()},
        "proved": {key: (each.members, each.proof, each.why) for key, each in witnesses.asked_proofs().items()},
        "notes": witnesses.asked_notes(),
    }
    body = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".part")
    beside.write_text(f"{_seal(body)}\n{body}", encoding="utf-8")
    beside.replace(path)


def _plain(tried: Tried) -> list[object]:
    """`false` only where it is not everything that `true` is not."""
    rest = ((1 << tried.upto) - 1) & ~tried.true
    return [tried.upto, f"{tried.true:x}"] + ([] if tried.false == rest else [f"{tried.false:x}"])


def _tried(value: list[Any]) -> Tried:
    upto, true = int(value[0]), int(value[1], 16)
    false = int(value[2], 16) if len(value) > 2 else ((1 << upto) - 1) & ~true
    return Tried(true, false, upto)


def _seal(body: str) -> str:
    """What a file of this program with this body begins with.

    A file of the program counts by its name, length and time of change, as it does for Python's own compiled files: to
    read them all would take longer than what is remembered saves in a small policy.
    """
    digest = blake2b(unicodedata.unidata_version.encode(), digest_size=16)
    root = Path(__file__).parent.parent
    for name in _ROOTS:
        for folder, folders, files in os.walk(root / name):
            folders[:] = sorted(each for each in folders if each != "__pycache__")
            for file in sorted(files):
                if file.endswith((".py", ".json")):
                    known = os.stat(os.path.join(folder, file))
                    digest.update(f"{folder}/{file} {known.st_size} {known.st_mtime_ns}\n".encode())
    digest.update(body.encode())
    return f"bylaw proofs {digest.hexdigest()}"
